/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as they are. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/socket.h"
#include "net/transport.h"

static int plain_handshake(struct transport *transport)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int error = mesh_socket_error(transport->fd);

	if (error)
		return mesh_why(&transport->why, MESH_ERROR_CONNECT, "connect: %s", strerror(error));
	if (getpeername(transport->fd, (struct sockaddr *)&peer, &len)) {
		transport->wants = LOOP_WRITE;
		if (errno == ENOTCONN)
			return MESH_ERROR_AGAIN;
		return mesh_why(&transport->why, MESH_ERROR_CONNECT, "connect: %s", strerror(errno));
	}
	transport->ready = true;
	return 0;
}

static ssize_t plain_read(struct transport *transport, char *data, size_t room, bool *drained)
{
	ssize_t n;

	do
		n = recv(transport->fd, data, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	*drained = n < (ssize_t)room;
	if (n >= 0)
		return n;
	transport->wants = LOOP_READ;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return MESH_ERROR_AGAIN;
	return mesh_why(&transport->why, MESH_ERROR_RESET, "receive: %s", strerror(errno));
}

static ssize_t plain_write(struct transport *transport, struct mesh_slice data)
{
	ssize_t n;

	do
		n = send(transport->fd, data.data, data.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	transport->wants = LOOP_WRITE;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return MESH_ERROR_AGAIN;
	return mesh_why(&transport->why, MESH_ERROR_RESET, "send: %s", strerror(errno));
}

static int plain_finish(struct transport *transport)
{
	if (!shutdown(transport->fd, SHUT_WR))
		return 0;
	return mesh_why(&transport->why, MESH_ERROR_RESET, "end: %s", strerror(errno));
}

static void plain_shutdown(struct transport *transport)
{
	shutdown(transport->fd, SHUT_WR);
}

static void plain_destroy(struct transport *transport)
{
}

static const struct transport_ops plain_ops = {
	.handshake = plain_handshake,
	.read = plain_read,
	.write = plain_write,
	.finish = plain_finish,
	.shutdown = plain_shutdown,
	.destroy = plain_destroy,
};

int mesh_transport_plain_new(const struct mesh_mem *mem, int fd, struct transport **result)
{
	struct transport *transport = mesh_mem_zalloc(mem, sizeof(*transport));

	if (!transport) {
		close(fd);
		return MESH_ERROR_NOMEM;
	}
	transport->ops = &plain_ops;
	transport->mem = mem;
	transport->fd = fd;
	transport->wants = LOOP_WRITE;
	mesh_arena_init(&transport->arena, mem, 0);
	*result = transport;
	return 0;
}
