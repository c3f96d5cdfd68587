/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoder under test with what it noted and warned of. Resources come from a text in the test (see xds_sample.h) or a
 * recorded response.
 */
#ifndef TESTS_SUPPORT_DECODE_FIXTURE_H
#define TESTS_SUPPORT_DECODE_FIXTURE_H

#include "support/xds_sample.h"
#include "xds/decode.h"

struct decode_fixture {
	struct arena arena;
	struct decode d;
	struct buf warnings; /* one line each */
};

void decode_fixture_begin(struct decode_fixture *f);
void decode_fixture_end(struct decode_fixture *f);

/* One line each, since the last resource began; NUL-terminated. */
const char *decode_fixture_notes(struct decode_fixture *f);
/* Since the fixture began, and forgets them; NUL-terminated, of the arena. */
const char *decode_fixture_warnings(struct decode_fixture *f);

/* The only listener of that name in a recorded response of either kind; release it. */
struct listener_config *decode_fixture_listener(struct decode_fixture *f, const char *path, const char *name);
/* One that has this inside of its object, as text and packed. */
struct mesh_slice decode_fixture_pack_listener(struct decode_fixture *f, const char *rest);
/* The same decoded; release it. NULL: refused. */
struct listener_config *decode_fixture_listener_json(struct decode_fixture *f, const char *rest);

/* A copy with the only `from` in it made `to`, which is as long: for what no text can say, such as a field nobody knows. */
struct mesh_slice decode_fixture_patch(struct decode_fixture *f, struct mesh_slice bytes, struct mesh_slice from,
				       struct mesh_slice to);

void assert_text(struct mesh_slice slice, const char *expected);
void assert_absent(struct mesh_slice slice);

#endif
