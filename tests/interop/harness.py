# SPDX-License-Identifier: Apache-2.0
"""What the cases are written in: workloads, calls by mesh-call and curl, load in the background, and waiting."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import threading
import time
import tty
import unittest

SECURITY = "security.istio.io/v1"
NETWORKING = "networking.istio.io/v1"
ENVOY_FILTER = "networking.istio.io/v1alpha3"
ECHO_URL = "http://echo.default.svc.cluster.local:8080"
POLICY_KINDS = (("VirtualService", NETWORKING), ("DestinationRule", NETWORKING),
                ("PeerAuthentication", SECURITY), ("AuthorizationPolicy", SECURITY))
SOTW = {"LIBMESH_XDS_MODE": "sotw"}
JOIN_SECONDS = 20  # for a program to have its certificate and configuration, on a machine that is busy
PUSH_SECONDS = 15  # for a change to have gone from the API server through istiod into every program


def program(name):
    """The path of one of the example programs, in the build directory that LIBMESH_BUILD names."""
    return pathlib.Path(os.environ["LIBMESH_BUILD"]).resolve() / "examples" / name / ("mesh-" + name)


def lab_program(name):
    """The path of one of the lab's own programs, see programs/."""
    return pathlib.Path(os.environ["LIBMESH_BUILD"]).resolve() / "tests/interop/programs" / ("lab-" + name)


def grpc_program(name):
    """The path of one of libmesh's programs of gRPC's interop suite, see grpc/."""
    return pathlib.Path(os.environ["LIBMESH_BUILD"]).resolve() / "tests/interop/grpc" / name


def pod_manifest(name, app, version="v1", account=None, port=8080, in_mesh=True, probe=False):
    """A pod with the labels that Istio's injector would give it; without them when it is not of the mesh."""
    labels = {"app": app, "version": version}
    if in_mesh:
        labels.update({"security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": app,
                       "service.istio.io/canonical-revision": version})
    container = {"name": "app", "image": "none", "ports": [{"name": "http", "containerPort": port}]}
    if probe:
        container["readinessProbe"] = {"tcpSocket": {"port": port}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"serviceAccountName": account or app, "containers": [container]}}


def service_manifest(name, port=8080, app=None, protocol="http", **spec):
    """A service for the pods of `app`, on their port 8080 or the one given; its name tells Istio the protocol."""
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"selector": {"app": app or name},
                     "ports": [{"name": protocol, "port": port, "targetPort": 8080 if app else port}], **spec}}


def policy(kind, api, name, spec):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def peer_authentication(mode):
    return policy("PeerAuthentication", SECURITY, "default", {"mtls": {"mode": mode}})


def authorization(name, spec):
    return policy("AuthorizationPolicy", SECURITY, name, {"selector": {"matchLabels": {"app": "echo"}}, **spec})


def split(v1, v2):
    """A VirtualService that sends so many percent to each version of echo."""
    routes = [{"destination": {"host": "echo", "subset": subset}, "weight": weight}
              for subset, weight in (("v1", v1), ("v2", v2)) if weight]
    return policy("VirtualService", NETWORKING, "echo", {"hosts": ["echo"], "http": [{"route": routes}]})


def subsets(**traffic_policy):
    """A DestinationRule that tells the versions of echo apart."""
    versions = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
    spec = {"host": "echo", "subsets": versions}
    if traffic_policy:
        spec["trafficPolicy"] = traffic_policy
    return policy("DestinationRule", NETWORKING, "echo", spec)


def good(result):
    """Whether a call did what its caller wanted."""
    return result["http_status"] == 200


def echo_of(result):
    """What mesh-echo says it received."""
    return json.loads(result["body"])


def header_of(headers, name):
    return next((value for key, value in headers.items() if key.lower() == name), None)


def values(tree, key):
    """All values of that key, anywhere in decoded JSON."""
    if isinstance(tree, list):
        return [value for item in tree for value in values(item, key)]
    if not isinstance(tree, dict):
        return []
    return [value for name, item in tree.items() for value in ([item] if name == key else values(item, key))]


