/* SPDX-License-Identifier: Apache-2.0 */
/* Proto-JSON against what istiod sent (tests/xds/samples), by values, and with input that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>
#include <mesh/error.h>

#include "base/arena.h"
#include "base/buf.h"
#include "control/message.h"
#include "xds/json.h"
#include "xds/json_form.h"
#include "xds/type_registry.h"

#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

#define TYPE_PREFIX "type.googleapis.com/"

static const ProtobufCMessageDescriptor *type_named(const char *name)
{
	const ProtobufCMessageDescriptor *type = mesh_type_find(mesh_slice_of(name));

	if (!type)
		fail_msg("type %s is not in the registry", name);
	return type;
}

static json_t *parse(struct mesh_slice text)
{
	json_error_t error;
	json_t *json = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fail_msg("not JSON: %s in %.*s", error.text, (int)text.len, text.data);
	return json;
}

/* bytes -> message -> JSON */
static json_t *encoded(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned flags)
{
	struct arena arena;
	struct why why = {""};
	struct buf text;
	ProtobufCMessage *message;
	json_t *json;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_buf_init(&text, &mesh_mem_default, 0);
	if (mesh_message_unpack(type, bytes, 0, &arena, &why, &message) < 0)
		fail_msg("unpack: %s", why.text);
	if (mesh_json_encode(&text, message, flags, &why) < 0)
		fail_msg("encode: %s", why.text);
	json = parse(mesh_buf_slice(&text));
	mesh_buf_free(&text);
	mesh_arena_free(&arena);
	return json;
}

/* JSON -> bytes -> JSON; the caller's to release. */
static json_t *round_trip(const ProtobufCMessageDescriptor *type, const json_t *json, unsigned flags)
{
	struct why why = {""};
	struct buf bytes;
	json_t *back;

	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	if (mesh_json_decode(&bytes, type, json, flags, &why) < 0)
		fail_msg("decode: %s", why.text);
	back = encoded(type, mesh_buf_slice(&bytes), flags);
	mesh_buf_free(&bytes);
	return back;
}

static void test_samples(void **state)
{
	glob_t files;

	(void)state;
	assert_int_equal(glob(MESH_TEST_SOURCE_DIR "/tests/xds/samples/*.json", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 9);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *type = strstr(files.gl_pathv[i], ".delta.")
					   ? "envoy.service.discovery.v3.DeltaDiscoveryResponse"
					   : "envoy.service.discovery.v3.DiscoveryResponse";
		json_t *json = json_load_file(files.gl_pathv[i], JSON_REJECT_DUPLICATES, NULL);
		json_t *back;

		assert_non_null(json);
		back = round_trip(type_named(type), json, 0);
		if (!json_equal(json, back)) {
			json_dump_file(back, "sample-as-read-back.json", JSON_INDENT(2));
			fail_msg("%s reads back differently (see sample-as-read-back.json)", files.gl_pathv[i]);
		}
		json_decref(back);
		json_decref(json);
	}
	globfree(&files);
}

/* The bytes istiod sent, read by us, against the JSON that Go made of the same bytes. */
static void test_recorded_bytes(void **state)
{
	glob_t files;

	(void)state;
	assert_int_equal(glob(MESH_TEST_SOURCE_DIR "/tests/xds/samples/*.pb", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 5);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *path = files.gl_pathv[i];
		const char *type = strstr(path, ".delta.") ? "envoy.service.discovery.v3.DeltaDiscoveryResponse"
							   : "envoy.service.discovery.v3.DiscoveryResponse";
		char json_path[512];
		static char bytes[1 << 20];
		FILE *file = fopen(path, "rb");
		size_t len;
		json_t *want, *have;

		assert_non_null(file);
		len = fread(bytes, 1, sizeof(bytes), file);
		assert_true(len > 0 && len < sizeof(bytes));
		fclose(file);
		snprintf(json_path, sizeof(json_path), "%.*s.json", (int)strlen(path) - 3, path);
		want = json_load_file(json_path, 0, NULL);
		have = encoded(type_named(type), mesh_slice_make(bytes, len), 0);
		if (!want || !json_equal(want, have))
			fail_msg("%s reads differently from %s", path, json_path);
		json_decref(want);
		json_decref(have);
	}
	globfree(&files);
}

