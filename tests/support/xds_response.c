/* SPDX-License-Identifier: Apache-2.0 */
/* Packs and unpacks with protobuf-c alone, so that it does not share mistakes with what is tested. */
#include "support/xds_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "xds/ads.h"

#define TYPE(name) "\"@type\":\"type.googleapis.com/" name "\""
#define ADS	   "{\"ads\":{}}"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse sotw_response;
typedef Envoy__Service__Discovery__V3__Resource delta_resource;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DiscoveryRequest sotw_request;

static char *text_of(struct arena *arena, struct mesh_slice slice)
{
	bool failed = false;
	char *text = slice.data ? (char *)mesh_arena_slice(arena, slice, &failed).data : (char *)"";

	assert_false(failed);
	return text;
}

static struct mesh_slice pack(struct arena *arena, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	char *room = mesh_arena_alloc(arena, len);

	assert_non_null(room);
	return mesh_slice_make(room, protobuf_c_message_pack(message, (uint8_t *)room));
}

static Google__Protobuf__Any *any_of(struct arena *arena, const struct xds_resource *resource)
{
	Google__Protobuf__Any *any = mesh_arena_array(arena, 1, sizeof(*any));

	assert_non_null(any);
	google__protobuf__any__init(any);
	any->type_url = text_of(arena, resource->type_url);
	any->value.data = (uint8_t *)resource->bytes.data;
	any->value.len = resource->bytes.len;
	return any;
}

/* The name a delta response must give: what the resource says of itself, which is its first field in all types. */
static struct mesh_slice name_of(const struct xds_resource *resource)
{
	const uint8_t *bytes = (const uint8_t *)resource->bytes.data;

	if (resource->name.data)
		return resource->name;
	if (resource->bytes.len < 2 || bytes[0] != 0x0a || bytes[1] >= 0x80)
		return mesh_slice_make(NULL, 0);
	return mesh_slice_make(bytes + 2, bytes[1]);
}

static struct mesh_slice pack_delta(struct arena *arena, const struct xds_response *response, const char *url)
{
	delta_response message = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	delta_resource **list = mesh_arena_array(arena, response->count + 1, sizeof(*list));

	for (size_t i = 0; i < response->count; i++) {
		list[i] = mesh_arena_array(arena, 1, sizeof(**list));
		envoy__service__discovery__v3__resource__init(list[i]);
		list[i]->name = text_of(arena, name_of(&response->resources[i]));
		list[i]->version = text_of(arena, response->resources[i].version);
		if (response->resources[i].bytes.data)
			list[i]->resource = any_of(arena, &response->resources[i]);
	}
	message.resources = list;
	message.n_resources = response->count;
	message.type_url = (char *)url;
	message.nonce = (char *)response->nonce;
	message.system_version_info = response->version ? (char *)response->version : (char *)"";
	for (message.removed_resources = (char **)response->removed; response->removed && response->removed[message.n_removed_resources];)
		message.n_removed_resources++;
	return pack(arena, &message.base);
}

static struct mesh_slice pack_sotw(struct arena *arena, const struct xds_response *response, const char *url)
{
	sotw_response message = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_RESPONSE__INIT;
	Google__Protobuf__Any **list = mesh_arena_array(arena, response->count + 1, sizeof(*list));

	for (size_t i = 0; i < response->count; i++)
		list[i] = any_of(arena, &response->resources[i]);
	message.resources = list;
	message.n_resources = response->count;
	message.type_url = (char *)url;
	message.nonce = (char *)response->nonce;
	message.version_info = response->version ? (char *)response->version : (char *)"";
	return pack(arena, &message.base);
}

struct mesh_slice xds_response_pack(struct arena *arena, const struct xds_response *response)
{
	const char *url = response->type_url ? response->type_url : mesh_xds_type_urls[response->type];

	return response->sotw ? pack_sotw(arena, response, url) : pack_delta(arena, response, url);
}

/* ---- requests ---- */

static void add_list(struct buf *out, const char *prefix, char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mesh_buf_printf(out, "%s%s", i ? "," : prefix, names[i]);
}

static void add_text(struct buf *out, const char *prefix, const char *text)
{
	if (text[0])
		mesh_buf_printf(out, "%s%s", prefix, text);
}

static void add_end(struct buf *out, const char *nonce, const Google__Rpc__Status *error, const void *node)
{
	add_text(out, " nonce:", nonce);
	if (error)
		mesh_buf_printf(out, " error:%d:%s", error->code, error->message);
	if (node)
		mesh_buf_printf(out, " node");
}

static void add_type(struct buf *out, const char *url)
{
	int type = mesh_xds_type_of(mesh_slice_of(url));

	mesh_buf_printf(out, "%s", type < 0 ? url : mesh_ads_type_name((enum xds_type)type));
}

