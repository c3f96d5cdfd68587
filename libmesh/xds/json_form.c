/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which messages proto-JSON writes in a form of their own, what a field is called there, and how times read.
 * Refuses to know the wire and any JSON library.
 */
#include "xds/json_form.h"

#include <inttypes.h>
#include <stdio.h>

#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define NANOS_PER_SECOND      1000000000
#define DURATION_SECONDS_MAX  INT64_C(315576000000)
#define TIMESTAMP_SECONDS_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

enum json_form mesh_json_form(const ProtobufCMessageDescriptor *type)
{
	static const struct {
		const ProtobufCMessageDescriptor *type;
		enum json_form form;
	} forms[] = {
		{&google__protobuf__any__descriptor, JSON_FORM_ANY},
		{&google__protobuf__duration__descriptor, JSON_FORM_DURATION},
		{&google__protobuf__timestamp__descriptor, JSON_FORM_TIMESTAMP},
		{&google__protobuf__struct__descriptor, JSON_FORM_STRUCT},
		{&google__protobuf__value__descriptor, JSON_FORM_VALUE},
		{&google__protobuf__list_value__descriptor, JSON_FORM_LIST},
		{&google__protobuf__bool_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__uint32_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__int32_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__uint64_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__int64_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__double_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__float_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__string_value__descriptor, JSON_FORM_WRAPPER},
		{&google__protobuf__bytes_value__descriptor, JSON_FORM_WRAPPER},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (forms[i].type == type)
			return forms[i].form;
	}
	return JSON_FORM_OBJECT;
}

bool mesh_json_is_null_value(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_ENUM && field->descriptor == &google__protobuf__null_value__descriptor;
}

/* protobuf-c forgets that a field is a map: its entries are messages <Parent>.<FieldName>Entry with a key and a value.
 */
bool mesh_json_is_map(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	size_t parent_len = strlen(type->name);
	const char *want = field->name;
	const char *have;
	bool upper = true;

	if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE || entry->n_fields != 2)
		return false;
	if (strncmp(entry->name, type->name, parent_len) != 0 || entry->name[parent_len] != '.')
		return false;
	if (strcmp(entry->fields[0].name, "key") != 0 || strcmp(entry->fields[1].name, "value") != 0)
		return false;
	for (have = entry->name + parent_len + 1; *want; want++) {
		char c = *want;

		if (c == '_') {
			upper = true;
			continue;
		}
		if (upper && c >= 'a' && c <= 'z')
			c = (char)(c - 32);
		upper = false;
		if (*have++ != c)
			return false;
	}
	return strcmp(have, "Entry") == 0;
}

bool mesh_json_is_secret(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field)
{
	static const char prefix[] = "envoy.extensions.transport_sockets.tls.v3.";
	static const char *const secrets[][2] = {
		{"TlsCertificate", "private_key"},	{"TlsCertificate", "password"},	  {"TlsCertificate", "pkcs12"},
		{"PrivateKeyProvider", "typed_config"}, {"TlsSessionTicketKeys", "keys"}, {"GenericSecret", "secret"},
		{"GenericSecret", "secrets"},
	};

	if (strncmp(type->name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		if (strcmp(type->name + sizeof(prefix) - 1, secrets[i][0]) == 0 &&
		    strcmp(field->name, secrets[i][1]) == 0)
			return true;
	}
	return false;
}

/* The next character of a name's lowerCamelCase form, 0 at its end. */
static char camel_next(const char **name)
{
	bool upper = false;
	char c;

	while (**name == '_') {
		upper = true;
		(*name)++;
	}
	c = **name;
	if (c)
		(*name)++;
	return upper && c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

size_t mesh_json_name(const ProtobufCFieldDescriptor *field, char name[MESH_JSON_NAME_BYTES])
{
	const char *from = field->name;
	size_t len = 0;
	char c;

	while (len + 1 < MESH_JSON_NAME_BYTES && (c = camel_next(&from)))
		name[len++] = c;
	name[len] = '\0';
	return len;
}

static bool camel_equal(const char *field, struct mesh_slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = camel_next(&field);

		if (!c || c != name.data[i])
			return false;
	}
	return camel_next(&field) == '\0';
}

const ProtobufCFieldDescriptor *mesh_json_field(const ProtobufCMessageDescriptor *type, struct mesh_slice name)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (camel_equal(field->name, name) || mesh_slice_equal(mesh_slice_of(field->name), name))
			return field;
	}
	return NULL;
}

/* ---- times ---- */

/* ".5", ".250", nothing: 0, 3, 6 or 9 digits. */
static size_t fraction_text(int32_t nanos, char *text, size_t room)
{
	int len;

	if (nanos == 0)
		return 0;
	if (nanos % 1000000 == 0)
		len = snprintf(text, room, ".%03" PRId32, nanos / 1000000);
	else if (nanos % 1000 == 0)
		len = snprintf(text, room, ".%06" PRId32, nanos / 1000);
	else
		len = snprintf(text, room, ".%09" PRId32, nanos);
	return len > 0 ? (size_t)len : 0;
}

