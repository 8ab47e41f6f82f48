"""The servers: from Debian, the Go module proxy, Maven Central and PyPI, or built here out of what those give. Each once, into a folder of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from interop.fetch import GO, debian, go, loaded, venv
from interop.tools import check, run

SERVERS = Path(__file__).resolve().parents[1] / "servers"
PACKAGES = "openssl libssl3t64 libssl-dev libest-utils libest3 libc6 zlib1g libzstd1"
STEP_CA = "github.com/smallstep/certificates/cmd/step-ca@v0.30.2"
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"
SCEPSERVER = "github.com/micromdm/scep/v2/cmd/scepserver@v2.3.0"
VAULT = "github.com/hashicorp/vault@v1.21.4"
# The commit of v2.4.0: Go takes no version 2 of a module whose path does not say so.
OPENBAO = "github.com/openbao/openbao@v0.0.0-20250828202315-f9407a27fbee"
GLOBALSIGN_EST = "github.com/globalsign/est@v1.0.6"
MOTO, BOTOCORE = "5.2.5", "1.44.5"


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

    def built(self, name, module, package, *words, inner=(), repairs=()):
        """A program built out of a module's sources, with the published versions of its inner modules in the place of folders that the module
        comes without."""
        path, _, version = module.partition("@")
        program = self.base / f"{name}-{version}"
        if not program.exists():
            command, environment = go(self.go_folder)
            environment |= {"GOFLAGS": "-buildvcs=false -mod=mod", "CGO_ENABLED": "0"}
            self.base.mkdir(parents=True, exist_ok=True)
            answer = run(command, "mod", "download", "-json", module, cwd=self.base, env=environment, timeout=300).ok()
            sources = self.base / f"{name}-sources"
            shutil.rmtree(sources, ignore_errors=True)
            shutil.copytree(json.loads(answer.out)["Dir"], sources)
            for one in [sources, *sources.rglob("*")]:
                one.chmod(one.stat().st_mode | 0o200)
            for one in inner:
                run(command, "mod", "edit", "-dropreplace", f"{path}/{one}", cwd=sources, env=environment).ok()
            for file, before, after in repairs:
                text = (sources / file).read_text()
                check(text.count(before) == 1, f"{file} of {name} is not what it was")
                (sources / file).write_text(text.replace(before, after))
            words = [*words, "-trimpath", "-ldflags", "-s -w", "-o", program, package]
            build(command, "build", *words, environment=environment, cwd=sources)
            shutil.rmtree(sources)
        return [str(program)]

    def globalsign_est(self):
        """GlobalSign's EST server. `go install` looks for other versions of it, which are not handed out."""
        return self.built("globalsign-est", GLOBALSIGN_EST, "./cmd/estserver")

    def vault(self):
        """HashiCorp Vault without the plugins that are for clouds and databases. Its published inner modules differ from its own in three calls."""
        inner = ("api", "api/auth/approle", "api/auth/kubernetes", "api/auth/userpass", "sdk")
        return self.built("vault", VAULT, ".", "-tags", "minimal", inner=inner, repairs=REPAIRS)

    def openbao(self):
        """OpenBao."""
        inner = ("api/v2", "api/auth/approle/v2", "api/auth/kubernetes/v2", "api/auth/userpass/v2", "sdk/v2")
        return self.built("openbao", OPENBAO, ".", inner=inner)

    def moto(self):
        """A Python with moto, and with botocore, which both it and our front look things up in."""
        return venv(self.base / f"moto-{MOTO}-{BOTOCORE}", f"moto[server]=={MOTO}", f"botocore=={BOTOCORE}")


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
