/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the life of one client connection: opening with a time limit, choosing plain or TLS as the endpoint's
 * transport match says, reading and flushing once per event, dying in one place. Refuses to know requests and retries.
 */
#include "cluster/connection.h"

#include <unistd.h>

#include "cluster/pool.h"
#include "net/socket.h"

static const int64_t connect_timeout_default_ns = 5000000000LL; /* Envoy's */

static void connection_failed(struct connection *connection, int error, const char *why)
{
	struct cluster *cluster = connection->endpoint->cluster;

	mesh_counter_add(&cluster->stats->cx_connect_fail, 1);
	if (error == MESH_ERROR_CONNECT_TIMEOUT)
		mesh_counter_add(&cluster->stats->cx_connect_timeout, 1);
	if (error == MESH_ERROR_TLS)
		mesh_counter_add(&cluster->stats->ssl_connection_error, 1);
	if (error == MESH_ERROR_PEER_IDENTITY)
		mesh_counter_add(&cluster->stats->ssl_fail_verify_san, 1);
	atomic_fetch_add_explicit(&connection->endpoint->shared->cx_connect_fail, 1, memory_order_relaxed);
	mesh_pool_failed(connection, error, why);
}

void mesh_connection_kill(struct connection *connection)
{
	struct cluster_env *env = connection->env;
	struct cluster *cluster = connection->endpoint->cluster;

	if (connection->state == CONNECTION_DEAD)
		return;
	if (connection->state == CONNECTION_OPENING)
		connection->endpoint->opening_count--;
	connection->state = CONNECTION_DEAD;
	mesh_list_remove(&connection->link);
	mesh_list_push(&env->dead, &connection->link);
	mesh_timer_stop(env->loop, &connection->timer);
	mesh_loop_undefer(&connection->flush);
	if (connection->io.fd >= 0)
		mesh_loop_unwatch(env->loop, &connection->io);
	if (connection->transport && connection->transport->ready)
		connection->transport->ops->shutdown(connection->transport);
	if (connection->mux) {
		mesh_counter_add(&cluster->stats->cx_rx_bytes, connection->mux->read_bytes);
		mesh_counter_add(&cluster->stats->cx_tx_bytes, connection->mux->written_bytes);
	}
	mesh_counter_add(&cluster->stats->cx_destroy, 1);
	mesh_breaker_give(&cluster->shared->breaker.connections);
	atomic_fetch_sub_explicit(&connection->endpoint->shared->connections, 1, memory_order_relaxed);
	mesh_loop_defer(env->loop, &env->reap);
}

static void mux_dirty(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	connection->dirty = true;
	if (!connection->in_ready)
		mesh_loop_defer(connection->env->loop, &connection->flush);
}

static void mux_wants(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	if (connection->state != CONNECTION_DEAD)
		mesh_loop_change(connection->env->loop, &connection->io, mesh_mux_wants(mux));
}

static void mux_idle(struct mux *mux)
{
	struct connection *connection = mesh_connection_of(mux);

	if (connection->state == CONNECTION_DEAD)
		return;
	if (mesh_mux_capacity(mux))
		mesh_pool_returned(connection);
}

