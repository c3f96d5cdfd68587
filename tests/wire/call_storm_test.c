/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random calls through random configurations: faults, tries that are late, retries, shadows, redirects, streamed bodies,
 * cancelled and let go at any point, while snapshots change. Whatever becomes of them, nothing stays counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "support/mirror_scene.h"
#include "support/tried.h"

enum { CALLS = 24, ROUNDS = 1200, ROUTES = 2, BODY = 40000 };

struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server servers[3];
	struct mesh_worker *worker;
	struct rand rand;
	struct fault_config fault;
	struct internal_redirect_config redirects;
	struct mirror_policy policy;
	struct mirror_config mirrors;
	bool hedged, mirrored, faulty, high, redirected;
};

struct guest {
	struct mesh_call *call;
	unsigned heads, ends, dones, cancel_at; /* 1: in its head, 2: in its data, 3: in its end */
	bool streams;
};

static const struct fraction some = {30, 100};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
		TRIED_FAILED,
		"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nhalf",
		"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: http://reviews:9080/b\r\n\r\n",
		"HTTP/1.1 303 Go\r\nContent-Length: 2\r\nLocation: http://reviews:9080/b\r\n\r\nno",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
		NULL,
	};
	unsigned seed = number * 31 + server->port;
	char *text = calloc(1, 1 << 20);

	for (;;) {
		const char *answer;
		unsigned kind = (unsigned)rand_r(&seed);

		text[0] = '\0';
		if (kind % 16 == 0 || !raw_until(fd, text, 1 << 20, "\r\n\r\n"))
			break;
		if (kind % 7 && strstr(text, "chunked") && !strstr(text, "\r\n0\r\n") &&
		    !raw_until(fd, text, 1 << 20, "\r\n0\r\n"))
			break;
		if (kind % 5 == 0)
			usleep(1000 * (kind / 5 % 40));
		answer = answers[kind / 64 % (sizeof(answers) / sizeof(answers[0]))];
		if (!answer || !raw_say(fd, answer) || strstr(answer, "half") || strstr(text, "chunked"))
			break;
	}
	if (seed & 1)
		raw_reset(fd);
	free(text);
}

struct visitor {
	struct raw_server server;
	int fd;
	unsigned number;
};

static void *entertain(void *argument)
{
	struct visitor *visitor = argument;

	serve(&visitor->server, visitor->fd, visitor->number);
	close(visitor->fd);
	free(visitor);
	return NULL;
}

static void serve_all(struct raw_server *server, int fd, unsigned number)
{
	struct visitor *visitor = calloc(1, sizeof(*visitor));
	pthread_t thread;

	visitor->server.port = server->port;
	visitor->fd = dup(fd);
	visitor->number = number;
	if (!pthread_create(&thread, NULL, entertain, visitor))
		pthread_detach(thread);
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound)
		return;
	chain->http->filters = mesh_arena_array(arena, 2, sizeof(*chain->http->filters));
	chain->http->filter_count = 2;
	chain->http->filters[0].kind = HTTP_FILTER_FAULT;
	chain->http->filters[0].name = mesh_slice_of("fault");
	chain->http->filters[1].kind = HTTP_FILTER_ROUTER;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct scene *scene = plane->user;
	struct route *base = &routes->hosts[0].routes[0], *list;

	if (inbound)
		return;
	base->hedge = scene->hedged ? HEDGE_ON_PER_TRY_TIMEOUT : HEDGE_UNSET;
	base->high_priority = scene->high;
	base->mirrors = scene->mirrored ? &scene->mirrors : NULL;
	base->internal_redirect = scene->redirected ? &scene->redirects : NULL;
	base->fault = scene->faulty ? &scene->fault : NULL;
	base->fault_filter = mesh_slice_of("fault");
	list = mesh_arena_array(&routes->object.arena, ROUTES, sizeof(*list));
	list[0] = list[1] = *base;
	list[0].name = mesh_slice_of("b");
	list[0].match.path = mesh_slice_of("/b");
	list[0].cluster = mesh_slice_of(MIRROR_OTHER);
	list[0].cluster_hash = mesh_slice_hash(list[0].cluster);
	list[0].high_priority = !scene->high;
	routes->hosts[0].routes = list;
	routes->hosts[0].route_count = ROUTES;
}

