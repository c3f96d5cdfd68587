/* SPDX-License-Identifier: Apache-2.0 */
/* A decoder of route configurations for tests: JSON with single quotes in, compiled values or words of refusal out. */
#ifndef TESTS_SUPPORT_ROUTE_FIXTURE_H
#define TESTS_SUPPORT_ROUTE_FIXTURE_H

#include "support/xds_sample.h"
#include "xds/decode.h"

struct route_fixture {
	struct arena arena;
	struct decode d;
	struct route_config *config; /* of the last decode, NULL when it was refused */
	unsigned warnings;	     /* of the last decode */
	char warning[200];	     /* the last of them */
};

/* For cmocka: *state is the fixture. */
int route_fixture_setup(void **state);
int route_fixture_teardown(void **state);

/* Decodes; the configuration lives until the next one. NULL: refused, the words are in f->d.why. */
struct route_config *route_fixture_try(struct route_fixture *f, struct mesh_slice bytes);
/* The same where a refusal fails the test. */
struct route_config *route_fixture_decode(struct route_fixture *f, struct mesh_slice bytes);
/* "'virtualHosts': [..], .." of a configuration named "r". */
struct mesh_slice route_fixture_pack(struct route_fixture *f, const char *members);
/* One virtual host "h" for "*" with these further members. */
struct mesh_slice route_fixture_pack_host(struct route_fixture *f, const char *members);
/* One route in that host; `match` and `action` are members of the route. */
struct mesh_slice route_fixture_pack_route(struct route_fixture *f, const char *match, const char *action);
struct virtual_host *route_fixture_host(struct route_fixture *f, const char *members);
/* A route for every path. */
struct route *route_fixture_action(struct route_fixture *f, const char *action);
/* A route to the cluster "c" for these members of its match. */
struct route *route_fixture_match(struct route_fixture *f, const char *match);

void assert_slice(struct mesh_slice slice, const char *expected);

#endif
