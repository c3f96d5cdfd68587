/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirects a route follows itself. A condition that is not understood would be one that nobody asks, so such a policy
 * follows none: the application gets the redirect.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "config/internal_redirect.h"
#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define REDIRECTS_MAX 50   /* followed by one call, whatever is asked for: a peer decides how many come */
#define CODES_MAX     5    /* as Envoy */
#define NAMES_MAX     4096 /* of routes, headers */

typedef Envoy__Config__Route__V3__RouteAction action_message;
typedef Envoy__Config__Route__V3__InternalRedirectPolicy policy_message;
typedef Envoy__Extensions__InternalRedirect__AllowListedRoutes__V3__AllowListedRoutesConfig allowed_message;

/* Those that are no redirects are passed over, as in Envoy. */
static uint32_t decode_codes(struct decode *d, const policy_message *message)
{
	uint32_t codes = 0;

	if (!message->n_redirect_response_codes)
		return REDIRECT_302;
	mesh_decode_count(d, "redirect_response_codes", message->n_redirect_response_codes, CODES_MAX);
	for (size_t i = 0; i < message->n_redirect_response_codes && d->rc == 0; i++) {
		switch (message->redirect_response_codes[i]) {
		case 301:
			codes |= REDIRECT_301;
			break;
		case 302:
			codes |= REDIRECT_302;
			break;
		case 303:
			codes |= REDIRECT_303;
			break;
		case 307:
			codes |= REDIRECT_307;
			break;
		case 308:
			codes |= REDIRECT_308;
			break;
		default:
			break;
		}
	}
	return codes;
}

static void decode_allowed(struct decode *d, const Google__Protobuf__Any *any, struct redirect_predicate *predicate)
{
	allowed_message *message = mesh_decode_any_open(
		d, "typed_config", any,
		&envoy__extensions__internal_redirect__allow_listed_routes__v3__allow_listed_routes_config__descriptor);

	predicate->kind = REDIRECT_ALLOWED_ROUTES;
	if (message && mesh_decode_count(d, "allowed_route_names", message->n_allowed_route_names, NAMES_MAX)) {
		predicate->routes = mesh_decode_array(d, message->n_allowed_route_names, sizeof(*predicate->routes));
		predicate->route_count = predicate->routes ? message->n_allowed_route_names : 0;
		for (size_t i = 0; i < predicate->route_count; i++)
			predicate->routes[i] = mesh_decode_text(d, message->allowed_route_names[i]);
	}
	mesh_decode_any_close(d);
}

/* False: of a kind that is not understood. */
static bool decode_predicate(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *message,
			     struct redirect_predicate *predicate)
{
	const Google__Protobuf__Any *any = message->typed_config;

	if (mesh_decode_any_is(
		    any,
		    &envoy__extensions__internal_redirect__previous_routes__v3__previous_routes_config__descriptor))
		predicate->kind = REDIRECT_PREVIOUS_ROUTES;
	else if (
		mesh_decode_any_is(
			any,
			&envoy__extensions__internal_redirect__safe_cross_scheme__v3__safe_cross_scheme_config__descriptor))
		predicate->kind = REDIRECT_SAFE_CROSS_SCHEME;
	else if (
		mesh_decode_any_is(
			any,
			&envoy__extensions__internal_redirect__allow_listed_routes__v3__allow_listed_routes_config__descriptor))
		decode_allowed(d, any, predicate);
	else
		return false;
	return true;
}

static bool decode_predicates(struct decode *d, const policy_message *message, struct internal_redirect_config *config)
{
	bool known = true;

	if (!mesh_decode_count(d, "predicates", message->n_predicates, MESH_DECODE_FILTERS))
		return true;
	config->predicates = mesh_decode_array(d, message->n_predicates, sizeof(*config->predicates));
	config->predicate_count = config->predicates ? message->n_predicates : 0;
	for (size_t i = 0; i < config->predicate_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "predicates", i);
		known = decode_predicate(d, message->predicates[i], &config->predicates[i]) && known;
		mesh_decode_pop(d);
	}
	return known;
}

static void decode_copied(struct decode *d, const policy_message *message, struct internal_redirect_config *config)
{
	size_t count = message->n_response_headers_to_copy;

	if (!mesh_decode_count(d, "response_headers_to_copy", count, NAMES_MAX))
		return;
	config->copied = mesh_decode_array(d, count, sizeof(*config->copied));
	config->copied_count = config->copied ? count : 0;
	for (size_t i = 0; i < config->copied_count && d->rc == 0; i++) {
		const char *name = message->response_headers_to_copy[i];

		mesh_decode_push_item(d, "response_headers_to_copy", i);
		if (name[0] == ':' || mesh_slice_equal_fold(mesh_slice_of(name), MESH_SLICE("host")))
			mesh_decode_fail(d, "\"%.60s\": pseudo headers and host must not be copied", name);
		else if (!mesh_header_name_valid(mesh_slice_of(name)))
			mesh_decode_fail(d, "\"%.60s\": not a header name", name);
		config->copied[i] = mesh_decode_lower(d, name);
		mesh_decode_pop(d);
	}
}

static uint32_t decode_max(struct decode *d, const Google__Protobuf__UInt32Value *value)
{
	uint32_t max = mesh_decode_u32(value, 1);

	if (max <= REDIRECTS_MAX)
		return max;
	mesh_decode_warning(d, "max_internal_redirects %u: %u are followed", max, REDIRECTS_MAX);
	return REDIRECTS_MAX;
}

static const struct internal_redirect_config *decode_policy(struct decode *d, const policy_message *message)
{
	struct internal_redirect_config *config = mesh_decode_array(d, 1, sizeof(*config));
	bool known;

	if (!config)
		return NULL;
	config->codes = decode_codes(d, message);
	config->max = decode_max(d, message->max_internal_redirects);
	config->allow_cross_scheme = message->allow_cross_scheme_redirect;
	known = decode_predicates(d, message, config) && !message->base.n_unknown_fields;
	decode_copied(d, message, config);
	if (known)
		return config;
	mesh_decode_warning(d, "an internal redirect policy that is not understood: redirects are not followed");
	return NULL;
}

const struct internal_redirect_config *mesh_decode_internal_redirect(struct decode *d, const action_message *message)
{
	const struct internal_redirect_config *config = NULL;
	struct internal_redirect_config *old;

	mesh_decode_push(d, "internal_redirect_policy");
	if (message->internal_redirect_policy) {
		config = decode_policy(d, message->internal_redirect_policy);
	} else if (message->internal_redirect_action ==
		   ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__INTERNAL_REDIRECT_ACTION__HANDLE_INTERNAL_REDIRECT) {
		config = old = mesh_decode_array(d, 1, sizeof(*old)); /* the words in use before the policy was */
		if (old) {
			old->codes = REDIRECT_302;
			old->max = decode_max(d, message->max_internal_redirects);
		}
	}
	mesh_decode_pop(d);
	return config;
}
