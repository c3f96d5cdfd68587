/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests against routes, both from the input: lines "d domain", "a authority", "p kind pattern", "h name value",
 * "q name value", "c name value", "t path"; every other line is a request header. Found routes must really match, found hosts too.
 */
#include <stdlib.h>

#include <mesh/error.h>

#include "policy/header_match.h"
#include "policy/route_match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MANY 16

struct input {
	struct route_config config;
	struct virtual_host hosts[MANY];
	size_t host_count;
	struct domain_entry exact[MANY], suffix[MANY], prefix[MANY];
	struct route routes[MANY];
	struct header_match header_matches[MANY];
	struct query_match queries[MANY];
	struct cookie_match cookies[MANY];
	struct headers fields;
	struct route_request request;
	struct arena arena;
};

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static int by_text(const void *a, const void *b)
{
	return mesh_slice_compare(((const struct domain_entry *)a)->text, ((const struct domain_entry *)b)->text);
}

static int by_length(const void *a, const void *b)
{
	size_t x = ((const struct domain_entry *)a)->text.len, y = ((const struct domain_entry *)b)->text.len;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void add_domain(struct input *input, struct mesh_slice text)
{
	struct virtual_host *host = &input->hosts[input->host_count];
	struct domain_entry entry = {.host = host};
	struct route_config *config = &input->config;

	if (!text.len || input->host_count == MANY)
		return;
	input->host_count++;
	host->name = text;
	host->routes = input->routes;
	if (text.len == 1 && text.data[0] == '*') {
		config->any = host;
	} else if (text.data[0] == '*') {
		entry.text = mesh_slice_make(text.data + 1, text.len - 1);
		input->suffix[config->suffix_count++] = entry;
	} else if (text.data[text.len - 1] == '*') {
		entry.text = mesh_slice_make(text.data, text.len - 1);
		input->prefix[config->prefix_count++] = entry;
	} else {
		entry.text = text;
		input->exact[config->exact_count++] = entry;
	}
}

static struct string_match some_match(struct mesh_slice text)
{
	struct string_match match = {.text = text};

	if (text.len) {
		match.kind = (enum string_match_kind)((unsigned char)text.data[0] % STRING_MATCH_REGEX);
		match.ignore_case = text.data[0] & 16;
	}
	return match;
}

static void add_header_match(struct input *input, struct route *route, struct mesh_slice text)
{
	struct route_match *match = &route->match;
	struct mesh_slice name = mesh_slice_cut(&text, ' ');
	struct header_match *header = &match->headers[match->header_count++];

	*header = (struct header_match){.name = name, .kind = (enum header_match_kind)(name.len % 3), .invert = name.len & 4,
					.missing_as_empty = name.len & 8, .string = some_match(text), .from = -5, .to = 5};
}

static void take_line(struct input *input, struct mesh_slice line, size_t *route_count)
{
	struct route *route = *route_count ? &input->routes[*route_count - 1] : NULL;
	struct mesh_slice rest = mesh_slice_make(line.data + 2, line.len >= 2 ? line.len - 2 : 0), name;

	if (line.len < 2 || line.data[1] != ' ') {
		name = mesh_slice_cut(&line, ':');
		mesh_headers_add(&input->fields, &input->arena, name, line);
		return;
	}
	if (line.data[0] == 'd') {
		add_domain(input, rest);
	} else if (line.data[0] == 'a') {
		input->request.authority = rest;
	} else if (line.data[0] == 't') {
		input->request.path = rest;
	} else if (line.data[0] == 'p' && *route_count < MANY && rest.len) {
		route = &input->routes[(*route_count)++];
		route->match.kind = (enum path_match_kind)((unsigned char)rest.data[0] % PATH_MATCH_REGEX);
		route->match.ignore_case = rest.data[0] & 16;
		route->match.path = mesh_slice_make(rest.data + 1, rest.len - 1);
		route->match.headers = &input->header_matches[*route_count - 1]; /* one each */
		route->match.queries = &input->queries[*route_count - 1];
		route->match.cookies = &input->cookies[*route_count - 1];
		route->match.no_parameters = rest.data[0] & 32;
	} else if (line.data[0] == 'h' && route && !route->match.header_count) {
		add_header_match(input, route, rest);
	} else if (line.data[0] == 'q' && route && !route->match.query_count) {
		name = mesh_slice_cut(&rest, ' ');
		route->match.queries[route->match.query_count++] =
			(struct query_match){.name = name, .present_only = !rest.data, .absent = !rest.data && name.len & 1,
					     .string = some_match(rest)};
	} else if (line.data[0] == 'c' && route && !route->match.cookie_count) {
		name = mesh_slice_cut(&rest, ' ');
		route->match.cookies[route->match.cookie_count++] =
			(struct cookie_match){.name = name, .invert = name.len & 4, .string = some_match(rest)};
	}
}

static void check(struct input *input)
{
	const struct virtual_host *host = mesh_route_find_host(&input->config, input->request.authority, &input->arena);
	struct mesh_slice authority = input->request.authority, name;
	const struct route *route;

	if (!host)
		return;
	name = host->name;
	if (host != input->config.any && name.data[0] != '*' && name.data[name.len - 1] != '*')
		promise(mesh_slice_prefix_fold(authority, name) &&
			(authority.len == name.len || (input->config.ignore_port && authority.data[name.len] == ':')));
	route = mesh_route_find(host, &input->request, &input->arena);
	for (size_t i = 0; i < host->route_count; i++) {
		bool hit = mesh_route_matches(&host->routes[i].match, &input->request, &input->arena);

		promise(hit == (&host->routes[i] == route) || (hit && route < &host->routes[i]));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesh_slice rest = mesh_slice_make(data, size);
	struct input *input;
	size_t route_count = 0;

	if (!size || size > 4096)
		return 0;
	input = calloc(1, sizeof(*input));
	if (!input)
		return 0;
	mesh_arena_init(&input->arena, &mesh_mem_default, 0);
	input->config = (struct route_config){.exact = input->exact, .suffix = input->suffix, .prefix = input->prefix,
					      .ignore_port = data[0] & 1};
	input->request = (struct route_request){.method = MESH_SLICE("GET"), .headers = &input->fields, .random = data[0]};
	while (rest.data)
		take_line(input, mesh_slice_cut(&rest, '\n'), &route_count);
	for (size_t i = 0; i < input->host_count; i++)
		input->hosts[i].route_count = route_count;
	qsort(input->exact, input->config.exact_count, sizeof(struct domain_entry), by_text);
	qsort(input->suffix, input->config.suffix_count, sizeof(struct domain_entry), by_length);
	qsort(input->prefix, input->config.prefix_count, sizeof(struct domain_entry), by_length);
	check(input);
	mesh_arena_free(&input->arena);
	free(input);
	return 0;
}
