/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: keeps a stream to the control plane, a certificate, and the newest whole snapshot published. Decides
 * when to connect again and when what is held is fit for use. Refuses to know the protocol (ads.c) and resources.
 */
#include "xds/client_state.h"

#include "loop/thread.h"
#include "xds/node.h"

static const size_t message_bytes_max = 256 * 1024 * 1024;
/* A resource that is never sent must not keep the others from being used: Envoy's initial_fetch_timeout. */
enum { SETTLE_MS = 15000 };
static const uint64_t memory_retry_ns = 1000000000ull;
static const uint64_t warm_ns = 1000000000ull;

/* ---- snapshots ---- */

/* Without memory for a timer the next message comes by here. */
static void wait_for(struct xds_client *client, struct loop_timer *timer, uint64_t delay_ns)
{
	if (!mesh_timer_running(timer))
		mesh_timer_start(client->loop, timer, delay_ns);
}

/*
 * The first snapshot waits for all that is named. Later ones wait for what a listener names, for half a listener would
 * answer wrongly, at most `settle`; and a moment for the endpoints of new clusters, so that a route that moves to one loses no
 * call. A cluster that stays without fails its own calls and must not keep a policy from being in force.
 */
static bool fit(struct xds_client *client, const struct snapshot *snapshot)
{
	bool listeners = client->version && mesh_resource_cache_listeners_complete(client->cache);

	if (snapshot->complete) {
		mesh_timer_stop(client->loop, &client->settle);
		mesh_timer_stop(client->loop, &client->warm);
		client->warmed = false;
		return true;
	}
	if (!listeners)
		wait_for(client, &client->settle, client->settle_ns);
	else
		mesh_timer_stop(client->loop, &client->settle);
	if (listeners && !client->warmed)
		wait_for(client, &client->warm, warm_ns);
	return listeners && client->warmed;
}

/* The names of DNS clusters are part of it, and the first answers are waited for like what is to be sent. */
static int resolve(struct xds_client *client, struct snapshot *snapshot)
{
	int rc = mesh_dns_follow(client->dns, snapshot->clusters);

	if (rc)
		return rc;
	mesh_snapshot_resolve(snapshot, mesh_dns_resolved(client->dns));
	snapshot->complete = snapshot->complete && !mesh_dns_waiting(client->dns);
	return 0;
}

static void resolved(void *user)
{
	struct xds_client *client = user;

	mesh_loop_defer(client->loop, &client->publish);
}

static void publish(struct loop_task *task)
{
	struct xds_client *client = MESH_CONTAINER(task, struct xds_client, publish);
	struct snapshot *snapshot = NULL;
	int rc = mesh_file_secrets_follow(&client->files);
	bool whole;

	if (!rc)
		rc = mesh_resource_cache_snapshot(client->cache, client->version + 1, &snapshot);
	if (!rc)
		rc = resolve(client, snapshot);
	if (rc) {
		mesh_snapshot_release(snapshot);
		MESH_LOG_E(client->log, "xds", "no snapshot: %s", mesh_error_text(rc));
		wait_for(client, &client->memory, memory_retry_ns);
		return;
	}
	whole = fit(client, snapshot);
	if (!whole || !client->certified) {
		mesh_xds_client_tell_state(client, whole, false);
		mesh_snapshot_release(snapshot);
		return;
	}
	client->version++;
	mesh_publisher_set(client->publisher, snapshot);
	mesh_counter_add(&client->snapshots, 1);
	mesh_xds_client_tell_state(client, true, true);
}

static void settle_due(struct loop_timer *timer)
{
	struct xds_client *client = MESH_CONTAINER(timer, struct xds_client, settle);
	int rc = mesh_resource_cache_give_up(client->cache);

	mesh_dns_give_up(client->dns);
	if (rc)
		wait_for(client, &client->settle, memory_retry_ns);
	else
		mesh_loop_defer(client->loop, &client->publish);
}

static void warm_due(struct loop_timer *timer)
{
	struct xds_client *client = MESH_CONTAINER(timer, struct xds_client, warm);

	client->warmed = true;
	mesh_loop_defer(client->loop, &client->publish);
}

static void memory_due(struct loop_timer *timer)
{
	struct xds_client *client = MESH_CONTAINER(timer, struct xds_client, memory);

	mesh_loop_defer(client->loop, &client->publish);
}

/* ---- the discovery stream ---- */

static void connect_later(struct xds_client *client, uint64_t delay_ns)
{
	/* the timer had its place at the start and keeps it: this cannot fail */
	mesh_timer_start(client->loop, &client->connect, delay_ns);
}

/*
 * Ends the stream. One that had served us and that the server ended is opened anew at once: servers close old streams by
 * design. One that we end for what came or could not be sent is not, for the next would bring the same.
 */
