#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the interop cases, all in one lab. `cases.py [PATTERN..]` runs those whose name contains a pattern."""

import pathlib
import shutil
import signal
import sys
import tempfile
import time
import unittest

import drivers
from harness import JOIN_SECONDS, MeshTest, curl, eventually, pod_manifest, program, service_manifest
from kube import KubeError
from lab import Lab
from process import LabError

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

OBJECTS = [
    service_manifest("echo"),
    pod_manifest("echo-v1", "echo", "v1"),
    pod_manifest("echo-v2", "echo", "v2"),
    pod_manifest("client", "client"),
    pod_manifest("stranger", "stranger"),
    pod_manifest("outside", "outside", in_mesh=False),
]


class Result(unittest.TestResult):
    """One line for each case, with its time; a failure is told at once, with the ends of the logs."""

    def __init__(self, lab):
        super().__init__()
        self._lab = lab
        self._begun = 0  # by the clock that only goes forward,
        self._clock = 0  # and by the one that files have

    @property
    def failed(self):
        """How many cases failed; one may fail in several places, its subtests and its cleaning up among them."""
        return len({getattr(test, "test_case", test).id() for test, _ in self.failures + self.errors})

    def startTest(self, test):
        super().startTest(test)
        self._begun, self._clock = time.monotonic(), time.time()

    def _say(self, word, test):
        print(f"{word:6} {test.id()} ({time.monotonic() - self._begun:.1f} s)", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._say("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._tell(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._tell(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            kept = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._tell(subtest, kept[-1][1])

    def _tell(self, test, text):
        self._say("FAILED", test)
        print(text, flush=True)
        self._lab.print_logs(self._clock, without=("etcd", "kube-apiserver"))


def find_cases(patterns):
    loader = unittest.TestLoader()
    if patterns:
        loader.testNamePatterns = [f"*{pattern}*" for pattern in patterns]
    return loader.discover(str(pathlib.Path(__file__).parent), pattern="test_*.py")


def start_servers(lab):
    """Starts mesh-echo in its pods and waits until both serve."""
    servers = [lab.pods["echo-v1"], lab.pods["echo-v2"]]
    for pod in servers:
        pod.start([program("echo"), "--port", "8080", "--name", pod.name], pod.name)
    for pod in servers:
        eventually(lambda pod=pod: curl(lab.pods["outside"], target=pod)[1] == 200, pod.name + " serves", JOIN_SECONDS)


def run_cases(directory, patterns):
    """(passed, failed) of the cases that match."""
    cases = find_cases(patterns)
    if not cases.countTestCases():
        print("no case matches:", *patterns)
        return 0, 1
    with Lab(directory) as lab:
        lab.apply(OBJECTS)
        start_servers(lab)
        MeshTest.lab = lab
        result = Result(lab)
        cases.run(result)
        if lab.matrix is not None and lab.matrix.cells:
            print("", *lab.matrix.table(drivers.PROTOCOLS), "", sep="\n", flush=True)
    return result.testsRun - result.failed, result.failed


def leave(number, frame):
    """A signal's default action would not leave the lab's block, which is what takes it down; nor must a second one."""
    for other in ENDS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    for number in ENDS:
        signal.signal(number, leave)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="libmesh-interop-"))
    failed = 0
    try:
        passed, failed = run_cases(directory / "lab", sys.argv[1:])
    except (LabError, KubeError, AssertionError, OSError) as error:
        print(f"the lab did not come up: {error}")
        passed, failed = 0, 1
    finally:
        if failed:
            print(f"logs: {directory}/lab/logs")
        else:
            shutil.rmtree(directory)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
