/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to a message: what is refused before protobuf-c sees it, and where the words say it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "base/buf.h"
#include "control/message.h"

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

static const ProtobufCMessageDescriptor *const request_type = &envoy__service__discovery__v3__discovery_request__descriptor;
static const ProtobufCMessageDescriptor *const value_type = &google__protobuf__value__descriptor;

static int unpack(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned nesting, size_t room, struct why *why)
{
	ProtobufCMessage *message = (void *)1;
	struct arena arena;
	int rc;

	memset(why, 0, sizeof(*why));
	mesh_arena_init(&arena, &mesh_mem_default, room);
	rc = mesh_message_unpack(type, bytes, nesting, &arena, why, &message);
	assert_true(rc ? message == NULL && why->text[0] : message && message->descriptor == type);
	mesh_arena_free(&arena);
	return rc;
}

static void test_borrows_nothing(void **state)
{
	char *bytes = strdup("\x0a\x02v1\x1a\x01" "a\x1a\x01" "b\x22\x03url");
	const Envoy__Service__Discovery__V3__DiscoveryRequest *request;
	struct arena arena;
	struct why why;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	assert_int_equal(mesh_message_unpack(request_type, mesh_slice_make(bytes, strlen(bytes)), 0, &arena, &why,
					     (ProtobufCMessage **)&request), 0);
	memset(bytes, 'x', strlen(bytes));
	free(bytes);
	assert_string_equal(request->version_info, "v1");
	assert_int_equal(request->n_resource_names, 2);
	assert_string_equal(request->resource_names[1], "b");
	assert_string_equal(request->type_url, "url");
	mesh_arena_free(&arena);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *words;
	} cases[] = {
		{"\x0a", 1, "DiscoveryRequest: malformed protobuf: truncated"},
		{"\x0a\x05" "abcd", 6, "DiscoveryRequest: malformed protobuf: truncated"},
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "DiscoveryRequest: malformed protobuf: truncated"},
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "DiscoveryRequest: malformed protobuf: truncated"},
		{"\x00\x00", 2, "DiscoveryRequest: malformed protobuf: bad field tag"},
		{"\x80", 1, "DiscoveryRequest: malformed protobuf: bad field tag"},
		{"\x0b\x0c", 2, "DiscoveryRequest: malformed protobuf: truncated or of a wrong wire type"}, /* a group */
		{"\x0a\x02\xc3\x28", 4, "DiscoveryRequest.version_info: not UTF-8"},
		{"\x0a\x03" "a\x00" "b", 5, "DiscoveryRequest.version_info: not UTF-8 text, or with a NUL"},
		{"\x0a\x03\xed\xa0\x80", 5, "DiscoveryRequest.version_info: not UTF-8"}, /* a surrogate */
		{"\x12\x04\x0a\x02\xc0\x80", 6, "DiscoveryRequest.node.id: not UTF-8"},    /* an overlong NUL */
	};
	struct why why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(unpack(request_type, mesh_slice_make(cases[i].bytes, cases[i].len), 0, 0, &why), MESH_ERROR_INVALID);
		if (strncmp(why.text, cases[i].words, strlen(cases[i].words)) != 0)
			fail_msg("case %zu: %s", i, why.text);
	}
}

/* A google.protobuf.Value with so many lists around null: two messages for each. */
static void nested(struct buf *out, unsigned lists)
{
	mesh_buf_init(out, &mesh_mem_default, 0);
	assert_int_equal(mesh_buf_append(out, mesh_slice_make("\x08\x00", 2)), 0);
	for (unsigned i = 0; i < 2 * lists; i++) { /* ListValue.values = 1, Value.list_value = 6 */
		struct buf whole;
		size_t len = mesh_buf_len(out);
		char head[3] = {i % 2 ? 0x32 : 0x0a, (char)(len > 127 ? (len & 127) | 128 : len), (char)(len >> 7)};

		mesh_buf_init(&whole, &mesh_mem_default, 0);
		assert_int_equal(mesh_buf_append(&whole, mesh_slice_make(head, len > 127 ? 3 : 2)), 0);
		assert_int_equal(mesh_buf_append(&whole, mesh_buf_slice(out)), 0);
		mesh_buf_free(out);
		*out = whole;
	}
}

static void test_nesting(void **state)
{
	struct why why;
	struct buf bytes;

	for (unsigned lists = 1; lists < 500; lists += lists < 40 ? 1 : 100) {
		nested(&bytes, lists);
		assert_int_equal(unpack(value_type, mesh_buf_slice(&bytes), 0, 0, &why),
				 2 * lists > MESH_MESSAGE_NESTING ? MESH_ERROR_INVALID : 0);
		assert_true(2 * lists <= MESH_MESSAGE_NESTING || strstr(why.text, "nested too deep"));
		assert_int_equal(unpack(value_type, mesh_buf_slice(&bytes), 10, 0, &why), 2 * lists > 10 ? MESH_ERROR_INVALID : 0);
		mesh_buf_free(&bytes);
	}
}

static void test_bounded_by_the_arena(void **state)
{
	struct why why;
	struct buf bytes;

	nested(&bytes, 20);
	assert_int_equal(unpack(value_type, mesh_buf_slice(&bytes), 0, 256, &why), MESH_ERROR_NOMEM);
	assert_string_equal(why.text, "Value: no memory to unpack it");
	mesh_buf_free(&bytes);
}

static void test_empty_is_a_message(void **state)
{
	struct why why;

	assert_int_equal(unpack(request_type, mesh_slice_make("", 0), 0, 0, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_borrows_nothing),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_bounded_by_the_arena),
		cmocka_unit_test(test_empty_is_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
