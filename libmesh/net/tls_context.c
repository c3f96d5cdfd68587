/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a TLS context is made of and when two connections can share one: same settings, same secrets. Trusted
 * roots are parsed once for all. Touches no process-wide OpenSSL state. Refuses to know sockets.
 */
#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "config/object.h"
#include "net/tls.h"

enum { CHAIN_MAX = 16, ROOTS_MAX = 1024 };

struct tls_roots {
	struct link link;
	unsigned users; /* under the store's lock */
	uint64_t serial;
	X509_STORE *x509;
};

static const char ciphers_default[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
/* of TLS 1.3, whatever cipher_suites says: Envoy's order where AES is in hardware, not OpenSSL's, which begins with AES-256 */
static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

int mesh_tls_store_new(const struct mesh_mem *mem, const struct log *log, struct tls_store **result)
{
	struct tls_store *store = mesh_mem_zalloc(mem, sizeof(*store));

	if (!store)
		return MESH_ERROR_NOMEM;
	store->mem = mem;
	store->log = log;
	mesh_list_init(&store->contexts);
	mesh_list_init(&store->roots);
	store->bio = mesh_tls_bio_method();
	if (!store->bio || pthread_mutex_init(&store->lock, NULL)) {
		BIO_meth_free(store->bio);
		mesh_mem_free(mem, store);
		return MESH_ERROR_NOMEM;
	}
	*result = store;
	return 0;
}

static void roots_release(struct tls_store *store, struct tls_roots *roots)
{
	if (!roots || --roots->users)
		return;
	mesh_list_remove(&roots->link);
	X509_STORE_free(roots->x509);
	mesh_mem_free(store->mem, roots);
}

static void context_destroy(struct ref *ref)
{
	struct tls_context *context = (struct tls_context *)ref;

	SSL_CTX_free(context->ctx);
	mesh_config_object_release(context->memory);
	mesh_mem_free(context->store->mem, context);
}

struct tls_context *mesh_tls_context_retain(struct tls_context *context)
{
	mesh_ref_take(&context->ref);
	return context;
}

void mesh_tls_context_release(struct tls_context *context)
{
	mesh_ref_drop(context ? &context->ref : NULL);
}

static void forget(struct tls_context *context)
{
	mesh_list_remove(&context->link);
	mesh_tls_context_release(context);
}

void mesh_tls_store_free(struct tls_store *store)
{
	if (!store)
		return;
	while (!mesh_list_empty(&store->contexts))
		forget(MESH_CONTAINER(store->contexts.next, struct tls_context, link));
	while (!mesh_list_empty(&store->roots)) {
		struct tls_roots *roots = MESH_CONTAINER(store->roots.next, struct tls_roots, link);

		roots->users = 1;
		roots_release(store, roots);
	}
	BIO_meth_free(store->bio);
	pthread_mutex_destroy(&store->lock);
	mesh_mem_free(store->mem, store);
}

static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "no reason given";
}

/* All certificates of a PEM text go to `take`. Their number, or < 0. */
static int each_certificate(struct mesh_slice pem, int max, int (*take)(void *user, X509 *certificate, int index), void *user)
{
	BIO *bio = BIO_new_mem_buf(pem.data, pem.len > INT32_MAX ? 0 : (int)pem.len);
	int count = 0, rc = bio ? 0 : MESH_ERROR_NOMEM;

	while (!rc && count <= max) {
		/* with no password at hand OpenSSL would ask the terminal for one */
		X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, (void *)"");

		if (!certificate) {
			if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
				rc = MESH_ERROR_CERTIFICATE;
			break;
		}
		rc = count < max ? take(user, certificate, count) : MESH_ERROR_TOO_LARGE;
		X509_free(certificate);
		count++;
	}
	BIO_free(bio);
	if (!rc)
		ERR_clear_error();
	return rc ? rc : count;
}

static int take_root(void *user, X509 *certificate, int index)
{
	/* the same certificate twice is no error */
	if (!X509_STORE_add_cert(user, certificate) && ERR_GET_REASON(ERR_peek_last_error()) != X509_R_CERT_ALREADY_IN_HASH_TABLE)
		return MESH_ERROR_CERTIFICATE;
	ERR_clear_error();
	return 0;
}

static int roots_get(struct tls_store *store, const struct secret *secret, struct tls_roots **result, struct why *why)
{
	struct tls_roots *roots;
	int count;

	MESH_LIST_EACH(at, &store->roots) {
		roots = MESH_CONTAINER(at, struct tls_roots, link);
		if (roots->serial == secret->serial) {
			*result = roots;
			return 0;
		}
	}
	roots = mesh_mem_zalloc(store->mem, sizeof(*roots));
	if (!roots)
		return MESH_ERROR_NOMEM;
	mesh_list_init(&roots->link);
	roots->users = 1;
	roots->serial = secret->serial;
	roots->x509 = X509_STORE_new();
	count = roots->x509 ? each_certificate(secret->roots_pem, ROOTS_MAX, take_root, roots->x509) : MESH_ERROR_NOMEM;
	if (count <= 0) {
		roots_release(store, roots);
		return mesh_why(why, count ? count : MESH_ERROR_CERTIFICATE, "secret %s: roots: %s", secret->item.name.data,
				count ? reason() : "no certificate in it");
	}
	X509_STORE_set_flags(roots->x509, X509_V_FLAG_PARTIAL_CHAIN);
	mesh_list_push(&store->roots, &roots->link);
	*result = roots;
	return 0;
}

