/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PERMISSIVE port without a protocol, as istiod makes it: five chains. What a client speaks first decides what secures it,
 * which ALPN is chosen, and who in the application gets it: the request handler or the stream handler.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>
#include <mesh/stream.h>

#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define BOB      "spiffe://cluster.local/ns/default/sa/bob"
#define ALICE    "spiffe://cluster.local/ns/default/sa/alice"
#define GET      "GET / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n"
#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define AS_HTTP1 "\x0eistio-http/1.1\x05istio\x08http/1.1\x08http/1.0"
#define AS_HTTP2 "\x08istio-h2\x05istio\x02h2"
#define AS_TCP   "\x13istio-peer-exchange\x05istio"

struct auto_port {
	struct test_ca ca;
	struct data_plane plane;
	struct mesh_listener *listener;
	uint16_t port;
	struct tls_config http_tls, tcp_tls;
	enum http_codec codec;
	int64_t filters_ns;
	bool strict;
	atomic_uint calls, streams;
};

static void handler(struct mesh_call *call, void *user)
{
	struct auto_port *port = user;
	const struct mesh_peer *peer = mesh_call_peer(call);
	char said[512];
	int len = snprintf(said, sizeof(said), "request %.*s %s %.*s.", (int)peer->protocol.len, peer->protocol.data,
			   peer->mutual ? "mutual" : "plain", (int)peer->identity.len,
			   peer->identity.data ? peer->identity.data : "");

	atomic_fetch_add(&port->calls, 1);
	mesh_call_respond(call, 200, NULL, 0, mesh_slice_make(said, (size_t)len), true);
}

/* Sends back what comes; enough for what a test says in one piece. */
static void echo(struct mesh_stream *stream, void *user)
{
	char bytes[8192];
	int64_t n;

	while ((n = mesh_stream_read(stream, bytes, sizeof(bytes))) > 0)
		assert_int_equal(mesh_stream_write(stream, mesh_slice_make(bytes, (size_t)n)), n);
	if (n != MESH_ERROR_AGAIN)
		mesh_stream_close(stream);
}

static void end_stream(struct mesh_stream *stream, void *user)
{
	mesh_stream_close(stream);
}

static void stream_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = echo, .closed = end_stream};
	struct auto_port *port = user;

	atomic_fetch_add(&port->streams, 1);
	assert_int_equal(mesh_stream_on(stream, &events, port), 0);
}

/* data_plane's two, of TLS and of plaintext, become five. */
static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice http[] = {{"istio-http/1.0", 14}, {"istio-http/1.1", 14}, {"istio-h2", 8}};
	static struct mesh_slice tcp[] = {{"istio-peer-exchange", 19}, {"istio", 5}},
				 plain[] = {{"http/1.1", 8}, {"h2c", 3}};
	struct auto_port *port = plane->user;
	struct chain *chains;

	if (!inbound)
		return;
	chains = mesh_arena_array(&listener->object.arena, 5, sizeof(*chains));
	assert_non_null(chains);
	chains[0] = chains[2] = chains[4] = listener->chains[0];
	chains[1] = chains[3] = listener->chains[1];
	chains[0].match.alpn = http;
	chains[0].match.alpn_count = 3;
	chains[1].match.alpn = plain;
	chains[1].match.alpn_count = 2;
	chains[2].match.alpn = tcp;
	chains[2].match.alpn_count = 2;
	chains[0].tls = &port->http_tls;
	chains[2].tls = &port->tcp_tls;
	chains[4].tls = NULL;
	for (unsigned i = 2; i < 5; i++) {
		chains[i].kind = CHAIN_TCP;
		chains[i].http = NULL;
		chains[i].tcp_cluster = mesh_slice_of("InboundPassthroughCluster");
		chains[i].tcp_idle_timeout_ns = -1;
		chains[i].metadata_exchange = true;
		chains[i].metadata_exchange_protocol = mesh_slice_of("istio-peer-exchange");
	}
	chains[0].http->codec = chains[1].http->codec = port->codec;
	listener->chains = chains;
	listener->chain_count = 5;
	listener->http_inspector = true;
	listener->filters_timeout_ns = port->filters_ns;
	listener->continue_on_timeout = true;
}

