"""The base of every integration test: a scratch directory, servers that go away with the test, and the identity at the end."""
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from tests.support import settings
from tests.support.fake_influx import FakeInflux
from tests.support.heliograf import Heliograf
from tests.support.servers import InfluxDB, Mosquitto, VictoriaMetrics

_shared = {}


def scratch_directory():
    return Path(tempfile.mkdtemp(prefix="heliograf-check-"))


def shared_influxdb():
    """One InfluxDB for all tests of this process that do not stop it; each test makes a database of its own."""
    if "influxdb" not in _shared:
        _shared["directory"] = scratch_directory()
        _shared["influxdb"] = InfluxDB(_shared["directory"]).start()
    return _shared["influxdb"]


def release_shared():
    if "influxdb" in _shared:
        _shared.pop("influxdb").kill()
        shutil.rmtree(_shared.pop("directory"), ignore_errors=True)


class Scenario(unittest.TestCase):
    """self.mosquitto(), self.influxdb(), self.fake_influx(), self.heliograf(config): all started, all cleaned up."""

    maxDiff = 4000

    def setUp(self):
        self.directory = scratch_directory()
        self.agents = []
        self.addCleanup(shutil.rmtree, self.directory, True)

    def tearDown(self):
        """Every agent that still runs balances its account, stops with exit code 0, and no sanitizer has complained."""
        if not self._outcome.success:  # the logs, while they still exist
            for agent in self.agents:
                print(agent.tail(), file=sys.stderr)
            return
        for agent in self.agents:
            if agent.running:
                agent.stop()
            agent.assert_sane()

    def assert_numbers(self, found, wanted):
        """Two collections of numbers are the same set; says how many are missing and too many, and the first few."""
        found, wanted = set(found), set(wanted)
        for what, difference in (("missing", wanted - found), ("not expected", found - wanted)):
            if difference:
                self.fail(f"{len(difference)} of {len(wanted)} {what}, from {sorted(difference)[:5]} to {max(difference)}")

    def mosquitto(self, **how):
        server = Mosquitto(self.directory, **how)
        self.addCleanup(server.kill)
        return server.start()

    def refusing_mosquitto(self):
        """A broker that refuses all filters but open/#. Mosquitto's ACL file grants every SUBSCRIBE and then sends nothing; its security
        plug-in does refuse."""
        rules = self.directory / "dynamic-security.json"
        allow = {"priority": 0, "allow": True}
        rules.write_text(json.dumps({
            "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True},
            "clients": [], "anonymousGroup": "everyone",
            "groups": [{"groupname": "everyone", "roles": [{"rolename": "reader"}]}],
            "roles": [{"rolename": "reader", "acls": [{"acltype": "subscribePattern", "topic": "open/#", **allow},
                                                      {"acltype": "publishClientReceive", "topic": "#", **allow},
                                                      {"acltype": "publishClientSend", "topic": "#", **allow}]}]}))
        plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
        return self.mosquitto(options=[f"plugin {plugin}", f"plugin_opt_config_file {rules}"])

    def influxdb(self, **how):
        """One of this test's own, to be stopped and started."""
        server = InfluxDB(self.directory, **how)
        self.addCleanup(server.kill)
        return server.start()

    def shared_influxdb(self):
        """(server, database): the module's InfluxDB, and a database name of this test's own."""
        return shared_influxdb(), self.id().rsplit(".", 1)[1][:60]

    def fake_influx(self, generation=2, **how):
        server = FakeInflux(generation, **how)
        self.addCleanup(server.stop)
        return server.start()

    def victoria_metrics(self):
        server = VictoriaMetrics(self.directory)
        self.addCleanup(server.kill)
        return server.start()

    def new_heliograf(self, config, **how):
        """Made, not started."""
        agent = Heliograf(self.directory, config, **how)
        self.agents.append(agent)
        self.addCleanup(agent.kill)
        return agent

    def heliograf(self, config, ready=True, **how):
        return self.new_heliograf(config, **how).start(ready)


def consumer(broker, topics, **options):
    """An `inputs: mqtt_consumer:` block for a Mosquitto."""
    return {"servers": [broker.url], "topics": topics if isinstance(topics, list) else [topics], "qos": 1, **options}


def agent_config(inputs, outputs, **more):
    """A whole configuration from mqtt_consumer blocks and {output type: [blocks]}."""
    return {"inputs": {"mqtt_consumer": inputs if isinstance(inputs, list) else [inputs]}, "outputs": outputs, **more}


VALUE = {"data_format": "value", "data_type": "float"}


def requires_scale(test):
    """Left out of slow variants: a figure, not a behaviour."""
    return unittest.skipIf(settings.SCALE < 1, "only at full speed")(test)
