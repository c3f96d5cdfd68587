/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a verified certificate is for a host: a DNS SAN with Envoy's rules for wildcards, or an IP SAN when the
 * host is an address. Never the subject's common name. Refuses to know why that host was asked for.
 */
#include <openssl/x509v3.h>

#include "base/address.h"
#include "net/tls.h"

static struct mesh_slice first_label(struct mesh_slice *name)
{
	ptrdiff_t dot = mesh_slice_find(*name, '.');
	struct mesh_slice label = *name;

	if (dot < 0) {
		*name = mesh_slice_make(NULL, 0);
		return label;
	}
	label.len = (size_t)dot;
	*name = mesh_slice_make(name->data + dot + 1, name->len - (size_t)dot - 1);
	return label;
}

/* One star stands for any part of the label, without a dot. */
static bool label_matches(struct mesh_slice pattern, struct mesh_slice label)
{
	ptrdiff_t star = mesh_slice_find(pattern, '*');
	size_t after;

	if (star < 0 || mesh_slice_find_last(pattern, '*') != star || label.len + 1 < pattern.len || !label.len)
		return false;
	after = pattern.len - (size_t)star - 1;
	return mesh_slice_equal_fold(mesh_slice_make(pattern.data, (size_t)star),
				     mesh_slice_make(label.data, (size_t)star)) &&
	       mesh_slice_equal_fold(mesh_slice_make(pattern.data + star + 1, after),
				     mesh_slice_make(label.data + label.len - after, after));
}

bool mesh_tls_name_matches(struct mesh_slice pattern, struct mesh_slice name)
{
	struct mesh_slice rest = pattern, domain = name, wild, label;

	if (!pattern.len || !name.len)
		return false;
	if (mesh_slice_equal_fold(pattern, name))
		return true;
	wild = first_label(&rest);
	label = first_label(&domain);
	if (!rest.len || !domain.len || mesh_slice_find(rest, '*') >= 0 ||
	    mesh_slice_prefix_fold(wild, MESH_SLICE("xn--")))
		return false;
	return mesh_slice_equal_fold(rest, domain) && label_matches(wild, label);
}

static struct mesh_slice text_of(const ASN1_STRING *string)
{
	return mesh_slice_make(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static bool same_address(const ASN1_OCTET_STRING *octets, const struct address *address)
{
	struct mesh_slice bytes = text_of(octets);

	if (address->any.sa_family == AF_INET6)
		return bytes.len == 16 && memcmp(bytes.data, &address->v6.sin6_addr, 16) == 0;
	return bytes.len == 4 && memcmp(bytes.data, &address->v4.sin_addr, 4) == 0;
}

static bool shows(X509 *certificate, struct mesh_slice name)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	struct address address;
	bool literal = !mesh_address_parse(&address, name, 0), found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(names, i);

		if (literal && san->type == GEN_IPADD)
			found = same_address(san->d.iPAddress, &address);
		/* a name with a NUL inside equals none that we ask for */
		if (!literal && san->type == GEN_DNS)
			found = mesh_tls_name_matches(text_of(san->d.dNSName), name);
	}
	GENERAL_NAMES_free(names);
	return found;
}

int mesh_tls_name_check(struct transport *transport, SSL *ssl, bool verified, struct mesh_slice name)
{
	X509 *certificate = verified ? SSL_get0_peer_certificate(ssl) : NULL;

	if (certificate && shows(certificate, name))
		return 0;
	return mesh_why(&transport->why, MESH_ERROR_PEER_IDENTITY, "the peer's certificate is not for \"%.*s\"",
			(int)name.len, name.data);
}
