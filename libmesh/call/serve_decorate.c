/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a request tells the application about who is behind it: what a sidecar adds before the application sees
 * it, and takes away. Refuses to decide whether it may be there.
 */
#include "call/serve.h"

#include "base/text.h"
#include "call/call.h"
#include "policy/internal_headers.h"

/* Text of known length being put together: first counted (`at` NULL), then written. */
struct text {
	char *at;
	size_t len;
};

static void put(struct text *text, struct mesh_slice piece)
{
	if (text->at && piece.len)
		memcpy(text->at + text->len, piece.data, piece.len);
	text->len += piece.len;
}

static bool holds(struct mesh_slice value, const char *any)
{
	for (; *any; any++)
		if (mesh_slice_find(value, *any) >= 0)
			return true;
	return false;
}

/*
 * A name of a certificate. What would end the value stands in quotes; what would end the quotes is in no URI or DNS name,
 * so such a name is of nobody and left out.
 */
static void put_name(struct text *text, struct mesh_slice key, struct mesh_slice name)
{
	bool quote = holds(name, ",;=");

	if (holds(name, "\"\\") || !mesh_header_value_valid(name))
		return;
	put(text, key);
	put(text, quote ? MESH_SLICE("\"") : MESH_SLICE(""));
	put(text, name);
	put(text, quote ? MESH_SLICE("\"") : MESH_SLICE(""));
}

static void put_quoted(struct text *text, struct mesh_slice key, struct mesh_slice value)
{
	put(text, key);
	put(text, value);
	put(text, MESH_SLICE("\""));
}

/* One element, in Envoy's order. */
static void put_element(struct text *text, const struct http_config *http, const struct peer_info *peer)
{
	put_name(text, MESH_SLICE("By="), peer->local_uri);
	put(text, MESH_SLICE(";Hash="));
	put(text, peer->sha256);
	if (http->xfcc_cert)
		put_quoted(text, MESH_SLICE(";Cert=\""), peer->pem[0]);
	if (http->xfcc_chain)
		put_quoted(text, MESH_SLICE(";Chain=\""), peer->pem[1]);
	if (http->xfcc_subject) /* RFC 2253 has escaped what is special in it */
		put_quoted(text, MESH_SLICE(";Subject=\""), peer->subject);
	for (size_t i = 0; http->xfcc_uri && i < peer->uri_san_count; i++)
		put_name(text, MESH_SLICE(";URI="), peer->uri_sans[i]);
	if (http->xfcc_uri && !peer->uri_san_count)
		put(text, MESH_SLICE(";URI="));
	for (size_t i = 0; http->xfcc_dns && i < peer->dns_san_count; i++)
		put_name(text, MESH_SLICE(";DNS="), peer->dns_sans[i]);
}

static int set_client_cert(struct mesh_call *call, struct mesh_slice name, struct mesh_slice old)
{
	const struct http_config *http = call->serve.http;
	struct transport *transport = call->serve.inbound->transport;
	struct text text = {NULL, 0};
	struct mesh_slice pem;
	int rc = http->xfcc_cert ? mesh_transport_peer_pem(transport, false, &pem) : 0;

	if (!rc && http->xfcc_chain)
		rc = mesh_transport_peer_pem(transport, true, &pem);
	if (rc)
		return rc;
	for (int pass = 0; pass < 2; pass++) {
		if (pass && !(text.at = mesh_arena_alloc(&call->arena, text.len + 1)))
			return MESH_ERROR_NOMEM;
		text.len = 0;
		put(&text, old);
		put(&text, old.len ? MESH_SLICE(",") : MESH_SLICE(""));
		put_element(&text, http, &transport->peer);
	}
	return mesh_headers_set(&call->request.headers, &call->arena, name, mesh_slice_make(text.at, text.len));
}

/* x-forwarded-client-cert as the connection manager is told to treat it. */
static int forward_client_cert(struct mesh_call *call)
{
	struct headers *headers = &call->request.headers;
	const struct mesh_slice name = MESH_SLICE("x-forwarded-client-cert");
	struct mesh_slice old = {NULL, 0};
	bool failed = false;

	switch (call->serve.http->forward_cert) {
	case FORWARD_CERT_ALWAYS_FORWARD_ONLY:
		return 0;
	case FORWARD_CERT_SANITIZE:
		break;
	case FORWARD_CERT_FORWARD_ONLY:
		if (call->peer.mutual)
			return 0;
		break;
	case FORWARD_CERT_APPEND_FORWARD:
		old = mesh_headers_joined(headers, &call->arena, name, &failed);
		if (failed)
			return MESH_ERROR_NOMEM;
		/* fall through */
	case FORWARD_CERT_SANITIZE_SET:
		if (call->peer.mutual)
			return set_client_cert(call, name, old);
		break;
	}
	mesh_headers_remove(headers, name);
	return 0;
}

