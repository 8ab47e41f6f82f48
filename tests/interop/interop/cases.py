"""What is checked: each case is one client doing one thing, and what must be true afterwards, on both sides."""

import threading
from pathlib import Path

from . import clients
from .clients import rsa_key, write_certificate
from .tools import Failed, certificate_field, check, openssl, public_key_of_certificate, public_key_of_key, run, tail, until
from .wire import Wire, get_http_1_0, pass_on, pass_on_as_old_router

CASES = []


def case(client, title):
    """Puts a check into the list: `client` names the column, `title` the row."""

    def put(function):
        CASES.append((client, title, function))
        return function

    return put


class Bench:
    """What the cases share: the service, a folder, the clients that are here."""

    def __init__(self, site, work):
        self.site, self.work = site, Path(work)
        self.roots = site.roots()
        self.strongswan = clients.StrongSwan(self.folder("strongswan"))
        self.scepclient = clients.ScepClient(self.folder("scepclient"))
        self.certmonger = None
        self.pyscep = None
        self.jscep = None

    def folder(self, name):
        folder = self.work / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def good(self, certificate, key, common_name):
        """The certificate is for this key and this name, chains to the root, is not revoked, and is in the inventory."""
        check(public_key_of_certificate(certificate) == public_key_of_key(key), "the certificate is for another key")
        subject = certificate_field(certificate, "-subject")
        check(f"CN={common_name}" in subject.split(","), f"the subject is {subject}")
        self.verify(certificate).ok()
        serial = certificate_field(certificate, "-serial").lower().lstrip("0")
        known = [row for row in self.site.certificates(common_name) if row["serial"].lower().lstrip("0") == serial]
        check(len(known) == 1, f"the inventory has {len(known)} certificates with serial {serial} for {common_name}")
        return known[0]

    def verify(self, certificate):
        """OpenSSL's strict judgement, with the CRL that the certificate itself points to."""
        text = openssl("x509", "-in", certificate, "-noout", "-ext", "crlDistributionPoints").out.decode()
        points = [word.split("URI:", 1)[1] for word in text.split() if "URI:" in word]
        check(points, "the certificate has no CRL distribution point")
        command = ["verify", "-x509_strict", "-crl_check", "-CRLfile", self.site.crl(points[0])]
        for root in self.roots:
            command += ["-trusted", root]
        return openssl(*command, certificate)

    def none(self, common_name):
        check(not self.site.certificates(common_name), f"{common_name} was given a certificate")


# --- no client at all: the first two operations as old devices ask ---


@case("HTTP/1.0", "GetCACaps and GetCACert, no Host header, /pkiclient.exe")
def first_operations(bench):
    path = "/scep/routers/pkiclient.exe"
    status, kind, body = get_http_1_0(bench.site.port, f"{path}?operation=GetCACaps&message=default")
    check((status, kind) == (200, "text/plain"), f"GetCACaps: {status} {kind}")
    capabilities = body.decode().split()
    for wanted in ("AES", "POSTPKIOperation", "Renewal", "SHA-256", "SHA-384", "SHA-512", "SCEPStandard"):
        check(wanted in capabilities, f"GetCACaps does not name {wanted}: {capabilities}")
    status, kind, body = get_http_1_0(bench.site.port, f"{path}?operation=GetCACert")
    check((status, kind) == (200, "application/x-x509-ca-ra-cert"), f"GetCACert: {status} {kind}")
    text = openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=body).ok().out
    check(text.count(b"BEGIN CERTIFICATE") >= 3, "GetCACert brings fewer than three certificates")
    status, _, body = get_http_1_0(bench.site.port, f"{path}?operation=Nonsense")
    check(400 <= status < 500 and status != 404, f"an unknown operation is answered {status}")


