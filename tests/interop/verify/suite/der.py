"""As much DER as it takes to damage a certificate, CRL or request in a chosen place, and to name its algorithm. Nothing is checked with it."""

import base64

STRINGS = (0x0C, 0x13, 0x16)
TIMES = (0x17, 0x18)
ALTERNATIVE_VALUE = bytes.fromhex("0603551d4a")
"""The object identifier 2.5.29.74, altSignatureValue."""


def element(der, at):
    """The element at this offset: its tag, where its content begins, and where it ends."""
    length, begin = der[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[at + 2:begin], "big")
    return der[at], begin, begin + length


def children(der, at=0):
    """The offsets of what is inside the element at this offset."""
    _, inside, end = element(der, at)
    while inside < end:
        yield inside
        inside = element(der, inside)[2]


def oid(der, at):
    """The dotted form of the object identifier at this offset."""
    _, begin, end = element(der, at)
    numbers, value = [], 0
    for octet in der[begin:end]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(part) for part in (first, numbers[0] - 40 * first, *numbers[1:]))


def signature_algorithm(der):
    """The algorithm that a certificate, CRL or request says it is signed with."""
    _, algorithm, _ = children(der)
    return oid(der, next(children(der, algorithm)))


def from_pem(text):
    """The DER of each PEM block."""
    parts = text.split("-----BEGIN ")[1:]
    return [base64.b64decode(part.split("-----\n", 1)[1].split("-----END", 1)[0]) for part in parts]


def damaged(der, alternative=False):
    """Copies with one bit changed: in the first and in the last octets of the signature, and in what is signed.

    A composite signature begins with one half and ends with the other. With `alternative`, the signature is the one in the extension.
    """
    tbs, _, signature = children(der)
    _, begin, end = element(der, signature)
    if alternative:
        begin = der.index(ALTERNATIVE_VALUE) + len(ALTERNATIVE_VALUE)
        # The octets of the extension are a BIT STRING in an OCTET STRING.
        begin = element(der, element(der, begin)[1])[1]
        end = element(der, der.index(ALTERNATIVE_VALUE) + len(ALTERNATIVE_VALUE))[2]
    return {
        # The first octet of a BIT STRING counts unused bits; an ECDSA signature begins with a tag, a length and another of each.
        "signature-first": changed(der, begin + 8),
        "signature-last": changed(der, end - 1),
        "content": changed(der, last_character(der, tbs)),
    }


def changed(der, at):
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1:]


def last_character(der, tbs):
    """Where the last digit of the last date stands, or the last letter of the last string where there is no date."""
    found = {"time": None, "string": None}

    def walk(at):
        tag, begin, end = element(der, at)
        if tag in TIMES:
            found["time"] = end - 2
        elif tag in STRINGS:
            found["string"] = end - 1
        elif tag & 0x20:
            for child in children(der, at):
                walk(child)

    walk(tbs)
    return found["time"] or found["string"]
