/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-message: UTF-8 with what is not printable ASCII, and "%", as %XX. */
#ifndef MESH_GRPC_WORDS_H
#define MESH_GRPC_WORDS_H

#include "base/arena.h"

/* The slice itself where nothing has to change. NOMEM. */
int mesh_grpc_words_encode(struct arena *arena, struct mesh_slice words, struct mesh_slice *text);
/* Never refuses: what is no escape stays as it is, as a message is better read badly than lost. NOMEM. */
int mesh_grpc_words_decode(struct arena *arena, struct mesh_slice text, struct mesh_slice *words);

#endif
