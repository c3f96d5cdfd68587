/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization: every kind of rule, every action, and random trees against a simple model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "policy/rbac.h"

#define S(text) mesh_slice_of(text)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct arena arena;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static struct address ip(const char *text, uint16_t port)
{
	struct address address;

	assert_int_equal(mesh_address_parse(&address, S(text), port), 0);
	return address;
}

static struct cidr range(const char *text, uint8_t bits)
{
	struct address base = ip(text, 0);
	struct cidr cidr = {.bits = bits};

	memcpy(cidr.bytes, &base.v4.sin_addr, 4);
	return cidr;
}

static struct string_match exact(const char *text)
{
	return (struct string_match){.kind = STRING_MATCH_EXACT, .text = S(text)};
}

static struct string_match prefix(const char *text)
{
	return (struct string_match){.kind = STRING_MATCH_PREFIX, .text = S(text)};
}

/* A request as a sidecar sees it, changed by each test. */
struct scene {
	struct headers headers;
	struct route_request http;
	struct mesh_slice uris[2], names[2];
	struct address source, direct, destination;
	struct authz_request request;
};

static void scene_make(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	scene->http = (struct route_request){.method = S("GET"), .scheme = S("https"), .authority = S("a.test"),
					     .path = S("/info/x?q=/admin"), .headers = &scene->headers};
	mesh_headers_add(&scene->headers, &arena, S("x-token"), S("secret"));
	scene->uris[0] = S("spiffe://td/ns/a/sa/one");
	scene->uris[1] = S("spiffe://td/ns/a/sa/two");
	scene->names[0] = S("one.test");
	scene->source = ip("9.9.9.9", 999);
	scene->direct = ip("10.1.2.3", 1234);
	scene->destination = ip("10.0.0.7", 8080);
	scene->request = (struct authz_request){
		.http = &scene->http, .authenticated = true, .uri_sans = scene->uris, .uri_san_count = 2,
		.dns_sans = scene->names, .dns_san_count = 1, .subject = S("CN=one"), .source = &scene->source,
		.direct = &scene->direct, .destination = &scene->destination, .server_name = S("outbound_.80_._.a")};
}

static bool allowed_by(struct authz_rule *permission, enum authz_action action, const struct authz_request *request)
{
	struct authz_rule any = {.kind = AUTHZ_ANY};
	struct authz_policy policy = {.name = S("p"), .permissions = permission, .permission_count = 1, .principals = &any,
				      .principal_count = 1};
	struct authz_rules rules = {.action = action, .policies = &policy, .count = 1};
	struct authz_config config = {.rules = &rules};
	struct authz_result result;

	mesh_rbac_check(&config, request, &arena, &result);
	assert_false(result.shadow_checked);
	if (action != AUTHZ_LOG) /* the deciding policy is named when there is one */
		assert_int_equal(result.policy.data != NULL, result.allowed == (action == AUTHZ_ALLOW));
	return result.allowed;
}

static bool hits(struct authz_rule rule, const struct authz_request *request)
{
	bool allow = allowed_by(&rule, AUTHZ_ALLOW, request);

	assert_int_equal(allowed_by(&rule, AUTHZ_DENY, request), !allow); /* decidable: both see the same */
	assert_true(allowed_by(&rule, AUTHZ_LOG, request));
	return allow;
}

#define RULE(...) ((struct authz_rule){__VA_ARGS__})

static void connection_rules(void **state)
{
	struct scene s;

	scene_make(&s);
	assert_true(hits(RULE(.kind = AUTHZ_ANY), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_DESTINATION_IP, .cidr = range("10.0.0.0", 8)), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_DESTINATION_IP, .cidr = range("10.1.0.0", 16)), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_DESTINATION_PORT, .port_from = 8080), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_DESTINATION_PORT, .port_from = 8081), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_DESTINATION_PORT_RANGE, .port_from = 8080, .port_to = 8081), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_DESTINATION_PORT_RANGE, .port_from = 8000, .port_to = 8080), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_SERVER_NAME, .string = prefix("outbound_.80")), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_SERVER_NAME, .string = exact("a")), &s.request));
	s.request.server_name = (struct mesh_slice){NULL, 0};
	assert_false(hits(RULE(.kind = AUTHZ_SERVER_NAME, .string = exact("a")), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_SERVER_NAME, .string = exact("")), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_SOURCE_IP, .cidr = range("10.1.0.0", 16)), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_DIRECT_REMOTE_IP, .cidr = range("10.1.0.0", 16)), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_DIRECT_REMOTE_IP, .cidr = range("9.0.0.0", 8)), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_REMOTE_IP, .cidr = range("9.0.0.0", 8)), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_REMOTE_IP, .cidr = range("10.0.0.0", 8)), &s.request));
}

