/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out who we are and where the control plane is. Decides precedence (options, environment, default paths) and what
 * a usable value is; refuses to connect anywhere.
 */
#include "xds/bootstrap.h"

#include <jansson.h>
#include <unistd.h>

#include "base/address.h"
#include "base/text.h"
#include "control/file.h"
#include "xds/metadata.h"
#include "xds/node.h"

#define ISTIOD_NAME "istiod.istio-system.svc"
/* The release whose configuration we understand; istiod leaves out what a proxy of that version would not. */
#define ISTIO_VERSION "1.30.0"

enum { PLAINTEXT_PORT = 15010, TLS_PORT = 15012, DAY_S = 24 * 3600, NAME_BYTES_MAX = 253, WARM_MAX = 64 };

struct sources {
	const struct mesh_options *options;
	const char *const *environment;
	struct json_t *proxy_config; /* NULL: not set */
	struct why *why;
};

static int copy(struct bootstrap *b, const char *text, const char **into)
{
	*into = mesh_arena_slice(&b->arena, mesh_slice_of(text), NULL).data;
	return *into ? 0 : MESH_ERROR_NOMEM;
}

/* First of option, variable, default that is set; *into stays NULL when there is none. */
static int choose(struct bootstrap *b, const struct sources *from, const char *option, const char *variable,
		  const char *otherwise, const char **into)
{
	const char *text = option && *option ? option : mesh_environment_get(from->environment, variable);

	if (!text)
		text = otherwise;
	return text ? copy(b, text, into) : 0;
}

/* Names become parts of the node id and of identities, so nothing but what Kubernetes allows in them. */
static bool name_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		char c = mesh_char_lower(name[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
			return false;
	}
	return len > 0 && len <= NAME_BYTES_MAX;
}

static int take_name(struct bootstrap *b, const struct sources *from, const char *option, const char *variable,
		     const char *expected, const char *otherwise, const char **into)
{
	int rc = choose(b, from, option, variable, otherwise, into);

	if (rc)
		return rc;
	if (!*into)
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "%s is not set: %s was expected", variable, expected);
	if (!name_valid(*into))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "%s is \"%.100s\": %s was expected", variable, *into, expected);
	return 0;
}

static int take_ip(struct bootstrap *b, const struct sources *from)
{
	int rc = choose(b, from, from->options->instance_ip, "INSTANCE_IP", NULL, &b->instance_ip);
	struct address address;

	if (rc)
		return rc;
	if (!b->instance_ip)
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "INSTANCE_IP is not set: the pod's IP address was expected");
	if (mesh_address_parse(&address, mesh_slice_of(b->instance_ip), 0))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "INSTANCE_IP is \"%.100s\": an IP address was expected",
				b->instance_ip);
	return 0;
}

static int take_workload(struct bootstrap *b, const struct sources *from)
{
	const struct mesh_options *o = from->options;
	int rc = take_name(b, from, o->pod_name, "POD_NAME", "the pod's name", NULL, &b->pod_name);

	if (!rc)
		rc = take_name(b, from, o->pod_namespace, "POD_NAMESPACE", "the pod's namespace", NULL, &b->pod_namespace);
	if (!rc)
		rc = take_name(b, from, o->service_account, "SERVICE_ACCOUNT", "the pod's service account", NULL,
			       &b->service_account);
	if (!rc)
		rc = take_name(b, from, o->cluster_id, "ISTIO_META_CLUSTER_ID", "the name of the cluster", "Kubernetes",
			       &b->cluster_id);
	if (!rc)
		rc = take_name(b, from, o->trust_domain, "TRUST_DOMAIN", "a trust domain", "cluster.local", &b->trust_domain);
	return rc ? rc : take_ip(b, from);
}

/* ---- addresses */

/* Kubernetes service names are in the server's certificate; an IP or an outside name usually is not, istiod's always is. */
static int server_name(struct bootstrap *b, struct mesh_slice host, const char **name)
{
	if (!mesh_slice_suffix(host, MESH_SLICE(".svc")))
		return copy(b, ISTIOD_NAME, name);
	*name = mesh_arena_slice(&b->arena, host, NULL).data;
	return *name ? 0 : MESH_ERROR_NOMEM;
}

