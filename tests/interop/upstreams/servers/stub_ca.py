"""What the stubs have in common: a CA that signs with the `openssl` command, and TLS that asks for our certificate.

The folder holds what `peers/pki.py` makes: root.pem, ca.pem, ca.key, chain.pem, server-chain.pem, server.key.
"""

import pickle
import secrets
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DEVICE = """[device]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ca]
default_ca = own
[own]
database = DIR/stub-index.txt
crlnumber = DIR/stub-crlnumber
certificate = DIR/ca.pem
private_key = DIR/ca.key
default_md = default
default_crl_days = 7
"""


def say(line):
    """One line on standard output, as a whole: many threads speak."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Kept:
    """What outlives the process: a file that is replaced as a whole."""

    def __init__(self, file, at_first):
        self.file = Path(file)
        self.value = pickle.loads(self.file.read_bytes()) if self.file.exists() else at_first

    def keep(self):
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(self.value))
        fresh.replace(self.file)


class Ca:
    """Signs what it is given: the names are the request's, all else is ours."""

    def __init__(self, folder, openssl):
        self.folder, self.openssl = Path(folder), openssl.split()
        self.lock, self.revoked = threading.Lock(), Kept(self.folder / "stub-revoked", [])
        (self.folder / "stub.cnf").write_text(DEVICE.replace("DIR", str(self.folder)))
        number = self.folder / "stub-crlnumber"
        if not number.exists():
            number.write_text("01\n")

    def run(self, *words, given=None):
        done = subprocess.run([*self.openssl, *map(str, words)], input=given, capture_output=True, env={"OPENSSL_CONF": "/dev/null"}, check=False)
        if done.returncode:
            raise ValueError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def subject(self, request):
        """The common name of a request in PEM, whose signature is checked."""
        self.run("req", "-verify", "-noout", given=request)
        text = self.run("req", "-noout", "-subject", "-nameopt", "multiline,utf8,-esc_msb", given=request).decode()
        names = [line.split("=", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("commonName")]
        return names[0] if names else ""

    def issue(self, request):
        """A certificate, DER, with its serial number in hex."""
        serial = f"{secrets.randbits(127) | 1 << 126:X}"
        place = self.folder / f"stub-{serial}.csr"
        place.write_bytes(request)
        now = time.time()
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(now + seconds)) for seconds in (-600, 30 * 86400)]
        try:
            der = self.run(
                *("x509", "-req", "-in", place, "-CA", self.folder / "ca.pem", "-CAkey", self.folder / "ca.key", "-set_serial", f"0x{serial}"),
                *("-not_before", dates[0], "-not_after", dates[1], "-extfile", self.folder / "stub.cnf", "-extensions", "device"),
                *("-copy_extensions", "copy", "-outform", "DER"),
            )
        finally:
            place.unlink()
        say(f"issued {serial} {self.subject(request)}")
        return der, serial

    def pem(self, der):
        return self.run("x509", "-inform", "DER", given=der)

    def revoke(self, serial):
        with self.lock:
            self.revoked.value.append(serial.upper())
            self.revoked.keep()
        self.crl()
        say(f"revoked {serial.upper()}")

    def crl(self):
        """The CRL, DER; it is left in stub.crl too."""
        with self.lock:
            day = time.strftime("%y%m%d%H%M%SZ", time.gmtime())
            later = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 30 * 86400))
            rows = [f"R\t{later}\t{day}\t{serial}\tunknown\t/CN=revoked\n" for serial in self.revoked.value]
            (self.folder / "stub-index.txt").write_text("".join(rows))
            pem = self.run("ca", "-gencrl", "-config", self.folder / "stub.cnf", "-name", "own")
            der = self.run("crl", "-outform", "DER", given=pem)
            (self.folder / "stub.crl").write_bytes(der)
        return der


class Handler(BaseHTTPRequestHandler):
    """One request; `answered` gives status, header fields and body."""

    protocol_version = "HTTP/1.1"

    def answered(self, body):
        raise NotImplementedError

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = self.answered(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = handle_any

    def log_message(self, text, *values):
        say(f"asked {text % values}")


class Server(ThreadingHTTPServer):
    """Over TLS; the handshake belongs to the connection's own thread."""

    def __init__(self, port, folder, handler, clients):
        super().__init__(("127.0.0.1", port), handler)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{folder}/root.pem")
        self.context.verify_mode = clients
        self.context.load_cert_chain(f"{folder}/server-chain.pem", f"{folder}/server.key")

    def finish_request(self, request, client_address):
        try:
            request.settimeout(30)
            with self.context.wrap_socket(request, server_side=True) as secured:
                self.RequestHandlerClass(secured, client_address, self)
        except (OSError, ssl.SSLError) as error:
            say(f"ended {error}")
