/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses: a body of gRPC messages in pieces (the second byte is their length), each compressed one
 * decompressed; or the text forms in headers. Bounds hold, cutting changes nothing, and what was decoded encodes to itself.
 */
#include <mesh/error.h>

#include "grpc/code.h"
#include "grpc/frame.h"
#include "grpc/gzip.h"
#include "grpc/metadata.h"
#include "grpc/timeout.h"
#include "grpc/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_LIMIT = 65536, MESSAGE_MAX = 4096 };

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

struct seen {
	unsigned count;
	uint32_t hash;
	int end; /* 0, or the error that ended it */
};

static void take(struct seen *seen, const struct grpc_frame *frame, struct grpc_gzip **gzip)
{
	struct buf plain;
	int rc;

	promise(frame->bytes.len <= MESSAGE_MAX);
	seen->count++;
	for (size_t i = 0; i < frame->bytes.len; i++)
		seen->hash = seen->hash * 31 + (uint8_t)frame->bytes.data[i];
	seen->hash = seen->hash * 31 + frame->compressed;
	if (!frame->compressed)
		return;
	mesh_buf_init(&plain, &mesh_mem_default, 0);
	rc = mesh_grpc_inflate(gzip, &mesh_mem_default, frame->bytes, MESSAGE_MAX, &plain);
	promise(rc == 0 || rc == MESH_ERROR_INVALID || rc == MESH_ERROR_TOO_LARGE);
	promise(mesh_buf_len(&plain) <= MESSAGE_MAX);
	mesh_buf_free(&plain);
}

static struct seen read_all(struct mesh_slice body, size_t piece)
{
	struct grpc_gzip *gzip = NULL;
	struct seen seen = {0};
	struct grpc_reader reader;

	mesh_grpc_reader_init(&reader, &mesh_mem_default, MESSAGE_MAX);
	while (body.len && !seen.end) {
		struct mesh_slice in = {body.data, body.len < piece ? body.len : piece};
		struct grpc_frame frame;
		int rc;

		body = mesh_slice_make(body.data + in.len, body.len - in.len);
		do {
			bool due = mesh_grpc_reader_due(&reader, in);

			rc = mesh_grpc_reader_next(&reader, &in, &frame);
			promise(due == (rc != 0));
			if (rc == 1)
				take(&seen, &frame, &gzip);
		} while (rc == 1);
		promise(rc < 0 || !in.len);
		seen.end = rc;
	}
	promise(reader.body.room <= 4 * MESSAGE_MAX);
	mesh_grpc_gzip_free(gzip);
	mesh_grpc_reader_free(&reader);
	return seen;
}

static void check_body(struct mesh_slice body, size_t piece)
{
	struct seen whole = read_all(body, SIZE_LIMIT), cut = read_all(body, piece ? piece : 1);

	promise(whole.count == cut.count && whole.hash == cut.hash && whole.end == cut.end);
}

static void check_timeout(struct mesh_slice text)
{
	char printed[MESH_GRPC_TIMEOUT_BYTES];
	uint64_t ns, again;

	if (!mesh_grpc_timeout_parse(text, &ns))
		return;
	promise(mesh_grpc_timeout_parse(mesh_slice_make(printed, mesh_grpc_timeout_print(printed, ns)), &again));
	promise(again >= ns);
}

static void check_words(struct arena *arena, struct mesh_slice text)
{
	struct mesh_slice words, encoded, again;

	promise(!mesh_grpc_words_decode(arena, text, &words) && words.len <= text.len);
	promise(!mesh_grpc_words_encode(arena, words, &encoded));
	promise(mesh_header_value_valid(encoded));
	promise(!mesh_grpc_words_decode(arena, encoded, &again) && mesh_slice_equal(words, again));
}

static void check_metadata(struct arena *arena, struct mesh_slice text)
{
	struct headers fields = {0}, pairs = {0}, sent = {0};
	struct mesh_slice name = {text.data, text.len < 8 ? text.len : 8};

	promise(!mesh_headers_add(&fields, arena, MESH_SLICE("x-bytes-bin"), text));
	promise(!mesh_headers_add(&fields, arena, name, text));
	promise(!mesh_grpc_metadata_decode(arena, &fields, &pairs));
	for (size_t i = 0; i < pairs.count; i++) {
		int rc = mesh_grpc_metadata_encode(arena, &pairs.items[i], 1, &sent);

		promise(rc == 0 || rc == MESH_ERROR_INVALID);
		promise(rc || mesh_header_value_valid(sent.items[sent.count - 1].value));
		promise(rc || mesh_header_name_valid(sent.items[sent.count - 1].name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesh_slice text = {(const char *)data + 2, size < 2 ? 0 : size - 2};
	struct arena arena;
	int code;

	if (size < 2 || size > SIZE_LIMIT)
		return 0;
	if (data[0] & 1) {
		check_body(text, data[1]);
		return 0;
	}
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	code = mesh_grpc_code_of_text(text);
	promise(code >= 0 && code <= MESH_GRPC_UNAUTHENTICATED);
	mesh_grpc_content_type(text);
	mesh_grpc_encoding_listed(text, MESH_SLICE("gzip"));
	check_timeout(text);
	check_words(&arena, text);
	check_metadata(&arena, text);
	mesh_arena_free(&arena);
	return 0;
}
