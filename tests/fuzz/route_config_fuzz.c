/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a route configuration: refused in words, or one that any request can be matched against. */
#include "fuzz/decoder.h"

struct input {
	struct arena arena;
	struct headers headers;
	struct route_request request;
};

static void check_retry(const struct retry_config *retry)
{
	if (retry)
		promise(retry->backoff_base_ns > 0 && retry->backoff_max_ns >= retry->backoff_base_ns &&
			retry->per_try_timeout_ns >= 0);
}

static void check_route(struct input *input, const struct route *route)
{
	const struct weighted_cluster *weighted = NULL;
	struct mesh_slice name;
	uint64_t total = 0;
	uint32_t hash = 0;

	promise(route->kind != ROUTE_FAIL_CLOSED || route->fail_reason.len > 0);
	promise(route->timeout_ns >= -1);
	check_retry(route->retry);
	mesh_route_matches(&route->match, &input->request, &input->arena);
	if (route->kind != ROUTE_CLUSTER)
		return;
	for (size_t i = 0; i < route->weighted_count; i++)
		total += route->weighted[i].weight;
	promise(total == route->weighted_total && (route->weighted_count == 0 || total > 0));
	name = mesh_route_cluster(route, &input->request, &hash, &weighted);
	touch(name);
	promise(!name.data || hash == mesh_slice_hash(name));
	promise(!weighted || mesh_slice_equal(weighted->name, name));
}

static void check_host(struct input *input, const struct virtual_host *host)
{
	const struct route *hit;

	promise(host->name.len > 0 && host->domain_count > 0);
	check_retry(host->retry);
	for (size_t i = 0; i < host->route_count; i++)
		check_route(input, &host->routes[i]);
	hit = mesh_route_find(host, &input->request, &input->arena);
	promise(!hit || (hit >= host->routes && hit < host->routes + host->route_count));
}

static void check(struct input *input, const struct route_config *routes)
{
	promise(!routes->any || routes->host_count > 0);
	for (size_t i = 0; i < routes->host_count; i++) {
		const struct virtual_host *host = &routes->hosts[i];

		check_host(input, host);
		for (size_t j = 0; j < host->domain_count; j++) {
			const struct virtual_host *found =
				mesh_route_find_host(routes, host->domains[j], &input->arena);

			touch(host->domains[j]);
			promise(!found || (found >= routes->hosts && found < routes->hosts + routes->host_count));
		}
	}
	mesh_route_find_host(routes, input->request.authority, &input->arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_config *routes;
	struct input input;
	struct decode d;

	if (size > SIZE_LIMIT)
		return 0;
	decoder_init(&d);
	mesh_arena_init(&input.arena, &mesh_mem_default, 0);
	request_init(&input.request, &input.headers, &input.arena);
	routes = mesh_decode_routes(&d, mesh_slice_make(data, size));
	decoder_check(&d, routes);
	if (routes)
		check(&input, routes);
	mesh_config_object_release(routes);
	mesh_arena_free(&input.arena);
	mesh_decode_free(&d);
	return 0;
}
