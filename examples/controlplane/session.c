/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a request of an ADS stream changes: who the node is, which names it wants, what it has already, and
 * whether it took or refused the last response. Refuses to know gRPC and how a response looks.
 */
#include "session.h"

#include <stdio.h>

#include <mesh/error.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "control/message.h"

#define REQUEST_ARENA_BYTES_MAX ((size_t)64 << 20)
#define SUBSCRIPTIONS_MAX	32
#define ENTRIES_MAX		200000

static const struct mesh_mem *const mem = &mesh_mem_default;

static const char *const push_order[] = {
	"type.googleapis.com/envoy.config.cluster.v3.Cluster",
	"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	"type.googleapis.com/envoy.config.listener.v3.Listener",
	"type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
	"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
};
#define RANKS	    (sizeof(push_order) / sizeof(push_order[0]))
#define HEALTH_TYPE "type.googleapis.com/istio.v1.HealthInformation" /* goes from client to server only */

static unsigned rank_of(const char *type_url)
{
	unsigned rank = 0;

	while (rank < RANKS && strcmp(push_order[rank], type_url) != 0)
		rank++;
	return rank;
}

/* Types that are only ever asked for by name. */
static bool is_by_name(unsigned rank)
{
	return rank == 1 || rank == 3 || rank == 4;
}

/* ---- subscriptions ---- */

struct cp_entry *cp_subscription_entry(struct cp_subscription *subscription, struct mesh_slice name)
{
	struct cp_entry *entry = mesh_map_get(&subscription->entries, name);

	if (entry || subscription->entries.count >= ENTRIES_MAX)
		return entry;
	entry = mesh_mem_zalloc(mem, sizeof(*entry) + name.len + 1);
	if (!entry)
		return NULL;
	memcpy(entry->name, name.data ? name.data : "", name.len);
	if (mesh_map_put(&subscription->entries, mesh_slice_make(entry->name, name.len), entry, NULL) == 0)
		return entry;
	mesh_mem_free(mem, entry);
	return NULL;
}

static struct cp_entry *unused_entry(struct map *entries)
{
	MESH_MAP_EACH(slot, entries) {
		struct cp_entry *entry = slot->value;

		if (!entry->wanted && !entry->sent && !entry->asked)
			return entry;
	}
	return NULL;
}

void cp_subscription_prune(struct cp_subscription *subscription)
{
	struct cp_entry *entry;

	while ((entry = unused_entry(&subscription->entries))) {
		mesh_map_remove(&subscription->entries, mesh_slice_of(entry->name));
		mesh_mem_free(mem, entry);
	}
}

static struct cp_subscription *find_subscription(struct cp_session *session, const char *type_url)
{
	struct cp_subscription *subscription = session->subscriptions;

	while (subscription && strcmp(subscription->type_url, type_url) != 0)
		subscription = subscription->next;
	return subscription;
}

static struct cp_subscription *add_subscription(struct cp_session *session, const char *type_url)
{
	struct cp_subscription **place = &session->subscriptions;
	struct cp_subscription *subscription = mesh_mem_zalloc(mem, sizeof(*subscription));

	if (!subscription)
		return NULL;
	subscription->type_url = mesh_mem_text(mem, mesh_slice_of(type_url));
	if (!subscription->type_url) {
		mesh_mem_free(mem, subscription);
		return NULL;
	}
	subscription->rank = rank_of(type_url);
	subscription->respond = true;
	mesh_map_init(&subscription->entries, mem);
	while (*place && (*place)->rank <= subscription->rank)
		place = &(*place)->next;
	subscription->next = *place;
	*place = subscription;
	session->subscription_count++;
	return subscription;
}

static void free_subscription(struct cp_subscription *subscription)
{
	MESH_MAP_EACH(slot, &subscription->entries)
		mesh_mem_free(mem, slot->value);
	mesh_map_free(&subscription->entries);
	mesh_mem_free(mem, subscription->type_url);
	mesh_mem_free(mem, subscription);
}

void cp_session_open(struct cp_session *session, unsigned number, bool delta)
{
	*session = (struct cp_session){.number = number, .delta = delta};
}

void cp_session_close(struct cp_session *session)
{
	while (session->subscriptions) {
		struct cp_subscription *first = session->subscriptions;

		session->subscriptions = first->next;
		free_subscription(first);
	}
	cp_view_free(&session->view);
}

