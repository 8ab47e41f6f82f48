"""Drives PyScep: ACTION URL FOLDER [CN CHALLENGE | SERIAL]. Runs in the virtual environment that PyScep is installed in.

enroll leaves identity.pem, identity.key, new.pem and new.key in the folder; crl leaves crl.pem.
Exit status 0 for SUCCESS, 3 for PENDING, 4 for FAILURE (with failInfo on stdout).
"""

import re
import sys
from pathlib import Path

# oscrypto 1.3.0, below PyScep, finds no version in "OpenSSL 3.0.19": it takes one digit for the last number only.
search = re.search
re.search = lambda pattern, text, flags=0: search(
    r"(\d+\.\d+\.\d)" if pattern == "\\b(\\d\\.\\d\\.\\d[a-z]*)\\b" else pattern, text, flags
)

from scep.Client import Certificate, Client, PKIStatus, PrivateKey, SigningRequest  # noqa: E402


def main():
    action, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    usage = {"digital_signature", "key_encipherment"}
    client = Client(url)
    if action == "enroll":
        name, challenge = sys.argv[4], sys.argv[5]
        identity, identity_key = SigningRequest.generate_self_signed(cn=name, key_usage=usage)
        request, key = SigningRequest.generate_csr(cn=name, key_usage=usage, password=challenge, private_key=identity_key)
        (folder / "identity.pem").write_bytes(identity.to_pem())
        (folder / "new.key").write_bytes(key.to_pem())
        answer = client.enrol(csr=request, identity=identity, identity_private_key=identity_key)
    elif action == "renew":
        name = sys.argv[4]
        old = Certificate.from_pem((folder / "new.pem").read_bytes())
        old_key = PrivateKey.from_pem((folder / "new.key").read_bytes())
        request, key = SigningRequest.generate_csr(cn=name, key_usage=usage)
        answer = client.enrol(csr=request, identity=old, identity_private_key=old_key)
        (folder / "new.key").write_bytes(key.to_pem())
    else:
        raise SystemExit(f"no such action: {action}")
    if answer.status == PKIStatus.FAILURE:
        print("failInfo", answer.fail_info)
        return 4
    if answer.status == PKIStatus.PENDING:
        print("pending", answer.transaction_id)
        return 3
    (folder / "new.pem").write_bytes(answer.certificates[0].to_pem())
    return 0


sys.exit(main())
