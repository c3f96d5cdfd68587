/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between two of our own transports over a socket pair: who is let in, who is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls_context.h"
#include "net/transport.h"
#include "support/test_ca.h"

static const struct log silent;

struct pair {
	struct tls_store *store;
	struct transport *client, *server;
	struct tls_session *session;
	int client_rc, server_rc;
};

struct setup {
	struct secret *client_cert, *client_roots, *server_cert, *server_roots;
	const char *expect_uri;    /* client: exact SAN of the server */
	const char *trust_prefix;  /* server: prefix of the client's SAN */
	bool may_decline;          /* server: takes no certificate for an answer */
	enum tls_version max;
	struct tls_session *resume;
};

static void keep_session(void *user, struct tls_session *session)
{
	struct pair *pair = user;

	mesh_tls_session_release(pair->session);
	pair->session = mesh_tls_session_retain(session);
}

static void handshake(struct pair *pair)
{
	pair->client_rc = pair->server_rc = MESH_ERROR_AGAIN;
	for (int i = 0; i < 20; i++) {
		if (pair->client_rc == MESH_ERROR_AGAIN)
			pair->client_rc = pair->client->ops->handshake(pair->client);
		if (pair->client_rc < 0 && pair->client_rc != MESH_ERROR_AGAIN && pair->client->fd >= 0)
			shutdown(pair->client->fd, SHUT_WR);
		if (pair->server_rc == MESH_ERROR_AGAIN)
			pair->server_rc = pair->server->ops->handshake(pair->server);
	}
}

static void open_pair(struct pair *pair, const struct setup *setup)
{
	struct string_match expect = {STRING_MATCH_EXACT, false, mesh_slice_of(setup->expect_uri), NULL};
	struct string_match prefix = {STRING_MATCH_PREFIX, false, mesh_slice_of(setup->trust_prefix), NULL};
	struct tls_config client = {.max = setup->max, .certificate_name = MESH_SLICE("default"), .roots_name = MESH_SLICE("ROOTCA")};
	struct tls_config server = client;
	struct tls_client how = {.sni = MESH_SLICE("outbound_.80_._.x"), .resume = setup->resume, .session_new = keep_session,
				 .session_user = pair, .alpn = {"\x0eistio-http/1.1\x05istio\x08http/1.1", 30}};
	struct tls_context *server_context;
	struct why why = {{0}};
	int fds[2];

	server.alpn = mesh_slice_make("\x02h2\x08http/1.1", 12);
	server.require_client_certificate = true;
	server.sans = &prefix;
	server.san_count = setup->trust_prefix ? 1 : 0;
	if (!setup->server_roots)
		server.roots_name.len = 0;
	if (setup->may_decline) {
		server.require_client_certificate = false;
		server.san_count = 0;
	}
	if (!setup->client_roots)
		client.roots_name.len = 0;
	if (!setup->client_cert)
		client.certificate_name.len = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(mesh_tls_store_get(pair->store, &client, false, setup->client_cert, setup->client_roots, &how.context, &why), 0);
	assert_int_equal(mesh_tls_store_get(pair->store, &server, true, setup->server_cert, setup->server_roots, &server_context, &why), 0);
	how.sans = &expect;
	how.san_count = setup->expect_uri ? 1 : 0;
	assert_int_equal(mesh_transport_tls_client_new(&mesh_mem_default, fds[0], &how, &pair->client), 0);
	assert_int_equal(mesh_transport_tls_server_new(&mesh_mem_default, fds[1], server_context, (struct mesh_slice){NULL, 0}, &pair->server), 0);
	mesh_tls_context_release(how.context);
	mesh_tls_context_release(server_context);
	handshake(pair);
}

static void close_pair(struct pair *pair)
{
	mesh_transport_free(pair->client);
	mesh_transport_free(pair->server);
}

static const char alice[] = "spiffe://cluster.local/ns/default/sa/alice", bob[] = "spiffe://cluster.local/ns/default/sa/bob";

