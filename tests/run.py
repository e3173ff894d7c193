#!/usr/bin/python3
"""
Runs tests of every kind, several at a time, and ends with the line `N passed, N failed`; exit code 1 when any failed or none ran.

  --unit DIR             every cmocka program test_* in DIR (build/release/unit, build/thread/unit, ...); repeatable
  --integration VARIANT  tests/integration against build/VARIANT/heliograf; repeatable. `release` runs at full scale,
                         others at --scale; `address-undefined:commands,malformed` runs only the named modules
  --layers --headers     include directions, and each header alone; both with their self-tests
  --script PATH          any other program: exit code 0 is one passed test
  -k WORD                only integration tests with WORD in their name
  -j N                   so many at a time (4: most of them wait most of the time)
  --timeout S            per test (120)
  --stream               show what the tests print while they run
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ROOT / "tests" / "integration"
# The longest first, so that the last minute is not one test alone; the others by name.
LONGEST_FIRST = ["http_answers", "pub_sub", "kills", "backlog", "broker_clients", "broker_state", "broker_persistence", "influx_outage", "rate_limits", "broker_restart",
                 "dead_letter_commands", "telegraf_scenarios", "broker_review"]
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT / 'tests' / 'support' / 'tsan.supp'}",
}


@dataclass
class Job:
    """One process to run. `read` counts its output: (passed, failed, text of failures)."""
    name: str
    command: list
    read: object
    timeout: int                    # seconds without a line of output, then the whole group is killed
    env: dict = field(default_factory=dict)


def read_exit_code(code, output):
    return (1, 0, "") if code == 0 else (0, 1, output)


def read_cmocka(code, output):
    """cmocka in TAP: a crash or a missing row is a failure too."""
    passed = len(re.findall(r"^ok \d+", output, re.M))
    skipped = len(re.findall(r"^not ok \d+ # SKIP", output, re.M))
    failed = len(re.findall(r"^not ok \d+", output, re.M)) - skipped
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", output, re.M))
    missing = max(0, planned - passed - failed - skipped)
    failed += missing
    if (code != 0 or planned == 0) and failed == 0:
        failed = 1
    if not failed:
        return passed, 0, ""
    lines = [line for line in output.splitlines() if not re.match(r"ok \d+|.*# SKIP", line)]
    return passed, failed, "\n".join(lines[-120:]) + f"\nexit code {code}"


def read_integration(code, output):
    """The lines of tests.support.run_module; a test that began and has no end is a failure."""
    passed = len(re.findall(r"^ok ", output, re.M))
    failed = len(re.findall(r"^FAIL ", output, re.M))
    begun = len(re.findall(r"^run ", output, re.M))
    skipped = len(re.findall(r"^skip ", output, re.M))
    failed += max(0, begun - passed - failed - skipped)
    if code != 0 and failed == 0:
        failed = 1
    if not failed:
        return passed, 0, ""
    return passed, failed, "\n".join(line for line in output.splitlines() if not re.match(r"(ok|run|skip) ", line) or
                                     line == output.splitlines()[-1]) + f"\nexit code {code}"


class Runner:
    """Takes jobs from one list in several threads; prints one line per job as it ends."""

    def __init__(self, jobs, parallel, stream=False):
        self.jobs = list(jobs)
        self.parallel = parallel
        self.stream = stream
        self.lock = threading.Lock()
        self.running = set()
        self.passed = self.failed = self.done = 0
        self.total = len(self.jobs)
        self.stopping = False

    def run(self):
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(self.parallel)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.stopping = True
            with self.lock:
                for child in self.running:
                    _end_group(child)
            for thread in threads:
                thread.join()

    def _work(self, worker):
        while not self.stopping:
            with self.lock:
                if not self.jobs:
                    return
                job = self.jobs.pop(0)
            started = time.monotonic()
            code, output = self._execute(job, worker)
            passed, failed, text = job.read(code, output)
            with self.lock:
                self._report(job, passed, failed, text, time.monotonic() - started)

    def _execute(self, job, worker):
        """Exit code and output. Each job is a process group of its own, so nothing that it started outlives it."""
        env = {**os.environ, **job.env, "HELIOGRAF_WORKER": str(worker)}
        try:
            child = subprocess.Popen(job.command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as missing:
            return 127, str(missing)
        with self.lock:
            self.running.add(child)
        lines, last = [], [time.monotonic()]

        def collect():
            for line in child.stdout:
                lines.append(line.decode(errors="replace"))
                last[0] = time.monotonic()
                if self.stream:
                    print(f"    {lines[-1]}", end="", flush=True)

        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        late = False
        while child.poll() is None:
            if time.monotonic() - last[0] > job.timeout:
                late = True
                break
            time.sleep(0.02)
        _end_group(child)
        reader.join(5)
        with self.lock:
            self.running.discard(child)
        if late:
            lines.append(f"killed: no sign of life for {job.timeout} s\n")
        return child.returncode, "".join(lines)

    def _report(self, job, passed, failed, text, seconds):
        self.done += 1
        self.passed += passed
        self.failed += failed
        verdict = "FAIL" if failed else "ok"
        print(f"[{self.done:>3}/{self.total}] {verdict:<4} {job.name}: {passed} passed, {failed} failed, {seconds:.1f} s", flush=True)
        if failed:
            print("    " + text.rstrip().replace("\n", "\n    "), flush=True)


def _end_group(child):
    """Ends what is left of the job's process group, and waits for the child."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    child.wait()


