/* SPDX-License-Identifier: Apache-2.0 */
/* Mutual TLS over real sockets: who is let in on either side, what is refused, and what changes under live traffic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"
#define EVE "spiffe://cluster.local/ns/default/sa/eve"
#define ABROAD "spiffe://other.domain/ns/default/sa/bob"
#define GET "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"

/*
 * Two meshes in one process, so that each side has its own certificate and trust: `server` listens, `client` calls.
 */
struct pair {
	struct test_ca ca, other;
	struct data_plane client, server;
	struct mesh_listener *listener;
	atomic_int calls;
	char identity[256], xfcc[1024]; /* as the handler saw them last */
	bool tls, mutual;
	enum forward_client_cert forward;
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void keep(char *into, size_t room, struct mesh_slice value)
{
	snprintf(into, room, "%.*s", (int)value.len, value.data ? value.data : "");
}

static void handler(struct mesh_call *call, void *user)
{
	struct pair *pair = user;
	const struct mesh_peer *peer = mesh_call_peer(call);

	keep(pair->identity, sizeof(pair->identity), peer->identity);
	keep(pair->xfcc, sizeof(pair->xfcc), mesh_call_header(call, "x-forwarded-client-cert"));
	pair->tls = peer->tls;
	pair->mutual = peer->mutual;
	atomic_fetch_add(&pair->calls, 1);
	mesh_call_respond(call, 200, NULL, 0, text("hello"), true);
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct pair *pair = plane->user;

	chain->http->forward_cert = pair->forward;
	chain->http->xfcc_subject = chain->http->xfcc_uri = chain->http->xfcc_dns = true;
}

/* A caller that may say whom it speaks for: the outbound side would take that away. */
static void trusted_caller(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->http->forward_cert = FORWARD_CERT_ALWAYS_FORWARD_ONLY;
}

static void show(struct data_plane *plane, const struct test_ca *issuer, const struct test_leaf *leaf, const struct test_ca *roots)
{
	struct secret *certificate = plane->certificate, *trusted = plane->roots;

	plane->certificate = test_ca_secret(issuer, leaf);
	plane->roots = test_ca_roots(roots);
	data_plane_publish(plane);
	mesh_secret_release(certificate);
	mesh_secret_release(trusted);
}

static void good(struct pair *pair)
{
	show(&pair->server, &pair->ca, &(struct test_leaf){.uri = BOB}, &pair->ca);
	show(&pair->client, &pair->ca, &(struct test_leaf){.uri = EVE}, &pair->ca);
}

static int open_pair(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = pair, .address = "127.0.0.1",
					      .request_bytes_max = 1000, .grace_ms = 100};

	test_ca_make(&pair->ca);
	test_ca_make(&pair->other);
	assert_int_equal(data_plane_open(&pair->client, 1, NULL), 0);
	assert_int_equal(data_plane_open(&pair->server, 1, NULL), 0);
	pair->server.inbound = DATA_PLANE_STRICT;
	pair->server.edit_chain = edit_chain;
	pair->server.user = pair;
	pair->forward = FORWARD_CERT_APPEND_FORWARD;
	pair->client.client_tls = &data_plane_istio_client;
	assert_int_equal(mesh_listen(pair->server.mesh, &options, &pair->listener), 0);
	pair->client.ports[pair->client.port_count++] = mesh_listener_port(pair->listener);
	good(pair);
	*state = pair;
	return 0;
}

static int close_pair(void **state)
{
	struct pair *pair = *state;

	data_plane_close(&pair->client);
	data_plane_close(&pair->server);
	mesh_secret_release(pair->client.certificate);
	mesh_secret_release(pair->client.roots);
	mesh_secret_release(pair->server.certificate);
	mesh_secret_release(pair->server.roots);
	test_ca_free(&pair->ca);
	test_ca_free(&pair->other);
	free(pair);
	return 0;
}

static uint16_t port_of(const struct pair *pair)
{
	return pair->client.ports[0];
}

static struct mesh_call *call(struct pair *pair, const struct mesh_header *header)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .headers = header,
				       .header_count = header ? 1 : 0};
	struct mesh_call *made;

	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &made), 0);
	assert_int_not_equal(mesh_call_wait(made, 10000), MESH_ERROR_AGAIN);
	return made;
}

