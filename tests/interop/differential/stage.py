# SPDX-License-Identifier: Apache-2.0
"""The place of the differential test: a lab with two clients of one configuration, and what became of requests.

`Stage.push` gives both clients a configuration, `Stage.exchange` sends both the same requests. It decides how a request
is sent and how its outcome is read. It refuses to know what a configuration means and whether two outcomes are alike
(compare.py).
"""

import concurrent.futures
import json
import subprocess
import time

import control_plane
import netns
from harness import JOIN_SECONDS, NETWORKING, eventually, lab_program, pod_manifest, policy, program, service_manifest
from kube import KubeError
from process import LabError
from sidecar import Sidecar

from rawhttp import Connection, Connection2

CONTROL, FIRST, PER_SLOT = 19000, 20000, 4
SLOTS = 40  # services that one push gives a configuration each
LANES = 4
DESTINATIONS = ("v1", "v2", "v3", "other")
MARKER, SECURE = "marker.diff.test", "secure.default.svc.cluster.local"
NONE, DNS, TARGET = "none.diff.test", "dns.diff.test", "target.diff.test"  # services by how their endpoints are found
PUSH_SECONDS = 40
QUIET_SECONDS = 0.25
# One line of JSON for each request, as Envoy saw it.
LOG = {"case": "%REQ(X-CASE)%", "flag": "%RESPONSE_FLAGS%", "cluster": "%UPSTREAM_CLUSTER_RAW%",
       "route": "%ROUTE_NAME%",
       "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "why": "%RESPONSE_CODE_DETAILS%", "status": "%RESPONSE_CODE%",
       "method": "%REQ(:METHOD)%"}


def vip(slot, other=False):
    return f"240.2.{1 if other else 0}.{slot + 1}"


def host(slot, other=False):
    return f"{'o' if other else 's'}{slot}.diff.test"


def entry(name, address, endpoints, hosts=None):
    return policy("ServiceEntry", NETWORKING, name.split(".")[0], {
        "hosts": hosts or [name], "addresses": [address], "location": "MESH_INTERNAL", "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"},
                  {"number": 8080, "name": "http-two", "protocol": "HTTP"}],
        "endpoints": endpoints})


