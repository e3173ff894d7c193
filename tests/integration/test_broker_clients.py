"""Clients and brokers that others wrote, unchanged, with the embedded broker: Debian's programs and libraries, over every transport."""
import json
import os
import shutil
import signal
import subprocess
import threading
import unittest

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support import ports, settings, waiting
from tests.support.broker_scenario import BrokerScenario
from tests.support.certificates import Certificates
from tests.support.mqtt_raw import RETAIN_AS_PUBLISHED, Client, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.support.mqtt_tools import OURS, THEIRS, Tool, run, unique_id
from tests.support.process import _die_with_parent, clean_environment
from tests.support.scenario import VALUE

VERSIONS = ("31", "311", "5")
PAYLOAD = bytes(range(1, 256)) * 30


class Clients(BrokerScenario):
    """Programs that are started here are gone before the broker is."""

    def all_listeners(self, **how):
        """The broker on TCP, TLS, WebSocket and WebSocket over TLS."""
        self.certificates = Certificates(self.directory)
        tls = {"certificate": str(self.certificates.server), "key": str(self.certificates.server_key)}
        self.tls_port, self.ws_port, self.wss_port = (ports.free_port() for _ in range(3))
        return self.broker(more_listeners=[
            {"address": f"127.0.0.1:{self.tls_port}", "tls": tls}, {"address": f"127.0.0.1:{self.ws_port}", "protocol": "websocket"},
            {"address": f"127.0.0.1:{self.wss_port}", "protocol": "websocket", "tls": tls}], **how)

    def known(self, agent=None):
        """What the broker says of its clients, by client id."""
        return {client["client_id"]: client for client in json.loads((agent or self.agent).get("/clients")[1])}

    def wait_subscribed(self, client_id, count=1):
        self.agent.wait_for(lambda: self.known().get(client_id, {}).get("subscriptions", 0) >= count, f"{client_id} subscribed")

    def tool(self, who, role, *flags, port=None):
        tool = Tool(who, role, "-h", "127.0.0.1", "-p", port or self.port, *flags)
        tool.close = tool.__exit__
        self.clients.append(tool)
        return tool

    def subscriber(self, who, topic, *flags, port=None, qos=2):
        client_id = unique_id("sub")
        tool = self.tool(who, "sub", "-i", client_id, "-t", topic, "-q", qos, *flags, port=port)
        self.wait_subscribed(client_id)
        return tool

    def pub(self, topic, payload, *flags, who=THEIRS, port=None, code=0, qos=1):
        done = run(who, "pub", "-h", "127.0.0.1", "-p", port or self.port, "-t", topic, "-q", qos, "-s", *flags, data=payload)
        if code is not None:
            self.assertEqual(done.code, code, repr(done))
        return done


