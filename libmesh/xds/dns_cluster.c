/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One DNS cluster: decides when each of its names is asked for again, what counts as a failure and what then stays in force,
 * as Envoy does. Refuses to know how a name is resolved and who uses the endpoints.
 */
#include "xds/dns_state.h"

#include <mesh/error.h>

static const uint64_t ask_limit_ns = 600ull * 1000000000ull;
static const int64_t delay_min_ns = 1000000; /* jitter may come to nothing */

/* ---- the set ---- */

/* Its endpoints by these answers in the table; before any answer it has none there. NOMEM. */
static int put_set(struct dns *dns, const struct cluster_config *config, const struct dns_answer *answers, bool none)
{
	struct endpoint_set *set = NULL;
	int rc = none ? 0 : mesh_dns_endpoints(dns->options.mem, config, answers, &set);

	rc = rc ? rc : mesh_dns_put(dns, config->object.item.name, set);
	mesh_config_object_release(set);
	return rc;
}

static void end_first(struct dns_cluster *cluster)
{
	if (!cluster->first)
		return;
	cluster->first = false;
	cluster->dns->waiting--;
}

/* Without memory the set stays, and is made anew by the next answer. */
static void update(struct loop_task *task)
{
	struct dns_cluster *cluster = MESH_CONTAINER(task, struct dns_cluster, update);
	struct dns *dns = cluster->dns;

	end_first(cluster);
	cluster->stale = put_set(dns, cluster->config, cluster->answers, false) != 0;
	if (!cluster->stale)
		dns->options.changed(dns->options.user);
}

/* Of the answers that came together, once: the set is of all names. */
static void update_soon(struct dns_cluster *cluster)
{
	cluster->stale = true;
	cluster->update.run = update;
	mesh_loop_defer(cluster->dns->options.loop, &cluster->update);
}

/* ---- when to ask again ---- */

static int64_t good_delay(struct dns_cluster *cluster, size_t count, uint32_t ttl_s)
{
	const struct dns_config *config = cluster->config->dns;
	int64_t delay = config->refresh_ns;

	cluster->backoff_ns = 0;
	if (config->respect_ttl && count && ttl_s)
		delay = ttl_s * 1000000000ll;
	if (config->jitter_ns)
		delay += (int64_t)mesh_rand_below(&cluster->dns->rand, (uint64_t)config->jitter_ns);
	return delay;
}

/* Any time below a bound that doubles, up to a greatest. The names of a cluster share it. */
static int64_t failed_delay(struct dns_cluster *cluster)
{
	const struct dns_config *config = cluster->config->dns;
	int64_t bound = cluster->backoff_ns ? cluster->backoff_ns : config->failure_base_ns;

	if (!config->failure_base_ns)
		return config->refresh_ns;
	cluster->backoff_ns = bound < config->failure_max_ns / 2 ? bound * 2 : config->failure_max_ns;
	return (int64_t)mesh_rand_below(&cluster->dns->rand, (uint64_t)bound);
}

/* ---- answers ---- */

static bool same_addresses(const struct dns_answer *answer, const struct address *addresses, size_t count)
{
	if (answer->count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!mesh_address_equal(&answer->addresses[i], &addresses[i]))
			return false;
	return true;
}

/* The newest good answer, none included. True in *changed when it is another. NOMEM. */
static int keep_answer(struct dns_target *target, const struct address *addresses, size_t count, const char *why,
		       bool *changed)
{
	const struct mesh_mem *mem = target->cluster->dns->options.mem;
	struct dns_answer *answer = target->answer;
	struct address *copy = NULL;

	if (target->cluster->config->kind == CLUSTER_LOGICAL_DNS && count)
		count = 1; /* the others are of no use */
	if (count) {
		copy = mesh_mem_array(mem, count, sizeof(*copy));
		if (!copy)
			return MESH_ERROR_NOMEM;
		memcpy(copy, addresses, count * sizeof(*copy));
		count = mesh_dns_sort(copy, count);
	}
	*changed = !same_addresses(answer, copy, count) || (!count && answer->why != why);
	mesh_mem_free(mem, answer->addresses);
	answer->addresses = copy;
	answer->count = count;
	answer->why = why;
	return 0;
}

