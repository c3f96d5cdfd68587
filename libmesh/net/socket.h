/* SPDX-License-Identifier: Apache-2.0 */
/* Non-blocking, close-on-exec TCP sockets. */
#ifndef MESH_NET_SOCKET_H
#define MESH_NET_SOCKET_H

#include "base/address.h"
#include "base/why.h"

/* Under way when it returns 0. `from`: an address of ours, with `anywhere` any; NULL: as the system chooses. CONNECT, SYSTEM */
int mesh_socket_connect(const struct address *from, bool anywhere, const struct address *to, int *fd, struct why *why);
int mesh_socket_listen(const struct address *at, int backlog, bool reuse_port, int *fd, struct why *why); /* BIND, SYSTEM */
int mesh_socket_accept(int listener, int *fd, struct address *from); /* AGAIN, SYSTEM (descriptor limit: try later) */
/* Probes a silent peer; 0: as the system does. A socket that refuses is none the worse. */
void mesh_socket_keepalive(int fd, uint32_t probes, uint32_t time_s, uint32_t interval_s);
int mesh_socket_error(int fd); /* pending SO_ERROR, 0 for none */
bool mesh_socket_quiet(int fd); /* nothing to read and not closed: an idle keep-alive connection is fit for reuse */
int mesh_socket_local(int fd, struct address *address);

#endif
