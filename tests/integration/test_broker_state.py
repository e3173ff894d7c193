"""
What broke other brokers by what they keep: sessions, queues, subscriptions, wills. One test per advisory or bug (or several where it has
several sides), named after the row of the list in tests/advisories.md.

 22-27  QoS 2 state, unsubscribing, takeovers, wills          31-33  slow, silent and refused clients
 29-30  settings at their edges, budgets                      41, 44-45  what a crash may not duplicate, quotas and backlogs of resumed sessions
"""
import os
import random
import signal
import socket
import threading
import time

from tests.support import ports, settings, waiting
from tests.support.broker_scenario import BrokerScenario, StallingDisk
from tests.support.mqtt_raw import (Client, Connack, Connect, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Subscribe, Unsuback, Unsubscribe,
                                    Will)

MB = 1 << 20


def full_spool(url):
    """A spool that is full soon, and an output that nobody listens behind: publishers are not read from."""
    return {"agent": {"spool": {"sync": "memory", "max_bytes": "1MiB", "when_full": "block"}, "shutdown_timeout": "1s"},
            "outputs": {"influxdb_v2": [{"urls": [url], "organization": "o", "bucket": "b"}]}}


class Waiting(BrokerScenario):
    """What waits for the disk."""

    def stalling_broker(self, **how):
        self.disk = StallingDisk(self.directory)
        spool = {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "64MiB"}
        return self.broker(env=self.disk.env, config={"agent": {"spool": spool}}, **how)

    def test_review_22_a_disk_that_stalls_stalls_publishers_and_takes_no_memory(self):
        """MQTT 3.x has no receive maximum: nothing but the reading of them can keep publishers from piling up acknowledgements that wait."""
        agent, total = self.stalling_broker(), settings.scaled(50_000, 10_000)
        sender, other = self.client("sender", 4, keepalive=1), self.client("other")
        sender.publish("t/1", b"0", 1)
        self.disk.stall()
        writer = threading.Thread(target=sender.send, args=[Publish("t/1", b"%d" % n, 1, n + 1) for n in range(total)], daemon=True)
        writer.start()
        taken = lambda: agent.figure("broker_messages_received_total")
        agent.wait_for(lambda: taken() > 3000, "some messages")
        waiting.holds(lambda: taken() < 5000, "the publisher is not read from", 2.0)  # its keep alive passes meanwhile
        other.quiet()
        self.disk.go_on()
        for n in range(total):
            sender.expect(Puback, packet_id=n + 1)
        writer.join()
        sender.quiet()

    def test_review_22_answers_of_any_length_wait(self):
        """A SUBACK for 70,000 filters behind an acknowledgement that waits: it is sent as it is, and an UNSUBACK too."""
        self.stalling_broker()
        client, filters = self.client("many"), [f"u{n % 900}" for n in range(70_000)]
        client.publish("t/1", b"x", 1)
        self.disk.stall()
        client.send(Publish("t/1", b"x", 1, 5), Subscribe(7, filters, 1), Unsubscribe(8, filters))
        self.client("other").quiet()
        self.disk.go_on()
        client.expect(Puback, packet_id=5)
        self.assertEqual(client.expect(Suback, packet_id=7).reasons, [1] * 70_000)
        self.assertEqual(client.expect(Unsuback, packet_id=8).reasons, [0] * 900 + [0x11] * 69_100)
        client.quiet()

    @staticmethod
    def message_among(client, acknowledged, most=None):
        """The next message for a client that publishes, too; identifiers of acknowledgements before it are noted. None after `most` of those."""
        while most is None or len(acknowledged) < most:
            found = client.receive()
            if found is None:
                raise AssertionError(f"{client}: the stream ended after {len(acknowledged)} acknowledgements")
            if isinstance(found, Publish):
                return found
            acknowledged.append(found.packet_id)
        return None

    def test_a_full_spool_slows_only_whose_messages_it_has_no_room_for(self):
        """With `block`: who publishes what the input takes waits at QoS 1 and 2; everybody else goes on, and whoever waits still gets messages."""
        # What the output has in its hands, 2 MB of it, is not in the spool any more: the one with a keep alive has more to send than all of that, and must wait.
        influx, totals, size = self.fake_influx(2), (300, 80), 20_000
        influx.stop()
        agent = self.broker(config=full_spool(influx.url), sys_interval="1s")
        senders = [self.client("sender-4", 4, keepalive=2), self.client("sender-5", 5)]  # silent for 3 s, it would be gone
        payloads = [[b"%d-%d-" % (sender, n) + b"x" * size for n in range(totals[sender])] for sender in range(2)]
        senders[0].subscribe("q/#", 0)
        reader, other = self.client("reader"), self.client("other")
        reader.subscribe("q/#", 2)
        other.publish("r/1", b"kept", 1, retain=True)
        writers = [threading.Thread(target=sender.send, args=[Publish("t/1", payload, qos, n + 1) for n, payload in enumerate(mine)], daemon=True)
                   for qos, (sender, mine) in enumerate(zip(senders, payloads), 1)]
        for writer in writers:
            writer.start()
        returned = lambda: agent.figure("messages_total", outcome="returned")
        agent.wait_for(lambda: returned() > 4, "a full spool")
        acknowledged = [], []

        began = time.monotonic()
        for n in range(50):  # each would take a quarter of a second if it had to wait until room is looked for again
            other.publish("q/1", b"%d" % n, 1 + n % 2)
        self.assertLess(time.monotonic() - began, 5.0 * settings.PATIENCE, "seconds for what nobody has to wait for")
        self.assertEqual([(message.payload, message.qos) for message in reader.collect(50)], [(b"%d" % n, 1 + n % 2) for n in range(50)])
        for n in range(50):
            self.assertEqual(self.message_among(senders[0], acknowledged[0]).payload, b"%d" % n)
        other.publish("t/1", payloads[0][0], 0)  # QoS 0 cannot wait
        other.quiet()
        agent.wait_for(lambda: agent.outcome("dropped_full") == 1, "a message dropped")
        late = self.client("late")
        late.subscribe("r/#", 0)
        late.take("r/1", b"kept", retain=True)
        late.subscribe("$SYS/broker/uptime", 0)
        for _ in range(5):  # the keep alive of the one who waits passes meanwhile
            late.take("$SYS/broker/uptime")
        self.assertLess(agent.pending(), totals[0], "messages that found room")

        influx.start()
        for sender, mine, total in zip(senders, acknowledged, totals):
            while len(mine) < total:
                self.assertIsNone(self.message_among(sender, mine, total))
            self.assertEqual(mine, list(range(1, total + 1)))
        for writer in writers:
            writer.join()
        agent.wait_for(lambda: agent.pending() == 0, "an empty spool")
        self.assertEqual(sorted(influx.values("value")), sorted(payload.decode() for mine in payloads for payload in mine))


