/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what is shown of clusters, in the words of Envoy's admin interface. Refuses to change anything. */
#include "cluster/admin.h"

#include <stdarg.h>
#include <stdio.h>

#include "cluster/health.h"

/* ---- statistics */

static int stat(const struct cluster_shared *shared, struct buf *out, const char *name, uint64_t value)
{
	return mesh_buf_printf(out, "cluster.%.*s.%s: %llu\n", (int)shared->name.len, shared->name.data, name,
			       (unsigned long long)value);
}

static unsigned endpoints_with(const struct cluster_shared *shared, unsigned set, unsigned clear)
{
	unsigned count = 0;

	MESH_MAP_EACH(slot, &((struct cluster_shared *)shared)->endpoints) {
		const struct endpoint_shared *endpoint = slot->value;
		unsigned health = atomic_load_explicit(&((struct endpoint_shared *)endpoint)->health, memory_order_relaxed);

		count += endpoint->member && (health & set) == set && !(health & clear);
	}
	return count;
}

static int detector_stats(const struct cluster_shared *shared, struct buf *out)
{
	static const char *const names[OUTLIER_CAUSES] = {
		[OUTLIER_5XX] = "consecutive_5xx",
		[OUTLIER_GATEWAY] = "consecutive_gateway_failure",
		[OUTLIER_LOCAL] = "consecutive_local_origin_failure",
		[OUTLIER_SUCCESS_RATE] = "success_rate",
		[OUTLIER_LOCAL_SUCCESS_RATE] = "local_origin_success_rate",
		[OUTLIER_FAILURE] = "failure_percentage",
		[OUTLIER_LOCAL_FAILURE] = "local_origin_failure_percentage",
	};
	const struct ejection_stats *stats = &shared->ejections;
	uint64_t enforced = 0;
	char name[96];
	int rc = 0;

	for (size_t i = 0; i < OUTLIER_CAUSES && !rc; i++) {
		enforced += stats->enforced[i];
		snprintf(name, sizeof(name), "outlier_detection.ejections_detected_%s", names[i]);
		rc = stat(shared, out, name, stats->detected[i]);
		snprintf(name, sizeof(name), "outlier_detection.ejections_enforced_%s", names[i]);
		if (!rc)
			rc = stat(shared, out, name, stats->enforced[i]);
	}
	if (!rc)
		rc = stat(shared, out, "outlier_detection.ejections_enforced_total", enforced);
	if (!rc)
		rc = stat(shared, out, "outlier_detection.ejections_overflow", stats->overflow);
	return rc ? rc : stat(shared, out, "outlier_detection.ejections_active", endpoints_with(shared, HEALTH_EJECTED, 0));
}

static int check_stats(const struct cluster_shared *shared, struct buf *out)
{
	const struct check_stats *stats = &shared->check;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"health_check.attempt", stats->attempt},
		{"health_check.success", stats->success},
		{"health_check.failure", stats->failure},
		{"health_check.network_failure", stats->network_failure},
		{"health_check.passive_failure", 0},
		{"health_check.verify_cluster", stats->verify_cluster},
		{"health_check.healthy", endpoints_with(shared, 0, HEALTH_FAILED_CHECK)},
		{"health_check.degraded", endpoints_with(shared, HEALTH_DEGRADED_CHECK, 0)},
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
		rc = stat(shared, out, rows[i].name, rows[i].value);
	return rc;
}

int mesh_cluster_write_health_stats(const struct cluster_shared *shared, struct buf *out)
{
	int rc = shared->detects ? detector_stats(shared, out) : 0;

	return rc || !shared->checks ? rc : check_stats(shared, out);
}

/* ---- /clusters */

/* A cluster that is written, or one endpoint of it. */
struct page {
	struct buf *out;
	const struct cluster_config *config;
	const struct cluster_shared *shared; /* NULL: nobody uses it */
	struct mesh_slice endpoint;
	int rc;
};

