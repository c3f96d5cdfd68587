/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long to wait before the next attempt: as the peer that failed asks, or longer each time. Reads no clock: what
 * time it is is an argument.
 */
#include "policy/retry.h"

#define NS_PER_S 1000000000ull

static const uint64_t base_default_ns = 25000000; /* Envoy's */

uint64_t mesh_retry_backoff_ns(const struct retry_config *config, unsigned number, struct rand *rand)
{
	uint64_t base = config->backoff_base_ns > 0 ? (uint64_t)config->backoff_base_ns : base_default_ns;
	uint64_t max = config->backoff_max_ns > 0 ? (uint64_t)config->backoff_max_ns : base * 10;
	uint64_t window = base < max ? base : max;

	for (unsigned i = 1; i < number && window < max; i++)
		window = window < max / 2 ? window * 2 : max;
	return mesh_rand_below(rand, window);
}

/* Seconds from now, where the header says that. */
static bool reset_interval(const struct reset_header *header, const struct headers *headers, uint64_t unix_s,
			   uint64_t *seconds)
{
	struct mesh_slice value = mesh_headers_get(headers, header->name);

	if (!value.data || !mesh_slice_to_u64(mesh_slice_trim(value), seconds))
		return false;
	if (!header->at)
		return true;
	if (*seconds < unix_s)
		return false;
	*seconds -= unix_s;
	return true;
}

uint64_t mesh_retry_reset_ns(const struct retry_config *config, const struct headers *headers, uint64_t unix_s,
			     struct rand *rand)
{
	uint64_t most_s = (uint64_t)config->reset_max_ns / NS_PER_S, seconds;

	for (size_t i = 0; i < config->reset_header_count; i++) {
		if (!reset_interval(&config->reset_headers[i], headers, unix_s, &seconds) || seconds > most_s)
			continue;
		if (!seconds)
			return 0;
		return seconds * NS_PER_S + mesh_rand_below(rand, seconds * NS_PER_S / 2);
	}
	return 0;
}
