/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener against HTTP/2 clients that break one rule of framing, settings, streams, header compression or flow control
 * each: the code that RFC 9113 and 7541 ask for comes back, and nobody else notices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/h2_server.h"
#include "support/raw_peer.h"

#define GET  ":method: GET|:scheme: http|:authority: reviews|:path: /"
#define POST ":method: POST|:scheme: http|:authority: reviews|:path: /hold"
#define PUT  ":method: PUT|:scheme: http|:authority: reviews|:path: /put"

struct wrong {
	const char *what;
	const char *said;     /* behind a preface, and its SETTINGS acknowledged */
	const char *expected; /* " | " between what is as good */
};

/* One rule that concerns the connection as a whole: GOAWAY with the code, and the end. */
static const struct wrong connection_wrongs[] = {
	/* frame sizes */
	{"SETTINGS of 5 bytes", "frame 4 0 0 0003000000", "FRAME_SIZE_ERROR"},
	{"SETTINGS ACK with a payload", "frame 4 1 0 000300000001", "FRAME_SIZE_ERROR"},
	{"PING of 7 bytes", "frame 6 0 0 00000000000000", "FRAME_SIZE_ERROR"},
	{"PING of 9 bytes", "frame 6 0 0 000000000000000000", "FRAME_SIZE_ERROR"},
	{"RST_STREAM of 3 bytes", "get 1 /hold; frame 3 0 1 000000", "FRAME_SIZE_ERROR"},
	{"RST_STREAM of 5 bytes", "get 1 /hold; frame 3 0 1 0000000000", "FRAME_SIZE_ERROR"},
	{"WINDOW_UPDATE of 3 bytes", "frame 8 0 0 000001", "FRAME_SIZE_ERROR"},
	{"WINDOW_UPDATE of 5 bytes", "frame 8 0 0 0000000001", "FRAME_SIZE_ERROR"},
	{"GOAWAY of 7 bytes", "frame 7 0 0 00000000000000", "FRAME_SIZE_ERROR"},
	{"HEADERS shorter than its priority", "frame 1 0x25 1 00000000", "FRAME_SIZE_ERROR | PROTOCOL_ERROR"},
	{"DATA larger than agreed", "headers 1 4 " POST "; pad 1 0 16385", "FRAME_SIZE_ERROR"},
	{"HEADERS larger than agreed", "claim 16385 1 5 1 -", "FRAME_SIZE_ERROR"},
	{"an unknown frame larger than agreed", "claim 16777215 77 0 0 -", "FRAME_SIZE_ERROR"},
	/* frames where they have no place */
	{"SETTINGS on a stream", "frame 4 0 1 -", "PROTOCOL_ERROR"},
	{"PING on a stream", "frame 6 0 1 0000000000000000", "PROTOCOL_ERROR"},
	{"GOAWAY on a stream", "frame 7 0 1 0000000000000000", "PROTOCOL_ERROR"},
	{"DATA on stream 0", "frame 0 0 0 00", "PROTOCOL_ERROR"},
	{"HEADERS on stream 0", "headers 0 5 " GET, "PROTOCOL_ERROR"},
	{"RST_STREAM on stream 0", "rst 0 8", "PROTOCOL_ERROR"},
	{"PRIORITY on stream 0", "priority 0 1", "PROTOCOL_ERROR"},
	{"CONTINUATION on stream 0", "frame 9 4 0 -", "PROTOCOL_ERROR"},
	{"PUSH_PROMISE from a client", "get 1 /hold; frame 5 4 1 00000002", "PROTOCOL_ERROR"},
	{"DATA before HEADERS", "data 1 1 hello", "PROTOCOL_ERROR"},
	{"RST_STREAM on an idle stream", "rst 1 8", "PROTOCOL_ERROR"},
	{"WINDOW_UPDATE on an idle stream", "window 1 100", "PROTOCOL_ERROR"},
	{"CONTINUATION on an idle stream", "frame 9 4 1 82", "PROTOCOL_ERROR"},
	{"DATA padded past its end", "headers 1 4 " POST "; frame 0 9 1 0500", "PROTOCOL_ERROR"},
	{"HEADERS padded past its end", "frame 1 0x0d 1 ff82", "PROTOCOL_ERROR"},
	{"SETTINGS acknowledged that nobody sent", "ack; ack; ack", "PROTOCOL_ERROR"},
	/* settings */
	{"ENABLE_PUSH of 2", "settings 2=2", "PROTOCOL_ERROR"},
	{"INITIAL_WINDOW_SIZE past 31 bits", "settings 4=0x80000000", "FLOW_CONTROL_ERROR"},
	{"MAX_FRAME_SIZE too small", "settings 5=16383", "PROTOCOL_ERROR"},
	{"MAX_FRAME_SIZE too large", "settings 5=16777216", "PROTOCOL_ERROR"},
	{"ENABLE_CONNECT_PROTOCOL of 2", "settings 8=2", "PROTOCOL_ERROR"},
	/* stream numbers */
	{"an even stream", "headers 2 5 " GET, "PROTOCOL_ERROR"},
	{"a lower stream", "get 5 /hold; headers 3 5 " GET, "PROTOCOL_ERROR | STREAM_CLOSED"},
	/* continuations */
	{"DATA within a header block", "frame 1 0 1 82; frame 0 0 1 00", "PROTOCOL_ERROR"},
	{"PING within a header block", "frame 1 1 1 82; ping", "PROTOCOL_ERROR"},
	{"an unknown frame within a header block", "frame 1 1 1 82; frame 77 0 1 -", "PROTOCOL_ERROR"},
	{"HEADERS within a header block", "frame 1 1 1 82; headers 3 5 " GET, "PROTOCOL_ERROR"},
	{"CONTINUATION of another stream", "frame 1 1 1 82; frame 9 4 3 84", "PROTOCOL_ERROR"},
	{"CONTINUATION of nothing", "get 1 /hold; frame 9 4 1 82", "PROTOCOL_ERROR"},
	{"CONTINUATION without end", "frame 1 1 1 82; 20000*(frame 9 0 1 -)", "PROTOCOL_ERROR | ENHANCE_YOUR_CALM"},
	{"long CONTINUATION without end", "frame 1 1 1 82; 200*(frame 9 0 1 00017801794001787e017901790001780179)",
	 "PROTOCOL_ERROR | ENHANCE_YOUR_CALM | COMPRESSION_ERROR"},
	/* header compression */
	{"HPACK index 0", "frame 1 5 1 80", "COMPRESSION_ERROR"},
	{"HPACK index nobody filled", "frame 1 5 1 c8", "COMPRESSION_ERROR"},
	{"HPACK index without end", "frame 1 5 1 ffffffffffffffffffff0f", "COMPRESSION_ERROR"},
	{"HPACK block cut in a name", "frame 1 5 1 000a6162", "COMPRESSION_ERROR"},
	{"HPACK block cut in a value", "frame 1 5 1 0001610a62", "COMPRESSION_ERROR"},
	{"HPACK Huffman with a long end", "frame 1 5 1 00016184ffffffff", "COMPRESSION_ERROR"},
	{"HPACK Huffman padded with zeros", "frame 1 5 1 0001618100", "COMPRESSION_ERROR"},
	{"HPACK table larger than allowed", "frame 1 5 1 3fe2ffff0f", "COMPRESSION_ERROR"},
	{"HPACK string past 64 KiB", "long 1 5 70000 " GET, "COMPRESSION_ERROR"},
	{"HPACK table resized behind a field", "frame 1 5 1 82843f0120", "COMPRESSION_ERROR"},
	/* streams that are over */
	{"HEADERS behind the end of a stream", "get 1 /hold; headers 1 5 " GET, "STREAM_CLOSED"},
	{"DATA behind the end of a stream", "get 1 /hold; data 1 1 more", "STREAM_CLOSED"},
	{"DATA on a stream it reset", "headers 1 4 " POST "; rst 1 8; data 1 1 more", "STREAM_CLOSED"},
	{"HEADERS on a stream it reset", "get 1 /hold; rst 1 8; headers 1 5 " GET, "STREAM_CLOSED"},
	{"PRIORITY of 4 bytes", "get 1 /hold; frame 2 0 1 00000000", "FRAME_SIZE_ERROR"},
	{"a stream window grown by 0", "get 1 /hold; window 1 0", "PROTOCOL_ERROR"},
	/* windows */
	{"a connection window past 31 bits", "window 0 0x7fffffff", "FLOW_CONTROL_ERROR"},
	{"a connection window grown by 0", "window 0 0", "PROTOCOL_ERROR"},
};

