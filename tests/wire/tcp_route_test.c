/* SPDX-License-Identifier: Apache-2.0 */
/* Where a stream goes: by name or address, by what the application speaks, by weight; and what is refused on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "call/listener.h"
#include "loop/resolver.h"
#include "support/dns_server.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

static int open_pair(void **state)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));

	tcp_pair_open(pair, NULL);
	pair->plaintext = true;
	tcp_pair_publish(pair);
	*state = pair;
	return 0;
}

static int close_pair(void **state)
{
	tcp_pair_close(*state);
	free(*state);
	return 0;
}

static struct mesh_stream *dial(struct tcp_pair *pair, const struct mesh_stream_options *options)
{
	struct mesh_stream *stream;

	assert_int_equal(mesh_stream_dial(pair->client.mesh, options, NULL, NULL, &stream), 0);
	return stream;
}

static struct mesh_stream *dial_to(struct tcp_pair *pair, const char *target)
{
	return dial(pair, &(struct mesh_stream_options){.size = sizeof(struct mesh_stream_options),
							.target = mesh_slice_of(target)});
}

/* Writes, and reads the same back; then closes. */
static void assert_carries(struct mesh_stream *stream, const char *bytes, size_t len)
{
	char back[2048];
	size_t got;

	assert_int_equal(tcp_pair_write(stream, bytes, len), 0);
	assert_int_equal(tcp_pair_read(stream, back, len, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(back, bytes, len);
	mesh_stream_close(stream);
}

static void assert_ends(struct mesh_stream *stream, int error, const char *flag, const char *words)
{
	char byte;

	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), error);
	assert_int_equal(mesh_stream_read(stream, &byte, 1), error);
	assert_string_equal(mesh_stream_result(stream)->flag, flag);
	if (!strstr(mesh_stream_result(stream)->why.data, words))
		fail_msg("\"%s\" is not in \"%s\"", words, mesh_stream_result(stream)->why.data);
	mesh_stream_close(stream);
}

/* ---- names and addresses */

static const char *cluster_name = "outbound|9080||reviews.default.svc.cluster.local", *listener_address = "0.0.0.0";

static void name_cluster(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	if (!inbound)
		chain->tcp_cluster = mesh_slice_of(cluster_name);
}

static void bind_listener(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	if (!inbound)
		listener->address = mesh_slice_of(listener_address);
}

static void test_names(void **state)
{
	struct tcp_pair *pair = *state;
	static const char *const addresses[] = {"0.0.0.0",
						"10.96.0.17"}; /* one listener for many, and one of its own */
	static const char *const names[] = {"reviews.default.svc.cluster.local:9080", "reviews.default:9080",
					    "reviews:9080", "REVIEWS.default.svc:9080",
					    "reviews.default.svc.cluster.local.:9080"};

	snprintf(pair->client.mesh->pod_namespace, sizeof(pair->client.mesh->pod_namespace), "default");
	pair->edit_chain = name_cluster;
	pair->edit_listener = bind_listener;
	for (size_t a = 0; a < 2; a++) {
		listener_address = addresses[a];
		tcp_pair_publish(pair);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			struct mesh_stream *stream = dial_to(pair, names[i]);

			/* its chain leads to a cluster that is not there: that far the name came */
			assert_ends(stream, MESH_ERROR_NO_CLUSTER, "NC", cluster_name);
		}
		if (a == 0) /* whatever comes to that port, as a sidecar's listener */
			assert_ends(dial_to(pair, "ratings:9080"), MESH_ERROR_NO_CLUSTER, "NC", cluster_name);
		else
			assert_ends(dial_to(pair, "ratings:9080"), MESH_ERROR_NO_ROUTE, "NR",
				    "no TCP service \"ratings\" on port 9080");
		assert_ends(dial_to(pair, "reviews:9081"), MESH_ERROR_NO_ROUTE, "NR", "port 9081");
		assert_ends(dial_to(pair, "10.96.0.17:9080"), MESH_ERROR_NO_CLUSTER, "NC", cluster_name);
	}
	assert_ends(dial_to(pair, "10.96.0.18:9080"), MESH_ERROR_NO_ROUTE, "NR",
		    "no outbound listener for 10.96.0.18:9080");
}

