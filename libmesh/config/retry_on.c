/* SPDX-License-Identifier: Apache-2.0 */
/* The names of retry conditions, HTTP's and gRPC's. Decides nothing about when they hold. */
#include "config/retry_on.h"

#include "config/route.h"

static const struct {
	const char *word;
	uint32_t bit;
} words[] = {
	{"5xx", RETRY_5XX},
	{"gateway-error", RETRY_GATEWAY_ERROR},
	{"reset", RETRY_RESET},
	{"reset-before-request", RETRY_RESET_BEFORE_REQUEST},
	{"connect-failure", RETRY_CONNECT_FAILURE},
	{"envoy-ratelimited", RETRY_ENVOY_RATELIMITED},
	{"retriable-4xx", RETRY_RETRIABLE_4XX},
	{"refused-stream", RETRY_REFUSED_STREAM},
	{"retriable-status-codes", RETRY_RETRIABLE_STATUS_CODES},
	{"retriable-headers", RETRY_RETRIABLE_HEADERS},
	{"http3-post-connect-failure", RETRY_HTTP3_POST_CONNECT_FAILURE},
	{"cancelled", RETRY_GRPC_CANCELLED},
	{"deadline-exceeded", RETRY_GRPC_DEADLINE_EXCEEDED},
	{"internal", RETRY_GRPC_INTERNAL},
	{"resource-exhausted", RETRY_GRPC_RESOURCE_EXHAUSTED},
	{"unavailable", RETRY_GRPC_UNAVAILABLE},
};

uint32_t mesh_retry_on_bit(struct mesh_slice word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (mesh_slice_equal(word, mesh_slice_of(words[i].word)))
			return words[i].bit;
	}
	return 0;
}

const char *mesh_retry_on_word(uint32_t bit)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].bit == bit)
			return words[i].word;
	}
	return NULL;
}