struct chain_taking {
	struct tls_context *context;
	struct arena *arena;
};

static int take_chain(void *user, X509 *certificate, int index)
{
	struct chain_taking *taking = user;
	SSL_CTX *ctx = taking->context->ctx;

	if (index == 0) {
		taking->context->local_uri = mesh_tls_first_uri(certificate, taking->arena);
		return SSL_CTX_use_certificate(ctx, certificate) == 1 ? 0 : MESH_ERROR_CERTIFICATE;
	}
	/* the root is the peer's own affair */
	if (X509_check_issued(certificate, certificate) == X509_V_OK)
		return 0;
	return SSL_CTX_add1_chain_cert(ctx, certificate) == 1 ? 0 : MESH_ERROR_CERTIFICATE;
}

static int use_certificate(struct tls_context *context, const struct secret *secret, struct why *why)
{
	struct chain_taking taking = {context, &context->memory->arena};
	BIO *bio = BIO_new_mem_buf(secret->key_pem.data, (int)secret->key_pem.len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	int count = key ? each_certificate(secret->chain_pem, CHAIN_MAX, take_chain, &taking) : MESH_ERROR_CERTIFICATE;

	if (count > 0 && SSL_CTX_use_PrivateKey(context->ctx, key) != 1)
		count = MESH_ERROR_CERTIFICATE;
	if (count > 0 && SSL_CTX_check_private_key(context->ctx) != 1)
		count = MESH_ERROR_CERTIFICATE;
	EVP_PKEY_free(key);
	BIO_free(bio);
	if (count > 0)
		return 0;
	return mesh_why(why, count ? count : MESH_ERROR_CERTIFICATE, "secret %s: %s: %s", secret->item.name.data,
			key ? "certificate chain" : "private key", count ? reason() : "no certificate in it");
}

/* The server's own order decides; no overlap means no ALPN, as Envoy answers it. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
		       void *user)
{
	const struct tls_context *context = user;

	if (SSL_select_next_proto((unsigned char **)out, out_len, (const unsigned char *)context->alpn.data,
				  (unsigned)context->alpn.len, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	return SSL_TLSEXT_ERR_OK;
}

static int protocol_number(enum tls_version version, int otherwise)
{
	return version == TLS_VERSION_1_3 ? TLS1_3_VERSION : version == TLS_VERSION_1_2 ? TLS1_2_VERSION : otherwise;
}

static bool set_protocol(struct tls_context *context)
{
	SSL_CTX *ctx = context->ctx;

	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1); /* a whole record by one system call */
	return SSL_CTX_set_min_proto_version(ctx, protocol_number(context->min, TLS1_2_VERSION)) &&
	       SSL_CTX_set_max_proto_version(ctx, protocol_number(context->max, TLS1_3_VERSION)) &&
	       SSL_CTX_set_ciphersuites(ctx, suites) &&
	       SSL_CTX_set_cipher_list(ctx, context->ciphers.len ? context->ciphers.data : ciphers_default);
}

static void set_sessions(struct tls_context *context)
{
	static const unsigned char id[] = "libmesh";
	SSL_CTX *ctx = context->ctx;

	if (context->server) {
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets, under keys of this context alone */
		SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
		SSL_CTX_set_num_tickets(ctx, 1);
		if (context->alpn.len)
			SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, context);
		return;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, mesh_tls_session_arrived);
}

static int fill_context(struct tls_context *context, const struct secret *certificate, const struct secret *roots,
			struct why *why)
{
	struct tls_roots *trusted = NULL;
	int rc, mode = SSL_VERIFY_NONE;

	context->ctx = SSL_CTX_new(context->server ? TLS_server_method() : TLS_client_method());
	if (!context->ctx)
		return MESH_ERROR_NOMEM;
	if (!set_protocol(context))
		return mesh_why(why, MESH_ERROR_CONFIG, "tls_params: versions or cipher_suites \"%s\": %s",
				context->ciphers.len ? context->ciphers.data : "", reason());
	set_sessions(context);
	if (certificate) {
		rc = use_certificate(context, certificate, why);
		if (rc)
			return rc;
	}
	if (roots) {
		rc = roots_get(context->store, roots, &trusted, why);
		if (rc)
			return rc;
		SSL_CTX_set1_cert_store(context->ctx, trusted->x509);
		mode = SSL_VERIFY_PEER | (context->require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
	}
	SSL_CTX_set_verify(context->ctx, mode, NULL);
	return 0;
}

static struct mesh_slice own(struct tls_context *context, struct mesh_slice slice, bool *failed)
{
	return mesh_arena_slice(&context->memory->arena, slice, failed);
}

static int copy_sans(struct tls_context *context, const struct tls_config *config, struct why *why)
{
	bool failed = false;
	int rc = 0;

	context->sans = mesh_arena_array(&context->memory->arena, config->san_count + 1, sizeof(*context->sans));
	if (!context->sans)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < config->san_count && !rc; i++) {
		struct string_match *to = &context->sans[i];

		*to = config->sans[i];
		to->text = own(context, to->text, &failed);
		if (to->kind == STRING_MATCH_REGEX)
			rc = mesh_config_object_regex(context->memory, to->text, &to->regex, why);
	}
	context->san_count = config->san_count;
	return failed ? MESH_ERROR_NOMEM : rc;
}

