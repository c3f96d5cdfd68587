/* SPDX-License-Identifier: Apache-2.0 */
/* String, header, query and address matchers applied. */
#ifndef MESH_POLICY_HEADER_MATCH_H
#define MESH_POLICY_HEADER_MATCH_H

#include "base/address.h"
#include "base/header.h"
#include "config/match.h"
#include "policy/route_match.h"

/* Applied to one value of the header, absent when there is none. */
bool mesh_header_value_matches(const struct header_match *match, struct mesh_slice value);
/* Value of a request's header in whole: pseudo headers, "host" as the authority, several joined. NOMEM. */
int mesh_header_value(const struct route_request *request, struct mesh_slice name, struct arena *scratch,
		      struct mesh_slice *value);
/* Whether several fields of that name are one with commas between their values before any rule sees them, as in Envoy. */
bool mesh_header_kept_once(struct mesh_slice name);
/* Of several values one must satisfy the condition; inverted: none. `doubt`: what to say when there is no memory for it. */
bool mesh_header_matches(const struct header_match *match, const struct route_request *request, struct arena *scratch,
			 bool doubt);
/* The first value of the parameter, as it is written: nothing is decoded. False: there is none. */
bool mesh_query_value(struct mesh_slice path, struct mesh_slice name, struct mesh_slice *value);
/* The first cookie of that name, without the quotes around its value. */
bool mesh_cookie_matches(const struct cookie_match *match, const struct headers *headers);
bool mesh_query_matches(const struct query_match *match, struct mesh_slice path, struct arena *scratch);
bool mesh_cidr_contains(const struct cidr *cidr, const struct address *address);
bool mesh_fraction_hits(const struct fraction *fraction, uint64_t random);

#endif
