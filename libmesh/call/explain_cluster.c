/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells where in its cluster a request would go, and over what: endpoints with their health, the one the balancer names,
 * TLS settings. Opens nothing and counts nothing; refuses to know how the cluster was found.
 */
#include "call/explain.h"

#include "call/egress.h"
#include "cluster/health.h"

enum { ENDPOINTS_SHOWN = 100, NAMES_SHOWN = 16 };

static const char *cluster_kind(enum cluster_kind kind)
{
	static const char *const words[] = {
		[CLUSTER_EDS] = "EDS", [CLUSTER_STATIC] = "STATIC", [CLUSTER_STRICT_DNS] = "STRICT_DNS",
		[CLUSTER_LOGICAL_DNS] = "LOGICAL_DNS", [CLUSTER_ORIGINAL_DST] = "ORIGINAL_DST",
	};

	return (size_t)kind < sizeof(words) / sizeof(words[0]) && words[kind] ? words[kind] : "not supported";
}

static const char *protocol(enum pool_protocol protocol)
{
	static const char *const words[POOL_PROTOCOLS] = {
		[POOL_HTTP1] = "http/1.1", [POOL_HTTP2] = "h2", [POOL_AUTO] = "as the peer chooses by ALPN",
	};

	return words[protocol];
}

static void tell_weights(const struct client_call *client, struct outline *outline)
{
	const struct route *route = client->chosen.route;

	if (!client->chosen.weighted)
		return;
	mesh_outline_list(outline, "weighted");
	for (size_t i = 0; i < route->weighted_count; i++) {
		const struct weighted_cluster *one = &route->weighted[i];

		mesh_outline_group(outline, NULL);
		mesh_outline_text(outline, "name", one->name);
		mesh_outline_printf(outline, "weight", "%u of %u", one->weight, route->weighted_total);
		mesh_outline_flag(outline, "drawn", one == client->chosen.weighted);
		mesh_outline_close(outline);
	}
	mesh_outline_close(outline);
}

/* The reason that comes first. */
static const char *health_of(const struct endpoint_config *endpoint, const struct lb_endpoint *lb, unsigned found)
{
	if (lb->excluded)
		return "cannot be used";
	if (endpoint->health == ENDPOINT_DRAINING)
		return "draining";
	if (lb->healthy)
		return "healthy";
	if (found & HEALTH_EJECTED)
		return "ejected as an outlier";
	if (found & HEALTH_PENDING_CHECK)
		return "not checked yet";
	if (found & (HEALTH_FAILED_CHECK | HEALTH_EXCLUDED))
		return "failed its health check";
	return lb->degraded ? "degraded" : "unhealthy";
}

static const char *tls_mode(const struct transport_choice *choice)
{
	if (!choice || choice->unsupported)
		return "not supported";
	if (!choice->tls)
		return "plaintext";
	return choice->tls->certificate_name.len ? "mutual TLS" : "TLS";
}

static void tell_endpoint(const struct cluster *cluster, size_t index, const struct locality *locality,
			  const struct endpoint_config *config, bool chosen, struct outline *outline)
{
	const struct lb_endpoint *lb = &cluster->lb[index];

	mesh_outline_group(outline, NULL);
	mesh_outline_text(outline, "address", config->text);
	mesh_outline_text(outline, "hostname", config->hostname);
	mesh_outline_text(outline, "health", mesh_slice_of(health_of(config, lb, atomic_load_explicit(&cluster->active[index]->shared->health,
											   memory_order_relaxed))));
	mesh_outline_number(outline, "priority", locality->priority);
	mesh_outline_number(outline, "weight", lb->weight);
	mesh_outline_text(outline, "zone", locality->zone);
	mesh_outline_number(outline, "active_requests",
			    lb->active ? atomic_load_explicit(lb->active, memory_order_relaxed) : 0);
	mesh_outline_text(outline, "tls", mesh_slice_of(tls_mode(cluster->active[index]->choice)));
	mesh_outline_text(outline, "workload", config->workload);
	if (chosen)
		mesh_outline_flag(outline, "chosen", true);
	mesh_outline_close(outline);
}

static void tell_endpoints(const struct cluster *cluster, size_t chosen, struct outline *outline)
{
	const struct endpoint_set *set = cluster->set;
	size_t index = 0;

	mesh_outline_list(outline, "endpoints");
	for (size_t l = 0; set && l < set->count; l++)
		for (size_t i = 0; i < set->localities[l].count; i++, index++)
			if (index < ENDPOINTS_SHOWN || index == chosen)
				tell_endpoint(cluster, index, &set->localities[l], &set->localities[l].endpoints[i],
					      index == chosen, outline);
	mesh_outline_close(outline);
	if (index > ENDPOINTS_SHOWN)
		mesh_outline_number(outline, "endpoints_in_all", index);
}

