/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a connection is made that nobody needs yet. A limit that is reached or an endpoint that does not answer ends
 * it until the next request: what was not asked for is not worth an error. Refuses to know requests.
 */
#include "cluster/preconnect.h"

#include "cluster/connection.h"

static const unsigned opened_max = 3; /* because of one request, as in Envoy */
static const uint64_t warm_again_ns = 1000000000ULL;

/* What there is to a pool, or to all of a cluster. */
struct provision {
	uint64_t waiting, active;
	uint64_t room; /* on connections that are there or opening */
};

static void add_pool(struct provision *sum, const struct pool *pool)
{
	sum->waiting += pool->waiter_count;
	sum->room += pool->opening_room;
	MESH_LIST_EACH(at, &pool->idle)
		sum->room += mesh_mux_capacity(MESH_CONTAINER(at, struct connection, link)->mux);
	MESH_LIST_EACH(at, &pool->sharing) {
		const struct connection *connection = MESH_CONTAINER(at, struct connection, link);

		sum->active += connection->mux->active;
		if (!connection->expected) /* else it is among those that are opening */
			sum->room += mesh_mux_capacity(connection->mux);
	}
	MESH_LIST_EACH(at, &pool->busy)
		sum->active += MESH_CONTAINER(at, struct connection, link)->mux->active;
}

/* Envoy's rule; `coming`: requests that are known of and in none of the sums. */
static bool short_of(const struct provision *sum, double ratio, unsigned coming)
{
	return (double)(sum->waiting + sum->active + coming) * ratio > (double)(sum->room + sum->active);
}

void mesh_pool_preconnect(struct pool *pool, const struct connection *taken)
{
	double ratio = pool->endpoint->cluster->config->preconnect;

	for (unsigned i = 0; i < opened_max; i++) {
		struct provision sum = {0};
		struct why why;

		add_pool(&sum, pool);
		if (taken) { /* it has not begun on it */
			sum.active++;
			if (taken->shares && sum.room)
				sum.room--;
		}
		if (!short_of(&sum, ratio, 0) || pool->endpoint->retired || mesh_connection_open(pool, &why))
			return;
	}
}

static bool predictable(const struct cluster *cluster, const struct lb_choice *choice)
{
	enum lb_kind lb = cluster->config->lb;

	return cluster->config->preconnect_ahead > 1 && lb != LB_RING_HASH && lb != LB_MAGLEV &&
	       lb != LB_CLUSTER_PROVIDED &&
	       (!choice || (!choice->avoid_count && !choice->subset_count && !choice->tried_priority_count));
}

int64_t mesh_cluster_next(struct cluster *cluster, const struct lb_choice *choice)
{
	while (cluster->ahead_count && predictable(cluster, choice)) {
		uint32_t index = cluster->ahead[0];

		cluster->ahead_count--;
		memmove(cluster->ahead, cluster->ahead + 1, cluster->ahead_count * sizeof(cluster->ahead[0]));
		if (cluster->lb[index].healthy && !cluster->lb[index].excluded)
			return index;
	}
	return mesh_balancer_pick(cluster->balancer, choice);
}

static void sum_cluster(struct provision *sum, const struct cluster *cluster, enum pool_protocol protocol)
{
	for (size_t i = 0; i < cluster->count; i++)
		add_pool(sum, &cluster->active[i]->pools[protocol]);
}

void mesh_cluster_preconnect(struct cluster *cluster, bool high_priority, enum pool_protocol protocol)
{
	const unsigned room = sizeof(cluster->ahead) / sizeof(cluster->ahead[0]);
	double ratio = cluster->config->preconnect_ahead;

	if (high_priority || !predictable(cluster, NULL)) /* its pools are of the few */
		return;
	while (cluster->ahead_count < room) {
		struct lb_choice choice = {.now_ns = mesh_loop_now_ns(cluster->env->loop)};
		struct provision all = {0}, own = {0};
		struct endpoint *endpoint;
		struct why why;
		int64_t index;

		sum_cluster(&all, cluster, protocol);
		if (!short_of(&all, ratio, 1))
			return;
		index = mesh_balancer_pick(cluster->balancer, &choice);
		if (index < 0)
			return;
		cluster->ahead[cluster->ahead_count++] = (uint32_t)index;
		endpoint = cluster->active[index];
		add_pool(&own, &endpoint->pools[protocol]);
		if (!short_of(&own, ratio, 1) || endpoint->retired ||
		    mesh_connection_open(&endpoint->pools[protocol], &why))
			return;
	}
}

static unsigned connections_of(const struct pool *pool)
{
	const struct link *lists[] = {&pool->idle, &pool->sharing, &pool->busy, &pool->opening};
	unsigned count = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		MESH_LIST_EACH(at, lists[i])
			count++;
	return count;
}

void mesh_cluster_warm(struct cluster *cluster, enum pool_protocol protocol)
{
	uint64_t now = mesh_loop_now_ns(cluster->env->loop);
	struct why why;

	if (cluster->warmed_ns && now < cluster->warmed_ns + warm_again_ns)
		return;
	cluster->warmed_ns = now;
	for (size_t i = 0; i < cluster->count; i++) {
		struct pool *pool = &cluster->active[i]->pools[protocol];

		if (!cluster->lb[i].healthy || cluster->lb[i].excluded)
			continue;
		for (unsigned have = connections_of(pool); have < cluster->env->warm; have++)
			if (mesh_connection_open(pool, &why))
				break;
	}
}
