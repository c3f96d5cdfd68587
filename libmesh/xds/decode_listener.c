/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: the address they stand for and their filter chains. What is not understood in front of the chains closes all
 * of them.
 */
#include "xds/decode.h"

#include "base/address.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/listener/original_src/v3/original_src.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Listener__V3__Listener listener_message;

static void socket_address(struct decode *d, const Envoy__Config__Core__V3__SocketAddress *message,
			   struct listener_config *listener)
{
	struct address parsed;

	mesh_decode_push(d, "socket_address");
	listener->address = mesh_decode_required(d, "address", message->address);
	if (listener->address.data && mesh_address_parse(&parsed, listener->address, 0) < 0)
		mesh_decode_fail_field(d, "address", "\"%.60s\": not an IP address", message->address);
	if (message->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP)
		mesh_decode_fail_field(d, "protocol", "%d: must be TCP", (int)message->protocol);
	if (message->port_specifier_case == ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
		listener->port = mesh_decode_port(d, "port_value", message->port_value);
	else
		mesh_decode_fail_field(d, "port_value", "is required");
	mesh_decode_pop(d);
}

static void listener_address(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	const Envoy__Config__Core__V3__Address *address = message->address;

	mesh_decode_push(d, "address");
	switch (address ? address->address_case : ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS__NOT_SET) {
	case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS:
		socket_address(d, address->socket_address, listener);
		break;
	case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS__NOT_SET:
		if (!message->api_listener)
			mesh_decode_fail(d, "is required");
		break;
	default: /* a pipe, or a listener inside the proxy: no connection of ours takes it */
		break;
	}
	mesh_decode_pop(d);
}

/*
 * original_src leaves the accepted connection as it is: what takes the peer's address (and under TPROXY, where istiod sends
 * it, a routing mark) is the proxy's own connection to the application. Here there is none: the application is called in
 * this process and sees the peer itself. So all its settings that are known come to nothing.
 */
static bool original_src(struct decode *d, const Google__Protobuf__Any *any)
{
	Envoy__Extensions__Filters__Listener__OriginalSrc__V3__OriginalSrc *message;
	bool known;

	message = mesh_decode_any_open(d, "typed_config", any,
				       &envoy__extensions__filters__listener__original_src__v3__original_src__descriptor);
	known = message && message->base.n_unknown_fields == 0;
	mesh_decode_any_close(d);
	return known;
}

/*
 * False: not understood. That is so of proxy_protocol, though it is known by name: Envoy takes the peer's address, which
 * rules go by, from a header ahead of the first byte, and refuses who sends none. A connection taken without it would be
 * judged by the load balancer's address.
 */
static bool listener_filter(struct decode *d, const Google__Protobuf__Any *any, struct listener_config *listener)
{
	struct mesh_slice type = mesh_decode_any_type(any);

	if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")))
		listener->tls_inspector = true;
	else if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")))
		listener->http_inspector = true;
	else if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")))
		listener->use_original_dst = true;
	else if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.listener.original_src.v3.OriginalSrc")))
		return original_src(d, any);
	else
		return false;
	return true;
}

/* Given: all chains are to be closed. */
static struct mesh_slice listener_filters(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	struct mesh_slice reason = {NULL, 0};

	if (!mesh_decode_count(d, "listener_filters", message->n_listener_filters, MESH_DECODE_FILTERS))
		return reason;
	for (size_t i = 0; i < message->n_listener_filters && d->rc == 0; i++) {
		const Envoy__Config__Listener__V3__ListenerFilter *filter = message->listener_filters[i];
		bool typed =
			filter->config_type_case == ENVOY__CONFIG__LISTENER__V3__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG;
		const Google__Protobuf__Any *any = typed ? filter->typed_config : NULL;
		struct mesh_slice type = mesh_decode_any_type(any);

		mesh_decode_push_item(d, "listener_filters", i);
		mesh_decode_required(d, "name", filter->name);
		if (!listener_filter(d, any, listener))
			reason = mesh_decode_note(d, "\"%.60s\" (%.*s): unknown listener filter", filter->name,
						  (int)(type.len < 100 ? type.len : 100), type.data);
		mesh_decode_pop(d);
	}
	return reason;
}

static void chains(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	size_t count = message->n_filter_chains;

	if (!mesh_decode_count(d, "filter_chains", count, MESH_DECODE_CHAINS))
		return;
	listener->chains = mesh_decode_array(d, count, sizeof(*listener->chains));
	listener->chain_count = listener->chains ? count : 0;
	for (size_t i = 0; i < listener->chain_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "filter_chains", i);
		mesh_decode_chain(d, message->filter_chains[i], &listener->chains[i]);
		mesh_decode_pop(d);
	}
	mesh_decode_chains_apart(d, listener->chains, listener->chain_count);
	if (!message->default_filter_chain)
		return;
	listener->default_chain = mesh_decode_array(d, 1, sizeof(*listener->default_chain));
	mesh_decode_push(d, "default_filter_chain");
	if (listener->default_chain)
		mesh_decode_chain(d, message->default_filter_chain, listener->default_chain);
	mesh_decode_pop(d);
}

