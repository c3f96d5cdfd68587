/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a listener: refused in words, or one where a chain can be found for a connection, its rules asked and
 * its inline routes searched. What is not understood closes, with a reason.
 */
#include "fuzz/decoder.h"
#include "policy/chain_match.h"
#include "policy/rbac.h"

struct input {
	struct arena arena;
	struct headers headers;
	struct route_request request;
	struct address here, there;
};

static void check_authz(struct input *input, const struct authz_config *authz, bool http)
{
	struct mesh_slice uri = MESH_SLICE("spiffe://cluster.local/ns/default/sa/client");
	struct authz_request request = {.http = http ? &input->request : NULL,
					.authenticated = true,
					.uri_sans = &uri,
					.uri_san_count = 1,
					.source = &input->there,
					.direct = &input->there,
					.destination = &input->here,
					.server_name = MESH_SLICE("outbound_.9080_._.reviews")};
	struct authz_result result = {.allowed = false};

	mesh_rbac_check(authz, &request, &input->arena, &result);
	promise(result.allowed || authz->rules);
	touch(result.policy);
}

static void check_http(struct input *input, const struct http_config *http)
{
	enum http_filter_kind last;

	promise(http->filter_count > 0);
	last = http->filters[http->filter_count - 1].kind;
	promise(last == HTTP_FILTER_ROUTER || last == HTTP_FILTER_FAIL_CLOSED);
	promise((http->route_name.data != NULL) != (http->inline_routes != NULL));
	for (size_t i = 0; i < http->filter_count; i++) {
		const struct http_filter *filter = &http->filters[i];

		promise(filter->kind != HTTP_FILTER_FAIL_CLOSED || filter->reason.len > 0);
		promise(filter->kind != HTTP_FILTER_AUTHZ || filter->authz);
		if (filter->kind == HTTP_FILTER_AUTHZ)
			check_authz(input, filter->authz, true);
	}
	for (size_t i = 0; http->inline_routes && i < http->inline_routes->host_count; i++)
		mesh_route_find(&http->inline_routes->hosts[i], &input->request, &input->arena);
}

static void check_chain(struct input *input, const struct chain *chain)
{
	uint64_t total = 0;

	promise(chain->kind != CHAIN_FAIL_CLOSED || chain->reason.len > 0);
	promise(chain->transport_timeout_ns >= 0);
	if (chain->kind == CHAIN_FAIL_CLOSED)
		return;
	promise(chain->kind != CHAIN_HTTP || chain->http);
	promise(!chain->tls || !chain->tls->require_client_certificate || chain->tls->roots_name.len > 0);
	for (size_t i = 0; i < chain->authz_count; i++)
		check_authz(input, &chain->authz[i], false);
	for (size_t i = 0; i < chain->tcp_weighted_count; i++)
		total += chain->tcp_weighted[i].weight;
	promise(total == chain->tcp_weighted_total);
	if (chain->kind == CHAIN_HTTP)
		check_http(input, chain->http);
}

static void check(struct input *input, const struct listener_config *listener)
{
	static const uint16_t ports[] = {9080, 15006, 8080};
	struct mesh_slice alpn[] = {MESH_SLICE("istio"), MESH_SLICE("http/1.1")};
	struct chain_request request = {.destination = &input->here,
					.source = &input->there,
					.alpn = alpn,
					.alpn_count = 2,
					.server_name =
						MESH_SLICE("outbound_.9080_._.reviews.default.svc.cluster.local")};

	promise(listener->object.item.name.len > 0);
	for (size_t i = 0; i < listener->chain_count; i++)
		check_chain(input, &listener->chains[i]);
	if (listener->default_chain)
		check_chain(input, listener->default_chain);
	for (size_t i = 0; i < 2 * sizeof(ports) / sizeof(ports[0]); i++) {
		const struct chain *chain;

		request.port = ports[i / 2];
		request.tls = i & 1;
		chain = mesh_chain_find(listener, &request);
		promise(!chain || chain == listener->default_chain ||
			(chain >= listener->chains && chain < listener->chains + listener->chain_count));
		mesh_chain_looks_for(listener, request.port);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct listener_config *listener;
	struct input input;
	struct decode d;

	if (size > SIZE_LIMIT)
		return 0;
	decoder_init(&d);
	mesh_arena_init(&input.arena, &mesh_mem_default, 0);
	request_init(&input.request, &input.headers, &input.arena);
	promise(!mesh_address_parse(&input.here, MESH_SLICE("10.244.0.16"), 9080));
	promise(!mesh_address_parse(&input.there, MESH_SLICE("10.244.0.17"), 40000));
	listener = mesh_decode_listener(&d, mesh_slice_make(data, size));
	decoder_check(&d, listener);
	if (listener)
		check(&input, listener);
	mesh_config_object_release(listener);
	mesh_arena_free(&input.arena);
	mesh_decode_free(&d);
	return 0;
}
