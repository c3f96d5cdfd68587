/* SPDX-License-Identifier: Apache-2.0 */
/* lab-load, see load.c: what both ways of asking share. */
#ifndef LAB_LOAD_H
#define LAB_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load {
	double rate, seconds;
	unsigned timeout_ms;
	const char *plain; /* NULL: through libmesh */
	const char *keys;  /* header that carries the number of the request; NULL: none does */
	char authority[256];
	const char *path;

	unsigned long asked, good, statuses[600], broken; /* broken: no answer at all */
	unsigned long open;
	uint64_t *took_us;  /* of the good ones */
	unsigned *servers;  /* by number of the request: what the answer's x-server says, 0: nothing */
	char why[256];      /* of the last that had no answer */
};

/* One request: its number, and when it was due. */
struct turn {
	unsigned long number;
	uint64_t due_us;
};

uint64_t load_now_us(void);
/* It ended. `status` 0: no answer. `server`: x-server of the answer. */
void load_count(struct load *load, const struct turn *turn, int status, unsigned server, const char *why);
int load_plain(struct load *load); /* load_plain.c; -1: the address is none */

#endif
