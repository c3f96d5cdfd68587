/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xDS resources of a directory, and what of them one node gets.
 *
 *   DIR/<file>, DIR/common/<file>    for every node
 *   DIR/nodes/<scope>/<file>         for the nodes whose scope it is: the value of the label `app`, the pod's name, or
 *                                    the whole node id. A later one of these three, and any of them over the common
 *                                    ones, replaces a resource of the same type and name.
 *
 * A file (.json, .yaml, .yml) holds one resource with "@type", an array of them, or an object with "resources" as in a
 * recorded DiscoveryResponse; YAML may hold several documents. Names that begin with a dot are passed over.
 */
#ifndef CP_RESOURCES_H
#define CP_RESOURCES_H

#include "base/arena.h"
#include "base/slice.h"
#include "base/why.h"

#define CP_VERSION_BYTES 17

struct cp_resource {
	const char *type_url;
	const char *name; /* "" where the type has none */
	struct mesh_slice bytes;
	char version[CP_VERSION_BYTES]; /* of the bytes */
};

struct cp_scope {
	const char *name; /* "": common */
	struct cp_resource **items; /* by type and name */
	size_t count;
	size_t room;
	struct cp_scope *next;
};

struct cp_catalog {
	struct arena arena; /* owns all of it but the arrays */
	struct cp_scope *scopes;
	size_t count; /* resources */
};

/* What tells a node's scopes. */
struct cp_node {
	const char *id;  /* type~ip~pod.namespace~domain */
	const char *app; /* "": no such label */
};

/* What one node gets; borrows from the catalog. */
struct cp_view {
	const struct cp_resource **items; /* by type and name */
	size_t count;
};

/* All of the directory, or nothing and words naming the file. `catalog` is to be freed in either case. */
int cp_catalog_load(struct cp_catalog *catalog, const char *dir, struct why *why);
void cp_catalog_free(struct cp_catalog *catalog);

int cp_view_make(struct cp_view *view, const struct cp_catalog *catalog, const struct cp_node *node);
void cp_view_free(struct cp_view *view);
const struct cp_resource *cp_view_find(const struct cp_view *view, const char *type_url, const char *name);
/* The first of a type and how many follow one another from there. */
size_t cp_view_range(const struct cp_view *view, const char *type_url, const struct cp_resource ***first);

#endif
