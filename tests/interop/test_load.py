# SPDX-License-Identifier: Apache-2.0
"""Does traffic go on, without one failed call, while the mesh around it changes?"""

import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import ca

from harness import JOIN_SECONDS, NETWORKING, SOTW, Load, MeshTest, authorization, curl, echo_of, eventually, header_of
from harness import last, names, pod_manifest, policy, program, service_manifest, split, subsets

RECONNECT_SECONDS = 45  # the backoff may have grown while istiod was away


def client_certificate(result):
    """The hash of the client's certificate, as the server saw it."""
    xfcc = header_of(echo_of(result)["headers"], "x-forwarded-client-cert") or ""
    found = re.search(r"Hash=([0-9a-f]{64})", xfcc)
    return found.group(1) if found else None


def not_third(result):
    return names([result]) != {"echo-v3"}


class Endpoints(MeshTest):
    changes_policies = False

    def add_third(self):
        """A third echo that runs, but is not ready yet."""
        manifest = pod_manifest("echo-v3", "echo", "v3", probe=True)
        self.apply(manifest)
        self.addCleanup(self.lab.delete, [manifest])
        pod = self.lab.pods["echo-v3"]
        server = pod.start([program("echo"), "--port", "8080", "--name", "echo-v3"], "echo-v3")
        eventually(lambda: curl(self.outside, target=pod)[1] == 200, "echo-v3 serves", JOIN_SECONDS)
        return pod, server

    def test_added_and_removed(self):
        pod, server = self.add_third()
        with Load(self.client) as load:
            self.assertNotIn("echo-v3", names(load.results), "it was not ready")
            self.lab.set_ready(pod)
            load.wait(lambda seen: "echo-v3" in names(seen), "the new endpoint is called")
            self.lab.set_terminating(pod)
            load.wait(lambda seen: last(seen, 60, not_third), "the endpoint is left alone")
            server.stop(signal.SIGTERM)
            load.run_for(1)
        self.assertEqual(server.exit_code(), 0, server.tail())

    def test_comes_and_goes(self):
        """Faster than istiod puts changes together, so that some pushes bring both and some neither."""
        pod, _ = self.add_third()
        with Load(self.client) as load:
            for turn in range(12):
                self.lab.set_ready(pod, turn % 2 == 0)
                time.sleep(0.04 * turn)
            self.lab.set_ready(pod)
            load.wait(lambda seen: "echo-v3" in names(seen), "the endpoint is called")

    def test_deleted_as_a_cluster_does(self):
        """The signal and the news of the endpoint's end leave at the same time; nobody knows which arrives first."""
        pod, server = self.add_third()
        self.lab.set_ready(pod)
        with Load(self.client) as load:
            load.wait(lambda seen: "echo-v3" in names(seen), "the new endpoint is called")
            self.lab.set_terminating(pod)
            server.stop(signal.SIGTERM)
            load.run_for(2)
            load.wait(lambda seen: last(seen, 40, not_third), "the endpoint is left alone")
        self.assertEqual(server.exit_code(), 0, server.tail())


class ControlPlaneAway(MeshTest):

    def check_new_configuration(self, *loads):
        """That all have found istiod again: the clients take a route, the servers take a policy."""
        self.apply(subsets())
        self.apply(split(0, 100), authorization("marker", {"action": "DENY", "rules": [
            {"to": [{"operation": {"paths": ["/marker"]}}]}]}))
        for load in loads:
            load.wait(lambda seen: last(seen, 30, lambda one: names([one]) == {"echo-v2"}),
                      f"{load.pod.name} has the new route", RECONNECT_SECONDS)
        for name in ("echo-v1", "echo-v2"):
            eventually(lambda pod=self.lab.pods[name]: curl(self.outside, "/marker", pod)[1] == 403,
                       name + " has the new policy", RECONNECT_SECONDS)

    def test_killed_and_restarted(self):
        self.addCleanup(self.have_istiod)
        with Load(self.client) as load, Load(self.stranger, env=SOTW) as other:
            self.lab.stop_istiod(signal.SIGKILL)
            load.run_for(4)
            self.lab.start_istiod()
            load.run_for(1)
            self.check_new_configuration(load, other)

    def test_streams_closed_for_their_age(self):
        """istiod closes every stream when it is old (30 min by Helm's values); here that is seconds."""
        self.addCleanup(self.restart)
        with Load(self.client) as load, Load(self.stranger, env=SOTW) as other:
            self.restart(["--keepaliveMaxServerConnectionAge=3s"])
            load.run_for(9)
            self.check_new_configuration(load, other)

    def have_istiod(self):
        """The cases after one that failed half way need it too."""
        if not self.lab.control.processes["istiod"].alive():
            self.lab.start_istiod()

    def restart(self, flags=()):
        self.lab.stop_istiod()
        self.lab.start_istiod(flags)


