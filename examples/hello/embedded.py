# SPDX-License-Identifier: Apache-2.0
"""The mesh of examples/hello on the embedded control plane: mesh-controlplane with its development root, and workloads
as plain processes, each with its own address of loopback and the environment that Istio's injector would give it."""

import errno
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = "hello"
TRUST_DOMAIN = "cluster.local"
WRITTEN_NETWORK, WRITTEN_PORT = "127.77.0.", "8080"  # as the files in resources/ say it
HOSTS = {"echo-v1": 1, "echo-v2": 2, "client": 3, "stranger": 4}
NOBODY = 9  # the last byte of the address at which `flaky` has an endpoint without a process
WAIT_SECONDS = 30


class MeshError(Exception):
    """Something did not come up; the text says what, and the end of its log."""


def free_network():
    """A network of loopback and a port that nobody uses at any address of ours; (prefix, port)."""
    for _ in range(100):
        prefix = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}."
        port = random.randint(20000, 29999)
        try:
            for host in (*HOSTS.values(), NOBODY):
                with socket.socket() as probe:
                    probe.bind((f"{prefix}{host}", port))
            return prefix, port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise MeshError("no port of loopback is free")


class Program:
    """A program in the background with its log; what it says on standard output goes there, too."""

    def __init__(self, name, argv, log, env):
        self.name = name
        self.log = log
        with open(log, "ab") as sink:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def wait(self, condition, what):
        """Polls until `condition()` is true; its value, or a MeshError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise MeshError(f"{self.name}: not within {WAIT_SECONDS} s: {what}\n{self.tail()}")

    def stop(self):
        """Ends it as Kubernetes would; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -9


class EmbeddedMesh:
    """`with EmbeddedMesh(build, directory) as mesh`: control plane and echo v1 and v2; client and stranger may call."""

    title = "mesh-controlplane, the embedded control plane, on loopback"
    change_seconds = 1.0  # for a changed route to be everywhere, with room to spare

    def __init__(self, build, directory, options=()):
        self.build = pathlib.Path(build).resolve()
        self.directory = pathlib.Path(directory)
        self.options = list(options)  # more of mesh-controlplane's
        self.network, self.port = free_network()
        self.resources = self.directory / "resources"
        self.route_file = self.resources / "routes.yaml"
        self.control = None
        self.tls_port = 0
        self.programs = []

    def __enter__(self):
        try:
            self._write_resources()
            self.start_control_plane()
            for account in ("echo", "client", "stranger"):
                self.write_token(account)
            for name in ("echo-v1", "echo-v2"):
                self._start_echo(name)
            for program in self.programs:
                program.wait(lambda program=program: f"ready on port {self.port}" in program.log.read_text(),
                             "certificate and configuration")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, value, trace):
        ends = self.stop()
        if kind is None and any(ends.values()):
            raise MeshError(f"not all programs ended well: {ends}, logs in {self.directory}")

    def stop(self):
        """Ends all that was started; the exit status of each."""
        ends = {program.name: program.stop() for program in self.programs}
        self.programs.clear()
        if self.control is not None:
            ends[self.control.name] = self.control.stop()
            self.control = None
        return ends

    # ---- control plane

    def _write_resources(self):
        """The files of resources/, for addresses and a port that are free here."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / "resources", self.resources)
        for path in self.resources.rglob("*.yaml"):
            text = path.read_text().replace(WRITTEN_NETWORK, self.network)
            for word in ("portValue: {}", "destinationPort: {}"):
                text = text.replace(word.format(WRITTEN_PORT), word.format(self.port))
            path.write_text(text)

    def start_control_plane(self):
        """Also starts it again, on the port it had."""
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        argv = [self.build / "examples/controlplane/mesh-controlplane", "--tls-port", str(self.tls_port),
                "--dir", self.resources, "--ca-dir", self.directory / "ca", "--ready-file", ready, *self.options]
        self.control = Program("mesh-controlplane", argv, self.directory / "controlplane.log", dict(os.environ))
        self.control.wait(ready.exists, "ready")
        self.tls_port = int(ready.read_text().split("tls_port=")[1])

    def write_token(self, account, namespace=NAMESPACE, name=None, options=()):
        """A token as Kubernetes would project it into the pod; its file."""
        path = self.directory / f"token-{name or account}"
        done = subprocess.run([self.build / "examples/controlplane/mesh-controlplane", "--make-token",
                               f"{namespace}/{account}", "--ca-dir", self.directory / "ca", *options],
                              check=True, capture_output=True)
        path.write_bytes(done.stdout)
        return path

    def change_route(self, *changes):
        """Replaces words of the routes in force, as an editor does that writes beside and renames."""
        text = self.route_file.read_text()
        for old, new in changes:
            if old not in text:
                raise MeshError(f"{self.route_file} has no \"{old}\"")
            text = text.replace(old, new)
        fresh = self.route_file.with_name(".routes.yaml.new")
        fresh.write_text(text)
        fresh.replace(self.route_file)

    # ---- workloads

    def identity(self, account):
        return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{account}"

    def _environment(self, name, account, extra=None):
        labels = {"app": account, "service.istio.io/canonical-name": account, "security.istio.io/tlsMode": "istio"}
        return {**os.environ, "POD_NAME": name, "POD_NAMESPACE": NAMESPACE, "SERVICE_ACCOUNT": account,
                "INSTANCE_IP": f"{self.network}{HOSTS[name]}", "TRUST_DOMAIN": TRUST_DOMAIN,
                "ISTIO_METAJSON_LABELS": json.dumps(labels),
                "PROXY_CONFIG": json.dumps({"discoveryAddress": f"127.0.0.1:{self.tls_port}"}),
                "LIBMESH_TOKEN_FILE": str(self.directory / f"token-{account}"),
                "LIBMESH_ROOT_CERT_FILE": str(self.directory / "ca/root-cert.pem"), **(extra or {})}

    def _start_echo(self, name):
        argv = [self.build / "examples/echo/mesh-echo", "--address", f"{self.network}{HOSTS[name]}",
                "--port", str(self.port), "--name", name]
        self.programs.append(Program(name, argv, self.directory / f"{name}.log", self._environment(name, "echo")))

    def mesh_call(self, account, words, env=None):
        """Command line and environment of mesh-call as this service account."""
        return [self.build / "examples/call/mesh-call", *words], self._environment(account, account, env)

    def plaintext_status(self):
        """What a program without the mesh gets from echo-v1: an HTTP status line, or "" when it is not answered."""
        with socket.create_connection((f"{self.network}{HOSTS['echo-v1']}", self.port), timeout=5) as outside:
            try:
                outside.sendall(b"GET / HTTP/1.1\r\nhost: echo:9080\r\n\r\n")
                return outside.recv(4096).decode(errors="replace").split("\r\n")[0]
            except OSError:
                return ""
