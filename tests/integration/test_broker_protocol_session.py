"""
Sessions: how they begin, go on, are taken over and end, from the specifications' point of view. Each test names the statements that it proves, and runs with
the broker's state in memory and on disk.
"""
import time

from tests.support.broker_protocol import BrokerProtocol, each_version
from tests.support.mqtt_raw import Disconnect, Publish


class Sessions(BrokerProtocol):
    @each_version(3, 4, 5)
    def test_clean_start_drops_the_session(self, version):
        """
        Subscription, queued messages and what was in flight are gone, and session present is 0.
        5.0: 3.1.2-4, 3.1.4-4, 3.2.2-2
        3.1.1: 3.1.2-6, 3.1.4-3, 3.2.2-1
        """
        client, publisher = self.lasting("held", version), self.client("publisher")
        client.subscribe(self.own("a"), 1)
        publisher.publish(self.own("a"), b"in flight", 1)
        client.expect(Publish, payload=b"in flight")
        self.closes(client)
        publisher.publish(self.own("a"), b"queued", 1)
        client = self.client("held", version, present=False, clean=True)
        publisher.publish(self.own("a"), b"live", 1)
        client.quiet()

    @each_version(3, 4, 5)
    def test_without_clean_start_the_session_goes_on(self, version):
        """
        Subscriptions are there, what came meanwhile with QoS 1 and 2 is delivered, session present is 1.
        5.0: 3.1.2-5, 3.1.2-23, 3.1.3-2, 3.2.2-3
        3.1.1: 3.1.2-4, 3.1.2-5, 3.1.3-2, 3.2.2-2
        """
        client, publisher = self.lasting("kept", version), self.client("publisher")
        client.subscribe([(self.own("a"), 1), (self.own("b"), 2)])
        client.disconnect()
        publisher.publish(self.own("a"), b"1", 2)
        publisher.publish(self.own("b"), b"2", 2)
        other = self.lasting("other", version)  # another identifier is another session
        client = self.lasting("kept", version, present=True)
        self.assertEqual([(one.topic, one.payload, one.qos) for one in client.collect(2)], [(self.own("a"), b"1", 1), (self.own("b"), b"2", 2)])
        publisher.publish(self.own("b"), b"live", 2)
        client.take(self.own("b"), b"live", qos=2)
        other.quiet()

    @each_version(3, 4, 5)
    def test_without_clean_start_and_session_there_is_a_new_one(self, version):
        """
        Session present is 0, and from then on it is stored.
        5.0: 3.1.2-6, 3.2.2-3
        3.1.1: 3.1.2-4, 3.2.2-3
        """
        client = self.lasting("new", version, present=False)
        client.disconnect()
        self.lasting("new", version, present=True)

    @each_version(3, 4, 5)
    def test_session_without_expiry_ends_with_its_connection(self, version):
        """
        MQTT 3.x: clean session; MQTT 5: no Session Expiry Interval, or 0, whatever clean start was.
        5.0: 4.1.0-2
        3.1.1: 3.1.2-6
        """
        for how in ({"clean": True}, {"clean": True, "properties": {"session_expiry": 0}}, {"clean": False}) if version == 5 else ({"clean": True},):
            client = self.client("brief", version, **how)
            client.subscribe(self.own("a"), 1)
            client.disconnect()
            self.client("publisher").publish(self.own("a"), b"x", 1)
            again = self.lasting("brief", version, present=False)
            again.quiet()
            self.closes(again)
            self.client("brief", version).disconnect()  # a clean one

    def test_session_expires(self):
        """
        Not before its time, not while its connection is open, however long that is, and then for good.
        5.0: 3.1.2-23, 4.1.0-1, 4.1.0-2
        """
        expired = lambda: self.agent.figure("broker_sessions_expired_total")
        before = expired()
        short, long, open_one = self.lasting("short", expiry=1), self.lasting("long", expiry=1000), self.lasting("open", expiry=1)
        changed = self.lasting("changed", expiry=1000)
        for client in (short, long, open_one, changed):
            client.subscribe(self.own("a"), 1)
        short.disconnect()
        long.disconnect()
        changed.disconnect(properties={"session_expiry": 1})
        started = time.monotonic()
        self.agent.wait_for(lambda: expired() >= before + 2, "two sessions expire")
        self.assertGreater(time.monotonic() - started, 0.8)
        self.lasting("short", present=False)
        self.lasting("changed", present=False)
        self.lasting("long", present=True)
        self.client("publisher").publish(self.own("a"), b"x", 1)
        open_one.take(self.own("a"), b"x")
        open_one.disconnect()
        self.lasting("open", present=True)

    def test_session_of_mqtt_3_does_not_expire_before_its_time(self):
        """
        The state lasts as long as the session, and that lasts as long as its connection at least.
        3.1.1: 4.1.0-1, 4.1.0-2
        """
        client, publisher = self.client("clean", 4), self.client("publisher", 4)
        client.subscribe(self.own("a"), 1)
        for n in range(3):
            publisher.publish(self.own("a"), b"%d" % n, 1)
        self.assertEqual([one.payload for one in client.collect(3)], [b"0", b"1", b"2"])
        kept = self.lasting("kept", 4)
        kept.subscribe(self.own("a"), 1)
        self.closes(kept)
        publisher.publish(self.own("a"), b"3", 1)
        self.lasting("kept", 4, present=True).take(self.own("a"), b"3")

    @each_version(3, 4, 5)
    def test_takeover_closes_the_old_connection(self, version):
        """
        The one that is there is closed, in MQTT 5 with DISCONNECT 0x8E, and the session goes on with the new one.
        5.0: 3.1.4-3, 3.14.2-2, 3.14.4-1, 3.14.4-2
        3.1.1: 3.1.4-2
        """
        old = self.lasting("same", version)
        old.subscribe(self.own("a"), 1)
        new = self.lasting("same", version, present=True)
        if version == 5:
            self.assertEqual(old.receive(), Disconnect(0x8E, {}))
        self.assertIsNone(old.receive())
        self.client("publisher").publish(self.own("a"), b"x", 1)
        new.take(self.own("a"), b"x")


class SessionsOnDisk(Sessions):
    PERSISTENCE = True

    @each_version(3, 4, 5)
    def test_sessions_outlive_the_server(self, version):
        """
        After kill -9 a kept session goes on with what it is owed; one that had ended, or was made one without expiry, is not there.
        5.0: 3.1.2-23, 4.1.0-2
        3.1.1: 3.1.2-4, 3.1.2-5, 3.1.2-6, 4.1.0-1
        """
        kept, ended = self.lasting("kept", version), self.lasting("ended", version)
        for client in (kept, ended):
            client.subscribe(self.own("a"), 1)
        kept.disconnect()
        self.closes(ended)
        ended = self.client("ended", version, present=version == 5, clean=version != 5)  # MQTT 5: resumed with an expiry of 0
        self.client("publisher", version).publish(self.own("a"), b"owed", 1)
        self.closes(ended)
        self.close_clients()
        self.agent.kill9()
        self.agent.start()
        self.lasting("ended", version, present=False).quiet()
        kept = self.lasting("kept", version, present=True)
        kept.take(self.own("a"), b"owed")
        kept.quiet()
