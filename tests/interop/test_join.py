# SPDX-License-Identifier: Apache-2.0
"""Do the programs join as any pod does, and say clearly what is wrong when they cannot?"""

import json
import pathlib
import tempfile

import ca
from harness import JOIN_SECONDS, NETWORKING, SOTW, MeshTest, call, call_that_cannot_join, curl, echo_of, eventually
from harness import pod_manifest, policy, program, service_manifest, values
from pod import ISTIOD_HOST


class Join(MeshTest):
    changes_policies = False

    def test_token_of_the_pod(self):
        result = self.call("-H", "x-case: join")
        self.check_mutual(result)
        self.assertIn(result["endpoint"], [f"{self.lab.pods[name].address}:8080" for name in ("echo-v1", "echo-v2")])
        self.assertEqual(result["cluster"], "outbound|8080||echo.default.svc.cluster.local")
        seen = echo_of(result)
        self.assertEqual((seen["method"], seen["path"]), ("GET", "/"))
        self.assertEqual(seen["authority"], "echo.default.svc.cluster.local:8080")
        self.assertEqual({key.lower(): value for key, value in seen["headers"].items()}["x-case"], "join")

    def test_short_names(self):
        for host in ("echo", "echo.default", "echo.default.svc"):
            with self.subTest(host=host):
                self.check_mutual(self.call(url=f"http://{host}:8080/"))

    def test_body_goes_there(self):
        result = self.call("-d", "x" * 5000)
        self.assertEqual((echo_of(result)["method"], echo_of(result)["body_bytes"]), ("POST", 5000))

    def test_large_bodies(self):
        self.client.write_file("body", "x" * 300000)
        self.assertEqual(echo_of(self.call("-d", "@/run/body"))["body_bytes"], 300000)
        self.assertEqual(len(self.call(url="http://echo:8080/?bytes=300000")["body"]), 300000)

    def test_unknown_port_goes_nowhere(self):
        """Nothing listens there and the mesh knows no such service: never a 200 that came by guessing."""
        result = self.call(url="http://echo.default.svc.cluster.local:8081/")
        self.assertNotEqual(result["http_status"], 200, result)

    def test_state_of_the_world(self):
        self.check_mutual(self.call(env=SOTW))

    def test_state_of_the_world_serves(self):
        self.apply(service_manifest("sotw"), pod_manifest("sotw-1", "sotw"))
        pod = self.lab.pods["sotw-1"]
        self.addCleanup(self.lab.delete, [service_manifest("sotw"), pod_manifest("sotw-1", "sotw")])
        pod.start([program("echo"), "--port", "8080", "--name", "sotw-1"], "sotw-1", env=SOTW)

        def served():
            result = self.call(url="http://sotw:8080/")
            return result if result["http_status"] == 200 else None
        result = eventually(served, "sotw-1 serves", JOIN_SECONDS)
        self.assertEqual(result["peer_identity"], pod.identity)
        self.assertEqual(echo_of(result)["peer_identity"], self.client.identity)

    def test_plaintext_control_channel(self):
        """Port 15010 is what Istio offers for networks that are secure by themselves; it must be asked for."""
        self.check_mutual(self.call(env={"PROXY_CONFIG": json.dumps({"discoveryAddress": ISTIOD_HOST + ":15010"})}))

    def test_defaults_of_the_injector(self):
        """The injector leaves out of PROXY_CONFIG what has its default value, which often is everything."""
        self.check_mutual(self.call(env={"PROXY_CONFIG": "{}"}))

    def test_one_certificate_for_many_calls(self):
        before = self.lab.control.metric("citadel_server_success_cert_issuance_count")
        results = call(self.client, "http://echo:8080/", "-n", "50", "-c", "4")
        self.assertEqual(len(results), 50)
        for result in results:
            self.check_mutual(result)
        self.assertEqual(self.lab.control.metric("citadel_server_success_cert_issuance_count"), before + 1)


