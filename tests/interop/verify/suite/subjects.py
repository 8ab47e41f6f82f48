"""What is verified: made by the real binary alone, for every algorithm profile that is shipped.

Each profile is used twice: as it is shipped, under the self-signed CA that `ravelin init` makes for it, and as a copy whose issuer is a CA
below another, so that there is a chain of three.
"""

import base64
import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
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
signer-key = "may-differ"
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
        # Requests are taken from where a client keeps them while people decide.
        self.group("default", max(self.profiles, key=lambda profile: len(key_types(profile)))["name"], "manual")
        for profile in self.profiles:
            self.prepare(profile)
        self.command("check-config").ok()

    def prepare(self, profile):
        """The CAs that a profile names, a group on it as shipped, and a group on a copy whose CAs stand below others."""
        name = profile["name"]
        self.command("ca", "create", "--profile", name, timeout=PATIENCE).ok()
        self.group(name, name)
        text = (self.data / "algorithms" / f"{name}.toml").read_text()
        for ca in authorities(profile):
            self.below(ca)
            text, count = re.subn(rf'(\bca\s*=\s*)"{re.escape(ca)}"', rf'\g<1>"{ca}-below"', text)
            check(count == 1, f"{name}.toml does not name its CA as ca = \"{ca}\"")
        (self.data / "algorithms" / f"{name}-below.toml").write_text(text)
        self.group(f"{name}-below", f"{name}-below")

    def below(self, name):
        """Two CAs of the same kind as this one, one below the other."""
        top, below = f"{name}-top", f"{name}-below"
        if below in self.cas:
            return
        known = {row["name"]: row for row in self.json("ca", "list")["cas"]}[name]
        kind = ["--key", known["key"]]
        kind += ["--alternative", known["alternative"]] if known.get("alternative") else []
        self.command("ca", "create", top, "--subject", f"O=Ravelin,CN={top}", "--path-len", "1", *kind, timeout=PATIENCE).ok()
        self.command("ca", "create", below, "--subject", f"O=Ravelin,CN={below}", "--path-len", "0", "--parent", top, *kind, timeout=PATIENCE).ok()
        self.cas[below] = top

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
        return self.write(f"ca-{name}.der", der.from_pem((self.data / "ca" / name / "certificate.pem").read_text())[0])

    def crl(self, certificate):
        """The CRL of whoever issued this certificate: the certificate says where it is."""
        address = re.search(rb"http://[^/]+(/crl/[!-~]+?\.crl)", Path(certificate).read_bytes())
        check(address, f"{certificate} does not say where its CRL is")
        path = address.group(1).decode()
        answer = urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE)
        return self.write(f"{Path(certificate).stem}.issuer.crl", answer.read())

    def subjects(self):
        """Everything that there is to verify, as rows of (section, row, jobs); a job is as in verifiers.py, with `part` and maybe `expect`."""
        keys = sorted({key for profile in self.profiles for key in key_types(profile)})
        rows = [("profiles", profile["name"], self.of_profile, profile) for profile in self.profiles]
        rows += [("ra", part, self.of_ra, part) for part in ("signer", "decrypter")]
        rows += [("requests", key, self.of_request, key) for key in keys]
        # Most of the time goes into starting commands, so several at a time.
        with ThreadPoolExecutor(4) as pool:
            made = [(section, row, pool.submit(make, of)) for section, row, make, of in rows]
            return [(section, row, jobs.result()) for section, row, jobs in made]

    def of_profile(self, profile):
        name, (ca, *second) = profile["name"], authorities(profile)
        key_type = "ecdsa-p256" if "ecdsa-p256" in key_types(profile) else key_types(profile)[0]
        root = self.authority(ca)
        leaf, _ = self.enroll(name, f"leaf-{name}", key_type)
        deep, key = self.enroll(f"{name}-below", f"deep-{name}", key_type)
        gone, gone_key = self.enroll(f"{name}-below", f"gone-{name}", key_type)
        given = self.given(f"gone-{name}")
        self.command("certificate", "revoke", given["serial"], "--reason", "keyCompromise", timeout=PATIENCE).ok()
        chain, crl = self.chain(ca, deep), self.crl(leaf)
        middle, crls = chain["chain"][0], chain["crls"]
        jobs = [
            {"part": "CA", "kind": "certificate", "file": root, "issuer": root},
            {"part": "leaf", "kind": "certificate", "file": leaf, "issuer": root},
            {"part": "chain", "kind": "chain", "file": deep, **chain},
            {"part": "chain", "kind": "chain", "file": gone, **chain, "expect": "refused"},
            {"part": "TLS", "kind": "handshake", "file": deep, "key": key, **chain},
            {"part": "TLS", "kind": "handshake", "file": gone, "key": gone_key, **chain, "expect": "refused"},
            {"part": "CRL", "kind": "crl", "file": crl, "issuer": root},
            {"part": "CRL", "kind": "crl", "file": crls[0], "issuer": middle},
        ]
        if profile["form"] == "catalyst":
            # The second key of each issuer made a second signature of everything.
            jobs += [
                {"part": "alternative CA", "kind": "alternative-certificate", "file": root, "issuer": root},
                {"part": "alternative CA", "kind": "alternative-certificate", "file": middle, "issuer": chain["root"]},
                {"part": "alternative leaf", "kind": "alternative-certificate", "file": leaf, "issuer": root},
                {"part": "alternative leaf", "kind": "alternative-certificate", "file": deep, "issuer": middle},
                {"part": "alternative CRL", "kind": "alternative-crl", "file": crl, "issuer": root},
                {"part": "alternative CRL", "kind": "alternative-crl", "file": crls[0], "issuer": middle},
            ]
        if second:
            sibling, gone_sibling = (self.sibling(f"{kind}-{name}") for kind in ("deep", "gone"))
            other = self.chain(second[0], sibling)
            jobs += [
                {"part": "sibling", "kind": "certificate", "file": self.sibling(f"leaf-{name}"), "issuer": self.authority(second[0])},
                {"part": "sibling's chain", "kind": "chain", "file": sibling, **other},
                {"part": "sibling's chain", "kind": "chain", "file": gone_sibling, **other, "expect": "refused"},
                {"part": "binding", "kind": "related", "file": sibling, "other": deep},
            ]
        return jobs

    def chain(self, ca, certificate):
        """What is above a certificate of the CA that stands below another."""
        middle, top = self.authority(f"{ca}-below"), self.authority(f"{ca}-top")
        return {"chain": [middle], "root": top, "crls": [self.crl(certificate), self.crl(middle)]}

    def given(self, common_name):
        """What the inventory has of the certificate that the device was given."""
        [row] = [row for row in self.certificates(common_name) if not row.get("sibling_of")]
        return row

    def sibling(self, common_name):
        """The second certificate of a pair, which stays in the inventory."""
        path = self.made / f"{common_name}.sibling.der"
        self.command("certificate", "export", self.given(common_name)["fingerprint"], "--sibling", "--format", "der", "--out", path).ok()
        return str(path)

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
        command += ["--challenge", self.challenge("default"), "--max-poll", "0"]
        # What makes no signatures that CMS knows travels in a message that another key signs.
        other = key_type.startswith(("mldsa", "slh-dsa"))
        command += ["--signer-key-type", "rsa-2048", "--signer-key", self.made / f"{name}-signer.key"] if other else []
        result = run(self.ravelin, *command, timeout=PATIENCE)
        check(result.status == 75, f"{key_type} is not pending: {result.text}")
        saved = json.loads(state.read_text())
        jobs = [{"part": "CSR", "kind": "csr", "file": self.write(f"{name}.csr", base64.b64decode(saved["csr"]))}]
        if not other:
            own = self.write(f"{name}-own.der", base64.b64decode(saved["signer-certificate"]))
            jobs.append({"part": "self-signed", "kind": "self-signed", "file": own})
        return jobs