static void identities(void **state)
{
	struct scene s;
	struct authz_rule plain = {.kind = AUTHZ_AUTHENTICATED};
	struct authz_rule state_rule = {.kind = AUTHZ_FILTER_STATE, .key = S("io.istio.peer_principal"), .has_string = true};

	scene_make(&s);
#define NAMED(match) RULE(.kind = AUTHZ_AUTHENTICATED, .has_string = true, .string = match)
	assert_true(hits(plain, &s.request));
	assert_true(hits(NAMED(exact("spiffe://td/ns/a/sa/one")), &s.request));
	assert_true(hits(NAMED(exact("spiffe://td/ns/a/sa/two")), &s.request));
	assert_true(hits(NAMED(prefix("spiffe://td/")), &s.request));
	assert_false(hits(NAMED(exact("spiffe://td/ns/a/sa/three")), &s.request));
	assert_true(hits(NAMED(exact("one.test")), &s.request)); /* then DNS names, then the subject */
	assert_true(hits(NAMED(exact("CN=one")), &s.request));
	assert_false(hits(NAMED(exact("")), &s.request));
	state_rule.string = exact("spiffe://td/ns/a/sa/one");
	assert_true(hits(state_rule, &s.request));
	state_rule.string = exact("spiffe://td/ns/a/sa/two"); /* the first one is kept */
	assert_false(hits(state_rule, &s.request));
	state_rule.string = prefix("");
	assert_true(hits(state_rule, &s.request));
	state_rule.key = S("other");
	assert_false(hits(state_rule, &s.request));
	state_rule.key = S("io.istio.peer_principal");
	s.request.authenticated = false;
	assert_false(hits(plain, &s.request));
	assert_false(hits(NAMED(prefix("")), &s.request));
	assert_false(hits(state_rule, &s.request));
	s.request.authenticated = true;
	s.request.uri_san_count = s.request.dns_san_count = 0;
	s.request.subject = (struct mesh_slice){NULL, 0};
	assert_false(hits(NAMED(prefix("spiffe://")), &s.request));
	assert_false(hits(state_rule, &s.request));
	assert_true(hits(plain, &s.request));
}

static void http_rules(void **state)
{
	struct header_match token = {.name = S("x-token"), .kind = HEADER_MATCH_STRING, .string = exact("secret")};
	struct header_match method = {.name = S(":method"), .kind = HEADER_MATCH_STRING, .string = exact("GET")};
	struct header_match missing = {.name = S("x-none"), .kind = HEADER_MATCH_PRESENT, .invert = true};
	struct scene s;

	scene_make(&s);
	assert_true(hits(RULE(.kind = AUTHZ_URL_PATH, .string = exact("/info/x")), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_URL_PATH, .string = exact("/info/x?q=/admin")), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_URI_TEMPLATE, .string = prefix("/info")), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_HEADER, .header = token), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_HEADER, .header = method), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_HEADER, .header = missing), &s.request));
	assert_false(hits(RULE(.kind = AUTHZ_METADATA), &s.request));
	assert_true(hits(RULE(.kind = AUTHZ_METADATA, .metadata_invert = true), &s.request));
	s.http.path = S("/info/x#/admin");
	assert_true(hits(RULE(.kind = AUTHZ_URL_PATH, .string = exact("/info/x")), &s.request));
}

/* What cannot be decided never opens: not for ALLOW, not for DENY, not through negations. */
static void undecidable(void **state)
{
	struct header_match token = {.name = S("x"), .kind = HEADER_MATCH_PRESENT};
	struct authz_rule kinds[] = {
		{.kind = AUTHZ_NEVER},
		{.kind = AUTHZ_URL_PATH, .string = prefix("/")},
		{.kind = AUTHZ_URI_TEMPLATE, .string = prefix("/")},
		{.kind = AUTHZ_HEADER, .header = token},
		{.kind = AUTHZ_METADATA},
		{.kind = AUTHZ_METADATA, .metadata_invert = true},
		{.kind = AUTHZ_REMOTE_IP, .cidr = range("0.0.0.0", 0)},
		{.kind = AUTHZ_DESTINATION_PORT, .port_from = 1},
		{.kind = AUTHZ_NOT, .count = 0},
		{.kind = (enum authz_rule_kind)99},
	};
	struct authz_request connection = {.authenticated = true};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct authz_rule not = {.kind = AUTHZ_NOT, .items = &kinds[i], .count = 1};
		struct authz_rule twice = {.kind = AUTHZ_NOT, .items = &not, .count = 1};
		struct authz_rule *all[] = {&kinds[i], &not, &twice};

		for (size_t k = 0; k < COUNT(all); k++) {
			if (allowed_by(all[k], AUTHZ_ALLOW, &connection) || allowed_by(all[k], AUTHZ_DENY, &connection))
				fail_msg("kind %zu under %zu negations opened", i, k);
		}
	}
}

