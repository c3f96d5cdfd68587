/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection manager's settings of its connections: the version of HTTP, HTTP/2's own, protocols to change to, and the
 * longest times; each with its default, and out of range refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/decode_fixture.h"

#define TYPED(name, type, fields) "{'name': '" name "', 'typedConfig': {'@type': '" type "'" fields "}}"
#define ROUTER                    TYPED("router", "envoy.extensions.filters.http.router.v3.Router", "")
#define MANAGER                                                                                                        \
	"'filterChains': [{'filters': [{'name': 'hcm', 'typedConfig': {'@type': "                                      \
	"'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', 'statPrefix': 's', "     \
	"'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}, 'httpFilters': [" ROUTER "]%s}}]}]"
#define IN_HCM "filter_chains[0].filters[0].typed_config."

static struct listener_config *decode(struct decode_fixture *f, const char *fields)
{
	char rest[4096];

	assert_true(snprintf(rest, sizeof(rest), MANAGER, fields) < (int)sizeof(rest));
	return decode_fixture_listener_json(f, rest);
}

/* The listener, to be released; *http of its only chain. */
static struct listener_config *good(struct decode_fixture *f, const char *fields, const struct http_config **http)
{
	struct listener_config *listener = decode(f, fields);

	if (!listener)
		fail_msg("%s: %s", fields, f->d.why.text);
	assert_int_equal(listener->chain_count, 1);
	assert_int_equal(listener->chains[0].kind, CHAIN_HTTP);
	*http = listener->chains[0].http;
	return listener;
}

