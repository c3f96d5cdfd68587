#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One way of using the installed library after the other: package.py --source .. --build .. --work .. STEP.

Each step fails with what it ran and what that printed. The steps see the installed tree only, but for add_subdirectory."""
import argparse
import os
import re
import shutil
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


class Package:
    def __init__(self, options):
        self.source, self.build, self.work = options.source, options.build, options.work
        self.libdir, self.version = options.libdir, options.version
        self.prefix = os.path.join(self.work, "prefix")
        self.here = os.path.dirname(os.path.abspath(__file__))
        self.env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.prefix, self.libdir, "pkgconfig"),
                        LD_LIBRARY_PATH=os.path.join(self.prefix, self.libdir))
        self.cc, self.cxx = os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")

    def run(self, *command, fails=False):
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if (done.returncode != 0) != fails:
            sys.exit("%s\n%s\nexit status %d, expected %s" % (
                " ".join(command), done.stdout, done.returncode, "a failure" if fails else "0"))
        return done.stdout

    def fresh(self, name):
        folder = os.path.join(self.work, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        return folder

    def pkg_config(self, *arguments):
        return self.run("pkg-config", *arguments, "libmesh").split()

    def needs_shared(self, program):
        """Whether the program asks for libmesh.so when it is started."""
        return "libmesh.so.0" in self.run("readelf", "-d", program)

    def check_consumer(self, program, shared):
        if self.needs_shared(program) != shared:
            sys.exit("%s is linked to libmesh.so: %s" % (program, not shared))
        said = self.run(program)
        if "libmesh %s\n" % self.version not in said:
            sys.exit("%s said:\n%s" % (program, said))

    # ---- steps ----

    def install(self):
        self.fresh("prefix")
        self.run("cmake", "--install", self.build, "--prefix", self.prefix)

    def files(self):
        """Exactly what installed.txt lists, no more (internals, generated code) and no less."""
        found = []
        for at, _, names in os.walk(self.prefix):
            for name in names:
                found.append(os.path.relpath(os.path.join(at, name), self.prefix))
        found = [path.replace(self.libdir + "/", "LIBDIR/", 1).replace(self.version, "VERSION") for path in found]
        found = sorted(re.sub(r"Targets-[a-z]+\.cmake$", "Targets-BUILD.cmake", path) for path in found)
        with open(os.path.join(self.here, "installed.txt"), encoding="utf-8") as file:
            wanted = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        if found != wanted:
            sys.exit("not as installed.txt says:\n%s" % "\n".join(
                sorted(["+ " + path for path in set(found) - set(wanted)] + ["- " + path for path in set(wanted) - set(found)])))
        for at, _, names in os.walk(os.path.join(self.prefix, self.libdir)):
            for name in names:
                if not name.endswith((".pc", ".cmake")):
                    continue
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    text = file.read()
                for folder in (self.source, self.build, self.prefix, "mesh_core"):
                    if folder in text:
                        sys.exit("%s names %s" % (name, folder))

    def headers(self):
        """Each header alone, as C11 and as C++17, with all warnings."""
        folder = self.fresh("headers")
        include = os.path.join(self.prefix, "include")
        names = sorted(name for name in os.listdir(os.path.join(include, "mesh")) if name.endswith(".h"))
        for name in names:
            for suffix, command in ((".c", [self.cc, "-std=c11"]), (".cc", [self.cxx, "-std=c++17"])):
                path = os.path.join(folder, name[:-2] + suffix)
                with open(path, "w", encoding="utf-8") as file: # twice: the guard, and nothing before the header
                    file.write("#include <mesh/%s>\n#include <mesh/%s>\nint unit_is_not_empty;\n" % (name, name))
                self.run(*command, *WARNINGS, "-I" + include, "-fsyntax-only", path)
        if len(names) < 8:
            sys.exit("only these headers were found: %s" % names)

    def pkg_config_shared(self):
        folder = self.fresh("pkg_config_shared")
        program = os.path.join(folder, "consumer")
        if self.pkg_config("--modversion") != [self.version]:
            sys.exit("libmesh.pc is of another version")
        flags = self.pkg_config("--cflags", "--libs")
        if "-lgrpc" in flags:
            sys.exit("a program linked to libmesh.so must not need gRPC's development files: %s" % flags)
        self.run(self.cc, "-std=c11", *WARNINGS, os.path.join(self.here, "consumer/consumer.c"), "-o", program, *flags)
        self.check_consumer(program, True)

    def pkg_config_static(self):
        folder = self.fresh("pkg_config_static")
        program = os.path.join(folder, "consumer")
        flags = ["-l:libmesh.a" if flag == "-lmesh" else flag for flag in self.pkg_config("--static", "--cflags", "--libs")]
        self.run(self.cc, "-std=c11", *WARNINGS, os.path.join(self.here, "consumer/consumer.c"), "-o", program, *flags)
        self.check_consumer(program, False)

    def cmake_consumer(self, name, *settings):
        folder = self.fresh(name)
        self.run("cmake", "-S", os.path.join(self.here, "consumer"), "-B", folder, "-G", "Ninja",
                 "-DCMAKE_BUILD_TYPE=Debug", *settings)
        self.run("cmake", "--build", folder, "--target", "consumer_shared", "consumer_static")
        self.check_consumer(os.path.join(folder, "consumer_shared"), True)
        self.check_consumer(os.path.join(folder, "consumer_static"), False)
        return folder

    def find_package(self):
        self.cmake_consumer("find_package", "-DCMAKE_PREFIX_PATH=" + self.prefix, "-DMESH_WANTED=" + self.version[:3])

    def find_package_version(self):
        """0.x promises nothing to another minor version."""
        major, minor, _ = (int(part) for part in self.version.split("."))
        for wanted in ("%d.%d" % (major, minor + 1), "%d.0" % (major + 1), "%d.%d.99" % (major, minor)):
            folder = self.fresh("find_package_version")
            said = self.run("cmake", "-S", os.path.join(self.here, "consumer"), "-B", folder, "-G", "Ninja",
                            "-DCMAKE_PREFIX_PATH=" + self.prefix, "-DMESH_WANTED=" + wanted, fails=True)
            if "requested version" not in said or wanted not in said:
                sys.exit("asking for %s failed for another reason:\n%s" % (wanted, said))

    def add_subdirectory(self):
        folder = self.cmake_consumer("add_subdirectory", "-DMESH_SOURCE=" + self.source)
        # a part of somebody's build brings no tests, no examples and nothing to install
        self.run("cmake", "--install", folder, "--prefix", os.path.join(folder, "prefix"))
        if os.path.exists(os.path.join(folder, "prefix", "include")):
            sys.exit("the headers are installed along with the consumer")

    def greeter(self, folder):
        """What a program with a generated gRPC service adds to its command line."""
        protos = os.path.join(self.source, "examples/greeter")
        self.run("protoc-c", "-I" + protos, "--c_out=" + folder, os.path.join(protos, "greeter.proto"))
        return ["-I" + folder, os.path.join(folder, "greeter.pb-c.c"), "-lprotobuf-c"]

    def snippets(self):
        """The examples in the documentation, with installed headers only."""
        folder = self.fresh("snippets")
        snippets = os.path.join(self.source, "examples/snippets")
        names = sorted(name for name in os.listdir(snippets) if name.endswith(".c"))
        for name in names:
            with open(os.path.join(snippets, name), encoding="utf-8") as file:
                lines = len(file.readlines())
            if lines > 40:
                sys.exit("%s has %d lines, 40 are the promise" % (name, lines))
            more = self.greeter(folder) if name.startswith("grpc_") else []
            self.run(self.cc, "-std=c11", "-D_POSIX_C_SOURCE=200809L", *WARNINGS, "-Wno-unused-parameter",
                     os.path.join(snippets, name), "-o", os.path.join(folder, name[:-2]), *more,
                     *self.pkg_config("--cflags", "--libs"))
        if len(names) < 4:
            sys.exit("only these snippets were found: %s" % names)


STEPS = ["install", "files", "headers", "pkg_config_shared", "pkg_config_static", "find_package", "find_package_version",
         "add_subdirectory", "snippets"]


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "build", "work", "libdir", "version"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("step", choices=STEPS)
    options = parser.parse_args()
    getattr(Package(options), options.step)()


if __name__ == "__main__":
    main()
