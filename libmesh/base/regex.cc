/* SPDX-License-Identifier: Apache-2.0 */
/* RE2 behind C: full match, leftmost-first, bounded program memory. No exception leaves this file. */
#include <re2/re2.h>

extern "C" {
#include "base/regex.h"

#include <mesh/error.h>
}

static const int64_t program_bytes_max = 8 << 20;

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

extern "C" int mesh_regex_replace(const struct regex *regex, struct mesh_slice text, struct mesh_slice with,
				  struct buf *out)
{
	try {
		std::string replaced(text.data ? text.data : "", text.len), error;

		if (!regex->compiled.CheckRewriteString(piece(with), &error))
			return MESH_ERROR_INVALID;
		re2::RE2::GlobalReplace(&replaced, regex->compiled, piece(with));
		return mesh_buf_append(out, mesh_slice_make(replaced.data(), replaced.size()));
	} catch (...) {
		return MESH_ERROR_NOMEM;
	}
}
