"""The tests' own tools, tested: what is supposed to notice a trouble notices it."""
import http.client
import socket
import threading
import time
import unittest

import paho.mqtt.client as paho

from tests.support import identity, line_protocol, mqtt_raw, ports, waiting
from tests.support.fake_influx import Answer
from tests.support.publisher import Publisher, SteadyPublisher, publish
from tests.support.scenario import Scenario
from tests.support.servers import http as request


class Identity(unittest.TestCase):
    BALANCED = """# HELP heliograf_messages_received_total messages
# TYPE heliograf_messages_received_total counter
heliograf_messages_received_total 10
heliograf_messages_total{output="a",outcome="stored"} 6
heliograf_messages_total{output="a",outcome="dead_lettered"} 1
heliograf_messages_total{output="a",outcome="filtered"} 1
heliograf_messages_pending{output="a"} 2
"""

    def test_accepts_a_balanced_account(self):
        identity.assert_identity(identity.Metrics.parse(self.BALANCED))

    def test_notices_one_message_too_few(self):
        with self.assertRaisesRegex(AssertionError, "10 received, but 9"):
            identity.assert_identity(identity.Metrics.parse(self.BALANCED.replace("} 6", "} 5")))

    def test_notices_an_unknown_outcome(self):
        with self.assertRaisesRegex(AssertionError, "does not know"):
            identity.assert_identity(identity.Metrics.parse(self.BALANCED.replace("filtered", "forgotten")))

    def test_notices_one_output_of_two(self):
        second = self.BALANCED.split("\n", 3)[3].replace('"a"', '"b"').replace("} 6", "} 7")
        with self.assertRaisesRegex(AssertionError, "output b"):
            identity.assert_identity(identity.Metrics.parse(self.BALANCED + second))

    def test_notices_missing_figures(self):
        with self.assertRaisesRegex(AssertionError, "missing"):
            identity.assert_identity(identity.Metrics.parse("heliograf_up 1\n"))


class LineProtocol(unittest.TestCase):
    def test_reads_escapes_types_and_stamp(self):
        parsed = line_protocol.parse_line(r'my\ m,t\,a=b\=c f=1.5e3,i=-3i,u=3u,b=true,s="a \"q\" \\ , =" 17')
        self.assertEqual(parsed, ("my m", (("t,a", "b=c"),), {
            "f": ("float", 1500.0), "i": ("integer", -3), "u": ("unsigned", 3), "b": ("boolean", True), "s": ("string", 'a "q" \\ , =')}, 17))

    def test_refuses_what_some_server_refuses(self):
        for line in ("m", "m f=1", "m f=1 1.5", "m f=NaN 1", "m f=1. 1", "m f=.5 1", "m f=1e400 1", "m f=1i5 1", "m f= 1", "m,t= f=1 1",
                     "m,t=a,t=b f=1 1", "m f=1,f=2 1", "m,f=a f=1 1", "m,t=a\\ f=1 1", "m\\ f=1 1", "#m f=1 1", 'm f="a 1', 'm f="a\nb" 1',
                     "m,t=a\tb f=1 1", "m f=9223372036854775808i 1", "m time=1 1", "m f=1 99999999999999999999", "m,t f=1 1", " f=1 1", "m  f=1 1"):
            with self.subTest(line), self.assertRaises(line_protocol.BadLine):
                line_protocol.parse_line(line)

    def test_refuses_bodies_that_are_cut_or_not_text(self):
        for body in (b"", b"m f=1 1", b"m f=1 1\n\n", b"m,t=\xff f=1 1\n"):
            with self.subTest(body), self.assertRaises(line_protocol.BadLine):
                line_protocol.lines_of(body)


