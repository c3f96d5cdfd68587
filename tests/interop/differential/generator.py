# SPDX-License-Identifier: Apache-2.0
"""Configurations and requests by chance, from a seeded generator: what a VirtualService and a DestinationRule can say.

A case is {"services": [VirtualService spec..], "delegates": {name: http routes}, "rule": traffic policy or None,
"random": whether its destinations are drawn by chance}, with SLOT where the number of its service belongs. Requests are
made from the configuration: what its matches ask for, and near misses of that. Whether either is right is not known
here.
"""

SERVICE, OTHER, WILD, ALIAS = "sSLOT.diff.test", "oSLOT.diff.test", "*.wSLOT.diff.test", "aSLOT.alias.test"

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a/", "/A", "/A/b", "/ab", "/old/x", "/old", "/api/v1/x", "/api/v22/",
         "/api/v/x", "/api/v1",
         "/img/x.png", "/img/x.PNG", "/x.pngx", "/users/me/orders", "/users/me/orders/17", "/users//orders", "/healthz"]
ODD_PATHS = ["/a%2Fb", "/a%2fb", "/a//b", "//a", "/a/./b", "/a/../a/b", "/x/../a", "/a/b/..", "/a%20b", "/%61",
             "/%41/b", "/a%7Eb",
             "/a;p=1", "/a/b;v=1/c", "/a%", "/a%zz", "/a\\b", "/a/%2e%2e/b", "/a/%2E/b", "/a+b", "/a'b", "/a,b", "/a@b",
             "/a:b",
             "/a~b", "/a%3Fb", "/a%23b", "/./a", "/..", "/a/...", "/a%5Cb", "/a%09b", "/A%2fB", "/a/b//", "/a*", "/a|b"]
QUERIES = ["", "", "", "?x=1", "?x=1&y=2", "?y=2&x=1", "?x", "?", "?x=", "?x=1&x=2", "?x=2&x=1", "?X=1", "?x=1%20",
           "?x=%31", "?x=12",
           "?xy=1", "?x=1;y=2", "?debug=true", "?debug=TRUE", "?y=/a/b", "?x=a+b", "?&x=1", "?x=1?y", "?q=../x"]
PATH_REGEXES = ["/api/v[0-9]+/.*", "/(a|b)b?/?.*", ".*\\.(png|jpg)", "/users/[^/]+/orders(/[0-9]+)?", "/a/[bc]", "/A.*",
                "/[a-z/]*"]
VALUES = ["1", "2", "jason", "Jason", "v1", "v2", "gold", "GOLD", "abcz", "123", "1234", "", "a b", "user=jason; x=1",
          "x=1; user=jason",
          "true", "10.0.0.1", "jason,v1"]
VALUE_REGEXES = ["a.*z", "[0-9]{3}", "(?i)gold", "v1|v2", "^(.*?;)?(\\s*user=jason)(;.*)?$", ".+", "[^,]*"]
NAMES = ["x-a", "x-b", "x-user", "cookie", "user-agent"]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"]
QUERY_NAMES = ["x", "y", "debug", "X"]
REQUEST_VALUES = ["plain", "two words", "%REQ(x-a)%", "%REQ(:path)%", "%REQ(:authority)%", "<%REQ(x-none?x-b)%>",
                  "%REQ(x-a):3%",
                  "100%%", "%PROTOCOL%", "%REQ(:method)%-%REQ(X-User)%", "%REQ(x-none)%",
                  "%REQ(x-envoy-original-path?:path)%", "",
                  "%UPSTREAM_CLUSTER%", "%ROUTE_NAME%", "%DOWNSTREAM_LOCAL_PORT%", "%UPSTREAM_REMOTE_PORT%"]
RESPONSE_VALUES = ["plain", "%RESP(x-up-one)%", "%RESPONSE_CODE%", "%REQ(x-a)%", "%RESP(x-none)%", "50%%",
                   "%RESPONSE_FLAGS%",
                   "%REQ(:path)%", "%RESPONSE_CODE_DETAILS%", "%RESP(x-up-two)%", "%RESP(x-none?x-up-one):1%",
                   "%ROUTE_NAME%"]
