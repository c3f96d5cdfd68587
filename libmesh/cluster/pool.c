/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which connection a request gets and how long an idle one is kept. A new connection is opened for each request
 * that finds none, as many as there are waiters; whoever waited longest gets the first one ready. Refuses to know routes.
 */
#include "cluster/pool.h"

#include "cluster/connection.h"

static const uint64_t idle_default_ns = 3600ULL * 1000000000ULL; /* Envoy's hour */

static uint64_t idle_limit_ns(const struct cluster *cluster)
{
	if (!cluster->config || cluster->config->idle_timeout_ns < 0)
		return idle_default_ns;
	return (uint64_t)cluster->config->idle_timeout_ns; /* 0: none */
}

/* Runs while there are idle connections; the oldest is at the end of the list. */
static void idle_check(struct loop_timer *timer)
{
	struct endpoint *endpoint = MESH_CONTAINER(timer, struct endpoint, idle_timer);
	struct cluster *cluster = endpoint->cluster;
	uint64_t now = mesh_loop_now_ns(cluster->env->loop), limit = idle_limit_ns(cluster);

	while (limit && !mesh_list_empty(&endpoint->idle)) {
		struct connection *oldest = MESH_CONTAINER(endpoint->idle.prev, struct connection, link);

		if (now < oldest->idle_ns + limit) {
			mesh_timer_start_at(cluster->env->loop, timer, oldest->idle_ns + limit);
			return;
		}
		mesh_counter_add(&cluster->stats->cx_idle_timeout, 1);
		mesh_connection_kill(oldest);
	}
	mesh_endpoint_settle(endpoint);
}

void mesh_pool_init(struct endpoint *endpoint)
{
	mesh_list_init(&endpoint->idle);
	mesh_list_init(&endpoint->busy);
	mesh_list_init(&endpoint->opening);
	mesh_list_init(&endpoint->waiters);
	endpoint->idle_timer.due = idle_check;
}

static void make_idle(struct connection *connection)
{
	struct endpoint *endpoint = connection->endpoint;
	struct cluster_env *env = connection->env;
	uint64_t limit = idle_limit_ns(endpoint->cluster);

	connection->state = CONNECTION_IDLE;
	connection->idle_ns = mesh_loop_now_ns(env->loop);
	mesh_list_remove(&connection->link);
	mesh_list_push_front(&endpoint->idle, &connection->link);
	if (limit && !mesh_timer_running(&endpoint->idle_timer))
		mesh_timer_start(env->loop, &endpoint->idle_timer, limit);
}

static void make_busy(struct connection *connection)
{
	connection->state = CONNECTION_BUSY;
	mesh_list_remove(&connection->link);
	mesh_list_push(&connection->endpoint->busy, &connection->link);
}

static bool reusable(const struct connection *connection)
{
	return connection->generation == connection->endpoint->cluster->generation && !connection->endpoint->retired;
}

/* The most recently used idle connection that is still good. */
static struct connection *take_idle(struct endpoint *endpoint, bool careful)
{
	bool watched = mesh_loop_running(endpoint->cluster->env->loop);

	while (!mesh_list_empty(&endpoint->idle)) {
		struct connection *connection = MESH_CONTAINER(endpoint->idle.next, struct connection, link);

		if (!reusable(connection)) {
			mesh_connection_kill(connection);
			continue;
		}
		make_busy(connection);
		/*
		 * Nobody polled meanwhile when the application drives the worker: look before use. In a running loop the
		 * end may be among the events of this round that are still to come.
		 */
		if ((watched && !careful) || mesh_connection_refresh(connection))
			return connection;
		mesh_connection_kill(connection);
	}
	return NULL;
}

static struct pool_waiter *take_waiter(struct endpoint *endpoint)
{
	struct pool_waiter *waiter;

	if (mesh_list_empty(&endpoint->waiters))
		return NULL;
	waiter = MESH_CONTAINER(endpoint->waiters.next, struct pool_waiter, link);
	mesh_pool_cancel(waiter);
	return waiter;
}

int mesh_pool_acquire(struct endpoint *endpoint, struct pool_waiter *waiter, struct connection **connection,
		      struct why *why)
{
	struct cluster *cluster = endpoint->cluster;
	int rc;

