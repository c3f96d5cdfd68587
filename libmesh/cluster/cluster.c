/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long a worker's clusters and their endpoints live, and where a request goes: as the balancer says. Refuses to
 * know how a cluster follows configuration (follow.c) and what is asked of it.
 */
#include "cluster/cluster.h"

#include "cluster/dial.h"
#include "cluster/follow.h"
#include "cluster/health.h"
#include "cluster/pool.h"
#include "cluster/preconnect.h"

int mesh_cluster_env_init(struct cluster_env *env)
{
	mesh_map_init(&env->clusters, env->mem);
	mesh_list_init(&env->dead);
	env->reap.run = mesh_dial_reap;
	mesh_rand_seed_system(&env->rand);
	return 0;
}

void mesh_cluster_env_zone(struct cluster_env *env, struct mesh_slice locality)
{
	env->local_cluster = MESH_SLICE(MESH_LOCAL_CLUSTER);
	env->region = mesh_slice_cut(&locality, '/');
	env->zone = mesh_slice_cut(&locality, '/');
	env->subzone = locality;
}

static void endpoint_free(struct endpoint *endpoint)
{
	struct cluster *cluster = endpoint->cluster;

	for (int i = 0; i < POOL_PROTOCOLS; i++)
		mesh_pool_destroy(&endpoint->pools[i]);
	mesh_endpoint_free_names(endpoint);
	mesh_resumption_clear(&endpoint->resumption);
	mesh_list_remove(&endpoint->link);
	mesh_health_part(endpoint);
	mesh_endpoint_shared_release(cluster->shared, endpoint->shared);
	mesh_mem_free(cluster->env->mem, endpoint);
}

/* Frees it when it is retired and nobody uses it. */
static void settle(struct endpoint *endpoint)
{
	if (endpoint->retired && !endpoint->users)
		endpoint_free(endpoint);
}

void mesh_endpoint_release(struct endpoint *endpoint)
{
	endpoint->users--;
	settle(endpoint);
}

void mesh_endpoint_drain(struct endpoint *endpoint)
{
	for (int i = 0; i < POOL_PROTOCOLS; i++)
		mesh_pool_drain(&endpoint->pools[i]);
	mesh_endpoint_drain_names(endpoint);
}

void mesh_endpoint_retire(struct endpoint *endpoint)
{
	if (endpoint->by_address)
		mesh_map_remove(&endpoint->cluster->addresses, endpoint->shared->text);
	endpoint->by_address = false;
	endpoint->retired = true;
	endpoint->choice = NULL;
	endpoint->users++;
	mesh_endpoint_drain(endpoint);
	mesh_endpoint_release(endpoint);
}

struct endpoint *mesh_endpoint_new(struct cluster *cluster, const struct endpoint_config *config)
{
	struct endpoint *endpoint = mesh_mem_zalloc(cluster->env->mem, sizeof(*endpoint));

	if (!endpoint)
		return NULL;
	endpoint->shared = mesh_endpoint_shared_get(cluster->shared, config->text);
	if (!endpoint->shared) {
		mesh_mem_free(cluster->env->mem, endpoint);
		return NULL;
	}
	endpoint->cluster = cluster;
	endpoint->address = config->address;
	mesh_list_init(&endpoint->dials);
	mesh_list_init(&endpoint->tally.link);
	for (int i = 0; i < POOL_PROTOCOLS; i++)
		mesh_pool_init(&endpoint->pools[i], endpoint, (enum pool_protocol)i);
	mesh_list_push(&cluster->endpoints, &endpoint->link);
	return endpoint;
}

static void cluster_free(struct cluster *cluster)
{
	struct cluster_env *env = cluster->env;

	mesh_timer_stop(env->loop, &cluster->cleanup);
	mesh_loop_undefer(&cluster->failing);
	mesh_cluster_end(cluster);
	MESH_LIST_EACH_SAFE(at, &cluster->endpoints)
		endpoint_free(MESH_CONTAINER(at, struct endpoint, link));
	mesh_balancer_free(cluster->balancer);
	mesh_map_free(&cluster->addresses);
	mesh_mem_free(env->mem, cluster->active);
	mesh_mem_free(env->mem, cluster->lb);
	mesh_config_object_release((void *)cluster->config);
	mesh_config_object_release((void *)cluster->set);
	if (cluster->stats) {
		mesh_cluster_stats_retire(cluster->shared, cluster->stats);
		mesh_mem_free(env->mem, cluster->stats);
	}
	mesh_cluster_shared_release(cluster->shared);
	mesh_mem_free(env->mem, cluster);
}

static struct cluster *cluster_new(struct cluster_env *env, struct mesh_slice name)
{
	struct cluster *cluster = mesh_mem_zalloc(env->mem, sizeof(*cluster));

