"""Ravelin with one upstream, one algorithm profile and one device group for each line; and devices."""

import json
import re
import shutil
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

from interop.jscep import JScep
from interop.tools import Daemon, Failed, check, free_port, openssl, run, tail, until

from .pki import Pki

PROFILE = """description = "By NAME"
accepts     = ["rsa-2048..4096", "ecdsa-p256", "ecdsa-p384"]
form        = "single"
signature   = "SIGNATURE"
issuer      = { upstream = "NAME", ca = "peer" }
validity    = "90d"
"""
POLICY = """description = "Devices whose certificates come from NAME"
profile     = "by-NAME"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = { kind = "one-time", ttl = "1h" }
renewal   = { issuers = ["own", "OLD"] }

[enforce]
subject  = { allow = "CN={name:[a-z0-9-]{1,60}},O={org:[A-Za-z]{1,20}}" }
san      = { dns = ["{name}.example.net", "{name}.refused.example.net", "refused.example.net"] }
usages   = { allow = ["clientAuth"], default = [] }
approval = "automatic"
"""
SIGNATURES = {"ec": "ecdsa-sha256", "rsa": "rsa-sha256"}
ISSUED, REFUSED, PENDING = 0, 1, 75


class Site:
    """The service and its command line."""

    def __init__(self, ravelin, work, lines):
        self.ravelin, self.work = Path(ravelin).resolve(), Path(work)
        self.data, self.lines = self.work / "data", lines
        self.port, self.admin, self.daemon = free_port(), free_port(), None
        self.lock, self.jscep = threading.Lock(), None
        self.environment = {name: value for line in lines for name, value in line.environment().items()}
        run(self.ravelin, "init", "--dir", self.data, timeout=120).ok()
        (self.data / "policies/default.toml").unlink()
        # The CA that devices have their certificates from, where they do not bring a challenge.
        self.old = Pki(lines[0].server.shelf.openssl(), self.work / "old-ca")
        text = (self.data / "ravelin.toml").read_text()
        text = re.sub(r"(?m)^default-endpoint.*$", f'default-endpoint = "{lines[0].name}"', text)
        text = re.sub(r"(?m)^\[server\]$", '[server]\npatience = "1500ms"', text)
        for line in lines:
            text += "\n" + line.toml()
            profile = PROFILE.replace("NAME", line.name).replace("SIGNATURE", line.signature())
            (self.data / "algorithms" / f"by-{line.name}.toml").write_text(line.profile(profile))
            (self.data / "policies" / f"{line.name}.toml").write_text(line.policy(POLICY.replace("NAME", line.name).replace("OLD", str(self.old / "ca.pem"))))
        (self.data / "ravelin.toml").write_text(text)

    def start(self, **environment):
        listeners = ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"]
        self.daemon = Daemon(
            self.work / "serve.log",
            *(self.ravelin, "serve", "-c", self.data / "ravelin.toml", "--log-format", "json", *listeners),
            env=self.environment | environment,
        )
        try:
            until("readiness", lambda: self.daemon.alive() and self.ready(), 60)
        except Failed as error:
            raise Failed(f"{error}; the service said:\n{tail(self.daemon.said(), 30)}") from None
        return self

    def ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self):
        """As a power cut does."""
        self.daemon.stop(signal.SIGKILL)

    def stop(self):
        return self.daemon.stop() if self.daemon else None

    def command(self, *words, timeout=60):
        return run(self.ravelin, *words, "-c", self.data / "ravelin.toml", timeout=timeout, env=self.environment)

    def json(self, *words):
        return json.loads(self.command(*words, "--json").ok().out)

    def certificates(self, common_name):
        """What the inventory has of this device."""
        listed = self.json("certificate", "list", common_name)
        # Some CAs leave the common name out, and it stands among the alternative names only.
        return [row for row in listed["certificates"] if re.search(rf"(?<![a-z0-9-]){common_name}(?![a-z0-9-])", json.dumps(row))]

    def transaction(self, common_name, state):
        """The transaction of this device, if it is in this state."""
        listed = self.json("pending", "list", "--state", state)["transactions"]
        return next((row for row in listed if f"CN={common_name}" in (row["subject"] or "")), None)

    def crl(self, device):
        """The CRL of the CA of a device, as Ravelin gives it to that device (GetCRL, by jscep)."""
        with self.lock:
            self.jscep = self.jscep or JScep(self.work)
        folder = device.folder / "jscep"
        folder.mkdir(exist_ok=True)
        shutil.copy(device.certificate, folder / "cert.pem")
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", device.key, "-outform", "DER", "-out", folder / "key.der").ok()
        self.jscep.drive("crl", f"http://127.0.0.1:{self.port}/scep/{device.line.name}", folder, "auto").ok()
        return (folder / "crl.der").read_bytes()


