"""What AWS publishes of Private CA, as botocore ships it: how requests are signed, and what each operation takes.

Signatures are made again with botocore's own signer. Requests are held against botocore's service model: members, types, lengths, ranges,
patterns, enumerations. What only the model's prose says is checked by `prose`.
"""

import base64
import binascii
import datetime
import json
import re

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.validate

SERVICE, JSON = "acm-pca", "application/x-amz-json-1.1"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
SKEW = datetime.timedelta(minutes=5)


class Refused(Exception):
    """AWS says no: the exception's name, its message, the status."""

    def __init__(self, kind, message, status=400):
        super().__init__(kind, message, status)
        self.kind, self.message, self.status = kind, message, status


class Signatures:
    """Keys by their names, and what signatures have to be."""

    def __init__(self, region, keys):
        self.region, self.keys = region, keys

    def check(self, method, path, headers, body):
        """`headers` by names in lower case."""
        if "authorization" not in headers:
            raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
        found = AUTHORIZATION.fullmatch(headers["authorization"])
        if not found:
            raise Refused("IncompleteSignatureException", "Authorization header is not as it has to be")
        name, day, region, service, signed, signature = found.groups()
        signed = signed.split(";")
        must = {"host", "content-type", *(one for one in headers if one.startswith("x-amz-"))}
        if must - set(signed) or signed != sorted(signed) or set(signed) - set(headers):
            raise Refused("InvalidSignatureException", f"SignedHeaders have to be those that are there, {sorted(must)} among them")
        secret, token = self.keys.get(name, (None, None))
        if secret is None or headers.get("x-amz-security-token") != token:
            raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
        if (region, service) != (self.region, SERVICE):
            raise Refused("InvalidSignatureException", f"Credential should be scoped to {self.region}/{SERVICE}")
        date = headers.get("x-amz-date", "")
        try:
            at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            raise Refused("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'") from None
        if day != date[:8] or abs(datetime.datetime.now(datetime.timezone.utc) - at) > SKEW:
            raise Refused("InvalidSignatureException", f"Signature expired: {date}")
        request = botocore.awsrequest.AWSRequest(method, f"https://{headers['host']}{path}", {one: headers[one] for one in signed}, body)
        request.context["timestamp"] = date
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(name, secret, token), SERVICE, region)
        if signature != signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request):
            text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
            raise Refused("InvalidSignatureException", text)


class Contract:
    """The service model."""

    def __init__(self):
        described = botocore.loaders.create_loader().load_service_model(SERVICE, "service-2")
        self.model = botocore.model.ServiceModel(described, SERVICE)
        self.target = self.model.metadata["targetPrefix"]

    def read(self, headers, body):
        """The operation, what is asked with octets where the model has them, and what is wrong with it."""
        prefix, _, operation = headers.get("x-amz-target", "").partition(".")
        if prefix != self.target or operation not in self.model.operation_names:
            raise Refused("UnknownOperationException", f"{headers.get('x-amz-target')} is not known")
        wrong = []
        if headers.get("content-type") != JSON:
            wrong.append(f"Content-Type {headers.get('content-type')!r} is not {JSON}")
        try:
            sent = json.loads(body, object_pairs_hook=once)
        except ValueError as error:
            raise Refused("SerializationException", str(error)) from None
        shape = self.model.operation_model(operation).input_shape
        asked = self.decoded(sent, shape, operation, wrong)
        report = botocore.validate.ParamValidator().validate(asked, shape)
        if report.has_errors():
            wrong += report.generate_report().splitlines()
        else:
            self.walk(asked, shape, operation, wrong)
        if not wrong:
            wrong += prose(operation, asked)
        return operation, asked, wrong

    def decoded(self, value, shape, where, wrong):
        """With octets in place of their base64."""
        if shape.type_name == "structure" and isinstance(value, dict):
            members = shape.members
            of = lambda name: self.decoded(value[name], members[name], f"{where}.{name}", wrong)  # noqa: E731
            return {name: of(name) if name in members else value[name] for name in value}
        if shape.type_name == "list" and isinstance(value, list):
            return [self.decoded(one, shape.member, f"{where}[]", wrong) for one in value]
        if shape.type_name == "blob":
            try:
                return base64.b64decode(value, validate=True)
            except (binascii.Error, TypeError, ValueError) as error:
                wrong.append(f"{where} is no base64: {error}")
        return value

    def walk(self, value, shape, where, wrong):
        """What botocore itself leaves to the service: upper bounds, patterns and enumerations."""
        if shape.type_name == "structure":
            for name, one in value.items():
                self.walk(one, shape.members[name], f"{where}.{name}", wrong)
        elif shape.type_name == "list":
            for one in value:
                self.walk(one, shape.member, f"{where}[]", wrong)
        said = shape.metadata
        size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
        if size is not None and not said.get("min", size) <= size <= said.get("max", size):
            wrong.append(f"{where}: {size} is not between {said.get('min')} and {said.get('max')}")
        if isinstance(value, str):
            if said.get("enum") and value not in said["enum"]:
                wrong.append(f"{where}: {value!r} is none of {said['enum']}")
            if said.get("pattern") and not re.fullmatch(said["pattern"], value, re.ASCII):
                wrong.append(f"{where}: {value!r} is not as {said['pattern']}")


def once(pairs):
    """An object none of whose members stands there twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member stands there twice")
    return made


def prose(operation, asked):
    """What the documentation of the members says beyond their shapes."""
    if operation == "IssueCertificate":
        if asked.get("ValidityNotBefore", {}).get("Type", "ABSOLUTE") != "ABSOLUTE":
            yield "ValidityNotBefore is not ABSOLUTE"
        if not asked.get("IdempotencyToken", "").isascii() or not asked.get("IdempotencyToken", "").replace("-", "").isalnum():
            yield "there is no alphanumeric IdempotencyToken, which Ravelin promises"
        if not asked["Csr"].strip().startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
            yield "Csr is not PEM"
        passed = asked.get("ApiPassthrough", {})
        if passed and "APIPassthrough" not in asked.get("TemplateArn", "") and "APICSRPassthrough" not in asked.get("TemplateArn", ""):
            yield "ApiPassthrough without a template that takes it is ignored"
        names = [one["DirectoryName"] for one in passed.get("Extensions", {}).get("SubjectAlternativeNames", []) if "DirectoryName" in one]
        for name in [*names, *filter(None, [passed.get("Subject")])]:
            if "CustomAttributes" in name and len(name) > 1:
                yield "CustomAttributes cannot be used in combination with standard attributes"
    if operation == "RevokeCertificate" and not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2})*", asked["CertificateSerial"]):
        yield f"CertificateSerial {asked['CertificateSerial']!r} is not written as openssl x509 -text writes it, which is what AWS says to send"