RETRY_ON = ["5xx", "gateway-error", "connect-failure,refused-stream", "reset", "retriable-4xx", "503", "429,500",
            "5xx,reset",
            "reset-before-request", "connect-failure,refused-stream,unavailable,cancelled,503",
            "retriable-status-codes,500"]
FAILS = ["503*1", "503*2", "503*9", "500*1", "500*2", "429*1", "409*1", "502*1", "504*1", "404*1", "reset*1", "reset*2",
         "400*1", "close*1"]
SPECIAL = ["x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-original-path",
           "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-envoy-decorator-operation", "te",
           "x-envoy-attempt-count", "via", "referer", "accept", "x-forwarded-host"]
ORIGINS = ["https://a.test", "https://b.test", "http://a.test:8080", "https://a.test.evil", "null", "HTTPS://A.TEST"]


class Generator:
    def __init__(self, random):
        self.random = random

    def maybe(self, share):
        return self.random.random() < share

    def pick(self, values):
        return self.random.choice(values)

    # ---- configurations

    def case(self):
        """One configuration."""
        make = self.random.choices([self.routed, self.hashed, self.weighted, self.plain], [20, 3, 2, 1])[0]
        return make()

    def plain(self):
        return {"services": [], "delegates": {}, "rule": None, "random": True}

    def weighted(self):
        """Destinations drawn by chance, under whatever matches."""
        case = self.routed()
        for route in case["services"][0]["http"]:
            if "route" in route:
                share = self.pick([10, 25, 50, 80])
                route["route"] = [{"destination": self.destination("v1"), "weight": share},
                                  {"destination": self.destination("v2"), "weight": 100 - share}]
        case["random"] = True
        return case

    def hashed(self):
        """Consistent hashing over three endpoints: the choice is no chance, and must be Envoy's."""
        key = self.pick([{"httpHeaderName": "x-a"}, {"httpHeaderName": "x-user"}, {"httpQueryParameterName": "x"},
                         {"httpCookie": {"name": "user", "ttl": "0s"}},
                         {"httpCookie": {"name": "user", "path": "/a", "ttl": "60s"}}])
        table = self.pick([{}, {"ringHash": {"minimumRingSize": self.pick([1, 64, 1024, 5000])}},
                           {"maglev": {"tableSize": self.pick([101, 1009, 65537])}}])
        case = self.routed()
        for route in case["services"][0]["http"]:
            if "route" in route:
                route["route"] = [{"destination": {"host": SERVICE}}]
        case["rule"] = {"loadBalancer": {"consistentHash": {**key, **table}}}
        # Without a key the choice is by chance.
        case["hash"] = key
        return case

    def routed(self):
        services = [{"hosts": [SERVICE], "http": []}]
        if self.maybe(0.2):
            services[0]["hosts"].append(ALIAS)
        if self.maybe(0.2):
            services[0]["hosts"].append(WILD)
        if self.maybe(0.15):
            services.append({"hosts": ["b.wSLOT.diff.test"] if WILD in services[0]["hosts"] else [OTHER],
                             "http": [self.http("z0", True)]})
        case = {"services": services, "delegates": {}, "rule": self.rule(), "random": False}
        count = self.random.randint(1, 5)
        for number in range(count):
            last = number == count - 1
            if self.maybe(0.08) and not last:
                name = f"delegate-SLOT-{number}"
                services[0]["http"].append({"match": [{"uri": {"prefix": self.pick(["/a", "/api", "/"])}}],
                                            "delegate": {"name": name}})
                case["delegates"][name] = [self.http(f"d{number}-{step}", step == 1) for step in range(2)]
            else:
                services[0]["http"].append(self.http(f"r{number}", last and self.maybe(0.8)))
        return case

    def rule(self):
        if self.maybe(0.75):
            return None
        return self.pick([{"connectionPool": {"http": {"maxRetries": 3, "http1MaxPendingRequests": 20}}},
                          {"connectionPool": {"http": {"maxRequestsPerConnection": 1}}},
                          {"connectionPool": {"http": {"h2UpgradePolicy": "DO_NOT_UPGRADE", "idleTimeout": "5s"}}},
                          {"connectionPool": {"tcp": {"maxConnections": 10, "connectTimeout": "1s"}}},
                          {"outlierDetection": {"consecutive5xxErrors": 100, "interval": "5s"}},
                          {"loadBalancer": {"simple": "ROUND_ROBIN"}}, {"loadBalancer": {"simple": "RANDOM"}}])

    def http(self, name, catches_all):
        route = {"name": name}
        if not catches_all:
            route["match"] = [self.match() for _ in range(self.pick([1, 1, 1, 2, 3]))]
        kind = self.random.random()
        if kind < 0.12:
            route["redirect"] = self.redirect()
        elif kind < 0.22:
            route["directResponse"] = {"status": self.pick([200, 204, 403, 418, 503]),
                                       "body": {"string": "said directly"}}
            if self.maybe(0.3):
                del route["directResponse"]["body"]
        else:
            self.forward(route)
        if self.maybe(0.3):
            route["headers"] = self.operations(1)["headers"]
        return route

    def forward(self, route):
        route["route"] = [{"destination": self.destination(self.pick(["v1", "v1", "v2", "v3", "other"])),
                           **self.operations(0.25)}]
        if self.maybe(0.08):
            route["route"] = [{**route["route"][0], "weight": 0},
                              {"destination": self.destination("v3"), "weight": 100, **self.operations(0.3)}]
        if self.maybe(0.25):
            route["rewrite"] = self.rewrite()
        if self.maybe(0.12):
            route["timeout"] = self.pick(["0.25s", "3s"])
        if self.maybe(0.3):
            route["retries"] = {"attempts": self.pick([0, 1, 2, 3]), "retryOn": self.pick(RETRY_ON)}
            # Which of two limits that are the same is first is no decision.
            if self.maybe(0.25) and route.get("timeout") != "0.25s":
                route["retries"]["perTryTimeout"] = "0.25s"
        if self.maybe(0.12):
            route["fault"] = self.fault()
        if self.maybe(0.1):
            route["corsPolicy"] = self.cors()
        if self.maybe(0.1):
            self.mirror(route)

    def destination(self, name):
        destination = {"host": OTHER} if name == "other" else {"host": SERVICE, "subset": name}
        if self.maybe(0.15):
            destination["port"] = {"number": self.pick([80, 8080])}
        return destination

    def string(self, exact, regexes):
        kind = self.pick(["exact", "prefix", "regex"])
        return {kind: self.pick(regexes) if kind == "regex" else self.pick(exact)}

    def match(self):
        match = {}
        if self.maybe(0.6):
            match["uri"] = self.string(PATHS[:-1], PATH_REGEXES)
            if self.maybe(0.2):
                match["ignoreUriCase"] = True
        if self.maybe(0.15):
            match["method"] = self.pick([{"exact": "GET"}, {"exact": "POST"}, {"regex": "P.*"}, {"prefix": "O"}])
        if self.maybe(0.12):
            match["authority"] = self.pick([{"exact": SERVICE}, {"prefix": "sSLOT"}, {"regex": ".*diff.test"},
                                            {"exact": "a.wSLOT.diff.test"},
                                            {"exact": SERVICE + ":80"}, {"regex": ".*:8080"}])
        if self.maybe(0.05):
            match["scheme"] = self.pick([{"exact": "http"}, {"exact": "https"}])
        if self.maybe(0.35):
            match["headers"] = {name: self.header() for name in self.random.sample(NAMES, self.pick([1, 1, 2]))}
        if self.maybe(0.15):
            match["withoutHeaders"] = {self.pick(NAMES): self.header()}
        if self.maybe(0.2):
            match["queryParams"] = {self.pick(QUERY_NAMES): self.pick(
                [{"exact": "1"}, {"exact": "true"}, {"regex": "[0-9]+"}, {"prefix": "1"}, {"exact": ""},
                 {"regex": ".+"}])}
        if self.maybe(0.06):
            match["port"] = self.pick([80, 8080])
        if self.maybe(0.06):
            match["sourceLabels"] = self.pick([{"app": "differ"}, {"app": "somebody"}])
        if self.maybe(0.05):
            match["gateways"] = ["mesh"]
        return match or {"uri": {"prefix": "/"}}

    def header(self):
        return {} if self.maybe(0.2) else self.string([value for value in VALUES if value], VALUE_REGEXES)

    def rewrite(self):
        rewrite = {}
        if self.maybe(0.3):
            rewrite["uriRegexRewrite"] = self.pick([
                {"match": "^/a/(.*)$", "rewrite": "/new/\\1"}, {"match": "/([^/]+)/([^/]+)", "rewrite": "/\\2/\\1"},
                {"match": "x", "rewrite": "yy"}, {"match": "^/api/v([0-9]+)", "rewrite": "/v\\1/api"},
                {"match": "b+", "rewrite": ""}])
        elif self.maybe(0.8):
            rewrite["uri"] = self.pick(["/", "/new", "/new/", "/a/b/c", "/n?z=1"])
        if self.maybe(0.4) or not rewrite:
            rewrite["authority"] = self.pick(["changed.test", "changed.test:81"])
        return rewrite

    def redirect(self):
        redirect = {}
        if self.maybe(0.6):
            redirect["uri"] = self.pick(["/new", "/", "/new?z=1", "%PREFIX()%/tail", "%PREFIX()%"])
        if self.maybe(0.5) or not redirect:
            redirect["authority"] = self.pick(["there.test", "there.test:81"])
        if self.maybe(0.25):
            redirect["scheme"] = self.pick(["https", "http"])
        if self.maybe(0.25):
            redirect["port"] = self.pick([80, 443, 8080])
        elif self.maybe(0.2):
            redirect["derivePort"] = self.pick(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])
        if self.maybe(0.4):
            redirect["redirectCode"] = self.pick([301, 302, 303, 307, 308])
        return redirect

    def operations(self, share):
        if not self.maybe(share):
            return {}
        headers = {}
        if self.maybe(0.7):
            headers["request"] = self.changes(["x-a", "x-b", "x-new", "x-user", "user-agent"], REQUEST_VALUES)
            if self.maybe(0.08):
                headers["request"].setdefault("set", {})[self.pick(["Host", ":authority"])] = "set.test"
        if self.maybe(0.5) or not headers:
            headers["response"] = self.changes(["x-up-one", "x-up-two", "x-back", "server", "content-type"],
                                               RESPONSE_VALUES)
        return {"headers": headers}

    def changes(self, names, values):
        kinds = self.random.sample(["set", "add", "remove"], self.pick([1, 1, 2, 3]))
        return {kind: self.random.sample(names, 1) if kind == "remove" else {
            name: self.pick(values) for name in self.random.sample(names, self.pick([1, 1, 2]))} for kind in kinds}

    def fault(self):
        fault = {}
        if self.maybe(0.5):
            fault["delay"] = {"fixedDelay": "0.02s", "percentage": {"value": self.pick([0, 100, 100])}}
        if self.maybe(0.7) or not fault:
            fault["abort"] = {"percentage": {"value": self.pick([0, 100, 100])}, **self.pick(
                [{"httpStatus": 400}, {"httpStatus": 503}, {"httpStatus": 555}, {"grpcStatus": "UNAVAILABLE"}])}
        return fault

    def cors(self):
        cors = {"allowOrigins": [self.pick([{"exact": "https://a.test"}, {"prefix": "https://a"},
                                            {"regex": "https://[ab].test"},
                                            {"exact": "*"}])], "allowMethods": ["GET", "POST"]}
        if self.maybe(0.5):
            cors["allowHeaders"] = ["x-a", "content-type"]
        if self.maybe(0.5):
            cors["maxAge"] = "24h"
        if self.maybe(0.5):
            cors["exposeHeaders"] = ["x-up-one"]
        if self.maybe(0.5):
            cors["allowCredentials"] = self.maybe(0.5)
        if self.maybe(0.4):
            cors["unmatchedPreflights"] = self.pick(["FORWARD", "IGNORE"])
        return cors

    def mirror(self, route):
        share = {"value": self.pick([0, 100, 100])}
        if self.maybe(0.5):
            route["mirror"] = self.destination("other")
            route["mirrorPercentage"] = share
        else:
            route["mirrors"] = [{"destination": self.destination(name), "percentage": share}
                                for name in ("other", "v3")]

    # ---- requests

    def request(self, case):
        """A request that means one of the case's routes, and perhaps misses it narrowly."""
        request = {"method": "GET", "authority": SERVICE, "path": self.pick(PATHS) + self.pick(QUERIES), "headers": [],
                   "body": "",
                   "port": 80}
        routes = [route for service in case["services"] for route in service["http"]]
        routes += [route for delegate in case["delegates"].values() for route in delegate]
        match = {}
        if routes:
            route = self.pick(routes)
            match = self.pick(route.get("match") or [{}])
            if "corsPolicy" in route and self.maybe(0.8):
                self.preflight(request)
        self.satisfy(request, match)
        self.vary(request, case)
        return request

    def satisfy(self, request, match):
        if "uri" in match:
            request["path"] = self.value_for(match["uri"], PATHS) + self.pick(QUERIES)
        if "method" in match and self.maybe(0.9):
            # Only methods that exist: Envoy's parser of HTTP/1.1 takes no others, which is nothing that is decided.
            request["method"] = self.pick([match["method"].get("exact", "PUT"), self.pick(METHODS)])
        if "authority" in match and self.maybe(0.8):
            request["authority"] = self.pick([SERVICE, SERVICE + ":80", "a.wSLOT.diff.test", SERVICE + ":8080"])
        for name, want in match.get("headers", {}).items():
            if self.maybe(0.9):
                request["headers"].append([name, self.value_for(want, VALUES)])
        for name, want in match.get("withoutHeaders", {}).items():
            if self.maybe(0.4):
                request["headers"].append([name, self.value_for(want, VALUES)])
        for name, want in match.get("queryParams", {}).items():
            if self.maybe(0.9):
                path = request["path"].partition("?")[0]
                value = self.value_for(want, ["1", "true", "12", ""])
                request["path"] = path + self.pick(["?", "?z=0&"]) + name + "=" + value
        if match.get("port") == 8080:
            request["authority"] = SERVICE + ":8080"

    def value_for(self, want, pool):
        """What fulfils a string match as often as not narrowly."""
        if "exact" in want:
            value = want["exact"]
        elif "prefix" in want:
            value = want["prefix"] + self.pick(["", "", "x", "/x", "/"])
        else:
            value = self.pick(pool)
        chance = self.random.random()
        if chance < 0.06:
            return value.swapcase()
        if chance < 0.1 and not value.startswith("/") or chance < 0.1:
            return value + self.pick(["x", "/", " "]).strip()
        return value or "/"[:0]

    def vary(self, request, case):
        if self.maybe(0.12):
            request["path"] = self.pick(ODD_PATHS) + self.pick(QUERIES)
        if self.maybe(0.1):
            request["method"] = self.pick(METHODS)
        if self.maybe(0.15):
            hosts = [name for service in case["services"] for name in service["hosts"]] or [SERVICE]
            name = self.pick(hosts).replace("*", self.pick(["a", "b", "a.b"]))
            request["authority"] = self.pick([name, name, name.upper(), name + ":80", name + ":8080", OTHER,
                                              "nobody.test", name + "."])
        for _ in range(self.pick([0, 0, 1, 2])):
            name = self.pick(NAMES)
            request["headers"].append([self.pick([name, name.title()]), self.pick(VALUES)])
        if "'mirror" in str(case):
            pass  # the copy and what it is a copy of arrive in no order: it would be chance which of them fails
        elif self.maybe(0.3) and self.waits(case):
            request["headers"].append(["x-fail", "slow*1"])
        elif self.maybe(0.25):
            request["headers"].append(["x-fail", self.pick(FAILS)])
        if request["method"] in ("POST", "PUT", "PATCH") and self.maybe(0.7):
            request["body"] = "body " * self.pick([1, 100])
        if self.maybe(0.04):
            request["headers"].append([self.pick(SPECIAL), self.pick(["1", "5xx", "2000"])])
        if self.maybe(0.15) and "te" not in dict(request["headers"]):  # over HTTP/2 that one has but one value
            request["version"] = 2
        request["port"] = 8080 if request["authority"].endswith(":8080") else 80

    @staticmethod
    def waits(case):
        text = str(case)
        return "0.25s" in text

    def preflight(self, request):
        if self.maybe(0.7):
            request["method"] = "OPTIONS"
            request["headers"].append(["access-control-request-method", self.pick(["GET", "PATCH"])])
        request["headers"].append(["origin", self.pick(ORIGINS)])
