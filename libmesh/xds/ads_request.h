/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the control plane, for ads.c alone. NOMEM, or what `send` returns. */
#ifndef MESH_XDS_ADS_REQUEST_H
#define MESH_XDS_ADS_REQUEST_H

#include "xds/ads.h"

/* Asks for what is wanted and was not asked for, and not for the rest any more; nothing where that is the same. */
int mesh_ads_subscribe(struct ads *ads, enum xds_type type, const struct ads_names *wanted);
/* The last response was taken or, with ads->rejects, refused. */
int mesh_ads_answer(struct ads *ads, enum xds_type type);

#endif
