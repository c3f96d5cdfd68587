/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are and where the control plane is: which source wins, what is missing or malformed and said so by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "support/file.h"
#include "support/wiped_mem.h"
#include "xds/bootstrap.h"
#include "xds/metadata.h"
#include "xds/node.h"

enum { VARIABLES_MAX = 32 };

static char folder[64], token[96], root[96], labels[96], cert[96], key[96];

struct fixture {
	struct mesh_options options;
	const char *environment[VARIABLES_MAX + 1];
	size_t count;
	char *made[VARIABLES_MAX]; /* to free */
	struct bootstrap *b;
	struct why why;
};

/* Replaces a variable of that name. */
static void set(struct fixture *f, const char *name, const char *value)
{
	size_t len = strlen(name), at = 0;

	while (at < f->count && (strncmp(f->made[at], name, len) || f->made[at][len] != '='))
		at++;
	assert_true(at < VARIABLES_MAX);
	if (at == f->count)
		f->count++;
	else
		free(f->made[at]);
	assert_true(asprintf(&f->made[at], "%s=%s", name, value) > 0);
	f->environment[at] = f->made[at];
}

/* As the injector would, with files that are there. */
static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->options.size = sizeof(f->options);
	set(f, "POD_NAME", "reviews-v1-5d8");
	set(f, "POD_NAMESPACE", "default");
	set(f, "INSTANCE_IP", "10.0.0.7");
	set(f, "SERVICE_ACCOUNT", "reviews");
	set(f, "LIBMESH_TOKEN_FILE", token);
	set(f, "LIBMESH_ROOT_CERT_FILE", root);
	set(f, "ISTIO_METAJSON_LABELS", "{\"app\":\"reviews\",\"version\":\"v1\"}");
}

static void end(struct fixture *f)
{
	mesh_bootstrap_free(f->b);
	for (size_t i = 0; i < f->count; i++)
		free(f->made[i]);
}

static int make(struct fixture *f)
{
	mesh_bootstrap_free(f->b);
	f->b = NULL;
	memset(&f->why, 0, sizeof(f->why));
	return mesh_bootstrap_new(&wiped_mem, &f->options, f->environment, &f->b, &f->why);
}

static void good(struct fixture *f)
{
	if (make(f))
		fail_msg("%s", f->why.text);
}

static void refused(struct fixture *f, const char *format, ...)
{
	char words[400];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	assert_int_equal(make(f), MESH_ERROR_BOOTSTRAP);
	assert_null(f->b);
	assert_string_equal(f->why.text, words);
}

static const char *meta(struct fixture *f, const char *name)
{
	return json_string_value(json_object_get(f->b->metadata, name));
}

/* ---- precedence ---- */

static void from_the_environment(void **state)
{
	struct fixture f;

	begin(&f);
	good(&f);
	assert_string_equal(f.b->pod_name, "reviews-v1-5d8");
	assert_string_equal(f.b->pod_namespace, "default");
	assert_string_equal(f.b->instance_ip, "10.0.0.7");
	assert_string_equal(f.b->service_account, "reviews");
	assert_string_equal(f.b->token_file, token);
	assert_string_equal(f.b->root_file, root);
	/* what is left to Istio's defaults */
	assert_string_equal(f.b->cluster_id, "Kubernetes");
	assert_string_equal(f.b->trust_domain, "cluster.local");
	assert_string_equal(f.b->discovery_address, "istiod.istio-system.svc:15012");
	assert_string_equal(f.b->discovery_name, "istiod.istio-system.svc");
	assert_string_equal(f.b->ca_address, "istiod.istio-system.svc:15012");
	assert_string_equal(f.b->ca_name, "istiod.istio-system.svc");
	assert_false(f.b->sotw);
	assert_int_equal(f.b->key_type, MESH_KEY_ECDSA_P256);
	assert_int_equal(f.b->certificate_ttl_s, 86400);
	assert_null(f.b->cert_file);
	set(&f, "ISTIO_META_CLUSTER_ID", "west");
	set(&f, "TRUST_DOMAIN", "example.org");
	set(&f, "PROXY_CONFIG", "{\"discoveryAddress\":\"istiod-rev.istio-system.svc:15012\"}");
	set(&f, "CA_ADDR", "ca.cert-manager.svc:443");
	set(&f, "LIBMESH_XDS_MODE", "sotw");
	set(&f, "SECRET_TTL", "1h30m0s");
	good(&f);
	assert_string_equal(f.b->cluster_id, "west");
	assert_string_equal(f.b->trust_domain, "example.org");
	assert_string_equal(f.b->discovery_address, "istiod-rev.istio-system.svc:15012");
	assert_string_equal(f.b->discovery_name, "istiod-rev.istio-system.svc");
	assert_string_equal(f.b->ca_address, "ca.cert-manager.svc:443");
	assert_string_equal(f.b->ca_name, "ca.cert-manager.svc");
	assert_true(f.b->sotw);
	assert_int_equal(f.b->certificate_ttl_s, 5400);
	end(&f);
}

