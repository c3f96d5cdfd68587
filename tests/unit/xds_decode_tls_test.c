/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport sockets of clusters and chains: auto-mTLS as istiod sends it, exactly; each setting that is not understood
 * makes the choice unusable with a note that names it, never plain or unverified.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/cluster_fixture.h"

#define SAMPLES MESH_TEST_SOURCE_DIR "/tests/xds/samples/"
#define STRICT	SAMPLES "strict.client.sotw.cds.json"
#define TLS	"envoy.extensions.transport_sockets.tls.v3."
#define SOCKET(type, members)                                                                                          \
	"'transportSocket': {'name': 'envoy.transport_sockets.tls', 'typedConfig': {'@type': '" TLS type "'" members   \
	"}}"
#define UPSTREAM(members)   SOCKET("UpstreamTlsContext", ", " members)
#define COMMON(members)	    UPSTREAM("'commonTlsContext': {" members "}")
#define VALIDATION(members) COMMON("'validationContext': {" members "}")
#define COMBINED(members)                                                                                              \
	COMMON("'combinedValidationContext': {'defaultValidationContext': {" members "}, "                             \
	       "'validationContextSdsSecretConfig': {'name': 'ROOTCA'}}")
#define DOWNSTREAM(members)                                                                                            \
	"'filterChains': [{'name': 'd', " SOCKET(                                                                      \
		"DownstreamTlsContext",                                                                                \
		members) ", 'filters': [{'name': 'envoy.filters.network."                                              \
			 "tcp_proxy', 'typedConfig': {'@type': "                                                       \
			 "'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', 'statPrefix': 's', "               \
			 "'cluster': 'c'}}]}]"
#define ROOTS "'validationContextSdsSecretConfig': {'name': 'ROOTCA'}"

static struct decode_fixture fixture;

