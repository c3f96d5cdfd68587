/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which number a request is balanced by: each policy that finds something adds its hash, in order. Knows nothing
 * of rings and tables, nor of endpoints.
 */
#include "policy/hash_policy.h"

#include <stdlib.h>

#include <mesh/error.h>

#include "base/hash.h"
#include "policy/header_match.h"

#define COOKIE_DIGITS 16 /* of a value we make */

static const size_t value_bytes_max = 65536; /* as rewritten */

struct found {
	bool any;
	uint64_t hash;
};

static int order(const void *left, const void *right)
{
	return mesh_slice_compare(*(const struct mesh_slice *)left, *(const struct mesh_slice *)right);
}

/* Gives values of the header, each on its own. */
static int collect(const struct route_request *request, struct mesh_slice name, struct arena *scratch,
		   struct mesh_slice **values, size_t *count)
{
	size_t all = request->headers ? mesh_headers_count(request->headers, name) : 0;
	bool several = all > 1 && !mesh_slice_equal(name, MESH_SLICE("host")) && !mesh_header_kept_once(name);
	int rc = 0;

	*count = 0;
	*values = mesh_arena_array(scratch, several ? all : 1, sizeof(**values));
	if (!*values)
		return MESH_ERROR_NOMEM;
	if (!several) {
		rc = mesh_header_value(request, name, scratch, *values);
		*count = !rc && (*values)->data;
		return rc;
	}
	for (size_t i = 0; i < request->headers->count && *count < all; i++)
		if (mesh_slice_equal_fold(request->headers->items[i].name, name))
			(*values)[(*count)++] = request->headers->items[i].value;
	return 0;
}

static int rewrite(const struct hash_policy *policy, struct arena *scratch, struct mesh_slice *value)
{
	bool failed = false;
	struct buf text;
	int rc;

	mesh_buf_init(&text, scratch->mem, value_bytes_max);
	rc = mesh_regex_replace(policy->rewrite, *value, policy->rewrite_with, &text);
	if (!rc)
		*value = mesh_arena_slice(scratch, mesh_buf_slice(&text), &failed);
	mesh_buf_free(&text);
	return failed ? MESH_ERROR_NOMEM : rc;
}

/* Whatever order several values come in, they are the same to it. */
static int header(const struct hash_policy *policy, const struct route_request *request, struct arena *scratch,
		  struct found *found)
{
	struct mesh_slice *values;
	size_t count;
	int rc = collect(request, policy->name, scratch, &values, &count);

	for (size_t i = 0; !rc && policy->rewrite && i < count; i++)
		rc = rewrite(policy, scratch, &values[i]);
	if (rc)
		return rc;
	qsort(values, count, sizeof(*values), order);
	found->any = count > 0;
	for (size_t i = 0; i < count; i++)
		found->hash = mesh_hash_xx64(values[i], found->hash);
	return 0;
}

static struct mesh_slice unquoted(struct mesh_slice text)
{
	if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
		return mesh_slice_make(text.data + 1, text.len - 2);
	return text;
}

/* The first cookie of that name; absent: none. */
static struct mesh_slice cookie_value(const struct headers *headers, struct mesh_slice name)
{
	for (size_t i = 0; headers && i < headers->count; i++) {
		struct mesh_slice rest = headers->items[i].value;

		if (!mesh_slice_equal_fold(headers->items[i].name, MESH_SLICE("cookie")))
			continue;
		while (rest.data && rest.len) {
			struct mesh_slice value = mesh_slice_cut(&rest, ';');
			struct mesh_slice key = mesh_slice_cut(&value, '=');

			if (value.data && mesh_slice_equal(mesh_slice_trim(key), name))
				return unquoted(mesh_slice_trim(value));
		}
	}
	return (struct mesh_slice){NULL, 0};
}

/*
 * A value for who has no cookie yet, and the header that gives it out. Envoy makes it of the two addresses of the caller's
 * connection; here is none, so chance stands for the port.
 */
static int make_cookie(const struct hash_policy *policy, const struct hash_origin *origin, struct arena *scratch,
		       struct hash_result *result, struct mesh_slice *value)
{
	uint64_t number;

	if (!policy->cookie_tail.len || !origin->rand)
		return 0;
	number = mesh_hash_xx64(origin->source_ip, mesh_rand_next(origin->rand));
	result->set_cookie = mesh_arena_printf(scratch, "%.*s=\"%016llx\"%.*s", (int)policy->name.len, policy->name.data,
					       (unsigned long long)number, (int)policy->cookie_tail.len,
					       policy->cookie_tail.data);
	if (!result->set_cookie.data)
		return MESH_ERROR_NOMEM;
	*value = mesh_slice_make(result->set_cookie.data + policy->name.len + 2, COOKIE_DIGITS);
	return 0;
}

static int find(const struct hash_policy *policy, const struct route_request *request, const struct hash_origin *origin,
		struct arena *scratch, struct hash_result *result, struct found *found)
{
	struct mesh_slice value = {NULL, 0};
	int rc = 0;

	switch (policy->source) {
	case HASH_HEADER:
		return header(policy, request, scratch, found);
	case HASH_COOKIE:
		value = cookie_value(request->headers, policy->name);
		if (!value.len)
			rc = make_cookie(policy, origin, scratch, result, &value);
		found->any = value.len > 0;
		break;
	case HASH_SOURCE_IP:
		value = origin->source_ip;
		found->any = value.len > 0;
		break;
	case HASH_QUERY:
		found->any = mesh_query_value(request->path, policy->name, &value);
		break;
	}
	if (found->any)
		found->hash = mesh_hash_xx64(value, 0);
	return rc;
}

int mesh_hash_policies(const struct hash_policy *policies, size_t count, const struct route_request *request,
		       const struct hash_origin *origin, struct arena *scratch, struct hash_result *result)
{
	bool any = false;

	*result = (struct hash_result){0};
	for (size_t i = 0; i < count; i++) {
		struct found found = {0};
		int rc = find(&policies[i], request, origin, scratch, result, &found);

		if (rc)
			return rc;
		if (found.any) /* turned by one bit, so that the same policy twice is not none */
			result->hash = (result->hash << 1 | result->hash >> 63) ^ found.hash;
		any = any || found.any;
		if (policies[i].terminal && any)
			break;
	}
	return 0;
}