/* What GENERATOR=grpc gives: a connection manager without a socket. */
static void api_listener(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	listener->chains = mesh_decode_array(d, 1, sizeof(*listener->chains));
	listener->chain_count = listener->chains ? 1 : 0;
	mesh_decode_push(d, "api_listener");
	if (listener->chains)
		mesh_decode_chain_http(d, message->api_listener->api_listener, &listener->chains[0]);
	mesh_decode_pop(d);
}

static void close_all(struct listener_config *listener, struct mesh_slice reason)
{
	for (size_t i = 0; i < listener->chain_count; i++)
		mesh_decode_chain_close(&listener->chains[i], reason);
	if (listener->default_chain)
		mesh_decode_chain_close(listener->default_chain, reason);
}

static void direction(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	switch ((int)message->traffic_direction) {
	case ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__UNSPECIFIED:
		break;
	case ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND:
		listener->inbound = true;
		break;
	case ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__OUTBOUND:
		listener->outbound = true;
		break;
	default:
		mesh_decode_fail_field(d, "traffic_direction", "%d: unknown", (int)message->traffic_direction);
	}
}

static void listener_fields(struct decode *d, const listener_message *message, struct listener_config *listener)
{
	bool internal = message->address &&
			message->address->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_ENVOY_INTERNAL_ADDRESS;
	struct mesh_slice reason;

	listener_address(d, message, listener);
	direction(d, message, listener);
	listener->use_original_dst = mesh_decode_bool(message->use_original_dst, false);
	listener->filters_timeout_ns = mesh_decode_duration(d, "listener_filters_timeout", message->listener_filters_timeout,
							    15 * MESH_DECODE_NS);
	listener->continue_on_timeout = message->continue_on_listener_filters_timeout;
	reason = listener_filters(d, message, listener);
	if (message->api_listener)
		api_listener(d, message, listener);
	else if (!internal)
		chains(d, message, listener);
	if (message->fcds_config)
		reason = mesh_decode_note(d, "fcds_config: not supported");
	if (message->base.n_unknown_fields) /* one of them chooses the filter chain */
		reason = mesh_decode_note(d, "filter_chain_matcher or another unknown field: not supported");
	if (reason.data)
		close_all(listener, reason);
	if (message->n_access_log)
		mesh_decode_warning(d, "access_log of a listener: passed over");
}

struct listener_config *mesh_decode_listener(struct decode *d, struct mesh_slice bytes)
{
	struct listener_config *listener = NULL;
	listener_message *message;

	mesh_decode_begin(d);
	message = mesh_decode_unpack(d, bytes, &envoy__config__listener__v3__listener__descriptor);
	if (message && message->name[0] == '\0')
		mesh_decode_fail_field(d, "name", "must not be empty");
	if (message && d->rc == 0) {
		listener = mesh_config_object_new(d->mem, sizeof(*listener), mesh_slice_of(message->name));
		if (!listener)
			mesh_decode_nomem(d);
	}
	if (listener) {
		d->object = &listener->object;
		listener_fields(d, message, listener);
	}
	return mesh_decode_end(d, listener);
}
