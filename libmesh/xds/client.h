/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control side of a mesh: one thread that holds the stream to the control plane and the certificate, and publishes
 * snapshots. It needs nobody to drive it and never holds up a worker.
 */
#ifndef MESH_XDS_CLIENT_H
#define MESH_XDS_CLIENT_H

#include "base/buf.h"
#include "base/log.h"
#include "config/publisher.h"
#include "control/control_stream.h"
#include "xds/bootstrap.h"
#include "xds/resource_cache.h"

struct xds_client;

struct xds_client_options {
	const struct mesh_mem *mem;       /* must outlive the client, as log and publisher */
	const struct log *log;
	struct publisher *publisher;
	struct bootstrap *bootstrap;      /* the client's from the call on, whatever comes of it */
	const struct control_ops *control; /* NULL: gRPC */
	const struct xds_limits *limits;  /* NULL: defaults */
	uint32_t backoff_base_ms;         /* 0: 500 ms; also for certificate requests */
	uint32_t backoff_max_ms;          /* 0: 30 s */
	/*
	 * How long what is named but not sent holds up the rest; 0: 15 s. Before the first snapshot that is anything, later
	 * only a route configuration or a secret that a listener names.
	 */
	uint32_t settle_ms;
};

/* Starts the thread. NOMEM, SYSTEM. */
int mesh_xds_client_start(const struct xds_client_options *options, struct xds_client **client);
/* Ends the streams, joins the thread, frees. Any thread but its own; NULL allowed. */
void mesh_xds_client_stop(struct xds_client *client);

/*
 * 0 once configuration and certificate are in force, and ever after. timeout_ms < 0: waits for ever. TIMEOUT with words on
 * what is missing, or the error of the last attempt (CONTROL_PLANE, CONTROL_AUTH, CERTIFICATE, ..) with its words. `why`
 * may be NULL. Any thread.
 */
int mesh_xds_client_wait(struct xds_client *client, int64_t timeout_ms, struct why *why);
/* The same without waiting; also words, with 0, when it is ready but cut off from the control plane. Any thread. */
int mesh_xds_client_status(struct xds_client *client, struct why *why);

/* "control_plane.<name>: value" lines. Any thread. NOMEM, TOO_LARGE. */
int mesh_xds_client_stats(struct xds_client *client, struct buf *out);
/* Envoy's /config_dump. Waits for the control thread to write it. Any thread but that one. NOMEM, TOO_LARGE. */
int mesh_xds_client_dump(struct xds_client *client, struct buf *out);

#endif
