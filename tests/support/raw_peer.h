/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that say exactly what a test tells them, byte for byte, over TCP on loopback. Waiting more than 10 s is a failure. */
#ifndef MESH_TESTS_SUPPORT_RAW_PEER_H
#define MESH_TESTS_SUPPORT_RAW_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int raw_connect(uint16_t port);
int raw_listen(uint16_t *port);
/* All of it, or until the peer is gone: then false. */
bool raw_send(int fd, const void *data, size_t len);
bool raw_say(int fd, const char *text);
/* One byte at a time, each in a segment of its own. False: the peer went away meanwhile. */
bool raw_drip(int fd, const char *text, size_t len);
/* Reads behind what `into` holds (a string) until `needle` is in it. False: the peer closed first, or room ran out. */
bool raw_until(int fd, char *into, size_t room, const char *needle);
/* Reads to the end, orderly or reset; into is a string. */
size_t raw_rest(int fd, char *into, size_t room);
/* An answer with its content-length body. False: closed before it was whole. */
bool raw_response(int fd, char *into, size_t room);
bool raw_closed(int fd); /* waits for the peer's end; false when it sends anything more */
void raw_reset(int fd);  /* the close that follows is a reset */

/* A server in a thread of its own: one connection after the other is given to `serve`, which does not close it. */
struct raw_server {
	void (*serve)(struct raw_server *server, int fd, unsigned number);
	const void *user;
	int fd;
	uint16_t port;
	atomic_uint accepted;
	pthread_t thread;
};

void raw_server_start(struct raw_server *server);
void raw_server_stop(struct raw_server *server);

#endif
