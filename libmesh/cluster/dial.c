/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how one connection to an endpoint is opened, within what limits, and how it is counted and ended. Refuses to know
 * what is spoken on it and who waits for it.
 */
#include "cluster/dial.h"

#include <unistd.h>

#include "net/socket.h"

static const int64_t connect_timeout_default_ns = 5000000000LL; /* Envoy's */

static void count_failure(struct dial *dial)
{
	if (dial->aside)
		return;
	mesh_counter_add(&dial->endpoint->cluster->stats->cx_connect_fail, 1);
	atomic_fetch_add_explicit(&dial->endpoint->shared->cx_connect_fail, 1, memory_order_relaxed);
}

static void count_end(struct dial *dial)
{
	struct cluster_stats *stats = dial->endpoint->cluster->stats;

	if (dial->aside)
		return;
	mesh_counter_add(&stats->cx_rx_bytes, dial->read_bytes);
	mesh_counter_add(&stats->cx_tx_bytes, dial->written_bytes);
	mesh_counter_add(&stats->cx_destroy, 1);
	mesh_breaker_give(&mesh_cluster_use(dial->endpoint->cluster, dial->high_priority)->connections);
	atomic_fetch_sub_explicit(&dial->endpoint->shared->connections, 1, memory_order_relaxed);
}

static void dial_failed(struct dial *dial, int error, const char *why)
{
	struct cluster_stats *stats = dial->endpoint->cluster->stats;

	count_failure(dial);
	if (error == MESH_ERROR_CONNECT_TIMEOUT && !dial->aside)
		mesh_counter_add(&stats->cx_connect_timeout, 1);
	if (error == MESH_ERROR_TLS)
		mesh_counter_add(&stats->ssl_connection_error, 1);
	if (error == MESH_ERROR_PEER_IDENTITY)
		mesh_counter_add(&stats->ssl_fail_verify_san, 1);
	/* nothing more is heard of it, whenever the owner kills it */
	mesh_timer_stop(dial->env->loop, &dial->timer);
	mesh_loop_unwatch(dial->env->loop, &dial->io);
	dial->owner->failed(dial, error, why);
}

void mesh_dial_kill(struct dial *dial)
{
	struct cluster_env *env = dial->env;

	if (dial->state == DIAL_DEAD)
		return;
	dial->state = DIAL_DEAD;
	mesh_list_remove(&dial->link);
	mesh_list_push(&env->dead, &dial->link);
	mesh_timer_stop(env->loop, &dial->timer);
	if (dial->io.fd >= 0)
		mesh_loop_unwatch(env->loop, &dial->io);
	if (dial->transport->ready)
		dial->transport->ops->shutdown(dial->transport);
	count_end(dial);
	mesh_loop_defer(env->loop, &env->reap);
}

void mesh_dial_reap(struct loop_task *task)
{
	struct cluster_env *env = MESH_CONTAINER(task, struct cluster_env, reap);

	while (!mesh_list_empty(&env->dead)) {
		struct dial *dial = MESH_CONTAINER(env->dead.next, struct dial, link);
		struct endpoint *endpoint = dial->endpoint;
		struct transport *transport = dial->transport;
		const struct cluster_config *config = dial->config;

		mesh_list_remove(&dial->link);
		dial->owner->freed(dial);
		mesh_transport_free(transport);
		mesh_config_object_release((void *)config);
		mesh_endpoint_release(endpoint); /* taken when it was opened */
	}
}

void mesh_dial_end_all(struct endpoint *endpoint)
{
	while (!mesh_list_empty(&endpoint->dials)) {
		struct dial *dial = MESH_CONTAINER(endpoint->dials.next, struct dial, link);

		dial->owner->ending(dial);
	}
}

void mesh_dial_fail_all(struct endpoint *endpoint)
{
	MESH_LIST_EACH_SAFE(at, &endpoint->dials) {
		struct dial *dial = MESH_CONTAINER(at, struct dial, link);

		if (dial->state == DIAL_OPEN && dial->owner->unhealthy)
			dial->owner->unhealthy(dial);
	}
}

static void opened(struct dial *dial)
{
	struct cluster_stats *stats = dial->endpoint->cluster->stats;

	mesh_timer_stop(dial->env->loop, &dial->timer);
	if (dial->transport->peer.tls) {
		mesh_counter_add(&stats->ssl_handshake, 1);
		if (dial->transport->peer.resumed)
			mesh_counter_add(&stats->ssl_session_reused, 1);
	}
	dial->connected_ns = mesh_loop_now_ns(dial->env->loop);
	dial->state = DIAL_OPEN;
	dial->owner->opened(dial);
}

