/* SPDX-License-Identifier: Apache-2.0 */
/* A call that runs out of memory on purpose. */
#ifndef TESTS_SUPPORT_FAILING_CALL_H
#define TESTS_SUPPORT_FAILING_CALL_H

#include <mesh/call.h>

#include "support/failing_mem.h"

/*
 * Makes the call on a worker of its own, failing the n-th allocation of its mesh's memory from there on, and waits for its
 * end. `after` is run with the worker while memory still fails; NULL: nothing is. What the call or its start ended with goes to
 * *result. False: all went by without reaching that allocation.
 */
bool failing_call(struct mesh *mesh, struct failing_mem *mem, size_t n, const struct mesh_request *request,
		  void (*after)(struct mesh_worker *worker), int *result);

#endif
