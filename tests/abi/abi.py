#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the library promises to programs that are already built, and to those who read its headers.

abi.py --source TOP [--library DIR] [--include DIR] [--update] STEP
  symbols        the exported symbols of libmesh.so and libmesh.a are those of symbols.txt
  layout         public structs and enums lie in memory as layout.txt says
  documentation  every public function, struct and function type says what a caller must know
  used           every public function is called by an example or a test
--update rewrites symbols.txt or layout.txt: look at the difference before you keep it."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COMMENT = r"/\*(?:(?!\*/).)*\*/"
TAGS = ("Thread:", "Owns:", "Errors:", "Since:")
INTEGERS = re.compile(r"^(unsigned|int|size_t|u?int(8|16|32|64)_t)$")
# What an integer's name must end with: a unit, or a word that is one.
UNITS = re.compile(r"(_(ms|us|ns|s|bytes|bytes_max)|^(size|bytes|len|port|count|index|status|code|error|attempts|backlog)"
                   r"|_(count|index|status|workers))$")
# Structs a caller fills or reads by their size; those of two members and the callbacks of an allocator never grow.
NEVER_GROW = {"mesh_slice", "mesh_header", "mesh_allocator"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def headers(source):
    folder = os.path.join(source, "include/mesh")
    return [(name, read(os.path.join(folder, name))) for name in sorted(os.listdir(folder)) if name.endswith((".h", ".h.in"))]


def without_comments(text):
    return re.sub(COMMENT, "", text, flags=re.S)


class Declaration:
    """A function, struct, enum or function type with the comment that stands before it, or before the group it is in."""

    def __init__(self, header, line, kind, name, text, comment):
        self.header, self.line, self.kind, self.name, self.text, self.comment = header, line, kind, name, text, comment

    def where(self):
        return "%s:%d: %s" % (self.header, self.line, self.name)

    def members(self):
        """[(type, name)] of parameters or fields that are single integers."""
        if self.kind in ("function", "function type"):
            inner = self.text[self.text.index("(") + 1:self.text.rindex(")")]
            parts = inner.split(",")
        else:
            parts = re.findall(r"([^;{}]+);", without_comments(self.text))
        found = []
        for part in parts:
            match = re.match(r"^\s*(?:const\s+)?(\w+)\s+(\w+)\s*$", part)
            if match and INTEGERS.match(match.group(1)):
                found.append((match.group(1), match.group(2)))
        return found

    def fields(self):
        names = []
        for part in re.findall(r"([^;{}]+);", without_comments(self.text)):
            match = re.search(r"\(\*(\w+)\)|(\w+)\s*$", part)
            names.append(match.group(1) or match.group(2))
        return names


DECLARATION = re.compile(
    r"(?P<comment>" + COMMENT + r")?[ \t]*\n?"
    r"(?:(?P<function>^MESH_EXPORT[^;{]*?\b(?P<fname>mesh_\w+)\s*\([^;{]*\);)"
    r"|(?P<inline>^static inline[^;{]*?\b(?P<iname>mesh_\w+)\s*\([^;{]*\))"
    r"|(?P<type>^typedef\s[^;{]*?\b(?P<tname>mesh_\w+_fn)\s*\([^;{]*\);)"
    r"|(?P<struct>^struct (?P<sname>mesh_\w+) \{.*?^\};)"
    r"|(?P<enum>^enum (?P<ename>mesh_\w+) \{.*?^\};))", re.S | re.M)


def declarations(source):
    found = []
    for header, text in headers(source):
        last = None
        for match in DECLARATION.finditer(text):
            kind, group, name = next((kind, group, match.group(name)) for kind, group, name in (
                ("function", "function", "fname"), ("function", "inline", "iname"), ("function type", "type", "tname"),
                ("struct", "struct", "sname"), ("enum", "enum", "ename")) if match.group(group))
            comment = match.group("comment")
            if comment is None and last and not text[last[0]:match.start(group)].strip("\t\n ") and \
                    text.count("\n", last[0], match.start(group)) == 1:
                comment = last[1] # the next line of a group shares its comment
            line = text.count("\n", 0, match.start(group)) + 1
            found.append(Declaration(header, line, kind, name, match.group(group), comment))
            last = (match.end(), comment)
    return found


def compare(name, found, update):
    path = os.path.join(HERE, name)
    comments = [line for line in read(path).splitlines() if line.startswith("#")]
    wanted = [line for line in read(path).splitlines() if line and not line.startswith("#")]
    if update:
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(comments + found) + "\n")
        return []
    return ["- %s (in %s, gone)" % (line, name) for line in wanted if line not in found] + \
           ["+ %s (new, not in %s)" % (line, name) for line in found if line not in wanted]


