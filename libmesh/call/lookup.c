/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long an answer is good for, who shares a question, and how many names are kept. Refuses to know what DNS is and
 * what the address is for.
 *
 * An application beside a sidecar asks its resolver for each connection it opens; ours are opened when a pool wants one, so
 * that an address is asked for with each call. What was found is used until its TTL is over: the connections to it are kept
 * longer than that, also beside a sidecar. A name with several addresses is spread over them, as resolvers that turn their
 * answers round do for one connection after the other. That there is none is not remembered.
 */
#include "call/lookup.h"

#include <mesh/error.h>

#include "call/worker.h"
#include "loop/resolver.h"

enum {
	NAMES_MAX = 256,
	ADDRESSES_MAX = 16, /* of one name */
	TTL_MAX_S = 300,
	NAME_BYTES_MAX = 253,
};

struct lookup_name {
	struct link link; /* lookup.recent */
	struct lookup *lookup;
	struct resolver_query query;
	bool asking;
	bool telling; /* inside the loop over those who waited */
	struct link waiters;
	uint64_t expires_ns;
	struct address addresses[ADDRESSES_MAX];
	size_t count; /* 0: nothing known */
	struct mesh_slice name;
	char text[NAME_BYTES_MAX + 1];
};

struct lookup {
	struct mesh_worker *worker;
	struct resolver *resolver;
	struct map names;   /* struct lookup_name */
	struct link recent; /* the same, most recently asked for first */
};

static int lookup_new(struct mesh_worker *worker, struct lookup **result)
{
	const struct mesh_mem *mem = &worker->mesh->mem;
	struct lookup *lookup = mesh_mem_zalloc(mem, sizeof(*lookup));
	int rc;

	if (!lookup)
		return MESH_ERROR_NOMEM;
	lookup->worker = worker;
	mesh_map_init(&lookup->names, mem);
	mesh_list_init(&lookup->recent);
	rc = mesh_resolver_new(mem, worker->env.loop, worker->mesh->resolver, &lookup->resolver);
	if (rc)
		mesh_mem_free(mem, lookup);
	else
		*result = lookup;
	return rc;
}

static void name_free(struct lookup_name *name)
{
	struct lookup *lookup = name->lookup;

	if (name->asking)
		mesh_resolver_cancel(&name->query);
	mesh_map_remove(&lookup->names, name->name);
	mesh_list_remove(&name->link);
	mesh_mem_free(&lookup->worker->mesh->mem, name);
}

void mesh_lookup_free(struct lookup *lookup)
{
	if (!lookup)
		return;
	while (!mesh_list_empty(&lookup->recent))
		name_free(MESH_CONTAINER(lookup->recent.next, struct lookup_name, link));
	mesh_resolver_free(lookup->resolver);
	mesh_map_free(&lookup->names);
	mesh_mem_free(&lookup->worker->mesh->mem, lookup);
}

/* Room for one more: what was not asked for the longest goes. False: all of them are being asked for. */
static bool make_room(struct lookup *lookup)
{
	struct link *at = lookup->recent.prev;

	if (lookup->names.count < NAMES_MAX)
		return true;
	for (; at != &lookup->recent; at = at->prev) {
		struct lookup_name *name = MESH_CONTAINER(at, struct lookup_name, link);

		if (name->asking || name->telling)
			continue;
		name_free(name);
		return true;
	}
	return false;
}

static struct lookup_name *name_new(struct lookup *lookup, struct mesh_slice text)
{
	struct lookup_name *name = mesh_mem_zalloc(&lookup->worker->mesh->mem, sizeof(*name));

	if (!name)
		return NULL;
	name->lookup = lookup;
	memcpy(name->text, text.data, text.len);
	name->name = mesh_slice_make(name->text, text.len);
	mesh_list_init(&name->waiters);
	mesh_list_init(&name->link);
	if (mesh_map_put(&lookup->names, name->name, name, NULL)) {
		mesh_mem_free(&lookup->worker->mesh->mem, name);
		return NULL;
	}
	return name;
}

static void choose(struct lookup_name *name, uint16_t port, struct address *address)
{
	*address = name->addresses[mesh_rand_below(&name->lookup->worker->env.rand, name->count)];
	mesh_address_set_port(address, port);
}

