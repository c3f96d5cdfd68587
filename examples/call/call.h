/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-call: what the command line asked for, and how a call is reported. */
#ifndef MESH_CALL_EXAMPLE_H
#define MESH_CALL_EXAMPLE_H

#include <stdio.h>

#include <mesh/mesh.h>

#define CONCURRENCY_MAX 1024

struct options {
	struct mesh_slice method;
	struct mesh_slice authority;
	struct mesh_slice path;
	struct mesh_header *headers;
	size_t header_count;
	char *body; /* owned when read from a file */
	size_t body_len;
	unsigned long count;
	unsigned concurrency;
	unsigned interval_ms;
	unsigned timeout_ms;
	unsigned ready_ms;
	enum mesh_http_version version;
	bool help; /* printed already */
	bool json;
	bool explain; /* instead of calling */
	bool verbose;
	bool stats;
	const char *dump; /* NULL: none */
};

/* 0, or -1 after printing what is wrong with the command line. */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

/* One JSON object on one line. */
void report_json(FILE *out, const struct mesh_call *call);
/* The response as curl -i would, after a line of what the mesh did; nothing when there is none. */
void report_text(FILE *out, const struct mesh_call *call);
/* Why a call failed, on one line. */
void report_failure(FILE *out, const struct mesh_call *call);

#define TALLY_STEPS 256

/* What many calls came to. */
struct tally {
	unsigned long calls;
	unsigned long failed; /* ended without a whole response */
	unsigned long attempts;
	unsigned long statuses[600];
	unsigned long steps[TALLY_STEPS]; /* how many took how long, see report.c */
	uint64_t longest_us;
};

void tally_add(struct tally *tally, const struct mesh_call *call);
void tally_print(FILE *out, const struct tally *tally, uint64_t elapsed_us);

#endif
