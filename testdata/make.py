#!/usr/bin/env python3
"""Makes those files in x509/ that the Python package `cryptography` (>= 45) makes, and spellings that no library makes willingly.

Run it in this folder, after make.sh: pip install 'cryptography>=45' && python3 make.py
"""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, padding
from cryptography.x509.oid import AttributeOID, NameOID, ExtendedKeyUsageOID
from cryptography.x509.name import _ASN1Type

HERE = pathlib.Path(__file__).parent / "x509"
DER = serialization.Encoding.DER
START = datetime.datetime(2024, 1, 1)
END = datetime.datetime(9999, 12, 31, 23, 59, 59)


def write(name, data):
    (HERE / name).write_bytes(data)


def tlv(tag, *parts):
    content = b"".join(parts)
    n = len(content)
    length = bytes([n]) if n < 128 else (lambda b: bytes([0x80 | len(b)]) + b)(n.to_bytes((n.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + content


key = ec.generate_private_key(ec.SECP256R1())
rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

# A name with every string type.
name = x509.Name([
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Käse", _type=_ASN1Type.BMPString),
    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "universal", _type=_ASN1Type.UniversalString),
    x509.NameAttribute(NameOID.LOCALITY_NAME, "Köln", _type=_ASN1Type.UTF8String),
    x509.NameAttribute(NameOID.COMMON_NAME, "dev-1", _type=_ASN1Type.PrintableString),
    x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.net", _type=_ASN1Type.IA5String),
])
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(0x80).not_valid_before(START).not_valid_after(END)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    .sign(key, hashes.SHA256())
)
write("name-strings.der", certificate.public_bytes(DER))

# A CRL with every reason.
crl = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(START).next_update(datetime.datetime(2050, 1, 1))
for number, reason in enumerate(x509.ReasonFlags):
    entry = x509.RevokedCertificateBuilder().serial_number(number + 1).revocation_date(START)
    if reason is not x509.ReasonFlags.unspecified:
        entry = entry.add_extension(x509.CRLReason(reason), critical=False)
    crl = crl.add_revoked_certificate(entry.build())
crl = crl.add_extension(x509.CRLNumber(1 << 40), critical=False)
write("crl-reasons.der", crl.sign(key, hashes.SHA256()).public_bytes(DER))

# Requests by `cryptography`, PSS among them.
request = (
    x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev-1")]))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("dev-1.example.net")]), critical=False)
    .add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")
)
write("csr-python.der", request.sign(key, hashes.SHA384()).public_bytes(DER))
pss = padding.PSS(padding.MGF1(hashes.SHA512()), padding.PSS.DIGEST_LENGTH)
write("csr-python-pss.der", request.sign(rsa_key, hashes.SHA512(), rsa_padding=pss).public_bytes(DER))


# Requests that are put together by hand: what clients send and libraries do not make.
def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytes([first * 40 + second])
    for arc in rest:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.insert(0, arc & 0x7F | 0x80)
        out += bytes(digits)
    return tlv(0x06, out)


def hand_made(file, version=0, subject=None, attributes=(), attributes_field=True):
    spki = key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    subject = subject or tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), tlv(0x0C, b"dev-1"))))
    info = tlv(0x30, tlv(0x02, bytes([version])), subject, spki, tlv(0xA0, *attributes) if attributes_field else b"")
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    write(file, tlv(0x30, info, tlv(0x30, oid("1.2.840.10045.4.3.2")), tlv(0x03, b"\0", signature)))


def attribute(which, value):
    return tlv(0x30, oid(which), tlv(0x31, value))


challenge, extension_request, friendly = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14", "1.2.840.113549.1.9.20"
san = tlv(0x30, tlv(0x30, oid("2.5.29.17"), tlv(0x04, tlv(0x30, tlv(0x82, b"dev-1.example.net")))))
for label, tag, text in [
    ("printable", 0x13, b"secret"), ("utf8", 0x0C, b"secret"), ("ia5", 0x16, b"secret"), ("t61", 0x14, b"secret"),
    ("bmp", 0x1E, "secret".encode("utf-16-be")), ("universal", 0x1C, "secret".encode("utf-32-be")),
]:
    hand_made(f"synthetic-csr-challenge-{label}.der", attributes=[attribute(challenge, tlv(tag, text))])
hand_made("synthetic-csr-version-2.der", version=2)
hand_made("synthetic-csr-no-attributes.der", attributes_field=False)
hand_made("synthetic-csr-unsorted.der", attributes=[
    attribute(friendly, tlv(0x1E, "x".encode("utf-16-be"))), attribute(extension_request, san), attribute(challenge, tlv(0x0C, b"secret")),
])
underscore = tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), tlv(0x13, b"dev_1"))))
hand_made("synthetic-csr-underscore.der", subject=underscore)
hand_made("synthetic-csr-microsoft.der", attributes=[attribute("1.3.6.1.4.1.311.2.1.14", san)])
hand_made("synthetic-csr-two-challenges.der", attributes=[attribute(challenge, tlv(0x0C, b"one")), attribute(challenge, tlv(0x0C, b"two"))])
