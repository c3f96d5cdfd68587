# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: made, entered and removed with iproute2's `ip netns`.

The lab has one namespace for the control plane, with a bridge in it, and one for each pod, as a cluster has: so
pods may use the same port, have a source address of their own, and nothing meets the ports of the host.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time

CLONE_NEWNET = 0x40000000
BRIDGE = "cluster"


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def create(name):
    """A namespace with nothing but its loopback."""
    _ip("netns", "add", name)
    _ip("-n", name, "link", "set", "lo", "up")


def create_bridge(name, address):
    """Makes `name` the place where all pods meet; `address` ("10.244.0.1/24") is its own on that network."""
    _ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
    _ip("-n", name, "addr", "add", address, "dev", BRIDGE)
    _ip("-n", name, "link", "set", BRIDGE, "up")


def attach(name, hub, port, address):
    """Gives namespace `name` an eth0 with `address`, plugged into the bridge of `hub` as device `port`."""
    _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("-n", hub, "link", "set", port, "master", BRIDGE, "up")
    # Duplicate address detection and router solicitation would only add noise: the lab is IPv4.
    _ip("-n", name, "addr", "add", address, "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")


def exists(name):
    return os.path.exists("/run/netns/" + name)


def processes(name):
    """The ids of all processes inside; only ours live there."""
    done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


def listening(name):
    """The TCP ports that somebody listens on inside."""
    done = subprocess.run(command(name, ["ss", "-Hltn"]), capture_output=True, text=True, check=True)
    return {int(line.split()[3].rpartition(":")[2]) for line in done.stdout.splitlines()}


def delete(name):
    """Ends every process inside, then removes the namespace. Good to call twice."""
    if not exists(name):
        return
    for _ in range(50):
        left = processes(name)
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def command(name, argv):
    """The command line that runs `argv` inside."""
    return ["ip", "netns", "exec", name, *argv]


def connect(name, address, timeout=5.0):
    """A TCP connection made from inside the namespace, for this process outside of it.

    A socket belongs for life to the namespace its thread was in when it was made, and setns() moves only the calling
    thread, so a short visit is enough.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open("/run/netns/" + name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(away, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns to " + name)
        finally:
            os.close(away)
        try:
            return socket.create_connection(address, timeout=timeout)
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(70)  # going on in the wrong namespace would be worse
    finally:
        os.close(home)
