/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, one poll: a question is answered where it came in, or not at all. */
#include "support/dns_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

enum { HEAD = 12, TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, GONE = -1 };

struct message {
	unsigned char bytes[65535];
	size_t len;
};

static void put16(struct message *m, unsigned value)
{
	m->bytes[m->len++] = (unsigned char)(value >> 8);
	m->bytes[m->len++] = (unsigned char)value;
}

static void put_name(struct message *m, const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");

		m->bytes[m->len++] = (unsigned char)len;
		memcpy(m->bytes + m->len, name, len);
		m->len += len;
		name += len + (name[len] == '.');
	}
	m->bytes[m->len++] = 0;
}

static void put_record(struct message *m, const char *name, unsigned type, uint32_t ttl)
{
	if (name)
		put_name(m, name);
	else
		put16(m, 0xc000 | HEAD); /* that of the question */
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl & 0xffff);
}

static struct dns_server_name *find(struct dns_server *server, const char *name)
{
	for (size_t i = 0; i < server->shared.count; i++)
		if (strcasecmp(server->shared.names[i].name, name) == 0)
			return &server->shared.names[i];
	return NULL;
}

static unsigned put_addresses(struct message *m, const struct dns_server_name *from, const char *name, unsigned type,
			      size_t room)
{
	unsigned count = 0;

	for (size_t i = 0; i < from->count && m->len + 64 < room; i++) {
		const struct address *address = &from->addresses[i];
		bool v6 = address->any.sa_family == AF_INET6;

		if (type != (v6 ? TYPE_AAAA : TYPE_A))
			continue;
		put_record(m, name, type, from->ttl_s);
		put16(m, v6 ? 16 : 4);
		memcpy(m->bytes + m->len, v6 ? (const void *)&address->v6.sin6_addr : &address->v4.sin_addr,
		       v6 ? 16 : 4);
		m->len += v6 ? 16 : 4;
		count++;
	}
	return count;
}

static void put_answers(struct dns_server *server, struct message *m, struct dns_server_name *from, unsigned type,
			size_t room)
{
	unsigned count = 0;
	const char *name = NULL;

	if (from->alias_of[0]) {
		size_t at;

		put_record(m, NULL, TYPE_CNAME, from->alias_ttl_s);
		at = m->len;
		put16(m, 0);
		put_name(m, from->alias_of);
		m->bytes[at + 1] = (unsigned char)(m->len - at - 2);
		count = 1;
		name = from->alias_of;
		from = find(server, from->alias_of);
	}
	if (from)
		count += put_addresses(m, from, name, type, room);
	m->bytes[6] = (unsigned char)(count >> 8);
	m->bytes[7] = (unsigned char)count;
}

/* The question's name, and where it ends; 0: it is none. */
static size_t read_question(const struct message *m, char name[256])
{
	size_t at = HEAD, to = 0;

	while (at < m->len && m->bytes[at]) {
		size_t len = m->bytes[at++];

		if (len > 63 || at + len >= m->len || to + len + 1 >= 256)
			return 0;
		memcpy(name + to, m->bytes + at, len);
		to += len;
		name[to++] = '.';
		at += len;
	}
	name[to ? to - 1 : 0] = '\0';
	return at + 5 <= m->len ? at + 5 : 0;
}

/* Makes the answer in place; false: none is sent. */
static bool answer(struct dns_server *server, struct message *m, bool tcp)
{
	char name[256];
	size_t end = m->len >= HEAD ? read_question(m, name) : 0;
	struct dns_server_name *known;
	unsigned type, rcode = 0;

	if (!end)
		return false;
	type = m->bytes[end - 3];
	known = find(server, name);
	if (known) {
		known->asked++;
		known->asked_tcp += tcp;
	}
	m->len = end;
	memset(m->bytes + 6, 0, 6);
	m->bytes[2] = 0x81; /* response, recursion desired */
	m->bytes[3] = 0x80;
	if (!known || (int)known->manner == GONE)
		rcode = 3;
	else if (known->manner == DNS_FAILS)
		rcode = 2;
	else if (known->manner == DNS_REFUSES)
		rcode = 5;
	m->bytes[3] |= (unsigned char)rcode;
	if (rcode)
		return true;
	if (known->manner == DNS_TRUNCATES && !tcp) {
		m->bytes[2] |= 2;
		return true;
	}
	put_answers(server, m, known, type, tcp ? sizeof(m->bytes) : 1200);
	if (known->manner == DNS_WRONG_ID)
		m->bytes[1] ^= 0x55;
	else if (known->manner == DNS_OTHER_NAME)
		m->bytes[HEAD + 1] ^= 1;
	else if (known->manner == DNS_GARBLES)
		m->bytes[m->len - 5] = 0xff; /* the length of the last record */
	return known->manner != DNS_SILENT;
}

static void serve_udp(struct dns_server *server)
{
	static struct message m;
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t got = recvfrom(server->udp, m.bytes, sizeof(m.bytes), 0, (struct sockaddr *)&from, &from_len);
	bool said;

	if (got < 0)
		return;
	m.len = (size_t)got;
	pthread_mutex_lock(&server->shared.lock);
	said = answer(server, &m, false);
	pthread_mutex_unlock(&server->shared.lock);
	if (said)
		sendto(server->udp, m.bytes, m.len, 0, (struct sockaddr *)&from, from_len);
}

