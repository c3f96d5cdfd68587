/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when something changed in the resource directory. */
#ifndef CP_WATCH_H
#define CP_WATCH_H

#include <stdbool.h>

#include "base/why.h"

int cp_watch_open(const char *dir, struct why *why); /* a descriptor, or an error */
/* True when anything changed since the last call; looks at once for directories that are new. */
bool cp_watch_changed(int fd, const char *dir);

#endif