/* One that concerns stream 1 alone: RST_STREAM with the code, and streams beside it go on. */
static const struct wrong stream_wrongs[] = {
	{"a stream window past 31 bits", "get 1 /hold; window 1 0x7fffffff", "FLOW_CONTROL_ERROR"},
	/* the RFC would have the connection end; nghttp2 ends the stream, and Envoy with it */
	{"a stream window grown past 31 bits by SETTINGS", "get 1 /hold; window 1 0x7fff0000; settings 4=0x7fffffff",
	 "FLOW_CONTROL_ERROR"},
};

static bool any_of(const char *story, const char *before, const char *codes)
{
	while (*codes) {
		size_t len = strcspn(codes, " |");
		char word[64];

		snprintf(word, sizeof(word), "%s%.*s", before, (int)len, codes);
		if (strstr(story, word))
			return true;
		codes += len;
		codes += strspn(codes, " |");
	}
	return false;
}

/* "goaway LAST CODE" whatever the stream. */
static bool goaway_with(const char *story, const char *codes)
{
	for (const char *at = story; (at = strstr(at, "goaway ")); at++) {
		const char *code = strchr(at + 7, ' ');
		char one[64];

		snprintf(one, sizeof(one), "%.*s", (int)strcspn(code + 1, " ;"), code + 1);
		if (any_of(codes, "", one))
			return true;
	}
	return false;
}

