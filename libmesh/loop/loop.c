/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's events: epoll for descriptors, a heap for timers, a list for tasks, a mailbox. A round is one
 * epoll_wait and nothing else when events are there. Refuses to know what it drives.
 */
#include "loop/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <mesh/error.h>

#include "loop/mailbox.h"

enum {
	BATCH = 64,
	TASK_ROUNDS = 8, /* how often tasks that queue tasks are followed before descriptors get their turn again */
};

struct loop {
	const struct mesh_mem *mem;
	int epoll;
	int timerfd; /* -1 until somebody polls the loop from outside */
	struct heap timers;
	struct link tasks;
	uint64_t now_ns;
	uint64_t not_before_ns; /* a timer started by a timer is due no earlier: it waits for the next round */
	uint64_t armed_ns;	/* what timerfd is set to; 0: off, or it has fired */
	bool running;
	struct epoll_event batch[BATCH];
	int batch_at, batch_count;
	struct loop_io wake_io, timer_io;
	struct {
		struct mailbox box;
	} shared;
};

uint64_t mesh_time_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t mesh_time_wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t mesh_loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

uint64_t mesh_loop_update_ns(struct loop *loop)
{
	return loop->now_ns = mesh_time_now_ns();
}

static void woken(struct loop_io *io, unsigned what)
{
	/* edge-triggered: being told was all, the counter is never read */
}

static void timer_fired(struct loop_io *io, unsigned what)
{
	MESH_CONTAINER(io, struct loop, timer_io)->armed_ns = 0; /* set anew when the round ends */
}

static int watch_edge(struct loop *loop, struct loop_io *io, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = io};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event))
		return errno == ENOMEM ? MESH_ERROR_NOMEM : MESH_ERROR_SYSTEM;
	io->fd = fd;
	return 0;
}

int mesh_loop_new(const struct mesh_mem *mem, struct loop **result)
{
	struct loop *loop = mesh_mem_zalloc(mem, sizeof(*loop));
	int rc = MESH_ERROR_SYSTEM;

	if (!loop)
		return MESH_ERROR_NOMEM;
	loop->mem = mem;
	loop->timerfd = -1;
	loop->wake_io.fd = loop->timer_io.fd = -1;
	loop->wake_io.ready = woken;
	loop->timer_io.ready = timer_fired;
	mesh_heap_init(&loop->timers, mem);
	mesh_list_init(&loop->tasks);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!mesh_mailbox_open(&loop->shared.box) && loop->epoll >= 0)
		rc = watch_edge(loop, &loop->wake_io, loop->shared.box.eventfd);
	mesh_loop_update_ns(loop);
	if (rc) {
		mesh_loop_free(loop);
		return rc;
	}
	*result = loop;
	return 0;
}

void mesh_loop_free(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->timerfd >= 0)
		close(loop->timerfd);
	mesh_mailbox_close(&loop->shared.box);
	if (loop->epoll >= 0)
		close(loop->epoll);
	mesh_heap_free(&loop->timers);
	mesh_mem_free(loop->mem, loop);
}

static uint32_t epoll_bits(unsigned wants)
{
	return (wants & LOOP_READ ? EPOLLIN | EPOLLRDHUP : 0u) | (wants & LOOP_WRITE ? EPOLLOUT : 0u);
}

int mesh_loop_watch(struct loop *loop, struct loop_io *io, int fd, unsigned wants)
{
	struct epoll_event event = {.events = epoll_bits(wants), .data.ptr = io};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event))
		return errno == ENOMEM ? MESH_ERROR_NOMEM : MESH_ERROR_SYSTEM;
	io->fd = fd;
	io->wants = wants;
	return 0;
}

int mesh_loop_change(struct loop *loop, struct loop_io *io, unsigned wants)
{
	struct epoll_event event = {.events = epoll_bits(wants), .data.ptr = io};

	if (io->fd < 0 || io->wants == wants)
		return 0;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, io->fd, &event))
		return errno == ENOMEM ? MESH_ERROR_NOMEM : MESH_ERROR_SYSTEM;
	io->wants = wants;
	return 0;
}

void mesh_loop_unwatch(struct loop *loop, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, io->fd, NULL);
	io->fd = -1;
	for (int i = loop->batch_at; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
}

/*
 * An owner that polls our descriptor must see what is due: the nearest timer, or now when tasks wait. A timerfd that
 * would fire too early is left alone: one idle round now and then is cheaper than a system call for every timer
 * stopped.
 */
static void mirror(struct loop *loop)
{
	struct heap_item *first = mesh_heap_first(&loop->timers);
	struct itimerspec spec = {0};
	uint64_t at;

	if (loop->timerfd < 0 || loop->running)
		return;
	if (!mesh_list_empty(&loop->tasks))
		at = 1;
	else if (first)
		at = first->key ? first->key : 1;
	else
		return;
	if (loop->armed_ns && loop->armed_ns <= at)
		return;
	spec.it_value.tv_sec = (time_t)(at / 1000000000u);
	spec.it_value.tv_nsec = (long)(at % 1000000000u);
	timerfd_settime(loop->timerfd, TFD_TIMER_ABSTIME, &spec, NULL);
	loop->armed_ns = at;
}

int mesh_timer_start_at(struct loop *loop, struct loop_timer *timer, uint64_t at_ns)
{
	int rc = mesh_heap_put(&loop->timers, &timer->item, at_ns < loop->not_before_ns ? loop->not_before_ns : at_ns);

	if (!rc)
		mirror(loop);
	return rc;
}

int mesh_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
	uint64_t at;

	/* outside a round the cached time may be old */
	if (!loop->running)
		mesh_loop_update_ns(loop);
	if (__builtin_add_overflow(loop->now_ns, delay_ns, &at))
		at = UINT64_MAX;
	return mesh_timer_start_at(loop, timer, at);
}

