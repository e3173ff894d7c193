"""
SUBSCRIBE and UNSUBSCRIBE, what matches, overlapping and shared subscriptions, from the specifications' point of view: packet in, exact packet out. Each
test names the statements that it proves.
"""
from tests.support.broker_protocol import BrokerProtocol, each_version
from tests.support.mqtt_raw import NO_LOCAL, Puback, Publish, Pubcomp, Pubrec, Pubrel, Suback, Subscribe, Unsubscribe

# filter: topics that it matches, of TOPICS (below a prefix that the test puts before both)
TOPICS = ("", "/", "a", "/a", "a/", "a/b", "a//b", "a/b/c", "a/B", "A/b", "b", "a b", "Grüße/é", "Grüße/e\u0301", "\ufeffa", "a/$x")
MATCHES = {
    "#": set(TOPICS), "+": {"", "a", "b", "a b", "\ufeffa"}, "+/+": {"/", "/a", "a/", "a/b", "a/B", "A/b", "Grüße/é", "Grüße/e\u0301", "a/$x"},
    "a": {"a"}, "/a": {"/a"}, "a/": {"a/"}, "a/#": {"a", "a/", "a/b", "a//b", "a/b/c", "a/B", "a/$x"}, "a/+": {"a/", "a/b", "a/B", "a/$x"},
    "a/+/b": {"a//b"}, "a//b": {"a//b"}, "+/b": {"a/b", "A/b"}, "+/b/#": {"a/b", "A/b", "a/b/c"}, "a b": {"a b"}, "Grüße/é": {"Grüße/é"},
    "\ufeffa": {"\ufeffa"}, "/": {"/"}, "/+": {"/", "/a"}, "/#": {"", "/", "/a"}, "+/#": set(TOPICS), "a/+/+": {"a//b", "a/b/c"},
}


