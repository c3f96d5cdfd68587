/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of an authorization policy that have no rules inside of them. Internal to libmesh/xds. */
#ifndef MESH_XDS_DECODE_AUTHZ_H
#define MESH_XDS_DECODE_AUTHZ_H

#include "xds/decode.h"

#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/config/rbac/v3/rbac.pb-c.h"

/* What a rule works towards where it stands. */
struct stance {
	enum authz_action action;
	bool negated; /* under an odd number of NOTs */
	bool shadow;
};

/* Makes it the answer that refuses. */
void mesh_decode_unknown_rule(struct decode *d, const struct stance *stance, const char *what, struct authz_rule *rule);
/* The same when there is a field unknown here anywhere in its message: it may narrow what the known ones say. */
void mesh_decode_whole_rule(struct decode *d, const struct stance *stance, const ProtobufCMessage *message,
			    struct authz_rule *rule);

void mesh_decode_string_rule(struct decode *d, const struct stance *stance, const char *field,
			     const Envoy__Type__Matcher__V3__StringMatcher *matcher, enum authz_rule_kind kind,
			     struct authz_rule *rule);
void mesh_decode_path_rule(struct decode *d, const struct stance *stance,
			   const Envoy__Type__Matcher__V3__PathMatcher *matcher, struct authz_rule *rule);
void mesh_decode_header_rule(struct decode *d, const struct stance *stance,
			     const Envoy__Config__Route__V3__HeaderMatcher *matcher, struct authz_rule *rule);
void mesh_decode_cidr_rule(struct decode *d, const struct stance *stance, const char *field,
			   const Envoy__Config__Core__V3__CidrRange *range, enum authz_rule_kind kind,
			   struct authz_rule *rule);
void mesh_decode_port_rule(struct decode *d, const struct stance *stance, const Envoy__Type__V3__Int32Range *range,
			   struct authz_rule *rule);
void mesh_decode_metadata_rule(struct decode *d, const struct stance *stance,
			       const Envoy__Type__Matcher__V3__MetadataMatcher *matcher, struct authz_rule *rule);
void mesh_decode_template_rule(struct decode *d, const struct stance *stance,
			       const Envoy__Config__Core__V3__TypedExtensionConfig *extension, struct authz_rule *rule);
void mesh_decode_state_rule(struct decode *d, const struct stance *stance,
			    const Envoy__Type__Matcher__V3__FilterStateMatcher *matcher, struct authz_rule *rule);

#endif
