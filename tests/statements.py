#!/usr/bin/python3
"""
Checks tests/mqtt_statements.md: every statement of a specification once, with a reason or with tests; every codec test that is named there holds its
number, and every test of the protocol (tests/integration/test_broker_protocol_MODULE.py, named MODULE.test) claims it in its docstring, and the other way round.

usage: statements.py [--self-test]
"""
import ast
import re
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CODEC = {"decode", "frame", "text", "properties", "encode", "roundtrip", "advisories"}
COUNT = {"5.0": 251, "3.1.1": 141}  # as the specifications' appendices number them
PROTOCOL = "test_broker_protocol_"


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


def claims_of(module, source):
    """{MODULE.test: {(specification, number)}} of a module of protocol tests; the lines of a docstring are `5.0: 3.1.2-4, 3.1.2-5`."""
    claims = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            lines = re.findall(r"^(5\.0|3\.1\.1): (.+)$", ast.get_docstring(node) or "", re.M)
            claims[f"{module}.{node.name[5:]}"] = {(version, f"MQTT-{number}") for version, numbers in lines for number in numbers.split(", ")}
    return claims


def all_claims():
    claims = {}
    for path in sorted((TESTS / "integration").glob(f"{PROTOCOL}*.py")):
        claims.update(claims_of(path.stem[len(PROTOCOL):], path.read_text()))
    return claims


def complaints_about(version, number, test, sources, claims):
    if test == "client":
        return
    if test in claims:
        if (version, number) not in claims[test]:
            yield f"{version} {number}: {test} does not claim the number"
    elif test not in CODEC:
        yield f"{version} {number}: '{test}' is no test"
    elif not holds(sources(test), version, number):
        yield f"{version} {number}: {test} does not hold the number"


def complaints(text, sources, claims):
    seen, named = Counter(), set()
    for version, number, tests in rows(text):
        seen[version, number] += 1
        if tests.startswith("none: "):
            continue
        for test in re.split(r"[,;] ", tests):
            named.add((test, version, number))
            yield from complaints_about(version, number, test, sources, claims)
    for test, statements in claims.items():
        for version, number in sorted(statements):
            if (test, version, number) not in named:
                yield f"{version} {number}: {test} claims it, and its row does not name it"
        if not statements:
            yield f"{test} claims no statement"
    for (version, number), count in seen.items():
        if count > 1:
            yield f"{version} {number} is there {count} times"
    for version, count in COUNT.items():
        got = sum(1 for other, _ in seen if other == version)
        if got != count:
            yield f"MQTT {version} has {count} statements, not {got}"


def source_of(test):
    return (TESTS / "unit" / f"test_mqtt_packet_{test}.c").read_text()


def self_test(text, claims):
    """One fault of each kind, planted in the real table."""
    first = next(line for line in text.splitlines() if line.startswith("| MQTT-3.3.1-4 "))
    pings = next(line for line in text.splitlines() if line.startswith("| MQTT-3.12.4-1 "))
    plants = {
        "'nonsense' is no test": text.replace(first, first.replace("decode", "nonsense")),
        "'to do' is no test": text.replace(first, first.replace("decode", "to do")),
        "is no test": text.replace(pings, pings.replace("connect.", "connect.no_")),
        "does not hold": text.replace(first, first.replace("decode", "text")),
        "does not claim": text.replace(first, first.replace("decode", "decode, connect.pingreq_gets_pingresp")),
        "its row does not name it": text.replace(pings, pings.replace("connect.pingreq_gets_pingresp", "client")),
        "2 times": text.replace(first, first + "\n" + first),
        "statements, not 250": text.replace(first + "\n", "", 1),
    }
    return [f"not caught: {want}" for want, planted in plants.items()
            if not any(want in complaint for complaint in complaints(planted, source_of, claims))]


def main():
    text, claims = (TESTS / "mqtt_statements.md").read_text(), all_claims()
    found = self_test(text, claims) if "--self-test" in sys.argv else list(complaints(text, source_of, claims))
    for complaint in found:
        print(complaint)
    if not found:
        print(f"{sum(COUNT.values())} statements, {len(claims)} tests of the protocol")
    return 1 if found else 0


sys.exit(main())
