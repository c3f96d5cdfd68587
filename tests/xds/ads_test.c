/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out for what comes in, message by message, in both protocols; and what is refused in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/xds_response.h"
#include "xds/ads.h"

enum { SENT_MAX = 16 };

struct fixture {
	struct log log;
	char logged[8192];
	struct arena arena;
	struct resource_cache *cache;
	struct ads ads;
	const char *sent[SENT_MAX];
	size_t sent_count;
	int send_rc;
	struct why why;
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	struct fixture *f = user;
	size_t used = strlen(f->logged);

	snprintf(f->logged + used, sizeof(f->logged) - used, "%s\n", text);
}

static int record(void *user, struct mesh_slice message)
{
	struct fixture *f = user;

	if (f->send_rc)
		return f->send_rc;
	assert_true(f->sent_count < SENT_MAX);
	f->sent[f->sent_count++] = xds_request_text(&f->arena, f->ads.sotw, message);
	return 0;
}

static void begin(struct fixture *f, bool sotw)
{
	memset(f, 0, sizeof(*f));
	f->log = (struct log){log_line, f, MESH_LOG_WARNING};
	mesh_arena_init(&f->arena, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_new(&mesh_mem_default, &f->log, NULL, &f->cache), 0);
	f->ads = (struct ads){.mem = &mesh_mem_default, .log = &f->log, .cache = f->cache, .sotw = sotw, .send = record, .user = f};
	f->ads.node = MESH_SLICE("\x0a\x02id"); /* Node.id */
	mesh_ads_init(&f->ads);
}

static void end(struct fixture *f)
{
	mesh_ads_free(&f->ads);
	mesh_resource_cache_free(f->cache);
	mesh_arena_free(&f->arena);
}

/* Everything sent since the last time, to the letter. */
static void sent_only(struct fixture *f, const char *const *expected, size_t count)
{
	for (size_t i = 0; i < f->sent_count && i < count; i++)
		assert_string_equal(f->sent[i], expected[i]);
	if (f->sent_count != count)
		fail_msg("%zu requests, not %zu: %s", f->sent_count, count,
			 f->sent_count > count ? f->sent[count] : expected[f->sent_count]);
	f->sent_count = 0;
}

#define SENT(...) \
	do { \
		const char *const expected_[] = {__VA_ARGS__}; \
		sent_only(&f, expected_, sizeof(expected_) / sizeof(expected_[0])); \
	} while (0)

static int receive(struct fixture *f, struct mesh_slice bytes)
{
	char *own = malloc(bytes.len ? bytes.len : 1);
	int rc;

	if (bytes.len)
		memcpy(own, bytes.data, bytes.len);
	memset(&f->why, 0, sizeof(f->why));
	rc = mesh_ads_receive(&f->ads, mesh_slice_make(own, bytes.len), &f->why);
	free(own); /* nothing of it may be borrowed */
	return rc;
}

static int say(struct fixture *f, enum xds_type type, const char *nonce, const char *version, const struct xds_resource *resources,
	       size_t count, const char *const *removed)
{
	struct xds_response response = {.sotw = f->ads.sotw, .type = type, .nonce = nonce, .version = version,
					.resources = resources, .count = count, .removed = removed};

	return receive(f, xds_response_pack(&f->arena, &response));
}

/* One good response; what it leads to is for SENT. */
#define SAY(type, nonce, version, ...) \
	do { \
		const struct xds_resource resources_[] = {__VA_ARGS__}; \
		if (say(&f, type, nonce, version, resources_, sizeof(resources_) / sizeof(resources_[0]), NULL)) \
			fail_msg("%s", f.why.text); \
	} while (0)

static void remove_names(struct fixture *f, enum xds_type type, const char *nonce, const char *name)
{
	const char *const removed[] = {name, NULL};

	assert_int_equal(say(f, type, nonce, "", NULL, 0, removed), 0);
}

#define CLUSTER(name)	xds_make_cluster(&f.arena, "1", name)
#define ENDPOINTS(name) xds_make_endpoints(&f.arena, "1", name)
#define BAD(name)	xds_make_bad_cluster(&f.arena, "2", name)
#define BAD_WORDS	"connect_timeout: 0s: must be greater than 0"

/* ---- delta ---- */

static void delta_begins_with_wildcards(void **state)
{
	struct fixture f;

	begin(&f, false);
	assert_string_equal(mesh_ads_method(&f.ads), "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources");
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds node", "lds"); /* the node once; by-name types not before there are names */
	end(&f);
}

