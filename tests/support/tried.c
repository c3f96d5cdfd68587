/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the two endpoints and what the tests say of their cluster and route. */
#include "support/tried.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct tried *tried = (struct tried *)server->user;
	char request[4096];

	while (raw_response(fd, request, sizeof(request))) {
		unsigned n = atomic_fetch_add(&tried->requests, 1);
		const struct tried_answer *answer = &tried->answers[n < TRIED_ANSWERS ? n : TRIED_ANSWERS - 1];

		if (n < TRIED_ANSWERS)
			memcpy(tried->seen[n], request, sizeof(request));
		atomic_fetch_add(&tried->asked[server == &tried->servers[1]], 1);
		usleep(answer->after_ms * 1000);
		if (!answer->text || !raw_say(fd, answer->text))
			return;
	}
}

struct guest {
	struct raw_server *server;
	int fd;
	unsigned number;
};

static void *entertain(void *argument)
{
	struct guest *guest = argument;

	struct tried *tried = (struct tried *)guest->server->user;

	serve(guest->server, guest->fd, guest->number);
	close(guest->fd);
	free(guest);
	atomic_fetch_sub(&tried->guests, 1);
	return NULL;
}

/* All connections at once: a request may come on any of them. */
void tried_serve_all(struct raw_server *server, int fd, unsigned number)
{
	struct guest *guest = malloc(sizeof(*guest));
	pthread_t thread;

	*guest = (struct guest){server, dup(fd), number};
	atomic_fetch_add(&((struct tried *)server->user)->guests, 1);
	assert_int_equal(pthread_create(&thread, NULL, entertain, guest), 0);
	pthread_detach(thread);
}

const char *tried_request(struct tried *tried, unsigned number)
{
	/* counted behind what was seen of it */
	assert_true(atomic_load(&tried->asked[0]) + atomic_load(&tried->asked[1]) > number);
	return tried->seen[number];
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct tried *tried = plane->user;

	routes->hosts[0].routes[0].hedge = tried->hedged ? HEDGE_ON_PER_TRY_TIMEOUT : HEDGE_UNSET;
	routes->hosts[0].routes[0].high_priority = tried->high;
	routes->hosts[0].include_timeout_retry = tried->timeout_retry;
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct tried *tried = plane->user;

	cluster->breaker_high = tried->breaker_high;
	cluster->breaker.host_limited = tried->host_connections > 0;
	cluster->breaker.host_connections = tried->host_connections;
	cluster->preconnect = tried->preconnect;
	cluster->preconnect_ahead = tried->preconnect_ahead;
	cluster->tcp_keepalive = tried->keepalive;
	cluster->tcp_keepalive_probes = 3;
	cluster->tcp_keepalive_time_s = 77;
	cluster->tcp_keepalive_interval_s = 11;
	if (tried->bound)
		assert_int_equal(mesh_address_parse(&cluster->bind, mesh_slice_of("127.0.0.9"), 0), 0);
}

/* The second endpoint is of the next priority. */
static void edit_endpoints(struct data_plane *plane, struct endpoint_set *set)
{
	struct tried *tried = plane->user;
	struct locality *localities;

	if (!tried->priorities || set->endpoint_count != 2)
		return;
	localities = mesh_arena_array(&set->object.arena, 2, sizeof(*localities));
	assert_non_null(localities);
	localities[0] = localities[1] = set->localities[0];
	localities[0].count = localities[1].count = 1;
	localities[1].endpoints++;
	localities[1].priority = 1;
	set->localities = localities;
	set->count = 2;
	set->priority_count = 2;
}

int tried_open(void **state)
{
	struct tried *tried = calloc(1, sizeof(*tried));

	failing_mem_init(&tried->mem, 0);
	assert_int_equal(data_plane_open(&tried->plane, 1, &tried->mem.mem), 0);
	tried->plane.user = tried;
	tried->plane.edit_routes = edit_routes;
	tried->plane.edit_cluster = edit_cluster;
	tried->plane.edit_endpoints = edit_endpoints;
	for (int i = 0; i < TRIED_ANSWERS; i++)
		tried->answers[i].text = TRIED_EMPTY;
	for (int i = 0; i < 2; i++) {
		tried->servers[i].serve = serve;
		tried->servers[i].user = tried;
		raw_server_start(&tried->servers[i]);
		tried->plane.ports[tried->plane.port_count++] = tried->servers[i].port;
	}
	*state = tried;
	return 0;
}

int tried_close(void **state)
{
	struct tried *tried = *state;

	if (tried->worker)
		mesh_worker_free(tried->worker);
	data_plane_close(&tried->plane);
	for (int i = 0; i < 2; i++)
		raw_server_stop(&tried->servers[i]);
	while (atomic_load(&tried->guests)) /* their clients are gone */
		usleep(1000);
	assert_int_equal(atomic_load(&tried->mem.blocks), 0);
	free(tried);
	return 0;
}

void tried_begin(struct tried *tried)
{
	if (!tried->worker)
		assert_int_equal(mesh_worker_new(tried->plane.mesh, &tried->worker), 0);
	data_plane_publish(&tried->plane);
}

struct mesh_call *tried_start(struct tried *tried)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .worker = tried->worker};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(tried->plane.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

uint64_t tried_expect(struct mesh_call *call, int error, int status, unsigned attempts, const char *flag)
{
	const struct mesh_result *result;
	uint64_t took;

	assert_int_equal(mesh_call_wait(call, TRIED_WAIT_MS), error);
	result = mesh_call_result(call);
	assert_int_equal(mesh_call_http_status(call), status);
	assert_int_equal(result->attempts, attempts);
	assert_string_equal(result->flag, flag);
	took = result->duration_us;
	mesh_call_release(call);
	return took;
}

void tried_counted(struct tried *tried, const char *name, const char *value)
{
	struct buf out;
	char line[128];

	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&tried->plane.mesh->registry, &out), 0);
	assert_int_equal(mesh_buf_append(&out, mesh_slice_make("", 1)), 0);
	snprintf(line, sizeof(line), "cluster.outbound|9080||reviews.%s: %s\n", name, value);
	if (!strstr(mesh_buf_slice(&out).data, line))
		fail_msg("no \"%s\" in\n%s", line, mesh_buf_slice(&out).data);
	mesh_buf_free(&out);
}
