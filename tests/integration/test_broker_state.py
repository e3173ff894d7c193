"""
What broke other brokers by what they keep: sessions, queues, subscriptions, wills, rights. One test per advisory or bug (or several where it has
several sides), named after the row of the list.

 22-27  QoS 2 state, unsubscribing, takeovers, wills          34-40  names in rules, rules applied late, sessions of other users
 28-30  damaged state, settings at their edges, budgets       41-43  what a crash may not duplicate, files' modes, anonymous listeners
 31-33  slow, silent and refused clients                      44-46  quotas and backlogs of resumed sessions, reload
"""
import os
import signal
import threading
import time

from tests.support import ports, settings, waiting
from tests.support.broker_scenario import BrokerScenario, StallingDisk
from tests.support.mqtt_raw import Client, Connack, Connect, Disconnect, Puback, Publish, Pubrec, Pubrel, Suback, Subscribe, Unsuback, Unsubscribe, Will

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

    def test_review_a_disk_that_stalls_stalls_publishers_and_takes_no_memory(self):
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

    def test_review_answers_of_any_length_wait(self):
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

    def test_review_a_full_spool_slows_only_whose_messages_it_has_no_room_for(self):
        """With `block`: who publishes what the input takes waits at QoS 1 and 2; everybody else goes on, and whoever waits still gets messages."""
        influx, total, size = self.fake_influx(2), 80, 20_000
        influx.stop()
        agent = self.broker(config=full_spool(influx.url), sys_interval="1s")
        senders = [self.client("sender-4", 4, keepalive=1), self.client("sender-5", 5)]
        payloads = [[b"%d-%d-" % (sender, n) + b"x" * size for n in range(total)] for sender in range(2)]
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
        for _ in range(4):  # the keep alive of the one who waits passes meanwhile
            late.take("$SYS/broker/uptime")
        self.assertLess(agent.pending(), 2 * total, "messages that found room")

        influx.start()
        for sender, mine in zip(senders, acknowledged):
            while len(mine) < total:
                self.assertIsNone(self.message_among(sender, mine, total))
            self.assertEqual(mine, list(range(1, total + 1)))
        for writer in writers:
            writer.join()
        agent.wait_for(lambda: agent.pending() == 0, "an empty spool")
        self.assertEqual(sorted(influx.values("value")), sorted(payload.decode() for mine in payloads for payload in mine))


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