static void mux_closed(struct mux *mux, int error, const char *why)
{
	struct connection *connection = mesh_connection_of(mux);

	if (error && connection->state != CONNECTION_DEAD)
		MESH_LOG_D(connection->env->log, "connection", "%.*s: %s",
			   (int)connection->endpoint->shared->text.len, connection->endpoint->shared->text.data, why);
	mesh_connection_kill(connection);
	mesh_pool_refill(connection->endpoint);
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

static void duration_over(struct loop_timer *timer)
{
	struct connection *connection = MESH_CONTAINER(timer, struct connection, timer);

	mesh_mux_drain(connection->mux);
	if (connection->state == CONNECTION_IDLE)
		mesh_connection_kill(connection);
}

static void opened(struct connection *connection)
{
	struct cluster_env *env = connection->env;
	struct cluster *cluster = connection->endpoint->cluster;
	struct mux_limits limits = mesh_mux_limits_default;
	int rc;

	mesh_timer_stop(env->loop, &connection->timer);
	if (connection->transport->peer.tls) {
		mesh_counter_add(&cluster->stats->ssl_handshake, 1);
		if (connection->transport->peer.resumed)
			mesh_counter_add(&cluster->stats->ssl_session_reused, 1);
	}
	if (cluster->config && cluster->config->requests_per_connection_max)
		limits.requests_max = cluster->config->requests_per_connection_max;
	if (cluster->config && cluster->config->header_count_max)
		limits.header_count_max = cluster->config->header_count_max;
	rc = mesh_mux_http1_new(env->mem, connection->transport, false, &client_owner, &limits, (struct mesh_slice){NULL, 0},
				&connection->mux);
	if (rc) {
		connection_failed(connection, rc, mesh_error_text(rc));
		return;
	}
	connection->mux->user = connection;
	connection->connected_ns = mesh_loop_now_ns(env->loop);
	if (cluster->config && cluster->config->connection_duration_max_ns > 0) {
		connection->timer.due = duration_over;
		mesh_timer_start(env->loop, &connection->timer, (uint64_t)cluster->config->connection_duration_max_ns);
	}
	mesh_loop_change(env->loop, &connection->io, mesh_mux_wants(connection->mux));
	mesh_pool_connected(connection);
}

static void opening_step(struct connection *connection)
{
	int rc = connection->transport->ops->handshake(connection->transport);

	if (rc == 0)
		opened(connection);
	else if (rc == MESH_ERROR_AGAIN)
		mesh_loop_change(connection->env->loop, &connection->io, connection->transport->wants);
	else
		connection_failed(connection, rc, connection->transport->why.text);
}

static void io_ready(struct loop_io *io, unsigned what)
{
	struct connection *connection = MESH_CONTAINER(io, struct connection, io);

	if (connection->state == CONNECTION_OPENING)
		opening_step(connection);
	else
		mux_ready(connection, what);
}

bool mesh_connection_refresh(struct connection *connection)
{
	if (mesh_socket_quiet(connection->transport->fd))
		return true;
	/* a TLS session ticket is fine, an orderly close or stray bytes are not: the mux decides */
	mux_ready(connection, LOOP_READ);
	return connection->state != CONNECTION_DEAD && mesh_mux_capacity(connection->mux);
}

static void connect_timeout(struct loop_timer *timer)
{
	struct connection *connection = MESH_CONTAINER(timer, struct connection, timer);

	connection_failed(connection, MESH_ERROR_CONNECT_TIMEOUT,
			  connection->transport->peer.tls ? "TLS handshake took longer than connect_timeout"
							  : "no connection within connect_timeout");
}

static void session_new(void *user, struct tls_session *session)
{
	struct connection *connection = user;
	struct endpoint *endpoint = connection->endpoint;

	if (connection->state == CONNECTION_DEAD || endpoint->retired)
		return;
	mesh_tls_session_release(endpoint->session);
	endpoint->session = mesh_tls_session_retain(session);
}

/* The endpoint's transport as its match says: TLS with the secrets it names, or plain. Takes over fd. */
static int open_transport(struct connection *connection, int fd, struct why *why)
{
	struct endpoint *endpoint = connection->endpoint;
	struct cluster *cluster = endpoint->cluster;
	struct cluster_env *env = connection->env;
	const struct tls_config *tls = endpoint->choice->tls;
	struct tls_client client = {0};
	const struct secret *certificate, *roots;
	int rc;

	/* a request may have waited here since before these settings came */
	if (endpoint->choice->unsupported || (tls && (tls->upstream_auto_san || tls->upstream_auto_sni))) {
		close(fd);
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "transport socket \"%.*s\" of cluster %.*s is not supported",
				(int)endpoint->choice->name.len, endpoint->choice->name.data ? endpoint->choice->name.data : "",
				(int)cluster->name.len, cluster->name.data);
	}
	if (!tls)
		return mesh_transport_plain_new(env->mem, fd, &connection->transport);
	certificate = tls->certificate_name.len ? mesh_snapshot_secret(env->snapshot, tls->certificate_name) : NULL;
	roots = tls->roots_name.len ? mesh_snapshot_secret(env->snapshot, tls->roots_name) : NULL;
	if ((tls->certificate_name.len && !certificate) || (tls->roots_name.len && !roots)) {
		close(fd);
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "secret %s of cluster %.*s is not there",
				certificate ? tls->roots_name.data : tls->certificate_name.data,
				(int)cluster->name.len, cluster->name.data);
	}
	rc = mesh_tls_store_get(env->tls, tls, false, certificate, roots, &client.context, why);
	if (rc) {
		close(fd);
		return rc;
	}
	if (endpoint->session_context != client.context) {
		mesh_tls_session_release(endpoint->session);
		endpoint->session = NULL;
		mesh_tls_context_release(endpoint->session_context);
		endpoint->session_context = mesh_tls_context_retain(client.context);
	}
	client.sni = tls->sni;
	client.alpn = cluster->alpn_len && cluster->config->alpn_override ? mesh_slice_make(cluster->alpn, cluster->alpn_len)
									  : tls->alpn;
	client.sans = tls->sans;
	client.san_count = tls->san_count;
	client.resume = endpoint->session;
	client.session_new = session_new;
	client.session_user = connection;
	rc = mesh_transport_tls_client_new(env->mem, fd, &client, &connection->transport);
	mesh_tls_context_release(client.context);
	return rc;
}

