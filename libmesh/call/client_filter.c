/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the filters between a client's route and its router, in their order: faults and CORS. Decides when the call goes on,
 * and answers in place of a peer where they say so. Refuses to know how a fault or an origin is chosen (policy/).
 */
#include "call/call.h"
#include "grpc/metadata.h"
#include "policy/cors.h"

static const char *const abort_words = "fault filter abort";

/* One call is one fault, whatever is done to it. */
static void begin_fault(struct mesh_call *call)
{
	call->client.fault_active = true;
	atomic_fetch_add_explicit(&call->mesh->faults, 1, memory_order_relaxed);
}

static bool grpc_request(const struct mesh_call *call)
{
	const struct mesh_slice grpc = MESH_SLICE("application/grpc");
	struct mesh_slice type = mesh_headers_get(&call->request.headers, MESH_SLICE("content-type"));

	return mesh_slice_prefix_fold(type, grpc) && (type.len == grpc.len || type.data[grpc.len] == '+');
}

/* A status that gRPC alone can say: a head that is all of the answer, as from a sidecar. */
static int abort_grpc(struct mesh_call *call, uint32_t status)
{
	int rc = mesh_grpc_status_fields(&call->arena, (int)status, mesh_slice_of(abort_words), &call->response.headers);

	if (rc)
		return rc;
	call->result.flag = call->client.delayed ? "DI,FI" : "FI";
	mesh_client_answer(call, 200, (struct mesh_slice){NULL, 0});
	return 0;
}

static int abort_call(struct mesh_call *call, const struct fault *fault, bool *pending)
{
	if (fault->grpc && grpc_request(call)) {
		*pending = true;
		return abort_grpc(call, fault->grpc_status);
	}
	call->result.local_status = (int)fault->http_status;
	return mesh_why(&call->why, MESH_ERROR_FAULT_ABORT, "%s", abort_words);
}

static void delay_over(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.fault_timer);
	struct client_call *client = &call->client;
	bool pending = false;
	int rc = 0;

	mesh_worker_refresh(call->worker);
	if (client->fault.http_status)
		rc = abort_call(call, &client->fault, &pending);
	if (rc)
		mesh_call_finish(call, rc, NULL);
	else if (!pending)
		mesh_client_go_on(call);
}

/* The times that count while it waits are those of the whole call: the route's timeout is for what goes to the peer. */
static int delay(struct mesh_call *call, uint64_t ns)
{
	struct client_call *client = &call->client;
	const struct retry_config *retry =
		client->chosen.route->retry ? client->chosen.route->retry : client->chosen.host->retry;
	int rc = 0;

	client->delayed = true;
	call->result.flag = "DI";
	if (!client->fault_active)
		begin_fault(call);
	if (!client->limited) {
		client->limited = true;
		rc = mesh_client_choose_limits(call, retry);
		if (!rc)
			rc = mesh_client_start_limits(call);
	}
	client->fault_timer.due = delay_over;
	return rc ? rc : mesh_timer_start(call->worker->env.loop, &client->fault_timer, ns);
}

static int run_fault(struct mesh_call *call, const struct http_filter *filter, bool *pending)
{
	struct client_call *client = &call->client;
	const struct fault_config *config =
		mesh_fault_in_force(filter->fault, filter->name, client->chosen.route, client->chosen.weighted);
	struct rand *rand = &call->worker->env.rand;

	if (!config)
		return 0;
	mesh_fault_choose(config, &client->match, client->target,
			  atomic_load_explicit(&call->mesh->faults, memory_order_relaxed), mesh_rand_next(rand),
			  mesh_rand_next(rand), &call->arena, &client->fault);
	if (client->fault.delay_ns) {
		*pending = true;
		return delay(call, client->fault.delay_ns);
	}
	return client->fault.http_status ? abort_call(call, &client->fault, pending) : 0;
}

/* For routes to clusters, as in a sidecar: the others have their answer already. */
static int run_cors(struct mesh_call *call, const struct http_filter *filter, bool *pending)
{
	struct client_call *client = &call->client;
	const struct cors_config *config;
	struct mesh_slice origin;

	if (client->chosen.route->kind != ROUTE_CLUSTER)
		return 0;
	config = mesh_cors_in_force(filter->name, client->chosen.route, client->chosen.weighted);
	if (!config)
		return 0;
	switch (mesh_cors_check(config, &client->match, mesh_rand_next(&call->worker->env.rand), &call->arena,
				&origin)) {
	case CORS_GO_ON:
		return 0;
	case CORS_MARK:
		client->cors = config;
		client->cors_origin = origin;
		return 0;
	case CORS_ANSWER:
		break;
	}
	*pending = true;
	mesh_client_answer(call, 200, (struct mesh_slice){NULL, 0});
	return mesh_cors_preflight(config, &client->match, origin, &call->arena, &call->response.headers);
}

int mesh_client_filter(struct mesh_call *call, bool *pending)
{
	struct client_call *client = &call->client;
	int rc = 0;

	while (!rc && !*pending && client->filters_run < client->http->filter_count) {
		const struct http_filter *filter = &client->http->filters[client->filters_run++];

		if (filter->kind == HTTP_FILTER_FAULT)
			rc = run_fault(call, filter, pending);
		else if (filter->kind == HTTP_FILTER_CORS)
			rc = run_cors(call, filter, pending);
	}
	return rc;
}

int mesh_client_mark(struct mesh_call *call)
{
	const struct client_call *client = &call->client;

	return client->cors ? mesh_cors_mark(client->cors, client->cors_origin, &call->arena, &call->response.headers)
			    : 0;
}

void mesh_client_stop_faults(struct mesh_call *call)
{
	mesh_timer_stop(call->worker->env.loop, &call->client.fault_timer);
	if (call->client.fault_active)
		atomic_fetch_sub_explicit(&call->mesh->faults, 1, memory_order_relaxed);
	call->client.fault_active = false;
}
