/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a cluster is divided by what its endpoints say of themselves: selectors, fallbacks, and the values they go by. Refuses
 * what Envoy refuses. Knows nothing of which endpoints there are.
 */
#include "xds/decode.h"

#include <stdlib.h>

#include <mesh/error.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

#define KEYS_MAX      32 /* of a selector; what lb/subset.h has room for */
#define SELECTORS_MAX 64
#define LABELS_MAX    256  /* of an endpoint, and elements of one of its lists */
#define VALUE_MAX     8192 /* bytes of one value as text */
#define NESTING_MAX   16

typedef Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig subset_message;
typedef Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig__LbSubsetSelector selector_message;

/* ---- values */

static int put_value(struct buf *text, const Google__Protobuf__Value *value, unsigned nesting);

static int put_text(struct buf *text, const char *word)
{
	return mesh_buf_printf(text, "%zu:%s", strlen(word), word);
}

static int field_order(const void *left, const void *right)
{
	return strcmp((*(Google__Protobuf__Struct__FieldsEntry *const *)left)->key,
		      (*(Google__Protobuf__Struct__FieldsEntry *const *)right)->key);
}

/* The order of fields does not matter: they are sorted where they lie. */
static int put_struct(struct buf *text, const Google__Protobuf__Struct *object, unsigned nesting)
{
	int rc = mesh_buf_printf(text, "{%zu", object->n_fields);

	if (object->n_fields > 1)
		qsort(object->fields, object->n_fields, sizeof(*object->fields), field_order);
	for (size_t i = 0; i < object->n_fields && !rc; i++) {
		rc = put_text(text, object->fields[i]->key);
		rc = rc ? rc : put_value(text, object->fields[i]->value, nesting + 1);
	}
	return rc;
}

static int put_value(struct buf *text, const Google__Protobuf__Value *value, unsigned nesting)
{
	int rc;

	if (nesting > NESTING_MAX)
		return MESH_ERROR_TOO_LARGE;
	switch (value ? value->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		rc = mesh_buf_printf(text, "s");
		return rc ? rc : put_text(text, value->string_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
		return mesh_buf_printf(text, "%s", value->bool_value ? "true" : "false");
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		return mesh_buf_printf(text, "%.17g", value->number_value == 0 ? 0 : value->number_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
		return put_struct(text, value->struct_value, nesting);
	case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
		rc = mesh_buf_printf(text, "[%zu", value->list_value->n_values);
		for (size_t i = 0; i < value->list_value->n_values && !rc; i++)
			rc = put_value(text, value->list_value->values[i], nesting + 1);
		return rc;
	default:
		return mesh_buf_printf(text, "null");
	}
}

struct mesh_slice mesh_decode_value_exact(struct decode *d, const Google__Protobuf__Value *value)
{
	struct mesh_slice made = {NULL, 0};
	struct buf text;
	int rc;

	if (value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
		return mesh_decode_bytes(d, mesh_slice_of(value->string_value));
	mesh_buf_init(&text, d->mem, VALUE_MAX);
	rc = mesh_buf_append(&text, mesh_slice_make("", 1));
	rc = rc ? rc : put_value(&text, value, 0);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc)
		mesh_decode_fail(d, "longer than %d bytes or nested deeper than %d", VALUE_MAX, NESTING_MAX);
	else
		made = mesh_decode_bytes(d, mesh_buf_slice(&text));
	mesh_buf_free(&text);
	return made;
}

static void list_items(struct decode *d, const Google__Protobuf__ListValue *list, struct lb_label *label)
{
	label->list = true;
	if (!mesh_decode_count(d, "list_value", list->n_values, LABELS_MAX))
		return;
	label->items = mesh_decode_array(d, list->n_values, sizeof(*label->items));
	label->item_count = label->items ? list->n_values : 0;
	for (size_t i = 0; i < label->item_count; i++)
		label->items[i] = mesh_decode_value_exact(d, list->values[i]);
}

static int lb_label_order(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct lb_label *)left)->key, ((const struct lb_label *)right)->key);
}

