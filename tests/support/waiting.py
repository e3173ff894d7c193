"""Waiting for conditions, never for time."""
import time

from tests.support import settings


class TimedOut(AssertionError):
    """A condition did not come true before its deadline."""


def until(condition, what, timeout=20.0, every=0.02):
    """Polls `condition` until it is truthy and returns that value; TimedOut says `what` was waited for."""
    deadline = time.monotonic() + timeout * settings.PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            last = f"; last value: {value!r}" if value is not None else ""
            raise TimedOut(f"waited {timeout * settings.PATIENCE:g} s for {what}{last}")
        time.sleep(every)


def holds(condition, what, seconds):
    """Watches that `condition` stays truthy for `seconds`: for things that must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"did not hold for {seconds:g} s: {what}")
        time.sleep(0.02)
