/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rule of an authorization policy, and what one that is not understood becomes: never true where it would help to
 * allow, always true where it would help to deny, the opposite under each NOT. Refuses to know which rules stand beside it.
 */
#include "xds/decode_authz.h"

#include "google/protobuf/any.pb-c.h"

#define PEER_PRINCIPAL "io.istio.peer_principal"

typedef Envoy__Type__Matcher__V3__ValueMatcher value_matcher;

void mesh_decode_unknown_rule(struct decode *d, const struct stance *stance, const char *what, struct authz_rule *rule)
{
	bool match = stance->action == AUTHZ_DENY;

	*rule = (struct authz_rule){.kind = match != stance->negated ? AUTHZ_ANY : AUTHZ_NEVER};
	if (stance->shadow || stance->action == AUTHZ_LOG)
		mesh_decode_warning(d, "authorization rule of kind %s in rules that are not enforced: passed over", what);
	else
		mesh_decode_note(d, "%s: unknown kind of rule", what);
}

static bool unknown_inside(const ProtobufCMessage *message)
{
	const char *at = (const char *)message;
	bool found = message->n_unknown_fields > 0;

	for (unsigned i = 0; i < message->descriptor->n_fields && !found; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const ProtobufCMessage *const *items = (const void *)(at + field->offset);
		size_t count = 1;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			count = *(const unsigned *)(const void *)(at + field->quantifier_offset) == field->id;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			count = *(const size_t *)(const void *)(at + field->quantifier_offset);
			items = *(const ProtobufCMessage *const *const *)(const void *)(at + field->offset);
		}
		for (size_t j = 0; j < count && !found; j++)
			found = items[j] && unknown_inside(items[j]);
	}
	return found;
}

void mesh_decode_whole_rule(struct decode *d, const struct stance *stance, const ProtobufCMessage *message,
			    struct authz_rule *rule)
{
	if (unknown_inside(message))
		mesh_decode_unknown_rule(d, stance, "a field unknown here", rule);
}

void mesh_decode_string_rule(struct decode *d, const struct stance *stance, const char *field,
			     const Envoy__Type__Matcher__V3__StringMatcher *matcher, enum authz_rule_kind kind,
			     struct authz_rule *rule)
{
	rule->kind = kind;
	rule->has_string = true;
	mesh_decode_push(d, field);
	if (!mesh_decode_string_match(d, matcher, &rule->string))
		mesh_decode_unknown_rule(d, stance, "custom string matcher", rule);
	else if (matcher)
		mesh_decode_whole_rule(d, stance, &matcher->base, rule);
	mesh_decode_pop(d);
}

void mesh_decode_path_rule(struct decode *d, const struct stance *stance,
			   const Envoy__Type__Matcher__V3__PathMatcher *matcher, struct authz_rule *rule)
{
	if (matcher->rule_case == ENVOY__TYPE__MATCHER__V3__PATH_MATCHER__RULE_PATH)
		mesh_decode_string_rule(d, stance, "url_path.path", matcher->path, AUTHZ_URL_PATH, rule);
	else if (matcher->base.n_unknown_fields > 0)
		mesh_decode_unknown_rule(d, stance, "url_path", rule);
	else
		mesh_decode_fail_field(d, "url_path.path", "is required");
}

void mesh_decode_header_rule(struct decode *d, const struct stance *stance,
			     const Envoy__Config__Route__V3__HeaderMatcher *matcher, struct authz_rule *rule)
{
	rule->kind = AUTHZ_HEADER;
	mesh_decode_push(d, "header");
	if (!mesh_decode_header_match(d, matcher, &rule->header))
		mesh_decode_unknown_rule(d, stance, "header matcher", rule);
	else
		mesh_decode_whole_rule(d, stance, &matcher->base, rule);
	mesh_decode_pop(d);
}

void mesh_decode_cidr_rule(struct decode *d, const struct stance *stance, const char *field,
			   const Envoy__Config__Core__V3__CidrRange *range, enum authz_rule_kind kind,
			   struct authz_rule *rule)
{
	rule->kind = kind;
	mesh_decode_push(d, field);
	mesh_decode_cidr(d, range, &rule->cidr);
	mesh_decode_whole_rule(d, stance, &range->base, rule);
	mesh_decode_pop(d);
}

void mesh_decode_port_rule(struct decode *d, const struct stance *stance, const Envoy__Type__V3__Int32Range *range,
			   struct authz_rule *rule)
{
	rule->kind = AUTHZ_DESTINATION_PORT_RANGE;
	if (range->start < 0 || range->start > 65536 || range->end < 0 || range->end > 65536)
		mesh_decode_fail_field(d, "destination_port_range", "%d..%d: must be within 0..65536", range->start, range->end);
	else if (range->start >= range->end)
		mesh_decode_fail_field(d, "destination_port_range", "%d..%d: holds no port", range->start, range->end);
	rule->port_from = (uint32_t)range->start;
	rule->port_to = (uint32_t)range->end;
	mesh_decode_whole_rule(d, stance, &range->base, rule);
}

