/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what one node gets out of the catalog: the common resources under those of its scopes. Refuses to know files
 * and streams.
 */
#include <mesh/error.h>

#include "resources.h"

static const struct mesh_mem *const mem = &mesh_mem_default;

static int compare(const struct cp_resource *a, const char *type_url, const char *name)
{
	int order = strcmp(a->type_url, type_url);

	return order ? order : strcmp(a->name, name);
}

/* Two sorted lists into one; where both have a resource, the upper one's counts. */
static int merge(struct cp_view *view, const struct cp_scope *upper)
{
	const struct cp_resource **items = mesh_mem_array(mem, view->count + upper->count + 1, sizeof(*items));
	size_t i = 0, j = 0, count = 0;

	if (!items)
		return MESH_ERROR_NOMEM;
	while (i < view->count || j < upper->count) {
		int order = j == upper->count ? -1 : 1;

		if (i < view->count && j < upper->count)
			order = compare(view->items[i], upper->items[j]->type_url, upper->items[j]->name);
		items[count++] = order < 0 ? view->items[i] : upper->items[j];
		i += order <= 0;
		j += order >= 0;
	}
	mesh_mem_free(mem, view->items);
	view->items = items;
	view->count = count;
	return 0;
}

static int merge_named(struct cp_view *view, const struct cp_catalog *catalog, struct mesh_slice name)
{
	for (const struct cp_scope *scope = catalog->scopes; scope; scope = scope->next) {
		if (mesh_slice_equal(mesh_slice_of(scope->name), name))
			return merge(view, scope);
	}
	return 0;
}

/* "pod" of "type~ip~pod.namespace~domain" */
static struct mesh_slice pod_name(const char *id)
{
	struct mesh_slice rest = mesh_slice_of(id);

	mesh_slice_cut(&rest, '~');
	mesh_slice_cut(&rest, '~');
	rest = mesh_slice_cut(&rest, '~');
	return mesh_slice_cut(&rest, '.');
}

int cp_view_make(struct cp_view *view, const struct cp_catalog *catalog, const struct cp_node *node)
{
	struct mesh_slice scopes[] = {mesh_slice_of(node->app), pod_name(node->id), mesh_slice_of(node->id)};
	int rc;

	*view = (struct cp_view){NULL, 0};
	rc = merge_named(view, catalog, MESH_SLICE(""));
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]) && rc == 0; i++) {
		if (scopes[i].len > 0)
			rc = merge_named(view, catalog, scopes[i]);
	}
	return rc;
}

void cp_view_free(struct cp_view *view)
{
	mesh_mem_free(mem, view->items);
	*view = (struct cp_view){NULL, 0};
}

/* The index of the first resource that does not come before. */
static size_t lower_bound(const struct cp_view *view, const char *type_url, const char *name)
{
	size_t low = 0, high = view->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(view->items[middle], type_url, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct cp_resource *cp_view_find(const struct cp_view *view, const char *type_url, const char *name)
{
	size_t at = lower_bound(view, type_url, name);

	return at < view->count && compare(view->items[at], type_url, name) == 0 ? view->items[at] : NULL;
}

size_t cp_view_range(const struct cp_view *view, const char *type_url, const struct cp_resource ***first)
{
	size_t at = lower_bound(view, type_url, "");
	size_t count = 0;

	while (at + count < view->count && strcmp(view->items[at + count]->type_url, type_url) == 0)
		count++;
	*first = view->items + at;
	return count;
}
