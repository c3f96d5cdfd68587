#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom, and what libmesh never calls. check.py [TOP]: prints each violation, exits 1 when there is one.

Decides only by reading the text of the sources; refuses to know how they are built."""
import os
import re
import sys

# A room may include itself, the rooms named here, and nothing else. The same table is in libmesh/README.md in words.
MAY_INCLUDE = {
    "base": "",
    "loop": "base",
    "config": "base",
    "policy": "config base",
    "lb": "config base",
    "net": "config loop base",
    "http": "config base",
    "cluster": "lb policy http net config loop base",
    "call": "grpc cluster policy http net config loop base",
    "control": "loop base",
    "grpc": "base",
    "identity": "control net config loop base",
    "xds": "identity control config loop base",
    "telemetry": "config base",
    "api": "grpc call cluster xds identity telemetry control lb policy http net config loop base",
}
# What single files may include besides: a mux sits between messages and a connection. Files of the same room without that
# right may not include those that have it, so that none gets there by a detour; mux.h, the seam, has no need of it.
ALSO = [(r"http/mux_[a-z0-9_]+\.[ch]", "net loop")]

# Headers of other libraries and of the system -> the files that may include them.
ONLY_IN = [
    (r"grpc/(?!health/)", r"control/grpc_stream\.c"), # gRPC core's; ours and what .proto files make are found first
    (r"nghttp2/", r"http/mux_http2\w*\.[ch]"),
    (r"zlib\.h", r"grpc/"),
    (r"xxhash\.h", r"base/hash\.[ch]"),
    (r"ares(_\w+)?\.h", r"loop/resolver\.c|loop/resolver_channel\.[ch]"),
    (r"openssl/", r"(net|identity)/|policy/jwt\w*\.[ch]"),
    (r".*\.pb-c\.h", r"xds/(decode|json)\w*\.[ch]|xds/(ads|ads_request|node|type_registry)\.c|identity/(ca_client|sds)\.c|telemetry/otlp\.c|api/grpc_health\.c"),
    (r"protobuf-c/", r"grpc/|api/grpc\w*\.[ch]|xds/|control/message\.[ch]|identity/(ca_client|sds)\.c|telemetry/otlp\.c"),
    (r"jansson\.h", r"xds/"),
    (r"re2/", r"base/regex\.cc"),
    (r"curl/", r"telemetry/http_export\.c"),
    (r"sys/(epoll|eventfd|timerfd)\.h", r"loop/"),
    (r"assert\.h|setjmp\.h|syslog\.h|locale\.h", r"(?!)"),
    # these rooms own no socket, read no clock and start no thread
    (r"sys/socket\.h|sys/un\.h|netdb\.h|unistd\.h|time\.h|sys/time\.h|sys/random\.h|fcntl\.h", r"(?!(policy|lb|http|config)/)"),
    (r"pthread\.h", r"(?!(policy|lb|http)/)"),
]

# Functions that nobody may call, but for the files named.
NEVER = [
    (r"malloc|calloc|realloc|reallocarray|free|strdup|strndup|v?asprintf|aligned_alloc|posix_memalign|memalign|getline"
     r"|getdelim|open_memstream|alloca", r"base/mem\.c", "allocates outside base/mem.c"),
    (r"v?printf|v?f?printf|puts|fputs|fputc|putchar|putc|perror|psignal|syslog", r"(?!)", "prints"),
    (r"abort|exit|_exit|_Exit|quick_exit|atexit|at_quick_exit|longjmp|assert|__builtin_trap", r"(?!)", "ends the process"),
    (r"signal|sigaction|sigprocmask|raise|kill|killpg|alarm|setitimer", r"(?!)", "touches the process's signals"),
    (r"fork|vfork|system|popen|posix_spawnp?|exec[lv][pe]*", r"(?!)", "starts a process"),
    (r"setlocale|uselocale|setenv|unsetenv|putenv|clearenv|umask|chdir|OPENSSL_init_ssl|OPENSSL_config|OPENSSL_cleanup",
     r"(?!)", "changes the process"),
    (r"clock_gettime|gettimeofday|time|mesh_time_\w+|getrandom|mesh_rand_fill", r"(?!(policy|lb|http)/)",
     "reads a clock or randomness that is to be an argument"),
    (r"strtok|localtime|gmtime|ctime|asctime|gethostbyname|strcpy|strcat|v?sprintf|gets", r"(?!)", "is not safe to call"),
]
WORDS = [(r"\b(stdout|stderr)\b", r"(?!)", "prints"),
         (r"\btypedef\s+(struct|union|enum)\b", r"(?!)", "is a typedef that hides a struct, union or enum"),
         (r"visibility\s*\(", r"(?!)", "exports without MESH_EXPORT"),
         # the names of errors are a lookup that every room uses; all other exported functions are in api/
         (r"\bMESH_EXPORT\b", r"api/\w+\.c|base/error\.c", "exports a symbol outside api/")]
BAD_NAMES = re.compile(r"(^|/)(common|util|utils|misc|helpers?|manager)\.(c|h|cc)$")
# Programs that show how a stranger uses the library; the control plane is built from its inside.
STRANGERS, INSIDERS = "examples", "examples/controlplane/"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)
TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blanked(source, keep_strings):
    """The source with comments, and strings unless kept, replaced by blanks; lines stay where they are."""
    def blank(match):
        text = match.group()
        if keep_strings and text[0] in "\"'":
            return text
        return re.sub(r"[^\n]", " ", text)
    return TEXT.sub(blank, source)


def sources(folder):
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".c", ".h", ".cc")):
                yield os.path.join(at, name)


def may_include(path):
    room = path.split("/")[0]
    rooms = {room, *MAY_INCLUDE[room].split()}
    for pattern, more in ALSO:
        if re.fullmatch(pattern, path):
            rooms.update(more.split())
    return rooms


def find_cycle(graph):
    """One cycle of {node: set of nodes} as a list that ends where it begins, or None."""
    state, trail = {}, []

    def visit(node):
        state[node] = "open"
        trail.append(node)
        for after in sorted(graph.get(node, ())):
            if state.get(after) == "open":
                return trail[trail.index(after):] + [after]
            if after not in state:
                found = visit(after)
                if found:
                    return found
        state[node] = "done"
        trail.pop()
        return None

    for node in sorted(graph):
        if node not in state:
            found = visit(node)
            if found:
                return found
    return None


class Check:
    def __init__(self, top):
        self.top = top
        self.root = os.path.join(top, "libmesh")
        self.violations = []
        self.files, self.rooms = {}, {}
        self.known = {os.path.relpath(path, self.root) for path in sources(self.root)}

    def say(self, path, source, offset, words):
        self.violations.append("%s:%d: %s" % (path, source.count("\n", 0, offset) + 1, words))

    def quoted(self, path, source, match):
        """One #include "..." of a file in libmesh."""
        target = match.group(2)
        if target.endswith(".pb-c.h"):
            proto = os.path.join(self.top, "xds", target[:-len(".pb-c.h")] + ".proto")
            if not os.path.exists(proto):
                self.say("libmesh/" + path, source, match.start(), 'includes "%s", which no .proto makes' % target)
            return
        if target not in self.known:
            self.say("libmesh/" + path, source, match.start(), 'includes "%s": no such file in libmesh/' % target)
            return
        room, other = path.split("/")[0], target.split("/")[0]
        self.files.setdefault(path, set()).add(target)
        if room != other:
            self.rooms.setdefault(room, set()).add(other)
        elif may_include(target) - may_include(path):
            self.say("libmesh/" + path, source, match.start(), '%s may not reach %s through "%s"' % (
                path, " and ".join(sorted(may_include(target) - may_include(path))), target))
        if other not in may_include(path):
            self.say("libmesh/" + path, source, match.start(), '%s may not include %s ("%s")' % (room, other, target))

    def includes(self, path, source):
        for match in INCLUDE.finditer(blanked(source, True)):
            if match.group(1) == '"':
                self.quoted(path, source, match)
            for header, owners in ONLY_IN:
                if match.group(1) == '"' and match.group(2) in self.known:
                    continue
                if re.match(header, match.group(2)) and not re.match(owners, path):
                    self.say("libmesh/" + path, source, match.start(), "includes <%s>, which belongs elsewhere" % match.group(2))

    def calls(self, path, source):
        code = blanked(source, False)
        for names, owners, words in NEVER:
            if re.match(owners, path):
                continue
            for match in re.finditer(r"(?<![\w.>])(%s)[ \t]*\(" % names, code):
                self.say("libmesh/" + path, source, match.start(), "%s %s" % (match.group(1), words))
        for pattern, owners, words in WORDS:
            if re.match(owners, path):
                continue
            for match in re.finditer(pattern, code):
                self.say("libmesh/" + path, source, match.start(), "%s %s" % (match.group().strip(), words))

    def opening(self, path, source):
        if not source.startswith("/* SPDX-License-Identifier: Apache-2.0 */\n"):
            self.say("libmesh/" + path, source, 0, "does not begin with the licence line")
        if BAD_NAMES.search(path):
            self.say("libmesh/" + path, source, 0, "is named after nothing in particular")

    def strangers(self):
        for path in sources(os.path.join(self.top, STRANGERS)):
            name, source = os.path.relpath(path, self.top), read(path)
            if name.startswith(INSIDERS):
                continue
            for match in INCLUDE.finditer(blanked(source, True)):
                near = (os.path.join(folder, match.group(2)) for folder in (os.path.dirname(path), os.path.join(self.top, STRANGERS)))
                if match.group(1) == '"' and not any(os.path.exists(file) for file in near):
                    self.say(name, source, match.start(),
                             'includes "%s": only installed headers may be used here' % match.group(2))

    def cycles(self):
        allowed = {room: set(rooms.split()) for room, rooms in MAY_INCLUDE.items()}
        for what, graph in (("the rules", allowed), ("rooms", self.rooms), ("files", self.files)):
            cycle = find_cycle(graph)
            if cycle:
                self.violations.append("a cycle of %s: %s" % (what, " -> ".join(cycle)))

    def run(self):
        for path in sorted(self.known):
            source = read(os.path.join(self.root, path))
            if path.split("/")[0] not in MAY_INCLUDE:
                self.say("libmesh/" + path, source, 0, "is in no room that has a rule")
                continue
            self.includes(path, source)
            self.calls(path, source)
            self.opening(path, source)
        self.strangers()
        self.cycles()
        return self.violations


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    top = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
    check = Check(top)
    violations = check.run()
    for line in violations:
        print(line)
    print("%d files of libmesh, %d includes, %d violations" % (
        len(check.known), sum(len(targets) for targets in check.files.values()), len(violations)))
    return 1 if violations or not check.known else 0


if __name__ == "__main__":
    sys.exit(main())
