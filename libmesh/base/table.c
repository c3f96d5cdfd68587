/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash trie, 32 ways a level. Nodes are immutable and counted; a change copies the path to the leaf and shares the
 * rest. Names whose hashes are equal throughout share a leaf, which is searched.
 */
#include "base/table.h"

#include <mesh/error.h>

enum { BITS = 5, WAYS = 1 << BITS };

/* A branch has up to 32 children marked in `present`; a leaf has one or more items of one hash. */
struct node {
	struct ref ref;
	const struct mesh_mem *mem;
	bool leaf;
	uint32_t hash;	  /* leaf */
	uint32_t present; /* branch */
	unsigned count;	  /* children or items */
	void *slots[];	  /* struct node or struct table_item */
};

struct table {
	struct ref ref;
	const struct mesh_mem *mem;
	size_t count;
	struct node *root;
};

static void node_destroy(struct ref *ref)
{
	struct node *node = (struct node *)ref;

	for (unsigned i = 0; i < node->count; i++)
		mesh_ref_drop(node->slots[i]); /* nodes and items both begin with their count */
	mesh_mem_free(node->mem, node);
}

static struct node *node_new(const struct mesh_mem *mem, bool leaf, unsigned count)
{
	struct node *node = mesh_mem_zalloc(mem, sizeof(*node) + count * sizeof(void *));

	if (!node)
		return NULL;
	mesh_ref_init(&node->ref, node_destroy);
	node->mem = mem;
	node->leaf = leaf;
	return node;
}

static void node_push(struct node *node, void *slot)
{
	mesh_ref_take(slot);
	node->slots[node->count++] = slot;
}

static struct node *leaf_of(const struct mesh_mem *mem, uint32_t hash, struct table_item *item)
{
	struct node *leaf = node_new(mem, true, 1);

	if (!leaf)
		return NULL;
	leaf->hash = hash;
	node_push(leaf, item);
	return leaf;
}

/* A branch is never deeper than the hash has bits: names still together then have equal hashes and share a leaf. */
static unsigned way(uint32_t hash, unsigned depth)
{
	return hash >> (depth * BITS) & (WAYS - 1);
}

static unsigned slot_at(const struct node *branch, unsigned way)
{
	return (unsigned)__builtin_popcount(branch->present & ((1u << way) - 1));
}

/* A leaf with `item` put in, or with what is named `name` left out (item NULL). */
static struct node *leaf_change(const struct mesh_mem *mem, const struct node *leaf, struct mesh_slice name,
				struct table_item *item, bool *found)
{
	struct node *copy = node_new(mem, true, leaf->count + 1);

	if (!copy)
		return NULL;
	copy->hash = leaf->hash;
	*found = false;
	for (unsigned i = 0; i < leaf->count; i++) {
		struct table_item *old = leaf->slots[i];

		if (mesh_slice_equal(old->name, name))
			*found = true;
		else
			node_push(copy, old);
	}
	if (item)
		node_push(copy, item);
	return copy;
}

/* Two leaves of different hashes under as many branches as they have ways in common. */
static struct node *join(const struct mesh_mem *mem, struct node *a, struct node *b, unsigned depth)
{
	struct node *branch = node_new(mem, false, 2);
	unsigned way_a = way(a->hash, depth), way_b = way(b->hash, depth);
	struct node *below;

	if (!branch)
		return NULL;
	branch->present = 1u << way_a | 1u << way_b;
	if (way_a != way_b) {
		node_push(branch, way_a < way_b ? a : b);
		node_push(branch, way_a < way_b ? b : a);
		return branch;
	}
	below = join(mem, a, b, depth + 1);
	if (!below) {
		mesh_ref_drop(&branch->ref);
		return NULL;
	}
	branch->slots[branch->count++] = below;
	return branch;
}

/* A branch whose child at `way` is `child` (owned; NULL: gone). */
static struct node *branch_change(const struct mesh_mem *mem, const struct node *branch, unsigned at_way,
				  struct node *child)
{
	struct node *copy = node_new(mem, false, branch->count + 1);

	if (!copy) {
		mesh_ref_drop(child ? &child->ref : NULL);
		return NULL;
	}
	for (unsigned w = 0; w < WAYS; w++) {
		if (w == at_way && child) {
			copy->slots[copy->count++] = child;
			copy->present |= 1u << w;
		} else if (w != at_way && branch->present >> w & 1) {
			node_push(copy, branch->slots[slot_at(branch, w)]);
			copy->present |= 1u << w;
		}
	}
	return copy;
}

static struct node *put(const struct mesh_mem *mem, struct node *node, unsigned depth, uint32_t hash,
			struct table_item *item, bool *replaced)
{
	struct node *child, *joined;
	unsigned w;

