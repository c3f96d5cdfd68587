#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does README.md still tell the truth? readme.py TOP checks what can be checked: quoted files, paths, links, variables, errors.
With --update it writes the quoted files into README.md anew."""
import os
import re
import sys

QUOTE = re.compile(r"(<!-- the file (\S+) -->\n```c\n)(.*?)(```\n)", re.S)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def quoted(top, path):
    """A source as it is shown: without the licence line."""
    first, rest = read(os.path.join(top, path)).split("\n", 1)
    assert "SPDX-License-Identifier" in first, path
    return rest


def check_quotes(top, text):
    found = QUOTE.findall(text)
    errors = ["%s: what is quoted differs from the file; run readme.py TOP --update" % path
              for _, path, code, _ in found if code != quoted(top, path)]
    if len(found) < 2 or text.count("```c\n") != len(found):
        errors.append("%d pieces of C, %d of them quoted from a file" % (text.count("```c\n"), len(found)))
    first = found[0][2].count("\n") if found else 0
    return errors + (["the first client has %d lines, 30 are the promise" % first] if first > 30 else [])


def check_paths(top, text):
    paths = re.findall(r"\]\(([^)#:]+)\)", text)
    paths += re.findall(r"`((?:examples|tests|include|libmesh|xds|pkgconfig)(?:/[\w./-]+)?)`", text)
    commands = re.findall(r"^    ((?:examples|tests)/\S+)", text, re.M)
    errors = ["%s is named, but not there" % path for path in paths + commands if not os.path.exists(os.path.join(top, path))]
    errors += ["%s cannot be run" % path for path in commands
               if os.path.exists(os.path.join(top, path)) and not os.access(os.path.join(top, path), os.X_OK)]
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}
    errors += ["#%s is no heading" % anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in headings]
    return errors


def check_variables(top, text):
    """Every variable that is read is in the table, and the other way round."""
    source = read(os.path.join(top, "libmesh/xds/bootstrap.c")) + read(os.path.join(top, "libmesh/xds/metadata.c"))
    known = set(re.findall(r'"([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)"', "\n".join(
        line for line in source.splitlines() if "set(" not in line and "set_default(" not in line)))
    told = set()
    table = re.search(r"^\| variable \|.*?\n\n", text, re.S | re.M).group()
    for row in re.findall(r"^\| (`[^|]+`) \|", table, re.M):
        told.update(name for name in re.findall(r"`([A-Z_*]+)`", row) if not name.endswith("*"))
    header = read(os.path.join(top, "include/mesh/mesh.h"))
    errors = ["%s is read, but not in README.md" % name for name in sorted(known - told)]
    errors += ["%s is in README.md, but nobody reads it" % name for name in sorted(told - known) if '"%s"' % name not in source]
    errors += ["%s is in README.md, but not in mesh.h" % name for name in sorted(told) if name not in header]
    return errors


def check_errors(top, text):
    names = set(re.findall(r"^MESH_ERROR_ENTRY\((\w+)", read(os.path.join(top, "include/mesh/error.def")), re.M))
    rows = re.search(r"\| what you see \|.*?\n\n", text, re.S).group()
    told = re.findall(r"`([A-Z]{3,}(?:_[A-Z]+)*)`", rows) + re.findall(r", `([A-Z_]{3,})` \|", rows)
    return ["%s is no error" % name for name in told if name not in names] + ([] if told else ["no errors are explained"])


def check_functions(top, text):
    headers = "".join(read(os.path.join(top, "include/mesh", name)) for name in os.listdir(os.path.join(top, "include/mesh")))
    return ["%s is no public function" % name for name in set(re.findall(r"\b(mesh_\w+)\b", text)) if name not in headers and
            name not in ("mesh_static",)]


def main():
    top = os.path.abspath(sys.argv[1])
    path = os.path.join(top, "README.md")
    text = read(path)
    if "--update" in sys.argv:
        text = QUOTE.sub(lambda match: match.group(1) + quoted(top, match.group(2)) + match.group(4), text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    errors = [error for check in (check_quotes, check_paths, check_variables, check_errors, check_functions) for error in check(top, text)]
    for error in errors:
        print(error)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
