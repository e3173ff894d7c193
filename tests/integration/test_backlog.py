"""
The database is away while a flood of numbered points arrives over MQTT at QoS 1: 10 million with HELIOGRAF_LONG=1, else 200,000. Nine of
ten points come in messages of 100 (line protocol), one of ten in messages of its own; QoS 1, sync: commit, real servers.

What counts as memory is VmRSS of /proc/PID/status, all of it: anonymous memory and mapped files. It is sampled 50 times a second from the
moment when 80,000 points have arrived, or a tenth of the flood, so that every buffer has reached its size, until the last point has; RssAnon is
printed beside it.
"""
import re
import threading
import time

from tests.support import settings
from tests.support.publisher import Publisher, SteadyPublisher, publish
from tests.support.scenario import Scenario, agent_config, consumer, requires_scale
from tests.support.tap import WriteTap

POINTS = 10_000_000 if settings.LONG else 200_000
WARM_UP = max(POINTS // 10, 80_000)
SERIES = 100       # points per message, each of its own series
PER_MESSAGE = SERIES if settings.LONG else 1  # where all messages are of one kind
BASE = 100_000_000  # so that all numbers have equally many digits, and all records the same size
FLAT = 4 << 20
LIVE_RATE = 200
THINNABLE = 200_000 if settings.LONG else 40_000  # points/s
LATE_S = 1.0 * settings.PATIENCE  # for a live point, from publishing to the database
MiB = 1 << 20
MAX_BYTES = (64 if settings.LONG else 4) * MiB  # for a flood that takes ten times as much


def line(number):
    return f"flood,s={number % SERIES:02} n={BASE + number}i"


def many(first, last):
    """The points of [first, last), 100 to a message."""
    for start in range(first, last, SERIES):
        yield f"flood/{start // SERIES % 10}", "\n".join(map(line, range(start, min(start + SERIES, last))))


def single(first, last):
    for number in range(first, last):
        yield f"flood/{number % 10}", line(number)


def mixed(first, last):
    """In turns: 900 points in 9 messages, 100 points in 100."""
    for start in range(first, last, 1000):
        yield from many(start, min(start + 900, last))
        yield from single(min(start + 900, last), min(start + 1000, last))


def paced(messages, rate):
    """The same, at so many a second at most."""
    began = time.monotonic()
    for count, message in enumerate(messages):
        if count % 500 == 0:
            time.sleep(max(0.0, began + count / rate - time.monotonic()))
        yield message


class Memory(threading.Thread):
    """Samples a process's memory until it is stopped."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path = f"/proc/{pid}/status"
        self.samples = []  # (VmRSS, RssAnon), bytes
        self._ending = threading.Event()

    def run(self):
        while not self._ending.wait(0.02):
            with open(self.path) as status:
                text = status.read()
            self.samples.append([int(re.search(name + r":\s+(\d+)", text)[1]) * 1024 for name in ("VmRSS", "RssAnon")])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join()

    def spread(self):
        """(largest - smallest VmRSS, words)"""
        resident, anonymous = zip(*self.samples)
        words = ", ".join(f"{name} {min(values) / MiB:.1f} to {max(values) / MiB:.1f} MiB"
                          for name, values in (("VmRSS", resident), ("RssAnon", anonymous)))
        return max(resident) - min(resident), f"{len(self.samples)} samples: {words}"


class Arrivals:
    """What the database has accepted, and when."""

    def __init__(self):
        self.flood = 0         # points
        self.writes = []       # (time, flood so far)
        self.live = {}         # number -> time

    def note(self, now, body):
        if b"live" in body:
            for number in re.findall(rb"^live\S* value=(\d+)i", body, re.M):
                self.live.setdefault(int(number), now)
        self.flood += body.count(b"flood,")
        self.writes.append((now, self.flood))


@requires_scale
class Backlog(Scenario):
    def start(self, batch=5000, **spool):
        self.broker = self.mosquitto(options=["set_tcp_nodelay true"])
        self.influx = self.influxdb()
        self.arrivals = Arrivals()
        self.tap = WriteTap(self.influx.port, self.arrivals.note)
        self.addCleanup(self.tap.stop)
        self.tap.start()
        self.agent = self.heliograf(agent_config(
            consumer(self.broker, ["flood/#", "live/#"], data_format="value", data_type="integer", name_override="live", topic_tag="",
                     client_id="backlog", routes=[{"topics": ["flood/#"], "data_format": "influx", "name_override": ""}]),
            {"influxdb": [{"urls": [self.tap.url], "database": "d"}]},
            agent={"omit_hostname": True, "flush_interval": "100ms", "metric_batch_size": batch,
                   "dead_letters": {"directory": str(self.directory / "dead-letters")},
                   "spool": {"sync": "commit", "directory": str(self.directory / "spool"), **spool}}))
        publish(self.broker.port, [("live/0", "0")])  # so that the database exists, and every connection
        self.agent.wait_settled(1)

    def say(self, text):
        print(f"# {self.id().rsplit('.test_', 1)[1]}: {text}", flush=True)

    def database_dies(self):
        self.tap.stop()
        self.influx.kill()

    def database_returns(self):
        self.influx.start()
        self.tap.start()

    def flood(self, messages):
        """Publishes them all; returns how many messages, when the agent has taken them."""
        before = self.agent.received()
        with Publisher(self.broker.port) as publisher:
            count = publisher.publish(messages)
        self.agent.wait_for(lambda: self.agent.received() >= before + count, f"all of {count} messages", 300)
        return count

    def stored(self):
        """The numbers in the database; none is there twice."""
        points = self.influx.numbers("d", "flood", "n")
        numbers = {number - BASE for number in points}
        self.assertEqual(len(points), len(numbers))
        return numbers

    def publish_live(self):
        """A steady trickle of marked points: the publisher, and when each number was published."""
        published = {}

        def make(number):
            published[number] = time.monotonic()
            return f"live/{number % 10}", str(number)

        return SteadyPublisher(self.broker.port, make, LIVE_RATE, batch=4), published

    def drain(self):
        """The database comes back while live points arrive. Returns [(seconds late, share of the flood that was stored by then)]."""
        steady, published = self.publish_live()
        with steady:
            self.agent.wait_for(lambda: steady.acknowledged > LIVE_RATE / 4, "live messages")
            self.database_returns()
            self.agent.wait_for(lambda: self.arrivals.flood >= POINTS, "the backlog in the database", 600)
        self.agent.wait_settled(timeout=60)
        began, ended = self.arrivals.writes[1][0], next(at for at, flood in self.arrivals.writes if flood >= POINTS)
        self.say(f"backlog stored in {ended - began:.1f} s, {POINTS / (ended - began):.0f} points/s, {len(self.arrivals.writes)} writes")
        self.assertGreater(ended - began, 2 * LATE_S, "too fast to tell what came first")
        during = {number: at for number, at in published.items() if at < ended and number < steady.acknowledged}
        self.assertGreater(len(during), LIVE_RATE)
        self.assertEqual(set(during) - set(self.arrivals.live), set())
        return [(self.arrivals.live[number] - max(at, began), at > began) for number, at in during.items()]

    def test_memory_is_flat_all_is_delivered_and_live_points_come_first(self):
        self.start(max_bytes="4GiB", order="live_first", batch=5000 if settings.LONG else 2000)
        self.database_dies()
        self.flood(mixed(0, WARM_UP))
        began = time.monotonic()
        with Memory(self.agent.pid) as memory:
            count = self.flood(mixed(WARM_UP, POINTS))
        seconds = time.monotonic() - began
        spread, words = memory.spread()
        self.say(f"{(POINTS - WARM_UP) / seconds:.0f} points/s in {count / seconds:.0f} messages/s while the database is away")
        self.say(f"memory: {words}")
        self.agent.assert_identity()
        self.tap.delay = 0.0 if settings.LONG else 0.06
        with Memory(self.agent.pid) as draining:
            lateness = [late for late, during in self.drain() if during]
        self.say(f"memory while the backlog drains: {draining.spread()[1]}")
        self.say(f"live points while the backlog drains: {len(lateness)}, late by {max(lateness):.2f} s at most")
        self.assertLess(max(lateness), LATE_S)
        self.assert_numbers(self.stored(), range(POINTS))
        self.assertEqual(self.agent.dead_letters(), [])
        self.assertLess(spread, FLAT)

    def test_without_live_first_live_points_wait_for_the_backlog(self):
        self.start(max_bytes="4GiB", batch=5000 if settings.LONG else 2000)
        self.database_dies()
        self.flood(mixed(0, POINTS))
        self.tap.delay = 0.0 if settings.LONG else 0.06
        lateness = [late for late, _ in self.drain()]
        self.say(f"live points: {len(lateness)}, late by {max(lateness):.2f} s at most")
        self.assertGreater(max(lateness), LATE_S)
        self.assert_numbers(self.stored(), range(POINTS))

    # The same with too little room. All messages are of one kind here, so that they have one size: single points in the short form, 100 in the long.

    def fill(self, when_full):
        """The database dies, and the flood comes, ten times what there is room for."""
        self.start(max_bytes=f"{MAX_BYTES // MiB}MiB", when_full=when_full)
        self.database_dies()
        messages = (many if settings.LONG else single)(0, POINTS)
        if when_full == "thin":  # much faster than it can be thinned, the broker has to keep it for a while, and that takes time
            messages = paced(messages, THINNABLE / PER_MESSAGE)
        if when_full == "block":
            publish(self.broker.port, messages)
            self.agent.wait_for(lambda: self.agent.figure("mqtt_acks_oldest_seconds") > 1, "acknowledgements to be held back")
        else:
            self.flood(messages)
        self.agent.assert_identity()
        full = self.agent.metrics()
        self.assertLessEqual(full.sum("spool_bytes"), MAX_BYTES)
        self.assertGreater(full.sum("spool_bytes"), MAX_BYTES / 2)
        return full

    def missing(self):
        """The database is back for good: the numbers that are not in it, which are as many as the counters say."""
        self.agent.wait_settled(timeout=300)
        missing = set(range(POINTS)) - self.stored()
        lines, messages, returned = (self.agent.figure(name, outcome=outcome) for name, outcome in (
            ("lines_total", "dropped_full"), ("messages_total", "dropped_full"), ("messages_total", "returned")))
        self.say(f"{POINTS} points, {lines:.0f} dropped in {messages:.0f} messages, {len(missing)} missing"
                 + (f", from {min(missing)} to {max(missing)}" if missing else "") + f"; {returned:.0f} messages returned to the broker")
        self.assertEqual(len(missing), lines)
        self.assertEqual(len(missing), messages * PER_MESSAGE)
        self.assertEqual(self.agent.dead_letters(), [])
        return missing

    def assert_stretch(self, numbers):
        self.assertEqual(max(numbers) - min(numbers) + 1, len(numbers), f"holes between {min(numbers)} and {max(numbers)}")

    def test_drop_oldest_loses_the_oldest(self):
        self.fill("drop_oldest")
        self.database_returns()
        missing = self.missing()
        self.assert_stretch(missing)
        # What requests held already when the database died is older, and so is what shares a segment with it: two of eight at most.
        self.assertLess(min(missing), (POINTS - len(missing)) / 2)
        self.assertLess(max(missing), POINTS - (POINTS - len(missing)) / 2)

    def test_drop_newest_loses_the_newest(self):
        self.fill("drop_newest")
        self.database_returns()
        missing = self.missing()
        self.assert_stretch(missing)
        self.assertEqual(max(missing), POINTS - 1)

    def test_thin_keeps_every_second_point_and_then_every_fourth(self):
        self.fill("thin")
        self.database_returns()
        missing = self.missing()
        for series in (0, SERIES // 2, SERIES - 1):
            kept = [number // SERIES for number in range(series, POINTS, SERIES) if number not in missing]
            gaps = [(number, number - before) for before, number in zip(kept, kept[1:])]
            while gaps[0][1] == 1:  # what was in flight when the database died is whole
                gaps.pop(0)
            whole = POINTS // SERIES
            largest = [max((gap for at, gap in gaps if at * 10 // whole == part), default=1) for part in range(10)]
            self.say(f"series {series}: {len(kept)} of {whole} points; largest gap by tenths, from the oldest: {largest}")
            self.assertLessEqual(max(largest), 64)
            self.assertGreaterEqual(largest[0], 8)
            # The room is for some 13 segments, and the flood for 140 of them: each has to stand for a third of its age, so that at a tenth of
            # the age, 14 segments, it stands for 4 to 8.
            self.assertLessEqual(largest[-1], 8)
            for older, newer in zip(largest, largest[1:]):
                self.assertLessEqual(newer, older * 9 / 8 + 2)  # where two segments meet, counting begins anew

    def test_block_loses_nothing(self):
        self.fill("block")
        self.database_returns()
        self.agent.wait_for(lambda: self.arrivals.flood >= POINTS, "all points in the database", 300)
        self.assertEqual(self.missing(), set())
        self.assertEqual(self.arrivals.flood, POINTS)  # acknowledged is acknowledged: nothing came twice
