/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of connections that are good for one server name alone: what was secured for one must not carry a request for
 * another; and those for requests of high priority, which wait for no others. Decides when such a set of pools is made and when it goes. Refuses to know where the name comes from.
 */
#include "cluster/pool.h"

#include "cluster/cluster.h"
#include "cluster/dial.h"

static const size_t names_max = 1024; /* of one endpoint, with one worker */

struct named_set {
	struct map pools; /* struct named_pools */
};

static void pools_free(struct endpoint *endpoint, struct named_pools *named)
{
	const struct mesh_mem *mem = endpoint->cluster->env->mem;

	mesh_map_remove(&endpoint->named->pools, named->key);
	for (int i = 0; i < POOL_PROTOCOLS; i++)
		mesh_pool_destroy(&named->pools[i]);
	mesh_resumption_clear(&named->resumption);
	mesh_mem_free(mem, named);
}

static void set_free(struct endpoint *endpoint)
{
	mesh_map_free(&endpoint->named->pools);
	mesh_mem_free(endpoint->cluster->env->mem, endpoint->named);
	endpoint->named = NULL;
}

static struct named_pools *pools_new(struct endpoint *endpoint, struct mesh_slice name, bool high_priority)
{
	struct named_pools *named = mesh_mem_zalloc(endpoint->cluster->env->mem, sizeof(*named) + name.len + 1);

	if (!named)
		return NULL;
	named->text[0] = high_priority ? 'h' : 'd';
	if (name.len)
		memcpy(named->text + 1, name.data, name.len);
	named->key = mesh_slice_make(named->text, name.len + 1);
	named->name = mesh_slice_make(named->text + 1, name.len);
	for (int i = 0; i < POOL_PROTOCOLS; i++) {
		mesh_pool_init(&named->pools[i], endpoint, (enum pool_protocol)i);
		named->pools[i].named = named;
		named->pools[i].high_priority = high_priority;
	}
	if (!mesh_map_put(&endpoint->named->pools, named->key, named, NULL))
		return named;
	mesh_mem_free(endpoint->cluster->env->mem, named);
	return NULL;
}

static bool make_set(struct endpoint *endpoint)
{
	if (endpoint->named)
		return true;
	endpoint->named = mesh_mem_zalloc(endpoint->cluster->env->mem, sizeof(*endpoint->named));
	if (endpoint->named)
		mesh_map_init(&endpoint->named->pools, endpoint->cluster->env->mem);
	return endpoint->named;
}

static struct named_pools *find(struct endpoint *endpoint, struct mesh_slice name, bool high_priority)
{
	char key[1 + 256];

	key[0] = high_priority ? 'h' : 'd';
	if (name.len)
		memcpy(key + 1, name.data, name.len);
	return mesh_map_get(&endpoint->named->pools, mesh_slice_make(key, name.len + 1));
}

int mesh_endpoint_pool(struct endpoint *endpoint, struct mesh_slice name, bool high_priority,
		       enum pool_protocol protocol, struct pool **pool, struct why *why)
{
	struct named_pools *named;

	if (!name.len && !high_priority) {
		*pool = &endpoint->pools[protocol];
		return 0;
	}
	if (!make_set(endpoint))
		return mesh_why(why, MESH_ERROR_NOMEM, "no memory for a pool");
	if (name.len > 255)
		return mesh_why(why, MESH_ERROR_INVALID, "a server name of %zu bytes is too long", name.len);
	named = find(endpoint, name, high_priority);
	if (!named && endpoint->named->pools.count >= names_max)
		return mesh_why(why, MESH_ERROR_OVERFLOW, "%.*s: %zu other server names are in use", (int)name.len,
				name.data, names_max);
	if (!named)
		named = pools_new(endpoint, name, high_priority);
	mesh_cluster_clean_later(endpoint->cluster);
	if (!named)
		return mesh_why(why, MESH_ERROR_NOMEM, "no memory for a pool");
	named->chosen = true;
	*pool = &named->pools[protocol];
	return 0;
}

static bool idle(const struct named_pools *named)
{
	for (int i = 0; i < POOL_PROTOCOLS; i++)
		if (named->pools[i].waiter_count)
			return false;
	return !named->connections;
}

void mesh_endpoint_clean_names(struct endpoint *endpoint)
{
	size_t left = 0;

	if (!endpoint->named)
		return;
	for (size_t at = 0; at < endpoint->named->pools.room;) {
		struct named_pools *named = endpoint->named->pools.slots[at].value;

		if (named && idle(named) && !named->chosen) {
			pools_free(endpoint, named); /* and another may have moved to this place */
			continue;
		}
		if (named)
			named->chosen = false;
		left += named != NULL;
		at++;
	}
	if (!left)
		set_free(endpoint);
}

void mesh_endpoint_drain_names(struct endpoint *endpoint)
{
	if (!endpoint->named)
		return;
	MESH_MAP_EACH(slot, &endpoint->named->pools)
		for (int i = 0; i < POOL_PROTOCOLS; i++)
			mesh_pool_drain(&((struct named_pools *)slot->value)->pools[i]);
}

void mesh_endpoint_free_names(struct endpoint *endpoint)
{
	if (!endpoint->named)
		return;
	for (size_t at = 0; at < endpoint->named->pools.room;)
		if (endpoint->named->pools.slots[at].value)
			pools_free(endpoint, endpoint->named->pools.slots[at].value);
		else
			at++;
	set_free(endpoint);
}
