/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization policies come out as the rules they were sent as: those a real istiod wrote, and each kind of rule alone.
 * One that is not understood refuses, wherever it stands, and is noted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <mesh/error.h>

#include "support/decode_fixture.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name
#define ANYONE	     "'principals': [{'any': true}]"
#define ANYTHING     "'permissions': [{'any': true}]"
/* A wire field no message has: number 1000, varint 1. */
#define UNKNOWN_FIELD "\xc0\x3e\x01"

enum { RULE_BYTES = 4096 };

/* A rule in words, to be compared as a whole. */
struct words {
	char text[RULE_BYTES];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct words *words, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	words->len += (size_t)vsnprintf(words->text + words->len, sizeof(words->text) - words->len, format, args);
	va_end(args);
	assert_true(words->len < sizeof(words->text));
}

static void add_string(struct words *words, const struct string_match *match)
{
	static const char *const kinds[] = {"exact", "prefix", "suffix", "contains", "regex"};

	add(words, " %s%s %.*s", kinds[match->kind], match->ignore_case ? "-any-case" : "", (int)match->text.len,
	    match->text.data ? match->text.data : "");
	assert_int_equal(match->regex != NULL, match->kind == STRING_MATCH_REGEX);
}

static void add_header(struct words *words, const struct header_match *match)
{
	add(words, "header%s%s %.*s", match->invert ? "-not" : "", match->missing_as_empty ? "-or-empty" : "",
	    (int)match->name.len, match->name.data);
	if (match->kind == HEADER_MATCH_STRING)
		add_string(words, &match->string);
	else if (match->kind == HEADER_MATCH_RANGE)
		add(words, " %lld..%lld", (long long)match->from, (long long)match->to);
	else
		add(words, " present");
}

static void add_cidr(struct words *words, const char *what, const struct cidr *cidr)
{
	char text[64];

	assert_non_null(inet_ntop(cidr->v6 ? AF_INET6 : AF_INET, cidr->bytes, text, sizeof(text)));
	add(words, "%s %s/%u", what, text, cidr->bits);
}

static void add_metadata(struct words *words, const struct authz_rule *rule)
{
	add(words, "metadata%s%s %.*s", rule->metadata_invert ? "-not" : "", rule->metadata_list ? "-list" : "",
	    (int)rule->metadata_filter.len, rule->metadata_filter.data);
	for (size_t i = 0; i < rule->metadata_path_count; i++)
		add(words, "/%.*s", (int)rule->metadata_path[i].len, rule->metadata_path[i].data);
	add_string(words, &rule->string);
}

static void add_rule(struct words *words, const struct authz_rule *rule);

static void add_rules(struct words *words, const char *what, const struct authz_rule *rules, size_t count)
{
	add(words, "%s(", what);
	for (size_t i = 0; i < count; i++) {
		add(words, "%s", i ? ", " : "");
		add_rule(words, &rules[i]);
	}
	add(words, ")");
}

static void add_text_rule(struct words *words, const char *what, const struct authz_rule *rule)
{
	add(words, "%s", what);
	if (rule->has_string)
		add_string(words, &rule->string);
}

static void add_rule(struct words *words, const struct authz_rule *rule)
{
	switch (rule->kind) {
	case AUTHZ_ANY:
		return add(words, "any");
	case AUTHZ_NEVER:
		return add(words, "never");
	case AUTHZ_AND:
		return add_rules(words, "and", rule->items, rule->count);
	case AUTHZ_OR:
		return add_rules(words, "or", rule->items, rule->count);
	case AUTHZ_NOT:
		return add_rules(words, "not", rule->items, rule->count);
	case AUTHZ_HEADER:
		return add_header(words, &rule->header);
	case AUTHZ_URL_PATH:
		return add_text_rule(words, "path", rule);
	case AUTHZ_DESTINATION_IP:
		return add_cidr(words, "to", &rule->cidr);
	case AUTHZ_DESTINATION_PORT:
		return add(words, "port %u", rule->port_from);
	case AUTHZ_DESTINATION_PORT_RANGE:
		return add(words, "ports %u..%u", rule->port_from, rule->port_to);
	case AUTHZ_SERVER_NAME:
		return add_text_rule(words, "sni", rule);
	case AUTHZ_AUTHENTICATED:
		return add_text_rule(words, "peer", rule);
	case AUTHZ_SOURCE_IP:
		return add_cidr(words, "source", &rule->cidr);
	case AUTHZ_DIRECT_REMOTE_IP:
		return add_cidr(words, "direct", &rule->cidr);
	case AUTHZ_REMOTE_IP:
		return add_cidr(words, "remote", &rule->cidr);
	case AUTHZ_METADATA:
		return add_metadata(words, rule);
	case AUTHZ_FILTER_STATE:
		add(words, "state %.*s", (int)rule->key.len, rule->key.data);
		return add_string(words, &rule->string);
	case AUTHZ_URI_TEMPLATE:
		assert_non_null(rule->string.regex);
		return add(words, "template");
	}
	fail_msg("rule of kind %d", (int)rule->kind);
}

