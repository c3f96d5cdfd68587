/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when endpoints of a cluster are ejected and come back, for all workers at once: under the cluster's lock, which
 * only detections and the end of an interval take. The interval has no thread: whoever picks or reports first after its end
 * does it. Refuses to know the arithmetic (policy/outlier.c) and who picks what.
 */
#include "cluster/health.h"

/* The cluster's endpoints as this worker has them, while one decision is made. */
struct jury {
	struct cluster *cluster;
	const struct outlier_config *config;
	uint64_t now_ns;
	uint32_t hosts, ejected;
};

static struct jury jury_of(struct cluster *cluster, uint64_t now_ns)
{
	struct jury jury = {.cluster = cluster, .config = &cluster->config->outlier, .now_ns = now_ns};

	MESH_LIST_EACH(at, &cluster->endpoints) {
		const struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		jury.hosts += !endpoint->retired;
		jury.ejected += !endpoint->retired && endpoint->shared->history.ejected;
	}
	return jury;
}

static uint64_t draw(struct jury *jury)
{
	return mesh_rand_next(&jury->cluster->env->rand);
}

static void eject(struct jury *jury, struct endpoint_shared *endpoint, enum outlier_cause cause)
{
	struct cluster_shared *shared = jury->cluster->shared;
	struct ejection_stats *stats = &shared->ejections;

	stats->detected[cause]++;
	if (!mesh_outlier_room(jury->config, jury->ejected, jury->hosts)) {
		stats->overflow++;
		return;
	}
	if (!mesh_outlier_enforced(jury->config, cause, draw(jury)))
		return;
	stats->enforced[cause]++;
	jury->ejected++;
	mesh_outlier_eject(&endpoint->history, jury->config, jury->now_ns, draw(jury));
	mesh_health_set(shared, endpoint, HEALTH_EJECTED, 0);
	MESH_LOG_D(jury->cluster->env->log, "outlier", "%.*s of %.*s ejected, for the %u. time", (int)endpoint->text.len,
		   endpoint->text.data, (int)shared->name.len, shared->name.data, endpoint->history.ejections);
}

/* It is back, by its history; what it failed before is forgotten. */
static void come_back(struct cluster_shared *cluster, struct endpoint_shared *endpoint)
{
	mesh_outlier_forget_runs(&endpoint->runs);
	mesh_health_set(cluster, endpoint, 0, HEALTH_EJECTED);
}

void mesh_ejection_end(struct cluster_shared *cluster, struct endpoint_shared *endpoint, uint64_t now_ns)
{
	if (!endpoint->history.ejected)
		return;
	mesh_outlier_return(&endpoint->history, now_ns);
	come_back(cluster, endpoint);
}

void mesh_ejection_detect(struct endpoint *endpoint, enum outlier_cause cause)
{
	struct cluster *cluster = endpoint->cluster;
	struct jury jury;

	pthread_mutex_lock(&cluster->shared->lock);
	if (endpoint->shared->member && !endpoint->shared->history.ejected) {
		jury = jury_of(cluster, mesh_loop_now_ns(cluster->env->loop));
		eject(&jury, endpoint->shared, cause);
		mesh_outlier_forget_run(&endpoint->shared->runs, cause);
	}
	pthread_mutex_unlock(&cluster->shared->lock);
}

/* ---- the interval */

static struct outlier_rate rate_of(struct endpoint_shared *endpoint, size_t side)
{
	struct outlier_volume now = mesh_endpoint_volume(endpoint, side), before = endpoint->rated[side];
	struct outlier_volume of = {now.total - before.total, now.good - before.good};

	endpoint->rated[side] = now;
	endpoint->success_rate[side] = -1;
	if (of.good > of.total) /* counted meanwhile */
		of.good = of.total;
	return (struct outlier_rate){
		.success = of.total ? (double)of.good * 100.0 / (double)of.total : 0,
		.volume = of.total,
		.ejected = endpoint->history.ejected,
	};
}

