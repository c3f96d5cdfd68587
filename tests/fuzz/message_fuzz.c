/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses a message, the second how deep it may be nested and whether memory is short; the rest are its
 * bytes. They are refused in one line of words, or become a message that packs and unpacks to the same.
 */
#include <mesh/error.h>

#include "control/message.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "security/v1alpha1/ca.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_LIMIT = 65536, SHORT_MEMORY = 4096 };

static const ProtobufCMessageDescriptor *const types[] = {
	&envoy__service__discovery__v3__delta_discovery_response__descriptor,
	&envoy__service__discovery__v3__discovery_response__descriptor,
	&istio__v1__auth__istio_certificate_response__descriptor,
	&google__protobuf__struct__descriptor, /* holds itself */
};

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned nesting_max,
				struct arena *arena)
{
	ProtobufCMessage *message = NULL;
	struct why why = {{0}};
	int rc = mesh_message_unpack(type, bytes, nesting_max, arena, &why, &message);

	promise(rc == 0 || rc == MESH_ERROR_INVALID || (rc == MESH_ERROR_NOMEM && arena->limit));
	promise((rc == 0) == (message != NULL) && (rc == 0) == !why.text[0]);
	promise(!strchr(why.text, '\n'));
	promise(!message || message->descriptor == type);
	promise(!arena->limit || arena->total <= arena->limit);
	return message;
}

static struct mesh_slice pack(struct arena *arena, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	char *room = mesh_arena_alloc(arena, len + 1);

	promise(room && protobuf_c_message_pack(message, (uint8_t *)room) == len);
	return mesh_slice_make(room, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *type;
	struct mesh_slice bytes, packed;
	ProtobufCMessage *message;
	struct arena arena, small;
	unsigned nesting_max;

	if (size < 2 || size > SIZE_LIMIT)
		return 0;
	type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	nesting_max = data[1] & 0x7f;
	bytes = mesh_slice_make(data + 2, size - 2);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_arena_init(&small, &mesh_mem_default, SHORT_MEMORY);
	message = unpack(type, bytes, nesting_max, &arena);
	if (message) {
		packed = pack(&arena, message);
		message = unpack(type, packed, nesting_max, &arena);
		promise(message && mesh_slice_equal(pack(&arena, message), packed));
	}
	if (data[1] & 0x80)
		unpack(type, bytes, nesting_max, &small);
	mesh_arena_free(&small);
	mesh_arena_free(&arena);
	return 0;
}