static int take_discovery(struct bootstrap *b, const struct sources *from, struct mesh_slice *host, uint16_t *port)
{
	const char *text = from->options->discovery_address, *source = "discovery address";
	json_t *configured = json_object_get(from->proxy_config, "discoveryAddress");
	int rc;

	if (configured && !json_is_string(configured))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "PROXY_CONFIG: discoveryAddress: host:port was expected");
	if ((!text || !*text) && configured) {
		text = json_string_value(configured);
		source = "PROXY_CONFIG: discoveryAddress";
	}
	rc = copy(b, text && *text ? text : ISTIOD_NAME ":15012", &b->discovery_address);
	if (rc)
		return rc;
	if (!mesh_address_split(mesh_slice_of(b->discovery_address), host, port))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "%s is \"%.100s\": host:port was expected", source,
				b->discovery_address);
	if (*port == PLAINTEXT_PORT)
		return 0;
	if (from->options->discovery_name && *from->options->discovery_name)
		return copy(b, from->options->discovery_name, &b->discovery_name);
	return server_name(b, *host, &b->discovery_name);
}

/* Next to a plaintext discovery port the authority is at the TLS port of the same host. */
static int default_ca(struct bootstrap *b, struct mesh_slice host, uint16_t port)
{
	bool v6 = mesh_slice_find(host, ':') >= 0;

	if (port != PLAINTEXT_PORT) {
		b->ca_address = b->discovery_address;
		return 0;
	}
	b->ca_address = mesh_arena_printf(&b->arena, "%s%.*s%s:%d", v6 ? "[" : "", (int)host.len, host.data, v6 ? "]" : "",
					  TLS_PORT).data;
	return b->ca_address ? 0 : MESH_ERROR_NOMEM;
}

static int take_ca(struct bootstrap *b, const struct sources *from, struct mesh_slice host, uint16_t port)
{
	const char *wanted = from->options->discovery_name;
	int rc = choose(b, from, from->options->ca_address, "CA_ADDR", NULL, &b->ca_address);

	if (!rc && !b->ca_address)
		rc = default_ca(b, host, port);
	if (rc)
		return rc;
	if (!mesh_address_split(mesh_slice_of(b->ca_address), &host, &port))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "CA_ADDR is \"%.100s\": host:port was expected", b->ca_address);
	if (port == PLAINTEXT_PORT)
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP,
				"CA_ADDR is \"%.100s\": a port with TLS was expected, for a token is sent there", b->ca_address);
	if (wanted && *wanted)
		return copy(b, wanted, &b->ca_name);
	return server_name(b, host, &b->ca_name);
}

/* ---- files and the rest */

static int try_file(const struct bootstrap *b, const char *path, const char *what, struct why *why)
{
	struct buf content;
	int rc;

	mesh_buf_init(&content, b->mem, 0);
	rc = mesh_file_read(path, what, &content, why);
	if (content.data)
		mesh_mem_wipe(content.data, content.room);
	mesh_buf_free(&content);
	return rc;
}

static int take_files(struct bootstrap *b, const struct sources *from)
{
	const struct mesh_options *o = from->options;
	int rc = choose(b, from, o->token_file, "LIBMESH_TOKEN_FILE", "/var/run/secrets/tokens/istio-token", &b->token_file);

	if (!rc)
		rc = choose(b, from, o->root_cert_file, "LIBMESH_ROOT_CERT_FILE", "/var/run/secrets/istio/root-cert.pem",
			    &b->root_file);
	if (!rc)
		rc = choose(b, from, o->cert_file, "", NULL, &b->cert_file);
	if (!rc)
		rc = choose(b, from, o->key_file, "", NULL, &b->key_file);
	if (!rc && !b->cert_file != !b->key_file)
		rc = mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "%s is set without %s: a certificate and its key were expected",
			      b->cert_file ? "cert_file" : "key_file", b->cert_file ? "key_file" : "cert_file");
	if (!rc)
		rc = try_file(b, b->root_file, "root certificate", from->why);
	if (!rc && !b->cert_file)
		return try_file(b, b->token_file, "token", from->why);
	if (!rc)
		rc = try_file(b, b->cert_file, "certificate", from->why);
	return rc ? rc : try_file(b, b->key_file, "key", from->why);
}

static int take_balancing(struct bootstrap *b, const struct sources *from)
{
	const char *text = mesh_environment_get(from->environment, "LIBMESH_PEAK_EWMA");

	b->peak_ewma = from->options->peak_ewma || (text && !strcmp(text, "1"));
	if (!text || !*text || b->peak_ewma || !strcmp(text, "0"))
		return 0;
	return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "LIBMESH_PEAK_EWMA is \"%.100s\": 0 or 1 was expected", text);
}

