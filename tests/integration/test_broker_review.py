"""
What a review of another broker's 2026 release looked for, one test per rule (the numbers are those of tests/advisories.md), and state on disk that is
damaged or no longer fits.
"""
import json
import random
import socket
import sqlite3

from tests.support import ports, settings
from tests.support.broker_scenario import BrokerScenario, broker_config, password_line
from tests.support.heliograf import command
from tests.support.mqtt_raw import (RETAIN_IF_NEW, RETAIN_NEVER, Connack, Connect, Disconnect, Puback, Publish, Pubcomp, Pubrec, Pubrel, Suback, Subscribe, Will)
from tests.support.process import Process

KEEP = {"clean": False, "properties": {"session_expiry": 600}}


class Damage(BrokerScenario):
    def test_row_28_state_that_is_damaged_or_hostile(self):
        """Mosquitto crashed on persistence files with wrong lengths. Whatever stands there: the broker starts, says so, keeps the file, and serves."""
        self.broker(persistence=True)
        client = self.client("keeper", clean=False, properties={"session_expiry": 600})
        client.subscribe("k/#", 1)
        for n in range(40):
            client.publish(f"r/{n}", b"x" * 500, 1, retain=True)
        self.close_clients()
        self.agent.stop()
        state = next(path for path in (self.directory / "state").iterdir() if path.suffix not in (".lock",) and path.stat().st_size > 4096)
        good = state.read_bytes()
        chance = random.Random(28)
        scattered = bytearray(good)
        for _ in range(200):
            scattered[chance.randrange(100, len(good))] ^= 1 << chance.randrange(8)
        huge_page = bytearray(good)
        huge_page[16:18] = b"\xff\xff"
        cases = {"no file at all": None, "nothing": b"", "one byte": b"S", "half": good[:len(good) // 2], "a cut tail": good[:-100], "random": chance.randbytes(len(good)),
                 "zeros": bytes(len(good)), "flipped bits": bytes(scattered), "a wrong page size": bytes(huge_page), "behind the head, nothing": good[:100] + bytes(len(good) - 100),
                 "Mosquitto's": b"\x00\xB5\x00mosquitto db" + bytes(200), "another database": self.another_database()}
        for what, content in cases.items():
            with self.subTest(what):
                for path in (self.directory / "state").iterdir():
                    path.unlink()
                if content is not None:
                    state.write_bytes(content)
                said = len(self.agent.log_lines("BROKER-STATE-DAMAGED"))
                self.agent.start()
                client = self.raw(5, "keeper")
                client.send(Connect("keeper", **KEEP))
                client.expect(Connack, reason=0)
                client.publish("again", b"x", 2)
                self.client("other").quiet()
                self.close_clients()
                self.agent.stop()
                if content and len(content) > 1:  # less than a page is an empty database for SQLite
                    self.assertEqual(len(self.agent.log_lines("BROKER-STATE-DAMAGED")), said + 1, what)

    def another_database(self):
        path = self.directory / "other.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE session (x)")
            database.execute("INSERT INTO session VALUES ('hello')")
        database.close()
        return path.read_bytes()

    def test_review_19_a_state_that_cannot_be_opened_is_an_error(self):
        """Not a broker that forgets in silence: it does not start, and names the directory."""
        (self.directory / "state").write_text("a file where the directory should be")
        self.port = ports.free_port()
        agent = self.new_heliograf(broker_config(self.directory, self.port, persistence={"directory": str(self.directory / "state")}))
        Process.start(agent)
        self.assertNotEqual(agent.child.wait(20 * settings.PATIENCE), 0)
        self.assertIn(str(self.directory / "state"), agent.log())

    def test_review_18_sessions_that_ended_meanwhile_are_purged_at_the_start(self):
        """And those that end at once are never there."""
        self.broker(persistence=True)
        for name, expiry in (("short", 1), ("none", 0), ("long", 600)):
            client = self.client(name, clean=False, properties={"session_expiry": expiry})
            client.subscribe("p/#", 1)
        self.client("sender").publish("p/1", b"x", 1)
        self.restart()
        self.agent.wait_for(lambda: self.agent.figure("broker_sessions") == 1, "only the long one is left")
        self.restart()
        self.agent.wait_for(lambda: self.agent.figure("broker_sessions") == 1, "and is so after another start")
        self.client("long", present=True, clean=False, properties={"session_expiry": 600}).take("p/1", b"x")
        for name in ("short", "none"):
            self.client(name, present=False, clean=False, properties={"session_expiry": 0}).quiet()

    def test_review_17_a_session_that_ends_drops_its_stored_queue(self):
        """Expiry 0 by DISCONNECT, by a later CONNECT, and by clean start: after a crash nothing of it is there."""
        self.broker(persistence=True)
        keep, names = {"clean": False, "properties": {"session_expiry": 600}}, ("disconnects", "reconnects", "cleans")
        for name in names:
            self.client(name, **keep).subscribe("p/#", 1)
        for client in self.clients:
            client.send(Disconnect())
            client.expect_closed()
        sender = self.client("sender")
        for n in range(5):
            sender.publish("p/1", b"%d" % n, 1)
        client = self.client("disconnects", present=True, **keep)
        client.send(Disconnect(0, {"session_expiry": 0}))
        self.client("reconnects", present=True, clean=False).collect(5)
        self.client("cleans", present=False, clean=True).ping()
        sender.publish("p/2", b"x", 1, retain=True)  # on disk when it is acknowledged, and all before it
        self.restart()
        self.agent.wait_for(lambda: self.agent.figure("broker_sessions") == 0, "no session is left")
        self.assertEqual(self.agent.figure("broker_queued_messages"), 0)
        for name in names:
            self.client(name, present=False, **keep).quiet()

    def test_review_19_what_no_longer_fits_is_said(self):
        """Limits that were lowered: sessions are all taken over, messages above the limits are left out with words."""
        self.broker(persistence=True)
        sender = self.client("sender")
        for n in range(6):
            self.client(f"s{n}", clean=False, properties={"session_expiry": 600}).subscribe(f"p/{n}", 1)
            sender.publish(f"r/{n}", b"%d" % n, 1, retain=True)
            sender.publish(f"$delayed/500/d/{n}", b"%d" % n, 1)
        self.close_clients()
        self.agent.stop()
        self.reconfigure(persistence={"directory": str(self.directory / "state")}, max_sessions=3, max_retained_messages=4, max_delayed_messages=3)
        self.agent.start()
        self.assertRegex(self.agent.wait_log("BROKER-STATE-LEFT"), r"2 retained .*3 delayed")
        for n in range(6):
            client = self.client(f"s{n}", present=True, clean=False, properties={"session_expiry": 600})
            client.send(Publish(f"p/{n}", b"x", 1, 9))
            client.expect_all((Puback, {"packet_id": 9}), (Publish, {"topic": f"p/{n}"}))
            client.quiet()
        self.restart()
        self.assertEqual(self.agent.figure("broker_delayed_messages"), 3)
        reader = self.client("s0", present=True, clean=False, properties={"session_expiry": 600})  # there is no room for another
        reader.take("p/0", dup=True)
        reader.send(Subscribe(9, "r/#"))  # its SUBACK waits for the disk, and retained messages do not
        reader.expect_all((Suback, {"packet_id": 9}), *[(Publish, {"topic": f"r/{n}", "retain": True}) for n in range(4)])
        reader.quiet()
        self.assertEqual((len(self.agent.log_lines("BROKER-STATE-LEFT")), self.agent.log_lines("BROKER-STATE-ORPHANS")), (1, []))