class Programs(Clients):
    """mosquitto_pub, mosquitto_sub, mosquitto_rr."""

    def crosswise(self, who_publishes, who_subscribes):
        self.broker()
        count = len(VERSIONS) * 3
        subscribers = [self.subscriber(who_subscribes, "x/#", "-V", version, "-C", count, "-F", "%t %q %p") for version in VERSIONS]
        wanted = []
        for version in VERSIONS:
            for qos in (0, 1, 2):
                self.pub(f"x/{version}/{qos}", b"%d" % qos, "-V", version, qos=qos, who=who_publishes)
                wanted.append(f"x/{version}/{qos} {qos} {qos}")
        for subscriber in subscribers:
            done = subscriber.wait()
            self.assertEqual((done.code, done.out.decode().splitlines()), (0, wanted), repr(done))

    def test_mosquittos_programs_with_every_version_and_quality_of_service(self):
        self.crosswise(THEIRS, THEIRS)

    def test_our_programs_with_every_version_and_quality_of_service(self):
        """pub and sub, which are Paho C."""
        self.crosswise(OURS, OURS)

    def test_retained_messages_and_their_end(self):
        self.broker(sys_interval="0s")
        for version in VERSIONS:
            self.pub("x/kept", PAYLOAD, "-r", "-V", version)
            got = run(THEIRS, "sub", "-p", self.port, "-V", version, "-t", "x/kept", "-C", 1, "-N", "-F", "%r %x")
            self.assertEqual((got.code, got.out.decode()), (0, f"1 {PAYLOAD.hex()}"), repr(got))
            self.assertEqual(run(THEIRS, "pub", "-p", self.port, "-V", version, "-t", "x/kept", "-r", "-n", "-q", 1).code, 0)
            self.assertEqual(run(THEIRS, "sub", "-p", self.port, "-V", version, "-t", "x/kept", "-E").code, 0)
            self.assertEqual(self.agent.figure("broker_retained_messages"), 0)

    def test_a_will(self):
        self.broker(sys_interval="0s")
        for version in VERSIONS:
            watcher = self.subscriber(THEIRS, "x/will", "-C", 1, "-F", "%q %p")
            dying = self.subscriber(THEIRS, "x/other", "-V", version, "--will-topic", "x/will", "--will-payload", f"gone {version}", "--will-qos", 2)
            dying.send(signal.SIGKILL)
            self.assertEqual(watcher.wait().out.decode(), f"2 gone {version}\n")

    def test_a_kept_session(self):
        self.broker()
        for version in VERSIONS:
            kept = ("-i", f"kept-{version}", "-V", version, "-q", 2, "-t", f"x/{version}", "-c", *(("-x", 3600) if version == "5" else ()))
            self.assertEqual(run(THEIRS, "sub", "-p", self.port, *kept, "-E").code, 0)
            for n in range(20):
                self.pub(f"x/{version}", b"%d" % n, qos=2)
            got = run(THEIRS, "sub", "-p", self.port, *kept, "-C", 20)
            self.assertEqual(got.out.decode().split(), [str(n) for n in range(20)], repr(got))

    def test_properties(self):
        self.broker()
        subscriber = self.subscriber(THEIRS, "x/p", "-V", 5, "-C", 1, "-F", "%A|%C|%D|%E|%F|%P|%R|%p")
        self.pub("x/p", b"v", "-V", 5, *"-D publish content-type text/plain -D publish correlation-data c1 -D publish message-expiry-interval 100 "
                 "-D publish payload-format-indicator 1 -D publish user-property k v -D publish response-topic x/answer".split())
        self.assertEqual(subscriber.wait().out.decode(), "|text/plain|c1|100|1|k:v|x/answer|v\n")

    def test_request_and_response(self):
        self.broker()
        for version, connection in (("5", self.client("responder")), ("311", self.client("responder-311", 4))):
            connection.subscribe(f"x/ask/{version}", 1)
            asking = self.tool(THEIRS, "rr", "-V", version, "-t", f"x/ask/{version}", "-e", f"x/answer/{version}", "-m", "how hot?", "-q", 1)
            question = connection.take(f"x/ask/{version}", "how hot?")
            self.assertEqual(question.properties.get("response_topic"), "x/answer/5" if version == "5" else None)
            connection.publish(f"x/answer/{version}", "21.5", 1)
            done = asking.wait()
            self.assertEqual((done.code, done.out), (0, b"21.5\n"), repr(done))

    def test_user_and_password(self):
        self.broker(password_file=self.passwords(press="s3cret"))
        for who in (THEIRS, OURS):
            for version in VERSIONS:
                self.pub("x/u", b"v", "-V", version, "-u", "press", "-P", "s3cret", who=who)
                for wrong in (("-u", "press", "-P", "wrong"), ("-u", "other", "-P", "s3cret"), ()):
                    done = self.pub("x/u", b"v", "-V", version, *wrong, who=who, code=None)
                    self.assertNotEqual(done.code, 0, repr(done))
                    self.assertRegex(done.text.lower(), "not authori[sz]ed|bad user ?name or password")

    def test_tls(self):
        self.all_listeners()
        ca = ("--cafile", self.certificates.ca)
        for who in (THEIRS, OURS):
            subscriber = self.subscriber(who, "x/#", *ca, "-C", len(VERSIONS), "-F", "%x", port=self.tls_port)
            for version in VERSIONS:
                self.pub("x/tls", PAYLOAD, "-V", version, *ca, who=who, port=self.tls_port)
            done = subscriber.wait()
            self.assertEqual(done.out.decode(), f"{PAYLOAD.hex()}\n" * 3, repr(done))
            done = self.pub("x/tls", b"v", "--cafile", self.certificates.other_ca, who=who, port=self.tls_port, code=None)
            self.assertNotEqual(done.code, 0, "another CA")

    def test_a_unix_socket(self):
        path = str(self.directory / "mqtt.sock")
        self.broker(more_listeners=[{"address": f"unix:{path}"}])
        client_id = unique_id("sub")
        subscriber = Tool(THEIRS, "sub", "--unix", path, "-i", client_id, "-t", "x/#", "-C", 3)
        self.addCleanup(subscriber.__exit__)
        self.wait_subscribed(client_id)
        for version in VERSIONS:
            self.assertEqual(run(THEIRS, "pub", "--unix", path, "-V", version, "-t", "x/unix", "-m", version, "-q", 2).code, 0)
        self.assertEqual(subscriber.wait().out.decode().split(), list(VERSIONS))

    def test_mutual_tls_names_the_user(self):
        certificates = Certificates(self.directory)
        press, press_key = certificates.signed_as("press", "/CN=press-4")
        self.broker(listener={"tls": {"certificate": str(certificates.server), "key": str(certificates.server_key), "client_ca": str(certificates.ca),
                                      "require_client_certificate": True, "use_identity_as_username": True}},
                    acl=[{"user": "press-4", "allow": ["all"], "topics": ["x/#"]}])
        mine = ("--cafile", certificates.ca, "--cert", press, "--key", press_key)
        for who in (THEIRS, OURS):
            subscriber = self.subscriber(who, "x/#", *mine, "-C", 1)
            self.assertEqual({client["user"] for client in self.known().values()}, {"press-4"})
            self.pub("x/mutual", b"v", *mine, who=who)
            self.assertEqual(subscriber.wait().out, b"v\n")
            done = self.pub("x/mutual", b"v", "--cafile", certificates.ca, who=who, code=None)
            self.assertNotEqual(done.code, 0, "without a certificate")


