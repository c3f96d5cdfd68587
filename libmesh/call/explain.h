/* SPDX-License-Identifier: Apache-2.0 */
/* Tells what would become of a client's call, without starting it. */
#ifndef MESH_CALL_EXPLAIN_H
#define MESH_CALL_EXPLAIN_H

#include "base/outline.h"
#include "call/call.h"

/*
 * On the call's worker, of a call that was set up and not begun; it is good for nothing else afterwards and is to be undone.
 * What went wrong in deciding is told, not returned: NOMEM or TOO_LARGE of the outline alone, by mesh_outline_end.
 */
void mesh_call_explain(struct mesh_call *call, struct outline *outline);

/* The request as the application made it. */
struct explain_said {
	struct mesh_header *headers;
	size_t count;
	struct mesh_slice authority, path;
};

/* explain_request.c: what is done to a request whose cluster is found */
void mesh_explain_request(struct mesh_call *call, const struct explain_said *said, struct outline *outline);

/* explain_cluster.c: the cluster that was found, its endpoints, the one that would be taken. MESH_OK, or what a call would end with. */
int mesh_explain_cluster(struct mesh_call *call, struct outline *outline);

#endif
