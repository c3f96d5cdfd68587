/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether the resource directory is worth reading again. Refuses to know what is in the files: any finished
 * write and any change of names counts.
 */
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define CHANGES (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)

/* Watching a directory twice is the same as once, and one that is not there is seen when it is made. */
static void watch_all(int fd, const char *dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *nodes;

	if (snprintf(path, sizeof(path), "%s/common", dir) < (int)sizeof(path))
		inotify_add_watch(fd, path, CHANGES);
	if (snprintf(path, sizeof(path), "%s/nodes", dir) >= (int)sizeof(path))
		return;
	inotify_add_watch(fd, path, CHANGES);
	nodes = opendir(path);
	while (nodes && (entry = readdir(nodes))) {
		if (entry->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/nodes/%s", dir, entry->d_name) < (int)sizeof(path))
			inotify_add_watch(fd, path, CHANGES);
	}
	if (nodes)
		closedir(nodes);
}

int cp_watch_open(const char *dir, struct why *why)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, dir, CHANGES) < 0) {
		mesh_why(why, MESH_ERROR_SYSTEM, "%s: cannot be watched: %s", dir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return MESH_ERROR_SYSTEM;
	}
	watch_all(fd, dir);
	return fd;
}

bool cp_watch_changed(int fd, const char *dir)
{
	char events[16384] __attribute__((aligned(8)));
	bool changed = false;

	while (read(fd, events, sizeof(events)) > 0)
		changed = true;
	if (changed)
		watch_all(fd, dir);
	return changed;
}