struct world {
	struct test_ca ca, other;
	struct secret *alice, *bob, *roots, *other_roots;
	struct tls_store *store;
};

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	test_ca_make(&w->ca);
	test_ca_make(&w->other);
	w->alice = test_ca_secret(&w->ca, &(struct test_leaf){.uri = alice});
	w->bob = test_ca_secret(&w->ca, &(struct test_leaf){.uri = bob, .dns = "bob.example"});
	w->roots = test_ca_roots(&w->ca);
	w->other_roots = test_ca_roots(&w->other);
	assert_int_equal(mesh_tls_store_new(&mesh_mem_default, &silent, &w->store), 0);
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;

	mesh_tls_store_free(w->store);
	mesh_secret_release(w->alice);
	mesh_secret_release(w->bob);
	mesh_secret_release(w->roots);
	mesh_secret_release(w->other_roots);
	test_ca_free(&w->ca);
	test_ca_free(&w->other);
	free(w);
	return 0;
}

static struct setup good(const struct world *w)
{
	return (struct setup){.client_cert = w->alice, .client_roots = w->roots, .server_cert = w->bob, .server_roots = w->roots,
			      .expect_uri = bob, .trust_prefix = "spiffe://cluster.local/"};
}

static void assert_slice(struct mesh_slice slice, const char *expected)
{
	assert_int_equal(slice.len, strlen(expected));
	assert_memory_equal(slice.data, expected, slice.len);
}

/* The server's ticket and the client's first bytes cross after the handshake. */
static void exchange_bytes(struct pair *pair)
{
	char data[100];
	bool drained;

	assert_int_equal(pair->server->ops->write(pair->server, MESH_SLICE("hello")), 5);
	assert_int_equal(pair->client->ops->read(pair->client, data, sizeof(data), &drained), 5);
	assert_true(drained);
	assert_int_equal(pair->client->ops->read(pair->client, data, sizeof(data), &drained), MESH_ERROR_AGAIN);
}

static void test_both_sides_know_each_other(void **state)
{
	struct world *w = *state;

	for (enum tls_version max = TLS_VERSION_1_2; max <= TLS_VERSION_1_3; max++) {
		struct setup setup = good(w);
		struct pair pair = {.store = w->store};

		setup.max = max;
		open_pair(&pair, &setup);
		assert_int_equal(pair.client_rc, 0);
		assert_int_equal(pair.server_rc, 0);
		assert_slice(pair.client->peer.identity, bob);
		assert_slice(pair.server->peer.identity, alice);
		assert_slice(pair.server->peer.local_uri, bob);
		assert_slice(pair.server->peer.sni, "outbound_.80_._.x");
		assert_slice(pair.client->peer.alpn, "http/1.1");
		assert_slice(pair.client->peer.tls_version, max == TLS_VERSION_1_2 ? "TLSv1.2" : "TLSv1.3");
		assert_slice(pair.client->peer.dns_sans[0], "bob.example");
		assert_slice(pair.server->peer.subject, "");
		assert_int_equal(pair.server->peer.sha256.len, 64);
		assert_true(pair.client->peer.mutual && pair.server->peer.mutual);
		exchange_bytes(&pair);
		close_pair(&pair);
		mesh_tls_session_release(pair.session);
	}
}

static void assert_words(const struct transport *transport, const char *part)
{
	if (!strstr(transport->why.text, part))
		fail_msg("\"%s\" lacks \"%s\"", transport->why.text, part);
}

static void test_wrong_authority(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};

	setup.client_roots = w->other_roots;
	open_pair(&pair, &setup);
	assert_int_equal(pair.client_rc, MESH_ERROR_TLS);
	assert_words(pair.client, "certificate verify failed");
	close_pair(&pair);
	setup = good(w);
	setup.server_roots = w->other_roots;
	pair = (struct pair){.store = w->store};
	open_pair(&pair, &setup);
	assert_int_equal(pair.server_rc, MESH_ERROR_TLS);
	assert_words(pair.server, "certificate verify failed");
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
}

static void test_wrong_identity(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};

	setup.expect_uri = alice;
	open_pair(&pair, &setup);
	assert_int_equal(pair.client_rc, MESH_ERROR_PEER_IDENTITY);
	assert_words(pair.client, bob);
	assert_words(pair.client, alice);
	close_pair(&pair);
	setup = good(w);
	setup.trust_prefix = "spiffe://other.domain/";
	pair = (struct pair){.store = w->store};
	open_pair(&pair, &setup);
	assert_int_equal(pair.server_rc, MESH_ERROR_PEER_IDENTITY);
	assert_words(pair.server, "spiffe://other.domain/");
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
}

