# SPDX-License-Identifier: Apache-2.0
"""Does libmesh choose endpoints as an Envoy sidecar does, with the same configuration and the same servers?

Consistent hashing must name the same server for the same key, also after hosts have left. What is drawn at random is
compared by its shares, with bounds that chance keeps to.
"""

import collections
import json
import pathlib
import subprocess

from harness import NETWORKING, eventually, lab_program, pod_manifest, policy
from matrix import ENVOY, LIBMESH
from orders import Orders
from test_peers import PeerCase

CONTROL, FIRST, SERVERS = 19000, 20000, 16
SCRIPTED = pathlib.Path(__file__).resolve().parent / "scripted_servers.py"
VIP = "240.2.0.1"
HOST = "balanced.lab.test"
KEYS = 400


class Balancers(PeerCase):
    """Of the 16 servers of one pod, each case takes as many as it needs."""

    servers = None
    orders = None

    def setUp(self):
        super().setUp()
        if "balanced" not in self.lab.pods:
            self.lab.apply([pod_manifest("balanced", "balanced", in_mesh=False)])
            self.lab.pods["balanced"].start([SCRIPTED, str(CONTROL), str(FIRST), str(SERVERS)], "scripted-servers")
        self.pod = self.lab.pods["balanced"]
        self.orders = Orders.when_ready(self.pod, CONTROL)
        self.addCleanup(self.lab.delete_all, "ServiceEntry", NETWORKING)
        self.addCleanup(self.all_good)

    def all_good(self):
        for number in range(SERVERS):
            self.orders.say(FIRST + number, "good")
        self.orders.close()

    def entry(self, numbers, zone=lambda number: "zone1"):
        return policy("ServiceEntry", NETWORKING, "balanced", {
            "hosts": [HOST], "addresses": [VIP], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": self.pod.address, "ports": {"http": FIRST + number},
                           "locality": "region1/" + zone(number)} for number in numbers]})

    def rule(self, **traffic):
        return policy("DestinationRule", NETWORKING, "balanced", {"host": HOST, "trafficPolicy": traffic})

    def ask(self, kind, count, rate=400, keys=True, timeout_ms=5000):
        """Which server answered each of so many requests through one of the clients."""
        argv = [lab_program("load"), "--rate", rate, "--seconds", (count - 0.5) / rate, "--timeout-ms", timeout_ms]
        if keys:
            argv += ["--keys", "x-key"]
        if kind == ENVOY:
            argv += ["--plain", VIP + ":80"]
        pod = self.peers.clients[kind]
        done = subprocess.run(pod.command([*argv, f"http://{HOST}/"]), env=pod.environment(), capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual(told["asked"], count)
        return [server - FIRST if server else None for server in told["servers"]]

    def both(self, count, **options):
        return {kind: self.ask(kind, count, **options) for kind in (LIBMESH, ENVOY)}

    def await_servers(self, numbers):
        """Both clients know of these servers and no others."""
        wanted = set(numbers)
        for kind in (LIBMESH, ENVOY):
            eventually(lambda kind=kind: set(self.ask(kind, 30 * len(wanted))) == wanted,
                       f"{kind} uses servers {wanted}", 30)

    def consistent(self, hashing):
        """The same server for every key, before and after a host has left; only its keys move, and few others."""
        self.apply(self.entry(range(8)), self.rule(loadBalancer={"consistentHash": hashing}))
        self.await_servers(range(8))
        before = self.both(KEYS)
        self.assertEqual(before[LIBMESH], before[ENVOY])
        self.assertEqual(set(before[LIBMESH]), set(range(8)))
        self.apply(self.entry(range(7)))
        self.await_servers(range(7))
        after = self.both(KEYS)
        self.assertEqual(after[LIBMESH], after[ENVOY])
        moved = sum(1 for old, new in zip(before[LIBMESH], after[LIBMESH]) if old != new)
        of_the_gone = before[LIBMESH].count(7)
        self.assertGreaterEqual(moved, of_the_gone)
        self.assertLess(moved - of_the_gone, KEYS // 5)  # a ring of other size has points elsewhere too

    def test_ring_hash(self):
        self.consistent({"httpHeaderName": "x-key", "ringHash": {"minimumRingSize": 1024}})

    def test_maglev(self):
        self.consistent({"httpHeaderName": "x-key", "maglev": {"tableSize": 65537}})

    def test_least_request_avoids_the_slow(self):
        """One of four takes 60 ms: both give it far less than its quarter, libmesh about as little as Envoy."""
        self.apply(self.entry(range(4)), self.rule(loadBalancer={"simple": "LEAST_REQUEST"}))
        self.await_servers(range(4))
        self.orders.say(FIRST, "slow=60")
        shares = {kind: servers.count(0) / len(servers) for kind, servers in self.both(1200, keys=False).items()}
        for share in shares.values():
            self.assertLess(share, 0.18, shares)
        self.assertLess(shares[LIBMESH], shares[ENVOY] + 0.06, shares)

    def test_round_robin_is_even(self):
        self.apply(self.entry(range(4)), self.rule(loadBalancer={"simple": "ROUND_ROBIN"}))
        self.await_servers(range(4))
        for kind, servers in self.both(400, keys=False).items():
            counts = collections.Counter(servers)
            self.assertEqual(set(counts), set(range(4)), kind)
            self.assertLessEqual(max(counts.values()) - min(counts.values()), 2, (kind, counts))

    def test_spill_over(self):
        """With k of 8 endpoints of the near zone ejected, that zone keeps min(1, 1.4 (8 - k) / 8) of the requests."""
        self.apply(
            self.entry(range(16), lambda number: "zone1" if number < 8 else "zone2"),
            policy("VirtualService", NETWORKING, "balanced", {"hosts": [HOST], "http": [{
                "route": [{"destination": {"host": HOST}}], "retries": {"attempts": 0}}]}),
            self.rule(loadBalancer={"simple": "RANDOM"}, outlierDetection={
                "consecutive5xxErrors": 1, "interval": "600s", "baseEjectionTime": "600s", "maxEjectionPercent": 100}))
        self.await_servers(range(8))
        for ejected in (2, 4, 6):
            with self.subTest(ejected=ejected):
                for number in range(ejected):
                    self.orders.say(FIRST + number, "503")
                wanted = min(1, 1.4 * (8 - ejected) / 8)
                for kind in (LIBMESH, ENVOY):
                    # one process of libmesh ejects for itself: what it asks before that is not counted
                    servers = self.ask(kind, 1500, keys=False)[700:]
                    near = sum(1 for server in servers if server is not None and server < 8) / len(servers)
                    self.assertAlmostEqual(near, wanted, delta=0.08, msg=f"{kind}")
                    self.assertFalse(set(servers) & set(range(ejected)), kind)
