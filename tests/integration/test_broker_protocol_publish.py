"""
PUBLISH: the exchanges of each QoS in both directions, flow control, retained messages, order. From the specifications' point of view: packet in, exact
packet out. Each test names the statements that it proves.
"""
import time

from tests.support import settings
from tests.support.broker_protocol import BrokerProtocol, each_version
from tests.support.mqtt_raw import (RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER, Pingreq, Puback, Pubcomp, Publish,
                                    Pubrec, Pubrel, Suback, Subscribe, Unsuback, Unsubscribe, u16)


class Exchanges(BrokerProtocol):
    """From a client to the server."""

    @each_version(3, 4, 5)
    def test_answers_as_the_qos_asks(self, version):
        """
        None, PUBACK, or PUBREC and PUBCOMP, with the identifier of what they answer.
        5.0: 2.2.1-5, 3.3.4-1, 4.3.2-4, 4.3.3-8, 4.3.3-11
        3.1.1: 2.3.1-6, 3.3.4-1, 4.3.2-2, 4.3.3-2
        """
        witness = self.subscriber("a")
        client = self.client("publisher", version)
        client.send(Publish(self.own("a"), b"0"), Pingreq())
        self.assertEqual(client.receive_bytes(), b"\xd0\x00")
        client.send(Publish(self.own("a"), b"1", 1, 0x1234))
        self.assertEqual(client.receive_bytes(), b"\x40\x02\x12\x34")
        client.send(Publish(self.own("a"), b"2", 2, 0xFFFF))
        self.assertEqual(client.receive_bytes(), b"\x50\x02\xff\xff")
        client.send(Pubrel(0xFFFF))
        self.assertEqual(client.receive_bytes(), b"\x70\x02\xff\xff")
        self.assertEqual([(one.payload, one.qos) for one in witness.collect(3)], [(b"0", 0), (b"1", 1), (b"2", 2)])
        client.quiet()

    @each_version(3, 4, 5)
    def test_answers_without_subscribers(self, version):
        """
        The same; in MQTT 5 PUBACK may say 0x10.
        5.0: 3.3.4-1, 4.3.2-4
        3.1.1: 3.3.4-1
        """
        client = self.client("publisher", version)
        client.send(Publish(self.own("nobody"), b"1", 1, 7), Publish(self.own("nobody"), b"2", 2, 8), Pubrel(8))
        self.assertIn(client.receive_bytes(), (b"\x40\x02\x00\x07", b"\x40\x03\x00\x07\x10") if version == 5 else (b"\x40\x02\x00\x07",))
        self.assertIn(client.receive_bytes(), (b"\x50\x02\x00\x08", b"\x50\x03\x00\x08\x10") if version == 5 else (b"\x50\x02\x00\x08",))
        self.assertEqual(client.receive_bytes(), b"\x70\x02\x00\x08")

    @each_version(3, 4, 5)
    def test_qos_1_identifier_is_free_behind_puback(self, version):
        """
        The same identifier again is a new message, whatever DUP says.
        5.0: 4.3.2-5
        3.1.1: 4.3.2-2
        """
        witness, client = self.subscriber("a"), self.client("publisher", version)
        for n in range(3):
            client.send(Publish(self.own("a"), b"same", 1, 9, dup=n == 2))
            client.expect(Puback, packet_id=9)
        self.assertEqual(len(witness.collect(3)), 3)

    @each_version(3, 4, 5)
    def test_qos_2_is_passed_on_once_until_pubrel(self, version):
        """
        A repeat on a new connection, with DUP, gets PUBREC and goes to nobody; behind PUBCOMP the identifier is a new message's.
        5.0: 4.3.3-8, 4.3.3-10, 4.3.3-11, 4.3.3-12, 4.4.0-1
        3.1.1: 4.3.3-2
        """
        witness = self.subscriber("a")
        for n in range(4):
            client = self.lasting("publisher", version, present=n > 0)
            client.send(Publish(self.own("a"), b"once", 2, 5, dup=n > 0))
            client.expect(Pubrec, packet_id=5, reason=0)
            self.closes(client)
        self.assertEqual(len(witness.collect(1)), 1)
        witness.quiet()
        client = self.lasting("publisher", version, present=True)
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5, reason=0)
        client.send(Publish(self.own("a"), b"another", 2, 5))
        client.expect(Pubrec, packet_id=5, reason=0)
        witness.take(self.own("a"), b"another", qos=2, dup=False)
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5, reason=0)
        client.send(Pubrel(5))  # a repeat whose PUBCOMP was lost
        client.expect(Pubcomp, packet_id=5, reason=0x92 if version == 5 else 0)
        witness.quiet()

    @each_version(3, 4, 5)
    def test_qos_2_repeats_on_one_connection(self, version):
        """
        Older clients repeat after a while without reconnecting: PUBREC each time, and one message.
        5.0: 4.3.3-10
        3.1.1: 4.3.3-2
        """
        witness, client = self.subscriber("a"), self.client("publisher", version)
        for n in range(5):
            client.send(Publish(self.own("a"), b"once", 2, 5, dup=n > 0))
            client.expect(Pubrec, packet_id=5)
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5)
        witness.take(self.own("a"), b"once")
        witness.quiet()

    def test_qos_2_is_finished_when_the_message_has_expired(self):
        """
        The exchange goes on to PUBCOMP, and a repeat does not come to life.
        5.0: 4.3.3-13
        """
        reader, client = self.lasting("reader"), self.client("publisher")
        reader.subscribe(self.own("a"), 2)
        reader.disconnect()
        client.send(Publish(self.own("a"), b"brief", 2, 5, properties={"message_expiry": 1}))
        client.expect(Pubrec, packet_id=5, reason=0)
        time.sleep(1.1)  # its time, and that is what is waited for
        client.send(Publish(self.own("a"), b"brief", 2, 5, dup=True, properties={"message_expiry": 1}))
        client.expect(Pubrec, packet_id=5, reason=0)
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5, reason=0)
        self.lasting("reader", present=True).quiet()

    @each_version(3, 4, 5)
    def test_dup_is_not_passed_on(self, version):
        """
        DUP of what is sent is its own.
        5.0: 3.3.1-3, 4.3.1-1, 4.3.2-2, 4.3.3-2
        3.1.1: 3.3.1-3, 4.3.1-1
        """
        witness, client = self.subscriber("a", version=version), self.client("publisher", version)
        for qos in (0, 1, 2):
            client.publish(self.own("a"), b"%d" % qos, qos, dup=qos > 0)
        self.assertEqual([(one.qos, one.dup) for one in witness.collect(3)], [(0, False), (1, False), (2, False)])

    def test_topic_aliases(self):
        """
        Each up to the maximum that CONNACK told; new ones may take over numbers; above it is an error.
        5.0: 3.2.2-17, 3.3.2-12
        """
        witness, client = self.subscriber(), self.client("publisher")
        maximum = client.connack.properties["topic_alias_maximum"]
        self.assertGreater(maximum, 0)
        for alias in range(1, maximum + 1):
            client.publish(self.own(f"{alias}"), b"set", properties={"topic_alias": alias})
        for alias in range(maximum, 0, -1):
            client.publish("", b"used", alias % 3, properties={"topic_alias": alias})
        client.publish(self.own("new"), b"set", properties={"topic_alias": 1})
        client.publish("", b"used", properties={"topic_alias": 1})
        found = witness.collect(2 * maximum + 2)
        wanted = [*range(1, maximum + 1), *range(maximum, 0, -1), "new", "new"]
        self.assertEqual([one.topic for one in found], [self.own(f"{name}") for name in wanted])
        self.assertFalse(any("topic_alias" in one.properties for one in found))
        client.send(Publish(self.own("a"), b"x", properties={"topic_alias": maximum + 1}))
        client.expect_closed(0x94)

    def test_topic_aliases_end_with_their_connection(self):
        """
        Also when the session goes on.
        5.0: 3.3.2-7
        """
        witness, client = self.subscriber(), self.lasting("publisher")
        client.publish(self.own("a"), b"1", properties={"topic_alias": 3})
        witness.take(self.own("a"), b"1")
        client.disconnect()
        client = self.lasting("publisher", present=True)
        client.send(Publish("", b"2", properties={"topic_alias": 3}))
        client.expect_closed(0x82)
        witness.quiet()


