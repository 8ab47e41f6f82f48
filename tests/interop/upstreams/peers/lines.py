"""Lines: one upstream of Ravelin at one server, with what can be expected of it."""

import json

from interop.tools import run

from . import servers, vaults
from .site import SIGNATURES


class Line:
    """How Ravelin is configured for it, and what its CA and its protocol can do."""

    name = ""
    kind = ""
    server_class = servers.Server
    waits = None
    """What the common name of a request begins with that the CA lets wait."""
    refuses = None
    """What the common name of a request begins with that the CA refuses."""
    revokes = gives_crl = finds = False
    """Whether the connector revokes, gives a CRL, and finds out what became of an order whose answer was lost."""
    lies = False
    """Whether its CA gives a wrong certificate to names that ask for one."""
    is_known_to_want = False
    """Whether `check-config --online` finds something to say of it."""
    issues = True
    """Whether it gives a certificate at once."""
    resends = False
    """Whether an order that surely never arrived is sent again by itself."""
    thorough = True
    """Whether it is held against everything, or stands beside another one at the same server."""
    names = None
    """How much of the names the CA decides."""
    challenge = None
    """The challenge that devices bring, where it is not a one-time one."""
    by_old_certificate = False
    """Whether devices renew a certificate of an earlier CA, because the CA takes no request that has a challenge in it."""

    def __init__(self, server):
        self.server, self.gate = server, server.gate()

    def signature(self):
        """What the CA signs with."""
        return SIGNATURES.get(self.server.key, self.server.key.lower())

    def policy(self, text):
        """The device group."""
        return text

    def profile(self, text):
        """The algorithm profile."""
        return text

    def subject(self, name):
        return f"CN={name},O=Peer"

    def sans(self, name):
        return [f"{name}.example.net"]

    def refused(self):
        """Subject and names of a request that the CA refuses."""
        name = f"{self.refuses}-{self.name}"
        return name, self.subject(name), self.sans(name)

    def let_in(self, name):
        """What people at the CA do with a request that waits."""

    def scheme(self):
        return "https"

    def path(self):
        return ""

    def toml(self):
        lines = [
            "[[upstream]]",
            f'name = "{self.name}"',
            f'kind = "{self.kind}"',
            f'url = "{self.scheme()}://127.0.0.1:{self.gate.port}{self.path()}"',
            'proxy = "none"',
            'timeout = "10s"',
            'connect-timeout = "2s"',
        ]
        if self.scheme() == "https":
            lines.append(f'trust = "{self.server.pki / "root.pem"}"')
        lines += self.settings()
        lines += ["", "[[upstream.ca]]", 'name = "peer"', f'chain = "{self.server.chain()}"']
        if self.names:
            lines.append(f'names = "{self.names}"')
        return "\n".join([*lines, *self.of_ca(), ""])

    def settings(self):
        """Further lines of `[[upstream]]`."""
        return []

    def of_ca(self):
        """Further lines of `[[upstream.ca]]`."""
        return []

    def environment(self):
        """Secrets that are in the environment."""
        return {}

    def client(self):
        """Our certificate."""
        return [f'client-certificate = "{self.server.pki / "ra-chain.pem"}"', f'client-key = "{self.server.pki / "ra.key"}"']


class EstByCertificate(Line):
    """EST with our certificate over TLS 1.2."""

    # libest takes a challengePassword for what binds the request to the TLS connection (RFC 7030 section 3.5), and refuses it.
    by_old_certificate = True

    name, kind, server_class = "est-certificate", "est", servers.Est

    def settings(self):
        return self.client()


class EstByPassword(Line):
    """EST with a password, and a label."""

    by_old_certificate = True

    name, kind, server_class = "est-password", "est", servers.EstFront
    # libest gives its csrattrs to who shows a certificate only; to others it says 500.
    is_known_to_want = True
    thorough = False

    def settings(self):
        return ['username = "estuser"', 'password = { env = "PEER_EST_PASSWORD" }']

    def environment(self):
        return {"PEER_EST_PASSWORD": "estpwd"}

    def of_ca(self):
        return ['label = "auto"']


class EstManual(Line):
    """EST where each request waits: 202, Retry-After."""

    by_old_certificate = True

    name, kind, server_class, waits, issues = "est-manual", "est", servers.EstFront, "device", False

    def settings(self):
        return self.client()

    def of_ca(self):
        return ['label = "manual"']


class EstRefusing(EstByCertificate):
    """EST to a server that wants what no request has (csrattrs)."""

    name, server_class, refuses, thorough, issues = "est-refusing", servers.EnforcingEst, "device", False, False
    is_known_to_want = True


class EstGlobalSign(Line):
    """EST with our certificate over TLS 1.3, and a label."""

    name, kind, server_class = "est-globalsign", "est", servers.GlobalSignEst

    def policy(self, text):
        # Its certificates are for TLS servers too.
        return text.replace('allow = ["clientAuth"]', 'allow = ["serverAuth", "clientAuth"]')

    def settings(self):
        return self.client()

    def of_ca(self):
        return ['label = "devices"']