static void tell_failure(struct dns_target *target, const char *why)
{
	const struct log *log = target->cluster->dns->options.log;
	struct mesh_slice cluster = target->cluster->config->object.item.name;

	if (!target->failing)
		MESH_LOG_W(log, "dns", "cluster %.*s: %.*s: %s%s", (int)cluster.len, cluster.data,
			   (int)target->name.len, target->name.data, why,
			   target->answer->count ? "; its last addresses stay in force" : "");
	target->failing = true;
}

/* A question ended: the answer is kept or the last one stays, and the next question has its time. */
static void finish(struct dns_target *target, int error, const struct address *addresses, size_t count, uint32_t ttl_s,
		   const char *why)
{
	struct dns_cluster *cluster = target->cluster;
	bool changed = false, failed = error || (!count && cluster->config->kind == CLUSTER_LOGICAL_DNS);
	int64_t delay;

	target->state = TARGET_RESTING;
	if (!failed && keep_answer(target, addresses, count, why, &changed)) {
		failed = true;
		why = mesh_error_text(MESH_ERROR_NOMEM);
	}
	if (failed && !target->answer->count) {
		changed = target->answer->why != why;
		target->answer->why = why;
	}
	mesh_counter_add(&cluster->dns->failures, failed);
	if (failed)
		tell_failure(target, why);
	else
		target->failing = false;
	delay = failed ? failed_delay(cluster) : good_delay(cluster, count, ttl_s);
	mesh_timer_start(cluster->dns->options.loop, &target->timer,
			 (uint64_t)(delay > delay_min_ns ? delay : delay_min_ns));
	if (changed || cluster->stale)
		update_soon(cluster);
	else
		end_first(cluster);
}

static void answered(struct resolver_query *query, int error, const struct address *addresses, size_t count,
		     uint32_t ttl_s)
{
	struct dns_target *target = MESH_CONTAINER(query, struct dns_target, query);
	struct dns *dns = target->cluster->dns;

	dns->asking--;
	finish(target, error, addresses, count, ttl_s, query->why);
	mesh_dns_pump(dns);
}

void mesh_dns_cluster_ask(struct dns_target *target)
{
	static const enum resolver_family families[] = {
		[DNS_AUTO] = RESOLVER_AUTO,       [DNS_V4_ONLY] = RESOLVER_V4_ONLY,
		[DNS_V6_ONLY] = RESOLVER_V6_ONLY, [DNS_V4_PREFERRED] = RESOLVER_V4_PREFERRED,
		[DNS_ALL] = RESOLVER_ALL,
	};
	struct dns_cluster *cluster = target->cluster;
	const struct dns_config *config = cluster->config->dns;
	int rc = cluster->resolver ? 0 : mesh_dns_resolver_get(cluster->dns, &config->servers, &cluster->resolver);

	mesh_counter_add(&cluster->dns->attempts, 1);
	target->state = TARGET_ASKING;
	target->query.done = answered;
	mesh_timer_start(cluster->dns->options.loop, &target->timer, ask_limit_ns);
	if (!rc)
		rc = mesh_resolver_ask(cluster->resolver->resolver, target->name, families[config->family],
				       &target->query);
	if (rc)
		finish(target, rc, NULL, 0, 0, mesh_error_text(rc));
	else
		cluster->dns->asking++;
}

static void due(struct loop_timer *timer)
{
	struct dns_target *target = MESH_CONTAINER(timer, struct dns_target, timer);
	struct dns *dns = target->cluster->dns;

	mesh_timer_start(dns->options.loop, timer, ask_limit_ns); /* at once: its place in the heap is kept */
	if (target->state == TARGET_RESTING) {
		target->state = TARGET_QUEUED;
		mesh_list_push(&dns->queue, &target->link);
	} else if (target->state == TARGET_ASKING) {
		mesh_resolver_cancel(&target->query);
		dns->asking--;
		finish(target, MESH_ERROR_DNS, NULL, 0, 0, "no answer in time");
	}
	mesh_dns_pump(dns);
}

