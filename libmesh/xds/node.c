/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what we are from the bootstrap, by way of JSON: the Node message for the control plane, and the metadata a TCP
 * connection begins with for the peer. Decides the id; refuses to read any source.
 */
#include "xds/node.h"

#include <jansson.h>

#include <mesh/error.h>
#include <mesh/version.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
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

/* ---- for a peer */

/* Members of the metadata, or of its labels, that a proxy of Istio passes on. */
static int copy_members(json_t *to, const json_t *from, const char *const *keys, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		json_t *value = json_object_get(from, keys[i]);

		if (json_is_string(value) && *json_string_value(value))
			rc = json_object_set(to, keys[i], value);
	}
	return rc;
}

static json_t *workload_json(const struct bootstrap *b)
{
	static const char *const members[] = {"NAME", "NAMESPACE", "OWNER", "WORKLOAD_NAME", "CLUSTER_ID", "REGION",
					      "AVAILABILITY_ZONE"};
	static const char *const labels[] = {"service.istio.io/canonical-name", "service.istio.io/canonical-revision", "app",
					     "version"};
	json_t *kept = json_object();
	json_t *workload = json_pack("{s:s+++++}", "IDENTITY", "spiffe://", b->trust_domain, "/ns/", b->pod_namespace, "/sa/",
				     b->service_account);

	if (!workload || !kept || copy_members(workload, b->metadata, members, sizeof(members) / sizeof(members[0])) ||
	    copy_members(kept, json_object_get(b->metadata, "LABELS"), labels, sizeof(labels) / sizeof(labels[0])) ||
	    json_object_set(workload, "LABELS", kept)) {
		json_decref(workload);
		workload = NULL;
	}
	json_decref(kept);
	return workload;
}

static int append_greeting(struct buf *out, struct mesh_slice object)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	unsigned char head[8] = {0x3d, 0x23, 0x04, 0x67};
	size_t len;
	char *room;

	any.type_url = (char *)"type.googleapis.com/google.protobuf.Struct";
	any.value.data = (uint8_t *)object.data;
	any.value.len = object.len;
	len = google__protobuf__any__get_packed_size(&any);
	for (unsigned i = 0; i < 4; i++)
		head[4 + i] = (unsigned char)(len >> (24 - 8 * i));
	room = mesh_buf_reserve(out, sizeof(head) + len);
	if (!room)
		return MESH_ERROR_NOMEM;
	memcpy(room, head, sizeof(head));
	google__protobuf__any__pack(&any, (uint8_t *)room + sizeof(head));
	mesh_buf_commit(out, sizeof(head) + len);
	return 0;
}

int mesh_node_greeting(const struct bootstrap *bootstrap, struct buf *out, struct why *why)
{
	json_t *node = node_json(bootstrap), *workload = workload_json(bootstrap);
	json_t *json = json_pack("{s:O*, s:O*}", "x-envoy-peer-metadata", workload, "x-envoy-peer-metadata-id",
				 json_object_get(node, "id"));
	struct buf object;
	int rc;

	mesh_buf_init(&object, bootstrap->mem, 0);
	rc = node && workload && json ? mesh_json_decode(&object, &google__protobuf__struct__descriptor, json, 0, why)
				      : MESH_ERROR_NOMEM;
	if (!rc)
		rc = append_greeting(out, mesh_buf_slice(&object));
	mesh_buf_free(&object);
	json_decref(json);
	json_decref(workload);
	json_decref(node);
	return rc;
}
