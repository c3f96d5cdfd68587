# SPDX-License-Identifier: Apache-2.0
"""Are destinations that are drawn by chance drawn as often as by Envoy? Judged by the weights, not by a second
sample."""

import math

ASKED = 150
DEVIATIONS = 5  # so that it fails for a reason, or once in two million times


def check_shares(stage, case, slot, render):
    """For a case whose last route has weights: yields None when both clients keep to them, else (what Envoy's shares
    were, what libmesh's were)."""
    weights = weights_of(case)
    if not weights:
        return
    request = {"method": "GET", "authority": "sSLOT.diff.test", "path": "/zzz", "headers": [], "body": "", "port": 80}
    outcomes = stage.exchange([render(request) for _ in range(ASKED)])
    counts = {client: count(outcomes[client]) for client in outcomes}
    yield None if all(fits(counts[client], weights) for client in counts) else (counts["sidecar"], counts["libmesh"])


def weights_of(case):
    """Weights by destination, of a route that catches all and does nothing but forward."""
    routes = case["services"][0]["http"] if case["services"] and case["random"] else []
    last = routes[-1] if len(routes) == 1 else {}
    if set(last) - {"name", "route", "headers"} or len(last.get("route", [])) < 2:
        return None
    return {one["destination"].get("subset"): one["weight"] for one in last["route"]}


def count(outcomes):
    counts = {}
    for outcome in outcomes:
        for arrival in outcome["arrivals"]:
            counts[arrival["destination"]] = counts.get(arrival["destination"], 0) + 1
    return counts


def fits(counts, weights):
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        if abs(counts.get(name, 0) - ASKED * share) > DEVIATIONS * math.sqrt(ASKED * share * (1 - share)) + 0.5:
            return False
    return sum(counts.values()) == ASKED