/* ---- configuration ---- */

static void targets_free(struct dns *dns, struct dns_target *targets, size_t count)
{
	for (size_t i = 0; targets && i < count; i++) {
		struct dns_target *target = &targets[i];

		if (target->state == TARGET_ASKING) {
			mesh_resolver_cancel(&target->query);
			dns->asking--;
		}
		mesh_list_remove(&target->link);
		mesh_timer_stop(dns->options.loop, &target->timer);
	}
	mesh_mem_free(dns->options.mem, targets);
}

static size_t asked_count(const struct endpoint_set *set)
{
	size_t count = 0;

	for (size_t l = 0; l < set->count; l++)
		for (size_t i = 0; i < set->localities[l].count; i++)
			count += mesh_dns_asked(&set->localities[l].endpoints[i]);
	return count;
}

/* What a cluster is about to have. */
struct dns_next {
	struct dns_target *targets;
	struct dns_answer *answers;
	size_t count;
	struct map before; /* struct dns_target that it has, by name: the first of each */
};

static void name_targets(const struct endpoint_set *set, struct dns_cluster *cluster, struct dns_next *next)
{
	struct dns_target *target = next->targets;

	for (size_t l = 0; l < set->count; l++)
		for (size_t i = 0; i < set->localities[l].count; i++) {
			const struct endpoint_config *endpoint = &set->localities[l].endpoints[i];

			if (!mesh_dns_asked(endpoint))
				continue;
			target->name = mesh_dns_name(endpoint);
			target->answer = &next->answers[target - next->targets];
			target->cluster = cluster;
			target->timer.due = due;
			mesh_list_init(&target->link);
			target++;
		}
}

/* All are due at once, in the loop's next round. */
static int next_new(struct dns_cluster *cluster, const struct cluster_config *config, struct dns_next *next)
{
	const struct mesh_mem *mem = cluster->dns->options.mem;
	int rc = 0;

	next->count = asked_count(config->inline_endpoints);
	if (!next->count)
		return 0;
	next->targets = mesh_mem_array(mem, next->count, sizeof(*next->targets));
	next->answers = mesh_mem_array(mem, next->count, sizeof(*next->answers));
	if (!next->targets || !next->answers)
		return MESH_ERROR_NOMEM;
	name_targets(config->inline_endpoints, cluster, next);
	for (size_t i = 0; i < next->count && !rc; i++)
		rc = mesh_timer_start(cluster->dns->options.loop, &next->targets[i].timer, 0);
	return rc;
}

static void next_discard(struct dns_cluster *cluster, struct dns_next *next)
{
	if (next->targets && next->answers)
		targets_free(cluster->dns, next->targets, next->count);
	else
		mesh_mem_free(cluster->dns->options.mem, next->targets);
	mesh_mem_free(cluster->dns->options.mem, next->answers);
}

static int index_before(const struct dns_cluster *cluster, struct dns_next *next)
{
	int rc = 0;

	for (size_t i = 0; i < cluster->count && !rc; i++)
		if (!mesh_map_get(&next->before, cluster->targets[i].name))
			rc = mesh_map_put(&next->before, cluster->targets[i].name, &cluster->targets[i], NULL);
	return rc;
}

/* The one of that name; mostly they stay in place. */
static struct dns_target *find_target(const struct dns_cluster *cluster, const struct dns_next *next, size_t place)
{
	struct mesh_slice name = next->targets[place].name;

	if (place < cluster->count && mesh_slice_equal(cluster->targets[place].name, name))
		return &cluster->targets[place];
	return mesh_map_get(&next->before, name);
}

