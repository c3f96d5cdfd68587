/* SPDX-License-Identifier: Apache-2.0 */
/* Latency of each call, and what client and server together used meanwhile by the kernel's own accounts. */
#include "measure.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t measure_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* schedstat counts nanoseconds of every thread; times(2) would count in hundredths of a second. */
static uint64_t cpu_ns(pid_t pid)
{
	char path[320];
	uint64_t total = 0;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		unsigned long long ns;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%.200s/schedstat", (int)pid, entry->d_name);
		file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (file && fscanf(file, "%llu", &ns) == 1)
			total += ns;
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return total;
}

static unsigned long anonymous_kb(pid_t pid)
{
	char path[64], line[256];
	unsigned long kb = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Anonymous: %lu kB", &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb;
}

static uint64_t all_cpu_ns(const struct measure *measure)
{
	return cpu_ns(getpid()) + (measure->server ? cpu_ns(measure->server) : 0);
}

void measure_open(struct measure *measure, size_t warm, size_t calls, pid_t server)
{
	memset(measure, 0, sizeof(*measure));
	measure->warm = warm ? warm : 1; /* the first opens connections */
	measure->calls = calls;
	measure->server = server;
	measure->took_ns = calloc(calls, sizeof(*measure->took_ns));
	if (!measure->took_ns)
		abort();
	memset(measure->took_ns, 1, calls * sizeof(*measure->took_ns)); /* touched before it counts */
}

void measure_call(struct measure *measure, uint64_t since_ns)
{
	uint64_t now = measure_now_ns();
	size_t at = measure->ended++;

	if (measure->ended == measure->warm) {
		measure->begin_cpu_ns = all_cpu_ns(measure);
		measure->begin_ns = measure_now_ns();
	}
	if (at >= measure->warm && at - measure->warm < measure->calls)
		measure->took_ns[at - measure->warm] = now - since_ns;
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void measure_close(struct measure *measure)
{
	uint64_t cpu = all_cpu_ns(measure) - measure->begin_cpu_ns;
	uint64_t wall = measure_now_ns() - measure->begin_ns;
	unsigned long own_samples_kb = (unsigned long)(measure->calls * sizeof(*measure->took_ns) / 1024);
	unsigned long kb = anonymous_kb(getpid()) - own_samples_kb + (measure->server ? anonymous_kb(measure->server) : 0);
	double calls = (double)measure->calls;

	qsort(measure->took_ns, measure->calls, sizeof(*measure->took_ns), by_time);
	printf("%.2f %.2f %.2f %lu %.0f\n", (double)measure->took_ns[measure->calls / 2] / 1e3,
	       (double)measure->took_ns[measure->calls * 99 / 100] / 1e3, (double)cpu / 1e3 / calls, kb, calls * 1e9 / (double)wall);
	free(measure->took_ns);
}