static void delta_text(struct buf *out, struct mesh_slice bytes)
{
	delta_request *request = envoy__service__discovery__v3__delta_discovery_request__unpack(NULL, bytes.len,
												(const uint8_t *)bytes.data);

	assert_non_null(request);
	add_type(out, request->type_url);
	add_list(out, " +", request->resource_names_subscribe, request->n_resource_names_subscribe);
	add_list(out, " -", request->resource_names_unsubscribe, request->n_resource_names_unsubscribe);
	for (size_t i = 0; i < request->n_initial_resource_versions; i++)
		mesh_buf_printf(out, "%s%s=%s", i ? "," : " held:", request->initial_resource_versions[i]->key,
				request->initial_resource_versions[i]->value);
	add_end(out, request->response_nonce, request->error_detail, request->node);
	envoy__service__discovery__v3__delta_discovery_request__free_unpacked(request, NULL);
}

static void sotw_text(struct buf *out, struct mesh_slice bytes)
{
	sotw_request *request = envoy__service__discovery__v3__discovery_request__unpack(NULL, bytes.len,
											 (const uint8_t *)bytes.data);

	assert_non_null(request);
	add_type(out, request->type_url);
	add_list(out, " names:", request->resource_names, request->n_resource_names);
	add_text(out, " version:", request->version_info);
	add_end(out, request->response_nonce, request->error_detail, request->node);
	envoy__service__discovery__v3__discovery_request__free_unpacked(request, NULL);
}

const char *xds_request_text(struct arena *arena, bool sotw, struct mesh_slice bytes)
{
	const char *text;
	struct buf out;

	mesh_buf_init(&out, &mesh_mem_default, 0);
	if (sotw)
		sotw_text(&out, bytes);
	else
		delta_text(&out, bytes);
	text = text_of(arena, mesh_buf_slice(&out));
	mesh_buf_free(&out);
	return text;
}

/* ---- resources ---- */

struct xds_resource xds_make_cluster(struct arena *arena, const char *version, const char *name)
{
	return xds_sample_json(arena, version,
			       "{" TYPE("envoy.config.cluster.v3.Cluster") ",\"name\":\"%s\",\"type\":\"EDS\",\"connectTimeout\":\"1s\","
			       "\"edsClusterConfig\":{\"edsConfig\":" ADS ",\"serviceName\":\"%s\"}}",
			       name, name);
}

struct xds_resource xds_make_bad_cluster(struct arena *arena, const char *version, const char *name)
{
	return xds_sample_json(arena, version,
			       "{" TYPE("envoy.config.cluster.v3.Cluster") ",\"name\":\"%s\",\"type\":\"EDS\",\"connectTimeout\":\"0s\","
			       "\"edsClusterConfig\":{\"edsConfig\":" ADS ",\"serviceName\":\"%s\"}}",
			       name, name);
}

struct xds_resource xds_make_endpoints(struct arena *arena, const char *version, const char *name)
{
	return xds_sample_json(arena, version,
			       "{" TYPE("envoy.config.endpoint.v3.ClusterLoadAssignment") ",\"clusterName\":\"%s\",\"endpoints\":[{"
			       "\"lbEndpoints\":[{\"endpoint\":{\"address\":{\"socketAddress\":{\"address\":\"10.0.0.1\","
			       "\"portValue\":80}}}}]}]}",
			       name);
}

struct xds_resource xds_make_listener(struct arena *arena, const char *version, const char *name, unsigned port, const char *routes)
{
	return xds_sample_json(
		arena, version,
		"{" TYPE("envoy.config.listener.v3.Listener") ",\"name\":\"%s\",\"address\":{\"socketAddress\":{\"address\":\"0.0.0.0\","
		"\"portValue\":%u}},\"filterChains\":[{\"filters\":[{\"name\":\"http\",\"typedConfig\":{" TYPE(
			"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager") ",\"statPrefix\":\"p\","
		"\"rds\":{\"routeConfigName\":\"%s\",\"configSource\":" ADS "},\"httpFilters\":[{\"name\":\"router\",\"typedConfig\":{" TYPE(
			"envoy.extensions.filters.http.router.v3.Router") "}}]}}]}]}",
		name, port, routes);
}

struct xds_resource xds_make_routes(struct arena *arena, const char *version, const char *name, const char *cluster)
{
	return xds_sample_json(arena, version,
			       "{" TYPE("envoy.config.route.v3.RouteConfiguration") ",\"name\":\"%s\",\"virtualHosts\":[{\"name\":\"all\","
			       "\"domains\":[\"*\"],\"routes\":[{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"%s\"}}]}]}",
			       name, cluster);
}
