/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what an endpoint's latency is, from single observations: what is above the average replaces it, what is below
 * pulls it down, the more so the longer ago the last one was. Average and time share a word (a float, milliseconds that
 * wrap after 49 days), so that one exchange keeps them together.
 */
#include "lb/latency.h"

#include <math.h>
#include <string.h>

#define NS_PER_MS 1000000ull

static uint64_t pack(float average, uint32_t ms)
{
	uint32_t bits;

	memcpy(&bits, &average, sizeof(bits));
	return (uint64_t)bits << 32 | ms;
}

static float average_of(uint64_t word)
{
	uint32_t bits = (uint32_t)(word >> 32);
	float average;

	memcpy(&average, &bits, sizeof(average));
	return average;
}

/* What is left of the old: 1 at once, less with time. */
static double remains(uint64_t word, uint64_t now_ns, int64_t decay_ns)
{
	uint32_t passed = (uint32_t)(now_ns / NS_PER_MS) - (uint32_t)word;

	if (passed > INT32_MAX) /* another worker's clock was read a little later */
		passed = 0;
	return exp(-(double)passed * (double)NS_PER_MS / (double)decay_ns);
}

void mesh_latency_add(struct lb_latency *latency, uint64_t took_ns, bool failed, uint64_t now_ns, int64_t decay_ns)
{
	uint64_t was = atomic_load_explicit(&latency->seen, memory_order_relaxed), next;

	if (failed && took_ns < MESH_LATENCY_FAILED_NS)
		took_ns = MESH_LATENCY_FAILED_NS;
	do {
		double average = average_of(was), rest = remains(was, now_ns, decay_ns);

		average = (double)took_ns > average ? (double)took_ns : average * rest + (double)took_ns * (1 - rest);
		next = pack((float)(average > 1 ? average : 1), (uint32_t)(now_ns / NS_PER_MS));
	} while (!atomic_compare_exchange_weak_explicit(&latency->seen, &was, next, memory_order_relaxed,
							memory_order_relaxed));
}

double mesh_latency_now(const struct lb_latency *latency, uint64_t now_ns, int64_t decay_ns)
{
	uint64_t word = atomic_load_explicit(&latency->seen, memory_order_relaxed);

	if (!word)
		return 0;
	return fmax(average_of(word) * remains(word, now_ns, decay_ns), 1);
}
