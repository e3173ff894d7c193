"""
The same packets to two brokers, and what their clients receive compared. `generate` makes a sequence of operations from a seed, a `Duel` plays
it on both sides in lockstep and says where they differ, `shrink` cuts a sequence that differs down to the operations that matter.

How the two are kept in step without waiting for time: both brokers run one thread, so what one wrote on behalf of a packet is in its clients'
sockets once a third connection (the monitor) has had PINGREQs answered that were sent after the packet. Mosquitto handles one packet of a
connection per round, hence as many PINGREQs as packets, and two rounds of them, as both may begin a round before they see the packet.

What is normalised, since the specifications leave it to the server: packet identifiers of deliveries (a delivery is named by its payload, which
is unique), topic aliases of the server, the values of CONNACK's properties, the order of packets of different kinds and of messages that differ
in topic, publisher or QoS, and whether a client with overlapping subscriptions gets a message once or once for each (copies are merged: the
highest QoS, all identifiers). A QoS 2 message may be passed on at PUBLISH or at PUBREL, so nothing is compared between the two.
"""
import random
import select
import socket
import time
from collections import OrderedDict, namedtuple

from tests.support import mqtt_raw as mqtt
from tests.support.differential_sequences import ACKS, NEVER, STRAY, connect_bytes, connect_version, identity_in, is_cut, payload_of, publish_bytes, simpler, subscribe_bytes
from tests.support.mqtt_faults import fault
from tests.support.mqtt_raw import Connack, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Unsuback

PATIENCE_S = 20.0
STRAYS = (Puback.TYPE, Pubrec.TYPE, Pubcomp.TYPE)
PINGREQ = mqtt.Pingreq().encode(5)


class Stuck(AssertionError):
    """A broker does not answer: it hangs, or it is gone."""


# ---- connections ---------------------------------------------------------------------------------------------------------


class Link:
    """One connection of a client to one of the brokers."""

    def __init__(self, port, version):
        self.version = version
        self.data = bytearray()
        self.received = []
        self.aliases = {}
        self.ended = False
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # it was closed meanwhile; drain finds that out

    def await_bytes(self):
        """Until there is something to read, or the end."""
        if not self.ended and not select.select([self.socket], [], [], PATIENCE_S)[0]:
            raise Stuck(f"no answer within {PATIENCE_S:g} s")

    def drain(self):
        """Takes what has arrived; the packets that are new."""
        before = len(self.received)
        while not self.ended:
            try:
                piece = self.socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self.close()
                break
            self.data += piece
        self._parse()
        return self.received[before:]

    def _parse(self):
        at = 0
        try:
            while (size := mqtt.size_of_first(self.data[at:at + 5]) if len(self.data) > at else None) is not None and len(self.data) >= at + size:
                packet = bytes(self.data[at:at + size])
                self.received.append(self._translated(mqtt.decode(packet, self.version)))
                if packet[0] & 15 and packet[0] >> 4 != Publish.TYPE and packet[0] != 0x62:
                    raise mqtt.Malformed(f"flags in {packet[0]:#x}")
                at += size
        except (mqtt.Malformed, UnicodeDecodeError) as wrong:
            self.received.append(Broken(f"{wrong}: {bytes(self.data[at:at + 64]).hex()}"))
            at = len(self.data)
        del self.data[:at]

    def _translated(self, packet):
        """The topic instead of its alias."""
        alias = packet.properties.get("topic_alias") if isinstance(packet, Publish) else None
        if alias is None:
            return packet
        if packet.topic:
            self.aliases[alias] = packet.topic
        elif alias not in self.aliases:
            raise mqtt.Malformed(f"topic alias {alias} stands for nothing")
        return packet._replace(topic=self.aliases[alias])

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self, reset=False):
        self.ended = True
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Broken:
    """What the broker sent is no MQTT: always a difference."""

    def __init__(self, why):
        self.why = why

    def __repr__(self):
        return f"not MQTT: {self.why}"


