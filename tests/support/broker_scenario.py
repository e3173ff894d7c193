"""The base of tests of the embedded broker: an agent that is one, and raw MQTT clients that are gone before it is stopped."""
import base64
import hashlib
import subprocess
import time
from pathlib import Path

from tests.support import ports, settings
from tests.support.heliograf import SANITIZER_ENV
from tests.support.mqtt_raw import Client
from tests.support.scenario import Scenario, agent_config


def broker_config(directory, port, persistence=None, listener=None, input=None, config=None, more_listeners=(), **options):
    """
    A whole configuration with a broker on a loopback port, one input that takes `t/#` from it, and a file for its lines. `options` are
    those of the section `broker:`; `listener`, `input` and `config` change the listener, the input and the rest, `more_listeners` come after it.
    """
    broker = {"listeners": [{"address": f"127.0.0.1:{port}", **(listener or {})}, *more_listeners], **options,
              "persistence": {"enabled": False} if persistence is None else persistence}
    consumer = {"topics": ["t/#"], "qos": 1, "data_format": "value", "data_type": "string", **(input or {})}
    return {**agent_config(consumer, {"file": [{"files": [str(directory / "lines")]}]}), "broker": broker, **(config or {})}


def cpu_seconds(agent):
    """Processor time of all its threads so far, to the nanosecond."""
    spent = [path.read_text().split()[0] for path in Path(f"/proc/{agent.pid}/task").glob("*/schedstat")]
    return sum(map(int, spent)) / 1e9


def password_line(user, password, iterations=None):
    """A line of a password file: salted SHA-512, or PBKDF2 when it is to be slow."""
    salt = hashlib.sha256(user.encode()).digest()[:12]
    encode = lambda data: base64.b64encode(data).decode()
    if iterations is None:
        return f"{user}:$6${encode(salt)}${encode(hashlib.sha512(password.encode() + salt).digest())}\n"
    return f"{user}:$7${iterations}${encode(salt)}${encode(hashlib.pbkdf2_hmac('sha512', password.encode(), salt, iterations))}\n"


class _PreloadedDisk:
    """A library of tests/support that changes how the disk behaves while a file exists: start the program with `env`."""

    def __init__(self, directory, source, variable):
        library, self._flag = directory / f"{source}.so", directory / source
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, settings.ROOT / "tests" / "support" / f"{source}.c"], check=True)
        # A sanitizer wants to be loaded first and does not need it here.
        self.env = {"LD_PRELOAD": str(library), variable: str(self._flag), "ASAN_OPTIONS": SANITIZER_ENV["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}

    def go_on(self):
        self._flag.unlink()


class StallingDisk(_PreloadedDisk):
    """A disk whose flushes wait while it is stalled."""

    def __init__(self, directory):
        super().__init__(directory, "stalled_disk", "STALLED_DISK")

    def stall(self):
        self._flag.touch()


class FullDisk(_PreloadedDisk):
    """A disk that has no room for the broker's database while it is full."""

    def __init__(self, directory):
        super().__init__(directory, "full_disk", "FULL_DISK")

    def fill(self):
        self._flag.touch()


class BrokerScenario(Scenario):
    def setUp(self):
        super().setUp()
        self.clients = []

    def tearDown(self):
        """Clients first: a broker that stops waits a while for those who are still there."""
        self.close_clients()
        super().tearDown()

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def broker(self, env=None, **how):
        """A started agent with an embedded broker; see broker_config. Clients of this test go to its port."""
        self.port = ports.free_port()
        if how.get("persistence") is True:
            how["persistence"] = {"directory": str(self.directory / "state")}
        self.agent = self.heliograf(broker_config(self.directory, self.port, **how), env=env)
        return self.agent

    def reconfigure(self, **how):
        """Another configuration for the next start, on the same ports."""
        status = {"status": {"address": f"127.0.0.1:{self.agent.status_port}"}}
        self.agent.write_config(self.agent.completed(broker_config(self.directory, self.port, config={**status, **how.pop("config", {})}, **how)))

    def restart(self, kill=True):
        """The same agent again, after kill -9 or an orderly stop."""
        self.close_clients()
        if kill:
            self.agent.kill9()
        else:
            self.agent.stop()
        self.agent.start()

    def raw(self, version=5, name="client", port=None, **how):
        """A connection that has not said anything yet."""
        client = Client(port or self.port, version, name, **how)
        self.clients.append(client)
        return client

    def client(self, client_id, version=5, present=False, **connect):
        """A client that was let in; `connect` are fields of its CONNECT."""
        client = self.raw(version, client_id)
        client.connack = client.connect(client_id, present, **connect)
        return client

    def file(self, name, content):
        """A file of the test's, as its path."""
        path = self.directory / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    def passwords(self, **users):
        """A password file."""
        return self.file("passwords", "".join(password_line(*user) for user in users.items()))

    def lines(self):
        """What the input has made of messages so far."""
        path = self.directory / "lines"
        return path.read_text().splitlines() if path.exists() else []

    # ---- figures of the process ----

    def assert_no_growth(self, action, repetitions, most_bytes, what):
        """
        action(n) for n in 0 .. repetitions - 1, of which the first tenth fills caches and pools: from then on the process may grow by `most_bytes`. Under a
        sanitizer, which keeps freed memory for a while, only the leaks that it reports at the end count.
        """
        repetitions = settings.scaled(repetitions, 100)
        for n in range(repetitions // 10):
            action(n)
        before = self.agent.rss_bytes()
        for n in range(repetitions // 10, repetitions):
            action(n)
        growth = self.agent.rss_bytes() - before
        if not settings.SANITIZED:
            self.assertLess(growth, most_bytes, f"bytes more after {repetitions} times {what}")

    def assert_peak_below(self, most_bytes, what):
        """Never more memory than that."""
        if not settings.SANITIZED:
            self.assertLess(self.agent.rss_bytes(peak=True), most_bytes, f"bytes at most {what}")

    def assert_linear(self, action, small, times, what, slack=3.0):
        """The processor time of action(times * small) is at most `slack` * times that of action(small), the best of three each."""
        def cost(size):
            spent = []
            for _ in range(3):
                before = cpu_seconds(self.agent)
                action(size)
                spent.append(cpu_seconds(self.agent) - before)
            return min(spent)
        least = 0.0005  # below, the noise is larger than the cost
        self.assertLess(cost(small * times), max(cost(small), least) * times * slack, f"seconds for {what}, {times} times as much as before")

    def assert_idle(self, seconds=1.0, most=0.2):
        """The process takes little processor time while nobody asks it for anything."""
        before, started = cpu_seconds(self.agent), time.monotonic()
        while time.monotonic() - started < seconds:
            time.sleep(0.05)
        share = (cpu_seconds(self.agent) - before) / (time.monotonic() - started)
        self.assertLess(share, most, "of a processor while nothing happens")
