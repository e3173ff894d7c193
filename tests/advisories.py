#!/usr/bin/python3
"""
Checks tests/advisories.md: every row is there once and names a test of its own, every test that is named exists, and every test that is named after a row
stands in it.

usage: advisories.py [--self-test]
"""
import re
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROWS = {"row": 46, "review": 22}
SECTIONS = {"## Advisories and bugs": "row", "## The review": "review"}


def rows(text):
    """(kind, number, [(module, test)]) of each row."""
    kind = None
    for line in text.splitlines():
        kind = SECTIONS.get(line, kind)
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if kind is not None and cells[0].isdigit():
            yield kind, int(cells[0]), list(named(cells[-1]))


def named(cell):
    for part in cell.split("; "):
        module, _, tests = part.partition(": ")
        yield from ((module, test) for test in tests.split(", "))


def source_of(module):
    """Of the integration module and the unit test of that name, as far as they exist."""
    paths = (TESTS / "integration" / f"test_{module}.py", TESTS / "unit" / f"test_{module}.c")
    return "".join(path.read_text() for path in paths if path.exists())


def exists(source, test):
    """A method, a function that is run, or a row of a table."""
    return re.search(rf"^    def {re.escape(test)}\(", source, re.M) or f"({test}" in source or f'{{ "{test}' in source


def complaints(text, source=source_of):
    listed, seen = set(), {kind: [] for kind in ROWS}
    for kind, number, tests in rows(text):
        seen[kind].append(number)
        own = f"test_{kind}_{number:02d}_"
        listed |= set(tests)
        if not any(test.startswith(own) for _, test in tests):
            yield f"{kind} {number}: no test is named after it ({own}...)"
        for module, test in tests:
            content = source(module)
            if not exists(content, test):
                yield f"{kind} {number}: there is no test '{test}' in {module}"
            elif re.match(r"test_(row|review)_", test) and not test.startswith(own):
                yield f"{kind} {number}: {test} belongs to another row"
    for kind, count in ROWS.items():
        if seen[kind] != list(range(1, count + 1)):
            yield f"{kind}: the rows are not 1 to {count}, each once and in order"
    for path in sorted((TESTS / "integration").glob("test_broker_*.py")):
        module = path.stem[len("test_"):]
        for test in re.findall(r"^    def (test_(?:row|review)_\w+)\(", source(module), re.M):
            if (module, test) not in listed:
                yield f"{test} of {module} is in no row"


def self_test(text):
    """One fault of each kind, planted in the real table."""
    first = next(line for line in text.splitlines() if line.startswith("| 4 |"))
    test = "test_row_04_subscribe_that_ends_behind_its_filter"
    plants = {
        "there is no test": text.replace(first, first.replace(test, test + "s")),
        "in no row": text.replace(first, first.replace(test, "test_row_04_")),
        "no test is named after it": text.replace(first, first.replace(test, "main")),
        "belongs to another row": text.replace(first, first.replace(test, test + ", test_row_05_publish_that_ends_before_its_identifier")),
        "not 1 to 46": text.replace(first + "\n", "", 1),
    }
    return [f"not caught: {want}" for want, planted in plants.items() if not any(want in complaint for complaint in complaints(planted))]


def main():
    text = (TESTS / "advisories.md").read_text()
    found = self_test(text) if "--self-test" in sys.argv else list(complaints(text))
    for complaint in found:
        print(complaint)
    if not found:
        print(f"{sum(ROWS.values())} rows, {sum(len(tests) for _, _, tests in rows(text))} tests")
    return 1 if found else 0


sys.exit(main())
