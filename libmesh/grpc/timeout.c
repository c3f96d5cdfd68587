/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how a deadline is written and read. Refuses to know a clock. */
#include "grpc/timeout.h"

#include "base/text.h"

static const struct {
	char unit;
	uint64_t ns;
} units[] = {{'n', 1},		    {'u', 1000},	    {'m', 1000000},
	     {'S', 1000000000},	    {'M', 60000000000},	    {'H', 3600000000000}};
static const size_t unit_count = sizeof(units) / sizeof(units[0]);
static const uint64_t digits_max = 99999999;

size_t mesh_grpc_timeout_print(char text[MESH_GRPC_TIMEOUT_BYTES], uint64_t ns)
{
	char digits[20];
	uint64_t value;
	size_t i = 0, len;

	while (i + 1 < unit_count && (ns + units[i].ns - 1 < ns || (ns + units[i].ns - 1) / units[i].ns > digits_max))
		i++;
	value = ns / units[i].ns + (ns % units[i].ns != 0);
	len = mesh_text_u64(digits, value > digits_max ? digits_max : value);
	memcpy(text, digits, len);
	text[len] = units[i].unit;
	return len + 1;
}

bool mesh_grpc_timeout_parse(struct mesh_slice text, uint64_t *ns)
{
	uint64_t value;

	if (text.len < 2 || text.len > MESH_GRPC_TIMEOUT_BYTES ||
	    !mesh_slice_to_u64(mesh_slice_make(text.data, text.len - 1), &value))
		return false;
	for (size_t i = 0; i < unit_count; i++) {
		if (units[i].unit != text.data[text.len - 1])
			continue;
		if (__builtin_mul_overflow(value, units[i].ns, ns) || *ns > INT64_MAX)
			*ns = INT64_MAX;
		return true;
	}
	return false;
}
