"""
An InfluxDB that does as it is told: it keeps points in memory with the type rules and error texts of 1.x, 2.x or 3.x, checks every
body with a strict reader of its own, and plays a script of bad answers first.
"""
import gzip
import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.support import line_protocol, ports


@dataclass
class Answer:
    """
    One scripted reaction to a write. `store` keeps the points all the same (an answer that gets lost). `stall` seconds pass
    first. `close_after` bytes of the body are read and then the connection is cut; -1 reads all and cuts without an answer.
    """
    status: int = 204
    body: str = ""
    headers: dict = field(default_factory=dict)
    store: bool = False
    stall: float = 0.0
    close_after: int = None


@dataclass
class Write:
    """One write request as it arrived."""
    path: str
    query: dict
    headers: dict
    body: bytes    # after decompression
    status: int = 0
    wire_bytes: int = 0
    at: float = 0.0  # time.monotonic() when its body had arrived

    @property
    def lines(self):
        return self.body.count(b"\n")


class FakeInflux:
    """`generation` is 1, 2 or 3. A context manager: it serves between start() and stop(), on the same port each time."""

    def __init__(self, generation=2, token=None, max_body=None):
        self.generation = generation
        self.token = token          # wanted in the Authorization header when given; may change at any time
        self.max_body = max_body    # bytes after decompression; more is a 413
        self.databases = None       # names that exist, None: all do
        self.delay = 0.0            # seconds before each answer
        self.port = ports.free_port()
        self.lock = threading.Lock()
        self.points = {}            # (target, measurement, tags, stamp) -> {field: value}
        self.types = {}             # (target, measurement, field) -> type
        self.writes = []            # every Write, in order of arrival
        self.queries = []           # InfluxQL statements
        self.bad_bodies = []        # complaints of the strict reader; a healthy agent causes none
        self.script = deque()       # of Answer, one per write
        self._server = None
        self._thread = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        handler = type("Handler", (_Handler,), {"influx": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Closes the port and cuts every connection."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_connections()
            self._thread.join()
            self._server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def count(self, measurement=None, field_name=None):
        """How many points are there, with the measurement and the field when given."""
        with self.lock:
            return sum((measurement is None or key[1] == measurement) and (field_name is None or field_name in fields)
                       for key, fields in self.points.items())

    def values(self, field_name):
        """The field's value in every point that has it."""
        with self.lock:
            return [fields[field_name] for fields in self.points.values() if field_name in fields]

    def statuses(self):
        with self.lock:
            return [write.status for write in self.writes]

    # What a write does to the store: (status, body)

    def take(self, target, body):
        try:
            lines = line_protocol.lines_of(body)
        except line_protocol.BadLine as bad:
            self._complain(str(bad), body)
            return 400, self._refusal(f"unable to parse: {bad}")
        parsed, broken = [], []
        for number, line in enumerate(lines, 1):
            try:
                parsed.append((number, line, line_protocol.parse_line(line)))
            except line_protocol.BadLine as bad:
                self._complain(str(bad), line.encode())
                broken.append((number, line, str(bad)))
        if broken and (self.generation == 2 or not parsed):
            return 400, self._refusal("\n".join(f"unable to parse '{line}': {why}" for _, line, why in broken))
        conflicts = self._store(target, parsed)
        refused = sorted(broken + conflicts)
        if not refused:
            return 204, ""
        return self._partial(refused, broken, conflicts)

    def _store(self, target, parsed):
        conflicts = []
        for number, line, (measurement, tags, fields, stamp) in parsed:
            clash = None
            for name, (kind, _) in fields.items():
                known = self.types.get((target, measurement, name), kind)
                if known != kind:
                    clash = (number, line, self._conflict(measurement, name, kind, known))
                    break
            if clash:
                conflicts.append(clash)
                continue
            for name, (kind, _) in fields.items():
                self.types[target, measurement, name] = kind
            point = self.points.setdefault((target, measurement, tags, stamp), {})
            point.update((name, value) for name, (_, value) in fields.items())
        return conflicts

    def _conflict(self, measurement, name, kind, known):
        if self.generation == 3:
            return f"invalid column type for column '{name}', expected iox::column_type::field::{known}, got iox::column_type::field::{kind}"
        return (f'field type conflict: input field "{name}" on measurement "{measurement}" is type {kind}, '
                f"already exists as type {known}")

    def _partial(self, refused, broken, conflicts):
        if self.generation == 3:
            data = [{"original_line": line[:20], "line_number": number, "error_message": why} for number, line, why in refused]
            return 400, json.dumps({"error": "partial write of line protocol occurred", "data": data})
        if conflicts:  # as the real ones: only the first conflict is named, and no line
            text = f"partial write: {conflicts[0][2]} dropped={len(conflicts)}"
        else:
            text = "partial write: " + "\n".join(f"unable to parse '{line}': {why}" for _, line, why in broken) + " dropped=0"
        if self.generation == 2:
            return 422, json.dumps({"code": "unprocessable entity", "message": f"failure writing points to database: {text}"})
        return 400, json.dumps({"error": text})

    def _refusal(self, text):
        if self.generation == 2:
            return json.dumps({"code": "invalid", "message": text})
        return json.dumps({"error": text})

    def _complain(self, why, data):
        self.bad_bodies.append(f"{why}: {data[:200]!r}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self):
        for connection in list(self.connections):
            self.shutdown_request(connection)

    def handle_error(self, request, client_address):
        pass  # a peer that went away is a part of the play


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    influx = None
    WRITES = {1: "/write", 2: "/api/v2/write", 3: "/api/v3/write_lp"}

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/ping":
            version = {1: "1.8.10", 2: "v2.7.5", 3: "3.1.0"}[self.influx.generation]
            return self._reply(204, headers={"X-Influxdb-Version": version})
        if path == "/health":
            return self._reply(200, '{"status":"pass"}')
        if path == "/query":
            return self._query(parse_qs(urlsplit(self.path).query))
        return self._reply(404, "404 page not found\n")

    do_HEAD = do_GET

    def do_POST(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/query":
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            return self._query({**parse_qs(url.query), **parse_qs(form)})
        if url.path != self.WRITES[self.influx.generation]:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return self._reply(404, "404 page not found\n")
        with self.influx.lock:
            answer = self.influx.script.popleft() if self.influx.script else None
        if answer is not None and answer.close_after is not None and answer.close_after >= 0:
            self.rfile.read(answer.close_after)
            with self.influx.lock:
                self.influx.writes.append(Write(url.path, query, dict(self.headers), b""))
            return self._cut()
        body = self._body()
        if body is None:
            return None
        return self._write(url.path, query, body, answer)

    def _query(self, fields):
        statement = fields.get("q", [""])[0]
        with self.influx.lock:
            self.influx.queries.append(statement)
            made = re.fullmatch(r'CREATE DATABASE "?([^"]+)"?.*', statement)
            if made and self.influx.databases is not None:
                self.influx.databases.add(made.group(1))
        self._reply(200, '{"results":[{"statement_id":0}]}\n')

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wire_bytes = len(raw)
        if self.headers.get("Content-Encoding") == "gzip":
            try:
                return gzip.decompress(raw)
            except (OSError, EOFError) as broken:
                with self.influx.lock:
                    self.influx.bad_bodies.append(f"gzip: {broken}")
                self._reply(400, '{"error":"gzip: invalid checksum"}')
                return None
        return raw

    def _write(self, path, query, body, answer):
        influx = self.influx
        write = Write(path, query, dict(self.headers), body, wire_bytes=self.wire_bytes, at=time.monotonic())
        time.sleep(influx.delay + (answer.stall if answer else 0.0))
        with influx.lock:
            influx.writes.append(write)
            status, text, headers = self._judge(query, body, answer)
            write.status = status
        if answer is not None and answer.close_after is not None:
            write.status = 0
            return self._cut()
        return self._reply(status, text, headers)

    def _judge(self, query, body, answer):
        influx = self.influx
        target = query.get("bucket") or query.get("db", "")
        if answer is not None:
            if answer.store:
                influx.take(target, body)
            return answer.status, answer.body, answer.headers
        if influx.token is not None and self.headers.get("Authorization", "").split(" ")[-1] != influx.token:
            return 401, influx._refusal("unable to parse authentication credentials"), {}
        if influx.databases is not None and target not in influx.databases:
            return 404, influx._refusal(f'database not found: "{target}"'), {}
        if influx.max_body is not None and len(body) > influx.max_body:
            return 413, influx._refusal("Request Entity Too Large"), {}
        wanted = {1: ("ns", "n"), 2: ("ns",), 3: ("nanosecond", "ns")}[influx.generation]
        if query.get("precision") not in wanted:
            influx.bad_bodies.append(f"precision {query.get('precision')}")
        return (*influx.take(target, body), {})

    def _reply(self, status, text="", headers=None):
        data = text.encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if data:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self):
        self.close_connection = True
        self.server.shutdown_request(self.connection)
