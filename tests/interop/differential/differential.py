#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does libmesh decide as Envoy does? One configuration from istiod, one list of requests, two clients; see run.

    differential.py [--pairs N] [--seed S] [--only WORD] [--long]
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from compare import differences  # noqa: E402
from corpus import corpus_cases, valid  # noqa: E402
from generator import OTHER, Generator  # noqa: E402
from harness import NETWORKING, policy  # noqa: E402
from kube import KubeError  # noqa: E402
from lab import Lab  # noqa: E402
from process import LabError  # noqa: E402
from shares import check_shares  # noqa: E402
from stage import SLOTS, Stage, host  # noqa: E402

PAIRS, PAIRS_LONG = 500, 5000
REQUESTS_PER_CASE, REQUESTS_PER_CORPUS_CASE = 13, 4
SHRINKS = 6  # differences that are made small: each costs some pushes
SHRINK_ROUNDS = 12
LISTED_MAX = 10
TOLD_OF_A_KIND = 3
SETTLE_SECONDS = 1.5  # for what was still on its way to one of both when they were asked first


def render(tree, slot):
    return json.loads(json.dumps(tree).replace("SLOT", str(slot)))


def manifests_of(case, slot):
    """The objects of a case, for the service of that number."""
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2", "v3")]
    rule = {"host": host(slot), "subsets": subsets}
    if case["rule"]:
        rule["trafficPolicy"] = case["rule"]
    yield policy("DestinationRule", NETWORKING, f"s{slot}", rule)
    for number, spec in enumerate(case["services"]):
        yield policy("VirtualService", NETWORKING, f"s{slot}-{number}", render(spec, slot))
    for name, routes in case["delegates"].items():
        yield policy("VirtualService", NETWORKING, render(name, slot), render({"http": routes}, slot))


def by_chance(case, request):
    """Whether the request's destination is drawn by chance."""
    if "hash" in case and case["rule"]:
        removed = case["hash"].get("httpHeaderName", "none") in str([route.get("headers") for routes in route_lists(case)
                                                                     for route in routes])
        return removed or not hash_key_in(case["hash"], request)  # a key that a route takes away is none
    return case["random"] or not pinned(case)


def pinned(case):
    """Whether all destinations name a subset, which is one endpoint, or the other service, which has but one."""
    routes = [route for routes in route_lists(case) for route in routes]
    places = [one.get("destination", {}) for route in routes for one in route.get("route", []) + route.get("mirrors", [])]
    places += [route["mirror"] for route in routes if "mirror" in route]
    return bool(places) and all("subset" in place or place.get("host") == OTHER for place in places)


def route_lists(case):
    return [spec.get("http", []) for spec in case["services"]] + list(case["delegates"].values())


def hash_key_in(key, request):
    names = {name.lower(): value for name, value in request["headers"]}
    if "httpHeaderName" in key:
        return key["httpHeaderName"] in names
    if "httpCookie" in key:
        return "user=" in names.get("cookie", "")
    return re.search(r"[?&]x=", request["path"]) is not None


class Listed:
    """The differences that are known, each with its reason; see the file."""

    def __init__(self, path):
        self.entries = yaml.safe_load(path.read_text()) or []
        if len(self.entries) > LISTED_MAX:
            raise LabError(f"{path}: {len(self.entries)} entries, at most {LISTED_MAX} are allowed")
        self.used = {}

    def covers(self, found, case, request):
        """Whether every difference found is a listed one."""
        pair = json.dumps([case, request])
        return all(any(self._is(entry, one, pair) for entry in self.entries) for one in found)

    def _is(self, entry, one, pair):
        if not re.search(entry["pattern"], text_of(one)) or not re.search(entry.get("when", ""), pair):
            return False
        self.used[entry["pattern"]] = self.used.get(entry["pattern"], 0) + 1
        return True


def text_of(difference):
    what, theirs, ours = difference
    return f"{what}: Envoy {json.dumps(theirs)}, libmesh {json.dumps(ours)}"


