/* SPDX-License-Identifier: Apache-2.0 */
/* A byte queue in one block: grows by doubling, moves its bytes to the front when that saves growing. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include <mesh/error.h>

void mesh_buf_init(struct buf *buf, const struct mesh_mem *mem, size_t limit)
{
	memset(buf, 0, sizeof(*buf));
	buf->mem = mem;
	buf->limit = limit;
}

void mesh_buf_free(struct buf *buf)
{
	if (buf->mem)
		mesh_mem_free(buf->mem, buf->data);
	buf->data = NULL;
	buf->start = buf->end = buf->room = 0;
}

void mesh_buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
}

void mesh_buf_shrink(struct buf *buf)
{
	if (buf->start == buf->end)
		mesh_buf_free(buf);
}

static void move_to_front(struct buf *buf)
{
	size_t len = mesh_buf_len(buf);

	if (!buf->start)
		return;
	memmove(buf->data, buf->data + buf->start, len);
	buf->start = 0;
	buf->end = len;
}

/* Moving is worth it when at least as much was consumed as is left; else a nearly full queue would move at every
 * append. `spare` bytes are written behind but not kept, so the limit does not count them. */
static int make_room(struct buf *buf, size_t bytes, size_t spare)
{
	size_t len = mesh_buf_len(buf), need, room;
	char *data;

	if (__builtin_add_overflow(len, bytes, &need) || (buf->limit && need > buf->limit) || need > SIZE_MAX / 4)
		return MESH_ERROR_TOO_LARGE;
	bytes += spare;
	need += spare;
	if (buf->data && buf->room - buf->end >= bytes)
		return 0;
	if (buf->data && need <= buf->room && buf->start >= len) {
		move_to_front(buf);
		return 0;
	}
	for (room = buf->room ? buf->room * 2 : 256; room < need;)
		room *= 2;
	move_to_front(buf);
	data = mesh_mem_resize(buf->mem, buf->data, room);
	if (!data)
		return MESH_ERROR_NOMEM;
	buf->data = data;
	buf->room = room;
	return 0;
}

/* The usual: nothing has to move. */
static bool has_room(const struct buf *buf, size_t bytes)
{
	return buf->data && bytes <= buf->room - buf->end && (!buf->limit || mesh_buf_len(buf) + bytes <= buf->limit);
}

int mesh_buf_append(struct buf *buf, struct mesh_slice bytes)
{
	int rc;

	if (!bytes.len)
		return 0;
	rc = has_room(buf, bytes.len) ? 0 : make_room(buf, bytes.len, 0);
	if (rc)
		return rc;
	memcpy(buf->data + buf->end, bytes.data, bytes.len);
	buf->end += bytes.len;
	return 0;
}

int mesh_buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int len, rc;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return MESH_ERROR_INVALID;
	rc = make_room(buf, (size_t)len, 1); /* the NUL */
	if (rc)
		return rc;
	va_start(args, format);
	vsnprintf(buf->data + buf->end, (size_t)len + 1, format, args);
	va_end(args);
	buf->end += (size_t)len;
	return 0;
}

char *mesh_buf_reserve(struct buf *buf, size_t bytes)
{
	return !has_room(buf, bytes) && make_room(buf, bytes, 0) ? NULL : buf->data + buf->end;
}

void mesh_buf_commit(struct buf *buf, size_t bytes)
{
	buf->end += bytes;
}

void mesh_buf_consume(struct buf *buf, size_t bytes)
{
	buf->start += bytes;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}