class Stopping(BrokerScenario):
    def test_a_stop_while_the_spool_has_something_to_say(self):
        """The spool's thread told the broker that a presence point is durable when the broker was gone already."""
        spool = {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "64MiB"}
        agent = self.broker(presence=True, config={"agent": {"spool": spool}})
        for _ in range(settings.scaled(40, 20)):
            self.client("one").close()
            agent.stop()
            agent.start()


class Takeover(BrokerScenario):
    def one_round(self, *sendings):
        """Each a (client, packet, ...): all of it is there before the broker looks at any of it."""
        os.kill(self.agent.pid, signal.SIGSTOP)
        try:
            for client, *packets in sendings:
                client.send(*packets)
        finally:
            os.kill(self.agent.pid, signal.SIGCONT)

    def test_row_24_takeover_of_a_publisher_that_waits_for_room(self):
        """NanoMQ freed clients that others still referred to. Here: a publisher that is not read from because the spool is full, and then is taken over."""
        self.broker(config=full_spool(f"http://127.0.0.1:{ports.free_port()}"))
        returned = lambda: self.agent.figure("messages_total", outcome="returned")
        for n in range(5):
            sender = self.client("sender", 4)
            writer = threading.Thread(target=sender.send, args=[Publish("t/1", b"x" * 60_000, 1, n + 1) for n in range(80)], daemon=True)
            writer.start()
            self.agent.wait_for(lambda: returned() > n, "a full spool")
            if n < 4:
                with self.client("sender", 4) as second:  # the old one is gone, and was waiting
                    second.quiet()
                writer.join()
        self.agent.wait_for(lambda: returned() > 8, "more looks for room")
        self.client("other").quiet()
        self.close_clients()
        self.agent.stop(expect=1)  # nothing of it could be stored

    def test_row_24_takeover_of_a_client_that_is_about_to_be_disconnected(self):
        """The client's queue is full and it is to go; before that has happened it is there again: one connection for one session, the new one."""
        self.broker(when_queue_full="disconnect", max_queued_messages=1, max_inflight_messages=1)
        sender = self.client("sender")
        for n in range(settings.scaled(20, 5)):
            slow = self.client("slow", clean=True, properties={"session_expiry": 100})
            slow.subscribe("q/#", 1)
            second = self.raw(name="second")
            self.one_round((sender, *(Publish("q/1", b"%d" % one, 1, one + 1) for one in range(5))),
                           (second, Connect("slow", clean=False, properties={"session_expiry": 100})))
            second.expect(Connack, reason=0, present=True)
            for one in range(5):
                sender.expect(Puback, packet_id=one + 1)
            second.take("q/1", b"0")
            second.take("q/1", b"1")
            second.quiet()
            slow.take("q/1", b"0")
            slow.expect_any_end()
            second.disconnect()


