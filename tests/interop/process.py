# SPDX-License-Identifier: Apache-2.0
"""Background processes of the lab: started with a log file, remembered by pid, ended by pid."""

import os
import pathlib
import signal
import subprocess
import time


class LabError(Exception):
    """Something in the lab did not come up or did not answer; the text says what and where its log is."""


def wait_until(condition, seconds, what):
    """Polls until `condition()` is true and returns what it gave; LabError naming `what` when time is up."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, ValueError) as error:  # nobody listens yet, half an answer
            last = error
        time.sleep(0.1)
    raise LabError(f"not within {seconds} s: {what}" + (f" ({last})" if last else ""))


class Process:
    """A process in the background. One found again by its pid need not be our own child."""

    def __init__(self, name, pid, log, child=None):
        self.name = name
        self.pid = pid
        self.log = pathlib.Path(log)
        self._child = child

    @classmethod
    def start(cls, name, argv, log, env=None, cwd=None):
        with open(log, "ab") as sink:
            # A session of its own: an interrupt typed at the tests must not reach it before we end it in order.
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=cwd,
                                     start_new_session=True)
        return cls(name, child.pid, log, child)

    def alive(self):
        if self._child is not None:
            return self._child.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self, number=signal.SIGTERM, seconds=15):
        """Sends the signal and waits for the end; a process that ignores it is killed and that is an error."""
        if not self.alive():
            return
        os.kill(self.pid, number)
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            raise LabError(f"{self.name} did not end within {seconds} s of signal {number}, log {self.log}")

    def exit_code(self):
        """The exit status of a child that has ended; None while it runs or when it is not our child."""
        return None if self._child is None else self._child.poll()

    def tail(self, lines=15):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""
