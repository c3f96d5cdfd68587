/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a cluster: refused in words, or one whose values are within what the data path counts on. */
#include "fuzz/decoder.h"

static void check_tls(const struct tls_config *tls)
{
	size_t at = 0;

	if (!tls)
		return;
	promise(tls->min == TLS_VERSION_AUTO || tls->max == TLS_VERSION_AUTO || tls->min <= tls->max);
	promise(tls->san_count == 0 || tls->sans);
	touch(tls->sni);
	touch(tls->certificate_name);
	touch(tls->roots_name);
	while (at < tls->alpn.len) {
		promise(tls->alpn.data[at] != 0);
		at += 1 + (unsigned char)tls->alpn.data[at];
	}
	promise(at == tls->alpn.len);
	for (size_t i = 0; i < tls->san_count; i++)
		mesh_string_matches(&tls->sans[i], MESH_SLICE("spiffe://cluster.local/ns/default/sa/reviews"));
}

static void check_choice(const struct transport_choice *choice)
{
	for (size_t i = 0; i < choice->match_count; i++) {
		touch(choice->match[i].key);
		touch(choice->match[i].value);
		promise(i == 0 || mesh_slice_compare(choice->match[i - 1].key, choice->match[i].key) <= 0);
	}
	if (!choice->unsupported)
		check_tls(choice->tls);
}

static void check_names(const struct cluster_config *cluster)
{
	const struct dns_config *dns = cluster->dns;
	bool names = cluster->kind == CLUSTER_STRICT_DNS || cluster->kind == CLUSTER_LOGICAL_DNS;

	promise(!names || dns);
	if (!dns)
		return;
	promise(dns->refresh_ns > 0 && dns->jitter_ns >= 0);
	promise(dns->failure_base_ns >= 0 && dns->failure_base_ns <= dns->failure_max_ns);
	promise(dns->servers.count <= 16);
	for (size_t i = 0; i < dns->servers.count; i++)
		promise(dns->servers.list[i].len > 0);
	promise(cluster->kind != CLUSTER_LOGICAL_DNS || cluster->inline_endpoints->endpoint_count == 1);
}

/* Ratios that multiply what is opened, and where it is opened from. */
static void check_connections(const struct cluster_config *cluster)
{
	promise(!cluster->preconnect || (cluster->preconnect >= 1 && cluster->preconnect <= 3));
	promise(!cluster->preconnect_ahead || (cluster->preconnect_ahead >= 1 && cluster->preconnect_ahead <= 3));
	promise(cluster->breaker_high.budget_percent >= 0 && cluster->breaker_high.budget_percent <= 100);
}

static void check_balance(const struct balance_config *balance)
{
	const struct subset_config *subset = balance->subset;

	promise(balance->slow_start.window_ns >= 0 && balance->slow_start.aggression >= 0);
	promise(balance->slow_start.least >= 0 && balance->slow_start.least <= 1);
	promise(balance->zone.routing_percent <= 100);
	promise(!balance->hash_balance_factor || balance->hash_balance_factor >= 100);
	promise(!balance->ewma.on || (balance->ewma.decay_ns > 0 && balance->ewma.unknown_ns > 0));
	if (!subset)
		return;
	promise(subset->selector_count > 0 && subset->fallback >= SUBSET_NOBODY && subset->fallback <= SUBSET_DEFAULT);
	for (size_t i = 0; i < subset->selector_count; i++) {
		const struct subset_selector *selector = &subset->selectors[i];

		promise(selector->key_count > 0 && selector->key_count <= 32);
		promise(selector->fallback != SUBSET_KEYS || selector->fallback_key_count < selector->key_count);
		for (size_t k = 1; k < selector->key_count; k++)
			promise(mesh_slice_compare(selector->keys[k - 1], selector->keys[k]) < 0);
	}
}

static void check(const struct decode *d, const struct cluster_config *cluster)
{
	bool places = cluster->kind == CLUSTER_STATIC || cluster->kind == CLUSTER_STRICT_DNS ||
		      cluster->kind == CLUSTER_LOGICAL_DNS;

	promise(cluster->object.item.name.len > 0);
	promise(cluster->hash == mesh_slice_hash(cluster->object.item.name));
	promise(cluster->kind != CLUSTER_EDS || cluster->eds_name.len > 0);
	promise(!places || cluster->inline_endpoints);
	promise(cluster->kind != CLUSTER_UNSUPPORTED || mesh_buf_len(&d->notes) > 0);
	promise(cluster->connect_timeout_ns > 0);
	promise(cluster->least_request_choices >= 2);
	promise(cluster->panic_percent >= 0 && cluster->panic_percent <= 100);
	check_balance(&cluster->balance);
	promise(cluster->idle_timeout_ns >= -1 &&
		cluster->connection_duration_max_ns >= 0);
	promise(cluster->breaker.budget_percent >= 0 && cluster->breaker.budget_percent <= 100);
	check_connections(cluster);
	promise(!cluster->outlier.on ||
		(cluster->outlier.interval_ns > 0 && cluster->outlier.max_ejection_percent <= 100));
	touch(cluster->metadata_istio_services);
	for (size_t i = 0; i < cluster->match_count; i++)
		check_choice(&cluster->matches[i]);
	check_choice(&cluster->fallback);
	check_names(cluster);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cluster_config *cluster;
	struct decode d;

	if (size > SIZE_LIMIT)
		return 0;
	decoder_init(&d);
	cluster = mesh_decode_cluster(&d, mesh_slice_make(data, size));
	decoder_check(&d, cluster);
	if (cluster)
		check(&d, cluster);
	mesh_config_object_release(cluster);
	mesh_decode_free(&d);
	return 0;
}
