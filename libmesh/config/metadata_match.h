/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on what filters have said of a request (a verified token's claims, say), compiled. Immutable. */
#ifndef MESH_CONFIG_METADATA_MATCH_H
#define MESH_CONFIG_METADATA_MATCH_H

#include "config/match.h"

enum value_match_kind {
	VALUE_MATCH_NULL,
	VALUE_MATCH_RANGE,   /* from <= number < to */
	VALUE_MATCH_NUMBER,  /* equal to `from` */
	VALUE_MATCH_STRING,
	VALUE_MATCH_BOOL,
	VALUE_MATCH_PRESENT,
	VALUE_MATCH_LIST,    /* one element matches items[0] */
	VALUE_MATCH_OR,      /* one of items */
};

struct value_match {
	enum value_match_kind kind;
	bool wanted;           /* BOOL, PRESENT */
	double from, to;
	struct string_match string;
	struct value_match *items;
	size_t count;
};

struct metadata_match {
	struct mesh_slice filter;
	struct mesh_slice *path;
	size_t path_count;
	struct value_match value;
	bool invert;
};

#endif
