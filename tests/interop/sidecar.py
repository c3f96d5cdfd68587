# SPDX-License-Identifier: Apache-2.0
"""Pods of Istio's other two kinds, by the unmodified pilot-agent: with Envoy as a sidecar, and with proxyless gRPC.

Sidecar is as Istio injects it, with iptables rules and an agent that drives Envoy. Envoy is the upstream build, hence an
istiod that sends no filter of Istio's own build (ControlPlane.start_upstream_istiod). Proxyless has an agent alone: it
makes the bootstrap file and the certificates of a gRPC library that asks istiod itself. What lies in the images of a
cluster is bind-mounted from where peers/build left it.
"""

import http.client
import json
import shutil
import subprocess
import urllib.parse

import netns
from control_plane import ADDRESS, UPSTREAM_ISTIOD, peer_paths
from pod import ISTIOD_HOST
from process import LabError, wait_until

PROXY_USER = 1337
ADMIN, AGENT, READY = 15000, 15020, 15021
PLACE = "/run/proxy"  # the proxy's working directory in the pod: pilot-agent's files have relative names
PROGRAMS = {"pilot-agent": "PILOT_AGENT", "envoy": "ENVOY"}

# Bind-mounts its programs, which only root can reach where they are built, and drops to the proxy's user.
START = f"""
for name in {' '.join(PROGRAMS)}; do mount --bind "$1" {PLACE}/bin/$name && shift || exit; done
cd {PLACE} && exec setpriv --reuid {PROXY_USER} --regid {PROXY_USER} --clear-groups bin/pilot-agent "$@"
"""


def _make_place(pod):
    """The directories that are in the proxy's image or are mounted into its container."""
    place = pod.directory / "run/proxy"
    for name in ("bin", "etc/istio/proxy", "var/lib/istio/envoy", "var/lib/istio/data"):
        (place / name).mkdir(parents=True, exist_ok=True)
    secrets = pod.directory / "run/secrets"
    for name in ("workload-spiffe-uds", "credential-uds", "workload-spiffe-credentials"):
        (secrets / name).mkdir(exist_ok=True)
        shutil.chown(secrets / name, PROXY_USER, PROXY_USER)
    (place / "var/run").symlink_to("/run")
    for name in PROGRAMS:
        (place / "bin" / name).touch(mode=0o755)
    shutil.copy(peer_paths()["ENVOY_BOOTSTRAP"], place / "var/lib/istio/envoy/envoy_bootstrap_tmpl.json")
    for path in (place / "etc/istio/proxy", place / "var/lib/istio/data"):
        shutil.chown(path, PROXY_USER, PROXY_USER)


def _get(pod, port, path, method="GET"):
    """(status, text) of a request to a port on the pod's loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.sock = netns.connect(pod.netns, ("127.0.0.1", port))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _start_agent(pod, log, env, port):
    """Starts pilot-agent and waits until it is ready, as the probe of its container asks at that port."""
    paths = peer_paths()
    path = pod.lab_directory / "logs" / (log + ".log")
    path.touch()
    path.chmod(0o666)  # Envoy opens /dev/stdout, for its access log, with the rights of its user
    process = pod.start(
        ["/bin/sh", "-c", START, "sidecar", *[paths[name] for name in PROGRAMS.values()], "proxy", "sidecar", "--domain",
         f"{pod.namespace}.svc.cluster.local", "--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error",
         "--log_output_level=default:info"], log, env=env)

    def ready():
        if not process.alive():
            raise LabError(f"pilot-agent of {pod.name} ended, log {path}:\n{process.tail()}")
        return _get(pod, port, "/healthz/ready")[0] == 200
    wait_until(ready, 60, f"pilot-agent of {pod.name} ready, log {path}")
    return process


class Sidecar:
    """The proxy of one pod. `start` returns when it is ready."""

    def __init__(self, pod):
        self.pod = pod
        self.process = None

    def _redirect(self):
        """What the init container does: everything goes through the proxy, but for what the proxy itself sends."""
        # Service addresses lead nowhere; there must be a route for a connection to be made at all, then redirected.
        subprocess.run(["ip", "-n", self.pod.netns, "route", "add", "default", "via", ADDRESS], check=True)
        argv = [peer_paths()["PILOT_AGENT"], "istio-iptables", "-p", "15001", "-z", "15006", "-u", str(PROXY_USER),
                "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020"]
        done = subprocess.run(self.pod.command(argv), env=self.pod.environment(), capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise LabError(f"pilot-agent istio-iptables ended with {done.returncode}: {done.stderr[-2000:]}")

    def start(self):
        self.pod.record["cluster_names"] = True  # the application asks a cluster's DNS, as it would without a mesh
        _make_place(self.pod)
        self._redirect()
        address = f"{ISTIOD_HOST}:{UPSTREAM_ISTIOD}"
        config = {"discoveryAddress": address, "binaryPath": PLACE + "/bin/envoy", "concurrency": 1,
                  "proxyStatsMatcher": {"inclusionRegexps": [".*"]}}
        env = {"CA_ADDR": address, "PROXY_CONFIG": json.dumps(config), "ISTIO_CPU_LIMIT": "1"}
        self.process = _start_agent(self.pod, "sidecar-" + self.pod.name, env, READY)
        return self

    def admin(self, path, method="GET"):
        """What Envoy's admin port says."""
        status, text = _get(self.pod, ADMIN, path, method)
        if status != 200:
            raise LabError(f"Envoy of {self.pod.name} answered {status} to {path}: {text[:200]}")
        return text

    def stats(self, pattern):
        """Envoy's counters and gauges whose names match, by name."""
        lines = self.admin("/stats?filter=" + urllib.parse.quote(pattern)).splitlines()
        return {name: int(value) for name, _, value in (line.rpartition(": ") for line in lines) if value.isdigit()}


class Proxyless:
    """The agent of a pod whose gRPC library asks istiod itself; `environment` is for the pod's programs."""

    BOOTSTRAP = PLACE + "/etc/istio/proxy/grpc-bootstrap.json"
    environment = {"GRPC_XDS_BOOTSTRAP": BOOTSTRAP, "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT": "true"}

    def __init__(self, pod):
        self.pod = pod

    def start(self):
        _make_place(self.pod)
        config = {"discoveryAddress": ISTIOD_HOST + ":15012", "configPath": PLACE + "/etc/istio/proxy"}
        _start_agent(self.pod, "proxyless-" + self.pod.name, {
            "ISTIO_META_GENERATOR": "grpc", "ISTIO_META_DNS_CAPTURE": "false", "DISABLE_ENVOY": "true",
            "OUTPUT_CERTS": PLACE + "/var/lib/istio/data", "GRPC_XDS_BOOTSTRAP": self.BOOTSTRAP,
            "PROXY_CONFIG": json.dumps(config)}, AGENT)
        return self
