/* SPDX-License-Identifier: Apache-2.0 */
/* The control streams over real connections: a gRPC server in this process, and peers that are none. Loopback only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/error.h>

#include "base/buf.h"
#include "control/control_stream.h"
#include "support/failing_mem.h"
#include "support/test_ca.h"

/* ---- the server: one call after another, what it does is in the method's name ---- */

struct server {
	grpc_server *grpc;
	grpc_completion_queue *queue;
	pthread_t thread;
	int port;
	bool stopping;
};

static char stop_tag, call_tag;

/* One thing is under way at a time. */
static bool wait_tag(struct server *s, void *tag)
{
	for (;;) {
		grpc_event event = grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);

		if (event.tag == &stop_tag)
			s->stopping = true;
		else if (event.tag == tag)
			return event.success;
	}
}

static bool batch(struct server *s, grpc_call *call, const grpc_op *ops, size_t count)
{
	return grpc_call_start_batch(call, ops, count, &call_tag, NULL) == GRPC_CALL_OK && wait_tag(s, &call_tag);
}

static bool send_bytes(struct server *s, grpc_call *call, grpc_slice slice)
{
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	bool good;

	op.data.send_message.send_message = grpc_raw_byte_buffer_create(&slice, 1);
	good = batch(s, call, &op, 1);
	grpc_byte_buffer_destroy(op.data.send_message.send_message);
	grpc_slice_unref(slice);
	return good;
}

static void finish(struct server *s, grpc_call *call, grpc_status_code status, const char *text)
{
	grpc_slice words = grpc_slice_from_copied_string(text);
	grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};

	op.data.send_status_from_server.status = status;
	op.data.send_status_from_server.status_details = &words;
	batch(s, call, &op, 1);
	grpc_slice_unref(words);
}

static void echo(struct server *s, grpc_call *call)
{
	for (;;) {
		grpc_byte_buffer *bytes = NULL;
		grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
		grpc_byte_buffer_reader reader;
		bool sent;

		op.data.recv_message.recv_message = &bytes;
		if (!batch(s, call, &op, 1) || !bytes)
			break;
		grpc_byte_buffer_reader_init(&reader, bytes);
		sent = send_bytes(s, call, grpc_byte_buffer_reader_readall(&reader));
		grpc_byte_buffer_reader_destroy(&reader);
		grpc_byte_buffer_destroy(bytes);
		if (!sent)
			break;
	}
	finish(s, call, GRPC_STATUS_OK, "");
}

static void say_headers(struct server *s, grpc_call *call, const grpc_metadata_array *headers)
{
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	for (size_t i = 0; i < headers->count; i++)
		mesh_buf_printf(&text, "%.*s: %.*s\n", (int)GRPC_SLICE_LENGTH(headers->metadata[i].key),
				(char *)GRPC_SLICE_START_PTR(headers->metadata[i].key),
				(int)GRPC_SLICE_LENGTH(headers->metadata[i].value),
				(char *)GRPC_SLICE_START_PTR(headers->metadata[i].value));
	send_bytes(s, call, grpc_slice_from_copied_buffer(mesh_buf_slice(&text).data, mesh_buf_len(&text)));
	mesh_buf_free(&text);
	finish(s, call, GRPC_STATUS_OK, "");
}

