/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what a finished try means for its endpoint. Refuses to know whether it is tried again. */
#include "cluster/health.h"
#include "lb/latency.h"

/* An answer, or a failure on our side of the wire. */
static void tally(struct endpoint *endpoint, size_t side, bool good)
{
	mesh_counter_add(&endpoint->tally.total[side], 1);
	if (good)
		mesh_counter_add(&endpoint->tally.good[side], 1);
}

static void judge(struct endpoint *endpoint, const struct outlier_verdict *verdict)
{
	static const enum outlier_cause order[] = {OUTLIER_GATEWAY, OUTLIER_5XX, OUTLIER_LOCAL};
	struct cluster *cluster = endpoint->cluster;
	const struct outlier_config *config = &cluster->config->outlier;
	unsigned causes;

	mesh_ejection_sweep(cluster, mesh_loop_now_ns(cluster->env->loop));
	if (verdict->status)
		tally(endpoint, 0, verdict->status < 500 || verdict->status > 599);
	if (config->split_local && (verdict->connected || verdict->local_failure))
		tally(endpoint, 1, verdict->connected);
	causes = mesh_outlier_count(&endpoint->shared->runs, config, verdict);
	for (size_t i = 0; causes && i < sizeof(order) / sizeof(order[0]); i++)
		if (causes & (1u << order[i]))
			mesh_ejection_detect(endpoint, order[i]);
}

/* What balancing by latency goes by, where it does. */
static void learn(struct endpoint *endpoint, const struct endpoint_outcome *outcome, bool failed)
{
	const struct cluster_config *config = endpoint->cluster->config;
	const struct ewma_config *ewma = &config->balance.ewma;

	if (config->lb != LB_LEAST_REQUEST || !(ewma->on || endpoint->cluster->env->peak_ewma))
		return;
	if (failed || outcome->took_ns)
		mesh_latency_add(&endpoint->shared->latency, outcome->took_ns, failed,
				 mesh_loop_now_ns(endpoint->cluster->env->loop),
				 ewma->decay_ns > 0 ? ewma->decay_ns : MESH_LATENCY_DECAY_NS);
}

void mesh_endpoint_report(struct endpoint *endpoint, const struct endpoint_outcome *outcome)
{
	const struct cluster_config *config = endpoint->cluster->config;
	bool failed = outcome->connect_failed || outcome->error;
	struct outlier_verdict verdict;

	if (failed || outcome->status >= 500)
		atomic_fetch_add_explicit(&endpoint->shared->rq_error, 1, memory_order_relaxed);
	learn(endpoint, outcome, failed || outcome->status >= 500);
	if (!config->outlier.on || outcome->error == MESH_ERROR_NOMEM) /* our own trouble is no endpoint's */
		return;
	verdict = mesh_outlier_judge(&config->outlier, outcome->status, failed, outcome->error == MESH_ERROR_TIMEOUT, false);
	judge(endpoint, &verdict);
}

void mesh_endpoint_connected(struct endpoint *endpoint, bool final)
{
	const struct outlier_config *config = &endpoint->cluster->config->outlier;
	struct outlier_verdict verdict = {.connected = config->split_local};

	if (!config->on || (!config->split_local && !final))
		return;
	if (!config->split_local) /* a stream of bytes that is open is what a proxy would call a good answer */
		verdict.status = 200;
	judge(endpoint, &verdict);
}
