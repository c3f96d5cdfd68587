/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether JSON fits a message and writes the message's bytes straight from it. Refuses to know what any field
 * is for; a value that does not fit is an error with its path, never a guess.
 */
#include <jansson.h>
#include <mesh/error.h>

#include "base/text.h"
#include "control/message.h"
#include "xds/json.h"
#include "xds/json_form.h"
#include "xds/json_scalar.h"
#include "xds/type_registry.h"
#include "xds/wire.h"

#define FIELDS_MAX 256

static int put_message(struct json_decoder *d, const ProtobufCMessageDescriptor *type, json_t *json,
		       const struct message_path *path);

static struct mesh_slice text_of(const json_t *json)
{
	return mesh_slice_make(json_string_value(json), json_string_length(json));
}

/* ---- fields ---- */

/* The payload of one value, with its length where it needs one but without a tag. */
static int put_value(struct json_decoder *d, const ProtobufCFieldDescriptor *field, json_t *json,
		     const struct message_path *path)
{
	size_t mark = mesh_buf_len(d->out);
	int rc;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return mesh_json_put_scalar(d, field, json, path);
	rc = put_message(d, field->descriptor, json, path);
	return rc < 0 ? rc : mesh_wire_length(d->out, mark);
}

static int put_single(struct json_decoder *d, const ProtobufCFieldDescriptor *field, json_t *json,
		      const struct message_path *path)
{
	int rc = mesh_wire_tag(d->out, field->id, mesh_wire_type(field->type));

	return rc < 0 ? rc : put_value(d, field, json, path);
}

