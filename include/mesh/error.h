/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: every libmesh function returns >= 0 for good, < 0 for one of these. */
#ifndef MESH_ERROR_H
#define MESH_ERROR_H

#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mesh_error {
	MESH_OK = 0,
#define MESH_ERROR_ENTRY(name, number, class, flag, text) MESH_ERROR_##name = number,
#include <mesh/error.def>
#undef MESH_ERROR_ENTRY
};

/* What an application can switch on. */
enum mesh_error_class {
	MESH_CLASS_NONE,     /* not an error */
	MESH_CLASS_USAGE,    /* the calling code is wrong */
	MESH_CLASS_RESOURCE, /* this process lacks something; later may be better */
	MESH_CLASS_CONFIG,   /* configuration forbids or lacks it */
	MESH_CLASS_CONTROL,  /* control plane or certificate authority */
	MESH_CLASS_PEER,     /* the other side or the network */
	MESH_CLASS_LIMIT,    /* a configured limit */
	MESH_CLASS_TIME,     /* a timeout */
	MESH_CLASS_POLICY,   /* refused on purpose */
	MESH_CLASS_CANCEL,   /* ended by this side */
};

/*
 * Class of an error code; MESH_CLASS_NONE for >= 0 and for numbers this version does not know.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1
 */
MESH_EXPORT enum mesh_error_class mesh_error_class(int error);

/*
 * Name of an error code as in error.def ("NO_ROUTE"), "OK" for >= 0, "UNKNOWN" otherwise.
 * Thread: any. Owns: static text. Errors: none. Since: 0.1
 */
MESH_EXPORT const char *mesh_error_name(int error);

/*
 * One short sentence for an error code.
 * Thread: any. Owns: static text. Errors: none. Since: 0.1
 */
MESH_EXPORT const char *mesh_error_text(int error);

/*
 * The response flag Envoy would log for this outcome ("NR", "UH", ..), "-" where there is none.
 * Thread: any. Owns: static text. Errors: none. Since: 0.1
 */
MESH_EXPORT const char *mesh_error_flag(int error);

#ifdef __cplusplus
}
#endif
#endif
