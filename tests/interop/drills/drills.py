#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Things that go wrong, seen through libmesh and through an Envoy sidecar at the same time, side by side.

    drills.py [--seconds S] [--rate R] [WORD..]      those whose name contains a word; see run

Both clients have the same configuration from the same istiod, ask the same servers at the same rate, and meet the same
trouble at the same moment. Ends with 0 when libmesh lost no more requests than the sidecar in any drill.
"""

import argparse
import json
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import NETWORKING, eventually, lab_program, pod_manifest, policy  # noqa: E402
from kube import KubeError  # noqa: E402
from lab import Lab  # noqa: E402
from orders import Orders  # noqa: E402
from process import LabError  # noqa: E402
from sidecar import Sidecar  # noqa: E402

CONTROL, DNS_CONTROL = 19000, 19001
FIRST, FEW, MANY = 20000, 8, 1000
NAME = "backend.drill.test"
CALL_MS = 5000
# What may differ by chance in a drill: so many requests, and so much of the slowest hundredth.
SLACK_REQUESTS, SLACK_SHARE, SLACK_MS, SLACK_FACTOR = 3, 0.005, 25, 1.5


class Drill:
    """One thing that goes wrong. `manifests` is its configuration, `trouble` what happens while the clients ask."""

    name = ""
    count = FEW
    resolution = "STATIC"

    def __init__(self, stage, number):
        self.stage = stage
        self.host = f"{type(self).__name__.lower()}.drill.test"
        self.vip = f"240.1.0.{number + 1}"
        self.first = FIRST + number * FEW if self.count == FEW else FIRST + 100
        self.seconds = stage.seconds

    @property
    def ports(self):
        return range(self.first, self.first + self.count)

    def endpoint(self, port):
        return {"address": self.stage.server.address, "ports": {"http": port}, "locality": "region1/zone1"}

    def entry(self, ports=None):
        endpoints = [self.endpoint(port) for port in (self.ports if ports is None else ports)]
        return policy("ServiceEntry", NETWORKING, self.host.split(".")[0], {
            "hosts": [self.host], "addresses": [self.vip], "location": "MESH_INTERNAL", "resolution": self.resolution,
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "endpoints": endpoints})

    def rule(self):
        return policy("DestinationRule", NETWORKING, self.host.split(".")[0], {
            "host": self.host, "trafficPolicy": {
                "connectionPool": {"tcp": {"connectTimeout": "1s"}},
                "outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "3s",
                                     "maxEjectionPercent": 50}}})

    def service(self):
        return policy("VirtualService", NETWORKING, self.host.split(".")[0], {"hosts": [self.host], "http": [{
            "route": [{"destination": {"host": self.host}}], "timeout": "3s",
            "retries": {"attempts": 2, "perTryTimeout": "600ms",
                        "retryOn": "5xx,reset,connect-failure,refused-stream"}}]})

    def manifests(self):
        return [self.entry(), self.rule(), self.service()]

    def tell(self, port, word):
        self.stage.servers.say(port, word)

    def wait(self, share):
        """Until that share of the drill's time has gone by since its trouble began to be counted."""
        left = self.begun + share * self.seconds - time.monotonic()
        if left > 0:
            time.sleep(left)

    def trouble(self):
        raise NotImplementedError

    def run(self):
        self.begun = time.monotonic()
        self.trouble()


class OneBad(Drill):
    """One of eight is bad from a quarter of the time until three quarters of it."""

    word = "dead"

    def trouble(self):
        self.wait(0.25)
        self.tell(self.first, self.word)
        self.wait(0.75)
        self.tell(self.first, "good")


class Dies(OneBad):
    name = "an endpoint dies"


class Hangs(OneBad):
    name = "an endpoint hangs"
    word = "hang"


class Errors(OneBad):
    name = "an endpoint answers 503"
    word = "503"


class Slow(OneBad):
    name = "an endpoint is slow (300 ms)"
    word = "slow=300"


class Flaps(Drill):
    name = "an endpoint flaps"

    def trouble(self):
        for step in range(2, 18):
            self.wait(step / 20)
            self.tell(self.first, "dead" if step % 2 == 0 else "good")


class Removed(Drill):
    name = "an endpoint is removed, then gone"

    def trouble(self):
        self.wait(0.25)
        self.stage.lab.apply([self.entry(list(self.ports)[1:])])
        self.wait(0.6)
        self.tell(self.first, "dead")


