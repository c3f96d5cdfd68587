#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does libmesh decide as Envoy does? One configuration from istiod, one list of requests, two clients; see run.

    differential.py [--pairs N] [--seed S] [--only WORD] [--long]
"""

import argparse
import collections
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
from generator import Generator  # noqa: E402
from harness import NETWORKING, policy  # noqa: E402
from kube import KubeError  # noqa: E402
from lab import Lab  # noqa: E402
from process import LabError  # noqa: E402
from shares import check_shares  # noqa: E402
from stage import SLOTS, Stage, host  # noqa: E402
from written import written_cases  # noqa: E402

PAIRS, PAIRS_LONG = 500, 5000
REQUESTS_PER_CASE, REQUESTS_PER_CORPUS_CASE = 13, 4
SHRINKS = 6  # differences that are made small: each costs some pushes
SHRINK_ROUNDS = 12
LISTED_MAX = 10
TOLD_OF_A_KIND = 3
UNSTEADY_SHARE_MAX = 0.005
# Without requests of each a run has shown less than it says, see `traits`.
MUST_SEE = {"mutual TLS", "PassthroughCluster", "HTTP/2", "retried", "mirrored"}
SETTLE_SECONDS = 1.5  # for what was still on its way to one of both when they were asked first


def render(tree, slot):
    return json.loads(json.dumps(tree).replace("SLOT", str(slot)))


def manifests_of(case, slot):
    """The objects of a case, for the service of that number."""
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2", "v3")]
    rule = {"host": case.get("host") or host(slot), "subsets": subsets}
    if case["rule"]:
        rule["trafficPolicy"] = case["rule"]
    yield policy("DestinationRule", NETWORKING, f"s{slot}", rule)
    for number, spec in enumerate(case["services"]):
        yield policy("VirtualService", NETWORKING, f"s{slot}-{number}", render(spec, slot))
    for name, routes in case["delegates"].items():
        yield policy("VirtualService", NETWORKING, render(name, slot), render({"http": routes}, slot))


def drawn_by_chance(case, request, sidecar):
    """What of the request's way is drawn by chance: "cluster", "endpoint" where the cluster that Envoy took has several
    (a subset is one, and the other services have but one), or nothing."""
    if case["random"]:
        return "cluster"
    if not re.fullmatch(r"outbound\|\d+\|\|s\d+\.diff\.test", sidecar.get("cluster", "")):
        return ""
    hashed = case["rule"] and "hash" in case and hash_key_in(case["hash"], changed_by(case, request, sidecar["route"]))
    return "" if hashed else "endpoint"


def changed_by(case, request, name):
    """The request as far as its hash can be told, after the changes of the route: what is hashed, by Envoy too. A
    header whose value may come out empty or not at all is none: what then is hashed is not foretold here."""
    route = next((one for routes in route_lists(case) for one in routes if one.get("name") == name), {})
    changes = [one.get("headers", {}).get("request", {}) for one in [*route.get("route", []), route]]
    gone = {name.lower() for change in changes for name in change.get("remove", [])}
    made = {name.lower(): value for change in changes for kind in ("set", "add")
            for name, value in change.get(kind, {}).items()}
    headers = [[name, value] for name, value in request["headers"] if name.lower() not in gone]
    headers += [[name, value] for name, value in made.items() if value and "%" not in value and name not in gone]
    headers = [pair for pair in headers if made.get(pair[0].lower(), "x") != ""]
    return {**request, "headers": headers, "path": route.get("rewrite", {}).get("uri", "") + request["path"]}


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

    def covers(self, found, case, request, count=False):
        """Whether every difference found is a listed one; `count` those that are."""
        entries = [next((entry for entry in self.entries if self._is(entry, one, case, request)), None)
                   for one in found]
        for entry in entries if count and all(entries) else []:
            self.used[entry["name"]] = self.used.get(entry["name"], 0) + 1
        return all(entries)

    @staticmethod
    def _is(entry, one, case, request):
        return (re.search(entry["pattern"], text_of(one))
                and re.search(entry.get("configuration", ""), json.dumps(case))
                and re.search(entry.get("request", ""), json.dumps(request)))


def text_of(difference):
    what, theirs, ours = difference
    return f"{what}: Envoy {json.dumps(theirs)}, libmesh {json.dumps(ours)}"


class Differential:
    def __init__(self, stage, arguments):
        self.stage, self.arguments = stage, arguments
        self.listed = Listed(HERE / "differences")
        self.random = random.Random(arguments.seed)
        self.generator = Generator(self.random)
        self.passed, self.bad, self.unsteady, self.excused, self.kinds = 0, [], [], 0, {}
        self.seen = collections.Counter()
        self.corpus = list(corpus_cases())

    def batches(self):
        """Lists of cases, each for one push: the written ones first, then Istio's own, then as many as the pairs
        need."""
        wanted = self.arguments.pairs
        cases = [*written_cases(), *self.corpus]
        count = max(1, -(-(wanted - len(self.corpus) * REQUESTS_PER_CORPUS_CASE) // REQUESTS_PER_CASE))
        cases += [self.generator.case() for _ in range(count)]
        apart = [case for case in cases if case.get("strangers")]  # it is of the whole workload
        cases = [case for case in cases if case not in apart]
        yield apart
        for at in range(0, len(cases), SLOTS):
            yield cases[at:at + SLOTS]

    def push(self, cases):
        strangers = "ALLOW_ANY" if any(case.get("strangers") for case in cases) else "REGISTRY_ONLY"
        self.stage.push([manifest for slot, case in enumerate(cases) for manifest in manifests_of(case, slot)],
                        strangers)

    def ask(self, asked):
        """Sends [(slot, case, request)..] through both; what differs of each."""
        requests = [dict(render(request, slot), lane=slot) for slot, _, request in asked]
        outcomes = self.stage.exchange(requests)
        return [(differences(theirs, ours, drawn_by_chance(case, request, theirs)), theirs, ours)
                for (_, case, request), theirs, ours in zip(asked, outcomes["sidecar"], outcomes["libmesh"])]

    def ask_twice(self, asked):
        """A second time what differed: on a busy machine a time limit may be met by one of both. What is alike then is
        told and counted all the same, see UNSTEADY_SHARE_MAX."""
        results = self.ask(asked)
        again = [number for number, result in enumerate(results) if result[0]
                 and not self.listed.covers(result[0], *asked[number][1:])]
        if again:
            time.sleep(SETTLE_SECONDS)
            for number, result in zip(again, self.ask([asked[number] for number in again])):
                if self.listed.covers(result[0], *asked[number][1:]):
                    self.unsteady.append(asked[number])
                    print(f"UNSTEADY {json.dumps(asked[number][2])}", *(text_of(one) for one in results[number][0][:4]),
                          sep="\n    ", flush=True)
                results[number] = result
        return results

    def run(self):
        left = self.arguments.pairs
        for batch in self.batches():
            asked = []
            for slot, case in enumerate(batch):
                count = REQUESTS_PER_CORPUS_CASE if case in self.corpus else REQUESTS_PER_CASE
                requests = case.get("requests")
                if requests is None:
                    requests = [self.generator.request(case) for _ in range(min(count, left))]
                    left -= len(requests)
                asked += [(slot, case, request) for request in requests]
            if not asked:
                break
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
            def rendered(request, slot=slot):
                return dict(render(request, slot), lane=slot)
            for words in check_shares(self.stage, case, slot, rendered):
                if words:
                    self.bad.append(((slot, case, {}), ([("shares", *words)], {}, {})))
                else:
                    self.passed += 1

    def judge(self, one, result):
        found = result[0]
        self.seen.update(traits(one[2], result[1]))
        if found and not self.listed.covers(found, *one[1:], count=True):
            self.bad.append((one, result))
            kind = tuple(sorted({difference[0] for difference in found}))
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if self.kinds[kind] <= self.arguments.told:
                print(f"DIFFERS {json.dumps(one[2])}", *(text_of(difference) for difference in found[:4]), sep="\n    ",
                      flush=True)
        else:
            self.passed += 1
            self.excused += bool(found)

    # ---- shrinking

    def shrink(self, one, result):
        """A case as small as it gets while the difference (of the same kind) stays. Many smaller ones are tried at
        once, each with a service of its own."""
        _, case, request = one
        kinds = {difference[0] for difference in result[0]}
        for _ in range(SHRINK_ROUNDS):
            tries = [pair for pair in smaller(case, request) if all_valid(pair[0])][:SLOTS]
            if not tries:
                break
            self.push([smaller_case for smaller_case, _ in tries])
            results = self.ask([(slot, *pair) for slot, pair in enumerate(tries)])
            kept = [(pair, outcome) for pair, outcome in zip(tries, results)
                    if kinds & {difference[0] for difference in outcome[0]}
                    and not self.listed.covers(outcome[0], *pair)]
            if not kept:
                break
            (case, request), result = min(kept, key=lambda pair: len(json.dumps(pair[0])))
        return case, request, result

    def report(self):
        """Prints the differences, a kind each, as small as they get."""
        kinds = {}
        for one, result in self.bad:
            kinds.setdefault(tuple(sorted({difference[0] for difference in result[0]})), []).append((one, result))
        many = sorted(kinds.items(), key=lambda item: -len(item[1]))
        for kind, same in many[:SHRINKS if self.arguments.shrink else 0]:
            one, result = min(same, key=lambda pair: len(json.dumps(pair[0])))
            if kind == ("shares",):
                continue
            case, request, result = self.shrink(one, result)
            print(f"\n--- {len(same)} differ in {', '.join(kind)}; one of them, made small:")
            case, request = ({key: value for key, value in tree.items() if value} for tree in (case, request))
            print(yaml.safe_dump({"configuration": case, "request": request}, sort_keys=False, default_flow_style=None),
                  end="")
            for difference in result[0]:
                print("   ", text_of(difference))
            print("    Envoy:", result[1].get("why"), "libmesh:", result[2].get("why"), flush=True)


def traits(request, sidecar):
    """What a request through Envoy was an instance of, for the report to tell what a run has covered."""
    yield str(sidecar["status"])
    for flag in sidecar.get("flag", "-").split(","):
        yield flag
    if sidecar.get("attempts", 0) > 1:
        yield "retried"
    if len(sidecar["arrivals"]) > max(sidecar.get("attempts", 0), 1):
        yield "mirrored"
    if re.search(r'"peer_identity": ?"spiffe:', sidecar.get("body", "")):
        yield "mutual TLS"
    if request.get("version") == 2:
        yield "HTTP/2"
    if not sidecar.get("cluster", "").startswith("outbound"):
        yield sidecar.get("cluster") or "no cluster"


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
    if "version" in request:
        yield case, {key: value for key, value in request.items() if key != "version"}
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
    parser.add_argument("--pairs", type=int, help="requests to compare besides the written ones, by default "
                        f"{PAIRS}, with --long {PAIRS_LONG}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="only pairs whose configuration or request contains this word")
    parser.add_argument("--long", action="store_true", default=os.environ.get("LIBMESH_DIFFERENTIAL_LONG") == "1")
    parser.add_argument("--told", type=int, default=TOLD_OF_A_KIND, help="differences of a kind to print")
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
        print(f"compared after {time.monotonic() - began:.0f} s: {differential.passed} alike ({differential.excused} "
              f"of them but for a listed difference, {len(differential.unsteady)} unsteady: alike when asked again), "
              f"{len(differential.bad)} not")
        traits_seen = ", ".join(f"{count} {trait}" for trait, count in differential.seen.most_common())
        print(f"through Envoy: {traits_seen}", flush=True)
        differential.report()
        stage.close()
    for entry in differential.listed.entries:
        print(f"listed: {differential.listed.used.get(entry['name'], 0)} times: {entry['name']}")
    unseen = MUST_SEE - set(differential.seen)
    if unseen and not arguments.only:
        raise LabError(f"no request was an instance of {', '.join(sorted(unseen))}")
    if len(differential.unsteady) > UNSTEADY_SHARE_MAX * differential.passed:
        print(f"{len(differential.unsteady)} unsteady are too many: each of them is a failure")
        return differential.passed - len(differential.unsteady), len(differential.bad) + len(differential.unsteady)
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
