#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the example programs make a mesh together? hello_test.py TOP BUILD: mesh-controlplane, mesh-echo and mesh-call as
processes over real sockets: joining, calling, being refused, changes under load, a control plane that goes away."""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP, BUILD = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(TOP / "examples/hello"))

from embedded import EmbeddedMesh  # noqa: E402

URL = "http://echo:9080/"
FIELDS = ["status", "flag", "http_status", "attempts", "route", "cluster", "endpoint", "peer_identity", "protocol",
          "tls", "duration_us", "headers", "body"]
ECHO_FIELDS = ["name", "method", "path", "authority", "headers", "body_bytes", "peer_identity", "protocol", "tls"]
LDS_NACK, RDS_NACK = "NACK envoy.config.listener.v3.Listener", "NACK envoy.config.route.v3.RouteConfiguration"
SOTW = {"LIBMESH_XDS_MODE": "sotw"}


class Load:
    """mesh-call in the background; `results` grows, `finish` waits for its end and gives all."""

    def __init__(self, mesh, count, env=None, account="client"):
        words = ["--json", "-n", str(count), "-c", "2", "--interval-ms", "5", URL]
        argv, environment = mesh.mesh_call(account, words, env)
        self.results = []
        self.words = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=self.words, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.results.append(json.loads(line))

    def wait_for(self, count):
        deadline = time.monotonic() + 30
        while len(self.results) < count and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def finish(self):
        self.process.wait(60)
        self.reader.join()
        self.process.stdout.close()
        with self.words:
            self.words.seek(0)
            return self.results, self.process.returncode, self.words.read()[-3000:]


class MeshCase(unittest.TestCase):
    """Every case has a mesh of its own."""

    options = ()

    def setUp(self):
        room = tempfile.TemporaryDirectory(prefix="mesh-hello-test-")
        self.addCleanup(room.cleanup)
        self.directory = pathlib.Path(room.name)
        self.mesh = EmbeddedMesh(BUILD, self.directory / "mesh", self.options)
        self.mesh.__enter__()
        self.addCleanup(self.end)

    def end(self):
        """Every program must end with 0; with the sanitizers on, that says it has leaked nothing."""
        logs = {path.name: path.read_text(errors="replace")[-2000:] for path in self.mesh.directory.glob("*.log")}
        self.assertEqual([code for code in self.mesh.stop().values() if code], [], logs)

    def run_call(self, *words, account="client", env=None):
        argv, environment = self.mesh.mesh_call(account, [*words], env)
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def call(self, *words, account="client", env=None):
        """The one result of a call that got an answer."""
        done = self.run_call("--json", *words, account=account, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def version(self, result):
        self.assertEqual(result["http_status"], 200, result)
        return json.loads(result["body"])["name"]


class Calls(MeshCase):
    def test_fields(self):
        result = self.call("-X", "PUT", "-H", "X-One: 1", "-d", "hello", URL + "a?b=c")
        self.assertEqual(list(result), FIELDS)
        self.assertEqual([result[field] for field in FIELDS[:5]], ["OK", "-", 200, 1, "split"])
        self.assertRegex(result["cluster"], r"^outbound\|9080\|v[12]\|echo\.hello\.svc\.cluster\.local$")
        self.assertRegex(result["endpoint"], rf"^{self.mesh.network}[12]:{self.mesh.port}$")
        self.assertEqual((result["peer_identity"], result["protocol"], result["tls"]),
                         (self.mesh.identity("echo"), "http/1.1", "TLSv1.3"))
        seen = json.loads(result["body"])
        self.assertEqual(list(seen), ECHO_FIELDS)
        self.assertEqual((seen["method"], seen["path"], seen["authority"]), ("PUT", "/a?b=c", "echo:9080"))
        self.assertEqual((seen["body_bytes"], seen["headers"]["x-one"]), (5, "1"))
        self.assertEqual((seen["peer_identity"], seen["protocol"], seen["tls"]),
                         (self.mesh.identity("client"), "http/1.1", "TLSv1.3"))

    def test_shaped_answers(self):
        result = self.call(URL + "?status=503&bytes=100000&delay_ms=200")
        self.assertEqual((result["http_status"], result["body"]), (503, "x" * 100000))
        self.assertGreaterEqual(result["duration_us"], 200000)
        for query, name in (("status=99", "status"), ("bytes=-1", "bytes"), ("delay_ms=1x", "delay_ms")):
            result = self.call(URL + "?" + query)
            self.assertEqual((result["http_status"], result["body"].split(":")[0]), (400, name))

    def test_summary(self):
        done = self.run_call("-n", "300", "-c", "8", URL + "?status=404")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^300 calls, 0 failed, 300 attempts, [0-9.]+ s\nHTTP 404: 300\np50 ")

    def test_snippets(self):
        """The shortest clients of each style; they call a service named reviews."""
        self.mesh.change_route(("cluster.local, echo,", "cluster.local, echo, reviews,"))
        time.sleep(0.5)
        environment = self.mesh.mesh_call("client", [])[1]
        for style in ("blocking", "callbacks", "own_loop"):
            with self.subTest(style):
                program = BUILD / f"examples/snippets/snippet-{style}"
                done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60,
                                      check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("200 ", done.stdout)

    def test_no_route(self):
        done = self.run_call("--json", "http://echo:9999/")
        self.assertEqual(done.returncode, 1)
        result = json.loads(done.stdout)
        self.assertEqual((result["status"], result["flag"], result["http_status"]), ("NO_ENDPOINT", "UH", 0))
        self.assertIn("nothing in the mesh is at echo:9999, and nothing else may be called", done.stderr)

    def test_retry(self):
        done = self.run_call("--json", "-n", "20", "http://flaky:9080/")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([result["http_status"] for result in results], [200] * 20, done.stderr)
        self.assertEqual({result["attempts"] for result in results} - {1, 2, 3}, set())
        self.assertGreater(max(result["attempts"] for result in results), 1)

    def test_timeout_and_end_under_way(self):
        done = self.run_call("--json", "--timeout-ms", "100", URL + "?delay_ms=60000")
        result = json.loads(done.stdout)
        self.assertEqual((done.returncode, result["status"], result["flag"]), (1, "TIMEOUT", "UT"))
        # a server that is told to end answers what waits first
        load = threading.Thread(target=lambda: late.append(self.call(URL + "?delay_ms=60000")))
        late = []
        load.start()
        time.sleep(1)
        start = time.monotonic()
        self.assertEqual([program.stop() for program in self.mesh.programs], [0, 0])
        load.join()
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual([result["http_status"] for result in late], [200])


class Refused(MeshCase):
    def test_another_service_account(self):
        result = self.call(URL, account="stranger")
        self.assertEqual((result["http_status"], result["body"]), (403, "RBAC: access denied"))

    def test_plaintext(self):
        self.assertEqual(self.mesh.plaintext_status(), "")

    def test_tokens(self):
        no_token = self.directory / "empty"
        no_token.touch()
        foreign = EmbeddedMesh(BUILD, self.directory / "foreign")  # never started: only its keys
        foreign.directory.mkdir()
        cases = [(self.mesh.write_token("client", "other", "other-namespace"), "refused our identity"),
                 (self.mesh.write_token("stranger", name="other-account"), "refused our identity"),
                 (self.mesh.write_token("client", name="old", options=["--token-ttl", "-60"]), "token expired"),
                 (foreign.write_token("client"), "not signed by this control plane"),
                 (no_token, str(no_token)), (self.directory / "missing", "missing")]
        for path, words in cases:
            with self.subTest(words, file=path.name):
                done = self.run_call("--ready-ms", "700", URL, env={"LIBMESH_TOKEN_FILE": str(path)})
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertIn(words, done.stderr)

    def test_foreign_root(self):
        foreign = EmbeddedMesh(BUILD, self.directory / "foreign")
        foreign.directory.mkdir()
        foreign.resources.mkdir()
        foreign.start_control_plane()
        self.addCleanup(foreign.stop)
        done = self.run_call("--ready-ms", "700", URL,
                             env={"LIBMESH_ROOT_CERT_FILE": str(foreign.directory / "ca/root-cert.pem")})
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)

    def test_command_lines(self):
        for words, expected in ((["-n", "0", URL], '-n: "0" is not a number from 1'), (["-c", "9999", URL], "-c: "),
                                (["https://echo/"], "http://HOST"), ([], "the URL is missing"), ([URL, URL], "one URL"),
                                (["-H", "nothing", URL], "name: value"), (["-d", "@/nowhere", URL], "/nowhere")):
            with self.subTest(words):
                done = self.run_call(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(expected, done.stderr)
        for words, expected in ((["--port", "70000"], "--port"), ([], "--port is missing"),
                                (["--port", "1", "--workers", "0"], "--workers")):
            with self.subTest(words):
                done = subprocess.run([BUILD / "examples/echo/mesh-echo", *words], capture_output=True, text=True,
                                      check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(expected, done.stderr)


class Changes(MeshCase):
    def wait_for_log(self, words):
        """The rest of the control plane's first line with these words, once it is there."""
        log = self.mesh.control.log
        self.mesh.control.wait(lambda: words in log.read_text(), words)
        time.sleep(0.05)  # the line may be half written
        return log.read_text().split(words, 1)[1].splitlines()[0]

    def check_turned(self, env):
        self.mesh.change_route(("weight: 80", "weight: 100"), ("weight: 20", "weight: 0"))
        time.sleep(0.5)
        load = Load(self.mesh, 500, env)
        load.wait_for(100)
        self.mesh.change_route(("v1", "v0"), ("v2", "v1"), ("v0", "v2"))
        results, code, words = load.finish()
        self.assertEqual((len(results), code), (500, 0), words)
        self.assertEqual({self.version(result) for result in results[:100]}, {"echo-v1"})
        self.assertEqual({self.version(result) for result in results[-100:]}, {"echo-v2"})

    def test_route_delta(self):
        self.check_turned(None)

    def test_route_state_of_the_world(self):
        self.check_turned(SOTW)

    def test_bad_file_keeps_the_last(self):
        load = Load(self.mesh, 300)
        load.wait_for(50)
        bad = self.mesh.resources / "bad.yaml"
        bad.write_text("a: [")
        self.wait_for_log("what was loaded before stays")
        bad.unlink()
        results, code, words = load.finish()
        self.assertEqual(({result["http_status"] for result in results}, code), ({200}, 0), words)

    def test_malformed_resource_keeps_the_last(self):
        """A route whose regular expression does not compile: named in the NACK, and the route before it stays."""
        load = Load(self.mesh, 300)
        load.wait_for(50)
        self.mesh.change_route(("match: {prefix: /}", 'match: {safeRegex: {regex: "("}}'))
        refusal = self.wait_for_log(RDS_NACK)
        self.assertIn("9080: virtual_hosts[0].routes[0].match.safe_regex", refusal)
        results, code, words = load.finish()
        self.assertEqual(({result["http_status"] for result in results}, code), ({200}, 0), words)

    def test_unknown_filter_fails_closed(self):
        """An unknown filter before the router might be one that guards: no call gets through until it is gone."""
        path = self.mesh.resources / "listeners.yaml"
        text = path.read_text()
        router = "- name: envoy.filters.http.router"
        load = Load(self.mesh, 1500)
        load.wait_for(50)
        path.write_text(text.replace(router, f"- {{name: guard}}\n              {router}"))
        refusal = self.wait_for_log(LDS_NACK)
        self.assertIn("0.0.0.0_9080: ", refusal)
        self.assertIn('"guard"', refusal)
        load.wait_for(len(load.results) + 100)
        path.write_text(text)
        results, _, words = load.finish()
        self.assertEqual({(result["http_status"], result["status"]) for result in results},
                         {(200, "OK"), (0, "FAIL_CLOSED")}, words)
        self.assertEqual({result["http_status"] for result in results[-50:]}, {200}, words)


