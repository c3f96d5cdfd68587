# SPDX-License-Identifier: Apache-2.0
"""Says in what two outcomes of one request differ: that through Envoy's sidecar, and that through libmesh.

It decides what may differ: what is made anew for every request (ids, dates), what a proxy says of itself, and what only
Istio's build of Envoy would have sent too. All else that a server or a client can see is compared.
"""

import json
import re

# Sent by the one and not by the other for a reason of the set-up: the sidecar is upstream Envoy, see sidecar.py.
ARRIVED_IGNORED = {"x-request-id", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id", "x-case", "traceparent",
                   "tracestate",
                   "connection", "keep-alive", "x-envoy-decorator-operation"}
# (A sidecar writes its own name over the server's; a library is no server.)
ANSWER_IGNORED = {"date", "server", "x-envoy-upstream-service-time", "connection", "keep-alive",
                  "x-envoy-decorator-operation",
                  "transfer-encoding", "content-length"}
# The certificates of the two clients are not the same one.
SEEN_IGNORED = ARRIVED_IGNORED | {"x-forwarded-client-cert"}
LEFT_MS = 60  # a wait before another try is drawn by chance, and the machine is busy
# How a destination that was drawn by chance shows in values: the subset of its cluster, its port.
DRAWN = re.compile(r"\|v[123]\||\b20\d{3}\b")


def by_name(headers, ignored):
    """Header values by lower-case name. Several of one name are the same as one with commas: Envoy makes one of
    some."""
    fields = {}
    for name, value in headers:
        if name.lower() not in ignored:
            fields.setdefault(name.lower(), []).append(value)
    return {name: values if name == "set-cookie" else [("; " if name == "cookie" else ",").join(filter(None, values))]
            for name, values in fields.items()}


def arrival(one, chance):
    fields = by_name(one["headers"], ARRIVED_IGNORED)
    authority = fields.pop("host", [""])
    if chance:
        fields = {name: [DRAWN.sub("drawn", value) for value in values] for name, values in fields.items()}
    return {"destination": "any" if chance else one["destination"], "method": one["method"], "path": one["path"],
            "authority": authority, "headers": fields, "body": one["body"]}


def arrivals(outcome, chance):
    """In an order of their own: a mirrored copy may come before what it is a copy of."""
    return sorted((arrival(one, chance) for one in outcome["arrivals"]),
                  key=lambda one: json.dumps(one, sort_keys=True))


def differences(sidecar, libmesh, chance=""):
    """[(what, Envoy's, libmesh's)..]; empty when they are alike. `chance`: what is drawn by it, "cluster" or
    "endpoint"."""
    if "refused" in libmesh:
        # What the interface does not take is never sent; a sidecar has to answer it.
        alike = sidecar["status"] in (0, 400) and not sidecar["arrivals"]
        return [] if alike else [("refused", sidecar["status"], libmesh["refused"])]
    found = []

    def differ(what, ours, theirs):
        if ours != theirs:
            found.append((what, theirs, ours))
    differ("status", libmesh["status"], sidecar["status"])
    if "cluster" in sidecar:
        differ("flag", libmesh["flag"], sidecar["flag"])
        if chance != "cluster":
            differ("cluster", libmesh["cluster"], sidecar["cluster"])
        differ("route", libmesh["route"], sidecar["route"])
        differ("attempts", libmesh["attempts"], sidecar["attempts"])
    ours, theirs = arrivals(libmesh, chance), arrivals(sidecar, chance)
    if len(ours) != len(theirs):
        found.append(("arrivals", [one["destination"] for one in theirs], [one["destination"] for one in ours]))
    else:
        for mine, other in zip(ours, theirs):
            compare_arrival(mine, other, differ)
    # What another status carries is no difference of its own.
    if libmesh["answered"] and libmesh["status"] == sidecar["status"]:
        compare_answer(libmesh, sidecar, differ, chance)
    return found


def compare_arrival(ours, theirs, differ):
    for part in ("destination", "method", "path", "authority", "body"):
        differ("arrived " + part, ours[part], theirs[part])
    compare_headers("arrived header ", ours["headers"], theirs["headers"], differ)


def compare_headers(what, ours, theirs, differ):
    for name in sorted(set(ours) | set(theirs)):
        if name != "x-envoy-expected-rq-timeout-ms" or not near(ours.get(name), theirs.get(name)):
            differ(what + name, ours.get(name), theirs.get(name))


def near(ours, theirs):
    """Whether what is left of a time limit is about the same: a later try is told less, by how long the earlier ones
    took."""
    return bool(ours and theirs) and abs(int(ours[0]) - int(theirs[0])) <= LEFT_MS


def compare_echo(libmesh, sidecar, differ):
    """Of a server that is in the mesh itself and answers with what it saw (mesh-echo): who asked it, and what for."""
    ours, theirs = (echo_of(outcome["body"]) for outcome in (libmesh, sidecar))
    for key in ("name", "method", "path", "authority", "peer_identity", "tls", "body_bytes"):
        differ("seen " + key, ours[key], theirs[key])
    ours, theirs = (by_name(echo["headers"].items(), SEEN_IGNORED) for echo in (ours, theirs))
    compare_headers("seen header ", ours, theirs, differ)


def echo_of(body):
    try:
        echo = json.loads(body)
    except ValueError:
        return None
    return echo if isinstance(echo, dict) and "peer_identity" in echo else None


def compare_answer(libmesh, sidecar, differ, chance):
    if echo_of(libmesh["body"]) and echo_of(sidecar["body"]):
        compare_echo(libmesh, sidecar, differ)
    elif not chance:
        differ("answer body", libmesh["body"], sidecar["body"])
    ours, theirs = by_name(libmesh["headers"], ANSWER_IGNORED), by_name(sidecar["headers"], ANSWER_IGNORED)
    for name in sorted(set(ours) | set(theirs)):
        values = [fields.get(name) for fields in (ours, theirs)]
        if name == "set-cookie":  # its value is a hash of the connection's addresses
            values = [[one.partition("=")[0] + "=" + one.partition(";")[2] for one in value or []] for value in values]
        differ("answer header " + name, *values)
