"""moto, a simulator of AWS that others wrote, behind TLS and a front of ours that checks each request: its signature and all that is in it
(see aws_contract.py). What is wrong is a line `violation` on standard output.

    aws_front.py PORT FOLDER OPENSSL METADATA-PORT

moto makes and signs the certificates, keeps the books of what was issued and revoked, and gives credentials as an EC2 instance has them (plain
HTTP at METADATA-PORT). What AWS documents and moto lacks is added here, out of AWS's documentation:

- the same IdempotencyToken within five minutes is the same order; moto signs anew each time;
- the first GetCertificate of each certificate, and those within four seconds for a name that begins with "wait", is RequestInProgressException;
  an order for such a name is throttled at first;
- a name that begins with "refuse" is MalformedCSRException; a serial number that nobody was given is ResourceNotFoundException; one that is
  revoked already is RequestAlreadyProcessedException;
- the CRL: made out of moto's list of what is revoked, with moto's key, and put where AWS puts it, into the bucket of the CA (moto's S3);
- a template `EndEntityCertificate_APIPassthrough/V1`: moto is given the default template, and the names in the certificate have to be those that
  ApiPassthrough asks for.

moto gives each certificate a year and signs it with SHA-512, whatever is asked for.

The folder holds what `peers/pki.py` makes, and key-id, key-secret, key-token. When all is ready, the ARN of the CA is in the file `arn`, its
certificate in moto-ca.pem, its chain in moto-chain.pem, its CRL in stub.crl.
"""

import base64
import datetime
import ipaddress
import json
import ssl
import subprocess
import sys
import threading
import time
import traceback
from http.server import ThreadingHTTPServer
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402
import botocore.session  # noqa: E402
from aws_contract import JSON, Contract, Refused, Signatures  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from moto.acmpca.models import acmpca_backends  # noqa: E402
from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from stub_ca import Handler, Server, say  # noqa: E402
from werkzeug.test import Client  # noqa: E402

REGION, BUCKET = "eu-central-1", "peer-crls"
TOKEN_HOLDS, IN_PROGRESS = 300, 4
PASSING, DEFAULT = ("arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1", "arn:aws:acm-pca:::template/EndEntityCertificate/V1")
METADATA_KEY = {"test-key": ("test-secret-key", "test-session-token")}
"""What moto's metadata service gives."""


class Moto:
    """moto's programs, asked as its own server asks them."""

    def __init__(self):
        self.app, self.lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def ask(self, method, path, headers=None, body=b""):
        """Status, Content-Type, body."""
        with self.lock:
            answer = Client(self.app).open(path, method=method, headers=headers or {}, data=body)
            return answer.status_code, answer.content_type, answer.get_data()

    def ca(self, arn):
        """Its own books of a CA."""
        return acmpca_backends[DEFAULT_ACCOUNT_ID][REGION].certificate_authorities[arn]