class QosTwo(BrokerScenario):
    """Exactly once, whatever happens in between."""

    def test_row_22_one_packet_identifier_again_and_again(self):
        """Mosquitto kept every QoS 2 PUBLISH that came with an identifier in use, without a bound."""
        self.broker()
        receiver = self.client("receiver", 4)
        receiver.subscribe("q/#", 2)

        def attack(n):
            with Client(self.port, 4) as client:
                client.connect("attacker", clean=True)
                client.send(*(Publish("q/1", b"%d" % n + b"x" * 2000 + b"%d" % one, 2, 7, dup=one > 0) for one in range(50)))
                for _ in range(50):
                    client.expect(Pubrec, packet_id=7)
                client.send(Pubrel(7))
                client.expect(Pubcomp, packet_id=7)
            receiver.take("q/1")
        self.assert_no_growth(attack, 400, 1 * MB, "one identifier 50 times")
        receiver.quiet()  # each of them once

    def test_row_22_distinct_identifiers_are_bounded(self):
        """In MQTT 5 by the receive maximum, in 3.x by the number of identifiers, which costs 128 KB."""
        self.broker(receive_maximum=20)
        client = self.client("five")
        self.assertEqual(client.connack.properties["receive_maximum"], 20)
        client.send(*(Publish("q/1", b"x", 2, n + 1) for n in range(20)))
        for n in range(20):
            client.expect(Pubrec, packet_id=n + 1)
        client.send(Publish("q/1", b"x", 2, 21))
        client.expect_closed(0x93)
        older, total = self.client("four", 4), settings.scaled(30_000, 10_000)
        before = self.agent.rss_bytes()
        writer = threading.Thread(target=older.send, args=[Publish("q/1", b"x" * 100, 2, n + 1) for n in range(total)], daemon=True)
        writer.start()
        for n in range(total):
            older.expect(Pubrec, packet_id=n + 1)
        writer.join()
        if not settings.SANITIZED:
            self.assertLess(self.agent.rss_bytes() - before, 2 * MB)

    def test_row_27_a_message_that_is_replaced_while_it_is_delivered(self):
        """Mosquitto saved a client's message whose content was gone: here the retained message behind a QoS 2 delivery is replaced and cleared in every state of the flow."""
        self.broker(persistence=True)
        sender = self.client("sender")
        receiver = self.client("receiver", clean=False, properties={"session_expiry": 600, "receive_maximum": 2})
        receiver.subscribe("q/#", 2)
        for n in range(3):
            sender.publish("q/1", b"%d" % n, 2, retain=True)
        sender.publish("q/1", b"", 2, retain=True)
        first, second = receiver.expect(Publish, payload=b"0"), receiver.expect(Publish, payload=b"1")
        receiver.send(Pubrec(first.packet_id))  # released, sent, and not sent yet; nothing is retained any more
        receiver.expect(Pubrel, packet_id=first.packet_id)
        self.restart()
        receiver = self.client("receiver", present=True, clean=False, properties={"session_expiry": 600})
        receiver.expect(Pubrel, packet_id=first.packet_id)
        receiver.send(Pubcomp(first.packet_id))
        rest = receiver.collect(3)
        self.assertEqual([(one.payload, one.dup) for one in rest], [(b"1", True), (b"2", False), (b"", False)])
        self.assertEqual(rest[0].packet_id, second.packet_id)
        receiver.quiet()
        other = self.client("other")
        other.subscribe("q/#", 2)
        other.quiet()

    def test_row_41_a_crash_between_the_halves_of_qos_2_doubles_nothing(self):
        """EMQX kept the message and lost its identifier in a crash: what was answered with PUBREC is known afterwards, on both sides."""
        self.broker(persistence=True)
        receiver = self.client("receiver", clean=False, properties={"session_expiry": 600})
        receiver.subscribe("q/#", 2)
        for n in range(settings.scaled(4, 2)):
            how = {"clean": False, "properties": {"session_expiry": 600}}
            sender = self.client("sender", present=n > 0, **how)
            sender.send(Publish("q/1", b"%d" % n, 2, 9))
            sender.expect(Pubrec, packet_id=9, reason=0)
            self.restart()
            receiver = self.client("receiver", present=True, **how)
            sender = self.client("sender", present=True, **how)
            sender.send(Publish("q/1", b"%d" % n, 2, 9, dup=True))
            sender.expect(Pubrec, packet_id=9, reason=0)
            sender.send(Pubrel(9))
            sender.expect(Pubcomp, packet_id=9, reason=0)
            receiver.take("q/1", b"%d" % n)
            receiver.quiet()
            sender.disconnect()


