/* SPDX-License-Identifier: Apache-2.0 */
/* The present snapshot, written by the control thread, taken by workers: one atomic read when nothing changed. */
#ifndef MESH_CONFIG_PUBLISHER_H
#define MESH_CONFIG_PUBLISHER_H

#include <pthread.h>
#include <stdatomic.h>

#include "config/snapshot.h"

struct publisher {
	_Atomic uint64_t version; /* of `current`; 0: none yet */
	pthread_mutex_t lock;
	struct snapshot *current;
	/* called after each publication, on the publishing thread, without the lock; set before any publication */
	void (*changed)(void *user);
	void *user;
};

int mesh_publisher_init(struct publisher *publisher); /* SYSTEM */
void mesh_publisher_destroy(struct publisher *publisher);
void mesh_publisher_set(struct publisher *publisher, struct snapshot *snapshot); /* takes the caller's reference */
struct snapshot *mesh_publisher_get(struct publisher *publisher);                /* a new reference, NULL before the first */
/* Brings *held up to date: true when it changed. Costs one atomic read when it did not. */
bool mesh_publisher_refresh(struct publisher *publisher, struct snapshot **held);

#endif