def authorities(profile):
    """The names of the CAs that sign under a profile: two where it makes pairs."""
    found = [profile["issuer"], profile.get("alternative_issuer")]
    return [issuer.split("/", 1)[1] for issuer in found if issuer]


COMPOSITES = """mldsa44-rsa2048-pss-sha256 mldsa44-rsa2048-pkcs15-sha256 mldsa44-ed25519-sha512 mldsa44-ecdsa-p256-sha256
    mldsa65-rsa3072-pss-sha512 mldsa65-rsa3072-pkcs15-sha512 mldsa65-rsa4096-pss-sha512 mldsa65-rsa4096-pkcs15-sha512
    mldsa65-ecdsa-p256-sha512 mldsa65-ecdsa-p384-sha512 mldsa65-ed25519-sha512 mldsa87-ecdsa-p384-sha512 mldsa87-rsa3072-pss-sha512
    mldsa87-rsa4096-pss-sha512 mldsa87-ecdsa-p521-sha512""".split()
FAMILIES = {
    "ecdsa-*": [f"ecdsa-{curve}" for curve in ("p256", "p384", "p521")],
    "ml-dsa-*": [f"ml-dsa-{level}" for level in (44, 65, 87)],
    "slh-dsa-*": [f"slh-dsa-{hash}-{size}{kind}" for hash in ("sha2", "shake") for size in (128, 192, 256) for kind in "sf"],
    "composite-*": COMPOSITES,
}


def key_types(profile):
    """The keys that a profile accepts, one by one."""
    found = []
    for word in profile["accepts"]:
        kind, _, sizes = word.partition("-")
        if word in FAMILIES:
            found += FAMILIES[word]
        elif ".." in sizes:
            low, high = (int(size) for size in sizes.split(".."))
            found += [f"{kind}-{size}" for size in (2048, 3072, 4096) if low <= size <= high]
        else:
            found.append(word)
    if not found:
        raise Failed(f"{profile['name']} accepts nothing")
    return found
