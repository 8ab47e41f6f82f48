"""Vault and OpenBao, which is made of it and has the same interface."""

import json
import urllib.request

from interop.tools import free_port, run, until

from .servers import Server


class Vault(Server):
    """Vault with its store on disk, a PKI mount, roles, AppRole and certificate login."""

    name, what = "vault", "HashiCorp Vault v1.21.4"
    declared = ""
    """Further lines of its configuration."""

    def prepare(self):
        super().prepare()
        self.tls_port, self.subjects, self.unsealing, self.root_token = free_port(), {}, None, None
        secured = f'address = "127.0.0.1:{self.tls_port}"\n tls_cert_file = "server-chain.pem"\n tls_key_file = "server.key"'
        listeners = (f'address = "127.0.0.1:{self.port}"\n tls_disable = true', secured)
        text = "".join(f'listener "tcp" {{\n {one}\n}}\n' for one in listeners)
        (self.folder / "store").mkdir()
        store = f'storage "raft" {{\n path = "{self.folder}/store"\n node_id = "one"\n performance_multiplier = 1\n}}\n'
        addresses = f'api_addr = "http://127.0.0.1:{self.port}"\ncluster_addr = "http://127.0.0.1:{free_port()}"\n'
        (self.folder / "vault.hcl").write_text(f"{store}{text}{addresses}disable_mlock = true\n{self.declared}".replace("DIR", str(self.folder)))

    def environment(self):
        return {"HOME": str(self.folder)}

    def command(self):
        return [*self.program(), "server", "-config=vault.hcl"]

    def program(self):
        return self.shelf.vault()

    def audit(self):
        """Its audit log has certificates in the clear."""
        self.call("POST", "sys/audit/file", {"type": "file", "options": {"file_path": f"{self.folder}/audit.log", "log_raw": "true"}})

    def start(self):
        super().start()
        if not self.unsealing:
            made = self.call("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.unsealing, self.root_token = made["keys"][0], made["root_token"]
        self.call("POST", "sys/unseal", {"key": self.unsealing})
        until(f"{self.name} to be active", self.active, 30)
        return self

    def active(self):
        try:
            return self.call("GET", "sys/health")["sealed"] is False
        except OSError:
            return False

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Vault-Token": self.root_token or "", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def after_start(self):
        put = lambda path, body: self.call("POST", path, body)  # noqa: E731
        self.audit()
        put("sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        bundle = "".join((self.pki / name).read_text() for name in ("ca.key", "ca.pem", "root.pem"))
        issuers = put("pki/config/ca", {"pem_bundle": bundle})["data"]["imported_issuers"]
        own = next(one for one in issuers if self.call("GET", f"pki/issuer/{one}")["data"]["key_id"])
        put(f"pki/issuer/{own}", {"issuer_name": "ours", "manual_chain": ["self", *(one for one in issuers if one != own)]})
        put("pki/config/issuers", {"default": "ours"})
        role = {
            "issuer_ref": "ours",
            "allow_any_name": False,
            "allowed_domains": ["device-*"],
            "allow_glob_domains": True,
            "allow_bare_domains": True,
            "enforce_hostnames": False,
            "key_type": "any",
            "organization": ["Peer"],
            "server_flag": False,
            "client_flag": True,
            "key_usage": ["DigitalSignature", "KeyEncipherment"],
            "ttl": "720h",
            "max_ttl": "8760h",
            "cn_validations": ["disabled"],
        }
        put("pki/roles/devices", role)
        paths = {
            "sign/*": "create update",
            "sign-verbatim/*": "create update",
            "sign-verbatim": "create update",
            "issuer/*": "create update read",
            "revoke": "create update",
            "roles/*": "read",
            "cert/*": "read",
            "certs": "list",
        }
        policy = "".join(f'path "pki/{path}" {{ capabilities = {json.dumps(can.split())} }}\n' for path, can in paths.items())
        put("sys/policies/acl/ravelin", {"policy": policy})
        put("sys/auth/approle", {"type": "approle"})
        put("sys/auth/cert", {"type": "cert"})
        # Short, so that the token is renewed and replaced within a run.
        put("auth/approle/role/ravelin", {"token_policies": "ravelin", "token_ttl": "20s", "token_max_ttl": "60s"})
        (self.folder / "role_id").write_text(self.call("GET", "auth/approle/role/ravelin/role-id")["data"]["role_id"])
        (self.folder / "secret_id").write_text(put("auth/approle/role/ravelin/secret-id", {})["data"]["secret_id"])
        login = {"certificate": (self.pki / "ca.pem").read_text(), "allowed_common_names": ["ravelin-ra"], "token_policies": "ravelin"}
        put("auth/cert/certs/ravelin", login | {"token_ttl": "20s"})
        made = put("auth/token/create", {"policies": ["ravelin"], "ttl": "1h", "renewable": True, "no_parent": True})
        (self.folder / "token").write_text(made["auth"]["client_token"])

    def signed(self, name):
        """By the audit log, which has an answer before it is sent."""
        for line in (self.folder / "audit.log").read_text().splitlines():
            row = json.loads(line)
            data = row.get("response", {}).get("data") or {} if row["type"] == "response" else {}
            if "certificate" in data and "serial_number" in data and data["serial_number"] not in self.subjects:
                text = run(*self.shelf.openssl(), "x509", "-noout", "-subject", "-nameopt", "RFC2253", stdin=data["certificate"].encode())
                self.subjects[data["serial_number"]] = text.ok().out.decode().strip()
        return sum(f"CN={name}" in one.removeprefix("subject=").split(",") for one in self.subjects.values())

    def crl(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/pki/crl", timeout=5).read()


class OpenBao(Vault):
    """The same."""

    name, what = "openbao", "OpenBao v2.4.0"
    # It takes no audit device over its interface.
    declared = 'audit "file" "file" {\n options {\n  file_path = "DIR/audit.log"\n  log_raw = "true"\n }\n}\n'

    def program(self):
        return self.shelf.openbao()

    def audit(self):
        pass