static int setup(void **state)
{
	decode_fixture_begin(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	decode_fixture_end(*state);
	return 0;
}

/* ---- recorded ---- */

static void assert_mutual(const struct tls_config *tls, const char *sni, const char *san)
{
	assert_non_null(tls);
	assert_int_equal(tls->min, TLS_VERSION_1_2);
	assert_int_equal(tls->max, TLS_VERSION_1_3);
	assert_absent(tls->ciphers);
	assert_text(tls->sni, sni);
	assert_text(tls->certificate_name, "default");
	assert_text(tls->roots_name, "ROOTCA");
	assert_int_equal(tls->san_count, 1);
	assert_int_equal(tls->sans[0].kind, STRING_MATCH_EXACT);
	assert_false(tls->sans[0].ignore_case);
	assert_text(tls->sans[0].text, san);
	assert_false(tls->require_client_certificate);
	assert_false(tls->upstream_auto_sni);
	assert_false(tls->upstream_auto_san);
}

static void auto_mutual(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c =
		cluster_fixture_recorded(f, STRICT, "outbound|9080||reviews.default.svc.cluster.local");

	assert_string_equal(decode_fixture_notes(f), "");
	assert_int_equal(c->match_count, 2);
	assert_text(c->matches[0].name, "tlsMode-istio");
	assert_int_equal(c->matches[0].match_count, 1);
	assert_text(c->matches[0].match[0].key, "tlsMode");
	assert_text(c->matches[0].match[0].value, "istio");
	assert_false(c->matches[0].unsupported);
	assert_mutual(c->matches[0].tls, "outbound_.9080_._.reviews.default.svc.cluster.local",
		      "spiffe://cluster.local/ns/default/sa/bookinfo-reviews");
	assert_text(c->matches[0].tls->alpn, "\x13istio-peer-exchange\x05istio");
	assert_text(c->matches[1].name, "tlsMode-disabled");
	assert_int_equal(c->matches[1].match_count, 0); /* takes all that is left */
	assert_null(c->matches[1].tls);
	assert_false(c->matches[1].unsupported);
	assert_null(c->fallback.tls);
	assert_false(c->fallback.unsupported);
	mesh_config_object_release(c);
}

static void auto_mutual_of_subsets_and_http2(void **state)
{
	struct cluster_config *c =
		cluster_fixture_recorded(*state, STRICT, "outbound|9080|v2|reviews.default.svc.cluster.local");

	assert_mutual(c->matches[0].tls, "outbound_.9080_.v2_.reviews.default.svc.cluster.local",
		      "spiffe://cluster.local/ns/default/sa/bookinfo-reviews");
	mesh_config_object_release(c);
	c = cluster_fixture_recorded(*state, STRICT, "outbound|9090||echo.default.svc.cluster.local");
	assert_mutual(c->matches[0].tls, "outbound_.9090_._.echo.default.svc.cluster.local",
		      "spiffe://cluster.local/ns/default/sa/echo");
	assert_text(c->matches[0].tls->alpn, "\x13istio-peer-exchange\x05istio\x02h2");
	mesh_config_object_release(c);
}

static void mutual_for_all(void **state)
{
	struct cluster_config *c =
		cluster_fixture_recorded(*state, STRICT, "outbound|8000||headless.default.svc.cluster.local");

	assert_int_equal(c->match_count, 0);
	assert_text(c->fallback.name, "envoy.transport_sockets.tls");
	assert_mutual(c->fallback.tls, "outbound_.8000_._.headless.default.svc.cluster.local",
		      "spiffe://cluster.local/ns/default/sa/headless");
	mesh_config_object_release(c);
}

static void none(void **state)
{
	struct cluster_config *c =
		cluster_fixture_recorded(*state, STRICT, "outbound|9000||echo.default.svc.cluster.local");

	assert_int_equal(c->match_count, 0);
	assert_null(c->fallback.tls);
	assert_false(c->fallback.unsupported);
	mesh_config_object_release(c);
}

/* A tunnel among the choices is known: nothing is noted, and only an endpoint that selects it is out of reach. */
static void tunnel(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f,
		"'transportSocketMatches': [{'name': 'hbone', 'match': {'tunnel': 'http'}, 'transportSocket': {'name': "
		"'envoy.transport_sockets.internal_upstream', 'typedConfig': {'@type': "
		"'envoy.extensions.transport_sockets."
		"internal_upstream.v3.InternalUpstreamTransport'}}}, {'name': 'tlsMode-istio', 'match': {'tlsMode': "
		"'istio'}, " UPSTREAM("'sni': 's'") "}]");

	assert_string_equal(decode_fixture_notes(f), "");
	assert_int_equal(c->kind, CLUSTER_EDS);
	assert_true(c->matches[0].unsupported);
	assert_null(c->matches[0].tls);
	assert_text(c->matches[0].match[0].key, "tunnel");
	assert_text(c->matches[0].match[0].value, "http");
	assert_false(c->matches[1].unsupported);
	assert_text(c->matches[1].tls->sni, "s");
	mesh_config_object_release(c);
}

/* ---- other values ---- */

static void parameters(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c =
		cluster_fixture_eds(f, COMMON("'tlsParams': {'tlsMinimumProtocolVersion': 'TLSv1_3', 'cipherSuites': "
					      "['[ECDHE-A|ECDHE-B]', 'AES-C']}, "
					      "'alpnProtocols': ['h2']"));

	assert_int_equal(c->fallback.tls->min, TLS_VERSION_1_3);
	assert_int_equal(c->fallback.tls->max, TLS_VERSION_AUTO);
	assert_text(c->fallback.tls->ciphers, "ECDHE-A:ECDHE-B:AES-C");
	assert_int_equal(c->fallback.tls->ciphers.data[c->fallback.tls->ciphers.len], '\0');
	assert_text(c->fallback.tls->alpn, "\x02h2");
	assert_absent(c->fallback.tls->sni);
	assert_absent(c->fallback.tls->certificate_name);
	assert_absent(c->fallback.tls->roots_name);
	mesh_config_object_release(c);
}

