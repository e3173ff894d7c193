"""
A raw MQTT client for tests: every packet is a named tuple that can be sent and compared, a socket carries exactly the bytes that a
test asks for, and whatever is not as expected is shown as packets and in hex.

    device = Client(port, version=5)
    device.send(Connect("device", properties={"receive_maximum": 10}))
    device.expect(Connack, reason=0)
    device.send(Publish("t/1", b"21.5", qos=1, packet_id=7))
    device.expect(Puback, packet_id=7)           # only the fields named are compared; returns the packet
    device.send(b"\x30\x02\xff\xff")             # bytes are sent as they are
    device.expect_closed(0x81)                   # DISCONNECT with that reason, then the end of the stream

Nothing here sleeps: a packet is waited for until the deadline, and that something does not come is shown by PINGREQ (`quiet`).
"""
import select
import socket
import struct
import time
from typing import NamedTuple

from tests.support import settings


class MqttFailure(AssertionError):
    """The other end did something else than was expected; the text has the bytes."""


class Malformed(ValueError):
    """The bytes are no packet."""


# ---- bytes ---------------------------------------------------------------------------------------------------------------


def u16(value):
    return struct.pack(">H", value)


def u32(value):
    return struct.pack(">I", value)


def varint(value, padded_to=1):
    """A variable byte integer; longer than needed with `padded_to`, which MQTT forbids."""
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        more = value > 0 or len(encoded) + 1 < padded_to
        encoded.append(digit | (0x80 if more else 0))
        if not more:
            return bytes(encoded)


def as_bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def text(value, length=None):
    """A string or binary data with its length before it; a wrong one with `length`."""
    data = as_bytes(value)
    return u16(len(data) if length is None else length) + data


def packet(first_byte, body=b"", length=None):
    """A whole packet around a body; with a Remaining Length of its own with `length`."""
    return bytes([first_byte]) + varint(len(body) if length is None else length) + body


