/* SPDX-License-Identifier: Apache-2.0 */
/* A transport over memory: reads come in pieces whose sizes the input itself chooses, writes vanish. */
#ifndef MESH_TESTS_FUZZ_MEMORY_TRANSPORT_H
#define MESH_TESTS_FUZZ_MEMORY_TRANSPORT_H

#include "http/mux.h"
#include "loop/loop.h"
#include "net/transport.h"

struct memory_transport {
	struct transport base;
	const uint8_t *data;
	size_t len;
	size_t at;
};

static ssize_t memory_read(struct transport *transport, char *data, size_t room, bool *drained)
{
	struct memory_transport *memory = (struct memory_transport *)transport;
	size_t left = memory->len - memory->at, piece;

	*drained = true;
	if (!left)
		return 0;
	piece = memory->data[memory->at] % 37 + 1;
	if (memory->data[0] & 2)
		piece = left;
	piece = piece < left ? piece : left;
	piece = piece < room ? piece : room;
	memcpy(data, memory->data + memory->at, piece);
	memory->at += piece;
	return (ssize_t)piece;
}

static ssize_t memory_write(struct transport *transport, struct mesh_slice data)
{
	return (ssize_t)data.len;
}

static void memory_nothing(struct transport *transport)
{
}

static inline void memory_transport_init(struct memory_transport *memory, const uint8_t *data, size_t len)
{
	static const struct transport_ops ops = {
		.read = memory_read, .write = memory_write, .shutdown = memory_nothing, .destroy = memory_nothing};

	memset(memory, 0, sizeof(*memory));
	memory->base.ops = &ops;
	memory->base.mem = &mesh_mem_default;
	memory->base.fd = -1;
	memory->base.ready = true;
	memory->data = data;
	memory->len = len;
}

#endif