/* `second`: another error that is as good, where it depends on who speaks first; 0: none. */
static void expect(struct pair *pair, int status, int second, const char *word)
{
	int before = atomic_load(&pair->calls);
	struct mesh_call *made = call(pair, NULL);
	const struct mesh_result *result = mesh_call_result(made);

	if (result->status != status && (!second || result->status != second))
		fail_msg("expected %s, got %s (%.*s)", mesh_error_name(status), mesh_error_name(result->status), (int)result->why.len,
			 result->why.data ? result->why.data : "");
	if (word && result->status == status && !memmem(result->why.data, result->why.len, word, strlen(word)))
		fail_msg("expected \"%s\" in \"%.*s\"", word, (int)result->why.len, result->why.data);
	assert_int_equal(atomic_load(&pair->calls) - before, status == 0);
	mesh_call_release(made);
}

static void test_good_pair(void **state)
{
	struct pair *pair = *state;
	struct mesh_call *made = call(pair, NULL);
	const struct mesh_peer *peer = mesh_call_peer(made);

	assert_int_equal(mesh_call_http_status(made), 200);
	assert_true(peer->tls && peer->mutual);
	assert_true(mesh_slice_equal(peer->identity, text(BOB)));
	assert_true(mesh_slice_equal(peer->tls_version, text("TLSv1.3")));
	assert_true(pair->tls && pair->mutual);
	assert_string_equal(pair->identity, EVE);
	mesh_call_release(made);
}

/* The client's side decides about the server. */
static void test_server_that_is_not_who_it_should_be(void **state)
{
	static const struct test_leaf bob = {.uri = BOB}, eve = {.uri = EVE}, abroad = {.uri = ABROAD}, named = {.dns = "bob"},
				      nobody = {0}, past = {.uri = BOB, .not_before_s = -7200, .not_after_s = -3600},
				      future = {.uri = BOB, .not_before_s = 3600, .not_after_s = 7200},
				      longer = {.uri = BOB "x"};
	struct pair *pair = *state;

	show(&pair->server, &pair->ca, &eve, &pair->ca);
	expect(pair, MESH_ERROR_PEER_IDENTITY, 0, EVE);
	show(&pair->server, &pair->ca, &abroad, &pair->ca);
	expect(pair, MESH_ERROR_PEER_IDENTITY, 0, ABROAD);
	show(&pair->server, &pair->ca, &longer, &pair->ca);
	expect(pair, MESH_ERROR_PEER_IDENTITY, 0, BOB "x");
	show(&pair->server, &pair->ca, &named, &pair->ca);
	expect(pair, MESH_ERROR_PEER_IDENTITY, 0, BOB);
	show(&pair->server, &pair->ca, &nobody, &pair->ca);
	expect(pair, MESH_ERROR_PEER_IDENTITY, 0, BOB);
	show(&pair->server, &pair->other, &bob, &pair->ca);
	expect(pair, MESH_ERROR_TLS, 0, NULL);
	show(&pair->server, &pair->ca, &past, &pair->ca);
	expect(pair, MESH_ERROR_TLS, 0, "expired");
	show(&pair->server, &pair->ca, &future, &pair->ca);
	expect(pair, MESH_ERROR_TLS, 0, "not yet valid");
	good(pair);
	expect(pair, 0, 0, NULL);
}

/* Without roots it is TLS with somebody: no name is passed on. */
static void test_name_of_an_unverified_server(void **state)
{
	static struct tls_config blind;
	struct pair *pair = *state;
	struct mesh_call *made;

	show(&pair->server, &pair->other, &(struct test_leaf){.uri = BOB}, &pair->ca);
	blind = data_plane_istio_client;
	blind.roots_name = (struct mesh_slice){NULL, 0};
	blind.san_count = 0;
	pair->client.client_tls = &blind;
	data_plane_publish(&pair->client);
	made = call(pair, NULL);
	assert_int_equal(mesh_call_http_status(made), 200);
	assert_true(mesh_call_peer(made)->tls);
	assert_false(mesh_call_peer(made)->mutual);
	assert_int_equal(mesh_call_peer(made)->identity.len, 0);
	mesh_call_release(made);
}

static void unsupported_choice(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->fallback.unsupported = true;
}