static void disconnect(struct xds_client *client, bool by_server, int error, const char *words)
{
	mesh_control_ops(client->control)->close(client->stream);
	client->stream = NULL;
	if (atomic_exchange(&client->connected, false))
		mesh_counter_add(&client->disconnects, 1);
	if (client->answered && by_server) {
		MESH_LOG_I(client->log, "ads", "%s", words);
		connect_later(client, mesh_backoff_soon_ns(&client->backoff));
	} else {
		MESH_LOG_W(client->log, "ads", "%s", words);
		connect_later(client, mesh_backoff_failed_ns(&client->backoff));
	}
	mesh_xds_client_tell_control(client, error, words);
}

static void on_message(struct control_handler *handler, struct mesh_slice bytes)
{
	struct xds_client *client = MESH_CONTAINER(handler, struct xds_client, handler);
	struct why why = {{0}};
	int rc = mesh_ads_receive(&client->ads, bytes, &why);

	/* STATE: the stream has ended while this came, and the reason follows */
	if (rc && rc != MESH_ERROR_STATE) {
		disconnect(client, false, rc == MESH_ERROR_INVALID ? MESH_ERROR_CONTROL_PLANE : rc,
			   why.text[0] ? why.text : mesh_error_text(rc));
		return;
	}
	if (!client->answered) {
		client->answered = true;
		atomic_store(&client->connected, true);
		mesh_xds_client_tell_control(client, 0, "");
	}
	mesh_loop_defer(client->loop, &client->publish);
}

static void on_closed(struct control_handler *handler, int status, const char *text)
{
	struct xds_client *client = MESH_CONTAINER(handler, struct xds_client, handler);
	struct why why = {{0}};
	int rc = mesh_control_peer_failed(&client->ads_peer, "discovery stream", status, text, &why);

	disconnect(client, true, rc, why.text);
}

static int send_request(void *user, struct mesh_slice message)
{
	struct xds_client *client = user;

	return mesh_control_ops(client->control)->send(client->stream, message, false);
}

static void connect_due(struct loop_timer *timer)
{
	struct xds_client *client = MESH_CONTAINER(timer, struct xds_client, connect);
	struct why why = {{0}};
	int rc;

	client->answered = false;
	mesh_counter_add(&client->connects, 1);
	rc = mesh_control_peer_open(&client->ads_peer, client->control, client->mem, mesh_ads_method(&client->ads), 0,
				    &client->handler, &client->stream, &why);
	if (!rc)
		rc = mesh_ads_open(&client->ads);
	if (rc)
		disconnect(client, false, rc, why.text[0] ? why.text : mesh_error_text(rc));
}

/* ---- the certificate ---- */

static int certificate_changed(void *user, struct secret *certificate, struct secret *roots)
{
	struct xds_client *client = user;
	int rc = mesh_resource_cache_set_secret(client->cache, certificate);

	if (!rc)
		rc = mesh_resource_cache_set_secret(client->cache, roots);
	if (rc)
		return rc; /* tried anew, by way of certificate_failed */
	client->certified = true;
	atomic_store(&client->expires_ms, mesh_cert_store_expires_ms(client->certs));
	mesh_counter_add(&client->certificates, 1);
	mesh_xds_client_tell_certificate(client, 0, "");
	mesh_loop_defer(client->loop, &client->publish);
	return 0;
}

static void certificate_failed(void *user, int error, const char *words)
{
	struct xds_client *client = user;

	mesh_counter_add(&client->certificate_failures, 1);
	mesh_xds_client_tell_certificate(client, error, words);
}

/* ---- life ---- */

static void set_peers(struct xds_client *client)
{
	const struct bootstrap *b = client->bootstrap;

	client->ads_peer = (struct control_peer){.address = b->discovery_address, .server_name = b->discovery_name,
						 .root_file = b->root_file, .token_file = b->token_file,
						 .cert_file = b->cert_file, .key_file = b->key_file,
						 .cluster_id = b->cluster_id, .message_bytes_max = message_bytes_max};
	client->ca_peer = client->ads_peer;
	client->ca_peer.address = b->ca_address;
	client->ca_peer.server_name = b->ca_name;
}

static int start_certs(struct xds_client *client, const struct xds_client_options *options)
{
	const struct bootstrap *b = client->bootstrap;
	struct cert_store_options certs = {
		.mem = client->mem, .log = client->log, .loop = client->loop, .control = client->control,
		.ca = b->ca_address ? &client->ca_peer : NULL, .cert_file = b->cert_file, .key_file = b->key_file,
		.root_file = b->root_file, .trust_domain = b->trust_domain, .ns = b->pod_namespace,
		.service_account = b->service_account, .key_type = b->key_type, .ttl_s = b->certificate_ttl_s,
		.backoff_base_ms = options->backoff_base_ms, .backoff_max_ms = options->backoff_max_ms,
		.changed = certificate_changed, .failed = certificate_failed, .user = client,
	};

	return mesh_cert_store_start(&certs, &client->certs);
}

static int start_dns(struct xds_client *client)
{
	struct dns_options dns = {.mem = client->mem, .log = client->log, .loop = client->loop, .changed = resolved, .user = client};

	return mesh_dns_new(&dns, &client->dns);
}

static void start_files(struct xds_client *client)
{
	client->files = (struct file_secrets){.mem = client->mem, .log = client->log, .loop = client->loop, .cache = client->cache,
					      .changed = resolved, .user = client};
	mesh_file_secrets_init(&client->files);
}

