"""One client after the other in a group on each form of certificate, and what it makes of it."""

import re
from pathlib import Path

from . import clients
from .clients import rsa_key, write_certificate
from .jscep import JScep
from .site import Site
from .tools import Failed, check, free_port, openssl, public_key_of_certificate, public_key_of_key, run, split_pem, tail, until

PROFILES = (
    "rsa-sha256",
    "ecdsa-p256",
    "ed25519",
    "ml-dsa-65",
    "slh-dsa-sha2-128s",
    "composite-mldsa65-ecdsa-p256",
    "catalyst-ecdsa-p256-mldsa65",
    "catalyst-rsa-mldsa65",
    "paired-ecdsa-p256-mldsa65",
)
BEGIN, END = "<!-- begin: tests/interop/forms writes this -->", "<!-- end -->"

POLICY = '''
description = "Old devices on PROFILE"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]
SCEP
[authenticate]
challenge = { kind = "one-time", ttl = "1h" }
renewal   = { issuers = ["own"] }

[enforce]
subject  = { allow = ["CN={name:[a-z0-9-]{1,64}}", "CN={name:[a-z0-9-]{1,64}},O=Interop"] }
usages   = { allow = ["clientAuth", "serverAuth"], default = ["clientAuth"] }
approval = "automatic"
'''
LEGACY = '''
[scep]
accept-ciphers = ["des-cbc", "aes-128-cbc"]
accept-digests = ["sha-1", "sha-256"]
'''


class FormsSite(Site):
    """A Ravelin with two groups for each profile: one as a group is, one for clients that know DES and SHA-1 only."""

    def __init__(self, ravelin, work):
        self.ravelin, self.work = Path(ravelin).resolve(), Path(work)
        self.data = self.work / "data"
        self.port, self.admin = free_port(), free_port()
        self.daemon = None
        run(self.ravelin, "init", "--dir", self.data, timeout=300).ok()
        shipped = {row["name"]: row for row in self.json("profile", "list")["profiles"]}
        self.rows = {name: shipped[name] for name in PROFILES}
        for name in self.rows:
            self.command("ca", "create", "--profile", name, timeout=120).ok()
            for group, settings in ((name, ""), (f"{name}-legacy", LEGACY)):
                text = POLICY.lstrip().replace("PROFILE", name).replace("SCEP", settings)
                (self.data / "policies" / f"{group}.toml").write_text(text)
        self.command("check-config").ok()

    def own(self, common_name):
        """The certificates that the device itself was given, newest first: siblings stay in the inventory."""
        return [row for row in self.certificates(common_name) if row["sibling_of"] is None]


class Client:
    """A client that goes through the profiles."""

    legacy = False

    def __init__(self, site, work):
        self.site, self.work = site, Path(work) / self.name
        self.work.mkdir()
        self.prepare()

    def prepare(self):
        pass

    def close(self):
        pass

    def measure(self, profiles):
        """For each profile, what is to stand in the table, and why."""
        return {profile: self.attempt(profile) for profile in profiles}

    def attempt(self, profile):
        group = f"{profile}-legacy" if self.legacy else profile
        name = f"{self.name.lower()}-{profile}"
        try:
            self.enroll(group, name)
        except Failed as failure:
            made = "the CA issued" if self.site.own(name) else "nothing was issued"
            return f"no; {made}", str(failure)
        try:
            self.renew(group, name)
        except Failed as failure:
            made = "; the CA issued" if len(self.site.own(name)) > 1 else ""
            return f"enrolls, does not renew{made}", str(failure)
        return "enrolls and renews", None

    def same(self, certificate, key, name, count):
        """What the client stored is what the inventory has, and is for its key."""
        check(public_key_of_certificate(certificate) == public_key_of_key(key), "the certificate is for another key")
        known = self.site.own(name)
        check(len(known) == count, f"the inventory has {len(known)} certificates for {name}, and not {count}")
        der = openssl("x509", "-in", certificate, "-outform", "DER").ok().out
        kept = run(self.site.ravelin, "certificate", "export", known[0]["fingerprint"], "--format", "der", "-c", self.site.data / "ravelin.toml").ok()
        check(kept.out == der, "the client has stored another certificate than the inventory")


