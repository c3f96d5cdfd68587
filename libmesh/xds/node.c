/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the Node message from the bootstrap, by way of its JSON form. Decides the id; refuses to read any source. */
#include "xds/node.h"

#include <jansson.h>

#include <mesh/error.h>
#include <mesh/version.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "xds/json.h"

/* As istiod and its tools take it apart; the domain names the namespace once more and is not where we run. */
#define DNS_DOMAIN "cluster.local"

static json_t *node_json(const struct bootstrap *b)
{
	json_t *labels = json_object_get(b->metadata, "LABELS");
	const char *app = json_string_value(json_object_get(labels, "service.istio.io/canonical-name"));

	if (!app)
		app = json_string_value(json_object_get(labels, "app"));
	return json_pack("{s:s+++++++++, s:s++, s:O, s:s, s:{s:{s:i, s:i, s:i}}}", "id", "sidecar~", b->instance_ip, "~",
			 b->pod_name, ".", b->pod_namespace, "~", b->pod_namespace, ".svc.", DNS_DOMAIN, "cluster",
			 app ? app : b->pod_name, ".", b->pod_namespace, "metadata", b->metadata, "userAgentName", "libmesh",
			 "userAgentBuildVersion", "version", "majorNumber", MESH_VERSION_NUMBER >> 16, "minorNumber",
			 MESH_VERSION_NUMBER >> 8 & 0xff, "patch", MESH_VERSION_NUMBER & 0xff);
}

int mesh_node_encode(const struct bootstrap *bootstrap, struct buf *out, struct why *why)
{
	json_t *json = node_json(bootstrap);
	int rc;

	if (!json)
		return mesh_why(why, MESH_ERROR_NOMEM, "no memory");
	rc = mesh_json_decode(out, &envoy__config__core__v3__node__descriptor, json, 0, why);
	json_decref(json);
	return rc;
}

/* What jansson cannot pass on by itself. */
struct dump {
	struct buf *out;
	int rc;
};

static int append(const char *text, size_t len, void *user)
{
	struct dump *dump = user;

	dump->rc = mesh_buf_append(dump->out, mesh_slice_make(text, len));
	return dump->rc ? -1 : 0;
}

int mesh_node_dump(const struct bootstrap *bootstrap, struct buf *out)
{
	json_t *json = json_pack("{s:o}", "node", node_json(bootstrap));
	struct dump dump = {out, MESH_ERROR_NOMEM};

	if (json && json_dump_callback(json, append, &dump, JSON_COMPACT) && !dump.rc)
		dump.rc = MESH_ERROR_NOMEM;
	json_decref(json);
	return dump.rc;
}