/* A peer that would have to show the request's host as its name: nobody checks that, so nobody is called. */
static void test_names_by_host_fail_closed(void **state)
{
	static struct tls_config by_host;
	struct pair *pair = *state;

	by_host = data_plane_istio_client;
	by_host.san_count = 0;
	by_host.sni = (struct mesh_slice){NULL, 0};
	by_host.upstream_auto_sni = by_host.upstream_auto_san = true;
	pair->client.client_tls = &by_host;
	data_plane_publish(&pair->client);
	expect(pair, MESH_ERROR_NO_ENDPOINT, 0, "takes a name of TLS from the request, and there is none");
	pair->client.edit_cluster = unsupported_choice;
	data_plane_publish(&pair->client);
	expect(pair, MESH_ERROR_NO_ENDPOINT, 0, "whose transport socket is supported");
}

static atomic_bool relay_open;
static struct cluster_config *replaced; /* the first one published, a reference held */

/* Between client and server: lets a handshake begin, and go on only when told. */
static void relay(struct raw_server *server, int fd, unsigned number)
{
	const uint16_t *port = server->user;
	struct pollfd ends[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
	char bytes[16384];
	ssize_t n = 1;

	while (!atomic_load(&relay_open))
		usleep(1000);
	ends[1].fd = raw_connect(*port);
	while (n > 0 && poll(ends, 2, 10000) > 0)
		for (int i = 0; i < 2 && n > 0; i++)
			if (ends[i].revents) {
				n = recv(ends[i].fd, bytes, sizeof(bytes), 0);
				if (n > 0 && !raw_send(ends[!i].fd, bytes, (size_t)n))
					n = 0;
			}
	close(ends[1].fd);
}

static void name_by_regex(struct data_plane *plane, struct cluster_config *cluster)
{
	struct tls_config *tls = mesh_arena_array(&cluster->object.arena, 1, sizeof(*tls));
	struct why why;

	assert_non_null(tls);
	*tls = data_plane_istio_client;
	tls->sans = mesh_arena_array(&cluster->object.arena, 1, sizeof(*tls->sans));
	tls->san_count = 1;
	assert_non_null(tls->sans);
	tls->sans[0] = (struct string_match){STRING_MATCH_REGEX, false, text("spiffe://.*/sa/bob"), NULL};
	assert_int_equal(mesh_config_object_regex(&cluster->object, tls->sans[0].text, &tls->sans[0].regex, &why), 0);
	cluster->fallback.tls = tls;
	if (!replaced)
		replaced = mesh_config_object_retain(cluster);
}

/* The name is matched when the handshake ends, also when its cluster has been replaced and the caller is gone. */
static void test_cluster_replaced_during_the_handshake(void **state)
{
	struct pair *pair = *state;
	uint16_t real = port_of(pair);
	struct raw_server front = {.serve = relay, .user = &real};
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080")};
	struct mesh_call *first, *second;
	struct mesh_worker *worker;

	atomic_store(&relay_open, false);
	replaced = NULL;
	raw_server_start(&front);
	pair->client.ports[0] = front.port;
	pair->client.edit_cluster = name_by_regex;
	data_plane_publish(&pair->client);
	assert_int_equal(mesh_worker_new(pair->client.mesh, &worker), 0);
	request.worker = worker;
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &first), 0);
	while (!atomic_load(&front.accepted))
		mesh_worker_run(worker, 1);
	mesh_call_cancel(first);
	mesh_worker_run(worker, 0);
	mesh_call_release(first);
	data_plane_publish(&pair->client);
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &second), 0);
	mesh_worker_run(worker, 1);
	/* held by the connection, else freed memory would be matched: in the library of patterns no sanitizer looks */
	assert_true(atomic_load(&replaced->object.item.ref.count) > 1);
	mesh_config_object_release(replaced);
	atomic_store(&relay_open, true);
	assert_int_not_equal(mesh_call_wait(second, 10000), MESH_ERROR_AGAIN);
	assert_int_equal(mesh_call_http_status(second), 200);
	assert_true(mesh_slice_equal(mesh_call_peer(second)->identity, text(BOB)));
	mesh_call_release(second);
	mesh_worker_free(worker);
	raw_server_stop(&front);
}

/*
 * The server's side decides about the client. With TLS 1.3 the client learns of it when it reads: as a failed call, never
 * as an answer.
 */
