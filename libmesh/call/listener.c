/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a port is accepted on and how it ends: told to each worker by mail, so that nothing of a connection is ever
 * touched by another thread. Refuses to know what connections speak.
 */
#include "call/listener.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "call/inbound.h"

static const unsigned accept_burst = 64;
static const uint64_t pause_ns = 100 * 1000000ULL;
static const uint32_t grace_default_ms = 5000;

static void accept_ready(struct loop_io *io, unsigned what)
{
	struct acceptor *acceptor = MESH_CONTAINER(io, struct acceptor, io);
	struct loop *loop = acceptor->worker->env.loop;

	/* what is accepted may call the application, which may close the listener */
	for (unsigned i = 0; i < accept_burst && acceptor->accepting; i++) {
		struct address from;
		int fd, rc = mesh_socket_accept(acceptor->listener->fd, &fd, &from);

		if (rc == MESH_ERROR_AGAIN)
			return;
		if (rc) { /* out of descriptors: looking again at once would only burn the processor */
			MESH_LOG_W(&acceptor->listener->mesh->log, "listener", "port %u: accept: %s", acceptor->listener->port,
				   strerror(errno));
			mesh_loop_change(loop, &acceptor->io, 0);
			mesh_timer_start(loop, &acceptor->pause, pause_ns);
			return;
		}
		mesh_inbound_accept(acceptor->worker, acceptor->listener, fd, &from);
	}
}

static void pause_over(struct loop_timer *timer)
{
	struct acceptor *acceptor = MESH_CONTAINER(timer, struct acceptor, pause);

	if (acceptor->accepting)
		mesh_loop_change(acceptor->worker->env.loop, &acceptor->io, LOOP_READ);
}

static void acceptor_done(struct acceptor *acceptor)
{
	struct mesh_listener *listener = acceptor->listener;

	pthread_mutex_lock(&listener->lock);
	acceptor->ended = true;
	pthread_cond_broadcast(&listener->changed);
	pthread_mutex_unlock(&listener->lock);
}

static void acceptor_start(struct loop_mail *mail)
{
	struct acceptor *acceptor = MESH_CONTAINER(mail, struct acceptor, mail);
	struct mesh_listener *listener = acceptor->listener;

	acceptor->accepting =
		!mesh_loop_watch(acceptor->worker->env.loop, &acceptor->io, listener->fd, LOOP_READ);
	if (!acceptor->accepting)
		MESH_LOG_E(&listener->mesh->log, "listener", "port %u: cannot watch the socket", listener->port);
	acceptor_done(acceptor);
}

/* The last acceptor to stop closes the socket: from then on the kernel refuses connections in our place. */
static void stop_accepting(struct acceptor *acceptor)
{
	struct mesh_listener *listener = acceptor->listener;

	if (acceptor->stopped)
		return;
	acceptor->stopped = true;
	if (acceptor->accepting)
		mesh_loop_unwatch(acceptor->worker->env.loop, &acceptor->io);
	acceptor->accepting = false;
	mesh_timer_stop(acceptor->worker->env.loop, &acceptor->pause);
	pthread_mutex_lock(&listener->lock);
	if (++listener->stopped == listener->acceptor_count) {
		close(listener->fd);
		listener->fd = -1;
	}
	pthread_mutex_unlock(&listener->lock);
}

static void drain_own(struct inbound *inbound, void *listener)
{
	if (inbound->listener == listener)
		mesh_inbound_drain(inbound);
}

static void kill_own(struct inbound *inbound, void *listener)
{
	if (inbound->listener == listener)
		mesh_inbound_kill(inbound);
}

static void each_inbound(struct acceptor *acceptor, void (*visit)(struct inbound *inbound, void *listener))
{
	mesh_inbound_each(acceptor->worker, visit, acceptor->listener);
}

static void acceptor_drain(struct loop_mail *mail)
{
	struct acceptor *acceptor = MESH_CONTAINER(mail, struct acceptor, mail);

	stop_accepting(acceptor);
	each_inbound(acceptor, drain_own);
	acceptor_done(acceptor);
}

static void acceptor_kill(struct loop_mail *mail)
{
	struct acceptor *acceptor = MESH_CONTAINER(mail, struct acceptor, mail);

	each_inbound(acceptor, kill_own);
	acceptor_done(acceptor);
}

/* Every worker does `what`; returns when all did. A borrowed worker's thread is this one. */
static void tell_acceptors(struct mesh_listener *listener, void (*what)(struct loop_mail *mail))
{
	for (unsigned i = 0; i < listener->acceptor_count; i++) {
		struct acceptor *acceptor = &listener->acceptors[i];

		acceptor->ended = false;
		acceptor->mail.run = what;
		if (!listener->borrowed)
			mesh_loop_post(acceptor->worker->env.loop, &acceptor->mail);
		else
			what(&acceptor->mail);
	}
	pthread_mutex_lock(&listener->lock);
	for (unsigned i = 0; i < listener->acceptor_count; i++)
		while (!listener->acceptors[i].ended)
			pthread_cond_wait(&listener->changed, &listener->lock);
	pthread_mutex_unlock(&listener->lock);
}

