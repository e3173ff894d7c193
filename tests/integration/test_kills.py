"""
kill -9 at random moments under load, with real servers: of the agent, of the database, of the broker. Numbered messages arrive at QoS 1
and QoS 2, and every number that is owed is in the database in the end. HELIOGRAF_SEED=N repeats the moments of an earlier run.

What is owed, and by whom:
- Agent or database killed: the broker lives, so every message that it acknowledged to a publisher.
- Broker killed: Mosquitto acknowledges a message before it saves its database, and a kill costs it what it had not saved. So owed are
  (1) what Heliograf acknowledged to the broker, as a tap on the wire between the two has seen it: this is Heliograf's own promise, and
  (2) what the publishers can prove that the broker had: messages that a broker process acknowledged before the same process finished a save.
  Mosquitto has one thread, so that save holds the message, unless we have it by then. It saves after every 500 messages (autosave_on_changes).
  A message in neither set was the broker's to lose; how many those are, and how many of them are missing, is printed.
"""
import os
import random
import signal
import threading
import time

from tests.support import settings
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import Scenario, agent_config, consumer, requires_scale
from tests.support.tap import MqttTap

KILLS = 200 if settings.LONG else 8
RATES = {1: 4000, 2: 2000}  # messages/s published at QoS 1 and 2
LEAST_RATE = 5000 if settings.LONG else 500  # in the short form other tests have most of the machine
PROGRESS_EVERY = 20


class Saves(threading.Thread):
    """
    Watches the file of the broker's database. `proven[qos]` maps each connection of a publisher to the messages [first, end) that
    were acknowledged on it before a save by the same broker process. broker_dies() before each kill, broker_lives() after each start.
    """

    def __init__(self, path, publishers):
        super().__init__(daemon=True)
        self.path, self.publishers = path, publishers
        self.proven = {qos: {} for qos in publishers}
        self.count = 0
        self.life = 0
        self.last_of_old = dict.fromkeys(publishers, 0)  # connections up to this number are of earlier broker processes
        self._ending = threading.Event()

    def broker_dies(self):
        self.life += 1

    def broker_lives(self):
        self.last_of_old = {qos: publisher.connects for qos, publisher in self.publishers.items()}
        self.life += 1

    def _state(self):
        try:
            found = os.stat(self.path)
            return found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            return None

    def run(self):
        while not self._ending.is_set():
            life, seen = self.life, {}
            for qos, publisher in self.publishers.items():
                connection = publisher.connects
                if connection > self.last_of_old[qos]:
                    seen[qos] = connection, (publisher.first_of_connection, publisher.acknowledged)
            before = self._state()
            while self._state() == before and self.life == life and not self._ending.wait(0.001):
                pass
            if self._state() != before and self.life == life and life % 2 == 0:
                self.count += 1
                for qos, (connection, numbers) in seen.items():
                    if connection == self.publishers[qos].connects:
                        self.proven[qos][connection] = numbers

    def stop(self):
        """{qos: the set of numbers that the broker had}"""
        self._ending.set()
        self.join()
        return {qos: {number for first, end in ranges.values() for number in range(first, end)} for qos, ranges in self.proven.items()}


