/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what the copy of a request says where it differs from it: the authority, what the policy changes, and how Envoy
 * marks what it sends on its own account. Refuses to know where the copy goes.
 */
#include "call/mirror.h"

#include "policy/rewrite.h"

static const uint64_t ns_per_ms = 1000000;

/* "host" is "host-shadow", "host:port" is "host-shadow:port". */
static struct mesh_slice mark_authority(struct mesh_slice authority, struct arena *arena)
{
	ptrdiff_t colon = mesh_slice_find_last(authority, ':');
	size_t host = colon < 0 || mesh_slice_find_last(authority, ']') > colon ? authority.len : (size_t)colon;

	return mesh_arena_printf(arena, "%.*s-shadow%.*s", (int)host, authority.data, (int)(authority.len - host),
				 authority.data + host);
}

/* Names are matched in lower case, however the application wrote them. NOMEM */
static int remove_matching(struct headers *headers, const struct string_match *match, struct arena *arena)
{
	size_t i = 0;

	while (i < headers->count) {
		struct mesh_slice name = mesh_arena_slice(arena, headers->items[i].name, NULL);

		if (!name.data)
			return MESH_ERROR_NOMEM;
		for (size_t k = 0; k < name.len; k++)
			((char *)name.data)[k] = mesh_char_lower(name.data[k]);
		if (!mesh_string_matches(match, name) || !mesh_headers_remove(headers, name))
			i++;
	}
	return 0;
}

/* By the means of a route that changes headers and nothing else; computed values are told of the call itself. */
static int change_headers(struct mesh_call *call, const struct mirror_policy *policy, struct mesh_call *shadow)
{
	struct rewrite *rewrite = &call->client.chosen, before = *rewrite;
	struct http_head *head = &shadow->request;
	struct route only = {.max_stream_duration_ns = -1};
	int rc = 0;

	*rewrite = (struct rewrite){.route = &only, .facts = before.facts};
	for (size_t i = 0; i < policy->change_count && !rc; i++) {
		const struct mirror_change *change = &policy->changes[i];

		if (change->headers)
			only.mutations = *change->headers;
		rc = change->headers ? mesh_rewrite_request(rewrite, &shadow->arena, &head->authority, &head->path,
							    &head->headers)
				     : remove_matching(&head->headers, &change->remove, &shadow->arena);
	}
	*rewrite = before;
	return rc;
}

/* As Envoy marks what it sends on its own account. */
static int mark_headers(struct mesh_call *shadow)
{
	const struct mesh_slice name = MESH_SLICE("x-forwarded-for");
	struct mesh_slice own = mesh_slice_of(shadow->mesh->pod_ip), before;
	struct headers *headers = &shadow->request.headers;
	bool failed = false;
	int rc = mesh_headers_set(headers, &shadow->arena, MESH_SLICE("x-envoy-internal"), MESH_SLICE("true"));

	if (rc || !own.len)
		return rc;
	before = mesh_headers_joined(headers, &shadow->arena, name, &failed);
	if (before.len)
		own = mesh_arena_printf(&shadow->arena, "%.*s,%.*s", (int)before.len, before.data, (int)own.len,
					own.data);
	return failed || !own.data ? MESH_ERROR_NOMEM : mesh_headers_set(headers, &shadow->arena, name, own);
}

/* A copy has no limit on its tries, but says what the request was told of that, where nothing limits the whole. */
static int tell_timeout(const struct mesh_call *call, struct mesh_call *shadow)
{
	const struct client_call *client = &call->client;
	struct mesh_slice value;

	if (!client->per_try_ns || client->response_ns || client->hedged || client->http->suppress_envoy_headers)
		return 0;
	value = mesh_arena_printf(&shadow->arena, "%llu",
				  (unsigned long long)(client->per_try_ns + ns_per_ms - 1) / ns_per_ms);
	return value.data ? mesh_headers_set(&shadow->request.headers, &shadow->arena,
					     MESH_SLICE("x-envoy-expected-rq-timeout-ms"), value)
			  : MESH_ERROR_NOMEM;
}

int mesh_mirror_request(struct mesh_call *call, const struct headers *headers, const struct mirror_policy *policy,
			struct mesh_call *shadow)
{
	struct arena *arena = &shadow->arena;
	struct http_head *head = &shadow->request;
	bool failed = false;
	int rc = 0;

	head->method = mesh_arena_slice(arena, call->request.method, &failed);
	head->scheme = mesh_arena_slice(arena, call->request.scheme, &failed);
	head->path = mesh_arena_slice(arena, call->request.path, &failed);
	head->content_length = call->request.content_length;
	if (policy->authority.data)
		head->authority = mesh_arena_slice(arena, policy->authority, &failed);
	else if (policy->keep_authority)
		head->authority = mesh_arena_slice(arena, call->request.authority, &failed);
	else
		head->authority = mark_authority(call->request.authority, arena);
	for (size_t i = 0; i < headers->count && !rc; i++)
		rc = mesh_headers_add_copy(&head->headers, arena, headers->items[i].name, headers->items[i].value);
	if (rc || failed || !head->authority.data)
		return MESH_ERROR_NOMEM;
	rc = tell_timeout(call, shadow);
	if (!rc && policy->change_count)
		rc = change_headers(call, policy, shadow);
	return rc ? rc : mark_headers(shadow);
}
