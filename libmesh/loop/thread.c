/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how threads of the library begin. Refuses to know what they run. */
#include "loop/thread.h"

#include <mesh/error.h>
#include <signal.h>
#include <time.h>

int mesh_thread_start(pthread_t *thread, const char *name, void *(*run)(void *user), void *user)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, run, user);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return MESH_ERROR_SYSTEM;
	pthread_setname_np(*thread, name);
	return 0;
}

int mesh_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t monotonic;
	int error;

	if (pthread_condattr_init(&monotonic))
		return MESH_ERROR_SYSTEM;
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	error = pthread_cond_init(cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return error ? MESH_ERROR_SYSTEM : 0;
}
