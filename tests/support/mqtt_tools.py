"""`heliograf pub` and `sub`, and Mosquitto's programs of the same kind, run alike: `OURS` or `THEIRS`, "pub" or "sub"."""
import itertools
import os
import re
import signal
import subprocess

from tests.support import settings, waiting
from tests.support.heliograf import SANITIZER_ENV
from tests.support.process import _die_with_parent, clean_environment

OURS, THEIRS = "ours", "theirs"
_SANITIZER = re.compile(r"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:).*")
_ids = itertools.count(1)


def unique_id(word="c"):
    return f"{word}-{os.getpid()}-{next(_ids)}"


def command_line(who, role, *flags):
    program = [str(settings.BINARY), role] if who == OURS else [f"/usr/bin/mosquitto_{role}"]
    return program + [flag if isinstance(flag, bytes) else str(flag) for flag in flags]


class Done:
    """How a program ended: code, and stdout and stderr as bytes."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err
        found = _SANITIZER.search(err.decode(errors="replace"))
        if found:
            raise AssertionError(f"{words}: {err.decode(errors='replace')}")

    @property
    def text(self):
        return self.err.decode(errors="replace")

    def __repr__(self):
        return f"{self.words}: exit {self.code}, out {self.out[:400]!r}, err {self.err[:800]!r}"


class Tool:
    """One that is running. `with` kills what is left of it."""

    def __init__(self, who, role, *flags, env=None, stdin=None, stdout=subprocess.PIPE):
        self.words = command_line(who, role, *flags)
        self.child = subprocess.Popen(self.words, stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=stdout,
                                      stderr=subprocess.PIPE, env=clean_environment({**SANITIZER_ENV, **(env or {})}),
                                      preexec_fn=_die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream is not None:
                stream.close()

    @property
    def running(self):
        return self.child.poll() is None

    @property
    def pid(self):
        return self.child.pid

    def send(self, number):
        self.child.send_signal(number)

    def wait(self, timeout=20.0, data=None):
        """Its end, after `data` on its standard input."""
        try:
            out, err = self.child.communicate(data, timeout * settings.PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGKILL)
            out, err = self.child.communicate()
            raise AssertionError(f"did not end: {Done(self.words, None, out or b'', err or b'')!r}") from None
        return Done(self.words, self.child.returncode, out or b"", err or b"")

    def stop(self, number=signal.SIGTERM, timeout=20.0):
        self.send(number)
        return self.wait(timeout)

    def read_line(self):
        return self.child.stdout.readline()


def run(who, role, *flags, data=None, env=None, timeout=20.0):
    with Tool(who, role, *flags, env=env, stdin=subprocess.PIPE if data is not None else None) as tool:
        return tool.wait(timeout, data)


def wait_subscribed(broker, client_id, topic, count=1):
    """Until the broker's log (log_type subscribe) has that subscription so many times."""
    line = re.compile(rf": {re.escape(client_id)} [012] {re.escape(topic)}$", re.M)
    waiting.until(lambda: len(line.findall(broker.log())) >= count, f"{client_id} subscribed to {topic}\n{broker.tail()}")
