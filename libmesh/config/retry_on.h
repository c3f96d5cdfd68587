/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a retry_on list, as bits of struct retry_config. */
#ifndef MESH_CONFIG_RETRY_ON_H
#define MESH_CONFIG_RETRY_ON_H

#include "base/slice.h"

/* The bit of one word ("connect-failure", "unavailable"); 0 when it is none of them. */
uint32_t mesh_retry_on_bit(struct mesh_slice word);

#endif