static bool read_whole(int fd, void *into, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t got = recv(fd, (char *)into + at, len - at, 0);

		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

static void serve_tcp(struct dns_server *server)
{
	static struct message m;
	struct timeval limit = {.tv_sec = 2};
	int fd = accept(server->tcp, NULL, NULL);
	unsigned char head[2];

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (read_whole(fd, head, 2)) {
		bool said;

		m.len = (size_t)head[0] << 8 | head[1];
		if (!read_whole(fd, m.bytes, m.len))
			break;
		pthread_mutex_lock(&server->shared.lock);
		said = answer(server, &m, true);
		pthread_mutex_unlock(&server->shared.lock);
		head[0] = (unsigned char)(m.len >> 8);
		head[1] = (unsigned char)m.len;
		if (said &&
		    (send(fd, head, 2, MSG_NOSIGNAL) != 2 || send(fd, m.bytes, m.len, MSG_NOSIGNAL) != (ssize_t)m.len))
			break;
	}
	close(fd);
}

static void *run(void *argument)
{
	struct dns_server *server = argument;
	struct pollfd fds[] = {{server->wake[0], POLLIN, 0}, {server->udp, POLLIN, 0}, {server->tcp, POLLIN, 0}};

	while (poll(fds, 3, -1) >= 0 && !fds[0].revents) {
		if (fds[1].revents)
			serve_udp(server);
		if (fds[2].revents)
			serve_tcp(server);
	}
	return NULL;
}

static bool bind_both(struct dns_server *server)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!bind(server->tcp, (struct sockaddr *)&at, sizeof(at)) && !listen(server->tcp, 16) &&
	    !getsockname(server->tcp, (struct sockaddr *)&at, &len) &&
	    !bind(server->udp, (struct sockaddr *)&at, sizeof(at))) {
		server->port = ntohs(at.sin_port);
		return true;
	}
	close(server->tcp);
	close(server->udp);
	return false;
}

void dns_server_start(struct dns_server *server)
{
	int tries = 0;

	memset(server, 0, sizeof(*server));
	while (!bind_both(server)) /* somebody has that UDP port */
		assert_true(++tries < 100);
	assert_int_equal(pipe(server->wake), 0);
	assert_int_equal(pthread_mutex_init(&server->shared.lock, NULL), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, run, server), 0);
}

void dns_server_stop(struct dns_server *server)
{
	assert_int_equal(write(server->wake[1], "x", 1), 1);
	pthread_join(server->thread, NULL);
	close(server->wake[0]);
	close(server->wake[1]);
	close(server->udp);
	close(server->tcp);
	pthread_mutex_destroy(&server->shared.lock);
}

/* With the lock. */
static struct dns_server_name *entry(struct dns_server *server, const char *name)
{
	struct dns_server_name *one = find(server, name);

	if (one)
		return one;
	assert_true(server->shared.count < DNS_SERVER_NAMES);
	one = &server->shared.names[server->shared.count++];
	snprintf(one->name, sizeof(one->name), "%s", name);
	return one;
}

void dns_server_set(struct dns_server *server, const char *name, const char *addresses, uint32_t ttl_s)
{
	struct dns_server_name *one;
	struct mesh_slice rest = mesh_slice_of(addresses);

	pthread_mutex_lock(&server->shared.lock);
	one = entry(server, name);
	one->manner = DNS_ANSWERS;
	one->ttl_s = ttl_s;
	one->alias_of[0] = '\0';
	one->count = 0;
	while (rest.len) {
		struct mesh_slice word = mesh_slice_cut(&rest, ' ');

		assert_true(one->count < DNS_SERVER_ADDRESSES);
		assert_int_equal(mesh_address_parse(&one->addresses[one->count++], word, 0), 0);
	}
	pthread_mutex_unlock(&server->shared.lock);
}

void dns_server_alias(struct dns_server *server, const char *name, const char *alias_of, uint32_t ttl_s)
{
	struct dns_server_name *one;

	pthread_mutex_lock(&server->shared.lock);
	one = entry(server, name);
	one->manner = DNS_ANSWERS;
	snprintf(one->alias_of, sizeof(one->alias_of), "%s", alias_of);
	one->alias_ttl_s = ttl_s;
	pthread_mutex_unlock(&server->shared.lock);
}

void dns_server_behave(struct dns_server *server, const char *name, enum dns_manner manner)
{
	pthread_mutex_lock(&server->shared.lock);
	entry(server, name)->manner = manner;
	pthread_mutex_unlock(&server->shared.lock);
}

void dns_server_forget(struct dns_server *server, const char *name)
{
	dns_server_behave(server, name, (enum dns_manner)GONE);
}

unsigned dns_server_asked(struct dns_server *server, const char *name, bool tcp_alone)
{
	struct dns_server_name *one;
	unsigned count;

	pthread_mutex_lock(&server->shared.lock);
	one = find(server, name);
	count = !one ? 0 : tcp_alone ? one->asked_tcp : one->asked;
	pthread_mutex_unlock(&server->shared.lock);
	return count;
}

struct address dns_server_address(const struct dns_server *server)
{
	struct address address;

	mesh_address_parse(&address, MESH_SLICE("127.0.0.1"), server->port);
	return address;
}