/* Answers to the same question stay good; copied, for one name may be there twice. True in *any: there is one. NOMEM. */
static int take_over(struct dns_cluster *cluster, const struct cluster_config *config, struct dns_next *next, bool *any)
{
	const struct mesh_mem *mem = cluster->dns->options.mem;

	if (!cluster->config || cluster->config->kind != config->kind ||
	    cluster->config->dns->family != config->dns->family)
		return 0;
	if (index_before(cluster, next))
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < next->count; i++) {
		const struct dns_target *before = find_target(cluster, next, i);
		struct dns_answer *answer = &next->answers[i];

		if (!before)
			continue;
		answer->why = before->answer->why;
		next->targets[i].failing = before->failing;
		*any = *any || answer->why || before->answer->count;
		if (!before->answer->count)
			continue;
		answer->addresses = mesh_mem_array(mem, before->answer->count, sizeof(*answer->addresses));
		if (!answer->addresses)
			return MESH_ERROR_NOMEM;
		memcpy(answer->addresses, before->answer->addresses,
		       before->answer->count * sizeof(*answer->addresses));
		answer->count = before->answer->count;
	}
	return 0;
}

/* Whoever was not due yet is not due now, when the same servers are asked as often. */
static void keep_times(struct dns_cluster *cluster, const struct cluster_config *config, struct dns_next *next)
{
	const struct dns_config *before = cluster->config ? cluster->config->dns : NULL, *now = config->dns;

	if (!before || cluster->config->kind != config->kind || before->family != now->family ||
	    before->refresh_ns != now->refresh_ns || before->respect_ttl != now->respect_ttl ||
	    !mesh_dns_servers_same(&before->servers, &now->servers))
		return;
	for (size_t i = 0; i < next->count; i++) {
		const struct dns_target *target = find_target(cluster, next, i);

		if (target && target->state == TARGET_RESTING)
			mesh_timer_start_at(cluster->dns->options.loop, &next->targets[i].timer,
					    target->timer.item.key);
	}
}

static void answers_free(struct dns *dns, struct dns_answer *answers, size_t count)
{
	for (size_t i = 0; answers && i < count; i++)
		mesh_mem_free(dns->options.mem, answers[i].addresses);
	mesh_mem_free(dns->options.mem, answers);
}

static void drop(struct dns_cluster *cluster)
{
	mesh_loop_undefer(&cluster->update);
	targets_free(cluster->dns, cluster->targets, cluster->count);
	answers_free(cluster->dns, cluster->answers, cluster->count);
	mesh_dns_resolver_release(cluster->dns, cluster->resolver);
	mesh_config_object_release((void *)cluster->config);
}

static void adopt(struct dns_cluster *cluster, const struct cluster_config *config, const struct dns_next *next)
{
	drop(cluster);
	cluster->config = mesh_config_object_retain(config);
	cluster->resolver = NULL;
	cluster->targets = next->targets;
	cluster->answers = next->answers;
	cluster->count = next->count;
	cluster->backoff_ns = 0;
	cluster->stale = false;
}

int mesh_dns_cluster_set(struct dns_cluster *cluster, const struct cluster_config *config)
{
	struct dns_next next = {0};
	bool any = false, first;
	int rc;

	mesh_map_init(&next.before, cluster->dns->options.mem);
	rc = next_new(cluster, config, &next);
	rc = rc ? rc : take_over(cluster, config, &next, &any);
	/* an address among the names is an answer that is there already */
	first = next.count && next.count == config->inline_endpoints->endpoint_count && !any &&
		config->dns->wait_for_warm;
	rc = rc ? rc : put_set(cluster->dns, config, next.answers, first);
	if (rc) {
		for (size_t i = 0; next.answers && i < next.count; i++)
			mesh_mem_free(cluster->dns->options.mem, next.answers[i].addresses);
		next_discard(cluster, &next);
		mesh_map_free(&next.before);
		return rc;
	}
	keep_times(cluster, config, &next);
	mesh_map_free(&next.before);
	end_first(cluster);
	adopt(cluster, config, &next);
	cluster->first = first;
	cluster->dns->waiting += first;
	return 0;
}

void mesh_dns_cluster_free(struct dns_cluster *cluster)
{
	end_first(cluster);
	drop(cluster);
	mesh_list_remove(&cluster->link);
	mesh_mem_free(cluster->dns->options.mem, cluster);
}
