/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which code tells an application what a peer, a proxy or the mesh did, as the gRPC documents map it.
 * Refuses to know how it came about.
 */
#include "grpc/code.h"

static const char *const names[] = {
	[MESH_GRPC_OK] = "OK",
	[MESH_GRPC_CANCELLED] = "CANCELLED",
	[MESH_GRPC_UNKNOWN] = "UNKNOWN",
	[MESH_GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[MESH_GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[MESH_GRPC_NOT_FOUND] = "NOT_FOUND",
	[MESH_GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[MESH_GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[MESH_GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[MESH_GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[MESH_GRPC_ABORTED] = "ABORTED",
	[MESH_GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[MESH_GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[MESH_GRPC_INTERNAL] = "INTERNAL",
	[MESH_GRPC_UNAVAILABLE] = "UNAVAILABLE",
	[MESH_GRPC_DATA_LOSS] = "DATA_LOSS",
	[MESH_GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};
static const int code_count = sizeof(names) / sizeof(names[0]);

const char *mesh_grpc_name_of(int code)
{
	return code >= 0 && code < code_count ? names[code] : "UNKNOWN";
}

int mesh_grpc_code_of_http(int status)
{
	switch (status) {
	case 400:
		return MESH_GRPC_INTERNAL;
	case 401:
		return MESH_GRPC_UNAUTHENTICATED;
	case 403:
		return MESH_GRPC_PERMISSION_DENIED;
	case 404:
		return MESH_GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return MESH_GRPC_UNAVAILABLE;
	default:
		return MESH_GRPC_UNKNOWN;
	}
}

int mesh_grpc_code_of_error(int error)
{
	switch (error) {
	case MESH_ERROR_TOO_LARGE:
	case MESH_ERROR_RATE_LIMITED:
	case MESH_ERROR_NOMEM:
		return MESH_GRPC_RESOURCE_EXHAUSTED;
	case MESH_ERROR_NO_ROUTE: /* a sidecar answers 404 */
		return MESH_GRPC_UNIMPLEMENTED;
	case MESH_ERROR_DURATION: /* the route's bound on grpc-timeout among them; other limits are as if nobody was there */
		return MESH_GRPC_DEADLINE_EXCEEDED;
	case MESH_ERROR_PROTOCOL:
	case MESH_ERROR_DOWNSTREAM_PROTOCOL:
	case MESH_ERROR_SYSTEM:
		return MESH_GRPC_INTERNAL;
	case MESH_ERROR_DRAINING:
		return MESH_GRPC_UNAVAILABLE;
	default:
		break;
	}
	switch (mesh_error_class(error)) {
	case MESH_CLASS_NONE:
		return error >= 0 ? MESH_GRPC_OK : MESH_GRPC_UNKNOWN;
	case MESH_CLASS_USAGE:
		return MESH_GRPC_INTERNAL;
	case MESH_CLASS_POLICY:
		return MESH_GRPC_PERMISSION_DENIED;
	case MESH_CLASS_CANCEL:
		return MESH_GRPC_CANCELLED;
	default:
		return MESH_GRPC_UNAVAILABLE;
	}
}

int mesh_grpc_code_of_failure(int error, int status, bool late)
{
	if (late && mesh_error_class(error) == MESH_CLASS_TIME)
		return MESH_GRPC_DEADLINE_EXCEEDED;
	/* who was it that did not go on, and what was to be injected? */
	return error == MESH_ERROR_IDLE_TIMEOUT || error == MESH_ERROR_FAULT_ABORT
		       ? mesh_grpc_code_of_http(status)
		       : mesh_grpc_code_of_error(error);
}

int mesh_grpc_code_of_reset(uint32_t code)
{
	switch (code) {
	case 0x7: /* REFUSED_STREAM */
		return MESH_GRPC_UNAVAILABLE;
	case 0x8: /* CANCEL */
		return MESH_GRPC_CANCELLED;
	case 0xb: /* ENHANCE_YOUR_CALM */
		return MESH_GRPC_RESOURCE_EXHAUSTED;
	case 0xc: /* INADEQUATE_SECURITY */
		return MESH_GRPC_PERMISSION_DENIED;
	default: /* what went wrong is between the two ends, or in one */
		return code <= 0xd ? MESH_GRPC_INTERNAL : MESH_GRPC_UNKNOWN;
	}
}

int mesh_grpc_code_of_text(struct mesh_slice text)
{
	uint64_t value;

	if (text.len > 3 || !mesh_slice_to_u64(text, &value) || value >= (uint64_t)code_count)
		return MESH_GRPC_UNKNOWN;
	return (int)value;
}
