#!/usr/bin/python3
"""
Checks tests/mqtt_statements.md: every statement of a specification once, every codec test that is named there holds its number.

usage: statements.py [--self-test]
"""
import re
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CODEC = {"decode", "frame", "text", "properties", "encode", "roundtrip", "advisories"}
COUNT = {"5.0": 251, "3.1.1": 141}  # as the specifications' appendices number them
TODO = "to do: broker"


def rows(text):
    """(specification, number, tests) of each row."""
    version = None
    for line in text.splitlines():
        if line.startswith("## MQTT "):
            version = line.split()[2]
        elif line.startswith("| MQTT-"):
            number, _, tests = (cell.strip() for cell in line.strip("|").split("|"))
            yield version, number, tests


def holds(source, version, number):
    """What stands behind "3.1.1" on a line are that version's numbers, what stands before are MQTT 5's."""
    for line in source.splitlines():
        newer, _, older = line.partition("3.1.1")
        if re.search(re.escape(number) + r"(?!\d)", newer if version == "5.0" else older):
            return True
    return False


def complaints(text, sources):
    seen = Counter()
    for version, number, tests in rows(text):
        seen[version, number] += 1
        if tests.startswith("none: "):
            continue
        for test in re.split(r"[,;] ", tests):
            if test in (TODO, "client"):
                continue
            if test not in CODEC:
                yield f"{version} {number}: '{test}' is no test"
            elif not holds(sources(test), version, number):
                yield f"{version} {number}: {test} does not hold the number"
    for (version, number), count in seen.items():
        if count > 1:
            yield f"{version} {number} is there {count} times"
    for version, count in COUNT.items():
        got = sum(1 for other, _ in seen if other == version)
        if got != count:
            yield f"MQTT {version} has {count} statements, not {got}"


def source_of(test):
    return (TESTS / "unit" / f"test_mqtt_packet_{test}.c").read_text()


def self_test(text):
    """One fault of each kind, planted in the real table."""
    first = next(line for line in text.splitlines() if line.startswith("| MQTT-3.3.1-4 "))
    plants = {
        "is no test": text.replace(first, first.replace("decode", "nonsense")),
        "does not hold": text.replace(first, first.replace("decode", "text")),
        "2 times": text.replace(first, first + "\n" + first),
        "statements, not 250": text.replace(first + "\n", "", 1),
    }
    return [f"not caught: {want}" for want, planted in plants.items()
            if not any(want in complaint for complaint in complaints(planted, source_of))]


def main():
    text = (TESTS / "mqtt_statements.md").read_text()
    found = self_test(text) if "--self-test" in sys.argv else list(complaints(text, source_of))
    for complaint in found:
        print(complaint)
    if not found:
        todo = sum(TODO in tests for _, _, tests in rows(text))
        print(f"{sum(COUNT.values())} statements, {todo} to do")
    return 1 if found else 0


sys.exit(main())
