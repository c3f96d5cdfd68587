/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the lab that asks at a fixed rate whatever becomes of the answers (an open loop), and tells how many failed and
 * how long the others took, counted from when each was due.
 *
 *	lab-load [--plain IP:PORT] [--rate PER_SECOND] [--seconds S] [--timeout-ms T] http://HOST[:PORT]/PATH
 *
 * Through libmesh, or with --plain from a program that knows no mesh, over kept connections to that address: what an
 * application beside a sidecar does. One line of JSON. Exit status: 0, whatever failed; 2 the command line or the joining.
 */
#include <mesh/mesh.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READY_MS = 30000, CONNECTIONS_MAX = 512, ANSWER_BYTES = 4096, REQUEST_BYTES = 1024 };

struct load {
	double rate, seconds;
	unsigned timeout_ms;
	const char *plain; /* NULL: through libmesh */
	char authority[256];
	const char *path;

	unsigned long asked, good, statuses[600], broken; /* broken: no answer at all */
	unsigned long open;
	uint64_t *took_us; /* of the good ones */
	char why[256];     /* of the last that had no answer */
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* `status` 0: no answer. */
static void count(struct load *load, int status, uint64_t due_us, const char *why)
{
	load->open--;
	if (status >= 100 && status < 600)
		load->statuses[status]++;
	else
		load->broken++;
	if (status == 200)
		load->took_us[load->good++] = now_us() - due_us;
	else if (status <= 0)
		snprintf(load->why, sizeof(load->why), "%s", why);
}

/* ---- through libmesh ---- */

struct asked {
	struct load *load;
	struct mesh_call *call;
	uint64_t due_us;
};

static void on_done(struct mesh_call *call, void *user)
{
	struct asked *asked = user;
	const struct mesh_result *result = mesh_call_result(call);
	char why[256];

	snprintf(why, sizeof(why), "%s: %.*s", mesh_error_name(result->status), (int)result->why.len,
		 result->why.data ? result->why.data : "");
	/* what a sidecar would have answered in our place is what its application counts */
	count(asked->load, result->http_status ? result->http_status : result->local_status, asked->due_us, why);
	mesh_call_release(call);
	free(asked);
}

static int ask_mesh(struct load *load, struct mesh *mesh, struct mesh_worker *worker, uint64_t due_us)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = on_done};
	const struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of(load->authority),
					     .path = mesh_slice_of(load->path), .timeout_ms = load->timeout_ms,
					     .worker = worker};
	struct asked *asked = malloc(sizeof(*asked));

	if (!asked)
		return -1;
	*asked = (struct asked){.load = load, .due_us = due_us};
	if (mesh_call_start(mesh, &request, &events, asked, &asked->call)) {
		free(asked);
		return -1;
	}
	return 0;
}

static int through_mesh(struct load *load)
{
	struct mesh_options options = {.size = sizeof(options), .error_buffer = load->why,
				       .error_buffer_bytes = sizeof(load->why)};
	struct mesh_worker *worker = NULL;
	struct mesh *mesh;
	uint64_t start, due;
	int rc = mesh_open(&options, &mesh);

	if (rc)
		return rc;
	rc = mesh_wait_ready(mesh, READY_MS);
	if (!rc)
		rc = mesh_worker_new(mesh, &worker);
	start = due = now_us();
	while (!rc) {
		uint64_t now = now_us();
		bool over = (double)(due - start) >= load->seconds * 1e6;

		if (over && !load->open)
			break;
		if (!over && now >= due) {
			load->asked++;
			load->open++;
			rc = ask_mesh(load, mesh, worker, due);
			due += (uint64_t)(1e6 / load->rate);
			continue;
		}
		if (mesh_worker_run(worker, over ? 100 : (int)((due - now + 999) / 1000)) < 0)
			rc = -1;
	}
	mesh_worker_free(worker);
	mesh_close(mesh);
	return rc;
}

/* ---- without a mesh ---- */

struct line {
	int fd; /* -1: none */
	bool busy;
	uint64_t due_us;
	size_t sent, received;
	char answer[ANSWER_BYTES];
};

struct lines {
	struct load *load;
	struct sockaddr_in to;
	char request[REQUEST_BYTES];
	size_t request_len;
	struct line line[CONNECTIONS_MAX];
};

static void hang_up(struct line *line)
{
	close(line->fd);
	line->fd = -1;
	line->busy = false;
}

