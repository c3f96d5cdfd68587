/* SPDX-License-Identifier: Apache-2.0 */
/* The services behind the server's methods. Each owns the call it is given. */
#ifndef CP_SERVICES_H
#define CP_SERVICES_H

#include "server.h"

void cp_ads_start(struct cp_server *server, grpc_call *grpc, const struct cp_caller *caller, bool delta);
void cp_ads_push(struct cp_server *server); /* after the catalog changed */
void cp_csr_start(struct cp_server *server, grpc_call *grpc, const struct cp_caller *caller);

#endif
