/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a type is asked for, by which names, and what becomes of a response. Refuses to know what resources mean
 * (the cache does), what a request says (ads_request.c) and how messages travel (the owner does).
 */
#include "xds/ads_request.h"

#include <stdio.h>

#include "control/message.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse sotw_response;

enum {
	UNPACKED_PER_BYTE = 64,        /* an unpacked message is some ten times its packed form; far more is an attack */
	TEXT_BYTES_MAX = 4095,         /* of a nonce, a version */
};

/* Clusters before the endpoints they name, listeners before their routes. */
static const enum xds_type order[XDS_TYPES] = {XDS_CLUSTER, XDS_ENDPOINT, XDS_LISTENER, XDS_ROUTE, XDS_SECRET};

const char *mesh_ads_method(const struct ads *ads)
{
	return ads->sotw ? "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
			 : "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
}

const char *mesh_ads_type_name(enum xds_type type)
{
	static const char *const names[XDS_TYPES] = {
		[XDS_CLUSTER] = "cds", [XDS_ENDPOINT] = "eds", [XDS_LISTENER] = "lds", [XDS_ROUTE] = "rds", [XDS_SECRET] = "sds",
	};

	return names[type];
}

void mesh_ads_init(struct ads *ads)
{
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_arena_init(&ads->types[i].asked.arena, ads->mem, 0);
		mesh_buf_init(&ads->types[i].nonce, ads->mem, TEXT_BYTES_MAX + 1);
		mesh_buf_init(&ads->types[i].version, ads->mem, TEXT_BYTES_MAX + 1);
	}
	mesh_arena_init(&ads->scratch, ads->mem, 0);
	mesh_buf_init(&ads->message, ads->mem, 0);
	mesh_buf_init(&ads->rejects, ads->mem, 0);
}

void mesh_ads_free(struct ads *ads)
{
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_arena_free(&ads->types[i].asked.arena);
		mesh_buf_free(&ads->types[i].nonce);
		mesh_buf_free(&ads->types[i].version);
	}
	mesh_arena_free(&ads->scratch);
	mesh_buf_free(&ads->message);
	mesh_buf_free(&ads->rejects);
}

static bool by_wildcard(enum xds_type type)
{
	return type == XDS_CLUSTER || type == XDS_LISTENER;
}

static int keep_text(struct buf *buf, const char *text, const char *what, struct why *why)
{
	int rc;

	mesh_buf_clear(buf);
	rc = mesh_buf_append(buf, mesh_slice_make(text, strlen(text) + 1));
	if (!rc)
		buf->end--;
	if (rc == MESH_ERROR_TOO_LARGE)
		return mesh_why(why, MESH_ERROR_INVALID, "discovery response: %s: longer than %d bytes", what, TEXT_BYTES_MAX);
	return rc;
}

/* ---- delta ---- */

static struct mesh_slice bytes_of(ProtobufCBinaryData data)
{
	return mesh_slice_make(data.data, data.len);
}

static int delta_apply(struct ads *ads, enum xds_type type, const delta_response *response)
{
	struct xds_resource *resources = mesh_arena_array(&ads->scratch, response->n_resources + 1, sizeof(*resources));
	struct mesh_slice *removed = mesh_arena_array(&ads->scratch, response->n_removed_resources + 1, sizeof(*removed));
	size_t count = 0;

	if (!resources || !removed)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < response->n_resources; i++) {
		const Envoy__Service__Discovery__V3__Resource *resource = response->resources[i];

		if (!resource->resource) /* only prolongs a lifetime: nothing changed */
			continue;
		resources[count++] = (struct xds_resource){
			.name = mesh_slice_of(resource->name),
			.version = mesh_slice_of(resource->version[0] ? resource->version : response->system_version_info),
			.type_url = mesh_slice_of(resource->resource->type_url),
			.bytes = bytes_of(resource->resource->value),
		};
	}
	for (size_t i = 0; i < response->n_removed_resources; i++)
		removed[i] = mesh_slice_of(response->removed_resources[i]);
	return mesh_resource_cache_apply(ads->cache, type, resources, count, removed, response->n_removed_resources, false,
					 &ads->rejects);
}

