/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoint sets: addresses with weights, health and labels, by locality and priority. Addresses that cannot be dialled
 * stay in the set, marked, so that weights and counts are as they were meant.
 */
#include "xds/decode.h"

#include "base/map.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/health_check.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define PRIORITY_MAX 128 /* as Envoy bounds it */

typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;
typedef Envoy__Config__Endpoint__V3__LocalityLbEndpoints lb_locality;

/* The text goes by it, so it is in lower case there; as a host name it goes out as it was written. */
static void host_name(struct decode *d, struct endpoint_config *endpoint, const char *name)
{
	size_t len = strlen(name);
	struct mesh_slice lower;

	if (len == 0 || len > 255) {
		mesh_decode_fail_field(d, "address", len ? "longer than 255 bytes" : "must not be empty");
		return;
	}
	lower = mesh_decode_lower(d, name);
	endpoint->text = mesh_arena_printf(&d->object->arena, "%.*s:%u", (int)lower.len, lower.data, endpoint->port);
	if (!endpoint->text.data)
		mesh_decode_nomem(d);
}

static void socket_address(struct decode *d, const Envoy__Config__Core__V3__SocketAddress *socket,
			   struct endpoint_config *endpoint, bool names)
{
	char text[MESH_ADDRESS_TEXT_BYTES];

	mesh_decode_push(d, "socket_address");
	if (names && socket->resolver_name[0])
		mesh_decode_fail_field(d, "resolver_name", "\"%.60s\": must not be set in a DNS cluster", socket->resolver_name);
	if (names)
		endpoint->hostname = mesh_decode_text(d, socket->address);
	endpoint->unsupported = socket->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP;
	if (socket->port_specifier_case != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
		mesh_decode_fail_field(d, "port_value", "is required");
	else
		endpoint->port = mesh_decode_port(d, "port_value", socket->port_value);
	if (d->rc == 0 && mesh_address_parse(&endpoint->address, mesh_slice_of(socket->address), endpoint->port) == 0)
		endpoint->text = mesh_decode_bytes(d, mesh_slice_make(text, mesh_address_text(&endpoint->address, text)));
	else if (d->rc == 0 && names)
		host_name(d, endpoint, socket->address);
	else
		mesh_decode_fail_field(d, "address", "\"%.60s\": not an IP address", socket->address);
	mesh_decode_pop(d);
}

static void address(struct decode *d, const Envoy__Config__Core__V3__Address *message, struct endpoint_config *endpoint,
		    bool names)
{
	mesh_decode_push(d, "address");
	switch (message ? message->address_case : ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS__NOT_SET) {
	case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS:
		socket_address(d, message->socket_address, endpoint, names);
		break;
	case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE:
		endpoint->unsupported = true;
		endpoint->text = mesh_decode_required(d, "pipe.path", message->pipe->path);
		break;
	case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_ENVOY_INTERNAL_ADDRESS:
		endpoint->unsupported = true;
		endpoint->text = mesh_arena_printf(&d->object->arena, "envoy://%s/%s",
						   message->envoy_internal_address->server_listener_name
							   ? message->envoy_internal_address->server_listener_name
							   : "",
						   message->envoy_internal_address->endpoint_id);
		if (!endpoint->text.data)
			mesh_decode_nomem(d);
		break;
	default:
		mesh_decode_fail(d, "is required");
	}
	endpoint->hash = mesh_slice_hash(endpoint->text);
	mesh_decode_pop(d);
}

static enum endpoint_health health(struct decode *d, int status)
{
	switch (status) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNKNOWN:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__HEALTHY:
		return ENDPOINT_HEALTHY;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
		return ENDPOINT_UNHEALTHY;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
		return ENDPOINT_DRAINING;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED:
		return ENDPOINT_DEGRADED;
	default:
		mesh_decode_fail_field(d, "health_status", "%d: unknown", status);
		return ENDPOINT_UNHEALTHY;
	}
}

static uint32_t weight(struct decode *d, const Google__Protobuf__UInt32Value *value, uint32_t absent)
{
	if (value && value->value == 0)
		mesh_decode_fail_field(d, "load_balancing_weight", "0: must be greater than 0");
	return mesh_decode_u32(value, absent);
}

