/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization policies (Envoy RBAC). A rule of a kind that is not understood becomes the answer that refuses: never true
 * where it would help to allow, always true where it would help to deny, the opposite under each NOT.
 */
#include "xds/decode.h"

#include <stdlib.h>

#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/cel.pb-c.h"
#include "envoy/config/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "google/protobuf/any.pb-c.h"

#define PEER_PRINCIPAL "io.istio.peer_principal"

typedef Envoy__Config__Rbac__V3__Permission permission_message;
typedef Envoy__Config__Rbac__V3__Principal principal_message;

/* What a rule works towards where it stands. */
struct stance {
	enum authz_action action;
	bool negated; /* under an odd number of NOTs */
	bool shadow;
};

static void permission(struct decode *d, const struct stance *stance, const permission_message *message,
		       struct authz_rule *rule);
static void principal(struct decode *d, const struct stance *stance, const principal_message *message,
		      struct authz_rule *rule);

static void unknown(struct decode *d, const struct stance *stance, const char *what, struct authz_rule *rule)
{
	bool match = stance->action == AUTHZ_DENY;

	*rule = (struct authz_rule){.kind = match != stance->negated ? AUTHZ_ANY : AUTHZ_NEVER};
	if (stance->shadow || stance->action == AUTHZ_LOG)
		mesh_decode_warning(d, "authorization rule of kind %s in rules that are not enforced: passed over", what);
	else
		mesh_decode_note(d, "%s: unknown kind of rule", what);
}

static void string_rule(struct decode *d, const struct stance *stance, const char *field,
			const Envoy__Type__Matcher__V3__StringMatcher *matcher, enum authz_rule_kind kind,
			struct authz_rule *rule)
{
	rule->kind = kind;
	rule->has_string = true;
	mesh_decode_push(d, field);
	if (!mesh_decode_string_match(d, matcher, &rule->string))
		unknown(d, stance, "custom string matcher", rule);
	mesh_decode_pop(d);
}

static void path_rule(struct decode *d, const struct stance *stance, const Envoy__Type__Matcher__V3__PathMatcher *matcher,
		      struct authz_rule *rule)
{
	if (matcher->rule_case == ENVOY__TYPE__MATCHER__V3__PATH_MATCHER__RULE_PATH)
		string_rule(d, stance, "url_path.path", matcher->path, AUTHZ_URL_PATH, rule);
	else
		mesh_decode_fail_field(d, "url_path.path", "is required");
}

static void header_rule(struct decode *d, const struct stance *stance, const Envoy__Config__Route__V3__HeaderMatcher *matcher,
			struct authz_rule *rule)
{
	rule->kind = AUTHZ_HEADER;
	mesh_decode_push(d, "header");
	if (!mesh_decode_header_match(d, matcher, &rule->header))
		unknown(d, stance, "header matcher", rule);
	mesh_decode_pop(d);
}

static void cidr_rule(struct decode *d, const char *field, const Envoy__Config__Core__V3__CidrRange *range,
		      enum authz_rule_kind kind, struct authz_rule *rule)
{
	rule->kind = kind;
	mesh_decode_push(d, field);
	mesh_decode_cidr(d, range, &rule->cidr);
	mesh_decode_pop(d);
}

/* A text, alone or as one of a list: what Istio writes for claims of a token. */
static bool metadata_value(struct decode *d, const Envoy__Type__Matcher__V3__ValueMatcher *value, struct authz_rule *rule)
{
	if (value && value->match_pattern_case == ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_LIST_MATCH &&
	    value->list_match->match_pattern_case == ENVOY__TYPE__MATCHER__V3__LIST_MATCHER__MATCH_PATTERN_ONE_OF) {
		rule->metadata_list = true;
		value = value->list_match->one_of;
	}
	if (!value || value->match_pattern_case != ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_STRING_MATCH)
		return false;
	rule->has_string = true;
	return mesh_decode_string_match(d, value->string_match, &rule->string);
}

