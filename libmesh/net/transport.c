/* SPDX-License-Identifier: Apache-2.0 */
/* What all transports have in common: their end. */
#include "net/transport.h"

#include <unistd.h>

void mesh_transport_free(struct transport *transport)
{
	if (!transport)
		return;
	transport->ops->destroy(transport);
	if (transport->fd >= 0)
		close(transport->fd);
	mesh_arena_free(&transport->arena);
	mesh_mem_free(transport->mem, transport);
}
