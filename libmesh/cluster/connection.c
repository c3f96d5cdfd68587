/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the life of one HTTP connection once it was dialled: its mux, reading and flushing once per event, its longest
 * duration, dying in one place. Refuses to know requests and retries.
 */
#include "cluster/connection.h"

#include "cluster/pool.h"
#include "net/socket.h"

static const unsigned streams_default = 1024; /* Envoy's, of HTTP/2 */

static struct connection *connection_of(struct dial *dial)
{
	return MESH_CONTAINER(dial, struct connection, dial);
}

void mesh_connection_kill(struct connection *connection)
{
	if (connection->state == CONNECTION_DEAD)
		return;
	connection->pool->opening_room -= connection->expected;
	connection->expected = 0;
	connection->state = CONNECTION_DEAD;
	mesh_list_remove(&connection->link);
	mesh_loop_undefer(&connection->flush);
	mesh_timer_stop(connection->dial.env->loop, &connection->ping);
	if (connection->mux) {
		connection->dial.read_bytes = connection->mux->read_bytes;
		connection->dial.written_bytes = connection->mux->written_bytes;
		if (connection->mux->limits.requests_max && connection->mux->carried >= connection->mux->limits.requests_max)
			mesh_counter_add(&connection->pool->endpoint->cluster->stats->cx_max_requests, 1);
	}
	mesh_dial_kill(&connection->dial);
}

static void mux_dirty(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	connection->dirty = true;
	if (!connection->in_ready && connection->state != CONNECTION_DEAD)
		mesh_loop_defer(connection->dial.env->loop, &connection->flush);
}

static void mux_wants(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	if (connection->state != CONNECTION_DEAD)
		mesh_loop_change(connection->dial.env->loop, &connection->dial.io, mesh_mux_wants(mux));
}

static void mux_idle(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	if (connection->state != CONNECTION_DEAD)
		mesh_pool_returned(connection);
}

static void mux_closed(struct mux *mux, int error, const char *why)
{
	struct connection *connection = mesh_connection_of(mux);
	struct endpoint *endpoint = connection->dial.endpoint;

	if (error && connection->state != CONNECTION_DEAD)
		MESH_LOG_D(connection->dial.env->log, "connection", "%.*s: %s", (int)endpoint->shared->text.len,
			   endpoint->shared->text.data, why);
	mesh_connection_kill(connection);
	mesh_pool_refill(connection->pool);
}

static const struct mux_owner client_owner = {
	.dirty = mux_dirty,
	.wants = mux_wants,
	.idle = mux_idle,
	.closed = mux_closed,
};

void mesh_connection_flush(struct connection *connection)
{
	if (!connection->mux || connection->state == CONNECTION_DEAD || connection->in_ready)
		return;
	mesh_loop_undefer(&connection->flush);
	connection->dirty = false;
	mesh_mux_flush(connection->mux);
}

static void flush_task(struct loop_task *task)
{
	mesh_connection_flush(MESH_CONTAINER(task, struct connection, flush));
}

static void mux_ready(struct connection *connection, unsigned what)
{
	connection->in_ready = true;
	mesh_mux_ready(connection->mux, what);
	connection->in_ready = false;
	if (connection->dirty)
		mesh_connection_flush(connection);
}

static void io_ready(struct loop_io *io, unsigned what)
{
	mux_ready(MESH_CONTAINER(io, struct connection, dial.io), what);
}

static void duration_over(struct loop_timer *timer)
{
	struct connection *connection = MESH_CONTAINER(timer, struct connection, dial.timer);

	mesh_mux_drain(connection->mux);
	mesh_pool_returned(connection); /* nothing on it: it goes */
}

static void ping_due(struct loop_timer *timer);

/* Keepalive is the loop's: who drives it seldom is told late. Answers that are there by then were read before. */
static void ping_send(struct connection *connection)
{
	const struct http2_config *http2 = &connection->mux->limits.http2;
	struct loop *loop = connection->dial.env->loop;

	connection->ping_ns = mesh_loop_now_ns(loop);
	connection->ping.due = ping_due;
	mesh_mux_ping(connection->mux);
	mesh_timer_start(loop, &connection->ping, (uint64_t)http2->ping_timeout_ns);
}

static void ping_due(struct loop_timer *timer)
{
	struct connection *connection = MESH_CONTAINER(timer, struct connection, ping);
	const struct http2_config *http2 = &connection->mux->limits.http2;

	if (connection->ping_ns && connection->mux->pings) {
		mesh_counter_add(&connection->pool->endpoint->cluster->stats->http2_keepalive_timeout, 1);
		mesh_mux_abort(connection->mux, MESH_ERROR_RESET, "no answer to a keepalive PING in time");
	} else if (connection->ping_ns && http2->ping_interval_ns) {
		connection->ping_ns = 0;
		mesh_timer_start(connection->dial.env->loop, timer, (uint64_t)http2->ping_interval_ns);
	} else if (!connection->ping_ns) {
		ping_send(connection);
	} else {
		connection->ping_ns = 0;
	}
}

void mesh_connection_wake(struct connection *connection)
{
	int64_t limit = connection->mux->limits.http2.ping_idle_ns;

	if (limit && !connection->ping_ns &&
	    mesh_loop_now_ns(connection->dial.env->loop) >= connection->idle_ns + (uint64_t)limit)
		ping_send(connection);
}