/* `server_name`: from the request, where its name is the TLS's. */
static void tell_tls(const struct endpoint *endpoint, struct mesh_slice server_name, struct outline *outline)
{
	const struct transport_choice *choice = endpoint->choice;
	const struct tls_config *tls = choice ? choice->tls : NULL;

	mesh_outline_group(outline, "connection");
	mesh_outline_text(outline, "endpoint", endpoint->shared->text);
	mesh_outline_text(outline, "transport_socket", choice ? choice->name : (struct mesh_slice){NULL, 0});
	mesh_outline_text(outline, "tls", mesh_slice_of(tls_mode(choice)));
	if (tls) {
		mesh_outline_text(outline, "sni", server_name.len ? server_name : tls->sni);
		mesh_outline_text(outline, "certificate", tls->certificate_name);
		mesh_outline_text(outline, "roots", tls->roots_name);
		mesh_outline_list(outline, "peer_names");
		for (size_t i = 0; i < tls->san_count && i < NAMES_SHOWN; i++)
			mesh_outline_text(outline, NULL, tls->sans[i].text);
		mesh_outline_close(outline);
	}
	mesh_outline_close(outline);
}

static void tell_breaker(const struct cluster *cluster, bool high_priority, struct outline *outline)
{
	const struct circuit_breaker *limits = mesh_cluster_limits(cluster, high_priority);
	const struct breaker_use *use = mesh_cluster_use(cluster, high_priority);
	const struct {
		const char *name;
		const atomic_uint *now;
		uint32_t limit;
	} rows[] = {
		{"connections", &use->connections, limits->connections},
		{"pending", &use->pending, limits->pending},
		{"requests", &use->requests, limits->requests},
		{"retries", &use->retries, mesh_breaker_retry_limit(limits, use)},
	};

	mesh_outline_group(outline, "circuit_breaker");
	if (high_priority)
		mesh_outline_text(outline, "priority", MESH_SLICE("high"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned now = atomic_load_explicit(rows[i].now, memory_order_relaxed);

		if (rows[i].limit == UINT32_MAX)
			mesh_outline_printf(outline, rows[i].name, "%u, no limit", now);
		else
			mesh_outline_printf(outline, rows[i].name, "%u of %u", now, rows[i].limit);
	}
	mesh_outline_close(outline);
}

/* Where the balancer's choice is no matter: the call goes to the address of its host. */
static void tell_destination(struct mesh_call *call, struct outline *outline)
{
	const struct egress *egress = call->client.egress;
	char text[MESH_ADDRESS_TEXT_BYTES];
	struct address address;
	struct mesh_slice host;
	uint16_t port;

	if (egress && egress->destination.len)
		mesh_outline_text(outline, "destination",
				  mesh_slice_make(text, mesh_address_text(&egress->destination, text)));
	else if (mesh_authority_split(call->client.match.authority, &host, &port) &&
		 !mesh_address_parse(&address, host, port))
		mesh_outline_text(outline, "destination", mesh_slice_make(text, mesh_address_text(&address, text)));
	else
		mesh_outline_text(outline, "destination", MESH_SLICE("the address of the host, which is resolved at the call"));
}

static void tell_balancer(struct mesh_call *call, size_t chosen, struct outline *outline)
{
	const struct cluster *cluster = call->client.cluster;

	mesh_outline_text(outline, "balancer", mesh_slice_of(cluster->balancer ? mesh_balancer_name(cluster->balancer) : "none"));
	if (call->client.hash)
		mesh_outline_printf(outline, "hash", "%016llx", (unsigned long long)call->client.hash);
	if (chosen != UINT32_MAX)
		mesh_outline_flag(outline, "panic", mesh_balancer_panicking(cluster->balancer));
	tell_endpoints(cluster, chosen, outline);
}

static int pick(struct mesh_call *call, struct endpoint **endpoint, uint32_t *index)
{
	struct client_call *client = &call->client;
	struct lb_choice choice = {.hash = client->hash, .now_ns = mesh_loop_update_ns(call->worker->env.loop)};

	mesh_client_wish(client, &choice);
	return mesh_cluster_pick(client->cluster, &choice, endpoint, index, &call->why);
}

int mesh_explain_cluster(struct mesh_call *call, struct outline *outline)
{
	struct client_call *client = &call->client;
	bool by_address = client->cluster->config->kind == CLUSTER_ORIGINAL_DST;
	struct endpoint *endpoint = NULL;
	uint32_t index = UINT32_MAX;
	int rc = by_address ? 0 : pick(call, &endpoint, &index);

	mesh_outline_group(outline, "cluster");
	mesh_outline_text(outline, "name", client->cluster->name);
	mesh_outline_text(outline, "type", mesh_slice_of(cluster_kind(client->cluster->config->kind)));
	mesh_outline_text(outline, "protocol", mesh_slice_of(protocol(client->protocol)));
	tell_weights(client, outline);
	tell_breaker(client->cluster, client->high_priority, outline);
	if (by_address)
		tell_destination(call, outline);
	else
		tell_balancer(call, index, outline);
	mesh_outline_close(outline);
	if (rc || by_address)
		return rc;
	tell_tls(endpoint, mesh_egress_server_name(call), outline);
	mesh_endpoint_release(endpoint);
	return 0;
}
