# SPDX-License-Identifier: Apache-2.0
"""Cases written by hand: what chance makes too rarely, each with the requests that tell. They are part of every run.

The same shape as the generator's cases, and "requests": the requests to make, of which what is not said is as in PLAIN.
"""

from generator import OTHER, SERVICE
from stage import DNS, NONE, SECURE

PLAIN = {"method": "GET", "authority": SERVICE, "path": "/", "headers": [], "body": "", "port": 80}
# Of a request with two values of one name: does a route see them as one with a comma, or each by itself? Without those
# that a sidecar takes off a request of its application.
TWICE = """
    x-a user-agent content-type x-forwarded-for x-forwarded-host x-forwarded-port x-request-id via te origin
    authorization accept accept-encoding accept-language cache-control expect referer grpc-timeout
    grpc-accept-encoding if-match if-none-match if-modified-since if-unmodified-since if-range range pragma
    x-client-trace-id x-ot-span-context x-b3-traceid traceparent tracestate access-control-request-method
    access-control-request-headers x-forwarded-client-cert proxy-status x-envoy-decorator-operation
    x-envoy-original-path x-envoy-downstream-service-cluster x-envoy-downstream-service-node
    x-envoy-external-address x-envoy-attempt-count x-envoy-original-host x-envoy-is-timeout-retry
    x-envoy-peer-metadata x-envoy-original-dst-host x-envoy-degraded x-envoy-overloaded x-envoy-cluster
    x-envoy-ratelimited x-real-ip content-encoding content-language age vary etag expires www-authenticate b3
    x-b3-sampled x-b3-spanid proxy-authorization proxy-authenticate alt-svc grpc-message grpc-encoding
    x-datadog-trace-id date server location x-requested-with sec-fetch-site forwarded early-data grpc-status
    cookie x-forwarded-proto
""".split()


def request(path="/", *headers, **rest):
    return {**PLAIN, "path": path, "headers": [list(pair) for pair in headers], **rest}


def case(http, requests, **rest):
    return {"services": [{"hosts": [SERVICE], "http": http}], "delegates": {}, "rule": None, "random": False,
            "requests": requests, **rest}


def to(version, **rest):
    destination = {"host": OTHER} if version == "other" else {"host": SERVICE, "subset": version}
    return {"destination": destination, **rest}


def answer(name, status, **match):
    return {"name": name, "match": [match], "directResponse": {"status": status, "body": {"string": name}}}


def twice():
    """Several fields of one name, as an exact value, a pattern and the absence of either ask for them."""
    half = len(TWICE) // 2
    for names in (TWICE[:half], TWICE[half:]):
        http, requests = [], []
        for name in names:
            on = {"uri": {"prefix": "/" + name + "/"}}
            http += [answer(f"{name}-joined", 418, headers={name: {"regex": "1[,;] ?2"}}, **on),
                     answer(f"{name}-first", 403, headers={name: {"exact": "1"}}, **on),
                     answer(f"{name}-second", 404, headers={name: {"exact": "2"}}, **on)]
            requests.append(request(f"/{name}/", [name, "1"], [name.title(), "2"]))
        http.append({"name": "rest", "route": [to("v1")]})
        yield case(http, requests)


def hashed():
    """Is a destination chosen by the request as it came, or as the route made it?"""
    changes = {"set": {"set": {"x-a": "fixed"}}, "gone": {"remove": ["x-a"]}, "add": {"add": {"x-a": "more"}},
               "both": {"remove": ["x-a"], "add": {"x-a": "other"}}, "kept": {}}
    http = [{"name": name, "match": [{"uri": {"prefix": "/" + name}}], "route": [{"destination": {"host": SERVICE}}],
             "headers": {"request": change}} for name, change in changes.items()]
    requests = [request("/" + name, ["x-a", str(value)]) for name in changes for value in range(6)]
    requests += [request("/" + name, ["x-a", str(value)], ["x-fail", "503*1"])
                 for name in changes for value in range(6)]
    key = {"httpHeaderName": "x-a"}
    yield case(http, requests, hash=key, rule={"loadBalancer": {"consistentHash": key}})
    http = [{"name": "rewritten", "match": [{"uri": {"prefix": "/"}}], "rewrite": {"uri": "/n?x=9&y="},
             "route": [{"destination": {"host": SERVICE}}]}]
    key = {"httpQueryParameterName": "x"}
    yield case(http, [request(f"/?x={value}") for value in range(8)], hash=key,
               rule={"loadBalancer": {"consistentHash": key}})
    for name in ("user-agent", "x-b"):  # the one is one value, of the other it is two
        key = {"httpHeaderName": name}
        yield case([{"name": "twice", "route": [{"destination": {"host": SERVICE}}]}],
                   [request("/", [name, f"{first}"], [name, f"{second}"]) for first in range(3) for second in range(3)],
                   hash=key, rule={"loadBalancer": {"consistentHash": key}})


