/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the pair; its echo keeps what did not go out yet and reads no further meanwhile. */
#include "support/tcp_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <time.h>

enum { WAIT_MS = 10000, ECHO_BYTES = 65536 };

/* ---- configuration */

static const struct tls_config tcp_client = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x13istio-peer-exchange\x05istio", 26},
	.sni = {"outbound_.9080_._.reviews", 25},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
	.sans = &(struct string_match){STRING_MATCH_EXACT, false, {TCP_PAIR_SERVER, sizeof(TCP_PAIR_SERVER) - 1}, NULL},
	.san_count = 1,
};

static const struct tls_config tcp_server = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x13istio-peer-exchange\x02h2\x08http/1.1", 32},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
	.sans = &(struct string_match){STRING_MATCH_PREFIX, false, {"spiffe://cluster.local/", 23}, NULL},
	.san_count = 1,
	.require_client_certificate = true,
};

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct tcp_pair *pair = plane->user;

	chain->kind = CHAIN_TCP;
	chain->http = NULL;
	chain->tcp_cluster = mesh_slice_of(inbound ? "inbound|9080||" : "outbound|9080||reviews");
	chain->tcp_idle_timeout_ns = pair->idle_ns;
	chain->tcp_duration_max_ns = pair->duration_ns;
	chain->tcp_connect_attempts = pair->attempts;
	chain->metadata_exchange = inbound && pair->exchange;
	chain->metadata_exchange_protocol = mesh_slice_of("istio-peer-exchange");
	if (pair->edit_chain)
		pair->edit_chain(pair, chain, arena, inbound);
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	struct tcp_pair *pair = plane->user;

	if (pair->edit_listener)
		pair->edit_listener(pair, listener, inbound);
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct tcp_pair *pair = plane->user;

	cluster->metadata_exchange = pair->exchange;
	cluster->metadata_exchange_protocol = mesh_slice_of("istio-peer-exchange");
	if (pair->edit_cluster)
		pair->edit_cluster(pair, cluster);
}

void tcp_pair_publish(struct tcp_pair *pair)
{
	pair->server.inbound = pair->plaintext ? DATA_PLANE_DISABLE : DATA_PLANE_STRICT;
	pair->server.server_tls = &tcp_server;
	pair->client.client_tls = pair->plaintext ? NULL : &tcp_client;
	data_plane_publish(&pair->server);
	data_plane_publish(&pair->client);
}

/* ---- the echo */

struct echo {
	struct tcp_pair *pair;
	size_t at, end; /* of what is to go out */
	bool over;      /* the client ended */
	bool named;     /* it said who it is, and that was kept */
	char data[ECHO_BYTES];
};

static void echo_end(struct mesh_stream *stream, struct echo *echo)
{
	echo->pair->result = mesh_stream_result(stream)->status;
	atomic_fetch_add(&echo->pair->bytes, mesh_stream_result(stream)->received_bytes);
	mesh_stream_close(stream);
	atomic_fetch_add(&echo->pair->closed, 1);
	free(echo);
}

/* False: not now, or it is over. */
static bool echo_send(struct mesh_stream *stream, struct echo *echo)
{
	while (echo->at < echo->end) {
		int64_t n = mesh_stream_write(stream, (struct mesh_slice){echo->data + echo->at, echo->end - echo->at});

		if (n < 0)
			return false;
		echo->at += (size_t)n;
	}
	echo->at = echo->end = 0;
	return true;
}

static void echo_on(struct mesh_stream *stream, void *user)
{
	struct echo *echo = user;
	int64_t n = 1;

	while (echo_send(stream, echo)) {
		const struct mesh_peer *peer = mesh_stream_peer(stream);

		if (echo->over) {
			if (mesh_stream_shutdown(stream) == 0) {
				atomic_fetch_add(&echo->pair->ended, 1);
				echo_end(stream, echo);
			}
			return;
		}
		n = mesh_stream_read(stream, echo->data, sizeof(echo->data));
		if (n < 0)
			return;
		if (!echo->named && peer->workload_id.len) {
			echo->named = true;
			snprintf(echo->pair->workload_id, sizeof(echo->pair->workload_id), "%.*s", (int)peer->workload_id.len,
				 peer->workload_id.data ? peer->workload_id.data : "");
		}
		echo->end = (size_t)n;
		echo->over = n == 0;
	}
}

static void echo_closed(struct mesh_stream *stream, void *user)
{
	echo_end(stream, user);
}

static void echo_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = echo_on, .writable = echo_on, .closed = echo_closed};
	struct tcp_pair *pair = user;
	struct echo *echo = calloc(1, sizeof(*echo));
	const struct mesh_peer *peer = mesh_stream_peer(stream);

	echo->pair = pair;
	snprintf(pair->identity, sizeof(pair->identity), "%.*s", (int)peer->identity.len,
		 peer->identity.data ? peer->identity.data : "");
	pair->mutual = peer->mutual;
	if (pair->first) {
		echo->end = strlen(pair->first);
		memcpy(echo->data, pair->first, echo->end);
	}
	mesh_stream_on(stream, &events, echo);
	echo_send(stream, echo);
	atomic_fetch_add(&pair->accepted, 1);
}