static void io_ready(struct loop_io *io, unsigned what)
{
	struct dial *dial = MESH_CONTAINER(io, struct dial, io);
	int rc = dial->transport->ops->handshake(dial->transport);

	(void)what;
	if (rc == 0)
		opened(dial);
	else if (rc == MESH_ERROR_AGAIN)
		mesh_loop_change(dial->env->loop, &dial->io, dial->transport->wants);
	else
		dial_failed(dial, rc, dial->transport->why.text);
}

static void connect_timeout(struct loop_timer *timer)
{
	struct dial *dial = MESH_CONTAINER(timer, struct dial, timer);

	dial_failed(dial, MESH_ERROR_CONNECT_TIMEOUT,
		    dial->transport->peer.tls ? "TLS handshake took longer than connect_timeout"
					      : "no connection within connect_timeout");
}

static void session_new(void *user, struct tls_session *session)
{
	struct dial *dial = user;

	if (dial->state == DIAL_DEAD || dial->endpoint->retired)
		return;
	if (dial->resumption->context != dial->context) /* dialled anew meanwhile, under other settings or another trust */
		return;
	mesh_tls_session_release(dial->resumption->session);
	dial->resumption->session = mesh_tls_session_retain(session);
}

void mesh_resumption_clear(struct resumption *resumption)
{
	mesh_tls_session_release(resumption->session);
	mesh_tls_context_release(resumption->context);
	*resumption = (struct resumption){NULL, NULL};
}

/* A session is good for the settings and secrets it was made with. */
static void use_context(struct resumption *resumption, struct tls_context *context)
{
	if (resumption->context == context)
		return;
	mesh_resumption_clear(resumption);
	resumption->context = mesh_tls_context_retain(context);
}

/* What it is dialled for becomes the name that is asked for and the one that must be shown, where the settings say so. */
static int use_name(const struct dial *dial, const struct tls_config *tls, bool roots, struct tls_client *client,
		    struct why *why)
{
	struct mesh_slice cluster = dial->endpoint->cluster->name;
	struct address address;

	if ((tls->upstream_auto_sni || tls->upstream_auto_san) && !dial->server_name.len)
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "cluster %.*s takes a name of TLS from the request, and there is none",
				(int)cluster.len, cluster.data);
	if (tls->upstream_auto_san && !roots)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "cluster %.*s has no roots to check a name by", (int)cluster.len,
				cluster.data);
	client->sni = tls->sni;
	if (tls->upstream_auto_sni && mesh_address_parse(&address, dial->server_name, 0))
		client->sni = dial->server_name;
	if (tls->upstream_auto_san)
		client->name = dial->server_name;
	return 0;
}

static int open_tls(struct dial *dial, const struct tls_config *tls, int fd, struct mesh_slice alpn, struct why *why)
{
	struct cluster *cluster = dial->endpoint->cluster;
	struct cluster_env *env = dial->env;
	struct tls_client client = {0};
	const struct secret *certificate, *roots;
	int rc = 0;

	certificate = tls->certificate_name.len ? mesh_snapshot_secret(env->snapshot, tls->certificate_name) : NULL;
	roots = tls->roots_name.len ? mesh_snapshot_secret(env->snapshot, tls->roots_name) : NULL;
	if ((tls->certificate_name.len && !certificate) || (tls->roots_name.len && !roots))
		rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "secret %s of cluster %.*s is not there",
			      certificate ? tls->roots_name.data : tls->certificate_name.data, (int)cluster->name.len,
			      cluster->name.data);
	if (!rc)
		rc = use_name(dial, tls, roots, &client, why);
	if (!rc)
		rc = mesh_tls_store_get(env->tls, tls, false, certificate, roots, &client.context, why);
	if (rc) {
		close(fd);
		return rc;
	}
	use_context(dial->resumption, client.context);
	dial->context = client.context;
	client.alpn = alpn.len ? alpn : tls->alpn;
	client.sans = tls->sans;
	client.san_count = tls->san_count;
	client.resume = dial->resumption->session;
	client.session_new = session_new;
	client.session_user = dial;
	rc = mesh_transport_tls_client_new(env->mem, fd, &client, &dial->transport);
	mesh_tls_context_release(client.context);
	return rc;
}

/* The endpoint's transport as its match says: TLS with the secrets it names, or plain. Takes over fd. */
static int open_transport(struct dial *dial, int fd, struct mesh_slice alpn, struct why *why)
{
	const struct transport_choice *choice = dial->choice ? dial->choice : dial->endpoint->choice;
	const struct tls_config *tls = choice ? choice->tls : NULL;
	struct mesh_slice cluster = dial->endpoint->cluster->name;

	if (!choice) {
		close(fd);
		return mesh_why(why, MESH_ERROR_CONNECT, "the endpoint left cluster %.*s", (int)cluster.len, cluster.data);
	}
	/* a request may have waited here since before these settings came */
	if (choice->unsupported) {
		close(fd);
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "transport socket \"%.*s\" of cluster %.*s is not supported",
				(int)choice->name.len, choice->name.data ? choice->name.data : "", (int)cluster.len,
				cluster.data);
	}
	if (tls)
		return open_tls(dial, tls, fd, alpn, why);
	return mesh_transport_plain_new(dial->env->mem, fd, &dial->transport);
}

