/* SPDX-License-Identifier: Apache-2.0 */
/* Numeric addresses and their text; no name is ever looked up. */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>

#include <mesh/error.h>

int mesh_address_parse(struct address *address, struct mesh_slice ip, uint16_t port)
{
	char text[INET6_ADDRSTRLEN];

	memset(address, 0, sizeof(*address));
	if (ip.len >= 2 && ip.data[0] == '[' && ip.data[ip.len - 1] == ']') {
		ip.data++;
		ip.len -= 2;
	}
	if (!ip.len || ip.len >= sizeof(text) || memchr(ip.data, '\0', ip.len))
		return MESH_ERROR_INVALID;
	memcpy(text, ip.data, ip.len);
	text[ip.len] = '\0';
	if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = htons(port);
		address->len = sizeof(address->v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = htons(port);
		address->len = sizeof(address->v6);
		return 0;
	}
	return MESH_ERROR_INVALID;
}

uint16_t mesh_address_port(const struct address *address)
{
	return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

void mesh_address_set_port(struct address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET6)
		address->v6.sin6_port = htons(port);
	else
		address->v4.sin_port = htons(port);
}

/* On the path of every call: an IPv4 address is written by hand. */
static size_t write_v4(const struct address *address, char *text)
{
	uint32_t ip = ntohl(address->v4.sin_addr.s_addr);
	unsigned parts[5] = {ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, ntohs(address->v4.sin_port)};
	char *at = text;

	for (unsigned i = 0; i < 5; i++) {
		char digits[5], *digit = digits + sizeof(digits);

		if (i)
			*at++ = i == 4 ? ':' : '.';
		do {
			*--digit = (char)('0' + parts[i] % 10);
			parts[i] /= 10;
		} while (parts[i]);
		while (digit < digits + sizeof(digits))
			*at++ = *digit++;
	}
	*at = '\0';
	return (size_t)(at - text);
}

size_t mesh_address_text(const struct address *address, char text[MESH_ADDRESS_TEXT_BYTES])
{
	char ip[INET6_ADDRSTRLEN];
	int len;

	if (!address->len) {
		text[0] = '\0';
		return 0;
	}
	if (address->any.sa_family == AF_INET)
		return write_v4(address, text);
	inet_ntop(AF_INET6, &address->v6.sin6_addr, ip, sizeof(ip));
	len = snprintf(text, MESH_ADDRESS_TEXT_BYTES, "[%s]:%u", ip, ntohs(address->v6.sin6_port));
	return len < 0 ? 0 : (size_t)len;
}

bool mesh_address_equal(const struct address *a, const struct address *b)
{
	if (a->len != b->len)
		return false;
	if (!a->len)
		return true;
	if (a->any.sa_family != b->any.sa_family || mesh_address_port(a) != mesh_address_port(b))
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr));
}

bool mesh_address_split(struct mesh_slice text, struct mesh_slice *host, uint16_t *port)
{
	ptrdiff_t colon = mesh_slice_find_last(text, ':');
	struct address ip;
	uint64_t number;

	if (colon <= 0 || !mesh_slice_to_u64(mesh_slice_make(text.data + colon + 1, text.len - (size_t)colon - 1), &number))
		return false;
	*host = mesh_slice_make(text.data, (size_t)colon);
	*port = (uint16_t)number;
	if (!number || number > 65535)
		return false;
	if (host->len > 2 && host->data[0] == '[' && host->data[host->len - 1] == ']') {
		*host = mesh_slice_make(host->data + 1, host->len - 2);
		return !mesh_address_parse(&ip, *host, 0);
	}
	for (size_t i = 0; i < host->len; i++)
		if (host->data[i] <= ' ' || host->data[i] >= 0x7f || strchr(":/[]%?#@", host->data[i]))
			return false;
	return true;
}