class Quota(BrokerProtocol):
    OPTIONS = {"receive_maximum": 5}

    def test_receive_maximum_of_the_server(self):
        """
        CONNACK tells it; so many may be unfinished, PUBCOMP makes room, one more is DISCONNECT 0x93. The quota is a new one on a new connection.
        5.0: 3.3.4-7
        """
        for _ in range(2):
            client = self.lasting("publisher", present=_ > 0)
            self.assertEqual(client.connack.properties["receive_maximum"], 5)
            for packet_id in range(1, 6):
                client.send(Publish(self.own("a"), b"x", 2, packet_id + 10 * _))
                client.expect(Pubrec)
            client.ping()
            client.send(Pubrel(3 + 10 * _))
            client.expect(Pubcomp)
            client.publish(self.own("a"), b"x", 0)
            client.send(Publish(self.own("a"), b"x", 2, 6 + 10 * _))
            client.expect(Pubrec)
            client.send(Publish(self.own("a"), b"x", 1, 7 + 10 * _))
            client.expect_closed(0x93)

    def test_receive_maximum_of_the_client(self):
        """
        So many are unfinished and no more; PUBACK, PUBCOMP and a refusing PUBREC make room, PUBREC does not; everything else goes on meanwhile.
        5.0: 3.3.4-9, 3.3.4-10, 4.9.0-1, 4.9.0-2, 4.9.0-3
        """
        client, publisher = self.client("reader", properties={"receive_maximum": 2}), self.client("publisher")
        client.subscribe([(self.own("1"), 1), (self.own("2"), 2)])
        for n in range(2):
            publisher.publish(self.own("1"), b"%d" % n, 1)
            publisher.publish(self.own("2"), b"%d" % n, 2)
        publisher.publish(self.own("1"), b"last", 1)
        first, second = client.expect(Publish, payload=b"0", qos=1), client.expect(Publish, payload=b"0", qos=2)
        client.quiet()
        client.send(Subscribe(50, self.own("3")), Unsubscribe(51, self.own("3")), Publish(self.own("x"), b"x", 1, 52), Publish(self.own("x"), b"x", 2, 53),
                    Pubrel(53))
        client.expect(Suback, packet_id=50)
        client.expect(Unsuback, packet_id=51)
        client.expect(Puback, packet_id=52)
        client.expect(Pubrec, packet_id=53)
        client.expect(Pubcomp, packet_id=53)
        client.send(Pubrec(second.packet_id))
        client.expect(Pubrel, packet_id=second.packet_id)
        client.quiet()
        client.send(Puback(first.packet_id))
        third = client.expect(Publish, payload=b"1", qos=1)
        client.quiet()
        client.send(Pubcomp(second.packet_id))
        fourth = client.expect(Publish, payload=b"1", qos=2)
        client.quiet()
        client.send(Pubrec(fourth.packet_id, 0x83))
        last = client.expect(Publish, payload=b"last", qos=1)
        client.quiet()
        client.send(Puback(last.packet_id), Puback(third.packet_id))
        client.quiet()


