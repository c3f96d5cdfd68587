# SPDX-License-Identifier: Apache-2.0
"""The processes of the control plane, unmodified: etcd, kube-apiserver and istiod, in one network namespace."""

import http.client
import json
import os
import pathlib
import shlex
import signal
import subprocess

import yaml

import ca
import netns
from kube import Kube, KubeError
from pod import ISTIOD_HOST, NODE
from process import LabError, Process, wait_until

HERE = pathlib.Path(__file__).resolve().parent
ADDRESS = "10.244.0.1"
ETCD = "http://127.0.0.1:2379"
KUBE_PORT = 6443
ADMIN_TOKEN = "lab-admin"
UPSTREAM_ISTIOD = 15112  # where the istiod for upstream Envoy takes proxies, beside the usual 15012
UPSTREAM_MONITORING = 15114

# What Helm's default values put into the mesh configuration, as far as it changes what a sidecar receives.
MESH_CONFIG = {
    "rootNamespace": "istio-system",
    "trustDomain": "cluster.local",
    "accessLogFile": "/dev/stdout",
    "defaultProviders": {"metrics": ["prometheus"]},
    "defaultConfig": {"discoveryAddress": ISTIOD_HOST + ":15012"},
}


def peer_paths(*peers):
    """Where peers/build left the binaries, of all peers or of these."""
    done = subprocess.run([HERE / "peers" / "build", "--paths", *peers], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(done.stderr.strip())
    return dict(line.split("=", 1) for line in shlex.split(done.stdout))


class ControlPlane:
    """`namespace` is the network namespace it lives in, `directory` holds its keys, data and logs."""

    def __init__(self, namespace, directory):
        self.namespace = namespace
        self.directory = pathlib.Path(directory)
        self.logs = self.directory / "logs"
        self.processes = {}
        self.kube = Kube(namespace, ("127.0.0.1", KUBE_PORT), ADMIN_TOKEN)

    def record(self):
        """What another process needs to find it again, see `recall`."""
        return {"processes": {name: process.pid for name, process in self.processes.items()}}

    def recall(self, record):
        # A number may have been given to somebody else meanwhile: only what still runs in our namespace is ours.
        ours = set(netns.processes(self.namespace))
        self.processes = {name: Process(name, pid, self.logs / (name + ".log"))
                          for name, pid in record["processes"].items() if pid in ours}

    def up(self):
        """Makes the namespace and starts everything in it; returns when istiod is ready."""
        netns.create(self.namespace)
        netns.create_bridge(self.namespace, ADDRESS + "/24")
        ca.create(self.directory / "ca")
        self._start_etcd()
        self._start_kube_apiserver()
        self._create_kinds()
        self.start_istiod()

    def down(self):
        for process in self.processes.values():
            try:
                process.stop(signal.SIGKILL)
            except (LabError, ProcessLookupError):
                pass  # the removal of the namespace tries again
        self.processes.clear()
        netns.delete(self.namespace)

    def _start(self, name, argv, env=None):
        self.processes[name] = Process.start(name, netns.command(self.namespace, argv), self.logs / (name + ".log"),
                                             env=env, cwd=self.directory)

    def _await(self, name, condition, seconds):
        """Waits for a process to be ready; its early death is told at once, not after the timeout."""
        process = self.processes[name]

        def ready():
            if not process.alive():
                raise LabError(f"{name} ended at start, log {process.log}:\n{process.tail()}")
            return condition()
        wait_until(ready, seconds, f"{name} ready, log {process.log}")

    # ---- Kubernetes

    def _start_etcd(self):
        self._start("etcd", ["etcd", "--data-dir", str(self.directory / "etcd"), "--listen-client-urls", ETCD,
                             "--advertise-client-urls", ETCD, "--listen-peer-urls", "http://127.0.0.1:2380"])

    def _start_kube_apiserver(self):
        """It knows one administrator by a token, and makes and checks the tokens of service accounts."""
        keys = self.directory / "kube"
        ca.service_account_keys(keys)
        (keys / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')
        self._start("kube-apiserver", [
            peer_paths("kube-apiserver")["KUBE_APISERVER"], "--etcd-servers=" + ETCD, "--bind-address=127.0.0.1",
            f"--secure-port={KUBE_PORT}", "--advertise-address=" + ADDRESS, f"--cert-dir={keys}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys}/sa.pub", f"--service-account-signing-key-file={keys}/sa.key",
            "--api-audiences=https://kubernetes.default.svc,istio-ca", "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC", f"--token-auth-file={keys}/tokens.csv",
            # It would mount tokens of its own into pods and wait for a controller that is not here.
            "--disable-admission-plugins=ServiceAccount"])
        self._await("kube-apiserver", self._kube_ready, 60)
        cluster = {"server": f"https://127.0.0.1:{KUBE_PORT}", "insecure-skip-tls-verify": True}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "lab",
                  "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
                  "clusters": [{"name": "lab", "cluster": cluster}],
                  "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}]}
        (self.directory / "kubeconfig").write_text(json.dumps(config))

    def _kube_ready(self):
        try:
            self.kube.request("GET", "/api/v1/namespaces/default")
            return self.kube.request("GET", "/readyz") == "ok"
        except KubeError:  # 500 and 404 while it makes its own objects
            return False

    def _create_kinds(self):
        """Istio's custom kinds, the namespace that istiod lives in, and the node that all pods are on."""
        with open(peer_paths("istiod")["CRDS"], encoding="utf-8") as file:
            crds = [crd for crd in yaml.load_all(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if crd]
        for crd in crds:
            self.kube.apply(crd)
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
        self.kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {
            "topology.kubernetes.io/region": "region1", "topology.kubernetes.io/zone": "zone1"}}})
        self._await("kube-apiserver", lambda: all(self._served(crd) for crd in crds), 30)

    def _served(self, crd):
        status = self.kube.request("GET", self.kube.object_path(crd)).get("status", {})
        return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions", []))

    # ---- istiod

    def start_istiod(self, flags=()):
        """Starts istiod and waits until it is ready; `flags` are for this start alone."""
        self._start_istiod("istiod", MESH_CONFIG, {"POD_NAME": "istiod-0"}, flags, 8080)

    def start_upstream_istiod(self):
        """Starts a second istiod, for proxies that are upstream Envoy: it sends no filter that only Istio's build has.

        These are settings of a process, not of a proxy: hence one beside the other, with the same API server and CA,
        and proxies choose by port, see UPSTREAM_ISTIOD.
        """
        mesh = {**MESH_CONFIG, "defaultProviders": {},
                "defaultConfig": {"discoveryAddress": f"{ISTIOD_HOST}:{UPSTREAM_ISTIOD}"}}
        settings = {"POD_NAME": "istiod-1", "PILOT_ENABLE_ALPN_FILTER": "false",
                    "PILOT_ENABLE_METADATA_EXCHANGE": "false"}
        self._start_istiod("istiod-upstream", mesh, settings, [
            "--httpAddr", ":8180", "--grpcAddr", "", "--secureGRPCAddr", f":{UPSTREAM_ISTIOD}",
            "--monitoringAddr", f":{UPSTREAM_MONITORING}", "--ctrlz_port", "0"], 8180)

    def _start_istiod(self, name, mesh_config, settings, flags, port):
        mesh = self.directory / (name + ".mesh.yaml")
        mesh.write_text(yaml.safe_dump(mesh_config))
        settings = {
            "PATH": os.environ["PATH"],
            "ROOT_CA_DIR": str(self.directory / "ca"),
            "PILOT_CERT_PROVIDER": "istiod",
            "POD_NAMESPACE": "istio-system",
            "SERVICE_ACCOUNT": "istiod",
            **settings,
        }
        # An empty --httpsAddr leaves the webhooks out: injection and validation are not what we look at.
        self._start(name, [peer_paths("istiod")["ISTIOD"], "discovery", "--kubeconfig", str(self.directory / "kubeconfig"),
                           "--meshConfig", str(mesh), "--clusterID", "Kubernetes", "--httpsAddr", "", *flags],
                    env=settings)
        self._await(name, lambda: self.http_get(port, "/ready")[0] == 200, 60)

    def stop_istiod(self, number=signal.SIGTERM):
        self.processes["istiod"].stop(number, seconds=30)

    def http_get(self, port, path):
        """(status, text) of a plain HTTP request to a port of the control plane."""
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = netns.connect(self.namespace, ("127.0.0.1", port))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name, port=15014):
        """A counter of istiod, the sum over its labels; 0 when it has not counted yet."""
        lines = self.http_get(port, "/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def root_certificate(self, namespace):
        """The root as istiod publishes it in a namespace, or None as long as it has not."""
        try:
            path = self.kube.path("ConfigMap", "istio-ca-root-cert", namespace)
            return self.kube.request("GET", path)["data"]["root-cert.pem"]
        except KubeError as error:
            if error.status == 404:
                return None
            raise
