/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the order of changes as Envoy does: weighted cluster, route, virtual host, whole configuration, or the last three
 * the other way round; each level removes, replaces, then adds; then the authority and the path. Refuses to know who asked,
 * and where the request goes.
 */
#include "policy/rewrite.h"

#include <mesh/error.h>

#include "base/regex.h"

static const size_t path_bytes_max = 64 * 1024; /* of a rewritten one */

enum { LEVELS = 4, VALUES_ON_STACK = 16 };

/* What of one level there is, for one direction. */
struct changes {
	const struct mesh_slice *remove;
	size_t remove_count;
	const struct header_mutation *add;
	size_t add_count;
};

/* What is known for text put together, filled once it is needed. */
struct source {
	const struct rewrite *rewrite;
	const struct mesh_slice *authority, *path; /* as they are now; NULL: the answer's turn */
	const struct headers *request, *response;
	struct mesh_slice body;
};

static struct mesh_slice put_together(const struct source *source, const struct format *format, struct mesh_slice missing,
				      struct arena *arena)
{
	struct format_facts facts = {.from = NULL};

	if (source->rewrite->facts)
		source->rewrite->facts(source->rewrite, &facts);
	if (source->authority)
		facts.authority = source->authority;
	if (source->path)
		facts.path = source->path;
	if (source->request)
		facts.request = source->request;
	if (source->response)
		facts.response = source->response;
	if (source->body.data)
		facts.body = source->body;
	return mesh_format(format, &facts, missing, arena);
}

struct mesh_slice mesh_rewrite_format(const struct rewrite *rewrite, const struct format *format, struct mesh_slice missing,
				      struct mesh_slice body, struct arena *arena)
{
	return put_together(&(struct source){.rewrite = rewrite, .body = body}, format, missing, arena);
}

static void levels(const struct rewrite *rewrite, const struct header_mutations *list[LEVELS])
{
	bool turned = rewrite->config && rewrite->config->specific_wins;

	list[0] = rewrite->weighted ? &rewrite->weighted->mutations : NULL;
	list[turned ? 3 : 1] = &rewrite->route->mutations;
	list[2] = rewrite->host ? &rewrite->host->mutations : NULL;
	list[turned ? 1 : 3] = rewrite->config ? &rewrite->config->mutations : NULL;
}

static bool replaces(enum header_append how)
{
	return how == HEADER_OVERWRITE_OR_ADD || how == HEADER_OVERWRITE_IF_EXISTS;
}

/* The value of one change, from the headers before any of its level; absent: it does not take place. */
static int value_of(const struct header_mutation *mutation, const struct headers *headers, const struct source *source,
		    struct arena *arena, struct mesh_slice *value)
{
	bool failed = false;

	*value = (struct mesh_slice){NULL, 0};
	if (mutation->how == HEADER_ADD_IF_ABSENT || mutation->how == HEADER_OVERWRITE_IF_EXISTS) {
		bool there = mesh_headers_get(headers, mutation->name).data != NULL;

		if (there == (mutation->how == HEADER_ADD_IF_ABSENT))
			return 0;
	}
	if (mutation->format) {
		struct mesh_slice text = put_together(source, mutation->format, MESH_SLICE(""), arena);

		if (!text.data)
			return MESH_ERROR_NOMEM;
		text = mesh_slice_trim(text);
		if (text.len && !mesh_header_value_valid(text)) /* of a peer, say: nothing that ends a header gets into one */
			return 0;
		*value = text.len || mutation->keep_empty ? mesh_slice_make(text.len ? text.data : "", text.len) : *value;
		return 0;
	}
	if (!mutation->value.len && !mutation->keep_empty)
		return 0;
	/* copied: a response is read when the configuration may be gone */
	*value = mutation->value.len ? mesh_arena_slice(arena, mutation->value, &failed) : MESH_SLICE("");
	return failed ? MESH_ERROR_NOMEM : 0;
}

static int apply(const struct header_mutation *mutation, struct mesh_slice value, struct headers *headers,
		 struct arena *arena)
{
	bool failed = false;
	struct mesh_slice name = mesh_arena_slice(arena, mutation->name, &failed);

	if (failed)
		return MESH_ERROR_NOMEM;
	return replaces(mutation->how) ? mesh_headers_set(headers, arena, name, value)
				       : mesh_headers_add(headers, arena, name, value);
}

/* All values are known before the first change, and what replaces comes before what is added. */
static int add_all(struct headers *headers, struct arena *arena, const struct changes *changes, const struct source *source)
{
	struct mesh_slice room[VALUES_ON_STACK], *values = room;
	int rc = 0;

	if (changes->add_count > VALUES_ON_STACK)
		values = mesh_arena_array(arena, changes->add_count, sizeof(*values));
	if (!values)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < changes->add_count && !rc; i++)
		rc = value_of(&changes->add[i], headers, source, arena, &values[i]);
	for (int adding = 0; adding < 2; adding++)
		for (size_t i = 0; i < changes->add_count && !rc; i++)
			if (values[i].data && replaces(changes->add[i].how) == !adding)
				rc = apply(&changes->add[i], values[i], headers, arena);
	return rc;
}

