/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which filter chain a connection takes: by its first bytes where the chains ask for it, as Envoy would; then
 * secures it and lets it in or not. Follows newer configuration for open ones. Refuses to know requests.
 */
#include <errno.h>

#include "call/inbound.h"
#include "net/sniff.h"
#include "policy/chain_match.h"

static const uint64_t second_ns = 1000000000ULL;
static const uint64_t handshake_default_ns = 15 * second_ns;
static const uint64_t sniff_longest_ns = 3600 * second_ns; /* as an idle connection */

void mesh_inbound_authz(const struct inbound *inbound, struct authz_request *request)
{
	const struct peer_info *peer = &inbound->transport->peer;

	memset(request, 0, sizeof(*request));
	request->authenticated = peer->mutual;
	request->uri_sans = peer->uri_sans;
	request->uri_san_count = peer->uri_san_count;
	request->dns_sans = peer->dns_sans;
	request->dns_san_count = peer->dns_san_count;
	request->subject = peer->subject;
	request->source = request->direct = &inbound->remote;
	request->destination = &inbound->local;
	request->server_name = inbound->server_name;
}

/* Network rules over the connection. `count`: it is new, and this decides. */
static bool connection_allowed(struct inbound *inbound, const struct chain *chain, bool count)
{
	struct listener_stats *stats = &inbound->listener->stats;
	struct authz_request request;
	struct authz_result result;

	mesh_inbound_authz(inbound, &request);
	for (size_t i = 0; i < chain->authz_count; i++) {
		mesh_rbac_check(&chain->authz[i], &request, &inbound->arena, &result);
		if (count && result.shadow_checked && !result.shadow_allowed)
			mesh_listener_count(&stats->cx_shadow_denied);
		if (result.allowed)
			continue;
		if (count) {
			mesh_listener_count(&stats->cx_denied);
			MESH_LOG_I(&inbound->worker->mesh->log, "inbound", "port %u: %.*s denied%s%.*s", inbound->listener->port,
				   request.uri_san_count ? (int)request.uri_sans[0].len : 23,
				   request.uri_san_count ? request.uri_sans[0].data : "a peer without identity",
				   result.policy.len ? " by " : ", no policy allows it", (int)result.policy.len,
				   result.policy.len ? result.policy.data : "");
		}
		return false;
	}
	return true;
}

void mesh_inbound_secure(struct inbound *inbound)
{
	int rc = inbound->transport->ops->handshake(inbound->transport);

	if (rc == MESH_ERROR_AGAIN) {
		mesh_loop_change(inbound->worker->env.loop, &inbound->io, inbound->transport->wants);
		return;
	}
	if (rc) {
		char from[MESH_ADDRESS_TEXT_BYTES];

		mesh_listener_count(&inbound->listener->stats.cx_ssl_error);
		mesh_address_text(&inbound->remote, from);
		MESH_LOG_I(&inbound->worker->mesh->log, "inbound", "port %u: %s: %s", inbound->listener->port, from,
			   inbound->transport->why.text);
		mesh_inbound_kill(inbound);
		return;
	}
	if (inbound->chain->tls)
		mesh_listener_count(&inbound->listener->stats.cx_ssl);
	if (connection_allowed(inbound, inbound->chain, true))
		mesh_inbound_begin(inbound);
	else
		mesh_inbound_kill(inbound);
}

/*
 * As the chain has it, but where only requests are served: a peer with whom the exchange of metadata is agreed begins with
 * it, and would be no HTTP. Without that ALPN it does not.
 */
static int own_tls(struct inbound *inbound, struct tls_config *tls)
{
	struct mesh_slice skip = inbound->chain->metadata_exchange_protocol, list;
	char *alpn;
	size_t len = 0;

	*tls = *inbound->chain->tls;
	if (inbound->listener->stream_handler || !skip.len)
		return 0;
	list = tls->alpn;
	alpn = mesh_arena_alloc(&inbound->arena, list.len + 1);
	if (!alpn)
		return MESH_ERROR_NOMEM;
	for (size_t at = 0, next; at < list.len; at = next) { /* decoded: sound */
		next = at + 1 + (unsigned char)list.data[at];
		if (mesh_slice_equal(mesh_slice_make(list.data + at + 1, next - at - 1), skip))
			continue;
		memcpy(alpn + len, list.data + at, next - at);
		len += next - at;
	}
	tls->alpn = mesh_slice_make(len ? alpn : NULL, len);
	return 0;
}

