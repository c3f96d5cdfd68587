/* SPDX-License-Identifier: Apache-2.0 */
/* Path normalization as the HTTP connection manager is told to do it, before any rule sees the path. */
#ifndef MESH_POLICY_PATH_H
#define MESH_POLICY_PATH_H

#include "base/arena.h"
#include "config/listener.h"

enum path_outcome {
	PATH_GOOD,
	PATH_REJECT,   /* 400 */
	PATH_REDIRECT, /* 307 to *path */
};

/* Rewrites *path (with query) in place of itself; new text in the arena. NOMEM or enum path_outcome. */
int mesh_path_normalize(const struct http_config *http, struct arena *arena, struct mesh_slice *path);

#endif
