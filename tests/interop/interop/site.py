"""A Ravelin of our own: a fresh data folder, three groups, the real binary on loopback."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

from .tools import Daemon, Failed, check, free_port, openssl, run, split_pem, tail, until

SUBJECT = "CN={name:[a-z0-9_-]{1,32}},O=Interop"

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
    "legacy": f'''
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
approval = "automatic"
''',
    "plain": f'''
description = "Devices that send no organisation, and read no more than the certificate of one algorithm"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal   = {{ issuers = ["own"] }}

[enforce]
subject  = {{ allow = "CN={{name:[a-z0-9_-]{{1,32}}}}" }}
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
        run(self.ravelin, "init", "--dir", self.data, "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}").ok()
        for name, text in POLICIES.items():
            (self.data / "policies" / f"{name}.toml").write_text(text.replace("PROFILE", profile).lstrip())
        self.command("check-config").ok()
        self.daemon = None

    def start(self):
        self.daemon = Daemon(self.work / "serve.log", self.ravelin, "serve", "-c", self.data / "ravelin.toml", "--log-format", "json")
        try:
            until("readiness", lambda: self.daemon.alive() and self.ready(), 30)
        except Failed as error:
            raise Failed(f"{error}; the service said:\n{tail(self.daemon.said())}") from None
        return self

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

    def fetch_chain(self, group="routers"):
        """The CA certificates out of GetCACert: (root, intermediates), as files."""
        body = urllib.request.urlopen(f"{self.url(group)}?operation=GetCACert", timeout=10).read()
        text = openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=body).ok().out.decode()
        root, intermediates = self.work / "root.pem", self.work / "intermediates.pem"
        cas = []
        for block in split_pem(text):
            shown = openssl("x509", "-noout", "-subject", "-issuer", "-ext", "basicConstraints", stdin=block.encode()).out.decode()
            if "CA:TRUE" in shown:
                subject, issuer = (re.search(rf"{what}=(.*)", shown).group(1) for what in ("subject", "issuer"))
                cas.append((block, subject == issuer))
        check(any(own for _, own in cas), "GetCACert brings no root")
        root.write_text("".join(block for block, own in cas if own))
        intermediates.write_text("".join(block for block, own in cas if not own))
        return root, intermediates
