"""What a user of the embedded broker sees and cannot read in the specifications, or what only several clients together show."""
import json
import signal
import ssl
import socket
import time

from tests.support import settings, waiting
from tests.support.broker_scenario import BrokerScenario, password_line
from tests.support.certificates import Certificates
from tests.support.heliograf import command
from tests.support.mqtt_raw import (NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER, Connack, Connect, Publish, Puback, Subscribe, Suback, Will)

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

    def test_an_input_takes_a_message_with_its_own_qos(self):
        """Also with `qos: 0`, which every input has unless it says otherwise: the acknowledgement waits for the spool, and not for anything else."""
        for sync in ("memory", "commit"):
            with self.subTest(sync=sync):
                agent = self.broker(input={"qos": 0}, config={"agent": {"spool": {"sync": sync, "directory": str(self.directory / f"spool-{sync}")}}})
                writer = self.client("writer")
                began = time.monotonic()
                for n in range(20):
                    writer.publish("t/1", b"%d" % n, 1 + n % 2)
                self.assertLess(time.monotonic() - began, 10 * settings.PATIENCE, "seconds: each waited for a lazy write")
                agent.wait_for(lambda: agent.outcome("stored") >= 20 and agent.pending() == 0, "all stored")
                self.close_clients()
                agent.stop()

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


class Later(BrokerScenario):
    """Messages that are published later: `$delayed`, wills with a delay."""

    def elapsed(self, since):
        return time.monotonic() - since

    def test_delayed_messages_come_when_they_are_due(self):
        """Both names of the prefix; in the order of their times and not in that of their arrival; with their QoS and properties."""
        self.broker()
        reader, writer, started = self.client("reader"), self.client("writer", 4), time.monotonic()
        reader.subscribe("x/#", 2)
        writer.publish("$delayed/2/x/second", "2", 2)
        writer.publish("$delay/1/x/first", "1", 1)
        self.client("five").publish(f"$delayed/{int(time.time()) + 3}/x/third", "3", 1, properties={"content_type": "text/plain"})
        writer.publish("x/now", "0", 1)
        for n, (topic, qos) in enumerate((("x/now", 1), ("x/first", 1), ("x/second", 2), ("x/third", 1))):
            reader.take(topic, str(n), qos=qos, properties={"content_type": "text/plain"} if n == 3 else {})
            self.assertGreater(self.elapsed(started), n - (1.1 if n == 3 else 0.1), topic)
        self.assertLess(self.elapsed(started), 3 + 2 * settings.PATIENCE)

    def test_a_delayed_message_that_is_retained_is_so_when_it_is_due(self):
        self.broker()
        writer, reader = self.client("writer"), self.client("reader")
        writer.publish("$delayed/1/x/kept", "later", 1, retain=True)
        reader.subscribe("x/#", 1)
        reader.quiet()
        reader.take("x/kept", "later", retain=False)
        self.client("newcomer").subscribe("x/#")
        self.clients[-1].take("x/kept", "later", retain=True)

    def test_delayed_messages_survive_a_crash(self):
        self.broker(persistence=True)
        writer = self.client("writer")
        for n in range(10):
            writer.publish(f"$delayed/{4 + n % 2}/x/{n}", str(n), 1 + n % 2)
        session = {"clean": False, "properties": {"session_expiry": 100}}
        self.client("reader", **session).subscribe("x/#", 2)
        self.restart()
        self.assertEqual(self.agent.figure("broker_delayed_messages"), 10)
        reader = self.client("reader", present=True, **session)
        self.assertEqual(sorted((m.topic, m.qos) for m in reader.collect(10)), [(f"x/{n}", 1 + n % 2) for n in range(10)])
        reader.quiet()

    def test_what_is_no_delay_is_refused(self):
        self.broker(max_delay="1h", max_delayed_messages=2)
        writer = self.client("writer")
        for topic in ("$delayed/x/a", "$delayed/-1/a", "$delayed/1/", "$delayed//a", "$delayed/1", "$delayed/1/$delayed/1/a", "$delayed/1/$SYS/a",
                      "$delayed/1/$share/g/a", "$delayed/99999999999999999999/a"):
            writer.publish(topic, "v", 1, reason=0x90)
        writer.publish("$delayed/3601/a", "too far away", 1, reason=0x97)
        writer.publish("$delayed/600/a", "1", 1, reason=0)
        writer.publish("$delayed/600/a", "2", 2, reason=0)
        for qos in (1, 2):
            writer.publish("$delayed/600/a", "too many", qos, reason=0x97)
        self.assertEqual(self.agent.figure("broker_delayed_messages"), 2)

    def test_rules_are_those_of_the_inner_topic(self):
        self.broker(acl=[{"everybody": True, "allow": ["all"], "topics": ["x/#"]}])
        writer = self.client("writer")
        writer.publish("$delayed/0/y/a", "v", 1, reason=0x87)
        reader = self.client("reader")
        reader.subscribe("x/#", 1)
        writer.publish("$delayed/0/x/a", "v", 1, reason=0)
        reader.take("x/a", "v")

    def test_a_will_with_a_delay(self):
        """Not at once; not at all when the client is back in time; at the end of the session if that is sooner."""
        self.broker()
        reader = self.client("reader")
        reader.subscribe("x/#", 1)
        will = lambda delay: Will("x/will", str(delay), 1, properties={"will_delay": delay})
        session = {"clean": False, "properties": {"session_expiry": 100}}
        self.client("back", will=will(1), **session).close()
        self.client("back", present=True, **session)
        away, started = self.client("away", will=will(2), **session), time.monotonic()
        away.close()
        self.client("short", clean=False, properties={"session_expiry": 1}, will=will(50)).close()
        reader.quiet()
        reader.take("x/will", "50")
        self.assertGreater(self.elapsed(started), 0.9)
        reader.take("x/will", "2")
        self.assertGreater(self.elapsed(started), 1.9)
        reader.quiet()


