/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text with command operators, taken apart once. Decides which operators there are and what they may be given, as Envoy
 * does: what Envoy refuses is refused by its name, what Envoy knows and is never known here stands for nothing.
 */
#include "xds/decode.h"

#include <unistd.h>

#include "base/header.h"
#include "xds/format_operator.h"

#define PIECES_MAX 256
#define HOST_BYTES 256

/* One operator as it is written: "%NAME(parameter):length%". */
struct command {
	struct mesh_slice name;
	struct mesh_slice parameter; /* absent: no brackets */
	bool has_length;
	uint64_t length;
	size_t bytes; /* all of it */
};

static bool name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ":10%" or "%", which ends an operator; how many bytes, 0: neither. */
static size_t read_end(struct mesh_slice rest, struct command *command)
{
	size_t digits = 0;

	command->has_length = false;
	if (rest.len && rest.data[0] == '%')
		return 1;
	if (!rest.len || rest.data[0] != ':')
		return 0;
	while (1 + digits < rest.len && rest.data[1 + digits] >= '0' && rest.data[1 + digits] <= '9')
		digits++;
	if (1 + digits >= rest.len || rest.data[1 + digits] != '%' ||
	    !mesh_slice_to_u64(mesh_slice_make(rest.data + 1, digits), &command->length))
		return 0;
	command->has_length = true;
	return digits + 2;
}

/* At a per cent sign. False: no operator begins here. */
static bool read_command(struct mesh_slice rest, struct command *command)
{
	size_t at = 1, end;

	*command = (struct command){.bytes = 0};
	while (at < rest.len && name_char(rest.data[at]))
		at++;
	command->name = mesh_slice_make(rest.data + 1, at - 1);
	if (!command->name.len)
		return false;
	end = read_end(mesh_slice_make(rest.data + at, rest.len - at), command);
	if (!end && at < rest.len && rest.data[at] == '(') {
		size_t open = at + 1;

		for (at = open; at < rest.len && !end; at++) /* the first bracket that an end follows */
			if (rest.data[at] == ')')
				end = read_end(mesh_slice_make(rest.data + at + 1, rest.len - at - 1), command);
		command->parameter = mesh_slice_make(rest.data + open, end ? at - 1 - open : 0);
	}
	command->bytes = at + end;
	return end > 0;
}

static struct mesh_slice lower(struct decode *d, struct mesh_slice text)
{
	struct mesh_slice copy = mesh_decode_bytes(d, text);

	for (size_t i = 0; copy.data && i < copy.len; i++)
		((char *)copy.data)[i] = mesh_char_lower(copy.data[i]);
	return copy;
}

static bool one_of(struct mesh_slice text, const char *const *words)
{
	for (; *words; words++)
		if (mesh_slice_equal(text, mesh_slice_of(*words)))
			return true;
	return false;
}

static void refuse(struct decode *d, const char *field, const struct command *command, const char *why)
{
	mesh_decode_fail_field(d, field, "%%%.*s%%: %s", (int)(command->name.len < 60 ? command->name.len : 60),
			       command->name.data, why);
}

static void header_names(struct decode *d, const char *field, const struct command *command, struct format_piece *piece)
{
	struct mesh_slice other = command->parameter, name = mesh_slice_cut(&other, '?');

	if (mesh_slice_find(other, '?') >= 0) {
		refuse(d, field, command, "more than one header in the place of another");
		return;
	}
	for (size_t i = 0; i < command->parameter.len; i++)
		if (strchr(" \t\r\n()<>@,;\\\"/[]{}", command->parameter.data[i]) || !command->parameter.data[i]) {
			refuse(d, field, command, "not a header name");
			return;
		}
	piece->text = lower(d, name);
	piece->other = lower(d, other);
}

static void path_option(struct decode *d, const char *field, const struct command *command, struct format_piece *piece)
{
	static const char *const query[] = {"", "WQ", "NQ", NULL}, *const which[] = {"", "ORIG", "PATH", "ORIG_OR_PATH", NULL};
	struct mesh_slice from = command->parameter, first = mesh_slice_cut(&from, ':');

	if (!one_of(first, query) || !one_of(from, which))
		refuse(d, field, command, "only WQ or NQ, and ORIG, PATH or ORIG_OR_PATH");
	piece->without_query = mesh_slice_equal(first, MESH_SLICE("NQ"));
	piece->original = mesh_slice_equal(from, MESH_SLICE("ORIG"));
	piece->current = mesh_slice_equal(from, MESH_SLICE("PATH"));
}

