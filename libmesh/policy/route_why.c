/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the condition that kept a route from matching, by asking the matcher itself with one condition at a time: so it
 * cannot disagree with what decides. Refuses to decide anything.
 */
#include "policy/route_why.h"

#include "base/regex.h"
#include "policy/header_match.h"

enum { SHOWN = 60 }; /* bytes of a value */

static int shown(struct mesh_slice text)
{
	return text.len < SHOWN ? (int)text.len : SHOWN;
}

static const char *const path_words[] = {
	[PATH_MATCH_PREFIX] = "prefix",
	[PATH_MATCH_EXACT] = "exact",
	[PATH_MATCH_SEPARATED_PREFIX] = "path prefix",
	[PATH_MATCH_REGEX] = "regex",
};

void mesh_route_path_words(const struct route_match *match, struct why *words)
{
	bool known = (size_t)match->kind < sizeof(path_words) / sizeof(path_words[0]) && path_words[match->kind];

	mesh_why(words, 0, "%s %.*s%s", known ? path_words[match->kind] : "pattern", shown(match->path),
		 match->path.data ? match->path.data : "", match->ignore_case ? " (any case)" : "");
}

static const char *const string_words[] = {
	[STRING_MATCH_EXACT] = "exactly",
	[STRING_MATCH_PREFIX] = "prefix",
	[STRING_MATCH_SUFFIX] = "suffix",
	[STRING_MATCH_CONTAINS] = "containing",
	[STRING_MATCH_REGEX] = "regex",
};

static void say_header(const struct header_match *match, struct why *why)
{
	const char *no = match->invert ? "not " : "";
	int name = shown(match->name);

	switch (match->kind) {
	case HEADER_MATCH_PRESENT:
		mesh_why(why, 0, "header %.*s: wanted %s", name, match->name.data, match->invert ? "absent" : "present");
		return;
	case HEADER_MATCH_RANGE:
		mesh_why(why, 0, "header %.*s: wanted %sa number from %lld to below %lld", name, match->name.data, no,
			 (long long)match->from, (long long)match->to);
		return;
	case HEADER_MATCH_STRING:
		break;
	}
	mesh_why(why, 0, "header %.*s: wanted %s%s \"%.*s\"", name, match->name.data, no, string_words[match->string.kind],
		 shown(match->string.text), match->string.text.data ? match->string.text.data : "");
}

static void say_query(const struct query_match *match, struct why *why)
{
	if (match->present_only)
		mesh_why(why, 0, "query parameter %.*s: wanted %s", shown(match->name), match->name.data,
			 match->absent ? "absent" : "present");
	else
		mesh_why(why, 0, "query parameter %.*s: wanted %s \"%.*s\"", shown(match->name), match->name.data,
			 string_words[match->string.kind], shown(match->string.text),
			 match->string.text.data ? match->string.text.data : "");
}

static bool path_alone(const struct route_match *match, const struct route_request *request, struct arena *scratch)
{
	struct route_match one = {.kind = match->kind, .ignore_case = match->ignore_case, .path = match->path,
				  .regex = match->regex, .no_parameters = match->no_parameters};

	return mesh_route_matches(&one, request, scratch);
}

static bool header_alone(struct header_match *header, const struct route_request *request, struct arena *scratch)
{
	struct route_match one = {.path = MESH_SLICE(""), .headers = header, .header_count = 1};

	return mesh_route_matches(&one, request, scratch);
}

static bool query_alone(struct query_match *query, const struct route_request *request, struct arena *scratch)
{
	struct route_match one = {.path = MESH_SLICE(""), .queries = query, .query_count = 1};

	return mesh_route_matches(&one, request, scratch);
}

static void find_rare_condition(const struct route_match *match, const struct route_request *request, struct arena *scratch,
				struct why *why)
{
	for (size_t i = 0; i < match->cookie_count; i++) {
		struct route_match one = {.path = MESH_SLICE(""), .cookies = &match->cookies[i], .cookie_count = 1};

		if (mesh_route_matches(&one, request, scratch))
			continue;
		mesh_why(why, 0, "cookie %.*s: wanted %s%s \"%.*s\"", shown(match->cookies[i].name), match->cookies[i].name.data,
			 match->cookies[i].invert ? "not " : "", string_words[match->cookies[i].string.kind],
			 shown(match->cookies[i].string.text),
			 match->cookies[i].string.text.data ? match->cookies[i].string.text.data : "");
		return;
	}
	if (match->asks_tls) {
		struct route_match one = {.path = MESH_SLICE(""), .asks_tls = true, .presented = match->presented,
					  .validated = match->validated};

		if (!mesh_route_matches(&one, request, scratch)) {
			mesh_why(why, 0, "the client's certificate is not as wanted");
			return;
		}
	}
	mesh_why(why, 0, "metadata of the request, claims of a token say, is not as wanted");
}

static void find_condition(const struct route_match *match, const struct route_request *request, struct arena *scratch,
			   struct why *why)
{
	struct route_match drawn = {.path = MESH_SLICE(""), .runtime_fraction = match->runtime_fraction};
	struct route_match grpc = {.path = MESH_SLICE(""), .grpc_only = match->grpc_only};
	struct why path = {{0}};

	if (match->never) {
		mesh_why(why, 0, "it has a condition that no request here meets");
		return;
	}
	if (!path_alone(match, request, scratch)) {
		mesh_route_path_words(match, &path);
		mesh_why(why, 0, "path: wanted %s", path.text);
		return;
	}
	if (!mesh_route_matches(&drawn, request, scratch)) {
		mesh_why(why, 0, "it takes %u of %u requests, and this one was not drawn", match->runtime_fraction.numerator,
			 match->runtime_fraction.denominator);
		return;
	}
	if (!mesh_route_matches(&grpc, request, scratch)) {
		mesh_why(why, 0, "it is for gRPC requests");
		return;
	}
	for (size_t i = 0; i < match->header_count; i++) {
		if (header_alone(&match->headers[i], request, scratch))
			continue;
		say_header(&match->headers[i], why);
		return;
	}
	for (size_t i = 0; i < match->query_count; i++) {
		if (query_alone(&match->queries[i], request, scratch))
			continue;
		say_query(&match->queries[i], why);
		return;
	}
	find_rare_condition(match, request, scratch, why);
}

bool mesh_route_why(const struct route_match *match, const struct route_request *request, struct arena *scratch,
		    struct why *why)
{
	if (mesh_route_matches(match, request, scratch))
		return true;
	find_condition(match, request, scratch, why);
	return false;
}
