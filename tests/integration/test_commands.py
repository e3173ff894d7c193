"""The command line: data on standard output, words on standard error, exit codes 0, 1, 64, 78."""
import json
import shutil
import subprocess
import unittest

from tests.support import line_protocol, ports, settings
from tests.support.heliograf import command
from tests.support.scenario import VALUE, Scenario, agent_config, consumer, scratch_directory

CONFIG = """\
global_tags: { site: plant-7 }
agent: { omit_hostname: true }
inputs:
  mqtt_consumer:
    - servers: ["tcp://127.0.0.1:1"]
      topics: ["plant/+/+/+", "zigbee2mqtt/#", "ignored/#"]
      topic_tag: ""
      data_format: json
      topic_parsing: [ { topic: "plant/+/+/+", tags: "_/line/machine/_" } ]
      routes:
        - { topics: ["zigbee2mqtt/+"], data_format: json, name_override: zigbee }
outputs:
  file: [ { files: [stdout] } ]
tests:
  - topic: plant/a/press/temperature
    payload: '{"value": 21.5}'
    expect: ['mqtt_consumer,line=a,machine=press,site=plant-7 value=21.5']
  - name: a bad payload is a dead letter
    topic: plant/a/press/temperature
    payload: 'nonsense'
    expect_dead_letter: ''
"""