/* ---- kinds of chains and clusters */

static enum chain_kind kind;

static void set_kind(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound)
		return;
	chain->kind = kind;
	chain->reason = mesh_slice_of("a filter nobody knows");
}

static enum cluster_kind cluster_kind;

static void set_cluster_kind(struct tcp_pair *pair, struct cluster_config *cluster)
{
	cluster->kind = cluster_kind;
}

static void test_refusals(void **state)
{
	struct tcp_pair *pair = *state;

	pair->edit_chain = set_kind;
	kind = CHAIN_FAIL_CLOSED;
	tcp_pair_publish(pair);
	assert_ends(dial_to(pair, "10.0.0.1:9080"), MESH_ERROR_FAIL_CLOSED, "UAEX", "a filter nobody knows");
	kind = CHAIN_BLACKHOLE;
	tcp_pair_publish(pair);
	assert_ends(dial_to(pair, "10.0.0.1:9080"), MESH_ERROR_NO_ENDPOINT, "UH", "nothing in the mesh is at 10.0.0.1:9080");
	kind = CHAIN_HTTP;
	tcp_pair_publish(pair);
	assert_ends(dial_to(pair, "10.0.0.1:9080"), MESH_ERROR_PROTOCOL, "UPE", "as HTTP");
	assert_ends(dial_to(pair, "reviews:9080"), MESH_ERROR_PROTOCOL, "UPE", "as HTTP");
	kind = CHAIN_TCP;
	pair->edit_cluster = set_cluster_kind;
	cluster_kind = CLUSTER_UNSUPPORTED;
	tcp_pair_publish(pair);
	assert_ends(dial_to(pair, "10.0.0.1:9080"), MESH_ERROR_NO_ENDPOINT, "UH", "cannot be called yet");
}

static void move_listener(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	if (!inbound)
		listener->use_original_dst = true; /* virtualOutbound: what no other listener takes */
}

/* As PassthroughCluster: to the address itself, in the open, several at once and again. */
static void test_address_itself(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *streams[3];
	struct dns_server dns;
	struct address dns_address;
	struct resolver_options resolver = {.servers = &dns_address, .server_count = 1, .no_search = true};
	char target[64];

	snprintf(target, sizeof(target), "127.0.0.1:%u", pair->client.ports[0]);
	pair->edit_cluster = set_cluster_kind;
	pair->edit_listener = move_listener;
	cluster_kind = CLUSTER_ORIGINAL_DST;
	tcp_pair_publish(pair);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++) {
			streams[i] = dial_to(pair, target);
			assert_int_equal(mesh_stream_wait(streams[i], MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
		}
		tcp_pair_publish(pair); /* open ones live through a new configuration */
		for (int i = 0; i < 3; i++)
			assert_carries(streams[i], "past the mesh", 13);
	}
	assert_ends(dial_to(pair, "127.0.0.1:1"), MESH_ERROR_CONNECT, "UF", "127.0.0.1:1: connect");
	/* a headless service: a listener for each pod, any of which is for its name, and the resolver says which pod it is */
	dns_server_start(&dns);
	dns_server_set(&dns, "reviews", "127.0.0.99", 60);
	dns_address = dns_server_address(&dns);
	pair->client.mesh->resolver = &resolver;
	pair->edit_listener = bind_listener;
	listener_address = "127.0.0.98";
	tcp_pair_publish(pair);
	assert_ends(dial_to(pair, "reviews:9080"), MESH_ERROR_CONNECT, "UF", "127.0.0.99:9080: connect");
	dns_server_stop(&dns);
}

