/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a protobuf message reads as JSON: what is left out as default, what has a form of its own, what is
 * secret. Refuses to know what any field is for, and where the text goes.
 */
#include <mesh/error.h>

#include "base/arena.h"
#include "control/message.h"
#include "xds/json.h"
#include "xds/json_form.h"
#include "xds/json_writer.h"
#include "xds/type_registry.h"

#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#define ANY_ARENA_BYTES_MAX ((size_t)256 << 20)

struct encoder {
	struct json_writer *w;
	struct arena arena; /* what was inside an Any, unpacked */
};

static void put_message(struct encoder *e, const ProtobufCMessage *message);
static void put_any(struct encoder *e, struct mesh_slice type_url, struct mesh_slice value);

static void put_enum(struct encoder *e, const ProtobufCFieldDescriptor *field, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(field->descriptor, value);

	if (mesh_json_is_null_value(field))
		mesh_json_writer_raw(e->w, MESH_SLICE("null"));
	else if (known)
		mesh_json_writer_text(e->w, mesh_slice_of(known->name));
	else
		mesh_json_writer_signed(e->w, false, value);
}

/* One value of a field; `at` points at it, whatever the label. */
static void put_value(struct encoder *e, const ProtobufCFieldDescriptor *field, const void *at)
{
	const ProtobufCBinaryData *bytes = at;

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		mesh_json_writer_signed(e->w, false, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		mesh_json_writer_signed(e->w, true, *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		mesh_json_writer_unsigned(e->w, false, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		mesh_json_writer_unsigned(e->w, true, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		mesh_json_writer_number(e->w, *(const float *)at, true);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		mesh_json_writer_number(e->w, *(const double *)at, false);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		mesh_json_writer_raw(e->w, *(const protobuf_c_boolean *)at ? MESH_SLICE("true") : MESH_SLICE("false"));
		break;
	case PROTOBUF_C_TYPE_ENUM:
		put_enum(e, field, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		mesh_json_writer_text(e->w, mesh_slice_of(*(char *const *)at));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		mesh_json_writer_base64(e->w, mesh_slice_make(bytes->data, bytes->len));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_message(e, *(const ProtobufCMessage *const *)at);
		break;
	}
}

/* ---- fields ---- */

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

/* Set, as far as proto3 can tell: a plain field at its default is not. */
static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	static const char zero[8];
	const char *at = (const char *)message + field->offset;
	const char *quantifier = (const char *)message + field->quantifier_offset;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)quantifier > 0;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(const uint32_t *)quantifier != field->id)
		return false;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)at != NULL;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return *(char *const *)at && **(char *const *)at;
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len > 0;
	return memcmp(at, zero, value_size(field->type)) != 0;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessage *message, unsigned index)
{
	return &message->descriptor->fields[index];
}

static void put_list(struct encoder *e, const ProtobufCFieldDescriptor *field, const char *values, size_t count)
{
	bool first = true;

	if (!mesh_json_writer_open(e->w, "["))
		return;
	for (size_t i = 0; i < count && e->w->rc == 0; i++) {
		mesh_json_writer_item(e->w, &first);
		put_value(e, field, values + i * value_size(field->type));
	}
	mesh_json_writer_close(e->w, "]", first);
}

/* Keys of a map are names in JSON, so numbers and booleans are quoted. */
static void put_key(struct encoder *e, const ProtobufCFieldDescriptor *field, const void *at)
{
	bool quote = field->type != PROTOBUF_C_TYPE_STRING && value_size(field->type) != 8;

	mesh_json_writer_raw(e->w, quote ? MESH_SLICE("\"") : MESH_SLICE(""));
	put_value(e, field, at);
	mesh_json_writer_raw(e->w, quote ? MESH_SLICE("\"") : MESH_SLICE(""));
	mesh_json_writer_colon(e->w);
}