static void judge(struct jury *jury, struct endpoint_shared *endpoint, const struct outlier_rate *rate, size_t side)
{
	if (rate->shown)
		endpoint->success_rate[side] = rate->success;
	if (rate->causes & (1u << OUTLIER_SUCCESS_RATE))
		eject(jury, endpoint, side ? OUTLIER_LOCAL_SUCCESS_RATE : OUTLIER_SUCCESS_RATE);
	if ((rate->causes & (1u << OUTLIER_FAILURE)) && !endpoint->history.ejected)
		eject(jury, endpoint, side ? OUTLIER_LOCAL_FAILURE : OUTLIER_FAILURE);
}

/* The rates of one side of the wire. `rates` has room for all; NULL: no memory, and nobody is judged this time. */
static void rate_side(struct jury *jury, struct outlier_rate *rates, size_t side)
{
	size_t n = 0;

	MESH_LIST_EACH(at, &jury->cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (endpoint->retired)
			continue;
		if (rates)
			rates[n++] = rate_of(endpoint->shared, side);
		else
			rate_of(endpoint->shared, side);
	}
	mesh_outlier_rate(jury->config, rates, n, &jury->cluster->shared->levels[side]);
	n = 0;
	MESH_LIST_EACH(at, &jury->cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (rates && !endpoint->retired)
			judge(jury, endpoint->shared, &rates[n++], side);
	}
}

static void first_tick(struct jury *jury)
{
	struct cluster *cluster = jury->cluster;
	struct outlier_rate *rates = mesh_mem_array(cluster->env->mem, jury->hosts ? jury->hosts : 1, sizeof(*rates));

	MESH_LIST_EACH(at, &cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (!endpoint->retired && mesh_outlier_due(&endpoint->shared->history, jury->config, jury->now_ns)) {
			mesh_ejection_end(cluster->shared, endpoint->shared, jury->now_ns);
			jury->ejected--;
		}
	}
	for (size_t side = 0; side < OUTLIER_SIDES; side++)
		rate_side(jury, rates, side);
	MESH_LIST_EACH(at, &cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (!endpoint->retired)
			mesh_outlier_calm(&endpoint->shared->history, jury->config, jury->now_ns);
	}
	mesh_mem_free(cluster->env->mem, rates);
}

/* Those that nobody was there for. */
static void later_ticks(struct jury *jury, uint64_t ticks)
{
	uint64_t first = jury->now_ns + (uint64_t)jury->config->interval_ns;

	MESH_LIST_EACH(at, &jury->cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (endpoint->retired)
			continue;
		if (mesh_outlier_catch_up(&endpoint->shared->history, jury->config, first, ticks))
			come_back(jury->cluster->shared, endpoint->shared);
		for (size_t side = 0; side < OUTLIER_SIDES; side++)
			endpoint->shared->success_rate[side] = -1;
	}
	for (size_t side = 0; side < OUTLIER_SIDES; side++)
		jury->cluster->shared->levels[side] = (struct outlier_level){-1, -1};
}

/* Not yet. It was made due under a longer interval than is configured now: nobody waits for the end of that one. */
static void hurry(struct cluster_shared *shared, uint64_t interval, uint64_t due, uint64_t now_ns)
{
	/* one interval is for the clocks of other workers, which may be a little ahead */
	if (due - now_ns > interval && due - now_ns - interval > interval)
		atomic_compare_exchange_strong_explicit(&shared->sweep_ns, &due, now_ns + interval, memory_order_relaxed,
							memory_order_relaxed);
}

void mesh_ejection_sweep(struct cluster *cluster, uint64_t now_ns)
{
	struct cluster_shared *shared = cluster->shared;
	uint64_t interval = (uint64_t)cluster->config->outlier.interval_ns;
	uint64_t due = atomic_load_explicit(&shared->sweep_ns, memory_order_relaxed), ticks, next;
	struct jury jury;

	if (now_ns < due) {
		hurry(shared, interval, due, now_ns);
		return;
	}
	ticks = due ? (now_ns - due) / interval + 1 : 0; /* 0: the detector begins */
	next = due ? due + ticks * interval : now_ns + interval;
	if (!atomic_compare_exchange_strong_explicit(&shared->sweep_ns, &due, next, memory_order_relaxed, memory_order_relaxed))
		return; /* another worker does it */
	if (!ticks)
		return;
	pthread_mutex_lock(&shared->lock);
	jury = jury_of(cluster, due);
	first_tick(&jury);
	if (ticks > 1)
		later_ticks(&jury, ticks - 1);
	pthread_mutex_unlock(&shared->lock);
}
