/* SPDX-License-Identifier: Apache-2.0 */
/* The small values that all decoders share, at the edges of their ranges; and where in a resource a word of refusal
 * points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/decode.h"
#include "xds/type/v3/typed_struct.pb-c.h"

#define CENTURY (100ll * 366 * 86400 * MESH_DECODE_NS)

static int setup(void **state)
{
	static struct decode d;

	mesh_decode_init(&d, &mesh_mem_default, 100, NULL, NULL);
	mesh_decode_begin(&d);
	d.object = mesh_config_object_new(&mesh_mem_default, sizeof(*d.object), MESH_SLICE("o"));
	assert_non_null(d.object);
	mesh_decode_push(&d, "a");
	*state = &d;
	return 0;
}

static int teardown(void **state)
{
	struct decode *d = *state;

	mesh_config_object_release(d->object);
	mesh_decode_free(d);
	return 0;
}

static void assert_bytes(struct mesh_slice slice, const char *expected)
{
	assert_int_equal(slice.len, strlen(expected));
	assert_memory_equal(slice.len ? slice.data : "", expected, slice.len);
}

/* It failed with these words, and may go on. */
static void assert_failed(struct decode *d, const char *words)
{
	assert_int_equal(d->rc, MESH_ERROR_INVALID);
	assert_string_equal(d->why.text, words);
	d->rc = 0;
	d->why.text[0] = '\0';
}

static void durations(void **state)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
		int64_t ns;
		const char *words; /* NULL: good */
	} rows[] = {
		{0, 0, 0, NULL},
		{0, 1, 1, NULL},
		{1, 999999999, 1999999999, NULL},
		{315576000000, 0, CENTURY, NULL},
		{315576000000, 999999999, CENTURY, NULL},
		{100 * 366 * 86400ll, 0, CENTURY, NULL},
		{100 * 366 * 86400ll, 1, CENTURY, NULL},
		{100 * 366 * 86400ll - 1, 999999999, CENTURY - 1, NULL},
		{315576000001, 0, 0, "a.f: 315576000001 s and 0 ns: out of range"},
		{INT64_MAX, 0, 0, "a.f: 9223372036854775807 s and 0 ns: out of range"},
		{INT64_MIN, 0, 0, "a.f: -9223372036854775808 s and 0 ns: out of range"},
		{0, 1000000000, 0, "a.f: 0 s and 1000000000 ns: out of range"},
		{0, INT32_MIN, 0, "a.f: 0 s and -2147483648 ns: out of range"},
		{0, -1, 0, "a.f: -1e-09s: must not be negative"},
		{-1, 0, 0, "a.f: -1s: must not be negative"},
		{1, -1, 0, "a.f: 0.999999999s: must not be negative"}, /* signs that differ are none of protobuf's */
	};
	struct decode *d = *state;

	assert_int_equal(mesh_decode_duration(d, "f", NULL, -1), -1);
	assert_int_equal(mesh_decode_duration_positive(d, "f", NULL, 0), 0);
	assert_int_equal(d->rc, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
		int64_t ns;

		duration.seconds = rows[i].seconds;
		duration.nanos = rows[i].nanos;
		ns = mesh_decode_duration(d, "f", &duration, -1);
		if (rows[i].words)
			assert_failed(d, rows[i].words);
		else
			assert_int_equal(ns, rows[i].ns);
		assert_int_equal(d->rc, 0);
		if (rows[i].words || rows[i].ns == 0)
			continue;
		assert_int_equal(mesh_decode_duration_positive(d, "f", &duration, -1), rows[i].ns);
		assert_int_equal(d->rc, 0);
	}
	mesh_decode_duration_positive(d, "f", &(Google__Protobuf__Duration)GOOGLE__PROTOBUF__DURATION__INIT, 7);
	assert_failed(d, "a.f: 0s: must be greater than 0");
}

static void numbers(void **state)
{
	struct decode *d = *state;
	Google__Protobuf__UInt32Value number = GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
	Google__Protobuf__BoolValue truth = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;

	assert_int_equal(mesh_decode_u32(NULL, 5), 5);
	assert_int_equal(mesh_decode_u32(&number, 5), 0);
	assert_true(mesh_decode_bool(NULL, true));
	assert_false(mesh_decode_bool(&truth, true));
	assert_int_equal(mesh_decode_percent(d, "f", NULL, 500), 500);
	number.value = 100;
	assert_int_equal(mesh_decode_percent(d, "f", &number, 0), 100);
	assert_int_equal(mesh_decode_port(d, "f", 65535), 65535);
	assert_true(mesh_decode_share(d, "f", 0) == 0 && mesh_decode_share(d, "f", 100) == 100);
	assert_int_equal(d->rc, 0);
	number.value = 101;
	mesh_decode_percent(d, "f", &number, 0);
	assert_failed(d, "a.f: 101: must be 0..100");
	mesh_decode_port(d, "f", 65536);
	assert_failed(d, "a.f: 65536: must be 0..65535");
	mesh_decode_share(d, "f", 100.5);
	assert_failed(d, "a.f: 100.5: must be 0..100");
	mesh_decode_share(d, "f", -1);
	assert_failed(d, "a.f: -1: must be 0..100");
	assert_true(mesh_decode_share(d, "f", __builtin_nan("")) == 0);
	assert_int_equal(d->rc, MESH_ERROR_INVALID);
}

