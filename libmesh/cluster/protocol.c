/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a cluster is spoken to: with which version of HTTP, what ALPN is offered for it, what an open connection speaks,
 * and in which transport. Refuses to know how any of them works.
 */
#include "cluster/cluster.h"

enum pool_protocol mesh_cluster_protocol(const struct cluster_config *config, enum mesh_http_version version)
{
	switch (config->protocol) {
	case UPSTREAM_HTTP1:
		return POOL_HTTP1;
	case UPSTREAM_HTTP2:
		return POOL_HTTP2;
	case UPSTREAM_AUTO:
		return POOL_AUTO;
	case UPSTREAM_DOWNSTREAM:
		break;
	}
	return version == MESH_HTTP_2 ? POOL_HTTP2 : POOL_HTTP1;
}

/*
 * One list for each protocol is enough for all listeners: istiod gives every outbound connection manager the same filter
 * (istio.alpn, with one constant list for HTTP/1.1 and one for HTTP/2). Where an EnvoyFilter makes two of them, connections
 * are shared all the same, and were offered the list of the listener whose call opened them: never one that no listener has.
 */
void mesh_cluster_offer(struct cluster *cluster, enum pool_protocol protocol, struct mesh_slice alpn)
{
	if (mesh_slice_equal(alpn, mesh_slice_make(cluster->offer[protocol].alpn, cluster->offer[protocol].len)) ||
	    alpn.len > sizeof(cluster->offer[protocol].alpn))
		return;
	if (alpn.len)
		memcpy(cluster->offer[protocol].alpn, alpn.data, alpn.len);
	cluster->offer[protocol].len = alpn.len;
}

static struct mesh_slice offered(const struct cluster *cluster, enum pool_protocol protocol)
{
	if (!cluster->config->alpn_override)
		return (struct mesh_slice){NULL, 0};
	return mesh_slice_make(cluster->offer[protocol].alpn, cluster->offer[protocol].len);
}

struct mesh_slice mesh_pool_alpn(const struct pool *pool)
{
	static const struct mesh_slice own[POOL_PROTOCOLS] = {
		[POOL_HTTP1] = {"\x08http/1.1", 9}, [POOL_HTTP2] = {"\x02h2", 3}, [POOL_AUTO] = {"\x02h2\x08http/1.1", 12},
	};
	const struct endpoint *endpoint = pool->endpoint;
	const struct tls_config *tls = endpoint->choice ? endpoint->choice->tls : NULL;
	struct mesh_slice offer = offered(endpoint->cluster, pool->protocol);

	return offer.len ? offer : tls && tls->alpn.len ? tls->alpn : own[pool->protocol];
}

bool mesh_pool_speaks_http2(const struct pool *pool, const struct peer_info *peer)
{
	return pool->protocol == POOL_HTTP2 ||
	       (pool->protocol == POOL_AUTO && mesh_slice_equal(peer->alpn, MESH_SLICE("h2")));
}

static bool labels_match(const struct transport_choice *choice, const struct endpoint_config *endpoint)
{
	for (size_t i = 0; i < choice->match_count; i++) {
		size_t j = 0;

		while (j < endpoint->transport_label_count &&
		       !(mesh_slice_equal(choice->match[i].key, endpoint->transport_labels[j].key) &&
			 mesh_slice_equal(choice->match[i].value, endpoint->transport_labels[j].value)))
			j++;
		if (j == endpoint->transport_label_count)
			return false;
	}
	return true;
}

const struct transport_choice *mesh_cluster_transport(const struct cluster_config *config,
						      const struct endpoint_config *endpoint)
{
	for (size_t i = 0; i < config->match_count; i++)
		if (labels_match(&config->matches[i], endpoint))
			return &config->matches[i];
	return &config->fallback;
}
