/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any first bytes of a connection that agreed on metadata exchange: whole and in pieces they mean the same, nothing is kept
 * that is not in them, and no more is asked for than is announced.
 */
#include <stdlib.h>

#include "base/slice.h"
#include "call/stream_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed(struct stream_metadata *metadata, const uint8_t *data, size_t size, size_t step)
{
	size_t at = 0;

	while (metadata->state == STREAM_METADATA_MORE && at < size) {
		size_t room, n;
		char *into = mesh_stream_metadata_room(metadata, &room);

		if (!room || (!metadata->in_body && room > STREAM_METADATA_HEADER) || room > STREAM_METADATA_BYTES_MAX)
			abort();
		n = room < step ? room : step;
		n = n < size - at ? n : size - at;
		memcpy(into, data + at, n);
		mesh_stream_metadata_take(metadata, n);
		at += n;
	}
	return at;
}

static void check(struct mesh_slice text)
{
	if (text.data && text.len > STREAM_METADATA_TEXT_MAX)
		abort();
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < ' ' || text.data[i] > '~')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream_metadata whole, dripped;
	struct stream_workload workload;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_stream_metadata_init(&whole, &arena);
	mesh_stream_metadata_init(&dripped, &arena);
	feed(&whole, data, size, SIZE_MAX);
	feed(&dripped, data, size, 1);
	if (whole.state != dripped.state || whole.understood != dripped.understood ||
	    whole.workload.id.len != dripped.workload.id.len)
		abort();
	check(whole.workload.id);
	check(whole.workload.ns);
	check(whole.workload.canonical_name);
	if (whole.state == STREAM_METADATA_BROKEN && whole.length <= STREAM_METADATA_BYTES_MAX)
		abort();
	mesh_stream_metadata_parse(mesh_slice_make(data, size), &workload);
	mesh_arena_free(&arena);
	return 0;
}
