/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of HTTP/2 connections, which a connection manager and a cluster have in common. Decides ranges, as Envoy has
 * them; what is absent stays 0, the default. Refuses to know which side they are for.
 */
#include "xds/decode.h"

#include "envoy/config/core/v3/protocol.pb-c.h"
#include "envoy/type/v3/percent.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

static const uint32_t window_min = 65535, signed_max = INT32_MAX;
static const int64_t ms_ns = 1000000;

typedef Envoy__Config__Core__V3__Http2ProtocolOptions http2_message;

static uint32_t within(struct decode *d, const char *field, const Google__Protobuf__UInt32Value *value, uint32_t min,
		       uint32_t max)
{
	if (value && (value->value < min || value->value > max))
		mesh_decode_fail_field(d, field, "%u: must be %u..%u", value->value, min, max);
	return mesh_decode_u32(value, 0);
}

/* Given as 0 it is as small as it can be said: 0 itself is the default. */
static uint32_t smallest_1(const Google__Protobuf__UInt32Value *value)
{
	return value && !value->value ? 1 : mesh_decode_u32(value, 0);
}

static uint32_t cut(const Google__Protobuf__UInt64Value *value)
{
	if (!value)
		return 0;
	return value->value == 0 ? 1 : value->value > UINT32_MAX ? UINT32_MAX : (uint32_t)value->value;
}

static int64_t at_least_1ms(struct decode *d, const char *field, const struct Google__Protobuf__Duration *duration)
{
	int64_t ns = mesh_decode_duration(d, field, duration, 0);

	if (duration && ns < ms_ns)
		mesh_decode_fail_field(d, field, "must be 1 ms or more");
	return ns;
}

static void keepalive(struct decode *d, const Envoy__Config__Core__V3__KeepaliveSettings *message,
		      struct http2_config *http2)
{
	if (!message)
		return;
	mesh_decode_push(d, "connection_keepalive");
	http2->ping_interval_ns = at_least_1ms(d, "interval", message->interval);
	http2->ping_timeout_ns = at_least_1ms(d, "timeout", message->timeout);
	http2->ping_idle_ns = at_least_1ms(d, "connection_idle_interval", message->connection_idle_interval);
	if (!message->timeout)
		mesh_decode_fail_field(d, "timeout", "is required");
	if (message->interval_jitter)
		mesh_decode_share(d, "interval_jitter", message->interval_jitter->value);
	mesh_decode_pop(d);
}

static void floods(struct decode *d, const http2_message *message, struct http2_config *http2)
{
	http2->outbound_frames_max = within(d, "max_outbound_frames", message->max_outbound_frames, 1, UINT32_MAX);
	http2->outbound_control_frames_max =
		within(d, "max_outbound_control_frames", message->max_outbound_control_frames, 1, UINT32_MAX);
	http2->empty_frames_max = smallest_1(message->max_consecutive_inbound_frames_with_empty_payload);
	http2->priority_frames_max = smallest_1(message->max_inbound_priority_frames_per_stream);
	http2->window_updates_max =
		within(d, "max_inbound_window_update_frames_per_data_frame_sent",
		       message->max_inbound_window_update_frames_per_data_frame_sent, 1, UINT32_MAX);
	http2->reset_burst = cut(message->stream_reset_burst);
	http2->reset_rate = cut(message->stream_reset_rate);
}

void mesh_decode_http2(struct decode *d, const char *field, const http2_message *message, struct http2_config *http2)
{
	memset(http2, 0, sizeof(*http2));
	if (!message)
		return;
	mesh_decode_push(d, field);
	http2->streams_max = within(d, "max_concurrent_streams", message->max_concurrent_streams, 1, signed_max);
	http2->stream_window_bytes =
		within(d, "initial_stream_window_size", message->initial_stream_window_size, window_min, signed_max);
	http2->connection_window_bytes = within(d, "initial_connection_window_size",
						message->initial_connection_window_size, window_min, signed_max);
	http2->hpack_table_set = message->hpack_table_size != NULL;
	http2->hpack_table_bytes = mesh_decode_u32(message->hpack_table_size, 0);
	http2->allow_connect = message->allow_connect;
	http2->invalid_message_resets_stream = mesh_decode_bool(message->override_stream_error_on_invalid_http_message,
								message->stream_error_on_invalid_http_messaging);
	within(d, "max_header_field_size_kb", message->max_header_field_size_kb, 64, 256);
	floods(d, message, http2);
	keepalive(d, message->connection_keepalive, http2);
	if (message->allow_metadata)
		mesh_decode_warning(d, "%s.allow_metadata: METADATA frames are ignored", field);
	if (message->n_custom_settings_parameters)
		mesh_decode_warning(d, "%s.custom_settings_parameters: passed over", field);
	mesh_decode_pop(d);
}
