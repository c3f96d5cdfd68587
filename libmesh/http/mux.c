/* SPDX-License-Identifier: Apache-2.0 */
/* What all muxes have in common: the bounds in force where configuration says nothing, as Envoy has them. */
#include "http/mux.h"

const struct mux_limits mesh_mux_limits_default = {
	.head_bytes_max = 60 * 1024,
	.header_count_max = 100,
	.send_bytes_max = 64 * 1024,
};
