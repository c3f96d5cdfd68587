/* SPDX-License-Identifier: Apache-2.0 */
/* How mesh-call prints a call: for people, or one JSON object a line for programs. */
#include "call.h"

#include <stdlib.h>

#include "call_json.h"

void report_json(FILE *out, const struct mesh_call *call)
{
	static const struct mesh_peer nobody = {.size = sizeof(nobody)};
	const struct mesh_result *result = mesh_call_result(call);
	const struct mesh_peer *peer = mesh_call_peer(call) ? mesh_call_peer(call) : &nobody;
	json_t *object = json_object();
	char *line;

	json_object_set_new(object, "status", json_string(mesh_error_name(result->status)));
	json_object_set_new(object, "flag", json_string(result->flag));
	json_object_set_new(object, "http_status", json_integer(result->http_status));
	json_object_set_new(object, "attempts", json_integer(result->attempts));
	json_object_set_new(object, "route", call_json_text(result->route));
	json_object_set_new(object, "cluster", call_json_text(result->cluster));
	json_object_set_new(object, "endpoint", call_json_text(result->endpoint));
	json_object_set_new(object, "peer_identity", call_json_text(peer->identity));
	json_object_set_new(object, "protocol", call_json_text(peer->protocol));
	json_object_set_new(object, "tls", call_json_text(peer->tls_version));
	json_object_set_new(object, "duration_us", json_integer((json_int_t)result->duration_us));
	json_object_set_new(object, "headers", call_json_headers(call));
	json_object_set_new(object, "body", call_json_text(mesh_call_body(call)));
	line = json_dumps(object, JSON_COMPACT);
	if (line)
		fprintf(out, "%s\n", line);
	free(line);
	json_decref(object);
}

void report_failure(FILE *out, const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);

	fprintf(out, "mesh-call: %s (%s): %.*s\n", mesh_error_name(result->status), result->flag, (int)result->why.len,
		result->why.data ? result->why.data : "");
}

void report_text(FILE *out, const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);
	const struct mesh_peer *peer = mesh_call_peer(call);
	struct mesh_slice identity = peer && peer->identity.len ? peer->identity : mesh_slice_of("without identity");
	struct mesh_slice body = mesh_call_body(call), endpoint = result->endpoint;
	struct mesh_header header;

	if (!result->http_status)
		return;
	fprintf(out, "HTTP %d  endpoint %.*s  peer %.*s  attempts %u  %.3f ms\n", result->http_status, (int)endpoint.len,
		endpoint.data ? endpoint.data : "", (int)identity.len, identity.data, result->attempts,
		(double)result->duration_us / 1000);
	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++)
		fprintf(out, "%.*s: %.*s\n", (int)header.name.len, header.name.data, (int)header.value.len, header.value.data);
	fprintf(out, "\n");
	fwrite(body.data ? body.data : "", 1, body.len, out);
	fprintf(out, "\n");
}

/* ---- many calls */

/* Four steps to each power of two: a quantile is told to within a quarter. */
static unsigned step_of(uint64_t us)
{
	unsigned power = 0;

	while (power < 60 && us >> (power + 1))
		power++;
	return power < 2 ? (unsigned)us : 4 * power + (unsigned)(us >> (power - 2) & 3);
}

static uint64_t step_end(unsigned step)
{
	return step < 8 ? step : ((uint64_t)(step & 3) + 5) << (step / 4 - 2);
}

static uint64_t quantile_us(const struct tally *tally, double share)
{
	uint64_t left = (uint64_t)((double)tally->calls * share);
	unsigned step = 0;

	while (step + 1 < TALLY_STEPS && tally->steps[step] <= left)
		left -= tally->steps[step++];
	return step_end(step) < tally->longest_us ? step_end(step) : tally->longest_us;
}

void tally_add(struct tally *tally, const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);

	tally->calls++;
	tally->failed += result->status < 0;
	tally->attempts += result->attempts;
	if (result->http_status >= 100 && result->http_status < 600)
		tally->statuses[result->http_status]++;
	tally->steps[step_of(result->duration_us)]++;
	if (result->duration_us > tally->longest_us)
		tally->longest_us = result->duration_us;
}

void tally_print(FILE *out, const struct tally *tally, uint64_t elapsed_us)
{
	fprintf(out, "%lu calls, %lu failed, %lu attempts, %.1f s\n", tally->calls, tally->failed, tally->attempts,
		(double)elapsed_us / 1e6);
	for (int i = 0; i < 600; i++)
		if (tally->statuses[i])
			fprintf(out, "HTTP %d: %lu\n", i, tally->statuses[i]);
	if (tally->calls)
		fprintf(out, "p50 %.3f ms, p99 %.3f ms, longest %.3f ms\n", (double)quantile_us(tally, 0.5) / 1000,
			(double)quantile_us(tally, 0.99) / 1000, (double)tally->longest_us / 1000);
}