class ControlPlaneGoes(MeshCase):
    options = ("--max-connection-age", "1")

    def test_connections_closed_by_age(self):
        results, code, words = Load(self.mesh, 1200).finish()
        self.assertEqual(({result["http_status"] for result in results}, code), ({200}, 0), words)
        streams = self.mesh.control.log.read_text().count("~client.hello~hello.svc.cluster.local: subscribes to "
                                                          "envoy.config.cluster.v3.Cluster")
        self.assertGreater(streams, 1, "no connection was closed by its age")

    def test_killed_and_started_again(self):
        load = Load(self.mesh, 2000)
        load.wait_for(100)
        self.mesh.control.process.kill()
        self.mesh.control.process.wait()
        load.wait_for(300)
        self.mesh.change_route(("weight: 80", "weight: 0"))
        self.mesh.start_control_plane()
        results, code, words = load.finish()
        self.assertEqual(({result["http_status"] for result in results}, code), ({200}, 0), words)
        self.assertEqual({self.version(result) for result in results[-20:]}, {"echo-v2"}, "the change was not seen")


class TheShow(unittest.TestCase):
    def test_show(self):
        done = subprocess.run([sys.executable, "-B", TOP / "examples/hello/show.py", "--build", BUILD],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertLessEqual(len(done.stdout.splitlines()), 24, "it is to fit on a screen")
        self.assertIn("Everything happened as expected", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