static void test_indented_text_is_the_same_json(void **state)
{
	json_t *json = json_load_file(MESH_TEST_SOURCE_DIR "/tests/xds/samples/secure.rds.json", 0, NULL);
	json_t *back = round_trip(type_named("envoy.service.discovery.v3.DiscoveryResponse"), json, MESH_JSON_INDENT);

	(void)state;
	assert_true(json_equal(json, back));
	json_decref(back);
	json_decref(json);
}

/* What is written, and how it comes back (NULL: the same). */
static void test_values(void **state)
{
	static const struct {
		const char *type, *json, *back;
	} cases[] = {
		{"google.protobuf.Duration", "\"0s\"", NULL},
		{"google.protobuf.Duration", "\"1.5s\"", "\"1.500s\""},
		{"google.protobuf.Duration", "\"-0.000000001s\"", NULL},
		{"google.protobuf.Duration", "\"-3.000001s\"", NULL},
		{"google.protobuf.Duration", "\"315576000000s\"", NULL},
		{"google.protobuf.Timestamp", "\"1970-01-01T00:00:00Z\"", NULL},
		{"google.protobuf.Timestamp", "\"2024-02-29T23:59:59.250Z\"", NULL},
		{"google.protobuf.Timestamp", "\"2026-11-24T16:00:00+01:30\"", "\"2026-11-24T14:30:00Z\""},
		{"google.protobuf.Timestamp", "\"0001-01-01T00:00:00Z\"", NULL},
		{"google.protobuf.Timestamp", "\"1969-12-31T23:59:59.999999999Z\"", NULL},
		{"google.protobuf.Timestamp", "\"9999-12-31T23:59:59Z\"", NULL},
		{"google.protobuf.UInt64Value", "\"18446744073709551615\"", NULL},
		{"google.protobuf.UInt64Value", "7", "\"7\""},
		{"google.protobuf.Int64Value", "\"-9223372036854775808\"", NULL},
		{"google.protobuf.Int32Value", "-2147483648", NULL},
		{"google.protobuf.Int32Value", "\"12\"", "12"},
		{"google.protobuf.UInt32Value", "4.0", "4"},
		{"google.protobuf.BoolValue", "false", NULL},
		{"google.protobuf.DoubleValue", "0.1", NULL},
		{"google.protobuf.DoubleValue", "1e300", NULL},
		{"google.protobuf.DoubleValue", "0.30000000000000004", NULL},
		{"google.protobuf.DoubleValue", "\"-Infinity\"", NULL},
		{"google.protobuf.DoubleValue", "\"NaN\"", NULL},
		{"google.protobuf.DoubleValue", "\"2.5\"", "2.5"},
		{"google.protobuf.FloatValue", "0.1", NULL},
		{"google.protobuf.StringValue", "\"\\u20ac\\n\\\"\"", NULL},
		{"google.protobuf.BytesValue", "\"AAEC/w==\"", NULL},
		{"google.protobuf.BytesValue", "\"_-8\"", "\"/+8=\""},
		{"google.protobuf.Empty", "{}", NULL},
		{"google.protobuf.Struct", "{\"a\":[1,\"x\",null,true,{\"b\":{}},[]],\"c\":-1.5,\"\":false}", NULL},
		{"google.protobuf.Any", "{}", NULL},
		{"google.protobuf.Any", "{\"@type\":\"" TYPE_PREFIX "google.protobuf.Duration\",\"value\":\"2s\"}",
		 NULL},
		{"google.protobuf.Any", "{\"@type\":\"" TYPE_PREFIX "google.protobuf.Struct\",\"value\":{\"k\":1}}",
		 NULL},
		{"google.protobuf.Any", "{\"@type\":\"" TYPE_PREFIX "not.known.Here\",\"value\":\"AQID\"}", NULL},
		{"google.protobuf.Any", "{\"@type\":\"" TYPE_PREFIX "not.known.Here\"}", NULL},
		{"google.protobuf.Any",
		 "{\"@type\":\"" TYPE_PREFIX "google.protobuf.Any\",\"value\":{\"@type\":\"" TYPE_PREFIX
		 "google.rpc.Status\",\"code\":3}}",
		 NULL},
		{"google.rpc.Status", "{\"code\":null,\"message\":\"m\"}", "{\"message\":\"m\"}"},
		{"google.rpc.Status", "{\"code\":0,\"message\":\"\"}", "{}"},
		{"envoy.config.cluster.v3.Cluster", "{\"connect_timeout\":\"1s\",\"lb_policy\":2}",
		 "{\"connectTimeout\":\"1s\",\"lbPolicy\":\"RING_HASH\"}"},
		{"envoy.config.cluster.v3.Cluster", "{\"lbPolicy\":99}", NULL},
		{"envoy.config.cluster.v3.Cluster", "{\"type\":\"STATIC\"}", NULL},
		{"envoy.config.cluster.v3.Cluster", "{\"typedExtensionProtocolOptions\":{\"x\":{}}}", NULL},
		{"stats.PluginConfig", "{\"disableHostHeaderFallback\":true}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = parse(mesh_slice_of(cases[i].json));
		json_t *want = parse(mesh_slice_of(cases[i].back ? cases[i].back : cases[i].json));
		json_t *back = round_trip(type_named(cases[i].type), json, MESH_JSON_SECRETS);
		char *text = json_dumps(back, JSON_ENCODE_ANY);

		if (!json_equal(want, back))
			fail_msg("%s %s reads back as %s", cases[i].type, cases[i].json, text);
		free(text);
		json_decref(back);
		json_decref(want);
		json_decref(json);
	}
}

static void test_bad_input(void **state)
{
#define CLUSTER "envoy.config.cluster.v3.Cluster"
#define ROUTES	"envoy.config.route.v3.RouteConfiguration"
	static const struct {
		const char *type, *json, *why;
	} cases[] = {
		{CLUSTER, "[]", "Cluster: expected an object"},
		{CLUSTER, "{\"nam\":\"x\"}", "Cluster.nam: no such field in envoy.config.cluster.v3.Cluster"},
		{CLUSTER, "{\"name\":5}", "Cluster.name: expected a string"},
		{CLUSTER, "{\"@type\":\"x\"}", "Cluster.@type: no such field"},
		{CLUSTER, "{\"connectTimeout\":\"5\"}", "Cluster.connectTimeout: expected a duration"},
		{CLUSTER, "{\"connectTimeout\":\"1.0000000001s\"}", "expected a duration"},
		{CLUSTER, "{\"connectTimeout\":\"315576000001s\"}", "expected a duration"},
		{CLUSTER, "{\"connectTimeout\":\"s\"}", "expected a duration"},
		{CLUSTER, "{\"connectTimeout\":\"1.s\"}", "expected a duration"},
		{CLUSTER, "{\"connectTimeout\":5}", "expected a duration"},
		{CLUSTER, "{\"connectTimeout\":\"1s\",\"connect_timeout\":\"1s\"}", "given twice"},
		{CLUSTER, "{\"lbPolicy\":\"BEST\"}", "Cluster.lbPolicy: \"BEST\" is not a value of"},
		{CLUSTER, "{\"lbPolicy\":1.5}", "expected a name or number"},
		{CLUSTER, "{\"type\":\"EDS\",\"clusterType\":{\"name\":\"x\"}}", "only one of the two may be"},
		{CLUSTER, "{\"loadAssignment\":{\"endpoints\":[{},{\"lbEndpoints\":{}}]}}",
		 "Cluster.loadAssignment.endpoints[1].lbEndpoints: expected an array"},
		{CLUSTER, "{\"loadAssignment\":{\"endpoints\":[null]}}", "endpoints[0]: expected an object"},
		{CLUSTER, "{\"metadata\":{\"filterMetadata\":[]}}", "filterMetadata: expected an object"},
		{CLUSTER, "{\"typedExtensionProtocolOptions\":{\"x\":{\"a\":1}}}",
		 "Options.x: \"@type\" with a type URL is missing"},
		{CLUSTER, "{\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"plain\"}}}",
		 "\"@type\" with a type URL"},
		{CLUSTER, "{\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"a/b.C\",\"k\":1}}}",
		 "type \"a/b.C\" is not known"},
		{CLUSTER, "{\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"a/b.C\",\"value\":{}}}}",
		 "must be base64"},
		{CLUSTER,
		 "{\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"a/google.protobuf.Duration\",\"seconds\":1}}}",
		 "has its JSON under \"value\""},
		{CLUSTER, "{\"perConnectionBufferLimitBytes\":4294967296}",
		 "perConnectionBufferLimitBytes: number out of range"},
		{CLUSTER, "{\"perConnectionBufferLimitBytes\":-1}", "number out of range"},
		{CLUSTER, "{\"perConnectionBufferLimitBytes\":\"1x\"}", "expected a whole number"},
		{CLUSTER, "{\"perConnectionBufferLimitBytes\":1.5}", "expected a whole number"},
		{CLUSTER, "{\"perConnectionBufferLimitBytes\":true}", "expected a whole number"},
		{ROUTES,
		 "{\"virtualHosts\":[{\"routes\":[{\"match\":{\"prefix\":\"/\"}},{\"match\":{\"path\":\"/"
		 "\",\"prefix\":\"/\"}}]}]}",
		 "RouteConfiguration.virtualHosts[0].routes[1].match.prefix: path is set already"},
		{ROUTES, "{\"validateClusters\":1}", "validateClusters: expected true or false"},
		{"google.protobuf.Int32Value", "2147483648", "out of range"},
		{"google.protobuf.Int32Value", "-2147483649", "out of range"},
		{"google.protobuf.Int64Value", "\"9223372036854775808\"", "out of range"},
		{"google.protobuf.UInt64Value", "\"18446744073709551616\"", "expected a whole number"},
		{"google.protobuf.FloatValue", "1e39", "out of range"},
		{"google.protobuf.DoubleValue", "\"x\"", "expected a number"},
		{"google.protobuf.DoubleValue", "true", "expected a number"},
		{"google.protobuf.BytesValue", "\"***\"", "expected base64"},
		{"google.protobuf.BytesValue", "1", "expected base64"},
		{"google.protobuf.Timestamp", "\"2023-02-29T00:00:00Z\"", "expected a time"},
		{"google.protobuf.Timestamp", "\"2023-02-28T24:00:00Z\"", "expected a time"},
		{"google.protobuf.Timestamp", "\"2023-02-28T00:00:00\"", "expected a time"},
		{"google.protobuf.Timestamp", "\"0001-01-01T00:00:00+00:01\"", "expected a time"},
		{"google.protobuf.Struct", "[]", "expected an object"},
		{"google.protobuf.ListValue", "{}", "expected an array"},
		{"google.protobuf.Any", "5", "expected an object"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = parse(mesh_slice_of(cases[i].json));
		struct why why = {""};
		struct buf out;

		mesh_buf_init(&out, &mesh_mem_default, 0);
		assert_int_equal(mesh_buf_append(&out, MESH_SLICE("before")), 0);
		if (mesh_json_decode(&out, type_named(cases[i].type), json, 0, &why) != MESH_ERROR_INVALID)
			fail_msg("%s %s was taken", cases[i].type, cases[i].json);
		if (!strstr(why.text, cases[i].why))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].json, why.text, cases[i].why);
		assert_true(mesh_slice_equal(mesh_buf_slice(&out), MESH_SLICE("before")));
		mesh_buf_free(&out);
		json_decref(json);
	}
}