static int change_all(struct headers *headers, struct arena *arena, const struct changes *changes, const struct source *source)
{
	for (size_t i = 0; i < changes->remove_count; i++)
		mesh_headers_remove(headers, changes->remove[i]);
	return changes->add_count ? add_all(headers, arena, changes, source) : 0;
}

/* Most levels change nothing. */
static inline bool changes_request(const struct header_mutations *level)
{
	return level->request_remove_count | level->request_add_count;
}

static inline bool changes_response(const struct header_mutations *level)
{
	return level->response_remove_count | level->response_add_count;
}

/* Every level, whatever their order. */
static inline bool any_level(const struct rewrite *rewrite, bool (*changes)(const struct header_mutations *level))
{
	return changes(&rewrite->route->mutations) || (rewrite->host && changes(&rewrite->host->mutations)) ||
	       (rewrite->config && changes(&rewrite->config->mutations)) ||
	       (rewrite->weighted && changes(&rewrite->weighted->mutations));
}

static int replace(const struct regex *regex, struct mesh_slice text, struct mesh_slice with, struct arena *arena,
		   struct mesh_slice *result)
{
	bool failed = false;
	struct buf out;
	int rc;

	mesh_buf_init(&out, arena->mem, path_bytes_max);
	rc = mesh_regex_replace(regex, text, with, &out);
	*result = mesh_slice_make("", 0);
	if (!rc && mesh_buf_len(&out))
		*result = mesh_arena_slice(arena, mesh_buf_slice(&out), &failed);
	mesh_buf_free(&out);
	return rc ? rc : failed ? MESH_ERROR_NOMEM : 0;
}

/* What the route says the host is to be; empty: it stays. */
static int new_host(const struct route *route, const struct source *source, struct arena *arena, struct mesh_slice *host)
{
	*host = route->host_rewrite;
	if (host->len)
		return 0;
	if (route->host_rewrite_header.len) {
		*host = mesh_headers_get(source->request, route->host_rewrite_header);
		return 0;
	}
	if (route->host_rewrite_regex)
		return replace(route->host_rewrite_regex, mesh_rewrite_bare(*source->path), route->host_rewrite_with, arena, host);
	if (route->host_format) {
		*host = put_together(source, route->host_format, MESH_SLICE("-"), arena);
		return host->data ? 0 : MESH_ERROR_NOMEM;
	}
	return 0;
}

/* Behind the others, but for the same host twice in a row. */
static int append_forwarded_host(struct headers *headers, struct arena *arena, struct mesh_slice authority)
{
	const struct mesh_slice name = MESH_SLICE("x-forwarded-host");
	bool failed = false;
	struct mesh_slice list = mesh_headers_joined(headers, arena, name, &failed), last;
	ptrdiff_t comma;

	if (failed)
		return MESH_ERROR_NOMEM;
	if (!list.len)
		return mesh_headers_set(headers, arena, name, authority);
	comma = mesh_slice_find_last(list, ',');
	last = mesh_slice_make(list.data + comma + 1, list.len - (size_t)(comma + 1));
	if (mesh_slice_equal(last, authority))
		return 0;
	list = mesh_arena_printf(arena, "%.*s,%.*s", (int)list.len, list.data, (int)authority.len, authority.data);
	return list.data ? mesh_headers_set(headers, arena, name, list) : MESH_ERROR_NOMEM;
}

static int change_authority(const struct source *source, struct arena *arena, struct mesh_slice *authority,
			    struct headers *headers)
{
	const struct rewrite *rewrite = source->rewrite;
	struct mesh_slice to;
	int rc;

	if (rewrite->weighted && rewrite->weighted->host_rewrite.len) {
		/* read when the configuration may be gone, too */
		*authority = mesh_arena_slice(arena, rewrite->weighted->host_rewrite, NULL);
		if (!authority->data)
			return MESH_ERROR_NOMEM;
	}
	rc = new_host(rewrite->route, source, arena, &to);
	if (rc || !to.len)
		return rc;
	if (!mesh_header_word_valid(to))
		return MESH_ERROR_INVALID;
	if (authority->len && rewrite->route->append_forwarded_host)
		rc = append_forwarded_host(headers, arena, *authority);
	if (!rc)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("x-envoy-original-host"), *authority);
	*authority = mesh_arena_slice(arena, to, NULL);
	return rc || authority->data ? rc : MESH_ERROR_NOMEM;
}

