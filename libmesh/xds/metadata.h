/* SPDX-License-Identifier: Apache-2.0 */
/* The node metadata that istiod reads: labels and ISTIO_META_* of the environment, as one JSON object. */
#ifndef MESH_XDS_METADATA_H
#define MESH_XDS_METADATA_H

#include "base/mem.h"
#include "base/why.h"

struct json_t;

/* The value of a variable in "NAME=value" texts; NULL when unset or empty. */
const char *mesh_environment_get(const char *const *environment, const char *name);
/* Parses text that must be a JSON object. `name` is the variable, for the words. NULL with words. */
struct json_t *mesh_metadata_object(const char *name, const char *text, struct why *why);
/* Adds every ISTIO_META_<KEY> as text and every ISTIO_METAJSON_<KEY> as the JSON it is. BOOTSTRAP with words, NOMEM. */
int mesh_metadata_add_environment(struct json_t *metadata, const char *const *environment, struct why *why);
/* The same for PROXY_CONFIG.proxyMetadata, which the injector also puts into the environment of the sidecar. */
int mesh_metadata_add_proxy(struct json_t *metadata, const struct json_t *proxy_config, struct why *why);
/* {"key": "value"} from JSON text (an object of strings) or from a downward-API file (key="value" lines). */
int mesh_metadata_labels_json(const char *name, const char *text, struct json_t **labels, struct why *why);
int mesh_metadata_labels_file(const struct mesh_mem *mem, const char *path, struct json_t **labels, struct why *why);

#endif
