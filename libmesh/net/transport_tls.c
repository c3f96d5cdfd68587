/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over one socket by OpenSSL: handshake with the peer's identity checked, reads that fetch whole records by one
 * system call, sessions handed out for resumption. Refuses to know what is carried.
 */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/socket.h"
#include "net/tls.h"

struct tls {
	struct transport base;
	SSL *ssl;
	struct tls_context *context;
	bool connected;
	bool finished; /* close_notify is out */
	/* client: what the certificate must name; copied into the arena */
	const struct string_match *sans;
	size_t san_count;
	struct mesh_slice name; /* and this one; absent: none */
	void (*session_new)(void *user, struct tls_session *session);
	void *session_user;
	bool shown;        /* client: the server asked for our certificate and got it */
	bool shown_before; /* the same of the session that is resumed */
	/* server: bytes read while sniffing come first */
	struct mesh_slice head;
	bool short_read; /* the socket gave less than asked: it is empty now */
	bool eof;
	int error;       /* errno of the socket */
};

static int bio_read(BIO *bio, char *data, size_t room, size_t *taken)
{
	struct tls *tls = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (tls->head.len) {
		*taken = tls->head.len < room ? tls->head.len : room;
		memcpy(data, tls->head.data, *taken);
		tls->head.data += *taken;
		tls->head.len -= *taken;
		tls->short_read = false;
		return 1;
	}
	do
		n = recv(tls->base.fd, data, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	tls->short_read = n < (ssize_t)room;
	if (n > 0) {
		*taken = (size_t)n;
		return 1;
	}
	if (n == 0)
		tls->eof = true;
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_read(bio);
	else
		tls->error = errno;
	return 0;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *taken)
{
	struct tls *tls = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do
		n = send(tls->base.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		*taken = (size_t)n;
		return 1;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_write(bio);
	else
		tls->error = errno;
	return -1; /* 0, and a second SSL_shutdown takes an alert for sent that found no room */
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct tls *tls = BIO_get_data(bio);

	if (command == BIO_CTRL_EOF)
		return tls && tls->eof;
	return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *mesh_tls_bio_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "mesh socket");

	if (!method)
		return NULL;
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	BIO_meth_set_create(method, bio_create);
	return method;
}

static struct tls *tls_of(struct transport *transport)
{
	return (struct tls *)transport;
}

static void session_destroy(struct ref *ref)
{
	struct tls_session *session = (struct tls_session *)ref;

	SSL_SESSION_free(session->session);
	mesh_mem_free(session->mem, session);
}

struct tls_session *mesh_tls_session_retain(struct tls_session *session)
{
	mesh_ref_take(&session->ref);
	return session;
}

void mesh_tls_session_release(struct tls_session *session)
{
	mesh_ref_drop(session ? &session->ref : NULL);
}

int mesh_tls_session_arrived(SSL *ssl, SSL_SESSION *openssl_session)
{
	struct tls *tls = SSL_get_app_data(ssl);
	struct tls_session *session;

	if (!tls || !tls->session_new || !SSL_SESSION_is_resumable(openssl_session))
		return 0;
	session = mesh_mem_zalloc(tls->base.mem, sizeof(*session));
	if (!session)
		return 0;
	mesh_ref_init(&session->ref, session_destroy);
	session->mem = tls->base.mem;
	session->session = openssl_session; /* ours now: 1 is returned */
	session->shown = SSL_session_reused(ssl) ? tls->shown_before : tls->shown;
	tls->session_new(tls->session_user, session);
	mesh_tls_session_release(session);
	return 1;
}

/* A connect() under way comes first; until then OpenSSL would take ENOTCONN for the end. */
static int finish_connect(struct tls *tls)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int error = mesh_socket_error(tls->base.fd);

	if (error)
		return mesh_why(&tls->base.why, MESH_ERROR_CONNECT, "connect: %s", strerror(error));
	if (getpeername(tls->base.fd, (struct sockaddr *)&peer, &len)) {
		tls->base.wants = LOOP_WRITE;
		if (errno == ENOTCONN)
			return MESH_ERROR_AGAIN;
		return mesh_why(&tls->base.why, MESH_ERROR_CONNECT, "connect: %s", strerror(errno));
	}
	tls->connected = true;
	return 0;
}