/* Names from the request's host: without roots they would be checked by nobody, and what asks for that is out of reach. */
static void automatic_names(void **state)
{
	static const char options[] =
		"'typedExtensionProtocolOptions': {'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {'@type': "
		"'envoy.extensions.upstreams.http.v3.HttpProtocolOptions', 'autoConfig': {}, "
		"'upstreamHttpProtocolOptions': "
		"{'autoSni': true, 'autoSanValidation': true}}}, ";
	struct decode_fixture *f = *state;
	struct cluster_config *c =
		cluster_fixture_eds(f, mesh_arena_printf(&f->arena, "%s%s", options, UPSTREAM("'sni': 'n'")).data);

	assert_true(c->fallback.tls->upstream_auto_sni);
	assert_true(c->fallback.tls->upstream_auto_san);
	assert_true(c->fallback.unsupported);
	assert_non_null(strstr(decode_fixture_notes(f), "upstream_http_protocol_options.auto_san_validation: a name to check without roots"));
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f, mesh_arena_printf(&f->arena,
				     "%s'transportSocketMatches': [{'name': 'tls', 'match': {'tlsMode': 'istio'}, %s}, {'name': "
				     "'raw', 'match': {}, 'transportSocket': {'name': 'envoy.transport_sockets.raw_buffer'}}]",
				     options, UPSTREAM("'sni': 'n'"))
			   .data);
	assert_true(c->matches[0].unsupported);
	assert_false(c->matches[1].unsupported);
	assert_false(c->fallback.unsupported);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f, mesh_arena_printf(&f->arena, "'upstreamHttpProtocolOptions': {'autoSni': true, 'overrideAutoSniHeader': 'X-Host'}, %s",
				     UPSTREAM("'sni': 'n'")).data);
	assert_false(c->fallback.unsupported);
	assert_true(c->fallback.tls->upstream_auto_sni);
	assert_false(c->fallback.tls->upstream_auto_san);
	assert_true(c->names.wanted);
	assert_memory_equal(c->names.header.data, "x-host", 7);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f, mesh_arena_printf(&f->arena, "%s%s", options,
				     UPSTREAM("'commonTlsContext': {'combinedValidationContext': {'defaultValidationContext': {}, "
					      "'validationContextSdsSecretConfig': {'name': 'file-root:system'}}}")).data);
	assert_false(c->fallback.unsupported);
	assert_true(c->fallback.tls->upstream_auto_san);
	assert_true(c->names.wanted);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, UPSTREAM("'autoHostSni': true"));
	assert_true(c->fallback.tls->upstream_auto_sni);
	assert_false(c->fallback.tls->upstream_auto_san);
	assert_true(c->fallback.unsupported);
	assert_non_null(strstr(decode_fixture_notes(f), "auto_host_sni: not supported"));
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, UPSTREAM("'autoSniSanValidation': true"));
	assert_true(c->fallback.unsupported);
	assert_non_null(strstr(decode_fixture_notes(f), "auto_sni_san_validation: not supported"));
	mesh_config_object_release(c);
}

static void names_of_the_peer(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, COMBINED("'matchSubjectAltNames': [{'prefix': 'spiffe://a/'}, {'exact': 'B', 'ignoreCase': true}]"));
	const struct tls_config *tls = c->fallback.tls;

	assert_int_equal(tls->san_count, 2);
	assert_int_equal(tls->sans[0].kind, STRING_MATCH_PREFIX);
	assert_true(mesh_string_matches(&tls->sans[0], MESH_SLICE("spiffe://a/ns")));
	assert_true(tls->sans[1].ignore_case);
	assert_true(mesh_string_matches(&tls->sans[1], MESH_SLICE("b")));
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f,
		COMBINED("'matchTypedSubjectAltNames': [{'sanType': 'URI', 'matcher': {'exact': 'spiffe://x'}}, "
			 "{'sanType': 'DNS', 'matcher': {'exact': 'x.y'}}], 'matchSubjectAltNames': [{'exact': 'z'}]"));
	assert_false(c->fallback.unsupported);
	assert_int_equal(c->fallback.tls->san_count, 2); /* the older list counts alone only */
	assert_text(c->fallback.tls->sans[0].text, "spiffe://x");
	assert_text(c->fallback.tls->sans[1].text, "x.y");
	mesh_config_object_release(c);
}