class PythonPaho(Clients):
    """python3-paho-mqtt 1.6, over each transport."""

    def paho_client(self, protocol, transport, port, tls=False):
        client = paho.Client(unique_id("paho"), protocol=protocol, transport=transport, **({} if protocol == paho.MQTTv5 else {"clean_session": True}))
        client.got, client.up, client.subscribed = [], threading.Event(), threading.Event()
        client.on_connect = lambda *_: client.up.set()
        client.on_subscribe = lambda *_: client.subscribed.set()
        client.on_message = lambda _client, _data, message: client.got.append(message)
        if tls:
            client.tls_set(str(self.certificates.ca))
        client.connect("127.0.0.1", port, 30)
        client.loop_start()

        def close():
            client.disconnect()
            client.loop_stop()
        client.close = close
        self.clients.append(client)
        self.assertTrue(client.up.wait(10 * settings.PATIENCE), "connected")
        return client

    def test_every_protocol_and_transport(self):
        self.all_listeners()
        for protocol in (paho.MQTTv31, paho.MQTTv311, paho.MQTTv5):
            for transport, tls, port in (("tcp", False, self.port), ("tcp", True, self.tls_port), ("websockets", False, self.ws_port),
                                         ("websockets", True, self.wss_port)):
                with self.subTest(protocol=protocol, transport=transport, tls=tls):
                    self.both_ways(self.paho_client(protocol, transport, port, tls), protocol)

    def both_ways(self, client, protocol):
        topic = unique_id("x/paho")
        client.subscribe(topic, 2)
        self.assertTrue(client.subscribed.wait(10 * settings.PATIENCE), "subscribed")
        properties = None
        if protocol == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("unit", "K")]
        for qos in (0, 1, 2):
            client.publish(topic, PAYLOAD + b"%d" % qos, qos, properties=properties).wait_for_publish(10 * settings.PATIENCE)
        waiting.until(lambda: len(client.got) >= 3, "three messages")
        self.assertEqual([(message.qos, message.payload) for message in client.got], [(qos, PAYLOAD + b"%d" % qos) for qos in (0, 1, 2)])
        if properties is not None:
            self.assertEqual({tuple(message.properties.UserProperty) for message in client.got}, {(("unit", "K"),)})

    def test_a_thousand_messages_of_quality_of_service_2(self):
        self.broker()
        client, count = self.paho_client(paho.MQTTv5, "tcp", self.port), settings.scaled(1000, 200)
        client.subscribe("x/#", 2)
        self.assertTrue(client.subscribed.wait(10 * settings.PATIENCE))
        for n in range(count):
            client.publish("x/many", b"%d" % n, 2)
        waiting.until(lambda: len(client.got) >= count, "all messages", 60)
        self.assertEqual([message.payload for message in client.got], [b"%d" % n for n in range(count)])


