/* SPDX-License-Identifier: Apache-2.0 */
/* What all workers of one mesh share. Made and ended by api/mesh.c. */
#ifndef MESH_CALL_MESH_H
#define MESH_CALL_MESH_H

#include <mesh/mesh.h>

#include "base/log.h"
#include "cluster/registry.h"
#include "config/publisher.h"
#include "net/tls_context.h"

struct checker;
struct xds_client;
struct resolver_options;

/* Redirects that calls could have followed and did not, as Envoy counts them. */
struct redirect_stats {
	_Atomic uint64_t bad_location, unsafe_scheme, too_many, no_route, predicate;
};

struct mesh {
	struct mesh_mem mem;
	struct log log;
	char pod_ip[MESH_ADDRESS_TEXT_BYTES]; /* whom requests come from when they are balanced by that; "" without a control plane */
	char pod_namespace[64]; /* where short names are looked for first; "" without a control plane */
	char locality[256]; /* "region/zone/subzone"; empty: zones do not matter */
	bool peak_ewma; /* least request goes by latency too */
	struct publisher publisher;
	struct tls_store *tls;
	struct registry registry;
	struct xds_client *control;
	const struct resolver_options *resolver; /* of names outside the mesh; NULL: as the system is set up */
	unsigned warm;         /* connections kept to every endpoint of a cluster that is called, by each worker */
	struct checker *checker; /* NULL: nothing is checked actively */
	atomic_bool draining;
	struct buf greeting;   /* our own metadata as a TCP connection begins with it; empty without a control plane */
	atomic_uint faults;    /* acting on calls: a bound of the configuration may hold for them */
	atomic_uint running;   /* calls and streams of either side not over yet */
	atomic_uint inbound;   /* connections accepted and not closed */
	struct redirect_stats redirects;
	struct {
		pthread_mutex_t start;  /* held while the library workers are started: once; taken before `lock` */
		pthread_mutex_t lock;
		pthread_cond_t changed; /* a call ended or `running` fell, told only when `waiting` */
		struct link workers;    /* struct mesh_worker */
		struct link listeners;  /* struct mesh_listener */
		struct mesh_worker **library;
		unsigned library_count, library_room, library_next;
	} shared;
	atomic_uint waiting;       /* threads on shared.changed */
	pthread_key_t implicit;    /* the calling thread's own worker */
	bool implicit_made, start_made, lock_made, changed_made, publisher_made, registry_made;
};

/* Everything but the control plane: the publisher stays empty until somebody fills it. NOMEM, SYSTEM. */
int mesh_setup(const struct mesh_mem *mem, const struct log *log, unsigned library_workers, struct mesh **mesh);
void mesh_teardown(struct mesh *mesh); /* listeners, workers, then the rest; NULL allowed */
/* Stops listeners and waits for calls to end. TIMEOUT when some were left. */
int mesh_drain_all(struct mesh *mesh, uint32_t grace_ms);
/* Wakes whoever waits for a call or for the drain; costs one atomic read when nobody does. */
void mesh_notify(struct mesh *mesh);

#endif
