"""One line in 5,000 has a field of another type: exactly that line becomes a dead letter, and no good neighbour is lost."""
from tests.support import settings
from tests.support.publisher import publish
from tests.support.scenario import Scenario, agent_config, consumer

PER_BAD = 5000 if settings.SCALE == 1 else 500
BAD = 4
TOTAL = PER_BAD * BAD


def is_bad(n):
    return n % PER_BAD == PER_BAD // 3


def message(n):
    value = f'"broken {n}"' if is_bad(n) else f"{n}.5"
    return f"machines/{n % 50}/state", f"conflict,machine={n % 50} value={value},n={n}"


class TypeConflicts(Scenario):
    def run_against(self, output, stored, reason):
        """`output`: an outputs: section; `stored`: a function that counts points."""
        broker = self.mosquitto()
        agent = self.heliograf(agent_config(consumer(broker, "machines/#", data_format="influx"), output))
        publish(broker.port, [("machines/0/state", "conflict,machine=first value=0.5,n=0")])  # fixes the type
        agent.wait_settled(1)
        publish(broker.port, map(message, range(TOTAL)))
        agent.wait_settled(TOTAL + 1, timeout=60)
        letters = agent.wait_dead_letters(BAD)
        bad = [n for n in range(TOTAL) if is_bad(n)]
        self.assertEqual(sorted(letter["topic"] for letter in letters), sorted(message(n)[0] for n in bad))
        self.assertEqual(sorted(int(letter["data"].split("broken ")[1].split('"')[0]) for letter in letters), bad)
        for letter in letters:
            self.assertEqual(letter["stage"], "delivery")
            self.assertRegex(letter["detail"], reason)
        self.assertEqual(agent.outcome("dead_lettered"), BAD)
        self.assertEqual(agent.outcome("stored"), TOTAL - BAD + 1)
        self.assertEqual(agent.figure("lines_total", outcome="dead_lettered"), BAD)
        self.assertEqual(stored(), TOTAL - BAD + 1)

    def test_influxdb_1_6(self):
        influx, db = self.shared_influxdb()
        self.run_against({"influxdb": [{"urls": [influx.url], "database": db}]}, lambda: influx.count(db, "conflict", "n"), "field type conflict")

    def run_against_fake(self, generation, output, reason="field type conflict"):
        influx = self.fake_influx(generation)
        self.run_against({output: [{"urls": [influx.url], "organization": "o", "bucket": "b"} if generation == 2 else
                                   {"urls": [influx.url], "database": "b"}]}, influx.count, reason)
        self.assertEqual(influx.bad_bodies, [])
        self.assertLess(len(influx.writes), 400)

    def test_fake_1_x(self):
        self.run_against_fake(1, "influxdb")

    def test_fake_2_x(self):
        self.run_against_fake(2, "influxdb_v2")

    def test_fake_3_x(self):
        self.run_against_fake(3, "influxdb_v3", "invalid column type")
