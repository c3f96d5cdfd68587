/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/admin.h>: collects text from those who know and hands it to the caller's sink. */
#include <mesh/admin.h>

#include "call/listener.h"
#include "call/mesh.h"
#include "cluster/admin.h"
#include "xds/client.h"

static const size_t text_max = 512 * 1024 * 1024;

static int pour(struct buf *text, int rc, mesh_sink_fn *sink, void *user)
{
	if (!rc)
		rc = sink(user, mesh_buf_slice(text));
	mesh_buf_free(text);
	return rc < 0 ? rc : 0;
}

static int listener_stats(struct mesh_listener *listener, struct buf *out)
{
	const struct listener_stats *s = &listener->stats;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"downstream_cx_total", atomic_load(&s->cx_total)},
		{"downstream_cx_active", atomic_load(&listener->connections)},
		{"downstream_cx_destroy", atomic_load(&s->cx_destroy)},
		{"downstream_pre_cx_timeout", atomic_load(&s->cx_pre_timeout)},
		{"no_filter_chain_match", atomic_load(&s->cx_no_chain)},
		{"ssl.handshake", atomic_load(&s->cx_ssl)},
		{"ssl.connection_error", atomic_load(&s->cx_ssl_error)},
		{"tcp.rbac.denied", atomic_load(&s->cx_denied)},
		{"tcp.rbac.shadow_denied", atomic_load(&s->cx_shadow_denied)},
		{"tcp.downstream_cx_total", atomic_load(&s->tcp_cx_total)},
		{"tcp.downstream_cx_rx_bytes_total", atomic_load(&s->tcp_rx_bytes)},
		{"tcp.downstream_cx_tx_bytes_total", atomic_load(&s->tcp_tx_bytes)},
		{"waited_for_configuration", atomic_load(&s->cx_wait)},
		{"http.downstream_cx_http1_total", atomic_load(&s->cx_http1)},
		{"http.downstream_cx_http2_total", atomic_load(&s->cx_http2)},
		{"http.downstream_rq_total", atomic_load(&s->rq_total)},
		{"http.downstream_rq_2xx", atomic_load(&s->rq_2xx)},
		{"http.downstream_rq_3xx", atomic_load(&s->rq_3xx)},
		{"http.downstream_rq_4xx", atomic_load(&s->rq_4xx)},
		{"http.downstream_rq_5xx", atomic_load(&s->rq_5xx)},
		{"http.rbac.denied", atomic_load(&s->rq_denied)},
		{"http.rbac.shadow_denied", atomic_load(&s->rq_shadow_denied)},
		{"http.no_route", atomic_load(&s->rq_no_route)},
		{"http.fail_closed", atomic_load(&s->rq_fail_closed)},
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
		rc = mesh_buf_printf(out, "listener.%u.%s: %llu\n", listener->port, rows[i].name,
				     (unsigned long long)rows[i].value);
	return rc;
}

static int redirect_stats(const struct redirect_stats *stats, struct buf *out)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"bad_location", atomic_load(&stats->bad_location)},
		{"unsafe_scheme", atomic_load(&stats->unsafe_scheme)},
		{"too_many_redirects", atomic_load(&stats->too_many)},
		{"no_route", atomic_load(&stats->no_route)},
		{"predicate", atomic_load(&stats->predicate)},
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
		rc = mesh_buf_printf(out, "http.passthrough_internal_redirect_%s: %llu\n", rows[i].name,
				     (unsigned long long)rows[i].value);
	return rc;
}

MESH_EXPORT int mesh_admin_stats(struct mesh *mesh, mesh_sink_fn *sink, void *user)
{
	struct buf text;
	int rc;

	if (!mesh || !sink)
		return MESH_ERROR_INVALID;
	mesh_buf_init(&text, &mesh->mem, text_max);
	rc = mesh_registry_stats(&mesh->registry, &text);
	if (!rc)
		rc = redirect_stats(&mesh->redirects, &text);
	pthread_mutex_lock(&mesh->shared.lock);
	MESH_LIST_EACH(at, &mesh->shared.listeners)
		if (!rc)
			rc = listener_stats(MESH_CONTAINER(at, struct mesh_listener, link), &text);
	pthread_mutex_unlock(&mesh->shared.lock);
	if (!rc && mesh->control)
		rc = mesh_xds_client_stats(mesh->control, &text);
	return pour(&text, rc, sink, user);
}

MESH_EXPORT int mesh_admin_config_dump(struct mesh *mesh, mesh_sink_fn *sink, void *user)
{
	struct buf text;

	if (!mesh || !sink)
		return MESH_ERROR_INVALID;
	if (!mesh->control)
		return MESH_ERROR_NOT_READY;
	mesh_buf_init(&text, &mesh->mem, text_max);
	return pour(&text, mesh_xds_client_dump(mesh->control, &text), sink, user);
}

MESH_EXPORT int mesh_admin_clusters(struct mesh *mesh, mesh_sink_fn *sink, void *user)
{
	struct snapshot *snapshot;
	struct buf text;
	int rc;

	if (!mesh || !sink)
		return MESH_ERROR_INVALID;
	mesh_buf_init(&text, &mesh->mem, text_max);
	snapshot = mesh_publisher_get(&mesh->publisher);
	rc = mesh_clusters_text(&mesh->registry, snapshot, &text);
	mesh_snapshot_release(snapshot);
	return pour(&text, rc, sink, user);
}