/* Until its connections are gone or the time is up. */
static void wait_connections(struct mesh_listener *listener, uint32_t ms)
{
	uint64_t until = mesh_time_now_ns() + (uint64_t)ms * 1000000;

	while (atomic_load_explicit(&listener->connections, memory_order_acquire) && mesh_time_now_ns() < until)
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void listener_free(struct mesh_listener *listener)
{
	struct mesh *mesh = listener->mesh;

	if (listener->fd >= 0)
		close(listener->fd);
	pthread_cond_destroy(&listener->changed);
	pthread_mutex_destroy(&listener->lock);
	mesh_mem_free(&mesh->mem, listener->acceptors);
	mesh_mem_free(&mesh->mem, listener);
}

/* A borrowed worker's, closed, that nothing points to any more. Under mesh->shared.lock. */
static bool is_over(struct mesh_listener *listener)
{
	while (listener->held) /* not long: a drain only posts to it */
		pthread_cond_wait(&listener->mesh->shared.changed, &listener->mesh->shared.lock);
	return atomic_load(&listener->closing) && !atomic_load(&listener->mails) && !atomic_load(&listener->connections);
}

void mesh_listener_reap(struct mesh_listener *listener)
{
	struct mesh *mesh = listener->mesh;
	struct acceptor *acceptor = &listener->acceptors[0];
	bool over;

	pthread_mutex_lock(&mesh->shared.lock);
	over = is_over(listener);
	if (over)
		mesh_list_remove(&listener->link);
	pthread_mutex_unlock(&mesh->shared.lock);
	if (!over)
		return;
	if (acceptor->worker)
		mesh_timer_stop(acceptor->worker->env.loop, &acceptor->grace);
	listener_free(listener);
}

static void borrowed_drain(struct loop_mail *mail)
{
	struct acceptor *acceptor = MESH_CONTAINER(mail, struct acceptor, mail);
	struct mesh_listener *listener = acceptor->listener;

	if (acceptor->worker) {
		stop_accepting(acceptor);
		each_inbound(acceptor, drain_own);
	}
	atomic_fetch_sub(&listener->mails, 1);
	mesh_listener_reap(listener);
}

static void borrowed_close(struct loop_mail *mail)
{
	struct acceptor *acceptor = MESH_CONTAINER(mail, struct acceptor, close);
	struct mesh_listener *listener = acceptor->listener;

	if (acceptor->worker) {
		stop_accepting(acceptor);
		each_inbound(acceptor, drain_own);
		if (mesh_timer_start(acceptor->worker->env.loop, &acceptor->grace, (uint64_t)listener->grace_ms * 1000000))
			each_inbound(acceptor, kill_own);
	}
	atomic_fetch_sub(&listener->mails, 1);
	mesh_listener_reap(listener);
}

static void grace_over(struct loop_timer *timer)
{
	each_inbound(MESH_CONTAINER(timer, struct acceptor, grace), kill_own);
}

/* By mail even on its own thread: connections may be walked over, or run the callback this is called from. */
static void tell_borrowed(struct mesh_listener *listener, bool closing)
{
	struct acceptor *acceptor = &listener->acceptors[0];
	struct loop_mail *mail = closing ? &acceptor->close : &acceptor->mail;

	atomic_fetch_add(&listener->mails, 1); /* first: it keeps a closing one */
	if (closing)
		atomic_store(&listener->closing, true);
	mail->run = closing ? borrowed_close : borrowed_drain;
	mesh_loop_post(acceptor->worker->env.loop, mail);
}

/* The next listener that accepts on it, under mesh->shared.lock. */
static struct mesh_listener *of_worker(struct mesh_worker *worker)
{
	MESH_LIST_EACH(at, &worker->mesh->shared.listeners) {
		struct mesh_listener *listener = MESH_CONTAINER(at, struct mesh_listener, link);

		if (listener->borrowed && listener->acceptors[0].worker == worker)
			return listener;
	}
	return NULL;
}

void mesh_listeners_leave(struct mesh_worker *worker)
{
	struct mesh *mesh = worker->mesh;
	struct mesh_listener *listener;

	pthread_mutex_lock(&mesh->shared.lock);
	while ((listener = of_worker(worker)) != NULL) {
		struct acceptor *acceptor = &listener->acceptors[0];
		bool over = is_over(listener);

		stop_accepting(acceptor);
		mesh_timer_stop(worker->env.loop, &acceptor->grace);
		/* its connections and mail still come to their end in the worker's last round */
		acceptor->worker = NULL;
		if (over) {
			mesh_list_remove(&listener->link);
			listener_free(listener);
		}
	}
	pthread_mutex_unlock(&mesh->shared.lock);
}

static int set_acceptors(struct mesh_listener *listener, struct mesh_worker *borrowed)
{
	struct mesh *mesh = listener->mesh;
	unsigned count = borrowed ? 1 : mesh->shared.library_count;

	listener->acceptors = mesh_mem_array(&mesh->mem, count, sizeof(*listener->acceptors));
	if (!listener->acceptors)
		return MESH_ERROR_NOMEM;
	listener->acceptor_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct acceptor *acceptor = &listener->acceptors[i];

		acceptor->listener = listener;
		acceptor->worker = borrowed ? borrowed : mesh->shared.library[i];
		acceptor->io.fd = -1;
		acceptor->io.ready = accept_ready;
		acceptor->pause.due = pause_over;
		acceptor->grace.due = grace_over;
	}
	return 0;
}