static void test_client_that_is_not_let_in(void **state)
{
	static const struct test_leaf eve = {.uri = EVE}, abroad = {.uri = ABROAD}, nobody = {0},
				      past = {.uri = EVE, .not_before_s = -7200, .not_after_s = -3600};
	static struct tls_config bare;
	struct pair *pair = *state;

	show(&pair->client, &pair->ca, &abroad, &pair->ca);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	show(&pair->client, &pair->ca, &nobody, &pair->ca);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	show(&pair->client, &pair->other, &eve, &pair->ca);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	show(&pair->client, &pair->ca, &past, &pair->ca);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	bare = data_plane_istio_client;
	bare.certificate_name = (struct mesh_slice){NULL, 0};
	pair->client.client_tls = &bare;
	show(&pair->client, &pair->ca, &eve, &pair->ca);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	assert_true(atomic_load(&pair->listener->stats.cx_ssl_error) >= 5);
	pair->client.client_tls = &data_plane_istio_client;
	good(pair);
	expect(pair, 0, 0, NULL);
}

static void test_strict_refuses_plaintext(void **state)
{
	struct pair *pair = *state;
	char got[4096];
	int fd = raw_connect(port_of(pair));

	raw_say(fd, GET);
	assert_int_equal(raw_rest(fd, got, sizeof(got)), 0);
	close(fd);
	pair->client.client_tls = NULL;
	data_plane_publish(&pair->client);
	expect(pair, MESH_ERROR_RESET, 0, NULL);
	assert_int_equal(atomic_load(&pair->calls), 0);
}

static void test_permissive_takes_both_on_one_port(void **state)
{
	struct pair *pair = *state;
	char got[4096];
	int fd;

	pair->server.inbound = DATA_PLANE_PERMISSIVE;
	data_plane_publish(&pair->server);
	expect(pair, 0, 0, NULL);
	assert_string_equal(pair->identity, EVE);
	for (int drip = 0; drip < 2; drip++) {
		fd = raw_connect(port_of(pair));
		assert_true(drip ? raw_drip(fd, GET, strlen(GET)) : raw_say(fd, GET));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_memory_equal(got, "HTTP/1.1 200", 12);
		assert_string_equal(pair->identity, "");
		assert_false(pair->tls || pair->mutual);
		close(fd);
	}
	/* TLS without a client certificate is TLS: not let in as plaintext would be */
	static struct tls_config bare;

	bare = data_plane_istio_client;
	bare.certificate_name = (struct mesh_slice){NULL, 0};
	pair->client.client_tls = &bare;
	data_plane_publish(&pair->client);
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
}

/* What looks like a ClientHello and is none, broken off anywhere: refused, and others are served. */
static void test_garbage_for_a_client_hello(void **state)
{
	static const char *const starts[] = {"\x16\x03\x01", "\x16\x03\x01\x02", "\x16\x03\x01\x40\x01", "\x16\x03\x01\x02\x01\x01",
					     "\x15\x03\x01\x02\x02\x28", "\x17\x03\x03\x01\x11", "\x80\x2e\x01\x03"};
	struct pair *pair = *state;
	unsigned seed = 1;

	for (int permissive = 0; permissive < 2; permissive++) {
		pair->server.inbound = permissive ? DATA_PLANE_PERMISSIVE : DATA_PLANE_STRICT;
		data_plane_publish(&pair->server);
		for (int i = 0; i < 140; i++) {
			size_t start = strlen(starts[i % 7]);
			char bytes[700], got[4096];
			int fd = raw_connect(port_of(pair));

			for (size_t at = 0; at < sizeof(bytes); at++) {
				seed = seed * 1103515245 + 12345;
				bytes[at] = (char)(seed >> 16);
			}
			memcpy(bytes, starts[i % 7], start);
			raw_send(fd, bytes, (size_t)i * 5 % sizeof(bytes) + 1);
			shutdown(fd, SHUT_WR);
			raw_rest(fd, got, sizeof(got));
			assert_null(strstr(got, " 200 "));
			close(fd);
		}
		assert_int_equal(atomic_load(&pair->calls), permissive);
		expect(pair, 0, 0, NULL);
	}
}

static void write_file(const char *path, struct mesh_slice content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && write(fd, content.data, content.len) == (ssize_t)content.len);
	close(fd);
}