static void line(struct page *page, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void line(struct page *page, const char *name, const char *format, ...)
{
	struct mesh_slice cluster = page->config->object.item.name;
	char value[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(value, sizeof(value), format, arguments);
	va_end(arguments);
	if (page->rc)
		return;
	if (page->endpoint.data)
		page->rc = mesh_buf_printf(page->out, "%.*s::%.*s::%s::%s\n", (int)cluster.len, cluster.data,
					   (int)page->endpoint.len, page->endpoint.data, name, value);
	else
		page->rc = mesh_buf_printf(page->out, "%.*s::%s::%s\n", (int)cluster.len, cluster.data, name, value);
}

static void limits(struct page *page)
{
	const struct circuit_breaker *breaker = &page->config->breaker;

	line(page, "default_priority::max_connections", "%u", breaker->connections);
	line(page, "default_priority::max_pending_requests", "%u", breaker->pending);
	line(page, "default_priority::max_requests", "%u", breaker->requests);
	line(page, "default_priority::max_retries", "%u", breaker->retries);
	line(page, "added_via_api", "true");
}

static void levels(struct page *page)
{
	static const char *const sides[OUTLIER_SIDES] = {"", "local_origin_"};
	char name[96];

	for (size_t i = 0; i < OUTLIER_SIDES && page->config->outlier.on; i++) {
		struct outlier_level level = page->shared ? page->shared->levels[i] : (struct outlier_level){-1, -1};

		snprintf(name, sizeof(name), "outlier::%ssuccess_rate_average", sides[i]);
		line(page, name, "%g", level.mean);
		snprintf(name, sizeof(name), "outlier::%ssuccess_rate_ejection_threshold", sides[i]);
		line(page, name, "%g", level.threshold);
	}
}

static void counts(struct page *page, struct endpoint_shared *live)
{
	line(page, "cx_active", "%u", live ? atomic_load(&live->connections) : 0);
	line(page, "cx_connect_fail", "%llu", live ? (unsigned long long)atomic_load(&live->cx_connect_fail) : 0);
	line(page, "rq_active", "%u", live ? atomic_load(&live->active) : 0);
	line(page, "rq_error", "%llu", live ? (unsigned long long)atomic_load(&live->rq_error) : 0);
	line(page, "rq_total", "%llu", live ? (unsigned long long)atomic_load(&live->rq_total) : 0);
}

static void flags(struct page *page, const struct endpoint_config *config, struct endpoint_shared *live)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{HEALTH_FAILED_CHECK, "/failed_active_hc"},
		{HEALTH_EJECTED, "/failed_outlier_check"},
		{HEALTH_DEGRADED_CHECK, "/degraded_active_hc"},
		{HEALTH_PENDING_CHECK, "/pending_active_hc"},
		{HEALTH_EXCLUDED, "/excluded_via_immediate_hc_fail"},
		{HEALTH_CHECK_TIMEOUT, "/active_hc_timeout"},
	};
	static const char *const configured[] = {
		[ENDPOINT_HEALTHY] = "",
		[ENDPOINT_UNHEALTHY] = "/failed_eds_health",
		[ENDPOINT_DRAINING] = "/eds_status_draining",
		[ENDPOINT_DEGRADED] = "/degraded_eds_health",
	};
	/* nobody has looked at it yet: as it will begin (mesh_health_join) */
	unsigned health = live && live->member ? atomic_load(&live->health) : HEALTH_FAILED_CHECK;
	char text[256] = "";
	size_t len = 0;

	if (!page->config->outlier.on)
		health &= ~(unsigned)HEALTH_EJECTED;
	if (!page->config->health_check || (config && config->check && config->check->off))
		health &= HEALTH_EJECTED;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (health & names[i].bit)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", names[i].name);
	if (config)
		snprintf(text + len, sizeof(text) - len, "%s", configured[config->health]);
	line(page, "health_flags", "%s", text[0] ? text : "healthy");
}

static void one_endpoint(struct page *page, const struct locality *locality, const struct endpoint_config *config,
			 struct mesh_slice text)
{
	struct endpoint_shared *live = page->shared ? mesh_map_get(&page->shared->endpoints, text) : NULL;

	page->endpoint = text;
	counts(page, live);
	line(page, "hostname", "%.*s", config ? (int)config->hostname.len : 0, config && config->hostname.data ? config->hostname.data : "");
	flags(page, config, live);
	line(page, "weight", "%u", config ? config->weight : 1);
	line(page, "region", "%.*s", locality ? (int)locality->region.len : 0, locality && locality->region.data ? locality->region.data : "");
	line(page, "zone", "%.*s", locality ? (int)locality->zone.len : 0, locality && locality->zone.data ? locality->zone.data : "");
	line(page, "sub_zone", "%.*s", locality ? (int)locality->subzone.len : 0,
	     locality && locality->subzone.data ? locality->subzone.data : "");
	line(page, "canary", "false");
	line(page, "priority", "%u", locality ? locality->priority : 0);
	line(page, "success_rate", "%g", live ? live->success_rate[0] : -1.0);
	line(page, "local_origin_success_rate", "%g", live ? live->success_rate[1] : -1.0);
	page->endpoint = mesh_slice_make(NULL, 0);
}

static void endpoints(struct page *page, const struct endpoint_set *set)
{
	for (size_t l = 0; set && l < set->count; l++)
		for (size_t i = 0; i < set->localities[l].count; i++)
			one_endpoint(page, &set->localities[l], &set->localities[l].endpoints[i],
				     set->localities[l].endpoints[i].text);
	if (page->config->kind != CLUSTER_ORIGINAL_DST || !page->shared)
		return;
	MESH_MAP_EACH(slot, &((struct cluster_shared *)page->shared)->endpoints)
		one_endpoint(page, NULL, NULL, ((struct endpoint_shared *)slot->value)->text);
}

struct walk {
	struct registry *registry;
	const struct snapshot *snapshot;
	struct buf *out;
};

static int visit(struct table_item *item, void *user)
{
	struct walk *walk = user;
	const struct cluster_config *config = (const struct cluster_config *)item;
	struct cluster_shared *shared = mesh_map_get(&walk->registry->clusters, config->object.item.name);
	struct page page = {.out = walk->out, .config = config, .shared = shared};

	if (shared)
		pthread_mutex_lock(&shared->lock);
	levels(&page);
	limits(&page);
	endpoints(&page, mesh_snapshot_endpoints(walk->snapshot, config));
	if (shared)
		pthread_mutex_unlock(&shared->lock);
	return page.rc;
}

int mesh_clusters_text(struct registry *registry, const struct snapshot *snapshot, struct buf *out)
{
	struct walk walk = {registry, snapshot, out};
	int rc;

	if (!snapshot)
		return 0;
	pthread_mutex_lock(&registry->lock);
	rc = mesh_table_each(snapshot->clusters, visit, &walk);
	pthread_mutex_unlock(&registry->lock);
	return rc;
}