static void put_map(struct encoder *e, const ProtobufCMessage *const *entries, size_t count)
{
	bool first = true;

	if (!mesh_json_writer_open(e->w, "{"))
		return;
	for (size_t i = 0; i < count && e->w->rc == 0; i++) {
		const ProtobufCFieldDescriptor *value = field_of(entries[i], 1);
		const void *at = (const char *)entries[i] + value->offset;
		bool absent = value->type == PROTOBUF_C_TYPE_MESSAGE && !*(const void *const *)at;

		mesh_json_writer_item(e->w, &first);
		put_key(e, field_of(entries[i], 0), (const char *)entries[i] + field_of(entries[i], 0)->offset);
		if (absent)
			mesh_json_writer_raw(e->w, mesh_json_form(value->descriptor) == JSON_FORM_OBJECT
							   ? MESH_SLICE("{}")
							   : MESH_SLICE("null"));
		else
			put_value(e, value, at);
	}
	mesh_json_writer_close(e->w, "}", first);
}

static void put_field(struct encoder *e, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *at = (const char *)message + field->offset;
	size_t count = 0;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		count = *(const size_t *)((const char *)message + field->quantifier_offset);
	if (mesh_json_is_map(message->descriptor, field))
		put_map(e, *(const ProtobufCMessage *const *const *)at, count);
	else if (field->label == PROTOBUF_C_LABEL_REPEATED)
		put_list(e, field, *(const char *const *)at, count);
	else
		put_value(e, field, at);
}

/* A secret in a data source is replaced; in any other place it is left out. */
static void put_redacted(struct encoder *e, const ProtobufCFieldDescriptor *field, struct mesh_slice name, bool *first)
{
	Envoy__Config__Core__V3__DataSource source = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__INIT;
	char hidden[] = "[redacted]";

	if (field->label == PROTOBUF_C_LABEL_REPEATED ||
	    field->descriptor != &envoy__config__core__v3__data_source__descriptor)
		return;
	source.specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING;
	source.inline_string = hidden;
	mesh_json_writer_item(e->w, first);
	mesh_json_writer_name(e->w, name);
	put_message(e, &source.base);
}

static void put_members(struct encoder *e, const ProtobufCMessage *message, bool *first)
{
	for (unsigned i = 0; i < message->descriptor->n_fields && e->w->rc == 0; i++) {
		const ProtobufCFieldDescriptor *field = field_of(message, i);
		char name[MESH_JSON_NAME_BYTES];
		bool as_is = e->w->flags & MESH_JSON_PROTO_NAMES;
		struct mesh_slice slice = as_is ? mesh_slice_of(field->name) : mesh_slice_make(name, mesh_json_name(field, name));

		if (!is_present(message, field))
			continue;
		if (!(e->w->flags & MESH_JSON_SECRETS) && mesh_json_is_secret(message->descriptor, field)) {
			put_redacted(e, field, slice, first);
			continue;
		}
		mesh_json_writer_item(e->w, first);
		mesh_json_writer_name(e->w, slice);
		put_field(e, message, field);
	}
}

/* ---- messages ---- */

/* A time beyond what JSON can say is shown by its numbers. */
static void put_time(struct encoder *e, const ProtobufCMessage *message, const char *text, size_t len)
{
	bool first = true;

	if (len > 0) {
		mesh_json_writer_text(e->w, mesh_slice_make(text, len));
	} else if (mesh_json_writer_open(e->w, "{")) {
		put_members(e, message, &first);
		mesh_json_writer_close(e->w, "}", first);
	}
}

/* Only the member that is set has a say; with none it reads null. */
static void put_json_value(struct encoder *e, const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = field_of(message, i);

		if (!is_present(message, field))
			continue;
		put_value(e, field, (const char *)message + field->offset);
		return;
	}
	mesh_json_writer_raw(e->w, MESH_SLICE("null"));
}

