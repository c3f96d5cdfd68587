/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a client's stream: waits for the application's first bytes where the chain depends on them, then dials endpoints of
 * the chain's cluster until one takes it or the attempts are used up. Refuses to know how chains are chosen.
 */
#include "base/hash.h"
#include "call/stream.h"
#include "call/stream_tunnel.h"
#include "policy/chain_match.h"

/* ---- dialling */

static void dial_failed(struct dial *dial, int error, const char *why);

/* From here on its bytes are the application's. */
static void open_stream(struct stream_dial *one, bool exchange)
{
	struct dial *dial = &one->dial;
	struct mesh_stream *stream = one->stream;
	struct address address = dial->endpoint->address;
	int rc;

	mesh_timer_stop(dial->env->loop, &stream->client.limit);
	mesh_loop_unwatch(dial->env->loop, &dial->io); /* the stream watches for itself, and only when somebody waits */
	stream->result.connect_us = (dial->connected_ns - dial->opened_ns) / 1000;
	rc = mesh_stream_open(stream, dial->transport, &address, exchange, dial->config->metadata_exchange_protocol);
	if (rc)
		mesh_stream_finish(stream, rc, NULL);
}

static void tunnelled(struct stream_dial *one, int error, struct mesh_slice rest, const char *why)
{
	if (error) {
		dial_failed(&one->dial, error, why);
		return;
	}
	one->stream->head = rest;
	open_stream(one, false);
}

static void dial_opened(struct dial *dial)
{
	struct stream_dial *one = MESH_CONTAINER(dial, struct stream_dial, dial);
	struct mesh_stream *stream = one->stream;
	struct why why = {{0}};
	int rc;

	if (!stream) {
		mesh_dial_kill(dial);
		return;
	}
	mesh_endpoint_connected(dial->endpoint, true);
	if (!stream->client.chain->tunnel) {
		open_stream(one, dial->config->metadata_exchange);
		return;
	}
	rc = mesh_stream_tunnel_begin(one, tunnelled, &why);
	if (rc)
		dial_failed(dial, rc, why.text[0] ? why.text : mesh_error_text(rc));
}

static void report_failure(struct endpoint *endpoint, int error);

static void dial_ending(struct dial *dial)
{
	struct mesh_stream *stream = MESH_CONTAINER(dial, struct stream_dial, dial)->stream;

	if (stream)
		mesh_stream_finish(stream, MESH_ERROR_CANCELLED, "its worker ended");
	mesh_dial_kill(dial);
}

static void dial_unhealthy(struct dial *dial)
{
	struct mesh_stream *stream = MESH_CONTAINER(dial, struct stream_dial, dial)->stream;

	if (stream)
		mesh_stream_finish(stream, MESH_ERROR_RESET, "its endpoint is not healthy any more");
	mesh_dial_kill(dial);
}

static void dial_freed(struct dial *dial)
{
	struct stream_dial *one = MESH_CONTAINER(dial, struct stream_dial, dial);

	mesh_mem_free(dial->env->mem, one);
}

static const struct dial_owner stream_owner = {
	.opened = dial_opened,
	.failed = dial_failed,
	.ending = dial_ending,
	.unhealthy = dial_unhealthy,
	.freed = dial_freed,
};

void mesh_stream_give_up(struct mesh_stream *stream)
{
	struct stream_dial *one = stream->client.dial;

	mesh_lookup_cancel(&stream->client.waiter);
	mesh_stream_tunnel_end(stream);
	mesh_timer_stop(stream->worker->env.loop, &stream->client.limit);
	stream->client.dial = NULL;
	if (!one)
		return;
	one->stream = NULL;
	mesh_dial_kill(&one->dial);
}

