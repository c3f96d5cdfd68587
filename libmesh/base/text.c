/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes, numbers and times. Locale-free, bounded by what is given. */
#include "base/text.h"

#include <mesh/error.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Why mesh_buf_reserve gave nothing. */
static int no_room(const struct buf *out, size_t bytes)
{
	return out->limit && bytes > out->limit - mesh_buf_len(out) ? MESH_ERROR_TOO_LARGE : MESH_ERROR_NOMEM;
}

int mesh_text_base64_append(struct buf *out, struct mesh_slice bytes)
{
	size_t len = bytes.len / 3 * 4 + (bytes.len % 3 ? 4 : 0);
	char *at = mesh_buf_reserve(out, len);

	if (!at)
		return no_room(out, len);
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t n = bytes.len - i;
		uint32_t word = (uint32_t)(uint8_t)bytes.data[i] << 16;

		word |= n > 1 ? (uint32_t)(uint8_t)bytes.data[i + 1] << 8 : 0;
		word |= n > 2 ? (uint8_t)bytes.data[i + 2] : 0;
		*at++ = alphabet[word >> 18];
		*at++ = alphabet[word >> 12 & 63];
		*at++ = n > 1 ? alphabet[word >> 6 & 63] : '=';
		*at++ = n > 2 ? alphabet[word & 63] : '=';
	}
	mesh_buf_commit(out, len);
	return 0;
}

static int digit64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

int mesh_text_base64_decode(struct buf *out, struct mesh_slice text)
{
	unsigned bits = 0, padding = 0;
	uint32_t word = 0;
	size_t len;
	char *at;

	for (; text.len && text.data[text.len - 1] == '='; text.len--)
		padding++;
	if (text.len % 4 == 1 || (padding && (padding > 2 || (text.len + padding) % 4)))
		return MESH_ERROR_INVALID;
	len = text.len / 4 * 3 + text.len % 4 * 3 / 4;
	at = mesh_buf_reserve(out, len);
	if (!at)
		return no_room(out, len);
	for (size_t i = 0; i < text.len; i++) {
		int digit = digit64(text.data[i]);

		if (digit < 0)
			return MESH_ERROR_INVALID;
		word = word << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*at++ = (char)(word >> bits);
		}
	}
	mesh_buf_commit(out, len);
	return 0;
}

/* Length of the well-formed UTF-8 sequence at the start, 0 when there is none. */
static size_t utf8_len(struct mesh_slice s)
{
	unsigned char a = (unsigned char)s.data[0], b = s.len > 1 ? (unsigned char)s.data[1] : 0;
	size_t len = a < 0x80 ? 1 : a < 0xc2 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : a < 0xf5 ? 4 : 0;

	if (!len || len > s.len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if (((unsigned char)s.data[i] & 0xc0) != 0x80)
			return 0;
	if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f) || (a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f))
		return 0;
	return len;
}

void mesh_text_make_plain(char *line)
{
	struct mesh_slice rest = mesh_slice_of(line);

	while (rest.len) {
		size_t len = (unsigned char)rest.data[0] < ' ' || rest.data[0] == 0x7f ? 0 : utf8_len(rest);

		if (!len) {
			*(char *)rest.data = '?';
			len = 1;
		}
		rest = mesh_slice_make(rest.data + len, rest.len - len);
	}
}

static int append_escaped(struct buf *out, char c)
{
	if ((unsigned char)c >= 0x80)
		return mesh_buf_append(out, MESH_SLICE("\xef\xbf\xbd"));
	switch (c) {
	case '"':
		return mesh_buf_append(out, MESH_SLICE("\\\""));
	case '\\':
		return mesh_buf_append(out, MESH_SLICE("\\\\"));
	case '\n':
		return mesh_buf_append(out, MESH_SLICE("\\n"));
	case '\r':
		return mesh_buf_append(out, MESH_SLICE("\\r"));
	case '\t':
		return mesh_buf_append(out, MESH_SLICE("\\t"));
	default:
		return mesh_buf_printf(out, "\\u%04x", (unsigned char)c);
	}
}

/* How much of the beginning can stand in a JSON string as it is. */
static size_t plain_len(struct mesh_slice s)
{
	size_t at = 0, len;

	while (at < s.len) {
		unsigned char c = (unsigned char)s.data[at];

		if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
			break;
		len = c < 0x80 ? 1 : utf8_len(mesh_slice_make(s.data + at, s.len - at));
		if (!len)
			break;
		at += len;
	}
	return at;
}