static void delta_follows_the_names(void **state)
{
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("b"), CLUSTER("a"));
	SENT("cds nonce:n1", "eds +a,b");
	SAY(XDS_ENDPOINT, "n2", "v1", ENDPOINTS("a"), ENDPOINTS("b"));
	SENT("eds nonce:n2");
	SAY(XDS_LISTENER, "n3", "v1", xds_make_listener(&f.arena, "1", "l", 80, "80"));
	SENT("lds nonce:n3", "rds +80");
	SAY(XDS_ROUTE, "n4", "v1", xds_make_routes(&f.arena, "1", "80", "a"));
	SENT("rds nonce:n4");
	/* one comes, one goes, one stays: in one request */
	SAY(XDS_CLUSTER, "n5", "v2", CLUSTER("c"));
	SENT("cds nonce:n5", "eds +c");
	remove_names(&f, XDS_CLUSTER, "n6", "a");
	SENT("cds nonce:n6", "eds -a");
	SAY(XDS_LISTENER, "n7", "v2", xds_make_listener(&f.arena, "2", "l", 80, "81"));
	SENT("lds nonce:n7", "rds +81 -80");
	/* the last names go: unsubscribed, and a name that comes back is asked for anew */
	remove_names(&f, XDS_LISTENER, "n8", "l");
	SENT("lds nonce:n8", "rds -81");
	SAY(XDS_LISTENER, "n9", "v3", xds_make_listener(&f.arena, "3", "l", 80, "80"));
	SENT("lds nonce:n9", "rds +80");
	end(&f);
}

static void delta_refuses_by_name_and_takes_the_rest(void **state)
{
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("a"), BAD("x"), CLUSTER("b"), BAD("y"));
	SENT("cds nonce:n1 error:3:x: " BAD_WORDS "\ny: " BAD_WORDS "\n", "eds +a,b");
	assert_non_null(strstr(f.logged, "cds: refused: x: " BAD_WORDS " | y: " BAD_WORDS "\n")); /* one line, told apart */
	assert_int_equal(mesh_counter_read(&f.ads.types[XDS_CLUSTER].responses), 1);
	assert_int_equal(mesh_counter_read(&f.ads.types[XDS_CLUSTER].rejected), 1);
	/* the refused one, made good; then the good one, made bad, which stays in force */
	SAY(XDS_CLUSTER, "n2", "v2", CLUSTER("x"));
	SENT("cds nonce:n2", "eds +x");
	SAY(XDS_CLUSTER, "n3", "v3", BAD("a"));
	SENT("cds nonce:n3 error:3:a: " BAD_WORDS "\n");
	assert_int_equal(mesh_counter_read(&f.ads.types[XDS_CLUSTER].responses), 3);
	assert_int_equal(mesh_counter_read(&f.ads.types[XDS_CLUSTER].rejected), 2);
	end(&f);
}

static void many_refused_are_one_bounded_line_of_the_log(void **state)
{
	enum { COUNT = 40 };
	struct xds_resource bad[COUNT];
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	for (int i = 0; i < COUNT; i++)
		bad[i] = BAD(mesh_arena_printf(&f.arena, "%d", i).data);
	assert_int_equal(say(&f, XDS_CLUSTER, "n1", "v1", bad, COUNT, NULL), 0);
	assert_non_null(strstr(f.logged, "cds: refused: 0: " BAD_WORDS " | 1: " BAD_WORDS " | "));
	assert_int_equal(strlen(f.logged), strlen("cds: refused: ") + 899 + strlen("\n"));
	end(&f);
}

static void delta_tells_what_it_holds_on_a_new_stream(void **state)
{
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("a"), xds_make_cluster(&f.arena, "7", "b"), BAD("x"));
	SAY(XDS_ENDPOINT, "n2", "v1", ENDPOINTS("a"));
	SAY(XDS_LISTENER, "n3", "v1", xds_make_listener(&f.arena, "5", "l", 80, "80"));
	f.sent_count = 0;
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	/* x was never taken: not held. b has no endpoints yet and asks for them all the same; so do the routes */
	SENT("cds held:a=1,b=7 node", "eds +a,b held:a=1", "lds held:l=5", "rds +80");
	/* the server may say at once what is gone meanwhile */
	remove_names(&f, XDS_CLUSTER, "m1", "b");
	SENT("cds nonce:m1", "eds -b");
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds held:a=1 node", "eds +a held:a=1", "lds held:l=5", "rds +80");
	end(&f);
}

