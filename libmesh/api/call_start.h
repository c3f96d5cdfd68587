/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a call for a layer of the API above it, whose part lives and dies with the call. */
#ifndef MESH_API_CALL_START_H
#define MESH_API_CALL_START_H

#include <mesh/call.h>

struct call_part {
	size_t bytes; /* of the call's arena, zeroed; the `user` of its events */
	/* sets the part up before the call starts; an error undoes the call. May replace a body that is not there yet */
	int (*set_up)(void *part, struct mesh_call *call, void *with);
	void (*undo)(void *part); /* the call does not start after all */
	void *with;
};

/*
 * A call on the worker the request would take, with a copy of the request, not started: for mesh_call_undo. The caller must be
 * the one who drives that worker, else THREAD. Errors else as mesh_call_start.
 */
int mesh_call_start_prepare(struct mesh *mesh, const struct mesh_request *request, struct mesh_call **call);

/* As mesh_call_start; an application's worker may run the call before this returns. */
int mesh_call_start_part(struct mesh *mesh, const struct mesh_request *request, const struct mesh_call_events *events,
			 const struct call_part *part, struct mesh_call **call);

#endif