class Shared(BrokerScenario):
    """`$share/group/filter`."""

    def counts(self, strategy, senders=1, messages=60):
        """[topics that each of three members got], in the order in which they subscribed."""
        self.broker(shared_subscriptions=strategy)
        members = [self.client(f"member-{n}") for n in range(3)]
        for member in members:
            member.subscribe("$share/group/x/#", 1)
        publishers = [self.client(f"sender-{n}") for n in range(senders)]
        for n in range(messages):
            publishers[n % senders].publish(f"x/{n % senders}/{n}", "v", 1)
        got = []
        for member in members:
            member.send(Subscribe(9, "end/of/test", 0))
            found = []
            while not isinstance(one := member.receive(), Suback):
                found.append(one.topic)
                member.send(Puback(one.packet_id))
            got.append(found)
        self.assertEqual(sorted(sum(got, [])), sorted(f"x/{n % senders}/{n}" for n in range(messages)), "each message went to one member")
        return got

    def test_round_robin(self):
        self.assertEqual([len(topics) for topics in self.counts("round_robin")], [20, 20, 20])

    def test_sticky(self):
        self.assertEqual(sorted(len(topics) for topics in self.counts("sticky")), [0, 0, 60])

    def test_sender_hash(self):
        """A sender's messages all go to the same member, in their order; and several senders do not all have the same."""
        got = self.counts("sender_hash", senders=12, messages=120)
        members_of = {}
        for number, topics in enumerate(got):
            for topic in topics:
                members_of.setdefault(topic.split("/")[1], set()).add(number)
        self.assertEqual({len(members) for members in members_of.values()}, {1})
        self.assertGreater(len([topics for topics in got if topics]), 1)

    def test_members_that_are_connected_come_first(self):
        self.broker()
        session = {"clean": False, "properties": {"session_expiry": 100}}
        away, there = self.client("away", **session), self.client("there")
        for member in (away, there):
            member.subscribe("$share/group/x", 1)
        away.close()
        waiting.until(lambda: self.agent.figure("broker_clients_connected") == 1, "one is away")
        writer = self.client("writer")
        for n in range(10):
            writer.publish("x", str(n), 1)
        self.assertEqual([m.payload for m in there.collect(10)], [b"%d" % n for n in range(10)])
        there.disconnect()
        writer.publish("x", "kept", 1)
        self.client("away", present=True, **session).take("x", "kept")

    def test_no_retained_messages_and_others_get_theirs(self):
        self.broker()
        writer, member, other = self.client("writer"), self.client("member"), self.client("other")
        writer.publish("x", "kept", 1, retain=True)
        member.subscribe("$share/group/x", 1)
        member.quiet()
        other.subscribe("x", 1)
        other.take("x", "kept", retain=True)
        writer.publish("x", "live", 1)
        for client in (member, other):
            client.take("x", "live")


