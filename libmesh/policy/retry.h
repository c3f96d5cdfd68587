/* SPDX-License-Identifier: Apache-2.0 */
/* Whether and when to try again. Pure: time, randomness and what happened are arguments. */
#ifndef MESH_POLICY_RETRY_H
#define MESH_POLICY_RETRY_H

#include "base/header.h"
#include "base/rand.h"
#include "config/route.h"
#include "policy/route_match.h"

/* How one attempt ended. */
struct retry_outcome {
	int error;                     /* MESH_OK: a response arrived */
	bool unprocessed;              /* the peer has certainly not acted on it */
	bool connect_failed;           /* no connection (connect, TLS, timeout of either) */
	bool request_sent;             /* at least the head left */
	bool per_try_timeout;
	int status;                    /* of the response, else 0 */
	const struct headers *headers; /* of the response; gRPC status may be in them (trailers-only) */
	bool head_received;            /* response bytes reached the caller: never retried */
};

/*
 * The policy in force for a request: the route's or virtual host's, with the request's own x-envoy-retry-on,
 * x-envoy-retry-grpc-on, x-envoy-max-retries merged when `internal` (a trusted caller; the application itself is one).
 * *use is `base` itself when nothing is to merge. NULL: no retries.
 */
int mesh_retry_policy(const struct retry_config *base, const struct route_request *request, bool internal,
		      struct arena *arena, const struct retry_config **use);
bool mesh_retry_wanted(const struct retry_config *config, const struct retry_outcome *outcome, struct arena *scratch);
/* Fully jittered exponential backoff before retry `number` (1 = first). */
uint64_t mesh_retry_backoff_ns(const struct retry_config *config, unsigned number, struct rand *rand);
/* Parses "5xx,reset,..": unknown words are ignored as Envoy does; numeric status codes go to *codes. */
int mesh_retry_on_parse(struct mesh_slice text, struct arena *arena, uint32_t *on, uint32_t **codes, size_t *code_count);

#endif
