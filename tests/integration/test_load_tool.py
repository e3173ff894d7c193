"""The load generator itself, against Mosquitto and against brokers that misbehave: what it counts is what there was, and what goes wrong is not success."""
import signal
import socket
import subprocess
import threading
import time
import unittest

from tests.support import ports, settings, waiting
from tests.support.load import LoadRun, command, load
from tests.support.process import clean_environment
from tests.support.publisher import publish
from tests.support.scenario import Scenario

COUNT = settings.scaled(10000, 500)


def pub(broker, *flags, **how):
    return load("pub", broker.port, "-L", COUNT, "-d", 20, "--drain-time", 20, *flags, pid=broker.pid, **how)


def mosquitto_sub(broker, *arguments):
    """The lines, `topic payload`, that it prints until it ends."""
    return subprocess.run(["mosquitto_sub", "-p", str(broker.port), "-v", *arguments], capture_output=True, text=True, timeout=60).stdout.splitlines()


class Running:
    """A load generator that is still at work."""

    def __init__(self, *arguments, **how):
        self.child = subprocess.Popen(command(*arguments, **how), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, env=clean_environment())

    def wait_ready(self):
        line = self.child.stderr.readline()
        if "ready" not in line:
            raise AssertionError(f"mqtt_load said '{line}' and not that it is ready")

    def end(self, timeout=60):
        out, complaints = self.child.communicate(timeout=timeout)
        return LoadRun(subprocess.CompletedProcess(self.child.args, self.child.returncode, out, complaints))


