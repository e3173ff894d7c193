"""SIGTERM and SIGINT: no new messages, what is waiting is stored, the last acknowledgement goes out, and what is left is reported."""
import signal
import time

from tests.support import settings
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer


class Signals(Scenario):
    def start(self, **agent):
        self.broker = self.mosquitto()
        self.influx = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}, agent={"omit_hostname": True, **agent}))

    def test_sigterm_and_sigint_store_what_is_waiting(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                self.start(flush_interval="60s")
                publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(300)))
                self.agent.wait_received(300)
                self.assertEqual(self.agent.stop(send=number), 0)
                self.assertEqual(self.influx.count(), 300)

    def test_sigterm_under_load_leaves_nothing_half_done(self):
        self.start()
        with SteadyPublisher(self.broker.port, lambda n: (f"t/{n % 50}", str(n)), rate=1000 if settings.SCALE == 1 else 200):
            self.agent.wait_received(200)
            self.agent.stop()
            stored = self.influx.count()
        self.assertGreaterEqual(stored, 200)
        self.assertIn("0 left unstored", self.agent.log_lines("STOPPED-OUTPUT")[-1])

    def test_sigterm_with_a_dead_output_reports_what_is_left(self):
        self.start(shutdown_timeout="1s")
        self.influx.stop()
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(123)))
        self.agent.wait_received(123)
        started = time.monotonic()
        code = self.agent.stop(expect=None)
        self.assertLess(time.monotonic() - started, 6 * settings.PATIENCE)
        self.assertEqual(code, 1)
        self.assertRegex(self.agent.log(), r"\b123\b.*left unstored|123 left unstored")

    def test_sighup_says_that_there_is_no_reload_yet_and_goes_on(self):
        self.start()
        for count in (1, 2):  # also the second time
            self.agent.signal(signal.SIGHUP)
            self.agent.wait_for(lambda: len(self.agent.log_lines("RELOAD-UNSUPPORTED")) == count, "the answer to SIGHUP")
        self.assertIn("restart", self.agent.log_lines("RELOAD-UNSUPPORTED")[0])
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(100)))
        self.agent.wait_settled(100)
        self.assertEqual(self.influx.count(), 100)
        self.assertEqual(self.agent.stop(), 0)

    def test_sighup_while_stopping_does_no_harm(self):
        self.start(shutdown_timeout="10s")
        self.influx.delay = 1.0
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(10)))
        self.agent.wait_received(10)
        self.agent.signal(signal.SIGTERM)
        self.agent.wait_log("STOPPING")
        self.agent.signal(signal.SIGHUP)
        self.assertEqual(self.agent.stop(), 0)
        self.assertEqual(self.influx.count(), 10)

    def test_a_second_signal_does_no_harm(self):
        self.start(shutdown_timeout="10s")
        self.influx.delay = 2.0
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(10)))
        self.agent.wait_received(10)
        self.agent.signal(signal.SIGTERM)
        self.agent.wait_log("STOPPING")
        self.assertEqual(self.agent.stop(), 0)
        self.assertEqual(self.influx.count(), 10)

    def test_a_kill_loses_at_most_what_memory_held_and_the_next_start_goes_on(self):
        self.start()
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(100)))
        self.agent.wait_settled(100)
        self.agent.kill9()
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(100)))  # the session is kept by the broker
        self.agent.start()
        self.agent.wait_settled(100)
        self.assertEqual(self.influx.count(), 200)
