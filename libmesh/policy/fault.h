/* SPDX-License-Identifier: Apache-2.0 */
/* Which faults a request gets, as Envoy's fault filter decides. Pure: randomness and the faults acting are arguments. */
#ifndef MESH_POLICY_FAULT_H
#define MESH_POLICY_FAULT_H

#include "config/fault.h"
#include "policy/route_match.h"

struct fault {
	uint64_t delay_ns;    /* comes first; 0: none */
	uint32_t http_status; /* 0: not aborted */
	bool grpc;            /* aborted with grpc_status, and 200 as http_status */
	uint32_t grpc_status;
};

/* What is in force under that filter name: the weighted cluster's, else the route's, else `outer`. NULL: nothing. */
const struct fault_config *mesh_fault_in_force(const struct fault_config *outer, struct mesh_slice filter,
					       const struct route *route, const struct weighted_cluster *weighted);
/* `cluster`: where the route sends the request, absent: nowhere. `active`: faults that act now. */
void mesh_fault_choose(const struct fault_config *config, const struct route_request *request,
		       struct mesh_slice cluster, uint32_t active, uint64_t delay_random, uint64_t abort_random,
		       struct arena *scratch, struct fault *fault);

#endif
