/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what becomes of an accepted connection: waits for configuration, looks at the first bytes when the chains ask
 * for it, takes the chain Envoy would take, secures it, refuses it, or gives it a mux. Every stage has a time limit.
 * Refuses to know requests.
 */
#include "call/inbound.h"

#include <errno.h>
#include <unistd.h>

#include "call/call.h"
#include "call/serve.h"
#include "net/sniff.h"
#include "policy/chain_match.h"

static const uint64_t second_ns = 1000000000ULL;
static const uint64_t handshake_default_ns = 15 * second_ns; /* sniffing and TLS together */
static const uint64_t head_default_ns = 60 * second_ns;      /* a request head that has begun */
static const uint64_t idle_default_ns = 3600 * second_ns;    /* Envoy's hour */
static const uint64_t stream_idle_default_ns = 300 * second_ns; /* Envoy's 5 minutes */
static const unsigned linger_reads_max = 16;
static const uint64_t linger_ns = 1 * second_ns;
static const size_t head_arena_bytes = 256 * 1024;

/* HTTP/2 is not spoken yet: offering it would be a promise broken. */
static const struct mesh_slice alpn_http11 = {"\x08http/1.1", 9};

static void inbound_step(struct inbound *inbound);

static void stat_add(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void reap(struct loop_task *task)
{
	struct inbound *inbound = MESH_CONTAINER(task, struct inbound, reap);
	struct mesh_listener *listener = inbound->listener;
	struct mesh *mesh = inbound->worker->mesh;

	mesh_mux_free(inbound->mux);
	mesh_transport_free(inbound->transport);
	if (inbound->fd >= 0)
		close(inbound->fd);
	mesh_buf_free(&inbound->head);
	mesh_arena_free(&inbound->arena);
	mesh_snapshot_release(inbound->snapshot);
	mesh_mem_free(&mesh->mem, inbound);
	stat_add(&listener->stats.cx_destroy);
	atomic_fetch_sub_explicit(&listener->connections, 1, memory_order_release);
	atomic_fetch_sub_explicit(&mesh->inbound, 1, memory_order_release);
	mesh_notify(mesh);
}

/* Off the worker; memory goes when nobody is inside any more. */
static void inbound_end(struct inbound *inbound)
{
	struct loop *loop = inbound->worker->env.loop;

	if (inbound->state == INBOUND_DEAD)
		return;
	inbound->state = INBOUND_DEAD;
	mesh_list_remove(&inbound->link);
	mesh_timer_stop(loop, &inbound->timer);
	mesh_loop_undefer(&inbound->flush);
	if (inbound->io.fd >= 0)
		mesh_loop_unwatch(loop, &inbound->io);
	mesh_loop_defer(loop, &inbound->reap);
}

void mesh_inbound_kill(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;

	if (inbound->state == INBOUND_DEAD)
		return;
	/* calls on it end first; they take their exchanges off the mux */
	MESH_LIST_EACH_SAFE(at, &worker->calls) {
		struct mesh_call *call = MESH_CONTAINER(at, struct mesh_call, link);

		if (call->server && call->serve.inbound == inbound && !atomic_load(&call->over))
			mesh_call_finish(call, MESH_ERROR_CLOSED, "the connection was closed");
	}
	inbound_end(inbound);
}

static uint64_t idle_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	if (!http || http->idle_timeout_ns < 0)
		return idle_default_ns;
	return (uint64_t)http->idle_timeout_ns;
}

static uint64_t head_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	return http && http->request_headers_timeout_ns > 0 ? (uint64_t)http->request_headers_timeout_ns : head_default_ns;
}

/* Neither side of a request moves. */
static uint64_t stream_idle_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	if (!http)
		return 0;
	return http->stream_idle_timeout_ns < 0 ? stream_idle_default_ns : (uint64_t)http->stream_idle_timeout_ns;
}

/* A request from its head to its last byte. */
static uint64_t request_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	return http && http->request_timeout_ns > 0 ? (uint64_t)http->request_timeout_ns : 0;
}