static void options_win(void **state)
{
	struct fixture f;

	begin(&f);
	set(&f, "ISTIO_META_CLUSTER_ID", "west");
	set(&f, "TRUST_DOMAIN", "example.org");
	set(&f, "PROXY_CONFIG", "{\"discoveryAddress\":\"istiod-rev.istio-system.svc:15012\"}");
	set(&f, "CA_ADDR", "ca.cert-manager.svc:443");
	set(&f, "LIBMESH_XDS_MODE", "sotw");
	set(&f, "SECRET_TTL", "1h");
	set(&f, "LIBMESH_TOKEN_FILE", "/nowhere");
	set(&f, "LIBMESH_ROOT_CERT_FILE", "/nowhere");
	f.options.pod_name = "p";
	f.options.pod_namespace = "n";
	f.options.instance_ip = "2001:db8::1";
	f.options.service_account = "s";
	f.options.cluster_id = "east";
	f.options.trust_domain = "td";
	f.options.discovery_address = "127.0.0.1:4000";
	f.options.discovery_name = "istiod.test";
	f.options.ca_address = "[::1]:4001";
	f.options.token_file = token;
	f.options.root_cert_file = root;
	f.options.labels_json = "{\"from\":\"options\"}";
	f.options.xds_mode = MESH_XDS_DELTA;
	f.options.key_type = MESH_KEY_RSA_2048;
	f.options.certificate_ttl_s = 77;
	good(&f);
	assert_string_equal(f.b->pod_name, "p");
	assert_string_equal(f.b->pod_namespace, "n");
	assert_string_equal(f.b->instance_ip, "2001:db8::1");
	assert_string_equal(f.b->service_account, "s");
	assert_string_equal(f.b->cluster_id, "east");
	assert_string_equal(f.b->trust_domain, "td");
	assert_string_equal(f.b->discovery_address, "127.0.0.1:4000");
	assert_string_equal(f.b->discovery_name, "istiod.test");
	assert_string_equal(f.b->ca_address, "[::1]:4001");
	assert_string_equal(f.b->ca_name, "istiod.test");
	assert_string_equal(f.b->token_file, token);
	assert_string_equal(f.b->root_file, root);
	assert_false(f.b->sotw);
	assert_int_equal(f.b->key_type, MESH_KEY_RSA_2048);
	assert_int_equal(f.b->certificate_ttl_s, 77);
	/* also where istiod looks: what it checks against the token is never the environment's */
	assert_string_equal(meta(&f, "CLUSTER_ID"), "east");
	assert_string_equal(meta(&f, "NAMESPACE"), "n");
	assert_string_equal(json_string_value(json_object_get(json_object_get(f.b->metadata, "LABELS"), "from")), "options");
	assert_int_equal(json_object_size(json_object_get(f.b->metadata, "LABELS")), 1);
	/* an empty text is not set */
	f.options.pod_name = "";
	set(&f, "TRUST_DOMAIN", "");
	f.options.trust_domain = NULL;
	good(&f);
	assert_string_equal(f.b->pod_name, "reviews-v1-5d8");
	assert_string_equal(f.b->trust_domain, "cluster.local");
	f.options.xds_mode = MESH_XDS_SOTW;
	good(&f);
	assert_true(f.b->sotw);
	end(&f);
}

