/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 settings of a cluster are the same wherever a cluster may carry them, and out of range they are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/cluster_fixture.h"

#define OPTIONS	      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define HTTP(members) "'typedExtensionProtocolOptions': {'" OPTIONS "': {'@type': '" OPTIONS "', " members "}}"

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

/* Everywhere settings may be; %s is them. */
static const struct {
	const char *form, *path;
	enum upstream_protocol protocol;
} places[] = {
	{HTTP("'explicitHttpConfig': {'http2ProtocolOptions': {%s}}"), "explicit_http_config.http2_protocol_options",
	 UPSTREAM_HTTP2},
	{HTTP("'useDownstreamProtocolConfig': {'httpProtocolOptions': {}, 'http2ProtocolOptions': {%s}}"),
	 "use_downstream_protocol_config.http2_protocol_options", UPSTREAM_DOWNSTREAM},
	{HTTP("'autoConfig': {'http2ProtocolOptions': {%s}}"), "auto_config.http2_protocol_options", UPSTREAM_AUTO},
	{"'http2ProtocolOptions': {%s}", "http2_protocol_options", UPSTREAM_HTTP2},
	{"'protocolSelection': 'USE_DOWNSTREAM_PROTOCOL', 'http2ProtocolOptions': {%s}", "http2_protocol_options",
	 UPSTREAM_DOWNSTREAM},
};

enum { PLACES = sizeof(places) / sizeof(places[0]) };

static const char *put(struct decode_fixture *f, size_t place, const char *settings)
{
	const char *at = strstr(places[place].form, "%s");

	return mesh_arena_printf(&f->arena, "%.*s%s%s", (int)(at - places[place].form), places[place].form, settings, at + 2)
		.data;
}

static void settings(void **state)
{
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < PLACES; i++) {
		struct cluster_config *c = cluster_fixture_eds(
			f, put(f, i, "'maxConcurrentStreams': 7, 'initialStreamWindowSize': 65535, "
				     "'initialConnectionWindowSize': 2147483647, 'hpackTableSize': 0, 'allowConnect': true, "
				     "'connectionKeepalive': {'interval': '30s', 'timeout': '0.5s', "
				     "'connectionIdleInterval': '20s'}"));

		assert_int_equal(c->protocol, places[i].protocol);
		assert_int_equal(c->http2.streams_max, 7);
		assert_int_equal(c->http2.stream_window_bytes, 65535);
		assert_int_equal(c->http2.connection_window_bytes, INT32_MAX);
		assert_true(c->http2.hpack_table_set);
		assert_int_equal(c->http2.hpack_table_bytes, 0);
		assert_true(c->http2.allow_connect);
		assert_int_equal(c->http2.ping_interval_ns, 30000000000);
		assert_int_equal(c->http2.ping_timeout_ns, 500000000);
		assert_int_equal(c->http2.ping_idle_ns, 20000000000);
		assert_string_equal(decode_fixture_warnings(f), "");
		mesh_config_object_release(c);
	}
}

static void defaults(void **state)
{
	static const struct http2_config none;
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < PLACES; i++) {
		struct cluster_config *c = cluster_fixture_eds(f, put(f, i, ""));

		assert_memory_equal(&c->http2, &none, sizeof(none));
		mesh_config_object_release(c);
	}
}

/* What the typed extension says replaces what stands beside it, settings and all. */
static void typed_wins(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, "'http2ProtocolOptions': {'maxConcurrentStreams': 3}, " HTTP(
			   "'useDownstreamProtocolConfig': {'http2ProtocolOptions': {'initialStreamWindowSize': 70000}}"));

	assert_int_equal(c->protocol, UPSTREAM_DOWNSTREAM);
	assert_int_equal(c->http2.streams_max, 0);
	assert_int_equal(c->http2.stream_window_bytes, 70000);
	mesh_config_object_release(c);
}

static void refused(void **state)
{
	static const struct {
		const char *settings, *field, *what;
	} cases[] = {
		{"'maxConcurrentStreams': 0", "max_concurrent_streams", "1..2147483647"},
		{"'maxConcurrentStreams': 2147483648", "max_concurrent_streams", "2147483648"},
		{"'initialStreamWindowSize': 65534", "initial_stream_window_size", "65535..2147483647"},
		{"'initialStreamWindowSize': 2147483648", "initial_stream_window_size", "65535..2147483647"},
		{"'initialConnectionWindowSize': 0", "initial_connection_window_size", "65535..2147483647"},
		{"'connectionKeepalive': {'interval': '1s'}", "connection_keepalive.timeout", "required"},
		{"'connectionKeepalive': {'interval': '1s', 'timeout': '0s'}", "connection_keepalive.timeout", "1 ms"},
		{"'connectionKeepalive': {'interval': '0s', 'timeout': '1s'}", "connection_keepalive.interval", "1 ms"},
	};
	struct decode_fixture *f = *state;

	for (size_t place = 0; place < PLACES; place++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			cluster_fixture_refused(
				f, put(f, place, cases[i].settings),
				mesh_arena_printf(&f->arena, "%s.%s", places[place].path, cases[i].field).data,
				cases[i].what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(settings, setup, teardown),
		cmocka_unit_test_setup_teardown(defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(typed_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