static void serve_call(struct server *s, grpc_call *call, const char *method, const grpc_metadata_array *headers)
{
	grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	int cancelled = 0;

	batch(s, call, &op, 1);
	if (!strcmp(method, "/t/Echo")) {
		echo(s, call);
	} else if (!strcmp(method, "/t/Headers")) {
		say_headers(s, call, headers);
	} else if (!strcmp(method, "/t/Big")) {
		send_bytes(s, call, grpc_slice_malloc(100001));
		finish(s, call, GRPC_STATUS_OK, "");
	} else if (!strcmp(method, "/t/Denied")) {
		finish(s, call, GRPC_STATUS_PERMISSION_DENIED, "not you");
	} else { /* silence until it is cancelled */
		op = (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
		op.data.recv_close_on_server.cancelled = &cancelled;
		batch(s, call, &op, 1);
	}
}

static void *server_main(void *argument)
{
	struct server *s = argument;

	while (!s->stopping) {
		grpc_metadata_array headers;
		grpc_call_details details;
		grpc_call *call = NULL;
		char *method;

		grpc_metadata_array_init(&headers);
		grpc_call_details_init(&details);
		if (grpc_server_request_call(s->grpc, &call, &details, &headers, s->queue, s->queue, &headers) == GRPC_CALL_OK &&
		    wait_tag(s, &headers)) {
			method = grpc_slice_to_c_string(details.method);
			serve_call(s, call, method, &headers);
			gpr_free(method);
			grpc_call_unref(call);
		}
		grpc_call_details_destroy(&details);
		grpc_metadata_array_destroy(&headers);
	}
	return NULL;
}

static void server_start(struct server *s, grpc_server_credentials *credentials)
{
	memset(s, 0, sizeof(*s));
	grpc_init();
	s->queue = grpc_completion_queue_create_for_next(NULL);
	s->grpc = grpc_server_create(NULL, NULL);
	grpc_server_register_completion_queue(s->grpc, s->queue, NULL);
	s->port = grpc_server_add_http2_port(s->grpc, "127.0.0.1:0", credentials);
	assert_true(s->port > 0);
	grpc_server_credentials_release(credentials);
	grpc_server_start(s->grpc);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
	grpc_server_shutdown_and_notify(s->grpc, s->queue, &stop_tag);
	grpc_server_cancel_all_calls(s->grpc);
	pthread_join(s->thread, NULL);
	grpc_completion_queue_shutdown(s->queue);
	while (grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_server_destroy(s->grpc);
	grpc_completion_queue_destroy(s->queue);
	grpc_shutdown();
}

/* ---- our side ---- */

struct fixture {
	struct failing_mem mem; /* for its count of what was not given back */
	struct log log;
	struct loop *loop;
	struct control *control;
	struct control_handler handler;
	struct control_target target;
	char address[64];
	struct control_stream *stream;
	struct buf got; /* messages, each with a line end */
	int messages, ends, status;
	char text[512];
	bool close_in_message;
};

static void on_message(struct control_handler *handler, struct mesh_slice bytes)
{
	struct fixture *f = MESH_CONTAINER(handler, struct fixture, handler);

	assert_int_equal(f->ends, 0); /* the end is the last */
	f->messages++;
	mesh_buf_append(&f->got, bytes);
	mesh_buf_append(&f->got, MESH_SLICE("\n"));
	if (f->close_in_message) {
		mesh_control_ops(f->control)->close(f->stream);
		f->stream = NULL;
	}
}

static void on_closed(struct control_handler *handler, int status, const char *text)
{
	struct fixture *f = MESH_CONTAINER(handler, struct fixture, handler);

	f->ends++;
	f->status = status;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

static void begin(struct fixture *f, int port)
{
	memset(f, 0, sizeof(*f));
	failing_mem_init(&f->mem, 0);
	f->handler = (struct control_handler){on_message, on_closed};
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", port);
	f->target = (struct control_target){.address = f->address, .message_bytes_max = 100000};
	mesh_buf_init(&f->got, &mesh_mem_default, 0);
	assert_int_equal(mesh_loop_new(&f->mem.mem, &f->loop), 0);
	assert_int_equal(mesh_control_grpc.start(&mesh_control_grpc, &f->mem.mem, &f->log, f->loop, &f->control), 0);
}

static void end(struct fixture *f)
{
	mesh_control_ops(f->control)->close(f->stream);
	mesh_control_ops(f->control)->stop(f->control);
	mesh_loop_free(f->loop);
	mesh_buf_free(&f->got);
	assert_int_equal(atomic_load(&f->mem.blocks), 0);
}

static int open_with(struct fixture *f, const char *method, const struct mesh_header *headers, size_t count, uint32_t timeout_ms)
{
	return mesh_control_ops(f->control)->open(f->control, &f->target, method, headers, count, timeout_ms, &f->handler, &f->stream);
}

static void open_stream(struct fixture *f, const char *method)
{
	assert_int_equal(open_with(f, method, NULL, 0, 0), 0);
	assert_int_equal(f->messages + f->ends, 0); /* nothing from inside */
}

static int send_text(struct fixture *f, const char *text, bool last)
{
	return mesh_control_ops(f->control)->send(f->stream, mesh_slice_of(text), last);
}

static void until(struct fixture *f, const int *count, int value)
{
	for (int i = 0; i < 3000 && *count < value; i++)
		assert_true(mesh_loop_run(f->loop, 10) >= 0);
	assert_int_equal(*count, value);
}

static void ends_with(struct fixture *f, int status)
{
	until(f, &f->ends, 1);
	if (f->status != status)
		fail_msg("status %d (%s), expected %d", f->status, f->text, status);
	assert_int_equal(send_text(f, "late", false), MESH_ERROR_STATE);
	mesh_control_ops(f->control)->close(f->stream);
	f->stream = NULL;
}

/* ---- tests ---- */

static void messages_in_order(void **state)
{
	struct server server;
	struct fixture f;
	char text[16];

	server_start(&server, grpc_insecure_server_credentials_create());
	begin(&f, server.port);
	open_stream(&f, "/t/Echo");
	for (int i = 0; i < 50; i++) { /* before there is a connection, and all at once */
		snprintf(text, sizeof(text), "m%02d", i);
		assert_int_equal(send_text(&f, text, i == 49), 0);
	}
	assert_int_equal(send_text(&f, "after the last", false), MESH_ERROR_STATE);
	until(&f, &f.messages, 50);
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "m%02d\n", i);
		assert_memory_equal(mesh_buf_slice(&f.got).data + 4 * i, text, 4);
	}
	ends_with(&f, CONTROL_OK);
	end(&f);
	server_stop(&server);
}

static void headers_arrive(void **state)
{
	const struct mesh_header headers[] = {{.name = MESH_SLICE("authorization"), .value = MESH_SLICE("Bearer abc")},
					      {.name = MESH_SLICE("clusterid"), .value = MESH_SLICE("Kubernetes")}};
	struct server server;
	struct fixture f;

	server_start(&server, grpc_insecure_server_credentials_create());
	begin(&f, server.port);
	assert_int_equal(open_with(&f, "/t/Headers", headers, 2, 0), 0);
	until(&f, &f.messages, 1);
	assert_true(mesh_slice_contains(mesh_buf_slice(&f.got), MESH_SLICE("authorization: Bearer abc\n")));
	assert_true(mesh_slice_contains(mesh_buf_slice(&f.got), MESH_SLICE("clusterid: Kubernetes\n")));
	ends_with(&f, CONTROL_OK);
	end(&f);
	server_stop(&server);
}

static void bad_headers(void **state)
{
	const struct mesh_header bad[] = {{.name = MESH_SLICE("authorization"), .value = MESH_SLICE("a\nb")},
					  {.name = MESH_SLICE("Upper"), .value = MESH_SLICE("x")},
					  {.name = MESH_SLICE("a b"), .value = MESH_SLICE("x")}};
	struct mesh_header many[9];
	struct fixture f;

	begin(&f, 1);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(open_with(&f, "/t/Echo", &bad[i], 1, 0), MESH_ERROR_INVALID);
	for (size_t i = 0; i < 9; i++)
		many[i] = (struct mesh_header){.name = MESH_SLICE("a"), .value = MESH_SLICE("b")};
	assert_int_equal(open_with(&f, "/t/Echo", many, 9, 0), MESH_ERROR_INVALID);
	assert_null(f.stream);
	end(&f);
}

static void statuses(void **state)
{
	struct server server;
	struct fixture f;

	server_start(&server, grpc_insecure_server_credentials_create());
	begin(&f, server.port);
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_PERMISSION_DENIED);
	assert_string_equal(f.text, "not you");
	f.ends = 0;
	open_stream(&f, "/t/Big"); /* one byte more than is allowed */
	ends_with(&f, CONTROL_RESOURCE_EXHAUSTED);
	assert_int_equal(f.messages, 0);
	f.ends = 0;
	f.target.message_bytes_max = 100001;
	open_stream(&f, "/t/Big");
	ends_with(&f, CONTROL_OK);
	assert_int_equal(f.messages, 1);
	f.ends = f.messages = 0;
	assert_int_equal(open_with(&f, "/t/Silence", NULL, 0, 50), 0);
	ends_with(&f, CONTROL_DEADLINE_EXCEEDED);
	end(&f);
	server_stop(&server);
}

