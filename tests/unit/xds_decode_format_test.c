/* SPDX-License-Identifier: Apache-2.0 */
/* Which command operators and path templates are taken and which refused: each row as Envoy 1.40 was seen to decide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/rewrite.h"
#include "policy/route_match.h"
#include "support/route_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Inside single quotes of the fixture's JSON. */
static struct mesh_slice quoted(struct arena *arena, const char *text)
{
	char *copy = mesh_arena_alloc(arena, 6 * strlen(text) + 1), *at = copy;

	for (; *text; text++) {
		if (*text == '"' || *text == '\'') {
			memcpy(at, *text == '"' ? "\\u0022" : "\\u0027", 6);
			at += 6;
		} else {
			*at++ = *text;
		}
	}
	*at = '\0';
	return mesh_slice_of(copy);
}

static struct route_config *with_value(struct route_fixture *f, const char *value)
{
	struct mesh_slice members =
		mesh_arena_printf(&f->arena, "'requestHeadersToAdd': [{'header': {'key': 'x', 'value': '%s'}}]",
				  quoted(&f->arena, value).data);

	return route_fixture_try(f, route_fixture_pack_host(f, members.data));
}

static void operators(void **state)
{
	static const char *const taken[] = {
		"%%", "%ACCESS_LOG_TYPE%", "%BYTES_RECEIVED%", "%BYTES_RETRANSMITTED%", "%BYTES_SENT%",
		"%CLUSTER_METADATA(com.x:k)%", "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)%",
		"%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%", "%COMMON_DURATION(DS_RX_BEG:x:us)%",
		"%COMMON_DURATION(a:b)%", "%CONNECTION_ID%", "%CONNECTION_TERMINATION_DETAILS%", "%CUSTOM_FLAGS%",
		"%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%", "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%",
		"%DOWNSTREAM_DETECTED_CLOSE_TYPE%", "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
		"%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_DIRECT_LOCAL_PORT%",
		"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
		"%DOWNSTREAM_DIRECT_REMOTE_PORT%", "%DOWNSTREAM_HEADER_BYTES_RECEIVED%",
		"%DOWNSTREAM_HEADER_BYTES_SENT%", "%DOWNSTREAM_LOCAL_ADDRESS%",
		"%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
		"%DOWNSTREAM_LOCAL_CLOSE_REASON%", "%DOWNSTREAM_LOCAL_DNS_SAN%", "%DOWNSTREAM_LOCAL_EMAIL_SAN%",
		"%DOWNSTREAM_LOCAL_IP_SAN%", "%DOWNSTREAM_LOCAL_OTHERNAME_SAN%", "%DOWNSTREAM_LOCAL_PORT%",
		"%DOWNSTREAM_LOCAL_SUBJECT%", "%DOWNSTREAM_LOCAL_URI_SAN%", "%DOWNSTREAM_PEER_CERT%",
		"%DOWNSTREAM_PEER_CERT_V_END%", "%DOWNSTREAM_PEER_CERT_V_START%",
		"%DOWNSTREAM_PEER_CERT_V_START(%Y)%", "%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1%",
		"%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256%", "%DOWNSTREAM_PEER_CHAIN_SERIALS%",
		"%DOWNSTREAM_PEER_DNS_SAN%", "%DOWNSTREAM_PEER_EMAIL_SAN%", "%DOWNSTREAM_PEER_FINGERPRINT_1%",
		"%DOWNSTREAM_PEER_FINGERPRINT_256%", "%DOWNSTREAM_PEER_IP_SAN%", "%DOWNSTREAM_PEER_ISSUER%",
		"%DOWNSTREAM_PEER_OTHERNAME_SAN%", "%DOWNSTREAM_PEER_SERIAL%", "%DOWNSTREAM_PEER_SUBJECT%",
		"%DOWNSTREAM_PEER_URI_SAN%", "%DOWNSTREAM_REMOTE_ADDRESS%",
		"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_REMOTE_PORT%", "%DOWNSTREAM_TLS_CIPHER%",
		"%DOWNSTREAM_TLS_SESSION_ID%", "%DOWNSTREAM_TLS_VERSION%", "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
		"%DOWNSTREAM_WIRE_BYTES_RECEIVED%", "%DOWNSTREAM_WIRE_BYTES_SENT%", "%DURATION%",
		"%DYNAMIC_METADATA([\"a\",\"b\"])%", "%DYNAMIC_METADATA(a%b:c)%", "%DYNAMIC_METADATA(a)%",
		"%DYNAMIC_METADATA(a:b)%", "%DYNAMIC_METADATA(a:b:c):10%", "%EMIT_TIME%", "%EMIT_TIME(%Y)%",
		"%EMIT_TIME_LOCAL%", "%ENVIRONMENT(NOPE)%", "%ENVIRONMENT(ORACLE_ENV)%", "%ENVIRONMENT(X):5%",
		"%FILTER_CHAIN_NAME%", "%FILTER_STATE(a):5%", "%FILTER_STATE(a:FIELD:b)%", "%FILTER_STATE(a:PLAIN)%",
		"%GRPC_STATUS%", "%GRPC_STATUS(NUMBER)%", "%GRPC_STATUS_NUMBER%", "%HOSTNAME%", "%LOCAL_REPLY_BODY%",
		"%METADATA(CLUSTER:com.x:k)%", "%METADATA(DYNAMIC:a)%", "%METADATA(LISTENER:a:b)%",
		"%METADATA(LISTENER_FILTER_CHAIN:a:b)%", "%METADATA(ROUTE:com.x:k)%", "%METADATA(ROUTE:com.x:o)%",
		"%METADATA(UPSTREAM_HOST:a:b)%", "%METADATA(VIRTUAL_HOST:com.x:k)%", "%PACKETS_RETRANSMITTED%",
		"%PATH%", "%PATH(NQ)%", "%PATH(NQ:PATH)%", "%PATH(WQ):3%", "%PATH(WQ:ORIG)%",
		"%PER_REQUEST_STATE(a.b)%", "%PER_REQUEST_STATE(x)%", "%PROTOCOL%", "%QUERY_PARAM(q)%",
		"%QUERY_PARAM(x):3%", "%QUERY_PARAMS%", "%QUERY_PARAMS(ORIG)%", "%REQ(:AUTHORITY)%",
		"%REQ(:METHOD)%", "%REQ(:PATH)%", "%REQ(:x)%", "%REQ(?a)%", "%REQ(X-A)%", "%REQ(X-MULTI)%",
		"%REQ(X-NONE)%", "%REQ(X-NONE?X-A):2%", "%REQ(a)%%REQ(b)%", "%REQ(a?)%", "%REQ(x%)%", "%REQ(x)%:",
		"%REQUESTED_SERVER_NAME%", "%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG_OR_HOST)%",
		"%REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)%", "%REQUESTED_SERVER_NAME(SNI_ONLY)%", "%REQUEST_DURATION%",
		"%REQUEST_HEADERS_BYTES%", "%REQUEST_TX_DURATION%", "%RESP(X-UP)%", "%RESP(a?b)%", "%RESPONSE_CODE%",
		"%RESPONSE_CODE_DETAILS%", "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
		"%RESPONSE_CODE_DETAILS(X)%", "%RESPONSE_DURATION%", "%RESPONSE_FLAGS%", "%RESPONSE_FLAGS_LONG%",
		"%RESPONSE_HEADERS_BYTES%", "%RESPONSE_TRAILERS_BYTES%", "%RESPONSE_TX_DURATION%",
		"%ROUNDTRIP_DURATION%", "%ROUTE_NAME%", "%SPAN_ID%", "%START_TIME%", "%START_TIME(%%%%)%",
		"%START_TIME(%Y%)%", "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f%z)%", "%START_TIME(%s)%",
		"%START_TIME((%s))%", "%START_TIME_LOCAL%", "%STREAM_ID%", "%TLS_JA3_FINGERPRINT%",
		"%TLS_JA4_FINGERPRINT%", "%TRACE_ID%", "%TRAILER(X)%", "%UNIQUE_ID%", "%UPSTREAM_CLUSTER%",
		"%UPSTREAM_CLUSTER_RAW%", "%UPSTREAM_CONNECTION_ID%", "%UPSTREAM_CONNECTION_IDS_ATTEMPTED%",
		"%UPSTREAM_CONNECTION_POOL_READY_DURATION%", "%UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%",
		"%UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%", "%UPSTREAM_DETECTED_CLOSE_TYPE%",
		"%UPSTREAM_FILTER_STATE(x)%", "%UPSTREAM_HEADER_BYTES_RECEIVED%", "%UPSTREAM_HEADER_BYTES_SENT%",
		"%UPSTREAM_HOST%", "%UPSTREAM_HOSTS_ATTEMPTED%", "%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%",
		"%UPSTREAM_HOST_NAME%", "%UPSTREAM_HOST_NAMES_ATTEMPTED%", "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
		"%UPSTREAM_LOCAL_ADDRESS%", "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "%UPSTREAM_LOCAL_CLOSE_REASON%",
		"%UPSTREAM_LOCAL_DNS_SAN%", "%UPSTREAM_LOCAL_IP_SAN%", "%UPSTREAM_LOCAL_PORT%",
		"%UPSTREAM_LOCAL_URI_SAN%", "%UPSTREAM_METADATA([\"a\", \"b\"])%",
		"%UPSTREAM_METADATA([\"a\",\"b\"])%", "%UPSTREAM_METADATA(a)%", "%UPSTREAM_METADATA(com.x:k)%",
		"%UPSTREAM_PEER_CERT%", "%UPSTREAM_PEER_CERT_V_END%", "%UPSTREAM_PEER_CERT_V_START%",
		"%UPSTREAM_PEER_DNS_SAN%", "%UPSTREAM_PEER_IP_SAN%", "%UPSTREAM_PEER_ISSUER%",
		"%UPSTREAM_PEER_SUBJECT%", "%UPSTREAM_PEER_URI_SAN%", "%UPSTREAM_PROTOCOL%",
		"%UPSTREAM_REMOTE_ADDRESS%", "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%UPSTREAM_REMOTE_PORT%",
		"%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "%UPSTREAM_SERVER_NAME%", "%UPSTREAM_TLS_CIPHER%",
		"%UPSTREAM_TLS_SESSION_ID%", "%UPSTREAM_TLS_VERSION%", "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"%UPSTREAM_WIRE_BYTES_RECEIVED%", "%UPSTREAM_WIRE_BYTES_SENT%", "%VIRTUAL_CLUSTER_NAME%", "a%%b",
	};
	static const char *const refused[] = {
		"% PROTOCOL%", "%%%", "%%REQ(x)%", "%CLUSTER_METADATA%", "%COMMON_DURATION(a)%",
		"%DOWNSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%", "%DURATION():3%", "%DURATION:3%", "%DURATION_US%",
		"%DYNAMIC_METADATA%", "%DYNAMIC_METADATA()%", "%ENVIRONMENT%", "%ENVIRONMENT()%", "%FILTER_STATE%",
		"%FILTER_STATE()%", "%FILTER_STATE(a:FIELD)%", "%FILTER_STATE(a:FOO)%", "%GRPC_STATUS():3%",
		"%GRPC_STATUS(FOO)%", "%HOSTNAME(x)%", "%LISTENER_METADATA(a:b)%", "%METADATA(X:a)%",
		"%PATH(WQ:PATH_OR_ORIG)%", "%PATH(XX)%", "%PER_REQUEST_STATE%", "%QUERY_PARAM%", "%QUERY_PARAM()%",
		"%QUERY_PARAMS(PATH)%", "%QUERY_PARAMS(X)%", "%REQ (x)%", "%REQ()%", "%REQ(A B)%", "%REQ(x))%",
		"%REQ(x):%", "%REQ(x):99999999999999999999%", "%REQUESTED_SERVER_NAME(SNI_FIRST:PATH)%",
		"%REQUESTED_SERVER_NAME(X)%", "%REQ_WITHOUT_QUERY(:PATH)%", "%REQ_WITHOUT_QUERY(:PATH):3%",
		"%RESPONSE_CODE(x)%", "%RESPONSE_FLAGS(X)%", "%RESPONSE_FLAGS:3%", "%RESP_WITHOUT_QUERY(location)%",
		"%ROUTE_METADATA(a:b)%", "%START_TIME%%", "%START_TIME(%n)%", "%START_TIME():4%", "%STREAM_ID(x)%",
		"%SUBSTRING(a)%", "%TRACE_ID(x)%", "%TRAILER()%", "%UPSTREAM_LOCAL_SUBJECT%",
		"%UPSTREAM_PEER_EMAIL_SAN%", "%UPSTREAM_PEER_FINGERPRINT_256%", "%UPSTREAM_PEER_SERIAL%",
		"%UPSTREAM_REQUEST_ID%", "%VIRTUAL_HOST_NAME%", "%protocol%",
	};

	for (size_t i = 0; i < COUNT(taken); i++)
		if (!with_value(*state, taken[i]))
			fail_msg("refused: %s: %s", taken[i], ((struct route_fixture *)*state)->d.why.text);
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct route_fixture *f = *state;

		if (with_value(f, refused[i]))
			fail_msg("taken: %s", refused[i]);
		if (!strstr(f->d.why.text, "virtual_hosts[0].request_headers_to_add[0].header.value: "))
			fail_msg("%s says: %s", refused[i], f->d.why.text);
	}
}