static struct retry_config retry = {.on = RETRY_5XX,
				    .retries = 3,
				    .per_try_timeout_ns = 15 * TRIED_MS,
				    .backoff_base_ns = TRIED_MS,
				    .backoff_max_ns = 4 * TRIED_MS,
				    .previous_hosts = true,
				    .host_selection_attempts = 3};

static uint32_t draw(struct scene *scene, uint32_t below)
{
	return (uint32_t)mesh_rand_below(&scene->rand, below);
}

static void publish(struct scene *scene)
{
	scene->hedged = draw(scene, 2);
	scene->mirrored = draw(scene, 2);
	scene->faulty = draw(scene, 2);
	scene->high = draw(scene, 2);
	scene->redirected = draw(scene, 2);
	scene->plane.retry = draw(scene, 4) ? &retry : NULL;
	scene->plane.breaker.requests = draw(scene, 3) ? 1000 : 6;
	scene->plane.breaker.pending = draw(scene, 3) ? 1000 : 3;
	scene->plane.more_count = draw(scene, 4) > 0; /* else the other cluster leaves */
	data_plane_publish(&scene->plane);
}

static void at(struct guest *guest, struct mesh_call *call, unsigned place)
{
	if (guest->cancel_at == place)
		mesh_call_cancel(call);
}

static void on_head(struct mesh_call *call, void *user)
{
	struct guest *guest = user;

	assert_int_equal(guest->heads++ + guest->dones, 0);
	at(guest, call, 1);
}

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct guest *guest = user;

	assert_int_equal(guest->heads, 1);
	assert_int_equal(guest->dones, 0);
	at(guest, call, 2);
}

static void on_end(struct mesh_call *call, void *user)
{
	struct guest *guest = user;

	assert_int_equal(guest->ends++ + guest->dones, 0);
	at(guest, call, 3);
}

static void on_done(struct mesh_call *call, void *user)
{
	struct guest *guest = user;
	const struct mesh_result *result = mesh_call_result(call);

	assert_int_equal(guest->dones++, 0);
	if (!result->status)
		assert_true(guest->heads == 1 && guest->ends == 1);
	if (guest->heads) /* somebody answered, or we did */
		assert_true(result->attempts > 0 || result->local_status);
}

static const struct mesh_call_events events = {
	.size = sizeof(events), .head = on_head, .data = on_data, .end = on_end, .done = on_done};

static char body[BODY];

static void begin(struct scene *scene, struct guest *guest)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .worker = scene->worker};

	memset(guest, 0, sizeof(*guest));
	guest->cancel_at = draw(scene, 12);
	guest->streams = request.more_body = draw(scene, 3) == 0;
	if (guest->streams)
		request.method = mesh_slice_of("PUT");
	request.timeout_ms = draw(scene, 3) ? 1000 : 1 + draw(scene, 40);
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, &events, guest, &guest->call), 0);
}

static void disturb(struct scene *scene, struct guest *guest)
{
	static const struct mesh_header trailer = {{"x-sum", 5}, {"1", 1}};

	switch (draw(scene, 12)) {
	case 0:
		mesh_call_cancel(guest->call);
		break;
	case 1:
		mesh_call_pause(guest->call);
		mesh_call_resume(guest->call);
		break;
	case 2:
		if (guest->streams && !guest->dones)
			mesh_call_send_trailers(guest->call, &trailer, 1);
		break;
	default:
		if (guest->streams && !guest->dones)
			mesh_call_send(guest->call, mesh_slice_make(body, draw(scene, BODY)), draw(scene, 3) == 0);
	}
}