static void of_the_process(void **state)
{
	struct bootstrap *b = NULL;
	struct why why = {{0}};

	/* no options, no environment given: read from the process, which is no pod */
	clearenv();
	assert_int_equal(mesh_bootstrap_new(&wiped_mem, NULL, NULL, &b, &why), MESH_ERROR_BOOTSTRAP);
	assert_string_equal(why.text, "POD_NAME is not set: the pod's name was expected");
	setenv("POD_NAME", "p", 1);
	memset(&why, 0, sizeof(why));
	assert_int_equal(mesh_bootstrap_new(&wiped_mem, NULL, NULL, &b, &why), MESH_ERROR_BOOTSTRAP);
	assert_string_equal(why.text, "POD_NAMESPACE is not set: the pod's namespace was expected");
	assert_null(b);
}

/* ---- missing and malformed ---- */

static void names(void **state)
{
	static const struct {
		const char *variable, *expected;
		bool needed;
	} all[] = {
		{"POD_NAME", "the pod's name", true},
		{"POD_NAMESPACE", "the pod's namespace", true},
		{"SERVICE_ACCOUNT", "the pod's service account", true},
		{"ISTIO_META_CLUSTER_ID", "the name of the cluster", false},
		{"TRUST_DOMAIN", "a trust domain", false},
	};
	static const char *const bad[] = {"a b", "a/b", "a~b", "\xc3\xa4", "a\nb", "\"", "%s"};
	struct fixture f;
	char name[255];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		begin(&f);
		set(&f, all[i].variable, "");
		if (all[i].needed)
			refused(&f, "%s is not set: %s was expected", all[i].variable, all[i].expected);
		else
			good(&f);
		for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
			set(&f, all[i].variable, bad[j]);
			refused(&f, "%s is \"%s\": %s was expected", all[i].variable, bad[j], all[i].expected);
		}
		memset(name, 'a', 254);
		name[254] = '\0';
		set(&f, all[i].variable, name);
		refused(&f, "%s is \"%.100s\": %s was expected", all[i].variable, name, all[i].expected);
		name[253] = '\0';
		set(&f, all[i].variable, name);
		good(&f);
		end(&f);
	}
}

static void addresses(void **state)
{
	static const char *const bad[] = {"istiod", "istiod:", ":15012", "istiod:0", "istiod:65536", "istiod:15012x",
					  "::1:15012", "[::1:15012", "[istiod]:15012", "is tiod:15012", "http://istiod:15012",
					  "user@istiod:1", "istiod:-1", "[]:1"};
	static const char *const good_ones[] = {"istiod:1", "10.0.0.1:65535", "[2001:db8::1]:15012", "a-b_c.d:15012"};
	char proxy[200];
	struct fixture f;

	begin(&f);
	set(&f, "INSTANCE_IP", "");
	refused(&f, "INSTANCE_IP is not set: the pod's IP address was expected");
	set(&f, "INSTANCE_IP", "10.0.0");
	refused(&f, "INSTANCE_IP is \"10.0.0\": an IP address was expected");
	set(&f, "INSTANCE_IP", "reviews");
	refused(&f, "INSTANCE_IP is \"reviews\": an IP address was expected");
	set(&f, "INSTANCE_IP", "10.0.0.7");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(&f, "CA_ADDR", bad[i]);
		refused(&f, "CA_ADDR is \"%s\": host:port was expected", bad[i]);
		set(&f, "CA_ADDR", "");
		f.options.discovery_address = bad[i];
		refused(&f, "discovery address is \"%s\": host:port was expected", bad[i]);
		f.options.discovery_address = NULL;
		snprintf(proxy, sizeof(proxy), "{\"discoveryAddress\":\"%s\"}", bad[i]);
		set(&f, "PROXY_CONFIG", proxy);
		refused(&f, "PROXY_CONFIG: discoveryAddress is \"%s\": host:port was expected", bad[i]);
		set(&f, "PROXY_CONFIG", "");
	}
	for (size_t i = 0; i < sizeof(good_ones) / sizeof(good_ones[0]); i++) {
		f.options.discovery_address = good_ones[i];
		good(&f);
		assert_string_equal(f.b->discovery_address, good_ones[i]);
		assert_string_equal(f.b->ca_address, good_ones[i]);
		assert_string_equal(f.b->discovery_name, "istiod.istio-system.svc");
	}
	end(&f);
}

