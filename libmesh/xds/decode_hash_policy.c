/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a request chooses its endpoint (RouteAction.hash_policy). A kind that only a proxy has, or that is not known,
 * is passed over with a warning: the request still arrives, at an endpoint that others choose.
 */
#include "xds/decode.h"

#include <mesh/error.h>

#include "base/buf.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/type/matcher/v3/regex.pb-c.h"

#define COOKIE_TAIL_MAX 4096

typedef Envoy__Config__Route__V3__RouteAction__HashPolicy policy_message;

static void rewrite(struct decode *d, const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *message,
		    struct hash_policy *policy)
{
	struct buf tried;
	int rc = 0;

	mesh_decode_push(d, "regex_rewrite");
	mesh_decode_push(d, "pattern");
	policy->rewrite = mesh_decode_regex(d, message->pattern);
	mesh_decode_pop(d);
	policy->rewrite_with = mesh_decode_text(d, message->substitution);
	mesh_buf_init(&tried, d->mem, 0);
	if (policy->rewrite)
		rc = mesh_regex_replace(policy->rewrite, MESH_SLICE(""), policy->rewrite_with, &tried);
	mesh_buf_free(&tried);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0)
		mesh_decode_fail_field(d, "substitution", "\"%.60s\": names a group that is not there",
				       message->substitution);
	mesh_decode_pop(d);
}

static void header(struct decode *d, const Envoy__Config__Route__V3__RouteAction__HashPolicy__Header *message,
		   struct hash_policy *policy)
{
	mesh_decode_push(d, "header");
	policy->source = HASH_HEADER;
	mesh_decode_required(d, "header_name", message->header_name);
	policy->name = mesh_decode_lower(d, message->header_name);
	if (message->regex_rewrite)
		rewrite(d, message->regex_rewrite, policy);
	mesh_decode_pop(d);
}

/* It goes into a response's header: nothing that would end the header, or begin another attribute. */
static void check_cookie_text(struct decode *d, const char *field, const char *text)
{
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == ';') {
			mesh_decode_fail_field(d, field, "\"%.60s\": must have no control characters and no \";\"", text);
			return;
		}
}

/* "; Max-Age=.." and so on, in the order of Envoy. A ttl of 0 makes a cookie that lasts as long as the session. */
static void cookie_tail(struct decode *d, const Envoy__Config__Route__V3__RouteAction__HashPolicy__Cookie *message,
			struct hash_policy *policy)
{
	int64_t ttl_s = mesh_decode_duration(d, "ttl", message->ttl, 0) / MESH_DECODE_NS;
	struct buf tail;
	int rc = 0;

	mesh_buf_init(&tail, d->mem, COOKIE_TAIL_MAX);
	check_cookie_text(d, "name", message->name);
	check_cookie_text(d, "path", message->path);
	if (ttl_s)
		rc = mesh_buf_printf(&tail, "; Max-Age=%lld", (long long)ttl_s);
	if (!rc && message->path[0])
		rc = mesh_buf_printf(&tail, "; Path=%s", message->path);
	for (size_t i = 0; i < message->n_attributes && !rc && d->rc == 0; i++) {
		const char *name = message->attributes[i]->name, *value = message->attributes[i]->value;

		mesh_decode_push_item(d, "attributes", i);
		mesh_decode_required(d, "name", name);
		check_cookie_text(d, "name", name);
		check_cookie_text(d, "value", value);
		mesh_decode_pop(d);
		rc = mesh_buf_printf(&tail, "; %s%s%s", name, value[0] ? "=" : "", value);
	}
	rc = rc ? rc : mesh_buf_printf(&tail, "; HttpOnly");
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc)
		mesh_decode_fail(d, "its path and attributes are longer than %d bytes", COOKIE_TAIL_MAX);
	else if (d->rc == 0)
		policy->cookie_tail = mesh_decode_bytes(d, mesh_buf_slice(&tail));
	mesh_buf_free(&tail);
}

static void cookie(struct decode *d, const Envoy__Config__Route__V3__RouteAction__HashPolicy__Cookie *message,
		   struct hash_policy *policy)
{
	mesh_decode_push(d, "cookie");
	policy->source = HASH_COOKIE;
	policy->name = mesh_decode_required(d, "name", message->name);
	if (message->ttl)
		cookie_tail(d, message, policy);
	mesh_decode_pop(d);
}

/* False: nothing to hash. */
static bool hash_policy(struct decode *d, const policy_message *message, struct hash_policy *policy)
{
	policy->terminal = message->terminal;
	switch (message->policy_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER:
		header(d, message->header, policy);
		return true;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_COOKIE:
		cookie(d, message->cookie, policy);
		return true;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_CONNECTION_PROPERTIES:
		policy->source = HASH_SOURCE_IP;
		return message->connection_properties->source_ip;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_QUERY_PARAMETER:
		policy->source = HASH_QUERY;
		mesh_decode_push(d, "query_parameter");
		policy->name = mesh_decode_required(d, "name", message->query_parameter->name);
		mesh_decode_pop(d);
		return true;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_FILTER_STATE:
		mesh_decode_warning(d, "filter_state of a hash_policy: passed over");
		return false;
	default:
		if (message->base.n_unknown_fields)
			mesh_decode_warning(d, "hash_policy of a kind that is not known: passed over");
		else
			mesh_decode_fail_field(d, "policy_specifier", "is required");
		return false;
	}
}

void mesh_decode_hash_policies(struct decode *d, size_t count, policy_message *const *messages,
			       struct hash_policy **policies, size_t *policy_count)
{
	struct hash_policy *made;

	if (!count || !mesh_decode_count(d, "hash_policy", count, MESH_DECODE_FILTERS))
		return;
	*policies = made = mesh_decode_array(d, count, sizeof(*made));
	for (size_t i = 0; made && i < count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "hash_policy", i);
		if (hash_policy(d, messages[i], &made[*policy_count]))
			++*policy_count;
		else
			made[*policy_count] = (struct hash_policy){0};
		mesh_decode_pop(d);
	}
}
