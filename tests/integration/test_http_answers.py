"""What servers answer when they do not say 204, and that each message still ends exactly once, in the right place."""
import time

from tests.support import settings
from tests.support.fake_influx import Answer
from tests.support.publisher import publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

GENERATIONS = {1: "influxdb", 2: "influxdb_v2", 3: "influxdb_v3"}


class HttpAnswers(Scenario):
    def setUp(self):
        super().setUp()
        self.broker = self.mosquitto()

    def start(self, generation=2, config=None, **how):
        self.influx = self.fake_influx(generation, **how)
        target = {"organization": "o", "bucket": "b"} if generation == 2 else {"database": "b"}
        if generation == 1:
            target["skip_database_creation"] = True
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {
            GENERATIONS[generation]: [{"urls": [self.influx.url], **target, **(config or {})}]}), name=f"heliograf-{generation}")

    def send(self, total=200):
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(total)))

    def assert_all_stored(self, total=200, timeout=40):
        self.agent.wait_settled(total, timeout)
        self.assertEqual(self.influx.count(), total)
        self.assertEqual(self.agent.outcome("stored"), total)
        self.assertEqual(self.agent.dead_letters(), [])
        self.assertEqual(self.influx.bad_bodies, [])

    def test_trouble_that_passes_is_waited_out(self):
        for generation in GENERATIONS:
            with self.subTest(generation=generation):
                self.start(generation)
                self.influx.script += [
                    Answer(500, '{"error":"timeout"}'), Answer(503, "request throttled, queue full\n"), Answer(502, "<html>bad gateway</html>"),
                    Answer(429, headers={"Retry-After": "1"}), Answer(close_after=0), Answer(close_after=10), Answer(close_after=-1, store=True)]
                self.send()
                self.assert_all_stored()
                self.assertGreaterEqual(len(self.influx.writes), 8)
                self.agent.stop()

    def test_a_retry_sends_identical_bytes(self):
        self.start()
        self.influx.script += [Answer(503), Answer(503), Answer(close_after=-1)]
        publish(self.broker.port, [("t/1", "1")])
        self.assert_all_stored(1)
        self.assertEqual(len({write.body for write in self.influx.writes}), 1)
        self.assertEqual(len(self.influx.writes), 4)

    def test_retry_after_is_kept(self):
        self.start()
        self.influx.script.append(Answer(429, headers={"Retry-After": "2"}))
        self.send(10)
        self.agent.wait_for(lambda: len(self.influx.writes) == 1, "the refusal")
        refused = time.monotonic()
        self.assert_all_stored(10)
        self.assertGreater(time.monotonic() - refused, 1.8)

    def test_a_body_that_is_too_large_is_halved(self):
        for generation in GENERATIONS:
            with self.subTest(generation=generation):
                self.start(generation, max_body=2000)
                self.send(500)
                self.assert_all_stored(500)
                self.assertIn(413, self.influx.statuses())
                self.agent.stop()

    def test_a_single_line_that_is_too_large_is_a_dead_letter(self):
        self.influx = self.fake_influx(2, max_body=2000)
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", data_format="value", data_type="string"), {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}))
        publish(self.broker.port, [("t/1", "small"), ("t/2", "x" * 5000), ("t/3", "small")])
        self.agent.wait_settled(3)
        self.assertEqual(self.influx.count(), 2)
        letters = self.agent.wait_dead_letters(1)
        self.assertEqual([letter["topic"] for letter in letters], ["t/2"])

    def test_a_server_that_stalls_is_given_up_and_asked_again(self):
        self.start(config={"timeout": "1s"})
        self.influx.script.append(Answer(204, stall=4))
        self.send()
        self.assert_all_stored()

    def test_a_missing_database_is_waited_for(self):
        self.start(2)
        self.influx.databases = set()
        self.send(50)
        self.agent.wait_for(lambda: 404 in self.influx.statuses(), "the refusal")
        self.assertIn("database not found", self.agent.wait_log("OUTPUT-REFUSED"))
        self.assertEqual(self.agent.pending(), 50)
        self.influx.databases.add("b")
        self.assert_all_stored(50, timeout=75)

    def test_a_database_of_1_x_is_created(self):
        self.influx = self.fake_influx(1)
        self.influx.databases = set()
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {"influxdb": [{"urls": [self.influx.url], "database": "new one"}]}))
        self.send(50)
        self.assert_all_stored(50)
        self.assertTrue(any("CREATE DATABASE" in query for query in self.influx.queries))

    def test_a_whole_refusal_without_a_line_is_searched_for_the_bad_one(self):
        """2.x style: 400 for the whole batch, and the text does not match any line."""
        self.start()
        take = self.influx.take

        def pick_on_seven(target, body):
            return (400, '{"code":"invalid","message":"no"}') if b"value=7 " in body else take(target, body)
        self.influx.take = pick_on_seven
        self.send(500)
        self.agent.wait_settled(500, timeout=75)  # eight answers alike, with pauses of up to 62 s between them, before anything is cut
        self.assertEqual(self.influx.count(), 499)
        self.assertEqual([letter["topic"] for letter in self.agent.wait_dead_letters(1)], ["t/7"])

    def test_a_large_error_body_does_no_harm(self):
        self.start()
        self.influx.script += [Answer(500, "x" * 300_000), Answer(503, '{"message":"' + "y" * 300_000 + '"}')]
        self.send()
        self.assert_all_stored()
        self.assertLess(max(map(len, self.agent.log().splitlines())), 4000)

    def test_gzip_arrives_whole(self):
        for generation in GENERATIONS:
            with self.subTest(generation=generation):
                self.start(generation, config={"content_encoding": "gzip"})
                total = settings.scaled(5000, 1000)
                self.send(total)
                self.assert_all_stored(total)
                packed = [write for write in self.influx.writes if write.headers.get("Content-Encoding") == "gzip"]
                self.assertTrue(packed)
                self.assertLess(sum(write.wire_bytes for write in packed), sum(len(write.body) for write in packed) / 3)
                self.agent.stop()

    def test_no_secret_is_ever_printed(self):
        self.start(2, config={"token": "very-secret-token"}, token="another")
        self.send(10)
        self.agent.wait_log("OUTPUT-AUTH")
        self.assertNotIn("very-secret-token", self.agent.log() + self.agent.get("/metrics")[1] + self.agent.get("/")[1])
        self.influx.token = "very-secret-token"
        self.assert_all_stored(10, timeout=75)

    def test_batches_keep_to_their_size(self):
        self.influx = self.fake_influx(2)
        self.influx.delay = 0.3
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {"influxdb_v2": [
            {"urls": [self.influx.url], "organization": "o", "bucket": "b", "metric_batch_size": 100}]}))
        self.send(1000)
        self.assert_all_stored(1000)
        sizes = [write.body.count(b"\n") for write in self.influx.writes]
        self.assertLessEqual(max(sizes), 100)
        self.assertGreater(max(sizes), 50)

    def test_a_message_is_sent_within_the_flush_interval(self):
        self.influx = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {"influxdb_v2": [
            {"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}, agent={"omit_hostname": True}))  # flush_interval 1s
        started = time.monotonic()
        publish(self.broker.port, [("t/1", "1")])
        self.assert_all_stored(1)
        self.assertLess(time.monotonic() - started, 1.6 * settings.PATIENCE)

    def test_points_go_to_the_bucket_that_a_tag_names(self):
        self.influx = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/+", **VALUE, topic_tag="", topic_parsing=[{"topic": "t/+", "tags": "_/where"}]), {
            "influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "fallback", "bucket_tag": "where", "exclude_bucket_tag": True}]}))
        publish(self.broker.port, ((f"t/room{n % 3}", str(n)) for n in range(300)))
        self.agent.wait_settled(300)
        counts = {}
        for (target, _, tags, _) in self.influx.points:
            counts[target] = counts.get(target, 0) + 1
            self.assertEqual(tags, ())
        self.assertEqual(counts, {"room0": 100, "room1": 100, "room2": 100})
