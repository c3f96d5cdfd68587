/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a type is asked for, by which names, and how a response is answered. Refuses to know what resources mean
 * (the cache does) and how messages travel (the owner does).
 */
#include "xds/ads.h"

#include <stdio.h>

#include "control/message.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/status.pb-c.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;
typedef Envoy__Service__Discovery__V3__DiscoveryRequest sotw_request;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse sotw_response;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry initial_version;

enum {
	STATUS_INVALID_ARGUMENT = 3,   /* google.rpc.Code */
	DETAIL_BYTES_MAX = 8192,       /* of what is said about a refused response */
	UNPACKED_PER_BYTE = 64,        /* an unpacked message is some ten times its packed form; far more is an attack */
	TEXT_BYTES_MAX = 4095,         /* of a nonce, a version */
	DELTA_NODE_FIELD = 1,
	SOTW_NODE_FIELD = 2,
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

/* ---- sending ---- */

static int append_varint(struct buf *out, uint64_t value)
{
	char bytes[10];
	size_t len = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[len++] = (char)(value | 0x80);
	bytes[len++] = (char)value;
	return mesh_buf_append(out, mesh_slice_make(bytes, len));
}

/* The node is kept packed: appended as the field it is, for fields may come in any order. */
static int append_node(struct ads *ads)
{
	const unsigned length_delimited = 2;
	int rc = append_varint(&ads->message, (uint64_t)(ads->sotw ? SOTW_NODE_FIELD : DELTA_NODE_FIELD) << 3 | length_delimited);

	rc = rc ? rc : append_varint(&ads->message, ads->node.len);
	return rc ? rc : mesh_buf_append(&ads->message, ads->node);
}

static int send_message(struct ads *ads, const ProtobufCMessage *request)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	char *room;
	int rc = 0;

	mesh_buf_clear(&ads->message);
	room = mesh_buf_reserve(&ads->message, len + 1);
	if (!room)
		return MESH_ERROR_NOMEM;
	mesh_buf_commit(&ads->message, protobuf_c_message_pack(request, (uint8_t *)room));
	if (!ads->introduced)
		rc = append_node(ads);
	if (!rc)
		rc = ads->send(ads->user, mesh_buf_slice(&ads->message));
	ads->introduced = ads->introduced || !rc;
	mesh_buf_clear(&ads->message);
	mesh_buf_shrink(&ads->message);
	return rc;
}

