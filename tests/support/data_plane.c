/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the smallest configuration that carries a call, by hand. */
#include "support/data_plane.h"

#include <stdio.h>
#include <stdlib.h>

static struct string_match server_name = {STRING_MATCH_EXACT, false, {"spiffe://cluster.local/ns/default/sa/bob", 40}, NULL};
static struct string_match trust_domain = {STRING_MATCH_PREFIX, false, {"spiffe://cluster.local/", 23}, NULL};

const struct tls_config data_plane_istio_client = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x05istio", 6},
	.sni = {"outbound_.9080_._.reviews", 25},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
	.sans = &server_name,
	.san_count = 1,
};

const struct tls_config data_plane_istio_server = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x02h2\x08http/1.1", 12},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
	.sans = &trust_domain,
	.san_count = 1,
	.require_client_certificate = true,
};

static void *object(struct data_plane *plane, size_t bytes, const char *name)
{
	void *made = mesh_config_object_new(&plane->mesh->mem, bytes, mesh_slice_of(name));

	if (!made)
		abort();
	return made;
}

static void put(struct data_plane *plane, struct table **table, void *item)
{
	struct table *next;

	if (mesh_table_put(&plane->mesh->mem, *table, item, &next))
		abort();
	mesh_table_release(*table);
	*table = next;
	mesh_config_object_release(item);
}

static struct endpoint_set *make_endpoints(struct data_plane *plane, const char *name, const uint16_t *ports, size_t count)
{
	struct endpoint_set *set = object(plane, sizeof(*set), name);
	struct arena *arena = &set->object.arena;

	set->localities = mesh_arena_array(arena, 1, sizeof(*set->localities));
	set->count = 1;
	set->priority_count = 1;
	set->overprovisioning = 140;
	set->endpoint_count = (uint32_t)count;
	set->localities[0].weight = 1;
	set->localities[0].count = count;
	set->localities[0].endpoints = mesh_arena_array(arena, count + 1, sizeof(struct endpoint_config));
	for (size_t i = 0; i < count; i++) {
		struct endpoint_config *e = &set->localities[0].endpoints[i];

		e->text = mesh_arena_printf(arena, "127.0.0.1:%u", ports[i]);
		e->hash = mesh_slice_hash(e->text);
		e->weight = 1;
		e->port = ports[i];
		mesh_address_parse(&e->address, MESH_SLICE("127.0.0.1"), ports[i]);
	}
	if (plane->edit_endpoints)
		plane->edit_endpoints(plane, set);
	return set;
}

static struct cluster_config *make_cluster(struct data_plane *plane, const char *name)
{
	struct cluster_config *cluster = object(plane, sizeof(*cluster), name);

	cluster->hash = mesh_slice_hash(cluster->object.item.name);
	cluster->eds_name = cluster->object.item.name;
	cluster->lb = LB_ROUND_ROBIN;
	cluster->panic_percent = 50;
	cluster->connect_timeout_ns = 1000000000;
	cluster->idle_timeout_ns = -1;
	cluster->breaker = plane->breaker;
	cluster->alpn_override = true;
	cluster->fallback.tls = (struct tls_config *)plane->client_tls;
	if (plane->edit_cluster)
		plane->edit_cluster(plane, cluster);
	return cluster;
}

static struct route_config *make_routes(struct data_plane *plane, const char *name, const char *domain, bool outbound)
{
	struct route_config *routes = object(plane, sizeof(*routes), name);
	struct arena *arena = &routes->object.arena;
	struct virtual_host *host = mesh_arena_array(arena, 1, sizeof(*host));
	struct route *route = mesh_arena_array(arena, 1, sizeof(*route));

