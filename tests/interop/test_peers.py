# SPDX-License-Identifier: Apache-2.0
"""Do Envoy's view of libmesh and libmesh's of Envoy agree, and does Istio's test application find what it expects?"""

import base64
import hashlib
import json
import re
import ssl

import drivers
import matrix
from control_plane import peer_paths
from drivers import Refused, run
from harness import ENVOY_FILTER, JOIN_SECONDS, MeshTest, call, curl, eventually, peer_authentication, policy, values
from matrix import ENVOY, LIBMESH, NONE, PORTS

XFCC = re.compile(r'By=([^;]*);Hash=([0-9a-f]{64});Subject="";URI=([^;\\\s"]*)')

# What Istio's own filter istio.alpn does, in terms of upstream Envoy: offer in the handshake what the request speaks, so
# that a server that finds out the protocol of a port takes the chain for it.
ALPN = "%CEL(request.protocol == 'HTTP/2' ? 'istio-h2,istio,h2' : 'istio-http/1.1,istio,http/1.1')%"
ALPN_FILTER = policy("EnvoyFilter", ENVOY_FILTER, "alpn", {
    "workloadSelector": {"labels": {"app": "side"}},
    "configPatches": [{
        "applyTo": "HTTP_FILTER",
        "match": {"context": "SIDECAR_OUTBOUND", "listener": {"portNumber": PORTS["auto"], "filterChain": {"filter": {
            "name": "envoy.filters.network.http_connection_manager",
            "subFilter": {"name": "envoy.filters.http.router"}}}}},
        "patch": {"operation": "INSERT_BEFORE", "value": {
            "name": "lab.alpn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{
                    "object_key": "envoy.network.application_protocols", "shared_with_upstream": "ONCE",
                    "format_string": {"text_format_source": {"inline_string": ALPN}}}]}}}}]})


