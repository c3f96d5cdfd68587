/* SPDX-License-Identifier: Apache-2.0 */
/* What each command operator becomes, as a sidecar was seen to write it, and what is not known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "policy/format.h"
#include "policy/metadata_match.h"

#define S(text) mesh_slice_of(text)

static struct arena arena;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static bool ask(const struct format_facts *facts, enum format_op op, struct arena *scratch, struct mesh_slice *value)
{
	if (op == FORMAT_PROTOCOL)
		*value = S("HTTP/1.1");
	return op != FORMAT_TRACE_ID; /* stands for no memory here */
}

static void find(const void *from, struct mesh_slice filter, const struct mesh_slice *path, size_t count,
		 struct metadata_value *value)
{
	if (mesh_slice_equal(filter, S("jwt")) && count == 1 && mesh_slice_equal(path[0], S("sub")))
		*value = (struct metadata_value){.kind = METADATA_STRING, .text = S("me")};
}

static void assert_format(const struct format_facts *facts, struct format_piece piece, const char *expected)
{
	struct format_piece pieces[] = {
		{.op = FORMAT_TEXT, .text = S("["), .max = SIZE_MAX}, piece, {.op = FORMAT_TEXT, .text = S("]"), .max = SIZE_MAX}};
	struct format format = {pieces, 3};
	struct mesh_slice text;

	if (!piece.max)
		pieces[1].max = SIZE_MAX;
	text = mesh_format(&format, facts, S("-"), &arena);
	if (!mesh_slice_equal(text, S(expected)))
		fail_msg("operator %d: %.*s, not %s", (int)piece.op, (int)text.len, text.data, expected);
}

static void values(void **state)
{
	struct headers request = {0}, response = {0};
	struct mesh_slice authority = S("v.test"), path = S("/ops/p?q=1&w=2&bare");
	struct mesh_slice sub = S("sub");
	const struct request_metadata metadata = {find, NULL};
	struct format_facts facts = {.method = S("GET"), .scheme = S("http"), .authority = &authority, .path = &path,
				     .request = &request, .response = &response, .body = S("hello"),
				     .start_ns = 1795607737625000000ull, .now_ns = 1795607737628000000ull,
				     .metadata = &metadata, .ask = ask};

	mesh_headers_add(&request, &arena, S("x-a"), S("AAA"));
	mesh_headers_add(&request, &arena, S("X-Multi"), S("m1"));
	mesh_headers_add(&request, &arena, S("x-multi"), S("m2"));
	mesh_headers_add(&request, &arena, S("content-type"), S("application/grpc+proto"));
	mesh_headers_add(&response, &arena, S("x-up"), S("one"));
	mesh_headers_add(&response, &arena, S("grpc-status"), S("5"));
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S("x-a")}, "[AAA]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S("x-no"), .other = S("x-a"), .max = 2}, "[AA]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S("x-no")}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S("x-multi")}, "[m1]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S(":method")}, "[GET]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S(":authority")}, "[v.test]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S(":path")}, "[/ops/p?q=1&w=2&bare]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_REQ, .text = S(":status")}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_RESP, .text = S("x-up")}, "[one]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_TRAILER, .text = S("x-up")}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_PATH, .without_query = true}, "[/ops/p]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_PATH, .original = true}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_QUERY_PARAM, .text = S("w")}, "[2]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_QUERY_PARAM, .text = S("bare")}, "[]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_QUERY_PARAM, .text = S("no")}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_QUERY_PARAMS}, "[q=1&w=2&bare]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_LOCAL_REPLY_BODY}, "[hello]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_GRPC_STATUS}, "[NotFound]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_GRPC_STATUS, .text = S("NUMBER")}, "[5]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_GRPC_STATUS, .text = S("SNAKE_STRING")}, "[NOT_FOUND]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_NOTHING}, "[-]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_PROTOCOL}, "[HTTP/1.1]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_DYNAMIC_METADATA, .text = S("jwt"), .path = &sub, .path_count = 1},
		      "[me]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_DYNAMIC_METADATA, .text = S("other"), .path = &sub, .path_count = 1},
		      "[-]");
	mesh_headers_add(&request, &arena, S("x-envoy-original-path"), S("/before?a=b"));
	assert_format(&facts, (struct format_piece){.op = FORMAT_PATH}, "[/before?a=b]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_PATH, .current = true, .without_query = true}, "[/ops/p]");
}