static void weigh(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	struct weighted_cluster *weighted = mesh_arena_array(arena, 2, sizeof(*weighted));

	if (inbound)
		return;
	weighted[0].name = mesh_slice_of("outbound|9080||reviews");
	weighted[1].name = mesh_slice_of("outbound|9080|v2|reviews");
	for (int i = 0; i < 2; i++)
		weighted[i].hash = mesh_slice_hash(weighted[i].name);
	weighted[0].weight = 75;
	weighted[1].weight = 25;
	chain->tcp_cluster = (struct mesh_slice){NULL, 0};
	chain->tcp_weighted = weighted;
	chain->tcp_weighted_count = 2;
	chain->tcp_weighted_total = 100;
}

static void test_weighted_clusters(void **state)
{
	struct tcp_pair *pair = *state;
	int second = 0;

	pair->edit_chain = weigh;
	tcp_pair_publish(pair);
	for (int i = 0; i < 400; i++) {
		struct mesh_stream *stream = dial_to(pair, "reviews:9080");

		second += mesh_stream_result(stream)->status == MESH_ERROR_NO_CLUSTER; /* it is not there */
		mesh_stream_close(stream);
	}
	assert_in_range(second, 50, 150);
}

/* ---- what the application speaks */

static bool inspect_http, inspect_tls, go_on;
static int64_t filters_ns;

/* As istiod makes an `auto` port: HTTP where it is seen, else bytes. */
static void split_by_protocol(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice http[] = {{"http/1.1", 8}, {"h2c", 3}};
	static struct http_config connection_manager;

	if (inbound)
		return;
	listener->tls_inspector = inspect_tls;
	listener->http_inspector = inspect_http;
	listener->filters_timeout_ns = filters_ns;
	listener->continue_on_timeout = go_on;
	listener->default_chain = &listener->chains[1];
	listener->chains[1] = listener->chains[0];
	listener->chains[0].kind = CHAIN_HTTP;
	listener->chains[0].http = &connection_manager;
	listener->chains[0].match.transport = mesh_slice_of("raw_buffer");
	listener->chains[0].match.alpn = http;
	listener->chains[0].match.alpn_count = 2;
}

static int open_auto(void **state)
{
	struct tcp_pair *pair;

	open_pair(state);
	pair = *state;
	inspect_http = inspect_tls = true;
	filters_ns = 0;
	go_on = true;
	pair->edit_listener = split_by_protocol;
	tcp_pair_publish(pair);
	return 0;
}

static void test_first_bytes_decide(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = dial_to(pair, "10.0.0.1:9080");
	char byte;

	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_WRITABLE, 0), MESH_STREAM_WRITABLE);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 50),
			 MESH_ERROR_AGAIN); /* nobody knows which chain */
	assert_carries(stream, "\x01raw bytes", 10);
	/* in pieces that could still be HTTP */
	stream = dial_to(pair, "10.0.0.1:9080");
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("EH")), 2);
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_AGAIN);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("LO mesh")), 7);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 50), MESH_ERROR_AGAIN);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("\r\n")), 2);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	mesh_stream_close(stream);
	/* what is HTTP goes another way than bytes */
	stream = dial_to(pair, "10.0.0.1:9080");
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("GET / HTTP/1.1\r\n")), 16);
	assert_ends(stream, MESH_ERROR_PROTOCOL, "UPE", "mesh_call_start");
	/* and an end before anything was seen is the end */
	stream = dial_to(pair, "10.0.0.1:9080");
	assert_int_equal(mesh_stream_shutdown(stream), MESH_ERROR_CLOSED);
	mesh_stream_close(stream);
}

static void test_server_first_on_an_auto_port(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("10.0.0.1:9080")};
	struct mesh_stream *stream;
	char back[16];
	size_t got;

	pair->first = "220 hi\r\n";
	stream = dial(pair, &options); /* as a sidecar without listener_filters_timeout: for ever */
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_READABLE, 100), MESH_ERROR_AGAIN);
	mesh_stream_close(stream);
	options.server_first = true;
	stream = dial(pair, &options);
	assert_int_equal(tcp_pair_read(stream, back, 8, &got), 0);
	assert_memory_equal(back, "220 hi\r\n", 8);
	mesh_stream_close(stream);
	/* with the timeout it goes on by itself, or not, as configured */
	options.server_first = false;
	filters_ns = 100 * 1000000;
	tcp_pair_publish(pair);
	stream = dial(pair, &options);
	assert_int_equal(tcp_pair_read(stream, back, 8, &got), 0);
	assert_memory_equal(back, "220 hi\r\n", 8);
	assert_true(mesh_stream_result(stream)->duration_us >= 100000);
	mesh_stream_close(stream);
	go_on = false;
	tcp_pair_publish(pair);
	stream = dial(pair, &options);
	assert_ends(stream, MESH_ERROR_TIMEOUT, "UT", "listener_filters_timeout");
}

