"""
Black-box scenarios in which Telegraf loses, stalls or doubles data. T9, one dead output of two, is in test_influx_outage.
"""
import json
import time
from pathlib import Path

from tests.support import settings
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

RATE = 1000 if settings.SCALE == 1 else 200


def v2(influx, **options):
    return {"urls": [influx.url], "organization": "o", "bucket": "b", **options}


class TelegrafScenarios(Scenario):
    def test_t3_qos_1_with_mosquittos_default_window_keeps_up(self):
        broker = self.mosquitto()  # max_inflight_messages is 20
        influx = self.fake_influx(2)
        for protocol in ("5", "3.1.1"):
            with self.subTest(protocol=protocol):
                agent = self.heliograf(agent_config(
                    consumer(broker, "t/#", **VALUE, persistent_session=True, client_id=f"t3-{protocol}", protocol=protocol),
                    {"influxdb_v2": [v2(influx, bucket=protocol)]}, agent={"omit_hostname": True}))  # our own defaults for the rest
                with SteadyPublisher(broker.port, lambda n: (f"t/{n % 100}", str(n)), rate=RATE) as steady:
                    agent.wait_for(lambda: steady.acknowledged >= 4 * RATE, "four seconds of load")
                    behind = steady.acknowledged - agent.received()
                    sent = steady.stop()
                self.assertLess(behind, RATE / 10)
                agent.wait_settled(sent)
                self.assertEqual(agent.received(), sent)
                agent.stop()

    def test_t4_one_bad_type_in_each_thousand_costs_only_itself(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        agent = self.heliograf(agent_config(
            consumer(broker, "t/#", data_format="influx", persistent_session=True, client_id="t4"), {"influxdb_v2": [v2(influx)]}))
        total = settings.scaled(10_000, 3000)
        publish(broker.port, [("t/0", "m value=0.5")])
        agent.wait_settled(1)
        publish(broker.port, ((f"t/{n % 50}", 'm value="bad"' if n % 1000 == 500 else f"m value={n}.5") for n in range(total)))
        agent.wait_settled(total + 1)
        bad = total // 1000
        self.assertEqual(influx.count(), total + 1 - bad)
        self.assertEqual(agent.outcome("dead_lettered"), bad)
        self.assertEqual(len(agent.wait_dead_letters(bad)), bad)
        publish(broker.port, ((f"t/{n}", "m value=1.5") for n in range(100)))  # no in-flight place has leaked
        agent.wait_settled(total + 101)

    def test_t5_nothing_is_lost_while_the_token_is_wrong(self):
        for generation, output in ((1, "influxdb"), (2, "influxdb_v2"), (3, "influxdb_v3")):
            with self.subTest(generation=generation):
                broker = self.mosquitto()
                influx = self.fake_influx(generation, token="right")
                token_file = self.directory / "token"
                token_file.write_text("wrong\n")
                how = {1: {"database": "d", "skip_database_creation": True},
                       2: {"organization": "o", "bucket": "b", "token_file": str(token_file)},
                       3: {"database": "d", "token_file": str(token_file)}}[generation]
                agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {output: [{"urls": [influx.url], **how}]}))
                publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(1000)))
                agent.wait_received(1000)
                agent.wait_for(lambda: 401 in influx.statuses(), "a refusal")
                agent.wait_log("OUTPUT-AUTH")
                self.assertEqual(agent.pending(), 1000)
                agent.assert_identity()
                token_file.write_text("right\n")
                if generation == 1:
                    influx.token = None  # mended on the other side
                agent.wait_settled(1000, timeout=75)
                self.assertEqual(influx.count(), 1000)
                self.assertEqual(agent.dead_letters(), [])
                agent.stop()

    def test_t5_nothing_is_lost_while_the_password_of_influxdb_1_6_is_wrong(self):
        broker = self.mosquitto()
        influx = self.influxdb(auth=True)
        influx.query("CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        influx.user = ("admin", "secret")
        influx.create("d")
        influx.query("CREATE USER writer WITH PASSWORD 'old'")
        influx.query("GRANT ALL ON d TO writer")
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {"influxdb": [{
            "urls": [influx.url], "database": "d", "username": "writer", "password": "n3w", "skip_database_creation": True}]}))
        publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(1000)))
        agent.wait_received(1000)
        agent.wait_log("OUTPUT-AUTH")
        self.assertEqual(agent.pending(), 1000)
        self.assertNotIn("n3w", agent.log())
        influx.query("SET PASSWORD FOR writer = 'n3w'")
        agent.wait_settled(1000, timeout=75)
        self.assertEqual(influx.count("d", "mqtt_consumer"), 1000)

    def test_t6_a_restart_under_load_loses_nothing_and_doubles_no_point(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        agent = self.heliograf(agent_config(
            consumer(broker, "t/#", data_format="json", json_time_key="ts", json_time_format="unix_ns", persistent_session=True, client_id="t6"),
            {"influxdb_v2": [v2(influx)]}))
        base = time.time_ns() - 3600 * 10**9
        with SteadyPublisher(broker.port, lambda n: (f"t/{n % 100}", json.dumps({"ts": base + n, "value": n})), rate=RATE) as steady:
            for _ in range(3):
                agent.wait_for(lambda: agent.received() > RATE / 4, "load")
                agent.stop()
                agent.start()
            sent = steady.stop()
        agent.wait_for(lambda: influx.count() >= sent, f"all of {sent} points")
        agent.wait_settled()
        self.assert_numbers(influx.values("value"), range(sent))
        self.assertEqual(influx.count(), sent)

    def test_t7_overlapping_filters_deliver_a_message_once(self):
        broker = self.mosquitto()
        influx = self.fake_influx(2)
        for protocol in ("5", "3.1.1"):
            with self.subTest(protocol=protocol):
                agent = self.heliograf(agent_config(
                    consumer(broker, ["t/#", "t/+/x", "t/1/x"], **VALUE, protocol=protocol, client_id=f"t7-{protocol}"),
                    {"influxdb_v2": [v2(influx, bucket=protocol)]}))
                total = settings.scaled(3000, 300)
                publish(broker.port, (("t/1/x", "1") for _ in range(total)))  # alike on purpose: equal is not the same
                agent.wait_settled(total)
                publish(broker.port, [("t/2/y", "2")])  # behind them all
                agent.wait_settled(total + 1)
                self.assertEqual(sum(key[0] == protocol for key in influx.points), total + 1)
                self.assertEqual(agent.received(), total + 1)
                agent.stop()

    def test_t8_a_refused_filter_is_named_and_counted(self):
        broker = self.refusing_mosquitto()
        influx = self.fake_influx(2)
        for protocol in ("5", "3.1.1"):
            with self.subTest(protocol=protocol):
                agent = self.heliograf(agent_config(
                    consumer(broker, ["open/#", "secret/#"], **VALUE, protocol=protocol, client_id=f"t8-{protocol}"),
                    {"influxdb_v2": [v2(influx, bucket=protocol)]}), ready=False)
                agent.wait_log("secret/#")
                agent.wait_for(lambda: agent.figure("mqtt_subscriptions", state="refused") == 1, "the gauge of refused filters")
                self.assertEqual(agent.figure("mqtt_subscriptions", state="granted"), 1)
                self.assertEqual(agent.get("/-/ready")[0], 503)
                publish(broker.port, [("open/1", "1")] * 10)
                agent.wait_settled(10)
                agent.stop()
