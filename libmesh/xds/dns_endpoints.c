/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which endpoints an answer makes, as Envoy: each address one of its own with the weight, labels and health of the
 * endpoint as configured; or for LOGICAL_DNS one endpoint, which goes by its name and has the first address. Refuses to know
 * when names are asked for.
 */
#include "xds/dns_endpoints.h"

#include <stdlib.h>

#include <mesh/error.h>

struct mesh_slice mesh_dns_name(const struct endpoint_config *endpoint)
{
	ptrdiff_t colon = mesh_slice_find_last(endpoint->text, ':');

	return mesh_slice_make(endpoint->text.data, colon < 0 ? endpoint->text.len : (size_t)colon);
}

static int address_order(const void *left, const void *right)
{
	const struct address *a = left, *b = right;

	if (a->any.sa_family != b->any.sa_family)
		return a->any.sa_family < b->any.sa_family ? -1 : 1;
	if (a->any.sa_family == AF_INET)
		return memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof(a->v4.sin_addr));
	return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr));
}

size_t mesh_dns_sort(struct address *addresses, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(addresses, count, sizeof(*addresses), address_order);
	for (size_t i = 0; i < count; i++)
		if (!kept || address_order(&addresses[kept - 1], &addresses[i]) != 0)
			addresses[kept++] = addresses[i];
	return kept;
}

struct building {
	struct endpoint_set *set;
	const struct cluster_config *cluster;
	const struct dns_answer *next;             /* of the endpoint at hand, when it is asked for */
	const struct dns_answer *failed;           /* the first that gave none, */
	const struct endpoint_config *failed_name; /* and what it was for */
};

/* How many endpoints one as configured makes. */
static size_t share(const struct building *b, const struct endpoint_config *from, const struct dns_answer *answer)
{
	if (!mesh_dns_asked(from))
		return 1;
	return b->cluster->kind == CLUSTER_LOGICAL_DNS && answer->count ? 1 : answer->count;
}

static int add(struct building *b, const struct endpoint_config *from, const struct address *address,
	       struct endpoint_config *to)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	bool failed = false;

	*to = *from;
	if (!address)
		return 0;
	to->address = *address;
	mesh_address_set_port(&to->address, from->port);
	if (b->cluster->kind == CLUSTER_LOGICAL_DNS) /* its text stays, and with it the connections it has */
		return 0;
	to->text = mesh_arena_slice(&b->set->object.arena, mesh_slice_make(text, mesh_address_text(&to->address, text)),
				    &failed);
	to->hash = mesh_slice_hash(to->text);
	return failed ? MESH_ERROR_NOMEM : 0;
}

/* The sum of a locality's weights stays what balancers can add up: addresses beyond are left out. */
static int fill(struct building *b, const struct locality *from, struct locality *to)
{
	uint64_t weight = 0;
	int rc = 0;

	for (size_t i = 0; i < from->count && !rc; i++) {
		const struct endpoint_config *endpoint = &from->endpoints[i];
		const struct dns_answer *answer = mesh_dns_asked(endpoint) ? b->next++ : NULL;
		size_t count = share(b, endpoint, answer);

		if (answer && !answer->count && answer->why && !b->failed) {
			b->failed = answer;
			b->failed_name = endpoint;
		}
		for (size_t k = 0; k < count && !rc && weight + endpoint->weight <= UINT32_MAX; k++) {
			rc = add(b, endpoint, answer ? &answer->addresses[k] : NULL, &to->endpoints[to->count++]);
			weight += endpoint->weight;
		}
	}
	return rc;
}

static int fill_locality(struct building *b, const struct locality *from, struct locality *to)
{
	const struct dns_answer *answer = b->next;
	size_t room = 0;

	for (size_t i = 0; i < from->count; i++) {
		room += share(b, &from->endpoints[i], answer);
		answer += mesh_dns_asked(&from->endpoints[i]);
	}
	*to = *from;
	to->count = 0;
	to->endpoints = mesh_arena_array(&b->set->object.arena, room ? room : 1, sizeof(*to->endpoints));
	return to->endpoints ? fill(b, from, to) : MESH_ERROR_NOMEM;
}

static int say_why(struct building *b)
{
	struct mesh_slice name;

	if (b->set->endpoint_count || !b->failed)
		return 0;
	name = mesh_dns_name(b->failed_name);
	b->set->reason = mesh_arena_printf(&b->set->object.arena, "%.*s: %s", (int)name.len, name.data, b->failed->why);
	return b->set->reason.data ? 0 : MESH_ERROR_NOMEM;
}

/* What is borrowed from the set as configured lives as long as the new one. */
static int keep_configured(struct endpoint_set *set, struct endpoint_set *from)
{
	int rc;

	mesh_config_object_retain(from);
	rc = mesh_config_object_hold(&set->object, &from->object);
	if (rc)
		mesh_config_object_release(from);
	return rc;
}

int mesh_dns_endpoints(const struct mesh_mem *mem, const struct cluster_config *cluster,
		       const struct dns_answer *answers, struct endpoint_set **result)
{
	struct endpoint_set *from = cluster->inline_endpoints;
	struct endpoint_set *set = mesh_config_object_new(mem, sizeof(*set), cluster->object.item.name);
	struct building b = {.set = set, .cluster = cluster, .next = answers};
	int rc;

	if (!set)
		return MESH_ERROR_NOMEM;
	/* not the whole of it: workers count who holds `from` meanwhile */
	set->priority_count = from->priority_count;
	set->overprovisioning = from->overprovisioning;
	set->weighted_priority_health = from->weighted_priority_health;
	rc = keep_configured(set, from);
	set->localities = mesh_arena_array(&set->object.arena, from->count ? from->count : 1, sizeof(*set->localities));
	if (!set->localities)
		rc = MESH_ERROR_NOMEM;
	for (size_t i = 0; i < from->count && !rc; i++) {
		rc = fill_locality(&b, &from->localities[i], &set->localities[i]);
		set->count++;
		set->endpoint_count += (uint32_t)set->localities[i].count;
	}
	rc = rc ? rc : say_why(&b);
	if (rc)
		mesh_config_object_release(set);
	else
		*result = set;
	return rc;
}
