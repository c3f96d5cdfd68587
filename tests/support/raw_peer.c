/* SPDX-License-Identifier: Apache-2.0 */
#include "support/raw_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

#define MUST(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "raw_peer: %s: %s\n", #condition, strerror(errno)); \
			abort(); \
		} \
	} while (0)

static int loopback(uint16_t port, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0);
	memset(at, 0, sizeof(*at));
	at->sin_family = AF_INET;
	at->sin_port = htons(port);
	at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd;
}

static void patient(int fd)
{
	struct timeval wait = {.tv_sec = PATIENCE_MS / 1000};
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int raw_connect(uint16_t port)
{
	struct sockaddr_in at;
	int fd = loopback(port, &at);

	MUST(!connect(fd, (struct sockaddr *)&at, sizeof(at)));
	patient(fd);
	return fd;
}

int raw_listen(uint16_t *port)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int fd = loopback(0, &at);

	MUST(!bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 64));
	MUST(!getsockname(fd, (struct sockaddr *)&at, &len));
	*port = ntohs(at.sin_port);
	return fd;
}

/* The next connection; -1 when the listening socket was shut down. */
static int next_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		patient(fd);
	return fd;
}

bool raw_send(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		MUST(n > 0 || (errno != EAGAIN && errno != EBADF));
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

bool raw_say(int fd, const char *text)
{
	return raw_send(fd, text, strlen(text));
}

bool raw_drip(int fd, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!raw_send(fd, text + i, 1))
			return false;
	return true;
}

/* > 0 bytes, 0 the end of whatever kind. */
static size_t read_some(int fd, char *into, size_t room)
{
	ssize_t n;

	do
		n = recv(fd, into, room, 0);
	while (n < 0 && errno == EINTR);
	MUST(n >= 0 || (errno != EAGAIN && errno != EBADF));
	return n > 0 ? (size_t)n : 0;
}

bool raw_until(int fd, char *into, size_t room, const char *needle)
{
	size_t len = strlen(into);

	while (!strstr(into, needle)) {
		size_t n = len + 1 < room ? read_some(fd, into + len, room - len - 1) : 0;

		if (!n)
			return false;
		len += n;
		into[len] = '\0';
	}
	return true;
}

size_t raw_rest(int fd, char *into, size_t room)
{
	size_t len = 0, n;

	do {
		n = len + 1 < room ? read_some(fd, into + len, room - len - 1) : 0;
		len += n;
	} while (n);
	into[len] = '\0';
	return len;
}

bool raw_response(int fd, char *into, size_t room)
{
	const char *length;
	size_t want, len;

	into[0] = '\0';
	len = 0;
	/* byte by byte to the end of the head: what follows may belong to the next answer */
	while (len < 4 || memcmp(into + len - 4, "\r\n\r\n", 4)) {
		if (len + 1 >= room || !read_some(fd, into + len, 1))
			return false;
		into[++len] = '\0';
	}
	length = strcasestr(into, "\r\ncontent-length:");
	want = length ? strtoul(length + 17, NULL, 10) : 0;
	while (want) {
		size_t n = len + 1 < room ? read_some(fd, into + len, want < room - len - 1 ? want : room - len - 1) : 0;

		if (!n)
			return false;
		len += n;
		want -= n;
		into[len] = '\0';
	}
	return true;
}

bool raw_closed(int fd)
{
	char byte;

	return read_some(fd, &byte, 1) == 0;
}

void raw_reset(int fd)
{
	struct linger now = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void *run(void *argument)
{
	struct raw_server *server = argument;
	int fd;

	while ((fd = next_connection(server->fd)) >= 0) {
		server->serve(server, fd, atomic_fetch_add(&server->accepted, 1));
		close(fd);
	}
	return NULL;
}

void raw_server_start(struct raw_server *server)
{
	server->fd = raw_listen(&server->port);
	MUST(!pthread_create(&server->thread, NULL, run, server));
}

void raw_server_stop(struct raw_server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
}
