"""The main job: devices of many kinds at full speed through Mosquitto, every point in InfluxDB, counted to the last one."""
import json
import time

from tests.support import settings
from tests.support.publisher import Publisher
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

NOW_MS = int(time.time()) * 1000 - 3_600_000

# Every kind: how message n looks on the wire, the route that reads it, and how many points it makes in which measurement and field.
KINDS = {
    "value": {
        "message": lambda n: (f"plant/line{n % 3}/press{n % 50}/temperature", f"{n % 400 / 10}"),
        "route": {"topics": ["plant/+/+/temperature"], **VALUE}, "field": "value", "points": 1},
    "zigbee2mqtt": {
        "message": lambda n: (f"zigbee2mqtt/Küche {n % 40}", json.dumps({
            "battery": None, "humidity": 74.05, "linkquality": n % 255, "temperature": 19.35, "color": {"x": 0.4, "y": 0.3}, "state": "ON"})),
        "route": {"topics": ["zigbee2mqtt/+"], "data_format": "json"}, "field": "linkquality", "points": 1},
    "tasmota": {
        "message": lambda n: (f"tele/tasmota{n % 30}/SENSOR",
                              '{"Time":"2026-02-16T10:13:52","DS18B20":{"Temperature":20.6},"ENERGY":{"Total":3.185,"Power":%d}}' % n),
        "route": {"topics": ["tele/+/SENSOR"], "data_format": "json"}, "field": "ENERGY_Power", "points": 1},
    "victron": {
        "message": lambda n: (f"N/c0619ab9929a/pvinverter/{n % 20}/Ac/Power", '{"value":%d}' % n),
        "route": {"topics": ["N/#"], "data_format": "json"}, "field": "value", "points": 1},
    "line_protocol": {
        "message": lambda n: (f"scripts/host{n % 10}", f"line_protocol,cpu=0 usage={n % 100},temp=41i\nline_protocol,cpu=1 usage=7\n"),
        "route": {"topics": ["scripts/+"], "data_format": "influx"}, "field": "usage", "points": 2},
    "thingsboard": {
        "message": lambda n: (f"v1/devices/{n % 25}/telemetry", '[{"ts":%d,"temperature":42.1},{"ts":%d,"temperature":42.2},{"ts":%d,"temperature":42}]' % (
            NOW_MS + 3 * n, NOW_MS + 3 * n + 1, NOW_MS + 3 * n + 2)),
        "route": {"topics": ["v1/devices/+/telemetry"], "data_format": "json", "json_time_key": "ts", "json_time_format": "unix_ms"},
        "field": "temperature", "points": 3},
    "lorawan": {
        "message": lambda n: (f"v3/app1@ttn/devices/dev{n % 60}/up", json.dumps({
            "end_device_ids": {"device_id": f"dev{n % 60}", "application_ids": {"application_id": "app1"}},
            "received_at": "2026-02-12T15:15:46.014773143Z",
            "uplink_message": {"f_cnt": n, "f_port": 1, "frm_payload": "gkHe", "decoded_payload": {"temperature": 1.0, "luminosity": 0.64},
                               "rx_metadata": [{"rssi": -35, "snr": 5.2}], "settings": {"frequency": "868300000"}}})),
        "route": {"topics": ["v3/+/devices/+/up"], "data_format": "json"}, "field": "uplink_message_f_cnt", "points": 1},
    "shelly": {
        "message": lambda n: (f"shellyplus-{n % 15}/status/switch:0", json.dumps({
            "id": 0, "output": True, "apower": 375.0, "voltage": 226.0, "current": 1.659, "aenergy": {"total": 134753.219 + n},
            "temperature": {"tC": 63.4, "tF": 146.2}})),
        "route": {"topics": ["+/status/switch:0"], "data_format": "json", "tag_keys": ["id"]}, "field": "apower", "points": 1},
}


class MainJob(Scenario):
    def test_every_point_of_200000_messages_of_eight_kinds_is_stored(self):
        total = settings.scaled(200_000, 4000)
        broker = self.mosquitto()
        influx, db = self.shared_influxdb()
        routes = [{"name_override": name, **kind["route"]} for name, kind in KINDS.items()]
        agent = self.heliograf(agent_config(consumer(broker, "#", routes=routes), {"influxdb": [{"urls": [influx.url], "database": db}]},
                                            agent={"omit_hostname": True, "spool": {"sync": "memory", "max_bytes": "256MiB"}}))
        kinds = list(KINDS.values())
        with Publisher(broker.port) as publisher:
            sent = publisher.publish(kinds[n % len(kinds)]["message"](n // len(kinds)) for n in range(total))
        self.assertEqual(sent, total)
        agent.wait_settled(total, timeout=90)
        counted = {name: influx.count(db, name, kind["field"]) for name, kind in KINDS.items()}
        self.assertEqual(counted, {name: kind["points"] * (total // len(kinds)) for name, kind in KINDS.items()})
        self.assertEqual(agent.received(), total)
        self.assertEqual(agent.outcome("stored"), total)
        self.assertEqual(agent.dead_letters(), [])

    def test_a_value_is_stored_as_it_was_sent(self):
        broker = self.mosquitto()
        influx, db = self.shared_influxdb()
        agent = self.heliograf(agent_config(
            consumer(broker, "plant/+/+/+", data_format="json", topic_tag="",
                     topic_parsing=[{"topic": "plant/+/+/+", "measurement": "_/_/_/measurement", "tags": "_/line/machine/_"}]),
            {"influxdb": [{"urls": [influx.url], "database": db}]}, global_tags={"site": "plant-7"}))
        with Publisher(broker.port) as publisher:
            publisher.publish([("plant/a/press 1/temperature", '{"value": 21.5, "big": 9007199254740991}')])
        agent.wait_settled(1)
        rows = influx.rows(db, 'SELECT * FROM "temperature"')
        self.assertEqual(len(rows), 1)
        rows[0].pop("time")
        self.assertEqual(rows[0], {"line": "a", "machine": "press 1", "site": "plant-7", "value": 21.5, "big": 9007199254740991})
