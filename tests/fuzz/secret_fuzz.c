/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a secret: refused in words, or a certificate with its key or roots, never both; no note holds any of it.
 */
#include "fuzz/decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct secret *secret;
	struct decode d;

	if (size > SIZE_LIMIT)
		return 0;
	decoder_init(&d);
	secret = mesh_decode_secret(&d, mesh_slice_make(data, size));
	decoder_check(&d, secret);
	promise(mesh_buf_len(&d.notes) == 0);
	if (secret) {
		promise(secret->item.name.len > 0);
		promise((secret->roots_pem.len > 0) != (secret->chain_pem.len > 0));
		promise((secret->chain_pem.len > 0) == (secret->key_pem.len > 0));
		touch(secret->chain_pem);
		touch(secret->key_pem);
		touch(secret->roots_pem);
	}
	mesh_secret_release(secret);
	mesh_decode_free(&d);
	return 0;
}
