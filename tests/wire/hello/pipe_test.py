#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TCP with programs and a control plane: pipe_test.py TOP BUILD. mesh-pipe as server and client join, find each other by
name and by address, tell each other who they are, and are refused where a policy says so."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

TOP, BUILD = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(TOP / "examples/hello"))

from embedded import EmbeddedMesh, Program  # noqa: E402

PIPE = BUILD / "examples/pipe/mesh-pipe"
SERVICE, VIP = "pipe.hello.svc.cluster.local", "10.99.0.7"
TYPE = "type.googleapis.com/"
EXCHANGE = {"name": "istio.metadata_exchange", "typedConfig": {
    "@type": TYPE + "udpa.type.v1.TypedStruct",
    "typeUrl": TYPE + "envoy.tcp.metadataexchange.config.MetadataExchange",
    "value": {"enable_discovery": True, "protocol": "istio-peer-exchange"}}}
SDS = {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"}


def tls(side, sans, **more):
    return {"name": "envoy.transport_sockets.tls", "typedConfig": {
        "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.{side}TlsContext", **more, "commonTlsContext": {
            "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_2", "tlsMaximumProtocolVersion": "TLSv1_3"},
            "alpnProtocols": ["istio-peer-exchange"] + (["istio"] if side == "Upstream" else ["h2", "http/1.1"]),
            "tlsCertificateSdsSecretConfigs": [{"name": "default", "sdsConfig": SDS}],
            "combinedValidationContext": {
                "defaultValidationContext": {"matchSubjectAltNames": [sans]},
                "validationContextSdsSecretConfig": {"name": "ROOTCA", "sdsConfig": SDS}}}}}


