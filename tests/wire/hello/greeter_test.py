#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gRPC with programs and a control plane: greeter_test.py TOP BUILD. greeter-server and greeter-client of examples/ join
and talk over HTTP/2 and mutual TLS, as the README says; a stranger is refused with a gRPC code."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOP, BUILD = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(TOP / "examples/hello"))

from embedded import EmbeddedMesh, Program  # noqa: E402

GREETER = BUILD / "examples/greeter"
ECHO_CLUSTER = '''  name: outbound|9080||echo.hello.svc.cluster.local
  type: EDS
'''
HTTP2 = '''  typedExtensionProtocolOptions:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicitHttpConfig: {http2ProtocolOptions: {}}
'''
ROUTE = '''virtualHosts:
  - name: greeter.hello.svc.cluster.local:9080
    domains: [greeter]
    routes:
      - match: {prefix: /}
        route: {cluster: "outbound|9080||echo.hello.svc.cluster.local", timeout: 0s}
'''


class Greeter(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory(prefix="mesh-greeter-test-")
        self.addCleanup(room.cleanup)
        self.mesh = EmbeddedMesh(BUILD, pathlib.Path(room.name) / "mesh", ())
        self.mesh.__enter__()
        self.addCleanup(self.end)
        for program in self.mesh.programs:  # the greeter takes their place: service, port and identity
            self.assertEqual(program.stop(), 0)
        self.mesh.programs.clear()
        self.change("routes.yaml", "virtualHosts:\n", ROUTE)
        self.change("clusters.yaml", ECHO_CLUSTER, ECHO_CLUSTER + HTTP2)
        environment = {**self.environment("client"), "POD_NAME": "echo-v1", "SERVICE_ACCOUNT": "echo",
                       "INSTANCE_IP": self.mesh.network + "1", "ISTIO_METAJSON_LABELS": json.dumps({"app": "echo"}),
                       "LIBMESH_TOKEN_FILE": str(self.mesh.directory / "token-echo")}
        server = Program("greeter-server", [GREETER / "greeter-server", str(self.mesh.port)],
                         self.mesh.directory / "greeter.log", environment)
        self.mesh.programs.append(server)
        server.wait(lambda: f"listening on port {self.mesh.port}" in server.log.read_text(), "the port")

    def end(self):
        logs = {path.name: path.read_text(errors="replace")[-3000:] for path in self.mesh.directory.glob("*.log")}
        self.assertEqual([code for code in self.mesh.stop().values() if code], [], logs)

    def change(self, name, old, new):
        path = self.mesh.resources / name
        text = path.read_text()
        self.assertEqual(text.count(old), 1)
        path.write_text(text.replace(old, new))

    def environment(self, account):
        return self.mesh.mesh_call(account, [])[1]

    def greet(self, *words, account="client"):
        return subprocess.run([GREETER / "greeter-client", *words], env=self.environment(account), capture_output=True,
                              text=True, timeout=60, check=False)

    def test_greeted(self):
        server = self.mesh.programs[0]
        done = server.wait(lambda: self.good(self.greet("greeter:9080", "you", "me")), "an answer")
        self.assertEqual(done.stdout, "hello, you\nyou was greeted\nme was greeted\n")
        done = self.greet("greeter:9080", "you", account="stranger")
        self.assertEqual(done.returncode, 1)
        self.assertIn("SayHello: PERMISSION_DENIED ", done.stdout)
        done = self.greet("nobody:9080", "you")  # the routes' own answer, 502, comes from no peer
        self.assertEqual(done.returncode, 1)
        self.assertIn("SayHello: UNAVAILABLE ", done.stdout)

    def test_command_lines(self):
        for program, words in (("greeter-server", ("--help",)), ("greeter-server", ("1", "2")),
                               ("greeter-server", ("65536",)), ("greeter-client", ("greeter:9080",))):
            done = subprocess.run([GREETER / program, *words], env={}, capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"usage: {program} ", done.stderr)
        for program, words in (("greeter-server", ()), ("greeter-client", ("greeter:9080", "you"))):
            done = subprocess.run([GREETER / program, *words], env={}, capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertIn("POD_NAME is not set", done.stderr)
            self.assertNotEqual(done.returncode, 0)

    @staticmethod
    def good(done):
        """The server is still fetching its certificate: not yet."""
        return done if done.returncode == 0 else None


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