class Full(BrokerProtocol):
    OPTIONS = {"max_delayed_messages": 1}

    @each_version(3, 4, 5)
    def test_what_there_is_no_room_for_is_not_acknowledged(self, version):
        """
        MQTT 5 says 0x97; older versions have no word for a message that the server cannot take now, and the connection is closed.
        3.1.1: 4.8.0-2
        """
        filler = self.client("filler")
        if self.agent.figure("broker_delayed_messages") == 0:
            filler.publish(f"$delayed/1000/{self.own('a')}", b"x", 1, reason=0)
        for qos, answer in ((1, Puback), (2, Pubrec)):
            client = self.client(f"publisher{qos}", version)
            client.send(Publish(f"$delayed/1000/{self.own('a')}", b"x", qos, 7), Pingreq())
            if version == 5:
                client.expect(answer, packet_id=7, reason=0x97)
            else:
                client.expect_closed()
        client = self.client("publisher0", version)
        client.publish(f"$delayed/1000/{self.own('a')}", b"x")  # QoS 0 asks for nothing
        client.quiet()


class Deliveries(BrokerProtocol):
    """From the server to a client."""

    def lasting_reader(self, version, qos, **how):
        client = self.lasting("reader", version, **how)
        client.subscribe(self.own("a"), qos)
        return client

    @each_version(3, 4, 5)
    def test_identifiers(self, version):
        """
        QoS 0 has none; QoS 1 and 2 have one that is not 0 and that none of what is unfinished has, however often the numbers go round.
        5.0: 2.2.1-4, 4.3.1-1, 4.3.2-1, 4.3.2-2, 4.3.3-1, 4.3.3-2
        3.1.1: 2.3.1-4, 4.3.1-1, 4.3.2-1, 4.3.3-1
        """
        client, publisher = self.lasting_reader(version, 2), self.client("publisher")
        publisher.publish(self.own("a"), b"held", 1)
        publisher.publish(self.own("a"), b"held", 2)
        held = [client.expect(Publish, payload=b"held", dup=False) for _ in range(2)]
        self.assertEqual(len({one.packet_id for one in held} - {0}), 2)
        size, at = 98, 4 + len(self.own("a"))  # what is left of the window, and where the identifier stands
        rounds = 700 if version == 5 and not self.PERSISTENCE and not settings.SANITIZED else 5
        publishes = b"".join(Publish(self.own("a"), b"x", 1, n + 1).encode(5) for n in range(size))
        for _ in range(rounds):
            publisher.send(publishes)
            found = [client.receive_bytes() for _ in range(size)]
            self.assertEqual({one[0] for one in found}, {0x32})  # QoS 1 without DUP
            ids = {one[at:at + 2] for one in found}
            self.assertEqual((len(ids), ids & {b"\0\0", u16(held[0].packet_id), u16(held[1].packet_id)}), (size, set()))
            client.send(b"".join(b"\x40\x02" + one for one in ids))
            for _ in range(size):
                publisher.receive_bytes()
        publisher.publish(self.own("a"), b"0")
        client.expect(Publish, payload=b"0", qos=0, dup=False, packet_id=0)

    @each_version(3, 4, 5)
    def test_qos_1_is_sent_again_on_a_new_connection(self, version):
        """
        With DUP and the same identifier, in the same order, once per connection and not while one is there, until PUBACK.
        5.0: 3.3.1-1, 4.3.2-3, 4.4.0-1, 4.6.0-1
        3.1.1: 3.3.1-1, 4.3.2-1, 4.4.0-1, 4.6.0-1
        """
        client, publisher = self.lasting_reader(version, 1), self.client("publisher")
        for n in range(5):
            publisher.publish(self.own("a"), b"%d" % n, 1)
        first = [client.expect(Publish, payload=b"%d" % n, dup=False) for n in range(5)]
        client.quiet()
        client.send(Puback(first[2].packet_id))
        client.ping()
        for _ in range(2):
            self.closes(client)
            client = self.lasting("reader", version, present=True)
            for n in (0, 1, 3, 4):
                client.expect(Publish, payload=b"%d" % n, packet_id=first[n].packet_id, dup=True, qos=1)
            client.quiet()
        client.send(*[Puback(first[n].packet_id) for n in (0, 1, 3, 4)])
        client.disconnect()
        self.lasting("reader", version, present=True).quiet()

    @each_version(3, 4, 5)
    def test_qos_2_is_sent_again_on_a_new_connection(self, version):
        """
        PUBLISH with DUP until PUBREC, PUBREL until PUBCOMP, and no PUBLISH behind PUBREL.
        5.0: 3.3.1-1, 4.3.3-3, 4.3.3-4, 4.3.3-5, 4.3.3-6, 4.4.0-1, 4.6.0-1
        3.1.1: 3.3.1-1, 4.3.3-1, 4.4.0-1, 4.6.0-1
        """
        client, publisher = self.lasting_reader(version, 2), self.client("publisher")
        for n in range(3):
            publisher.publish(self.own("a"), b"%d" % n, 2)
        first = [client.expect(Publish, payload=b"%d" % n, qos=2, dup=False) for n in range(3)]
        client.send(Pubrec(first[0].packet_id))
        client.expect(Pubrel, packet_id=first[0].packet_id, reason=0)
        client.quiet()
        for _ in range(2):
            self.closes(client)
            client = self.lasting("reader", version, present=True)
            client.expect(Pubrel, packet_id=first[0].packet_id)
            for n in (1, 2):
                client.expect(Publish, payload=b"%d" % n, packet_id=first[n].packet_id, dup=True, qos=2)
            client.quiet()
        client.send(Pubcomp(first[0].packet_id), Pubrec(first[1].packet_id))
        client.expect(Pubrel, packet_id=first[1].packet_id)
        client.send(Pubcomp(first[1].packet_id))
        client.ping()
        self.closes(client)
        client = self.lasting("reader", version, present=True)
        client.expect(Publish, payload=b"2", packet_id=first[2].packet_id, dup=True)
        client.send(Pubrec(first[2].packet_id))
        client.expect(Pubrel, packet_id=first[2].packet_id)
        client.send(Pubcomp(first[2].packet_id))
        client.disconnect()
        self.lasting("reader", version, present=True).quiet()

    @each_version(3, 4, 5)
    def test_pubrec_of_what_is_not_known_gets_pubrel(self, version):
        """
        A client that has lost count is told so, in MQTT 5 with 0x92, and can finish; one that refuses is done. Other acknowledgements are ignored.
        5.0: 4.3.3-4
        3.1.1: 4.3.3-1
        """
        client = self.client("reader", version)
        client.send(Pubrec(99))
        client.expect(Pubrel, packet_id=99, reason=0x92 if version == 5 else 0)
        client.send(Puback(98), Pubcomp(97))
        if version == 5:
            client.send(Pubrec(96, 0x80))
        client.quiet()

    def test_refused_deliveries_are_finished(self):
        """
        PUBACK and PUBREC with an error: no PUBREL, and nothing is sent again.
        5.0: 4.3.3-4, 4.4.0-2
        """
        client, publisher = self.lasting_reader(5, 2), self.client("publisher")
        publisher.publish(self.own("a"), b"1", 1)
        publisher.publish(self.own("a"), b"2", 2)
        one, two = client.expect(Publish, qos=1), client.expect(Publish, qos=2)
        client.send(Puback(one.packet_id, 0x97), Pubrec(two.packet_id, 0x80))
        client.quiet()
        client.disconnect()
        self.lasting("reader", present=True).quiet()

    def test_what_was_sent_does_not_expire(self):
        """
        PUBLISH comes again though its time is over; what was not sent does not come at all.
        5.0: 4.3.3-7, 3.3.2-5
        """
        client, publisher = self.lasting_reader(5, 2, properties={"receive_maximum": 1}), self.client("publisher")
        publisher.publish(self.own("a"), b"sent", 2, properties={"message_expiry": 1})
        publisher.publish(self.own("a"), b"waits", 2, properties={"message_expiry": 1})
        sent = client.expect(Publish, payload=b"sent")
        self.closes(client)
        time.sleep(1.1)  # their time, and that is what is waited for
        client = self.lasting("reader", present=True)
        client.expect(Publish, payload=b"sent", packet_id=sent.packet_id, dup=True)
        client.send(Pubrec(sent.packet_id))
        client.expect(Pubrel, packet_id=sent.packet_id)
        client.send(Pubcomp(sent.packet_id))
        client.quiet()

    @each_version(3, 4, 5)
    def test_order(self, version):
        """
        Messages of one publisher to one topic with one QoS come in their order, whether they came live, from the queue, or in the middle of others.
        5.0: 4.6.0-5, 4.6.0-6
        3.1.1: 4.6.0-5, 4.6.0-6
        """
        reader, away = self.client("reader", version), self.lasting("away", version)
        for client in (reader, away):
            client.subscribe(self.own("#"), 2)
        away.disconnect()
        publishers = [self.client(f"publisher{n}", version) for n in range(2)]
        for n in range(60):
            for publisher in publishers:
                publisher.send(Publish(self.own(publisher.name[-1]), b"%d" % n, n % 3, n + 1 if n % 3 else 0))
                if n % 3 == 2:
                    publisher.expect_all(*([(Puback, {"packet_id": n})] if n else []), (Pubrec, {"packet_id": n + 1}))
                    publisher.send(Pubrel(n + 1))
                    publisher.expect(Pubcomp, packet_id=n + 1)
        for client, kinds in ((reader, (0, 1, 2)), (self.lasting("away", version, present=True), (1, 2))):
            found = client.collect(2 * sum(1 for n in range(60) if n % 3 in kinds))
            for name in "01":
                for qos in kinds:
                    self.assertEqual([int(one.payload) for one in found if one.topic == self.own(name) and one.qos == qos],
                                     [n for n in range(60) if n % 3 == qos], (name, qos))

    @each_version(3, 4, 5)
    def test_every_subscribed_session_gets_the_message(self, version):
        """
        Those who are there and those who are away.
        5.0: 4.5.0-1
        3.1.1: 4.5.0-1
        """
        away = self.lasting("away", version)
        away.subscribe(self.own("+"), 1)
        away.disconnect()
        readers = [self.client(f"reader{n}", version) for n in range(3)]
        for reader, name in zip(readers, ("a", "#", "+")):
            reader.subscribe(self.own(name), 1)
        self.client("publisher").publish(self.own("a"), b"x", 1)
        for reader in (*readers, self.lasting("away", version, present=True)):
            reader.take(self.own("a"), b"x", qos=1)
            reader.quiet()


