/* SPDX-License-Identifier: Apache-2.0 */
/* Header changes of routes, virtual hosts and clusters; a value may be put together for each request (decode_format.c). */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Core__V3__HeaderValueOption value_option;

/* `field` NULL: the name is the value itself. */
static void check_name(struct decode *d, const char *field, const char *name)
{
	if (name[0] == ':' || mesh_slice_equal_fold(mesh_slice_of(name), MESH_SLICE("host")))
		mesh_decode_fail_field(d, field, "\"%.60s\": pseudo headers and host must not be changed", name);
	else if (!mesh_header_name_valid(mesh_slice_of(name)))
		mesh_decode_fail_field(d, field, "\"%.60s\": not a header name", name);
}

static enum header_append append_action(struct decode *d, const value_option *message)
{
	if (message->append && message->append_action)
		mesh_decode_fail_field(d, "append", "must not be set beside append_action");
	if (message->append)
		return message->append->value ? HEADER_APPEND : HEADER_OVERWRITE_OR_ADD;
	switch ((int)message->append_action) {
	case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD:
		return HEADER_APPEND;
	case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__ADD_IF_ABSENT:
		return HEADER_ADD_IF_ABSENT;
	case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD:
		return HEADER_OVERWRITE_OR_ADD;
	case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS:
		return HEADER_OVERWRITE_IF_EXISTS;
	default:
		mesh_decode_fail_field(d, "append_action", "%d: unknown", (int)message->append_action);
		return HEADER_APPEND;
	}
}

static void mutation(struct decode *d, const value_option *message, struct header_mutation *mutation)
{
	const Envoy__Config__Core__V3__HeaderValue *header = message->header;
	struct mesh_slice value;

	if (!header) {
		mesh_decode_fail_field(d, "header", "is required");
		return;
	}
	mesh_decode_push(d, "header");
	check_name(d, "key", header->key);
	mutation->name = mesh_decode_lower(d, header->key);
	value = header->raw_value.len ? mesh_slice_make(header->raw_value.data, header->raw_value.len)
				      : mesh_slice_of(header->value);
	if (value.len > 0 && !mesh_header_value_valid(mesh_slice_trim(value)))
		mesh_decode_fail_field(d, "value", "not a header value");
	else
		mutation->format = mesh_decode_format(d, "value", value, &mutation->value);
	mutation->value = mesh_slice_trim(mutation->value);
	mesh_decode_pop(d);
	mutation->how = append_action(d, message);
	mutation->keep_empty = message->keep_empty_value;
}

static struct header_mutation *mutations(struct decode *d, const char *field, value_option **messages, size_t n,
					 size_t *count)
{
	struct header_mutation *items = mesh_decode_array(d, n, sizeof(*items));

	*count = items ? n : 0;
	for (size_t i = 0; i < *count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		mutation(d, messages[i], &items[i]);
		mesh_decode_pop(d);
	}
	return items;
}

static struct mesh_slice *removals(struct decode *d, const char *field, char **names, size_t n, size_t *count)
{
	struct mesh_slice *items = mesh_decode_array(d, n, sizeof(*items));

	*count = items ? n : 0;
	for (size_t i = 0; i < *count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		check_name(d, NULL, names[i]);
		items[i] = mesh_decode_lower(d, names[i]);
		mesh_decode_pop(d);
	}
	return items;
}

void mesh_decode_mutations(struct decode *d, const struct decode_mutations *from, struct header_mutations *to)
{
	to->request_add = mutations(d, "request_headers_to_add", from->request_add, from->request_add_count,
				    &to->request_add_count);
	to->request_remove = removals(d, "request_headers_to_remove", from->request_remove, from->request_remove_count,
				      &to->request_remove_count);
	to->response_add = mutations(d, "response_headers_to_add", from->response_add, from->response_add_count,
				     &to->response_add_count);
	to->response_remove = removals(d, "response_headers_to_remove", from->response_remove, from->response_remove_count,
				       &to->response_remove_count);
}
