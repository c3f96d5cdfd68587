/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners a real istiod sent come out with the values they were sent for: every chain of virtualInbound under
 * PERMISSIVE, STRICT and DISABLE, what secures it, its connection manager and its filters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/decode_fixture.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name

enum { LINES = 8192 };

/* Text that is compared as a whole. */
struct lines {
	char text[LINES];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct lines *lines, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	lines->len += (size_t)vsnprintf(lines->text + lines->len, sizeof(lines->text) - lines->len, format, args);
	va_end(args);
	assert_true(lines->len < sizeof(lines->text));
}

static void add_names(struct lines *lines, const char *what, const struct mesh_slice *names, size_t count)
{
	if (count > 0)
		add(lines, " %s=", what);
	for (size_t i = 0; i < count; i++)
		add(lines, "%s%.*s", i ? "," : "", (int)names[i].len, names[i].data);
}

static void add_match(struct lines *lines, const struct chain_match *match)
{
	if (match->destination_port)
		add(lines, " port=%u", match->destination_port);
	if (match->transport.data)
		add(lines, " transport=%.*s", (int)match->transport.len, match->transport.data);
	add_names(lines, "alpn", match->alpn, match->alpn_count);
	add_names(lines, "names", match->server_names, match->server_name_count);
	if (match->destination_count + match->source_count + match->direct_source_count + match->source_port_count +
	    match->source_type)
		add(lines, " addresses");
}

static void add_chain(struct lines *lines, const struct chain *chain)
{
	static const char *const kinds[] = {"http", "tcp", "blackhole", "fail-closed"};
	struct mesh_slice name = chain->name;

	add(lines, "%.*s:", (int)name.len, name.data ? name.data : "");
	add_match(lines, &chain->match);
	add(lines, " -> %s%s%s", chain->tls ? "tls " : "", chain->metadata_exchange ? "exchange " : "", kinds[chain->kind]);
	for (size_t i = 0; i < chain->authz_count; i++)
		add(lines, " rbac");
	if (chain->tcp_cluster.data)
		add(lines, " %.*s", (int)chain->tcp_cluster.len, chain->tcp_cluster.data);
	if (chain->http && chain->http->route_name.data)
		add(lines, " rds %.*s", (int)chain->http->route_name.len, chain->http->route_name.data);
	if (chain->http && chain->http->inline_routes) {
		name = chain->http->inline_routes->object.item.name;
		add(lines, " inline %.*s", (int)name.len, name.data);
	}
	add(lines, "\n");
}

static const char *chains_of(struct lines *lines, const struct listener_config *listener)
{
	lines->len = 0;
	for (size_t i = 0; i < listener->chain_count; i++)
		add_chain(lines, &listener->chains[i]);
	if (listener->default_chain) {
		add(lines, "default ");
		add_chain(lines, listener->default_chain);
	}
	return lines->text;
}

static const char *filters_of(struct lines *lines, const struct http_config *http)
{
	static const char *const kinds[] = {"authz", "alpn", "peer_metadata", "fault", "cors", "stats", "fail-closed", "router"};

	lines->len = 0;
	for (size_t i = 0; i < http->filter_count; i++)
		add(lines, "%s%s", i ? " " : "", kinds[http->filters[i].kind]);
	return lines->text;
}

/* Chain and kind by number; all of them stand under one name in the samples. */
static const struct chain *chain_at(const struct listener_config *listener, size_t index, enum chain_kind kind)
{
	assert_true(index < listener->chain_count);
	assert_int_equal(listener->chains[index].kind, kind);
	return &listener->chains[index];
}

