"""The certificates of a peer: a root, the CA that issues, its TLS certificate, ours as an RA."""

import time
from pathlib import Path

from interop.tools import run

EXTENSIONS = """[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ca]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1,DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[cmp]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = 1.3.6.1.5.5.7.3.27
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ra]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.28
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
KINDS = {"rsa": ("RSA", "rsa_keygen_bits:2048"), "ec": ("EC", "ec_paramgen_curve:P-256")}


class Pki:
    """A folder: root.pem, ca.pem and ca.key, chain.pem (both), server-chain.pem, ra-chain.pem, cmp.pem, and their keys."""

    def __init__(self, openssl, folder, key="ec", protection=None, ra="ec"):
        self.command, self.folder = openssl, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pki.cnf").write_text(EXTENSIONS)
        # A CA is an hour old, because some back-date what they issue.
        an_hour_ago = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - 3600))
        dates = ["-not_before", an_hour_ago, "-not_after", "20451231235959Z"]
        self.key("root", key)
        self.openssl("req", "-x509", "-config", "pki.cnf", "-key", "root.key", "-subj", "/O=Peer/CN=Peer Root", *dates, "-extensions", "root",
                     "-out", "root.pem")
        for name, common, kind in (
            # GetCRL knows CAs by their names only.
            ("ca", f"Issuing CA of {self.folder.name}", key),
            ("server", "localhost", "ec"),
            ("cmp", "Peer CMP", protection or key),
            ("ra", "ravelin-ra", ra),
        ):
            above = "root" if name == "ca" else "ca"
            self.key(name, kind)
            self.openssl("req", "-new", "-config", "pki.cnf", "-key", f"{name}.key", "-subj", f"/O=Peer/CN={common}", "-out", f"{name}.csr")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{above}.pem", "-CAkey", f"{above}.key", "-CAcreateserial", *dates,
                         "-extfile", "pki.cnf", "-extensions", name, "-out", f"{name}.pem")
        for name, parts in (("chain", "ca root"), ("server-chain", "server ca"), ("ra-chain", "ra ca")):
            text = "".join((self.folder / f"{part}.pem").read_text() for part in parts.split())
            (self.folder / f"{name}.pem").write_text(text)

    def openssl(self, *words):
        return run(*self.command, *words, cwd=self.folder, env={"OPENSSL_CONF": "/dev/null"}).ok()

    def key(self, name, kind):
        algorithm, option = KINDS.get(kind, (kind, None))
        self.openssl("genpkey", "-quiet", "-algorithm", algorithm, *(["-pkeyopt", option] if option else []), "-out", f"{name}.key")

    def __truediv__(self, name):
        return self.folder / name
