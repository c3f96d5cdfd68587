/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Balancing: which endpoint of a cluster takes the next attempt. Per worker and cluster; reads no clock, owns no socket.
 * Priorities and localities (locality.c) choose a group of endpoints, an algorithm (the third ops table) one of the group.
 */
#ifndef MESH_LB_LB_H
#define MESH_LB_LB_H

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"
#include "config/cluster.h"
#include "config/subset_wish.h"

/* How long requests to an endpoint take: written by all workers of a mesh, see lb/latency.h. */
struct lb_latency {
	_Atomic uint64_t seen;
};

/* What a balancer knows of an endpoint. The array is the cluster's, in the order of its endpoint set; it outlives the balancer. */
struct lb_endpoint {
	uint32_t weight;
	uint32_t hash;            /* of its address text */
	struct mesh_slice key;    /* consistent hashing places it by: the endpoint set's memory */
	uint32_t locality;        /* index into the set's localities */
	bool healthy;             /* may take traffic: configured health, not ejected */
	bool degraded;
	bool excluded;            /* cannot be used at all (unsupported address): never picked, not even in panic */
	bool uncounted;           /* unhealthy, and no part of what there is (draining, not checked yet): picked in panic alone */
	const atomic_uint *active; /* requests in flight on it, all workers */
	uint64_t since_ns;        /* when it began to take traffic (slow start); 0: not known, as if long ago */
	const struct lb_label *labels; /* subsets: the endpoint set's memory */
	uint32_t label_count;
	struct lb_latency *latency; /* given for all endpoints or for none: balance by it (peak EWMA) */
};

/* The endpoints an algorithm chooses from: indexes into the array. */
struct lb_group {
	const struct lb_endpoint *endpoints;
	const uint32_t *members;
	size_t count;
	bool weighted; /* weights differ */
	const struct endpoint_set *set; /* members of one locality lie together, in its order */
	bool by_locality; /* localities are weighted */
	const uint32_t *locality_weights; /* by locality; NULL: the set's own */
	size_t endpoint_count; /* of the cluster */
	size_t points_max;     /* of a ring, beside what the configuration says; 0: any */
	uint32_t priority;
};

/* What a request chooses by, where the algorithm cares. */
struct lb_key {
	uint64_t hash;
	uint32_t attempt; /* 0, then grows with each pick that was not wanted */
	uint64_t now_ns;
};

#define MESH_LB_NOBODY UINT32_MAX

struct lb_ops {
	const char *name;
	bool consistent; /* the hash alone decides, priority included; one group holds all localities of a priority */
	/* state for one group; NULL state and 0 when none is needed. NOMEM */
	int (*prepare)(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		       struct rand *rand, void **state);
	/* an index into `members`, or MESH_LB_NOBODY */
	uint32_t (*pick)(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key);
	void (*destroy)(const struct mesh_mem *mem, void *state);
};
extern const struct lb_ops mesh_lb_round_robin, mesh_lb_least_request, mesh_lb_random, mesh_lb_ring_hash, mesh_lb_maglev;
extern const struct lb_ops mesh_lb_least_scan;     /* least request among all, not among some drawn */
extern const struct lb_ops mesh_lb_slow_start;     /* round robin and least request while endpoints warm up */
extern const struct lb_ops mesh_lb_peak_ewma;
extern const struct lb_ops mesh_lb_bounded;        /* ring hash and Maglev with a bound on what one endpoint carries */

/* Of an endpoint, as Envoy's least request weighs it: sinks with the requests in flight. */
double mesh_lb_least_weight(double bias, const struct lb_group *group, uint32_t member);

struct balancer;

/* Endpoints as in cluster's set. NOMEM. A kind without an algorithm here balances as Envoy's default, round robin. */
int mesh_balancer_new(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct endpoint_set *set,
		      const struct lb_endpoint *endpoints, size_t count, uint64_t seed, struct balancer **balancer);
void mesh_balancer_free(struct balancer *balancer);
/* The mesh's own part in zone-aware balancing. */
struct lb_local {
	const struct endpoint_set *set; /* of the local cluster, borrowed; NULL: zone-aware balancing is off */
	struct mesh_slice region, zone, subzone; /* where this workload is */
};
void mesh_balancer_local(struct balancer *balancer, const struct lb_local *local); /* in force with the next update */
/*
 * Where the health of endpoints changed, loads of priorities and localities are computed anew. NOMEM keeps the old ones until
 * the next call.
 */
int mesh_balancer_update(struct balancer *balancer);

struct lb_choice {
	uint64_t hash;             /* of the request, for consistent hashing; 0: draw one */
	const uint32_t *avoid;     /* endpoints tried before (previous_hosts) */
	size_t avoid_count;
	unsigned avoid_attempts;   /* picks to make before taking one of `avoid` after all (host_selection_retry_max_attempts) */
	uint64_t now_ns;           /* monotonic */
	const struct label *subset; /* metadata_match of the route: endpoints that have all of these, sorted by key */
	size_t subset_count;
	const struct subset_match *subset_fallbacks; /* of its fallback_list, merged with the rest: tried in this order instead */
	size_t subset_fallback_count;
	/* previous_priorities: those tried before, in order of trying; after each `priority_update` of them loads are computed anew */
	const uint32_t *tried_priorities;
	size_t tried_priority_count;
	uint32_t priority_update;  /* 0: off */
};
/* Index of the endpoint, or MESH_ERROR_NO_ENDPOINT. */
int64_t mesh_balancer_pick(struct balancer *balancer, const struct lb_choice *choice); /* choice may be NULL */
const char *mesh_balancer_name(const struct balancer *balancer); /* of its algorithm, in force until the balancer goes */
bool mesh_balancer_panicking(const struct balancer *balancer); /* the last pick was made without regard to health */

#endif