/* An endpoint that was not tried before, where there is one. */
static int pick(struct mesh_stream *stream, struct endpoint **endpoint, struct why *why)
{
	struct stream_client *client = &stream->client;
	uint32_t tried[STREAM_TRIED_MAX], index;
	struct lb_choice choice = {.avoid = tried, .now_ns = mesh_loop_now_ns(stream->worker->env.loop)};
	int rc;

	if (client->cluster->config->kind == CLUSTER_ORIGINAL_DST) {
		struct address address = client->destination;

		if (client->cluster->config->original_dst.port)
			mesh_address_set_port(&address, client->cluster->config->original_dst.port);
		return mesh_cluster_pick_address(client->cluster, &address, endpoint, why);
	}
	choice.avoid_count =
		mesh_cluster_find(client->cluster, client->tried, client->tried_count, tried, STREAM_TRIED_MAX);
	choice.avoid_attempts = choice.avoid_count ? 8 : 0;
	if (client->chain && client->chain->tcp_hash_source)
		choice.hash = mesh_hash_xx64(mesh_slice_of(stream->worker->mesh->pod_ip), 0);
	rc = mesh_cluster_pick(client->cluster, &choice, endpoint, &index, why);
	if (!rc && client->tried_count < STREAM_TRIED_MAX)
		client->tried[client->tried_count++] = client->cluster->lb[index].hash;
	return rc;
}

static int dial_one(struct mesh_stream *stream, struct endpoint *endpoint, struct why *why)
{
	static const struct mesh_slice own_alpn = {NULL, 0};
	struct cluster_env *env = &stream->worker->env;
	struct stream_dial *one = mesh_mem_zalloc(env->mem, sizeof(*one));
	int rc;

	if (!one)
		return MESH_ERROR_NOMEM;
	one->stream = stream;
	one->dial.strict = true;
	one->dial.server_name = stream->client.host; /* where its TLS wants the name of what is asked for */
	rc = mesh_dial_open(&one->dial, endpoint, &stream_owner, own_alpn, why);
	if (rc)
		mesh_mem_free(env->mem, one);
	else
		stream->client.dial = one;
	return rc;
}

static bool worth_another(const struct mesh_stream *stream, int error)
{
	uint32_t max = stream->client.chain->tcp_connect_attempts;

	if (error == MESH_ERROR_NO_ENDPOINT || error == MESH_ERROR_OVERFLOW || error == MESH_ERROR_NOMEM)
		return false;
	return stream->result.attempts < (max ? max : 1);
}

/* One try after the other until one is under way. */
static void attempt(struct mesh_stream *stream)
{
	struct why why;
	int rc;

	do {
		struct endpoint *endpoint;

		why.text[0] = '\0';
		rc = pick(stream, &endpoint, &why);
		if (rc)
			break;
		stream->result.attempts++;
		stream->result.endpoint = mesh_arena_slice(&stream->arena, endpoint->shared->text, NULL);
		rc = dial_one(stream, endpoint, &why);
		if (rc)
			report_failure(endpoint, rc);
		mesh_endpoint_release(endpoint); /* the dial holds it, if it came to be */
	} while (rc && worth_another(stream, rc));
	if (rc)
		mesh_stream_finish(stream, rc, why.text);
}

static void report_failure(struct endpoint *endpoint, int error)
{
	struct endpoint_outcome outcome = {.error = error, .connect_failed = true};

	/* what is wrong on our own side tells nothing of the endpoint */
	if (error != MESH_ERROR_OVERFLOW && error != MESH_ERROR_NO_ENDPOINT && error != MESH_ERROR_CERTIFICATE)
		mesh_endpoint_report(endpoint, &outcome);
}

static void dial_failed(struct dial *dial, int error, const char *why)
{
	struct stream_dial *one = MESH_CONTAINER(dial, struct stream_dial, dial);
	struct mesh_stream *stream = one->stream;
	struct why kept = {{0}};

	mesh_why(&kept, error, "%s: %s", dial->endpoint->shared->text.data, why);
	report_failure(dial->endpoint, error);
	if (!stream) {
		mesh_dial_kill(dial);
		return;
	}
	stream->client.dial = NULL;
	one->stream = NULL;
	mesh_dial_kill(dial);
	if (worth_another(stream, error))
		attempt(stream);
	else
		mesh_stream_finish(stream, error, kept.text);
}

/* ---- where to */

