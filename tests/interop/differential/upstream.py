#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The upstreams of the differential test: plain HTTP/1.1 on many ports, which record every request that arrives.

    upstream.py CONTROL_PORT FIRST_PORT COUNT [PORT..]

A request tells by x-fail how its first arrivals end: "503*2" the first two are answered 503, "reset*1" the first finds
its connection closed amid the answer's first line, "close*1" before it, "slow*1" the first is answered after 600 ms.
Counted by client and x-case, so that both clients meet the same. Each line written to the control port, whatever it
says, is answered with what arrived since the last, as one line of JSON. It decides nothing else and knows no mesh.
"""

import asyncio
import hashlib
import json
import sys

SLOW_SECONDS = 0.6
HEAD_BYTES_MAX = 65536
# What every answer carries, for the configuration to change: see generator.RESPONSE_HEADERS.
HEADERS = b"x-up-one: 1\r\nx-up-two: a\r\nx-up-two: b\r\nserver: upstream\r\n"


class Records:
    def __init__(self):
        self.arrivals = []
        self.seen = {}

    def add(self, **arrival):
        self.arrivals.append(arrival)

    def count(self, key):
        self.seen[key] = self.seen.get(key, 0) + 1
        return self.seen[key]

    def take(self):
        taken, self.arrivals = self.arrivals, []
        return taken


def parse(head):
    """(method, path, [[name, value]..]) of a request's head."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    path = rest.rpartition(" ")[0]
    headers = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            headers.append([name.lower(), value.strip(" \t")])
    return method, path, headers


def value_of(headers, name):
    return next((value for key, value in headers if key == name), "")


async def read_body(reader, headers):
    if "chunked" in value_of(headers, "transfer-encoding"):
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if not size:
                return body
    return await reader.readexactly(int(value_of(headers, "content-length") or 0))


def fate(records, client, port, headers):
    """How this arrival ends: "" well, or the word of x-fail."""
    word, _, times = value_of(headers, "x-fail").partition("*")
    # A mirrored copy must not use up a failure of the request itself.
    kind = "shadow" if "-shadow" in value_of(headers, "host") else "main"
    count = records.count((client, value_of(headers, "x-case"), kind))
    return word if word and count <= int(times or 1) else ""


async def serve(records, port, reader, writer):
    client = writer.get_extra_info("peername")[0]
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, headers = parse(head)
            body = await read_body(reader, headers)
            records.add(client=client, port=port, method=method, path=path, headers=headers,
                        body=hashlib.sha256(body).hexdigest()[:16] if body else "")
            word = fate(records, client, port, headers)
            if word in ("reset", "close"):
                writer.write(b"HTTP/1.1 " if word == "reset" else b"")
                return
            if word == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            status = int(word) if word.isdigit() else 200
            text = b"" if method == "HEAD" else f"port {port}\n".encode()
            writer.write(b"HTTP/1.1 %d Said\r\n%scontent-length: %d\r\n\r\n%s" % (status, HEADERS, len(text), text))
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def control(records, reader, writer):
    while await reader.readline():
        writer.write(json.dumps(records.take()).encode() + b"\n")
        await writer.drain()
    writer.close()


async def main():
    control_port, first, count, *more = map(int, sys.argv[1:])
    records = Records()
    for port in [*range(first, first + count), *more]:
        await asyncio.start_server(lambda r, w, port=port: serve(records, port, r, w), "0.0.0.0", port,
                                   limit=HEAD_BYTES_MAX)
    server = await asyncio.start_server(lambda r, w: control(records, r, w), "127.0.0.1", control_port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
