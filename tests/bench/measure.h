/* SPDX-License-Identifier: Apache-2.0 */
/* What both clients of the bench report of their measured part, in the same way. */
#ifndef MESH_TESTS_BENCH_MEASURE_H
#define MESH_TESTS_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct measure {
	size_t warm, calls; /* calls before measuring, and measured */
	size_t started, ended;
	pid_t server;       /* whose CPU and memory count too; 0: nobody's */
	uint64_t *took_ns;
	uint64_t begin_ns, begin_cpu_ns;
};

void measure_open(struct measure *measure, size_t warm, size_t calls, pid_t server);
uint64_t measure_now_ns(void);
/* A call that began at `since_ns` is over. */
void measure_call(struct measure *measure, uint64_t since_ns);
/* Prints one line: p50_us p99_us cpu_us_per_call anonymous_kb calls_per_s. */
void measure_close(struct measure *measure);

#endif