static const struct header_mutation *mutation(struct route_fixture *f, const char *value)
{
	const struct route_config *config = with_value(f, value);

	if (!config)
		fail_msg("refused: %s: %s", value, f->d.why.text);
	return config->hosts[0].mutations.request_add;
}

static void pieces(void **state)
{
	const struct header_mutation *made = mutation(*state, "100%% of %%it");
	const struct format_piece *piece;

	assert_null(made->format); /* the same for all: nothing to do for each request */
	assert_slice(made->value, "100% of %it");
	made = mutation(*state, "a%%%REQ(X-A?Y):5%b%PROTOCOL%");
	assert_int_equal(made->format->count, 4);
	piece = made->format->pieces;
	assert_slice(piece[0].text, "a%");
	assert_int_equal(piece[1].op, FORMAT_REQ);
	assert_slice(piece[1].text, "x-a");
	assert_slice(piece[1].other, "y");
	assert_int_equal(piece[1].max, 5);
	assert_slice(piece[2].text, "b");
	assert_int_equal(piece[3].op, FORMAT_PROTOCOL);
	piece = mutation(*state, "%DYNAMIC_METADATA(a:b:c)%")->format->pieces;
	assert_slice(piece->text, "a");
	assert_int_equal(piece->path_count, 2);
	assert_slice(piece->path[1], "c");
	piece = mutation(*state, "%DYNAMIC_METADATA([\"a\", \"b\"])%")->format->pieces;
	assert_slice(piece->text, "a");
	assert_slice(piece->path[0], "b");
}

