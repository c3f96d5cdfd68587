/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization policies come out as the rules they were sent as: those a real istiod wrote, and each kind of rule alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/authz_words.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name

static void deny_of_istiod(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct authz_config *authz;
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	authz = authz_words_filter(listener, 1, 1);
	assert_int_equal(authz->rules->action, AUTHZ_DENY);
	assert_string_equal(authz_words_of(&words, authz->rules),
			    "ns[default]-policy[deny-some]-rule[0]: (and(or(path prefix /secret))) by (and(any))\n"
			    "ns[default]-policy[deny-some]-rule[1]: (and(any)) by (and(or(peer regex spiffe://.*/sa/evil)))\n");
	assert_int_equal(authz->shadow->action, AUTHZ_DENY); /* a dry run */
	assert_string_equal(authz_words_of(&words, authz->shadow),
			    "ns[default]-policy[dry]-rule[0]: (and(or(header :method exact DELETE))) by (and(any))\n");
	assert_text(authz->shadow_prefix, "istio_dry_run_deny_");
	assert_absent(authz->stat_prefix);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void allow_of_istiod(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct authz_config *authz;
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	authz = authz_words_filter(listener, 1, 2);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_null(authz->shadow);
	assert_string_equal(
		authz_words_of(&words, authz->rules),
		"ns[default]-policy[allow-many]-rule[0]: (and(or(header :method exact GET), or(path prefix /reviews/)))"
		" by (and(or(peer exact spiffe://cluster.local/ns/default/sa/client)))\n"
		"ns[default]-policy[allow-many]-rule[1]: (and(or(header :authority prefix-any-case reviews),"
		" not(or(header :authority exact-any-case evil.example)),"
		" or(header :method exact GET, header :method prefix P), not(or(header :method exact PATCH)),"
		" or(path exact /exact, path suffix /suffix, template), not(or(path prefix /admin)), or(port 9080),"
		" not(or(port 9999)), or(port 9080),"
		" or(sni exact outbound_.9080_._.reviews.default.svc.cluster.local)))"
		" by (and(or(peer regex .*/ns/default/.*, peer regex .*/ns/team-.*/.*), not(or(peer regex .*/ns/bad/.*)),"
		" or(header x-token exact secret, header x-token prefix pre), not(or(header x-token exact banned))))\n"
		"ns[default]-policy[allow-many]-rule[2]: (and(or(to 10.244.0.10/32)))"
		" by (and(or(direct 10.244.0.0/16), not(or(direct 10.244.0.99/32)), or(direct 10.244.0.0/24),"
		" not(or(peer regex .*/ns/other/.*)), or(peer regex .+)),"
		" and(or(remote 192.0.2.0/24), or(direct 10.244.0.0/24), not(or(peer regex .*/ns/other/.*)),"
		" or(peer regex .+)))\n"
		"ns[default]-policy[allow-many]-rule[3]: (and(any))"
		" by (and(not(or(peer exact spiffe://cluster.local/ns/default/sa/bad))))\n"
		"ns[default]-policy[allow-many]-rule[4]: (and(any))"
		" by (and(or(peer regex spiffe://.+/ns/default/(.+/|)sa/client(/.+)?)))\n");
	assert_string_equal(decode_fixture_notes(&f), "");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* On plain TCP: what asks for HTTP was left out of ALLOW, and of DENY only as far as it cannot be told. */
static void tcp_of_istiod(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct chain *chain;
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	chain = &listener->chains[2];
	assert_int_equal(chain->authz_count, 2);
	assert_int_equal(chain->authz[0].rules->action, AUTHZ_DENY);
	assert_text(chain->authz[0].stat_prefix, "tcp.");
	assert_string_equal(authz_words_of(&words, chain->authz[0].rules),
			    "ns[default]-policy[deny-some]-rule[0]: (and(any)) by (and(any))\n"
			    "ns[default]-policy[deny-some]-rule[1]: (and(any)) by (and(or(peer regex spiffe://.*/sa/evil)))\n");
	assert_string_equal(authz_words_of(&words, chain->authz[0].shadow),
			    "ns[default]-policy[dry]-rule[0]: (and(any)) by (and(any))\n");
	assert_int_equal(chain->authz[1].rules->action, AUTHZ_ALLOW);
	assert_int_equal(chain->authz[1].rules->count, 3);
	assert_text(chain->authz[1].shadow_prefix, "istio_dry_run_allow_");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* AUDIT is LOG, CUSTOM a shadow for ext_authz, and a claim may be a text or a list. */
static void claims_of_istiod(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct authz_config *authz;
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("unknown/guarded.echo-v1.delta.lds.pb"), "virtualInbound");
	authz = authz_words_filter(listener, 1, 1);
	assert_null(authz->rules); /* enforces nothing */
	assert_string_equal(authz_words_of(&words, authz->shadow),
			    "istio-ext-authz-ext-ns[default]-policy[custom]-rule[0]: (and(or(path prefix /admin))) by (and(any))\n");
	assert_text(authz->shadow_prefix, "istio_ext_authz_");
	authz = authz_words_filter(listener, 1, 4);
	assert_int_equal(authz->rules->action, AUTHZ_LOG);
	assert_string_equal(authz_words_of(&words, authz->rules),
			    "ns[default]-policy[audit]-rule[0]: (and(or(header :method exact DELETE))) by (and(any))\n");
	authz = authz_words_filter(listener, 1, 5);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_string_equal(authz_words_of(&words, authz->rules),
			    "ns[default]-policy[jwt]-rule[0]: (and(any)) by (and(and("
			    "metadata envoy.filters.http.jwt_authn/payload/iss exact tester, "
			    "metadata envoy.filters.http.jwt_authn/payload/sub regex .+), "
			    "or(metadata-list envoy.filters.http.jwt_authn/payload/groups exact g1, "
			    "metadata envoy.filters.http.jwt_authn/payload/groups exact g1)))\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void each_kind(void **state)
{
	static const struct {
		const char *policy, *words;
	} cases[] = {
		{"'permissions': [{'any': true}, {'header': {'name': 'X-A', 'presentMatch': true}}]," ANYONE,
		 "p: (any, header x-a present) by (any)\n"},
		{"'permissions': [{'header': {'name': 'a', 'presentMatch': false}}]," ANYONE, "p: (header-not a present) by (any)\n"},
		{"'permissions': [{'header': {'name': 'a', 'rangeMatch': {'start': '-1', 'end': '7'}, 'invertMatch': true}}]," ANYONE,
		 "p: (header-not a -1..7) by (any)\n"},
		{"'permissions': [{'header': {'name': 'a', 'stringMatch': {'contains': 'b'},"
		 " 'treatMissingHeaderAsEmpty': true}}]," ANYONE,
		 "p: (header-or-empty a contains b) by (any)\n"},
		{"'permissions': [{'urlPath': {'path': {'safeRegex': {'regex': '/a.*'}}}}]," ANYONE, "p: (path regex /a.*) by (any)\n"},
		{"'permissions': [{'urlPath': {'path': {'exact': '/A', 'ignoreCase': true}}}]," ANYONE,
		 "p: (path exact-any-case /A) by (any)\n"},
		{"'permissions': [{'destinationIp': {'addressPrefix': '2001:db8::', 'prefixLen': 32}}]," ANYONE,
		 "p: (to 2001:db8::/32) by (any)\n"},
		{"'permissions': [{'destinationPort': 65535}, {'destinationPortRange': {'start': 80, 'end': 65536}}]," ANYONE,
		 "p: (port 65535, ports 80..65536) by (any)\n"},
		{"'permissions': [{'requestedServerName': {'suffix': '.example'}}]," ANYONE, "p: (sni suffix .example) by (any)\n"},
		{"'permissions': [{'notRule': {'notRule': {'any': true}}}]," ANYONE, "p: (not(not(any))) by (any)\n"},
		{"'permissions': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}, {'key': 'b'}], 'value': {'stringMatch':"
		 " {'prefix': 'v'}}, 'invert': true}}]," ANYONE,
		 "p: (metadata-not f/a/b prefix v) by (any)\n"},
		{ANYTHING ", 'principals': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}], 'value': {'orMatch':"
			  " {'valueMatchers': [{'stringMatch': {'exact': 'x'}}, {'listMatch': {'oneOf': {'stringMatch':"
			  " {'exact': 'y'}}}}]}}, 'invert': true}}]",
		 "p: (any) by (not(or(metadata f/a exact x, metadata-list f/a exact y)))\n"},
		{ANYTHING ", 'principals': [{'authenticated': {}}]", "p: (any) by (peer)\n"},
		{ANYTHING ", 'principals': [{'authenticated': {'principalName': {'exact': 'spiffe://a/b'}}},"
			  " {'authenticated': {'principalName': {'prefix': 'spiffe://a/'}}},"
			  " {'authenticated': {'principalName': {'suffix': '/b'}}},"
			  " {'authenticated': {'principalName': {'safeRegex': {'regex': '.+'}}}}]",
		 "p: (any) by (peer exact spiffe://a/b, peer prefix spiffe://a/, peer suffix /b, peer regex .+)\n"},
		{ANYTHING ", 'principals': [{'sourceIp': {'addressPrefix': '10.0.0.0', 'prefixLen': 8}},"
			  " {'directRemoteIp': {'addressPrefix': '10.0.0.1', 'prefixLen': 32}},"
			  " {'remoteIp': {'addressPrefix': '::1', 'prefixLen': 128}}]",
		 "p: (any) by (source 10.0.0.0/8, direct 10.0.0.1/32, remote ::1/128)\n"},
		{ANYTHING ", 'principals': [{'orIds': {'ids': [{'header': {'name': 'a', 'stringMatch': {'exact': 'b'}}},"
			  " {'urlPath': {'path': {'prefix': '/'}}}]}}, {'andIds': {'ids': [{'notId': {'any': true}}]}}]",
		 "p: (any) by (or(header a exact b, path prefix /), and(not(any)))\n"},
		{ANYTHING ", 'principals': [{'filterState': {'key': 'io.istio.peer_principal', 'stringMatch': {'suffix': 'b'}}}]",
		 "p: (any) by (state io.istio.peer_principal suffix b)\n"},
	};
	struct decode_fixture f;
	struct authz_words words;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = authz_words_policy(&f, "ALLOW", cases[i].policy);

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		assert_string_equal(authz_words_of(&words, authz_words_filter(listener, 0, 0)->rules), cases[i].words);
		assert_string_equal(decode_fixture_notes(&f), "");
		mesh_config_object_release(listener);
	}
	assert_string_equal(decode_fixture_warnings(&f), "");
	decode_fixture_end(&f);
}

static void actions(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct authz_config *authz;
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = authz_words_rules(&f, "'rules': {}"); /* what istiod writes for "allow nothing" */
	authz = authz_words_filter(listener, 0, 0);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_int_equal(authz->rules->count, 0);
	mesh_config_object_release(listener);
	listener = authz_words_rules(&f, "'rulesStatPrefix': 'x'"); /* no rules at all: nothing is enforced */
	authz = authz_words_filter(listener, 0, 0);
	assert_null(authz->rules);
	assert_null(authz->shadow);
	assert_text(authz->stat_prefix, "x");
	mesh_config_object_release(listener);
	listener = authz_words_rules(&f, "'rules': {'action': 'LOG', 'policies': {'b': {" ANYTHING "," ANYONE "}, 'a': {" ANYTHING "," ANYONE
				  "}, 'c': {" ANYTHING "," ANYONE "}}}");
	authz = authz_words_filter(listener, 0, 0);
	assert_int_equal(authz->rules->action, AUTHZ_LOG);
	assert_string_equal(authz_words_of(&words, authz->rules), "a: (any) by (any)\nb: (any) by (any)\nc: (any) by (any)\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deny_of_istiod),   cmocka_unit_test(allow_of_istiod), cmocka_unit_test(tcp_of_istiod),
		cmocka_unit_test(claims_of_istiod), cmocka_unit_test(each_kind),       cmocka_unit_test(actions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
