"""TLS to the broker: the right certificate is taken, and each kind of wrong one is refused and named."""
import shutil

from tests.support import ports
from tests.support.certificates import Certificates
from tests.support.publisher import publish
from tests.support.scenario import VALUE, Scenario, agent_config, scratch_directory


class Tls(Scenario):
    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch_directory()
        cls.addClassCleanup(shutil.rmtree, cls.scratch, True)
        cls.certificates = Certificates(cls.scratch)

    def setUp(self):
        super().setUp()
        self.influx = self.fake_influx(2)

    def tls_broker(self, certificate="server", client_certificates=False, protocol=None):
        """A broker with a plain listener for the publisher and a TLS one, whose port becomes self.tls_port."""
        self.tls_port = ports.free_port()
        c = self.certificates
        lines = [f"listener {self.tls_port} 127.0.0.1", f"cafile {c.ca}", f"certfile {getattr(c, certificate)}",
                 f"keyfile {getattr(c, certificate + '_key')}"]
        if client_certificates:
            lines.append("require_certificate true")
        if protocol:
            lines.append(f"protocol {protocol}")
        return self.mosquitto(listener_options=lines)

    def agent(self, ready=True, scheme="ssl", host="127.0.0.1", path="", name="heliograf", **options):
        return self.heliograf(agent_config(
            {"servers": [f"{scheme}://{host}:{self.tls_port}{path}"], "topics": ["t/#"], "qos": 1, **VALUE, **options},
            {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b"}]}), ready=ready, name=name)

    def assert_flows(self, broker, agent):
        publish(broker.port, ((f"t/{n % 10}", str(n)) for n in range(200)))
        agent.wait_settled(200)
        self.assertEqual(self.influx.count(), 200)

    def assert_refused(self, agent, words):
        line = agent.wait_for(lambda: [line for line in agent.log().splitlines() if " warn " in line or " error " in line], "a complaint")
        self.assertRegex("\n".join(line), words)
        self.assertEqual(agent.figure("mqtt_connected"), 0)
        self.assertEqual(agent.get("/-/ready")[0], 503)
        self.assertTrue(agent.running)

    def test_the_right_ca_is_trusted(self):
        broker = self.tls_broker()
        self.assert_flows(broker, self.agent(tls_ca=str(self.certificates.ca)))

    def test_websocket_over_tls(self):
        broker = self.tls_broker(protocol="websockets")
        self.assert_flows(broker, self.agent(scheme="wss", path="/mqtt", tls_ca=str(self.certificates.ca)))

    def test_a_client_certificate_opens_the_door(self):
        c = self.certificates
        broker = self.tls_broker(client_certificates=True)
        without = self.agent(ready=False, tls_ca=str(c.ca), name="without")
        self.assert_refused(without, "(?i)tls|ssl|certificate|handshake|connect")
        without.stop()
        agent = self.agent(tls_ca=str(c.ca), tls_cert=str(c.client), tls_key=str(c.encrypt_client_key("pass phrase")), tls_key_pwd="pass phrase")
        self.assert_flows(broker, agent)
        self.assertNotIn("pass phrase", agent.log())

    def test_a_certificate_for_another_host_is_refused(self):
        self.tls_broker("stranger")
        self.assert_refused(self.agent(ready=False, tls_ca=str(self.certificates.ca)), "(?i)tls|ssl|certificate|host")

    def test_a_server_name_replaces_the_host_in_the_check(self):
        broker = self.tls_broker("stranger")
        self.assert_flows(broker, self.agent(tls_ca=str(self.certificates.ca), tls_server_name="broker.example.org"))

    def test_an_unknown_ca_is_refused(self):
        self.tls_broker()
        self.assert_refused(self.agent(ready=False, tls_ca=str(self.certificates.other_ca)), "(?i)tls|ssl|certificate")

    def test_without_a_ca_the_systems_are_used_and_refuse(self):
        self.tls_broker()
        self.assert_refused(self.agent(ready=False), "(?i)tls|ssl|certificate")

    def test_verification_can_be_turned_off(self):
        broker = self.tls_broker("stranger")
        self.assert_flows(broker, self.agent(insecure_skip_verify=True))