class Visible(BrokerScenario):
    """What the broker says of itself and of its clients."""

    def sys_topics(self, port, wanted):
        client = self.raw(5, "looker", port)
        client.connect("looker")
        client.subscribe("$SYS/broker/#", 0)
        found = {}
        while wanted - found.keys():
            message = client.expect(Publish)
            found[message.topic] = message.payload.decode()
        return found

    def test_its_names_are_mosquittos(self):
        """Every topic that Mosquitto 2.0.11 has is here too, with a value of the same form, less what it says of its own memory and log."""
        self.broker(sys_interval="1s")
        other = self.mosquitto(options=["sys_interval 1"])
        writer = self.client("writer")
        writer.publish("x", "v", 1, retain=True)
        names = {f"$SYS/broker/load/{what}/{span}" for span in ("1min", "5min", "15min") for what in (
            "messages/received", "messages/sent", "publish/dropped", "publish/received", "publish/sent", "bytes/received", "bytes/sent", "sockets", "connections")}
        # A value is published when it changes, and all of them once; the last is known to come with them.
        theirs = self.sys_topics(other.port, {"$SYS/broker/uptime", "$SYS/broker/retained messages/count", "$SYS/broker/load/connections/15min"})
        theirs = {name for name in theirs if "/heap/" not in name and "/log/" not in name}
        self.assertGreater(len(theirs), 30)
        ours = self.sys_topics(self.port, theirs | names | {"$SYS/broker/version", "$SYS/broker/shared_subscriptions/count", "$SYS/broker/packet/out/count"})
        for name, value in ours.items():
            form = r"^heliograf version \d" if name.endswith("/version") else r"^\d+ seconds$" if name.endswith("/uptime") else (
                r"^\d+\.\d\d$" if "/load/" in name else r"^\d+$")
            self.assertRegex(value, form, name)
        self.assertGreaterEqual(int(ours["$SYS/broker/clients/connected"]), 1)

    def test_events_of_clients(self):
        """EMQX's topics and fields."""
        self.broker(client_events=True, subscription_events=True, node="site-1")
        watcher = self.client("watcher")
        watcher.send(Subscribe(1, "$SYS/brokers/+/clients/#", 0))
        watcher.expect_all((Suback, {"reasons": [0]}), (Publish, {"topic": "$SYS/brokers/site-1/clients/watcher/subscribed"}))
        before = time.time() * 1000
        press = self.client("press/4", 4, user="press", clean=False, keepalive=77)
        event = lambda name: json.loads(watcher.take(f"$SYS/brokers/site-1/clients/press%2F4/{name}", retain=False, qos=0).payload)
        connected = event("connected")
        self.assertEqual({key: connected[key] for key in ("clientid", "username", "ipaddress", "sockport", "proto_name", "proto_ver", "keepalive", "clean_start", "protocol")},
                         {"clientid": "press/4", "username": "press", "ipaddress": "127.0.0.1", "sockport": self.port, "proto_name": "MQTT", "proto_ver": 4, "keepalive": 77,
                          "clean_start": False, "protocol": "mqtt"})
        for key in ("connected_at", "ts"):
            self.assertTrue(before - 1000 < connected[key] < time.time() * 1000 + 1000, connected)
        press.subscribe("x/#", 1)
        subscribed = event("subscribed")
        self.assertEqual((subscribed["topic"], subscribed["subopts"]["qos"]), ("x/#", 1))
        press.unsubscribe("x/#")
        self.assertEqual(event("unsubscribed")["topic"], "x/#")
        press.disconnect()
        self.assertEqual((gone := event("disconnected"))["reason"], "normal")
        self.assertGreaterEqual(gone["disconnected_at"], connected["connected_at"])
        for end, reason in ((lambda client: client.close(), "tcp_closed"), (lambda client: client.send(b"\xf0\x00"), "protocol_error"),
                            (lambda client: self.client("press/4", 4, present=True, clean=False, user="press"), "takenover")):
            client = self.client("press/4", 4, present=True, clean=False, user="press")
            event("connected")
            end(client)
            self.assertEqual(event("disconnected")["reason"], reason)

    def test_presence_is_measured(self):
        """A point for each change, in the outputs."""
        self.broker()
        for version, word in ((3, "3.1"), (4, "3.1.1"), (5, "5.0")):
            self.client(f"press {version}", version, user="a=b", keepalive=50).disconnect()
        dying = self.client("dying")
        dying.close()
        mine = lambda: [line for line in self.lines() if line.startswith("mqtt_client,")]
        self.agent.wait_for(lambda: len(mine()) >= 8, "eight points")
        lines = sorted(mine(), key=lambda line: int(line.rpartition(" ")[2]))
        for n, word in enumerate(("3.1", "3.1.1", "5.0")):
            self.assertRegex(lines[2 * n], rf'^mqtt_client,client_id=press\\ {n + 3},user=a\\=b connected=1i,address="127.0.0.1",protocol="mqtt {word}",keepalive=50i \d+$')
            self.assertRegex(lines[2 * n + 1], rf'^mqtt_client,client_id=press\\ {n + 3},user=a\\=b connected=0i,reason="normal",duration=\d[.\d]* \d+$')
        self.assertRegex(lines[7], '^mqtt_client,client_id=dying connected=0i,reason="tcp_closed",duration=')

    def test_presence_at_the_end(self):
        """Whoever is there when the broker stops is gone then, in the outputs too."""
        self.broker()
        for n in range(5):
            self.client(f"press-{n}")
        self.client("left").disconnect()
        self.agent.stop()
        last = {}
        for line in sorted((line for line in self.lines() if line.startswith("mqtt_client,")), key=lambda line: int(line.rpartition(" ")[2])):
            last[line.split(" ")[0].partition("client_id=")[2]] = line
        self.assertEqual(sorted(last), ["left"] + [f"press-{n}" for n in range(5)])
        for name, line in last.items():
            self.assertIn(f'connected=0i,reason="{"normal" if name == "left" else "server_shutdown"}"', line)
        self.assertIn(" 0 dropped,", self.agent.log_lines("STOPPED-OUTPUT")[0])

    def test_the_command_clients(self):
        self.broker()
        press = self.client("press-4/a", user="press")
        press.subscribe(["x/1", "x/2"])
        kept = self.client("kept", clean=False, properties={"session_expiry": 100})
        kept.disconnect()
        config = ("--config", self.agent.config_path)
        done = command("clients", *config)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {line.split()[0]: line for line in done.stdout.splitlines()}
        self.assertRegex(rows["press-4/a"], r"online +since .* 127\.0\.0\.1 +mqtt 5(\.0)? +2 subscriptions .* user press")
        self.assertIn("offline", rows["kept"])
        listed = {client["client_id"]: client for client in json.loads(command("clients", "list", "--json", *config).stdout)}
        self.assertEqual((listed["press-4/a"]["connected"], listed["kept"]["connected"]), (True, False))
        done = command("clients", "kick", "press-4/a", *config)
        self.assertEqual(done.returncode, 0, done.stderr)
        press.expect_closed(0x98)
        done = command("clients", "kick", "nobody", *config)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nobody", done.stderr)


