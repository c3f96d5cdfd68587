/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which connections a filter chain is for, and that no two chains of a listener are for the same ones: then it would hang
 * on their order which rules a connection meets. Refuses to know what a chain does.
 */
#include "xds/decode.h"

#include <stdlib.h>

#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/listener/v3/listener_components.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Listener__V3__FilterChainMatch match_message;

/* 0 stands for any port once it is compiled, and must not be let through as one. */
static uint16_t port(struct decode *d, const char *field, uint32_t number)
{
	if (number == 0)
		mesh_decode_fail_field(d, field, "0: must be 1..65535");
	return mesh_decode_port(d, field, number);
}

static struct cidr *ranges(struct decode *d, const char *field, Envoy__Config__Core__V3__CidrRange **messages, size_t n,
			   size_t *count)
{
	struct cidr *items = mesh_decode_array(d, n, sizeof(*items));

	*count = items ? n : 0;
	for (size_t i = 0; i < *count && d->rc == 0; i++) {
		mesh_decode_push_item(d, field, i);
		mesh_decode_cidr(d, messages[i], &items[i]);
		mesh_decode_pop(d);
	}
	return items;
}

static struct mesh_slice *names(struct decode *d, char **texts, size_t n, size_t *count)
{
	struct mesh_slice *items = mesh_decode_array(d, n, sizeof(*items));

	*count = items ? n : 0;
	for (size_t i = 0; i < *count; i++)
		items[i] = mesh_decode_text(d, texts[i]);
	return items;
}

static void server_names(struct decode *d, const match_message *message, struct chain_match *match)
{
	match->server_names = mesh_decode_array(d, message->n_server_names, sizeof(*match->server_names));
	match->server_name_count = match->server_names ? message->n_server_names : 0;
	for (size_t i = 0; i < match->server_name_count && d->rc == 0; i++) {
		const char *name = message->server_names[i];

		mesh_decode_push_item(d, "server_names", i);
		match->server_names[i] = mesh_decode_lower(d, name);
		if (name[0] == '\0' || (strchr(name, '*') && (strncmp(name, "*.", 2) != 0 || strchr(name + 1, '*'))))
			mesh_decode_fail(d, "\"%.60s\": only a whole first label may be a wildcard", name);
		mesh_decode_pop(d);
	}
}

void mesh_decode_chain_match(struct decode *d, const match_message *message, struct chain *chain)
{
	struct chain_match *match = &chain->match;

	if (!message)
		return;
	mesh_decode_push(d, "filter_chain_match");
	if (message->destination_port)
		match->destination_port = port(d, "destination_port", message->destination_port->value);
	match->destinations = ranges(d, "prefix_ranges", message->prefix_ranges, message->n_prefix_ranges,
				     &match->destination_count);
	match->sources = ranges(d, "source_prefix_ranges", message->source_prefix_ranges, message->n_source_prefix_ranges,
				&match->source_count);
	match->direct_sources = ranges(d, "direct_source_prefix_ranges", message->direct_source_prefix_ranges,
				       message->n_direct_source_prefix_ranges, &match->direct_source_count);
	match->source_ports = mesh_decode_array(d, message->n_source_ports, sizeof(*match->source_ports));
	match->source_port_count = match->source_ports ? message->n_source_ports : 0;
	for (size_t i = 0; i < match->source_port_count; i++)
		match->source_ports[i] = port(d, "source_ports", message->source_ports[i]);
	if ((int)message->source_type < 0 || (int)message->source_type > 2)
		mesh_decode_fail_field(d, "source_type", "%d: unknown", (int)message->source_type);
	match->source_type = (unsigned)message->source_type; /* the contract's numbers are Envoy's */
	server_names(d, message, match);
	match->transport = mesh_decode_text(d, message->transport_protocol);
	match->alpn = names(d, message->application_protocols, message->n_application_protocols, &match->alpn_count);
	if (message->address_suffix[0] != '\0' || message->suffix_len)
		mesh_decode_chain_close(chain, mesh_decode_note(d, "address_suffix: not supported"));
	if (message->base.n_unknown_fields)
		mesh_decode_chain_close(chain, mesh_decode_note(d, "unknown field: not supported"));
	mesh_decode_pop(d);
}

