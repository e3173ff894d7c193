"""
What MQTT 5's properties do: those that are passed on, message expiry, the client's limits for what it is sent. From the specification's point of view:
packet in, exact packet out. Each test names the statements that it proves.
"""
import time

from tests.support.broker_protocol import BrokerProtocol, each_version
from tests.support.mqtt_raw import Connect, Puback, Publish, Pubrel, Subscribe, Unsubscribe

PASSED_ON = {
    "payload_format": 1, "content_type": "text/plain; charset=utf-8", "response_topic": "answers/Grüße//é", "correlation_data": bytes(range(256)),
    "user_property": [("b", "2"), ("a", "1"), ("b", "1"), ("", ""), ("a", "1"), ("\ufeffkey", "e\u0301")],
}


class PassedOn(BrokerProtocol):
    def test_properties_are_passed_on_unaltered(self):
        """
        Live, retained and queued, with each QoS: all of them, user properties in their order; nothing is added to a message without any.
        5.0: 3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20
        """
        publisher, away = self.client("publisher"), self.lasting("away")
        away.subscribe(self.own("#"), 2)
        away.disconnect()
        live = self.subscriber("#")
        for qos in (0, 1, 2):
            for properties in (PASSED_ON, {"payload_format": 0}, {}, {"correlation_data": b""}, {"user_property": [("x" * 300, "y" * 30_000)]}):
                publisher.publish(self.own(f"{qos}"), "Grüße", qos, properties=properties, retain=True)
                self.assertEqual(live.take(self.own(f"{qos}"), "Grüße", qos=qos).properties, properties)
            publisher.publish(self.own(f"{qos}"), "Grüße", qos, properties=PASSED_ON, retain=True)
            live.take(self.own(f"{qos}"), "Grüße", qos=qos)
        for found in self.subscriber("#", name="late").collect(3):
            self.assertEqual(found.properties, PASSED_ON)
        found = self.lasting("away", present=True).collect(12)
        self.assertEqual([one.properties for one in found[:6]], [PASSED_ON, {"payload_format": 0}, {}, {"correlation_data": b""},
                                                                  {"user_property": [("x" * 300, "y" * 30_000)]}, PASSED_ON])

    @each_version(3, 4)
    def test_older_versions_get_the_message_without(self, version):
        """
        What they get is a PUBLISH of theirs; what they send has no properties for others.
        5.0: 3.3.2-4
        """
        reader, newer = self.client("reader", version), self.subscriber("#")
        reader.subscribe(self.own("#"), 1)
        self.client("publisher").publish(self.own("a"), b"x", 1, properties={**PASSED_ON, "payload_format": 0})
        reader.take(self.own("a"), b"x")
        newer.take(self.own("a"), b"x")
        reader.send(Publish(self.own("b"), b"y"))
        reader.take(self.own("b"), b"y")
        self.assertEqual(newer.take(self.own("b"), b"y").properties, {})

    def test_payloads_are_any_bytes(self):
        """
        Without a format, and with 0.
        5.0: 3.3.2-4
        """
        live, publisher = self.subscriber("#"), self.client("publisher")
        for properties in ({}, {"payload_format": 0}):
            publisher.publish(self.own("a"), bytes(range(256)), 1, properties=properties)
            self.assertEqual(live.take(self.own("a"), bytes(range(256))).properties, properties)

    def test_message_expiry(self):
        """
        What is left of it goes out; expired messages do not, be they queued, retained, or waiting for room in the window.
        5.0: 3.3.2-5, 3.3.2-6
        """
        publisher, away, slow = self.client("publisher"), self.lasting("away"), self.client("slow", properties={"receive_maximum": 1})
        away.subscribe(self.own("#"), 2)
        away.disconnect()
        live = self.subscriber("#")
        slow.subscribe(self.own("#"), 2)
        started = time.monotonic()
        for number, expiry in enumerate((None, 1, 100, 0xFFFFFFFF)):
            properties = {} if expiry is None else {"message_expiry": expiry}
            publisher.publish(self.own(f"{number}"), b"x", 1, properties=properties, retain=True)
            left = live.take(self.own(f"{number}"), b"x").properties.get("message_expiry")
            self.assertTrue(left is None if expiry is None else expiry - (time.monotonic() - started) - 1 <= left <= expiry, left)
        waiting = slow.expect(Publish, topic=self.own("0"))
        time.sleep(2.1)  # the time of one of them, and two seconds of the others', and that is what is waited for
        slow.send(Puback(waiting.packet_id))
        late, away = self.subscriber("#", name="late"), self.lasting("away", present=True)
        for client in (slow, late, away):
            numbers = ("2", "3") if client is slow else ("0", "2", "3")
            found = {one.topic: one.properties.get("message_expiry") for one in client.collect(len(numbers))}
            passed = int(time.monotonic() - started) + 1
            self.assertEqual(set(found), {self.own(name) for name in numbers})
            self.assertIsNone(found.get(self.own("0")))
            self.assertIn(found[self.own("2")], range(100 - passed, 100 - 1))
            self.assertIn(found[self.own("3")], range(0xFFFFFFFF - passed, 0xFFFFFFFF - 1))
            client.quiet()


