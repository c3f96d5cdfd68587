/* SPDX-License-Identifier: Apache-2.0 */
/* A string against a matcher: asked by routes, rules and the check of a peer's names alike. */
#include "config/match.h"

bool mesh_string_matches(const struct string_match *match, struct mesh_slice text)
{
	switch (match->kind) {
	case STRING_MATCH_EXACT:
		return match->ignore_case ? mesh_slice_equal_fold(text, match->text) : mesh_slice_equal(text, match->text);
	case STRING_MATCH_PREFIX:
		return match->ignore_case ? mesh_slice_prefix_fold(text, match->text) : mesh_slice_prefix(text, match->text);
	case STRING_MATCH_SUFFIX:
		return match->ignore_case ? mesh_slice_suffix_fold(text, match->text) : mesh_slice_suffix(text, match->text);
	case STRING_MATCH_CONTAINS:
		return match->ignore_case ? mesh_slice_contains_fold(text, match->text)
					  : mesh_slice_contains(text, match->text);
	case STRING_MATCH_REGEX:
		return match->regex && mesh_regex_match(match->regex, text);
	}
	return false;
}