static void metadata_rule(struct decode *d, const struct stance *stance,
			  const Envoy__Type__Matcher__V3__MetadataMatcher *matcher, struct authz_rule *rule)
{
	rule->kind = AUTHZ_METADATA;
	mesh_decode_push(d, "metadata");
	rule->metadata_filter = mesh_decode_required(d, "filter", matcher->filter);
	rule->metadata_invert = matcher->invert;
	rule->metadata_path = mesh_decode_array(d, matcher->n_path, sizeof(*rule->metadata_path));
	rule->metadata_path_count = rule->metadata_path ? matcher->n_path : 0;
	if (matcher->n_path == 0)
		mesh_decode_fail_field(d, "path", "must not be empty");
	for (size_t i = 0; i < rule->metadata_path_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "path", i);
		rule->metadata_path[i] = mesh_decode_required(d, "key", matcher->path[i]->key);
		mesh_decode_pop(d);
	}
	mesh_decode_push(d, "value");
	if (d->rc == 0 && !metadata_value(d, matcher->value, rule))
		unknown(d, stance, "metadata value", rule);
	mesh_decode_pop(d);
	mesh_decode_pop(d);
}

static void template_rule(struct decode *d, const struct stance *stance,
			  const Envoy__Config__Core__V3__TypedExtensionConfig *extension, struct authz_rule *rule)
{
	rule->kind = AUTHZ_URI_TEMPLATE;
	rule->has_string = true;
	mesh_decode_push(d, "uri_template");
	rule->string.kind = STRING_MATCH_REGEX;
	rule->string.regex = mesh_decode_uri_template(d, extension->typed_config);
	if (!rule->string.regex)
		unknown(d, stance, "uri_template", rule);
	mesh_decode_pop(d);
}

static void permission_set(struct decode *d, const struct stance *stance, const char *field,
			   const Envoy__Config__Rbac__V3__Permission__Set *set, enum authz_rule_kind kind,
			   struct authz_rule *rule)
{
	rule->kind = kind;
	mesh_decode_push(d, field);
	if (set->n_rules == 0)
		mesh_decode_fail_field(d, "rules", "must not be empty");
	rule->items = mesh_decode_array(d, set->n_rules, sizeof(*rule->items));
	rule->count = rule->items ? set->n_rules : 0;
	for (size_t i = 0; i < rule->count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "rules", i);
		permission(d, stance, set->rules[i], &rule->items[i]);
		mesh_decode_pop(d);
	}
	mesh_decode_pop(d);
}

static void permission_not(struct decode *d, const struct stance *stance, const permission_message *inner,
			   struct authz_rule *rule)
{
	struct stance opposite = {stance->action, !stance->negated, stance->shadow};

	rule->kind = AUTHZ_NOT;
	rule->items = mesh_decode_array(d, 1, sizeof(*rule->items));
	rule->count = 1;
	mesh_decode_push(d, "not_rule");
	if (rule->items)
		permission(d, &opposite, inner, rule->items);
	mesh_decode_pop(d);
}

static void port_range(struct decode *d, const Envoy__Type__V3__Int32Range *range, struct authz_rule *rule)
{
	rule->kind = AUTHZ_DESTINATION_PORT_RANGE;
	if (range->start < 0 || range->start > 65536 || range->end < 0 || range->end > 65536)
		mesh_decode_fail_field(d, "destination_port_range", "must be within 0..65536");
	rule->port_from = (uint32_t)range->start;
	rule->port_to = (uint32_t)range->end;
}