/* "filter:key:key", or as a list in JSON, as Envoy took it once. */
static void metadata_path(struct decode *d, const struct command *command, struct format_piece *piece)
{
	struct mesh_slice rest = command->parameter, copy;
	struct mesh_slice *path;
	size_t count = 0;
	char *text;

	copy = mesh_decode_bytes(d, rest);
	text = (char *)copy.data;
	if (copy.len > 1 && text[0] == '[') { /* '["a", "b"]' */
		size_t len = 0;

		for (size_t i = 0; i < copy.len; i++)
			if (!strchr("[]\" ", text[i]))
				text[len++] = text[i] == ',' ? ':' : text[i];
		copy.len = len;
	}
	for (size_t i = 0; text && i < copy.len; i++)
		count += text[i] == ':';
	path = mesh_decode_array(d, count, sizeof(*path));
	rest = copy;
	piece->text = mesh_slice_cut(&rest, ':');
	for (size_t i = 0; path && i < count; i++)
		path[i] = mesh_slice_cut(&rest, ':');
	piece->path = path;
	piece->path_count = path ? count : 0;
}

static void time_form(struct decode *d, const char *field, const struct command *command, struct format_piece *piece)
{
	struct mesh_slice form = command->parameter.len ? command->parameter : MESH_SLICE("%Y-%m-%dT%H:%M:%E3SZ");

	for (size_t i = 0; i + 1 < form.len; i++)
		if (form.data[i] == '%' && form.data[i + 1] == 'n')
			refuse(d, field, command, "a new line in it");
	piece->text = mesh_decode_bytes(d, form);
}

static void known_text(struct decode *d, const struct command *command, struct format_piece *piece)
{
	char name[HOST_BYTES] = "";
	const char *value = NULL;

	if (mesh_slice_equal(command->name, MESH_SLICE("ACCESS_LOG_TYPE"))) {
		value = "NotSet";
	} else if (mesh_slice_equal(command->name, MESH_SLICE("ENVIRONMENT"))) {
		/* the application's environment may hold what is not for whoever writes routes, or receives requests */
		mesh_decode_warning(d, "operator %%ENVIRONMENT(%.*s)%%: stands for nothing here",
				    (int)(command->parameter.len < 100 ? command->parameter.len : 100), command->parameter.data);
		value = "-";
	} else if (mesh_slice_equal(command->name, MESH_SLICE("HOSTNAME"))) {
		value = gethostname(name, sizeof(name) - 1) ? "-" : name;
	} else {
		value = "0";
	}
	piece->text = mesh_decode_bytes(d, mesh_slice_of(value));
}

static void server_name(struct decode *d, const char *field, const struct command *command, struct mesh_slice which,
			struct mesh_slice host)
{
	static const char *const orders[] = {"", "SNI_ONLY", "SNI_FIRST", "HOST_FIRST", NULL};
	static const char *const hosts[] = {"", "ORIG", "HOST", "ORIG_OR_HOST", NULL};

	if (!one_of(which, orders) || !one_of(host, hosts))
		refuse(d, field, command, "only SNI_ONLY, SNI_FIRST or HOST_FIRST, and ORIG, HOST or ORIG_OR_HOST");
}

static void parameter(struct decode *d, const char *field, const struct command *command, struct format_piece *piece)
{
	static const char *const grpc[] = {"", "CAMEL_STRING", "SNAKE_STRING", "NUMBER", NULL};
	static const char *const query[] = {"", "ORIG", "DECODED", NULL};
	static const char *const metadata[] = {"DYNAMIC",  "CLUSTER",	    "ROUTE", "UPSTREAM_HOST",
					       "LISTENER", "VIRTUAL_HOST", "LISTENER_FILTER_CHAIN", NULL};
	static const char *const state[] = {"", "PLAIN", "TYPED", "FIELD", NULL};
	struct mesh_slice rest = command->parameter, first;

	switch (piece->op) {
	case FORMAT_REQ:
	case FORMAT_RESP:
	case FORMAT_TRAILER:
		header_names(d, field, command, piece);
		break;
	case FORMAT_PATH:
		path_option(d, field, command, piece);
		break;
	case FORMAT_QUERY_PARAM:
		piece->text = mesh_decode_bytes(d, rest);
		break;
	case FORMAT_QUERY_PARAMS:
		if (!one_of(rest, query))
			refuse(d, field, command, "only ORIG or DECODED");
		if (mesh_slice_equal(rest, MESH_SLICE("DECODED")))
			piece->op = FORMAT_NOTHING;
		break;
	case FORMAT_START_TIME:
	case FORMAT_EMIT_TIME:
		time_form(d, field, command, piece);
		break;
	case FORMAT_DYNAMIC_METADATA:
		metadata_path(d, command, piece);
		break;
	case FORMAT_GRPC_STATUS:
		if (!one_of(rest, grpc))
			refuse(d, field, command, "only CAMEL_STRING, SNAKE_STRING or NUMBER");
		piece->text = mesh_slice_equal(command->name, MESH_SLICE("GRPC_STATUS_NUMBER")) ? MESH_SLICE("NUMBER")
												 : mesh_decode_bytes(d, rest);
		break;
	case FORMAT_TEXT:
		known_text(d, command, piece);
		break;
	default:
		first = mesh_slice_cut(&rest, ':');
		if (mesh_slice_equal(command->name, MESH_SLICE("COMMON_DURATION")) && !rest.data)
			refuse(d, field, command, "two times are required");
		if (mesh_slice_equal(command->name, MESH_SLICE("METADATA")) && !one_of(first, metadata))
			refuse(d, field, command, "metadata of what is not known");
		if (mesh_slice_equal(command->name, MESH_SLICE("REQUESTED_SERVER_NAME")))
			server_name(d, field, command, first, rest);
		if (!mesh_slice_suffix(command->name, MESH_SLICE("FILTER_STATE")))
			break;
		first = mesh_slice_cut(&rest, ':');
		if (!one_of(first, state) || mesh_slice_equal(first, MESH_SLICE("FIELD")) != (rest.len > 0))
			refuse(d, field, command, "only PLAIN, TYPED, or FIELD with a name");
	}
}

