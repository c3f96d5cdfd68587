# SPDX-License-Identifier: Apache-2.0
"""Does it hold when much is asked: large bodies, many requests, many streams, peers that drain; without loss or leak?

LIBMESH_INTEROP_LONG=1 streams bodies of 1 GiB instead of 64 MiB.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from control_plane import peer_paths
from drivers import run
from harness import JOIN_SECONDS, Load, echo_of, eventually, good, lab_program, last, pod_manifest, program
from matrix import ENVOY, PORTS, service
from process import Process
from sidecar import Sidecar
from test_peers import PeerCase

LONG = os.environ.get("LIBMESH_INTEROP_LONG", "0") not in ("", "0")
BODY_BYTES = (1024 if LONG else 64) * 1024 * 1024
REQUESTS = 10_000
STREAMS = 1_000
ROOM_KIB = 24 * 1024  # what memory may grow by, whatever the size of a body
# version, options of lab-soak, option of curl, port
VERSIONS = (("HTTP/1.1", (), "--http1.1", "http-mirror"),
            ("HTTP/2", ("--http2",), "--http2-prior-knowledge", "http2-mirror"))


def status_kib(process: Process, field):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(field + r":\s+(\d+)", text).group(1))


def descriptors(process: Process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


class Soak(PeerCase):

    def soak(self, what, server, port, number, *options):
        """lab-soak in the client's pod to its end; what it measured, all of it having gone well."""
        argv = [lab_program("soak"), *options, what, f"http://{server}:{PORTS[port]}/", str(number)]
        code, out, err = run(self.client, argv, 300)
        self.assertEqual(code, 0, out + err)
        told = json.loads(out)
        self.assertEqual(told["good"], told["calls"], told)
        return told

    def both(self, action):
        """The same against a libmesh server and an Envoy sidecar, in both versions of HTTP."""
        for server in ("inner", "side"):
            for version, options, _, port in VERSIONS:
                with self.subTest(f"{version} to {server}"):
                    action(server, port, options)

    def test_large_bodies(self):
        """Streamed there and back at once; no end keeps more than a bound of it."""
        mirror = self.peers.mirror
        before = status_kib(mirror, "VmHWM")

        def action(server, port, options):
            told = self.soak("body", server, port, BODY_BYTES, *options)
            self.assertLess(told["peak_kib"] - told["rss_kib"], ROOM_KIB, told)
        self.both(action)
        self.assertLess(status_kib(mirror, "VmHWM") - before, ROOM_KIB)

    def test_large_bodies_from_envoy(self):
        """Envoy brings the body to libmesh and takes it back."""
        mirror = self.peers.mirror
        before = status_kib(mirror, "VmHWM")
        piece = bytes(index * 7 % 251 for index in range(65536))
        path = self.lab.directory / "body"
        self.addCleanup(path.unlink)
        with path.open("wb") as file:
            for _ in range(BODY_BYTES // len(piece)):
                file.write(piece)
        wanted = self.digest(path)
        for version, _, option, port in VERSIONS:
            with self.subTest(version):
                back = self.lab.directory / "back"
                self.addCleanup(back.unlink, missing_ok=True)
                self.in_sidecar("curl", "-sS", "-f", option, "-H", "Expect:", "-T", str(path), "-o", str(back),
                                f"http://inner:{PORTS[port]}/", seconds=300)
                self.assertEqual(self.digest(back), wanted)
        self.assertLess(status_kib(mirror, "VmHWM") - before, ROOM_KIB)

    @staticmethod
    def digest(path):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def test_many_requests_on_one_connection(self):
        def action(server, port, options):
            told = self.soak("many", server, port, REQUESTS, *options)
            self.assertEqual(told["connections"], 0, "all on the connection of the call before them")
            self.assertLessEqual(told["fds_after"], told["fds"])
            self.assertLess(told["peak_kib"] - told["rss_kib"], 4096, told)
        self.soak("many", "inner", "http-mirror", REQUESTS)  # for what a server keeps once for all
        before = status_kib(self.peers.mirror, "VmRSS")
        self.both(action)
        self.assertLess(status_kib(self.peers.mirror, "VmRSS") - before, 2048, "the server keeps nothing of requests")

    def test_many_requests_from_envoy(self):
        """On one connection of the application's with Envoy, and few of Envoy's with libmesh."""
        for version, argv, port in (("HTTP/1.1", ["--h1"], "http-mirror"), ("HTTP/2", ["-m", "100"], "http2-mirror")):
            with self.subTest(version):
                pattern = f"{PORTS[port]}..inner"
                out, rose = self.counted(pattern, lambda argv=argv, port=port: self.in_sidecar(
                    "h2load", *argv, "-n", str(REQUESTS), "-c", "1", f"http://inner:{PORTS[port]}/", seconds=120))
                self.assertIn(f"status codes: {REQUESTS} 2xx", out)
                connections = sum(by for name, by in rose.items() if name.endswith(".upstream_cx_total"))
                self.assertLessEqual(connections, 1, "no connection was lost on the way")

    def test_many_streams(self):
        """All open at once, over one connection where the server allows it; no descriptor is left behind."""
        mirror = self.peers.mirror
        before = descriptors(mirror)
        told = self.soak("streams", "inner", "http2-mirror", STREAMS, "--http2")
        self.assertEqual((told["open"], told["connections"]), (STREAMS, 0), "all were open at once, on one connection")
        self.assertLessEqual(told["fds_after"], told["fds"])
        told = self.soak("streams", "inner", "http-mirror", STREAMS)
        self.assertEqual((told["open"], told["connections"]), (STREAMS, STREAMS - 1))
        eventually(lambda: descriptors(mirror) <= before + 2, "the server has closed what clients have left")

    def test_many_streams_with_envoy(self):
        most, done = [0], threading.Event()
        gauge = f"http.inbound_0.0.0.0_{PORTS['http2-mirror']};.downstream_rq_active"

        def watch():
            while not done.wait(0.05):
                most[0] = max(most[0], self.sidecar.stats(re.escape(gauge)).get(gauge, 0))
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            told = self.soak("streams", "side", "http2-mirror", STREAMS, "--http2")
        finally:
            done.set()
            watcher.join()
        self.assertEqual(most[0], STREAMS, "Envoy had all of them at once")
        self.assertLessEqual(told["fds_after"], told["fds"] + told["connections"])

    def test_many_streams_from_envoy(self):
        out = self.in_sidecar("h2load", "-n", str(REQUESTS), "-c", "1", "-m", str(STREAMS),
                              f"http://inner:{PORTS['http2-mirror']}/", seconds=120)
        self.assertIn(f"status codes: {REQUESTS} 2xx", out)


class Drain(PeerCase):
    """One service with two pods, of libmesh and behind Envoy: each drains under load from both kinds of client."""

    def setUp(self):
        super().setUp()
        objects = [service("turns")]
        for name in ("turns-inner", "turns-side"):
            pod = pod_manifest(name, "turns")
            pod["spec"]["containers"][0]["ports"] = [
                {"name": port, "containerPort": PORTS[port]} for port in ("http", "http2")]
            objects.append(pod)
        self.addCleanup(self.lab.delete, objects)
        self.apply(*objects)
        self.inner, self.side = self.lab.pods["turns-inner"], self.lab.pods["turns-side"]
        self.side.start([peer_paths()["ECHO_SERVER"], "--port", str(PORTS["http"]), "--port", str(PORTS["http2"]),
                         "--grpc", "7070", "--tcp", "9090", "--version", "v1"], "istio-echo-turns",
                        env={"INSTANCE_IP": self.side.address})
        self.proxy = Sidecar(self.side).start()
        self.start_inner()

    def start_inner(self):
        self.servers = [self.inner.start([program("echo"), "--port", str(PORTS[port]), "--name", "turns-inner"],
                                         f"turns-inner-{port}") for port in ("http", "http2")]

    @staticmethod
    def by_inner(result):
        return good(result) and result["body"].startswith("{") and echo_of(result)["name"] == "turns-inner"

    @staticmethod
    def by_side(result):
        return good(result) and "ServiceVersion=v1" in result["body"]

    @contextlib.contextmanager
    def load_from_envoy(self, seconds=7):
        """Load of both versions from beside the Envoy sidecar, from before what happens in the block until after it."""
        pod, running = self.peers.clients[ENVOY], []
        for options, port in ((["--h1"], "http"), (["-m", "8"], "http2")):
            argv = ["h2load", *options, "-D", str(seconds), "-c", "4", "--rps", "25", f"http://turns:{PORTS[port]}/"]
            running.append(subprocess.Popen(pod.command(argv), env=pod.environment(), stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True))
        began = time.monotonic()
        time.sleep(1)
        yield
        self.assertLess(time.monotonic() - began, seconds, "it happened under load")
        for process in running:
            self.check_h2load(process)

    def check_h2load(self, process):
        out = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0, out)
        total, wrong = re.search(r"requests: (\d+) total.* (\d+) failed", out).groups()
        self.assertGreater(int(total), 100, out)
        self.assertEqual(int(wrong), 0, out)
        self.assertRegex(out, r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx")

    def end_in_order(self, pod, processes):
        """What a cluster does: no new traffic first, some time for all to know it, then the signal."""
        self.lab.set_terminating(pod)
        time.sleep(1)
        for process in processes:
            os.kill(process.pid, signal.SIGTERM)

    def test_both_drain_under_load(self):
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(Load(pod, f"http://turns:{PORTS[port]}/", 4, options=options)) for
                     pod, port, options in ((self.client, "http", ()), (self.stranger, "http2", ("--http2",)))]

            def wait(condition, what):
                for load in loads:
                    load.wait(condition, what, JOIN_SECONDS)
            wait(lambda results: any(map(self.by_inner, results)) and any(map(self.by_side, results)), "both pods answer")
            with self.load_from_envoy():
                self.end_in_order(self.inner, self.servers)
                wait(lambda results: last(results, 40, self.by_side), "only the Envoy sidecar answers")
            for server in self.servers:
                eventually(lambda server=server: server.exit_code() == 0, server.name + " ended in order")
            self.inner.record["terminating"] = False
            self.start_inner()
            self.lab.set_ready(self.inner)
            wait(lambda results: any(map(self.by_inner, results)), "the libmesh server answers again")
            with self.load_from_envoy():
                self.end_in_order(self.side, [self.proxy.process])
                wait(lambda results: last(results, 40, self.by_inner), "only the libmesh server answers")
            eventually(lambda: not self.proxy.process.alive(), "the agent ended")
