#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A DNS server that knows one name, and can be told to fail.

    scripted_dns.py CONTROL NAME ADDRESS..      answers on UDP port 53 with those addresses, TTL 1 s

It takes orders on the port CONTROL. An order is a line, answered with "ok": "answer", "silence" (no answer at all) or
"fail" (SERVFAIL). Of other names it says that there are none.
"""

import asyncio
import socket
import struct
import sys

TYPE_A, TTL_S = 1, 1
NO_ERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def question(packet):
    """(name, type, bytes of the question) of a query."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), struct.unpack_from("!H", packet, at + 1)[0], packet[12:at + 5]


class Resolver(asyncio.DatagramProtocol):
    def __init__(self, name, addresses):
        self.name = name
        self.addresses = [socket.inet_aton(address) for address in addresses]
        self.word = "answer"
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, packet, peer):
        if self.word == "silence":
            return
        name, kind, asked = question(packet)
        code, records = NO_ERROR, []
        if self.word == "fail":
            code = SERVFAIL
        elif name != self.name:
            code = NXDOMAIN
        elif kind == TYPE_A:
            records = self.addresses
        head = packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", TYPE_A, 1, TTL_S, 4) + record for record in records)
        self.transport.sendto(head + asked + body, peer)


async def main(control, name, *addresses):
    resolver = Resolver(name, addresses)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: resolver, ("0.0.0.0", 53))

    async def orders(reader, writer):
        while line := await reader.readline():
            resolver.word = line.decode().strip()
            writer.write(b"ok\n")
        writer.close()
    async with await asyncio.start_server(orders, "0.0.0.0", int(control)) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
