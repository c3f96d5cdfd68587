/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a connection begins with: nghttp2's options, our settings and windows, from configuration or Envoy's
 * defaults. Refuses to know what happens on it.
 */
#include "http/mux_http2.h"

enum { STREAMS_MAX = 1024, STREAM_WINDOW = 256 * 1024, CONNECTION_WINDOW = 16 * 1024 * 1024 };

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value ? value : fallback;
}

static int new_session(struct http2 *http2)
{
	const struct http2_config *config = &http2->base.limits.http2;
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int rc = MESH_ERROR_NOMEM, rv;

	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		goto done;
	mesh_mux_http2_set_read_callbacks(callbacks);
	mesh_mux_http2_set_write_callbacks(callbacks);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option, 1); /* trimmed, as in HTTP/1.1 */
	nghttp2_option_set_max_reserved_remote_streams(option, 0);
	nghttp2_option_set_max_outbound_ack(option, or_default(config->outbound_control_frames_max, 1000) + 100);
	nghttp2_option_set_stream_reset_rate_limit(option, or_default(config->reset_burst, 200),
						   or_default(config->reset_rate, 20));
	nghttp2_option_set_max_continuations(option, mesh_mux_http2_continuations_max(http2) + 1);
	nghttp2_option_set_max_send_header_block_length(option, SIZE_MAX / 4);
	if (config->hpack_table_set)
		nghttp2_option_set_max_deflate_dynamic_table_size(option, config->hpack_table_bytes);
	rv = http2->base.server
		     ? nghttp2_session_server_new3(&http2->session, callbacks, http2, option, &http2->mem.table)
		     : nghttp2_session_client_new3(&http2->session, callbacks, http2, option, &http2->mem.table);
	rc = rv ? MESH_ERROR_NOMEM : 0;
done:
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return rc;
}

static int submit_settings(struct http2 *http2)
{
	const struct http2_config *config = &http2->base.limits.http2;
	bool server = http2->base.server;
	uint32_t window = or_default(config->connection_window_bytes, CONNECTION_WINDOW);
	nghttp2_settings_entry entries[6];
	size_t count = 0;

	if (server) {
		entries[count++] =
			(nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, http2->streams_max};
		entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
		if (config->allow_connect)
			entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
	} else {
		entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
	}
	entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
						    or_default(config->stream_window_bytes, STREAM_WINDOW)};
	entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
						    (uint32_t)http2->base.limits.head_bytes_max};
	if (config->hpack_table_set)
		entries[count++] =
			(nghttp2_settings_entry){NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, config->hpack_table_bytes};
	if (nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, entries, count))
		return MESH_ERROR_NOMEM;
	window = window > INT32_MAX ? INT32_MAX : window;
	return nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)window)
		       ? MESH_ERROR_NOMEM
		       : 0;
}

int mesh_mux_http2_open_session(struct http2 *http2)
{
	int rc;

	http2->streams_max = or_default(http2->base.limits.http2.streams_max, STREAMS_MAX);
	rc = new_session(http2);
	return rc ? rc : submit_settings(http2);
}
