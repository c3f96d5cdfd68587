/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a name come to the addresses its server has, of the families asked for, with the least TTL; is every question
 * answered once and never inside the asking; is what a server should not say taken for no answer?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/dns_server.h"
#include "support/failing_mem.h"

#include "loop/resolver.h"

static struct dns_server server;
static struct failing_mem memory;
static struct loop *loop;
static struct resolver *resolver;

struct question {
	struct resolver_query query;
	int times, error;
	size_t count;
	uint32_t ttl_s;
	char text[512]; /* the first ones */
	char why[128];
	bool asking; /* `done` must not come now */
};

static void done(struct resolver_query *query, int error, const struct address *addresses, size_t count, uint32_t ttl_s)
{
	struct question *q = MESH_CONTAINER(query, struct question, query);

	assert_false(q->asking);
	q->times++;
	q->error = error;
	q->count = count;
	q->ttl_s = ttl_s;
	q->text[0] = '\0';
	for (size_t i = 0; i < count && i < 8; i++) {
		char text[MESH_ADDRESS_TEXT_BYTES];

		mesh_address_text(&addresses[i], text);
		snprintf(q->text + strlen(q->text), sizeof(q->text) - strlen(q->text), "%s%s", i ? " " : "", text);
	}
	snprintf(q->why, sizeof(q->why), "%s", query->why ? query->why : "");
}

static int ask(struct question *q, const char *name, enum resolver_family family)
{
	int rc;

	memset(q, 0, sizeof(*q));
	q->query.done = done;
	q->asking = true;
	rc = mesh_resolver_ask(resolver, mesh_slice_of(name), family, &q->query);
	q->asking = false;
	return rc;
}

static void wait(struct question *q)
{
	uint64_t until = mesh_time_now_ns() + 20000000000ull;

	while (!q->times) {
		assert_true(mesh_time_now_ns() < until);
		assert_true(mesh_loop_run(loop, 1000) >= 0);
	}
	assert_int_equal(q->times, 1);
	assert_null(q->query.state);
}

static void expect(const char *name, enum resolver_family family, const char *text)
{
	struct question q;

	assert_int_equal(ask(&q, name, family), 0);
	wait(&q);
	assert_int_equal(q.error, 0);
	assert_string_equal(q.text, text);
}