def services():
    """Of everything that istiod makes other listeners and clusters for."""
    entry = {"location": "MESH_EXTERNAL", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"},
                                                     {"number": 443, "name": "tls", "protocol": "TLS"}]}
    return [
        service_manifest("tcp", 9000, "echo", "tcp"), service_manifest("tls", 9443, "echo", "tls"),
        service_manifest("grpc", 9003, "echo", "grpc"), service_manifest("sniffed", 9002, "echo", "main"),
        service_manifest("mongo", 27017, "echo", "mongo"),
        service_manifest("headless", 9001, "echo", "tcp", clusterIP="None"),
        policy("ServiceEntry", NETWORKING, "dns", {"hosts": ["api.example.com"], "resolution": "DNS", **entry}),
        policy("ServiceEntry", NETWORKING, "wild", {"hosts": ["*.wild.example.com"], "resolution": "NONE", **entry}),
        policy("ServiceEntry", NETWORKING, "static", {
            "hosts": ["fixed.example.com"], "resolution": "STATIC", "endpoints": [{"address": "192.0.2.1"}], **entry}),
    ]


class Configuration(MeshTest):
    changes_policies = False

    def check_dump(self, dump):
        self.assertEqual(values(dump, "error_state"), [])
        self.assertEqual(set(values(dump, "client_status")), {"ACKED"})
        shown = set(values(dump, "name")) | set(values(dump, "cluster_name"))
        for name in ("outbound|8080||echo.default.svc.cluster.local", "virtualInbound", "virtualOutbound", "8080",
                     "default", "ROOTCA"):
            self.assertIn(name, shown)
        self.assertEqual(set(values(dump, "lb_endpoints")[0][0]["endpoint"]["address"]), {"socket_address"})

    def test_nothing_is_rejected(self):
        """All that a default istiod sends is taken: by the servers since their start, by clients as dumps show."""
        self.assertEqual(self.rejects(), 0)
        for env in ({}, SOTW):
            with self.subTest(env=env):
                self.check_dump(self.dump(env=env))
        self.assertEqual(self.rejects(), 0)

    def test_services_of_every_kind(self):
        self.addCleanup(self.lab.delete, services())
        self.apply(*services())
        wanted = {"0.0.0.0_9003", "outbound|80||*.wild.example.com", "outbound|27017||mongo.default.svc.cluster.local"}
        dump = eventually(lambda: next((dump for dump in [self.dump()] if wanted <= set(values(dump, "name"))), None),
                          "a client that has just joined knows the new services")
        self.check_dump(dump)


class NotJoining(MeshTest):
    changes_policies = False

    def setUp(self):
        super().setUp()
        self.pod = self.stranger
        self.addCleanup(self.lab.write_secrets, self.pod)

    def test_missing_token(self):
        (self.pod.directory / "run/secrets/tokens/istio-token").unlink()
        self.assertIn("istio-token", call_that_cannot_join(self.pod))

    def test_empty_token(self):
        self.pod.write_token("")
        self.assertIn("istio-token", call_that_cannot_join(self.pod))

    def test_token_of_nobody(self):
        self.pod.write_token("e30.e30.e30")
        self.assertRegex(call_that_cannot_join(self.pod), r"(?i)unauthenticated|authentication|401|token")

    def test_token_of_another_account(self):
        """istiod gives no configuration of `client` to somebody who proves to be `stranger`."""
        extra = {"SERVICE_ACCOUNT": "client", "POD_NAME": "client", "INSTANCE_IP": self.client.address}
        call_that_cannot_join(self.pod, env=extra)

    def test_unreadable_root(self):
        self.pod.write_root("this is no certificate")
        self.assertIn("root-cert.pem", call_that_cannot_join(self.pod))

    def test_root_of_another_mesh(self):
        """Whoever does not prove to be istiod must not get the token."""
        with tempfile.TemporaryDirectory() as directory:
            other = pathlib.Path(directory) / "ca"
            ca.create(other)
            self.pod.write_root((other / "root-cert.pem").read_text())
        call_that_cannot_join(self.pod)

    def test_labels_that_are_not_json(self):
        self.assertIn("ISTIO_METAJSON_LABELS", call_that_cannot_join(self.pod, env={"ISTIO_METAJSON_LABELS": "{"}))


class Plaintext(MeshTest):
    changes_policies = False

    def test_outside_is_served_without_policies(self):
        """PERMISSIVE is Istio's default: whoever is not in the mesh yet may call."""
        code, status, body = curl(self.outside, "/hello?x=1", self.echo)
        self.assertEqual((code, status), (0, 200))
        seen = json.loads(body)
        self.assertEqual((seen["name"], seen["path"]), ("echo-v1", "/hello?x=1"))
        self.assertFalse(seen["tls"])
        self.assertFalse(seen["peer_identity"])