static void tell(struct lookup_name *name, int error)
{
	struct link told;
	struct why why = {{0}};

	if (error)
		mesh_why(&why, error, "%s: %s", name->text, name->query.why ? name->query.why : mesh_error_text(error));
	mesh_list_init(&told);
	while (!mesh_list_empty(&name->waiters)) { /* who asks again from inside waits for the next answer */
		struct link *at = name->waiters.next;

		mesh_list_remove(at);
		mesh_list_push(&told, at);
	}
	name->telling = true;
	while (!mesh_list_empty(&told)) {
		struct lookup_waiter *waiter = MESH_CONTAINER(told.next, struct lookup_waiter, link);
		struct address address = {.len = 0};

		if (!error)
			choose(name, waiter->port, &address);
		mesh_lookup_cancel(waiter);
		waiter->found(waiter, error, error ? NULL : &address, why.text);
	}
	name->telling = false;
}

static void answered(struct resolver_query *query, int error, const struct address *addresses, size_t count,
		     uint32_t ttl_s)
{
	struct lookup_name *name = MESH_CONTAINER(query, struct lookup_name, query);
	uint64_t ttl_ns = (uint64_t)(ttl_s < TTL_MAX_S ? ttl_s : TTL_MAX_S) * 1000000000u;

	name->asking = false;
	if (!error && !count) /* that there is none is an answer too, and no address to call */
		error = MESH_ERROR_DNS;
	name->count = error ? 0 : count < ADDRESSES_MAX ? count : ADDRESSES_MAX;
	if (name->count)
		memcpy(name->addresses, addresses, name->count * sizeof(*addresses));
	name->expires_ns = mesh_loop_now_ns(name->lookup->worker->env.loop) + ttl_ns;
	tell(name, error);
	if (!name->count && !name->asking)
		name_free(name);
}

/* In a pod of the other family an answer of this one leads nowhere. */
static enum resolver_family family_of(const struct mesh *mesh)
{
	return mesh_slice_find(mesh_slice_of(mesh->pod_ip), ':') >= 0 ? RESOLVER_AUTO : RESOLVER_V4_PREFERRED;
}

static int ask(struct lookup_name *name, struct why *why)
{
	struct lookup *lookup = name->lookup;
	int rc;

	name->query.done = answered;
	rc = mesh_resolver_ask(lookup->resolver, name->name, family_of(lookup->worker->mesh), &name->query);
	if (!rc) {
		name->asking = true;
		return 0;
	}
	if (!name->telling)
		name_free(name);
	return mesh_why(why, rc, "no memory to ask for an address");
}

static int wait_for(struct lookup_name *name, uint16_t port, struct lookup_waiter *waiter, struct why *why)
{
	int rc = name->asking ? 0 : ask(name, why);

	if (rc)
		return rc;
	waiter->port = port;
	mesh_list_push(&name->waiters, &waiter->link);
	return MESH_ERROR_AGAIN;
}

int mesh_lookup_ask(struct mesh_worker *worker, struct mesh_slice host, uint16_t port, struct lookup_waiter *waiter,
		    struct address *address, struct why *why)
{
	struct lookup_name *name;
	int rc = 0;

	if (!mesh_address_parse(address, host, port))
		return 0;
	if (!host.len || host.len > NAME_BYTES_MAX)
		return mesh_why(why, MESH_ERROR_DNS, "\"%.*s\" is no name", (int)(host.len < 300 ? host.len : 300),
				host.data);
	if (!worker->lookup)
		rc = lookup_new(worker, &worker->lookup);
	if (rc)
		return mesh_why(why, rc, "no resolver: %s", mesh_error_text(rc));
	name = mesh_map_get(&worker->lookup->names, host);
	if (!name && !make_room(worker->lookup))
		return mesh_why(why, MESH_ERROR_OVERFLOW, "%u names are asked for already", (unsigned)NAMES_MAX);
	if (!name)
		name = name_new(worker->lookup, host);
	if (!name)
		return mesh_why(why, MESH_ERROR_NOMEM, "no memory to ask for an address");
	mesh_list_remove(&name->link);
	mesh_list_push_front(&worker->lookup->recent, &name->link);
	if (name->count && !name->asking && mesh_loop_now_ns(worker->env.loop) < name->expires_ns) {
		choose(name, port, address);
		return 0;
	}
	return wait_for(name, port, waiter, why);
}

void mesh_lookup_cancel(struct lookup_waiter *waiter)
{
	if (!waiter->link.next)
		return;
	mesh_list_remove(&waiter->link);
	waiter->link = (struct link){NULL, NULL};
}
