"""What we hand out works: every example configuration checks clean and passes its own tests, and so does the README's; those of the broker are run."""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from tests.support import ports, settings
from tests.support.broker_scenario import broker_config, password_line
from tests.support.certificates import Certificates
from tests.support.heliograf import Heliograf, command
from tests.support.mqtt_tools import THEIRS, run
from tests.support.scenario import Scenario, scratch_directory

CONFIG = settings.ROOT / "config"
EXAMPLES = CONFIG / "examples"
CORPUS = Path(os.environ.get("HELIOGRAF_CORPUS", settings.ROOT.parent / "shared" / "corpus" / "mqtt_packets"))


def prepare_files(directory):
    """The files that the examples name, in `directory` instead of /etc and /var: the environment that says so."""
    etc = directory / "etc"
    etc.mkdir()
    certificates = Certificates(directory)
    for source, name in ((certificates.server, "server.crt"), (certificates.server_key, "server.key"), (certificates.ca, "devices-ca.crt"),
                         (EXAMPLES / "acl", "acl")):
        shutil.copy(source, etc / name)
    (etc / "influx-token").write_text("secret\n")
    (etc / "passwords").write_text("".join(password_line(user, f"word of {user}") for user in ("press-4", "grafana", "monitor", "dashboard")))
    for path in etc.iterdir():
        path.chmod(0o600)
    return certificates, {"HELIOGRAF_ETC": str(etc), "HELIOGRAF_STATE": str(directory / "state"), "HELIOGRAF_SPOOL": str(directory / "spool")}


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = scratch_directory()
        cls.addClassCleanup(shutil.rmtree, cls.directory, True)
        _, cls.environment = prepare_files(cls.directory)

    def assert_good(self, path):
        checked = command("check", "--config", str(path), env=self.environment)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(checked.stderr, "")
        tested = command("test", "--config", str(path), env=self.environment)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        self.assertRegex(tested.stdout, r"\n[1-9]\d* passed, 0 failed\n$")
        return checked.stdout

    def test_every_example_is_good_and_has_tests(self):
        examples = sorted(EXAMPLES.glob("*.yaml")) + [CONFIG / "quickstart/heliograf.yaml"]
        self.assertEqual([path.stem for path in examples], ["gateway-tls", "mosquitto-compat", "sidecar", "standalone", "heliograf"])
        for path in examples:
            with self.subTest(example=path.name):
                self.assert_good(path)

    def test_the_gateway_fits_into_its_memory(self):
        memory = re.search(r"memory at most: about (\d+) MiB", self.assert_good(EXAMPLES / "gateway-tls.yaml"))
        self.assertLess(int(memory.group(1)), 64)

    def test_the_configurations_in_the_readme_are_good(self):
        directory = scratch_directory()
        self.addCleanup(shutil.rmtree, directory, True)
        blocks = re.findall(r"```yaml\n(.*?)```", (settings.ROOT / "README.md").read_text(), re.S)
        self.assertEqual(len(blocks), 2)
        (directory / "password").write_text("secret\n")
        for number, block in enumerate(blocks):
            path = directory / f"readme-{number}.yaml"
            path.write_text(block.replace("/etc/heliograf/password\"", f"{directory}/password\"").replace("/etc/heliograf/password ", f"{directory}/password ")
                            .replace("/etc/heliograf/", f"{self.environment['HELIOGRAF_ETC']}/"))
            with self.subTest(block=number):
                self.assert_good(path)


