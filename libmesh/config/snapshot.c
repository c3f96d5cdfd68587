/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot holds tables and an index over its listeners: which one a call to a port takes, which one serves inbound.
 * The index is made anew only when the listeners changed. Refuses to know where the tables came from.
 */
#include "config/snapshot.h"

#include <stdlib.h>

#include <mesh/error.h>

/* A listener bound to the address of one service, which its route configuration names. */
struct named_listener {
	uint16_t port;
	struct mesh_slice host;
	const struct listener_config *listener;
};

struct listener_index {
	struct ref ref;
	const struct mesh_mem *mem;
	struct outbound_port *ports;
	size_t port_count;
	const struct listener_config **bound; /* what ports[].bound point into */
	struct named_listener *named;         /* by port, then host */
	size_t named_count;
	const struct listener_config *virtual_inbound;
	const struct listener_config *virtual_outbound;
};

static void index_destroy(struct ref *ref)
{
	struct listener_index *index = (struct listener_index *)ref;

	mesh_mem_free(index->mem, index->ports);
	mesh_mem_free(index->mem, index->bound);
	mesh_mem_free(index->mem, index->named);
	mesh_mem_free(index->mem, index);
}

static bool is_wildcard(const struct listener_config *listener)
{
	return mesh_slice_equal(listener->address, MESH_SLICE("0.0.0.0")) ||
	       mesh_slice_equal(listener->address, MESH_SLICE("::"));
}

/* By port, the wildcard ones first (IPv4 before IPv6), then by address and name: a table's own order is no order. */
static int listener_order(const void *left, const void *right)
{
	const struct listener_config *a = *(const struct listener_config *const *)left;
	const struct listener_config *b = *(const struct listener_config *const *)right;
	int order;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (is_wildcard(a) != is_wildcard(b))
		return is_wildcard(a) ? -1 : 1;
	order = mesh_slice_compare(a->address, b->address);
	return order ? order : mesh_slice_compare(a->object.item.name, b->object.item.name);
}

static const struct listener_config *first_by_name(const struct listener_config *a, const struct listener_config *b)
{
	return !a || mesh_slice_compare(b->object.item.name, a->object.item.name) < 0 ? b : a;
}

struct collected {
	struct listener_index *index;
	size_t count;
};

static int collect(struct table_item *item, void *user)
{
	const struct listener_config *listener = (const struct listener_config *)item;
	struct collected *collected = user;
	struct listener_index *index = collected->index;

	if (listener->inbound && listener->use_original_dst)
		index->virtual_inbound = first_by_name(index->virtual_inbound, listener);
	else if (listener->use_original_dst)
		index->virtual_outbound = first_by_name(index->virtual_outbound, listener);
	else if (!listener->inbound && listener->port > 0 && listener->port <= UINT16_MAX)
		index->bound[collected->count++] = listener;
	return 0;
}

static void fill_ports(struct listener_index *index, size_t count)
{
	struct outbound_port *port = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct listener_config *listener = index->bound[i];

		if (!port || port->port != listener->port) {
			port = &index->ports[index->port_count++];
			port->port = (uint16_t)listener->port;
			port->bound = &index->bound[i];
		}
		if (!is_wildcard(listener)) {
			port->bound_count++;
			continue;
		}
		if (!port->wildcard)
			port->wildcard = listener;
		port->bound = &index->bound[i + 1]; /* wildcards come first */
	}
}

static int named_order(const void *left, const void *right)
{
	const struct named_listener *a = left, *b = right;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return mesh_slice_compare(a->host, b->host);
}

/* The host of "outbound|<port>|<subset>|<host>", for this port. Absent when it is another name. */
static struct mesh_slice cluster_host(struct mesh_slice name, uint32_t port)
{
	struct mesh_slice direction = mesh_slice_cut(&name, '|'), number = mesh_slice_cut(&name, '|');
	uint64_t value;

	if (!mesh_slice_equal(direction, MESH_SLICE("outbound")) || !mesh_slice_to_u64(number, &value) || value != port)
		return (struct mesh_slice){NULL, 0};
	mesh_slice_cut(&name, '|');
	return name;
}

