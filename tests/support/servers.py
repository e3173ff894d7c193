"""Real servers on free loopback ports: Mosquitto, InfluxDB 1.x, VictoriaMetrics."""
import array
import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request

from tests.support import ports
from tests.support.process import Process

# Straight to loopback, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url, data=None, headers=None, timeout=30):
    """(status, text) of a request; also for answers that are errors."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with _direct.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


class Mosquitto(Process):
    """
    A broker. `options` are lines of mosquitto.conf before the listener (max_inflight_messages, plugin, ...),
    `listener_options` lines after it (protocol websockets, cafile, ...). The queue has no limit by default, so that a
    loss in a test is ours.
    """

    def __init__(self, directory, options=(), listener_options=(), persistence=False, anonymous=True, port=None):
        self.directory = directory / "mosquitto"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port or ports.free_port()
        lines = ["per_listener_settings false", "max_queued_messages 0"]
        if os.geteuid() == 0:
            lines.append("user root")
        lines.append(f"allow_anonymous {'true' if anonymous else 'false'}")
        if persistence:
            lines += ["persistence true", f"persistence_location {self.directory}/", "autosave_interval 1800"]
        lines += list(options)
        lines += [f"listener {self.port} 127.0.0.1", "log_type error", "log_type warning", "log_type notice"]
        lines += list(listener_options)
        config = self.directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        super().__init__("mosquitto", ["/usr/sbin/mosquitto", "-c", config], self.directory / "log")

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        self.wait_for(lambda: ports.listening(self.port), "listening")
        return self

    def write_file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path


class InfluxDB(Process):
    """influxd 1.x. Databases are made by the agent or by create()."""

    def __init__(self, directory, auth=False, settings=None):
        self.directory = directory / "influxdb"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = ports.free_port()
        self.user = None
        more = "".join(f"  {key} = {value}\n" for key, value in (settings or {}).items())
        config = self.directory / "influxdb.conf"
        config.write_text(f"""reporting-disabled = true
bind-address = "127.0.0.1:{ports.free_port()}"
[meta]
  dir = "{self.directory}/meta"
[data]
  dir = "{self.directory}/data"
  wal-dir = "{self.directory}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  log-enabled = false
  auth-enabled = {"true" if auth else "false"}
{more}""")
        super().__init__("influxd", ["/usr/bin/influxd", "-config", config], self.directory / "log")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        self.wait_for(self._answers, "answering /ping", 40)
        return self

    def _answers(self):
        try:
            return http(f"{self.url}/ping", timeout=2)[0] == 204
        except OSError:
            return False

    def query(self, q, db=None, user=None):
        """The list of series of one InfluxQL statement; an error in the answer is raised."""
        fields = {"q": q}
        if db is not None:
            fields["db"] = db
        headers = {}
        user = user or self.user
        if user is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
        _, text = http(f"{self.url}/query", urllib.parse.urlencode(fields).encode(), headers)
        answer = json.loads(text)
        error = answer.get("error") or answer["results"][0].get("error")
        if error:
            raise RuntimeError(f"{q}: {error}")
        return answer["results"][0].get("series", [])

    def create(self, db):
        self.query(f'CREATE DATABASE "{db}"')

    def count(self, db, measurement, field="value"):
        """How many points of the measurement have the field; 0 when there is no such database or measurement."""
        try:
            series = self.query(f'SELECT count("{field}") FROM "{measurement}"', db)
        except RuntimeError as missing:
            if "database not found" in str(missing):
                return 0
            raise
        return series[0]["values"][0][1] if series else 0

    def numbers(self, db, measurement, field="value"):
        """The whole numbers in that field of every point, oldest first. Streamed: there may be millions."""
        ask = {"db": db, "q": f'SELECT "{field}" FROM "{measurement}"', "chunked": "true", "chunk_size": "50000", "epoch": "ns"}
        request = urllib.request.Request(f"{self.url}/query", urllib.parse.urlencode(ask).encode(), {"Accept": "application/csv"})
        found = array.array("q")
        with _direct.open(request, timeout=600) as answer:
            for line in answer:
                value = line.rstrip().rpartition(b",")[2]
                if value != field.encode():  # a chunk may begin with the names of the columns
                    found.append(int(value))
        return found

    def rows(self, db, q):
        """Every row of the answer as a dict, tags included."""
        return [dict(zip(series["columns"], values), **series.get("tags", {}))
                for series in self.query(q, db) for values in series["values"]]


class VictoriaMetrics(Process):
    """A single-node VictoriaMetrics."""

    def __init__(self, directory):
        self.directory = directory / "victoria"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = ports.free_port()
        super().__init__("victoria-metrics", [
            "/usr/bin/victoria-metrics", f"-storageDataPath={self.directory}/data", f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y", "-search.latencyOffset=0s", "-memory.allowedBytes=200MB"], self.directory / "log")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        self.wait_for(self._answers, "answering /health")
        return self

    def _answers(self):
        try:
            return http(f"{self.url}/health", timeout=2)[0] == 200
        except OSError:
            return False

    def export(self, match):
        """Every stored series that matches, as dicts with metric, values, timestamps."""
        http(f"{self.url}/internal/force_flush")
        _, text = http(f"{self.url}/api/v1/export?" + urllib.parse.urlencode({"match[]": match}))
        return [json.loads(line) for line in text.splitlines()]

    def count(self, match):
        return sum(len(series["values"]) for series in self.export(match))
