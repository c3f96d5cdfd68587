# SPDX-License-Identifier: Apache-2.0
"""Does the client route, retry and give up as VirtualService and DestinationRule say?"""

from harness import ECHO_URL, ENVOY_FILTER, NETWORKING, Load, MeshTest, call, echo_of, eventually, explain, good
from harness import header_of, last, names, policy, split, subsets, values


def virtual_service(*http):
    return policy("VirtualService", NETWORKING, "echo", {"hosts": ["echo"], "http": list(http)})


def to(subset):
    return [{"destination": {"host": "echo", "subset": subset}}]


class Routing(MeshTest):

    def test_weights_changed_live(self):
        self.apply(subsets())
        with Load(self.client, interval_ms=20) as load:
            self.apply(split(100, 0))
            load.wait(lambda seen: last(seen, 30, lambda one: names([one]) == {"echo-v1"}), "all calls go to v1")
            self.apply(split(0, 100))
            load.wait(lambda seen: last(seen, 30, lambda one: names([one]) == {"echo-v2"}), "all calls go to v2")
            self.apply(split(80, 20))
            load.wait(lambda seen: len(names(seen)) == 2, "both versions answer")
            start = len(load.results)
            load.wait(lambda seen: len(seen) >= 600, "600 more calls", 60)
            sample = load.results[start:]
        share = sum(echo_of(result)["name"] == "echo-v1" for result in sample) / len(sample)
        # Six standard deviations around 0.8 for 600 independent choices: this fails for a reason or never.
        self.assertTrue(0.70 < share < 0.90, f"{share} of the calls went to v1, not 0.8")

    def test_header_and_path_choose(self):
        self.apply(subsets())
        self.apply(virtual_service(
            {"match": [{"headers": {"x-user": {"exact": "jason"}}}, {"uri": {"prefix": "/new/"}}], "route": to("v2")},
            {"route": to("v1")}))
        eventually(lambda: names([self.call("-H", "x-user: jason")]) == {"echo-v2"}
                   and names([self.call()]) == {"echo-v1"}, "the header decides")
        for _ in range(3):
            self.assertEqual(names([self.call(url=ECHO_URL + "/new/x")]), {"echo-v2"})
            self.assertEqual(names([self.call("-H", "x-user: jasonx", url=ECHO_URL + "/newer")]), {"echo-v1"})

    def test_a_decision_is_explained(self):
        """Before it is made, as it is made then, and without asking anybody."""
        self.apply(subsets())
        self.apply(virtual_service(
            {"name": "jasons", "match": [{"headers": {"x-user": {"exact": "jason"}}}], "route": to("v2")},
            {"name": "rest", "route": to("v1"), "timeout": "7s", "retries": {"attempts": 4, "retryOn": "5xx"}}))
        eventually(lambda: names([self.call("-H", "x-user: jason")]) == {"echo-v2"}
                   and names([self.call()]) == {"echo-v1"}, "the header decides")
        told = explain(self.client)
        self.assertEqual(told["virtual_host"]["name"], "echo.default.svc.cluster.local:8080")
        self.assertEqual([one["because"] for one in told["routes_passed_over"]],
                         ["header x-user: wanted exactly \"jason\""])
        self.assertEqual(told["route"]["name"], "rest")
        self.assertEqual(told["cluster"]["name"], "outbound|8080|v1|echo.default.svc.cluster.local")
        self.assertEqual((told["timeouts"]["response"], told["retry"]["retries"], told["retry"]["on"]),
                         ("7000.000 ms", 4, ["5xx"]))
        self.assertEqual((told["connection"]["tls"], told["connection"]["sni"]),
                         ("mutual TLS", "outbound_.8080_.v1_.echo.default.svc.cluster.local"))
        self.assertIn(self.echo.identity, told["connection"]["peer_names"])
        self.assertEqual(told["connection"]["endpoint"], self.call()["endpoint"])
        self.assertEqual(explain(self.client, ECHO_URL, "-H", "x-user: jason")["route"]["name"], "jasons")
        lost = explain(self.client, "http://nobody.example:8080/")
        self.assertTrue("error" in lost or lost["cluster"]["name"] == "PassthroughCluster", lost)

    def test_no_route_is_not_a_guess(self):
        self.apply(virtual_service({"match": [{"uri": {"exact": "/only"}}],
                                    "route": [{"destination": {"host": "echo"}}]}))
        result = eventually(lambda: self.flagged("NR"), "no route for another path")
        self.assertEqual(result["http_status"], 0, result)
        self.assertEqual(result["attempts"], 0, result)
        self.assertEqual(self.call(url=ECHO_URL + "/only")["http_status"], 200)

    def test_request_and_response_are_changed(self):
        self.apply(virtual_service({
            "match": [{"uri": {"prefix": "/old/"}}], "rewrite": {"uri": "/new/", "authority": "changed.example"},
            "headers": {"request": {"set": {"x-set": "s"}, "remove": ["x-gone"]},
                        "response": {"add": {"x-back": "b"}, "remove": ["server"]}},
            "route": [{"destination": {"host": "echo"}}]}, {"route": [{"destination": {"host": "echo"}}]}))

        def changed():
            result = self.call("-H", "x-gone: 1", "-H", "x-set: mine", url=ECHO_URL + "/old/x?q=/old/")
            return result if good(result) and echo_of(result)["path"] == "/new/x?q=/old/" else None
        result = eventually(changed, "the path is rewritten")
        seen = echo_of(result)
        self.assertEqual(seen["authority"], "changed.example")
        self.assertEqual(header_of(seen["headers"], "x-set"), "s")
        self.assertIsNone(header_of(seen["headers"], "x-gone"))
        self.assertEqual(header_of(seen["headers"], "x-envoy-original-path"), "/old/x?q=/old/")
        self.assertEqual(header_of(result["headers"], "x-back"), "b")
        self.assertIsNone(header_of(result["headers"], "server"))
        self.assertEqual(echo_of(self.call(url=ECHO_URL + "/older"))["path"], "/older")

    def test_changes_at_the_server(self):
        """The routes of virtualInbound may have changes too; istiod puts there what an EnvoyFilter says."""
        added = [{"header": {"key": "x-of-the-server", "value": "yes"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        manifest = policy("EnvoyFilter", ENVOY_FILTER, "headers", {
            "workloadSelector": {"labels": {"app": "echo"}},
            "configPatches": [{"applyTo": "VIRTUAL_HOST", "match": {"context": "SIDECAR_INBOUND"},
                               "patch": {"operation": "MERGE", "value": {
                                   "request_headers_to_add": added, "request_headers_to_remove": ["x-gone"],
                                   "response_headers_to_add": added}}}]})
        self.addCleanup(self.lab.delete, [manifest])
        self.apply(manifest)

        def changed():
            result = self.call("-H", "x-gone: 1")
            return result if header_of(result["headers"], "x-of-the-server") else None
        seen = echo_of(eventually(changed, "the response is changed"))["headers"]
        self.assertEqual(header_of(seen, "x-of-the-server"), "yes")
        self.assertIsNone(header_of(seen, "x-gone"))

    def test_timeout_of_the_route(self):
        self.apply(virtual_service({"timeout": "0.3s", "route": [{"destination": {"host": "echo"}}]}))
        result = eventually(lambda: self.flagged("UT", url=ECHO_URL + "/?delay_ms=3000"), "the call times out")
        self.assertTrue(250_000 < result["duration_us"] < 2_000_000, result)
        self.assertEqual(self.call(url=ECHO_URL + "/?delay_ms=10")["http_status"], 200)

    def test_retries_of_the_route(self):
        self.apply(virtual_service({"retries": {"attempts": 3, "retryOn": "5xx", "backoff": "5ms"},
                                    "route": [{"destination": {"host": "echo"}}]}))

        def four_attempts():
            result = self.call(url=ECHO_URL + "/?status=500")
            return result if result["attempts"] == 4 else None
        result = eventually(four_attempts, "one try and three retries")
        self.assertEqual(result["http_status"], 500, result)
        self.assertEqual(self.call(url=ECHO_URL + "/?status=404")["attempts"], 1)

    def test_connection_limit(self):
        """A caller with one connection allowed, and two endpoints that each need one, goes on as through Envoy."""
        self.apply(subsets(connectionPool={"tcp": {"maxConnections": 1}}))
        eventually(lambda: 1 in values(self.dump(), "max_connections"), "the limit has arrived")
        results = call(self.client, ECHO_URL, "-n", "20")
        self.assertEqual([result for result in results if not good(result)], [])
        self.assertEqual(names(results), {"echo-v1", "echo-v2"})

    def flagged(self, flag, url=ECHO_URL):
        """A call's result if it has that response flag."""
        result = self.call(url=url)
        return result if result["flag"] == flag else None
