"""A stand-in for EJBCA's REST interface. It refuses what EJBCA's description of it does not allow, and answers in shapes that it allows.

    ejbca_stub.py PORT DIR OPENSSL

The description is read from the file that RAVELIN_EJBCA_OPENAPI names (openapi.json of Keyfactor/ejbca-ce); without it, from our own table of the part
that the connector uses (testdata/upstreams/ejbca-rest.json). What EJBCA says when it fails is in neither: that follows its source. A request from
which something is missing or in which something is unknown is answered with 400, and printed as `violation`.

CN decides: `refuse…` is refused. The CA is called Issuing, the profiles DEVICE and Devices.
"""

import base64
import json
import os
import re
import ssl
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qsl, unquote

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from stub_ca import Ca, Handler, Kept, Server, say  # noqa: E402

BASE = "/ejbca/ejbca-rest-api"
TABLE = Path(__file__).resolve().parents[4] / "testdata/upstreams/ejbca-rest.json"
NAMES = {"certificate_authority_name": "Issuing", "certificate_profile_name": "DEVICE", "end_entity_profile_name": "Devices"}


class NotAllowed(Exception):
    """The description does not allow it."""


class Contract:
    """What is allowed: operations as (method, path, parameters, query, body, answers), and objects by name."""

    def __init__(self):
        description = os.environ.get("RAVELIN_EJBCA_OPENAPI")
        source = Path(description) if description else TABLE
        text = json.loads(source.read_text())
        if "openapi" in text:
            self.operations = list(from_openapi(text))
            schemas = text["components"]["schemas"].items()
            self.objects = {name: {key: kind(one) for key, one in schema.get("properties", {}).items()} for name, schema in schemas}
        else:
            parts = ("method", "path", "parameters", "query", "body", "answers")
            self.operations = [tuple(one.get(part) or ({} if part in ("parameters", "query") else None) for part in parts) for one in text["operations"]]
            self.objects = text["objects"]
        say(f"held against {source}")

    def allowed(self, method, target, content_type, body):
        """The operation, the values in its path, and what was sent."""
        path, _, query = target.partition("?")
        for operation in self.operations:
            pattern = re.sub(r"\\{.*?\\}", "([^/]+)", re.escape(operation[1]))
            found = re.fullmatch(pattern, path)
            if operation[0] == method and found:
                break
        else:
            raise NotAllowed(f"there is no {method} {path}")
        for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
            if name not in operation[3]:
                raise NotAllowed(f"{path} has no query parameter {name}")
            self.text(operation[3][name], value, name)
        values = [unquote(value) for value in found.groups()]
        for name, value in zip(re.findall(r"\{(.*?)\}", operation[1]), values):
            self.text(operation[2][name], value, name)
        if not operation[4]:
            if body:
                raise NotAllowed(f"{path} takes no body")
            return operation, values, None
        if content_type != "application/json":
            raise NotAllowed(f"{path} takes application/json, and no {content_type}")
        sent = json.loads(body)
        self.holds(operation[4], sent, operation[4])
        return operation, values, sent

    def answer(self, operation, status, body):
        """The answer, if it is one that may be given."""
        answers = operation[5]
        if str(status) not in answers:
            raise NotAllowed(f"{operation[1]} never answers {status}")
        if answers[str(status)]:
            self.holds(answers[str(status)], body, operation[1])
        return body

    def holds(self, type_, value, where):
        if type_.startswith("["):
            if not isinstance(value, list):
                raise NotAllowed(f"{where} is no list")
            for one in value:
                self.holds(type_[1:-1], one, where)
        elif type_ == "boolean" or type_ == "integer":
            if type(value) is not {"boolean": bool, "integer": int}[type_]:
                raise NotAllowed(f"{where} is no {type_}")
        elif type_ in self.objects:
            if not isinstance(value, dict):
                raise NotAllowed(f"{where} is no object")
            for name, inner in value.items():
                if name not in self.objects[type_]:
                    raise NotAllowed(f"{type_} has no property {name}")
                self.holds(self.objects[type_][name], inner, f"{type_}.{name}")
        elif not isinstance(value, str):
            raise NotAllowed(f"{where} is no text")
        else:
            self.text(type_, value, where)

    @staticmethod
    def text(type_, value, where):
        try:
            if type_ == "bytes":
                base64.b64decode(value, validate=True)
            elif type_ == "integer":
                int(value)
            elif type_ == "boolean" and value not in ("true", "false"):
                raise ValueError
            elif "|" in type_ and value not in type_.split("|"):
                raise ValueError
        except ValueError:
            raise NotAllowed(f"{where}: {value!r} is not {type_}") from None


