"""Lines to moto, a simulator of AWS that others wrote, behind a front of ours."""

import secrets

from interop.tools import free_port

from .fetch import BOTOCORE, MOTO, SERVERS
from .lines import Line
from .stubs import Stub


class Moto(Stub):
    """moto and our front before it (`servers/aws_front.py`)."""

    name, program = "moto", "aws_front.py"
    what = (
        f"moto {MOTO}, a simulator of AWS that others wrote, behind a front of ours that checks each signature and request with botocore "
        f"{BOTOCORE}; never AWS"
    )
    # It keeps its books in memory.
    lasts = keeps_waiting = False

    def prepare(self):
        super().prepare()
        self.metadata_port = free_port()
        for part in ("id", "secret", "token"):
            (self.folder / f"key-{part}").write_text(secrets.token_urlsafe(30))

    def command(self):
        words = [self.port, self.folder, " ".join(map(str, self.shelf.openssl())), self.metadata_port]
        return [self.shelf.moto(), "-B", SERVERS / self.program, *words]

    def environment(self):
        # What it is configured with comes from us, and from nowhere else.
        return {"HOME": str(self.folder), "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}

    def ready(self):
        return (self.folder / "arn").exists()

    def arn(self):
        return (self.folder / "arn").read_text()

    def roots(self):
        return self.pki / "root.pem", self.folder / "moto-ca.pem"

    def chain(self):
        return self.folder / "moto-chain.pem"


class AwsPca(Line):
    """AWS Private CA with a temporary key, and the CA's default template"""

    name, kind, server_class = "aws-pca", "aws-pca", Moto
    waits, refuses, revokes, gives_crl, finds, resends = "wait", "refuse", True, True, True, True

    def signature(self):
        return "rsa-sha512"

    def profile(self, text):
        # moto gives a year, whatever is asked for.
        return text.replace('"90d"', '"400d"')

    def policy(self, text):
        return text.replace('allow = ["clientAuth"]', 'allow = ["serverAuth", "clientAuth"]')

    def settings(self):
        files = [f'{name} = {{ file = "{self.server.folder / file}" }}' for name, file in KEY_FILES]
        return ['region = "eu-central-1"', *files]

    def of_ca(self):
        arn = self.server.arn()
        crl = f"https://127.0.0.1:{self.gate.port}/peer-crls/crl/{arn.rsplit('/', 1)[1]}.crl"
        return [f'arn = "{arn}"', f'crl-url = "{crl}"']


class AwsPcaPassing(AwsPca):
    """AWS Private CA with the key of an EC2 instance, and a template that takes names from the request to the API"""

    name, thorough = "aws-pca-passing", False

    def environment(self):
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self.server.metadata_port}"}

    def settings(self):
        return ['region = "eu-central-1"', 'credentials = "instance"']

    def of_ca(self):
        return [*super().of_ca(), 'template = "arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1"']


KEY_FILES = (("access-key-id", "key-id"), ("secret-access-key", "key-secret"), ("session-token", "key-token"))

ALL = [AwsPcaPassing, AwsPca]
"""The thorough one last, so that the one after it has another server."""
