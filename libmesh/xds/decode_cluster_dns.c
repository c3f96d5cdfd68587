/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often and of whom the names of a DNS cluster are asked: the cluster's own fields, or the extension that replaces them.
 * A resolver that is not known makes a cluster no call can use. Refuses to know the names, which are endpoints like others.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/config/core/v3/resolver.pb-c.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb-c.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb-c.h"
#include "envoy/extensions/network/dns_resolver/getaddrinfo/v3/getaddrinfo_dns_resolver.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define REFRESH_NS     (5 * MESH_DECODE_NS)
#define REFRESH_MIN_NS 1000000
#define SERVERS_MAX    16
#define EDNS_MIN       512
#define EDNS_MAX       4096

typedef Envoy__Extensions__Clusters__Dns__V3__DnsCluster dns_message;
typedef Envoy__Extensions__Network__DnsResolver__Cares__V3__CaresDnsResolverConfig cares_message;
typedef Google__Protobuf__Duration duration_message;

static const ProtobufCMessageDescriptor *const dns_type =
	&envoy__extensions__clusters__dns__v3__dns_cluster__descriptor;

/* ---- times ---- */

static int64_t interval(struct decode *d, const char *field, const duration_message *message, int64_t absent)
{
	int64_t ns = mesh_decode_duration(d, field, message, absent);

	if (message && d->rc == 0 && ns <= REFRESH_MIN_NS)
		mesh_decode_fail_field(d, field, "%lld ns: must be greater than 1 ms", (long long)ns);
	return ns;
}

static void failure_rate(struct decode *d, const duration_message *base, const duration_message *max,
			 struct dns_config *dns)
{
	mesh_decode_push(d, "dns_failure_refresh_rate");
	if (!base)
		mesh_decode_fail_field(d, "base_interval", "is required");
	dns->failure_base_ns = interval(d, "base_interval", base, 0);
	dns->failure_max_ns = dns->failure_base_ns < INT64_MAX / 10 ? dns->failure_base_ns * 10 : INT64_MAX;
	dns->failure_max_ns = interval(d, "max_interval", max, dns->failure_max_ns);
	if (dns->failure_max_ns < dns->failure_base_ns)
		mesh_decode_fail_field(d, "max_interval", "must not be less than base_interval");
	mesh_decode_pop(d);
}

static void refresh(struct decode *d, const duration_message *rate, const duration_message *jitter,
		    struct dns_config *dns)
{
	dns->refresh_ns = interval(d, "dns_refresh_rate", rate, REFRESH_NS);
	dns->jitter_ns = mesh_decode_duration(d, "dns_jitter", jitter, 0);
}

/* ---- resolvers ---- */

