/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What HTTP/2 through the mesh is compared with: nghttp2 over OpenSSL in plain C, one connection. `plain_h2 server
 * DIR` prints its port and answers 1 KiB to each request until its input ends; `plain_h2 client DIR PORT IN_FLIGHT
 * WARM CALLS SERVER_PID` asks and prints what measure.h says. No routes, no bounds, no time limits, a blocking read at
 * the client: the floor that nghttp2 and OpenSSL leave. TLS is mutual, TLS 1.3 AES-128-GCM. DIR holds ca.pem and each
 * side's .pem and .key.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"
#include "plain_tls.h"

enum { ANSWER = 1024, IN_FLIGHT_MAX = 256, WINDOW = 1 << 24 };

struct slot {
	size_t received;
	uint64_t since;
};

struct peer {
	SSL *ssl;
	nghttp2_session *session;
	struct measure *measure; /* NULL: a server */
	uint8_t out[16384];
	size_t out_len;
};

static uint8_t answer[ANSWER];

static void fail(const char *what)
{
	fprintf(stderr, "plain_h2: %s\n", what);
	exit(1);
}

/* Full frames go out in writes of up to 16 KiB. */
static void give(struct peer *peer)
{
	if (peer->out_len && SSL_write(peer->ssl, peer->out, (int)peer->out_len) != (int)peer->out_len)
		fail("send failed");
	peer->out_len = 0;
}

static void send_all(struct peer *peer)
{
	const uint8_t *data;
	ssize_t len;

	while ((len = nghttp2_session_mem_send(peer->session, &data)) > 0) {
		if (peer->out_len + (size_t)len > sizeof(peer->out))
			give(peer);
		memcpy(peer->out + peer->out_len, data, (size_t)len);
		peer->out_len += (size_t)len;
	}
	if (len < 0)
		fail("nghttp2 cannot send");
	give(peer);
}

/* False at the connection's end. */
static bool receive(struct peer *peer)
{
	uint8_t data[16384];
	int len = SSL_read(peer->ssl, data, sizeof(data));

	if (len > 0 && nghttp2_session_mem_recv(peer->session, data, (size_t)len) != len)
		fail("nghttp2 cannot receive");
	return len > 0;
}

#define FIELD(name, value)                                                                                             \
	{                                                                                                              \
		(uint8_t *)name, (uint8_t *)value, sizeof(name) - 1, sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE           \
	}

static void ask(struct peer *peer, struct slot *slot)
{
	const nghttp2_nv fields[] = {
		FIELD(":method", "GET"), FIELD(":scheme", "https"),    FIELD(":authority", "reviews:9080"),
		FIELD(":path", "/1k"),   FIELD("user-agent", "bench"), FIELD("accept", "*/*")};

	if (peer->measure->started == peer->measure->warm + peer->measure->calls)
		return;
	peer->measure->started++;
	*slot = (struct slot){0, measure_now_ns()};
	if (nghttp2_submit_request(peer->session, NULL, fields, sizeof(fields) / sizeof(fields[0]), NULL, slot) < 0)
		fail("request cannot be submitted");
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
	struct slot *slot = nghttp2_session_get_stream_user_data(session, id);

	if (slot)
		slot->received += len;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct peer *peer = user;

	if (peer->measure && name_len == 7 && !memcmp(name, ":status", 7) &&
	    (value_len != 3 || memcmp(value, "200", 3)))
		fail("answer is not 200");
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct peer *peer = user;
	struct slot *slot = nghttp2_session_get_stream_user_data(session, id);

	if (!peer->measure)
		return 0;
	if (code || slot->received != ANSWER)
		fail("answer is not 1024 bytes");
	measure_call(peer->measure, slot->since);
	ask(peer, slot);
	return 0;
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
			   nghttp2_data_source *source, void *user)
{
	if (room < ANSWER)
		fail("no room for the answer");
	memcpy(buf, answer, ANSWER);
	*flags = NGHTTP2_DATA_FLAG_EOF;
	return ANSWER;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	const nghttp2_nv fields[] = {FIELD(":status", "200"), FIELD("content-type", "application/octet-stream"),
				     FIELD("content-length", "1024"), FIELD("server", "bench")};
	const nghttp2_data_provider provider = {.read_callback = read_answer};
	struct peer *peer = user;

	if (peer->measure || frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	return nghttp2_submit_response(session, frame->hd.stream_id, fields, sizeof(fields) / sizeof(fields[0]),
				       &provider);
}

static void open_session(struct peer *peer, SSL_CTX *ctx, int fd)
{
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1024},
						   {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 18}};
	nghttp2_session_callbacks *callbacks;
	int one = 1, failed;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	peer->ssl = plain_tls_open(ctx, fd, !peer->measure);
	if (nghttp2_session_callbacks_new(&callbacks))
		fail("out of memory");
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	failed = peer->measure ? nghttp2_session_client_new(&peer->session, callbacks, peer)
			       : nghttp2_session_server_new(&peer->session, callbacks, peer);
	nghttp2_session_callbacks_del(callbacks);
	if (failed || nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, settings, 2) ||
	    nghttp2_session_set_local_window_size(peer->session, NGHTTP2_FLAG_NONE, 0, WINDOW))
		fail("session cannot be opened");
}

