/* SPDX-License-Identifier: Apache-2.0 */
/* Limits hold exactly, also when several threads pull at them; the retry budget follows the load. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "policy/circuit_breaker.h"

static void limits(void **state)
{
	atomic_uint use = 0;

	assert_false(mesh_breaker_take(&use, 0));
	assert_true(mesh_breaker_take(&use, 2));
	assert_true(mesh_breaker_take(&use, 2));
	assert_false(mesh_breaker_take(&use, 2));
	assert_int_equal(use, 2);
	mesh_breaker_give(&use);
	assert_true(mesh_breaker_take(&use, 2));
	assert_true(mesh_breaker_take(&use, UINT32_MAX));
	assert_int_equal(use, 3);
}

struct shared {
	atomic_uint use, highest, refused;
};

static void *pull(void *argument)
{
	struct shared *shared = argument;

	for (unsigned i = 0; i < 20000; i++) {
		if (mesh_breaker_take(&shared->use, 3)) {
			unsigned now = shared->use, high = shared->highest;

			while (now > high && !atomic_compare_exchange_weak(&shared->highest, &high, now))
				;
			mesh_breaker_give(&shared->use);
		} else {
			shared->refused++;
		}
	}
	return NULL;
}

static void threads(void **state)
{
	struct shared shared = {0, 0, 0};
	pthread_t thread[3];

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, pull, &shared), 0);
	for (size_t i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(shared.use, 0);
	assert_true(shared.highest <= 3);
	assert_int_equal(shared.refused, 0); /* three pullers always fit under three */
}

static void budget(void **state)
{
	struct circuit_breaker config = {.retries = 7, .budget_percent = 20, .budget_min = 3};
	struct breaker_use use = {0};

	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 7);
	config.has_budget = true;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 3);
	use.requests = 10;
	use.pending = 5;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 3);
	use.requests = 95;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 20);
	use.requests = 99;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 20);
	config.budget_percent = 0;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 3);
	config.budget_percent = NAN;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), 3);
	config.budget_percent = 1e300;
	assert_int_equal(mesh_breaker_retry_limit(&config, &use), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits),
		cmocka_unit_test(threads),
		cmocka_unit_test(budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