class PahoC(Clients):
    """An agent of ours as any client of any broker: its input is Paho C."""

    def test_an_input_over_every_transport(self):
        self.all_listeners()
        urls = {"tcp": f"tcp://127.0.0.1:{self.port}", "ssl": f"ssl://127.0.0.1:{self.tls_port}", "ws": f"ws://127.0.0.1:{self.ws_port}",
                "wss": f"wss://127.0.0.1:{self.wss_port}"}
        lines = self.directory / "collected"
        inputs = [{"servers": [url], "topics": [f"x/{scheme}/{protocol}"], "qos": 1, "protocol": protocol, "client_id": f"collector-{scheme}-{protocol}", **VALUE,
                   **({"tls_ca": str(self.certificates.ca)} if scheme in ("ssl", "wss") else {})}
                  for scheme, url in urls.items() for protocol in ("3.1.1", "5")]
        collector = self.heliograf({"inputs": {"mqtt_consumer": inputs}, "outputs": {"file": [{"files": [str(lines)]}]}}, name="collector")
        count, sender = 20, self.client("sender")
        for n in range(count):
            for one in inputs:
                sender.publish(one["topics"][0], b"%d" % n, 1)
        collector.wait_settled(count * len(inputs))
        self.assertEqual(len(set(lines.read_text().splitlines())), count * len(inputs))
        collector.stop()

    def test_an_input_goes_on_after_the_broker_was_killed(self):
        """Its session is kept, and what was published meanwhile arrives: nothing twice with another value, nothing lost."""
        self.broker(persistence=True)
        lines = self.directory / "collected"
        one = {"servers": [f"tcp://127.0.0.1:{self.port}"], "topics": ["x/#"], "qos": 1, "protocol": "5", "client_id": "collector", **VALUE}
        collector = self.heliograf({"inputs": {"mqtt_consumer": [one]}, "outputs": {"file": [{"files": [str(lines)]}]}}, name="collector")
        for n in range(60):
            self.client(f"sender-{n}").publish("x/n", b"%d" % n, 1)
            if n % 20 == 10:
                self.restart(kill=n != 30)
        value = lambda line: int(float(line.split("value=")[1].split()[0]))
        collector.wait_for(lambda: {value(line) for line in lines.read_text().splitlines()} == set(range(60)), "all values")
        collector.stop()


