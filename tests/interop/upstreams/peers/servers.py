"""The real servers: each started on a free port, with a gate in front, and asked by its own means what it signed and revoked."""

import base64
import json
import re
import signal
import sys
import urllib.request
from pathlib import Path

from interop.tools import Daemon, Failed, check, free_port, run, tail, until

from .fetch import SERVERS
from .gate import Gate
from .pki import Pki

QUIET = {"OPENSSL_CONF": "/dev/null"}


class Server:
    """One server in a folder of its own."""

    name = ""
    what = ""
    """What it is, for the table."""
    key = "ec"
    """The key of its CA."""
    protection = None
    """The key that protects its messages, where that is another one."""
    ra = "ec"
    """The key of our certificate there."""
    lasts = True
    """Whether it is the same CA after a restart, and knows what it issued."""
    keeps_waiting = True
    """Whether what waits there outlives a restart."""
    has_crl = True
    """Whether it gives a CRL."""
    names = True
    """Whether its account of what it signed says for whom; else one order there has to have ended before the next."""

    def __init__(self, shelf, work):
        self.shelf, self.folder = shelf, Path(work) / f"server-{self.name}"
        self.folder.mkdir(parents=True)
        self.port, self.daemon, self.pki = free_port(), None, None
        self.log = self.folder / "server.log"
        self.gates = []

    def prepare(self):
        """What is done once, before the first start."""
        self.pki = Pki(self.shelf.openssl(), self.folder, self.key, self.protection, self.ra)

    def command(self):
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self):
        return {}

    def ready(self):
        """Whether it listens."""
        return listening(self.port)

    def start(self):
        self.daemon = Daemon(self.log, *self.command(), env=self.environment(), cwd=self.folder)
        try:
            until(f"{self.name} to listen", lambda: self.daemon.alive() and self.ready(), 30)
        except Failed as error:
            raise Failed(f"{error}; it said:\n{tail(self.daemon.said(), 20)}") from None
        return self

    def after_start(self):
        """What is told to it over its own interface, once."""

    def gate(self, port=None):
        """A way to it that can be closed."""
        gate = Gate("127.0.0.1", port or self.port)
        self.gates.append(gate)
        return gate

    def processes(self):
        return [self.daemon]

    def kill(self):
        """As a power cut does; there is nobody behind the gates then."""
        for one in self.processes():
            one.stop(signal.SIGKILL)
        for gate in self.gates:
            gate.down()

    def revive(self):
        """After `kill`."""
        self.start()
        for gate in self.gates:
            gate.up()

    def stop(self):
        for gate in self.gates:
            gate.down()
        if self.daemon:
            self.daemon.stop()

    def said(self, pattern):
        return len(re.findall(pattern, self.daemon.said(), re.MULTILINE)) if self.daemon else 0

    def roots(self):
        """PEM: the root that its certificates chain to, and what is between."""
        return self.pki / "root.pem", self.pki / "ca.pem"

    def chain(self):
        """PEM: the CA that signs, and those above it."""
        return self.pki / "chain.pem"

    def signed(self, name):
        """How many certificates it has signed for this common name, as it knows before it has answered."""
        raise NotImplementedError

    def has_signed(self, name):
        """A condition that becomes true when it has signed one more."""
        before = self.signed(name)
        return lambda: self.signed(name) > before

    def crl(self):
        """Its CRL, DER, as it gives it itself."""
        raise NotImplementedError

    def has_revoked(self, serial):
        """Whether it says that it revoked a certificate, where it has no CRL."""
        raise NotImplementedError

    def complaints(self):
        """What was wrong with requests, where it looks at that."""
        return []


def listening(port):
    try:
        import socket

        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Est(Server):
    """libest's server. Its CA is OpenSSL's `ca`, within the process."""

    name, what, key = "libest", "libest 3.2.0 `estserver` (Debian 13)", "rsa"
    options = ("-o",)
    wanted = "MAsGCSqGSIb3DQEJDg=="
    """Its csrattrs: extensionRequest, which every request has. Where there are none, it says 500."""

    def prepare(self):
        super().prepare()
        (self.folder / "new").mkdir()
        (self.folder / "index.txt").touch()
        (self.folder / "index.txt.attr").write_text("unique_subject = no\n")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "est.cnf").write_text(EST_CA.replace("DIR", str(self.folder)))

    def environment(self):
        folder = self.folder
        return {
            "EST_TRUSTED_CERTS": f"{folder}/chain.pem",
            "EST_CACERTS_RESP": f"{folder}/chain.pem",
            "EST_OPENSSL_CACONFIG": f"{folder}/est.cnf",
            "OPENSSL_CONF": f"{folder}/est.cnf",
            "EST_CSR_ATTR": self.wanted,
        }

    def command(self):
        return [*self.shelf.estserver(), "-c", "server-chain.pem", "-k", "server.key", "-r", "estrealm", "-p", self.port, *self.options]

    def signed(self, name):
        return (self.folder / "index.txt").read_text().count(f"/CN={name}/")