static void test_unknown_members_ignored_on_request(void **state)
{
	json_t *json = parse(MESH_SLICE("{\"message\":\"m\",\"later\":{\"a\":[1]}}"));
	json_t *want = parse(MESH_SLICE("{\"message\":\"m\"}"));
	json_t *back = round_trip(type_named("google.rpc.Status"), json, MESH_JSON_IGNORE_UNKNOWN);

	(void)state;
	assert_true(json_equal(want, back));
	json_decref(json);
	json_decref(want);
	json_decref(back);
}

static void test_secrets_are_hidden(void **state)
{
	static const char text[] =
		"{\"name\":\"default\",\"tlsCertificate\":{\"certificateChain\":{\"inlineString\":\"public\"},"
		"\"privateKey\":{\"inlineBytes\":\"c2VjcmV0a2V5\"},\"password\":{\"filename\":\"/secretkey\"}}}";
	static const char keys[] = "{\"sessionTicketKeys\":{\"keys\":[{\"inlineString\":\"secretkey\"}]}}";
	static const char broken[] = "\x0a\x09secretkey\x12\x7f";
	const ProtobufCMessageDescriptor *type = type_named("envoy.extensions.transport_sockets.tls.v3.Secret");
	json_t *json = parse(MESH_SLICE(text));
	json_t *back = round_trip(type, json, 0);
	json_t *shown = round_trip(type, json, MESH_JSON_SECRETS);
	json_t *ticket_keys = parse(MESH_SLICE(keys));
	json_t *ticket_back = round_trip(type, ticket_keys, 0);
	char *dump = json_dumps(back, 0);
	char *ticket_dump = json_dumps(ticket_back, 0);
	struct buf out;

	(void)state;
	assert_non_null(strstr(dump, "public"));
	assert_non_null(strstr(dump, "\"privateKey\": {\"inlineString\": \"[redacted]\"}"));
	assert_null(strstr(dump, "c2VjcmV0a2V5"));
	assert_null(strstr(dump, "/secretkey"));
	assert_null(strstr(ticket_dump, "secretkey"));
	assert_true(json_equal(json, shown));
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(
		mesh_json_encode_any(&out, MESH_SLICE(TYPE_PREFIX "envoy.extensions.transport_sockets.tls.v3.Secret"),
				     MESH_SLICE(broken), 0, 0, NULL),
		0);
	assert_true(mesh_slice_equal(
		mesh_buf_slice(&out),
		MESH_SLICE("{\"@type\":\"" TYPE_PREFIX "envoy.extensions.transport_sockets.tls.v3.Secret\"}")));
	mesh_buf_free(&out);
	free(dump);
	free(ticket_dump);
	json_decref(json);
	json_decref(back);
	json_decref(shown);
	json_decref(ticket_keys);
	json_decref(ticket_back);
}

