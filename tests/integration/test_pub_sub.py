"""`heliograf pub` and `heliograf sub` against a real Mosquitto, and beside Mosquitto's own mosquitto_pub and mosquitto_sub."""
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import termios
import threading
import time
import unittest

from tests.support import ports, settings, waiting
from tests.support.certificates import Certificates
from tests.support.mqtt_tools import OURS, THEIRS, Tool, run, unique_id, wait_subscribed
from tests.support.scenario import Scenario, scratch_directory
from tests.support.servers import Mosquitto

LOGGING = ["log_type subscribe", "log_type unsubscribe", "log_type notice", "connection_messages true"]
BINARY_PAYLOAD = bytes(range(256)) + b"\n\n\0"


class PubSub(Scenario):
    """One broker for all tests that do not stop it, and topics of each test's own."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch_directory()
        cls.addClassCleanup(shutil.rmtree, cls.scratch, True)
        cls.ws_port = ports.free_port()
        cls.broker = Mosquitto(cls.scratch, options=LOGGING, listener_options=[f"listener {cls.ws_port} 127.0.0.1", "protocol websockets"])
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()
        waiting.until(lambda: ports.listening(cls.ws_port), "the websocket listener")

    def setUp(self):
        super().setUp()
        self.topic = unique_id("t")

    def tool(self, who, role, *flags, port=None, **how):
        tool = Tool(who, role, "-h", "127.0.0.1", "-p", port or self.broker.port, *flags, **how)
        self.addCleanup(tool.__exit__)
        return tool

    def call(self, who, role, *flags, port=None, code=0, **how):
        done = run(who, role, "-h", "127.0.0.1", "-p", port or self.broker.port, *flags, **how)
        if code is not None:
            self.assertEqual(done.code, code, repr(done))
        return done

    def subscriber(self, who, topic, *flags, qos=0, broker=None, **how):
        """Started and subscribed."""
        broker = broker or self.broker
        client_id = unique_id("sub")
        tool = self.tool(who, "sub", "-i", client_id, "-t", topic, "-q", qos, *flags, port=broker.port, **how)
        wait_subscribed(broker, client_id, topic)
        return tool

    def pub(self, topic, payload, *flags, who=THEIRS, **how):
        return self.call(who, "pub", "-t", topic, "-s", *flags, data=payload, **how)

    # ---- crosswise -------------------------------------------------------------------------------------------------

    def test_every_version_and_quality_of_service_crosswise(self):
        for version in ("31", "311", "5"):
            for qos in (0, 1, 2):
                for publisher, subscriber in ((OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)):
                    with self.subTest(version=version, qos=qos, publisher=publisher, subscriber=subscriber):
                        topic = unique_id("x")
                        tool = self.subscriber(subscriber, topic, "-C", 1, "-N", "-V", version, qos=qos)
                        self.pub(topic, BINARY_PAYLOAD, "-q", qos, "-V", version, who=publisher)
                        done = tool.wait()
                        self.assertEqual((done.code, done.out), (0, BINARY_PAYLOAD), repr(done))

    def test_retained_messages_crosswise(self):
        for publisher, subscriber in ((OURS, THEIRS), (THEIRS, OURS)):
            with self.subTest(publisher=publisher):
                topic = unique_id("r")
                self.pub(topic, b"kept", "-r", "-q", 1, who=publisher)
                done = self.call(subscriber, "sub", "-t", topic, "-C", 1, "-F", "%t %p %r")
                self.assertEqual(done.out, f"{topic} kept 1\n".encode())
                self.call(publisher, "pub", "-t", topic, "-n", "-r", "-q", 1)
                self.assertEqual(self.call(subscriber, "sub", "-t", topic, "-W", 1, code=27).out, b"")

    def test_a_will_crosswise(self):
        for owner, subscriber in ((OURS, THEIRS), (THEIRS, OURS)):
            with self.subTest(owner=owner):
                topic = unique_id("w")
                watcher = self.subscriber(subscriber, topic, "-C", 1, "-F", "%p %q %C %P", "-V", 5, qos=1)
                doomed = self.subscriber(owner, unique_id("other"), "--will-topic", topic, "--will-payload", "gone", "--will-qos", 1, "--will-retain",
                                         "-V", 5, "-D", "will", "content-type", "text", "-D", "will", "user-property", "k", "v")
                doomed.send(signal.SIGKILL)
                self.assertEqual(watcher.wait().out, b"gone 1 text k:v\n")
                self.assertEqual(self.call(THEIRS, "sub", "-t", topic, "-C", 1).out, b"gone\n")

    def test_an_empty_will(self):
        watcher = self.subscriber(THEIRS, self.topic, "-C", 1, "-v")
        self.subscriber(OURS, unique_id("other"), "--will-topic", self.topic).send(signal.SIGKILL)
        self.assertEqual(watcher.wait().out, f"{self.topic} (null)\n".encode())

    def test_a_clean_end_publishes_no_will(self):
        watcher = self.subscriber(THEIRS, self.topic, "-C", 1)
        for number in (signal.SIGINT, signal.SIGTERM):
            doomed = self.subscriber(OURS, unique_id("other"), "--will-topic", self.topic, "--will-payload", "gone")
            done = doomed.stop(number)
            self.assertEqual((done.code, done.text), (0, ""), repr(done))
        self.pub(self.topic, b"the only one")
        self.assertEqual(watcher.wait().out, b"the only one\n")

    def test_properties_of_ours_arrive(self):
        watcher = self.subscriber(THEIRS, self.topic, "-C", 1, "-V", 5, "-F", "%C|%R|%D|%F|%P|%E")
        self.call(OURS, "pub", "-t", self.topic, "-m", "x", "-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "a/b",
                  "-D", "publish", "correlation-data", "id 7", "-D", "publish", "payload-format-indicator", 1, "-D", "publish",
                  "message-expiry-interval", 300, "-D", "publish", "user-property", "a", "1", "-D", "publish", "user-property", "b", "2")
        self.assertEqual(watcher.wait().out, b"text/plain|a/b|id 7|1|a:1 b:2|300\n")

    def test_a_topic_alias_in_place_of_the_topic(self):
        watcher = self.subscriber(THEIRS, self.topic, "-C", 50, "-V", 5, "-v", qos=1)
        self.call(OURS, "pub", "-t", self.topic, "-l", "-q", 1, "-D", "publish", "topic-alias", 4, data=b"".join(b"%d\n" % n for n in range(50)))
        self.assertEqual(watcher.wait().out, b"".join(f"{self.topic} {n}\n".encode() for n in range(50)))

    # ---- formats ---------------------------------------------------------------------------------------------------

    PROPERTIES = ("-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "answer/to", "-D", "publish", "correlation-data",
                  "abc", "-D", "publish", "message-expiry-interval", "86400", "-D", "publish", "payload-format-indicator", "1",
                  "-D", "publish", "user-property", "first", "one", "-D", "publish", "user-property", "second", "zwei")

    def retain(self, topic, payload, *flags):
        self.pub(topic, payload, "-r", "-q", 1, "-V", 5, *flags)

    def same_output(self, topic, format_words, *flags):
        """What both programs print for the retained message on `topic`; times are cut out of JSON."""
        outputs = []
        for who in (THEIRS, OURS):
            done = self.call(who, "sub", "-t", topic, "-C", 1, "-V", 5, "-F", format_words, "-D", "subscribe", "subscription-identifier", 5, *flags)
            output = re.sub(rb'"tst":(\t?)"[^"]*"', rb'"tst":\1"..."', done.out)
            outputs.append(re.sub(rb'("message-expiry-interval":\t?)\d+', rb"\1...", output))  # it counts down
        self.assertEqual(outputs[1], outputs[0], format_words)

    def test_every_sequence_prints_as_mosquitto_subs(self):
        self.retain(self.topic, b"payload \xc3\xa4 of 23 bytes", *self.PROPERTIES)
        bare = self.topic + "/bare"
        self.retain(bare, b"x")
        sequences = [f"%{letter}" for letter in "tpxXlqrmACDFPRSj%"] + ["@@", "\\n", "\\t", "\\r", "\\0", "\\a", "\\e", "\\v", "\\\\", "@%", "@n", "@t", "@Z", "@z"]
        for sequence in sequences:
            with self.subTest(sequence=sequence):
                for topic in (self.topic, bare):
                    self.same_output(topic, f"[{sequence}]", "-q", 1)
        self.same_output(self.topic, "%t %p %x %l %q %r %m %C|%D|%F|%P|%R|%S", "-q", 2)
        self.same_output(self.topic, "%p", "-N")

    def test_json_prints_as_mosquitto_subs(self):
        payloads = [b'{"temperature": 21.5, "ok": true, "n": null, "list": [1, 2.5, -3e2], "s": "a\\"b\\u00e9\xc3\xa9"}', b"[]", b"17", b'"text"', b"0.1",
                    b'{"a":{"b":{"c":[{},{"d":1}]}}}', b"true", b"-0.5e-7", b"123456789012345"]
        for payload in payloads:
            with self.subTest(payload=payload):
                self.retain(self.topic, payload, *self.PROPERTIES[:8])
                for words in ("%j", "%J"):
                    self.same_output(self.topic, words)
                    self.same_output(self.topic, words, "--pretty")

    def test_widths_and_precisions_print_as_mosquitto_subs(self):
        """Random formats. Left out are two slips of mosquitto_sub 2.0.11: `%-p` without a width pads, and a width around `%x` cuts too much."""
        payload = b"0123456789abcdef"
        self.retain(self.topic, payload, *self.PROPERTIES)
        rng = random.Random(11)

        def sequence():
            letter = rng.choice("tpxXlqrmACDFPRSC%")
            flag = rng.choice(["", "-", "0", "-0"])
            width = rng.choice(["", str(rng.randrange(1, 40))])
            if letter in "xX":
                width = rng.choice(["", str(rng.randrange(1, len(payload) + 1))])
            if letter in "pxX" and not width:
                flag = flag.replace("-", "")
            precision = rng.choice(["", "", f".{rng.randrange(0, 12)}"])
            return f"%{flag}{width}{precision}{letter}"

        for _ in range(settings.scaled(60, 10)):
            words = "".join(rng.choice([sequence(), sequence(), "text ", "@@", "\\t", "é"]) for _ in range(rng.randrange(1, 9)))
            with self.subTest(words=words):
                self.same_output(self.topic, words)

    def test_times_are_now(self):
        self.retain(self.topic, b"x")
        before = time.time()
        done = self.call(OURS, "sub", "-t", self.topic, "-C", 1, "-F", "%U @s.@N %I @Y-@m-@dT@H:@M:@S@z", env={"TZ": "EAST-5"})
        unix, parts, iso, built = done.out.decode().split()
        self.assertTrue(before - 1 <= float(unix) <= time.time() + 1, done.out)
        self.assertEqual(parts, unix)
        self.assertEqual(iso, built)
        self.assertTrue(iso.endswith("+0500"), iso)

    def test_a_payload_that_is_not_json_is_named_and_the_others_go_on(self):
        tool = self.subscriber(OURS, self.topic + "/#", "-F", "%t %J", "-C", 2)
        self.pub(self.topic + "/bad", b"nonsense")
        self.pub(self.topic + "/good", b"1")
        done = tool.wait()
        self.assertEqual(len(done.out.splitlines()), 1)
        self.assertIn(f"{self.topic}/bad", done.text)

    def test_json_lines(self):
        tool = self.subscriber(OURS, self.topic, "--json", "-C", 3)
        for payload in (b'{"a":1}', b"\xff\x00", b"a\nb\x00c"):
            self.pub(self.topic, payload)
        lines = [json.loads(line) for line in tool.wait().out.splitlines()]
        self.assertEqual([line.get("payload") for line in lines], ['{"a":1}', None, "a\nb\x00c"])
        self.assertEqual(lines[1]["payload_hex"], "ff00")
        self.assertEqual({line["topic"] for line in lines}, {self.topic})

    # ---- what is printed -------------------------------------------------------------------------------------------

    def test_verbose_and_newlines_as_mosquitto_subs(self):
        for flags in ((), ("-v",), ("-N",), ("-v", "-N")):
            with self.subTest(flags=flags):
                outputs = []
                for who in (THEIRS, OURS):
                    tool = self.subscriber(who, self.topic, "-C", 3, *flags)
                    for payload in (b"one", b"", b"two\nlines"):
                        self.call(THEIRS, "pub", "-t", self.topic, *(("-m", payload) if payload else ("-n",)))
                    outputs.append(tool.wait().out)
                self.assertEqual(*outputs)

    def test_several_filters_and_filters_to_leave_out(self):
        client_id = unique_id("sub")
        tool = self.tool(OURS, "sub", "-i", client_id, "-t", self.topic + "/a/#", "-t", self.topic + "/b", "-T", self.topic + "/a/+/noise", "-C", 3, "-v")
        wait_subscribed(self.broker, client_id, self.topic + "/b")
        for name in ("a/x", "a/x/noise", "c", "b", "a/y/z"):
            self.pub(f"{self.topic}/{name}", name.encode())
        self.assertEqual(tool.wait().out.decode().split()[1::2], ["a/x", "b", "a/y/z"])

    def test_retained_or_not(self):
        kept, fresh = self.topic + "/kept", self.topic + "/fresh"
        self.pub(kept, b"old", "-r")
        no_retained = self.subscriber(OURS, self.topic + "/#", "-R", "-C", 1, "-v")
        no_retained_5 = self.subscriber(OURS, self.topic + "/#", "-R", "-C", 1, "-v", "-V", 5)
        only = self.subscriber(OURS, self.topic + "/#", "--retained-only", "-v")
        self.pub(fresh, b"new")
        for tool in (no_retained, no_retained_5):
            self.assertEqual(tool.wait().out, f"{fresh} new\n".encode())
        done = only.wait()
        self.assertEqual((done.code, done.out), (0, f"{kept} old\n".encode()))

    def test_retain_as_published(self):
        for flags, want in ((("--retain-as-published",), b"1\n"), ((), b"0\n")):
            tool = self.subscriber(OURS, self.topic, "-V", 5, "-F", "%r", "-C", 1, *flags)
            self.pub(self.topic, b"x", "-r")
            self.assertEqual(tool.wait().out, want)
            self.call(THEIRS, "pub", "-t", self.topic, "-n", "-r")

    def test_remove_retained(self):
        removed = [f"{self.topic}/{n}" for n in range(30)]
        for name in removed + [self.topic + "/keep"]:
            self.pub(name, b"x", "-r", who=OURS)
        done = self.call(OURS, "sub", "-t", self.topic + "/#", "--remove-retained", "-T", self.topic + "/keep", "-C", len(removed), "-F", "%t")
        self.assertEqual(sorted(done.out.decode().split()), sorted(removed))
        left = self.call(THEIRS, "sub", "-t", self.topic + "/#", "-F", "%t", "-W", 1, code=27)
        self.assertEqual(left.out.decode().split(), [self.topic + "/keep"])

    def test_a_random_part(self):
        tool = self.subscriber(OURS, self.topic, "--random-filter", 30, qos=1)
        printed = _Lines(tool)
        self.call(OURS, "pub", "-t", self.topic, "-l", "-q", 1, data=b"x\n" * 1000)
        waiting.until(lambda: len(printed.lines) > 200, "more than 200 of about 300 lines")
        tool.stop(signal.SIGINT)
        printed.thread.join()
        self.assertLess(len(printed.lines), 400)  # 7 standard deviations

    # ---- ends ------------------------------------------------------------------------------------------------------

    def test_timeout(self):
        began = time.monotonic()
        done = self.call(OURS, "sub", "-t", self.topic, "-W", 1, code=27)
        self.assertGreaterEqual(time.monotonic() - began, 1)
        self.assertIn("timed out after 1 s", done.text)
        self.assertEqual(self.call(THEIRS, "sub", "-t", self.topic, "-W", 1, code=27).out, done.out)

    def test_timeout_while_connecting(self):
        """A listener that never answers; the name lookup and the connect must not hold -W up."""
        with _Mute() as port:
            self.call(OURS, "sub", "-t", "x", "-W", 1, port=port, code=27)
            self.call(OURS, "pub", "-t", "x", "-n", "-W", 1, port=port, code=27)

    def test_exit_after_subscribing(self):
        client_id = unique_id("sub")
        self.call(OURS, "sub", "-t", self.topic, "-t", self.topic + "/b", "-E", "-i", client_id)
        wait_subscribed(self.broker, client_id, self.topic + "/b")

    def test_signals_disconnect(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            client_id = unique_id("sub")
            tool = self.tool(OURS, "sub", "-t", self.topic, "-i", client_id)
            wait_subscribed(self.broker, client_id, self.topic)
            self.assertEqual(tool.stop(number).code, 0)
            waiting.until(lambda: f"Client {client_id} disconnected." in self.broker.log(), "a DISCONNECT")

    def test_a_signal_is_heard_while_nobody_reads_the_output(self):
        tool = self.subscriber(OURS, self.topic)
        self.pub(self.topic, b"x" * (2 << 20))
        waiting.until(lambda: _blocked_in_pipe(tool), "a full pipe")
        began = time.monotonic()
        tool.send(signal.SIGTERM)
        self.assertEqual(tool.child.wait(10 * settings.PATIENCE), 0)
        self.assertLess(time.monotonic() - began, 5 * settings.PATIENCE)

    def test_a_closed_output_is_the_end(self):
        """As in `sub | head -1`, without another message."""
        tool = self.subscriber(OURS, self.topic)
        self.pub(self.topic, b"seen")
        self.assertEqual(tool.read_line(), b"seen\n")
        tool.child.stdout.close()
        self.assertEqual(tool.child.wait(10 * settings.PATIENCE), 1)
        self.assertEqual(tool.child.stderr.read(), b"")

    def test_a_full_disk_is_said(self):
        with open("/dev/full", "wb") as full:
            tool = self.subscriber(OURS, self.topic, stdout=full)
        self.pub(self.topic, b"x")
        done = tool.wait()
        self.assertEqual((done.code, done.text), (1, "heliograf sub: cannot write to standard output: No space left on device\n"))

    # ---- sessions and acknowledgements -----------------------------------------------------------------------------

    def test_a_kept_session_crosswise(self):
        for version in ("311", "5"):
            for first, second in ((OURS, THEIRS), (THEIRS, OURS)):
                with self.subTest(version=version, first=first):
                    topic, client_id = unique_id("s"), unique_id("kept")
                    session = ("-c", "-i", client_id, "-q", 1, "-V", version)
                    self.call(first, "sub", "-t", topic, *session, "-E")
                    for n in range(3):
                        self.pub(topic, b"%d" % n, "-q", 1)
                    self.assertEqual(self.call(second, "sub", "-t", topic, *session, "-C", 3).out, b"0\n1\n2\n")

    def test_a_session_that_expires(self):
        session = ("-t", self.topic, "-c", "-i", unique_id("kept"), "-q", 1, "-V", 5, "-E", "-d")
        self.call(OURS, "sub", *session, "-x", 60)
        self.assertIn("session resumed", self.call(OURS, "sub", *session, "-x", 1).text)
        time.sleep(2)  # the session's second, and the broker's in which it looks
        self.assertNotIn("session resumed", self.call(OURS, "sub", *session).text)

    def test_unsubscribe(self):
        client_id = unique_id("kept")
        session = ("-c", "-i", client_id, "-q", 1)
        self.call(OURS, "sub", "-t", self.topic, "-t", self.topic + "/b", *session, "-E")
        self.call(OURS, "sub", "-U", self.topic, *session, "-E")
        self.pub(self.topic, b"not any more", "-q", 1)
        self.pub(self.topic + "/b", b"still", "-q", 1)
        self.assertEqual(self.call(THEIRS, "sub", "-t", self.topic + "/b", *session, "-C", 1).out, b"still\n")

    def test_more_than_the_count_stays_with_the_broker(self):
        client_id = unique_id("kept")
        session = ("-c", "-i", client_id, "-q", 1, "-t", self.topic)
        self.call(OURS, "sub", *session, "-E")
        for n in range(6):
            self.pub(self.topic, b"%d" % n, "-q", 1)
        self.assertEqual(self.call(OURS, "sub", *session, "-C", 2).out, b"0\n1\n")
        self.assertEqual(self.call(OURS, "sub", *session, "-C", 4).out, b"2\n3\n4\n5\n")

    def test_what_was_not_written_is_not_acknowledged(self):
        """Killed with kill -9 while nobody reads its output: what is missing there comes again."""
        for qos, version in ((1, "311"), (1, "5"), (2, "5")):
            with self.subTest(qos=qos, version=version):
                topic, client_id = unique_id("s"), unique_id("kept")
                session = ("-c", "-i", client_id, "-q", qos, "-t", topic, "-V", version)
                self.call(OURS, "sub", *session, "-E")
                tool = self.tool(OURS, "sub", *session)
                lines = [b"%02d" % n + b"." * 20000 for n in range(15)]
                for line in lines:
                    self.pub(topic, line, "-q", qos, "-V", version)
                waiting.until(lambda: _blocked_in_pipe(tool), "a full pipe")
                tool.send(signal.SIGKILL)
                seen = tool.child.stdout.read().split(b"\n")
                whole = [line for line in seen[:-1]]
                self.assertLess(len(whole), len(lines), "the pipe took everything: this test needs longer lines")
                again = self.call(OURS, "sub", *session, "-W", 2, code=27).out.split(b"\n")[:-1]
                self.assertEqual(set(whole) | set(again), set(lines))
                self.assertEqual(again, sorted(again))

    # ---- publishing ------------------------------------------------------------------------------------------------

    def test_sources_of_messages(self):
        path = self.directory / "payload"
        path.write_bytes(BINARY_PAYLOAD)
        for flags, data, want in ((("-m", "text ä"), None, "text ä".encode()), (("-f", path), None, BINARY_PAYLOAD), (("-s",), BINARY_PAYLOAD, BINARY_PAYLOAD),
                                  (("-n",), None, b""), (("-m", ""), None, b""), (("-s",), b"", b"")):
            with self.subTest(flags=flags):
                tool = self.subscriber(THEIRS, self.topic, "-C", 1, "-N", "-F", "%p")
                self.call(OURS, "pub", "-t", self.topic, *flags, data=data)
                self.assertEqual(tool.wait().out, want)

    def test_lines(self):
        """Empty ones, a carriage return, NUL, a long one, and no newline at the end."""
        data = b"one\n\ntwo\r\nthr\0ee\n" + b"long" * 50000 + b"\nlast"
        tool = self.subscriber(OURS, self.topic, "-C", 6, "-F", "<%p>", qos=1)
        self.call(OURS, "pub", "-t", self.topic, "-l", "-q", 1, data=data)
        self.assertEqual(tool.wait().out, b"".join(b"<%s>\n" % line for line in data.split(b"\n")))

    def test_no_lines_at_all(self):
        self.call(OURS, "pub", "-t", self.topic, "-l", "-q", 1, data=b"")

    def test_a_line_is_published_when_it_comes(self):
        tool = self.subscriber(THEIRS, self.topic, "-C", 2)
        publisher = self.tool(OURS, "pub", "-t", self.topic, "-l", "-q", 1, stdin=subprocess.PIPE)
        for n in range(2):
            publisher.child.stdin.write(b"%d\n" % n)
            publisher.child.stdin.flush()
            self.assertEqual(tool.read_line(), b"%d\n" % n)
        self.assertEqual(publisher.wait().code, 0)

    def test_repeat(self):
        tool = self.subscriber(THEIRS, self.topic, "-C", 4, qos=1)
        began = time.monotonic()
        self.call(OURS, "pub", "-t", self.topic, "-m", "x", "-q", 1, "--repeat", 4, "--repeat-delay", 0.2)
        self.assertGreaterEqual(time.monotonic() - began, 0.6)
        self.assertEqual(tool.wait().out, b"x\n" * 4)

    def test_a_hundred_thousand_lines(self):
        count = settings.scaled(100_000, 5000)
        data = b"".join(b"%d\n" % n for n in range(count))
        for qos in (1, 2):
            with self.subTest(qos=qos):
                path = self.directory / f"received-{qos}"
                with open(path, "wb") as out:
                    tool = self.subscriber(OURS, self.topic, "-C", count, qos=qos, stdout=out)
                self.call(OURS, "pub", "-t", self.topic, "-l", "-q", qos, data=data, timeout=60)
                self.assertEqual(tool.wait(60).code, 0)
                self.assertEqual(path.read_bytes(), data)

    def test_a_stopped_broker_stops_the_input_and_not_the_memory(self):
        broker = self.mosquitto(options=LOGGING)
        publisher = self.tool(OURS, "pub", "-t", self.topic, "-l", "-q", 1, port=broker.port, stdin=subprocess.PIPE)
        line = b"x" * 999 + b"\n"
        publisher.child.stdin.write(line)
        publisher.child.stdin.flush()
        os.kill(broker.pid, signal.SIGSTOP)
        written = [0]

        def feed():
            for _ in range(20_000):
                publisher.child.stdin.write(line)
                written[0] += len(line)
            publisher.child.stdin.close()
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            steady = _steady(lambda: written[0])
            rss = _peak_rss(publisher.pid)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        feeder.join()
        publisher.child.stdin = None
        done = publisher.wait(60)
        self.assertEqual(done.code, 0, repr(done))
        self.assertLess(steady, 2 << 20)
        if not settings.SANITIZED:
            self.assertLess(rss, 32 << 20)

    # ---- outages ---------------------------------------------------------------------------------------------------

    def test_both_go_on_after_the_broker_was_away(self):
        """A stop that keeps the broker's state: nothing that was acknowledged is missing, and lines go on."""
        for version in ("311", "5"):
            with self.subTest(version=version):
                directory = self.directory / version
                directory.mkdir()
                broker = Mosquitto(directory, options=LOGGING, persistence=True)
                self.addCleanup(broker.kill)
                broker.start()
                count = settings.scaled(3000, 600)
                client_id = unique_id("kept")
                tool = self.tool(OURS, "sub", "-c", "-i", client_id, "-t", "n", "-q", 1, "-V", version, port=broker.port)
                wait_subscribed(broker, client_id, "n")
                publisher = self.tool(OURS, "pub", "-t", "n", "-l", "-q", 1, "-V", version, "-c", "-i", unique_id("pub"), port=broker.port, stdin=subprocess.PIPE)
                received = _Lines(tool)
                for n in range(count):
                    publisher.child.stdin.write(b"%d\n" % n)
                    publisher.child.stdin.flush()
                    if n in (count // 3, 2 * count // 3):
                        received.wait_for(b"%d" % (n // 2))
                        broker.stop()
                        broker.start()
                publisher.child.stdin.close()
                publisher.child.stdin = None
                done = publisher.wait(60)
                self.assertEqual(done.code, 0, repr(done))
                received.wait_for(b"%d" % (count - 1))
                waiting.until(lambda: len(received.lines) >= count, "every line")
                self.assert_numbers({int(line) for line in received.lines}, range(count))
                ended = tool.stop(signal.SIGINT)
                self.assertIn("lost mqtt://127.0.0.1", ended.text)
                self.assertIn("again", ended.text)

    def test_a_killed_broker_and_a_clean_session(self):
        """As with mosquitto_sub: subscribed again, and what is published from then on arrives."""
        broker = self.mosquitto(options=LOGGING)
        client_id = unique_id("sub")
        tool = self.tool(OURS, "sub", "-i", client_id, "-t", "n", "-C", 2, port=broker.port)
        wait_subscribed(broker, client_id, "n")
        self.pub("n", b"before", port=broker.port)
        self.assertEqual(tool.read_line(), b"before\n")
        broker.kill()
        broker.start()
        wait_subscribed(broker, client_id, "n", 2)
        self.pub("n", b"after", port=broker.port)
        self.assertEqual(tool.wait().out, b"after\n")

    def test_lines_that_a_broker_cannot_stand_come_to_an_end(self):
        """With MQTT 5 the broker says why."""
        broker = self.mosquitto(options=LOGGING + ["max_packet_size 1000"])
        done = self.call(OURS, "pub", "-t", "x", "-l", "-q", 1, "-V", 5, port=broker.port, data=b"x" * 2000 + b"\n", code=1)
        self.assertRegex(done.text, r"lost mqtt://127\.0\.0\.1:\d+: broker says: .*too large")

    @unittest.skipIf(settings.SANITIZED, "half a minute of pauses")
    def test_a_broker_that_ends_every_connection_is_given_up(self):
        """Before MQTT 5 a broker says nothing when a packet is too large."""
        with _Mute(accept=True) as port:
            done = self.call(OURS, "pub", "-t", "x", "-l", "-q", 1, port=port, data=b"x\n", code=1, timeout=60)
        self.assertEqual(done.text.count("connecting again"), 10)
        self.assertIn("has ended 10 connections in a row without acknowledging anything", done.text)

    def test_an_alias_that_the_broker_does_not_take(self):
        done = self.call(OURS, "pub", "-t", self.topic, "-m", "x", "-D", "publish", "topic-alias", 60000, code=1)
        self.assertIn("-D publish topic-alias 60000: ", done.text)
        self.assertIn("takes none above 10", done.text)

    def test_lines_by_hand_end_by_hand(self):
        publisher = self.tool(OURS, "pub", "-t", self.topic, "-l", "-q", 1, "-i", self.topic, "-d", stdin=subprocess.PIPE)
        tool = self.subscriber(THEIRS, self.topic)
        publisher.child.stdin.write(b"one\n")
        publisher.child.stdin.flush()
        self.assertEqual(tool.read_line(), b"one\n")
        for line in publisher.child.stderr:
            if b"ANSWERED" in line:
                break
        publisher.send(signal.SIGINT)
        self.assertEqual(publisher.child.wait(10 * settings.PATIENCE), 0)

    def test_one_message_whose_connection_is_lost_has_failed(self):
        with _Mute(accept=True) as port:
            done = self.call(OURS, "pub", "-t", "x", "-m", "y", "-q", 1, port=port, code=1)
        self.assertRegex(done.text, r"lost mqtt://127\.0\.0\.1:\d+: .*; 1 of 1 messages are not acknowledged")

    # ---- errors ----------------------------------------------------------------------------------------------------

    def test_nobody_listens(self):
        port = ports.free_port()
        for role, flags in (("sub", ("-t", "x")), ("pub", ("-t", "x", "-n"))):
            done = self.call(OURS, role, *flags, port=port, code=1)
            self.assertEqual(done.text, f"heliograf {role}: cannot connect to mqtt://127.0.0.1:{port}: Connection refused; does a broker listen there (-h, -p)?\n")
            self.assertEqual(self.call(OURS, role, *flags, "--quiet", port=port, code=1).err, b"")

    def test_no_such_host(self):
        done = run(OURS, "sub", "-h", "no.such.host.invalid", "-t", "x")
        self.assertEqual(done.code, 1)
        self.assertIn("no.such.host.invalid", done.text)
        self.assertIn("(-h)", done.text)

    def test_credentials(self):
        passwords = self.directory / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "me", "secret word"], check=True, capture_output=True)
        broker = self.mosquitto(options=LOGGING + [f"password_file {passwords}"], anonymous=False)
        secret = broker.write_file("secret", "secret word\n")
        good = (("-P", "secret word"), ("--password-file", secret))
        for flags in good:
            self.call(OURS, "pub", "-t", "x", "-n", "-q", 1, "-u", "me", *flags, port=broker.port)
        self.call(OURS, "pub", "-t", "x", "-n", "-q", 1, "-u", "me", port=broker.port, env={"HELIOGRAF_MQTT_PASSWORD": "secret word"})
        done = run(OURS, "pub", "-L", f"mqtt://me:secret%20word@127.0.0.1:{broker.port}/x", "-n", "-q", 1)
        self.assertEqual(done.code, 0, repr(done))
        for version in ("31", "311", "5"):
            for flags in ((), ("-u", "me", "-P", "wrong")):
                done = self.call(OURS, "sub", "-t", "x", "-V", version, *flags, port=broker.port, code=1)
                self.assertRegex(done.text, r"(?i)refused by the broker: not authori[sz]ed .*--password-file")
                self.assertNotIn("wrong", done.text)
        done = self.call(OURS, "sub", "-t", "x", "-u", "me", "--password-file", self.directory / "nowhere", port=broker.port, code=1)
        self.assertIn("nowhere", done.text)

    def test_no_password_in_the_list_of_processes(self):
        tool = self.subscriber(OURS, self.topic, "-u", "me", "-P", "very secret")
        with open(f"/proc/{tool.pid}/cmdline", "rb") as words:
            text = words.read()
        self.assertNotIn(b"secret", text)
        self.assertIn(b"me", text)

    def test_refused_subscriptions_and_messages(self):
        broker = self.mosquitto(options=LOGGING)
        broker.stop()
        acl = broker.write_file("acl", "topic read open/#\ntopic write open/#\n")
        config = broker.directory / "mosquitto.conf"
        config.write_text(config.read_text() + f"acl_file {acl}\n")
        broker.start()
        done = self.call(OURS, "pub", "-t", "closed", "-m", "x", "-q", 1, "-V", 5, port=broker.port, code=1)
        self.assertIn("the broker refuses message 1: Not authorized (code 135)", done.text)
        done = self.call(OURS, "pub", "-t", "closed", "-l", "-q", 2, "-V", 5, port=broker.port, code=1, data=b"a\nb\n")
        self.assertEqual(done.text.count("Not authorized"), 2)
        self.call(OURS, "pub", "-t", "open/x", "-m", "x", "-q", 1, "-V", 5, port=broker.port)

    def test_a_refused_filter_is_named_and_the_others_go_on(self):
        broker = self.refusing_mosquitto()
        for version in ("311", "5"):
            done = self.call(OURS, "sub", "-t", "secret/#", "-V", version, port=broker.port, code=1)
            self.assertRegex(done.text, r"the broker refuses the topic filter secret/#: .* \(code 1(28|35)\)")
            self.pub("open/x", b"open", "-r", port=broker.port)
            done = self.call(OURS, "sub", "-t", "secret/#", "-t", "open/#", "-V", version, "-C", 1, port=broker.port)
            self.assertEqual(done.out, b"open\n")
            self.assertIn("secret/#", done.text)

    def test_no_route_to_mqtt_5(self):
        """A broker that closes on everything."""
        with _Mute(close=True) as port:
            done = self.call(OURS, "sub", "-t", "x", "-V", 5, port=port, code=1)
        self.assertIn("closed by the broker", done.text)

    # ---- the rest of the flags --------------------------------------------------------------------------------------

    def test_client_id_keepalive_and_version_arrive(self):
        client_id = unique_id("named")
        self.call(OURS, "sub", "-t", self.topic, "-i", client_id, "-k", 7, "-E", "-u", "me")
        self.assertRegex(self.broker.log(), rf"New client connected from 127\.0\.0\.1:\d+ as {client_id} \(p2, c1, k7, u'me'\)")
        self.call(OURS, "pub", "-t", self.topic, "-n", "-I", "plant-7-")
        self.assertRegex(self.broker.log(), r"as plant-7-\d+ \(p2, c1, k60\)")
        self.call(OURS, "sub", "-t", self.topic, "-i", client_id, "-c", "-V", 5, "-E")
        self.assertRegex(self.broker.log(), rf"as {client_id} \(p5, c0, k60\)")
        self.call(OURS, "sub", "-t", self.topic, "-i", client_id, "-V", 31, "-E")
        self.assertRegex(self.broker.log(), rf"as {client_id} \(p1, c1, k60\)")

    def test_from_an_address(self):
        self.call(OURS, "sub", "-t", self.topic, "-A", "127.0.0.2", "-E", "-i", self.topic)
        self.assertRegex(self.broker.log(), rf"connected from 127\.0\.0\.2:\d+ as {self.topic} ")
        done = self.call(OURS, "sub", "-t", self.topic, "-A", "192.0.2.1", code=1)
        self.assertIn("Cannot assign requested address", done.text)

    def test_urls(self):
        tool = run(OURS, "pub", "-L", f"mqtt://127.0.0.1:{self.broker.port}/{self.topic}", "-m", "by URL", "-r")
        self.assertEqual(tool.code, 0, repr(tool))
        done = run(OURS, "sub", "-L", f"mqtt://127.0.0.1:{self.broker.port}/{self.topic}", "-C", 1)
        self.assertEqual(done.out, b"by URL\n")

    def test_websocket(self):
        for version in ("311", "5"):
            self.call(OURS, "pub", "-t", self.topic, "-m", "over websocket", "-r", "-q", 2, "--ws", "-V", version, port=self.ws_port)
            done = run(OURS, "sub", "-L", f"ws://127.0.0.1:{self.ws_port}/{self.topic}", "-C", 1, "-q", 2, "-V", version)
            self.assertEqual(done.out, b"over websocket\n", repr(done))
        tool = self.tool(OURS, "sub", "-t", self.topic + "/l", "-q", 1, "-C", 2000, "--ws", "-i", self.topic, port=self.ws_port)
        wait_subscribed(self.broker, self.topic, self.topic + "/l")
        lines = b"".join(b"%d\n" % n for n in range(2000))
        self.call(OURS, "pub", "-t", self.topic + "/l", "-l", "-q", 1, "--ws", port=self.ws_port, data=lines)
        self.assertEqual(tool.wait().out, lines)

    def test_debug_and_quiet(self):
        done = self.call(OURS, "pub", "-t", self.topic, "-m", "x", "-r", "-q", 1, "-d")
        for words in ("CONNECT", "PUBLISH", "PUBACK", "DISCONNECT"):
            self.assertIn(words, done.text)
        self.assertEqual(done.out, b"")
        done = self.call(OURS, "sub", "-t", self.topic, "-C", 1, "-d")
        self.assertIn("SUBACK", done.text)
        self.assertEqual(done.out, b"x\n")
        self.assertEqual(self.call(OURS, "sub", "-t", self.topic, "-C", 1, "-d", "--quiet").err, b"")

    def test_usage(self):
        for role in ("pub", "sub"):
            done = run(OURS, role, "--nonsense")
            self.assertEqual(done.code, 64)
            self.assertIn("--help", done.text)
            done = run(OURS, role, "--help")
            self.assertEqual((done.code, done.err), (0, b""))
            self.assertIn(f"usage: heliograf {role}".encode(), done.out)

    def test_every_letter_of_mosquittos_is_understood(self):
        """Each flag in the help of mosquitto_pub and _sub is one of ours: it works, or is refused with its own reason."""
        for role in ("pub", "sub"):
            text = run(THEIRS, role, "--help").out.decode()
            flags = set(re.findall(r"^ (--?[\w-]+) :", text, re.M)) - {"--help"}
            self.assertGreater(len(flags), 30)
            for flag in sorted(flags):
                with self.subTest(role=role, flag=flag):
                    self.assertNotIn("unknown flag", run(OURS, role, flag, "x", "x", "x").text)

    # ---- the agent's configuration ---------------------------------------------------------------------------------

    def agent_file(self, **more):
        path = self.directory / "heliograf.yaml"
        path.write_text(json.dumps({
            "inputs": {"mqtt_consumer": [
                {"alias": "first", "servers": [self.broker.url], "topics": [f"$share/agents/{self.topic}/#"], "qos": 1, "username": "agent", **more},
                {"alias": "second", "servers": [f"ws://127.0.0.1:{self.ws_port}"], "topics": ["elsewhere/#"], "protocol": "3.1.1"}]},
            "outputs": {"file": [{"files": ["stdout"]}]}}))
        return path

    def test_what_the_agent_sees(self):
        path = self.agent_file()
        client_id = unique_id("sub")
        tool = Tool(OURS, "sub", "--config", path, "-v", "-C", 1, "-i", client_id)
        self.addCleanup(tool.__exit__)
        wait_subscribed(self.broker, client_id, self.topic + "/#")  # not the shared one, which would take from the agent
        self.assertRegex(self.broker.log(), rf"as {client_id} \(p5, c1, k30, u'agent'\)")
        done = run(OURS, "pub", "--config", path, "-t", self.topic + "/x", "-m", "seen")
        self.assertEqual(done.code, 0, repr(done))
        self.assertEqual(tool.wait().out, f"{self.topic}/x seen\n".encode())

    def test_another_input_and_own_flags(self):
        path = self.agent_file()
        done = run(OURS, "pub", "--config", path, "--input", "second", "-t", self.topic, "-m", "x", "-r", "-i", self.topic, "-u", "other")
        self.assertEqual(done.code, 0, repr(done))
        self.assertRegex(self.broker.log(), rf"as {self.topic} \(p2, c1, k30, u'other'\)")
        done = run(OURS, "sub", "--config", path, "--input", "third", "-t", "x")
        self.assertEqual(done.code, 64)
        self.assertIn("there is no input 'third' with a broker; there is: first, second", done.text)

    def test_a_wrong_configuration(self):
        path = self.agent_file(qqs=1)
        done = run(OURS, "sub", "--config", path)
        self.assertEqual(done.code, 78)
        self.assertIn("unknown", done.text)


class PubSubTls(Scenario):
    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch_directory()
        cls.addClassCleanup(shutil.rmtree, cls.scratch, True)
        cls.certificates = Certificates(cls.scratch)

    def listener(self, certificate="server", *more):
        """A TLS listener; its port."""
        port = ports.free_port()
        c = self.certificates
        self.broker = self.mosquitto(options=LOGGING, listener_options=[f"listener {port} 127.0.0.1", f"cafile {c.ca}", f"certfile {getattr(c, certificate)}",
                                                                        f"keyfile {getattr(c, certificate + '_key')}", *more])
        waiting.until(lambda: ports.listening(port), "the TLS listener")
        return port

    def publish(self, port, *flags, host="127.0.0.1", code=0):
        done = run(OURS, "pub", "-h", host, "-p", port, "-t", "x", "-m", "over TLS", "-r", "-q", 1, *flags)
        self.assertEqual(done.code, code, repr(done))
        return done

    def test_both_ways(self):
        port = self.listener()
        for version in ("31", "311", "5"):
            for publisher, subscriber in ((OURS, THEIRS), (THEIRS, OURS)):
                with self.subTest(version=version, publisher=publisher):
                    tls = ("-h", "localhost", "-p", port, "--cafile", self.certificates.ca, "-V", version, "-t", f"{version}/{publisher}", "-q", 2)
                    done = run(publisher, "pub", *tls, "-m", "over TLS", "-r")
                    self.assertEqual(done.code, 0, repr(done))
                    self.assertEqual(run(subscriber, "sub", *tls, "-C", 1).out, b"over TLS\n")

    def test_lines_over_tls(self):
        port = self.listener()
        tls = ("-p", port, "--cafile", self.certificates.ca, "-t", "lines", "-q", 1)
        lines = b"".join(b"%d\n" % n for n in range(2000))
        with Tool(OURS, "sub", *tls, "-C", 2000, "-i", "reader") as tool:
            wait_subscribed(self.broker, "reader", "lines")
            self.assertEqual(run(OURS, "pub", *tls, "-l", data=lines).code, 0)
            self.assertEqual(tool.wait().out, lines)

    def test_urls_and_websocket(self):
        port = self.listener("server", "protocol websockets")
        done = run(OURS, "pub", "-L", f"wss://localhost:{port}/x", "--cafile", self.certificates.ca, "-m", "secret websocket", "-r", "-q", 1)
        self.assertEqual(done.code, 0, repr(done))
        done = run(OURS, "sub", "-h", "localhost", "-p", port, "--ws", "--cafile", self.certificates.ca, "-t", "x", "-C", 1)
        self.assertEqual(done.out, b"secret websocket\n", repr(done))

    def test_a_url_with_tls(self):
        port = self.listener()
        done = run(OURS, "sub", "-L", f"mqtts://localhost:{port}/x", "--cafile", self.certificates.ca, "-E")
        self.assertEqual(done.code, 0, repr(done))

    def test_another_ca_and_no_ca(self):
        port = self.listener()
        for flags in (("--cafile", self.certificates.other_ca), ("--tls-use-os-certs",)):
            done = self.publish(port, *flags, code=1)
            self.assertIn("TLS: certificate verify failed", done.text)
            self.assertIn("--cafile", done.text)

    def test_another_name_and_insecure(self):
        port = self.listener("stranger")
        self.publish(port, "--cafile", self.certificates.ca, code=1)
        self.publish(port, "--cafile", self.certificates.ca, "--insecure")
        self.publish(port, "--cafile", self.certificates.other_ca, "--insecure", code=1)  # only the name is let pass, as with Mosquitto 2.0

    def test_a_directory_of_cas(self):
        port = self.listener()
        directory = self.directory / "cas"
        directory.mkdir()
        shutil.copy(self.certificates.ca, directory / "ca.pem")
        subprocess.run(["openssl", "rehash", str(directory)], check=True, capture_output=True)
        self.publish(port, "--capath", directory)
        self.publish(port, "--capath", self.directory, code=1)

    def test_a_client_certificate(self):
        port = self.listener("server", "require_certificate true", "use_identity_as_username true")
        self.publish(port, "--cafile", self.certificates.ca, code=1)
        self.publish(port, "--cafile", self.certificates.ca, "--cert", self.certificates.client, "--key", self.certificates.client_key)

    def test_versions_and_ciphers(self):
        port = self.listener("server", "tls_version tlsv1.2")
        for flags in (("--tls-version", "tlsv1.2"), ("--tls-version", "tlsv1.3"), ("--ciphers", "ECDHE+AESGCM"), ("--tls-alpn", "mqtt")):
            self.publish(port, "--cafile", self.certificates.ca, *flags)
        done = self.publish(port, "--cafile", self.certificates.ca, "--ciphers", "nonsense", code=1)
        self.assertIn("'nonsense' is no list of ciphers", done.text)

    def test_alpn(self):
        """The handshake of a server that wants a protocol's name; it closes after it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates.server, self.certificates.server_key)
        context.set_alpn_protocols(["mqtt"])
        chosen = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                link, _ = server.accept()
                with context.wrap_socket(link, server_side=True) as wrapped:
                    chosen.append(wrapped.selected_alpn_protocol())
            thread = threading.Thread(target=serve)
            thread.start()
            self.publish(server.getsockname()[1], "--cafile", self.certificates.ca, "--tls-alpn", "mqtt", code=1)
            thread.join()
        self.assertEqual(chosen, ["mqtt"])

    def test_a_lowest_version_that_the_broker_lacks(self):
        config = self.directory / "openssl.cnf"
        config.write_text("openssl_conf = d\n[d]\nssl_conf = s\n[s]\nsystem_default = v\n[v]\nMaxProtocol = TLSv1.2\n")
        port = self.listener()
        self.broker.stop()
        self.broker.env["OPENSSL_CONF"] = str(config)
        self.broker.start()
        self.publish(port, "--cafile", self.certificates.ca)
        self.publish(port, "--cafile", self.certificates.ca, "--tls-version", "tlsv1.3", code=1)

    def test_plain_on_a_tls_port_and_the_other_way_round(self):
        port = self.listener()
        done = self.publish(port, code=1)
        self.assertRegex(done.text, r"--cafile|TLS")
        done = self.publish(self.broker.port, "--cafile", self.certificates.ca, code=1)
        self.assertIn("TLS", done.text)


class _Mute:
    """A listener that says nothing; with `accept` a CONNACK and then the end; with `close` nothing but the end."""

    def __init__(self, accept=False, close=False):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.accept, self.close = accept, close
        self.held = []
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        while True:
            try:
                link, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(link)
            if self.accept:
                link.recv(1000)
                link.sendall(b"\x20\x02\x00\x00")
                link.recv(1000)
            if self.accept or self.close:
                link.close()

    def __enter__(self):
        self.thread.start()
        return self.socket.getsockname()[1]

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for link in self.held:
            link.close()


class _Lines:
    """What a running `sub` prints, gathered on a thread."""

    def __init__(self, tool):
        self.lines = []
        self.stream, tool.child.stdout = tool.child.stdout, None
        self.thread = threading.Thread(target=self._gather, daemon=True)
        self.thread.start()

    def _gather(self):
        for line in self.stream:
            self.lines.append(line.rstrip(b"\n"))
        self.stream.close()

    def wait_for(self, line):
        waiting.until(lambda: line in self.lines, f"line {line!r}; last: {self.lines[-3:]}", 40)


def _blocked_in_pipe(tool):
    """Its output fills the pipe but for less than a page, and nothing more comes."""
    return _unread(tool) > 60000 and _steady(lambda: _unread(tool), 0.3) > 60000


def _unread(tool):
    return int.from_bytes(fcntl.ioctl(tool.child.stdout, termios.FIONREAD, b"\0" * 4), "little")


def _peak_rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) * 1024


def _steady(value, seconds=1.0):
    """The value once it has not changed for so long."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.05)
        if value() != last:
            last, since = value(), time.monotonic()
    return last