class FakeInflux(Scenario):
    PATHS = {1: "/write?db=d&precision=ns", 2: "/api/v2/write?org=o&bucket=d&precision=ns",
             3: "/api/v3/write_lp?db=d&precision=nanosecond"}

    def write(self, influx, body):
        return request(influx.url + self.PATHS[influx.generation], body.encode())

    def test_names_conflicts_as_each_generation_does(self):
        for generation, status, words in ((1, 400, "partial write: field type conflict"), (2, 422, "partial write: field type conflict"),
                                          (3, 400, '"line_number": 2')):
            with self.subTest(generation=generation):
                influx = self.fake_influx(generation)
                got = self.write(influx, 'm f=1 1\nm f="x" 2\nm f=3 3\n')
                self.assertEqual(got[0], status)
                self.assertIn(words, got[1])
                self.assertEqual(influx.count("m", "f"), 2)
                self.assertEqual(influx.bad_bodies, [])

    def test_refuses_the_whole_body_for_a_bad_line_only_as_2_x(self):
        for generation, stored in ((1, 1), (2, 0), (3, 1)):
            influx = self.fake_influx(generation)
            self.assertEqual(self.write(influx, "m f=1 1\nm f=x 2\n")[0], 400)
            self.assertEqual(influx.count(), stored)
            self.assertEqual(len(influx.bad_bodies), 1)

    def test_plays_its_script_and_then_behaves(self):
        influx = self.fake_influx(2)
        influx.script += [Answer(429, headers={"Retry-After": "7"}), Answer(500, store=True), Answer(close_after=3), Answer(close_after=-1)]
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 429)
        self.assertEqual(influx.count(), 0)
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 500)
        self.assertEqual(influx.count(), 1)
        for _ in range(2):
            with self.assertRaises((OSError, http.client.HTTPException)):
                self.write(influx, "m f=2 2\n")
        self.assertEqual(self.write(influx, "m f=2 2\n")[0], 204)
        self.assertEqual(influx.count(), 2)
        self.assertEqual(len(influx.writes), 5)

    def test_checks_size_token_and_database(self):
        influx = self.fake_influx(1, token="right", max_body=20)
        influx.databases = set()
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 401)
        influx.token = None
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 404)
        request(influx.url + "/query", b"q=CREATE+DATABASE+%22d%22")
        self.assertEqual(self.write(influx, "m f=1 1\n" * 3)[0], 413)
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 204)

    def test_comes_back_on_the_same_port(self):
        influx = self.fake_influx(2)
        influx.stop()
        self.assertFalse(ports.listening(influx.port))
        influx.start()
        self.assertEqual(self.write(influx, "m f=1 1\n")[0], 204)


class Publishers(Scenario):
    def subscriber(self, broker, qos):
        got, ready = [], threading.Event()
        client = paho.Client(f"watcher-{qos}")
        client.on_message = lambda _c, _u, message: got.append((message.topic, message.payload))
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", broker.port)
        client.subscribe("#", qos)
        client.loop_start()
        self.addCleanup(client.loop_stop)
        self.addCleanup(client.disconnect)
        self.assertTrue(ready.wait(10))
        return got

    def test_every_message_arrives_once_at_each_qos(self):
        broker = self.mosquitto()
        for qos in (0, 1, 2):
            with self.subTest(qos=qos):
                got = self.subscriber(broker, qos)
                sent = [(f"t/{n % 7}", b"x" * (n % 300)) for n in range(2000)]
                self.assertEqual(publish(broker.port, sent, qos=qos), 2000)
                waiting.until(lambda: len(got) >= 2000, "2000 messages")
                self.assertEqual(sorted(got), sorted(sent))

    def test_holds_its_rate(self):
        broker = self.mosquitto()
        started = time.monotonic()
        publish(broker.port, (("t", "1") for _ in range(200)), rate=400)
        self.assertGreater(time.monotonic() - started, 0.45)

    def test_steady_publisher_survives_the_broker(self):
        broker = self.mosquitto()
        with SteadyPublisher(broker.port, lambda n: ("t", str(n)), rate=500) as steady:
            waiting.until(lambda: steady.acknowledged > 50, "first messages")
            broker.kill()
            before = steady.acknowledged
            broker.start()
            waiting.until(lambda: steady.acknowledged > before + 50, "more messages")
        self.assertGreaterEqual(steady.connects, 2)

    def test_refused_connection_is_an_error(self):
        broker = self.mosquitto(anonymous=False)
        with self.assertRaises(Exception):
            Publisher(broker.port)


class Servers(Scenario):
    def test_influxdb_keeps_points_over_a_kill(self):
        influx = self.influxdb()
        influx.create("d")
        self.assertEqual(request(f"{influx.url}/write?db=d&precision=ns", b"m value=1 1\nm value=2 2\n")[0], 204)
        influx.kill()
        influx.start()
        self.assertEqual(influx.count("d", "m"), 2)
        self.assertEqual(influx.count("d", "nothing"), 0)
        self.assertEqual(influx.count("none", "m"), 0)
        self.assertEqual(influx.rows("d", 'SELECT "value" FROM "m" WHERE "value" > 1'), [{"time": "1970-01-01T00:00:00.000000002Z", "value": 2}])

    def test_a_process_that_ends_is_noticed_at_once(self):
        broker = self.mosquitto()
        broker.kill()
        with self.assertRaisesRegex(AssertionError, "ended"):
            broker.wait_for(lambda: False, "never", 60)


