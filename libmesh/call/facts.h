/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a call, for text that routes put together from it. */
#ifndef MESH_CALL_FACTS_H
#define MESH_CALL_FACTS_H

#include "call/call.h"

/* For the `facts` of the rewrite that is in a call, and of that one alone. */
void mesh_facts_client(const struct rewrite *rewrite, struct format_facts *facts);
void mesh_facts_server(const struct rewrite *rewrite, struct format_facts *facts);

#endif
