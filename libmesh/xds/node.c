/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the Node message from the bootstrap, by way of its JSON form. Decides the id; refuses to read any source. */
#include "xds/node.h"

#include <jansson.h>

#include <mesh/version.h>

#include "xds/json.h"
#include "xds/type_registry.h"

static json_t *node_json(const struct bootstrap *b)
{
	json_t *labels = json_object_get(b->metadata, "LABELS");
	const char *app = json_string_value(json_object_get(labels, "service.istio.io/canonical-name"));

	if (!app)
		app = json_string_value(json_object_get(labels, "app"));
	return json_pack("{s:s++++++, s:s++, s:O, s:s, s:{s:{s:i, s:i, s:i}}, s:s}", "id", "sidecar~", b->instance_ip, "~",
			 b->pod_name, ".", b->pod_namespace, "~", "cluster", app ? app : b->pod_name, ".",
			 b->pod_namespace, "metadata", b->metadata, "userAgentName", "libmesh", "userAgentBuildVersion",
			 "version", "majorNumber", MESH_VERSION_MAJOR, "minorNumber", MESH_VERSION_MINOR, "patch",
			 MESH_VERSION_PATCH, "x", "x");
}
