/* SPDX-License-Identifier: Apache-2.0 */
/* What a retry policy and a hedge policy say, compiled. Immutable. */
#ifndef MESH_CONFIG_RETRY_H
#define MESH_CONFIG_RETRY_H

#include "base/slice.h"

struct header_match;
struct label;

/* retry_on, as bits */
enum {
	RETRY_5XX = 1 << 0,
	RETRY_GATEWAY_ERROR = 1 << 1,
	RETRY_RESET = 1 << 2,
	RETRY_RESET_BEFORE_REQUEST = 1 << 3,
	RETRY_CONNECT_FAILURE = 1 << 4,
	RETRY_ENVOY_RATELIMITED = 1 << 5,
	RETRY_RETRIABLE_4XX = 1 << 6,
	RETRY_REFUSED_STREAM = 1 << 7,
	RETRY_RETRIABLE_STATUS_CODES = 1 << 8,
	RETRY_RETRIABLE_HEADERS = 1 << 9,
	RETRY_HTTP3_POST_CONNECT_FAILURE = 1 << 10, /* accepted, never happens here */
	RETRY_GRPC_CANCELLED = 1 << 16,
	RETRY_GRPC_DEADLINE_EXCEEDED = 1 << 17,
	RETRY_GRPC_INTERNAL = 1 << 18,
	RETRY_GRPC_RESOURCE_EXHAUSTED = 1 << 19,
	RETRY_GRPC_UNAVAILABLE = 1 << 20,
};

/* A header of a response that says when to come again. */
struct reset_header {
	struct mesh_slice name; /* lower case */
	bool at;                /* seconds since 1970; else seconds from now */
};

struct retry_config {
	uint32_t on;
	uint32_t retries;            /* beyond the first attempt */
	int64_t per_try_timeout_ns;  /* 0: none */
	int64_t per_try_idle_timeout_ns;
	int64_t backoff_base_ns;     /* default 25 ms */
	int64_t backoff_max_ns;      /* default 10 x base */
	uint32_t *status_codes;
	size_t status_code_count;
	struct header_match *retriable_headers;
	size_t retriable_header_count;
	struct header_match *retriable_request_headers;
	size_t retriable_request_header_count;
	bool previous_hosts;         /* avoid endpoints tried before */
	bool omit_canary;            /* avoid endpoints whose metadata says that */
	struct label *omit;          /* avoid endpoints with all of these */
	size_t omit_count;
	uint32_t host_selection_attempts; /* default 1 */
	bool previous_priorities;
	uint32_t previous_priorities_update;
	struct reset_header *reset_headers; /* in place of the back-off: of the first that says something within the limit */
	size_t reset_header_count;
	int64_t reset_max_ns;        /* 300 s */
};

/* Of a route, else of its virtual host. */
enum hedge {
	HEDGE_UNSET,
	HEDGE_NEVER,
	HEDGE_ON_PER_TRY_TIMEOUT, /* a try that is late goes on while another begins; the first good answer is taken */
};

#endif
