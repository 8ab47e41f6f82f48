#!/usr/bin/env python3
"""A CA that is asked in JSON, over HTTP or as a program: `openssl ca` below it.

    json_ca.py DIR OPENSSL...            one question on standard input, the answer on standard output
    json_ca.py --listen PORT DIR OPENSSL...

DIR holds ca.pem and ca.key, and over HTTP the file `secret`. What the common name begins with decides: "refuse" is rejected, "wait" waits for
three seconds, "vanish" is issued and never answered, the first time.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SETTINGS = """[ca]
default_ca = this
[this]
database = json/index.txt
new_certs_dir = json/issued
rand_serial = yes
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 7
policy = any
preserve = yes
unique_subject = no
copy_extensions = copy
x509_extensions = device
[any]
commonName = supplied
organizationName = optional
[device]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth
"""


class Vanished(Exception):
    """It was done, and nobody is told."""


class Ca:
    """The CA in a folder."""

    def __init__(self, folder, openssl):
        self.folder, self.openssl = Path(folder).resolve(), openssl
        self.kept = self.folder / "json"
        (self.kept / "issued").mkdir(parents=True, exist_ok=True)
        self.lock = (self.kept / "lock").open("w")
        if not (self.kept / "index.txt").exists():
            (self.kept / "ca.cnf").write_text(SETTINGS)
            (self.kept / "index.txt").touch()

    def run(self, *words, given=None):
        command = [*self.openssl, "ca", "-batch", "-notext", "-config", "json/ca.cnf", *words]
        environment = {"PATH": os.environ.get("PATH", ""), "OPENSSL_CONF": "/dev/null"}
        return subprocess.run(command, input=given, capture_output=True, text=True, cwd=self.folder, env=environment, check=False)

    def answer(self, question):
        """`openssl ca` is alone with its index."""
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            known = {"submit": self.submit, "poll": self.poll, "find": self.find, "revoke": self.revoke}
            known |= {"certificates": self.certificates, "crl": self.crl, "check": self.check}
            return known.get(question["operation"], lambda _: {"status": "unsupported"})(question)
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_UN)

    def submit(self, question):
        order, key = question["order"], question["idempotency_key"]
        name = next((part["value"] for rdn in order["subject"]["rdns"] for part in rdn if part["type"] == "CN"), "")
        kept, asked = self.kept / f"{key}.pem", self.kept / f"{key}.asked"
        if kept.exists():
            return {"status": "issued", "certificate": kept.read_text()}
        if name.startswith("refuse"):
            return {"status": "rejected", "reason": "this name is not for you"}
        if name.startswith("wait"):
            if not asked.exists():
                asked.touch()
            if time.time() - asked.stat().st_mtime < 3:
                return {"status": "waiting", "reference": key, "retry_after": 1}
        dates = [re.sub("[-:T]", "", order[when]) for when in ("not_before", "not_after")]
        words = ["-in", "/dev/stdin", "-out", str(kept), "-startdate", dates[0], "-enddate", dates[1]]
        done = self.run(*words, given=order["csr_pem"])
        if done.returncode != 0:
            return {"status": "rejected", "reason": done.stderr[-300:]}
        if name.startswith("vanish"):
            raise Vanished
        return {"status": "issued", "certificate": kept.read_text(), "chain": [(self.folder / "ca.pem").read_text()]}

    def poll(self, question):
        return self.submit(question | {"idempotency_key": question["reference"]})

    def find(self, question):
        kept = self.kept / f"{question['idempotency_key']}.pem"
        return {"status": "issued", "certificate": kept.read_text()} if kept.exists() else {"status": "not-found"}

    def revoke(self, question):
        done = self.run("-revoke", "/dev/stdin", "-crl_reason", question["reason"], given=question["certificate"])
        good = done.returncode == 0 or "lready revoked" in done.stderr
        return {"status": "ok"} if good else {"status": "rejected", "reason": done.stderr[-300:]}

    def certificates(self, _):
        return {"status": "ok", "certificates": [(self.folder / "ca.pem").read_text()]}

    def crl(self, _):
        return {"status": "ok", "crl": self.run("-gencrl").stdout}

    def check(self, question):
        good = question.get("selector") == "devices"
        return {"status": "ok", "problems": [] if good else [f"there is no template {question.get('selector')!r}"]}


def listen(port, ca):
    secret = (ca.folder / "secret").read_text().strip().encode()

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = self.headers.get("Ravelin-Timestamp", "")
            proof = "v1=" + hmac.new(secret, f"v1:{said}:".encode() + body, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(proof, self.headers.get("Ravelin-Signature", "")) or abs(time.time() - int(said)) > 300:
                return self.give(401, {"error": "who are you"})
            try:
                self.give(200, ca.answer(json.loads(body)))
            except Vanished:
                self.close_connection = True

        def give(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, text, *values):
            print(text % values, flush=True)

    ThreadingHTTPServer(("127.0.0.1", port), Hook).serve_forever()


def main():
    words = sys.argv[1:]
    if words[0] == "--listen":
        return listen(int(words[1]), Ca(words[2], words[3:]))
    try:
        json.dump(Ca(words[0], words[1:]).answer(json.load(sys.stdin)), sys.stdout)
    except Vanished:
        sys.exit(1)
    return None


main()
