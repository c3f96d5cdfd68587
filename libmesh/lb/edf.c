/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap ordered by deadline. Decides whose turn it is; what an item is and why it weighs so much is the caller's. */
#include "lb/edf.h"

static int before(const struct edf_entry *a, const struct edf_entry *b)
{
	return a->deadline < b->deadline || (a->deadline == b->deadline && a->order < b->order);
}

void mesh_edf_init(struct edf *edf, struct edf_entry *room)
{
	edf->entries = room;
	edf->count = 0;
	edf->order = 0;
}

void mesh_edf_add(struct edf *edf, uint32_t item, double weight)
{
	struct edf_entry entry = {1.0 / weight, edf->order++, item};
	size_t at = edf->count++;

	while (at && before(&entry, &edf->entries[(at - 1) / 2])) {
		edf->entries[at] = edf->entries[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	edf->entries[at] = entry;
}

void mesh_edf_renew(struct edf *edf, double weight)
{
	struct edf_entry entry = edf->entries[0];
	size_t at = 0, child;

	entry.deadline += 1.0 / weight;
	entry.order = edf->order++;
	while ((child = 2 * at + 1) < edf->count) {
		if (child + 1 < edf->count && before(&edf->entries[child + 1], &edf->entries[child]))
			child++;
		if (!before(&edf->entries[child], &entry))
			break;
		edf->entries[at] = edf->entries[child];
		at = child;
	}
	edf->entries[at] = entry;
}