class Subscriptions(BrokerScenario):
    def test_row_23_normal_and_shared_filters_unsubscribed_crosswise(self):
        """Mosquitto crashed when a normal subscription was removed by the name of a shared one of the same topic, and the other way round."""
        self.broker()
        sender = self.client("sender")
        for version in (3, 4, 5):
            plain, shared = self.client("plain", version), self.client("shared", version)
            both = self.client("both", version)
            plain.subscribe("x/y")
            shared.subscribe("$share/g/x/y")
            both.subscribe(["x/y", "$share/g/x/y"])
            plain.unsubscribe("$share/g/x/y")
            shared.unsubscribe("x/y")
            both.unsubscribe("x/y")
            sender.publish("x/y", b"1", 1)
            sender.publish("x/y", b"2", 1)
            self.assertEqual([plain.take("x/y").payload for _ in range(2)], [b"1", b"2"])
            took = sorted([shared.take("x/y").payload, both.take("x/y").payload])
            self.assertEqual(took, [b"1", b"2"])
            both.unsubscribe(["$share/other/x/y", "$share/g/x/y", "$share/g/x/y"])
            shared.unsubscribe(["$share/g/x/y"])
            plain.unsubscribe(["x/y", "x/y"])
            sender.publish("x/y", b"3", 1)
            for client in (plain, shared, both):
                client.quiet()
                client.disconnect()
        self.assertEqual(self.agent.figure("broker_subscriptions"), 0)

    def test_row_23_any_mixture_of_packets(self):
        """Random CONNECT, DISCONNECT, SUBSCRIBE, UNSUBSCRIBE, PUBLISH of a few clients on a few filters: afterwards nothing is left of it."""
        chance = random.Random(23)
        self.broker(persistence=True)
        filters = ["a", "a/b", "a/+", "a/#", "#", "+/b", "$share/g/a/b", "$share/g/#", "$share/h/a/b", "$share/h/+/b"]
        present = {}
        for _ in range(settings.scaled(4000, 600)):
            name = f"mix{chance.randrange(6)}"
            client = present.get(name)
            if client is None or chance.random() < 0.1:
                if client is not None and chance.random() < 0.7:
                    client.close() if chance.random() < 0.5 else client.send(Disconnect())
                client = present[name] = Client(self.port, chance.choice((4, 5)), name)
                self.clients.append(client)
                client.send(Connect(name, clean=chance.random() < 0.5, will=Will("a/b", b"w", chance.randrange(3)) if chance.random() < 0.3 else None))
            elif chance.random() < 0.4:
                client.send(Subscribe(client.next_id(), chance.sample(filters, 2), chance.randrange(3)))
            elif chance.random() < 0.6:
                client.send(Unsubscribe(client.next_id(), chance.sample(filters, 2)))
            else:
                client.send(Publish(chance.choice(["a", "a/b", "b/b"]), b"x", 0, retain=chance.random() < 0.2))
        self.close_clients()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 0, "everybody gone")
        for n in range(6):
            self.raw(5).connect(f"mix{n}", clean=True)
        self.assertEqual(self.agent.figure("broker_subscriptions"), 0)
        client = self.client("after")
        client.publish("a/b", b"x", 2)
        client.quiet()


class TakeoverStorm(BrokerScenario):
    def test_row_24_a_storm_of_takeovers(self):
        """NanoMQ freed clients that were being taken over: threads that connect with the same few ids, subscribe, publish, and leave in every way."""
        self.broker(persistence=True)
        rounds, failures = settings.scaled(150, 25), []

        def storm(seed):
            chance = random.Random(seed)
            try:
                for n in range(rounds):
                    with Client(self.port, chance.choice((4, 5)), f"storm-{seed}") as client:
                        client.send(Connect(f"same{chance.randrange(3)}", clean=chance.random() < 0.3, will=Will("s/w", b"w", 1),
                                            properties={"session_expiry": chance.choice((0, 600))}))
                        client.send(Subscribe(1, ["s/#", "$share/g/s/+"], 2), *(Publish("s/1", b"x" * 100, qos, 10 + qos) for qos in (0, 1, 2)))
                        if chance.random() < 0.5:
                            client.send(Unsubscribe(2, "s/#"))
                        if chance.random() < 0.5:
                            client.receive()
                        leave = chance.random()
                        if leave < 0.3:
                            client.send(Disconnect())
                        elif leave < 0.6:
                            client.reset()
            except Exception as failure:  # the thread's, for the test
                failures.append(failure)
        threads = [threading.Thread(target=storm, args=[n], daemon=True) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 0, "everybody gone")
        self.assertGreater(self.agent.figure("broker_takeovers_total"), 5)
        for n in range(3):
            client = self.raw(5)
            client.connect(f"same{n}", clean=True)
            client.quiet()
        self.assertEqual(self.agent.figure("broker_subscriptions"), 0)
        self.assertEqual(self.agent.figure("broker_sessions"), 3)

    def test_row_25_takeover_with_messages_in_flight(self):
        """sol let two connections own what was in flight. The old one is told, and closed; what it had not acknowledged is the new one's, once."""
        self.broker()
        sender = self.client("sender")
        for version, reason in ((5, 0x8E), (4, None)):
            keep = {"clean": False, **({"properties": {"session_expiry": 600}} if version == 5 else {})}
            old = self.client(f"device{version}", version, **keep)
            old.subscribe("f/#", 1)
            sender.publish("f/1", b"1", 1)
            before = old.expect(Publish, payload=b"1")
            new = self.client(f"device{version}", version, present=True, **keep)
            old.expect_closed(reason)
            old.send(Puback(before.packet_id))  # too late: nobody listens to it
            new.take("f/1", b"1", dup=True, packet_id=before.packet_id)
            sender.publish("f/1", b"2", 1)
            new.take("f/1", b"2", dup=False)
            new.quiet()
            new.unsubscribe("f/#")


