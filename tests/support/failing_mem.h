/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out on purpose. It counts allocations and fails the n-th, moves every block that is resized, fills
 * what it gives out with junk, and knows what was not given back. May be used from any thread.
 */
#ifndef TESTS_SUPPORT_FAILING_MEM_H
#define TESTS_SUPPORT_FAILING_MEM_H

#include <stdatomic.h>

#include "base/mem.h"

struct failing_mem {
	struct mesh_mem mem;  /* hand out &failing.mem */
	size_t fail_at;	      /* 1-based; 0: never */
	bool fail_on;	      /* fail every allocation from fail_at on, not that one alone */
	atomic_size_t calls;  /* allocations and resizes asked for */
	atomic_size_t failed; /* of these, refused */
	atomic_size_t blocks; /* not given back */
	atomic_size_t bytes;  /* in them */
	atomic_size_t peak;   /* the most they were; a test may set it back */
};

void failing_mem_init(struct failing_mem *failing, size_t fail_at);

/*
 * A scenario makes objects with `mem`, uses them and frees them all, whatever fails. It returns 0 when everything
 * worked, MESH_ERROR_NOMEM when memory was short, anything else when something is wrong.
 */
typedef int oom_scenario_fn(const struct mesh_mem *mem, void *user);

/*
 * Runs a scenario without failure, then failing its 1st, 2nd, .. allocation until it gets by without reaching it, each
 * time once failing that one and once failing all from there on. Returns how many allocations were failed in turn (at
 * least 1), or -1 after a line on stderr that tells what is wrong: a leak, another result than 0 or NOMEM, NOMEM
 * without a failure, or a scenario that allocates nothing.
 */
int oom_run(oom_scenario_fn *scenario, void *user);

#endif
