"""
kill -9 at random moments under mixed load: what a client was told is true afterwards. Publishers and subscribers with persistent sessions go on as
clients do whose server comes back: they connect again and repeat what was not acknowledged. At the end everything that was acknowledged has arrived,
QoS 2 from end to end exactly once, and subscriptions and retained messages are as they were last acknowledged.
"""
import random
import threading
import time

from tests.support import settings
from tests.support.broker_scenario import BrokerScenario
from tests.support.mqtt_raw import Client, Connack, Connect, MqttFailure, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Subscribe, Unsuback, Unsubscribe

ROUNDS = 100 if settings.LONG else 10 if settings.SCALE == 1 else 4
SEED = random.randrange(1 << 32)


class Peer(threading.Thread):
    """A client with a persistent session that is there again as soon as it can. What its thread meets that must not be is in `failure`."""

    def __init__(self, port, name, version):
        super().__init__(name=name, daemon=True)
        self.port, self.version = port, version
        self.client = None
        self.ending = threading.Event()
        self.failure = None
        self.had_session = False  # the broker has acknowledged something of it
        self.connects = 0

    def run(self):
        try:
            while not self.ending.is_set():
                if self.client is None and not self._connect():
                    self.ending.wait(0.02)
                    continue
                self._turn()
        except Exception as failure:  # shown by the test's thread
            self.failure = failure
        if self.client is not None:
            self.client.close()

    def _connect(self):
        properties = {"session_expiry": 3600} if self.version == 5 else {}
        try:
            client = Client(self.port, self.version, self.name)
        except OSError:
            return False
        try:
            client.send(Connect(self.name, clean=False, properties=properties))
            answer = self._answer(client)
            if answer is None:
                client.close()
                return False
            if not isinstance(answer, Connack) or answer.reason != 0:
                raise AssertionError(f"{self.name}: {answer} to CONNECT")
            if self.had_session and not answer.present:
                raise AssertionError(f"{self.name}: its session is gone")
        except AssertionError:
            client.close()
            raise
        self.client = client
        self.connects += 1
        self.connected(answer.present)
        return True

    def _answer(self, client):
        try:
            return client.receive()
        except MqttFailure:
            if client.ended is None:
                raise
            return None  # killed inside a packet

    def _turn(self):
        self.work()
        while self.client is not None and self.client.comes(0.002):
            packet = self._answer(self.client)
            if packet is None:
                self.client.close()
                self.client = None
            else:
                self.got(packet)

    def send(self, *packets):
        self.client.send(*packets)

    def connected(self, present):
        pass

    def work(self):
        pass


class Publisher(Peer):
    """Numbered messages; a few at a time may be unanswered. Every sixth is delayed, every seventh is retained."""

    WINDOW = 20

    def __init__(self, port, name, version, qos):
        super().__init__(port, name, version)
        self.qos = qos
        self.flying = {}   # packet identifier: (number, PUBLISH)
        self.released = {}  # QoS 2 between PUBREC and PUBCOMP: packet identifier
        self.sent, self.acknowledged = 0, set()
        self.retained_sent, self.retained_acknowledged = {}, {}
        self.paused = False
        self.last_id = 0
        self.next_at = 0.0

    def _topic(self, number):
        if number % 7 == 3:
            return f"r/{self.name}/{number % 5}", True
        if number % 6 == 1:
            return f"$delayed/{1 + number % 3}/k/{self.name}", False
        return f"k/{self.name}", False

    def connected(self, present):
        for packet_id in self.released:
            self.send(Pubrel(packet_id))
        for packet_id, (_, packet) in sorted(self.flying.items(), key=lambda entry: entry[1][0]):
            self.send(packet._replace(dup=True))

    def work(self):
        if self.paused or len(self.flying) + len(self.released) >= self.WINDOW or time.monotonic() < self.next_at:
            return
        self.next_at = time.monotonic() + 0.006
        while self.last_id == 0 or self.last_id in self.flying or self.last_id in self.released:
            self.last_id = self.last_id % 60000 + 1
        topic, retain = self._topic(self.sent)
        packet = Publish(topic, b"%d" % self.sent, self.qos, self.last_id, retain=retain)
        self.flying[self.last_id] = (self.sent, packet)
        if retain:
            self.retained_sent[topic] = self.sent
        self.sent += 1
        self.send(packet)

    def _taken(self, packet_id):
        number, packet = self.flying.pop(packet_id)
        self.acknowledged.add(number)
        self.had_session = self.had_session or self.qos == 2
        if packet.retain:
            self.retained_acknowledged[packet.topic] = max(number, self.retained_acknowledged.get(packet.topic, -1))

    def got(self, packet):
        if packet.packet_id not in self.flying and not isinstance(packet, Pubcomp) and packet.packet_id not in self.released:
            raise AssertionError(f"{self.name}: {packet} for nothing")
        if isinstance(packet, (Puback, Pubrec)) and packet.reason >= 0x80:
            raise AssertionError(f"{self.name}: {packet}")
        if isinstance(packet, Puback):
            self._taken(packet.packet_id)
        elif isinstance(packet, Pubrec):
            if packet.packet_id in self.flying:
                self._taken(packet.packet_id)
            self.released[packet.packet_id] = True
            self.send(Pubrel(packet.packet_id))
        elif isinstance(packet, Pubcomp):
            self.released.pop(packet.packet_id, None)
        else:
            raise AssertionError(f"{self.name}: {packet}")

    def idle(self):
        return not self.flying and not self.released


