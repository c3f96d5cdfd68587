/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells TLS, HTTP/1, HTTP/2 and anything else apart by the first bytes, and reads SNI and ALPN out of a ClientHello that
 * may come in several records. Sans I/O; looks at all bytes received so far each time, which are few.
 */
#include "net/sniff.h"

#include <mesh/error.h>

struct reader {
	const unsigned char *at, *end;
	bool failed; /* read past the end */
};

static unsigned take(struct reader *reader, unsigned bytes)
{
	unsigned value = 0;

	if ((size_t)(reader->end - reader->at) < bytes) {
		reader->failed = true;
		reader->at = reader->end;
		return 0;
	}
	while (bytes--)
		value = value << 8 | *reader->at++;
	return value;
}

/* A part of given length as a reader of its own. */
static struct reader sub(struct reader *reader, size_t len)
{
	struct reader part = {reader->at, reader->at, false};

	if ((size_t)(reader->end - reader->at) < len) {
		reader->failed = part.failed = true;
		return part;
	}
	part.end = reader->at += len;
	return part;
}

static void read_server_name(struct reader extension, struct sniff *sniff)
{
	struct reader list = sub(&extension, take(&extension, 2));

	while (list.at < list.end && !list.failed) {
		unsigned type = take(&list, 1);
		struct reader name = sub(&list, take(&list, 2));

		if (type == 0 && !name.failed && name.at < name.end && !sniff->server_name.data)
			sniff->server_name = mesh_slice_make(name.at, (size_t)(name.end - name.at));
	}
}

static int read_alpn(struct reader extension, struct arena *arena, struct sniff *sniff)
{
	struct reader list = sub(&extension, take(&extension, 2)), counting = list;
	size_t count = 0;

	while (counting.at < counting.end && !counting.failed) {
		sub(&counting, take(&counting, 1));
		count++;
	}
	if (counting.failed)
		return 0;
	sniff->alpn = mesh_arena_array(arena, count + 1, sizeof(*sniff->alpn));
	if (!sniff->alpn)
		return MESH_ERROR_NOMEM;
	while (list.at < list.end) {
		struct reader name = sub(&list, take(&list, 1));

		sniff->alpn[sniff->alpn_count++] = mesh_slice_make(name.at, (size_t)(name.end - name.at));
	}
	return 0;
}

/* The body of a whole ClientHello. */
static int read_hello(struct reader hello, struct arena *arena, struct sniff *sniff)
{
	struct reader extensions;
	int rc = 0;

	take(&hello, 2);          /* version */
	sub(&hello, 32);          /* random */
	sub(&hello, take(&hello, 1)); /* session id */
	sub(&hello, take(&hello, 2)); /* cipher suites */
	sub(&hello, take(&hello, 1)); /* compression */
	if (hello.failed) {
		sniff->kind = SNIFF_INVALID;
		return 0;
	}
	sniff->kind = SNIFF_TLS;
	if (hello.at == hello.end)
		return 0;
	extensions = sub(&hello, take(&hello, 2));
	while (extensions.at < extensions.end && !extensions.failed && !rc) {
		unsigned type = take(&extensions, 2);
		struct reader extension = sub(&extensions, take(&extensions, 2));

		if (type == 0)
			read_server_name(extension, sniff);
		else if (type == 16 && !sniff->alpn_count)
			rc = read_alpn(extension, arena, sniff);
	}
	if (hello.failed || extensions.failed)
		sniff->kind = SNIFF_INVALID;
	return rc;
}

/* Joins the handshake bytes of the records at the front. False: more needed, or *kind says it is not sound. */
static bool join_records(struct mesh_slice bytes, char *joined, size_t *joined_len, enum sniff_kind *kind)
{
	size_t at = 0, len = 0;

	for (;;) {
		const unsigned char *record = (const unsigned char *)bytes.data + at;
		size_t body;

		if (len >= 4) {
			size_t need = 4 + ((size_t)(unsigned char)joined[1] << 16 | (size_t)(unsigned char)joined[2] << 8 |
					   (unsigned char)joined[3]);

			if (joined[0] != 1 || need > MESH_SNIFF_BYTES_MAX) {
				*kind = SNIFF_INVALID;
				return false;
			}
			if (len >= need) {
				*joined_len = need;
				return true;
			}
		}
		if (bytes.len - at < 5)
			return false;
		body = (size_t)record[3] << 8 | record[4];
		if (record[0] != 0x16 || record[1] != 3 || !body || body > MESH_SNIFF_BYTES_MAX) {
			*kind = SNIFF_INVALID;
			return false;
		}
		if (bytes.len - at - 5 < body)
			return false;
		memcpy(joined + len, record + 5, body);
		len += body;
		at += 5 + body;
	}
}