class PassedOnOnDisk(PassedOn):
    PERSISTENCE = True


class TheClientsLimits(BrokerProtocol):
    def test_maximum_packet_size(self):
        """
        Messages above it are not sent and count as sent: live, retained, queued, shared; those that fit to the byte are.
        5.0: 3.1.2-24, 3.1.2-25
        """
        publisher = self.client("publisher")
        overhead = 2 + 2 + len(self.own("a")) + 2 + 1  # of a QoS 1 PUBLISH below 128 bytes
        limits = {"maximum_packet_size": 100, "receive_maximum": 1}
        fits, large = b"f" * (100 - overhead), b"l" * (100 - overhead + 1)
        reader = self.lasting("reader", properties=limits)
        reader.subscribe(self.own("a"), 2)
        for qos in (0, 1, 2):
            publisher.publish(self.own("a"), large + b"l" * 2, qos)
        publisher.publish(self.own("a"), large, 1)
        publisher.publish(self.own("a"), fits, 1)
        publisher.publish(self.own("a"), large, 2)
        publisher.publish(self.own("a"), b"small", 2)
        reader.take(self.own("a"), fits, qos=1)
        reader.take(self.own("a"), b"small", qos=2)
        reader.quiet()
        self.closes(reader)
        publisher.publish(self.own("a"), large, 1, retain=True)
        reader = self.lasting("reader", present=True, properties=limits)
        reader.quiet()
        reader.subscribe(self.own("a"), 1)  # retained
        reader.quiet()
        self.closes(reader)
        self.lasting("reader", present=True).quiet()  # nor later, without a limit

    def test_maximum_packet_size_of_other_packets(self):
        """
        A CONNACK that does not fit is not sent, nor is anything else.
        5.0: 3.1.2-24
        """
        for size in (1, 2, 3, 4):
            client = self.raw(5)
            client.send(Connect(self.own("tiny"), properties={"maximum_packet_size": size}))
            self.assertIsNone(client.receive())
        client = self.client("small", properties={"maximum_packet_size": 20})
        client.subscribe(self.own("a"), 1)
        packet_id = client.next_id()
        client.send(Subscribe(packet_id, [self.own(f"{n}") for n in range(30)]))
        found = client.receive_bytes()  # the SUBACK for 30 filters has 35 bytes
        self.assertTrue(found is None or len(found) <= 20, found)

    def test_topic_aliases(self):
        """
        Only up to the client's maximum, none when that is 0 or not there; an alias stands for its topic, and only once the client has had both.
        5.0: 3.1.2-26, 3.1.2-27, 3.3.2-11
        """
        publisher = self.client("publisher")
        for maximum in (None, 0, 1, 2, 65535):
            self.begin()
            reader = self.client("reader", properties={} if maximum is None else {"topic_alias_maximum": maximum})
            reader.subscribe(self.own("#"), 2)
            known = {}
            for n in range(40):
                publisher.publish(self.own(f"{n % 5}"), b"%d" % n, n % 3)
            for one in reader.collect(40):
                alias = one.properties.get("topic_alias")
                self.assertLessEqual(alias or 0, maximum or 0)
                self.assertNotEqual(alias, 0)
                if alias and one.topic:
                    known[alias] = one.topic
                self.assertTrue(one.topic or alias in known, one)
                self.assertEqual(known[alias] if alias and not one.topic else one.topic, self.own(f"{int(one.payload) % 5}"))
            self.assertEqual(len(known) > 0, bool(maximum), "aliases are used where they may be")

    def test_topic_aliases_of_messages_that_were_not_sent(self):
        """
        A message that is too large for the client has told it no alias: the next one on its topic comes with its topic.
        5.0: 3.1.2-25, 3.3.2-11
        """
        publisher = self.client("publisher")
        for qos in (0, 1, 2):
            reader = self.client("reader", properties={"topic_alias_maximum": 5, "maximum_packet_size": 100})
            reader.subscribe(self.own("#"), 2)
            publisher.publish(self.own("a"), b"x" * 200, qos)
            publisher.publish(self.own("a"), b"small", qos)
            publisher.publish(self.own("a"), b"small", qos)
            first, second = reader.collect(2)
            self.assertEqual((first.topic, first.payload), (self.own("a"), b"small"))
            self.assertEqual(second.properties.get("topic_alias"), first.properties.get("topic_alias"))

    def test_a_message_that_fits_only_without_an_alias(self):
        """
        The three bytes of an alias are the server's own: a message is not too large because of them.
        5.0: 3.1.2-25, 3.3.2-11
        """
        reader = self.client("reader", properties={"topic_alias_maximum": 5, "maximum_packet_size": 100})
        reader.subscribe(self.own("#"), 0)
        fits = b"f" * (100 - 2 - 2 - len(self.own("a")) - 1)
        publisher = self.client("publisher")
        for payload in (fits, b"small", fits, fits + b"f"):
            publisher.publish(self.own("a"), payload)
        found = [reader.expect(Publish) for _ in range(3)]
        self.assertEqual([(one.topic, one.payload) for one in found[:2]], [(self.own("a"), fits), (self.own("a"), b"small")])
        self.assertEqual(found[2].payload, fits)

    def test_topic_aliases_are_new_on_a_new_connection(self):
        """
        What the last connection had is unknown, for messages that come again, too.
        5.0: 3.3.2-7
        """
        publisher, maximum = self.client("publisher"), {"topic_alias_maximum": 5}
        reader = self.lasting("reader", properties=maximum)
        reader.subscribe(self.own("#"), 1)
        for _ in range(2):
            publisher.publish(self.own("a"), b"x", 1)
        first, second = reader.expect(Publish), reader.expect(Publish)
        self.assertEqual((first.topic, second.topic), (self.own("a"), ""))
        self.closes(reader)
        reader = self.lasting("reader", present=True, properties=maximum)
        self.assertEqual(reader.expect(Publish, dup=True, packet_id=first.packet_id).topic, self.own("a"))
        reader.expect(Publish, dup=True, packet_id=second.packet_id)

    def test_problem_information(self):
        """
        Without it no reason strings and user properties but in PUBLISH, CONNACK and DISCONNECT.
        5.0: 3.1.2-29
        """
        client = self.client("quiet", properties={"request_problem_information": 0})
        client.send(Publish("$SYS/x", b"x", 1, 1), Publish("$SYS/x", b"x", 2, 2), Pubrel(99), Subscribe(3, ["$delayed/1/a", self.own("a")]),
                    Unsubscribe(4, self.own("none")))
        for _ in range(5):
            found = client.receive()
            self.assertFalse({"reason_string", "user_property"} & set(found.properties), found)
        publisher = self.client("publisher")
        publisher.publish(self.own("a"), b"x", properties={"user_property": [("a", "b")]})
        self.assertEqual(client.take(self.own("a")).properties, {"user_property": [("a", "b")]})
