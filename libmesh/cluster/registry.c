/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long shared cluster state lives: as long as some worker uses it. All of it is cold path under locks; the
 * warm path only touches the atomics inside. Knows nothing of configuration, balancing or connections.
 */
#include "cluster/registry.h"

#include <mesh/error.h>

#include "cluster/admin.h"

int mesh_registry_init(struct registry *registry, const struct mesh_mem *mem)
{
	registry->mem = mem;
	mesh_map_init(&registry->clusters, mem);
	return pthread_mutex_init(&registry->lock, NULL) ? MESH_ERROR_SYSTEM : 0;
}

void mesh_registry_destroy(struct registry *registry)
{
	mesh_map_free(&registry->clusters);
	pthread_mutex_destroy(&registry->lock);
}

static struct cluster_shared *shared_new(struct registry *registry, struct mesh_slice name)
{
	struct cluster_shared *shared = mesh_mem_zalloc(registry->mem, sizeof(*shared));

	if (!shared)
		return NULL;
	shared->registry = registry;
	shared->name = mesh_slice_make(mesh_mem_text(registry->mem, name), name.len);
	mesh_map_init(&shared->endpoints, registry->mem);
	mesh_list_init(&shared->stats);
	shared->levels[0] = shared->levels[1] = (struct outlier_level){-1, -1};
	if (shared->name.data && !pthread_mutex_init(&shared->lock, NULL)) {
		if (!mesh_map_put(&registry->clusters, shared->name, shared, NULL))
			return shared;
		pthread_mutex_destroy(&shared->lock);
	}
	mesh_mem_free(registry->mem, (char *)shared->name.data);
	mesh_mem_free(registry->mem, shared);
	return NULL;
}

struct cluster_shared *mesh_cluster_shared_get(struct registry *registry, struct mesh_slice name)
{
	struct cluster_shared *shared;

	pthread_mutex_lock(&registry->lock);
	shared = mesh_map_get(&registry->clusters, name);
	if (!shared)
		shared = shared_new(registry, name);
	if (shared)
		shared->users++;
	pthread_mutex_unlock(&registry->lock);
	return shared;
}

void mesh_cluster_shared_release(struct cluster_shared *shared)
{
	struct registry *registry;
	bool last;

	if (!shared)
		return;
	registry = shared->registry;
	pthread_mutex_lock(&registry->lock);
	last = --shared->users == 0;
	if (last)
		mesh_map_remove(&registry->clusters, shared->name);
	pthread_mutex_unlock(&registry->lock);
	if (!last)
		return;
	mesh_map_free(&shared->endpoints);
	pthread_mutex_destroy(&shared->lock);
	mesh_mem_free(registry->mem, (char *)shared->name.data);
	mesh_mem_free(registry->mem, shared);
}

static struct endpoint_shared *endpoint_shared_new(struct cluster_shared *shared, struct mesh_slice text)
{
	const struct mesh_mem *mem = shared->registry->mem;
	struct endpoint_shared *endpoint = mesh_mem_zalloc(mem, sizeof(*endpoint) + text.len + 1);

	if (!endpoint)
		return NULL;
	memcpy(endpoint + 1, text.data, text.len);
	endpoint->text = mesh_slice_make(endpoint + 1, text.len);
	mesh_list_init(&endpoint->tallies);
	endpoint->success_rate[0] = endpoint->success_rate[1] = -1;
	if (!mesh_map_put(&shared->endpoints, endpoint->text, endpoint, NULL))
		return endpoint;
	mesh_mem_free(mem, endpoint);
	return NULL;
}

struct endpoint_shared *mesh_endpoint_shared_get(struct cluster_shared *shared, struct mesh_slice text)
{
	struct endpoint_shared *endpoint;

	pthread_mutex_lock(&shared->lock);
	endpoint = mesh_map_get(&shared->endpoints, text);
	if (!endpoint)
		endpoint = endpoint_shared_new(shared, text);
	if (endpoint)
		endpoint->users++;
	pthread_mutex_unlock(&shared->lock);
	return endpoint;
}

