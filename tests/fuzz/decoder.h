/* SPDX-License-Identifier: Apache-2.0 */
/* What the targets of resource decoders share: what a decoder promises of any bytes, and a request to try its result
 * with. */
#ifndef TESTS_FUZZ_DECODER_H
#define TESTS_FUZZ_DECODER_H

#include <mesh/error.h>

#include "policy/route_match.h"
#include "xds/decode.h"

enum { SIZE_LIMIT = 65536, NESTING_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

/* Reads all of it, for the sanitizer to see. */
static inline void touch(struct mesh_slice slice)
{
	volatile unsigned char sum = 0;

	for (size_t i = 0; i < slice.len; i++)
		sum = (unsigned char)(sum + (unsigned char)slice.data[i]);
	promise(slice.data || slice.len == 0);
}

static inline void decoder_init(struct decode *d)
{
	mesh_decode_init(d, &mesh_mem_default, NESTING_MAX, NULL, NULL);
}

/* An object, or one line of words why not. */
static inline void decoder_check(const struct decode *d, const void *object)
{
	promise(object ? d->rc == 0 : d->rc == MESH_ERROR_INVALID || d->rc == MESH_ERROR_TOO_LARGE);
	promise(object || d->why.text[0]);
	promise(!strchr(d->why.text, '\n'));
	promise(d->depth == 0 && d->anys == 0);
	touch(mesh_buf_slice(&d->notes));
}

/* A request that recorded routes and rules know. */
static inline void request_init(struct route_request *request, struct headers *headers, struct arena *arena)
{
	mesh_headers_clear(headers);
	mesh_headers_add(headers, arena, MESH_SLICE("end-user"), MESH_SLICE("jason"));
	mesh_headers_add(headers, arena, MESH_SLICE("x-n"), MESH_SLICE("5"));
	*request = (struct route_request){.method = MESH_SLICE("GET"),
					  .scheme = MESH_SLICE("http"),
					  .authority = MESH_SLICE("reviews:9080"),
					  .path = MESH_SLICE("/reviews/1?a=b"),
					  .headers = headers,
					  .random = 7};
}

#endif
