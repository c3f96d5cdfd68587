/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a request comes from a page of an allowed site, whether it is a preflight, and what its answer says. Refuses
 * nobody: that is the browser's part. Refuses to know who sends the answer.
 */
#include "policy/cors.h"

#include <mesh/error.h>

#include "policy/header_match.h"

static struct mesh_slice header(const struct route_request *request, struct mesh_slice name, struct arena *scratch)
{
	bool failed = false;
	struct mesh_slice value = request->headers ? mesh_headers_joined(request->headers, scratch, name, &failed)
						   : (struct mesh_slice){NULL, 0};

	return failed ? (struct mesh_slice){NULL, 0} : value;
}

const struct cors_config *mesh_cors_in_force(struct mesh_slice filter, const struct route *route,
					     const struct weighted_cluster *weighted)
{
	if (weighted && weighted->cors && mesh_slice_equal(weighted->cors_filter, filter))
		return weighted->cors;
	return route->cors && mesh_slice_equal(route->cors_filter, filter) ? route->cors : NULL;
}

/* A matcher that takes a star is for everybody. */
static bool origin_allowed(const struct cors_config *config, struct mesh_slice origin)
{
	for (size_t i = 0; i < config->origin_count; i++)
		if (mesh_string_matches(&config->origins[i], MESH_SLICE("*")) ||
		    mesh_string_matches(&config->origins[i], origin))
			return true;
	return false;
}

enum cors_verdict mesh_cors_check(const struct cors_config *config, const struct route_request *request,
				  uint64_t random, struct arena *scratch, struct mesh_slice *origin)
{
	struct mesh_slice from;
	bool allowed;

	*origin = (struct mesh_slice){NULL, 0};
	if (!mesh_fraction_hits(&config->enabled, random))
		return CORS_GO_ON;
	from = header(request, MESH_SLICE("origin"), scratch);
	if (!from.len)
		return CORS_GO_ON;
	allowed = origin_allowed(config, from);
	if (allowed)
		*origin = from;
	if (mesh_slice_equal(request->method, MESH_SLICE("OPTIONS")) &&
	    header(request, MESH_SLICE("access-control-request-method"), scratch).len &&
	    (allowed || config->forward == CORS_NO))
		return CORS_ANSWER;
	return allowed ? CORS_MARK : CORS_GO_ON;
}

/* "*" says what was asked for; a field that has nothing to say stays away. */
static int tell(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value,
		struct mesh_slice asked)
{
	if (mesh_slice_equal(value, MESH_SLICE("*")))
		value = asked;
	return value.len ? mesh_headers_set(headers, arena, name, value) : 0;
}

static int tell_origin(const struct cors_config *config, struct mesh_slice origin, struct arena *arena,
		       struct headers *headers)
{
	int rc = 0;

	if (origin.len)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-allow-origin"), origin);
	if (!rc && config->credentials == CORS_YES)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-allow-credentials"),
				      MESH_SLICE("true"));
	return rc;
}

int mesh_cors_preflight(const struct cors_config *config, const struct route_request *request, struct mesh_slice origin,
			struct arena *arena, struct headers *headers)
{
	int rc = tell_origin(config, origin, arena, headers);

	if (!rc)
		rc = tell(headers, arena, MESH_SLICE("access-control-allow-methods"), config->methods,
			  header(request, MESH_SLICE("access-control-request-method"), arena));
	if (!rc)
		rc = tell(headers, arena, MESH_SLICE("access-control-allow-headers"), config->headers,
			  header(request, MESH_SLICE("access-control-request-headers"), arena));
	if (!rc && config->expose.len && origin.len)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-expose-headers"), config->expose);
	if (!rc && config->max_age.len)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-max-age"), config->max_age);
	if (!rc && config->private_network == CORS_YES &&
	    mesh_slice_equal(header(request, MESH_SLICE("access-control-request-private-network"), arena),
			     MESH_SLICE("true")))
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-allow-private-network"),
				      MESH_SLICE("true"));
	return rc;
}

int mesh_cors_mark(const struct cors_config *config, struct mesh_slice origin, struct arena *arena,
		   struct headers *headers)
{
	int rc = tell_origin(config, origin, arena, headers);

	if (!rc && config->expose.len)
		rc = mesh_headers_set(headers, arena, MESH_SLICE("access-control-expose-headers"), config->expose);
	return rc;
}