static void server(struct decode *d, const Envoy__Config__Core__V3__Address *message, struct address *server)
{
	const Envoy__Config__Core__V3__SocketAddress *socket;
	uint16_t port = 0;

	if (message->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS) {
		mesh_decode_fail_field(d, "socket_address", "is required");
		return;
	}
	socket = message->socket_address;
	mesh_decode_push(d, "socket_address");
	if (socket->port_specifier_case == ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_NAMED_PORT)
		mesh_decode_fail_field(d, "named_port", "not supported: a resolver has a number");
	else if (socket->port_specifier_case == ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
		port = mesh_decode_port(d, "port_value", socket->port_value);
	if (mesh_address_parse(server, mesh_slice_of(socket->address), port) != 0)
		mesh_decode_fail_field(d, "address", "\"%.60s\": not an IP address", socket->address);
	mesh_decode_pop(d);
}

static void servers(struct decode *d, const char *field, size_t count,
		    Envoy__Config__Core__V3__Address *const *messages, struct dns_servers *servers)
{
	if (!mesh_decode_count(d, field, count, SERVERS_MAX))
		return;
	servers->list = mesh_decode_array(d, count, sizeof(*servers->list));
	servers->count = servers->list ? count : 0;
	for (size_t i = 0; i < servers->count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		server(d, messages[i], &servers->list[i]);
		mesh_decode_pop(d);
	}
}

static void options(const Envoy__Config__Core__V3__DnsResolverOptions *message, struct dns_servers *servers)
{
	servers->use_tcp = message && message->use_tcp_for_dns_lookups;
	servers->no_search = message && message->no_default_search_domain;
}

static uint32_t at_least_one(struct decode *d, const char *field, const Google__Protobuf__UInt32Value *value)
{
	if (value && value->value == 0)
		mesh_decode_fail_field(d, field, "0: must be at least 1");
	return mesh_decode_u32(value, 0);
}

static void cares(struct decode *d, const cares_message *message, struct dns_servers *to)
{
	const Google__Protobuf__UInt64Value *timeout = message->query_timeout_seconds;

	servers(d, "resolvers", message->n_resolvers, message->resolvers, to);
	options(message->dns_resolver_options, to);
	to->fallback = message->use_resolvers_as_fallback;
	to->rotate = message->rotate_nameservers;
	to->tries = at_least_one(d, "query_tries", message->query_tries);
	if (timeout && timeout->value == 0)
		mesh_decode_fail_field(d, "query_timeout_seconds", "0: must be at least 1");
	if (timeout)
		to->timeout_s = timeout->value < UINT32_MAX ? (uint32_t)timeout->value : UINT32_MAX;
	to->edns_bytes = mesh_decode_u32(message->edns0_max_payload_size, 0);
	if (message->edns0_max_payload_size && (to->edns_bytes < EDNS_MIN || to->edns_bytes > EDNS_MAX))
		mesh_decode_fail_field(d, "edns0_max_payload_size", "%u: must be %d..%d", to->edns_bytes, EDNS_MIN,
				       EDNS_MAX);
	if (message->filter_unroutable_families)
		mesh_decode_warning(d, "filter_unroutable_families of a DNS resolver: passed over");
	if (message->qcache_max_ttl && message->qcache_max_ttl->value)
		mesh_decode_warning(d, "qcache_max_ttl of a DNS resolver: passed over, nothing is cached");
}

/* False: a resolver of a kind that is not known. */
static bool typed_resolver(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *extension,
			   struct dns_servers *to)
{
	const ProtobufCMessageDescriptor *type =
		&envoy__extensions__network__dns_resolver__cares__v3__cares_dns_resolver_config__descriptor;
	const ProtobufCMessageDescriptor *system =
		&envoy__extensions__network__dns_resolver__getaddrinfo__v3__get_addr_info_dns_resolver_config__descriptor;
	bool known = true;

	mesh_decode_push(d, "typed_dns_resolver_config");
	if (!extension->typed_config) {
		mesh_decode_fail_field(d, "typed_config", "is required");
	} else if (mesh_decode_any_is(extension->typed_config, type)) {
		const cares_message *message = mesh_decode_any_open(d, "typed_config", extension->typed_config, type);

		if (message)
			cares(d, message, to);
		mesh_decode_any_close(d);
	} else if (!mesh_decode_any_is(extension->typed_config, system)) { /* that one: the system's servers */
		struct mesh_slice name = mesh_decode_any_type(extension->typed_config);

		mesh_decode_note(d, "\"%.*s\": unknown DNS resolver", name.len < 100 ? (int)name.len : 100, name.data);
		known = false;
	}
	mesh_decode_pop(d);
	return known;
}

/* As Envoy prefers them. */
static bool resolver(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message, struct dns_servers *to)
{
	const Envoy__Config__Core__V3__DnsResolutionConfig *resolution = message->dns_resolution_config;

	if (message->typed_dns_resolver_config)
		return typed_resolver(d, message->typed_dns_resolver_config, to);
	if (resolution) {
		mesh_decode_push(d, "dns_resolution_config");
		if (!resolution->n_resolvers)
			mesh_decode_fail_field(d, "resolvers", "is required");
		servers(d, "resolvers", resolution->n_resolvers, resolution->resolvers, to);
		options(resolution->dns_resolver_options, to);
		mesh_decode_pop(d);
		return true;
	}
	servers(d, "dns_resolvers", message->n_dns_resolvers, message->dns_resolvers, to);
	to->use_tcp = message->use_tcp_for_dns_lookups;
	return true;
}

/* ---- either form ---- */

static void choose_family(struct decode *d, const enum dns_family *families, size_t count, unsigned asked,
			  struct dns_config *dns)
{
	if (asked < count)
		dns->family = families[asked];
	else
		mesh_decode_fail_field(d, "dns_lookup_family", "%u: unknown", asked);
}

static bool own_fields(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message, struct dns_config *dns)
{
	static const enum dns_family families[] = {
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__AUTO] = DNS_AUTO,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_ONLY] = DNS_V4_ONLY,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V6_ONLY] = DNS_V6_ONLY,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED] = DNS_V4_PREFERRED,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__ALL] = DNS_ALL,
	};

	choose_family(d, families, sizeof(families) / sizeof(families[0]), (unsigned)message->dns_lookup_family, dns);
	refresh(d, message->dns_refresh_rate, message->dns_jitter, dns);
	dns->respect_ttl = message->respect_dns_ttl;
	if (message->dns_failure_refresh_rate)
		failure_rate(d, message->dns_failure_refresh_rate->base_interval,
			     message->dns_failure_refresh_rate->max_interval, dns);
	return resolver(d, message, &dns->servers);
}

