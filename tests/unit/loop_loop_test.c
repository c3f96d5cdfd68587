/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a loop run what is due, in order, once, and nothing after it was told not to; does it wake for other threads;
 * does its descriptor show all of that to an owner who polls it?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <mesh/error.h>

#include "support/failing_mem.h"

#include "base/rand.h"
#include "loop/loop.h"

#define MS 1000000ull

static struct loop *loop;
static char record[256];
static struct failing_mem memory;

static int setup(void **state)
{
	failing_mem_init(&memory, 0);
	record[0] = '\0';
	return mesh_loop_new(&memory.mem, &loop);
}

static int teardown(void **state)
{
	mesh_loop_free(loop);
	return memory.blocks ? -1 : 0;
}

static void note(char c)
{
	size_t len = strlen(record);

	assert_true(len + 1 < sizeof(record));
	record[len] = c;
	record[len + 1] = '\0';
}

/* --- timers --- */

struct alarm {
	struct loop_timer timer;
	char name;
	int again; /* how often to start itself anew at once */
	struct alarm *other;
	uint64_t due_ns;
};

static void ring(struct loop_timer *timer)
{
	struct alarm *alarm = MESH_CONTAINER(timer, struct alarm, timer);

	assert_false(mesh_timer_running(timer));
	assert_true(mesh_loop_now_ns(loop) >= alarm->due_ns);
	note(alarm->name);
	if (alarm->again-- > 0)
		assert_int_equal(mesh_timer_start(loop, timer, 0), 0);
	if (alarm->other)
		mesh_timer_stop(loop, &alarm->other->timer);
}

static void start(struct alarm *alarm, uint64_t delay_ns)
{
	uint64_t now = mesh_time_now_ns();

	alarm->timer.due = ring;
	assert_int_equal(mesh_timer_start(loop, &alarm->timer, delay_ns), 0);
	assert_true(mesh_timer_running(&alarm->timer));
	alarm->due_ns = delay_ns > UINT64_MAX - now ? 0 : now + delay_ns;
}

static void timers_in_order(void **state)
{
	struct alarm a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'}, d = {.name = 'd'}, never = {.name = 'n'};
	uint64_t from = mesh_time_now_ns();

	start(&c, 12 * MS);
	start(&a, 3 * MS);
	start(&b, 6 * MS);
	start(&d, 4 * MS);
	start(&d, 18 * MS); /* restarted: later */
	start(&never, UINT64_MAX);
	while (strlen(record) < 4)
		assert_true(mesh_loop_run(loop, 60000) >= 0);
	assert_string_equal(record, "abcd");
	assert_in_range(mesh_time_now_ns() - from, 18 * MS, 30000 * MS); /* a timer ended the wait, not the timeout */
	assert_true(mesh_timer_running(&never.timer));
	mesh_timer_stop(loop, &never.timer);
	mesh_timer_stop(loop, &never.timer);
	assert_false(mesh_timer_running(&never.timer));
	assert_int_equal(mesh_loop_run(loop, 0), 0);
}

static void timer_stops_timer(void **state)
{
	struct alarm a = {.name = 'a'}, b = {.name = 'b'};

	a.other = &b; /* both are due in the same round */
	start(&a, 0);
	start(&b, 1);
	usleep(1000);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "a");
}

static void timer_without_delay_lets_go(void **state)
{
	struct alarm a = {.name = 'a', .again = 3}, b = {.name = 'b'};

	start(&a, 0);
	start(&b, 0);
	assert_int_equal(mesh_loop_run(loop, -1), 2);
	assert_int_equal(strlen(record), 2); /* once each: the rest in rounds of their own */
	for (size_t n = 3; n <= 5; n++) {
		assert_int_equal(mesh_loop_run(loop, -1), 1);
		assert_int_equal(strlen(record), n);
	}
	assert_int_equal(mesh_loop_run(loop, 0), 0);
}

static void warm_timers_allocate_nothing(void **state)
{
	static struct alarm many[100];
	size_t calls;

	for (int i = 0; i < 100; i++)
		start(&many[i], 1000000 * MS);
	calls = memory.calls;
	for (int round = 0; round < 50; round++)
		for (int i = 0; i < 100; i++) {
			mesh_timer_stop(loop, &many[i].timer);
			start(&many[i], 1000000 * MS);
		}
	assert_int_equal(memory.calls, calls);
	for (int i = 0; i < 100; i++)
		mesh_timer_stop(loop, &many[i].timer);
}

