/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization rules in words, to be compared as a whole, and listeners that are there for the rules in them. What is not
 * as it must be fails the test.
 */
#ifndef TESTS_SUPPORT_AUTHZ_WORDS_H
#define TESTS_SUPPORT_AUTHZ_WORDS_H

#include "support/decode_fixture.h"

#define ANYONE	 "'principals': [{'any': true}]"
#define ANYTHING "'permissions': [{'any': true}]"

enum { AUTHZ_WORDS_BYTES = 4096 };

struct authz_words {
	char text[AUTHZ_WORDS_BYTES];
	size_t len;
};

/* "<name>: (<permissions>) by (<principals>)", a line for each policy. */
const char *authz_words_of(struct authz_words *words, const struct authz_rules *rules);

/* An authorization filter of a chain's connection manager, by their places. */
const struct authz_config *authz_words_filter(const struct listener_config *listener, size_t chain, size_t filter);

/* A listener with these rules at chain 0, filter 0: the inside of an RBAC filter's JSON; packed, or decoded (NULL: refused). */
struct mesh_slice authz_words_pack(struct decode_fixture *f, const char *rules);
struct listener_config *authz_words_rules(struct decode_fixture *f, const char *rules);
/* The same with one policy "p" of that action, by its permissions and principals. */
struct listener_config *authz_words_policy(struct decode_fixture *f, const char *action, const char *policy);

#endif
