/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a discovery request says, delta or state of the world: what is new among the names, what is held, why a
 * response was refused. Refuses to know when one is due (ads.c).
 */
#include "xds/ads_request.h"

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/rpc/status.pb-c.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DiscoveryRequest sotw_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry initial_version;

enum {
	STATUS_INVALID_ARGUMENT = 3, /* google.rpc.Code */
	DETAIL_BYTES_MAX = 8192,     /* of what is said about a refused response */
	DELTA_NODE_FIELD = 1,
	SOTW_NODE_FIELD = 2,
};

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

int mesh_ads_subscribe(struct ads *ads, enum xds_type type, const struct ads_names *wanted)
{
	return ads->sotw ? sotw_subscribe(ads, type, wanted) : delta_subscribe(ads, type, wanted);
}

int mesh_ads_answer(struct ads *ads, enum xds_type type)
{
	return ads->sotw ? sotw_send(ads, type, &ads->types[type].asked) : delta_answer(ads, type);
}