	if (!cluster)
		return NULL;
	cluster->env = env;
	mesh_list_init(&cluster->endpoints);
	mesh_map_init(&cluster->addresses, env->mem);
	cluster->shared = mesh_cluster_shared_get(env->registry, name);
	cluster->stats = cluster->shared ? mesh_mem_zalloc(env->mem, sizeof(*cluster->stats)) : NULL;
	if (!cluster->stats) {
		mesh_cluster_shared_release(cluster->shared);
		mesh_mem_free(env->mem, cluster);
		return NULL;
	}
	mesh_cluster_stats_add(cluster->shared, cluster->stats);
	cluster->name = cluster->shared->name;
	if (!mesh_map_put(&env->clusters, cluster->name, cluster, NULL))
		return cluster;
	cluster_free(cluster);
	return NULL;
}

int mesh_cluster_get(struct cluster_env *env, struct mesh_slice name, uint32_t hash, struct cluster **result)
{
	struct cluster *cluster = mesh_map_get_hashed(&env->clusters, name, hash);
	const struct cluster_config *config;
	const struct endpoint_set *set;
	int rc = 0;

	if (cluster && cluster->seen == env->snapshot->version) {
		*result = cluster;
		return cluster->gone ? MESH_ERROR_NO_CLUSTER : 0;
	}
	config = mesh_snapshot_cluster(env->snapshot, name, hash);
	if (!config && !cluster)
		return MESH_ERROR_NO_CLUSTER;
	if (!cluster)
		cluster = cluster_new(env, name);
	if (!cluster)
		return MESH_ERROR_NOMEM;
	set = config ? mesh_snapshot_endpoints(env->snapshot, config) : NULL;
	if (config && (config != cluster->config || set != cluster->told || cluster->told != cluster->set))
		rc = mesh_cluster_follow(cluster, config, set);
	else if (!config)
		mesh_cluster_forget(cluster);
	if (!rc && config)
		rc = mesh_cluster_follow_local(cluster);
	if (rc)
		return rc;
	cluster->seen = env->snapshot->version;
	cluster->gone = !config;
	*result = cluster;
	return config ? 0 : MESH_ERROR_NO_CLUSTER;
}

/* What changed since the last pick. Who lingered and fails now leaves. */
static void look(struct cluster *cluster)
{
	unsigned before = cluster->health_version;

	mesh_health_look(cluster, mesh_loop_now_ns(cluster->env->loop));
	if (before != cluster->health_version && cluster->told != cluster->set && !cluster->gone)
		mesh_cluster_follow(cluster, cluster->config, cluster->told); /* without memory it stays, unhealthy */
}

int mesh_cluster_pick(struct cluster *cluster, const struct lb_choice *choice, struct endpoint **endpoint, uint32_t *index,
		      struct why *why)
{
	int64_t picked = MESH_ERROR_NO_ENDPOINT;

	if (cluster->watches)
		look(cluster);
	if (cluster->balancer)
		picked = cluster->ahead_count ? mesh_cluster_next(cluster, choice)
					      : mesh_balancer_pick(cluster->balancer, choice);
	if (picked < 0) {
		mesh_counter_add(&cluster->stats->lb_none_healthy, 1);
		if (cluster->set && cluster->set->reason.len)
			return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "no endpoint in cluster %.*s: %.*s", (int)cluster->name.len,
					cluster->name.data, (int)cluster->set->reason.len, cluster->set->reason.data);
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "%s in cluster %.*s",
				!cluster->set		? "no endpoints received yet"
				: !cluster->count	? "no endpoint"
				: cluster->unsupported == cluster->count ? "no endpoint whose transport socket is supported"
									 : "no healthy endpoint",
				(int)cluster->name.len, cluster->name.data);
	}
	if (mesh_balancer_panicking(cluster->balancer))
		mesh_counter_add(&cluster->stats->lb_healthy_panic, 1);
	*endpoint = cluster->active[picked];
	*index = (uint32_t)picked;
	(*endpoint)->users++;
	return 0;
}

void mesh_cluster_env_destroy(struct cluster_env *env)
{
	MESH_MAP_EACH(slot, &env->clusters) {
		struct cluster *cluster = slot->value;

		MESH_LIST_EACH(at, &cluster->endpoints)
			mesh_dial_end_all(MESH_CONTAINER(at, struct endpoint, link));
	}
	mesh_loop_undefer(&env->reap);
	mesh_dial_reap(&env->reap);
	MESH_MAP_EACH(slot, &env->clusters)
		cluster_free(slot->value);
	mesh_map_free(&env->clusters);
}

struct mesh_slice mesh_cluster_hostname(const struct cluster *cluster, uint32_t index)
{
	for (size_t l = 0; cluster->set && l < cluster->set->count; l++) {
		if (index < cluster->set->localities[l].count)
			return cluster->set->localities[l].endpoints[index].hostname;
		index -= (uint32_t)cluster->set->localities[l].count;
	}
	return (struct mesh_slice){NULL, 0};
}

size_t mesh_cluster_find(const struct cluster *cluster, const uint32_t *hashes, size_t count, uint32_t *indexes,
			 size_t room)
{
	size_t found = 0;

	for (size_t i = 0; count && i < cluster->count && found < room; i++) {
		size_t n = 0;

		while (n < count && hashes[n] != cluster->lb[i].hash)
			n++;
		if (n < count)
			indexes[found++] = (uint32_t)i;
	}
	return found;
}
