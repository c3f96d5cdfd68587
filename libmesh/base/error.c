/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/error.h>: names, texts, classes and flags from the one list. */
#include <mesh/error.h>

struct entry {
	int number;
	enum mesh_error_class class;
	const char *name, *flag, *text;
};

static const struct entry entries[] = {
#define MESH_ERROR_ENTRY(name, number, class, flag, text) {number, MESH_CLASS_##class, #name, flag, text},
#include <mesh/error.def>
#undef MESH_ERROR_ENTRY
};

static const struct entry *find(int error)
{
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		if (entries[i].number == error)
			return &entries[i];
	return NULL;
}

MESH_EXPORT enum mesh_error_class mesh_error_class(int error)
{
	const struct entry *entry = find(error);

	return entry ? entry->class : MESH_CLASS_NONE;
}

MESH_EXPORT const char *mesh_error_name(int error)
{
	const struct entry *entry = find(error);

	return entry ? entry->name : error >= 0 ? "OK" : "UNKNOWN";
}

MESH_EXPORT const char *mesh_error_text(int error)
{
	const struct entry *entry = find(error);

	return entry ? entry->text : error >= 0 ? "no error" : "unknown error";
}

MESH_EXPORT const char *mesh_error_flag(int error)
{
	const struct entry *entry = find(error);

	return entry ? entry->flag : "-";
}