class Subscribing(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_suback(self, version):
        """
        With the request's identifier, and a reason for each filter in their order: the granted QoS.
        5.0: 2.2.1-6, 3.8.4-1, 3.8.4-2, 3.8.4-6, 3.8.4-7, 3.9.3-1
        3.1.1: 2.3.1-7, 3.8.4-1, 3.8.4-2, 3.8.4-5, 3.9.3-1
        """
        client, none = self.client("reader", version), b"\x00" if version == 5 else b""
        client.send(Subscribe(0x1234, self.own("a"), 1))
        self.assertEqual(client.receive_bytes(), bytes([0x90, 3 + len(none)]) + b"\x12\x34" + none + b"\x01")
        client.send(Subscribe(0xFFFF, [(self.own("a"), 2), (self.own("b"), 0), (self.own("c"), 1), (self.own("a"), 0), (self.own("+"), 2)]))
        self.assertEqual(client.receive_bytes(), bytes([0x90, 7 + len(none)]) + b"\xff\xff" + none + b"\x02\x00\x01\x00\x02")
        client.quiet()

    @each_version(3, 4, 5)
    def test_several_filters_are_like_several_requests(self, version):
        """
        One SUBACK for all, and each filter is subscribed with its own QoS; the same for UNSUBSCRIBE.
        5.0: 3.8.4-5, 3.10.4-6
        3.1.1: 3.8.4-4, 3.10.4-6
        """
        client, publisher = self.client("reader", version), self.client("publisher")
        client.subscribe([(self.own(f"{n}"), n % 3) for n in range(12)])
        def publish_all():
            for n in range(12):
                publisher.publish(self.own(f"{n}"), b"%d" % n, 2)
        publish_all()
        self.assertEqual([(int(one.payload), one.qos) for one in sorted(client.collect(12), key=lambda one: int(one.payload))], [(n, n % 3) for n in range(12)])
        answer = client.unsubscribe([self.own(f"{n}") for n in range(11)])
        self.assertEqual(answer.reasons, [0] * 11 if version == 5 else [])
        publish_all()
        client.take(self.own("11"))
        client.quiet()

    @each_version(3, 4, 5)
    def test_delivery_has_the_lower_qos(self, version):
        """
        Of the one that it was published with and the granted one.
        5.0: 3.8.4-8
        3.1.1: 3.8.4-6
        """
        publisher = self.client("publisher", version)
        for granted in (0, 1, 2):
            client = self.client(f"reader{granted}", version)
            client.subscribe(self.own("a"), granted)
            for published in (0, 1, 2):
                publisher.publish(self.own("a"), b"%d" % published, published)
            self.assertEqual([(one.payload, one.qos) for one in client.collect(3)], [(b"%d" % n, min(n, granted)) for n in (0, 1, 2)])
            client.quiet()

    @each_version(3, 4, 5)
    def test_same_filter_replaces_the_subscription(self, version):
        """
        One delivery from then on, with the new QoS and the new options; other filters, though they match the same, stay.
        5.0: 3.8.4-3
        3.1.1: 3.8.4-3
        """
        client, publisher = self.client("reader", version), self.client("publisher")
        identified = lambda n: {"properties": {"subscription_id": n}} if version == 5 else {}
        for n, qos in enumerate((0, 2, 1), 1):
            client.subscribe([(self.own("a"), qos)], **identified(n))
            publisher.publish(self.own("a"), b"%d" % n, 2)
            found = client.take(self.own("a"), b"%d" % n, qos=qos)
            self.assertEqual(found.properties, {"subscription_id": [n]} if version == 5 else {})
            client.quiet()
        if version == 5:
            client.subscribe([(self.own("a"), 1)])
            publisher.publish(self.own("a"), b"plain", 2)
            self.assertEqual(client.take(self.own("a"), b"plain").properties, {})
            client.subscribe([(self.own("a"), 1 | NO_LOCAL)])
            client.publish(self.own("a"), b"own", 1)
            client.quiet()

    @each_version(4, 5)
    def test_nothing_is_lost_while_a_subscription_is_replaced(self, version):
        """
        Messages published meanwhile all come, once, and in their order.
        5.0: 3.8.4-3, 3.8.4-4
        3.1.1: 3.8.4-3
        """
        client, publisher = self.client("reader", version), self.client("publisher", 4)
        client.subscribe(self.own("a"), 1)
        found, answers = [], 0
        for n in range(200):
            publisher.send(Publish(self.own("a"), b"%d" % n, 1, n + 1))
            client.send(Subscribe(n + 1, self.own("a"), 1))
        while len(found) < 200 or answers < 200:
            one = client.receive()
            if isinstance(one, Publish):
                found.append(int(one.payload))
                client.send(Puback(one.packet_id))
            else:
                self.assertIsInstance(one, Suback)
                answers += 1
        self.assertEqual(found, list(range(200)))

    def test_no_local(self):
        """
        A client's own messages do not come back on that subscription; those of others do, and its own on another one.
        5.0: 3.8.3-3
        """
        client, other = self.client("one"), self.client("other")
        client.subscribe([(self.own("a"), 2 | NO_LOCAL), (self.own("b"), 2)])
        for qos in (0, 1, 2):
            client.publish(self.own("a"), b"own", qos)
        client.quiet()
        other.publish(self.own("a"), b"other's", 1)
        client.take(self.own("a"), b"other's")
        client.send(Publish(self.own("b"), b"own"))
        client.take(self.own("b"), b"own")
        client.disconnect()
        lasting = self.lasting("lasting")
        lasting.subscribe([(self.own("c"), 1 | NO_LOCAL)])
        lasting.publish(self.own("c"), b"own", 1, retain=True)
        lasting.quiet()
        lasting.disconnect()
        self.lasting("lasting", present=True).quiet()

    @each_version(3, 4, 5)
    def test_unsubscribe(self, version):
        """
        UNSUBACK with the identifier, also when nothing was there; filters are compared character by character, and nothing new comes for those that went.
        5.0: 2.2.1-6, 3.10.4-1, 3.10.4-2, 3.10.4-4, 3.10.4-5, 3.11.3-1
        3.1.1: 2.3.1-7, 3.10.4-1, 3.10.4-2, 3.10.4-4, 3.10.4-5
        """
        client, publisher = self.client("reader", version), self.client("publisher")
        client.subscribe([self.own("+"), self.own("a"), self.own("b/#"), self.own("é")], 1)
        client.send(Unsubscribe(0x1234, [self.own("#"), self.own("A"), self.own("a/"), self.own("b/+"), self.own("e\u0301"), self.own("b")]))
        self.assertEqual(client.receive_bytes(), b"\xb0\x09\x12\x34\x00" + b"\x11" * 6 if version == 5 else b"\xb0\x02\x12\x34")
        for name in ("a", "b/x"):
            publisher.publish(self.own(name), name, 1)
        self.assertEqual({one.topic for one in client.collect(2)}, {self.own("a"), self.own("b/x")})
        client.send(Unsubscribe(0xFFFF, [self.own("none"), self.own("a"), self.own("b/#"), self.own("b/#"), self.own("é")]))
        self.assertEqual(client.receive_bytes(), b"\xb0\x08\xff\xff\x00\x11\x00\x00\x11\x00" if version == 5 else b"\xb0\x02\xff\xff")
        publisher.publish(self.own("b/x"), b"x", 1)
        publisher.publish(self.own("a"), b"by +", 1)
        client.take(self.own("a"), b"by +")
        client.quiet()

    @each_version(3, 4, 5)
    def test_what_is_in_flight_is_finished_behind_unsubscribe(self, version):
        """
        QoS 1 and 2 that were begun go on to their ends, on the next connection, too; what was queued may.
        5.0: 3.10.4-3
        3.1.1: 3.10.4-3
        """
        client, publisher = self.lasting("reader", version), self.client("publisher")
        client.subscribe(self.own("a"), 2)
        for qos in (1, 2, 2):
            publisher.publish(self.own("a"), b"x", qos)
        one, two, three = [client.expect(Publish, payload=b"x", qos=qos) for qos in (1, 2, 2)]
        client.unsubscribe(self.own("a"))
        publisher.publish(self.own("a"), b"late", 2)
        client.send(Pubrec(two.packet_id))
        client.expect(Pubrel, packet_id=two.packet_id, reason=0)
        client.send(Pubcomp(two.packet_id))
        client.quiet()
        self.closes(client)
        client = self.lasting("reader", version, present=True)
        client.expect(Publish, packet_id=one.packet_id, dup=True)
        client.expect(Publish, packet_id=three.packet_id, dup=True)
        client.send(Puback(one.packet_id), Pubrec(three.packet_id))
        client.expect(Pubrel, packet_id=three.packet_id)
        client.send(Pubcomp(three.packet_id))
        client.quiet()


class SubscribingOnDisk(Subscribing):
    PERSISTENCE = True


class Matching(BrokerProtocol):
    @each_version(4, 5)
    def test_what_is_sent_matches_and_is_as_it_was_published(self, version):
        """
        Filters against topics: with empty levels, other case, composed and decomposed letters, a byte order mark; nothing is changed in them.
        5.0: 3.3.2-3, 4.7.3-4, 1.5.4-3
        3.1.1: 3.3.2-3, 4.7.3-4, 1.5.3-3
        """
        prefix, publisher = self.mark, self.client("publisher")
        readers = {}
        for number, name in enumerate(MATCHES):
            readers[name] = self.client(f"reader{number}", version)
            readers[name].subscribe(f"{prefix}/{name}")
        for topic in TOPICS:
            publisher.publish(f"{prefix}/{topic}", topic)
        publisher.publish(f"{prefix}x/a", b"another root")
        publisher.publish(f"x/{prefix}/a", b"another root")
        publisher.ping()
        for name, reader in readers.items():
            found = []
            reader.send(Subscribe(9, f"{prefix}/end"))
            while not isinstance(one := reader.receive(), Suback):
                found.append((one.topic, one.payload.decode()))
            with self.subTest(filter=name):
                wanted = [(f"{prefix}/{topic}", topic) for topic in TOPICS if topic in MATCHES[name]]
                self.assertEqual(found, wanted)

    @each_version(3, 4, 5)
    def test_leading_wildcards_match_no_topic_with_a_dollar(self, version):
        """
        `#`, `+/x` and `+/#` do not get `$…`; `$name/#` and `$name/+` do, live and retained.
        5.0: 4.7.2-1
        3.1.1: 4.7.2-1
        """
        publisher, name = self.client("publisher"), f"${self.mark}"
        wild, own = self.client("wild", version), self.client("own", version)
        wild.subscribe(["#", "+/x", "+/#", "+/+", "/#"])
        own.subscribe([f"{name}/#"])
        publisher.publish(f"{name}/x", b"live", 1, retain=True)
        own.take(f"{name}/x", b"live")
        late, late_own = self.client("late", version), self.client("late own", version)
        late.subscribe([f"{self.mark}/+", "+/x"])
        late_own.subscribe(f"{name}/+")
        late_own.take(f"{name}/x", b"live")
        publisher.publish(f"{name}/x", b"", retain=True)
        own.take(f"{name}/x", b"")
        late.quiet()
        wild.quiet()


class Overlapping(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_overlapping_subscriptions_deliver_the_highest_qos(self, version):
        """
        A message that several of a client's filters match comes with the highest of their QoS, and no higher than published. Here it comes once.
        5.0: 3.3.4-2, 3.3.4-4
        3.1.1: 3.3.5-1
        """
        client, publisher = self.client("reader", version), self.client("publisher", version)
        client.subscribe([(self.own("a"), 0), (self.own("+"), 2), (self.own("#"), 1), (self.own("b/#"), 1), (self.own("b/+"), 0)])
        for name, published, wanted in (("a", 2, 2), ("a", 1, 1), ("a", 0, 0), ("b", 2, 2), ("b/c", 2, 1), ("b/c/d", 2, 1)):
            publisher.publish(self.own(name), b"x", published)
            client.take(self.own(name), b"x", qos=wanted)
            client.quiet()

    def test_subscription_identifiers(self):
        """
        One copy has those of all filters that match and have one, in any order; a later SUBSCRIBE changes or removes one; a queued message keeps its own.
        5.0: 3.3.4-3, 3.3.4-4
        """
        client, publisher = self.lasting("reader"), self.client("publisher")
        def subscribe(name, number=None, qos=1):
            client.subscribe([(self.own(name), qos)], properties={"subscription_id": number} if number else {})
        subscribe("a", 1)
        subscribe("+", 268435455, 2)
        subscribe("#", 128)
        subscribe("b", 16384)
        subscribe("+/#")
        def arrives(name, *numbers):
            publisher.publish(self.own(name), b"x", 2)
            found = client.take(self.own(name), b"x")
            self.assertEqual(sorted(found.properties.get("subscription_id", [])), sorted(numbers))
            client.quiet()
        arrives("a", 1, 128, 268435455)
        arrives("b", 128, 16384, 268435455)
        arrives("c/d", 128)
        subscribe("#", 2)
        subscribe("+")
        arrives("a", 1, 2)
        client.disconnect()
        publisher.publish(self.own("a"), b"queued", 2)
        client = self.lasting("reader", present=True)
        found = client.take(self.own("a"), b"queued")
        self.assertEqual(sorted(found.properties["subscription_id"]), [1, 2])
        publisher.publish(self.own("r"), b"kept", 1, retain=True)
        client.take(self.own("r"), b"kept")
        subscribe("r", 77)
        self.assertEqual(client.take(self.own("r"), b"kept", retain=True).properties, {"subscription_id": [77]})


class Shared(BrokerProtocol):
    def member(self, name, qos, **how):
        client = self.lasting(name, **how)
        client.subscribe([(f"$share/g/{self.own('a')}", qos)])
        return client

    def test_granted_qos_counts(self):
        """
        A member gets no more than it was granted, and no more than was published; each message goes to one member.
        5.0: 4.8.2-3
        """
        for granted in (0, 1, 2):
            members, publisher = [self.member(f"m{granted}{n}", granted) for n in range(2)], self.client("publisher")
            for published in (0, 1, 2, 2):
                publisher.publish(self.own("a"), b"%d" % published, published)
            found = []
            for member in members:
                member.send(Subscribe(9, self.own("end")))
                while not isinstance(one := member.receive(), Suback):
                    found.append((int(one.payload), one.qos))
            self.assertEqual(sorted(found), sorted((n, min(n, granted)) for n in (0, 1, 2, 2)))
            self.begin()

    def begun(self, version=5):
        """A QoS 2 message that one of two members has got and not answered: (that member's name, the PUBLISH, the other member)."""
        first, publisher = self.member("first", 2), self.client("publisher")
        publisher.publish(self.own("a"), b"x", 2)
        found = first.expect(Publish, payload=b"x", qos=2)
        return first, found, self.member("second", 2)

    def test_qos_2_is_finished_with_the_same_member(self):
        """
        It is away for a while: the message waits for it, and the other one does not get it.
        5.0: 4.8.2-4
        """
        first, found, second = self.begun()
        self.closes(first)
        second.quiet()
        first = self.lasting("first", present=True)
        first.expect(Publish, payload=b"x", packet_id=found.packet_id, dup=True)
        first.send(Pubrec(found.packet_id))
        first.expect(Pubrel, packet_id=found.packet_id)
        self.closes(first)
        second.quiet()
        first = self.lasting("first", present=True)
        first.expect(Pubrel, packet_id=found.packet_id)
        first.send(Pubcomp(found.packet_id))
        first.quiet()
        second.quiet()

    def test_qos_2_goes_to_nobody_else_when_its_session_ends(self):
        """
        The member that has begun it does not come back: the message is over.
        5.0: 4.8.2-5
        """
        first, _, second = self.begun()
        self.closes(first)
        self.client("first").disconnect()  # a clean start
        second.quiet()

    def test_refused_messages_go_to_nobody_else(self):
        """
        PUBACK and PUBREC with an error: the message is over.
        5.0: 4.8.2-6
        """
        first, found, second = self.begun()
        first.send(Pubrec(found.packet_id, 0x83))
        first.quiet()
        second.quiet()
        second.unsubscribe(f"$share/g/{self.own('a')}")
        self.client("publisher2").publish(self.own("a"), b"y", 1)
        found = first.expect(Publish, payload=b"y", qos=1)
        second.subscribe([(f"$share/g/{self.own('a')}", 2)])
        first.send(Puback(found.packet_id, 0x83))
        first.quiet()
        second.quiet()
