/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envoy narrows criterion by criterion without ever going back: destination port, destination address, server name,
 * transport, application protocol, direct source address, source type, source address, source port. At each step the most
 * specific group that matches wins and the rest is out. Pure; knows no socket.
 */
#include "policy/chain_match.h"

#include "policy/header_match.h"

enum { NO_MATCH = -1, CRITERIA = 9 };

/* How specific a criterion of a chain matches: NO_MATCH, 0 for "any", more for narrower. */
typedef int score_fn(const struct chain_match *match, const struct chain_request *request);

static int score_port(const struct chain_match *match, const struct chain_request *request)
{
	if (!match->destination_port)
		return 0;
	return match->destination_port == request->port ? 1 : NO_MATCH;
}

static int score_cidrs(const struct cidr *cidrs, size_t count, const struct address *address)
{
	int best = NO_MATCH;

	if (!count)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (address && mesh_cidr_contains(&cidrs[i], address) && cidrs[i].bits + 1 > best)
			best = cidrs[i].bits + 1;
	return best;
}

static int score_destination(const struct chain_match *match, const struct chain_request *request)
{
	return score_cidrs(match->destinations, match->destination_count, request->destination);
}

static int score_server_name(const struct chain_match *match, const struct chain_request *request)
{
	int best = NO_MATCH;

	if (!match->server_name_count)
		return 0;
	for (size_t i = 0; i < match->server_name_count; i++) {
		struct mesh_slice name = match->server_names[i];

		if (mesh_slice_equal_fold(name, request->server_name))
			return 1 << 20;
		if (name.len > 1 && name.data[0] == '*' && request->server_name.len >= name.len &&
		    mesh_slice_suffix_fold(request->server_name, mesh_slice_make(name.data + 1, name.len - 1)) &&
		    (int)name.len > best)
			best = (int)name.len;
	}
	return best;
}

static int score_transport(const struct chain_match *match, const struct chain_request *request)
{
	if (!match->transport.len)
		return 0;
	return mesh_slice_equal(match->transport, request->tls ? MESH_SLICE("tls") : MESH_SLICE("raw_buffer")) ? 1 : NO_MATCH;
}

static int score_alpn(const struct chain_match *match, const struct chain_request *request)
{
	if (!match->alpn_count)
		return 0;
	/* the client's first name that some chain lists decides: earlier names score higher */
	for (size_t i = 0; i < request->alpn_count; i++)
		for (size_t j = 0; j < match->alpn_count; j++)
			if (mesh_slice_equal(match->alpn[j], request->alpn[i]))
				return (int)(request->alpn_count - i);
	return NO_MATCH;
}

static int score_direct_source(const struct chain_match *match, const struct chain_request *request)
{
	return score_cidrs(match->direct_sources, match->direct_source_count, request->source);
}

static bool loopback(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return (ntohl(address->v4.sin_addr.s_addr) >> 24) == 127;
	return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static bool same_ip(const struct address *a, const struct address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

static int score_source_type(const struct chain_match *match, const struct chain_request *request)
{
	bool local;

	if (!match->source_type)
		return 0;
	local = request->source && (loopback(request->source) ||
				    (request->destination && same_ip(request->source, request->destination)));
	return (match->source_type == 1) == local ? 1 : NO_MATCH;
}

static int score_source(const struct chain_match *match, const struct chain_request *request)
{
	return score_cidrs(match->sources, match->source_count, request->source);
}

static int score_source_port(const struct chain_match *match, const struct chain_request *request)
{
	if (!match->source_port_count)
		return 0;
	for (size_t i = 0; i < match->source_port_count; i++)
		if (request->source && match->source_ports[i] == mesh_address_port(request->source))
			return 1;
	return NO_MATCH;
}

static score_fn *const criteria[CRITERIA] = {
	score_port,	    score_destination, score_server_name, score_transport,   score_alpn,
	score_direct_source, score_source_type, score_source,	   score_source_port,
};

/* Still in after the first `steps` criteria, each of which kept `best` only? */
static bool survives(const struct chain *chain, const struct chain_request *request, const int *best, int steps)
{
	for (int i = 0; i < steps; i++)
		if (criteria[i](&chain->match, request) != best[i])
			return false;
	return true;
}

const struct chain *mesh_chain_find(const struct listener_config *listener, const struct chain_request *request)
{
	int best[CRITERIA];

	for (int step = 0; step < CRITERIA; step++) {
		best[step] = NO_MATCH;
		for (size_t i = 0; i < listener->chain_count; i++) {
			const struct chain *chain = &listener->chains[i];
			int score = survives(chain, request, best, step) ? criteria[step](&chain->match, request) : NO_MATCH;

			if (score > best[step])
				best[step] = score;
		}
		if (best[step] == NO_MATCH)
			return listener->default_chain;
	}
	for (size_t i = 0; i < listener->chain_count; i++)
		if (survives(&listener->chains[i], request, best, CRITERIA))
			return &listener->chains[i];
	return listener->default_chain;
}

unsigned mesh_chain_looks_for(const struct listener_config *listener, uint16_t port)
{
	bool specific = false;
	unsigned looks = 0;

	for (size_t i = 0; i < listener->chain_count; i++)
		specific |= listener->chains[i].match.destination_port == port;
	for (size_t i = 0; i < listener->chain_count; i++) {
		const struct chain_match *match = &listener->chains[i].match;

		if (match->destination_port != (specific ? port : 0))
			continue;
		if (match->transport.len || match->alpn_count || match->server_name_count)
			looks |= CHAIN_LOOKS_FOR_TLS;
		if (match->alpn_count && !mesh_slice_equal(match->transport, MESH_SLICE("tls")))
			looks |= CHAIN_LOOKS_FOR_HTTP;
	}
	return looks & ((listener->tls_inspector ? CHAIN_LOOKS_FOR_TLS : 0u) |
			(listener->http_inspector ? CHAIN_LOOKS_FOR_HTTP : 0u));
}