static void attack(struct h2_server *server, struct h2_peer *peer, const struct wrong *wrong, bool drip)
{
	h2_server_connect(server, peer, "preface; ack");
	peer->what = wrong->what;
	h2_say(&peer->out, wrong->said);
	if (drip)
		raw_drip(peer->fd, mesh_buf_slice(&peer->out).data, mesh_buf_len(&peer->out)); /* may be cut off */
	else
		h2_peer_say(peer);
	mesh_buf_clear(&peer->out);
}

static unsigned complaints; /* of a test: all that is wrong is told before it fails */

static void check_connection_ends(struct h2_server *server, const struct wrong *wrong, bool drip)
{
	struct h2_peer peer;
	const char *story;

	attack(server, &peer, wrong, drip);
	story = h2_peer_rest(&peer);
	if (!goaway_with(story, wrong->expected)) {
		print_error("%s%s: expected GOAWAY %s, got: %s\n", wrong->what, drip ? ", byte by byte" : "",
			    wrong->expected, story);
		complaints++;
	}
	h2_server_disconnect(&peer);
}

static void test_connection_errors(void **state)
{
	struct h2_server *server = *state;

	complaints = 0;
	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(connection_wrongs) / sizeof(connection_wrongs[0]); i++) {
		check_connection_ends(server, &connection_wrongs[i], false);
		if (strlen(connection_wrongs[i].said) < 100 && !strstr(connection_wrongs[i].said, "*("))
			check_connection_ends(server, &connection_wrongs[i], true);
	}
	assert_int_equal(complaints, 0);
	h2_server_assert_serves(server);
}

static void test_stream_errors(void **state)
{
	struct h2_server *server = *state;

	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(stream_wrongs) / sizeof(stream_wrongs[0]); i++) {
		const struct wrong *wrong = &stream_wrongs[i];
		struct h2_peer peer;
		char expected[64];
		const char *story;

		attack(server, &peer, wrong, false);
		h2_say(&peer.out, "get 7 /other");
		h2_peer_say(&peer);
		snprintf(expected, sizeof(expected), "rst 1 %s;", wrong->expected);
		h2_peer_until(&peer, expected);
		story = h2_peer_until(&peer, "headers 7 :status=200");
		if (!strstr(story, expected) || !strstr(story, "headers 7 :status=200") || strstr(story, "goaway"))
			fail_msg("%s: expected %s and its neighbour answered, got: %s", wrong->what, expected, story);
		h2_server_disconnect(&peer);
	}
}

