#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of a plain TCP connection, for programs that know no mesh: an echo, and a client that checks it.

    tcp_peer.py serve PORT [--first]          echoes until the client's half-close, then ends its own half
    tcp_peer.py call HOST PORT [--first]      sends, half-closes, and compares; JSON on standard output

With --first the server speaks first: a greeting line, and the client sends nothing before it has it.
"""

import argparse
import json
import socket
import socketserver
import sys
import threading
import time

GREETING = b"220 the lab greets you\r\n"
BYTES = 300_000  # more than the socket buffers and windows on the way hold, so that both directions flow at once
SECONDS = 10


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        if self.server.first:
            self.request.sendall(GREETING)
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.shutdown(socket.SHUT_WR)


def serve(arguments):
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128
        first = arguments.first
    with Server(("0.0.0.0", arguments.port), Echo) as server:
        server.serve_forever()


def _read(connection, least):
    """At least so many bytes, fewer only at the end."""
    data = b""
    while len(data) < least and (more := connection.recv(65536)):
        data += more
    return data


def exchange(arguments):
    """What came of it: ok, or in `why` how far it went."""
    sent = bytes(index * 7 % 251 for index in range(BYTES))
    came, connected, began = b"", False, time.monotonic()
    try:
        with socket.create_connection((arguments.host, arguments.port), timeout=SECONDS) as connection:
            connected = True
            connection.settimeout(arguments.seconds)
            if arguments.first:
                came = _read(connection, len(GREETING))
                if came != GREETING:
                    return {"ok": False, "connected": True, "received": len(came), "why": "no greeting"}
            writer = threading.Thread(target=_send, args=(connection, sent), daemon=True)
            writer.start()
            came = _read(connection, BYTES + 1)
            writer.join(1)
    except OSError as error:
        seconds = round(time.monotonic() - began, 1)
        return {"ok": False, "connected": connected, "received": len(came), "why": f"{error} after {seconds} s"}
    return {"ok": came == sent, "connected": True, "received": len(came), "why": "" if came == sent else "not an echo"}


def _send(connection, data):
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the reader tells


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("serve", "call"):
        sub = commands.add_parser(name)
        if name == "call":
            sub.add_argument("host")
            sub.add_argument("--seconds", type=float, default=SECONDS)
        sub.add_argument("port", type=int)
        sub.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "serve":
        serve(arguments)
    result = exchange(arguments)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