/* A timer started by a task or by mail counts from now, not from the last round. */
static struct alarm late = {.name = 'l'};

static void start_late(struct loop_task *task)
{
	start(&late, 30 * MS);
	note('t');
}

static void old_clock_is_not_used(void **state)
{
	struct loop_task task = {.run = start_late};

	mesh_loop_run(loop, 0);
	usleep(50000);
	mesh_loop_defer(loop, &task);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "t"); /* `ring` checks that it is not early */
	while (mesh_timer_running(&late.timer))
		mesh_loop_run(loop, -1);
	assert_string_equal(record, "tl");
}

static void time_is_up(void **state)
{
	uint64_t from = mesh_time_now_ns();

	assert_int_equal(mesh_loop_run(loop, 20), 0);
	assert_true(mesh_time_now_ns() - from >= 19 * MS);
	assert_true(mesh_time_wall_ms() > 1600000000000);
	assert_true(mesh_loop_update_ns(loop) >= from);
	assert_true(mesh_loop_now_ns(loop) <= mesh_time_now_ns());
}

/* --- descriptors --- */

struct pair {
	struct loop_io io;
	int peer;
	char name;
	unsigned seen;
	struct pair *unwatches;
};

static void pair_ready(struct loop_io *io, unsigned what)
{
	struct pair *pair = MESH_CONTAINER(io, struct pair, io);
	char byte;

	pair->seen = what;
	note(pair->name);
	if (what & LOOP_READ)
		while (recv(io->fd, &byte, 1, MSG_DONTWAIT) == 1)
			;
	if (pair->unwatches)
		mesh_loop_unwatch(loop, &pair->unwatches->io);
}

static void open_pair(struct pair *pair, char name, unsigned wants)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*pair = (struct pair){.io = {.fd = -1, .ready = pair_ready}, .peer = fds[1], .name = name};
	assert_int_equal(mesh_loop_watch(loop, &pair->io, fds[0], wants), 0);
	assert_int_equal(pair->io.fd, fds[0]);
}

static void close_pair(struct pair *pair)
{
	int fd = pair->io.fd;

	mesh_loop_unwatch(loop, &pair->io);
	assert_int_equal(pair->io.fd, -1);
	close(fd);
	if (pair->peer >= 0)
		close(pair->peer);
}