	routes->hosts = host;
	routes->host_count = 1;
	routes->ignore_port = true;
	host->name = mesh_slice_of("host");
	host->routes = route;
	host->route_count = 1;
	host->include_attempt_count = outbound;
	route->name = mesh_slice_of("default");
	route->match.kind = PATH_MATCH_PREFIX;
	route->match.path = mesh_slice_of("/");
	route->cluster = mesh_slice_of("outbound|9080||reviews");
	route->cluster_hash = mesh_slice_hash(route->cluster);
	route->timeout_ns = plane->timeout_ns;
	route->idle_timeout_ns = outbound ? 0 : -1;
	route->max_stream_duration_ns = -1;
	route->grpc_timeout_max_ns = -1;
	route->retry = outbound ? plane->retry : NULL;
	if (plane->edit_routes)
		plane->edit_routes(plane, routes, !outbound);
	if (domain[0] == '*') {
		routes->any = host;
		return routes;
	}
	routes->exact = mesh_arena_array(arena, 1, sizeof(*routes->exact));
	routes->exact_count = 1;
	routes->exact[0].text = mesh_slice_of(domain);
	routes->exact[0].hash = mesh_slice_hash(routes->exact[0].text);
	routes->exact[0].host = host;
	return routes;
}

static void make_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->kind = CHAIN_HTTP;
	chain->http = mesh_arena_array(arena, 1, sizeof(*chain->http));
	chain->http->route_name = mesh_slice_of(inbound ? "inbound" : "9080");
	chain->http->generate_request_id = true;
	chain->http->server_name = mesh_slice_of("istio-envoy");
	chain->http->idle_timeout_ns = chain->http->stream_idle_timeout_ns = -1;
	if (plane->edit_chain)
		plane->edit_chain(plane, chain, arena, inbound);
}

static struct listener_config *make_listener(struct data_plane *plane, const char *name, uint16_t port, bool inbound)
{
	struct listener_config *listener = object(plane, sizeof(*listener), name);
	struct arena *arena = &listener->object.arena;
	bool permissive = inbound && plane->inbound == DATA_PLANE_PERMISSIVE;
	bool secure = inbound && plane->inbound != DATA_PLANE_DISABLE;

	listener->address = mesh_slice_of("0.0.0.0");
	listener->port = port;
	listener->inbound = inbound;
	listener->outbound = !inbound;
	listener->use_original_dst = inbound;
	listener->tls_inspector = secure;
	listener->chains = mesh_arena_array(arena, 2, sizeof(*listener->chains));
	listener->chain_count = permissive ? 2 : 1;
	if (secure) {
		listener->chains[0].match.transport = mesh_slice_of("tls");
		listener->chains[0].tls =
			(struct tls_config *)(plane->server_tls ? plane->server_tls : &data_plane_istio_server);
	}
	if (permissive)
		listener->chains[1].match.transport = mesh_slice_of("raw_buffer");
	for (size_t i = 0; i < listener->chain_count; i++)
		make_chain(plane, &listener->chains[i], arena, inbound);
	if (plane->edit_listener)
		plane->edit_listener(plane, listener, inbound);
	return listener;
}

static struct secret *placeholder(struct data_plane *plane, const char *name)
{
	struct secret *secret;

	if (mesh_secret_new(&plane->mesh->mem, mesh_slice_of(name), MESH_SLICE("x"), MESH_SLICE("x"),
			    (struct mesh_slice){NULL, 0}, &secret))
		abort();
	return secret;
}

static void put_secrets(struct data_plane *plane, struct table **secrets)
{
	struct secret *certificate =
		plane->certificate ? mesh_secret_retain(plane->certificate) : placeholder(plane, "default");

	put(plane, secrets, certificate);
	if (plane->roots)
		put(plane, secrets, mesh_secret_retain(plane->roots));
}

