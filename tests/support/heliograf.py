"""The program under test: started with a configuration, watched through its status endpoint, and stopped with every account checked."""
import json
import os
import re
import signal
import subprocess

from tests.support import ports, settings
from tests.support.identity import Metrics, arrivals_balance, assert_identity
from tests.support.process import Process, clean_environment
from tests.support.servers import http

# What a sanitizer prints before it ends the process.
_SANITIZER = re.compile(r"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:).*")
SANITIZER_ENV = {name: os.environ.get(name, usual) for name, usual in {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"exitcode=99:halt_on_error=0:suppressions={settings.ROOT / 'tests' / 'support' / 'tsan.supp'}",
}.items()}


class Heliograf(Process):
    """
    `config` is a dict in the shape of the YAML file (JSON is YAML), or the text of the file. A dict gets a status endpoint on a
    free port and a spool in memory unless it says otherwise.
    """

    def __init__(self, directory, config, env=None, arguments=(), name="heliograf"):
        self.directory = directory
        self.status_port = None
        self.last_metrics = None
        self.config_path = directory / f"{name}.yaml"
        # Each of several agents has its own: the directory belongs to one at a time.
        self.dead_letter_directory = directory / ("dead-letters" if name == "heliograf" else f"{name}-dead-letters")
        if isinstance(config, dict):
            config = self.completed(config)
        self.write_config(config)
        super().__init__(name, [settings.BINARY, "run", "--config", self.config_path, *arguments], directory / f"{name}.log",
                         {**SANITIZER_ENV, **(env or {})})

    def completed(self, config):
        """The configuration with what tests want where it says nothing."""
        config = dict(config)
        agent = dict(config.get("agent", {}))
        agent.setdefault("omit_hostname", True)
        agent.setdefault("flush_interval", "100ms")
        agent.setdefault("spool", {"sync": "memory", "max_bytes": "64MiB"})
        agent.setdefault("dead_letters", {"directory": str(self.dead_letter_directory)})
        config["agent"] = agent
        if "status" not in config:
            self.status_port = ports.free_port()
            config["status"] = {"address": f"127.0.0.1:{self.status_port}"}
        return config

    def write_config(self, config):
        text = config if isinstance(config, str) else json.dumps(config, ensure_ascii=False, indent=1)
        self.config_path.write_text(text)

    def start(self, ready=True):
        """Returns when /-/ready says yes; with ready=False as soon as the endpoint answers, with None at once."""
        super().start()
        if ready is None:
            return self
        if ready:
            self.wait_for(lambda: self.get("/-/ready")[0] == 200, "ready")
        else:
            self.wait_for(lambda: self.get("/-/healthy")[0] == 200, "answering")
        return self

    def get(self, path):
        """(status, text) from the status endpoint; (0, why) while it does not answer."""
        try:
            return http(f"http://127.0.0.1:{self.status_port}{path}", timeout=10)
        except OSError as refused:
            return 0, str(refused)

    def metrics(self):
        status, text = self.get("/metrics")
        if status != 200:
            raise AssertionError(f"/metrics answered {status}: {text}\n{self.tail()}")
        self.last_metrics = Metrics.parse(text)
        return self.last_metrics

    def figure(self, name, **labels):
        return self.metrics().sum(name, **labels)

    def received(self):
        return self.figure("messages_received_total")

    def outcome(self, outcome, **labels):
        return self.figure("messages_total", outcome=outcome, **labels)

    def pending(self, **labels):
        return self.figure("messages_pending", **labels)

    def assert_identity(self):
        assert_identity(self.metrics())

    def wait_received(self, count, timeout=30.0):
        self.wait_for(lambda: self.received() >= count, f"{count} messages received", timeout)

    def wait_settled(self, count=None, timeout=30.0):
        """All of `count` received messages have left the spool: nothing is pending, and what came over MQTT is all accounted for."""
        def settled():
            metrics = self.metrics()
            return (metrics.sum("messages_received_total") >= (count or 0) and metrics.sum("messages_pending") == 0 and
                    arrivals_balance(metrics))
        self.wait_for(settled, f"{count if count is not None else 'all'} messages settled", timeout)
        self.assert_identity()

    def rss_bytes(self, peak=False):
        with open(f"/proc/{self.pid}/status") as status:
            text = status.read()
        return int(re.search(r"VmHWM:\s+(\d+)" if peak else r"VmRSS:\s+(\d+)", text).group(1)) * 1024

    def stop(self, timeout=20.0, expect=0, send=signal.SIGTERM):
        """A signal after a last look at the account; the exit code must be the expected one, None takes any."""
        if self.running and self.status_port is not None and self.get("/-/healthy")[0] == 200:
            self.assert_identity()
        code = super().stop(timeout * settings.PATIENCE, send)
        self.assert_sane()
        self._assert_final_account()
        if expect is not None and code != expect:
            raise AssertionError(f"{self.name} ended with {code}, not {expect}:\n{self.tail()}")
        return code

    def _assert_final_account(self):
        """The figures that the agent printed at its end add up as well."""
        for line in self.log_lines("STOPPED-OUTPUT"):
            received, *parts = map(int, re.findall(r"(\d+) (?:messages received|stored|dead-lettered|filtered|dropped|returned to the broker|left unstored)", line))
            if len(parts) != 6 or received != sum(parts):
                raise AssertionError(f"the last account does not balance: {line}")

    def kill9(self):
        self.kill()

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def assert_sane(self):
        """No sanitizer has complained."""
        found = _SANITIZER.search(self.log())
        if found:
            raise AssertionError(f"{found.group(0)}\n{self.tail(120)}")

    def log_lines(self, words):
        return [line for line in self.log().splitlines() if words in line]

    def wait_log(self, words, timeout=20.0):
        """The first log line that contains the words."""
        return self.wait_for(lambda: self.log_lines(words), f"log line with '{words}'", timeout)[0]

    def dead_letters(self, directory=None):
        """Every letter of the ring, oldest file first."""
        directory = directory or self.dead_letter_directory
        letters = []
        for path in sorted(directory.glob("dead-letters-*.jsonl")):
            text = path.read_text()
            letters += [json.loads(line) for line in text.split("\n")[:-1]]
        return letters

    def wait_dead_letters(self, count, timeout=20.0):
        self.wait_for(lambda: len(self.dead_letters()) >= count, f"{count} dead letters", timeout)
        return self.dead_letters()


def command(*arguments, stdin=None, timeout=30.0, env=None, cwd=None):
    """Runs `heliograf ARGUMENTS` to its end; the CompletedProcess with text in stdout and stderr."""
    done = subprocess.run([str(settings.BINARY), *map(str, arguments)], input=stdin if stdin is not None else "", text=True,
                          capture_output=True, timeout=timeout * settings.PATIENCE, env=clean_environment({**SANITIZER_ENV, **(env or {})}),
                          cwd=cwd)
    found = _SANITIZER.search(done.stderr)
    if found:
        raise AssertionError(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done