def _call_argv(url, options):
    return [program("call"), *options, "--json", url]


def _run_call(pod, url, options, env, exits):
    """What mesh-call says, run in a pod to its end."""
    done = subprocess.run(pod.command(_call_argv(url, options)), env=pod.environment(env), capture_output=True,
                          text=True, timeout=120, check=False)
    if done.returncode not in exits:
        raise AssertionError(f"mesh-call ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def call(pod, url=ECHO_URL, *options, env=None, exits=(0, 1)):
    """Runs mesh-call in a pod to its end; its results, in the order in which they came."""
    return [json.loads(line) for line in _run_call(pod, url, options, env, exits).splitlines()]


def explain(pod, url=ECHO_URL, *options):
    """What would become of a call, and why; nothing is sent."""
    return json.loads(_run_call(pod, url, ["--explain", *options], None, (0,)))


def call_that_cannot_join(pod, env=None):
    """Runs a mesh-call that must not become ready; what it said."""
    argv = [program("call"), "--ready-ms", "3000", "--json", ECHO_URL]
    done = subprocess.run(pod.command(argv), env=pod.environment(env), capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 2 or done.stdout:
        raise AssertionError(f"expected exit status 2 and no calls: {done.returncode} {done.stdout} {done.stderr}")
    return done.stderr


def curl(pod, path="/", target=None, options=()):
    """A plaintext request from a process that knows no mesh; (curl's exit status, HTTP status, body)."""
    argv = ["curl", "-sS", "--path-as-is", "--max-time", "5", "-w", "\n%{http_code}", *options,
            f"http://{target.address}:8080{path}"]
    done = subprocess.run(pod.command(argv), env=pod.environment(), capture_output=True, text=True, check=False)
    body, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), body


def eventually(condition, what, seconds=PUSH_SECONDS):
    """Configuration travels: polls until `condition()` is true; its last value, or an AssertionError."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


class Load:
    """mesh-call in the background, calling until it is told to stop; leaving the block fails on any failed call."""

    def __init__(self, pod, url=ECHO_URL, concurrency=8, interval_ms=10, env=None, options=()):
        self.pod = pod
        self.results = []
        self.argv = _call_argv(url, ["-n", "1000000000", "-c", str(concurrency), "--interval-ms", str(interval_ms),
                                     *options])
        self.env = env
        self._process = None
        self._reader = None
        self._stopping = False
        self._errors = pod.lab_directory / "logs" / f"load-{pod.name}.log"

    def __enter__(self):
        # Standard output is a terminal, so that results come line by line and not by the buffer.
        terminal, output = pty.openpty()
        tty.setraw(output)
        with open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(self.pod.command(self.argv), env=self.pod.environment(self.env),
                                             stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                             start_new_session=True)
        os.close(output)
        self._reader = threading.Thread(target=self._read, args=(terminal,), daemon=True)
        self._reader.start()
        try:
            self.wait(lambda results: len(results) > 20, "the load began", JOIN_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def _read(self, terminal):
        with open(terminal, "rb", buffering=0) as stream:
            rest = b""
            while True:
                try:
                    data = stream.read(65536)
                except OSError:  # how a terminal says that its last writer has gone
                    return
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                self.results.extend(json.loads(line) for line in lines)

    def _end(self):
        self._stopping = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)

    def __exit__(self, kind, value, trace):
        died = self._process.poll()
        self._end()
        if kind is not None:
            return
        if died is not None:
            raise AssertionError(f"mesh-call ended by itself with {died} under load:\n{self._log()}")
        self.check()

    def _log(self):
        return self._errors.read_text(errors="replace")[-3000:]

    def check(self):
        """Not one call may have failed."""
        bad = [result for result in self.results if not good(result)]
        if bad:
            first = [{key: result.get(key) for key in ("status", "flag", "http_status", "attempts", "endpoint")}
                     for result in bad[:3]]
            raise AssertionError(f"{len(bad)} of {len(self.results)} calls failed, the first: {first}\n{self._log()}")

    def wait(self, condition, what, seconds=PUSH_SECONDS):
        """Waits until `condition` holds for the results that came since now."""
        start = len(self.results)

        def check():
            if self._process.poll() is not None:
                raise AssertionError(f"mesh-call ended with {self._process.returncode} before {what}:\n{self._log()}")
            return condition(self.results[start:])
        return eventually(check, what, seconds)

    def run_for(self, seconds):
        """Lets time pass under load; it must go on all the while."""
        start = len(self.results)
        time.sleep(seconds)
        if len(self.results) - start < seconds:  # far below the wanted rate: less than one a second
            raise AssertionError(f"only {len(self.results) - start} calls ended in {seconds} s")


def names(results):
    """The set of names of the servers that answered."""
    return {echo_of(result)["name"] for result in results if good(result)}


def last(results, count, condition):
    """Whether at least `count` came and the last `count` all fulfil the condition."""
    return len(results) >= count and all(condition(result) for result in results[-count:])


class MeshTest(unittest.TestCase):
    """A case in the lab that all share, see cases.py: client, stranger, outside, and echo-v1 and echo-v2 as `echo`."""

    lab = None
    # Every case begins without policies; one that only looks need not pay for that.
    changes_policies = True

    def setUp(self):
        self.client = self.lab.pods["client"]
        self.stranger = self.lab.pods["stranger"]
        self.outside = self.lab.pods["outside"]
        self.echo = self.lab.pods["echo-v1"]
        self.addCleanup(self.check_accepted, self.rejects())
        if self.changes_policies:
            self.addCleanup(self.clear_policies)

    def rejects(self):
        """How many responses programs have refused, as this istiod has counted since its start."""
        return self.lab.control.metric("pilot_total_xds_rejects")

    def check_accepted(self, before):
        """No case configures what libmesh could not take; a restart of istiod only takes the count back to 0."""
        self.assertLessEqual(self.rejects(), before, "libmesh has refused what istiod sent (ACK ERROR in istiod.log)")

    def clear_policies(self):
        """Removes what the case has applied, and waits until nothing of it works any more."""
        for kind, api in POLICY_KINDS:
            self.lab.delete_all(kind, api)
        for target in ("echo-v1", "echo-v2"):
            eventually(lambda pod=self.lab.pods[target]: curl(self.outside, target=pod)[1] == 200,
                       target + " takes plaintext again, as without policies")
        eventually(lambda: call(self.client)[0].get("tls"), "calls are mutual TLS again, as without policies")

    def apply(self, *manifests):
        self.lab.apply(manifests)

    def check_mutual(self, result):
        """A call that went well at the first attempt, over mutual TLS, as both sides saw it."""
        self.assertEqual((result["http_status"], result["attempts"]), (200, 1), result)
        self.assertTrue(result["tls"], result)
        self.assertEqual(result["peer_identity"], self.echo.identity)
        seen = echo_of(result)
        self.assertTrue(seen["tls"], seen)
        self.assertEqual(seen["peer_identity"], self.client.identity)

    def call(self, *options, url=ECHO_URL, pod=None, env=None):
        """One call; its result."""
        return call(pod or self.client, url, *options, env=env)[0]

    def dump(self, **options):
        """The configuration that a client shows after its call, which it joined for."""
        self.call("--config-dump", "/run/dump.json", **options)
        text = (self.client.directory / "run/dump.json").read_text()
        self.assertNotIn("PRIVATE KEY", text)
        return json.loads(text)

    def eventually_status(self, status, what, **options):
        """Waits for an HTTP status; the result that had it."""
        def attempt():
            result = self.call(**options)
            return result if result["http_status"] == status else None
        return eventually(attempt, what)
