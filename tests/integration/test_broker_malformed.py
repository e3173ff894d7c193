"""
What broke other brokers by malformed input, one test per advisory or bug (or per group of them that is about the same rule). After each the broker still
serves a client that was there all the time, and that client has not seen a byte of it.

 1-3   lengths that lie, before CONNECT and in frames of a WebSocket      12-13  bytes that are no text, and bytes behind the end
 4-6   packets that end early, topics of no length                        14-16  options, identifiers, properties and shares
 7     what only servers send                                             17     retained messages of every kind
 8-9   properties that are wrong, or many                                 18     reserved packet types
 10-11 topics with very many levels, topics that begin with `$`           19-20  the other way: a server that sends such to our own client

 21    PROXY protocol headers: not offered by this broker, so such a header is a packet that is no CONNECT
"""
import base64
import itertools
import os
import socket
import ssl
import threading

from tests.support import settings
from tests.support.broker_scenario import BrokerScenario
from tests.support.certificates import Certificates
from tests.support.mqtt_raw import (Auth, Client, Connack, Connect, Disconnect, Pingreq, Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel,
                                    Reader, Suback, Subscribe, Unsuback, Unsubscribe, Will, packet, text, u16, varint)

MB = 1 << 20
VERSIONS = (3, 4, 5)
NOT_UTF8 = {
    "a lone continuation byte": b"a\x80b", "a cut sequence": b"a\xc3", "an overlong slash": b"a\xc0\xafb", "a surrogate": b"a\xed\xa0\x80",
    "a code point above U+10FFFF": b"a\xf4\x90\x80\x80", "byte FF": b"\xff", "U+0000": b"a\x00b",
}


