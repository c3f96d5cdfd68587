/* SPDX-License-Identifier: Apache-2.0 */
/* What a cluster says of balancing beyond the algorithm and its first parameters, compiled. All zero: nothing. */
#ifndef MESH_CONFIG_BALANCE_H
#define MESH_CONFIG_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct hash_policy;
struct label;

/* Endpoints that are new take less: LB_ROUND_ROBIN and LB_LEAST_REQUEST. */
struct slow_start_config {
	int64_t window_ns; /* 0: off */
	double aggression; /* > 0; 0: 1 */
	double least;      /* part of its weight that an endpoint has from the start, 0..1 */
};

/* The endpoints of this workload's own service, which istiod serves under this name to those that ask for them. */
#define MESH_LOCAL_CLUSTER "local_cluster"

/* A worker sends to its own zone what its own zone can take. In force only where the mesh knows its local cluster. */
struct zone_config {
	bool on;
	uint32_t routing_percent;  /* of the requests; 100 */
	uint64_t min_cluster_size; /* healthy endpoints; 6 */
	bool force_local;          /* all to the own zone when it has force_min healthy endpoints */
	uint32_t force_min;
	bool by_weight;            /* HEALTHY_HOSTS_WEIGHT: zones count by weight, not by number of endpoints */
};

enum subset_fallback {
	SUBSET_UNDEFINED, /* a selector's: the cluster's is in force */
	SUBSET_NOBODY,
	SUBSET_ANY,
	SUBSET_DEFAULT,
	SUBSET_KEYS,      /* a selector's: again with fewer keys */
};

struct subset_selector {
	struct mesh_slice *keys; /* sorted, each once */
	size_t key_count;
	bool single;             /* one endpoint for each value, whatever its health */
	enum subset_fallback fallback;
	struct mesh_slice *fallback_keys; /* sorted; some of `keys` */
	size_t fallback_key_count;
};

struct subset_config {
	enum subset_fallback fallback; /* NOBODY, ANY, DEFAULT */
	struct label *default_labels;  /* sorted */
	size_t default_label_count;
	struct subset_selector *selectors; /* one at least */
	size_t selector_count;
	bool locality_weight_aware, scale_locality_weight;
	bool panic_any;       /* the fallback finds nobody: any endpoint */
	bool list_as_any;     /* an endpoint's list is each of its elements */
	bool fallback_list;   /* metadata_fallback_policy: FALLBACK_LIST */
	bool redundant_keys;  /* labels of a request that no selector has are passed over */
};

/* Latency seen of late times requests in flight. */
struct ewma_config {
	bool on;
	int64_t decay_ns;   /* 10 s */
	int64_t unknown_ns; /* of an endpoint that has not answered yet; 10 ms */
};

struct balance_config {
	bool full_scan; /* LB_LEAST_REQUEST: of all endpoints, not of some drawn */
	struct slow_start_config slow_start;
	struct zone_config zone;
	struct ewma_config ewma;
	const struct subset_config *subset; /* NULL: none */
	uint32_t hash_balance_factor; /* percent of the average an endpoint may carry; 0: any */
	struct hash_policy *hash_policies; /* of the cluster: instead of the route's */
	size_t hash_policy_count;
};

/* A member of an endpoint's metadata envoy.lb. Values are as mesh_decode_labels writes them: equal when Envoy's are. */
struct lb_label {
	struct mesh_slice key;
	struct mesh_slice value;
	struct mesh_slice *items; /* a list's elements */
	size_t item_count;
	bool list;
};

#endif
