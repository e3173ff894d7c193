"""
Many devices at once, cheap enough for a thousand in one thread: each a connection that publishes messages of its own, answers what its QoS asks for,
and comes back with what was not acknowledged, however its connection ends. What was sent, what was acknowledged and how often each was
connected is known afterwards, to be compared with what came out at the other end.

    with Fleet(port, devices=100, rate=1000) as fleet:
        fleet.wait_connected()
        ...                 # servers may die and return meanwhile
        fleet.drain()       # no new messages; all of QoS 1 and 2 are acknowledged
"""
import asyncio
import random
import threading
import time

from tests.support import waiting
from tests.support.mqtt_raw import Connect, Disconnect, Publish, Pubrel, decode, size_of_first

WINDOW = 8          # messages of a device that are not acknowledged
RECONNECT_S = 0.05  # between tries
IDS_PER_DEVICE = 1_000_000


class Device(asyncio.Protocol):
    """
    Message `seq` of device `number` has the payload number * IDS_PER_DEVICE + seq. One in four keeps no session and publishes at QoS 0 alone;
    the others keep theirs and change the QoS from message to message.
    """

    def __init__(self, fleet, number):
        self.fleet, self.number = fleet, number
        self.name, self.topic = f"device-{number}", f"t/{number % 50}/{number}"
        self.version = 5 if number % 2 else 4
        self.keeps_session = number % 4 != 0
        self.chance = random.Random(number)
        self.transport = None
        self.up = self.leaving = self.staying_away = False
        self.seq = self.packet_id = 0
        self.open = {}              # packet identifier: [id, Publish, released]
        self.unconfirmed = []       # QoS 0 on this connection, behind which nothing was acknowledged yet
        self.sent, self.acknowledged = set(), set()
        self.connects = 0
        self.ends = {"normal": 0, "cut": 0, "lost": 0}  # whose doing it was: DISCONNECT, our own close, the server's end

    # ---- coming and going ----

    async def connect(self):
        while not self.fleet.ending:
            try:
                await self.fleet.loop.create_connection(lambda: self, "127.0.0.1", self.fleet.port)
                return
            except OSError:
                await asyncio.sleep(RECONNECT_S)

    def connection_made(self, transport):
        self.transport, self.read, self.leaving, self.since = transport, bytearray(), None, time.monotonic()
        properties = {"session_expiry": 3600} if self.keeps_session and self.version == 5 else {}
        self._send(Connect(self.name, clean=not self.keeps_session, keepalive=600, properties=properties))

    def connection_lost(self, error):
        if self.up:
            self.ends[self.leaving or "lost"] += 1
            self.fleet.connected -= 1
        elif not self.leaving:
            self.fleet.unanswered.append(f"{self.name}: {error} {time.monotonic() - self.since:.3f} s after it was accepted, {self.since - self.fleet.since:.3f} s after the start")
        self.up, self.transport = False, None
        self.unconfirmed.clear()
        if not self.staying_away:
            self.fleet.loop.call_later(RECONNECT_S * (1 + self.chance.random()), self.fleet.spawn, self.connect())

    def leave(self, politely):
        """The end of the stream is the server's, or its answers would turn our last words into a reset."""
        self.leaving = "normal" if politely else "cut"
        if politely:
            self._send(Disconnect())
        else:
            self.transport.abort()

    # ---- publishing ----

    def publish(self):
        qos = (self.seq + self.number) % 3 if self.keeps_session else 0
        message = self.number * IDS_PER_DEVICE + self.seq
        self.seq += 1
        self.sent.add(message)
        if qos == 0:
            self.unconfirmed.append(message)
            self._send(Publish(self.topic, b"%d" % message))
            return
        self.packet_id = self.packet_id % 65535 + 1
        while self.packet_id in self.open:
            self.packet_id = self.packet_id % 65535 + 1
        packet = Publish(self.topic, b"%d" % message, qos, self.packet_id)
        self.open[self.packet_id] = [message, packet, False]
        self._send(packet)

    def tick(self):
        """Now and then it goes instead of publishing."""
        if not self.up or self.leaving:
            return
        if self.fleet.churning and self.chance.random() < self.fleet.churn:
            self.leave(politely=self.chance.random() < 0.5)
        elif len(self.open) < WINDOW:
            self.publish()

    def _resend(self):
        """In the order in which they were first sent ([MQTT-4.6.0-1])."""
        for packet_id, (_, packet, released) in self.open.items():
            self._send(Pubrel(packet_id) if released else packet._replace(dup=True))

    # ---- answers ----

    def data_received(self, data):
        self.read += data
        while self.read:
            size = size_of_first(self.read)
            if size is None or size > len(self.read):
                return
            packet = bytes(self.read[:size])
            del self.read[:size]
            self._take(packet)

    def _take(self, data):
        kind = data[0] >> 4
        if kind == 2:
            self._accepted(decode(data, self.version))
            return
        packet_id = data[2] << 8 | data[3] if len(data) >= 4 else 0
        reason = data[4] if len(data) >= 5 else 0
        found = self.open.get(packet_id)
        # After a lost PUBCOMP the server has forgotten the identifier; all else must be known, and right.
        if kind == 7 and found is not None and reason in (0, 0x92):
            del self.open[packet_id]
        elif kind in (4, 5) and found is not None and reason < 0x80:
            self._acknowledged(found)
            if kind == 4:
                del self.open[packet_id]
            else:
                found[2] = True
                self._send(Pubrel(packet_id))
        elif kind != 14:  # DISCONNECT: the end of the stream is next
            self.fleet.troubles.append(f"{self.name}: {data.hex(' ')}, open: {found}")

    def _acknowledged(self, found):
        """What went before it over the same connection, QoS 0 too, is as safe as it is."""
        self.acknowledged.add(found[0])
        self.acknowledged.update(self.unconfirmed)
        self.unconfirmed.clear()

    def _accepted(self, connack):
        if connack.reason != 0 or connack.present != (self.keeps_session and self.connects > 0):
            self.fleet.troubles.append(f"{self.name}: {connack} on connect {self.connects}")
        self.connects += 1
        self.up = True
        self.fleet.connected += 1
        self._resend()

    def _send(self, packet):
        self.transport.write(packet.encode(self.version))


