/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a certificate is renewed and what becomes of an attempt that failed. Two clocks are watched: the monotonic
 * one stands still while a machine sleeps, the wall clock may be set; whichever says first that it is time, is right.
 */
#include "identity/cert_store.h"

#include <stdio.h>

#include "control/backoff.h"
#include "control/file.h"

enum {
	TICK_MS = 1000,         /* how often files and the wall clock are looked at */
	RENEW_PERCENT = 50,     /* of the lifetime */
	JITTER_PERMILLE = 10,   /* to either side, so that pods started together do not ask together */
	SOON_S = 60,            /* left lifetime from which words go to the log */
};

struct cert_store {
	struct cert_store_options options;
	struct loop_timer timer;
	struct loop_task free_request; /* a request ends inside its own event: freed after it */
	struct ca_request request;
	struct ca_client *client;      /* under way */
	struct ca_client *over;        /* to be freed */
	struct backoff backoff;
	char spiffe_id[800];
	uint64_t retry_at_ns;          /* monotonic; 0: no attempt failed since the last good one */
	uint64_t renew_at_ns;          /* monotonic */
	int64_t renew_at_ms;           /* wall clock */
	int64_t expires_ms;
	struct secret *certificate;    /* in force; NULL: none yet */
	struct buf ca_root_pem;        /* what the CA's answer to it ended with */
	struct file_stamp cert_stamp, key_stamp, root_stamp;
};

/* ---- what is in force ---- */

static int read_roots(struct cert_store *store, struct mesh_slice ca_root, struct buf *roots, struct why *why)
{
	struct buf file;
	int rc;

	mesh_buf_init(&file, store->options.mem, 0);
	mesh_file_stamp(store->options.root_file, &store->root_stamp);
	rc = mesh_file_read(store->options.root_file, "root certificate", &file, why);
	if (!rc)
		rc = mesh_chain_merge(roots, mesh_buf_slice(&file), store->options.root_file, why);
	if (!rc && ca_root.len)
		rc = mesh_chain_merge(roots, ca_root, "cert_chain", why);
	mesh_buf_free(&file);
	return rc;
}

/* Hands a certificate on with the roots of this moment. */
static int publish(struct cert_store *store, struct secret *certificate, struct mesh_slice ca_root, struct why *why)
{
	const struct cert_store_options *o = &store->options;
	struct mesh_slice none = {NULL, 0};
	struct secret *roots = NULL;
	struct buf roots_pem;
	int rc;

	mesh_buf_init(&roots_pem, o->mem, 0);
	rc = read_roots(store, ca_root, &roots_pem, why);
	if (!rc)
		rc = mesh_secret_new(o->mem, MESH_SLICE("ROOTCA"), none, none, mesh_buf_slice(&roots_pem), &roots);
	if (!rc)
		rc = o->changed(o->user, certificate, roots);
	mesh_secret_release(roots);
	mesh_buf_free(&roots_pem);
	return rc ? mesh_why(why, rc, "%s", mesh_error_text(rc)) : 0;
}

/* The lifetime is counted from now: authorities date certificates back, some by more than half of a short one. */
static void plan_renewal(struct cert_store *store, const struct chain_facts *facts)
{
	int64_t now_ms = mesh_time_wall_ms(), from_ms = facts->not_before_ms > now_ms ? facts->not_before_ms : now_ms;
	int64_t life_ms = facts->not_after_ms - from_ms, jitter_ms = life_ms * JITTER_PERMILLE / 1000;

	store->expires_ms = facts->not_after_ms;
	store->renew_at_ms = from_ms + life_ms * RENEW_PERCENT / 100 - jitter_ms +
			     (int64_t)mesh_rand_below(&store->backoff.rand, (uint64_t)(2 * jitter_ms) + 1);
	store->renew_at_ns = mesh_loop_now_ns(store->options.loop) + (uint64_t)(store->renew_at_ms - now_ms) * 1000000;
}

