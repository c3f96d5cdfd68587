# SPDX-License-Identifier: Apache-2.0
"""The certificate authority that an administrator plugs into istiod (a root and an intermediate), made with openssl."""

import pathlib
import subprocess

EXTENSIONS = """\
basicConstraints=critical,CA:TRUE{length}
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
"""


def _openssl(*words, cwd):
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


def _certificate(directory, name, subject, issuer, length=""):
    """Leaves <name>.key and <name>.crt; `issuer` is the name of the signing pair, or None for a self-signed one."""
    (directory / (name + ".ext")).write_text(EXTENSIONS.format(length=length))
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", subject,
             cwd=directory)
    signer = ["-signkey", name + ".key"] if issuer is None else [
        "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial"]
    _openssl("x509", "-req", "-in", name + ".csr", *signer, "-out", name + ".crt", "-days", "3650", "-sha256",
             "-extfile", name + ".ext", cwd=directory)


def create(directory):
    """Fills `directory` with the files that istiod looks for in ROOT_CA_DIR."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, mode=0o700)
    _certificate(directory, "root", "/O=libmesh lab/CN=Root CA", None)
    _certificate(directory, "intermediate", "/O=libmesh lab/CN=Intermediate CA", "root", ",pathlen:0")
    root = (directory / "root.crt").read_text()
    intermediate = (directory / "intermediate.crt").read_text()
    (directory / "root-cert.pem").write_text(root)
    (directory / "ca-cert.pem").write_text(intermediate)
    (directory / "ca-key.pem").write_text((directory / "intermediate.key").read_text())
    (directory / "cert-chain.pem").write_text(intermediate + root)


def leaf(directory, authority, name, kind="URI"):
    """Leaves leaf.key and leaf.crt, signed by the authority in that directory, for whoever the URI or DNS `name` is."""
    directory.mkdir(parents=True)
    (directory / "leaf.ext").write_text(f"basicConstraints=critical,CA:FALSE\nsubjectAltName=critical,{kind}:{name}\n"
                                        "extendedKeyUsage=clientAuth,serverAuth\n")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/",
             cwd=directory)
    _openssl("x509", "-req", "-in", "leaf.csr", "-CA", str(authority / "ca-cert.pem"), "-CAkey",
             str(authority / "ca-key.pem"), "-CAcreateserial", "-out", "leaf.crt", "-days", "1", "-sha256",
             "-extfile", "leaf.ext", cwd=directory)


def switch(directory, signer, *trusted):
    """Makes `directory` sign with the authority in `signer` and hand out the roots of all in `trusted`."""
    for name in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        (directory / name).write_bytes((signer / name).read_bytes())
    (directory / "root-cert.pem").write_text("".join((other / "root.crt").read_text() for other in trusted))


def service_account_keys(directory):
    """Leaves sa.key and sa.pub, with which the API server signs and checks tokens."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _openssl("genrsa", "-out", "sa.key", "2048", cwd=directory)
    _openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub", cwd=directory)
