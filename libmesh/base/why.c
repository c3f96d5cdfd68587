/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the first words said about a failure: the deepest place knows best. */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>

int mesh_why(struct why *why, int error, const char *format, ...)
{
	va_list args;

	if (!why || why->text[0])
		return error;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return error;
}