	*replaced = false;
	if (!node)
		return leaf_of(mem, hash, item);
	if (node->leaf && node->hash == hash)
		return leaf_change(mem, node, item->name, item, replaced);
	if (node->leaf) {
		child = leaf_of(mem, hash, item);
		joined = child ? join(mem, node, child, depth) : NULL;
		mesh_ref_drop(child ? &child->ref : NULL);
		return joined;
	}
	w = way(hash, depth);
	child = put(mem, node->present >> w & 1 ? node->slots[slot_at(node, w)] : NULL, depth + 1, hash, item,
		    replaced);
	return child ? branch_change(mem, node, w, child) : NULL;
}

/* *result NULL with true: the subtree is empty now. False: no memory. */
static bool cut(const struct mesh_mem *mem, struct node *node, unsigned depth, uint32_t hash, struct mesh_slice name,
		struct node **result)
{
	struct node *child;
	unsigned w;
	bool found;

	*result = NULL;
	if (node->leaf) {
		if (node->count == 1)
			return true;
		*result = leaf_change(mem, node, name, NULL, &found);
		return *result != NULL;
	}
	w = way(hash, depth);
	if (!cut(mem, node->slots[slot_at(node, w)], depth + 1, hash, name, &child))
		return false;
	if (!child && node->count == 1)
		return true;
	*result = branch_change(mem, node, w, child);
	return *result != NULL;
}

static void table_destroy(struct ref *ref)
{
	struct table *table = (struct table *)ref;

	mesh_ref_drop(table->root ? &table->root->ref : NULL);
	mesh_mem_free(table->mem, table);
}

static struct table *table_new(const struct mesh_mem *mem)
{
	struct table *table = mesh_mem_zalloc(mem, sizeof(*table));

	if (!table)
		return NULL;
	mesh_ref_init(&table->ref, table_destroy);
	table->mem = mem;
	return table;
}

struct table *mesh_table_retain(struct table *table)
{
	if (table)
		mesh_ref_take(&table->ref);
	return table;
}

void mesh_table_release(struct table *table)
{
	mesh_ref_drop(table ? &table->ref : NULL);
}

size_t mesh_table_count(const struct table *table)
{
	return table ? table->count : 0;
}

struct table_item *mesh_table_get_hashed(const struct table *table, struct mesh_slice name, uint32_t hash)
{
	const struct node *node = table ? table->root : NULL;

	for (unsigned depth = 0; node && !node->leaf; depth++) {
		unsigned w = way(hash, depth);

		node = node->present >> w & 1 ? node->slots[slot_at(node, w)] : NULL;
	}
	for (unsigned i = 0; node && node->hash == hash && i < node->count; i++) {
		struct table_item *item = node->slots[i];

		if (mesh_slice_equal(item->name, name))
			return item;
	}
	return NULL;
}

struct table_item *mesh_table_get(const struct table *table, struct mesh_slice name)
{
	return mesh_table_get_hashed(table, name, mesh_slice_hash(name));
}

int mesh_table_put(const struct mesh_mem *mem, const struct table *table, struct table_item *item,
		   struct table **result)
{
	struct table *next = table_new(mem);
	bool replaced;

	if (!next)
		return MESH_ERROR_NOMEM;
	next->root = put(mem, table ? table->root : NULL, 0, mesh_slice_hash(item->name), item, &replaced);
	if (!next->root) {
		mesh_ref_drop(&next->ref);
		return MESH_ERROR_NOMEM;
	}
	next->count = mesh_table_count(table) + !replaced;
	*result = next;
	return 0;
}

int mesh_table_remove(const struct mesh_mem *mem, const struct table *table, struct mesh_slice name,
		      struct table **result)
{
	struct table *next;

	if (!mesh_table_get(table, name)) {
		*result = mesh_table_retain((struct table *)table);
		return 0;
	}
	next = table_new(mem);
	if (!next || !cut(mem, table->root, 0, mesh_slice_hash(name), name, &next->root)) {
		mesh_table_release(next);
		return MESH_ERROR_NOMEM;
	}
	next->count = table->count - 1;
	*result = next;
	return 0;
}

static int each(const struct node *node, int (*visit)(struct table_item *item, void *user), void *user)
{
	for (unsigned i = 0; i < node->count; i++) {
		int rc = node->leaf ? visit(node->slots[i], user) : each(node->slots[i], visit, user);

		if (rc)
			return rc;
	}
	return 0;
}

int mesh_table_each(const struct table *table, int (*visit)(struct table_item *item, void *user), void *user)
{
	return table && table->root ? each(table->root, visit, user) : 0;
}
