/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a live cluster follows configuration: endpoints that stay keep their pools and counts, those that left
 * finish what they carry, connections made under other TLS settings are not used again. Refuses to know requests.
 */
#include "cluster/follow.h"

#include "cluster/health.h"
#include "cluster/pool.h"

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
				/* one address may be there twice, as two names of a DNS cluster: it is one host */
				if (mesh_map_put(by_text, endpoint->shared->text, endpoint, NULL))
					return MESH_ERROR_NOMEM;
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
int mesh_cluster_follow_local(struct cluster *cluster)
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
	rc = cluster->balancer ? mesh_balancer_update(cluster->balancer) : 0;
	if (rc)
		cluster->health_version--; /* no memory: where health is watched, the next pick tries again */
	return rc;
}

/* Who still passes its checks stays, where that is so. */
int mesh_cluster_follow(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_set *told)
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
void mesh_cluster_forget(struct cluster *cluster)
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

void mesh_cluster_end(struct cluster *cluster)
{
	retire_missing(cluster, NULL, 0, true, false);
	forget_local(cluster);
}