/* ---- state of the world ---- */

static int sotw_apply(struct ads *ads, enum xds_type type, const sotw_response *response, struct why *why)
{
	struct xds_resource *resources = mesh_arena_array(&ads->scratch, response->n_resources + 1, sizeof(*resources));
	int rc;

	if (!resources)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < response->n_resources; i++)
		resources[i] = (struct xds_resource){
			.version = mesh_slice_of(response->version_info),
			.type_url = mesh_slice_of(response->resources[i]->type_url),
			.bytes = bytes_of(response->resources[i]->value),
		};
	rc = mesh_resource_cache_apply(ads->cache, type, resources, response->n_resources, NULL, 0, by_wildcard(type),
				       &ads->rejects);
	if (!rc && !mesh_buf_len(&ads->rejects))
		rc = keep_text(&ads->types[type].version, response->version_info, "version_info", why);
	return rc;
}

/* ---- subscriptions ---- */

static int keep_names(struct ads_names *names, const struct mesh_slice *from, size_t count)
{
	bool failed = false;

	mesh_arena_reset(&names->arena);
	names->count = 0;
	names->names = count ? mesh_arena_array(&names->arena, count, sizeof(*from)) : NULL;
	if (count && !names->names)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < count; i++)
		names->names[i] = mesh_arena_slice(&names->arena, from[i], &failed);
	if (failed)
		return MESH_ERROR_NOMEM;
	names->count = count;
	return 0;
}

/* Asks for what is wanted now, when that differs from what was asked for. */
static int follow(struct ads *ads, enum xds_type type)
{
	struct ads_type *state = &ads->types[type];
	struct ads_names wanted = {.names = NULL};
	const struct mesh_slice *names = NULL;
	int rc = 0;

	if (!by_wildcard(type))
		rc = mesh_resource_cache_wanted(ads->cache, type, &names, &wanted.count);
	/* an empty first request would ask for everything */
	if (rc || (by_wildcard(type) && state->opened) || (!by_wildcard(type) && !state->opened && !wanted.count))
		return rc;
	wanted.names = (struct mesh_slice *)names;
	rc = mesh_ads_subscribe(ads, type, &wanted);
	if (!rc)
		rc = keep_names(&state->asked, names, wanted.count);
	state->opened = true;
	return rc;
}

static int follow_all(struct ads *ads)
{
	int rc = 0;

	mesh_buf_clear(&ads->rejects);
	for (size_t i = 0; i < XDS_TYPES && !rc; i++)
		rc = follow(ads, order[i]);
	mesh_arena_reset(&ads->scratch);
	return rc;
}

int mesh_ads_open(struct ads *ads)
{
	ads->introduced = false;
	for (size_t i = 0; i < XDS_TYPES; i++) {
		ads->types[i].opened = false;
		mesh_buf_clear(&ads->types[i].nonce);
		mesh_arena_reset(&ads->types[i].asked.arena);
		ads->types[i].asked.names = NULL;
		ads->types[i].asked.count = 0;
	}
	return follow_all(ads);
}

/* ---- receiving ---- */

struct response {
	const ProtobufCMessage *message;
	const char *type_url, *nonce;
	enum xds_type type;
	bool unasked; /* nobody here wants it: passed over without an answer, as Envoy does */
};

