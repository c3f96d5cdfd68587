#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many HTTP/1.1 servers in one process, each on a port of its own and each as good or bad as it was told to be.

    scripted_servers.py CONTROL FIRST COUNT      listens on FIRST .. FIRST+COUNT-1; takes orders on the port CONTROL

An order is a line "PORT WORD", answered with "ok" once it is in force; WORD is one of

    good          answers at once            503        answers 503
    hang          takes requests, never answers          slow=MS    answers after so many milliseconds
    dead          refuses connections, and has reset those it had
"""

import asyncio
import socket
import struct
import sys

ANSWER = "HTTP/1.1 {} OK\r\nContent-Length: 0\r\nx-server: {}\r\n\r\n"


class Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.transport = None
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, error):
        self.server.connections.discard(self)

    def data_received(self, data):
        *requests, self.rest = (self.rest + data).split(b"\r\n\r\n")  # none of them has a body
        for _ in requests:
            self.answer()

    def answer(self):
        word, _, number = self.server.word.partition("=")
        if word == "hang":
            return
        text = ANSWER.format(503 if word == "503" else 200, self.server.port).encode()
        if word == "slow":
            asyncio.get_running_loop().call_later(int(number) / 1000, self.transport.write, text)
        else:
            self.transport.write(text)

    def reset(self):
        # a linger of 0 seconds makes the close a reset
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Server:
    def __init__(self, port):
        self.port = port
        self.word = "dead"
        self.connections = set()
        self.listening = None

    async def become(self, word):
        if word == "dead":
            if self.listening:
                self.listening.close()
                self.listening = None
            for connection in list(self.connections):
                connection.reset()
        elif self.listening is None:
            self.listening = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), "0.0.0.0", self.port, backlog=256, reuse_address=True)
        self.word = word


async def main(control, first, count):
    servers = {port: Server(port) for port in range(first, first + count)}
    for server in servers.values():
        await server.become("good")

    async def orders(reader, writer):
        while line := await reader.readline():
            port, word = line.decode().split()
            await servers[int(port)].become(word)
            writer.write(b"ok\n")
        writer.close()
    async with await asyncio.start_server(orders, "0.0.0.0", control) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
