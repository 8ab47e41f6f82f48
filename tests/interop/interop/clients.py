"""The clients, each with the command lines that it needs. Nobody here wrote any of them."""

import re
import tempfile
from pathlib import Path

from .tools import Daemon, Failed, check, find, openssl, run, split_pem, tail, until, version


def rsa_key(path, bits=2048):
    """A PKCS#1 key file, as strongSwan and scepclient like it."""
    openssl("genrsa", "-traditional", "-out", path, str(bits)).ok()
    return path


class StrongSwan:
    """`pki --scep` of strongSwan: POST, AES, polls by CertPoll, renews by RenewalReq."""

    name = "strongswan"
    command = "pki"
    package = "strongswan-pki"

    def __init__(self, work):
        self.work = Path(work)

    def version(self):
        return f"strongSwan pki {version(self.package)}"

    def fetch_ca(self, url):
        """GetCACert, sorted by the client into RA and CA certificates. Gives (encryption, signature, [CA])."""
        ca, ra = self.work / "ss-ca.pem", self.work / "ss-ra.pem"
        for old in self.work.glob("ss-*.pem"):
            old.unlink()
        run("pki", "--scepca", "--url", url, "--caout", ca, "--raout", ra, "--outform", "pem", "--force").ok()
        ras = sorted(self.work.glob("ss-ra*.pem"))
        cas = sorted(self.work.glob("ss-ca*.pem"))
        check(cas, "no CA certificate came")
        encryption = [path for path in ras if b"Key Encipherment" in usage(path)]
        signature = [path for path in ras if b"Digital Signature" in usage(path)]
        check(encryption and signature, f"no two RA certificates came: {[path.name for path in ras]}")
        return encryption[0], signature[0], cas

    def enroll(self, url, subject, key, challenge=None, ca=None, old=None, poll=None, san=None, digest=None, cipher=None):
        """Enrolls; with `old` = (certificate, key) it renews. Gives the result, with the certificate (PEM) on stdout."""
        encryption, signature, cas = ca or self.fetch_ca(url)
        command = ["pki", "--scep", "--url", url, "--in", key, "--dn", subject, "--outform", "pem"]
        command += ["--cacert-enc", encryption, "--cacert-sig", signature]
        for path in cas:
            command += ["--cacert", path]
        if challenge is not None:
            command += ["--password", challenge]
        if old:
            command += ["--cert", old[0], "--key", old[1]]
        if san:
            command += ["--san", san]
        if digest:
            command += ["--digest", digest]
        if cipher:
            command += ["--cipher", cipher]
        interval, longest = poll or (1, 4)
        command += ["--interval", interval, "--maxpolltime", longest]
        return run(*command, timeout=60)


def usage(path):
    return openssl("x509", "-in", path, "-noout", "-ext", "keyUsage").ok().out


class ScepClient:
    """micromdm's `scepclient`: POST, single DES, SHA-1, sends the same bytes again every 30 seconds while it is pending."""

    name = "scepclient"
    command = "scepclient"
    package = "scep"

    def __init__(self, work):
        self.work = Path(work)

    def version(self):
        return f"micromdm scepclient {version(self.package)}"

    def arguments(self, url, subject, key, certificate, challenge=None):
        names = dict(part.strip().split("=", 1) for part in subject.split(","))
        command = ["scepclient", "-server-url", url, "-private-key", key, "-certificate", certificate, "-cn", names["CN"]]
        command += ["-organization", names.get("O", ""), "-country", "", "-ou", "", "-debug"]
        return command + (["-challenge", challenge] if challenge is not None else [])

    def enroll(self, url, subject, key, certificate, challenge=None, timeout=60):
        """Enrolls, or renews where the certificate file is there already."""
        # It leaves csr.pem and self.pem in its folder, and would use them for the next device.
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            key, certificate = Path(key).resolve(), Path(certificate).resolve()
            for name in ("csr.pem", "self.pem"):
                (key.parent / name).unlink(missing_ok=True)
            return run(*self.arguments(url, subject, key, certificate, challenge), timeout=timeout, cwd=folder)


