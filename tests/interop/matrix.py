# SPDX-License-Identifier: Apache-2.0
"""The peers of the matrix, started once for all of its cases, and the table of its cells.

Decides which pods there are and what runs in them. Refuses to know how a protocol is spoken (drivers.py) and what a
mode of PeerAuthentication makes of a cell (test_matrix.py).
"""

import pathlib

import netns
from control_plane import peer_paths
from harness import JOIN_SECONDS, curl, eventually, grpc_program, lab_program, pod_manifest, program
from process import LabError
from sidecar import Sidecar

# The same ports and names at every server. A name tells Istio the protocol; "auto" tells it nothing.
PORTS = {"http": 8080, "http2": 8081, "grpc": 8082, "grpc-echo": 8083, "auto": 8090, "tcp": 9000, "tcp-first": 9001,
         "http-mirror": 8100, "http2-mirror": 8101}
HERE = pathlib.Path(__file__).resolve().parent
TCP_PEER = HERE / "tcp_peer.py"

LIBMESH, ENVOY, NONE = "libmesh", "Envoy sidecar", "no mesh"
SERVERS = {LIBMESH: "inner", ENVOY: "side", NONE: "plain"}  # service, app and account; the pod is <name>-1
CLIENTS = {LIBMESH: "client", ENVOY: "side-1", NONE: "outside"}
DIRECTIONS = ((LIBMESH, ENVOY), (ENVOY, LIBMESH), (LIBMESH, LIBMESH), (NONE, LIBMESH), (LIBMESH, NONE))
MODES = ("STRICT", "PERMISSIVE", "DISABLE")


def service(name):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"selector": {"app": name}, "ports": [
                {"name": port, "port": number, "targetPort": number} for port, number in PORTS.items()]}}


class Matrix:
    """What all cases with real peers share. `of(lab)` starts it when the first of them asks."""

    def __init__(self, lab):
        self.lab = lab
        self.servers = {kind: lab.pods[name + "-1"] for kind, name in SERVERS.items()}
        self.clients = {kind: lab.pods[name] for kind, name in CLIENTS.items()}
        self.sidecar = Sidecar(lab.pods["side-1"])
        self.mirror = None  # the process that sends back what it gets
        self.cells = {}

    @classmethod
    def of(cls, lab):
        if lab.matrix is None:
            lab.start_upstream_istiod()
            for kind, name in SERVERS.items():
                pod = pod_manifest(name + "-1", name, in_mesh=kind != NONE)
                pod["spec"]["containers"][0]["ports"] = [
                    {"name": port, "containerPort": number} for port, number in PORTS.items()]
                lab.apply([service(name), pod])
            lab.matrix = cls(lab)
            lab.matrix.start()
        return lab.matrix

    def start(self):
        for kind in (ENVOY, NONE):
            self._start_plain_servers(self.servers[kind])
        self._start_mesh_servers(self.servers[LIBMESH])
        self.sidecar.start()
        for kind, pod in self.servers.items():
            eventually(lambda pod=pod: not set(PORTS.values()) - netns.listening(pod.netns), f"all {kind} servers listen",
                       JOIN_SECONDS)
            eventually(lambda pod=pod: curl(self.clients[NONE], target=pod)[1] == 200, f"{kind} server serves",
                       JOIN_SECONDS)

    def _start_plain_servers(self, pod):
        """Istio's echo application, grpc-go's interop server, and an echo of bytes: none of them knows a mesh."""
        paths = peer_paths()
        name = pod.name
        pod.start([paths["ECHO_SERVER"], "--port", str(PORTS["http"]), "--port", str(PORTS["http2"]), "--port",
                   str(PORTS["auto"]), "--grpc", str(PORTS["grpc-echo"]), "--tcp", "9090", "--version", "v1"],
                  f"istio-echo-{name}", env={"INSTANCE_IP": pod.address, "NAMESPACE": "default"})
        pod.start([paths["GRPC_INTEROP_SERVER"], "--port", str(PORTS["grpc"])], f"grpc-interop-{name}")
        pod.start([HERE / "http_mirror.py", str(PORTS["http-mirror"])], f"http-mirror-{name}")
        pod.start(["nghttpd", "--no-tls", "--echo-upload", "-m", "2000", str(PORTS["http2-mirror"])],
                  f"http2-mirror-{name}")
        pod.start([TCP_PEER, "serve", str(PORTS["tcp"])], f"tcp-{name}")
        pod.start([TCP_PEER, "serve", str(PORTS["tcp-first"]), "--first"], f"tcp-first-{name}")

    def _start_mesh_servers(self, pod):
        for port in ("http", "http2"):
            pod.start([program("echo"), "--port", str(PORTS[port]), "--name", pod.name], f"{pod.name}-{port}")
        mirrored = [str(PORTS[port]) for port in ("auto", "http-mirror", "http2-mirror", "tcp")]
        self.mirror = pod.start([lab_program("mirror"), pod.name, *mirrored,
                                 f"{PORTS['tcp-first']}:first"], f"{pod.name}-mirror")

        pod.start([lab_program("grpcecho"), "serve", str(PORTS["grpc-echo"])], f"{pod.name}-grpc-echo")
        pod.start([grpc_program("server"), "--port", str(PORTS["grpc"])], f"{pod.name}-grpc")

    # ---- the table

    def note(self, mode, direction, protocol, word):
        self.cells[mode, direction, protocol] = word

    def table(self, protocols):
        """One row for each mode and direction, as lines of text."""
        arrows = {direction: " -> ".join(direction) for direction in DIRECTIONS}
        first = max(len(mode) for mode in MODES) + 2
        second = max(map(len, arrows.values())) + 2
        widths = [max(len(protocol), len("refused")) + 2 for protocol in protocols]

        def line(mode, arrow, words):
            cells = "".join(word.ljust(width) for word, width in zip(words, widths))
            return (mode.ljust(first) + arrow.ljust(second) + cells).rstrip()
        yield line("", "", protocols)
        for mode in MODES:
            for direction, arrow in arrows.items():
                yield line(mode, arrow, [self.cells.get((mode, direction, protocol), "-") for protocol in protocols])

    def check_accepted(self):
        """Envoy has taken all that the istiod of its own has sent."""
        rejected = self.sidecar.stats("update_rejected")
        if any(rejected.values()):
            raise LabError(f"Envoy has refused what istiod sent: {rejected}")
