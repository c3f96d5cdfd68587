/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets as everything above wants them: non-blocking, close-on-exec, no delay. */
#include "net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static void no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void keepalive_option(int fd, int option, uint32_t value)
{
	int number = value > INT16_MAX ? INT16_MAX : (int)value; /* the most the system takes */

	if (number)
		setsockopt(fd, IPPROTO_TCP, option, &number, sizeof(number));
}

void mesh_socket_keepalive(int fd, uint32_t probes, uint32_t time_s, uint32_t interval_s)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	keepalive_option(fd, TCP_KEEPCNT, probes > 127 ? 127 : probes);
	keepalive_option(fd, TCP_KEEPIDLE, time_s);
	keepalive_option(fd, TCP_KEEPINTVL, interval_s);
}

/* The system chooses the port as late as it can, where it may: then two connections can share it. */
static int bind_to(int fd, const struct address *from, bool anywhere, struct why *why)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	int on = 1;

	if (!mesh_address_port(from))
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (anywhere)
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (!bind(fd, &from->any, from->len))
		return 0;
	mesh_address_text(from, text);
	return mesh_why(why, MESH_ERROR_CONNECT, "connect from %s: %s", text, strerror(errno));
}

int mesh_socket_connect(const struct address *from, bool anywhere, const struct address *to, int *result, struct why *why)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;
	int rc = 0;

	if (fd < 0)
		return mesh_why(why, MESH_ERROR_SYSTEM, "socket: %s", strerror(errno));
	no_delay(fd);
	if (from)
		rc = bind_to(fd, from, anywhere, why);
	if (rc) {
		close(fd);
		return rc;
	}
	if (!connect(fd, &to->any, to->len) || errno == EINPROGRESS) {
		*result = fd;
		return 0;
	}
	error = errno;
	close(fd);
	mesh_address_text(to, text);
	return mesh_why(why, MESH_ERROR_CONNECT, "connect to %s: %s", text, strerror(error));
}

int mesh_socket_listen(const struct address *at, int backlog, bool reuse_port, int *result, struct why *why)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, error;

	if (fd < 0)
		return mesh_why(why, MESH_ERROR_SYSTEM, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuse_port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (!bind(fd, &at->any, at->len) && !listen(fd, backlog)) {
		*result = fd;
		return 0;
	}
	error = errno;
	close(fd);
	mesh_address_text(at, text);
	return mesh_why(why, MESH_ERROR_BIND, "listen on %s: %s", text, strerror(error));
}

int mesh_socket_accept(int listener, int *result, struct address *from)
{
	int fd;

	memset(from, 0, sizeof(*from));
	do {
		from->len = sizeof(from->v6);
		fd = accept4(listener, &from->any, &from->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		/* a connection that died in the queue is nobody's trouble */
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
	if (fd < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? MESH_ERROR_AGAIN : MESH_ERROR_SYSTEM;
	no_delay(fd);
	*result = fd;
	return 0;
}

int mesh_socket_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) ? errno : error;
}

bool mesh_socket_quiet(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

int mesh_socket_local(int fd, struct address *address)
{
	memset(address, 0, sizeof(*address));
	address->len = sizeof(address->v6);
	return getsockname(fd, &address->any, &address->len) ? MESH_ERROR_SYSTEM : 0;
}