def from_openapi(text):
    for path, methods in text["paths"].items():
        for method, operation in methods.items():
            of = {place: {} for place in ("path", "query")}
            for one in operation.get("parameters", []):
                of[one["in"]][one["name"]] = kind(one["schema"])
            shape = lambda content: kind(content.get("application/json", {}).get("schema", {}))  # noqa: E731
            body = shape(operation.get("requestBody", {}).get("content", {}))
            answers = {status: shape(answer.get("content", {})) for status, answer in operation["responses"].items()}
            yield method.upper(), path, of["path"], of["query"], body, answers


def kind(schema):
    """A type as our table writes it."""
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    words = [word for text in schema.get("enum", []) if isinstance(text, str) for word in text.split(", ")]
    if words:
        return "|".join(dict.fromkeys(words))
    if schema.get("type") == "array":
        return f"[{kind(schema['items'])}]"
    return {"byte": "bytes", "date-time": "date"}.get(schema.get("format"), schema.get("type"))


class Failure(Exception):
    """EJBCA says that it failed."""


class Stub:
    """Its database: certificates under the names of end entities."""

    def __init__(self, folder, openssl):
        self.ca, self.contract, self.lock = Ca(folder, openssl), Contract(), threading.Lock()
        self.folder, self.kept = Path(folder), Kept(Path(folder) / "stub-database", [])
        self.filed = self.kept.value
        text = self.ca.run("x509", "-in", self.folder / "ca.pem", "-noout", "-subject", "-nameopt", "rfc2253").decode()
        self.dn = text.strip().removeprefix("subject=").strip()

    def issue(self, csr, sent):
        der, serial = self.ca.issue(csr)
        names = {"username": sent["username"], "account": sent.get("account_binding_id")}
        with self.lock:
            self.filed.append({**names, "der": der, "serial": serial, "revoked": None})
            self.kept.keep()
        answer = {"certificate": encoded(der), "serial_number": serial, "response_format": "DER"}
        if sent.get("include_chain"):
            chain = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END", (self.folder / "chain.pem").read_text(), re.DOTALL)
            answer["certificate_chain"] = ["".join(one.split()) for one in chain]
        return answer

    def enroll(self, sent):
        for name, value in NAMES.items():
            if sent.get(name) != value:
                raise Failure(400, f"{name} {sent.get(name)!r} is not known")
        csr = sent["certificate_request"]
        if "BEGIN" not in csr:
            csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{csr}\n-----END CERTIFICATE REQUEST-----\n"
        try:
            common_name = self.ca.subject(csr.encode())
        except ValueError as error:
            raise Failure(400, f"the request cannot be read: {error}") from None
        if common_name.startswith("refuse"):
            raise Failure(400, "User is not allowed to have this subject.")
        return 200, self.issue(csr.encode(), sent)

    def search(self, sent):
        fits = {
            "USERNAME": lambda one, value: one["username"] == value,
            "EXTERNAL_ACCOUNT_BINDING_ID": lambda one, value: one["account"] == value,
            "CA": lambda one, value: value == "Issuing",
            "CERTIFICATE_PROFILE": lambda one, value: value == "DEVICE",
            "END_ENTITY_PROFILE": lambda one, value: value == "Devices",
        }
        with self.lock:
            found = [one for one in self.filed if all(fits[by["property"]](one, by["value"]) for by in sent["criteria"])]
        size = sent["pagination"]["page_size"]
        row = lambda one: {  # noqa: E731
            "base64_cert": encoded(one["der"]),
            "username": one["username"],
            "serial_number": one["serial"],
            "revocation_reason": -1 if one["revoked"] is None else 0,
        }
        return 200, {"certificates": [row(one) for one in found[:size]], "pagination_summary": {"page_size": size, "current_page": 1}}

    def of_serial(self, issuer, serial):
        with self.lock:
            found = next((one for one in self.filed if int(one["serial"], 16) == int(serial, 16)), None)
        if found is None or issuer != self.dn:
            raise Failure(404, f"Certificate with serial number '{serial}' and issuer DN '{issuer}' was not found")
        return found

    def revoke(self, issuer, serial, query):
        found = self.of_serial(issuer, serial)
        if found["revoked"] is not None:
            raise Failure(409, "Certificate has previously been revoked.")
        found["revoked"] = dict(parse_qsl(query)).get("reason", "UNSPECIFIED")
        with self.lock:
            self.kept.keep()
        self.ca.revoke(found["serial"])
        return self.status(issuer, serial)

    def status(self, issuer, serial):
        found = self.of_serial(issuer, serial)
        return 200, {"hex _serial _number": found["serial"], "revoked": found["revoked"] is not None}

    def answered(self, method, target, content_type, body):
        """Status and body."""
        operation, values, sent = self.contract.allowed(method, target.removeprefix(BASE), content_type, body)
        query = target.partition("?")[2]
        what = f"{method} {operation[1]}"
        if "/v1/ca/" in what and values[0] != self.dn:
            raise Failure(404, f"CA '{values[0]}' does not exist.")
        if what.endswith("/certificate/download"):
            return 200, "application/octet-stream", (self.folder / "chain.pem").read_bytes()
        profile = {"available_key_algs": ["RSA", "ECDSA"], "available_bit_lenghts": [2048, 3072, 4096], "available_ecdsa_curves": ["P-256", "P-384"]}
        status, answer = {
            "POST /v1/certificate/pkcs10enroll": lambda: self.enroll(sent),
            "POST /v2/certificate/search": lambda: self.search(sent),
            "PUT /v1/certificate/{issuer_dn}/{certificate_serial_number}/revoke": lambda: self.revoke(*values, query),
            "GET /v1/certificate/{issuer_dn}/{certificate_serial_number}/revocationstatus": lambda: self.status(*values),
            "GET /v1/certificate/status": lambda: (200, {"status": "OK", "version": "1.0", "revision": "a stub"}),
            "GET /v1/ca": lambda: (200, {"certificate_authorities": [{"id": 1, "name": "Issuing", "subject_dn": self.dn}]}),
            "GET /v1/ca/{issuer_dn}/getLatestCrl": lambda: (200, {"crl": encoded(self.ca.crl()), "response_format": "DER"}),
            "GET /v2/certificate/profile/{profile_name}": lambda: known(values[0], {**profile, "available_cas": ["Issuing"]}),
        }[what]()
        self.contract.answer(operation, status, answer)
        return status, "application/json", json.dumps(answer).encode()


def known(name, info):
    if name != "DEVICE":
        raise Failure(404, f"Certificate profile '{name}' does not exist.")
    return 200, info


def encoded(octets):
    return base64.b64encode(octets).decode()


def main():
    port, folder, openssl = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    stub = Stub(folder, openssl)

    class Rest(Handler):
        def answered(self, body):
            try:
                status, type_, answer = stub.answered(self.command, self.path, self.headers.get("Content-Type"), body)
            except Failure as failure:
                (status, words), type_ = failure.args, "application/json"
                answer = json.dumps({"error_code": status, "error_message": words}).encode()
            except (NotAllowed, json.JSONDecodeError, KeyError) as why:
                say(f"violation {self.command} {self.path}: {why!r}")
                status, type_ = 400, "application/json"
                answer = json.dumps({"error_code": 400, "error_message": f"not allowed: {why}"}).encode()
            return status, {"Content-Type": type_}, answer

    Server(port, folder, Rest, ssl.CERT_REQUIRED).serve_forever()


if __name__ == "__main__":
    main()
