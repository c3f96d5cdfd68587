/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active health checks: on one worker of a mesh, for all others. Each endpoint of a cluster that has them is asked in turn;
 * what comes of it goes to endpoint_shared (health.h). A check has a connection of its own, which no request uses and no
 * limit counts.
 */
#ifndef MESH_CLUSTER_HEALTH_CHECK_H
#define MESH_CLUSTER_HEALTH_CHECK_H

#include "base/buf.h"
#include "cluster/dial.h"
#include "http/mux.h"
#include "policy/health_check.h"

struct health_checks {
	struct cluster_env *env;
	struct link clusters; /* struct checked_cluster */
	struct why why;       /* of the last check that could not be begun */
	struct loop_timer again;
};

void mesh_health_checks_init(struct health_checks *checks, struct cluster_env *env);
/* To be called when env->snapshot has changed. What memory was short for comes a little later. */
void mesh_health_checks_follow(struct health_checks *checks);
void mesh_health_checks_end(struct health_checks *checks); /* before the environment */

/* ---- between health_check.c and check_connection.c */

struct checked_cluster {
	struct link link;
	struct cluster *cluster;
	struct link checks; /* struct check */
	uint64_t seen;      /* the snapshot they follow; 0: not all of them do */
	bool present;       /* scratch */
};

/* One endpoint's. */
struct check {
	struct link link;
	struct health_checks *all;
	struct endpoint *endpoint; /* held */
	const struct cluster_config *cluster_config; /* retained: the following two are in it */
	const struct health_check_config *config;
	const struct transport_choice *choice; /* of the check's own; NULL: the endpoint's */
	struct address address;
	struct mesh_slice authority; /* copied */
	struct check_state state;
	bool excluded;  /* it asked for that */
	bool present;   /* scratch */
	struct loop_timer interval, timeout;
	struct check_connection *connection; /* NULL: none */
};

/* Asks. CHECK_NETWORK comes at once when that cannot be begun. */
void mesh_check_ask(struct check *check);
/* Nothing more comes of what was asked; the connection goes. */
void mesh_check_drop(struct check *check);
/* What came of it; once for each mesh_check_ask that was not dropped. */
void mesh_check_told(struct check *check, enum check_result result);

#endif
