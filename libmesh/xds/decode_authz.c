/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization policies (Envoy RBAC): their names, permissions and principals as trees, and when a policy as a whole is not
 * understood. Refuses to know how a single rule reads (decode_authz_rule.c).
 */
#include "xds/decode_authz.h"

#include <stdlib.h>

#include "envoy/config/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "google/protobuf/any.pb-c.h"

typedef Envoy__Config__Rbac__V3__Permission permission_message;
typedef Envoy__Config__Rbac__V3__Principal principal_message;

static void permission(struct decode *d, const struct stance *stance, const permission_message *message,
		       struct authz_rule *rule);
static void principal(struct decode *d, const struct stance *stance, const principal_message *message,
		      struct authz_rule *rule);

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
	if (set->base.n_unknown_fields > 0)
		mesh_decode_unknown_rule(d, stance, "a field unknown here", rule);
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
		mesh_decode_header_rule(d, stance, message->header, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_URL_PATH:
		mesh_decode_path_rule(d, stance, message->url_path, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_IP:
		mesh_decode_cidr_rule(d, stance, "destination_ip", message->destination_ip, AUTHZ_DESTINATION_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_PORT:
		rule->kind = AUTHZ_DESTINATION_PORT;
		rule->port_from = mesh_decode_port(d, "destination_port", message->destination_port);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_DESTINATION_PORT_RANGE:
		mesh_decode_port_rule(d, stance, message->destination_port_range, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_METADATA:
		mesh_decode_metadata_rule(d, stance, message->metadata, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_REQUESTED_SERVER_NAME:
		mesh_decode_string_rule(d, stance, "requested_server_name", message->requested_server_name, AUTHZ_SERVER_NAME, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_URI_TEMPLATE:
		mesh_decode_template_rule(d, stance, message->uri_template, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_MATCHER:
		mesh_decode_unknown_rule(d, stance, "matcher", rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_SOURCED_METADATA:
		mesh_decode_unknown_rule(d, stance, "sourced_metadata", rule);
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail(d, "a rule is required");
	}
	if (message->base.n_unknown_fields > 0)
		mesh_decode_unknown_rule(d, stance, "a field unknown here", rule);
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
	if (set->base.n_unknown_fields > 0)
		mesh_decode_unknown_rule(d, stance, "a field unknown here", rule);
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
			mesh_decode_string_rule(d, stance, "authenticated.principal_name",
						message->authenticated->principal_name, AUTHZ_AUTHENTICATED, rule);
		mesh_decode_whole_rule(d, stance, &message->authenticated->base, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_SOURCE_IP:
		mesh_decode_cidr_rule(d, stance, "source_ip", message->source_ip, AUTHZ_SOURCE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_DIRECT_REMOTE_IP:
		mesh_decode_cidr_rule(d, stance, "direct_remote_ip", message->direct_remote_ip, AUTHZ_DIRECT_REMOTE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_REMOTE_IP:
		mesh_decode_cidr_rule(d, stance, "remote_ip", message->remote_ip, AUTHZ_REMOTE_IP, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_HEADER:
		mesh_decode_header_rule(d, stance, message->header, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_URL_PATH:
		mesh_decode_path_rule(d, stance, message->url_path, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_METADATA:
		mesh_decode_metadata_rule(d, stance, message->metadata, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_FILTER_STATE:
		mesh_decode_state_rule(d, stance, message->filter_state, rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_SOURCED_METADATA:
		mesh_decode_unknown_rule(d, stance, "sourced_metadata", rule);
		break;
	case ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_CUSTOM:
		mesh_decode_unknown_rule(d, stance, "custom", rule);
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail(d, "a principal is required");
	}
	if (message->base.n_unknown_fields > 0)
		mesh_decode_unknown_rule(d, stance, "a field unknown here", rule);
}

/* A condition beside the rules narrows the policy: with one that cannot be told, the policy takes the refusing answer. */
static void condition(struct decode *d, const struct stance *stance, const Envoy__Config__Rbac__V3__Policy *message,
		      struct authz_policy *policy)
{
	struct authz_rule rule = {0};

	if (!message->cel_config && message->base.n_unknown_fields == 0)
		return;
	mesh_decode_unknown_rule(d, stance, "condition", &rule);
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

/* Each name once: of two, an older one would go on granting what the newer one does not. */
static void sort_policies(struct decode *d, struct authz_rules *rules)
{
	qsort(rules->policies, rules->count, sizeof(*rules->policies), policy_order);
	for (size_t i = 1; i < rules->count && d->rc == 0; i++) {
		struct mesh_slice name = rules->policies[i].name;

		if (mesh_slice_equal(name, rules->policies[i - 1].name))
			mesh_decode_fail_field(d, "policies", "\"%.*s\": comes twice", (int)(name.len < 100 ? name.len : 100),
					       name.data ? name.data : "");
	}
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
		sort_policies(d, rules);
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