/* The service whose connections, as bytes, go to a listener of its own: what its chain's cluster is of. */
static struct mesh_slice tcp_host(const struct listener_config *listener)
{
	for (size_t i = 0; i <= listener->chain_count; i++) {
		const struct chain *chain = i < listener->chain_count ? &listener->chains[i] : listener->default_chain;
		struct mesh_slice host;

		if (!chain || chain->kind != CHAIN_TCP)
			continue;
		host = cluster_host(chain->tcp_weighted_count ? chain->tcp_weighted[0].name : chain->tcp_cluster, listener->port);
		if (host.len)
			return host;
	}
	return (struct mesh_slice){NULL, 0};
}

/*
 * "<host>:<port>" of this listener's own port: what istiod calls the routes of one service; or the service of a TCP port.
 * Absent when it is none.
 */
static struct mesh_slice service_host(const struct listener_config *listener)
{
	for (size_t i = 0; i < listener->chain_count; i++) {
		struct mesh_slice name = listener->chains[i].http ? listener->chains[i].http->route_name : (struct mesh_slice){NULL, 0};
		ptrdiff_t colon = name.data ? mesh_slice_find_last(name, ':') : -1;
		uint64_t port;

		if (colon > 0 && mesh_slice_to_u64(mesh_slice_make(name.data + colon + 1, name.len - (size_t)colon - 1), &port) &&
		    port == listener->port)
			return mesh_slice_make(name.data, (size_t)colon);
	}
	return tcp_host(listener);
}

static void fill_named(struct listener_index *index, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct listener_config *listener = index->bound[i];
		struct mesh_slice host = is_wildcard(listener) ? (struct mesh_slice){NULL, 0} : service_host(listener);

		if (host.data)
			index->named[index->named_count++] = (struct named_listener){(uint16_t)listener->port, host, listener};
	}
	if (index->named_count > 1)
		qsort(index->named, index->named_count, sizeof(*index->named), named_order);
}

static struct listener_index *index_new(const struct mesh_mem *mem, const struct table *listeners)
{
	struct listener_index *index = mesh_mem_zalloc(mem, sizeof(*index));
	size_t room = mesh_table_count(listeners);
	struct collected collected = {index, 0};

	if (!index)
		return NULL;
	mesh_ref_init(&index->ref, index_destroy);
	index->mem = mem;
	index->bound = mesh_mem_array(mem, room, sizeof(*index->bound));
	index->ports = mesh_mem_array(mem, room, sizeof(*index->ports));
	index->named = mesh_mem_array(mem, room, sizeof(*index->named));
	if (!index->bound || !index->ports || !index->named) {
		mesh_ref_drop(&index->ref);
		return NULL;
	}
	mesh_table_each(listeners, collect, &collected);
	if (collected.count > 1)
		qsort(index->bound, collected.count, sizeof(*index->bound), listener_order);
	fill_ports(index, collected.count);
	fill_named(index, collected.count);
	return index;
}

static void snapshot_destroy(struct ref *ref)
{
	struct snapshot *snapshot = (struct snapshot *)ref;

	mesh_ref_drop(snapshot->index ? &snapshot->index->ref : NULL);
	mesh_table_release(snapshot->listeners);
	mesh_table_release(snapshot->routes);
	mesh_table_release(snapshot->clusters);
	mesh_table_release(snapshot->endpoints);
	mesh_table_release(snapshot->resolved);
	mesh_table_release(snapshot->secrets);
	mesh_mem_free(snapshot->mem, snapshot);
}

/* Ends the walk at the first. */
static int is_checked(struct table_item *item, void *user)
{
	(void)user;
	return ((const struct cluster_config *)item)->health_check != NULL;
}

int mesh_snapshot_next(const struct mesh_mem *mem, const struct snapshot *previous, uint64_t version,
		       struct table *listeners, struct table *routes, struct table *clusters, struct table *endpoints,
		       struct table *secrets, bool complete, struct snapshot **result)
{
	struct snapshot *snapshot = mesh_mem_zalloc(mem, sizeof(*snapshot));

