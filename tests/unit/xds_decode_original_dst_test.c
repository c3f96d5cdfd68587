/* SPDX-License-Identifier: Apache-2.0 */
/* Where a cluster of type ORIGINAL_DST sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/cluster_fixture.h"

#define ORIGINAL "'name': 'c', 'type': 'ORIGINAL_DST', 'lbPolicy': 'CLUSTER_PROVIDED', "

static void settings(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_json(
		f, ORIGINAL "'cleanupInterval': '60s', 'originalDstLbConfig': {'useHttpHeader': true, "
			    "'httpHeaderName': 'X-To', 'upstreamPortOverride': 8080}");

	assert_int_equal(c->original_dst.cleanup_ns, 60000000000);
	assert_int_equal(c->original_dst.port, 8080);
	assert_memory_equal(c->original_dst.header.data, "x-to", 5);
	mesh_config_object_release(c);
	c = cluster_fixture_json(f, ORIGINAL "'originalDstLbConfig': {'useHttpHeader': true}");
	assert_int_equal(c->original_dst.cleanup_ns, 5000000000);
	assert_int_equal(c->original_dst.port, 0);
	assert_memory_equal(c->original_dst.header.data, "x-envoy-original-dst-host", 26);
	mesh_config_object_release(c);
	c = cluster_fixture_json(f, ORIGINAL "'connectTimeout': '10s'");
	assert_null(c->original_dst.header.data);
	mesh_config_object_release(c);
}

static void refuse(struct decode_fixture *f, const char *rest, const char *words)
{
	assert_null(cluster_fixture_json(f, rest));
	if (!strstr(f->d.why.text, words))
		fail_msg("%s says: %s", rest, f->d.why.text);
}

static void refused(void **state)
{
	struct decode_fixture *f = *state;

	refuse(f, ORIGINAL "'originalDstLbConfig': {'httpHeaderName': 'x-to'}",
	       "original_dst_lb_config.http_header_name: \"x-to\": use_http_header is not set");
	refuse(f, ORIGINAL "'originalDstLbConfig': {'upstreamPortOverride': 65536}",
	       "original_dst_lb_config.upstream_port_override: 65536: must be 65535 or less");
	refuse(f, ORIGINAL "'cleanupInterval': '0s'", "cleanup_interval");
}

static int begin(void **state)
{
	*state = calloc(1, sizeof(struct decode_fixture));
	decode_fixture_begin(*state);
	return 0;
}

static int end(void **state)
{
	decode_fixture_end(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(settings, begin, end),
		cmocka_unit_test_setup_teardown(refused, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
