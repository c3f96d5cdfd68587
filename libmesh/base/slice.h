/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing and cutting views of bytes. */
#ifndef MESH_BASE_SLICE_H
#define MESH_BASE_SLICE_H

#include <mesh/types.h>

#define MESH_SLICE(literal) ((struct mesh_slice){(literal), sizeof(literal) - 1})

static inline struct mesh_slice mesh_slice_make(const void *data, size_t len)
{
	return (struct mesh_slice){(const char *)data, len};
}

static inline bool mesh_slice_equal(struct mesh_slice a, struct mesh_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool mesh_bytes_equal_fold(const char *a, const char *b, size_t len);

/* ASCII case only; never the locale. */
static inline bool mesh_slice_equal_fold(struct mesh_slice a, struct mesh_slice b)
{
	return a.len == b.len && mesh_bytes_equal_fold(a.data, b.data, a.len);
}

int mesh_slice_compare(struct mesh_slice a, struct mesh_slice b);
bool mesh_slice_prefix(struct mesh_slice s, struct mesh_slice prefix);
bool mesh_slice_prefix_fold(struct mesh_slice s, struct mesh_slice prefix);
bool mesh_slice_suffix(struct mesh_slice s, struct mesh_slice suffix);
bool mesh_slice_suffix_fold(struct mesh_slice s, struct mesh_slice suffix);
bool mesh_slice_contains(struct mesh_slice s, struct mesh_slice part);
bool mesh_slice_contains_fold(struct mesh_slice s, struct mesh_slice part);
struct mesh_slice mesh_slice_trim(struct mesh_slice s); /* spaces and tabs at both ends */
/* What is before the separator; *rest is what follows it, absent (data NULL) when there was none. */
struct mesh_slice mesh_slice_cut(struct mesh_slice *rest, char separator);
ptrdiff_t mesh_slice_find(struct mesh_slice s, char c);      /* -1: none */
ptrdiff_t mesh_slice_find_last(struct mesh_slice s, char c); /* -1: none */
bool mesh_slice_to_u64(struct mesh_slice s, uint64_t *value); /* decimal digits only, overflow checked */
bool mesh_slice_to_i64(struct mesh_slice s, int64_t *value);
uint32_t mesh_slice_hash(struct mesh_slice s); /* for tables; keyed per process (hash flooding) */

static inline char mesh_char_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

#endif
