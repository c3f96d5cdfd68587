/* SPDX-License-Identifier: Apache-2.0 */
/* What a gRPC status is in HTTP's terms, for whoever judges servers by those. Pure. */
#ifndef MESH_POLICY_GRPC_STATUS_H
#define MESH_POLICY_GRPC_STATUS_H

#include "base/header.h"

/*
 * The status to judge the answer to a gRPC request by: grpc-status's where its head has one (an unknown one is 500), else
 * `status` itself.
 */
int mesh_grpc_judged_status(int status, const struct headers *response);

#endif
