/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decoders share: one context for one resource. The first failure sticks in `rc` with the field's path in words,
 * so that decoders read straight down and test it where they loop or branch. Internal to libmesh/xds.
 */
#ifndef MESH_XDS_DECODE_H
#define MESH_XDS_DECODE_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "config/cluster.h"
#include "config/listener.h"
#include "config/secret.h"

#define MESH_DECODE_DEPTH    256  /* elements of a field's path */
#define MESH_DECODE_ANYS     8    /* Any in Any */
#define MESH_DECODE_NOTES    8192 /* bytes of notes on one resource */
#define MESH_DECODE_NS       1000000000ll
#define MESH_DECODE_PATTERN  16384 /* bytes of a regular expression */
#define MESH_DECODE_FILTERS  256   /* in one list */
#define MESH_DECODE_CHAINS   65536 /* of a listener */

/* Something that is not understood and costs no security: told once. */
typedef void mesh_decode_warn_fn(void *user, const char *what);

struct decode_step {
	const char *field;
	const char *key; /* of a map; else NULL */
	size_t index;    /* SIZE_MAX: not an element */
};

struct decode {
	const struct mesh_mem *mem;
	unsigned nesting_max;
	mesh_decode_warn_fn *warn; /* may be NULL */
	void *user;
	int rc;                       /* 0, MESH_ERROR_INVALID, MESH_ERROR_NOMEM, MESH_ERROR_TOO_LARGE */
	struct why why;               /* "<field path>: <what>" */
	struct buf notes;             /* one such line for each thing that is not understood and fails closed */
	struct config_object *object; /* what is being filled: memory and expressions are its own */
	struct arena scratch;         /* unpacked messages */
	unsigned anys;
	size_t depth;
	struct decode_step path[MESH_DECODE_DEPTH];
};

void mesh_decode_init(struct decode *d, const struct mesh_mem *mem, unsigned nesting_max, mesh_decode_warn_fn *warn,
		      void *user);
void mesh_decode_free(struct decode *d);

/* One resource each: NULL with d->rc set when it is refused. The decoder may be used again afterwards. */
struct cluster_config *mesh_decode_cluster(struct decode *d, struct mesh_slice bytes);
struct endpoint_set *mesh_decode_endpoints(struct decode *d, struct mesh_slice bytes);
struct listener_config *mesh_decode_listener(struct decode *d, struct mesh_slice bytes);
struct route_config *mesh_decode_routes(struct decode *d, struct mesh_slice bytes);
struct secret *mesh_decode_secret(struct decode *d, struct mesh_slice bytes);

/* ---- for the decoders ---- */

void mesh_decode_begin(struct decode *d); /* forgets the last resource */
/* Ends a resource: the object when all went well, else NULL and the object is released. */
void *mesh_decode_end(struct decode *d, void *object);

void mesh_decode_push(struct decode *d, const char *field);
void mesh_decode_push_item(struct decode *d, const char *field, size_t index);
void mesh_decode_push_key(struct decode *d, const char *field, const char *key);
void mesh_decode_pop(struct decode *d);

