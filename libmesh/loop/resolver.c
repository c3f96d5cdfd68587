/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which families are asked in which order and what counts as an answer; what c-ares says is told by a task, never
 * inside the asking. Refuses to know who asks and how often, and how servers are reached (resolver_channel.c).
 */
#include "loop/resolver.h"

#include <mesh/error.h>

#include "loop/resolver_channel.h"

enum { NAME_BYTES_MAX = 255 };

struct resolver {
	const struct mesh_mem *mem;
	struct loop *loop;
	struct resolver_channel channel;
	struct link lookups;
	unsigned open;
};

/* A question as c-ares sees it, which cannot take a single one back: it may outlive the query. */
struct lookup {
	struct link link;
	struct resolver *resolver;
	struct resolver_query *query; /* NULL: cancelled */
	struct loop_task tell;
	enum resolver_family family;
	int next;         /* family to ask when this one has no address; 0: none */
	unsigned waiting; /* answers that c-ares owes */
	bool failed;      /* nobody could tell, of one family at least */
	const char *why;
	uint32_t ttl_s;
	struct address *addresses;
	size_t count;
	char name[];
};

/* ---- answers ---- */

static void lookup_free(struct lookup *lookup)
{
	struct resolver *resolver = lookup->resolver;

	mesh_loop_undefer(&lookup->tell);
	mesh_list_remove(&lookup->link);
	resolver->open--;
	mesh_mem_free(resolver->mem, lookup->addresses);
	mesh_mem_free(resolver->mem, lookup);
}

static void tell(struct loop_task *task)
{
	struct lookup *lookup = MESH_CONTAINER(task, struct lookup, tell);
	struct resolver_query *query = lookup->query;
	struct address *addresses = lookup->addresses;
	const struct mesh_mem *mem = lookup->resolver->mem;
	size_t count = lookup->count;
	uint32_t ttl_s = lookup->ttl_s == UINT32_MAX ? 0 : lookup->ttl_s;
	int error = !count && lookup->failed ? MESH_ERROR_DNS : 0;

	query->state = NULL;
	query->why = count ? NULL : lookup->why ? lookup->why : "no address";
	lookup->addresses = NULL;
	lookup_free(lookup);
	query->done(query, error, addresses, count, count ? ttl_s : 0);
	mesh_mem_free(mem, addresses);
}

static bool take_address(const struct ares_addrinfo_node *node, struct address *address)
{
	*address = (struct address){0};
	if (node->ai_family == AF_INET && node->ai_addrlen >= sizeof(address->v4)) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_addr = ((const struct sockaddr_in *)node->ai_addr)->sin_addr;
		address->len = sizeof(address->v4);
	} else if (node->ai_family == AF_INET6 && node->ai_addrlen >= sizeof(address->v6)) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_addr = ((const struct sockaddr_in6 *)node->ai_addr)->sin6_addr;
		address->len = sizeof(address->v6);
	}
	return address->len != 0;
}

static void least_ttl(struct lookup *lookup, int ttl_s)
{
	if (ttl_s >= 0 && (uint32_t)ttl_s < lookup->ttl_s)
		lookup->ttl_s = (uint32_t)ttl_s;
}

/* Both families: IPv4 goes before what is there. */
static int take_addresses(struct lookup *lookup, const struct ares_addrinfo *info)
{
	const struct mesh_mem *mem = lookup->resolver->mem;
	size_t count = 0, room = RESOLVER_ADDRESSES_MAX - lookup->count, at = lookup->count;
	struct address *grown, *fresh;

	for (const struct ares_addrinfo_node *node = info->nodes; node && count < room; node = node->ai_next)
		count++;
	if (!count)
		return 0;
	grown = mesh_mem_resize(mem, lookup->addresses, (lookup->count + count) * sizeof(*grown));
	if (!grown)
		return MESH_ERROR_NOMEM;
	lookup->addresses = grown;
	if (info->nodes->ai_family == AF_INET && lookup->count) {
		memmove(grown + count, grown, lookup->count * sizeof(*grown));
		at = 0;
	}
	fresh = grown + at;
	for (const struct ares_addrinfo_node *node = info->nodes; node && count; node = node->ai_next, count--) {
		if (!take_address(node, fresh++)) /* neither family was asked for: c-ares gives no other */
			return MESH_ERROR_INVALID;
		lookup->count++;
		least_ttl(lookup, node->ai_ttl);
	}
	for (const struct ares_addrinfo_cname *name = info->cnames; name; name = name->next)
		least_ttl(lookup, name->ttl);
	return 0;
}

