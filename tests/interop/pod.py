# SPDX-License-Identifier: Apache-2.0
"""A pod as its process sees it: a network namespace with the pod's address, the files that Kubernetes mounts, and
the environment that Istio's injector writes into the container. Nothing of it is libmesh's own."""

import json
import os
import pathlib
import shlex

import netns
from process import Process

ISTIOD_HOST = "istiod.istio-system.svc"
NODE = "node-1"
# What a process may inherit of the environment that the tests run in: where to find things, and sanitizer settings.
INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")


class Pod:
    """Everything here can be rebuilt from the lab's state file: see `record`."""

    def __init__(self, record, lab_directory):
        self.record = record
        self.name = record["name"]
        self.namespace = record["namespace"]
        self.address = record["address"]
        self.netns = record["netns"]
        self.labels = record["labels"]
        self.service_account = record["service_account"]
        self.ports = record["ports"]
        self.lab_directory = pathlib.Path(lab_directory)
        self.directory = self.lab_directory / "pods" / self.name
        self.processes = []

    @property
    def identity(self):
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def workload(self):
        """The name of the Deployment that would own such a pod."""
        name = self.labels.get("service.istio.io/canonical-name", self.labels.get("app", self.name))
        return name + "-" + self.labels.get("service.istio.io/canonical-revision", "latest")

    def node_id(self):
        return f"sidecar~{self.address}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    # ---- files

    def write_file(self, path, text):
        """Puts a file at /run/<path> of the pod, replaced in one step as kubelet does, so that nobody reads half."""
        target = self.directory / "run" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name("." + target.name + ".new")
        fresh.write_text(text)
        fresh.replace(target)

    def write_token(self, token):
        self.write_file("secrets/tokens/istio-token", token)

    def write_root(self, pem):
        self.write_file("secrets/istio/root-cert.pem", pem)

    # ---- processes

    def environment(self, extra=None):
        """The environment of the container, as the injection template of Istio's Helm chart makes it."""
        env = {key: os.environ[key] for key in INHERITED if key in os.environ}
        ports = [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in self.ports]
        env.update({
            "POD_NAME": self.name,
            "POD_NAMESPACE": self.namespace,
            "INSTANCE_IP": self.address,
            "HOST_IP": "10.244.0.1",
            "SERVICE_ACCOUNT": self.service_account,
            "PILOT_CERT_PROVIDER": "istiod",
            "CA_ADDR": ISTIOD_HOST + ":15012",
            "TRUST_DOMAIN": "cluster.local",
            "PROXY_CONFIG": json.dumps({"discoveryAddress": ISTIOD_HOST + ":15012"}),
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "ISTIO_META_NODE_NAME": NODE,
            "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
            "ISTIO_META_POD_PORTS": json.dumps(ports),
            "ISTIO_META_APP_CONTAINERS": "app",
            "ISTIO_META_WORKLOAD_NAME": self.workload,
            "ISTIO_META_OWNER":
                f"kubernetes://apis/apps/v1/namespaces/{self.namespace}/deployments/{self.workload}",
            "ISTIO_META_MESH_ID": "cluster.local",
            "ISTIO_METAJSON_LABELS": json.dumps(self.labels),
        })
        env.update(extra or {})
        return env

    def command(self, argv):
        """The command line that runs `argv` in the pod.

        `ip netns exec` gives the process a mount table of its own, so the pod's files can lie at Istio's default paths
        (/var/run is /run on Debian) and its names in /etc/hosts, with nothing changed for the host.
        """
        files = {"/etc/hosts": self.lab_directory / "hosts"}
        if self.record.get("cluster_names"):
            files = {"/etc/hosts": self.lab_directory / "hosts.services",
                     "/etc/resolv.conf": self.lab_directory / "resolv.conf"}
        files["/run"] = self.directory / "run"
        mounts = "".join(f"mount --bind {shlex.quote(str(source))} {target} && " for target, source in files.items())
        mounts += 'exec "$@"'
        return netns.command(self.netns, ["/bin/sh", "-c", mounts, "pod", *[str(word) for word in argv]])

    def start(self, argv, log, env=None):
        """Runs a program in the background; its output goes to logs/<log>.log of the lab."""
        path = self.lab_directory / "logs" / (log + ".log")
        process = Process.start(log, self.command(argv), path, env=self.environment(env))
        self.processes.append(process)
        return process
