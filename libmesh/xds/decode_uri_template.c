/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URI templates, which match a path segment by segment and write another from what they found. Decides what a template is,
 * as Envoy does, and makes an expression of it: "*" is one segment, "**" any number, a variable is a group.
 */
#include "xds/decode.h"

#include <mesh/error.h>

#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb-c.h"
#include "envoy/extensions/path/rewrite/uri_template/v3/uri_template_rewrite.pb-c.h"
#include "google/protobuf/any.pb-c.h"

enum { VARIABLES_MAX = 5, NAME_MAX_BYTES = 16 };

struct template {
	struct buf *pattern;
	struct mesh_slice names[VARIABLES_MAX];
	size_t name_count;
	bool text_glob; /* a "**" was read: no other glob may follow */
	int rc;         /* of the buffer; what is no template is told by false */
};

static bool alphanumeric(char c)
{
	return (mesh_char_lower(c) >= 'a' && mesh_char_lower(c) <= 'z') || (c >= '0' && c <= '9');
}

static bool literal_char(char c)
{
	return alphanumeric(c) || (c != '\0' && strchr("-._~%!$&'()+,;:@*=", c));
}

static void put(struct template *t, struct mesh_slice text)
{
	if (t->rc == 0)
		t->rc = mesh_buf_append(t->pattern, text);
}

static bool put_literal(struct template *t, struct mesh_slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!literal_char(text.data[i]))
			return false;
		if (!alphanumeric(text.data[i]))
			put(t, MESH_SLICE("\\"));
		put(t, mesh_slice_make(text.data + i, 1));
	}
	return true;
}

/* A glob at the beginning of the rest, taken off. False: one after a "**". */
static bool take_glob(struct template *t, struct mesh_slice *rest, bool *taken)
{
	bool text = mesh_slice_prefix(*rest, MESH_SLICE("**"));
	size_t len = text ? 2 : 1;

	*taken = rest->len && rest->data[0] == '*';
	if (!*taken)
		return true;
	if (t->text_glob)
		return false;
	t->text_glob = text;
	put(t, text ? MESH_SLICE(".*") : MESH_SLICE("[^/]+"));
	*rest = mesh_slice_make(rest->data + len, rest->len - len);
	return true;
}

static bool name_known(struct template *t, struct mesh_slice name)
{
	if (!name.len || name.len > NAME_MAX_BYTES || t->name_count == VARIABLES_MAX || !alphanumeric(name.data[0]) ||
	    (name.data[0] >= '0' && name.data[0] <= '9'))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!alphanumeric(name.data[i]) && name.data[i] != '_')
			return false;
	for (size_t i = 0; i < t->name_count; i++)
		if (mesh_slice_equal(t->names[i], name))
			return false;
	t->names[t->name_count++] = name;
	return true;
}

/* What is between the braces: a name, or a name and what it stands for: segments of globs and literals. */
static bool variable(struct template *t, struct mesh_slice text)
{
	struct mesh_slice name = mesh_slice_cut(&text, '='), segment;
	bool glob, first = true;

	if (!name_known(t, name) || (text.data && !text.len))
		return false;
	if (!text.data)
		text = MESH_SLICE("*");
	put(t, MESH_SLICE("("));
	for (; text.data; first = false) {
		segment = mesh_slice_cut(&text, '/');
		if (!segment.len)
			return false;
		if (!first)
			put(t, MESH_SLICE("/"));
		if (!take_glob(t, &segment, &glob) || (glob && segment.len) || !put_literal(t, segment))
			return false;
	}
	put(t, MESH_SLICE(")"));
	return true;
}

/* One part between slashes, which stand inside braces, too. */
static size_t part_bytes(struct mesh_slice rest)
{
	size_t len = 0;
	bool inside = false;

	while (len < rest.len && (inside || rest.data[len] != '/')) {
		inside = rest.data[len] == '{' || (inside && rest.data[len] != '}');
		len++;
	}
	return len;
}

static bool part(struct template *t, struct mesh_slice text)
{
	bool glob = false;

	if (text.len && text.data[0] == '{') {
		ptrdiff_t close = mesh_slice_find(text, '}');

		if (close < 0 || !variable(t, mesh_slice_make(text.data + 1, (size_t)close - 1)))
			return false;
		text = mesh_slice_make(text.data + close + 1, text.len - (size_t)close - 1);
	} else if (!take_glob(t, &text, &glob)) {
		return false;
	}
	return put_literal(t, text);
}

static bool read_template(struct template *t, struct mesh_slice text)
{
	for (size_t at = 0, len; at < text.len; at += len) {
		struct mesh_slice rest = mesh_slice_make(text.data + at + 1, text.len - at - 1);

		if (text.data[at] != '/')
			return false;
		len = 1 + part_bytes(rest);
		if (len == 1 && at + len < text.len) /* empty, and not the last */
			return false;
		put(t, MESH_SLICE("/"));
		if (!part(t, mesh_slice_make(rest.data, len - 1)))
			return false;
		/* behind "**" and more, nothing else */
		if (t->text_glob && rest.data[len - 2] != '*' && rest.data[len - 2] != '}' && at + len < text.len)
			return false;
	}
	return text.len > 0;
}

