/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives c-ares by the loop: its sockets are watched, its time-outs are a timer, its settings are ours or the system's.
 * Decides how servers are reached. Refuses to know what they are asked.
 */
#include "loop/resolver_channel.h"

#include <errno.h>
#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mesh/error.h>

enum {
	TIMEOUT_MS = 5000, /* as Envoy sets c-ares up */
	TRIES = 4,
	EDNS_BYTES = 1232,
};
/* A timer that runs always keeps its place in the loop's heap, so that starting it cannot fail. */
static const uint64_t idle_ns = 3600ull * 1000000000ull;

struct resolver_socket {
	struct link link;
	struct loop_io io;
	int fd;
	struct resolver_channel *channel;
};

/* ---- the library, whose own count of users is not safe between threads ---- */

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

static int library_take(void)
{
	int status;

	pthread_mutex_lock(&library_lock);
	status = ares_library_init(ARES_LIB_INIT_ALL);
	pthread_mutex_unlock(&library_lock);
	return status == ARES_SUCCESS ? 0 : MESH_ERROR_SYSTEM;
}

static void library_give(void)
{
	pthread_mutex_lock(&library_lock);
	ares_library_cleanup();
	pthread_mutex_unlock(&library_lock);
}

/* ---- sockets ---- */

void mesh_resolver_channel_go_on(struct resolver_channel *channel)
{
	struct timeval room, *left = ares_timeout(channel->ares, NULL, &room);
	uint64_t delay = idle_ns;

	if (left)
		delay = (uint64_t)left->tv_sec * 1000000000ull + (uint64_t)left->tv_usec * 1000ull;
	mesh_timer_start(channel->loop, &channel->timer, delay);
}

static void socket_ready(struct loop_io *io, unsigned what)
{
	struct resolver_socket *one = MESH_CONTAINER(io, struct resolver_socket, io);
	struct resolver_channel *channel = one->channel;
	int fd = one->fd; /* `one` may go */

	ares_process_fd(channel->ares, what & LOOP_READ ? fd : ARES_SOCKET_BAD,
			what & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
	mesh_resolver_channel_go_on(channel);
}

static void timer_due(struct loop_timer *timer)
{
	struct resolver_channel *channel = MESH_CONTAINER(timer, struct resolver_channel, timer);

	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	mesh_resolver_channel_go_on(channel);
}

static struct resolver_socket *find_socket(struct resolver_channel *channel, int fd)
{
	MESH_LIST_EACH(at, &channel->sockets) {
		struct resolver_socket *one = MESH_CONTAINER(at, struct resolver_socket, link);

		if (one->fd == fd)
			return one;
	}
	return NULL;
}

static ares_socket_t socket_open(int family, int type, int protocol, void *user)
{
	struct resolver_channel *channel = user;
	struct resolver_socket *one = mesh_mem_zalloc(channel->mem, sizeof(*one));

	if (!one) {
		errno = ENOMEM;
		return ARES_SOCKET_BAD;
	}
	one->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (one->fd < 0) {
		mesh_mem_free(channel->mem, one);
		return ARES_SOCKET_BAD;
	}
	one->channel = channel;
	one->io.fd = -1;
	one->io.ready = socket_ready;
	mesh_list_push(&channel->sockets, &one->link);
	return one->fd;
}

static int socket_close(ares_socket_t fd, void *user)
{
	struct resolver_channel *channel = user;
	struct resolver_socket *one = find_socket(channel, fd);

	if (one) {
		mesh_loop_unwatch(channel->loop, &one->io);
		mesh_list_remove(&one->link);
		mesh_mem_free(channel->mem, one);
	}
	return close(fd);
}

static int socket_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t len, void *user)
{
	return connect(fd, address, len);
}

static ares_ssize_t socket_receive(ares_socket_t fd, void *data, size_t len, int flags, struct sockaddr *from,
				   ares_socklen_t *from_len, void *user)
{
	return recvfrom(fd, data, len, flags, from, from_len);
}

static ares_ssize_t socket_send(ares_socket_t fd, const struct iovec *parts, int count, void *user)
{
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};

	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
	.asocket = socket_open,
	.aclose = socket_close,
	.aconnect = socket_connect,
	.arecvfrom = socket_receive,
	.asendv = socket_send,
};

/* What cannot be watched is found by the time-out. */
static void socket_wants(void *user, ares_socket_t fd, int readable, int writable)
{
	struct resolver_channel *channel = user;
	struct resolver_socket *one = find_socket(channel, fd);
	unsigned wants = (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u);

	if (!one)
		return;
	if (!wants)
		mesh_loop_unwatch(channel->loop, &one->io);
	else if (one->io.fd < 0)
		mesh_loop_watch(channel->loop, &one->io, fd, wants);
	else
		mesh_loop_change(channel->loop, &one->io, wants);
}

/* ---- settings ---- */