/* ---- the application's own TLS */

static size_t client_hello(char *into, size_t room, const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, in, out);
	SSL_set_tlsext_host_name(ssl, name);
	SSL_set_alpn_protos(ssl, (const unsigned char *)"\x08http/1.1", 9);
	SSL_connect(ssl);
	n = BIO_read(out, into, (int)room);
	assert_true(n > 100);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return (size_t)n;
}

static void split_by_name(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice one[] = {{"one.example", 11}}, two[] = {{"*.two.example", 13}};

	if (inbound)
		return;
	listener->tls_inspector = true;
	listener->chain_count = 2;
	listener->chains[1] = listener->chains[0];
	listener->chains[0].match.server_names = one;
	listener->chains[0].match.server_name_count = 1;
	listener->chains[1].match.server_names = two;
	listener->chains[1].match.server_name_count = 1;
	listener->chains[1].tcp_cluster = mesh_slice_of("outbound|9080||two.example");
}

static void test_routed_by_sni(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("10.0.0.1:9080")};
	char hello[2048];
	size_t len = client_hello(hello, sizeof(hello), "one.example");
	struct mesh_stream *stream;

	pair->edit_listener = split_by_name;
	tcp_pair_publish(pair);
	stream = dial(pair, &options);
	assert_carries(stream, hello, len); /* untouched */
	stream = dial(pair, &options);
	assert_int_equal(mesh_stream_write(stream, (struct mesh_slice){hello, 60}), 60); /* in pieces */
	assert_int_equal(tcp_pair_write(stream, hello + 60, len - 60), 0);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	mesh_stream_close(stream);
	len = client_hello(hello, sizeof(hello), "www.two.example");
	stream = dial(pair, &options);
	assert_int_equal(tcp_pair_write(stream, hello, len), 0);
	assert_ends(stream, MESH_ERROR_NO_CLUSTER, "NC", "two.example");
	len = client_hello(hello, sizeof(hello), "three.example");
	stream = dial(pair, &options);
	assert_int_equal(tcp_pair_write(stream, hello, len), 0);
	assert_ends(stream, MESH_ERROR_NO_ROUTE, "NR", "server name three.example");
	stream = dial(pair, &options);
	assert_int_equal(tcp_pair_write(stream, "no TLS at all", 13), 0);
	assert_ends(stream, MESH_ERROR_NO_ROUTE, "NR", "no filter chain");
	/* the application says it itself, and the name alone finds the listener */
	options.server_name = mesh_slice_of("one.example");
	stream = dial(pair, &options);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	mesh_stream_close(stream);
	options.target = mesh_slice_of("one.example:9080");
	stream = dial(pair, &options);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	mesh_stream_close(stream);
	/* a hello that is none */
	options.server_name = (struct mesh_slice){NULL, 0};
	stream = dial(pair, &options);
	assert_int_equal(mesh_stream_write(stream, (struct mesh_slice){"\x16\x03\x01\x00\x05zzzzz", 10}),
			 MESH_ERROR_DOWNSTREAM_PROTOCOL);
	mesh_stream_close(stream);
}

static void split_by_alpn_alone(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	split_by_protocol(pair, listener, inbound);
	if (!inbound)
		listener->chains[0].match.transport = (struct mesh_slice){NULL, 0};
}

