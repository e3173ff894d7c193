"""
What the broker keeps on disk: sessions with all they are owed, retained and delayed messages and wills are there again after an orderly stop and after
kill -9; nothing is written when persistence is off; a damaged database is set aside; and a full disk loses nothing and is recovered from.
"""
import os
import sqlite3
import stat
import time

from tests.support import ports, settings, waiting
from tests.support.broker_scenario import BrokerScenario, FullDisk, broker_config
from tests.support.mqtt_raw import RETAIN_AS_PUBLISHED, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from tests.support.process import Process

KEPT = {"properties": {"session_expiry": 3600}}


def each_end(test):
    """The test after an orderly stop and after kill -9."""
    def both(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                test(self, kill)
                self.close_clients()
                self.agent.stop()
    both.__doc__ = test.__doc__
    return both


class Persistence(BrokerScenario):
    def kept_client(self, name, version=5, present=False, **connect):
        """One whose session stays."""
        connect = {**(KEPT if version == 5 else {}), "clean": False, **connect}
        return self.client(name, version, present, **connect)

    def state(self, name="broker.db"):
        return self.directory / "state" / name

    def fresh_broker(self, **how):
        for path in self.state().parent.glob("*") if self.state().parent.exists() else ():
            path.unlink()
        return self.broker(persistence=how.pop("persistence", True), **how)

    @each_end
    def test_queued_messages(self, kill):
        """In their order, with topic, payload, properties, QoS and retain flag; for MQTT 3.1.1 and 5."""
        self.fresh_broker()
        for version in (4, 5):
            away = self.kept_client(f"away{version}", version)
            away.subscribe([("q/#", RETAIN_AS_PUBLISHED | 2 if version == 5 else 2)], granted=[2])
            away.disconnect()
        sender = self.client("sender")
        for n in range(50):
            sender.publish("q/1", b"%d" % n, 1 + n % 2, properties={"content_type": f"c{n}", "user_property": [("a", "b"), ("a", "c")]}, retain=n == 7)
        self.restart(kill)
        for version in (4, 5):
            away = self.kept_client(f"away{version}", version, present=True)
            found = away.collect(50)
            away.quiet()
            for qos in (1, 2):  # each QoS is in order ([MQTT-4.6.0-6])
                numbers = [n for n in range(50) if 1 + n % 2 == qos]
                self.assertEqual([int(message.payload) for message in found if message.qos == qos], numbers)
            for message in found:
                n = int(message.payload)
                self.assertEqual((message.topic, message.dup, message.retain), ("q/1", False, n == 7 and version == 5))
                if version == 5:
                    self.assertEqual(message.properties, {"content_type": f"c{n}", "user_property": [("a", "b"), ("a", "c")]})

    @each_end
    def test_messages_in_flight(self, kill):
        """Each state of each QoS goes on with the same packet identifier: PUBLISH with DUP, or PUBREL; what was done does not come again."""
        self.fresh_broker()
        receiver, sender = self.kept_client("receiver"), self.client("sender")
        receiver.subscribe("q/#", 2)
        for n, qos in enumerate([1, 2, 2, 1, 2]):
            sender.publish(f"q/{n}", b"%d" % n, qos)
        one, published, released, done, finished = [receiver.expect(Publish, topic=f"q/{n}") for n in range(5)]
        receiver.send(Pubrec(released.packet_id))
        receiver.expect(Pubrel, packet_id=released.packet_id)
        receiver.send(Puback(done.packet_id), Pubrec(finished.packet_id))
        receiver.expect(Pubrel, packet_id=finished.packet_id)
        receiver.send(Pubcomp(finished.packet_id))
        receiver.publish("other", b"x", 1)  # what it has sent before is known
        sender.publish("late", b"x", 1)
        kept = self.kept_client("written")  # whose SUBACK waits for the disk, so the acknowledgements above are on it
        kept.subscribe("nothing", 1)
        self.restart(kill)
        receiver = self.kept_client("receiver", present=True)
        receiver.expect(Publish, topic="q/0", payload=b"0", qos=1, dup=True, packet_id=one.packet_id)
        receiver.expect(Publish, topic="q/1", payload=b"1", qos=2, dup=True, packet_id=published.packet_id)
        receiver.expect(Pubrel, packet_id=released.packet_id)
        receiver.quiet()
        receiver.send(Puback(one.packet_id), Pubrec(published.packet_id), Pubcomp(released.packet_id))
        receiver.expect(Pubrel, packet_id=published.packet_id)
        receiver.send(Pubcomp(published.packet_id))
        sender = self.client("sender")
        sender.publish("q/9", b"9", 1)
        self.assertNotIn(receiver.take("q/9", b"9", dup=False).packet_id, (0,))

    @each_end
    def test_qos_2_is_taken_once(self, kill):
        """A PUBLISH that was answered and comes again after the restart, as one does whose PUBREC got lost, goes nowhere; PUBREL is answered."""
        self.fresh_broker()
        reader, sender = self.kept_client("reader"), self.kept_client("sender")
        reader.subscribe("q/#", 2)
        sender.send(Publish("q/1", b"once", 2, 77))
        sender.expect(Pubrec, packet_id=77, reason=0)
        reader.take("q/1", b"once")
        reader.quiet()
        self.kept_client("written").subscribe("nothing", 1)
        self.restart(kill)
        reader, sender = self.kept_client("reader", present=True), self.kept_client("sender", present=True)
        sender.send(Publish("q/1", b"once", 2, 77, dup=True))
        sender.expect(Pubrec, packet_id=77, reason=0)
        sender.send(Pubrel(77))
        sender.expect(Pubcomp, packet_id=77, reason=0)
        reader.quiet()
        sender.send(Publish("q/1", b"another", 2, 77))
        sender.expect(Pubrec, packet_id=77)
        reader.take("q/1", b"another")

    @each_end
    def test_subscriptions(self, kill):
        """With their options and identifiers, shared ones too; those that were ended stay so, and sessions that end with their connection are gone."""
        self.fresh_broker()
        subscriber = self.kept_client("subscriber")
        subscriber.subscribe([("a/+", 1), ("gone", 1)], properties={"subscription_id": 268435455}, granted=[1, 1])
        subscriber.subscribe([("b/#", 2 | RETAIN_AS_PUBLISHED)], properties={"subscription_id": 7}, granted=[2])
        subscriber.subscribe("$share/g/c", 1)
        subscriber.unsubscribe("gone")
        brief = self.client("brief")
        brief.subscribe("a/+", 1)
        self.restart(kill)
        sender, subscriber = self.client("sender"), self.kept_client("subscriber", present=True)
        self.client("brief", clean=False)  # present=False
        sender.publish("gone", b"x", 1)
        sender.publish("a/1", b"x", 2)
        sender.publish("b", b"x", 2, retain=True)
        sender.publish("c", b"x", 1)
        found = {message.topic: (message.qos, message.retain, message.properties) for message in subscriber.collect(3)}
        self.assertEqual(found, {"a/1": (1, False, {"subscription_id": [268435455]}), "b": (2, True, {"subscription_id": [7]}), "c": (1, False, {})})
        subscriber.quiet()

    @each_end
    def test_retained_messages(self, kill):
        """The last one of each topic; what was cleared stays so; expiry goes on."""
        self.fresh_broker()
        sender = self.client("sender")
        for n in range(5):
            sender.publish("r/1", b"%d" % n, 1, retain=True)
        sender.publish("r/2", b"x", 1, retain=True)
        sender.publish("r/2", b"", 1, retain=True)
        sender.publish("r/3", b"y", 2, retain=True, properties={"message_expiry": 1000, "content_type": "t"})
        sender.publish("r/4", b"z", 1, retain=True, properties={"message_expiry": 1})
        published = time.time()
        self.restart(kill)
        waiting.until(lambda: time.time() > published + 1.1, "the expiry of r/4", 5)
        reader = self.client("reader")
        reader.subscribe("r/#", 2)
        found = {message.topic: message for message in reader.collect(2)}
        self.assertEqual({topic: message.payload for topic, message in found.items()}, {"r/1": b"4", "r/3": b"y"})
        self.assertTrue(all(message.retain for message in found.values()))
        self.assertTrue(980 <= found["r/3"].properties["message_expiry"] < 1000, found["r/3"])
        self.assertEqual(found["r/3"].properties["content_type"], "t")
        reader.quiet()

    @each_end
    def test_delayed_messages(self, kill):
        """At their time, once, to who is subscribed then; those whose time came while nobody was there come at once."""
        self.fresh_broker()
        reader, sender = self.kept_client("reader"), self.client("sender")
        reader.subscribe("d/#", 2)
        sender.publish("$delayed/3/d/later", b"later", 2)
        sender.publish("$delayed/1/d/soon", b"soon", 1)
        self.restart(kill)
        reader = self.kept_client("reader", present=True)
        reader.take("d/soon", b"soon")
        reader.take("d/later", b"later")
        reader.quiet()
        self.kept_client("written").subscribe("nothing", 1)
        self.restart(kill)
        self.kept_client("reader", present=True).quiet()

    @each_end
    def test_wills_with_delay(self, kill):
        """One that was waiting is published after the restart, unless its client comes back; a session's end publishes it too."""
        self.fresh_broker()
        reader = self.kept_client("reader")
        reader.subscribe("w/#", 1)
        for name in ("waits", "returns"):
            client = self.kept_client(name, will=Will(f"w/{name}", b"gone", 1, properties={"will_delay": 2}), properties={"session_expiry": 3})
            client.close()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "two are gone")
        self.kept_client("written").subscribe("nothing", 1)
        self.restart(kill)
        self.kept_client("returns", present=True)
        reader = self.kept_client("reader", present=True)
        reader.take("w/waits", b"gone")  # with its session, at the latest
        reader.quiet()

    def test_nothing_is_written_without_persistence(self):
        self.broker(persistence={"enabled": False, "directory": str(self.directory / "state")})
        away, sender = self.kept_client("away"), self.client("sender")
        away.subscribe("q/#", 1)
        away.disconnect()
        sender.publish("q/1", b"x", 1, retain=True)
        sender.publish("$delayed/60/q/2", b"x", 1)
        self.assertFalse((self.directory / "state").exists())
        self.restart(kill=False)
        self.kept_client("away").quiet()  # present=False
        reader = self.client("reader")
        reader.subscribe("q/#", 1)
        reader.quiet()
        self.assertFalse((self.directory / "state").exists())

    def test_files_are_private(self):
        self.fresh_broker()
        self.kept_client("away").subscribe("q/#", 1)
        self.assertEqual({path.name: stat.S_IMODE(path.stat().st_mode) for path in self.state().parent.iterdir()},
                         {"broker.db": 0o600, "broker.db-wal": 0o600})
        self.assertEqual(stat.S_IMODE(self.state().parent.stat().st_mode), 0o700)

    def test_a_second_process_is_refused(self):
        self.fresh_broker()
        second = self.new_heliograf(broker_config(self.directory, ports.free_port(), persistence={"directory": str(self.directory / "state")}), name="second")
        Process.start(second)
        self.assertEqual(second.child.wait(20 * settings.PATIENCE), 1)
        self.assertIn(f"{self.state().parent} is in use", second.log())
        self.client("other").quiet()

    # ---- damage ----

    def test_damage_is_set_aside_and_said(self):
        """The damaged file is named and kept, what can be read of it is there, and the next start finds nothing wrong."""
        self.fresh_broker(max_queued_messages=0)
        away, sender = self.kept_client("away"), self.client("sender")
        away.subscribe("q/#", 1)
        away.disconnect()
        for n in range(2000):
            sender.publish("q/1", b"%d" % n, 1)
        sender.publish("r", b"kept", 1, retain=True)
        self.close_clients()
        self.agent.stop()
        with open(self.state(), "r+b") as file:
            file.seek(self.state().stat().st_size // 8192 * 4096 + 100)
            file.write(os.urandom(700))
        self.agent.start()
        said = self.agent.wait_log("BROKER-STATE-DAMAGED")
        aside = [path for path in self.state().parent.glob("broker.db.damaged-*") if not path.name.endswith("-wal")]
        self.assertEqual(len(aside), 1, said)
        self.assertIn(str(aside[0]), said)
        away = self.kept_client("away", present=True)
        found = [int(message.payload) for message in away.collect(1900)]
        self.assertEqual(found, sorted(set(found)))
        reader = self.client("reader")
        reader.subscribe("r")
        reader.take("r", b"kept", retain=True)
        self.close_clients()
        self.agent.stop()
        said = len(self.agent.log_lines("BROKER-STATE-DAMAGED"))
        self.agent.start()
        self.assertEqual(len(self.agent.log_lines("BROKER-STATE-DAMAGED")), said)

    def test_garbage_is_set_aside_and_said(self):
        self.fresh_broker()
        self.agent.stop()
        self.state().write_bytes(os.urandom(20000))
        self.agent.start()
        self.assertIn("file is not a database", self.agent.wait_log("BROKER-STATE-DAMAGED"))
        self.client("client").publish("q", b"x", 1)

    def test_a_newer_version_is_refused(self):
        self.fresh_broker()
        self.agent.stop()
        with sqlite3.connect(self.state()) as database:
            database.execute("PRAGMA user_version = 9")
        database.close()
        Process.start(self.agent)
        self.assertEqual(self.agent.child.wait(20 * settings.PATIENCE), 1)
        self.assertIn("is of version 9, this program knows 1", self.agent.log())

    # ---- full ----

    def fill(self, sender, payload):
        """Until the broker refuses: how many it took."""
        for n in range(5000):
            sender.send(Publish("q/1", b"%05d" % n + payload, 1, n + 1))
            answer = sender.expect(Puback, packet_id=n + 1)
            if answer.reason == 0x97:
                return n
            self.assertEqual(answer.reason, 0)
        self.fail("the broker takes everything")

    def test_max_bytes_refuses_and_comes_back(self):
        """MQTT 5 is told, 3.1.1 waits; what needs no room goes on; nothing acknowledged is lost."""
        self.fresh_broker(persistence={"directory": str(self.directory / "state"), "max_bytes": "1MiB"}, max_queued_messages=0)
        away, sender, old = self.kept_client("away"), self.client("sender"), self.client("old", 4)
        away.subscribe("q/#", 1)
        away.disconnect()
        taken = self.fill(sender, b"x" * 3000)
        self.agent.wait_log("BROKER-STORE-FULL")
        sender.publish("q/1", b"no", 2, reason=0x97)
        sender.publish("r", b"no", 1, retain=True, reason=0x97)
        sender.publish("$delayed/1/q", b"no", 1, reason=0x97)
        sender.publish("t/1", b"for the input", 1)
        live = self.client("live")
        live.subscribe("l", 1)
        sender.publish("l", b"x", 1)
        live.take("l", b"x")
        old.publish("t/2", b"for the input", 1)
        old.send(Publish("q/1", b"old", 1, 9))
        waiting.holds(lambda: not old.comes(0), "MQTT 3.1.1 waits", 0.5)
        away = self.kept_client("away", present=True)
        for n in range(taken):
            self.assertEqual(away.take("q/1").payload[:5], b"%05d" % n)
        old.expect(Puback, packet_id=9)
        away.take("q/1", b"old")
        self.agent.wait_log("BROKER-STORE-ROOM")
        sender.publish("q/1", b"yes", 1)
        away.take("q/1", b"yes")
        away.quiet()

    def test_a_full_disk_holds_acknowledgements_until_there_is_room(self):
        """What is sent meanwhile is not acknowledged, is kept, and comes through by itself; a kill in between loses nothing acknowledged."""
        disk = FullDisk(self.directory)
        self.fresh_broker(env=disk.env)
        away, sender = self.kept_client("away"), self.kept_client("sender", 4)
        away.subscribe("q/#", 1)
        away.disconnect()
        sender.publish("q/1", b"before", 1)
        disk.fill()
        sender.send(Publish("q/1", b"during", 1, 9), Publish("q/1", b"during 2", 2, 10))
        self.assertIn("no space left on its disk", self.agent.wait_log("BROKER-DISK"))
        waiting.holds(lambda: not sender.comes(0), "no acknowledgement", 1.5)
        self.client("other").quiet()
        disk.go_on()
        sender.expect(Puback, packet_id=9)
        sender.expect(Pubrec, packet_id=10)
        self.agent.wait_log("BROKER-DISK-FINE")
        self.restart(kill=True)
        away = self.kept_client("away", present=True)
        for payload in (b"before", b"during", b"during 2"):
            away.take("q/1", payload)
        disk.fill()
        sender = self.kept_client("sender", 4, present=True)
        sender.send(Publish("q/1", b"never acknowledged", 1, 11))
        waiting.holds(lambda: not sender.comes(0), "no acknowledgement", 0.5)
        self.close_clients()
        self.agent.kill9()
        disk.go_on()
        self.agent.start()
        self.kept_client("away", present=True)
