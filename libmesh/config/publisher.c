/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands the newest snapshot from the control thread to workers. The version is the only thing read on the warm path; the
 * lock is held for taking a reference, never while one is dropped.
 */
#include "config/publisher.h"

#include <mesh/error.h>

int mesh_publisher_init(struct publisher *publisher)
{
	*publisher = (struct publisher){0};
	atomic_init(&publisher->version, 0);
	return pthread_mutex_init(&publisher->lock, NULL) ? MESH_ERROR_SYSTEM : 0;
}

void mesh_publisher_destroy(struct publisher *publisher)
{
	mesh_snapshot_release(publisher->current);
	publisher->current = NULL;
	pthread_mutex_destroy(&publisher->lock);
}

void mesh_publisher_set(struct publisher *publisher, struct snapshot *snapshot)
{
	struct snapshot *before;

	pthread_mutex_lock(&publisher->lock);
	before = publisher->current;
	publisher->current = snapshot;
	atomic_store_explicit(&publisher->version, snapshot->version, memory_order_release);
	pthread_mutex_unlock(&publisher->lock);
	mesh_snapshot_release(before);
	if (publisher->changed)
		publisher->changed(publisher->user);
}

struct snapshot *mesh_publisher_get(struct publisher *publisher)
{
	struct snapshot *snapshot;

	pthread_mutex_lock(&publisher->lock);
	snapshot = mesh_snapshot_retain(publisher->current);
	pthread_mutex_unlock(&publisher->lock);
	return snapshot;
}

bool mesh_publisher_refresh(struct publisher *publisher, struct snapshot **held)
{
	uint64_t version = atomic_load_explicit(&publisher->version, memory_order_acquire);
	struct snapshot *before = *held;

	if (version == (before ? before->version : 0))
		return false;
	*held = mesh_publisher_get(publisher);
	mesh_snapshot_release(before);
	return true;
}