class Subscriber(Peer):
    """Counts what it gets; QoS 2 as the specification wants of a receiver: by packet identifier, from PUBLISH to PUBREL."""

    def __init__(self, port, name, version, filters, qos, away=False):
        super().__init__(port, name, version)
        self.filters, self.qos, self.away = filters, qos, away
        self.counts = {}
        self.open_ids = set()
        self.subscribed = threading.Event()

    def connected(self, present):
        if not self.subscribed.is_set():
            self.send(Subscribe(1, self.filters, self.qos))

    def work(self):
        if self.away and self.subscribed.is_set():  # is there for a moment now and then
            self.client.close()
            self.client = None
            self.ending.wait(random.uniform(0.5, 3))

    def got(self, packet):
        if isinstance(packet, Suback):
            self.subscribed.set()
            self.had_session = True
        elif isinstance(packet, Pubrel):
            self.open_ids.discard(packet.packet_id)
            self.send(Pubcomp(packet.packet_id))
        elif isinstance(packet, Publish):
            key = (packet.topic.split("/")[1], int(packet.payload))
            if packet.qos < 2 or packet.packet_id not in self.open_ids:
                self.counts[key] = self.counts.get(key, 0) + 1
            if packet.qos == 2:
                self.open_ids.add(packet.packet_id)
            if packet.qos:
                self.send(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id))
        else:
            raise AssertionError(f"{self.name}: {packet}")


class Toggler(Peer):
    """Subscribes and unsubscribes, one filter at a time; `known` has what was acknowledged, `doubtful` the filter that was being changed."""

    FILTERS = 10

    def __init__(self, port):
        super().__init__(port, "toggler", 5)
        self.known, self.doubtful, self.wants, self.paused = set(), None, False, False
        self.arrived, self.asked = set(), False

    def connected(self, present):
        if self.doubtful is not None:
            self._ask()

    def _ask(self):
        kind = Subscribe if self.wants else Unsubscribe
        self.send(Subscribe(9, f"f/{self.doubtful}", 1) if kind is Subscribe else Unsubscribe(9, f"f/{self.doubtful}"))

    def work(self):
        if self.doubtful is None and not self.paused:
            self.doubtful = random.randrange(self.FILTERS)
            self.wants = self.doubtful not in self.known
            self._ask()

    def got(self, packet):
        if isinstance(packet, Publish):
            self.arrived.add(int(packet.payload))
            self.send(Puback(packet.packet_id))
        elif isinstance(packet, (Suback, Unsuback)):
            if self.wants:
                self.known.add(self.doubtful)
            else:
                self.known.discard(self.doubtful)
            self.had_session = True
            self.doubtful = None
        else:
            raise AssertionError(f"toggler: {packet}")


