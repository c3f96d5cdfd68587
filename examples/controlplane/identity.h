/* SPDX-License-Identifier: Apache-2.0 */
/* Who a caller is: a Kubernetes service account. */
#ifndef CP_IDENTITY_H
#define CP_IDENTITY_H

#define CP_NAME_BYTES 254 /* a DNS name with its NUL */

struct cp_identity {
	char namespace_name[CP_NAME_BYTES];
	char account[CP_NAME_BYTES];
};

#endif
