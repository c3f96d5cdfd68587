/* SPDX-License-Identifier: Apache-2.0 */
/* YAML read as JSON. */
#ifndef CP_YAML_JSON_H
#define CP_YAML_JSON_H

#include <jansson.h>

#include "base/slice.h"
#include "base/why.h"

/* An array with one element for each document that is not empty; NULL with "line N: .." in `why`. */
json_t *cp_yaml_load(struct mesh_slice text, struct why *why);

#endif
