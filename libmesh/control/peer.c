/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens streams with credentials read afresh. Decides which credential goes where: none over plaintext, the token before
 * a client certificate. Refuses to know what the streams carry.
 */
#include "control/peer.h"

#include "control/file.h"

struct credentials {
	const struct mesh_mem *mem;
	struct buf roots, bearer, chain, key;
};

static void credentials_init(struct credentials *c, const struct mesh_mem *mem)
{
	c->mem = mem;
	mesh_buf_init(&c->roots, mem, 0);
	mesh_buf_init(&c->bearer, mem, 0);
	mesh_buf_init(&c->chain, mem, 0);
	mesh_buf_init(&c->key, mem, 0);
}

static void wipe(struct buf *buf)
{
	if (buf->data)
		mesh_mem_wipe(buf->data, buf->room);
	mesh_buf_free(buf);
}

static void credentials_free(struct credentials *c)
{
	mesh_buf_free(&c->roots);
	mesh_buf_free(&c->chain);
	wipe(&c->bearer);
	wipe(&c->key);
}

/* A token is one word: what else is in the file must not become part of a header. */
static bool token_valid(struct mesh_slice token)
{
	for (size_t i = 0; i < token.len; i++)
		if (token.data[i] <= ' ' || token.data[i] >= 0x7f)
			return false;
	return token.len > 0;
}

static int read_token(struct credentials *c, const char *path, struct mesh_slice *value, struct why *why)
{
	struct mesh_slice bearer = MESH_SLICE("Bearer "), token;
	int rc = mesh_buf_append(&c->bearer, bearer);

	if (rc)
		return rc;
	rc = mesh_file_read(path, "token", &c->bearer, why);
	if (rc)
		return rc;
	*value = mesh_buf_slice(&c->bearer);
	while (value->len > bearer.len && strchr(" \t\r\n", value->data[value->len - 1]))
		value->len--;
	token = mesh_slice_make(value->data + bearer.len, value->len - bearer.len);
	if (!token.len)
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "token file %s: is empty", path);
	if (!token_valid(token))
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "token file %s: holds no token (one word without spaces)", path);
	return 0;
}

/* Told here, because gRPC would only say that there is no address, and print the rest on standard error. */
static int read_certificates(const char *path, const char *what, struct buf *out, struct why *why)
{
	int rc = mesh_file_read(path, what, out, why);

	if (!rc && !mesh_slice_contains(mesh_buf_slice(out), MESH_SLICE("-----BEGIN CERTIFICATE-----")))
		rc = mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: no PEM certificate in it", what, path);
	return rc;
}

static bool file_exists(const char *path)
{
	struct file_stamp stamp;

	mesh_file_stamp(path, &stamp);
	return stamp.inode != 0;
}

int mesh_control_peer_open(const struct control_peer *peer, struct control *control, const struct mesh_mem *mem,
			   const char *method, uint32_t timeout_ms, struct control_handler *handler,
			   struct control_stream **stream, struct why *why)
{
	struct control_target target = {.address = peer->address, .message_bytes_max = peer->message_bytes_max};
	struct mesh_header headers[2];
	struct credentials c;
	size_t count = 0;
	int rc = 0;

	credentials_init(&c, mem);
	if (peer->server_name) {
		target.server_name = peer->server_name;
		rc = read_certificates(peer->root_file, "root certificate", &c.roots, why);
		target.roots_pem = mesh_buf_slice(&c.roots).data;
	}
	if (!rc && peer->server_name && peer->token_file && !(peer->cert_file && !file_exists(peer->token_file))) {
		headers[count].name = MESH_SLICE("authorization");
		rc = read_token(&c, peer->token_file, &headers[count++].value, why);
	} else if (!rc && peer->server_name && peer->cert_file) {
		rc = read_certificates(peer->cert_file, "certificate", &c.chain, why);
		if (!rc)
			rc = mesh_file_read(peer->key_file, "key", &c.key, why);
		target.chain_pem = mesh_buf_slice(&c.chain).data;
		target.key_pem = mesh_buf_slice(&c.key).data;
	}
	if (!rc && peer->cluster_id) {
		headers[count].name = MESH_SLICE("clusterid");
		headers[count++].value = mesh_slice_of(peer->cluster_id);
	}
	if (!rc)
		rc = mesh_control_ops(control)->open(control, &target, method, headers, count, timeout_ms, handler, stream);
	credentials_free(&c);
	if (rc)
		mesh_why(why, rc, "%s: %s", peer->address, mesh_error_text(rc));
	return rc;
}

int mesh_control_peer_failed(const struct control_peer *peer, const char *what, int status, const char *text,
			     struct why *why)
{
	bool refused = status == CONTROL_UNAUTHENTICATED || status == CONTROL_PERMISSION_DENIED;

	return mesh_why(why, refused ? MESH_ERROR_CONTROL_AUTH : MESH_ERROR_CONTROL_PLANE, "%s to %s: %s (status %d): %.200s",
			what, peer->address,
			refused ? "refused our identity"
				: status == CONTROL_OK ? "ended" : "failed",
			status, text);
}
