/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a cluster balances by hash: sizes and hash of a ring, size of a Maglev table, what an endpoint is placed by. The
 * bounds are Envoy's.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define RING_MIN       1024 /* when nothing is said */
#define RING_MAX       8388608
#define TABLE_SIZE     65537
#define TABLE_MAX      5000011
#define ring_hash_type envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash__descriptor
#define maglev_type    envoy__extensions__load_balancing_policies__maglev__v3__maglev__descriptor

typedef Envoy__Extensions__LoadBalancingPolicies__Common__V3__ConsistentHashingLbConfig typed_hashing;

void mesh_decode_hashing_defaults(struct cluster_config *cluster)
{
	cluster->ring_min = RING_MIN;
	cluster->ring_max = RING_MAX;
	cluster->maglev_size = TABLE_SIZE;
}

static void ring(struct decode *d, const Google__Protobuf__UInt64Value *smallest,
		 const Google__Protobuf__UInt64Value *largest, struct cluster_config *cluster)
{
	uint64_t low = smallest ? smallest->value : RING_MIN, high = largest ? largest->value : RING_MAX;

	if (low < 1 || high > RING_MAX || low > high)
		mesh_decode_fail_field(d, "minimum_ring_size", "%llu..%llu: must be within 1..%d and in order",
				       (unsigned long long)low, (unsigned long long)high, RING_MAX);
	cluster->ring_min = low;
	cluster->ring_max = high;
}

static bool prime(uint64_t number)
{
	for (uint64_t i = 2; i * i <= number; i++)
		if (number % i == 0)
			return false;
	return number > 1;
}

static void table_size(struct decode *d, const Google__Protobuf__UInt64Value *size, struct cluster_config *cluster)
{
	uint64_t value = size ? size->value : TABLE_SIZE;

	if (value > TABLE_MAX || value < 2)
		mesh_decode_fail_field(d, "table_size", "%llu: must be within 2..%d", (unsigned long long)value,
				       TABLE_MAX);
	else if (!prime(value))
		mesh_decode_fail_field(d, "table_size", "%llu: must be a prime number", (unsigned long long)value);
	cluster->maglev_size = value;
}

static void hash_function(struct decode *d, int function, int xx, int murmur, struct cluster_config *cluster)
{
	if (function != 0 && function != xx && function != murmur)
		mesh_decode_fail_field(d, "hash_function", "%d: unknown", function);
	cluster->ring_murmur = function == murmur;
}

static void balance_factor(struct decode *d, const Google__Protobuf__UInt32Value *factor, struct cluster_config *cluster)
{
	if (factor && factor->value && factor->value < 100)
		mesh_decode_fail_field(d, "hash_balance_factor", "%u: must be 100 or more", factor->value);
	cluster->balance.hash_balance_factor = mesh_decode_u32(factor, 0);
}

static void hashing_config(struct decode *d, const typed_hashing *message, struct cluster_config *cluster)
{
	if (!message)
		return;
	mesh_decode_push(d, "consistent_hashing_lb_config");
	cluster->hash_by_hostname = message->use_hostname_for_hashing;
	balance_factor(d, message->hash_balance_factor, cluster);
	mesh_decode_hash_policies(d, message->n_hash_policy, message->hash_policy, &cluster->balance.hash_policies,
				  &cluster->balance.hash_policy_count);
	mesh_decode_pop(d);
}

static void ring_policy(struct decode *d,
			const Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash *message,
			struct cluster_config *cluster)
{
	ring(d, message->minimum_ring_size, message->maximum_ring_size, cluster);
	hash_function(
		d, (int)message->hash_function,
		ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__RING_HASH__V3__RING_HASH__HASH_FUNCTION__XX_HASH,
		ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__RING_HASH__V3__RING_HASH__HASH_FUNCTION__MURMUR_HASH_2,
		cluster);
	cluster->hash_by_hostname = message->use_hostname_for_hashing;
	if (!message->consistent_hashing_lb_config)
		balance_factor(d, message->hash_balance_factor, cluster);
	hashing_config(d, message->consistent_hashing_lb_config, cluster);
}

bool mesh_decode_hashing_policy(struct decode *d, const Google__Protobuf__Any *any, struct cluster_config *cluster)
{
	if (mesh_decode_any_is(any, &ring_hash_type)) {
		Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash *hash;

		hash = mesh_decode_any_open(d, "typed_config", any, &ring_hash_type);
		cluster->lb = LB_RING_HASH;
		cluster->locality_weighted |= hash && hash->locality_weighted_lb_config;
		if (hash)
			ring_policy(d, hash, cluster);
		mesh_decode_any_close(d);
		return true;
	}
	if (mesh_decode_any_is(any, &maglev_type)) {
		Envoy__Extensions__LoadBalancingPolicies__Maglev__V3__Maglev *maglev;

		maglev = mesh_decode_any_open(d, "typed_config", any, &maglev_type);
		cluster->lb = LB_MAGLEV;
		cluster->locality_weighted |= maglev && maglev->locality_weighted_lb_config;
		if (maglev) {
			table_size(d, maglev->table_size, cluster);
			hashing_config(d, maglev->consistent_hashing_lb_config, cluster);
		}
		mesh_decode_any_close(d);
		return true;
	}
	return false;
}

void mesh_decode_ring_hash(struct decode *d, const Envoy__Config__Cluster__V3__Cluster__RingHashLbConfig *message,
			   struct cluster_config *cluster)
{
	mesh_decode_push(d, "ring_hash_lb_config");
	ring(d, message->minimum_ring_size, message->maximum_ring_size, cluster);
	hash_function(d, (int)message->hash_function,
		      ENVOY__CONFIG__CLUSTER__V3__CLUSTER__RING_HASH_LB_CONFIG__HASH_FUNCTION__XX_HASH,
		      ENVOY__CONFIG__CLUSTER__V3__CLUSTER__RING_HASH_LB_CONFIG__HASH_FUNCTION__MURMUR_HASH_2, cluster);
	mesh_decode_pop(d);
}

void mesh_decode_maglev(struct decode *d, const Envoy__Config__Cluster__V3__Cluster__MaglevLbConfig *message,
			struct cluster_config *cluster)
{
	mesh_decode_push(d, "maglev_lb_config");
	table_size(d, message->table_size, cluster);
	mesh_decode_pop(d);
}

void mesh_decode_consistent_hashing(
	struct decode *d, const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig__ConsistentHashingLbConfig *message,
	struct cluster_config *cluster)
{
	if (!message)
		return;
	mesh_decode_push(d, "consistent_hashing_lb_config");
	cluster->hash_by_hostname = message->use_hostname_for_hashing;
	balance_factor(d, message->hash_balance_factor, cluster);
	mesh_decode_pop(d);
}
