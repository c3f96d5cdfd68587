/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources for tests of the configuration flow, packed from proto-JSON: recorded responses, or a text in the test. A
 * text or file that cannot be packed fails the test. All memory is the arena's.
 */
#ifndef TESTS_SUPPORT_XDS_SAMPLE_H
#define TESTS_SUPPORT_XDS_SAMPLE_H

#include "base/arena.h"
#include "xds/resource_cache.h"

/*
 * All resources of a response, names given for delta only: JSON of either kind, or, when the path ends in ".pb", a packed
 * one, taken as delta when "delta" is in the path.
 */
struct xds_resource *xds_sample_load(struct arena *arena, const char *path, size_t *count);
/*
 * One resource, an object with '@type', which may go without "type.googleapis.com/"; its name is absent. Quotes are single
 * ones, so that it can be read.
 */
struct xds_resource xds_sample_json(struct arena *arena, const char *version, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
