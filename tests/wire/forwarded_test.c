/* SPDX-License-Identifier: Apache-2.0 */
/* What a request tells the application about who is behind it: host ports, x-forwarded-for, and whole client certificates. */
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

#include <mesh/mesh.h>

#include "base/text.h"
#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"

struct edge {
	struct data_plane plane;
	struct test_ca ca;
	struct mesh_listener *listener;
	uint16_t port;
	struct http_config http; /* of the inbound chain */
	char xfcc[16384];        /* the handler's last */
	char source[64];         /* authorization lets this address in alone; "": no rule */
	struct authz_config authz;
	struct authz_rules rules;
	struct authz_policy policy;
	struct authz_rule who, any;
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

/* "authority|x-forwarded-for|x-forwarded-proto" */
static void handler(struct mesh_call *call, void *user)
{
	struct edge *edge = user;
	struct mesh_slice authority = mesh_call_authority(call), xff = mesh_call_header(call, "x-forwarded-for");
	struct mesh_slice proto = mesh_call_header(call, "x-forwarded-proto");
	struct mesh_slice xfcc = mesh_call_header(call, "x-forwarded-client-cert");
	char said[1024];
	int len = snprintf(said, sizeof(said), "%.*s|%.*s|%.*s", (int)authority.len, authority.data, (int)xff.len,
			   xff.data ? xff.data : "", (int)proto.len, proto.data ? proto.data : "");

	snprintf(edge->xfcc, sizeof(edge->xfcc), "%.*s", (int)xfcc.len, xfcc.data ? xfcc.data : "");
	mesh_call_respond(call, 200, NULL, 0, mesh_slice_make(said, (size_t)len), true);
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct edge *edge = plane->user;
	struct http_config *http = chain->http, *want = &edge->http;
	struct address source;

	if (!inbound)
		return;
	http->strip_host_port = want->strip_host_port;
	http->strip_any_host_port = want->strip_any_host_port;
	http->use_remote_address = want->use_remote_address;
	http->skip_xff_append = want->skip_xff_append;
	http->xff_trusted_hops = want->xff_trusted_hops;
	http->forward_cert = want->forward_cert;
	http->xfcc_cert = want->xfcc_cert;
	http->xfcc_chain = want->xfcc_chain;
	http->xfcc_subject = want->xfcc_subject;
	http->xfcc_uri = want->xfcc_uri;
	http->xfcc_dns = want->xfcc_dns;
	if (!edge->source[0])
		return;
	edge->any = (struct authz_rule){.kind = AUTHZ_ANY};
	edge->who = (struct authz_rule){.kind = AUTHZ_REMOTE_IP};
	assert_int_equal(mesh_address_parse(&source, text(edge->source), 0), 0);
	memcpy(edge->who.cidr.bytes, &source.v4.sin_addr, 4);
	edge->who.cidr.bits = 32;
	edge->policy = (struct authz_policy){text("p"), &edge->any, 1, &edge->who, 1};
	edge->rules = (struct authz_rules){AUTHZ_ALLOW, &edge->policy, 1};
	edge->authz.rules = &edge->rules;
	http->filters = mesh_arena_array(arena, 1, sizeof(*http->filters));
	http->filter_count = 1;
	http->filters[0].kind = HTTP_FILTER_AUTHZ;
	http->filters[0].authz = &edge->authz;
}

static int open_edge(void **state)
{
	struct edge *edge = calloc(1, sizeof(*edge));
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = edge,
					      .address = "127.0.0.1"};

	assert_int_equal(data_plane_open(&edge->plane, 1, NULL), 0);
	test_ca_make(&edge->ca);
	edge->plane.certificate = test_ca_secret(&edge->ca, &(struct test_leaf){.uri = BOB});
	edge->plane.roots = test_ca_roots(&edge->ca);
	edge->plane.edit_chain = edit_chain;
	edge->plane.user = edge;
	assert_int_equal(mesh_listen(edge->plane.mesh, &options, &edge->listener), 0);
	edge->port = mesh_listener_port(edge->listener);
	*state = edge;
	return 0;
}

