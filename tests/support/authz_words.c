/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how a compiled rule reads. Refuses to know which rules are right. */
#include "support/authz_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <cmocka.h>

static void __attribute__((format(printf, 2, 3))) add(struct authz_words *words, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	words->len += (size_t)vsnprintf(words->text + words->len, sizeof(words->text) - words->len, format, args);
	va_end(args);
	assert_true(words->len < sizeof(words->text));
}

static void add_string(struct authz_words *words, const struct string_match *match)
{
	static const char *const kinds[] = {"exact", "prefix", "suffix", "contains", "regex"};

	add(words, " %s%s %.*s", kinds[match->kind], match->ignore_case ? "-any-case" : "", (int)match->text.len,
	    match->text.data ? match->text.data : "");
	assert_int_equal(match->regex != NULL, match->kind == STRING_MATCH_REGEX);
}

static void add_header(struct authz_words *words, const struct header_match *match)
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

static void add_cidr(struct authz_words *words, const char *what, const struct cidr *cidr)
{
	char text[64];

	assert_non_null(inet_ntop(cidr->v6 ? AF_INET6 : AF_INET, cidr->bytes, text, sizeof(text)));
	add(words, "%s %s/%u", what, text, cidr->bits);
}

static void add_metadata(struct authz_words *words, const struct authz_rule *rule)
{
	add(words, "metadata%s%s %.*s", rule->metadata_invert ? "-not" : "", rule->metadata_list ? "-list" : "",
	    (int)rule->metadata_filter.len, rule->metadata_filter.data);
	for (size_t i = 0; i < rule->metadata_path_count; i++)
		add(words, "/%.*s", (int)rule->metadata_path[i].len, rule->metadata_path[i].data);
	add_string(words, &rule->string);
}

static void add_rule(struct authz_words *words, const struct authz_rule *rule);

static void add_rules(struct authz_words *words, const char *what, const struct authz_rule *rules, size_t count)
{
	add(words, "%s(", what);
	for (size_t i = 0; i < count; i++) {
		add(words, "%s", i ? ", " : "");
		add_rule(words, &rules[i]);
	}
	add(words, ")");
}

static void add_text_rule(struct authz_words *words, const char *what, const struct authz_rule *rule)
{
	add(words, "%s", what);
	if (rule->has_string)
		add_string(words, &rule->string);
}

static void add_rule(struct authz_words *words, const struct authz_rule *rule)
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

const char *authz_words_of(struct authz_words *words, const struct authz_rules *rules)
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

const struct authz_config *authz_words_filter(const struct listener_config *listener, size_t chain, size_t filter)
{
	assert_true(chain < listener->chain_count);
	assert_non_null(listener->chains[chain].http);
	assert_int_equal(listener->chains[chain].http->filters[filter].kind, HTTP_FILTER_AUTHZ);
	return listener->chains[chain].http->filters[filter].authz;
}

struct mesh_slice authz_words_pack(struct decode_fixture *f, const char *rules)
{
	char text[2 * AUTHZ_WORDS_BYTES];

	snprintf(text, sizeof(text),
		 "'filterChains': [{'filters': [{'name': 'hcm', 'typedConfig': {"
		 "'@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		 "'statPrefix': 's', 'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}, 'httpFilters': ["
		 "{'name': 'rbac', 'typedConfig': {'@type': 'envoy.extensions.filters.http.rbac.v3.RBAC', %s}},"
		 "{'name': 'router', 'typedConfig': {'@type': 'envoy.extensions.filters.http.router.v3.Router'}}]}}]}]",
		 rules);
	return decode_fixture_pack_listener(f, text);
}

struct listener_config *authz_words_rules(struct decode_fixture *f, const char *rules)
{
	return mesh_decode_listener(&f->d, authz_words_pack(f, rules));
}

struct listener_config *authz_words_policy(struct decode_fixture *f, const char *action, const char *policy)
{
	char text[AUTHZ_WORDS_BYTES];

	snprintf(text, sizeof(text), "'rules': {'action': '%s', 'policies': {'p': {%s}}}", action, policy);
	return authz_words_rules(f, text);
}
