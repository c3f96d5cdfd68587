/* SPDX-License-Identifier: Apache-2.0 */
/* Holds PEM texts as they came and wipes the key at the end. Refuses to parse them: net and identity do. */
#include "config/secret.h"

#include <mesh/error.h>

static struct mesh_slice copy(const struct mesh_mem *mem, struct mesh_slice text, bool *failed)
{
	char *own;

	if (!text.data)
		return text;
	own = mesh_mem_text(mem, text);
	if (!own) {
		*failed = true;
		text.len = 0;
	}
	return mesh_slice_make(own, text.len);
}

static void secret_destroy(struct ref *ref)
{
	struct secret *secret = (struct secret *)ref;
	const struct mesh_mem *mem = secret->mem;

	if (secret->key_pem.data)
		mesh_mem_wipe((char *)secret->key_pem.data, secret->key_pem.len);
	mesh_mem_free(mem, (char *)secret->key_pem.data);
	mesh_mem_free(mem, (char *)secret->chain_pem.data);
	mesh_mem_free(mem, (char *)secret->roots_pem.data);
	mesh_mem_free(mem, (char *)secret->item.name.data);
	mesh_mem_free(mem, secret);
}

int mesh_secret_new(const struct mesh_mem *mem, struct mesh_slice name, struct mesh_slice chain_pem,
		    struct mesh_slice key_pem, struct mesh_slice roots_pem, struct secret **result)
{
	static _Atomic uint64_t serials;
	struct secret *secret = mesh_mem_zalloc(mem, sizeof(*secret));
	bool failed = false;

	if (!secret)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&secret->item.ref, secret_destroy);
	secret->mem = mem;
	secret->item.name = copy(mem, name, &failed);
	secret->chain_pem = copy(mem, chain_pem, &failed);
	secret->key_pem = copy(mem, key_pem, &failed);
	secret->roots_pem = copy(mem, roots_pem, &failed);
	secret->serial = atomic_fetch_add(&serials, 1) + 1;
	if (failed) {
		mesh_secret_release(secret);
		return MESH_ERROR_NOMEM;
	}
	*result = secret;
	return 0;
}

bool mesh_secret_same(const struct secret *a, const struct secret *b)
{
	return mesh_slice_equal(a->chain_pem, b->chain_pem) && mesh_slice_equal(a->key_pem, b->key_pem) &&
	       mesh_slice_equal(a->roots_pem, b->roots_pem);
}