class Kills(BrokerScenario):
    def start_peers(self):
        self.publishers = [Publisher(self.port, "one5", 5, 1), Publisher(self.port, "one4", 4, 1), Publisher(self.port, "two5", 5, 2),
                           Publisher(self.port, "two4", 4, 2)]
        self.subscribers = [Subscriber(self.port, "there5", 5, ["k/#", "r/#"], 2), Subscriber(self.port, "there4", 4, ["k/#", "r/#"], 2),
                            Subscriber(self.port, "away5", 5, ["k/#", "r/#"], 2, away=True), Subscriber(self.port, "low4", 4, ["k/#", "r/#"], 1)]
        self.toggler = Toggler(self.port)
        self.peers = [*self.subscribers, self.toggler, *self.publishers]
        for subscriber in self.subscribers:
            subscriber.start()
        for subscriber in self.subscribers:
            self.assertTrue(subscriber.subscribed.wait(20), subscriber.name)
        for peer in [self.toggler, *self.publishers]:
            peer.start()
        self.addCleanup(self.end_peers)

    def end_peers(self):
        for peer in self.peers:
            peer.ending.set()
        for peer in self.peers:
            peer.join(20)

    def wait_for(self, ready, what, seconds=60):
        deadline = time.monotonic() + seconds * settings.PATIENCE
        while not ready():
            self.assert_no_failure()
            if time.monotonic() > deadline:
                self.fail(f"seed {SEED}: not in time: {what}")
            time.sleep(0.02)

    def assert_no_failure(self):
        for peer in self.peers:
            if peer.failure is not None:
                raise AssertionError(f"seed {SEED}: {peer.failure}") from peer.failure

    def missing(self, subscriber):
        return [(publisher.name, number) for publisher in self.publishers for number in publisher.acknowledged
                if (publisher.name, number) not in subscriber.counts]

    def assert_everything_arrived(self):
        for publisher in self.publishers:
            publisher.paused = True
        self.toggler.paused = True
        for subscriber in self.subscribers:
            subscriber.away = False
        self.wait_for(lambda: all(publisher.idle() for publisher in self.publishers), "publishers get their answers")
        for subscriber in self.subscribers:
            self.wait_for_all_at(subscriber)

    def wait_for_all_at(self, subscriber):
        """As long as something comes; one that was away has much to fetch."""
        least, deadline = None, 0.0
        while lost := self.missing(subscriber):
            self.assert_no_failure()
            if least is None or len(lost) < least:
                least, deadline = len(lost), time.monotonic() + 10 * settings.PATIENCE
            if time.monotonic() > deadline:
                self.fail(f"seed {SEED}: {len(lost)} acknowledged messages have not come to {subscriber.name}: {lost[:10]}")
            time.sleep(0.1)

    def assert_exactly_once(self):
        exact = [publisher.name for publisher in self.publishers if publisher.qos == 2]
        for subscriber in self.subscribers:
            if subscriber.qos < 2:
                continue
            doubled = {key: count for key, count in subscriber.counts.items() if count > 1 and key[0] in exact}
            self.assertEqual(doubled, {}, f"seed {SEED}: QoS 2 twice at {subscriber.name}")

    def assert_retained(self):
        reader = self.client("reader")
        for publisher in self.publishers:
            for topic, least in publisher.retained_acknowledged.items():
                reader.subscribe(topic, 0)
                found = int(reader.take(topic, retain=True).payload)
                self.assertTrue(least <= found <= publisher.retained_sent[topic],
                                f"seed {SEED}: {topic} is {found}, {least} was acknowledged last and {publisher.retained_sent[topic]} sent")

    def assert_subscriptions(self):
        self.wait_for(lambda: self.toggler.doubtful is None, "the last change of a subscription")
        sender = self.client("sender")
        for n in range(Toggler.FILTERS):
            sender.publish(f"f/{n}", b"%d" % n, 1)
        self.wait_for(lambda: self.toggler.arrived >= self.toggler.known, "messages for all that is subscribed")
        sender.publish(f"f/{min(self.toggler.known, default=0)}", b"99", 1)
        if self.toggler.known:  # in order: what stands before it has come
            self.wait_for(lambda: 99 in self.toggler.arrived, "the last message")
        self.assertEqual(self.toggler.arrived - {99}, self.toggler.known, f"seed {SEED}: subscriptions")

    def test_kills_at_random_moments(self):
        """Nothing acknowledged is lost, QoS 2 is never doubled, subscriptions and retained messages are as last acknowledged."""
        random.seed(SEED)
        agent = self.broker(persistence=True, max_queued_messages=0, max_queued_bytes=0, max_delayed_messages=0)
        self.start_peers()
        for _ in range(ROUNDS):
            time.sleep(random.choice([random.uniform(0, 0.2), random.uniform(0.2, 2.2)]))  # the moment is the test
            agent.kill9()
            self.assert_no_failure()
            agent.start()
        self.assert_everything_arrived()
        self.wait_for(lambda: all(peer.client is not None for peer in self.subscribers), "all are there")
        agent.wait_for(lambda: agent.figure("broker_delayed_messages") == 0, "no message is delayed any more")
        self.assert_exactly_once()
        self.assert_retained()
        self.assert_subscriptions()
        self.assert_no_failure()
        self.end_peers()
        print(f"# {ROUNDS} kills, seed {SEED}: {sum(len(p.acknowledged) for p in self.publishers)} messages acknowledged, "
              f"{sum(sum(s.counts.values()) for s in self.subscribers)} delivered", flush=True)
