"""What is killed: the CA at each step of an order, and Ravelin at each of its named points. At most one certificate is delivered, and none is lost."""

from concurrent.futures import ThreadPoolExecutor

from interop.tools import check, until

from .cases import device, outcome, signed_once
from .site import Device, Site

POINTS = ("before-submit", "after-submit", "before-conclude", "after-conclude")
"""Where a debug build of Ravelin halts if it is told to (`src/enroll/fault.rs`), around what the CA hears and what it answers."""


def ca_before(site, line):
    """The CA is dead when the order comes: PENDING; once it lives again, one certificate."""
    line.server.kill()
    try:
        one = device(site, line, "slain-before").is_pending()
    finally:
        line.server.revive()
    one.is_issued(polls=90)
    signed_once(line, one)


def ca_between(site, line):
    """The CA dies when it has signed, before anybody has its answer."""
    one = device(site, line, "slain-between")
    line.gate.hold(line.server.has_signed(one.name))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(one.enroll)
        until("the CA to have signed", lambda: line.gate.when is None, 60)
        line.server.kill()
        line.server.revive()
        asking.result()
    outcome(site, line, one)


def ca_waiting(site, line):
    """The CA dies while the order waits there."""
    one = Device(site, line, f"{line.waits}-slain-{line.name}").is_pending()
    line.server.kill()
    line.server.revive()
    line.let_in(one.name)
    one.is_issued(polls=90)
    signed_once(line, one)


OF_CA = [
    ("CA killed before", ca_before, lambda line: line.issues and line.thorough and line.server.lasts),
    ("CA killed between", ca_between, lambda line: line.issues and line.thorough and line.server.lasts),
    ("CA killed while it waits", ca_waiting, lambda line: line.waits and line.server.keeps_waiting and line.gate),
]


def has_points(line):
    """Whether Ravelin is killed at its named points in front of this CA: once for each way of speaking to one."""
    return line.issues and (line.thorough or line.gate is None)


def killed_at(site, line, point):
    """Ravelin is killed at a point, and started again."""
    halted = site.work / f"halted-{point}"
    one = device(site, line, point)
    try:
        site.start(RAVELIN_HALT_AT=f"{point}:{halted}")
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(one.enroll)
            until(f"{point} to be reached", halted.exists, 60)
            site.kill()
            asking.result()
        if point == "before-submit":
            check(not line.server.signed(one.name), "the CA signed what nobody sent")
        site.start()
        if point == "after-conclude":
            one.is_issued(polls=20)
            signed_once(line, one)
        elif point == "before-submit":
            never_asked(site, line, one)
        else:
            outcome(site, line, one)
    finally:
        site.stop()


def never_asked(site, line, one):
    """The order was on disk, and the CA never heard of it, which only some CAs can tell. Else an operator who looked there orders anew."""
    if not line.finds:
        unknown = until("the outcome to be unknown", lambda: site.transaction(one.name, "unknown"), 60, 0.5)
        one.is_pending()
        site.command("pending", "approve", unknown["id"]).ok()
    one.is_issued(polls=90)
    signed_once(line, one)


def site_for(ravelin, work, line):
    """Ravelin with this line only, to be killed."""
    folder = work / f"killed-{line.name}"
    folder.mkdir()
    return Site(ravelin, folder, [line])
