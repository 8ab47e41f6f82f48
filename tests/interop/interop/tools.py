"""Processes with an end, files, openssl, and the packages that the clients come in."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CLIENT_PACKAGES = {
    "openssl": "openssl",
    "pki": "strongswan-pki libstrongswan-standard-plugins libstrongswan-extra-plugins",
    "scepclient": "scep",
    "certmonger": "certmonger",
    "dbus-daemon": "dbus",
}
BUILD_PACKAGES = {"javac": "openjdk-17-jdk-headless", "mvn": "maven", "npm": "npm", "go": "golang-go"}


class Failed(Exception):
    """A check did not hold, or a client did not do what it should."""


class Result:
    """What a command left behind."""

    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    @property
    def text(self):
        return (self.out + self.err).decode("utf-8", "replace")

    def ok(self):
        if self.status != 0:
            raise Failed(f"{shown(self.command)} ended with status {self.status}:\n{tail(self.text)}")
        return self

    def refused(self):
        """The command must have ended by itself, and not well."""
        if self.status == 0:
            raise Failed(f"{shown(self.command)} went well, and should not have")
        if self.status == "timeout":
            raise Failed(f"{shown(self.command)} did not end:\n{tail(self.text)}")
        return self


def shown(command):
    return " ".join(str(part) for part in command)[:300]


def tail(text, lines=14):
    return "\n".join("    | " + line for line in text.strip().splitlines()[-lines:])


def run(*command, timeout=60, cwd=None, env=None, stdin=b""):
    """Runs a command to its end, or to the end of our patience. What it started ends with it."""
    command = [str(part) for part in command]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout)
        return Result(command, process.returncode, out, err)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Result(command, "timeout", out, err)


class Daemon:
    """A process of ours that goes on until we end it, with its output in a file."""

    def __init__(self, log, *command, env=None, cwd=None):
        self.log = Path(log)
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def stop(self, how=signal.SIGTERM, patience=20):
        """Asks it to end, then insists. Gives the exit status."""
        if self.alive():
            self.process.send_signal(how)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        return self.process.returncode

    def said(self):
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


def until(what, condition, timeout=30.0, pause=0.1):
    """Waits until the condition gives something, and gives that."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def openssl(*arguments, stdin=b"", **options):
    return run("openssl", *arguments, stdin=stdin, **options)


def certificate_field(path, *what):
    """One line out of `openssl x509`: `-subject`, `-serial`, `-issuer`."""
    text = openssl("x509", "-in", path, "-noout", *what, "-nameopt", "RFC2253").ok().out.decode().strip()
    return text.split("=", 1)[1].strip() if "=" in text else text


def public_key_of_certificate(path):
    return openssl("x509", "-in", path, "-noout", "-pubkey").ok().out


def public_key_of_key(path):
    return openssl("pkey", "-in", path, "-pubout").ok().out


def split_pem(text):
    """The certificates of a PEM text, one string each."""
    end = "-----END CERTIFICATE-----"
    blocks = []
    for part in text.split(end)[:-1]:
        blocks.append(part[part.index("-----BEGIN CERTIFICATE-----"):] + end + "\n")
    return blocks


def install(commands):
    """Installs the Debian packages of these commands, where they are missing."""
    missing = [name for name in commands if not find(name)]
    known = {**CLIENT_PACKAGES, **BUILD_PACKAGES}
    packages = " ".join(known[name] for name in missing).split()
    if run(sys.executable, "-c", "import ensurepip").status != 0:
        packages.append("python3-venv")
    if not packages:
        return
    install_packages(packages)
    for name in missing:
        check(find(name), f"{name} is not there after installing {known[name]}")


def install_packages(packages):
    """Installs Debian packages, as root or with sudo."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(packages)}", flush=True)
    run(*as_root, "apt-get", "update", "-q", timeout=180, env=environment)
    run(*as_root, "apt-get", "install", "-qy", "--no-install-recommends", *packages, timeout=300, env=environment).ok()


def find(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def version(package):
    """The version of a Debian package, or a dash."""
    result = run("dpkg-query", "-W", "-f", "${Version}", package) if shutil.which("dpkg-query") else None
    return result.out.decode() if result and result.status == 0 else "-"


def note(text):
    print(text, file=sys.stderr, flush=True)
