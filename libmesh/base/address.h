/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses with a port, as sockets want them, and their text. No name is ever looked up. */
#ifndef MESH_BASE_ADDRESS_H
#define MESH_BASE_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/slice.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len; /* 0: none */
};

#define MESH_ADDRESS_TEXT_BYTES 64 /* "[v6]:port" with its NUL */
int mesh_address_parse(struct address *address, struct mesh_slice ip, uint16_t port); /* numeric; INVALID */
/* "host:port" or "[v6]:port", the host without brackets, which need not be numeric. False: it is neither. */
bool mesh_address_split(struct mesh_slice text, struct mesh_slice *host, uint16_t *port);
/* "ip:port", NUL-terminated; its length. */
size_t mesh_address_text(const struct address *address, char text[MESH_ADDRESS_TEXT_BYTES]);
uint16_t mesh_address_port(const struct address *address);
void mesh_address_set_port(struct address *address, uint16_t port);
bool mesh_address_equal(const struct address *a, const struct address *b);

#endif
