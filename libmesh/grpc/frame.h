/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's framing of messages: a flag byte, four bytes of length, the message. Sans I/O. */
#ifndef MESH_GRPC_FRAME_H
#define MESH_GRPC_FRAME_H

#include "base/buf.h"

#define MESH_GRPC_PREFIX_BYTES 5

/* Writes the prefix of a message of `len` bytes. */
void mesh_grpc_prefix(char prefix[MESH_GRPC_PREFIX_BYTES], bool compressed, uint32_t len);

struct grpc_frame {
	bool compressed;
	struct mesh_slice bytes;
};

/* Cuts messages out of pieces of a body. A message that lies whole in one piece is not copied. */
struct grpc_reader {
	uint8_t prefix[MESH_GRPC_PREFIX_BYTES];
	uint8_t have;   /* bytes of the prefix */
	size_t max;     /* bytes of a message */
	struct buf body; /* beginning of a message that came in several pieces */
};

void mesh_grpc_reader_init(struct grpc_reader *reader, const struct mesh_mem *mem, size_t max);
void mesh_grpc_reader_free(struct grpc_reader *reader);
/*
 * Takes from the front of *in. 1: *frame is a message, borrowed from *in or until the next call; 0: all was taken, more is
 * needed; PROTOCOL (a flag that is none), TOO_LARGE (more than max), NOMEM.
 */
int mesh_grpc_reader_next(struct grpc_reader *reader, struct mesh_slice *in, struct grpc_frame *frame);
/* Would the next step with `in` give a message, or an error? */
bool mesh_grpc_reader_due(const struct grpc_reader *reader, struct mesh_slice in);
/* Behind `in`, which is not taken, a message has begun and is not whole. */
bool mesh_grpc_reader_inside(const struct grpc_reader *reader, struct mesh_slice in);

#endif
