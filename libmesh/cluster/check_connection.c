/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how an endpoint is connected to for its checks, how long a connection is kept, and how it is asked by bytes over
 * TCP. Refuses to know when it is asked and what follows.
 */
#include "cluster/check_connection.h"

enum { TCP_MAX = 8 * 1024 * 1024 }; /* bytes of an answer in which what is expected may be: twice what can be configured */

void mesh_check_finish(struct check_connection *connection)
{
	mesh_loop_undefer(&connection->flush);
	if (connection->check)
		connection->check->connection = NULL;
	connection->check = NULL;
	mesh_dial_kill(&connection->dial);
}

/* `keep`: it serves the next check too. */
void mesh_check_answered(struct check_connection *connection, enum check_result result, bool keep)
{
	struct check *check = connection->check;

	connection->asking = false;
	if (!keep || !check || !check->config->reuse_connection)
		mesh_check_finish(connection);
	if (check)
		mesh_check_told(check, result);
}

/* ---- TCP */

/* What is left of what it says. AGAIN, or what ended it. */
static int tcp_write(struct check_connection *connection)
{
	struct mesh_slice send = connection->check->config->send;
	struct transport *transport = connection->dial.transport;

	while (connection->sent < send.len) {
		ssize_t n = transport->ops->write(transport, mesh_slice_make(send.data + connection->sent, send.len - connection->sent));

		if (n <= 0)
			return n ? (int)n : MESH_ERROR_RESET;
		connection->sent += (size_t)n;
	}
	return 0;
}

/* 0: what is expected came. AGAIN, or what ended it. */
static int tcp_read(struct check_connection *connection)
{
	struct transport *transport = connection->dial.transport;
	bool drained = false;

	while (!drained) {
		char *room = mesh_buf_reserve(&connection->body, 4096);
		ssize_t n = room ? transport->ops->read(transport, room, 4096, &drained) : MESH_ERROR_TOO_LARGE;

		if (n <= 0)
			return n ? (int)n : MESH_ERROR_RESET;
		mesh_buf_commit(&connection->body, (size_t)n);
		if (connection->asking && mesh_check_received(connection->check->config, mesh_buf_slice(&connection->body)))
			return 0;
		if (!connection->asking) /* nobody asked: it is not kept for the next answer */
			mesh_buf_clear(&connection->body);
	}
	return MESH_ERROR_AGAIN;
}

static void tcp_go_on(struct check_connection *connection)
{
	struct dial *dial = &connection->dial;
	int rc = connection->asking ? tcp_write(connection) : 0;
	unsigned wants = rc == MESH_ERROR_AGAIN ? LOOP_READ | LOOP_WRITE : LOOP_READ;

	if (!rc || rc == MESH_ERROR_AGAIN)
		rc = tcp_read(connection);
	if (rc == MESH_ERROR_AGAIN) {
		mesh_loop_change(dial->env->loop, &dial->io, wants | dial->transport->wants);
		return;
	}
	if (connection->asking)
		mesh_check_answered(connection, rc ? CHECK_NETWORK : CHECK_SUCCEEDED, !rc);
	else
		mesh_check_finish(connection);
}

static void tcp_ready(struct loop_io *io, unsigned what)
{
	tcp_go_on(MESH_CONTAINER(io, struct check_connection, dial.io));
}

static void ask_tcp(struct check_connection *connection)
{
	connection->asking = true;
	connection->sent = 0;
	mesh_buf_clear(&connection->body);
	tcp_go_on(connection);
}

/* ---- the dial */

static void dial_opened(struct dial *dial)
{
	struct check_connection *connection = MESH_CONTAINER(dial, struct check_connection, dial);
	struct check *check = connection->check;

	if (!check) {
		mesh_check_finish(connection);
	} else if (check->config->kind == HEALTH_CHECK_TCP && !check->config->receive_count) {
		mesh_check_answered(connection, CHECK_SUCCEEDED, false); /* that it can be connected to is all that is asked */
	} else if (check->config->kind == HEALTH_CHECK_TCP) {
		dial->io.ready = tcp_ready;
		ask_tcp(connection);
	} else if (mesh_check_open_http(connection)) {
		mesh_check_answered(connection, CHECK_NETWORK, false);
	} else {
		mesh_check_ask_http(connection);
	}
}

static void dial_failed(struct dial *dial, int error, const char *why)
{
	struct check_connection *connection = MESH_CONTAINER(dial, struct check_connection, dial);

	MESH_LOG_D(dial->env->log, "health", "%.*s: %s", (int)dial->endpoint->shared->text.len, dial->endpoint->shared->text.data,
		   why);
	mesh_check_answered(connection, CHECK_NETWORK, false);
}

static void dial_ending(struct dial *dial)
{
	mesh_check_finish(MESH_CONTAINER(dial, struct check_connection, dial));
}

static void dial_freed(struct dial *dial)
{
	struct check_connection *connection = MESH_CONTAINER(dial, struct check_connection, dial);

	mesh_mux_free(connection->mux);
	mesh_buf_free(&connection->body);
	mesh_arena_free(&connection->arena);
	mesh_mem_free(dial->env->mem, connection);
}

static const struct dial_owner check_owner = {
	.opened = dial_opened,
	.failed = dial_failed,
	.ending = dial_ending,
	.freed = dial_freed,
};

static int connect_to(struct check *check)
{
	struct cluster_env *env = check->all->env;
	struct check_connection *connection = mesh_mem_zalloc(env->mem, sizeof(*connection));
	int rc;

	if (!connection)
		return MESH_ERROR_NOMEM;
	connection->check = check;
	connection->dial.aside = true;
	connection->dial.address = &check->address;
	connection->dial.choice = check->choice;
	connection->dial.server_name = check->authority;
	mesh_arena_init(&connection->arena, env->mem, 0);
	mesh_buf_init(&connection->body, env->mem, TCP_MAX);
	rc = mesh_dial_open(&connection->dial, check->endpoint, &check_owner, check->config->alpn, &check->all->why);
	if (rc)
		mesh_mem_free(env->mem, connection);
	else
		check->connection = connection;
	return rc;
}

void mesh_check_ask(struct check *check)
{
	struct check_connection *connection = check->connection;

	if (!connection) {
		if (connect_to(check))
			mesh_check_told(check, CHECK_NETWORK);
	} else if (check->config->kind == HEALTH_CHECK_TCP) {
		ask_tcp(connection);
	} else if (mesh_mux_capacity(connection->mux)) {
		mesh_check_ask_http(connection);
	} else { /* its peer has said that it goes */
		mesh_check_finish(connection);
		mesh_check_ask(check);
	}
}

void mesh_check_drop(struct check *check)
{
	struct check_connection *connection = check->connection;

	if (!connection)
		return;
	if (connection->asking && connection->exchange.mux)
		mesh_exchange_reset(&connection->exchange, MESH_ERROR_TIMEOUT);
	connection->asking = false;
	mesh_check_finish(connection);
}
