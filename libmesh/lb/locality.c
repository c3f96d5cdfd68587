/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how much of the traffic each priority and each locality takes, from how many of their endpoints are healthy, as
 * Envoy does: overprovisioning, spill-over, panic. Arithmetic only: knows no endpoint.
 */
#include "lb/locality.h"

static uint32_t at_most(uint64_t value, uint32_t max)
{
	return value < max ? (uint32_t)value : max;
}

/* Percent of the traffic these endpoints could take. */
static uint32_t availability(uint32_t eligible, uint32_t total, uint32_t overprovisioning)
{
	return total ? at_most((uint64_t)overprovisioning * eligible / total, 100) : 0;
}

static uint32_t *part(struct lb_share *share, bool degraded)
{
	return degraded ? &share->degraded : &share->healthy;
}

/* Turns availabilities into shares of what is left, best priority first. Returns the first one available, -1: none. */
static ptrdiff_t give_out(struct lb_share *share, size_t count, bool degraded, uint32_t whole, uint32_t *left)
{
	ptrdiff_t first = -1;

	for (size_t i = 0; i < count; i++) {
		uint32_t *at = part(&share[i], degraded);

		if (first < 0 && *at)
			first = (ptrdiff_t)i;
		*at = at_most((uint64_t)*at * 100 / whole, *left);
		*left -= *at;
	}
	return first;
}

/* Nothing is healthy enough anywhere: by number of endpoints. */
static void share_by_size(const struct lb_census *census, size_t count, struct lb_share *share)
{
	uint64_t total = 0;
	uint32_t left = 100;
	size_t first = 0;

	for (size_t i = 0; i < count; i++)
		total += census[i].total;
	for (size_t i = 0; i < count; i++) {
		share[i].healthy = total ? (uint32_t)(100ull * census[i].total / total) : 0;
		share[i].degraded = 0;
		left -= share[i].healthy;
	}
	while (total && !census[first].total)
		first++;
	share[first].healthy += left;
}

static bool in_panic(const struct lb_census *census, double threshold)
{
	double usable = census->total ? 100.0 * census->healthy / census->total + 100.0 * census->degraded / census->total : 0;

	return usable < threshold;
}

/* Shares by availability; `share` holds the availabilities and receives the shares. False: nothing is available. */
static bool share_by_health(size_t count, struct lb_share *share)
{
	uint32_t whole = 0, left = 100;
	ptrdiff_t healthy, degraded;

	for (size_t i = 0; i < count; i++)
		whole = at_most((uint64_t)whole + share[i].healthy + share[i].degraded, 100);
	if (!whole)
		return false;
	healthy = give_out(share, count, false, whole, &left);
	degraded = give_out(share, count, true, whole, &left);
	/* What rounding left over goes to the best there is. */
	if (healthy >= 0)
		share[healthy].healthy += left;
	else
		share[degraded].degraded += left;
	return true;
}

void mesh_locality_share(const struct lb_census *census, size_t count, uint32_t overprovisioning, double panic_percent,
			 struct lb_share *share)
{
	/* Envoy keeps the threshold as a whole number. */
	double threshold = panic_percent > 100 ? 100 : panic_percent > 0 ? (double)(unsigned)(panic_percent + 0.5) : 0;
	uint32_t available = 0;
	bool all = true;

	for (size_t i = 0; i < count; i++) {
		share[i].healthy = availability(census[i].healthy, census[i].total, overprovisioning);
		share[i].degraded = availability(census[i].degraded, census[i].total, overprovisioning);
		share[i].panic = false;
		available = at_most((uint64_t)available + share[i].healthy + share[i].degraded, 100);
	}
	if (!share_by_health(count, share) && threshold == 0) {
		share[0].healthy = 100; /* panic is off: nobody to send to */
		return;
	}
	for (size_t i = 0; i < count; i++) {
		share[i].panic = available != 100 && in_panic(&census[i], threshold);
		all = all && share[i].panic;
	}
	if (all)
		share_by_size(census, count, share);
}

double mesh_locality_weight(uint32_t weight, uint32_t eligible, uint32_t total, uint32_t overprovisioning)
{
	double ratio;

	if (!total)
		return 0;
	ratio = overprovisioning / 100.0 * eligible / total;
	return weight * (ratio < 1 ? ratio : 1);
}
