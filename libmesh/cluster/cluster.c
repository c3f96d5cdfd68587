/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a live cluster follows configuration: endpoints that stay keep their pools and counts, those that left
 * finish what they carry, connections made under other TLS settings are not used again. Refuses to know requests.
 */
#include "cluster/cluster.h"

#include "cluster/dial.h"
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

/* What a rebuild makes; swapped in whole or thrown away whole. */
struct rebuild {
	struct endpoint **active;
	struct lb_endpoint *lb;
	size_t count;
	struct balancer *balancer;
	size_t joined; /* of them, new */
};

/* Endpoints of the old array by text while rebuilding: large sets need better than a scan each. */
static int index_active(struct cluster *cluster, struct map *by_text)
{
	int rc = 0;

	for (size_t i = 0; i < cluster->count && !rc; i++)
		rc = mesh_map_put(by_text, cluster->active[i]->shared->text, cluster->active[i], NULL);
	return rc;
}

/* What Envoy places an endpoint by under consistent hashing. */
static struct mesh_slice hash_key(const struct cluster_config *config, const struct endpoint_config *endpoint)
{
	if (endpoint->hash_key.len)
		return endpoint->hash_key;
	return config->hash_by_hostname && endpoint->hostname.len ? endpoint->hostname : endpoint->text;
}

/* Least request where the mesh was opened with it, or the cluster's own policy. */
static bool by_latency(const struct cluster *cluster, const struct cluster_config *config)
{
	return config->lb == LB_LEAST_REQUEST && (config->balance.ewma.on || cluster->env->peak_ewma);
}

static int rebuild_endpoints(struct cluster *cluster, const struct cluster_config *wanted, const struct endpoint_set *set,
			     struct map *by_text, struct rebuild *next)
{
	for (size_t l = 0; l < set->count; l++) {
		for (size_t i = 0; i < set->localities[l].count; i++) {
			const struct endpoint_config *config = &set->localities[l].endpoints[i];
			struct endpoint *endpoint = mesh_map_get(by_text, config->text);
			struct lb_endpoint *lb = &next->lb[next->count];

			if (!endpoint) {
				endpoint = mesh_endpoint_new(cluster, config);
				if (!endpoint)
					return MESH_ERROR_NOMEM;
				mesh_health_join(cluster, wanted, config, endpoint);
				next->joined++;
			}
			next->active[next->count++] = endpoint;
			lb->weight = config->weight;
			lb->hash = config->hash;
			lb->key = hash_key(wanted, config);
			lb->locality = (uint32_t)l;
			lb->healthy = config->health == ENDPOINT_HEALTHY; /* until mesh_health_apply */
			lb->degraded = config->health == ENDPOINT_DEGRADED;
			lb->excluded = config->unsupported || !config->address.len;
			lb->active = &endpoint->shared->active;
			lb->labels = config->lb_labels;
			lb->label_count = (uint32_t)config->lb_label_count;
			if (by_latency(cluster, wanted))
				lb->latency = &endpoint->shared->latency;
		}
	}
	return 0;
}

/* Endpoints that are not among `active` leave (`left`: for good, configuration has them no more); those of an address too, but where the cluster still is for such. */
static void retire_missing(struct cluster *cluster, struct endpoint **active, size_t count, bool addresses, bool left)
{
	MESH_LIST_EACH(at, &cluster->endpoints)
		MESH_CONTAINER(at, struct endpoint, link)->kept =
			!addresses && MESH_CONTAINER(at, struct endpoint, link)->by_address;
	for (size_t i = 0; i < count; i++)
		active[i]->kept = true;
	MESH_LIST_EACH_SAFE(at, &cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (endpoint->kept || endpoint->retired)
			continue;
		if (left)
			mesh_health_leave(endpoint);
		mesh_endpoint_retire(endpoint);
	}
}

static int rebuild(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_set *set,
		   struct rebuild *next)
{
	const struct mesh_mem *mem = cluster->env->mem;
	size_t room = set ? set->endpoint_count : 0;
	struct map by_text;
	int rc;

	mesh_map_init(&by_text, mem);
	next->active = mesh_mem_array(mem, room ? room : 1, sizeof(struct endpoint *));
	next->lb = mesh_mem_array(mem, room ? room : 1, sizeof(*next->lb));
	rc = next->active && next->lb ? index_active(cluster, &by_text) : MESH_ERROR_NOMEM;
	if (!rc && set)
		rc = rebuild_endpoints(cluster, config, set, &by_text, next);
	if (!rc && next->count)
		rc = mesh_balancer_new(mem, config, set, next->lb, next->count, mesh_rand_next(&cluster->env->rand),
				       &next->balancer);
	mesh_map_free(&by_text);
	return rc;
}

static void rebuild_discard(struct cluster *cluster, struct rebuild *next)
{
	mesh_balancer_free(next->balancer);
	mesh_mem_free(cluster->env->mem, next->active);
	mesh_mem_free(cluster->env->mem, next->lb);
}