static void test_bad_client_certificates(void **state)
{
	static const struct test_leaf leaves[] = {
		{.uri = alice, .not_before_s = -7200, .not_after_s = -3600}, /* expired */
		{.uri = alice, .not_before_s = 3600, .not_after_s = 7200},   /* not yet valid */
		{.uri = NULL},                                              /* names nobody */
		{.uri = "spiffe://elsewhere/ns/default/sa/alice"},
	};
	static const char *const words[] = {"expired", "not yet valid", "identity", "identity"};
	struct world *w = *state;

	for (size_t i = 0; i < 4; i++) {
		struct secret *secret = test_ca_secret(&w->ca, &leaves[i]);
		struct setup setup = good(w);
		struct pair pair = {.store = w->store};

		setup.client_cert = secret;
		open_pair(&pair, &setup);
		assert_true(pair.server_rc == MESH_ERROR_TLS || pair.server_rc == MESH_ERROR_PEER_IDENTITY);
		assert_words(pair.server, words[i]);
		close_pair(&pair);
		mesh_tls_session_release(pair.session);
		mesh_secret_release(secret);
	}
}

/* A name in a certificate that nobody vouches for is no name. */
static void test_no_roots_no_name(void **state)
{
	struct world *w = *state;
	struct secret *forged = test_ca_secret(&w->other, &(struct test_leaf){.uri = bob, .dns = "bob.example"});
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};

	setup.client_roots = NULL;
	setup.expect_uri = NULL;
	setup.server_cert = forged;
	open_pair(&pair, &setup);
	assert_int_equal(pair.client_rc, 0);
	assert_true(pair.client->peer.tls);
	assert_false(pair.client->peer.mutual);
	assert_int_equal(pair.client->peer.identity.len, 0);
	assert_int_equal(pair.client->peer.uri_san_count, 0);
	assert_int_equal(pair.client->peer.dns_san_count, 0);
	assert_int_equal(pair.client->peer.subject.len, 0);
	assert_int_equal(pair.client->peer.sha256.len, 0);
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
	mesh_secret_release(forged);
}

/* Mutual is what happened, not what we were ready for; a session resumed says what it began with. */
static void test_mutual_only_when_asked(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 6; i++) {
		struct setup setup = good(w);
		struct pair first = {.store = w->store}, second = {.store = w->store};
		bool shown = i % 3 == 0;

		setup.max = i < 3 ? TLS_VERSION_1_2 : TLS_VERSION_1_3;
		if (i % 3 == 1) { /* without roots a server asks for none */
			setup.server_roots = NULL;
			setup.may_decline = true;
		}
		if (i % 3 == 2) { /* asked, but there is none to show */
			setup.client_cert = NULL;
			setup.may_decline = true;
		}
		open_pair(&first, &setup);
		assert_int_equal(first.client_rc, 0);
		assert_int_equal(first.server_rc, 0);
		assert_int_equal(first.client->peer.mutual, shown);
		assert_int_equal(first.server->peer.mutual, shown);
		assert_slice(first.client->peer.identity, bob);
		exchange_bytes(&first);
		assert_non_null(first.session);
		setup.resume = first.session;
		open_pair(&second, &setup);
		assert_int_equal(second.client_rc, 0);
		assert_true(second.client->peer.resumed);
		assert_int_equal(second.client->peer.mutual, shown);
		close_pair(&second);
		close_pair(&first);
		mesh_tls_session_release(first.session);
		mesh_tls_session_release(second.session);
	}
}

static void test_no_client_certificate(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};

	setup.client_cert = NULL;
	open_pair(&pair, &setup);
	assert_int_equal(pair.server_rc, MESH_ERROR_TLS);
	assert_words(pair.server, "peer did not return a certificate");
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
}