static void take_answer(struct lookup *lookup, int status, const struct ares_addrinfo *info)
{
	int rc = 0;

	if (status == ARES_SUCCESS && info)
		rc = take_addresses(lookup, info);
	else if (status != ARES_ENODATA && status != ARES_ENOTFOUND) /* as Envoy: those are answers, without a record */
		rc = MESH_ERROR_DNS;
	if (status == ARES_ECONNREFUSED || status == ARES_ETIMEOUT)
		lookup->resolver->channel.stale = true;
	if (rc) {
		lookup->failed = true;
		lookup->why = rc == MESH_ERROR_NOMEM ? mesh_error_text(rc) : ares_strerror(status);
	} else if (status != ARES_SUCCESS && !lookup->failed) {
		lookup->why = status == ARES_ENOTFOUND ? "no such name" : "the name has no address";
	}
}

static void ask_family(struct lookup *lookup, int family);

static void answered(void *user, int status, int timeouts, struct ares_addrinfo *info)
{
	struct lookup *lookup = user;
	bool ending = status == ARES_EDESTRUCTION || status == ARES_ECANCELLED;
	int next = lookup->next;

	lookup->waiting--;
	if (lookup->query)
		take_answer(lookup, status, info);
	if (info)
		ares_freeaddrinfo(info);
	if (lookup->query && next && !lookup->count && !ending) {
		lookup->next = 0;
		ask_family(lookup, next);
	} else if (lookup->waiting) {
		return; /* the other family is on its way */
	} else if (lookup->query) {
		mesh_loop_defer(lookup->resolver->loop, &lookup->tell);
	} else {
		lookup_free(lookup);
	}
}

static void ask_family(struct lookup *lookup, int family)
{
	/* unsorted: sorting would open sockets to find out how each address is reached */
	struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = family};

	lookup->waiting++;
	ares_getaddrinfo(lookup->resolver->channel.ares, lookup->name, NULL, &hints, answered, lookup);
}

/* ---- questions ---- */

static void start(struct lookup *lookup)
{
	switch (lookup->family) {
	case RESOLVER_ALL:
		lookup->waiting++; /* the first may be answered before the second is asked */
		ask_family(lookup, AF_INET);
		lookup->waiting--;
		ask_family(lookup, AF_INET6);
		break;
	case RESOLVER_AUTO:
		lookup->next = AF_INET;
		ask_family(lookup, AF_INET6);
		break;
	case RESOLVER_V4_PREFERRED:
		lookup->next = AF_INET6;
		ask_family(lookup, AF_INET);
		break;
	case RESOLVER_V4_ONLY:
		ask_family(lookup, AF_INET);
		break;
	case RESOLVER_V6_ONLY:
		ask_family(lookup, AF_INET6);
		break;
	}
	mesh_resolver_channel_go_on(&lookup->resolver->channel);
}

static int lookup_new(struct resolver *resolver, struct mesh_slice name, enum resolver_family family,
		      struct resolver_query *query, struct lookup **result)
{
	struct lookup *lookup;

	if (!name.len || name.len > NAME_BYTES_MAX || memchr(name.data, '\0', name.len))
		return MESH_ERROR_INVALID;
	if (resolver->open >= RESOLVER_OPEN_MAX)
		return MESH_ERROR_OVERFLOW;
	lookup = mesh_mem_zalloc(resolver->mem, sizeof(*lookup) + name.len + 1);
	if (!lookup)
		return MESH_ERROR_NOMEM;
	lookup->resolver = resolver;
	lookup->query = query;
	lookup->family = family;
	lookup->ttl_s = UINT32_MAX;
	lookup->tell.run = tell;
	memcpy(lookup->name, name.data, name.len);
	mesh_list_push(&resolver->lookups, &lookup->link);
	resolver->open++;
	*result = lookup;
	return 0;
}