class StrongSwan(Client):
    name = "strongSwan"

    def prepare(self):
        self.client = clients.StrongSwan(self.work)

    def enroll(self, group, name, old=None):
        key = rsa_key(self.work / f"{name}{'-new' if old else ''}.key")
        challenge = None if old else self.site.challenge(group)
        result = self.client.enroll(self.site.url(group), f"O=Interop, CN={name}", key, challenge=challenge, old=old).ok()
        path = write_certificate(self.work / f"{name}.pem", result.out.decode())
        self.same(path, key, name, 2 if old else 1)

    def renew(self, group, name):
        self.enroll(group, name, (self.work / f"{name}.pem", self.work / f"{name}.key"))


class ScepClient(Client):
    name = "scepclient"
    legacy = True

    def prepare(self):
        self.client = clients.ScepClient(self.work)

    def enroll(self, group, name, count=1):
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        challenge = self.site.challenge(group) if count == 1 else None
        self.client.enroll(self.site.url(group), f"CN={name},O=Interop", folder / "key.pem", folder / "cert.pem", challenge).ok()
        self.same(folder / "cert.pem", folder / "key.pem", name, count)

    def renew(self, group, name):
        self.enroll(group, name, 2)


class Certmonger(Client):
    name = "certmonger"

    def prepare(self):
        self.client = clients.Certmonger(self.work)

    def close(self):
        self.client.close()

    def enroll(self, group, name):
        chain = split_pem((self.site.data / "ra/chain.pem").read_text())
        root = self.work / "ra-root.pem"
        root.write_text(chain[-1])
        self.client.add_ca(group, self.site.url(group), root)
        self.files = self.client.request(group, name, f"CN={name},O=Interop", self.site.challenge(group))
        self.client.wait(name, "MONITORING", timeout=25)
        self.same(*self.files, name, 1)

    def renew(self, group, name):
        before = self.files[0].read_bytes()
        self.client.getcert("resubmit", "-i", name).ok()
        until("certmonger to store another certificate", lambda: self.files[0].read_bytes() != before, 25, 0.3)
        self.client.wait(name, "MONITORING", timeout=10)
        self.same(*self.files, name, 2)


class PyScep(Client):
    name = "PyScep"

    def prepare(self):
        self.client = clients.PyScep(self.work)

    def enroll(self, group, name):
        (self.work / name).mkdir()
        self.client.drive("enroll", self.site.url(group), self.work / name, name, self.site.challenge(group)).ok()
        self.same(self.work / name / "new.pem", self.work / name / "new.key", name, 1)

    def renew(self, group, name):
        self.client.drive("renew", self.site.url(group), self.work / name, name).ok()
        self.same(self.work / name / "new.pem", self.work / name / "new.key", name, 2)


class Java(Client):
    name = "jscep"

    def prepare(self):
        self.client = JScep(self.work)

    def enroll(self, group, name):
        (self.work / name).mkdir()
        self.client.drive("enroll", self.site.url(group), self.work / name, "auto", name, self.site.challenge(group)).ok()
        self.same(self.work / name / "cert.pem", self.work / name / "key.pem", name, 1)

    def renew(self, group, name):
        self.client.drive("renew", self.site.url(group), self.work / name, "auto", name).ok()
        self.same(self.work / name / "cert.pem", self.work / name / "key.pem", name, 2)


FLEET = (StrongSwan, ScepClient, Certmonger, PyScep, Java)


def page(rows, found):
    """The table: a line a profile, a column a client."""
    names = [maker.name for maker in FLEET if maker.name in found]
    lines = [f"| profile | form | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for profile, row in rows.items():
        cells = [found[name][profile][0] for name in names]
        lines.append(f"| `{profile}` | {row['form']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def replaced(text, content):
    """The page with what is between the marks replaced."""
    return re.sub(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{content}\n{END}", text, count=1, flags=re.DOTALL)