static int find_cluster(struct mesh_stream *stream, struct why *why)
{
	struct stream_client *client = &stream->client;
	uint32_t hash;
	struct mesh_slice name = mesh_stream_cluster(stream, &hash);
	int rc = mesh_cluster_get(&stream->worker->env, name, hash, &client->cluster);

	stream->result.cluster = mesh_arena_slice(&stream->arena, name, NULL);
	if (rc)
		return mesh_why(why, rc, "cluster %.*s is not known", (int)name.len, name.data);
	switch (client->cluster->config->kind) {
	case CLUSTER_EDS:
	case CLUSTER_STATIC:
	case CLUSTER_STRICT_DNS:
	case CLUSTER_LOGICAL_DNS:
		return 0;
	case CLUSTER_ORIGINAL_DST:
		return 0;
	default:
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "cluster %.*s: its discovery type cannot be called yet",
				(int)name.len, name.data);
	}
}

static void limit_due(struct loop_timer *timer)
{
	struct mesh_stream *stream = MESH_CONTAINER(timer, struct mesh_stream, client.limit);

	mesh_stream_finish(stream, MESH_ERROR_CONNECT_TIMEOUT, "not open within connect_timeout_ms");
}

static void found(struct lookup_waiter *waiter, int error, const struct address *address, const char *why)
{
	struct mesh_stream *stream = MESH_CONTAINER(waiter, struct mesh_stream, client.waiter);
	struct stream_client *client = &stream->client;

	if (error) {
		mesh_stream_finish(stream, error, why);
		return;
	}
	client->destination = *address;
	client->by_address = true;
	if (!client->early) {
		attempt(stream);
		return;
	}
	client->early = false;
	mesh_timer_stop(stream->worker->env.loop, &client->limit);
	mesh_stream_begin(stream);
}

/* Where the name is. 0: it is known; AGAIN: `found` follows. */
static int ask_address(struct mesh_stream *stream, bool early, struct why *why)
{
	struct stream_client *client = &stream->client;
	int rc;

	client->early = early;
	client->waiter.found = found;
	rc = mesh_lookup_ask(stream->worker, client->host, client->port, &client->waiter, &client->destination, why);
	if (!rc)
		client->by_address = true;
	return rc;
}

/* Its listener cannot be told before. */
static void find_early(struct mesh_stream *stream)
{
	struct stream_client *client = &stream->client;
	struct why why = {{0}};
	int rc = ask_address(stream, true, &why);

	stream->state = STREAM_OPENING;
	if (!rc) {
		mesh_stream_begin(stream);
		return;
	}
	client->limit.due = limit_due;
	if (rc == MESH_ERROR_AGAIN && client->limit_ns && mesh_timer_start(stream->worker->env.loop, &client->limit, client->limit_ns))
		rc = MESH_ERROR_NOMEM;
	if (rc != MESH_ERROR_AGAIN)
		mesh_stream_finish(stream, rc, why.text);
}

/* It is known what the application speaks, or does not matter. */
static void go(struct mesh_stream *stream, const struct stream_speech *speech)
{
	struct stream_client *client = &stream->client;
	struct loop *loop = stream->worker->env.loop;
	struct why why = {{0}};
	int rc = mesh_stream_find_chain(stream, speech, &why);

	mesh_timer_stop(loop, &client->limit);
	stream->state = STREAM_OPENING;
	if (!rc) {
		mesh_stream_limit(stream, client->chain->tcp_idle_timeout_ns, client->chain->tcp_duration_max_ns);
		rc = find_cluster(stream, &why);
	}
	client->limit.due = limit_due;
	if (!rc && client->limit_ns)
		rc = mesh_timer_start(loop, &client->limit, client->limit_ns);
	if (!rc && client->cluster->config->kind == CLUSTER_ORIGINAL_DST && !client->by_address)
		rc = ask_address(stream, false, &why);
	if (rc && rc != MESH_ERROR_AGAIN)
		mesh_stream_finish(stream, rc, why.text);
	else if (!rc)
		attempt(stream);
}

/* As something that has shown nothing of itself: no TLS, no protocol, no name. */
static void go_unseen(struct mesh_stream *stream)
{
	static const struct stream_speech nothing;

	go(stream, &nothing);
}

static void filters_due(struct loop_timer *timer)
{
	struct mesh_stream *stream = MESH_CONTAINER(timer, struct mesh_stream, client.limit);

	if (stream->client.listener->continue_on_timeout)
		go_unseen(stream);
	else
		mesh_stream_finish(stream, MESH_ERROR_TIMEOUT,
				   "nothing to tell the protocol by was written within listener_filters_timeout");
}