class Commands(unittest.TestCase):
    def setUp(self):
        self.directory = scratch_directory()
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.config = self.write(CONFIG)

    def write(self, text, name="heliograf.yaml"):
        path = self.directory / name
        path.write_text(text)
        return path

    def assert_exit(self, code, *arguments, **how):
        done = command(*arguments, **how)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def test_help_lists_every_command_and_each_has_its_own(self):
        listed = self.assert_exit(0, "help").stdout
        self.assertEqual(self.assert_exit(0, "--help").stdout, listed)
        for name in ("run", "check", "test", "explain", "plugins", "config", "pub", "sub", "passwd", "clients", "version", "help"):
            self.assertIn(f"  {name}", listed)
            own = self.assert_exit(0, "help", name)
            self.assertIn(f"usage: heliograf {name}", own.stdout)
            self.assertEqual(self.assert_exit(0, name, "--help").stdout, own.stdout)
            self.assertEqual(own.stderr, "")

    def test_version(self):
        version = self.assert_exit(0, "version").stdout
        self.assertRegex(version, r"^heliograf \d+\.\d+\.\d+\n$")
        self.assertEqual(self.assert_exit(0, "--version").stdout, version)

    def test_misspelt_words_get_a_suggestion_and_64(self):
        for arguments, words in ((("chekc",), "check"), (("explian",), "explain"), (("check", "--confg", "x"), "--config"),
                                 (("run", "--test-wiat", "1s"), "--test-wait")):
            done = self.assert_exit(64, *arguments)
            self.assertIn("did you mean", done.stderr)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stdout, "")

    def test_wrong_usage_is_64(self):
        for arguments in (("nonsense-command",), ("check", "--config"), ("check", "word"), ("version", "x"), ("explain", "--config", self.config),
                          ("run", "--config", self.config, "--test-wait", "soon"), ("check", "--connect=yes", "--config", self.config), ("help", "nothing")):
            self.assertNotEqual(self.assert_exit(64, *arguments).stderr, "")

    def test_check_says_what_is_configured_and_hides_secrets(self):
        config = self.write(CONFIG.replace("file: [ { files: [stdout] } ]",
                                           'influxdb_v2: [ { urls: ["http://127.0.0.1:8086"], organization: o, bucket: b, token: very-secret } ]'))
        done = self.assert_exit(0, "check", "--config", config)
        self.assertIn("127.0.0.1:8086", done.stdout)
        self.assertRegex(done.stdout, r"(?i)memory")
        self.assertNotIn("very-secret", done.stdout + done.stderr)

    def test_check_says_how_much_is_sent_at_most(self):
        limits = "rate_limit: 5MB, rate_limit_period: 5m, rate_limit_points: 90000"
        done = self.assert_exit(0, "check", "--config", self.write(CONFIG.replace("files: [stdout]", f"files: [stdout], {limits}")))
        self.assertIn("at most 300 points/s and 16.67 kB/s\n", done.stdout)
        self.assertEqual(done.stderr, "")
        limits = "rate_limit: 5MB, rate_limit_period: 0s"
        done = self.assert_exit(0, "check", "--config", self.write(CONFIG.replace("files: [stdout]", f"files: [stdout], {limits}")))
        self.assertIn("at most 5000 kB/s\n", done.stdout)

    def test_check_warns_of_filters_that_nothing_feeds(self):
        config = """
inputs:
  mqtt_consumer:
    - servers: ["tcp://127.0.0.1:1"]
      topics: ["plant/+/t", "$share/g/office/#"]
      data_format: value
      topic_parsing: [ { topic: "plant/+/t", tags: "_/m/_" }, { topic: "plannt/+/t", tags: "_/m/_" } ]
      routes:
        - { topics: ["office/a", "+/1/t", "home/#"], data_format: json }
        - { topics: ["office/a"], data_format: value }
outputs: { file: [ { files: [stdout] } ] }
"""
        done = self.assert_exit(0, "check", "--config", self.write(config))
        self.assertEqual(done.stderr.count("warning"), 3, done.stderr)
        self.assertIn("topic_parsing: no subscribed topic can match 'plannt/+/t'", done.stderr)
        self.assertIn("routes: no subscribed topic can match 'home/#'", done.stderr)
        self.assertIn("nothing will come here for 'office/a': route 1 (office/a, ...) takes all of 'office/a' first", done.stderr)

    def test_check_takes_twenty_thousand_topics(self):
        topics = json.dumps([f"plant/{n}/+" for n in range(20_000)])
        config = f"""
inputs: {{ mqtt_consumer: [ {{ servers: ["tcp://127.0.0.1:1"], topics: {topics}, data_format: value }} ] }}
outputs: {{ file: [ {{ files: [stdout] }} ] }}
"""
        path = self.write(config)
        self.assertEqual(command("check", "--config", path, timeout=5).returncode, 0)

    def test_check_connect_without_remotes_is_1(self):
        config = self.write(CONFIG.replace("tcp://127.0.0.1:1", f"tcp://127.0.0.1:{ports.free_port()}"))
        done = self.assert_exit(1, "check", "--config", config, "--connect", "--timeout", "1s")
        self.assertIn("127.0.0.1", done.stdout + done.stderr)

    def test_an_alias_names_the_input_and_not_the_measurement(self):
        """As Telegraf has it: points without a measurement of their own have the input's type."""
        config = self.directory / "alias.yaml"
        config.write_text(json.dumps(agent_config({"servers": ["tcp://127.0.0.1:1"], "topics": ["#"], **VALUE, "alias": "plant"}, {
            "file": [{"files": ["stdout"]}]})))
        done = self.assert_exit(0, "explain", "--config", config, "--topic", "t", "1")
        self.assertTrue(done.stdout.startswith("mqtt_consumer,"), done.stdout)

    def test_explain_prints_line_protocol_and_decisions_apart(self):
        done = self.assert_exit(0, "explain", "--config", self.config, "--topic", "plant/a/press/temperature", '{"value": 21.5}')
        measurement, tags, fields, _ = line_protocol.parse_line(done.stdout.rstrip("\n"))
        self.assertEqual((measurement, dict(tags), fields), ("mqtt_consumer", {"line": "a", "machine": "press", "site": "plant-7"},
                                                              {"value": ("float", 21.5)}))
        self.assertIn("json", done.stderr)

    def test_explain_takes_the_route_and_standard_input(self):
        done = self.assert_exit(0, "explain", "--config", self.config, "-t", "zigbee2mqtt/lamp", "-", stdin='{"linkquality": 7}')
        self.assertTrue(done.stdout.startswith("zigbee,site=plant-7 linkquality=7 "), done.stdout)

    def test_explain_says_why_there_is_no_line(self):
        for arguments, words in ((("plant/a/b/c", "nonsense"), "dead letter"), (("elsewhere/a", "{}"), "no input subscribes")):
            done = self.assert_exit(1, "explain", "--config", self.config, "--topic", *arguments)
            self.assertEqual(done.stdout, "")
            self.assertIn(words, done.stderr)

    def test_test_runs_the_configurations_own_tests(self):
        done = self.assert_exit(0, "test", "--config", self.config)
        self.assertIn("2 passed, 0 failed", done.stdout)
        wrong = self.write(CONFIG.replace("value=21.5'", "value=22.5'"), "wrong.yaml")
        done = self.assert_exit(1, "test", "--config", wrong)
        self.assertIn("1 passed, 1 failed", done.stdout)
        self.assertIn("value=22.5", done.stdout)
        self.assertIn("value=21.5", done.stdout)

    def test_plugins_lists_all(self):
        listed = self.assert_exit(0, "plugins").stdout
        for name in ("mqtt_consumer", "influx", "value", "json", "influxdb", "influxdb_v2", "influxdb_v3", "file"):
            self.assertRegex(listed, rf"\b{name}\b")

    def test_the_sample_configuration_checks_clean(self):
        for arguments in ((), ("--full",)):
            sample = self.assert_exit(0, "config", *arguments)
            path = self.write(sample.stdout, "sample.yaml")
            done = self.assert_exit(0, "check", "--config", path)
            self.assertNotIn("warning", done.stderr)
            piped = self.assert_exit(0, "check", "--config", "-", stdin=sample.stdout)
            self.assertEqual(piped.stdout, done.stdout)

    def test_a_closed_standard_output_is_a_failure(self):
        done = subprocess.run(f"{settings.BINARY} config > /dev/full", shell=True, capture_output=True)
        self.assertEqual(done.returncode, 1)

    def test_no_configuration_at_the_usual_place_is_78(self):
        self.assertIn("/etc/heliograf/heliograf.yaml", self.assert_exit(78, "run").stderr)


class CheckConnect(Scenario):
    def test_asks_every_filter_and_database(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        config = self.directory / "heliograf.yaml"
        config.write_text(json.dumps(agent_config(consumer(broker, ["t/#", "u/#"], **VALUE, client_id="production"), {
            "influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b"}]})))
        done = command("check", "--config", config, "--connect")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for words in ("t/#", "u/#", influx.url):
            self.assertIn(words, done.stdout)
        self.assertNotIn(" production ", broker.log())
        self.assertEqual(influx.count(), 0)