/* What this process was started with is not the control plane's to read. */
static void environment(void **state)
{
	struct route_fixture *f = *state;

	assert_int_equal(setenv("MESH_TEST_SECRET", "hush", 1), 0);
	assert_slice(mutation(f, "%ENVIRONMENT(MESH_TEST_SECRET)%")->value, "-");
	assert_int_equal(f->warnings, 1);
	assert_string_equal(f->warning, "operator %ENVIRONMENT(MESH_TEST_SECRET)%: stands for nothing here");
	assert_slice(mutation(f, "a%ENVIRONMENT(MESH_TEST_SECRET):2%")->format->pieces[1].text, "-");
	assert_slice(mutation(f, "%ENVIRONMENT(MESH_NO_SUCH_VARIABLE)%")->value, "-");
	assert_int_equal(f->warnings, 1);
}

static void not_known_here(void **state)
{
	static const char *const operators[] = {
		"%FILTER_STATE(a:PLAIN)%", "%UPSTREAM_FILTER_STATE(a)%", "%METADATA(ROUTE:a:b)%", "%CLUSTER_METADATA(a:b)%",
		"%UPSTREAM_METADATA(a:b)%", "%QUERY_PARAMS(DECODED)%",
	};
	struct route_fixture *f = *state;

	for (size_t i = 0; i < COUNT(operators); i++) {
		struct mesh_slice name = mesh_slice_of(operators[i] + 1);

		name = mesh_slice_cut(&name, '(');
		assert_int_equal(mutation(f, operators[i])->format->pieces[0].op, FORMAT_NOTHING);
		assert_int_equal(f->warnings, 1);
		assert_non_null(strstr(f->warning, mesh_arena_printf(&f->arena, "operator %%%.*s%%: stands for nothing here",
								     (int)name.len, name.data).data));
	}
	mutation(f, "%DYNAMIC_METADATA(a:b)%%REQ(x)%%HOSTNAME%");
	assert_int_equal(f->warnings, 0);
}

