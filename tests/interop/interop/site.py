"""A Ravelin of our own: a fresh data folder, three groups, the real binary on loopback."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

from .tools import Daemon, Failed, check, free_port, openssl, run, tail, until

CRLS = "http://crl.example.net/"
SUBJECT = "CN={name:[a-z0-9_-]{1,32}},O=Interop"

LEGACY = f'''
description = "Devices that know DES and SHA-1 only"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]

[scep]
accept-ciphers = ["des-cbc", "des-ede3-cbc", "aes-128-cbc"]
accept-digests = ["sha-1", "sha-256"]

[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal   = {{ issuers = ["own"] }}

[enforce]
subject  = {{ allow = "{SUBJECT}" }}
usages   = ["clientAuth"]
approval = "APPROVAL"
'''

# The groups, each with an endpoint of its own.
POLICIES = {
    "routers": f'''
description = "Devices that enroll by themselves"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal   = {{ issuers = ["own"] }}

[enforce]
subject  = {{ allow = "{SUBJECT}" }}
san      = {{ dns = ["{{name}}.example.net"] }}
usages   = ["clientAuth"]
approval = "automatic"
''',
    "manual": f'''
description = "Devices that people let in"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal   = {{ issuers = ["own"] }}

[enforce]
subject  = {{ allow = "{SUBJECT}" }}
usages   = ["clientAuth"]
approval = "manual"
''',
    "legacy": LEGACY.replace("APPROVAL", "automatic"),
    "legacy-manual": LEGACY.replace("APPROVAL", "manual"),
    "plain": '''
description = "Devices that send no organisation, or can read an RSA signature only"
priority    = 10
profile     = "rsa-sha256"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = { kind = "one-time", ttl = "1h" }
renewal   = { issuers = ["own"] }

[enforce]
subject  = { allow = ["CN={name:[a-z0-9_-]{1,32}}", "CN={name:[a-z0-9_-]{1,32}},O=Interop"] }
usages   = ["clientAuth", "serverAuth"]
approval = "automatic"
''',
}


class Site:
    """The service, its command line, and what it shows."""

    def __init__(self, ravelin, work, profile):
        self.ravelin, self.work = Path(ravelin).resolve(), Path(work)
        self.data = self.work / "data"
        self.port, self.admin = free_port(), free_port()
        run(self.ravelin, "init", "--dir", self.data).ok()
        for name, text in POLICIES.items():
            (self.data / "policies" / f"{name}.toml").write_text(text.replace("PROFILE", profile).lstrip())
        # What an operator does who publishes CRLs: the address stands in every certificate from now on.
        self.cas = {one["name"]: self.json("ca", "show", one["name"])["pem"] for one in self.json("ca", "list")["cas"]}
        for name in self.cas:
            settings = self.data / "ca" / name / "ca.toml"
            lines = [line for line in settings.read_text().splitlines() if not line.startswith("crl-urls")]
            settings.write_text("\n".join([f'crl-urls = ["{CRLS}{name}.crl"]', *lines]) + "\n")
        self.command("check-config").ok()
        self.daemon = None

    def start(self):
        self.daemon = Daemon(self.work / "serve.log", self.ravelin, *self.serving())
        try:
            until("readiness", lambda: self.daemon.alive() and self.ready(), 30)
        except Failed as error:
            raise Failed(f"{error}; the service said:\n{tail(self.daemon.said())}") from None
        return self

    def serving(self):
        listeners = ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"]
        return ["serve", "-c", self.data / "ravelin.toml", "--log-format", "json", *listeners]

    def stop(self):
        return self.daemon.stop() if self.daemon else None

    def ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5).read().decode()

    def url(self, group):
        return f"http://127.0.0.1:{self.port}/scep/{group}"

    def command(self, *arguments, timeout=60):
        return run(self.ravelin, *arguments, "-c", self.data / "ravelin.toml", timeout=timeout)

    def json(self, *arguments):
        return json.loads(self.command(*arguments, "--json").ok().out)

    def challenge(self, group):
        made = self.json("challenge", "new", "--group", group)
        return made["challenges"][0]["challenge"]

    def waiting(self, common_name):
        """The transaction that waits for people, for this device."""
        listed = self.json("pending", "list")["transactions"]
        found = [row["id"] for row in listed if f"CN={common_name}" in (row["subject"] or "")]
        return found[0] if found else None

    def approve(self, common_name, verdict="approve"):
        identifier = until(f"{common_name} to wait for approval", lambda: self.waiting(common_name), 30, 0.3)
        self.command("pending", verdict, identifier).ok()

    def certificates(self, common_name):
        """What the inventory has of this device, newest first."""
        listed = self.json("certificate", "list", common_name)
        return [row for row in listed["certificates"] if row["common_name"] == common_name]

    def refusals(self, code):
        """How often the log names this code."""
        return len(re.findall(rf'"{re.escape(code)}"|\b{re.escape(code)}\b', self.daemon.said()))

    def roots(self):
        """The certificates of all its CAs, each in a file of its own; they are their own issuers."""
        files = []
        for name, text in self.cas.items():
            files.append(self.work / f"root-{name}.pem")
            files[-1].write_text(text)
        return files

    def crl(self, address):
        """The CRL that is published at this address, as a PEM file."""
        check(address.startswith(CRLS), f"the CRL is said to be at {address}")
        name = address[len(CRLS):].removesuffix(".crl")
        raw, pem = self.work / f"{name}.crl", self.work / f"{name}.crl.pem"
        self.command("ca", "crl", name, "--out", raw).ok()
        form = "PEM" if raw.read_bytes().startswith(b"-----") else "DER"
        openssl("crl", "-inform", form, "-in", raw, "-out", pem).ok()
        return pem
