"""jscep (Java, on Bouncy Castle) from Maven Central, by `jscep/Driver.java`: POST or GET, CertPoll, GetCert, GetCRL."""

import shutil
from pathlib import Path

from .tools import install, run

SOURCE = Path(__file__).resolve().parents[1] / "jscep"


class JScep:
    """Compiled once, run from a folder of jars."""

    def __init__(self, work):
        install(["javac", "mvn"])
        self.folder = Path(work) / "jscep"
        self.folder.mkdir()
        shutil.copy(SOURCE / "pom.xml", self.folder)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={self.folder}/lib"]
        run(*command, cwd=self.folder, timeout=300).ok()
        self.path = f"{self.folder}/lib/*:{self.folder}/classes"
        run("javac", "-nowarn", "-cp", self.path, "-d", self.folder / "classes", SOURCE / "Driver.java", timeout=120).ok()

    def version(self):
        jar = next((self.folder / "lib").glob("jscep-*.jar"))
        return jar.stem.replace("-", " ", 1)

    def drive(self, action, url, folder, method, *arguments):
        return run("java", "-cp", self.path, "Driver", action, url, folder, method, *arguments, timeout=90)