	*connection = take_idle(endpoint, waiter->careful);
	if (*connection)
		return 0;
	mesh_counter_add(&cluster->stats->rq_pending_total, 1);
	if (!mesh_breaker_take(&cluster->shared->breaker.pending, cluster->config->breaker.pending)) {
		mesh_counter_add(&cluster->stats->rq_pending_overflow, 1);
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_pending_requests %u of %.*s reached",
				cluster->config->breaker.pending, (int)cluster->name.len, cluster->name.data);
	}
	rc = 0;
	if (endpoint->opening_count <= endpoint->waiter_count)
		rc = mesh_connection_open(endpoint, connection, why);
	*connection = NULL;
	/* at the connection limit a request waits for one to come back, if there is any to come back */
	if (rc && !(rc == MESH_ERROR_OVERFLOW && (!mesh_list_empty(&endpoint->busy) || endpoint->opening_count))) {
		mesh_breaker_give(&cluster->shared->breaker.pending);
		return rc;
	}
	if (rc)
		why->text[0] = '\0';
	waiter->endpoint = endpoint;
	endpoint->waiter_count++;
	mesh_list_push(&endpoint->waiters, &waiter->link);
	return MESH_ERROR_AGAIN;
}

void mesh_pool_cancel(struct pool_waiter *waiter)
{
	struct endpoint *endpoint = waiter->endpoint;

	if (!endpoint)
		return;
	waiter->endpoint = NULL;
	mesh_list_remove(&waiter->link);
	endpoint->waiter_count--;
	mesh_breaker_give(&endpoint->cluster->shared->breaker.pending);
}

static void kill_all(struct link *connections)
{
	while (!mesh_list_empty(connections))
		mesh_connection_kill(MESH_CONTAINER(connections->next, struct connection, link));
}

void mesh_pool_drain(struct endpoint *endpoint)
{
	kill_all(&endpoint->idle);
}

void mesh_pool_close(struct endpoint *endpoint)
{
	kill_all(&endpoint->idle);
	kill_all(&endpoint->busy);
	kill_all(&endpoint->opening);
}

/* Opens what the waiters still lack; whoever cannot be helped is told. */
void mesh_pool_refill(struct endpoint *endpoint)
{
	endpoint->users++; /* keeps it while waiters are told */
	while (endpoint->waiter_count > endpoint->opening_count) {
		struct why why = {{0}};
		struct connection *connection;
		struct pool_waiter *waiter;
		int rc = MESH_ERROR_CONNECT;

		if (endpoint->retired)
			mesh_why(&why, rc, "the endpoint left the cluster");
		else
			rc = mesh_connection_open(endpoint, &connection, &why);
		if (!rc)
			continue;
		if (rc == MESH_ERROR_OVERFLOW && (!mesh_list_empty(&endpoint->busy) || endpoint->opening_count))
			break;
		waiter = take_waiter(endpoint);
		waiter->failed(waiter, rc, why.text);
	}
	mesh_endpoint_release(endpoint);
}

/* Gives a connection with room to whoever waits, else keeps or closes it. */
static void hand_out(struct connection *connection)
{
	struct endpoint *endpoint = connection->endpoint;
	struct pool_waiter *waiter;

	do {
		/* a retired endpoint serves those who chose it before; outdated settings serve nobody */
		if (!reusable(connection) && !(endpoint->retired && endpoint->waiter_count)) {
			endpoint->users++;
			mesh_connection_kill(connection);
			mesh_pool_refill(endpoint);
			mesh_endpoint_release(endpoint);
			return;
		}
		waiter = take_waiter(endpoint);
		if (!waiter) {
			make_idle(connection);
			return;
		}
		make_busy(connection);
	} while (!waiter->ready(waiter, connection) && connection->state != CONNECTION_DEAD);
}

void mesh_pool_connected(struct connection *connection)
{
	connection->endpoint->opening_count--;
	connection->state = CONNECTION_BUSY;
	hand_out(connection);
}

void mesh_pool_returned(struct connection *connection)
{
	hand_out(connection);
}

void mesh_pool_failed(struct connection *connection, int error, const char *why)
{
	struct endpoint *endpoint = connection->endpoint;
	struct pool_waiter *waiter;

	endpoint->users++; /* keeps it while the waiter is told */
	mesh_connection_kill(connection);
	waiter = take_waiter(endpoint);
	if (waiter) {
		mesh_counter_add(&endpoint->cluster->stats->rq_pending_failure_eject, 1);
		waiter->failed(waiter, error, why);
	}
	mesh_pool_refill(endpoint); /* at the connection limit others may have waited for this one */
	mesh_endpoint_release(endpoint);
}