class Reload(BrokerScenario):
    """SIGHUP."""

    def reload(self, words):
        before = len(self.agent.log_lines(words))
        self.agent.signal(signal.SIGHUP)
        self.agent.wait_for(lambda: len(self.agent.log_lines(words)) > before, words)

    def refused(self, **connect):
        client = self.raw()
        client.send(Connect("x", **connect))
        self.assertIn(client.expect(Connack).reason, (0x86, 0x87))

    def test_passwords_and_rules(self):
        self.broker(password_file=self.passwords(old="one"), acl_file=self.file("acl", "user old\ntopic x/#\n"))
        old = {"user": "old", "password": "one"}
        client = self.client("stays", **old)
        client.subscribe("x/#", 1)
        client.publish("y", "v", 1, reason=0x87)
        self.file("passwords", password_line("new", "two"))
        self.file("acl", "user new\ntopic y/#\nuser old\ntopic y\n")
        self.reload("BROKER-RELOADED")
        self.refused(**old)
        client.publish("y", "v", 1, reason=0x10)  # the connection stays, and its rights are the new ones
        client.publish("x/1", "v", 1, reason=0x87)
        new = self.client("new", user="new", password="two")
        new.subscribe("y/#", 1)
        self.client("writer", user="new", password="two").publish("y/1", "v", 1, reason=0)
        new.take("y/1", "v")

    def test_a_file_that_is_wrong_changes_nothing(self):
        self.broker(password_file=self.passwords(old="one"), acl_file=self.file("acl", "user old\ntopic x/#\n"))
        for name, content in (("passwords", "no colon here\n"), ("acl", "topic read\nnonsense x\n")):
            good = (self.directory / name).read_text()
            self.file(name, content)
            self.reload("BROKER-RELOAD ")
            self.refused(user="new", password="two")
            self.refused()
            client = self.client(f"still-{name}", user="old", password="one")
            client.subscribe("x/#", 1)
            self.client(f"writer-{name}", user="old", password="one").publish("x/1", "v", 1, reason=0)
            client.take("x/1", "v")
            client.publish("y", "v", 1, reason=0x87)
            client.disconnect()
            self.file(name, good)

    def test_certificates(self):
        """New connections get the new one, old ones stay; one that is no certificate changes nothing."""
        certificates = Certificates(self.directory)
        used, used_key = self.directory / "used.crt", self.directory / "used.key"

        def use(certificate, key):
            used.write_bytes(certificate.read_bytes())
            used_key.write_bytes(key.read_bytes())
            used_key.chmod(0o600)
        use(certificates.server, certificates.server_key)
        self.broker(listener={"tls": {"certificate": str(used), "key": str(used_key)}})
        context = ssl.create_default_context(cafile=certificates.ca)
        context.check_hostname = False

        def connect(name):
            secure = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=10 * settings.PATIENCE))
            client = self.raw(5, name, sock=secure)
            client.connect(name)
            return client, secure.getpeercert()["subject"][0][0][1]
        old, name = connect("old")
        self.assertEqual(name, "server")
        use(certificates.stranger, certificates.stranger_key)
        self.reload("BROKER-RELOADED")
        self.assertEqual(connect("new")[1], "stranger")
        old.quiet()
        used.write_text("no certificate")
        self.reload("BROKER-RELOAD ")
        self.assertEqual(connect("newer")[1], "stranger")
        old.quiet()