static void downstream(void **state)
{
	struct decode_fixture *f = *state;
	struct listener_config *l = decode_fixture_listener_json(
		f,
		DOWNSTREAM(", 'requireClientCertificate': true, 'commonTlsContext': {'tlsCertificateSdsSecretConfigs': "
			   "[{'name': 'default'}], 'alpnProtocols': ['h2', 'http/1.1'], " ROOTS "}"));

	assert_non_null(l);
	assert_int_equal(l->chain_count, 1);
	assert_int_equal(l->chains[0].kind, CHAIN_TCP);
	assert_true(l->chains[0].tls->require_client_certificate);
	assert_text(l->chains[0].tls->certificate_name, "default");
	assert_text(l->chains[0].tls->roots_name, "ROOTCA");
	assert_text(l->chains[0].tls->alpn, "\x02h2\x08http/1.1");
	mesh_config_object_release(l);
}

/* ---- what is not understood ---- */

static void unknown_closes(void **state)
{
	static const struct {
		const char *rest, *note;
	} cases[] = {
		{"'transportSocket': {'name': 'envoy.transport_sockets.alts', 'typedConfig': {'@type': "
		 "'envoy.config.cluster.v3.Cluster'}}",
		 "transport_socket: \"envoy.transport_sockets.alts\""},
		{"'transportSocket': {'name': 'mine'}",
		 "transport_socket: \"mine\" (no typed_config): unknown transport socket"},
		{SOCKET("DownstreamTlsContext", ""), "transport_socket: \"envoy.transport_sockets.tls\""},
		{COMMON("'tlsParams': {'ecdhCurves': ['P-256']}"), "tls_params.ecdh_curves: not supported"},
		{COMMON("'tlsParams': {'signatureAlgorithms': ['x']}"),
		 "tls_params.signature_algorithms: not supported"},
		{COMMON("'tlsCertificates': [{}]"), "common_tls_context.tls_certificates: "},
		{COMMON("'tlsCertificateSdsSecretConfigs': [{'name': 'a'}, {'name': 'b'}]"),
		 "tls_certificate_sds_secret_configs: more"},
		{COMMON("'customHandshaker': {'name': 'h'}"), "custom_handshaker: not supported"},
		{VALIDATION("'trustedCa': {'inlineString': 'r'}"), "validation_context.trusted_ca: roots in place"},
		{VALIDATION("'matchSubjectAltNames': [{'exact': 'n'}]"),
		 "validation_context: names to check without roots"},
		{COMMON("'tlsParams': {'compliancePolicies': ['FIPS_202205']}"), "compliance_policies: not supported"},
		{COMMON("'customTlsCertificateSelector': {'name': 's'}"),
		 "custom_tls_certificate_selector: not supported"},
		{COMMON("'tlsCertificateProviderInstance': {'instanceName': 'i'}"),
		 "tls_certificate_provider_instance: not supported"},
		{COMBINED("'caCertificateProviderInstance': {'instanceName': 'i'}"),
		 "ca_certificate_provider_instance: not supported"},
		{COMBINED("'requireSignedCertificateTimestamp': true"),
		 "require_signed_certificate_timestamp: not supported"},
		{COMBINED("'verifyCertificateHash': ['aa']"), "verify_certificate_hash: not supported"},
		{COMBINED("'verifyCertificateSpki': ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=']"),
		 "verify_certificate_spki: not"},
		{COMBINED("'crl': {'inlineString': 'c'}"), "default_validation_context.crl: not supported"},
		{COMBINED("'maxVerifyDepth': 1"), "max_verify_depth: not supported"},
		{COMBINED("'customValidatorConfig': {'name': 'spiffe'}"), "custom_validator_config: not supported"},
		{COMBINED("'matchTypedSubjectAltNames': [{'sanType': 'URI', 'matcher': {'prefix': 'spiffe://'}}]"),
		 "match_typed_subject_alt_names[0].matcher: this kind"},
		{COMBINED("'matchTypedSubjectAltNames': [{'sanType': 'URI', 'matcher': {'exact': 'x.y'}}]"),
		 "match_typed_subject_alt_names[0].matcher: this kind"},
		{COMBINED("'matchTypedSubjectAltNames': [{'sanType': 'EMAIL', 'matcher': {'exact': 'a@b'}}]"),
		 "match_typed_subject_alt_names[0].matcher: this kind"},
		{COMBINED("'matchTypedSubjectAltNames': [{'sanType': 'DNS', 'matcher': {'exact': 'spiffe://x'}}]"),
		 "match_typed_subject_alt_names[0].matcher: this kind"},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_config *c = cluster_fixture_eds(f, cases[i].rest);

		if (!c->fallback.unsupported || !strstr(decode_fixture_notes(f), cases[i].note))
			fail_msg("case %zu: unsupported %d, notes: %s", i, c->fallback.unsupported,
				 decode_fixture_notes(f));
		mesh_config_object_release(c);
	}
}

