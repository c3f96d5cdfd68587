/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who takes a connection that is secured and let in: the listener's stream handler, or a mux of that version of
 * HTTP which configuration, ALPN or the first bytes tell, in this order, as Envoy has it. Refuses to know how it was secured
 * and what it carries.
 */
#include <mesh/error.h>

#include "call/inbound.h"
#include "call/stream.h"

enum { DETECT_BYTES = 4096 };

enum version {
	VERSION_UNKNOWN, /* more bytes needed */
	VERSION_HTTP1,
	VERSION_HTTP2,
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* What is no HTTP/2 is HTTP/1.1's to refuse. */
static enum version version_by_bytes(struct mesh_slice bytes)
{
	size_t same = bytes.len < sizeof(preface) - 1 ? bytes.len : sizeof(preface) - 1;

	if (!bytes.len)
		return VERSION_UNKNOWN;
	if (memcmp(bytes.data, preface, same))
		return VERSION_HTTP1;
	return same == sizeof(preface) - 1 ? VERSION_HTTP2 : VERSION_UNKNOWN;
}

/* A TCP chain's ALPN tells how the mesh carries the bytes, not what they are. */
static enum version version_by_agreement(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain->http;
	struct mesh_slice alpn = inbound->transport->peer.alpn;

	if (!http)
		return VERSION_UNKNOWN;
	if (http->codec != HTTP_CODEC_AUTO)
		return http->codec == HTTP_CODEC_HTTP2 ? VERSION_HTTP2 : VERSION_HTTP1;
	if (alpn.len)
		return mesh_slice_equal(alpn, MESH_SLICE("h2")) ? VERSION_HTTP2 : VERSION_HTTP1;
	return VERSION_UNKNOWN;
}

/* 0: something was read. */
static int read_more(struct inbound *inbound)
{
	struct transport *transport = inbound->transport;
	char *room = mesh_buf_reserve(&inbound->head, DETECT_BYTES);
	bool drained;
	ssize_t n;

	if (!room)
		return MESH_ERROR_NOMEM;
	n = transport->ops->read(transport, room, DETECT_BYTES, &drained);
	if (n == 0)
		return MESH_ERROR_RESET;
	if (n < 0)
		return (int)n;
	mesh_buf_commit(&inbound->head, (size_t)n);
	return 0;
}

/* Silence is an idle connection; bytes that do not tell are a head that does not end. */
static void wait_for_bytes(struct inbound *inbound)
{
	bool begun = mesh_buf_len(&inbound->head);

	mesh_loop_change(inbound->worker->env.loop, &inbound->io, LOOP_READ);
	if (inbound->state == INBOUND_DETECTING && begun == (inbound->head_ns != 0))
		return;
	inbound->state = INBOUND_DETECTING;
	inbound->head_ns = begun ? mesh_loop_now_ns(inbound->worker->env.loop) : 0;
	mesh_inbound_start_timer(inbound,
				 begun ? mesh_inbound_head_limit_ns(inbound) : mesh_inbound_idle_limit_ns(inbound));
}

void mesh_inbound_detect(struct inbound *inbound)
{
	enum version version = version_by_bytes(mesh_buf_slice(&inbound->head));
	int rc = 0;

	while (version == VERSION_UNKNOWN && !rc) {
		rc = read_more(inbound);
		version = version_by_bytes(mesh_buf_slice(&inbound->head));
	}
	if (version != VERSION_UNKNOWN)
		mesh_inbound_open(inbound, version == VERSION_HTTP2);
	else if (rc == MESH_ERROR_AGAIN)
		wait_for_bytes(inbound);
	else
		mesh_inbound_kill(inbound);
}

static void begin_stream(struct inbound *inbound)
{
	inbound->state = INBOUND_STREAMING;
	inbound->opened_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	if (mesh_stream_accept(inbound))
		mesh_inbound_kill(inbound);
}

void mesh_inbound_begin(struct inbound *inbound)
{
	const struct mesh_listener *listener = inbound->listener;
	enum version version;

	mesh_inbound_refresh(inbound); /* a handshake may have taken long */
	if (inbound->state == INBOUND_DEAD)
		return;
	/* a ClientHello, which the transport has; that of TLS which passes through is the stream's */
	if (inbound->chain->tls)
		mesh_buf_clear(&inbound->head);
	if (inbound->chain->kind == CHAIN_TCP && listener->stream_handler) {
		begin_stream(inbound);
		return;
	}
	if (!listener->handler) {
		mesh_listener_count(&inbound->listener->stats.cx_no_chain);
		MESH_LOG_I(&inbound->worker->mesh->log, "inbound",
			   "port %u: refused: HTTP by configuration, and no handler for it", listener->port);
		mesh_inbound_kill(inbound);
		return;
	}
	version = version_by_agreement(inbound);
	if (version == VERSION_UNKNOWN)
		mesh_inbound_detect(inbound);
	else
		mesh_inbound_open(inbound, version == VERSION_HTTP2);
}