static void test_json_nesting_is_bounded(void **state)
{
	const ProtobufCMessageDescriptor *type = type_named("google.protobuf.ListValue");
	json_t *json = json_array();
	struct why why = {""};
	struct buf out;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		json_t *outer = json_array();

		json_array_append_new(outer, json);
		json = outer;
	}
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_json_decode(&out, type, json, 0, &why), MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "nested more than 100 deep"));
	assert_int_equal(mesh_buf_len(&out), 0);
	mesh_buf_free(&out);
	json_decref(json);
}

/* An Any in an Any passes each unpacking, so the writer's own bound has to end it. */
static void test_any_nesting_is_bounded(void **state)
{
	const char any[] = TYPE_PREFIX "google.protobuf.Any";
	struct buf bytes, next, out;
	struct why why = {""};

	(void)state;
	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	mesh_buf_init(&next, &mesh_mem_default, 0);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	for (int i = 0; i < 300; i++) {
		size_t len = mesh_buf_len(&bytes);
		char head[] = {0x12, (char)(len | 0x80), (char)(len >> 7 | 0x80), (char)(len >> 14)};
		struct buf swap;

		mesh_buf_clear(&next);
		mesh_buf_append(&next, MESH_SLICE("\x0a\x27"));
		mesh_buf_append(&next, mesh_slice_make(any, sizeof(any) - 1));
		mesh_buf_append(&next, mesh_slice_make(head, sizeof(head)));
		mesh_buf_append(&next, mesh_buf_slice(&bytes));
		swap = bytes;
		bytes = next;
		next = swap;
	}
	assert_int_equal(sizeof(any) - 1, 0x27);
	assert_int_equal(mesh_json_encode_any(&out, MESH_SLICE(any), mesh_buf_slice(&bytes), 0, 0, &why),
			 MESH_ERROR_TOO_LARGE);
	assert_non_null(strstr(why.text, "nested"));
	assert_int_equal(mesh_buf_len(&out), 0);
	mesh_buf_free(&bytes);
	mesh_buf_free(&next);
	mesh_buf_free(&out);
}

