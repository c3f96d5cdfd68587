/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread as a whole, with a control plane and an authority that do what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <mesh/error.h>

#include "security/v1alpha1/ca.pb-c.h"
#include "support/dns_server.h"
#include "support/file.h"
#include "support/scripted_control.h"
#include "support/test_ca.h"
#include "support/wiped_mem.h"
#include "support/xds_response.h"
#include "xds/client.h"

#define ADS_METHOD "DiscoveryService"
#define CA_METHOD  "CertificateService"
#define SPIFFE_ID  "spiffe://cluster.local/ns/default/sa/reviews"
#define TOKEN	   WIPED_MEM_SECRET

struct fixture {
	char folder[64], token_file[96], root_file[96];
	struct log log;
	struct {
		pthread_mutex_t lock;
		char text[65536];
	} logged;
	struct arena arena;
	struct test_ca ca;
	struct scripted_control script;
	struct publisher publisher;
	struct xds_client_options options;
	bool sotw;
	struct xds_client *client;
	struct control_stream *ads;
	unsigned nonce;
	char nonce_text[16];
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	struct fixture *f = user;
	size_t used;

	pthread_mutex_lock(&f->logged.lock);
	used = strlen(f->logged.text);
	snprintf(f->logged.text + used, sizeof(f->logged.text) - used, "%s: %s\n", subject, text);
	pthread_mutex_unlock(&f->logged.lock);
}

static bool was_logged(struct fixture *f, const char *text)
{
	bool found;

	pthread_mutex_lock(&f->logged.lock);
	found = strstr(f->logged.text, text);
	pthread_mutex_unlock(&f->logged.lock);
	return found;
}

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->folder, sizeof(f->folder), "/tmp/mesh_client_test_XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->token_file, sizeof(f->token_file), "%s/token", f->folder);
	snprintf(f->root_file, sizeof(f->root_file), "%s/root.pem", f->folder);
	pthread_mutex_init(&f->logged.lock, NULL);
	f->log = (struct log){log_line, f, MESH_LOG_DEBUG};
	mesh_arena_init(&f->arena, &mesh_mem_default, 0);
	test_ca_make(&f->ca);
	file_write(f->token_file, TOKEN "\n");
	file_write(f->root_file, f->ca.root_pem);
	scripted_control_init(&f->script);
	assert_int_equal(mesh_publisher_init(&f->publisher), 0);
	f->options = (struct xds_client_options){.mem = &wiped_mem, .log = &f->log, .publisher = &f->publisher,
						 .control = &f->script.ops, .backoff_base_ms = 1, .backoff_max_ms = 4};
}

static void start(struct fixture *f)
{
	static const char *const nothing[] = {NULL};
	struct mesh_options options = {.size = sizeof(options), .pod_name = "reviews-1", .pod_namespace = "default",
				       .service_account = "reviews", .instance_ip = "10.0.0.7", .token_file = f->token_file,
				       .root_cert_file = f->root_file, .labels_json = "{}",
				       .xds_mode = f->sotw ? MESH_XDS_SOTW : MESH_XDS_DELTA};
	struct why why = {{0}};

	if (mesh_bootstrap_new(&wiped_mem, &options, nothing, &f->options.bootstrap, &why))
		fail_msg("%s", why.text);
	assert_int_equal(mesh_xds_client_start(&f->options, &f->client), 0);
}

static void end(struct fixture *f)
{
	mesh_xds_client_stop(f->client);
	assert_true(scripted_control_clean(&f->script));
	scripted_control_free(&f->script);
	mesh_publisher_destroy(&f->publisher);
	mesh_arena_free(&f->arena);
	test_ca_free(&f->ca);
	assert_false(was_logged(f, TOKEN));
	assert_false(was_logged(f, "PRIVATE KEY"));
	pthread_mutex_destroy(&f->logged.lock);
	unlink(f->token_file);
	unlink(f->root_file);
	rmdir(f->folder);
}

/* ---- the authority ---- */

static void answer_csr(struct fixture *f, struct control_stream *stream, const struct test_leaf *leaf)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	Istio__V1__Auth__IstioCertificateRequest *request;
	char *list[2] = {NULL, f->ca.root_pem}, *room;
	struct mesh_slice bytes;

	assert_non_null(stream);
	assert_true(scripted_wait_sent(stream, &bytes));
	request = istio__v1__auth__istio_certificate_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
	assert_non_null(request);
	test_ca_sign(&f->ca, leaf, request->csr, &list[0]);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	response.cert_chain = list;
	response.n_cert_chain = 2;
	room = malloc(istio__v1__auth__istio_certificate_response__get_packed_size(&response));
	bytes = mesh_slice_make(room, istio__v1__auth__istio_certificate_response__pack(&response, (uint8_t *)room));
	scripted_say(stream, bytes);
	scripted_end(stream, CONTROL_OK, "");
	free(room);
	free(list[0]);
}

static void give_certificate(struct fixture *f)
{
	const struct test_leaf leaf = {.uri = SPIFFE_ID};

	answer_csr(f, scripted_wait_open(&f->script, CA_METHOD), &leaf);
}

/* ---- the control plane ---- */

static void connect_ads(struct fixture *f)
{
	f->ads = scripted_wait_open(&f->script, ADS_METHOD);
	assert_non_null(f->ads);
}

static void expect_request(struct fixture *f, const char *expected)
{
	struct mesh_slice bytes;

	if (!scripted_wait_sent(f->ads, &bytes))
		fail_msg("no request, %s was expected", expected);
	assert_string_equal(xds_request_text(&f->arena, f->sotw, bytes), expected);
}