static bool extension_fields(struct decode *d, const dns_message *message, struct dns_config *dns)
{
	static const enum dns_family families[] = {
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__UNSPECIFIED] = DNS_AUTO,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__AUTO] = DNS_AUTO,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V4_ONLY] = DNS_V4_ONLY,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V6_ONLY] = DNS_V6_ONLY,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V4_PREFERRED] = DNS_V4_PREFERRED,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__ALL] = DNS_ALL,
	};

	choose_family(d, families, sizeof(families) / sizeof(families[0]), (unsigned)message->dns_lookup_family, dns);
	refresh(d, message->dns_refresh_rate, message->dns_jitter, dns);
	dns->respect_ttl = message->respect_dns_ttl;
	if (message->dns_failure_refresh_rate)
		failure_rate(d, message->dns_failure_refresh_rate->base_interval,
			     message->dns_failure_refresh_rate->max_interval, dns);
	return !message->typed_dns_resolver_config ||
	       typed_resolver(d, message->typed_dns_resolver_config, &dns->servers);
}

bool mesh_decode_dns_kind(struct decode *d, const Google__Protobuf__Any *any, enum cluster_kind *kind)
{
	const dns_message *message;

	if (!any || !mesh_decode_any_is(any, dns_type))
		return false;
	message = mesh_decode_any_open(d, "typed_config", any, dns_type);
	if (message)
		*kind = message->all_addresses_in_single_endpoint ? CLUSTER_LOGICAL_DNS : CLUSTER_STRICT_DNS;
	mesh_decode_any_close(d);
	return true;
}

void mesh_decode_cluster_dns(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message,
			     struct cluster_config *cluster)
{
	bool custom = message->cluster_discovery_type_case ==
		      ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE;
	const dns_message *extension = NULL;
	bool known = true;

	if (cluster->kind != CLUSTER_STRICT_DNS && cluster->kind != CLUSTER_LOGICAL_DNS)
		return;
	cluster->dns = mesh_decode_array(d, 1, sizeof(*cluster->dns));
	if (!cluster->dns)
		return;
	cluster->dns->wait_for_warm = mesh_decode_bool(message->wait_for_warm_on_init, true);
	if (custom) {
		mesh_decode_push(d, "cluster_type");
		extension = mesh_decode_any_open(d, "typed_config", message->cluster_type->typed_config, dns_type);
		if (extension)
			known = extension_fields(d, extension, cluster->dns);
		mesh_decode_any_close(d);
		mesh_decode_pop(d);
	} else {
		known = own_fields(d, message, cluster->dns);
	}
	if (!known)
		cluster->kind = CLUSTER_UNSUPPORTED;
}