struct lb_label *mesh_decode_lb_labels(struct decode *d, const Google__Protobuf__Struct *object, size_t *count)
{
	struct lb_label *labels = NULL;

	*count = 0;
	if (!object || !mesh_decode_count(d, "fields", object->n_fields, LABELS_MAX))
		return NULL;
	labels = mesh_decode_array(d, object->n_fields, sizeof(*labels));
	for (size_t i = 0; labels && i < object->n_fields && d->rc == 0; i++) {
		const Google__Protobuf__Value *value = object->fields[i]->value;

		mesh_decode_push_key(d, "fields", object->fields[i]->key);
		labels[i].key = mesh_decode_text(d, object->fields[i]->key);
		labels[i].value = mesh_decode_value_exact(d, value);
		if (value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
			list_items(d, value->list_value, &labels[i]);
		mesh_decode_pop(d);
		++*count;
	}
	if (*count > 1)
		qsort(labels, *count, sizeof(*labels), lb_label_order);
	return labels;
}

/* ---- the configuration */

static int key_order(const void *left, const void *right)
{
	return mesh_slice_compare(*(const struct mesh_slice *)left, *(const struct mesh_slice *)right);
}

/* Sorted, each once. */
static struct mesh_slice *keys(struct decode *d, const char *field, size_t n, char **texts, size_t *count)
{
	struct mesh_slice *made;
	size_t kept = 0;

	*count = 0;
	if (!n || !mesh_decode_count(d, field, n, KEYS_MAX))
		return NULL;
	made = mesh_decode_array(d, n, sizeof(*made));
	if (!made)
		return NULL;
	for (size_t i = 0; i < n; i++)
		made[i] = mesh_decode_text(d, texts[i]);
	qsort(made, n, sizeof(*made), key_order);
	for (size_t i = 0; i < n; i++)
		if (!kept || !mesh_slice_equal(made[kept - 1], made[i]))
			made[kept++] = made[i];
	*count = kept;
	return made;
}

static enum subset_fallback fallback_of(struct decode *d, int policy, bool selector)
{
	/* A selector's numbers are the cluster's and one more, with "not defined" in front. */
	static const enum subset_fallback kinds[] = {SUBSET_UNDEFINED, SUBSET_NOBODY, SUBSET_ANY, SUBSET_DEFAULT,
						     SUBSET_KEYS};
	int at = selector ? policy : policy + 1;

	if (policy >= 0 && at <= (selector ? 4 : 3))
		return kinds[at];
	mesh_decode_fail_field(d, "fallback_policy", "%d: unknown", policy);
	return SUBSET_NOBODY;
}

static bool among(const struct subset_selector *selector, struct mesh_slice key)
{
	for (size_t i = 0; i < selector->key_count; i++)
		if (mesh_slice_equal(selector->keys[i], key))
			return true;
	return false;
}

/* Fewer keys and none that are not its own: else a request could go round for ever. */
static void check_fallback_keys(struct decode *d, const struct subset_selector *selector)
{
	const char *field = "fallback_keys_subset";

	if (selector->fallback != SUBSET_KEYS) {
		if (selector->fallback_key_count)
			mesh_decode_fail_field(d, field, "is for fallback_policy KEYS_SUBSET only");
		return;
	}
	if (!selector->fallback_key_count)
		mesh_decode_fail_field(d, field, "must not be empty for fallback_policy KEYS_SUBSET");
	for (size_t i = 0; i < selector->fallback_key_count; i++)
		if (!among(selector, selector->fallback_keys[i]))
			mesh_decode_fail_field(d, field, "\"%.*s\": is not among keys",
					       (int)selector->fallback_keys[i].len, selector->fallback_keys[i].data);
	if (selector->fallback_key_count == selector->key_count)
		mesh_decode_fail_field(d, field, "must have fewer keys than the selector");
}

static void selector(struct decode *d, const selector_message *message, struct subset_selector *selector)
{
	selector->keys = keys(d, "keys", message->n_keys, message->keys, &selector->key_count);
	selector->single = message->single_host_per_subset;
	selector->fallback = fallback_of(d, (int)message->fallback_policy, true);
	selector->fallback_keys = keys(d, "fallback_keys_subset", message->n_fallback_keys_subset,
				       message->fallback_keys_subset, &selector->fallback_key_count);
	if (!selector->key_count)
		mesh_decode_fail_field(d, "keys", "must not be empty");
	if (selector->single && selector->key_count > 1)
		mesh_decode_fail_field(d, "single_host_per_subset", "is for selectors with one key");
	check_fallback_keys(d, selector);
}

static void default_subset(struct decode *d, const Google__Protobuf__Struct *object, struct subset_config *subset)
{
	struct lb_label *labels;
	size_t count;

	mesh_decode_push(d, "default_subset");
	labels = mesh_decode_lb_labels(d, object, &count);
	subset->default_labels = mesh_decode_array(d, count, sizeof(*subset->default_labels));
	for (size_t i = 0; subset->default_labels && i < count; i++)
		subset->default_labels[i] = (struct label){labels[i].key, labels[i].value};
	subset->default_label_count = subset->default_labels ? count : 0;
	mesh_decode_pop(d);
}

static struct subset_config *subset_config(struct decode *d, const subset_message *message)
{
	struct subset_config *subset = mesh_decode_array(d, 1, sizeof(*subset));