static int sniff_tls(struct mesh_slice bytes, struct arena *arena, struct sniff *sniff)
{
	char *joined;
	size_t len = 0;
	struct reader hello;

	/* nothing is allocated before enough can be there */
	if (bytes.len < 5)
		return 0;
	joined = mesh_arena_alloc(arena, bytes.len + 1);
	if (!joined)
		return MESH_ERROR_NOMEM;
	if (!join_records(bytes, joined, &len, &sniff->kind)) {
		if (sniff->kind == SNIFF_MORE && bytes.len >= MESH_SNIFF_BYTES_MAX)
			sniff->kind = SNIFF_INVALID;
		return 0;
	}
	hello.at = (const unsigned char *)joined + 4;
	hello.end = (const unsigned char *)joined + len;
	hello.failed = false;
	return read_hello(hello, arena, sniff);
}

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* "METHOD SP target SP HTTP/1.x": what Envoy's inspector asks for before it calls something HTTP. */
static enum sniff_kind sniff_http1(struct mesh_slice bytes, bool *http_10)
{
	ptrdiff_t line_end = mesh_slice_find(bytes, '\n');
	struct mesh_slice line = mesh_slice_make(bytes.data, line_end < 0 ? bytes.len : (size_t)line_end), rest = line, method;
	ptrdiff_t last;

	if (line.len && line.data[line.len - 1] == '\r')
		line.len--;
	method = mesh_slice_cut(&rest, ' ');
	for (size_t i = 0; i < method.len; i++)
		if (!((method.data[i] >= 'A' && method.data[i] <= 'Z') || (method.data[i] >= 'a' && method.data[i] <= 'z') ||
		      method.data[i] == '-' || method.data[i] == '_'))
			return SNIFF_RAW;
	if (method.len > 32 || (!method.len && bytes.len))
		return SNIFF_RAW;
	if (line_end < 0)
		return bytes.len >= MESH_SNIFF_BYTES_MAX ? SNIFF_RAW : SNIFF_MORE;
	last = mesh_slice_find_last(line, ' ');
	if (last <= (ptrdiff_t)method.len)
		return SNIFF_RAW;
	rest = mesh_slice_make(line.data + last + 1, line.len - (size_t)last - 1);
	*http_10 = mesh_slice_equal(rest, MESH_SLICE("HTTP/1.0"));
	return rest.len == 8 && mesh_slice_prefix(rest, MESH_SLICE("HTTP/1.")) ? SNIFF_HTTP1 : SNIFF_RAW;
}

int mesh_sniff(struct mesh_slice bytes, struct arena *arena, struct sniff *sniff)
{
	size_t same = bytes.len < sizeof(preface) - 1 ? bytes.len : sizeof(preface) - 1;

	sniff->kind = SNIFF_MORE;
	sniff->server_name = mesh_slice_make(NULL, 0);
	sniff->alpn = NULL;
	sniff->alpn_count = 0;
	sniff->http_10 = false;
	if (!bytes.len)
		return 0;
	if (!sniff->http_only && bytes.data[0] == 0x16 && (bytes.len < 2 || bytes.data[1] == 3))
		return sniff_tls(bytes, arena, sniff);
	if (sniff->tls_only)
		sniff->kind = SNIFF_RAW;
	else if (!memcmp(bytes.data, preface, same))
		sniff->kind = same == sizeof(preface) - 1 ? SNIFF_HTTP2 : SNIFF_MORE;
	else
		sniff->kind = sniff_http1(bytes, &sniff->http_10);
	return 0;
}
