"""Where programs come from that the system does not have: Debian's packages of another release, Go's toolchains, and Python packages. Each is put
into a folder of its own, once; nothing of the system is changed.
"""

import json
import sys
from pathlib import Path

from .tools import install_packages, run

GO = "1.27.4"
DEBIAN = "http://deb.debian.org/debian"
RELEASE = "trixie"


def debian(folder, packages):
    """Unpacks packages of Debian 13 with what they need beside them. Gives the root folder."""
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
        run("apt-get", *options, "download", "-q", *packages, cwd=folder / "packages", timeout=180).ok()
        for package in (folder / "packages").glob("*.deb"):
            run("dpkg-deb", "-x", package, root).ok()
        (folder / "ready").touch()
    return root


def loaded(root, program):
    """The command for a program in such a root: run with the C library that came with it."""
    libraries = next(root.glob("usr/lib/*/libssl.so.3")).parent
    loader = next(libraries.glob("ld-linux*"))
    return [str(loader), "--library-path", str(libraries), str(program)]


def go(folder):
    """A Go toolchain of that version: Go publishes them as modules, so any Go can fetch one. Gives the command and its environment."""
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
    return root / "bin/go", environment | {"GOROOT": str(root), "GOFLAGS": "-buildvcs=false"}


def venv(folder, *requirements):
    """A Python with packages of PyPI. Gives the interpreter."""
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        run(sys.executable, "-m", "venv", "--clear", folder, timeout=120).ok()
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements, timeout=300).ok()
        (folder / "ready").touch()
    return python