struct mesh_slice mesh_rewrite_bare(struct mesh_slice path)
{
	size_t len = 0;

	while (len < path.len && path.data[len] != '?' && path.data[len] != '#')
		len++;
	return mesh_slice_make(path.data, len);
}

/* Another path before the same query. */
static int put_path(struct mesh_slice bare, struct arena *arena, struct mesh_slice *path)
{
	size_t taken = mesh_rewrite_bare(*path).len;

	*path = mesh_arena_printf(arena, "%.*s%.*s", (int)bare.len, bare.data, (int)(path->len - taken), path->data + taken);
	return path->data ? 0 : MESH_ERROR_NOMEM;
}

/* Behind the part of the path that the route's match took; a regular expression takes all but the query. */
static size_t matched_bytes(const struct route_match *match, struct mesh_slice path)
{
	size_t bare = mesh_rewrite_bare(path).len;

	if (match->kind == PATH_MATCH_REGEX || match->path.len > bare)
		return bare;
	return match->path.len;
}

int mesh_rewrite_prefix(const struct route_match *match, struct mesh_slice prefix, struct arena *arena,
			struct mesh_slice *path)
{
	size_t taken = matched_bytes(match, *path);
	struct mesh_slice rest = mesh_slice_make(path->data + taken, path->len - taken);

	*path = mesh_arena_printf(arena, "%.*s%.*s", (int)prefix.len, prefix.data, (int)rest.len, rest.data);
	return path->data ? 0 : MESH_ERROR_NOMEM;
}

int mesh_rewrite_regex(const struct regex *regex, struct mesh_slice with, struct arena *arena, struct mesh_slice *path)
{
	struct mesh_slice bare;
	int rc = replace(regex, mesh_rewrite_bare(*path), with, arena, &bare);

	return rc || !bare.len ? rc : put_path(bare, arena, path);
}

static int change_path(const struct source *source, struct arena *arena, struct mesh_slice *path, struct headers *headers)
{
	const struct route *route = source->rewrite->route;
	struct mesh_slice before = *path, bare;
	int rc = 0;

	if (route->has_prefix_rewrite) {
		rc = mesh_rewrite_prefix(&route->match, route->prefix_rewrite, arena, path);
	} else if (route->regex_rewrite) {
		rc = mesh_rewrite_regex(route->regex_rewrite, route->regex_rewrite_with, arena, path);
	} else if (route->path_format) {
		bare = put_together(source, route->path_format, MESH_SLICE(""), arena);
		rc = !bare.data ? MESH_ERROR_NOMEM : bare.len ? put_path(bare, arena, path) : 0;
	}
	if (rc || before.data == path->data) /* nothing is said, or nothing came of it */
		return rc;
	if (path->data[0] != '/' || !mesh_header_word_valid(*path))
		return MESH_ERROR_INVALID;
	return mesh_headers_set(headers, arena, MESH_SLICE("x-envoy-original-path"), before);
}

static int change_request(const struct source *source, struct arena *arena, struct headers *headers)
{
	const struct header_mutations *list[LEVELS];
	int rc = 0;

	levels(source->rewrite, list);
	for (int i = 0; i < LEVELS && !rc; i++)
		if (list[i])
			rc = change_all(headers, arena,
					&(struct changes){list[i]->request_remove, list[i]->request_remove_count,
							  list[i]->request_add, list[i]->request_add_count},
					source);
	return rc;
}

static int change_response(const struct source *source, struct arena *arena, struct headers *headers)
{
	const struct header_mutations *list[LEVELS];
	int rc = 0;

	levels(source->rewrite, list);
	for (int i = 0; i < LEVELS && !rc; i++)
		if (list[i])
			rc = change_all(headers, arena,
					&(struct changes){list[i]->response_remove, list[i]->response_remove_count,
							  list[i]->response_add, list[i]->response_add_count},
					source);
	return rc;
}

int mesh_rewrite_request(const struct rewrite *rewrite, struct arena *arena, struct mesh_slice *authority,
			 struct mesh_slice *path, struct headers *headers)
{
	const struct source source = {.rewrite = rewrite, .authority = authority, .path = path, .request = headers};
	int rc = any_level(rewrite, changes_request) ? change_request(&source, arena, headers) : 0;

	if (!rc)
		rc = change_authority(&source, arena, authority, headers);
	return rc ? rc : change_path(&source, arena, path, headers);
}

int mesh_rewrite_response(const struct rewrite *rewrite, struct arena *arena, struct headers *headers)
{
	if (!any_level(rewrite, changes_response) || rewrite->route->redirect_to_tls) /* of no route's */
		return 0;
	return change_response(&(struct source){.rewrite = rewrite, .response = headers}, arena, headers);
}
