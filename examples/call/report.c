/* SPDX-License-Identifier: Apache-2.0 */
/* How mesh-call prints a call: for people, or one JSON object a line for programs. */
#include "call.h"

#include <stdlib.h>

#include <jansson.h>

/* Bytes of a peer need not be UTF-8; JSON must be: what is not becomes '?'. */
static json_t *text(struct mesh_slice slice)
{
	json_t *value;
	char *copy;

	if (!slice.data)
		return json_string("");
	value = json_stringn(slice.data, slice.len);
	if (value)
		return value;
	copy = malloc(slice.len);
	for (size_t i = 0; copy && i < slice.len; i++)
		copy[i] = (unsigned char)slice.data[i] < 0x80 ? slice.data[i] : '?';
	value = copy ? json_stringn(copy, slice.len) : NULL;
	free(copy);
	return value ? value : json_string("");
}

static json_t *headers_of(const struct mesh_call *call)
{
	json_t *object = json_object();
	struct mesh_header header;

	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++) {
		char name[256];

		snprintf(name, sizeof(name), "%.*s", (int)header.name.len, header.name.data);
		json_object_set_new(object, name, text(header.value));
	}
	return object;
}

void report_json(FILE *out, const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);
	const struct mesh_peer *peer = mesh_call_peer(call);
	json_t *object = json_object();
	char *line;

	json_object_set_new(object, "status", json_string(mesh_error_name(result->status)));
	json_object_set_new(object, "flag", json_string(result->flag));
	json_object_set_new(object, "http_status", json_integer(result->http_status));
	json_object_set_new(object, "local_status", json_integer(result->local_status));
	json_object_set_new(object, "attempts", json_integer(result->attempts));
	json_object_set_new(object, "route", text(result->route));
	json_object_set_new(object, "cluster", text(result->cluster));
	json_object_set_new(object, "endpoint", text(result->endpoint));
	json_object_set_new(object, "peer_identity", text(peer ? peer->identity : (struct mesh_slice){NULL, 0}));
	json_object_set_new(object, "protocol", text(peer ? peer->protocol : (struct mesh_slice){NULL, 0}));
	json_object_set_new(object, "tls", text(peer ? peer->tls_version : (struct mesh_slice){NULL, 0}));
	json_object_set_new(object, "duration_us", json_integer((json_int_t)result->duration_us));
	json_object_set_new(object, "why", text(result->why));
	json_object_set_new(object, "headers", headers_of(call));
	json_object_set_new(object, "body", text(mesh_call_body(call)));
	line = json_dumps(object, JSON_COMPACT);
	if (line)
		fprintf(out, "%s\n", line);
	free(line);
	json_decref(object);
}

void report_text(FILE *out, const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);
	const struct mesh_peer *peer = mesh_call_peer(call);
	struct mesh_slice body = mesh_call_body(call);
	struct mesh_header header;

	if (result->status < 0)
		fprintf(out, "%s (%s): %.*s\n", mesh_error_name(result->status), result->flag, (int)result->why.len,
			result->why.data);
	if (result->http_status)
		fprintf(out, "HTTP %d  endpoint %.*s  peer %.*s  attempts %u  %.3f ms\n", result->http_status,
			(int)result->endpoint.len, result->endpoint.data ? result->endpoint.data : "",
			peer && peer->identity.len ? (int)peer->identity.len : 9,
			peer && peer->identity.len ? peer->identity.data : "plaintext", result->attempts,
			(double)result->duration_us / 1000);
	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++)
		fprintf(out, "%.*s: %.*s\n", (int)header.name.len, header.name.data, (int)header.value.len, header.value.data);
	fwrite("\n", 1, 1, out);
	fwrite(body.data ? body.data : "", 1, body.len, out);
	fwrite("\n", 1, 1, out);
}