void mesh_decode_fail(struct decode *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a field of the present message. */
void mesh_decode_fail_field(struct decode *d, const char *field, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void mesh_decode_nomem(struct decode *d);
/* Takes down what fails closed, with the path; the words, kept as long as the object, come back for its `reason`. */
struct mesh_slice mesh_decode_note(struct decode *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mesh_decode_warning(struct decode *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *mesh_decode_array(struct decode *d, size_t count, size_t each); /* zeroed, of the object; NULL for count 0 or failure */
struct mesh_slice mesh_decode_text(struct decode *d, const char *text); /* copied; absent when empty */
struct mesh_slice mesh_decode_lower(struct decode *d, const char *text); /* copied in lower case */
struct mesh_slice mesh_decode_bytes(struct decode *d, struct mesh_slice bytes);
/* Fails when the text is empty. */
struct mesh_slice mesh_decode_required(struct decode *d, const char *field, const char *text);

struct Google__Protobuf__Duration;
struct Google__Protobuf__UInt32Value;
struct Google__Protobuf__BoolValue;
struct Google__Protobuf__Any;
struct Google__Protobuf__Struct;
struct Google__Protobuf__Value;
struct Envoy__Config__Core__V3__Metadata;
struct Envoy__Config__Core__V3__DataSource;
/* Nanoseconds, 0 <= d; far futures are cut to a century. */
int64_t mesh_decode_duration(struct decode *d, const char *field, const struct Google__Protobuf__Duration *duration,
			     int64_t absent);
int64_t mesh_decode_duration_positive(struct decode *d, const char *field,
				      const struct Google__Protobuf__Duration *duration, int64_t absent);
uint32_t mesh_decode_u32(const struct Google__Protobuf__UInt32Value *value, uint32_t absent);
uint32_t mesh_decode_percent(struct decode *d, const char *field, const struct Google__Protobuf__UInt32Value *value,
			     uint32_t absent); /* <= 100 */
double mesh_decode_share(struct decode *d, const char *field, double percent); /* 0..100 */
bool mesh_decode_bool(const struct Google__Protobuf__BoolValue *value, bool absent);
uint16_t mesh_decode_port(struct decode *d, const char *field, uint32_t port);
bool mesh_decode_count(struct decode *d, const char *field, size_t count, size_t max); /* false: more, which failed */

/* Name of the type in an Any: what follows the last '/'. */
struct mesh_slice mesh_decode_any_type(const struct Google__Protobuf__Any *any);
bool mesh_decode_any_is(const struct Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type);
/*
 * Unpacks an Any of that type into the scratch memory; NULL when it failed. The path gets "typed_config": pair with
 * mesh_decode_any_close.
 */
void *mesh_decode_any_open(struct decode *d, const char *field, const struct Google__Protobuf__Any *any,
			   const ProtobufCMessageDescriptor *type);
void mesh_decode_any_close(struct decode *d);
void *mesh_decode_unpack(struct decode *d, struct mesh_slice bytes, const ProtobufCMessageDescriptor *type);

/* Type inside a udpa or xds TypedStruct ("io.istio.http.peer_metadata.Config"), absent when the Any is none. */
struct mesh_slice mesh_decode_typed_struct(struct decode *d, const struct Google__Protobuf__Any *any);
/* The same with what it holds: until the next resource, NULL when nothing. */
struct mesh_slice mesh_decode_typed_struct_open(struct decode *d, const struct Google__Protobuf__Any *any,
						const struct Google__Protobuf__Struct **body);
/* The "protocol" of Istio's TCP metadata exchange, copied; absent: none, so no connection exchanges any. */
struct mesh_slice mesh_decode_exchange_protocol(struct decode *d, const struct Google__Protobuf__Struct *body);

const struct Google__Protobuf__Value *mesh_decode_struct_get(const struct Google__Protobuf__Struct *object,
							     const char *name);
const char *mesh_decode_value_text(const struct Google__Protobuf__Value *value); /* NULL when it is no string */
/* The struct under `filter` in metadata, NULL when absent. */
const struct Google__Protobuf__Struct *mesh_decode_metadata(const struct Envoy__Config__Core__V3__Metadata *metadata,
							    const char *filter);
/* Members of a struct as labels, sorted by key. */
struct label *mesh_decode_labels(struct decode *d, const struct Google__Protobuf__Struct *object, size_t *count);
/* Inline bytes or text; false when the source is a file, the environment or nothing. */
bool mesh_decode_source(const struct Envoy__Config__Core__V3__DataSource *source, struct mesh_slice *bytes);

/* decode_match.c */
struct Envoy__Type__Matcher__V3__StringMatcher;
struct Envoy__Type__Matcher__V3__RegexMatcher;
struct Envoy__Type__Matcher__V3__RegexMatchAndSubstitute;
struct Envoy__Config__Route__V3__HeaderMatcher;
struct Envoy__Config__Route__V3__QueryParameterMatcher;
struct Envoy__Config__Core__V3__CidrRange;
struct Envoy__Config__Core__V3__RuntimeFractionalPercent;
/* False when the matcher is of a kind that is not understood (nothing failed then). */
bool mesh_decode_string_match(struct decode *d, const struct Envoy__Type__Matcher__V3__StringMatcher *matcher,
			      struct string_match *match);
bool mesh_decode_header_match(struct decode *d, const struct Envoy__Config__Route__V3__HeaderMatcher *matcher,
			      struct header_match *match);
bool mesh_decode_query_match(struct decode *d, const struct Envoy__Config__Route__V3__QueryParameterMatcher *matcher,
			     struct query_match *match);
struct regex *mesh_decode_regex(struct decode *d, const struct Envoy__Type__Matcher__V3__RegexMatcher *matcher);
void mesh_decode_cidr(struct decode *d, const struct Envoy__Config__Core__V3__CidrRange *range, struct cidr *cidr);
/* A share of 0 when absent; `field`: where its denominator is. */
struct Envoy__Type__V3__FractionalPercent;
struct fraction mesh_decode_fractional(struct decode *d, const char *field,
				       const struct Envoy__Type__V3__FractionalPercent *percent);
struct fraction mesh_decode_fraction(struct decode *d, const struct Envoy__Config__Core__V3__RuntimeFractionalPercent *share);
/* Envoy's URI template as a regular expression over the path; NULL when the Any is of another type. */
struct regex *mesh_decode_uri_template(struct decode *d, const struct Google__Protobuf__Any *any);

/* decode_tls.c: settings of a transport socket. NULL with *reason absent: raw. *reason given: not understood. */
struct Envoy__Config__Core__V3__TransportSocket;
struct tls_config *mesh_decode_transport(struct decode *d, const char *field,
					 const struct Envoy__Config__Core__V3__TransportSocket *socket, bool upstream,
					 struct mesh_slice *reason);

/* decode_endpoint.c */
struct Envoy__Config__Endpoint__V3__ClusterLoadAssignment;
/* `names`: addresses may be host names (DNS clusters). A reference of its own; NULL when it failed. */
struct endpoint_set *mesh_decode_assignment(struct decode *d,
					    const struct Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment,
					    struct mesh_slice name, bool names);

/* decode_cluster_lb.c, decode_cluster_http.c */
struct Envoy__Config__Cluster__V3__Cluster;
void mesh_decode_cluster_lb(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			    struct cluster_config *cluster);
/* decode_original_dst.c */
void mesh_decode_original_dst(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			      struct cluster_config *cluster);
void mesh_decode_cluster_http(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			      struct cluster_config *cluster);

/* decode_cluster_outlier.c, decode_cluster_health.c */
struct Envoy__Config__Cluster__V3__OutlierDetection;
struct Envoy__Config__Core__V3__HealthCheck;
void mesh_decode_outlier(struct decode *d, const struct Envoy__Config__Cluster__V3__OutlierDetection *message,
			 struct outlier_config *outlier);
/* After the cluster's protocol. */
void mesh_decode_health_checks(struct decode *d, size_t count, struct Envoy__Config__Core__V3__HealthCheck *const *messages,
			       struct cluster_config *cluster);

/* decode_cluster_dns.c */
/* The kind that an extension for DNS asks for; false: it is another. */
bool mesh_decode_dns_kind(struct decode *d, const struct Google__Protobuf__Any *any, enum cluster_kind *kind);
/* For a cluster of names, which becomes one that cannot be called when the resolver is not known. */
void mesh_decode_cluster_dns(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			     struct cluster_config *cluster);

/* decode_cluster_subset.c */
void mesh_decode_subset_config(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			       struct cluster_config *cluster); /* the old field of the cluster */
void mesh_decode_subset_policy(struct decode *d, const struct Google__Protobuf__Any *any, bool redundant_keys,
			       struct cluster_config *cluster); /* the extension */
/* Metadata envoy.lb of an endpoint; sorted by key. */
struct lb_label *mesh_decode_lb_labels(struct decode *d, const struct Google__Protobuf__Struct *object, size_t *count);
/* Any value as text, different for different ones: a string is itself, all else begins with a NUL, which no string has. */
struct mesh_slice mesh_decode_value_exact(struct decode *d, const struct Google__Protobuf__Value *value);

/* decode_cluster_hash.c; messages are those of the cluster itself, but for the policy's. */
struct Envoy__Config__Cluster__V3__Cluster__RingHashLbConfig;
struct Envoy__Config__Cluster__V3__Cluster__MaglevLbConfig;
struct Envoy__Config__Cluster__V3__Cluster__CommonLbConfig__ConsistentHashingLbConfig;
void mesh_decode_hashing_defaults(struct cluster_config *cluster);
bool mesh_decode_hashing_policy(struct decode *d, const struct Google__Protobuf__Any *any,
				struct cluster_config *cluster); /* false: not one of them */
void mesh_decode_ring_hash(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster__RingHashLbConfig *message,
			   struct cluster_config *cluster);
void mesh_decode_maglev(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster__MaglevLbConfig *message,
			struct cluster_config *cluster);
void mesh_decode_consistent_hashing(
	struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster__CommonLbConfig__ConsistentHashingLbConfig *message,
	struct cluster_config *cluster); /* NULL allowed */

/* decode_http2.c: all zero, the defaults, when `message` is NULL */
struct Envoy__Config__Core__V3__Http2ProtocolOptions;
void mesh_decode_http2(struct decode *d, const char *field, const struct Envoy__Config__Core__V3__Http2ProtocolOptions *message,
		       struct http2_config *http2);

/* decode_authz.c */
struct Envoy__Config__Rbac__V3__RBAC;
/* `refuse`: nothing of the policies was understood: an ALLOW without policies. */
struct authz_rules *mesh_decode_authz(struct decode *d, const char *field,
				      const struct Envoy__Config__Rbac__V3__RBAC *message, bool shadow);
struct authz_rules *mesh_decode_authz_refuse(struct decode *d);
struct Envoy__Extensions__Filters__Http__Rbac__V3__RBAC;
struct authz_config *mesh_decode_authz_http(struct decode *d,
					    const struct Envoy__Extensions__Filters__Http__Rbac__V3__RBAC *message);

/* decode_route*.c */
struct Envoy__Config__Route__V3__RouteConfiguration;
struct Envoy__Config__Route__V3__Route;
struct Envoy__Config__Route__V3__RouteMatch;
struct Envoy__Config__Route__V3__RouteAction;
struct Envoy__Config__Route__V3__RetryPolicy;
struct route_config *mesh_decode_route_config(struct decode *d,
					      const struct Envoy__Config__Route__V3__RouteConfiguration *message);
/* What the levels above a route hand down to it. */
struct route_scope {
	struct mesh_slice reason;   /* given: all routes below fail closed */
	struct authz_config *authz;
	struct mesh_slice authz_filter; /* whose rules `authz` replaces; absent: none */
	struct fault_config *fault; /* with their filters' names, as in struct route */
	struct mesh_slice fault_filter;
	struct cors_config *cors;
	struct mesh_slice cors_filter;
	const struct mirror_config *mirrors;
	uint32_t body_max;          /* of a direct response */
	bool no_parameters;         /* ignore_path_parameters_in_path_matching */
};
void mesh_decode_route(struct decode *d, const struct Envoy__Config__Route__V3__Route *message,
		       const struct route_scope *scope, struct route *route);
void mesh_decode_route_close(struct route *route, struct mesh_slice reason); /* the first reason stays */
void mesh_decode_route_match(struct decode *d, const struct Envoy__Config__Route__V3__RouteMatch *message,
			     struct route *route);
/* `match`: the route's, NULL allowed. */
void mesh_decode_route_action(struct decode *d, const struct Envoy__Config__Route__V3__RouteAction *message,
			      const struct Envoy__Config__Route__V3__RouteMatch *match,
			      const struct route_scope *scope, struct route *route);
struct retry_config *mesh_decode_retry(struct decode *d, const struct Envoy__Config__Route__V3__RetryPolicy *message);
/* The same, else what is packed in `any`; either may be NULL. */
struct retry_config *mesh_decode_retry_any(struct decode *d, const struct Envoy__Config__Route__V3__RetryPolicy *message,
					   const struct Google__Protobuf__Any *any);
struct Envoy__Config__Route__V3__HedgePolicy;
enum hedge mesh_decode_hedge(struct decode *d, const struct Envoy__Config__Route__V3__HedgePolicy *message);
/* decode_breaker.c: the limits of both priorities. */
void mesh_decode_breakers(struct decode *d, const struct Envoy__Config__Cluster__V3__Cluster *message,
			  struct cluster_config *cluster);

/* decode_hash_policy.c */
struct Envoy__Config__Route__V3__RouteAction__HashPolicy;
void mesh_decode_hash_policies(struct decode *d, size_t count,
			       struct Envoy__Config__Route__V3__RouteAction__HashPolicy *const *messages,
			       struct hash_policy **policies, size_t *policy_count);

/* decode_mirror.c: `outer` where there are none. NULL: none. */
struct Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy;
const struct mirror_config *
mesh_decode_mirrors(struct decode *d, size_t count,
		    struct Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy *const *messages,
		    const struct mirror_config *outer);

/* decode_internal_redirect.c. NULL: none are followed. */
const struct internal_redirect_config *
mesh_decode_internal_redirect(struct decode *d, const struct Envoy__Config__Route__V3__RouteAction *message);

struct Envoy__Config__Core__V3__HeaderValueOption;
/* The four lists of any level that has them. */
struct decode_mutations {
	struct Envoy__Config__Core__V3__HeaderValueOption **request_add;
	size_t request_add_count;
	char **request_remove;
	size_t request_remove_count;
	struct Envoy__Config__Core__V3__HeaderValueOption **response_add;
	size_t response_add_count;
	char **response_remove;
	size_t response_remove_count;
};
void mesh_decode_mutations(struct decode *d, const struct decode_mutations *from, struct header_mutations *mutations);

/* decode_format.c. NULL: `literal` is all of it (absent: it was empty), or it failed, naming the operator. */
const struct format *mesh_decode_format(struct decode *d, const char *field, struct mesh_slice text,
					struct mesh_slice *literal);

/* The same text for all. NULL when it failed. */
const struct format *mesh_decode_whole(struct decode *d, struct mesh_slice text);
/* An expression and what takes the place of what it finds; one that would fail every request closes the route. */
void mesh_decode_substitution(struct decode *d, const char *field,
			      const struct Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *message, struct regex **regex,
			      struct mesh_slice *with, struct route *route);

/* decode_metadata_match.c. False: of a kind that is not known. */
struct Envoy__Type__Matcher__V3__MetadataMatcher;
struct metadata_match;
bool mesh_decode_metadata_match(struct decode *d, const struct Envoy__Type__Matcher__V3__MetadataMatcher *message,
				struct metadata_match *match);

/* decode_subset.c: `outer` (NULL allowed) where there is nothing to add to it. */
struct subset_wish;
const struct subset_wish *mesh_decode_subset(struct decode *d, const struct Envoy__Config__Core__V3__Metadata *metadata,
					     const struct subset_wish *outer);

/* decode_uri_template.c: a template as an expression, with a group for each variable, and what is written over it. */
struct Envoy__Config__Core__V3__TypedExtensionConfig;
/* Into route->regex_rewrite. False: not of that kind. */
bool mesh_decode_uri_rewrite(struct decode *d, const struct Envoy__Config__Core__V3__TypedExtensionConfig *rewrite,
			     const struct Envoy__Config__Core__V3__TypedExtensionConfig *match, struct route *route);
#define MESH_DECODE_MUTATIONS(message) \
	(&(struct decode_mutations){(message)->request_headers_to_add, (message)->n_request_headers_to_add, \
				    (message)->request_headers_to_remove, (message)->n_request_headers_to_remove, \
				    (message)->response_headers_to_add, (message)->n_response_headers_to_add, \
				    (message)->response_headers_to_remove, (message)->n_response_headers_to_remove})
/* One entry of typed_per_filter_config applied to the scope of a route, virtual host or route configuration. */
void mesh_decode_per_filter(struct decode *d, const char *name, const struct Google__Protobuf__Any *config,
			    struct route_scope *scope);

/* decode_fault.c, decode_cors.c: out of the Any in that field. NULL: it failed. */
struct fault_config *mesh_decode_fault(struct decode *d, const char *field, const struct Google__Protobuf__Any *any);
struct cors_config *mesh_decode_cors(struct decode *d, const char *field, const struct Google__Protobuf__Any *any);
/* What a policy does not say is as in the one above it. */
void mesh_decode_cors_fill(struct cors_config *cors, const struct cors_config *outer);

/* decode_http.c */
struct Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager;
struct Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter;
/* *reason given: the whole connection manager fails closed. */
struct http_config *
mesh_decode_http(struct decode *d,
		 const struct Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *message,
		 struct mesh_slice *reason);
void mesh_decode_http_filters(struct decode *d, size_t count,
			      struct Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter **messages,
			      struct http_config *http);

/* decode_chain.c */
struct Envoy__Config__Listener__V3__FilterChain;
void mesh_decode_chain(struct decode *d, const struct Envoy__Config__Listener__V3__FilterChain *message,
		       struct chain *chain);
void mesh_decode_chain_http(struct decode *d, const struct Google__Protobuf__Any *config, struct chain *chain);
void mesh_decode_chain_close(struct chain *chain, struct mesh_slice reason);

/* decode_chain_match.c */
struct Envoy__Config__Listener__V3__FilterChainMatch;
void mesh_decode_chain_match(struct decode *d, const struct Envoy__Config__Listener__V3__FilterChainMatch *message,
			     struct chain *chain);
/* Fails when a connection could take two of them with equal right. */
void mesh_decode_chains_apart(struct decode *d, const struct chain *chains, size_t count);

#endif
