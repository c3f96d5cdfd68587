/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of all DNS clusters of the present configuration, resolved again and again: what they come to is a table of
 * endpoint sets that goes into the next snapshot. The control thread's only.
 */
#ifndef MESH_XDS_DNS_H
#define MESH_XDS_DNS_H

#include "base/buf.h"
#include "base/log.h"
#include "config/cluster.h"
#include "loop/loop.h"

struct dns;

struct dns_options {
	const struct mesh_mem *mem;
	const struct log *log;
	struct loop *loop;
	void (*changed)(void *user); /* other endpoints than before, or a first answer; never inside a call of these */
	void *user;
};

int mesh_dns_new(const struct dns_options *options, struct dns **dns); /* NOMEM */
void mesh_dns_free(struct dns *dns); /* NULL allowed */

/*
 * Resolves for the DNS clusters among these from now on. What did not change goes on, and where a name stays its last good
 * answer does too. NOMEM: some follow and some do not yet; call again.
 */
int mesh_dns_follow(struct dns *dns, struct table *clusters);
/* struct endpoint_set by the cluster's name; a cluster without any answer is not in it. Borrowed until the next event. */
struct table *mesh_dns_resolved(const struct dns *dns);
/* Some cluster that is to be waited for has no first answer, good or bad. */
bool mesh_dns_waiting(const struct dns *dns);
void mesh_dns_give_up(struct dns *dns); /* nothing is waited for any more */
/* "control_plane.dns.<name>: value" lines. Any thread. NOMEM, TOO_LARGE. */
int mesh_dns_stats(const struct dns *dns, struct buf *out);

#endif
