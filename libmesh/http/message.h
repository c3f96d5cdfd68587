/* SPDX-License-Identifier: Apache-2.0 */
/* A message as every version of HTTP has it: what its start says. Sans I/O, and no version's framing. */
#ifndef MESH_HTTP_MESSAGE_H
#define MESH_HTTP_MESSAGE_H

#include "base/header.h"

/* Start of a message. Slices are the sender's while sending; on receipt they live in exchange->arena. */
struct http_head {
	struct mesh_slice method; /* requests */
	struct mesh_slice scheme; /* "http" or "https"; informative in HTTP/1.1 */
	struct mesh_slice authority;
	struct mesh_slice path;   /* with query; "*" for OPTIONS * */
	int status;               /* responses; 101: both sides speak `upgrade` from here on, data goes both ways until `end` */
	struct mesh_slice upgrade; /* protocol asked for or changed to ("websocket"): Upgrade, or :protocol of an extended CONNECT,
				     which is told as a GET and answered 101 as in HTTP/1.1 */
	struct headers headers;   /* without Host, connection-specific fields and pseudo fields; Content-Length stays */
	int64_t content_length;   /* -1: not known (chunked, or until close) */
	unsigned minor;           /* HTTP/1.x: minor version as received */
	bool expects_continue;    /* request with Expect: 100-continue */
};

#endif
