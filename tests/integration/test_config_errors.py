"""A configuration with mistakes: all of them at once, each with its line and column, and nothing starts."""
import re
import shutil
import unittest

from tests.support.heliograf import command
from tests.support.scenario import scratch_directory

# Each ⟦ stands before the character that a message must point at, with words that the message must contain behind the pipe at the end
# of the line, in the same order.
TEN_MISTAKES = """\
agent:
  ⟦flush_intervall: 1s                                   | flush_interval
  metric_batch_size: ⟦many                               | metric_batch_size
  spool:
    sync: ⟦disk                                          | memory
    max_bytes: ⟦12 parsecs                               | max_bytes
inputs:
  mqtt_consumer:
    - servers: [⟦"carrier-pigeon://127.0.0.1"]           | carrier-pigeon
      topics: [⟦"a/#/b"]                                 | #
      qos: ⟦3                                            | qos
      data_format: ⟦jsn                                  | json
outputs:
  ⟦influxdb_v4:                                          | influxdb_v2
    - { urls: ["http://127.0.0.1:8086"] }
  influxdb:
    - { urls: ["http://127.0.0.1:8086"], timeout: ⟦5 apples, database: telegraf }  | timeout
"""


def unmark(marked):
    """(plain text, [(line, column, words)])"""
    lines, wanted = [], []
    for number, line in enumerate(marked.splitlines(), 1):
        line, _, words = line.partition("|")
        line = line.rstrip()
        words = [word.strip() for word in words.split("|")]
        for word in words:
            if "⟦" in line:
                wanted.append((number, line.index("⟦") + 1, word))
                line = line.replace("⟦", "", 1)
        lines.append(line)
    return "\n".join(lines) + "\n", wanted


