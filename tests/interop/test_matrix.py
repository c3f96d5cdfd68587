# SPDX-License-Identifier: Apache-2.0
"""Does every kind of peer reach every other in every protocol, as the mode of PeerAuthentication has it?"""

import matrix
from drivers import PROTOCOLS, Refused
from harness import JOIN_SECONDS, MeshTest, curl, eventually, peer_authentication
from matrix import DIRECTIONS, ENVOY, LIBMESH, MODES, NONE


class PeerMatrix(MeshTest):
    """One case for each mode and protocol, with a cell for each pair of peers; the cells are printed as a table."""

    changes_policies = False  # the mode is changed between cases, and taken back after the last
    mode = None

    @classmethod
    def tearDownClass(cls):
        cls.lab.delete_all("PeerAuthentication", "security.istio.io/v1")
        PeerMatrix.mode = None

    def setUp(self):
        super().setUp()
        self.peers = matrix.Matrix.of(self.lab)
        self.addCleanup(self.peers.check_accepted)

    def settle(self, mode):
        """Changes the mode and waits until all that runs on has it; programs that only make a call join with it."""
        if PeerMatrix.mode == mode:
            return
        self.apply(peer_authentication(mode))
        for kind in (LIBMESH, ENVOY):
            pod = self.peers.servers[kind]
            eventually(lambda pod=pod: (curl(self.outside, target=pod)[1] == 200) == (mode != "STRICT"),
                       f"the {kind} server does as {mode} says", JOIN_SECONDS)
        for client, server in ((ENVOY, LIBMESH), (LIBMESH, ENVOY)):
            eventually(lambda client=client, server=server: self.follows(mode, client, server),
                       f"{client} calls {server} as {mode} says", JOIN_SECONDS)
        PeerMatrix.mode = mode

    def follows(self, mode, client, server):
        try:
            seen = PROTOCOLS["HTTP/1.1"](self.peers, client, server)
        except AssertionError:
            return False
        return seen.by_server == (self.peers.clients[client].identity if mode != "DISABLE" else "")

    def cell(self, mode, direction, protocol):
        """Fills one cell; it is a failure unless it is what it should be."""
        client, server = direction
        self.peers.note(mode, direction, protocol, "FAIL")
        word, seen = self.outcome(client, server, protocol)
        self.assertEqual(word, self.expected(mode, client, protocol), seen)
        if word == "ok":
            self.check_seen(seen, mode, client, server)
        self.peers.note(mode, direction, protocol, word)

    def outcome(self, client, server, protocol):
        try:
            return "ok", PROTOCOLS[protocol](self.peers, client, server)
        except Refused as reason:
            return reason.word, reason

    def expected(self, mode, client, protocol):
        """Only a client without a certificate is ever turned away, and then as an Envoy sidecar does it."""
        if client != NONE:
            return "ok"
        word, seen = self.outcome(client, ENVOY, protocol)
        # PERMISSIVE waits for the client's first bytes, to see whether they are TLS: Istio documents that such a client
        # and a server that speaks first wait for each other.
        let_in = mode == "DISABLE" or (mode == "PERMISSIVE" and "server-first" not in protocol)
        self.assertEqual(word == "ok", let_in, seen)
        return word

    def check_seen(self, seen, mode, client, server):
        """Mutual TLS, with the right names at both ends, wherever both are of the mesh and it is not switched off."""
        mutual = mode != "DISABLE" and NONE not in (client, server)
        for told, other in ((seen.by_client, self.peers.servers[server]), (seen.by_server, self.peers.clients[client])):
            if told is not None:
                self.assertEqual(told, other.identity if mutual else "", seen)


def _case(mode, protocol):
    def case(self):
        self.settle(mode)
        for direction in DIRECTIONS:
            with self.subTest(" -> ".join(direction)):
                self.cell(mode, direction, protocol)
    case.__doc__ = f"{protocol} between all peers under {mode}."
    return case


for _mode in MODES:
    for _protocol in PROTOCOLS:
        _name = f"test_{_mode}_{_protocol}".lower().translate(str.maketrans(" -", "__", "/."))
        setattr(PeerMatrix, _name, _case(_mode, _protocol))
