/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP metadata exchange over mutual TLS: both sides learn of each other and the application's bytes stay whole; a scripted
 * peer that agrees to it and then says something else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/tcp_pair.h"

/* ---- what is sent */

static void put_field(char *into, size_t *len, char tag, const char *data, size_t bytes)
{
	assert_true(bytes < 128);
	into[(*len)++] = tag;
	into[(*len)++] = (char)bytes;
	memcpy(into + *len, data, bytes);
	*len += bytes;
}

/* A greeting that holds nothing but an id. */
static size_t make_greeting(char into[512], const char *id)
{
	char value[128], entry[256], object[300], any[400];
	size_t value_len = 0, entry_len = 0, object_len = 0, any_len = 0;

	put_field(value, &value_len, 0x1a, id, strlen(id));
	put_field(entry, &entry_len, 0x0a, "x-envoy-peer-metadata-id", 24);
	put_field(entry, &entry_len, 0x12, value, value_len);
	put_field(object, &object_len, 0x0a, entry, entry_len);
	put_field(any, &any_len, 0x0a, "type.googleapis.com/google.protobuf.Struct", 42);
	put_field(any, &any_len, 0x12, object, object_len);
	memcpy(into, "\x3d\x23\x04\x67\0\0\0", 7);
	into[7] = (char)any_len;
	memcpy(into + 8, any, any_len);
	return 8 + any_len;
}

static void greet(struct data_plane *plane, const char *id)
{
	char bytes[512];
	size_t len = make_greeting(bytes, id);

	mesh_buf_clear(&plane->mesh->greeting);
	assert_int_equal(mesh_buf_append(&plane->mesh->greeting, mesh_slice_make(bytes, len)), 0);
}

static int open_pair(void **state)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));

	tcp_pair_open(pair, NULL);
	pair->exchange = true;
	greet(&pair->client, "sidecar~client");
	greet(&pair->server, "sidecar~server");
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

static void assert_id(struct mesh_stream *stream, const char *id)
{
	struct mesh_slice got = mesh_stream_peer(stream)->workload_id;

	assert_int_equal(got.len, strlen(id));
	assert_memory_equal(got.data ? got.data : "", id, got.len);
}

/* ---- two meshes */

static void test_both_sides(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);
	char back[16];
	size_t got;

	assert_int_equal(tcp_pair_write(stream, "application", 11), 0);
	assert_int_equal(tcp_pair_read(stream, back, 11, &got), 0);
	assert_memory_equal(back, "application", 11);
	assert_id(stream, "sidecar~server");
	assert_string_equal(pair->workload_id, "sidecar~client");
	assert_int_equal(mesh_stream_result(stream)->sent_bytes, 11); /* the application's alone */
	assert_int_equal(mesh_stream_result(stream)->received_bytes, 11);
	assert_int_equal(tcp_pair_shutdown(stream), 0);
	assert_int_equal(tcp_pair_read(stream, back, 1, &got), 0);
	assert_int_equal(got, 0);
	mesh_stream_close(stream);
}

static void test_server_first(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char back[16];
	size_t got;

	pair->first = "220 hello\r\n";
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_read(stream, back, 11, &got), 0);
	assert_memory_equal(back, "220 hello\r\n", 11);
	assert_id(stream, "sidecar~server"); /* though the client has not said a word */
	mesh_stream_close(stream);
}

/* Only one side has the filter: it waits for no magic longer than the first byte. */
static void test_one_side_only(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char back[16];
	size_t got;

	data_plane_publish(&pair->server);
	pair->exchange = false;
	data_plane_publish(&pair->client);
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_write(stream, "x", 1), 0);
	assert_int_equal(tcp_pair_read(stream, back, 1, &got),
			 0); /* the server's greeting is bytes like any others here */
	assert_int_equal(back[0], 0x3d);
	assert_string_equal(pair->workload_id, "");
	mesh_stream_close(stream);
}

/* ---- a peer that says what the test tells it */

struct script {
	struct tcp_pair *pair;
	const char *says;
	size_t bytes;
	bool drip, cut; /* one byte a record; without close_notify */
	char heard[512];
	atomic_int heard_bytes;
};

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned in_len, void *user)
{
	*out = (const unsigned char *)"istio-peer-exchange";
	*out_len = 19;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *peer_context(const struct secret *certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	BIO *chain = BIO_new_mem_buf(certificate->chain_pem.data, (int)certificate->chain_pem.len);
	BIO *key = BIO_new_mem_buf(certificate->key_pem.data, (int)certificate->key_pem.len);
	X509 *leaf = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, pkey), 1);
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
	X509_free(leaf);
	EVP_PKEY_free(pkey);
	BIO_free(chain);
	BIO_free(key);
	return ctx;
}

