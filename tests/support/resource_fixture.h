/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resource cache under test, what it refused last, and small resources to feed it. Whatever is not as it was said to be
 * fails the test.
 */
#ifndef TESTS_SUPPORT_RESOURCE_FIXTURE_H
#define TESTS_SUPPORT_RESOURCE_FIXTURE_H

#include "support/xds_sample.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name ".json"
#define PACKED(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name ".pb"

struct resource_fixture {
	struct log log;
	int lines; /* logged */
	struct resource_cache *cache;
	struct buf rejects;
	struct arena arena;
	struct snapshot *snapshot;
};

void fixture_begin(struct resource_fixture *f, const struct xds_limits *limits);
void fixture_end(struct resource_fixture *f);

int fixture_apply_rc(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count,
		     bool whole);
/* Compares what was refused to the letter. */
void fixture_apply_says(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources,
			size_t count, bool whole, const char *rejects);
void fixture_apply(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count,
		   bool whole); /* refuses nothing */
size_t fixture_apply_sample(struct resource_fixture *f, enum xds_type type, const char *path);
void fixture_remove(struct resource_fixture *f, enum xds_type type, const char *name);

const struct snapshot *fixture_snapshot(struct resource_fixture *f); /* the present one; lives until the next */
const void *fixture_object(struct resource_fixture *f, enum xds_type type, const char *name);
void fixture_assert_wanted(struct resource_fixture *f, enum xds_type type, const char *expected); /* "a,b" */
void fixture_assert_held(struct resource_fixture *f, enum xds_type type, const char *expected);	  /* "a=1,b=1" */

struct xds_resource sample_eds_cluster(struct resource_fixture *f, const char *version, const char *name,
				       const char *service);
struct xds_resource sample_static_cluster(struct resource_fixture *f, const char *version, const char *name,
					  const char *timeout);
struct xds_resource sample_endpoints(struct resource_fixture *f, const char *version, const char *name);
struct xds_resource sample_routes(struct resource_fixture *f, const char *version, const char *name);
/* An HTTP listener by route name, with one more filter: JSON with a comma behind it, or "". */
struct xds_resource sample_listener(struct resource_fixture *f, const char *version, const char *name,
				    const char *route, const char *filter);

#endif
