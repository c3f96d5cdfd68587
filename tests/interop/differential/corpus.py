# SPDX-License-Identifier: Apache-2.0
"""Istio's own VirtualServices as cases: the samples and test inputs of the module that istiod is built from.

They are read where Go keeps the module, never copied. What cannot be the same here is put in its place: hosts become
the service of the case, destinations its versions, gateways and ports go away.
"""

import os
import pathlib
import subprocess

import yaml

from generator import OTHER, SERVICE

FOLDERS = ("samples", "tests/testdata/config", "tests/integration/pilot/testdata", "pilot/pkg/xds/testdata/benchmarks",
           "pkg/config/analysis/analyzers/testdata", "pkg/test/datasets/validation/dataset",
           "pkg/config/validation/testdata")
ISTIOD = pathlib.Path(__file__).resolve().parent.parent / "peers/istiod"
DESTINATIONS = ({"host": SERVICE, "subset": "v1"}, {"host": SERVICE, "subset": "v2"}, {"host": SERVICE, "subset": "v3"},
                {"host": OTHER})


def module():
    """Where the module lies; None when Go or the module is not here and cannot be fetched."""
    def go(*words):
        done = subprocess.run(["go", *words], cwd=ISTIOD, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    try:
        place = go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "istio.io/istio")
        if not place and go("mod", "download", "istio.io/istio") is not None:
            place = go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "istio.io/istio")
    except FileNotFoundError:
        return None
    return pathlib.Path(place) if place and os.path.isdir(place) else None


def documents(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.yaml")):
            text = path.read_text(errors="replace")
            if "kind: VirtualService" in text and "{{" not in text:
                try:
                    yield from yaml.safe_load_all(text)
                except yaml.YAMLError:
                    continue  # inputs of tests for what is wrong


def corpus_cases():
    root = module()
    if root is None:
        print("no corpus: Istio's module is not here (go mod download in tests/interop/peers/istiod)")
        return
    seen = set()
    for document in documents(root):
        if not isinstance(document, dict) or document.get("kind") != "VirtualService":
            continue
        routes = (document.get("spec") or {}).get("http") or []
        case = adapted(routes)
        if case and str(case) not in seen:
            seen.add(str(case))
            yield case


def adapted(routes):
    """A case of these routes, or None when nothing of them can be asked for from within the mesh."""
    places = {}
    http = []
    for number, route in enumerate(routes):
        ends = {"route", "redirect", "directResponse"}
        if not isinstance(route, dict) or "delegate" in route or not set(route) & ends:
            return None
        route = {**route, "name": f"c{number}"}
        if not valid(route):
            return None
        route.pop("websocketUpgrade", None)  # no field any more, see the API's history
        if "delay" in (route.get("fault") or {}):
            route["fault"] = {**route["fault"], "delay": {**route["fault"]["delay"], "fixedDelay": "0.05s"}}
        for kind in ("match", "route", "mirrors"):
            if kind in route:
                route[kind] = [dict(one or {}) for one in route[kind] or []]
        for match in route.get("match", []):
            for key in ("gateways", "port", "sourceLabels", "sourceNamespace", "name"):
                match.pop(key, None)
        if any(not match for match in route.get("match", [])):
            route.pop("match")
        for one in route.get("route", []) + route.get("mirrors", []):
            one["destination"] = placed(one.get("destination") or {}, places)
        if "mirror" in route:
            route["mirror"] = placed(route["mirror"] or {}, places)
        http.append(route)
    chance = any(len([one for one in route.get("route", []) if one.get("weight", 1)]) > 1 for route in http)
    if not http:
        return None
    return {"services": [{"hosts": [SERVICE], "http": http}], "delegates": {}, "rule": None, "random": chance}


def valid(route):
    """Whether Envoy will take the route: it refuses a wrong one with all else. In a cluster Istio's webhook would."""
    destinations = route.get("route") or []
    if not destinations:
        return "route" not in route and bool(set(route) & {"redirect", "directResponse", "delegate"})
    return len(destinations) == 1 or any((one or {}).get("weight") for one in destinations)


def placed(destination, places):
    key = (destination.get("host"), destination.get("subset"))
    places.setdefault(key, DESTINATIONS[len(places) % len(DESTINATIONS)])
    return places[key]
