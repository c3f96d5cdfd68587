/* SPDX-License-Identifier: Apache-2.0 */
/* Matchers as configuration gives them, compiled: strings, headers, addresses. Immutable. */
#ifndef MESH_CONFIG_MATCH_H
#define MESH_CONFIG_MATCH_H

#include "base/regex.h"
#include "base/slice.h"

enum string_match_kind {
	STRING_MATCH_EXACT,
	STRING_MATCH_PREFIX,
	STRING_MATCH_SUFFIX,
	STRING_MATCH_CONTAINS,
	STRING_MATCH_REGEX, /* full match */
};

struct string_match {
	enum string_match_kind kind;
	bool ignore_case; /* not for regex */
	struct mesh_slice text;
	struct regex *regex; /* owned by the configuration object */
};

bool mesh_string_matches(const struct string_match *match, struct mesh_slice text);

enum header_match_kind {
	HEADER_MATCH_PRESENT, /* present_match true; false is the same inverted */
	HEADER_MATCH_STRING,
	HEADER_MATCH_RANGE,   /* from <= integer < to */
};

struct header_match {
	struct mesh_slice name; /* lower case; ":method", ":path", ":authority", ":scheme" too */
	enum header_match_kind kind;
	bool invert;
	bool missing_as_empty; /* treat_missing_header_as_empty */
	struct string_match string;
	int64_t from, to;
};

struct query_match {
	struct mesh_slice name;
	bool present_only;
	bool absent; /* present_match: false; then present_only, too */
	struct string_match string;
};

struct cookie_match {
	struct mesh_slice name;
	bool invert; /* a missing cookie matches then */
	struct string_match string;
};

struct cidr {
	uint8_t bytes[16];
	bool v6;
	uint8_t bits;
};

/* A share of all requests: numerator / denominator (100, 10000, 1000000). */
struct fraction {
	uint32_t numerator;
	uint32_t denominator; /* 0: not set */
};

#endif