static int start_io(struct dial *dial, struct why *why)
{
	int64_t timeout = dial->config->connect_timeout_ns;
	int rc;

	dial->io.ready = io_ready;
	rc = mesh_loop_watch(dial->env->loop, &dial->io, dial->transport->fd, LOOP_WRITE);
	if (rc)
		return mesh_why(why, rc, "cannot watch the socket");
	dial->timer.due = connect_timeout;
	return mesh_timer_start(dial->env->loop, &dial->timer,
				(uint64_t)(timeout > 0 ? timeout : connect_timeout_default_ns));
}

/* Counted already against the limit. */
static int open_one(struct dial *dial, struct mesh_slice alpn, struct why *why)
{
	struct endpoint *endpoint = dial->endpoint;
	struct cluster *cluster = endpoint->cluster;
	struct cluster_env *env = cluster->env;
	int fd, rc;

	if (!dial->aside)
		mesh_counter_add(&cluster->stats->cx_total, 1);
	rc = mesh_socket_connect(cluster->config->bind.len ? &cluster->config->bind : NULL, cluster->config->bind_anywhere,
				      dial->address ? dial->address : &endpoint->address, &fd, why);
	if (!rc && cluster->config->tcp_keepalive)
		mesh_socket_keepalive(fd, cluster->config->tcp_keepalive_probes, cluster->config->tcp_keepalive_time_s,
				      cluster->config->tcp_keepalive_interval_s);
	if (!rc)
		rc = open_transport(dial, fd, alpn, why);
	if (!rc)
		rc = start_io(dial, why);
	if (!rc) {
		dial->state = DIAL_OPENING;
		endpoint->users++; /* until it is reaped */
		mesh_list_push(&endpoint->dials, &dial->link);
		if (!dial->aside)
			atomic_fetch_add_explicit(&endpoint->shared->connections, 1, memory_order_relaxed);
		return 0;
	}
	count_failure(dial);
	if (dial->io.fd >= 0)
		mesh_loop_unwatch(env->loop, &dial->io);
	mesh_transport_free(dial->transport);
	dial->transport = NULL;
	return rc;
}

/* Whoever opened them, and for requests of whatever priority. */
static bool endpoint_full(const struct endpoint *endpoint, const struct circuit_breaker *limits)
{
	return limits->host_limited &&
	       atomic_load_explicit(&endpoint->shared->connections, memory_order_relaxed) >= limits->host_connections;
}

/* One of the cluster's connections. Who has none gets one all the same, as in Envoy: what others hold would never come back
 * to it. */
static bool take_connection(const struct dial *dial, const struct endpoint *endpoint)
{
	struct cluster *cluster = endpoint->cluster;
	const struct circuit_breaker *limits = mesh_cluster_limits(cluster, dial->high_priority);
	atomic_uint *connections = &mesh_cluster_use(cluster, dial->high_priority)->connections;

	if (!endpoint_full(endpoint, limits) && mesh_breaker_take(connections, limits->connections))
		return true;
	mesh_counter_add(&cluster->stats->cx_overflow, 1);
	return !dial->strict && (dial->alone || mesh_list_empty(&endpoint->dials)) && mesh_breaker_take(connections, UINT32_MAX);
}

int mesh_dial_open(struct dial *dial, struct endpoint *endpoint, const struct dial_owner *owner, struct mesh_slice alpn,
		   struct why *why)
{
	struct cluster *cluster = endpoint->cluster;
	int rc;

	if (!dial->aside && !take_connection(dial, endpoint))
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_connections %u of %.*s reached",
				mesh_cluster_limits(cluster, dial->high_priority)->connections, (int)cluster->name.len,
				cluster->name.data);
	mesh_list_init(&dial->link);
	dial->owner = owner;
	dial->endpoint = endpoint;
	dial->env = cluster->env;
	if (!dial->resumption)
		dial->resumption = &endpoint->resumption;
	dial->config = mesh_config_object_retain(cluster->config);
	dial->io.fd = -1;
	dial->opened_ns = mesh_loop_now_ns(cluster->env->loop);
	rc = open_one(dial, alpn, why);
	if (rc) {
		mesh_config_object_release((void *)dial->config);
		if (!dial->aside)
			mesh_breaker_give(&mesh_cluster_use(cluster, dial->high_priority)->connections);
	}
	return rc;
}