/* Puts a pair in force, or leaves everything as it was. */
static int take(struct cert_store *store, struct mesh_slice chain_pem, struct mesh_slice key_pem, struct mesh_slice ca_root,
		const struct chain_facts *facts, struct why *why)
{
	struct mesh_slice none = {NULL, 0};
	struct secret *certificate = NULL;
	struct buf root;
	int64_t expires_ms = store->expires_ms;
	int rc;

	mesh_buf_init(&root, store->options.mem, 0);
	rc = mesh_buf_append(&root, ca_root);
	if (!rc)
		rc = mesh_secret_new(store->options.mem, MESH_SLICE("default"), chain_pem, key_pem, none, &certificate);
	store->expires_ms = facts->not_after_ms; /* may be asked for while it is handed on */
	if (!rc)
		rc = publish(store, certificate, ca_root, why);
	if (rc) {
		store->expires_ms = expires_ms;
		mesh_secret_release(certificate);
		mesh_buf_free(&root);
		return mesh_why(why, rc, "%s", mesh_error_text(rc));
	}
	mesh_secret_release(store->certificate);
	store->certificate = certificate;
	mesh_buf_free(&store->ca_root_pem);
	store->ca_root_pem = root;
	plan_renewal(store, facts);
	store->retry_at_ns = 0;
	store->backoff.failures = 0;
	MESH_LOG_I(store->options.log, "identity", "certificate of %s in force, ends in %lld s", facts->spiffe_id,
		   (long long)(store->expires_ms - mesh_time_wall_ms()) / 1000);
	return 0;
}

static uint64_t next_ns(const struct cert_store *store)
{
	uint64_t now = mesh_loop_now_ns(store->options.loop), at = now + TICK_MS * 1000000ull;

	if (store->retry_at_ns && store->retry_at_ns < at)
		at = store->retry_at_ns;
	return at > now ? at - now : 0;
}

/* The place a timer had is there for it: this cannot fail. */
static void wait_on(struct cert_store *store)
{
	mesh_timer_start(store->options.loop, &store->timer, next_ns(store));
}

static void attempt_failed(struct cert_store *store, int error, const char *why)
{
	int64_t left_s = (store->expires_ms - mesh_time_wall_ms()) / 1000;

	store->retry_at_ns = mesh_loop_now_ns(store->options.loop) + mesh_backoff_failed_ns(&store->backoff);
	if (store->expires_ms && left_s < SOON_S)
		MESH_LOG_E(store->options.log, "identity", "no new certificate, the present one ends in %lld s: %s",
			   (long long)left_s, why);
	else
		MESH_LOG_W(store->options.log, "identity", "no new certificate: %s", why);
	wait_on(store);
	store->options.failed(store->options.user, error, why);
}

/* ---- from the CA ---- */

static void free_over(struct loop_task *task)
{
	struct cert_store *store = MESH_CONTAINER(task, struct cert_store, free_request);

	mesh_ca_client_free(store->over);
	store->over = NULL;
}

static void request_done(void *user, int error, const struct ca_answer *answer, const char *words)
{
	struct cert_store *store = user;
	struct why why = {{0}};

	store->over = store->client;
	store->client = NULL;
	mesh_loop_defer(store->options.loop, &store->free_request);
	if (!error) {
		error = take(store, answer->chain_pem, answer->key_pem, answer->root_pem, &answer->facts, &why);
		words = why.text;
	}
	if (error)
		attempt_failed(store, error, words);
}

static void ask(struct cert_store *store)
{
	struct why why = {{0}};
	int rc = mesh_ca_client_start(&store->request, request_done, store, &store->client, &why);

	if (rc)
		attempt_failed(store, rc, why.text[0] ? why.text : mesh_error_text(rc));
}

/* ---- from files ---- */

static int read_pair(struct cert_store *store, struct why *why)
{
	const struct cert_store_options *o = &store->options;
	struct mesh_slice none = {NULL, 0};
	struct chain_facts facts;
	struct buf chain, key;
	int rc;

	mesh_buf_init(&chain, o->mem, 0);
	mesh_buf_init(&key, o->mem, 0);
	mesh_file_stamp(o->cert_file, &store->cert_stamp);
	mesh_file_stamp(o->key_file, &store->key_stamp);
	rc = mesh_file_read(o->cert_file, "certificate", &chain, why);
	if (!rc)
		rc = mesh_file_read(o->key_file, "key", &key, why);
	if (!rc)
		rc = mesh_chain_check(mesh_buf_slice(&chain), mesh_buf_slice(&key), NULL, NULL, mesh_time_wall_ms(), &facts, why);
	if (!rc)
		rc = take(store, mesh_buf_slice(&chain), mesh_buf_slice(&key), none, &facts, why);
	mesh_buf_free(&chain);
	if (key.data)
		mesh_mem_wipe(key.data, key.room);
	mesh_buf_free(&key);
	return rc;
}

