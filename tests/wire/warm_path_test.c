/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call costs once everything is open: no heap allocation of the mesh on either side and no thread woken, over mutual
 * TLS with an authorization rule in force. The mesh's own allocator is counted; what OpenSSL takes for itself it takes from
 * the C library and is not seen here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>

#include <mesh/mesh.h>

#include "support/counted_mem.h"
#include "support/data_plane.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"

enum { WARM_UP = 200, CALLS = 500 };

struct side {
	struct data_plane plane;
	struct mesh_mem mem;
	atomic_ulong asked; /* blocks asked for, resizing included */
};

struct pair {
	struct test_ca ca;
	struct side client, server;
	struct mesh_listener *listener;
};

static char answer[1024];

static void handler(struct mesh_call *call, void *user)
{
	struct mesh_header type = {mesh_slice_of("content-type"), mesh_slice_of("text/plain")};

	mesh_call_respond(call, 200, &type, 1, (struct mesh_slice){answer, sizeof(answer)}, true);
}

static void open_side(struct pair *pair, struct side *side, const char *uri)
{
	side->mem = counted_mem(&side->asked);
	assert_int_equal(data_plane_open(&side->plane, 1, &side->mem), 0);
	side->plane.certificate = test_ca_secret(&pair->ca, &(struct test_leaf){.uri = uri});
	side->plane.roots = test_ca_roots(&pair->ca);
	side->plane.inbound = DATA_PLANE_STRICT;
	side->plane.client_tls = &data_plane_istio_client;
	side->plane.edit_chain = data_plane_admit_alice;
}

static int open_pair(void **state)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .address = "127.0.0.1",
					      .request_bytes_max = 65536, .grace_ms = 100};
	struct pair *pair = calloc(1, sizeof(*pair));

	memset(answer, 'x', sizeof(answer));
	test_ca_make(&pair->ca);
	open_side(pair, &pair->server, BOB);
	open_side(pair, &pair->client, DATA_PLANE_ALICE);
	data_plane_publish(&pair->server.plane);
	assert_int_equal(mesh_listen(pair->server.plane.mesh, &options, &pair->listener), 0);
	pair->client.plane.ports[pair->client.plane.port_count++] = mesh_listener_port(pair->listener);
	data_plane_publish(&pair->client.plane);
	*state = pair;
	return 0;
}

static void close_side(struct side *side)
{
	data_plane_close(&side->plane);
	mesh_secret_release(side->plane.certificate);
	mesh_secret_release(side->plane.roots);
}

static int close_pair(void **state)
{
	struct pair *pair = *state;

	close_side(&pair->client);
	close_side(&pair->server);
	test_ca_free(&pair->ca);
	free(pair);
	return 0;
}

static void call(struct pair *pair, struct mesh_slice body, struct mesh_worker *worker, size_t count)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .body = body,
				       .method = mesh_slice_of(body.len ? "POST" : "GET"), .path = mesh_slice_of("/1k"),
				       .worker = worker};

	for (size_t i = 0; i < count; i++) {
		struct mesh_call *call;

		assert_int_equal(mesh_call_start(pair->client.plane.mesh, &request, NULL, NULL, &call), 0);
		assert_int_equal(mesh_call_wait(call, 10000), 0);
		assert_int_equal(mesh_call_http_status(call), 200);
		assert_int_equal(mesh_call_body(call).len, sizeof(answer));
		assert_true(mesh_call_peer(call)->mutual);
		mesh_call_release(call);
	}
}

static void no_allocation(struct pair *pair, struct mesh_slice body)
{
	call(pair, body, NULL, WARM_UP);
	assert_true(atomic_load(&pair->client.asked) > 0 && atomic_load(&pair->server.asked) > 0);
	atomic_store(&pair->client.asked, 0);
	atomic_store(&pair->server.asked, 0);
	call(pair, body, NULL, CALLS);
	assert_int_equal(atomic_load(&pair->client.asked), 0);
	assert_int_equal(atomic_load(&pair->server.asked), 0);
}

static void test_no_allocation_per_get(void **state)
{
	no_allocation(*state, (struct mesh_slice){NULL, 0});
}

static void test_no_allocation_per_post(void **state)
{
	no_allocation(*state, (struct mesh_slice){answer, sizeof(answer)});
}

/* How often workers of this process were woken: a mailbox writes 1 to its eventfd for that and nobody reads it back. */
static unsigned long wakes(void)
{
	unsigned long total = 0, seen = 0;
	DIR *folder = opendir("/proc/self/fdinfo");
	struct dirent *entry;
	char path[300], line[128];

	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		unsigned long count;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%.200s", entry->d_name);
		file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
		while (file && fgets(line, sizeof(line), file)) {
			if (sscanf(line, "eventfd-count: %lx", &count) != 1)
				continue;
			total += count;
			seen++;
		}
		if (file)
			fclose(file);
	}
	closedir(folder);
	assert_true(seen > 0);
	return total;
}

static void test_no_wake_per_blocking_call(void **state)
{
	struct pair *pair = *state;
	unsigned long before;

	call(pair, (struct mesh_slice){NULL, 0}, NULL, WARM_UP);
	before = wakes();
	call(pair, (struct mesh_slice){NULL, 0}, NULL, CALLS);
	assert_int_equal(wakes(), before);
}

/* The other way round, which shows that wakes() sees them: a call given to a library worker is a hand-over. */
static void test_wake_per_call_of_a_library_worker(void **state)
{
	struct pair *pair = *state;
	struct mesh_worker *worker;
	unsigned long before;

	assert_int_equal(mesh_worker_library(pair->client.plane.mesh, &worker), 0);
	call(pair, (struct mesh_slice){NULL, 0}, worker, 100);
	before = wakes();
	call(pair, (struct mesh_slice){NULL, 0}, worker, 100);
	assert_true(wakes() > before);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_no_allocation_per_get),
		CASE(test_no_allocation_per_post),
		CASE(test_no_wake_per_blocking_call),
		CASE(test_wake_per_call_of_a_library_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
