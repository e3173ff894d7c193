"""A child process that never outlives the test run, with its output in a file."""
import ctypes
import os
import signal
import subprocess

from tests.support import waiting

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environment(extra=None):
    """Ours, less what would bend connections, plus `extra`."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "NOTIFY_SOCKET"}
    env.update(extra or {})
    return env


class Process:
    """Start, stop, kill and start again; what it printed is in `log_path`, appended over all starts."""

    def __init__(self, name, command, log_path, env=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log_path = log_path
        self.env = clean_environment(env)
        self.child = None

    @property
    def pid(self):
        return self.child.pid

    @property
    def running(self):
        return self.child is not None and self.child.poll() is None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                          preexec_fn=_die_with_parent)

    def wait_for(self, condition, what, timeout=20.0):
        """As waiting.until, but gives up at once when the process has ended."""
        def alive_and_true():
            value = condition()
            if not value and not self.running:
                raise AssertionError(f"{self.name} ended with {self.child.returncode} before {what}:\n{self.tail()}")
            return value
        try:
            return waiting.until(alive_and_true, f"{self.name}: {what}", timeout)
        except waiting.TimedOut as late:
            raise waiting.TimedOut(f"{late}\n{self.tail()}") from None

    def stop(self, timeout=20.0, send=signal.SIGTERM):
        """A signal (None: it was sent already), then the exit code. A process that does not end is killed, and that is a failure."""
        if self.child is None:
            return None
        if self.running and send is not None:
            self.child.send_signal(send)
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout:g} s:\n{self.tail()}") from None

    def kill(self):
        """SIGKILL, and waits for the end. No process is fine."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def tail(self, lines=40):
        return f"--- end of {self.name}'s log ---\n" + "\n".join(self.log().splitlines()[-lines:])