static int take_mode(struct bootstrap *b, const struct sources *from)
{
	const char *mode = mesh_environment_get(from->environment, "LIBMESH_XDS_MODE");

	b->sotw = from->options->xds_mode == MESH_XDS_SOTW;
	if (from->options->xds_mode != MESH_XDS_DEFAULT || !mode || !strcmp(mode, "delta"))
		return 0;
	b->sotw = !strcmp(mode, "sotw");
	if (b->sotw)
		return 0;
	return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "LIBMESH_XDS_MODE is \"%.100s\": delta or sotw was expected", mode);
}

static int take_warm(struct bootstrap *b, const struct sources *from)
{
	const char *text = mesh_environment_get(from->environment, "LIBMESH_PRECONNECT");
	uint64_t number = from->options->preconnect_count;

	if (number > WARM_MAX)
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "preconnect_count is %u: a number of connections up to %d was expected",
				from->options->preconnect_count, WARM_MAX);
	if (!number && text && (!mesh_slice_to_u64(mesh_slice_of(text), &number) || number > WARM_MAX))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP,
				"LIBMESH_PRECONNECT is \"%.100s\": a number of connections up to %d was expected", text, WARM_MAX);
	b->warm = (unsigned)number;
	return 0;
}

static int take_ttl(struct bootstrap *b, const struct sources *from)
{
	const char *text = mesh_environment_get(from->environment, "SECRET_TTL");
	int64_t ns = (int64_t)DAY_S * 1000000000;

	b->certificate_ttl_s = from->options->certificate_ttl_s;
	if (b->certificate_ttl_s)
		return 0;
	if (text && (!mesh_text_duration_ns(mesh_slice_of(text), &ns) || ns < 1000000000 || ns / 1000000000 > INT32_MAX))
		return mesh_why(from->why, MESH_ERROR_BOOTSTRAP, "SECRET_TTL is \"%.100s\": a duration such as 24h was expected",
				text);
	b->certificate_ttl_s = (uint32_t)(ns / 1000000000);
	return 0;
}

/* ---- metadata */

static int take_labels(struct bootstrap *b, const struct sources *from, json_t **labels)
{
	static const char default_file[] = "/etc/istio/pod/labels";
	const char *text = from->options->labels_json, *file = from->options->labels_file;

	if (text && *text)
		return mesh_metadata_labels_json("labels_json", text, labels, from->why);
	if (file && *file)
		return mesh_metadata_labels_file(b->mem, file, labels, from->why);
	text = mesh_environment_get(from->environment, "ISTIO_METAJSON_LABELS");
	if (text)
		return mesh_metadata_labels_json("ISTIO_METAJSON_LABELS", text, labels, from->why);
	if (!access(default_file, F_OK))
		return mesh_metadata_labels_file(b->mem, default_file, labels, from->why);
	*labels = json_object();
	return *labels ? 0 : MESH_ERROR_NOMEM;
}

static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) ? MESH_ERROR_NOMEM : 0;
}

static int set_default(json_t *object, const char *key, const char *text)
{
	return json_object_get(object, key) ? 0 : set(object, key, json_string(text));
}

/* The keys that istiod checks against our token come from the bootstrap, whatever the environment says elsewhere. */
static int add_own(struct bootstrap *b, const struct sources *from, json_t *labels)
{
	json_t *metadata = b->metadata;
	int rc = set(metadata, "LABELS", json_incref(labels));

	rc = rc ? rc : set(metadata, "NAME", json_string(b->pod_name));
	rc = rc ? rc : set(metadata, "NAMESPACE", json_string(b->pod_namespace));
	rc = rc ? rc : set(metadata, "SERVICE_ACCOUNT", json_string(b->service_account));
	rc = rc ? rc : set(metadata, "CLUSTER_ID", json_string(b->cluster_id));
	rc = rc ? rc : set(metadata, "INSTANCE_IPS", json_string(b->instance_ip));
	/* nothing is intercepted: this asks for the view with inbound chains per port, which we apply ourselves */
	rc = rc ? rc : set(metadata, "INTERCEPTION_MODE", json_string("REDIRECT"));
	rc = rc ? rc : set_default(metadata, "ISTIO_VERSION", ISTIO_VERSION);
	rc = rc ? rc : set_default(metadata, "MESH_ID", b->trust_domain);
	if (!rc && from->proxy_config)
		rc = set(metadata, "PROXY_CONFIG", json_incref(from->proxy_config));
	if (!rc && b->discovery_name)
		rc = set(metadata, "PILOT_SAN", json_pack("[s]", b->discovery_name));
	return rc;
}

