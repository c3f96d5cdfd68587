#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real Istio on this machine, without containers: etcd, kube-apiserver, unmodified istiod, and pods.

    with Lab(directory) as lab:             # up in about 10 s; everything is gone afterwards, the logs stay
        lab.apply(manifests)                # Kubernetes and Istio objects, Pods too
        lab.pods["echo-v1"].start([...])    # a process inside a pod
        lab.stop_istiod(); lab.start_istiod()

The lab plays the parts of a cluster that are not there: kubelet (a Pod gets a network namespace, an address, a token,
the root certificate, a status) and the endpoint controller (a Service gets its EndpointSlice). A Pod without
readinessProbe is ready at once, as in Kubernetes; `ready` decides for the others. It needs root, for the network
namespaces, and Debian's etcd-server, iproute2, openssl and python3-yaml. The same from a shell:

    lab.py up --dir D      lab.py apply --dir D FILE..      lab.py exec --dir D --pod NAME [--env K=V].. -- COMMAND
    lab.py down --dir D    lab.py delete --dir D FILE..     lab.py ready --dir D --pod NAME [--not]
    lab.py istiod --dir D stop|kill|start|restart           lab.py pods --dir D
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import yaml

import control_plane
import netns
from control_plane import ControlPlane
from endpoints import endpoint_slice
from kube import KubeError
from pod import ISTIOD_HOST, NODE, Pod
from process import LabError, wait_until

FIRST_POD = 10  # pods are 10.244.0.10 and up
LAST_POD = 254


def load_manifests(source):
    """Manifests from a list, from one manifest, or from a YAML file with many."""
    if isinstance(source, dict):
        return [source]
    if isinstance(source, (str, pathlib.Path)):
        with open(source, encoding="utf-8") as file:
            return [document for document in yaml.safe_load_all(file) if document]
    return list(source)


