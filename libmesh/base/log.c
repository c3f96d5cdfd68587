/* SPDX-License-Identifier: Apache-2.0 */
/* Formats a line and hands it to the application's sink. What peers send must not forge lines: controls become '?'. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void mesh_log_write(const struct log *log, enum mesh_log_level level, const char *subject, const char *format, ...)
{
	char line[1024];
	va_list args;

	if (!log->sink)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	log->sink(log->user, level, subject, line);
}
