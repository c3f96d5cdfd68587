/* SPDX-License-Identifier: Apache-2.0 */
/* How long a request may take: the route's limits, what the application asks its own proxy for, and grpc-timeout. */
#ifndef MESH_POLICY_TIMEOUT_H
#define MESH_POLICY_TIMEOUT_H

#include "base/header.h"
#include "config/route.h"

struct timeouts {
	uint64_t response_ns; /* from the end of the request; 0: none */
	bool has_stream;
	uint64_t stream_ns;   /* from its beginning, the response's end included; 0: it is over already */
	uint64_t per_try_ns;  /* 0: none */
	bool grpc;            /* it is a gRPC request */
};

/*
 * The limits in force for a request with these headers, as Envoy has them. `retry` may be NULL; `listener_stream_ns`: the
 * listener's longest duration of a request, 0: none. A gRPC request's grpc-timeout is made to say what remains in force.
 * NOMEM.
 */
int mesh_timeout_choose(const struct route *route, const struct retry_config *retry, uint64_t listener_stream_ns,
			struct headers *headers, struct arena *arena, struct timeouts *timeouts);

/* grpc-timeout: digits and a unit. What is finer than a millisecond is rounded up, as in Envoy. */
bool mesh_timeout_parse_grpc(struct mesh_slice text, uint64_t *ms);

#endif
