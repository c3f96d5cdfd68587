/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a set of endpoints: refused in words, or sorted, counted and addressed as the balancers count on. */
#include "fuzz/decoder.h"

static void check_endpoint(const struct endpoint_config *endpoint)
{
	promise(endpoint->weight >= 1);
	promise(endpoint->unsupported || endpoint->text.len > 0);
	promise(endpoint->unsupported || endpoint->address.len > 0); /* names are for DNS clusters only */
	promise(endpoint->hash == mesh_slice_hash(endpoint->text));
	touch(endpoint->hostname);
	touch(endpoint->workload);
	for (size_t i = 0; i < endpoint->transport_label_count; i++) {
		const struct label *label = &endpoint->transport_labels[i];

		touch(label->key);
		touch(label->value);
		promise(i == 0 || mesh_slice_compare(label[-1].key, label->key) <= 0);
	}
}

static void check(const struct endpoint_set *set)
{
	uint64_t weight[129] = {0};
	uint32_t endpoints = 0;

	promise(set->object.item.name.len > 0 && set->overprovisioning > 0);
	for (size_t i = 0; i < set->count; i++) {
		const struct locality *locality = &set->localities[i];

		promise(locality->priority < set->priority_count && locality->priority <= 128);
		promise(i == 0 || set->localities[i - 1].priority <= locality->priority);
		weight[locality->priority] += locality->weight;
		promise(weight[locality->priority] <= UINT32_MAX);
		endpoints += (uint32_t)locality->count;
		touch(locality->region);
		touch(locality->zone);
		touch(locality->subzone);
		for (size_t j = 0; j < locality->count; j++)
			check_endpoint(&locality->endpoints[j]);
	}
	promise(endpoints == set->endpoint_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint_set *set;
	struct decode d;

	if (size > SIZE_LIMIT)
		return 0;
	decoder_init(&d);
	set = mesh_decode_endpoints(&d, mesh_slice_make(data, size));
	decoder_check(&d, set);
	if (set)
		check(set);
	mesh_config_object_release(set);
	mesh_decode_free(&d);
	return 0;
}