def tcp_proxy(cluster):
    return {"name": "envoy.filters.network.tcp_proxy", "typedConfig": {
        "@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "statPrefix": cluster, "cluster": cluster}}


def outbound(address, port):
    cluster = "outbound|9000||" + SERVICE
    return [
        {"@type": TYPE + "envoy.config.listener.v3.Listener", "name": VIP + "_9000", "trafficDirection": "OUTBOUND",
         "address": {"socketAddress": {"address": VIP, "portValue": 9000}}, "filterChains": [{"filters": [tcp_proxy(cluster)]}]},
        {"@type": TYPE + "envoy.config.cluster.v3.Cluster", "name": cluster, "type": "EDS", "connectTimeout": "2s",
         "edsClusterConfig": {"edsConfig": SDS}, "filters": [EXCHANGE], "transportSocketMatches": [
             {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transportSocket":
              tls("Upstream", {"exact": "spiffe://cluster.local/ns/hello/sa/pipe"}, sni=f"outbound_.9000_._.{SERVICE}")}]},
        {"@type": TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment", "clusterName": cluster, "endpoints": [
            {"locality": {}, "lbEndpoints": [{
                "endpoint": {"address": {"socketAddress": {"address": address, "portValue": port}}},
                "metadata": {"filterMetadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}}]}]},
    ]


def inbound(port):
    allow = {"name": "envoy.filters.network.rbac", "typedConfig": {
        "@type": TYPE + "envoy.extensions.filters.network.rbac.v3.RBAC", "statPrefix": "tcp.", "rules": {"policies": {
            "ns[hello]-policy[pipe]-rule[0]": {
                "permissions": [{"any": True}],
                "principals": [{"authenticated": {"principalName": {"exact": "spiffe://cluster.local/ns/hello/sa/client"}}}]}}}}}
    return [{
        "@type": TYPE + "envoy.config.listener.v3.Listener", "name": "virtualInbound", "trafficDirection": "INBOUND",
        "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 15006}},
        "listenerFilters": [
            {"name": "envoy.filters.listener.original_dst", "typedConfig": {
                "@type": TYPE + "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}},
            {"name": "envoy.filters.listener.tls_inspector", "typedConfig": {
                "@type": TYPE + "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}],
        "listenerFiltersTimeout": "0s", "continueOnListenerFiltersTimeout": True,
        "filterChains": [{
            "filterChainMatch": {"destinationPort": port, "transportProtocol": "tls"},
            "transportSocket": tls("Downstream", {"prefix": "spiffe://cluster.local/"}, requireClientCertificate=True),
            "filters": [EXCHANGE, allow, tcp_proxy(f"inbound|{port}||")]}]}]


def free_port():
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


class Pipes(unittest.TestCase):
    """One server in a mesh of its own, said to speak first or not."""

    first = ()

    def setUp(self):
        room = tempfile.TemporaryDirectory(prefix="mesh-pipe-test-")
        self.addCleanup(room.cleanup)
        self.mesh = EmbeddedMesh(BUILD, pathlib.Path(room.name) / "mesh", ())
        self.mesh.__enter__()
        self.addCleanup(self.end)
        self.port = free_port()
        self.mesh.write_token("pipe")
        self.put("tcp.json", outbound(self.mesh.network + "7", self.port))
        self.put("nodes/pipe/inbound.json", inbound(self.port))
        server = Program("mesh-pipe", [PIPE, "-v", "--listen", str(self.port), *self.first], self.mesh.directory / "pipe.log",
                         self.environment("pipe", "7"))
        self.mesh.programs.append(server)
        server.wait(lambda: f"ready on port {self.port}" in server.log.read_text(), "certificate and configuration")
        self.log = server.log

    def end(self):
        logs = {path.name: path.read_text(errors="replace")[-3000:] for path in self.mesh.directory.glob("*.log")}
        self.assertEqual([code for code in self.mesh.stop().values() if code], [], logs)

    def put(self, name, resources):
        path = self.mesh.resources / name
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_name("." + path.name + ".new")
        fresh.write_text(json.dumps(resources))
        os.replace(fresh, path)

    def environment(self, account, host):
        return {**self.mesh.mesh_call("client", [])[1], "POD_NAME": account + "-1", "SERVICE_ACCOUNT": account,
                "INSTANCE_IP": self.mesh.network + host, "LIBMESH_TOKEN_FILE": str(self.mesh.directory / f"token-{account}"),
                "ISTIO_METAJSON_LABELS": json.dumps({"app": account})}

    def pipe(self, *words, account="client", data=b""):
        return subprocess.run([PIPE, "-v", *words], env=self.environment(account, "8"), input=data, capture_output=True,
                              timeout=60, check=False)


class Echo(Pipes):
    def test_by_name_and_address(self):
        for target in ("pipe:9000", "pipe.hello:9000", SERVICE + ":9000", VIP + ":9000"):
            with self.subTest(target):
                done = self.pipe(target, data=b"over the mesh\n")
                words = done.stderr.decode()
                self.assertEqual((done.returncode, done.stdout), (0, b"over the mesh\n"), words)
                self.assertIn("peer spiffe://cluster.local/ns/hello/sa/pipe, ", words)
                self.assertIn("sent 14, received 14 bytes, 1 attempts", words)
        seen = self.log.read_text()
        self.assertIn("peer spiffe://cluster.local/ns/hello/sa/client, ", seen)
        self.assertIn(f", sidecar~{self.mesh.network}8~client-1.hello~hello.svc.cluster.local", seen)

    def test_much(self):
        data = bytes(range(256)) * (32 * 4096)
        done = self.pipe("pipe:9000", data=data)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertTrue(done.stdout == data)

    def test_refused(self):
        done = self.pipe("pipe:9000", account="stranger", data=b"let me in\n")
        self.assertEqual(done.stdout, b"")
        self.assertIn("spiffe://cluster.local/ns/hello/sa/stranger denied", self.log.read_text())
        self.assertNotIn("peer spiffe://cluster.local/ns/hello/sa/stranger", self.log.read_text())
        done = self.pipe("pipe:9001")
        self.assertEqual(done.returncode, 1)
        self.assertIn("NO_ENDPOINT (UH)", done.stderr.decode())
        done = self.pipe("127.9.9.9:9000")
        self.assertEqual(done.returncode, 1)
        self.assertIn("NO_ENDPOINT (UH)", done.stderr.decode())
        self.assertEqual(self.pipe("nonsense").returncode, 2)


class ServerFirst(Pipes):
    first = ("--first", "220 pipe ready")

    def test_greeting(self):
        done = self.pipe("pipe:9000", data=b"QUIT\n")
        self.assertEqual((done.returncode, done.stdout), (0, b"220 pipe ready\nQUIT\n"), done.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