static void play(struct raw_server *server, int fd, unsigned number)
{
	struct script *script = (struct script *)server->user;
	SSL_CTX *ctx = peer_context(script->pair->server.certificate);
	SSL *ssl = SSL_new(ctx);
	size_t step = script->drip ? 1 : script->bytes;
	int n;

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		for (size_t at = 0; at < script->bytes; at += step)
			SSL_write(ssl, script->says + at, (int)step);
		if (!script->cut)
			SSL_shutdown(ssl);
		while ((n = SSL_read(ssl, script->heard + atomic_load(&script->heard_bytes),
				     (int)sizeof(script->heard) - atomic_load(&script->heard_bytes))) > 0)
			atomic_fetch_add(&script->heard_bytes, n);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

/* What the client makes of it: the bytes the application gets, or the error. */
static int hear(struct tcp_pair *pair, struct script *script, char *into, size_t room, size_t *got, char id[64])
{
	struct raw_server server = {.serve = play, .user = script};
	uint16_t port = pair->client.ports[0];
	struct mesh_stream *stream;
	int rc;

	script->pair = pair;
	raw_server_start(&server);
	pair->client.ports[0] = server.port;
	tcp_pair_publish(pair);
	stream = tcp_pair_dial(pair);
	rc = tcp_pair_read(stream, into, room, got);
	if (rc && mesh_stream_result(stream)->status)
		print_message("%.*s\n", (int)mesh_stream_result(stream)->why.len, mesh_stream_result(stream)->why.data);
	if (mesh_stream_peer(stream))
		snprintf(id, 64, "%.*s", (int)mesh_stream_peer(stream)->workload_id.len,
			 mesh_stream_peer(stream)->workload_id.data);
	mesh_stream_close(stream);
	raw_server_stop(&server);
	pair->client.ports[0] = port;
	return rc;
}

static void expect(struct tcp_pair *pair, const char *says, size_t bytes, int error, const char *application,
		   const char *peer)
{
	for (int drip = 0; drip < 2; drip++) {
		struct script script = {.says = says, .bytes = bytes, .drip = drip};
		char into[512], id[64] = "", greeting[512];
		size_t got = 0;

		assert_int_equal(hear(pair, &script, into, sizeof(into), &got, id), error);
		assert_int_equal(got, strlen(application));
		assert_memory_equal(into, application, got);
		assert_string_equal(id, peer);
		/* ours went out all the same, first */
		assert_int_equal(atomic_load(&script.heard_bytes), make_greeting(greeting, "sidecar~client"));
		assert_memory_equal(script.heard, greeting, (size_t)atomic_load(&script.heard_bytes));
	}
}

static void test_scripted(void **state)
{
	struct tcp_pair *pair = *state;
	char says[600];
	size_t len = make_greeting(says, "sidecar~peer");

	memcpy(says + len, "and the rest", 12);
	expect(pair, says, len + 12, 0, "and the rest", "sidecar~peer");
	expect(pair, says, len, 0, "", "sidecar~peer");
	/* no magic: all of it is the application's, as Envoy has it; so is what is too short to tell */
	expect(pair, "HELO there", 10, 0, "HELO there", "");
	expect(pair, "\x3d\x23", 2, 0, "\x3d\x23", "");
	/* magic, then what is no metadata: passed over by its length */
	expect(pair, "\x3d\x23\x04\x67\0\0\0\x04junkrest", 16, 0, "rest", "");
	expect(pair, "\x3d\x23\x04\x67\0\0\0\0rest", 12, 0, "rest", "");
	/* more than is believed, and less than announced */
	expect(pair, "\x3d\x23\x04\x67\xff\xff\xff\xffrest", 12, MESH_ERROR_PROTOCOL, "", "");
	expect(pair, says, len - 1, MESH_ERROR_PROTOCOL, "", "");
}

static void test_cut_without_goodbye(void **state)
{
	struct tcp_pair *pair = *state;
	struct script script = {.says = "HELO", .bytes = 4, .cut = true};
	char into[64];
	struct raw_server server = {.serve = play, .user = &script};
	struct mesh_stream *stream;
	size_t got = 0;

	script.pair = pair;
	raw_server_start(&server);
	pair->client.ports[0] = server.port;
	tcp_pair_publish(pair);
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_read(stream, into, 4, &got), 0);
	assert_int_equal(tcp_pair_shutdown(stream), 0); /* the peer leaves, without close_notify of its own */
	assert_int_equal(tcp_pair_read(stream, into, 1, &got), MESH_ERROR_RESET);
	assert_non_null(strstr(mesh_stream_result(stream)->why.data, "close_notify"));
	mesh_stream_close(stream);
	raw_server_stop(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_sides), TEST(test_server_first),        TEST(test_one_side_only),
		TEST(test_scripted),   TEST(test_cut_without_goodbye),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
