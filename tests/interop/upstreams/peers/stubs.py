"""Lines to stand-ins of our own, where the real CA cannot be had: they show the whole way, and nothing of how the real one behaves."""

import os
import re
import sys

from .fetch import SERVERS
from .lines import Line
from .servers import Server


class Stub(Server):
    """A program of ours that signs with the `openssl` command."""

    program = ""

    def command(self):
        return [sys.executable, "-B", SERVERS / self.program, self.port, self.folder, " ".join(map(str, self.shelf.openssl()))]

    def signed(self, name):
        return self.said(rf"^issued [0-9A-F]+ {name}$")

    def crl(self):
        return (self.folder / "stub.crl").read_bytes()

    def complaints(self):
        return re.findall(r"(?m)^violation .*$", self.daemon.said())


class EjbcaStub(Stub):
    """Held against EJBCA's description of its REST interface, or against our own table of it."""

    name, program = "ejbca-stub", "ejbca_stub.py"
    what = "a stub of ours, which keeps to EJBCA's published description; never a real EJBCA"

    def environment(self):
        return {name: os.environ[name] for name in ("RAVELIN_EJBCA_OPENAPI",) if name in os.environ}


class CertsrvStub(Stub):
    """Pages of ours."""

    name, program, key = "certsrv-stub", "certsrv_stub.py", "rsa"
    what = "a stub of ours, with pages of ours; never a real AD CS"

    def prepare(self):
        super().prepare()
        (self.folder / "password").write_text("certsrv password\n")


class Ejbca(Line):
    """EJBCA's REST interface with our certificate"""

    name, kind, server_class = "ejbca", "ejbca", EjbcaStub
    refuses, revokes, gives_crl, finds, resends = "refuse", True, True, True, True

    def path(self):
        return "/ejbca/ejbca-rest-api"

    def settings(self):
        return [*self.client(), 'settle = "3s"', 'poll-interval = "1s"']

    def of_ca(self):
        return ['authority = "Issuing"', 'certificate-profile = "DEVICE"', 'end-entity-profile = "Devices"']


class AdCs(Line):
    """AD CS web enrollment with Basic"""

    name, kind, server_class = "ad-cs", "ad-cs", CertsrvStub
    waits, refuses = "wait", "refuse"

    def path(self):
        return "/certsrv"

    def settings(self):
        return ["username = 'EXAMPLE\\ravelin'", f'password = {{ file = "{self.server.folder / "password"}" }}', 'poll-interval = "1s"']

    def of_ca(self):
        return ['template = "RavelinDevice"']


ALL = [Ejbca, AdCs]