/* What protobuf-c wants of a text; the buffers and names here all end in a NUL that is not counted. */
static char *text_of(const struct buf *buf)
{
	return mesh_buf_len(buf) ? (char *)mesh_buf_slice(buf).data : (char *)"";
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

static Google__Rpc__Status *error_detail(struct ads *ads)
{
	struct mesh_slice words = mesh_buf_slice(&ads->rejects);
	Google__Rpc__Status *status = mesh_arena_array(&ads->scratch, 1, sizeof(*status));

	if (!status)
		return NULL;
	google__rpc__status__init(status);
	if (words.len > DETAIL_BYTES_MAX)
		words.len = DETAIL_BYTES_MAX;
	while (words.len && words.data[words.len - 1] != '\n') /* whole lines: not in the middle of a character */
		words.len--;
	status->code = STATUS_INVALID_ARGUMENT;
	status->message = (char *)mesh_arena_slice(&ads->scratch, words, NULL).data;
	return status->message ? status : NULL;
}

/* Names in the form protobuf-c wants; NULL with *failed when there is no memory. */
static char **name_list(struct ads *ads, const struct mesh_slice *names, size_t count, bool *failed)
{
	char **list = count ? mesh_arena_array(&ads->scratch, count, sizeof(*list)) : NULL;

	if (count && !list)
		*failed = true;
	for (size_t i = 0; list && i < count; i++) {
		list[i] = (char *)mesh_arena_slice(&ads->scratch, names[i], NULL).data;
		*failed = *failed || !list[i];
	}
	return list;
}

static initial_version **initial_versions(struct ads *ads, enum xds_type type, size_t *count, int *rc)
{
	const struct xds_held *held = NULL;
	initial_version **list, *entries;

	*count = 0;
	*rc = mesh_resource_cache_held(ads->cache, type, &held, count);
	if (*rc || !*count)
		return NULL;
	list = mesh_arena_array(&ads->scratch, *count, sizeof(*list));
	entries = mesh_arena_array(&ads->scratch, *count, sizeof(*entries));
	*rc = list && entries ? 0 : MESH_ERROR_NOMEM;
	for (size_t i = 0; !*rc && i < *count; i++) {
		envoy__service__discovery__v3__delta_discovery_request__initial_resource_versions_entry__init(&entries[i]);
		entries[i].key = (char *)mesh_arena_slice(&ads->scratch, held[i].name, NULL).data;
		entries[i].value = held[i].version.len ? (char *)mesh_arena_slice(&ads->scratch, held[i].version, NULL).data : "";
		list[i] = &entries[i];
		if (!entries[i].key || !entries[i].value)
			*rc = MESH_ERROR_NOMEM;
	}
	return list;
}

/* ---- delta ---- */

/* What `more` has and `less` has not; both in order. */
static struct mesh_slice *difference(struct ads *ads, const struct ads_names *more, const struct ads_names *less, size_t *count)
{
	struct mesh_slice *only = mesh_arena_array(&ads->scratch, more->count + 1, sizeof(*only));
	size_t at = 0;

	*count = 0;
	for (size_t i = 0; only && i < more->count; i++) {
		while (at < less->count && mesh_slice_compare(less->names[at], more->names[i]) < 0)
			at++;
		if (at == less->count || !mesh_slice_equal(less->names[at], more->names[i]))
			only[(*count)++] = more->names[i];
	}
	return only;
}

static int delta_subscribe(struct ads *ads, enum xds_type type, const struct ads_names *wanted)
{
	delta_request request = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	struct ads_type *state = &ads->types[type];
	struct mesh_slice *more, *less;
	bool failed = false;
	int rc = 0;

	more = difference(ads, wanted, &state->asked, &request.n_resource_names_subscribe);
	less = difference(ads, &state->asked, wanted, &request.n_resource_names_unsubscribe);
	if (!more || !less)
		return MESH_ERROR_NOMEM;
	if (state->opened && !request.n_resource_names_subscribe && !request.n_resource_names_unsubscribe)
		return 0;
	request.type_url = (char *)mesh_xds_type_urls[type];
	request.resource_names_subscribe = name_list(ads, more, request.n_resource_names_subscribe, &failed);
	request.resource_names_unsubscribe = name_list(ads, less, request.n_resource_names_unsubscribe, &failed);
	if (!state->opened)
		request.initial_resource_versions = initial_versions(ads, type, &request.n_initial_resource_versions, &rc);
	if (failed)
		rc = MESH_ERROR_NOMEM;
	return rc ? rc : send_message(ads, &request.base);
}

static int delta_answer(struct ads *ads, enum xds_type type)
{
	delta_request request = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;

	request.type_url = (char *)mesh_xds_type_urls[type];
	request.response_nonce = text_of(&ads->types[type].nonce);
	if (mesh_buf_len(&ads->rejects)) {
		request.error_detail = error_detail(ads);
		if (!request.error_detail)
			return MESH_ERROR_NOMEM;
	}
	return send_message(ads, &request.base);
}

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

static int sotw_send(struct ads *ads, enum xds_type type, const struct ads_names *names)
{
	sotw_request request = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
	bool failed = false;

	request.type_url = (char *)mesh_xds_type_urls[type];
	request.version_info = text_of(&ads->types[type].version);
	request.response_nonce = text_of(&ads->types[type].nonce);
	request.n_resource_names = names->count;
	request.resource_names = name_list(ads, names->names, names->count, &failed);
	if (!failed && mesh_buf_len(&ads->rejects)) {
		request.error_detail = error_detail(ads);
		failed = !request.error_detail;
	}
	return failed ? MESH_ERROR_NOMEM : send_message(ads, &request.base);
}

static bool names_equal(const struct ads_names *a, const struct ads_names *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = mesh_slice_equal(a->names[i], b->names[i]);
	return same;
}

static int sotw_subscribe(struct ads *ads, enum xds_type type, const struct ads_names *wanted)
{
	const struct ads_type *state = &ads->types[type];

	if (state->opened && names_equal(&state->asked, wanted))
		return 0;
	return sotw_send(ads, type, wanted);
}

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
	rc = ads->sotw ? sotw_subscribe(ads, type, &wanted) : delta_subscribe(ads, type, &wanted);
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
	return ads->sotw ? sotw_send(ads, type, &state->asked) : delta_answer(ads, type);
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
