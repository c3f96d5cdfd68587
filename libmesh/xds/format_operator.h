/* SPDX-License-Identifier: Apache-2.0 */
/* The command operators that Envoy knows, and what each stands for here. */
#ifndef MESH_XDS_FORMAT_OPERATOR_H
#define MESH_XDS_FORMAT_OPERATOR_H

#include "config/format.h"

enum format_parameters { PARAMETERS_NONE, PARAMETERS_OPTIONAL, PARAMETERS_REQUIRED };

struct format_operator {
	const char *name;
	enum format_op op;
	enum format_parameters parameters;
	bool length; /* may be cut: ":10" */
};

const struct format_operator *mesh_format_operator(struct mesh_slice name); /* NULL: there is none of that name */

#endif