class Fleet(threading.Thread):
    """`rate`: messages a second of all devices together. `churn`: how many of a device's turns it spends on going away instead."""

    def __init__(self, port, devices, rate, churn=0.01):
        super().__init__(daemon=True)
        self.port, self.rate, self.churn = port, rate, churn
        self.loop = asyncio.new_event_loop()
        self.devices = [Device(self, number) for number in range(devices)]
        self.connected = 0
        self.unanswered = []  # connections that ended before their CONNACK
        self.since = time.monotonic()
        self.publishing = self.churning = True
        self.ending = False
        self.troubles = []
        self._tasks = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- its own thread ----

    def spawn(self, coroutine):
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self):
        for device in self.devices:
            self.loop.call_soon(self.spawn, device.connect())
        self.loop.call_soon(self._turns, 0)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for device in self.devices:
            if device.transport is not None:
                device.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def _turns(self, first):
        """Fifty times a second it is the turn of some."""
        each = self.rate / 50
        count = int(first + each) - int(first)
        for n in range(count if self.publishing else 0):
            self.devices[(int(first) + n) % len(self.devices)].tick()
        self.loop.call_later(0.02, self._turns, first + each)

    # ---- the test's thread ----

    def stop(self):
        if not self.ending:
            self.ending = True
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.join()

    def wait_connected(self, timeout=60.0):
        """All of them, with CONNACK, and none is about to go."""
        waiting.until(lambda: self.connected == len(self.devices) and not any(device.leaving for device in self.devices), "all devices connected", timeout)

    def hold(self):
        """From now on they stay connected; returns when all are."""
        self.churning = False
        self.wait_connected()

    def go_on(self):
        self.churning = True

    def drain(self, timeout=60.0):
        """No new messages, nobody goes; returns when all that can be acknowledged is."""
        self.publishing = self.churning = False
        self.wait_connected(timeout)
        waiting.until(lambda: not any(device.open for device in self.devices), "all messages acknowledged", timeout)

    def leave(self, devices):
        """These say goodbye for good; returns when the server has closed."""
        def now():
            for device in devices:
                device.staying_away = True
                device.leave(politely=True)
        self.loop.call_soon_threadsafe(now)
        waiting.until(lambda: all(device.transport is None for device in devices), "the server's end of the connections")

    def sent(self):
        return set().union(*(device.sent for device in self.devices))

    def acknowledged(self):
        return set().union(*(device.acknowledged for device in self.devices))

    def ends(self, whose):
        return sum(device.ends[whose] for device in self.devices)
