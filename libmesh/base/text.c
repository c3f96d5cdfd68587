/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes, numbers and times. Locale-free, bounded by what is given. */
#include "base/text.h"

#include <mesh/error.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int mesh_text_base64_append(struct buf *out, struct mesh_slice bytes)
{
	size_t len = (bytes.len + 2) / 3 * 4;
	char *at = mesh_buf_reserve(out, len + 1);

	if (!at)
		return out->limit && mesh_buf_len(out) + len + 1 > out->limit ? MESH_ERROR_TOO_LARGE : MESH_ERROR_NOMEM;
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
	uint32_t word = 0;
	unsigned bits = 0;
	char *at;

	while (text.len && text.data[text.len - 1] == '=')
		text.len--;
	if (text.len % 4 == 1)
		return MESH_ERROR_INVALID;
	at = mesh_buf_reserve(out, text.len / 4 * 3 + 3);
	if (!at)
		return MESH_ERROR_NOMEM;
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
	mesh_buf_commit(out, text.len * 6 / 8);
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

static int append_escaped(struct buf *out, char c)
{
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

int mesh_text_json_append(struct buf *out, struct mesh_slice text)
{
	int rc = mesh_buf_append(out, MESH_SLICE("\""));

	while (!rc && text.len) {
		char c = text.data[0];
		size_t len = utf8_len(text);

		if (len == 1 && ((unsigned char)c < ' ' || c == '"' || c == '\\' || c == 0x7f))
			rc = append_escaped(out, c);
		else
			rc = mesh_buf_append(out, len ? mesh_slice_make(text.data, len) : MESH_SLICE("\xef\xbf\xbd"));
		len = len ? len : 1;
		text.data += len;
		text.len -= len;
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
	char *at = mesh_buf_reserve(out, text.len + 1), *start = at;

	if (!at)
		return MESH_ERROR_NOMEM;
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
	size_t at = 0;

	words[0] = (words[0] & ~(uint64_t)0xf000) | 0x4000;
	words[1] = (words[1] & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62;
	for (unsigned i = 0; i < 32; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			text[at++] = '-';
		text[at++] = hex[words[i / 16] >> (60 - i % 16 * 4) & 15];
	}
}

struct unit {
	struct mesh_slice name;
	double ns;
};

static const struct unit units[] = {
	{{"ns", 2}, 1}, {{"us", 2}, 1e3}, {{"ms", 2}, 1e6}, {{"s", 1}, 1e9}, {{"m", 1}, 60e9}, {{"h", 1}, 3600e9},
};

static size_t read_decimal(struct mesh_slice text, double *value)
{
	double scale = 1;
	bool point = false;
	size_t i = 0, digits = 0;

	*value = 0;
	for (; i < text.len; i++) {
		if (text.data[i] == '.' && !point) {
			point = true;
			continue;
		}
		if (text.data[i] < '0' || text.data[i] > '9')
			break;
		digits++;
		*value = *value * 10 + (text.data[i] - '0');
		if (point)
			scale *= 10;
	}
	*value /= scale;
	return digits ? i : 0;
}

bool mesh_text_duration_ns(struct mesh_slice text, int64_t *ns)
{
	double sum = 0;
	bool any = false;

	while (text.len) {
		double value;
		size_t len = read_decimal(text, &value), unit = 0, letters = 0;

		text.data += len;
		text.len -= len;
		while (letters < text.len && text.data[letters] >= 'a' && text.data[letters] <= 'z')
			letters++;
		while (unit < sizeof(units) / sizeof(units[0]) &&
		       !mesh_slice_equal(units[unit].name, mesh_slice_make(text.data, letters)))
			unit++;
		if (!len || unit == sizeof(units) / sizeof(units[0]))
			return false;
		text.data += letters;
		text.len -= letters;
		sum += value * units[unit].ns;
		any = true;
	}
	if (!any || sum > 9.2e18)
		return false;
	*ns = (int64_t)(sum + 0.5);
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
