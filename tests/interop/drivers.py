# SPDX-License-Identifier: Apache-2.0
"""How each kind of client speaks each protocol to each kind of server; what it and the server saw of the other.

A driver is called with (matrix, client kind, server kind) and returns Seen, or raises Refused when the connection was
turned away without one byte of an answer. Anything else is a failure, and told as AssertionError.
"""

import json
import re
import subprocess

from control_plane import peer_paths
from harness import call, grpc_program, lab_program
from matrix import LIBMESH, NONE, PORTS, SERVERS, TCP_PEER


class Refused(Exception):
    """Not one byte was answered: `word` is "refused" when the connection was closed or reset, "silent" when it stayed."""

    def __init__(self, word, reason):
        super().__init__(reason)
        self.word = word


class Seen:
    """Who was at the other end, as far as an end can tell: None for what it cannot, "" for nobody verified."""

    def __init__(self, by_client=None, by_server=None, protocol=None):
        self.by_client = by_client
        self.by_server = by_server
        self.protocol = protocol

    def __repr__(self):
        return f"client saw {self.by_client!r}, server saw {self.by_server!r}, {self.protocol}"


def address_of(matrix, client, server):
    """Where a client connects: a service of the mesh by its name, or past the mesh to the pod."""
    return matrix.servers[server].address if client == NONE else SERVERS[server]


def run(pod, argv, seconds=20, env=None):
    """Runs a program in a pod to its end: (exit status, standard output, standard error)."""
    done = subprocess.run(pod.command(argv), env=pod.environment(env), capture_output=True, text=True, timeout=seconds,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def identity_in(body):
    """The client's identity as an HTTP server describes it: mesh-echo in JSON, Istio's echo by the header it got."""
    if body.startswith("{"):
        return json.loads(body)["peer_identity"]
    found = re.search(r"X-Forwarded-Client-Cert:(.*)", body)
    if not found:
        return ""
    uri = re.search(r"URI=([^;,\s]*)", found.group(1))
    return uri.group(1) if uri else found.group(1)


def http(port, http2=False):
    """The driver of an HTTP version, to the port of that name."""

    def by_mesh(matrix, server):
        options = ["--http2"] if http2 else []
        url = f"http://{SERVERS[server]}:{PORTS[port]}/"
        result = call(matrix.clients[LIBMESH], url, "--timeout-ms", "10000", *options)[0]
        if result["http_status"] != 200:
            raise AssertionError(f"mesh-call: {result}")
        return Seen(result["peer_identity"], identity_in(result["body"]), result["protocol"])

    def by_curl(matrix, client, server):
        argv = ["curl", "-sS", "--max-time", "8", "-w", "\n%{http_code} %{http_version} %{num_connects}",
                *(["--http2-prior-knowledge"] if http2 else ["--http1.1"]),
                f"http://{address_of(matrix, client, server)}:{PORTS[port]}/"]
        code, out, err = run(matrix.clients[client], argv)
        body, _, told = out.rpartition("\n")
        if client == NONE and code and told.startswith("000") and not body:
            raise Refused("refused", err)
        if code or not told.startswith("200 "):
            raise AssertionError(f"curl ended with {code}: {out} {err}")
        return Seen(None, identity_in(body), told.split()[1])

    def driver(matrix, client, server):
        return by_mesh(matrix, server) if client == LIBMESH else by_curl(matrix, client, server)
    return driver


def tcp(port, first=False):
    """The driver of TCP, to the port of that name; a greeting is awaited where the server speaks first."""

    def by_mesh(matrix, server):
        argv = [lab_program("stream"), f"{SERVERS[server]}:{PORTS[port]}", *(["first"] if first else [])]
        code, out, err = run(matrix.clients[LIBMESH], argv, 60)
        if code:
            raise AssertionError(f"lab-stream ended with {code}: {out} {err}")
        return Seen(json.loads(out)["peer_identity"])

    def by_socket(matrix, client, server):
        argv = [TCP_PEER, "call", *(["--first"] if first else []), "--seconds", "2" if client == NONE else "10",
                address_of(matrix, client, server),
                str(PORTS[port])]
        code, out, err = run(matrix.clients[client], argv)
        result = json.loads(out or "{}")
        if client == NONE and code == 1 and result["connected"] and not result["received"]:
            raise Refused("silent" if "timed out" in result["why"] else "refused", result["why"])
        if code:
            raise AssertionError(f"tcp_peer.py ended with {code}: {out} {err}")
        return Seen()

    def driver(matrix, client, server):
        return by_mesh(matrix, server) if client == LIBMESH else by_socket(matrix, client, server)
    return driver


# How grpc-go tells of a connection that ended before the server had said a word.
UNAVAILABLE = re.compile(r"code = Unavailable .*(server preface|broken pipe|connection reset|EOF)")


def grpc(case):
    """The driver of a case of gRPC's official interop suite: libmesh's own program of it, or grpc-go's."""

    def driver(matrix, client, server):
        port = PORTS["grpc"]
        if client == LIBMESH:
            code, out, err = run(matrix.clients[client], [grpc_program("client"), "--authority",
                                                          f"{SERVERS[server]}:{port}", case])
        else:
            code, out, err = run(matrix.clients[client], [
                peer_paths()["GRPC_INTEROP_CLIENT"], "--server_host", address_of(matrix, client, server),
                "--server_port", str(port), "--test_case", case])
        if client == NONE and code and UNAVAILABLE.search(err):
            raise Refused("refused", err)
        if code:
            raise AssertionError(f"{case} ended with {code}: {out} {err}")
        return Seen()
    return driver


PROTOCOLS = {
    "HTTP/1.1": http("http"),
    "HTTP/2": http("http2", http2=True),
    "gRPC unary": grpc("large_unary"),
    "gRPC bidi": grpc("ping_pong"),
    "TCP": tcp("tcp"),
    "TCP server-first": tcp("tcp-first", first=True),
}
