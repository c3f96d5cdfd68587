/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-echo: what an answer is made of. */
#ifndef MESH_ECHO_EXAMPLE_H
#define MESH_ECHO_EXAMPLE_H

#include <mesh/mesh.h>

struct echo {
	const char *name;
	struct mesh *mesh;
};

/* The listener's handler; `user` is a struct echo. */
void echo_answer(struct mesh_call *call, void *user);

#endif