static int unpack(const char *type, struct mesh_slice bytes, unsigned nesting, size_t arena_limit, struct why *why)
{
	struct arena arena;
	ProtobufCMessage *message;
	int rc;

	*why = (struct why){""};
	mesh_arena_init(&arena, &mesh_mem_default, arena_limit);
	rc = mesh_message_unpack(type_named(type), bytes, nesting, &arena, why, &message);
	assert_true((rc == 0) == (message != NULL));
	mesh_arena_free(&arena);
	return rc;
}

static void test_unpack_refuses(void **state)
{
	char deep[2 * 1000];
	struct why why;

	(void)state;
	for (size_t i = 0; i < 1000;
	     i++) { /* Value.list_value = 6 of ListValue.values = 1 .., lengths made to fit below 128 */
		deep[2 * i] = i % 2 ? 0x0a : 0x32;
		deep[2 * i + 1] = (char)(i < 940 ? 0x7f : 2 * (999 - i));
	}
	assert_int_equal(unpack("google.protobuf.Value", mesh_slice_make(deep + 2 * 940, 120), 64, 0, &why), 0);
	assert_int_equal(unpack("google.protobuf.Value", mesh_slice_make(deep + 2 * 940, 120), 10, 0, &why),
			 MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "nested too deep"));
	assert_int_equal(unpack("google.rpc.Status",
				MESH_SLICE("\x12\x03"
					   "a\0b"),
				0, 0, &why),
			 MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "Status.message: not UTF-8 text, or with a NUL inside"));
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x12\x02\xc0\x80"), 0, 0, &why), MESH_ERROR_INVALID);
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x12\x03\xed\xa0\x80"), 0, 0, &why),
			 MESH_ERROR_INVALID);
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x12\x04\xf4\x90\x80\x80"), 0, 0, &why),
			 MESH_ERROR_INVALID);
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x12\x04\xf4\x8f\xbf\xbf"), 0, 0, &why), 0);
	assert_int_equal(unpack("google.rpc.Status",
				MESH_SLICE("\x12\x05"
					   "abc"),
				0, 0, &why),
			 MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "truncated"));
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x0b\x0c"), 0, 0, &why), MESH_ERROR_INVALID);
	assert_int_equal(unpack("google.rpc.Status", MESH_SLICE("\x00"), 0, 0, &why), MESH_ERROR_INVALID);
	assert_int_equal(
		unpack("google.rpc.Status", MESH_SLICE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), 0, 0, &why),
		MESH_ERROR_INVALID);
	assert_int_equal(unpack("google.rpc.Status",
				MESH_SLICE("\xba\x3e\x03"
					   "new"),
				0, 0, &why),
			 0);
	assert_int_equal(unpack("google.rpc.Status",
				MESH_SLICE("\x12\x03"
					   "abc"),
				0, 1, &why),
			 MESH_ERROR_NOMEM);
}

