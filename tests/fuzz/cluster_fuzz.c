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
	promise(cluster->slow_start_ns >= 0 && cluster->idle_timeout_ns >= -1 &&
		cluster->connection_duration_max_ns >= 0);
	promise(cluster->breaker.budget_percent >= 0 && cluster->breaker.budget_percent <= 100);
	promise(!cluster->outlier.on ||
		(cluster->outlier.interval_ns > 0 && cluster->outlier.max_ejection_percent <= 100));
	touch(cluster->metadata_istio_services);
	for (size_t i = 0; i < cluster->match_count; i++)
		check_choice(&cluster->matches[i]);
	check_choice(&cluster->fallback);
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