static void anys(void **state)
{
	struct decode *d = *state;
	const ProtobufCMessageDescriptor *type = &google__protobuf__duration__descriptor;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Google__Protobuf__Duration *message;

	assert_bytes(mesh_decode_any_type(NULL), "");
	any.type_url = (char *)"google.protobuf.Duration";
	assert_true(mesh_decode_any_is(&any, type));
	any.type_url = (char *)"type.googleapis.com/google.protobuf.Duration";
	assert_true(mesh_decode_any_is(&any, type));
	assert_false(mesh_decode_any_is(NULL, type));
	any.value.data = (uint8_t *)"\x08\x07";
	any.value.len = 2;
	message = mesh_decode_any_open(d, "f", &any, type);
	assert_int_equal(message->seconds, 7);
	mesh_decode_any_close(d);
	any.value.len = 1;
	assert_null(mesh_decode_any_open(d, "f", &any, type));
	assert_int_equal(strncmp(d->why.text, "a.f: ", 5), 0);
	d->rc = 0;
	mesh_decode_any_close(d);
	any.type_url = (char *)"type.googleapis.com/google.protobuf.Any";
	assert_null(mesh_decode_any_open(d, "f", &any, type));
	assert_failed(d, "a.f: \"type.googleapis.com/google.protobuf.Any\": must be a google.protobuf.Duration");
	mesh_decode_any_close(d);
	assert_int_equal(d->depth, 1);
}

static void nested_anys(void **state)
{
	struct decode *d = *state;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

	any.type_url = (char *)"google.protobuf.Duration";
	for (int i = 0; i < MESH_DECODE_ANYS; i++)
		mesh_decode_any_open(d, "f", &any, &google__protobuf__duration__descriptor);
	assert_int_equal(d->rc, 0);
	assert_null(mesh_decode_any_open(d, "f", &any, &google__protobuf__duration__descriptor));
	assert_non_null(strstr(d->why.text, "nested too deep"));
}