class RawMqtt(unittest.TestCase):
    """tests/support/mqtt_raw.py against a socket pair: what it reads is what was written, and what is not expected is shown."""

    def setUp(self):
        ours, theirs = socket.socketpair()
        self.server = theirs
        self.client = mqtt_raw.Client(0, 5, "raw", timeout=0.2, sock=ours)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)

    def test_reads_back_what_it_writes(self):
        packets = [mqtt_raw.Connack(True, 0, {"assigned_client_id": "é", "receive_maximum": 20}), mqtt_raw.Puback(7), mqtt_raw.Pubrec(65535, 0x10),
                   mqtt_raw.Publish("t/1", b"x" * 70_000, 2, 9, True, True, {"subscription_id": [1, 268435455], "user_property": [("a", ""), ("a", "b")]}),
                   mqtt_raw.Publish("", b"", properties={"topic_alias": 1}), mqtt_raw.Suback(1, [0, 0x87]), mqtt_raw.Unsuback(2, [0x11]), mqtt_raw.Pingresp(),
                   mqtt_raw.Pubrel(3, 0x92, {"reason_string": "r"}), mqtt_raw.Pubcomp(4), mqtt_raw.Disconnect(0x8E), mqtt_raw.Auth(0x18, {"authentication_data": b"\0"})]
        for version in (3, 4, 5):
            for packet in packets:
                if version != 5:
                    packet = packet._replace(**({"properties": {}} if hasattr(packet, "properties") else {}))
                    if isinstance(packet, (mqtt_raw.Puback, mqtt_raw.Pubrec, mqtt_raw.Pubrel, mqtt_raw.Disconnect, mqtt_raw.Auth)):
                        packet = packet._replace(reason=0)
                data = packet.encode(version)
                self.assertEqual(mqtt_raw.size_of_first(data), len(data))
                self.assertEqual(mqtt_raw.decode(data, version), packet)

    def test_packets_that_come_in_pieces_and_together(self):
        data = mqtt_raw.Puback(1).encode(5) + mqtt_raw.Publish("t", b"x" * 200).encode(5) + mqtt_raw.Puback(2).encode(5)
        writer = threading.Thread(target=lambda: [self.server.send(data[at:at + 3]) for at in range(0, len(data), 3)])
        writer.start()
        self.client.expect(mqtt_raw.Puback, packet_id=1)
        self.assertEqual(self.client.expect(mqtt_raw.Publish, topic="t").payload, b"x" * 200)
        self.client.expect(mqtt_raw.Puback, packet_id=2)
        writer.join()

    def test_failures_show_packets_and_bytes(self):
        self.client.send(mqtt_raw.Pingreq())
        self.server.sendall(mqtt_raw.Disconnect(0x82).encode(5))
        with self.assertRaisesRegex(mqtt_raw.MqttFailure, r"(?s)raw \(MQTT 5\): expected Pingresp\(\), got Disconnect\(reason=130.*> c0 00.*< e0 01 82"):
            self.client.expect(mqtt_raw.Pingresp)
        with self.assertRaisesRegex(mqtt_raw.MqttFailure, "nothing came in time"):
            self.client.expect(mqtt_raw.Pingresp)
        self.server.sendall(b"\x40\x02\x00")
        self.server.close()
        with self.assertRaisesRegex(mqtt_raw.MqttFailure, r"(?s)ended inside a packet: 40 02 00.*the stream has ended"):
            self.client.expect(mqtt_raw.Puback)

    def test_a_packet_before_the_end_is_no_end(self):
        for data, expects in ((mqtt_raw.Pingresp(), lambda client: client.expect_closed()), (mqtt_raw.Disconnect(0x81), lambda client: client.expect_closed()),
                              (mqtt_raw.Disconnect(0x81), lambda client: client.expect_closed(0x82)), (b"", lambda client: client.expect_closed(0x82)),
                              (mqtt_raw.Connack(), lambda client: client.expect_any_end())):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.sendall(data if isinstance(data, bytes) else data.encode(5))
                theirs.shutdown(socket.SHUT_WR)
                with self.assertRaises(mqtt_raw.MqttFailure):
                    expects(mqtt_raw.Client(0, 5, sock=ours))