/* "<name>: <permissions> by <principals>", a line for each policy. */
static const char *policies(struct words *words, const struct authz_rules *rules)
{
	words->len = 0;
	words->text[0] = '\0';
	for (size_t i = 0; i < rules->count; i++) {
		const struct authz_policy *policy = &rules->policies[i];

		add(words, "%.*s: ", (int)policy->name.len, policy->name.data);
		add_rules(words, "", policy->permissions, policy->permission_count);
		add_rules(words, " by ", policy->principals, policy->principal_count);
		add(words, "\n");
	}
	return words->text;
}

static const struct authz_config *authz_filter(const struct listener_config *listener, size_t chain, size_t filter)
{
	assert_true(chain < listener->chain_count);
	assert_non_null(listener->chains[chain].http);
	assert_int_equal(listener->chains[chain].http->filters[filter].kind, HTTP_FILTER_AUTHZ);
	return listener->chains[chain].http->filters[filter].authz;
}

/* A listener with these rules: JSON of an RBAC message. NULL: refused. */
static struct listener_config *with_rules(struct decode_fixture *f, const char *rules)
{
	char text[RULE_BYTES];

	snprintf(text, sizeof(text),
		 "'filterChains': [{'filters': [{'name': 'hcm', 'typedConfig': {"
		 "'@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		 "'statPrefix': 's', 'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}, 'httpFilters': ["
		 "{'name': 'rbac', 'typedConfig': {'@type': 'envoy.extensions.filters.http.rbac.v3.RBAC', %s}},"
		 "{'name': 'router', 'typedConfig': {'@type': 'envoy.extensions.filters.http.router.v3.Router'}}]}}]}]",
		 rules);
	return decode_fixture_listener_json(f, text);
}

/* One policy "p" of that action, by its permissions and principals. */
static struct listener_config *with_policy(struct decode_fixture *f, const char *action, const char *policy)
{
	char text[RULE_BYTES];

	snprintf(text, sizeof(text), "'rules': {'action': '%s', 'policies': {'p': {%s}}}", action, policy);
	return with_rules(f, text);
}

