/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which connection a request gets. A new connection is opened when those there are or are being opened have no room
 * for all who wait; whoever waited longest goes first. Refuses to know routes and how exchanges are carried: a mux says how
 * much room it has.
 */
#include "cluster/pool.h"

#include "cluster/connection.h"
#include "cluster/preconnect.h"
#include "net/socket.h"

static const unsigned few_streams = 8; /* begun on a connection whose peer has said nothing yet */

static struct cluster *cluster_of(const struct pool *pool)
{
	return pool->endpoint->cluster;
}

static struct loop *loop_of(const struct pool *pool)
{
	return cluster_of(pool)->env->loop;
}

static struct connection *first_of(const struct link *connections)
{
	return MESH_CONTAINER(connections->next, struct connection, link);
}

static void look(struct loop_task *task);

void mesh_pool_init(struct pool *pool, struct endpoint *endpoint, enum pool_protocol protocol)
{
	pool->endpoint = endpoint;
	pool->protocol = protocol;
	mesh_list_init(&pool->idle);
	mesh_list_init(&pool->sharing);
	mesh_list_init(&pool->busy);
	mesh_list_init(&pool->opening);
	mesh_list_init(&pool->waiters);
	pool->idle_timer.due = mesh_pool_idle_due;
	pool->look.run = look;
}

void mesh_pool_destroy(struct pool *pool)
{
	mesh_timer_stop(loop_of(pool), &pool->idle_timer);
	mesh_loop_undefer(&pool->look);
}

/*
 * What may begin on it now. HTTP/2 lets a client begin before it was told how many the peer takes; what is too many would be
 * refused, so that until then there are as many as others of its kind took, or a few.
 */
static unsigned room_on(const struct connection *connection)
{
	unsigned room = mesh_mux_capacity(connection->mux);
	unsigned most = connection->pool->expected_room ? connection->pool->expected_room : few_streams;

	if (!connection->shares || !connection->expected)
		return room;
	most = most < connection->expected ? most : connection->expected;
	most = most > connection->mux->active ? most - connection->mux->active : 0;
	return room < most ? room : most;
}

/* A connection with exchanges on it that takes one more. *unread: there is one, to be looked at first. */
static struct connection *take_sharing(struct pool *pool, bool careful, bool *unread)
{
	while (!mesh_list_empty(&pool->sharing)) {
		struct connection *connection = first_of(&pool->sharing);

		if (!mesh_connection_reusable(connection) || !room_on(connection)) {
			mesh_connection_make_busy(connection);
			continue;
		}
		/* what came may be its end, and what else came is not told inside the application's own call */
		*unread = careful && !mesh_loop_running(loop_of(pool)) &&
			  !mesh_socket_quiet(connection->dial.transport->fd);
		return *unread ? NULL : connection;
	}
	return NULL;
}

/* The most recently used idle connection that is still good. */
static struct connection *take_idle(struct pool *pool, bool careful)
{
	bool watched = mesh_loop_running(loop_of(pool));

	while (!mesh_list_empty(&pool->idle)) {
		struct connection *connection = first_of(&pool->idle);

		/*
		 * Nobody polled meanwhile when the application drives the worker: look before use. In a running loop the
		 * end may be among the events of this round that are still to come.
		 */
		if (!mesh_connection_reusable(connection) || !((watched && !careful) || mesh_connection_refresh(connection))) {
			mesh_connection_kill(connection);
			continue;
		}
		if (connection->shares && !mesh_mux_capacity(connection->mux)) {
			mesh_connection_kill(connection);
			continue;
		}
		if (connection->shares)
			mesh_connection_wake(connection);
		mesh_connection_make_used(connection);
		return connection;
	}
	return NULL;
}

static struct pool_waiter *take_waiter(struct pool *pool)
{
	struct pool_waiter *waiter;

