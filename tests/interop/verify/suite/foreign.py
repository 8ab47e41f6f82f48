"""Certificates, CRLs and requests that others made: the verifiers have to take these before their word on ours means anything."""

import os
from pathlib import Path

HOME = Path(__file__).resolve().parents[4]
FOREIGN = HOME / "testdata/foreign"


def rows():
    """What is in the repository, by maker and algorithm: see testdata/foreign/README.md."""
    found = {}
    for path in sorted(FOREIGN.glob("*/*.der")):
        maker, name = path.parent.name, path.stem
        family, _, what = name.rpartition(".")
        found.setdefault((maker, family), {})[what] = str(path)
    for (maker, family), files in found.items():
        yield "foreign", f"{maker}: {family}", jobs(files)


def jobs(files):
    """The jobs for what one maker made with one algorithm: `ca`, `leaf`, `crl`, `csr`, and `related`, which is bound to `leaf`."""
    made, ca = [], files.get("ca")
    if ca:
        made.append({"part": "CA", "kind": "certificate", "file": ca, "issuer": ca})
    if "leaf" in files:
        made.append({"part": "leaf", "kind": "certificate", "file": files["leaf"], "issuer": ca})
        made.append({"part": "chain", "kind": "chain", "file": files["leaf"], "chain": [], "root": ca})
    if "crl" in files:
        made.append({"part": "CRL", "kind": "crl", "file": files["crl"], "issuer": ca})
    if "csr" in files:
        made.append({"part": "CSR", "kind": "csr", "file": files["csr"]})
    if "related" in files:
        made.append({"part": "related", "kind": "related", "file": files["related"], "other": files["leaf"]})
    if ca and b"\x06\x03\x55\x1d\x4a" in Path(ca).read_bytes():
        for part, kind in (("ca", "certificate"), ("leaf", "certificate"), ("crl", "crl")):
            if part in files:
                label = {"ca": "CA", "crl": "CRL"}.get(part, part)
                made.append({"part": f"alternative {label}", "kind": f"alternative-{kind}", "file": files[part], "issuer": ca})
    return made


def vectors():
    """The certificates of the vectors folder beside the project, where it is there: self-signed ones by a dozen implementations."""
    folder = Path(os.environ.get("RAVELIN_SHARED_VECTORS", HOME.parent / "shared/vectors")) / "pqc-certificates"
    if not folder.is_dir():
        print(f"skipped: {folder} is not there")
        return
    for path in sorted(folder.rglob("*_ta.der")):
        # Some old ones mark the alternative key as critical, which a verifier that does not know it has to refuse.
        found = [{"part": "CA", "kind": "self-signed", "file": str(path), "tolerate": "unhandled critical extension"}]
        if b"\x06\x03\x55\x1d\x4a" in path.read_bytes():
            found.append({"part": "alternative", "kind": "alternative-certificate", "file": str(path), "issuer": str(path)})
        yield "vectors", f"{path.parent.name}/{path.stem}", found