static int take_metadata(struct bootstrap *b, const struct sources *from)
{
	json_t *labels = NULL;
	int rc;

	b->metadata = json_object();
	rc = b->metadata ? take_labels(b, from, &labels) : MESH_ERROR_NOMEM;
	if (!rc && from->proxy_config)
		rc = mesh_metadata_add_proxy(b->metadata, from->proxy_config, from->why);
	if (!rc)
		rc = mesh_metadata_add_environment(b->metadata, from->environment, from->why);
	if (!rc)
		rc = add_own(b, from, labels);
	json_decref(labels);
	return rc;
}

/*
 * Zones matter where the workload asks for its own cluster (ISTIO_META_ENABLE_SELF_DISCOVERY) and knows where it is: the
 * label istio-locality, as Istio's agent reads it: with dots where it has no slash.
 */
static int take_zone(struct bootstrap *b)
{
	static const char variable[] = "ISTIO_META_ENABLE_SELF_DISCOVERY";
	const json_t *asked = json_object_get(b->metadata, variable + strlen("ISTIO_META_"));
	const json_t *where = json_object_get(json_object_get(b->metadata, "LABELS"), "istio-locality");
	struct mesh_slice text = mesh_slice_of(json_string_value(where) ? json_string_value(where) : "");
	bool slashes = text.len && memchr(text.data, '/', text.len);
	struct mesh_slice copied;
	bool failed = false;

	if (!text.len || !(json_is_true(asked) || (json_is_string(asked) && !strcmp(json_string_value(asked), "true"))))
		return 0;
	copied = mesh_arena_slice(&b->arena, text, &failed);
	if (failed)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < copied.len && !slashes; i++)
		if (copied.data[i] == '.')
			((char *)copied.data)[i] = '/';
	b->locality = copied.data;
	return 0;
}

/* What cannot be told to the control plane is found here, where there are words for it. */
static int try_node(const struct bootstrap *b, struct why *why)
{
	struct buf node;
	int rc;

	mesh_buf_init(&node, b->mem, 0);
	rc = mesh_node_encode(b, &node, why);
	mesh_buf_free(&node);
	return rc == MESH_ERROR_NOMEM ? rc : rc ? MESH_ERROR_BOOTSTRAP : 0;
}

static int fill(struct bootstrap *b, const struct sources *from)
{
	struct mesh_slice host;
	uint16_t port;
	int rc = take_workload(b, from);

	if (!rc)
		rc = take_discovery(b, from, &host, &port);
	if (!rc)
		rc = take_files(b, from);
	if (!rc && !b->cert_file)
		rc = take_ca(b, from, host, port);
	if (!rc)
		rc = take_mode(b, from);
	if (!rc)
		rc = take_balancing(b, from);
	if (!rc)
		rc = take_ttl(b, from);
	if (!rc)
		rc = take_warm(b, from);
	b->key_type = from->options->key_type;
	if (!rc)
		rc = take_metadata(b, from);
	if (!rc)
		rc = take_zone(b);
	return rc ? rc : try_node(b, from->why);
}

int mesh_bootstrap_new(const struct mesh_mem *mem, const struct mesh_options *options, const char *const *environment,
		       struct bootstrap **bootstrap, struct why *why)
{
	static const struct mesh_options none = {.size = sizeof(none)};
	struct sources from = {
		.options = options ? options : &none,
		.environment = environment ? environment : (const char *const *)environ,
		.why = why,
	};
	struct bootstrap *b = mesh_mem_zalloc(mem, sizeof(*b));
	const char *text;
	int rc = 0;

	if (!b)
		return mesh_why(why, MESH_ERROR_NOMEM, "no memory");
	b->mem = mem;
	mesh_arena_init(&b->arena, mem, 0);
	text = mesh_environment_get(from.environment, "PROXY_CONFIG");
	if (text) {
		from.proxy_config = mesh_metadata_object("PROXY_CONFIG", text, why);
		rc = from.proxy_config ? 0 : MESH_ERROR_BOOTSTRAP;
	}
	if (!rc)
		rc = fill(b, &from);
	json_decref(from.proxy_config);
	if (rc) {
		mesh_bootstrap_free(b);
		return mesh_why(why, rc, "no memory");
	}
	*bootstrap = b;
	return 0;
}

void mesh_bootstrap_free(struct bootstrap *bootstrap)
{
	if (!bootstrap)
		return;
	json_decref(bootstrap->metadata);
	mesh_arena_free(&bootstrap->arena);
	mesh_mem_free(bootstrap->mem, bootstrap);
}