class Side:
    """One of the brokers, with the monitor connection that tells when it has done what it was asked."""

    def __init__(self, name, port):
        self.name = name
        self.port = port
        self.monitor = Link(port, 4)
        self.monitor.send(mqtt.Connect(f"monitor-{random.getrandbits(64):x}", keepalive=0).encode(4))
        while not self.monitor.drain():
            self.monitor.await_bytes()

    def close(self):
        self.monitor.close()

    def ask(self, rounds):
        self.monitor.send(PINGREQ * rounds)
        self.awaited = rounds

    def await_answers(self):
        deadline = time.monotonic() + PATIENCE_S
        while self.awaited > 0:
            self.monitor.await_bytes()
            self.awaited -= sum(isinstance(packet, mqtt.Pingresp) for packet in self.monitor.drain())
            if self.monitor.ended or time.monotonic() > deadline:
                raise Stuck(f"{self.name} is gone")
        self.monitor.received.clear()


def both_idle(sides, packets=1):
    """Both have handled what was sent to them before: so many packets on one connection at most."""
    for _ in range(2):
        for side in sides:
            side.ask(packets + 1)
        for side in sides:
            side.await_answers()


# ---- what differs --------------------------------------------------------------------------------------------------------


class Difference:
    """
    In what a client received in answer to an operation. `key`: what kind of packets, for PUBLISH with the topic; `ours` and `theirs`: lists of
    what was received of that kind. `step` is shared by the differences of one operation.
    """

    def __init__(self, step, client, key, ours, theirs):
        self.step, self.client, self.key, self.ours, self.theirs = step, client, key, ours, theirs

    @property
    def kind(self):
        return self.key[0]

    def __str__(self):
        return f"client {self.client} {self.key}: ours {self.ours}, theirs {self.theirs}, after {self.step.op}"


class Step:
    """One operation, or several when a QoS 2 message was under way."""

    def __init__(self, duel, ops):
        self.duel, self.ops, self.op = duel, ops, ops[-1]
        self.differences = []
        self.fault = fault_of(duel, self.op)
        duel.faults.add(self.fault)

    def version(self, client):
        return self.duel.clients[client].version

    def ended(self, which, client):
        """Whether that side ended a connection of the client's in this step."""
        return any(d.client == client and d.kind == "ended" and getattr(d, which) for d in self.differences)


def fault_of(duel, op):
    """What is wrong with the bytes of an operation on purpose; None: nothing, or they are none."""
    if op["op"] not in ("raw", "rawconnect"):
        return None
    return fault(0 if op["op"] == "rawconnect" else duel.clients[op["c"]].version, bytes.fromhex(op["bytes"]))


def payload_in(version, data):
    """Of the PUBLISH at the start."""
    try:
        return mqtt.decode(data[:mqtt.size_of_first(data)], version).payload.decode(errors="replace")
    except (mqtt.Malformed, UnicodeDecodeError):
        return ""


Row = namedtuple("Row", "name applies why ends", defaults=(False,))
"""One explained difference: applies(difference) and a sentence. ends: states are apart after it, so the sequence ends there."""


# ---- playing a sequence --------------------------------------------------------------------------------------------------


class Client:
    def __init__(self, version, ident):
        self.version = version
        self.ident = ident
        self.links = {}           # side name -> Link
        self.old_links = {}       # side name -> [Link] that another connection of the same client took over in this step
        self.assigned = {}        # side name -> client id that the broker gave
        self.names = {}           # side name -> {packet id: name} of deliveries
        self.inflight = {}        # side name -> OrderedDict {packet id: [name, qos, state]}, of this connection
        self.auto = True
        self.expiry = 0
        self.held = OrderedDict() # packet id -> operation: QoS 2 messages of its own without PUBREL
        self.filters = set()
        self.resubscribed = False # to a filter that it had
        self.will = None
        self.users = set()         # that it connected as
        self.came_as = None        # its own client id, or that which the broker gave
        self.has_strays = False    # it acknowledged what it was not sent
        self.has_refused = False   # a QoS 2 delivery
        self.window = NEVER        # its receive maximum
        self.largest = NEVER       # its maximum packet size

    def connected(self):
        return bool(self.links)