/* A Certificate message without certificates is how a client declines. */
static void message_seen(int sent, int version, int type, const void *data, size_t len, SSL *ssl, void *user)
{
	enum { HEADER_BYTES = 4, EMPTY_BYTES = HEADER_BYTES + 1 + 3 };
	struct tls *tls = user;

	if (sent && type == SSL3_RT_HANDSHAKE && len > EMPTY_BYTES && *(const unsigned char *)data == SSL3_MT_CERTIFICATE)
		tls->shown = true;
}

static int handshake_done(struct tls *tls)
{
	bool server = SSL_is_server(tls->ssl);
	bool verified = SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER;
	bool shown = server || (SSL_session_reused(tls->ssl) ? tls->shown_before : tls->shown);
	int rc = mesh_tls_peer_check(&tls->base, tls->ssl, verified, shown, server ? tls->context->sans : tls->sans,
				     server ? tls->context->san_count : tls->san_count);

	if (!rc && tls->name.len)
		rc = mesh_tls_name_check(&tls->base, tls->ssl, verified, tls->name);
	SSL_set_msg_callback(tls->ssl, NULL); /* nothing more to learn from each record */
	if (rc)
		return rc;
	tls->base.peer.local_uri = tls->context->local_uri;
	tls->base.ready = true;
	return 0;
}

static int tls_handshake(struct transport *transport)
{
	struct tls *tls = tls_of(transport);
	int n, error, rc = tls->connected ? 0 : finish_connect(tls);

	if (rc)
		return rc;
	ERR_clear_error();
	n = SSL_do_handshake(tls->ssl);
	if (n == 1)
		return handshake_done(tls);
	error = SSL_get_error(tls->ssl, n);
	transport->wants = error == SSL_ERROR_WANT_WRITE ? LOOP_WRITE : LOOP_READ;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return MESH_ERROR_AGAIN;
	rc = mesh_tls_handshake_error(transport, tls->ssl, error, tls->error);
	ERR_clear_error();
	return rc;
}

static ssize_t io_error(struct tls *tls, int n, const char *what)
{
	int error = SSL_get_error(tls->ssl, n);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		tls->base.wants = error == SSL_ERROR_WANT_WRITE ? LOOP_WRITE : LOOP_READ;
		return MESH_ERROR_AGAIN;
	}
	if (tls->error)
		return mesh_why(&tls->base.why, MESH_ERROR_RESET, "%s: %s", what, strerror(tls->error));
	if (tls->eof)
		return mesh_why(&tls->base.why, MESH_ERROR_RESET, "%s: the peer ended the connection without TLS close_notify", what);
	return mesh_why(&tls->base.why, MESH_ERROR_TLS, "%s: %s", what, reason ? reason : "TLS failed");
}

/* What is left of others' errors would be taken for ours. Looking first is cheaper than emptying an empty queue. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

static ssize_t tls_read(struct transport *transport, char *data, size_t room, bool *drained)
{
	struct tls *tls = tls_of(transport);
	size_t n;
	int rc;

	forget_errors();
	tls->short_read = false;
	rc = SSL_read_ex(tls->ssl, data, room, &n);
	*drained = tls->short_read && !SSL_has_pending(tls->ssl);
	if (rc == 1)
		return (ssize_t)n;
	if (SSL_get_error(tls->ssl, rc) == SSL_ERROR_ZERO_RETURN)
		return 0;
	return io_error(tls, rc, "receive");
}

static ssize_t tls_write(struct transport *transport, struct mesh_slice data)
{
	struct tls *tls = tls_of(transport);
	size_t n;
	int rc;

	forget_errors();
	rc = SSL_write_ex(tls->ssl, data.data, data.len, &n);
	return rc == 1 ? (ssize_t)n : io_error(tls, rc, "send");
}

static int tls_finish(struct transport *transport)
{
	struct tls *tls = tls_of(transport);
	int rc;

	if (tls->finished) /* once more, and OpenSSL would wait for the peer's and throw away what comes before it */
		return 0;
	ERR_clear_error();
	rc = SSL_shutdown(tls->ssl);
	tls->finished = rc >= 0;
	return rc >= 0 ? 0 : (int)io_error(tls, rc, "end");
}

static void tls_shutdown(struct transport *transport)
{
	struct tls *tls = tls_of(transport);

	ERR_clear_error();
	if (!tls->error && !tls->eof && !tls->finished)
		SSL_shutdown(tls->ssl);
	tls->finished = true;
	ERR_clear_error();
	shutdown(transport->fd, SHUT_WR);
}

static void tls_destroy(struct transport *transport)
{
	struct tls *tls = tls_of(transport);

	if (tls->ssl)
		SSL_set_app_data(tls->ssl, NULL);
	SSL_free(tls->ssl);
	mesh_tls_context_release(tls->context);
}

