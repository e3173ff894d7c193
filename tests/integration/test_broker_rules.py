"""
What broke other brokers in who may do what: rules, users, passwords, reload, files. One test per advisory or bug (or several where it has several sides),
named after the row of the list in tests/advisories.md.

 34-36  names in rules, rules applied late, rules that changed      40  what `#` must not show
 37     sessions of other users                                     42-43  modes of files, anonymous listeners
 38-39  what a rule covers, empty and broken files                  46  reload
"""
import os
import signal
import socket
import ssl
import stat

from tests.support import ports
from tests.support.broker_scenario import BrokerScenario, broker_config
from tests.support.certificates import Certificates
from tests.support.heliograf import command
from tests.support.mqtt_raw import Connack, Connect, Puback, Publish, Pubrec, Pubrel, Pubcomp, Suback, Subscribe, Will

KEEP = {"clean": False, "properties": {"session_expiry": 600}}
OPEN = "topic #\n"  # a rule of the anonymous


class Rules(BrokerScenario):
    def ruled(self, rules, persistence=None, **how):
        """A broker with this ACL file, which lets everybody in."""
        self.rules = self.file("acl", rules)
        return self.broker(acl_file=self.rules, allow_anonymous=True, persistence=persistence, **how)

    def change(self, rules):
        """Other rules, in force when this returns."""
        self.file("acl", rules)
        self.reload()

    def reload(self, fine=True):
        word = "BROKER-RELOADED" if fine else "stay as they were"
        before = len(self.agent.log_lines(word))
        self.agent.signal(signal.SIGHUP)
        self.agent.wait_for(lambda: len(self.agent.log_lines(word)) > before, word)

    # ---- names in rules ----

    def test_row_34_names_with_wildcards_and_slashes_in_patterns(self):
        """Mosquitto put client ids and user names with `+`, `#` and `/` into patterns as they were: who called himself `#` could read all."""
        self.ruled("pattern readwrite id/%c/data\npattern readwrite user/%u/#\n")
        for hostile in ("#", "+", "a/b", "+/+", "a#", "$SYS", ".*", "%u", "%c", "victim/data\x7f"):
            with self.subTest(hostile):
                victim = self.client("victim", user="victim")
                victim.subscribe(["id/#", "user/#"])
                attacker = self.raw()
                attacker.send(Connect(hostile, user=hostile))
                answer = attacker.receive()
                if not isinstance(answer, Connack) or answer.reason:
                    continue  # such a name does not get in at all
                attacker.send(Subscribe(1, ["#", "id/#", "user/#", "id/victim/data", "user/victim/x", f"id/{'+' if '#' in hostile else hostile}/data"]))
                attacker.expect(Suback)
                for topic in ("id/victim/data", "user/victim/x"):
                    victim.publish(topic, b"secret")
                    victim.take(topic, b"secret")
                    attacker.send(Publish(topic, b"forged", 1, 9))
                    attacker.expect(Puback, packet_id=9, reason=0x87)
                attacker.quiet()
                victim.quiet()
                victim.close()

    def test_row_34_other_names_have_their_own(self):
        """The other side of it: a name that is fit for a pattern gets what the pattern says."""
        self.ruled("pattern readwrite id/%c/data\n")
        for name in ("press-4", "a.b*", "\U0001F600", "a b"):
            client = self.client(name)
            client.subscribe("id/#")
            client.publish(f"id/{name}/data", b"mine")
            client.take(f"id/{name}/data", b"mine")

    # ---- rights on every path ----

    RIGHTS = "topic readwrite open/#\ntopic write secret/#\ntopic write w/#\n"

    def test_row_35_read_rights_hold_on_every_path(self):
        """NATS and Mosquitto asked for live messages only. Here: live, retained, shared, from offline queues, wills, delayed, and what was in flight."""
        self.ruled(self.RIGHTS, persistence=True)
        sender, reader = self.client("sender"), self.client("reader", **KEEP)
        reader.subscribe(["#", "secret/#", "+/+", "$share/g/secret/#", "$share/g/open/#"], 1)
        paths = [(topic, retain) for topic in ("secret/live", "$delayed/0/secret/delayed", "open/live", "$delayed/0/open/delayed") for retain in (False, True)]
        for topic, retain in paths:
            sender.publish(topic, b"x", 1, retain=retain)
        self.client("dies", will=Will("secret/will", b"x", 1)).reset()
        self.client("dies", will=Will("open/will", b"x", 1)).reset()
        sender.publish("open/end", b"x", 1)
        seen = self.until(reader, "open/end", times=2)
        self.assertEqual({one.topic for one in seen}, {"open/live", "open/delayed", "open/will", "open/end"})
        reader.close()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 1, "it is away")
        for topic in ("secret/offline", "open/offline"):
            sender.publish(topic, b"x", 1)
        self.restart()
        reader = self.client("reader", present=True, **KEEP)
        self.assertEqual({one.topic for one in reader.collect(2)}, {"open/offline"})
        reader.quiet()
        fresh = self.client("fresh")
        fresh.subscribe(["secret/#", "open/#"], 1)
        self.assertEqual({one.topic for one in fresh.collect(2)}, {"open/live", "open/delayed"})
        fresh.quiet()

    @staticmethod
    def until(client, topic, times=1):
        """All messages up to the one on this topic, which comes so many times (once for each share, too)."""
        found = []
        while sum(one.topic == topic for one in found) < times:
            found.append(client.collect(1)[0])
        return found

    def test_row_35_messages_of_a_writer_who_may_no_longer_write(self):
        """CVE-2018-12546: what a revoked writer had left as retained message, will, or delayed message stays behind."""
        both = "user writer\ntopic write a/#\nuser reader\ntopic read #\n"
        self.ruled(both)
        writer, reader = self.client("writer", user="writer", will=Will("a/will", b"x", 1)), self.client("reader", user="reader")
        for topic in ("a/retained", "$delayed/1/a/delayed"):
            writer.publish(topic, b"x", 1, retain=True)
        reader.subscribe("#", 1)
        reader.take("a/retained", retain=True)
        self.change("user writer\ntopic write b/#\nuser reader\ntopic read #\n")
        self.assertEqual(writer.publish("a/live", b"x", 1, reason=0x87).reason, 0x87)
        writer.reset()
        self.agent.wait_for(lambda: self.agent.figure("broker_delayed_messages") == 0, "the delayed one's time has come")
        reader.quiet()
        reader.unsubscribe("#")
        reader.subscribe("#", 1)
        reader.quiet()
        self.change(both)  # given back: what is retained is there again
        reader.subscribe("#", 1)
        reader.take("a/retained", retain=True)

    def test_row_36_a_subscription_does_not_outlive_the_right_to_read(self):
        """Mosquitto delivered to subscriptions made before the rule was gone, and on resumed sessions: live, queued, and in flight."""
        self.ruled("topic readwrite #\n", persistence=True)
        sender, live, away = self.client("sender"), self.client("live"), self.client("away", **KEEP)
        live.subscribe("a/#", 1)
        away.subscribe("a/#", 1)
        sender.publish("a/1", b"in flight", 1)
        live.take("a/1")
        away.expect(Publish, payload=b"in flight")  # not acknowledged
        away.close()
        self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 2, "it is away")
        sender.publish("a/2", b"queued", 1)
        live.take("a/2")
        self.change("topic write a/#\ntopic readwrite b/#\n")
        sender.publish("a/3", b"live", 1)
        live.quiet()
        self.client("away", present=True, **KEEP).quiet()
        self.restart()
        self.client("away", present=True, **KEEP).quiet()

    def test_row_36_qos_2_of_a_resumed_session_is_asked_again(self):
        """What was taken under the old rule goes on to its end; the next one is refused, in every version."""
        self.ruled("topic readwrite #\n", persistence=True)
        for version in (4, 5):
            keep = KEEP if version == 5 else {"clean": False}
            sender = self.client(f"sender{version}", version, **keep)
            sender.send(Publish("a/1", b"x", 2, 5))
            sender.expect(Pubrec, packet_id=5, reason=0)
            self.change("topic read #\n")
            self.restart()
            sender = self.client(f"sender{version}", version, present=True, **keep)
            sender.send(Pubrel(5))
            sender.expect(Pubcomp, packet_id=5, reason=0)
            watcher = self.client("watcher")
            watcher.subscribe("#")
            sender.send(Publish("a/1", b"y", 2, 6))
            sender.expect(Pubrec, packet_id=6, reason=0x87 if version == 5 else 0)
            if version == 4:
                sender.send(Pubrel(6))
                sender.expect(Pubcomp, packet_id=6)
            watcher.quiet()
            self.change("topic readwrite #\n")

    # ---- sessions of others ----

    def test_row_37_a_session_belongs_to_its_user(self):
        """EMQX and Mosquitto let another user with the same client id resume, read, wipe or throw out a session."""
        self.broker(password_file=self.passwords(owner="o", thief="t"), persistence=True)
        owner = self.client("device", user="owner", password="o", **KEEP)
        owner.subscribe("private/#", 1)
        thieves = [{"user": "thief", "password": "t"}]
        for connected in (True, False):
            for version in (3, 4, 5):
                for clean in (False, True):
                    for thief in thieves:
                        client = self.raw(version)
                        client.send(Connect("device", clean=clean, **thief))
                        client.expect(Connack, reason=0x87 if version == 5 else 5)
                        client.expect_closed()
            if connected:
                owner.quiet()
                owner.close()
                self.agent.wait_for(lambda: self.agent.figure("broker_clients_connected") == 0, "it is away")
                self.client("sender", user="thief", password="t").publish("private/1", b"x", 1)
                self.restart()
        self.client("device", present=True, user="owner", password="o", **KEEP).take("private/1", b"x")

    def test_row_37_nobody_is_somebody_too(self):
        """The anonymous and a named user are two; a session that has ended is free for both."""
        self.broker(allow_anonymous=True, password_file=self.passwords(owner="o"))
        nobody, owner = {}, {"user": "owner", "password": "o"}
        for first, second in ((nobody, owner), (owner, nobody)):
            client = self.client("device", **first)
            other = self.raw()
            other.send(Connect("device", **second))
            other.expect(Connack, reason=0x87)
            client.quiet()
            client.disconnect()
            self.client("device", **second).disconnect()

    # ---- what a rule covers ----

    def test_row_38_a_literal_covers_itself_and_a_hash_its_parent(self):
        """Comqtt let `allowed` stand for `allowed/secret`, and not `a/#` for `a`."""
        self.ruled("topic allowed\ntopic a/#\ntopic b/+\n")
        client = self.client("client")
        for topic, may in (("allowed", True), ("allowed/secret", False), ("allowed2", False), ("allow", False), ("a", True), ("a/", True), ("a/b/c", True), ("ab", False),
                           ("b/x", True), ("b", False), ("b/x/y", False), ("b/", True), ("/allowed", False), ("A", False)):
            with self.subTest(topic):
                client.publish(topic, b"x", 1, reason=0x10 if may else 0x87)

    def test_row_39_an_empty_file_allows_nothing(self):
        """In Mosquitto an empty ACL file let everybody do everything. And no anonymous is let in for a password file without users."""
        for rules in ("", "\n\n", "# topic #\n"):
            self.ruled(rules)
            client = self.client("client")
            client.publish("a", b"x", 1, reason=0x87)
            client.subscribe("#")
            self.client("other").publish("a", b"x", 1, reason=0x87)
            client.quiet()
            self.close_clients()
            self.agent.stop()
        self.broker(password_file=self.file("passwords", ""))
        for how in ({}, {"user": "u"}, {"user": "u", "password": ""}):
            client = self.raw()
            client.send(Connect("client", **how))
            self.assertIn(client.expect(Connack).reason, (0x86, 0x87))

    def test_row_39_a_broken_file_is_an_error(self):
        """At the start with its line, and nothing is started; never a file that is read as far as it goes."""
        cases = (("password_file", "u:$7$101$\n"), ("password_file", "good:$6$c2FsdA==$AAAA\nbroken line\n"), ("password_file", ":x\n"), ("acl_file", "topic a\ntopics b\n"),
                 ("acl_file", "user\n"), ("acl_file", "topic a/#/b\n"), ("acl_file", "topic read\x00 a\n"))
        for option, content in cases:
            with self.subTest(option=option, content=content):
                agent = self.new_heliograf(broker_config(self.directory, ports.free_port(), **{option: self.file("broken", content)}))
                done = command("check", "--config", agent.config_path)
                self.assertEqual(done.returncode, 78, done.stderr)
                self.assertRegex(done.stderr, r"broken:\d+:\d+: error")

    def test_row_39_a_reload_that_fails_changes_nothing(self):
        """Mosquitto cleared its rules before it had read the new ones."""
        passwords, rules = self.passwords(u="old"), self.file("acl", "user u\ntopic a\n")
        self.broker(password_file=passwords, acl_file=rules)

        def assert_old():
            client = self.client("client", user="u", password="old")
            client.publish("a", b"x", 1, reason=0x10)
            client.publish("b", b"x", 1, reason=0x87)
            other = self.raw()
            other.send(Connect("other", user="u", password="new"))
            other.expect(Connack, reason=0x86)
        assert_old()
        for broken in ({"passwords": "garbage\n"}, {"acl": "topics b\n"}, {"passwords": "u:$6$$\n", "acl": "user u\ntopic b\nrubbish\n"}, {"passwords": None}, {"acl": None}):
            with self.subTest(str(broken)):
                for name, content in broken.items():
                    if content is None:
                        (self.directory / name).unlink()
                    else:
                        self.file(name, content)
                self.reload(fine=False)
                assert_old()
                self.passwords(u="old")
                self.file("acl", "user u\ntopic a\n")

    # ---- what # must not show ----

    def test_row_40_everything_is_not_everything(self):
        """`#`, `+/...` and shared filters show no denied topic, no `$` topic, and no topic of the broker's own."""
        self.ruled("topic readwrite #\ntopic read $SYS/#\ntopic deny secret/#\ntopic readwrite $private/#\n", sys_interval="1s")
        client, sender = self.client("client"), self.client("sender")
        client.subscribe(["#", "+/#", "+/+", "+/broker/version", "$share/g/#", "$share/g/+/+"])
        for topic in ("secret/x", "secret", "$private/x"):
            sender.publish(topic, b"x", 1, reason=0x87 if "secret" in topic else 0x10, retain=True)
        self.client("event").disconnect()
        client.quiet()
        client.send(Subscribe(9, ["secret/#", "secret/x", "$SYS/broker/version", "$private/#"]))
        self.assertEqual(client.expect(Suback, packet_id=9).reasons, [0x87, 0x87, 0, 0])
        self.assertEqual({one.topic for one in client.collect(2)}, {"$SYS/broker/version", "$private/x"})
        watcher = self.client("watcher")
        watcher.subscribe("$SYS/#")
        watcher.expect(Publish)
        client.quiet()  # nor what comes every second

    # ---- files and listeners ----

    def test_row_42_files_are_for_their_owner(self):
        """State, spool, dead letters and password files, those that are only there for a moment included, whatever the umask says."""
        before = os.umask(0)
        try:
            self.broker(persistence=True, config={"agent": {"spool": {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "64MiB"}}})
            client = self.client("client", **KEEP)
            client.subscribe("t/#", 1)
            for n in range(100):
                client.send(Publish("t/1", b"x" * 1000, 1, n + 1, retain=True))
            self.agent.wait_for(lambda: self.agent.figure("broker_messages_received_total") >= 100, "messages")
            done = command("passwd", "-c", self.directory / "made", "user", stdin="secret\n")
            self.assertEqual(done.returncode, 0, done.stderr)
            command("passwd", self.directory / "made", "another", stdin="secret\n")
            seen = 0
            for root in (self.directory / "state", self.directory / "spool", self.directory / "dead-letters"):
                for path in [root, *root.rglob("*")]:
                    mode = stat.S_IMODE(path.stat().st_mode)
                    self.assertEqual(mode & 0o077, 0, f"{path}: {mode:o}")
                    seen += path.is_file()
            self.assertGreater(seen, 3)
            self.assertEqual(stat.S_IMODE((self.directory / "made").stat().st_mode), 0o600)
        finally:
            os.umask(before)

    def test_row_43_no_listener_is_open_to_the_world_by_saying_nothing(self):
        """Mosquitto's options of the default listener opened an anonymous one on all addresses. Here that is an error that says what to do."""
        def check(address, listener=None, **how):
            config = broker_config(self.directory, 1, listener={"address": address, **(listener or {})}, **how)
            agent = self.new_heliograf(config)
            return command("check", "--config", agent.config_path)
        for address in ("0.0.0.0:1883", ":1883", "[::]:1883", "192.0.2.1:1883"):
            done = check(address)
            self.assertEqual(done.returncode, 78, address)
            self.assertIn("allow_anonymous", done.stderr)
            for how in ({"allow_anonymous": True}, {"listener": {"allow_anonymous": True}}, {"password_file": self.passwords(u="p")}):
                self.assertEqual(check(address, **how).returncode, 0, (address, how))
        for address in ("127.0.0.1:1883", "[::1]:1883", f"unix:{self.directory}/socket"):
            self.assertEqual(check(address).returncode, 0, address)
        self.assertEqual(check("0.0.0.0:1883", acl_file=self.file("acl", OPEN)).returncode, 78)  # rules are no users

    def test_row_43_with_users_nobody_else_comes_in(self):
        """A password file ends anonymous access, on loopback too."""
        self.broker(password_file=self.passwords(u="p"))
        for version, reason in ((5, 0x87), (4, 5), (3, 5)):
            client = self.raw(version)
            client.send(Connect("anonymous"))
            client.expect(Connack, reason=reason)
            client.expect_closed()

    def test_row_46_a_reload_applies_rules_passwords_and_certificates(self):
        """NanoMQ read some of it again and not the rest; here all of it holds at once, and nobody is disconnected."""
        certificates = Certificates(self.directory)
        certificate, key = self.directory / "listener.pem", self.directory / "listener.key"
        certificate.write_bytes(certificates.server.read_bytes())
        key.write_bytes(certificates.server_key.read_bytes())
        key.chmod(0o600)
        self.broker(password_file=self.passwords(u="old"), acl_file=self.file("acl", "user u\ntopic a\n"),
                    listener={"tls": {"certificate": str(certificate), "key": str(key)}})

        def connected(password, reason=0, authority=certificates.ca):
            context = ssl.create_default_context(cafile=str(authority))
            sock = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname="localhost")
            client = self.raw(5, sock=sock)
            client.send(Connect("", user="u", password=password))
            client.expect(Connack, reason=reason)
            return client
        old = connected("old")
        old.publish("a", b"x", 1, reason=0x10)
        self.passwords(u="new")
        self.file("acl", "user u\ntopic b\n")
        again = Certificates(self.directory / "again")
        certificate.write_bytes(again.server.read_bytes())
        key.write_bytes(again.server_key.read_bytes())
        self.reload()
        old.publish("a", b"x", 1, reason=0x87)
        old.publish("b", b"x", 1, reason=0x10)
        connected("old", 0x86, again.ca)
        new = connected("new", 0, again.ca)
        new.publish("b", b"x", 1, reason=0x10)
        old.quiet()
