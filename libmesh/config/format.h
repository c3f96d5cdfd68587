/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text with command operators ("%REQ(x-user)%"), as headers, hosts, paths and bodies of routes have it, parsed: pieces that
 * are put together for each request. Immutable.
 */
#ifndef MESH_CONFIG_FORMAT_H
#define MESH_CONFIG_FORMAT_H

#include "base/slice.h"

enum format_op {
	FORMAT_TEXT,                /* as it stands */
	FORMAT_NOTHING,             /* never known here */
	FORMAT_REQ,                 /* text: the header, other: the one in its place */
	FORMAT_RESP,
	FORMAT_TRAILER,
	FORMAT_PATH,                /* of the request; see format_piece */
	FORMAT_QUERY_PARAM,
	FORMAT_QUERY_PARAMS,
	FORMAT_START_TIME,          /* text: how */
	FORMAT_EMIT_TIME,
	FORMAT_DYNAMIC_METADATA,    /* text: the filter, path */
	FORMAT_LOCAL_REPLY_BODY,
	FORMAT_GRPC_STATUS,         /* text: "NUMBER", "SNAKE_STRING", else camel */
	/* the rest is asked of who carries the request */
	FORMAT_PROTOCOL,
	FORMAT_UPSTREAM_PROTOCOL,
	FORMAT_RESPONSE_CODE,
	FORMAT_RESPONSE_CODE_DETAILS,
	FORMAT_RESPONSE_FLAGS,
	FORMAT_ROUTE_NAME,
	FORMAT_UPSTREAM_CLUSTER,
	FORMAT_UPSTREAM_CLUSTER_RAW,
	FORMAT_ATTEMPT_COUNT,
	FORMAT_UPSTREAM_HOST,
	FORMAT_UPSTREAM_HOST_NAME,
	FORMAT_UPSTREAM_ADDRESS_ONLY, /* without the port, as each of that name */
	FORMAT_UPSTREAM_PORT,
	FORMAT_UPSTREAM_LOCAL,
	FORMAT_UPSTREAM_LOCAL_ONLY,
	FORMAT_UPSTREAM_LOCAL_PORT,
	FORMAT_REMOTE,              /* downstream: whom the request is taken to come from */
	FORMAT_REMOTE_ONLY,
	FORMAT_REMOTE_PORT,
	FORMAT_DIRECT_REMOTE,       /* downstream: the other end of the connection */
	FORMAT_DIRECT_REMOTE_ONLY,
	FORMAT_DIRECT_REMOTE_PORT,
	FORMAT_LOCAL,               /* downstream: our end */
	FORMAT_LOCAL_ONLY,
	FORMAT_LOCAL_PORT,
	FORMAT_SERVER_NAME,         /* SNI */
	FORMAT_PEER_URI_SAN,
	FORMAT_PEER_DNS_SAN,
	FORMAT_PEER_SUBJECT,
	FORMAT_PEER_FINGERPRINT,    /* SHA-256 */
	FORMAT_PEER_CERT,
	FORMAT_LOCAL_URI_SAN,
	FORMAT_TLS_VERSION,
	FORMAT_TLS_CIPHER,
	FORMAT_BYTES_RECEIVED,
	FORMAT_BYTES_SENT,
	FORMAT_DURATION,
	FORMAT_STREAM_ID,
	FORMAT_UNIQUE_ID,
	FORMAT_TRACE_ID,
};

struct format_piece {
	enum format_op op;
	bool without_query;              /* FORMAT_PATH */
	bool original;                   /* FORMAT_PATH, FORMAT_QUERY_PARAMS: before the route changed it */
	bool current;                    /* FORMAT_PATH: as it is now, whatever it was */
	struct mesh_slice text, other;
	const struct mesh_slice *path;   /* FORMAT_DYNAMIC_METADATA */
	size_t path_count;
	size_t max;                      /* bytes kept; SIZE_MAX: all */
};

struct format {
	const struct format_piece *pieces;
	size_t count;
};

#endif