static void reads_and_writes(void **state)
{
	struct pair a;

	open_pair(&a, 'a', LOOP_READ);
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	assert_int_equal(write(a.peer, "x", 1), 1);
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_int_equal(a.seen, LOOP_READ);
	assert_int_equal(mesh_loop_change(loop, &a.io, LOOP_READ | LOOP_WRITE), 0);
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_int_equal(a.seen, LOOP_WRITE);
	assert_int_equal(mesh_loop_run(loop, -1), 1); /* level-triggered: as long as it is so */
	assert_int_equal(mesh_loop_change(loop, &a.io, 0), 0);
	assert_int_equal(write(a.peer, "x", 1), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	assert_int_equal(mesh_loop_change(loop, &a.io, LOOP_READ), 0);
	shutdown(a.peer, SHUT_WR);
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_int_equal(a.seen, LOOP_READ); /* half closed is the end of reading, no error */
	close(a.peer);
	a.peer = -1;
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_true(a.seen & LOOP_ERROR);
	close_pair(&a);
	mesh_loop_unwatch(loop, &a.io); /* harmless */
	assert_int_equal(mesh_loop_change(loop, &a.io, LOOP_READ), 0);
	assert_int_equal(mesh_loop_watch(loop, &a.io, -1, LOOP_READ), MESH_ERROR_SYSTEM);
	assert_int_equal(a.io.fd, -1);
}

static void unwatch_inside_ready(void **state)
{
	struct pair a, b;
	int fd_a, fd_b;

	open_pair(&a, 'a', LOOP_READ);
	open_pair(&b, 'b', LOOP_READ);
	fd_a = a.io.fd;
	fd_b = b.io.fd;
	a.unwatches = &b; /* whoever is told first takes the other's event away */
	b.unwatches = &a;
	assert_int_equal(write(a.peer, "x", 1), 1);
	assert_int_equal(write(b.peer, "x", 1), 1);
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_int_equal(strlen(record), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	mesh_loop_unwatch(loop, &a.io);
	mesh_loop_unwatch(loop, &b.io);
	a.io.fd = fd_a;
	b.io.fd = fd_b;
	close(fd_a);
	close(fd_b);
	close(a.peer);
	close(b.peer);
}

static void unwatch_itself(void **state)
{
	struct pair a;
	int fd;

	open_pair(&a, 'a', LOOP_READ);
	fd = a.io.fd;
	a.unwatches = &a;
	assert_int_equal(write(a.peer, "x", 1), 1);
	assert_int_equal(mesh_loop_run(loop, -1), 1);
	assert_int_equal(a.io.fd, -1);
	close(fd);
	close(a.peer);
}

/* More descriptors than one fetch holds; each is told, whoever goes away meanwhile is not. */
static void many_descriptors(void **state)
{
	enum { MANY = 150 };
	static struct pair pairs[MANY];
	int told = 0;

	for (int i = 0; i < MANY; i++) {
		open_pair(&pairs[i], 'm', LOOP_READ);
		assert_int_equal(write(pairs[i].peer, "x", 1), 1);
	}
	for (int round = 0; round < 10 && told < MANY; round++) {
		record[0] = '\0';
		told += mesh_loop_run(loop, 0);
	}
	assert_int_equal(told, MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(pairs[i].seen, LOOP_READ);
		close_pair(&pairs[i]);
	}
}

/* --- tasks --- */

struct job {
	struct loop_task task;
	char name;
	struct job *queues, *undefers;
};

static void work(struct loop_task *task)
{
	struct job *job = MESH_CONTAINER(task, struct job, task);

	assert_true(mesh_loop_running(loop));
	assert_false(task->queued);
	note(job->name);
	if (job->queues) {
		size_t len = strlen(record);

		mesh_loop_defer(loop, &job->queues->task);
		assert_int_equal(strlen(record), len); /* never inside the call that queued it */
	}
	if (job->undefers)
		mesh_loop_undefer(&job->undefers->task);
}

static void tasks(void **state)
{
	struct job a = {.task.run = work, .name = 'a'}, b = {.task.run = work, .name = 'b'},
		   c = {.task.run = work, .name = 'c'};

	assert_false(mesh_loop_running(loop));
	a.queues = &c;
	mesh_loop_defer(loop, &a.task);
	mesh_loop_defer(loop, &b.task);
	mesh_loop_defer(loop, &a.task); /* queued already */
	assert_string_equal(record, "");
	assert_int_equal(mesh_loop_run(loop, -1), 3); /* does not wait */
	assert_string_equal(record, "abc");
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	a.queues = NULL;
	a.undefers = &b; /* in the list that is being run */
	mesh_loop_defer(loop, &a.task);
	mesh_loop_defer(loop, &b.task);
	mesh_loop_defer(loop, &c.task);
	mesh_loop_undefer(&c.task);
	mesh_loop_undefer(&c.task);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "abca");
	assert_false(mesh_loop_running(loop));
}

/* A task that queues itself for ever neither hangs the round nor starves descriptors and timers. */
static void endless_task(void **state)
{
	struct job job = {.task.run = work, .name = '.'};
	struct alarm alarm = {.name = 'a'};
	struct pair pair;

	job.queues = &job;
	open_pair(&pair, 'p', LOOP_READ);
	start(&alarm, 0);
	assert_int_equal(write(pair.peer, "x", 1), 1);
	mesh_loop_defer(loop, &job.task);
	assert_true(mesh_loop_run(loop, -1) > 2);
	assert_non_null(strchr(record, 'a'));
	assert_non_null(strchr(record, 'p'));
	assert_true(job.task.queued);
	assert_true(mesh_loop_run(loop, -1) > 0); /* and the next does not wait */
	mesh_loop_undefer(&job.task);
	close_pair(&pair);
}

static struct loop_task deferred;

static void defer_from_ready(struct loop_io *io, unsigned what)
{
	char byte;

	assert_int_equal(read(io->fd, &byte, 1), 1);
	mesh_loop_defer(loop, &deferred);
	note('r');
}

static void note_task(struct loop_task *task)
{
	note('t');
}

/* What `ready` leaves for later is done before the round ends: no second epoll_wait for it. */
static void task_of_ready_runs_in_the_round(void **state)
{
	struct pair pair;

	deferred = (struct loop_task){.run = note_task};
	open_pair(&pair, 'p', LOOP_READ);
	pair.io.ready = defer_from_ready;
	assert_int_equal(write(pair.peer, "x", 1), 1);
	assert_int_equal(mesh_loop_run(loop, -1), 2);
	assert_string_equal(record, "rt");
	close_pair(&pair);
}

static void run_inside(struct loop_task *task)
{
	assert_int_equal(mesh_loop_run(loop, 0), MESH_ERROR_THREAD);
	note('i');
}

static void no_round_in_a_round(void **state)
{
	struct loop_task task = {.run = run_inside};

	mesh_loop_defer(loop, &task);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "i");
	assert_false(mesh_loop_running(loop));
}

