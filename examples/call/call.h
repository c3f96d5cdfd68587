/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-call: what the command line asked for, and how a call is reported. */
#ifndef MESH_CALL_EXAMPLE_H
#define MESH_CALL_EXAMPLE_H

#include <stdio.h>

#include <mesh/mesh.h>

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
	bool json;
	bool verbose;
	bool stats;
};

/* 0, or -1 after printing what is wrong with the command line. */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

/* One JSON object on one line. */
void report_json(FILE *out, const struct mesh_call *call);
/* As curl -i would. */
void report_text(FILE *out, const struct mesh_call *call);

#endif
