/* SPDX-License-Identifier: Apache-2.0 */
/* Values shared by every libmesh header: slices, headers, object names. */
#ifndef MESH_TYPES_H
#define MESH_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MESH_EXPORT __attribute__((visibility("default")))
#else
#define MESH_EXPORT
#endif

struct mesh;
struct mesh_call;
struct mesh_listener;
struct mesh_stream;
struct mesh_worker;

/* A view of bytes owned by somebody else; not NUL-terminated. {NULL, 0} is "absent". Since: 0.1 */
struct mesh_slice {
	const char *data;
	size_t len;
};

/* Version of HTTP an application speaks: what a sidecar would see it send. Since: 0.1 */
enum mesh_http_version {
	MESH_HTTP_1_1 = 0,
	MESH_HTTP_2 = 2,
};

/* One header or trailer field. Names compare without regard to case. Since: 0.1 */
struct mesh_header {
	struct mesh_slice name;
	struct mesh_slice value;
};

/*
 * A slice of a NUL-terminated string; NULL gives the absent slice.
 * Thread: any. Owns: nothing, borrows `text`. Errors: none. Since: 0.1
 */
static inline struct mesh_slice mesh_slice_of(const char *text)
{
	struct mesh_slice slice = {text, text ? strlen(text) : 0};

	return slice;
}

#ifdef __cplusplus
}
#endif
#endif
