"""What was acknowledged survives the end of the process: the spool on disk, with the real agent and a real broker."""
import random
import subprocess

from tests.support import settings
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

KILLS = 5 if settings.SCALE == 1 else 3  # hundreds, with every server: test_kills.py
RATE = 5000 if settings.SCALE == 1 else 500


class DiskSpool(Scenario):
    def disk_agent(self, broker, influx, sync="commit", **spool):
        return self.heliograf(agent_config(
            consumer(broker, "t/#", **VALUE, client_id="disk"),
            {"influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b"}]},
            agent={"omit_hostname": True, "flush_interval": "100ms", "shutdown_timeout": "1s",
                   "dead_letters": {"directory": str(self.directory / "dead-letters")},
                   "spool": {"sync": sync, "directory": str(self.directory / "spool"), "max_bytes": "256MiB", **spool}}))

    def wait_all(self, agent, influx, count):
        agent.wait_for(lambda: len(set(influx.values("value"))) >= count, f"all of {count} values", 90)
        self.assertEqual(set(influx.values("value")), set(map(float, range(count))))

    def test_nothing_is_missing_after_kills_at_random_moments(self):
        broker, influx, chance = self.mosquitto(), self.fake_influx(2), random.Random(7)
        agent = self.disk_agent(broker, influx)
        with SteadyPublisher(broker.port, lambda n: (f"t/{n % 50}", str(n)), rate=RATE) as steady:
            for kill in range(KILLS):
                if kill % 3 == 1:
                    influx.stop()  # so that the spool holds what is killed
                target = steady.acknowledged + chance.randrange(RATE // 20, RATE // 2)
                agent.wait_for(lambda: steady.acknowledged >= target, f"load before kill {kill}")
                agent.kill9()
                if kill % 3 == 1:
                    influx.start()
                agent.start()
            sent = steady.stop()
        self.wait_all(agent, influx, sent)
        agent.wait_settled(timeout=60)
        print(f"# {KILLS} kills, {sent} messages, 0 missing, {len(influx.values('value')) - sent} duplicates")

    def test_what_a_stop_leaves_is_sent_by_the_next_start(self):
        for sync in ("commit", "interval"):
            with self.subTest(sync=sync):
                broker, influx = self.mosquitto(), self.fake_influx(2)
                agent = self.disk_agent(broker, influx, sync)
                influx.stop()
                publish(broker.port, ((f"t/{n % 9}", str(n)) for n in range(500)))
                agent.wait_received(500)
                agent.stop()
                self.assertIn("on disk for the next start", agent.log_lines("STOPPED-OUTPUT")[-1])
                influx.start()
                agent.start()
                self.wait_all(agent, influx, 500)
                agent.stop()

    def test_what_a_full_disk_did_not_take_is_not_called_safe(self):
        small = self.directory / "spool"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True).returncode != 0:
            self.skipTest("no mounting here")
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=True)
        broker, influx = self.mosquitto(), self.fake_influx(2)
        agent = self.disk_agent(broker, influx)
        influx.stop()
        publish(broker.port, ((f"t/{n % 9}", str(n)) for n in range(500)), qos=0)
        agent.wait_received(500)
        agent.wait_for(lambda: agent.log_lines("SPOOL-DEGRADED"), "a disk that refuses")
        agent.stop(expect=1)
        self.assertIn("the last 500 records could not be written", agent.log_lines("STOPPED-UNSAVED")[-1])
        self.assertIn("not all of it on disk", agent.log_lines("STOPPED-OUTPUT")[-1])

    def test_a_second_agent_on_the_same_directory_is_refused(self):
        broker, influx = self.mosquitto(), self.fake_influx(2)
        agent = self.disk_agent(broker, influx)
        second = self.new_heliograf(agent_config(
            consumer(broker, "u/#", **VALUE, client_id="other"),
            {"influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b"}]},
            agent={"spool": {"directory": str(self.directory / "spool")},
                   "dead_letters": {"directory": str(self.directory / "dead-letters-2")}}), name="second")
        self.agents.remove(second)
        with self.assertRaises(AssertionError):
            second.start(ready=False)
        self.assertIn(str(self.directory / "spool"), second.log())
        agent.assert_identity()
