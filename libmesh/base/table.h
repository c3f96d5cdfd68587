/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent map from names to shared objects: putting or removing makes a new table that shares all but a path of
 * nodes with the old one, so a push that changes one resource costs one resource. Tables are immutable and may be read
 * from any thread; a table holds a reference on every value (struct ref at its start). `mem` must outlive the table.
 */
#ifndef MESH_BASE_TABLE_H
#define MESH_BASE_TABLE_H

#include "base/mem.h"
#include "base/ref.h"
#include "base/slice.h"

struct table; /* NULL is the empty table */

/* A value stored in a table: starts with its reference count and its name. */
struct table_item {
	struct ref ref;
	struct mesh_slice name;
};

struct table *mesh_table_retain(struct table *table);
void mesh_table_release(struct table *table);
size_t mesh_table_count(const struct table *table);
struct table_item *mesh_table_get(const struct table *table, struct mesh_slice name); /* borrowed, NULL when absent */
struct table_item *mesh_table_get_hashed(const struct table *table, struct mesh_slice name, uint32_t hash);
/* New table in *result (a new reference) with `item` under item->name, replacing one of that name. MESH_ERROR_NOMEM. */
int mesh_table_put(const struct mesh_mem *mem, const struct table *table, struct table_item *item,
		   struct table **result);
/* The same without that name: `table` itself (retained) when it was not there. MESH_ERROR_NOMEM. */
int mesh_table_remove(const struct mesh_mem *mem, const struct table *table, struct mesh_slice name,
		      struct table **result);
/* Stops and returns what `visit` returned when it is not 0. */
int mesh_table_each(const struct table *table, int (*visit)(struct table_item *item, void *user), void *user);

#endif