	if (mesh_list_empty(&pool->waiters))
		return NULL;
	waiter = MESH_CONTAINER(pool->waiters.next, struct pool_waiter, link);
	mesh_pool_cancel(waiter);
	return waiter;
}

/* Is there a connection whose room may come back to those who wait? */
static bool some_coming(const struct pool *pool)
{
	return !mesh_list_empty(&pool->busy) || !mesh_list_empty(&pool->sharing) || !mesh_list_empty(&pool->opening);
}

int mesh_pool_acquire(struct pool *pool, struct pool_waiter *waiter, struct connection **connection, struct why *why)
{
	struct cluster *cluster = cluster_of(pool);
	bool unread = false;
	uint32_t limit;
	int rc = 0;

	*connection = take_sharing(pool, waiter->careful, &unread);
	if (!*connection)
		*connection = take_idle(pool, waiter->careful);
	if (*connection) {
		if (cluster->config->preconnect > 1)
			mesh_pool_preconnect(pool, *connection);
		return 0;
	}
	mesh_counter_add(&cluster->stats->rq_pending_total, 1);
	limit = mesh_cluster_limits(cluster, pool->high_priority)->pending;
	if (!mesh_breaker_take(&mesh_cluster_use(cluster, pool->high_priority)->pending, limit)) {
		mesh_counter_add(&cluster->stats->rq_pending_overflow, 1);
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_pending_requests %u of %.*s reached", limit,
				(int)cluster->name.len, cluster->name.data);
	}
	if (unread)
		mesh_loop_defer(loop_of(pool), &pool->look);
	else if (pool->opening_room <= pool->waiter_count)
		rc = mesh_connection_open(pool, why);
	/* at the connection limit a request waits for one to come back, if there is any to come back */
	if (rc && !(rc == MESH_ERROR_OVERFLOW && some_coming(pool))) {
		mesh_breaker_give(&mesh_cluster_use(cluster, pool->high_priority)->pending);
		return rc;
	}
	if (rc)
		why->text[0] = '\0';
	waiter->pool = pool;
	pool->waiter_count++;
	mesh_list_push(&pool->waiters, &waiter->link);
	if (cluster->config->preconnect > 1)
		mesh_pool_preconnect(pool, NULL);
	return MESH_ERROR_AGAIN;
}

void mesh_pool_cancel(struct pool_waiter *waiter)
{
	struct pool *pool = waiter->pool;

	if (!pool)
		return;
	waiter->pool = NULL;
	mesh_list_remove(&waiter->link);
	pool->waiter_count--;
	mesh_breaker_give(&mesh_cluster_use(cluster_of(pool), pool->high_priority)->pending);
}

void mesh_pool_drain(struct pool *pool)
{
	while (!mesh_list_empty(&pool->idle))
		mesh_connection_kill(first_of(&pool->idle));
	while (!mesh_list_empty(&pool->sharing)) {
		struct connection *connection = first_of(&pool->sharing);

		mesh_connection_make_busy(connection);
		mesh_mux_drain(connection->mux);
	}
}

/* Opens what the waiters still lack; whoever cannot be helped is told. */
void mesh_pool_refill(struct pool *pool)
{
	pool->endpoint->users++; /* keeps it while waiters are told */
	while (pool->waiter_count > pool->opening_room) {
		struct why why = {{0}};
		struct pool_waiter *waiter;
		int rc = MESH_ERROR_CONNECT;

		if (pool->endpoint->retired)
			mesh_why(&why, rc, "the endpoint left the cluster");
		else
			rc = mesh_connection_open(pool, &why);
		if (!rc)
			continue;
		if (rc == MESH_ERROR_OVERFLOW && some_coming(pool))
			break;
		waiter = take_waiter(pool);
		waiter->failed(waiter, rc, why.text);
	}
	mesh_endpoint_release(pool->endpoint);
}

