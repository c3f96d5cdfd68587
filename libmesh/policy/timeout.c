/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which of the time limits that a route, its listener, the application and a gRPC deadline name is in force, as
 * Envoy's router and connection manager do. Refuses to read a clock and to know what happens when a limit is reached.
 */
#include "policy/timeout.h"

#include <mesh/error.h>

#include "base/text.h"

#define NS_PER_MS 1000000ull

static const int64_t response_default_ns = 15000000000LL; /* Envoy's, where a route sets none */
static const uint64_t number_max = 99999999;              /* eight digits */

bool mesh_timeout_parse_grpc(struct mesh_slice text, uint64_t *ms)
{
	uint64_t number;

	if (text.len < 2 || text.len > 9 || !mesh_slice_to_u64(mesh_slice_make(text.data, text.len - 1), &number))
		return false;
	switch (text.data[text.len - 1]) {
	case 'H':
		*ms = number * 3600000;
		return true;
	case 'M':
		*ms = number * 60000;
		return true;
	case 'S':
		*ms = number * 1000;
		return true;
	case 'm':
		*ms = number;
		return true;
	case 'u':
		*ms = (number + 999) / 1000;
		return true;
	case 'n':
		*ms = (number + 999999) / 1000000;
		return true;
	default:
		return false;
	}
}

static int set_grpc(struct headers *headers, struct arena *arena, uint64_t ms)
{
	static const struct {
		char unit;
		uint64_t next; /* how many make one of the next */
	} units[] = {{'m', 1000}, {'S', 60}, {'M', 60}, {'H', 1}};
	size_t unit = 0;
	char text[21];
	struct mesh_slice value;
	size_t len;

	while (ms > number_max && units[unit].unit != 'H')
		ms /= units[unit++].next;
	len = mesh_text_u64(text, ms > number_max ? number_max : ms);
	text[len++] = units[unit].unit;
	value = mesh_arena_slice(arena, mesh_slice_make(text, len), NULL);
	return value.data ? mesh_headers_set(headers, arena, MESH_SLICE("grpc-timeout"), value) : MESH_ERROR_NOMEM;
}

/* What a request says of its own limits; absent: nothing. */
struct wishes {
	struct mesh_slice grpc_timeout, response, per_try;
	bool grpc; /* it is a gRPC request */
};

static bool grpc_type(struct mesh_slice type)
{
	const struct mesh_slice grpc = MESH_SLICE("application/grpc");

	return mesh_slice_prefix_fold(type, grpc) && (type.len == grpc.len || type.data[grpc.len] == '+');
}

/* One pass: most requests carry none of these. */
static void find_wishes(const struct headers *headers, struct wishes *wishes)
{
	memset(wishes, 0, sizeof(*wishes));
	for (size_t i = 0; i < headers->count; i++) {
		const struct mesh_header *header = &headers->items[i];
		struct mesh_slice *place = NULL;

		if (header->name.len == 12 && mesh_slice_equal_fold(header->name, MESH_SLICE("content-type")))
			wishes->grpc = grpc_type(header->value);
		else if (header->name.len == 12 && mesh_slice_equal_fold(header->name, MESH_SLICE("grpc-timeout")))
			place = &wishes->grpc_timeout;
		else if (header->name.len == 30 && mesh_slice_equal_fold(header->name, MESH_SLICE("x-envoy-upstream-rq-timeout-ms")))
			place = &wishes->response;
		else if (header->name.len == 38 &&
			 mesh_slice_equal_fold(header->name, MESH_SLICE("x-envoy-upstream-rq-per-try-timeout-ms")))
			place = &wishes->per_try;
		if (place && !place->data)
			*place = header->value;
	}
}

/* Half of what a clock holds: a time added to it does not overflow. */
static uint64_t to_ns(uint64_t ms)
{
	return ms > UINT64_MAX / 2 / NS_PER_MS ? UINT64_MAX / 2 : ms * NS_PER_MS;
}

/* Not a number: as if it were not there. */
static void take_ms(struct mesh_slice text, uint64_t *ns)
{
	uint64_t ms;

	if (text.data && mesh_slice_to_u64(text, &ms))
		*ns = to_ns(ms);
}

/* The request's own deadline within what the route grants; a cap of 0 is none. */
static uint64_t within(uint64_t ns, const struct route *route)
{
	uint64_t cap = (uint64_t)route->grpc_timeout_max_ns;

	return cap && ns > cap ? cap : ns;
}

/* max_grpc_timeout, older than max_stream_duration: no deadline in the request, then the cap itself. */
static uint64_t old_grpc_ns(const struct route *route, bool has_deadline, uint64_t deadline_ns)
{
	uint64_t ns = has_deadline ? deadline_ns : 0, offset = (uint64_t)route->grpc_timeout_offset_ns;

	if (offset < ns)
		ns -= offset;
	return ns ? within(ns, route) : (uint64_t)route->grpc_timeout_max_ns;
}

static void choose_stream(const struct route *route, uint64_t listener_ns, bool has_deadline, uint64_t deadline_ns,
			  struct timeouts *timeouts)
{
	uint64_t offset = (uint64_t)route->grpc_timeout_offset_ns, limit;

	if (has_deadline && route->has_stream_limits && route->grpc_timeout_max_ns >= 0) {
		limit = within(deadline_ns, route);
		timeouts->has_stream = true;
		timeouts->stream_ns = limit > offset ? limit - offset : 0;
		return;
	}
	limit = route->max_stream_duration_ns >= 0 ? (uint64_t)route->max_stream_duration_ns : listener_ns;
	timeouts->has_stream = limit > 0;
	timeouts->stream_ns = limit;
}

int mesh_timeout_choose(const struct route *route, const struct retry_config *retry, uint64_t listener_stream_ns,
			struct headers *headers, struct arena *arena, struct timeouts *timeouts)
{
	int64_t response = route->timeout_ns < 0 ? response_default_ns : route->timeout_ns;
	uint64_t deadline_ns = 0, ms, expected;
	struct wishes wishes;
	bool has_deadline, old_grpc;

	find_wishes(headers, &wishes);
	has_deadline = wishes.grpc_timeout.data && mesh_timeout_parse_grpc(wishes.grpc_timeout, &ms);
	if (has_deadline)
		deadline_ns = to_ns(ms);
	memset(timeouts, 0, sizeof(*timeouts));
	timeouts->grpc = wishes.grpc;
	choose_stream(route, listener_stream_ns, has_deadline, deadline_ns, timeouts);
	old_grpc = !route->has_stream_limits && wishes.grpc && route->grpc_timeout_max_ns >= 0;
	if (old_grpc)
		timeouts->response_ns = old_grpc_ns(route, has_deadline, deadline_ns);
	else if (!route->has_stream_limits)
		timeouts->response_ns = (uint64_t)response;
	if (retry && retry->per_try_timeout_ns > 0)
		timeouts->per_try_ns = (uint64_t)retry->per_try_timeout_ns;
	take_ms(wishes.response, &timeouts->response_ns);
	take_ms(wishes.per_try, &timeouts->per_try_ns);
	if (timeouts->response_ns && timeouts->per_try_ns >= timeouts->response_ns)
		timeouts->per_try_ns = 0;
	if (!wishes.grpc)
		return 0;
	if (route->has_stream_limits)
		return timeouts->has_stream ? set_grpc(headers, arena, timeouts->stream_ns / NS_PER_MS) : 0;
	expected = timeouts->per_try_ns ? timeouts->per_try_ns : timeouts->response_ns;
	return old_grpc && expected ? set_grpc(headers, arena, expected / NS_PER_MS) : 0;
}
