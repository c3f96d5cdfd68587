/* SPDX-License-Identifier: Apache-2.0 */
/* lab-load without a mesh: what an application beside a sidecar does, over kept HTTP/1.1 connections to one address. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 512, ANSWER_BYTES = 4096, REQUEST_BYTES = 1024 };

struct line {
	int fd; /* -1: none */
	bool busy;
	struct turn turn;
	size_t sent, received, request_len;
	char request[REQUEST_BYTES];
	char answer[ANSWER_BYTES];
};

struct lines {
	struct load *load;
	struct sockaddr_in to;
	struct line line[CONNECTIONS_MAX];
};

static void hang_up(struct line *line)
{
	close(line->fd);
	line->fd = -1;
	line->busy = false;
}

static unsigned server_of(struct line *line)
{
	char *field;

	line->answer[line->received] = '\0';
	field = strcasestr(line->answer, "\r\nx-server:");
	return field ? (unsigned)strtoul(field + strlen("\r\nx-server:"), NULL, 10) : 0;
}

static void settle(struct lines *lines, struct line *line, int status, const char *why)
{
	load_count(lines->load, &line->turn, status, server_of(line), why);
	line->busy = false;
}

static bool dial(struct lines *lines, struct line *line)
{
	int one = 1;

	line->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (line->fd < 0)
		return false;
	setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!connect(line->fd, (struct sockaddr *)&lines->to, sizeof(lines->to)) || errno == EINPROGRESS)
		return true;
	hang_up(line);
	return false;
}

/* An idle connection, else a new one. */
static struct line *take_line(struct lines *lines)
{
	struct line *unused = NULL;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct line *line = &lines->line[i];

		if (line->fd >= 0 && !line->busy)
			return line;
		if (line->fd < 0 && !unused)
			unused = line;
	}
	return unused && dial(lines, unused) ? unused : NULL;
}

static void write_request(const struct load *load, struct line *line)
{
	char key[96] = "";

	if (load->keys)
		snprintf(key, sizeof(key), "%s: %lu\r\n", load->keys, line->turn.number);
	line->request_len = (size_t)snprintf(line->request, sizeof(line->request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
					     load->path, load->authority, key);
}

static void ask_plain(struct lines *lines, uint64_t due_us)
{
	struct turn turn = {lines->load->asked, due_us};
	struct line *line = take_line(lines);

	lines->load->asked++;
	lines->load->open++;
	if (!line) {
		load_count(lines->load, &turn, 0, 0, "no connection");
		return;
	}
	line->busy = true;
	line->turn = turn;
	line->sent = line->received = 0;
	write_request(lines->load, line);
}

static void push(struct lines *lines, struct line *line)
{
	ssize_t n = send(line->fd, line->request + line->sent, line->request_len - line->sent, MSG_NOSIGNAL);

	if (n > 0) {
		line->sent += (size_t)n;
	} else if (errno != EAGAIN) {
		settle(lines, line, 0, strerror(errno));
		hang_up(line);
	}
}

/* The status once all of the answer is there, which has a Content-Length; 0: not yet, -1: no answer. */
static int whole(struct line *line)
{
	char *end, *length;

	line->answer[line->received] = '\0';
	end = strstr(line->answer, "\r\n\r\n");
	if (!end)
		return line->received == ANSWER_BYTES - 1 ? -1 : 0;
	length = strcasestr(line->answer, "\r\ncontent-length:");
	if (length && length < end &&
	    line->received < (size_t)(end + 4 - line->answer) + strtoul(length + strlen("\r\ncontent-length:"), NULL, 10))
		return 0;
	return strncmp(line->answer, "HTTP/1.1 ", 9) ? -1 : atoi(line->answer + 9);
}

static void pull(struct lines *lines, struct line *line)
{
	ssize_t n = recv(line->fd, line->answer + line->received, ANSWER_BYTES - 1 - line->received, 0);
	int status;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (line->busy)
			settle(lines, line, 0, n ? strerror(errno) : "the proxy closed the connection");
		hang_up(line);
		return;
	}
	line->received += (size_t)n;
	status = line->busy ? whole(line) : -1;
	if (!status)
		return;
	if (line->busy)
		settle(lines, line, status < 0 ? 0 : status, "not an answer");
	if (status < 0 || strcasestr(line->answer, "\r\nconnection: close"))
		hang_up(line);
}

static void give_up(struct lines *lines, struct line *line)
{
	settle(lines, line, 0, "no answer in time");
	hang_up(line);
}

/* One round of all connections, for at most so long. */
static void serve_lines(struct lines *lines, int wait_ms)
{
	static struct pollfd polled[CONNECTIONS_MAX];
	uint64_t limit = (uint64_t)lines->load->timeout_ms * 1000;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct line *line = &lines->line[i];

		polled[i] = (struct pollfd){.fd = line->fd, .events = POLLIN};
		if (line->busy && line->sent < line->request_len)
			polled[i].events |= POLLOUT;
	}
	poll(polled, CONNECTIONS_MAX, wait_ms);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct line *line = &lines->line[i];

		if (line->fd >= 0 && (polled[i].revents & POLLOUT) && line->busy)
			push(lines, line);
		if (line->fd >= 0 && (polled[i].revents & (POLLIN | POLLERR | POLLHUP)))
			pull(lines, line);
		if (line->busy && limit && load_now_us() > line->turn.due_us + limit)
			give_up(lines, line);
	}
}

int load_plain(struct load *load)
{
	static struct lines lines;
	const char *colon = strrchr(load->plain, ':');
	char ip[64] = "";
	uint64_t start = load_now_us(), due = start;

	if (colon)
		snprintf(ip, sizeof(ip), "%.*s", (int)(colon - load->plain), load->plain);
	lines.load = load;
	lines.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon ? colon + 1 : "0"))};
	if (inet_pton(AF_INET, ip, &lines.to.sin_addr) != 1)
		return -1;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		lines.line[i].fd = -1;
	while ((double)(due - start) < load->seconds * 1e6 || load->open) {
		uint64_t now = load_now_us();
		bool over = (double)(due - start) >= load->seconds * 1e6;

		if (!over && now >= due) {
			ask_plain(&lines, due);
			due += (uint64_t)(1e6 / load->rate);
			serve_lines(&lines, 0);
		} else {
			serve_lines(&lines, over ? 100 : (int)((due - now + 999) / 1000));
		}
	}
	return 0;
}