static void permission(struct decode *d, const struct stance *stance, const permission_message *message,
		       struct authz_rule *rule)
{
	switch (message->rule_case) {
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_AND_RULES:
		permission_set(d, stance, "and_rules", message->and_rules, AUTHZ_AND, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_OR_RULES:
		permission_set(d, stance, "or_rules", message->or_rules, AUTHZ_OR, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_NOT_RULE:
		permission_not(d, stance, message->not_rule, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_ANY:
		if (!message->any)
			mesh_decode_fail_field(d, "any", "must be true");
		rule->kind = AUTHZ_ANY;
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_HEADER:
		header_rule(d, stance, message->header, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_URL_PATH:
		path_rule(d, stance, message->url_path, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_IP:
		cidr_rule(d, "destination_ip", message->destination_ip, AUTHZ_DESTINATION_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_PORT:
		rule->kind = AUTHZ_DESTINATION_PORT;
		rule->port_from = mesh_decode_port(d, "destination_port", message->destination_port);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_PORT_RANGE:
		port_range(d, message->destination_port_range, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_METADATA:
		metadata_rule(d, stance, message->metadata, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_REQUESTED_SERVER_NAME:
		string_rule(d, stance, "requested_server_name", message->requested_server_name, AUTHZ_SERVER_NAME, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_URI_TEMPLATE:
		template_rule(d, stance, message->uri_template, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_MATCHER:
		unknown(d, stance, "matcher", rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_SOURCED_METADATA:
		unknown(d, stance, "sourced_metadata", rule);
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail(d, "a rule is required");
		unknown(d, stance, "a field unknown here", rule);
	}
}

static void principal_set(struct decode *d, const struct stance *stance, const char *field,
			  const Envoy__Config__Rbac__V3__Principal__Set *set, enum authz_rule_kind kind,
			  struct authz_rule *rule)
{
	rule->kind = kind;
	mesh_decode_push(d, field);
	if (set->n_ids == 0)
		mesh_decode_fail_field(d, "ids", "must not be empty");
	rule->items = mesh_decode_array(d, set->n_ids, sizeof(*rule->items));
	rule->count = rule->items ? set->n_ids : 0;
	for (size_t i = 0; i < rule->count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "ids", i);
		principal(d, stance, set->ids[i], &rule->items[i]);
		mesh_decode_pop(d);
	}
	mesh_decode_pop(d);
}

static void principal_not(struct decode *d, const struct stance *stance, const principal_message *inner,
			  struct authz_rule *rule)
{
	struct stance opposite = {stance->action, !stance->negated, stance->shadow};

	rule->kind = AUTHZ_NOT;
	rule->items = mesh_decode_array(d, 1, sizeof(*rule->items));
	rule->count = 1;
	mesh_decode_push(d, "not_id");
	if (rule->items)
		principal(d, &opposite, inner, rule->items);
	mesh_decode_pop(d);
}

static void filter_state(struct decode *d, const struct stance *stance,
			 const Envoy__Type__Matcher__V3__FilterStateMatcher *matcher, struct authz_rule *rule)
{
	rule->kind = AUTHZ_FILTER_STATE;
	rule->key = mesh_decode_required(d, "filter_state.key", matcher->key);
	if (matcher->matcher_case == ENVOY__TYPE__MATCHER__V3__FILTER_STATE_MATCHER__MATCHER_STRING_MATCH &&
	    mesh_slice_equal(rule->key, MESH_SLICE(PEER_PRINCIPAL)))
		string_rule(d, stance, "filter_state.string_match", matcher->string_match, AUTHZ_FILTER_STATE, rule);
	else
		unknown(d, stance, "filter_state", rule);
}

static void principal(struct decode *d, const struct stance *stance, const principal_message *message,
		      struct authz_rule *rule)
{
	switch (message->identifier_case) {
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_AND_IDS:
		principal_set(d, stance, "and_ids", message->and_ids, AUTHZ_AND, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_OR_IDS:
		principal_set(d, stance, "or_ids", message->or_ids, AUTHZ_OR, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_NOT_ID:
		principal_not(d, stance, message->not_id, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_ANY:
		if (!message->any)
			mesh_decode_fail_field(d, "any", "must be true");
		rule->kind = AUTHZ_ANY;
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_AUTHENTICATED:
		rule->kind = AUTHZ_AUTHENTICATED;
		if (message->authenticated->principal_name)
			string_rule(d, stance, "authenticated.principal_name", message->authenticated->principal_name,
				    AUTHZ_AUTHENTICATED, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_SOURCE_IP:
		cidr_rule(d, "source_ip", message->source_ip, AUTHZ_SOURCE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_DIRECT_REMOTE_IP:
		cidr_rule(d, "direct_remote_ip", message->direct_remote_ip, AUTHZ_DIRECT_REMOTE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_REMOTE_IP:
		cidr_rule(d, "remote_ip", message->remote_ip, AUTHZ_REMOTE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_HEADER:
		header_rule(d, stance, message->header, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_URL_PATH:
		path_rule(d, stance, message->url_path, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_METADATA:
		metadata_rule(d, stance, message->metadata, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_FILTER_STATE:
		filter_state(d, stance, message->filter_state, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_SOURCED_METADATA:
		unknown(d, stance, "sourced_metadata", rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_CUSTOM:
		unknown(d, stance, "custom", rule);
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail(d, "a principal is required");
		unknown(d, stance, "a field unknown here", rule);
	}
}

/* A condition beside the rules narrows the policy: with one that cannot be told, the policy takes the refusing answer. */
static void condition(struct decode *d, const struct stance *stance, const Envoy__Config__Rbac__V3__Policy *message,
		      struct authz_policy *policy)
{
	struct authz_rule rule = {0};

	if (!message->cel_config && message->base.n_unknown_fields == 0)
		return;
	unknown(d, stance, "condition", &rule);
	if (rule.kind == AUTHZ_NEVER && policy->permission_count > 0) {
		policy->permissions[0] = rule;
		policy->permission_count = 1;
	}
}

static void policy(struct decode *d, const struct stance *stance, const char *name,
		   const Envoy__Config__Rbac__V3__Policy *message, struct authz_policy *policy)
{
	policy->name = mesh_decode_text(d, name);
	if (message->n_permissions == 0)
		mesh_decode_fail_field(d, "permissions", "must not be empty");
	if (message->n_principals == 0)
		mesh_decode_fail_field(d, "principals", "must not be empty");
	policy->permissions = mesh_decode_array(d, message->n_permissions, sizeof(*policy->permissions));
	policy->permission_count = policy->permissions ? message->n_permissions : 0;
	policy->principals = mesh_decode_array(d, message->n_principals, sizeof(*policy->principals));
	policy->principal_count = policy->principals ? message->n_principals : 0;
	for (size_t i = 0; i < policy->permission_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "permissions", i);
		permission(d, stance, message->permissions[i], &policy->permissions[i]);
		mesh_decode_pop(d);
	}
	for (size_t i = 0; i < policy->principal_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "principals", i);
		principal(d, stance, message->principals[i], &policy->principals[i]);
		mesh_decode_pop(d);
	}
	condition(d, stance, message, policy);
}

static int policy_order(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct authz_policy *)left)->name, ((const struct authz_policy *)right)->name);
}

static enum authz_action action(struct decode *d, int value)
{
	switch (value) {
	case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__ALLOW:
		return AUTHZ_ALLOW;
	case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__DENY:
		return AUTHZ_DENY;
	case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__LOG:
		return AUTHZ_LOG;
	default:
		mesh_decode_fail_field(d, "action", "%d: unknown", value);
		return AUTHZ_ALLOW;
	}
}

struct authz_rules *mesh_decode_authz(struct decode *d, const char *field, const Envoy__Config__Rbac__V3__RBAC *message,
				      bool shadow)
{
	struct authz_rules *rules;
	struct stance stance = {AUTHZ_ALLOW, false, shadow};

	if (!message)
		return NULL;
	mesh_decode_push(d, field);
	rules = mesh_decode_array(d, 1, sizeof(*rules));
	if (rules) {
		rules->action = stance.action = action(d, (int)message->action);
		rules->policies = mesh_decode_array(d, message->n_policies, sizeof(*rules->policies));
		rules->count = rules->policies ? message->n_policies : 0;
	}
	for (size_t i = 0; rules && i < rules->count && d->rc == 0; i++) {
		mesh_decode_push_key(d, "policies", message->policies[i]->key);
		if (message->policies[i]->value)
			policy(d, &stance, message->policies[i]->key, message->policies[i]->value, &rules->policies[i]);
		else
			mesh_decode_fail(d, "must not be empty");
		mesh_decode_pop(d);
	}
	if (message->base.n_unknown_fields > 0 && !shadow) {
		mesh_decode_note(d, "unknown field: not supported");
		rules = mesh_decode_authz_refuse(d);
	}
	if (rules && rules->count > 1)
		qsort(rules->policies, rules->count, sizeof(*rules->policies), policy_order);
	mesh_decode_pop(d);
	return rules;
}

struct authz_rules *mesh_decode_authz_refuse(struct decode *d)
{
	struct authz_rules *rules = mesh_decode_array(d, 1, sizeof(*rules));

	if (rules)
		rules->action = AUTHZ_ALLOW;
	return rules;
}

struct authz_config *mesh_decode_authz_http(struct decode *d, const Envoy__Extensions__Filters__Http__Rbac__V3__RBAC *message)
{
	struct authz_config *authz = mesh_decode_array(d, 1, sizeof(*authz));

	if (!authz)
		return NULL;
	authz->rules = mesh_decode_authz(d, "rules", message->rules, false);
	authz->shadow = mesh_decode_authz(d, "shadow_rules", message->shadow_rules, true);
	authz->stat_prefix = mesh_decode_text(d, message->rules_stat_prefix);
	authz->shadow_prefix = mesh_decode_text(d, message->shadow_rules_stat_prefix);
	if (message->base.n_unknown_fields > 0) {
		mesh_decode_note(d, "matcher or another unknown field: not supported");
		authz->rules = mesh_decode_authz_refuse(d);
	}
	return authz;
}
