# SPDX-License-Identifier: Apache-2.0
"""Does configuration that guards something, and that libmesh does not understand, close what it guards and no more?"""

import json

from harness import ECHO_URL, ENVOY_FILTER, SECURITY, MeshTest, call, curl, eventually, policy

FIRST = {"app": "echo", "version": "v1"}


class NotUnderstood(MeshTest):
    changes_policies = False

    def setUp(self):
        super().setUp()
        self.other = self.lab.pods["echo-v2"]

    def check_accepted(self, before):
        """Refusing is what these cases are about."""

    def apply_for_now(self, manifest):
        self.addCleanup(eventually, lambda: curl(self.outside, target=self.echo)[1] == 200, "echo-v1 serves again")
        self.addCleanup(self.lab.delete, [manifest])
        self.apply(manifest)

    def test_filter_before_the_router(self):
        lua = {"name": "example.lua", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "defaultSourceCode": {"inlineString": "function envoy_on_request(handle) end"}}}
        place = {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {
            "name": "envoy.filters.network.http_connection_manager",
            "subFilter": {"name": "envoy.filters.http.router"}}}}}
        before = self.rejects()
        self.apply_for_now(policy("EnvoyFilter", ENVOY_FILTER, "lua", {
            "workloadSelector": {"labels": FIRST},
            "configPatches": [{"applyTo": "HTTP_FILTER", "match": place,
                               "patch": {"operation": "INSERT_BEFORE", "value": lua}}]}))
        eventually(lambda: curl(self.outside, target=self.echo)[1] != 200, "echo-v1 serves nobody")
        self.assertGreater(self.rejects(), before, "istiod is told")
        self.assertIn("example.lua", self.lab.control.processes["istiod"].log.read_text(), "by name")
        # Who is not concerned goes on; in the mesh it is closed as it is from outside.
        self.assertEqual(curl(self.outside, target=self.other)[1], 200)
        by_endpoint = {result["endpoint"]: result["http_status"] for result in call(self.client, ECHO_URL, "-n", "8")}
        self.assertEqual(by_endpoint, {f"{self.echo.address}:8080": 503, f"{self.other.address}:8080": 200})

    def test_rules_for_tokens(self):
        """A request with a token that nobody signed must not pass as if there were no rule."""
        self.apply_for_now(policy("RequestAuthentication", SECURITY, "jwt", {
            "selector": {"matchLabels": FIRST},
            "jwtRules": [{"issuer": "tester", "jwks": json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]})}]}))
        forged = ["-H", "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJ0ZXN0ZXIifQ."]
        result = eventually(lambda: self.refusal(forged), "echo-v1 refuses the token")
        self.assertIn(result, (401, 403, 503))
        self.assertEqual(curl(self.outside, target=self.other)[1], 200)

    def refusal(self, options):
        """The status with which echo-v1 itself answers, unless it is 200."""
        status = curl(self.outside, target=self.echo, options=options)[1]
        return status if status not in (0, 200) else None

    def test_provider_that_is_not_there(self):
        """A CUSTOM policy names somebody to ask; who cannot be asked has not agreed."""
        self.apply_for_now(policy("AuthorizationPolicy", SECURITY, "custom", {
            "selector": {"matchLabels": FIRST}, "action": "CUSTOM", "provider": {"name": "nobody"},
            "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}]}))
        eventually(lambda: curl(self.outside, "/admin", self.echo)[1] not in (0, 200), "echo-v1 refuses the path")
        self.assertEqual(curl(self.outside, "/admin", self.other)[1], 200)