void mesh_stream_begin(struct mesh_stream *stream)
{
	struct stream_client *client = &stream->client;
	struct mesh_worker *worker = stream->worker;
	struct why why = {{0}};
	int rc = 0;

	mesh_loop_update_ns(worker->env.loop);
	mesh_worker_refresh(worker);
	if (!client->snapshot) /* it may begin anew once an address is known */
		client->snapshot = mesh_snapshot_retain(worker->env.snapshot);
	if (!client->snapshot)
		rc = mesh_why(&why, MESH_ERROR_NOT_READY, "no configuration received yet");
	if (!rc)
		rc = mesh_stream_find_listener(stream, &why);
	if (rc == MESH_ERROR_AGAIN) {
		find_early(stream);
	} else if (rc) {
		mesh_stream_finish(stream, rc, why.text);
	} else if (client->server_name.len) {
		go(stream, &(struct stream_speech){.tls = true, .server_name = client->server_name});
	} else if (client->server_first || !mesh_stream_looks_for(stream)) {
		go_unseen(stream);
	} else {
		stream->state = STREAM_WAITING;
		if (stream->refused_write) { /* it said AGAIN while an address was looked up */
			stream->refused_write = false;
			stream->due |= STREAM_TELL_WRITABLE;
			mesh_loop_defer(worker->env.loop, &stream->tell);
		}
		client->limit.due = filters_due;
		if (client->listener->filters_timeout_ns > 0 &&
		    mesh_timer_start(worker->env.loop, &client->limit, (uint64_t)client->listener->filters_timeout_ns))
			mesh_stream_finish(stream, MESH_ERROR_NOMEM, NULL);
	}
}

/* ---- what the application speaks */

static int look(struct mesh_stream *stream, struct arena *scratch)
{
	static const struct mesh_slice http11 = {"http/1.1", 8}, http10 = {"http/1.0", 8}, h2c = {"h2c", 3};
	unsigned looks = mesh_stream_looks_for(stream);
	struct sniff sniff = {.tls_only = !(looks & CHAIN_LOOKS_FOR_HTTP), .http_only = !(looks & CHAIN_LOOKS_FOR_TLS)};
	struct stream_speech speech = {0};
	int rc = mesh_sniff(mesh_buf_slice(&stream->client.first), scratch, &sniff);

	if (rc)
		return rc;
	switch (sniff.kind) {
	case SNIFF_MORE:
		return MESH_ERROR_AGAIN;
	case SNIFF_TLS:
		speech = (struct stream_speech){true, sniff.server_name, sniff.alpn, sniff.alpn_count};
		break;
	case SNIFF_HTTP1:
	case SNIFF_HTTP2:
		speech.alpn = sniff.kind == SNIFF_HTTP2 ? &h2c : sniff.http_10 ? &http10 : &http11;
		speech.alpn_count = 1;
		break;
	case SNIFF_RAW:
		break;
	case SNIFF_INVALID:
		return mesh_why(&stream->why, MESH_ERROR_DOWNSTREAM_PROTOCOL,
				"the first bytes begin a TLS hello that is not sound");
	}
	go(stream, &speech);
	return 0;
}

int64_t mesh_stream_first(struct mesh_stream *stream, struct mesh_slice data)
{
	struct buf *first = &stream->client.first;
	size_t room = MESH_SNIFF_BYTES_MAX - mesh_buf_len(first);
	struct arena scratch; /* all bytes are looked at anew each time */
	int rc;

	if (data.len > room)
		data.len = room;
	rc = mesh_buf_append(first, data);
	mesh_arena_init(&scratch, &stream->mesh->mem, 0);
	if (!rc)
		rc = look(stream, &scratch);
	mesh_arena_free(&scratch);
	if (rc && rc != MESH_ERROR_AGAIN) {
		mesh_stream_finish(stream, rc, NULL);
		return rc;
	}
	stream->result.sent_bytes += data.len;
	return (int64_t)data.len; /* also when it could not be opened: that is told next */
}