class Lab:
    """One control plane and its pods. What must outlive this process is in <directory>/state.json."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.logs = self.directory / "logs"
        self.pods = {}
        self.control = None
        self.matrix = None  # the peers that only some cases need, see matrix.py
        self._next_address = FIRST_POD

    def __enter__(self):
        return self.up()

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self.print_logs(without=("etcd", "kube-apiserver"))  # they came up, or `up` has told
        self.down()

    @property
    def kube(self):
        return self.control.kube

    # ---- up and down

    def up(self):
        """Starts everything and waits until istiod is ready; what could not start leaves nothing but its logs."""
        if os.geteuid() != 0:
            raise LabError("the lab needs root, to make network namespaces")
        self._make_room()
        self.control = ControlPlane(f"libmesh-{os.getpid():x}", self.directory)
        self._save()
        try:
            self.control.up()
        except BaseException:
            self.print_logs()
            self.down()
            raise
        self._save()
        return self

    def _make_room(self):
        """An empty directory. One that was a lab is ended and emptied; anything else that lies there is not ours."""
        if (self.directory / "state.json").exists():
            Lab.attach(self.directory).down()
        if self.logs.is_dir() and (self.directory / "hosts").is_file():
            shutil.rmtree(self.directory)
        elif self.directory.is_dir() and any(self.directory.iterdir()):
            raise LabError(f"{self.directory} is neither empty nor an earlier lab")
        self.logs.mkdir(parents=True)
        # Nobody listens there: a question beyond the names in the files is answered "no" at once, and leaves no pod.
        (self.directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        for name in ("hosts", "hosts.services"):
            (self.directory / name).write_text(f"127.0.0.1 localhost\n{control_plane.ADDRESS} {ISTIOD_HOST}\n")

    def down(self):
        """Ends every process and removes every namespace; good after any failure, and twice.

        The logs stay, keys and tokens do not.
        """
        if self.control is None:
            return
        for pod in self.pods.values():
            netns.delete(pod.netns)
        self.pods.clear()
        self.control.down()
        for name in ("ca", "etcd", "kube", "pods"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in ("kubeconfig", "istiod.mesh.yaml", "istiod-upstream.mesh.yaml", "state.json"):
            (self.directory / name).unlink(missing_ok=True)

    def print_logs(self, since=0.0, without=(), lines=15):
        """The last lines of the logs, for whoever reads a failed run; only of those written to `since` then."""
        for log in sorted(self.logs.glob("*.log")):
            if log.stem not in without and log.stat().st_size and log.stat().st_mtime >= since:
                text = log.read_text(errors="replace").splitlines()[-lines:]
                print(f"--- {log}", *text, sep="\n    ", file=sys.stderr)

    def _save(self):
        state = {"control": self.control.namespace, "next_address": self._next_address,
                 "control_plane": self.control.record(), "pods": [pod.record for pod in self.pods.values()]}
        fresh = self.directory / ".state.new"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self.directory / "state.json")

    @classmethod
    def attach(cls, directory):
        """The lab that another process started in this directory."""
        lab = cls(directory)
        try:
            state = json.loads((lab.directory / "state.json").read_text())
        except FileNotFoundError:
            raise LabError(f"no lab is up in {lab.directory}") from None
        lab._next_address = state["next_address"]
        lab.control = ControlPlane(state["control"], lab.directory)
        lab.control.recall(state["control_plane"])
        lab.pods = {record["name"]: Pod(record, lab.directory) for record in state["pods"]}
        return lab

    # ---- istiod

    def start_istiod(self, flags=()):
        self.control.start_istiod(flags)
        self._save()

    def start_upstream_istiod(self):
        if "istiod-upstream" not in self.control.processes:
            self.control.start_upstream_istiod()
            self._save()

    def stop_istiod(self, number=signal.SIGTERM):
        self.control.stop_istiod(number)

    # ---- objects

    def apply(self, source):
        """Creates or updates objects, as kubectl would; a Pod is also given its place to run in."""
        for manifest in load_manifests(source):
            if manifest["kind"] == "Pod":
                self._run_pod(manifest)
            else:
                self._name_service(self.kube.apply(manifest))
        self.sync_endpoints()

    def _name_service(self, stored):
        """Cluster DNS, for programs that do not ask the mesh: the names of services, in a file like /etc/hosts."""
        address = stored.get("spec", {}).get("clusterIP") if stored["kind"] == "Service" else None
        if address and address != "None":
            name, namespace = stored["metadata"]["name"], stored["metadata"]["namespace"]
            line = f"{address} {name}.{namespace}.svc.cluster.local {name}.{namespace} {name}\n"
            file = self.directory / "hosts.services"
            if line not in file.read_text():
                with file.open("a") as names:
                    names.write(line)

    def delete(self, source):
        """Removes objects; the processes of a Pod end with it."""
        for manifest in load_manifests(source):
            self.kube.delete(self.kube.object_path(manifest))
            if manifest["kind"] == "Pod" and manifest["metadata"]["name"] in self.pods:
                netns.delete(self.pods.pop(manifest["metadata"]["name"]).netns)
                self._save()
        self.sync_endpoints()

    def delete_all(self, kind, api, namespace="default"):
        """Removes every object of a kind in a namespace."""
        for item in self.kube.list(kind, namespace, api):
            self.kube.delete(self.kube.path(kind, item["metadata"]["name"], namespace, api))

    def sync_endpoints(self):
        """The endpoint controller: an EndpointSlice for every Service with a selector."""
        for service in self.kube.request("GET", "/api/v1/services")["items"]:
            if service["spec"].get("selector"):
                self.kube.apply(endpoint_slice(service, self.pods.values()))

    # ---- pods

    def _run_pod(self, manifest):
        """What scheduler and kubelet do for a new pod, up to the start of its containers."""
        meta, spec = manifest["metadata"], manifest["spec"]
        meta.setdefault("namespace", "default")
        spec.setdefault("serviceAccountName", "default")
        spec.setdefault("nodeName", NODE)
        self.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                         "metadata": {"name": spec["serviceAccountName"], "namespace": meta["namespace"]}})
        stored = self.kube.apply(manifest)
        if meta["name"] in self.pods:
            return
        pod = self._place_pod(manifest, stored["metadata"]["uid"])
        self.write_secrets(pod)
        self._write_status(pod)

    def _place_pod(self, manifest, uid):
        """Gives the pod its network namespace and address."""
        if self._next_address > LAST_POD:
            raise LabError("no addresses left for pods")
        meta, containers = manifest["metadata"], manifest["spec"]["containers"]
        pod = Pod({
            "name": meta["name"], "namespace": meta["namespace"], "uid": uid, "labels": meta.get("labels", {}),
            "service_account": manifest["spec"]["serviceAccountName"],
            "address": f"10.244.0.{self._next_address}", "netns": f"{self.control.namespace}-{meta['name']}",
            "ports": [(port.get("name", ""), port["containerPort"])
                      for container in containers for port in container.get("ports", [])],
            "ready": not any("readinessProbe" in container for container in containers), "terminating": False,
        }, self.directory)
        self.pods[pod.name] = pod
        self._next_address += 1
        self._save()  # before the namespace exists, so that `down` of another process finds it
        netns.create(pod.netns)
        netns.attach(pod.netns, self.control.namespace, "pod" + pod.address.rsplit(".", 1)[1], pod.address + "/24")
        return pod

    def write_secrets(self, pod):
        """A fresh token bound to the pod, and the root certificate that istiod publishes in every namespace."""
        path = self.kube.path("ServiceAccount", pod.service_account, pod.namespace, sub="/token")
        answer = self.kube.request("POST", path, {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["istio-ca"], "expirationSeconds": 43200,
                     "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod.name,
                                        "uid": pod.record["uid"]}}})
        pod.write_token(answer["status"]["token"])
        pod.write_root(wait_until(lambda: self.control.root_certificate(pod.namespace), 30,
                                  "istio-ca-root-cert in namespace " + pod.namespace))

    def set_ready(self, pod, ready=True):
        """What kubelet does when the outcome of the readiness probe changes."""
        pod.record["ready"] = ready
        self._publish(pod)

    def set_terminating(self, pod):
        """What a cluster does at the deletion of a pod before its process gets the signal: no new traffic for it."""
        pod.record["terminating"] = True
        self._publish(pod)

    def _publish(self, pod):
        self._save()
        self._write_status(pod)
        self.sync_endpoints()

    def _write_status(self, pod):
        ready = str(pod.record["ready"] and not pod.record["terminating"])
        self.kube.patch(self.kube.path("Pod", pod.name, pod.namespace, sub="/status"), {"status": {
            "phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}],
            "conditions": [{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": ready}]}})


# ---- the command line

def _command_up(arguments):
    start = time.monotonic()
    lab = Lab(arguments.dir).up()
    print(f"istiod is ready in network namespace {lab.control.namespace}, after {time.monotonic() - start:.0f} s")


def _command_down(arguments):
    Lab.attach(arguments.dir).down()


def _command_apply(arguments):
    lab = Lab.attach(arguments.dir)
    for file in arguments.files:
        lab.apply(file)


def _command_delete(arguments):
    lab = Lab.attach(arguments.dir)
    for file in arguments.files:
        lab.delete(file)


def _command_pods(arguments):
    for pod in Lab.attach(arguments.dir).pods.values():
        print(pod.name, pod.address, pod.identity, "ready" if pod.record["ready"] else "not ready")


def _pod(lab, name):
    if name not in lab.pods:
        raise LabError(f"no pod {name}; there are: {' '.join(lab.pods) or 'none'}")
    return lab.pods[name]


def _command_exec(arguments):
    pod = _pod(Lab.attach(arguments.dir), arguments.pod)
    argv = pod.command(arguments.command)
    os.execvpe(argv[0], argv, pod.environment(dict(word.split("=", 1) for word in arguments.env)))


def _command_ready(arguments):
    lab = Lab.attach(arguments.dir)
    lab.set_ready(_pod(lab, arguments.pod), not arguments.negate)


def _command_istiod(arguments):
    lab = Lab.attach(arguments.dir)
    if arguments.action != "start" and "istiod" in lab.control.processes:
        lab.stop_istiod(signal.SIGKILL if arguments.action == "kill" else signal.SIGTERM)
    if arguments.action in ("start", "restart"):
        lab.start_istiod()


def _parser():
    parser = argparse.ArgumentParser(description="A real Istio control plane on this machine.")
    commands = parser.add_subparsers(required=True)

    def command(name, run, text):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("--dir", required=True, help="directory of the lab: state, logs, keys")
        sub.set_defaults(run=run)
        return sub
    command("up", _command_up, "start etcd, kube-apiserver and istiod")
    command("down", _command_down, "end everything; the logs stay")
    command("apply", _command_apply, "create or update objects").add_argument("files", nargs="+")
    command("delete", _command_delete, "remove objects").add_argument("files", nargs="+")
    command("pods", _command_pods, "list the pods")
    sub = command("exec", _command_exec, "run a command in a pod, in the foreground")
    sub.add_argument("--pod", required=True)
    sub.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    sub.add_argument("command", nargs="+")
    sub = command("ready", _command_ready, "change the readiness of a pod")
    sub.add_argument("--pod", required=True)
    sub.add_argument("--not", dest="negate", action="store_true")
    command("istiod", _command_istiod, "stop, kill, start or restart istiod").add_argument(
        "action", choices=("stop", "kill", "start", "restart"))
    return parser


def main():
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except (LabError, KubeError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