class EstPq(EstGlobalSign):
    """EST to a CA that signs with ML-DSA-65, with our ML-DSA-65 certificate over TLS 1.3."""

    name, server_class, thorough = "est-pq", servers.PqEst, False


class CmpBySecret(Line):
    """CMP with the device's PKCS#10 under a shared secret."""

    name, kind, server_class = "cmp-secret", "cmp", servers.Cmp
    waits, refuses, revokes, gives_crl, lies = "wait", "refuse", True, True, True

    def scheme(self):
        return "http"

    def settings(self):
        return [f'secret = {{ file = "{self.server.pki / "secret"}" }}', 'reference = "ravelin"', f'trust-responses = "{self.server.chain()}"']


class CmpBySignature(CmpBySecret):
    """CMP with the device's PKCS#10 under a signature of ours."""

    name, lies = "cmp-signature", False

    def settings(self):
        certificate, key = self.server.pki / "ra-chain.pem", self.server.pki / "ra.key"
        return [f'signing-certificate = "{certificate}"', f'signing-key = "{key}"', f'trust-responses = "{self.server.chain()}"']


class CmpByTemplate(CmpBySignature):
    """CMP with a template of ours and raVerified."""

    name = "cmp-template"
    thorough = False

    def of_ca(self):
        # This CA has a validity of its own, and takes the extensions of the template.
        return ['message = "cr"', 'validity = "ca-decides"']


class CmpPq(CmpBySignature):
    """CMP with ML-DSA-65 throughout, certConf, and a CA that answers the same request with the same certificate."""

    name, server_class, finds = "cmp-pq", servers.PqCmp, True

    def settings(self):
        return [*super().settings(), 'repeats = "request"', "implicit-confirm = false"]


class CmpSiemens(CmpBySignature):
    """CMP to another implementation."""

    name, server_class, waits, refuses, revokes = "cmp-siemens", servers.CmpRa, None, None, False
    # In this form it answers no general messages, by which a CA is asked how it is.
    is_known_to_want = True

    def of_ca(self):
        return ['path = "/own/signature"']


class StepJwk(Line):
    """step-ca with the key of a JWK provisioner."""

    name, kind, server_class = "step-jwk", "step-ca", servers.StepCa
    refuses, revokes, gives_crl, finds = "refuse", True, True, False

    def refused(self):
        return "refuse-step", "CN=refuse-step,O=Peer", ["refuse-step.refused.example.net"]

    def settings(self):
        return [f'authority = "https://127.0.0.1:{self.server.port}"']

    def of_ca(self):
        return ['provisioner = "ravelin-jwk"', f'provisioner-key = "{self.server.pki / "jwk.key"}"']


class StepX5c(StepJwk):
    """step-ca with our certificate."""

    name = "step-x5c"
    thorough = False

    def refused(self):
        return "refuse-step-x5c", "CN=refuse-step-x5c,O=Peer", ["refuse-step-x5c.refused.example.net"]

    def of_ca(self):
        certificate, key = self.server.pki / "ra-chain.pem", self.server.pki / "ra.key"
        return ['provisioner = "ravelin-x5c"', f'provisioner-certificate = "{certificate}"', f'provisioner-key = "{key}"']


class VaultByAppRole(Line):
    """Vault with AppRole: sign, by a role."""

    name, kind, server_class = "vault-approle", "vault", vaults.Vault
    refuses, revokes, gives_crl = "refuse", True, True

    def scheme(self):
        return "http"

    def settings(self):
        role = (self.server.folder / "role_id").read_text().strip()
        return ['login = "approle"', f'role-id = "{role}"', f'secret-id = {{ file = "{self.server.folder / "secret_id"}" }}']

    def of_ca(self):
        return ['role = "devices"', 'issuer = "ours"']


class VaultByToken(VaultByAppRole):
    """Vault with a token."""

    name = "vault-token"
    thorough = False

    def settings(self):
        return ['login = "token"', f'token = {{ file = "{self.server.folder / "token"}" }}']


class VaultByCertificate(VaultByAppRole):
    """Vault with our certificate over TLS: sign-verbatim."""

    name, refuses = "vault-certificate", None
    thorough = False

    def __init__(self, server):
        self.server, self.gate = server, server.gate(server.tls_port)

    def scheme(self):
        return "https"

    def settings(self):
        return ['login = "cert"', *self.client()]

    def of_ca(self):
        return ['mode = "sign-verbatim"', 'role = "devices"', 'issuer = "ours"']


class OpenBao(VaultByAppRole):
    """OpenBao with AppRole: sign, by a role"""

    name, server_class = "openbao", vaults.OpenBao