static void typed_structs(void **state)
{
	static const char bytes[] = "\x0a\x05"
				    "x/a.B";
	static const struct {
		const char *url;
		bool packed;
	} rows[] = {{"type.googleapis.com/udpa.type.v1.TypedStruct", true},
		    {"type.googleapis.com/xds.type.v3.TypedStruct", true},
		    {"type.googleapis.com/google.protobuf.Duration", false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

		any.type_url = (char *)rows[i].url;
		any.value.data = (uint8_t *)bytes;
		any.value.len = sizeof(bytes) - 1;
		assert_bytes(mesh_decode_typed_struct(*state, &any), rows[i].packed ? "a.B" : "");
	}
	assert_null(mesh_decode_typed_struct(*state, NULL).data);
}

#define VALUE(kind, member, value)                                                                                     \
	{                                                                                                              \
		PROTOBUF_C_MESSAGE_INIT(&google__protobuf__value__descriptor), GOOGLE__PROTOBUF__VALUE__KIND_##kind,   \
		{                                                                                                      \
			.member = value                                                                                \
		}                                                                                                      \
	}
#define ENTRY(key, value)                                                                                              \
	{                                                                                                              \
		PROTOBUF_C_MESSAGE_INIT(&google__protobuf__struct__fields_entry__descriptor), (char *)key, value       \
	}

static void labels(void **state)
{
	struct decode *d = *state;
	Google__Protobuf__Value text = VALUE(STRING_VALUE, string_value, (char *)"v"),
				truth = VALUE(BOOL_VALUE, bool_value, 1),
				number = VALUE(NUMBER_VALUE, number_value, 8080), none = GOOGLE__PROTOBUF__VALUE__INIT;
	Google__Protobuf__Struct__FieldsEntry entries[] = {ENTRY("z", &text), ENTRY("a", &truth), ENTRY("m", &number)};
	Google__Protobuf__Struct__FieldsEntry *fields[] = {&entries[0], &entries[1], &entries[2]};
	Google__Protobuf__Struct object = GOOGLE__PROTOBUF__STRUCT__INIT;
	struct label *made;
	size_t count;

	assert_null(mesh_decode_labels(d, NULL, &count));
	assert_int_equal(count, 0);
	object.fields = fields;
	object.n_fields = 3;
	made = mesh_decode_labels(d, &object, &count);
	assert_int_equal(count, 3);
	assert_bytes(made[0].key, "a"); /* sorted */
	assert_true(mesh_slice_equal(made[0].value, mesh_slice_make("\0true", 5))); /* no text is the same */
	assert_true(mesh_slice_equal(made[1].value, mesh_slice_make("\0" "8080", 5)));
	assert_bytes(made[2].value, "v");
	assert_string_equal(mesh_decode_value_text(mesh_decode_struct_get(&object, "z")), "v");
	assert_null(mesh_decode_value_text(mesh_decode_struct_get(&object, "m")));
	assert_null(mesh_decode_struct_get(&object, "y"));
	assert_null(mesh_decode_struct_get(NULL, "z"));
	entries[1].value = &none;
	mesh_decode_labels(d, &object, &count);
	assert_failed(d, "a.fields[\"a\"]: must be a text, a number or a boolean");
}

static void sources(void **state)
{
	Envoy__Config__Core__V3__DataSource source = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__INIT;
	struct mesh_slice bytes;

	assert_false(mesh_decode_source(NULL, &bytes));
	assert_false(mesh_decode_source(&source, &bytes));
	source.specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME;
	source.filename = (char *)"/etc/passwd";
	assert_false(mesh_decode_source(&source, &bytes));
	assert_null(bytes.data);
	source.specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING;
	source.inline_string = (char *)"s";
	assert_true(mesh_decode_source(&source, &bytes));
	assert_bytes(bytes, "s");
	source.specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
	source.inline_bytes = (ProtobufCBinaryData){2, (uint8_t *)"ab"};
	assert_true(mesh_decode_source(&source, &bytes));
	assert_bytes(bytes, "ab");
}

static void ranges(void **state)
{
	struct decode *d = *state;
	Envoy__Config__Core__V3__CidrRange range = ENVOY__CONFIG__CORE__V3__CIDR_RANGE__INIT;
	Google__Protobuf__UInt32Value bits = GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
	struct cidr cidr = {.bits = 9};

	range.address_prefix = (char *)"10.1.2.3";
	mesh_decode_cidr(d, &range, &cidr);
	assert_true(!cidr.v6 && cidr.bits == 0); /* absent is 0, as Envoy has it */
	assert_memory_equal(cidr.bytes, "\x0a\x01\x02\x03", 4);
	range.prefix_len = &bits;
	bits.value = 32;
	mesh_decode_cidr(d, &range, &cidr);
	assert_int_equal(cidr.bits, 32);
	assert_int_equal(d->rc, 0);
	bits.value = 33;
	mesh_decode_cidr(d, &range, &cidr);
	assert_failed(d, "a.prefix_len: 33: longer than the address");
	range.address_prefix = (char *)"2001:db8::1";
	bits.value = 128;
	mesh_decode_cidr(d, &range, &cidr);
	assert_true(cidr.v6 && cidr.bits == 128);
	assert_memory_equal(cidr.bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	bits.value = 129;
	mesh_decode_cidr(d, &range, &cidr);
	assert_failed(d, "a.prefix_len: 129: longer than the address");
	range.address_prefix = (char *)"10.1.2.3:80";
	mesh_decode_cidr(d, &range, &cidr);
	assert_failed(d, "a.address_prefix: \"10.1.2.3:80\": not an IP address");
	mesh_decode_cidr(d, NULL, &cidr);
	assert_failed(d, "a.address_prefix: \"\": not an IP address");
}

/* The first failure stays; a long path keeps its end; what is quoted cannot break the line. */
static void words(void **state)
{
	struct decode *d = *state;

	mesh_decode_push_key(d, "map", "k\n\"");
	mesh_decode_push_item(d, "list", 12);
	mesh_decode_fail(d, "\"%s\" and more", "x\r\ny\x7f");
	mesh_decode_fail(d, "second");
	assert_failed(d, "a.map[\"k?\"\"].list[12]: \"x??y?\" and more");
	for (int i = 0; i < 40; i++)
		mesh_decode_push(d, "long_field_name");
	mesh_decode_fail_field(d, "end", "bad");
	assert_int_equal(strncmp(d->why.text, "...", 3), 0);
	assert_non_null(strstr(d->why.text, ".long_field_name.end: bad"));
	d->rc = 0;
	for (int i = 0; i < MESH_DECODE_DEPTH; i++)
		mesh_decode_push(d, "f");
	assert_non_null(strstr(d->why.text, "f: nested too deep"));
	assert_bytes(mesh_decode_text(d, ""), "");
	d->rc = MESH_ERROR_NOMEM;
	assert_null(mesh_decode_text(d, "x").data); /* nothing more is copied once memory is out */
	assert_null(mesh_decode_array(d, 1, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(durations, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(anys, setup, teardown),
		cmocka_unit_test_setup_teardown(nested_anys, setup, teardown),
		cmocka_unit_test_setup_teardown(typed_structs, setup, teardown),
		cmocka_unit_test_setup_teardown(labels, setup, teardown),
		cmocka_unit_test_setup_teardown(sources, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(words, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
