"""What stands in front of an EST server where labels are in use: TLS with client certificates, and a server behind each label.

    est_front.py PORT DIR RETRY-AFTER LABEL=PORT...

DIR holds root.pem, server-chain.pem, server.key, and ra-chain.pem and ra.key, by which it goes on to the servers behind it. A caller has to show a
certificate under root.pem or a password, which is passed on. libest says `Retry-After: 3600` whatever it is told; here it becomes RETRY-AFTER.
"""

import http.client
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WELL_KNOWN = "/.well-known/est/"


def main():
    port, folder, patience = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    behind = {label: int(number) for label, number in (word.split("=") for word in sys.argv[4:])}
    onward = ssl.create_default_context(cafile=f"{folder}/root.pem")
    known = ssl.create_default_context(cafile=f"{folder}/root.pem")
    known.load_cert_chain(f"{folder}/ra-chain.pem", f"{folder}/ra.key")

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def passed(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            label, _, operation = self.path.removeprefix(WELL_KNOWN).partition("/")
            if not self.path.startswith(WELL_KNOWN) or label not in behind or not operation:
                return self.answer(404, {}, b"no such label\n")
            # Whoever showed a certificate goes on as the front's own; the others with what they sent.
            shown = self.connection.getpeercert()
            headers = {name: self.headers[name] for name in ("Content-Type", "Authorization") if self.headers[name]}
            server = http.client.HTTPSConnection("127.0.0.1", behind[label], context=known if shown else onward, timeout=20)
            server.request(self.command, WELL_KNOWN + operation, body or None, headers)
            answer = server.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in ("content-type", "www-authenticate", "retry-after")}
            if answer.status == 202:
                kept["Retry-After"] = patience
            self.answer(answer.status, kept, answer.read())

        do_GET = do_POST = passed

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, text, *values):
            print(text % values, flush=True)

    server = ThreadingHTTPServer(("127.0.0.1", port), Front)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{folder}/root.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(f"{folder}/server-chain.pem", f"{folder}/server.key")
    # The handshake belongs to the connection's own thread.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("listening", port, flush=True)
    server.serve_forever()


main()
