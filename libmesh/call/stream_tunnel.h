/* SPDX-License-Identifier: Apache-2.0 */
/* A client's stream through a proxy of HTTP. */
#ifndef MESH_CALL_STREAM_TUNNEL_H
#define MESH_CALL_STREAM_TUNNEL_H

#include "base/buf.h"
#include "call/stream.h"
#include "http/http1_parser.h"

/* While the proxy is asked; in the stream's arena. */
struct stream_tunnel {
	struct stream_dial *one;
	struct mesh_slice request; /* what was not sent yet */
	struct http1_parser parser;
	struct buf answer;
	size_t interim;            /* bytes of heads before the answer's */
	/* 0: the tunnel is there, `rest` (in the stream's arena) came through it. Else an error with words. */
	void (*done)(struct stream_dial *one, int error, struct mesh_slice rest, const char *why);
};

/*
 * The connection is open: asks for the tunnel on it. `done` follows, unless the dial is killed before: then
 * mesh_stream_tunnel_end. NOMEM, NO_ENDPOINT (the cluster's protocol cannot be used for it) with words.
 */
int mesh_stream_tunnel_begin(struct stream_dial *one,
			     void (*done)(struct stream_dial *, int, struct mesh_slice, const char *), struct why *why);
void mesh_stream_tunnel_end(struct mesh_stream *stream); /* harmless when there is none */

#endif