/* Each piece takes what it is long, not what all of the value is. */
static void pieces_bytes(void **state)
{
	struct route_fixture *f = *state;
	size_t each = strlen("a%REQ(x)%"), tail = 30000, len = 100 * each + tail;
	char *value = mesh_arena_alloc(&f->arena, len + 1);

	for (size_t i = 0; i < 100; i++)
		memcpy(value + i * each, "a%REQ(x)%", each);
	memset(value + 100 * each, 'b', tail);
	value[len] = '\0';
	assert_int_equal(mutation(f, value)->format->count, 201);
	assert_int_equal(mutation(f, value)->format->pieces[200].text.len, tail);
	assert_true(f->config->object.arena.total < 200000);
}

/* What the words of a refusal show of a value in bytes, which no NUL ends, is that value and nothing that lies behind it. */
static void refused_bytes(void **state)
{
	static const char *const values[][2] = {
		{"YWFhYWFhYSU=", "\"aaaaaaa%\": no operator at position 7"},
		{"YWFhYWFhYWFhYWFhYWFhJQ==", "\"aaaaaaaaaaaaaaa%\": no operator at position 15"},
	};
	struct route_fixture *f = *state;

	for (size_t i = 0; i < COUNT(values); i++) {
		struct mesh_slice members = mesh_arena_printf(
			&f->arena, "'requestHeadersToAdd': [{'header': {'key': 'x', 'rawValue': '%s'}},"
				   " {'header': {'key': 'y', 'value': 'behind it'}}]", values[i][0]);

		assert_null(route_fixture_try(f, route_fixture_pack_host(f, members.data)));
		if (!strstr(f->d.why.text, values[i][1]))
			fail_msg("%s says: %s", values[i][0], f->d.why.text);
	}
}