class Acme(Line):
    """ACME with external account binding."""

    name, kind, server_class, refuses, names, finds = "acme", "acme", servers.Pebble, "refuse", "ca-decides", True
    revokes = True

    def policy(self, text):
        return text.replace('allow = ["clientAuth"]', 'allow = ["serverAuth", "clientAuth"]')

    def refused(self):
        return "refuse-acme", "CN=refuse-acme,O=Peer", ["refused.example.net"]

    def path(self):
        return "/dir"

    def settings(self):
        # Its certificates are for TLS servers.
        return ['eab-kid = "kid-1"', 'eab-secret = { env = "PEER_EAB_SECRET" }', 'challenges = "assume-valid"']

    def environment(self):
        return {"PEER_EAB_SECRET": self.server.MAC}


class ScepTrusted(Line):
    """SCEP to a server that asks for no challenge."""

    name, kind, server_class, refuses = "scep-trusted", "scep", servers.Scep, "refuse"

    def scheme(self):
        return "http"

    def path(self):
        return "/scep"

    def settings(self):
        signer = ['signer-certificate = "ra/signer.pem"', 'signer-key = "ra/signer.key.pem"']
        # It signs its replies with SHA-1 and encrypts them with DES, whatever the request was made with.
        return ['authenticate = "ra-certificate"', *signer, 'accept-digests = ["sha-1"]', 'accept-ciphers = ["des-cbc"]']


class ScepChallenge(ScepTrusted):
    """SCEP with the challenge of the device, which both know."""

    name, server_class, thorough = "scep-challenge", servers.ChallengeScep, False
    # A challenge that goes on to the CA is warned of.
    is_known_to_want = True
    challenge = servers.ChallengeScep.CHALLENGE

    def policy(self, text):
        hashed = run(self.server.shelf.ravelin, "hash-challenge", stdin=self.challenge.encode()).ok().out.decode().split()[-1]
        shared = f'{{ kind = "shared", hash = "{hashed}" }}\nallow-challenge-upstream = true'
        return text.replace('{ kind = "one-time", ttl = "1h" }', shared)

    def settings(self):
        return [one.replace("ra-certificate", "device-challenge") for one in super().settings()]


class ScepRavelin(ScepTrusted):
    """SCEP to a server that trusts our certificate."""

    name, server_class, finds, gives_crl = "scep-ravelin", servers.Ravelin, True, True

    def path(self):
        return "/scep/automatic"

    def settings(self):
        certificate, key = self.server.pki / "ra.pem", self.server.pki / "ra.key"
        signer = [f'signer-certificate = "{certificate}"', f'signer-key = "{key}"', 'message = "RenewalReq"']
        return ['authenticate = "ra-certificate"', *signer, "find-again = true", "get-crl = true", 'poll-interval = "1s"']


class ScepRavelinManual(ScepRavelin):
    """SCEP to a server where people let each request in."""

    name, waits, refuses, thorough = "scep-ravelin-manual", "device", None, False
    issues = False

    def path(self):
        return "/scep/manual"

    def let_in(self, name):
        self.server.approve(name)


class Webhook(Line):
    """A service of one's own: JSON over HTTP, with a shared secret."""

    name, kind, server_class = "webhook", "webhook", servers.Webhook
    waits, refuses, revokes, gives_crl, finds = "wait", "refuse", True, True, True

    def scheme(self):
        return "http"

    def path(self):
        return "/ravelin"

    def settings(self):
        return [f'secret = {{ file = "{self.server.pki / "secret"}" }}', 'can = ["set-validity", "wait", "revoke", "find", "repeat"]']

    def of_ca(self):
        return ['selector = "devices"']


class Exec(Webhook):
    """A program of one's own: JSON on standard input and output."""

    name, kind, server_class, thorough = "exec", "exec", servers.Program, False

    def __init__(self, server):
        self.server, self.gate = server, None

    def toml(self):
        words = [str(self.server.folder), *self.server.shelf.openssl()]
        lines = [
            "[[upstream]]",
            'name = "exec"',
            'kind = "exec"',
            f'program = "{servers.SERVERS / "json_ca.py"}"',
            f"arguments = {json.dumps(words)}",
            'environment = ["PATH"]',
            'timeout = "10s"',
            'can = ["set-validity", "wait", "revoke", "find", "repeat"]',
            "",
            "[[upstream.ca]]",
            'name = "peer"',
            f'chain = "{self.server.chain()}"',
            *self.of_ca(),
        ]
        return "\n".join([*lines, ""])


ALL = [
    EstByCertificate,
    EstByPassword,
    EstManual,
    EstRefusing,
    EstGlobalSign,
    EstPq,
    CmpBySecret,
    CmpBySignature,
    CmpByTemplate,
    CmpPq,
    CmpSiemens,
    StepJwk,
    StepX5c,
    VaultByAppRole,
    VaultByToken,
    VaultByCertificate,
    OpenBao,
    Acme,
    ScepTrusted,
    ScepChallenge,
    ScepRavelin,
    ScepRavelinManual,
    Webhook,
    Exec,
]
