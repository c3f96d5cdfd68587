/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds and settings of an HTTP/2 connection, of a listener or a cluster. Zero is the default everywhere. */
#ifndef MESH_CONFIG_HTTP2_H
#define MESH_CONFIG_HTTP2_H

#include <stdbool.h>
#include <stdint.h>

struct http2_config {
	uint32_t streams_max;             /* exchanges at once: announced by a server, kept by a client; default 1024 */
	uint32_t stream_window_bytes;     /* received and not taken by the application; default 256 KiB */
	uint32_t connection_window_bytes; /* the same of all streams; default 16 MiB */
	bool hpack_table_set;
	uint32_t hpack_table_bytes;       /* where set; default 4096 */
	bool allow_connect;               /* server: extended CONNECT is announced */
	bool invalid_message_resets_stream; /* a malformed message ends its stream; else, as Envoy's default, the connection */
	/* against floods, all per connection */
	uint32_t outbound_frames_max;         /* queued; default 10000 */
	uint32_t outbound_control_frames_max; /* of them PING, SETTINGS, RST_STREAM answers; default 1000 */
	uint32_t empty_frames_max;            /* consecutive frames without payload and END_STREAM; default 1 */
	uint32_t priority_frames_max;         /* per stream opened; default 100 */
	uint32_t window_updates_max;          /* per DATA frame sent; default 10 */
	uint32_t reset_burst;                 /* RST_STREAM received at once; default 200 */
	uint32_t reset_rate;                  /* and per second beyond it; default 20 */
	/* keepalive; the owner's part. 0: none */
	int64_t ping_interval_ns;
	int64_t ping_timeout_ns;
	int64_t ping_idle_ns; /* also before the first request on a connection that was idle that long */
};

#endif