class Front:
    """What AWS documents and moto lacks."""

    def __init__(self, folder, moto):
        self.folder, self.moto, self.contract = Path(folder), moto, Contract()
        key_id, secret, token = ((self.folder / f"key-{part}").read_text().strip() for part in ("id", "secret", "token"))
        self.signatures = Signatures(REGION, {key_id: (secret, token), **METADATA_KEY})
        self.lock, self.counts = threading.Lock(), False
        self.orders, self.throttled, self.asked, self.number = {}, set(), {}, 0

    def violation(self, what):
        if self.counts:
            say(f"violation {what}")

    def answered(self, method, path, headers, body):
        """Status, Content-Type, body."""
        if method == "GET" and path.startswith(f"/{BUCKET}/"):
            return self.moto.ask("GET", path)
        try:
            if (method, path) != ("POST", "/"):
                raise Refused("UnknownOperationException", f"{method} {path}", 404)
            self.signatures.check(method, path, headers, body)
            operation, asked, wrong = self.contract.read(headers, body)
            if wrong:
                raise Refused("ValidationException", "; ".join(wrong))
        except Refused as refused:
            self.violation(f"{method} {path} {headers.get('x-amz-target')}: {refused.kind}: {refused.message}")
            return failed(refused)
        kept = {name: value for name, value in headers.items() if name in ("authorization", "content-type") or name.startswith("x-amz-")}
        pass_on = lambda sent=body: self.moto.ask(method, path, kept, sent)  # noqa: E731
        through = {"IssueCertificate": self.issue, "GetCertificate": self.get, "RevokeCertificate": self.revoke}.get(operation)
        try:
            return through(asked, json.loads(body), pass_on) if through else pass_on()
        except Refused as refused:
            say(f"refused {operation}: {refused.kind}: {refused.message}")
            return failed(refused)

    def issue(self, asked, sent, pass_on):
        name, token = self.inspected(asked), asked["IdempotencyToken"]
        with self.lock:
            if name.startswith("wait") and token not in self.throttled:
                self.throttled.add(token)
                raise Refused("ThrottlingException", "Rate exceeded")
            known = self.orders.get(token)
            if known and time.monotonic() - known["since"] < TOKEN_HOLDS:
                if known["sent"] != sent:
                    self.violation(f"IssueCertificate: another order with the token {token} of {name}")
                say(f"again {name}")
                return 200, JSON, json.dumps({"CertificateArn": known["arn"]}).encode()
            if sent.get("TemplateArn") == PASSING:
                status, kind, answer = pass_on(json.dumps({**sent, "TemplateArn": DEFAULT}).encode())
            else:
                status, kind, answer = pass_on()
            if status == 200:
                arn = json.loads(answer)["CertificateArn"]
                self.orders[token] = {"sent": sent, "arn": arn, "since": time.monotonic(), "name": name}
                issued = x509.load_pem_x509_certificate(self.moto.ca(asked["CertificateAuthorityArn"]).issued_certificates[arn])
                if "ApiPassthrough" in asked and passed(asked["ApiPassthrough"]) != names(issued):
                    self.violation(f"IssueCertificate: {asked['ApiPassthrough']} for a certificate with {names(issued)}")
                say(f"issued {issued.serial_number:X} {name}")
        return status, kind, answer

    def inspected(self, asked):
        """The common name in a request that AWS would take."""
        try:
            request = x509.load_pem_x509_csr(asked["Csr"])
            sound = request.is_signature_valid
        except ValueError:
            sound = False
        common = sound and request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if not common or common[0].value.startswith("refuse"):
            raise Refused("MalformedCSRException", "The certificate signing request is invalid.")
        ca = self.moto.ca(asked["CertificateAuthorityArn"])
        if "RSA" not in asked["SigningAlgorithm"]:
            raise Refused("InvalidArgsException", "The signing algorithm is of another family than the key of the CA.")
        times = {one: asked[one]["Value"] for one in ("Validity", "ValidityNotBefore") if asked.get(one, {}).get("Type") == "ABSOLUTE"}
        end = times.get("Validity", 0)
        if not max(time.time(), times.get("ValidityNotBefore", 0)) < end <= ca.not_valid_after:
            raise Refused("ValidationException", "The validity that is asked for ends before it begins, or after that of the CA.")
        return common[0].value

    def get(self, asked, _, pass_on):
        arn = asked["CertificateArn"]
        with self.lock:
            order = next((one for one in self.orders.values() if one["arn"] == arn), None)
            if order is None:
                raise Refused("ResourceNotFoundException", f"Could not find {arn}")
            before = self.asked[arn] = self.asked.get(arn, 0) + 1
            wanted = IN_PROGRESS if order["name"].startswith("wait") else 0
            if before == 1 or time.monotonic() - order["since"] < wanted:
                raise Refused("RequestInProgressException", "The certificate is being issued.")
        return pass_on()

    def revoke(self, asked, _, pass_on):
        ca, serial = self.moto.ca(asked["CertificateAuthorityArn"]), int(asked["CertificateSerial"].replace(":", ""), 16)
        with self.lock:
            if serial not in [x509.load_pem_x509_certificate(one).serial_number for one in ca.issued_certificates.values()]:
                raise Refused("ResourceNotFoundException", "Could not find a certificate with this serial number.")
            if asked["CertificateSerial"] in ca.revoked_certificates:
                raise Refused("RequestAlreadyProcessedException", "The certificate is revoked already.")
            done = pass_on()
            say(f"revoked {serial:X} {ca.revoked_certificates[asked['CertificateSerial']]['revocation_reason']}")
            self.publish(ca)
        return done

    def publish(self, ca):
        """The CRL, into the CA's bucket."""
        now, self.number = datetime.datetime.now(datetime.timezone.utc), self.number + 1
        made = x509.CertificateRevocationListBuilder(ca.certificate.subject, now, now + datetime.timedelta(days=7))
        made = made.add_extension(x509.CRLNumber(self.number), False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), False)
        for serial, row in ca.revoked_certificates.items():
            one = x509.RevokedCertificateBuilder().serial_number(int(serial.replace(":", ""), 16)).revocation_date(now)
            reason = x509.ReasonFlags[row["revocation_reason"].lower().replace("certificate_authority", "ca").replace("a_a", "aa")]
            if reason is not x509.ReasonFlags.unspecified:
                one = one.add_extension(x509.CRLReason(reason), False)
            made = made.add_revoked_certificate(one.build())
        der = made.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        status, _, text = self.moto.ask("PUT", f"/{BUCKET}/crl/{ca.id}.crl", {"x-amz-acl": "public-read"}, der)
        if status != 200:
            raise RuntimeError(f"moto's S3 says {status}: {text}")
        (self.folder / "stub.crl").write_bytes(der)