/* --- mail --- */

enum { SENDERS = 4, LETTERS = 3000 };

struct letter {
	struct loop_mail mail;
	int sender, number;
};

struct sender {
	pthread_t thread;
	int number;
	struct letter letters[LETTERS];
};

static struct sender senders[SENDERS];
static int received[SENDERS], received_all;

static void receive(struct loop_mail *mail)
{
	struct letter *letter = MESH_CONTAINER(mail, struct letter, mail);

	assert_int_equal(letter->number, received[letter->sender]); /* in order */
	received[letter->sender]++;
	received_all++;
}

static void *send_letters(void *user)
{
	struct sender *sender = user;
	struct rand rand;

	mesh_rand_seed(&rand, (uint64_t)sender->number);
	for (int i = 0; i < LETTERS; i++) {
		sender->letters[i] = (struct letter){.mail.run = receive, .sender = sender->number, .number = i};
		mesh_loop_post(loop, &sender->letters[i].mail);
		if (mesh_rand_below(&rand, 8) == 0)
			sched_yield();
		if (mesh_rand_below(&rand, 500) == 0)
			usleep(200); /* so that the loop falls asleep now and then */
	}
	return NULL;
}

static void start_senders(void)
{
	received_all = 0;
	memset(received, 0, sizeof(received));
	for (int i = 0; i < SENDERS; i++) {
		senders[i].number = i;
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_letters, &senders[i]), 0);
	}
}

static void join_senders(void)
{
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(received[i], LETTERS);
	}
}

/* A lost wake-up would leave the loop waiting for ever: the test would be killed by its time limit. */
static void post_from_threads(void **state)
{
	start_senders();
	while (received_all < SENDERS * LETTERS)
		assert_true(mesh_loop_run(loop, -1) >= 0);
	join_senders();
	assert_int_equal(mesh_loop_run(loop, 0), 0);
}

static void mail_wakes_a_poll(void **state)
{
	struct pollfd fd = {.fd = mesh_loop_fd(loop), .events = POLLIN};

	assert_true(fd.fd >= 0);
	start_senders();
	while (received_all < SENDERS * LETTERS) {
		assert_int_equal(poll(&fd, 1, 20000), 1);
		assert_true(mesh_loop_run(loop, 0) >= 0);
	}
	join_senders();
}

static struct letter second;

static void post_another(struct loop_mail *mail)
{
	note('1');
	mesh_loop_post(loop, &second.mail);
}

static void note_mail(struct loop_mail *mail)
{
	note('2');
}

static void mail_posts_mail(void **state)
{
	struct loop_mail first = {.run = post_another};

	second.mail.run = note_mail;
	mesh_loop_post(loop, &first);
	assert_int_equal(mesh_loop_run(loop, -1), 2);
	assert_string_equal(record, "12");
}

static void unread_mail_is_dropped(void **state)
{
	struct loop_mail mail = {.run = note_mail};

	mesh_loop_post(loop, &mail);
	mesh_loop_free(loop);
	assert_string_equal(record, "");
	assert_int_equal(mesh_loop_new(&memory.mem, &loop), 0);
	mesh_loop_free(NULL);
}

/* --- the descriptor --- */

static int polled(int fd, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, timeout_ms);
}

