/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the configuration: which clusters are resolved, of whom they ask, how many questions are open at a time. Refuses to
 * know when a name is asked for again and what becomes of an answer (dns_cluster.c).
 */
#include "xds/dns_state.h"

#include <mesh/error.h>

enum {
	ASKING_MAX = 256,
	RESOLVERS_MAX = 64,
	TIMEOUT_S_MAX = 60, /* of one server and try: beyond, c-ares' doubling would take hours */
	TRIES_MAX = 16,
};

/* ---- resolvers ---- */

bool mesh_dns_servers_same(const struct dns_servers *a, const struct dns_servers *b)
{
	if (a->count != b->count || a->fallback != b->fallback || a->use_tcp != b->use_tcp ||
	    a->no_search != b->no_search || a->rotate != b->rotate || a->timeout_s != b->timeout_s ||
	    a->tries != b->tries || a->edns_bytes != b->edns_bytes)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!mesh_address_equal(&a->list[i], &b->list[i]))
			return false;
	return true;
}

static int resolver_new(struct dns *dns, const struct dns_servers *servers, struct dns_resolver **result)
{
	struct dns_resolver *one = mesh_mem_zalloc(dns->options.mem, sizeof(*one));
	struct resolver_options options = {
		.servers = servers->list,
		.server_count = servers->count,
		.servers_as_fallback = servers->fallback,
		.timeout_ms = (servers->timeout_s < TIMEOUT_S_MAX ? servers->timeout_s : TIMEOUT_S_MAX) * 1000,
		.tries = servers->tries < TRIES_MAX ? servers->tries : TRIES_MAX,
		.edns_bytes = servers->edns_bytes,
		.use_tcp = servers->use_tcp,
		.no_search = servers->no_search,
		.rotate = servers->rotate,
	};
	int rc;

	if (!one)
		return MESH_ERROR_NOMEM;
	rc = mesh_resolver_new(dns->options.mem, dns->options.loop, &options, &one->resolver);
	if (rc) {
		mesh_mem_free(dns->options.mem, one);
		return rc;
	}
	one->servers = *servers;
	one->servers.list = one->list;
	if (servers->count) /* as many as decoders let through: RESOLVER_SERVERS_MAX */
		memcpy(one->list, servers->list, servers->count * sizeof(one->list[0]));
	mesh_list_push(&dns->resolvers, &one->link);
	dns->resolver_count++;
	*result = one;
	return 0;
}

int mesh_dns_resolver_get(struct dns *dns, const struct dns_servers *servers, struct dns_resolver **result)
{
	int rc = 0;

	MESH_LIST_EACH(at, &dns->resolvers) {
		struct dns_resolver *one = MESH_CONTAINER(at, struct dns_resolver, link);

		if (mesh_dns_servers_same(&one->servers, servers)) {
			one->users++;
			*result = one;
			return 0;
		}
	}
	if (dns->resolver_count >= RESOLVERS_MAX || servers->count > RESOLVER_SERVERS_MAX)
		return MESH_ERROR_OVERFLOW;
	rc = resolver_new(dns, servers, result);
	if (!rc)
		(*result)->users = 1;
	return rc;
}

void mesh_dns_resolver_release(struct dns *dns, struct dns_resolver *one)
{
	if (!one || --one->users)
		return;
	mesh_list_remove(&one->link);
	dns->resolver_count--;
	mesh_resolver_free(one->resolver);
	mesh_mem_free(dns->options.mem, one);
}

/* ---- questions and sets ---- */

void mesh_dns_pump(struct dns *dns)
{
	while (dns->asking < ASKING_MAX && !mesh_list_empty(&dns->queue)) {
		struct dns_target *target = MESH_CONTAINER(dns->queue.next, struct dns_target, link);

		mesh_list_remove(&target->link);
		mesh_dns_cluster_ask(target);
	}
}

int mesh_dns_put(struct dns *dns, struct mesh_slice name, struct endpoint_set *set)
{
	struct table *next = NULL;
	int rc;

	if (!set && !mesh_table_get(dns->resolved, name))
		return 0;
	rc = set ? mesh_table_put(dns->options.mem, dns->resolved, &set->object.item, &next)
		 : mesh_table_remove(dns->options.mem, dns->resolved, name, &next);
	if (rc)
		return rc;
	mesh_table_release(dns->resolved);
	dns->resolved = next;
	return 0;
}

struct table *mesh_dns_resolved(const struct dns *dns)
{
	return dns->resolved;
}