/* What is no offence: passed over, and the request beside it is answered. */
static void test_not_understood_is_passed_over(void **state)
{
	static const struct wrong harmless[] = {
		{"a frame of an unknown type", "frame 77 255 0 00010203; frame 77 0 1 -; frame 255 0 9 00", ""},
		{"an unknown setting", "settings 0=1 99=4294967295", ""},
		{"unknown flags", "frame 6 0xfe 0 0000000000000000; frame 4 0xfe 0 -", ""},
		{"the reserved bit of a stream number", "frame 8 0 0x80000000 80000001", ""},
		{"PRIORITY of a stream that is not there", "priority 99 0; priority 4 0", ""},
		{"PRIORITY_UPDATE", "frame 16 0 0 00000001753d31", ""},
		{"ALTSVC and ORIGIN, which servers send", "frame 10 0 0 0000; frame 12 0 0 0000", ""},
		{"PING acknowledged that nobody sent", "frame 6 1 0 0102030405060708", ""},
		{"a window that shrinks and grows", "settings 4=0; settings 4=100000 5=16777215", ""},
		{"no header table", "settings 1=0", ""},
		{"RST_STREAM of a stream that is over", "get 11 /; rst 11 8; rst 11 8", ""},
		{"WINDOW_UPDATE of a stream that is over", "get 11 /; rst 11 8; window 11 100", ""},
		{"padding",
		 "frame 1 0x0d 11 02 8286840107 72657669657773 0000; headers 13 4 " POST "; frame 0 9 13 03 61 000000",
		 ""},
		{"HEADERS with a priority", "frame 1 0x25 11 8000000010 8286840107 72657669657773", ""},
	};
	struct h2_server *server = *state;

	h2_server_listen(server);
	complaints = 0;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		struct h2_peer peer;
		const char *story;

		attack(server, &peer, &harmless[i], false);
		h2_say(&peer.out, "get 101 /other");
		h2_peer_say(&peer);
		story = h2_peer_until(&peer, "headers 101 :status=200");
		if (!strstr(story, "headers 101 :status=200") || strstr(story, "goaway")) {
			print_error("%s: got: %s\n", harmless[i].what, story);
			complaints++;
		}
		h2_server_disconnect(&peer);
	}
	assert_int_equal(complaints, 0);
}

/* Forms of messages that are rare and right: what of them a client sees. */
static void test_good_forms(void **state)
{
	static const struct wrong forms[] = {
		{"HEAD", "headers 1 5 :method: HEAD|:scheme: http|:authority: reviews|:path: /a",
		 "content-length=9 END;"},
		{"an answer without a body", "get 1 /nobody", "headers 1 :status=204"},
		{"host in place of :authority", "headers 1 5 :method: GET|:scheme: http|:path: /a|host: reviews",
		 "data 1 8 END;"},
		{"both, and the same", "headers 1 5 " GET "|host: reviews", "data 1 7 END;"},
		{"OPTIONS *", "headers 1 5 :method: OPTIONS|:scheme: http|:authority: reviews|:path: *",
		 "headers 1 :status="},
		{"te: trailers", "headers 1 5 " GET "|te: trailers", "data 1 7 END;"},
		{"a length and a body", "headers 1 4 " PUT "|content-length: 3; data 1 1 abc", "data 1 13 END;"},
		{"a length of none", "headers 1 5 " PUT "|content-length: 0", "data 1 10 END;"},
		{"a body that ends with an empty frame", "headers 1 4 " PUT "; data 1 0 abc; data 1 1 ",
		 "data 1 13 END;"},
		{"trailers", "headers 1 4 " PUT "; data 1 0 abc; headers 1 5 x-end: yes", "data 1 16 END;"},
		{"trailers and no body", "headers 1 4 " PUT "; headers 1 5 x-end: yes", "data 1 13 END;"},
		{"a body that waits to be asked for", "headers 1 4 " PUT "|expect: 100-continue",
		 "headers 1 :status=100;"},
	};
	struct h2_server *server = *state;

	server->body_max = 1000;
	h2_server_listen(server);
	complaints = 0;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct h2_peer peer;
		const char *story;

		attack(server, &peer, &forms[i], false);
		h2_say(&peer.out, "get 3 /other");
		h2_peer_say(&peer);
		h2_peer_until(&peer, "data 3 12 END;");
		story = h2_peer_until(&peer, forms[i].expected);
		if (!strstr(story, forms[i].expected) || strstr(story, "goaway")) {
			print_error("%s: expected %s, got: %s\n", forms[i].what, forms[i].expected, story);
			complaints++;
		}
		h2_server_disconnect(&peer);
	}
	assert_int_equal(complaints, 0);
}