static int open_port(void **state)
{
	struct auto_port *port = calloc(1, sizeof(*port));

	test_ca_make(&port->ca);
	assert_int_equal(data_plane_open(&port->plane, 1, NULL), 0);
	port->plane.inbound = DATA_PLANE_PERMISSIVE;
	port->plane.certificate = test_ca_secret(&port->ca, &(struct test_leaf){.uri = BOB});
	port->plane.roots = test_ca_roots(&port->ca);
	port->plane.user = port;
	port->plane.edit_listener = edit_listener;
	port->http_tls = port->tcp_tls = data_plane_istio_server;
	port->tcp_tls.alpn = MESH_SLICE("\x13istio-peer-exchange\x02h2\x08http/1.1");
	*state = port;
	return 0;
}

static int close_port(void **state)
{
	struct auto_port *port = *state;

	mesh_listener_close(port->listener);
	data_plane_close(&port->plane);
	mesh_secret_release(port->plane.certificate);
	mesh_secret_release(port->plane.roots);
	test_ca_free(&port->ca);
	free(port);
	return 0;
}

static void listen_with(struct auto_port *port, mesh_handler_fn *requests, mesh_stream_handler_fn *streams)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = requests,
					      .stream_handler = streams,
					      .user = port,
					      .address = "127.0.0.1",
					      .grace_ms = 100};

	if (!port->listener)
		data_plane_publish(&port->plane);
	mesh_listener_close(port->listener);
	assert_int_equal(mesh_listen(port->plane.mesh, &options, &port->listener), 0);
	port->port = mesh_listener_port(port->listener);
}

struct tls {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static void use_certificate(SSL_CTX *ctx, const struct auto_port *port)
{
	char *chain, *key;
	BIO *bio;
	X509 *leaf;
	EVP_PKEY *secret;

	test_ca_issue(&port->ca, &(struct test_leaf){.uri = ALICE}, &chain, &key);
	bio = BIO_new_mem_buf(chain, -1);
	leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	bio = BIO_new_mem_buf(key, -1);
	secret = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, secret), 1);
	X509_free(leaf);
	EVP_PKEY_free(secret);
	free(chain);
	free(key);
}

/* `alpn` as on the wire. */
static void tls_init(struct tls *tls, const struct auto_port *port, struct mesh_slice alpn)
{
	tls->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(tls->ctx);
	use_certificate(tls->ctx, port);
	tls->ssl = SSL_new(tls->ctx);
	if (alpn.len)
		assert_int_equal(SSL_set_alpn_protos(tls->ssl, (const unsigned char *)alpn.data, (unsigned)alpn.len),
				 0);
	tls->fd = raw_connect(port->port);
}

static void tls_free(struct tls *tls)
{
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->ctx);
	close(tls->fd);
}

/* What was negotiated, says, and how the answer begins. */
static void assert_tls(struct auto_port *port, struct mesh_slice offered, const char *chosen, struct mesh_slice said,
		       struct mesh_slice answer)
{
	const unsigned char *alpn;
	char got[4096] = "";
	size_t len = 0;
	unsigned alpn_len;
	struct tls tls;
	int n = 1;

	tls_init(&tls, port, offered);
	SSL_set_fd(tls.ssl, tls.fd);
	assert_int_equal(SSL_connect(tls.ssl), 1);
	SSL_get0_alpn_selected(tls.ssl, &alpn, &alpn_len);
	assert_int_equal(alpn_len, strlen(chosen));
	if (alpn_len)
		assert_memory_equal(alpn, chosen, alpn_len);
	assert_int_equal(SSL_write(tls.ssl, said.data, (int)said.len), said.len);
	while (!memmem(got, len, answer.data, answer.len) &&
	       (n = SSL_read(tls.ssl, got + len, (int)(sizeof(got) - len))) > 0)
		len += (size_t)n;
	if (n <= 0)
		fail_msg("no \"%s\" in %zu bytes: \"%s\"", answer.data, len, got);
	tls_free(&tls);
}

static void assert_plain(struct auto_port *port, struct mesh_slice said, const char *answer)
{
	char got[4096] = "";
	int fd = raw_connect(port->port);

	assert_true(raw_send(fd, said.data, said.len));
	if (!raw_until(fd, got, sizeof(got), answer))
		fail_msg("no \"%s\" in \"%s\"", answer, got);
	close(fd);
}

#define BYTES(s) mesh_slice_make(s, sizeof(s) - 1)
#define SETTINGS BYTES("\x04\0\0\0\0\0") /* of a frame's head: type, flags, stream */
#define REQUEST  "request "

