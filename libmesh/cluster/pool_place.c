/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where in its pool a connection belongs, by what it carries and what more it could, and how long an idle one is
 * kept. Refuses to know who waits for it.
 */
#include "cluster/connection.h"

static const uint64_t idle_default_ns = 3600ULL * 1000000000ULL; /* Envoy's hour */

static struct loop *loop_of(const struct pool *pool)
{
	return pool->endpoint->cluster->env->loop;
}

static uint64_t idle_limit_ns(const struct cluster *cluster)
{
	if (!cluster->config || cluster->config->idle_timeout_ns < 0)
		return idle_default_ns;
	return (uint64_t)cluster->config->idle_timeout_ns; /* 0: none */
}

/* Runs while there are idle connections; the oldest is at the end of the list. */
void mesh_pool_idle_due(struct loop_timer *timer)
{
	struct pool *pool = MESH_CONTAINER(timer, struct pool, idle_timer);
	uint64_t now = mesh_loop_now_ns(loop_of(pool)), limit = idle_limit_ns(pool->endpoint->cluster);

	while (limit && !mesh_list_empty(&pool->idle)) {
		struct connection *oldest = MESH_CONTAINER(pool->idle.prev, struct connection, link);

		if (now < oldest->idle_ns + limit) {
			mesh_timer_start_at(loop_of(pool), timer, oldest->idle_ns + limit);
			return;
		}
		mesh_counter_add(&pool->endpoint->cluster->stats->cx_idle_timeout, 1);
		mesh_connection_kill(oldest);
	}
}

static void make_idle(struct connection *connection)
{
	struct pool *pool = connection->pool;
	uint64_t limit = idle_limit_ns(pool->endpoint->cluster);

	if (connection->state == CONNECTION_IDLE) /* its peer said something of it; it grows old all the same */
		return;
	connection->state = CONNECTION_IDLE;
	connection->idle_ns = mesh_loop_now_ns(loop_of(pool));
	mesh_list_remove(&connection->link);
	mesh_list_push_front(&pool->idle, &connection->link);
	if (limit && !mesh_timer_running(&pool->idle_timer))
		mesh_timer_start(loop_of(pool), &pool->idle_timer, limit);
}

static void make_sharing(struct connection *connection)
{
	if (connection->state == CONNECTION_SHARING)
		return;
	connection->state = CONNECTION_SHARING;
	mesh_list_remove(&connection->link);
	mesh_list_push(&connection->pool->sharing, &connection->link);
}

void mesh_connection_make_busy(struct connection *connection)
{
	if (connection->state == CONNECTION_BUSY)
		return;
	connection->state = CONNECTION_BUSY;
	mesh_list_remove(&connection->link);
	mesh_list_push(&connection->pool->busy, &connection->link);
}

/* An exchange is about to begin on it. */
void mesh_connection_make_used(struct connection *connection)
{
	if (connection->shares)
		make_sharing(connection);
	else
		mesh_connection_make_busy(connection);
}

bool mesh_connection_reusable(const struct connection *connection)
{
	const struct endpoint *endpoint = connection->pool->endpoint;

	return connection->generation == endpoint->cluster->generation && !endpoint->retired;
}

/* Where it belongs by what it carries and what more it could. */
void mesh_connection_settle(struct connection *connection)
{
	struct pool *pool = connection->pool;
	bool good = mesh_connection_reusable(connection);
	unsigned room = mesh_mux_capacity(connection->mux);

	if (!connection->mux->active && good && room) {
		make_idle(connection);
	} else if (!connection->mux->active) { /* told to go away, at its last request, or of other settings */
		pool->endpoint->users++;
		mesh_connection_kill(connection);
		mesh_pool_refill(pool);
		mesh_endpoint_release(pool->endpoint);
	} else if (good && room) {
		make_sharing(connection);
	} else {
		mesh_connection_make_busy(connection);
		if (!good && connection->shares)
			mesh_mux_drain(connection->mux); /* else new exchanges would keep it for ever */
	}
}
