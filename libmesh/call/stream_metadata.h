/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer of the mesh tells of itself at the beginning of a TCP connection ("istio-peer-exchange"): 8 bytes of magic and
 * length, then an Any with a Struct. Sans I/O; believes nothing, bounds everything.
 */
#ifndef MESH_CALL_STREAM_METADATA_H
#define MESH_CALL_STREAM_METADATA_H

#include "base/arena.h"
#include "base/why.h"

#define STREAM_METADATA_MAGIC      0x3D230467u
#define STREAM_METADATA_HEADER     8
#define STREAM_METADATA_BYTES_MAX  65536 /* of the Any; Envoy's own are below 2 KiB */
#define STREAM_METADATA_TEXT_MAX   512   /* of a value that is kept; a longer one is absent */

/* Absent where the peer did not say it, or said something else than a short text. */
struct stream_workload {
	struct mesh_slice id; /* node id: "sidecar~10.0.0.1~pod.ns~ns.svc.cluster.local" */
	struct mesh_slice name, ns, workload, owner, cluster, identity;
	struct mesh_slice canonical_name, canonical_revision, app, version;
};

enum stream_metadata_state {
	STREAM_METADATA_MORE,   /* feed it mesh_stream_metadata_wants() bytes */
	STREAM_METADATA_DONE,   /* `workload` is set; what follows is the application's */
	STREAM_METADATA_ABSENT, /* no magic: `head` was the application's already */
	STREAM_METADATA_BROKEN, /* longer than the bound, or no memory: nothing behind it can be found */
};

struct stream_metadata {
	enum stream_metadata_state state;
	unsigned char head[STREAM_METADATA_HEADER];
	size_t have;             /* of the head, then of the body */
	bool in_body;
	size_t length;           /* of the body */
	char *body;              /* in the arena */
	struct arena *arena;
	bool understood;         /* the body was what it should be */
	struct stream_workload workload; /* views into the body */
	struct why why;
};

void mesh_stream_metadata_init(struct stream_metadata *metadata, struct arena *arena);
/* Where to put how many bytes, at most. Only in state MORE. */
char *mesh_stream_metadata_room(struct stream_metadata *metadata, size_t *room);
void mesh_stream_metadata_take(struct stream_metadata *metadata, size_t bytes); /* that many were put there */
/* An Any as it is on the wire. False: it is not sound, or no such Any; then *workload is empty. */
bool mesh_stream_metadata_parse(struct mesh_slice any, struct stream_workload *workload);

#endif
