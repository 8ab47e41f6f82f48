"""A way to a CA that can be made slow, closed, deaf, or cut or held at a chosen moment. It passes bytes on and looks into none of them.

    gate.py PORT HOST:PORT CONTROL       # then: curl 127.0.0.1:CONTROL/down | /up | /deaf | /slow?2.5 | /cut?1 | /part?1,300 | /state
"""

import selectors
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 65536


class Gate:
    """Listens on a port of its own and passes on to `host:port`."""

    def __init__(self, host, port, listen=0):
        self.target = (host, port)
        self.lock, self.open = threading.Lock(), set()
        self.listener = self.port = None
        self.delay, self.deaf_now, self.when, self.part, self.holds = 0.0, False, None, 0, False
        self.passed, self.cuts = 0, 0
        self._listen(listen)

    def _listen(self, port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
        self.listener, self.port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def down(self):
        """Nobody is there any more: connections break, new ones are refused."""
        listener, self.listener = self.listener, None
        if listener:
            # Shutting down wakes the accept that would else keep the port.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self.lock:
            for one in self.open:
                _shut(one)

    def up(self):
        """As at first."""
        self.delay, self.deaf_now, self.when, self.holds = 0.0, False, None, False
        if not self.listener:
            self._listen(self.port)

    def slow(self, seconds):
        """Each answer takes that much longer."""
        self.delay = seconds

    def deaf(self):
        """Connections are taken, and nothing ever comes back."""
        self.deaf_now = True

    def cut(self, when=1, part=0):
        """Breaks one connection instead of passing on an answer, or after `part` bytes of it.

        Which one: the first answer that finds the condition true (the CA has signed by then), or with a number, the first that follows so
        many answers on its connection: 0 for plain HTTP, 1 after a handshake of TLS 1.3, 2 of TLS 1.2.
        """
        self.part, self.holds = part, False
        self.when = when if callable(when) else lambda flights: flights > when

    def hold(self, when):
        """Keeps back everything on the first connection whose answer finds the condition true, until the gate is `up` again."""
        self.holds, self.when = True, when

    def _due(self, flights):
        when = self.when
        if when is None:
            return False
        with self.lock:
            due = self.when is when and (when(flights) if when.__code__.co_argcount else when())
            if due:
                self.when, self.cuts = None, self.cuts + 1
            return due

    def _carry(self, client):
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            _shut(client)
            return
        # A timeout of the connecting stays with the socket.
        server.settimeout(None)
        self.passed += 1
        with self.lock:
            self.open |= {client, server}
        try:
            self._both(client, server)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= {client, server}
            for one in (client, server):
                _shut(one)
                one.close()

    def _both(self, client, server):
        watch = selectors.DefaultSelector()
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            watch.register(one, selectors.EVENT_READ)
        flights, last = 0, client
        while True:
            for key, _ in watch.select():
                source = key.fileobj
                data = source.recv(CHUNK)
                if not data:
                    return
                if source is client:
                    if not self.deaf_now:
                        server.sendall(data)
                else:
                    flights += last is client
                    if self.deaf_now:
                        continue
                    if self.delay:
                        time.sleep(self.delay)
                    if self._due(flights):
                        while self.holds and self.listener:
                            time.sleep(0.1)
                        client.sendall(data[: self.part])
                        return
                    client.sendall(data)
                last = source


def _shut(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def main():
    port, target, control = sys.argv[1:4]
    host, _, there = target.rpartition(":")
    gate = Gate(host, int(there), int(port))

    class Control(BaseHTTPRequestHandler):
        def do_GET(self):
            name, _, given = self.path.strip("/").partition("?")
            numbers = [float(part) for part in given.split(",") if part]
            known = {"down": gate.down, "up": gate.up, "deaf": gate.deaf, "slow": lambda: gate.slow(*numbers or [2.0])}
            known |= {"cut": lambda: gate.cut(int(*numbers or [1])), "part": lambda: gate.cut(*(int(one) for one in numbers or [1, 100]))}
            known |= {"state": lambda: None}
            if name in known:
                known[name]()
            self.send_response(200 if name in known else 404)
            self.end_headers()
            up = "up" if gate.listener else "down"
            self.wfile.write(f"{up} passed={gate.passed} cuts={gate.cuts} armed={gate.when is not None}\n".encode())

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", int(control)), Control).serve_forever()


if __name__ == "__main__":
    main()
