"""
Runs one module of integration tests and reports line by line, for tests/run.py: `run ID`, then `ok ID SECONDS`, `skip ID WHY` or
`FAIL ID SECONDS` followed by indented text. A test that takes longer than --timeout seconds fails, and the next one runs.

usage: python3 -m tests.support.run_module [--timeout S] [-k WORD] MODULE
"""
import argparse
import signal
import sys
import time
import traceback
import unittest

from tests.support import scenario


class TestTimeout(AssertionError):
    """Raised in the test by the alarm."""


class LineResult(unittest.TestResult):
    """One line per test, at once."""

    def __init__(self, timeout):
        super().__init__()
        self.timeout = timeout
        self.failed = 0
        self._started = 0.0
        self._troubles = []

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()
        self._troubles = []
        self._skipped = None
        print(f"run {test.id()}", flush=True)
        signal.alarm(self.timeout)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        seconds = time.monotonic() - self._started
        if self._troubles:
            self.failed += 1
            text = "\n".join(self._troubles).rstrip().replace("\n", "\n    ")
            print(f"FAIL {test.id()} {seconds:.1f}\n    {text}", flush=True)
        elif self._skipped is not None:
            print(f"skip {test.id()} {self._skipped}", flush=True)
        else:
            print(f"ok {test.id()} {seconds:.1f}", flush=True)

    def _trouble(self, test, error):
        kind, value, trace = error
        while trace is not None and "__unittest" in trace.tb_frame.f_globals:
            trace = trace.tb_next
        text = "".join(traceback.format_exception(kind, value, trace))
        if test.id().startswith(("setUpClass", "setUpModule", "tearDown")):  # not inside a test: counts as one
            self.failed += 1
            print(f"run {test.id()}\nFAIL {test.id()} 0.0\n    " + text.rstrip().replace("\n", "\n    "), flush=True)
        else:
            self._troubles.append(text)

    def addError(self, test, error):
        self._trouble(test, error)

    def addFailure(self, test, error):
        self._trouble(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._trouble(test, error)

    def addSkip(self, test, reason):
        self._skipped = reason


def _on_alarm(_signal, _frame):
    raise TestTimeout("the test took too long")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("-k", metavar="WORD", help="only tests with this word in their name")
    parser.add_argument("module")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that clean-ups run
    loader = unittest.TestLoader()
    if options.k:
        loader.testNamePatterns = [f"*{options.k}*"]
    result = LineResult(options.timeout)
    try:
        loader.loadTestsFromName(options.module).run(result)
    finally:
        scenario.release_shared()
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