class Differential:
    def __init__(self, stage, arguments):
        self.stage, self.arguments = stage, arguments
        self.listed = Listed(HERE / "differences")
        self.random = random.Random(arguments.seed)
        self.generator = Generator(self.random)
        self.passed, self.bad, self.excused, self.kinds = 0, [], 0, {}
        self.corpus = list(corpus_cases())

    def batches(self):
        """Lists of cases, each for one push: Istio's own first, then as many as the pairs need."""
        wanted = self.arguments.pairs
        cases = list(self.corpus)
        count = max(1, -(-(wanted - len(cases) * REQUESTS_PER_CORPUS_CASE) // REQUESTS_PER_CASE))
        cases += [self.generator.case() for _ in range(count)]
        for at in range(0, len(cases), SLOTS):
            yield cases[at:at + SLOTS]

    def push(self, cases):
        self.stage.push(manifest for slot, case in enumerate(cases) for manifest in manifests_of(case, slot))

    def ask(self, asked):
        """Sends [(slot, case, request)..] through both; what differs of each."""
        requests = [dict(render(request, slot), lane=slot) for slot, _, request in asked]
        outcomes = self.stage.exchange(requests)
        return [(differences(theirs, ours, by_chance(case, request)), theirs, ours) for (_, case, request), theirs, ours
                in zip(asked, outcomes["sidecar"], outcomes["libmesh"])]

    def ask_twice(self, asked):
        """A second time what differed: on a busy machine a time limit may be met by one of both."""
        results = self.ask(asked)
        again = [number for number, result in enumerate(results) if result[0]]
        if again:
            time.sleep(SETTLE_SECONDS)
            for number, result in zip(again, self.ask([asked[number] for number in again])):
                results[number] = result
        return results

    def run(self):
        left = self.arguments.pairs
        for batch in self.batches():
            asked = []
            for slot, case in enumerate(batch):
                count = REQUESTS_PER_CORPUS_CASE if case in self.corpus else REQUESTS_PER_CASE
                requests = [self.generator.request(case) for _ in range(min(count, left - len(asked)))]
                asked += [(slot, case, request) for request in requests]
            if not asked:
                break
            left -= len(asked)
            if self.arguments.only:
                asked = [one for one in asked if self.arguments.only in json.dumps(one[1:])]
            self.push(batch)
            for (kind, name), words in self.stage.refused.items():
                print(f"left out: {kind} {name}: {words[:300]}")
            for one, result in zip(asked, self.ask_twice(asked)):
                self.judge(one, result)
            self.shares(batch)

    def shares(self, batch):
        for slot, case in enumerate(batch):
            for words in check_shares(self.stage, case, slot, lambda request, slot=slot: dict(render(request, slot), lane=slot)):
                if words:
                    self.bad.append(((slot, case, {}), ([("shares", *words)], {}, {})))
                else:
                    self.passed += 1

    def judge(self, one, result):
        found = result[0]
        if found and not self.listed.covers(found, *one[1:]):
            self.bad.append((one, result))
            kind = tuple(sorted({difference[0] for difference in found}))
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if self.kinds[kind] <= TOLD_OF_A_KIND:
                print(f"DIFFERS {json.dumps(one[2])}", *(text_of(difference) for difference in found[:4]), sep="\n    ", flush=True)
        else:
            self.passed += 1
            self.excused += bool(found)

    # ---- shrinking

    def shrink(self, one, result):
        """A case as small as it gets while the difference (of the same kind) stays. Many smaller ones are tried at once,
        each with a service of its own."""
        _, case, request = one
        kinds = {difference[0] for difference in result[0]}
        for _ in range(SHRINK_ROUNDS):
            tries = [pair for pair in smaller(case, request) if all_valid(pair[0])][:SLOTS]
            if not tries:
                break
            self.push([smaller_case for smaller_case, _ in tries])
            results = self.ask([(slot, *pair) for slot, pair in enumerate(tries)])
            kept = [(pair, outcome) for pair, outcome in zip(tries, results)
                    if kinds & {difference[0] for difference in outcome[0]} and not self.listed.covers(outcome[0], *pair)]
            if not kept:
                break
            (case, request), result = min(kept, key=lambda pair: len(json.dumps(pair[0])))
        return case, request, result

    def report(self):
        """Prints the differences, a kind each, as small as they get."""
        kinds = {}
        for one, result in self.bad:
            kinds.setdefault(tuple(sorted({difference[0] for difference in result[0]})), []).append((one, result))
        for kind, same in sorted(kinds.items(), key=lambda item: -len(item[1]))[:SHRINKS if self.arguments.shrink else 0]:
            one, result = min(same, key=lambda pair: len(json.dumps(pair[0])))
            if kind == ("shares",):
                continue
            case, request, result = self.shrink(one, result)
            print(f"\n--- {len(same)} differ in {', '.join(kind)}; one of them, made small:")
            print(yaml.safe_dump({"configuration": {key: value for key, value in case.items() if value}, "request": {
                key: value for key, value in request.items() if value}}, sort_keys=False, default_flow_style=None), end="")
            for difference in result[0]:
                print("   ", text_of(difference))
            print("    Envoy:", result[1].get("why"), "libmesh:", result[2].get("why"), flush=True)


def smaller(case, request):
    """Cases and requests with one thing less."""
    def without(tree, path):
        copy = json.loads(json.dumps(tree))
        inner = copy
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        return copy
    for number in range(len(request["headers"])):
        yield case, without(request, ["headers", number])
    if request["body"]:
        yield case, {**request, "body": ""}
    if request["method"] != "GET":
        yield case, {**request, "method": "GET"}
    if "?" in request["path"]:
        yield case, {**request, "path": request["path"].partition("?")[0]}
    for path in prunable(case, []):
        yield without(case, path), request


def all_valid(case):
    return all(valid(route) for routes in route_lists(case) for route in routes)


def prunable(tree, path):
    """Paths of all that can be left out of a configuration: list items and keys, the large first."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "rule" and "hash" in tree:
                continue  # without all of it the choice would be by chance
            if len(path) > 0 and key not in ("host", "destination", "hosts", "status", "name"):
                yield [*path, key]
            yield from prunable(value, [*path, key])
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            if len(tree) > 1 or path[-1] == "services":
                yield [*path, number]
            yield from prunable(value, [*path, number])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, help=f"requests to compare, by default {PAIRS}, with --long {PAIRS_LONG}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="only pairs whose configuration or request contains this word")
    parser.add_argument("--long", action="store_true", default=os.environ.get("LIBMESH_DIFFERENTIAL_LONG") == "1")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    arguments = parser.parse_args()
    arguments.pairs = arguments.pairs or (PAIRS_LONG if arguments.long else PAIRS)
    return arguments


def compare_all(directory, arguments):
    began = time.monotonic()
    with Lab(directory) as lab:
        stage = Stage(lab)
        differential = Differential(stage, arguments)
        print(f"the lab is up after {time.monotonic() - began:.0f} s; seed {arguments.seed}", flush=True)
        differential.run()
        print(f"compared after {time.monotonic() - began:.0f} s: {differential.passed} alike "
              f"({differential.excused} of them but for a listed difference), {len(differential.bad)} not", flush=True)
        differential.report()
        stage.close()
    for entry in differential.listed.entries:
        print(f"listed: {differential.listed.used.get(entry['pattern'], 0)} times {entry['pattern']}")
    return differential.passed, len(differential.bad)


def leave(number, frame):
    """A signal's default action would not leave the lab's block, which is what takes it down."""
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    arguments = parse()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="libmesh-differential-"))
    failed = 1
    try:
        passed, failed = compare_all(directory / "lab", arguments)
    except (LabError, KubeError, AssertionError, OSError) as error:
        print(f"the differential test broke off: {error}")
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