static int unpack(struct ads *ads, struct mesh_slice bytes, struct response *response, struct why *why)
{
	const ProtobufCMessageDescriptor *type = ads->sotw ? &envoy__service__discovery__v3__discovery_response__descriptor
							   : &envoy__service__discovery__v3__delta_discovery_response__descriptor;
	ProtobufCMessage *message = NULL;
	struct why own = {{0}};
	int rc, found;

	ads->scratch.limit = bytes.len < SIZE_MAX / (2 * UNPACKED_PER_BYTE) ? (bytes.len + 16384) * UNPACKED_PER_BYTE : SIZE_MAX;
	rc = mesh_message_unpack(type, bytes, 0, &ads->scratch, &own, &message);
	if (rc == MESH_ERROR_NOMEM && ads->scratch.full)
		rc = mesh_why(why, MESH_ERROR_INVALID, "discovery response: its %zu bytes take more than %zu when unpacked", bytes.len,
			      ads->scratch.limit);
	ads->scratch.limit = 0;
	if (rc)
		return mesh_why(why, rc, "%s", own.text);
	response->message = message;
	response->type_url = ads->sotw ? ((sotw_response *)message)->type_url : ((delta_response *)message)->type_url;
	response->nonce = ads->sotw ? ((sotw_response *)message)->nonce : ((delta_response *)message)->nonce;
	found = mesh_xds_type_of(mesh_slice_of(response->type_url));
	if (!response->type_url[0])
		return mesh_why(why, MESH_ERROR_INVALID, "discovery response: type_url: is empty");
	response->unasked = found < 0 || !ads->types[found].opened;
	if (response->unasked)
		return 0;
	/* an answer without one would be taken for a new request, and answered again and again */
	if (!response->nonce[0])
		return mesh_why(why, MESH_ERROR_INVALID, "discovery response: nonce: is empty");
	response->type = (enum xds_type)found;
	return 0;
}

/* The refused resources in one line of the log, which takes no newlines. */
static void log_rejects(struct ads *ads, enum xds_type type)
{
	struct mesh_slice rest = mesh_buf_slice(&ads->rejects);
	char text[900];
	size_t len = 0;

	while (rest.len && len < sizeof(text) - 1) {
		struct mesh_slice line = mesh_slice_cut(&rest, '\n');
		int wrote = snprintf(text + len, sizeof(text) - len, "%s%.*s", len ? " | " : "", (int)line.len, line.data);

		len += wrote > 0 ? (size_t)wrote : 0;
	}
	MESH_LOG_W(ads->log, "ads", "%s: refused: %s", mesh_ads_type_name(type), text);
}

static int answer(struct ads *ads, enum xds_type type)
{
	struct ads_type *state = &ads->types[type];

	mesh_counter_add(&state->responses, 1);
	if (mesh_buf_len(&ads->rejects)) {
		mesh_counter_add(&state->rejected, 1);
		log_rejects(ads, type);
	}
	return mesh_ads_answer(ads, type);
}

static int take(struct ads *ads, const struct response *response, struct why *why)
{
	int rc = keep_text(&ads->types[response->type].nonce, response->nonce, "nonce", why);

	if (!rc)
		rc = ads->sotw ? sotw_apply(ads, response->type, (const sotw_response *)response->message, why)
			       : delta_apply(ads, response->type, (const delta_response *)response->message);
	if (!rc)
		rc = answer(ads, response->type);
	if (!rc)
		MESH_LOG_D(ads->log, "ads", "%s: taken (nonce %.40s)", mesh_ads_type_name(response->type), response->nonce);
	return rc;
}

int mesh_ads_receive(struct ads *ads, struct mesh_slice message, struct why *why)
{
	struct response response = {0};
	int rc;

	mesh_buf_clear(&ads->rejects);
	rc = unpack(ads, message, &response, why);
	if (!rc && response.unasked)
		MESH_LOG_W(ads->log, "ads", "passed over a response of type \"%.100s\", which was not asked for", response.type_url);
	else if (!rc)
		rc = take(ads, &response, why);
	mesh_buf_clear(&ads->rejects);
	mesh_buf_shrink(&ads->rejects);
	mesh_arena_reset(&ads->scratch);
	return rc ? rc : follow_all(ads);
}