class Duel:
    """Plays sequences on `ours` and `theirs` (Side)."""

    def __init__(self, ours, theirs, rows=()):
        self.sides = (ours, theirs)
        self.rows = rows
        self.explained = {row.name: 0 for row in rows}
        self.runs = 0
        self.steps = 0
        self.unsteady = 0

    # -- one sequence

    def run(self, sequence):
        """The unexplained differences of the first step that has any."""
        self.runs += 1
        tag = f"{random.getrandbits(40):x}"
        self.clients = [Client(version, f"d{tag}-{i}") for i, version in enumerate(sequence["clients"])]
        self.pending_ops = []
        self.seen = {}
        self.lost = set()           # payloads of QoS 2 messages that were never released
        self.wills = {}             # payload: topic, of all wills so far
        self.taken_over = set()     # payloads of wills of connections that another one of the same client ended
        self.delayed_wills = set()  # payloads of wills with a delay
        self.unkind = set()         # payloads of wills of connections that ended with a DISCONNECT other than 0x00 and 0x04
        self.faults = set()         # of all bytes that were wrong on purpose
        self.half_done = False      # among them a SUBSCRIBE or UNSUBSCRIBE
        self.expired = False        # a message expiry of 0 was among what was sent
        self.bad_end = False        # among them a DISCONNECT
        self.guests = []            # (client id, user) of CONNECTs as bytes
        try:
            for op in sequence["ops"]:
                if not self.is_legal(op):
                    continue
                over, unexplained = self.play(op)
                if over:
                    return unexplained
            return self.last_look()
        finally:
            self.clean_up()

    def play(self, op):
        """(the sequence is over, unexplained differences)."""
        self.steps += 1
        sent = getattr(self, "do_" + op["op"])(op) or 1
        self.settle(sent)
        self.pending_ops.append(op)
        self.note_ends()
        if op["op"] == "burst" and not self.clients[op["c"]].connected():
            self.lost.update(payload_of(item) for item in op["items"] if item["qos"] == 2)
        if any(client.held for client in self.clients):
            return False, []
        return self.compare()

    def compare(self):
        step = Step(self, self.pending_ops or [{"op": "end"}])
        self.pending_ops = []
        for i, client in enumerate(self.clients):
            ours, theirs = (self.canonical(step, client, side.name) for side in self.sides)
            for key in sorted(ours.keys() | theirs.keys(), key=str):
                if ours.get(key, []) != theirs.get(key, []):
                    step.differences.append(Difference(step, i, key, ours.get(key, []), theirs.get(key, [])))
        unexplained, over = [], False
        for difference in step.differences:
            row = next((row for row in self.rows if row.applies(difference)), None)
            if row is None:
                unexplained.append(difference)
            else:
                self.explained[row.name] += 1
                over = over or row.ends
        over = over or any(difference.kind == "ended" for difference in step.differences)
        return over or bool(unexplained), unexplained

    # -- what may be done when

    def is_legal(self, op):
        """While a QoS 2 message waits for its PUBREL only its publisher goes on, and with nothing that the difference in time would show in."""
        client = self.clients[op["c"]]
        holding = [other for other in self.clients if other.held]
        if holding and (client not in holding or op["op"] not in ("release", "again", "ping", "publish", "close", "connect", "stray")):
            return False
        if op["op"] == "connect":
            return not holding or not client.filters
        if op["op"] == "rawconnect":
            return not holding
        if not client.connected():
            return False
        if op["op"] == "publish" and holding and any(op["topic"] == held["topic"] for held in client.held.values()):
            return False
        if op["op"] in ("publish", "burst") and any(item.get("pid") in client.held for item in op.get("items", [op])):
            return False
        if op["op"] == "publish" and op.get("hold") and client.filters and not client.auto:
            return False
        if op["op"] == "close" and holding:
            return not client.filters
        if op["op"] == "again":
            return bool(client.held)
        if op["op"] == "ack":
            return bool(client.inflight["ours"]) and bool(client.inflight["theirs"])
        return True

    # -- sending

    def each(self, client):
        for side in self.sides:
            link = client.links.get(side.name)
            if link is not None:
                yield side, link

    def send(self, op, data):
        for _, link in self.each(self.clients[op["c"]]):
            link.send(data)

    def do_connect(self, op):
        client = self.clients[op["c"]]
        clean = op.get("clean", True)
        ident = "" if op.get("empty_id") else client.ident
        client.users.add(op.get("user"))
        if client.connected() and client.will:
            self.taken_over.add(client.will)
        client.will = f"w{op['will']['n']}" if op.get("will") else None
        self.wills[client.will] = op["will"]["topic"] if op.get("will") else None
        if op.get("will") and dict(op["will"]["props"]).get("will_delay"):
            self.delayed_wills.add(client.will)
        came_as = "nobody" if op.get("empty_id") else "somebody new" if op.get("same_id") and client.assigned else ident
        if not client.expiry or came_as != client.came_as or op.get("empty_id"):
            self.end_session(client)
        client.came_as = came_as
        for side in self.sides:
            old = client.links.pop(side.name, None)
            if old is not None:
                client.old_links.setdefault(side.name, []).append(old)
            link = client.links[side.name] = Link(side.port, client.version)
            wanted = client.assigned.get(side.name, ident) if op.get("same_id") else ident
            link.send(connect_bytes(client.version, wanted, op))
        for _, link in self.each(client):
            while not link.drain() and not link.ended:
                link.await_bytes()
        for side in self.sides:
            self.begin_session(side, client, clean)
        client.auto = op.get("auto", True)
        properties = dict(op.get("props", ()))
        client.window, client.largest = properties.get("receive_maximum", 20), properties.get("maximum_packet_size", NEVER)
        client.expiry = dict(op.get("props", ())).get("session_expiry", 0) if client.version == 5 else 0 if clean else NEVER
        if clean:
            self.end_session(client)

    def begin_session(self, side, client, clean):
        client.inflight[side.name] = OrderedDict()
        if clean:
            client.names[side.name] = {}
        client.names.setdefault(side.name, {})
        link = client.links[side.name]
        for packet in link.received:
            if isinstance(packet, Connack) and "assigned_client_id" in packet.properties:
                client.assigned[side.name] = packet.properties["assigned_client_id"]

    def end_session(self, client):
        client.filters.clear()
        for op in client.held.values():
            self.lost.add(payload_of(op))
        client.held.clear()

    def do_subscribe(self, op):
        client = self.clients[op["c"]]
        texts = [text for text, _ in op["filters"]]
        client.resubscribed = client.resubscribed or len(set(texts)) < len(texts) or any(text in client.filters for text in texts)
        client.filters.update(texts)
        self.send(op, subscribe_bytes(client.version, op))

    def do_unsubscribe(self, op):
        client = self.clients[op["c"]]
        client.filters.difference_update(op["filters"])
        self.send(op, mqtt.Unsubscribe(op["pid"], op["filters"], op.get("props", ())).encode(client.version))

    def do_publish(self, op):
        client = self.clients[op["c"]]
        if op.get("hold") and op["qos"] == 2:
            client.held[op["pid"]] = op
        self.send(op, publish_bytes(client.version, op))

    def do_burst(self, op):
        client = self.clients[op["c"]]
        self.send(op, b"".join(publish_bytes(client.version, item) for item in op["items"]))
        return len(op["items"])

    def do_again(self, op):
        """The last held message once more."""
        client = self.clients[op["c"]]
        self.send(op, publish_bytes(client.version, next(reversed(client.held.values())), dup=True))

    def do_release(self, op):
        client = self.clients[op["c"]]
        pid = next(iter(client.held), None) if op.get("held") else op["pid"]
        if pid is not None:
            client.held.pop(pid, None)
            self.send(op, Pubrel(pid).encode(client.version))

    def do_ack(self, op):
        """Answers the nth delivery that is under way on both sides: as it should be, or not."""
        client = self.clients[op["c"]]
        theirs = {entry[0] for entry in client.inflight["theirs"].values()}
        names = list(OrderedDict.fromkeys(entry[0] for entry in client.inflight["ours"].values() if entry[0] in theirs))
        if not names:
            return 0
        name = names[op["nth"] % len(names)]
        sent = 0
        client.has_refused = client.has_refused or op["how"] == "refuse"
        for side, link in self.each(client):
            for pid, entry in list(client.inflight[side.name].items()):
                if entry[0] == name:
                    link.send(self.answer(client, side.name, pid, entry, op["how"]))
                    sent += 1
        return sent

    @staticmethod
    def answer(client, side, pid, entry, how):
        _, qos, state = entry
        right = Puback if qos == 1 else Pubrec if state == "sent" else Pubcomp
        kind = {"next": right, "puback": Puback, "pubrec": Pubrec, "pubcomp": Pubcomp, "refuse": Pubrec if qos == 2 else Puback}[how]
        reason = 0x80 if how == "refuse" and client.version == 5 else 0
        if kind is right and kind is Pubrec and not reason:
            entry[2] = "received"
        elif kind is right or (how == "refuse" and reason):
            client.inflight[side].pop(pid, None)
        return kind(pid, reason).encode(client.version)

    def do_stray(self, op):
        self.clients[op["c"]].has_strays = True
        self.send(op, ACKS[op["kind"]](op["pid"], op.get("reason", 0)).encode(self.clients[op["c"]].version))

    def do_ping(self, op):
        self.send(op, PINGREQ)

    def do_disconnect(self, op):
        client = self.clients[op["c"]]
        expiry = dict(op.get("props", ())).get("session_expiry")
        self.send(op, Disconnect(op.get("reason", 0), op.get("props", ())).encode(client.version))
        if client.version == 5 and expiry is not None and client.expiry:
            client.expiry = expiry
        if op.get("reason", 0) not in (0, 4) and client.version == 5 and client.will:
            self.unkind.add(client.will)

    def do_close(self, op):
        client = self.clients[op["c"]]
        both_idle(self.sides)
        for side, link in list(self.each(client)):
            self.note(side.name, client, link.drain())
            link.close(op.get("reset", False))
            del client.links[side.name]
        self.after_end(client)

    def do_raw(self, op):
        """Bytes that may be wrong. Where more would have to follow, nothing follows."""
        data, client = bytes.fromhex(op["bytes"]), self.clients[op["c"]]
        wrong = fault_of(self, op)
        self.expired = self.expired or b"\x02\0\0\0\0" in data
        self.half_done = self.half_done or (wrong is not None and data[0] >> 4 in (mqtt.Subscribe.TYPE, mqtt.Unsubscribe.TYPE))
        if data[0] >> 4 == Disconnect.TYPE:
            self.bad_end = self.bad_end or wrong is not None
            self.unkind.add(client.will)
        if data[0] >> 4 == mqtt.Connect.TYPE:
            self.faults.add("second CONNECT")
        client.resubscribed = client.resubscribed or data[0] >> 4 == mqtt.Subscribe.TYPE
        client.has_strays = client.has_strays or data[0] >> 4 in STRAYS
        self.send(op, data)
        if data[0] & 0xF6 == 0x34 and is_cut(data):  # a QoS 2 message, and then the end of the connection
            self.lost.add(payload_in(self.clients[op["c"]].version, data))
        if is_cut(data):
            both_idle(self.sides, 4)
            for _, link in self.each(self.clients[op["c"]]):
                link.half_close()
        return 6

    def do_rawconnect(self, op):
        """A CONNECT that may be wrong, as a client of its own that is not in the sequence otherwise."""
        client = self.clients[op["c"]]
        data = bytes.fromhex(op["bytes"])
        self.guests.append(identity_in(data))
        self.expired = self.expired or b"\x02\0\0\0\0" in data
        for side in self.sides:
            link = client.links[side.name] = Link(side.port, connect_version(data))
            link.send(data)
            if is_cut(data):
                link.half_close()
            client.inflight[side.name], client.names[side.name] = OrderedDict(), {}
        for _, link in self.each(client):
            while not link.drain() and not link.ended:
                link.await_bytes()
        client.expiry = 0

    # -- receiving

    def settle(self, packets):
        """Both brokers are idle, and clients that answer by themselves have answered everything."""
        while packets:
            both_idle(self.sides, packets)
            packets = 0
            for client in self.clients:
                for side, link in list(self.each(client)):
                    packets = max(packets, self.receive(side, client, link))
                for side in self.sides:
                    for link in client.old_links.get(side.name, []):
                        link.drain()
                        self.note(side.name, client, link.received)
                        link.received = []

    def receive(self, side, client, link):
        """Takes what has arrived; how many answers were sent."""
        link.drain()
        fresh, link.received = link.received, []
        self.note(side.name, client, fresh)
        answers = [answer for packet in fresh if (answer := self.reaction(side.name, client, packet))]
        if answers:
            link.send(b"".join(answers))
        return len(answers)

    def note(self, side, client, packets):
        self.seen.setdefault((side, client), []).extend(packets)

    def reaction(self, side, client, packet):
        """What a client that behaves answers; None: nothing, or a client that answers when the sequence says so."""
        names, inflight = client.names[side], client.inflight[side]
        answer = None
        if isinstance(packet, Publish) and packet.qos:
            names[packet.packet_id] = name_of(packet)
            inflight[packet.packet_id] = [name_of(packet), packet.qos, "sent"]
            answer = Puback if packet.qos == 1 else Pubrec
        elif isinstance(packet, Pubrel) and packet.packet_id in names:
            inflight[packet.packet_id] = [names[packet.packet_id], 2, "received"]
            answer = Pubcomp
        elif isinstance(packet, Pubrec) and packet.reason < 0x80 and packet.packet_id not in client.held:
            return Pubrel(packet.packet_id).encode(client.version)
        if answer is None or not client.auto:
            return None
        if answer is not Pubrec:
            del inflight[packet.packet_id]
        return answer(packet.packet_id).encode(client.version)

    def note_ends(self):
        """Connections that a broker ended."""
        for client in self.clients:
            for side, link in list(self.each(client)):
                if link.ended:
                    del client.links[side.name]
                    self.seen.setdefault((side.name, client), []).append(Ended)
                    if not client.links:
                        self.after_end(client)
            for side in self.sides:
                for link in client.old_links.pop(side.name, []):
                    if link.ended:
                        self.seen.setdefault((side.name, client), []).append(Ended)
                    else:
                        link.close()
        for client in self.clients:  # held messages of a connection that is gone come again only on another
            if client.held and not client.connected() and not client.expiry:
                self.end_session(client)

    def after_end(self, client):
        if not client.expiry:
            self.end_session(client)

    # -- comparing

    def canonical(self, step, client, side):
        """{key: [what was received since the last comparison]}."""
        out, packets = {}, self.seen.pop((side, client), [])
        publishes = [packet for packet in packets if isinstance(packet, Publish) and packet.payload.decode(errors="replace") not in self.lost]
        names = {packet.packet_id: name_of(packet) for packet in publishes if packet.qos}
        for packet in packets:
            if not isinstance(packet, (Publish, Pubrel)):
                out.setdefault((key_of(packet),), []).append(shown(packet))
        released = {(self.name_of_release(client.names.get(side, {}), names, packet), packet.reason) for packet in packets if isinstance(packet, Pubrel)}
        released = {entry for entry in released if str(entry[0]).partition("=")[2] not in self.lost}
        if released:
            out[("pubrel",)] = sorted(released, key=str)
        alone = any(op["op"] == "subscribe" for op in step.ops)  # retained messages come once for each filter
        for packet in publishes if alone else merged(publishes):
            payload = packet.payload.decode(errors="replace")
            key = ("publish", packet.topic, payload.split(".")[0], packet.qos)
            out.setdefault(key, []).append((payload, packet.retain, packet.dup, shown_properties(packet)))
        return out

    @staticmethod
    def name_of_release(known, new, packet):
        if packet.packet_id >= STRAY:
            return packet.packet_id
        return new.get(packet.packet_id, known.get(packet.packet_id, packet.packet_id))

    # -- the end

    def last_look(self):
        """What is retained is the same, and what clients that are away still get."""
        for client in self.clients:
            if client.held:
                self.end_session(client)
        over, unexplained = self.compare()
        if over:
            return unexplained
        looker = Client(5, self.clients[0].ident + "-last")
        self.clients.append(looker)
        index = len(self.clients) - 1
        for op in ({"op": "connect", "c": index, "props": []},
                   {"op": "subscribe", "c": index, "pid": 1, "filters": [["#", 0x0A], ["$x", 0x0A], ["$x/+", 0x0A]]}):
            over, unexplained = self.play(op)
            if over:
                return unexplained
        return []

    def clean_up(self):
        """Nothing of this sequence is left in the brokers: sessions, wills, retained messages."""
        for client in self.clients:
            for _, link in list(self.each(client)):
                link.close()
            for links in client.old_links.values():
                for link in links:
                    link.close()
        for side in self.sides:
            for client in self.clients:
                for ident in {client.ident, client.assigned.get(side.name, client.ident)}:
                    for user in client.users:
                        self.purge(side, ident, user)
            for guest in filter(None, self.guests):
                self.purge(side, *guest)
            self.clear_retained(side)

    @staticmethod
    def purge(side, ident, user):
        """The session ends; a will that waits for that is published."""
        link = Link(side.port, 4)
        link.send(mqtt.Connect(ident, user=user).encode(4))
        while not link.drain() and not link.ended:
            link.await_bytes()
        link.send(Disconnect().encode(4))
        link.close()

    @staticmethod
    def clear_retained(side):
        link = Link(side.port, 4)
        link.send(mqtt.Connect(f"clear-{random.getrandbits(40):x}").encode(4) + mqtt.Subscribe(1, ["#", "$x", "$x/+"]).encode(4))
        while not any(isinstance(packet, Suback) for packet in link.received):
            link.await_bytes()
            link.drain()
        both_idle([side])
        link.drain()
        topics = {packet.topic for packet in link.received if isinstance(packet, Publish) and packet.retain}
        link.send(b"".join(Publish(topic, retain=True).encode(4) for topic in topics) + Disconnect().encode(4))
        both_idle([side], len(topics) + 1)
        link.close()


