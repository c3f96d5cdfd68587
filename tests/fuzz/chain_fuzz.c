/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a certificate chain, its key among them: what is believed names a SPIFFE id, is valid and carries the key,
 * all else is refused in words; merging is done once, whatever the order.
 */
#include <mesh/error.h>

#include "identity/chain.h"
#include "net/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_LIMIT = 65536 };

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static int check(struct mesh_slice pem, const char *service_account, int64_t now_ms, struct chain_facts *facts)
{
	struct why why = {{0}};
	int rc = mesh_chain_check(pem, pem, service_account ? "default" : NULL, service_account, now_ms, facts, &why);
	struct spiffe id;

	promise(rc == 0 ? !why.text[0] : rc == MESH_ERROR_CERTIFICATE && why.text[0]);
	promise(memchr(facts->spiffe_id, '\0', sizeof(facts->spiffe_id)));
	if (rc)
		return rc;
	promise(facts->not_before_ms - 60000 <= now_ms && now_ms < facts->not_after_ms);
	promise(mesh_spiffe_parse(mesh_slice_of(facts->spiffe_id), &id));
	promise(!service_account || (mesh_slice_equal(id.ns, MESH_SLICE("default")) &&
				     mesh_slice_equal(id.service_account, mesh_slice_of(service_account))));
	return 0;
}

/* The corpus was made at one time and is replayed at another: the chain itself says when it is valid. */
static void check_chain(struct mesh_slice pem)
{
	struct chain_facts facts, again;
	int64_t from_ms, until_ms;
	int any;

	check(pem, NULL, 0, &facts);
	from_ms = facts.not_before_ms;
	until_ms = facts.not_after_ms;
	any = check(pem, NULL, from_ms, &facts);
	promise(check(pem, NULL, until_ms, &again) == MESH_ERROR_CERTIFICATE);
	/* a name that is asked for only ever takes away */
	if (check(pem, "reviews", from_ms, &again) == 0)
		promise(any == 0 && check(pem, "ratings", from_ms, &again) == MESH_ERROR_CERTIFICATE);
}

static int merge(struct buf *into, struct mesh_slice more)
{
	struct why why = {{0}};
	int rc = mesh_chain_merge(into, more, "roots", &why);

	promise(rc == 0 ? !why.text[0] : rc == MESH_ERROR_CERTIFICATE && !strncmp(why.text, "roots: ", strlen("roots: ")));
	promise(rc || mesh_buf_len(into) > 0);
	return rc;
}

static void merge_chain(struct mesh_slice pem)
{
	struct buf once, twice;
	size_t len;

	mesh_buf_init(&once, &mesh_mem_default, 0);
	mesh_buf_init(&twice, &mesh_mem_default, 0);
	if (merge(&once, pem) == 0) {
		len = mesh_buf_len(&once);
		promise(merge(&once, pem) == 0 && mesh_buf_len(&once) == len); /* they are there */
		promise(merge(&twice, mesh_buf_slice(&once)) == 0);            /* what it wrote it reads */
		promise(mesh_slice_equal(mesh_buf_slice(&once), mesh_buf_slice(&twice)));
	}
	mesh_buf_free(&twice);
	mesh_buf_free(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > SIZE_LIMIT)
		return 0;
	check_chain(mesh_slice_make(data, size));
	merge_chain(mesh_slice_make(data, size));
	return 0;
}