static int open_socket(struct mesh_listener *listener, const struct mesh_listen_options *options)
{
	struct mesh_slice ip = options->address ? mesh_slice_of(options->address) : MESH_SLICE("0.0.0.0");
	struct address at;
	struct why why = {{0}};
	int rc = mesh_address_parse(&at, ip, options->port);

	if (rc)
		return rc;
	rc = mesh_socket_listen(&at, options->backlog > 0 ? options->backlog : 1024, false, &listener->fd, &why);
	if (rc) {
		MESH_LOG_E(&listener->mesh->log, "listener", "%s", why.text);
		return rc;
	}
	rc = mesh_socket_local(listener->fd, &at);
	listener->port = mesh_address_port(&at);
	return rc;
}

int mesh_listener_make(struct mesh *mesh, const struct mesh_listen_options *options, struct mesh_listener **result)
{
	struct mesh_listener *listener = mesh_mem_zalloc(&mesh->mem, sizeof(*listener));
	int rc;

	if (!listener)
		return MESH_ERROR_NOMEM;
	listener->mesh = mesh;
	listener->fd = -1;
	listener->borrowed = options->worker;
	listener->handler = options->handler;
	listener->stream_handler = options->stream_handler;
	listener->user = options->user;
	listener->request_bytes_max = options->request_bytes_max;
	listener->grace_ms = options->grace_ms ? options->grace_ms : grace_default_ms;
	pthread_mutex_init(&listener->lock, NULL);
	pthread_cond_init(&listener->changed, NULL);
	rc = open_socket(listener, options);
	if (!rc)
		rc = set_acceptors(listener, options->worker);
	if (rc) {
		listener_free(listener);
		return rc;
	}
	tell_acceptors(listener, acceptor_start);
	pthread_mutex_lock(&mesh->shared.lock);
	mesh_list_push(&mesh->shared.listeners, &listener->link);
	pthread_mutex_unlock(&mesh->shared.lock);
	*result = listener;
	return 0;
}

void mesh_listener_drain(struct mesh_listener *listener)
{
	if (atomic_exchange(&listener->draining, true))
		return;
	if (!listener->borrowed)
		tell_acceptors(listener, acceptor_drain);
	else if (listener->acceptors[0].worker)
		tell_borrowed(listener, false);
}

static void borrowed_destroy(struct mesh_listener *listener)
{
	struct acceptor *acceptor = &listener->acceptors[0];
	struct mesh_worker *worker = acceptor->worker;

	if (atomic_load(&listener->closing))
		return; /* its worker was not driven since */
	atomic_store(&listener->draining, true);
	if (!worker) {
		atomic_store(&listener->closing, true);
		mesh_listener_reap(listener);
		return;
	}
	if (mesh_worker_here(worker))
		stop_accepting(acceptor); /* now */
	tell_borrowed(listener, true);
}

void mesh_listener_destroy(struct mesh_listener *listener)
{
	struct mesh *mesh = listener->mesh;
	bool drained;

	if (listener->borrowed) {
		borrowed_destroy(listener);
		return;
	}
	pthread_mutex_lock(&mesh->shared.lock);
	while (listener->held)
		pthread_cond_wait(&mesh->shared.changed, &mesh->shared.lock);
	drained = atomic_exchange(&listener->draining, true); /* from here on mesh_drain passes it by */
	pthread_mutex_unlock(&mesh->shared.lock);
	if (!drained)
		tell_acceptors(listener, acceptor_drain);
	wait_connections(listener, listener->grace_ms);
	tell_acceptors(listener, acceptor_kill);
	wait_connections(listener, grace_default_ms); /* for the memory to be given back: one round of each loop */
	pthread_mutex_lock(&mesh->shared.lock);
	mesh_list_remove(&listener->link);
	pthread_mutex_unlock(&mesh->shared.lock);
	listener_free(listener);
}