class Reader:
    """Fields from bytes, in order."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        if self.left() < count:
            raise Malformed(f"{count} bytes wanted, {self.left()} left")
        self.at += count
        return self.data[self.at - count:self.at]

    def rest(self):
        return self.take(self.left())

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack(">H", self.take(2))[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def varint(self):
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.u8()
            value |= (digit & 0x7F) << shift
            if digit < 0x80:
                return value
        raise Malformed("a variable byte integer of more than four bytes")

    def binary(self):
        return self.take(self.u16())

    def text(self):
        return self.binary().decode()


# ---- properties ----------------------------------------------------------------------------------------------------------

# Identifier and kind by name, as MQTT 5 table 2-4 has them.
PROPERTIES = {
    "payload_format": (0x01, "u8"), "message_expiry": (0x02, "u32"), "content_type": (0x03, "text"), "response_topic": (0x08, "text"),
    "correlation_data": (0x09, "binary"), "subscription_id": (0x0B, "varint"), "session_expiry": (0x11, "u32"),
    "assigned_client_id": (0x12, "text"), "server_keep_alive": (0x13, "u16"), "authentication_method": (0x15, "text"),
    "authentication_data": (0x16, "binary"), "request_problem_information": (0x17, "u8"), "will_delay": (0x18, "u32"),
    "request_response_information": (0x19, "u8"), "response_information": (0x1A, "text"), "server_reference": (0x1C, "text"),
    "reason_string": (0x1F, "text"), "receive_maximum": (0x21, "u16"), "topic_alias_maximum": (0x22, "u16"), "topic_alias": (0x23, "u16"),
    "maximum_qos": (0x24, "u8"), "retain_available": (0x25, "u8"), "user_property": (0x26, "pair"), "maximum_packet_size": (0x27, "u32"),
    "wildcard_available": (0x28, "u8"), "subscription_id_available": (0x29, "u8"), "shared_available": (0x2A, "u8"),
}
_NAMES = {identifier: (name, kind) for name, (identifier, kind) in PROPERTIES.items()}
_REPEATABLE = {"user_property", "subscription_id"}  # these are read as lists
_ENCODERS = {"u8": lambda value: bytes([value]), "u16": u16, "u32": u32, "varint": varint, "text": text, "binary": text,
             "pair": lambda pair: text(pair[0]) + text(pair[1])}


def one_property(name, value):
    identifier, kind = PROPERTIES[name]
    return varint(identifier) + _ENCODERS[kind](value)


def encode_properties(properties):
    """
    With their length. A dict of names and values (a list for one that may be there several times), a list of (name, value) for a
    certain order or for repetitions that MQTT forbids, or bytes that are taken as they are.
    """
    if isinstance(properties, (bytes, bytearray)):
        encoded = bytes(properties)
    else:
        pairs = properties.items() if isinstance(properties, dict) else properties
        encoded = b"".join(one_property(name, value) for name, values in pairs
                           for value in (values if isinstance(values, list) else [values]))
    return varint(len(encoded)) + encoded


def _read_pair(reader):
    return reader.text(), reader.text()


def decode_properties(reader):
    inside, properties = Reader(reader.take(reader.varint())), {}
    while inside.left():
        identifier = inside.varint()
        if identifier not in _NAMES:
            raise Malformed(f"property {identifier:#04x}")
        name, kind = _NAMES[identifier]
        value = _read_pair(inside) if kind == "pair" else getattr(inside, kind)()
        if name in _REPEATABLE:
            properties.setdefault(name, []).append(value)
        elif name in properties:
            raise Malformed(f"property {name} twice")
        else:
            properties[name] = value
    return properties


def _properties(version, properties):
    return encode_properties(properties) if version == 5 else b""


# ---- packets -------------------------------------------------------------------------------------------------------------
#
# Each knows its type, how it is written and how it is read. Fields that a version does not have are at their defaults.


class Will(NamedTuple):
    topic: object
    payload: object = b""
    qos: int = 0
    retain: bool = False
    properties: object = {}


class Connect(NamedTuple):
    client_id: object = ""
    clean: bool = True
    keepalive: int = 60
    will: Will = None
    user: object = None
    password: object = None
    properties: object = {}
    TYPE = 1

    def encode(self, version):
        will = self.will
        flags = (self.clean << 1 | (self.user is not None) << 7 | (self.password is not None) << 6)
        body = text("MQIsdp" if version == 3 else "MQTT") + bytes([version])
        if will is not None:
            flags |= 4 | will.qos << 3 | will.retain << 5
        body += bytes([flags]) + u16(self.keepalive) + _properties(version, self.properties) + text(self.client_id)
        if will is not None:
            body += _properties(version, will.properties) + text(will.topic) + text(will.payload)
        return packet(0x10, body + b"".join(text(field) for field in (self.user, self.password) if field is not None))


class Connack(NamedTuple):
    present: bool = False
    reason: int = 0
    properties: dict = {}
    TYPE = 2

    def encode(self, version):
        return packet(0x20, bytes([self.present, self.reason]) + _properties(version, self.properties))

    @classmethod
    def decode(cls, _flags, reader, version):
        return cls(reader.u8() == 1, reader.u8(), decode_properties(reader) if version == 5 and reader.left() else {})


class Publish(NamedTuple):
    topic: object
    payload: object = b""
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    dup: bool = False
    properties: object = {}
    TYPE = 3

    def encode(self, version):
        body = text(self.topic) + (u16(self.packet_id) if self.qos else b"") + _properties(version, self.properties)
        return packet(0x30 | self.dup << 3 | self.qos << 1 | self.retain, body + as_bytes(self.payload))

    @classmethod
    def decode(cls, flags, reader, version):
        qos, topic = flags >> 1 & 3, reader.text()
        packet_id = reader.u16() if qos else 0
        properties = decode_properties(reader) if version == 5 else {}
        return cls(topic, reader.rest(), qos, packet_id, flags & 1 == 1, flags & 8 == 8, properties)


class _Acknowledgement:
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""
    FLAGS = 0

    def encode(self, version):
        body = u16(self.packet_id)
        if version == 5 and (self.reason or self.properties):
            body += bytes([self.reason]) + (_properties(version, self.properties) if self.properties else b"")
        return packet(self.TYPE << 4 | self.FLAGS, body)

    @classmethod
    def decode(cls, _flags, reader, _version):
        return cls(reader.u16(), reader.u8() if reader.left() else 0, decode_properties(reader) if reader.left() else {})


class _AckFields(NamedTuple):
    packet_id: int
    reason: int = 0
    properties: object = {}


class Puback(_Acknowledgement, _AckFields):
    TYPE = 4


class Pubrec(_Acknowledgement, _AckFields):
    TYPE = 5


class Pubrel(_Acknowledgement, _AckFields):
    TYPE, FLAGS = 6, 2


class Pubcomp(_Acknowledgement, _AckFields):
    TYPE = 7


class Subscribe(NamedTuple):
    """`filters`: one filter, or a list of filters and (filter, options)."""
    packet_id: int
    filters: object
    qos: int = 0  # of filters without options of their own
    properties: object = {}
    TYPE = 8

    def encode(self, version):
        filters = self.filters if isinstance(self.filters, list) else [self.filters]
        pairs = [entry if isinstance(entry, tuple) else (entry, self.qos) for entry in filters]
        return packet(0x82, u16(self.packet_id) + _properties(version, self.properties) +
                      b"".join(text(name) + bytes([options]) for name, options in pairs))


NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER = 0x04, 0x08, 0x10, 0x20  # options besides the QoS


class _ReasonFields(NamedTuple):
    packet_id: int
    reasons: list = []
    properties: dict = {}


class _Reasons:
    """SUBACK, UNSUBACK; the reasons are a list of numbers."""

    def encode(self, version):
        return packet(self.TYPE << 4, u16(self.packet_id) + _properties(version, self.properties) + bytes(self.reasons))

    @classmethod
    def decode(cls, _flags, reader, version):
        packet_id = reader.u16()
        properties = decode_properties(reader) if version == 5 else {}
        return cls(packet_id, list(reader.rest()), properties)


class Suback(_Reasons, _ReasonFields):
    TYPE = 9


class Unsubscribe(NamedTuple):
    packet_id: int
    filters: object
    properties: object = {}
    TYPE = 10

    def encode(self, version):
        filters = self.filters if isinstance(self.filters, list) else [self.filters]
        return packet(0xA2, u16(self.packet_id) + _properties(version, self.properties) + b"".join(map(text, filters)))


class Unsuback(_Reasons, _ReasonFields):
    TYPE = 11


class _Empty:
    def encode(self, _version):
        return packet(self.TYPE << 4)

    @classmethod
    def decode(cls, _flags, _reader, _version):
        return cls()


class _NoFields(NamedTuple):
    pass


class Pingreq(_Empty, _NoFields):
    TYPE = 12


class Pingresp(_Empty, _NoFields):
    TYPE = 13


class _NoticeFields(NamedTuple):
    reason: int = 0
    properties: object = {}


class _Notice:
    """DISCONNECT, AUTH."""

    def encode(self, version):
        if version != 5 or (not self.reason and not self.properties):
            return packet(self.TYPE << 4)
        return packet(self.TYPE << 4, bytes([self.reason]) + (_properties(version, self.properties) if self.properties else b""))

    @classmethod
    def decode(cls, _flags, reader, _version):
        return cls(reader.u8() if reader.left() else 0, decode_properties(reader) if reader.left() else {})


class Disconnect(_Notice, _NoticeFields):
    TYPE = 14


class Auth(_Notice, _NoticeFields):
    TYPE = 15


_FROM_SERVER = {kind.TYPE: kind for kind in (Connack, Publish, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Pingresp, Disconnect, Auth)}


def decode(data, version):
    """The packet that a server sent; Malformed when its bytes are none."""
    reader = Reader(data)
    first = reader.u8()
    inside = Reader(reader.take(reader.varint()))
    if first >> 4 not in _FROM_SERVER:
        raise Malformed(f"packet type {first >> 4} from a server")
    found = _FROM_SERVER[first >> 4].decode(first & 15, inside, version)
    if reader.left() or inside.left():
        raise Malformed(f"{reader.left() + inside.left()} bytes too many")
    return found


def size_of_first(data):
    """Bytes of the packet at the start; None while that is not known."""
    for digits in range(1, 5):
        if len(data) <= digits:
            return None
        if data[digits] < 0x80:
            return 1 + digits + Reader(data[1:]).varint()
    raise Malformed("a Remaining Length of more than four bytes")


# ---- the client ----------------------------------------------------------------------------------------------------------


def shown(data, most=48):
    """Hex with blanks, cut in the middle of nowhere when it is long."""
    return bytes(data[:most]).hex(" ") + (f" ... ({len(data)} bytes)" if len(data) > most else "")


def _cut(words, most=400):
    return words if len(words) <= most else f"{words[:most]} ... ({len(words)} characters)"


def _fields(wanted):
    return _cut(", ".join(f"{name}={value!r}" for name, value in wanted.items()))


class Client:
    """One connection. `version` is how packets are written and read: 3 (MQTT 3.1), 4 (3.1.1) or 5."""

    HISTORY = 6  # packets that a failure shows

    def __init__(self, port, version=5, name="client", timeout=10.0, sock=None):
        self.version, self.name, self.port = version, name, port
        self.timeout = timeout * settings.PATIENCE
        self.socket = sock or socket.create_connection(("127.0.0.1", port), timeout=self.timeout)
        if self.socket.family in (socket.AF_INET, socket.AF_INET6):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = bytearray()
        self._ended = None  # why the stream did
        self._history = []
        self._last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return self.name

    def close(self):
        """Without a word, as a client whose cable was cut and whose kernel says so. Again is fine."""
        self.socket.close()

    def reset(self):
        """The same with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def next_id(self):
        """A packet identifier that was not given before, as far as there are some."""
        self._last_id = self._last_id % 65535 + 1
        return self._last_id

    # -- sending --

    def send(self, *packets):
        """In one go. A connection that has ended meanwhile is noticed by the next expect."""
        data = b"".join(one if isinstance(one, (bytes, bytearray)) else one.encode(self.version) for one in packets)
        self._note(">", data)
        try:
            self.socket.sendall(data)
        except socket.timeout:
            raise self._failure(f"the server did not take {len(data)} bytes in time") from None
        except OSError as gone:
            self._ended = self._ended or str(gone)

    # -- receiving --

    def receive(self, timeout=None):
        """The next packet; None at the end of the stream. MqttFailure when nothing comes in time, or no packet."""
        data = self.receive_bytes(timeout)
        if data is None:
            return None
        try:
            return decode(data, self.version)
        except (Malformed, UnicodeDecodeError) as wrong:
            raise self._failure(f"a packet that is none: {wrong}: {shown(data, 200)}") from None

    def comes(self, seconds):
        """Whether a packet, the beginning of one or the end of the stream is there within that time."""
        size = size_of_first(self._read) if self._read else None
        if size is not None and len(self._read) >= size:
            return True
        return bool(select.select([self.socket], [], [], seconds)[0])

    @property
    def ended(self):
        """Why the stream has ended, or None."""
        return self._ended

    def receive_bytes(self, timeout=None):
        """The next packet as it came; None at the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout * settings.PATIENCE)
        while True:
            size = size_of_first(self._read) if self._read else None
            if size is not None and len(self._read) >= size:
                data = bytes(self._read[:size])
                del self._read[:size]
                self._note("<", data)
                return data
            if not self._fill(deadline):
                if self._read:
                    raise self._failure(f"the stream ended inside a packet: {shown(self._read)}")
                return None

    def _fill(self, deadline):
        """More bytes; False at the end of the stream."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._failure("nothing came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except socket.timeout:
            raise self._failure("nothing came in time") from None
        except OSError as gone:
            self._ended = self._ended or str(gone)
            return False
        finally:
            if self.socket.fileno() >= 0:
                self.socket.settimeout(self.timeout)
        self._read += data
        if not data:
            self._ended = self._ended or "closed"
        return len(data) > 0

    def expect(self, kind, **fields):
        """The next packet, which must be of this kind and have these values; returns it."""
        found = self.receive()
        if found is None:
            raise self._failure(f"expected {kind.__name__}({_fields(fields)}), and the stream ended")
        different = {name: getattr(found, name) for name, value in fields.items() if isinstance(found, kind) and getattr(found, name) != value}
        if not isinstance(found, kind) or different:
            raise self._failure(f"expected {kind.__name__}({_fields(fields)}), got {_cut(repr(found))}")
        return found

    def expect_all(self, *wanted):
        """These (kind, fields) in any order: [(Puback, {"packet_id": 1}), ...]. Returns them in the order in which they were asked for."""
        found, left = [None] * len(wanted), list(enumerate(wanted))
        while left:
            one = self.receive()
            fits = [entry for entry in left if isinstance(one, entry[1][0]) and all(getattr(one, name) == value for name, value in entry[1][1].items())]
            if not fits:
                raise self._failure(f"expected one of {[entry[1] for entry in left]}, got {_cut(repr(one))}")
            left.remove(fits[0])
            found[fits[0][0]] = one
        return found

    def expect_closed(self, reason=None):
        """
        The end of the stream and nothing before it; with a reason a DISCONNECT that says it (MQTT 5), and in 3.x the same silence. A reset is an end too.
        """
        found = self.receive()
        if found is not None and reason is not None and self.version == 5 and isinstance(found, Disconnect) and found.reason == reason:
            found = self.receive()
        elif reason is not None and self.version == 5:
            raise self._failure(f"expected Disconnect(reason={reason:#04x}), got {'the end' if found is None else _cut(repr(found))}")
        if found is not None:
            raise self._failure(f"expected the end of the stream, got {_cut(repr(found))}")

    def expect_any_end(self):
        """The end of the stream, whether a DISCONNECT or a refusing CONNACK stands before it or not."""
        found = self.receive()
        if isinstance(found, Disconnect) or (isinstance(found, Connack) and found.reason):
            found = self.receive()
        if found is not None:
            raise self._failure(f"expected the end of the stream, got {_cut(repr(found))}")

    # -- whole exchanges --

    def connect(self, client_id="", present=False, **how):
        """CONNECT with these fields and a CONNACK that accepts; returns the CONNACK."""
        self.name = client_id or self.name
        self.send(Connect(client_id, **how))
        return self.expect(Connack, reason=0, present=present and self.version != 3)

    def subscribe(self, filters, qos=0, granted=None, **how):
        """SUBSCRIBE and a SUBACK that grants all of it (or `granted`); returns the SUBACK."""
        packet_id = self.next_id()
        wanted = Subscribe(packet_id, filters, qos, **how)
        count = len(filters) if isinstance(filters, list) else 1
        self.send(wanted)
        answer = self.expect(Suback, packet_id=packet_id)
        if granted is None:
            granted = [entry[1] & 3 if isinstance(entry, tuple) else qos for entry in (filters if isinstance(filters, list) else [filters])]
        if answer.reasons != granted or len(answer.reasons) != count:
            raise self._failure(f"expected {granted}, got {answer}")
        return answer

    def unsubscribe(self, filters):
        packet_id = self.next_id()
        self.send(Unsubscribe(packet_id, filters))
        return self.expect(Unsuback, packet_id=packet_id)

    def publish(self, topic, payload=b"", qos=0, reason=None, **how):
        """PUBLISH and the whole flow of its QoS; `reason` of the first answer (None: one that takes it)."""
        packet_id = self.next_id() if qos else 0
        self.send(Publish(topic, payload, qos, packet_id, **how))
        if qos == 0:
            return None
        answer = self.expect(Puback if qos == 1 else Pubrec, packet_id=packet_id)
        if (answer.reason >= 0x80) if reason is None else (answer.reason != reason):
            raise self._failure(f"expected {'success' if reason is None else hex(reason)}, got {answer}")
        if qos == 2 and answer.reason < 0x80:
            self.send(Pubrel(packet_id))
            self.expect(Pubcomp, packet_id=packet_id, reason=0)
        return answer

    def take(self, topic, payload=None, **fields):
        """The next packet, a PUBLISH on this topic; acknowledges it as its QoS wants, and returns it."""
        found = self.expect(Publish, topic=topic, **({} if payload is None else {"payload": as_bytes(payload)}), **fields)
        if found.qos == 1:
            self.send(Puback(found.packet_id))
        elif found.qos == 2:
            self.send(Pubrec(found.packet_id))
            self.expect(Pubrel, packet_id=found.packet_id)
            self.send(Pubcomp(found.packet_id))
        return found

    def collect(self, count):
        """The next `count` messages in their order, acknowledged as their QoS wants; flows of several messages may be mixed."""
        found, open_flows = [], 0
        while len(found) < count or open_flows:
            one = self.receive()
            if isinstance(one, Publish) and len(found) < count:
                found.append(one)
                open_flows += one.qos == 2
                if one.qos:
                    self.send(Puback(one.packet_id) if one.qos == 1 else Pubrec(one.packet_id))
            elif isinstance(one, Pubrel):
                open_flows -= 1
                self.send(Pubcomp(one.packet_id))
            else:
                raise self._failure(f"expected message {len(found) + 1} of {count}, got {_cut(repr(one))}")
        return found

    def ping(self):
        self.send(Pingreq())
        self.expect(Pingresp)

    def quiet(self):
        """Nothing is on its way: two pings come back with nothing before them (a broker may put off some work for one round)."""
        self.ping()
        self.ping()

    def disconnect(self, reason=0, properties=None):
        """A normal end, and what the server makes of it."""
        self.send(Disconnect(reason, properties or {}))
        self.expect_closed()
        self.close()

    # -- failures --

    def _note(self, direction, data):
        self._history.append(f"{direction} {shown(data)}")
        del self._history[:-self.HISTORY]

    def _failure(self, what):
        end = f"\n  the stream has ended: {self._ended}" if self._ended else ""
        rest = f"\n  not read yet: {shown(self._read)}" if self._read else ""
        return MqttFailure(f"{self.name} (MQTT {self.version}): {what}\n  " + "\n  ".join(self._history) + rest + end)
