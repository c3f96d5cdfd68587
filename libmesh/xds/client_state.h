/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread from inside, between client.c, which is it, and client_told.c, by which others see it.
 */
#ifndef MESH_XDS_CLIENT_STATE_H
#define MESH_XDS_CLIENT_STATE_H

#include <pthread.h>

#include "xds/client.h"

#include "control/backoff.h"
#include "identity/cert_store.h"
#include "xds/ads.h"
#include "xds/file_secrets.h"
#include "xds/dns.h"

struct xds_client {
	const struct mesh_mem *mem;
	const struct log *log;
	struct publisher *publisher;
	struct bootstrap *bootstrap;
	struct loop *loop;
	pthread_t thread;
	bool threaded;
	bool stopping;
	struct loop_mail stop;

	struct control *control;
	struct control_peer ads_peer, ca_peer;
	struct control_handler handler; /* of the discovery stream */
	struct control_stream *stream;
	bool answered;                  /* on this stream */
	struct backoff backoff;
	struct loop_timer connect;
	struct cert_store *certs;
	bool certified;

	struct buf node;
	struct ads ads;
	struct resource_cache *cache;
	struct dns *dns;
	struct file_secrets files;
	struct loop_task publish;
	struct loop_timer settle;       /* waits for what keeps a snapshot back */
	uint64_t settle_ns;
	struct loop_timer warm;         /* waits for endpoints of new clusters, and first answers to their names */
	bool warmed;                    /* waited long enough: until all is there again, nothing waits for them */
	struct loop_timer memory;       /* waits for memory to publish */
	uint64_t version;               /* of the last snapshot */

	atomic_bool connected;
	_Atomic int64_t expires_ms;     /* of the certificate */
	struct counter connects, disconnects, snapshots, certificates, certificate_failures;

	struct {
		pthread_mutex_t lock;
		pthread_cond_t changed;
		bool ready, whole;      /* whole: configuration alone */
		int control_error, certificate_error; /* of the last attempt; 0: it went well or is under way */
		struct why control_why, certificate_why;
	} shared;
	bool locked, signalled;         /* lock and condition were made */
};

/* client_told.c: what others see from now on. `error` 0: it went well or is under way. */
void mesh_xds_client_tell_control(struct xds_client *client, int error, const char *words);
void mesh_xds_client_tell_certificate(struct xds_client *client, int error, const char *words);
void mesh_xds_client_tell_state(struct xds_client *client, bool whole, bool ready);

#endif