int mesh_text_json_append(struct buf *out, struct mesh_slice text)
{
	int rc = mesh_buf_append(out, MESH_SLICE("\""));

	while (!rc && text.len) {
		size_t plain = plain_len(text);

		rc = mesh_buf_append(out, mesh_slice_make(text.data, plain));
		if (!rc && plain < text.len)
			rc = append_escaped(out, text.data[plain++]);
		text.data += plain;
		text.len -= plain;
	}
	return rc ? rc : mesh_buf_append(out, MESH_SLICE("\""));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = mesh_char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mesh_text_percent_decode(struct buf *out, struct mesh_slice text)
{
	char *at = mesh_buf_reserve(out, text.len), *start = at;

	if (!at)
		return no_room(out, text.len);
	for (size_t i = 0; i < text.len; i++) {
		int high, low;

		if (text.data[i] != '%') {
			*at++ = text.data[i];
			continue;
		}
		high = i + 1 < text.len ? hex_digit(text.data[i + 1]) : -1;
		low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
		if (high < 0 || low < 0)
			return MESH_ERROR_INVALID;
		*at++ = (char)(high << 4 | low);
		i += 2;
	}
	mesh_buf_commit(out, (size_t)(at - start));
	return 0;
}

void mesh_text_uuid(struct rand *rand, char text[MESH_UUID_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	uint64_t words[2] = {mesh_rand_next(rand), mesh_rand_next(rand)};
	char *at = text;

	words[0] = (words[0] & ~(uint64_t)0xf000) | 0x4000;
	words[1] = (words[1] & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62;
	for (unsigned i = 0; i < 16; i++) {
		unsigned byte = words[i / 8] >> (56 - i % 8 * 8) & 0xff;

		*at++ = hex[byte >> 4];
		*at++ = hex[byte & 15];
		if (i == 3 || i == 5 || i == 7 || i == 9)
			*at++ = '-';
	}
}

struct unit {
	struct mesh_slice name;
	uint64_t ns;
};

static const struct unit units[] = {
	{{"ns", 2}, 1},	      {{"us", 2}, 1000},      {{"\xc2\xb5s", 3}, 1000}, /* the micro sign, which Go writes */
	{{"ms", 2}, 1000000}, {{"s", 1}, 1000000000}, {{"m", 1}, 60 * 1000000000ull}, {{"h", 1}, 3600 * 1000000000ull},
};

struct decimal {
	uint64_t whole, fraction, scale; /* whole + fraction / scale */
};

static bool digit(struct mesh_slice text)
{
	return text.len && text.data[0] >= '0' && text.data[0] <= '9';
}

/* Takes a number off the front. Digits of a fraction that count less than a nanosecond of any unit are dropped. */
static bool take_decimal(struct mesh_slice *text, struct decimal *value)
{
	bool any = digit(*text);

	*value = (struct decimal){.scale = 1};
	for (; digit(*text); text->data++, text->len--)
		if (__builtin_mul_overflow(value->whole, (uint64_t)10, &value->whole) ||
		    __builtin_add_overflow(value->whole, (uint64_t)(text->data[0] - '0'), &value->whole))
			return false;
	if (!text->len || text->data[0] != '.')
		return any;
	text->data++;
	text->len--;
	any = any || digit(*text);
	for (; digit(*text); text->data++, text->len--) {
		if (value->scale >= 100000000000000u)
			continue;
		value->scale *= 10;
		value->fraction = value->fraction * 10 + (uint64_t)(text->data[0] - '0');
	}
	return any;
}

static const struct unit *take_unit(struct mesh_slice *text)
{
	size_t len = 0;

	while (len < text->len && text->data[len] != '.' && !digit(mesh_slice_make(text->data + len, 1)))
		len++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (mesh_slice_equal(units[i].name, mesh_slice_make(text->data, len))) {
			text->data += len;
			text->len -= len;
			return &units[i];
		}
	return NULL;
}

bool mesh_text_duration_ns(struct mesh_slice text, int64_t *ns)
{
	unsigned __int128 sum = 0;

	if (!text.len)
		return false;
	while (text.len) {
		const struct unit *unit;
		struct decimal value;

		unit = take_decimal(&text, &value) ? take_unit(&text) : NULL;
		if (!unit)
			return false;
		sum += (unsigned __int128)value.whole * unit->ns +
		       (unsigned __int128)value.fraction * unit->ns / value.scale;
		if (sum > INT64_MAX)
			return false;
	}
	*ns = (int64_t)sum;
	return true;
}

size_t mesh_text_u64(char text[20], uint64_t value)
{
	char reversed[20];
	size_t len = 0;

	do
		reversed[len++] = (char)('0' + value % 10);
	while (value /= 10);
	for (size_t i = 0; i < len; i++)
		text[i] = reversed[len - 1 - i];
	return len;
}