static void start_timer(struct inbound *inbound, uint64_t ns)
{
	if (ns)
		mesh_timer_start(inbound->worker->env.loop, &inbound->timer, ns);
	else
		mesh_timer_stop(inbound->worker->env.loop, &inbound->timer);
}

/* A head is timed from its first byte: a peer that sends one now and then would never be late otherwise. */
static void watch_head(struct inbound *inbound)
{
	if (!mesh_mux_receiving_head(inbound->mux)) {
		inbound->head_ns = 0;
	} else if (!inbound->head_ns || inbound->head_number != inbound->mux->carried) {
		inbound->head_ns = mesh_loop_now_ns(inbound->worker->env.loop);
		inbound->head_number = inbound->mux->carried;
	}
}

/* Answers what became too late and ends the connection. */
static void expire(struct inbound *inbound, int error, int status, const char *why)
{
	mesh_mux_drain(inbound->mux);
	mesh_serve_expire(inbound, error, status, why);
	mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN) /* not even that much can be sent */
		mesh_inbound_kill(inbound);
}

/* True: a request took too long, and the connection with it. */
static bool check_request(struct inbound *inbound, uint64_t now)
{
	uint64_t stream = stream_idle_limit_ns(inbound), request = request_limit_ns(inbound), since;

	if (!inbound->mux->active)
		return false;
	since = request || stream ? mesh_serve_receiving_since_ns(inbound) : 0;
	if (request && since && now - since >= request)
		expire(inbound, MESH_ERROR_TIMEOUT, 408, "request timeout");
	else if (stream && now - inbound->active_ns >= stream)
		expire(inbound, MESH_ERROR_IDLE_TIMEOUT, since ? 408 : 504, "stream timeout");
	else
		return false;
	return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return b && (!a || b < a) ? b : a;
}

/* Open connections: the timer is not moved at each request but looks how long ago the last sign of life was. */
static void check_idle(struct inbound *inbound)
{
	uint64_t now = mesh_loop_now_ns(inbound->worker->env.loop), quiet = now - inbound->active_ns;
	uint64_t idle = idle_limit_ns(inbound), head = head_limit_ns(inbound);

	watch_head(inbound);
	if (inbound->head_ns && now - inbound->head_ns >= head) {
		mesh_mux_refuse(inbound->mux, 408, "the request head took too long");
		mesh_inbound_flush(inbound);
		if (inbound->state == INBOUND_OPEN) /* not even that much can be sent */
			mesh_inbound_kill(inbound);
		return;
	}
	if (!inbound->mux->active && !inbound->head_ns && idle && quiet >= idle) {
		mesh_mux_drain(inbound->mux);
		if (inbound->state != INBOUND_DEAD)
			mesh_inbound_kill(inbound);
		return;
	}
	if (check_request(inbound, now))
		return;
	start_timer(inbound, sooner(sooner(sooner(idle, head), stream_idle_limit_ns(inbound)), request_limit_ns(inbound)));
}

static void timer_due(struct loop_timer *timer)
{
	struct inbound *inbound = MESH_CONTAINER(timer, struct inbound, timer);

	if (inbound->state == INBOUND_OPEN)
		check_idle(inbound);
	else
		mesh_inbound_kill(inbound);
}

static struct exchange *mux_accept(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	return mesh_serve_accept(inbound);
}

static void mux_dirty(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	inbound->dirty = true;
	if (!inbound->in_ready)
		mesh_loop_defer(inbound->worker->env.loop, &inbound->flush);
}

static void mux_wants(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	if (inbound->state == INBOUND_OPEN)
		mesh_loop_change(inbound->worker->env.loop, &inbound->io, mesh_mux_wants(mux));
}

static void mux_idle(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	inbound->active_ns = mesh_loop_now_ns(inbound->worker->env.loop);
}

