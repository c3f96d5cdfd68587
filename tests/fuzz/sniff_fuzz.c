/* SPDX-License-Identifier: Apache-2.0 */
/* Any first bytes to the sniffer; what it says of a prefix must not be contradicted by more bytes. */
#include <stdlib.h>

#include "net/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const uint8_t *data, size_t size, bool tls_only, bool http_only)
{
	enum sniff_kind settled = SNIFF_MORE;

	for (size_t len = 0; len <= size; len += 1 + size / 16) {
		struct sniff sniff = {.tls_only = tls_only, .http_only = http_only};
		struct arena arena;

		mesh_arena_init(&arena, &mesh_mem_default, 0);
		if (mesh_sniff(mesh_slice_make(data, len), &arena, &sniff) == 0) {
			if (settled != SNIFF_MORE && sniff.kind != settled)
				abort();
			settled = sniff.kind;
			if ((tls_only && (settled == SNIFF_HTTP1 || settled == SNIFF_HTTP2)) || (http_only && settled == SNIFF_TLS))
				abort(); /* it was not looked for */
		}
		mesh_arena_free(&arena);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int i = 0; i < 4; i++)
		look(data, size, i & 1, i & 2);
	return 0;
}
