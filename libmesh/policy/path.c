/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the path that routes and authorization rules see, so that two spellings of one resource cannot be told apart by
 * a rule: the same steps in the same order as Envoy under Istio (fragment dropped, escaped slashes, dot segments and
 * escapes of plain characters, then doubled slashes). Never touches the query. Knows no rule.
 */
#include "policy/path.h"

#include <mesh/error.h>

enum {
	PLAIN = 0,
	LOOK = 1,   /* '.', '%' and '\\': what follows or precedes decides */
	ESCAPE = 2, /* written as %XX */
	DECODE = 4, /* its %XX is written as itself */
	REFUSE = 8,
};

/* Where the escapes of what is always safe to decode end and the ones that mean something begin: RFC 3986, 2.3. */
static const unsigned char kinds[256] = {
	[0] = REFUSE,
	[1 ... ' '] = ESCAPE,
	['"'] = ESCAPE, ['#'] = ESCAPE, ['<'] = ESCAPE, ['>'] = ESCAPE, ['?'] = ESCAPE, ['^'] = ESCAPE,
	['`'] = ESCAPE, ['{' ... '}'] = ESCAPE,
	[127 ... 255] = ESCAPE,
	['0' ... '9'] = DECODE, ['A' ... 'Z'] = DECODE, ['a' ... 'z'] = DECODE,
	['-'] = DECODE, ['_'] = DECODE, ['~'] = DECODE,
	['.'] = LOOK, ['%'] = LOOK, ['\\'] = LOOK,
};