static void settle(struct lines *lines, struct line *line, int status, const char *why)
{
	count(lines->load, status, line->due_us, why);
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

static void ask_plain(struct lines *lines, uint64_t due_us)
{
	struct line *line = take_line(lines);

	lines->load->asked++;
	lines->load->open++;
	if (!line) {
		count(lines->load, 0, due_us, "no connection");
		return;
	}
	line->busy = true;
	line->due_us = due_us;
	line->sent = line->received = 0;
}

static void push(struct lines *lines, struct line *line)
{
	ssize_t n = send(line->fd, lines->request + line->sent, lines->request_len - line->sent, MSG_NOSIGNAL);

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
		if (line->busy && line->sent < lines->request_len)
			polled[i].events |= POLLOUT;
	}
	poll(polled, CONNECTIONS_MAX, wait_ms);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct line *line = &lines->line[i];

		if (line->fd >= 0 && (polled[i].revents & POLLOUT) && line->busy)
			push(lines, line);
		if (line->fd >= 0 && (polled[i].revents & (POLLIN | POLLERR | POLLHUP)))
			pull(lines, line);
		if (line->busy && limit && now_us() > line->due_us + limit)
			give_up(lines, line);
	}
}

static int without_mesh(struct load *load)
{
	static struct lines lines;
	const char *colon = strrchr(load->plain, ':');
	char ip[64] = "";
	uint64_t start = now_us(), due = start;

	if (colon)
		snprintf(ip, sizeof(ip), "%.*s", (int)(colon - load->plain), load->plain);
	lines.load = load;
	lines.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon ? colon + 1 : "0"))};
	if (inet_pton(AF_INET, ip, &lines.to.sin_addr) != 1)
		return -1;
	lines.request_len = (size_t)snprintf(lines.request, sizeof(lines.request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
					     load->path, load->authority);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		lines.line[i].fd = -1;
	while ((double)(due - start) < load->seconds * 1e6 || load->open) {
		uint64_t now = now_us();
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

/* ---- the command line and the report ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t share_us(const struct load *load, double share)
{
	return load->good ? load->took_us[(size_t)(share * (double)(load->good - 1))] : 0;
}

static void report(struct load *load)
{
	qsort(load->took_us, load->good, sizeof(*load->took_us), by_size);
	printf("{\"asked\": %lu, \"good\": %lu, \"broken\": %lu, \"p50_us\": %llu, \"p90_us\": %llu, \"p99_us\": %llu, "
	       "\"max_us\": %llu, \"statuses\": {", load->asked, load->good, load->broken,
	       (unsigned long long)share_us(load, 0.5), (unsigned long long)share_us(load, 0.9),
	       (unsigned long long)share_us(load, 0.99), (unsigned long long)share_us(load, 1));
	for (unsigned i = 0, first = 1; i < 600; i++)
		if (load->statuses[i]) {
			printf("%s\"%u\": %lu", first ? "" : ", ", i, load->statuses[i]);
			first = 0;
		}
	for (char *c = load->why; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	printf("}, \"why\": \"%s\"}\n", load->why);
}

static int take_url(struct load *load, const char *url)
{
	size_t len;

	if (!url || strncmp(url, "http://", 7))
		return -1;
	len = strcspn(url + 7, "/");
	if (!len || len >= sizeof(load->authority))
		return -1;
	memcpy(load->authority, url + 7, len);
	load->path = url[7 + len] ? url + 7 + len : "/";
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"plain", required_argument, NULL, 'p'},
						{"rate", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 's'},
						{"timeout-ms", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
	struct load load = {.rate = 100, .seconds = 5, .timeout_ms = 5000};
	int option, rc = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'p')
			load.plain = optarg;
		else if (option == 'r')
			load.rate = strtod(optarg, NULL);
		else if (option == 's')
			load.seconds = strtod(optarg, NULL);
		else if (option == 't')
			load.timeout_ms = (unsigned)strtoul(optarg, NULL, 10);
		else
			rc = -1;
	}
	if (rc || take_url(&load, argv[optind]) || !(load.rate > 0 && load.rate <= 100000) ||
	    !(load.seconds > 0 && load.seconds <= 3600)) {
		fprintf(stderr, "usage: lab-load [--plain IP:PORT] [--rate PER_SECOND] [--seconds S] [--timeout-ms T] URL\n");
		return 2;
	}
	load.took_us = calloc((size_t)(load.rate * load.seconds) + 2, sizeof(*load.took_us));
	if (!load.took_us)
		return 2;
	rc = load.plain ? without_mesh(&load) : through_mesh(&load);
	if (rc)
		fprintf(stderr, "lab-load: %s\n", load.why[0] ? load.why : "cannot begin");
	else
		report(&load);
	free(load.took_us);
	return rc ? 2 : 0;
}
