/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh whose only route goes to one server and is mirrored to another, both scripted, and what came there. */
#ifndef MESH_TESTS_SUPPORT_MIRROR_SCENE_H
#define MESH_TESTS_SUPPORT_MIRROR_SCENE_H

#include <mesh/mesh.h>

#include "call/worker.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

#define MIRROR_MAIN  "outbound|9080||reviews"
#define MIRROR_OTHER "outbound|9080|v2|reviews"

enum { MS = 1000000, WAIT_MS = 10000, MIRROR_ROOM = 8 << 20 };

/* What a server does with a request. */
enum mirror_manner {
	MIRROR_ANSWERS,
	MIRROR_HANGS,   /* reads it all and the rest of the connection */
	MIRROR_RESETS,
	MIRROR_IGNORES, /* does not even read, until the test lets it */
};

/* A body that is not chunked ends in "THE END". */
struct mirror_peer {
	struct raw_server server;
	_Atomic enum mirror_manner manner;
	_Atomic(const char *) answer; /* with "close" in it: the connection ends behind it */
	atomic_uint requests;
	atomic_bool go; /* MIRROR_IGNORES: go on */
	char *request;  /* the last one, whole */
	char *reading;
};

struct mirror_scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct mirror_peer main, other;
	struct mesh_worker *worker;
	struct mesh_slice host_rewrite; /* of the route */
	struct mirror_policy policies[2];
	struct mirror_config mirrors; /* to `other`, all requests */
};

int mirror_scene_open(void **state);
int mirror_scene_close(void **state); /* fails the test when the mesh kept memory */
void mirror_scene_publish(struct mirror_scene *scene);
/* On the scene's worker, to "reviews:9080" unless the request says otherwise. */
struct mesh_call *mirror_scene_start(struct mirror_scene *scene, struct mesh_request *request);
void mirror_scene_expect(struct mesh_call *call, int status, int http); /* waits and releases it */
void mirror_scene_get(struct mirror_scene *scene);                      /* one that is answered with 200 */
/* These drive the worker: until that many requests came there; until so many shadows are under way. */
void mirror_scene_await(struct mirror_scene *scene, struct mirror_peer *peer, unsigned requests);
void mirror_scene_await_shadows(struct mirror_scene *scene, unsigned shadows);

uint64_t registry_counter(struct mesh *mesh, const char *name); /* by its whole name, which must be there */
void assert_in(const char *text, const char *what);             /* letters in either case */
void assert_not_in(const char *text, const char *what);

#endif