static void defaults(void **state)
{
	struct decode_fixture f;
	const struct http_config *http;
	static const struct http2_config none;

	decode_fixture_begin(&f);
	struct listener_config *listener = good(&f, "", &http);

	assert_int_equal(http->codec, HTTP_CODEC_AUTO);
	assert_memory_equal(&http->http2, &none, sizeof(none));
	assert_int_equal(http->upgrade_count, 0);
	assert_int_equal(http->connection_duration_max_ns, 0);
	assert_int_equal(http->stream_duration_max_ns, 0);
	assert_int_equal(http->stream_idle_timeout_ns, -1);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void codecs(void **state)
{
	static const struct {
		const char *fields;
		enum http_codec codec;
	} cases[] = {{", 'codecType': 'AUTO'", HTTP_CODEC_AUTO},
		     {", 'codecType': 'HTTP1'", HTTP_CODEC_HTTP1},
		     {", 'codecType': 'HTTP2'", HTTP_CODEC_HTTP2}};
	const struct http_config *http;
	struct listener_config *listener;
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		listener = good(&f, cases[i].fields, &http);
		assert_int_equal(http->codec, cases[i].codec);
		mesh_config_object_release(listener);
	}
	listener = decode(&f, ", 'codecType': 'HTTP3'"); /* nothing of ours could read it */
	assert_non_null(listener);
	assert_int_equal(listener->chains[0].kind, CHAIN_FAIL_CLOSED);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void http2(void **state)
{
	const struct http_config *http;
	struct listener_config *listener;
	struct decode_fixture f;

	decode_fixture_begin(&f);
	listener =
		good(&f,
		     ", 'http2ProtocolOptions': {'maxConcurrentStreams': 100, 'initialStreamWindowSize': 65536,"
		     " 'initialConnectionWindowSize': 1048576, 'hpackTableSize': 0, 'allowConnect': true, "
		     "'maxOutboundFrames': 9,"
		     " 'maxOutboundControlFrames': 8, 'maxConsecutiveInboundFramesWithEmptyPayload': 7,"
		     " 'maxInboundPriorityFramesPerStream': 6, 'maxInboundWindowUpdateFramesPerDataFrameSent': 5,"
		     " 'streamResetBurst': '4', 'streamResetRate': '5000000000',"
		     " 'connectionKeepalive': {'interval': '30s', 'timeout': '5s', 'connectionIdleInterval': '60s'}}",
		     &http);
	assert_int_equal(http->http2.streams_max, 100);
	assert_int_equal(http->http2.stream_window_bytes, 65536);
	assert_int_equal(http->http2.connection_window_bytes, 1048576);
	assert_true(http->http2.hpack_table_set);
	assert_int_equal(http->http2.hpack_table_bytes, 0);
	assert_true(http->http2.allow_connect);
	assert_false(http->http2.invalid_message_resets_stream);
	assert_int_equal(http->http2.outbound_frames_max, 9);
	assert_int_equal(http->http2.outbound_control_frames_max, 8);
	assert_int_equal(http->http2.empty_frames_max, 7);
	assert_int_equal(http->http2.priority_frames_max, 6);
	assert_int_equal(http->http2.window_updates_max, 5);
	assert_int_equal(http->http2.reset_burst, 4);
	assert_int_equal(http->http2.reset_rate, UINT32_MAX);
	assert_int_equal(http->http2.ping_interval_ns, 30000000000);
	assert_int_equal(http->http2.ping_timeout_ns, 5000000000);
	assert_int_equal(http->http2.ping_idle_ns, 60000000000);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

/* What a malformed message ends: HTTP/2's own word, the manager's, the older one. */
static void malformed_messages(void **state)
{
	static const struct {
		const char *fields;
		bool stream_alone;
	} cases[] = {
		{", 'streamErrorOnInvalidHttpMessage': true", true},
		{", 'http2ProtocolOptions': {'streamErrorOnInvalidHttpMessaging': true}", true},
		{", 'http2ProtocolOptions': {'overrideStreamErrorOnInvalidHttpMessage': true}", true},
		{", 'http2ProtocolOptions': {'overrideStreamErrorOnInvalidHttpMessage': false,"
		 " 'streamErrorOnInvalidHttpMessaging': true}",
		 false},
		{", 'streamErrorOnInvalidHttpMessage': true, 'http2ProtocolOptions':"
		 " {'overrideStreamErrorOnInvalidHttpMessage': false}",
		 false},
	};
	const struct http_config *http;
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listener_config *listener = good(&f, cases[i].fields, &http);

		if (http->http2.invalid_message_resets_stream != cases[i].stream_alone)
			fail_msg("case %zu", i);
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

/* As istiod sends it; switched off; with filters of its own, whose rules would not be the manager's. */
static void upgrades(void **state)
{
	const struct http_config *http;
	struct listener_config *listener;
	struct decode_fixture f;

	decode_fixture_begin(&f);
	listener =
		good(&f,
		     ", 'upgradeConfigs': [{'upgradeType': 'WebSocket'}, {'upgradeType': 'spdy/3.1', 'enabled': false},"
		     " {'upgradeType': 'CONNECT', 'filters': [" ROUTER "]}, {'upgradeType': 'other', 'enabled': true}]",
		     &http);
	assert_int_equal(http->upgrade_count, 2);
	assert_text(http->upgrades[0], "websocket");
	assert_text(http->upgrades[1], "other");
	assert_int_equal(http->closed_upgrade_count, 1);
	assert_text(http->closed_upgrades[0], "connect");
	assert_string_equal(decode_fixture_notes(&f),
			    IN_HCM "upgrade_configs[2]: \"CONNECT\": filters of its own are not supported\n");
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void durations(void **state)
{
	const struct http_config *http;
	struct listener_config *listener;
	struct decode_fixture f;

	decode_fixture_begin(&f);
	listener = good(&f,
			", 'commonHttpProtocolOptions': {'idleTimeout': '1s', 'maxConnectionDuration': '2s', "
			"'maxStreamDuration':"
			" '3s', 'maxRequestsPerConnection': 4}, 'streamIdleTimeout': '5s', 'requestTimeout': '6s',"
			" 'requestHeadersTimeout': '7s', 'drainTimeout': '8s'",
			&http);
	assert_int_equal(http->idle_timeout_ns, 1000000000);
	assert_int_equal(http->connection_duration_max_ns, 2000000000);
	assert_int_equal(http->stream_duration_max_ns, 3000000000);
	assert_int_equal(http->requests_per_connection_max, 4);
	assert_int_equal(http->stream_idle_timeout_ns, 5000000000);
	assert_int_equal(http->request_timeout_ns, 6000000000);
	assert_int_equal(http->request_headers_timeout_ns, 7000000000);
	assert_int_equal(http->drain_timeout_ns, 8000000000);
	mesh_config_object_release(listener);
	decode_fixture_end(&f);
}

static void refused(void **state)
{
	static const struct {
		const char *fields, *why;
	} cases[] = {
		{", 'codecType': 4", "codec_type: 4: unknown"},
		{", 'http2ProtocolOptions': {'maxConcurrentStreams': 0}",
		 "http2_protocol_options.max_concurrent_streams: 0: must be 1..2147483647"},
		{", 'http2ProtocolOptions': {'maxConcurrentStreams': 2147483648}",
		 "http2_protocol_options.max_concurrent_streams: 2147483648: must be 1..2147483647"},
		{", 'http2ProtocolOptions': {'initialStreamWindowSize': 65534}",
		 "http2_protocol_options.initial_stream_window_size: 65534: must be 65535..2147483647"},
		{", 'http2ProtocolOptions': {'initialConnectionWindowSize': 1}",
		 "http2_protocol_options.initial_connection_window_size: 1: must be 65535..2147483647"},
		{", 'http2ProtocolOptions': {'maxOutboundFrames': 0}",
		 "http2_protocol_options.max_outbound_frames: 0: must be 1..4294967295"},
		{", 'http2ProtocolOptions': {'maxHeaderFieldSizeKb': 63}",
		 "http2_protocol_options.max_header_field_size_kb: 63: must be 64..256"},
		{", 'http2ProtocolOptions': {'connectionKeepalive': {'interval': '1s'}}",
		 "http2_protocol_options.connection_keepalive.timeout: is required"},
		{", 'http2ProtocolOptions': {'connectionKeepalive': {'interval': '0.0001s', 'timeout': '1s'}}",
		 "http2_protocol_options.connection_keepalive.interval: must be 1 ms or more"},
		{", 'http2ProtocolOptions': {'connectionKeepalive': {'timeout': '1s', 'intervalJitter': {'value': "
		 "101}}}",
		 "http2_protocol_options.connection_keepalive.interval_jitter: 101: must be 0..100"},
		{", 'commonHttpProtocolOptions': {'maxConnectionDuration': '-1s'}",
		 "common_http_protocol_options.max_connection_duration: -1s: must not be negative"},
		{", 'commonHttpProtocolOptions': {'maxStreamDuration': '-1s'}",
		 "common_http_protocol_options.max_stream_duration: -1s: must not be negative"},
	};
	struct decode_fixture f;
	char why[256];

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(decode(&f, cases[i].fields));
		snprintf(why, sizeof(why), IN_HCM "%s", cases[i].why);
		assert_string_equal(f.d.why.text, why);
	}
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults), cmocka_unit_test(codecs),
		cmocka_unit_test(http2),    cmocka_unit_test(malformed_messages),
		cmocka_unit_test(upgrades), cmocka_unit_test(durations),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