/* Everything is answered. Closing at once could destroy what the peer has not read yet: end our side and wait a little. */
static void mux_closed(struct mux *mux, int error, const char *why)
{
	struct inbound *inbound = mux->user;

	if (inbound->state != INBOUND_OPEN)
		return;
	if (error)
		MESH_LOG_D(&inbound->worker->mesh->log, "inbound", "port %u: %s", inbound->listener->port, why);
	inbound->transport->ops->shutdown(inbound->transport);
	if (error == MESH_ERROR_RESET || error == MESH_ERROR_TLS) {
		inbound_end(inbound);
		return;
	}
	inbound->state = INBOUND_LINGERING;
	mesh_loop_change(inbound->worker->env.loop, &inbound->io, LOOP_READ);
	start_timer(inbound, linger_ns);
}

static const struct mux_owner server_owner = {
	.accept = mux_accept,
	.dirty = mux_dirty,
	.wants = mux_wants,
	.idle = mux_idle,
	.closed = mux_closed,
};

void mesh_inbound_flush(struct inbound *inbound)
{
	if (inbound->state != INBOUND_OPEN || inbound->in_ready)
		return;
	mesh_loop_undefer(&inbound->flush);
	inbound->dirty = false;
	inbound->active_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	mesh_mux_flush(inbound->mux);
}

static void flush_task(struct loop_task *task)
{
	mesh_inbound_flush(MESH_CONTAINER(task, struct inbound, flush));
}

static void mux_step(struct inbound *inbound, unsigned what)
{
	inbound->active_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	inbound->in_ready = true;
	mesh_mux_ready(inbound->mux, what);
	inbound->in_ready = false;
	if (inbound->dirty)
		mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN)
		watch_head(inbound);
}

/* The bytes a lingering peer still sends mean nothing; its close ends it. */
static void linger_step(struct inbound *inbound)
{
	char waste[4096];
	unsigned reads = 0;
	ssize_t n;

	do
		n = recv(inbound->transport->fd, waste, sizeof(waste), MSG_DONTWAIT);
	while (n > 0 && ++reads < linger_reads_max); /* others on this thread want their turn, and the timer its */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		inbound_end(inbound);
}

void mesh_inbound_drain(struct inbound *inbound)
{
	inbound->draining = true;
	if (inbound->state == INBOUND_OPEN)
		mesh_mux_drain(inbound->mux);
	else if (inbound->state != INBOUND_LINGERING)
		mesh_inbound_kill(inbound);
}

void mesh_inbound_authz(const struct inbound *inbound, struct authz_request *request)
{
	const struct peer_info *peer = &inbound->transport->peer;

	memset(request, 0, sizeof(*request));
	request->authenticated = peer->mutual;
	request->uri_sans = peer->uri_sans;
	request->uri_san_count = peer->uri_san_count;
	request->dns_sans = peer->dns_sans;
	request->dns_san_count = peer->dns_san_count;
	request->subject = peer->subject;
	request->source = request->direct = &inbound->remote;
	request->destination = &inbound->local;
	request->server_name = inbound->server_name;
}

static bool connection_allowed(struct inbound *inbound)
{
	struct authz_request request;
	struct authz_result result;

	mesh_inbound_authz(inbound, &request);
	for (size_t i = 0; i < inbound->chain->authz_count; i++) {
		mesh_rbac_check(&inbound->chain->authz[i], &request, &inbound->arena, &result);
		if (!result.allowed) {
			stat_add(&inbound->listener->stats.cx_denied);
			return false;
		}
	}
	return true;
}

