/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a YAML document is as JSON: the core schema (null, true, 12, 1.5, else text), quoted text always text,
 * anchors expanded up to a bound. Refuses what JSON has no form for: keys that are not text, tags, merge keys.
 */
#include "yaml_json.h"

#include <stdlib.h>

#include <mesh/error.h>
#include <yaml.h>

#define NESTING_MAX 100
#define NODES_MAX   1000000 /* after the expansion of aliases */

struct converter {
	yaml_document_t *document;
	struct why *why;
	size_t nodes;
	unsigned nesting;
};

static json_t *convert(struct converter *c, yaml_node_t *node);

static json_t *refuse(struct converter *c, const yaml_node_t *node, const char *what)
{
	mesh_why(c->why, MESH_ERROR_INVALID, "line %zu: %s", node->start_mark.line + 1, what);
	return NULL;
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++) {
		if (strcmp(text, *words) == 0)
			return true;
	}
	return false;
}

/* A number in JSON's own grammar becomes one; anything else (0x1f, 1_000, 1.) stays text. */
static json_t *number_or_text(const char *text, size_t len)
{
	json_t *value = NULL;

	if (len > 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')))
		value = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	if (json_is_number(value))
		return value;
	json_decref(value);
	return json_stringn(text, len);
}

static json_t *convert_scalar(struct converter *c, yaml_node_t *node)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	const char *text = (const char *)node->data.scalar.value;
	size_t len = node->data.scalar.length;
	json_t *value;

	if (strlen(text) != len)
		return refuse(c, node, "NUL inside text");
	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		value = json_stringn(text, len);
	else if (is_one_of(text, nulls))
		value = json_null();
	else if (is_one_of(text, trues) || is_one_of(text, falses))
		value = json_boolean(is_one_of(text, trues));
	else
		value = number_or_text(text, len);
	return value ? value : refuse(c, node, "not UTF-8 text");
}

static json_t *convert_sequence(struct converter *c, yaml_node_t *node)
{
	json_t *array = json_array();

	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		json_t *value = convert(c, yaml_document_get_node(c->document, *item));

		if (!value || json_array_append_new(array, value) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static int convert_pair(struct converter *c, yaml_node_pair_t *pair, json_t *object)
{
	yaml_node_t *key = yaml_document_get_node(c->document, pair->key);
	const char *name;
	json_t *value;

	if (key->type != YAML_SCALAR_NODE || strlen((const char *)key->data.scalar.value) != key->data.scalar.length) {
		refuse(c, key, "a key must be text");
		return -1;
	}
	name = (const char *)key->data.scalar.value;
	if (strcmp(name, "<<") == 0 || json_object_get(object, name)) {
		refuse(c, key, strcmp(name, "<<") == 0 ? "merge keys are not supported" : "this key is there already");
		return -1;
	}
	value = convert(c, yaml_document_get_node(c->document, pair->value));
	if (!value)
		return -1;
	if (json_object_set_new(object, name, value) == 0)
		return 0;
	refuse(c, key, "not UTF-8 text");
	return -1;
}

static json_t *convert_mapping(struct converter *c, yaml_node_t *node)
{
	json_t *object = json_object();

	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		if (convert_pair(c, pair, object) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *convert(struct converter *c, yaml_node_t *node)
{
	json_t *value = NULL;

	if (++c->nodes > NODES_MAX)
		return refuse(c, node, "too large (aliases are counted each time they are used)");
	if (c->nesting >= NESTING_MAX)
		return refuse(c, node, "nested too deep");
	c->nesting++;
	if (node->type == YAML_SCALAR_NODE)
		value = convert_scalar(c, node);
	else if (node->type == YAML_SEQUENCE_NODE)
		value = convert_sequence(c, node);
	else if (node->type == YAML_MAPPING_NODE)
		value = convert_mapping(c, node);
	c->nesting--;
	return value;
}

/* 1: one more document appended, 0: the end of the text, -1: an error. */
static int next_document(yaml_parser_t *parser, json_t *documents, struct why *why)
{
	yaml_document_t document;
	struct converter c = {.document = &document, .why = why};
	yaml_node_t *root;
	json_t *value = NULL;
	int rc = 1;

	if (!yaml_parser_load(parser, &document)) {
		mesh_why(why, MESH_ERROR_INVALID, "line %zu: %s", parser->problem_mark.line + 1,
			 parser->problem ? parser->problem : "unreadable");
		return -1;
	}
	root = yaml_document_get_root_node(&document);
	if (!root) {
		rc = 0;
	} else {
		value = convert(&c, root);
		if (!value || (!json_is_null(value) && json_array_append(documents, value) < 0))
			rc = -1;
	}
	json_decref(value);
	yaml_document_delete(&document);
	return rc;
}

json_t *cp_yaml_load(struct mesh_slice text, struct why *why)
{
	json_t *documents = json_array();
	yaml_parser_t parser;
	int rc;

	if (!yaml_parser_initialize(&parser)) {
		json_decref(documents);
		return NULL;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
	do
		rc = next_document(&parser, documents, why);
	while (rc > 0);
	yaml_parser_delete(&parser);
	if (rc == 0)
		return documents;
	json_decref(documents);
	return NULL;
}
