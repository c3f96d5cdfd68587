/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outlier detection as Envoy does it: from what answers and failures an endpoint is detected as an outlier, whether it is
 * ejected for that, for how long, and what an interval's success rates say. Time and chance are arguments.
 */
#ifndef MESH_POLICY_OUTLIER_H
#define MESH_POLICY_OUTLIER_H

#include <stdatomic.h>

#include "config/cluster.h"

enum outlier_cause {
	OUTLIER_5XX,
	OUTLIER_GATEWAY,
	OUTLIER_LOCAL, /* consecutive failures on our side of the wire, when those are told apart */
	OUTLIER_SUCCESS_RATE,
	OUTLIER_LOCAL_SUCCESS_RATE,
	OUTLIER_FAILURE,
	OUTLIER_LOCAL_FAILURE,
	OUTLIER_CAUSES,
};

/* Runs of failures of one endpoint. Any thread. */
struct outlier_runs {
	atomic_uint errors, gateway, local;
};

/* What one answer or failure counts as. */
struct outlier_verdict {
	int status; /* as of HTTP; 0: none */
	bool connected, local_failure; /* our side of the wire: only looked at when told apart */
};

/* `status`: of the response's head, else 0. `failed`: none came, and whether for want of time, or of a connection. */
struct outlier_verdict mesh_outlier_judge(const struct outlier_config *config, int status, bool failed, bool timeout,
					  bool connected);
/* Counts an answer; bits of the causes whose limit it reached: gateway failures are to be looked at first. */
unsigned mesh_outlier_count(struct outlier_runs *runs, const struct outlier_config *config,
			    const struct outlier_verdict *verdict);
void mesh_outlier_forget_run(struct outlier_runs *runs, enum outlier_cause cause); /* it led to a decision */
void mesh_outlier_forget_runs(struct outlier_runs *runs);
/* Do runs that were counted by the one go on under the other? Else one may be beyond a limit that only whoever reaches it tells. */
bool mesh_outlier_runs_go_on(const struct outlier_config *before, const struct outlier_config *now);

/* How an endpoint was ejected so far. The caller's lock. */
struct outlier_history {
	bool ejected;
	bool returned;        /* at returned_ns, at least once */
	uint32_t ejections;
	uint32_t multiplier;  /* of the base ejection time */
	uint64_t ejected_ns, returned_ns, jitter_ns;
};

/* May one more of `hosts` be ejected when `ejected` are? */
bool mesh_outlier_room(const struct outlier_config *config, uint32_t ejected, uint32_t hosts);
/* By the share of detections that is enforced; `draw` is any random number. */
bool mesh_outlier_enforced(const struct outlier_config *config, enum outlier_cause cause, uint64_t draw);
void mesh_outlier_eject(struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns, uint64_t draw);
void mesh_outlier_return(struct outlier_history *history, uint64_t now_ns);
uint64_t mesh_outlier_duration(const struct outlier_history *history, const struct outlier_config *config);
/* The interval's timer, before rates are looked at. True: it returns now. */
bool mesh_outlier_due(const struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns);
/* The same, behind them: whoever behaved for an interval is ejected for less the next time. */
void mesh_outlier_calm(struct outlier_history *history, const struct outlier_config *config, uint64_t now_ns);
/*
 * `ticks` of the timer that nobody was there for, the first at first_ns: as if it had run then, with nothing to rate. True: it
 * returned in one of them.
 */
bool mesh_outlier_catch_up(struct outlier_history *history, const struct outlier_config *config, uint64_t first_ns,
			   uint64_t ticks);

/* An endpoint's answers of one interval. */
struct outlier_volume {
	uint64_t total, good;
};

struct outlier_rate {
	double success;   /* percent */
	uint64_t volume;
	bool ejected;     /* already: takes no part */
	unsigned causes;  /* out: bits of OUTLIER_SUCCESS_RATE and OUTLIER_FAILURE */
	bool shown;       /* out: had enough volume for its rate to mean something */
};

/* Mean and threshold of the last interval, percent; -1: too few endpoints, or answers. */
struct outlier_level {
	double mean, threshold;
};

/* Looks for outliers among the rates of one interval. */
void mesh_outlier_rate(const struct outlier_config *config, struct outlier_rate *rates, size_t count,
		       struct outlier_level *level);

#endif
