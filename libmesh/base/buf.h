/* SPDX-License-Identifier: Apache-2.0 */
/* A byte queue in one block: appended at the end, consumed at the front. */
#ifndef MESH_BASE_BUF_H
#define MESH_BASE_BUF_H

#include "base/mem.h"
#include "base/slice.h"

struct buf {
	const struct mesh_mem *mem;
	char *data;
	size_t start; /* first byte not yet consumed */
	size_t end;   /* one past the last byte */
	size_t room;  /* size of data */
	size_t limit; /* bytes it may hold; 0: none */
};

void mesh_buf_init(struct buf *buf, const struct mesh_mem *mem, size_t limit); /* allocates nothing */
void mesh_buf_free(struct buf *buf);
void mesh_buf_clear(struct buf *buf);  /* keeps the block */
void mesh_buf_shrink(struct buf *buf); /* gives the block back when empty */
/* Appending is all or nothing: NOMEM, TOO_LARGE. */
int mesh_buf_append(struct buf *buf, struct mesh_slice bytes);
int mesh_buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room to write into, then mesh_buf_commit with at most as many; NULL: no memory, or past the limit. */
char *mesh_buf_reserve(struct buf *buf, size_t bytes);
void mesh_buf_commit(struct buf *buf, size_t bytes);
void mesh_buf_consume(struct buf *buf, size_t bytes);

static inline size_t mesh_buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline struct mesh_slice mesh_buf_slice(const struct buf *buf)
{
	return mesh_slice_make(buf->data ? buf->data + buf->start : NULL, buf->end - buf->start);
}

#endif