class Bridge(Clients):
    """A bridge from a real Mosquitto into the embedded broker."""

    def bridged(self, *topics, options=(), **how):
        self.broker(persistence=True, **how)
        self.other = self.mosquitto(persistence=True, options=[
            "connection site", f"address 127.0.0.1:{self.port}", "cleansession false", "restart_timeout 1", "notifications true", *topics, *options])
        return self.other

    def wait_bridge(self):
        self.agent.wait_for(lambda: any(client["connected"] and client["subscriptions"] for client in self.known().values() if ".site" in client["client_id"]),
                            "the bridge")

    def there(self, client_id, **how):
        """A client of the Mosquitto."""
        client = Client(self.other.port, 5, client_id)
        self.clients.append(client)
        client.connect(client_id, **how)
        return client

    def ends(self, *filters):
        """A subscriber and a publisher on either side."""
        here, there = self.client("here"), self.there("there")
        here.subscribe(filters[0], 2)
        there.subscribe(filters[-1], 2)
        return here, there, self.client("sender"), self.there("sender")

    def both_directions(self, version):
        self.bridged("topic out/# out 2", "topic in/# in 2", options=[f"bridge_protocol_version {version}"])
        self.wait_bridge()
        here, there, sender_here, sender_there = self.ends("out/#", "in/#")
        for n in range(30):
            sender_there.publish(f"out/{n}", b"%d" % n, n % 3)
            sender_here.publish(f"in/{n}", b"%d" % n, n % 3)
        for client, word in ((here, "out"), (there, "in")):
            self.assertEqual(sorted((m.topic, m.qos) for m in client.collect(30)), sorted((f"{word}/{n}", n % 3) for n in range(30)))
            client.quiet()
        # Many at a time.
        for sender, client, word in ((sender_here, there, "in"), (sender_there, here, "out")):
            sender.send(*[Publish(f"{word}/burst/{n}", b"", 2, n + 1000) for n in range(15)])
            for n in range(15):
                sender.expect(Pubrec, packet_id=n + 1000, reason=0)
            sender.send(*[Pubrel(n + 1000) for n in range(15)])
            for n in range(15):
                sender.expect(Pubcomp, packet_id=n + 1000)
        sender_here.send(*[Publish(f"in/flood/{n}", b"", 1, n + 2000) for n in range(200)])
        for n in range(200):
            sender_here.expect(Puback, packet_id=n + 2000)
        self.assertEqual(sorted(m.topic for m in there.collect(215)),
                         sorted([f"in/burst/{n}" for n in range(15)] + [f"in/flood/{n}" for n in range(200)]))
        self.assertEqual([m.topic for m in here.collect(15)], [f"out/burst/{n}" for n in range(15)])

    def test_both_directions_with_mqtt_3_1(self):
        self.both_directions("mqttv31")

    def test_both_directions_with_mqtt_3_1_1(self):
        self.both_directions("mqttv311")

    def test_both_directions_with_mqtt_5(self):
        self.both_directions("mqttv50")

    def no_echo(self, version):
        """A bridge says that it is one, and is not sent what it brought; retained messages stay retained. With MQTT 5 it asks for that itself."""
        self.bridged("topic both/# both 2", options=[f"bridge_protocol_version {version}"])
        self.wait_bridge()
        here, there, sender_here, sender_there = self.ends([("both/#", 2 | RETAIN_AS_PUBLISHED)])
        sender_there.publish("both/1", "from there", 2)
        sender_here.publish("both/2", "from here", 2)
        sender_there.publish("both/3", "kept there", 1, retain=True)
        sender_here.publish("both/4", "kept here", 1, retain=True)
        for client in (here, there):
            self.assertEqual(sorted((m.topic, m.payload, m.retain) for m in client.collect(4)), [
                ("both/1", b"from there", False), ("both/2", b"from here", False), ("both/3", b"kept there", True), ("both/4", b"kept here", True)])
        for client in (here, there, here, there):
            client.quiet()

    def test_topics_in_both_directions_do_not_come_back_with_mqtt_3_1(self):
        self.no_echo("mqttv31")

    def test_topics_in_both_directions_do_not_come_back_with_mqtt_3_1_1(self):
        self.no_echo("mqttv311")

    def test_topics_in_both_directions_do_not_come_back_with_mqtt_5(self):
        self.no_echo("mqttv50")

    def test_restarts_of_either_side_lose_and_double_nothing(self):
        """Not with MQTT 5, where a bridge of 2.0.11 has a session that ends with its connection."""
        self.bridged("topic out/# out 2", "topic in/# in 2")
        self.wait_bridge()
        kept = {"clean": False, "properties": {"session_expiry": 3600}}
        here, there = self.client("here", **kept), self.there("there", **kept)
        here.subscribe("out/#", 2)
        there.subscribe("in/#", 2)
        # Mosquitto is away: what is published here waits for the bridge.
        self.close_clients()
        self.other.stop()
        sender = self.client("sender")
        for n in range(50):
            sender.publish(f"in/{n}", b"%d" % n, 2)
        self.other.start()
        self.wait_bridge()
        # We are away, once orderly and once killed: what is published there waits in the bridge.
        for round_, kill in enumerate((False, True)):
            self.close_clients()
            self.agent.kill9() if kill else self.agent.stop()
            sender = self.there("sender-there")
            for n in range(50):
                sender.publish(f"out/{round_}/{n}", b"%d" % n, 2)
            self.agent.start()
            self.wait_bridge()
        here, there = self.client("here", present=True, **kept), self.there("there", present=True, **kept)
        self.assertEqual([m.topic for m in there.collect(50)], [f"in/{n}" for n in range(50)])
        self.assertEqual([m.topic for m in here.collect(100)], [f"out/{round_}/{n}" for round_ in (0, 1) for n in range(50)])
        there.quiet()
        here.quiet()

    def test_its_state_is_retained(self):
        """`$SYS/broker/connection/<name>/state`, as a bridge says it to both brokers: 1, and 0 as its will."""
        self.bridged("topic in/# in 2")
        self.wait_bridge()
        here = self.client("here")
        here.subscribe("$SYS/broker/connection/+/state", 1)
        self.assertEqual([(m.payload, m.retain) for m in here.collect(1)], [(b"1", True)])
        self.other.kill()
        self.assertEqual([m.payload for m in here.collect(1)], [b"0"])