static int make_transport(struct inbound *inbound, struct why *why)
{
	struct mesh_worker *worker = inbound->worker;
	const struct mesh_mem *mem = &worker->mesh->mem;
	struct tls_config tls;
	struct tls_context *context;
	const struct secret *certificate, *roots;
	int rc, fd = inbound->fd;

	if (!inbound->chain->tls) {
		inbound->fd = -1;
		return mesh_transport_plain_new(mem, fd, &inbound->transport);
	}
	rc = own_tls(inbound, &tls);
	if (rc)
		return mesh_why(why, rc, "no memory for a connection");
	certificate = mesh_snapshot_secret(inbound->snapshot, tls.certificate_name);
	roots = tls.roots_name.len ? mesh_snapshot_secret(inbound->snapshot, tls.roots_name) : NULL;
	if (!certificate || (tls.roots_name.len && !roots) || (tls.require_client_certificate && !roots))
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate or roots of chain %.*s are not there",
				(int)inbound->chain->name.len, inbound->chain->name.data);
	rc = mesh_tls_store_get(worker->mesh->tls, &tls, true, certificate, roots, &context, why);
	if (rc)
		return rc;
	inbound->fd = -1;
	inbound->tls = true;
	rc = mesh_transport_tls_server_new(mem, fd, context, mesh_buf_slice(&inbound->head), &inbound->transport);
	mesh_tls_context_release(context);
	return rc;
}

static const struct chain *choose_chain(const struct inbound *inbound, const struct snapshot *snapshot)
{
	struct chain_request request = {
		.port = inbound->listener->port,
		.destination = &inbound->local,
		.source = &inbound->remote,
		.server_name = inbound->server_name,
		.tls = inbound->tls,
		.alpn = inbound->alpn,
		.alpn_count = inbound->alpn_count,
	};

	return snapshot->virtual_inbound ? mesh_chain_find(snapshot->virtual_inbound, &request) : NULL;
}

/* The first bytes may have come late: what counts is the configuration of now, also for what they are looked at for. */
static void use_newest(struct inbound *inbound)
{
	mesh_worker_refresh(inbound->worker);
	if (inbound->snapshot == inbound->worker->env.snapshot)
		return;
	mesh_snapshot_release(inbound->snapshot);
	inbound->snapshot = mesh_snapshot_retain(inbound->worker->env.snapshot);
}

/* Of the configuration in use. */
static void take_chain(struct inbound *inbound)
{
	struct mesh *mesh = inbound->worker->mesh;
	struct why why = {{0}};
	int64_t timeout_ns;
	int rc = 0;

	inbound->chain = choose_chain(inbound, inbound->snapshot);
	if (!inbound->chain || inbound->chain->kind == CHAIN_BLACKHOLE || inbound->chain->kind == CHAIN_FAIL_CLOSED) {
		mesh_listener_count(&inbound->listener->stats.cx_no_chain);
		MESH_LOG_I(&mesh->log, "inbound", "port %u: refused: %s", inbound->listener->port,
			   !inbound->chain ? "no filter chain takes this connection"
					   : inbound->chain->reason.len ? inbound->chain->reason.data : "blackhole");
		mesh_inbound_kill(inbound);
		return;
	}
	/* TLS that is not the mesh's, on a chain that does not end it: bytes for a stream, no HTTP */
	if (inbound->tls && !inbound->chain->tls && (inbound->chain->kind != CHAIN_TCP || !inbound->listener->stream_handler))
		rc = mesh_why(&why, MESH_ERROR_PROTOCOL, "TLS not meant for the mesh");
	if (!rc)
		rc = make_transport(inbound, &why);
	if (rc) {
		mesh_listener_count(&inbound->listener->stats.cx_no_chain);
		MESH_LOG_W(&mesh->log, "inbound", "port %u: %s", inbound->listener->port, why.text);
		mesh_inbound_kill(inbound);
		return;
	}
	inbound->state = INBOUND_SECURING;
	timeout_ns = inbound->chain->transport_timeout_ns;
	mesh_inbound_start_timer(inbound, timeout_ns > 0 ? (uint64_t)timeout_ns : handshake_default_ns);
	mesh_inbound_secure(inbound);
}

static int read_head(struct inbound *inbound)
{
	char *room = mesh_buf_reserve(&inbound->head, 4096);
	ssize_t n;

	if (!room)
		return MESH_ERROR_NOMEM;
	do
		n = recv(inbound->fd, room, 4096, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? MESH_ERROR_AGAIN : MESH_ERROR_RESET;
	if (n == 0)
		return MESH_ERROR_RESET;
	mesh_buf_commit(&inbound->head, (size_t)n);
	return 0;
}

static unsigned looks_for(const struct inbound *inbound)
{
	const struct listener_config *listener = inbound->snapshot->virtual_inbound;

	return listener ? mesh_chain_looks_for(listener, inbound->listener->port) : 0;
}

static int keep_sniffed(struct inbound *inbound, const struct sniff *sniff)
{
	static const struct mesh_slice http11 = {"http/1.1", 8}, http10 = {"http/1.0", 8}, h2c = {"h2c", 3};
	bool failed = false;

	inbound->tls = sniff->kind == SNIFF_TLS;
	inbound->alpn_count = inbound->tls ? sniff->alpn_count : sniff->kind == SNIFF_HTTP1 || sniff->kind == SNIFF_HTTP2;
	inbound->server_name = mesh_arena_slice(&inbound->arena, sniff->server_name, &failed);
	inbound->alpn = mesh_arena_array(&inbound->arena, inbound->alpn_count + 1, sizeof(*inbound->alpn));
	if (!inbound->alpn || failed)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; inbound->tls && i < sniff->alpn_count; i++)
		inbound->alpn[i] = mesh_arena_slice(&inbound->arena, sniff->alpn[i], &failed);
	if (sniff->kind == SNIFF_HTTP1)
		inbound->alpn[0] = sniff->http_10 ? http10 : http11;
	if (sniff->kind == SNIFF_HTTP2)
		inbound->alpn[0] = h2c;
	return failed ? MESH_ERROR_NOMEM : 0;
}