static void deny_of_istiod(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct authz_config *authz;
	struct words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	authz = authz_filter(listener, 1, 1);
	assert_int_equal(authz->rules->action, AUTHZ_DENY);
	assert_string_equal(policies(&words, authz->rules),
			    "ns[default]-policy[deny-some]-rule[0]: (and(or(path prefix /secret))) by (and(any))\n"
			    "ns[default]-policy[deny-some]-rule[1]: (and(any)) by (and(or(peer regex spiffe://.*/sa/evil)))\n");
	assert_int_equal(authz->shadow->action, AUTHZ_DENY); /* a dry run */
	assert_string_equal(policies(&words, authz->shadow),
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
	struct words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	authz = authz_filter(listener, 1, 2);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_null(authz->shadow);
	assert_string_equal(
		policies(&words, authz->rules),
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
	struct words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	chain = &listener->chains[2];
	assert_int_equal(chain->authz_count, 2);
	assert_int_equal(chain->authz[0].rules->action, AUTHZ_DENY);
	assert_text(chain->authz[0].stat_prefix, "tcp.");
	assert_string_equal(policies(&words, chain->authz[0].rules),
			    "ns[default]-policy[deny-some]-rule[0]: (and(any)) by (and(any))\n"
			    "ns[default]-policy[deny-some]-rule[1]: (and(any)) by (and(or(peer regex spiffe://.*/sa/evil)))\n");
	assert_string_equal(policies(&words, chain->authz[0].shadow),
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
	struct words words;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("unknown/guarded.echo-v1.delta.lds.pb"), "virtualInbound");
	authz = authz_filter(listener, 1, 1);
	assert_null(authz->rules); /* enforces nothing */
	assert_string_equal(policies(&words, authz->shadow),
			    "istio-ext-authz-ext-ns[default]-policy[custom]-rule[0]: (and(or(path prefix /admin))) by (and(any))\n");
	assert_text(authz->shadow_prefix, "istio_ext_authz_");
	authz = authz_filter(listener, 1, 4);
	assert_int_equal(authz->rules->action, AUTHZ_LOG);
	assert_string_equal(policies(&words, authz->rules),
			    "ns[default]-policy[audit]-rule[0]: (and(or(header :method exact DELETE))) by (and(any))\n");
	authz = authz_filter(listener, 1, 5);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_string_equal(policies(&words, authz->rules),
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
	struct words words;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = with_policy(&f, "ALLOW", cases[i].policy);

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		assert_string_equal(policies(&words, authz_filter(listener, 0, 0)->rules), cases[i].words);
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
	struct words words;

	decode_fixture_begin(&f);
	listener = with_rules(&f, "'rules': {}"); /* what istiod writes for "allow nothing" */
	authz = authz_filter(listener, 0, 0);
	assert_int_equal(authz->rules->action, AUTHZ_ALLOW);
	assert_int_equal(authz->rules->count, 0);
	mesh_config_object_release(listener);
	listener = with_rules(&f, "'rulesStatPrefix': 'x'"); /* no rules at all: nothing is enforced */
	authz = authz_filter(listener, 0, 0);
	assert_null(authz->rules);
	assert_null(authz->shadow);
	assert_text(authz->stat_prefix, "x");
	mesh_config_object_release(listener);
	listener = with_rules(&f, "'rules': {'action': 'LOG', 'policies': {'b': {" ANYTHING "," ANYONE "}, 'a': {" ANYTHING "," ANYONE
				  "}, 'c': {" ANYTHING "," ANYONE "}}}");
	authz = authz_filter(listener, 0, 0);
	assert_int_equal(authz->rules->action, AUTHZ_LOG);
	assert_string_equal(policies(&words, authz->rules), "a: (any) by (any)\nb: (any) by (any)\nc: (any) by (any)\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* What grants never does, what denies always does, and the opposite under NOT; the place is noted. */
static void unknown_kinds(void **state)
{
#define CUSTOM	"{'custom': {'name': 'c', 'typedConfig': {'@type': 'google.protobuf.Empty'}}}"
#define MATCHER "{'matcher': {'name': 'm', 'typedConfig': {'@type': 'google.protobuf.Empty'}}}"
	static const struct {
		const char *action, *policy, *words, *note;
	} cases[] = {
		{"ALLOW", "'permissions': [" MATCHER "]," ANYONE, "p: (never) by (any)\n",
		 "policies[\"p\"].permissions[0]: matcher: unknown kind of rule\n"},
		{"DENY", "'permissions': [" MATCHER "]," ANYONE, "p: (any) by (any)\n",
		 "policies[\"p\"].permissions[0]: matcher: unknown kind of rule\n"},
		{"ALLOW", "'permissions': [{'notRule': " MATCHER "}]," ANYONE, "p: (not(any)) by (any)\n",
		 "permissions[0].not_rule: matcher: unknown kind of rule\n"},
		{"DENY", "'permissions': [{'andRules': {'rules': [{'notRule': " MATCHER "}]}}]," ANYONE,
		 "p: (and(not(never))) by (any)\n", "permissions[0].and_rules.rules[0].not_rule: matcher: unknown kind of rule\n"},
		{"ALLOW", "'permissions': [{'notRule': {'notRule': " MATCHER "}}]," ANYONE, "p: (not(not(never))) by (any)\n",
		 "not_rule.not_rule: matcher: unknown kind of rule\n"},
		{"ALLOW", ANYTHING ", 'principals': [{'orIds': {'ids': [{'any': true}, " CUSTOM "]}}]", "p: (any) by (or(any, never))\n",
		 "principals[0].or_ids.ids[1]: custom: unknown kind of rule\n"},
		{"DENY", ANYTHING ", 'principals': [" CUSTOM "]", "p: (any) by (any)\n", "principals[0]: custom: unknown kind of rule\n"},
		{"DENY", ANYTHING ", 'principals': [{'notId': " CUSTOM "}]", "p: (any) by (not(never))\n",
		 "principals[0].not_id: custom: unknown kind of rule\n"},
		{"ALLOW", ANYTHING ", 'principals': [{'filterState': {'key': 'k', 'stringMatch': {'exact': 'v'}}}]",
		 "p: (any) by (never)\n", "principals[0]: filter_state: unknown kind of rule\n"},
		{"ALLOW", ANYTHING ", 'principals': [{'sourcedMetadata': {'metadataMatcher': {'filter': 'f'}}}]", "p: (any) by (never)\n",
		 "principals[0]: sourced_metadata: unknown kind of rule\n"},
		{"ALLOW", ANYTHING ", 'principals': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}], 'value': {'boolMatch': true}}}]",
		 "p: (any) by (never)\n", "principals[0].metadata.value: metadata value: unknown kind of rule\n"},
		{"DENY",
		 "'permissions': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}], 'value': {'orMatch': {'valueMatchers':"
		 " [{'stringMatch': {'exact': 'x'}}, {'boolMatch': true}]}}}}]," ANYONE,
		 "p: (any) by (any)\n", "permissions[0].metadata.value: metadata value: unknown kind of rule\n"},
		{"ALLOW",
		 "'permissions': [{'uriTemplate': {'name': 't', 'typedConfig': {'@type': 'google.protobuf.Empty'}}}]," ANYONE,
		 "p: (never) by (any)\n", "permissions[0].uri_template: uri_template: unknown kind of rule\n"},
		{"DENY", "'permissions': [{'urlPath': {'path': {'custom': {'name': 'c', 'typedConfig': {'@type': 'google.protobuf.Empty'}}}}}]," ANYONE,
		 "p: (any) by (any)\n", "permissions[0].url_path.path: custom string matcher: unknown kind of rule\n"},
		{"ALLOW", ANYTHING "," ANYONE ", 'celConfig': {}", "p: (never) by (any)\n",
		 "rules.policies[\"p\"]: condition: unknown kind of rule\n"},
		{"DENY", ANYTHING "," ANYONE ", 'celConfig': {}", "p: (any) by (any)\n",
		 "rules.policies[\"p\"]: condition: unknown kind of rule\n"},
	};
	struct decode_fixture f;
	struct words words;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = with_policy(&f, cases[i].action, cases[i].policy);

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		if (strcmp(policies(&words, authz_filter(listener, 0, 0)->rules), cases[i].words) != 0)
			fail_msg("case %zu: %s", i, words.text);
		if (!strstr(decode_fixture_notes(&f), cases[i].note))
			fail_msg("case %zu notes: %s", i, decode_fixture_notes(&f));
		mesh_config_object_release(listener);
	}
	assert_string_equal(decode_fixture_warnings(&f), "");
	decode_fixture_end(&f);
}

/* Where nothing is enforced, it is only said. */
static void unknown_not_enforced(void **state)
{
	static const char warning[] = "authorization rule of kind matcher in rules that are not enforced: passed over\n";
	struct decode_fixture f;
	struct listener_config *listener;
	struct words words;

	decode_fixture_begin(&f);
	listener = with_policy(&f, "LOG", "'permissions': [" MATCHER "]," ANYONE);
	assert_string_equal(policies(&words, authz_filter(listener, 0, 0)->rules), "p: (never) by (any)\n");
	assert_string_equal(decode_fixture_notes(&f), "");
	assert_string_equal(decode_fixture_warnings(&f), warning);
	mesh_config_object_release(listener);
	listener = with_rules(&f, "'shadowRules': {'action': 'DENY', 'policies': {'p': {'permissions': [" MATCHER "]," ANYONE "}}}");
	assert_null(authz_filter(listener, 0, 0)->rules);
	assert_non_null(authz_filter(listener, 0, 0)->shadow);
	assert_string_equal(decode_fixture_notes(&f), "");
	assert_string_equal(decode_fixture_warnings(&f), warning);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deny_of_istiod), cmocka_unit_test(allow_of_istiod),  cmocka_unit_test(tcp_of_istiod),
		cmocka_unit_test(claims_of_istiod), cmocka_unit_test(each_kind),      cmocka_unit_test(actions),
		cmocka_unit_test(unknown_kinds),  cmocka_unit_test(unknown_not_enforced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
