"""
One program and a database: devices publish to the embedded broker, the points are in InfluxDB, and both die and return in between. Counted to the last message
and the last connection. HELIOGRAF_LONG=1: a thousand devices for five minutes.
"""
import time
from collections import Counter, defaultdict

from tests.support import ports, settings
from tests.support.broker_scenario import BrokerScenario, broker_config
from tests.support.fleet import IDS_PER_DEVICE, Fleet

DEVICES = 1000 if settings.LONG else settings.scaled(100, 30)
RATE = 2000 if settings.LONG else settings.scaled(2000, 200)
SECONDS = 300 if settings.LONG else 10
CHURN = 0.01 if settings.LONG else 0.004
# Points of one end may name another cause: a device that was cut off may be back before its old connection is known to be dead.
REASONS = {"normal": ("normal",), "cut": ("tcp_closed", "connection_reset", "takenover")}


class BrokerJob(BrokerScenario):
    def standalone(self):
        self.influx, self.port = self.influxdb(), ports.free_port()
        self.agent = self.heliograf(broker_config(
            self.directory, self.port, persistence={"directory": str(self.directory / "state")},
            input={"servers": ["embedded"], "qos": 2, "data_type": "integer", "name_override": "job"},
            config={"agent": {"spool": {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "256MiB"}},
                    "outputs": {"influxdb": [{"urls": [self.influx.url], "database": "job"}]}}))

    def kill_agent(self, fleet, number):
        """
        While everybody is connected and publishes. Points and rows of all who came and went before are on disk by then: those of the one who comes last are, as
        its acknowledgements say.
        """
        fleet.hold()
        last = self.client(f"last-{number}", 5, clean=False, properties={"session_expiry": 3600})
        last.subscribe("nothing/here", 1)
        last.publish("t/last", b"%d" % self.message_of_last(number), 1)
        self.agent.kill9()
        self.close_clients()
        self.agent.start()
        fleet.go_on()

    @staticmethod
    def message_of_last(number):
        return DEVICES * IDS_PER_DEVICE + number

    def run_until(self, share):
        """Until so much of the time has passed."""
        time.sleep(max(0.0, self.began + SECONDS * share - time.monotonic()))

    def assert_messages(self, fleet, kills):
        rows = Counter(row["value"] for row in self.influx.rows("job", "SELECT value FROM job"))
        sent = fleet.sent() | {self.message_of_last(number) for number in range(kills)}
        acknowledged = fleet.acknowledged() | {self.message_of_last(number) for number in range(kills)}
        doubled = [message for message, count in rows.items() if count > 1]
        print(f"# {len(fleet.devices)} devices: {len(sent)} messages sent, {len(acknowledged)} acknowledged or before one that was, "
              f"{sum(rows.values())} points, {len(acknowledged - set(rows))} missing, {len(doubled)} doubled")
        self.assertEqual(acknowledged - set(rows), set(), "acknowledged and not stored")
        self.assertEqual(doubled, [], "stored twice")
        self.assertEqual(set(rows) - sent, set(), "never sent")

    def assert_presence(self, fleet, kills, left):
        """One point for each coming and each going, in turns, and each end has the right cause."""
        points, reasons = defaultdict(list), Counter()
        for row in self.influx.rows("job", "SELECT connected, reason FROM mqtt_client GROUP BY client_id"):
            points[row["client_id"]].append(row["connected"])
            reasons[row["reason"]] += 1
        connects = {device.name: device.connects for device in fleet.devices} | {f"last-{number}": 1 for number in range(kills)}
        print(f"# {sum(connects.values())} connections, ended: {dict(reasons)}")
        self.assertEqual({name: found.count(1) for name, found in points.items()}, connects)
        for name, found in points.items():
            self.assertEqual(found, [1, 0] * connects[name], name)
        for whose, names in REASONS.items():
            self.assertEqual(sum(reasons[name] for name in names), fleet.ends(whose), f"{whose}: {reasons}")
        self.assertEqual(reasons["unclean_shutdown"], (len(fleet.devices) + 1) * kills)
        self.assertEqual(reasons["server_shutdown"], len(fleet.devices) - left)
        self.assertEqual(sum(reasons.values()) - reasons[None], sum(connects.values()))

    def test_points_equal_acknowledged_messages_and_presence_equals_connections(self):
        self.standalone()
        with Fleet(self.port, DEVICES, RATE, CHURN) as fleet:
            fleet.wait_connected()
            self.began = time.monotonic()
            self.run_until(0.2)
            self.influx.stop()
            self.run_until(0.35)
            self.kill_agent(fleet, 0)  # all since the last line but two is in the spool alone
            self.run_until(0.5)
            self.influx.start()
            self.run_until(0.75)
            self.kill_agent(fleet, 1)
            self.run_until(1.0)
            fleet.drain()
            self.agent.wait_for(lambda: self.agent.pending() == 0, "an empty spool", 120)
            self.agent.assert_identity()
            fleet.leave(fleet.devices[::2])
            for device in fleet.devices:
                device.staying_away = True
            self.agent.stop()
        self.assertEqual(fleet.troubles, [])
        self.assertEqual(fleet.unanswered, [])
        self.assert_messages(fleet, kills=2)
        self.assert_presence(fleet, kills=2, left=len(fleet.devices[::2]))