static void metadata(struct decode *d, const Envoy__Config__Core__V3__Metadata *message, struct endpoint_config *endpoint)
{
	const Google__Protobuf__Struct *istio = mesh_decode_metadata(message, "istio");

	mesh_decode_push_key(d, "metadata.filter_metadata", "envoy.transport_socket_match");
	endpoint->transport_labels = mesh_decode_labels(d, mesh_decode_metadata(message, "envoy.transport_socket_match"),
							&endpoint->transport_label_count);
	mesh_decode_pop(d);
	mesh_decode_push_key(d, "metadata.filter_metadata", "envoy.lb");
	endpoint->lb_labels = mesh_decode_lb_labels(d, mesh_decode_metadata(message, "envoy.lb"), &endpoint->lb_label_count);
	mesh_decode_pop(d);
	endpoint->hash_key = mesh_decode_text(d, mesh_decode_value_text(mesh_decode_struct_get(
							 mesh_decode_metadata(message, "envoy.lb"), "hash_key")));
	endpoint->workload = mesh_decode_text(d, mesh_decode_value_text(mesh_decode_struct_get(istio, "workload")));
}

static void check(struct decode *d, const Envoy__Config__Endpoint__V3__Endpoint__HealthCheckConfig *message,
		  struct endpoint_config *endpoint)
{
	struct endpoint_config other = {0};

	if (!message)
		return;
	mesh_decode_push(d, "health_check_config");
	endpoint->check = mesh_decode_array(d, 1, sizeof(*endpoint->check));
	if (message->port_value)
		other.port = mesh_decode_port(d, "port_value", message->port_value);
	if (message->address)
		address(d, message->address, &other, false);
	if (endpoint->check) {
		endpoint->check->off = message->disable_active_health_check;
		endpoint->check->address = other.address;
		endpoint->check->port = message->port_value ? (uint16_t)message->port_value : other.port;
		endpoint->check->hostname = mesh_decode_text(d, message->hostname);
	}
	mesh_decode_pop(d);
}

static void endpoint(struct decode *d, const lb_endpoint *message, struct endpoint_config *endpoint, bool names)
{
	const Envoy__Config__Endpoint__V3__Endpoint *inner = message->endpoint;

	if (message->host_identifier_case != ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT) {
		mesh_decode_fail_field(d, "endpoint", "is required");
		return;
	}
	mesh_decode_push(d, "endpoint");
	address(d, inner->address, endpoint, names);
	if (inner->hostname[0])
		endpoint->hostname = mesh_decode_text(d, inner->hostname);
	check(d, inner->health_check_config, endpoint);
	mesh_decode_pop(d);
	endpoint->health = health(d, (int)message->health_status);
	endpoint->weight = weight(d, message->load_balancing_weight, 1);
	metadata(d, message->metadata, endpoint);
}

static void locality(struct decode *d, const lb_locality *message, struct locality *locality, bool names)
{
	size_t count = message->n_lb_endpoints;
	lb_endpoint **endpoints = message->lb_endpoints;
	const char *field = "lb_endpoints";
	uint64_t sum = 0;

	if (message->lb_config_case == ENVOY__CONFIG__ENDPOINT__V3__LOCALITY_LB_ENDPOINTS__LB_CONFIG_LOAD_BALANCER_ENDPOINTS) {
		count = message->load_balancer_endpoints->n_lb_endpoints;
		endpoints = message->load_balancer_endpoints->lb_endpoints;
		field = "load_balancer_endpoints.lb_endpoints";
	} else if (message->lb_config_case != ENVOY__CONFIG__ENDPOINT__V3__LOCALITY_LB_ENDPOINTS__LB_CONFIG__NOT_SET) {
		mesh_decode_fail_field(d, "leds_cluster_locality_config", "not supported");
	}
	if (message->locality) {
		locality->region = mesh_decode_text(d, message->locality->region);
		locality->zone = mesh_decode_text(d, message->locality->zone);
		locality->subzone = mesh_decode_text(d, message->locality->sub_zone);
	}
	if (message->priority > PRIORITY_MAX)
		mesh_decode_fail_field(d, "priority", "%u: must be 0..%d", message->priority, PRIORITY_MAX);
	locality->priority = message->priority;
	locality->weight = weight(d, message->load_balancing_weight, 0);
	locality->endpoints = mesh_decode_array(d, count, sizeof(*locality->endpoints));
	locality->count = locality->endpoints ? count : 0;
	for (size_t i = 0; i < locality->count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		endpoint(d, endpoints[i], &locality->endpoints[i], names);
		mesh_decode_pop(d);
		sum += locality->endpoints[i].weight;
	}
	if (sum > UINT32_MAX)
		mesh_decode_fail_field(d, field, "the sum of weights exceeds %u", UINT32_MAX);
}