/* A real response cut after every byte either reads as a shorter one or is refused, never more. */
static void test_truncated_everywhere(void **state)
{
	json_t *json = json_load_file(MESH_TEST_SOURCE_DIR "/tests/xds/samples/k8s-sidecar.eds.json", 0, NULL);
	struct buf bytes;
	size_t refused = 0;

	(void)state;
	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	assert_int_equal(
		mesh_json_decode(&bytes, type_named("envoy.service.discovery.v3.DiscoveryResponse"), json, 0, NULL), 0);
	for (size_t len = 0; len < mesh_buf_len(&bytes); len++) {
		struct why why;
		int rc = unpack("envoy.service.discovery.v3.DiscoveryResponse",
				mesh_slice_make(mesh_buf_slice(&bytes).data, len), 0, 0, &why);

		assert_true(rc == 0 || rc == MESH_ERROR_INVALID);
		refused += rc != 0;
	}
	assert_true(refused > mesh_buf_len(&bytes) / 2);
	mesh_buf_free(&bytes);
	json_decref(json);
}

static void test_output_limit(void **state)
{
	json_t *json = json_load_file(MESH_TEST_SOURCE_DIR "/tests/xds/samples/k8s-sidecar.eds.json", 0, NULL);
	struct buf out;

	(void)state;
	mesh_buf_init(&out, &mesh_mem_default, 200);
	assert_int_equal(
		mesh_json_decode(&out, type_named("envoy.service.discovery.v3.DiscoveryResponse"), json, 0, NULL),
		MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_len(&out), 0);
	mesh_buf_free(&out);
	json_decref(json);
}