static const char conversation[] =
	"preface; settings 4=100000 1=0; ack; get 1 /a; headers 3 4 " GET
	"b|content-length: 3; data 3 0 a; data 3 0 b; data 3 0 c; "
	"headers 3 5 x-end: yes; frame 77 0 0 0102; priority 5 3; ping; frame 1 1 5 8286; frame 9 0 5 84; "
	"frame 9 4 5 0107 72657669657773; rst 7 8";

/* An honest conversation that breaks off behind each of its bytes: nothing stays, and the next client is served. */
static void test_cut_at_every_byte(void **state)
{
	struct h2_server *server = *state;
	struct buf all;

	h2_server_listen(server);
	mesh_buf_init(&all, &mesh_mem_default, 0);
	h2_say(&all, conversation);
	for (size_t cut = 0; cut < mesh_buf_len(&all); cut++) {
		int fd = raw_connect(server->port);

		raw_send(fd, mesh_buf_slice(&all).data, cut);
		if (cut % 2)
			raw_reset(fd);
		close(fd);
	}
	mesh_buf_free(&all);
	h2_server_assert_serves(server);
}

/* The same whole, in segments of one byte: as good as in one piece. */
static void test_byte_by_byte(void **state)
{
	struct h2_server *server = *state;

	server->body_max = 1000;
	h2_server_listen(server);
	for (int drip = 0; drip < 2; drip++) {
		struct h2_peer peer;
		struct mesh_slice bytes;
		const char *story;

		h2_peer_init(&peer, raw_connect(server->port));
		h2_say(&peer.out, "preface; settings 4=100000 1=0; ack; get 1 /a; headers 3 4 :method: PUT|:scheme: "
				  "http|:authority: reviews|:path: /b|"
				  "content-length: 3; data 3 0 a; data 3 0 b; data 3 0 c; headers 3 5 x-end: yes; "
				  "frame 77 0 0 0102; ping; "
				  "frame 1 1 5 8286; frame 9 0 5 84; frame 9 4 5 0107 72657669657773");
		bytes = mesh_buf_slice(&peer.out);
		assert_true(drip ? raw_drip(peer.fd, bytes.data, bytes.len) : raw_send(peer.fd, bytes.data, bytes.len));
		mesh_buf_clear(&peer.out);
		h2_peer_until(&peer, "data 1 8 END;");
		h2_peer_until(&peer, "data 3 14 END;");
		h2_peer_until(&peer, "data 5 7 END;");
		story = h2_peer_until(&peer, "ping ack attacker;");
		if (!strstr(story, "data 1 8 END;") || !strstr(story, "data 3 14 END;") ||
		    !strstr(story, "data 5 7 END;"))
			fail_msg("%s: %s", drip ? "byte by byte" : "whole", story);
		h2_server_disconnect(&peer);
	}
}

/* A port that takes HTTP/2 alone; one that takes both has what is no preface answered by HTTP/1.1. */
static void test_prefaces(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
	} cases[] = {
		{"another text", "INVALID CONNECTION PREFACE\r\n\r\n", 30},
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n", 33},
		{"wrong in the last byte", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 24},
		{"PING for SETTINGS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x8\6\0\0\0\0\0abcdefgh", 41},
		{"SETTINGS acknowledged first", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\1\0\0\0\0", 33},
	};
	struct h2_server *server = *state;

	server->codec = HTTP_CODEC_HTTP2;
	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct h2_peer peer;
		const char *story;

		h2_peer_init(&peer, raw_connect(server->port));
		peer.what = cases[i].what;
		raw_send(peer.fd, cases[i].bytes, cases[i].len);
		story = h2_peer_rest(&peer);
		if (!goaway_with(story, "PROTOCOL_ERROR") || strstr(story, "headers"))
			fail_msg("%s: %s", cases[i].what, story);
		h2_server_disconnect(&peer);
	}
	assert_int_equal(atomic_load(&server->calls), 0);
	h2_server_assert_serves(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connection_errors, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_stream_errors, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_not_understood_is_passed_over, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_good_forms, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_cut_at_every_byte, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_byte_by_byte, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_prefaces, h2_server_open, h2_server_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