/* As Envoy: of several with the same address the first counts, wherever it is. */
static void drop_repeated(struct decode *d, struct endpoint_set *set)
{
	struct map seen;

	mesh_map_init(&seen, d->mem);
	set->endpoint_count = 0;
	for (size_t l = 0; l < set->count; l++) {
		struct locality *locality = &set->localities[l];
		size_t kept = 0;

		for (size_t i = 0; i < locality->count && d->rc == 0; i++) {
			struct endpoint_config *one = &locality->endpoints[i];

			if (mesh_map_get(&seen, one->text))
				continue;
			if (mesh_map_put(&seen, one->text, set, NULL))
				mesh_decode_nomem(d);
			locality->endpoints[kept++] = *one;
		}
		locality->count = kept;
		set->endpoint_count += (uint32_t)kept;
	}
	mesh_map_free(&seen);
}

/* By priority; those of one priority stay in the order they came in. */
static void sort_localities(struct decode *d, struct endpoint_set *set)
{
	size_t places[PRIORITY_MAX + 2] = {0};
	struct locality *sorted = mesh_decode_array(d, set->count, sizeof(*sorted));

	if (!sorted)
		return;
	for (size_t i = 0; i < set->count; i++)
		places[set->localities[i].priority + 1]++;
	for (size_t i = 1; i < PRIORITY_MAX + 2; i++)
		places[i] += places[i - 1];
	for (size_t i = 0; i < set->count; i++)
		sorted[places[set->localities[i].priority]++] = set->localities[i];
	set->localities = sorted;
}

static void check_sums(struct decode *d, const struct endpoint_set *set)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (i > 0 && set->localities[i].priority != set->localities[i - 1].priority)
			sum = 0;
		sum += set->localities[i].weight;
		if (sum > UINT32_MAX)
			mesh_decode_fail_field(d, "endpoints", "the sum of locality weights at priority %u exceeds %u",
					       set->localities[i].priority, UINT32_MAX);
	}
}

static void policy(struct decode *d, const Envoy__Config__Endpoint__V3__ClusterLoadAssignment__Policy *message,
		   struct endpoint_set *set)
{
	set->overprovisioning = 140;
	if (!message)
		return;
	set->overprovisioning = mesh_decode_u32(message->overprovisioning_factor, 140);
	if (set->overprovisioning == 0)
		mesh_decode_fail_field(d, "policy.overprovisioning_factor", "0: must be greater than 0");
	set->weighted_priority_health = message->weighted_priority_health;
	if (message->n_drop_overloads)
		mesh_decode_warning(d, "policy.drop_overloads of an endpoint set: passed over");
}

/* `once`: each address. */
static struct endpoint_set *assignment(struct decode *d, const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *message,
				       struct mesh_slice name, bool names, bool once)
{
	struct endpoint_set *set = mesh_config_object_new(d->mem, sizeof(*set), name);
	struct config_object *outer = d->object;
	size_t count = message ? message->n_endpoints : 0;

	if (!set) {
		mesh_decode_nomem(d);
		return NULL;
	}
	d->object = &set->object;
	policy(d, message ? message->policy : NULL, set);
	set->localities = mesh_decode_array(d, count, sizeof(*set->localities));
	set->count = set->localities ? count : 0;
	for (size_t i = 0; i < set->count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "endpoints", i);
		locality(d, message->endpoints[i], &set->localities[i], names);
		mesh_decode_pop(d);
		set->endpoint_count += (uint32_t)set->localities[i].count;
		if (set->localities[i].priority >= set->priority_count)
			set->priority_count = set->localities[i].priority + 1;
	}
	if (d->rc == 0 && once)
		drop_repeated(d, set);
	if (d->rc == 0 && set->priority_count > 1)
		sort_localities(d, set);
	check_sums(d, set);
	d->object = outer;
	if (d->rc == 0)
		return set;
	mesh_config_object_release(set);
	return NULL;
}

struct endpoint_set *mesh_decode_assignment(struct decode *d,
					    const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *message,
					    struct mesh_slice name, bool names)
{
	return assignment(d, message, name, names, false);
}

struct endpoint_set *mesh_decode_endpoints(struct decode *d, struct mesh_slice bytes)
{
	const ProtobufCMessageDescriptor *type = &envoy__config__endpoint__v3__cluster_load_assignment__descriptor;
	Envoy__Config__Endpoint__V3__ClusterLoadAssignment *message;
	struct endpoint_set *set = NULL;

	mesh_decode_begin(d);
	message = mesh_decode_unpack(d, bytes, type);
	if (message && message->cluster_name[0] == '\0')
		mesh_decode_fail_field(d, "cluster_name", "must not be empty");
	if (message && d->rc == 0)
		set = assignment(d, message, mesh_slice_of(message->cluster_name), false, true);
	return mesh_decode_end(d, set);
}
