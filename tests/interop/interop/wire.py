"""What stands on the wire between a client and its server: a recorder that can answer by itself or pass on, and change the shape of
what it passes on."""

import base64
import http.client
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Seen:
    """One request as it came."""

    def __init__(self, method, target, version, headers, body):
        self.method, self.target, self.version, self.headers, self.body = method, target, version, headers, body

    @property
    def operation(self):
        return query(self.target).get("operation", "")

    @property
    def message(self):
        """The pkiMessage: the body, or what the query says."""
        return self.body if self.method == "POST" else from_base64(query(self.target).get("message", ""))

    def text(self):
        """Request line and headers, without what changes from run to run."""
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers if name.lower() != "host")
        return f"{self.method} {self.target} {self.version}\n{headers}"


def query(target):
    """The query of a request target, by RFC 3986: a plus sign is a plus sign."""
    pairs = (pair.partition("=") for pair in target.partition("?")[2].split("&"))
    return {name: urllib.parse.unquote(value) for name, _, value in pairs}


def from_base64(text):
    text = "".join(text.split()).replace("-", "+").replace("_", "/").replace(" ", "+")
    return base64.b64decode(text + "=" * (-len(text) % 4))


class Wire:
    """Listens on loopback, records, and lets `answer(seen)` give (status, content type, body)."""

    def __init__(self, answer):
        self.seen = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                seen = Seen(self.command, self.path, self.request_version, list(self.headers.items()), self.rfile.read(length))
                wire.seen.append(seen)
                try:
                    status, kind, body = answer(seen)
                except OSError as error:
                    status, kind, body = 502, "text/plain", str(error).encode()
                self.send_response_only(status)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}{path}"

    def operations(self, name="PKIOperation"):
        return [seen for seen in self.seen if seen.operation == name]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def pass_on(port):
    """Passes requests on as they came."""

    def answer(seen):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {name: value for name, value in seen.headers if name.lower() not in ("host", "connection", "content-length")}
        connection.request(seen.method, seen.target, seen.body if seen.method == "POST" else None, headers)
        response = connection.getresponse()
        result = response.status, response.getheader("Content-Type"), response.read()
        connection.close()
        return result

    return answer


def pass_on_as_old_router(port):
    """Passes every request on as routers of 2005 send it: GET only, HTTP/1.0, no Host header, the URL-safe alphabet, line breaks."""

    def answer(seen):
        target = seen.target
        if seen.method == "POST":
            text = base64.urlsafe_b64encode(seen.body).decode()
            lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64)) + "\n"
            path = target.partition("?")[0]
            target = f"{path}/pkiclient.exe?message={urllib.parse.quote(lines, safe='')}&operation=PKIOperation"
        return get_http_1_0(port, target)

    return answer


def get_http_1_0(port, target):
    """GET over HTTP/1.0 without a Host header. Gives (status, content type, body)."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers.get("content-type"), body