class RunExamples(Scenario):
    """The examples of the broker, with their own text; only places, ports and the database come from the environment."""

    def start_example(self, name, database_url):
        self.certificates, self.environment = prepare_files(self.directory)
        self.ports = {name: ports.free_port() for name in ("HELIOGRAF_MQTT_PORT", "HELIOGRAF_MQTTS_PORT", "HELIOGRAF_WEBSOCKET_PORT",
                                                           "HELIOGRAF_WSS_PORT", "HELIOGRAF_STATUS_PORT")}
        self.environment |= {name: str(port) for name, port in self.ports.items()} | {"INFLUX_URL": database_url, "INFLUX_DATABASE": "example"}
        agent = Heliograf(self.directory, (EXAMPLES / name).read_text(), env=self.environment)
        agent.status_port = self.ports["HELIOGRAF_STATUS_PORT"]
        self.agents.append(agent)
        self.addCleanup(agent.kill)
        return agent.start()

    def test_standalone_stores_what_devices_publish(self):
        influx = self.influxdb()
        influx.create("example")
        agent = self.start_example("standalone.yaml", influx.url)
        port = self.ports["HELIOGRAF_MQTT_PORT"]
        known, rows = ["-u", "press-4", "-P", "word of press-4"], lambda where: influx.rows("example", f"SELECT value FROM plant WHERE {where}")

        for n in range(3):
            done = run(THEIRS, "pub", "-p", port, "-q", n, "-t", "plant/press-4/temperature", "-m", json.dumps({"value": 21.5 + n}), *known)
            self.assertEqual(done.code, 0, done)
        published = command("pub", "-p", port, "-q", 1, "-t", "plant/press-4/pressure", "-m", '{"value": 4}', *known)
        self.assertEqual(published.returncode, 0, published.stderr)
        agent.wait_for(lambda: len(rows("quantity = 'temperature'")) == 3 and len(rows("quantity = 'pressure'")) == 1, "the points")
        self.assertEqual(sorted(row["value"] for row in rows("device = 'press-4' AND site = 'plant-7' AND quantity = 'temperature'")), [21.5, 22.5, 23.5])

        # Who is not known does not come in, and who is does not speak for another.
        for why, topic, user in (("a wrong password", "plant/press-4/t", ["-u", "press-4", "-P", "word"]), ("no name", "plant/press-4/t", []),
                                 ("another's topic", "plant/press-5/t", known)):
            refused = command("pub", "-p", port, "-V", "5", "-q", 1, "-t", topic, "-m", '{"value": 1}', *user)
            self.assertEqual(refused.returncode, 1, why)
        self.assertEqual(agent.figure("broker_denied_publish_total"), 1)
        agent.wait_for(lambda: influx.rows("example", "SELECT value FROM mqtt_broker"), "the broker's own figures", 30)
        self.assertGreaterEqual(len(influx.rows("example", "SELECT connected, reason FROM mqtt_client WHERE \"user\" = 'press-4'")), 8)
        self.assertEqual(len(rows("device = 'press-5'")), 0)

    def test_the_gateway_takes_devices_by_their_certificates(self):
        database = self.fake_influx(2)
        agent = self.start_example("gateway-tls.yaml", database.url)
        certificate, key = self.certificates.signed_as("pump", "/CN=pump-1")
        tls = ["--cafile", self.certificates.ca, "-h", "localhost"]
        port, wss = self.ports["HELIOGRAF_MQTTS_PORT"], self.ports["HELIOGRAF_WSS_PORT"]

        known = command("pub", *tls, "-p", port, "--cert", certificate, "--key", key, "-V", "5", "-q", 1, "-t", "devices/pump-1/pressure", "-m", "4.2")
        self.assertEqual(known.returncode, 0, known.stderr)
        agent.wait_for(lambda: database.values("value") == [4.2], "the point")
        other = command("pub", *tls, "-p", port, "--cert", certificate, "--key", key, "-V", "5", "-q", 1, "-t", "devices/pump-2/pressure", "-m", "4.2")
        self.assertEqual(other.returncode, 1, "another device's topic")
        stranger = command("pub", *tls, "-p", port, "-q", 1, "-t", "devices/pump-1/pressure", "-m", "4.2", timeout=60)
        self.assertEqual(stranger.returncode, 1, "no certificate")
        dashboard = command("sub", *tls[:2], "-L", f"wss://dashboard@localhost:{wss}/$SYS/broker/version", "-C", 1, "-W", 20,
                            env={"HELIOGRAF_MQTT_PASSWORD": "word of dashboard"})
        self.assertEqual((dashboard.returncode, dashboard.stdout[:9]), (0, "heliograf"), dashboard.stderr)

    def assert_passes_the_corpus(self, port, *flags):
        """The packets that Mosquitto's own tests send, and what must come back."""
        driver, files = CORPUS.parent.parent / "tools/mqtt_vectors.py", sorted(CORPUS.glob("*.json"))
        if not driver.exists() or not files:
            self.skipTest(f"no corpus in {CORPUS}")
        done = subprocess.run([sys.executable, driver, str(port), *files, *flags], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)
        self.assertRegex(done.stdout, r"passed ([1-9]\d*) of \1\n$")

    def test_mosquittos_packets_are_answered_byte_for_byte_under_the_example_that_says_so(self):
        self.start_example("mosquitto-compat.yaml", "http://127.0.0.1:1")
        self.assert_passes_the_corpus(self.ports["HELIOGRAF_MQTT_PORT"], "--exact")

    def test_mosquittos_packets_are_answered_alike_without_it(self):
        port = ports.free_port()
        self.heliograf(broker_config(self.directory, port))
        self.assert_passes_the_corpus(port)


if __name__ == "__main__":
    unittest.main()