/* ---- allocation failures ---- */

struct failing {
	unsigned left;
	bool failed;
};

static void *failing_alloc(void *user, size_t bytes)
{
	struct failing *failing = user;

	if (failing->left-- > 0)
		return malloc(bytes ? bytes : 1);
	failing->left = 0;
	failing->failed = true;
	return NULL;
}

static void *failing_resize(void *user, void *memory, size_t bytes)
{
	struct failing *failing = user;

	if (failing->left-- > 0)
		return realloc(memory, bytes ? bytes : 1);
	failing->left = 0;
	failing->failed = true;
	return NULL;
}

static void failing_release(void *user, void *memory)
{
	(void)user;
	free(memory);
}

static void test_every_allocation_may_fail(void **state)
{
	json_t *json = json_load_file(MESH_TEST_SOURCE_DIR "/tests/xds/samples/secure.rds.json", 0, NULL);
	const json_t *resource = json_array_get(json_object_get(json, "resources"), 0);
	unsigned allowed = 0;
	struct failing failing;

	(void)state;
	do {
		struct mesh_mem mem = {failing_alloc, failing_resize, failing_release, &failing};
		struct buf bytes, text;
		const char *type_url;
		int rc;

		failing = (struct failing){allowed++, false};
		mesh_buf_init(&bytes, &mem, 0);
		mesh_buf_init(&text, &mem, 0);
		rc = mesh_json_decode_any(&bytes, resource, 0, &type_url, NULL);
		if (rc == 0)
			rc = mesh_json_encode_any(&text, mesh_slice_of(type_url), mesh_buf_slice(&bytes), 0, 0, NULL);
		assert_int_equal(rc, failing.failed ? MESH_ERROR_NOMEM : 0);
		mesh_buf_free(&bytes);
		mesh_buf_free(&text);
	} while (failing.failed);
	assert_true(allowed > 5);
	json_decref(json);
}

static void test_registry(void **state)
{
	(void)state;
	for (size_t i = 0; i < mesh_type_count(); i++)
		assert_ptr_equal(mesh_type_find(mesh_slice_of(mesh_type_at(i)->name)), mesh_type_at(i));
	assert_null(mesh_type_find(MESH_SLICE("")));
	assert_null(mesh_type_find(MESH_SLICE(TYPE_PREFIX "envoy.config.cluster.v3.Clusters")));
	assert_non_null(mesh_type_find(MESH_SLICE(TYPE_PREFIX "envoy.config.cluster.v3.Cluster")));
	assert_null(mesh_type_at(mesh_type_count()));
}

static void test_long_paths_keep_their_end(void **state)
{
	struct message_path frames[100];
	char text[MESH_MESSAGE_PATH_BYTES];

	(void)state;
	for (size_t i = 0; i < 100; i++)
		frames[i] = (struct message_path){i ? &frames[i - 1] : NULL, i % 2 ? NULL : "field", 0, i};
	mesh_message_path_text(&frames[99], text);
	assert_memory_equal(text, "...", 3);
	assert_string_equal(text + strlen(text) - 9, "field[99]");
	assert_true(strlen(text) < MESH_MESSAGE_PATH_BYTES);
	assert_string_equal(mesh_message_path_text(&frames[2], text), "field[1].field");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_recorded_bytes),
		cmocka_unit_test(test_indented_text_is_the_same_json),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_unknown_members_ignored_on_request),
		cmocka_unit_test(test_secrets_are_hidden),
		cmocka_unit_test(test_json_nesting_is_bounded),
		cmocka_unit_test(test_any_nesting_is_bounded),
		cmocka_unit_test(test_unpack_refuses),
		cmocka_unit_test(test_truncated_everywhere),
		cmocka_unit_test(test_output_limit),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_long_paths_keep_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
