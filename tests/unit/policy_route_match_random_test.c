/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random tables of routes against random requests: the route found is the first that a second reading of the rules, written
 * as they are told, lets through. A small alphabet, so that all cases are met; a fixed seed, so that they are met again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "policy/route_match.h"

enum { ROUNDS = 60000, ROUTES = 6, TEXT = 12 };

static struct rand dice;
static unsigned hits, misses;

static unsigned roll(unsigned below)
{
	return (unsigned)mesh_rand_below(&dice, below);
}

/* One route and one request as text, for the second reading. */
struct plain_route {
	enum path_match_kind kind;
	bool fold, no_parameters, grpc;
	char path[TEXT];
	bool asks_header, invert;
	char header[TEXT]; /* "" : present */
	int query;         /* 0 none, 1 present, 2 absent, 3 equal */
	char value[TEXT];
	enum tls_match tls;
	int cookie;        /* 0 none, 1 equal, 2 inverted */
};

struct plain_request {
	char path[TEXT], query[TEXT];
	char headers[2][TEXT];
	size_t header_count;
	bool grpc, tls;
	char cookie[TEXT]; /* "" : none */
};

static void some_text(char *into, const char *alphabet, unsigned most)
{
	unsigned len = roll(most + 1);

	for (unsigned i = 0; i < len; i++)
		into[i] = alphabet[roll((unsigned)strlen(alphabet))];
	into[len] = '\0';
}

static void some_path(char *into)
{
	into[0] = '/';
	some_text(into + 1, "aAb/;", 4);
}

static bool same(const char *a, const char *b, size_t len, bool fold)
{
	for (size_t i = 0; i < len; i++) {
		char x = a[i], y = b[i];

		if (!x || !y)
			return x == y && i + 1 == len;
		if (fold) {
			x = x == 'A' ? 'a' : x;
			y = y == 'A' ? 'a' : y;
		}
		if (x != y)
			return false;
	}
	return true;
}

static bool path_read(const struct plain_route *route, const struct plain_request *request)
{
	char path[TEXT];
	size_t wanted = strlen(route->path), len;

	strcpy(path, request->path);
	if (route->no_parameters)
		path[strcspn(path, ";")] = '\0';
	len = strlen(path);
	if (len < wanted || !same(path, route->path, wanted, route->fold))
		return false;
	if (route->kind == PATH_MATCH_EXACT)
		return len == wanted;
	return route->kind == PATH_MATCH_PREFIX || len == wanted || path[wanted] == '/';
}

static bool header_read(const struct plain_route *route, const struct plain_request *request)
{
	bool any = false;

	if (!route->header[0]) /* presence */
		return (request->header_count > 0) != route->invert;
	if (!request->header_count)
		return false;
	for (size_t i = 0; i < request->header_count; i++)
		any = any || strcmp(request->headers[i], route->header) == 0;
	return any != route->invert;
}

static bool query_read(const struct plain_route *route, const struct plain_request *request)
{
	bool there = strncmp(request->query, "k=", 2) == 0;

	if (route->query == 2)
		return !there;
	return there && (route->query == 1 || strcmp(request->query + 2, route->value) == 0);
}

static bool plain_reading(const struct plain_route *route, const struct plain_request *request)
{
	if (!path_read(route, request) || (route->grpc && !request->grpc))
		return false;
	if (route->asks_header && !header_read(route, request))
		return false;
	if (route->query && !query_read(route, request))
		return false;
	if (route->cookie && (strcmp(request->cookie, "1") == 0) != (route->cookie == 1))
		return false;
	return route->tls == TLS_MATCH_ANY || (route->tls == TLS_MATCH_YES) == request->tls;
}

static void make_route(struct plain_route *route)
{
	static const enum path_match_kind kinds[] = {PATH_MATCH_EXACT, PATH_MATCH_PREFIX, PATH_MATCH_SEPARATED_PREFIX};

	memset(route, 0, sizeof(*route));
	route->kind = kinds[roll(3)];
	route->fold = roll(2);
	route->no_parameters = roll(4) == 0;
	route->grpc = roll(8) == 0;
	some_path(route->path);
	route->asks_header = roll(3) == 0;
	route->invert = roll(2);
	some_text(route->header, "xy", 1);
	route->query = roll(3) ? 0 : (int)roll(4);
	some_text(route->value, "xy", 1);
	route->tls = roll(6) ? TLS_MATCH_ANY : roll(2) ? TLS_MATCH_YES : TLS_MATCH_NO;
	route->cookie = roll(6) ? 0 : 1 + (int)roll(2);
}

