"""The database dies under load: nothing is lost, memory stays bounded, and a second output does not even notice."""
import time

from tests.support import settings, waiting
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer, requires_scale

OUTAGE_S = 60 if settings.LONG else 8 if settings.SCALE == 1 else 3
RATE = 1000 if settings.SCALE == 1 else 200
MiB = 1 << 20


def v2(influx, **options):
    return {"urls": [influx.url], "organization": "o", "bucket": "b", **options}


class InfluxOutage(Scenario):
    def test_all_points_are_there_after_an_outage_under_load(self):
        broker = self.mosquitto()
        influx = self.influxdb()
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {"influxdb": [{"urls": [influx.url], "database": "d"}]}))
        with SteadyPublisher(broker.port, lambda n: (f"t/{n % 100}", str(n)), rate=RATE) as steady:
            agent.wait_for(lambda: agent.outcome("stored") > 0, "first points stored")
            influx.kill()
            outage_ends = time.monotonic() + OUTAGE_S
            while time.monotonic() < outage_ends:
                agent.assert_identity()
                time.sleep(0.25)
            agent.wait_for(lambda: agent.pending() > RATE * OUTAGE_S / 2, "a backlog")
            influx.start()
            agent.wait_for(lambda: agent.pending() < RATE, "the backlog to shrink", 40)
            sent = steady.stop()
        agent.wait_settled(sent)
        self.assertEqual(agent.received(), sent)
        self.assertEqual(influx.count("d", "mqtt_consumer"), sent)
        self.assertEqual(agent.dead_letters(), [])
        if not settings.SANITIZED:
            self.assertLess(agent.rss_bytes(peak=True), 64 * MiB + 24 * MiB)

    def test_a_database_that_is_not_up_yet_is_no_reason_to_exit(self):
        broker = self.mosquitto()
        influx = self.influxdb()
        influx.kill()
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {"influxdb": [{"urls": [influx.url], "database": "d"}]}))
        publish(broker.port, ((f"t/{n}", str(n)) for n in range(500)))
        agent.wait_received(500)
        influx.start()
        agent.wait_settled(500, timeout=40)
        self.assertEqual(influx.count("d", "mqtt_consumer"), 500)

    def test_one_dead_output_leaves_no_gap_in_the_other(self):
        broker = self.mosquitto()
        alive, dead = self.fake_influx(2), self.fake_influx(2)
        dead.stop()
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {
            "influxdb_v2": [v2(alive, alias="alive"), v2(dead, alias="dead")]}))
        total = settings.scaled(20_000, 2000)
        started = time.monotonic()
        publish(broker.port, ((f"t/{n % 100}", str(n)) for n in range(total)))
        agent.wait_for(lambda: agent.outcome("stored", output="alive") == total, "all stored in the live output")
        self.assertLess(time.monotonic() - started, 15 * settings.PATIENCE)
        self.assertEqual(alive.count(), total)
        self.assertEqual(agent.pending(output="dead"), total)
        agent.assert_identity()
        dead.start()
        agent.wait_settled(total, timeout=60)
        self.assertEqual(dead.count(), total)
        self.assertEqual(alive.count(), total)

    def test_one_stalling_output_leaves_no_gap_in_the_other(self):
        broker = self.mosquitto()
        alive, slow = self.fake_influx(2), self.fake_influx(2)
        slow.delay = 1.5
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {
            "influxdb_v2": [v2(alive, alias="alive"), v2(slow, alias="slow")]}))
        with SteadyPublisher(broker.port, lambda n: (f"t/{n % 100}", str(n)), rate=RATE):
            agent.wait_received(1)
            waiting.holds(lambda: agent.pending(output="alive") < RATE, "the live output keeps up", 4.0)
        slow.delay = 0.0
        agent.wait_settled(timeout=40)
        self.assertEqual(alive.count(), agent.received())
        self.assertEqual(slow.count(), agent.received())

    @requires_scale
    def test_memory_stays_under_the_ceiling_and_drops_are_counted(self):
        for when_full in ("drop_oldest", "drop_newest"):
            with self.subTest(when_full=when_full):
                broker = self.mosquitto()
                alive, dead = self.fake_influx(2), self.fake_influx(2)
                dead.stop()
                agent = self.heliograf(agent_config(
                    consumer(broker, "t/#", **VALUE), {"influxdb_v2": [v2(alive, alias="alive"), v2(dead, alias="dead")]},
                    agent={"omit_hostname": True, "spool": {"sync": "memory", "max_bytes": "4MiB", "when_full": when_full}}))
                total = 100_000
                publish(broker.port, ((f"t/{n % 1000}/with/a/topic/of/some/length", str(n)) for n in range(total)))
                agent.wait_for(lambda: agent.received() == total, "everything received", 40)
                agent.assert_identity()
                self.assertGreater(agent.outcome("dropped_full", output="dead"), total / 4)
                self.assertLess(agent.rss_bytes(peak=True), 40 * MiB)
                if when_full == "drop_oldest":
                    agent.wait_for(lambda: agent.pending(output="alive") == 0, "the live output to drain")
                    left = int(agent.pending(output="dead"))
                    dead.start()
                    agent.wait_settled(timeout=60)
                    self.assertEqual(dead.count(), left)
                    newest = range(total - left // 2, total)  # what a request held already when the spool filled up is older
                    self.assert_numbers((n for n in dead.values("value") if n >= newest.start), newest)
                agent.stop(expect=None)

    @requires_scale
    def test_block_keeps_messages_with_the_broker(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        influx.stop()
        agent = self.heliograf(agent_config(
            consumer(broker, "t/#", **VALUE), {"influxdb_v2": [v2(influx)]},
            agent={"omit_hostname": True, "spool": {"sync": "memory", "max_bytes": "1MiB", "when_full": "block"}}))
        total = 60_000
        publish(broker.port, ((f"t/{n % 1000}/with/a/topic/of/some/length", str(n)) for n in range(total)))
        agent.wait_for(lambda: agent.pending() > 1000, "a full spool")
        agent.assert_identity()
        influx.start()
        agent.wait_for(lambda: len(set(influx.values("value"))) >= total, f"all of {total} points", 90)
        agent.wait_settled(timeout=60)
        self.assert_numbers(influx.values("value"), range(total))
        self.assertEqual(influx.count(), total)  # acknowledged is acknowledged: nothing came twice
        self.assertEqual(agent.outcome("dropped_full"), 0)