static unsigned kind_of(unsigned char c)
{
	return kinds[c];
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte "%XX" stands for at `at`, -1 when that is no escape. */
static int escape_at(struct mesh_slice s, size_t at)
{
	int high, low;

	if (s.len < 3 || at > s.len - 3 || s.data[at] != '%')
		return -1;
	high = hex_digit(s.data[at + 1]);
	low = hex_digit(s.data[at + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Length of a dot at `at`, plain or escaped; 0: none. */
static size_t dot_at(struct mesh_slice s, size_t at)
{
	if (at < s.len && s.data[at] == '.')
		return 1;
	return escape_at(s, at) == '.' ? 3 : 0;
}

static bool slash(char c)
{
	return c == '/' || c == '\\';
}

/*
 * Where the segment that has its last dot before `at` ends, past its slash; 0 when more than dots are in it. Parameters
 * ("..;x=1") do not make it an ordinary segment: servers drop them.
 */
static size_t segment_end(struct mesh_slice s, size_t at)
{
	if (at < s.len && s.data[at] == ';') {
		while (at < s.len && !slash(s.data[at]))
			at++;
	}
	if (at == s.len)
		return at;
	return slash(s.data[at]) ? at + 1 : 0;
}

struct out {
	char *text;
	size_t len;
	size_t loose; /* index + 1 of the last '%' that began no escape; 0: none */
};

static void put(struct out *out, char c)
{
	out->text[out->len++] = c;
}

static void put_escaped(struct out *out, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	put(out, '%');
	put(out, digits[c >> 4]);
	put(out, digits[c & 15]);
}

/* Drops the last segment; the text ends with its slash before and with the previous one's afterwards. */
static void back_up(struct out *out)
{
	if (out->len <= 1)
		return;
	out->len--;
	while (out->len > 1 && out->text[out->len - 1] != '/')
		out->len--;
}

/*
 * A character was just decoded. When it makes an earlier stray '%' look like the start of an escape ("%%361" -> "%61"),
 * that '%' is escaped itself, or a second reader would decode what the first did not mean.
 */
static void guard_stray_percent(struct out *out, struct mesh_slice s, size_t next)
{
	size_t at = out->loose - 1, behind;
	char second;

	if (!out->loose || at >= out->len || out->text[at] != '%')
		return;
	behind = out->len - at - 1; /* characters behind the '%' */
	if (behind == 1 && next < s.len)
		second = s.data[next];
	else if (behind == 2)
		second = out->text[at + 2];
	else
		return;
	if (hex_digit(out->text[at + 1]) < 0 || hex_digit(second) < 0)
		return;
	memmove(out->text + at + 3, out->text + at + 1, behind);
	out->text[at + 1] = '2';
	out->text[at + 2] = '5';
	out->len += 2;
	out->loose = 0;
}

/* Takes the escape at `at`, or a '%' that begins none. Returns how much was taken; 0: refused. */
static size_t take_percent(struct out *out, struct mesh_slice s, size_t at)
{
	int byte = escape_at(s, at);
	unsigned kind;

	if (byte < 0) {
		put(out, '%');
		out->loose = out->len;
		return 1;
	}
	kind = kind_of((unsigned char)byte);
	if (kind == REFUSE)
		return 0;
	if (kind == DECODE) {
		put(out, (char)byte);
		guard_stray_percent(out, s, at + 3);
		return 3;
	}
	for (size_t i = 0; i < 3; i++) /* as it was written, also its case */
		put(out, s.data[at + i]);
	return 3;
}

/* Takes a dot of `dot` characters and, when it is a dot segment, the rest of that. */
static size_t take_dot(struct out *out, struct mesh_slice s, size_t at, size_t dot)
{
	size_t second, end;

	if (out->len && out->text[out->len - 1] == '/') {
		end = segment_end(s, at + dot);
		if (end)
			return end - at;
		second = dot_at(s, at + dot);
		end = second ? segment_end(s, at + dot + second) : 0;
		if (end) {
			back_up(out);
			return end - at;
		}
	}
	put(out, '.');
	return dot;
}

/* Dot segments and escapes; `text` has room for three times the path and a slash. False: refused. */
static bool canonical(struct mesh_slice path, struct out *out)
{
	size_t at = 0, taken, dot;

	if (!path.len || !slash(path.data[0]))
		put(out, '/');
	while (at < path.len) {
		unsigned char c = (unsigned char)path.data[at];
		unsigned kind = kind_of(c);

		taken = 1;
		dot = kind == LOOK ? dot_at(path, at) : 0;
		if (dot)
			taken = take_dot(out, path, at, dot);
		else if (c == '%')
			taken = take_percent(out, path, at);
		else if (c == '\\')
			put(out, '/');
		else if (kind == REFUSE)
			return false;
		else if (kind == ESCAPE)
			put_escaped(out, c);
		else
			put(out, (char)c);
		if (!taken)
			return false;
		at += taken;
	}
	return true;
}

/* True when canonical() would change nothing and refuse nothing. */
static bool is_canonical(struct mesh_slice path)
{
	char before = 0;

	if (!path.len || path.data[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++) {
		char c = path.data[i];

		if (c == '.' ? before == '/' : !((kind_of((unsigned char)c) & ~(unsigned)DECODE) == PLAIN))
			return false;
		before = c;
	}
	return true;
}

static bool has_double_slash(struct mesh_slice path)
{
	for (size_t i = 1; i < path.len; i++) {
		if (path.data[i] == '/' && path.data[i - 1] == '/')
			return true;
	}
	return false;
}

static size_t merge_slashes(char *text, size_t len)
{
	size_t to = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '/' || to == 0 || text[to - 1] != '/')
			text[to++] = text[i];
	}
	return to;
}

static bool escaped_slash_at(struct mesh_slice path, size_t at)
{
	int byte = escape_at(path, at);

	return byte == '/' || byte == '\\';
}

static bool has_escaped_slash(struct mesh_slice path)
{
	for (size_t i = 0; i + 2 < path.len; i++) {
		if (escaped_slash_at(path, i))
			return true;
	}
	return false;
}

/* The path with its escaped slashes decoded, in new memory. Absent: no memory. */
static struct mesh_slice unescape_slashes(struct mesh_slice path, struct arena *arena)
{
	char *text = mesh_arena_alloc(arena, path.len);
	size_t len = 0, at = 0;

	if (!text)
		return (struct mesh_slice){NULL, 0};
	while (at < path.len) {
		if (escaped_slash_at(path, at)) {
			text[len++] = (char)escape_at(path, at);
			at += 3;
		} else {
			text[len++] = path.data[at++];
		}
	}
	return mesh_slice_make(text, len);
}

/* The last steps into new memory: canonical form, single slashes, the query behind. */
static int rewrite(const struct http_config *http, struct arena *arena, struct mesh_slice path, struct mesh_slice query,
		   struct mesh_slice *result)
{
	struct out out = {.text = NULL};

	if (path.len > (SIZE_MAX - query.len) / 3 - 2)
		return MESH_ERROR_NOMEM;
	out.text = mesh_arena_alloc(arena, path.len * 3 + 1 + query.len);
	if (!out.text)
		return MESH_ERROR_NOMEM;
	if (!http->normalize_path) {
		memcpy(out.text, path.data, path.len);
		out.len = path.len;
	} else if (!canonical(path, &out)) {
		return PATH_REJECT;
	}
	if (http->merge_slashes)
		out.len = merge_slashes(out.text, out.len);
	if (query.len)
		memcpy(out.text + out.len, query.data, query.len);
	*result = mesh_slice_make(out.text, out.len + query.len);
	return PATH_GOOD;
}

int mesh_path_normalize(const struct http_config *http, struct arena *arena, struct mesh_slice *path)
{
	struct mesh_slice bare, query;
	ptrdiff_t mark = mesh_slice_find(*path, '#');
	int outcome = PATH_GOOD, rc;

	if (mark >= 0)
		path->len = (size_t)mark;
	if (http->escaped_slashes == ESCAPED_SLASHES_KEEP && !http->normalize_path && !http->merge_slashes)
		return PATH_GOOD;
	if (!path->len || mesh_slice_equal(*path, MESH_SLICE("*")))
		return PATH_GOOD;
	mark = mesh_slice_find(*path, '?');
	bare = mesh_slice_make(path->data, mark < 0 ? path->len : (size_t)mark);
	query = mesh_slice_make(path->data + bare.len, path->len - bare.len);
	if (http->escaped_slashes != ESCAPED_SLASHES_KEEP && has_escaped_slash(bare)) {
		if (http->escaped_slashes == ESCAPED_SLASHES_REJECT)
			return PATH_REJECT;
		if (http->escaped_slashes == ESCAPED_SLASHES_UNESCAPE_REDIRECT)
			outcome = PATH_REDIRECT;
		bare = unescape_slashes(bare, arena);
		if (!bare.data)
			return MESH_ERROR_NOMEM;
	} else if ((!http->normalize_path || is_canonical(bare)) && (!http->merge_slashes || !has_double_slash(bare))) {
		return PATH_GOOD;
	}
	rc = rewrite(http, arena, bare, query, path);
	return rc == PATH_GOOD ? outcome : rc;
}
