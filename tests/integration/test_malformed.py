"""Whatever the payload or the topic holds: the process lives, a bad message is a dead letter with its reason, its neighbours are stored."""
import base64
import random

from tests.support import settings
from tests.support.publisher import publish
from tests.support.scenario import Scenario, agent_config, consumer

GOOD = 0.9


def payload_of(letter):
    return base64.b64decode(letter["data_base64"]) if "data_base64" in letter else letter["data"].encode()


class Malformed(Scenario):
    def setUp(self):
        super().setUp()
        self.broker = self.mosquitto()
        self.influx = self.fake_influx(2)

    def agent(self, **options):
        return self.heliograf(agent_config(consumer(self.broker, "#", **options), {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))

    def test_garbage_payloads_are_dead_letters_and_good_neighbours_are_stored(self):
        agent = self.agent(data_format="json")
        bad = [b'{"value":', b"not json", b"\xff\xfe\x00\x01", b'{"a":1}}', b"{'a':1}", b'{"v":1e999}', b"[" * 5000, b'{"v":01}', b'{"a" 1}',
               b'{"s":"\xc3\x28","v":1', b"\x00" * 100, b'"text"', b"12 13"]
        messages = []
        for n, payload in enumerate(bad):
            messages += [(f"good/{n}", b'{"value":%d}' % n), (f"bad/{n}", payload), (f"good/{n}", b'{"value":-%d}' % (n + 1))]
        publish(self.broker.port, messages)
        agent.wait_settled(len(messages))
        self.assertEqual(self.influx.count(field_name="value"), 2 * len(bad))
        self.assertEqual(self.influx.bad_bodies, [])
        letters = agent.wait_dead_letters(1)
        self.assertEqual(agent.outcome("dead_lettered") + agent.outcome("filtered") + agent.outcome("stored"), len(messages))
        self.assertEqual(len(letters), agent.outcome("dead_lettered"))
        by_topic = {letter["topic"]: letter for letter in letters}
        for n, payload in enumerate(bad):
            if f"bad/{n}" in by_topic:
                letter = by_topic[f"bad/{n}"]
                self.assertEqual(letter["stage"], "ingest")
                self.assertTrue(letter["reason"] and letter["detail"], letter)
                self.assertEqual(payload_of(letter), payload)
        for n in (0, 1, 2, 3, 4, 6, 8, 9, 12):
            self.assertIn(f"bad/{n}", sorted(by_topic), bad[n])

    def test_a_bad_line_of_line_protocol_is_reported_with_its_topic(self):
        agent = self.agent(data_format="influx")
        publish(self.broker.port, [("a", "m value=1"), ("b", "m value="), ("c", ":0000000AA"), ("d", "m value=2 2\nm value=3 3\n")])
        agent.wait_settled(4)
        self.assertEqual(sorted(letter["topic"] for letter in agent.wait_dead_letters(2)), ["b", "c"])
        self.assertEqual(self.influx.count("m"), 3)
        self.assertEqual(self.influx.bad_bodies, [])

    def test_random_bytes_in_topics_and_payloads(self):
        agent = self.agent(routes=[{"topics": ["j/#"], "data_format": "json", "name_override": "j"}, {"topics": ["i/#"], "data_format": "influx"},
                                   {"topics": ["v/#"], "data_format": "value", "data_type": "float", "name_override": "v"}],
                           data_format="value", data_type="string", name_override="x")
        chance = random.Random(1855)
        alphabet = "ab, =\\\"'/é€😀#_$%{}[]:;.\u2028\u200b"  # Mosquitto lets no control bytes through in topics

        def message(n):
            topic = chance.choice("jivx") + "/" + "".join(chance.choice(alphabet).replace("#", "").replace("+", "") for _ in range(chance.randrange(1, 30)))
            kind = n % 4
            if kind == 0:
                return topic, chance.randbytes(chance.randrange(0, 200))
            if kind == 1:
                return topic, "".join(chance.choice(alphabet) for _ in range(chance.randrange(0, 100)))
            if kind == 2:
                return topic, '{"%s":%d}' % ("".join(chance.choice("ab, =\\\\/é€\t#_time").replace("\\", "\\\\").replace("\t", "\\t") for _ in range(8)), n)
            return topic, f"{n}"

        total = settings.scaled(20_000, 3000)
        messages = [message(n) for n in range(total)]
        publish(self.broker.port, messages)
        agent.wait_settled(total, timeout=60)
        self.assertEqual(agent.received(), total)
        self.assertEqual(self.influx.bad_bodies, [])
        self.assertGreater(self.influx.count(), total / 4)
        self.assertEqual(agent.figure("lines_total", outcome="dead_lettered"), 0)
        publish(self.broker.port, [("x/end", "fine")])
        agent.wait_settled(total + 1)

    def test_a_large_payload_and_an_empty_one(self):
        agent = self.agent(data_format="json")
        large = '{"list":[' + ",".join(map(str, range(20_000))) + "]}"
        publish(self.broker.port, [("empty", b""), ("large", large), ("good", '{"value":1}')])
        agent.wait_settled(3)
        self.assertEqual(self.influx.count(field_name="value"), 1)
        self.assertEqual(self.influx.bad_bodies, [])

    def test_a_payload_over_the_limit_is_in_the_account(self):
        agent = self.agent(data_format="json", max_message_bytes="100KiB")
        publish(self.broker.port, [("good", '{"value":1}'), ("huge", b"[" + b"1," * 100_000 + b"1]"), ("good", '{"value":2}')])
        agent.wait_settled(3)
        self.assertEqual(agent.received(), 3)
        self.assertEqual(agent.outcome("dead_lettered"), 1)
        self.assertEqual([letter["topic"] for letter in agent.wait_dead_letters(1)], ["huge"])
        self.assertEqual(self.influx.count(field_name="value"), 2)

    def test_the_same_trouble_is_not_logged_a_thousand_times(self):
        agent = self.agent(data_format="json")
        publish(self.broker.port, ((f"bad/{n}", "nonsense") for n in range(1000)))
        agent.wait_settled(1000)
        complaints = agent.log_lines("bad/")
        self.assertGreaterEqual(len(complaints), 1, agent.tail())
        self.assertLess(len(complaints), 10)
        self.assertEqual(len(agent.wait_dead_letters(1000)), 1000)
