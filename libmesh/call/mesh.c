/* SPDX-License-Identifier: Apache-2.0 */
/* Wakes threads that wait for other threads' calls. */
#include "call/mesh.h"

void mesh_notify(struct mesh *mesh)
{
	if (!atomic_load_explicit(&mesh->waiting, memory_order_seq_cst))
		return;
	pthread_mutex_lock(&mesh->shared.lock);
	pthread_cond_broadcast(&mesh->shared.changed);
	pthread_mutex_unlock(&mesh->shared.lock);
}