static void times(void **state)
{
	struct format_facts facts = {.start_ns = 1795607737625000000ull};

	assert_format(&facts, (struct format_piece){.op = FORMAT_START_TIME, .text = S("%s")}, "[1795607737]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_START_TIME, .text = S("%Y-%m-%dT%H:%M:%E3SZ")},
		      "[2026-11-25T11:55:37.625Z]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_START_TIME, .text = S("%Y-%m-%dT%H:%M:%S.%3f%z")},
		      "[2026-11-25T11:55:37.625+0000]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_START_TIME, .text = S("%%x%")}, "[%x]");
	assert_format(&facts, (struct format_piece){.op = FORMAT_EMIT_TIME, .text = S("%s")}, "[-]");
}

static void memory(void **state)
{
	const struct format_piece piece = {.op = FORMAT_TRACE_ID, .max = SIZE_MAX};
	const struct format format = {&piece, 1};
	struct format_facts facts = {.ask = ask};

	assert_null(mesh_format(&format, &facts, S("-"), &arena).data);
	facts.ask = NULL;
	assert_true(mesh_slice_equal(mesh_format(&format, &facts, S("-"), &arena), S("-")));
	assert_non_null(mesh_format(&(struct format){NULL, 0}, &facts, S("-"), &arena).data);
}

static void metadata_conditions(void **state)
{
	struct mesh_slice path[] = {S("sub")};
	struct value_match inner[] = {{.kind = VALUE_MATCH_NULL}, {.kind = VALUE_MATCH_BOOL}};
	const struct {
		struct value_match value;
		bool absent, there;
	} rows[] = {
		{{.kind = VALUE_MATCH_STRING, .string = {.text = S("me")}}, false, true},
		{{.kind = VALUE_MATCH_STRING, .string = {.text = S("you")}}, false, false},
		{{.kind = VALUE_MATCH_PRESENT, .wanted = true}, false, true},
		{{.kind = VALUE_MATCH_PRESENT}, false, false},
		{{.kind = VALUE_MATCH_NULL}, false, false},
		{{.kind = VALUE_MATCH_BOOL}, false, false},
		{{.kind = VALUE_MATCH_NUMBER}, false, false},
		{{.kind = VALUE_MATCH_RANGE, .from = -1, .to = 1}, false, false},
		{{.kind = VALUE_MATCH_LIST, .items = inner, .count = 1}, false, false},
		{{.kind = VALUE_MATCH_OR, .items = inner, .count = 2}, false, false},
	};
	const struct request_metadata said = {find, NULL};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct metadata_match match = {.filter = S("jwt"), .path = path, .path_count = 1, .value = rows[i].value};

		for (int turn = 0; turn < 2; turn++) {
			match.invert = turn;
			if (mesh_metadata_matches(&match, NULL) != (rows[i].absent != match.invert) ||
			    mesh_metadata_matches(&match, &said) != (rows[i].there != match.invert))
				fail_msg("row %zu, inverted %d", i, turn);
		}
	}
}

/* A header of a peer, named often, does not become memory without bound; text of the configuration may be long. */
static void too_much(void **state)
{
	struct format_piece pieces[200];
	char *value = mesh_arena_alloc(&arena, 60000), *body = mesh_arena_alloc(&arena, 2 << 20);
	struct headers request = {0};
	struct format_facts facts = {.request = &request};
	struct format format = {pieces, 200};
	size_t before;

	memset(value, 'v', 60000);
	memset(body, 'b', 2 << 20);
	assert_int_equal(mesh_headers_add(&request, &arena, S("x"), mesh_slice_make(value, 60000)), 0);
	for (size_t i = 0; i < 200; i++)
		pieces[i] = (struct format_piece){.op = FORMAT_REQ, .text = S("x"), .max = SIZE_MAX};
	before = arena.total;
	assert_null(mesh_format(&format, &facts, S("-"), &arena).data);
	assert_true(arena.total - before < 1 << 20);
	for (size_t i = 0; i < 200; i++)
		pieces[i].max = 5000;
	assert_int_equal(mesh_format(&format, &facts, S("-"), &arena).len, 1000000);
	facts.body = mesh_slice_make(body, 2 << 20);
	pieces[0] = (struct format_piece){.op = FORMAT_TEXT, .text = facts.body, .max = SIZE_MAX};
	pieces[1] = (struct format_piece){.op = FORMAT_LOCAL_REPLY_BODY, .max = SIZE_MAX};
	assert_int_equal(mesh_format(&format, &facts, S("-"), &arena).len, 990000 + (4 << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values, setup, teardown),
		cmocka_unit_test_setup_teardown(times, setup, teardown),
		cmocka_unit_test_setup_teardown(memory, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(metadata_conditions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