size_t mesh_json_duration_text(int64_t seconds, int32_t nanos, char text[MESH_JSON_TIME_BYTES])
{
	bool negative = seconds < 0 || nanos < 0;
	size_t len;

	if (seconds > DURATION_SECONDS_MAX || seconds < -DURATION_SECONDS_MAX || nanos <= -NANOS_PER_SECOND ||
	    nanos >= NANOS_PER_SECOND || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0))
		return 0;
	len = (size_t)snprintf(text, MESH_JSON_TIME_BYTES, "%s%" PRId64, negative ? "-" : "",
			       seconds < 0 ? -seconds : seconds);
	len += fraction_text(nanos < 0 ? -nanos : nanos, text + len, MESH_JSON_TIME_BYTES - len);
	text[len++] = 's';
	text[len] = '\0';
	return len;
}

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar, counted in years that begin in March. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

static int64_t days_in(int64_t year, int64_t month)
{
	return month == 12 ? 31 : days_of(year, month + 1, 1) - days_of(year, month, 1);
}

size_t mesh_json_timestamp_text(int64_t seconds, int32_t nanos, char text[MESH_JSON_TIME_BYTES])
{
	int64_t days, rest;
	int64_t year, month = 1;
	size_t len;

	if (seconds < TIMESTAMP_SECONDS_MIN || seconds > TIMESTAMP_SECONDS_MAX || nanos < 0 ||
	    nanos >= NANOS_PER_SECOND)
		return 0;
	days = seconds / 86400;
	rest = seconds % 86400;
	if (rest < 0) {
		rest += 86400;
		days--;
	}
	year = 1970 + days / 366;
	if (days < 0)
		year = 1970 + days / 365 - 1;
	while (days_of(year + 1, 1, 1) <= days)
		year++;
	while (month < 12 && days_of(year, month + 1, 1) <= days)
		month++;
	len = (size_t)snprintf(text, MESH_JSON_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", (int)year, (int)month,
			       (int)(days - days_of(year, month, 1) + 1), (int)(rest / 3600), (int)(rest / 60 % 60),
			       (int)(rest % 60));
	len += fraction_text(nanos, text + len, MESH_JSON_TIME_BYTES - len);
	text[len++] = 'Z';
	text[len] = '\0';
	return len;
}

/* ".5" and the like off the front of *text; true with 0 when there is none. */
static bool take_fraction(struct mesh_slice *text, int32_t *nanos)
{
	size_t digits = 0;
	int32_t value = 0;

	*nanos = 0;
	if (text->len == 0 || text->data[0] != '.')
		return true;
	*text = mesh_slice_make(text->data + 1, text->len - 1);
	while (text->len > 0 && text->data[0] >= '0' && text->data[0] <= '9') {
		if (++digits > 9)
			return false;
		value = value * 10 + (text->data[0] - '0');
		*text = mesh_slice_make(text->data + 1, text->len - 1);
	}
	for (size_t i = digits; i < 9; i++)
		value *= 10;
	*nanos = value;
	return digits > 0;
}

bool mesh_json_duration_parse(struct mesh_slice text, int64_t *seconds, int32_t *nanos)
{
	bool negative = text.len > 0 && text.data[0] == '-';
	uint64_t whole;
	size_t digits = 0;

	if (negative)
		text = mesh_slice_make(text.data + 1, text.len - 1);
	while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
		digits++;
	if (digits == 0 || !mesh_slice_to_u64(mesh_slice_make(text.data, digits), &whole))
		return false;
	text = mesh_slice_make(text.data + digits, text.len - digits);
	if (!take_fraction(&text, nanos) || text.len != 1 || text.data[0] != 's' ||
	    whole > (uint64_t)DURATION_SECONDS_MAX)
		return false;
	*seconds = negative ? -(int64_t)whole : (int64_t)whole;
	*nanos = negative ? -*nanos : *nanos;
	return true;
}

/* `digits` decimal digits, then `after` (0: nothing), off the front of *text. */
static bool take_number(struct mesh_slice *text, size_t digits, char after, int64_t *value)
{
	uint64_t v;

	if (text->len < digits + (after ? 1 : 0) || !mesh_slice_to_u64(mesh_slice_make(text->data, digits), &v))
		return false;
	if (after && text->data[digits] != after)
		return false;
	digits += after ? 1 : 0;
	*text = mesh_slice_make(text->data + digits, text->len - digits);
	*value = (int64_t)v;
	return true;
}

/* "Z" or "+hh:mm", the whole rest, as seconds east. */
static bool take_zone(struct mesh_slice text, int64_t *east)
{
	int64_t hours, minutes;
	bool west = text.len > 0 && text.data[0] == '-';

	*east = 0;
	if (text.len == 1 && text.data[0] == 'Z')
		return true;
	if (text.len != 6 || (text.data[0] != '+' && !west))
		return false;
	text = mesh_slice_make(text.data + 1, 5);
	if (!take_number(&text, 2, ':', &hours) || !take_number(&text, 2, 0, &minutes) || hours > 23 || minutes > 59)
		return false;
	*east = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

bool mesh_json_timestamp_parse(struct mesh_slice text, int64_t *seconds, int32_t *nanos)
{
	int64_t year, month, day, hour, minute, second, east;

	if (!take_number(&text, 4, '-', &year) || !take_number(&text, 2, '-', &month) ||
	    !take_number(&text, 2, 'T', &day) || !take_number(&text, 2, ':', &hour) ||
	    !take_number(&text, 2, ':', &minute) || !take_number(&text, 2, 0, &second) ||
	    !take_fraction(&text, nanos) || !take_zone(text, &east))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 ||
	    second > 59)
		return false;
	*seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - east;
	return *seconds >= TIMESTAMP_SECONDS_MIN && *seconds <= TIMESTAMP_SECONDS_MAX;
}
