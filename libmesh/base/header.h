/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of header fields in order. Names and values are borrowed slices (usually into an arena or a read buffer); the
 * array of fields is the arena's. An absent value is kept as an empty one, so that absent means: no such field.
 */
#ifndef MESH_BASE_HEADER_H
#define MESH_BASE_HEADER_H

#include "base/arena.h"
#include "base/slice.h"

struct headers {
	struct mesh_header *items;
	size_t count;
	size_t room;
};

void mesh_headers_clear(struct headers *headers); /* forgets all; also how a list begins */
/* These borrow the slices, but for add_copy. NOMEM leaves the list as it was. */
int mesh_headers_add(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value);
int mesh_headers_add_copy(struct headers *headers, struct arena *arena, struct mesh_slice name,
			  struct mesh_slice value);
/* Replaces all of that name, at the place of the first. */
int mesh_headers_set(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value);
size_t mesh_headers_remove(struct headers *headers, struct mesh_slice name); /* how many went */
/* The first; absent (data NULL) when there is none. */
struct mesh_slice mesh_headers_get(const struct headers *headers, struct mesh_slice name);
size_t mesh_headers_count(const struct headers *headers, struct mesh_slice name);
/* All values of a name joined with "," as Envoy's matchers see them; the slice itself when there is one. Sets *failed
 * when there is no memory; never clears it. */
struct mesh_slice mesh_headers_joined(const struct headers *headers, struct arena *arena, struct mesh_slice name,
				      bool *failed);
bool mesh_header_name_valid(struct mesh_slice name); /* RFC 9110 token */
/* No NUL, CR, LF, nor another control character but tab; no space or tab at the ends. */
bool mesh_header_value_valid(struct mesh_slice value);
bool mesh_header_word_valid(struct mesh_slice word); /* path, authority: not empty, nothing to end a word or line */
bool mesh_header_hop_by_hop(struct mesh_slice name); /* about one connection, so never an application's: connection, te, .. */

#endif