/* A listener finds out what its inspectors are for: without that for TLS, a hello is bytes like others. */
static void test_no_inspector_for_tls(void **state)
{
	struct tcp_pair *pair = *state;
	char hello[2048];
	size_t len = client_hello(hello, sizeof(hello), "one.example");
	struct mesh_stream *stream;

	pair->edit_listener = split_by_alpn_alone;
	tcp_pair_publish(pair);
	stream = dial_to(pair, "10.0.0.1:9080");
	assert_int_equal(tcp_pair_write(stream, hello, len), 0);
	assert_ends(stream, MESH_ERROR_PROTOCOL, "UPE", "as HTTP"); /* its ALPN says so */
	inspect_tls = false;
	tcp_pair_publish(pair);
	assert_carries(dial_to(pair, "10.0.0.1:9080"), hello, len);
}

/* ---- the listener's side */

static void make_http(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	if (!inbound)
		return;
	chain->kind = CHAIN_HTTP;
	chain->http = mesh_arena_array(arena, 1, sizeof(*chain->http));
	chain->http->route_name = mesh_slice_of("inbound");
}

/* An HTTP port has policies about requests: bytes would go past them. */
static void test_http_port_refuses_streams(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char byte;
	size_t got;
	int rc;

	pair->edit_chain = make_http;
	tcp_pair_publish(pair);
	stream = dial_to(pair, "reviews:9080");
	rc = tcp_pair_read(stream, &byte, 1, &got);
	assert_true(rc == MESH_ERROR_RESET || (rc == 0 && got == 0));
	assert_int_equal(atomic_load(&pair->accepted), 0);
	assert_int_equal(atomic_load(&pair->listener->stats.cx_no_chain), 1);
	mesh_stream_close(stream);
}

/* As istiod makes an inbound `auto` port: HTTP by its first bytes, TLS of others passed through, else bytes. */
static void inbound_auto(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice http[] = {{"http/1.1", 8}, {"h2c", 3}};

	if (!inbound)
		return;
	listener->tls_inspector = listener->http_inspector = true;
	listener->filters_timeout_ns = filters_ns;
	listener->continue_on_timeout = true;
	listener->default_chain = &listener->chains[1];
	listener->chains[1] = listener->chains[0];
	listener->chains[0].kind = CHAIN_FAIL_CLOSED;
	listener->chains[0].match.transport = mesh_slice_of("raw_buffer");
	listener->chains[0].match.alpn = http;
	listener->chains[0].match.alpn_count = 2;
}

/* A client without a mesh that waits for the server's first words gets them when the wait for its own is over. */
static void test_silent_client(void **state)
{
	struct tcp_pair *pair = *state;
	char back[64] = "", hello[2048];
	size_t len = client_hello(hello, sizeof(hello), "some.example");
	int fd;

	pair->first = "220 hi\r\n";
	pair->edit_listener = inbound_auto;
	filters_ns = 100 * 1000000;
	tcp_pair_publish(pair);
	fd = raw_connect(pair->client.ports[0]);
	assert_true(raw_until(fd, back, sizeof(back), "220 hi\r\n"));
	close(fd);
	/* TLS that is not the mesh's is the application's, from its first byte; so are bytes of no known kind */
	pair->first = NULL;
	pair->mutual = true;
	fd = raw_connect(pair->client.ports[0]);
	assert_true(raw_send(fd, hello, len));
	for (size_t got = 0; got < len;) {
		char echo[2048];
		ssize_t n = read(fd, echo, sizeof(echo));

		assert_true(n > 0);
		assert_memory_equal(echo, hello + got, (size_t)n);
		got += (size_t)n;
	}
	assert_false(pair->mutual); /* whoever that is: nobody looked at a certificate */
	close(fd);
	fd = raw_connect(pair->client.ports[0]);
	back[0] = '\0';
	assert_true(raw_say(fd, "\x01plain bytes"));
	assert_true(raw_until(fd, back, sizeof(back), "plain bytes"));
	close(fd);
}

/* Looks for a server name and nothing else. */
static void inbound_names(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice nobody = {"nobody.example", 14};

	if (!inbound)
		return;
	listener->tls_inspector = true;
	listener->default_chain = &listener->chains[1];
	listener->chains[1] = listener->chains[0];
	listener->chains[0].match.server_names = &nobody;
	listener->chains[0].match.server_name_count = 1;
}