static void refresh_choices(struct cluster *cluster)
{
	size_t n = 0;

	cluster->unsupported = 0;
	mesh_cluster_refresh_addresses(cluster);
	if (!cluster->set)
		return;
	for (size_t l = 0; l < cluster->set->count; l++)
		for (size_t i = 0; i < cluster->set->localities[l].count; i++, n++) {
			/* that of LOGICAL_DNS moves: connections it has stay, new ones go to the newest address */
			cluster->active[n]->address = cluster->set->localities[l].endpoints[i].address;
			cluster->active[n]->choice =
				mesh_cluster_transport(cluster->config, &cluster->set->localities[l].endpoints[i]);
			if (cluster->active[n]->choice->unsupported) {
				cluster->lb[n].excluded = true;
				cluster->unsupported++;
			}
		}
}

static void drain_all(struct cluster *cluster)
{
	MESH_LIST_EACH(at, &cluster->endpoints)
		mesh_endpoint_drain(MESH_CONTAINER(at, struct endpoint, link));
}

/* New settings: connections made under the old ones finish what they carry and go. */
static void new_generation(struct cluster *cluster)
{
	cluster->generation++;
	drain_all(cluster);
}

/* Zones are balanced by what the local cluster looks like now. */
static int follow_local(struct cluster *cluster)
{
	const struct cluster_env *env = cluster->env;
	struct lb_local local = {.region = env->region, .zone = env->zone, .subzone = env->subzone};

	if (!env->local_cluster.len || !cluster->balancer || !cluster->config->balance.zone.on)
		return 0;
	local.set = (const struct endpoint_set *)mesh_table_get(env->snapshot->endpoints, env->local_cluster);
	if (local.set == cluster->local)
		return 0;
	mesh_balancer_local(cluster->balancer, &local);
	mesh_config_object_retain(local.set);
	mesh_config_object_release((void *)cluster->local);
	cluster->local = local.set;
	return mesh_balancer_update(cluster->balancer);
}

static void forget_local(struct cluster *cluster)
{
	mesh_config_object_release((void *)cluster->local);
	cluster->local = NULL;
}

static int follow(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_set *set)
{
	struct rebuild next = {0};
	int rc = rebuild(cluster, config, set, &next);

	if (rc) {
		retire_missing(cluster, cluster->active, cluster->count, false, false);
		rebuild_discard(cluster, &next);
		return rc;
	}
	mesh_balancer_free(cluster->balancer);
	forget_local(cluster);
	mesh_mem_free(cluster->env->mem, cluster->active);
	mesh_mem_free(cluster->env->mem, cluster->lb);
	if (config->close_on_set_change && (next.joined || cluster->count + next.joined != next.count))
		drain_all(cluster);
	retire_missing(cluster, next.active, next.count, config->kind != CLUSTER_ORIGINAL_DST, true);
	cluster->active = next.active;
	cluster->lb = next.lb;
	cluster->count = next.count;
	cluster->balancer = next.balancer;
	cluster->ahead_count = 0;
	cluster->warmed_ns = 0;
	mesh_breaker_limits_set(cluster->shared, config);
	if (cluster->config != config && cluster->config)
		new_generation(cluster);
	mesh_config_object_retain(config);
	mesh_config_object_retain(set);
	mesh_config_object_release((void *)cluster->config);
	mesh_config_object_release((void *)cluster->set);
	cluster->config = config;
	cluster->set = set;
	refresh_choices(cluster);
	mesh_health_follow(cluster);
	mesh_health_apply(cluster);
	mesh_counter_add(&cluster->stats->membership_change, 1);
	return cluster->balancer ? mesh_balancer_update(cluster->balancer) : 0;
}

/* Who still passes its checks stays, where that is so. */
static int follow_told(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_set *told)
{
	struct endpoint_set *both = NULL;
	int rc = told && mesh_cluster_lingers(config) ? mesh_cluster_linger(cluster, told, &both) : 0;

	if (!rc)
		rc = follow(cluster, config, both ? both : told);
	if (cluster->set == (both ? both : told)) /* also when the balancer alone lacked memory */
		cluster->told = told;
	mesh_config_object_release(both); /* the cluster has it */
	return rc;
}

/* The cluster left the configuration: its endpoints go, what runs on them ends in peace. */
static void forget(struct cluster *cluster)
{
	retire_missing(cluster, NULL, 0, true, true);
	mesh_balancer_free(cluster->balancer);
	cluster->balancer = NULL;
	forget_local(cluster);
	cluster->count = 0;
	cluster->ahead_count = 0;
	mesh_config_object_release((void *)cluster->set);
	cluster->set = cluster->told = NULL;
}

static void cluster_free(struct cluster *cluster)
{
	struct cluster_env *env = cluster->env;

	mesh_timer_stop(env->loop, &cluster->cleanup);
	mesh_loop_undefer(&cluster->failing);
	retire_missing(cluster, NULL, 0, true, false);
	MESH_LIST_EACH_SAFE(at, &cluster->endpoints)
		endpoint_free(MESH_CONTAINER(at, struct endpoint, link));
	mesh_balancer_free(cluster->balancer);
	forget_local(cluster);
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
		rc = follow_told(cluster, config, set);
	else if (!config)
		forget(cluster);
	if (!rc && config)
		rc = follow_local(cluster);
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
		follow_told(cluster, cluster->config, cluster->told); /* without memory it stays, unhealthy */
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
