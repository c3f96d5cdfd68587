/* SPDX-License-Identifier: Apache-2.0 */
/* Weighted turns: items are taken earliest deadline first, each due again 1/weight later. O(log n), no allocation. */
#ifndef MESH_LB_EDF_H
#define MESH_LB_EDF_H

#include <stddef.h>
#include <stdint.h>

struct edf_entry {
	double deadline;
	uint64_t order; /* equal deadlines go in turn */
	uint32_t item;
};

struct edf {
	struct edf_entry *entries; /* a heap in the caller's memory */
	size_t count;
	uint64_t order;
};

void mesh_edf_init(struct edf *edf, struct edf_entry *room);
void mesh_edf_add(struct edf *edf, uint32_t item, double weight); /* within `room`; weight > 0 */
/* The item whose turn it is; mesh_edf_renew must follow. There must be one. */
static inline uint32_t mesh_edf_first(const struct edf *edf)
{
	return edf->entries[0].item;
}
void mesh_edf_renew(struct edf *edf, double weight); /* puts the first one back, due 1/weight later */

#endif