static int context_new(struct tls_store *store, const struct tls_config *config, bool server, const struct secret *certificate,
		       const struct secret *roots, struct tls_context **result, struct why *why)
{
	struct tls_context *context = mesh_mem_zalloc(store->mem, sizeof(*context));
	bool failed = false;
	int rc;

	if (!context)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&context->ref, context_destroy);
	mesh_list_init(&context->link);
	context->store = store;
	context->server = server;
	context->min = config->min;
	context->max = config->max;
	context->require_client = server && config->require_client_certificate;
	context->certificate_serial = certificate ? certificate->serial : 0;
	context->roots_serial = roots ? roots->serial : 0;
	context->memory = mesh_config_object_new(store->mem, sizeof(*context->memory), MESH_SLICE("tls"));
	rc = context->memory ? 0 : MESH_ERROR_NOMEM;
	if (!rc) {
		context->ciphers = own(context, config->ciphers, &failed);
		context->alpn = own(context, server ? config->alpn : (struct mesh_slice){NULL, 0}, &failed);
		context->certificate_name = own(context, config->certificate_name, &failed);
		context->roots_name = own(context, config->roots_name, &failed);
		rc = failed ? MESH_ERROR_NOMEM : 0;
	}
	if (!rc && server)
		rc = copy_sans(context, config, why);
	ERR_clear_error();
	if (!rc)
		rc = fill_context(context, certificate, roots, why);
	ERR_clear_error();
	if (rc) {
		mesh_tls_context_release(context);
		return rc;
	}
	*result = context;
	return 0;
}

static bool same_sans(const struct tls_context *context, const struct tls_config *config)
{
	if (context->san_count != config->san_count)
		return false;
	for (size_t i = 0; i < config->san_count; i++)
		if (context->sans[i].kind != config->sans[i].kind || context->sans[i].ignore_case != config->sans[i].ignore_case ||
		    !mesh_slice_equal(context->sans[i].text, config->sans[i].text))
			return false;
	return true;
}

static bool same_settings(const struct tls_context *context, const struct tls_config *config, bool server)
{
	return context->server == server && context->min == config->min && context->max == config->max &&
	       mesh_slice_equal(context->ciphers, config->ciphers) &&
	       mesh_slice_equal(context->certificate_name, config->certificate_name) &&
	       mesh_slice_equal(context->roots_name, config->roots_name) &&
	       (!server || (context->require_client == config->require_client_certificate &&
			    mesh_slice_equal(context->alpn, config->alpn) && same_sans(context, config)));
}

/* Roots no context uses any more. */
static void sweep_roots(struct tls_store *store)
{
	MESH_LIST_EACH_SAFE(at, &store->roots) {
		struct tls_roots *roots = MESH_CONTAINER(at, struct tls_roots, link);
		bool used = false;

		MESH_LIST_EACH(c, &store->contexts)
			used |= MESH_CONTAINER(c, struct tls_context, link)->roots_serial == roots->serial;
		if (!used)
			roots_release(store, roots);
	}
}

int mesh_tls_store_get(struct tls_store *store, const struct tls_config *config, bool server, const struct secret *certificate,
		       const struct secret *roots, struct tls_context **result, struct why *why)
{
	uint64_t certificate_serial = certificate ? certificate->serial : 0, roots_serial = roots ? roots->serial : 0;
	struct tls_context *found = NULL;
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	MESH_LIST_EACH_SAFE(at, &store->contexts) {
		struct tls_context *context = MESH_CONTAINER(at, struct tls_context, link);

		if (!same_settings(context, config, server))
			continue;
		if (context->certificate_serial == certificate_serial && context->roots_serial == roots_serial)
			found = context;
		else if (context->certificate_serial < certificate_serial || context->roots_serial < roots_serial)
			forget(context); /* superseded; its connections keep it */
	}
	if (!found) {
		rc = context_new(store, config, server, certificate, roots, &found, why);
		if (!rc)
			mesh_list_push(&store->contexts, &found->link);
		sweep_roots(store);
	}
	if (!rc)
		*result = mesh_tls_context_retain(found);
	pthread_mutex_unlock(&store->lock);
	return rc;
}
