/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when checked endpoints become healthy and unhealthy, as Envoy's health checkers do. Refuses to know how they are
 * asked.
 */
#include "policy/health_check.h"

static const uint64_t ms_ns = 1000000;
static const uint64_t longest_ns = 100ull * 365 * 86400 * 1000000000ull;

static enum check_change take_good(struct check_state *state, const struct health_check_config *config, bool degraded)
{
	enum check_change change = CHECK_UNCHANGED;

	state->bad_run = 0;
	if (state->failed) {
		/* the first check of all is enough: an endpoint that is there serves at once */
		if (!state->checked || ++state->good_run == config->healthy_threshold) {
			state->failed = state->timeout = false;
			change = CHECK_CHANGED;
		} else {
			change = CHECK_ON_EDGE;
		}
	}
	if (degraded != state->degraded) {
		state->degraded = degraded;
		if (change == CHECK_UNCHANGED)
			change = CHECK_CHANGED;
	}
	return change;
}

static enum check_change take_bad(struct check_state *state, const struct health_check_config *config, enum check_result result)
{
	enum check_change change = CHECK_UNCHANGED;

	state->good_run = 0;
	if (!state->failed) {
		if (result == CHECK_FAILED || ++state->bad_run == config->unhealthy_threshold) {
			state->failed = true;
			change = CHECK_CHANGED;
		} else {
			change = CHECK_ON_EDGE;
		}
	}
	state->timeout = result == CHECK_TIMEOUT && state->failed;
	return change;
}

enum check_change mesh_check_take(struct check_state *state, const struct health_check_config *config, enum check_result result)
{
	enum check_change change = mesh_check_good(result) ? take_good(state, config, result == CHECK_DEGRADED)
							   : take_bad(state, config, result);

	state->checked = true;
	return change;
}

static uint64_t with_jitter(uint64_t base, uint32_t percent, uint64_t jitter, const uint64_t draws[2])
{
	uint64_t spread;

	if (base > longest_ns)
		base = longest_ns;
	if (__builtin_mul_overflow(base / 100, (uint64_t)percent, &spread) || spread > longest_ns)
		spread = longest_ns;
	if (spread)
		base += draws[0] % spread;
	if (jitter)
		base += draws[1] % jitter;
	return base > ms_ns ? base : ms_ns; /* never one right after the other */
}

uint64_t mesh_check_interval(const struct health_check_config *config, bool good, enum check_change change, bool traffic,
			     const uint64_t draws[2])
{
	bool edge = change == CHECK_ON_EDGE;
	int64_t base;

	if (!traffic)
		base = good && !edge ? config->no_traffic_healthy_ns : config->no_traffic_ns;
	else if (good)
		base = edge ? config->healthy_edge_ns : config->interval_ns;
	else
		base = edge ? config->unhealthy_edge_ns : config->unhealthy_ns;
	return with_jitter((uint64_t)base, config->interval_jitter_percent, (uint64_t)config->interval_jitter_ns, draws);
}

uint64_t mesh_check_first(const struct health_check_config *config, uint64_t draw)
{
	const uint64_t draws[2] = {draw, draw};

	if (!config->initial_jitter_ns)
		return 0;
	return with_jitter(0, 0, (uint64_t)config->initial_jitter_ns, draws);
}

static bool within(const struct status_range *ranges, size_t count, int status)
{
	for (size_t i = 0; i < count; i++)
		if (status >= ranges[i].first && status <= ranges[i].last)
			return true;
	return false;
}

enum check_result mesh_check_status(const struct health_check_config *config, int status)
{
	if (config->expected_count ? within(config->expected, config->expected_count, status) : status == 200)
		return CHECK_SUCCEEDED;
	return within(config->retriable, config->retriable_count, status) ? CHECK_RETRIABLE : CHECK_FAILED;
}

bool mesh_check_received(const struct health_check_config *config, struct mesh_slice bytes)
{
	for (size_t i = 0; i < config->receive_count; i++) {
		struct mesh_slice piece = config->receive[i];
		const char *at = piece.len > bytes.len ? NULL : memmem(bytes.data, bytes.len, piece.data, piece.len);

		if (!at)
			return false;
		bytes = mesh_slice_make(at + piece.len, bytes.len - (size_t)(at - bytes.data) - piece.len);
	}
	return true;
}
