/* SPDX-License-Identifier: Apache-2.0 */
/* nghttpd, an HTTP/2 server that is not ours, on loopback. It serves a folder of its own with one file, "file". */
#ifndef MESH_TESTS_SUPPORT_NGHTTPD_H
#define MESH_TESTS_SUPPORT_NGHTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct nghttpd {
	char folder[64];
	uint16_t port;
	pid_t pid;
};

/* `options`: further ones, NULL-terminated. TLS when `key_pem` and `chain_pem` are given. False: the program is not here. */
bool nghttpd_start(struct nghttpd *server, const char *const *options, const char *key_pem, const char *chain_pem,
		   size_t file_bytes);
void nghttpd_stop(struct nghttpd *server);

#endif
