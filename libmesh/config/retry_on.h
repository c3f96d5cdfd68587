/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a retry_on list, as bits of struct retry_config. */
#ifndef MESH_CONFIG_RETRY_ON_H
#define MESH_CONFIG_RETRY_ON_H

#include "base/slice.h"

/* The bit of one word ("connect-failure", "unavailable"); 0 when it is none of them. */
uint32_t mesh_retry_on_bit(struct mesh_slice word);
/* The word of one bit; NULL when it is none of theirs. */
const char *mesh_retry_on_word(uint32_t bit);

#endif
