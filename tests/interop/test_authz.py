# SPDX-License-Identifier: Apache-2.0
"""Does the server enforce AuthorizationPolicy as a sidecar would?"""

from harness import MeshTest, authorization, curl, eventually

DENIED = "RBAC: access denied"


class Authorization(MeshTest):

    def check_denied(self, result):
        self.assertEqual((result["http_status"], result["body"]), (403, DENIED), result)

    def check_allowed(self, result):
        self.assertEqual(result["http_status"], 200, result)

    def test_allow_one_identity(self):
        principal = self.client.identity.removeprefix("spiffe://")
        self.apply(authorization("allow", {"action": "ALLOW", "rules": [
            {"from": [{"source": {"principals": [principal]}}], "to": [{"operation": {"methods": ["GET"]}}]}]}))
        self.check_denied(self.eventually_status(403, "another identity is denied", pod=self.stranger))
        self.check_allowed(self.call())
        self.check_denied(self.call("-X", "DELETE"))
        # Without mutual TLS there is no identity, so nothing that a rule about identities allows.
        code, status, body = curl(self.outside, target=self.echo)
        self.assertEqual((code, status, body), (0, 403, DENIED))

    def test_deny_paths(self):
        self.apply(authorization("deny", {"action": "DENY", "rules": [
            {"to": [{"operation": {"paths": ["/secret*"]}}]}]}))
        secret = "http://echo:8080/secret/plan"
        self.check_denied(self.eventually_status(403, "the path is denied", url=secret))
        self.check_allowed(self.call())
        self.check_denied(self.call(url="http://echo:8080/secret?x=/"))
        self.check_allowed(self.call(url="http://echo:8080/?path=/secret"))

    def test_deny_wins_over_allow(self):
        self.apply(authorization("allow", {"action": "ALLOW", "rules": [{}]}),
                   authorization("deny", {"action": "DENY", "rules": [
                       {"from": [{"source": {"principals": ["*/sa/stranger"]}}]}]}))
        self.check_denied(self.eventually_status(403, "the stranger is denied", pod=self.stranger))
        self.check_allowed(self.call())

    def test_empty_allow_is_nothing(self):
        self.apply(authorization("nothing", {"action": "ALLOW"}))
        self.check_denied(self.eventually_status(403, "everybody is denied"))
        self.check_denied(self.call(pod=self.stranger))

    def test_headers_and_namespaces(self):
        self.apply(authorization("allow", {"action": "ALLOW", "rules": [
            {"from": [{"source": {"namespaces": ["default"]}}],
             "when": [{"key": "request.headers[x-ticket]", "values": ["valid-*"]}]}]}))
        self.check_denied(self.eventually_status(403, "a call without the header is denied"))
        self.check_allowed(self.call("-H", "x-ticket: valid-1"))
        self.check_denied(self.call("-H", "x-ticket: invalid-1"))

    def test_source_address(self):
        self.apply(authorization("deny", {"action": "DENY", "rules": [
            {"from": [{"source": {"ipBlocks": [self.outside.address + "/32"]}}]}]}))
        eventually(lambda: curl(self.outside, target=self.echo)[1] == 403, "that address is denied")
        self.check_allowed(self.call())

    def test_paths_are_normalized_first(self):
        """What a server would take for /secret must not pass under another spelling."""
        self.apply(authorization("deny", {"action": "DENY", "rules": [
            {"to": [{"operation": {"paths": ["/secret"]}}]}]}))
        self.eventually_status(403, "the path is denied", url="http://echo:8080/secret")
        for path in ("/a/../secret", "/./secret", "/a/b/../../secret"):
            with self.subTest(path=path):
                self.assertEqual(curl(self.outside, path, self.echo)[1:], (403, DENIED))

    def test_dry_run_denies_nobody(self):
        trial = authorization("trial", {"action": "DENY", "rules": [{}]})
        trial["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
        real = authorization("real", {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/marker"]}}]}]})
        self.apply(trial, real)
        self.eventually_status(403, "the policy that came with it works", url="http://echo:8080/marker")
        self.check_allowed(self.call())
