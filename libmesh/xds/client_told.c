/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other threads are told of the control thread: whether it is ready or why not, its counters, what it holds. Decides
 * what keeps a mesh from being ready. Refuses to change any of it.
 */
#include "xds/client_state.h"

#include <errno.h>
#include <time.h>

#include "xds/node.h"

void mesh_xds_client_tell_control(struct xds_client *client, int error, const char *words)
{
	pthread_mutex_lock(&client->shared.lock);
	client->shared.control_error = error;
	client->shared.control_why.text[0] = '\0';
	if (error)
		mesh_why(&client->shared.control_why, error, "%s", words);
	pthread_cond_broadcast(&client->shared.changed);
	pthread_mutex_unlock(&client->shared.lock);
}

void mesh_xds_client_tell_certificate(struct xds_client *client, int error, const char *words)
{
	pthread_mutex_lock(&client->shared.lock);
	client->shared.certificate_error = error;
	client->shared.certificate_why.text[0] = '\0';
	if (error)
		mesh_why(&client->shared.certificate_why, error, "%s", words);
	pthread_cond_broadcast(&client->shared.changed);
	pthread_mutex_unlock(&client->shared.lock);
}

void mesh_xds_client_tell_state(struct xds_client *client, bool whole, bool ready)
{
	pthread_mutex_lock(&client->shared.lock);
	client->shared.whole = client->shared.whole || whole;
	client->shared.ready = client->shared.ready || ready;
	pthread_cond_broadcast(&client->shared.changed);
	pthread_mutex_unlock(&client->shared.lock);
}

/* With the lock. What keeps us from being ready, or with 0 what is amiss all the same. */
static int explain(struct xds_client *client, struct why *why)
{
	int error = client->shared.control_error;

	if (client->shared.ready) {
		if (error)
			mesh_why(why, 0, "ready, but cut off from the control plane: %s", client->shared.control_why.text);
		else if (client->shared.certificate_error)
			mesh_why(why, 0, "ready, but the certificate is not renewed: %s", client->shared.certificate_why.text);
		return 0;
	}
	if (error)
		return mesh_why(why, error, "%s", client->shared.control_why.text);
	if (client->shared.certificate_error)
		return mesh_why(why, client->shared.certificate_error, "%s", client->shared.certificate_why.text);
	return mesh_why(why, MESH_ERROR_TIMEOUT, "waiting for %s",
			client->shared.whole ? "the certificate" : "the first whole configuration");
}

static struct timespec deadline(int64_t timeout_ms)
{
	uint64_t at = mesh_time_now_ns() + (uint64_t)timeout_ms * 1000000;

	return (struct timespec){.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
}

int mesh_xds_client_wait(struct xds_client *client, int64_t timeout_ms, struct why *why)
{
	const int64_t century_ms = 100ll * 365 * 24 * 3600 * 1000;
	struct timespec until = deadline(timeout_ms < 0 || timeout_ms > century_ms ? century_ms : timeout_ms);
	struct why own = {{0}};
	int rc = 0;

	pthread_mutex_lock(&client->shared.lock);
	while (!client->shared.ready && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&client->shared.changed, &client->shared.lock, &until);
	rc = explain(client, why ? why : &own);
	pthread_mutex_unlock(&client->shared.lock);
	return rc;
}

int mesh_xds_client_status(struct xds_client *client, struct why *why)
{
	int rc;

	pthread_mutex_lock(&client->shared.lock);
	rc = explain(client, why);
	pthread_mutex_unlock(&client->shared.lock);
	return rc;
}

int mesh_xds_client_stats(struct xds_client *client, struct buf *out)
{
	int64_t expires_ms = atomic_load(&client->expires_ms), left_s = (expires_ms - mesh_time_wall_ms()) / 1000;
	int rc = mesh_buf_printf(out,
				 "control_plane.connected_state: %d\ncontrol_plane.connects: %llu\n"
				 "control_plane.disconnects: %llu\ncontrol_plane.snapshots: %llu\n"
				 "control_plane.certificates: %llu\ncontrol_plane.certificate_failures: %llu\n"
				 "control_plane.certificate_seconds_left: %lld\n",
				 atomic_load(&client->connected), (unsigned long long)mesh_counter_read(&client->connects),
				 (unsigned long long)mesh_counter_read(&client->disconnects),
				 (unsigned long long)mesh_counter_read(&client->snapshots),
				 (unsigned long long)mesh_counter_read(&client->certificates),
				 (unsigned long long)mesh_counter_read(&client->certificate_failures),
				 (long long)(expires_ms && left_s > 0 ? left_s : 0));

	for (enum xds_type type = 0; type < XDS_TYPES && !rc; type++)
		rc = mesh_buf_printf(out, "control_plane.%s.update_attempt: %llu\ncontrol_plane.%s.update_rejected: %llu\n",
				     mesh_ads_type_name(type),
				     (unsigned long long)mesh_counter_read(&client->ads.types[type].responses),
				     mesh_ads_type_name(type),
				     (unsigned long long)mesh_counter_read(&client->ads.types[type].rejected));
	return rc ? rc : mesh_dns_stats(client->dns, out);
}

/* A question to the control thread; lives on the stack of who asks. */
struct dump {
	struct loop_mail mail;
	struct xds_client *client;
	struct buf *out;
	int rc;
	bool done;
};

static void dump_run(struct loop_mail *mail)
{
	struct dump *dump = MESH_CONTAINER(mail, struct dump, mail);
	struct xds_client *client = dump->client;
	struct buf bootstrap;
	int rc;

	mesh_buf_init(&bootstrap, client->mem, 0);
	rc = mesh_node_dump(client->bootstrap, &bootstrap);
	if (!rc)
		rc = mesh_resource_cache_dump(client->cache, mesh_buf_slice(&bootstrap), dump->out);
	mesh_buf_free(&bootstrap);
	pthread_mutex_lock(&client->shared.lock);
	dump->rc = rc;
	dump->done = true;
	pthread_cond_broadcast(&client->shared.changed);
	pthread_mutex_unlock(&client->shared.lock);
}

int mesh_xds_client_dump(struct xds_client *client, struct buf *out)
{
	struct dump dump = {.mail.run = dump_run, .client = client, .out = out};

	mesh_loop_post(client->loop, &dump.mail);
	pthread_mutex_lock(&client->shared.lock);
	while (!dump.done)
		pthread_cond_wait(&client->shared.changed, &client->shared.lock);
	pthread_mutex_unlock(&client->shared.lock);
	return dump.rc;
}
