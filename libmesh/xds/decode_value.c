/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small well-known messages: durations, wrappers, Any, Struct, metadata, data sources. Decides ranges and what an
 * absent one means; knows no resource.
 */
#include "xds/decode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/type/v3/typed_struct.pb-c.h"

#define SECONDS_MAX 315576000000ll              /* ten thousand years, as protobuf bounds a Duration */
#define NS_MAX      (100ll * 366 * 86400 * MESH_DECODE_NS) /* so that adding it to a clock never overflows */

int64_t mesh_decode_duration(struct decode *d, const char *field, const Google__Protobuf__Duration *duration, int64_t absent)
{
	if (!duration)
		return absent;
	if (duration->seconds < -SECONDS_MAX || duration->seconds > SECONDS_MAX || duration->nanos <= -MESH_DECODE_NS ||
	    duration->nanos >= MESH_DECODE_NS) {
		mesh_decode_fail_field(d, field, "%" PRId64 " s and %d ns: out of range", duration->seconds, duration->nanos);
		return absent;
	}
	if (duration->seconds < 0 || duration->nanos < 0) {
		char text[48];
		double seconds = (double)duration->seconds + (double)duration->nanos / 1e9;

		snprintf(text, sizeof(text), "%.9g", seconds);
		mesh_decode_fail_field(d, field, "%ss: must not be negative", text);
		return absent;
	}
	if (duration->seconds >= NS_MAX / MESH_DECODE_NS)
		return NS_MAX;
	return duration->seconds * MESH_DECODE_NS + duration->nanos;
}

int64_t mesh_decode_duration_positive(struct decode *d, const char *field, const Google__Protobuf__Duration *duration,
				      int64_t absent)
{
	int64_t ns = mesh_decode_duration(d, field, duration, absent);

	if (duration && ns == 0)
		mesh_decode_fail_field(d, field, "0s: must be greater than 0");
	return ns;
}

uint32_t mesh_decode_u32(const Google__Protobuf__UInt32Value *value, uint32_t absent)
{
	return value ? value->value : absent;
}

uint32_t mesh_decode_percent(struct decode *d, const char *field, const Google__Protobuf__UInt32Value *value, uint32_t absent)
{
	if (value && value->value > 100)
		mesh_decode_fail_field(d, field, "%u: must be 0..100", value->value);
	return mesh_decode_u32(value, absent);
}

double mesh_decode_share(struct decode *d, const char *field, double percent)
{
	if (isnan(percent) || percent < 0 || percent > 100) {
		mesh_decode_fail_field(d, field, "%g: must be 0..100", percent);
		return 0;
	}
	return percent;
}

bool mesh_decode_bool(const Google__Protobuf__BoolValue *value, bool absent)
{
	return value ? value->value : absent;
}

uint16_t mesh_decode_port(struct decode *d, const char *field, uint32_t port)
{
	if (port > UINT16_MAX)
		mesh_decode_fail_field(d, field, "%u: must be 0..65535", port);
	return (uint16_t)port;
}

bool mesh_decode_count(struct decode *d, const char *field, size_t count, size_t max)
{
	if (count > max)
		mesh_decode_fail_field(d, field, "%zu: at most %zu", count, max);
	return count <= max;
}

struct mesh_slice mesh_decode_any_type(const Google__Protobuf__Any *any)
{
	const char *url = any ? any->type_url : "";
	const char *slash = strrchr(url, '/');

	return mesh_slice_of(slash ? slash + 1 : url);
}

bool mesh_decode_any_is(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type)
{
	return any && mesh_slice_equal(mesh_decode_any_type(any), mesh_slice_of(type->name));
}

void *mesh_decode_any_open(struct decode *d, const char *field, const Google__Protobuf__Any *any,
			   const ProtobufCMessageDescriptor *type)
{
	mesh_decode_push(d, field);
	if (++d->anys > MESH_DECODE_ANYS)
		mesh_decode_fail(d, "nested too deep");
	if (!mesh_decode_any_is(any, type)) {
		mesh_decode_fail(d, "\"%.100s\": must be a %s", any ? any->type_url : "", type->name);
		return NULL;
	}
	return mesh_decode_unpack(d, mesh_slice_make(any->value.data, any->value.len), type);
}

void mesh_decode_any_close(struct decode *d)
{
	d->anys--;
	mesh_decode_pop(d);
}

