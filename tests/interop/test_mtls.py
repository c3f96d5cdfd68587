# SPDX-License-Identifier: Apache-2.0
"""Are the modes of PeerAuthentication what both sides do?"""

import json
import pathlib
import subprocess
import tempfile

import ca
from harness import JOIN_SECONDS, Load, MeshTest, curl, echo_of, eventually, good, peer_authentication, pod_manifest
from harness import service_manifest


class MutualTls(MeshTest):

    def plaintext(self):
        return curl(self.outside, target=self.echo)

    def eventually_refused(self):
        eventually(lambda: self.plaintext()[0] != 0, "plaintext from outside the mesh is refused")

    def test_strict(self):
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        self.check_mutual(self.call())
        code, status, body = self.plaintext()
        self.assertNotEqual(code, 0)
        self.assertEqual((status, body), (0, ""), "refused means: not one byte of an answer")

    def test_strict_under_load(self):
        with Load(self.client) as load:
            self.apply(peer_authentication("STRICT"))
            self.eventually_refused()
            load.run_for(1)
            self.apply(peer_authentication("PERMISSIVE"))
            eventually(lambda: self.plaintext()[1] == 200, "plaintext from outside the mesh is accepted again")
            load.run_for(1)

    def test_permissive(self):
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        self.apply(peer_authentication("PERMISSIVE"))
        body = eventually(lambda: self.plaintext()[2] or None, "plaintext from outside the mesh is accepted again")
        self.assertFalse(json.loads(body)["tls"])
        self.assertFalse(json.loads(body)["peer_identity"])
        self.check_mutual(self.call())

    def test_disable(self):
        self.apply(peer_authentication("DISABLE"))

        def plain():
            result = self.call()
            return result if result["http_status"] == 200 and not result["tls"] else None
        result = eventually(plain, "calls in plaintext")
        self.assertFalse(result["peer_identity"])
        seen = echo_of(result)
        self.assertFalse(seen["tls"])
        self.assertFalse(seen["peer_identity"])
        self.assertEqual(self.plaintext()[1], 200)

    def test_certificates_of_others(self):
        """Who is let in has a certificate of this mesh, for this trust domain: the chain alone is not enough."""
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        mesh, other = self.lab.directory / "ca", directory / "other"
        ca.create(other)
        for name, authority, domain in (("none", None, ""), ("authority", other, "cluster.local"),
                                        ("domain", mesh, "elsewhere"), ("prefix", mesh, "cluster.local.evil")):
            with self.subTest(name):
                self.assertEqual(self.answer_to(directory / name, authority, domain), "")
        self.assertIn("HTTP/1.1 200 OK", self.answer_to(directory / "good", mesh, "cluster.local"))

    def answer_to(self, directory, authority, domain):
        """What the server answers to a client of openssl's with a certificate of that authority, or with none."""
        request = "GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n"
        argv = ["openssl", "s_client", "-connect", self.echo.address + ":8080", "-alpn", "istio-http/1.1", "-quiet"]
        if authority:
            ca.leaf(directory, authority, f"spiffe://{domain}/ns/default/sa/made")
            argv += ["-cert", str(directory / "leaf.crt"), "-key", str(directory / "leaf.key"),
                     "-cert_chain", str(authority / "ca-cert.pem")]
        done = subprocess.run(self.outside.command(argv), env=self.outside.environment(), input=request,
                              capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def test_server_that_is_somebody_else(self):
        """A client speaks to whom the service's accounts name; any other certificate of the mesh is not enough."""
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        objects = [service_manifest("shop"), pod_manifest("shop-1", "shop")]
        self.addCleanup(self.lab.delete, objects)
        self.apply(*objects)
        result = self.call_shop(directory / "thief", "thief", lambda result: result["status"] == "PEER_IDENTITY")
        self.assertEqual((result["flag"], result["http_status"]), ("UF,URX", 0), result)
        result = self.call_shop(directory / "shop", "shop", good)
        self.assertEqual(result["peer_identity"], self.lab.pods["shop-1"].identity)

    def call_shop(self, directory, account, wanted):
        """A call to openssl's server in pod shop-1, with a certificate of this mesh for that account."""
        ca.leaf(directory, self.lab.directory / "ca", f"spiffe://cluster.local/ns/default/sa/{account}")
        server = self.lab.pods["shop-1"].start(
            ["openssl", "s_server", "-accept", "8080", "-www", "-cert", str(directory / "leaf.crt"), "-key",
             str(directory / "leaf.key"), "-cert_chain", str(self.lab.directory / "ca" / "ca-cert.pem")], "shop-1")

        def answered():
            result = self.call(url="http://shop:8080/")
            return result if wanted(result) else None
        try:
            return eventually(answered, "shop-1 is called", JOIN_SECONDS)
        finally:
            server.stop()

    def test_strict_for_one_port_only(self):
        """The exception for a port wins over the mode of the workload."""
        exception = peer_authentication("STRICT")
        exception["spec"].update({"selector": {"matchLabels": {"app": "echo"}},
                                  "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}})
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        exception["metadata"]["name"] = "echo"
        self.apply(exception)
        eventually(lambda: self.plaintext()[1] == 200, "the port takes plaintext again")
        self.check_mutual(self.call())