@requires_scale
class Kills(Scenario):
    def setUp(self):
        super().setUp()
        self.chance = random.Random(settings.SEED)
        self.broker = self.mosquitto(options=["max_inflight_messages 1000", "set_tcp_nodelay true", "autosave_on_changes true", "autosave_interval 500"],
                                     persistence=self.id().endswith("broker"))
        self.influx = self.influxdb()
        self.publishers = {qos: SteadyPublisher(self.broker.port, lambda n, qos=qos: (f"q{qos}/{n % 50}", str(n)), rate, qos, window=200)
                           for qos, rate in RATES.items()}
        self.say(f"HELIOGRAF_SEED={settings.SEED}")

    def say(self, text):
        print(f"# {self.id().rsplit('_', 1)[1]}: {text}", flush=True)

    def start_agent(self, broker=None):
        return self.heliograf(agent_config(
            consumer(broker or self.broker, ["q1/#", "q2/#", "fence/#"], data_format="value", data_type="integer", client_id="kills", topic_tag="",
                     topic_parsing=[{"topic": "+/+", "measurement": "measurement/_", "tags": "_/device"}]),
            {"influxdb": [{"urls": [self.influx.url], "database": "d"}]},
            agent={"omit_hostname": True, "flush_interval": "100ms", "shutdown_timeout": "1s",
                   "dead_letters": {"directory": str(self.directory / "dead-letters")},
                   "spool": {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "1GiB"}}))

    def published(self):
        return sum(publisher.acknowledged for publisher in self.publishers.values())

    def kill_at_random(self, kill):
        """Calls kill() so many times, at random moments; `self.rate` becomes the messages/s published meanwhile."""
        began, first = time.monotonic(), self.published()
        for done in range(1, KILLS + 1):
            time.sleep(self.chance.uniform(0, 0.6))
            kill()
            if done % PROGRESS_EVERY == 0 and done < KILLS:
                self.say(f"{done} kills, {self.published()} messages")
        self.rate = (self.published() - first) / (time.monotonic() - began)

    def run_to_the_end(self, agent):
        """Nothing more is published, and what was published before has gone through: the broker keeps the order."""
        for publisher in self.publishers.values():
            publisher.stop()
        publish(self.broker.port, [("fence/1", "1")])
        agent.wait_for(lambda: self.influx.count("d", "fence") > 0, "the last message in the database", 120)
        agent.wait_settled(timeout=60)

    def stored(self, qos):
        """The numbers that are in the database, as a set; says how many points are there twice."""
        points = self.influx.numbers("d", f"q{qos}")
        numbers = set(points)
        return numbers, len(points) - len(numbers)

    def report(self, qos, owed, stored, duplicates):
        """Prints, and checks that all owed numbers are there."""
        published = self.publishers[qos].acknowledged
        self.say(f"QoS {qos}: {KILLS} kills, {published} published, {len(owed)} owed, {len(owed - stored)} missing, {duplicates} duplicates; "
                 f"of the {published - len(owed)} not owed {published - len(owed | stored)} missing")
        self.assert_numbers(stored & owed, owed)

    def check(self):
        """All that was published is there, at the rate that was wanted; returns the number of duplicates."""
        total = 0
        for qos, publisher in self.publishers.items():
            stored, duplicates = self.stored(qos)
            self.report(qos, set(range(publisher.acknowledged)), stored, duplicates)
            total += duplicates
        self.check_rate()
        return total

    def check_rate(self):
        self.say(f"{self.rate:.0f} messages/s published, from the first kill to the last")
        self.assertGreater(self.rate, LEAST_RATE)

    def test_nothing_is_missing_after_kills_of_the_agent(self):
        agent = self.start_agent()
        for publisher in self.publishers.values():
            publisher.start()

        def kill():
            stalled = self.chance.random() < 0.25  # so that the spool holds what is killed
            if stalled:
                self.influx.child.send_signal(signal.SIGSTOP)
                time.sleep(self.chance.uniform(0, 0.3))
            agent.kill9()
            if stalled:
                self.influx.child.send_signal(signal.SIGCONT)
            agent.start(ready=None)

        self.kill_at_random(kill)
        self.run_to_the_end(agent)
        self.assertLessEqual(self.check(), KILLS * 1000)  # what is in flight at most, each time

    def test_nothing_is_missing_after_kills_of_the_database(self):
        agent = self.start_agent()
        for publisher in self.publishers.values():
            publisher.start()

        def kill():
            self.influx.kill()
            time.sleep(self.chance.uniform(0, 0.3))
            self.influx.start()

        self.kill_at_random(kill)
        self.run_to_the_end(agent)
        self.assertEqual(self.check(), 0)  # what is sent again is the same bytes, and so the same points

    def test_nothing_is_missing_after_kills_of_the_broker(self):
        tap = MqttTap(self.broker.port, lambda topic, payload: int(payload) * 4 + int(topic[1:2]) if topic[:1] == b"q" else None)
        tap.start()
        self.addCleanup(tap.stop)
        agent = self.start_agent(tap)
        saves = Saves(self.broker.directory / "mosquitto.db", self.publishers)
        saves.start()
        for publisher in self.publishers.values():
            publisher.start()

        def kill():
            saves.broker_dies()
            self.broker.kill()
            self.broker.start()
            saves.broker_lives()
            goal = self.published()
            if self.chance.random() < 0.8:  # the others hit while everybody connects again
                agent.wait_for(lambda: len(tap.acknowledged) >= goal, "what waited in the broker")

        self.kill_at_random(kill)
        self.run_to_the_end(agent)
        proven = saves.stop()
        tap.stop()
        self.say(f"{saves.count} saves, {tap.delivered} deliveries, {len(tap.acknowledged)} messages acknowledged by Heliograf, "
                 f"{sum(map(len, proven.values()))} proven to have been saved, {sum(p.repeated for p in self.publishers.values())} published twice at most")
        for qos in self.publishers:
            acknowledged = {value >> 2 for value in tap.acknowledged if value & 3 == qos}
            self.report(qos, proven[qos] | acknowledged, *self.stored(qos))
        self.check_rate()
