/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how a moment is written. Refuses to know which moment it is, and where on earth. */
#include "base/date.h"

#include <stdio.h>
#include <time.h>

/* One conversion of a time: how many characters of the format it took. */
static size_t convert(struct mesh_slice rest, const struct tm *parts, uint64_t ns, char *out, size_t room, size_t *len)
{
	char one[4] = {'%', 0, 0, 0}, digits[16];
	size_t precision = 9;

	*len = 0;
	if (rest.len < 2)
		return rest.len;
	if (rest.data[1] == 's') {
		*len = (size_t)snprintf(out, room, "%llu", (unsigned long long)(ns / 1000000000));
		return 2;
	}
	snprintf(digits, sizeof(digits), "%09llu", (unsigned long long)(ns % 1000000000));
	if (rest.data[1] == 'f' || (rest.len > 2 && rest.data[1] >= '1' && rest.data[1] <= '9' && rest.data[2] == 'f')) {
		precision = rest.data[1] == 'f' ? 9 : (size_t)(rest.data[1] - '0');
		*len = (size_t)snprintf(out, room, "%.*s", (int)precision, digits);
		return rest.data[1] == 'f' ? 2 : 3;
	}
	if (rest.len > 3 && rest.data[1] == 'E' && rest.data[2] >= '1' && rest.data[2] <= '9' &&
	    (rest.data[3] == 'S' || rest.data[3] == 'f')) {
		precision = (size_t)(rest.data[2] - '0');
		*len = rest.data[3] == 'S' ? (size_t)snprintf(out, room, "%02d.%.*s", parts->tm_sec, (int)precision, digits)
					   : (size_t)snprintf(out, room, "%.*s", (int)precision, digits);
		return 4;
	}
	one[1] = rest.data[1];
	if (one[1] == 'Z')
		*len = (size_t)snprintf(out, room, "UTC");
	else if (one[1] == 'z')
		*len = (size_t)snprintf(out, room, "+0000");
	else
		*len = strftime(out, room, one, parts);
	return 2;
}

size_t mesh_date_format(char text[MESH_DATE_BYTES], uint64_t ns, struct mesh_slice form)
{
	time_t seconds = (time_t)(ns / 1000000000);
	size_t len = 0, more;
	struct tm parts;

	if (!gmtime_r(&seconds, &parts))
		return 0;
	for (size_t i = 0; i < form.len && len + 32 < MESH_DATE_BYTES;) {
		if (form.data[i] != '%') {
			text[len++] = form.data[i++];
			continue;
		}
		i += convert(mesh_slice_make(form.data + i, form.len - i), &parts, ns, text + len, MESH_DATE_BYTES - len, &more);
		len += more < MESH_DATE_BYTES - len ? more : 0;
	}
	return len;
}