void data_plane_publish(struct data_plane *plane)
{
	struct table *listeners = NULL, *routes = NULL, *clusters = NULL, *endpoints = NULL, *secrets = NULL;
	struct snapshot *snapshot;

	put(plane, &listeners, make_listener(plane, "0.0.0.0_9080", 9080, false));
	put(plane, &listeners, make_listener(plane, "virtualInbound", 15006, true));
	put(plane, &routes, make_routes(plane, "9080", "reviews", true));
	put(plane, &routes, make_routes(plane, "inbound", "*", false));
	put(plane, &clusters, make_cluster(plane, "outbound|9080||reviews"));
	put(plane, &endpoints, make_endpoints(plane, "outbound|9080||reviews", plane->ports, plane->port_count));
	for (size_t i = 0; i < plane->more_count; i++) {
		put(plane, &clusters, make_cluster(plane, plane->more[i].name));
		put(plane, &endpoints, make_endpoints(plane, plane->more[i].name, &plane->more[i].port, plane->more[i].port != 0));
	}
	put_secrets(plane, &secrets);
	if (mesh_snapshot_new(&plane->mesh->mem, ++plane->version, listeners, routes, clusters, endpoints, secrets, true, &snapshot))
		abort();
	mesh_snapshot_resolve(snapshot, endpoints); /* a cluster of names finds its endpoints there too */
	mesh_table_release(listeners);
	mesh_table_release(routes);
	mesh_table_release(clusters);
	mesh_table_release(endpoints);
	mesh_table_release(secrets);
	mesh_publisher_set(&plane->mesh->publisher, snapshot);
}

void data_plane_publish_endpoints(struct data_plane *plane)
{
	struct snapshot *last = mesh_publisher_get(&plane->mesh->publisher), *snapshot;
	struct table *endpoints = NULL;

	put(plane, &endpoints, make_endpoints(plane, "outbound|9080||reviews", plane->ports, plane->port_count));
	if (mesh_snapshot_new(&plane->mesh->mem, ++plane->version, last->listeners, last->routes, last->clusters, endpoints,
			      last->secrets, true, &snapshot))
		abort();
	mesh_table_release(endpoints);
	mesh_snapshot_release(last);
	mesh_publisher_set(&plane->mesh->publisher, snapshot);
}

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "%s: %s\n", subject, text);
}

int data_plane_open(struct data_plane *plane, unsigned workers, const struct mesh_mem *mem)
{
	struct log log = {.sink = getenv("MESH_TEST_LOG") ? log_line : NULL, .level = MESH_LOG_DEBUG};

	memset(plane, 0, sizeof(*plane));
	plane->breaker = (struct circuit_breaker){.connections = UINT32_MAX, .pending = UINT32_MAX, .requests = UINT32_MAX,
						  .retries = UINT32_MAX};
	return mesh_setup(mem ? mem : &mesh_mem_default, &log, workers, &plane->mesh);
}

void data_plane_close(struct data_plane *plane)
{
	mesh_teardown(plane->mesh);
}

void data_plane_admit_alice(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	static struct authz_rule any = {.kind = AUTHZ_ANY};
	static struct authz_rule caller = {
		.kind = AUTHZ_AUTHENTICATED,
		.has_string = true,
		.string = {STRING_MATCH_EXACT, false, {DATA_PLANE_ALICE, sizeof(DATA_PLANE_ALICE) - 1}, NULL}};
	static struct authz_policy policy = {.name = {"callers", 7},
					     .permissions = &any,
					     .permission_count = 1,
					     .principals = &caller,
					     .principal_count = 1};
	static struct authz_rules rules = {.action = AUTHZ_ALLOW, .policies = &policy, .count = 1};
	static struct authz_config authz = {.rules = &rules};

	if (!inbound)
		return;
	chain->http->filters = mesh_arena_array(arena, 1, sizeof(*chain->http->filters));
	if (!chain->http->filters)
		abort();
	chain->http->filter_count = 1;
	chain->http->filters[0].kind = HTTP_FILTER_AUTHZ;
	chain->http->filters[0].name = mesh_slice_of("envoy.filters.http.rbac");
	chain->http->filters[0].authz = &authz;
}
