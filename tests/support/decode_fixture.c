/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how tests of decoders get a resource and see what was said about it. Refuses to know what is in one. */
#include "support/decode_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NESTING_MAX = 100 };

static void warned(void *user, const char *what)
{
	struct decode_fixture *f = user;

	assert_int_equal(mesh_buf_printf(&f->warnings, "%s\n", what), 0);
}

void decode_fixture_begin(struct decode_fixture *f)
{
	mesh_arena_init(&f->arena, &mesh_mem_default, 0);
	mesh_buf_init(&f->warnings, &mesh_mem_default, 0);
	mesh_decode_init(&f->d, &mesh_mem_default, NESTING_MAX, warned, f);
}

void decode_fixture_end(struct decode_fixture *f)
{
	mesh_decode_free(&f->d);
	mesh_buf_free(&f->warnings);
	mesh_arena_free(&f->arena);
}

static const char *text_of(struct decode_fixture *f, const struct buf *buf)
{
	struct mesh_slice bytes = mesh_buf_slice(buf);
	char *text = mesh_arena_alloc(&f->arena, bytes.len + 1);

	assert_non_null(text);
	if (bytes.len > 0)
		memcpy(text, bytes.data, bytes.len);
	text[bytes.len] = '\0';
	return text;
}

const char *decode_fixture_notes(struct decode_fixture *f)
{
	return text_of(f, &f->d.notes);
}

const char *decode_fixture_warnings(struct decode_fixture *f)
{
	const char *text = text_of(f, &f->warnings);

	mesh_buf_clear(&f->warnings);
	return text;
}

struct listener_config *decode_fixture_listener(struct decode_fixture *f, const char *path, const char *name)
{
	struct listener_config *found = NULL;
	struct xds_resource *all;
	struct mesh_slice bytes = {NULL, 0};
	size_t count;

	all = xds_sample_load(&f->arena, path, &count);
	for (size_t i = 0; i < count; i++) {
		struct listener_config *listener = mesh_decode_listener(&f->d, all[i].bytes);

		if (!listener)
			fail_msg("%s, resource %zu: %s", path, i, f->d.why.text);
		if (mesh_slice_equal(listener->object.item.name, mesh_slice_of(name))) {
			assert_null(bytes.data);
			bytes = all[i].bytes;
		}
		mesh_config_object_release(listener);
	}
	mesh_buf_clear(&f->warnings);
	if (bytes.data)
		found = mesh_decode_listener(&f->d, bytes);
	if (!found)
		fail_msg("%s: no %s", path, name);
	return found;
}

struct mesh_slice decode_fixture_pack_listener(struct decode_fixture *f, const char *rest)
{
	return xds_sample_json(&f->arena, "1",
			       "{'@type': 'envoy.config.listener.v3.Listener', 'name': 'l', 'address': {'socketAddress':"
			       " {'address': '0.0.0.0', 'portValue': 15006}}, %s}",
			       rest)
		.bytes;
}

struct listener_config *decode_fixture_listener_json(struct decode_fixture *f, const char *rest)
{
	struct listener_config *listener = mesh_decode_listener(&f->d, decode_fixture_pack_listener(f, rest));

	if (!listener)
		assert_int_not_equal(f->d.rc, 0);
	return listener;
}

struct mesh_slice decode_fixture_patch(struct decode_fixture *f, struct mesh_slice bytes, struct mesh_slice from,
				       struct mesh_slice to)
{
	char *copy = mesh_arena_alloc(&f->arena, bytes.len), *at;

	assert_non_null(copy);
	assert_int_equal(from.len, to.len);
	memcpy(copy, bytes.data, bytes.len);
	at = memmem(copy, bytes.len, from.data, from.len);
	assert_non_null(at);
	assert_null(memmem(at + 1, (size_t)(copy + bytes.len - at - 1), from.data, from.len));
	memcpy(at, to.data, to.len);
	return mesh_slice_make(copy, bytes.len);
}

void assert_text(struct mesh_slice slice, const char *expected)
{
	if (slice.len != strlen(expected) || memcmp(slice.data, expected, slice.len) != 0)
		fail_msg("\"%.*s\", not \"%s\"", (int)slice.len, slice.data ? slice.data : "", expected);
}

void assert_absent(struct mesh_slice slice)
{
	assert_null(slice.data);
	assert_int_equal(slice.len, 0);
}