static int make_shared(struct xds_client *client)
{
	client->locked = !pthread_mutex_init(&client->shared.lock, NULL);
	client->signalled = !mesh_cond_init(&client->shared.changed);
	return client->locked && client->signalled ? 0 : MESH_ERROR_SYSTEM;
}

static void stop_run(struct loop_mail *mail)
{
	MESH_CONTAINER(mail, struct xds_client, stop)->stopping = true;
}

static void *thread_main(void *argument)
{
	struct xds_client *client = argument;

	int rc = 0;

	while (!client->stopping && rc >= 0)
		rc = mesh_loop_run(client->loop, -1);
	if (rc < 0) {
		MESH_LOG_E(client->log, "xds", "the control thread ended: %s", mesh_error_text(rc));
		mesh_xds_client_tell_control(client, rc, "the control thread ended");
	}
	return NULL;
}

static int start_thread(struct xds_client *client)
{
	int rc = mesh_thread_start(&client->thread, "mesh-control", thread_main, client);

	client->threaded = !rc;
	return rc;
}

static int build(struct xds_client *client, const struct xds_client_options *options)
{
	const struct control_ops *ops = options->control ? options->control : &mesh_control_grpc;
	struct why why = {{0}};
	int rc = make_shared(client);

	rc = rc ? rc : mesh_loop_new(client->mem, &client->loop);
	rc = rc ? rc : mesh_node_encode(client->bootstrap, &client->node, &why);
	rc = rc ? rc : mesh_resource_cache_new(client->mem, client->log, options->limits, &client->cache);
	if (!rc && client->bootstrap->locality) /* what zone-aware balancing measures the others by */
		rc = mesh_resource_cache_want(client->cache, XDS_ENDPOINT, MESH_SLICE(MESH_LOCAL_CLUSTER));
	if (!rc)
		start_files(client);
	rc = rc ? rc : start_dns(client);
	rc = rc ? rc : ops->start(ops, client->mem, client->log, client->loop, &client->control);
	if (rc)
		return rc == MESH_ERROR_INVALID ? MESH_ERROR_BOOTSTRAP : rc;
	client->ads.node = mesh_buf_slice(&client->node);
	client->ads.cache = client->cache;
	rc = start_certs(client, options);
	rc = rc ? rc : mesh_timer_start(client->loop, &client->connect, 0);
	return rc ? rc : start_thread(client);
}

int mesh_xds_client_start(const struct xds_client_options *options, struct xds_client **result)
{
	struct xds_client *client = mesh_mem_zalloc(options->mem, sizeof(*client));
	int rc;

	if (!client) {
		mesh_bootstrap_free(options->bootstrap);
		return MESH_ERROR_NOMEM;
	}
	client->mem = options->mem;
	client->log = options->log;
	client->publisher = options->publisher;
	client->bootstrap = options->bootstrap;
	client->stop.run = stop_run;
	client->handler = (struct control_handler){on_message, on_closed};
	client->connect.due = connect_due;
	client->settle.due = settle_due;
	client->warm.due = warm_due;
	client->settle_ns = (options->settle_ms ? options->settle_ms : SETTLE_MS) * 1000000ull;
	client->memory.due = memory_due;
	client->publish.run = publish;
	mesh_backoff_init(&client->backoff, options->backoff_base_ms, options->backoff_max_ms);
	mesh_buf_init(&client->node, client->mem, 0);
	set_peers(client);
	client->ads = (struct ads){.mem = client->mem, .log = client->log, .sotw = client->bootstrap->sotw,
				   .send = send_request, .user = client};
	mesh_ads_init(&client->ads);
	rc = build(client, options);
	if (rc) {
		mesh_xds_client_stop(client);
		return rc;
	}
	*result = client;
	return 0;
}

void mesh_xds_client_stop(struct xds_client *client)
{
	if (!client)
		return;
	if (client->threaded) {
		mesh_loop_post(client->loop, &client->stop);
		pthread_join(client->thread, NULL);
	}
	mesh_cert_store_stop(client->certs);
	mesh_dns_free(client->dns);
	mesh_file_secrets_free(&client->files);
	if (client->control) {
		/* stopping runs the loop once more: nothing of ours may be due then */
		mesh_timer_stop(client->loop, &client->warm);
		mesh_timer_stop(client->loop, &client->connect);
		mesh_timer_stop(client->loop, &client->settle);
		mesh_timer_stop(client->loop, &client->memory);
		mesh_loop_undefer(&client->publish);
		mesh_control_ops(client->control)->close(client->stream);
		mesh_control_ops(client->control)->stop(client->control);
	}
	mesh_ads_free(&client->ads);
	mesh_resource_cache_free(client->cache);
	mesh_loop_free(client->loop);
	mesh_buf_free(&client->node);
	mesh_bootstrap_free(client->bootstrap);
	if (client->signalled)
		pthread_cond_destroy(&client->shared.changed);
	if (client->locked)
		pthread_mutex_destroy(&client->shared.lock);
	mesh_mem_free(client->mem, client);
}