/* 15010 is istiod's plaintext port: asked for there, but a token is never sent to it. */
static void plaintext(void **state)
{
	struct fixture f;

	begin(&f);
	f.options.discovery_address = "istiod.istio-system.svc:15010";
	good(&f);
	assert_null(f.b->discovery_name);
	assert_string_equal(f.b->ca_address, "istiod.istio-system.svc:15012");
	assert_string_equal(f.b->ca_name, "istiod.istio-system.svc");
	f.options.discovery_address = "[::1]:15010";
	f.options.discovery_name = "istiod.test";
	good(&f);
	assert_null(f.b->discovery_name);
	assert_string_equal(f.b->ca_address, "[::1]:15012");
	assert_string_equal(f.b->ca_name, "istiod.test");
	set(&f, "CA_ADDR", "istiod:15010");
	refused(&f, "CA_ADDR is \"istiod:15010\": a port with TLS was expected, for a token is sent there");
	end(&f);
}

static void json_values(void **state)
{
	struct fixture f;
	char deep[700];

	begin(&f);
	set(&f, "ISTIO_METAJSON_LABELS", "{\"app\":");
	refused(&f, "ISTIO_METAJSON_LABELS: a JSON object was expected: line 1, column 7: unexpected token near end of file");
	set(&f, "ISTIO_METAJSON_LABELS", "[]");
	refused(&f, "ISTIO_METAJSON_LABELS: a JSON object was expected");
	set(&f, "ISTIO_METAJSON_LABELS", "{\"app\":1}");
	refused(&f, "ISTIO_METAJSON_LABELS: a JSON object of strings was expected, but \"app\" is no string");
	set(&f, "ISTIO_METAJSON_LABELS", "{\"a\":\"1\",\"a\":\"2\"}");
	refused(&f, "ISTIO_METAJSON_LABELS: a JSON object was expected: line 1, column 12: duplicate object key near '\"a\"'");
	set(&f, "ISTIO_METAJSON_LABELS", "{}");
	f.options.labels_json = "nonsense";
	assert_int_equal(make(&f), MESH_ERROR_BOOTSTRAP);
	assert_int_equal(strncmp(f.why.text, "labels_json: a JSON object was expected: line 1", 47), 0);
	f.options.labels_json = NULL;
	set(&f, "ISTIO_METAJSON_OWNERS", "{");
	assert_int_equal(make(&f), MESH_ERROR_BOOTSTRAP);
	assert_int_equal(strncmp(f.why.text, "ISTIO_METAJSON_OWNERS: JSON was expected: line 1", 48), 0);
	set(&f, "ISTIO_METAJSON_OWNERS", "1e999");
	assert_int_equal(make(&f), MESH_ERROR_BOOTSTRAP);
	set(&f, "ISTIO_METAJSON_OWNERS", "");
	set(&f, "ISTIO_META_BAD", "\xff");
	refused(&f, "ISTIO_META_BAD: UTF-8 text was expected");
	set(&f, "ISTIO_META_BAD", "");
	set(&f, "PROXY_CONFIG", "discoveryAddress: istiod:15012");
	assert_int_equal(make(&f), MESH_ERROR_BOOTSTRAP);
	assert_int_equal(strncmp(f.why.text, "PROXY_CONFIG: a JSON object was expected: line 1, column 1", 57), 0);
	set(&f, "PROXY_CONFIG", "{\"discoveryAddress\":15012}");
	refused(&f, "PROXY_CONFIG: discoveryAddress: host:port was expected");
	set(&f, "PROXY_CONFIG", "");
	/* deeper than the node can be written: found here, not when it is to be sent */
	memset(deep, '[', 300);
	memset(deep + 300, ']', 300);
	deep[600] = '\0';
	set(&f, "ISTIO_METAJSON_DEEP", deep);
	assert_int_equal(make(&f), MESH_ERROR_BOOTSTRAP);
	assert_non_null(strstr(f.why.text, "DEEP"));
	end(&f);
}

