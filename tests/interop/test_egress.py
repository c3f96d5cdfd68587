# SPDX-License-Identifier: Apache-2.0
"""Does a call leave the mesh as outboundTrafficPolicy, ServiceEntry and DestinationRule say, TLS included?"""

import pathlib
import tempfile

import ca
import netns
from harness import NETWORKING, MeshTest, eventually, good, policy
from process import wait_until

PORT, TLS_PORT = 9999, 9443
HTTP_MIRROR = pathlib.Path(__file__).resolve().parent / "http_mirror.py"
HOST = "api.outside.test"
ROOT = "/run/outside-root.pem"  # in the pod


class Egress(MeshTest):

    def setUp(self):
        super().setUp()
        for kind in ("ServiceEntry", "Sidecar"):
            self.addCleanup(self.lab.delete_all, kind, NETWORKING)

    def serve(self, argv, port, name):
        process = self.outside.start(argv, name)
        self.addCleanup(process.stop)
        wait_until(lambda: port in netns.listening(self.outside.netns), 15, f"{name} listens")

    def eventually_flagged(self, flag, url):
        """Waits for a call that ends with that flag before all others; its result."""
        def attempt():
            result = self.call(url=url)
            return result if result["flag"].split(",")[0] == flag else None
        return eventually(attempt, f"{url} ends with {flag}")

    def test_outbound_policy(self):
        """To an address outside of the mesh while anything may be called, and no more once only the registry may."""
        self.serve([HTTP_MIRROR, str(PORT)], PORT, "outside-http")
        url = f"http://{self.outside.address}:{PORT}/"
        result = self.call("-d", "hello", url=url)
        self.assertEqual((result["http_status"], result["body"], result["cluster"]),
                         (200, "hello", "PassthroughCluster"))
        self.assertFalse(result["tls"], result)
        self.apply(policy("Sidecar", NETWORKING, "default", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}))
        refused = self.eventually_flagged("UH", url)
        self.assertEqual(refused["http_status"], 0, refused)
        self.assertEqual(self.call()["http_status"], 200)  # the registry's own go on

    def test_tls_to_the_outside(self):
        """DestinationRule SIMPLE: a certificate of that root for the host that was called, or nothing is asked."""
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        ca.create(directory / "ca")
        for name in (HOST, "other.outside.test"):
            ca.leaf(directory / name, directory / "ca", name, "DNS")
        self.client.write_file("outside-root.pem", (directory / "ca/root-cert.pem").read_text())
        self.apply(
            policy("ServiceEntry", NETWORKING, "api", {
                "hosts": [HOST], "addresses": ["240.3.0.1"], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": TLS_PORT}],
                "endpoints": [{"address": self.outside.address}]}),
            policy("DestinationRule", NETWORKING, "api", {"host": HOST, "trafficPolicy": {
                "tls": {"mode": "SIMPLE", "caCertificates": ROOT}}}))
        for name, flag in (("other.outside.test", "UF"), (HOST, "-")):
            with self.subTest(name):
                server = self.outside.start(
                    ["openssl", "s_server", "-accept", str(TLS_PORT), "-www", "-cert",
                     str(directory / name / "leaf.crt"), "-key", str(directory / name / "leaf.key"),
                     "-cert_chain", str(directory / "ca/ca-cert.pem")],
                    "outside-tls")
                try:
                    wait_until(lambda: TLS_PORT in netns.listening(self.outside.netns), 15, "openssl listens")
                    result = self.eventually_flagged(flag, f"http://{HOST}/")
                finally:
                    server.stop()
                self.assertEqual(good(result), flag == "-", result)