void mesh_timer_stop(struct loop *loop, struct loop_timer *timer)
{
	mesh_heap_remove(&loop->timers, &timer->item);
}

void mesh_loop_defer(struct loop *loop, struct loop_task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	mesh_list_push(&loop->tasks, &task->link);
	mirror(loop);
}

void mesh_loop_undefer(struct loop_task *task)
{
	if (!task->queued)
		return;
	task->queued = false;
	mesh_list_remove(&task->link);
}

void mesh_loop_post(struct loop *loop, struct loop_mail *mail)
{
	mesh_mailbox_post(&loop->shared.box, mail);
}

/* Those queued before this. */
static int run_queued(struct loop *loop)
{
	struct link now;
	int count = 0;

	if (mesh_list_empty(&loop->tasks))
		return 0;
	now = loop->tasks;
	now.next->prev = now.prev->next = &now;
	mesh_list_init(&loop->tasks);
	while (!mesh_list_empty(&now)) {
		struct loop_task *task = MESH_CONTAINER(now.next, struct loop_task, link);

		mesh_loop_undefer(task);
		task->run(task);
		count++;
	}
	return count;
}

static int run_tasks(struct loop *loop)
{
	int count = 0;

	for (int i = 0; i < TASK_ROUNDS && !mesh_list_empty(&loop->tasks); i++)
		count += run_queued(loop);
	return count;
}

static int run_timers(struct loop *loop)
{
	uint64_t until = loop->now_ns;
	struct heap_item *first;
	int count = 0;

	loop->not_before_ns = until + 1; /* else a timer that starts itself anew with no delay would never let go */
	while ((first = mesh_heap_first(&loop->timers)) && first->key <= until) {
		struct loop_timer *timer = MESH_CONTAINER(first, struct loop_timer, item);

		mesh_heap_remove(&loop->timers, first);
		timer->due(timer);
		count++;
	}
	loop->not_before_ns = 0;
	return count;
}

static unsigned what_of(uint32_t bits)
{
	unsigned what = 0;

	if (bits & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		what |= LOOP_READ;
	if (bits & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		what |= LOOP_WRITE;
	if (bits & (EPOLLHUP | EPOLLERR))
		what |= LOOP_ERROR;
	return what;
}

static int run_ready(struct loop *loop)
{
	int count = 0;

	for (loop->batch_at = 0; loop->batch_at < loop->batch_count;) {
		struct epoll_event *event = &loop->batch[loop->batch_at++];
		struct loop_io *io = event->data.ptr;

		if (!io)
			continue;
		io->ready(io, what_of(event->events));
		count += io != &loop->wake_io && io != &loop->timer_io;
	}
	loop->batch_at = loop->batch_count = 0;
	return count;
}

static int wait_ms(struct loop *loop, int timeout_ms)
{
	struct heap_item *first = mesh_heap_first(&loop->timers);
	uint64_t left;

	if (timeout_ms == 0 || !mesh_list_empty(&loop->tasks))
		return 0;
	if (!first)
		return timeout_ms;
	mesh_loop_update_ns(loop);
	if (first->key <= loop->now_ns)
		return 0;
	left = (first->key - loop->now_ns - 1) / 1000000 + 1; /* up: waking early would mean waiting twice */
	if (left > INT32_MAX)
		left = INT32_MAX;
	return timeout_ms < 0 || (uint64_t)timeout_ms > left ? (int)left : timeout_ms;
}

/* One epoll_wait. Only while it may block need others wake us. */
static int fetch(struct loop *loop, int timeout_ms)
{
	int ready;

	timeout_ms = wait_ms(loop, timeout_ms);
	if (timeout_ms && !mesh_mailbox_sleep(&loop->shared.box))
		timeout_ms = 0;
	ready = epoll_wait(loop->epoll, loop->batch, BATCH, timeout_ms);
	if (ready < 0 && errno != EINTR)
		return MESH_ERROR_SYSTEM;
	loop->batch_count = ready > 0 ? ready : 0;
	return 0;
}

int mesh_loop_run(struct loop *loop, int timeout_ms)
{
	int count, rc;

	if (loop->running)
		return MESH_ERROR_THREAD;
	loop->running = true;
	if (!mesh_mailbox_empty(&loop->shared.box) || !mesh_list_empty(&loop->tasks))
		mesh_loop_update_ns(loop); /* the last round may be long ago */
	count = mesh_mailbox_run(&loop->shared.box);
	count += run_tasks(loop);
	rc = fetch(loop, count ? 0 : timeout_ms);
	mesh_mailbox_awake(&loop->shared.box);
	mesh_loop_update_ns(loop);
	count += run_ready(loop);
	count += run_timers(loop);
	count += mesh_mailbox_run(&loop->shared.box);
	count += run_tasks(loop);
	loop->running = false;
	if (loop->timerfd >= 0) /* somebody polls us from outside */
		mesh_mailbox_sleep_outside(&loop->shared.box);
	mirror(loop);
	return rc ? rc : count;
}

int mesh_loop_fd(struct loop *loop)
{
	int fd;

	if (loop->timerfd >= 0)
		return loop->epoll;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0)
		return MESH_ERROR_SYSTEM;
	if (watch_edge(loop, &loop->timer_io, fd)) {
		close(fd);
		return MESH_ERROR_SYSTEM;
	}
	loop->timerfd = fd;
	if (!loop->running) /* else the round does it when it ends */
		mesh_mailbox_sleep_outside(&loop->shared.box);
	mirror(loop);
	return loop->epoll;
}

bool mesh_loop_running(const struct loop *loop)
{
	return loop->running;
}
