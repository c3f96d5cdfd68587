/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a message is compressed and how much may come out of one received: output is made piece by piece, so that a
 * few bytes that stand for gigabytes cost no more than the bound. Refuses to know when a message is compressed.
 */
#include "grpc/gzip.h"

#include <zlib.h>

#include <mesh/error.h>

static const int gzip_window_bits = 15 + 16; /* of zlib: a window of 32 KiB, in gzip's wrapping */
static const size_t piece_bytes = 16384;

struct grpc_gzip {
	const struct mesh_mem *mem;
	z_stream in, out;
	bool in_ready, out_ready;
};

static void *take(void *mem, unsigned items, unsigned size)
{
	return mesh_mem_array(mem, items, size);
}

static void give(void *mem, void *memory)
{
	mesh_mem_free(mem, memory);
}

static void set_memory(z_stream *stream, const struct mesh_mem *mem)
{
	stream->zalloc = take;
	stream->zfree = give;
	stream->opaque = (void *)mem;
}

static int make(struct grpc_gzip **gzip, const struct mesh_mem *mem)
{
	if (*gzip)
		return 0;
	*gzip = mesh_mem_zalloc(mem, sizeof(**gzip));
	if (!*gzip)
		return MESH_ERROR_NOMEM;
	(*gzip)->mem = mem;
	set_memory(&(*gzip)->in, mem);
	set_memory(&(*gzip)->out, mem);
	return 0;
}

void mesh_grpc_gzip_free(struct grpc_gzip *gzip)
{
	if (!gzip)
		return;
	if (gzip->in_ready)
		inflateEnd(&gzip->in);
	if (gzip->out_ready)
		deflateEnd(&gzip->out);
	mesh_mem_free(gzip->mem, gzip);
}

int mesh_grpc_deflate(struct grpc_gzip **gzip, const struct mesh_mem *mem, struct mesh_slice in, struct buf *out)
{
	int rc = make(gzip, mem);
	z_stream *stream;
	size_t bound;
	char *at;

	if (rc)
		return rc;
	if (in.len > UINT32_MAX / 2)
		return MESH_ERROR_TOO_LARGE;
	stream = &(*gzip)->out;
	if (!(*gzip)->out_ready) {
		if (deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window_bits, 8, Z_DEFAULT_STRATEGY) !=
		    Z_OK)
			return MESH_ERROR_NOMEM;
		(*gzip)->out_ready = true;
	} else {
		deflateReset(stream);
	}
	bound = deflateBound(stream, in.len);
	at = mesh_buf_reserve(out, bound);
	if (!at)
		return MESH_ERROR_NOMEM;
	stream->next_in = (Bytef *)in.data;
	stream->avail_in = (uInt)in.len;
	stream->next_out = (Bytef *)at;
	stream->avail_out = (uInt)bound;
	if (deflate(stream, Z_FINISH) != Z_STREAM_END)
		return MESH_ERROR_INVALID;
	mesh_buf_commit(out, bound - stream->avail_out);
	return 0;
}

/* One piece of output. 1: the end of the input was reached. */
static int inflate_piece(z_stream *stream, size_t room, struct buf *out)
{
	size_t bytes =
		room < piece_bytes ? room + 1 : piece_bytes; /* one more than is left shows that it is too much */
	char *at = mesh_buf_reserve(out, bytes);
	int rc;

	if (!at)
		return MESH_ERROR_NOMEM;
	stream->next_out = (Bytef *)at;
	stream->avail_out = (uInt)bytes;
	rc = inflate(stream, Z_NO_FLUSH);
	bytes -= stream->avail_out;
	if (rc == Z_MEM_ERROR)
		return MESH_ERROR_NOMEM;
	if (rc != Z_OK && rc != Z_STREAM_END)
		return MESH_ERROR_INVALID;
	if (bytes > room)
		return MESH_ERROR_TOO_LARGE;
	mesh_buf_commit(out, bytes);
	if (rc == Z_STREAM_END && stream->avail_in) /* members follow each other */
		return inflateReset(stream) == Z_OK ? 0 : MESH_ERROR_INVALID;
	return rc == Z_STREAM_END;
}

int mesh_grpc_inflate(struct grpc_gzip **gzip, const struct mesh_mem *mem, struct mesh_slice in, size_t max,
		      struct buf *out)
{
	size_t before = mesh_buf_len(out);
	int rc = make(gzip, mem);
	z_stream *stream;

	if (rc)
		return rc;
	if (in.len > UINT32_MAX / 2)
		return MESH_ERROR_TOO_LARGE;
	stream = &(*gzip)->in;
	if (!(*gzip)->in_ready) {
		if (inflateInit2(stream, gzip_window_bits) != Z_OK)
			return MESH_ERROR_NOMEM;
		(*gzip)->in_ready = true;
	} else {
		inflateReset(stream);
	}
	stream->next_in = (Bytef *)in.data;
	stream->avail_in = (uInt)in.len;
	do
		rc = inflate_piece(stream, max - (mesh_buf_len(out) - before), out);
	while (!rc);
	return rc < 0 ? rc : 0;
}