/* With ALPN as sidecars offer it, our own list's first name that they have, too. */
static void test_requests_over_tls(void **state)
{
	struct auto_port *port = *state;

	listen_with(port, handler, stream_handler);
	assert_tls(port, BYTES(AS_HTTP1), "http/1.1", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	assert_tls(port, BYTES(AS_HTTP2), "h2", BYTES(PREFACE), SETTINGS);
	/* our order, not theirs */
	assert_tls(port, BYTES(AS_HTTP1 "\x02h2"), "h2", BYTES(PREFACE), SETTINGS);
	/* no name in common: the first bytes tell */
	assert_tls(port, BYTES("\x0eistio-http/1.1"), "", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	assert_tls(port, BYTES("\x08istio-h2"), "", BYTES(PREFACE), SETTINGS);
	/* what was agreed counts, not the bytes */
	assert_tls(port, BYTES(AS_HTTP1), "http/1.1", BYTES(PREFACE), BYTES("HTTP/1.1 505 "));
	assert_int_equal(atomic_load(&port->streams), 0);
}

/* Where configuration says the version it counts more than ALPN. */
static void test_codec(void **state)
{
	struct auto_port *port = *state;

	port->codec = HTTP_CODEC_HTTP1;
	listen_with(port, handler, NULL);
	assert_tls(port, BYTES(AS_HTTP2), "h2", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	port->codec = HTTP_CODEC_HTTP2;
	data_plane_publish(&port->plane);
	assert_tls(port, BYTES(AS_HTTP1), "http/1.1", BYTES(PREFACE), SETTINGS);
}

static void test_plaintext(void **state)
{
	struct auto_port *port = *state;

	listen_with(port, handler, stream_handler);
	assert_plain(port, BYTES(GET), REQUEST "http/1.1 plain .");
	assert_int_equal(atomic_load(&port->calls), 1);
	assert_plain(port, BYTES("hello, bytes"), "hello, bytes");
	assert_plain(port, BYTES("\x01\x02\x03 bytes"), "\x01\x02\x03 bytes");
	assert_plain(port, BYTES("\x16\x03\x01\x7f\x7fhello"), "hello"); /* no ClientHello */
	/* HTTP/1.0 is not among istiod's protocols here */
	assert_plain(port, BYTES("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(atomic_load(&port->calls), 1);
	assert_int_equal(atomic_load(&port->streams), 4);
}

static void test_streams_over_tls(void **state)
{
	struct auto_port *port = *state;

	listen_with(port, handler, stream_handler);
	assert_tls(port, BYTES(AS_TCP), "istio-peer-exchange", BYTES("hello, bytes"), BYTES("hello, bytes"));
	assert_tls(port, BYTES("\x05istio\x02h2"), "h2", BYTES(PREFACE), BYTES(PREFACE));
	assert_tls(port, BYTES("\x05istio"), "", BYTES(GET), BYTES(GET));
	assert_int_equal(atomic_load(&port->calls), 0);
	assert_int_equal(atomic_load(&port->streams), 3);
}

/* A ClientHello of TLS that is not the mesh's. */
static size_t foreign_hello(struct auto_port *port, char *hello, size_t room)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct tls tls;
	int len;

	tls_init(&tls, port, BYTES("\x02h2\x08http/1.1"));
	SSL_set_bio(tls.ssl, in, out);
	assert_int_equal(SSL_set_tlsext_host_name(tls.ssl, "bank.example.com"), 1);
	assert_int_equal(SSL_connect(tls.ssl), -1);
	len = BIO_read(out, hello, (int)room);
	assert_true(len > 100 && len < (int)room);
	tls_free(&tls);
	return (size_t)len;
}

/* It goes through to the application, whose own TLS it is, and not a byte of it is missing or another's. */
static void test_foreign_tls_passes_through(void **state)
{
	struct auto_port *port = *state;
	char hello[4096], got[4096];
	size_t len, have = 0;
	int fd;

	listen_with(port, handler, stream_handler);
	len = foreign_hello(port, hello, sizeof(hello));
	for (int split = 0; split < 2; split++) {
		fd = raw_connect(port->port);
		if (split) {
			assert_true(raw_send(fd, hello, len / 2));
			usleep(50000);
		}
		assert_true(raw_send(fd, hello + (split ? len / 2 : 0), len - (split ? len / 2 : 0)));
		for (have = 0; have < len;) {
			ssize_t n = recv(fd, got + have, len - have, 0);

			assert_true(n > 0);
			have += (size_t)n;
		}
		assert_memory_equal(got, hello, len);
		close(fd);
	}
	assert_int_equal(atomic_load(&port->streams), 2);
	assert_int_equal(atomic_load(&port->calls), 0);
	/* nobody to give it to */
	listen_with(port, handler, NULL);
	fd = raw_connect(port->port);
	assert_true(raw_send(fd, hello, len));
	assert_true(raw_closed(fd));
	close(fd);
	assert_int_equal(atomic_load(&port->listener->stats.cx_no_chain), 1);
}

/* Without a stream handler what takes a TCP chain may still be HTTP, and is served as its first bytes tell. */
static void test_requests_on_a_tcp_chain(void **state)
{
	struct auto_port *port = *state;

	listen_with(port, handler, NULL);
	assert_tls(port, BYTES("\x05istio"), "", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	/* what is agreed there is how the mesh carries bytes, not what they are */
	assert_tls(port, BYTES("\x05istio\x02h2"), "h2", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	assert_tls(port, BYTES("\x05istio"), "", BYTES(PREFACE), SETTINGS);
	/* nobody would read the metadata that is exchanged under that name: it is not agreed on */
	assert_tls(port, BYTES(AS_TCP), "", BYTES(GET), BYTES(REQUEST "http/1.1 mutual " ALICE "."));
	assert_plain(port, BYTES("hello, bytes\r\n\r\n"), "HTTP/1.1 400 ");
	assert_int_equal(atomic_load(&port->calls), 3);
}

/* What policies judge by requests is not handed out as bytes. */
static void test_no_request_handler(void **state)
{
	struct auto_port *port = *state;
	char got[4096];
	int fd;

	listen_with(port, NULL, stream_handler);
	fd = raw_connect(port->port);
	assert_true(raw_say(fd, GET));
	assert_int_equal(raw_rest(fd, got, sizeof(got)), 0);
	close(fd);
	assert_plain(port, BYTES("hello, bytes"), "hello, bytes");
	assert_int_equal(atomic_load(&port->streams), 1);
	assert_int_equal(atomic_load(&port->listener->stats.cx_no_chain), 1);
}

/* Who says nothing until the time for it is over is taken for a stream of bytes, which its server may begin. */
static void speak_first(struct mesh_stream *stream, void *user)
{
	assert_int_equal(mesh_stream_write(stream, MESH_SLICE("220 ready")), 9);
	stream_handler(stream, user);
}

static void test_server_first(void **state)
{
	struct auto_port *port = *state;
	char got[256] = "";
	int fd;

	port->filters_ns = 100000000;
	listen_with(port, handler, speak_first);
	fd = raw_connect(port->port);
	assert_true(raw_until(fd, got, sizeof(got), "220 ready"));
	assert_true(raw_say(fd, "EHLO"));
	assert_true(raw_until(fd, got, sizeof(got), "EHLO"));
	close(fd);
	assert_int_equal(atomic_load(&port->streams), 1);
	assert_int_equal(atomic_load(&port->listener->stats.cx_pre_timeout), 1);
	/* without anybody for streams it may still become a request */
	listen_with(port, handler, NULL);
	fd = raw_connect(port->port);
	while (!atomic_load(&port->listener->stats.cx_pre_timeout))
		usleep(1000);
	assert_true(raw_say(fd, GET));
	got[0] = '\0';
	assert_true(raw_until(fd, got, sizeof(got), REQUEST "http/1.1 plain ."));
	close(fd);
}

/* Configuration that would not let a stream in any more ends it, in the time a listener has to drain. */
static void edit_strict(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	struct auto_port *port = plane->user;

	edit_listener(plane, listener, inbound);
	if (inbound && port->strict)
		listener->chain_count = 1; /* the first: mutual TLS and HTTP */
}

static void test_superseded_stream(void **state)
{
	struct auto_port *port = *state;
	char got[64] = "";
	int fd;

	port->plane.edit_listener = edit_strict;
	listen_with(port, handler, stream_handler);
	fd = raw_connect(port->port);
	assert_true(raw_say(fd, "hello,"));
	assert_true(raw_until(fd, got, sizeof(got), "hello,"));
	port->strict = true;
	data_plane_publish(&port->plane);
	mesh_workers_wake(port->plane.mesh);
	assert_true(raw_say(fd, "still")); /* what is under way ends well */
	assert_true(raw_until(fd, got, sizeof(got), "hello,still"));
	close(fd);
	fd = raw_connect(port->port);
	assert_true(raw_say(fd, "hello,"));
	assert_true(raw_closed(fd));
	close(fd);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_port, close_port)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_requests_over_tls),
		CASE(test_codec),
		CASE(test_plaintext),
		CASE(test_streams_over_tls),
		CASE(test_foreign_tls_passes_through),
		CASE(test_requests_on_a_tcp_chain),
		CASE(test_no_request_handler),
		CASE(test_server_first),
		CASE(test_superseded_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