static void put_special(struct encoder *e, const ProtobufCMessage *message, enum json_form form)
{
	const Google__Protobuf__Struct *fields = (const void *)message;
	const Google__Protobuf__ListValue *list = (const void *)message;
	const Google__Protobuf__Duration *duration = (const void *)message;
	const Google__Protobuf__Timestamp *timestamp = (const void *)message;
	char text[MESH_JSON_TIME_BYTES];

	switch (form) {
	case JSON_FORM_DURATION:
		put_time(e, message, text, mesh_json_duration_text(duration->seconds, duration->nanos, text));
		break;
	case JSON_FORM_TIMESTAMP:
		put_time(e, message, text, mesh_json_timestamp_text(timestamp->seconds, timestamp->nanos, text));
		break;
	case JSON_FORM_STRUCT:
		put_map(e, (const ProtobufCMessage *const *)fields->fields, fields->n_fields);
		break;
	case JSON_FORM_LIST:
		put_list(e, field_of(message, 0), (const char *)list->values, list->n_values);
		break;
	case JSON_FORM_VALUE:
		put_json_value(e, message);
		break;
	default: /* a wrapper */
		put_value(e, field_of(message, 0), (const char *)message + field_of(message, 0)->offset);
		break;
	}
}

static void put_message(struct encoder *e, const ProtobufCMessage *message)
{
	enum json_form form = mesh_json_form(message->descriptor);
	const Google__Protobuf__Any *any = (const void *)message;
	bool first = true;

	if (form == JSON_FORM_ANY) {
		put_any(e, mesh_slice_of(any->type_url), mesh_slice_make(any->value.data, any->value.len));
		return;
	}
	if (form != JSON_FORM_OBJECT) {
		put_special(e, message, form);
		return;
	}
	if (!mesh_json_writer_open(e->w, "{"))
		return;
	put_members(e, message, &first);
	mesh_json_writer_close(e->w, "}", first);
}

static void put_any(struct encoder *e, struct mesh_slice type_url, struct mesh_slice value)
{
	const ProtobufCMessageDescriptor *type = mesh_type_find(type_url);
	ProtobufCMessage *message = NULL;
	bool first = true;
	int rc = type ? mesh_message_unpack(type, value, 0, &e->arena, NULL, &message) : 0;

	if (rc == MESH_ERROR_NOMEM)
		mesh_json_writer_fail(e->w, e->arena.full ? MESH_ERROR_TOO_LARGE : rc);
	if (!mesh_json_writer_open(e->w, "{"))
		return;
	if (type_url.len > 0) {
		mesh_json_writer_item(e->w, &first);
		mesh_json_writer_name(e->w, MESH_SLICE("@type"));
		mesh_json_writer_text(e->w, type_url);
	}
	if (message && mesh_json_form(type) == JSON_FORM_OBJECT) {
		put_members(e, message, &first);
	} else if (message || (value.len > 0 && (!type || e->w->flags & MESH_JSON_SECRETS))) {
		mesh_json_writer_item(e->w, &first);
		mesh_json_writer_name(e->w, MESH_SLICE("value"));
		if (message)
			put_message(e, message);
		else
			mesh_json_writer_base64(e->w, value);
	}
	mesh_json_writer_close(e->w, "}", first);
}

/* ---- entry ---- */

static int finish(struct encoder *e, size_t before)
{
	mesh_arena_free(&e->arena);
	if (e->w->rc < 0)
		e->w->out->end = e->w->out->start + before;
	return e->w->rc;
}

int mesh_json_encode(struct buf *out, const ProtobufCMessage *message, unsigned flags, struct why *why)
{
	struct json_writer writer = {.out = out, .why = why, .flags = flags};
	struct encoder e = {.w = &writer};
	size_t before = mesh_buf_len(out);

	mesh_arena_init(&e.arena, out->mem, ANY_ARENA_BYTES_MAX);
	put_message(&e, message);
	return finish(&e, before);
}

int mesh_json_encode_any(struct buf *out, struct mesh_slice type_url, struct mesh_slice value, unsigned flags,
			 unsigned depth, struct why *why)
{
	struct json_writer writer = {.out = out, .why = why, .flags = flags, .depth = depth};
	struct encoder e = {.w = &writer};
	size_t before = mesh_buf_len(out);

	mesh_arena_init(&e.arena, out->mem, ANY_ARENA_BYTES_MAX);
	put_any(&e, type_url, value);
	return finish(&e, before);
}