class EnforcingEst(Est):
    """The same where a request has to have all that its csrattrs name."""

    # It says 500 when its CA refuses, which leaves open what became of the request; this is its way to say no.
    name, options = "libest-enforcing", ("-o", "--enforce-csr")
    # emailAddress, macAddress, P-384, SHA-384
    wanted = "MCYGBysGAQEBARYGCSqGSIb3DQEJAQYFK4EEACIGCWCGSAFlAwQCAg=="


class EstFront(Est):
    """Labels in front of two of them: /auto and /manual, with a certificate of one CA."""

    name, what = "est-front", "libest 3.2.0 `estserver` behind our front for labels"

    def prepare(self):
        super().prepare()
        self.behind = {"auto": ("-o",), "manual": ("-n", "-m", "3")}
        self.ports = {label: free_port() for label in self.behind}

    def processes(self):
        return [*self.others, *super().processes()]

    def start(self):
        self.others = []
        for label, options in self.behind.items():
            command = [*self.shelf.estserver(), "-c", "server-chain.pem", "-k", "server.key", "-r", "estrealm", "-p", self.ports[label]]
            self.others.append(Daemon(self.folder / f"{label}.log", *command, *options, env=self.environment(), cwd=self.folder))
        until("the servers behind", lambda: all(listening(port) for port in self.ports.values()), 30)
        return super().start()

    def command(self):
        labels = [f"{label}={port}" for label, port in self.ports.items()]
        return [sys.executable, "-B", SERVERS / "est_front.py", self.port, self.folder, "3", *labels]

    def stop(self):
        super().stop()
        for one in self.others:
            one.stop()


class GlobalSignEst(Server):
    """GlobalSign's server with a CA of Go's library, which keeps nothing."""

    name, what, names = "globalsign-est", "globalsign/est v1.0.6 `estserver`", False

    def prepare(self):
        super().prepare()
        self.before = {}
        tls = {"listen_address": f"127.0.0.1:{self.port}", "certificates": "server-chain.pem", "private_key": "server.key", "client_cas": ["root.pem"]}
        settings = {"mock_ca": {"certificates": "chain.pem", "private_key": "ca.key"}, "tls": tls, "rate_limit": 0, "timeout": 30}
        (self.folder / "est.json").write_text(json.dumps(settings))

    def command(self):
        return [*self.shelf.globalsign_est(), "-config", "est.json"]

    def signed(self, name):
        """By its log, which has no names: one line asks for one certificate after another, so all since a name came up are of that name."""
        count = self.said(r'simpleenroll".*"Status": "200"')
        return count - self.before.setdefault(name, count)


class PqEst(GlobalSignEst):
    """The same with a CA whose key is ML-DSA, which Go's library knows from 1.27 on."""

    name, key, ra = "globalsign-est-pq", "ML-DSA-65", "ML-DSA-65"
    what = "globalsign/est v1.0.6 `estserver`, built with Go 1.27"

    def prepare(self):
        super().prepare()
        # Go reads ML-DSA keys that are their seed and nothing else.
        self.pki.openssl("pkey", "-in", "ca.key", "-provparam", "ml-dsa.output_formats=seed-only", "-out", "ca.key")


EST_CA = """[ca]
default_ca = own
[own]
dir = DIR
certs = DIR/new
new_certs_dir = DIR/new
database = DIR/index.txt
serial = DIR/serial
certificate = DIR/ca.pem
private_key = DIR/ca.key
default_days = 90
default_crl_days = 30
default_md = sha256
policy = names
copy_extensions = copy
x509_extensions = device
unique_subject = no
name_opt = ca_default
cert_opt = ca_default
[names]
commonName = supplied
organizationalUnitName = optional
organizationName = match
[device]
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth
"""