static int put_map(struct json_decoder *d, const ProtobufCFieldDescriptor *field, json_t *json,
		   const struct message_path *path)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return mesh_json_refuse(d, path, "expected an object");
	json_object_foreach(json, key, value)
	{
		struct message_path here = {path, key, 0, 0};
		size_t mark;
		int rc = mesh_wire_tag(d->out, field->id, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);

		mark = mesh_buf_len(d->out);
		if (rc == 0)
			rc = mesh_json_put_key(d, &entry->fields[0], mesh_slice_of(key), &here);
		if (rc == 0)
			rc = put_single(d, &entry->fields[1], value, &here);
		if (rc == 0)
			rc = mesh_wire_length(d->out, mark);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_list(struct json_decoder *d, const ProtobufCFieldDescriptor *field, json_t *json,
		    const struct message_path *path)
{
	bool packed = mesh_wire_type(field->type) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	size_t mark;
	int rc = 0;

	if (!json_is_array(json))
		return mesh_json_refuse(d, path, "expected an array");
	if (packed && json_array_size(json) > 0)
		rc = mesh_wire_tag(d->out, field->id, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
	mark = mesh_buf_len(d->out);
	for (size_t i = 0; i < json_array_size(json) && rc == 0; i++) {
		struct message_path here = {path, NULL, 0, i};

		if (packed)
			rc = put_value(d, field, json_array_get(json, i), &here);
		else
			rc = put_single(d, field, json_array_get(json, i), &here);
	}
	if (packed && json_array_size(json) > 0 && rc == 0)
		rc = mesh_wire_length(d->out, mark);
	return rc;
}

/* ---- messages ---- */

/* null means "not set", but for the two types of which it is a value. */
static bool is_absent(const ProtobufCFieldDescriptor *field, const json_t *json)
{
	if (!json_is_null(json))
		return false;
	if (field->label != PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE &&
	    mesh_json_form(field->descriptor) == JSON_FORM_VALUE)
		return false;
	return !mesh_json_is_null_value(field);
}

/* The same field twice (by both of its names), or two members of one oneof. */
static int check_once(struct json_decoder *d, const ProtobufCMessageDescriptor *type,
		      const ProtobufCFieldDescriptor *field, bool seen[FIELDS_MAX], const struct message_path *path)
{
	size_t index = (size_t)(field - type->fields);

	if (type->n_fields > FIELDS_MAX)
		return mesh_json_refuse(d, path, "%s has too many fields", type->name);
	if (seen[index])
		return mesh_json_refuse(d, path, "given twice");
	seen[index] = true;
	for (unsigned i = 0; i < type->n_fields && field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF; i++) {
		const ProtobufCFieldDescriptor *other = &type->fields[i];

		if (i != index && seen[i] && other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    other->quantifier_offset == field->quantifier_offset)
			return mesh_json_refuse(d, path, "%s is set already, and only one of the two may be",
						other->name);
	}
	return 0;
}

static int put_members(struct json_decoder *d, const ProtobufCMessageDescriptor *type, json_t *json,
		       const struct message_path *path, bool in_any)
{
	bool seen[FIELDS_MAX] = {false};
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return mesh_json_refuse(d, path, "expected an object");
	json_object_foreach(json, key, value)
	{
		const ProtobufCFieldDescriptor *field = mesh_json_field(type, mesh_slice_of(key));
		struct message_path here = {path, key, 0, 0};
		int rc;

		if (in_any && strcmp(key, "@type") == 0)
			continue;
		if (!field && d->flags & MESH_JSON_IGNORE_UNKNOWN)
			continue;
		if (!field)
			return mesh_json_refuse(d, &here, "no such field in %s", type->name);
		if (is_absent(field, value))
			continue;
		rc = check_once(d, type, field, seen, &here);
		if (rc == 0 && mesh_json_is_map(type, field))
			rc = put_map(d, field, value, &here);
		else if (rc == 0 && field->label == PROTOBUF_C_LABEL_REPEATED)
			rc = put_list(d, field, value, &here);
		else if (rc == 0)
			rc = put_single(d, field, value, &here);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_time(struct json_decoder *d, const ProtobufCMessageDescriptor *type, const json_t *json,
		    const struct message_path *path)
{
	bool duration = mesh_json_form(type) == JSON_FORM_DURATION;
	struct mesh_slice text = text_of(json);
	int64_t seconds;
	int32_t nanos;
	int rc;

	if (!json_is_string(json) || !(duration ? mesh_json_duration_parse(text, &seconds, &nanos)
						: mesh_json_timestamp_parse(text, &seconds, &nanos)))
		return mesh_json_refuse(d, path,
					duration ? "expected a duration such as \"1.5s\""
						 : "expected a time such as \"2026-11-24T15:00:00Z\"");
	rc = mesh_wire_tag(d->out, 1, PROTOBUF_C_WIRE_TYPE_VARINT);
	if (rc == 0)
		rc = mesh_wire_varint(d->out, (uint64_t)seconds);
	if (rc == 0 && nanos != 0)
		rc = mesh_wire_tag(d->out, 2, PROTOBUF_C_WIRE_TYPE_VARINT);
	if (rc == 0 && nanos != 0)
		rc = mesh_wire_varint(d->out, (uint64_t)(int64_t)nanos);
	return rc;
}

static int put_json_value(struct json_decoder *d, const ProtobufCMessageDescriptor *type, json_t *json,
			  const struct message_path *path)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "struct_value",	 [JSON_ARRAY] = "list_value",  [JSON_STRING] = "string_value",
		[JSON_INTEGER] = "number_value", [JSON_REAL] = "number_value", [JSON_TRUE] = "bool_value",
		[JSON_FALSE] = "bool_value",	 [JSON_NULL] = "null_value",
	};

	return put_single(d, mesh_json_field(type, mesh_slice_of(kinds[json_typeof(json)])), json, path);
}

/* What the object with "@type" says, as the bytes of that type. */
static int put_any_value(struct json_decoder *d, struct mesh_slice type_url, json_t *json, const struct message_path *path)
{
	const ProtobufCMessageDescriptor *type = mesh_type_find(type_url);
	json_t *value = json_object_get(json, "value");
	struct message_path here = {path, "value", 0, 0};
	int rc;

	if (type && mesh_json_form(type) == JSON_FORM_OBJECT)
		return put_members(d, type, json, path, true);
	if (json_object_size(json) > 2 || (json_object_size(json) == 2 && !value))
		return mesh_json_refuse(d, path,
					type ? "%.100s has its JSON under \"value\"" : "type \"%.100s\" is not known",
					type_url.data);
	if (!value)
		return 0;
	if (type)
		return put_message(d, type, value, &here);
	rc = json_is_string(value) ? mesh_text_base64_decode(d->out, text_of(value)) : MESH_ERROR_INVALID;
	if (rc == MESH_ERROR_INVALID)
		return mesh_json_refuse(d, path, "type \"%.100s\" is not known, so \"value\" must be base64",
					type_url.data);
	return rc;
}

static int any_type_url(struct json_decoder *d, const json_t *json, const struct message_path *path,
			struct mesh_slice *type_url)
{
	const json_t *name = json_object_get(json, "@type");

	*type_url = text_of(name);
	if (!json_is_object(json))
		return mesh_json_refuse(d, path, "expected an object");
	if (!json_is_string(name) || mesh_slice_find(*type_url, '/') < 0 || memchr(type_url->data, '\0', type_url->len))
		return mesh_json_refuse(d, path, "\"@type\" with a type URL is missing");
	return 0;
}

static int put_any(struct json_decoder *d, json_t *json, const struct message_path *path)
{
	struct mesh_slice type_url;
	size_t mark;
	int rc;

	if (json_is_object(json) && json_object_size(json) == 0)
		return 0;
	rc = any_type_url(d, json, path, &type_url);
	if (rc == 0)
		rc = mesh_wire_tag(d->out, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
	if (rc == 0)
		rc = mesh_wire_bytes(d->out, type_url);
	if (rc == 0)
		rc = mesh_wire_tag(d->out, 2, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
	mark = mesh_buf_len(d->out);
	if (rc == 0)
		rc = put_any_value(d, type_url, json, path);
	return rc < 0 ? rc : mesh_wire_length(d->out, mark);
}

static int put_form(struct json_decoder *d, const ProtobufCMessageDescriptor *type, json_t *json,
		    const struct message_path *path)
{
	switch (mesh_json_form(type)) {
	case JSON_FORM_ANY:
		return put_any(d, json, path);
	case JSON_FORM_DURATION:
	case JSON_FORM_TIMESTAMP:
		return put_time(d, type, json, path);
	case JSON_FORM_STRUCT:
		return put_map(d, &type->fields[0], json, path);
	case JSON_FORM_LIST:
		return put_list(d, &type->fields[0], json, path);
	case JSON_FORM_VALUE:
		return put_json_value(d, type, json, path);
	case JSON_FORM_WRAPPER:
		return put_single(d, &type->fields[0], json, path);
	default:
		return put_members(d, type, json, path, false);
	}
}

static int put_message(struct json_decoder *d, const ProtobufCMessageDescriptor *type, json_t *json,
		       const struct message_path *path)
{
	int rc;

	if (d->nesting >= MESH_JSON_NESTING)
		return mesh_json_refuse(d, path, "nested more than %d deep", MESH_JSON_NESTING);
	d->nesting++;
	rc = put_form(d, type, json, path);
	d->nesting--;
	return rc;
}

/* ---- entry ---- */

static int finish(struct json_decoder *d, size_t before, int rc)
{
	if (rc < 0)
		d->out->end = d->out->start + before;
	return rc;
}

int mesh_json_decode(struct buf *out, const ProtobufCMessageDescriptor *type, const struct json_t *json, unsigned flags,
		     struct why *why)
{
	struct json_decoder d = {.out = out, .why = why, .flags = flags};
	struct message_path top = {NULL, type->short_name, 0, 0};
	size_t before = mesh_buf_len(out);

	return finish(&d, before, put_message(&d, type, (json_t *)json, &top));
}

int mesh_json_decode_any(struct buf *out, const struct json_t *json, unsigned flags, const char **type_url,
			 struct why *why)
{
	struct json_decoder d = {.out = out, .why = why, .flags = flags};
	struct message_path top = {NULL, "resource", 0, 0};
	size_t before = mesh_buf_len(out);
	struct mesh_slice url;
	int rc = any_type_url(&d, json, &top, &url);

	if (rc == 0)
		rc = put_any_value(&d, url, (json_t *)json, &top);
	*type_url = rc == 0 ? url.data : NULL;
	return finish(&d, before, rc);
}
