/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a route configuration: refused in words, or one that any request can be matched against. */
#include "fuzz/decoder.h"

#include "policy/redirect.h"

struct input {
	struct arena arena;
	struct headers headers;
	struct route_request request;
};

static void check_retry(const struct retry_config *retry)
{
	if (!retry)
		return;
	promise(retry->backoff_base_ns > 0 && retry->backoff_max_ns >= retry->backoff_base_ns && retry->per_try_timeout_ns >= 0);
	promise(!retry->reset_header_count || retry->reset_max_ns > 0);
	for (size_t i = 0; i < retry->reset_header_count; i++)
		promise(retry->reset_headers[i].name.len > 0);
	promise(!retry->previous_priorities || retry->previous_priorities_update > 0);
}

static void check_mirrors(const struct mirror_config *mirrors)
{
	for (size_t i = 0; mirrors && i < mirrors->count; i++) {
		const struct mirror_policy *policy = &mirrors->policies[i];

		promise((policy->cluster.len > 0) != (policy->cluster_header.len > 0));
		promise(policy->cluster_hash == mesh_slice_hash(policy->cluster));
		promise(policy->share.numerator <= policy->share.denominator);
		touch(policy->authority);
	}
}

/* What a certificate or a handshake says may be anything. */
static bool hostile(const struct format_facts *facts, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	static const struct mesh_slice texts[] = {{"a\r\nb: c", 7}, {" a", 2}, {"\0", 1}, {"", 0}, {NULL, 0}, {"/a", 2}};

	*value = texts[(unsigned)op % (sizeof(texts) / sizeof(texts[0]))];
	return true;
}

static void facts_of(const struct rewrite *rewrite, struct format_facts *facts)
{
	*facts = (struct format_facts){.method = MESH_SLICE("GET"), .start_ns = 1, .now_ns = UINT64_MAX, .ask = hostile};
}

static void sendable(const struct headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		promise(mesh_header_name_valid(headers->items[i].name) && mesh_header_value_valid(headers->items[i].value));
}

/* What comes out can be sent: no header, path or host ends what it stands in. */
static void rewrite(struct input *input, const struct route *route, const struct weighted_cluster *weighted)
{
	struct rewrite rewrite = {.route = route, .weighted = weighted, .facts = facts_of};
	struct mesh_slice authority = input->request.authority, path = input->request.path;
	struct headers headers = {0}, answer = {0};

	for (size_t i = 0; i < input->headers.count; i++)
		if (mesh_headers_add(&headers, &input->arena, input->headers.items[i].name, input->headers.items[i].value))
			return;
	if (!mesh_rewrite_request(&rewrite, &input->arena, &authority, &path, &headers)) {
		promise(path.data[0] == '/' && mesh_header_word_valid(path));
		promise(mesh_header_value_valid(authority) && authority.len > 0);
		sendable(&headers);
	}
	if (!mesh_rewrite_response(&rewrite, &input->arena, &answer))
		sendable(&answer);
}

static void answer_of(struct input *input, const struct route *route)
{
	struct rewrite rewrite = {.route = route, .facts = facts_of};
	struct headers headers = {0};
	struct mesh_slice body, type;

	if (route->kind == ROUTE_REDIRECT) {
		promise(mesh_header_value_valid(mesh_redirect_to(&rewrite, &input->request, &input->arena)));
	} else if (route->kind == ROUTE_DIRECT_RESPONSE &&
		   !mesh_direct_answer(&rewrite, &input->request, &input->arena, &headers, &body, &type)) {
		touch(body);
		sendable(&headers);
		promise(mesh_header_value_valid(type));
	}
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
	check_mirrors(route->mirrors);
	promise(!route->internal_redirect || route->internal_redirect->max <= 50);
	mesh_route_matches(&route->match, &input->request, &input->arena);
	answer_of(input, route);
	if (route->kind != ROUTE_CLUSTER)
		return;
	for (size_t i = 0; i < route->weighted_count; i++)
		total += route->weighted[i].weight;
	promise(total == route->weighted_total && (route->weighted_count == 0 || total > 0));
	name = mesh_route_cluster(route, &input->request, &hash, &weighted);
	touch(name);
	promise(!name.data || hash == mesh_slice_hash(name));
	promise(!weighted || weighted->cluster_header.len || mesh_slice_equal(weighted->name, name));
	rewrite(input, route, weighted);
}

static void check_host(struct input *input, const struct virtual_host *host)
{
	const struct route *hit;

	promise(host->name.len > 0 && host->domain_count > 0);
	check_retry(host->retry);
	for (size_t i = 0; i < host->route_count; i++)
		check_route(input, &host->routes[i]);
	hit = mesh_route_find(host, &input->request, &input->arena);
	promise(!hit || hit == host->tls_route || (hit >= host->routes && hit < host->routes + host->route_count));
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