class Zone(Drill):
    name = "a whole zone is lost"

    def endpoint(self, port):
        zone = "zone1" if port < self.first + self.count // 2 else "zone2"
        return {**super().endpoint(port), "locality": "region1/" + zone}

    def rule(self):
        rule = super().rule()
        rule["spec"]["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] = 100
        return rule

    def trouble(self):
        self.wait(0.25)
        for port in list(self.ports)[:self.count // 2]:
            self.tell(port, "dead")
        self.wait(0.75)
        for port in list(self.ports)[:self.count // 2]:
            self.tell(port, "good")


class Dns(Drill):
    name = "DNS is silent, then fails"
    resolution = "DNS"
    count = FEW

    def endpoint(self, port):
        return {**super().endpoint(port), "address": NAME}

    def trouble(self):
        self.wait(0.2)
        self.stage.dns.say("silence")
        self.wait(0.6)
        self.stage.dns.say("fail")
        self.wait(0.95)
        self.stage.dns.say("answer")


class Churn(Drill):
    name = "1,000 endpoints churn"
    count = MANY

    def trouble(self):
        rand = random.Random(1)
        for step in range(1, 9):
            self.wait(step / 10)
            self.stage.lab.apply([self.entry(sorted(rand.sample(self.ports, MANY * 9 // 10)))])


DRILLS = (Dies, Hangs, Errors, Slow, Flaps, Removed, Zone, Dns, Churn)


class Stage:
    """The lab with its two clients and the servers."""

    def __init__(self, lab, seconds, rate):
        self.lab, self.seconds, self.rate = lab, seconds, rate
        pods = [pod_manifest("server", "server", in_mesh=False), pod_manifest("libmesh", "libmesh"),
                pod_manifest("sidecar", "sidecar")]
        lab.start_upstream_istiod()
        lab.apply(pods)
        self.server = lab.pods["server"]
        self.clients = {name: lab.pods[name] for name in ("libmesh", "sidecar")}
        (lab.directory / "resolv.conf").write_text(f"nameserver {self.server.address}\noptions timeout:1 attempts:1\n")
        self.clients["libmesh"].record["cluster_names"] = True
        self.server.start([HERE.parent / "scripted_servers.py", str(CONTROL), str(FIRST), str(100 + MANY)],
                          "drill-servers")
        self.server.start([HERE.parent / "scripted_dns.py", str(DNS_CONTROL), NAME, self.server.address], "drill-dns")
        self.servers = Orders.when_ready(self.server, CONTROL)
        self.dns = Orders.when_ready(self.server, DNS_CONTROL)
        self.proxy = Sidecar(self.clients["sidecar"])

    def ask(self, client, drill, seconds=None):
        """Starts one client; the process, whose output is its report."""
        argv = [lab_program("load"), "--rate", self.rate, "--seconds", seconds or self.seconds, "--timeout-ms", CALL_MS]
        if client == "sidecar":
            argv += ["--plain", drill.vip + ":80"]
        pod = self.clients[client]
        return subprocess.Popen(pod.command([*argv, f"http://{drill.host}/"]), env=pod.environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def report(self, process):
        out, err = process.communicate(timeout=120)
        if process.returncode:
            raise LabError(f"lab-load ended with {process.returncode}: {err[-2000:]}")
        return json.loads(out)

    def await_pushed(self, drills):
        """Both clients have the configuration of every drill."""
        for drill in drills:
            for client in self.clients:
                eventually(lambda client=client, drill=drill: self.report(self.ask(client, drill, 0.3))["good"],
                           f"{client} reaches {drill.host}", 30)

    def run(self, drill):
        clients = {client: self.ask(client, drill) for client in self.clients}
        time.sleep(0.5)  # libmesh joins in that time; what the sidecar's client asks meanwhile is before the trouble
        drill.run()
        return {client: self.report(process) for client, process in clients.items()}


def verdict(told):
    ours, theirs = told["libmesh"], told["sidecar"]
    lost = {client: one["asked"] - one["good"] for client, one in told.items()}
    if lost["libmesh"] > lost["sidecar"] + SLACK_REQUESTS + SLACK_SHARE * ours["asked"]:
        return "LOSES MORE"
    if ours["p99_us"] > SLACK_FACTOR * theirs["p99_us"] + 1000 * SLACK_MS:
        return "slower"
    return "no worse"


def row(name, client, one, word=""):
    lost = one["asked"] - one["good"]
    share = 100 * lost / one["asked"] if one["asked"] else 0
    return (f"{name:36}{client:10}{one['asked']:7}{lost:6}{share:8.2f}"
            f"{one['p50_us'] / 1000:9.2f}{one['p99_us'] / 1000:9.2f}"
            f"{one['max_us'] / 1000:9.1f}  {word}").rstrip()


def run(directory, arguments):
    chosen = [kind for kind in DRILLS if not arguments.words or any(word in kind.name for word in arguments.words)]
    worse = 0
    with Lab(directory) as lab:
        stage = Stage(lab, arguments.seconds, arguments.rate)
        drills = [kind(stage, number) for number, kind in enumerate(chosen)]
        lab.apply([manifest for drill in drills for manifest in drill.manifests()])
        stage.proxy.start()
        stage.await_pushed(drills)
        print(f"{'drill':36}{'through':10}{'asked':>7}{'lost':>6}{'%':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
        for drill in drills:
            told = stage.run(drill)
            word = verdict(told)
            worse += word == "LOSES MORE"
            print(row(drill.name, "sidecar", told["sidecar"]))
            print(row("", "libmesh", told["libmesh"], word), flush=True)
            for client, one in told.items():
                if one["why"] or set(one["statuses"]) - {"200"}:
                    print(f"    {client}: {one['statuses']} broken {one['broken']} {one['why']}", flush=True)
    return len(drills), worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("words", nargs="*")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="libmesh-drills-"))
    try:
        count, worse = run(directory / "lab", parser.parse_args())
    except (LabError, KubeError, AssertionError, OSError, socket.error) as error:
        print(f"drills: {error}; logs: {directory}/lab/logs", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    print(f"{count - worse} of {count} drills: libmesh lost no more requests than the sidecar")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
