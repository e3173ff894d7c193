"""
What is wrong with a packet of a client, as the specifications have it: a third opinion where two brokers disagree about it. Written from MQTT
3.1, 3.1.1 and 5.0 and not from our codec.

    fault(5, b"\\x30\\x03\\x00\\x01#")  ->  "topic wildcard"
    fault(5, b"\\xc0\\x00")             ->  None
"""
import re

from tests.support import mqtt_raw as mqtt

CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH = 1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15
FROM_CLIENT = {CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT}
FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
WILL = "will"

# Table 2-4: where a property may stand in what a client sends.
ALLOWED = {
    PUBLISH: {"payload_format", "message_expiry", "content_type", "response_topic", "correlation_data", "topic_alias", "user_property"},
    WILL: {"payload_format", "message_expiry", "content_type", "response_topic", "correlation_data", "will_delay", "user_property"},
    CONNECT: {"session_expiry", "authentication_method", "authentication_data", "request_problem_information", "request_response_information",
              "receive_maximum", "topic_alias_maximum", "user_property", "maximum_packet_size"},
    SUBSCRIBE: {"subscription_id", "user_property"}, UNSUBSCRIBE: {"user_property"},
    DISCONNECT: {"session_expiry", "reason_string", "user_property"},
    AUTH: {"authentication_method", "authentication_data", "reason_string", "user_property"},
    **{kind: {"reason_string", "user_property"} for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)},
}
REASONS = {
    **{kind: {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99} for kind in (PUBACK, PUBREC)},
    **{kind: {0, 0x92} for kind in (PUBREL, PUBCOMP)},
    DISCONNECT: {0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D,
                 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
    AUTH: {0, 0x18, 0x19},
}
BOOLEANS = ("payload_format", "request_problem_information", "request_response_information")
NOT_ZERO = ("receive_maximum", "maximum_packet_size", "subscription_id")
# Those that may be there several times in anything that a client sends.
REPEATABLE = ("user_property",)
# Section 1.5.4 lets a receiver refuse these, and both brokers do.
CONTROL = re.compile("[\u0001-\u001f\u007f-\u009f\ufdd0-\ufdef]|[\ufffe\uffff\U0001fffe\U0001ffff]")


class Fault(Exception):
    """Its text names the fault."""


def require(holds, name):
    if not holds:
        raise Fault(name)


def fault(version, data, alias_maximum=10):
    """The first fault in these packets, None without one. `version`: of the connection; a CONNECT that opens one has its own: version 0."""
    try:
        while data:
            size = size_of(data, version)
            require(size is not None and size <= len(data), "cut")
            version = one_packet(version, data[:size], alias_maximum)
            data = data[size:]
    except Fault as found:
        return str(found)
    return None


def size_of(data, version):
    try:
        size = mqtt.size_of_first(data)
    except mqtt.Malformed:
        raise Fault("length of five bytes") from None
    if version == 5 or (version == 0 and b"\0\4MQTT\5" in data[:12]):
        header = next((i for i in range(1, min(5, len(data))) if data[i] < 0x80), 0)
        require(header < 2 or data[header] != 0, "padded length")
    return size


def one_packet(version, data, alias_maximum):
    """Raises Fault; returns the version of the connection from here on."""
    kind, flags = data[0] >> 4, data[0] & 15
    read = Fields(data[next(i for i in range(1, 5) if data[i] < 0x80) + 1:])
    if version == 0:
        require(kind == CONNECT, "not CONNECT")
        return connect(read, flags)
    require(kind != CONNECT, "second CONNECT")
    require(kind in FROM_CLIENT or (kind == AUTH and version == 5), "type")
    require(kind == PUBLISH or flags == FLAGS.get(kind, 0) or version == 3, "flags")
    if kind == PUBLISH:
        publish(read, version, flags, alias_maximum)
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        subscribe(read, version, kind)
    elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        require(read.u16() != 0, "packet id 0")
        notice(read, version, kind)
    elif kind in (DISCONNECT, AUTH):
        notice(read, version, kind)
    require(not read.left(), "trailing bytes")
    if kind == AUTH:
        raise Fault("AUTH without a beginning")
    return version


class Fields(mqtt.Reader):
    """A field that is not there is a Fault."""

    def take(self, count):
        require(self.left() >= count, "cut field")
        return super().take(count)

    def varint(self):
        start = self.at
        try:
            value = super().varint()
        except mqtt.Malformed:
            raise Fault("variable byte integer") from None
        require(self.at - start == len(mqtt.varint(value)), "variable byte integer")
        return value

    def text(self):
        return checked_text(self.binary())

    def topic(self, may_be_empty=False):
        topic = self.text()
        require("+" not in topic and "#" not in topic, "topic wildcard")
        require(topic or may_be_empty, "topic empty")
        return topic

    def properties(self, version, where):
        found = {}
        if version != 5:
            return found
        inside = Fields(self.take(self.varint()))
        while inside.left():
            number = inside.varint()
            require(number in mqtt._NAMES, "property unknown")
            name, kind = mqtt._NAMES[number]
            value = (inside.text(), inside.text()) if kind == "pair" else getattr(inside, kind)()
            require(name in ALLOWED[where], "property misplaced")
            require(name not in found or name in REPEATABLE, "property twice")
            require(name not in BOOLEANS or value <= 1, "property value")
            require(name not in NOT_ZERO or value != 0, "property value")
            if name == "response_topic":
                require(value and "+" not in value and "#" not in value, "response topic")
            found[name] = value
        return found


def checked_text(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Fault("not UTF-8") from None
    require("\0" not in text, "U+0000")
    require(not CONTROL.search(text), "control character")
    return text


def connect(read, flags):
    name, level = read.binary(), read.u8()
    require(name in (b"MQTT", b"MQIsdp"), "protocol name")
    bare = level & 0x7F if level >= 0x80 else level
    version = bare if bare in ((3,) if name == b"MQIsdp" else (4, 5)) and (bare < 5 or level < 0x80) else 0
    require(version, "protocol level")
    require(flags == 0, "flags")
    bits = read.u8()
    will, will_qos = bits & 4, bits >> 3 & 3
    require(not bits & 1 or version == 3, "reserved flag")
    require(will_qos < 3, "will QoS 3")
    require(will or version == 3 or not bits & 0x38, "will flags")
    require(version == 5 or bits & 0x80 or not bits & 0x40, "password alone")
    read.u16()
    properties = read.properties(version, CONNECT)
    require("authentication_data" not in properties or "authentication_method" in properties, "authentication data alone")
    client_id = read.text()
    require(client_id or version == 5 or (version == 4 and bits & 2), "empty client id")
    if will:
        read.properties(version, WILL)
        read.topic()
        read.binary()
    for bit, field in ((0x80, read.text), (0x40, read.binary)):
        if bits & bit and (version != 3 or read.left()):
            field()
    require(not read.left(), "trailing bytes")
    require("authentication_method" not in properties, "authentication method")
    return version


def publish(read, version, flags, alias_maximum):
    qos = flags >> 1 & 3
    require(qos < 3, "QoS 3")
    require(qos or not flags & 8, "DUP with QoS 0")
    topic = read.topic(may_be_empty=version == 5)
    require(not qos or read.u16() != 0, "packet id 0")
    properties = read.properties(version, PUBLISH)
    require(topic or "topic_alias" in properties, "topic empty")
    require(0 < properties.get("topic_alias", 1) <= alias_maximum, "topic alias")
    read.rest()


def subscribe(read, version, kind):
    require(read.u16() != 0, "packet id 0")
    read.properties(version, kind)
    require(read.left(), "no filter")
    while read.left():
        filter_text = read.text()
        check_filter(filter_text)
        if kind == SUBSCRIBE:
            options = read.u8()
            require(options & 3 < 3, "options")
            require(options & (0xC0 if version == 5 else 0xFC) == 0, "options")
            require(version != 5 or options >> 4 & 3 < 3, "options")
            require(not filter_text.startswith("$share/") or not options & 4, "shared and no local")


def check_filter(text):
    require(text, "filter empty")
    if text.startswith("$share/"):
        parts = text.split("/", 2)
        require(len(parts) == 3 and parts[1] and parts[2] and "+" not in parts[1] and "#" not in parts[1], "share")
        text = parts[2]
    levels = text.split("/")
    require(all(level == "+" or "+" not in level for level in levels), "filter wildcard")
    require(all(level == "#" or "#" not in level for level in levels) and "#" not in levels[:-1], "filter wildcard")


def notice(read, version, kind):
    """A reason code and properties, both of which may be left out."""
    if version != 5 or not read.left():
        return
    require(read.u8() in REASONS[kind], "reason code")
    if read.left():
        found = read.properties(version, kind)
        require(kind != AUTH or "authentication_method" in found, "authentication method missing")