static int close_edge(void **state)
{
	struct edge *edge = *state;

	data_plane_close(&edge->plane);
	mesh_secret_release(edge->plane.certificate);
	mesh_secret_release(edge->plane.roots);
	test_ca_free(&edge->ca);
	free(edge);
	return 0;
}

/* The body of the answer to a request with this Host and these further lines. */
static void expect(struct edge *edge, const char *host, const char *lines, const char *seen)
{
	char request[1024], got[4096] = "", *body;
	int fd;

	data_plane_publish(&edge->plane);
	fd = raw_connect(edge->port);
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, lines);
	assert_true(raw_say(fd, request));
	assert_true(raw_response(fd, got, sizeof(got)));
	close(fd);
	body = strstr(got, "\r\n\r\n");
	assert_non_null(body);
	assert_string_equal(body + 4, seen);
}

static void test_host_port(void **state)
{
	struct edge *edge = *state;
	char own[64], v6[64];

	snprintf(own, sizeof(own), "reviews:%u", edge->port);
	snprintf(v6, sizeof(v6), "[::1]:%u", edge->port);
	expect(edge, "reviews:80", "", "reviews:80||http");
	edge->http.strip_host_port = true;
	expect(edge, own, "", "reviews||http");
	expect(edge, v6, "", "[::1]||http");
	expect(edge, "[::1]", "", "[::1]||http");
	expect(edge, "reviews", "", "reviews||http");
	expect(edge, "reviews:1", "", "reviews:1||http");
	edge->http.strip_host_port = false;
	edge->http.strip_any_host_port = true;
	expect(edge, "reviews:1", "", "reviews||http");
	expect(edge, own, "", "reviews||http");
	expect(edge, "[fe80::7]", "", "[fe80::7]||http");
}

static void test_forwarded_for(void **state)
{
	struct edge *edge = *state;
	static const char said[] = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\n";

	/* somebody in front of us has written them: the lines stay as they came */
	expect(edge, "reviews", said, "reviews|10.0.0.1|https");
	/* we are the first: the client's word stays, ours comes last, and its scheme is a fact */
	edge->http.use_remote_address = true;
	expect(edge, "reviews", said, "reviews|10.0.0.1,10.0.0.2,127.0.0.1|http");
	expect(edge, "reviews", "", "reviews|127.0.0.1|http");
	edge->http.xff_trusted_hops = 1;
	expect(edge, "reviews", said, "reviews|10.0.0.1,10.0.0.2,127.0.0.1|https");
	edge->http.skip_xff_append = true;
	expect(edge, "reviews", "X-Forwarded-For: 10.0.0.1\r\n", "reviews|10.0.0.1|http");
}

/* What we append is not what rules look at: they see whom the trusted hops name, as before. */
static void test_rules_see_the_address_before_ours(void **state)
{
	struct edge *edge = *state;
	static const char said[] = "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n";

	edge->http.use_remote_address = true;
	strcpy(edge->source, "127.0.0.1");
	expect(edge, "reviews", said, "reviews|10.0.0.1, 10.0.0.2,127.0.0.1|http");
	strcpy(edge->source, "10.0.0.2");
	expect(edge, "reviews", said, "RBAC: access denied");
	edge->http.xff_trusted_hops = 1;
	expect(edge, "reviews", said, "reviews|10.0.0.1, 10.0.0.2,127.0.0.1|http");
	strcpy(edge->source, "127.0.0.1");
	expect(edge, "reviews", said, "RBAC: access denied");
}