static void permissive(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualInbound");
	assert_text(listener->address, "0.0.0.0");
	assert_int_equal(listener->port, 15006);
	assert_true(listener->inbound);
	assert_false(listener->outbound);
	assert_true(listener->use_original_dst);
	assert_true(listener->tls_inspector);
	assert_true(listener->http_inspector);
	assert_int_equal(listener->filters_timeout_ns, 0);
	assert_true(listener->continue_on_timeout);
	assert_null(listener->default_chain);
	assert_string_equal(
		chains_of(&lines, listener),
		"virtualInbound-blackhole: port=15006 -> exchange blackhole BlackHoleCluster\n"
		"virtualInbound-catchall-http: transport=tls alpn=istio-http/1.0,istio-http/1.1,istio-h2"
		" -> tls exchange http inline InboundPassthroughCluster\n"
		"virtualInbound-catchall-http: transport=raw_buffer alpn=http/1.1,h2c"
		" -> exchange http inline InboundPassthroughCluster\n"
		"virtualInbound: transport=tls alpn=istio-peer-exchange,istio -> tls exchange tcp InboundPassthroughCluster\n"
		"virtualInbound: transport=raw_buffer -> exchange tcp InboundPassthroughCluster\n"
		"virtualInbound: transport=tls -> exchange tcp InboundPassthroughCluster\n"
		"0.0.0.0_9080: port=9080 transport=tls alpn=istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2"
		" -> tls exchange http inline inbound|9080||\n"
		"0.0.0.0_9080: port=9080 transport=raw_buffer -> exchange http inline inbound|9080||\n");
	assert_string_equal(decode_fixture_notes(&f), "");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void strict(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.pb"), "virtualInbound");
	assert_true(listener->tls_inspector);
	assert_false(listener->http_inspector);
	assert_string_equal(chains_of(&lines, listener),
			    "virtualInbound-blackhole: port=15006 -> exchange blackhole BlackHoleCluster\n"
			    "virtualInbound-catchall-http: transport=tls alpn=istio-http/1.0,istio-http/1.1,istio-h2"
			    " -> tls exchange http inline InboundPassthroughCluster\n"
			    "virtualInbound: transport=tls -> tls exchange tcp rbac rbac InboundPassthroughCluster\n"
			    "0.0.0.0_9080: port=9080 transport=tls -> tls exchange http inline inbound|9080||\n");
	for (size_t i = 1; i < listener->chain_count; i++)
		assert_true(listener->chains[i].tls->require_client_certificate); /* no way in without */
	assert_string_equal(filters_of(&lines, listener->chains[3].http),
			    "peer_metadata authz authz fault cors stats router");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void disabled(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("disable.echo-v1.delta.lds.pb"), "virtualInbound");
	assert_false(listener->tls_inspector);
	assert_true(listener->http_inspector);
	assert_string_equal(chains_of(&lines, listener),
			    "virtualInbound-blackhole: port=15006 -> exchange blackhole BlackHoleCluster\n"
			    "virtualInbound-catchall-http: transport=raw_buffer alpn=http/1.1,h2c"
			    " -> exchange http inline InboundPassthroughCluster\n"
			    "virtualInbound: transport=raw_buffer -> exchange tcp InboundPassthroughCluster\n"
			    "0.0.0.0_8080: port=8080 transport=raw_buffer -> exchange http inline inbound|8080||\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void outbound(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualOutbound");
	assert_true(listener->outbound);
	assert_false(listener->inbound);
	assert_true(listener->use_original_dst);
	assert_int_equal(listener->port, 15001);
	assert_int_equal(listener->filters_timeout_ns, 15 * MESH_DECODE_NS); /* not given */
	assert_string_equal(chains_of(&lines, listener),
			    "virtualOutbound-blackhole: port=15001 -> blackhole BlackHoleCluster\n"
			    "virtualOutbound-catchall-tcp: -> tcp PassthroughCluster\n");
	mesh_config_object_release(listener);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "0.0.0.0_9080");
	assert_false(listener->use_original_dst);
	assert_true(listener->http_inspector);
	assert_string_equal(chains_of(&lines, listener),
			    ": transport=raw_buffer alpn=http/1.1,h2c -> http rds 9080\n"
			    "default PassthroughFilterChain: -> tcp PassthroughCluster\n");
	assert_string_equal(filters_of(&lines, listener->chains[0].http), "peer_metadata alpn fault cors stats router");
	mesh_config_object_release(listener);
	listener = decode_fixture_listener(&f, SAMPLE("strict.reviews-v1.sotw.lds.json"), "0.0.0.0_443");
	assert_string_equal(chains_of(&lines, listener),
			    ": names=api.example.com -> tcp outbound|443||api.example.com\n"
			    "default PassthroughFilterChain: -> tcp PassthroughCluster\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void inbound_tls(void **state)
{
	static const char ciphers[] = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
				      "ECDHE-RSA-AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-GCM-SHA256";
	struct decode_fixture f;
	struct listener_config *listener;
	const struct tls_config *tls;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualInbound");
	tls = chain_at(listener, 6, CHAIN_HTTP)->tls;
	assert_true(tls->require_client_certificate);
	assert_int_equal(tls->min, TLS_VERSION_1_2);
	assert_int_equal(tls->max, TLS_VERSION_1_3);
	assert_text(tls->ciphers, ciphers);
	assert_text(tls->alpn, "\x02h2\x08http/1.1");
	assert_text(tls->certificate_name, "default");
	assert_text(tls->roots_name, "ROOTCA");
	assert_int_equal(tls->san_count, 1);
	assert_int_equal(tls->sans[0].kind, STRING_MATCH_PREFIX);
	assert_false(tls->sans[0].ignore_case);
	assert_text(tls->sans[0].text, "spiffe://cluster.local/");
	assert_absent(tls->sni);
	assert_text(chain_at(listener, 3, CHAIN_TCP)->tls->alpn, "\x13istio-peer-exchange\x02h2\x08http/1.1");
	assert_int_equal(listener->chains[6].transport_timeout_ns, 0);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void tcp_proxy(void **state)
{
	static const char json[] =
		"'filterChains': [{'filters': ["
		"{'name': 'x', 'typedConfig': {'@type': 'udpa.type.v1.TypedStruct', 'typeUrl': "
		"'type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange', 'value': {'protocol': 'some-exchange'}}},"
		"{'name': 't', 'typedConfig': {'@type': 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', 'statPrefix': 'stats',"
		"'cluster': 'c', 'maxConnectAttempts': 3, 'idleTimeout': '0s', 'maxDownstreamConnectionDuration': '1.5s',"
		"'hashPolicy': [{'sourceIp': {}}]}}]}]";
	struct decode_fixture f;
	struct listener_config *listener;
	const struct chain *chain;

	decode_fixture_begin(&f);
	/* what istiod sends: everything as by default */
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualInbound");
	chain = chain_at(listener, 3, CHAIN_TCP);
	assert_true(chain->metadata_exchange);
	assert_text(chain->metadata_exchange_protocol, "istio-peer-exchange");
	assert_int_equal(chain->tcp_connect_attempts, 1);
	assert_int_equal(chain->tcp_idle_timeout_ns, -1);
	assert_int_equal(chain->tcp_duration_max_ns, 0);
	assert_false(chain->tcp_hash_source);
	mesh_config_object_release(listener);
	listener = decode_fixture_listener_json(&f, json);
	assert_non_null(listener);
	chain = chain_at(listener, 0, CHAIN_TCP);
	assert_text(chain->metadata_exchange_protocol, "some-exchange");
	assert_text(chain->tcp_stat_prefix, "stats");
	assert_int_equal(chain->tcp_connect_attempts, 3);
	assert_int_equal(chain->tcp_idle_timeout_ns, 0);
	assert_int_equal(chain->tcp_duration_max_ns, 1500000000);
	assert_true(chain->tcp_hash_source);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void connection_manager(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct http_config *http;
	const struct route_config *routes;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualInbound");
	http = chain_at(listener, 6, CHAIN_HTTP)->http;
	assert_text(http->stat_prefix, "inbound_0.0.0.0_9080;");
	assert_absent(http->route_name);
	routes = http->inline_routes;
	assert_text(routes->object.item.name, "inbound|9080||");
	assert_true(http->normalize_path);
	assert_false(http->merge_slashes);
	assert_int_equal(http->escaped_slashes, ESCAPED_SLASHES_KEEP);
	assert_int_equal(http->forward_cert, FORWARD_CERT_APPEND_FORWARD);
	assert_true(http->xfcc_subject && http->xfcc_dns && http->xfcc_uri);
	assert_false(http->xfcc_cert || http->xfcc_chain);
	assert_text(http->server_name, "istio-envoy");
	assert_true(http->server_overwrite);
	assert_false(http->use_remote_address);
	assert_int_equal(http->xff_trusted_hops, 0);
	assert_true(http->generate_request_id);
	assert_false(http->preserve_request_id);
	assert_true(http->proxy_100_continue);
	assert_int_equal(http->stream_idle_timeout_ns, 0); /* "0s": none */
	assert_int_equal(http->idle_timeout_ns, -1);       /* not given: the default */
	assert_int_equal(http->drain_timeout_ns, -1);
	assert_int_equal(http->request_timeout_ns, 0);
	assert_int_equal(http->request_headers_timeout_ns, 0);
	assert_int_equal(http->request_head_kb_max, 0);
	assert_int_equal(http->header_count_max, 0);
	assert_int_equal(http->requests_per_connection_max, 0);
	assert_false(http->accept_http_10 || http->reject_underscores || http->drop_underscores);
	assert_false(http->strip_host_port || http->strip_any_host_port);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void filters(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct http_config *http;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "virtualInbound");
	assert_string_equal(filters_of(&lines, chain_at(listener, 7, CHAIN_HTTP)->http),
			    "peer_metadata fault cors stats router");
	mesh_config_object_release(listener);
	listener = decode_fixture_listener(&f, SAMPLE("k8s-sidecar.lds.json"), "0.0.0.0_9080");
	http = chain_at(listener, 0, CHAIN_HTTP)->http;
	assert_string_equal(filters_of(&lines, http), "peer_metadata alpn fault cors stats router");
	assert_text(http->filters[0].name, "istio.metadata_exchange");
	assert_text(http->filters[1].name, "istio.alpn");
	assert_text(http->filters[1].alpn_http10, "\x0eistio-http/1.0\x05istio\x08http/1.0");
	assert_text(http->filters[1].alpn_http11, "\x0eistio-http/1.1\x05istio\x08http/1.1");
	assert_text(http->filters[1].alpn_http2, "\x08istio-h2\x05istio\x02h2");
	assert_text(http->filters[5].name, "envoy.filters.http.router");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* What istiod sends under GENERATOR=grpc: a connection manager without a socket or a prefix for statistics. */
static void api_listener(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	struct lines lines;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener_json(
		&f, "'apiListener': {'apiListener': {"
		    "'@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		    "'rds': {'configSource': {'ads': {}}, 'routeConfigName': 'outbound|9080||reviews'}, 'httpFilters': ["
		    "{'name': 'f', 'typedConfig': {'@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault'}},"
		    "{'name': 'r', 'typedConfig': {'@type': 'envoy.extensions.filters.http.router.v3.Router'}}]}}");
	assert_non_null(listener);
	assert_string_equal(chains_of(&lines, listener), ": -> http rds outbound|9080||reviews\n");
	assert_string_equal(filters_of(&lines, listener->chains[0].http), "fault router");
	assert_absent(listener->chains[0].http->stat_prefix);
	assert_int_equal(listener->chains[0].http->stream_idle_timeout_ns, -1);
	assert_text(listener->chains[0].http->server_name, "envoy");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* No listener of a real istiod is refused or closed, and what is said of them is of access logs alone. */
static void all_understood(void **state)
{
	static const struct {
		const char *path;
		size_t count;
	} samples[] = {
		{SAMPLE("k8s-sidecar.lds.json"), 4},	      {SAMPLE("secure.lds.json"), 3},
		{SAMPLE("strict.reviews-v1.sotw.lds.pb"), 12}, {SAMPLE("disable.echo-v1.delta.lds.pb"), 4},
		{SAMPLE("removed.client.delta.lds.pb"), 4},    {SAMPLE("unknown/mixed.client.delta.lds.pb"), 15},
	};
	struct decode_fixture f;
	size_t count;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct xds_resource *all = xds_sample_load(&f.arena, samples[i].path, &count);

		assert_int_equal(count, samples[i].count);
		for (size_t j = 0; j < count; j++) {
			struct listener_config *listener = mesh_decode_listener(&f.d, all[j].bytes);

			if (!listener || f.d.notes.end > f.d.notes.start)
				fail_msg("%s, %zu: %s%s", samples[i].path, j, f.d.why.text, decode_fixture_notes(&f));
			for (size_t k = 0; k < listener->chain_count; k++)
				assert_int_not_equal(listener->chains[k].kind, CHAIN_FAIL_CLOSED);
			mesh_config_object_release(listener);
		}
	}
	for (char *line = strtok((char *)decode_fixture_warnings(&f), "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "access_log of a", 15) != 0 && strncmp(line, "mongo_proxy", 11) != 0)
			fail_msg("warned of: %s", line);
	}
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(permissive),  cmocka_unit_test(strict),	     cmocka_unit_test(disabled), cmocka_unit_test(outbound),
		cmocka_unit_test(inbound_tls), cmocka_unit_test(tcp_proxy),      cmocka_unit_test(connection_manager), cmocka_unit_test(filters),
		cmocka_unit_test(api_listener), cmocka_unit_test(all_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
