/* SPDX-License-Identifier: Apache-2.0 */
/* Decides when memory fails and when it is there again. Refuses to know what may become of the call. */
#include "support/failing_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <mesh/worker.h>

enum { WAIT_MS = 10000 };

bool failing_call(struct mesh *mesh, struct failing_mem *mem, size_t n, const struct mesh_request *request,
		  void (*after)(struct mesh_worker *worker), int *result)
{
	struct mesh_request own = *request;
	struct mesh_worker *worker;
	struct mesh_call *call;
	bool failed;

	assert_int_equal(mesh_worker_new(mesh, &worker), 0);
	own.worker = worker;
	atomic_store(&mem->failed, 0);
	mem->fail_at = atomic_load(&mem->calls) + n;
	*result = mesh_call_start(mesh, &own, NULL, NULL, &call);
	if (!*result) {
		*result = mesh_call_wait(call, WAIT_MS);
		mesh_call_release(call);
	}
	if (after)
		after(worker);
	mem->fail_at = 0;
	failed = atomic_load(&mem->failed);
	mesh_worker_free(worker);
	return failed;
}
