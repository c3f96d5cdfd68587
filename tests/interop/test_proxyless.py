# SPDX-License-Identifier: Apache-2.0
"""Do libmesh and grpc-go with proxyless xDS, as Istio supports it, reach each other over gRPC?"""

import json
import re

from control_plane import peer_paths
from drivers import run
from harness import JOIN_SECONDS, NETWORKING, eventually, lab_program, peer_authentication, pod_manifest, policy
from harness import service_manifest
from matrix import ENVOY, LIBMESH, NONE, PORTS
from sidecar import Proxyless
from test_peers import PeerCase

PORT = PORTS["grpc-echo"]


def mutual(service):
    """Proxyless gRPC speaks mutual TLS where a DestinationRule says so, never by itself."""
    return policy("DestinationRule", NETWORKING, service, {
        "host": f"{service}.default.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}})


class GrpcCase(PeerCase):

    def words_of(self, target):
        code, out, err = run(self.client, [lab_program("grpcecho"), "call", f"{target}:{PORT}", "some words"])
        self.assertEqual(code, 0, out + err)
        told = json.loads(out)
        self.assertIn("Echo=some words\n", told["message"])
        return told


class GrpcEcho(GrpcCase):
    """Istio's gRPC application and libmesh's of the same service, with stubs of protobuf-c."""

    def test_libmesh_calls(self):
        for kind, target in ((LIBMESH, "inner"), (ENVOY, "side"), (NONE, "plain")):
            with self.subTest(kind):
                told = self.words_of(target)
                self.assertEqual(told["peer_identity"], self.peers.servers[kind].identity if kind != NONE else "")
                if kind == ENVOY:
                    self.assertIn("URI=" + self.client.identity, told["message"])
                if kind == LIBMESH:
                    self.assertIn(f"Peer={self.client.identity}\n", told["message"])

    def test_libmesh_is_called(self):
        for kind, target in ((ENVOY, "inner"), (NONE, self.peers.servers[LIBMESH].address)):
            with self.subTest(kind):
                pod = self.peers.clients[kind]
                code, out, err = run(pod, [peer_paths()["ECHO_CLIENT"], f"grpc://{target}:{PORT}", "--count", "5"])
                self.assertEqual(code, 0, out + err)
                self.assertIn("All 5 requests succeeded", out)
                self.assertEqual(set(re.findall(r"Peer=(.*)", out)), {pod.identity if kind == ENVOY else ""})


class ProxylessGrpc(GrpcCase):
    """Each in a pod of its own: an agent carries the stream of one program."""

    def setUp(self):
        super().setUp()
        server = service_manifest("bare", PORT, protocol="grpc")
        objects = [server, pod_manifest("bare-1", "bare", port=PORT), pod_manifest("bare-client", "bare-client")]
        self.addCleanup(self.lab.delete, objects)
        self.addCleanup(self.clear_policies)
        self.apply(*objects)
        self.caller = self.lab.pods["bare-client"]

    def call_by_xds(self, target):
        """Istio's client through grpc-go's xDS resolver: what it printed, None when its call failed."""
        code, out, _ = run(self.caller, [peer_paths()["ECHO_CLIENT"], f"xds:///{target}.default.svc.cluster.local:{PORT}",
                                         "--timeout", "8s"], env=Proxyless.environment)
        return out if code == 0 else None

    def test_client(self):
        """In plaintext by itself; with mutual TLS under STRICT; and what PERMISSIVE makes of it, as Envoy does too."""
        Proxyless(self.caller).start()
        self.assertIn("Peer=\n", eventually(lambda: self.call_by_xds("inner"), "a call in plaintext", JOIN_SECONDS))
        self.apply(mutual("inner"), mutual("side"))
        # PERMISSIVE takes only TLS that names Istio's protocols for the mesh's, and gRPC names "h2" alone.
        eventually(lambda: self.call_by_xds("inner") is None, "PERMISSIVE passes it for TLS of others")
        self.assertIsNone(self.call_by_xds("side"), "Envoy does the same")
        self.apply(peer_authentication("STRICT"))
        out = eventually(lambda: self.call_by_xds("inner"), "a call with mutual TLS")
        self.assertIn(f"Peer={self.caller.identity}\n", out)

    def test_server(self):
        """grpc-go serves by xDS with mutual TLS, and sees who libmesh is."""
        server = self.lab.pods["bare-1"]
        Proxyless(server).start()
        server.start([peer_paths()["ECHO_SERVER"], "--port", "18080", "--grpc", str(PORT), "--xds-grpc-server", str(PORT),
                      "--tcp", "19090", "--version", "v1"], "bare-echo",
                     env={**Proxyless.environment, "INSTANCE_IP": server.address})

        def reached():
            try:
                return self.words_of("bare")
            except AssertionError:
                return None
        told = eventually(reached, "grpc-go answers", JOIN_SECONDS)
        self.assertEqual(told["peer_identity"], server.identity)
        self.apply(peer_authentication("STRICT"))
        eventually(lambda: self.words_of("bare"), "grpc-go answers under STRICT")
        code, out, _ = run(self.outside, [peer_paths()["ECHO_CLIENT"], f"grpc://{server.address}:{PORT}", "--timeout", "3s"])
        self.assertNotEqual(code, 0, out)