/* A setting of a newer server at any level, by the numbers of the fields that lead there. */
static void unknown_field(void **state)
{
	enum { ROOM = 512, COMMON_CONTEXT = 1, PARAMETERS = 1, VALIDATION_CONTEXT = 3 };
	static const char url[] = "type.googleapis.com/" TLS "UpstreamTlsContext";
	static const unsigned levels[][2] = {
		{0, 0}, {COMMON_CONTEXT, 0}, {COMMON_CONTEXT, PARAMETERS}, {COMMON_CONTEXT, VALIDATION_CONTEXT}};
	struct decode_fixture *f = *state;
	unsigned char bytes[ROOM];

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct mesh_slice known = MESH_SLICE("\x0a\x01"
						     "c"); /* Cluster.name */
		struct cluster_config *c;
		size_t at = ROOM - 1, start;

		bytes[at] = 'x';
		at = cluster_fixture_wrap(bytes, at, ROOM, 2047 << 3 | 2);
		for (size_t level = 2; level-- > 0;)
			if (levels[i][level])
				at = cluster_fixture_wrap(bytes, at, ROOM, levels[i][level] << 3 | 2);
		at = cluster_fixture_wrap(bytes, at, ROOM, 2 << 3 | 2); /* Any.value */
		start = at - (sizeof(url) - 1);
		memcpy(bytes + start, url, sizeof(url) - 1);
		start = cluster_fixture_wrap(bytes, start, at, 1 << 3 | 2); /* Any.type_url */
		at = cluster_fixture_wrap(bytes, start, ROOM, 3 << 3 | 2);  /* TransportSocket.typed_config */
		bytes[--at] = 'n';
		at = cluster_fixture_wrap(bytes, at, at + 1, 1 << 3 | 2); /* TransportSocket.name */
		at = cluster_fixture_wrap(bytes, at, ROOM, 24 << 3 | 2);  /* Cluster.transport_socket */
		at -= known.len;
		memcpy(bytes + at, known.data, known.len);
		c = mesh_decode_cluster(&f->d, mesh_slice_make(bytes + at, ROOM - at));
		if (!c)
			fail_msg("level %zu: %s", i, f->d.why.text);
		if (!c->fallback.unsupported || !strstr(decode_fixture_notes(f), "(unknown field): not supported"))
			fail_msg("level %zu notes: %s", i, decode_fixture_notes(f));
		mesh_config_object_release(c);
	}
}

