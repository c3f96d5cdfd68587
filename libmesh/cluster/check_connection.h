/* SPDX-License-Identifier: Apache-2.0 */
/* Between check_connection.c, which dials and speaks TCP, and check_http.c, which speaks HTTP and gRPC. */
#ifndef MESH_CLUSTER_CHECK_CONNECTION_H
#define MESH_CLUSTER_CHECK_CONNECTION_H

#include "cluster/health_check.h"

/* One connection to one endpoint, for one check after the other. */
struct check_connection {
	struct dial dial;
	struct check *check; /* NULL: nobody waits for it any more */
	struct mux *mux;     /* HTTP, once open */
	struct loop_task flush;
	bool in_ready, dirty;
	bool asking;
	struct exchange exchange;
	struct arena arena; /* of one request and its answer */
	struct http_head response;
	struct headers trailers;
	bool has_trailers;
	struct buf body;    /* TCP: what was read */
	size_t sent;        /* TCP: of config->send */
	bool body_cut;      /* more came than is looked at */
};

void mesh_check_finish(struct check_connection *connection); /* it is not used again; freed later */
/* The check's result; `keep`: the connection serves the next one too, where that is configured. */
void mesh_check_answered(struct check_connection *connection, enum check_result result, bool keep);

/* check_http.c */
int mesh_check_open_http(struct check_connection *connection); /* the dial is open. NOMEM */
void mesh_check_ask_http(struct check_connection *connection);

#endif
