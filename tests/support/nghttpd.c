/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends nghttpd. Refuses to know what is asked of it. */
#include "support/nghttpd.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "support/raw_peer.h"

extern char **environ;

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "w");

	if (!file || (len && fwrite(text, 1, len, file) != len) || fclose(file))
		abort();
}

static bool accepts(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;

	close(fd);
	return good;
}

static void path_of(const struct nghttpd *server, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", server->folder, name);
}

bool nghttpd_start(struct nghttpd *server, const char *const *options, const char *key_pem, const char *chain_pem,
		   size_t file_bytes)
{
	const char *arguments[24] = {"nghttpd", "-a", "127.0.0.1"};
	char port[8], path[128], key[128], chain[128];
	size_t n = 3;
	char *text;

	strcpy(server->folder, "/tmp/nghttpd.XXXXXX");
	if (!mkdtemp(server->folder))
		abort();
	text = malloc(file_bytes + 1);
	memset(text, 'f', file_bytes);
	path_of(server, "file", path);
	write_file(path, text, file_bytes);
	free(text);
	path_of(server, "key", key);
	path_of(server, "chain", chain);
	close(raw_listen(&server->port)); /* a free one */
	snprintf(port, sizeof(port), "%u", server->port);
	arguments[n++] = "-d";
	arguments[n++] = server->folder;
	for (size_t i = 0; options && options[i] && n < 18; i++)
		arguments[n++] = options[i];
	if (!key_pem)
		arguments[n++] = "--no-tls";
	arguments[n++] = port;
	if (key_pem) {
		write_file(key, key_pem, strlen(key_pem));
		write_file(chain, chain_pem, strlen(chain_pem));
		arguments[n++] = key;
		arguments[n++] = chain;
	}
	if (posix_spawnp(&server->pid, "nghttpd", NULL, NULL, (char *const *)arguments, environ))
		return false;
	for (int i = 0; i < 500 && !accepts(server->port); i++)
		nanosleep(&(struct timespec){0, 10000000}, NULL);
	return accepts(server->port);
}

void nghttpd_stop(struct nghttpd *server)
{
	static const char *const names[] = {"file", "key", "chain"};
	char path[128];

	if (server->pid) {
		kill(server->pid, SIGTERM);
		while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_of(server, names[i], path);
		unlink(path);
	}
	rmdir(server->folder);
}
