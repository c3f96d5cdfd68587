/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule that is not understood refuses, wherever it stands, and its place is noted; one that is wrong refuses the listener
 * in words that name the place and the value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/authz_words.h"

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
	struct authz_words words;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = authz_words_policy(&f, cases[i].action, cases[i].policy);

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		if (strcmp(authz_words_of(&words, authz_words_filter(listener, 0, 0)->rules), cases[i].words) != 0)
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
	struct authz_words words;

	decode_fixture_begin(&f);
	listener = authz_words_policy(&f, "LOG", "'permissions': [" MATCHER "]," ANYONE);
	assert_string_equal(authz_words_of(&words, authz_words_filter(listener, 0, 0)->rules), "p: (never) by (any)\n");
	assert_string_equal(decode_fixture_notes(&f), "");
	assert_string_equal(decode_fixture_warnings(&f), warning);
	mesh_config_object_release(listener);
	listener = authz_words_rules(&f, "'shadowRules': {'action': 'DENY', 'policies': {'p': {'permissions': [" MATCHER "]," ANYONE "}}}");
	assert_null(authz_words_filter(listener, 0, 0)->rules);
	assert_non_null(authz_words_filter(listener, 0, 0)->shadow);
	assert_string_equal(decode_fixture_notes(&f), "");
	assert_string_equal(decode_fixture_warnings(&f), warning);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* The same text, with the field before "MARKER" made one that nobody knows: an empty message 1 becomes an empty 15. */
static struct listener_config *with_strange_field(struct decode_fixture *f, const char *rules)
{
	return mesh_decode_listener(&f->d, decode_fixture_patch(f, authz_words_pack(f, rules), MESH_SLICE("\x0a\0\x12\x06MARKER"),
								MESH_SLICE("\x7a\0\x12\x06MARKER")));
}