static unsigned under_way(const struct scene *scene)
{
	const struct breaker_use *use;
	unsigned sum = scene->worker->shadows + atomic_load(&scene->plane.mesh->faults);

	MESH_MAP_EACH(slot, &scene->worker->env.clusters) {
		const struct cluster *cluster = slot->value;

		for (int high = 0; high < 2; high++) {
			use = mesh_cluster_use(cluster, high);
			sum += atomic_load(&use->requests) + atomic_load(&use->pending) + atomic_load(&use->retries);
		}
		MESH_LIST_EACH(at, &cluster->endpoints)
			sum += atomic_load(&MESH_CONTAINER(at, struct endpoint, link)->shared->active);
	}
	return sum;
}

static void open_scene(struct scene *scene, uint64_t seed)
{
	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	mesh_rand_seed(&scene->rand, seed);
	for (int i = 0; i < 3; i++) {
		scene->servers[i].serve = serve_all;
		raw_server_start(&scene->servers[i]);
		if (i < 2)
			scene->plane.ports[scene->plane.port_count++] = scene->servers[i].port;
	}
	scene->plane.more[0] = (struct data_plane_cluster){MIRROR_OTHER, scene->servers[2].port};
	scene->plane.edit_chain = edit_chain;
	scene->plane.edit_routes = edit_routes;
	scene->plane.timeout_ns = 300LL * TRIED_MS;
	scene->plane.user = scene;
	scene->fault = (struct fault_config){.delay_share = some,
					     .delay_ns = 5 * TRIED_MS,
					     .abort_share = {5, 100},
					     .abort = FAULT_ABORT_HTTP,
					     .abort_status = 503};
	scene->redirects = (struct internal_redirect_config){.codes = REDIRECT_302 | REDIRECT_303, .max = 2};
	scene->policy.cluster = mesh_slice_of(MIRROR_OTHER);
	scene->policy.cluster_hash = mesh_slice_hash(scene->policy.cluster);
	scene->mirrors = (struct mirror_config){&scene->policy, 1};
	publish(scene);
}

static void close_scene(struct scene *scene)
{
	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	for (int i = 0; i < 3; i++)
		raw_server_stop(&scene->servers[i]);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
}

static struct scene *storm(uint64_t seed, struct guest *guests)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	open_scene(scene, seed);
	for (unsigned i = 0; i < CALLS; i++)
		begin(scene, &guests[i]);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct guest *guest = &guests[draw(scene, CALLS)];

		disturb(scene, guest);
		if (guest->dones) {
			mesh_call_release(guest->call);
			begin(scene, guest);
		}
		if (draw(scene, 20) == 0)
			publish(scene);
		mesh_worker_run(scene->worker, (int)draw(scene, 3));
	}
	return scene;
}

/* All come to an end by themselves, and then nothing is counted as under way. */
static void test_nothing_stays_counted(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct guest guests[CALLS];
		struct scene *scene = storm(seed, guests);

		for (unsigned i = 0; i < CALLS; i++) {
			if (!guests[i].dones && guests[i].streams)
				mesh_call_cancel(guests[i].call);
			mesh_call_wait(guests[i].call, TRIED_WAIT_MS);
			assert_int_equal(guests[i].dones, 1);
			mesh_call_release(guests[i].call);
		}
		for (unsigned i = 0; i < 400 && under_way(scene); i++)
			mesh_worker_run(scene->worker, 5);
		assert_int_equal(under_way(scene), 0);
		close_scene(scene);
	}
}

/* The worker ends under all of them: each is told so once, and no memory is kept. */
static void test_the_worker_ends_under_them(void **state)
{
	for (uint64_t seed = 11; seed <= 13; seed++) {
		struct guest guests[CALLS];
		struct scene *scene = storm(seed, guests);
		struct mesh_call *calls[CALLS];

		for (unsigned i = 0; i < CALLS; i++)
			calls[i] = guests[i].call;
		mesh_worker_free(scene->worker);
		for (unsigned i = 0; i < CALLS; i++) {
			assert_int_equal(guests[i].dones, 1);
			mesh_call_release(calls[i]);
		}
		assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
		close_scene(scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_stays_counted),
		cmocka_unit_test(test_the_worker_ends_under_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
