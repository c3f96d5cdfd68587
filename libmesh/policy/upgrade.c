/* SPDX-License-Identifier: Apache-2.0 */
/* Decides which requests may change to another protocol. Refuses to know how that is done. */
#include "policy/upgrade.h"

bool mesh_upgrade_allowed(const struct http_config *http, const struct route *route, struct mesh_slice protocol)
{
	for (size_t i = 0; i < http->closed_upgrade_count; i++)
		if (mesh_slice_equal_fold(http->closed_upgrades[i], protocol))
			return false;
	for (size_t i = 0; route && i < route->upgrade_count; i++)
		if (mesh_slice_equal_fold(route->upgrades[i].protocol, protocol))
			return route->upgrades[i].allowed;
	for (size_t i = 0; i < http->upgrade_count; i++)
		if (mesh_slice_equal_fold(http->upgrades[i], protocol))
			return true;
	return false;
}
