# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as an application beside a sidecar sends it, to the byte: nothing is added, changed or put right."""

HEAD_BYTES_MAX = 262144


class Connection:
    """A connection that is kept, and made again when the other side has closed it. `connect` makes a socket."""

    def __init__(self, connect):
        self._connect = connect
        self._socket = None
        self._stream = None

    def close(self):
        if self._socket is not None:
            self._stream.close()
            self._socket.close()
            self._socket = None

    def ask(self, request):
        """The answer {"status", "headers", "answered"}; {"status": 0} when there was none."""
        fresh = self._socket is None
        try:
            return self._ask(request)
        except (OSError, ValueError) as error:
            self.close()
            if fresh:
                return {"status": 0, "headers": [], "flag": "?", "why": str(error)}
        return self.ask(request)

    def _ask(self, request):
        if self._socket is None:
            self._socket = self._connect()
            self._stream = self._socket.makefile("rb")
        self._socket.sendall(self._bytes(request))
        status, headers = self._head()
        while 100 <= status < 200 and status != 101:
            status, headers = self._head()
        body = self._body(request["method"], status, headers)
        if any(name == "connection" and "close" in value.lower() for name, value in headers):
            self.close()
        return {"status": status, "headers": headers, "body_bytes": len(body), "body": body[:200].decode("latin-1")}

    @staticmethod
    def _bytes(request):
        body = request["body"].encode("latin-1")
        lines = [f"{request['method']} {request['path']} HTTP/1.1", f"Host: {request['authority']}"]
        lines += [f"{name}: {value}" for name, value in request["headers"]]
        if body or request["method"] in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _head(self):
        first = self._stream.readline(HEAD_BYTES_MAX).decode("latin-1")
        if not first.startswith("HTTP/1."):
            raise ValueError("the connection was closed" if not first else f"not HTTP: {first[:80]}")
        headers = []
        while True:
            line = self._stream.readline(HEAD_BYTES_MAX).decode("latin-1").rstrip("\r\n")
            if not line:
                return int(first.split(" ")[1]), headers
            name, _, value = line.partition(":")
            headers.append([name.lower(), value.strip(" \t")])

    def _body(self, method, status, headers):
        fields = dict(headers)
        if method == "HEAD" or status in (204, 304):
            return b""
        if "chunked" in fields.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int(self._stream.readline(), 16)
                body += self._stream.read(size)
                self._stream.readline()
                if not size:
                    return body
        return self._stream.read(int(fields.get("content-length", 0)))