static int answer_ourselves(struct lookup *lookup, const struct address *addresses, size_t count)
{
	lookup->addresses = mesh_mem_array(lookup->resolver->mem, count, sizeof(*addresses));
	if (!lookup->addresses)
		return MESH_ERROR_NOMEM;
	memcpy(lookup->addresses, addresses, count * sizeof(*addresses));
	lookup->count = count;
	mesh_loop_defer(lookup->resolver->loop, &lookup->tell);
	return 0;
}

static bool is_localhost(struct mesh_slice name)
{
	static const struct mesh_slice local = {"localhost", 9};
	size_t len = local.len;

	return name.len >= len && mesh_slice_equal_fold(mesh_slice_make(name.data + name.len - len, len), local) &&
	       (name.len == len || name.data[name.len - len - 1] == '.');
}

/* This host, never asked of anybody (RFC 6761). c-ares knows it too, but forgets memory when the hosts file has one family. */
static int answer_localhost(struct lookup *lookup)
{
	struct address both[2];

	mesh_address_parse(&both[0], MESH_SLICE("127.0.0.1"), 0);
	mesh_address_parse(&both[1], MESH_SLICE("::1"), 0);
	switch (lookup->family) {
	case RESOLVER_ALL:
		return answer_ourselves(lookup, both, 2);
	case RESOLVER_V4_ONLY:
	case RESOLVER_V4_PREFERRED:
		return answer_ourselves(lookup, both, 1);
	default:
		return answer_ourselves(lookup, both + 1, 1);
	}
}

int mesh_resolver_ask(struct resolver *resolver, struct mesh_slice name, enum resolver_family family,
		      struct resolver_query *query)
{
	struct lookup *lookup = NULL;
	struct address literal;
	int rc = 0;

	query->state = NULL;
	if (resolver->channel.stale && !resolver->open) /* while nothing is under way by the old settings */
		rc = mesh_resolver_channel_renew(&resolver->channel);
	rc = rc ? rc : lookup_new(resolver, name, family, query, &lookup);
	if (rc)
		return rc;
	if (mesh_address_parse(&literal, name, 0) == 0)
		rc = answer_ourselves(lookup, &literal, 1);
	else if (is_localhost(name))
		rc = answer_localhost(lookup);
	else
		start(lookup);
	if (rc)
		lookup_free(lookup);
	else
		query->state = lookup;
	return rc;
}

void mesh_resolver_cancel(struct resolver_query *query)
{
	struct lookup *lookup = query->state;

	query->state = NULL;
	if (!lookup)
		return;
	lookup->query = NULL;
	if (!lookup->waiting)
		lookup_free(lookup);
}

/* ---- life ---- */

int mesh_resolver_new(const struct mesh_mem *mem, struct loop *loop, const struct resolver_options *options,
		      struct resolver **result)
{
	struct resolver *resolver = mesh_mem_zalloc(mem, sizeof(*resolver));
	int rc;

	if (!resolver)
		return MESH_ERROR_NOMEM;
	resolver->mem = resolver->channel.mem = mem;
	resolver->loop = resolver->channel.loop = loop;
	mesh_list_init(&resolver->lookups);
	rc = mesh_resolver_channel_open(&resolver->channel, options);
	if (rc)
		mesh_mem_free(mem, resolver);
	else
		*result = resolver;
	return rc;
}

void mesh_resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	MESH_LIST_EACH_SAFE(at, &resolver->lookups) {
		struct lookup *lookup = MESH_CONTAINER(at, struct lookup, link);

		if (lookup->query)
			mesh_resolver_cancel(lookup->query);
	}
	mesh_resolver_channel_close(&resolver->channel);
	mesh_mem_free(resolver->mem, resolver);
}
