/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether what filters have said of a request satisfies a condition, as Envoy decides it: what is absent satisfies
 * none, and so the inverse of any. Refuses to know who said it.
 */
#include "policy/metadata_match.h"

static bool matches(const struct value_match *match, const struct metadata_value *value)
{
	switch (match->kind) {
	case VALUE_MATCH_NULL:
		return value->kind == METADATA_NULL;
	case VALUE_MATCH_RANGE:
		return value->kind == METADATA_NUMBER && value->number >= match->from && value->number < match->to;
	case VALUE_MATCH_NUMBER:
		return value->kind == METADATA_NUMBER && !(value->number < match->from) && !(value->number > match->from);
	case VALUE_MATCH_STRING:
		return value->kind == METADATA_STRING && mesh_string_matches(&match->string, value->text);
	case VALUE_MATCH_BOOL:
		return value->kind == METADATA_BOOL && value->boolean == match->wanted;
	case VALUE_MATCH_PRESENT:
		return match->wanted && value->kind != METADATA_ABSENT;
	case VALUE_MATCH_LIST:
		for (size_t i = 0; value->kind == METADATA_LIST && i < value->count; i++)
			if (matches(match->items, &value->items[i]))
				return true;
		return false;
	case VALUE_MATCH_OR:
		for (size_t i = 0; i < match->count; i++)
			if (matches(&match->items[i], value))
				return true;
		return false;
	}
	return false;
}

void mesh_metadata_find(const struct request_metadata *metadata, struct mesh_slice filter, const struct mesh_slice *path,
			size_t count, struct metadata_value *value)
{
	*value = (struct metadata_value){.kind = METADATA_ABSENT};
	if (metadata)
		metadata->find(metadata->from, filter, path, count, value);
}

bool mesh_metadata_matches(const struct metadata_match *match, const struct request_metadata *metadata)
{
	struct metadata_value value;

	mesh_metadata_find(metadata, match->filter, match->path, match->path_count, &value);
	return matches(&match->value, &value) != match->invert;
}