static void delta_heartbeats_change_nothing(void **state)
{
	struct xds_resource beat = {.name = MESH_SLICE("a"), .version = MESH_SLICE("9")};
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("a"));
	f.sent_count = 0;
	SAY(XDS_CLUSTER, "n2", "v2", beat);
	SENT("cds nonce:n2");
	mesh_ads_open(&f.ads);
	SENT("cds held:a=1 node", "eds +a", "lds");
	end(&f);
}

/* A server may answer with less than was asked, with nothing, or with what was not asked: each is acknowledged. */
static void delta_lacking_and_unasked_resources(void **state)
{
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("a"), CLUSTER("b"));
	f.sent_count = 0;
	SAY(XDS_ENDPOINT, "n2", "v1", ENDPOINTS("b"), ENDPOINTS("stranger"));
	SENT("eds nonce:n2");
	assert_int_equal(say(&f, XDS_ENDPOINT, "n3", "v1", NULL, 0, NULL), 0);
	SENT("eds nonce:n3");
	remove_names(&f, XDS_ENDPOINT, "n4", "a");
	SENT("eds nonce:n4"); /* still asked for: the cluster names it */
	mesh_ads_open(&f.ads);
	SENT("cds held:a=1,b=1 node", "eds +a,b held:b=1", "lds");
	end(&f);
}

static void delta_takes_the_version_of_the_response_for_one_without(void **state)
{
	struct fixture f;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n1", "system-4", xds_make_cluster(&f.arena, "", "a"));
	f.sent_count = 0;
	mesh_ads_open(&f.ads);
	SENT("cds held:a=system-4 node", "eds +a", "lds");
	end(&f);
}

/* Each response is answered by its own nonce, in order, however many come in a row; subscriptions carry none. */
static void delta_one_after_another(void **state)
{
	struct fixture f;
	char nonce[16], ack[32];

	begin(&f, false);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n", "v", CLUSTER("a"));
	f.sent_count = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(nonce, sizeof(nonce), "n%d", i);
		snprintf(ack, sizeof(ack), "eds nonce:n%d", i);
		SAY(XDS_ENDPOINT, nonce, "v", xds_make_endpoints(&f.arena, nonce, "a"));
		SENT(ack);
	}
	end(&f);
}

/* ---- state of the world ---- */

static void sotw_begins_with_wildcards(void **state)
{
	struct fixture f;

	begin(&f, true);
	assert_string_equal(mesh_ads_method(&f.ads), "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds node", "lds");
	end(&f);
}

static void sotw_follows_the_names(void **state)
{
	struct fixture f;

	begin(&f, true);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("b"), CLUSTER("a"));
	SENT("cds version:v1 nonce:n1", "eds names:a,b");
	SAY(XDS_ENDPOINT, "n2", "e1", ENDPOINTS("a"), ENDPOINTS("b"));
	SENT("eds names:a,b version:e1 nonce:n2");
	/* not named any more is gone; a change of names goes by the last nonce, so the server knows it from a stale one */
	SAY(XDS_CLUSTER, "n3", "v2", CLUSTER("b"), CLUSTER("c"));
	SENT("cds version:v2 nonce:n3", "eds names:b,c version:e1 nonce:n2");
	/* an answer to names of before the change: taken as far as it is wanted, acknowledged for the names of now */
	SAY(XDS_ENDPOINT, "n4", "e2", ENDPOINTS("a"), ENDPOINTS("b"));
	SENT("eds names:b,c version:e2 nonce:n4");
	SAY(XDS_LISTENER, "n5", "l1", xds_make_listener(&f.arena, "", "l", 80, "80"));
	SENT("lds version:l1 nonce:n5", "rds names:80");
	SAY(XDS_LISTENER, "n6", "l2", xds_make_listener(&f.arena, "", "l", 80, "81"));
	SENT("lds version:l2 nonce:n6", "rds names:81");
	assert_int_equal(say(&f, XDS_CLUSTER, "n7", "v3", NULL, 0, NULL), 0);
	SENT("cds version:v3 nonce:n7", "eds version:e2 nonce:n4"); /* no name left: unsubscribed from all */
	end(&f);
}

static void sotw_refuses_with_the_last_good_version(void **state)
{
	struct fixture f;

	begin(&f, true);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	SAY(XDS_CLUSTER, "n1", "v1", BAD("x"), CLUSTER("a"));
	SENT("cds nonce:n1 error:3:x: " BAD_WORDS "\n", "eds names:a"); /* none was wholly good yet */
	SAY(XDS_CLUSTER, "n2", "v2", CLUSTER("a"), CLUSTER("b"));
	SENT("cds version:v2 nonce:n2", "eds names:a,b");
	/* b is bad and kept, a is gone, c is new */
	SAY(XDS_CLUSTER, "n3", "v3", BAD("b"), CLUSTER("c"));
	SENT("cds version:v2 nonce:n3 error:3:b: " BAD_WORDS "\n", "eds names:b,c");
	end(&f);
}