@case("HTTP/1.0", "the legacy endpoint names what it takes, the default one does not")
def capabilities_follow_settings(bench):
    legacy, default = (get_http_1_0(bench.site.port, f"/scep/{name}?operation=GetCACaps")[2].decode().split() for name in ("legacy", "routers"))
    check("DES3" in legacy and "SHA-1" in legacy, f"legacy: {legacy}")
    check("DES3" not in default and "SHA-1" not in default, f"default: {default}")


# --- strongSwan ---


def swan_enroll(bench, group, name, url=None, **options):
    folder = bench.folder("strongswan")
    key = rsa_key(folder / f"{name}.key")
    result = bench.strongswan.enroll(url or bench.site.url(group), f"O=Interop, CN={name}", key, **options)
    return result, key, folder / f"{name}.pem"


def swan_good(bench, group, name, **options):
    result, key, path = swan_enroll(bench, group, name, challenge=bench.site.challenge(group), **options)
    result.ok()
    return bench.good(write_certificate(path, result.out.decode()), key, name), path, key


@case("strongSwan", "enroll by POST, with a SAN")
def swan_first(bench):
    record, path, _ = swan_good(bench, "routers", "sw-first", san="sw-first.example.net")
    text = openssl("x509", "-in", path, "-noout", "-ext", "subjectAltName,keyUsage,extendedKeyUsage").ok().out
    check(b"DNS:sw-first.example.net" in text, "the SAN is missing")
    check(b"TLS Web Client Authentication" in text and b"Digital Signature" in text, f"usages: {text}")
    check(record["group"] == "routers", f"group {record['group']}")


@case("strongSwan", "enroll with SHA-512")
def swan_sha512(bench):
    swan_good(bench, "routers", "sw-sha512", digest="sha512")


@case("strongSwan", "enroll by GET over HTTP/1.0, URL-safe base64 with line breaks")
def swan_old_router(bench):
    wire = Wire(pass_on_as_old_router(bench.site.port))
    try:
        swan_good(bench, "routers", "sw-get", url=wire.url("/scep/routers"))
        check(wire.operations(), "nothing went over this wire")
    finally:
        wire.close()


@case("strongSwan", "renew by certificate, new key, no challenge")
def swan_renew(bench):
    record, old, old_key = swan_good(bench, "routers", "sw-renew")
    result, key, path = swan_enroll(bench, "routers", "sw-renew", old=(old, _copy(old_key)))
    result.ok()
    renewed = bench.good(write_certificate(path.with_suffix(".new.pem"), result.out.decode()), key, "sw-renew")
    check(renewed["serial"] != record["serial"], "the same certificate came back")
    check(renewed["renews"] == record["fingerprint"], f"it renews {renewed['renews']}, not {record['fingerprint']}")


def _copy(key):
    """The old key under a name of its own: the next enrollment of the device makes a new file."""
    copy = key.with_suffix(".old")
    copy.write_bytes(key.read_bytes())
    return copy


@case("strongSwan", "renew under another name is refused")
def swan_renew_other_name(bench):
    _, old, old_key = swan_good(bench, "routers", "sw-mine")
    result, _, _ = swan_enroll(bench, "routers", "sw-yours", old=(old, old_key))
    result.refused()
    bench.none("sw-yours")


@case("strongSwan", "pending, approved, collected by CertPoll")
def swan_pending(bench):
    approver = threading.Thread(target=lambda: bench.site.approve("sw-wait"))
    wire = Wire(pass_on(bench.site.port))
    try:
        approver.start()
        swan_good(bench, "manual", "sw-wait", url=wire.url("/scep/manual"), poll=(2, 30))
        check(len(wire.operations()) >= 2, "it never polled")
    finally:
        approver.join(40)
        wire.close()


@case("strongSwan", "pending, denied")
def swan_denied(bench):
    approver = threading.Thread(target=lambda: bench.site.approve("sw-denied", "deny"))
    approver.start()
    try:
        swan_enroll(bench, "manual", "sw-denied", challenge=bench.site.challenge("manual"), poll=(2, 30))[0].refused()
    finally:
        approver.join(40)
    bench.none("sw-denied")


