/* SPDX-License-Identifier: Apache-2.0 */
/* What the mesh would do with a request, and why, without sending it. */
#ifndef MESH_EXPLAIN_H
#define MESH_EXPLAIN_H

#include <mesh/admin.h>
#include <mesh/call.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Since: 0.1 */
enum mesh_explain_format {
	MESH_EXPLAIN_TEXT = 0, /* indented lines for people; may change */
	MESH_EXPLAIN_JSON = 1, /* the same as one JSON object; members are only added */
};

/*
 * Tells how the request would be decided now: listener and chain, virtual host, every route before the one that matches with
 * the condition it failed, what filters would do, the cluster and how it was chosen, the endpoints with their health and the
 * one that would be taken, TLS mode and names, what is changed in the request, timeouts and retries in force. The decision is
 * made by the code that decides a call, on the worker that would carry it: what is drawn at random is drawn once, and may
 * come out otherwise for the next call. Nothing is sent, no connection is opened, no call is counted. A request that would
 * be refused is explained up to where it ends: "error" says with what.
 * Header values that the application gave are not repeated, for they may be secrets.
 * Thread: the one that drives request->worker; any outside callbacks without one. Owns: nothing; the text is borrowed by
 * the sink.
 * Errors: INVALID (a malformed request), THREAD (that worker is driven by another thread), DRAINING, NOMEM, SYSTEM, or what
 * the sink returned. Since: 0.1
 */
MESH_EXPORT int mesh_explain(struct mesh *mesh, const struct mesh_request *request, enum mesh_explain_format format,
			     mesh_sink_fn *sink, void *user);

#ifdef __cplusplus
}
#endif
#endif