def fingerprint(dump):
    """SHA-256 of the certificate that a workload has, from its config_dump."""
    chains = values([secret for secret in values(dump, "secret") if secret["name"] == "default"], "certificate_chain")
    pem = base64.b64decode(chains[0]["inline_bytes"]).decode()
    first = pem[:pem.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


class PeerCase(MeshTest):
    """A case with the peers of the matrix, without policies: PERMISSIVE."""

    changes_policies = False

    def setUp(self):
        super().setUp()
        self.peers = matrix.Matrix.of(self.lab)
        self.sidecar = self.peers.sidecar
        self.addCleanup(self.peers.check_accepted)
        eventually(self.envoy_is_mutual, "the Envoy sidecar calls with mutual TLS, as without policies", JOIN_SECONDS)
        for kind in (LIBMESH, ENVOY):
            eventually(lambda kind=kind: curl(self.outside, target=self.peers.servers[kind])[1] == 200,
                       f"the {kind} server takes plaintext, as without policies", JOIN_SECONDS)

    def envoy_is_mutual(self):
        try:
            return drivers.http("http")(self.peers, ENVOY, LIBMESH).by_server == self.peers.clients[ENVOY].identity
        except AssertionError:
            return False

    def in_sidecar(self, *argv, seconds=20):
        """Runs a program beside the Envoy sidecar; its output."""
        code, out, err = run(self.peers.clients[ENVOY], argv, seconds)
        self.assertEqual(code, 0, out + err)
        return out

    def counted(self, pattern, action):
        """What `action` returns, and by how much Envoy's counters rose meanwhile."""
        before = self.sidecar.stats(pattern)
        result = action()
        after = self.sidecar.stats(pattern)
        return result, {name: value - before.get(name, 0) for name, value in after.items()}

    def check_no_tls_failure(self):
        """Envoy has not once found fault with a certificate or handshake of libmesh's."""
        pattern = r"(listener\.0\.0\.0\.0_15006|inner\.default\.svc\.cluster\.local;)\.ssl\.(fail_|connection_error|no_cert)"
        failures = self.sidecar.stats(pattern)
        self.assertTrue(failures, "Envoy has these counters")
        self.assertFalse(any(failures.values()), failures)


class PeerViews(PeerCase):

    def test_envoy_sees_libmesh(self):
        """libmesh calls Envoy: certificate, names, ALPN and version are what each side says of the other."""
        for port, options, codec, protocol in (("http", (), "http1", "http/1.1"), ("http2", ("--http2",), "http2", "h2")):
            with self.subTest(port):
                server = self.peers.servers[ENVOY]
                url = f"http://side:{PORTS[port]}/"
                result, rose = self.counted("ssl|tls_inspector|downstream_cx", lambda url=url, options=options: call(
                    self.client, url, "--config-dump", "/run/dump.json", *options)[0])
                by, thumb, uri = XFCC.search(result["body"]).groups()
                dump = json.loads((self.client.directory / "run/dump.json").read_text())
                self.assertEqual((by, uri, thumb), (server.identity, self.client.identity, fingerprint(dump)))
                self.assertEqual((result["peer_identity"], result["protocol"]), (server.identity, protocol))
                for name in ("listener.0.0.0.0_15006.ssl.handshake", "listener.0.0.0.0_15006.ssl.versions.TLSv1.3",
                             "tls_inspector.alpn_found", "tls_inspector.sni_found",
                             f"http.inbound_0.0.0.0_{PORTS[port]};.downstream_cx_{codec}_total"):
                    self.assertEqual(rose.get(name), 1, name)
                self.assertEqual(result["tls"], "TLSv1.3")
                self.check_sni(port)
        self.check_no_tls_failure()

    def check_sni(self, port):
        """Envoy's access log names the server name that libmesh asked for."""
        name = f"outbound_.{PORTS[port]}_._.side.default.svc.cluster.local"
        log = self.lab.logs / "sidecar-side-1.log"
        eventually(lambda: any(name in line and f":{PORTS[port]}" in line
                               for line in log.read_text().splitlines()[-50:]), "access log with server name " + name)

    def test_libmesh_sees_envoy(self):
        """Envoy calls libmesh: the same, seen from there; and Envoy's /clusters counts what it got."""
        thumb = fingerprint(json.loads(self.sidecar.admin("/config_dump?resource=dynamic_active_secrets")))
        client, server = self.peers.clients[ENVOY], self.peers.servers[LIBMESH]
        for port, option, codec, protocol in (("http", "--http1.1", "http1", "http/1.1"),
                                              ("http2", "--http2-prior-knowledge", "http2", "h2")):
            with self.subTest(port):
                cluster = f"outbound|{PORTS[port]}||inner.default.svc.cluster.local"
                url = f"http://inner:{PORTS[port]}/"
                out, rose = self.counted("inner", lambda url=url, option=option:
                                         self.in_sidecar("curl", "-sS", option, url))
                seen = json.loads(out)
                self.assertEqual((seen["peer_identity"], seen["protocol"]), (client.identity, protocol))
                self.assertEqual(XFCC.search(seen["headers"]["x-forwarded-client-cert"]).groups(),
                                 (server.identity, thumb, client.identity))
                self.assertEqual(rose[f"cluster.{cluster};.upstream_rq_200"], 1)
                stats = self.sidecar.stats(re.escape(cluster))
                self.assertGreaterEqual(stats[f"cluster.{cluster};.ssl.handshake"], 1)
                self.assertGreaterEqual(stats[f"cluster.{cluster};.upstream_cx_{codec}_total"], 1)
                lines = self.sidecar.admin("/clusters").splitlines()
                self.assertIn(f"{cluster}::{server.address}:{PORTS[port]}::rq_error::0", lines)
                self.assertIn(f"{cluster}::{server.address}:{PORTS[port]}::health_flags::healthy", lines)
        names = {name["uri"] for entry in values(json.loads(self.sidecar.admin("/certs")), "subject_alt_names")
                 for name in entry}
        self.assertEqual(names, {client.identity})
        self.check_no_tls_failure()


class AutoPort(PeerCase):
    """A port whose protocol nobody named: PERMISSIVE has five chains for it, STRICT two."""

    URL = f"http://inner:{PORTS['auto']}/"

    def setUp(self):
        super().setUp()
        self.addCleanup(self.clear_policies)
        self.addCleanup(self.lab.delete, [ALPN_FILTER])
        self.apply(ALPN_FILTER)

    def mirrored(self, client, target, option):
        """(who, what version) the libmesh server saw of a client with curl; None when it did not come through."""
        code, out, _ = run(client, ["curl", "-sS", "-i", "--max-time", "5", option, "-d", "words",
                                    f"http://{target}:{PORTS['auto']}/"])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in out.splitlines())}
        return (headers["lab-client"], headers["lab-protocol"]) if code == 0 and out.endswith("words") else None

    def echoed(self, client, target):
        code, out, err = run(client, [matrix.TCP_PEER, "call", "--seconds", "5", target, str(PORTS["auto"])])
        return code == 0, out + err

    def check_mesh_clients(self):
        """HTTP/1.1, HTTP/2 and neither, each with mutual TLS, from both kinds of client."""
        for options, protocol in (((), "http/1.1"), (("--http2",), "h2")):
            result = call(self.client, self.URL, "-d", "words", *options)[0]
            self.assertEqual((result["http_status"], result["body"], result["protocol"]), (200, "words", protocol), result)
            self.assertEqual((result["headers"]["lab-client"], result["headers"]["lab-protocol"]),
                             (self.client.identity, protocol))
        self.assertEqual(drivers.tcp("auto")(self.peers, LIBMESH, LIBMESH).by_client, self.peers.servers[LIBMESH].identity)
        proxied = self.peers.clients[ENVOY]
        for option, protocol in (("--http1.1", "http/1.1"), ("--http2-prior-knowledge", "h2")):
            eventually(lambda option=option, protocol=protocol:
                       self.mirrored(proxied, "inner", option) == (proxied.identity, protocol),
                       f"Envoy comes through with mutual TLS and {protocol}")
        good, words = self.echoed(proxied, "inner")
        self.assertTrue(good, words)

    def foreign_tls(self):
        """What comes back for a ClientHello that is not the mesh's: itself, where it is passed through as bytes."""
        script = ("import ssl, socket, sys; out = ssl.MemoryBIO(); c = ssl.create_default_context()\n"
                  "c.set_alpn_protocols(['http/1.1']); t = c.wrap_bio(ssl.MemoryBIO(), out, server_hostname='x.test')\n"
                  "try: t.do_handshake()\n"
                  "except ssl.SSLWantReadError: pass\n"
                  f"hello = out.read(); s = socket.create_connection((sys.argv[1], {PORTS['auto']}), 5); s.sendall(hello)\n"
                  "s.shutdown(socket.SHUT_WR); back = b''\n"
                  "while data := s.recv(65536): back += data\n"
                  "print(back == hello, len(back))")
        return run(self.outside, ["/usr/bin/python3", "-c", script, self.peers.servers[LIBMESH].address])

    def test_permissive(self):
        self.check_mesh_clients()
        address = self.peers.servers[LIBMESH].address
        for option, protocol in (("--http1.1", "http/1.1"), ("--http2-prior-knowledge", "h2")):
            self.assertEqual(self.mirrored(self.outside, address, option), ("none", protocol))
        good, words = self.echoed(self.outside, address)
        self.assertTrue(good, words)
        code, out, err = self.foreign_tls()
        self.assertEqual((code, out.split()[0:1]), (0, ["True"]), out + err)

    def test_strict(self):
        self.apply(peer_authentication("STRICT"))
        address = self.peers.servers[LIBMESH].address
        eventually(lambda: self.mirrored(self.outside, address, "--http1.1") is None, "plaintext is refused")
        self.check_mesh_clients()
        self.assertIsNone(self.mirrored(self.outside, address, "--http2-prior-knowledge"))
        with self.assertRaises(Refused):
            drivers.tcp("auto")(self.peers, NONE, LIBMESH)
        code, out, _ = self.foreign_tls()
        self.assertFalse(code == 0 and out.startswith("True"), "the TLS of others is not the mesh's")


class IstioEcho(PeerCase):
    """Istio's echo application as the client; as the server it answers all over the matrix."""

    def echo_client(self, pod, url, *options):
        code, out, err = run(pod, [peer_paths()["ECHO_CLIENT"], url, "--timeout", "5s", "--count", "5", *options])
        self.assertEqual(code, 0, out + err)
        self.assertIn("All 5 requests succeeded", out)
        return out

    def check(self, pod, target, who):
        for port, option in (("http", ()), ("http2", ("--http2",))):
            out = self.echo_client(pod, f"http://{target}:{PORTS[port]}/", *option)
            self.assertEqual(out.count("StatusCode=200"), 5)
            self.assertEqual(set(re.findall(r'"peer_identity":"([^"]*)"', out)), {who})
        out = self.echo_client(pod, f"tcp://{target}:{PORTS['tcp']}", "--expect", "HelloWorld")
        self.assertEqual(out.count("Echo=HelloWorld"), 5)

    def test_behind_envoy(self):
        pod = self.peers.clients[ENVOY]
        self.check(pod, "inner", pod.identity)

    def test_without_mesh(self):
        self.check(self.outside, self.peers.servers[LIBMESH].address, "")
