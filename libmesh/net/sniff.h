/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection is about to speak, from its first bytes, as Envoy's tls_inspector and http_inspector see it. Sans I/O. */
#ifndef MESH_NET_SNIFF_H
#define MESH_NET_SNIFF_H

#include "base/arena.h"
#include "base/slice.h"

#define MESH_SNIFF_BYTES_MAX 16384 /* more without an answer is SNIFF_RAW or SNIFF_INVALID */

enum sniff_kind {
	SNIFF_MORE,    /* more bytes needed */
	SNIFF_TLS,     /* a ClientHello: server_name and alpn are set */
	SNIFF_HTTP1,   /* "METHOD target HTTP/1.x" */
	SNIFF_HTTP2,   /* the HTTP/2 preface */
	SNIFF_RAW,     /* something else */
	SNIFF_INVALID, /* a TLS record that is no sound ClientHello */
};

struct sniff {
	enum sniff_kind kind;
	bool tls_only;                 /* in: do not look for HTTP */
	bool http_only;                /* in: do not look for TLS */
	bool http_10;                  /* HTTP1: its version is 1.0 */
	struct mesh_slice server_name; /* into the bytes given or the arena; absent when not sent */
	struct mesh_slice *alpn;       /* offered names */
	size_t alpn_count;
};

/* Looks at all bytes received so far. NOMEM or the kind. Bytes must outlive the result. */
int mesh_sniff(struct mesh_slice bytes, struct arena *arena, struct sniff *sniff);

#endif