/* The template as an expression over the whole path; `names`: its variables. NULL when it failed. */
static struct regex *compile(struct decode *d, const char *text, struct template *t)
{
	struct regex *regex = NULL;
	struct buf pattern;
	struct why why = {""};
	bool good;
	int rc;

	mesh_buf_init(&pattern, d->mem, MESH_DECODE_PATTERN);
	*t = (struct template){.pattern = &pattern};
	put(t, MESH_SLICE("^"));
	good = read_template(t, mesh_slice_of(text));
	put(t, MESH_SLICE("$"));
	rc = t->rc;
	if (good && !rc)
		rc = mesh_config_object_regex(d->object, mesh_buf_slice(&pattern), &regex, &why);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (!good || rc)
		mesh_decode_fail_field(d, "path_template", "\"%.100s\": not a path template", text);
	mesh_buf_free(&pattern);
	return regex;
}

/* Text and "{name}"; each becomes the group of that name. */
static bool write_rewrite(const struct template *t, struct mesh_slice text, struct buf *out, int *rc)
{
	char before = '\0';

	if (!text.len || text.data[0] != '/')
		return false;
	for (size_t i = 0; i < text.len && !*rc; i++) {
		struct mesh_slice rest = mesh_slice_make(text.data + i, text.len - i), name;
		ptrdiff_t close = mesh_slice_find(rest, '}');
		size_t group = 0;

		if (text.data[i] != '{') {
			if (!(text.data[i] == '/' ? before != '/' : literal_char(text.data[i])))
				return false;
			*rc = mesh_buf_append(out, mesh_slice_make(rest.data, 1));
		} else {
			name = mesh_slice_make(rest.data + 1, close > 0 ? (size_t)close - 1 : 0);
			while (group < t->name_count && !mesh_slice_equal(t->names[group], name))
				group++;
			if (close < 0 || group == t->name_count)
				return false;
			*rc = mesh_buf_printf(out, "\\%zu", group + 1);
			i += (size_t)close;
		}
		before = text.data[i];
	}
	return true;
}

static void rewrite_with(struct decode *d, const struct template *t, const char *text, struct route *route)
{
	struct buf out;
	bool good;
	int rc = 0;

	mesh_buf_init(&out, d->mem, MESH_DECODE_PATTERN);
	good = write_rewrite(t, mesh_slice_of(text), &out, &rc);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (!good || rc)
		mesh_decode_fail_field(d, "path_template_rewrite", "\"%.100s\": not a rewrite of the template", text);
	else
		route->regex_rewrite_with = mesh_decode_bytes(d, mesh_buf_slice(&out));
	mesh_buf_free(&out);
}

static const ProtobufCMessageDescriptor *const match_type =
	&envoy__extensions__path__match__uri_template__v3__uri_template_match_config__descriptor;
static const ProtobufCMessageDescriptor *const rewrite_type =
	&envoy__extensions__path__rewrite__uri_template__v3__uri_template_rewrite_config__descriptor;

static struct regex *open_template(struct decode *d, const Google__Protobuf__Any *any, struct template *t)
{
	Envoy__Extensions__Path__Match__UriTemplate__V3__UriTemplateMatchConfig *message =
		mesh_decode_any_open(d, "typed_config", any, match_type);
	struct regex *regex = message ? compile(d, message->path_template, t) : NULL;

	mesh_decode_any_close(d);
	return regex;
}

struct regex *mesh_decode_uri_template(struct decode *d, const Google__Protobuf__Any *any)
{
	struct template t;

	return mesh_decode_any_is(any, match_type) ? open_template(d, any, &t) : NULL;
}

bool mesh_decode_uri_rewrite(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *rewrite,
			     const Envoy__Config__Core__V3__TypedExtensionConfig *match, struct route *route)
{
	Envoy__Extensions__Path__Rewrite__UriTemplate__V3__UriTemplateRewriteConfig *message;
	struct template t;

	if (!mesh_decode_any_is(rewrite->typed_config, rewrite_type))
		return false;
	if (!match || !mesh_decode_any_is(match->typed_config, match_type)) {
		mesh_decode_fail_field(d, "path_rewrite_policy", "needs a path_match_policy of the same kind");
		return true;
	}
	route->regex_rewrite = open_template(d, match->typed_config, &t);
	mesh_decode_push(d, "path_rewrite_policy");
	message = mesh_decode_any_open(d, "typed_config", rewrite->typed_config, rewrite_type);
	if (message && route->regex_rewrite)
		rewrite_with(d, &t, message->path_template_rewrite, route);
	mesh_decode_any_close(d);
	mesh_decode_pop(d);
	return true;
}
