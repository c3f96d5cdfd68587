/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where copies of requests go. A copy shows a request to somebody who was not asked for, so a policy that is not understood
 * whole makes none; the route itself goes on.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "config/mirror.h"
#include "envoy/config/common/mutation_rules/v3/mutation_rules.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/type/matcher/v3/string.pb-c.h"

typedef Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy mirror_message;
typedef Envoy__Config__Common__MutationRules__V3__HeaderMutation mutation_message;

static void decode_cluster(struct decode *d, const mirror_message *message, struct mirror_policy *policy)
{
	bool named = message->cluster[0] != '\0', by_header = message->cluster_header[0] != '\0';

	if (named && by_header)
		mesh_decode_fail_field(d, "cluster_header", "\"%.60s\": must not be set beside cluster",
				       message->cluster_header);
	if (!named && !by_header)
		mesh_decode_fail_field(d, "cluster", "is required, or cluster_header");
	policy->cluster = mesh_decode_text(d, message->cluster);
	policy->cluster_hash = mesh_slice_hash(policy->cluster);
	policy->cluster_header = mesh_decode_lower(d, message->cluster_header);
	if (by_header && message->cluster_header[0] != ':' &&
	    !mesh_header_name_valid(mesh_slice_of(message->cluster_header)))
		mesh_decode_fail_field(d, "cluster_header", "\"%.60s\": not a header name", message->cluster_header);
}

/* False: not understood. */
static bool decode_change(struct decode *d, const mutation_message *message, struct mirror_change *change)
{
	struct decode_mutations one = {0};
	char *removed = message->remove;
	Envoy__Config__Core__V3__HeaderValueOption *added = message->append;

	switch (message->action_case) {
	case ENVOY__CONFIG__COMMON__MUTATION_RULES__V3__HEADER_MUTATION__ACTION_REMOVE:
		one.request_remove = &removed;
		one.request_remove_count = 1;
		break;
	case ENVOY__CONFIG__COMMON__MUTATION_RULES__V3__HEADER_MUTATION__ACTION_APPEND:
		one.request_add = &added;
		one.request_add_count = 1;
		break;
	case ENVOY__CONFIG__COMMON__MUTATION_RULES__V3__HEADER_MUTATION__ACTION_REMOVE_ON_MATCH:
		if (message->remove_on_match->key_matcher)
			return mesh_decode_string_match(d, message->remove_on_match->key_matcher, &change->remove);
		mesh_decode_fail_field(d, "remove_on_match.key_matcher", "is required");
		return true;
	default:
		if (message->base.n_unknown_fields)
			return false;
		mesh_decode_fail_field(d, "action", "is required");
		return true;
	}
	change->headers = mesh_decode_array(d, 1, sizeof(*change->headers));
	if (change->headers)
		mesh_decode_mutations(d, &one, change->headers);
	return true;
}

static bool decode_changes(struct decode *d, const mirror_message *message, struct mirror_policy *policy)
{
	size_t count = message->n_request_headers_mutations;
	bool known = true;

	if (!mesh_decode_count(d, "request_headers_mutations", count, MESH_DECODE_FILTERS))
		return true;
	policy->changes = mesh_decode_array(d, count, sizeof(*policy->changes));
	policy->change_count = policy->changes ? count : 0;
	for (size_t i = 0; i < policy->change_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "request_headers_mutations", i);
		known = decode_change(d, message->request_headers_mutations[i], &policy->changes[i]) && known;
		mesh_decode_pop(d);
	}
	return known;
}

/* False: not understood, and told so. */
static bool decode_policy(struct decode *d, const mirror_message *message, struct mirror_policy *policy)
{
	bool known;

	decode_cluster(d, message, policy);
	if (message->runtime_fraction) {
		mesh_decode_push(d, "runtime_fraction");
		policy->share = mesh_decode_fraction(d, message->runtime_fraction);
		mesh_decode_pop(d);
	}
	policy->keep_authority = message->disable_shadow_host_suffix_append;
	policy->authority = mesh_decode_text(d, message->host_rewrite_literal);
	if (policy->authority.data && !mesh_header_word_valid(policy->authority))
		mesh_decode_fail_field(d, "host_rewrite_literal", "\"%.60s\": not an authority",
				       message->host_rewrite_literal);
	known = decode_changes(d, message, policy) && !message->base.n_unknown_fields;
	if (!known)
		mesh_decode_warning(d, "a request mirror policy that is not understood: its requests are not mirrored");
	return known;
}

const struct mirror_config *mesh_decode_mirrors(struct decode *d, size_t count, mirror_message *const *messages,
						const struct mirror_config *outer)
{
	struct mirror_config *mirrors;

	if (!count)
		return outer;
	if (!mesh_decode_count(d, "request_mirror_policies", count, MESH_DECODE_FILTERS))
		return NULL;
	mirrors = mesh_decode_array(d, 1, sizeof(*mirrors));
	if (mirrors)
		mirrors->policies = mesh_decode_array(d, count, sizeof(*mirrors->policies));
	for (size_t i = 0; i < count && d->rc == 0; i++) {
		struct mirror_policy policy = {0};

		mesh_decode_push_item(d, "request_mirror_policies", i);
		if (decode_policy(d, messages[i], &policy))
			mirrors->policies[mirrors->count++] = policy;
		mesh_decode_pop(d);
	}
	return d->rc == 0 && mirrors->count ? mirrors : NULL;
}
