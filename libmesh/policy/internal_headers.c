/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which headers of a request are between an application and its own proxy, as Envoy's connection manager and
 * router decide. Refuses to know what they ask for.
 */
#include "policy/internal_headers.h"

#define PREFIX "x-envoy-"

static const struct {
	struct mesh_slice name; /* behind the prefix */
	bool asks;              /* an application asks its own proxy for something with it */
} known[] = {
	{{"internal", 8}, false},
	{{"peer-metadata", 13}, false},
	{{"peer-metadata-id", 16}, false},
	{{"retry-on", 8}, true},
	{{"retry-grpc-on", 13}, true},
	{{"max-retries", 11}, true},
	{{"retriable-status-codes", 22}, true},
	{{"retriable-header-names", 22}, true},
	{{"hedge-on-per-try-timeout", 24}, true},
	{{"upstream-rq-timeout-ms", 22}, true},
	{{"upstream-rq-per-try-timeout-ms", 30}, true},
	{{"upstream-rq-timeout-alt-response", 32}, true},
	{{"upstream-alt-stat-name", 22}, true},
	{{"upstream-stream-duration-ms", 27}, true},
	{{"expected-rq-timeout-ms", 22}, false},
	{{"force-trace", 11}, false},
	{{"ip-tags", 7}, false},
	{{"original-url", 12}, false},
	{{"decorator-operation", 19}, false},
};

static bool listed(struct mesh_slice name, bool asking_only)
{
	const struct mesh_slice prefix = MESH_SLICE(PREFIX);

	if (!mesh_slice_prefix_fold(name, prefix))
		return false;
	name = mesh_slice_make(name.data + prefix.len, name.len - prefix.len);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (mesh_slice_equal_fold(name, known[i].name))
			return known[i].asks || !asking_only;
	return false;
}

/* One pass: most requests carry none of these. */
static void remove_listed(struct headers *headers, bool asking_only)
{
	size_t i = 0;

	while (i < headers->count) {
		if (listed(headers->items[i].name, asking_only))
			mesh_headers_remove(headers, headers->items[i].name);
		else
			i++;
	}
}

void mesh_internal_headers_refuse(struct headers *headers)
{
	remove_listed(headers, false);
}

void mesh_internal_headers_consume(struct headers *headers)
{
	remove_listed(headers, true);
}