class Connecting(BrokerScenario):
    def refused(self, connect, *reasons):
        """CONNACK with one of these reasons, or silence when that is among them, and the end."""
        client = self.raw()
        client.send(connect)
        found = client.receive()
        self.assertIn(found.reason if isinstance(found, Connack) else None, reasons, f"{connect}: {found}")
        if found is not None:
            client.expect_closed()

    def test_review_01_receive_maximum_0_and_maximum_packet_size_0(self):
        self.broker()
        for name in ("receive_maximum", "maximum_packet_size"):
            self.refused(Connect("x", properties={name: 0}), 0x82)

    def test_review_02_authentication_data_and_methods(self):
        """Data without a method is an error; a method that the broker does not have is 0x8C, whatever user and password say."""
        self.broker(password_file=self.passwords(u="p"))
        self.refused(Connect("x", user="u", password="p", properties={"authentication_data": b"d"}), 0x82)
        self.refused(Connect("x", user="u", password="p", properties={"authentication_method": "SCRAM-SHA-1"}), 0x8C)
        self.refused(Connect("x", user="u", password="p", properties={"authentication_method": "SCRAM-SHA-1", "authentication_data": b"d"}), 0x8C)
        self.refused(Connect("x", user="u", password="p", properties={"authentication_method": ""}), 0x8C)
        self.client("x", user="u", password="p").quiet()

    def test_review_03_sessions_of_mqtt_5_end_with_their_connection_unless_they_ask(self):
        """Whatever Clean Start says; in 3.x it says it all."""
        self.broker()
        for version, clean, kept in ((5, True, False), (5, False, False), (4, True, False), (4, False, True), (3, True, False), (3, False, True)):
            with self.subTest(version=version, clean=clean):
                client = self.client(f"device{version}", version, clean=clean)
                client.subscribe("a/#", 1)
                client.disconnect()
                self.client(f"device{version}", version, present=kept, clean=False).disconnect()
                self.raw(version).connect(f"device{version}", clean=True)

    def test_review_04_disconnect_shortens_the_session_and_cannot_begin_one(self):
        self.broker()
        client = self.client("zero")
        client.send(Disconnect(0, {"session_expiry": 60}))
        client.expect_closed(0x82)
        self.client("zero", present=False, clean=False).disconnect()
        for after, present in ((0, False), (5, True), (0xFFFFFFFF, True)):
            client = self.client("some", clean=True, properties={"session_expiry": 60})
            client.disconnect(0, {"session_expiry": after})
            self.client("some", present=present, clean=False).disconnect()

    def test_review_05_sessions_that_nobody_comes_back_for_end(self):
        """By their expiry, by the broker's greatest one, and with all that belongs to them."""
        self.broker(max_session_expiry="2s")
        client = self.client("forever", clean=False, properties={"session_expiry": 0xFFFFFFFF})
        self.assertEqual(client.connack.properties["session_expiry"], 2)
        older = self.client("older", 4, clean=False)
        brief = self.client("brief", clean=False, properties={"session_expiry": 1})
        for one in (client, older, brief):
            one.subscribe("q/#", 1)
            one.close()
        sender = self.client("sender")
        sender.publish("q/1", b"x" * 1000, 1)
        self.agent.wait_for(lambda: self.agent.figure("broker_sessions") == 1, "the others have ended", 6)
        for name in ("broker_subscriptions", "broker_queued_messages", "broker_queued_bytes"):
            self.assertEqual(self.agent.figure(name), 0, name)
        self.assertEqual(self.agent.figure("broker_sessions_expired_total"), 3)

    def test_review_06_a_session_without_subscriptions_is_a_session(self):
        """Its identifiers of QoS 2 are state, too."""
        self.broker(persistence=True)
        client = self.client("bare", **KEEP)
        client.send(Publish("q/1", b"x", 2, 5))
        client.expect(Pubrec, packet_id=5, reason=0)
        client.close()
        self.client("bare", present=True, **KEEP).close()
        self.restart()
        client = self.client("bare", present=True, **KEEP)
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5, reason=0)

    def test_review_16_nobody_is_taken_over_for_a_client_that_cannot_be_told(self):
        """A CONNACK that is larger than the client takes, a packet that is larger than the broker takes, a bad will: the old connection and its session live on."""
        self.broker(max_packet_size="2KiB")
        old = self.client("same", properties={"session_expiry": 600})
        old.subscribe("a/#", 1)
        for clean in (True, False):
            self.refused(Connect("same", clean=clean, properties={"maximum_packet_size": 5}), None)
            self.refused(Connect("same", clean=clean, will=Will("w", b"x" * 3000)), None, 0x95)
            self.refused(Connect("same", clean=clean, will=Will("$SYS/x", b"x")), 0x87, 0x90)
            self.refused(Connect("same", clean=clean, properties={"authentication_method": "m"}), 0x8C)
        old.send(Publish("a/1", b"x", 1, 9))
        old.expect_all((Puback, {"packet_id": 9}), (Publish, {"payload": b"x"}))
        self.assertEqual(self.agent.figure("broker_takeovers_total"), 0)

    def test_review_20_passwords_leave_no_trace_in_memory(self):
        """What a client sent as its password is not found in the process afterwards, in whatever buffer it has been."""
        good, bad, slow = "s3cret-that-is-right", "s3cret-that-is-wrong", "s3cret-that-is-slow"
        self.broker(password_file=self.file("passwords", password_line("u", good) + password_line("s", slow, 20_000)))
        for password, user in ((good, "u"), (bad, "u"), (bad, "nobody"), (slow, "s"), (bad, "s")):
            for version in (4, 5):
                client = self.raw(version)
                client.send(Connect(f"c{version}", user=user, password=password))
                client.receive()
                cut = Connect(f"c{version}", user=user, password=password).encode(version)
                other = self.raw(version)
                other.send(cut[:-3])
                other.send(cut[-3:])
                other.receive()
        self.close_clients()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 0, "everybody gone")
        self.assertEqual([word for word in (b"s3cret-that-is",) if self.in_memory(word)], [])

    def in_memory(self, word):
        """Whether it stands in a writable part of the process's memory."""
        with open(f"/proc/{self.agent.pid}/maps") as maps, open(f"/proc/{self.agent.pid}/mem", "rb", 0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                start, end = (int(part, 16) for part in span.split("-"))
                if rights.startswith("rw") and end - start < 1 << 28:
                    memory.seek(start)
                    try:
                        if word in memory.read(end - start):
                            return True
                    except OSError:
                        continue
        return False

    def test_review_21_user_and_password_belong_together(self):
        """In the configuration of our own client: a password without a user is for MQTT 5 only."""
        def check(**options):
            path = self.directory / "check.yaml"
            path.write_text(json.dumps({"inputs": {"mqtt_consumer": [{"servers": ["tcp://127.0.0.1:1"], "topics": ["t"], "data_format": "value",
                                                                      "data_type": "string", **options}]},
                                        "outputs": {"file": [{"files": [str(self.directory / "lines")]}]},
                                        "agent": {"spool": {"sync": "memory"}, "dead_letters": {"directory": str(self.directory / "letters")}}}))
            return command("check", "--config", path)
        self.assertEqual(check(protocol="5", password="p").returncode, 0)
        self.assertEqual(check(protocol="3.1.1", username="u", password="p").returncode, 0)
        self.assertEqual(check(protocol="3.1.1", username="u").returncode, 0)
        alone = check(protocol="3.1.1", password="p")
        self.assertEqual(alone.returncode, 78)
        self.assertIn("username", alone.stderr)

    def test_review_21_a_user_without_a_password_is_not_let_in(self):
        """Where there are passwords, a name alone, a password alone and an empty password are wrong ones."""
        self.broker(password_file=self.passwords(u="p"))
        self.refused(Connect("x", user="u"), 0x86)
        self.refused(Connect("x", password="p"), 0x86, 0x87)
        self.refused(Connect("x", user="u", password=""), 0x86)
        self.refused(Connect("x", user="", password="p"), 0x86)
        self.refused(Connect("x"), 0x87)


class Messages(BrokerScenario):
    def test_review_07_inbound_qos_2_is_recognised_on_the_next_connection(self):
        self.broker()
        for version in (4, 5):
            keep = KEEP if version == 5 else {"clean": False}
            watcher, sender = self.client("watcher"), self.client(f"sender{version}", version, **keep)
            watcher.subscribe("q/#", 2)
            sender.send(Publish("q/1", b"once", 2, 77))
            sender.expect(Pubrec, packet_id=77, reason=0)
            watcher.take("q/1", b"once")
            for _ in range(3):
                sender.reset()
                sender = self.raw(version)
                sender.connect(f"sender{version}", present=True, **keep)
                sender.send(Publish("q/1", b"once", 2, 77, dup=True))
                sender.expect(Pubrec, packet_id=77, reason=0)
            sender.send(Pubrel(77))
            sender.expect(Pubcomp, packet_id=77, reason=0)
            watcher.quiet()
            sender.send(Publish("q/1", b"next", 2, 77))
            sender.expect(Pubrec, packet_id=77, reason=0)
            watcher.take("q/1", b"next")

    def test_review_09_a_will_has_its_own_properties(self):
        """All that a will may have is passed on, all that CONNECT or PUBLISH may have besides is refused."""
        self.broker()
        good = {"payload_format": 1, "message_expiry": 100, "content_type": "c", "response_topic": "r", "correlation_data": b"d", "user_property": [("k", "v"), ("k", "w")]}
        watcher, client = self.client("watcher"), self.client("client", will=Will("w/1", b"text", properties={**good, "will_delay": 0}))
        watcher.subscribe("w/#")
        client.reset()
        self.assertEqual(watcher.expect(Publish, topic="w/1").properties, good)
        for name, value in (("session_expiry", 1), ("receive_maximum", 1), ("maximum_packet_size", 100), ("topic_alias_maximum", 1), ("request_response_information", 1),
                            ("request_problem_information", 1), ("authentication_method", "m"), ("authentication_data", b"d"), ("topic_alias", 1), ("subscription_id", 1),
                            ("reason_string", "a"), ("server_reference", "a"), ("assigned_client_id", "a"), ("server_keep_alive", 1), ("maximum_qos", 1), ("retain_available", 1)):
            other = self.raw()
            other.send(Connect("x", will=Will("w/1", b"x", properties={name: value})))
            self.assertNotEqual(getattr(other.receive(), "reason", None), 0, name)

    def test_review_10_retain_handling_comes_before_delivery(self):
        self.broker()
        sender, client = self.client("sender"), self.client("client", clean=False, properties={"session_expiry": 60})
        sender.publish("r/1", b"kept", 1, retain=True)
        for options, first, again in ((0, True, True), (RETAIN_IF_NEW, True, False), (RETAIN_NEVER, False, False)):
            for expected in (first, again):
                client.subscribe([("r/#", 1 | options)])
                if expected:
                    client.take("r/1", b"kept", retain=True)
                client.quiet()
            sender.publish("r/1", b"kept", 1, retain=True)
            client.take("r/1", b"kept", retain=False)  # live ones come in any case
            client.unsubscribe("r/#")

    def test_review_11_retained_messages_and_wills_are_tracked_as_others(self):
        """In flight, within the receive maximum, again with DUP after a lost connection, and after a crash."""
        self.broker(persistence=True)
        sender = self.client("sender")
        for n in range(5):
            sender.publish(f"r/{n}", b"%d" % n, 2, retain=True)
        how = {"clean": False, "properties": {"session_expiry": 600, "receive_maximum": 2}}
        client = self.client("client", **how)
        client.subscribe("r/#", 2)
        self.client("dies", will=Will("r/will", b"w", 2)).reset()
        first = [client.expect(Publish, retain=True, dup=False) for _ in range(2)]
        client.quiet()
        self.agent.wait_for(lambda: self.agent.figure("broker_queued_messages") == 4, "the will is in the queue")
        sender.publish("other", b"x", 1, retain=True)  # on disk when it is acknowledged, and all before it
        self.restart()
        client = self.client("client", present=True, **how)
        again = [client.expect(Publish, dup=True) for _ in range(2)]
        self.assertEqual([(one.packet_id, one.topic, one.payload) for one in again], [(one.packet_id, one.topic, one.payload) for one in first])
        client.quiet()
        for one in again:
            client.send(Pubrec(one.packet_id))
            client.expect(Pubrel, packet_id=one.packet_id)
        client.send(*(Pubcomp(one.packet_id) for one in again))
        rest = client.collect(4)
        self.assertEqual({one.topic for one in [*first, *rest]}, {"r/0", "r/1", "r/2", "r/3", "r/4", "r/will"})
        self.assertEqual([one.retain for one in rest if one.topic == "r/will"], [False])
        client.quiet()

    def test_review_12_properties_survive_every_queue(self):
        """Offline, in flight, retained, delayed, and a crash: forwarded as they came, but for the expiry, which counts down."""
        self.broker(persistence=True)
        sent = {"payload_format": 1, "content_type": "text/plain", "response_topic": "r/s", "correlation_data": b"\x00\xff",
                "user_property": [("b", "2"), ("a", "1"), ("b", "1")]}
        client, sender = self.client("client", **KEEP), self.client("sender")
        client.subscribe("p/#", 1)
        client.close()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is away")
        for topic, retain in (("p/queued", False), ("p/retained", True), ("$delayed/1/p/delayed", False)):
            sender.publish(topic, b"x", 1, retain=retain, properties={**sent, "message_expiry": 500})
        self.restart()
        client = self.client("client", present=True, **KEEP)
        found = client.collect(3)
        self.assertEqual([one.topic for one in found], ["p/queued", "p/retained", "p/delayed"])
        other = self.client("other")
        other.subscribe("p/retained")
        for one in [*found, other.take("p/retained")]:
            left = one.properties.pop("message_expiry")
            self.assertTrue(490 < left <= 500, left)
            self.assertEqual(one.properties, sent)

    def test_review_13_pubrel_for_what_is_not_known(self):
        """0x92 in MQTT 5; 3.x has no word for it and is told the end."""
        self.broker()
        for version, reason in ((5, 0x92), (4, 0), (3, 0)):
            client = self.client("client", version)
            client.send(Pubrel(99))
            client.expect(Pubcomp, packet_id=99, reason=reason)
            client.publish("q/1", b"x", 2)
            client.send(Pubrel(client._last_id))
            client.expect(Pubcomp, packet_id=client._last_id, reason=reason)
        client = self.client("client", 5)
        client.send(Pubrec(99))
        client.expect(Pubrel, packet_id=99, reason=0x92)
        client.quiet()

    def test_review_14_several_subscription_identifiers_in_publish_alone(self):
        self.broker()
        client = self.client("client")
        for identifier, name in ((1, "a/b"), (268435455, "a/+"), (3, "a/#")):
            client.subscribe(name, 1, properties={"subscription_id": identifier})
        client.subscribe("#", 1)
        client.publish("a/b", b"x", 0)
        self.assertEqual(sorted(client.expect(Publish, topic="a/b").properties["subscription_id"]), [1, 3, 268435455])
        client.quiet()
        client.send(Subscribe(9, "a", properties=[("subscription_id", 1), ("subscription_id", 2)]))
        client.expect_closed(0x82)

    def test_review_15_packets_that_go_out_in_pieces_go_out_whole(self):
        """A receiver whose window is small: everything from CONNACK on comes, in order and unbroken, however little the kernel takes at a time."""
        self.broker(max_output_bytes="1MiB")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.connect(("127.0.0.1", self.port))
        slow, sender = self.raw(5, "slow", sock=sock), self.client("sender")
        slow.send(Connect("slow", properties={"topic_alias_maximum": 5, "session_expiry": 0xFFFFFFFE}), Subscribe(1, ["b/#"] * 3000, 1))
        payloads = [bytes([n]) * 200_000 for n in range(20)]
        for payload in payloads:
            sender.publish("b/1", payload, 1)
        slow.expect(Connack, reason=0)
        self.assertEqual(slow.expect(Suback).reasons, [1] * 3000)
        for payload in payloads:
            self.assertEqual(slow.expect(Publish).payload, payload)