/* A field that is not known may narrow what the known ones beside it say, however deep it is. */
static void strange_fields(void **state)
{
#define MARKED "{'safeRegex': {'googleRe2': {}, 'regex': 'MARKER'}}"
	static const struct {
		const char *action, *policy, *words, *note;
	} cases[] = {
		{"ALLOW", "'permissions': [{'urlPath': {'path': " MARKED "}}]," ANYONE, "p: (never) by (any)\n",
		 "permissions[0].url_path.path: a field unknown here: unknown kind of rule\n"},
		{"DENY", "'permissions': [{'requestedServerName': " MARKED "}]," ANYONE, "p: (any) by (any)\n",
		 "permissions[0].requested_server_name: a field unknown here: unknown kind of rule\n"},
		{"ALLOW", ANYTHING ", 'principals': [{'notId': {'header': {'name': 'a', 'stringMatch': " MARKED "}}}]",
		 "p: (any) by (not(any))\n", "principals[0].not_id.header: a field unknown here: unknown kind of rule\n"},
		{"ALLOW",
		 ANYTHING ", 'principals': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}], 'value': {'orMatch': {'valueMatchers':"
			  " [{'stringMatch': {'exact': 'x'}}, {'stringMatch': " MARKED "}]}}}}]",
		 "p: (any) by (never)\n", "principals[0].metadata.value: a field unknown here: unknown kind of rule\n"},
	};
	struct decode_fixture f;
	struct authz_words words;
	char text[AUTHZ_WORDS_BYTES];

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener;

		snprintf(text, sizeof(text), "'rules': {'action': '%s', 'policies': {'p': {%s}}}", cases[i].action, cases[i].policy);
		listener = with_strange_field(&f, text);
		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		if (strcmp(authz_words_of(&words, authz_words_filter(listener, 0, 0)->rules), cases[i].words) != 0)
			fail_msg("case %zu: %s", i, words.text);
		if (!strstr(decode_fixture_notes(&f), cases[i].note))
			fail_msg("case %zu notes: %s", i, decode_fixture_notes(&f));
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

/* The same of a rule that is nothing else, of a list that has more than its rules, and of the whole. */
static void strange_lists(void **state)
{
#define PATH "'urlPath': {'path': {'prefix': 'MARKER'}}"
	static const struct {
		const char *rules;
		struct mesh_slice from, to;
		const char *words, *note;
	} cases[] = {
		{"'rules': {'policies': {'p': {'permissions': [{'notRule': {'requestedServerName': {'exact': 'MARKER'}}}]," ANYONE "}}}",
		 MESH_SLICE("\x4a\x08\x0a\x06MARKER"), MESH_SLICE("\x7a\x08\x0a\x06MARKER"),
		 "p: (not(any)) by (any)\n", "permissions[0].not_rule: a field unknown here: unknown kind of rule\n"},
		{"'rules': {'policies': {'p': {" ANYTHING ", 'principals': [{" PATH "}]}}}",
		 MESH_SLICE("\x4a\x0a\x0a\x08\x12\x06MARKER"), MESH_SLICE("\x7a\x0a\x0a\x08\x12\x06MARKER"),
		 "p: (any) by (never)\n", "principals[0]: a field unknown here: unknown kind of rule\n"},
		{"'rules': {'policies': {'p': {'permissions': [{'andRules': {'rules': [{'any': true}, {" PATH "}]}}]," ANYONE "}}}",
		 MESH_SLICE("\x0a\x0c\x52\x0a\x0a\x08\x12\x06MARKER"), MESH_SLICE("\x7a\x0c\x52\x0a\x0a\x08\x12\x06MARKER"),
		 "p: (never) by (any)\n", "permissions[0].and_rules: a field unknown here: unknown kind of rule\n"},
		{"'rules': {'action': 'DENY', 'policies': {'p': {" ANYTHING ", 'principals': [{'andIds': {'ids': [{'any': true}, {" PATH
		 "}]}}]}}}",
		 MESH_SLICE("\x0a\x0c\x4a\x0a\x0a\x08\x12\x06MARKER"), MESH_SLICE("\x7a\x0c\x4a\x0a\x0a\x08\x12\x06MARKER"),
		 "p: (any) by (any)\n", "principals[0].and_ids: a field unknown here: unknown kind of rule\n"},
		{"'rules': {'action': 'DENY', 'auditLoggingOptions': {'loggerConfigs': [{'isOptional': true}]}}",
		 MESH_SLICE("\x08\x01\x1a\x04\x12\x02\x10\x01"), MESH_SLICE("\x08\x01\x22\x04\x12\x02\x10\x01"),
		 "", "http_filters[0].typed_config.rules: unknown field: not supported\n"},
	};
	struct decode_fixture f;
	struct authz_words words;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mesh_slice bytes = authz_words_pack(&f, cases[i].rules);
		struct listener_config *listener =
			mesh_decode_listener(&f.d, decode_fixture_patch(&f, bytes, cases[i].from, cases[i].to));
		const struct authz_rules *rules;

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		rules = authz_words_filter(listener, 0, 0)->rules;
		if (strcmp(authz_words_of(&words, rules), cases[i].words) != 0)
			fail_msg("case %zu: %s", i, words.text);
		if (rules->count == 0)
			assert_int_equal(rules->action, AUTHZ_ALLOW); /* which then allows nothing */
		if (!strstr(decode_fixture_notes(&f), cases[i].note))
			fail_msg("case %zu notes: %s", i, decode_fixture_notes(&f));
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

/* Names and what is wrong with them; the whole listener is refused, the last good one stays. */
static void refused(void **state)
{
	static const struct {
		const char *policy, *path, *what;
	} cases[] = {
		{ANYONE, "rules.policies[\"p\"].permissions", "must not be empty"},
		{ANYTHING, "rules.policies[\"p\"].principals", "must not be empty"},
		{"'permissions': [{}]," ANYONE, "permissions[0]", "a rule is required"},
		{ANYTHING ", 'principals': [{}]", "principals[0]", "a principal is required"},
		{"'permissions': [{'any': false}]," ANYONE, "permissions[0].any", "must be true"},
		{ANYTHING ", 'principals': [{'any': false}]", "principals[0].any", "must be true"},
		{"'permissions': [{'andRules': {}}]," ANYONE, "permissions[0].and_rules.rules", "must not be empty"},
		{ANYTHING ", 'principals': [{'orIds': {}}]", "principals[0].or_ids.ids", "must not be empty"},
		{"'permissions': [{'header': {'stringMatch': {'exact': 'a'}}}]," ANYONE, "permissions[0].header.name", "must not be empty"},
		{"'permissions': [{'urlPath': {}}]," ANYONE, "permissions[0].url_path.path", "is required"},
		{"'permissions': [{'urlPath': {'path': {}}}]," ANYONE, "permissions[0].url_path.path", "match_pattern is required"},
		{"'permissions': [{'urlPath': {'path': {'prefix': ''}}}]," ANYONE, "url_path.path.prefix", "must not be empty"},
		{"'permissions': [{'urlPath': {'path': {'safeRegex': {'regex': '(a'}}}}]," ANYONE, "url_path.path.safe_regex.regex", "(a"},
		{"'permissions': [{'urlPath': {'path': {'safeRegex': {'regex': ''}}}}]," ANYONE, "safe_regex.regex", "must not be empty"},
		{"'permissions': [{'destinationPort': 65536}]," ANYONE, "permissions[0].destination_port", "65536: must"},
		{"'permissions': [{'destinationPortRange': {'start': -1, 'end': 2}}]," ANYONE, "destination_port_range", "-1..2: must"},
		{"'permissions': [{'destinationPortRange': {'start': 1, 'end': 65537}}]," ANYONE, "destination_port_range", "1..65537: must"},
		{"'permissions': [{'destinationPortRange': {'start': 80, 'end': 80}}]," ANYONE, "destination_port_range", "80..80: holds no"},
		{"'permissions': [{'destinationIp': {'addressPrefix': 'host', 'prefixLen': 8}}]," ANYONE, "destination_ip.address_prefix",
		 "\"host\": not an IP"},
		{ANYTHING ", 'principals': [{'directRemoteIp': {'addressPrefix': '10.0.0.0', 'prefixLen': 33}}]",
		 "principals[0].direct_remote_ip.prefix_len", "33: longer"},
		{"'permissions': [{'metadata': {'filter': 'f', 'value': {'stringMatch': {'exact': 'a'}}}}]," ANYONE,
		 "permissions[0].metadata.path", "must not be empty"},
		{"'permissions': [{'metadata': {'path': [{'key': 'a'}], 'value': {'stringMatch': {'exact': 'a'}}}}]," ANYONE,
		 "permissions[0].metadata.filter", "must not be empty"},
		{"'permissions': [{'metadata': {'filter': 'f', 'path': [{'key': 'a'}], 'value': {'orMatch': {}}, 'invert': true}}]," ANYONE,
		 "permissions[0].metadata.value.or_match.value_matchers", "must not be empty"},
		{"'permissions': [{'uriTemplate': {'name': 't', 'typedConfig': {'@type':"
		 " 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'pathTemplate': 'no'}}}]," ANYONE,
		 "path_template", "\"no\": not a path template"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(authz_words_policy(&f, "ALLOW", cases[i].policy));
		assert_int_equal(f.d.rc, MESH_ERROR_INVALID);
		if (!strstr(f.d.why.text, cases[i].path) || !strstr(f.d.why.text, cases[i].what))
			fail_msg("case %zu says: %s", i, f.d.why.text);
	}
	assert_null(authz_words_rules(&f, "'rules': {'action': 7}"));
	assert_non_null(strstr(f.d.why.text, "http_filters[0].typed_config.rules.action: 7: unknown"));
	decode_fixture_end(&f);
}

/* The wire may repeat a key of a map. */
static void same_name_twice(void **state)
{
	struct decode_fixture f;
	struct mesh_slice bytes;

	decode_fixture_begin(&f);
	bytes = authz_words_pack(&f, "'rules': {'policies': {'pol-1': {" ANYTHING "," ANYONE "}, 'pol-2': {" ANYTHING "," ANYONE "}}}");
	assert_null(mesh_decode_listener(&f.d, decode_fixture_patch(&f, bytes, MESH_SLICE("pol-2"), MESH_SLICE("pol-1"))));
	assert_non_null(strstr(f.d.why.text, "rules.policies: \"pol-1\": comes twice"));
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_kinds), cmocka_unit_test(unknown_not_enforced), cmocka_unit_test(strange_fields),
		cmocka_unit_test(strange_lists),
		cmocka_unit_test(refused),	 cmocka_unit_test(same_name_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