static void handler(struct mesh_stream *stream, void *user)
{
	struct tcp_pair *pair = user;

	if (pair->handler) {
		atomic_fetch_add(&pair->accepted, 1);
		pair->handler(stream, pair);
	} else {
		echo_handler(stream, user);
	}
}

/* ---- the pair */

static void show(struct tcp_pair *pair, struct data_plane *plane, const char *uri)
{
	plane->certificate = test_ca_secret(&pair->ca, &(struct test_leaf){.uri = uri});
	plane->roots = test_ca_roots(&pair->ca);
	plane->user = pair;
	plane->edit_chain = edit_chain;
	plane->edit_listener = edit_listener;
	plane->edit_cluster = edit_cluster;
}

void tcp_pair_open(struct tcp_pair *pair, const struct mesh_mem *mem)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .stream_handler = handler,
					      .user = pair,
					      .address = "127.0.0.1",
					      .grace_ms = 100};

	memset(pair, 0, sizeof(*pair));
	pair->idle_ns = -1;
	test_ca_make(&pair->ca);
	if (data_plane_open(&pair->client, 1, mem) || data_plane_open(&pair->server, 1, NULL) ||
	    mesh_listen(pair->server.mesh, &options, &pair->listener))
		abort();
	show(pair, &pair->client, TCP_PAIR_CLIENT);
	show(pair, &pair->server, TCP_PAIR_SERVER);
	pair->client.ports[pair->client.port_count++] = mesh_listener_port(pair->listener);
	tcp_pair_publish(pair);
}

static void hide(struct data_plane *plane)
{
	data_plane_close(plane);
	mesh_secret_release(plane->certificate);
	mesh_secret_release(plane->roots);
}

void tcp_pair_close(struct tcp_pair *pair)
{
	mesh_listener_close(pair->listener);
	hide(&pair->client);
	hide(&pair->server);
	test_ca_free(&pair->ca);
}

/* ---- a blocking client */

struct mesh_stream *tcp_pair_dial(struct tcp_pair *pair)
{
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct mesh_stream *stream = NULL;

	if (mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream))
		abort();
	return stream;
}

int tcp_pair_write(struct mesh_stream *stream, const void *data, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		int64_t n = mesh_stream_write(stream, (struct mesh_slice){(const char *)data + done, bytes - done});

		if (n == MESH_ERROR_AGAIN)
			n = mesh_stream_wait(stream, MESH_STREAM_WRITABLE, WAIT_MS) < 0 ? MESH_ERROR_TIMEOUT : 0;
		if (n == MESH_ERROR_TIMEOUT && mesh_stream_result(stream)->status < 0)
			n = mesh_stream_result(stream)->status;
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

int tcp_pair_read(struct mesh_stream *stream, void *buffer, size_t bytes, size_t *got)
{
	for (*got = 0; *got < bytes;) {
		int64_t n = mesh_stream_read(stream, (char *)buffer + *got, bytes - *got);

		if (n == 0)
			return 0;
		if (n == MESH_ERROR_AGAIN) {
			n = mesh_stream_wait(stream, MESH_STREAM_READABLE, WAIT_MS);
			n = n < 0 ? n : 0;
		}
		if (n < 0)
			return (int)n;
		*got += (size_t)n;
	}
	return 0;
}

int tcp_pair_shutdown(struct mesh_stream *stream)
{
	int rc;

	while ((rc = mesh_stream_shutdown(stream)) == MESH_ERROR_AGAIN)
		if ((rc = mesh_stream_wait(stream, MESH_STREAM_WRITABLE, WAIT_MS)) < 0)
			break;
	return rc;
}

bool tcp_pair_until(atomic_int *counter, int value)
{
	for (int ms = 0; ms < WAIT_MS; ms += 2) {
		if (atomic_load(counter) >= value)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return false;
}

int tcp_pair_setup(void **state)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));

	tcp_pair_open(pair, NULL);
	*state = pair;
	return 0;
}

int tcp_pair_setup_plain(void **state)
{
	struct tcp_pair *pair;

	tcp_pair_setup(state);
	pair = *state;
	pair->plaintext = true;
	tcp_pair_publish(pair);
	return 0;
}

int tcp_pair_teardown(void **state)
{
	tcp_pair_close(*state);
	free(*state);
	return 0;
}

void tcp_pair_nap(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

struct mesh_worker *tcp_pair_worker(struct tcp_pair *pair)
{
	struct mesh_worker *worker;

	assert_int_equal(mesh_worker_new(pair->client.mesh, &worker), 0);
	return worker;
}

void tcp_pair_drive(struct mesh_worker *worker, atomic_int *counter, int value)
{
	for (int i = 0; i < 1000 && atomic_load(counter) < value; i++)
		assert_true(mesh_worker_run(worker, 10) >= 0);
	assert_true(atomic_load(counter) >= value);
}
