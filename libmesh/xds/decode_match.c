/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matchers: strings, headers, query parameters, address ranges, shares of requests. A kind that is not
 * known is said to be so; what follows from that is for the owner of the matcher to decide.
 */
#include "xds/decode.h"

#include <mesh/error.h>

#include "base/address.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/type/matcher/v3/string.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

static struct regex *decode_pattern(struct decode *d, const char *field, struct mesh_slice pattern)
{
	struct regex *regex = NULL;
	struct why why = {""};
	int rc;

	if (d->rc < 0)
		return NULL;
	if (pattern.len == 0) {
		mesh_decode_fail_field(d, field, "must not be empty");
		return NULL;
	}
	if (pattern.len > MESH_DECODE_PATTERN) {
		mesh_decode_fail_field(d, field, "\"%.60s..\" of %zu bytes: longer than %d", pattern.data, pattern.len,
				       MESH_DECODE_PATTERN);
		return NULL;
	}
	rc = mesh_config_object_regex(d->object, pattern, &regex, &why);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0)
		mesh_decode_fail_field(d, field, "%s", why.text);
	return regex;
}

struct regex *mesh_decode_regex(struct decode *d, const Envoy__Type__Matcher__V3__RegexMatcher *matcher)
{
	return decode_pattern(d, "regex", mesh_slice_of(matcher ? matcher->regex : ""));
}

static void string_text(struct decode *d, struct string_match *match, enum string_match_kind kind, const char *field,
			const char *text)
{
	match->kind = kind;
	match->text = kind == STRING_MATCH_EXACT ? mesh_decode_text(d, text) : mesh_decode_required(d, field, text);
}

static void string_regex(struct decode *d, struct string_match *match, const char *field,
			 const Envoy__Type__Matcher__V3__RegexMatcher *matcher)
{
	match->kind = STRING_MATCH_REGEX;
	mesh_decode_push(d, field);
	match->regex = mesh_decode_regex(d, matcher);
	match->text = mesh_decode_text(d, matcher ? matcher->regex : "");
	mesh_decode_pop(d);
}

bool mesh_decode_string_match(struct decode *d, const Envoy__Type__Matcher__V3__StringMatcher *matcher,
			      struct string_match *match)
{
	if (!matcher) {
		mesh_decode_fail(d, "a string matcher is required");
		return true;
	}
	if (matcher->base.n_unknown_fields > 0)
		return false;
	match->ignore_case = matcher->ignore_case;
	switch (matcher->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		string_text(d, match, STRING_MATCH_EXACT, "exact", matcher->exact);
		return true;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		string_text(d, match, STRING_MATCH_PREFIX, "prefix", matcher->prefix);
		return true;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		string_text(d, match, STRING_MATCH_SUFFIX, "suffix", matcher->suffix);
		return true;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		string_text(d, match, STRING_MATCH_CONTAINS, "contains", matcher->contains);
		return true;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
		match->ignore_case = false;
		string_regex(d, match, "safe_regex", matcher->safe_regex);
		return true;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CUSTOM:
		return false;
	default:
		mesh_decode_fail(d, "match_pattern is required");
		return true;
	}
}