static void small_settings(void **state)
{
	static const char *const bad_ttl[] = {"24", "h", "-1h", "0s", "999ms", "1000000h", "x"};
	struct fixture f;

	begin(&f);
	set(&f, "LIBMESH_XDS_MODE", "delta");
	good(&f);
	assert_false(f.b->sotw);
	set(&f, "LIBMESH_XDS_MODE", "SOTW");
	refused(&f, "LIBMESH_XDS_MODE is \"SOTW\": delta or sotw was expected");
	set(&f, "LIBMESH_XDS_MODE", "");
	for (size_t i = 0; i < sizeof(bad_ttl) / sizeof(bad_ttl[0]); i++) {
		set(&f, "SECRET_TTL", bad_ttl[i]);
		refused(&f, "SECRET_TTL is \"%s\": a duration such as 24h was expected", bad_ttl[i]);
	}
	end(&f);
}

static void warm_connections(void **state)
{
	static const char *const bad[] = {"-1", "65", "two", "18446744073709551617"};
	struct fixture f;

	begin(&f);
	good(&f);
	assert_int_equal(f.b->warm, 0);
	set(&f, "LIBMESH_PRECONNECT", "64");
	good(&f);
	assert_int_equal(f.b->warm, 64);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(&f, "LIBMESH_PRECONNECT", bad[i]);
		refused(&f, "LIBMESH_PRECONNECT is \"%s\": a number of connections up to 64 was expected", bad[i]);
	}
	f.options.preconnect_count = 3; /* goes before the variable, whatever that says */
	good(&f);
	assert_int_equal(f.b->warm, 3);
	f.options.preconnect_count = 65;
	refused(&f, "preconnect_count is 65: a number of connections up to 64 was expected");
	end(&f);
}

/* What balancing goes by beyond configuration, each only where it is asked for. */
static void balancing(void **state)
{
	struct fixture f;

	begin(&f);
	good(&f);
	assert_false(f.b->peak_ewma);
	assert_null(f.b->locality);
	set(&f, "LIBMESH_PEAK_EWMA", "1");
	set(&f, "ISTIO_METAJSON_LABELS", "{\"istio-locality\":\"eu-1.zone-a.rack\"}");
	good(&f);
	assert_true(f.b->peak_ewma);
	assert_null(f.b->locality); /* a place alone is not enough */
	set(&f, "LIBMESH_PEAK_EWMA", "0");
	set(&f, "ISTIO_META_ENABLE_SELF_DISCOVERY", "true");
	good(&f);
	assert_false(f.b->peak_ewma);
	assert_string_equal(f.b->locality, "eu-1/zone-a/rack");
	set(&f, "ISTIO_METAJSON_LABELS", "{\"istio-locality\":\"eu.1/zone.a\"}");
	good(&f);
	assert_string_equal(f.b->locality, "eu.1/zone.a");
	set(&f, "ISTIO_METAJSON_LABELS", "{}");
	good(&f);
	assert_null(f.b->locality);
	set(&f, "LIBMESH_PEAK_EWMA", "yes");
	refused(&f, "LIBMESH_PEAK_EWMA is \"yes\": 0 or 1 was expected");
	f.options.peak_ewma = true;
	good(&f);
	assert_true(f.b->peak_ewma);
	end(&f);
}

