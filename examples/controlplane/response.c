/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what goes into the next response of an ADS stream: what changed for the node since it was last told, type by
 * type in the order of pushes. Refuses to know how the client's wishes came about.
 */
#include <inttypes.h>
#include <stdio.h>

#include <mesh/error.h>

#include "session.h"

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"

static const struct mesh_mem *const mem = &mesh_mem_default;

/* What one response will carry. */
struct batch {
	struct arena arena;
	const struct cp_resource **items;
	size_t count;
	char **removed;
	size_t removed_count;
	bool changed;
};

static struct cp_entry *entry_of(struct cp_subscription *subscription, const char *name)
{
	return mesh_map_get(&subscription->entries, mesh_slice_of(name));
}

static bool is_due(const struct cp_subscription *subscription, const struct cp_entry *entry,
		   const struct cp_resource *resource)
{
	if (!subscription->wildcard && !(entry && entry->wanted))
		return false;
	return !entry || !entry->sent || entry->asked || strcmp(entry->version, resource->version) != 0;
}

/* Changed or new ones; `all` gives the unchanged ones, too, once one has changed. */
static int collect(struct batch *batch, struct cp_session *session, struct cp_subscription *subscription, bool all)
{
	const struct cp_resource **first;
	size_t count = cp_view_range(&session->view, subscription->type_url, &first);

	batch->items = mesh_arena_array(&batch->arena, count + 1, sizeof(*batch->items));
	batch->removed = mesh_arena_array(&batch->arena, subscription->entries.count + 1, sizeof(*batch->removed));
	if (!batch->items || !batch->removed)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct cp_entry *entry = entry_of(subscription, first[i]->name);
		bool due = is_due(subscription, entry, first[i]);

		batch->changed |= due;
		if (due || (all && (subscription->wildcard || (entry && entry->wanted))))
			batch->items[batch->count++] = first[i];
	}
	/* The state of the world cannot say that a resource asked for by name is gone. */
	MESH_MAP_EACH(slot, &subscription->entries) {
		struct cp_entry *entry = slot->value;
		bool relevant = (subscription->wildcard || entry->wanted) && (all || session->delta);

		if (!relevant || !(entry->sent || entry->asked) ||
		    cp_view_find(&session->view, subscription->type_url, entry->name))
			continue;
		batch->removed[batch->removed_count++] = entry->name;
		batch->changed = true;
	}
	return 0;
}

/* The client will have what the batch says. */
static int remember(const struct batch *batch, struct cp_subscription *subscription)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct cp_entry *entry = cp_subscription_entry(subscription, mesh_slice_of(batch->items[i]->name));

		if (!entry)
			return MESH_ERROR_NOMEM;
		entry->sent = true;
		entry->asked = false;
		snprintf(entry->version, sizeof(entry->version), "%s", batch->items[i]->version);
	}
	for (size_t i = 0; i < batch->removed_count; i++) {
		struct cp_entry *entry = entry_of(subscription, batch->removed[i]);

		entry->sent = entry->asked = false;
	}
	cp_subscription_prune(subscription);
	subscription->respond = false;
	return 0;
}

static int pack(struct buf *out, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	char *room = mesh_buf_reserve(out, len);

	if (!room)
		return MESH_ERROR_NOMEM;
	mesh_buf_commit(out, protobuf_c_message_pack(message, (uint8_t *)room));
	return 0;
}

static Google__Protobuf__Any *make_any(struct arena *arena, const struct cp_resource *resource)
{
	Google__Protobuf__Any *any = mesh_arena_alloc(arena, sizeof(*any));

	if (!any)
		return NULL;
	google__protobuf__any__init(any);
	any->type_url = (char *)resource->type_url;
	any->value = (ProtobufCBinaryData){resource->bytes.len, (uint8_t *)resource->bytes.data};
	return any;
}

static int pack_whole(struct batch *batch, const struct cp_session *session, struct cp_subscription *subscription,
		      struct buf *out)
{
	Envoy__Service__Discovery__V3__DiscoveryResponse response =
		ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_RESPONSE__INIT;

	response.resources = mesh_arena_array(&batch->arena, batch->count + 1, sizeof(*response.resources));
	if (!response.resources)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < batch->count; i++) {
		response.resources[i] = make_any(&batch->arena, batch->items[i]);
		if (!response.resources[i])
			return MESH_ERROR_NOMEM;
	}
	response.n_resources = batch->count;
	response.type_url = subscription->type_url;
	response.version_info = (char *)session->version;
	response.nonce = subscription->nonce;
	return pack(out, &response.base);
}

static int pack_delta(struct batch *batch, const struct cp_session *session, struct cp_subscription *subscription,
		      struct buf *out)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse response =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;

	response.resources = mesh_arena_array(&batch->arena, batch->count + 1, sizeof(*response.resources));
	if (!response.resources)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < batch->count; i++) {
		Envoy__Service__Discovery__V3__Resource *resource = mesh_arena_alloc(&batch->arena, sizeof(*resource));

		if (!resource)
			return MESH_ERROR_NOMEM;
		envoy__service__discovery__v3__resource__init(resource);
		resource->name = (char *)batch->items[i]->name;
		resource->version = (char *)batch->items[i]->version;
		resource->resource = make_any(&batch->arena, batch->items[i]);
		if (!resource->resource)
			return MESH_ERROR_NOMEM;
		response.resources[i] = resource;
	}
	response.n_resources = batch->count;
	response.removed_resources = batch->removed;
	response.n_removed_resources = batch->removed_count;
	response.type_url = subscription->type_url;
	response.system_version_info = (char *)session->version;
	response.nonce = subscription->nonce;
	return pack(out, &response.base);
}

/* 1: appended a response, 0: this type has nothing to say. */
static int respond(struct cp_session *session, struct cp_subscription *subscription, struct buf *out)
{
	struct batch batch = {.count = 0};
	/* Clusters and listeners of the state of the world are always complete: what is missing is gone. */
	bool all = !session->delta && (subscription->wildcard || subscription->rank == 0 || subscription->rank == 2);
	int rc;

	mesh_arena_init(&batch.arena, mem, 0);
	rc = collect(&batch, session, subscription, all);
	if (rc < 0 || !(batch.changed || subscription->respond))
		goto done;
	snprintf(subscription->nonce, sizeof(subscription->nonce), "%u-%" PRIu64, session->number,
		 ++session->responses);
	rc = session->delta ? pack_delta(&batch, session, subscription, out)
			    : pack_whole(&batch, session, subscription, out);
	if (rc == 0)
		fprintf(stderr, "stream %u %s: sends %zu, %zu gone, of %s nonce=%s\n", session->number,
			session->node_id, batch.count, batch.removed_count, cp_type_name(subscription->type_url),
			subscription->nonce);
	if (rc == 0)
		rc = remember(&batch, subscription);
	if (rc == 0)
		rc = 1;
done:
	mesh_arena_free(&batch.arena);
	return rc;
}

int cp_session_next(struct cp_session *session, struct buf *out)
{
	int rc = 0;

	for (struct cp_subscription *subscription = session->subscriptions; subscription && rc == 0;
	     subscription = subscription->next)
		rc = respond(session, subscription, out);
	return rc;
}
