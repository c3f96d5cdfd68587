# SPDX-License-Identifier: Apache-2.0
"""How scripted_servers.py and scripted_dns.py are told what to be: they take orders line by line."""

import threading

import netns
from harness import eventually
from process import LabError


class Orders:
    """A connection to the control port of such a server in a pod."""

    def __init__(self, pod, port):
        self.socket = netns.connect(pod.netns, ("127.0.0.1", port))
        self.lock = threading.Lock()

    @classmethod
    def when_ready(cls, pod, port):
        def connect():
            try:
                return cls(pod, port)
            except OSError:
                return None
        return eventually(connect, f"the server on port {port} of {pod.name} takes orders", 20)

    def say(self, *words):
        with self.lock:
            self.socket.sendall((" ".join(map(str, words)) + "\n").encode())
            if self.socket.recv(16) != b"ok\n":
                raise LabError(f"the order {words} was not taken")

    def close(self):
        self.socket.close()