static void closed_at_any_moment(void **state)
{
	struct server server;
	struct fixture f;

	server_start(&server, grpc_insecure_server_credentials_create());
	for (int stage = 0; stage < 6; stage++) {
		begin(&f, server.port);
		open_stream(&f, "/t/Echo");
		if (stage >= 1)
			assert_int_equal(send_text(&f, "one", false), 0);
		if (stage >= 2)
			mesh_loop_run(f.loop, 10);
		f.close_in_message = stage == 3;
		if (stage >= 3)
			until(&f, &f.messages, 1);
		if (stage == 4) { /* nothing comes afterwards, though it was on its way */
			assert_int_equal(send_text(&f, "two", false), 0);
			mesh_control_ops(f.control)->close(f.stream);
			f.stream = NULL;
			for (int i = 0; i < 10; i++)
				mesh_loop_run(f.loop, 1);
			assert_int_equal(f.messages, 1);
			assert_int_equal(f.ends, 0);
		}
		if (stage == 5) {
			assert_int_equal(send_text(&f, "two", true), 0);
			until(&f, &f.ends, 1);
		}
		end(&f);
	}
	server_stop(&server);
}

/* A server that goes away under a stream: told once, and a new stream to it is another connection. */
static void server_goes(void **state)
{
	struct server server;
	struct fixture f;

	server_start(&server, grpc_insecure_server_credentials_create());
	begin(&f, server.port);
	open_stream(&f, "/t/Echo");
	assert_int_equal(send_text(&f, "one", false), 0);
	until(&f, &f.messages, 1);
	server_stop(&server);
	until(&f, &f.ends, 1);
	assert_int_not_equal(f.status, CONTROL_OK);
	mesh_control_ops(f.control)->close(f.stream);
	f.stream = NULL;
	f.ends = f.messages = 0;
	open_stream(&f, "/t/Echo"); /* nobody there any more */
	ends_with(&f, CONTROL_UNAVAILABLE);
	end(&f);
}