static bool same_range(const struct cidr *a, const struct cidr *b)
{
	size_t whole = a->bits / 8;
	unsigned rest = a->bits % 8;

	if (a->v6 != b->v6 || a->bits != b->bits || memcmp(a->bytes, b->bytes, whole) != 0)
		return false;
	return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

/* Of two lists of one criterion: both empty, or a member in common. */
static bool ranges_meet(const struct cidr *a, size_t a_count, const struct cidr *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++) {
		for (size_t j = 0; j < b_count; j++) {
			if (same_range(&a[i], &b[j]))
				return true;
		}
	}
	return a_count == 0 && b_count == 0;
}

static bool names_meet(const struct mesh_slice *a, size_t a_count, const struct mesh_slice *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++) {
		for (size_t j = 0; j < b_count; j++) {
			if (mesh_slice_equal(a[i], b[j]))
				return true;
		}
	}
	return a_count == 0 && b_count == 0;
}

static bool ports_meet(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++) {
		for (size_t j = 0; j < b_count; j++) {
			if (a[i] == b[j])
				return true;
		}
	}
	return a_count == 0 && b_count == 0;
}

static bool matches_meet(const struct chain_match *a, const struct chain_match *b)
{
	return a->destination_port == b->destination_port && a->source_type == b->source_type &&
	       mesh_slice_equal(a->transport, b->transport) &&
	       names_meet(a->server_names, a->server_name_count, b->server_names, b->server_name_count) &&
	       names_meet(a->alpn, a->alpn_count, b->alpn, b->alpn_count) &&
	       ranges_meet(a->destinations, a->destination_count, b->destinations, b->destination_count) &&
	       ranges_meet(a->direct_sources, a->direct_source_count, b->direct_sources, b->direct_source_count) &&
	       ranges_meet(a->sources, a->source_count, b->sources, b->source_count) &&
	       ports_meet(a->source_ports, a->source_port_count, b->source_ports, b->source_port_count);
}

/* A chain under what it has in common with any other that meets it: its port and one of its names. */
struct match_key {
	uint64_t key;
	size_t chain;
};

static int key_order(const void *left, const void *right)
{
	const struct match_key *a = left, *b = right;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->chain < b->chain ? -1 : a->chain > b->chain;
}

static size_t put_keys(struct match_key *keys, const struct chain *chains, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const struct chain_match *match = &chains[i].match;
		uint64_t port_key = (uint64_t)match->destination_port << 32;

		if (match->server_name_count == 0)
			keys[n++] = (struct match_key){port_key, i};
		for (size_t j = 0; j < match->server_name_count; j++)
			keys[n++] = (struct match_key){port_key | mesh_slice_hash(match->server_names[j]), i};
	}
	return n;
}

static void refuse_meeting(struct decode *d, const struct chain *chains, size_t first, size_t second)
{
	struct mesh_slice name = chains[first].name;

	mesh_decode_push_item(d, "filter_chains", second);
	mesh_decode_fail_field(d, "filter_chain_match", "for the same connections as filter_chains[%zu] (\"%.*s\")", first,
			       (int)(name.len < 60 ? name.len : 60), name.data ? name.data : "");
	mesh_decode_pop(d);
}

void mesh_decode_chains_apart(struct decode *d, const struct chain *chains, size_t count)
{
	struct match_key *keys;
	size_t room = 0, n;

	for (size_t i = 0; i < count; i++)
		room += chains[i].match.server_name_count + 1;
	if (count < 2 || d->rc < 0)
		return;
	keys = mesh_arena_array(&d->scratch, room, sizeof(*keys));
	if (!keys) {
		mesh_decode_nomem(d);
		return;
	}
	n = put_keys(keys, chains, count);
	qsort(keys, n, sizeof(*keys), key_order);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n && keys[j].key == keys[i].key && d->rc == 0; j++) {
			if (keys[i].chain != keys[j].chain &&
			    matches_meet(&chains[keys[i].chain].match, &chains[keys[j].chain].match))
				refuse_meeting(d, chains, keys[i].chain, keys[j].chain);
		}
	}
}