static void sotw_tells_the_version_on_a_new_stream(void **state)
{
	struct fixture f;

	begin(&f, true);
	mesh_ads_open(&f.ads);
	SAY(XDS_CLUSTER, "n1", "v1", CLUSTER("a"));
	SAY(XDS_ENDPOINT, "n2", "e1", ENDPOINTS("a"));
	f.sent_count = 0;
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds version:v1 node", "eds names:a version:e1", "lds"); /* nonces belong to a stream */
	end(&f);
}

/* ---- bad input ---- */

static void refused(struct fixture *f, struct mesh_slice bytes, const char *words)
{
	f->sent_count = 0;
	assert_int_equal(receive(f, bytes), MESH_ERROR_INVALID);
	assert_string_equal(f->why.text, words);
	assert_int_equal(f->sent_count, 0);
}

/* As Envoy does with a type that has no subscriber. */
static void passed_over(struct fixture *f, struct mesh_slice bytes)
{
	f->sent_count = 0;
	assert_int_equal(receive(f, bytes), 0);
	assert_int_equal(f->sent_count, 0);
}

static void not_a_response(void **state)
{
	struct xds_response response = {.type = XDS_CLUSTER, .nonce = "n"};
	static char long_nonce[5000];
	struct mesh_slice whole;
	struct xds_resource one;
	struct fixture f;

	memset(long_nonce, 'n', sizeof(long_nonce) - 1);
	for (int sotw = 0; sotw < 2; sotw++) {
		begin(&f, sotw);
		mesh_ads_open(&f.ads);
		one = CLUSTER("a");
		response.sotw = sotw;
		response.type_url = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
		passed_over(&f, xds_response_pack(&f.arena, &response));
		response.type_url = mesh_xds_type_urls[XDS_ENDPOINT]; /* known, but nobody asked yet */
		passed_over(&f, xds_response_pack(&f.arena, &response));
		refused(&f, MESH_SLICE(""), "discovery response: type_url: is empty");
		response.type_url = NULL;
		response.nonce = "";
		refused(&f, xds_response_pack(&f.arena, &response), "discovery response: nonce: is empty");
		response.nonce = long_nonce;
		refused(&f, xds_response_pack(&f.arena, &response), "discovery response: nonce: longer than 4095 bytes");
		/* cut at every length: never a crash, and nothing of it is taken unless it happens to be whole */
		response.nonce = "n";
		response.resources = &one;
		response.count = 1;
		whole = xds_response_pack(&f.arena, &response);
		for (size_t len = 0; len < whole.len; len++) {
			int rc = receive(&f, mesh_slice_make(whole.data, len));

			assert_true(rc == 0 || (rc == MESH_ERROR_INVALID && f.why.text[0]));
			f.sent_count = 0;
		}
		assert_int_equal(receive(&f, whole), 0);
		response.resources = NULL;
		response.count = 0;
		end(&f);
	}
}

/* A message in a message, `levels` deep, as a field that takes one like itself. */
static struct mesh_slice nested(struct arena *arena, unsigned levels, char tag)
{
	char *bytes = mesh_arena_alloc(arena, (size_t)levels * 6 + 16), *at = bytes + (size_t)levels * 6 + 16;
	size_t len = 0;

	for (unsigned i = 0; i < levels; i++) {
		char head[6];
		size_t n = 0;

		head[n++] = tag;
		for (size_t left = len;; left >>= 7) {
			head[n++] = (char)(left >= 0x80 ? left | 0x80 : left);
			if (left < 0x80)
				break;
		}
		at -= n;
		memcpy(at, head, n);
		len += n;
	}
	return mesh_slice_make(at, len);
}

static void nesting(void **state)
{
	struct xds_resource deep = {.name = MESH_SLICE("deep"), .version = MESH_SLICE("1")};
	struct fixture f;
	struct buf bytes;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	/* in the response itself: nothing of it can be used */
	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	mesh_buf_append(&bytes, nested(&f.arena, 1000, 0x12)); /* field 2: resources */
	assert_int_equal(receive(&f, mesh_buf_slice(&bytes)), MESH_ERROR_INVALID);
	mesh_buf_free(&bytes);
	/* in a resource: refused by name, the stream goes on */
	deep.type_url = mesh_slice_of(mesh_xds_type_urls[XDS_ROUTE]);
	SAY(XDS_LISTENER, "n0", "v", xds_make_listener(&f.arena, "1", "l", 80, "deep"));
	f.sent_count = 0;
	deep.bytes = nested(&f.arena, 1000, 0x12);
	assert_int_equal(say(&f, XDS_ROUTE, "n1", "v", &deep, 1, NULL), 0);
	assert_int_equal(f.sent_count, 1);
	assert_non_null(strstr(f.sent[0], "rds nonce:n1 error:3:deep: "));
	end(&f);
}

