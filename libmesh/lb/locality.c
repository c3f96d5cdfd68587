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

/* Percent of the traffic these endpoints could take. Weights of several localities add up to more than 32 bits. */
static uint32_t availability(uint64_t eligible, uint64_t total, uint32_t overprovisioning)
{
	for (; total > UINT32_MAX; total /= 2)
		eligible /= 2;
	return total ? at_most(overprovisioning * eligible / total, 100) : 0;
}

static void set_availability(const struct lb_census *census, uint32_t overprovisioning, struct lb_share *share)
{
	bool by_weight = census->total_weight > 0;
	uint64_t total = by_weight ? census->total_weight : mesh_census_counted(census);

	share->available[0] =
		availability(by_weight ? census->healthy_weight : census->healthy, total, overprovisioning);
	share->available[1] =
		availability(by_weight ? census->degraded_weight : census->degraded, total, overprovisioning);
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

/* Envoy keeps the threshold as a whole number. */
static double whole_percent(double percent)
{
	return percent > 100 ? 100 : percent > 0 ? (double)(unsigned)(percent + 0.5) : 0;
}

static bool in_panic(const struct lb_census *census, double threshold)
{
	uint32_t counted = mesh_census_counted(census);
	double usable = counted ? 100.0 * census->healthy / counted + 100.0 * census->degraded / counted : 0;

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
	double threshold = whole_percent(panic_percent);
	uint32_t available = 0;
	bool all = true;

	for (size_t i = 0; i < count; i++) {
		set_availability(&census[i], overprovisioning, &share[i]);
		share[i].healthy = share[i].available[0];
		share[i].degraded = share[i].available[1];
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

bool mesh_locality_panic(const struct lb_census *census, double panic_percent)
{
	return in_panic(census, whole_percent(panic_percent));
}

double mesh_locality_weight(uint32_t weight, uint32_t eligible, uint32_t total, uint32_t overprovisioning)
{
	double ratio;

	if (!total)
		return 0;
	ratio = overprovisioning / 100.0 * eligible / total;
	return weight * (ratio < 1 ? ratio : 1);
}

/* What those not left out could take together. */
static uint32_t left_available(const struct lb_share *share, size_t count, const bool *out)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i++)
		if (!out[i])
			sum = at_most((uint64_t)sum + share[i].available[0] + share[i].available[1], 100);
	return sum;
}

/* In rounds, until rounding leaves nothing over. `whole` > 0. */
static void share_rest(struct lb_share *share, size_t count, const bool *out, uint32_t whole)
{
	uint32_t left = 100;

	for (size_t i = 0; i < count; i++)
		share[i].healthy = share[i].degraded = 0;
	while (left) {
		for (size_t side = 0; side < 2; side++) {
			for (size_t i = 0; i < count; i++) {
				uint32_t more = out[i] ? 0 : at_most(share[i].available[side] * 100ull / whole, left);

				*part(&share[i], side) += more;
				left -= more;
			}
		}
	}
}

bool mesh_locality_retry_share(struct lb_share *share, size_t count, const uint32_t *tried, size_t tried_count,
			       uint32_t update)
{
	bool out[MESH_LB_PRIORITIES_MAX] = {false}, changed = false, in_force = false;
	size_t from = 0; /* those before were forgotten when no priority was left */

	if (!update || count > MESH_LB_PRIORITIES_MAX)
		return false;
	for (size_t now = 1; now <= tried_count; now++) {
		uint32_t whole;

		in_force = changed && now - from >= update;
		if (now - from < update || (now - from) % update)
			continue;
		for (size_t i = from; i < now; i++)
			if (tried[i] < count)
				out[tried[i]] = true;
		whole = left_available(share, count, out);
		if (!whole) {
			memset(out, 0, sizeof(out));
			from = now;
			whole = left_available(share, count, out);
		}
		if (!whole)
			return false;
		share_rest(share, count, out, whole);
		changed = in_force = true;
	}
	return in_force;
}