/* A TLS client that sends its certificate and, behind it, the root. */
static void call_over_tls(struct edge *edge, const char *chain_pem, const char *key_pem)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *certificate = BIO_new_mem_buf(chain_pem, -1), *key = BIO_new_mem_buf(key_pem, -1);
	X509 *x509 = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	int fd = raw_connect(edge->port);
	char got[4096];
	SSL *ssl;

	assert_int_equal(SSL_CTX_use_certificate(ctx, x509), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, private), 1);
	assert_int_equal(SSL_CTX_add1_chain_cert(ctx, edge->ca.root), 1);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	assert_int_equal(SSL_write(ssl, request, sizeof(request) - 1), sizeof(request) - 1);
	assert_true(SSL_read(ssl, got, sizeof(got)) > 12);
	assert_memory_equal(got, "HTTP/1.1 200", 12);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	EVP_PKEY_free(private);
	X509_free(x509);
	BIO_free(key);
	BIO_free(certificate);
	close(fd);
}

/* The value of a key of the element, unescaped; asserts that what is escaped holds none of the separators. */
static void assert_pem(const char *xfcc, const char *key, const char *expected)
{
	struct buf plain;
	const char *at = strstr(xfcc, key), *end;

	assert_non_null(at);
	at += strlen(key);
	end = strchr(at, '"');
	assert_non_null(end);
	for (const char *c = at; c < end; c++)
		assert_null(strchr(" ,;=+/\n", *c));
	mesh_buf_init(&plain, &mesh_mem_default, 0);
	assert_int_equal(mesh_text_percent_decode(&plain, mesh_slice_make(at, (size_t)(end - at))), 0);
	assert_true(mesh_slice_equal(mesh_buf_slice(&plain), mesh_slice_of(expected)));
	mesh_buf_free(&plain);
}

static void test_client_certificate(void **state)
{
	struct edge *edge = *state;
	char *chain, *key, both[16384];

	test_ca_issue(&edge->ca, &(struct test_leaf){.uri = BOB, .dns = "bob.default"}, &chain, &key);
	snprintf(both, sizeof(both), "%s%s", chain, edge->ca.root_pem);
	edge->plane.inbound = DATA_PLANE_STRICT;
	edge->http.forward_cert = FORWARD_CERT_SANITIZE_SET;
	data_plane_publish(&edge->plane);
	call_over_tls(edge, chain, key);
	assert_int_equal(strncmp(edge->xfcc, "By=" BOB ";Hash=", strlen("By=" BOB ";Hash=")), 0);
	assert_null(strstr(edge->xfcc, "Cert="));
	assert_null(strstr(edge->xfcc, "Chain="));
	edge->http.xfcc_cert = edge->http.xfcc_chain = true;
	edge->http.xfcc_subject = edge->http.xfcc_uri = edge->http.xfcc_dns = true;
	data_plane_publish(&edge->plane);
	call_over_tls(edge, chain, key);
	assert_pem(edge->xfcc, ";Cert=\"", chain);
	assert_pem(edge->xfcc, "\";Chain=\"", both);
	assert_non_null(strstr(edge->xfcc, "\";Subject=\"\";URI=" BOB ";DNS=bob.default"));
	free(chain);
	free(key);
}

/* A name that would end its value and begin another element is quoted, or nobody's. */
static void test_names_stay_in_their_place(void **state)
{
	struct edge *edge = *state;
	char *chain, *key;

	edge->plane.inbound = DATA_PLANE_STRICT;
	edge->http.forward_cert = FORWARD_CERT_SANITIZE_SET;
	edge->http.xfcc_uri = true;
	data_plane_publish(&edge->plane);
	test_ca_issue(&edge->ca, &(struct test_leaf){.uri = BOB ";URI=spiffe://forged"}, &chain, &key);
	call_over_tls(edge, chain, key);
	assert_non_null(strstr(edge->xfcc, ";URI=\"" BOB ";URI=spiffe://forged\""));
	free(chain);
	free(key);
	test_ca_issue(&edge->ca, &(struct test_leaf){.uri = BOB "\";URI=spiffe://forged"}, &chain, &key);
	call_over_tls(edge, chain, key);
	assert_null(strstr(edge->xfcc, "forged"));
	free(chain);
	free(key);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_edge, close_edge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_host_port),
		CASE(test_forwarded_for),
		CASE(test_rules_see_the_address_before_ours),
		CASE(test_client_certificate),
		CASE(test_names_stay_in_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
