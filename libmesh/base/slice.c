/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing, cutting and hashing bytes. ASCII only, never the locale. */
#include "base/slice.h"

#include <stdatomic.h>
#include <sys/random.h>

static bool equal_few(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (mesh_char_lower(a[i]) != mesh_char_lower(b[i]))
			return false;
	return true;
}

/* Nearly always the case is the same too. */
static inline bool equal_8(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return x == y || (!((x ^ y) & ~0x2020202020202020u) && equal_few(a, b, 8));
}

static inline bool equal_4(const char *a, const char *b)
{
	uint32_t x, y;

	memcpy(&x, a, 4);
	memcpy(&y, b, 4);
	return x == y || (!((x ^ y) & ~0x20202020u) && equal_few(a, b, 4));
}

/* Several bytes at a time; what is left at the end is compared together with some that were already. */
bool mesh_bytes_equal_fold(const char *a, const char *b, size_t len)
{
	size_t i = 0;

	if (len < 4)
		return equal_few(a, b, len);
	if (len < 8)
		return equal_4(a, b) && equal_4(a + len - 4, b + len - 4);
	for (; len - i >= 8; i += 8)
		if (!equal_8(a + i, b + i))
			return false;
	return i == len || equal_8(a + len - 8, b + len - 8);
}

int mesh_slice_compare(struct mesh_slice a, struct mesh_slice b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool mesh_slice_prefix(struct mesh_slice s, struct mesh_slice prefix)
{
	return s.len >= prefix.len && mesh_slice_equal(mesh_slice_make(s.data, prefix.len), prefix);
}

bool mesh_slice_prefix_fold(struct mesh_slice s, struct mesh_slice prefix)
{
	return s.len >= prefix.len && mesh_bytes_equal_fold(s.data, prefix.data, prefix.len);
}

static struct mesh_slice tail(struct mesh_slice s, size_t len)
{
	return mesh_slice_make(s.data ? s.data + (s.len - len) : NULL, len);
}

bool mesh_slice_suffix(struct mesh_slice s, struct mesh_slice suffix)
{
	return s.len >= suffix.len && mesh_slice_equal(tail(s, suffix.len), suffix);
}

bool mesh_slice_suffix_fold(struct mesh_slice s, struct mesh_slice suffix)
{
	return s.len >= suffix.len && mesh_slice_equal_fold(tail(s, suffix.len), suffix);
}

bool mesh_slice_contains(struct mesh_slice s, struct mesh_slice part)
{
	return part.len == 0 || (s.len >= part.len && memmem(s.data, s.len, part.data, part.len));
}

bool mesh_slice_contains_fold(struct mesh_slice s, struct mesh_slice part)
{
	for (size_t i = 0; i + part.len <= s.len; i++)
		if (mesh_slice_equal_fold(mesh_slice_make(s.data + i, part.len), part))
			return true;
	return part.len == 0;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

struct mesh_slice mesh_slice_trim(struct mesh_slice s)
{
	while (s.len && blank(s.data[0])) {
		s.data++;
		s.len--;
	}
	while (s.len && blank(s.data[s.len - 1]))
		s.len--;
	return s;
}

struct mesh_slice mesh_slice_cut(struct mesh_slice *rest, char separator)
{
	struct mesh_slice piece = *rest;
	ptrdiff_t at = mesh_slice_find(*rest, separator);

	if (at < 0) {
		*rest = mesh_slice_make(NULL, 0);
		return piece;
	}
	piece.len = (size_t)at;
	rest->data += at + 1;
	rest->len -= (size_t)at + 1;
	return piece;
}

ptrdiff_t mesh_slice_find(struct mesh_slice s, char c)
{
	const char *at = s.len ? memchr(s.data, c, s.len) : NULL;

	return at ? at - s.data : -1;
}

ptrdiff_t mesh_slice_find_last(struct mesh_slice s, char c)
{
	const char *at = s.len ? memrchr(s.data, c, s.len) : NULL;

	return at ? at - s.data : -1;
}

bool mesh_slice_to_u64(struct mesh_slice s, uint64_t *value)
{
	uint64_t sum = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(s.data[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(sum, (uint64_t)10, &sum) ||
		    __builtin_add_overflow(sum, digit, &sum))
			return false;
	}
	*value = sum;
	return true;
}

bool mesh_slice_to_i64(struct mesh_slice s, int64_t *value)
{
	bool negative = s.len && s.data[0] == '-';
	uint64_t size;

	if (negative || (s.len && s.data[0] == '+')) {
		s.data++;
		s.len--;
	}
	if (!mesh_slice_to_u64(s, &size) || size > (uint64_t)INT64_MAX + negative)
		return false;
	*value = negative ? (int64_t)(0 - size) : (int64_t)size;
	return true;
}

/* Drawn once: names come from the control plane and from peers, who must not choose where they collide. */
static uint64_t hash_key(void)
{
	static _Atomic uint64_t key;
	uint64_t now = atomic_load_explicit(&key, memory_order_relaxed), drawn, none = 0;

	if (now)
		return now;
	if (getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
		drawn = (uint64_t)(uintptr_t)&drawn * 0x9e3779b97f4a7c15u;
	drawn |= 1;
	return atomic_compare_exchange_strong(&key, &none, drawn) ? drawn : none;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static const uint64_t odd = 0x9e3779b97f4a7c15u;

/* Up to eight bytes, the rest zero. The length is hashed too, so zeros at the end make a difference. */
static uint64_t last_word(const char *data, size_t len)
{
	uint64_t word = 0;

	for (size_t i = 0; i < len; i++)
		word |= (uint64_t)(uint8_t)data[i] << (8 * i);
	return word;
}

uint32_t mesh_slice_hash(struct mesh_slice s)
{
	uint64_t state = hash_key() ^ (s.len * odd), word;
	const char *at = s.data;
	size_t left = s.len;

	for (; left >= 8; at += 8, left -= 8) {
		memcpy(&word, at, 8);
		state = mix(state ^ word, odd ^ (state << 1));
	}
	if (left)
		state = mix(state ^ last_word(at, left), odd ^ (state << 1));
	state = mix(state, 0xd6e8feb86659fd93u);
	return (uint32_t)(state ^ (state >> 32));
}