def failed(refused):
    return refused.status, JSON, json.dumps({"__type": refused.kind, "message": refused.message}).encode()


def passed(asked):
    """Subject and names of ApiPassthrough, and no more than those."""
    subject = [(one["ObjectIdentifier"], one["Value"]) for one in asked.get("Subject", {}).get("CustomAttributes", [])]
    names = [next(iter(one.items())) for one in asked.get("Extensions", {}).get("SubjectAlternativeNames", [])]
    other = [*set(asked) - {"Subject", "Extensions"}, *set(asked.get("Extensions", {})) - {"SubjectAlternativeNames"}]
    return subject, names, other


def names(certificate):
    """The same of a certificate."""
    subject = [(one.oid.dotted_string, one.value) for one in certificate.subject]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = []
    kinds = {x509.DNSName: "DnsName", x509.IPAddress: "IpAddress", x509.RFC822Name: "Rfc822Name", x509.UniformResourceIdentifier: "UniformResourceIdentifier"}
    text = lambda value: str(value) if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)) else value  # noqa: E731
    return subject, [(kinds[type(one)], text(one.value)) for one in found], []


def client(port, folder, key):
    """botocore's own client, at our front."""
    plain = botocore.config.Config(proxies={}, retries={"total_max_attempts": 1})
    name, (secret, token) = key
    keys = {"aws_access_key_id": name, "aws_secret_access_key": secret, "aws_session_token": token}
    where = {"region_name": REGION, "endpoint_url": f"https://127.0.0.1:{port}", "verify": f"{folder}/root.pem"}
    return botocore.session.get_session().create_client("acm-pca", config=plain, **where, **keys)