def secure():
    """To servers that are in the mesh themselves: over mutual TLS, by the same identity, and told the same."""
    def to_secure(version):
        return {"destination": {"host": SECURE, "subset": version}}
    http = [{"name": "second", "match": [{"headers": {"x-a": {"prefix": "2"}}}], "route": [to_secure("v2")],
             "headers": {"request": {"set": {"x-b": "%REQ(x-a)%"}, "remove": ["x-gone"]},
                         "response": {"set": {"x-up": "1"}}}},
            {"name": "rewritten", "match": [{"uri": {"prefix": "/old"}}],
             "rewrite": {"uri": "/new", "authority": "changed.test"}, "route": [to_secure("v1")],
             "retries": {"attempts": 2, "retryOn": "5xx"}, "timeout": "3s"},
            {"name": "mirrored", "match": [{"uri": {"exact": "/mirrored"}}], "route": [to_secure("v1")],
             "mirrors": [{"destination": {"host": OTHER}, "percentage": {"value": share}} for share in (100, 0)]},
            {"name": "first", "route": [to_secure("v1")]}]
    names = (SECURE, "secure.default", "secure", SECURE + ":80", "secure.default.svc")
    requests = [request("/", authority=name) for name in names]
    requests += [request("/x?y=1", ["x-a", "2b"], ["x-gone", "1"], authority=SECURE, version=version)
                 for version in (1, 2)]
    requests += [request(path, authority=SECURE, version=version) for version in (1, 2)
                 for path in ("/old/x?status=503", "/old", "/?status=404", "/?status=500", "/mirrored")]
    requests += [request("/", authority=SECURE, method=method, body="body", version=version)
                 for method in ("POST", "PUT") for version in (1, 2)]
    requests += [request("/old", ["x-forwarded-client-cert", "By=somebody"], authority=SECURE)]
    yield case(http, requests, host=SECURE, services=[{"hosts": [SECURE], "http": http}])


def found():
    """Endpoints that are looked up by name, or are where the application connects to; and hosts that no service is."""
    for name, to_it in ((DNS, {}), (NONE, {"to": "upstream"})):
        http = [{"name": "new", "match": [{"uri": {"prefix": "/old"}}], "rewrite": {"uri": "/new"},
                 "route": [{"destination": {"host": name}}], "headers": {"request": {"set": {"x-b": "1"}}}},
                {"name": "rest", "route": [{"destination": {"host": name}}]}]
        requests = [request(path, authority=host, **to_it) for path in ("/", "/old/x")
                    for host in (name, name + ":80", name.upper())]
        yield case(http, requests, host=name, services=[{"hosts": [name], "http": http}])
    yield case([{"name": "rest", "route": [to("v1")]}], strangers_asked())
    yield case([{"name": "rest", "route": [to("v1")]}], strangers_asked(), strangers=True)


def strangers_asked():
    return [request(path, ["x-a", "1"], authority=name, to="upstream", version=version)
            for name in ("UPSTREAM", "UPSTREAM:80") for path in ("/", "/a?x=1") for version in (1, 2)]


def mirrored():
    """What copies are told of limits: that of a try, of the whole, of both, of none; and how many are made."""
    limits = {"try": {"retries": {"attempts": 1, "perTryTimeout": "5s"}}, "whole": {"timeout": "9s"}, "none": {},
              "both": {"retries": {"attempts": 1, "perTryTimeout": "5s"}, "timeout": "9s"}}
    shares = [("other", 100), ("v3", 0), ("v2", 100)]
    mirrors = [{**to(version), "percentage": {"value": share}} for version, share in shares]
    http = [{"name": name, "match": [{"uri": {"prefix": "/" + name}}], "route": [to("v1")], "mirrors": mirrors, **limit}
            for name, limit in limits.items()]
    yield case(http, [request("/" + name, version=version) for name in limits for version in (1, 2)])


def written_cases():
    for group in (twice, hashed, secure, found, mirrored):
        yield from group()
