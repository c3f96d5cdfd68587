/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what a gRPC status counts as among HTTP's, as Envoy maps it. Refuses to know what follows from that. */
#include "policy/grpc_status.h"

static const int http_of[] = {200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401};

int mesh_grpc_judged_status(int status, const struct headers *response)
{
	struct mesh_slice text = mesh_headers_get(response, MESH_SLICE("grpc-status"));
	uint64_t code;

	if (!text.len)
		return status;
	if (!mesh_slice_to_u64(text, &code) || code >= sizeof(http_of) / sizeof(http_of[0]))
		return 500;
	return http_of[code];
}