static int start_io(struct connection *connection, struct why *why)
{
	struct cluster_env *env = connection->env;
	const struct cluster_config *config = connection->endpoint->cluster->config;
	int64_t timeout = config->connect_timeout_ns > 0 ? config->connect_timeout_ns : connect_timeout_default_ns;
	int rc;

	connection->io.ready = io_ready;
	rc = mesh_loop_watch(env->loop, &connection->io, connection->transport->fd, LOOP_WRITE);
	if (rc)
		return mesh_why(why, rc, "cannot watch the socket");
	connection->timer.due = connect_timeout;
	return mesh_timer_start(env->loop, &connection->timer, (uint64_t)timeout);
}

static bool has_connections(const struct endpoint *endpoint)
{
	return !mesh_list_empty(&endpoint->idle) || !mesh_list_empty(&endpoint->busy) || !mesh_list_empty(&endpoint->opening);
}

/* Counted already against the limit. */
static int open_one(struct endpoint *endpoint, struct connection **result, struct why *why)
{
	struct cluster *cluster = endpoint->cluster;
	struct cluster_env *env = cluster->env;
	struct connection *connection;
	int fd, rc;

	connection = mesh_mem_zalloc(env->mem, sizeof(*connection));
	if (!connection) {
		mesh_breaker_give(&cluster->shared->breaker.connections);
		return MESH_ERROR_NOMEM;
	}
	mesh_list_init(&connection->link);
	connection->endpoint = endpoint;
	connection->env = env;
	connection->config = mesh_config_object_retain(cluster->config);
	connection->generation = cluster->generation;
	connection->io.fd = -1;
	connection->flush.run = flush_task;
	connection->opened_ns = mesh_loop_now_ns(env->loop);
	mesh_counter_add(&cluster->stats->cx_total, 1);
	rc = mesh_socket_connect(&endpoint->address, &fd, why);
	if (!rc && cluster->config->tcp_keepalive)
		mesh_socket_keepalive(fd, cluster->config->tcp_keepalive_probes, cluster->config->tcp_keepalive_time_s,
				      cluster->config->tcp_keepalive_interval_s);
	if (!rc)
		rc = open_transport(connection, fd, why);
	if (!rc)
		rc = start_io(connection, why);
	if (!rc) {
		connection->state = CONNECTION_OPENING;
		endpoint->opening_count++;
		endpoint->users++; /* until it is reaped */
		mesh_list_push(&endpoint->opening, &connection->link);
		atomic_fetch_add_explicit(&endpoint->shared->connections, 1, memory_order_relaxed);
		*result = connection;
		return 0;
	}
	mesh_counter_add(&cluster->stats->cx_connect_fail, 1);
	atomic_fetch_add_explicit(&endpoint->shared->cx_connect_fail, 1, memory_order_relaxed);
	if (connection->io.fd >= 0)
		mesh_loop_unwatch(env->loop, &connection->io);
	mesh_transport_free(connection->transport);
	mesh_config_object_release((void *)connection->config);
	mesh_breaker_give(&cluster->shared->breaker.connections);
	mesh_mem_free(env->mem, connection);
	return rc;
}

int mesh_connection_open(struct endpoint *endpoint, struct connection **result, struct why *why)
{
	struct cluster *cluster = endpoint->cluster;

	if (!mesh_breaker_take(&cluster->shared->breaker.connections, cluster->config->breaker.connections)) {
		mesh_counter_add(&cluster->stats->cx_overflow, 1);
		/* One that has none gets it all the same, as in Envoy: what other endpoints hold would never come back to it. */
		if (!has_connections(endpoint) && mesh_breaker_take(&cluster->shared->breaker.connections, UINT32_MAX))
			return open_one(endpoint, result, why);
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_connections %u of %.*s reached",
				cluster->config->breaker.connections, (int)cluster->name.len, cluster->name.data);
	}
	return open_one(endpoint, result, why);
}
