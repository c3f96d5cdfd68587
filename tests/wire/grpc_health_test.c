/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1 as a client sees it: what is known, what is not, and being told of changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <mesh/admin.h>
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "config/cluster.h"
#include "grpc/health/v1/health.pb-c.h"
#include "support/data_plane.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static struct data_plane plane;
static struct mesh_grpc_server *server;
static struct mesh_listener *listener;

static void speak_http2(struct data_plane *data_plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

static int setup(void **state)
{
	/* the client drives nothing while the listener closes: what it would answer is not waited for */
	struct mesh_listen_options listen = {
		.size = sizeof(listen), .address = "127.0.0.1", .handler = mesh_grpc_handle, .grace_ms = 50};

	assert_int_equal(data_plane_open(&plane, 2, NULL), 0);
	plane.edit_cluster = speak_http2;
	assert_int_equal(mesh_grpc_server_new(plane.mesh, NULL, &server), 0);
	assert_int_equal(mesh_grpc_health_set(server, "", MESH_GRPC_HEALTH_SERVING), MESH_ERROR_STATE);
	assert_int_equal(mesh_grpc_health_add(server), 0);
	assert_int_equal(mesh_grpc_health_add(server), MESH_ERROR_STATE);
	listen.user = server;
	assert_int_equal(mesh_listen(plane.mesh, &listen, &listener), 0);
	plane.ports[plane.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&plane);
	return 0;
}

static int teardown(void **state)
{
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	data_plane_close(&plane);
	return 0;
}

static struct mesh_grpc_request request_to(const char *method)
{
	return (struct mesh_grpc_request){.size = sizeof(struct mesh_grpc_request),
					  .authority = mesh_slice_of("reviews:9080"),
					  .service = &grpc__health__v1__health__descriptor,
					  .method = method,
					  .deadline_ms = 10000};
}

/* The status, or -1 - the gRPC code. */
static int check(const char *service)
{
	Grpc__Health__V1__HealthCheckRequest message = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct mesh_grpc_request request = request_to("Check");
	struct mesh_grpc_call *call;
	int code;

	message.service = (char *)service;
	code = mesh_grpc_unary(plane.mesh, &request, &message.base, &call);
	code = code ? -1 - code : (int)((const Grpc__Health__V1__HealthCheckResponse *)mesh_grpc_reply(call))->status;
	mesh_grpc_release(call);
	return code;
}

static void checked(void **state)
{
	assert_int_equal(check(""), STATUS(SERVING));
	assert_int_equal(check("a"), -1 - MESH_GRPC_NOT_FOUND);
	assert_int_equal(mesh_grpc_health_set(server, "a", MESH_GRPC_HEALTH_NOT_SERVING), 0);
	assert_int_equal(check("a"), STATUS(NOT_SERVING));
	assert_int_equal(mesh_grpc_health_set(server, "a", MESH_GRPC_HEALTH_SERVING), 0);
	assert_int_equal(check("a"), STATUS(SERVING));
	assert_int_equal(mesh_grpc_health_set(server, "a", (enum mesh_grpc_health)3), MESH_ERROR_INVALID);
}

static void listed(void **state)
{
	Grpc__Health__V1__HealthListRequest message = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
	const Grpc__Health__V1__HealthListResponse *reply;
	struct mesh_grpc_request request = request_to("List");
	struct mesh_grpc_call *call;
	unsigned seen = 0;

	assert_int_equal(mesh_grpc_health_set(server, "down", MESH_GRPC_HEALTH_NOT_SERVING), 0);
	assert_int_equal(mesh_grpc_unary(plane.mesh, &request, &message.base, &call), MESH_GRPC_OK);
	reply = (const void *)mesh_grpc_reply(call);
	assert_int_equal(reply->n_statuses, 2);
	for (size_t i = 0; i < 2; i++)
		seen |= !reply->statuses[i]->key[0] && reply->statuses[i]->value->status == STATUS(SERVING) ? 1
			: !strcmp(reply->statuses[i]->key, "down") &&
					reply->statuses[i]->value->status == STATUS(NOT_SERVING)
				? 2
				: 0;
	assert_int_equal(seen, 3);
	mesh_grpc_release(call);
}

static int next(struct mesh_grpc_call *call)
{
	const struct ProtobufCMessage *message;

	assert_int_equal(mesh_grpc_receive(call, 10000, &message, NULL), 1);
	return (int)((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
}

static void watched(void **state)
{
	Grpc__Health__V1__HealthCheckRequest message = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct mesh_grpc_request request = request_to("Watch");
	struct mesh_grpc_call *calls[5];

	message.service = (char *)"b";
	for (int i = 0; i < 5; i++) {
		assert_int_equal(mesh_grpc_call_start_with(plane.mesh, &request, &message.base, NULL, NULL, &calls[i]),
				 0);
		assert_int_equal(next(calls[i]), STATUS(SERVICE_UNKNOWN));
	}
	assert_int_equal(mesh_grpc_health_set(server, "b", MESH_GRPC_HEALTH_SERVING), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(next(calls[i]), STATUS(SERVING));
	assert_int_equal(mesh_grpc_health_set(server, "other", MESH_GRPC_HEALTH_SERVING),
			 0); /* not of theirs: not told */
	mesh_grpc_cancel(calls[0]);
	assert_int_equal(mesh_grpc_wait(calls[0], 10000), MESH_GRPC_CANCELLED);
	mesh_grpc_release(calls[0]);
	assert_int_equal(mesh_grpc_health_set(server, "b", MESH_GRPC_HEALTH_NOT_SERVING), 0);
	for (int i = 1; i < 5; i++)
		assert_int_equal(next(calls[i]), STATUS(NOT_SERVING));
	for (int i = 1; i < 5; i++)
		mesh_grpc_release(calls[i]);
}

/* Watchers that run when the server goes: told and freed, by the listener's end. */
static void left_behind(void **state)
{
	Grpc__Health__V1__HealthCheckRequest message = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct mesh_grpc_request request = request_to("Watch");
	struct mesh_listen_options listen = {.size = sizeof(listen),
					     .address = "127.0.0.1",
					     .handler = mesh_grpc_handle,
					     .user = server,
					     .grace_ms = 50};
	struct mesh_grpc_call *call;

	mesh_listener_close(listener);
	assert_int_equal(mesh_listen(plane.mesh, &listen, &listener), 0);
	plane.ports[0] = mesh_listener_port(listener);
	data_plane_publish(&plane);
	message.service = (char *)"";
	assert_int_equal(mesh_grpc_call_start_with(plane.mesh, &request, &message.base, NULL, NULL, &call), 0);
	assert_int_equal(next(call), STATUS(SERVING));
	mesh_listener_close(listener);
	listener = NULL;
	assert_int_equal(mesh_grpc_health_set(server, "", MESH_GRPC_HEALTH_NOT_SERVING), 0); /* nobody to tell */
	assert_int_equal(mesh_grpc_receive(call, 10000, NULL, NULL), 0);
	assert_true(mesh_grpc_wait(call, 10000) > 0);
	mesh_grpc_release(call);
}

static int append(void *user, struct mesh_slice text)
{
	return mesh_buf_append(user, text);
}

/* Until /clusters says so of the endpoint. */
static void await_flags(const char *flags)
{
	struct buf text;
	char line[128];
	bool there = false;

	snprintf(line, sizeof(line), "127.0.0.1:%u::health_flags::%s\n", plane.ports[0], flags);
	mesh_buf_init(&text, &mesh_mem_default, 0);
	for (int i = 0; i < 500 && !there; i++) {
		struct mesh_slice all;

		mesh_buf_clear(&text);
		assert_int_equal(mesh_admin_clusters(plane.mesh, append, &text), 0);
		all = mesh_buf_slice(&text);
		there = memmem(all.data, all.len, line, strlen(line)) != NULL;
		nanosleep(&(struct timespec){0, there ? 0 : 10000000}, NULL);
	}
	mesh_buf_free(&text);
	if (!there)
		fail_msg("never %s", line);
}

static void check_actively(struct data_plane *data_plane, struct cluster_config *cluster)
{
	struct health_check_config *config = mesh_arena_array(&cluster->object.arena, 1, sizeof(*config));
	int64_t ns = 20000000;

	speak_http2(data_plane, cluster);
	cluster->panic_percent = 0;
	cluster->health_check = config;
	*config = (struct health_check_config){
		.kind = HEALTH_CHECK_GRPC, .http2 = true, .method = {"POST", 4}, .path = {"/grpc.health.v1.Health/Check", 28},
		.authority = {"reviews", 7}, .service = {"checked", 7}, .timeout_ns = 1000000000, .interval_ns = ns, .no_traffic_ns = ns,
		.no_traffic_healthy_ns = ns, .unhealthy_ns = ns, .unhealthy_edge_ns = ns, .healthy_edge_ns = ns,
		.unhealthy_threshold = 2, .healthy_threshold = 1, .reuse_connection = true,
	};
}

/* The mesh's own checks of a server's health: a service that is not known, serves, and does not. */
static void checked_actively(void **state)
{
	plane.edit_cluster = check_actively;
	data_plane_publish(&plane);
	await_flags("/failed_active_hc");
	assert_int_equal(check("checked"), -1 - MESH_GRPC_UNAVAILABLE);
	assert_int_equal(mesh_grpc_health_set(server, "checked", MESH_GRPC_HEALTH_SERVING), 0);
	await_flags("healthy");
	assert_int_equal(check("checked"), STATUS(SERVING));
	assert_int_equal(mesh_grpc_health_set(server, "checked", MESH_GRPC_HEALTH_NOT_SERVING), 0);
	await_flags("/failed_active_hc");
	plane.edit_cluster = speak_http2;
	data_plane_publish(&plane);
	assert_int_equal(check("checked"), STATUS(NOT_SERVING));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(checked), TEST(listed), TEST(watched), TEST(left_behind),
					    TEST(checked_actively)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
