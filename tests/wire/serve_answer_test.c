/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are more than a status and a body: in gRPC's words, with something before them, in another protocol.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/served.h"

/* What is refused here is told in gRPC's own words to whom speaks gRPC, and only to them. */
static void test_grpc_refusals(void **state)
{
	static const char *const types[] = {"application/grpc", "application/grpc+proto", "application/grpc-web",
					    "text/plain"};
	struct served *served = *state;
	struct h2_peer peer;
	char fields[512];

	served_listen(served);
	for (unsigned mode = 0; mode < 2; mode++) {
		served->no_route = mode == 0;
		served->deny = mode == 1;
		data_plane_publish(&served->plane);
		served_connect(served, &peer);
		for (unsigned i = 0; i < 4; i++) {
			snprintf(fields, sizeof(fields),
				 ":method: POST\n:scheme: http\n:authority: reviews\n:path: /a.B/C\ncontent-type: %s\n",
				 types[i]);
			h2_headers(&peer.out, 2 * i + 1, H2_WHOLE, fields);
		}
		assert_true(h2_peer_sync(&peer));
		served_assert_heard(&peer, "headers 1 :status=200");
		served_assert_heard(&peer, mode ? "headers 5 :status=403" : "headers 5 :status=404");
		served_assert_heard(&peer, mode ? "headers 7 :status=403" : "headers 7 :status=404");
		served_assert_heard(&peer, "headers 3 :status=200");
		served_assert_heard(&peer, mode ? "grpc-status=7 grpc-message=RBAC: access denied" : "grpc-status=12");
		assert_null(strstr(h2_peer_until(&peer, "settings"), "data 1 "));
		assert_null(strstr(h2_peer_until(&peer, "settings"), "data 3 "));
		served_disconnect(&peer);
	}
	assert_int_equal(atomic_load(&served->calls), 0);
}

/* A whole answer in a head, and one that ends in trailers. */
static void test_grpc_answers(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	const char *story;

	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_WHOLE, GRPC_POST("/grpc-head"));
	h2_headers(&peer.out, 3, H2_WHOLE, GRPC_POST("/grpc"));
	assert_true(h2_peer_sync(&peer));
	served_assert_heard(&peer, "grpc-status=5");
	served_assert_heard(&peer, "headers 3 grpc-status=0 END;");
	story = h2_peer_until(&peer, "settings");
	assert_null(strstr(story, "content-length"));
	assert_null(strstr(story, "data 1 "));
	assert_non_null(strstr(story, "data 3 7;"));
	served_disconnect(&peer);
}

static void test_interim(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/early");
	served_assert_heard(&peer, "headers 1 :status=103 link=</a>;");
	served_assert_heard(&peer, "headers 1 :status=200");
	served_ask(&peer, 3, "/hold"); /* by another thread than the worker's */
	served_await(&served->held_count, 1);
	assert_int_equal(mesh_call_inform(served->held[0], 102, NULL, 0), 0);
	served_assert_heard(&peer, "headers 3 :status=102;");
	served_disconnect(&peer);
	served_assert_http1(served, "GET /early HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n",
			    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n");
}

/* Where that is configured the application says whether the body is wanted, else it is asked for at once. */
static void test_expect_continue(void **state)
{
	static const char expects[] = " HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nContent-Length: 4\r\n"
				      "Expect: 100-continue\r\n\r\n";
	struct served *served = *state;
	char said[256], got[4096];
	int fd;

	served->http.proxy_100_continue = true;
	served_listen(served);
	snprintf(said, sizeof(said), "PUT /continue%s", expects);
	fd = raw_connect(served->port);
	raw_say(fd, said);
	got[0] = '\0';
	assert_true(raw_until(fd, got, sizeof(got), "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
	close(fd);
	for (int asked = 0; asked < 2; asked++) {
		served->http.proxy_100_continue = !asked;
		data_plane_publish(&served->plane);
		snprintf(said, sizeof(said), "PUT /refused%s", expects);
		fd = raw_connect(served->port);
		raw_say(fd, said);
		got[0] = '\0';
		assert_true(raw_until(fd, got, sizeof(got), "HTTP/1.1 417 "));
		assert_int_equal(strstr(got, "HTTP/1.1 100 ") != NULL, asked);
		close(fd);
	}
}

#define CONNECT       ":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: reviews\n:path: /socket\n"
#define UPGRADE(path) "GET " path " HTTP/1.1\r\nHost: reviews\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void test_upgrade(void **state)
{
	static struct mesh_slice upgrades[] = {{"websocket", 9}};
	struct served *served = *state;
	struct h2_peer peer;
	char got[4096] = "";
	int fd;

	served->http.http2.allow_connect = true;
	served_listen(served);
	/* not among those configured */
	fd = raw_connect(served->port);
	raw_say(fd, UPGRADE("/socket"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_non_null(strstr(got, "HTTP/1.1 403 "));
	close(fd);
	assert_int_equal(atomic_load(&served->calls), 0);
	served->upgrades = upgrades;
	served->upgrade_count = 1;
	data_plane_publish(&served->plane);
	fd = raw_connect(served->port);
	raw_say(fd, UPGRADE("/socket"));
	got[0] = '\0';
	assert_true(raw_until(fd, got, sizeof(got), "hello"));
	assert_non_null(strstr(got, "HTTP/1.1 101 "));
	raw_say(fd, "echo");
	assert_true(raw_until(fd, got, sizeof(got), "helloecho"));
	raw_say(fd, "bye");
	assert_true(raw_until(fd, got, sizeof(got), "helloechobye"));
	close(fd);
	served_await(&served->done, 1);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, CONNECT);
	h2_peer_say(&peer);
	served_assert_heard(&peer, "headers 1 :status=200");
	served_assert_heard(&peer, "data 1 5;");
	h2_data(&peer.out, 1, 0, "echo");
	h2_peer_say(&peer);
	served_assert_heard(&peer, "data 1 4;");
	h2_data(&peer.out, 1, H2_END_STREAM, "bye");
	h2_peer_say(&peer);
	served_assert_heard(&peer, "data 1 3 END;");
	served_ask(&peer, 3, "/no-upgrade"); /* nobody asked: the handler may not */
	served_assert_heard(&peer, "headers 3 :status=500");
	served_disconnect(&peer);
	served_await(&served->done, 2);
}

/* CONNECT to somewhere else is nobody's here. */
static void test_connect_refused(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, ":method: CONNECT\n:authority: reviews:80\n");
	h2_peer_say(&peer);
	served_assert_heard(&peer, "headers 1 :status=403");
	assert_int_equal(atomic_load(&served->calls), 0);
	served_disconnect(&peer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, served_open, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_grpc_refusals),   CASE(test_grpc_answers), CASE(test_interim),
		CASE(test_expect_continue), CASE(test_upgrade),      CASE(test_connect_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
