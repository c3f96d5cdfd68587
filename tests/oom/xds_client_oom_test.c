/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread when one allocation fails, whichever it is: it starts or says NOMEM, gets ready all the same, and
 * leaves nothing behind; and when all fail from there on, it still stops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "security/v1alpha1/ca.pb-c.h"
#include "support/failing_mem.h"
#include "support/file.h"
#include "support/scripted_control.h"
#include "support/test_ca.h"
#include "support/xds_response.h"
#include "xds/client.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"

enum { RESPONSES = 4, READY_MS = 20000 };

static struct test_ca ca;
static char folder[64], token[96], root[96];
static struct log silent;
static struct arena arena;
static struct mesh_slice responses[RESPONSES];

static void answer_csr(struct control_stream *stream)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	Istio__V1__Auth__IstioCertificateRequest *request;
	char *list[2] = {NULL, ca.root_pem}, *room;
	struct mesh_slice bytes;

	while (!scripted_sent_left(stream) && !scripted_is_closed(stream))
		;
	if (!scripted_sent_left(stream) || !scripted_wait_sent(stream, &bytes))
		return;
	request = istio__v1__auth__istio_certificate_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
	test_ca_sign(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, request->csr, &list[0]);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	response.cert_chain = list;
	response.n_cert_chain = 2;
	room = malloc(istio__v1__auth__istio_certificate_response__get_packed_size(&response));
	scripted_say(stream, mesh_slice_make(room, istio__v1__auth__istio_certificate_response__pack(&response, (uint8_t *)room)));
	scripted_end(stream, CONTROL_OK, "");
	free(room);
	free(list[0]);
}

/* Every stream gets all there is to say at once. */
static void serve(struct scripted_control *script)
{
	struct control_stream *stream;

	script->wait_ms = 1;
	while ((stream = scripted_wait_open(script, ""))) {
		if (strstr(stream->method, "CreateCertificate")) {
			answer_csr(stream);
			continue;
		}
		for (size_t i = 0; i < RESPONSES; i++)
			scripted_say(stream, responses[i]);
	}
}

static bool is_ready(struct xds_client *client, struct scripted_control *script)
{
	uint64_t until_ns = mesh_time_now_ns() + READY_MS * 1000000ull;

	do
		serve(script);
	while (mesh_xds_client_wait(client, 1, NULL) && mesh_time_now_ns() < until_ns);
	return !mesh_xds_client_wait(client, 0, NULL);
}

/* `for_good`: all fail from fail_at on. False when there was no such allocation. */
static bool run(size_t fail_at, bool for_good)
{
	static const char *const nothing[] = {NULL};
	struct mesh_options options = {.size = sizeof(options), .pod_name = "p", .pod_namespace = "default",
				       .service_account = "reviews", .instance_ip = "10.0.0.7", .token_file = token,
				       .root_cert_file = root, .labels_json = "{}"};
	struct xds_client_options control = {.log = &silent, .backoff_base_ms = 1, .backoff_max_ms = 1};
	struct xds_client *client = NULL;
	struct scripted_control script;
	struct publisher publisher;
	struct failing_mem failing;
	struct why why = {{0}};
	bool reached;
	int rc;

	failing_mem_init(&failing, fail_at);
	failing.fail_on = for_good;
	scripted_control_init(&script);
	assert_int_equal(mesh_publisher_init(&publisher), 0);
	control.mem = &failing.mem;
	control.publisher = &publisher;
	control.control = &script.ops;
	rc = mesh_bootstrap_new(&mesh_mem_default, &options, nothing, &control.bootstrap, &why);
	assert_int_equal(rc, 0);
	rc = mesh_xds_client_start(&control, &client);
	if (rc) {
		assert_int_equal(rc, MESH_ERROR_NOMEM);
		assert_true(atomic_load(&failing.failed) > 0);
		assert_null(client);
	} else if (!for_good) {
		if (!is_ready(client, &script))
			fail_msg("allocation %zu failed: not ready", fail_at);
	} else {
		serve(&script);
	}
	mesh_xds_client_stop(client);
	reached = atomic_load(&failing.failed) > 0;
	assert_true(scripted_control_clean(&script));
	scripted_control_free(&script);
	mesh_publisher_destroy(&publisher);
	if (atomic_load(&failing.blocks))
		fail_msg("allocation %zu failed: %zu blocks leaked", fail_at, atomic_load(&failing.blocks));
	return reached;
}

static void one_fails(void **state)
{
	size_t n = 1;

	assert_false(run(0, false));
	while (run(n, false))
		n++;
	printf("%zu allocations failed in turn\n", n - 1);
	assert_true(n > 100);
}

/* How far the thread gets before it is stopped differs; what fails inside start does not. */
static void all_fail(void **state)
{
	size_t reached = 0;

	for (size_t n = 1; n <= 150; n++)
		reached += run(n, true);
	assert_true(reached >= 20);
}

static void add(size_t at, enum xds_type type, struct xds_resource resource)
{
	struct xds_response response = {.type = type, .nonce = "n", .version = "1", .resources = &resource, .count = 1};

	responses[at] = xds_response_pack(&arena, &response);
}

/* One whose endpoints are sent, and one whose name is resolved, without asking anybody. */
static void add_clusters(size_t at)
{
	struct xds_resource clusters[] = {
		xds_make_cluster(&arena, "1", "a"),
		xds_sample_json(&arena, "1",
				"{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'dns', 'type': 'STRICT_DNS', "
				"'dnsRefreshRate': '0.01s', 'loadAssignment': {'clusterName': 'dns', 'endpoints': [{'lbEndpoints': "
				"[{'endpoint': {'address': {'socketAddress': {'address': 'localhost', 'portValue': 80}}}}]}]}}"),
	};
	struct xds_response response = {.type = XDS_CLUSTER, .nonce = "n", .version = "1", .resources = clusters, .count = 2};

	clusters[1].name = MESH_SLICE("dns");
	responses[at] = xds_response_pack(&arena, &response);
}

static int make_all(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/mesh_client_oom_XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(token, sizeof(token), "%s/token", folder);
	snprintf(root, sizeof(root), "%s/root", folder);
	test_ca_make(&ca);
	file_write(token, "token");
	file_write(root, ca.root_pem);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	add_clusters(0);
	add(1, XDS_ENDPOINT, xds_make_endpoints(&arena, "1", "a"));
	add(2, XDS_LISTENER, xds_make_listener(&arena, "1", "l", 80, "80"));
	add(3, XDS_ROUTE, xds_make_routes(&arena, "1", "80", "a"));
	return 0;
}

static int drop_all(void **state)
{
	mesh_arena_free(&arena);
	test_ca_free(&ca);
	unlink(token);
	unlink(root);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_fails),
		cmocka_unit_test(all_fail),
	};

	return cmocka_run_group_tests(tests, make_all, drop_all);
}
