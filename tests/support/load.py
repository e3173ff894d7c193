"""Runs tests/bench/mqtt_load.c, the load generator, to its end and reads its answer."""
import json
import subprocess

from tests.support import settings
from tests.support.process import clean_environment

TOOL = settings.BINARY.parent / "bench" / "mqtt_load"


class LoadRun:
    """`figures` is the answer (None when there is none), `code` the exit code, `complaints` what it said on stderr."""

    def __init__(self, done):
        self.code = done.returncode
        self.complaints = done.stderr
        self.figures = json.loads(done.stdout) if done.stdout.strip() else None

    def __getitem__(self, name):
        return self.figures[name]


def command(mode, port, *flags, pid=None):
    return [str(TOOL), mode, "-p", str(port), *(["--pid", str(pid)] if pid else []), *map(str, flags)]


def load(mode, port, *flags, pid=None, timeout=120, check=True):
    """With `check`, an exit code other than 0 is an AssertionError with the complaints."""
    done = subprocess.run(command(mode, port, *flags, pid=pid), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout * settings.PATIENCE, env=clean_environment())
    run = LoadRun(done)
    if check and run.code != 0:
        raise AssertionError(f"mqtt_load {mode} {' '.join(map(str, flags))} ended with {run.code}:\n{run.complaints}\n{done.stdout}")
    return run