static void say(struct fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count,
		const char *const *removed)
{
	struct xds_response response = {.sotw = f->sotw, .type = type, .nonce = f->nonce_text, .version = "1",
					.resources = resources, .count = count, .removed = removed};

	snprintf(f->nonce_text, sizeof(f->nonce_text), "n%u", ++f->nonce);
	scripted_say(f->ads, xds_response_pack(&f->arena, &response));
}

static void say_one(struct fixture *f, enum xds_type type, struct xds_resource resource)
{
	say(f, type, &resource, 1, NULL);
}

/* One cluster, one listener, all they name, over a stream that begins. */
static void give_configuration(struct fixture *f)
{
	connect_ads(f);
	expect_request(f, "cds node");
	expect_request(f, "lds");
	say_one(f, XDS_CLUSTER, xds_make_cluster(&f->arena, "1", "a"));
	expect_request(f, "cds nonce:n1");
	expect_request(f, "eds +a");
	say_one(f, XDS_ENDPOINT, xds_make_endpoints(&f->arena, "1", "a"));
	expect_request(f, "eds nonce:n2");
	say_one(f, XDS_LISTENER, xds_make_listener(&f->arena, "1", "l", 80, "80"));
	expect_request(f, "lds nonce:n3");
	expect_request(f, "rds +80");
	say_one(f, XDS_ROUTE, xds_make_routes(&f->arena, "1", "80", "a"));
	expect_request(f, "rds nonce:n4");
}

static void begin_ready_settling(struct fixture *f, uint32_t settle_ms)
{
	begin(f);
	f->options.settle_ms = settle_ms;
	start(f);
	give_certificate(f);
	give_configuration(f);
	assert_int_equal(mesh_xds_client_wait(f->client, 20000, NULL), 0);
}

static void begin_ready(struct fixture *f)
{
	begin_ready_settling(f, 0);
}

/* A transport socket with a certificate the control plane is to serve. */
#define TLS(side, secret)                                                                                             \
	"'transportSocket': {'name': 'envoy.transport_sockets.tls', 'typedConfig': {"                                  \
	" '@type': 'envoy.extensions.transport_sockets.tls.v3." side "TlsContext', 'commonTlsContext': {"              \
	"  'tlsCertificateSdsSecretConfigs': [{'name': '" secret "', 'sdsConfig': {'ads': {}}}]}}}"

static struct xds_resource tls_cluster(struct fixture *f, const char *version, const char *name)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'type': 'STATIC', "
			       "'connectTimeout': '1s', " TLS("Upstream", "kubernetes://never") "}",
			       name);
}

/* A listener with a policy that denies everyone. */
static struct xds_resource denying_listener(struct fixture *f, const char *version, const char *name, const char *tls)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.listener.v3.Listener', 'name': '%s',"
			       " 'address': {'socketAddress': {'address': '0.0.0.0', 'portValue': 9000}},"
			       " 'filterChains': [{'filters': [{'name': 'rbac', 'typedConfig': {"
			       "  '@type': 'envoy.extensions.filters.network.rbac.v3.RBAC', 'statPrefix': 'p',"
			       "  'rules': {'action': 'DENY', 'policies': {'all': {'permissions': [{'any': true}],"
			       "   'principals': [{'any': true}]}}}}},"
			       " {'name': 'tcp', 'typedConfig': {"
			       "  '@type': 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', 'statPrefix': 'p',"
			       "  'cluster': 'a'}}]%s%s}]}",
			       name, tls[0] ? ", " : "", tls);
}

/* ---- what others see ---- */

static void waits_for(struct fixture *f, int error, const char *words)
{
	struct why why = {{0}};

	assert_int_equal(mesh_xds_client_wait(f->client, 0, &why), error);
	assert_string_equal(why.text, words);
	memset(&why, 0, sizeof(why));
	assert_int_equal(mesh_xds_client_status(f->client, &why), error);
	assert_string_equal(why.text, words);
}

/* The thread is another: until it has got so far. */
static void comes_to(struct fixture *f, int error, const char *words)
{
	struct why why;
	int rc = 0;

	for (int i = 0; i < 20000; i++) {
		memset(&why, 0, sizeof(why));
		rc = mesh_xds_client_status(f->client, &why);
		if (rc == error && !strcmp(why.text, words))
			return;
		usleep(1000);
	}
	fail_msg("%d \"%s\", expected %d \"%s\"", rc, why.text, error, words);
}

static struct snapshot *next_snapshot(struct fixture *f, uint64_t after)
{
	for (int i = 0; i < 20000; i++) {
		struct snapshot *snapshot = mesh_publisher_get(&f->publisher);

		if (snapshot && snapshot->version > after)
			return snapshot;
		mesh_snapshot_release(snapshot);
		usleep(1000);
	}
	fail_msg("no snapshot after %llu", (unsigned long long)after);
	return NULL;
}

/* The next one in force that holds a listener of that name. */
static struct snapshot *snapshot_with_listener(struct fixture *f, const char *name)
{
	struct snapshot *snapshot = next_snapshot(f, 0);

	while (!mesh_table_get(snapshot->listeners, mesh_slice_of(name))) {
		uint64_t version = snapshot->version;

		mesh_snapshot_release(snapshot);
		snapshot = next_snapshot(f, version);
	}
	return snapshot;
}

static unsigned long long stat_of(struct fixture *f, const char *name)
{
	unsigned long long value = 0;
	struct buf out;
	char *at;

	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_xds_client_stats(f->client, &out), 0);
	assert_int_equal(mesh_buf_append(&out, mesh_slice_make("", 1)), 0);
	at = strstr(out.data, name);
	assert_non_null(at);
	assert_int_equal(sscanf(at + strlen(name), ": %llu", &value), 1);
	mesh_buf_free(&out);
	return value;
}

