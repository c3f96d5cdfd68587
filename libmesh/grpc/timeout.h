/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-timeout: at most eight digits and a unit (H M S m u n). */
#ifndef MESH_GRPC_TIMEOUT_H
#define MESH_GRPC_TIMEOUT_H

#include "base/slice.h"

#define MESH_GRPC_TIMEOUT_BYTES 9

/* The finest unit that eight digits reach, rounded up: never less than asked for. Returns the length; no NUL. */
size_t mesh_grpc_timeout_print(char text[MESH_GRPC_TIMEOUT_BYTES], uint64_t ns);
bool mesh_grpc_timeout_parse(struct mesh_slice text, uint64_t *ns); /* what is past 292 years is cut to that */

#endif
