"""The source's manners towards a broker: qualities of service, retained messages, protocol versions, shared subscriptions, WebSocket, proxies."""
import socket
import subprocess
import threading

from tests.support import ports, settings, waiting
from tests.support.publisher import publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer


class MqttClient(Scenario):
    def setUp(self):
        super().setUp()
        self.influx = self.fake_influx(2)

    def agent(self, broker, topics="t/#", env=None, ready=True, name="heliograf", bucket="b", **options):
        return self.heliograf(agent_config(consumer(broker, topics, **{**VALUE, **options}), {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": bucket}]}), ready=ready, env=env, name=name)

    def assert_stored(self, agent, count):
        agent.wait_settled(count)
        self.assertEqual(agent.received(), count)
        self.assertEqual(self.influx.count(), count)
        self.assertEqual(self.influx.bad_bodies, [])

    def test_every_message_arrives_at_each_qos(self):
        broker = self.mosquitto()
        for protocol in ("5", "3.1.1"):
            for qos in (0, 1, 2):
                with self.subTest(protocol=protocol, qos=qos):
                    self.influx.points.clear()
                    agent = self.agent(broker, qos=qos, protocol=protocol, client_id=f"qos-{qos}-{protocol}")
                    total = 300 if qos == 2 else settings.scaled(5000, 300)  # QoS 2 costs Mosquitto 40 ms a window
                    publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(total)), qos=qos)
                    self.assert_stored(agent, total)
                    self.assert_numbers(self.influx.values("value"), range(total))
                    self.assertEqual(agent.figure("mqtt_early_acks_total"), 0)
                    agent.stop()

    def test_a_persistent_session_keeps_messages_while_the_agent_is_away(self):
        broker = self.mosquitto()
        for protocol in ("5", "3.1.1"):
            with self.subTest(protocol=protocol):
                self.influx.points.clear()
                agent = self.agent(broker, protocol=protocol, client_id=f"keeper-{protocol}")
                agent.stop()
                publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(100)))
                agent.start()
                self.assert_stored(agent, 100)
                agent.stop()

    def test_without_a_persistent_session_nothing_is_left_at_the_broker(self):
        broker = self.mosquitto()
        agent = self.agent(broker, persistent_session=False)
        agent.stop()
        publish(broker.port, [("t/1", "1")] * 10)
        agent.start()
        publish(broker.port, [("t/1", "2")] * 10)
        self.assert_stored(agent, 10)

    def test_retained_messages_are_stored_skipped_or_the_only_ones(self):
        broker = self.mosquitto()
        publish(broker.port, [(f"t/{n}", str(n)) for n in range(5)], retain=True)
        for retained, wanted in (("store", 8), ("skip", 3), ("only", 5)):
            for protocol in ("5", "3.1.1"):
                with self.subTest(retained=retained, protocol=protocol):
                    self.influx.points.clear()
                    agent = self.agent(broker, retained=retained, protocol=protocol, client_id=f"r-{retained}-{protocol}")
                    publish(broker.port, [(f"live/{n}", "1") for n in range(3)])  # not subscribed
                    publish(broker.port, [(f"t/live{n}", "1") for n in range(3)])
                    publish(broker.port, [("t/end", "1")])
                    agent.wait_for(lambda: agent.figure("mqtt_messages_received_total") >= 4, "messages")
                    wanted_now = wanted + (retained != "only")
                    waiting.until(lambda: self.influx.count() >= wanted_now, f"{wanted_now} points")
                    agent.wait_settled()
                    self.assertEqual(self.influx.count(), wanted_now)
                    agent.stop()

    def test_protocol_auto_takes_mqtt_5_and_falls_back_to_3_1_1(self):
        broker = self.mosquitto()
        agent = self.agent(broker)
        publish(broker.port, [("t/1", "1")] * 10)
        self.assert_stored(agent, 10)
        self.assertIn("p5", self.connect_lines(broker)[-1])
        agent.stop()
        self.influx.points.clear()
        old = OldBroker(broker.port)
        self.addCleanup(old.close)
        agent = self.heliograf(agent_config({**consumer(broker, "t/#", **VALUE), "servers": [f"tcp://127.0.0.1:{old.port}"]}, {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}), name="fallback")
        publish(broker.port, [("t/1", "1")] * 10)
        self.assert_stored(agent, 10)
        self.assertEqual(old.versions[0], 5)
        self.assertEqual(old.versions[-1], 4)
        self.assertIn("(p2,", self.connect_lines(broker)[-1])

    @staticmethod
    def connect_lines(broker):
        return [line for line in broker.log().splitlines() if "New client connected" in line and "publisher-" not in line]

    def test_a_shared_subscription_divides_the_messages(self):
        broker = self.mosquitto()
        agents = [self.agent(broker, "$share/collectors/t/#", client_id=f"share-{n}", name=f"share-{n}", bucket=str(n)) for n in range(2)]
        total = settings.scaled(2000, 400)
        publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(total)))
        waiting.until(lambda: sum(agent.received() for agent in agents) >= total, "all messages")
        for agent in agents:
            agent.wait_settled()
            self.assertGreater(agent.received(), total / 10)
        self.assertEqual(sum(agent.received() for agent in agents), total)
        self.assert_numbers(self.influx.values("value"), range(total))

    def test_websocket_listener(self):
        broker = self.mosquitto()
        websocket = ports.free_port()
        with open(broker.directory / "mosquitto.conf", "a") as config:
            config.write(f"listener {websocket} 127.0.0.1\nprotocol websockets\n")
        broker.stop()
        broker.start()
        agent = self.heliograf(agent_config({**consumer(broker, "t/#", **VALUE), "servers": [f"ws://127.0.0.1:{websocket}/mqtt"]}, {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))
        publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(500)))
        self.assert_stored(agent, 500)

    def test_username_and_password(self):
        passwords = self.directory / "passwords"
        passwords.touch()
        subprocess.run(["mosquitto_passwd", "-b", passwords, "plant", "s3cret"], check=True, capture_output=True)
        broker = self.mosquitto(anonymous=False, options=[f"password_file {passwords}"])
        agent = self.agent(broker, username="plant", password="wrong-one", ready=False)
        agent.wait_for(lambda: [line for line in agent.log().splitlines() if " warn " in line or " error " in line], "a complaint")
        self.assertNotIn("wrong-one", agent.log())
        agent.stop()
        secret = self.directory / "secret"
        secret.write_text("s3cret\n")
        agent = self.agent(broker, username="plant", password_file=str(secret), name="right")
        self.assertEqual(agent.figure("mqtt_connected"), 1)

    def test_proxies_in_the_environment_do_not_touch_mqtt(self):
        broker = self.mosquitto()
        proxy = RecordingProxy()
        self.addCleanup(proxy.close)
        env = {name: proxy.url for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        out = self.directory / "points"
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), {"file": [{"files": [str(out)]}]}), env=env)
        publish(broker.port, [("t/1", "1")] * 10)
        agent.wait_settled(10)
        self.assertEqual(proxy.requests, [])
        self.assertEqual(len(out.read_text().splitlines()), 10)

    def test_two_inputs_with_the_same_client_id_are_refused_or_told_apart(self):
        """Two blocks against one broker, no client_id given: each gets its own, or they would throw each other out for ever."""
        broker = self.mosquitto()
        agent = self.heliograf(agent_config(
            [consumer(broker, "t/a", **VALUE, alias="a"), consumer(broker, "t/b", **VALUE, alias="b")],
            {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))
        publish(broker.port, [("t/a", "1"), ("t/b", "1")] * 10)
        self.assert_stored(agent, 20)
        self.assertEqual(agent.figure("mqtt_connected"), 2)


class OldBroker:
    """A relay in front of a broker that knows no MQTT 5: it answers such a CONNECT as a 3.1.1 broker does, with return code 1."""

    def __init__(self, broker_port):
        self.broker_port = broker_port
        self.versions = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        first = client.recv(65536)
        version = first[first.index(b"MQTT") + 4]
        self.versions.append(version)
        if version > 4:
            client.sendall(b"\x20\x02\x00\x01")
            client.close()
            return
        broker = socket.create_connection(("127.0.0.1", self.broker_port))
        broker.sendall(first)
        threading.Thread(target=self._pump, args=(client, broker), daemon=True).start()
        self._pump(broker, client)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class RecordingProxy:
    """Listens, and remembers the first bytes of whoever comes."""

    def __init__(self):
        self.requests = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(client.recv(200))
            client.close()
