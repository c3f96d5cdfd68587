/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters for tests of their decoder: recorded ones by name, or texts in the test. Release them; NULL: refused. */
#ifndef TESTS_SUPPORT_CLUSTER_FIXTURE_H
#define TESTS_SUPPORT_CLUSTER_FIXTURE_H

#include "support/decode_fixture.h"

/* The packed form of the only cluster of that name in a recorded response. */
struct mesh_slice cluster_fixture_bytes(struct decode_fixture *f, const char *path, const char *name);
/* Decodes it; a refusal fails the test. */
struct cluster_config *cluster_fixture_recorded(struct decode_fixture *f, const char *path, const char *name);
/* One with these members; `rest` has the name too. */
struct cluster_config *cluster_fixture_json(struct decode_fixture *f, const char *rest);
/* The same for an EDS cluster "c" that is otherwise complete; a refusal fails the test. */
struct cluster_config *cluster_fixture_eds(struct decode_fixture *f, const char *rest);
/* That EDS cluster must be refused with both of these in the words. */
void cluster_fixture_refused(struct decode_fixture *f, const char *rest, const char *path, const char *what);
/* For what JSON cannot say: puts bytes [at, end) into a field of that tag (number << 3 | wire type), before; its new
 * start. */
size_t cluster_fixture_wrap(unsigned char *bytes, size_t at, size_t end, unsigned tag);

#endif
