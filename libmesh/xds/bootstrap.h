/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workload must know before it can join: who it is, where the control plane is, which files prove it. Taken from
 * options, else the environment as Istio's injector writes it, else Istio's default paths. Immutable afterwards.
 */
#ifndef MESH_XDS_BOOTSTRAP_H
#define MESH_XDS_BOOTSTRAP_H

#include <mesh/mesh.h>

#include "base/arena.h"
#include "base/why.h"

struct json_t;

struct bootstrap {
	const struct mesh_mem *mem;
	struct arena arena;
	const char *pod_name, *pod_namespace, *instance_ip, *service_account;
	const char *cluster_id, *trust_domain;
	const char *discovery_address;
	const char *discovery_name; /* TLS server name; NULL: plaintext (port 15010) */
	const char *ca_address;     /* NULL: certificate and key come from files */
	const char *ca_name;
	const char *token_file, *root_file;
	const char *cert_file, *key_file; /* both or none */
	bool sotw;
	unsigned warm; /* connections to keep to every endpoint of a cluster that is called */
	const char *locality; /* "region/zone/subzone": balance by zone; NULL: the workload does not ask for it */
	bool peak_ewma; /* least request goes by latency too */
	enum mesh_key_type key_type;
	uint32_t certificate_ttl_s;
	struct json_t *metadata; /* an object, the node metadata as istiod wants it */
};

/*
 * `environment`: "NAME=value" texts with NULL behind the last; NULL reads that of the process. Files that joining needs
 * (root, token or certificate and key) are tried once. MESH_ERROR_BOOTSTRAP with words that name the variable or file and
 * what was expected; NOMEM.
 */
int mesh_bootstrap_new(const struct mesh_mem *mem, const struct mesh_options *options, const char *const *environment,
		       struct bootstrap **bootstrap, struct why *why);
void mesh_bootstrap_free(struct bootstrap *bootstrap); /* NULL allowed */

#endif