struct mesh_slice mesh_decode_typed_struct_open(struct decode *d, const Google__Protobuf__Any *any,
						const Google__Protobuf__Struct **body)
{
	struct mesh_slice bytes = mesh_slice_make(any ? (const char *)any->value.data : NULL, any ? any->value.len : 0);
	const char *url = NULL;

	*body = NULL;
	if (mesh_decode_any_is(any, &udpa__type__v1__typed_struct__descriptor)) {
		Udpa__Type__V1__TypedStruct *inner = mesh_decode_unpack(d, bytes, &udpa__type__v1__typed_struct__descriptor);

		url = inner ? inner->type_url : NULL;
		*body = inner ? inner->value : NULL;
	} else if (mesh_decode_any_is(any, &xds__type__v3__typed_struct__descriptor)) {
		Xds__Type__V3__TypedStruct *inner = mesh_decode_unpack(d, bytes, &xds__type__v3__typed_struct__descriptor);

		url = inner ? inner->type_url : NULL;
		*body = inner ? inner->value : NULL;
	}
	if (!url)
		return mesh_slice_make(NULL, 0);
	return mesh_slice_of(strrchr(url, '/') ? strrchr(url, '/') + 1 : url);
}

struct mesh_slice mesh_decode_typed_struct(struct decode *d, const Google__Protobuf__Any *any)
{
	const Google__Protobuf__Struct *body;

	return mesh_decode_typed_struct_open(d, any, &body);
}

const Google__Protobuf__Value *mesh_decode_struct_get(const Google__Protobuf__Struct *object, const char *name)
{
	for (size_t i = 0; object && i < object->n_fields; i++) {
		if (strcmp(object->fields[i]->key, name) == 0)
			return object->fields[i]->value;
	}
	return NULL;
}

const char *mesh_decode_value_text(const Google__Protobuf__Value *value)
{
	return value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? value->string_value : NULL;
}

struct mesh_slice mesh_decode_exchange_protocol(struct decode *d, const Google__Protobuf__Struct *body)
{
	const char *protocol = mesh_decode_value_text(mesh_decode_struct_get(body, "protocol"));

	if (protocol && strlen(protocol) > 255) /* no ALPN name is longer */
		mesh_decode_fail_field(d, "value.protocol", "%zu bytes: at most 255", strlen(protocol));
	return mesh_decode_text(d, protocol ? protocol : "");
}

const Google__Protobuf__Struct *mesh_decode_metadata(const Envoy__Config__Core__V3__Metadata *metadata, const char *filter)
{
	for (size_t i = 0; metadata && i < metadata->n_filter_metadata; i++) {
		if (strcmp(metadata->filter_metadata[i]->key, filter) == 0)
			return metadata->filter_metadata[i]->value;
	}
	return NULL;
}

static int label_order(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct label *)left)->key, ((const struct label *)right)->key);
}

static struct mesh_slice label_value(struct decode *d, const Google__Protobuf__Value *value)
{
	switch (value ? value->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		return mesh_decode_value_exact(d, value);
	default:
		mesh_decode_fail(d, "must be a text, a number or a boolean");
		return mesh_slice_make(NULL, 0);
	}
}

struct label *mesh_decode_labels(struct decode *d, const Google__Protobuf__Struct *object, size_t *count)
{
	struct label *labels = mesh_decode_array(d, object ? object->n_fields : 0, sizeof(*labels));

	*count = labels ? object->n_fields : 0;
	for (size_t i = 0; i < *count && d->rc == 0; i++) {
		mesh_decode_push_key(d, "fields", object->fields[i]->key);
		labels[i].key = mesh_decode_text(d, object->fields[i]->key);
		labels[i].value = label_value(d, object->fields[i]->value);
		mesh_decode_pop(d);
	}
	if (*count > 1)
		qsort(labels, *count, sizeof(*labels), label_order);
	return labels;
}

bool mesh_decode_source(const Envoy__Config__Core__V3__DataSource *source, struct mesh_slice *bytes)
{
	*bytes = mesh_slice_make(NULL, 0);
	if (source && source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES)
		*bytes = mesh_slice_make(source->inline_bytes.data, source->inline_bytes.len);
	else if (source && source->specifier_case == ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING)
		*bytes = mesh_slice_of(source->inline_string);
	else
		return false;
	return true;
}
