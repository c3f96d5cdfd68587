/* SPDX-License-Identifier: Apache-2.0 */
/* Redirects that a route follows in place of the application: the call begins anew, with another address. */
#ifndef MESH_CALL_INTERNAL_REDIRECT_H
#define MESH_CALL_INTERNAL_REDIRECT_H

#include "call/call.h"

/*
 * The head of a response came on a route that follows redirects. True: it is one, and is followed soon; the rest of the
 * response is dropped (`whole`: there is none). False: it is the application's.
 */
bool mesh_internal_redirect(struct attempt *attempt, const struct http_head *head, bool whole);
/* Tries made before the last redirect that was followed: what a peer is told of begins anew with each. */
unsigned mesh_internal_redirect_attempts(const struct mesh_call *call);
void mesh_internal_redirect_stop(struct mesh_call *call);

#endif
