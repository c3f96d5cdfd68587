# SPDX-License-Identifier: Apache-2.0
"""Are the modes of PeerAuthentication what both sides do?"""

import json

from harness import Load, MeshTest, curl, echo_of, eventually, peer_authentication


class MutualTls(MeshTest):

    def plaintext(self):
        return curl(self.outside, target=self.echo)

    def eventually_refused(self):
        eventually(lambda: self.plaintext()[0] != 0, "plaintext from outside the mesh is refused")

    def test_strict(self):
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        self.check_mutual(self.call())
        code, status, body = self.plaintext()
        self.assertNotEqual(code, 0)
        self.assertEqual((status, body), (0, ""), "refused means: not one byte of an answer")

    def test_strict_under_load(self):
        with Load(self.client) as load:
            self.apply(peer_authentication("STRICT"))
            self.eventually_refused()
            load.run_for(1)
            self.apply(peer_authentication("PERMISSIVE"))
            eventually(lambda: self.plaintext()[1] == 200, "plaintext from outside the mesh is accepted again")
            load.run_for(1)

    def test_permissive(self):
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        self.apply(peer_authentication("PERMISSIVE"))
        body = eventually(lambda: self.plaintext()[2] or None, "plaintext from outside the mesh is accepted again")
        self.assertFalse(json.loads(body)["tls"])
        self.assertFalse(json.loads(body)["peer_identity"])
        self.check_mutual(self.call())

    def test_disable(self):
        self.apply(peer_authentication("DISABLE"))

        def plain():
            result = self.call()
            return result if result["http_status"] == 200 and not result["tls"] else None
        result = eventually(plain, "calls in plaintext")
        self.assertFalse(result["peer_identity"])
        seen = echo_of(result)
        self.assertFalse(seen["tls"])
        self.assertFalse(seen["peer_identity"])
        self.assertEqual(self.plaintext()[1], 200)

    def test_strict_for_one_port_only(self):
        """The exception for a port wins over the mode of the workload."""
        exception = peer_authentication("STRICT")
        exception["spec"].update({"selector": {"matchLabels": {"app": "echo"}},
                                  "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}})
        self.apply(peer_authentication("STRICT"))
        self.eventually_refused()
        exception["metadata"]["name"] = "echo"
        self.apply(exception)
        eventually(lambda: self.plaintext()[1] == 200, "the port takes plaintext again")
        self.check_mutual(self.call())
