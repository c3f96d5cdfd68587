/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what an endpoint's health is to the balancer, from configuration, ejection and checks, and what becomes of its
 * connections when it fails. Refuses to know how ejection and checks come to their verdicts.
 */
#include "cluster/health.h"

#include "cluster/dial.h"

static const unsigned of_checks = HEALTH_FAILED_CHECK | HEALTH_DEGRADED_CHECK | HEALTH_PENDING_CHECK | HEALTH_EXCLUDED |
				  HEALTH_CHECK_TIMEOUT;

void mesh_health_set(struct cluster_shared *cluster, struct endpoint_shared *endpoint, unsigned set, unsigned cleared)
{
	unsigned before = atomic_load_explicit(&endpoint->health, memory_order_relaxed);
	unsigned after = (before & ~cleared) | set;

	if (before == after)
		return;
	atomic_store_explicit(&endpoint->health, after, memory_order_relaxed);
	atomic_fetch_add_explicit(&cluster->health_version, 1, memory_order_release);
}

static bool is_checked(const struct cluster_config *config, const struct endpoint_config *endpoint)
{
	return config->health_check && !(endpoint->check && endpoint->check->off);
}

/* Nothing of what it was before counts. */
static void make_new(struct endpoint_shared *endpoint)
{
	mesh_outlier_forget_runs(&endpoint->runs);
	memset(&endpoint->history, 0, sizeof(endpoint->history));
	atomic_store_explicit(&endpoint->since_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&endpoint->latency.seen, 0, memory_order_relaxed);
	for (size_t i = 0; i < OUTLIER_SIDES; i++) {
		endpoint->rated[i] = mesh_endpoint_volume(endpoint, i);
		endpoint->success_rate[i] = -1;
	}
}

void mesh_health_join(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_config *endpoint,
		      struct endpoint *joining)
{
	struct cluster_shared *shared = cluster->shared;
	struct endpoint_shared *known = joining->shared;
	unsigned first = 0;

	pthread_mutex_lock(&shared->lock);
	mesh_list_push(&known->tallies, &joining->tally.link);
	if (!known->member) {
		make_new(known);
		/* until it was checked it is taken to fail, as in Envoy */
		if (is_checked(config, endpoint))
			first = HEALTH_FAILED_CHECK | (config->ignore_unchecked ? HEALTH_PENDING_CHECK : 0);
		mesh_health_set(shared, known, first, ~0u);
		known->member = true;
	}
	pthread_mutex_unlock(&shared->lock);
}

void mesh_health_leave(struct endpoint *endpoint)
{
	struct cluster_shared *shared = endpoint->cluster->shared;

	pthread_mutex_lock(&shared->lock);
	/* a worker that is behind does not speak for those who have it back already */
	if (endpoint->cluster->env->snapshot->version >= shared->followed) {
		endpoint->shared->member = false;
		mesh_health_set(shared, endpoint->shared, 0, HEALTH_EJECTED);
		memset(&endpoint->shared->history, 0, sizeof(endpoint->shared->history));
	}
	pthread_mutex_unlock(&shared->lock);
}

void mesh_health_part(struct endpoint *endpoint)
{
	struct endpoint_shared *shared = endpoint->shared;

	pthread_mutex_lock(&endpoint->cluster->shared->lock);
	mesh_list_remove(&endpoint->tally.link);
	for (size_t i = 0; i < OUTLIER_SIDES; i++) {
		shared->gone[i].total += mesh_counter_read(&endpoint->tally.total[i]);
		shared->gone[i].good += mesh_counter_read(&endpoint->tally.good[i]);
	}
	pthread_mutex_unlock(&endpoint->cluster->shared->lock);
}

/* cluster_shared.lock is the caller's. */
static void follow_limits(struct cluster_shared *shared, const struct outlier_config *outlier)
{
	if (!outlier->on || mesh_outlier_runs_go_on(&shared->outlier, outlier))
		return;
	shared->outlier = *outlier;
	MESH_MAP_EACH(slot, &shared->endpoints)
		mesh_outlier_forget_runs(&((struct endpoint_shared *)slot->value)->runs);
}

