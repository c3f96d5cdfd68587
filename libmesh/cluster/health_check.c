/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which endpoints are checked and when, and makes what came of it known to all workers. Refuses to know how an
 * endpoint is asked (check_connection.c) and what a result means (policy/health_check.c).
 */
#include "cluster/health_check.h"

#include "cluster/health.h"

static const uint64_t retry_ns = 1000000000; /* where a check could not be made for want of memory */

static void again_due(struct loop_timer *timer)
{
	mesh_health_checks_follow(MESH_CONTAINER(timer, struct health_checks, again));
}

void mesh_health_checks_init(struct health_checks *checks, struct cluster_env *env)
{
	checks->again.due = again_due;
	checks->env = env;
	mesh_list_init(&checks->clusters);
}

/* ---- results */

static unsigned bits_of(const struct check *check)
{
	return (check->state.failed ? HEALTH_FAILED_CHECK : 0) | (check->state.degraded ? HEALTH_DEGRADED_CHECK : 0) |
	       (check->state.timeout ? HEALTH_CHECK_TIMEOUT : 0) | (check->excluded ? HEALTH_EXCLUDED : 0);
}

static void count(struct check_stats *stats, enum check_result result)
{
	if (mesh_check_good(result))
		stats->success++;
	else
		stats->failure++;
	if (result == CHECK_NETWORK || result == CHECK_TIMEOUT)
		stats->network_failure++;
}

static void make_known(struct check *check, enum check_result result)
{
	struct cluster_shared *cluster = check->endpoint->cluster->shared;
	struct endpoint_shared *endpoint = check->endpoint->shared;
	const unsigned all = HEALTH_FAILED_CHECK | HEALTH_DEGRADED_CHECK | HEALTH_PENDING_CHECK | HEALTH_EXCLUDED |
			     HEALTH_CHECK_TIMEOUT;

	pthread_mutex_lock(&cluster->lock);
	count(&cluster->check, result);
	mesh_health_set(cluster, endpoint, bits_of(check), all);
	if (mesh_check_good(result) && !check->state.failed && check->cluster_config->outlier.check_unejects)
		mesh_ejection_end(cluster, endpoint, mesh_loop_now_ns(check->all->env->loop));
	pthread_mutex_unlock(&cluster->lock);
}

void mesh_check_told(struct check *check, enum check_result result)
{
	struct cluster_env *env = check->all->env;
	enum check_change change = mesh_check_take(&check->state, check->config, result);
	uint64_t draws[2] = {mesh_rand_next(&env->rand), mesh_rand_next(&env->rand)};
	bool traffic = mesh_cluster_had_traffic(check->endpoint->cluster->shared);

	if (mesh_check_good(result) && !check->state.failed)
		check->excluded = false;
	if (change == CHECK_CHANGED)
		MESH_LOG_D(env->log, "health", "%.*s of %.*s is %s", (int)check->endpoint->shared->text.len,
			   check->endpoint->shared->text.data, (int)check->endpoint->cluster->name.len,
			   check->endpoint->cluster->name.data, check->state.failed ? "not healthy" : "healthy");
	if (change == CHECK_CHANGED && !check->state.failed) /* slow start begins with it */
		atomic_store_explicit(&check->endpoint->shared->since_ns, mesh_loop_now_ns(env->loop), memory_order_relaxed);
	make_known(check, result);
	if (change == CHECK_CHANGED && check->state.failed && check->endpoint->cluster->told != check->endpoint->cluster->set)
		mesh_timer_start(env->loop, &check->all->again, 0);
	mesh_timer_stop(env->loop, &check->timeout);
	mesh_timer_start(env->loop, &check->interval,
			 mesh_check_interval(check->config, mesh_check_good(result), change, traffic, draws));
}

/* ---- timers */

static void interval_due(struct loop_timer *timer)
{
	struct check *check = MESH_CONTAINER(timer, struct check, interval);
	struct cluster_shared *cluster = check->endpoint->cluster->shared;
	struct loop *loop = check->all->env->loop;

	if (mesh_timer_start(loop, &check->timeout, (uint64_t)check->config->timeout_ns)) {
		mesh_timer_start(loop, timer, retry_ns); /* the heap has room for it: it was in it just now */
		return;
	}
	pthread_mutex_lock(&cluster->lock);
	cluster->check.attempt++;
	pthread_mutex_unlock(&cluster->lock);
	mesh_check_ask(check);
}

static void timeout_due(struct loop_timer *timer)
{
	struct check *check = MESH_CONTAINER(timer, struct check, timeout);

	mesh_check_drop(check);
	mesh_check_told(check, CHECK_TIMEOUT);
}