void mesh_inbound_sniff(struct inbound *inbound)
{
	struct sniff sniff = {.kind = SNIFF_MORE};
	unsigned looks;
	int rc = read_head(inbound);

	if (rc == MESH_ERROR_AGAIN)
		return;
	use_newest(inbound);
	looks = looks_for(inbound);
	sniff.tls_only = !(looks & CHAIN_LOOKS_FOR_HTTP);
	sniff.http_only = !(looks & CHAIN_LOOKS_FOR_TLS);
	if (!rc)
		rc = mesh_sniff(mesh_buf_slice(&inbound->head), &inbound->arena, &sniff);
	/* what only begins like TLS is bytes like others, as Envoy has it, but a ClientHello without end is nothing */
	if (rc < 0 || (sniff.kind == SNIFF_INVALID && mesh_buf_len(&inbound->head) >= MESH_SNIFF_BYTES_MAX)) {
		mesh_inbound_kill(inbound);
		return;
	}
	if (sniff.kind == SNIFF_MORE)
		return;
	if (keep_sniffed(inbound, &sniff))
		mesh_inbound_kill(inbound);
	else
		take_chain(inbound);
}

/* listener_filters_timeout; 0 turns it off, which is still not for ever. */
static uint64_t sniff_limit_ns(const struct inbound *inbound)
{
	int64_t ns = inbound->snapshot->virtual_inbound->filters_timeout_ns;

	return ns > 0 ? (uint64_t)ns : sniff_longest_ns;
}

void mesh_inbound_choose(struct inbound *inbound)
{
	inbound->state = INBOUND_SNIFFING;
	if (!looks_for(inbound)) {
		take_chain(inbound);
		return;
	}
	mesh_inbound_start_timer(inbound, sniff_limit_ns(inbound));
	mesh_inbound_sniff(inbound);
}

/* Where it may go on, then as what has shown nothing of itself: no TLS, no protocol, no name. */
void mesh_inbound_sniff_late(struct inbound *inbound)
{
	mesh_listener_count(&inbound->listener->stats.cx_pre_timeout);
	use_newest(inbound);
	if (inbound->snapshot->virtual_inbound && inbound->snapshot->virtual_inbound->continue_on_timeout)
		take_chain(inbound);
	else
		mesh_inbound_kill(inbound);
}

/* Would the chain have taken the connection as it is secured? */
static bool chain_fits(struct inbound *inbound, const struct chain *chain)
{
	if (!chain || chain->kind != inbound->chain->kind || !chain->tls != !inbound->chain->tls)
		return false;
	if (chain->tls && chain->tls->require_client_certificate && !inbound->transport->peer.mutual)
		return false;
	return connection_allowed(inbound, chain, false);
}

/*
 * Envoy drains the connections of a listener that changes: what they carry ends under the configuration it began with, and
 * the next answer says Connection: close, or a GOAWAY that no more is taken. So here, where the connection would not be let
 * in as it is: a chain that turned from PERMISSIVE to STRICT answers the request that is under way on a plaintext
 * connection, under its old rules, and none behind it; a connection without one ends at once. A connection the new chain
 * would take as well goes on, and its next request meets the new rules.
 */
void mesh_inbound_refresh(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;
	const struct chain *chain;

	mesh_worker_refresh(worker);
	if (inbound->snapshot == worker->env.snapshot || inbound->superseded_ns)
		return;
	if (inbound->snapshot->virtual_inbound == worker->env.snapshot->virtual_inbound) {
		chain = inbound->chain;
	} else {
		chain = choose_chain(inbound, worker->env.snapshot);
		if (!chain_fits(inbound, chain)) {
			mesh_inbound_supersede(inbound);
			return;
		}
	}
	/* calls under way keep the old one alive: serve.c holds a reference for each */
	mesh_snapshot_release(inbound->snapshot);
	inbound->snapshot = mesh_snapshot_retain(worker->env.snapshot);
	inbound->chain = chain;
}