static bool header_kind(struct decode *d, const Envoy__Config__Route__V3__HeaderMatcher *matcher, struct header_match *match)
{
	bool known = true;

	match->kind = HEADER_MATCH_STRING;
	switch (matcher->header_match_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH:
		string_text(d, &match->string, STRING_MATCH_EXACT, "exact_match", matcher->exact_match);
		if (matcher->exact_match[0] == '\0') /* any value, unlike an empty string_match */
			match->kind = HEADER_MATCH_PRESENT;
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PREFIX_MATCH:
		string_text(d, &match->string, STRING_MATCH_PREFIX, "prefix_match", matcher->prefix_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SUFFIX_MATCH:
		string_text(d, &match->string, STRING_MATCH_SUFFIX, "suffix_match", matcher->suffix_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_CONTAINS_MATCH:
		string_text(d, &match->string, STRING_MATCH_CONTAINS, "contains_match", matcher->contains_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH:
		string_regex(d, &match->string, "safe_regex_match", matcher->safe_regex_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH:
		mesh_decode_push(d, "string_match");
		known = mesh_decode_string_match(d, matcher->string_match, &match->string);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_RANGE_MATCH:
		match->kind = HEADER_MATCH_RANGE;
		match->from = matcher->range_match->start;
		match->to = matcher->range_match->end;
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH:
		match->kind = HEADER_MATCH_PRESENT;
		match->invert = matcher->invert_match != !matcher->present_match;
		break;
	default:
		match->kind = HEADER_MATCH_PRESENT;
	}
	return known;
}

bool mesh_decode_header_match(struct decode *d, const Envoy__Config__Route__V3__HeaderMatcher *matcher,
			      struct header_match *match)
{
	*match = (struct header_match){.kind = HEADER_MATCH_PRESENT};
	mesh_decode_required(d, "name", matcher->name);
	if (matcher->base.n_unknown_fields > 0)
		return false;
	match->name = mesh_decode_lower(d, matcher->name);
	match->invert = matcher->invert_match;
	match->missing_as_empty = matcher->treat_missing_header_as_empty;
	return header_kind(d, matcher, match);
}

bool mesh_decode_query_match(struct decode *d, const Envoy__Config__Route__V3__QueryParameterMatcher *matcher,
			     struct query_match *match)
{
	bool known = true;

	*match = (struct query_match){.present_only = false};
	match->name = mesh_decode_required(d, "name", matcher->name);
	if (matcher->base.n_unknown_fields > 0)
		return false;
	switch (matcher->query_parameter_match_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH:
		mesh_decode_push(d, "string_match");
		known = mesh_decode_string_match(d, matcher->string_match, &match->string);
		mesh_decode_pop(d);
		return known;
	case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH:
		match->present_only = true;
		match->absent = !matcher->present_match;
		return true;
	default:
		match->present_only = true;
		return true;
	}
}

void mesh_decode_cidr(struct decode *d, const Envoy__Config__Core__V3__CidrRange *range, struct cidr *cidr)
{
	struct address address;
	uint32_t bits;

	if (!range || mesh_address_parse(&address, mesh_slice_of(range->address_prefix), 0) < 0) {
		mesh_decode_fail_field(d, "address_prefix", "\"%.60s\": not an IP address", range ? range->address_prefix : "");
		return;
	}
	cidr->v6 = address.any.sa_family == AF_INET6;
	bits = mesh_decode_u32(range->prefix_len, 0);
	if (bits > (cidr->v6 ? 128u : 32u)) {
		mesh_decode_fail_field(d, "prefix_len", "%u: longer than the address", bits);
		return;
	}
	cidr->bits = (uint8_t)bits;
	if (cidr->v6)
		memcpy(cidr->bytes, &address.v6.sin6_addr, 16);
	else
		memcpy(cidr->bytes, &address.v4.sin_addr, 4);
}

struct fraction mesh_decode_fractional(struct decode *d, const char *field, const Envoy__Type__V3__FractionalPercent *percent)
{
	struct fraction fraction = {0, 100};

	if (!percent)
		return fraction;
	fraction.numerator = percent->numerator;
	switch (percent->denominator) {
	case ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__HUNDRED:
		break;
	case ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__TEN_THOUSAND:
		fraction.denominator = 10000;
		break;
	case ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION:
		fraction.denominator = 1000000;
		break;
	default:
		mesh_decode_fail_field(d, field, "%d: unknown", (int)percent->denominator);
	}
	if (fraction.numerator > fraction.denominator)
		fraction.numerator = fraction.denominator; /* "always", as Envoy takes it */
	return fraction;
}

struct fraction mesh_decode_fraction(struct decode *d, const Envoy__Config__Core__V3__RuntimeFractionalPercent *share)
{
	if (!share)
		return (struct fraction){0, 0};
	if (!share->default_value)
		mesh_decode_fail_field(d, "default_value", "is required");
	return mesh_decode_fractional(d, "default_value.denominator", share->default_value);
}