/* Peers that accept and then say nothing of use. */
static void not_a_server(void **state)
{
	static const char *const greetings[] = {"", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x16\x03\x01\x02", "garbage garbage garbage"};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct fixture f;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 8), 0);
	getsockname(listener, (struct sockaddr *)&at, &len);
	begin(&f, ntohs(at.sin_port));
	for (size_t i = 0; i < 4; i++) {
		int peer;

		f.ends = 0;
		open_stream(&f, "/t/Echo");
		assert_int_equal(send_text(&f, "hello", false), 0);
		peer = accept(listener, NULL, NULL);
		assert_true(peer >= 0);
		assert_true(send(peer, greetings[i], strlen(greetings[i]), MSG_NOSIGNAL) >= 0);
		close(peer);
		ends_with(&f, CONTROL_UNAVAILABLE);
		assert_int_equal(f.messages, 0);
	}
	end(&f);
	close(listener);
}

static grpc_server_credentials *tls_credentials(const struct test_ca *ca, bool ask_client)
{
	grpc_ssl_pem_key_cert_pair pair;
	grpc_server_credentials *credentials;
	char *chain, *key;

	test_ca_issue(ca, &(struct test_leaf){.dns = "istiod.test"}, &chain, &key);
	pair = (grpc_ssl_pem_key_cert_pair){key, chain};
	credentials = grpc_ssl_server_credentials_create_ex(
		ca->root_pem, &pair, 1,
		ask_client ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
	free(chain);
	free(key);
	assert_non_null(credentials);
	return credentials;
}

static void over_tls(void **state)
{
	struct test_ca ca, other;
	struct server server;
	struct fixture f;

	test_ca_make(&ca);
	test_ca_make(&other);
	server_start(&server, tls_credentials(&ca, false));
	begin(&f, server.port);
	f.target.server_name = "istiod.test";
	f.target.roots_pem = ca.root_pem;
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_PERMISSION_DENIED); /* got through */
	f.ends = 0;
	f.target.server_name = "istiod.elsewhere";
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_UNAVAILABLE);
	f.ends = 0;
	f.target.server_name = "istiod.test";
	f.target.roots_pem = other.root_pem;
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_UNAVAILABLE);
	f.ends = 0;
	f.target.server_name = NULL; /* plaintext to a TLS port */
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_UNAVAILABLE);
	end(&f);
	server_stop(&server);
	test_ca_free(&ca);
	test_ca_free(&other);
}

static void with_our_certificate(void **state)
{
	struct test_ca ca;
	struct server server;
	struct fixture f;
	char *chain, *key;

	test_ca_make(&ca);
	test_ca_issue(&ca, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/a/sa/b"}, &chain, &key);
	server_start(&server, tls_credentials(&ca, true));
	begin(&f, server.port);
	f.target.server_name = "istiod.test";
	f.target.roots_pem = ca.root_pem;
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_UNAVAILABLE); /* it wants to know who we are */
	f.ends = 0;
	f.target.chain_pem = chain;
	f.target.key_pem = key;
	open_stream(&f, "/t/Denied");
	ends_with(&f, CONTROL_PERMISSION_DENIED);
	end(&f);
	server_stop(&server);
	free(chain);
	free(key);
	test_ca_free(&ca);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_in_order),	cmocka_unit_test(headers_arrive), cmocka_unit_test(bad_headers),
		cmocka_unit_test(statuses),		cmocka_unit_test(closed_at_any_moment),
		cmocka_unit_test(server_goes),		cmocka_unit_test(not_a_server),	  cmocka_unit_test(over_tls),
		cmocka_unit_test(with_our_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
