"""
Sequences of operations for the differential test: made from a seed, with everything that a client may do and some things that it may not. An
operation is a dict of plain values, so that a sequence can be printed, cut down and put into a test.
"""
import random

from tests.support import mqtt_raw as mqtt

NEVER = 0xFFFFFFFF
STRAY = 60000  # packet identifiers from here on are never those of a delivery or of a PUBLISH
ACKS = {"puback": mqtt.Puback, "pubrec": mqtt.Pubrec, "pubrel": mqtt.Pubrel, "pubcomp": mqtt.Pubcomp}


# ---- operations as bytes -------------------------------------------------------------------------------------------------


def payload_of(op):
    """Unique, and tells who sent it with which QoS: only messages that agree in these and in the topic have an order."""
    return "" if op.get("empty") else f"{op['c']}q{op['qos']}.{op['n']}" + "x" * op.get("size", 0)


def connect_bytes(version, client_id, op):
    will = op.get("will")
    if will is not None:
        will = mqtt.Will(will["topic"], f"w{will['n']}", will["qos"], will["retain"], will.get("props", ()))
    return mqtt.Connect(client_id, op.get("clean", True), op.get("keep_alive", 60), will, op.get("user"), op.get("password"), op.get("props", ())).encode(version)


def subscribe_bytes(version, op):
    return mqtt.Subscribe(op["pid"], [(text, options if version == 5 else options & 3) for text, options in op["filters"]], 0, op.get("props", ())).encode(version)


def publish_bytes(version, op, dup=False):
    topic = "" if op.get("bare") else op["topic"]
    return mqtt.Publish(topic, payload_of(op), op["qos"], op.get("pid", 0), op.get("retain", False), dup, op.get("props", ())).encode(version)


def body_at(data):
    """Where the fixed header ends."""
    return next(i for i in range(1, 5) if data[i] < 0x80) + 1


def is_cut(data):
    """Whether a receiver would have to wait for more of the last packet."""
    try:
        while data:
            size = mqtt.size_of_first(data)
            if size is None or size > len(data):
                return True
            data = data[size:]
    except mqtt.Malformed:
        pass
    return False


def identity_in(data):
    """(client id, user) of a CONNECT, as far as it is one; None."""
    version, read = connect_version(data), mqtt.Reader(data[body_at(data):])
    try:
        read.binary()
        read.u8()
        flags = read.u8()
        read.u16()
        skip_properties = lambda: version == 5 and read.take(read.varint())
        skip_properties()
        ident = read.text()
        if flags & 4:
            skip_properties()
            read.binary()
            read.binary()
        return ident, read.text() if flags & 0x80 else None
    except (mqtt.Malformed, UnicodeDecodeError):
        return None


def connect_version(data):
    """In which form a CONNECT is going to be answered."""
    at = data.find(b"\0\4MQTT")
    return 5 if at >= 0 and len(data) > at + 6 and data[at + 6] not in (3, 4, 0x83, 0x84) else 4


# ---- making sequences ----------------------------------------------------------------------------------------------------

TOPICS = ["a", "b", "a/b", "a/c", "b/a", "a/b/c", "/a", "a/", "a//b", "/", "$x/a", "$x", "a/b/c/d", "b/\u00e4 \u4e2d"]
FILTERS = TOPICS + ["#", "+", "a/#", "+/#", "a/+", "+/b", "a/+/c", "+/+", "/+", "+/", "a/b/#", "/#", "$x/#", "$x/+", "+/a/#", "b/+", "a/+/#"]


def matches(text, topic):
    """[MQTT-4.7.1-1] to [MQTT-4.7.2-1]."""
    wanted, levels = text.split("/"), topic.split("/")
    if topic[0] == "$" and text[0] in "+#":
        return False
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels) or (len(wanted) == len(levels) + 1 and wanted[-1] == "#")


def overlap(a, b):
    return any(matches(a, topic) and matches(b, topic) for topic in TOPICS)