class Terms(BrokerScenario):
    """What a client asks for and what it is told."""

    def test_an_assigned_client_id(self):
        self.broker()
        first, second = self.raw(), self.raw()
        names = [client.connect("").properties["assigned_client_id"] for client in (first, second)]
        self.assertEqual(len(set(names)), 2)
        self.assertTrue(all(names))
        third = self.raw(4)
        third.connect("")
        refused = self.raw(4)
        refused.send(Connect("", clean=False))
        refused.expect(Connack, reason=2)
        refused.expect_closed()

    def test_a_session_under_an_assigned_client_id(self):
        self.broker()
        first, session = self.raw(), {"clean": False, "properties": {"session_expiry": 100}}
        name = first.connect("", **session).properties["assigned_client_id"]
        first.subscribe("x", 1)
        first.disconnect()
        self.client("writer").publish("x", "kept", 1)
        self.client(name, present=True, **session).take("x", "kept")

    def test_server_keep_alive(self):
        self.broker(max_keepalive=2)
        for asked in (0, 3, 65535):
            self.assertEqual(self.client(f"k{asked}", keepalive=asked).connack.properties["server_keep_alive"], 2)
        self.assertNotIn("server_keep_alive", self.client("k2", keepalive=2).connack.properties)
        silent, started = self.client("silent", keepalive=100), time.monotonic()
        silent.expect_closed(0x8D)
        self.assertTrue(2.5 < time.monotonic() - started < 4 + 4 * settings.PATIENCE)

    def test_maximum_packet_size(self):
        """The broker's is told and kept, the client's is kept: what is too large for it is not sent, and nobody waits for it."""
        self.broker(max_packet_size="4KiB")
        writer = self.client("writer")
        self.assertEqual(writer.connack.properties["maximum_packet_size"], 4096)
        small, large = self.client("small", properties={"maximum_packet_size": 100, "receive_maximum": 1}), self.client("large", 4)
        for reader in (small, large):
            reader.subscribe("x/#", 2)
        overhead = len(Publish("x/1", b"", 1, 1).encode(5)) + 1  # a Remaining Length of two bytes
        for qos in (0, 1, 2):
            writer.publish("x/1", b"y" * 200, qos)
            writer.publish("x/1", b"small", qos)
            small.take("x/1", b"small", qos=qos)
            self.assertEqual([len(m.payload) for m in large.collect(2)], [200, 5])
        self.assertEqual(self.agent.figure("broker_messages_dropped_total", reason="too_large"), 3)
        writer.publish("x/1", b"y" * (4096 - overhead), 1)
        writer.send(Publish("x/1", b"y" * (4096 - overhead + 1), 1, 7))
        writer.expect_closed(0x95)

    def test_message_expiry(self):
        """It counts down, whole seconds that are left; what has expired is not delivered, neither from a queue nor as retained message."""
        self.broker()
        session = {"clean": False, "properties": {"session_expiry": 100}}
        reader = self.client("reader", **session)
        reader.subscribe("x/#", 1)
        reader.disconnect()
        writer, started = self.client("writer"), time.monotonic()
        for topic, seconds in (("x/short", 1), ("x/long", 1000)):
            writer.publish(topic, "v", 1, retain=True, properties={"message_expiry": seconds})
        time.sleep(max(0.0, 2.2 - (time.monotonic() - started)))  # time itself is what this is about
        reader = self.client("reader", present=True, **session)
        newcomer = self.client("newcomer")
        newcomer.subscribe("x/#", 1)
        for client, retained in ((reader, False), (newcomer, True)):
            left = client.take("x/long", retain=retained).properties["message_expiry"]
            self.assertTrue(1000 - (time.monotonic() - started) - 1 <= left <= 998, left)
            client.quiet()

    def test_retained_messages_by_what_a_subscriber_asks(self):
        self.broker()
        writer, reader = self.client("writer"), self.client("reader")
        writer.publish("x", "kept", 1, retain=True)
        expectations = [  # options, whether it comes
            (1, True), (1, True), (1 | RETAIN_IF_NEW, False), (1 | RETAIN_NEVER, False)]
        for options, comes in expectations:
            reader.subscribe([("x", options)])
            if comes:
                reader.take("x", "kept", retain=True)
            reader.quiet()
        for options, comes in ((1 | RETAIN_NEVER, False), (1 | RETAIN_IF_NEW, True)):
            reader.unsubscribe("x")
            reader.subscribe([("x", options)])
            if comes:
                reader.take("x", "kept", retain=True)
            reader.quiet()
        for options, retain in ((1, False), (1 | RETAIN_AS_PUBLISHED, True)):
            reader.subscribe([("x", options | RETAIN_NEVER)])
            writer.publish("x", "live", 1, retain=True)
            reader.take("x", "live", retain=retain)
        writer.publish("x", "", 1, retain=True)
        reader.take("x", "", retain=True)
        self.client("late").subscribe("#")
        self.clients[-1].quiet()