static void files(void **state)
{
	struct fixture f;

	begin(&f);
	set(&f, "LIBMESH_TOKEN_FILE", "/nowhere/token");
	refused(&f, "token file /nowhere/token: cannot be opened: No such file or directory");
	set(&f, "LIBMESH_TOKEN_FILE", labels);
	file_write(labels, "");
	refused(&f, "token file %s: is empty", labels);
	set(&f, "LIBMESH_TOKEN_FILE", token);
	set(&f, "LIBMESH_ROOT_CERT_FILE", "/nowhere/root");
	refused(&f, "root certificate file /nowhere/root: cannot be opened: No such file or directory");
	set(&f, "LIBMESH_ROOT_CERT_FILE", folder);
	refused(&f, "root certificate file %s: is not a regular file", folder);
	set(&f, "LIBMESH_ROOT_CERT_FILE", root);
	if (geteuid() != 0) {
		assert_int_equal(chmod(root, 0), 0);
		refused(&f, "root certificate file %s: cannot be opened: Permission denied", root);
		assert_int_equal(chmod(root, 0600), 0);
	}
	/* a certificate of our own: both files, then no token and no authority is needed */
	f.options.cert_file = cert;
	refused(&f, "cert_file is set without key_file: a certificate and its key were expected");
	f.options.key_file = "/nowhere/key";
	refused(&f, "key file /nowhere/key: cannot be opened: No such file or directory");
	f.options.cert_file = NULL;
	refused(&f, "key_file is set without cert_file: a certificate and its key were expected");
	f.options.cert_file = "/nowhere/cert";
	f.options.key_file = key;
	refused(&f, "certificate file /nowhere/cert: cannot be opened: No such file or directory");
	f.options.cert_file = cert;
	set(&f, "LIBMESH_TOKEN_FILE", "/nowhere/token");
	good(&f);
	assert_string_equal(f.b->cert_file, cert);
	assert_string_equal(f.b->key_file, key);
	assert_null(f.b->ca_address);
	end(&f);
}

/* ---- labels ---- */

static const char *label(struct fixture *f, const char *name)
{
	return json_string_value(json_object_get(json_object_get(f->b->metadata, "LABELS"), name));
}

static void label_file(void **state)
{
	static const char *const bad[] = {"app", "app=reviews", "app=\"reviews", "=\"reviews\"", "app=\"a\"b\"", "app=\"a\\x\"",
					  "app=\"\\\"", "app=\"\xff\""};
	struct fixture f;
	char text[100];

	begin(&f);
	f.options.labels_file = labels;
	file_write(labels, "app=\"reviews\"\nversion=\"v1\"\r\n\nservice.istio.io/canonical-name=\"re\\\"v\\\\iews\"\nempty=\"\"");
	good(&f);
	assert_string_equal(label(&f, "app"), "reviews");
	assert_string_equal(label(&f, "version"), "v1");
	assert_string_equal(label(&f, "service.istio.io/canonical-name"), "re\"v\\iews");
	assert_string_equal(label(&f, "empty"), "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "good=\"1\"\n%s\n", bad[i]);
		file_write(labels, text);
		refused(&f, "labels file %s: line 2: key=\"value\" was expected", labels);
	}
	file_write(labels, ""); /* a pod without labels */
	good(&f);
	assert_int_equal(json_object_size(json_object_get(f.b->metadata, "LABELS")), 0);
	f.options.labels_file = "/nowhere/labels";
	refused(&f, "labels file /nowhere/labels: cannot be opened: No such file or directory");
	f.options.labels_json = "{\"app\":\"json\"}"; /* before the file */
	good(&f);
	assert_string_equal(label(&f, "app"), "json");
	/* without any */
	f.options.labels_json = f.options.labels_file = NULL;
	set(&f, "ISTIO_METAJSON_LABELS", "");
	if (access("/etc/istio/pod/labels", F_OK)) {
		good(&f);
		assert_int_equal(json_object_size(json_object_get(f.b->metadata, "LABELS")), 0);
	}
	end(&f);
}

/* ---- the node ---- */

static const Google__Protobuf__Value *field(const Google__Protobuf__Struct *object, const char *name)
{
	for (size_t i = 0; i < object->n_fields; i++)
		if (!strcmp(object->fields[i]->key, name))
			return object->fields[i]->value;
	fail_msg("%s is not in the metadata", name);
	return NULL;
}

static void assert_text(const Google__Protobuf__Struct *object, const char *name, const char *expected)
{
	const Google__Protobuf__Value *value = field(object, name);

	assert_int_equal(value->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);
	assert_string_equal(value->string_value, expected);
}