class Certificates(MeshTest):
    """Both sides have certificates of 20 s, and a connection carries 20 requests, so handshakes go on."""

    lifetime = {"SECRET_TTL": "20s"}

    def setUp(self):
        super().setUp()
        objects = [service_manifest("brief"), pod_manifest("brief-1", "brief")]
        self.apply(*objects, policy("DestinationRule", NETWORKING, "brief", {
            "host": "brief", "trafficPolicy": {"connectionPool": {"http": {"maxRequestsPerConnection": 20}}}}))
        self.addCleanup(self.lab.delete, objects)
        self.brief = self.lab.pods["brief-1"]
        self.brief.start([program("echo"), "--port", "8080", "--name", "brief-1"], "brief-1", env=self.lifetime)
        eventually(lambda: curl(self.outside, target=self.brief)[1] == 200, "brief-1 serves", JOIN_SECONDS)

    def load(self):
        return Load(self.client, "http://brief:8080/", env=self.lifetime)

    def test_rotated(self):
        """Over more than two lifetimes: a program that kept its certificate would be refused."""
        issued = self.lab.control.metric("citadel_server_success_cert_issuance_count")
        with self.load() as load:
            load.run_for(45)
        certificates = {client_certificate(result) for result in load.results}
        self.assertNotIn(None, certificates, "every call is over mutual TLS")
        self.assertGreaterEqual(len(certificates), 3, "certificates that the client has shown")
        issued = self.lab.control.metric("citadel_server_success_cert_issuance_count") - issued
        self.assertGreaterEqual(issued, 6, "certificates issued: for the client at least 3, for the server as many")

    def test_root_replaced(self):
        """The mesh moves to another root as one does: all trust it, then it signs, then the old one is forgotten."""
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        old, new = directory / "old", directory / "new"
        shutil.copytree(self.lab.directory / "ca", old)
        ca.create(new)
        self.addCleanup(self.switch, old, old)
        with self.load() as load:
            self.switch(old, old, new)
            load.run_for(2)
            self.switch(new, old, new)
            load.run_for(13)  # half a lifetime and the little by which it is spread
            self.assertTrue(self.brief_leads_to(new / "root.crt"))
            self.switch(new, new)
            load.run_for(4)
        self.assertFalse(self.brief_leads_to(old / "root.crt"))

    def switch(self, signer, *trusted):
        """Restarts istiod with another authority, and gives the pods the roots that it publishes then."""
        self.lab.stop_istiod()
        ca.switch(self.lab.directory / "ca", signer, *trusted)
        self.lab.start_istiod()
        roots = (self.lab.directory / "ca" / "root-cert.pem").read_text().strip()
        eventually(lambda: self.lab.control.root_certificate("default").strip() == roots, "the roots are published", 30)
        for pod in self.lab.pods.values():
            self.lab.write_secrets(pod)

    def brief_leads_to(self, root):
        """Whether the certificate that brief-1 shows leads to that root."""
        argv = ["openssl", "s_client", "-connect", self.brief.address + ":8080", "-alpn", "istio",
                "-CAfile", str(root), "-no-CApath", "-no-CAstore"]
        done = subprocess.run(self.outside.command(argv), env=self.outside.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        self.assertIn("Server certificate", done.stdout, done.stderr)
        return "Verify return code: 0 (ok)" in done.stdout
