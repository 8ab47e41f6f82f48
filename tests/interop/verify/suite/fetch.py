"""Where the verifiers come from: package registries and Debian. Each is put into a folder of its own, once; nothing of the system is changed
but for the tools that are missing (npm, Maven, a JDK, Go).
"""

from pathlib import Path
from xml.etree import ElementTree

from interop.fetch import GO, debian, loaded, venv
from interop.fetch import go as toolchain
from interop.tools import check, find, run

NODE = "26.10.0"
CRYPTOGRAPHY = "50.0.2"
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"

OPENSSL_PACKAGES = "openssl libssl3t64 libc6 zlib1g libzstd1"


def node(base):
    """Node, from npm. Gives the program."""
    folder = base / f"node-{NODE}"
    program = folder / "node_modules/.bin/node"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, f"node@{NODE}", timeout=300).ok()
    return program


def cryptography(base):
    """A Python with pyca's `cryptography`. Gives the interpreter."""
    return venv(base / f"cryptography-{CRYPTOGRAPHY}", f"cryptography=={CRYPTOGRAPHY}")


def bouncy_castle(base):
    """Bouncy Castle's jars, from Maven Central. Gives the class path."""
    project = PROGRAMS / "pom.xml"
    folder = base / f"bouncycastle-{ElementTree.parse(project).findtext('.//{*}dependency/{*}version')}"
    if not list(folder.glob("bcpkix*.jar")):
        run("mvn", "-q", "-B", "-f", project, "dependency:copy-dependencies", f"-DoutputDirectory={folder}", timeout=600).ok()
    return f"{folder}/*"


def go(base):
    """The check program, built by a Go that knows ML-DSA. Go's toolchains are modules, so any Go can fetch one. Gives the program."""
    folder, sources = base / f"go-{GO}", PROGRAMS / "go"
    program = folder / "check"
    if program.exists() and program.stat().st_mtime > (sources / "main.go").stat().st_mtime:
        return program
    command, environment = toolchain(folder)
    run(command, "build", "-o", program, ".", cwd=sources, env=environment, timeout=600).ok()
    return program


def openssl(base):
    """An OpenSSL of 3.5 or later: the system's if it is one, else Debian 13's, unpacked beside with its own C library. Gives the command."""
    if find("openssl") and version(["openssl"]) >= (3, 5):
        return ["openssl"]
    root = debian(base / "openssl", OPENSSL_PACKAGES.split())
    command = loaded(root, root / "usr/bin/openssl")
    check(version(command) >= (3, 5), "the OpenSSL that came is older than 3.5")
    return command


def version(command):
    """The major and minor version of an openssl command."""
    words = run(*command, "version").ok().out.decode().split()
    return tuple(int(part) for part in words[1].split(".")[:2])