/* Few bytes that would take much memory: a bound, not an attempt to get it. */
static void many_small_things(void **state)
{
	enum { COUNT = 3000000 };
	struct fixture f;
	char *bytes = malloc((size_t)COUNT * 2);

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	for (size_t i = 0; i < COUNT; i++) {
		bytes[2 * i] = 0x12; /* an empty resource */
		bytes[2 * i + 1] = 0;
	}
	assert_int_equal(receive(&f, mesh_slice_make(bytes, (size_t)COUNT * 2)), MESH_ERROR_INVALID);
	assert_non_null(strstr(f.why.text, "when unpacked"));
	assert_int_equal(f.sent_count, 0);
	/* the memory is not kept */
	assert_true(f.ads.scratch.total < 1 << 20);
	SAY(XDS_CLUSTER, "n1", "v", CLUSTER("a"));
	SENT("cds nonce:n1", "eds +a");
	free(bytes);
	end(&f);
}

/* More to say than an answer holds: cut at a line, so that it stays text, and all good ones are taken. */
static void long_refusals(void **state)
{
	enum { COUNT = 300 };
	struct xds_resource *list;
	struct fixture f;
	char name[160];
	const char *error;

	begin(&f, false);
	mesh_ads_open(&f.ads);
	f.sent_count = 0;
	list = mesh_arena_array(&f.arena, COUNT + 1, sizeof(*list));
	for (int i = 0; i < COUNT; i++) {
		/* every length of a line, so that a cut anywhere would split a character */
		snprintf(name, sizeof(name), "%03d%.*sää", i, i % 7, "-------");
		list[i] = BAD(name);
	}
	list[COUNT] = CLUSTER("good");
	assert_int_equal(say(&f, XDS_CLUSTER, "n1", "v", list, COUNT + 1, NULL), 0);
	assert_int_equal(f.sent_count, 2);
	assert_string_equal(f.sent[1], "eds +good");
	error = strstr(f.sent[0], "error:3:");
	assert_non_null(error);
	assert_true(strlen(error + 8) > 7000 && strlen(error + 8) <= 8192);
	assert_string_equal(error + strlen(error) - strlen(BAD_WORDS) - 1, BAD_WORDS "\n");
	end(&f);
}

static void unsendable(void **state)
{
	struct fixture f;

	begin(&f, false);
	f.send_rc = MESH_ERROR_STATE;
	assert_int_equal(mesh_ads_open(&f.ads), MESH_ERROR_STATE);
	f.send_rc = 0;
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds node", "lds"); /* the node was not sent, so it is now */
	f.send_rc = MESH_ERROR_NOMEM;
	assert_int_equal(say(&f, XDS_CLUSTER, "n1", "v", (struct xds_resource[]){CLUSTER("a")}, 1, NULL), MESH_ERROR_NOMEM);
	f.send_rc = 0;
	assert_int_equal(mesh_ads_open(&f.ads), 0);
	SENT("cds held:a=1 node", "eds +a", "lds");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delta_begins_with_wildcards),
		cmocka_unit_test(delta_follows_the_names),
		cmocka_unit_test(delta_refuses_by_name_and_takes_the_rest),
		cmocka_unit_test(many_refused_are_one_bounded_line_of_the_log),
		cmocka_unit_test(delta_tells_what_it_holds_on_a_new_stream),
		cmocka_unit_test(delta_heartbeats_change_nothing),
		cmocka_unit_test(delta_lacking_and_unasked_resources),
		cmocka_unit_test(delta_takes_the_version_of_the_response_for_one_without),
		cmocka_unit_test(delta_one_after_another),
		cmocka_unit_test(sotw_begins_with_wildcards),
		cmocka_unit_test(sotw_follows_the_names),
		cmocka_unit_test(sotw_refuses_with_the_last_good_version),
		cmocka_unit_test(sotw_tells_the_version_on_a_new_stream),
		cmocka_unit_test(not_a_response),
		cmocka_unit_test(nesting),
		cmocka_unit_test(many_small_things),
		cmocka_unit_test(long_refusals),
		cmocka_unit_test(unsendable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
