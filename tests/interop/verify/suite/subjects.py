"""What is verified: made by the real binary alone, for every algorithm profile that is shipped.

Each profile is used twice: as it is shipped, under the self-signed CA that `ravelin init` makes for it, and as a copy whose issuer is a CA
below another, so that there is a chain of three.
"""

import base64
import json
import re
from pathlib import Path

from interop.site import Site
from interop.tools import Failed, check, free_port, run

from . import der

POLICY = '''
description = "PROFILE, for a verifier to look at"
priority    = 10
profile     = "PROFILE"

[device]
id = ["subject.commonName"]

[authenticate]
challenge = { kind = "one-time", ttl = "1h" }

[enforce]
subject  = { allow = "CN={name:[a-z0-9._-]{1,64}},O=Interop" }
san      = { dns = ["{name}.example.net"] }
usages   = { allow = ["clientAuth", "serverAuth"], default = ["clientAuth"] }
approval = "APPROVAL"
'''
PATIENCE = 60
"""Seconds that a command may take; SLH-DSA signatures are slow."""


class Maker(Site):
    """A Ravelin with one group for each profile."""

    def __init__(self, ravelin, work):
        self.ravelin, self.work = Path(ravelin).resolve(), Path(work)
        self.data, self.made = self.work / "data", self.work / "subjects"
        self.port, self.admin = free_port(), free_port()
        self.daemon, self.cas = None, {}
        self.made.mkdir(parents=True)
        run(self.ravelin, "init", "--dir", self.data, timeout=300).ok()
        self.profiles = self.json("profile", "list")["profiles"]
        self.authorities = {row["name"]: row for row in self.json("ca", "list")["cas"]}
        # Requests are taken from where a client keeps them while people decide.
        self.group("default", max(self.profiles, key=lambda profile: len(key_types(profile)))["name"], "manual")
        for profile in self.profiles:
            self.prepare(profile)
        self.command("check-config").ok()

    def prepare(self, profile):
        """A group as shipped, and one whose CA stands below another."""
        name = profile["name"]
        self.group(name, name)
        ca = self.authorities[profile["issuer"].split("/", 1)[1]]
        top, below = f"{ca['name']}-top", f"{ca['name']}-below"
        if below not in self.cas:
            kind = self.kind_of(ca)
            self.command("ca", "create", top, "--subject", f"O=Ravelin,CN={top}", "--path-len", "1", *kind, timeout=120).ok()
            self.command("ca", "create", below, "--subject", f"O=Ravelin,CN={below}", "--path-len", "0", "--parent", top, *kind, timeout=120).ok()
            self.cas[below] = top
        text = (self.data / "algorithms" / f"{name}.toml").read_text()
        copy, count = re.subn(rf'(\bca\s*=\s*)"{re.escape(ca["name"])}"', rf'\g<1>"{below}"', text, count=1)
        check(count == 1, f"{name}.toml does not name its CA as ca = \"{ca['name']}\"")
        (self.data / "algorithms" / f"{name}-below.toml").write_text(copy)
        self.group(f"{name}-below", f"{name}-below")

    @staticmethod
    def kind_of(ca):
        """The options that make another CA of this kind."""
        return ["--key", ca["key"]]

    def group(self, name, profile, approval="automatic"):
        text = POLICY.lstrip().replace("PROFILE", profile).replace("APPROVAL", approval)
        (self.data / "policies" / f"{name}.toml").write_text(text)

    def write(self, name, octets):
        path = self.made / name
        path.write_bytes(octets)
        return str(path)

    def enroll(self, group, name, key_type):
        """Enrolls a device. Gives the paths of its certificate and of its key."""
        key, out = self.made / f"{name}.key", self.made / f"{name}.pem"
        command = ["enroll", self.url(group), "--subject", f"CN={name},O=Interop", "--san", f"dns:{name}.example.net", "--key-type", key_type]
        command += ["--key", key, "--out", out, "--challenge", self.challenge(group), "--poll-interval", "1"]
        run(self.ravelin, *command, timeout=PATIENCE).ok()
        return self.write(f"{name}.der", der.from_pem(out.read_text())[0]), str(key)

    def authority(self, name):
        """The certificate of a CA."""
        return self.write(f"ca-{name}.der", der.from_pem(self.json("ca", "show", name)["pem"])[0])

    def crl(self, name):
        path = self.made / f"{name}.crl"
        self.command("ca", "crl", name, "--out", path, timeout=PATIENCE).ok()
        octets = path.read_bytes()
        return self.write(f"{name}.crl", der.from_pem(octets.decode())[0] if octets.startswith(b"-----") else octets)

    def subjects(self):
        """Everything that there is to verify, as rows of (section, row, jobs); a job is as in verifiers.py, with `part` and maybe `expect`."""
        for profile in self.profiles:
            yield "profiles", profile["name"], self.of_profile(profile)
        for part in ("signer", "decrypter"):
            yield "ra", part, self.of_ra(part)
        for key in sorted({key for profile in self.profiles for key in key_types(profile)}):
            yield "requests", key, self.of_request(key)

    def of_profile(self, profile):
        name, ca = profile["name"], profile["issuer"].split("/", 1)[1]
        key_type = "ecdsa-p256" if "ecdsa-p256" in key_types(profile) else key_types(profile)[0]
        root = self.authority(ca)
        leaf, _ = self.enroll(name, f"leaf-{name}", key_type)
        top, middle = self.authority(f"{ca}-top"), self.authority(f"{ca}-below")
        deep, key = self.enroll(f"{name}-below", f"deep-{name}", key_type)
        gone, gone_key = self.enroll(f"{name}-below", f"gone-{name}", key_type)
        serial = self.certificates(f"gone-{name}")[0]["serial"]
        self.command("certificate", "revoke", serial, "--reason", "keyCompromise", timeout=PATIENCE).ok()
        crl, crls = self.crl(ca), [self.crl(f"{ca}-below"), self.crl(f"{ca}-top")]
        chain = {"chain": [middle], "root": top, "crls": crls}
        return [
            {"part": "CA", "kind": "certificate", "file": root, "issuer": root},
            {"part": "leaf", "kind": "certificate", "file": leaf, "issuer": root},
            {"part": "chain", "kind": "chain", "file": deep, **chain},
            {"part": "chain", "kind": "chain", "file": gone, **chain, "expect": "refused"},
            {"part": "TLS", "kind": "handshake", "file": deep, "key": key, **chain},
            {"part": "TLS", "kind": "handshake", "file": gone, "key": gone_key, **chain, "expect": "refused"},
            {"part": "CRL", "kind": "crl", "file": crl, "issuer": root},
            {"part": "CRL", "kind": "crl", "file": crls[0], "issuer": middle},
        ]

    def of_ra(self, part):
        folder = self.data / "ra"
        chain = [self.write(f"ra-{at}.der", one) for at, one in enumerate(der.from_pem((folder / "chain.pem").read_text()))]
        path = self.write(f"ra-{part}.der", der.from_pem((folder / f"{part}.pem").read_text())[0])
        return [
            {"part": "certificate", "kind": "certificate", "file": path, "issuer": chain[0]},
            {"part": "chain", "kind": "chain", "file": path, "chain": chain[:-1], "root": chain[-1]},
        ]

    def of_request(self, key_type):
        """The certification request that `ravelin enroll` makes for a key, and the certificate that it signs its message with."""
        name = f"request-{key_type}"
        state = self.made / f"{name}.json"
        command = ["enroll", self.url("default"), "--subject", f"CN={name},O=Interop", "--san", f"dns:{name}.example.net"]
        command += ["--key-type", key_type, "--key", self.made / f"{name}.key", "--out", self.made / f"{name}.pem", "--state", state]
        result = run(self.ravelin, *command, "--challenge", self.challenge("default"), "--max-poll", "0", timeout=PATIENCE)
        check(result.status == 75, f"{key_type} is not pending: {result.text}")
        saved = json.loads(state.read_text())
        request = self.write(f"{name}.csr", base64.b64decode(saved["csr"]))
        own = self.write(f"{name}-own.der", base64.b64decode(saved["signer-certificate"]))
        return [
            {"part": "CSR", "kind": "csr", "file": request},
            {"part": "self-signed", "kind": "self-signed", "file": own},
        ]


def key_types(profile):
    """The keys that a profile accepts, one by one."""
    found = []
    for word in profile["accepts"]:
        kind, _, sizes = word.partition("-")
        if ".." in sizes:
            low, high = (int(size) for size in sizes.split(".."))
            found += [f"{kind}-{size}" for size in (2048, 3072, 4096) if low <= size <= high]
        else:
            found.append(word)
    if not found:
        raise Failed(f"{profile['name']} accepts nothing")
    return found
