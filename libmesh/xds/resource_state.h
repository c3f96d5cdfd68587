/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is held at one moment, as persistent tables: a response is applied to a copy, which costs nothing, and takes
 * the place of the present one only when all of it went well. Internal to the resource cache.
 */
#ifndef MESH_XDS_RESOURCE_STATE_H
#define MESH_XDS_RESOURCE_STATE_H

#include "base/map.h"
#include "xds/decode.h"
#include "xds/resource_cache.h"

/* Bytes shared by count: the version of a response's resources, what an object came from. */
struct resource_text {
	struct ref ref;
	const struct mesh_mem *mem;
	struct mesh_slice text;
};

/* What is known of one resource by name. Its slices are parts of its own block. */
struct resource_entry {
	struct table_item item;
	const struct mesh_mem *mem;
	struct table_item *object;        /* last good one; NULL: none yet */
	struct resource_text *bytes;      /* that it came from; NULL for secrets */
	struct mesh_slice notes;          /* lines on what fails closed in it */
	struct resource_text *version;    /* NULL for our own, and before a good one */
	int64_t updated_ms;
	bool own;                         /* a secret of ours: not the control plane's to replace or remove */
	struct mesh_slice failure;        /* why the newest one was refused; absent: it was not */
	struct resource_text *failure_bytes; /* NULL for secrets, and when they are not fit to be shown */
	struct resource_text *failure_version;
	int64_t failure_ms;
};

/* A name that other resources ask for, and how many do. */
struct resource_want {
	struct table_item item;
	const struct mesh_mem *mem;
	size_t count;  /* 0: goes when the response was applied */
	bool answered; /* sent, refused or said to be gone */
};

struct resource_state {
	struct table *entries[XDS_TYPES];
	struct table *objects[XDS_TYPES];
	struct table *wants[XDS_TYPES]; /* endpoints, routes, secrets */
	struct table *unwanted[XDS_TYPES]; /* wants that came down to 0; some may be wanted again before the sweep */
	struct resource_text *versions[XDS_TYPES]; /* the last one seen */
	size_t missing[XDS_TYPES];      /* wanted and not answered */
	bool seen[XDS_TYPES];           /* a response came */
};

/* Copies. NOMEM. */
int mesh_resource_text_new(const struct mesh_mem *mem, struct mesh_slice bytes, struct resource_text **text);

static inline struct resource_text *mesh_resource_text_retain(struct resource_text *text)
{
	if (text)
		mesh_ref_take(&text->ref);
	return text;
}

static inline void mesh_resource_text_release(struct resource_text *text)
{
	mesh_ref_drop(text ? &text->ref : NULL);
}

/* `like` gives all but the name; everything is copied or referenced. NULL: no memory. */
struct resource_entry *mesh_resource_entry_new(const struct mesh_mem *mem, struct mesh_slice name,
					       const struct resource_entry *like);

void mesh_resource_state_copy(struct resource_state *to, const struct resource_state *from); /* `to` is empty */
void mesh_resource_state_free(struct resource_state *state);
struct resource_entry *mesh_resource_state_get(const struct resource_state *state, enum xds_type type, struct mesh_slice name);
/* Something wanted that no resource names; for good. NOMEM. */
int mesh_resource_state_want(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			     struct mesh_slice name);
bool mesh_resource_state_wants(const struct resource_state *state, enum xds_type type, struct mesh_slice name);
/* Puts an entry and its object (when it has one) and follows what the object asks for. NOMEM. */
int mesh_resource_state_put(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			    struct resource_entry *entry);
int mesh_resource_state_remove(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			       struct mesh_slice name);
int mesh_resource_state_answer(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			       struct mesh_slice name);
/* All that is wanted and was never answered counts as answered. */
int mesh_resource_state_give_up(const struct mesh_mem *mem, struct resource_state *state);
/* Ends a response: what nothing asks for any more goes. Not before, for a later resource may ask for it again. */
int mesh_resource_state_sweep(const struct mesh_mem *mem, struct resource_state *state);
bool mesh_resource_state_complete(const struct resource_state *state);
/* No listener names a route configuration or a secret that was not answered. */
bool mesh_resource_state_listeners_complete(const struct resource_state *state);

/* A reference to another resource; stops and returns what `visit` returned when it is not 0. */
typedef int mesh_resource_link_fn(void *user, enum xds_type type, struct mesh_slice name);
int mesh_resource_links(enum xds_type type, const struct table_item *object, mesh_resource_link_fn *visit, void *user);

/* A resource that lies inside another as it was sent: endpoints of a static cluster, routes of a listener. */
typedef int mesh_resource_inner_fn(void *user, enum xds_type type, struct mesh_slice bytes);
int mesh_resource_inner(enum xds_type type, struct mesh_slice bytes, mesh_resource_inner_fn *visit, void *user);

struct resource_cache {
	const struct mesh_mem *mem;
	const struct log *log;
	struct xds_limits limits;
	struct resource_state state;
	struct snapshot *last;           /* for its indexes */
	int64_t started_ms;
	struct map warned;               /* texts told once */
	uint64_t warnings;
	struct table *wanted_of[XDS_TYPES]; /* what `wanted` was made from, referenced: it holds the names */
	struct mesh_slice *wanted[XDS_TYPES];
	struct xds_held *held[XDS_TYPES];
	struct decode decode;
};

/* Takes over `next` in place of the present state, or when it is not `good` lets go of it. */
void mesh_resource_cache_replace(struct resource_cache *cache, struct resource_state *next, bool good);

#endif
