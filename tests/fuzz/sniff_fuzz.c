/* SPDX-License-Identifier: Apache-2.0 */
/* Any first bytes to the sniffer; what it says of a prefix must not be contradicted by more bytes. */
#include <stdlib.h>

#include "net/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum sniff_kind settled = SNIFF_MORE;

	for (size_t len = 0; len <= size; len += 1 + size / 16) {
		struct sniff sniff = {0};
		struct arena arena;

		mesh_arena_init(&arena, &mesh_mem_default, 0);
		if (mesh_sniff(mesh_slice_make(data, len), &arena, &sniff) == 0) {
			if (settled != SNIFF_MORE && sniff.kind != settled)
				abort();
			settled = sniff.kind;
		}
		mesh_arena_free(&arena);
	}
	return 0;
}
