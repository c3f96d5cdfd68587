/* SPDX-License-Identifier: Apache-2.0 */
#include <mesh/version.h>

MESH_EXPORT const char *mesh_version(void)
{
	return MESH_VERSION;
}