@case("strongSwan", "wrong challenge is refused")
def swan_wrong_challenge(bench):
    result, _, _ = swan_enroll(bench, "routers", "sw-wrong", challenge="not-the-challenge")
    result.refused()
    check("badRequest" in result.text or "bad request" in result.text.lower() or "failInfo" in result.text, tail(result.text))
    check(bench.site.refusals("challenge-wrong") > 0, "the log does not say challenge-wrong")
    bench.none("sw-wrong")


@case("strongSwan", "no challenge is refused")
def swan_no_challenge(bench):
    swan_enroll(bench, "routers", "sw-without")[0].refused()
    bench.none("sw-without")


@case("strongSwan", "one-time challenge used twice")
def swan_twice(bench):
    challenge = bench.site.challenge("routers")
    result, key, path = swan_enroll(bench, "routers", "sw-once", challenge=challenge)
    result.ok()
    bench.good(write_certificate(path, result.out.decode()), key, "sw-once")
    swan_enroll(bench, "routers", "sw-again", challenge=challenge)[0].refused()
    check(bench.site.refusals("challenge-spent") > 0, "the log does not say challenge-spent")
    bench.none("sw-again")


@case("strongSwan", "a challenge of another group is refused")
def swan_other_group(bench):
    swan_enroll(bench, "routers", "sw-stray", challenge=bench.site.challenge("manual"))[0].refused()
    bench.none("sw-stray")


@case("strongSwan", "refused by policy: a subject that the group does not allow")
def swan_policy(bench):
    key = rsa_key(bench.folder("strongswan") / "sw-policy.key")
    challenge = bench.site.challenge("routers")
    bench.strongswan.enroll(bench.site.url("routers"), "O=Elsewhere, CN=sw-policy", key, challenge=challenge).refused()
    check(bench.site.refusals("subject-not-allowed") > 0, "the log does not say subject-not-allowed")
    bench.none("sw-policy")
    # What policy refused has not spent the challenge.
    result, key, path = swan_enroll(bench, "routers", "sw-allowed", challenge=challenge)
    result.ok()
    bench.good(write_certificate(path, result.out.decode()), key, "sw-allowed")


@case("strongSwan", "refused by policy: a weak key")
def swan_weak(bench):
    key = rsa_key(bench.folder("strongswan") / "sw-weak.key", 1024)
    bench.strongswan.enroll(bench.site.url("routers"), "O=Interop, CN=sw-weak", key, challenge=bench.site.challenge("routers")).refused()
    bench.none("sw-weak")


@case("strongSwan", "revoked: OpenSSL sees it in the CRL, and the certificate renews no more")
def swan_revoked(bench):
    record, old, old_key = swan_good(bench, "routers", "sw-revoked")
    bench.site.command("certificate", "revoke", record["serial"], "--reason", "keyCompromise").ok()
    check(b"revoked" in bench.verify(old).refused().err.lower(), "OpenSSL does not say that it is revoked")
    swan_enroll(bench, "routers", "sw-revoked", old=(old, _copy(old_key)))[0].refused()
    check(len(bench.site.certificates("sw-revoked")) == 1, "it was renewed")


# --- micromdm scepclient ---


def micromdm(bench, group, name, challenge, url=None, timeout=60):
    folder = bench.folder(f"scepclient/{name}")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    result = bench.scepclient.enroll(url or bench.site.url(group), f"CN={name},O=Interop", key, certificate, challenge, timeout)
    return result, key, certificate


@case("scepclient", "enroll at the legacy endpoint: DES, SHA-1, POST")
def micromdm_first(bench):
    result, key, certificate = micromdm(bench, "legacy", "mm-first", bench.site.challenge("legacy"))
    result.ok()
    bench.good(certificate, key, "mm-first")


