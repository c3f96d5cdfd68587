/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two endpoints that answer by a script, and a worker that calls them: what the n-th request of all is answered with, whichever
 * of them it comes to, is said by the test.
 */
#ifndef TESTS_SUPPORT_TRIED_H
#define TESTS_SUPPORT_TRIED_H

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

#define TRIED_EMPTY  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define TRIED_FAILED "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

enum { TRIED_MS = 1000000, TRIED_WAIT_MS = 10000, TRIED_ANSWERS = 8 };

/* What the n-th request of all is answered with; NULL: the connection is closed. */
struct tried_answer {
	const char *text;
	unsigned after_ms;
};

struct tried {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server servers[2];
	struct mesh_worker *worker;
	atomic_uint requests, asked[2];             /* of all, of each */
	atomic_uint guests;                         /* connections served by tried_serve_all */
	char seen[TRIED_ANSWERS][4096];             /* the first of them: tried_request */
	struct tried_answer answers[TRIED_ANSWERS]; /* the last is for all behind it */
	bool high, hedged, timeout_retry;
	struct circuit_breaker breaker_high;
	uint32_t host_connections;
	double preconnect, preconnect_ahead;
	bool keepalive, priorities, bound;
};

const char *tried_request(struct tried *tried, unsigned number); /* one that was answered, as it came */
int tried_open(void **state);
int tried_close(void **state);
void tried_begin(struct tried *tried); /* publishes; the worker is there from then on */
struct mesh_call *tried_start(struct tried *tried);
/* Waits for it and lets it go; how long it took, in microseconds. */
uint64_t tried_expect(struct mesh_call *call, int error, int status, unsigned attempts, const char *flag);
void tried_counted(struct tried *tried, const char *name, const char *value); /* a statistic of the cluster */
/* A `serve` of servers: all connections at once, as a request may come on any of them. */
void tried_serve_all(struct raw_server *server, int fd, unsigned number);

#endif