static void fd_shows_what_is_due(void **state)
{
	struct job job = {.task.run = work, .name = 't'};
	struct alarm alarm = {.name = 'a'};
	struct loop_mail mail = {.run = note_mail};
	struct pair pair;
	int fd = mesh_loop_fd(loop);

	assert_true(fd >= 0);
	assert_int_equal(mesh_loop_fd(loop), fd);
	assert_int_equal(polled(fd, 0), 0);
	start(&alarm, 5 * MS);
	assert_int_equal(polled(fd, 5000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_int_equal(polled(fd, 0), 0);
	mesh_loop_defer(loop, &job.task);
	assert_int_equal(polled(fd, 5000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	mesh_loop_post(loop, &mail);
	assert_int_equal(polled(fd, 5000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	open_pair(&pair, 'p', LOOP_READ);
	assert_int_equal(polled(fd, 0), 0);
	assert_int_equal(write(pair.peer, "x", 1), 1);
	assert_int_equal(polled(fd, 5000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_int_equal(polled(fd, 0), 0);
	assert_string_equal(record, "at2p");
	close_pair(&pair);
}

/* What was there before the descriptor was asked for shows too. */
static void fd_asked_for_late(void **state)
{
	struct alarm alarm = {.name = 'a'};
	struct loop_mail mail = {.run = note_mail};

	start(&alarm, 5 * MS);
	mesh_loop_post(loop, &mail);
	assert_int_equal(polled(mesh_loop_fd(loop), 5000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "2");
	while (!strchr(record, 'a')) {
		assert_int_equal(polled(mesh_loop_fd(loop), 5000), 1);
		assert_true(mesh_loop_run(loop, 0) >= 0);
	}
	assert_string_equal(record, "2a");
}

/* Timers that come earlier, go, come again; whatever idle rounds there are, each rings in time. */
static void fd_follows_the_nearest_timer(void **state)
{
	enum { MANY = 20 };
	static struct alarm many[MANY];
	uint64_t until;
	struct rand rand;
	int fd = mesh_loop_fd(loop), idle = 0;

	mesh_rand_seed(&rand, 8);
	for (int i = 0; i < MANY; i++) {
		many[i] = (struct alarm){.name = (char)('a' + i)};
		start(&many[i], (10 + mesh_rand_below(&rand, 40)) * MS);
		if (i % 3 == 0)
			mesh_timer_stop(loop, &many[i].timer);
		if (i % 3 == 1)
			start(&many[i], (1 + mesh_rand_below(&rand, 40)) * MS);
	}
	until = mesh_time_now_ns() + 30000 * MS;
	while (strlen(record) < MANY - 7 && mesh_time_now_ns() < until) {
		assert_int_equal(polled(fd, 20000), 1);
		idle += mesh_loop_run(loop, 0) == 0;
	}
	assert_int_equal(strlen(record), MANY - 7);
	assert_true(idle <= 10);
	assert_int_equal(polled(fd, 0), 0);
}

static void fd_shows_a_nearer_timer(void **state)
{
	struct alarm far = {.name = 'f'}, near = {.name = 'n'};
	int fd = mesh_loop_fd(loop);

	start(&far, 3600 * 1000 * MS);
	start(&near, 5 * MS);
	assert_int_equal(polled(fd, 10000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	assert_string_equal(record, "n");
	start(&near, 5 * MS); /* and again after the far one was armed for */
	assert_int_equal(polled(fd, 10000), 1);
	assert_int_equal(mesh_loop_run(loop, 0), 1);
	mesh_timer_stop(loop, &far.timer);
}

static void task_left_over_shows(void **state)
{
	struct job job = {.task.run = work, .name = '.'};
	int fd = mesh_loop_fd(loop);

	job.queues = &job;
	mesh_loop_defer(loop, &job.task);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(polled(fd, 5000), 1);
		assert_true(mesh_loop_run(loop, 0) > 0);
	}
	mesh_loop_undefer(&job.task);
}

static void ignore_signal(int number)
{
}

static void *interrupt(void *user)
{
	for (int i = 0; i < 5; i++) {
		usleep(3000);
		pthread_kill(*(pthread_t *)user, SIGUSR1);
	}
	return NULL;
}

static void signals_do_no_harm(void **state)
{
	struct sigaction action = {.sa_handler = ignore_signal}, before;
	pthread_t self = pthread_self(), thread;
	struct alarm alarm = {.name = 'a'};

	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(pthread_create(&thread, NULL, interrupt, &self), 0);
	start(&alarm, 30 * MS);
	while (!record[0])
		assert_true(mesh_loop_run(loop, -1) >= 0);
	pthread_join(thread, NULL);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(timers_in_order),
		TEST(timer_stops_timer),
		TEST(timer_without_delay_lets_go),
		TEST(warm_timers_allocate_nothing),
		TEST(old_clock_is_not_used),
		TEST(time_is_up),
		TEST(reads_and_writes),
		TEST(unwatch_inside_ready),
		TEST(unwatch_itself),
		TEST(many_descriptors),
		TEST(tasks),
		TEST(endless_task),
		TEST(task_of_ready_runs_in_the_round),
		TEST(no_round_in_a_round),
		TEST(post_from_threads),
		TEST(mail_wakes_a_poll),
		TEST(mail_posts_mail),
		TEST(unread_mail_is_dropped),
		TEST(fd_shows_what_is_due),
		TEST(fd_asked_for_late),
		TEST(fd_follows_the_nearest_timer),
		TEST(fd_shows_a_nearer_timer),
		TEST(task_left_over_shows),
		TEST(signals_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