class ScriptedBroker:
    """One connection: each time anything arrives, the next of `answers` goes out; after the last one the connection is closed, or kept silent."""

    def __init__(self, answers, close=True):
        self.port = ports.free_port()
        self.answers = answers
        self.close = close
        self.received = []  # what came at each time
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        connection, _ = self.listener.accept()
        with connection:
            for answer in self.answers:
                if not self._take(connection):
                    return
                connection.sendall(answer)
            while not self.close and self._take(connection):
                pass

    def _take(self, connection):
        self.received.append(connection.recv(65536))
        return self.received[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(10)


CONNACK = bytes([0x20, 2, 0, 0])


class Counts(Scenario):
    def assert_all_there(self, run, qos):
        self.assertEqual((run["sent"], run["received"], run["expected"], run["duplicates"]), (COUNT, COUNT, COUNT, 0))
        self.assertEqual(run["latency_us"]["count"], COUNT)
        self.assertGreater(run["latency_us"]["p50"], 0)
        self.assertLessEqual(run["latency_us"]["p50"], run["latency_us"]["p99"])
        self.assertLessEqual(run["latency_us"]["p99"], run["latency_us"]["max"])
        if qos:
            self.assertEqual((run["acknowledged"], run["rejected"], run["ack_us"]["count"]), (COUNT, 0, COUNT))

    def test_what_is_published_at_each_qos_is_what_the_subscriber_counts(self):
        broker = self.mosquitto(options=["max_inflight_messages 0", "set_tcp_nodelay true"])
        for version, qos in ((3, 1), (4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2)):
            with self.subTest(version=version, qos=qos):
                self.assert_all_there(pub(broker, "-V", version, "-q", qos, "-c", 20, "-F", 10, "--subscribers", 1), qos)

    def test_mosquitto_counts_the_same(self):
        """Mosquitto's own figure of PUBLISH packets, before and after."""
        broker = self.mosquitto(options=["sys_interval 1"])
        pub(broker, "-q", 1, "-c", 5, "-F", 20)
        topic = "$SYS/broker/publish/messages/received"
        waiting.until(lambda: mosquitto_sub(broker, "-t", topic, "-C", "1", "-W", "5") == [f"{topic} {COUNT}"], f"{COUNT} messages in {topic}")

    def test_a_foreign_publisher_is_counted_and_has_no_time_in_it(self):
        broker = self.mosquitto()
        run = Running("sub", broker.port, "-t", "other/#", "-q", 1, "-L", 300, "-d", 30)
        run.wait_ready()
        publish(broker.port, [("other/topic", "21.5")] * 300)
        done = run.end()
        self.assertEqual((done.code, done["received"], done["latency_us"]["count"]), (0, 300, 0), done.complaints)

    def test_a_payload_is_line_protocol_with_the_time_in_it(self):
        broker = self.mosquitto()
        before = time.monotonic_ns()
        load("pub", broker.port, "-c", 2, "-L", 2, "-s", 200, "--prefix", "me", "-t", "bench/%c/%i", "-q", 1, "--retain")
        after = time.monotonic_ns()
        lines = sorted(mosquitto_sub(broker, "-t", "bench/#", "-C", "2", "-W", "20"))
        self.assertEqual([line.split(" ", 1)[0] for line in lines], ["bench/me-p1/1", "bench/me-p2/2"])
        for number, line in enumerate(lines, 1):
            payload = line.split(" ", 1)[1]
            self.assertEqual(len(payload), 200)
            self.assertRegex(payload, rf'\Aload,client={number:07d} sent=\d{{19}}i,pad="x+"\Z')
            sent = int(payload.split("sent=")[1][:19]) - 10**18
            self.assertTrue(before <= sent <= after, (before, sent, after))

    def test_a_rate_is_kept(self):
        broker = self.mosquitto()
        run = load("pub", broker.port, "-c", 10, "-I", 10, "-L", 500, "-d", 10, "--subscribers", 2, pid=broker.pid)
        self.assertEqual((run["sent"], run["received"]), (500, 1000))
        self.assertAlmostEqual(run["elapsed_s"], 0.5, delta=0.2 * settings.PATIENCE)

    def test_a_subscriber_that_never_reads_holds_back_nobody(self):
        broker = self.mosquitto(options=["max_queued_messages 100"])
        run = load("pub", broker.port, "-c", 2, "-s", 20000, "-L", 2000, "--rate", 4000, "--subscribers", 3, "--stall", 1, "--slow", 1, "--slow-rate", 200000,
                   "-d", 30, pid=broker.pid)
        self.assertEqual((run["sent"], run["received"], run["expected"]), (2000, 2000, 2000))
        self.assertLess(run["received_slowly"], 1000)
        self.assertGreater(run["received_slowly"], 0)

    def test_a_backlog_waits_for_its_session(self):
        broker = self.mosquitto()
        session = ["-C", "false", "--prefix", "away", "-t", "bench/#", "-q", 1]
        load("sub", broker.port, *session, "--leave")
        pub(broker, "-q", 1, "-c", 10, "-F", 20)
        run = load("sub", broker.port, *session, "-L", COUNT, "-d", 60)
        self.assertEqual((run["resumed"], run["received"], run["ended"]), (1, COUNT, "limit"))

    def test_idle_connections_are_all_there(self):
        broker = self.mosquitto()
        clients = settings.scaled(2000, 200)
        run = load("conn", broker.port, "-c", clients, "-d", 0.2, "--ifaddr", "127.0.0.1,127.0.0.2", pid=broker.pid)
        self.assertEqual((run["connected"], run["refused"], run["failed"], run["lost"]), (clients, 0, 0, 0))
        self.assertGreater(run["broker"]["rss_connected_kb"], run["broker"]["rss_before_kb"])

    def test_keeps_alive(self):
        pingresp = bytes([0xD0, 0])
        with ScriptedBroker([CONNACK, pingresp, pingresp, pingresp], close=False) as broker:
            run = load("conn", broker.port, "-k", 1, "-d", 1.7)
        self.assertEqual((run["connected"], run["lost"]), (1, 0))
        self.assertEqual(broker.received[1:3], [bytes([0xC0, 0])] * 2)  # after 0.75 and 1.5 seconds of silence
        self.assertIn(bytes([0xE0, 0]), broker.received[3:])


class Trouble(Scenario):
    def failure(self, words, *arguments, **how):
        run = load(*arguments, check=False, **how)
        self.assertEqual(run.code, 1, run.complaints)
        self.assertRegex(run.complaints, words)
        return run

    def test_nobody_listens(self):
        run = self.failure("not connected: Connection refused", "pub", ports.free_port(), "-L", 10)
        self.assertEqual((run["failed"], run["sent"]), (1, 0))

    def test_the_broker_refuses(self):
        broker = self.mosquitto(anonymous=False)
        for version, reason in ((4, 5), (5, 135)):
            run = self.failure(f"refused by the broker with reason {reason}", "pub", broker.port, "-L", 10, "-V", version)
            self.assertEqual(run["refused"], 1)

    def test_a_storm_counts_who_was_refused_and_goes_on(self):
        broker = self.mosquitto(listener_options=["max_connections 50"])
        run = self.failure("not connected", "conn", broker.port, "-c", 80, "-d", 0, "--connect-time", 20)
        self.assertEqual(run["connected"] + run["failed"], 80)
        self.assertAlmostEqual(run["connected"], 50, delta=1)  # Mosquitto takes one too many

    def test_the_broker_dies(self):
        broker = self.mosquitto()
        run = Running("pub", broker.port, "-c", 10, "--rate", 1000, "-d", 60, "-q", 1, "-F", 100, pid=broker.pid)
        load("sub", broker.port, "-L", 50, "-d", 30)  # it is in the midst of it
        broker.kill()
        done = run.end()
        self.assertEqual((done.code, done["ended"]), (1, "failure"))
        self.assertGreater(done["sent"], 50)
        self.assertIn("connection lost", done.complaints)
        self.assertRegex(done.complaints, "the broker's process [0-9]+ is gone")

    def test_the_broker_dies_under_a_subscriber(self):
        broker = self.mosquitto()
        run = Running("sub", broker.port, "-c", 3, "-d", 60)
        run.wait_ready()
        broker.kill()
        done = run.end()
        self.assertEqual((done.code, done["ended"]), (1, "failure"))
        self.assertIn("connection lost: closed by the broker", done.complaints)

    def test_the_broker_hangs(self):
        broker = self.mosquitto()
        run = Running("sub", broker.port, "-L", 1, "-d", 0.5)
        run.wait_ready()
        done = run.end()
        self.assertEqual((done.code, done["ended"]), (1, "time"))
        self.assertIn("0 of 1 messages are received after 0.5 s", done.complaints)
        broker.child.send_signal(signal.SIGSTOP)
        self.failure("0 of 1 clients are connected after 0.3 s", "pub", broker.port, "-L", 10, "--connect-time", 0.3)

    def test_an_acknowledgement_that_never_comes(self):
        with ScriptedBroker([CONNACK], close=False) as broker:
            self.failure("1 of 1 publishers still wait for answers after 0.3 s", "pub", broker.port, "-q", 1, "-L", 1, "--drain-time", 0.3)

    def test_packets_that_are_not_right(self):
        puback = bytes([0x40, 2, 0, 9])
        for name, answers, words in (
                ("an acknowledgement of nothing", [CONNACK, puback], "identifier 9, which does not wait"),
                ("a packet no broker sends", [CONNACK, bytes([0x82, 2, 0, 1])], "a packet of type 8"),
                ("a length of five bytes", [CONNACK, bytes([0x40, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])], "longer than this tool takes"),
                ("a malformed CONNACK", [bytes([0x20, 3, 0, 0, 0])], "malformed"),
                ("a second CONNACK", [CONNACK + CONNACK], "a second one"),
                ("a message that nobody asked for", [CONNACK, bytes([0x30, 3, 0, 1, 0x61])], "not asked for"),
                ("the wrong answer for QoS 1", [CONNACK, bytes([0x50, 2, 0, 1])], "packet of type 5 for identifier 1"),
                ("a close in the midst of a packet", [CONNACK, bytes([0x40, 2, 0])], "closed by the broker")):
            with self.subTest(name), ScriptedBroker(answers) as broker:
                self.failure(words, "pub", broker.port, "-q", 1, "-L", 1, "--drain-time", 5)

    def test_a_subscription_that_is_refused(self):
        with ScriptedBroker([CONNACK, bytes([0x90, 3, 0, 1, 0x80])]) as broker:
            self.failure("subscription refused by the broker with reason 128", "sub", broker.port, "-d", 5)

    def test_a_process_that_is_not_there(self):
        broker = self.mosquitto()
        run = load("conn", broker.port, "-d", 0, pid=2 ** 22 + 1, check=False)
        self.assertEqual(run.code, 1)
        self.assertIn("there is no process", run.complaints)

    def test_too_few_open_files(self):
        done = subprocess.run(["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *command("conn", 1, "-c", 200)], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("200 clients need 216 open files, and this process may have 100 (ulimit -Hn)", done.stderr)


class CommandLine(unittest.TestCase):
    def test_says_what_is_wrong(self):
        for words, *arguments in (("there is no mode 'flood'", "flood"), ("the first word is the mode", "-c", "1"), ("-q takes a whole number from 0 to 2", "pub", "-q", "3"),
                                  ("-c takes a whole number", "pub", "-c", "0"), ("-I and --rate say the same", "pub", "-I", "5", "--rate", "5"),
                                  ("more than there are subscribers", "sub", "--stall", "2"), ("is not an IPv4 address", "conn", "--ifaddr", "127.0.0.1,::1"),
                                  ("what is 'now'", "pub", "now"), ("-C takes true or false", "sub", "-C", "1"), ("--help", "pub", "--nonsense")):
            with self.subTest(words):
                done = subprocess.run([command("x", 1)[0], *arguments], capture_output=True, text=True, timeout=30)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertIn(words, done.stderr)

    def test_help(self):
        done = subprocess.run([command("x", 1)[0], "--help"], capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--subscribers", done.stdout)
