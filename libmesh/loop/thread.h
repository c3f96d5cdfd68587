/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of a library that is a guest in somebody's process. */
#ifndef MESH_LOOP_THREAD_H
#define MESH_LOOP_THREAD_H

#include <pthread.h>

/* Starts a thread that takes no signals: they are for the application's threads. SYSTEM. */
int mesh_thread_start(pthread_t *thread, const char *name, void *(*run)(void *user), void *user);
/* A condition whose timed waits follow the monotonic clock: setting the system's time ends none early. */
int mesh_cond_init(pthread_cond_t *cond);

#endif