/* ---- which endpoints */

static void check_end(struct check *check)
{
	struct cluster_env *env = check->all->env;

	mesh_check_drop(check);
	mesh_timer_stop(env->loop, &check->interval);
	mesh_timer_stop(env->loop, &check->timeout);
	mesh_list_remove(&check->link);
	check->endpoint->check = NULL;
	mesh_endpoint_release(check->endpoint);
	mesh_mem_free(env->mem, (char *)check->authority.data);
	mesh_config_object_release((void *)check->cluster_config);
	mesh_mem_free(env->mem, check);
}

/* The transport socket that the check's own labels choose. */
static const struct transport_choice *own_choice(const struct cluster_config *config)
{
	const struct health_check_config *check = config->health_check;
	struct endpoint_config labels = {.transport_labels = check->criteria, .transport_label_count = check->criteria_count};

	return check->has_criteria ? mesh_cluster_transport(config, &labels) : NULL;
}

static struct mesh_slice authority_of(const struct cluster_config *config, const struct endpoint_config *endpoint)
{
	if (endpoint->check && endpoint->check->hostname.len)
		return endpoint->check->hostname;
	if (config->health_check->authority.len)
		return config->health_check->authority;
	return config->object.item.name;
}

static struct address address_of(const struct health_check_config *check, const struct endpoint_config *endpoint)
{
	struct address address = endpoint->address;
	uint16_t port = check->alt_port;

	if (endpoint->check && endpoint->check->address.len)
		address = endpoint->check->address;
	if (endpoint->check && endpoint->check->port)
		port = endpoint->check->port;
	if (port)
		mesh_address_set_port(&address, port);
	return address;
}

/* What is asked, as configured now. 1: it is another than before. NOMEM keeps what was. */
static int check_set(struct check *check, const struct endpoint_config *endpoint)
{
	const struct cluster_config *config = check->endpoint->cluster->config;
	struct address address = address_of(config->health_check, endpoint);
	struct mesh_slice wanted = authority_of(config, endpoint);
	char *authority;

	if (check->cluster_config == config && mesh_address_equal(&check->address, &address) &&
	    mesh_slice_equal(check->authority, wanted))
		return 0;
	authority = mesh_mem_text(check->all->env->mem, wanted);
	if (!authority)
		return MESH_ERROR_NOMEM;
	mesh_mem_free(check->all->env->mem, (char *)check->authority.data);
	check->authority = mesh_slice_make(authority, wanted.len);
	mesh_config_object_retain(config);
	mesh_config_object_release((void *)check->cluster_config);
	check->cluster_config = config;
	check->config = config->health_check;
	check->choice = own_choice(config);
	check->address = address;
	return 1;
}

static int check_new(struct checked_cluster *of, struct health_checks *all, struct endpoint *endpoint,
		     const struct endpoint_config *config)
{
	struct check *check = mesh_mem_zalloc(all->env->mem, sizeof(*check));
	unsigned health = atomic_load_explicit(&endpoint->shared->health, memory_order_relaxed);
	int rc;

	if (!check)
		return MESH_ERROR_NOMEM;
	check->all = all;
	check->endpoint = endpoint;
	check->interval.due = interval_due;
	check->timeout.due = timeout_due;
	check->state.failed = health & HEALTH_FAILED_CHECK;
	check->state.degraded = health & HEALTH_DEGRADED_CHECK;
	rc = check_set(check, config);
	if (rc > 0)
		rc = mesh_timer_start(all->env->loop, &check->interval, mesh_check_first(check->config, mesh_rand_next(&all->env->rand)));
	if (rc) {
		mesh_mem_free(all->env->mem, (char *)check->authority.data);
		mesh_config_object_release((void *)check->cluster_config);
		mesh_mem_free(all->env->mem, check);
		return rc;
	}
	endpoint->users++;
	endpoint->check = check;
	mesh_list_push(&of->checks, &check->link);
	return 0;
}

static int check_follow(struct checked_cluster *of, struct health_checks *all, struct endpoint *endpoint,
			const struct endpoint_config *config, bool changed)
{
	struct check *check = endpoint->check;
	bool unusable = config->unsupported || (!config->address.len && !(config->check && config->check->address.len));
	int rc = 0;

	if (unusable || (config->check && config->check->off))
		return 0;
	if (!check)
		rc = check_new(of, all, endpoint, config);
	else if (changed)
		rc = check_set(check, config);
	if (endpoint->check)
		endpoint->check->present = true;
	if (rc <= 0)
		return rc;
	/* what was begun under the old settings ends: an answer to it says nothing of the new ones */
	mesh_check_drop(check);
	if (mesh_timer_running(&check->timeout))
		mesh_check_ask(check);
	return 0;
}

