/* SPDX-License-Identifier: Apache-2.0 */
/* Which HTTP status a gRPC status counts as, code by code as Envoy maps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "policy/grpc_status.h"

static void every_code(void **state)
{
	static const struct {
		const char *status;
		int http;
	} rows[] = {
		{"0", 200},  {"1", 499},  {"2", 500},
		{"3", 400},  {"4", 504},  {"5", 404},
		{"6", 409},  {"7", 403},  {"8", 429},
		{"9", 400},  {"10", 409}, {"11", 400},
		{"12", 501}, {"13", 500}, {"14", 503},
		{"15", 500}, {"16", 401}, {"17", 500},
		{"-1", 500}, {"x", 500},  {"99999999999999999999", 500},
		{"", 207},
	};
	struct arena arena;
	struct headers none = {0};

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct headers headers = {0};

		assert_int_equal(
			mesh_headers_add(&headers, &arena, MESH_SLICE("Grpc-Status"), mesh_slice_of(rows[i].status)),
			0);
		if (mesh_grpc_judged_status(207, &headers) != rows[i].http)
			fail_msg("grpc-status %s: %d", rows[i].status, mesh_grpc_judged_status(207, &headers));
	}
	assert_int_equal(mesh_grpc_judged_status(503, &none), 503);
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_code)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