class DeliveriesOnDisk(Deliveries):
    """The same with state on disk: what is sent may have to wait for it."""
    PERSISTENCE = True


class ExchangesOnDisk(Exchanges):
    PERSISTENCE = True


class Retained(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_retain_replaces_and_empty_removes(self, version):
        """
        The last one of a topic is kept, with its QoS, whatever that is; without RETAIN nothing changes; an empty one removes it, is delivered, is not kept.
        5.0: 3.3.1-5, 3.3.1-6, 3.3.1-7, 3.3.1-8
        3.1.1: 3.1.2-7, 3.3.1-5, 3.3.1-6, 3.3.1-7, 3.3.1-8, 3.3.1-10, 3.3.1-11, 3.3.1-12
        """
        publisher, witness = self.client("publisher", version), self.subscriber("a", version=version)
        def late(*wanted):
            reader = self.client("late", version)
            reader.subscribe(self.own("+"), 2)
            for payload, qos in wanted:
                reader.take(self.own("a"), payload, qos=qos, retain=True, dup=False)
            reader.disconnect()
        late()
        for payload, qos in ((b"1", 1), (b"2", 2), (b"0", 0), (b"1", 1)):
            publisher.publish(self.own("a"), payload, qos, retain=True)
            late((payload, qos))
        publisher.publish(self.own("a"), b"live", 2)
        publisher.publish(self.own("a"), b"", 1)
        late((b"1", 1))
        publisher.publish(self.own("a"), b"", 1, retain=True)
        late()
        self.assertEqual([(one.payload, one.retain) for one in witness.collect(7)],
                         [(payload, False) for payload in (b"1", b"2", b"0", b"1", b"live", b"", b"")])
        publisher.publish(self.own("a"), b"again", 1, retain=True)
        publisher.disconnect()  # no part of its session
        late((b"again", 1))

    @each_version(3, 4, 5)
    def test_new_subscriptions_get_what_is_retained(self, version):
        """
        All that matches, with RETAIN; what an old one gets has none (MQTT 3.x, and MQTT 5 without retain as published).
        5.0: 3.3.1-9, 3.3.1-12, 3.8.4-4
        3.1.1: 3.3.1-6, 3.3.1-8, 3.3.1-9, 3.8.4-3
        """
        publisher, reader = self.client("publisher", version), self.client("reader", version)
        for name in ("a", "b/c", "b/d/e"):
            publisher.publish(self.own(name), name, 1, retain=True)
        for filter, names in (("#", {"a", "b/c", "b/d/e"}), ("+", {"a"}), ("b/#", {"b/c", "b/d/e"}), ("b/+/e", {"b/d/e"}), ("#", {"a", "b/c", "b/d/e"})):
            reader.subscribe(self.own(filter), 1)
            found = reader.collect(len(names))
            self.assertEqual({one.topic for one in found}, {self.own(name) for name in names})
            self.assertEqual({(one.retain, one.qos) for one in found}, {(True, 1)})
            reader.quiet()
        publisher.publish(self.own("a"), b"live", 1, retain=True)
        reader.take(self.own("a"), b"live", retain=False)

    def test_retain_handling(self):
        """
        0 sends what is retained each time, 1 for a subscription that was not there, 2 never.
        5.0: 3.3.1-9, 3.3.1-10, 3.3.1-11, 3.8.4-4
        """
        publisher, reader = self.client("publisher"), self.lasting("reader")
        publisher.publish(self.own("a"), b"x", 1, retain=True)
        def sends(handling, expected):
            packet_id = reader.next_id()
            reader.send(Subscribe(packet_id, [(self.own("a"), 1 | handling)]))
            wanted = [(Suback, {"packet_id": packet_id, "reasons": [1]})]  # which may wait for the disk, and messages need not wait for it (3.8.4)
            if expected:
                wanted.append((Publish, {"topic": self.own("a"), "payload": b"x", "retain": True}))
            found = reader.expect_all(*wanted)
            if expected:
                reader.send(Puback(found[1].packet_id))
            reader.quiet()
        sends(RETAIN_NEVER, False)
        sends(RETAIN_IF_NEW, False)
        sends(0, True)
        sends(0, True)
        reader.unsubscribe(self.own("a"))
        sends(RETAIN_IF_NEW, True)
        reader.disconnect()
        reader = self.lasting("reader", present=True)
        sends(RETAIN_IF_NEW, False)
        sends(RETAIN_NEVER, False)
        reader.unsubscribe(self.own("a"))
        sends(RETAIN_NEVER, False)
        publisher.publish(self.own("a"), b"live", 1)
        reader.take(self.own("a"), b"live", retain=False)

    def test_retain_as_published(self):
        """
        Without it RETAIN is cleared, with it it is what the publisher set; what is retained has it in either case.
        5.0: 3.3.1-12, 3.3.1-13
        """
        publisher = self.client("publisher")
        cleared, kept = self.subscriber("a", name="cleared"), self.subscriber("a", name="kept", options=RETAIN_AS_PUBLISHED)
        for retain in (True, False):
            publisher.publish(self.own("a"), b"x", 1, retain=retain)
            cleared.take(self.own("a"), retain=False)
            kept.take(self.own("a"), retain=retain)
        self.subscriber("a", name="late").take(self.own("a"), retain=True)

    @each_version(3, 4, 5)
    def test_retained_messages_outlive_sessions(self, version):
        """
        Ending the session of who published or received them changes nothing.
        3.1.1: 3.1.2-7
        """
        publisher = self.lasting("publisher", version)
        publisher.publish(self.own("a"), b"x", 1, retain=True)
        publisher.disconnect()
        self.client("publisher", version).disconnect()  # clean: the session is over
        for name in ("one", "two"):
            reader = self.client(name, version)
            reader.subscribe(self.own("a"), 1)
            reader.take(self.own("a"), b"x", retain=True)
            reader.disconnect()


class RetainedOnDisk(Retained):
    PERSISTENCE = True
