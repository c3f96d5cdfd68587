/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-echo: what an answer is made of, and answers that wait. */
#ifndef MESH_ECHO_EXAMPLE_H
#define MESH_ECHO_EXAMPLE_H

#include <pthread.h>

#include <mesh/mesh.h>

struct echo {
	const char *name;
	struct mesh *mesh;
	pthread_mutex_t lock;   /* of what follows */
	pthread_cond_t changed;
	unsigned waiting;       /* answers whose ?delay_ms= is not over */
	bool ending;            /* they are to be given now */
};

void echo_open(struct echo *echo);
/* The listener's handler; `user` is a struct echo. */
void echo_answer(struct mesh_call *call, void *user);
/* From now on nothing waits: the answers that do are given at once. */
void echo_end(struct echo *echo);
/* Returns when the last of them is given. */
void echo_close(struct echo *echo);

#endif
