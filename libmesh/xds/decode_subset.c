/* SPDX-License-Identifier: Apache-2.0 */
/* metadata_match of routes and weighted clusters: labels, merged over those of the level above, and lists to fall back to. */
#include "xds/decode.h"

#include "config/subset_wish.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

#define FALLBACKS_MAX 64

static const char *const fallback_key = "fallback_list";

/* The labels of `inner` over those of `outer`; both are in order, and so is what comes of them. */
static struct subset_match merged(struct decode *d, const struct subset_match *outer, const struct label *inner, size_t count)
{
	struct subset_match all = {.labels = mesh_decode_array(d, outer->label_count + count, sizeof(*all.labels))};
	size_t own = 0;

	for (size_t i = 0; all.labels && i < outer->label_count; i++) {
		while (own < count && mesh_slice_compare(inner[own].key, outer->labels[i].key) <= 0)
			all.labels[all.label_count++] = inner[own++];
		if (!own || !mesh_slice_equal(inner[own - 1].key, outer->labels[i].key))
			all.labels[all.label_count++] = outer->labels[i];
	}
	while (all.labels && own < count)
		all.labels[all.label_count++] = inner[own++];
	return all;
}

/* All members but the list, which stands beside them. */
static struct label *own_labels(struct decode *d, const Google__Protobuf__Struct *object, size_t *count,
				const Google__Protobuf__Value **list)
{
	Google__Protobuf__Struct rest = *object;

	*list = mesh_decode_struct_get(object, fallback_key);
	rest.n_fields = 0;
	rest.fields = mesh_decode_array(d, object->n_fields, sizeof(*rest.fields));
	for (size_t i = 0; rest.fields && i < object->n_fields; i++)
		if (strcmp(object->fields[i]->key, fallback_key) != 0)
			rest.fields[rest.n_fields++] = object->fields[i];
	*count = 0;
	return rest.fields ? mesh_decode_labels(d, &rest, count) : NULL;
}

static void fallbacks(struct decode *d, const Google__Protobuf__Value *list, struct subset_wish *wish)
{
	const Google__Protobuf__ListValue *values;

	if (!list || list->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
		return;
	values = list->list_value;
	if (!mesh_decode_count(d, fallback_key, values->n_values, FALLBACKS_MAX))
		return;
	wish->fallbacks = mesh_decode_array(d, values->n_values, sizeof(*wish->fallbacks));
	for (size_t i = 0; wish->fallbacks && i < values->n_values && d->rc == 0; i++) {
		struct label *labels;
		size_t count;

		mesh_decode_push_item(d, fallback_key, i);
		if (values->values[i]->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
			labels = mesh_decode_labels(d, values->values[i]->struct_value, &count);
			wish->fallbacks[wish->fallback_count++] = merged(d, &wish->match, labels, count);
		} else {
			mesh_decode_fail(d, "must be an object");
		}
		mesh_decode_pop(d);
	}
}

const struct subset_wish *mesh_decode_subset(struct decode *d, const Envoy__Config__Core__V3__Metadata *metadata,
					     const struct subset_wish *outer)
{
	const Google__Protobuf__Struct *object = mesh_decode_metadata(metadata, "envoy.lb");
	const struct subset_match none = {NULL, 0};
	const Google__Protobuf__Value *list;
	struct subset_wish *wish;
	struct label *labels;
	size_t count;

	if (!object || !object->n_fields)
		return outer;
	wish = mesh_decode_array(d, 1, sizeof(*wish));
	if (!wish)
		return outer;
	mesh_decode_push(d, "metadata_match");
	labels = own_labels(d, object, &count, &list);
	wish->match = merged(d, outer ? &outer->match : &none, labels, count);
	fallbacks(d, list, wish);
	mesh_decode_pop(d);
	return wish;
}
