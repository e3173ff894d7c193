"""The broker dies and comes back, again and again; the agent is never restarted and nobody has to look after it."""
import time

from tests.support import settings, waiting
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

RESTARTS = 50 if settings.SCALE == 1 else 12


class BrokerRestart(Scenario):
    def start(self, **options):
        self.broker = self.mosquitto()
        self.influx = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(
            consumer(self.broker, "t/#", **VALUE, **options), {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))

    def restart_broker(self, down=0.0):
        """Kills the broker, starts it again, and returns the seconds from its return to the next message."""
        self.broker.kill()
        self.agent.wait_for(lambda: self.agent.figure("mqtt_connected") == 0, "noticing that the broker is gone")
        before = self.agent.received()
        time.sleep(down)
        self.broker.start()
        back = time.monotonic()
        self.agent.wait_for(lambda: self.agent.received() > before, "messages after the broker's return", 15)
        return time.monotonic() - back

    def assert_all_accounted_for(self):
        self.agent.wait_settled()
        self.assertEqual(self.agent.outcome("stored"), self.agent.received())
        self.assertEqual(self.influx.count(), self.agent.received())
        self.assertEqual(self.influx.bad_bodies, [])

    def test_data_flows_within_two_seconds_of_each_return(self):
        for protocol in ("5", "3.1.1"):
            with self.subTest(protocol=protocol):
                self.start(protocol=protocol)
                with SteadyPublisher(self.broker.port, lambda n: (f"t/{n % 9}", str(n)), rate=300):
                    self.agent.wait_received(1)
                    for n in range(RESTARTS if protocol == "5" else 5):
                        self.assertLess(self.restart_broker(), 2.0, f"seconds until data flowed again after restart {n}")
                self.assert_all_accounted_for()
                self.agent.stop()

    def test_a_long_absence_is_waited_out(self):
        self.start(max_reconnect_interval="1s")
        with SteadyPublisher(self.broker.port, lambda n: (f"t/{n % 9}", str(n)), rate=300):
            self.agent.wait_received(1)
            delay = self.restart_broker(down=6.0)
        self.assertLess(delay, 2.0)
        self.assert_all_accounted_for()

    def test_a_broker_that_is_not_up_yet_is_no_reason_to_exit(self):
        self.broker = self.mosquitto()
        self.broker.kill()
        self.influx = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(
            consumer(self.broker, "t/#", **VALUE), {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}), ready=False)
        waiting.holds(lambda: self.agent.running and self.agent.get("/-/ready")[0] == 503, "running, not ready", 1.0)
        self.assertEqual(self.agent.figure("mqtt_connected"), 0)
        self.broker.start()
        self.agent.wait_for(lambda: self.agent.get("/-/ready")[0] == 200, "ready")
        publish(self.broker.port, [("t/1", "1")] * 10)
        self.agent.wait_settled(10)
        self.assertEqual(self.influx.count(), 10)

    def test_the_next_of_several_servers_is_tried(self):
        self.broker = self.mosquitto()
        self.influx = self.fake_influx(2)
        dead = "tcp://127.0.0.1:9"
        self.agent = self.heliograf(agent_config(
            {**consumer(self.broker, "t/#", **VALUE), "servers": [dead, self.broker.url]},
            {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))
        publish(self.broker.port, [("t/1", "1")] * 10)
        self.agent.wait_settled(10)
        self.assertEqual(self.influx.count(), 10)