int cp_session_refresh(struct cp_session *session, const struct cp_catalog *catalog, const char *version)
{
	struct cp_node node = {session->node_id, session->app};
	struct cp_view view;
	int rc;

	if (!session->has_node)
		return 0;
	rc = cp_view_make(&view, catalog, &node);
	if (rc < 0) {
		cp_view_free(&view);
		return rc;
	}
	cp_view_free(&session->view);
	session->view = view;
	snprintf(session->version, sizeof(session->version), "%s", version);
	return 0;
}

/* ---- the node ---- */

static const Google__Protobuf__Value *member(const Google__Protobuf__Struct *object, const char *name)
{
	for (size_t i = 0; object && i < object->n_fields; i++) {
		if (strcmp(object->fields[i]->key, name) == 0)
			return object->fields[i]->value;
	}
	return NULL;
}

static void copy_text(const Google__Protobuf__Struct *object, const char *name, char out[CP_NAME_BYTES])
{
	const Google__Protobuf__Value *value = member(object, name);

	if (value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
		snprintf(out, CP_NAME_BYTES, "%s", value->string_value);
}

static int take_node(struct cp_session *session, const Envoy__Config__Core__V3__Node *node, struct why *why)
{
	const Google__Protobuf__Value *labels = node ? member(node->metadata, "LABELS") : NULL;

	if (session->has_node)
		return 0;
	if (!node || !node->id[0])
		return mesh_why(why, MESH_ERROR_INVALID, "missing node information");
	if (snprintf(session->node_id, sizeof(session->node_id), "%s", node->id) >= (int)sizeof(session->node_id))
		return mesh_why(why, MESH_ERROR_INVALID, "node id too long");
	copy_text(node->metadata, "NAMESPACE", session->claims.namespace_name);
	copy_text(node->metadata, "SERVICE_ACCOUNT", session->claims.account);
	if (labels && labels->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		copy_text(labels->struct_value, "app", session->app);
	session->has_node = true;
	return 0;
}

/* ---- requests ---- */

/* 1: new to this stream. 0: an answer to our last response. -1: to be passed over. */
static int classify(struct cp_session *session, struct cp_subscription **subscription, const char *type_url,
		    const char *nonce, const Google__Rpc__Status *error)
{
	const char *type = cp_type_name(type_url);

	*subscription = find_subscription(session, type_url);
	if (!*subscription) {
		fprintf(stderr, "stream %u %s: subscribes to %s\n", session->number, session->node_id, type);
		return 1;
	}
	if (!nonce[0])
		return 0;
	if (strcmp(nonce, (*subscription)->nonce) != 0) {
		fprintf(stderr, "stream %u %s: stale nonce for %s\n", session->number, session->node_id, type);
		return -1;
	}
	if (error)
		fprintf(stderr, "stream %u %s: NACK %s nonce=%s code=%d: %s\n", session->number, session->node_id, type,
			nonce, error->code, error->message);
	else
		fprintf(stderr, "stream %u %s: ACK %s nonce=%s\n", session->number, session->node_id, type, nonce);
	return 0;
}

static int want(struct cp_subscription *subscription, const char *name, bool again)
{
	struct cp_entry *entry;

	if (strcmp(name, "*") == 0) {
		subscription->respond |= !subscription->wildcard;
		subscription->wildcard = true;
		return 0;
	}
	subscription->named = true;
	entry = cp_subscription_entry(subscription, mesh_slice_of(name));
	if (!entry)
		return MESH_ERROR_NOMEM;
	entry->asked |= again || !entry->wanted;
	entry->wanted = true;
	return 0;
}

/* State of the world: the list is all that is wanted. */
static int set_names(struct cp_subscription *subscription, char **names, size_t count)
{
	bool before = subscription->wildcard;

	subscription->wildcard = count == 0 && !subscription->named && !is_by_name(subscription->rank);
	MESH_MAP_EACH(slot, &subscription->entries)
		((struct cp_entry *)slot->value)->listed = false;
	for (size_t i = 0; i < count; i++) {
		struct cp_entry *entry = mesh_map_get(&subscription->entries, mesh_slice_of(names[i]));

		subscription->respond |= strcmp(names[i], "*") != 0 && (!entry || !entry->wanted);
		if (want(subscription, names[i], false) < 0)
			return MESH_ERROR_NOMEM;
		entry = mesh_map_get(&subscription->entries, mesh_slice_of(names[i]));
		if (entry)
			entry->listed = true;
	}
	MESH_MAP_EACH(slot, &subscription->entries) {
		struct cp_entry *entry = slot->value;

		entry->wanted = entry->listed;
		entry->asked &= entry->listed;
		entry->sent &= entry->listed || subscription->wildcard;
	}
	cp_subscription_prune(subscription);
	subscription->respond |= subscription->wildcard && !before;
	return 0;
}

static int take_whole(struct cp_session *session, const Envoy__Service__Discovery__V3__DiscoveryRequest *request,
		      struct why *why)
{
	struct cp_subscription *subscription;
	int rc = take_node(session, request->node, why);

	if (rc < 0 || strcmp(request->type_url, HEALTH_TYPE) == 0)
		return rc;
	rc = classify(session, &subscription, request->type_url, request->response_nonce, request->error_detail);
	if (rc < 0)
		return 0;
	if (rc > 0)
		subscription = add_subscription(session, request->type_url);
	if (!subscription || set_names(subscription, request->resource_names, request->n_resource_names) < 0)
		return mesh_why(why, MESH_ERROR_NOMEM, "out of memory");
	return 0;
}

static int take_initial(struct cp_subscription *subscription,
			const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *request)
{
	for (size_t i = 0; i < request->n_initial_resource_versions; i++) {
		struct cp_entry *entry =
			cp_subscription_entry(subscription, mesh_slice_of(request->initial_resource_versions[i]->key));

		if (!entry)
			return MESH_ERROR_NOMEM;
		entry->sent = true;
		snprintf(entry->version, sizeof(entry->version), "%s", request->initial_resource_versions[i]->value);
	}
	return 0;
}

static void unsubscribe(struct cp_subscription *subscription, const char *name)
{
	struct cp_entry *entry = mesh_map_get(&subscription->entries, mesh_slice_of(name));

	if (strcmp(name, "*") == 0) {
		subscription->wildcard = false;
		MESH_MAP_EACH(slot, &subscription->entries)
			((struct cp_entry *)slot->value)->sent &= ((struct cp_entry *)slot->value)->wanted;
	} else if (entry) {
		entry->wanted = entry->asked = false;
		entry->sent &= subscription->wildcard;
	}
}

static int take_delta(struct cp_session *session, const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *request,
		      struct why *why)
{
	struct cp_subscription *subscription;
	int rc = take_node(session, request->node, why);
	bool first;

	if (rc < 0 || strcmp(request->type_url, HEALTH_TYPE) == 0)
		return rc;
	first = classify(session, &subscription, request->type_url, request->response_nonce, request->error_detail) > 0;
	if (first)
		subscription = add_subscription(session, request->type_url);
	rc = subscription ? 0 : MESH_ERROR_NOMEM;
	if (rc == 0 && first)
		rc = take_initial(subscription, request);
	if (rc == 0 && first && request->n_resource_names_subscribe == 0)
		subscription->wildcard = !is_by_name(subscription->rank);
	/* Whatever became of the response it answers, the lists count. */
	for (size_t i = 0; i < request->n_resource_names_subscribe && rc == 0; i++)
		rc = want(subscription, request->resource_names_subscribe[i], !first);
	for (size_t i = 0; i < request->n_resource_names_unsubscribe && rc == 0; i++)
		unsubscribe(subscription, request->resource_names_unsubscribe[i]);
	if (rc < 0)
		return mesh_why(why, rc, "out of memory");
	cp_subscription_prune(subscription);
	return 0;
}

int cp_session_request(struct cp_session *session, struct mesh_slice message, struct why *why)
{
	const ProtobufCMessageDescriptor *type =
		session->delta ? &envoy__service__discovery__v3__delta_discovery_request__descriptor
			       : &envoy__service__discovery__v3__discovery_request__descriptor;
	ProtobufCMessage *request;
	struct arena arena;
	int rc;

	mesh_arena_init(&arena, mem, REQUEST_ARENA_BYTES_MAX);
	rc = mesh_message_unpack(type, message, 0, &arena, why, &request);
	if (rc == 0 && session->subscription_count > SUBSCRIPTIONS_MAX)
		rc = mesh_why(why, MESH_ERROR_INVALID, "too many types");
	if (rc == 0 && session->delta)
		rc = take_delta(session, (const void *)request, why);
	else if (rc == 0)
		rc = take_whole(session, (const void *)request, why);
	mesh_arena_free(&arena);
	return rc;
}
