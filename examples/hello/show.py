#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a small mesh and shows on one screen what libmesh does in it. examples/hello/run builds, then runs this."""

import argparse
import collections
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from embedded import EmbeddedMesh, MeshError

SPLIT_CALLS = 200
RETRY_CALLS = 20
LOAD_PER_SECOND = 200  # what two callers come to that rest 10 ms after each call
LOOK_AT = 150          # calls on either side of the change
TURN_AROUND = (("weight: 80", "weight: ?"), ("weight: 20", "weight: 80"), ("weight: ?", "weight: 20"))
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
URL = "http://echo:9080/"
FLAKY_URL = "http://flaky:9080/"


class Show:
    """Prints what happened and what of it should not have."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.failed = 0
        self.step = 0

    def tell(self, title, text, good, expected):
        """One step: what was seen, and what was expected when that is something else."""
        self.step += 1
        first, *rest = text.split("\n")
        print(f" {self.step}. {title:9} {first}", *("    " + " " * 10 + line for line in rest), sep="\n", flush=True)
        if not good:
            self.failed += 1
            print(f"    FAILED    expected: {expected}", flush=True)

    def calls(self, account, *words):
        """The results of a run of mesh-call."""
        argv, env = self.mesh.mesh_call(account, ["--json", *words])
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode not in (0, 1):
            raise MeshError(f"mesh-call ended with {done.returncode}: {done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    # ---- the steps

    def identity(self):
        result = self.calls("client", URL)[0]
        seen = json.loads(result["body"]) if result["http_status"] == 200 else {"peer_identity": "", "tls": ""}
        self.tell("mTLS", f"the client sees {result['peer_identity']}   {result['tls']}\n"
                          f"the server sees {seen['peer_identity']}   {seen['tls']}",
                  (result["peer_identity"], seen["peer_identity"], result["tls"], seen["tls"]) ==
                  (self.mesh.identity("echo"), self.mesh.identity("client"), "TLSv1.3", "TLSv1.3"),
                  "both identities, over TLSv1.3")

    def split(self):
        results = self.calls("client", "-n", str(SPLIT_CALLS), URL)
        counts = versions(results)
        self.tell("split", f"{len(results)} calls by a route of 80 : 20 gave v1 {counts['v1']}, v2 {counts['v2']}",
                  sum(counts.values()) == SPLIT_CALLS and is_share(counts["v1"], SPLIT_CALLS, 0.8),
                  f"{SPLIT_CALLS} answers, about {SPLIT_CALLS * 8 // 10} of v1")

    def retry(self):
        results = self.calls("client", "-n", str(RETRY_CALLS), FLAKY_URL)
        good = sum(result["http_status"] == 200 for result in results)
        tries = collections.Counter(result["attempts"] for result in results)
        words = ", ".join(f"{tries[n]} took {n} attempt{'s' if n > 1 else ''}" for n in sorted(tries))
        self.tell("retry", f"{len(results)} calls to a service with one dead endpoint of two: {good} got 200; {words}",
                  good == RETRY_CALLS and max(tries) > 1, f"{RETRY_CALLS} times 200, some of them at a second attempt")

    def refused(self):
        result = self.calls("stranger", URL)[0]
        words = result["body"].strip()[:40]
        plain = self.mesh.plaintext_status()
        self.tell("refused", f"service account stranger gets {result['http_status']} \"{words}\"\n"
                             f"plaintext, without an identity, gets {plain or 'no answer: the connection is closed'}",
                  result["http_status"] == 403 and plain == "", "403 for the stranger, nothing for plaintext")

    def live_change(self):
        """Turns the split around while calls go on."""
        count = 2 * LOOK_AT + int(2 * self.mesh.change_seconds * LOAD_PER_SECOND)
        argv, env = self.mesh.mesh_call("client", ["--json", "-n", str(count), "-c", "2", "--interval-ms", "10", URL])
        results = []
        with tempfile.TemporaryFile("w+") as words, \
             subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=words, text=True) as load:
            for line in load.stdout:
                results.append(json.loads(line))
                if len(results) == LOOK_AT:
                    self.mesh.change_route(*TURN_AROUND)
            load.wait()
            words.seek(0)
            said = words.read()[-2000:]
        before, after = versions(results[:LOOK_AT]), versions(results[-LOOK_AT:])
        bad = count - sum(versions(results).values())
        self.tell("live", f"the route was edited to 20 : 80 under load, no restart, {bad} of {count} calls failed\n"
                          f"before: v1 {before['v1']}, v2 {before['v2']}   after: v1 {after['v1']}, v2 {after['v2']}",
                  bad == 0 and is_share(before["v1"], LOOK_AT, 0.8) and is_share(after["v2"], LOOK_AT, 0.8),
                  "no call fails, and the split turns around" + ("\n" + said if bad else ""))

    def run(self):
        for step in (self.identity, self.split, self.retry, self.refused, self.live_change):
            step()
        return self.failed


def versions(results):
    """How many answers each version gave."""
    counts = collections.Counter()
    for result in results:
        if result["http_status"] == 200:
            counts[json.loads(result["body"])["name"].removeprefix("echo-")] += 1
    return counts


def is_share(count, total, share):
    """Whether `count` is what chance makes of it: five standard deviations are one wrong verdict in a million."""
    return abs(count - total * share) <= 5 * (total * share * (1 - share)) ** 0.5


def leave(number, frame):
    """A signal's default action would not leave the mesh's block, which ends its processes; nor must a second one."""
    for other in ENDS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def open_mesh(arguments, directory):
    if arguments.istiod:
        from istiod import IstiodMesh  # needs what only the lab has
        return IstiodMesh(arguments.build, directory)
    return EmbeddedMesh(arguments.build, directory)


def main():
    parser = argparse.ArgumentParser(description="Shows what libmesh does, in a small mesh on this machine.")
    parser.add_argument("--build", required=True, type=pathlib.Path, help="CMake build folder with the examples")
    parser.add_argument("--istiod", action="store_true", help="with a real Istio (root, network namespaces)")
    arguments = parser.parse_args()
    for number in ENDS:
        signal.signal(number, leave)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mesh-hello-"))
    start = time.monotonic()
    failed = 1
    try:
        with open_mesh(arguments, directory / "mesh") as mesh:
            print(f"A client and two versions of a server, libmesh in each, no sidecar, no agent.\n"
                  f"Control plane: {mesh.title}. Joined by token after {time.monotonic() - start:.1f} s.\n", flush=True)
            failed = Show(mesh).run()
    except (SystemExit, KeyboardInterrupt):  # somebody wants it to end: nothing to look into
        shutil.rmtree(directory)
        raise SystemExit(130) from None
    except Exception as error:  # whatever it is: say it, keep the logs
        failed = 1
        print(f"hello: {type(error).__name__}: {error}", file=sys.stderr)
    if failed:
        print(f"\nNOT everything happened as expected; the logs are in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    print("\nEverything happened as expected: calls were routed, retried, refused and re-routed inside the processes,\n"
          f"over mutual TLS, as the control plane said. ({time.monotonic() - start:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
