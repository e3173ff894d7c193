"""What a user of the embedded broker sees and cannot read in the specifications, or what only several clients together show."""
from tests.support.broker_scenario import BrokerScenario
from tests.support.mqtt_raw import NO_LOCAL, Publish, Will

LARGE = bytes(range(256)) * 40  # more than is copied


class Delivery(BrokerScenario):
    """What clients get is what was published."""

    def test_large_messages_behind_each_other(self):
        """What waits to be written is not what the publisher's buffer has become meanwhile. Every size on both sides of what is copied."""
        self.broker()
        readers = [self.client(f"reader-{version}-{qos}", version) for version in (3, 4, 5) for qos in (0, 1)]
        for reader in readers:
            reader.subscribe("x/#", int(reader.name[-1]))
        sizes = (5000, 10, 600, 4095, 4096, 511, 512, 10000) * 10
        for qos in (0, 1):
            writer = self.client("writer")
            writer.send(*[Publish("x/1", bytes([n]) * size, qos, n + 1) for n, size in enumerate(sizes)])
            for reader in readers:
                got = reader.collect(len(sizes))
                self.assertEqual([message.payload for message in got], [bytes([n]) * size for n, size in enumerate(sizes)], reader.name)

    def test_large_user_properties_behind_each_other(self):
        self.broker()
        reader, writer = self.client("reader"), self.client("writer")
        reader.subscribe("x/#")
        wanted = [[("key", f"{n}" * 900), ("other", "v")] for n in range(8)]
        writer.send(*[Publish("x/1", LARGE, properties={"user_property": pairs}) for pairs in wanted])
        self.assertEqual([(m.payload, m.properties["user_property"]) for m in reader.collect(8)], [(LARGE, pairs) for pairs in wanted])

    def test_a_topic_alias_is_told_in_a_message_that_arrives(self):
        """The first message on a topic is too large for the client: it must not be the one that makes the alias known."""
        self.broker()
        reader, writer = self.client("reader", properties={"maximum_packet_size": 300, "topic_alias_maximum": 5}), self.client("writer")
        reader.subscribe("x/#", 1)
        for qos in (0, 1):
            topic = f"x/{qos}"
            writer.publish(topic, LARGE, qos)
            writer.publish(topic, "small", qos)
            writer.publish(topic, "again", qos)
            alias = reader.take(topic, "small").properties["topic_alias"]
            reader.take("", "again", properties={"topic_alias": alias})
        reader.quiet()
        for size in range(284, 292):  # the packet is 11 bytes larger, and 3 more with a new alias
            writer.publish(f"x/{size}", b"y" * size)
        for size in range(284, 290):
            self.assertEqual("topic_alias" in reader.take(f"x/{size}", b"y" * size).properties, size <= 286)
        reader.quiet()

    def test_no_local_wills_and_delayed_messages(self):
        """[MQTT-3.8.3-3]: a client that does not want its own messages does not get those that are published for it either."""
        self.broker()
        session = {"session_expiry": 100}
        client, other = self.client("own", properties=session, will=Will("x/will", "gone", 1)), self.client("other")
        for one in (client, other):
            one.subscribe([("x/#", 1 | NO_LOCAL)])
        client.publish("$delayed/0/x/delayed", "late", 1)
        other.take("x/delayed", "late")
        client.quiet()
        client.close()
        other.take("x/will", "gone")
        self.client("own", present=True, clean=False, properties=session).quiet()
