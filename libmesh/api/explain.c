/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/explain.h>: finds the worker, gives the text to the caller's sink. Decides nothing of what is told. */
#include <mesh/explain.h>

#include "api/call_start.h"
#include "call/explain.h"

static const size_t text_max = 16 * 1024 * 1024;

MESH_EXPORT int mesh_explain(struct mesh *mesh, const struct mesh_request *request, enum mesh_explain_format format,
			     mesh_sink_fn *sink, void *user)
{
	struct mesh_call *call;
	struct outline outline;
	struct buf text;
	int rc;

	if (!mesh || !sink || (format != MESH_EXPLAIN_TEXT && format != MESH_EXPLAIN_JSON))
		return MESH_ERROR_INVALID;
	rc = mesh_call_start_prepare(mesh, request, &call);
	if (rc)
		return rc;
	mesh_buf_init(&text, &mesh->mem, text_max);
	mesh_outline_begin(&outline, &text, format == MESH_EXPLAIN_JSON);
	mesh_call_explain(call, &outline);
	mesh_call_undo(call);
	rc = mesh_outline_end(&outline);
	if (!rc)
		rc = sink(user, mesh_buf_slice(&text));
	mesh_buf_free(&text);
	return rc < 0 ? rc : 0;
}
