/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which other sites' pages a route is for. What is not understood allows nobody. A policy fills what it does not say from
 * the one of the level above it.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "envoy/type/matcher/v3/string.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define ORIGINS_MAX 4096

typedef Envoy__Extensions__Filters__Http__Cors__V3__CorsPolicy policy_message;

static struct mesh_slice header_value(struct decode *d, const char *field, const char *text)
{
	struct mesh_slice value = mesh_decode_text(d, text);

	if (value.data && !mesh_header_value_valid(value))
		mesh_decode_fail_field(d, field, "\"%.60s\": not a header value", text);
	return value;
}

static enum cors_choice choice(const Google__Protobuf__BoolValue *value)
{
	if (!value)
		return CORS_UNSET;
	return value->value ? CORS_YES : CORS_NO;
}

static void decode_origins(struct decode *d, const policy_message *message, struct cors_config *cors)
{
	if (!mesh_decode_count(d, "allow_origin_string_match", message->n_allow_origin_string_match, ORIGINS_MAX))
		return;
	cors->origins = mesh_decode_array(d, message->n_allow_origin_string_match, sizeof(*cors->origins));
	for (size_t i = 0; cors->origins && i < message->n_allow_origin_string_match && d->rc == 0; i++) {
		struct string_match *origin = &cors->origins[cors->origin_count];

		mesh_decode_push_item(d, "allow_origin_string_match", i);
		if (mesh_decode_string_match(d, message->allow_origin_string_match[i], origin)) {
			cors->origin_count++;
		} else {
			*origin = (struct string_match){0};
			mesh_decode_warning(d, "an origin of a kind that is not understood: not allowed");
		}
		mesh_decode_pop(d);
	}
}

static void decode_policy(struct decode *d, const policy_message *message, struct cors_config *cors)
{
	decode_origins(d, message, cors);
	cors->methods = header_value(d, "allow_methods", message->allow_methods);
	cors->headers = header_value(d, "allow_headers", message->allow_headers);
	cors->expose = header_value(d, "expose_headers", message->expose_headers);
	cors->max_age = header_value(d, "max_age", message->max_age);
	cors->credentials = choice(message->allow_credentials);
	cors->private_network = choice(message->allow_private_network_access);
	cors->forward = choice(message->forward_not_matching_preflights);
	mesh_decode_push(d, "filter_enabled");
	cors->enabled = mesh_decode_fraction(d, message->filter_enabled);
	mesh_decode_pop(d);
	mesh_decode_push(d, "shadow_enabled"); /* is counted, and changes nothing */
	mesh_decode_fraction(d, message->shadow_enabled);
	mesh_decode_pop(d);
	if (message->base.n_unknown_fields)
		mesh_decode_warning(d, "an unknown field of a CORS policy: passed over");
}

void mesh_decode_cors_fill(struct cors_config *cors, const struct cors_config *outer)
{
	if (!cors->origins) { /* also one whose origins were not understood says what it allows */
		cors->origins = outer->origins;
		cors->origin_count = outer->origin_count;
	}
	if (!cors->methods.len)
		cors->methods = outer->methods;
	if (!cors->headers.len)
		cors->headers = outer->headers;
	if (!cors->expose.len)
		cors->expose = outer->expose;
	if (!cors->max_age.len)
		cors->max_age = outer->max_age;
	if (!cors->credentials)
		cors->credentials = outer->credentials;
	if (!cors->private_network)
		cors->private_network = outer->private_network;
	if (!cors->forward)
		cors->forward = outer->forward;
}

struct cors_config *mesh_decode_cors(struct decode *d, const char *field, const Google__Protobuf__Any *any)
{
	struct cors_config *cors = mesh_decode_array(d, 1, sizeof(*cors));
	policy_message *message = mesh_decode_any_open(
		d, field, any, &envoy__extensions__filters__http__cors__v3__cors_policy__descriptor);

	if (message && cors)
		decode_policy(d, message, cors);
	mesh_decode_any_close(d);
	return cors;
}