static struct route *with_template(struct route_fixture *f, const char *template, const char *rewrite)
{
	struct mesh_slice match = mesh_arena_printf(
		&f->arena,
		"'match': {'pathMatchPolicy': {'name': 'x', 'typedConfig': {'@type':"
		" 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'pathTemplate': '%s'}}}",
		quoted(&f->arena, template).data);
	struct mesh_slice action = MESH_SLICE("'route': {'cluster': 'c'}"), members;
	struct route_config *config;

	if (rewrite)
		action = mesh_arena_printf(&f->arena,
					   "'route': {'cluster': 'c', 'pathRewritePolicy': {'name': 'y', 'typedConfig': {'@type':"
					   " 'envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig',"
					   " 'pathTemplateRewrite': '%s'}}}",
					   quoted(&f->arena, rewrite).data);
	members = mesh_arena_printf(&f->arena, "'routes': [{%s, %s}]", match.data, action.data);
	config = route_fixture_try(f, route_fixture_pack_host(f, members.data));
	return config ? &config->hosts[0].routes[0] : NULL;
}

static void templates(void **state)
{
	static const char *const taken[] = {
		"/", "/%20", "/*", "/**", "/***", "/**.m3u8", "/*/*/*/*/*/*", "/a*", "/a*b", "/a,b!$&'()+",
		"/a-b_~.:@", "/a/", "/a/**/b", "/a/*b", "/a/{b=**}", "/a/{b=*}", "/a/{b}", "/a;b", "/a=b",
		"/{a=**}.m3u8", "/{a=**}b", "/{a=b*}", "/{a=b/**}/c", "/{a=b/*}", "/{a=x*}", "/{a}*", "/{a}.jpg",
		"/{a}/", "/{a}b/{c}d",
	};
	static const char *const refused[] = {
		"/**b/c", "/a b", "/a//b", "/a/{b=**}/**", "/a?b", "/{1a}", "/{a", "/{a-b}", "/{a=**}/x/*",
		"/{a=**}/{b}", "/{a=*b}", "/{a=*}/{a=*}", "/{a=*}{b=*}", "/{a=/b}", "/{a=}",
		"/{averyveryverylongname}", "/{a}/{b}/{c}/{d}/{e}/{f}", "/{a}{b}", "/é", "a",
	};
	static const struct {
		const char *match, *rewrite;
		bool good;
	} rewrites[] = {
		{"/a/{b}", "/x/{b}", true},
		{"/a/{b}", "/x/{c}", false},
		{"/a/{b}", "x", false},
		{"/a/{b}", "/x", true},
		{"/a/{b}", "/{b}{b}", true},
		{"/a/{b}", "/{b", false},
		{"/a/{b}", "//x", false},
		{"/a/{b}", "/x//y", false},
		{"/a/{b}", "/x/*", true},
		{"/a/{b=**}", "/{b}/", true},
		{"/a/{b}", "/x?y={b}", false},
		{"/a/{b}", "/x/{b=*}", false},
		{"/a/{b}", "{b}", false},
		{"/a/{b}", "/{}", false},
		{"/a/{b}", "/ x", false},
	};

	for (size_t i = 0; i < COUNT(taken); i++)
		if (!with_template(*state, taken[i], NULL))
			fail_msg("refused: %s", taken[i]);
	for (size_t i = 0; i < COUNT(refused); i++)
		if (with_template(*state, refused[i], NULL))
			fail_msg("taken: %s", refused[i]);
	for (size_t i = 0; i < COUNT(rewrites); i++)
		if ((with_template(*state, rewrites[i].match, rewrites[i].rewrite) != NULL) != rewrites[i].good)
			fail_msg("%s %s", rewrites[i].match, rewrites[i].rewrite);
}

static void template_rewritten(void **state)
{
	struct route_fixture *f = *state;
	const struct route *route = with_template(f, "/uri/{a}/{b=**}", "/{b}/z/{a}");
	struct rewrite rewrite = {.route = route};
	struct mesh_slice authority = MESH_SLICE("a"), path = MESH_SLICE("/uri/one/two/three?q=r");
	struct route_request request = {.path = path};
	struct headers headers = {0};

	assert_non_null(route);
	assert_true(mesh_route_matches(&route->match, &request, &f->arena));
	request.path = MESH_SLICE("/uri/one");
	assert_false(mesh_route_matches(&route->match, &request, &f->arena));
	assert_int_equal(mesh_rewrite_request(&rewrite, &f->arena, &authority, &path, &headers), 0);
	assert_slice(path, "/two/three/z/one?q=r");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(operators, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(pieces, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(environment, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(not_known_here, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(pieces_bytes, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(refused_bytes, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(templates, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(template_rewritten, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
