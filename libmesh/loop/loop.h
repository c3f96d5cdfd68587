/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop for one thread: descriptors (epoll), timers, tasks, and a mailbox other threads can post to.
 * Everything but mesh_loop_post is for the owning thread. Time is monotonic; wall time is read separately.
 */
#ifndef MESH_LOOP_LOOP_H
#define MESH_LOOP_LOOP_H

#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"

struct loop;

enum {
	LOOP_READ = 1,
	LOOP_WRITE = 2,
	LOOP_ERROR = 4, /* always reported: error or both directions closed */
};

/* A watched descriptor, embedded in its owner. Level-triggered. */
struct loop_io {
	int fd;         /* -1: not watched */
	unsigned wants; /* LOOP_READ | LOOP_WRITE */
	void (*ready)(struct loop_io *io, unsigned what);
};

struct loop_timer {
	struct heap_item item; /* place 0: not running */
	void (*due)(struct loop_timer *timer);
};

/*
 * Runs once, after the present callback returned and in the same round if there is one; embedded in its owner. Never
 * inside the call that queued it.
 */
struct loop_task {
	struct link link;
	bool queued;
	void (*run)(struct loop_task *task);
};

/*
 * Sent by another thread; embedded in its owner, which keeps it alive until it ran and does not post it again before.
 * Mail of one thread runs in the order of posting.
 */
struct loop_mail {
	struct loop_mail *next;
	void (*run)(struct loop_mail *mail);
};

int mesh_loop_new(const struct mesh_mem *mem, struct loop **loop); /* NOMEM, SYSTEM */
void mesh_loop_free(struct loop *loop); /* mail not yet run is dropped: owners see to it first. NULL allowed */

uint64_t mesh_loop_now_ns(const struct loop *loop);    /* cached for one round; monotonic */
uint64_t mesh_loop_update_ns(struct loop *loop);       /* reads the clock now */
uint64_t mesh_time_now_ns(void);                        /* CLOCK_MONOTONIC */
int64_t mesh_time_wall_ms(void);                        /* CLOCK_REALTIME since 1970 */

int mesh_loop_watch(struct loop *loop, struct loop_io *io, int fd, unsigned wants);
int mesh_loop_change(struct loop *loop, struct loop_io *io, unsigned wants); /* no syscall when nothing changes */
/* Before close(fd). No `ready` comes afterwards, not even for events fetched already. */
void mesh_loop_unwatch(struct loop *loop, struct loop_io *io);

/* Restarts a running one; NOMEM. Started by a timer that is due, it waits at least for the next round. */
int mesh_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
int mesh_timer_start_at(struct loop *loop, struct loop_timer *timer, uint64_t at_ns);
void mesh_timer_stop(struct loop *loop, struct loop_timer *timer);
static inline bool mesh_timer_running(const struct loop_timer *timer)
{
	return timer->item.place != 0;
}

void mesh_loop_defer(struct loop *loop, struct loop_task *task); /* harmless when queued already */
void mesh_loop_undefer(struct loop_task *task);

/* Any thread, which sees to it that the loop outlives the call. Wakes the loop only when it sleeps or may. */
void mesh_loop_post(struct loop *loop, struct loop_mail *mail);

/*
 * One round: mail and tasks that wait, ready descriptors, due timers, then what mail and tasks these left. Waits up to
 * timeout_ms (-1: for ever) for a first descriptor or timer when nothing was waiting. Returns how many callbacks ran
 * (0: time is up, or a signal came), MESH_ERROR_SYSTEM, or MESH_ERROR_THREAD from inside a round.
 */
int mesh_loop_run(struct loop *loop, int timeout_ms);
/* For an owner's loop: an epoll descriptor; timers are mirrored to a timerfd in it once this was asked for. */
int mesh_loop_fd(struct loop *loop);
bool mesh_loop_running(const struct loop *loop); /* inside mesh_loop_run */

#endif