static void open_mux(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;
	struct mux_limits limits = mesh_mux_limits_default;
	const struct http_config *http = inbound->chain->http;

	if (!connection_allowed(inbound)) {
		mesh_inbound_kill(inbound);
		return;
	}
	if (http && http->request_head_kb_max)
		limits.head_bytes_max = (size_t)http->request_head_kb_max * 1024;
	if (http && http->header_count_max)
		limits.header_count_max = http->header_count_max;
	if (http && http->requests_per_connection_max)
		limits.requests_max = http->requests_per_connection_max;
	limits.http_10 = http && http->accept_http_10;
	if (mesh_mux_http1_new(&worker->mesh->mem, inbound->transport, true, &server_owner, &limits,
			       inbound->tls ? (struct mesh_slice){NULL, 0} : mesh_buf_slice(&inbound->head), &inbound->mux)) {
		mesh_inbound_kill(inbound);
		return;
	}
	inbound->mux->user = inbound;
	inbound->state = INBOUND_OPEN;
	inbound->active_ns = mesh_loop_now_ns(worker->env.loop);
	mesh_buf_free(&inbound->head);
	check_idle(inbound);
	mesh_loop_change(worker->env.loop, &inbound->io, mesh_mux_wants(inbound->mux));
	if (inbound->draining)
		mesh_mux_drain(inbound->mux);
	mux_step(inbound, LOOP_READ);
}

static void secure_step(struct inbound *inbound)
{
	int rc = inbound->transport->ops->handshake(inbound->transport);

	if (rc == MESH_ERROR_AGAIN) {
		mesh_loop_change(inbound->worker->env.loop, &inbound->io, inbound->transport->wants);
		return;
	}
	if (rc) {
		char from[MESH_ADDRESS_TEXT_BYTES];

		stat_add(&inbound->listener->stats.cx_ssl_error);
		mesh_address_text(&inbound->remote, from);
		MESH_LOG_I(&inbound->worker->mesh->log, "inbound", "port %u: %s: %s", inbound->listener->port, from,
			   inbound->transport->why.text);
		mesh_inbound_kill(inbound);
		return;
	}
	if (inbound->tls)
		stat_add(&inbound->listener->stats.cx_ssl);
	open_mux(inbound);
}

static int make_transport(struct inbound *inbound, struct why *why)
{
	struct mesh_worker *worker = inbound->worker;
	const struct mesh_mem *mem = &worker->mesh->mem;
	struct tls_config tls;
	struct tls_context *context;
	const struct secret *certificate, *roots;
	int rc, fd = inbound->fd;

	if (!inbound->chain->tls) {
		inbound->tls = false;
		inbound->fd = -1;
		return mesh_transport_plain_new(mem, fd, &inbound->transport);
	}
	tls = *inbound->chain->tls;
	tls.alpn = alpn_http11;
	certificate = mesh_snapshot_secret(inbound->snapshot, tls.certificate_name);
	roots = tls.roots_name.len ? mesh_snapshot_secret(inbound->snapshot, tls.roots_name) : NULL;
	if (!certificate || (tls.roots_name.len && !roots) || (tls.require_client_certificate && !roots))
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate or roots of chain %.*s are not there",
				(int)inbound->chain->name.len, inbound->chain->name.data);
	rc = mesh_tls_store_get(worker->mesh->tls, &tls, true, certificate, roots, &context, why);
	if (rc)
		return rc;
	inbound->fd = -1;
	inbound->tls = true;
	rc = mesh_transport_tls_server_new(mem, fd, context, mesh_buf_slice(&inbound->head), &inbound->transport);
	mesh_tls_context_release(context);
	return rc;
}

static const struct chain *choose_chain(const struct inbound *inbound, const struct snapshot *snapshot)
{
	struct chain_request request = {
		.port = inbound->listener->port,
		.destination = &inbound->local,
		.source = &inbound->remote,
		.server_name = inbound->server_name,
		.tls = inbound->tls,
		.alpn = inbound->alpn,
		.alpn_count = inbound->alpn_count,
	};

	return snapshot->virtual_inbound ? mesh_chain_find(snapshot->virtual_inbound, &request) : NULL;
}

