# SPDX-License-Identifier: Apache-2.0
"""What tests/bench measures: each row is a server and a client of it, programs of this folder or nginx."""
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
GRPC_GO = pathlib.Path(__file__).resolve().parent / "grpc_go"
NGINX = """daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;
client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
ssl_client_certificate {dir}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;
ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
location /1k {{ default_type application/octet-stream; return 200 "{body}"; }} }} }}
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """Words of both commands; the first is a program, DIR the folder of certificates. A server without words is nginx."""
    server: str
    client: str


ROWS = {
    "TCP echo": Row("plain_peer echo DIR plain", "plain_peer client DIR plain echo"),
    "TLS echo": Row("plain_peer echo DIR tls", "plain_peer client DIR tls echo"),
    "nginx + C client": Row("", "plain_peer client DIR tls http"),
    "nginx + libmesh client": Row("", "mesh_peer egress DIR"),
    "libmesh pair": Row("mesh_peer server DIR", "mesh_peer client DIR"),
    "nghttp2 in C, HTTP/2": Row("plain_h2 server DIR", "plain_h2 client DIR"),
    "libmesh pair, HTTP/2": Row("mesh_peer server DIR", "mesh_peer client2 DIR"),
    "grpc-go pair, gRPC": Row("grpc_go server DIR", "grpc_go client DIR"),
    "libmesh pair, gRPC": Row("grpc_peer server DIR", "grpc_peer client DIR"),
}


def sh(*command, **more):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def make_certificates(folder):
    sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key", cwd=folder)
    sh("openssl", "req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=bench", "-days", "2", "-out", "ca.pem", cwd=folder)
    for name, account in (("client", "alice"), ("server", "bob")):
        (folder / f"{name}.ext").write_text(
            f"subjectAltName=critical,URI:spiffe://cluster.local/ns/default/sa/{account}\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n")
        sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key", cwd=folder)
        sh("openssl", "req", "-new", "-key", f"{name}.key", "-subj", "/", "-out", f"{name}.csr", cwd=folder)
        sh("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
           "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem", cwd=folder)


def build(folder):
    sh("cmake", "-S", str(SOURCE), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo")
    done = subprocess.run(["cmake", "--build", str(folder), "--target", "bench"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: programs do not build:\n{done.stdout[-4000:]}")


def build_grpc_go():
    """The Go pair, (program, "") or (None, why not). It is kept in the cache of the interop peers, by what it is made from."""
    cache = pathlib.Path(os.environ.get("LIBMESH_PEER_CACHE") or
                         pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "libmesh" / "peers")
    version = re.search(r"google\.golang\.org/grpc (\S+)", (GRPC_GO / "go.mod").read_text()).group(1)
    made_from = hashlib.sha256(b"".join((GRPC_GO / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))
    program = cache / f"bench-grpc-{version}-{made_from.hexdigest()[:12]}" / "grpc_go"
    if program.exists():
        return program, ""
    go = shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
    if not go:
        return None, "no Go toolchain (go on the PATH)"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as place: # renamed when whole
        done = subprocess.run([go, "build", "-mod=readonly", "-trimpath", "-o", f"{place}/made/grpc_go", "."], cwd=GRPC_GO,
                              capture_output=True, text=True)
        if done.returncode:
            return None, "it does not build: " + " ".join(done.stderr.split())[-300:]
        with contextlib.suppress(OSError): # another run may have made it meanwhile
            os.rename(f"{place}/made", program.parent)
    return program, ""


class Bench:
    def __init__(self, programs, folder):
        self.programs = programs
        self.folder = folder
        self.not_run = {}
        self.grpc_go, why = build_grpc_go()
        if not self.grpc_go:
            self.not_run["grpc-go pair, gRPC"] = why
        if not shutil.which("nginx"):
            for row in ROWS:
                if not ROWS[row].server:
                    self.not_run[row] = "nginx is not installed (tests/packages, group bench)"

    def command(self, words):
        program, *rest = words.split()
        path = self.grpc_go if program == "grpc_go" else self.programs / f"bench_{program}"
        return [str(path)] + [str(self.folder) if word == "DIR" else word for word in rest]

    def server_command(self, row):
        return self.command(ROWS[row].server) if ROWS[row].server else [
            "nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def client_command(self, row, port, flight, warm, calls, server):
        return self.command(ROWS[row].client) + [str(port), str(flight), str(warm), str(calls), str(server)]

    @contextlib.contextmanager
    def server(self, row, before=()):
        nginx, port = not ROWS[row].server, None
        if nginx:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            (self.folder / "nginx.conf").write_text(NGINX.format(dir=self.folder, port=port, body="x" * 1024))
        process = subprocess.Popen(list(before) + self.server_command(row), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        try:
            if nginx:
                self.await_port(port)
            else:
                port = int(process.stdout.readline())
            yield process, port
        finally:
            process.stdin.close()
            if nginx:
                os.kill(int((self.folder / "nginx.pid").read_text()), 15)
            process.wait(20)
            process.stdout.close()

    @staticmethod
    def await_port(port):
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        sys.exit("bench: nginx does not listen")

    def measure(self, row, pinned, flight, calls):
        pin = ["taskset", "-c", "0"] if pinned else []
        with self.server(row, pin) as (process, port):
            out = subprocess.run(pin + self.client_command(row, port, flight, max(calls // 10, 256), calls, process.pid),
                                 check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
        p50, p99, cpu, anonymous, rate = (float(n) for n in out.split())
        return {"p50": p50, "p99": p99, "cpu": cpu, "anonymous": anonymous, "rate": rate}

    def syscalls_of(self, row, flight, calls):
        """All system calls of both sides of a run with that many calls, and those that wake a thread."""
        traces = [self.folder / "trace.server", self.folder / "trace.client"]
        trace = [["strace", "-f", "-c", "-U", "name,calls", "-o", str(path)] for path in traces]
        with self.server(row, trace[0]) as (_, port):
            sh(*trace[1], *self.client_command(row, port, flight, 64, calls, 0), timeout=60)
        counts = {}
        for path in traces:
            for name, count in re.findall(r"^\s*(\w+)\s+(\d+)\s*$", path.read_text(), re.M):
                if name != "total":
                    counts[name] = counts.get(name, 0) + int(count)
        return counts

    def syscalls(self, row, flight):
        """Per call: the difference of two runs, so that start and end of the programs do not count."""
        few, many = self.syscalls_of(row, flight, 500), self.syscalls_of(row, flight, 2500)
        each = {name: (many.get(name, 0) - few.get(name, 0)) / 2000 for name in many}
        return sum(each.values()), {name: n for name, n in each.items() if abs(n) >= 0.005}

    def allocations(self, program, mode):
        """Calls of the mesh's allocator per warm call, told by the programs themselves."""
        out = subprocess.run(self.command(f"{program} {mode} DIR"), check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        return {"client": float(out[0]), "server": float(out[1])}