def nm(*arguments):
    said = subprocess.run(["nm", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {parts[-1] for parts in (line.split() for line in said.splitlines()) if len(parts) == 3 and parts[1] not in "aAU"}


def symbols(options):
    shared = nm("-D", "--defined-only", os.path.join(options.library, "libmesh.so"))
    archive = nm("--defined-only", "--extern-only", os.path.join(options.library, "libmesh.a"))
    errors = compare("symbols.txt", sorted(shared), options.update)
    bare = {name.split("@")[0] for name in shared}
    errors += ["%s is in libmesh.so, but not in libmesh.a" % name for name in sorted(bare - archive)]
    errors += ["%s is in libmesh.a, but not in libmesh.so" % name for name in sorted(archive - bare)]
    declared = {d.name for d in declarations(options.source) if d.kind == "function" and d.text.startswith("MESH_EXPORT")}
    errors += ["%s is exported, but in no header" % name for name in sorted(bare - declared)]
    errors += ["%s is in a header, but not exported" % name for name in sorted(declared - bare)]
    return errors, len(shared)


def layout(options):
    """Asks the compiler, not us, where every member lies and which number every constant has."""
    lines = []
    for d in declarations(options.source):
        if d.kind == "struct":
            lines.append('printf("struct %s %%zu\\n", sizeof(struct %s));' % (d.name, d.name))
            for field in d.fields():
                lines.append('printf("struct %s.%s %%zu+%%zu\\n", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));' % (
                    d.name, field, d.name, field, d.name, field))
        elif d.kind == "enum":
            for name in re.findall(r"\b(MESH_[A-Z0-9_]+)\b\s*(?:=[^,]*)?,", without_comments(d.text)):
                if not name.startswith("MESH_ERROR_ENTRY"):
                    lines.append('printf("%s %%d\\n", %s);' % (name, name))
    for name in re.findall(r"^MESH_ERROR_ENTRY\((\w+)", read(os.path.join(options.source, "include/mesh/error.def")), re.M):
        lines.append('printf("MESH_ERROR_%s %%d\\n", MESH_ERROR_%s);' % (name, name))
    program = "#include <mesh/admin.h>\n#include <mesh/grpc.h>\n#include <mesh/mesh.h>\n#include <stdio.h>\nint main(void)\n{\n%s\nreturn 0;\n}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layout.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(program % "\n".join(lines))
        includes = ["-I" + folder for folder in (os.path.join(options.source, "include"), options.include)]
        subprocess.run([os.environ.get("CC", "cc"), *includes, path, "-o", path[:-2]], check=True)
        said = subprocess.run([path[:-2]], stdout=subprocess.PIPE, text=True, check=True).stdout
    return compare("layout.txt", said.splitlines(), options.update), len(lines)


def documentation(options):
    errors, count = [], 0
    for d in declarations(options.source):
        comment = " ".join((d.comment or "").split())
        if d.kind == "function":
            missing = [tag for tag in TAGS if tag not in comment]
        elif d.kind == "enum":
            missing = []
        else:
            missing = [tag for tag in ("Thread:", "Since:") if tag not in comment] if d.kind == "function type" else \
                [tag for tag in ("Since:",) if tag not in comment]
        if not comment and d.kind != "enum":
            errors.append("%s has no comment" % d.where())
        elif missing:
            errors.append("%s does not say %s" % (d.where(), " ".join(missing)))
        if d.kind != "enum" and comment and not re.match(r"/\* ?\*? ?[A-Z*]", comment):
            errors.append("%s does not begin with a sentence" % d.where())
        for kind, name in d.members():
            if not UNITS.search(name):
                errors.append("%s: \"%s %s\" has no unit in its name" % (d.where(), kind, name))
        if d.kind == "struct" and d.name not in NEVER_GROW and d.fields()[0] != "size":
            errors.append("%s does not begin with its size" % d.where())
        count += 1
    return errors, count


def used(options):
    text = []
    for folder in ("examples", "tests"):
        for at, _, names in os.walk(os.path.join(options.source, folder)):
            text += [without_comments(read(os.path.join(at, name))) for name in names if name.endswith((".c", ".cc"))]
    text = "\n".join(text)
    names = [d.name for d in declarations(options.source) if d.kind == "function"]
    return ["%s is called by no example and no test" % name for name in names if not re.search(r"\b%s\s*\(" % name, text)], len(names)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--library")
    parser.add_argument("--include")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("step", choices=["symbols", "layout", "documentation", "used"])
    options = parser.parse_args()
    errors, count = globals()[options.step](options)
    for line in errors:
        print(line)
    print("%s: %d looked at, %d wrong" % (options.step, count, len(errors)))
    sys.exit(1 if errors or not count else 0)


if __name__ == "__main__":
    main()