def set_up(front, port, folder, openssl):
    """The CA, by the operations that AWS has for it, asked by botocore's client; and whether our checks find anything."""
    key = next(iter(front.signatures.keys.items()))
    aws = client(port, folder, key)
    front.moto.ask("PUT", f"/{BUCKET}")
    made = aws.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA512WITHRSA",
            "Subject": {"Organization": "Peer", "CommonName": "Peer AWS CA"},
        },
        RevocationConfiguration={"CrlConfiguration": {"Enabled": True, "ExpirationInDays": 7, "S3BucketName": BUCKET}},
        CertificateAuthorityType="SUBORDINATE",
        IdempotencyToken="set-up",
    )
    arn = made["CertificateAuthorityArn"]
    (folder / "moto.csr").write_text(aws.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"] + "\n")
    dates = ["-not_before", (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).strftime("%Y%m%d%H%M%SZ")]
    dates += ["-not_after", "20451231235959Z"]
    above = ["-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "pki.cnf", "-extensions", "ca"]
    command = [*openssl.split(), "x509", "-req", "-in", "moto.csr", *above, *dates, "-out", "moto-ca.pem"]
    subprocess.run(command, cwd=folder, env={"OPENSSL_CONF": "/dev/null"}, check=True, capture_output=True)
    ca, root = ((folder / name).read_bytes() for name in ("moto-ca.pem", "root.pem"))
    aws.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=ca, CertificateChain=root)
    (folder / "moto-chain.pem").write_bytes(ca + root)
    front.publish(front.moto.ca(arn))
    doubt(front, port, folder, key, arn)
    front.counts = True
    (folder / "arn.new").write_text(arn)
    (folder / "arn.new").rename(folder / "arn")


def doubt(front, port, folder, key, arn):
    """Our own checks refuse what they are there to refuse."""
    name, (secret, token) = key
    for wrong, kind in (((name, ("x" + secret, token)), "InvalidSignature"), ((name, (secret, "x")), "UnrecognizedClient"), (("x", ("x", "x")), "UnrecognizedClient")):
        try:
            client(port, folder, wrong).describe_certificate_authority(CertificateAuthorityArn=arn)
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == f"{kind}Exception":
                continue
        raise RuntimeError(f"a wrong key is not refused by {kind}Exception")
    order = {
        "CertificateAuthorityArn": arn,
        "Csr": base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----").decode(),
        "SigningAlgorithm": "SHA256WITHRSA",
        "Validity": {"Type": "ABSOLUTE", "Value": 1},
        "IdempotencyToken": "a",
    }
    serial = {"CertificateAuthorityArn": arn, "RevocationReason": "SUPERSEDED"}
    for operation, sent, good in (
        ("IssueCertificate", order, True),
        ("IssueCertificate", {**order, "Unknown": 1}, False),
        ("IssueCertificate", {**order, "SigningAlgorithm": "SHA1WITHRSA"}, False),
        ("IssueCertificate", {**order, "IdempotencyToken": "a" * 37}, False),
        ("IssueCertificate", {**order, "Csr": "-----BEGIN CERTIFICATE REQUEST-----"}, False),
        ("IssueCertificate", {**order, "Validity": {"Type": "ABSOLUTE", "Value": "1"}}, False),
        ("IssueCertificate", {**order, "CertificateAuthorityArn": "arn:aws:acm:::x"}, False),
        ("IssueCertificate", {part: value for part, value in order.items() if part != "Validity"}, False),
        ("IssueCertificate", {**order, "TemplateArn": PASSING, "ApiPassthrough": {"Extensions": {"SubjectAlternativeNames": []}}}, False),
        ("RevokeCertificate", {**serial, "CertificateSerial": "0a:ff"}, True),
        ("RevokeCertificate", {**serial, "CertificateSerial": "0aff"}, False),
    ):
        _, _, wrong = front.contract.read({"x-amz-target": f"ACMPrivateCA.{operation}", "content-type": JSON}, json.dumps(sent).encode())
        if good is bool(wrong):
            raise RuntimeError(f"{operation} {sent}: {wrong}")


class Api(Handler):
    """One request to the API, or for the CRL."""

    front = None

    def answered(self, body):
        status, kind, answer = self.front.answered(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        return status, {"Content-Type": kind}, answer


class Metadata(Handler):
    """One request to moto's metadata service, by IMDSv2: moto itself asks for no token."""

    moto = None

    def answered(self, body):
        first = (self.command, self.path) == ("PUT", "/latest/api/token")
        of_first = "x-aws-ec2-metadata-token-ttl-seconds" in self.headers
        if not (of_first if first else self.headers.get("x-aws-ec2-metadata-token") == "fake-imdsv2-token"):
            return 400 if first else 401, {}, b""
        status, kind, answer = self.moto.ask(self.command, self.path, body=body)
        return status, {"Content-Type": kind}, answer


def main():
    port, folder, openssl, metadata = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    (folder / "arn").unlink(missing_ok=True)
    Metadata.moto = Moto()
    Api.front = front = Front(folder, Metadata.moto)
    server = Server(port, folder, Api, ssl.CERT_NONE)
    beside = ThreadingHTTPServer(("127.0.0.1", metadata), Metadata)
    threading.Thread(target=beside.serve_forever, daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        set_up(front, port, folder, openssl)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    threading.Event().wait()


if __name__ == "__main__":
    main()
