/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what stands around the few members a test is about. Refuses to know what they mean. */
#include "support/route_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NESTING_MAX = 100 };

static void warn(void *user, const char *what)
{
	struct route_fixture *f = user;

	f->warnings++;
	snprintf(f->warning, sizeof(f->warning), "%s", what);
}

int route_fixture_setup(void **state)
{
	static struct route_fixture f;

	f.config = NULL;
	mesh_arena_init(&f.arena, &mesh_mem_default, 0);
	mesh_decode_init(&f.d, &mesh_mem_default, NESTING_MAX, warn, &f);
	*state = &f;
	return 0;
}

int route_fixture_teardown(void **state)
{
	struct route_fixture *f = *state;

	mesh_config_object_release(f->config);
	mesh_decode_free(&f->d);
	mesh_arena_free(&f->arena);
	return 0;
}

struct route_config *route_fixture_try(struct route_fixture *f, struct mesh_slice bytes)
{
	mesh_config_object_release(f->config);
	f->warnings = 0;
	f->warning[0] = '\0';
	f->config = mesh_decode_routes(&f->d, bytes);
	return f->config;
}

struct route_config *route_fixture_decode(struct route_fixture *f, struct mesh_slice bytes)
{
	if (!route_fixture_try(f, bytes))
		fail_msg("%s", f->d.why.text);
	return f->config;
}

struct mesh_slice route_fixture_pack(struct route_fixture *f, const char *members)
{
	return xds_sample_json(&f->arena, "1", "{'@type': 'envoy.config.route.v3.RouteConfiguration', 'name': 'r', %s}",
			       members)
		.bytes;
}

struct mesh_slice route_fixture_pack_host(struct route_fixture *f, const char *members)
{
	const char *text =
		mesh_arena_printf(&f->arena, "'virtualHosts': [{'name': 'h', 'domains': ['*'], %s}]", members).data;

	assert_non_null(text);
	return route_fixture_pack(f, text);
}

struct mesh_slice route_fixture_pack_route(struct route_fixture *f, const char *match, const char *action)
{
	const char *text = mesh_arena_printf(&f->arena, "'routes': [{'match': {%s}, %s}]", match, action).data;

	assert_non_null(text);
	return route_fixture_pack_host(f, text);
}

struct virtual_host *route_fixture_host(struct route_fixture *f, const char *members)
{
	return route_fixture_decode(f, route_fixture_pack_host(f, members))->hosts;
}

struct route *route_fixture_action(struct route_fixture *f, const char *action)
{
	return route_fixture_decode(f, route_fixture_pack_route(f, "'prefix': '/'", action))->hosts->routes;
}

struct route *route_fixture_match(struct route_fixture *f, const char *match)
{
	return route_fixture_decode(f, route_fixture_pack_route(f, match, "'route': {'cluster': 'c'}"))->hosts->routes;
}

void assert_slice(struct mesh_slice slice, const char *expected)
{
	if (slice.len != strlen(expected) || memcmp(slice.len ? slice.data : "", expected, slice.len) != 0)
		fail_msg("\"%.*s\" is not \"%s\"", (int)slice.len, slice.data ? slice.data : "", expected);
}
