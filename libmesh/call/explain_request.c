/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells what is done to a request whose cluster is found: faults, changes of it, timeouts, retries, copies. Decides nothing.
 * Values that the application gave are not repeated.
 */
#include "call/explain.h"

#include "config/internal_redirect.h"
#include "config/mirror.h"
#include "config/retry_on.h"
#include "policy/fault.h"

static void tell_fault(const struct mesh_call *call, struct outline *outline, const struct http_filter *filter)
{
	const struct client_call *client = &call->client;
	const struct fault_config *fault =
		mesh_fault_in_force(filter->fault, filter->name, client->chosen.route, client->chosen.weighted);

	if (!fault)
		return;
	mesh_outline_group(outline, "fault");
	if (fault->delay_header)
		mesh_outline_text(outline, "delay", MESH_SLICE("as the request's own header says"));
	else if (fault->delay_ns)
		mesh_outline_printf(outline, "delay", "%.3f ms for %u of %u requests", (double)fault->delay_ns / 1e6,
				    fault->delay_share.numerator, fault->delay_share.denominator);
	if (fault->abort == FAULT_ABORT_HEADER)
		mesh_outline_text(outline, "abort", MESH_SLICE("as the request's own header says"));
	else if (fault->abort != FAULT_ABORT_NONE)
		mesh_outline_printf(outline, "abort", "%s %u for %u of %u requests",
				    fault->abort == FAULT_ABORT_GRPC ? "gRPC code" : "status", fault->abort_status,
				    fault->abort_share.numerator, fault->abort_share.denominator);
	mesh_outline_close(outline);
}

static void tell_filters(const struct mesh_call *call, struct outline *outline)
{
	const struct http_config *http = call->client.http;

	for (size_t i = 0; i < http->filter_count; i++)
		if (http->filters[i].kind == HTTP_FILTER_FAULT)
			tell_fault(call, outline, &http->filters[i]);
}

static bool was_said(const struct explain_said *said, const struct mesh_header *header)
{
	for (size_t i = 0; i < said->count; i++)
		if (mesh_slice_equal(said->headers[i].name, header->name) &&
		    mesh_slice_equal(said->headers[i].value, header->value))
			return true;
	return false;
}

static void tell_changes(const struct mesh_call *call, const struct explain_said *said, struct outline *outline)
{
	const struct http_head *head = &call->request;

	mesh_outline_group(outline, "request_as_sent");
	if (!mesh_slice_equal(head->authority, said->authority))
		mesh_outline_text(outline, "authority", head->authority);
	if (!mesh_slice_equal(head->path, said->path))
		mesh_outline_text(outline, "path", head->path);
	mesh_outline_list(outline, "headers_set");
	for (size_t i = 0; i < head->headers.count; i++) {
		const struct mesh_header *header = &head->headers.items[i];

		if (!was_said(said, header))
			mesh_outline_printf(outline, NULL, "%.*s: %.*s", (int)header->name.len, header->name.data,
					    (int)header->value.len, header->value.data ? header->value.data : "");
	}
	mesh_outline_close(outline);
	mesh_outline_list(outline, "headers_removed");
	for (size_t i = 0; i < said->count; i++)
		if (!mesh_headers_get(&head->headers, said->headers[i].name).data)
			mesh_outline_text(outline, NULL, said->headers[i].name);
	mesh_outline_close(outline);
	mesh_outline_close(outline);
}

/* Nanoseconds as text; 0 and what is not set: none. */
static void tell_time(struct outline *outline, const char *name, int64_t ns)
{
	if (ns > 0)
		mesh_outline_printf(outline, name, "%.3f ms", (double)ns / 1e6);
	else
		mesh_outline_text(outline, name, MESH_SLICE("none"));
}

static void tell_share(struct outline *outline, const struct fraction *share)
{
	if (share->denominator)
		mesh_outline_printf(outline, "share", "%u of %u requests", share->numerator, share->denominator);
}

static void tell_mirrors(const struct mirror_config *mirrors, struct outline *outline)
{
	if (!mirrors)
		return;
	mesh_outline_list(outline, "mirrors");
	for (size_t i = 0; i < mirrors->count; i++) {
		const struct mirror_policy *policy = &mirrors->policies[i];

		mesh_outline_group(outline, NULL);
		mesh_outline_text(outline, "cluster", policy->cluster);
		mesh_outline_text(outline, "cluster_header", policy->cluster_header);
		tell_share(outline, &policy->share);
		mesh_outline_close(outline);
	}
	mesh_outline_close(outline);
}

static void tell_limits(const struct mesh_call *call, struct outline *outline)
{
	const struct client_call *client = &call->client;

	mesh_outline_group(outline, "timeouts");
	tell_time(outline, "response", (int64_t)client->response_ns);
	tell_time(outline, "stream", client->has_stream_limit ? (int64_t)client->stream_ns : 0);
	tell_time(outline, "idle", client->chosen.route->idle_timeout_ns >= 0 ? client->chosen.route->idle_timeout_ns
									      : client->http->stream_idle_timeout_ns);
	tell_time(outline, "connect", client->cluster->config->connect_timeout_ns);
	tell_time(outline, "per_try", (int64_t)client->per_try_ns);
	mesh_outline_close(outline);
}

static void tell_retry(const struct mesh_call *call, struct outline *outline)
{
	const struct retry_config *retry = call->client.retry;

	mesh_outline_group(outline, "retry");
	mesh_outline_number(outline, "retries", retry ? retry->retries : 0);
	if (retry) {
		mesh_outline_list(outline, "on");
		for (unsigned bit = 0; bit < 32; bit++)
			if (retry->on & 1u << bit)
				mesh_outline_text(outline, NULL, mesh_slice_of(mesh_retry_on_word(1u << bit)));
		mesh_outline_close(outline);
		mesh_outline_flag(outline, "previous_hosts", retry->previous_hosts);
		if (call->client.hedged)
			mesh_outline_flag(outline, "hedge_on_per_try_timeout", true);
		tell_time(outline, "per_try_idle", (int64_t)call->client.per_try_idle_ns);
		tell_time(outline, "backoff_base", retry->backoff_base_ns);
		tell_time(outline, "backoff_max", retry->backoff_max_ns);
		mesh_outline_list(outline, "status_codes");
		for (size_t i = 0; i < retry->status_code_count; i++)
			mesh_outline_number(outline, NULL, retry->status_codes[i]);
		mesh_outline_close(outline);
	}
	mesh_outline_close(outline);
}

void mesh_explain_request(struct mesh_call *call, const struct explain_said *said, struct outline *outline)
{
	const struct route *route = call->client.chosen.route;

	tell_filters(call, outline);
	tell_changes(call, said, outline);
	tell_limits(call, outline);
	tell_retry(call, outline);
	tell_mirrors(route->mirrors, outline);
	if (route->internal_redirect)
		mesh_outline_number(outline, "internal_redirects_at_most", route->internal_redirect->max);
}