/*
 * Whom the request comes from: the connection's peer, or where the connection manager is told to believe those in front of
 * it, the address that the last of them not to be skipped wrote behind the others in x-forwarded-for.
 */
static void remote_address(struct mesh_call *call, struct address *remote)
{
	const struct http_config *http = call->serve.http;
	bool failed = false;
	struct mesh_slice list =
		mesh_headers_joined(&call->request.headers, &call->arena, MESH_SLICE("x-forwarded-for"), &failed);
	uint32_t skip = http->xff_trusted_hops;
	struct address said;
	ptrdiff_t comma;

	*remote = call->serve.inbound->remote;
	if (failed)
		remote->len = 0; /* nobody: rules that would let somebody in do not match */
	if (failed || !list.data || (http->use_remote_address && !skip))
		return;
	skip -= http->use_remote_address;
	while (skip-- && (comma = mesh_slice_find_last(list, ',')) >= 0)
		list.len = (size_t)comma;
	if (skip != UINT32_MAX) /* fewer addresses than hops */
		return;
	comma = mesh_slice_find_last(list, ',');
	list = mesh_slice_trim(mesh_slice_make(list.data + comma + 1, list.len - (size_t)(comma + 1)));
	if (!mesh_address_parse(&said, list, 0))
		*remote = said;
}

/* Numeric, without the port; absent: no memory. */
static struct mesh_slice address_only(struct mesh_call *call, const struct address *address)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	struct mesh_slice ip = mesh_slice_make(text, mesh_address_text(address, text));
	ptrdiff_t colon = mesh_slice_find_last(ip, ':');

	ip.len = colon < 0 ? ip.len : (size_t)colon;
	if (ip.len > 2 && ip.data[0] == '[') /* IPv6 */
		ip = mesh_slice_make(ip.data + 1, ip.len - 2);
	return mesh_arena_slice(&call->arena, ip, NULL);
}

/* Where we are the first to see the client, what it says of itself is only what it says. */
static int forwarded(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	const struct mesh_slice name = MESH_SLICE("x-forwarded-for"), proto = MESH_SLICE("x-forwarded-proto");
	const struct mesh_slice scheme = call->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http");
	struct headers *headers = &call->request.headers;
	struct mesh_slice list, ip;
	bool failed = false;
	int rc = 0;

	if (http->use_remote_address && !http->skip_xff_append) {
		list = mesh_headers_joined(headers, &call->arena, name, &failed);
		ip = address_only(call, &call->serve.inbound->remote);
		if (!failed && ip.data && list.len)
			ip = mesh_arena_printf(&call->arena, "%.*s,%.*s", (int)list.len, list.data, (int)ip.len, ip.data);
		rc = failed || !ip.data ? MESH_ERROR_NOMEM : mesh_headers_set(headers, &call->arena, name, ip);
	}
	if (!rc && (!mesh_headers_get(headers, proto).data || (http->use_remote_address && !http->xff_trusted_hops)))
		rc = mesh_headers_set(headers, &call->arena, proto, scheme);
	return rc;
}

/* What a sidecar adds to a request before the application sees it, and takes away. */
int mesh_serve_decorate(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	struct headers *headers = &call->request.headers;
	const struct mesh_slice request_id = MESH_SLICE("x-request-id");
	char uuid[MESH_UUID_BYTES];
	int rc = forward_client_cert(call);

	remote_address(call, &call->serve.remote);
	if (!rc)
		rc = forwarded(call);
	if (!rc && http->generate_request_id && !mesh_headers_get(headers, request_id).data) {
		mesh_text_uuid(&call->worker->env.rand, uuid);
		struct mesh_slice id = mesh_arena_slice(&call->arena, mesh_slice_make(uuid, sizeof(uuid)), NULL);

		rc = id.data ? mesh_headers_add(headers, &call->arena, request_id, id) : MESH_ERROR_NOMEM;
	}
	/* no request is taken for one of our own proxy: x-forwarded-for, which would tell, is its sender's word */
	mesh_internal_headers_refuse(headers);
	return rc;
}