static void take_chain(struct inbound *inbound)
{
	struct mesh *mesh = inbound->worker->mesh;
	struct why why = {{0}};
	int rc = 0;

	inbound->chain = choose_chain(inbound, inbound->snapshot);
	if (!inbound->chain || inbound->chain->kind == CHAIN_BLACKHOLE || inbound->chain->kind == CHAIN_FAIL_CLOSED) {
		stat_add(&inbound->listener->stats.cx_no_chain);
		MESH_LOG_I(&mesh->log, "inbound", "port %u: refused: %s", inbound->listener->port,
			   !inbound->chain ? "no filter chain takes this connection"
					   : inbound->chain->reason.len ? inbound->chain->reason.data : "blackhole");
		mesh_inbound_kill(inbound);
		return;
	}
	/* TLS that is not the mesh's, on a chain that does not end it: there is no application protocol for us in it */
	if (inbound->tls && !inbound->chain->tls)
		rc = mesh_why(&why, MESH_ERROR_PROTOCOL, "TLS not meant for the mesh");
	if (!rc)
		rc = make_transport(inbound, &why);
	if (rc) {
		stat_add(&inbound->listener->stats.cx_no_chain);
		MESH_LOG_W(&mesh->log, "inbound", "port %u: %s", inbound->listener->port, why.text);
		mesh_inbound_kill(inbound);
		return;
	}
	inbound->state = INBOUND_SECURING;
	if (inbound->tls && inbound->chain->transport_timeout_ns > 0)
		start_timer(inbound, (uint64_t)inbound->chain->transport_timeout_ns);
	secure_step(inbound);
}

static int read_head(struct inbound *inbound)
{
	char *room = mesh_buf_reserve(&inbound->head, 4096);
	ssize_t n;

	if (!room)
		return MESH_ERROR_NOMEM;
	do
		n = recv(inbound->fd, room, 4096, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? MESH_ERROR_AGAIN : MESH_ERROR_RESET;
	if (n == 0)
		return MESH_ERROR_RESET;
	mesh_buf_commit(&inbound->head, (size_t)n);
	return 0;
}

static int keep_sniffed(struct inbound *inbound, const struct sniff *sniff)
{
	static const struct mesh_slice http1 = {"http/1.1", 8}, h2c = {"h2c", 3};
	bool failed = false;

	inbound->tls = sniff->kind == SNIFF_TLS;
	inbound->alpn_count = inbound->tls ? sniff->alpn_count : sniff->kind == SNIFF_HTTP1 || sniff->kind == SNIFF_HTTP2;
	inbound->server_name = mesh_arena_slice(&inbound->arena, sniff->server_name, &failed);
	inbound->alpn = mesh_arena_array(&inbound->arena, inbound->alpn_count + 1, sizeof(*inbound->alpn));
	if (!inbound->alpn || failed)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; inbound->tls && i < sniff->alpn_count; i++)
		inbound->alpn[i] = mesh_arena_slice(&inbound->arena, sniff->alpn[i], &failed);
	if (sniff->kind == SNIFF_HTTP1)
		inbound->alpn[0] = http1;
	if (sniff->kind == SNIFF_HTTP2)
		inbound->alpn[0] = h2c;
	inbound->sniffed = true;
	return failed ? MESH_ERROR_NOMEM : 0;
}

static void sniff_step(struct inbound *inbound)
{
	struct sniff sniff = {0};
	int rc = read_head(inbound);

	if (rc == MESH_ERROR_AGAIN)
		return;
	if (!rc)
		rc = mesh_sniff(mesh_buf_slice(&inbound->head), &inbound->arena, &sniff);
	if (rc < 0 || sniff.kind == SNIFF_INVALID) {
		mesh_inbound_kill(inbound);
		return;
	}
	if (sniff.kind == SNIFF_MORE)
		return;
	if (keep_sniffed(inbound, &sniff))
		mesh_inbound_kill(inbound);
	else
		take_chain(inbound);
}

