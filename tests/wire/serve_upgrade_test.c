/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may change the protocol: as the route says, else the listener, and as rules that look at the wish allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/served.h"

#define FIELDS(protocol) \
	":method: CONNECT\n:protocol: " protocol "\n:scheme: http\n:authority: reviews\n:path: /socket\n"
#define UPGRADE "GET /socket HTTP/1.1\r\nHost: reviews\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

static struct mesh_slice websocket[] = {{"websocket", 9}};

/* What either version is answered. */
static void assert_answers(struct served *served, const char *http1, const char *http2)
{
	struct h2_peer peer;
	char got[4096] = "";
	int fd = raw_connect(served->port);

	raw_say(fd, UPGRADE);
	assert_true(raw_until(fd, got, sizeof(got), "\r\n\r\n"));
	if (!strstr(got, http1))
		fail_msg("no \"%s\" in \"%s\"", http1, got);
	close(fd);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, FIELDS("websocket"));
	h2_peer_say(&peer);
	served_assert_heard(&peer, http2);
	served_disconnect(&peer);
}

/* The route's word counts, whichever it is. */
static void test_route_decides(void **state)
{
	struct served *served = *state;

	served->http.http2.allow_connect = true;
	served->route_upgrade = (struct route_upgrade){{"websocket", 9}, true};
	served_listen(served);
	assert_answers(served, "HTTP/1.1 101 ", "headers 1 :status=200");
	served->upgrades = websocket;
	served->upgrade_count = 1;
	served->route_upgrade.allowed = false;
	data_plane_publish(&served->plane);
	assert_answers(served, "HTTP/1.1 403 ", "headers 1 :status=403");
	assert_int_equal(atomic_load(&served->calls), 2);
}

static void test_no_route(void **state)
{
	struct served *served = *state;

	served->http.http2.allow_connect = true;
	served->no_route = true;
	served_listen(served);
	assert_answers(served, "HTTP/1.1 403 ", "headers 1 :status=403");
	served->upgrades = websocket;
	served->upgrade_count = 1;
	data_plane_publish(&served->plane);
	assert_answers(served, "HTTP/1.1 404 ", "headers 1 :status=404");
}

/* A rule over a header sees those that ask for the change, in either version. */
static void test_rules_see_the_wish(void **state)
{
	static const struct {
		const char *name;
		struct string_match value;
	} cases[] = {{"upgrade", {.text = {"websocket", 9}, .ignore_case = true}},
		     {"connection", {.text = {"upgrade", 7}, .ignore_case = true}}};
	static struct authz_rule permissions[2], anybody = {.kind = AUTHZ_ANY};
	static struct authz_policy policies[2];
	static struct authz_rules rules[2];
	static struct authz_config config[2];
	struct served *served = *state;
	struct h2_peer peer;

	served->http.http2.allow_connect = true;
	served->upgrades = websocket;
	served->upgrade_count = 1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		permissions[i] = (struct authz_rule){
			.kind = AUTHZ_HEADER,
			.header = {.name = mesh_slice_of(cases[i].name), .kind = HEADER_MATCH_STRING, .string = cases[i].value}};
		policies[i] = (struct authz_policy){mesh_slice_of("p"), &permissions[i], 1, &anybody, 1};
		rules[i] = (struct authz_rules){AUTHZ_DENY, &policies[i], 1};
		config[i] = (struct authz_config){.rules = &rules[i]};
		served->rules = &config[i];
		if (served->listener)
			data_plane_publish(&served->plane);
		else
			served_listen(served);
		assert_answers(served, "HTTP/1.1 403 ", "headers 1 :status=403");
		assert_int_equal(atomic_load(&served->calls), i);
		served_connect(served, &peer); /* others are not meant */
		served_ask(&peer, 1, "/version");
		served_assert_heard(&peer, "data 1 2 END;");
		served_disconnect(&peer);
	}
}

/* An extended CONNECT to nothing is no GET in disguise. */
static void test_empty_protocol(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.http2.allow_connect = true;
	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, FIELDS(""));
	h2_peer_say(&peer);
	served_assert_heard(&peer, "rst 1 PROTOCOL_ERROR");
	assert_int_equal(atomic_load(&served->calls), 0);
	served_disconnect(&peer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, served_open, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_route_decides),
		CASE(test_no_route),
		CASE(test_rules_see_the_wish),
		CASE(test_empty_protocol),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