class Device:
    """One device with a key and a transaction of its own."""

    def __init__(self, site, line, name, subject=None, sans=None):
        self.site, self.line, self.name = site, line, name
        self.subject = subject or line.subject(name)
        self.sans = line.sans(name) if sans is None else sans
        self.folder = site.work / "devices" / name
        self.folder.mkdir(parents=True)
        line.server.signed(name)
        self.certificate, self.key = self.folder / "device.crt", self.folder / "device.key"
        openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key).ok()
        if line.by_old_certificate:
            self.authentication = self.old_certificate()
        else:
            challenge = line.challenge or site.json("challenge", "new", "--group", line.name)["challenges"][0]["challenge"]
            (self.folder / "challenge").write_text(challenge)
            self.authentication = ["--subject", self.subject, "--challenge-file", self.folder / "challenge"]
            self.authentication += [word for san in self.sans for word in ("--san", f"dns:{san}")]

    def old_certificate(self):
        """A certificate of the earlier CA, which is renewed."""
        old, folder = self.site.old, self.folder
        kind = ["-newkey", "rsa:2048", "-nodes", "-keyout", folder / "old.key"]
        names = ["-addext", f"subjectAltName={','.join(f'DNS:{san}' for san in self.sans)}"] if self.sans else []
        subject = "".join(f"/{part}" for part in self.subject.split(","))
        old.openssl("req", "-config", "pki.cnf", *kind, "-subj", subject, *names, "-out", folder / "old.csr")
        issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-copy_extensions", "copy", "-days", "30"]
        old.openssl("x509", "-req", "-in", folder / "old.csr", *issuer, "-out", folder / "old.crt")
        return ["--renew", folder / "old.crt", "--renew-key", folder / "old.key"]

    def enroll(self, polls=0, timeout=120):
        """Asks, or asks after what was asked before. Gives the exit status and what was said."""
        words = [*self.authentication, "--state", self.folder / "state"]
        where = ["--key", self.key, "--out", self.certificate, "--chain-out", self.folder / "chain.crt"]
        polling = ["--poll-interval", "1", "--max-poll", polls, "--timeout", "30", "--json"]
        url = f"http://127.0.0.1:{self.site.port}/scep/{self.line.name}"
        return run(self.site.ravelin, "enroll", url, *words, *where, *polling, timeout=timeout)

    def is_issued(self, polls=20):
        """It has a certificate, and that is right."""
        done = self.enroll(polls)
        check(done.status == ISSUED, f"{self.name} got no certificate (status {done.status}):\n{tail(done.text)}\n{self.site_said()}")
        self.verify()
        return self

    def is_pending(self):
        done = self.enroll()
        check(done.status == PENDING, f"{self.name} is not pending (status {done.status}):\n{tail(done.text)}\n{self.site_said()}")
        return self

    def is_refused(self):
        done = self.enroll()
        check(done.status == REFUSED and b'"refused"' in done.out, f"{self.name} was not refused (status {done.status}):\n{tail(done.text)}")
        check(not self.site.certificates(self.name), f"{self.name} was refused, and there is a certificate")
        return self

    def site_said(self):
        lines = [line for line in self.site.daemon.said().splitlines() if self.name in line or f'"{self.line.name}"' in line]
        return tail("\n".join(lines[-8:]), 8)

    def verify(self):
        """The certificate chains to the CA's root, is for the device's key, and is the one in the inventory."""
        root, between = self.line.server.roots()
        command = [*self.line.server.shelf.openssl(), "verify", "-CAfile", root, "-untrusted", between, "-x509_strict"]
        run(*command, self.certificate, env={"OPENSSL_CONF": "/dev/null"}).ok()
        of_key = openssl("pkey", "-in", self.key, "-pubout").ok().out
        of_certificate = run(*self.line.server.shelf.openssl(), "x509", "-in", self.certificate, "-noout", "-pubkey").ok().out
        check(of_key == of_certificate, f"the certificate of {self.name} is for another key")
        rows = self.site.certificates(self.name)
        check(len(rows) == 1, f"the inventory has {len(rows)} certificates of {self.name}")

    def serial(self):
        text = run(*self.line.server.shelf.openssl(), "x509", "-in", self.certificate, "-noout", "-serial").ok().out.decode()
        return text.strip().split("=")[1].lower()


def revoked(openssl_command, crl, issuer, folder):
    """The serials in a CRL, DER, after its signature was checked."""
    file = Path(folder) / "checked.crl"
    file.write_bytes(crl)
    quiet = {"OPENSSL_CONF": "/dev/null"}
    checked = run(*openssl_command, "crl", "-inform", "DER", "-in", file, "-CAfile", issuer, "-noout", "-text", env=quiet).ok()
    check("verify OK" in checked.text, f"the CRL is not signed by its CA:\n{tail(checked.text, 4)}")
    return [one.lower() for one in re.findall(r"Serial Number: ([0-9A-F]+)", checked.text)]