static void test_resumption_keeps_the_checks(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair first = {.store = w->store}, second = {.store = w->store}, third = {.store = w->store};

	open_pair(&first, &setup);
	assert_int_equal(first.client_rc, 0);
	exchange_bytes(&first);
	assert_non_null(first.session);
	setup.resume = first.session;
	open_pair(&second, &setup);
	assert_int_equal(second.client_rc, 0);
	assert_int_equal(second.server_rc, 0);
	assert_true(second.client->peer.resumed && second.server->peer.resumed);
	assert_slice(second.client->peer.identity, bob);
	assert_slice(second.server->peer.identity, alice);
	close_pair(&second);
	/* another name is wanted now: the resumed certificate is still looked at */
	setup.expect_uri = alice;
	open_pair(&third, &setup);
	assert_int_equal(third.client_rc, MESH_ERROR_PEER_IDENTITY);
	close_pair(&third);
	close_pair(&first);
	mesh_tls_session_release(first.session);
	mesh_tls_session_release(second.session);
	mesh_tls_session_release(third.session);
}

static void test_garbage_and_truncation(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};
	char data[16];
	bool drained;

	open_pair(&pair, &setup);
	exchange_bytes(&pair);
	shutdown(pair.client->fd, SHUT_RDWR); /* without close_notify */
	assert_int_equal(pair.server->ops->read(pair.server, data, sizeof(data), &drained), MESH_ERROR_RESET);
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
	pair = (struct pair){.store = w->store};
	open_pair(&pair, &setup);
	exchange_bytes(&pair);
	assert_int_equal(write(pair.client->fd, "\x17\x03\x03\x00\x20garbage garbage garbage garbage!", 37), 37);
	assert_int_equal(pair.server->ops->read(pair.server, data, sizeof(data), &drained), MESH_ERROR_TLS);
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
}

static void test_orderly_end(void **state)
{
	struct world *w = *state;
	struct setup setup = good(w);
	struct pair pair = {.store = w->store};
	char data[16];
	bool drained;

	open_pair(&pair, &setup);
	exchange_bytes(&pair);
	pair.client->ops->shutdown(pair.client);
	assert_int_equal(pair.server->ops->read(pair.server, data, sizeof(data), &drained), 0);
	close_pair(&pair);
	mesh_tls_session_release(pair.session);
}

static void test_contexts_are_shared_and_superseded(void **state)
{
	struct world *w = *state;
	struct tls_config config = {.certificate_name = MESH_SLICE("default"), .roots_name = MESH_SLICE("ROOTCA")};
	struct tls_context *a, *b, *c;
	struct secret *newer = test_ca_secret(&w->ca, &(struct test_leaf){.uri = alice, .rsa = true});
	struct why why = {{0}};

	assert_int_equal(mesh_tls_store_get(w->store, &config, false, w->alice, w->roots, &a, &why), 0);
	config.sni = MESH_SLICE("another.host");
	assert_int_equal(mesh_tls_store_get(w->store, &config, false, w->alice, w->roots, &b, &why), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(mesh_tls_store_get(w->store, &config, false, newer, w->roots, &c, &why), 0);
	assert_ptr_not_equal(a, c);
	mesh_tls_context_release(a);
	mesh_tls_context_release(b);
	mesh_tls_context_release(c);
	mesh_secret_release(newer);
}

static void test_unusable_secrets(void **state)
{
	struct world *w = *state;
	struct tls_config config = {.certificate_name = MESH_SLICE("default")};
	struct tls_context *context;
	struct secret *secret;
	struct why why = {{0}};

	assert_int_equal(mesh_secret_new(&mesh_mem_default, MESH_SLICE("default"), w->alice->chain_pem, w->bob->key_pem,
					 (struct mesh_slice){NULL, 0}, &secret), 0);
	assert_int_equal(mesh_tls_store_get(w->store, &config, false, secret, NULL, &context, &why), MESH_ERROR_CERTIFICATE);
	assert_non_null(strstr(why.text, "default"));
	mesh_secret_release(secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_sides_know_each_other),
		cmocka_unit_test(test_wrong_authority),
		cmocka_unit_test(test_wrong_identity),
		cmocka_unit_test(test_bad_client_certificates),
		cmocka_unit_test(test_no_roots_no_name),
		cmocka_unit_test(test_mutual_only_when_asked),
		cmocka_unit_test(test_no_client_certificate),
		cmocka_unit_test(test_resumption_keeps_the_checks),
		cmocka_unit_test(test_garbage_and_truncation),
		cmocka_unit_test(test_orderly_end),
		cmocka_unit_test(test_contexts_are_shared_and_superseded),
		cmocka_unit_test(test_unusable_secrets),
	};

	return cmocka_run_group_tests(tests, make_world, end_world);
}
