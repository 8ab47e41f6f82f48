"""A stand-in for the web enrollment pages of Active Directory Certificate Services. Its pages are ours: they have the IDs, links, cookies and codes that
the real ones are known by, and sentences of another language than English.

    certsrv_stub.py PORT DIR OPENSSL

Basic, EXAMPLE\\ravelin and `certsrv password`. CN decides: `refuse…` is denied; `wait…` waits three seconds for a manager.
"""

import base64
import html
import ssl
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from stub_ca import Ca, Handler, Kept, Server  # noqa: E402

ACCOUNT = base64.b64encode(b"EXAMPLE\\ravelin:certsrv password").decode()
DECIDED_AFTER = 3.0
DENIED, ISSUED, UNDER_SUBMISSION = 2, 3, 5
NO_SUCH = "0x80094004"
UNSUPPORTED_TEMPLATE = "0x80094800"


class Stub:
    """The CA's database of requests."""

    def __init__(self, folder, openssl):
        self.ca, self.folder, self.lock = Ca(folder, openssl), Path(folder), threading.Lock()
        self.kept = Kept(self.folder / "stub-database", [])
        self.requests = self.kept.value

    def submit(self, form):
        if form.get("Mode") != "newreq" or not form.get("CertAttrib", "").startswith("CertificateTemplate:"):
            return error(1, "0x80070057")
        request = form["CertRequest"].encode()
        try:
            name = self.ca.subject(request)
        except ValueError:
            return error(1, "0x80093005")
        with self.lock:
            number = len(self.requests) + 1
            row = {"csr": request, "since": time.time(), "disposition": UNDER_SUBMISSION, "der": None}
            self.requests.append(row)
            self.kept.keep()
        if form["CertAttrib"] != "CertificateTemplate:RavelinDevice\r\n" or name.startswith("refuse"):
            row["disposition"] = DENIED
            with self.lock:
                self.kept.keep()
        elif not name.startswith("wait"):
            with self.lock:
                self.decide(row)
        return self.result(number, row)

    def decide(self, row):
        row["der"], _ = self.ca.issue(row["csr"])
        row["disposition"] = ISSUED
        self.kept.keep()

    def known(self, number):
        """A request, after a manager has looked."""
        with self.lock:
            row = self.requests[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(self.requests) else None
            if row and row["disposition"] == UNDER_SUBMISSION and time.time() - row["since"] > DECIDED_AFTER:
                self.decide(row)
        return row

    def result(self, number, row):
        if row["disposition"] == ISSUED:
            links = "".join(f'<A Href="certnew.{kind}?ReqID={number}&amp;Enc={enc}">{enc}</A> ' for kind in ("cer", "p7b") for enc in ("bin", "b64"))
            return page(f"<P ID=locPageTitle><B>Zertifikat ausgestellt</B>\n<P>{links}")
        if row["disposition"] == DENIED:
            message = html.escape(f"Verweigert vom Richtlinienmodul {UNSUPPORTED_TEMPLATE}, die Vorlage wird nicht unterstützt.")
            return page(
                f"<P ID=locPageTitle><B>Abgelehnt</B>\n<P ID=locDenied>Die Anforderung wurde abgelehnt.</P>\n"
                f'<P ID=locInfoReqIDandReason>Die ID ist {number}. Die Meldung ist "{message}".</P>'
            )
        return page(
            f"<P ID=locPageTitle><B>Zertifikat steht aus</B>\n<P ID=locInfoNewReq>Ihre Anforderung ist eingegangen.</P>\n"
            f"<P ID=locInfoReqID>\nIhre Anforderungs-ID ist {number}.\n</P>\n<P ID=locTimeoutWarning>Kommen Sie binnen 10 Tagen wieder.</P>"
        )

    def certificate(self, query, browser):
        """Certificates are text for whoever is no browser."""
        kind = "application/pkix-cert" if browser else "text/html"
        if query.get("ReqID") == "CACert":
            return 200, kind, self.ca.run("x509", "-in", self.folder / "ca.pem")
        row = self.known(query.get("ReqID", ""))
        if row is None:
            return error("<LocID ID=locDispNeverSet>(nie gesetzt)</LocID>", NO_SUCH)
        if row["disposition"] != ISSUED:
            return error(f"{row['disposition']:X}", "0x00000000")
        return 200, kind, self.ca.pem(row["der"])

    def answered(self, method, path, query, body, browser):
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if (method, path) == ("POST", "/certsrv/certfnsh.asp"):
            if form.get("Mode") != "chkpnd":
                return self.submit(form)
            row = self.known(form.get("ReqID", ""))
            return self.result(form["ReqID"], row) if row else error("-", NO_SUCH)
        if (method, path) == ("GET", "/certsrv/certnew.cer"):
            return self.certificate(query, browser)
        if (method, path) == ("GET", "/certsrv/certcarc.asp"):
            return page("<Script>\nvar nRenewals=0;\n</Script>")
        if (method, path) == ("GET", "/certsrv/certnew.p7b") and query.get("ReqID") == "CACert":
            chain = self.ca.run("crl2pkcs7", "-nocrl", "-certfile", self.folder / "chain.pem").decode()
            return 200, "application/x-pkcs7-certificates", chain.replace("PKCS7", "CERTIFICATE").encode()
        if (method, path) == ("GET", "/certsrv/certcrl.crl"):
            return 200, "application/pkix-crl", self.ca.run("crl", "-inform", "DER", given=self.ca.crl())
        return 404, "text/html", b"<html>404</html>"


def page(inner):
    text = (
        '<HTML><Head><Meta HTTP-Equiv="Content-Type" Content="text/html; charset=UTF-8"><Title>Zertifikatdienste</Title></Head>\n'
        f"<Body><LocID ID=locMSCertSrv>Zertifikatdienste</LocID>\n{inner}\n</Body></HTML>"
    )
    return 200, "text/html", text.encode()


def error(disposition, code):
    return page(
        f"<P ID=locPageTitle><B>Fehler</B>\n<P ID=locReqFailed>Es ist ein Fehler aufgetreten.</P><DL><DT ID=locDispLabel><B>Disposition:</B></DT><DD>\n"
        f"\t\t{disposition} <LocID ID=locDispSpacer>-</LocID></DD><DT ID=locResultLabel>Ergebnis:</DT><DD>{code}</DD></DL>"
    )


def main():
    port, folder, openssl = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    stub = Stub(folder, openssl)

    class Pages(Handler):
        def answered(self, body):
            if self.headers.get("Authorization") != f"Basic {ACCOUNT}":
                return 401, {"WWW-Authenticate": 'Basic realm="certsrv"'}, b"<html>401</html>"
            path, _, query = self.path.partition("?")
            browser = "Mozilla" in self.headers.get("User-Agent", "")
            status, kind, answer = stub.answered(self.command, path, dict(parse_qsl(query)), body, browser)
            return status, {"Content-Type": kind}, answer

    Server(port, folder, Pages, ssl.CERT_OPTIONAL).serve_forever()


if __name__ == "__main__":
    main()