/* Inverted, a condition holds where none of the values meets it. */
static void several_values(void **state)
{
	struct header_match inverted = {.name = S("x"), .kind = HEADER_MATCH_STRING, .invert = true, .string = exact("no")};
	struct authz_rule rule = {.kind = AUTHZ_HEADER, .header = inverted}, any = {.kind = AUTHZ_ANY};
	struct authz_policy policy = {.permissions = &rule, .permission_count = 1, .principals = &any, .principal_count = 1};
	struct authz_rules rules = {.policies = &policy, .count = 1};
	struct authz_config config = {.rules = &rules};
	struct authz_result result;
	struct arena tiny;
	struct scene s;

	scene_make(&s);
	mesh_headers_add(&s.headers, &arena, S("x"), S("a"));
	mesh_headers_add(&s.headers, &arena, S("x"), S("b"));
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	for (size_t i = 0; i < 2; i++) {
		for (rules.action = AUTHZ_ALLOW; rules.action <= AUTHZ_DENY; rules.action++) {
			mesh_rbac_check(&config, &s.request, &tiny, &result);
			assert_int_equal(result.allowed, (rules.action == AUTHZ_ALLOW) == (i == 0));
		}
		mesh_headers_add(&s.headers, &arena, S("x"), S("no"));
	}
	mesh_arena_free(&tiny);
}

static void deep_trees(void **state)
{
	enum { deep = 5000 };
	struct authz_rule *rules = mesh_arena_array(&arena, deep, sizeof(*rules));
	struct scene s;

	scene_make(&s);
	for (size_t i = 0; i + 1 < deep; i++)
		rules[i] = RULE(.kind = AUTHZ_NOT, .items = &rules[i + 1], .count = 1);
	rules[deep - 1].kind = AUTHZ_ANY;
	assert_false(allowed_by(&rules[0], AUTHZ_ALLOW, &s.request));
	assert_false(allowed_by(&rules[0], AUTHZ_DENY, &s.request));
}

static struct authz_policy on_port(const char *name, struct authz_rule *port, struct authz_rule *any)
{
	return (struct authz_policy){.name = S(name), .permissions = port, .permission_count = 1, .principals = any,
				     .principal_count = 1};
}

static void policies_and_shadow(void **state)
{
	struct authz_rule any = {.kind = AUTHZ_ANY}, port = {.kind = AUTHZ_DESTINATION_PORT, .port_from = 8080},
			  other = {.kind = AUTHZ_DESTINATION_PORT, .port_from = 1};
	struct authz_policy some[] = {on_port("a", &other, &any), on_port("b", &port, &any), on_port("c", &port, &any)};
	struct authz_policy half[] = {on_port("x", &port, &other)};
	struct authz_rules rules = {.action = AUTHZ_ALLOW, .policies = some, .count = 3};
	struct authz_rules shadow = {.action = AUTHZ_DENY, .policies = some, .count = 3};
	struct authz_rules nothing = {.action = AUTHZ_ALLOW};
	struct authz_config config = {.rules = &rules, .shadow = &shadow};
	struct authz_result result;
	struct scene s;

	scene_make(&s);
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_true(result.allowed);
	assert_true(mesh_slice_equal(result.policy, S("b"))); /* the first by name */
	assert_true(result.shadow_checked);
	assert_false(result.shadow_allowed); /* counted, not enforced */
	assert_true(mesh_slice_equal(result.shadow_policy, S("b")));
	config.rules = &nothing; /* an ALLOW without policies allows nothing */
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_false(result.allowed);
	assert_null(result.policy.data);
	nothing.action = AUTHZ_DENY;
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_true(result.allowed);
	config.rules = NULL; /* nothing is enforced */
	config.shadow = NULL;
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_true(result.allowed);
	assert_false(result.shadow_checked);
	rules = (struct authz_rules){.action = AUTHZ_ALLOW, .policies = half, .count = 1};
	config.rules = &rules;
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_false(result.allowed); /* permission and principal must both match */
	half[0].principals = &any;
	half[0].permission_count = 0;
	mesh_rbac_check(&config, &s.request, &arena, &result);
	assert_false(result.allowed);
}