static void operator_piece(struct decode *d, const char *field, const struct command *command, struct format_piece *piece)
{
	const struct format_operator *known = mesh_format_operator(command->name);

	if (!known) {
		refuse(d, field, command, "unknown operator");
		return;
	}
	if (known->parameters == PARAMETERS_REQUIRED && !command->parameter.len)
		refuse(d, field, command, "needs a parameter");
	else if (known->parameters == PARAMETERS_NONE && command->parameter.len)
		refuse(d, field, command, "takes no parameter");
	else if (!known->length && command->has_length)
		refuse(d, field, command, "takes no length");
	piece->op = known->op;
	piece->max = command->has_length && command->length < SIZE_MAX ? (size_t)command->length : SIZE_MAX;
	if (d->rc == 0)
		parameter(d, field, command, piece);
	if (piece->op == FORMAT_NOTHING)
		mesh_decode_warning(d, "operator %%%.*s%%: stands for nothing here", (int)command->name.len, command->name.data);
}

/* Where the text that begins at `at` ends: before the next operator. */
static size_t literal_end(struct mesh_slice text, size_t at)
{
	while (at < text.len && (text.data[at] != '%' || (at + 1 < text.len && text.data[at + 1] == '%')))
		at += 1 + (text.data[at] == '%');
	return at;
}

/* What stands before the next operator, "%%" as one. False: no memory. */
static bool literal_piece(struct decode *d, struct mesh_slice text, size_t *at, struct format_piece *piece)
{
	size_t end = literal_end(text, *at), len = 0;
	char *copy = mesh_decode_array(d, end - *at + 1, 1);

	while (copy && *at < end) {
		*at += text.data[*at] == '%';
		copy[len++] = text.data[(*at)++];
	}
	*piece = (struct format_piece){.op = FORMAT_TEXT, .text = mesh_slice_make(copy, len), .max = SIZE_MAX};
	return copy != NULL;
}

static size_t pieces_of(struct decode *d, const char *field, struct mesh_slice text, struct format_piece *pieces)
{
	struct command command;
	size_t count = 0;

	for (size_t at = 0; at < text.len && d->rc == 0;) {
		if (count == PIECES_MAX) {
			mesh_decode_fail_field(d, field, "more than %d operators", PIECES_MAX / 2);
			break;
		}
		if (text.data[at] != '%' || (at + 1 < text.len && text.data[at + 1] == '%')) {
			if (!literal_piece(d, text, &at, &pieces[count++]))
				break;
			continue;
		}
		if (!read_command(mesh_slice_make(text.data + at, text.len - at), &command)) {
			mesh_decode_fail_field(d, field, "\"%.*s\": no operator at position %zu",
					       (int)(text.len < 100 ? text.len : 100), text.data, at);
			break;
		}
		operator_piece(d, field, &command, &pieces[count++]);
		at += command.bytes;
	}
	return count;
}

const struct format *mesh_decode_format(struct decode *d, const char *field, struct mesh_slice text,
					struct mesh_slice *literal)
{
	struct format_piece pieces[PIECES_MAX] = {{0}}, *kept;
	struct format *format = NULL;
	size_t count = pieces_of(d, field, text, pieces);

	*literal = (struct mesh_slice){NULL, 0};
	if (d->rc < 0 || !count)
		return NULL;
	if (count == 1 && pieces[0].op == FORMAT_TEXT) {
		*literal = pieces[0].text;
		return NULL;
	}
	format = mesh_decode_array(d, 1, sizeof(*format));
	kept = mesh_decode_array(d, count, sizeof(*kept));
	if (!format || !kept)
		return NULL;
	memcpy(kept, pieces, count * sizeof(*kept));
	format->pieces = kept;
	format->count = count;
	return format;
}

const struct format *mesh_decode_whole(struct decode *d, struct mesh_slice text)
{
	struct format *format = mesh_decode_array(d, 1, sizeof(*format));
	struct format_piece *piece = mesh_decode_array(d, 1, sizeof(*piece));

	if (!format || !piece)
		return NULL;
	*piece = (struct format_piece){.op = FORMAT_TEXT, .text = text.data ? text : MESH_SLICE(""), .max = SIZE_MAX};
	*format = (struct format){piece, 1};
	return format;
}
