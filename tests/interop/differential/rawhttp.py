# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 and HTTP/2 as an application beside a sidecar sends it, to the byte: nothing is added, changed or put
right."""

import h2.config
import h2.connection
import h2.events
import h2.exceptions

HEAD_BYTES_MAX = 262144
BODY_TOLD = 8192


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
        # Envoy sends the body of its own answer behind a 204 all the same: nothing can be asked on that connection any
        # more.
        if status == 204 or any(name == "connection" and "close" in value.lower() for name, value in headers):
            self.close()
        return {"status": status, "headers": headers, "body_bytes": len(body),
                "body": body[:BODY_TOLD].decode("latin-1")}

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


class Connection2:
    """The same over HTTP/2 without TLS, by prior knowledge: one request at a time."""

    SETTINGS = h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
                                         normalize_outbound_headers=False)

    def __init__(self, connect):
        self._connect = connect
        self._socket = None
        self._state = None

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, request):
        fresh = self._socket is None
        try:
            return self._ask(request)
        except (OSError, ValueError, h2.exceptions.ProtocolError) as error:
            self.close()
            if fresh:
                return {"status": 0, "headers": [], "flag": "?", "why": str(error)}
        return self.ask(request)

    def _ask(self, request):
        if self._socket is None:
            self._socket = self._connect()
            self._state = h2.connection.H2Connection(self.SETTINGS)
            self._state.initiate_connection()
        body = request["body"].encode("latin-1")
        headers = [(":method", request["method"]), (":scheme", "http"), (":authority", request["authority"]),
                   (":path", request["path"]), *((name.lower(), value) for name, value in request["headers"])]
        if body or request["method"] in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(body))))
        stream = self._state.get_next_available_stream_id()
        self._state.send_headers(stream, headers, end_stream=not body)
        if body:
            self._state.send_data(stream, body, end_stream=True)
        self._socket.sendall(self._state.data_to_send())
        return self._answer(stream)

    def _answer(self, stream):
        headers, body, ended = [], b"", False
        while not ended:
            data = self._socket.recv(65536)
            if not data:
                raise ValueError("the connection was closed")
            for event in self._state.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise ValueError("the connection was given up")
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.StreamReset):
                    raise ValueError("the stream was reset")
                if isinstance(event, h2.events.ResponseReceived):
                    headers = event.headers
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self._state.acknowledge_received_data(event.flow_controlled_length, stream)
                ended = ended or isinstance(event, h2.events.StreamEnded)
            self._socket.sendall(self._state.data_to_send())
        fields = dict(headers)
        body = b"" if fields[":status"] == "204" else body  # see Connection; no client takes it for one
        return {"status": int(fields[":status"]), "headers": [[name, value] for name, value in headers
                                                              if name[0] != ":"],
                "body_bytes": len(body), "body": body[:BODY_TOLD].decode("latin-1")}
