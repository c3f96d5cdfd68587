/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a SPIFFE id apart; strict about the scheme and the trust domain, as the SPIFFE standard writes them. */
#include "net/spiffe.h"

static bool domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

bool mesh_spiffe_parse(struct mesh_slice uri, struct spiffe *spiffe)
{
	struct mesh_slice rest = uri, segment[5];
	size_t count = 0;

	memset(spiffe, 0, sizeof(*spiffe));
	if (!mesh_slice_prefix(rest, MESH_SLICE("spiffe://")) || rest.len > 2048)
		return false;
	rest.data += 9;
	rest.len -= 9;
	while (rest.data && count < 5)
		segment[count++] = mesh_slice_cut(&rest, '/');
	if (rest.data || !segment[0].len)
		return false;
	for (size_t i = 0; i < segment[0].len; i++)
		if (!domain_char(segment[0].data[i]))
			return false;
	for (size_t i = 1; i < count; i++)
		if (!segment[i].len)
			return false;
	spiffe->trust_domain = segment[0];
	if (count == 5 && mesh_slice_equal(segment[1], MESH_SLICE("ns")) && mesh_slice_equal(segment[3], MESH_SLICE("sa"))) {
		spiffe->ns = segment[2];
		spiffe->service_account = segment[4];
	}
	return true;
}
