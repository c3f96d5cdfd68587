#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests check.py itself: a clean tree passes, and each rule finds the one file that breaks it."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
CLEAN = {
    "libmesh/base/mem.h": "struct mem;\n",
    "libmesh/base/mem.c": '#include "base/mem.h"\n#include <stdlib.h>\nvoid *f(void)\n{\n\treturn malloc(1);\n}\n',
    "libmesh/base/error.c": "MESH_EXPORT int e(void)\n{\n\treturn 0;\n}\n",
    "libmesh/loop/loop.h": '#include "base/mem.h"\n',
    "libmesh/net/transport.h": '#include "loop/loop.h"\n',
    "libmesh/net/tls.c": "#include <openssl/ssl.h>\n",
    "libmesh/http/message.h": '#include "base/mem.h"\n',
    "libmesh/http/mux.h": '#include "http/message.h"\nstruct transport;\n',
    "libmesh/http/mux_plain.h": '#include "http/mux.h"\n#include "net/transport.h"\n',
    "libmesh/http/mux_plain.c": '#include "http/mux_plain.h"\n',
    "libmesh/control/grpc_stream.c": "#include <grpc/grpc.h>\n#include <signal.h>\n",
    "libmesh/identity/ca_client.c": '#include "security/ca.pb-c.h"\n#include <protobuf-c/protobuf-c.h>\n',
    "libmesh/xds/client.c": '/* printf("never") */\nstatic const char text[] = "exit(1) // \\" abort()";\n',
    "libmesh/policy/retry.c": "int f(struct x *x)\n{\n\treturn x->free(x) + runtime(1) + mesh_mem_free(x);\n}\n",
    "libmesh/api/mesh.c": "MESH_EXPORT int m(void)\n{\n\treturn 0;\n}\n",
    "xds/security/ca.proto": "",
    "examples/call/call.h": "",
    "examples/json.h": "",
    "examples/call/main.c": '#include "call.h"\n#include "json.h"\n#include <mesh/mesh.h>\n',
    "examples/controlplane/main.c": '#include "base/mem.h"\n',
}
BROKEN = [
    # file, text, what must be said
    ("libmesh/base/x.c", '#include "loop/loop.h"\n', "base may not include loop"),
    ("libmesh/http/x.c", '#include "net/transport.h"\n', "http may not include net"),
    ("libmesh/http/mux.h", '#include "net/transport.h"\n', "http may not include net"),
    ("libmesh/http/parser.c", '#include "http/mux_plain.h"\n', 'http/parser.c may not reach loop and net through "http/mux_plain.h"'),
    ("libmesh/http/mux_x.c", '#include "api/x.h"\n', "no such file"),
    ("libmesh/policy/x.h", '#include "loop/loop.h"\n', "policy may not include loop"),
    ("libmesh/identity/x.c", '\n\n  #  include "xds/x.h"\n', "libmesh/identity/x.c:4: includes \"xds/x.h\": no such file"),
    ("libmesh/control/x.c", '#include "net/transport.h"\n', "control may not include net"),
    ("libmesh/xds/ads.c", '#include "security/gone.pb-c.h"\n', "which no .proto makes"),
    ("libmesh/xds/client.c", '#include "security/ca.pb-c.h"\n', "includes <security/ca.pb-c.h>, which belongs elsewhere"),
    ("libmesh/control/peer.c", "#include <grpc/grpc.h>\n", "includes <grpc/grpc.h>"),
    ("libmesh/xds/x.c", "#include <openssl/x509.h>\n", "includes <openssl/x509.h>"),
    ("libmesh/api/x.c", "#include <jansson.h>\n", "includes <jansson.h>"),
    ("libmesh/call/x.c", "#include <sys/epoll.h>\n", "includes <sys/epoll.h>"),
    ("libmesh/lb/x.c", "#include <time.h>\n", "includes <time.h>"),
    ("libmesh/lb/x.c", "int f(void)\n{\n\treturn mesh_time_now_ns();\n}\n", "mesh_time_now_ns reads a clock"),
    ("libmesh/net/x.c", "void f(void *p)\n{\n\tfree(p);\n}\n", "libmesh/net/x.c:4: free allocates outside"),
    ("libmesh/net/x.c", "char *f(char *p)\n{\n\treturn strdup (p);\n}\n", "strdup allocates outside"),
    ("libmesh/net/x.c", 'void f(void)\n{\n\tprintf("x");\n}\n', "printf prints"),
    ("libmesh/net/x.c", 'void f(void)\n{\n\tfwrite("x", 1, 1, stderr);\n}\n', "stderr prints"),
    ("libmesh/net/x.c", "void f(int a)\n{\n\tassert(a);\n}\n", "assert ends the process"),
    ("libmesh/net/x.c", "void f(void)\n{\n\tif (f)\n\t\tabort();\n}\n", "abort ends the process"),
    ("libmesh/net/x.c", "void f(void)\n{\n\tsignal(13, 0);\n}\n", "signal touches"),
    ("libmesh/net/x.c", "MESH_EXPORT void f(void)\n{\n}\n", "exports a symbol outside api/"),
    ("libmesh/net/x.c", 'void __attribute__((visibility("default"))) f(void)\n{\n}\n', "exports without MESH_EXPORT"),
    ("libmesh/net/x.c", "typedef struct x y;\n", "typedef"),
    ("libmesh/net/util.c", "int x;\n", "is named after nothing"),
    ("libmesh/elsewhere/x.c", "int x;\n", "is in no room"),
    ("examples/call/more.c", '#include "base/mem.h"\n', "only installed headers"),
]


class CheckTest(unittest.TestCase):
    def violations(self, more, licence=SPDX):
        with tempfile.TemporaryDirectory() as top:
            for path, text in {**CLEAN, **more}.items():
                os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
                with open(os.path.join(top, path), "w", encoding="utf-8") as file:
                    file.write((licence if path in more else SPDX) + text)
            return check.Check(top).run()

    def test_clean(self):
        self.assertEqual(self.violations({}), [])

    def test_each_rule(self):
        for path, text, words in BROKEN:
            with self.subTest(words):
                found = self.violations({path: text})
                said = [line for line in found if not line.startswith("a cycle of ")]
                self.assertEqual(len(said), 1, found)
                self.assertIn(words, said[0])

    def test_licence_line(self):
        found = self.violations({"libmesh/net/x.c": "int x;\n"}, licence="")
        self.assertEqual(found, ["libmesh/net/x.c:1: does not begin with the licence line"])

    def test_cycle_of_files(self):
        found = self.violations({"libmesh/net/a.h": '#include "net/b.h"\n', "libmesh/net/b.h": '#include "net/a.h"\n'})
        self.assertEqual(found, ["a cycle of files: net/a.h -> net/b.h -> net/a.h"])

    def test_cycle_of_rooms(self):
        found = self.violations({"libmesh/xds/a.h": '#include "identity/a.h"\n', "libmesh/identity/a.h": "int x;\n",
                                 "libmesh/identity/b.h": '#include "xds/b.h"\n', "libmesh/xds/b.h": "int x;\n"})
        self.assertEqual(len(found), 2, found)
        self.assertIn("identity may not include xds", found[0])
        self.assertEqual(found[1], "a cycle of rooms: identity -> xds -> identity")

    def test_rules_have_no_cycle(self):
        self.assertIsNone(check.find_cycle({room: set(rooms.split()) for room, rooms in check.MAY_INCLUDE.items()}))
        for rooms in check.MAY_INCLUDE.values():
            self.assertLessEqual(set(rooms.split()), set(check.MAY_INCLUDE))


if __name__ == "__main__":
    unittest.main()