static void unknown_closes_a_chain(void **state)
{
	static const struct {
		const char *rest, *reason;
	} cases[] = {
		{DOWNSTREAM(", 'requireClientCertificate': true"), "no roots"},
		{DOWNSTREAM(", 'requireSni': true"), "require_sni"},
		{DOWNSTREAM(", 'ocspStaplePolicy': 'MUST_STAPLE'"), "ocsp_staple_policy"},
		{DOWNSTREAM(", 'commonTlsContext': {'validationContext': {'matchSubjectAltNames': [{'exact': 'n'}]}}"),
		 "without roots"},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *l = decode_fixture_listener_json(f, cases[i].rest);

		assert_non_null(l);
		assert_int_equal(l->chains[0].kind, CHAIN_FAIL_CLOSED);
		if (!mesh_slice_contains(l->chains[0].reason, mesh_slice_of(cases[i].reason)))
			fail_msg("case %zu: %.*s", i, (int)l->chains[0].reason.len, l->chains[0].reason.data);
		mesh_config_object_release(l);
	}
}

static void never_weaker(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(f, COMBINED("'trustChainVerification': 'ACCEPT_UNTRUSTED'"));

	assert_false(c->fallback.unsupported);
	assert_text(c->fallback.tls->roots_name, "ROOTCA");
	assert_non_null(strstr(decode_fixture_warnings(f), "refused all the same"));
	mesh_config_object_release(c);
}

/* ---- bad input ---- */

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{COMMON("'tlsParams': {'tlsMinimumProtocolVersion': 'TLSv1_1'}"),
		 "transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_version",
		 "older than TLSv1_2"},
		{COMMON("'tlsParams': {'tlsMaximumProtocolVersion': 9}"), "tls_params.tls_maximum_protocol_version",
		 "9: unknown"},
		{COMMON("'tlsParams': {'tlsMinimumProtocolVersion': 'TLSv1_3', 'tlsMaximumProtocolVersion': "
			"'TLSv1_2'}"),
		 "tls_maximum_protocol_version", "lower than the minimum"},
		{COMMON("'alpnProtocols': ['h2', '']"), "alpn_protocols[1]", "1..255"},
		{COMMON("'tlsCertificateSdsSecretConfigs': [{'name': ''}]"),
		 "tls_certificate_sds_secret_configs[0].name", "empty"},
		{COMMON("'validationContextSdsSecretConfig': {}"), "validation_context_sds_secret_config.name",
		 "empty"},
		{COMMON("'combinedValidationContext': {}"),
		 "combined_validation_context.validation_context_sds_secret_config.name", "empty"},
		{"'transportSocketMatches': [{'name': 'tlsMode-istio', 'match': {'tlsMode': 'istio'}}]",
		 "transport_socket_matches[0].transport_socket", "is required"},
		{"'transportSocket': {'name': ''}", "transport_socket.name", "empty"},
	};
	struct decode_fixture *f = *state;
	char name[257] = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cluster_fixture_refused(f, cases[i].rest, cases[i].path, cases[i].what);
	memset(name, 'n', 256);
	cluster_fixture_refused(f, mesh_arena_printf(&f->arena, UPSTREAM("'sni': '%s'"), name).data,
				"transport_socket.typed_config.sni", "longer than 255");
	cluster_fixture_refused(f, mesh_arena_printf(&f->arena, COMMON("'alpnProtocols': ['%s']"), name).data,
				"alpn_protocols[0]", "1..255");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(auto_mutual, setup, teardown),
		cmocka_unit_test_setup_teardown(auto_mutual_of_subsets_and_http2, setup, teardown),
		cmocka_unit_test_setup_teardown(mutual_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(none, setup, teardown),
		cmocka_unit_test_setup_teardown(tunnel, setup, teardown),
		cmocka_unit_test_setup_teardown(parameters, setup, teardown),
		cmocka_unit_test_setup_teardown(automatic_names, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_the_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(downstream, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_field, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_closes_a_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(never_weaker, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