static void io_ready(struct loop_io *io, unsigned what)
{
	struct inbound *inbound = MESH_CONTAINER(io, struct inbound, io);

	switch (inbound->state) {
	case INBOUND_SNIFFING:
		sniff_step(inbound);
		break;
	case INBOUND_SECURING:
		secure_step(inbound);
		break;
	case INBOUND_OPEN:
		mux_step(inbound, what);
		break;
	case INBOUND_LINGERING:
		linger_step(inbound);
		break;
	case INBOUND_WAITING: /* level-triggered: not watched for reading while it waits */
		mesh_inbound_kill(inbound);
		break;
	case INBOUND_DEAD:
		break;
	}
}

static bool configured(const struct snapshot *snapshot)
{
	return snapshot && snapshot->complete && snapshot->virtual_inbound &&
	       mesh_snapshot_secret(snapshot, MESH_SLICE("default"));
}

static void inbound_step(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;

	mesh_worker_refresh(worker);
	if (!configured(worker->env.snapshot)) {
		inbound->state = INBOUND_WAITING;
		mesh_loop_change(worker->env.loop, &inbound->io, 0);
		stat_add(&inbound->listener->stats.cx_wait);
		return;
	}
	inbound->snapshot = mesh_snapshot_retain(worker->env.snapshot);
	start_timer(inbound, handshake_default_ns);
	mesh_loop_change(worker->env.loop, &inbound->io, LOOP_READ);
	inbound->state = INBOUND_SNIFFING;
	if (mesh_chain_needs_sniffing(inbound->snapshot->virtual_inbound, inbound->listener->port))
		sniff_step(inbound);
	else
		take_chain(inbound);
}

void mesh_inbound_retry(struct mesh_worker *worker)
{
	MESH_LIST_EACH_SAFE(at, &worker->inbound) {
		struct inbound *inbound = MESH_CONTAINER(at, struct inbound, link);

		if (inbound->state == INBOUND_WAITING)
			inbound_step(inbound);
	}
}

void mesh_inbound_refresh(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;
	const struct chain *chain;

	mesh_worker_refresh(worker);
	if (inbound->snapshot == worker->env.snapshot)
		return;
	if (inbound->snapshot->virtual_inbound == worker->env.snapshot->virtual_inbound) {
		chain = inbound->chain;
	} else {
		chain = choose_chain(inbound, worker->env.snapshot);
		/* other security than this connection has: its present requests end as they began, no further ones */
		if (!chain || chain->kind != inbound->chain->kind || !chain->tls != !inbound->chain->tls) {
			mesh_inbound_drain(inbound);
			return;
		}
	}
	/* calls under way keep the old one alive: serve.c holds a reference for each */
	mesh_snapshot_release(inbound->snapshot);
	inbound->snapshot = mesh_snapshot_retain(worker->env.snapshot);
	inbound->chain = chain;
}

void mesh_inbound_accept(struct mesh_worker *worker, struct mesh_listener *listener, int fd, const struct address *remote)
{
	struct mesh *mesh = worker->mesh;
	struct inbound *inbound = mesh_mem_zalloc(&mesh->mem, sizeof(*inbound));

	if (!inbound) {
		close(fd);
		return;
	}
	inbound->worker = worker;
	inbound->listener = listener;
	inbound->fd = fd;
	inbound->remote = *remote;
	inbound->io.fd = -1;
	inbound->io.ready = io_ready;
	inbound->timer.due = timer_due;
	inbound->flush.run = flush_task;
	inbound->reap.run = reap;
	mesh_buf_init(&inbound->head, &mesh->mem, MESH_SNIFF_BYTES_MAX + 4096);
	mesh_arena_init(&inbound->arena, &mesh->mem, head_arena_bytes);
	atomic_fetch_add_explicit(&listener->connections, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mesh->inbound, 1, memory_order_relaxed);
	stat_add(&listener->stats.cx_total);
	mesh_list_push(&worker->inbound, &inbound->link);
	if (mesh_socket_local(fd, &inbound->local) || mesh_loop_watch(worker->env.loop, &inbound->io, fd, LOOP_READ)) {
		mesh_inbound_kill(inbound);
		return;
	}
	inbound_step(inbound);
}