@case("scepclient", "enroll by GET over HTTP/1.0")
def micromdm_get(bench):
    wire = Wire(pass_on_as_old_router(bench.site.port))
    try:
        result, key, certificate = micromdm(bench, "legacy", "mm-get", bench.site.challenge("legacy"), wire.url("/scep/legacy"))
        result.ok()
        bench.good(certificate, key, "mm-get")
    finally:
        wire.close()


@case("scepclient", "refused by the default endpoint: no DES, no SHA-1")
def micromdm_default(bench):
    result, _, certificate = micromdm(bench, "routers", "mm-default", bench.site.challenge("routers"))
    result.refused()
    check(not certificate.exists(), "it wrote a certificate")
    bench.none("mm-default")


@case("scepclient", "renew by certificate, same key")
def micromdm_renew(bench):
    result, key, certificate = micromdm(bench, "legacy", "mm-renew", bench.site.challenge("legacy"))
    result.ok()
    record = bench.good(certificate, key, "mm-renew")
    micromdm(bench, "legacy", "mm-renew", None)[0].ok()
    renewed = bench.good(certificate, key, "mm-renew")
    check(renewed["renews"] == record["fingerprint"], f"it renews {renewed['renews']}")


@case("scepclient", "wrong challenge is refused")
def micromdm_wrong(bench):
    micromdm(bench, "legacy", "mm-wrong", "not-the-challenge")[0].refused()
    bench.none("mm-wrong")


@case("scepclient", "pending, approved, collected by sending the same message again after 30 s")
def micromdm_pending(bench):
    approver = threading.Thread(target=lambda: bench.site.approve("mm-wait"))
    wire = Wire(pass_on(bench.site.port))
    try:
        approver.start()
        challenge = bench.site.challenge("legacy-manual")
        result, key, certificate = micromdm(bench, "legacy-manual", "mm-wait", challenge, wire.url("/scep/legacy-manual"), timeout=90)
        result.ok()
        bench.good(certificate, key, "mm-wait")
        messages = [seen.message for seen in wire.operations()]
        check(len(messages) >= 2 and len(set(messages)) == 1, f"it sent {len(messages)} messages")
    finally:
        approver.join(40)
        wire.close()


# --- certmonger ---


def monger_ca(bench, group):
    name = f"ravelin-{group}"
    if name not in bench.certmonger.getcert("list-cas").text:
        bench.certmonger.add_ca(name, bench.site.url(group), bench.roots[0])
    return name


@case("certmonger", "enroll: GET, an underscore in a PrintableString, X.509 v1 signer")
def monger_first(bench):
    certificate, key = bench.certmonger.request(monger_ca(bench, "routers"), "first", "CN=cm_first,O=Interop", bench.site.challenge("routers"))
    bench.certmonger.wait("first", "MONITORING")
    bench.good(certificate, key, "cm_first")


@case("certmonger", "renew: PKCSReq signed by the old certificate, same key, same transactionID")
def monger_renew(bench):
    certificate, key = bench.certmonger.request(monger_ca(bench, "routers"), "renew", "CN=cm-renew,O=Interop", bench.site.challenge("routers"))
    bench.certmonger.wait("renew", "MONITORING")
    record = bench.good(certificate, key, "cm-renew")
    bench.certmonger.getcert("resubmit", "-i", "renew").ok()
    until("a second certificate", lambda: len(bench.site.certificates("cm-renew")) == 2, 60, 0.5)
    bench.certmonger.wait("renew", "MONITORING")
    until("certmonger to store it", lambda: certificate_field(certificate, "-serial").lower().lstrip("0") != record["serial"].lstrip("0"), 20)
    renewed = bench.good(certificate, key, "cm-renew")
    check(renewed["renews"] == record["fingerprint"], f"it renews {renewed['renews']}")


@case("certmonger", "wrong challenge is refused: CA_REJECTED")
def monger_wrong(bench):
    bench.certmonger.request(monger_ca(bench, "routers"), "wrong", "CN=cm-wrong,O=Interop", "not-the-challenge")
    bench.certmonger.wait("wrong", "CA_REJECTED")
    bench.none("cm-wrong")