class Generator:
    def __init__(self, rng, versions):
        self.rng = rng
        self.versions = versions
        self.n = 0
        self.pids = [0] * len(versions)
        self.known_aliases = [{} for _ in versions]
        self.subscribed = [[] for _ in versions]
        self.users = [rng.choice([None, None, "somebody"]) for _ in versions]
        self.broken = rng.random() < 0.35
        # Mosquitto sends a message once for each matching subscription, which fills windows: so either filters overlap, or windows are narrow.
        self.overlaps = rng.random() < 0.5

    def number(self):
        self.n += 1
        return self.n

    def pid(self, c):
        self.pids[c] = self.pids[c] % 50000 + 1
        return self.pids[c]

    def chance(self, probability):
        return self.rng.random() < probability

    def user_properties(self):
        return [("user_property", (self.rng.choice(["k", "key", ""]), self.rng.choice(["v", "", "\u00fc"]))) for _ in range(self.rng.choice([0, 0, 0, 1, 2]))]

    def message_properties(self):
        rng, out = self.rng, []
        if self.chance(0.5):
            return out
        if self.chance(0.3):
            out.append(("payload_format", rng.choice([0, 1])))
        if self.chance(0.3):
            out.append(("message_expiry", rng.choice([1000, 5000, 100000])))
        if self.chance(0.3):
            out.append(("content_type", rng.choice(["text/plain", "", "x"])))
        if self.chance(0.3):
            out.append(("response_topic", rng.choice(["re/a", "r"])))
        if self.chance(0.3):
            out.append(("correlation_data", bytes(rng.randrange(256) for _ in range(rng.randrange(4)))))
        out += self.user_properties()
        rng.shuffle(out)
        return out

    def will(self, version):
        rng = self.rng
        props = [(name, value) for name, value in self.message_properties()] if version == 5 else []
        if version == 5 and self.chance(0.3):
            props.append(("will_delay", rng.choice([0, 4000])))
        return {"topic": rng.choice(TOPICS), "qos": rng.randrange(3), "retain": self.chance(0.3), "n": self.number(), "props": props}

    def connect(self, c):
        rng, version = self.rng, self.versions[c]
        op = {"op": "connect", "c": c, "clean": self.chance(0.4), "auto": self.overlaps or self.chance(0.5), "keep_alive": rng.choice([60, 60, 0, 1000, 65535])}
        props = []
        if version == 5:
            if self.chance(0.7):
                props.append(("session_expiry", rng.choice([0, 3600, 3600, NEVER])))
            if self.chance(0.3 if self.overlaps else 0.7):
                props.append(("receive_maximum", 65535 if self.overlaps else rng.choice([1, 1, 2, 2, 3, 5, 65535])))
            if self.chance(0.15):
                props.append(("maximum_packet_size", 250))
            if self.chance(0.4):
                props.append(("topic_alias_maximum", rng.choice([0, 1, 3, 100])))
            if self.chance(0.1):
                props.append(("request_problem_information", rng.randrange(2)))
            if self.chance(0.1):
                props.append(("request_response_information", rng.randrange(2)))
            props += self.user_properties()
        op["props"] = props
        if self.chance(0.35):
            op["will"] = self.will(version)
        if self.users[c] is not None or self.chance(0.01):
            op["user"] = self.users[c] or "somebody else"
            if self.chance(0.5):
                op["password"] = "secret"
        if self.chance(0.05):
            op["empty_id"] = True
        elif self.chance(0.05):
            op["same_id"] = True
        if op["clean"]:
            self.subscribed[c] = []
        self.known_aliases[c] = {}
        return op

    def filter(self, c):
        known, text = self.subscribed[c], self.rng.choice(FILTERS)
        if not self.overlaps and text not in known:
            fitting = [text for text in FILTERS if not any(overlap(text, other) for other in known)]
            text = self.rng.choice(fitting or known)
        known.append(text)
        return text

    def subscribe(self, c):
        rng, version = self.rng, self.versions[c]
        filters = [[self.filter(c), rng.randrange(3)] for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        if version == 5:
            for item in filters:
                item[1] |= (4 if self.chance(0.2) else 0) | (8 if self.chance(0.3) else 0) | rng.choice([0, 0, 0x10, 0x20])
        props = []
        if version == 5:
            if self.chance(0.3):
                props.append(("subscription_id", rng.choice([1, 7, 127, 128, 268435455])))
            props += self.user_properties()
        return {"op": "subscribe", "c": c, "pid": self.pid(c), "filters": filters, "props": props}

    def unsubscribe(self, c):
        known = self.subscribed[c] or FILTERS
        filters = [self.rng.choice(known if self.chance(0.8) else FILTERS) for _ in range(self.rng.choice([1, 1, 2]))]
        return {"op": "unsubscribe", "c": c, "pid": self.pid(c), "filters": filters, "props": self.user_properties() if self.versions[c] == 5 else []}

    def topic(self):
        """Mostly one that somebody gets."""
        known = [text for filters in self.subscribed for text in filters]
        wanted = [topic for topic in TOPICS if any(matches(text, topic) for text in known)]
        return self.rng.choice(wanted if wanted and self.chance(0.7) else TOPICS)

    def publish(self, c):
        rng, version = self.rng, self.versions[c]
        op = {"op": "publish", "c": c, "topic": self.topic(), "qos": rng.choice([0, 1, 1, 2, 2]), "retain": self.chance(0.3), "n": self.number()}
        if op["qos"]:
            op["pid"] = self.pid(c)
        if self.chance(0.1):
            op["size"] = rng.choice([1, 100, 400, 5000])
        if op["retain"] and self.chance(0.25):
            op["empty"] = True
        if version == 5:
            op["props"] = self.message_properties()
            if self.chance(0.25):
                self.alias(c, op)
        return op

    def alias(self, c, op):
        known = self.known_aliases[c]
        if known and self.chance(0.6):
            alias = self.rng.choice(sorted(known))
            op["topic"], op["bare"] = known[alias], True
        else:
            alias = self.rng.randrange(1, 11)
            known[alias] = op["topic"]
        op["props"] = op["props"] + [("topic_alias", alias)]

    def hold(self, c):
        """A QoS 2 message whose PUBREL comes later, and what may happen in between."""
        op = {**self.publish(c), "qos": 2, "pid": self.pid(c), "hold": True, "retain": False}
        op.pop("empty", None)
        yield op
        between = [self.again, self.lone_ping] + ([self.reconnect, self.other_publish] if self.overlaps else [])
        for _ in range(self.rng.choice([0, 1, 1, 2])):
            yield from self.rng.choice(between)(c)
        yield {"op": "release", "c": c, "held": True, "pid": op["pid"]}

    def again(self, c):
        yield {"op": "again", "c": c}

    def lone_ping(self, c):
        yield {"op": "ping", "c": c}

    def reconnect(self, c):
        if self.chance(0.7):
            yield {"op": "close", "c": c}
        yield {**self.connect(c), "clean": False}

    def other_publish(self, c):
        yield self.publish(c)

    def burst(self, c):
        items = [self.publish(c) for _ in range(self.rng.randrange(2, 6))]
        if not self.overlaps:  # passed on at PUBLISH or at PUBREL: which one is first in a narrow window is not known
            items = [item for item in items if (item["qos"] == 2) == (items[0]["qos"] == 2)]
        for item in items:  # retained at PUBLISH or at PUBREL: which one is last is not known
            item["retain"] = item["retain"] and item["qos"] < 2
            item["empty"] = item.get("empty", False) and item["retain"]
        return {"op": "burst", "c": c, "items": items}

    def ack(self, c):
        how = self.rng.choice(["next"] * 8 + ["refuse", "refuse", "puback", "pubrec", "pubcomp"])
        return {"op": "ack", "c": c, "nth": self.rng.choice([0, 0, 0, 1, 2]), "how": how}

    def stray(self, c):
        kind = self.rng.choice(sorted(ACKS))
        op = {"op": "stray", "c": c, "kind": kind, "pid": self.rng.randrange(STRAY, 65536)}
        if self.versions[c] == 5 and self.chance(0.3):
            op["reason"] = self.rng.choice([0x10, 0x80, 0x97] if kind in ("puback", "pubrec") else [0x92])
        return op

    def disconnect(self, c):
        op = {"op": "disconnect", "c": c}
        if self.versions[c] == 5:
            op["reason"] = self.rng.choice([0, 0, 4, 0x80])
            if self.chance(0.3):
                op["props"] = [("session_expiry", self.rng.choice([0, 3600]))]
        return op

    def close(self, c):
        return {"op": "close", "c": c, "reset": self.chance(0.3)}

    def sequence(self, length):
        rng, ops = self.rng, []
        clients = range(len(self.versions) - 1)  # the last is for broken CONNECTs
        for c in clients:
            ops.append(self.connect(c))
            if self.chance(0.7):
                ops.append(self.subscribe(c))
        makers = ([self.publish] * 8 + [self.subscribe] * 5 + [self.unsubscribe] * 2 + [self.burst] * 2 + [self.connect] * 3 + [self.ack] * 4 +
                  [self.stray] + [self.disconnect] * 2 + [self.close] * 2 + [self.hold] * 2)
        while len(ops) < length:
            c = rng.choice(clients)
            made = rng.choice(makers)(c)
            ops += [made] if isinstance(made, dict) else list(made)
        if self.broken:
            ops.insert(rng.randrange(len(clients), len(ops) + 1), self.raw(rng.choice(clients)))
        return {"clients": list(self.versions), "ops": ops}

    # -- broken packets

    def raw(self, c):
        version = self.versions[c]
        if self.chance(0.3):
            op = {**self.connect(c), "empty_id": False}
            c = len(self.versions) - 1
            data, what = mutate(self.rng, version, connect_bytes(version, f"raw{self.rng.getrandbits(32):x}", op))
            return {"op": "rawconnect", "c": c, "bytes": data.hex(), "what": what}
        data, what = mutate(self.rng, version, self.valid_packet(c, version))
        return {"op": "raw", "c": c, "bytes": data.hex(), "what": what}

    def valid_packet(self, c, version):
        choice = self.rng.choice(["publish"] * 4 + ["subscribe"] * 3 + ["unsubscribe", "ack", "ack", "disconnect", "auth", "server", "connect"])
        if choice == "publish":
            return publish_bytes(version, self.publish(c))
        if choice == "subscribe":
            return subscribe_bytes(version, self.subscribe(c))
        if choice == "unsubscribe":
            op = self.unsubscribe(c)
            return mqtt.Unsubscribe(op["pid"], op["filters"], op["props"]).encode(version)
        if choice == "ack":
            op = self.stray(c)
            return ACKS[op["kind"]](op["pid"], op.get("reason", 0), self.user_properties() if version == 5 else ()).encode(version)
        if choice == "disconnect":
            op = self.disconnect(c)
            return mqtt.Disconnect(op.get("reason", 0), op.get("props", ())).encode(version)
        if choice == "auth":
            return mqtt.Auth(self.rng.choice([0, 0x18, 0x19]), [("authentication_method", "x")]).encode(5)
        if choice == "server":
            return self.rng.choice([b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00"])
        return mqtt.Connect("second").encode(version)


BAD_TEXTS = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\0b", b"a\x01b", b"a\x7fb", b"\xc2\x85", b"\xef\xbf\xbf", b"a/#/b", b"a#", b"+a", b"#", b"a/+", b"", b"$share/g/a",
             b"$share//a", b"$share/g", b"$share/g/", b"$share/+/a", b"$SYS/a"]


def mutate(rng, version, data):
    """(the packet with something wrong, what)."""
    begin = body_at(data)
    body = bytearray(data[begin:])
    how = rng.choice(["flip"] * 4 + ["set"] * 3 + ["insert", "delete", "flags", "flags", "type", "extend", "truncate", "padded", "longer", "shorter", "property",
                                                   "property", "property", "text", "text", "nothing"])
    if how == "nothing":
        return data, how
    if how == "flags":
        return bytes([data[0] & 0xF0 | rng.randrange(16)]) + data[1:], how
    if how == "type":
        return bytes([rng.randrange(16) << 4 | data[0] & 15]) + data[1:], how
    if how == "padded":
        return data[:1] + bytes([data[1] | 0x80]) + (data[2:begin] + b"\0" if begin == 2 else data[2:begin]) + data[begin:], how
    if how == "longer":
        return data[:1] + mqtt.varint(len(body) + rng.randrange(1, 4)) + bytes(body), how
    if how == "shorter" and body:
        return data[:1] + mqtt.varint(max(0, len(body) - rng.randrange(1, 4))) + bytes(body), how
    if how == "extend":
        body += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 4)))
    elif how == "truncate":
        del body[max(0, len(body) - rng.randrange(1, 4)):]
    elif how == "insert":
        body.insert(rng.randrange(len(body) + 1), rng.randrange(256))
    elif how == "text":
        body = replace_text(rng, body)
    elif how == "property" and version == 5:
        body = add_property(rng, data[0] >> 4, body)
    elif body:
        at = rng.randrange(len(body))
        if how == "delete":
            del body[at]
        elif how == "set":
            body[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        else:
            body[at] ^= 1 << rng.randrange(8)
    return data[:1] + mqtt.varint(len(body)) + bytes(body), how


def replace_text(rng, body):
    """One of the length-prefixed texts that the body seems to have becomes a bad one."""
    places = [i for i in range(len(body) - 2) if 0 < (length := body[i] << 8 | body[i + 1]) <= len(body) - i - 2 and length < 20]
    if not places:
        return body
    at = rng.choice(places)
    length = body[at] << 8 | body[at + 1]
    return body[:at] + bytearray(mqtt.text(rng.choice(BAD_TEXTS))) + body[at + 2 + length:]


VALUES = {"u8": [0, 1, 2], "u16": [0, 1, 11, 65535], "u32": [0, 1, NEVER], "varint": [0, 1], "pair": [("a", "b")], "text": ["t", "", "t/#"],
          "binary": [b"", b"x"]}


def add_property(rng, kind, body):
    """One more property in front of those that are there: it may not belong there, or be there twice, or have a bad value."""
    at = properties_at(rng, kind, body)
    if at > len(body):
        return body
    read = mqtt.Reader(bytes(body[at:]))
    try:
        old = read.take(read.varint()) if read.left() else b""
    except mqtt.Malformed:
        return body
    name = rng.choice(sorted(mqtt.PROPERTIES))
    new = mqtt.one_property(name, rng.choice(VALUES[mqtt.PROPERTIES[name][1]])) * rng.choice([1, 1, 1, 1, 2])
    return body[:at] + bytearray(mqtt.varint(len(new) + len(old)) + new + old + read.rest())


def properties_at(rng, kind, body):
    """Where the properties begin; for PUBLISH with or without a packet identifier before them."""
    if kind == mqtt.Publish.TYPE:
        return 2 + (body[0] << 8 | body[1]) + rng.choice([0, 2])
    if kind == mqtt.Connect.TYPE:
        return 10
    if kind in (mqtt.Disconnect.TYPE, mqtt.Auth.TYPE):
        return 1
    return 3 if kind in (mqtt.Puback.TYPE, mqtt.Pubrec.TYPE, mqtt.Pubrel.TYPE, mqtt.Pubcomp.TYPE) else 2


def generate(seed, label):
    """The sequence of a seed and a label like "5/17": version (or "mixed") and number."""
    rng = random.Random(f"{seed}/{label}")
    word = label.split("/")[0]
    count = rng.choice([1, 2, 2, 3])
    pick = {"3.1": [3], "3.1.1": [4], "5": [5], "mixed": [3, 4, 5, 5]}[word]
    versions = [rng.choice(pick) for _ in range(count + 1)]
    return Generator(rng, versions).sequence(rng.randrange(4, 22))


# ---- for the shrinker ----------------------------------------------------------------------------------------------------


def simpler(op):
    """The operation with one thing less, each."""
    for key in ("will", "user", "password", "empty_id", "same_id", "size", "retain", "reset", "reason", "bare"):
        if op.get(key):
            yield {k: v for k, v in op.items() if k != key}
    for key in ("props", "filters", "items"):
        for i in range(len(op.get(key, ()))):
            rest = list(op[key][:i]) + list(op[key][i + 1:])
            if rest or key == "props":
                yield {**op, key: rest}
    if op.get("will") and op["will"].get("props"):
        yield {**op, "will": {**op["will"], "props": []}}
