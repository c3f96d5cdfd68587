/* SPDX-License-Identifier: Apache-2.0 */
/* TLS settings of a cluster or a filter chain. Immutable. */
#ifndef MESH_CONFIG_TLS_H
#define MESH_CONFIG_TLS_H

#include "config/match.h"

enum tls_version {
	TLS_VERSION_AUTO,
	TLS_VERSION_1_2, /* lower ones are refused when decoding */
	TLS_VERSION_1_3,
};

struct tls_config {
	enum tls_version min, max;
	struct mesh_slice ciphers;          /* OpenSSL list for TLS 1.2, absent: default; NUL-terminated */
	struct mesh_slice alpn;             /* wire format (length-prefixed names), absent: none */
	struct mesh_slice sni;              /* upstream */
	struct mesh_slice certificate_name; /* secret with our certificate; absent: none shown. "default" = the workload's own */
	struct mesh_slice roots_name;       /* secret with the roots; absent: the peer is not verified. "ROOTCA" = the mesh's */
	struct string_match *sans;          /* one must match; count 0: any name */
	size_t san_count;
	bool require_client_certificate;    /* downstream */
	bool upstream_auto_sni;             /* SNI from the request's host: no connection is made under such settings */
	bool upstream_auto_san;             /* the same of the name the peer must show */
};

#endif
