/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a connection or a request is allowed, as Envoy's RBAC filters decide. Knows neither listeners nor how a
 * refusal is told. What cannot be decided here (an HTTP rule on a connection, a rule that was not understood, no memory)
 * never opens a way: it does not satisfy an ALLOW policy and does satisfy a DENY policy, through any number of negations.
 */
#include "policy/rbac.h"

#include <mesh/error.h>

#include "policy/header_match.h"

#define DEPTH_MAX 100

struct check {
	const struct authz_request *request;
	struct arena *scratch;
	struct mesh_slice path; /* without query and fragment; absent on a connection */
};

static bool rule_matches(const struct check *check, const struct authz_rule *rule, bool doubt, unsigned depth);

static bool any_matches(const struct check *check, const struct authz_rule *rules, size_t count, bool doubt, unsigned depth)
{
	for (size_t i = 0; i < count; i++) {
		if (rule_matches(check, &rules[i], doubt, depth))
			return true;
	}
	return false;
}

static bool all_match(const struct check *check, const struct authz_rule *rules, size_t count, bool doubt, unsigned depth)
{
	for (size_t i = 0; i < count; i++) {
		if (!rule_matches(check, &rules[i], doubt, depth))
			return false;
	}
	return true;
}

static bool header_matches(const struct check *check, const struct authz_rule *rule, bool doubt)
{
	if (!check->request->http)
		return doubt;
	return mesh_header_matches(&rule->header, check->request->http, check->scratch, doubt);
}

/* Something that is not there compares as the empty text. */
static bool text_matches(const struct authz_rule *rule, struct mesh_slice text)
{
	return mesh_string_matches(&rule->string, text.data ? text : MESH_SLICE(""));
}

static bool authenticated_matches(const struct authz_request *request, const struct authz_rule *rule)
{
	if (!request->authenticated)
		return false;
	if (!rule->has_string)
		return true;
	for (size_t i = 0; i < request->uri_san_count; i++) {
		if (mesh_string_matches(&rule->string, request->uri_sans[i]))
			return true;
	}
	for (size_t i = 0; i < request->dns_san_count; i++) {
		if (mesh_string_matches(&rule->string, request->dns_sans[i]))
			return true;
	}
	return text_matches(rule, request->subject);
}

/* The peer's first URI SAN, as Istio's proxies keep it in filter state. Absent state does not match. */
static bool filter_state_matches(const struct authz_request *request, const struct authz_rule *rule)
{
	if (!mesh_slice_equal(rule->key, MESH_SLICE("io.istio.peer_principal")))
		return false;
	if (!request->authenticated || !request->uri_san_count)
		return false;
	return mesh_string_matches(&rule->string, request->uri_sans[0]);
}

static bool port_matches(const struct authz_request *request, uint32_t from, uint32_t to, bool doubt)
{
	uint32_t port;

	if (!request->destination || !request->destination->len)
		return doubt;
	port = mesh_address_port(request->destination);
	return port >= from && port < to;
}

static bool address_matches(const struct address *address, const struct cidr *cidr, bool doubt)
{
	return address && address->len ? mesh_cidr_contains(cidr, address) : doubt;
}

/* Rules about the connection alone. */
static bool connection_matches(const struct authz_request *request, const struct authz_rule *rule, bool doubt)
{
	switch (rule->kind) {
	case AUTHZ_DESTINATION_IP:
		return address_matches(request->destination, &rule->cidr, doubt);
	case AUTHZ_DESTINATION_PORT:
		return port_matches(request, rule->port_from, rule->port_from + 1, doubt);
	case AUTHZ_DESTINATION_PORT_RANGE:
		return port_matches(request, rule->port_from, rule->port_to, doubt);
	case AUTHZ_SERVER_NAME:
		return text_matches(rule, request->server_name);
	case AUTHZ_AUTHENTICATED:
		return authenticated_matches(request, rule);
	case AUTHZ_FILTER_STATE:
		return filter_state_matches(request, rule);
	case AUTHZ_SOURCE_IP: /* of the connection: no request header has a say in it */
	case AUTHZ_DIRECT_REMOTE_IP:
		return address_matches(request->direct, &rule->cidr, doubt);
	case AUTHZ_REMOTE_IP:
		return address_matches(request->source, &rule->cidr, doubt);
	default:
		return doubt;
	}
}

static bool rule_matches(const struct check *check, const struct authz_rule *rule, bool doubt, unsigned depth)
{
	if (depth > DEPTH_MAX)
		return doubt;
	switch (rule->kind) {
	case AUTHZ_ANY:
		return true;
	case AUTHZ_NEVER:
		return doubt;
	case AUTHZ_AND:
		return all_match(check, rule->items, rule->count, doubt, depth + 1);
	case AUTHZ_OR:
		return any_matches(check, rule->items, rule->count, doubt, depth + 1);
	case AUTHZ_NOT:
		return rule->count != 1 ? doubt : !rule_matches(check, rule->items, !doubt, depth + 1);
	case AUTHZ_HEADER:
		return header_matches(check, rule, doubt);
	case AUTHZ_URL_PATH:
	case AUTHZ_URI_TEMPLATE:
		return check->path.data ? mesh_string_matches(&rule->string, check->path) : doubt;
	case AUTHZ_METADATA: /* of a request there is none: nothing here writes dynamic metadata */
		return check->request->http ? rule->metadata_invert : doubt;
	default:
		return connection_matches(check->request, rule, doubt);
	}
}

/* The first policy in name order that matches; NULL: none. */
static const struct authz_policy *find_policy(const struct authz_rules *rules, const struct check *check)
{
	bool doubt = rules->action == AUTHZ_DENY;

	for (size_t i = 0; i < rules->count; i++) {
		const struct authz_policy *policy = &rules->policies[i];

		if (any_matches(check, policy->permissions, policy->permission_count, doubt, 0) &&
		    any_matches(check, policy->principals, policy->principal_count, doubt, 0))
			return policy;
	}
	return NULL;
}

static bool decide(const struct authz_rules *rules, const struct check *check, struct mesh_slice *name)
{
	const struct authz_policy *policy = find_policy(rules, check);

	if (policy)
		*name = policy->name;
	switch (rules->action) {
	case AUTHZ_ALLOW:
		return policy != NULL;
	case AUTHZ_DENY:
		return policy == NULL;
	case AUTHZ_LOG:
		return true;
	}
	return false;
}

void mesh_rbac_check(const struct authz_config *config, const struct authz_request *request, struct arena *scratch,
		     struct authz_result *result)
{
	struct check check = {.request = request, .scratch = scratch};
	size_t len = 0;

	memset(result, 0, sizeof(*result));
	if (request->http && request->http->path.data) {
		while (len < request->http->path.len && request->http->path.data[len] != '?' &&
		       request->http->path.data[len] != '#')
			len++;
		check.path = mesh_slice_make(request->http->path.data, len);
	}
	result->allowed = !config->rules || decide(config->rules, &check, &result->policy);
	if (config->shadow) {
		result->shadow_checked = true;
		result->shadow_allowed = decide(config->shadow, &check, &result->shadow_policy);
	}
}
