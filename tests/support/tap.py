"""
Taps on the wire. MqttTap stands between the agent and its broker and notes which messages the broker delivered and which of them the
agent acknowledged: what was acknowledged on the wire is what the agent owes, whatever else went wrong. WriteTap stands between the agent and
InfluxDB and notes when what arrived there.
"""
import http.client
import selectors
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support import ports

_PUBLISH, _PUBACK = 3, 4


class _Half:
    """One direction of a connection: bytes in, whole packets out. `link` is what both directions share."""

    def __init__(self, link, source, target, look):
        self.link, self.source, self.target, self.look = link, source, target, look
        self.bytes = b""

    def packets(self, data):
        """(first byte, body) of every packet that is complete by now."""
        data = self.bytes + data
        at, size = 0, len(data)
        while at + 2 <= size:
            length = shift = 0
            body = at + 1
            while body < size:
                length |= (data[body] & 0x7F) << shift
                shift += 7
                body += 1
                if not data[body - 1] & 0x80:
                    break
            else:
                break
            if body + length > size:
                break
            yield data[at], data[body:body + length]
            at = body + length
        self.bytes = data[at:]


class _Link:
    """One connection of the agent, both ways."""

    def __init__(self, tap, agent, broker):
        self.open_ids = {}  # packet identifier -> noted value
        self.halves = [_Half(self, broker, agent, tap.from_broker), _Half(self, agent, broker, tap.from_agent)]

    def end(self, half):
        """That side has said all; the other one may still speak."""
        self.halves.remove(half)
        try:
            half.target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if not self.halves:
            half.source.close()
            half.target.close()


class MqttTap(threading.Thread):
    """
    Listens on `port`, forwards to `broker_port`. `note(topic, payload)` makes of a message what is kept of it: any hashable value, or
    None. `delivered` counts PUBLISH packets towards the agent; `acknowledged` has the values of those whose PUBACK came back on the same
    connection.
    """

    def __init__(self, broker_port, note, version=5):
        super().__init__(daemon=True)
        self.broker_port, self.note, self.version = broker_port, note, version
        self.port = ports.free_port()
        self.acknowledged = set()
        self.delivered = self.repeated = 0
        self.failure = None
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self.port}"

    def stop(self):
        self._ending.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def run(self):
        try:
            while not self._ending.is_set():
                for key, _ in self._selector.select(0.1):
                    if key.data is None:
                        self._accept()
                    else:
                        self._forward(key.data)
        except Exception as failure:  # shown by stop(): a tap that is broken proves nothing
            self.failure = failure
        finally:
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()

    def _accept(self):
        agent, _ = self._listener.accept()
        try:
            broker = socket.create_connection(("127.0.0.1", self.broker_port), timeout=5)
        except OSError:
            agent.close()
            return
        for side in (agent, broker):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for half in _Link(self, agent, broker).halves:
            self._selector.register(half.source, selectors.EVENT_READ, half)

    def _forward(self, half):
        try:
            data = half.source.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(half.source)
            half.link.end(half)
            return
        for first, body in half.packets(data):
            half.look(half.link, first, body)
        try:
            half.target.sendall(data)
        except OSError:
            pass  # its own half ends by itself

    def from_broker(self, link, first, body):
        if first >> 4 != _PUBLISH or not first & 0x06:
            return
        topic_end = 2 + int.from_bytes(body[:2], "big")
        at = topic_end + 2
        if self.version == 5:  # properties, behind their length
            length = shift = 0
            more = True
            while more:
                length |= (body[at] & 0x7F) << shift
                shift += 7
                more = body[at] & 0x80
                at += 1
            at += length
        self.delivered += 1
        self.repeated += first >> 3 & 1
        link.open_ids[body[topic_end:topic_end + 2]] = self.note(body[2:topic_end], body[at:])

    def from_agent(self, link, first, body):
        if first >> 4 != _PUBACK:
            return
        value = link.open_ids.pop(body[:2])  # acknowledged without being delivered: a KeyError, and a failure
        if value is not None:
            self.acknowledged.add(value)


class _WriteServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # a peer that went away


class _WriteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    tap = None

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.upstream = http.client.HTTPConnection("127.0.0.1", self.tap.influx_port, timeout=60)
        self.tap.connections.add(self.connection)

    def finish(self):
        self.tap.connections.discard(self.connection)
        self.upstream.close()
        super().finish()

    def _pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.tap.delay:
            time.sleep(self.tap.delay)
        self.upstream.request(self.command, self.path, body, dict(self.headers))
        answer = self.upstream.getresponse()
        text = answer.read()
        if answer.status == 204 and self.path.startswith("/write"):
            with self.tap.lock:
                self.tap.on_write(time.monotonic(), body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_HEAD = do_POST = _pass_on


class WriteTap:
    """
    Between the agent and InfluxDB: hands every request on, `delay` seconds late, and calls `on_write(time, body)` for each write that
    InfluxDB has accepted, one after the other, in the order in which it accepted them.
    """

    def __init__(self, influx_port, on_write):
        self.influx_port, self.on_write = influx_port, on_write
        self.port = ports.free_port()
        self.delay = 0.0
        self.lock = threading.Lock()
        self.connections = set()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self._server = _WriteServer(("127.0.0.1", self.port), type("Handler", (_WriteHandler,), {"tap": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Closes the port and cuts every connection, as a database that dies does."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join()
        self._server = None