static Envoy__Config__Core__V3__Node *node_of(struct fixture *f)
{
	Envoy__Config__Core__V3__Node *node;
	struct buf packed;

	mesh_buf_init(&packed, &mesh_mem_default, 0);
	if (mesh_node_encode(f->b, &packed, &f->why))
		fail_msg("%s", f->why.text);
	node = envoy__config__core__v3__node__unpack(NULL, mesh_buf_len(&packed), (const uint8_t *)mesh_buf_slice(&packed).data);
	assert_non_null(node);
	mesh_buf_free(&packed);
	return node;
}

static void node_as_istiod_wants_it(void **state)
{
	const Google__Protobuf__Value *value;
	Envoy__Config__Core__V3__Node *node;
	struct fixture f;

	begin(&f);
	set(&f, "ISTIO_META_WORKLOAD_NAME", "reviews-v1");
	set(&f, "ISTIO_META_OWNER", "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1");
	set(&f, "ISTIO_META_MESH_ID", "mesh1");
	set(&f, "ISTIO_META_NETWORK", "net1");
	set(&f, "ISTIO_META_NODE_NAME", "worker-1");
	set(&f, "ISTIO_META_POD_PORTS", "[{\"containerPort\":9080}]");
	set(&f, "ISTIO_META_DNS_CAPTURE", "true");
	set(&f, "ISTIO_META_INTERCEPTION_MODE", "NONE");
	set(&f, "ISTIO_META_", "no name");
	set(&f, "ISTIO_METAJSON_ANNOTATIONS", "{\"a\":\"b\"}");
	set(&f, "ISTIO_METAJSON_NUMBER", "12.5");
	/* an environment cannot say that we are somebody else: istiod would refuse us */
	set(&f, "ISTIO_META_NAMESPACE", "kube-system");
	set(&f, "ISTIO_META_SERVICE_ACCOUNT", "admin");
	set(&f, "ISTIO_METAJSON_NAME", "\"other\"");
	set(&f, "UNRELATED", "not told");
	set(&f, "PROXY_CONFIG", "{\"proxyMetadata\":{\"ISTIO_META_REGION\":\"r1\",\"ISTIO_META_NETWORK\":\"lost\",\"OTHER\":\"x\"}}");
	good(&f);
	node = node_of(&f);
	assert_string_equal(node->id, "sidecar~10.0.0.7~reviews-v1-5d8.default~default.svc.cluster.local");
	assert_string_equal(node->cluster, "reviews.default");
	assert_string_equal(node->user_agent_name, "libmesh");
	assert_text(node->metadata, "NAME", "reviews-v1-5d8");
	assert_text(node->metadata, "NAMESPACE", "default");
	assert_text(node->metadata, "SERVICE_ACCOUNT", "reviews");
	assert_text(node->metadata, "CLUSTER_ID", "Kubernetes");
	assert_text(node->metadata, "INSTANCE_IPS", "10.0.0.7");
	assert_text(node->metadata, "WORKLOAD_NAME", "reviews-v1");
	assert_text(node->metadata, "OWNER", "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1");
	assert_text(node->metadata, "MESH_ID", "mesh1");
	assert_text(node->metadata, "NETWORK", "net1"); /* the environment before PROXY_CONFIG */
	assert_text(node->metadata, "REGION", "r1");
	assert_text(node->metadata, "NODE_NAME", "worker-1");
	assert_text(node->metadata, "POD_PORTS", "[{\"containerPort\":9080}]");
	assert_text(node->metadata, "DNS_CAPTURE", "true");
	assert_text(node->metadata, "INTERCEPTION_MODE", "REDIRECT");
	assert_int_not_equal(field(node->metadata, "ISTIO_VERSION")->string_value[0], '\0');
	value = field(node->metadata, "LABELS");
	assert_int_equal(value->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
	assert_text(value->struct_value, "app", "reviews");
	assert_text(field(node->metadata, "ANNOTATIONS")->struct_value, "a", "b");
	assert_true(field(node->metadata, "NUMBER")->number_value == 12.5);
	assert_int_equal(field(node->metadata, "PROXY_CONFIG")->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
	for (size_t i = 0; i < node->metadata->n_fields; i++)
		assert_null(strstr(node->metadata->fields[i]->key, "UNRELATED"));
	envoy__config__core__v3__node__free_unpacked(node, NULL);
	end(&f);
}

static void node_names_the_service(void **state)
{
	Envoy__Config__Core__V3__Node *node;
	struct fixture f;

	begin(&f);
	set(&f, "ISTIO_METAJSON_LABELS", "{\"app\":\"a\",\"service.istio.io/canonical-name\":\"canonical\"}");
	set(&f, "INSTANCE_IP", "2001:db8::1");
	good(&f);
	node = node_of(&f);
	assert_string_equal(node->cluster, "canonical.default");
	assert_string_equal(node->id, "sidecar~2001:db8::1~reviews-v1-5d8.default~default.svc.cluster.local");
	assert_text(node->metadata, "MESH_ID", "cluster.local");
	envoy__config__core__v3__node__free_unpacked(node, NULL);
	set(&f, "ISTIO_METAJSON_LABELS", "{}");
	set(&f, "ISTIO_META_ISTIO_VERSION", "1.27.3");
	good(&f);
	node = node_of(&f);
	assert_string_equal(node->cluster, "reviews-v1-5d8.default");
	assert_text(node->metadata, "ISTIO_VERSION", "1.27.3");
	envoy__config__core__v3__node__free_unpacked(node, NULL);
	end(&f);
}

static void node_dump(void **state)
{
	struct fixture f;
	struct buf out;
	json_t *json;

	begin(&f);
	good(&f);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_node_dump(f.b, &out), 0);
	json = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "node"), "id")),
			    "sidecar~10.0.0.7~reviews-v1-5d8.default~default.svc.cluster.local");
	json_decref(json);
	assert_false(mesh_slice_contains(mesh_buf_slice(&out), MESH_SLICE(WIPED_MEM_SECRET)));
	mesh_buf_free(&out);
	mesh_buf_init(&out, &mesh_mem_default, 10);
	assert_int_equal(mesh_node_dump(f.b, &out), MESH_ERROR_TOO_LARGE);
	mesh_buf_free(&out);
	end(&f);
}