static void reaches(struct fixture *f, const char *name, unsigned long long value)
{
	for (int i = 0; i < 20000 && stat_of(f, name) != value; i++)
		usleep(1000);
	assert_int_equal(stat_of(f, name), value);
}

/* ---- tests ---- */

static void ready_with_configuration_and_certificate(void **state)
{
	struct snapshot *snapshot;
	struct fixture f;

	begin(&f);
	start(&f);
	waits_for(&f, MESH_ERROR_TIMEOUT, "waiting for the first whole configuration");
	assert_null(mesh_publisher_get(&f.publisher));
	give_configuration(&f);
	comes_to(&f, MESH_ERROR_TIMEOUT, "waiting for the certificate");
	assert_null(mesh_publisher_get(&f.publisher)); /* whole, but nothing to prove ourselves with */
	give_certificate(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	waits_for(&f, 0, "");
	snapshot = mesh_publisher_get(&f.publisher);
	assert_true(snapshot->complete);
	assert_int_equal(snapshot->version, 1);
	assert_non_null(mesh_snapshot_secret(snapshot, MESH_SLICE("default"))->key_pem.data);
	assert_non_null(mesh_snapshot_secret(snapshot, MESH_SLICE("ROOTCA"))->roots_pem.data);
	assert_non_null(mesh_table_get(snapshot->clusters, MESH_SLICE("a")));
	assert_non_null(mesh_table_get(snapshot->endpoints, MESH_SLICE("a")));
	assert_non_null(mesh_table_get(snapshot->listeners, MESH_SLICE("l")));
	assert_non_null(mesh_table_get(snapshot->routes, MESH_SLICE("80")));
	mesh_snapshot_release(snapshot);
	end(&f);
}

static void certificate_first(void **state)
{
	struct fixture f;

	begin(&f);
	start(&f);
	give_certificate(&f);
	reaches(&f, "control_plane.certificates", 1);
	waits_for(&f, MESH_ERROR_TIMEOUT, "waiting for the first whole configuration");
	give_configuration(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	end(&f);
}

static void credentials_go_where_they_should(void **state)
{
	struct control_stream *ca;
	struct fixture f;

	begin(&f);
	start(&f);
	connect_ads(&f);
	assert_string_equal(f.ads->address, "istiod.istio-system.svc:15012");
	assert_string_equal(f.ads->server_name, "istiod.istio-system.svc");
	assert_string_equal(f.ads->roots_pem, f.ca.root_pem);
	assert_string_equal(f.ads->headers, "authorization: Bearer " TOKEN "\nclusterid: Kubernetes\n");
	assert_null(f.ads->chain_pem);
	assert_null(f.ads->key_pem);
	assert_int_equal(f.ads->timeout_ms, 0);
	ca = scripted_wait_open(&f.script, CA_METHOD);
	assert_string_equal(ca->method, "/istio.v1.auth.IstioCertificateService/CreateCertificate");
	assert_string_equal(ca->address, "istiod.istio-system.svc:15012");
	assert_string_equal(ca->headers, "authorization: Bearer " TOKEN "\nclusterid: Kubernetes\n");
	assert_int_equal(ca->timeout_ms, 20000);
	assert_int_equal(ca->message_bytes_max, 1024 * 1024);
	/* the token is another one by the next connect */
	file_write(f.token_file, "second-token");
	scripted_end(f.ads, CONTROL_UNAVAILABLE, "gone");
	connect_ads(&f);
	assert_string_equal(f.ads->headers, "authorization: Bearer second-token\nclusterid: Kubernetes\n");
	scripted_end(ca, CONTROL_UNAVAILABLE, "gone");
	ca = scripted_wait_open(&f.script, CA_METHOD);
	assert_string_equal(ca->headers, "authorization: Bearer second-token\nclusterid: Kubernetes\n");
	end(&f);
}

static void refused_identity(void **state)
{
	static const int statuses[] = {CONTROL_UNAUTHENTICATED, CONTROL_PERMISSION_DENIED};
	struct control_stream *ca;
	char words[256];
	struct fixture f;

	for (size_t i = 0; i < 2; i++) {
		begin(&f);
		start(&f);
		connect_ads(&f);
		scripted_end(f.ads, statuses[i], "no such workload");
		snprintf(words, sizeof(words),
			 "discovery stream to istiod.istio-system.svc:15012: refused our identity (status %d): no such workload",
			 statuses[i]);
		comes_to(&f, MESH_ERROR_CONTROL_AUTH, words);
		give_configuration(&f); /* and served later all the same */
		comes_to(&f, MESH_ERROR_TIMEOUT, "waiting for the certificate");
		ca = scripted_wait_open(&f.script, CA_METHOD);
		scripted_end(ca, statuses[i], "not authorized");
		snprintf(words, sizeof(words),
			 "certificate request to istiod.istio-system.svc:15012: refused our identity (status %d): not authorized",
			 statuses[i]);
		comes_to(&f, MESH_ERROR_CONTROL_AUTH, words);
		give_certificate(&f);
		assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
		end(&f);
	}
}

static void unreachable_then_back(void **state)
{
	struct fixture f;

	begin(&f);
	start(&f);
	for (unsigned i = 0; i < 5; i++) {
		connect_ads(&f);
		scripted_end(f.ads, CONTROL_UNAVAILABLE, "connection refused");
		assert_true(scripted_wait_closed(f.ads));
	}
	comes_to(&f, MESH_ERROR_CONTROL_PLANE,
		 "discovery stream to istiod.istio-system.svc:15012: failed (status 14): connection refused");
	assert_true(stat_of(&f, "control_plane.connects") >= 5);
	assert_int_equal(stat_of(&f, "control_plane.disconnects"), 0); /* it never was connected */
	give_certificate(&f);
	give_configuration(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	assert_int_equal(stat_of(&f, "control_plane.connected_state"), 1);
	end(&f);
}

/* Credentials that cannot be read: words that name the file, then tried again. */
static void token_goes_away(void **state)
{
	char words[256];
	struct fixture f;

	begin(&f);
	start(&f);
	connect_ads(&f);
	file_write(f.token_file, " \n");
	scripted_end(f.ads, CONTROL_UNAVAILABLE, "");
	snprintf(words, sizeof(words), "token file %s: is empty", f.token_file);
	comes_to(&f, MESH_ERROR_BOOTSTRAP, words);
	file_write(f.token_file, "two words");
	snprintf(words, sizeof(words), "token file %s: holds no token (one word without spaces)", f.token_file);
	comes_to(&f, MESH_ERROR_BOOTSTRAP, words);
	assert_false(was_logged(&f, "two words"));
	file_write(f.token_file, TOKEN);
	give_certificate(&f);
	give_configuration(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	end(&f);
}

/* Losing the control plane changes nothing, and coming back is a matter of versions. */
static void cut_off_and_back(void **state)
{
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready(&f);
	before = mesh_publisher_get(&f.publisher);
	scripted_control_fail(&f.script, MESH_ERROR_SYSTEM, 0);
	scripted_end(f.ads, CONTROL_UNAVAILABLE, "max_age");
	assert_true(scripted_wait_refused(&f.script, 3)); /* tried again and again */
	comes_to(&f, 0, "ready, but cut off from the control plane: istiod.istio-system.svc:15012: the operating system refused");
	assert_int_equal(mesh_xds_client_wait(f.client, 0, NULL), 0);
	now = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(now, before);
	mesh_snapshot_release(now);
	assert_int_equal(stat_of(&f, "control_plane.connected_state"), 0);
	assert_int_equal(stat_of(&f, "control_plane.disconnects"), 1);
	scripted_control_fail(&f.script, 0, 0);
	connect_ads(&f);
	expect_request(&f, "cds held:a=1 node");
	expect_request(&f, "eds +a held:a=1");
	expect_request(&f, "lds held:l=1");
	expect_request(&f, "rds +80 held:80=1");
	say(&f, XDS_CLUSTER, NULL, 0, NULL); /* nothing changed */
	expect_request(&f, "cds nonce:n5");
	comes_to(&f, 0, "");
	now = next_snapshot(&f, before->version);
	assert_ptr_equal(now->clusters, before->clusters);
	assert_ptr_equal(now->endpoints, before->endpoints);
	assert_ptr_equal(now->listeners, before->listeners);
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	end(&f);
}

/* A stream that had served us and is ended by the server is opened anew without counting as a failure. */
static void max_age_closes(void **state)
{
	struct fixture f;

	begin(&f);
	f.options.backoff_max_ms = 3600000;
	start(&f);
	give_certificate(&f);
	give_configuration(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	/* counted as failures, the 24th would wait for hours */
	for (int i = 0; i < 24; i++) {
		scripted_end(f.ads, CONTROL_UNAVAILABLE, "max_age");
		connect_ads(&f);
		say(&f, XDS_CLUSTER, NULL, 0, NULL);
	}
	reaches(&f, "control_plane.disconnects", 24);
	comes_to(&f, 0, "");
	end(&f);
}

/* What cannot be a response ends the stream, with words and with backoff, though it was served before. */
static void broken_protocol(void **state)
{
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready(&f);
	before = mesh_publisher_get(&f.publisher);
	scripted_say(f.ads, MESH_SLICE("\xff\xff\xff"));
	assert_true(scripted_wait_closed(f.ads));
	comes_to(&f, 0, "ready, but cut off from the control plane: DeltaDiscoveryResponse: malformed protobuf: bad field tag");
	now = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(now, before);
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	connect_ads(&f);
	expect_request(&f, "cds held:a=1 node");
	end(&f);
}

static void nothing_can_be_sent(void **state)
{
	struct fixture f;

	begin(&f);
	scripted_control_fail(&f.script, 0, MESH_ERROR_NOMEM);
	start(&f);
	connect_ads(&f);
	assert_true(scripted_wait_closed(f.ads));
	comes_to(&f, MESH_ERROR_NOMEM, "out of memory");
	scripted_control_fail(&f.script, 0, 0);
	do
		connect_ads(&f);
	while (scripted_is_closed(f.ads));
	end(&f);
}

/* The answer to the last response cannot be sent any more: what it said counts, and so does the reason of the end. */
static void ends_behind_a_response(void **state)
{
	struct snapshot *now;
	struct fixture f;

	begin_ready(&f);
	scripted_control_fail(&f.script, 0, MESH_ERROR_STATE);
	say_one(&f, XDS_ENDPOINT, xds_sample_json(&f.arena, "2",
		"{\"@type\":\"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\",\"clusterName\":\"a\"}"));
	now = next_snapshot(&f, 1);
	mesh_snapshot_release(now);
	scripted_control_fail(&f.script, MESH_ERROR_SYSTEM, 0); /* so that the words are not replaced by better news */
	assert_false(scripted_is_closed(f.ads));
	scripted_end(f.ads, CONTROL_UNAUTHENTICATED, "token expired");
	assert_true(scripted_wait_closed(f.ads));
	for (int i = 0; i < 20000 && !was_logged(&f, "refused our identity (status 16): token expired"); i++)
		usleep(1000);
	assert_true(was_logged(&f, "refused our identity (status 16): token expired"));
	end(&f);
}

static void bad_resource_keeps_the_last_good_one(void **state)
{
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready(&f);
	before = mesh_publisher_get(&f.publisher);
	say(&f, XDS_CLUSTER,
	    (struct xds_resource[]){xds_make_bad_cluster(&f.arena, "2", "a"), xds_make_cluster(&f.arena, "2", "b")}, 2, NULL);
	expect_request(&f, "cds nonce:n5 error:3:a: connect_timeout: 0s: must be greater than 0\n");
	expect_request(&f, "eds +b");
	say_one(&f, XDS_ENDPOINT, xds_make_endpoints(&f.arena, "2", "b"));
	now = next_snapshot(&f, before->version);
	assert_ptr_equal(mesh_table_get(now->clusters, MESH_SLICE("a")), mesh_table_get(before->clusters, MESH_SLICE("a")));
	assert_non_null(mesh_table_get(now->clusters, MESH_SLICE("b")));
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	assert_int_equal(stat_of(&f, "control_plane.cds.update_rejected"), 1);
	assert_int_equal(stat_of(&f, "control_plane.cds.update_attempt"), 2);
	end(&f);
}

static void a_push_costs_what_it_changes(void **state)
{
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready(&f);
	before = mesh_publisher_get(&f.publisher);
	say(&f, XDS_ENDPOINT, (struct xds_resource[]){xds_sample_json(&f.arena, "2",
	    "{\"@type\":\"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\",\"clusterName\":\"a\"}")}, 1, NULL);
	now = next_snapshot(&f, before->version);
	assert_ptr_equal(now->clusters, before->clusters);
	assert_ptr_equal(now->listeners, before->listeners);
	assert_ptr_equal(now->routes, before->routes);
	assert_ptr_equal(now->secrets, before->secrets);
	assert_ptr_equal(now->ports, before->ports);
	assert_ptr_not_equal(mesh_table_get(now->endpoints, MESH_SLICE("a")), mesh_table_get(before->endpoints, MESH_SLICE("a")));
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	end(&f);
}

/* A listener is not in force before the routes it names are there, nor is what comes beside it. */
static void never_half(void **state)
{
	const char *const gone[] = {"a", NULL};
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready_settling(&f, 3600000);
	before = mesh_publisher_get(&f.publisher);
	say_one(&f, XDS_LISTENER, xds_make_listener(&f.arena, "2", "l", 80, "81"));
	expect_request(&f, "lds nonce:n5");
	expect_request(&f, "rds +81 -80");
	say_one(&f, XDS_CLUSTER, xds_make_cluster(&f.arena, "2", "b"));
	expect_request(&f, "cds nonce:n6");
	expect_request(&f, "eds +b");
	say(&f, XDS_CLUSTER, NULL, 0, gone);
	expect_request(&f, "cds nonce:n7");
	expect_request(&f, "eds -a");
	now = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(now, before);
	mesh_snapshot_release(now);
	say_one(&f, XDS_ROUTE, xds_make_routes(&f.arena, "2", "81", "b"));
	now = next_snapshot(&f, before->version);
	assert_int_equal(now->version, before->version + 1); /* all changes at once */
	assert_null(mesh_table_get(now->clusters, MESH_SLICE("a")));
	assert_non_null(mesh_table_get(now->clusters, MESH_SLICE("b")));
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	end(&f);
}

/* Endpoints and secrets of clusters that never come: those clusters fail, and a policy is in force at once all the same. */
static void clusters_hold_up_little(void **state)
{
	const struct listener_config *listener;
	struct snapshot *now;
	struct fixture f;

	begin_ready_settling(&f, 3600000); /* no test would wait for it */
	say_one(&f, XDS_CLUSTER, xds_make_cluster(&f.arena, "2", "b"));
	expect_request(&f, "cds nonce:n5");
	expect_request(&f, "eds +b");
	say_one(&f, XDS_CLUSTER, tls_cluster(&f, "2", "c"));
	expect_request(&f, "cds nonce:n6");
	expect_request(&f, "sds +kubernetes://never");
	say_one(&f, XDS_LISTENER, denying_listener(&f, "2", "d", ""));
	now = snapshot_with_listener(&f, "d");
	assert_non_null(mesh_table_get(now->clusters, MESH_SLICE("b")));
	assert_null(mesh_table_get(now->endpoints, MESH_SLICE("b")));
	assert_non_null(mesh_table_get(now->clusters, MESH_SLICE("c")));
	assert_null(mesh_snapshot_secret(now, MESH_SLICE("kubernetes://never")));
	assert_false(now->complete);
	listener = (const struct listener_config *)mesh_table_get(now->listeners, MESH_SLICE("d"));
	assert_int_equal(listener->chains[0].authz_count, 1);
	mesh_snapshot_release(now);
	end(&f);
}

/* Routes that never come: the listener that names them has none, and the rest is in force, after the bounded wait. */
static void routes_that_never_come(void **state)
{
	const struct listener_config *listener;
	struct snapshot *now;
	struct fixture f;

	begin_ready_settling(&f, 1);
	say(&f, XDS_LISTENER,
	    (struct xds_resource[]){xds_make_listener(&f.arena, "2", "m", 81, "never"), denying_listener(&f, "2", "d", "")}, 2,
	    NULL);
	now = snapshot_with_listener(&f, "m");
	assert_non_null(mesh_table_get(now->listeners, MESH_SLICE("d")));
	listener = (const struct listener_config *)mesh_table_get(now->listeners, MESH_SLICE("m"));
	assert_null(mesh_snapshot_routes(now, listener->chains[0].http)); /* NR */
	listener = (const struct listener_config *)mesh_table_get(now->listeners, MESH_SLICE("l"));
	assert_non_null(mesh_snapshot_routes(now, listener->chains[0].http));
	mesh_snapshot_release(now);
	end(&f);
}

/* A secret that never comes: nothing to prove ourselves with on that listener, which refuses. */
static void secret_that_never_comes(void **state)
{
	const struct listener_config *listener;
	struct snapshot *before, *now;
	struct fixture f;

	begin_ready_settling(&f, 3600000);
	before = mesh_publisher_get(&f.publisher);
	say_one(&f, XDS_LISTENER, denying_listener(&f, "2", "d", TLS("Downstream", "kubernetes://never")));
	expect_request(&f, "lds nonce:n5");
	expect_request(&f, "sds +kubernetes://never");
	say_one(&f, XDS_CLUSTER, xds_make_cluster(&f.arena, "2", "b"));
	expect_request(&f, "cds nonce:n6");
	now = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(now, before); /* waits */
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	end(&f);

	begin_ready_settling(&f, 1);
	say_one(&f, XDS_LISTENER, denying_listener(&f, "2", "d", TLS("Downstream", "kubernetes://never")));
	now = snapshot_with_listener(&f, "d");
	listener = (const struct listener_config *)mesh_table_get(now->listeners, MESH_SLICE("d"));
	assert_non_null(listener->chains[0].tls);
	assert_null(mesh_snapshot_secret(now, listener->chains[0].tls->certificate_name));
	mesh_snapshot_release(now);
	end(&f);
}

/* What is named and never sent holds the rest up for a while, not for ever. */
static void gives_up_waiting(void **state)
{
	struct snapshot *now;
	struct fixture f;

	begin(&f);
	f.options.settle_ms = 1;
	start(&f);
	give_certificate(&f);
	connect_ads(&f);
	say(&f, XDS_CLUSTER, (struct xds_resource[]){xds_make_cluster(&f.arena, "1", "a"), xds_make_cluster(&f.arena, "1", "b")}, 2, NULL);
	say_one(&f, XDS_ENDPOINT, xds_make_endpoints(&f.arena, "1", "a"));
	/* listeners were asked for and not answered: that is not a configuration, however long it takes */
	usleep(20000);
	waits_for(&f, MESH_ERROR_TIMEOUT, "waiting for the first whole configuration");
	say(&f, XDS_LISTENER, NULL, 0, NULL);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	now = mesh_publisher_get(&f.publisher);
	assert_non_null(mesh_table_get(now->clusters, MESH_SLICE("b")));
	assert_null(mesh_table_get(now->endpoints, MESH_SLICE("b")));
	/* it comes after all */
	say_one(&f, XDS_ENDPOINT, xds_make_endpoints(&f.arena, "1", "b"));
	for (struct snapshot *newer; !mesh_table_get(now->endpoints, MESH_SLICE("b")); now = newer) {
		newer = next_snapshot(&f, now->version);
		mesh_snapshot_release(now);
	}
	mesh_snapshot_release(now);
	end(&f);
}

static void state_of_the_world(void **state)
{
	struct snapshot *now;
	struct fixture f;

	begin(&f);
	f.sotw = true;
	start(&f);
	give_certificate(&f);
	connect_ads(&f);
	expect_request(&f, "cds node");
	expect_request(&f, "lds");
	say_one(&f, XDS_CLUSTER, xds_make_cluster(&f.arena, "", "a"));
	expect_request(&f, "cds version:1 nonce:n1");
	expect_request(&f, "eds names:a");
	say_one(&f, XDS_ENDPOINT, xds_make_endpoints(&f.arena, "", "a"));
	expect_request(&f, "eds names:a version:1 nonce:n2");
	say(&f, XDS_LISTENER, NULL, 0, NULL);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	say(&f, XDS_CLUSTER, NULL, 0, NULL);
	now = next_snapshot(&f, 1);
	assert_int_equal(mesh_table_count(now->clusters), 0);
	mesh_snapshot_release(now);
	end(&f);
}

static void renewal_fails_and_works(void **state)
{
	/* half of what is left of it has passed as good as at once */
	const struct test_leaf brief = {.uri = SPIFFE_ID, .not_before_s = -3600, .not_after_s = 2};
	const struct secret *first, *second;
	struct snapshot *before, *now;
	struct control_stream *ca;
	struct fixture f;

	begin(&f);
	start(&f);
	answer_csr(&f, scripted_wait_open(&f.script, CA_METHOD), &brief);
	give_configuration(&f);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	before = mesh_publisher_get(&f.publisher);
	first = mesh_snapshot_secret(before, MESH_SLICE("default"));
	ca = scripted_wait_open(&f.script, CA_METHOD);
	assert_non_null(ca);
	scripted_end(ca, CONTROL_UNAVAILABLE, "away");
	ca = scripted_wait_open(&f.script, CA_METHOD);
	assert_non_null(ca);
	comes_to(&f, 0,
		 "ready, but the certificate is not renewed: certificate request to istiod.istio-system.svc:15012: failed "
		 "(status 14): away");
	now = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(mesh_snapshot_secret(now, MESH_SLICE("default")), first);
	mesh_snapshot_release(now);
	answer_csr(&f, ca, &(struct test_leaf){.uri = SPIFFE_ID});
	now = next_snapshot(&f, before->version);
	second = mesh_snapshot_secret(now, MESH_SLICE("default"));
	assert_ptr_not_equal(first, second);
	assert_false(mesh_slice_equal(first->key_pem, second->key_pem)); /* a key is used once */
	assert_ptr_equal(now->clusters, before->clusters);
	mesh_snapshot_release(now);
	mesh_snapshot_release(before);
	comes_to(&f, 0, "");
	assert_int_equal(stat_of(&f, "control_plane.certificates"), 2);
	assert_int_equal(stat_of(&f, "control_plane.certificate_failures"), 1);
	assert_true(stat_of(&f, "control_plane.certificate_seconds_left") > 3000);
	end(&f);
}

static void dump_shows_and_hides(void **state)
{
	json_t *dump, *configs, *config;
	json_error_t error;
	bool bootstrap = false;
	struct buf out;
	struct fixture f;
	size_t i;

	begin_ready(&f);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_xds_client_dump(f.client, &out), 0);
	dump = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), 0, &error);
	if (!dump)
		fail_msg("%s", error.text);
	configs = json_object_get(dump, "configs");
	assert_true(json_array_size(configs) >= 4);
	json_array_foreach(configs, i, config)
	{
		json_t *node = json_object_get(json_object_get(config, "bootstrap"), "node");

		if (node) {
			bootstrap = true;
			assert_string_equal(json_string_value(json_object_get(node, "id")),
					    "sidecar~10.0.0.7~reviews-1.default~default.svc.cluster.local");
		}
	}
	assert_true(bootstrap);
	mesh_buf_append(&out, mesh_slice_make("", 1));
	assert_null(strstr(out.data, "PRIVATE KEY"));
	assert_null(strstr(out.data, TOKEN));
	json_decref(dump);
	mesh_buf_free(&out);
	/* a bound of the caller's is kept */
	mesh_buf_init(&out, &mesh_mem_default, 64);
	assert_int_equal(mesh_xds_client_dump(f.client, &out), MESH_ERROR_TOO_LARGE);
	mesh_buf_free(&out);
	end(&f);
}

/* Stopped at once, while asking, half way, when ready, when cut off: joined, closed, nothing left (ASan). */
static void stops_at_every_stage(void **state)
{
	for (int stage = 0; stage < 8; stage++) {
		struct fixture f;

		begin(&f);
		if (stage == 7)
			f.options.backoff_base_ms = f.options.backoff_max_ms = 3600000;
		start(&f);
		if (stage >= 1)
			connect_ads(&f);
		if (stage >= 2)
			say_one(&f, XDS_CLUSTER, xds_make_cluster(&f.arena, "1", "a"));
		if (stage >= 3)
			expect_request(&f, "cds node");
		if (stage >= 4)
			assert_non_null(scripted_wait_open(&f.script, CA_METHOD));
		if (stage >= 5)
			scripted_end(f.ads, CONTROL_UNAVAILABLE, "");
		if (stage >= 6)
			assert_true(scripted_wait_closed(f.ads));
		end(&f);
	}
}

/* ---- names ---- */

/* One name of our server, asked for again every 20 ms. */
static struct xds_resource dns_cluster(struct fixture *f, const struct dns_server *server, const char *name, const char *host)
{
	return xds_sample_json(&f->arena, "1",
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'type': 'STRICT_DNS', "
			       "'dnsLookupFamily': 'V4_ONLY', 'dnsRefreshRate': '0.02s', 'typedDnsResolverConfig': {'name': 'r', "
			       "'typedConfig': {'@type': 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig', "
			       "'resolvers': [{'socketAddress': {'address': '127.0.0.1', 'portValue': %u}}], "
			       "'queryTimeoutSeconds': 1, 'dnsResolverOptions': {'noDefaultSearchDomain': true}}}, 'loadAssignment': {'clusterName': 'c', "
			       "'endpoints': [{'lbEndpoints': [{'endpoint': {'address': {'socketAddress': {'address': '%s', "
			       "'portValue': 80}}}}]}]}}",
			       name, server->port, host);
}

static const struct endpoint_set *set_of(const struct snapshot *snapshot, const char *name)
{
	struct mesh_slice text = mesh_slice_of(name);
	const struct cluster_config *cluster = mesh_snapshot_cluster(snapshot, text, mesh_slice_hash(text));

	return cluster ? mesh_snapshot_endpoints(snapshot, cluster) : NULL;
}

/* The next snapshot in which that cluster has these endpoints, an address or "": none. */
static uint64_t comes_to_endpoints(struct fixture *f, const char *name, const char *expected)
{
	uint64_t version = 0;
	bool found = false;

	while (!found) {
		struct snapshot *snapshot = next_snapshot(f, version);
		const struct endpoint_set *set = set_of(snapshot, name);

		if (set && set->count == 1)
			found = expected[0] ? set->endpoint_count == 1 && mesh_slice_equal(set->localities[0].endpoints[0].text,
											   mesh_slice_of(expected))
					    : set->endpoint_count == 0;
		version = snapshot->version;
		mesh_snapshot_release(snapshot);
	}
	return version;
}

static void waits_for_names(void **state)
{
	struct dns_server server;
	struct snapshot *snapshot;
	struct fixture f;

	dns_server_start(&server);
	dns_server_set(&server, "a.example", "10.0.0.1", 1);
	dns_server_behave(&server, "a.example", DNS_SILENT);
	begin(&f);
	start(&f);
	give_certificate(&f);
	connect_ads(&f);
	say_one(&f, XDS_CLUSTER, dns_cluster(&f, &server, "dns", "a.example"));
	say(&f, XDS_LISTENER, NULL, 0, NULL);
	while (dns_server_asked(&server, "a.example", false) < 1)
		usleep(1000);
	waits_for(&f, MESH_ERROR_TIMEOUT, "waiting for the first whole configuration");
	assert_null(mesh_publisher_get(&f.publisher));
	/* nobody answers twice: the question is asked anew, by c-ares, after its time-out */
	dns_server_behave(&server, "a.example", DNS_ANSWERS);
	assert_int_equal(mesh_xds_client_wait(f.client, 20000, NULL), 0);
	snapshot = mesh_publisher_get(&f.publisher);
	assert_true(snapshot->complete);
	assert_int_equal(set_of(snapshot, "dns")->endpoint_count, 1);
	mesh_snapshot_release(snapshot);
	end(&f);
	dns_server_stop(&server);
}

static void names_change_what_changed(void **state)
{
	struct snapshot *before, *after;
	struct dns_server server;
	struct fixture f;
	uint64_t version;
	unsigned asked;

	dns_server_start(&server);
	dns_server_set(&server, "a.example", "10.0.0.1", 1);
	begin_ready(&f);
	say_one(&f, XDS_CLUSTER, dns_cluster(&f, &server, "dns", "a.example"));
	version = comes_to_endpoints(&f, "dns", "10.0.0.1:80");
	before = mesh_publisher_get(&f.publisher);
	asked = dns_server_asked(&server, "a.example", false);
	while (dns_server_asked(&server, "a.example", false) < asked + 5)
		usleep(1000);
	after = mesh_publisher_get(&f.publisher);
	assert_int_equal(after->version, version); /* the same answers publish nothing */
	mesh_snapshot_release(after);
	dns_server_set(&server, "a.example", "10.0.0.2", 1);
	comes_to_endpoints(&f, "dns", "10.0.0.2:80");
	after = mesh_publisher_get(&f.publisher);
	assert_ptr_equal(after->clusters, before->clusters);
	assert_ptr_equal(after->endpoints, before->endpoints);
	assert_ptr_equal(after->index, before->index);
	assert_int_equal(set_of(before, "dns")->endpoint_count, 1); /* whoever holds it goes on with it */
	assert_true(mesh_slice_equal(set_of(before, "dns")->localities[0].endpoints[0].text, MESH_SLICE("10.0.0.1:80")));
	mesh_snapshot_release(before);
	mesh_snapshot_release(after);
	dns_server_forget(&server, "a.example");
	comes_to_endpoints(&f, "dns", "");
	say(&f, XDS_CLUSTER, NULL, 0, (const char *const[]){"dns", NULL});
	for (after = next_snapshot(&f, 0); mesh_table_count(after->resolved); after = next_snapshot(&f, version)) {
		version = after->version;
		mesh_snapshot_release(after);
	}
	mesh_snapshot_release(after);
	asked = dns_server_asked(&server, "a.example", false);
	usleep(100000);
	assert_in_range(dns_server_asked(&server, "a.example", false), asked, asked + 1);
	end(&f);
	dns_server_stop(&server);
}

/* A name nobody answers for holds up a new cluster for a moment, and a start for as long as anything else may. */
static void names_never_answered(void **state)
{
	struct dns_server server;
	struct snapshot *snapshot;
	struct fixture f;

	dns_server_start(&server);
	dns_server_behave(&server, "a.example", DNS_SILENT);
	begin(&f);
	f.options.settle_ms = 300;
	start(&f);
	give_certificate(&f);
	connect_ads(&f);
	say_one(&f, XDS_CLUSTER, dns_cluster(&f, &server, "dns", "a.example"));
	say(&f, XDS_LISTENER, NULL, 0, NULL);
	assert_int_equal(mesh_xds_client_wait(f.client, 4000, NULL), 0);
	snapshot = mesh_publisher_get(&f.publisher);
	assert_null(set_of(snapshot, "dns"));
	mesh_snapshot_release(snapshot);
	say_one(&f, XDS_CLUSTER, dns_cluster(&f, &server, "new", "a.example"));
	snapshot = next_snapshot(&f, 1);
	assert_non_null(mesh_table_get(snapshot->clusters, MESH_SLICE("new")));
	assert_null(set_of(snapshot, "new"));
	assert_false(snapshot->complete);
	reaches(&f, "control_plane.dns.update_attempt", 2);
	assert_int_equal(stat_of(&f, "control_plane.dns.update_failure"), 0);
	mesh_snapshot_release(snapshot);
	end(&f);
	dns_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_with_configuration_and_certificate),
		cmocka_unit_test(certificate_first),
		cmocka_unit_test(credentials_go_where_they_should),
		cmocka_unit_test(refused_identity),
		cmocka_unit_test(unreachable_then_back),
		cmocka_unit_test(token_goes_away),
		cmocka_unit_test(cut_off_and_back),
		cmocka_unit_test(max_age_closes),
		cmocka_unit_test(broken_protocol),
		cmocka_unit_test(nothing_can_be_sent),
		cmocka_unit_test(ends_behind_a_response),
		cmocka_unit_test(bad_resource_keeps_the_last_good_one),
		cmocka_unit_test(a_push_costs_what_it_changes),
		cmocka_unit_test(never_half),
		cmocka_unit_test(clusters_hold_up_little),
		cmocka_unit_test(routes_that_never_come),
		cmocka_unit_test(secret_that_never_comes),
		cmocka_unit_test(gives_up_waiting),
		cmocka_unit_test(state_of_the_world),
		cmocka_unit_test(renewal_fails_and_works),
		cmocka_unit_test(dump_shows_and_hides),
		cmocka_unit_test(stops_at_every_stage),
		cmocka_unit_test(waits_for_names),
		cmocka_unit_test(names_change_what_changed),
		cmocka_unit_test(names_never_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