/* A text, alone or as one of a list. */
static bool metadata_value(struct decode *d, const value_matcher *value, struct authz_rule *rule)
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

/* What istiod writes for a claim, which may be a text or a list of them: one rule for each way. Inverted as a whole. */
static bool metadata_ways(struct decode *d, const Envoy__Type__Matcher__V3__OrMatcher *ways, struct authz_rule *rule)
{
	struct authz_rule each = *rule, *any = rule;
	bool known = true;

	each.metadata_invert = false;
	if (rule->metadata_invert) {
		any = mesh_decode_array(d, 1, sizeof(*any));
		*rule = (struct authz_rule){.kind = AUTHZ_NOT, .items = any, .count = any ? 1 : 0};
	}
	if (ways->n_value_matchers == 0)
		mesh_decode_fail_field(d, "or_match.value_matchers", "must not be empty");
	if (d->rc < 0)
		return true;
	any->kind = AUTHZ_OR;
	any->items = mesh_decode_array(d, ways->n_value_matchers, sizeof(*any->items));
	any->count = any->items ? ways->n_value_matchers : 0;
	for (size_t i = 0; i < any->count && known && d->rc == 0; i++) {
		any->items[i] = each;
		mesh_decode_push_item(d, "or_match.value_matchers", i);
		known = metadata_value(d, ways->value_matchers[i], &any->items[i]);
		mesh_decode_pop(d);
	}
	return known;
}

static void metadata_path(struct decode *d, const Envoy__Type__Matcher__V3__MetadataMatcher *matcher, struct authz_rule *rule)
{
	rule->metadata_path = mesh_decode_array(d, matcher->n_path, sizeof(*rule->metadata_path));
	rule->metadata_path_count = rule->metadata_path ? matcher->n_path : 0;
	if (matcher->n_path == 0)
		mesh_decode_fail_field(d, "path", "must not be empty");
	for (size_t i = 0; i < rule->metadata_path_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "path", i);
		rule->metadata_path[i] = mesh_decode_required(d, "key", matcher->path[i]->key);
		mesh_decode_pop(d);
	}
}

void mesh_decode_metadata_rule(struct decode *d, const struct stance *stance,
			       const Envoy__Type__Matcher__V3__MetadataMatcher *matcher, struct authz_rule *rule)
{
	const value_matcher *value = matcher->value;
	bool known;

	rule->kind = AUTHZ_METADATA;
	mesh_decode_push(d, "metadata");
	rule->metadata_filter = mesh_decode_required(d, "filter", matcher->filter);
	rule->metadata_invert = matcher->invert;
	metadata_path(d, matcher, rule);
	mesh_decode_push(d, "value");
	if (value && value->match_pattern_case == ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_OR_MATCH)
		known = metadata_ways(d, value->or_match, rule);
	else
		known = metadata_value(d, value, rule);
	if (d->rc == 0 && !known)
		mesh_decode_unknown_rule(d, stance, "metadata value", rule);
	else
		mesh_decode_whole_rule(d, stance, &matcher->base, rule);
	mesh_decode_pop(d);
	mesh_decode_pop(d);
}

void mesh_decode_template_rule(struct decode *d, const struct stance *stance,
			       const Envoy__Config__Core__V3__TypedExtensionConfig *extension, struct authz_rule *rule)
{
	rule->kind = AUTHZ_URI_TEMPLATE;
	rule->has_string = true;
	mesh_decode_push(d, "uri_template");
	rule->string.kind = STRING_MATCH_REGEX;
	rule->string.regex = mesh_decode_uri_template(d, extension->typed_config);
	if (!rule->string.regex)
		mesh_decode_unknown_rule(d, stance, "uri_template", rule);
	mesh_decode_pop(d);
}

/* Of the connection's state, who the peer is; nothing here keeps other keys. */
void mesh_decode_state_rule(struct decode *d, const struct stance *stance,
			    const Envoy__Type__Matcher__V3__FilterStateMatcher *matcher, struct authz_rule *rule)
{
	rule->kind = AUTHZ_FILTER_STATE;
	rule->key = mesh_decode_required(d, "filter_state.key", matcher->key);
	if (matcher->matcher_case == ENVOY__TYPE__MATCHER__V3__FILTER_STATE_MATCHER__MATCHER_STRING_MATCH &&
	    mesh_slice_equal(rule->key, MESH_SLICE(PEER_PRINCIPAL)))
		mesh_decode_string_rule(d, stance, "filter_state.string_match", matcher->string_match, AUTHZ_FILTER_STATE, rule);
	else
		mesh_decode_unknown_rule(d, stance, "filter_state", rule);
}
