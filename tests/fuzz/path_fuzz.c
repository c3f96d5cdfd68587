/* SPDX-License-Identifier: Apache-2.0 */
/* Any path under any settings: the first byte chooses those, the rest is the path. What comes out must hold its promises. */
#include <mesh/error.h>

#include "policy/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static bool dot_segment(struct mesh_slice path)
{
	struct mesh_slice rest = path;

	while (rest.data) {
		struct mesh_slice segment = mesh_slice_cut(&rest, '/');

		segment = mesh_slice_cut(&segment, ';');
		if (mesh_slice_equal(segment, MESH_SLICE(".")) || mesh_slice_equal(segment, MESH_SLICE("..")))
			return true;
	}
	return false;
}

static void check(const struct http_config *http, struct arena *arena, struct mesh_slice path)
{
	struct mesh_slice again = path, query = path, bare = mesh_slice_cut(&query, '?');
	int outcome;

	promise(mesh_slice_find(path, '#') < 0);
	if (http->normalize_path && path.len && !mesh_slice_equal(path, MESH_SLICE("*"))) {
		promise(bare.len && bare.data[0] == '/');
		promise(!dot_segment(bare));
		promise(mesh_slice_find(bare, '\\') < 0 && !mesh_slice_contains_fold(bare, MESH_SLICE("%2e")));
	}
	if (http->merge_slashes)
		promise(!mesh_slice_contains(bare, MESH_SLICE("//")));
	if (!http->normalize_path || http->escaped_slashes == ESCAPED_SLASHES_KEEP)
		return;
	outcome = mesh_path_normalize(http, arena, &again);
	promise(outcome == PATH_GOOD && mesh_slice_equal(path, again)); /* a second reader finds nothing left to do */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_config http = {0};
	struct mesh_slice path;
	struct arena arena;
	int outcome;

	if (!size || size > 4096)
		return 0;
	http.normalize_path = data[0] & 1;
	http.merge_slashes = data[0] & 2;
	http.escaped_slashes = (enum escaped_slashes)(data[0] >> 2 & 3);
	path = mesh_slice_make(data + 1, size - 1);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	outcome = mesh_path_normalize(&http, &arena, &path);
	promise(outcome == PATH_GOOD || outcome == PATH_REJECT || outcome == PATH_REDIRECT);
	if (outcome != PATH_REJECT)
		check(&http, &arena, path);
	mesh_arena_free(&arena);
	return 0;
}
