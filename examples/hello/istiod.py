# SPDX-License-Identifier: Apache-2.0
"""The mesh of examples/hello on a real Istio: etcd, kube-apiserver and an unmodified istiod, with pods in network
namespaces, as tests/interop has them. The programs and what is shown are those of the embedded mesh."""

import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tests/interop"))

from lab import Lab  # noqa: E402

from embedded import NAMESPACE, TRUST_DOMAIN, MeshError  # noqa: E402

PORT = 8080
WAIT_SECONDS = 30


class IstiodMesh:
    """The same to the caller as EmbeddedMesh."""

    title = "a real istiod, with etcd and kube-apiserver, in network namespaces"
    change_seconds = 3.0  # istiod collects changes for a while before it pushes

    def __init__(self, build, directory):
        self.build = pathlib.Path(build).resolve()
        self.lab = Lab(directory)

    def __enter__(self):
        self.lab.__enter__()
        try:
            for file in ("workloads.yaml", "policies.yaml", "routes.yaml"):
                self.lab.apply(HERE / "istio" / file)
            for name in ("echo-v1", "echo-v2"):
                self._start_echo(name)
            self._wait(self._is_whole, "the policies and routes have reached the client")
        except BaseException:
            self.lab.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.lab.__exit__(kind, value, trace)

    @staticmethod
    def _wait(condition, what):
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise MeshError(f"not within {WAIT_SECONDS} s: {what}")
            time.sleep(0.2)

    def _start_echo(self, name):
        pod = self.lab.pods[name]
        process = pod.start([self.build / "examples/echo/mesh-echo", "--port", str(PORT), "--name", name], name)
        self._wait(lambda: f"ready on port {PORT}" in process.tail(), name + " is ready")

    def _is_whole(self):
        """Objects travel one by one: whether the route is there, mutual TLS is demanded and the stranger is refused."""
        argv, env = self.mesh_call("stranger", ["http://echo:9080/"])
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        argv, env = self.mesh_call("client", ["--json", "http://echo:9080/"])
        route = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout.startswith("HTTP 403") and '"http_status":200' in route.stdout and "|v" in route.stdout
                and self.plaintext_status() == "")

    def change_route(self, *changes):
        """Applies the VirtualService with words replaced, all at once."""
        text = (HERE / "istio/routes.yaml").read_text()
        for old, new in changes:
            if old not in text:
                raise MeshError(f"routes.yaml has no \"{old}\"")
            text = text.replace(old, new)
        changed = self.lab.directory / "routes.yaml"
        changed.write_text(text)
        self.lab.apply(changed)

    def identity(self, account):
        return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{account}"

    def mesh_call(self, account, words, env=None):
        """Command line and environment of mesh-call in the pod of that name."""
        pod = self.lab.pods[account]
        return pod.command([self.build / "examples/call/mesh-call", *words]), pod.environment(env)

    def plaintext_status(self):
        """What curl outside the mesh gets from echo-v1: an HTTP status line, or "" when it is not answered."""
        pod = self.lab.pods["outside"]
        url = f"http://{self.lab.pods['echo-v1'].address}:{PORT}/"
        done = subprocess.run(pod.command(["curl", "-sS", "-i", "--max-time", "5", url]), env=pod.environment(),
                              capture_output=True, text=True, check=False)
        return done.stdout.split("\r\n")[0]