/* c-ares asks this host itself when the system names no server. */
static bool system_has_servers(ares_channel ares)
{
	struct ares_addr_port_node *servers = NULL;
	bool has;

	if (ares_get_servers_ports(ares, &servers) != ARES_SUCCESS)
		return false;
	has = servers &&
	      (servers->next || servers->family != AF_INET || servers->addr.addr4.s_addr != htonl(INADDR_LOOPBACK) ||
	       servers->udp_port || servers->tcp_port);
	ares_free_data(servers);
	return has;
}

static int set_servers(struct resolver_channel *channel, ares_channel ares)
{
	const struct resolver_options *options = &channel->options;
	struct ares_addr_port_node nodes[RESOLVER_SERVERS_MAX] = {{0}};

	if (!options->server_count || (options->servers_as_fallback && system_has_servers(ares)))
		return 0;
	for (size_t i = 0; i < options->server_count; i++) {
		const struct address *server = &options->servers[i];

		nodes[i].next = i + 1 < options->server_count ? &nodes[i + 1] : NULL;
		nodes[i].family = server->any.sa_family;
		if (nodes[i].family == AF_INET)
			nodes[i].addr.addr4 = server->v4.sin_addr;
		else
			memcpy(&nodes[i].addr.addr6, &server->v6.sin6_addr, sizeof(nodes[i].addr.addr6));
		nodes[i].udp_port = nodes[i].tcp_port = mesh_address_port(server); /* 0: c-ares' own default, 53 */
	}
	return ares_set_servers_ports(ares, nodes) == ARES_SUCCESS ? 0 : MESH_ERROR_NOMEM;
}

static int start(struct resolver_channel *channel)
{
	const struct resolver_options *wanted = &channel->options;
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS |
		   ARES_OPT_SOCK_STATE_CB;
	char lookups[] = "fb"; /* the hosts file, then servers */
	struct ares_options options = {
		.flags = ARES_FLAG_EDNS | (wanted->use_tcp ? ARES_FLAG_USEVC : 0) |
			 (wanted->no_search ? ARES_FLAG_NOSEARCH : 0),
		.timeout = (int)(wanted->timeout_ms ? wanted->timeout_ms : TIMEOUT_MS),
		.tries = (int)(wanted->tries ? wanted->tries : TRIES),
		.ednspsz = (int)(wanted->edns_bytes ? wanted->edns_bytes : EDNS_BYTES),
		.lookups = lookups,
		.sock_state_cb = socket_wants,
		.sock_state_cb_data = channel,
	};
	ares_channel ares;
	int status = ares_init_options(&ares, &options, wanted->rotate ? mask | ARES_OPT_ROTATE : mask);

	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? MESH_ERROR_NOMEM : MESH_ERROR_SYSTEM;
	ares_set_socket_functions(ares, &socket_functions, channel);
	if (set_servers(channel, ares)) {
		ares_destroy(ares);
		return MESH_ERROR_NOMEM;
	}
	channel->ares = ares;
	channel->stale = false;
	return 0;
}

static int copy_options(struct resolver_channel *channel, const struct resolver_options *options)
{
	struct address *servers;

	if (!options)
		return 0;
	channel->options = *options;
	channel->options.servers = NULL;
	if (options->server_count > RESOLVER_SERVERS_MAX)
		channel->options.server_count = RESOLVER_SERVERS_MAX;
	if (!channel->options.server_count)
		return 0;
	servers = mesh_mem_array(channel->mem, channel->options.server_count, sizeof(*servers));
	if (!servers)
		return MESH_ERROR_NOMEM;
	memcpy(servers, options->servers, channel->options.server_count * sizeof(*servers));
	channel->options.servers = servers;
	return 0;
}

/* ---- life ---- */

int mesh_resolver_channel_open(struct resolver_channel *channel, const struct resolver_options *options)
{
	int rc;

	channel->timer.due = timer_due;
	mesh_list_init(&channel->sockets);
	rc = library_take();
	if (rc)
		return rc;
	rc = copy_options(channel, options);
	if (rc)
		goto fail_options;
	rc = start(channel);
	if (rc)
		goto fail_start;
	rc = mesh_timer_start(channel->loop, &channel->timer, idle_ns);
	if (rc)
		goto fail_timer;
	return 0;

fail_timer:
	ares_destroy(channel->ares);
fail_start:
	mesh_mem_free(channel->mem, (void *)channel->options.servers);
fail_options:
	library_give();
	return rc;
}

int mesh_resolver_channel_renew(struct resolver_channel *channel)
{
	ares_channel old = channel->ares;
	int rc = start(channel);

	if (!rc)
		ares_destroy(old);
	return rc;
}

void mesh_resolver_channel_close(struct resolver_channel *channel)
{
	ares_destroy(channel->ares);
	mesh_timer_stop(channel->loop, &channel->timer);
	mesh_mem_free(channel->mem, (void *)channel->options.servers);
	library_give();
}
