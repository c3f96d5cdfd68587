/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not understood in a listener: what may be there for security fails closed and is noted by place and value, what
 * only measures is warned of, what is known to do nothing here is passed in silence.
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

#define TYPED(name, type, fields) "{'name': '" name "', 'typedConfig': {'@type': '" type "'" fields "}}"
#define ROUTER			  TYPED("router", "envoy.extensions.filters.http.router.v3.Router", "")
#define RDS			  "'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}"
/* `fields` begin with a comma. */
#define HCM(fields, filters) \
	TYPED("hcm", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", \
	      ", 'statPrefix': 's', " RDS ", 'httpFilters': [" filters ROUTER "]" fields)
#define TCP(fields)  TYPED("tcp", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", ", 'statPrefix': 's', 'cluster': 'c'" fields)
#define CHAIN(filters) "'filterChains': [{'filters': [" filters "]}]"
#define TLS(fields) \
	"'filterChains': [{'filters': [" TCP("") "], 'transportSocket': " TYPED( \
		"tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", ", " fields) "}]"
#define ROOTS \
	"'combinedValidationContext': {'defaultValidationContext': {%s}," \
	" 'validationContextSdsSecretConfig': {'name': 'ROOTCA'}}"

#define IN_HCM "filter_chains[0].filters[0].typed_config"
#define IN_TLS "filter_chains[0].transport_socket.typed_config"

/* Notes are this one line, and the reason says the same. */
static void assert_noted(struct decode_fixture *f, struct mesh_slice reason, const char *note, size_t i)
{
	const char *notes = decode_fixture_notes(f);

	if (strncmp(notes, note, strlen(note)) != 0 || strcmp(notes + strlen(note), "\n") != 0)
		fail_msg("case %zu notes: %s", i, notes);
	assert_text(reason, note);
}

static struct listener_config *accepted(struct decode_fixture *f, const char *rest, size_t i)
{
	struct listener_config *listener = decode_fixture_listener_json(f, rest);

	if (!listener)
		fail_msg("case %zu: %s", i, f->d.why.text);
	return listener;
}

static void http_filters(void **state)
{
	static const struct {
		const char *rest, *note;
	} cases[] = {
		{CHAIN(HCM("", TYPED("w", "envoy.extensions.filters.http.wasm.v3.Wasm", "") ",")),
		 IN_HCM ".http_filters[0]: \"w\" (envoy.extensions.filters.http.wasm.v3.Wasm): unknown HTTP filter"},
		{CHAIN(HCM("", TYPED("envoy.filters.http.ext_authz", "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "") ",")),
		 IN_HCM ".http_filters[0]: \"envoy.filters.http.ext_authz\""
			" (envoy.extensions.filters.http.ext_authz.v3.ExtAuthz): unknown HTTP filter"},
		{CHAIN(HCM("", TYPED("t", "udpa.type.v1.TypedStruct", ", 'typeUrl': 'a/b.C', 'value': {'x': 1}") ",")),
		 IN_HCM ".http_filters[0]: \"t\" (b.C): unknown HTTP filter"},
		/* a known type in disguise is no known one */
		{CHAIN(HCM("", TYPED("t", "xds.type.v3.TypedStruct", ", 'typeUrl': 'a/envoy.extensions.filters.http.cors.v3.Cors'") ",")),
		 IN_HCM ".http_filters[0]: \"t\" (envoy.extensions.filters.http.cors.v3.Cors): unknown HTTP filter"},
		{CHAIN(HCM("", "{'name': 'n'},")), IN_HCM ".http_filters[0]: \"n\": without a typed_config"},
		{CHAIN(HCM("", "{'name': 'n', 'configDiscovery': {'configSource': {'ads': {}}}},")),
		 IN_HCM ".http_filters[0]: \"n\": config_discovery is not supported"},
		/* optional for who has it not: a proxy has what comes with Envoy */
		{CHAIN(HCM("", "{'name': 'o', 'isOptional': true, 'typedConfig': {'@type':"
			       " 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz'}},")),
		 IN_HCM ".http_filters[0]: \"o\" (envoy.extensions.filters.http.ext_authz.v3.ExtAuthz): unknown HTTP filter"},
		{CHAIN(HCM("", TYPED("j", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
				     ", 'providers': {'p': {'issuer': 'i'}}") ",")),
		 IN_HCM ".http_filters[0].typed_config: tokens cannot be verified yet"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = accepted(&f, cases[i].rest, i);
		const struct http_config *http = listener->chains[0].http;

		assert_int_equal(listener->chains[0].kind, CHAIN_HTTP); /* requests are answered, with a refusal */
		assert_int_equal(http->filter_count, 2);
		assert_int_equal(http->filters[0].kind, HTTP_FILTER_FAIL_CLOSED);
		assert_int_equal(http->filters[1].kind, HTTP_FILTER_ROUTER);
		assert_noted(&f, http->filters[0].reason, cases[i].note, i);
		mesh_config_object_release(listener);
	}
	assert_string_equal(decode_fixture_warnings(&f), "");
	decode_fixture_end(&f);
}

/* The chain takes no connection. */
static void chains_closed(void **state)
{
	static const struct {
		const char *rest, *note;
	} cases[] = {
		{CHAIN(TYPED("lua", "google.protobuf.Empty", "") "," TCP("")),
		 "filter_chains[0].filters[0]: \"lua\" (google.protobuf.Empty): unknown network filter"},
		{CHAIN(TYPED("t", "udpa.type.v1.TypedStruct", ", 'typeUrl': 'a/b.C'") "," HCM("", "")),
		 "filter_chains[0].filters[0]: \"t\" (b.C): unknown network filter"},
		{CHAIN(TYPED("last", "google.protobuf.Empty", "")),
		 "filter_chains[0].filters[0]: \"last\" (google.protobuf.Empty): unknown network filter"},
		{CHAIN("{'name': 'd', 'configDiscovery': {'configSource': {'ads': {}}}}," TCP("")),
		 "filter_chains[0].filters[0]: \"d\" (): unknown network filter"},
		{CHAIN(TCP(", 'tunnelingConfig': {'hostname': 'h:1', 'usePost': true}")),
		 IN_HCM ": tunneling_config.use_post: not supported"},
		{CHAIN(TCP(", 'tunnelingConfig': {'hostname': '%REQUESTED_SERVER_NAME%:443'}")),
		 IN_HCM ": tunneling_config.hostname: only plain text is supported"},
		{CHAIN(TCP(", 'tunnelingConfig': {'hostname': 'h:1', 'headersToAdd': [{'header': {'key': 'a', 'value': '%X%'}}]}")),
		 IN_HCM ": tunneling_config.headers_to_add: only plain text is supported"},
		{CHAIN(HCM(", 'stripTrailingHostDot': true", "")), IN_HCM ".strip_trailing_host_dot: not supported"},
		{CHAIN(HCM(", 'originalIpDetectionExtensions': [{'name': 'x'}]", "")),
		 IN_HCM ".original_ip_detection_extensions: not supported"},
		{CHAIN(HCM(", 'earlyHeaderMutationExtensions': [{'name': 'x'}]", "")),
		 IN_HCM ".early_header_mutation_extensions: not supported"},
		{CHAIN(HCM(", 'pathNormalizationOptions': {}", "")), IN_HCM ".path_normalization_options: not supported"},
		{CHAIN(HCM(", 'typedHeaderValidationConfig': {'name': 'x'}", "")), IN_HCM ".typed_header_validation_config: not supported"},
		{CHAIN(HCM(", 'setCurrentClientCertDetails': {'format': 'JSON'}", "")),
		 IN_HCM ".set_current_client_cert_details.format: not supported"},
		{"'filterChains': [{'filters': [" TCP("") "], 'useProxyProto': true}]", "filter_chains[0]: use_proxy_proto: not supported"},
		{"'filterChains': [{'filters': [" TCP("") "], 'filterChainMatch': {'addressSuffix': '10.0.0.0', 'suffixLen': 8}}]",
		 "filter_chains[0].filter_chain_match: address_suffix: not supported"},
		{"'filterChains': [{'filters': [" TCP("") "], 'transportSocket': " TYPED("q", "google.protobuf.Empty", "") "}]",
		 "filter_chains[0].transport_socket: \"q\" (type.googleapis.com/google.protobuf.Empty): unknown transport socket"},
		{TLS("'requireSni': true"), IN_TLS ".require_sni: not supported"},
		{TLS("'ocspStaplePolicy': 'MUST_STAPLE'"), IN_TLS ".ocsp_staple_policy: not supported"},
		{TLS("'requireClientCertificate': true, 'commonTlsContext': {}"),
		 IN_TLS ".require_client_certificate: no roots to check it by"},
		{TLS("'commonTlsContext': {'tlsParams': {'ecdhCurves': ['P-256']}}"),
		 IN_TLS ".common_tls_context.tls_params.ecdh_curves: not supported"},
		{TLS("'commonTlsContext': {'customHandshaker': {'name': 'x'}}"), IN_TLS ".common_tls_context.custom_handshaker: not supported"},
		{TLS("'commonTlsContext': {'validationContext': {'matchSubjectAltNames': [{'exact': 'a'}]}}"),
		 IN_TLS ".common_tls_context.validation_context: names to check without roots to check them by"},
		{TLS("'commonTlsContext': {'combinedValidationContext': {'defaultValidationContext': {'verifyCertificateHash': ['aa']},"
		     " 'validationContextSdsSecretConfig': {'name': 'ROOTCA'}}}"),
		 IN_TLS ".common_tls_context.combined_validation_context.default_validation_context.verify_certificate_hash:"
			" not supported"},
		{TLS("'commonTlsContext': {'combinedValidationContext': {'defaultValidationContext': {'crl': {'inlineString': 'x'}},"
		     " 'validationContextSdsSecretConfig': {'name': 'ROOTCA'}}}"),
		 IN_TLS ".common_tls_context.combined_validation_context.default_validation_context.crl: not supported"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = accepted(&f, cases[i].rest, i);

		assert_int_equal(listener->chain_count, 1);
		if (listener->chains[0].kind != CHAIN_FAIL_CLOSED)
			fail_msg("case %zu is open", i);
		assert_noted(&f, listener->chains[0].reason, cases[i].note, i);
		mesh_config_object_release(listener);
	}
	assert_string_equal(decode_fixture_warnings(&f), "");
	decode_fixture_end(&f);
}

/* Ahead of the chains: every one of them is closed, the default one too. */
static void listeners_closed(void **state)
{
#define TWO "'filterChains': [{'filters': [" TCP("") "]}], 'defaultFilterChain': {'filters': [" HCM("", "") "]}, "
	static const struct {
		const char *rest, *note;
	} cases[] = {
		{TWO "'listenerFilters': [" TYPED("x", "google.protobuf.Empty", "") "]",
		 "listener_filters[0]: \"x\" (google.protobuf.Empty): unknown listener filter"},
		{TWO "'listenerFilters': [{'name': 'x', 'configDiscovery': {'configSource': {'ads': {}}}}]",
		 "listener_filters[0]: \"x\" (): unknown listener filter"},
		/* the peer's address would be another one */
		{TWO "'listenerFilters': [" TYPED("envoy.filters.listener.proxy_protocol",
						  "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", "") "]",
		 "listener_filters[0]: \"envoy.filters.listener.proxy_protocol\""
		 " (envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol): unknown listener filter"},
		{TWO "'listenerFilters': [" TYPED("p", "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
						  ", 'allowRequestsWithoutProxyProtocol': true") "]",
		 "listener_filters[0]: \"p\""
		 " (envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol): unknown listener filter"},
		{TWO "'fcdsConfig': {'name': 'n'}", "fcds_config: not supported"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = accepted(&f, cases[i].rest, i);

		assert_int_equal(listener->chains[0].kind, CHAIN_FAIL_CLOSED);
		assert_int_equal(listener->default_chain->kind, CHAIN_FAIL_CLOSED);
		assert_noted(&f, listener->chains[0].reason, cases[i].note, i);
		assert_text(listener->default_chain->reason, cases[i].note);
		mesh_config_object_release(listener);
	}
	assert_string_equal(decode_fixture_warnings(&f), "");
	decode_fixture_end(&f);
}

/* A field that none of our messages has; `from` is one that is known, with the same bytes in it. */
struct strange {
	const char *rest;
	struct mesh_slice from, to;
	const char *note;
};

static struct listener_config *with_strange_field(struct decode_fixture *f, const struct strange *strange, size_t i)
{
	struct mesh_slice bytes = decode_fixture_pack_listener(f, strange->rest);
	struct listener_config *listener =
		mesh_decode_listener(&f->d, decode_fixture_patch(f, bytes, strange->from, strange->to));

	if (!listener)
		fail_msg("case %zu: %s", i, f->d.why.text);
	return listener;
}

static void strange_fields(void **state)
{
	static const struct strange cases[] = {
		{CHAIN(TCP("")) ", 'statPrefix': 'MARKER'", MESH_SLICE("\xe2\x01\x06MARKER"), MESH_SLICE("\x82\x02\x06MARKER"),
		 "filter_chain_matcher or another unknown field: not supported"},
		{"'filterChains': [{'name': 'MARKER', 'filters': [" TCP("") "]}]", MESH_SLICE("\x3a\x06MARKER"),
		 MESH_SLICE("\x7a\x06MARKER"), "filter_chains[0]: unknown field: not supported"},
		{"'filterChains': [{'filterChainMatch': {'transportProtocol': 'MARKER'}, 'filters': [" TCP("") "]}]",
		 MESH_SLICE("\x4a\x06MARKER"), MESH_SLICE("\x7a\x06MARKER"),
		 "filter_chains[0].filter_chain_match: unknown field: not supported"},
		{CHAIN(HCM(", 'via': 'MARKER'", "")), MESH_SLICE("\xb2\x01\x06MARKER"), MESH_SLICE("\xe2\x03\x06MARKER"),
		 IN_HCM ".forward_client_cert_matcher or another unknown field: not supported"},
		{TLS("'commonTlsContext': {'alpnProtocols': ['MARKER']}"), MESH_SLICE("\x22\x06MARKER"),
		 MESH_SLICE("\x2a\x06MARKER"), IN_TLS ".common_tls_context.(unknown field): not supported"},
		{CHAIN(TCP("")) ", 'listenerFilters': [" TYPED("o", "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
							      ", 'mark': 1337") "]",
		 MESH_SLICE("\x10\xb9\x0a"), MESH_SLICE("\x18\xb9\x0a"),
		 "listener_filters[0]: \"o\" (envoy.extensions.filters.listener.original_src.v3.OriginalSrc): unknown listener filter"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = with_strange_field(&f, &cases[i], i);

		if (listener->chains[0].kind != CHAIN_FAIL_CLOSED)
			fail_msg("case %zu is open", i);
		assert_noted(&f, listener->chains[0].reason, cases[i].note, i);
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

/* Rules beside a "matcher", or within rules that carry what is not known, allow nothing: an ALLOW without policies. */
static void strange_rules(void **state)
{
	static const struct strange http = {
		CHAIN(HCM("", TYPED("r", "envoy.extensions.filters.http.rbac.v3.RBAC",
				    ", 'rulesStatPrefix': 'MARKER', 'rules': {'action': 'DENY'}") ",")),
		MESH_SLICE("\x32\x06MARKER"), MESH_SLICE("\x22\x06MARKER"),
		IN_HCM ".http_filters[0].typed_config: matcher or another unknown field: not supported\n"};
	static const struct strange network = {
		CHAIN(TYPED("r", "envoy.extensions.filters.network.rbac.v3.RBAC",
			    ", 'statPrefix': 't.', 'shadowRulesStatPrefix': 'MARKER', 'rules': {'action': 'DENY'}") "," TCP("")),
		MESH_SLICE("\x2a\x06MARKER"), MESH_SLICE("\x32\x06MARKER"),
		"filter_chains[0].filters[0].typed_config: matcher or another unknown field: not supported\n"};
	struct decode_fixture f;
	struct listener_config *listener;

	decode_fixture_begin(&f);
	listener = with_strange_field(&f, &http, 0);
	assert_int_equal(listener->chains[0].http->filters[0].authz->rules->action, AUTHZ_ALLOW);
	assert_int_equal(listener->chains[0].http->filters[0].authz->rules->count, 0);
	assert_string_equal(decode_fixture_notes(&f), http.note);
	mesh_config_object_release(listener);
	listener = with_strange_field(&f, &network, 1);
	assert_int_equal(listener->chains[0].kind, CHAIN_TCP);
	assert_int_equal(listener->chains[0].authz_count, 1);
	assert_int_equal(listener->chains[0].authz[0].rules->action, AUTHZ_ALLOW);
	assert_int_equal(listener->chains[0].authz[0].rules->count, 0);
	assert_string_equal(decode_fixture_notes(&f), network.note);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void warned(void **state)
{
	static const struct {
		const char *rest, *warning;
	} cases[] = {
		{CHAIN(TCP("")) ", 'accessLog': [{'name': 'a'}]", "access_log of a listener: passed over\n"},
		{CHAIN(TCP(", 'accessLog': [{'name': 'a'}]")), "access_log of a TCP proxy: passed over\n"},
		{CHAIN(HCM(", 'accessLog': [{'name': 'a'}]", "")), "access_log of a connection manager: passed over\n"},
		{CHAIN(HCM(", 'tracing': {'provider': {'name': 'zipkin'}}", "")), "tracing provider of a connection manager: passed over\n"},
		{CHAIN(HCM(", 'localReplyConfig': {}", "")), "local_reply_config of a connection manager: passed over\n"},
		{CHAIN(HCM(", 'requestIdExtension': {'typedConfig': {'@type': 'google.protobuf.Empty'}}", "")),
		 "request_id_extension of another kind than uuid: request ids are uuids all the same\n"},
		{CHAIN(HCM("", TYPED("g", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", "") ",")),
		 "HTTP filter envoy.extensions.filters.http.grpc_web.v3.GrpcWeb: passed over\n"},
		{CHAIN(HCM("", TYPED("s", "envoy.extensions.filters.http.stateful_session.v3.StatefulSession", "") ",")),
		 "HTTP filter envoy.extensions.filters.http.stateful_session.v3.StatefulSession: passed over\n"},
		{CHAIN(HCM("", "{'name': 'o', 'isOptional': true, 'typedConfig': {'@type': 'google.protobuf.Empty'}},")),
		 "optional HTTP filter \"o\": passed over\n"},
		{CHAIN(HCM("", "{'name': 'o', 'isOptional': true},")), "optional HTTP filter \"o\": passed over\n"},
		{CHAIN(TYPED("m", "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy", "") "," TCP("")),
		 "mongo_proxy: its statistics are not kept\n"},
		{TLS("'commonTlsContext': {'keyLog': {'path': '/k'}}"), "key_log: keys are never written\n"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = accepted(&f, cases[i].rest, i);
		const char *warnings = decode_fixture_warnings(&f);

		if (strcmp(warnings, cases[i].warning) != 0)
			fail_msg("case %zu warns: %s", i, warnings);
		assert_string_equal(decode_fixture_notes(&f), "");
		assert_true(listener->chains[0].kind == CHAIN_HTTP || listener->chains[0].kind == CHAIN_TCP);
		if (listener->chains[0].http)
			assert_int_equal(listener->chains[0].http->filter_count, 1); /* the router */
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

static void silent(void **state)
{
	static const char *const cases[] = {
		CHAIN(HCM("", TYPED("g", "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", ", 'emitFilterState': true") ",")),
		CHAIN(HCM("", TYPED("j", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", "") ",")),
		CHAIN(HCM(", 'requestIdExtension': {'typedConfig': {'@type': 'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig',"
			  " 'useRequestIdForTraceSampling': true}}",
			  "")),
		CHAIN(HCM(", 'tracing': {'randomSampling': {'value': 100}}, 'upgradeConfigs': [{'upgradeType': 'websocket'}]", "")),
		/* on for single routes only */
		CHAIN(HCM("", "{'name': 'd', 'disabled': true, 'typedConfig': {'@type': 'envoy.extensions.filters.http.wasm.v3.Wasm'}},")),
		CHAIN(TYPED("s", "stats.PluginConfig", "") "," TCP("")),
		CHAIN(TCP("")) ", 'listenerFilters': [" TYPED("d", "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
							      "") "," TYPED("t",
									    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
									    ", 'initialReadBufferSize': 512") ","
			TYPED("h", "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", "") "]",
		/* of the proxy's own connection to the application, which is not there */
		CHAIN(TCP("")) ", 'listenerFilters': [" TYPED("o", "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
							      ", 'mark': 1337") "]",
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = accepted(&f, cases[i], i);

		assert_string_equal(decode_fixture_notes(&f), "");
		assert_string_equal(decode_fixture_warnings(&f), "");
		assert_true(listener->chains[0].kind == CHAIN_HTTP || listener->chains[0].kind == CHAIN_TCP);
		if (listener->chains[0].http)
			assert_int_equal(listener->chains[0].http->filter_count, 1); /* the router */
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

/* Rules that are on for single routes only have their place, and ask nothing where a route has none. */
static void disabled_rules(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct http_config *http;

	decode_fixture_begin(&f);
	listener = accepted(&f, CHAIN(HCM("", "{'name': 'r', 'disabled': true, 'typedConfig': {'@type':"
					      " 'envoy.extensions.filters.http.rbac.v3.RBAC', 'rules': {'action': 'ALLOW'}}},")), 0);
	http = listener->chains[0].http;
	assert_int_equal(http->filter_count, 2);
	assert_int_equal(http->filters[0].kind, HTTP_FILTER_AUTHZ);
	assert_null(http->filters[0].authz);
	assert_string_equal(decode_fixture_notes(&f), "");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* A fault of the listener's own; one that is off, and CORS, keep the place where routes turn them on. */
static void faults(void **state)
{
	static const char fault[] = CHAIN(HCM("", TYPED("f", "envoy.extensions.filters.http.fault.v3.HTTPFault",
							", 'abort': {'httpStatus': 503, 'percentage': {'numerator': 5}}") ","
					      "{'name': 'd', 'disabled': true, 'typedConfig': {'@type':"
					      " 'envoy.extensions.filters.http.fault.v3.HTTPFault', 'abort': {'httpStatus': 500}}},"
					      "{'name': 'c', 'disabled': true, 'typedConfig': {'@type':"
					      " 'envoy.extensions.filters.http.cors.v3.Cors'}},"));
	struct decode_fixture f;
	struct listener_config *listener;
	const struct http_filter *filters;

	decode_fixture_begin(&f);
	listener = accepted(&f, fault, 0);
	filters = listener->chains[0].http->filters;
	assert_int_equal(listener->chains[0].http->filter_count, 4);
	assert_int_equal(filters[0].kind, HTTP_FILTER_FAULT);
	assert_int_equal(filters[0].fault->abort_status, 503);
	assert_int_equal(filters[0].fault->abort_share.numerator, 5);
	assert_int_equal(filters[1].kind, HTTP_FILTER_FAULT);
	assert_null(filters[1].fault);
	assert_int_equal(filters[2].kind, HTTP_FILTER_CORS);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* What a real istiod sent: an EnvoyFilter with Lua, and a service under JWT rules and an external authorizer. */
static void recorded(void **state)
{
	struct decode_fixture f;
	struct listener_config *listener;
	const struct http_config *http;

	decode_fixture_begin(&f);
	listener = decode_fixture_listener(&f, SAMPLE("unknown/unknown-filter.echo-v1.delta.lds.pb"), "virtualInbound");
	http = listener->chains[6].http;
	assert_int_equal(http->filter_count, 6);
	assert_int_equal(http->filters[4].kind, HTTP_FILTER_FAIL_CLOSED);
	assert_text(http->filters[4].name, "example.lua");
	assert_text(http->filters[4].reason,
		    "filter_chains[6].filters[1].typed_config.http_filters[5]: \"example.lua\""
		    " (envoy.extensions.filters.http.lua.v3.Lua): unknown HTTP filter");
	mesh_config_object_release(listener);
	listener = decode_fixture_listener(&f, SAMPLE("unknown/guarded.echo-v1.delta.lds.pb"), "virtualInbound");
	http = listener->chains[6].http;
	assert_int_equal(http->filters[1].kind, HTTP_FILTER_AUTHZ);
	assert_int_equal(http->filters[2].kind, HTTP_FILTER_FAIL_CLOSED);
	assert_text(http->filters[2].reason,
		    "filter_chains[6].filters[1].typed_config.http_filters[2]: \"envoy.filters.http.ext_authz\""
		    " (envoy.extensions.filters.http.ext_authz.v3.ExtAuthz): unknown HTTP filter");
	assert_int_equal(http->filters[3].kind, HTTP_FILTER_FAIL_CLOSED);
	mesh_config_object_release(listener);
	listener = decode_fixture_listener(&f, SAMPLE("unknown/mixed.client.delta.lds.pb"), "10.96.5.76_27017");
	assert_int_equal(listener->chains[0].kind, CHAIN_TCP); /* behind a mongo_proxy */
	assert_string_equal(decode_fixture_notes(&f), "");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_filters), cmocka_unit_test(chains_closed), cmocka_unit_test(listeners_closed),
		cmocka_unit_test(strange_fields),	cmocka_unit_test(strange_rules), cmocka_unit_test(warned),	 cmocka_unit_test(silent),
		cmocka_unit_test(disabled_rules), cmocka_unit_test(faults), cmocka_unit_test(recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
