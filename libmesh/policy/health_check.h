/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active health checks as Envoy has them: what a check's result makes of an endpoint, when the next one is due, what answers
 * are good. Time and chance are arguments.
 */
#ifndef MESH_POLICY_HEALTH_CHECK_H
#define MESH_POLICY_HEALTH_CHECK_H

#include "config/health_check.h"

enum check_result {
	CHECK_SUCCEEDED,
	CHECK_DEGRADED,  /* healthy, and asks for less */
	CHECK_FAILED,    /* by its answer: at once unhealthy */
	CHECK_RETRIABLE, /* the same, when it comes several times in a row */
	CHECK_NETWORK,
	CHECK_TIMEOUT,
};

static inline bool mesh_check_good(enum check_result result)
{
	return result == CHECK_SUCCEEDED || result == CHECK_DEGRADED;
}

struct check_state {
	bool failed, degraded, timeout;
	bool checked;           /* at least once */
	uint32_t good_run, bad_run;
};

enum check_change {
	CHECK_UNCHANGED,
	CHECK_CHANGED,
	CHECK_ON_EDGE, /* on its way, by the thresholds */
};

enum check_change mesh_check_take(struct check_state *state, const struct health_check_config *config,
				  enum check_result result);
/* Until the next check. `traffic`: requests ever went to the cluster; `draws` are any random numbers. */
uint64_t mesh_check_interval(const struct health_check_config *config, bool good, enum check_change change, bool traffic,
			     const uint64_t draws[2]);
uint64_t mesh_check_first(const struct health_check_config *config, uint64_t draw); /* until the first one; 0: at once */

/* What a response with that status is, when nothing else is wrong with it: SUCCEEDED, FAILED or RETRIABLE. */
enum check_result mesh_check_status(const struct health_check_config *config, int status);
/* Are all pieces there, in their order? */
bool mesh_check_received(const struct health_check_config *config, struct mesh_slice bytes);

#endif
