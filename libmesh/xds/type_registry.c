/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which message a type URL names. Refuses to know what a field means, and how bytes become a message.
 */
#include "xds/type_registry.h"

#include "dns/proto/nds.pb-c.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/filter/http/alpn/v2alpha1/config.pb-c.h"
#include "envoy/config/filter/network/metadata_exchange/metadata_exchange.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/rbac/v3/rbac.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb-c.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb-c.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/grpc_stats/v3/config.pb-c.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb-c.h"
#include "envoy/extensions/filters/http/jwt_authn/v3/config.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/http/stateful_session/v3/stateful_session.pb-c.h"
#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb-c.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb-c.h"
#include "envoy/extensions/filters/listener/original_src/v3/original_src.pb-c.h"
#include "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb-c.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config.pb-c.h"
#include "envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config.pb-c.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/override_host/v3/override_host.pb-c.h"
#include "contrib/envoy/extensions/load_balancing_policies/peak_ewma/v3alpha/peak_ewma.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb-c.h"
#include "envoy/extensions/network/dns_resolver/getaddrinfo/v3/getaddrinfo_dns_resolver.pb-c.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb-c.h"
#include "envoy/extensions/path/rewrite/uri_template/v3/uri_template_rewrite.pb-c.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb-c.h"
#include "envoy/extensions/retry/host/omit_canary_hosts/v3/omit_canary_hosts.pb-c.h"
#include "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.pb-c.h"
#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb-c.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb-c.h"
#include "envoy/extensions/stats/config.pb-c.h"
#include "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.pb-c.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "mesh/v1alpha1/proxy.pb-c.h"
#include "security/v1alpha1/ca.pb-c.h"
#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/type/v3/typed_struct.pb-c.h"