class Wills(BrokerScenario):
    def gone(self, client_id, delay=None, expiry=0, **connect):
        """A client that vanished with a will on w/<client id>."""
        client = self.client(client_id, properties={"session_expiry": expiry},
                             will=Will(f"w/{client_id}", b"gone", 1, properties={} if delay is None else {"will_delay": delay}), **connect)
        client.close()

    def test_row_26_will_delay_and_session_expiry(self):
        """Mosquitto lost or doubled wills whose delay was longer than their session: they are published at the earlier of both, once."""
        self.broker()
        watcher = self.client("watcher")
        watcher.subscribe("w/#", 1)
        began = time.monotonic()
        self.gone("no-delay", None, 600)
        watcher.take("w/no-delay")
        self.gone("no-session", 600, 0)  # expiry 0: the session ends now, and so does the waiting
        watcher.take("w/no-session")
        self.assertLess(time.monotonic() - began, 1.0 * settings.PATIENCE)
        self.gone("short-session", 600, 2)
        self.gone("short-delay", 1, 600)
        watcher.take("w/short-delay")
        self.assertGreaterEqual(time.monotonic() - began, 1.0)
        watcher.take("w/short-session")
        self.assertTrue(2.0 <= time.monotonic() - began < 3.5 * settings.PATIENCE, time.monotonic() - began)
        watcher.quiet()

    def test_row_26_takeover_with_and_without_clean_start(self):
        """Who comes back in time takes the will back, unless the session was not continued."""
        self.broker()
        watcher = self.client("watcher")
        watcher.subscribe("w/#", 1)
        for name, clean, delay, published in (("keeps", False, 600, False), ("cleans", True, 600, True), ("keeps-now", False, None, True), ("cleans-now", True, None, True)):
            for how in ("gone", "taken over"):
                with self.subTest(name=name, how=how):
                    properties = {"session_expiry": 600}
                    first = self.client(name, properties=properties, will=Will(f"w/{name}", how.encode(), 1, properties={} if delay is None else {"will_delay": delay}))
                    if how == "gone":
                        first.close()
                        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is gone")
                    second = self.raw()
                    second.connect(name, present=not clean, clean=clean, properties=properties)
                    if published:
                        watcher.take(f"w/{name}", how.encode())
                    watcher.quiet()
                    second.send(Disconnect(0, {"session_expiry": 0}))
                    second.expect_closed()

    def test_review_08_the_delay_is_not_clamped(self):
        """A delay longer than the greatest session expiry is not an error, and no reason to publish early while the session lives."""
        self.broker(max_session_expiry="1h")
        watcher = self.client("watcher")
        watcher.subscribe("w/#", 1)
        self.gone("long", 0xFFFFFFFF, 0xFFFFFFFF)
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is gone")
        watcher.quiet()
        self.raw().connect("long", clean=True)
        watcher.take("w/long")
        watcher.quiet()

    def test_review_08_a_will_that_waits_survives_a_crash_with_its_expiry(self):
        """At the end of its session, which has gone on meanwhile; what it says of its own expiry counts from then on."""
        self.broker(persistence=True)
        watcher = self.client("watcher", clean=False, properties={"session_expiry": 600})
        watcher.subscribe("w/#", 1)
        device = self.client("device", properties={"session_expiry": 3},
                             will=Will("w/d", b"gone", 1, properties={"will_delay": 500, "message_expiry": 77, "user_property": [("a", "b")]}))
        began = time.monotonic()
        device.close()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is gone")
        self.client("someone").publish("other", b"x", 1, retain=True)  # on disk when it is acknowledged, and all before it
        self.restart()
        watcher = self.client("watcher", present=True, clean=False, properties={"session_expiry": 600})
        found = watcher.take("w/d", b"gone")
        self.assertLess(time.monotonic() - began, 6 * settings.PATIENCE)
        self.assertEqual(found.properties["user_property"], [("a", "b")])
        self.assertIn(found.properties.get("message_expiry"), (76, 77))
        watcher.quiet()


