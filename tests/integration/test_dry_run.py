"""`run --test`: line protocol on standard output instead of sending, under a client id of its own."""
import json
import subprocess

from tests.support import line_protocol, settings
from tests.support.heliograf import SANITIZER_ENV, command
from tests.support.process import clean_environment
from tests.support.publisher import SteadyPublisher
from tests.support.scenario import VALUE, Scenario, agent_config, consumer


class DryRun(Scenario):
    def test_prints_points_and_leaves_the_running_agent_alone(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        config = agent_config(consumer(broker, "t/#", **VALUE, client_id="production", persistent_session=True), {
            "influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b"}]})
        agent = self.heliograf(config)
        dry = subprocess.Popen([str(settings.BINARY), "run", "--config", str(agent.config_path), "--test", "--test-wait", "3s"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(SANITIZER_ENV))
        self.addCleanup(dry.kill)
        with SteadyPublisher(broker.port, lambda n: (f"t/{n % 5}", str(n)), rate=100) as steady:
            out, err = dry.communicate(timeout=30)
            sent = steady.stop()
        self.assertEqual(dry.returncode, 0, err)
        lines = out.splitlines()
        self.assertGreater(len(lines), 50)
        for line in lines:
            measurement, tags, fields, _ = line_protocol.parse_line(line)
            self.assertEqual((measurement, list(fields)), ("mqtt_consumer", ["value"]))
        agent.wait_settled(sent)
        self.assertEqual(agent.received(), sent)
        self.assertEqual(influx.count(), sent)
        self.assertEqual(broker.log().count(" as production ("), 1)
        self.assertNotIn("already connected", broker.log())

    def test_a_broker_that_is_down_is_told_and_the_wait_still_ends(self):
        broker = self.mosquitto()
        broker.kill()
        config = self.directory / "dry.yaml"
        config.write_text(json.dumps(agent_config(consumer(broker, "t/#", **VALUE), {"file": [{"files": ["stdout"]}]})))
        done = command("run", "--config", config, "--test", "--test-wait", "1s")
        self.assertEqual(done.stdout, "")
        self.assertIn(str(broker.port), done.stderr)