/* What arrives in an Any, and the messages of the control streams themselves. */
static const ProtobufCMessageDescriptor *const types[] = {
	&envoy__config__cluster__v3__cluster__descriptor,
	&envoy__config__core__v3__typed_extension_config__descriptor,
	&envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
	&envoy__config__listener__v3__listener__descriptor,
	&envoy__config__rbac__v3__rbac__descriptor,
	&envoy__config__route__v3__route_configuration__descriptor,
	&envoy__extensions__access_loggers__file__v3__file_access_log__descriptor,
	&envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor,
	&envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor,
	&envoy__extensions__clusters__dns__v3__dns_cluster__descriptor,
	&envoy__extensions__filters__http__cors__v3__cors__descriptor,
	&envoy__extensions__filters__http__cors__v3__cors_policy__descriptor,
	&envoy__extensions__filters__http__fault__v3__httpfault__descriptor,
	&envoy__extensions__filters__http__grpc_stats__v3__filter_config__descriptor,
	&envoy__extensions__filters__http__grpc_web__v3__grpc_web__descriptor,
	&envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor,
	&envoy__extensions__filters__http__jwt_authn__v3__per_route_config__descriptor,
	&envoy__extensions__filters__http__rbac__v3__rbac__descriptor,
	&envoy__extensions__filters__http__rbac__v3__rbacper_route__descriptor,
	&envoy__extensions__filters__http__router__v3__router__descriptor,
	&envoy__extensions__filters__http__stateful_session__v3__stateful_session__descriptor,
	&envoy__extensions__filters__http__stateful_session__v3__stateful_session_per_route__descriptor,
	&envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor,
	&envoy__extensions__filters__listener__original_dst__v3__original_dst__descriptor,
	&envoy__extensions__filters__listener__original_src__v3__original_src__descriptor,
	&envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor,
	&envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor,
	&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
	&envoy__extensions__filters__network__rbac__v3__rbac__descriptor,
	&envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor,
	&envoy__extensions__internal_redirect__allow_listed_routes__v3__allow_listed_routes_config__descriptor,
	&envoy__extensions__internal_redirect__previous_routes__v3__previous_routes_config__descriptor,
	&envoy__extensions__internal_redirect__safe_cross_scheme__v3__safe_cross_scheme_config__descriptor,
	&envoy__extensions__load_balancing_policies__client_side_weighted_round_robin__v3__client_side_weighted_round_robin__descriptor,
	&envoy__extensions__load_balancing_policies__least_request__v3__least_request__descriptor,
	&envoy__extensions__load_balancing_policies__maglev__v3__maglev__descriptor,
	&envoy__extensions__load_balancing_policies__override_host__v3__override_host__descriptor,
	&envoy__extensions__load_balancing_policies__peak_ewma__v3alpha__peak_ewma__descriptor,
	&envoy__extensions__load_balancing_policies__random__v3__random__descriptor,
	&envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash__descriptor,
	&envoy__extensions__load_balancing_policies__round_robin__v3__round_robin__descriptor,
	&envoy__extensions__load_balancing_policies__subset__v3__subset__descriptor,
	&envoy__extensions__load_balancing_policies__wrr_locality__v3__wrr_locality__descriptor,
	&envoy__extensions__network__dns_resolver__cares__v3__cares_dns_resolver_config__descriptor,
	&envoy__extensions__network__dns_resolver__getaddrinfo__v3__get_addr_info_dns_resolver_config__descriptor,
	&envoy__extensions__path__match__uri_template__v3__uri_template_match_config__descriptor,
	&envoy__extensions__path__rewrite__uri_template__v3__uri_template_rewrite_config__descriptor,
	&envoy__extensions__request_id__uuid__v3__uuid_request_id_config__descriptor,
	&envoy__extensions__retry__host__omit_canary_hosts__v3__omit_canary_hosts_predicate__descriptor,
	&envoy__extensions__retry__host__omit_host_metadata__v3__omit_host_metadata_config__descriptor,
	&envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate__descriptor,
	&envoy__extensions__retry__priority__previous_priorities__v3__previous_priorities_config__descriptor,
	&envoy__config__route__v3__retry_policy__descriptor,
	&envoy__extensions__transport_sockets__internal_upstream__v3__internal_upstream_transport__descriptor,
	&envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
	&envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor,
	&envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
	&envoy__service__discovery__v3__delta_discovery_request__descriptor,
	&envoy__service__discovery__v3__delta_discovery_response__descriptor,
	&envoy__service__discovery__v3__discovery_request__descriptor,
	&envoy__service__discovery__v3__discovery_response__descriptor,
	&envoy__service__discovery__v3__resource__descriptor,
	&envoy__tcp__metadataexchange__config__metadata_exchange__descriptor,
	&google__protobuf__any__descriptor,
	&google__protobuf__bool_value__descriptor,
	&google__protobuf__bytes_value__descriptor,
	&google__protobuf__double_value__descriptor,
	&google__protobuf__duration__descriptor,
	&google__protobuf__empty__descriptor,
	&google__protobuf__float_value__descriptor,
	&google__protobuf__int32_value__descriptor,
	&google__protobuf__int64_value__descriptor,
	&google__protobuf__list_value__descriptor,
	&google__protobuf__string_value__descriptor,
	&google__protobuf__struct__descriptor,
	&google__protobuf__timestamp__descriptor,
	&google__protobuf__uint32_value__descriptor,
	&google__protobuf__uint64_value__descriptor,
	&google__protobuf__value__descriptor,
	&google__rpc__status__descriptor,
	&istio__envoy__config__filter__http__alpn__v2alpha1__filter_config__descriptor,
	&istio__mesh__v1alpha1__proxy_config__descriptor,
	&istio__networking__nds__v1__name_table__descriptor,
	&istio__v1__auth__istio_certificate_request__descriptor,
	&istio__v1__auth__istio_certificate_response__descriptor,
	&stats__plugin_config__descriptor,
	&udpa__type__v1__typed_struct__descriptor,
	&xds__type__v3__typed_struct__descriptor,
};

const ProtobufCMessageDescriptor *mesh_type_find(struct mesh_slice name)
{
	ptrdiff_t slash = mesh_slice_find_last(name, '/');

	if (slash >= 0)
		name = mesh_slice_make(name.data + slash + 1, name.len - (size_t)slash - 1);
	for (size_t i = 0; i < mesh_type_count(); i++) {
		if (mesh_slice_equal(name, mesh_slice_of(types[i]->name)))
			return types[i];
	}
	return NULL;
}

size_t mesh_type_count(void)
{
	return sizeof(types) / sizeof(types[0]);
}

const ProtobufCMessageDescriptor *mesh_type_at(size_t index)
{
	return index < mesh_type_count() ? types[index] : NULL;
}
