/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the names of DNS clusters become endpoints as in Envoy: which ones, when they are asked for again, what stays in force
 * when nobody answers; does a configuration that changes cost what changed and no more?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/cluster_fixture.h"
#include "support/dns_server.h"
#include "support/failing_mem.h"

#include "xds/dns.h"

#define NAME(address, port)                                                                                            \
	"{'endpoint': {'address': {'socketAddress': {'address': '" address "', 'portValue': " port "}}}}"
#define ONE(endpoints) "'loadAssignment': {'clusterName': 'c', 'endpoints': [{'lbEndpoints': [" endpoints "]}]}"

static struct decode_fixture fixture;
static struct dns_server server;
static struct failing_mem memory;
static struct log log_none;
static struct loop *loop;
static struct dns *dns;
static struct table *clusters;
static int changes;

static void changed(void *user)
{
	changes++;
}

static int setup(void **state)
{
	failing_mem_init(&memory, 0);
	dns_server_start(&server);
	dns_server_set(&server, "a.example", "10.0.0.2 10.0.0.1", 1);
	dns_server_set(&server, "b.example", "10.0.1.1", 1);
	changes = 0;
	decode_fixture_begin(&fixture);
	if (mesh_loop_new(&memory.mem, &loop))
		return -1;
	return mesh_dns_new(
		&(struct dns_options){.mem = &memory.mem, .log = &log_none, .loop = loop, .changed = changed}, &dns);
}

static int teardown(void **state)
{
	mesh_dns_free(dns);
	mesh_table_release(clusters);
	clusters = NULL;
	mesh_loop_free(loop);
	decode_fixture_end(&fixture);
	dns_server_stop(&server);
	return memory.blocks ? -1 : 0;
}

/* A cluster that asks our server, as IPv4 alone, without search domains; `rest` has the names and all that is special. */
static struct cluster_config *decode(const char *name, const char *type, const char *rest)
{
	struct cluster_config *cluster = cluster_fixture_json(
		&fixture,
		mesh_arena_printf(
			&fixture.arena,
			"'name': '%s', 'type': '%s', 'dnsLookupFamily': 'V4_ONLY', 'typedDnsResolverConfig': {'name': "
			"'r', 'typedConfig': {'@type': "
			"'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig', 'resolvers': "
			"[{'socketAddress': {'address': '127.0.0.1', 'portValue': %u}}], 'queryTimeoutSeconds': 1, "
			"'queryTries': 1, 'dnsResolverOptions': {'noDefaultSearchDomain': true}}}, %s",
			name, type, server.port, rest)
			.data);

	if (!cluster)
		fail_msg("%s", fixture.d.why.text);
	return cluster;
}

static void put(const char *name, const char *type, const char *rest)
{
	struct cluster_config *cluster = decode(name, type, rest);
	struct table *next;

	assert_int_equal(mesh_table_put(&mesh_mem_default, clusters, &cluster->object.item, &next), 0);
	mesh_config_object_release(cluster);
	mesh_table_release(clusters);
	clusters = next;
	assert_int_equal(mesh_dns_follow(dns, clusters), 0);
}

static void take_out(const char *name)
{
	struct table *next;

	assert_int_equal(mesh_table_remove(&mesh_mem_default, clusters, mesh_slice_of(name), &next), 0);
	mesh_table_release(clusters);
	clusters = next;
	assert_int_equal(mesh_dns_follow(dns, clusters), 0);
}

static const struct endpoint_set *set_of(const char *name)
{
	return (const struct endpoint_set *)mesh_table_get(mesh_dns_resolved(dns), mesh_slice_of(name));
}

/* "text=address" of each; "-" without a set. */
static const char *endpoints(const char *name)
{
	static char text[2048];
	const struct endpoint_set *set = set_of(name);

	text[0] = '\0';
	for (size_t l = 0; set && l < set->count; l++)
		for (size_t i = 0; i < set->localities[l].count; i++) {
			const struct endpoint_config *one = &set->localities[l].endpoints[i];
			char address[MESH_ADDRESS_TEXT_BYTES];

			mesh_address_text(&one->address, address);
			assert_int_equal(one->hash, mesh_slice_hash(one->text));
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s=%s", text[0] ? " " : "",
				 (int)one->text.len, one->text.data, address);
		}
	return set ? text : "-";
}

