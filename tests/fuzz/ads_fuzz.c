/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of discovery responses: the first byte says which protocol, then each response comes with its length in two
 * bytes. Whatever comes, what goes out are requests a server can read, what is held can be told again on a new stream,
 * and there is a snapshot and a dump of it.
 */
#include <stdio.h>

#include <jansson.h>
#include <mesh/error.h>

#include "control/message.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "xds/ads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_LIMIT = 65536 };

struct input {
	struct log log;
	struct ads ads;
	struct arena arena;
	size_t sent;
	bool passed_over; /* the last response was of a type nobody asked for */
};

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static void hear(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	struct input *input = user;

	input->passed_over = input->passed_over || strncmp(text, "passed over", strlen("passed over")) == 0;
}

/* Text, bounded, of a type we know. */
static int check_request(void *user, struct mesh_slice bytes)
{
	struct input *input = user;
	const ProtobufCMessageDescriptor *type =
		input->ads.sotw ? &envoy__service__discovery__v3__discovery_request__descriptor
				: &envoy__service__discovery__v3__delta_discovery_request__descriptor;
	const Google__Rpc__Status *error;
	ProtobufCMessage *message;
	struct why why = {{0}};
	const char *url;

	promise(!mesh_message_unpack(type, bytes, 0, &input->arena, &why, &message));
	if (input->ads.sotw) {
		url = ((Envoy__Service__Discovery__V3__DiscoveryRequest *)message)->type_url;
		error = ((Envoy__Service__Discovery__V3__DiscoveryRequest *)message)->error_detail;
	} else {
		url = ((Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *)message)->type_url;
		error = ((Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *)message)->error_detail;
	}
	promise(mesh_xds_type_of(mesh_slice_of(url)) >= 0);
	promise(!error || (error->code == 3 && error->message[0] && strlen(error->message) <= 8192));
	input->sent++;
	mesh_arena_reset(&input->arena);
	return 0;
}

static void receive_all(struct input *input, struct mesh_slice rest)
{
	promise(!mesh_ads_open(&input->ads) && input->sent == 2);
	while (rest.len >= 2) {
		size_t len = (size_t)(uint8_t)rest.data[0] << 8 | (uint8_t)rest.data[1];
		struct why why = {{0}};
		int rc;

		rest = mesh_slice_make(rest.data + 2, rest.len - 2);
		len = len < rest.len ? len : rest.len;
		input->sent = 0;
		input->passed_over = false;
		rc = mesh_ads_receive(&input->ads, mesh_slice_make(rest.data, len), &why);
		promise(rc ? rc == MESH_ERROR_INVALID && why.text[0] : (input->sent >= 1) != input->passed_over);
		if (rc)
			promise(!mesh_ads_open(&input->ads));
		rest = mesh_slice_make(rest.data + len, rest.len - len);
	}
}

static void look_inside(struct input *input)
{
	struct snapshot *snapshot = NULL;
	struct buf dump;
	json_t *json;

	input->sent = 0;
	promise(!mesh_ads_open(&input->ads) && input->sent >= 2);
	promise(!mesh_resource_cache_snapshot(input->ads.cache, 1, &snapshot));
	mesh_snapshot_release(snapshot);
	mesh_buf_init(&dump, &mesh_mem_default, 0);
	promise(!mesh_resource_cache_dump(input->ads.cache, MESH_SLICE("{}"), &dump));
	json = json_loadb(mesh_buf_slice(&dump).data, mesh_buf_len(&dump), JSON_ALLOW_NUL, NULL);
	promise(json);
	json_decref(json);
	mesh_buf_free(&dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.sent = 0};

	if (!size || size > SIZE_LIMIT)
		return 0;
	input.log = (struct log){.sink = hear, .user = &input, .level = MESH_LOG_WARNING};
	mesh_arena_init(&input.arena, &mesh_mem_default, 0);
	promise(!mesh_resource_cache_new(&mesh_mem_default, &input.log, NULL, &input.ads.cache));
	input.ads = (struct ads){.mem = &mesh_mem_default, .log = &input.log, .cache = input.ads.cache, .sotw = data[0] & 1,
				 .send = check_request, .user = &input, .node = MESH_SLICE("\x0a\x02id")};
	mesh_ads_init(&input.ads);
	receive_all(&input, mesh_slice_make(data + 1, size - 1));
	look_inside(&input);
	mesh_ads_free(&input.ads);
	mesh_resource_cache_free(input.ads.cache);
	mesh_arena_free(&input.arena);
	return 0;
}