	if (!snapshot)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&snapshot->ref, snapshot_destroy);
	snapshot->mem = mem;
	snapshot->version = version;
	snapshot->listeners = mesh_table_retain(listeners);
	snapshot->routes = mesh_table_retain(routes);
	snapshot->clusters = mesh_table_retain(clusters);
	snapshot->endpoints = mesh_table_retain(endpoints);
	snapshot->secrets = mesh_table_retain(secrets);
	snapshot->complete = complete;
	snapshot->checked = previous && previous->clusters == clusters ? previous->checked
							      : mesh_table_each(clusters, is_checked, NULL) != 0;
	if (previous && previous->listeners == listeners) {
		snapshot->index = previous->index;
		mesh_ref_take(&snapshot->index->ref);
	} else {
		snapshot->index = index_new(mem, listeners);
	}
	if (!snapshot->index) {
		mesh_snapshot_release(snapshot);
		return MESH_ERROR_NOMEM;
	}
	snapshot->ports = snapshot->index->ports;
	snapshot->port_count = snapshot->index->port_count;
	snapshot->virtual_inbound = snapshot->index->virtual_inbound;
	snapshot->virtual_outbound = snapshot->index->virtual_outbound;
	*result = snapshot;
	return 0;
}

int mesh_snapshot_new(const struct mesh_mem *mem, uint64_t version, struct table *listeners, struct table *routes,
		      struct table *clusters, struct table *endpoints, struct table *secrets, bool complete,
		      struct snapshot **snapshot)
{
	return mesh_snapshot_next(mem, NULL, version, listeners, routes, clusters, endpoints, secrets, complete, snapshot);
}

void mesh_snapshot_resolve(struct snapshot *snapshot, struct table *resolved)
{
	mesh_table_release(snapshot->resolved);
	snapshot->resolved = mesh_table_retain(resolved);
}

const struct cluster_config *mesh_snapshot_cluster(const struct snapshot *snapshot, struct mesh_slice name, uint32_t hash)
{
	return (const struct cluster_config *)mesh_table_get_hashed(snapshot->clusters, name, hash);
}

const struct endpoint_set *mesh_snapshot_endpoints(const struct snapshot *snapshot, const struct cluster_config *cluster)
{
	switch (cluster->kind) {
	case CLUSTER_EDS:
		return (const struct endpoint_set *)mesh_table_get(snapshot->endpoints, cluster->eds_name);
	case CLUSTER_STRICT_DNS:
	case CLUSTER_LOGICAL_DNS:
		return (const struct endpoint_set *)mesh_table_get(snapshot->resolved, cluster->object.item.name);
	default:
		return cluster->inline_endpoints;
	}
}

const struct route_config *mesh_snapshot_routes(const struct snapshot *snapshot, const struct http_config *http)
{
	if (http->inline_routes)
		return http->inline_routes;
	return (const struct route_config *)mesh_table_get(snapshot->routes, http->route_name);
}

const struct secret *mesh_snapshot_secret(const struct snapshot *snapshot, struct mesh_slice name)
{
	return (const struct secret *)mesh_table_get(snapshot->secrets, name);
}

static const struct outbound_port *find_port(const struct snapshot *snapshot, uint16_t port)
{
	size_t from = 0, to = snapshot->port_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (snapshot->ports[middle].port == port)
			return &snapshot->ports[middle];
		if (snapshot->ports[middle].port < port)
			from = middle + 1;
		else
			to = middle;
	}
	return NULL;
}

const struct listener_config *mesh_snapshot_outbound(const struct snapshot *snapshot, struct mesh_slice ip, uint16_t port)
{
	const struct outbound_port *found = find_port(snapshot, port);
	size_t from = 0, to = found ? found->bound_count : 0;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = mesh_slice_compare(found->bound[middle]->address, ip);

		if (order == 0)
			return found->bound[middle];
		if (order < 0)
			from = middle + 1;
		else
			to = middle;
	}
	if (found && found->wildcard)
		return found->wildcard;
	return snapshot->virtual_outbound;
}

const struct listener_config *mesh_snapshot_outbound_named(const struct snapshot *snapshot, struct mesh_slice host, uint16_t port)
{
	const struct listener_index *index = snapshot->index;
	const struct named_listener wanted = {port, host, NULL}, *found = NULL;

	if (index->named_count)
		found = bsearch(&wanted, index->named, index->named_count, sizeof(wanted), named_order);
	return found ? found->listener : NULL;
}

bool mesh_snapshot_has_named(const struct snapshot *snapshot, uint16_t port)
{
	const struct outbound_port *found = snapshot->index->named_count ? find_port(snapshot, port) : NULL;

	return found && found->bound_count > 0;
}

bool mesh_snapshot_has_bound(const struct snapshot *snapshot, uint16_t port)
{
	const struct outbound_port *found = find_port(snapshot, port);

	return found && found->bound_count > 0;
}