class Limits(BrokerScenario):
    def test_row_29_settings_at_their_edges(self):
        """FlashMQ divided by a setting that was 0. Every setting at its least and at its greatest value, and everything is done once with it."""
        huge = {"max_connections": 1000000, "max_connect_rate": 1000000, "max_sessions": 10000000, "max_session_expiry": "4294967294s", "connect_timeout": "1h",
                "packet_timeout": "1h", "max_keepalive": 65535, "max_packet_size": "256MiB", "max_topic_levels": 65535, "max_topic_alias": 65535,
                "max_subscriptions": 1000000, "receive_maximum": 65535, "max_inflight_messages": 65535, "max_queued_messages": 100000000,
                "max_queued_bytes": "1000GiB", "max_output_bytes": "1GiB", "max_retained_messages": 100000000, "max_retained_bytes": "1000GiB",
                "max_delayed_messages": 100000000, "max_delayed_bytes": "1000GiB", "max_delay": "42949670s", "memory_limit": "1000GiB", "sys_interval": "1h"}
        zeros = {"max_connections": 0, "max_connect_rate": 0, "max_sessions": 0, "max_session_expiry": "0s", "connect_timeout": "1s", "packet_timeout": "1s",
                 "max_keepalive": 0, "max_packet_size": "1KiB", "max_topic_alias": 0, "max_subscriptions": 0, "receive_maximum": 1, "max_inflight_messages": 1,
                 "max_queued_messages": 0, "max_queued_bytes": 0, "max_output_bytes": "4KiB", "max_retained_messages": 0, "max_retained_bytes": 0,
                 "max_delayed_messages": 0, "max_delayed_bytes": 0, "max_delay": "0s", "memory_limit": 0, "sys_interval": "0s"}
        for number, how in enumerate((zeros, huge, {**zeros, "shared_subscriptions": "sender_hash"}, {**huge, "shared_subscriptions": "sticky", "when_queue_full": "drop_oldest"})):
            self.broker(persistence={"directory": str(self.directory / f"state{number}"), "group": "0s" if number % 2 == 0 else "1ms"}, **how)
            keep = {"clean": False, "keepalive": 0, "properties": {"session_expiry": 0xFFFFFFFF, "topic_alias_maximum": 65535}}
            client, sender = self.client("edge", **keep), self.client("sender")
            client.subscribe(["e/#", "$share/g/e/#"], 2)
            for qos in (0, 1, 2):
                sender.publish("$delayed/0/e/2", b"d", qos, retain=True)
                client.collect(2)
            sender.publish("e/2", b"", 1, retain=True)
            client.collect(2)
            client.unsubscribe("$share/g/e/#")
            client.close()
            sender.publish("e/3", b"x", 1)
            self.client("edge", present=True, **keep).take("e/3")
            self.close_clients()
            self.agent.stop()

    def test_row_30_retained_messages_have_a_budget(self):
        """FlashMQ and mochi kept as many retained messages of 1 MB as anybody wished: here bytes and number are limited, and what is there can be replaced and cleared."""
        before = self.broker(max_retained_bytes="4MiB", max_retained_messages=50, max_packet_size="2MiB").rss_bytes()
        client = self.client("greedy")
        taken = [n for n in range(20) if self.answer(client, Publish(f"r/{n}", bytes(MB), 1, n + 1, retain=True)) < 0x80]
        self.assertEqual(taken, [0, 1, 2])
        client.publish("r/0", b"small", 1, retain=True)
        client.publish("r/1", b"", 1, retain=True)
        for n in range(100):
            self.answer(client, Publish(f"s/{n}", b"x", 1, 200 + n, retain=True))
        reader = self.client("reader")
        reader.subscribe("s/#")
        reader.collect(50 - 2)  # r/0 and r/2 are there as well
        reader.quiet()
        self.assert_peak_below(before + 16 * MB, "with 20 retained messages of 1 MB")
        self.assertEqual(self.answer(client, Publish("t/unretained", b"x", 1, 400)), 0)

    def test_row_30_the_brokers_own_topics_are_outside_the_budget(self):
        """What the broker says of itself takes no room from clients, and clients take none from it."""
        self.broker(max_retained_messages=2, sys_interval="1s")
        client = self.client("client")
        client.subscribe("$SYS/broker/uptime")
        self.assertFalse(client.take("$SYS/broker/uptime").retain and client.take("$SYS/broker/uptime").retain)  # it has been published, and all of $SYS with it
        for n in range(3):
            self.assertEqual(self.answer(client, Publish(f"r/{n}", b"x", 1, n + 1, retain=True)), 0x97 if n == 2 else 0x10)
        other = self.client("other")
        other.subscribe("$SYS/broker/uptime")
        self.assertTrue(other.take("$SYS/broker/uptime").retain)

    def test_row_30_everything_that_is_held_has_one_budget(self):
        """Queues of many sessions that are away, retained and delayed messages: memory_limit is for all of them together."""
        before = self.broker(memory_limit="8MiB", max_queued_bytes="4MiB", max_packet_size="1MiB").rss_bytes()
        for n in range(10):
            self.client(f"away{n}", clean=False, properties={"session_expiry": 600}).subscribe(f"q/{n}", 1)
        self.close_clients()
        sender = self.client("sender")
        for n in range(10):
            for _ in range(20):
                self.answer(sender, Publish(f"q/{n}", bytes(200_000), 1, 1))
        for n in range(20):
            self.answer(sender, Publish(f"r/{n}", bytes(500_000), 1, 1, retain=True))
            self.answer(sender, Publish(f"$delayed/500/d/{n}", bytes(500_000), 1, 1))
        figure = self.agent.figure
        self.assertLess(figure("broker_queued_bytes") + figure("broker_retained_bytes"), 8 * MB)
        self.assertGreater(figure("broker_queued_bytes"), 6 * MB)
        self.assert_peak_below(before + 20 * MB, "with a memory limit of 8 MiB")

    @staticmethod
    def answer(client, message):
        client.send(message)
        return client.expect(Puback, packet_id=message.packet_id).reason

    def test_row_31_keep_alive_is_what_the_broker_allows(self):
        """SlowITe: clients that ask for 18 hours, or none. MQTT 5 is told the broker's own, 3.x cannot be told and is refused, and whoever is silent goes."""
        self.broker(max_keepalive=1)
        for wanted in (0, 60, 65535):
            client = self.client("five", keepalive=wanted)
            self.assertEqual(client.connack.properties["server_keep_alive"], 1)
        began, silent = time.monotonic(), []
        client.expect_closed(0x8D)
        self.assertLess(time.monotonic() - began, 3.5 * settings.PATIENCE)
        for version in (3, 4):
            for wanted in (0, 60):
                client = self.raw(version)
                client.send(Connect("older", keepalive=wanted))
                client.expect(Connack, reason=2)
                client.expect_closed()
            silent.append(self.client(f"older{version}", version, keepalive=1))
        for client in silent:
            client.expect_closed()

    def test_row_31_half_sent_packets_have_a_deadline(self):
        """However long the keep alive is, and however slowly the bytes trickle."""
        self.broker(packet_timeout="1s", connect_timeout="1s")
        slow = [self.client(f"slow{n}", 4 + n % 2, keepalive=0) for n in range(10)]
        whole = self.client("whole", keepalive=0)
        message = Publish("t/1", b"x" * 100).encode(5)
        stop = threading.Event()

        def trickle():
            for at in range(1, len(message) - 1):
                for client in slow[5:]:
                    client.send(message[at:at + 1])
                if stop.wait(0.1):
                    return
        for client in slow:
            client.send(message[:1])
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        for client in slow:
            client.expect_any_end()
        stop.set()
        thread.join()
        whole.quiet()  # silence between packets is no fault

    def test_row_31_connections_are_limited(self):
        """In all, and of each listener; who is turned away costs nothing, and there is room again when somebody leaves."""
        self.broker(max_connections=20, listener={"max_connections": 15})
        held = [self.raw() for _ in range(15)]
        for n, client in enumerate(held):
            client.connect(f"c{n}", keepalive=0)
        for _ in range(50):
            with Client(self.port) as extra:
                extra.expect_any_end()
        held[0].disconnect()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 14, "one left")
        self.client("next").quiet()

    def test_row_32_silent_sockets_cost_no_time_and_end(self):
        """Mosquitto spun on sockets that were opened and left. Here they cost nothing and are closed after connect_timeout."""
        self.broker(connect_timeout="3s")
        silent = [self.raw() for _ in range(settings.scaled(300, 50))]
        began = time.monotonic()
        self.client("other").quiet()
        half_closed = silent[0]
        half_closed.socket.shutdown(socket.SHUT_WR)
        half_closed.expect_closed()
        self.assert_idle(1.0, 0.1 if not settings.SANITIZED else 0.5)
        for client in silent[1:]:
            client.expect_closed()
        self.assertGreater(time.monotonic() - began, 1.5)
        self.assertLess(time.monotonic() - began, 6 * settings.PATIENCE)

    def test_row_33_refused_clients_are_closed_and_freed(self):
        """sol left sockets of failed logins and of second CONNECTs open for ever."""
        self.broker(password_file=self.passwords(good="secret"))

        def attempt(n):
            with Client(self.port, (3, 4, 5)[n % 3]) as client:
                version, bad = client.version, 0x86 if client.version == 5 else 4
                if n % 4 == 0:
                    client.connect("good", user="good", password="secret")
                    client.send(Connect("good", user="good", password="secret"))
                    client.expect_closed(0x82 if version == 5 else None)
                    return
                client.send(Connect("bad", user=("good", "nobody")[n % 2], password="wrong"))
                client.expect(Connack, reason=bad)
                client.expect_closed()
        self.assert_no_growth(attempt, 2000, 1 * MB, "refused")
        self.assertEqual(self.agent.figure("broker_clients_connected"), 0)
        descriptors = len(os.listdir(f"/proc/{self.agent.pid}/fd"))
        self.assertLess(descriptors, 60)

    def test_row_33_second_connect_and_what_comes_after_it(self):
        """The first one's will is published, nothing behind the second is looked at."""
        self.broker()
        watcher = self.client("watcher")
        watcher.subscribe("#")
        for version in (3, 4, 5):
            client = self.client("twice", version, will=Will("w", b"gone"))
            client.send(Connect("twice"), Publish("after", b"x"))
            client.expect_closed(0x82 if version == 5 else None)
            watcher.take("w", b"gone")
        watcher.quiet()


