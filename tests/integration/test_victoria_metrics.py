"""VictoriaMetrics takes our line protocol, and we take its answers."""
from tests.support import settings
from tests.support.publisher import publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer


class VictoriaMetrics(Scenario):
    def run_against(self, output):
        broker = self.mosquitto()
        victoria = self.victoria_metrics()
        agent = self.heliograf(agent_config(consumer(broker, "t/#", **VALUE), output(victoria)))
        total = settings.scaled(3000, 300)
        for round_ in range(3):  # stamps are cut to milliseconds: so many series that no two messages of one share a stamp
            publish(broker.port, ((f"t/{n}", str(n + round_ * total)) for n in range(total)))
            agent.wait_settled(total * (round_ + 1))
        agent.wait_for(lambda: victoria.count('{__name__="mqtt_consumer_value"}') >= 3 * total, "all points", 20)
        values = {value for series in victoria.export('{__name__="mqtt_consumer_value"}') for value in series["values"]}
        self.assertEqual(values, set(range(3 * total)))
        self.assertEqual(agent.outcome("stored"), 3 * total)

    def test_through_the_1_x_api(self):
        self.run_against(lambda victoria: {"influxdb": [{"urls": [victoria.url], "database": "telegraf"}]})

    def test_through_the_2_x_api(self):
        self.run_against(lambda victoria: {"influxdb_v2": [{"urls": [victoria.url], "organization": "o", "bucket": "b", "token": "t"}]})