static int make_mux(struct connection *connection)
{
	struct dial *dial = &connection->dial;
	const struct cluster_config *config = dial->config;
	struct mux_limits limits = mesh_mux_limits_default;
	struct mesh_slice none = {NULL, 0};

	if (config->requests_per_connection_max)
		limits.requests_max = config->requests_per_connection_max;
	if (config->header_count_max)
		limits.header_count_max = config->header_count_max;
	limits.http2 = config->http2;
	connection->shares = mesh_pool_speaks_http2(connection->pool, &dial->transport->peer);
	if (connection->shares)
		return mesh_mux_http2_new(dial->env->mem, dial->transport, false, &client_owner, &limits, none,
					  &connection->mux);
	return mesh_mux_http1_new(dial->env->mem, dial->transport, false, &client_owner, &limits, none, &connection->mux);
}

static void dial_opened(struct dial *dial)
{
	struct connection *connection = connection_of(dial);
	struct cluster_stats *stats = dial->endpoint->cluster->stats;
	int rc = make_mux(connection);

	if (rc) {
		mesh_pool_failed(connection, rc, mesh_error_text(rc));
		return;
	}
	mesh_counter_add(connection->shares ? &stats->cx_http2_total : &stats->cx_http1_total, 1);
	connection->mux->user = connection;
	dial->io.ready = io_ready;
	if (dial->config->connection_duration_max_ns > 0) {
		dial->timer.due = duration_over;
		mesh_timer_start(dial->env->loop, &dial->timer, (uint64_t)dial->config->connection_duration_max_ns);
	}
	if (connection->shares && dial->config->http2.ping_interval_ns > 0) {
		connection->ping.due = ping_due;
		mesh_timer_start(dial->env->loop, &connection->ping, (uint64_t)dial->config->http2.ping_interval_ns);
	}
	mesh_loop_change(dial->env->loop, &dial->io, mesh_mux_wants(connection->mux));
	if (connection->shares)
		mux_dirty(connection->mux); /* its preface goes out whether or not somebody still waits */
	mesh_pool_connected(connection);
}

static void dial_failed(struct dial *dial, int error, const char *why)
{
	mesh_pool_failed(connection_of(dial), error, why);
}

static void dial_ending(struct dial *dial)
{
	mesh_connection_kill(connection_of(dial));
}

static void dial_freed(struct dial *dial)
{
	struct connection *connection = connection_of(dial);

	if (connection->pool->named)
		connection->pool->named->connections--;
	mesh_mux_free(connection->mux);
	mesh_mem_free(dial->env->mem, connection);
}

static const struct dial_owner connection_owner = {
	.opened = dial_opened,
	.failed = dial_failed,
	.ending = dial_ending,
	.freed = dial_freed,
};

bool mesh_connection_refresh(struct connection *connection)
{
	if (mesh_socket_quiet(connection->dial.transport->fd))
		return true;
	/* a TLS session ticket is fine, an orderly close or stray bytes are not: the mux decides */
	mux_ready(connection, LOOP_READ);
	return connection->state != CONNECTION_DEAD && mesh_mux_capacity(connection->mux);
}

/* Exchanges that will find room on a connection that is about to be opened. */
static unsigned expected_room(const struct pool *pool)
{
	const struct cluster_config *config = pool->endpoint->cluster->config;
	unsigned room = config->http2.streams_max ? config->http2.streams_max : streams_default;

	if (pool->protocol == POOL_HTTP1 || (pool->protocol == POOL_AUTO && !pool->endpoint->choice->tls))
		return 1;
	if (pool->expected_room && pool->expected_room < room)
		room = pool->expected_room;
	if (config->requests_per_connection_max && config->requests_per_connection_max < room)
		room = (unsigned)config->requests_per_connection_max;
	return room;
}

int mesh_connection_open(struct pool *pool, struct why *why)
{
	struct endpoint *endpoint = pool->endpoint;
	struct cluster *cluster = endpoint->cluster;
	struct connection *connection = mesh_mem_zalloc(cluster->env->mem, sizeof(*connection));
	int rc;

	if (!connection)
		return MESH_ERROR_NOMEM;
	connection->pool = pool;
	connection->generation = cluster->generation;
	connection->flush.run = flush_task;
	connection->dial.alone = mesh_list_empty(&pool->busy) && mesh_list_empty(&pool->sharing) &&
				 mesh_list_empty(&pool->idle) && mesh_list_empty(&pool->opening);
	connection->dial.high_priority = pool->high_priority;
	if (pool->named) {
		connection->dial.server_name = pool->named->name;
		connection->dial.resumption = &pool->named->resumption;
	}
	rc = mesh_dial_open(&connection->dial, endpoint, &connection_owner, mesh_pool_alpn(pool), why);
	if (rc) {
		mesh_mem_free(cluster->env->mem, connection);
		return rc;
	}
	if (pool->named)
		pool->named->connections++;
	connection->state = CONNECTION_OPENING;
	connection->expected = expected_room(pool);
	pool->opening_room += connection->expected;
	mesh_list_push(&pool->opening, &connection->link);
	return 0;
}
