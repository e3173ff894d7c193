"""
CONNECT and CONNACK, wills, keep alive, and how connections end, from the specifications' point of view: packet in, exact packet out. Each test names the
statements that it proves.
"""
import re
import socket
import time

from tests.integration.test_broker_malformed import WebSocketPeer
from tests.support import settings
from tests.support.broker_protocol import BrokerProtocol, each_version
from tests.support.broker_scenario import password_line
from tests.support.mqtt_raw import (Auth, Connack, Connect, Disconnect, MqttFailure, Pingreq, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Subscribe,
                                    Unsubscribe, Will, packet, text, u16)


class Connecting(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_connack_is_first_and_says_success(self, version):
        """
        A good CONNECT gets CONNACK with 0, and for a session that is owed messages nothing comes before it.
        5.0: 3.1.4-5, 3.2.0-1
        3.1.1: 3.1.4-4, 3.2.0-1
        """
        self.lasting("owed", version).subscribe(self.own("a"), 1)
        self.clients[-1].disconnect()
        for n in range(3):
            self.client(f"publisher{n}").publish(self.own("a"), b"x", 1)
        client = self.raw(version)
        client.send(Connect(self.own("owed"), False, properties={"session_expiry": 1000}))
        first = client.receive_bytes()
        self.assertEqual((first[0], first[-2:] if version != 5 else first[2:4]), (0x20, b"\x00\x00" if version == 3 else b"\x01\x00"))
        self.assertEqual([one.topic for one in client.collect(3)], [self.own("a")] * 3)

    @each_version(3, 4, 5)
    def test_second_connect_ends_the_connection(self, version):
        """
        It is a protocol error, and gets no second CONNACK.
        5.0: 3.1.0-2, 3.2.0-2
        3.1.1: 3.1.0-2
        """
        client = self.client("twice", version)
        client.send(Connect(self.own("twice")))
        client.expect_closed(0x82)

    def test_connack_comes_once_however_much_follows(self):
        """
        Everything else is answered with packets of other types.
        5.0: 3.2.0-2
        """
        client = self.client("once")
        client.send(Subscribe(1, self.own("a")), Publish(self.own("a"), b"x", 1, 2), Pingreq(), Unsubscribe(3, self.own("a")), Disconnect())
        kinds = []
        while (one := client.receive()) is not None:
            kinds.append(one.TYPE)
        self.assertEqual(kinds.count(Connack.TYPE), 0)
        self.assertEqual(sorted(kinds), [3, 4, 9, 11, 13])

    def test_names_of_other_protocols_are_refused(self):
        """
        Not processed as MQTT; at most CONNACK 0x84, then closed.
        5.0: 3.1.2-1
        3.1.1: 3.1.2-1
        """
        for name, level in (("MQTX", 4), ("MQTX", 5), ("mqtt", 5), ("MQTT5", 5), ("MQIsdp", 5), ("MQTT ", 4)):
            client = self.raw(5)
            client.send(packet(0x10, text(name) + bytes([level, 2]) + u16(60) + (b"\x00" if level == 5 else b"") + text(self.own("x"))), Pingreq())
            answer = client.receive()
            if answer is not None:
                self.assertEqual(answer, Connack(False, 1 if level == 4 or name == "MQIsdp" else 0x84))
                client.expect_closed()

    def test_versions_that_are_not_there_are_refused(self):
        """
        Refused with the code of the form in which it is said, 1 in 3.1.1's and 0x84 in MQTT 5's; closed then, and what is sent behind is not looked at.
        5.0: 3.1.2-2
        3.1.1: 3.1.2-2
        """
        witness = self.subscriber()
        for level in (0, 1, 2, 3, 6, 7, 127, 255):
            client = self.raw(4)
            client.send(packet(0x10, text("MQTT") + bytes([level, 2]) + u16(60) + text(self.own("x"))), Publish(self.own("a"), b"x"))
            self.assertIn(client.receive_bytes(), (b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"), level)
            client.expect_closed()
        witness.quiet()

    @each_version(4, 5)
    def test_connect_of_a_wrong_format_is_closed(self, version):
        """
        MQTT 3.1.1 allows no CONNACK; MQTT 5 one with a reason of 0x80 or more.
        5.0: 3.1.4-1, 4.13.1-1
        3.1.1: 3.1.4-1, 4.8.0-1
        """
        none, head = (b"\x00" if version == 5 else b""), text("MQTT") + bytes([version])
        for body in (head + b"\x03" + u16(60) + none + text("x"),                       # the reserved flag
                     head + b"\x1e" + u16(60) + none + text("x") + none + text("w") + text(""),  # will QoS 3
                     head + b"\x22" + u16(60) + none + text("x"),                       # will retain without a will
                     head + b"\x0a" + u16(60) + none + text("x"),                       # will QoS without a will
                     head + b"\x02" + u16(60) + none,                                  # no client identifier
                     head + b"\x02" + u16(60) + none + text("x", 5),                   # a cut one
                     head + b"\x02" + u16(60) + none + text(b"\xff"),                  # no text
                     head + b"\x82" + u16(60) + none + text("x"),                      # no user name
                     head + b"\x02" + u16(60) + none + text("x") + text("user"),       # one without its flag
                     head + b"\x06" + u16(60) + none + text("x") + none + text("w#") + text(""),  # a will for a filter
                     head + b"\x02\x00"):
            client = self.raw(version)
            client.send(packet(0x10, body), Pingreq())
            answer = client.receive()
            if answer is not None:
                self.assertEqual(version, 5, f"{body.hex(' ')} got {answer}")
                self.assertIsInstance(answer, Connack)
                self.assertGreaterEqual(answer.reason, 0x80)
                client.expect_closed()

    @each_version(3, 4, 5)
    def test_whatever_is_not_connect_is_closed_without_a_word(self, version):
        """
        Before a good CONNACK there is no DISCONNECT.
        5.0: 3.14.0-1
        """
        for first in (Pingreq(), Publish("a", b"x"), Publish("a", b"x", 1, 1), Subscribe(1, "a"), Disconnect(), Puback(1), b"\x00\x00", b"\xff\x00",
                      packet(0x10, b"\x00\x04MQ")):
            client = self.raw(version)
            client.send(first)
            self.assertIsNone(client.receive())

    @each_version(4, 5)
    def test_nothing_behind_a_refused_connect_is_looked_at(self, version):
        """
        A message that follows a refused CONNECT in the same write goes to nobody, and is not retained.
        5.0: 3.1.4-6, 3.2.2-7, 4.13.2-1
        3.1.1: 3.1.4-5, 3.2.2-5
        """
        witness = self.subscriber(options=8)
        client = self.raw(version)
        refused = Connect("", False) if version == 4 else Connect(self.own("x"), properties={"authentication_method": "none such"})
        client.send(refused, Publish(self.own("a"), b"x", retain=True), Subscribe(1, "#"))
        client.expect(Connack, present=False, reason=2 if version == 4 else 0x8C)
        client.expect_closed()
        witness.quiet()
        self.subscriber(name="later").quiet()

    # ---- client identifiers ----

    def test_empty_identifiers_get_one(self):
        """
        A unique one, which CONNACK tells, and which names the session from then on.
        5.0: 3.1.3-6, 3.1.3-7, 3.2.2-16
        """
        first, second = self.raw(5), self.raw(5)
        names = [client.connect("", properties={"session_expiry": 1000}).properties["assigned_client_id"] for client in (first, second)]
        self.assertEqual(len(set(names)), 2)
        self.assertTrue(all(re.fullmatch(r"[0-9A-Za-z_-]+", name) for name in names), names)
        self.assertNotIn("assigned_client_id", self.client("named").connack.properties)
        first.disconnect()
        again = self.raw(5)
        again.send(Connect(names[0], False))
        again.expect(Connack, present=True, reason=0)
        second.quiet()

    def test_empty_identifiers_of_older_versions(self):
        """
        MQTT 3.1.1 gets a unique one with a clean session, and return code 2 without; MQTT 3.1 return code 2 in any case.
        3.1.1: 3.1.3-6, 3.1.3-8, 3.1.3-9
        """
        clients = [self.raw(4), self.raw(4)]
        for client in clients:
            client.connect("")
        for client in clients:
            client.quiet()  # neither has taken the other one's place
        for version, clean in ((4, False), (3, True), (3, False)):
            client = self.raw(version)
            client.send(Connect("", clean))
            client.expect(Connack, present=False, reason=2)
            client.expect_closed()

    @each_version(3, 4, 5)
    def test_identifiers_of_many_kinds_are_taken(self, version):
        """
        1 to 23 letters and digits must be; others are, too, and are sessions of their own.
        5.0: 3.1.3-2, 3.1.3-5
        3.1.1: 3.1.3-2, 3.1.3-5
        """
        names = ["0", "Z", "0123456789abcdefghijklm", "NOPQRSTUVWXYZnopqrstuvw", "a b", "Grüße/+#", "zz", "ZZ"] + (["x" * 1000] if version != 3 else [])
        clients = [self.raw(version) for _ in names]
        for client, name in zip(clients, names):
            client.connect(name)
        for client in clients:
            client.quiet()

    # ---- authentication ----

    def test_unknown_authentication_methods_are_refused(self):
        """
        CONNACK 0x8C, without a method, and closed.
        5.0: 4.12.0-1, 3.2.2-7, 3.14.0-1
        """
        for properties in ({"authentication_method": "SCRAM-SHA-1"}, {"authentication_method": "x", "authentication_data": b"y"}):
            client = self.raw(5)
            client.send(Connect(self.own("x"), properties=properties))
            answer = client.expect(Connack, present=False, reason=0x8C)
            self.assertNotIn("authentication_method", answer.properties)
            client.expect_closed()

    def test_no_authentication_without_a_method(self):
        """
        CONNACK has no method and there is no AUTH; AUTH from the client is a protocol error.
        5.0: 4.12.0-6, 4.12.0-7
        """
        for auth in (Auth(0x18), Auth(0x19), Auth(0x18, {"authentication_method": "x"}), b"\xf0\x00"):
            client = self.client("plain")
            self.assertFalse({"authentication_method", "authentication_data"} & set(client.connack.properties))
            client.send(auth)
            client.expect_closed(0x82)

    def test_response_information_only_when_asked_for(self):
        """
        Without the request, and with a request of 0, CONNACK has none.
        5.0: 3.1.2-28
        """
        for properties in ({}, {"request_response_information": 0}):
            self.assertNotIn("response_information", self.client("asks", properties=properties).connack.properties)

    # ---- keep alive ----

    def test_silence_of_one_and_a_half_keep_alives(self):
        """
        Closed then and not before, in MQTT 5 with 0x8D, and the will is published; the client's keep alive counts as CONNACK has none; 0 turns it off.
        5.0: 3.1.2-22, 3.2.2-22, 3.1.2-8
        3.1.1: 3.1.2-24, 3.1.2-8
        """
        witness = self.subscriber("will/+")
        clients = {version: self.client(f"silent{version}", version, keepalive=1, will=Will(self.own(f"will/{version}"))) for version in (3, 4, 5)}
        patient, talking = self.client("patient", keepalive=0), self.client("talking", 4, keepalive=3)
        self.assertNotIn("server_keep_alive", clients[5].connack.properties)
        started = time.monotonic()
        deadline = started + 1.2  # then all are still there, as they have said something; from here on only one does
        while time.monotonic() < deadline:
            for client in (*clients.values(), talking):
                client.ping()
            time.sleep(0.2)
        silent_since = time.monotonic()
        left = dict(clients)
        while left:
            talking.ping()
            for version, client in list(left.items()):
                try:
                    found = client.receive(timeout=0.1)
                except MqttFailure:
                    continue
                self.assertGreater(time.monotonic() - silent_since, 1.2)
                if version == 5:
                    self.assertEqual(found, Disconnect(0x8D))
                    found = client.receive()
                self.assertIsNone(found)
                del left[version]
            self.assertLess(time.monotonic() - silent_since, 5 * settings.PATIENCE)
        self.assertEqual({one.topic for one in witness.collect(3)}, {self.own(f"will/{version}") for version in (3, 4, 5)})
        patient.quiet()

    @each_version(3, 4, 5)
    def test_pingreq_gets_pingresp(self, version):
        """
        Each one, at once.
        5.0: 3.12.4-1
        3.1.1: 3.12.4-1
        """
        client = self.client("pings", version)
        client.send(b"\xc0\x00\xc0\x00\xc0\x00")
        self.assertEqual([client.receive_bytes() for _ in range(3)], [b"\xd0\x00"] * 3)
        client.quiet()

    # ---- the end ----

    @each_version(3, 4, 5)
    def test_disconnect_closes(self, version):
        """
        Nothing comes behind it, though there would be something; what is sent behind it is not looked at.
        5.0: 3.14.4-1, 3.14.4-2
        """
        witness = self.subscriber()
        client = self.client("leaves", version)
        client.send(Subscribe(1, self.own("mine")), Disconnect(), Publish(self.own("behind"), b"x"), Pingreq())
        client.receive()
        self.assertIsNone(client.receive())
        witness.quiet()

    def test_errors_close_with_their_reason(self):
        """
        Malformed packets and protocol errors: DISCONNECT says which, has no session expiry, and nothing follows it.
        5.0: 2.2.1-3, 4.13.1-1, 4.13.2-1, 3.14.2-2, 3.14.4-1, 3.14.4-2
        """
        topic = self.own("a")
        cases = [
            (0x81, b"\xc1\x00"),                                                          # PINGREQ with a flag
            (0x81, packet(0x36, text(topic) + u16(1) + b"\x00")),                          # QoS 3
            (0x81, packet(0x80, u16(1) + b"\x00" + text(topic) + b"\x00")),                # SUBSCRIBE without its flag
            (0x82, packet(0x82, u16(1) + b"\x00" + text(topic) + b"\x03")),                # a filter with QoS 3
            (0x82, packet(0x82, u16(1) + b"\x00" + text(topic) + b"\x30")),                # retain handling 3
            (0x81, packet(0x82, u16(1) + b"\x00" + text(topic) + b"\x40")),                # a reserved option
            (0x81, packet(0x30, text(b"\xff") + b"\x00")),                                 # no text
            (0x81, packet(0x30, text(topic) + b"\x02\x7f\x00")),                           # an unknown property
            (0x82, packet(0x30, text(topic) + b"\x04\x01\x00\x01\x00")),                   # one twice
            (0x82, packet(0x30, text("") + b"\x00")),                                      # neither topic nor alias
            (0x82, packet(0x82, u16(1) + b"\x00")),                                        # no filter
            (0x82, packet(0xA2, u16(1) + b"\x00")),
            (0x82, packet(0x82, u16(0) + b"\x00" + text(topic) + b"\x00")),                # identifier 0
            (0x82, packet(0xA2, u16(0) + b"\x00" + text(topic))), (0x82, packet(0x32, text(topic) + u16(0) + b"\x00")),
            (0x82, packet(0x82, u16(1) + b"\x02\x0b\x00" + text(topic) + b"\x00")),        # subscription identifier 0
            (0x82, packet(0x82, u16(1) + b"\x00" + text("$share/g/a") + b"\x04")),         # no local and shared
            (0x82, Connack()), (0x82, b"\xd0\x00"),                                        # what only servers send
            (0x90, Publish(self.own("a/+"))),                                              # a topic with a wildcard
            (0x94, Publish(topic, properties={"topic_alias": 0})),
            (0x94, Publish(topic, properties={"topic_alias": 60000})),
            (0x95, b"\x30\xff\xff\xff\x7f"),                                               # larger than CONNACK allowed
        ]
        for reason, data in cases:
            with self.subTest(data=data[:24] if isinstance(data, bytes) else data):
                client = self.client("culprit")
                client.send(data, Pingreq())
                found = client.expect(Disconnect, reason=reason)
                self.assertNotIn("session_expiry", found.properties)
                self.assertIsNone(client.receive())

    @each_version(4)
    def test_errors_close_in_older_versions(self, version):
        """
        Reserved flags and other violations: the end, and not a byte.
        3.1.1: 2.2.2-2, 4.8.0-1
        """
        topic = self.own("a")
        for data in (b"\xc1\x00", packet(0x36, text(topic) + u16(1)), packet(0x80, u16(1) + text(topic) + b"\x00"), packet(0xA0, u16(1) + text(topic)),
                     packet(0x60, u16(1)), b"\xe1\x00", packet(0x82, u16(1) + text(topic) + b"\x03"), packet(0x30, text(b"\xff")), packet(0x82, u16(1)),
                     packet(0xA2, u16(1)), packet(0x82, u16(0) + text(topic) + b"\x00"), packet(0x32, text(topic) + u16(0)), Publish(self.own("a/#")),
                     b"\xd0\x00", b"\xf0\x00", b"\x00\x00", packet(0x20, b"\x00\x00")):
            client = self.client("culprit", version)
            client.send(data, Pingreq())
            client.expect_closed()

    def test_bytes_come_in_pieces_of_any_size(self):
        """
        The transport is a stream: a byte at a time, or everything in one write, is the same, in order, and nothing is lost.
        5.0: 4.2-1
        3.1.1: 7.1.1-1, 7.1.2-1, 7.0.0-2
        """
        for version in (3, 4, 5):
            client = self.raw(version)
            packets = [Connect(self.own("stream")), Subscribe(1, self.own("a"), 1)] + [Publish(self.own("a"), b"%d" % n) for n in range(20)]
            data = b"".join(one.encode(version) for one in packets)
            pieces = [data[n:n + 1] for n in range(len(data))] if version == 4 else [data]
            for piece in pieces:
                client.send(piece)
            client.expect(Connack, reason=0)
            client.expect(Suback, packet_id=1, reasons=[1])
            self.assertEqual([client.expect(Publish).payload for _ in range(20)], [b"%d" % n for n in range(20)])
            client.disconnect()


class Wills(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_will_is_published_once_when_the_connection_breaks(self, version):
        """
        It belongs to the session, goes out when the connection ends without DISCONNECT, and is gone then.
        5.0: 3.1.2-7, 3.1.2-8, 3.1.2-10
        3.1.1: 3.1.2-8, 3.1.2-10
        """
        witness = self.subscriber("will")
        self.lasting("mortal", version, will=Will(self.own("will"), b"gone", 1)).close()
        witness.take(self.own("will"), b"gone", qos=1, retain=False)
        self.closes(self.lasting("mortal", version, present=True))  # now without one
        witness.quiet()
        self.client("mortal2", version, will=Will(self.own("will"), b"reset")).reset()
        witness.take(self.own("will"), b"reset", qos=0)
        client = self.client("mortal3", version, will=Will(self.own("will"), b"broke a rule"))
        client.send(b"\xd0\x00")
        witness.take(self.own("will"), b"broke a rule")
        self.client("mortal4", version, will=Will(self.own("will"), b"taken over"))
        self.client("mortal4", version)
        witness.take(self.own("will"), b"taken over")
        witness.quiet()

    @each_version(3, 4, 5)
    def test_disconnect_drops_the_will(self, version):
        """
        A normal DISCONNECT; with 0x04 (MQTT 5) it is published, and with any error.
        5.0: 3.1.2-8, 3.1.2-10, 3.14.4-3
        3.1.1: 3.1.2-10, 3.14.4-3
        """
        witness = self.subscriber("will")
        self.client("content", version, will=Will(self.own("will"), b"no")).disconnect()
        self.lasting("content2", version, will=Will(self.own("will"), b"no")).disconnect()
        witness.quiet()
        for reason in (0x04, 0x80, 0x9B) if version == 5 else ():
            self.client("unhappy", version, will=Will(self.own("will"), b"%d" % reason)).disconnect(reason)
            witness.take(self.own("will"), b"%d" % reason)

    @each_version(3, 4, 5)
    def test_without_a_will_nothing_is_published(self, version):
        """
        However the connection ends.
        3.1.1: 3.1.2-12
        """
        witness = self.subscriber()
        self.closes(self.client("plain", version))
        client = self.client("plain", version)
        client.send(b"\xd0\x00")
        client.expect_any_end()
        witness.quiet()

    @each_version(3, 4, 5)
    def test_will_retain(self, version):
        """
        Without the flag the will is not retained and what is retained stays; with it it is.
        5.0: 3.1.2-14, 3.1.2-15
        3.1.1: 3.1.2-16, 3.1.2-17
        """
        witness = self.subscriber("will", options=8)
        self.client("first", version, will=Will(self.own("will"), b"fleeting", 2)).close()
        witness.take(self.own("will"), b"fleeting", qos=2, retain=False)
        self.subscriber("will", name="nothing").quiet()
        self.client("second", version, will=Will(self.own("will"), b"lasting", 1, True)).close()
        witness.take(self.own("will"), b"lasting", qos=1, retain=True)
        self.subscriber("will", name="late").take(self.own("will"), b"lasting", qos=1, retain=True)
        self.client("third", version, will=Will(self.own("will"), b"fleeting", 0)).close()
        witness.take(self.own("will"), b"fleeting", retain=False)
        self.subscriber("will", name="later").take(self.own("will"), b"lasting")

    def test_will_delay(self):
        """
        A client that is back in time has no will published, however it comes back; one that is not has, and the end of the session is the end of the delay.
        5.0: 3.1.2-8, 3.1.3-9
        """
        witness = self.subscriber("will/#")
        def mortal(name, delay, expiry=1000):
            return self.lasting(name, expiry=expiry, will=Will(self.own(f"will/{name}"), b"late", 1, properties={"will_delay": delay}))
        for client in [mortal("gone", 1), mortal("expires", 1000, expiry=1), mortal("never", 0xFFFFFFFF), mortal("ended", 1000)]:
            self.closes(client)
        self.closes(mortal("back", 2))
        back = self.lasting("back", present=True)  # now without one
        self.closes(mortal("back again", 2))
        self.lasting("back again", present=True).disconnect()
        self.client("ended")  # a clean start ends the session, and with it the delay
        self.closes(back)
        started = time.monotonic()
        wanted = {self.own(f"will/{name}") for name in ("ended", "gone", "expires")}
        self.assertEqual({one.topic for one in witness.collect(3)}, wanted)
        while time.monotonic() - started < 2.3:  # when the wills of those who came back would be due
            witness.quiet()
            time.sleep(0.1)

    def test_will_properties(self):
        """
        They go out with the message; user properties in their order, also when a name is there twice.
        5.0: 3.1.3-10, 3.3.2-18
        """
        witness = self.subscriber("will")
        pairs = [("b", "1"), ("a", "2"), ("b", "0"), ("", ""), ("a", "2")]
        properties = {"payload_format": 1, "message_expiry": 500, "content_type": "text/plain", "response_topic": "r/1", "correlation_data": b"\x00\xff",
                      "user_property": pairs}
        self.client("mortal", will=Will(self.own("will"), "Grüße", 1, properties={"will_delay": 0, **properties})).close()
        found = witness.take(self.own("will"), "Grüße")
        self.assertIn(found.properties.pop("message_expiry"), (499, 500))
        del properties["message_expiry"]
        self.assertEqual(found.properties, properties)


class Refusing(BrokerProtocol):
    @classmethod
    def options(cls, directory):
        passwords = directory / "passwords"
        passwords.write_text(password_line("ann", "secret") + password_line("bob", "secret"))
        passwords.chmod(0o600)
        return {"password_file": str(passwords), "acl": [
            {"user": "ann", "allow": "all", "topics": ["#"]}, {"user": "bob", "allow": "all", "topics": ["open/#"]},
            {"user": "bob", "deny": "all", "topics": ["secret/#"]}]}

    @each_version(3, 4, 5)
    def test_who_may_not_connect_is_told_and_closed(self, version):
        """
        Wrong passwords, none, users that are not there, a will that its user may not publish: the code, no session present, the end, no DISCONNECT.
        A client identifier is refused only when it is another user's (0x87).
        5.0: 3.1.3-8, 3.1.4-2, 3.2.2-6, 3.2.2-7, 3.14.0-1, 4.13.2-1
        3.1.1: 3.2.2-4, 3.2.2-5, 3.1.4-5
        """
        bad, denied = (0x86, 0x87) if version == 5 else (4, 5)
        held = self.lasting("held", version, user="ann", password="secret")
        held.disconnect()
        for connect, reasons in ((Connect(self.own("held"), False, user="ann", password="wrong"), [bad, denied]),
                                 (Connect(self.own("held"), False, user="ann", password=""), [bad, denied]),
                                 (Connect(self.own("held"), False, user="ann"), [bad, denied]),
                                 (Connect(self.own("held"), False, user="eve", password="secret"), [bad, denied]),
                                 (Connect(self.own("held"), False), [denied]),
                                 (Connect(self.own("held"), False, user="bob", password="secret"), [denied]),  # another user's session
                                 (Connect(self.own("w"), user="bob", password="secret", will=Will("secret/x")), [denied])):
            client = self.raw(version)
            client.send(connect, Subscribe(1, "open/#"), Pingreq())
            answer = client.expect(Connack, present=False)
            self.assertIn(answer.reason, reasons, connect)
            client.expect_closed()
        self.lasting("held", version, present=True, user="ann", password="secret")

    @each_version(3, 4, 5)
    def test_subscriptions_that_are_not_allowed(self, version):
        """
        A reason for each filter, in their order: the granted QoS or a failure, which is not subscribed.
        5.0: 3.8.4-5, 3.8.4-6, 3.8.4-7, 3.9.3-1
        3.1.1: 3.8.4-4, 3.8.4-5, 3.9.3-1
        """
        client = self.client("bob", version, user="bob", password="secret")
        failure = 0x87 if version == 5 else 0x80
        filters = [(f"open/{self.mark}/a", 2), ("secret/#", 2), (f"open/{self.mark}/b", 0), ("$delayed/1/open", 0), (f"open/{self.mark}/c", 1)]
        client.subscribe(filters, granted=[2, failure, 0, failure, 1])
        ann = self.client("ann", user="ann", password="secret")
        ann.publish("secret/x", b"x", 1)
        for name in "abc":
            ann.publish(f"open/{self.mark}/{name}", b"x", 2)
        self.assertEqual([one.qos for one in client.collect(3)], [2, 0, 1])

    @each_version(3, 4, 5)
    def test_messages_that_are_not_allowed(self, version):
        """
        MQTT 5 says so and keeps the connection; older versions acknowledge it. Nobody gets it. A packet identifier that was refused is free again.
        5.0: 3.3.4-1, 4.3.3-9
        3.1.1: 3.3.5-2
        """
        ann = self.client("ann", user="ann", password="secret")
        ann.subscribe("#", 2)
        client = self.client("bob", version, user="bob", password="secret")
        refusal = 0x87 if version == 5 else 0
        client.send(Publish("secret/x", b"0"), Publish("secret/x", b"1", 1, 7), Publish("secret/x", b"2", 2, 8))
        client.expect(Puback, packet_id=7, reason=refusal)
        client.expect(Pubrec, packet_id=8, reason=refusal)
        if version != 5:
            client.send(Pubrel(8))
            client.expect(Pubcomp, packet_id=8)
        ann.quiet()
        client.send(Publish(f"open/{self.mark}", b"3", 2, 8))
        client.expect(Pubrec, packet_id=8, reason=0)
        client.send(Pubrel(8))
        client.expect(Pubcomp, packet_id=8, reason=0)
        ann.take(f"open/{self.mark}", b"3")


class Limited(BrokerProtocol):
    """A server without QoS 2, retained messages and topic aliases, and with a keep alive of its own."""
    OPTIONS = {"max_qos": 1, "retain_available": False, "max_topic_alias": 0, "max_keepalive": 1}

    def test_what_is_not_there_is_told(self):
        """
        Maximum QoS, Retain Available and Server Keep Alive in CONNACK.
        5.0: 3.2.2-9
        """
        properties = self.client("asks").connack.properties
        self.assertEqual((properties["maximum_qos"], properties["retain_available"], properties["server_keep_alive"]), (1, 0, 1))
        self.assertEqual(properties.get("topic_alias_maximum", 0), 0)

    @each_version(4, 5)
    def test_subscriptions_take_any_qos(self, version):
        """
        They are granted as far as it goes.
        5.0: 3.2.2-10, 3.8.4-7
        """
        client = self.client("reader", version, keepalive=1)  # MQTT 3 has no words for another keep alive than its own
        client.subscribe([(self.own("a"), 0), (self.own("b"), 1), (self.own("c"), 2)], granted=[0, 1, 1])
        publisher = self.client("publisher")
        for name in "abc":
            publisher.publish(self.own(name), b"x", 1)
        self.assertEqual([one.qos for one in client.collect(3)], [0, 1, 1])

    @each_version(4, 5)
    def test_wills_that_are_too_much_are_refused(self, version):
        """
        QoS 2 and retain. MQTT 3.1.1 has no code for it: closing is all.
        5.0: 3.2.2-12, 3.2.2-13, 3.2.2-7
        3.1.1: 3.2.2-6
        """
        for will, reason in ((Will("w", qos=2), 0x9B), (Will("w", retain=True), 0x9A)):
            client = self.raw(version)
            client.send(Connect(self.own("mortal"), will=will), Pingreq())
            if version == 5:
                client.expect(Connack, present=False, reason=reason)
            client.expect_closed()

    def test_messages_that_are_too_much_close(self):
        """
        QoS 2, RETAIN and topic aliases from a client that was told.
        5.0: 3.2.2-11, 3.2.2-14, 3.2.2-18, 4.13.1-1
        """
        for reason, how in ((0x9B, {"qos": 2, "packet_id": 1}), (0x9A, {"retain": True}), (0x94, {"properties": {"topic_alias": 1}})):
            client = self.client("culprit")
            client.send(Publish(self.own("a"), b"x", **how), Pingreq())
            client.expect_closed(reason)

    def test_the_servers_keep_alive_counts(self):
        """
        A client that asked for a minute, or for none, and was told a second.
        5.0: 3.1.2-22
        """
        clients = [self.client("minute", keepalive=60), self.client("none", keepalive=0)]
        started = time.monotonic()
        for client in clients:
            self.assertEqual(client.connack.properties["server_keep_alive"], 1)
            client.expect_closed(0x8D)
        self.assertGreater(time.monotonic() - started, 1.2)


class Framed(BrokerProtocol):
    """WebSocket."""
    LISTENER = {"protocol": "websocket"}

    def peer(self):
        peer = WebSocketPeer(self.port)
        self.clients.append(peer)
        return peer

    def test_packets_and_frames_need_not_be_aligned(self):
        """
        Packets in pieces over several frames, several in one; binary frames come back, and a text frame is the end.
        5.0: 6.0.0-1, 6.0.0-2
        3.1.1: 6.0.0-1, 6.0.0-2
        """
        for version in (3, 4, 5):
            peer, connect = self.peer(), Connect(self.own("framed"), keepalive=0).encode(version)
            peer.send(connect[:5], fin=False)
            peer.send(connect[5:9], opcode=0)
            peer.send(connect[9:])
            opcode, data = peer.receive()
            self.assertEqual((opcode, data[0]), (2, 0x20))
            peer.send(b"\xc0\x00\xc0\x00\xc0")
            peer.send(b"\x00")
            answers = b""
            while len(answers) < 6:
                opcode, data = peer.receive()
                self.assertEqual(opcode, 2)
                answers += data
            self.assertEqual(answers, b"\xd0\x00" * 3)
            peer.send(b"\xc0\x00", opcode=1)
            peer.expect_end()

    def test_the_subprotocol_is_mqtt(self):
        """
        Chosen when it is offered, alone or among others; a client that offers others only is not let in.
        5.0: 6.0.0-3, 6.0.0-4
        3.1.1: 6.0.0-3, 6.0.0-4
        """
        for offer, chosen in (("mqtt", True), ("chat, mqtt", True), ("mqtt,mqttv3.1", True), ("chat", False), ("mqttx", False), (None, False)):
            with self.subTest(offer), socket.create_connection(("127.0.0.1", self.port), timeout=10 * settings.PATIENCE) as peer:
                peer.sendall(("GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
                              (f"Sec-WebSocket-Protocol: {offer}\r\n" if offer else "") + "\r\n").encode())
                stream = peer.makefile("rb")
                status = stream.readline()
                head = dict(line.decode().rstrip().lower().split(": ", 1) for line in iter(stream.readline, b"\r\n") if b": " in line) if chosen else {}
                self.assertEqual(b" 101 " in status, chosen, status)
                self.assertEqual(head.get("sec-websocket-protocol"), "mqtt" if chosen else None)
                stream.close()
