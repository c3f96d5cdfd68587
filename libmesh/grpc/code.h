/* SPDX-License-Identifier: Apache-2.0 */
/* Which gRPC code stands for what went wrong below gRPC. */
#ifndef MESH_GRPC_CODE_H
#define MESH_GRPC_CODE_H

#include <mesh/grpc.h>

#include "base/slice.h"

const char *mesh_grpc_name_of(int code); /* "UNKNOWN" for numbers that are none */
int mesh_grpc_code_of_http(int status);  /* of a response without grpc-status */
int mesh_grpc_code_of_error(int error);  /* of an enum mesh_error */
/* As a sidecar that answers `status` would tell it, but for what is `late` by the application's own deadline. */
int mesh_grpc_code_of_failure(int error, int status, bool late);
int mesh_grpc_code_of_reset(uint32_t code);          /* of an RST_STREAM received, HTTP/2's codes */
int mesh_grpc_code_of_text(struct mesh_slice text); /* grpc-status; UNKNOWN when it is no number of a code */

#endif