static void run_ms(unsigned ms)
{
	uint64_t until = mesh_time_now_ns() + ms * 1000000ull, now;

	while ((now = mesh_time_now_ns()) < until)
		assert_true(mesh_loop_run(loop, (int)((until - now) / 1000000 + 1)) >= 0);
}

static void wait_for(const char *name, const char *expected)
{
	uint64_t until = mesh_time_now_ns() + 10000000000ull;

	while (strcmp(endpoints(name), expected) != 0) {
		if (mesh_time_now_ns() > until)
			fail_msg("%s: %s, not %s", name, endpoints(name), expected);
		assert_true(mesh_loop_run(loop, 100) >= 0);
	}
}

static void wait_asked(const char *name, unsigned times)
{
	uint64_t until = mesh_time_now_ns() + 10000000000ull;

	while (dns_server_asked(&server, name, false) < times) {
		assert_true(mesh_time_now_ns() < until);
		assert_true(mesh_loop_run(loop, 10) >= 0);
	}
	assert_int_equal(dns_server_asked(&server, name, false), times);
}

/* --- which endpoints */

static void strict(void **state)
{
	const struct endpoint_config *one;

	put("c", "STRICT_DNS",
	    "'loadAssignment': {'clusterName': 'c', 'policy': {'overprovisioningFactor': 200}, 'endpoints': "
	    "[{'locality': "
	    "{'region': 'r'}, 'loadBalancingWeight': 7, 'lbEndpoints': [{'endpoint': {'address': {'socketAddress': "
	    "{'address': "
	    "'A.example', 'portValue': 80}}}, 'loadBalancingWeight': 3, 'healthStatus': 'DEGRADED', 'metadata': "
	    "{'filterMetadata': {'envoy.transport_socket_match': {'tlsMode': 'istio'}}}}]}, {'priority': 1, "
	    "'lbEndpoints': "
	    "[{'endpoint': {'hostname': 'other.example', 'address': {'socketAddress': {'address': 'b.example', "
	    "'portValue': "
	    "81}}}}, " NAME("10.9.9.9", "82") "]}]}");
	wait_for("c",
		 "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80 10.0.1.1:81=10.0.1.1:81 10.9.9.9:82=10.9.9.9:82");
	assert_int_equal(set_of("c")->count, 2);
	assert_int_equal(set_of("c")->endpoint_count, 4);
	assert_int_equal(set_of("c")->priority_count, 2);
	assert_int_equal(set_of("c")->overprovisioning, 200);
	assert_text(set_of("c")->localities[0].region, "r");
	assert_int_equal(set_of("c")->localities[0].weight, 7);
	assert_int_equal(set_of("c")->localities[1].priority, 1);
	one = &set_of("c")->localities[0].endpoints[1];
	assert_text(one->hostname, "A.example");
	assert_int_equal(one->weight, 3);
	assert_int_equal(one->health, ENDPOINT_DEGRADED);
	assert_int_equal(one->transport_label_count, 1);
	assert_text(set_of("c")->localities[1].endpoints[0].hostname, "other.example");
	assert_text(set_of("c")->localities[1].endpoints[1].hostname, "10.9.9.9");
	assert_int_equal(dns_server_asked(&server, "10.9.9.9", false), 0);
}

