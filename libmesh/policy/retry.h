/* SPDX-License-Identifier: Apache-2.0 */
/* Whether and when to try again. Pure: time, randomness and what happened are arguments. */
#ifndef MESH_POLICY_RETRY_H
#define MESH_POLICY_RETRY_H

#include "base/header.h"
#include "base/rand.h"
#include "config/balance.h"
#include "config/route.h"
#include "policy/route_match.h"

/* How one attempt ended. */
struct retry_outcome {
	int error;                     /* MESH_OK: a response arrived */
	bool unprocessed;              /* the peer has certainly not acted on it */
	bool connect_failed;           /* no connection (connect, TLS, timeout of either) */
	bool request_sent;             /* at least the head was said to the connection */
	bool per_try_timeout;
	int status;                    /* of the response, else 0 */
	const struct headers *headers; /* of the response; gRPC status may be in them (trailers-only) */
	bool head_received;            /* response bytes reached the caller: never retried */
	bool early;                    /* the request has an early-data header: a 425 is the application's to handle */
};

enum retry_decision {
	RETRY_NOT,
	RETRY_WITH_BACKOFF,
	RETRY_AT_ONCE,
};

/*
 * The policy in force for a request: the route's or virtual host's, with the request's own x-envoy-retry-on,
 * x-envoy-retry-grpc-on, x-envoy-max-retries merged when `internal` (a trusted caller; the application itself is one).
 * *use is `base` itself when nothing is to merge. NULL: no retries. *hedged comes as the route or virtual host has it, and
 * goes as the request wishes: where it may not be retried it may be hedged, by a policy that asks for nothing else.
 */
int mesh_retry_policy(const struct retry_config *base, const struct route_request *request, bool internal, bool *hedged,
		      struct arena *arena, const struct retry_config **use);
enum retry_decision mesh_retry_decide(const struct retry_config *config, const struct retry_outcome *outcome,
				      struct arena *scratch);
/* Fully jittered exponential backoff before retry `number` (1 = first), not counting those after a wait that a peer named. */
uint64_t mesh_retry_backoff_ns(const struct retry_config *config, unsigned number, struct rand *rand);
/* How long a response to be retried asks to wait, and up to half of that more; 0: it does not say, or too long. */
uint64_t mesh_retry_reset_ns(const struct retry_config *config, const struct headers *headers, uint64_t unix_s,
			     struct rand *rand);
/* Is another endpoint to be chosen than one with these labels? */
bool mesh_retry_omits(const struct retry_config *config, const struct lb_label *labels, size_t count);
/* Parses "5xx,reset,..": unknown words are ignored as Envoy does; numeric status codes go to *codes. */
int mesh_retry_on_parse(struct mesh_slice text, struct arena *arena, uint32_t *on, uint32_t **codes, size_t *code_count);

#endif
