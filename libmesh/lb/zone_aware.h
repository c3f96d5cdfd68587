/* SPDX-License-Identifier: Apache-2.0 */
/* Zone-aware balancing: how much of the traffic stays in the own zone, and where the rest goes. Arithmetic only. */
#ifndef MESH_LB_ZONE_AWARE_H
#define MESH_LB_ZONE_AWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rand.h"
#include "config/balance.h"

#define MESH_ZONE_WHOLE 10000 /* parts of it are Envoy's percentages */

enum lb_zone_mode {
	ZONE_OFF,      /* zones do not matter */
	ZONE_REFUSE,   /* the local cluster is in panic, and traffic is to fail then */
	ZONE_DIRECT,   /* all to the own zone */
	ZONE_RESIDUAL, /* what the own zone can take, the rest to where there is room */
};

/* Healthy endpoints of one zone of the called cluster, and those of the local cluster in the same zone; or their weights. */
struct lb_zone_count {
	uint64_t local, upstream;
};

struct lb_zone {
	enum lb_zone_mode mode;
	uint32_t routing_percent;
	uint64_t local_part; /* of the whole, that the own zone (the first) takes */
	uint64_t *residual;  /* by zone: room in it and those before it, in parts of the whole */
	size_t count;
};

/*
 * Fills in mode, local_part and residual (which has room for `count`). `own`: the first of the zones is the own one, with
 * own_healthy endpoints; local_total: of the local cluster, zones that the called one does not have too.
 */
void mesh_zone_route(const struct zone_config *config, const struct lb_zone_count *zones, size_t count,
		     uint64_t local_total, bool own, uint64_t own_healthy, struct lb_zone *zone);
#define MESH_ZONE_NONE SIZE_MAX
/* Which zone takes the next request; `count`: all of them together; MESH_ZONE_NONE: it is to fail. */
size_t mesh_zone_pick(const struct lb_zone *zone, struct rand *rand);

#endif