static void expect_failed(const char *name, const char *why)
{
	struct question q;

	assert_int_equal(ask(&q, name, RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_int_equal(q.error, MESH_ERROR_DNS);
	assert_int_equal(q.count, 0);
	assert_non_null(strstr(q.why, why));
}

static void open_with(struct resolver_options *options)
{
	struct address at = dns_server_address(&server);

	options->servers = &at;
	options->server_count = 1;
	if (!options->timeout_ms)
		options->timeout_ms = 300;
	if (!options->tries)
		options->tries = 1;
	assert_int_equal(mesh_resolver_new(&memory.mem, loop, options, &resolver), 0);
}

static int setup(void **state)
{
	struct resolver_options options = {.no_search = true};

	failing_mem_init(&memory, 0);
	dns_server_start(&server);
	dns_server_set(&server, "one.example", "10.0.0.1", 30);
	dns_server_set(&server, "both.example", "10.0.0.2 10.0.0.3 fd00::1", 60);
	dns_server_set(&server, "six.example", "fd00::6", 5);
	dns_server_set(&server, "empty.example", "", 5);
	if (mesh_loop_new(&memory.mem, &loop))
		return -1;
	open_with(&options);
	return 0;
}

static int teardown(void **state)
{
	mesh_resolver_free(resolver);
	mesh_loop_free(loop);
	dns_server_stop(&server);
	return memory.blocks ? -1 : 0;
}

/* --- */

static void families(void **state)
{
	struct question q;

	expect("one.example", RESOLVER_V4_ONLY, "10.0.0.1:0");
	expect("one.example", RESOLVER_AUTO, "10.0.0.1:0");
	expect("one.example", RESOLVER_ALL, "10.0.0.1:0");
	expect("both.example", RESOLVER_AUTO, "[fd00::1]:0");
	expect("both.example", RESOLVER_V4_PREFERRED, "10.0.0.2:0 10.0.0.3:0");
	expect("both.example", RESOLVER_ALL, "10.0.0.2:0 10.0.0.3:0 [fd00::1]:0");
	expect("six.example", RESOLVER_V4_PREFERRED, "[fd00::6]:0");
	expect("six.example", RESOLVER_V6_ONLY, "[fd00::6]:0");
	expect("six.example", RESOLVER_V4_ONLY, "");
	assert_int_equal(ask(&q, "six.example", RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_string_equal(q.why, "the name has no address");
}

static void absent(void **state)
{
	struct question q;

	for (int family = RESOLVER_AUTO; family <= RESOLVER_ALL; family++) {
		assert_int_equal(ask(&q, "none.example", (enum resolver_family)family), 0);
		wait(&q);
		assert_int_equal(q.error, 0);
		assert_int_equal(q.count, 0);
		assert_string_equal(q.why, "no such name");
	}
	expect("empty.example", RESOLVER_ALL, "");
}

static void ttls(void **state)
{
	struct question q;

	assert_int_equal(ask(&q, "one.example", RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_int_equal(q.ttl_s, 30);
	dns_server_alias(&server, "alias.example", "one.example", 7);
	assert_int_equal(ask(&q, "alias.example", RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_string_equal(q.text, "10.0.0.1:0");
	assert_int_equal(q.ttl_s, 7); /* the least on the way */
	dns_server_set(&server, "zero.example", "10.0.0.9", 0);
	assert_int_equal(ask(&q, "zero.example", RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_int_equal(q.ttl_s, 0);
}

static void literals(void **state)
{
	struct question q;

	expect("10.1.2.3", RESOLVER_V6_ONLY, "10.1.2.3:0");
	expect("fd00::7", RESOLVER_V4_ONLY, "[fd00::7]:0");
	assert_int_equal(ask(&q, "10.1.2.3", RESOLVER_AUTO), 0);
	mesh_resolver_cancel(&q.query);
	mesh_resolver_cancel(&q.query);
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	assert_int_equal(q.times, 0);
}

/* Nobody is asked about this host, whatever servers would say. */
static void this_host(void **state)
{
	dns_server_set(&server, "localhost", "10.0.0.1", 1);
	dns_server_set(&server, "a.localhost", "10.0.0.1", 1);
	dns_server_set(&server, "alocalhost", "10.0.0.5", 1);
	expect("localhost", RESOLVER_V4_ONLY, "127.0.0.1:0");
	expect("LocalHost", RESOLVER_V4_PREFERRED, "127.0.0.1:0");
	expect("a.localhost", RESOLVER_V6_ONLY, "[::1]:0");
	expect("localhost", RESOLVER_AUTO, "[::1]:0");
	expect("localhost", RESOLVER_ALL, "127.0.0.1:0 [::1]:0");
	assert_int_equal(dns_server_asked(&server, "localhost", false), 0);
	assert_int_equal(dns_server_asked(&server, "a.localhost", false), 0);
	expect("alocalhost", RESOLVER_V4_ONLY, "10.0.0.5:0");
}

/* Names of the hosts file, where there are other than this host's, come from there and have no TTL. */
static void hosts_file(void **state)
{
	FILE *file = fopen("/etc/hosts", "r");
	char line[512], ip[128], name[256];
	bool found = false;
	struct question q;

	while (file && !found && fgets(line, sizeof(line), file))
		found = line[0] != '#' && sscanf(line, "%127s %255s", ip, name) == 2 && !strchr(ip, ':') &&
			!strstr(name, "localhost");
	if (file)
		fclose(file);
	if (!found)
		skip();
	dns_server_set(&server, name, "10.0.0.1", 1);
	assert_int_equal(ask(&q, name, RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_memory_equal(q.text, ip, strlen(ip));
	assert_int_equal(q.ttl_s, 0);
	assert_int_equal(dns_server_asked(&server, name, false), 0);
	/* the family that the file does not have is asked for, and nothing is lost on the way */
	assert_int_equal(ask(&q, name, RESOLVER_ALL), 0);
	wait(&q);
	assert_memory_equal(q.text, ip, strlen(ip));
}

static void no_names(void **state)
{
	struct question q;
	char longest[300];

	memset(longest, 'a', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(ask(&q, "", RESOLVER_AUTO), MESH_ERROR_INVALID);
	assert_int_equal(ask(&q, longest, RESOLVER_AUTO), MESH_ERROR_INVALID);
	assert_int_equal(mesh_resolver_ask(resolver, MESH_SLICE("a\0b"), RESOLVER_AUTO, &q.query), MESH_ERROR_INVALID);
	/* labels longer than 63 bytes are no name to the protocol */
	longest[100] = '\0';
	assert_int_equal(ask(&q, longest, RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_int_equal(q.count, 0);
}

static void failures(void **state)
{
	dns_server_behave(&server, "one.example", DNS_FAILS);
	expect_failed("one.example", "");
	dns_server_behave(&server, "one.example", DNS_REFUSES);
	expect_failed("one.example", "");
	dns_server_behave(&server, "one.example", DNS_SILENT);
	expect_failed("one.example", "imeout");
	dns_server_behave(&server, "one.example", DNS_WRONG_ID);
	expect_failed("one.example", "imeout");
	dns_server_behave(&server, "one.example", DNS_OTHER_NAME);
	expect_failed("one.example", "imeout");
	dns_server_behave(&server, "one.example", DNS_GARBLES);
	expect_failed("one.example", "");
	dns_server_behave(&server, "one.example", DNS_ANSWERS);
	expect("one.example", RESOLVER_V4_ONLY, "10.0.0.1:0"); /* and it is none the worse for it */
}

/* One family that cannot be told is a failure only where the other has nothing. */
static void half(void **state)
{
	struct question q;

	dns_server_behave(&server, "empty.example", DNS_SILENT);
	assert_int_equal(ask(&q, "empty.example", RESOLVER_ALL), 0);
	wait(&q);
	assert_int_equal(q.error, MESH_ERROR_DNS);
	assert_int_equal(ask(&q, "empty.example", RESOLVER_AUTO), 0);
	wait(&q);
	assert_int_equal(q.error, MESH_ERROR_DNS);
}

static void truncated(void **state)
{
	dns_server_behave(&server, "both.example", DNS_TRUNCATES);
	expect("both.example", RESOLVER_V4_ONLY, "10.0.0.2:0 10.0.0.3:0");
	assert_int_equal(dns_server_asked(&server, "both.example", true), 1);
}

static void over_tcp(void **state)
{
	struct resolver_options options = {.use_tcp = true, .no_search = true};

	mesh_resolver_free(resolver);
	open_with(&options);
	expect("both.example", RESOLVER_V4_ONLY, "10.0.0.2:0 10.0.0.3:0");
	assert_int_equal(dns_server_asked(&server, "both.example", true),
			 dns_server_asked(&server, "both.example", false));
}

static void many_addresses(void **state)
{
	static char list[8192];
	struct question q;

	for (int i = 0; i < 400; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s10.9.%d.%d", i ? " " : "", i / 200,
			 i % 200);
	dns_server_set(&server, "many.example", list, 1);
	dns_server_behave(&server, "many.example", DNS_TRUNCATES);
	assert_int_equal(ask(&q, "many.example", RESOLVER_V4_ONLY), 0);
	wait(&q);
	assert_int_equal(q.count, RESOLVER_ADDRESSES_MAX);
}

static void many_questions(void **state)
{
	static struct question qs[RESOLVER_OPEN_MAX + 1];

	dns_server_behave(&server, "one.example", DNS_SILENT);
	for (int i = 0; i < RESOLVER_OPEN_MAX; i++)
		assert_int_equal(ask(&qs[i], "one.example", RESOLVER_V4_ONLY), 0);
	assert_int_equal(ask(&qs[RESOLVER_OPEN_MAX], "one.example", RESOLVER_V4_ONLY), MESH_ERROR_OVERFLOW);
	mesh_resolver_cancel(&qs[0].query); /* the network still owes it an answer */
	assert_int_equal(ask(&qs[RESOLVER_OPEN_MAX], "one.example", RESOLVER_V4_ONLY), MESH_ERROR_OVERFLOW);
	for (int i = 1; i < RESOLVER_OPEN_MAX; i++)
		wait(&qs[i]);
	assert_int_equal(qs[0].times, 0);
	dns_server_behave(&server, "one.example", DNS_ANSWERS);
	expect("one.example", RESOLVER_V4_ONLY, "10.0.0.1:0");
}

/* The resolver goes with questions open, one answered and not told yet, one cancelled: none hears of it. */
static void ends_early(void **state)
{
	struct resolver_options options = {.no_search = true};
	struct question open, told, cancelled;

	dns_server_behave(&server, "one.example", DNS_SILENT);
	assert_int_equal(ask(&open, "one.example", RESOLVER_ALL), 0);
	assert_int_equal(ask(&told, "10.0.0.1", RESOLVER_ALL), 0);
	assert_int_equal(ask(&cancelled, "one.example", RESOLVER_AUTO), 0);
	mesh_resolver_cancel(&cancelled.query);
	mesh_resolver_free(resolver);
	assert_int_equal(mesh_loop_run(loop, 0), 0);
	assert_int_equal(open.times + told.times + cancelled.times, 0);
	open_with(&options);
}

/* Nobody listens there: the failure comes at once, and the next question is asked with settings read anew. */
static void unreachable(void **state)
{
	struct resolver_options options = {.timeout_ms = 5000, .tries = 1, .no_search = true};
	uint64_t began = mesh_time_now_ns();

	mesh_resolver_free(resolver);
	dns_server_stop(&server);
	open_with(&options);
	expect_failed("one.example", "");
	expect_failed("one.example", "");
	assert_true(mesh_time_now_ns() - began < 4000000000ull);
	dns_server_start(&server);
}

static int scenario(const struct mesh_mem *mem, void *user)
{
	struct address at = dns_server_address(&server);
	struct resolver_options options = {
		.servers = &at, .server_count = 1, .timeout_ms = 200, .tries = 1, .no_search = true};
	struct question q = {0};
	int rc;

	loop = NULL;
	resolver = NULL;
	rc = mesh_loop_new(mem, &loop);
	if (!rc)
		rc = mesh_resolver_new(mem, loop, &options, &resolver);
	if (!rc)
		rc = ask(&q, "both.example", RESOLVER_ALL);
	if (!rc) {
		wait(&q);
		/* without memory for a socket or an address it is a failure like any other, of one family or of both */
		rc = q.count == 3 ? 0 : MESH_ERROR_NOMEM;
	}
	mesh_resolver_free(resolver);
	resolver = NULL;
	mesh_loop_free(loop);
	loop = NULL;
	return rc;
}

static void memory_runs_out(void **state)
{
	mesh_resolver_free(resolver);
	mesh_loop_free(loop);
	resolver = NULL;
	loop = NULL;
	assert_true(oom_run(scenario, NULL) >= 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(families),       TEST(absent),     TEST(ttls),        TEST(literals),
		TEST(this_host),      TEST(hosts_file), TEST(no_names),    TEST(failures),
		TEST(half),           TEST(truncated),  TEST(over_tcp),    TEST(many_addresses),
		TEST(many_questions), TEST(ends_early), TEST(unreachable), TEST(memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
