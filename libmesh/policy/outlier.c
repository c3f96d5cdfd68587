/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who is an outlier and for how long, as Envoy's detector does. Refuses to know the clock, who shares the state, and
 * what becomes of an endpoint that is ejected.
 */
#include "policy/outlier.h"

#include <math.h>

enum { CONNECT_FAILED_STATUS = 503, TIMEOUT_STATUS = 504 };

static const uint64_t ms_ns = 1000000;

struct outlier_verdict mesh_outlier_judge(const struct outlier_config *config, int status, bool failed, bool timeout,
					  bool connected)
{
	struct outlier_verdict verdict = {.status = status, .connected = connected, .local_failure = failed};

	if (!failed)
		return verdict;
	/* not told apart, a failure on our side is an answer that a proxy would give */
	verdict.status = config->split_local ? 0 : timeout ? TIMEOUT_STATUS : CONNECT_FAILED_STATUS;
	return verdict;
}

/* Without a locked instruction where there is nothing to reset. */
static void reset(atomic_uint *run)
{
	if (atomic_load_explicit(run, memory_order_relaxed))
		atomic_store_explicit(run, 0, memory_order_relaxed);
}

/* Only the one that reaches the limit, so that a longer run is told of once. A limit of 0 is never reached. */
static bool reaches(atomic_uint *run, uint32_t limit)
{
	return atomic_fetch_add_explicit(run, 1, memory_order_relaxed) + 1 == limit;
}

static unsigned count_status(struct outlier_runs *runs, const struct outlier_config *config, int status)
{
	unsigned causes = 0;

	if (status < 500 || status > 599) {
		reset(&runs->errors);
		reset(&runs->gateway);
		return 0;
	}
	if (status < 502 || status > 504)
		reset(&runs->gateway);
	else if (reaches(&runs->gateway, config->consecutive_gateway))
		causes |= 1u << OUTLIER_GATEWAY;
	if (reaches(&runs->errors, config->consecutive_5xx))
		causes |= 1u << OUTLIER_5XX;
	return causes;
}

unsigned mesh_outlier_count(struct outlier_runs *runs, const struct outlier_config *config,
			    const struct outlier_verdict *verdict)
{
	unsigned causes = verdict->status ? count_status(runs, config, verdict->status) : 0;

	if (!config->split_local)
		return causes;
	if (verdict->connected)
		reset(&runs->local);
	if (verdict->local_failure && reaches(&runs->local, config->consecutive_local))
		causes |= 1u << OUTLIER_LOCAL;
	return causes;
}

void mesh_outlier_forget_run(struct outlier_runs *runs, enum outlier_cause cause)
{
	if (cause == OUTLIER_5XX)
		reset(&runs->errors);
	else if (cause == OUTLIER_GATEWAY)
		reset(&runs->gateway);
	else if (cause == OUTLIER_LOCAL)
		reset(&runs->local);
}

void mesh_outlier_forget_runs(struct outlier_runs *runs)
{
	reset(&runs->errors);
	reset(&runs->gateway);
	reset(&runs->local);
}

bool mesh_outlier_runs_go_on(const struct outlier_config *before, const struct outlier_config *now)
{
	return before->consecutive_5xx == now->consecutive_5xx && before->consecutive_gateway == now->consecutive_gateway &&
	       before->consecutive_local == now->consecutive_local && before->split_local == now->split_local;
}

bool mesh_outlier_room(const struct outlier_config *config, uint32_t ejected, uint32_t hosts)
{
	double percent = 100.0 * ((double)ejected + 1) / hosts; /* of none: infinite */

	return percent <= config->max_ejection_percent || (config->always_eject_one && !ejected);
}

bool mesh_outlier_enforced(const struct outlier_config *config, enum outlier_cause cause, uint64_t draw)
{
	const uint32_t percent[OUTLIER_CAUSES] = {
		[OUTLIER_5XX] = config->enforcing_5xx,
		[OUTLIER_GATEWAY] = config->enforcing_gateway,
		[OUTLIER_LOCAL] = config->enforcing_local,
		[OUTLIER_SUCCESS_RATE] = config->enforcing_success_rate,
		[OUTLIER_LOCAL_SUCCESS_RATE] = config->enforcing_local_success_rate,
		[OUTLIER_FAILURE] = config->enforcing_failure,
		[OUTLIER_LOCAL_FAILURE] = config->enforcing_local_failure,
	};

	return draw % 100 < percent[cause];
}

uint64_t mesh_outlier_duration(const struct outlier_history *history, const struct outlier_config *config)
{
	uint64_t base = (uint64_t)config->base_ejection_ns, max = (uint64_t)config->max_ejection_ns;
	uint64_t ns = base && history->multiplier > max / base ? max : base * history->multiplier;

	return (ns < max ? ns : max) + history->jitter_ns;
}