static void cluster_end(struct checked_cluster *of, const struct mesh_mem *mem)
{
	MESH_LIST_EACH_SAFE(at, &of->checks)
		check_end(MESH_CONTAINER(at, struct check, link));
	mesh_list_remove(&of->link);
	mesh_mem_free(mem, of);
}

static int cluster_follow(struct checked_cluster *of, struct health_checks *all)
{
	struct cluster *cluster = of->cluster;
	bool changed = of->seen != cluster->seen;
	size_t n = 0;
	int rc = 0;

	MESH_LIST_EACH(at, &of->checks)
		MESH_CONTAINER(at, struct check, link)->present = false;
	for (size_t l = 0; cluster->set && l < cluster->set->count; l++)
		for (size_t i = 0; i < cluster->set->localities[l].count; i++, n++) {
			int one = check_follow(of, all, cluster->active[n], &cluster->set->localities[l].endpoints[i], changed);

			rc = rc ? rc : one;
		}
	of->seen = rc ? 0 : cluster->seen;
	MESH_LIST_EACH_SAFE(at, &of->checks) {
		struct check *check = MESH_CONTAINER(at, struct check, link);

		if (!check->present)
			check_end(check);
	}
	return rc;
}

static struct checked_cluster *find(struct health_checks *checks, const struct cluster *cluster)
{
	MESH_LIST_EACH(at, &checks->clusters) {
		struct checked_cluster *of = MESH_CONTAINER(at, struct checked_cluster, link);

		if (of->cluster == cluster)
			return of;
	}
	return NULL;
}

static struct checked_cluster *cluster_new(struct health_checks *checks, struct cluster *cluster)
{
	struct checked_cluster *of = mesh_mem_zalloc(checks->env->mem, sizeof(*of));

	if (!of)
		return NULL;
	of->cluster = cluster;
	mesh_list_init(&of->checks);
	mesh_list_push(&checks->clusters, &of->link);
	return of;
}

struct following {
	struct health_checks *checks;
	int rc;
};

static int visit(struct table_item *item, void *user)
{
	const struct cluster_config *config = (const struct cluster_config *)item;
	struct following *following = user;
	struct checked_cluster *of = NULL;
	struct cluster *cluster;
	int rc;

	if (!config->health_check || config->kind == CLUSTER_UNSUPPORTED)
		return 0;
	rc = mesh_cluster_get(following->checks->env, config->object.item.name, config->hash, &cluster);
	if (!rc && cluster->told != cluster->set) { /* who lingers may have failed */
		cluster->seen = 0;
		rc = mesh_cluster_get(following->checks->env, config->object.item.name, config->hash, &cluster);
	}
	if (!rc)
		of = find(following->checks, cluster);
	if (!rc && !of)
		of = cluster_new(following->checks, cluster);
	if (!rc && !of)
		rc = MESH_ERROR_NOMEM;
	if (!rc) {
		of->present = true;
		rc = cluster_follow(of, following->checks);
	}
	following->rc = following->rc ? following->rc : rc;
	return 0;
}

void mesh_health_checks_follow(struct health_checks *checks)
{
	struct following following = {checks, 0};

	if (!checks->env->snapshot)
		return;
	MESH_LIST_EACH(at, &checks->clusters)
		MESH_CONTAINER(at, struct checked_cluster, link)->present = false;
	mesh_table_each(checks->env->snapshot->clusters, visit, &following);
	MESH_LIST_EACH_SAFE(at, &checks->clusters) {
		struct checked_cluster *of = MESH_CONTAINER(at, struct checked_cluster, link);
		struct cluster *cluster = of->cluster;

		if (of->present)
			continue;
		cluster_end(of, checks->env->mem);
		mesh_cluster_get(checks->env, cluster->name, mesh_slice_hash(cluster->name), &cluster); /* it lets go of what is gone */
	}
	if (following.rc)
		mesh_timer_start(checks->env->loop, &checks->again, retry_ns);
}

void mesh_health_checks_end(struct health_checks *checks)
{
	mesh_timer_stop(checks->env->loop, &checks->again);
	MESH_LIST_EACH_SAFE(at, &checks->clusters)
		cluster_end(MESH_CONTAINER(at, struct checked_cluster, link), checks->env->mem);
}