class Resumed(BrokerScenario):
    KEEP = {"clean": False}

    def connected(self, version=5, present=True, **properties):
        how = {"properties": {"session_expiry": 600, **properties}} if version == 5 else {}
        return self.client("resumed", version, present=present, clean=False, **how)

    def test_row_44_the_quota_is_that_of_each_connect(self):
        """FlashMQ went on with what was left of the last connection's Receive Maximum."""
        self.broker(persistence=True)
        client, sender = self.connected(present=False, receive_maximum=5), self.client("sender")
        client.subscribe("q/#", 1)
        for n in range(20):
            sender.publish("q/1", b"%d" % n, 1)
        first = [client.expect(Publish, payload=b"%d" % n, dup=False) for n in range(5)]
        client.quiet()
        for quota in (2, 1, 3):
            client = self.connected(receive_maximum=quota)
            again = [client.expect(Publish, payload=b"%d" % n, dup=True) for n in range(quota)]
            self.assertEqual([one.packet_id for one in again], [one.packet_id for one in first[:quota]])
            client.quiet()
        client.close()
        client = self.connected()
        self.assertEqual([one.payload for one in client.collect(20)], [b"%d" % n for n in range(20)])
        client.quiet()

    def test_row_45_a_session_resumes_with_all_that_belongs_to_it(self):
        """NanoMQ forgot one or the other: session present, subscriptions with their options, the backlog in its order, what was in flight with DUP; QoS 0 is not kept."""
        self.broker(persistence=True)
        for crash in (False, True):
            for version in (4, 5):
                with self.subTest(crash=crash, version=version):
                    client, sender = self.connected(version, present=False), self.client("sender")
                    client.subscribe([("a/#", 2 | (8 if version == 5 else 0)), ("b/+", 1)], **({"properties": {"subscription_id": 7}} if version == 5 else {}))
                    sender.publish("a/1", b"flight", 1)
                    sender.publish("a/1", b"half", 2)
                    flight, half = client.expect(Publish, payload=b"flight"), client.expect(Publish, payload=b"half")
                    client.send(Pubrec(half.packet_id))
                    client.expect(Pubrel, packet_id=half.packet_id)
                    client.close()
                    self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is away")
                    sender.publish("a/0", b"lost", 0)
                    for n in range(30):
                        sender.publish(("a/2", "b/2")[n % 2], b"%d" % n, 1 + n % 2, retain=n == 0)
                    sender.close()
                    if crash:
                        self.restart()
                    client = self.connected(version)
                    client.take("a/1", b"flight", dup=True, packet_id=flight.packet_id)
                    client.expect(Pubrel, packet_id=half.packet_id)
                    client.send(Pubcomp(half.packet_id))
                    backlog = client.collect(30)
                    self.assertEqual([one.payload for one in backlog], [b"%d" % n for n in range(30)])
                    self.assertEqual([one.qos for one in backlog], [1] * 30)  # a/2 was published with 1, b/+ is subscribed with 1
                    self.assertFalse(any(one.dup for one in backlog))
                    self.assertEqual([one.retain for one in backlog], [version == 5] + [False] * 29)
                    if version == 5:
                        self.assertEqual({tuple(one.properties["subscription_id"]) for one in backlog}, {(7,)})
                    client.publish("b/9", b"live", 0)
                    client.take("b/9", b"live")
                    client.quiet()
                    client.publish("a/2", b"", 0, retain=True)
                    client.expect(Publish, topic="a/2")
                    self.raw(version).connect("resumed", clean=True)