/* Runs `openssl s_client` with the client's certificate; its output as a string. */
static void s_client(struct pair *pair, const char *options, const char *input, char *output, size_t room)
{
	char folder[] = "/tmp/mesh-tls-test-XXXXXX", path[64], command[1024];
	FILE *out;
	size_t len;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/cert", folder);
	write_file(path, pair->client.certificate->chain_pem);
	snprintf(path, sizeof(path), "%s/key", folder);
	write_file(path, pair->client.certificate->key_pem);
	snprintf(command, sizeof(command),
		 "cd %s && (%s) | timeout 10 openssl s_client -connect 127.0.0.1:%u -cert cert -key key %s 2>&1", folder, input,
		 port_of(pair), options);
	out = popen(command, "r");
	assert_non_null(out);
	len = fread(output, 1, room - 1, out);
	output[len] = '\0';
	pclose(out);
	snprintf(command, sizeof(command), "%s/cert", folder);
	unlink(command);
	snprintf(command, sizeof(command), "%s/key", folder);
	unlink(command);
	rmdir(folder);
}

/* A request, and time for its answer. */
#define ASK "printf 'GET / HTTP/1.1\\r\\nHost: reviews\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1"

static void test_versions(void **state)
{
	static struct tls_config strict;
	struct pair *pair = *state;
	char said[65536];

	s_client(pair, "-quiet -no_ign_eof -tls1_2", ASK, said, sizeof(said));
	assert_non_null(strstr(said, "HTTP/1.1 200"));
	s_client(pair, "-quiet -no_ign_eof -tls1_3", ASK, said, sizeof(said));
	assert_non_null(strstr(said, "HTTP/1.1 200"));
	s_client(pair, "-tls1_1 -cipher ALL:@SECLEVEL=0", ASK, said, sizeof(said));
	assert_null(strstr(said, "HTTP/1.1"));
	s_client(pair, "-tls1 -cipher ALL:@SECLEVEL=0", ASK, said, sizeof(said));
	assert_null(strstr(said, "HTTP/1.1"));
	strict = data_plane_istio_server;
	strict.min = TLS_VERSION_1_3;
	pair->server.server_tls = &strict;
	data_plane_publish(&pair->server);
	s_client(pair, "-tls1_2", ASK, said, sizeof(said));
	assert_null(strstr(said, "HTTP/1.1"));
	assert_int_equal(atomic_load(&pair->calls), 2);
	expect(pair, 0, 0, NULL);
}

/* TLS 1.2 renegotiation ("R" at the start of a line of s_client) is refused. */
static void test_renegotiation(void **state)
{
	struct pair *pair = *state;
	char said[65536];

	s_client(pair, "-tls1_2", "sleep 0.3; echo R; sleep 0.5; " ASK, said, sizeof(said));
	assert_non_null(strstr(said, "RENEGOTIATING"));
	assert_null(strstr(said, "HTTP/1.1 200"));
	assert_int_equal(atomic_load(&pair->calls), 0);
	expect(pair, 0, 0, NULL);
}

static void test_alpn(void **state)
{
	struct pair *pair = *state;
	char said[65536];

	s_client(pair, "-no_ign_eof -alpn istio-http/1.1,istio,http/1.1", ASK, said, sizeof(said));
	assert_non_null(strstr(said, "ALPN protocol: http/1.1"));
	assert_non_null(strstr(said, "HTTP/1.1 200"));
	/* nothing in common, as Envoy: goes on without */
	s_client(pair, "-no_ign_eof -alpn istio", ASK, said, sizeof(said));
	assert_non_null(strstr(said, "No ALPN negotiated"));
	assert_non_null(strstr(said, "HTTP/1.1 200"));
}

static void test_sessions_are_resumed(void **state)
{
	struct pair *pair = *state;
	struct mesh_call *made;

	for (int i = 0; i < 4; i++) {
		made = call(pair, NULL);
		assert_int_equal(mesh_call_http_status(made), 200);
		assert_true(mesh_slice_equal(mesh_call_peer(made)->identity, text(BOB)));
		assert_string_equal(pair->identity, EVE);
		mesh_call_release(made);
		/* ends the client's connections: the server closes them */
		mesh_listener_close(pair->listener);
		struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = pair, .address = "127.0.0.1",
						      .request_bytes_max = 1000, .grace_ms = 100, .port = port_of(pair)};
		assert_int_equal(mesh_listen(pair->server.mesh, &options, &pair->listener), 0);
	}
	struct buf stats;

	mesh_buf_init(&stats, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&pair->client.mesh->registry, &stats), 0);
	mesh_buf_append(&stats, mesh_slice_make("", 1));
	assert_non_null(strstr(mesh_buf_slice(&stats).data, "ssl.handshake: 4"));
	assert_non_null(strstr(mesh_buf_slice(&stats).data, "ssl.session_reused: 3"));
	mesh_buf_free(&stats);
}

