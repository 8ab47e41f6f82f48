"""What is checked of each line, and what is checked of all together."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

from interop.tools import check, tail, until

from .site import REFUSED, Device, revoked


def device(site, line, title, **more):
    return Device(site, line, f"device-{title}-{line.name}", **more)


def online(site, lines):
    """The real servers are as they are configured, but for what is known of them."""
    said = site.command("check-config", "--online").text
    named = set(re.findall(r"upstream `([^`]+)`", said))
    known = {line.name for line in lines if line.is_known_to_want}
    through = ("is good", "is not as it is configured", "not every upstream")
    check(any(words in said for words in through), f"check-config --online did not get so far:\n{tail(said, 40)}")
    check(named == known, f"check-config --online found something at {sorted(named)}, expected was {sorted(known)}:\n{tail(said, 30)}")


def issue(site, line):
    """A certificate at once, and one only."""
    one = device(site, line, "issue").is_issued()
    signed_once(line, one)


def wait(site, line):
    """PENDING while somebody looks at it there, then the certificate."""
    one = Device(site, line, f"{line.waits}-wait-{line.name}").is_pending()
    check(not site.certificates(one.name), "there is a certificate before the CA gave one")
    line.let_in(one.name)
    one.is_issued(polls=60)
    signed_once(line, one)


def refuse(site, line):
    """What the CA refuses is refused."""
    name, subject, sans = line.refused()
    one = Device(site, line, name, subject=subject, sans=sans).is_refused()
    check(not line.server.signed(one.name), "the CA signed what it refuses")


def revoke(site, line):
    """Revoked at the CA: its own CRL says so, and the one that Ravelin gives."""
    one = device(site, line, "revoke").is_issued()
    site.command("certificate", "revoke", one.serial(), "--reason", "superseded").ok()
    _, issuer = line.server.roots()
    command = line.server.shelf.openssl()
    until("the CA's CRL to have it", lambda: one.serial() in revoked(command, line.server.crl(), issuer, one.folder), 10)
    if line.gives_crl:
        # Who is revoked is told nothing. Where several lines lead to the same CA, the CRL may be one that another line has fetched before.
        other = device(site, line, "asks").is_issued()
        until("Ravelin's CRL to have it", lambda: one.serial() in revoked(command, site.crl(other), issuer, one.folder), 75, 5)


def revoke_only(site, line):
    """Revoked at the CA, which has no CRL and tells it in another way."""
    one = device(site, line, "revoke").is_issued()
    site.command("certificate", "revoke", one.serial(), "--reason", "superseded").ok()
    until("the CA to say so", lambda: line.server.has_revoked(one.serial()), 10)


def lies(site, line):
    """A certificate for another key, or with another name, is not delivered, and is revoked."""
    _, issuer = line.server.roots()
    command = line.server.shelf.openssl()
    for lie in ("wrongkey", "wrongname"):
        one = Device(site, line, f"{lie}-{line.name}")
        done = one.enroll(polls=5)
        check(done.status == REFUSED and not one.certificate.exists(), f"{one.name} was not refused:\n{tail(done.text)}")
        serial = line.server.serials(one.name)
        until("the CA's CRL to have it", lambda: set(serial) & set(revoked(command, line.server.crl(), issuer, one.folder)), 20)


def down(site, line):
    """While nobody is there, PENDING; when it is there again, the certificate."""
    line.gate.down()
    try:
        one = device(site, line, "down").is_pending()
        check(not line.server.signed(one.name), "a CA that is down signed")
    finally:
        line.gate.up()
    one.is_issued(polls=90)
    signed_once(line, one)


def lost(site, line):
    """The answer is lost after the CA has signed: at most one certificate is delivered, and none where nobody can know."""
    one = device(site, line, "lost")
    cuts = line.gate.cuts
    line.gate.cut(line.server.has_signed(one.name))
    try:
        one.enroll()
        until("an answer to be cut", lambda: line.gate.cuts > cuts, 30)
    finally:
        line.gate.up()
    outcome(site, line, one)


def outcome(site, line, one):
    """What has to come of an order that the CA carried out, and whose answer nobody got."""
    if line.finds:
        one.is_issued(polls=90)
        signed = line.server.signed(one.name)
        check(signed in (1, 2), f"the CA signed {signed} certificates")
        return
    until("the outcome to be unknown", lambda: site.transaction(one.name, "unknown"), 60, 0.5)
    one.is_pending()
    check(not site.certificates(one.name), "a certificate was delivered though nobody knows what the CA did")
    signed_once(line, one)


def signed_once(line, one):
    """The CA signed one certificate for it."""
    until("the CA to say that it signed", lambda: line.server.signed(one.name), 5)
    check(line.server.signed(one.name) == 1, f"the CA signed {line.server.signed(one.name)} certificates")


def deaf(site, line, other):
    """While one CA takes everything and answers nothing, another line's device is served at once."""
    line.gate.deaf()
    try:
        one = device(site, line, "deaf").is_pending()
        since = time.monotonic()
        device(site, other, f"beside-{line.name}").is_issued()
        took = time.monotonic() - since
        check(took < 5, f"it took {took:.1f} s")
    finally:
        line.gate.up()
    if line.resends:
        one.is_issued(polls=90)
        signed_once(line, one)
    elif not line.server.names:
        until("the order to have ended", lambda: site.certificates(one.name) or site.transaction(one.name, "unknown"), 90, 0.5)


def stopped(site, lines):
    """Ravelin is killed while the CAs have signed and nobody got the answer. Gives what was found of each line."""
    devices = {}
    for line in lines:
        one = devices[line] = device(site, line, "stopped")
        line.gate.hold(line.server.has_signed(one.name))
    with ThreadPoolExecutor(len(lines)) as pool:
        asking = [pool.submit(one.enroll) for one in devices.values()]
        for line in lines:
            until(f"{line.name} to have signed", lambda line=line: line.gate.when is None, 60)
        site.kill()
        for line in lines:
            line.gate.up()
        for one in asking:
            one.result()
    site.start()
    return devices


CASES = [
    ("issue", issue, lambda line: line.issues),
    ("wait", wait, lambda line: line.waits),
    ("refuse", refuse, lambda line: line.refuses),
    ("revoke, CRL", revoke, lambda line: line.revokes and line.server.has_crl),
    ("revoke", revoke_only, lambda line: line.revokes and not line.server.has_crl),
    ("wrong certificate", lies, lambda line: line.lies),
    ("CA down and up", down, lambda line: line.thorough),
    ("answer lost", lost, lambda line: line.thorough and line.issues),
]