class ConfigErrors(unittest.TestCase):
    def setUp(self):
        self.directory = scratch_directory()
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.path = self.directory / "plant.yaml"

    def errors(self, text, *arguments):
        """[(line, column, message)] of `check`; `run` must say the same, start nothing and end with 78 too."""
        self.path.write_text(text)
        done = command("check", "--config", self.path, *arguments)
        self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
        run = command("run", "--config", self.path)
        self.assertEqual(run.returncode, 78, run.stderr)
        found = self.parse(done.stderr)
        self.assertEqual(self.parse(run.stderr), found)
        return found

    def parse(self, text):
        pattern = re.escape(str(self.path)) + r":(\d+):(\d+): error: (.*)"
        return [(int(line), int(column), message) for line, column, message in re.findall(pattern, text)]

    def assert_errors(self, marked):
        text, wanted = unmark(marked)
        found = self.errors(text)
        self.assertEqual([place[:2] for place in found], [place[:2] for place in wanted], "\n".join(map(str, found)))
        for (_, _, message), (_, _, word) in zip(found, wanted):
            self.assertIn(word, message)

    def test_ten_mistakes_give_ten_messages_with_line_and_column(self):
        self.assertEqual(len(unmark(TEN_MISTAKES)[1]), 10)
        self.assert_errors(TEN_MISTAKES)

    def test_mistakes_in_the_broker_are_named_with_a_remedy(self):
        for broker in ("""\
broker:
  listeners: [ { address: "127.0.0.1:1" } ]
  ⟦pasword_file: p                                             | password_file
  when_queue_full: ⟦drop                                       | drop_newest
""", """\
broker:
  listeners:
    - { address: ⟦"127.0.0.1" }                                | :1883 (all)
    - ⟦{ address: "0.0.0.0:1" }                                | allow_anonymous: true
    - { address: "127.0.0.1:1", tls: ⟦{ certificate: /nonexistent/c.pem, key: k.pem } }  | /nonexistent/c.pem
    - { address: "127.0.0.1:1", tls: { certificate: c.pem, key: k.pem, require_client_certificate: ⟦true } }  | client_ca
""", """\
broker:
  listeners: [ { address: "127.0.0.1:1" } ]
  password_file: ⟦/nonexistent/passwords                       | `heliograf passwd -c FILE USER`
  acl_file: ⟦/nonexistent/acl                                  | cannot open /nonexistent/acl
""", """\
broker:
  listeners: [ { address: "127.0.0.1:1" } ]
  persistence: ⟦no such thing                                  | expected
"""):
            with self.subTest(broker):
                self.assert_errors(broker + """\
inputs: { mqtt_consumer: [ { servers: ["embedded"], topics: ["a"] } ] }
outputs: { file: [ { files: ["stdout"] } ] }
""")

    def test_an_input_from_a_broker_that_is_not_there_is_an_error(self):
        self.assert_errors("""\
inputs: { mqtt_consumer: [ { servers: ⟦["embedded"], topics: ["a"] } ] }  | add `broker:`
outputs: { file: [ { files: ["stdout"] } ] }
""")

    def test_broken_yaml_is_one_error_at_its_place(self):
        found = self.errors("agent:\n  flush_interval: 1s\n inputs: [\n")
        self.assertGreaterEqual(len(found), 1)
        self.assertIn(found[0][0], (3, 4))

    def test_a_key_twice_is_an_error(self):
        self.assert_errors("""\
agent:
  flush_interval: 1s
  ⟦flush_interval: 2s                | flush_interval
inputs: { mqtt_consumer: [ { servers: ["tcp://127.0.0.1:1"], topics: ["a"] } ] }
outputs: { file: [ { files: ["stdout"] } ] }
""")

    def test_an_unset_required_variable_is_an_error_and_says_its_message(self):
        self.assert_errors("""\
inputs: { mqtt_consumer: [ { servers: ["tcp://127.0.0.1:1"], topics: ["a"] } ] }
outputs:
  influxdb_v2:
    - urls: ["http://127.0.0.1:1"]
      organization: o
      bucket: b
      token: ⟦"${HELIOGRAF_TEST_NO_SUCH:?ask the plant's administrator}"  | ask the plant's administrator
""")

    def test_a_file_that_is_missing_is_named(self):
        done = command("check", "--config", self.directory / "nowhere.yaml")
        self.assertEqual(done.returncode, 78)
        self.assertIn("nowhere.yaml", done.stderr)

    def test_no_inputs_or_outputs_is_an_error(self):
        for text in ("", "outputs: { file: [ { files: [stdout] } ] }\n", "inputs: { mqtt_consumer: [ { servers: ['tcp://127.0.0.1:1'], topics: [a] } ] }\n"):
            with self.subTest(text):
                self.assertGreaterEqual(len(self.errors(text)), 1)

    def test_files_and_a_directory_are_merged(self):
        (self.directory / "conf.d").mkdir()
        (self.directory / "conf.d" / "20-output.yaml").write_text("outputs: { file: [ { files: [stdout] } ] }\n")
        (self.directory / "conf.d" / "10-input.yml").write_text("inputs: { mqtt_consumer: [ { servers: ['tcp://127.0.0.1:1'], topics: [a] } ] }\n")
        (self.directory / "conf.d" / "ignored.txt").write_text("nonsense: [\n")
        self.path.write_text("global_tags: { site: plant-7 }\n")
        done = command("check", "--config", self.path, "--config-directory", self.directory / "conf.d")
        self.assertEqual(done.returncode, 0, done.stderr)
        (self.directory / "conf.d" / "30-more.yaml").write_text("global_tags: { site: plant-8 }\n")
        done = command("check", "--config", self.path, "--config-directory", self.directory / "conf.d")
        self.assertEqual(done.returncode, 78)
        self.assertIn("30-more.yaml:1:", done.stderr)
        self.assertIn("plant.yaml:1", done.stderr)

    def test_variables_cannot_inject_structure(self):
        self.path.write_text("""\
inputs: { mqtt_consumer: [ { servers: ["tcp://127.0.0.1:1"], topics: ["${TOPIC}", "${OTHER:-plan/b}"], data_format: influx } ] }
outputs: { file: [ { files: [stdout] } ] }
""")
        done = command("check", "--config", self.path, env={"TOPIC": 'a"], qos: 7, x: ["b'})
        self.assertEqual(done.returncode, 0, done.stderr)