@case("certmonger", "pending, approved, collected by poll")
def monger_pending(bench):
    certificate, key = bench.certmonger.request(monger_ca(bench, "manual"), "wait", "CN=cm-wait,O=Interop", bench.site.challenge("manual"))
    bench.site.approve("cm-wait")

    def collected():
        if bench.certmonger.status("wait") == "MONITORING":
            return True
        # It would come back by itself, much later.
        bench.certmonger.getcert("refresh", "-i", "wait")
        return False

    try:
        until("certmonger to collect it", collected, 60, 2)
    except Failed as error:
        raise Failed(f"{error}\n{tail(bench.certmonger.getcert('list', '-i', 'wait').text)}") from None
    bench.good(certificate, key, "cm-wait")


# --- PyScep ---


@case("PyScep", "wrong challenge is refused: badRequest")
def pyscep_wrong(bench):
    result = bench.pyscep.drive("enroll", bench.site.url("plain"), bench.folder("pyscep/wrong"), "py-wrong", "not-the-challenge")
    check(result.status == 4, tail(result.text))
    bench.none("py-wrong")


@case("PyScep", "enroll: AES-256, SHA-512, no signingTime")
def pyscep_first(bench):
    folder = bench.folder("pyscep/first")
    bench.pyscep.drive("enroll", bench.site.url("plain"), folder, "py-first", bench.site.challenge("plain")).ok()
    bench.good(folder / "new.pem", folder / "new.key", "py-first")


@case("PyScep", "renew: PKCSReq signed by the old certificate")
def pyscep_renew(bench):
    folder = bench.folder("pyscep/renew")
    bench.pyscep.drive("enroll", bench.site.url("plain"), folder, "py-renew", bench.site.challenge("plain")).ok()
    record = bench.good(folder / "new.pem", folder / "new.key", "py-renew")
    bench.pyscep.drive("renew", bench.site.url("plain"), folder, "py-renew").ok()
    renewed = bench.good(folder / "new.pem", folder / "new.key", "py-renew")
    check(renewed["renews"] == record["fingerprint"], f"it renews {renewed['renews']}")


# --- jscep ---


def java(bench, action, group, folder, *arguments, method="auto"):
    return bench.jscep.drive(action, bench.site.url(group), folder, method, *arguments)


def java_good(bench, group, name, method="auto"):
    folder = bench.folder(f"jscep-cases/{name}")
    java(bench, "enroll", group, folder, name, bench.site.challenge(group), method=method).ok()
    return folder, bench.good(folder / "cert.pem", folder / "key.pem", name)


@case("jscep", "enroll by POST, then GetCert and GetCRL")
def java_first(bench):
    folder, _ = java_good(bench, "routers", "js-first")
    java(bench, "get", "routers", folder).ok()
    own, again = (openssl("x509", "-in", folder / name, "-outform", "DER").ok().out for name in ("cert.pem", "again.pem"))
    check(own == again, "GetCert brought another certificate")
    java(bench, "crl", "routers", folder).ok()
    issuer = openssl("crl", "-inform", "DER", "-in", folder / "crl.der", "-noout", "-issuer", "-nameopt", "RFC2253").ok().out.decode()
    check(issuer.split("=", 1)[1].strip() == certificate_field(folder / "cert.pem", "-issuer"), f"GetCRL brought the CRL of {issuer}")


@case("jscep", "enroll by GET")
def java_get(bench):
    java_good(bench, "routers", "js-get", method="GET")


@case("jscep", "renew by certificate, new key, RSA issuer")
def java_renew(bench):
    # With another kind of issuer it stops by itself: it checks whether its certificate is self-signed, with the wrong kind of key.
    folder, record = java_good(bench, "plain", "js-renew")
    java(bench, "renew", "plain", folder, "js-renew").ok()
    renewed = bench.good(folder / "cert.pem", folder / "key.pem", "js-renew")
    check(renewed["renews"] == record["fingerprint"], f"it renews {renewed['renews']}")


