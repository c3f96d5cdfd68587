/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on dynamic metadata. A kind of condition that is not known is said to be so; who asks decides what follows. */
#include "xds/decode.h"

#include "config/metadata_match.h"
#include "envoy/type/matcher/v3/metadata.pb-c.h"
#include "envoy/type/matcher/v3/number.pb-c.h"
#include "envoy/type/matcher/v3/value.pb-c.h"
#include "envoy/type/v3/range.pb-c.h"

#define NESTING_MAX 8 /* of conditions in conditions */

typedef Envoy__Type__Matcher__V3__ValueMatcher value_message;

static bool value(struct decode *d, const value_message *message, struct value_match *match, unsigned nesting);

static bool number(struct decode *d, const Envoy__Type__Matcher__V3__DoubleMatcher *message, struct value_match *match)
{
	switch (message->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_RANGE:
		match->kind = VALUE_MATCH_RANGE;
		match->from = message->range->start;
		match->to = message->range->end;
		return true;
	case ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_EXACT:
		match->kind = VALUE_MATCH_NUMBER;
		match->from = message->exact;
		return true;
	default:
		mesh_decode_fail_field(d, "double_match", "match_pattern is required");
		return true;
	}
}

static bool several(struct decode *d, const char *field, value_message *const *messages, size_t count,
		    struct value_match *match, unsigned nesting)
{
	bool known = true;

	match->items = mesh_decode_array(d, count, sizeof(*match->items));
	match->count = match->items ? count : 0;
	if (count == 0)
		mesh_decode_fail_field(d, field, "must not be empty");
	for (size_t i = 0; i < match->count && d->rc == 0 && known; i++) {
		mesh_decode_push_item(d, field, i);
		known = value(d, messages[i], &match->items[i], nesting + 1);
		mesh_decode_pop(d);
	}
	return known;
}

static bool value(struct decode *d, const value_message *message, struct value_match *match, unsigned nesting)
{
	bool known = true;

	if (nesting > NESTING_MAX || message->base.n_unknown_fields)
		return false;
	switch (message->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_NULL_MATCH:
		match->kind = VALUE_MATCH_NULL;
		return true;
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_DOUBLE_MATCH:
		return number(d, message->double_match, match);
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_STRING_MATCH:
		match->kind = VALUE_MATCH_STRING;
		mesh_decode_push(d, "string_match");
		known = mesh_decode_string_match(d, message->string_match, &match->string);
		mesh_decode_pop(d);
		return known;
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_BOOL_MATCH:
		match->kind = VALUE_MATCH_BOOL;
		match->wanted = message->bool_match;
		return true;
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_PRESENT_MATCH:
		match->kind = VALUE_MATCH_PRESENT;
		match->wanted = message->present_match;
		return true;
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_LIST_MATCH:
		match->kind = VALUE_MATCH_LIST;
		return message->list_match->match_pattern_case ==
			       ENVOY__TYPE__MATCHER__V3__LIST_MATCHER__MATCH_PATTERN_ONE_OF &&
		       several(d, "one_of", &message->list_match->one_of, 1, match, nesting);
	case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_OR_MATCH:
		match->kind = VALUE_MATCH_OR;
		return several(d, "value_matchers", message->or_match->value_matchers, message->or_match->n_value_matchers,
			       match, nesting);
	default:
		mesh_decode_fail(d, "match_pattern is required");
		return true;
	}
}

bool mesh_decode_metadata_match(struct decode *d, const Envoy__Type__Matcher__V3__MetadataMatcher *message,
				struct metadata_match *match)
{
	bool known = true;

	match->filter = mesh_decode_required(d, "filter", message->filter);
	match->invert = message->invert;
	match->path = mesh_decode_array(d, message->n_path, sizeof(*match->path));
	match->path_count = match->path ? message->n_path : 0;
	if (message->n_path == 0)
		mesh_decode_fail_field(d, "path", "must not be empty");
	for (size_t i = 0; i < match->path_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "path", i);
		match->path[i] = mesh_decode_required(
			d, "key",
			message->path[i]->segment_case == ENVOY__TYPE__MATCHER__V3__METADATA_MATCHER__PATH_SEGMENT__SEGMENT_KEY
				? message->path[i]->key
				: "");
		mesh_decode_pop(d);
	}
	mesh_decode_push(d, "value");
	if (message->value)
		known = value(d, message->value, &match->value, 0);
	else
		mesh_decode_fail(d, "is required");
	mesh_decode_pop(d);
	return known && !message->base.n_unknown_fields;
}
