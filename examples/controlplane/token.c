/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a token says and whether to believe it: our own key, ES256 and nothing else, audience istio-ca, not
 * expired, a service account as its subject. Refuses to know what the caller wants.
 */
#include "token.h"

#include <inttypes.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include "base/text.h"

#define ISSUER		"mesh-controlplane"
#define AUDIENCE	"istio-ca"
#define SUBJECT_PREFIX	"system:serviceaccount:"
#define SIGNATURE_BYTES 64 /* r and s of P-256 */
#define TOKEN_BYTES_MAX 8192

/* A name as Kubernetes allows it: nothing that could bend a SPIFFE identity. */
static bool take_name(struct mesh_slice name, char out[CP_NAME_BYTES])
{
	if (name.len == 0 || name.len >= CP_NAME_BYTES)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return false;
	}
	memcpy(out, name.data, name.len);
	out[name.len] = '\0';
	return true;
}

/* base64url without padding */
static int append_url64(struct buf *out, struct mesh_slice bytes)
{
	size_t before = mesh_buf_len(out);
	int rc = mesh_text_base64_append(out, bytes);
	char *text = out->data + out->start;

	if (rc < 0)
		return rc;
	for (size_t i = before; i < mesh_buf_len(out); i++) {
		if (text[i] == '+')
			text[i] = '-';
		if (text[i] == '/')
			text[i] = '_';
	}
	while (mesh_buf_len(out) > before && text[mesh_buf_len(out) - 1] == '=')
		out->end--;
	return 0;
}

static bool sign(EVP_PKEY *key, struct mesh_slice text, uint8_t signature[SIGNATURE_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	const uint8_t *from = der;
	size_t len = sizeof(der);
	ECDSA_SIG *pair = NULL;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, der, &len, (const uint8_t *)text.data, text.len) == 1;

	if (ok)
		pair = d2i_ECDSA_SIG(NULL, &from, (long)len);
	ok = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, 32) == 32 &&
	     BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + 32, 32) == 32;
	ECDSA_SIG_free(pair);
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool is_signed(EVP_PKEY *key, struct mesh_slice text, struct mesh_slice signature)
{
	const uint8_t *bytes = (const uint8_t *)signature.data;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = NULL, *s = NULL;
	uint8_t *der = NULL;
	int len = 0;
	bool ok = false;

	if (signature.len == SIGNATURE_BYTES) {
		r = BN_bin2bn(bytes, 32, NULL);
		s = BN_bin2bn(bytes + 32, 32, NULL);
	}
	if (pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1) {
		r = s = NULL; /* the pair's now */
		len = i2d_ECDSA_SIG(pair, &der);
	}
	if (len > 0 && ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1)
		ok = EVP_DigestVerify(ctx, der, (size_t)len, (const uint8_t *)text.data, text.len) == 1;
	OPENSSL_free(der);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(pair);
	EVP_MD_CTX_free(ctx);
	return ok;
}

int cp_token_make(struct buf *out, EVP_PKEY *key, const struct cp_identity *identity, int64_t now_s, int64_t ttl_s)
{
	struct buf claims;
	char name[CP_NAME_BYTES];
	uint8_t signature[SIGNATURE_BYTES];
	size_t start = mesh_buf_len(out);
	int rc;

	if (!take_name(mesh_slice_of(identity->namespace_name), name) || !take_name(mesh_slice_of(identity->account), name))
		return MESH_ERROR_INVALID;
	mesh_buf_init(&claims, &mesh_mem_default, TOKEN_BYTES_MAX);
	rc = mesh_buf_printf(&claims,
			     "{\"iss\":\"" ISSUER "\",\"aud\":[\"" AUDIENCE "\"],\"sub\":\"" SUBJECT_PREFIX
			     "%s:%s\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
			     identity->namespace_name, identity->account, now_s, now_s + ttl_s);
	if (rc == 0)
		rc = append_url64(out, MESH_SLICE("{\"alg\":\"ES256\",\"typ\":\"JWT\"}"));
	if (rc == 0)
		rc = mesh_buf_append(out, MESH_SLICE("."));
	if (rc == 0)
		rc = append_url64(out, mesh_buf_slice(&claims));
	if (rc == 0 &&
	    !sign(key, mesh_slice_make(mesh_buf_slice(out).data + start, mesh_buf_len(out) - start), signature))
		rc = MESH_ERROR_SYSTEM;
	if (rc == 0)
		rc = mesh_buf_append(out, MESH_SLICE("."));
	if (rc == 0)
		rc = append_url64(out, mesh_slice_make(signature, sizeof(signature)));
	mesh_buf_free(&claims);
	return rc;
}