void mesh_endpoint_shared_release(struct cluster_shared *shared, struct endpoint_shared *endpoint)
{
	bool last;

	if (!endpoint)
		return;
	pthread_mutex_lock(&shared->lock);
	last = --endpoint->users == 0;
	if (last)
		mesh_map_remove(&shared->endpoints, endpoint->text);
	pthread_mutex_unlock(&shared->lock);
	if (last)
		mesh_mem_free(shared->registry->mem, endpoint);
}

struct outlier_volume mesh_endpoint_volume(const struct endpoint_shared *endpoint, size_t side)
{
	struct outlier_volume sum = endpoint->gone[side];

	MESH_LIST_EACH(at, &endpoint->tallies) {
		const struct endpoint_tally *tally = MESH_CONTAINER(at, struct endpoint_tally, link);

		sum.total += mesh_counter_read(&tally->total[side]);
		sum.good += mesh_counter_read(&tally->good[side]);
	}
	return sum;
}

bool mesh_cluster_had_traffic(struct cluster_shared *shared)
{
	bool any;

	pthread_mutex_lock(&shared->lock);
	any = mesh_counter_read(&shared->retired.cx_total);
	MESH_LIST_EACH(at, &shared->stats)
		any = any || mesh_counter_read(&MESH_CONTAINER(at, struct cluster_stats, link)->cx_total);
	pthread_mutex_unlock(&shared->lock);
	return any;
}

void mesh_cluster_stats_add(struct cluster_shared *shared, struct cluster_stats *stats)
{
	pthread_mutex_lock(&shared->lock);
	mesh_list_push(&shared->stats, &stats->link);
	pthread_mutex_unlock(&shared->lock);
}

static void stats_sum(struct cluster_stats *to, const struct cluster_stats *from)
{
#define X(member, label) mesh_counter_add(&to->member, mesh_counter_read(&from->member));
	MESH_CLUSTER_COUNTERS(X)
#undef X
}

void mesh_cluster_stats_retire(struct cluster_shared *shared, struct cluster_stats *stats)
{
	pthread_mutex_lock(&shared->lock);
	mesh_list_remove(&stats->link);
	stats_sum(&shared->retired, stats);
	pthread_mutex_unlock(&shared->lock);
}

static void cluster_sum(struct cluster_shared *shared, struct cluster_stats *total)
{
	memset(total, 0, sizeof(*total));
	pthread_mutex_lock(&shared->lock);
	stats_sum(total, &shared->retired);
	MESH_LIST_EACH(at, &shared->stats)
		stats_sum(total, MESH_CONTAINER(at, struct cluster_stats, link));
	pthread_mutex_unlock(&shared->lock);
}

static int write_cluster_stats(struct cluster_shared *shared, struct buf *out)
{
	struct cluster_stats total;
	int rc = 0;

	cluster_sum(shared, &total);
#define X(member, label) \
	if (!rc) \
		rc = mesh_buf_printf(out, "cluster.%.*s." label ": %llu\n", (int)shared->name.len, shared->name.data, \
				     (unsigned long long)mesh_counter_read(&total.member));
	MESH_CLUSTER_COUNTERS(X)
#undef X
	if (!rc)
		rc = mesh_buf_printf(out,
				     "cluster.%.*s.upstream_rq_active: %u\ncluster.%.*s.upstream_rq_pending_active: %u\n"
				     "cluster.%.*s.upstream_cx_active: %u\n",
				     (int)shared->name.len, shared->name.data,
				     atomic_load(&shared->breaker.requests) + atomic_load(&shared->breaker_high.requests),
				     (int)shared->name.len, shared->name.data,
				     atomic_load(&shared->breaker.pending) + atomic_load(&shared->breaker_high.pending),
				     (int)shared->name.len, shared->name.data,
				     atomic_load(&shared->breaker.connections) +
					     atomic_load(&shared->breaker_high.connections));
	if (!rc)
		rc = mesh_breaker_stats(shared, out);
	pthread_mutex_lock(&shared->lock);
	if (!rc)
		rc = mesh_cluster_write_health_stats(shared, out);
	pthread_mutex_unlock(&shared->lock);
	return rc;
}

int mesh_registry_stats(struct registry *registry, struct buf *out)
{
	int rc = 0;

	pthread_mutex_lock(&registry->lock);
	MESH_MAP_EACH(slot, &registry->clusters)
		if (!rc)
			rc = write_cluster_stats(slot->value, out);
	pthread_mutex_unlock(&registry->lock);
	return rc;
}
