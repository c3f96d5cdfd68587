/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that insists on being wiped: a block given back, or moved, with a private key or the secret in it ends the program. */
#ifndef TESTS_SUPPORT_WIPED_MEM_H
#define TESTS_SUPPORT_WIPED_MEM_H

#include "base/mem.h"

#define WIPED_MEM_SECRET "sesame-open" /* use it in tokens */

extern const struct mesh_mem wiped_mem;

#endif