class Ended:
    """Stands among packets for the end of the connection."""


def key_of(packet):
    return "ended" if packet is Ended else type(packet).__name__.lower()


def shown(packet):
    if packet is Ended:
        return True
    if isinstance(packet, Connack):
        return packet.present, packet.reason, "assigned_client_id" in packet.properties
    if isinstance(packet, (Suback, Unsuback)):
        return packet.packet_id, tuple(packet.reasons)
    if isinstance(packet, (Puback, Pubrec, Pubcomp)):
        return packet.packet_id, packet.reason
    return packet.reason if isinstance(packet, Disconnect) else str(packet)


def name_of(packet):
    return packet.topic + "=" + packet.payload.decode(errors="replace")


SERVERS_OWN = ("topic_alias", "subscription_id", "message_expiry")


def shown_properties(packet):
    shown = [(name, value) for name, value in packet.properties.items() if name not in SERVERS_OWN and name != "user_property"]
    if "message_expiry" in packet.properties:  # it counts down; what is sent are whole thousands
        shown.append(("message_expiry", (packet.properties["message_expiry"] + 500) // 1000 * 1000))
    users = tuple(("user_property", pair) for pair in packet.properties.get("user_property", ()))
    ids = tuple(("subscription_id", number) for number in sorted(packet.properties.get("subscription_id", ())))
    return tuple(sorted(shown, key=str)) + users + ids


def merged(publishes):
    """Copies of one message become one: the highest QoS, all identifiers."""
    kept = OrderedDict()
    for packet in publishes:
        key = (packet.topic, packet.payload, packet.dup, str([item for item in packet.properties.items() if item[0] not in SERVERS_OWN]))
        first = kept.setdefault(key, packet)
        if first is packet:
            continue
        properties = dict(first.properties)
        if "subscription_id" in packet.properties:
            properties["subscription_id"] = properties.get("subscription_id", []) + packet.properties["subscription_id"]
        kept[key] = first._replace(qos=max(first.qos, packet.qos), retain=first.retain or packet.retain, properties=properties)
    return kept.values()


# ---- cutting down --------------------------------------------------------------------------------------------------------


def shrink(duel, sequence, tries=400):
    """A smaller sequence that still has an unexplained difference: without the operations, and parts of them, that do not matter."""
    budget = [tries]

    def fails(candidate):
        budget[0] -= 1
        return bool(duel.run(candidate))

    ops = list(sequence["ops"])
    size = max(1, len(ops) // 2)
    while size >= 1 and budget[0] > 0:
        at = 0
        while at < len(ops) and budget[0] > 0:
            fewer = ops[:at] + ops[at + size:]
            if fails({**sequence, "ops": fewer}):
                ops = fewer
            else:
                at += size
        size //= 2
    for i in range(len(ops)):
        for smaller in simpler(ops[i]):
            if budget[0] <= 0:
                break
            candidate = ops[:i] + [smaller] + ops[i + 1:]
            if set(smaller) <= set(ops[i]) and fails({**sequence, "ops": candidate}):
                ops = candidate
    return {**sequence, "ops": ops}
