/* SPDX-License-Identifier: Apache-2.0 */
/* RE2 behind C: full match, leftmost-first, bounded program memory. No exception leaves this file. */
#include <re2/re2.h>

extern "C" {
#include "base/regex.h"

#include <mesh/error.h>
}

static const int64_t program_bytes_max = 8 << 20;
static const uint64_t carefree_bytes_max = 1 << 20; /* of a result: up to here it may be made and then refused */

static re2::StringPiece piece(struct mesh_slice slice)
{
	return re2::StringPiece(slice.data ? slice.data : "", slice.len);
}

struct regex {
	re2::RE2 compiled;

	regex(struct mesh_slice pattern, const re2::RE2::Options &options) : compiled(piece(pattern), options)
	{
	}
};

extern "C" int mesh_regex_new(struct mesh_slice pattern, struct regex **result, struct why *why)
{
	try {
		re2::RE2::Options options(re2::RE2::Quiet);

		options.set_max_mem(program_bytes_max);
		struct regex *made = new regex(pattern, options);

		if (!made->compiled.ok()) {
			mesh_why(why, MESH_ERROR_INVALID, "\"%.*s\": not a regular expression: %s",
				 pattern.len > 100 ? 100 : (int)pattern.len, piece(pattern).data(),
				 made->compiled.error().c_str());
			delete made;
			return MESH_ERROR_INVALID;
		}
		*result = made;
		return 0;
	} catch (...) {
		return MESH_ERROR_NOMEM;
	}
}

extern "C" void mesh_regex_free(struct regex *regex)
{
	delete regex;
}

extern "C" bool mesh_regex_match(const struct regex *regex, struct mesh_slice text)
{
	try {
		return re2::RE2::FullMatch(piece(text), regex->compiled);
	} catch (...) {
		return false;
	}
}

/* What a substitution puts in the place of each match: bytes of its own, and groups so many times. */
struct substitution {
	uint64_t own, groups, named[10];

	explicit substitution(struct mesh_slice with) : own(0), groups(0), named()
	{
		for (size_t i = 0; i < with.len; i++) {
			bool group = with.data[i] == '\\' && ++i < with.len && with.data[i] >= '0' && with.data[i] <= '9';

			own += !group;
			groups += group;
			if (group)
				named[with.data[i] - '0']++;
		}
	}
};

static uint64_t bytes_with(const struct regex *regex, const std::string &text, const char *with, uint64_t *matches)
{
	std::string replaced = text;
	int count = re2::RE2::GlobalReplace(&replaced, regex->compiled, with);

	*matches = count < 0 ? 0 : (uint64_t)count;
	return replaced.size();
}

/*
 * The library's replacement knows no bound, and a short text makes a very long one where each match becomes much: then it is
 * counted, group by group, before it is made.
 */
static bool fits(const struct regex *regex, const std::string &text, const struct substitution &with, uint64_t room)
{
	uint64_t matches, bytes, rest;

	if (with.own * (text.size() + 1) + with.groups * text.size() <= carefree_bytes_max)
		return true;
	rest = bytes_with(regex, text, "", &matches);
	bytes = rest + with.own * matches;
	for (int i = 0; i < 10; i++) {
		const char name[] = {'\\', (char)('0' + i), '\0'};

		if (with.named[i])
			bytes += with.named[i] * (bytes_with(regex, text, name, &matches) - rest);
	}
	return bytes <= room;
}

extern "C" int mesh_regex_replace(const struct regex *regex, struct mesh_slice text, struct mesh_slice with,
				  struct buf *out)
{
	try {
		std::string replaced(text.data ? text.data : "", text.len), error;

		if (!regex->compiled.CheckRewriteString(piece(with), &error))
			return MESH_ERROR_INVALID;
		if (out->limit && !fits(regex, replaced, substitution(with), out->limit))
			return MESH_ERROR_TOO_LARGE;
		re2::RE2::GlobalReplace(&replaced, regex->compiled, piece(with));
		return mesh_buf_append(out, mesh_slice_make(replaced.data(), replaced.size()));
	} catch (...) {
		return MESH_ERROR_NOMEM;
	}
}
