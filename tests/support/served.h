/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener in plaintext under settings of a test, which serves by path, and clients of its own: HTTP/2 ones frame by
 * frame, HTTP/1.1 ones as text.
 *
 * "/hold" is kept in `held` and not answered, "/begun" the same with the head and five bytes of its answer, "/paused" the
 * same and reads nothing; "/version" says over which it came, "/large" has LARGE_BYTES, "/grpc" and "/grpc-head" answer as
 * gRPC does, "/early" and "/continue" inform, "/refused" says 417, "/socket" changes the protocol and echoes to "bye".
 */
#ifndef MESH_TESTS_SUPPORT_SERVED_H
#define MESH_TESTS_SUPPORT_SERVED_H

#include <stdatomic.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/h2_frames.h"

enum { MS = 1000000, SHORT_MS = 150, HELD_MAX = 1200, LARGE_BYTES = 1 << 20 };

#define GRPC_POST(path)                                                                                                \
	":method: POST\n:scheme: http\n:authority: reviews\n:path: " path                                              \
	"\ncontent-type: application/grpc\nte: trailers\n"

struct served {
	struct failing_mem mem; /* never fails: nothing may stay */
	struct data_plane plane;
	struct mesh_listener *listener;
	uint16_t port;
	struct http_config http; /* of the inbound chain: what is not zero */
	int64_t route_idle_ns;
	uint32_t grace_ms; /* of the listener */
	bool no_route, deny, network_only;
	struct authz_config *rules; /* of the inbound chain, in place of `deny`'s */
	struct mesh_slice *upgrades;
	size_t upgrade_count;
	struct route_upgrade route_upgrade; /* with a protocol: of the route */
	struct mesh_call *held[HELD_MAX];
	atomic_uint held_count, calls, done, taken;
	atomic_int last_error;
	char large[LARGE_BYTES];
};

int served_open(void **state);
int served_close(void **state);
void served_listen(struct served *served);
void served_connect(struct served *served, struct h2_peer *peer); /* and says its preface */
void served_disconnect(struct h2_peer *peer);
void served_ask(struct h2_peer *peer, uint32_t stream, const char *path);
void served_await(atomic_uint *counter, unsigned value); /* at least that; 10 s */
void served_assert_heard(struct h2_peer *peer, const char *word);
void served_assert_not_heard(struct h2_peer *peer, const char *word); /* nor for what was said up to now */
/* The connection will go, it is told, and says that it heard. */
void served_hear_drain(struct h2_peer *peer);
/* What comes back until the end has `in` in it. */
void served_assert_http1(struct served *served, const char *said, const char *in);

#endif