static json_t *decode_part(struct mesh_slice part)
{
	struct buf text;
	json_t *json = NULL;

	mesh_buf_init(&text, &mesh_mem_default, TOKEN_BYTES_MAX);
	if (mesh_text_base64_decode(&text, part) == 0)
		json = json_loadb(mesh_buf_slice(&text).data, mesh_buf_len(&text), JSON_REJECT_DUPLICATES, NULL);
	mesh_buf_free(&text);
	return json;
}

static bool has_audience(const json_t *aud)
{
	for (size_t i = 0; i < json_array_size(aud); i++) {
		if (has_audience(json_array_get(aud, i)))
			return true;
	}
	return json_is_string(aud) && strcmp(json_string_value(aud), AUDIENCE) == 0;
}

static const char *check_claims(const json_t *claims, int64_t now_s, struct cp_identity *identity)
{
	const json_t *exp = json_object_get(claims, "exp");
	const char *iss = json_string_value(json_object_get(claims, "iss"));
	struct mesh_slice subject = mesh_slice_of(json_string_value(json_object_get(claims, "sub")));
	struct mesh_slice namespace_name;

	if (!iss || strcmp(iss, ISSUER) != 0)
		return "issued by somebody else";
	if (!has_audience(json_object_get(claims, "aud")))
		return "not for the audience " AUDIENCE;
	if (!json_is_integer(exp) || json_integer_value(exp) <= now_s)
		return "expired";
	if (!mesh_slice_prefix(subject, MESH_SLICE(SUBJECT_PREFIX)))
		return "its subject is no service account";
	subject = mesh_slice_make(subject.data + strlen(SUBJECT_PREFIX), subject.len - strlen(SUBJECT_PREFIX));
	namespace_name = mesh_slice_cut(&subject, ':');
	if (!take_name(namespace_name, identity->namespace_name) || !take_name(subject, identity->account))
		return "its subject is malformed";
	return NULL;
}

int cp_token_check(EVP_PKEY *key, struct mesh_slice token, int64_t now_s, struct cp_identity *identity, struct why *why)
{
	ptrdiff_t last = mesh_slice_find_last(token, '.');
	struct mesh_slice signed_part, head, body;
	const char *wrong = "malformed";
	json_t *header = NULL, *claims = NULL;
	const char *alg;
	struct buf signature;

	mesh_buf_init(&signature, &mesh_mem_default, TOKEN_BYTES_MAX);
	if (last < 0 || token.len > TOKEN_BYTES_MAX)
		goto done;
	signed_part = body = mesh_slice_make(token.data, (size_t)last);
	head = mesh_slice_cut(&body, '.');
	header = decode_part(head);
	claims = decode_part(body);
	if (mesh_text_base64_decode(&signature, mesh_slice_make(token.data + last + 1, token.len - (size_t)last - 1)) <
	    0)
		goto done;
	alg = json_string_value(json_object_get(header, "alg"));
	if (!json_is_object(claims) || !alg)
		goto done;
	if (strcmp(alg, "ES256") != 0 || !is_signed(key, signed_part, mesh_buf_slice(&signature)))
		wrong = "not signed by this control plane";
	else
		wrong = check_claims(claims, now_s, identity);
done:
	mesh_buf_free(&signature);
	json_decref(header);
	json_decref(claims);
	return wrong ? mesh_why(why, MESH_ERROR_CONTROL_AUTH, "token %s", wrong) : 0;
}
