/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator that counts how often it was asked, and gives the C library's memory. */
#ifndef MESH_TESTS_SUPPORT_COUNTED_MEM_H
#define MESH_TESTS_SUPPORT_COUNTED_MEM_H

#include <stdatomic.h>

#include "base/mem.h"

/* Each block asked for and each resizing adds one to *count, from any thread. */
struct mesh_mem counted_mem(atomic_ulong *count);

#endif