static void variables(void **state)
{
	static const char *const environment[] = {"A=1", "AB=2", "EMPTY=", "NOTHING", "A=3", NULL};

	assert_string_equal(mesh_environment_get(environment, "A"), "1");
	assert_string_equal(mesh_environment_get(environment, "AB"), "2");
	assert_null(mesh_environment_get(environment, "EMPTY"));
	assert_null(mesh_environment_get(environment, "NOTHING"));
	assert_null(mesh_environment_get(environment, "B"));
	assert_null(mesh_environment_get(NULL, "A"));
}

static int make_files(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/mesh_bootstrap_test_XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(token, sizeof(token), "%s/token", folder);
	snprintf(root, sizeof(root), "%s/root", folder);
	snprintf(labels, sizeof(labels), "%s/labels", folder);
	snprintf(cert, sizeof(cert), "%s/cert", folder);
	snprintf(key, sizeof(key), "%s/key", folder);
	file_write(token, WIPED_MEM_SECRET);
	file_write(root, "root");
	file_write(cert, "cert");
	file_write(key, "-----BEGIN PRIVATE KEY-----");
	return 0;
}

static int drop_files(void **state)
{
	unlink(token);
	unlink(root);
	unlink(labels);
	unlink(cert);
	unlink(key);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_the_environment), cmocka_unit_test(options_win),	 cmocka_unit_test(of_the_process),
		cmocka_unit_test(names),		cmocka_unit_test(addresses),	 cmocka_unit_test(plaintext),
		cmocka_unit_test(json_values),		cmocka_unit_test(small_settings), cmocka_unit_test(balancing), cmocka_unit_test(warm_connections), cmocka_unit_test(files),
		cmocka_unit_test(label_file),		cmocka_unit_test(node_as_istiod_wants_it),
		cmocka_unit_test(node_names_the_service), cmocka_unit_test(node_dump), cmocka_unit_test(variables),
	};

	return cmocka_run_group_tests(tests, make_files, drop_files);
}