void mesh_outlier_eject(struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns, uint64_t draw)
{
	uint64_t base = (uint64_t)config->base_ejection_ns, max = (uint64_t)config->max_ejection_ns;

	history->ejected = true;
	history->ejections++;
	history->ejected_ns = now_ns;
	history->jitter_ns = draw % ((uint64_t)config->max_ejection_jitter_ns / ms_ns + 1) * ms_ns;
	/* multiplier * base < max + base, in numbers that do not overflow */
	if (base && history->multiplier <= max / base && history->multiplier * base < max + base)
		history->multiplier++;
}

void mesh_outlier_return(struct outlier_history *history, uint64_t now_ns)
{
	history->ejected = false;
	history->returned = true;
	history->returned_ns = now_ns;
}

bool mesh_outlier_due(const struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns)
{
	return history->ejected && now_ns >= history->ejected_ns &&
	       now_ns - history->ejected_ns >= mesh_outlier_duration(history, config);
}

void mesh_outlier_calm(struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns)
{
	if (history->ejected || !history->returned || !history->multiplier)
		return;
	if (now_ns >= history->returned_ns && now_ns - history->returned_ns >= (uint64_t)config->interval_ns)
		history->multiplier--;
}

/* Ticks at first, first + interval, .. before the one at or behind `at`. */
static uint64_t ticks_before(const struct outlier_config *config, uint64_t first_ns, uint64_t at_ns)
{
	uint64_t interval = (uint64_t)config->interval_ns;

	return at_ns <= first_ns ? 0 : (at_ns - first_ns + interval - 1) / interval;
}

bool mesh_outlier_catch_up(struct outlier_history *history, const struct outlier_config *config, uint64_t first_ns,
			   uint64_t ticks)
{
	bool returned = false;
	uint64_t skip;

	if (history->ejected) {
		skip = ticks_before(config, first_ns, history->ejected_ns + mesh_outlier_duration(history, config));
		if (skip >= ticks)
			return false;
		mesh_outlier_return(history, first_ns + skip * (uint64_t)config->interval_ns);
		returned = true;
	}
	if (!history->returned)
		return returned;
	skip = ticks_before(config, first_ns, history->returned_ns + (uint64_t)config->interval_ns);
	if (skip < ticks)
		history->multiplier -= history->multiplier < ticks - skip ? history->multiplier : (uint32_t)(ticks - skip);
	return returned;
}

static bool takes_part(const struct outlier_rate *rate, uint32_t volume)
{
	return !rate->ejected && rate->volume && rate->volume >= volume;
}

/* How many take part, and the mean of their rates. */
static size_t mean_of(const struct outlier_rate *rates, size_t count, uint32_t volume, double *mean)
{
	size_t taking = 0;
	double sum = 0;

	for (size_t i = 0; i < count; i++) {
		if (!takes_part(&rates[i], volume))
			continue;
		taking++;
		sum += rates[i].success;
	}
	*mean = taking ? sum / (double)taking : 0;
	return taking;
}

static void rate_success(const struct outlier_config *config, struct outlier_rate *rates, size_t count,
			 struct outlier_level *level)
{
	double mean, variance = 0;
	size_t taking = mean_of(rates, count, config->success_rate_request_volume, &mean);

	if (!taking || taking < config->success_rate_minimum_hosts)
		return;
	for (size_t i = 0; i < count; i++)
		if (takes_part(&rates[i], config->success_rate_request_volume))
			variance += (rates[i].success - mean) * (rates[i].success - mean);
	level->mean = mean;
	level->threshold = mean - config->success_rate_stdev_factor / 1000.0 * sqrt(variance / (double)taking);
	for (size_t i = 0; i < count; i++)
		if (takes_part(&rates[i], config->success_rate_request_volume) && rates[i].success < level->threshold)
			rates[i].causes |= 1u << OUTLIER_SUCCESS_RATE;
}

static void rate_failure(const struct outlier_config *config, struct outlier_rate *rates, size_t count)
{
	double mean;
	size_t taking = mean_of(rates, count, config->failure_request_volume, &mean);

	if (!taking || taking < config->failure_minimum_hosts)
		return;
	for (size_t i = 0; i < count; i++)
		if (takes_part(&rates[i], config->failure_request_volume) &&
		    100.0 - rates[i].success >= config->failure_threshold)
			rates[i].causes |= 1u << OUTLIER_FAILURE;
}

void mesh_outlier_rate(const struct outlier_config *config, struct outlier_rate *rates, size_t count,
		       struct outlier_level *level)
{
	uint32_t volume = config->success_rate_request_volume < config->failure_request_volume
				  ? config->success_rate_request_volume
				  : config->failure_request_volume;
	bool enough = count >= config->success_rate_minimum_hosts || count >= config->failure_minimum_hosts;

	*level = (struct outlier_level){-1, -1};
	for (size_t i = 0; i < count; i++) {
		rates[i].causes = 0;
		rates[i].shown = enough && takes_part(&rates[i], volume);
	}
	if (!enough)
		return;
	rate_success(config, rates, count, level);
	rate_failure(config, rates, count);
}