def unit_jobs(directory):
    variant = Path(directory).parent.name
    programs = sorted(path for path in Path(ROOT, directory).glob("test_*") if path.suffix == "" and os.access(path, os.X_OK))
    if not programs:
        yield Job(f"unit {variant}", ["false"], lambda code, output: (0, 1, f"no programs in {directory}"), 10)
    # The spool's model test visits all its crash states in the release build; a sanitizer looks at each line, not at each state.
    crashes = {} if variant == "release" else {"HELIOGRAF_CRASHES": "5000"}
    for program in programs:
        yield Job(f"unit {variant} {program.name}", [str(program)], read_cmocka, 120,
                  {"CMOCKA_MESSAGE_OUTPUT": "TAP", **SANITIZER_ENV, **crashes})


def integration_jobs(spec, options):
    variant, _, wanted = spec.partition(":")
    names = [path.stem.removeprefix("test_") for path in sorted(MODULES.glob("test_*.py"))]
    names.sort(key=lambda name: LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST))
    for missing in set(filter(None, wanted.split(","))) - set(names):
        sys.exit(f"tests/run.py: no module tests/integration/test_{missing}.py")
    for name in names:
        if wanted and name not in wanted.split(","):
            continue
        env = {"HELIOGRAF_VARIANT": variant, "PYTHONDONTWRITEBYTECODE": "1"}
        if "HELIOGRAF_SCALE" not in os.environ:
            env["HELIOGRAF_SCALE"] = "1" if variant == "release" else str(options.scale)
        command = [sys.executable, "-m", "tests.support.run_module", "--timeout", str(options.timeout)]
        if options.k:
            command += ["-k", options.k]
        yield Job(f"integration {variant} {name}", [*command, f"tests.integration.test_{name}"], read_integration,
                  options.timeout + 30, env)


def all_jobs(options):
    # Integration first: it is the longest, and mostly waits; what needs the processor fills the gaps.
    for spec in options.integration:
        yield from integration_jobs(spec, options)
    if options.layers:
        yield Job("layers self-test", ["tests/layers.sh", "--self-test"], read_exit_code, 60)
        yield Job("layers", ["tests/layers.sh"], read_exit_code, 60)
    if options.headers:
        yield Job("headers self-test", ["tests/headers.sh", "--self-test"], read_exit_code, 60)
        yield Job("headers", ["tests/headers.sh"], read_exit_code, 120)
    for directory in options.unit:
        yield from unit_jobs(directory)
    for path in options.script:
        yield Job(path, [str(ROOT / path)], read_exit_code, options.timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", action="append", default=[], metavar="DIR")
    parser.add_argument("--integration", action="append", default=[], metavar="VARIANT")
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--script", action="append", default=[], metavar="PATH")
    parser.add_argument("-k", metavar="WORD")
    parser.add_argument("-j", type=int, default=4, metavar="N")
    parser.add_argument("--timeout", type=int, default=120, metavar="S")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--scale", type=float, default=0.05, help="size of integration tests in variants other than release")
    options = parser.parse_args()
    started = time.monotonic()
    runner = Runner(all_jobs(options), options.j, options.stream)
    runner.run()
    print(f"in {time.monotonic() - started:.0f} s")
    print(f"{runner.passed} passed, {runner.failed} failed", flush=True)
    return 1 if runner.failed or not runner.passed or runner.stopping else 0


if __name__ == "__main__":
    sys.exit(main())