/* A session from before does not carry trust that was withdrawn since. */
static void test_trust_withdrawn(void **state)
{
	static const struct test_leaf bob = {.uri = BOB}, eve = {.uri = EVE};
	struct pair *pair = *state;

	expect(pair, 0, 0, NULL);
	show(&pair->server, &pair->ca, &bob, &pair->other);
	data_plane_publish(&pair->client); /* a cluster of its own again: connections are made anew */
	expect(pair, MESH_ERROR_TLS, MESH_ERROR_RESET, NULL);
	good(pair);
	expect(pair, 0, 0, NULL);
	show(&pair->client, &pair->ca, &eve, &pair->other);
	expect(pair, MESH_ERROR_TLS, 0, NULL);
	good(pair);
	expect(pair, 0, 0, NULL);
}

/* A peer that keeps its first answer, and the ticket that goes with it, until it is told. */
struct late_peer {
	struct pair *pair;
	SSL_CTX *ctx;
	atomic_bool go_on;
};

static int take_any(int verified, X509_STORE_CTX *store)
{
	return 1;
}

static SSL_CTX *late_context(const struct secret *certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	BIO *chain = BIO_new_mem_buf(certificate->chain_pem.data, (int)certificate->chain_pem.len);
	BIO *key = BIO_new_mem_buf(certificate->key_pem.data, (int)certificate->key_pem.len);
	X509 *leaf = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, pkey), 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, take_any);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"late", 4);
	SSL_CTX_set_num_tickets(ctx, 0);
	X509_free(leaf);
	EVP_PKEY_free(pkey);
	BIO_free(chain);
	BIO_free(key);
	return ctx;
}

static void serve_late(struct raw_server *server, int fd, unsigned number)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	struct late_peer *peer = (struct late_peer *)server->user;
	SSL *ssl = SSL_new(peer->ctx);
	char request[4096];

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof(request)) > 0) {
		while (!atomic_load(&peer->go_on))
			usleep(1000);
		SSL_new_session_ticket(ssl);
		SSL_write(ssl, answer, sizeof(answer) - 1);
		SSL_shutdown(ssl);
		while (SSL_read(ssl, request, sizeof(request)) > 0)
			;
	}
	SSL_free(ssl);
}

static struct mesh_call *begin(struct pair *pair, uint32_t wait_ms)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080")};
	struct mesh_call *made;

	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &made), 0);
	mesh_call_wait(made, wait_ms);
	return made;
}

/* Trust is withdrawn while a connection lives; the session it is given then was made under the old trust. */
static void test_a_ticket_after_trust_was_withdrawn(void **state)
{
	static const struct test_leaf eve = {.uri = EVE};
	struct pair *pair = *state;
	struct late_peer peer = {.pair = pair, .ctx = late_context(pair->server.certificate)};
	struct raw_server server = {.serve = serve_late, .user = &peer};
	struct mesh_call *first, *second;

	raw_server_start(&server);
	pair->client.ports[0] = server.port;
	data_plane_publish(&pair->client);
	first = begin(pair, 300);
	show(&pair->client, &pair->ca, &eve, &pair->other);
	second = begin(pair, 100); /* dials under the new trust, before the ticket */
	atomic_store(&peer.go_on, true);
	mesh_call_wait(first, 10000);
	assert_int_equal(mesh_call_http_status(first), 200);
	mesh_call_wait(second, 10000);
	assert_int_equal(mesh_call_result(second)->status, MESH_ERROR_TLS);
	mesh_call_release(first);
	mesh_call_release(second);
	expect(pair, MESH_ERROR_TLS, 0, NULL);
	raw_server_stop(&server);
	SSL_CTX_free(peer.ctx);
}