int mesh_transport_peer_pem(struct transport *transport, bool chain, struct mesh_slice *pem)
{
	struct mesh_slice *kept = &transport->peer.pem[chain];
	int rc = 0;

	if (transport->peer.tls && !kept->data)
		rc = mesh_tls_peer_pem(tls_of(transport)->ssl, chain, &transport->arena, kept);
	*pem = *kept;
	return rc;
}

static const struct transport_ops tls_ops = {
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.finish = tls_finish,
	.shutdown = tls_shutdown,
	.destroy = tls_destroy,
};

/* Takes over fd; everything is freed on failure. */
static int tls_new(const struct mesh_mem *mem, int fd, struct tls_context *context, struct tls **result)
{
	struct tls *tls = mesh_mem_zalloc(mem, sizeof(*tls));
	BIO *bio;

	if (!tls) {
		close(fd);
		return MESH_ERROR_NOMEM;
	}
	tls->base.ops = &tls_ops;
	tls->base.mem = mem;
	tls->base.fd = fd;
	tls->base.peer.tls = true;
	mesh_arena_init(&tls->base.arena, mem, 256 * 1024);
	tls->context = mesh_tls_context_retain(context);
	tls->ssl = SSL_new(context->ctx);
	bio = tls->ssl ? BIO_new(context->store->bio) : NULL;
	if (!bio) {
		ERR_clear_error();
		mesh_transport_free(&tls->base);
		return MESH_ERROR_NOMEM;
	}
	BIO_set_data(bio, tls);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	*result = tls;
	return 0;
}

static int copy_sans(struct tls *tls, const struct tls_client *client)
{
	struct string_match *sans = mesh_arena_array(&tls->base.arena, client->san_count + 1, sizeof(*sans));
	bool failed = false;

	if (!sans)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < client->san_count; i++) {
		sans[i] = client->sans[i];
		sans[i].text = mesh_arena_slice(&tls->base.arena, sans[i].text, &failed);
	}
	tls->sans = sans;
	tls->san_count = client->san_count;
	return failed ? MESH_ERROR_NOMEM : 0;
}

int mesh_transport_tls_client_new(const struct mesh_mem *mem, int fd, const struct tls_client *client,
				  struct transport **result)
{
	struct tls *tls;
	struct mesh_slice sni;
	int rc = tls_new(mem, fd, client->context, &tls);

	if (rc)
		return rc;
	tls->base.wants = LOOP_WRITE;
	tls->session_new = client->session_new;
	tls->session_user = client->session_user;
	rc = copy_sans(tls, client);
	tls->name = mesh_arena_slice(&tls->base.arena, client->name, NULL);
	if (client->name.len && !tls->name.data)
		rc = MESH_ERROR_NOMEM;
	sni = mesh_arena_slice(&tls->base.arena, client->sni, NULL);
	SSL_set_connect_state(tls->ssl);
	SSL_set_msg_callback(tls->ssl, message_seen);
	SSL_set_msg_callback_arg(tls->ssl, tls);
	if (!rc && client->sni.len && (!sni.data || SSL_set_tlsext_host_name(tls->ssl, sni.data) != 1))
		rc = MESH_ERROR_NOMEM;
	if (!rc && client->alpn.len &&
	    SSL_set_alpn_protos(tls->ssl, (const unsigned char *)client->alpn.data, (unsigned)client->alpn.len))
		rc = MESH_ERROR_NOMEM;
	if (!rc && client->resume) {
		SSL_set_session(tls->ssl, client->resume->session); /* one that does not fit is simply not resumed */
		tls->shown_before = client->resume->shown;
	}
	ERR_clear_error();
	if (rc) {
		mesh_transport_free(&tls->base);
		return rc;
	}
	*result = &tls->base;
	return 0;
}

int mesh_transport_tls_server_new(const struct mesh_mem *mem, int fd, struct tls_context *context, struct mesh_slice head,
				  struct transport **result)
{
	struct tls *tls;
	int rc = tls_new(mem, fd, context, &tls);

	if (rc)
		return rc;
	tls->connected = true;
	tls->base.wants = LOOP_READ;
	SSL_set_accept_state(tls->ssl);
	tls->head = mesh_arena_slice(&tls->base.arena, head, NULL);
	if (head.len && !tls->head.data) {
		mesh_transport_free(&tls->base);
		return MESH_ERROR_NOMEM;
	}
	*result = &tls->base;
	return 0;
}
