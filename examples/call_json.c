/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how bytes and headers look in JSON. Refuses to know what they are of. */
#include "call_json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const size_t name_bytes_max = 255; /* a longer name is cut; only the tool's output is concerned */

json_t *call_json_text(struct mesh_slice text)
{
	json_t *value = json_stringn(text.data ? text.data : "", text.len);
	char *copy = value ? NULL : malloc(text.len);

	if (value)
		return value;
	for (size_t i = 0; copy && i < text.len; i++)
		copy[i] = (unsigned char)text.data[i] < 0x80 ? text.data[i] : '?';
	value = copy ? json_stringn(copy, text.len) : NULL;
	free(copy);
	return value;
}

/* "a" and "b" to "a,b" */
static json_t *join(const char *before, json_t *value)
{
	json_t *joined = json_sprintf("%s,%s", before, json_string_value(value));

	json_decref(value);
	return joined;
}

json_t *call_json_headers(const struct mesh_call *call)
{
	json_t *object = json_object();
	struct mesh_header header;

	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++) {
		size_t len = header.name.len < name_bytes_max ? header.name.len : name_bytes_max;
		json_t *value = call_json_text(header.value);
		const char *before;
		char name[256];

		for (size_t at = 0; at < len; at++)
			name[at] = (char)tolower((unsigned char)header.name.data[at]);
		name[len] = '\0';
		before = json_string_value(json_object_get(object, name));
		json_object_set_new(object, name, before && value ? join(before, value) : value);
	}
	return object;
}
