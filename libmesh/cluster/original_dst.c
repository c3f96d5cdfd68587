/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which addresses outside its configuration a cluster keeps endpoints for: those that were asked for of late or have
 * connections, within a bound. Refuses to know where an address comes from.
 */
#include "cluster/health.h"

static const uint64_t cleanup_default_ns = 5000000000u; /* Envoy's */
static const size_t addresses_max = 4096;               /* of one cluster, with one worker */

static bool idle(const struct endpoint *endpoint)
{
	return !endpoint->users && mesh_list_empty(&endpoint->dials);
}

/* All that nobody needs: as Envoy, what was chosen since the last round stays for one more. */
static void clean(struct cluster *cluster, bool all)
{
	MESH_LIST_EACH_SAFE(at, &cluster->endpoints) {
		struct endpoint *endpoint = MESH_CONTAINER(at, struct endpoint, link);

		if (!all) /* a round of its own: nobody is inside a pool */
			mesh_endpoint_clean_names(endpoint);
		if (!endpoint->by_address)
			continue;
		if (idle(endpoint) && (all || !endpoint->chosen))
			mesh_endpoint_retire(endpoint);
		else
			endpoint->chosen = false;
	}
}

static bool something_left(const struct cluster *cluster)
{
	if (cluster->addresses.count)
		return true;
	MESH_LIST_EACH(at, &cluster->endpoints)
		if (MESH_CONTAINER(at, struct endpoint, link)->named)
			return true;
	return false;
}

static void clean_due(struct loop_timer *timer)
{
	struct cluster *cluster = MESH_CONTAINER(timer, struct cluster, cleanup);

	clean(cluster, false);
	if (something_left(cluster))
		mesh_cluster_clean_later(cluster);
}

void mesh_cluster_clean_later(struct cluster *cluster)
{
	int64_t interval = cluster->config ? cluster->config->original_dst.cleanup_ns : 0;

	cluster->cleanup.due = clean_due;
	if (!mesh_timer_running(&cluster->cleanup)) /* without memory for it, it is started by who comes next */
		mesh_timer_start(cluster->env->loop, &cluster->cleanup,
				 interval > 0 ? (uint64_t)interval : cleanup_default_ns);
}

static const struct endpoint_config *of_address(struct endpoint_config *config, const struct address *address,
						char text[MESH_ADDRESS_TEXT_BYTES])
{
	*config = (struct endpoint_config){.address = *address, .port = mesh_address_port(address)};
	config->text = mesh_slice_make(text, mesh_address_text(address, text));
	return config;
}

static struct endpoint *endpoint_of(struct cluster *cluster, const struct endpoint_config *config, int *rc)
{
	struct endpoint *endpoint = mesh_map_get(&cluster->addresses, config->text);

	if (endpoint)
		return endpoint;
	if (cluster->addresses.count >= addresses_max)
		clean(cluster, true);
	*rc = MESH_ERROR_OVERFLOW;
	if (cluster->addresses.count >= addresses_max)
		return NULL;
	*rc = MESH_ERROR_NOMEM;
	endpoint = mesh_endpoint_new(cluster, config);
	if (!endpoint)
		return NULL;
	mesh_health_join(cluster, cluster->config, config, endpoint);
	endpoint->by_address = true;
	if (!mesh_map_put(&cluster->addresses, endpoint->shared->text, endpoint, NULL))
		return endpoint;
	mesh_endpoint_retire(endpoint);
	return NULL;
}

int mesh_cluster_pick_address(struct cluster *cluster, const struct address *address, struct endpoint **result,
			      struct why *why)
{
	struct endpoint_config config;
	char text[MESH_ADDRESS_TEXT_BYTES];
	struct endpoint *endpoint;
	int rc = 0;

	endpoint = endpoint_of(cluster, of_address(&config, address, text), &rc);
	if (!endpoint)
		return mesh_why(why, rc, "endpoint %s: %s", text,
				rc == MESH_ERROR_OVERFLOW ? "too many other addresses are in use" : "no memory");
	endpoint->choice = mesh_cluster_transport(cluster->config, &config);
	endpoint->chosen = true;
	endpoint->users++;
	mesh_cluster_clean_later(cluster);
	*result = endpoint;
	return 0;
}

void mesh_cluster_refresh_addresses(struct cluster *cluster)
{
	struct endpoint_config config;
	char text[MESH_ADDRESS_TEXT_BYTES];

	MESH_MAP_EACH(slot, &cluster->addresses) {
		struct endpoint *endpoint = slot->value;

		endpoint->choice =
			mesh_cluster_transport(cluster->config, of_address(&config, &endpoint->address, text));
	}
}
