#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server that knows no mesh and sends a request's body back while it comes: http_mirror.py PORT"""

import http.server
import sys

PIECE = 65536


class Mirror(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def pieces(self):
        """The request's body, piece by piece."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            left = int(self.headers.get("content-length") or 0)
            while left and (data := self.rfile.read1(min(left, PIECE))):
                left -= len(data)
                yield data
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def do_POST(self):
        # Envoy ends a connection whose response begins before the request is whole: a small one shall not suffer that.
        pieces = self.pieces()
        data = next(pieces, b"")
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            data = next(pieces, b"")
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    Server(("0.0.0.0", int(sys.argv[1])), Mirror).serve_forever()