class Cmp(Server):
    """Our CA around OpenSSL's CMP server library."""

    name, what = "openssl-cmp", "OpenSSL 3.5.7's CMP server library in a CA of ours"
    key, keeps_waiting = "ec", False
    options = ()

    def prepare(self):
        super().prepare()
        (self.folder / "secret").write_text("a-shared-secret\n")

    def environment(self):
        return QUIET

    def command(self):
        return [*self.shelf.cmp_ca(), self.port, self.folder, *self.options]

    def signed(self, name):
        return len(self.serials(name))

    def serials(self, name):
        """The serial numbers of what it issued for this name."""
        return [one.lower() for one in re.findall(rf"(?m)^issued ([0-9A-F]+) {name}$", self.daemon.said())] if self.daemon else []

    def crl(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/crl", timeout=5).read()


class PqCmp(Cmp):
    """The same with ML-DSA throughout: the CA, what protects its messages, and our certificate."""

    name, key, ra = "openssl-cmp-pq", "ML-DSA-65", "ML-DSA-65"
    options = ("noimplicit", "repeats")


class CmpRa(Server):
    """Siemens' RA component, which holds messages against RFC 9483, with a CA of Bouncy Castle behind."""

    name, what = "siemens-cmp", "Siemens CmpRaComponent 4.1.4 with Bouncy Castle 1.87"

    def prepare(self):
        super().prepare()
        (self.folder / "secret").write_text("a-shared-secret\n")

    def command(self):
        return [*self.shelf.cmp_ra(), self.port, self.folder, "http://127.0.0.1:1/"]

    def signed(self, name):
        return self.said(rf"^issued .*\bCN={name}\b(?!-)")


class StepCa(Server):
    """step-ca with a JWK, an X5C and a templated provisioner."""

    name, what = "step-ca", "step-ca v0.30.2"

    def prepare(self):
        super().prepare()
        self.pki.key("jwk", "ec")
        self.jwk = jwk(self.pki)
        (self.folder / "jwk.json").write_text(json.dumps(self.jwk))
        claims = {"minTLSCertDuration": "5m", "maxTLSCertDuration": "8760h", "defaultTLSCertDuration": "24h"}
        root = run("base64", "-w", "0", self.pki / "root.pem").ok().out.decode()
        settings = {
            "root": "root.pem",
            "crt": "ca.pem",
            "key": "ca.key",
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["127.0.0.1", "localhost"],
            "logger": {"format": "text"},
            "db": {"type": "bbolt", "dataSource": "db"},
            "crl": {"enabled": True, "generateOnRevoke": True, "cacheDuration": "24h"},
            "authority": {
                "policy": {"x509": {"deny": {"dns": ["*.refused.example.net"]}}},
                "provisioners": [
                    {"type": "JWK", "name": "ravelin-jwk", "key": self.jwk, "claims": claims, "options": {"x509": {"template": STEP_TEMPLATE}}},
                    {"type": "X5C", "name": "ravelin-x5c", "roots": root, "claims": claims, "options": {"x509": {"template": STEP_TEMPLATE}}},
                ],
            },
            "tls": {"minVersion": 1.2, "maxVersion": 1.3},
        }
        (self.folder / "ca.json").write_text(json.dumps(settings, indent=1))

    def command(self):
        return [*self.shelf.step_ca(), "ca.json"]

    def signed(self, name):
        """By its log, which comes after the answer and has the certificate."""
        log = self.daemon.said()
        made = [base64.b64decode(one) for one in re.findall(r'certificate="?([A-Za-z0-9+/=]+)"? .*path=/(?:1\.0/)?sign ', log)]
        return sum(bytes([len(name)]) + name.encode() in one for one in made)

    def has_signed(self, name):
        """By its database, where the certificate is before it is given."""
        return lambda: bytes([len(name)]) + name.encode() in (self.folder / "db").read_bytes()

    def crl(self):
        return fetched(self.pki, f"https://127.0.0.1:{self.port}/1.0/crl")


# What a CA does that takes the subject from the request.
STEP_TEMPLATE = (
    '{"subject": {{ toJson .Insecure.CR.Subject }}, "sans": {{ toJson .SANs }}, '
    '"keyUsage": ["digitalSignature", "keyEncipherment"], "extKeyUsage": ["clientAuth"]}'
)


def jwk(pki):
    """The public key as a JSON Web Key (RFC 7517), with its thumbprint (RFC 7638) as its name."""
    import hashlib

    def b64(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    spki = run(*pki.command, "pkey", "-in", pki / "jwk.key", "-pubout", "-outform", "DER", env=QUIET).ok().out
    numbers = {"crv": "P-256", "kty": "EC", "x": b64(spki[-64:-32]), "y": b64(spki[-32:])}
    name = b64(hashlib.sha256(json.dumps(numbers, separators=(",", ":"), sort_keys=True).encode()).digest())
    return numbers | {"kid": name, "use": "sig", "alg": "ES256"}


def fetched(pki, url):
    """What is at an https URL of a server under this root."""
    import ssl

    context = ssl.create_default_context(cafile=str(pki / "root.pem"))
    return urllib.request.urlopen(url, timeout=10, context=context).read()


class Pebble(Server):
    """pebble, which wants external account binding. Its CA is new at each start."""

    name, what, lasts, names, has_crl = "pebble", "pebble v2.10.1", False, False, False
    MAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

    def prepare(self):
        super().prepare()
        self.management, self.before = free_port(), {}
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": "server-chain.pem",
            "privateKey": "server.key",
            "httpPort": 5002,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": True,
            "externalAccountMACKeys": {"kid-1": self.MAC},
            "domainBlocklist": ["refused.example.net"],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {"default": {"description": "ninety days", "validityPeriod": 7776000}},
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": settings}))

    def environment(self):
        # Validations pass without a look: a private CA that has authorized the account's names beforehand.
        return {"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_CHAIN_LENGTH": "1"}

    def command(self):
        return [*self.shelf.pebble(), "-config", "pebble.json"]

    def after_start(self):
        for name, path in (("acme-root", "roots/0"), ("acme-ca", "intermediates/0")):
            (self.folder / f"{name}.pem").write_bytes(fetched(self.pki, f"https://127.0.0.1:{self.management}/{path}"))
        text = "".join((self.folder / f"{name}.pem").read_text() for name in ("acme-ca", "acme-root"))
        (self.folder / "acme-chain.pem").write_text(text)

    def roots(self):
        return self.folder / "acme-root.pem", self.folder / "acme-ca.pem"

    def chain(self):
        return self.folder / "acme-chain.pem"

    def signed(self, name):
        """By its log, which has no names: one line asks for one certificate after another, so all since a name came up are of that name."""
        count = self.said("Issued certificate serial")
        return count - self.before.setdefault(name, count)

    def has_revoked(self, serial):
        """By its management interface."""
        told = json.loads(fetched(self.pki, f"https://127.0.0.1:{self.management}/cert-status-by-serial/{serial}"))
        return told["Status"] == "Revoked"


class Scep(Server):
    """micromdm's SCEP server: a CA that is its own root."""

    name, what, key = "micromdm", "micromdm scepserver v2.3.0", "rsa"
    options = ()

    def prepare(self):
        super().prepare()
        run(*self.shelf.scepserver(), "ca", "-init", "-keySize", "2048", "-organization", "Peer", "-depot", self.folder / "depot").ok()
        verifier = self.folder / "verifier"
        verifier.write_text(f"#!/bin/sh\n! {' '.join(self.shelf.openssl())} req -inform DER -noout -subject | grep -q refuse\n")
        verifier.chmod(0o755)

    def command(self):
        options = ["-depot", "depot", "-port", self.port, "-allowrenew", "0", "-crtvalid", "90", "-csrverifierexec", self.folder / "verifier"]
        return [*self.shelf.scepserver(), *options, *self.options]

    def environment(self):
        return QUIET

    def roots(self):
        return self.folder / "depot/ca.pem", self.folder / "depot/ca.pem"

    def chain(self):
        return self.folder / "depot/ca.pem"

    def signed(self, name):
        index = self.folder / "depot/index.txt"
        return index.read_text().count(f"/CN={name}\n") if index.exists() else 0


class ChallengeScep(Scep):
    """The same where a challenge is asked for."""

    CHALLENGE = "a-secret-that-both-know"
    name, options = "micromdm-challenge", ("-challenge", CHALLENGE)


class Ravelin(Server):
    """Another Ravelin with its own CA, which lets in whom our certificate vouches for."""

    name, what, key, ra = "ravelin", "another Ravelin with its embedded CA", "rsa", "rsa"

    def prepare(self):
        super().prepare()
        self.data = self.folder / "data"
        run(self.shelf.ravelin, "init", "--dir", self.data, timeout=120).ok()
        (self.data / "policies/default.toml").unlink()
        for group, approval in (("automatic", "automatic"), ("manual", "manual")):
            text = RAVELIN_GROUP.replace("OLD", str(self.pki / "ca.pem")).replace("APPROVAL", approval)
            (self.data / "policies" / f"{group}.toml").write_text(text)
        profile = self.data / "algorithms/rsa-sha256.toml"
        profile.write_text(profile.read_text().replace('"1y"', '"90d"'))
        settings = (self.data / "ravelin.toml").read_text()
        settings = re.sub(r"(?m)^default-endpoint.*$", 'default-endpoint = "automatic"', settings)
        settings = re.sub(r"(?m)^listen = .*$", f'listen = ["127.0.0.1:{self.port}"]', settings)
        (self.data / "ravelin.toml").write_text(re.sub(r"(?m)^admin = .*$", 'admin = "off"', settings))
        (self.folder / "scep-ca.pem").write_text(self.asked("ca", "show", "rsa")["pem"])

    def command(self):
        return [self.shelf.ravelin, "serve", "-c", self.data / "ravelin.toml"]

    def asked(self, *words):
        return json.loads(run(self.shelf.ravelin, *words, "--json", "-c", self.data / "ravelin.toml").ok().out)

    def roots(self):
        return self.folder / "scep-ca.pem", self.folder / "scep-ca.pem"

    def chain(self):
        return self.folder / "scep-ca.pem"

    def signed(self, name):
        return sum(row["common_name"] == name for row in self.asked("certificate", "list", name)["certificates"])

    def approve(self, name):
        """Lets in who waits there."""
        waiting = lambda: next((r["id"] for r in self.asked("pending", "list")["transactions"] if f"CN={name}" in r["subject"]), None)  # noqa: E731
        run(self.shelf.ravelin, "pending", "approve", until(f"{name} to wait", waiting, 20), "-c", self.data / "ravelin.toml").ok()


RAVELIN_GROUP = """profile = "rsa-sha256"

[device]
id = ["subject.commonName"]

[authenticate]
renewal = { issuers = ["OLD"], allow-name-change = true }

[enforce]
subject  = { allow = "CN={name:device-[a-z0-9-]{1,50}},O={org:[A-Za-z]{1,20}}" }
san      = { dns = ["{name}.example.net"] }
usages   = ["clientAuth"]
approval = "APPROVAL"
"""


class Webhook(Server):
    """A CA of ours that is asked in JSON over HTTP."""

    name, what = "webhook", "a service of ours around `openssl ca` (OpenSSL 3.5)"

    def prepare(self):
        super().prepare()
        (self.folder / "secret").write_text("hook-secret\n")

    def command(self):
        return [sys.executable, "-B", SERVERS / "json_ca.py", "--listen", self.port, self.folder, *self.shelf.openssl()]

    def signed(self, name):
        index = self.folder / "json/index.txt"
        return len(re.findall(rf"/CN={name}(?:/|$)", index.read_text(), re.MULTILINE)) if index.exists() else 0

    def crl(self):
        """As its `openssl ca` makes it."""
        command = [*self.shelf.openssl(), "ca", "-config", "json/ca.cnf", "-gencrl"]
        pem = run(*command, cwd=self.folder, env=QUIET).ok().out
        return run(*self.shelf.openssl(), "crl", "-outform", "DER", stdin=pem, env=QUIET).ok().out


class Program(Webhook):
    """The same as a program that is run for each question."""

    name, what = "exec", "a program of ours around `openssl ca` (OpenSSL 3.5)"

    def start(self):
        return self

    def stop(self):
        pass


def check_alive(servers):
    """None of them has ended by itself, and none has found anything amiss."""
    for one in servers:
        check(not one.complaints(), "\n".join([f"{one.name} complains:", *one.complaints()]))
        check(one.daemon is None or one.daemon.alive(), f"{one.name} ended by itself:\n{tail(one.daemon.said() if one.daemon else '', 20)}")