/* Who waits with the first byte until configuration changed is judged by the new one: what counts as HTTP, too. */
static void test_configuration_before_the_first_byte(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n";
	struct tcp_pair *pair = *state;
	int fd[2];

	pair->edit_listener = inbound_names;
	tcp_pair_publish(pair);
	fd[0] = raw_connect(pair->client.ports[0]);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	pair->edit_listener = inbound_auto;
	filters_ns = 0;
	tcp_pair_publish(pair);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	fd[1] = raw_connect(pair->client.ports[0]);
	for (int i = 0; i < 2; i++) {
		char byte;

		assert_true(raw_say(fd[i], get));
		assert_true(read(fd[i], &byte, 1) <= 0); /* HTTP is refused there */
		close(fd[i]);
	}
	assert_int_equal(atomic_load(&pair->accepted), 0);
}

static void answer(struct mesh_call *call, void *user)
{
	mesh_call_respond(call, 200, NULL, 0, mesh_slice_of("a request"), true);
}

static void say_bytes(struct mesh_stream *stream, void *user)
{
	mesh_stream_write(stream, mesh_slice_of("bytes"));
	mesh_stream_close(stream); /* what the client still sends does not take the answer away */
}

static void ask(struct tcp_pair *pair, const char *expected)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n";
	struct mesh_stream *stream = dial_to(pair, "reviews:9080");
	char back[512] = "";
	size_t got;

	assert_int_equal(tcp_pair_write(stream, get, sizeof(get) - 1), 0);
	tcp_pair_read(stream, back, sizeof(back) - 1, &got);
	if (!strstr(back, expected))
		fail_msg("\"%s\" is not in \"%s\"", expected, back);
	mesh_stream_close(stream);
}

/* One listener for both: the configuration says which connection is whose, not its bytes. */
static void test_both_handlers(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = answer,
					      .stream_handler = say_bytes,
					      .address = "127.0.0.1",
					      .grace_ms = 100};
	struct mesh_listener *listener;

	assert_int_equal(mesh_listen(pair->server.mesh, &options, &listener), 0);
	pair->client.ports[0] = mesh_listener_port(listener);
	tcp_pair_publish(pair);
	ask(pair, "bytes");
	pair->edit_chain = make_http;
	tcp_pair_publish(pair);
	ask(pair, "a request");
	mesh_listener_close(listener);
	options.handler = NULL;
	options.stream_handler = NULL;
	assert_int_equal(mesh_listen(pair->server.mesh, &options, &listener), MESH_ERROR_INVALID);
}

/* PERMISSIVE -> STRICT under an open plaintext connection: it is let be for a while, as Envoy drains a listener; no new one. */
static void test_policy_changes_under_a_stream(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = dial_to(pair, "reviews:9080"), *late;
	char byte;
	size_t got;
	int rc;

	assert_int_equal(tcp_pair_write(stream, "a", 1), 0);
	assert_int_equal(tcp_pair_read(stream, &byte, 1, &got), 0);
	pair->server.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&pair->server);
	late = dial_to(pair, "reviews:9080");
	rc = tcp_pair_write(late, "b", 1);
	if (!rc)
		rc = tcp_pair_read(late, &byte, 1, &got);
	assert_true(rc < 0 || got == 0);
	mesh_stream_close(late);
	assert_carries(stream, "c", 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
#define AUTO(name) cmocka_unit_test_setup_teardown(name, open_auto, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names),
		TEST(test_refusals),
		TEST(test_address_itself),
		TEST(test_weighted_clusters),
		AUTO(test_first_bytes_decide),
		AUTO(test_server_first_on_an_auto_port),
		TEST(test_routed_by_sni),
		AUTO(test_no_inspector_for_tls),
		TEST(test_http_port_refuses_streams),
		TEST(test_silent_client),
		TEST(test_configuration_before_the_first_byte),
		TEST(test_both_handlers),
		TEST(test_policy_changes_under_a_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