class Malformed(BrokerScenario):
    def setUp(self):
        super().setUp()
        self.broker()
        self.witness = self.client("witness", 5)
        self.witness.subscribe(["#", "$SYS/broker/log/#"])

    def tearDown(self):
        if self._outcome.success:
            self.witness.quiet()
        super().tearDown()

    def connected(self, version=5, client_id="culprit", **connect):
        client = self.raw(version, client_id)
        client.connect(client_id, **connect)
        return client

    def assert_ends(self, data, version=5, connect=True, reason=None):
        """The connection on which these bytes come ends, with this reason in MQTT 5; nobody else notices."""
        client = self.connected(version) if connect else self.raw(version)
        client.send(data)
        if reason is None:
            client.expect_any_end()
        else:
            client.expect_closed(reason)
        client.close()
        self.witness.ping()

    def test_row_01_nothing_is_allocated_for_lengths_before_connect(self):
        """Mosquitto kept up to 256 MB for a first packet that was no CONNECT; RabbitMQ, EMQX and VerneMQ took memory as CONNECT's inner lengths said."""
        before = self.agent.rss_bytes()
        for kind in range(16):
            for size in (100 * MB, 268435455):
                if kind != 1:
                    self.assert_ends(packet(kind << 4 | (2 if kind in (6, 8, 10) else 0), b"x" * 4096, size), connect=False)
        self.assert_ends(packet(0x10, text("MQTT") + b"\x05", 268435455), connect=False)
        head = text("MQTT") + b"\x04"
        for body in (text("MQTT", 65535), head + b"\x02" + u16(60) + text("x", 65535), head + b"\x06" + u16(60) + text("x") + text("w", 65535),
                     head + b"\x06" + u16(60) + text("x") + text("w") + text("p", 65535), head + b"\xc2" + u16(60) + text("x") + text("u") + text("p", 65535)):
            self.assert_ends(packet(0x10, body), connect=False)
        self.assert_ends(packet(0x10, text("MQTT") + b"\x05\x02" + u16(60) + varint(268435455) + text("x")), connect=False)
        waiting = [self.raw() for _ in range(settings.scaled(200, 20))]
        for client in waiting:
            client.send(packet(0x10, text("MQTT") + b"\x05", 250_000))  # allowed, and never finished
        self.witness.ping()
        if not settings.SANITIZED:
            self.assertLess(self.agent.rss_bytes() - before, 3 * MB)
        self.assert_peak_below(before + 5 * MB, "with lengths that lie")

    def test_row_01_a_connect_that_does_not_come_is_not_waited_for(self):
        """Before it has connected a client has connect_timeout, however slowly its CONNECT trickles in."""
        self.close_clients()
        self.agent.stop()
        self.broker(connect_timeout="1s")
        self.witness = self.client("witness")
        client = self.raw()
        for byte in Connect("slow").encode(5)[:-1]:
            client.send(bytes([byte]))
        self.raw(name="silent").expect_closed()
        client.expect_closed()

    def test_row_02_variable_integers_of_five_bytes_and_padded_ones(self):
        """NanoMQ read on behind the fourth byte of a length; Mongoose looped for ever on lengths that overflow."""
        endless = b"\xff" * 64
        for version in VERSIONS:
            self.assert_ends(b"\x30\xff\xff\xff\xff\x01", version)
            self.assert_ends(b"\x30\x80\x80\x80\x80\x00", version)
            self.assert_ends(b"\xc0" + endless, version)
            self.assert_ends(b"\x10\xff\xff\xff\xff\x7f", version, connect=False)
        self.assert_ends(b"\x10" + varint(20, padded_to=4) + bytes(20), connect=False)
        for length in (b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x00", b"\x80\x00", b"\x83\x80\x00", endless, b"\x80"):
            self.assert_ends(packet(0x30, text("t") + length + b"x"), reason=0x81)
            self.assert_ends(packet(0x82, u16(1) + length + text("t") + b"\x00"), reason=0x81)
            self.assert_ends(packet(0x10, text("MQTT") + b"\x05\x02" + u16(60) + length + text("x")), connect=False)
        self.assert_ends(b"\xc0" + varint(0, padded_to=2), reason=0x81)
        self.assert_ends(packet(0x82, u16(1) + b"\x05\x0b\x80\x80\x80\x80" + text("t") + b"\x00"), reason=0x81)  # a subscription identifier
        older = self.connected(4)
        older.send(b"\xc0" + varint(0, padded_to=2))  # 3.1.1 has no rule against it
        older.expect(Pingresp)

    def test_row_04_subscribe_that_ends_behind_its_filter(self):
        """NanoMQ read the options byte that was not there, out of the buffer when the packet filled it."""
        for size in (16, 64, 128, 1024, 4096, 16384, 65535):
            for version in VERSIONS:
                head = u16(1) + (b"\x00" if version == 5 else b"")
                name = "f" * (size - len(head) - 2 - 4)
                self.assert_ends(packet(0x82, head + text(name)), version, reason=0x81)
                self.assert_ends(packet(0x82, head + text("a") + b"\x00" + text(name)), version, reason=0x81)
        for body in (u16(1) + b"\x00" + text("a", 5), u16(1) + b"\x00\x00", u16(1)):
            self.assert_ends(packet(0x82, body), reason=0x81)
            self.assert_ends(packet(0xA2, body), reason=0x81)

    def test_row_05_publish_that_ends_before_its_identifier(self):
        """NanoMQ took the packet identifier from behind the packet, and topics longer than it."""
        for version in VERSIONS:
            for qos in (1, 2):
                for rest in (b"", b"\x00"):
                    for size in (1, 60, 4091, 65000):
                        self.assert_ends(packet(0x30 | qos << 1, text("t" * size) + rest), version, reason=0x81)
            self.assert_ends(packet(0x30, text("t", 2)), version, reason=0x81)
            self.assert_ends(packet(0x30, text("t" * 100, 65535)), version, reason=0x81)
        self.assert_ends(packet(0x30, text("t")), reason=0x81)  # no length of properties
        self.assert_ends(packet(0x30, text("t") + b"\x05\x01\x00"), reason=0x81)

    def test_row_06_publish_to_a_topic_of_no_length(self):
        """Mosquitto crashed on an empty topic with and without an alias; an alias must stand for it, and be known."""
        for version in VERSIONS:
            for qos in (0, 1, 2):
                self.assert_ends(Publish("", b"x", qos, 1), version)
        self.assert_ends(Publish("", b"x", properties={"topic_alias": 3}), reason=0x82)
        self.assert_ends(Publish("", b"x", properties={"topic_alias": 0}), reason=0x94)
        self.assert_ends(Publish("t", b"x", properties={"topic_alias": 11}), reason=0x94)
        client = self.connected()
        client.send(Publish("t", b"1", properties={"topic_alias": 10}), Publish("", b"2", properties={"topic_alias": 10}))
        client.quiet()
        for payload in (b"1", b"2"):
            self.witness.expect(Publish, topic="t", payload=payload)

    def test_row_07_server_packets_from_a_client(self):
        """Mosquitto followed a null pointer when a client that was in sent a CONNACK."""
        packets = (packet(0x20, b"\x00\x00"), packet(0x20, b"\x00\x00\x00"), packet(0x20), packet(0x20, b"\x00" * 70000), Suback(1, [0]), packet(0x90),
                   packet(0x90, b"\x00\x01"), Unsuback(1, [0]), packet(0xB0, u16(1)), packet(0xB0), Pingresp(), packet(0xD0, b"x"))
        for data in packets:
            for version in VERSIONS:
                self.assert_ends(data, version)
                self.assert_ends(data, version, connect=False)
        for data in (Auth(0x18), Auth(0x18, {"authentication_method": "m"}), packet(0xF0), packet(0xF0, b"\x18\xff")):
            self.assert_ends(data)
            self.assert_ends(data, 4)
            self.assert_ends(data, connect=False)

    def test_row_08_bad_properties_in_connect_and_will_leak_nothing(self):
        """Mosquitto lost the memory of every CONNECT whose properties, or its will's, were invalid or there twice."""
        valid, misplaced = {"user_property": [("a", "b" * 100)]}, {"topic_alias": 1}
        bad = [Connect("x", properties=misplaced), Connect("x", properties=[("session_expiry", 1)] * 2), Connect("x", properties=b"\x7f"),
               Connect("x", properties={"receive_maximum": 0}), Connect("x", properties=b"\x26" + text("a")), Connect("x", properties={"response_topic": "t"}),
               Connect("x", properties=valid, will=Will("w", b"p" * 500, properties=misplaced)),
               Connect("x", properties=valid, will=Will("w", b"p" * 500, properties=[("content_type", "a")] * 2)),
               Connect("x", properties=valid, will=Will("w", b"p" * 500, properties={"response_topic": "a/#"})),
               Connect("x", properties=valid, will=Will("w", b"p" * 500, properties={"session_expiry": 1})),
               Connect("x", properties=valid, will=Will("w/#", b"p" * 500, properties={"will_delay": 1})),
               Connect("x", properties=valid, will=Will("w", b"p" * 500, properties=b"\x18\x00")),
               Connect("x", properties={"authentication_data": b"x"}), Connect("x", properties={"authentication_method": "m"})]
        encoded = [one.encode(5) for one in bad]

        def refused(n):
            with Client(self.port) as client:
                client.send(encoded[n % len(encoded)])
                client.expect_any_end()
        self.assert_no_growth(refused, 10_000, 1 * MB, "a CONNECT with bad properties")

    def test_row_09_thousands_of_user_properties_take_linear_time(self):
        """Mosquitto 2.0 looked through all properties for each; a few thousand of them kept it busy for minutes."""
        self.witness.unsubscribe("#")
        receiver = self.client("receiver", properties={"maximum_packet_size": 2 * MB})
        receiver.subscribe("p/#")
        sender = self.connected()

        def publish(count):
            sender.send(Publish("p/1", b"x", properties={"user_property": [("k%d" % n, "v") for n in range(count)]}))
            found = receiver.expect(Publish).properties["user_property"]
            self.assertEqual((len(found), found[-1]), (count, ("k%d" % (count - 1), "v")))
        self.assert_linear(publish, 4000, 16, "a PUBLISH with user properties")

        def connect(count):
            with Client(self.port) as client:
                client.connect("many", properties={"user_property": [("k", "v")] * count})
        self.assert_linear(connect, 2000, 16, "a CONNECT with user properties")

    def test_row_10_topics_of_65535_slashes(self):
        """Mosquitto and aedes recursed level by level until their stacks were full; here 128 levels are the limit, in every packet."""
        deep = "/" * 65535
        for version in VERSIONS:
            for qos in (0, 1, 2):
                self.assert_ends(Publish(deep, b"x", qos, 1), version)
                self.assert_ends(Publish(deep, b"x", qos, 1, retain=True), version)
            for name in (deep, "+/" * 32767, "a/" * 32767 + "#", "$share/g/" + "/" * 65000):
                self.assert_ends(Subscribe(1, name), version)
                self.assert_ends(Unsubscribe(1, name), version)
            self.assert_ends(Connect("w", will=Will(deep, b"x")), version, connect=False)
        self.assert_ends(Publish("a" + "/a" * 128, b"x"))
        client = self.connected()
        client.send(Publish("a" + "/a" * 127, b"deep"), Publish("/" * 127, b"slashes"))
        for payload in (b"deep", b"slashes"):
            self.witness.expect(Publish, payload=payload)
        for name in ("+/" * 127 + "+", "/" * 127, "+/" * 127 + "#"):
            client.subscribe(name)
        client.publish("a" + "/a" * 127, b"x")
        client.expect(Publish, payload=b"x")
        self.witness.expect(Publish, payload=b"x")
        for name in ("+/" * 127 + "+", "/" * 127, "+/" * 127 + "#"):
            self.assertEqual(client.unsubscribe(name).reasons, [0])

    def test_row_10_filters_of_many_wildcards_match_in_bounded_time(self):
        """One topic that can be spelled in very many ways by filters with `+` in every place: found in the time that the filters take, not their number to the power of."""
        client = self.connected()
        levels = 64
        client.subscribe([("/".join("+" if n == at else "a" for n in range(levels)), 0) for at in range(levels)])
        client.subscribe(["/".join("+" for _ in range(levels)), "/".join("+" for _ in range(levels - 1)) + "/#"])
        topic = "/".join("a" for _ in range(levels))

        def publish(count):
            for _ in range(count):
                client.send(Publish(topic, b"x"))
                client.expect(Publish, topic=topic)
                self.witness.expect(Publish, topic=topic)
        self.assert_linear(publish, 10, 4, "a topic with 64 levels and 66 filters")

    def test_row_11_topics_that_begin_with_a_dollar(self):
        """Mosquitto crashed when a client published on a topic that began with `$` and was not `$SYS`."""
        names = ["$", "$/", "$x", "$x/y", "$SYS", "$SYS/", "$SYS/broker/version", "$SYSx", "$CONTROL", "$CONTROL/broker/v1", "$share", "$share/",
                 "$share/g", "$share/g/t", "$delayed", "$delayed/", "$delayed/1", "$delayed//t", "$delayed/x/t", "$delayed/-1/t", "$delayed/1/",
                 "$delayed/1/$delayed/1/t", "$delayed/1/$SYS/x", "$delayed/99999999999999999999/t", "$delay/1x/t", "$queue/t", "$$", "$\U0001F600"]
        free = {"$", "$/", "$x", "$x/y", "$delayed", "$queue/t", "$$", "$\U0001F600"}
        client = self.connected()
        client.subscribe(["$x/#"])
        for name in names:
            for retain in (False, True):
                client.send(Publish(name, b"own", 1, 9, retain=retain))
                if name == "$x/y" or name == "$x":
                    client.expect(Publish, topic=name)
                answer = client.expect(Puback, packet_id=9)
                self.assertEqual(answer.reason < 0x80, name in free, f"{name}: {answer}")
            with Client(self.port, 5) as other:
                other.send(Connect("will", will=Will(name, b"x", retain=True)))
                answer = other.receive()
                self.assertEqual(answer.reason == 0, name in free, f"will on {name}: {answer}")
                other.send(Disconnect())
            with Client(self.port, 5) as other:
                other.connect("subscriber")
                other.send(Subscribe(1, name))
                while isinstance(other.receive(), Publish):
                    pass
        reader = self.client("reader")
        reader.subscribe("$SYS/broker/version")
        self.assertTrue(reader.expect(Publish).payload.startswith(b"heliograf"))

    def test_row_12_what_is_no_text_closes_and_goes_to_nobody(self):
        """Mosquitto passed ill-formed UTF-8 on, and well-behaved subscribers were disconnected by their own libraries."""
        subscriber = self.client("subscriber", 4)
        subscriber.subscribe("#")
        for what, bad in NOT_UTF8.items():
            with self.subTest(what):
                for version in VERSIONS:
                    self.assert_ends(Publish(bad, b"x", retain=True), version)
                    self.assert_ends(Subscribe(1, bad), version)
                    self.assert_ends(Unsubscribe(1, bad), version)
                    for connect in (Connect(bad), Connect("x", user=bad), Connect("x", will=Will(bad, b"x"))):
                        self.assert_ends(connect, version, connect=False)
                for name in ("content_type", "response_topic"):
                    self.assert_ends(Publish("p", b"x", properties={name: bad}))
                    self.assert_ends(Connect("x", will=Will("w", b"x", properties={name: bad})), connect=False)
                for pair in (("k", bad), (bad, "v")):
                    self.assert_ends(Publish("p", b"x", properties={"user_property": [pair]}))
                    self.assert_ends(Connect("x", properties={"user_property": [pair]}), connect=False)
                    self.assert_ends(Subscribe(1, "a", properties={"user_property": [pair]}))
                    self.assert_ends(Disconnect(0, {"user_property": [pair]}))
                self.assert_ends(Connect("x", properties={"authentication_method": bad}), connect=False)
                self.assert_ends(Disconnect(0, {"reason_string": bad}))
        subscriber.quiet()

    def test_row_12_payload_and_correlation_data_are_any_bytes(self):
        """The other side of the rule: what is binary is passed on as it is."""
        client = self.connected()
        client.publish("b", b"\xff\x00\xed\xa0\x80", properties={"correlation_data": b"\x00\xff"})
        self.witness.expect(Publish, payload=b"\xff\x00\xed\xa0\x80", properties={"correlation_data": b"\x00\xff"})

    def test_row_13_bytes_behind_the_end(self):
        """wolfMQTT took a user name for the beginning of the next packet when no flag announced it."""
        for version in VERSIONS:
            head = text("MQIsdp" if version == 3 else "MQTT") + bytes([version])
            properties = b"\x00" if version == 5 else b""
            for flags, rest in ((0x02, text("u")), (0x02, b"\x00"), (0x82, text("u") + text("p")), (0xC2, text("u") + text("p") + b"x")):
                self.assert_ends(packet(0x10, head + bytes([flags]) + u16(60) + properties + text("x") + rest), version, connect=False)
            for data in (packet(0x40, u16(1) + b"\x00\x00\x00"), packet(0xC0, b"x"), packet(0x62, u16(1) + b"\x00\x00\x00")):
                self.assert_ends(data, version)
        self.assert_ends(packet(0xE0, b"\x00\x00\x00"), reason=0x81)
        self.assert_ends(packet(0xE0, b"\x00"), 4)

    def test_row_14_subscribe_options_that_are_reserved(self):
        """wolfMQTT granted QoS 3 and took reserved bits for options."""
        for options in range(256):
            valid = options & 0xC0 == 0 and options & 3 != 3 and options >> 4 & 3 != 3
            if not valid:
                self.assert_ends(Subscribe(1, [("a", options)]), 5)
        for options in (3, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x82):
            self.assert_ends(Subscribe(1, [("a", options)]), 4)
            self.assert_ends(Subscribe(1, [("good", 0), ("a", options)]), 4)
        self.assertEqual(self.agent.figure("broker_subscriptions"), 2)  # none of a broken packet is kept: those of the witness

    def test_row_15_packet_identifier_zero(self):
        """wolfMQTT took 0 for an identifier, and then for none."""
        for version in VERSIONS:
            for data in (Publish("p", b"x", 1, 0), Publish("p", b"x", 2, 0), Puback(0), Pubrec(0), Pubrel(0), Pubcomp(0), Subscribe(0, "a"), Unsubscribe(0, "a")):
                self.assert_ends(data, version)

    def test_row_16_shares_identifiers_and_properties_out_of_place(self):
        """Mosquitto and EMQX took shares without filters, identifiers that clients may not send, properties twice, and values that are none."""
        for name in ("$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#/a", "$share/a#/b", "$share/a+/b"):
            self.assert_ends(Subscribe(1, name))
            self.assert_ends(Unsubscribe(1, name))
        self.assert_ends(Subscribe(1, [("$share/g/a", 4)]), reason=0x82)  # No Local
        self.assert_ends(Subscribe(1, "a", properties={"subscription_id": 0}), reason=0x82)
        self.assert_ends(Subscribe(1, "a", properties=[("subscription_id", 1)] * 2), reason=0x82)
        for name in ("a/#", "+", "", "#"):
            self.assert_ends(Publish("p", b"x", properties={"response_topic": name}))
        publish_once = [("payload_format", 0), ("message_expiry", 9), ("content_type", "a"), ("response_topic", "r"), ("correlation_data", b"c"), ("topic_alias", 1)]
        for pair in publish_once:
            self.assert_ends(Publish("p", b"x", properties=[pair] * 2), reason=0x82)
        self.assert_ends(Publish("p", b"x", properties={"subscription_id": 5}), reason=0x82)
        self.assert_ends(Publish("p", b"x", properties={"payload_format": 2}))
        for name, value in (("session_expiry", 1), ("receive_maximum", 1), ("reason_string", "a"), ("server_reference", "a"), ("will_delay", 1)):
            self.assert_ends(Publish("p", b"x", properties={name: value}))
        connect_once = [("session_expiry", 1), ("receive_maximum", 1), ("maximum_packet_size", 100), ("topic_alias_maximum", 1), ("request_response_information", 0),
                        ("request_problem_information", 0)]
        for pair in connect_once:
            self.assert_ends(Connect("x", properties=[pair] * 2), connect=False)
        for name in ("request_response_information", "request_problem_information"):
            self.assert_ends(Connect("x", properties={name: 2}), connect=False)
        self.assert_ends(Disconnect(0, [("session_expiry", 1)] * 2))
        self.assert_ends(Disconnect(0, {"will_delay": 1}))

    def test_row_17_retained_messages_of_every_kind(self):
        """FlashMQ reached assertions by retained messages with properties and flags that its author did not expect together."""
        self.witness.unsubscribe(["#", "$SYS/broker/log/#"])
        client = self.connected(properties={"topic_alias_maximum": 5})
        payloads = (b"", b"x", b"y" * 5000)
        properties = ({}, {"message_expiry": 0}, {"message_expiry": 100}, {"topic_alias": 1}, {"user_property": [("a", "b")], "content_type": "c"},
                      {"response_topic": "r/s", "correlation_data": b"\x00"})
        topics = ("r", "r/", "/r", "r/s/t", "r" + "/x" * 126, "$r/s", "r/\U0001F600")
        for topic, payload, qos, how in itertools.product(topics, payloads, (0, 1, 2), properties):
            client.publish(topic, payload, qos, retain=True, properties=how)
            client.publish(topic, payload, qos, retain=True, properties={**how, "topic_alias": 1})
            client.publish("", payload, qos, retain=True, properties={**how, "topic_alias": 1})
        expected = set(topics) - {"$r/s"}
        for version, qos, options in itertools.product(VERSIONS, (0, 1, 2), (0, 8, 16, 24)):
            with Client(self.port, version) as reader:
                reader.connect("reader")
                reader.subscribe([("#", qos | (options if version == 5 else 0))])
                found = reader.collect(len(expected))
                self.assertEqual({one.topic for one in found}, expected)
        for topic in topics:
            client.publish(topic, b"", 1, retain=True)
        with Client(self.port, 5) as reader:
            reader.connect("reader")
            reader.subscribe("#")
            reader.quiet()

    def test_row_18_reserved_packet_types(self):
        """Mosquitto waited for the rest of packets of type 0, and of type 15 in 3.1.1."""
        for version in VERSIONS:
            for first in [*range(0x00, 0x10)] + ([*range(0xF0, 0x100)] if version != 5 else [*range(0xF1, 0x100)]):
                for connect in (True, False):
                    self.assert_ends(bytes([first]) if version != 5 or first < 0x10 or not connect else bytes([first, 0]), version, connect)

    def test_row_18_flags_that_are_reserved(self):
        """The lower half of the first byte belongs to the type."""
        for version in (4, 5):
            for kind, right in ((4, 0), (5, 0), (6, 2), (7, 0), (8, 2), (10, 2), (12, 0), (14, 0)):
                for flags in range(16):
                    if flags != right:
                        body = {8: u16(1) + (b"\x00" if version == 5 else b"") + text("a") + b"\x00", 10: u16(1) + (b"\x00" if version == 5 else b"") + text("a"),
                                12: b"", 14: b""}.get(kind, u16(1))
                        self.assert_ends(packet(kind << 4 | flags, body), version)
            for flags in (6, 7, 8, 9, 14, 15):  # QoS 3, and DUP with QoS 0
                self.assert_ends(packet(0x30 | flags, text("p") + u16(1) + (b"\x00" if version == 5 else b"")), version)

    def test_row_21_a_proxy_header_is_no_connect(self):
        """PROXY protocol is not offered; what Mosquitto's tests send as bad headers, and good ones, is closed as any first packet that is no CONNECT."""
        v2 = b"\r\n\r\n\x00\r\nQUIT\n"
        for header in (b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 1883\r\n", b"PROXY UNKNOWN\r\n", b"PROXY " + b"x" * 200, v2 + b"\x21\x11\x00\x0c" + bytes(12),
                       v2 + b"\x20\x00\x00\x00", v2 + b"\x21\x11\xff\xff" + bytes(1000)):
            client = self.raw()
            client.send(header, Connect("behind"))
            client.expect_closed()


class WebSocketPeer:
    """Both ends of a WebSocket as far as MQTT needs them, over a socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10 * settings.PATIENCE)
        self.socket.settimeout(10 * settings.PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".encode())
        self.stream = self.socket.makefile("rb")
        if b" 101 " not in self.stream.readline():
            raise AssertionError("no upgrade")
        while self.stream.readline().strip():
            pass

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, payload, opcode=2, fin=True, masked=True, length=None):
        """One frame; its length lies with `length`."""
        size = len(payload) if length is None else length
        head = bytes([fin << 7 | opcode])
        mask = os.urandom(4) if masked else b""
        bit = 0x80 if masked else 0
        head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + u16(size) if size < 65536 else bytes([bit | 127]) + size.to_bytes(8, "big")
        data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)) if masked else payload
        self.socket.sendall(head + mask + data)

    def receive(self):
        """(opcode, payload) of the next frame; None at the end."""
        head = self.stream.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
        return head[0] & 15, self.stream.read(size)

    def expect_end(self):
        """A close frame or none, then the end."""
        try:
            found = self.receive()
            while found is not None and found[0] in (8, 10):
                found = self.receive()
        except ConnectionResetError:
            found = None
        if found is not None:
            raise AssertionError(f"expected the end, got {found}")


class MalformedInFrames(BrokerScenario):
    def setUp(self):
        super().setUp()
        self.broker(listener={"protocol": "websocket"})

    def peer(self):
        peer = WebSocketPeer(self.port)
        self.clients.append(peer)
        return peer

    def connected(self):
        peer = self.peer()
        peer.send(Connect("framed", keepalive=0).encode(4))
        self.assertEqual(peer.receive(), (2, Connack().encode(4)))
        return peer

    def test_row_03_packets_and_frames_that_do_not_agree(self):
        """NanoMQ believed the MQTT length inside a frame that was shorter. Where packets begin and end has nothing to do with frames."""
        ping, pong = Pingreq().encode(4), Pingresp().encode(4)
        peer = self.connected()
        peer.send(ping + ping)
        answers = b""
        while len(answers) < 4:
            answers += peer.receive()[1]
        self.assertEqual(answers, pong + pong)
        for byte in Subscribe(1, "a/b").encode(4):
            peer.send(bytes([byte]))
        self.assertEqual(peer.receive(), (2, Suback(1, [0]).encode(4)))
        peer.send(packet(0x30, text("a/b") + b"x" * 10, 200))  # the packet's length says 200, the frame has 15
        peer.send(b"y" * (200 - 15))
        opcode, data = peer.receive()
        self.assertEqual((opcode, data[-3:], len(data)), (2, b"yyy", 203))
        peer.send(ping[:1], fin=False)
        peer.send(b"hello", opcode=9)  # a ping in the middle of a message
        peer.send(ping[1:], opcode=0)
        self.assertEqual([peer.receive(), peer.receive()], [(10, b"hello"), (2, pong)])
        peer.send(b"")
        peer.send(ping)
        self.assertEqual(peer.receive(), (2, pong))

    def test_row_03_frames_that_are_none(self):
        """Unmasked, with reserved bits, fragmented control frames, continuations of nothing, text, and lengths of 2^63: the end, and no memory for it."""
        before = self.agent.rss_bytes()
        bad = [{"payload": b"\xc0\x00", "masked": False}, {"payload": b"x" * 126, "opcode": 9}, {"payload": b"x", "opcode": 9, "fin": False},
               {"payload": b"\xc0\x00", "opcode": 0}, {"payload": b"\xc0\x00", "opcode": 1}, {"payload": b"\xc0\x00", "opcode": 3},
               {"payload": b"\xc0\x00", "opcode": 0x42}, {"payload": b"x" * 100, "length": (1 << 63) - 1}, {"payload": b"x" * 100, "length": 1 << 63},
               {"payload": b"\x01", "opcode": 8}]
        for frame in bad:
            with self.subTest(frame):
                peer = self.connected()
                peer.send(**frame)
                if frame.get("length") == (1 << 63) - 1:  # a frame may be longer than memory; what is in it is read as it comes: no packet
                    peer.socket.shutdown(socket.SHUT_WR)
                peer.expect_end()
        peer = self.connected()
        peer.send(b"\x30" + varint(1 << 20) + b"x", length=1 << 40)
        peer.socket.shutdown(socket.SHUT_WR)
        peer.expect_end()
        if not settings.SANITIZED:
            self.assertLess(self.agent.rss_bytes() - before, 3 * MB)
        self.connected()


class MalformedNames(BrokerScenario):
    """Names from certificates."""

    def test_row_12_names_in_certificates_that_are_no_user_names(self):
        """A certificate's common name becomes the user name: one with control characters or without a name lets nobody in, whatever else would."""
        certificates = Certificates(self.directory)
        self.broker(allow_anonymous=True, listener={"tls": {
            "certificate": str(certificates.server), "key": str(certificates.server_key), "client_ca": str(certificates.ca),
            "require_client_certificate": True, "use_identity_as_username": True}})
        for subject, accepted in (("/CN=press-4", True), ("/CN=press\n4", False), ("/CN=a\x01b", False), ("/O=nobody", False)):
            with self.subTest(subject):
                certificate, key = certificates.signed_as(f"named-{len(subject)}-{accepted}", subject)
                context = ssl.create_default_context(cafile=str(certificates.ca))
                context.load_cert_chain(certificate, key)
                sock = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname="localhost")
                client = self.raw(5, sock=sock)
                client.send(Connect("named"))
                if accepted:
                    client.expect(Connack, reason=0)
                else:
                    client.expect_any_end()


