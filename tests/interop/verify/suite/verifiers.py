"""The verifiers, all behind one question: is this so? Each answers `ok`, `refused` or `cannot`, and why.

A job is a dict: `id`, `kind`, `file`, and as the kind needs them `issuer`, `chain`, `root`, `crls`, `other`, `key`: paths, of DER but for the key.

    certificate              the signature of a certificate, by its issuer's key; the issuer's name; may the issuer sign certificates
    self-signed              the signature of a certificate by its own key, which need not be a CA's
    chain                    path validation from a certificate to a root, with CRLs where there are any
    handshake                the same, by a TLS 1.3 server whose client has the certificate
    crl, csr                 the signature of a CRL, of a certification request
    alternative-certificate  the signature in extension 2.5.29.74, by the issuer's alternative key
    alternative-crl          likewise
    related                  the hash in a certificate is that of the other certificate (RFC 9763)
"""

import json

from interop.tools import check, run, tail

from . import fetch

PATIENCE = 300
"""Seconds for one program and all of its jobs."""


class OpenSsl:
    """The `openssl` command: path validation in strict mode, CRLs, requests."""

    name = "OpenSSL"
    tools = ("openssl",)
    heeds_crls = ("chain",)
    # What it says of a key or signature of a kind that it does not know.
    UNKNOWN = ("unsupported", "decode error", "Unable to load Public Key", "unable to decode issuer public key", "unknown signature algorithm")

    def __init__(self, folder):
        self.command = fetch.openssl(folder)

    def version(self):
        return run(*self.command, "version").ok().out.decode().split()[1]

    def check(self, jobs):
        return {job["id"]: self.one(job) for job in jobs}

    def one(self, job):
        file, time = job["file"], "-no_check_time"
        if job["kind"] == "certificate":
            # The issuer is trusted whatever it is, so that the signature of this one is what is looked at; a root is its own issuer.
            command = ["verify", time, "-partial_chain", "-check_ss_sig", "-trusted", job["issuer"], file]
        elif job["kind"] == "self-signed":
            command = ["verify", time, "-partial_chain", "-check_ss_sig", "-trusted", file, file]
        elif job["kind"] == "chain":
            command = ["verify", "-x509_strict", "-check_ss_sig", "-trusted", job["root"]]
            command += [word for path in job["chain"] if path != job["root"] for word in ("-untrusted", path)]
            command += [word for path in job.get("crls", ()) for word in ("-CRLfile", path)]
            command += ["-crl_check_all"] if job.get("crls") else []
            command.append(file)
        elif job["kind"] == "crl":
            command = ["crl", "-noout", "-CAfile", job["issuer"], "-in", file]
        elif job["kind"] == "csr":
            command = ["req", "-verify", "-noout", "-in", file]
        else:
            return "cannot", f"there is no command for a {job['kind']}"
        result = run(*self.command, *command)
        said = " ".join(result.text.split())
        if result.status == 0 and "failure" not in said:
            return "ok", ""
        return "cannot" if any(words in said for words in self.UNKNOWN) else "refused", said


class Program:
    """A verifier that is a program of its own: JSON jobs on stdin, JSON answers on stdout."""

    heeds_crls = ()
    """The kinds of jobs in which it looks at CRLs, so that what is revoked has to be refused."""

    def version(self):
        return run(*self.command, "--version").ok().out.decode().strip()

    def ask(self, jobs):
        result = run(*self.command, stdin=json.dumps(jobs).encode(), timeout=PATIENCE)
        check(result.status == 0, f"{self.name} ended with status {result.status}:\n{tail(result.err.decode())}")
        return [(answer["id"], answer["result"], answer["why"]) for answer in map(json.loads, result.out.decode().splitlines())]

    def check(self, jobs):
        answers = {name: (result, why) for name, result, why in self.ask(jobs)}
        check(len(answers) == len(jobs), f"{self.name} answered {len(answers)} of {len(jobs)} jobs")
        return answers


class Node(Program):
    """Node's X509Certificate, and its TLS."""

    name = "Node.js"
    tools = ("npm",)
    heeds_crls = ("handshake",)

    def __init__(self, folder):
        self.command = [fetch.node(folder), fetch.PROGRAMS / "node_check.mjs"]


class Pyca(Program):
    """The Python package `cryptography`, with an OpenSSL of its own; path validation is its own."""

    name = "pyca cryptography"
    tools = ()

    def __init__(self, folder):
        self.command = [fetch.cryptography(folder), fetch.PROGRAMS / "pyca_check.py"]


class Go(Program):
    """Go's crypto/x509."""

    name = "Go"
    tools = ("go",)

    def __init__(self, folder):
        self.command = [fetch.go(folder)]


class BouncyCastle(Program):
    """Bouncy Castle: the only one that knows composite and alternative signatures."""

    name = "Bouncy Castle"
    tools = ("javac", "mvn")
    heeds_crls = ("chain",)

    def __init__(self, folder):
        self.command = ["java", "-cp", fetch.bouncy_castle(folder), fetch.PROGRAMS / "Check.java"]

    def ask(self, jobs):
        fields = ("id", "kind", "file", "issuer", "root", "other")
        lines = []
        for job in jobs:
            words = [str(job.get(field) or "") for field in fields]
            lines.append("\t".join([*words, "|".join(map(str, job.get("chain", ()))), "|".join(map(str, job.get("crls", ())))]))
        result = run(*self.command, stdin="\n".join(lines).encode(), timeout=PATIENCE)
        check(result.status == 0, f"{self.name} ended with status {result.status}:\n{tail(result.err.decode())}")
        return [line.split("\t") for line in result.out.decode().splitlines()]


ALL = (OpenSsl, Node, Pyca, BouncyCastle, Go)