	if (!subset || !mesh_decode_count(d, "subset_selectors", message->n_subset_selectors, SELECTORS_MAX))
		return NULL;
	subset->fallback = fallback_of(d, (int)message->fallback_policy, false);
	default_subset(d, message->default_subset, subset);
	subset->selectors = mesh_decode_array(d, message->n_subset_selectors, sizeof(*subset->selectors));
	for (size_t i = 0; subset->selectors && i < message->n_subset_selectors && d->rc == 0; i++) {
		mesh_decode_push_item(d, "subset_selectors", i);
		selector(d, message->subset_selectors[i], &subset->selectors[i]);
		mesh_decode_pop(d);
		subset->selector_count++;
	}
	subset->locality_weight_aware = message->locality_weight_aware;
	subset->scale_locality_weight = message->scale_locality_weight;
	subset->panic_any = message->panic_mode_any;
	subset->list_as_any = message->list_as_any;
	if ((unsigned)message->metadata_fallback_policy > 1)
		mesh_decode_fail_field(d, "metadata_fallback_policy", "%d: unknown",
				       (int)message->metadata_fallback_policy);
	subset->fallback_list = message->metadata_fallback_policy == 1;
	return d->rc == 0 ? subset : NULL;
}

void mesh_decode_subset_config(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message,
			       struct cluster_config *cluster)
{
	const subset_message *subset = message->lb_subset_config;

	if (!subset)
		return;
	mesh_decode_push(d, "lb_subset_config");
	if (cluster->lb == LB_CLUSTER_PROVIDED)
		mesh_decode_fail(d, "cannot be combined with lb_policy CLUSTER_PROVIDED");
	if (subset->locality_weight_aware && !cluster->locality_weighted)
		mesh_decode_fail_field(d, "locality_weight_aware",
				       "needs locality_weighted_lb_config of common_lb_config");
	if (subset->n_subset_selectors) /* without any, Envoy balances as if nothing was said */
		cluster->balance.subset = subset_config(d, subset);
	mesh_decode_pop(d);
}

/* The extension's fields are those of the old message, by number, with two more behind them. */
void mesh_decode_subset_policy(struct decode *d, const Google__Protobuf__Any *any, bool redundant_keys,
			       struct cluster_config *cluster)
{
	subset_message *message =
		mesh_decode_unpack(d, mesh_slice_make(any->value.data, any->value.len),
				   &envoy__config__cluster__v3__cluster__lb_subset_config__descriptor);
	struct subset_config *subset;

	if (!message || !message->n_subset_selectors)
		return;
	subset = subset_config(d, message);
	if (subset)
		subset->redundant_keys = redundant_keys;
	cluster->balance.subset = subset;
}
