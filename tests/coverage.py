#!/usr/bin/python3
"""
Line coverage of a build made with --coverage, a line a file, the least covered first; then the total.

usage: coverage.py build/coverage
"""
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def reports(build):
    """gcov's JSON for every object that ran; documents stand one after the other on its standard output."""
    data = sorted(str(path) for path in build.rglob("*.gcda") if "/unit/" not in str(path))
    if not data:
        sys.exit(f"coverage: no *.gcda under {build}: nothing ran")
    done = subprocess.run(["gcov", "--json-format", "--stdout", *data], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def main():
    lines = defaultdict(dict)
    for report in reports(Path(sys.argv[1])):
        for source in report["files"]:
            if source["file"].startswith("/"):
                continue  # the system's headers
            counts = lines[source["file"]]
            for line in source["lines"]:
                counts[line["line_number"]] = counts.get(line["line_number"], 0) + line["count"]
    total = covered = 0
    rows = []
    for name, counts in lines.items():
        hit = sum(1 for count in counts.values() if count)
        rows.append((100 * hit / max(len(counts), 1), name, hit, len(counts)))
        total += len(counts)
        covered += hit
    for percent, name, hit, count in sorted(rows):
        print(f"{percent:5.1f} %  {hit:5}/{count:<5}  {name}")
    print(f"{100 * covered / max(total, 1):5.1f} %  {covered:5}/{total:<5}  all")


if __name__ == "__main__":
    main()
