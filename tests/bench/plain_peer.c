/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh is compared with, in plain C: `plain_peer echo DIR plain|tls` prints its port and answers 1 KiB to each
 * read until its input ends; `plain_peer client DIR plain|tls echo|http PORT IN_FLIGHT WARM CALLS SERVER_PID` calls it or an
 * HTTP/1.1 server over connections kept alive and prints what measure.h says. TLS is mutual, TLS 1.3 AES-128-GCM. One in
 * flight blocks in read, more wait in epoll. DIR holds ca.pem and each side's .pem and .key.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"
#include "plain_tls.h"

enum { ANSWER = 1024, CONNECTIONS_MAX = 256 };

struct connection {
	int fd;
	SSL *ssl; /* NULL: plaintext */
	char data[16384];
	size_t len;
	uint64_t since;
};

static bool http;
static char answer[ANSWER];
static const char question[] = "GET /1k HTTP/1.1\r\nHost: reviews:9080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

static void fail(const char *what)
{
	fprintf(stderr, "plain_peer: %s: %s\n", what, errno ? strerror(errno) : "failed");
	ERR_print_errors_fp(stderr);
	exit(1);
}

static int take(struct connection *c, void *data, size_t room)
{
	return c->ssl ? SSL_read(c->ssl, data, (int)room) : (int)recv(c->fd, data, room, 0);
}

static void give(struct connection *c, const void *data, size_t len)
{
	int n = c->ssl ? SSL_write(c->ssl, data, (int)len) : (int)send(c->fd, data, len, MSG_NOSIGNAL);

	if (n != (int)len)
		fail("send");
}

static struct connection *connection_new(int fd, SSL_CTX *ctx, bool server)
{
	struct connection *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c || fd < 0)
		fail("connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = fd;
	if (ctx)
		c->ssl = plain_tls_open(ctx, fd, server);
	return c;
}

static void watch(int epoll, int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static void echo_ready(struct connection *c)
{
	int n = take(c, c->data, sizeof(c->data));

	if (n > 0) {
		give(c, answer, sizeof(answer));
		return;
	}
	SSL_free(c->ssl);
	close(c->fd);
	free(c);
}

static void echo(SSL_CTX *ctx)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ready[64];

	memset(answer, 'x', sizeof(answer));
	if (bind(listener, (struct sockaddr *)&at, len) || listen(listener, 128) ||
	    getsockname(listener, (struct sockaddr *)&at, &len))
		fail("listen");
	watch(epoll, listener, &listener);
	watch(epoll, STDIN_FILENO, NULL);
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(epoll, ready, 64, -1);

		for (int i = 0; i < count; i++) {
			struct connection *c = ready[i].data.ptr;

			if (!c)
				return;
			if (ready[i].data.ptr != &listener) {
				echo_ready(c);
				continue;
			}
			c = connection_new(accept4(listener, NULL, NULL, SOCK_CLOEXEC), ctx, true);
			watch(epoll, c->fd, c);
			if (c->ssl && SSL_has_pending(c->ssl)) /* came with the handshake's end: epoll will not tell */
				echo_ready(c);
		}
	}
}

static void ask(struct connection *c)
{
	c->len = 0;
	c->since = measure_now_ns();
	give(c, question, sizeof(question) - 1);
}

static bool answer_complete(struct connection *c)
{
	char *end, *length;

	if (!http)
		return c->len >= ANSWER;
	c->data[c->len] = '\0';
	end = strstr(c->data, "\r\n\r\n");
	if (!end)
		return false;
	length = strcasestr(c->data, "\r\ncontent-length:");
	if (strncmp(c->data, "HTTP/1.1 200 ", 13) || !length || length > end || strtoul(length + 17, NULL, 10) != ANSWER)
		fail("answer is not 200 with 1024 bytes");
	return c->len >= (size_t)(end + 4 - c->data) + ANSWER;
}

/* True when a whole answer is there. */
static bool receive(struct connection *c)
{
	int n = take(c, c->data + c->len, sizeof(c->data) - 1 - c->len);

	if (n <= 0)
		fail("receive");
	c->len += (size_t)n;
	return answer_complete(c);
}

static void call(struct connection **all, size_t in_flight, struct measure *measure)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ready[64];

	for (size_t i = 0; i < in_flight; i++) {
		watch(epoll, all[i]->fd, all[i]);
		ask(all[i]);
	}
	while (measure->ended < measure->warm + measure->calls) {
		int count = in_flight == 1 ? 1 : epoll_wait(epoll, ready, 64, 10000);

		if (count <= 0)
			fail("epoll_wait");
		for (int i = 0; i < count; i++) {
			struct connection *c = in_flight == 1 ? all[0] : ready[i].data.ptr;

			if (!receive(c))
				continue;
			measure_call(measure, c->since);
			ask(c);
		}
	}
}

static void client(SSL_CTX *ctx, uint16_t port, size_t in_flight, struct measure *measure)
{
	static struct connection *all[CONNECTIONS_MAX];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	for (size_t i = 0; i < in_flight; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
			fail("connect");
		all[i] = connection_new(fd, ctx, false);
	}
	call(all, in_flight, measure);
	measure_close(measure);
}

int main(int argc, char **argv)
{
	bool server = argc == 4 && !strcmp(argv[1], "echo");
	struct measure measure;
	SSL_CTX *ctx;
	size_t in_flight;

	signal(SIGPIPE, SIG_IGN);
	if (!server && (argc != 10 || strcmp(argv[1], "client")))
		fail("usage: echo DIR plain|tls | client DIR plain|tls echo|http PORT IN_FLIGHT WARM CALLS SERVER_PID");
	ctx = strcmp(argv[3], "tls") ? NULL : plain_tls_context(argv[2], server, NULL);
	if (server) {
		echo(ctx);
	} else {
		http = !strcmp(argv[4], "http");
		in_flight = strtoul(argv[6], NULL, 10);
		if (!in_flight || in_flight > CONNECTIONS_MAX)
			fail("IN_FLIGHT is 1 to 256");
		measure_open(&measure, strtoul(argv[7], NULL, 10), strtoul(argv[8], NULL, 10), (pid_t)strtol(argv[9], NULL, 10));
		client(ctx, (uint16_t)strtoul(argv[5], NULL, 10), in_flight, &measure);
	}
	SSL_CTX_free(ctx);
	return 0;
}
