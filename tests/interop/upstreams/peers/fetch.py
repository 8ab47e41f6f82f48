"""The servers: from Debian, the Go module proxy and Maven Central, or built here out of what those give. Each once, into a folder of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from interop.fetch import GO, debian, go, loaded
from interop.tools import check, run

SERVERS = Path(__file__).resolve().parents[1] / "servers"
PACKAGES = "openssl libssl3t64 libssl-dev libest-utils libest3 libc6 zlib1g libzstd1"
STEP_CA = "github.com/smallstep/certificates/cmd/step-ca@v0.30.2"
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"
SCEPSERVER = "github.com/micromdm/scep/v2/cmd/scepserver@v2.3.0"
VAULT = "github.com/hashicorp/vault@v1.21.4"


class Shelf:
    """Where they are kept."""

    def __init__(self, target, ravelin=None):
        self.base, self.ravelin = target / "upstreams", ravelin and Path(ravelin).resolve()
        self.go_folder = target / "verifiers" / f"go-{GO}"

    def debian(self):
        """The root of Debian 13's packages."""
        return debian(self.base / "debian", PACKAGES.split())

    def openssl(self):
        """OpenSSL 3.5's command."""
        root = self.debian()
        return loaded(root, root / "usr/bin/openssl")

    def estserver(self):
        """libest's server."""
        root = self.debian()
        return loaded(root, root / "usr/bin/estserver")

    def cmp_ca(self):
        """Our CA around OpenSSL's CMP server library."""
        root, source, program = self.debian(), SERVERS / "cmp_ca.c", self.base / "cmp_ca"
        if newer(source, program):
            library = next(root.glob("usr/lib/*/libcrypto.so.3"))
            headers = [root / "usr/include", root / "usr/include" / library.parent.name]
            command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *(word for one in headers for word in ("-isystem", one))]
            # The library's own needs are met by the C library that it runs with.
            run(*command, "-o", program, source, library, "-Wl,--allow-shlib-undefined", timeout=120).ok()
        return loaded(root, program)

    def cmp_ra(self):
        """Siemens' CMP RA component."""
        folder, project = self.base / "cmp-ra", SERVERS / "pom.xml"
        version = ElementTree.parse(project).findtext(".//{*}properties/{*}bouncycastle.version")
        if not list(folder.glob(f"lib/bcpkix*{version}.jar")):
            shutil.rmtree(folder / "lib", ignore_errors=True)
            words = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}/lib", "-DincludeScope=runtime"]
            run("mvn", "-q", "-B", "-f", project, *words, timeout=600).ok()
        source, built = SERVERS / "CmpRa.java", folder / "CmpRa.class"
        if newer(source, built):
            run("javac", "-cp", f"{folder}/lib/*", "-d", folder, source, timeout=120).ok()
        return ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{folder}:{folder}/lib/*", "CmpRa"]

    def installed(self, package):
        """A program that `go install` makes of a module."""
        name, _, version = package.partition("@")
        program = self.base / f"{name.rsplit('/', 1)[1]}-{version}"
        if not program.exists():
            command, environment = go(self.go_folder)
            folder = self.base / "bin"
            build(command, "install", package, environment=environment | {"GOBIN": str(folder), "CGO_ENABLED": "0"})
            (folder / name.rsplit("/", 1)[1]).rename(program)
        return [str(program)]

    def step_ca(self):
        """step-ca."""
        return self.installed(STEP_CA)

    def pebble(self):
        """pebble."""
        return self.installed(PEBBLE)

    def scepserver(self):
        """micromdm's scepserver."""
        return self.installed(SCEPSERVER)

    def vault(self):
        """HashiCorp Vault without the plugins that are for clouds and databases."""
        module, _, version = VAULT.partition("@")
        program = self.base / f"vault-{version}"
        if not program.exists():
            command, environment = go(self.go_folder)
            environment |= {"GOFLAGS": "-buildvcs=false -mod=mod", "CGO_ENABLED": "0"}
            self.base.mkdir(parents=True, exist_ok=True)
            answer = run(command, "mod", "download", "-json", VAULT, cwd=self.base, env=environment, timeout=300).ok()
            sources = self.base / "vault-sources"
            shutil.rmtree(sources, ignore_errors=True)
            shutil.copytree(json.loads(answer.out)["Dir"], sources)
            for one in [sources, *sources.rglob("*")]:
                one.chmod(one.stat().st_mode | 0o200)
            # The module comes without its inner modules (the API, the SDK). Their published versions take the place of the folders that
            # are not there, and differ from what was in those in three calls.
            for inner in ("api", "api/auth/approle", "api/auth/kubernetes", "api/auth/userpass", "sdk"):
                run(command, "mod", "edit", "-dropreplace", f"{module}/{inner}", cwd=sources, env=environment).ok()
            for file, before, after in REPAIRS:
                text = (sources / file).read_text()
                check(text.count(before) == 1, f"{file} of Vault is not what it was")
                (sources / file).write_text(text.replace(before, after))
            words = ["-tags", "minimal", "-trimpath", "-ldflags", "-s -w", "-o", program, "."]
            build(command, "build", *words, environment=environment, cwd=sources)
            shutil.rmtree(sources)
        return [str(program)]


REPAIRS = [
    (
        "vault/identity_store.go",
        "ActivationFunc: iStore.activateDeduplication,",
        "ActivationFunc: func(c context.Context, r *logical.Request, _ string) error { return iStore.activateDeduplication(c, r) },",
    ),
    ("vault/logical_system_activation_flags.go", "b.idStoreBackend.ActivationFunc(ctx, nil)", 'b.idStoreBackend.ActivationFunc(ctx, nil, "")'),
    (
        "builtin/logical/transit/path_restore.go",
        "restoredKeyName, err := b.lm.RestorePolicy",
        "restoredKeyName := keyName\n\terr := b.lm.RestorePolicy",
    ),
]


def newer(source, built):
    built.parent.mkdir(parents=True, exist_ok=True)
    return not built.exists() or built.stat().st_mtime < source.stat().st_mtime


def build(*command, environment, cwd=None):
    """A build that may take minutes, at the pace that others leave."""
    niceness = ["nice", "-n", os.environ.get("UPSTREAMS_NICE", "0")]
    done = subprocess.run([*niceness, *map(str, command)], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1500)
    check(done.returncode == 0, f"{' '.join(map(str, command))[:200]} failed:\n{done.stderr[-3000:]}")