static void read_files(struct cert_store *store)
{
	struct why why = {{0}};
	int rc = read_pair(store, &why);

	if (rc)
		attempt_failed(store, rc, why.text[0] ? why.text : mesh_error_text(rc));
}

/* ---- the clock ---- */

static bool file_changed(const char *path, const struct file_stamp *before)
{
	struct file_stamp now;

	mesh_file_stamp(path, &now);
	return !mesh_file_stamp_equal(&now, before);
}

static bool is_due(const struct cert_store *store)
{
	uint64_t now_ns = mesh_loop_now_ns(store->options.loop);

	if (store->retry_at_ns)
		return now_ns >= store->retry_at_ns;
	if (!store->expires_ms)
		return true;
	return store->options.ca && (now_ns >= store->renew_at_ns || mesh_time_wall_ms() >= store->renew_at_ms);
}

static void watch(struct cert_store *store)
{
	const struct cert_store_options *o = &store->options;
	bool pair = !o->ca && (file_changed(o->cert_file, &store->cert_stamp) || file_changed(o->key_file, &store->key_stamp));
	struct why why = {{0}};

	if (store->client)
		return;
	if (pair || is_due(store)) {
		if (o->ca)
			ask(store);
		else
			read_files(store);
	} else if (store->certificate && file_changed(o->root_file, &store->root_stamp)) {
		/* a root that cannot be used leaves those in force; it is read again when it changes again */
		int rc = publish(store, store->certificate, mesh_buf_slice(&store->ca_root_pem), &why);

		if (rc) {
			MESH_LOG_W(o->log, "identity", "root certificates not renewed: %s", why.text);
			o->failed(o->user, rc, why.text);
		}
		if (rc == MESH_ERROR_NOMEM) /* the file is not to blame */
			memset(&store->root_stamp, 0, sizeof(store->root_stamp));
	}
}

static void tick(struct loop_timer *timer)
{
	struct cert_store *store = MESH_CONTAINER(timer, struct cert_store, timer);

	watch(store);
	wait_on(store);
}

int mesh_cert_store_start(const struct cert_store_options *options, struct cert_store **result)
{
	struct cert_store *store = mesh_mem_zalloc(options->mem, sizeof(*store));
	int rc;

	if (!store)
		return MESH_ERROR_NOMEM;
	store->options = *options;
	store->timer.due = tick;
	store->free_request.run = free_over;
	snprintf(store->spiffe_id, sizeof(store->spiffe_id), "spiffe://%s/ns/%s/sa/%s", options->trust_domain,
		 options->ns, options->service_account);
	store->request = (struct ca_request){.mem = options->mem, .peer = options->ca, .control = options->control,
					     .spiffe_id = store->spiffe_id, .ns = options->ns,
					     .service_account = options->service_account, .key_type = options->key_type,
					     .ttl_s = options->ttl_s};
	mesh_backoff_init(&store->backoff, options->backoff_base_ms, options->backoff_max_ms);
	mesh_buf_init(&store->ca_root_pem, options->mem, 0);
	rc = mesh_timer_start(options->loop, &store->timer, 0);
	if (rc) {
		mesh_cert_store_stop(store);
		return rc;
	}
	*result = store;
	return 0;
}

void mesh_cert_store_stop(struct cert_store *store)
{
	if (!store)
		return;
	mesh_timer_stop(store->options.loop, &store->timer);
	mesh_loop_undefer(&store->free_request);
	mesh_ca_client_free(store->client);
	mesh_ca_client_free(store->over);
	mesh_secret_release(store->certificate);
	mesh_buf_free(&store->ca_root_pem);
	mesh_mem_free(store->options.mem, store);
}

int64_t mesh_cert_store_expires_ms(const struct cert_store *store)
{
	return store->expires_ms;
}