class EvilServer(threading.Thread):
    """A server for our own client: answers CONNECT and SUBSCRIBE, then sends what the test wants, and waits for the next connection."""

    def __init__(self, packets, suback=None):
        super().__init__(daemon=True)
        self.packets, self.suback = packets, suback
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.served = 0

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(20)
                try:
                    self._serve(sock)
                except OSError:
                    pass

    def _serve(self, sock):
        connect = self._read(sock)
        version = connect[connect.index(b"MQTT") + 4]
        sock.sendall(Connack().encode(version))
        request = self._read(sock)
        while request and request[0] >> 4 != 8:
            request = self._read(sock)
        if not request:
            return
        body = Reader(request[1:])
        body.varint()
        packet_id = body.u16()
        sock.sendall(self.suback(packet_id) if self.suback else Suback(packet_id, [1]).encode(version))
        data = self.packets[self.served % len(self.packets)]
        self.served += 1
        sock.sendall(data)
        while self._read(sock):
            pass

    @staticmethod
    def _read(sock):
        data = bytearray()
        while len(data) < 2 or len(data) < 2 + data[1]:
            more = sock.recv(4096)
            if not more:
                return b""
            data += more
        return bytes(data)

    def close(self):
        self.listener.close()


class MalformedFromServers(BrokerScenario):
    """Our own client: nothing that a server sends may hurt it."""

    def consumer(self, packets, **how):
        server = EvilServer(packets, **how)
        server.start()
        self.addCleanup(server.close)
        agent = self.heliograf({
            "inputs": {"mqtt_consumer": [{"servers": [f"tcp://127.0.0.1:{server.port}"], "topics": ["t/#"], "qos": 1, "data_format": "value", "data_type": "string"}]},
            "outputs": {"file": [{"files": [str(self.directory / "lines")]}]}}, ready=False)
        return agent, server

    def test_row_19_publish_with_a_topic_longer_than_itself(self):
        """MQTT-C and mbed computed the payload's length as less than nothing."""
        bad = [packet(0x30, text("t", 65535)), packet(0x32, text("t/1", 5)), packet(0x32, text("t/1") + b"\x00"), packet(0x30, b"\x00"), packet(0x30),
               packet(0x34, text("t/1")), packet(0x30, text("t" * 1000, 1001)), packet(0x32, text("t/1", 3)[:3])]
        agent, server = self.consumer(bad)
        agent.wait_for(lambda: server.served >= 3, "reconnects after broken packets", 30)
        self.assertEqual(agent.received(), 0)

    def test_row_20_suback_without_reasons(self):
        """A bridge read the reason codes of a SUBACK that had none from behind the packet."""
        agent, server = self.consumer([b""], suback=lambda packet_id: packet(0x90, u16(packet_id)))
        agent.wait_for(lambda: server.served >= 1, "a SUBACK")
        agent.wait_for(lambda: agent.get("/-/healthy")[0] == 200, "answering")
