/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round robin and least request while endpoints warm up: by weighted turns whose weights grow with the time an endpoint has
 * been there. Whether any is new is decided with the first pick after a change, as Envoy decides it with the change; when
 * none is, the plain algorithm goes on. Knows time only as it is told.
 */
#include "lb/slow_start.h"

#include <math.h>

#include <mesh/error.h>

#include "lb/edf.h"

#define NS_PER_MS 1000000ull

struct warming {
	const struct lb_ops *plain;
	void *plain_state;
	const struct slow_start_config *config;
	double bias;   /* least request's; 0: load does not count */
	uint32_t skip; /* turns to begin with: workers must not all begin with the same endpoint */
	bool decided;
	struct edf edf; /* none: plain */
	struct edf_entry entries[];
};

/* Whole milliseconds from then to now, 0 when it is yet to come. */
static uint64_t ms_between(uint64_t since_ns, uint64_t now_ns)
{
	return now_ns > since_ns ? (now_ns - since_ns) / NS_PER_MS : 0;
}

double mesh_slow_start_factor(const struct slow_start_config *config, const struct lb_endpoint *endpoint,
			      uint64_t now_ns)
{
	uint64_t window = (uint64_t)config->window_ns / NS_PER_MS, age = ms_between(endpoint->since_ns, now_ns);
	double factor;

	if (!endpoint->since_ns || !endpoint->healthy || age >= window)
		return 1;
	factor = (double)(age ? age : 1) / (double)window;
	if (config->aggression > 0 && config->aggression != 1 && factor != 1)
		factor = pow(factor, 1 / config->aggression);
	return factor > config->least ? factor : config->least;
}

static double weight_of(const struct warming *warming, const struct lb_group *group, uint32_t member, uint64_t now_ns)
{
	double factor = mesh_slow_start_factor(warming->config, &group->endpoints[group->members[member]], now_ns);
	double weight = mesh_lb_least_weight(warming->bias, group, member) * factor;

	return weight > 1e-9 ? weight : 1e-9; /* deadlines stay finite */
}

static bool any_new(const struct warming *warming, const struct lb_group *group, uint64_t now_ns)
{
	uint64_t window = (uint64_t)warming->config->window_ns / NS_PER_MS;

	for (size_t i = 0; i < group->count; i++) {
		const struct lb_endpoint *endpoint = &group->endpoints[group->members[i]];

		if (endpoint->since_ns && endpoint->healthy && ms_between(endpoint->since_ns, now_ns) <= window)
			return true;
	}
	return false;
}

static uint32_t take_turn(struct warming *warming, const struct lb_group *group, uint64_t now_ns)
{
	uint32_t member = mesh_edf_first(&warming->edf);

	mesh_edf_renew(&warming->edf, weight_of(warming, group, member, now_ns));
	return member;
}

static void decide(struct warming *warming, const struct lb_group *group, uint64_t now_ns)
{
	warming->decided = true;
	if (group->count < 2 || !any_new(warming, group, now_ns))
		return;
	for (uint32_t i = 0; i < group->count; i++)
		mesh_edf_add(&warming->edf, i, weight_of(warming, group, i, now_ns));
	for (uint32_t i = 0; i < warming->skip; i++)
		take_turn(warming, group, now_ns);
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	struct warming *warming = state;

	warming->plain->destroy(mem, warming->plain_state);
	mesh_mem_free(mem, warming);
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	struct warming *warming = mesh_mem_zalloc(mem, sizeof(*warming) + group->count * sizeof(warming->entries[0]));
	bool least = cluster->lb == LB_LEAST_REQUEST;
	int rc;

	if (!warming)
		return MESH_ERROR_NOMEM;
	warming->config = &cluster->balance.slow_start;
	warming->plain = !least                       ? &mesh_lb_round_robin
			 : cluster->balance.full_scan ? &mesh_lb_least_scan
						      : &mesh_lb_least_request;
	warming->bias = least && cluster->least_request_bias > 0 ? cluster->least_request_bias : 0;
	warming->skip = (uint32_t)mesh_rand_below(rand, group->count);
	mesh_edf_init(&warming->edf, warming->entries);
	rc = warming->plain->prepare(mem, cluster, group, rand, &warming->plain_state);
	if (rc < 0)
		mesh_mem_free(mem, warming);
	else
		*state = warming;
	return rc;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	struct warming *warming = state;

	if (!warming->decided)
		decide(warming, group, key->now_ns);
	if (warming->edf.count)
		return take_turn(warming, group, key->now_ns);
	return warming->plain->pick(warming->plain_state, group, rand, key);
}

const struct lb_ops mesh_lb_slow_start = {"slow_start", false, prepare, pick, destroy};