@case("jscep", "pending, approved, collected by CertPoll")
def java_pending(bench):
    approver = threading.Thread(target=lambda: bench.site.approve("js-wait"))
    approver.start()
    try:
        java_good(bench, "manual", "js-wait")
    finally:
        approver.join(40)


@case("jscep", "enrollments through a rollover of the RA; its GetNextCACert wants the RA's own signature")
def java_rollover(bench):
    folder = bench.folder("jscep-cases/js-rollover")
    java(bench, "next", "routers", folder).refused()
    # The RA's certificates are those of a CA above it: the one that is there already.
    status = bench.site.json("ra", "status")
    issuer = status["sets"][0]["signer"]["issuer"]
    cas = bench.site.json("ca", "list")["cas"]
    above = next(ca["name"] for ca in cas if ca["subject"] == issuer)
    bench.site.command("ra", "rollover", "prepare", "--ca", above).ok()
    # It takes the announcement of nobody but the RA's signing key; what RFC 8894 says, and we do, is the CA's.
    asked = java(bench, "next", "routers", folder).refused()
    check("Invalid Signer" in asked.text, asked.text)
    prepared = bench.site.json("ra", "status")["sets"][0]
    check(prepared["phase"] == "next", f"prepared is {prepared}")
    java_good(bench, "routers", "js-announced")
    bench.site.command("ra", "rollover", "switch").ok()
    java_good(bench, "routers", "js-switched")


@case("jscep", "wrong challenge is refused: badRequest")
def java_wrong(bench):
    result = java(bench, "enroll", "routers", bench.folder("jscep-cases/js-wrong"), "js-wrong", "not-the-challenge")
    check(result.status == 4 and "badRequest" in result.text, tail(result.text))
    bench.none("js-wrong")


# --- our own client: what none of the others can be made to do ---


def own(bench, group, name, *arguments):
    folder = bench.folder("own")
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["enroll", bench.site.url(group), "--subject", f"CN={name},O=Interop", "--key", key, "--out", certificate, "--poll-interval", "1"]
    return run(bench.site.ravelin, *command, *arguments, timeout=60), key, certificate


@case("ravelin", "enroll an EC key: the reply is encrypted with the challenge")
def own_ec(bench):
    result, key, certificate = own(bench, "routers", "ec-first", "--key-type", "ecdsa-p256", "--challenge", bench.site.challenge("routers"))
    result.ok()
    record = bench.good(certificate, key, "ec-first")
    check(record["key_algorithm"] == "ecdsa-p256", f"the key is {record['key_algorithm']}")


@case("ravelin", "an EC key renews without a challenge: refused before anything is issued")
def own_ec_renew(bench):
    result, key, certificate = own(bench, "routers", "ec-renew", "--key-type", "ecdsa-p256", "--challenge", bench.site.challenge("routers"))
    result.ok()
    old = ["--renew", certificate, "--renew-key", _copy(key)]
    folder = bench.folder("own")
    command = ["enroll", bench.site.url("routers"), "--subject", "CN=ec-renew,O=Interop", "--key-type", "ecdsa-p256"]
    command += ["--key", folder / "ec-new.key", "--out", folder / "ec-new.crt", *old]
    run(bench.site.ravelin, *command, timeout=60).refused()
    check(len(bench.site.certificates("ec-renew")) == 1, "it was renewed, and could not be delivered")


@case("ravelin", "RSAES-OAEP, AES-256, by GET")
def own_oaep(bench):
    options = ["--key-transport", "oaep-sha256", "--cipher", "aes-256-cbc", "--method", "get"]
    result, key, certificate = own(bench, "routers", "own-oaep", "--challenge", bench.site.challenge("routers"), *options)
    result.ok()
    bench.good(certificate, key, "own-oaep")