static void close_session(struct peer *peer)
{
	nghttp2_session_del(peer->session);
	SSL_free(peer->ssl);
}

static void serve_connection(SSL_CTX *ctx, int fd)
{
	struct peer peer = {.measure = NULL};

	open_session(&peer, ctx, fd);
	do {
		send_all(&peer);
		/* as a server of many connections would wait */
		if (!SSL_has_pending(peer.ssl) && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1) < 0)
			fail("poll failed");
	} while (receive(&peer));
	close_session(&peer);
	close(fd);
}

static void serve(SSL_CTX *ctx)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct pollfd waits[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};

	memset(answer, 'x', sizeof(answer));
	waits[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(waits[1].fd, (struct sockaddr *)&at, len) || listen(waits[1].fd, 16) ||
	    getsockname(waits[1].fd, (struct sockaddr *)&at, &len))
		fail("cannot listen");
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	while (poll(waits, 2, -1) > 0 && !waits[0].revents)
		serve_connection(ctx, accept4(waits[1].fd, NULL, NULL, SOCK_CLOEXEC));
}

static void client(SSL_CTX *ctx, uint16_t port, size_t in_flight, struct measure *measure)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct peer peer = {.measure = measure};
	struct slot slots[IN_FLIGHT_MAX];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("cannot connect");
	open_session(&peer, ctx, fd);
	for (size_t i = 0; i < in_flight; i++)
		ask(&peer, &slots[i]);
	while (measure->ended < measure->warm + measure->calls) {
		send_all(&peer);
		if (!receive(&peer))
			fail("connection ended");
	}
	measure_close(measure);
	close_session(&peer);
	close(fd);
}

int main(int argc, char **argv)
{
	bool server = argc == 3 && !strcmp(argv[1], "server");
	struct measure measure;
	SSL_CTX *ctx;
	size_t in_flight;

	signal(SIGPIPE, SIG_IGN);
	if (!server && (argc != 8 || strcmp(argv[1], "client")))
		fail("usage: server DIR | client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID");
	ctx = plain_tls_context(argv[2], server, "\x02h2");
	if (server) {
		serve(ctx);
	} else {
		in_flight = strtoul(argv[4], NULL, 10);
		if (!in_flight || in_flight > IN_FLIGHT_MAX)
			fail("IN_FLIGHT is 1 to 256");
		measure_open(&measure, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
			     (pid_t)strtol(argv[7], NULL, 10));
		client(ctx, (uint16_t)strtoul(argv[3], NULL, 10), in_flight, &measure);
	}
	SSL_CTX_free(ctx);
	return 0;
}