void mesh_health_follow(struct cluster *cluster)
{
	const struct cluster_config *config = cluster->config;

	cluster->watches = config->outlier.on || config->health_check;
	if (!cluster->watches)
		return;
	pthread_mutex_lock(&cluster->shared->lock);
	cluster->shared->detects |= config->outlier.on;
	cluster->shared->checks |= config->health_check != NULL;
	if (cluster->shared->followed < cluster->env->snapshot->version)
		cluster->shared->followed = cluster->env->snapshot->version;
	follow_limits(cluster->shared, &config->outlier);
	pthread_mutex_unlock(&cluster->shared->lock);
}

/* What is in force of it under this configuration. */
static unsigned health_of(const struct cluster *cluster, const struct endpoint_config *config, const struct endpoint *endpoint)
{
	unsigned mask = cluster->config->outlier.on ? HEALTH_EJECTED : 0;

	if (is_checked(cluster->config, config))
		mask |= of_checks;
	return mask ? atomic_load_explicit(&endpoint->shared->health, memory_order_relaxed) & mask : 0;
}

static void tell_streams(struct loop_task *task)
{
	struct cluster *cluster = MESH_CONTAINER(task, struct cluster, failing);

	MESH_LIST_EACH(at, &cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (!endpoint->failing)
			continue;
		endpoint->failing = false;
		endpoint->users++;
		mesh_dial_fail_all(endpoint);
		endpoint->users--; /* what was killed holds it until it is reaped */
	}
}

/* Its pooled connections end with what they carry, others at once: as Envoy, only where that was asked for. */
static void failed(struct cluster *cluster, struct endpoint *endpoint)
{
	if (!cluster->config->close_on_health_failure)
		return;
	mesh_endpoint_drain(endpoint);
	endpoint->failing = true;
	cluster->failing.run = tell_streams;
	mesh_loop_defer(cluster->env->loop, &cluster->failing);
}

/* All workers of the mesh agree on when an endpoint was new. Read by slow start alone. */
static uint64_t since(const struct cluster *cluster, struct endpoint *endpoint, bool healthy)
{
	uint64_t was = atomic_load_explicit(&endpoint->shared->since_ns, memory_order_relaxed);
	uint64_t now = mesh_loop_now_ns(cluster->env->loop);

	if (was || !healthy)
		return was;
	return atomic_compare_exchange_strong(&endpoint->shared->since_ns, &was, now) ? now : was;
}

static void apply(struct cluster *cluster, const struct endpoint_config *config, struct endpoint *endpoint,
		  struct lb_endpoint *lb)
{
	const unsigned bad = HEALTH_FAILED_CHECK | HEALTH_EJECTED, uncounted = HEALTH_PENDING_CHECK | HEALTH_EXCLUDED;
	unsigned health = health_of(cluster, config, endpoint);
	bool unhealthy = (health & bad) || config->health == ENDPOINT_UNHEALTHY || config->health == ENDPOINT_DRAINING;

	lb->degraded = !unhealthy && ((health & HEALTH_DEGRADED_CHECK) || config->health == ENDPOINT_DEGRADED);
	lb->healthy = !unhealthy && !lb->degraded;
	lb->uncounted = (health & uncounted) || config->health == ENDPOINT_DRAINING;
	if (cluster->config->balance.slow_start.window_ns)
		lb->since_ns = since(cluster, endpoint, lb->healthy);
	if (health & bad & ~endpoint->health_seen)
		failed(cluster, endpoint);
	endpoint->health_seen = health;
}

void mesh_health_apply(struct cluster *cluster)
{
	size_t n = 0;

	cluster->health_version = atomic_load_explicit(&cluster->shared->health_version, memory_order_acquire);
	for (size_t l = 0; cluster->set && l < cluster->set->count; l++)
		for (size_t i = 0; i < cluster->set->localities[l].count; i++, n++)
			apply(cluster, &cluster->set->localities[l].endpoints[i], cluster->active[n], &cluster->lb[n]);
}

void mesh_health_look(struct cluster *cluster, uint64_t now_ns)
{
	unsigned before = cluster->health_version;

	if (cluster->config->outlier.on)
		mesh_ejection_sweep(cluster, now_ns);
	if (before == atomic_load_explicit(&cluster->shared->health_version, memory_order_relaxed))
		return;
	mesh_health_apply(cluster);
	if (cluster->balancer && mesh_balancer_update(cluster->balancer))
		cluster->health_version = before; /* no memory: the next pick tries again */
}
