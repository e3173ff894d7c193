"""
A strict reader of line protocol, written from the vendors' rules and apart from the agent's encoder: it takes only what InfluxDB
1.x, 2.x and 3.x all read in the same way, and wants a nanosecond stamp on every line.
"""
import re


class BadLine(ValueError):
    """Why a line is no line protocol that every server reads alike."""


_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_INTEGER = re.compile(r"-?[0-9]+i\Z")
_UNSIGNED = re.compile(r"[0-9]+u\Z")
_STAMP = re.compile(r"-?[0-9]{1,19}\Z")
_STRING = re.compile(r'"(?:[^"\\\n]|\\["\\])*"\Z')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A name runs to the first of , = space that no backslash protects. The easy form first: most names have no backslash.
_NAME = re.compile(r"((?:[^\\,= ]|\\.)+)", re.S)
_MEASUREMENT = re.compile(r"((?:[^\\, ]|\\.)+)", re.S)
_VALUE = re.compile(r'("(?:[^"\\]|\\.)*"|[^, "]+)', re.S)
_ESCAPED = re.compile(r"\\([,= ])")
_BOOLEANS = {"true": True, "false": False, "t": True, "f": False, "T": True, "F": False, "True": True, "False": False,
             "TRUE": True, "FALSE": False}


def _name(match, what):
    if match is None:
        raise BadLine(f"missing {what}")
    text = match.group(1)
    if text.endswith("\\"):
        raise BadLine(f"{what} ends with a backslash")
    if _CONTROL.search(text):
        raise BadLine(f"control byte in {what}")
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def value_of(text):
    """(type, value) of a field's text: float, integer, unsigned, boolean or string."""
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise BadLine(f"number out of range: {text}")
        return "float", value
    if text in _BOOLEANS:
        return "boolean", _BOOLEANS[text]
    if _INTEGER.match(text):
        value = int(text[:-1])
        if not -2**63 <= value < 2**63:
            raise BadLine(f"integer out of range: {text}")
        return "integer", value
    if _STRING.match(text):
        return "string", re.sub(r"\\(.)", r"\1", text[1:-1])
    if _UNSIGNED.match(text):
        if int(text[:-1]) >= 2**64:
            raise BadLine(f"unsigned out of range: {text}")
        return "unsigned", int(text[:-1])
    raise BadLine(f"no value: {text[:40]}")


def parse_line(line):
    """(measurement, tags as sorted tuple of pairs, fields {name: (type, value)}, stamp) of one line without its newline."""
    if line.startswith("#"):
        raise BadLine("a comment")
    match = _MEASUREMENT.match(line)
    measurement = _name(match, "measurement")
    at = match.end()
    tags = {}
    while line[at:at + 1] == ",":
        match = _NAME.match(line, at + 1)
        key = _name(match, "tag key")
        at = match.end()
        if line[at:at + 1] != "=":
            raise BadLine(f"tag '{key}' without a value")
        match = _NAME.match(line, at + 1)
        if key in tags:
            raise BadLine(f"tag '{key}' twice")
        tags[key] = _name(match, "tag value")
        at = match.end()
    if line[at:at + 1] != " ":
        raise BadLine(f"no space before the fields at {at}")
    fields = {}
    while True:
        match = _NAME.match(line, at + 1)
        key = _name(match, "field key")
        at = match.end()
        if line[at:at + 1] != "=":
            raise BadLine(f"field '{key}' without a value")
        match = _VALUE.match(line, at + 1)
        if match is None:
            raise BadLine(f"field '{key}' without a value")
        if key in fields:
            raise BadLine(f"field '{key}' twice")
        if key in tags:
            raise BadLine(f"'{key}' is a tag and a field")
        fields[key] = value_of(match.group(1))
        at = match.end()
        if line[at:at + 1] != ",":
            break
    if line[at:at + 1] != " ":
        raise BadLine("no timestamp")
    stamp = line[at + 1:]
    if not _STAMP.match(stamp):
        raise BadLine(f"bad timestamp '{stamp[:30]}'")
    if not -2**63 + 2 <= int(stamp) < 2**63 - 1:
        raise BadLine(f"timestamp out of range: {stamp}")
    for reserved in ("time",):
        if reserved in tags or reserved in fields:
            raise BadLine(f"the name '{reserved}' is reserved")
    return measurement, tuple(sorted(tags.items())), fields, int(stamp)


def lines_of(body):
    """The lines of a request body, as text; a body that is not UTF-8, empty, or not ended by a newline is refused whole."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise BadLine(f"not UTF-8: {bad}") from None
    if not text.endswith("\n"):
        raise BadLine("the last line is cut or the body is empty")
    lines = text[:-1].split("\n")
    if "" in lines:
        raise BadLine("an empty line")
    return lines