/* To those who wait, as far as its room goes. */
static void serve_waiters(struct connection *connection)
{
	struct pool *pool = connection->pool;

	while (pool->waiter_count && connection->state != CONNECTION_DEAD && room_on(connection)) {
		struct pool_waiter *waiter;

		/* a retired endpoint serves those who chose it before; outdated settings serve nobody */
		if (!mesh_connection_reusable(connection) && !pool->endpoint->retired)
			return;
		waiter = take_waiter(pool);
		mesh_connection_make_used(connection);
		waiter->ready(waiter, connection);
	}
}

/* What the next connection will have room for, going by this one. */
static void learn_room(struct pool *pool, const struct mux *mux)
{
	unsigned room = mesh_mux_capacity(mux), all = mux->active + room ? mux->active + room : 1;
	bool last_ones = mux->limits.requests_max && mux->carried + room >= mux->limits.requests_max;

	if (!mux->draining && !mux->leaving && (!last_ones || all > pool->expected_room))
		pool->expected_room = all;
}

static void hand_out(struct connection *connection)
{
	struct pool *pool = connection->pool;

	if (pool->waiter_count)
		serve_waiters(connection);
	if (connection->state != CONNECTION_DEAD)
		mesh_connection_settle(connection);
}

/* What it has room for is known: it is not expected any more. */
static bool arrived(struct connection *connection)
{
	unsigned expected = connection->expected;

	/* HTTP/2: until the peer said how many it takes, less than that is no reason to open another */
	if (!expected || (connection->shares && !connection->mux->read_bytes))
		return false;
	connection->expected = 0;
	connection->pool->opening_room -= expected;
	return true;
}

void mesh_pool_returned(struct connection *connection)
{
	struct pool *pool = connection->pool;
	bool news = arrived(connection);

	if (connection->shares && !connection->expected)
		learn_room(pool, connection->mux);
	pool->endpoint->users++;
	hand_out(connection);
	if (news)
		mesh_pool_refill(pool);
	mesh_endpoint_release(pool->endpoint);
}

void mesh_pool_connected(struct connection *connection)
{
	struct pool *pool = connection->pool;

	mesh_connection_make_busy(connection);
	if (!connection->shares)
		pool->expected_room = 1;
	arrived(connection);
	pool->endpoint->users++;
	hand_out(connection);
	mesh_pool_refill(pool); /* where less came than was expected */
	mesh_endpoint_release(pool->endpoint);
}

void mesh_pool_failed(struct connection *connection, int error, const char *why)
{
	struct pool *pool = connection->pool;
	unsigned told = connection->expected, others;

	pool->endpoint->users++; /* keeps it while waiters are told */
	mesh_connection_kill(connection);
	/* all for whom it was opened, and who have no other coming */
	others = pool->waiter_count > pool->opening_room ? pool->waiter_count - pool->opening_room : 1;
	told = told < others ? told : others;
	while (told-- && pool->waiter_count) {
		struct pool_waiter *waiter = take_waiter(pool);

		mesh_counter_add(&cluster_of(pool)->stats->rq_pending_failure_eject, 1);
		waiter->failed(waiter, error, why);
	}
	mesh_pool_refill(pool); /* at the connection limit others may have waited for this one */
	mesh_endpoint_release(pool->endpoint);
}

/* In the loop: what was not looked at is, then those who wait for that go on. */
static void look(struct loop_task *task)
{
	struct pool *pool = MESH_CONTAINER(task, struct pool, look);

	pool->endpoint->users++;
	while (pool->waiter_count && !mesh_list_empty(&pool->sharing)) {
		struct connection *connection = first_of(&pool->sharing);

		if (mesh_connection_refresh(connection))
			serve_waiters(connection);
		if (connection->state != CONNECTION_DEAD && (pool->waiter_count || !connection->mux->active))
			mesh_connection_settle(connection);
		if (connection->state == CONNECTION_SHARING)
			break;
	}
	mesh_pool_refill(pool);
	mesh_endpoint_release(pool->endpoint);
}
