/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults to inject, as a listener or a route configures them. A fault harms those who ask for it, so one whose conditions are
 * not understood is passed over, not injected into everything.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/common/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/type/v3/percent.pb-c.h"
#include "google/protobuf/any.pb-c.h"

#define CONDITIONS_MAX 4096 /* headers, nodes */

typedef Envoy__Extensions__Filters__Http__Fault__V3__HTTPFault fault_message;
typedef Envoy__Extensions__Filters__Http__Fault__V3__FaultAbort abort_message;
typedef Envoy__Extensions__Filters__Common__Fault__V3__FaultDelay delay_message;

static void decode_delay(struct decode *d, const delay_message *message, struct fault_config *fault)
{
	mesh_decode_push(d, "delay");
	fault->delay_share = mesh_decode_fractional(d, "percentage.denominator", message->percentage);
	switch (message->fault_delay_secifier_case) {
	case ENVOY__EXTENSIONS__FILTERS__COMMON__FAULT__V3__FAULT_DELAY__FAULT_DELAY_SECIFIER_FIXED_DELAY:
		fault->delay_ns = (uint64_t)mesh_decode_duration_positive(d, "fixed_delay", message->fixed_delay, 0);
		break;
	case ENVOY__EXTENSIONS__FILTERS__COMMON__FAULT__V3__FAULT_DELAY__FAULT_DELAY_SECIFIER_HEADER_DELAY:
		fault->delay_header = true;
		break;
	default:
		mesh_decode_fail(d, "fixed_delay or header_delay is required");
	}
	mesh_decode_pop(d);
}

static void decode_abort(struct decode *d, const abort_message *message, struct fault_config *fault)
{
	mesh_decode_push(d, "abort");
	fault->abort_share = mesh_decode_fractional(d, "percentage.denominator", message->percentage);
	switch (message->error_type_case) {
	case ENVOY__EXTENSIONS__FILTERS__HTTP__FAULT__V3__FAULT_ABORT__ERROR_TYPE_HTTP_STATUS:
		fault->abort = FAULT_ABORT_HTTP;
		fault->abort_status = message->http_status;
		if (message->http_status < 200 || message->http_status > 599)
			mesh_decode_fail_field(d, "http_status", "%u: must be 200..599", message->http_status);
		break;
	case ENVOY__EXTENSIONS__FILTERS__HTTP__FAULT__V3__FAULT_ABORT__ERROR_TYPE_GRPC_STATUS:
		fault->abort = FAULT_ABORT_GRPC;
		fault->abort_status = message->grpc_status;
		break;
	case ENVOY__EXTENSIONS__FILTERS__HTTP__FAULT__V3__FAULT_ABORT__ERROR_TYPE_HEADER_ABORT:
		fault->abort = FAULT_ABORT_HEADER;
		break;
	default:
		mesh_decode_fail(d, "http_status, grpc_status or header_abort is required");
	}
	mesh_decode_pop(d);
}

/* False: one of them is of a kind that is not understood. */
static bool decode_headers(struct decode *d, const fault_message *message, struct fault_config *fault)
{
	bool known = true;

	if (!mesh_decode_count(d, "headers", message->n_headers, CONDITIONS_MAX))
		return true;
	fault->headers = mesh_decode_array(d, message->n_headers, sizeof(*fault->headers));
	fault->header_count = fault->headers ? message->n_headers : 0;
	for (size_t i = 0; i < fault->header_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "headers", i);
		known = mesh_decode_header_match(d, message->headers[i], &fault->headers[i]) && known;
		mesh_decode_pop(d);
	}
	return known;
}

static void decode_nodes(struct decode *d, const fault_message *message, struct fault_config *fault)
{
	if (!mesh_decode_count(d, "downstream_nodes", message->n_downstream_nodes, CONDITIONS_MAX))
		return;
	fault->nodes = mesh_decode_array(d, message->n_downstream_nodes, sizeof(*fault->nodes));
	fault->node_count = fault->nodes ? message->n_downstream_nodes : 0;
	for (size_t i = 0; i < fault->node_count; i++)
		fault->nodes[i] = mesh_decode_text(d, message->downstream_nodes[i]);
}

static struct fault_config *decode_message(struct decode *d, const fault_message *message)
{
	struct fault_config *fault = mesh_decode_array(d, 1, sizeof(*fault));
	bool known;

	if (!fault)
		return NULL;
	if (message->delay)
		decode_delay(d, message->delay, fault);
	if (message->abort)
		decode_abort(d, message->abort, fault);
	fault->upstream_cluster = mesh_decode_text(d, message->upstream_cluster);
	known = decode_headers(d, message, fault);
	decode_nodes(d, message, fault);
	fault->has_active_max = message->max_active_faults != NULL;
	fault->active_max = mesh_decode_u32(message->max_active_faults, 0);
	if (message->response_rate_limit)
		mesh_decode_warning(d, "response_rate_limit of a fault: passed over");
	if (known && message->base.n_unknown_fields == 0)
		return fault;
	mesh_decode_warning(d, "a fault with conditions that are not understood: passed over");
	return mesh_decode_array(d, 1, sizeof(*fault)); /* one that does nothing, in place of those above it */
}

struct fault_config *mesh_decode_fault(struct decode *d, const char *field, const Google__Protobuf__Any *any)
{
	fault_message *message = mesh_decode_any_open(
		d, field, any, &envoy__extensions__filters__http__fault__v3__httpfault__descriptor);
	struct fault_config *fault = message ? decode_message(d, message) : NULL;

	mesh_decode_any_close(d);
	return fault;
}