static void test_xfcc(void **state)
{
	static const struct mesh_header forged = {{"x-forwarded-client-cert", 23}, {"By=x;URI=spiffe://forged", 24}};
	static const struct {
		enum forward_client_cert how;
		bool old, own;
	} cases[] = {
		{FORWARD_CERT_SANITIZE, false, false},
		{FORWARD_CERT_FORWARD_ONLY, true, false},
		{FORWARD_CERT_APPEND_FORWARD, true, true},
		{FORWARD_CERT_SANITIZE_SET, false, true},
		{FORWARD_CERT_ALWAYS_FORWARD_ONLY, true, false},
	};
	struct pair *pair = *state;
	char got[4096];

	pair->client.edit_chain = trusted_caller;
	data_plane_publish(&pair->client);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pair->forward = cases[i].how;
		pair->server.inbound = DATA_PLANE_PERMISSIVE;
		data_plane_publish(&pair->server);
		mesh_call_release(call(pair, &forged));
		assert_int_equal(strstr(pair->xfcc, "spiffe://forged") != NULL, cases[i].old);
		assert_int_equal(strstr(pair->xfcc, "By=" BOB ";Hash=") != NULL, cases[i].own);
		assert_int_equal(strstr(pair->xfcc, ";URI=" EVE) != NULL, cases[i].own);
		assert_int_equal(strstr(pair->xfcc, ";Subject=\"") != NULL, cases[i].own);
		/* over plaintext nobody may claim to have been somebody */
		int fd = raw_connect(port_of(pair));

		assert_true(raw_say(fd, "GET / HTTP/1.1\r\nHost: reviews\r\nX-Forwarded-Client-Cert: URI=spiffe://forged\r\n\r\n"));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_int_equal(strstr(pair->xfcc, "spiffe://forged") != NULL, cases[i].how == FORWARD_CERT_ALWAYS_FORWARD_ONLY);
		close(fd);
	}
}

struct caller {
	struct pair *pair;
	atomic_int failed, done;
	atomic_bool stop;
};

static void *call_in_a_loop(void *argument)
{
	struct caller *caller = argument;

	while (!atomic_load(&caller->stop)) {
		struct mesh_call *made = call(caller->pair, NULL);

		if (mesh_call_result(made)->status || mesh_call_http_status(made) != 200)
			atomic_fetch_add(&caller->failed, 1);
		atomic_fetch_add(&caller->done, 1);
		mesh_call_release(made);
	}
	return NULL;
}

static void quiet_handler(struct mesh_call *made, void *user)
{
	mesh_call_respond(made, 200, NULL, 0, text("hello"), true);
}

static void test_certificates_swapped_under_load(void **state)
{
	struct pair *pair = *state;
	struct caller caller = {.pair = pair};
	struct mesh_listen_options options = {.size = sizeof(options), .handler = quiet_handler, .address = "127.0.0.1",
					      .request_bytes_max = 1000, .grace_ms = 100};
	struct mesh_listener *listener;
	pthread_t threads[3];

	assert_int_equal(mesh_listen(pair->server.mesh, &options, &listener), 0);
	pair->client.ports[0] = mesh_listener_port(listener);
	data_plane_publish(&pair->client);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, call_in_a_loop, &caller);
	for (int i = 0; i < 20; i++) {
		int seen = atomic_load(&caller.done);

		show(i % 2 ? &pair->server : &pair->client, &pair->ca, &(struct test_leaf){.uri = i % 2 ? BOB : EVE}, &pair->ca);
		while (atomic_load(&caller.done) < seen + 20)
			usleep(1000);
	}
	atomic_store(&caller.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&caller.failed), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_good_pair),
		CASE(test_server_that_is_not_who_it_should_be),
		CASE(test_name_of_an_unverified_server),
		CASE(test_names_by_host_fail_closed),
		CASE(test_cluster_replaced_during_the_handshake),
		CASE(test_client_that_is_not_let_in),
		CASE(test_strict_refuses_plaintext),
		CASE(test_permissive_takes_both_on_one_port),
		CASE(test_garbage_for_a_client_hello),
		CASE(test_versions),
		CASE(test_renegotiation),
		CASE(test_alpn),
		CASE(test_sessions_are_resumed),
		CASE(test_a_ticket_after_trust_was_withdrawn),
		CASE(test_trust_withdrawn),
		CASE(test_xfcc),
		CASE(test_certificates_swapped_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