static void each_address_once(void **state)
{
	dns_server_set(&server, "a.example", "10.0.0.2 10.0.0.1 10.0.0.2 10.0.0.1", 1);
	put("c", "STRICT_DNS", ONE(NAME("a.example", "80")));
	wait_for("c", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
}

static void logical(void **state)
{
	put("c", "LOGICAL_DNS", "'dnsRefreshRate': '0.05s', " ONE(NAME("a.example", "80")));
	wait_for("c", "a.example:80=10.0.0.2:80"); /* the first, under its name */
	dns_server_set(&server, "a.example", "10.0.0.9 10.0.0.2", 1);
	wait_for("c", "a.example:80=10.0.0.9:80");
	/* no address at all is a failure to it, and the last one stays */
	dns_server_forget(&server, "a.example");
	run_ms(200);
	assert_string_equal(endpoints("c"), "a.example:80=10.0.0.9:80");
}

static void literals(void **state)
{
	put("c", "STRICT_DNS", ONE(NAME("10.0.0.7", "80")));
	assert_string_equal(endpoints("c"), "10.0.0.7:80=10.0.0.7:80"); /* at once */
	assert_false(mesh_dns_waiting(dns));
	put("c", "LOGICAL_DNS", ONE(NAME("::1", "80")));
	assert_string_equal(endpoints("c"), "[::1]:80=[::1]:80");
	put("c", "STRICT_DNS", "'dnsRefreshRate': '5s'");
	assert_string_equal(endpoints("c"), "");
	assert_false(mesh_dns_waiting(dns));
	assert_int_equal(changes, 0); /* whoever follows knows */
}

static void extension(void **state)
{
	struct cluster_config *cluster = cluster_fixture_json(
		&fixture,
		"'name': 'c', 'clusterType': {'name': 'envoy.cluster.dns', 'typedConfig': {'@type': "
		"'envoy.extensions.clusters.dns.v3.DnsCluster', 'dnsLookupFamily': 'ALL', 'dnsRefreshRate': '2s', "
		"'allAddressesInSingleEndpoint': true}}, " ONE(NAME("localhost", "80")));
	struct table *next;

	assert_non_null(cluster);
	assert_int_equal(cluster->kind, CLUSTER_LOGICAL_DNS);
	assert_int_equal(mesh_table_put(&mesh_mem_default, NULL, &cluster->object.item, &next), 0);
	mesh_config_object_release(cluster);
	clusters = next;
	assert_int_equal(mesh_dns_follow(dns, clusters), 0);
	wait_for("c", "localhost:80=127.0.0.1:80"); /* by /etc/hosts */
}

/* --- when */

static void asked_again(void **state)
{
	int before;

	put("c", "STRICT_DNS", "'dnsRefreshRate': '0.05s', " ONE(NAME("a.example", "80")));
	wait_for("c", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	before = changes;
	dns_server_set(&server, "a.example", "10.0.0.1 10.0.0.2", 1); /* another order is no change */
	run_ms(300);
	assert_in_range(dns_server_asked(&server, "a.example", false), 2, 8);
	assert_int_equal(changes, before);
	dns_server_set(&server, "a.example", "10.0.0.3", 1);
	wait_for("c", "10.0.0.3:80=10.0.0.3:80");
	assert_int_equal(changes, before + 1);
}

static void ttl(void **state)
{
	put("slow", "STRICT_DNS", "'dnsRefreshRate': '0.05s', 'respectDnsTtl': true, " ONE(NAME("a.example", "80")));
	put("quick", "STRICT_DNS", "'dnsRefreshRate': '60s', 'respectDnsTtl': true, " ONE(NAME("b.example", "80")));
	wait_for("slow", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	run_ms(500);
	assert_int_equal(dns_server_asked(&server, "a.example", false), 1);
	run_ms(800);
	assert_int_equal(dns_server_asked(&server, "a.example", false), 2);
	assert_int_equal(dns_server_asked(&server, "b.example", false), 2);
	/* an answer without one: the cluster's rate */
	dns_server_set(&server, "a.example", "10.0.0.1", 0);
	wait_for("slow", "10.0.0.1:80=10.0.0.1:80");
	run_ms(300);
	assert_in_range(dns_server_asked(&server, "a.example", false), 4, 11);
}

static void jitter(void **state)
{
	put("c", "STRICT_DNS", "'dnsRefreshRate': '0.002s', 'dnsJitter': '0.1s', " ONE(NAME("a.example", "80")));
	run_ms(500);
	assert_in_range(dns_server_asked(&server, "a.example", false), 2, 60); /* without it 250 */
}

static void last_good_stays(void **state)
{
	put("c", "STRICT_DNS",
	    "'dnsRefreshRate': '0.05s', 'dnsFailureRefreshRate': {'baseInterval': '0.02s', 'maxInterval': "
	    "'0.05s'}, " ONE(NAME("a.example", "80")));
	wait_for("c", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	dns_server_behave(&server, "a.example", DNS_FAILS);
	run_ms(300);
	assert_string_equal(endpoints("c"), "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	dns_server_behave(&server, "a.example", DNS_GARBLES);
	run_ms(200);
	assert_string_equal(endpoints("c"), "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	dns_server_set(&server, "a.example", "10.0.0.4", 1);
	wait_for("c", "10.0.0.4:80=10.0.0.4:80");
	/* that a name is gone is an answer: STRICT_DNS has no endpoint then, as in Envoy */
	dns_server_forget(&server, "a.example");
	wait_for("c", "");
	assert_text(set_of("c")->reason, "a.example: no such name");
}

static void back_off(void **state)
{
	dns_server_behave(&server, "a.example", DNS_REFUSES);
	put("c", "STRICT_DNS",
	    "'dnsRefreshRate': '0.01s', 'dnsFailureRefreshRate': {'baseInterval': '0.1s', 'maxInterval': '60s'}, " ONE(
		    NAME("a.example", "80")));
	run_ms(1500);
	assert_in_range(dns_server_asked(&server, "a.example", false), 2, 12);
	assert_string_equal(endpoints("c"), "");
	assert_non_null(strstr(set_of("c")->reason.data, "a.example: "));
}

/* --- waiting for the first answer */

static void first_answer(void **state)
{
	put("c", "STRICT_DNS", ONE(NAME("a.example", "80")));
	assert_true(mesh_dns_waiting(dns));
	assert_string_equal(endpoints("c"), "-");
	wait_for("c", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	assert_false(mesh_dns_waiting(dns));
	assert_int_equal(changes, 1);
	/* a bad one ends it too */
	put("bad", "STRICT_DNS", ONE(NAME("none.example", "80")));
	assert_true(mesh_dns_waiting(dns));
	wait_for("bad", "");
	assert_text(set_of("bad")->reason, "none.example: no such name");
	assert_false(mesh_dns_waiting(dns));
	put("any", "STRICT_DNS", "'waitForWarmOnInit': false, " ONE(NAME("b.example", "80")));
	assert_false(mesh_dns_waiting(dns));
	/* one answer is enough, whichever it is */
	dns_server_behave(&server, "b.example", DNS_SILENT);
	put("two", "STRICT_DNS", ONE(NAME("b.example", "80") ", " NAME("a.example", "80")));
	assert_true(mesh_dns_waiting(dns));
	wait_for("two", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	assert_false(mesh_dns_waiting(dns));
}

static void given_up(void **state)
{
	dns_server_behave(&server, "a.example", DNS_SILENT);
	put("c", "STRICT_DNS", ONE(NAME("a.example", "80")));
	put("gone", "STRICT_DNS", ONE(NAME("a.example", "80")));
	take_out("gone");
	assert_true(mesh_dns_waiting(dns));
	mesh_dns_give_up(dns);
	assert_false(mesh_dns_waiting(dns));
	assert_string_equal(endpoints("c"), "-");
	wait_for("c", ""); /* the time-out, told with its reason */
	assert_non_null(strstr(set_of("c")->reason.data, "imeout"));
}

/* --- other configuration */

static void follows(void **state)
{
	unsigned asked;

	put("c", "STRICT_DNS", ONE(NAME("a.example", "80")));
	wait_for("c", "10.0.0.1:80=10.0.0.1:80 10.0.0.2:80=10.0.0.2:80");
	asked = dns_server_asked(&server, "a.example", false);
	/* the same name on another port, with another: what is known stays, what is not is asked for */
	put("c", "STRICT_DNS", "'connectTimeout': '1s', " ONE(NAME("b.example", "81") ", " NAME("a.example", "82")));
	assert_string_equal(endpoints("c"), "10.0.0.1:82=10.0.0.1:82 10.0.0.2:82=10.0.0.2:82");
	assert_false(mesh_dns_waiting(dns));
	wait_for("c", "10.0.1.1:81=10.0.1.1:81 10.0.0.1:82=10.0.0.1:82 10.0.0.2:82=10.0.0.2:82");
	assert_int_equal(dns_server_asked(&server, "a.example", false), asked);
	/* none of the names stays: nothing of the old ones does */
	dns_server_set(&server, "d.example", "10.0.4.1", 1);
	put("c", "STRICT_DNS", ONE(NAME("d.example", "80")));
	assert_string_equal(endpoints("c"), "-");
	assert_true(mesh_dns_waiting(dns));
	wait_for("c", "10.0.4.1:80=10.0.4.1:80");
	/* other questions about the same name: no answer to the old ones is one to them */
	put("c", "LOGICAL_DNS", ONE(NAME("d.example", "80")));
	assert_string_equal(endpoints("c"), "-");
	wait_for("c", "d.example:80=10.0.4.1:80");
	/* nothing of ours any more */
	put("c", "STATIC", ONE(NAME("10.0.0.1", "80")));
	assert_string_equal(endpoints("c"), "-");
	put("e", "STRICT_DNS", "'dnsRefreshRate': '0.02s', " ONE(NAME("d.example", "80")));
	wait_for("e", "10.0.4.1:80=10.0.4.1:80");
	take_out("e");
	assert_string_equal(endpoints("e"), "-");
	asked = dns_server_asked(&server, "d.example", false);
	run_ms(150);
	assert_int_equal(dns_server_asked(&server, "d.example", false), asked);
}

/* Taken away while it is being asked for, or waits for its turn. */
static void removed_while_asked(void **state)
{
	dns_server_behave(&server, "a.example", DNS_SILENT);
	put("c", "STRICT_DNS", ONE(NAME("a.example", "80") ", " NAME("a.example", "81")));
	wait_asked("a.example", 2);
	put("c", "STRICT_DNS", "'connectTimeout': '1s', " ONE(NAME("a.example", "80")));
	wait_asked("a.example", 3);
	take_out("c");
	assert_false(mesh_dns_waiting(dns));
	run_ms(1200);
	assert_int_equal(changes, 0);
}

static void many(void **state)
{
	char rest[256], name[16];

	for (int i = 0; i < 600; i++) {
		snprintf(rest, sizeof(rest), "'dnsRefreshRate': '30s', " ONE(NAME("a.example", "%d")), i + 1);
		snprintf(name, sizeof(name), "c%d", i);
		put(name, "STRICT_DNS", rest);
	}
	wait_for("c599", "10.0.0.1:600=10.0.0.1:600 10.0.0.2:600=10.0.0.2:600");
	while (mesh_dns_waiting(dns))
		assert_true(mesh_loop_run(loop, 100) >= 0);
	assert_int_equal(dns_server_asked(&server, "a.example", false), 600);
	assert_int_equal(mesh_table_count(mesh_dns_resolved(dns)), 600);
}

/* "format" with a number is the name of each. */
static const char *names(const char *format, int count)
{
	struct buf text;
	char name[32];
	int rc;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	rc = mesh_buf_printf(&text, "'dnsRefreshRate': '300s', 'loadAssignment': {'clusterName': 'c', 'endpoints': "
				    "[{'lbEndpoints': [");
	for (int i = 0; i < count && !rc; i++) {
		snprintf(name, sizeof(name), format, i);
		rc = mesh_buf_printf(&text,
				     "%s{'endpoint': {'address': {'socketAddress': {'address': '%s', 'portValue': %d}}}}",
				     i ? ", " : "", name, i + 1);
	}
	rc = rc ? rc : mesh_buf_printf(&text, "]}]}");
	assert_int_equal(rc, 0);
	format = mesh_arena_printf(&fixture.arena, "%.*s", (int)mesh_buf_len(&text),
				   mesh_buf_slice(&text).data).data;
	mesh_buf_free(&text);
	return format;
}

/* Answers that come together make one set, or a cluster of many names would be made anew for each of them. */
static void many_names(void **state)
{
	put("c", "STRICT_DNS", names("a.example", 1000));
	while (!set_of("c") || set_of("c")->endpoint_count < 2000)
		assert_true(mesh_loop_run(loop, 100) >= 0);
	assert_in_range(changes, 1, 250);
}

/* What a name had is found without a look at all others. */
static void many_renamed(void **state)
{
	const int count = 20000;
	uint64_t begun;

	put("c", "STRICT_DNS", names("n%d.example", count));
	begun = mesh_time_now_ns();
	put("c", "STRICT_DNS", names("m%d.example", count));
	assert_true(mesh_time_now_ns() - begun < 10000000000ull);
}

/* --- memory */

static struct cluster_config *first_config, *second_config;

static int follow(struct dns *one, struct cluster_config *config)
{
	struct table *table;
	int rc = mesh_table_put(&mesh_mem_default, NULL, &config->object.item, &table);

	assert_int_equal(rc, 0);
	rc = mesh_dns_follow(one, table);
	mesh_table_release(table);
	return rc;
}

static int scenario(const struct mesh_mem *mem, void *user)
{
	struct dns *one = NULL;
	struct loop *loop = NULL;
	int rc = mesh_loop_new(mem, &loop);

	if (!rc)
		rc = mesh_dns_new(&(struct dns_options){.mem = mem, .log = &log_none, .loop = loop, .changed = changed},
				  &one);
	if (!rc)
		rc = follow(one, first_config);
	for (int i = 0; i < 10 && !rc && mesh_dns_waiting(one); i++)
		rc = mesh_loop_run(loop, 20) < 0 ? -1 : 0;
	if (!rc)
		rc = follow(one, second_config);
	for (int i = 0; i < 3 && !rc; i++)
		rc = mesh_loop_run(loop, 5) < 0 ? -1 : 0;
	if (!rc && mesh_table_count(mesh_dns_resolved(one)) != 1)
		rc = MESH_ERROR_NOMEM; /* and an answer was lost to it, which the next one makes good */
	mesh_dns_free(one);
	mesh_loop_free(loop);
	return rc;
}

static void memory_runs_out(void **state)
{
	mesh_dns_free(dns);
	mesh_loop_free(loop);
	first_config = decode("c", "STRICT_DNS", "'dnsRefreshRate': '0.01s', " ONE(NAME("a.example", "80")));
	second_config = decode("c", "STRICT_DNS", ONE(NAME("a.example", "81") ", " NAME("b.example", "80")));
	assert_true(oom_run(scenario, NULL) >= 15);
	mesh_config_object_release(first_config);
	mesh_config_object_release(second_config);
	dns = NULL;
	loop = NULL;
}

/* As many as fill the map of them to where one more would make it grow; any allocation of the change may fail. */
static void followed_without_memory(void **state)
{
	char name[] = "c0";

	for (size_t n = 1;; n++) {
		size_t failed;

		if (clusters)
			mesh_table_release(clusters);
		clusters = NULL;
		for (int i = 0; i < 6; i++) {
			name[1] = (char)('0' + i);
			put(name, "STRICT_DNS", ONE(NAME("a.example", "80")));
		}
		for (int i = 0; i < 6; i++) { /* the same by another configuration */
			struct cluster_config *cluster;
			struct table *next;

			name[1] = (char)('0' + i);
			cluster = decode(name, "STRICT_DNS", "'waitForWarmOnInit': false, " ONE(NAME("b.example", "80")));
			assert_int_equal(mesh_table_put(&mesh_mem_default, clusters, &cluster->object.item, &next), 0);
			mesh_config_object_release(cluster);
			mesh_table_release(clusters);
			clusters = next;
		}
		failed = memory.failed;
		memory.fail_at = memory.calls + n;
		mesh_dns_follow(dns, clusters);
		memory.fail_at = 0;
		assert_int_equal(mesh_dns_follow(dns, clusters), 0);
		if (memory.failed == failed)
			break;
	}
	for (int i = 0; i < 6; i++) {
		name[1] = (char)('0' + i);
		assert_non_null(set_of(name));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(strict),
		TEST(each_address_once),
		TEST(logical),
		TEST(literals),
		TEST(extension),
		TEST(asked_again),
		TEST(ttl),
		TEST(jitter),
		TEST(last_good_stays),
		TEST(back_off),
		TEST(first_answer),
		TEST(given_up),
		TEST(follows),
		TEST(removed_while_asked),
		TEST(many),
		TEST(many_names),
		TEST(many_renamed),
		TEST(memory_runs_out),
		TEST(followed_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