static void make_request(struct plain_request *request)
{
	memset(request, 0, sizeof(*request));
	some_path(request->path);
	if (roll(2))
		strcpy(request->query, "k=");
	some_text(request->query + strlen(request->query), "xy", 1);
	request->header_count = roll(3);
	for (size_t i = 0; i < request->header_count; i++)
		some_text(request->headers[i], "xy", 1);
	request->grpc = roll(2);
	request->tls = roll(2);
	some_text(request->cookie, "12", 1);
}

static void compile(const struct plain_route *plain, struct route *route, struct header_match *header, struct query_match *query,
		    struct cookie_match *cookie)
{
	struct string_match one = {.kind = STRING_MATCH_EXACT, .text = mesh_slice_of("1")};

	*header = (struct header_match){.name = mesh_slice_of("h"), .invert = plain->invert,
					.kind = plain->header[0] ? HEADER_MATCH_STRING : HEADER_MATCH_PRESENT,
					.string = {.text = mesh_slice_of(plain->header)}};
	*query = (struct query_match){.name = mesh_slice_of("k"), .present_only = plain->query != 3, .absent = plain->query == 2,
				      .string = {.text = mesh_slice_of(plain->value)}};
	*cookie = (struct cookie_match){.name = mesh_slice_of("c"), .invert = plain->cookie == 2, .string = one};
	route->match = (struct route_match){
		.kind = plain->kind, .ignore_case = plain->fold, .path = mesh_slice_of(plain->path), .headers = header,
		.header_count = plain->asks_header, .queries = query, .query_count = plain->query != 0, .cookies = cookie,
		.cookie_count = plain->cookie != 0, .grpc_only = plain->grpc, .no_parameters = plain->no_parameters,
		.asks_tls = plain->tls != TLS_MATCH_ANY, .presented = plain->tls, .validated = plain->tls};
}

static void put(struct headers *headers, struct arena *arena, const char *name, const char *value)
{
	assert_int_equal(mesh_headers_add(headers, arena, mesh_slice_of(name), mesh_slice_of(value)), 0);
}

static void one_round(struct arena *arena)
{
	struct plain_route plain[ROUTES];
	struct route routes[ROUTES] = {{.timeout_ns = -1}};
	struct header_match header[ROUTES];
	struct query_match query[ROUTES];
	struct cookie_match cookie[ROUTES];
	struct virtual_host host = {.routes = routes, .route_count = 1 + roll(ROUTES)};
	struct plain_request request;
	struct headers headers = {0};
	struct route_request asked = {.headers = &headers};
	const struct route *found, *expected = NULL;

	make_request(&request);
	for (size_t i = host.route_count; i-- > 0;) {
		make_route(&plain[i]);
		compile(&plain[i], &routes[i], &header[i], &query[i], &cookie[i]);
		if (plain_reading(&plain[i], &request))
			expected = &routes[i];
	}
	for (size_t i = 0; i < request.header_count; i++)
		put(&headers, arena, i ? "H" : "h", request.headers[i]);
	if (request.grpc)
		put(&headers, arena, "content-type", "application/grpc");
	if (request.cookie[0])
		put(&headers, arena, "cookie", mesh_arena_printf(arena, "x=1; c=%s; c=9", request.cookie).data);
	asked.path = mesh_arena_printf(arena, request.query[0] ? "%s?%s" : "%s", request.path, request.query);
	asked.peer_presented = asked.peer_validated = request.tls;
	found = mesh_route_find(&host, &asked, arena);
	hits += found != NULL;
	misses += found == NULL;
	if (found != expected)
		fail_msg("%.*s: route %td, not %td", (int)asked.path.len, asked.path.data, found ? found - routes : -1,
			 expected ? expected - routes : -1);
}

static void first_match_wins(void **state)
{
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_rand_seed(&dice, 20261125);
	for (int i = 0; i < ROUNDS; i++) {
		one_round(&arena);
		mesh_arena_reset(&arena);
	}
	assert_true(hits > ROUNDS / 20 && misses > ROUNDS / 20); /* both were met often enough to mean something */
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(first_match_wins)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