class Stage:
    """`requests` of `exchange` are dicts: method, authority, path, headers [[name, value]..], body, port, lane."""

    def __init__(self, lab):
        self.lab = lab
        self.generation = 0
        self.number = 0
        self.applied = set()  # (kind, name) of the last push
        self.refused = {}
        control_plane.MESH_CONFIG.update(accessLogEncoding="JSON", accessLogFormat=json.dumps(LOG))
        lab.start_upstream_istiod()
        # The same labels: a VirtualService may ask for its source's.
        lab.apply([pod_manifest("libmesh", "differ"), pod_manifest("sidecar", "differ"),
                   pod_manifest("upstream", "upstream", in_mesh=False),
                   *(pod_manifest("secure-" + version, "secure", version) for version in ("v1", "v2")),
                   service_manifest("secure", 80, "secure")])
        self.upstream, self.pods = lab.pods["upstream"], {name: lab.pods[name] for name in ("libmesh", "sidecar")}
        for names in ("hosts", "hosts.services"):
            with (lab.directory / names).open("a") as file:
                file.write(f"{self.upstream.address} {NONE} {TARGET}\n")
        lab.apply(self._services())
        self.upstream.start([str(control_plane.HERE / "differential/upstream.py"), str(CONTROL), str(FIRST),
                             str(SLOTS * PER_SLOT), "80"], "upstream")
        for version in ("v1", "v2"):
            lab.pods["secure-" + version].start([program("echo"), "--port", "8080", "--name", version],
                                                "secure-" + version)
        self.proxy = Sidecar(self.pods["sidecar"]).start()
        self.records = eventually(lambda: self._connect(self.upstream, "127.0.0.1", CONTROL), "the upstreams listen",
                                  JOIN_SECONDS).makefile("rwb")
        for pod in (lab.pods["secure-v1"], lab.pods["secure-v2"]):
            eventually(lambda pod=pod: self._connect(pod, "127.0.0.1", 8080), f"{pod.name} listens",
                       JOIN_SECONDS).close()
        self.log = (lab.logs / "sidecar-sidecar.log").open("rb")
        self.libmesh = self._start_libmesh()

    @staticmethod
    def _connect(pod, address, port):
        try:
            return netns.connect(pod.netns, (address, port))
        except OSError:
            return None

    def _services(self):
        """A service with three versions, and another one beside it, for every slot; and nothing else can be reached."""
        def endpoint(slot, number):
            return {"address": self.upstream.address, "labels": {"version": DESTINATIONS[number]},
                    "ports": {port: FIRST + slot * PER_SLOT + number for port in ("http", "http-two")}}
        for slot in range(SLOTS):
            yield entry(host(slot), vip(slot), [endpoint(slot, number) for number in range(3)])
            yield entry(host(slot, True), vip(slot, True), [endpoint(slot, 3)])
        yield entry(MARKER, vip(200), [endpoint(0, 0)])
        port = {"number": 80, "name": "http", "protocol": "HTTP"}
        yield policy("ServiceEntry", NETWORKING, "none", {
            "hosts": [NONE], "location": "MESH_EXTERNAL", "resolution": "NONE", "ports": [port]})
        yield policy("ServiceEntry", NETWORKING, "dns", {
            "hosts": [DNS], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": [port],
            "endpoints": [{"address": TARGET, "ports": {"http": FIRST}}]})
        yield self._strangers("REGISTRY_ONLY")

    @staticmethod
    def _strangers(mode):
        """What becomes of a request to a host that no service is."""
        return policy("Sidecar", NETWORKING, "default", {"outboundTrafficPolicy": {"mode": mode},
                                                        "egress": [{"hosts": ["*/*"]}]})

    def _start_libmesh(self):
        pod = self.pods["libmesh"]
        log = (self.lab.logs / "libmesh.log").open("wb")
        process = subprocess.Popen(pod.command([lab_program("requests"), "-c", str(LANES)]), env=pod.environment(),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        if b"ready" not in process.stdout.readline():
            raise LabError(f"lab-requests did not join, log {self.lab.logs}/libmesh.log")
        return process

    def close(self):
        """Ends libmesh's client; a bad end is an error (a leak, for instance, with a sanitizer)."""
        self.libmesh.stdin.close()
        code = self.libmesh.wait(30)
        if code:
            raise LabError(f"lab-requests ended with {code}, log {self.lab.logs}/libmesh.log")

    # ---- configuration

    def push(self, manifests, strangers="REGISTRY_ONLY"):
        """Gives both clients these objects instead of those of the last push; waits until they act on them.

        What the API server does not take is left out and kept in `refused`: not all that is generated is valid.
        """
        self.generation += 1
        manifests = list(manifests)
        kept = set()
        self.refused = {}
        for manifest in manifests:
            name = manifest["kind"], manifest["metadata"]["name"]
            try:
                self.lab.kube.apply(manifest)
                kept.add(name)
            except KubeError as error:
                self.refused[name] = str(error)
        for kind, name in (self.applied | set(self.refused)) - kept:
            self.lab.kube.delete(self.lab.kube.path(kind, name, api=NETWORKING))
        self.applied = kept
        self.lab.kube.apply(self._strangers(strangers))
        self.lab.kube.apply(policy("VirtualService", NETWORKING, "marker", {"hosts": [MARKER], "http": [
            {"name": f"generation-{self.generation}",
             "redirect": {"uri": f"/generation-{self.generation}"}}]}))
        for name, ask in (("libmesh", self._ask_libmesh), ("sidecar", self._ask_sidecar)):
            eventually(lambda ask=ask: self._marked(ask), f"{name} has the configuration", PUSH_SECONDS)
        # Envoy takes routes before the last of the clusters are warm.
        time.sleep(0.3)
        eventually(lambda: not any(self.proxy.stats("cluster_manager.warming_clusters").values()),
                   "Envoy's clusters are warm",
                   PUSH_SECONDS)

    def _marked(self, ask):
        answer = next(iter(ask([{"id": "marker", "method": "GET", "authority": MARKER, "path": "/", "headers": [],
                                 "body": "", "lane": 0, "port": 80}]).values()))
        where = next((value for name, value in answer.get("headers", []) if name.lower() == "location"), "")
        return where.endswith(f"/generation-{self.generation}")

    # ---- requests

    def exchange(self, requests):
        """Sends them through both; {"libmesh": [outcome..], "sidecar": [outcome..]} in their order."""
        self._arrived()
        for request in requests:
            self.number += 1
            request["id"] = f"c{self.number}"
            request["authority"] = request["authority"].replace("UPSTREAM", self.upstream.address)
        sent = [{**request, "headers": [["x-case", request["id"]], *request["headers"]]} for request in requests]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            ours = pool.submit(self._ask_libmesh, sent)
            answers = {"sidecar": self._ask_sidecar(sent), "libmesh": ours.result()}
        self._read_log(answers["sidecar"], sent)
        arrivals = self._all_arrived()
        for client, pod in self.pods.items():
            for outcome in answers[client].values():
                outcome["arrivals"] = []
            for arrival in arrivals:
                case = next((value for name, value in arrival["headers"] if name == "x-case"), "")
                if arrival["client"] == pod.address and case in answers[client]:
                    answers[client][case]["arrivals"].append(self._named(arrival))
        return {client: [answers[client][request["id"]] for request in requests] for client in self.pods}

    def _named(self, arrival):
        slot, number = divmod(arrival["port"] - FIRST, PER_SLOT)
        headers = [[name, value.replace(arrival["client"], "<own address>")] for name, value in arrival["headers"]]
        destination = DESTINATIONS[number] if arrival["port"] >= FIRST else f"port {arrival['port']}"
        return {**arrival, "headers": headers, "slot": slot, "destination": destination}

    def _all_arrived(self):
        """Mirrored copies are not waited for by anybody: the last of them has come when no more come."""
        arrivals, more = [], True
        while more:
            time.sleep(QUIET_SECONDS)
            more = self._arrived()
            arrivals += more
        return arrivals

    def _arrived(self):
        self.records.write(b"take\n")
        self.records.flush()
        return json.loads(self.records.readline())

    def _ask_libmesh(self, requests):
        answers = {}
        for at in range(0, len(requests), 256):  # bounded: nobody reads while we write
            for request in requests[at:at + 256]:
                self.libmesh.stdin.write(json.dumps(request).encode() + b"\n")
            self.libmesh.stdin.flush()
            for _ in requests[at:at + 256]:
                line = self.libmesh.stdout.readline()
                if not line:
                    raise LabError(f"lab-requests ended, log {self.lab.logs}/libmesh.log")
                answer = json.loads(line)
                answers[answer["id"]] = answer
        return answers

    def _ask_sidecar(self, requests):
        answers = {}

        def run(lane):
            connections = {}
            for request in requests:
                if request["lane"] % LANES != lane:
                    continue
                port, kind = request["port"], Connection2 if request.get("version") == 2 else Connection
                # Where a connection goes that is not told by the name it is for.
                to = self.upstream.address if request.get("to") == "upstream" else vip(0)
                if (to, port, kind) not in connections:
                    connections[to, port, kind] = kind(
                        lambda to=to, port=port: netns.connect(self.pods["sidecar"].netns, (to, port), timeout=20))
                answers[request["id"]] = connections[to, port, kind].ask(request)
            for connection in connections.values():
                connection.close()
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            list(pool.map(run, range(LANES)))
        return answers

    def _read_log(self, answers, requests):
        """Adds to the answers what Envoy's access log says; it is written once a second."""
        waiting = {request["id"] for request in requests if "refused" not in answers[request["id"]]}
        deadline = time.monotonic() + 15
        rest = b""
        while waiting and time.monotonic() < deadline:
            data = self.log.read()
            if not data:
                time.sleep(0.05)
                continue
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                entry_ = self._entry(line)
                if entry_ and entry_.get("case") in waiting:
                    waiting.discard(entry_["case"])
                    answers[entry_["case"]].update(
                        flag=entry_["flag"] or "-", cluster=entry_["cluster"] or "", route=entry_["route"] or "",
                        attempts=int(entry_["attempts"] or 0), why=entry_["why"] or "")

    @staticmethod
    def _entry(line):
        if not line.startswith(b"{"):
            return None
        try:
            return json.loads(line)
        except ValueError:
            return None
