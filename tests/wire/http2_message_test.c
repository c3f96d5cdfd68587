/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener against HTTP/2 requests whose fields or lengths are malformed: as Envoy's defaults have it the connection ends,
 * where configuration says so the stream alone, and what is only too large or names no place is answered. The handler sees
 * none of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "support/h2_server.h"
#include "support/raw_peer.h"

#define HEAD  ":method: GET|:scheme: http|:authority: reviews|:path: /"
#define POST  ":method: POST|:scheme: http|:authority: reviews|:path: /wrong"
#define OPEN  "headers 1 4 " POST "; "
#define BLOCK "8286840107 72657669657773 " /* the same as HEAD, for what is no text */

struct wrong {
	const char *what;
	const char *said;
};

/* A request that is no request, on stream 1. */
static const struct wrong malformed[] = {
	/* pseudo fields */
	{"no :method", "headers 1 5 :scheme: http|:authority: reviews|:path: /"},
	{"no :scheme", "headers 1 5 :method: GET|:authority: reviews|:path: /"},
	{"no :path", "headers 1 5 :method: GET|:scheme: http|:authority: reviews"},
	{"an empty :path", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:path: "},
	{"no pseudo fields", "headers 1 5 host: reviews"},
	{"no fields", "frame 1 5 1 -"},
	{":method twice", "headers 1 5 " HEAD "|:method: GET"},
	{":scheme twice", "headers 1 5 " HEAD "|:scheme: http"},
	{":path twice", "headers 1 5 " HEAD "|:path: /"},
	{":authority twice", "headers 1 5 " HEAD "|:authority: reviews"},
	{"a pseudo field behind others", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|x-a: b|:path: /"},
	{"an unknown pseudo field", "headers 1 5 " HEAD "|:x: b"},
	{":status of a request", "headers 1 5 " HEAD "|:status: 200"},
	{":protocol without CONNECT", "headers 1 5 " HEAD "|:protocol: websocket"},
	{":protocol nobody offered",
	 "headers 1 5 :method: CONNECT|:protocol: websocket|:scheme: http|:authority: reviews|:path: /"},
	{"CONNECT with a :path", "headers 1 5 :method: CONNECT|:authority: reviews:80|:path: /"},
	{"CONNECT without :authority", "headers 1 5 :method: CONNECT"},
	{"an upper case pseudo field", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:Path: /"},
	{"a blank in :path", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:path: /a b"},
	{"a :path of another form", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:path: http://other/"},
	{"two hosts", "headers 1 5 :method: GET|:scheme: http|:path: /|host: a|host: b"},
	{"neither host nor :authority", "headers 1 5 :method: GET|:scheme: http|:path: /"},
	{"an empty :authority", "headers 1 5 :method: GET|:scheme: http|:authority: |:path: /"},
	/* names and values */
	{"an upper case name", "headers 1 5 " HEAD "|X-A: b"},
	{"an empty name", "frame 1 5 1 " BLOCK "00 00 0162"},
	{"a blank in a name", "headers 1 5 " HEAD "|x a: b"},
	{"a colon in a name", "headers 1 5 " HEAD "|x:a: b"},
	{"a high byte in a name", "headers 1 5 " HEAD "|x-\xc3\xa4: b"},
	{"CR and LF in a value", "frame 1 5 1 " BLOCK "00 03782d61 05620d0a633a"},
	{"LF in a value", "frame 1 5 1 " BLOCK "00 03782d61 03620a63"},
	{"NUL in a value", "frame 1 5 1 " BLOCK "00 03782d61 03620063"},
	{"NUL in a name", "frame 1 5 1 " BLOCK "00 03780061 0162"},
	{"CR in :path", "frame 1 5 1 82860107 72657669657773 04032f0d61"},
	/* fields of one hop */
	{"connection", "headers 1 5 " HEAD "|connection: close"},
	{"keep-alive", "headers 1 5 " HEAD "|keep-alive: 5"},
	{"proxy-connection", "headers 1 5 " HEAD "|proxy-connection: close"},
	{"transfer-encoding", "headers 1 5 " HEAD "|transfer-encoding: chunked"},
	{"upgrade", "headers 1 5 " HEAD "|upgrade: h2c"},
	{"te other than trailers", "headers 1 5 " HEAD "|te: gzip"},
	{"te trailers and more", "headers 1 5 " HEAD "|te: trailers, gzip"},
	/* lengths */
	{"a length that is no number", "headers 1 4 " POST "|content-length: x; data 1 1 abc"},
	{"a negative length", "headers 1 4 " POST "|content-length: -3; data 1 1 abc"},
	{"two lengths", "headers 1 4 " POST "|content-length: 3|content-length: 4; data 1 1 abc"},
	{"the same length twice", "headers 1 4 " POST "|content-length: 3|content-length: 3; data 1 1 abc"},
	{"a list of lengths", "headers 1 4 " POST "|content-length: 3, 3; data 1 1 abc"},
	{"a length past 63 bits", "headers 1 4 " POST "|content-length: 9223372036854775808; data 1 1 abc"},
	{"a length and no body", "headers 1 5 " POST "|content-length: 4"},
	{"a length and only trailers", "headers 1 4 " POST "|content-length: 4; headers 1 5 x-end: yes"},
	/* trailers */
	{"trailers that do not end the stream", OPEN "headers 1 4 x-end: yes; data 1 1 abc"},
	{"a pseudo field in trailers", OPEN "headers 1 5 :path: /other"},
	{"an upper case trailer", OPEN "headers 1 5 X-End: yes"},
	{"a second request as trailers", OPEN "headers 1 5 " HEAD},
	{"connection in trailers", OPEN "headers 1 5 connection: close"},
};

/* Another body than the head promised: the head was good and the handler has it, so the stream alone ends, in any case. */
static const struct wrong wrong_bodies[] = {
	{"a longer body", "headers 1 4 " POST "|content-length: 2; data 1 1 abc"},
	{"a shorter body", "headers 1 4 " POST "|content-length: 4; data 1 1 abc"},
	{"a longer body in pieces", "headers 1 4 " POST "|content-length: 2; data 1 0 a; data 1 0 bc"},
};

/* Whole, but of a kind that is answered without the handler. */
static const struct {
	const char *what;
	const char *said;
	const char *status;
} answered[] = {
	{"a fragment in :path", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:path: /a#b", "400"},
	{"a host other than :authority", "headers 1 5 " HEAD "|host: other", "400"},
	{"a user in :authority", "headers 1 5 :method: GET|:scheme: http|:authority: a@reviews|:path: /", "400"},
	{"another scheme", "headers 1 5 :method: GET|:scheme: ftp|:authority: reviews|:path: /", "400"},
	{"a header past the bound", "long 1 5 62000 " HEAD, "431"},
	{"a header past the bound, and a body", "long 1 4 62000 " POST "; data 1 1 abc", "431"},
};

static unsigned complaints; /* of a test: all that is wrong is told before it fails */

static void check_malformed(struct h2_server *server, const struct wrong *wrong, bool resets)
{
	struct h2_peer peer;
	const char *story;

	h2_server_connect(server, &peer, "preface; ack");
	peer.what = wrong->what;
	h2_say(&peer.out, wrong->said);
	if (resets)
		h2_say(&peer.out, "get 3 /other");
	h2_peer_say(&peer);
	h2_peer_until(&peer, resets ? "rst 1 PROTOCOL_ERROR;" : "PROTOCOL_ERROR");
	story = resets ? h2_peer_until(&peer, "headers 3 :status=200") : h2_peer_rest(&peer);
	if (resets ? !strstr(story, "rst 1 PROTOCOL_ERROR;") || !strstr(story, "headers 3 :status=200")
		   : !strstr(story, "goaway 1 PROTOCOL_ERROR") && !strstr(story, "goaway 0 PROTOCOL_ERROR")) {
		print_error("%s: expected %s, got: %s\n", wrong->what,
			    resets ? "a reset and its neighbour answered" : "GOAWAY", story);
		complaints++;
	}
	if (strstr(story, "headers 1 :status")) {
		print_error("%s: answered all the same: %s\n", wrong->what, story);
		complaints++;
	}
	h2_server_disconnect(&peer);
}

static void check_all(struct h2_server *server, const struct wrong *wrongs, size_t count, bool resets)
{
	complaints = 0;
	for (size_t i = 0; i < count; i++)
		check_malformed(server, &wrongs[i], resets);
	assert_int_equal(complaints, 0);
	h2_server_assert_serves(server);
}

static void test_malformed_ends_the_connection(void **state)
{
	struct h2_server *server = *state;

	h2_server_listen(server);
	check_all(server, malformed, sizeof(malformed) / sizeof(malformed[0]), false);
	check_all(server, wrong_bodies, sizeof(wrong_bodies) / sizeof(wrong_bodies[0]), true);
}

static void test_malformed_ends_the_stream(void **state)
{
	struct h2_server *server = *state;

	server->http2.invalid_message_resets_stream = true;
	h2_server_listen(server);
	check_all(server, malformed, sizeof(malformed) / sizeof(malformed[0]), true);
	check_all(server, wrong_bodies, sizeof(wrong_bodies) / sizeof(wrong_bodies[0]), true);
}

static void test_answered_without_the_handler(void **state)
{
	struct h2_server *server = *state;

	server->body_max = 1000;
	complaints = 0;
	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(answered) / sizeof(answered[0]); i++) {
		struct h2_peer peer;
		char expected[64];
		const char *story;

		h2_server_connect(server, &peer, "preface; ack");
		peer.what = answered[i].what;
		h2_say(&peer.out, answered[i].said);
		h2_say(&peer.out, "get 3 /other");
		h2_peer_say(&peer);
		snprintf(expected, sizeof(expected), "headers 1 :status=%s", answered[i].status);
		h2_peer_until(&peer, "headers 3 :status=200");
		story = h2_peer_until(&peer, expected);
		if (!strstr(story, expected) || !strstr(story, "headers 3 :status=200")) {
			print_error("%s: expected %s and its neighbour answered, got: %s\n", answered[i].what, expected,
				    story);
			complaints++;
		}
		h2_server_disconnect(&peer);
	}
	assert_int_equal(complaints, 0);
	assert_int_equal(atomic_load(&server->calls), sizeof(answered) / sizeof(answered[0])); /* the neighbours */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_malformed_ends_the_connection, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_malformed_ends_the_stream, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_answered_without_the_handler, h2_server_open, h2_server_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