bool mesh_dns_waiting(const struct dns *dns)
{
	return dns->waiting > 0;
}

void mesh_dns_give_up(struct dns *dns)
{
	MESH_LIST_EACH(at, &dns->clusters)
		MESH_CONTAINER(at, struct dns_cluster, link)->first = false;
	dns->waiting = 0;
}

int mesh_dns_stats(const struct dns *dns, struct buf *out)
{
	return mesh_buf_printf(out, "control_plane.dns.update_attempt: %llu\ncontrol_plane.dns.update_failure: %llu\n",
			       (unsigned long long)mesh_counter_read(&dns->attempts),
			       (unsigned long long)mesh_counter_read(&dns->failures));
}

/* ---- the configuration ---- */

static int cluster_new(struct dns *dns, const struct cluster_config *config)
{
	struct dns_cluster *cluster = mesh_mem_zalloc(dns->options.mem, sizeof(*cluster));
	int rc;

	if (!cluster)
		return MESH_ERROR_NOMEM;
	cluster->dns = dns;
	cluster->round = dns->round;
	rc = mesh_map_put(&dns->by_name, config->object.item.name, cluster, NULL);
	if (rc) {
		mesh_mem_free(dns->options.mem, cluster);
		return rc;
	}
	mesh_list_push(&dns->clusters, &cluster->link);
	rc = mesh_dns_cluster_set(cluster, config);
	if (rc) {
		mesh_map_remove(&dns->by_name, config->object.item.name);
		mesh_dns_cluster_free(cluster);
	}
	return rc;
}

static int follow_one(struct table_item *item, void *user)
{
	const struct cluster_config *config = (const struct cluster_config *)item;
	struct dns *dns = user;
	struct dns_cluster *cluster;
	int rc;

	if (config->kind != CLUSTER_STRICT_DNS && config->kind != CLUSTER_LOGICAL_DNS)
		return 0;
	cluster = mesh_map_get_hashed(&dns->by_name, item->name, config->hash);
	if (!cluster)
		return cluster_new(dns, config);
	cluster->round = dns->round;
	if (cluster->config == config)
		return 0;
	/* the name it is found by is the configuration's: it must be the new one's before the old one goes */
	mesh_map_put(&dns->by_name, item->name, cluster, NULL);
	rc = mesh_dns_cluster_set(cluster, config);
	if (rc)
		mesh_map_put(&dns->by_name, cluster->config->object.item.name, cluster, NULL);
	return rc;
}

static int forget_others(struct dns *dns)
{
	MESH_LIST_EACH_SAFE(at, &dns->clusters) {
		struct dns_cluster *cluster = MESH_CONTAINER(at, struct dns_cluster, link);
		struct mesh_slice name = cluster->config->object.item.name;

		if (cluster->round == dns->round)
			continue;
		if (mesh_dns_put(dns, name, NULL))
			return MESH_ERROR_NOMEM;
		mesh_map_remove(&dns->by_name, name);
		mesh_dns_cluster_free(cluster);
	}
	return 0;
}

int mesh_dns_follow(struct dns *dns, struct table *clusters)
{
	int rc;

	if (clusters == dns->followed)
		return 0;
	dns->round++;
	rc = mesh_table_each(clusters, follow_one, dns);
	if (!rc)
		rc = forget_others(dns);
	if (rc)
		return rc;
	mesh_table_release(dns->followed);
	dns->followed = mesh_table_retain(clusters);
	return 0;
}

/* ---- life ---- */

int mesh_dns_new(const struct dns_options *options, struct dns **result)
{
	struct dns *dns = mesh_mem_zalloc(options->mem, sizeof(*dns));

	if (!dns)
		return MESH_ERROR_NOMEM;
	dns->options = *options;
	mesh_rand_seed_system(&dns->rand);
	mesh_map_init(&dns->by_name, options->mem);
	mesh_list_init(&dns->clusters);
	mesh_list_init(&dns->resolvers);
	mesh_list_init(&dns->queue);
	*result = dns;
	return 0;
}

void mesh_dns_free(struct dns *dns)
{
	if (!dns)
		return;
	MESH_LIST_EACH_SAFE(at, &dns->clusters)
		mesh_dns_cluster_free(MESH_CONTAINER(at, struct dns_cluster, link));
	mesh_map_free(&dns->by_name);
	mesh_table_release(dns->followed);
	mesh_table_release(dns->resolved);
	mesh_mem_free(dns->options.mem, dns);
}
