"""Where the verifiers come from: package registries and Debian. Each is put into a folder of its own, once; nothing of the system is changed
but for the tools that are missing (npm, Maven, a JDK, Go).
"""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from interop.tools import check, find, install_packages, run

NODE = "26.10.0"
CRYPTOGRAPHY = "50.0.2"
GO = "1.27.4"
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"

DEBIAN = "http://deb.debian.org/debian"
RELEASE = "trixie"
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
    folder = base / f"cryptography-{CRYPTOGRAPHY}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        run(sys.executable, "-m", "venv", "--clear", folder, timeout=120).ok()
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"cryptography=={CRYPTOGRAPHY}", timeout=300).ok()
        (folder / "ready").touch()
    return python


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
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOMODCACHE": str(folder / "modules"), "GOCACHE": str(folder / "cache")}
    machine = run("go", "env", "GOOS", "GOARCH").ok().out.decode().split()
    module = f"golang.org/toolchain@v0.0.1-go{GO}.{'-'.join(machine)}"
    (folder / "go.mod").write_text("module fetch\n")
    answer = run("go", "mod", "download", "-json", module, cwd=folder, env=environment, timeout=600).ok()
    root = Path(json.loads(answer.out)["Dir"])
    # A module cache keeps no execute bits.
    for one in [*(root / "bin").iterdir(), *(root / "pkg/tool").rglob("*")]:
        if one.is_file():
            one.chmod(0o755)
    environment |= {"GOROOT": str(root), "GOFLAGS": "-buildvcs=false"}
    run(root / "bin/go", "build", "-o", program, ".", cwd=sources, env=environment, timeout=600).ok()
    return program


def openssl(base):
    """An OpenSSL of 3.5 or later: the system's if it is one, else Debian 13's, unpacked beside with its own C library. Gives the command."""
    if find("openssl") and version(["openssl"]) >= (3, 5):
        return ["openssl"]
    folder = base / "openssl"
    root = folder / "root"
    if not (folder / "ready").exists():
        for part in ("lists/partial", "cache/archives/partial", "state", "packages"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        if not keyring.exists():
            install_packages(["debian-archive-keyring"])
        (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {DEBIAN} {RELEASE} main\n")
        settings = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": folder / "state",
            "Dir::State::Lists": folder / "lists",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache": folder / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        run("apt-get", *options, "update", "-q", timeout=180).ok()
        run("apt-get", *options, "download", "-q", *OPENSSL_PACKAGES.split(), cwd=folder / "packages", timeout=180).ok()
        for package in (folder / "packages").glob("*.deb"):
            run("dpkg-deb", "-x", package, root).ok()
        (folder / "ready").touch()
    libraries = next(root.glob("usr/lib/*/libssl.so.3")).parent
    loader = next(libraries.glob("ld-linux*"))
    command = [str(loader), "--library-path", str(libraries), str(root / "usr/bin/openssl")]
    check(version(command) >= (3, 5), "the OpenSSL that came is older than 3.5")
    return command


def version(command):
    """The major and minor version of an openssl command."""
    words = run(*command, "version").ok().out.decode().split()
    return tuple(int(part) for part in words[1].split(".")[:2])
