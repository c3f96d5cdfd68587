/* SPDX-License-Identifier: Apache-2.0 */
/* How near its limits a cluster is, as Envoy's gauges say it. Decides nothing: the limits are the last that a worker followed. */
#include "cluster/registry.h"

#include <inttypes.h>

void mesh_breaker_limits_set(struct cluster_shared *shared, const struct cluster_config *config)
{
	pthread_mutex_lock(&shared->lock);
	shared->limits = config->breaker;
	shared->limits_high = config->breaker_high;
	shared->limited = true;
	pthread_mutex_unlock(&shared->lock);
}

struct gauge {
	const char *open, *remaining;
	uint32_t limit, use;
};

static int write_priority(const struct cluster_shared *shared, const char *priority,
			  const struct circuit_breaker *limits, const struct breaker_use *use, struct buf *out)
{
	struct gauge gauges[] = {
		{"cx_open", "remaining_cx", limits->connections, atomic_load(&use->connections)},
		{"rq_pending_open", "remaining_pending", limits->pending, atomic_load(&use->pending)},
		{"rq_open", "remaining_rq", limits->requests, atomic_load(&use->requests)},
		{"rq_retry_open", "remaining_retries", mesh_breaker_retry_limit(limits, use),
		 atomic_load(&use->retries)},
	};
	int n = (int)shared->name.len, rc = 0;

	for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]) && !rc; i++) {
		const struct gauge *gauge = &gauges[i];

		rc = mesh_buf_printf(out, "cluster.%.*s.circuit_breakers.%s.%s: %d\n", n, shared->name.data, priority,
				     gauge->open, gauge->use >= gauge->limit);
		if (!rc && limits->track_remaining)
			rc = mesh_buf_printf(out, "cluster.%.*s.circuit_breakers.%s.%s: %" PRIu32 "\n", n,
					     shared->name.data, priority, gauge->remaining,
					     gauge->use < gauge->limit ? gauge->limit - gauge->use : 0);
	}
	return rc;
}

int mesh_breaker_stats(struct cluster_shared *shared, struct buf *out)
{
	struct circuit_breaker limits, high;
	bool limited;
	int rc = 0;

	pthread_mutex_lock(&shared->lock);
	limits = shared->limits;
	high = shared->limits_high;
	limited = shared->limited;
	pthread_mutex_unlock(&shared->lock);
	if (limited)
		rc = write_priority(shared, "default", &limits, &shared->breaker, out);
	return rc || !limited ? rc : write_priority(shared, "high", &high, &shared->breaker_high, out);
}
