/* SPDX-License-Identifier: Apache-2.0 */
/* How the names of a DNS cluster are resolved. Part of an immutable cluster. */
#ifndef MESH_CONFIG_DNS_H
#define MESH_CONFIG_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

enum dns_family {
	DNS_AUTO, /* IPv6, IPv4 when there is none */
	DNS_V4_ONLY,
	DNS_V6_ONLY,
	DNS_V4_PREFERRED,
	DNS_ALL,
};

struct dns_servers {
	struct address *list; /* count 0: the system's; port 0: 53 */
	size_t count;
	bool fallback;        /* only when the system has none */
	bool use_tcp;
	bool no_search;       /* names are whole */
	bool rotate;
	uint32_t timeout_s, tries; /* of one server; 0: 5 s, 4 */
	uint32_t edns_bytes;  /* 0: 1232 */
};

struct dns_config {
	enum dns_family family;
	int64_t refresh_ns;          /* 5 s */
	bool respect_ttl;            /* that of the answer, where it has one, instead */
	int64_t jitter_ns;           /* added at random, up to this; 0: none */
	int64_t failure_base_ns;     /* back-off after failures, with jitter; 0: refresh_ns each time */
	int64_t failure_max_ns;
	bool wait_for_warm;          /* not in force before the first answer */
	struct dns_servers servers;
};

#endif
