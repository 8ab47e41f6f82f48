"""Checks with the Python package `cryptography`: a JSON list of jobs on stdin, one JSON line for each on stdout. See README.md."""

import json
import sys
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError


def certificate(path):
    return x509.load_der_x509_certificate(Path(path).read_bytes())


def check_certificate(job):
    certificate(job["file"]).verify_directly_issued_by(certificate(job["issuer"]))


def check_self_signed(job):
    one = certificate(job["file"])
    one.verify_directly_issued_by(one)


def check_chain(job):
    # The default policy is the web's, which asks for things that a device's certificate need not have.
    authorities = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    policy = PolicyBuilder().store(Store([certificate(job["root"])])).max_chain_depth(4)
    policy = policy.extension_policies(ca_policy=authorities, ee_policy=ExtensionPolicy.permit_all())
    policy.build_client_verifier().verify(certificate(job["file"]), [certificate(path) for path in job["chain"]])


def check_crl(job):
    crl = x509.load_der_x509_crl(Path(job["file"]).read_bytes())
    if not crl.is_signature_valid(certificate(job["issuer"]).public_key()):
        raise InvalidSignature("the signature of the CRL is wrong")


def check_csr(job):
    if not x509.load_der_x509_csr(Path(job["file"]).read_bytes()).is_signature_valid:
        raise InvalidSignature("the signature of the request is wrong")


CHECKS = {"certificate": check_certificate, "self-signed": check_self_signed, "chain": check_chain, "crl": check_crl, "csr": check_csr}


def attempt(job):
    if job["kind"] not in CHECKS:
        return "cannot", f"{job['kind']} is not checked by this package"
    try:
        CHECKS[job["kind"]](job)
        return "ok", ""
    except InvalidSignature as error:
        return "refused", str(error) or "the signature is wrong"
    except UnsupportedAlgorithm as error:
        return "cannot", str(error)
    except VerificationError as error:
        # Path validation that knows the algorithm and does not want it says so in words.
        unknown = "Forbidden" in str(error) or "not a permitted" in str(error).lower()
        return "cannot" if unknown else "refused", str(error)
    except ValueError as error:
        unknown = "nknown key type" in str(error) or "nsupported" in str(error)
        return "cannot" if unknown else "refused", str(error)
    except (TypeError, AttributeError) as error:
        return "cannot", f"{type(error).__name__}: {error}"


def main():
    for job in json.load(sys.stdin):
        result, why = attempt(job)
        print(json.dumps({"id": job["id"], "result": result, "why": why[:300]}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        from cryptography.hazmat.backends.openssl.backend import backend
        import cryptography

        print(f"{cryptography.__version__} with {' '.join(backend.openssl_version_text().split()[:2])}")
    else:
        main()