/* The model: leaves with a known truth (or none), trees judged in negation normal form. */
enum truth {
	NO,
	YES,
	UNKNOWN,
};

struct leaf {
	struct authz_rule rule;
	enum truth truth;
};

static struct leaf leaves[] = {
	{{.kind = AUTHZ_ANY}, YES},
	{{.kind = AUTHZ_NEVER}, UNKNOWN},
	{{.kind = AUTHZ_DESTINATION_PORT, .port_from = 8080}, YES},
	{{.kind = AUTHZ_DESTINATION_PORT, .port_from = 80}, NO},
	{{.kind = AUTHZ_AUTHENTICATED}, YES},
	{{.kind = AUTHZ_METADATA}, NO},
	{{.kind = AUTHZ_URL_PATH}, YES},
	{{.kind = AUTHZ_URL_PATH}, NO},
	{{.kind = AUTHZ_OR}, NO},
	{{.kind = AUTHZ_AND}, YES},
};

static bool model(const struct authz_rule *rule, bool negated, bool doubt)
{
	bool all = (rule->kind == AUTHZ_AND) != negated; /* a negated OR is an AND of negations */

	if (rule->kind == AUTHZ_NOT)
		return model(rule->items, !negated, doubt);
	if (rule->items) {
		for (size_t i = 0; i < rule->count; i++) {
			if (model(&rule->items[i], negated, doubt) != all)
				return !all;
		}
		return all;
	}
	for (size_t i = 0; i < COUNT(leaves); i++) {
		const struct authz_rule *known = &leaves[i].rule;

		if (known->kind == rule->kind && known->port_from == rule->port_from &&
		    mesh_slice_equal(known->string.text, rule->string.text))
			return leaves[i].truth == UNKNOWN ? doubt : (leaves[i].truth == YES) != negated;
	}
	fail_msg("no such leaf");
	return false;
}

static void grow(struct rand *rand, struct authz_rule *rule, unsigned depth)
{
	unsigned what = (unsigned)mesh_rand_below(rand, depth ? 6 : 2);

	if (what < 3) {
		*rule = leaves[mesh_rand_below(rand, COUNT(leaves))].rule;
		return;
	}
	*rule = RULE(.kind = what == 3 ? AUTHZ_AND : what == 4 ? AUTHZ_OR : AUTHZ_NOT);
	rule->count = what == 5 ? 1 : 1 + mesh_rand_below(rand, 3);
	rule->items = mesh_arena_array(&arena, rule->count, sizeof(*rule->items));
	for (size_t i = 0; i < rule->count; i++)
		grow(rand, &rule->items[i], depth - 1);
}

static void random_trees(void **state)
{
	struct rand rand;
	struct scene s;
	size_t seen[2] = {0, 0};

	leaves[6].rule.string = prefix("/info");
	leaves[7].rule.string = prefix("/admin");
	mesh_rand_seed(&rand, 3);
	for (unsigned round = 0; round < 20000; round++) {
		struct authz_rule permissions[2], principals[2];
		struct authz_policy policy = {.name = S("p"), .permissions = permissions, .permission_count = 2,
					      .principals = principals, .principal_count = 1 + round % 2};
		struct authz_rules rules = {.action = round % 3 ? AUTHZ_ALLOW : AUTHZ_DENY, .policies = &policy, .count = 1};
		struct authz_config config = {.rules = &rules};
		bool doubt = rules.action == AUTHZ_DENY, expected, permission = false, principal = false;
		struct authz_result result;

		mesh_arena_reset(&arena);
		scene_make(&s);
		for (size_t i = 0; i < 2; i++) {
			grow(&rand, &permissions[i], 5);
			grow(&rand, &principals[i], 5);
		}
		for (size_t i = 0; i < 2; i++)
			permission = model(&permissions[i], false, doubt) || permission;
		for (size_t i = 0; i < policy.principal_count; i++)
			principal = model(&principals[i], false, doubt) || principal;
		expected = (permission && principal) == (rules.action == AUTHZ_ALLOW);
		mesh_rbac_check(&config, &s.request, &arena, &result);
		if (result.allowed != expected)
			fail_msg("round %u", round);
		seen[expected]++;
	}
	assert_true(seen[0] > 2000 && seen[1] > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connection_rules), cmocka_unit_test(identities), cmocka_unit_test(http_rules),
		cmocka_unit_test(undecidable), cmocka_unit_test(several_values), cmocka_unit_test(deep_trees),
		cmocka_unit_test(policies_and_shadow), cmocka_unit_test(random_trees),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
