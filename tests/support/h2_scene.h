/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client on a worker the test drives, and a server of its only endpoint that speaks HTTP/2 by script: what each connection
 * waits to hear and then says. Everything the server heard can be read once the client's side ended.
 */
#ifndef MESH_TESTS_SUPPORT_H2_SCENE_H
#define MESH_TESTS_SUPPORT_H2_SCENE_H

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/h2_script.h"
#include "support/raw_peer.h"

/* A whole answer without a body; the head of one that goes on. */
#define H2_OK(stream)	"headers " #stream " 5 :status: 200;"
#define H2_HEAD(stream) "headers " #stream " 4 :status: 200;"

enum { H2_CONNECTIONS = 4, H2_STEPS = 8 };

/* What the server waits to hear, then says. */
struct h2_step {
	const char *heard, *say;
};

struct h2_scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server server;
	struct mesh_worker *worker;
	const struct h2_step (*plays)[H2_STEPS];   /* by connection; the last one is for all that follow */
	size_t play_count;
	char *stories[H2_CONNECTIONS];          /* what each connection heard; read once the server stopped */
	/* what is published */
	enum upstream_protocol protocol;
	struct http2_config http2;
	uint64_t requests_max;
	int64_t idle_ns, duration_ns;
};

/* Publishes, the steps of each connection given; those of the last one are for all that follow. */
#define H2_PLAY(scene, ...) \
	do { \
		static const struct h2_step play_[][H2_STEPS] = {__VA_ARGS__}; \
		(scene)->plays = play_; \
		(scene)->play_count = sizeof(play_) / sizeof(play_[0]); \
		data_plane_publish(&(scene)->plane); \
	} while (0)

int h2_scene_open(void **state);
int h2_scene_close(void **state); /* fails the test when the mesh kept memory */
void h2_scene_end(struct h2_scene *scene); /* the client's side, so that every story is whole */
struct mesh_request h2_scene_request(struct h2_scene *scene, const char *method, const char *path);
struct mesh_call *h2_scene_start(struct h2_scene *scene, const struct mesh_request *request,
				 const struct mesh_call_events *events, void *user);
struct mesh_call *h2_scene_call(struct h2_scene *scene, const char *method, const char *path);
/* Waits for it, and releases it. */
void h2_scene_expect(struct mesh_call *call, int status, int http, unsigned attempts);
void h2_scene_run(struct h2_scene *scene, int ms);
uint64_t h2_scene_stat(struct h2_scene *scene, const char *name); /* of the cluster */

#endif