class Certmonger:
    """certmonger, on a bus of its own, with a home of its own: GET only, AES, renews with a PKCSReq signed by the old certificate."""

    name = "certmonger"
    command = "certmonger"
    package = "certmonger"

    def __init__(self, work):
        self.work = Path(work) / "certmonger"
        for folder in ("requests", "cas", "local", "config", "tmp", "run", "certs"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        self.work.chmod(0o700)
        self.certs = self.work / "certs"
        configuration = self.work / "bus.conf"
        configuration.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
            '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n'
            f"<busconfig><type>session</type><listen>unix:path={self.work}/run/bus</listen><auth>EXTERNAL</auth>"
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            '<allow own="*"/></policy></busconfig>\n'
        )
        address = f"unix:path={self.work}/run/bus"
        self.environment = {
            "HOME": str(self.work),
            "DBUS_SESSION_BUS_ADDRESS": address,
            "CERTMONGER_CONFIG_DIR": str(self.work / "config"),
            "CERTMONGER_REQUESTS_DIR": str(self.work / "requests"),
            "CERTMONGER_CAS_DIR": str(self.work / "cas"),
            "CERTMONGER_LOCAL_CA_DIR": str(self.work / "local"),
            "CERTMONGER_TMPDIR": str(self.work / "tmp"),
            "CERTMONGER_SYSTEM_LOCK_FILE": str(self.work / "run/lock"),
            "LC_ALL": "C",
        }
        self.bus = Daemon(self.work / "bus.log", "dbus-daemon", f"--config-file={configuration}", "--nofork", env=self.environment)
        until("the private message bus", lambda: (self.work / "run/bus").exists(), 10)
        self.daemon = Daemon(self.work / "daemon.log", find("certmonger"), "-s", "-n", "-B", "-d", "2", env=self.environment)
        try:
            until("certmonger", lambda: self.getcert("list-cas").status == 0, 20, 0.3)
        except Failed:
            said = tail(self.daemon.said())
            self.close()
            raise Failed(f"certmonger does not start:\n{said}") from None

    def version(self):
        return f"certmonger {version(self.package)}"

    def getcert(self, *arguments):
        command = arguments[0]
        return run("getcert", command, "-s", *arguments[1:], env=self.environment, timeout=30)

    def add_ca(self, name, url, root):
        self.getcert("add-scep-ca", "-c", name, "-u", url, "-R", root).ok()
        # It asks the new CA for capabilities and certificates by itself.
        until(f"certmonger to know {name}", lambda: name in self.getcert("list-cas").text, 15)

    def request(self, ca, identity, subject, challenge=None):
        certificate, key = self.certs / f"{identity}.pem", self.certs / f"{identity}.key"
        command = ["request", "-c", ca, "-f", certificate, "-k", key, "-g", "2048", "-N", subject, "-I", identity, "-r"]
        self.getcert(*command, *(["-L", challenge] if challenge is not None else [])).ok()
        return certificate, key

    def status(self, identity):
        """The state that certmonger names, such as MONITORING, CA_WORKING, CA_REJECTED, CA_UNREACHABLE."""
        found = re.search(r"status: (\S+)", self.getcert("list", "-i", identity).text)
        return found.group(1) if found else ""

    def wait(self, identity, *states, timeout=60):
        try:
            return until(f"certmonger to say {states}", lambda: self.status(identity) in states and self.status(identity), timeout, 0.4)
        except Failed as error:
            raise Failed(f"{error}; it says:\n{tail(self.getcert('list', '-i', identity).text)}") from None

    def close(self):
        for process in (getattr(self, "daemon", None), self.bus):
            if process:
                process.stop(patience=5)


class PyScep:
    """PyScep from PyPI, by a driver script: POST, AES-256, SHA-512."""

    name = "pyscep"
    requirement = "PyScep==0.0.14"
    # What it imports, and does not say that it needs.
    needs = ["requests", "six", "asn1crypto", "oscrypto==1.3.0", "csrbuilder", "certbuilder", "cryptography"]

    def __init__(self, work):
        self.work = Path(work)
        self.python = self.work / "pyscep-venv/bin/python"
        if not self.python.exists():
            run("python3", "-m", "venv", self.work / "pyscep-venv", timeout=120).ok()
            run(self.python, "-m", "pip", "install", "-q", self.requirement, *self.needs, timeout=240).ok()

    def version(self):
        return self.requirement.replace("==", " ")

    def drive(self, action, url, folder, *arguments):
        return run(self.python, Path(__file__).parent / "pyscep_driver.py", action, url, folder, *arguments, timeout=60)


def write_certificate(path, text):
    """The first certificate of a PEM text, as a file."""
    blocks = split_pem(text)
    check(blocks, f"no certificate in:\n{tail(text)}")
    Path(path).write_text(blocks[0])
    return Path(path)