JAVASCRIPT = """
const mqtt = require("mqtt");
const [url, version, ca] = process.argv.slice(2);
const options = { protocolVersion: Number(version), clientId: "js-" + process.pid, reconnectPeriod: 0, connectTimeout: 10000 };
if (ca) options.ca = require("fs").readFileSync(ca);
const client = mqtt.connect(url, options);
const got = [];
const fail = (why) => { console.error(String(why)); process.exit(1); };
client.on("error", fail);
client.on("message", (topic, payload, packet) => {
  got.push([topic, payload.length, payload[payload.length - 1], packet.qos]);
  if (got.length === 3) client.end(false, {}, () => { console.log(JSON.stringify(got)); process.exit(0); });
});
client.on("connect", () => client.subscribe("x/js/#", { qos: 2 }, (refused) => {
  if (refused) fail(refused);
  for (const qos of [0, 1, 2]) client.publish("x/js/" + qos, Buffer.alloc(70000, qos), { qos }, (why) => { if (why) fail(why); });
}));
setTimeout(() => fail("not in time: " + JSON.stringify(got)), 30000);
"""


class JavaScript(Clients):
    """`mqtt` of npm (Debian: node-mqtt), which is what browsers use too."""

    ENV = {"NODE_PATH": os.pathsep.join(filter(None, (os.environ.get("NODE_PATH"), "/usr/share/nodejs", "/usr/lib/nodejs")))}

    @classmethod
    def setUpClass(cls):
        if shutil.which("node") is None:
            raise unittest.SkipTest("no node: install nodejs and node-mqtt")
        if subprocess.run(["node", "-e", 'require("mqtt")'], env=clean_environment(cls.ENV), capture_output=True).returncode:
            raise unittest.SkipTest("node has no module mqtt: install node-mqtt")

    def test_every_transport(self):
        self.all_listeners()
        script = self.directory / "client.js"
        script.write_text(JAVASCRIPT)
        for url in (f"mqtt://127.0.0.1:{self.port}", f"mqtts://127.0.0.1:{self.tls_port}", f"ws://127.0.0.1:{self.ws_port}/mqtt", f"wss://127.0.0.1:{self.wss_port}/mqtt"):
            for version in ("4", "5"):
                with self.subTest(url=url, version=version):
                    ca = [str(self.certificates.ca)] if "s://" in url and "ws://" != url[:5] else []
                    done = subprocess.run(["node", script, url, version, *ca], env=clean_environment(self.ENV), capture_output=True, text=True,
                                          timeout=60 * settings.PATIENCE, preexec_fn=_die_with_parent)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(sorted(json.loads(done.stdout)), [[f"x/js/{qos}", 70000, qos, qos] for qos in (0, 1, 2)])
