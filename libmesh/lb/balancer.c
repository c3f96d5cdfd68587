/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides by which algorithm and over which endpoints a cluster is balanced: one plan of all, or one for each subset.
 * Knows neither clock nor socket; health is what the cluster says it is.
 */
#include "lb/lb.h"

#include <mesh/error.h>

#include "lb/subset.h"

struct balancer {
	const struct mesh_mem *mem;
	const struct lb_ops *ops;
	struct lb_sources from;
	struct rand rand;
	struct lb_plan *plan;       /* NULL where there are subsets */
	uint8_t *health;            /* by endpoint: what the plan was made of */
	bool stale;                 /* the plan is older than that, for want of memory */
	struct lb_subsets *subsets; /* NULL where there are none */
	bool fail_on_panic;
	bool panicking; /* the last pick was made in panic */
	bool moved;     /* the local cluster is another since the last update */
};

static const struct lb_ops *hashing_ops(const struct cluster_config *cluster)
{
	if (cluster->balance.hash_balance_factor)
		return &mesh_lb_bounded;
	return cluster->lb == LB_RING_HASH ? &mesh_lb_ring_hash : &mesh_lb_maglev;
}

static const struct lb_ops *ops_of(const struct cluster_config *cluster, bool by_latency)
{
	bool warming = cluster->balance.slow_start.window_ns > 0;

	switch (cluster->lb) {
	case LB_LEAST_REQUEST:
		if (by_latency)
			return &mesh_lb_peak_ewma;
		if (warming)
			return &mesh_lb_slow_start;
		return cluster->balance.full_scan ? &mesh_lb_least_scan : &mesh_lb_least_request;
	case LB_RANDOM:
		return &mesh_lb_random;
	case LB_RING_HASH:
	case LB_MAGLEV:
		return hashing_ops(cluster);
	default:
		return warming ? &mesh_lb_slow_start : &mesh_lb_round_robin;
	}
}

/* Notes the health there is; whether it is another than before. */
static bool look(struct balancer *balancer)
{
	bool other = false;

	for (size_t i = 0; i < balancer->from.count; i++) {
		uint8_t now = mesh_lb_health(&balancer->from.endpoints[i]);

		other = other || now != balancer->health[i];
		balancer->health[i] = now;
	}
	return other;
}

static int new_plan(struct balancer *balancer)
{
	struct lb_plan *plan;
	int rc = mesh_lb_plan_new(balancer->mem, balancer->ops, &balancer->from, &balancer->rand, &plan);

	balancer->stale = rc < 0;
	if (rc < 0)
		return rc;
	mesh_lb_plan_free(balancer->plan);
	balancer->plan = plan;
	return MESH_OK;
}

static int first_plan(struct balancer *balancer)
{
	balancer->health = mesh_mem_array(balancer->mem, balancer->from.count ? balancer->from.count : 1, 1);
	if (!balancer->health)
		return MESH_ERROR_NOMEM;
	look(balancer);
	return new_plan(balancer);
}

int mesh_balancer_new(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct endpoint_set *set,
		      const struct lb_endpoint *endpoints, size_t count, uint64_t seed, struct balancer **balancer)
{
	struct balancer *made = mesh_mem_zalloc(mem, sizeof(*made));
	int rc;

	*balancer = NULL;
	if (!made)
		return MESH_ERROR_NOMEM;
	made->mem = mem;
	made->ops = ops_of(cluster, count && endpoints[0].latency);
	made->from = (struct lb_sources){.cluster = cluster, .set = set, .endpoints = endpoints, .count = count};
	made->fail_on_panic = cluster->fail_traffic_on_panic && !made->ops->consistent;
	mesh_rand_seed(&made->rand, seed);
	if (cluster->balance.subset)
		rc = mesh_lb_subsets_new(mem, made->ops, &made->from, &made->rand, &made->subsets);
	else
		rc = first_plan(made);
	if (rc < 0) {
		mesh_balancer_free(made);
		return rc;
	}
	*balancer = made;
	return MESH_OK;
}

void mesh_balancer_free(struct balancer *balancer)
{
	if (!balancer)
		return;
	mesh_lb_subsets_free(balancer->subsets);
	mesh_lb_plan_free(balancer->plan);
	mesh_mem_free(balancer->mem, balancer->health);
	mesh_mem_free(balancer->mem, balancer);
}

void mesh_balancer_local(struct balancer *balancer, const struct lb_local *local)
{
	balancer->from.local = *local;
	balancer->moved = true;
}

/* A ring or a table is much work, and mostly all are as healthy as they were. */
int mesh_balancer_update(struct balancer *balancer)
{
	int rc = MESH_OK;

	if (balancer->subsets)
		rc = mesh_lb_subsets_update(balancer->subsets, &balancer->from, &balancer->rand, balancer->moved);
	else if (look(balancer) || balancer->moved || balancer->stale)
		rc = new_plan(balancer);
	if (!rc)
		balancer->moved = false;
	return rc;
}

int64_t mesh_balancer_pick(struct balancer *balancer, const struct lb_choice *choice)
{
	struct lb_draw draw = {.rand = &balancer->rand,
			       .choice = choice,
			       .endpoints = balancer->from.endpoints,
			       .fail_on_panic = balancer->fail_on_panic};
	int64_t index;

	index = balancer->plan ? mesh_lb_plan_pick(balancer->plan, &draw)
			       : mesh_lb_subsets_pick(balancer->subsets, &draw);
	balancer->panicking = draw.panicking;
	return index;
}

const char *mesh_balancer_name(const struct balancer *balancer)
{
	return balancer->ops->name;
}

bool mesh_balancer_panicking(const struct balancer *balancer)
{
	return balancer->panicking;
}
