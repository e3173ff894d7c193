"""
The base of tests of the protocol: one broker for a whole class of tests, which share nothing but it. A test names the statements that it proves in its
docstring, and tests/statements.py holds them against tests/mqtt_statements.md:

    class Connecting(BrokerProtocol):
        OPTIONS = {"max_qos": 1}

        @each_version(4, 5)
        def test_ping(self, version):
            \"\"\"
            PINGREQ gets PINGRESP.
            5.0: 3.12.4-1
            3.1.1: 3.12.4-1
            \"\"\"
"""
import functools
import itertools
import shutil
import socket
import unittest

from tests.support import ports
from tests.support.broker_scenario import broker_config
from tests.support.heliograf import Heliograf
from tests.support.mqtt_raw import Client
from tests.support.scenario import scratch_directory

_numbers = itertools.count(1)


def each_version(*versions):
    """The test once per protocol version, with clients and topics of its own each time."""
    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for version in versions:
                with self.subTest(version=version):
                    self.begin()
                    test(self, version)
                    self.close_clients()
        return run
    return decorate


class BrokerProtocol(unittest.TestCase):
    OPTIONS = {}         # of the section `broker:`
    PERSISTENCE = False  # whether its state is on disk
    LISTENER = {}

    maxDiff = 4000

    @classmethod
    def options(cls, _directory):
        """For those that need files."""
        return cls.OPTIONS

    @classmethod
    def setUpClass(cls):
        cls.directory = scratch_directory()
        cls.addClassCleanup(shutil.rmtree, cls.directory, True)
        cls.port = ports.free_port()
        persistence = {"directory": str(cls.directory / "state")} if cls.PERSISTENCE else None
        cls.agent = Heliograf(cls.directory, broker_config(cls.directory, cls.port, persistence, cls.LISTENER, **cls.options(cls.directory)))
        cls.addClassCleanup(cls.agent.kill)
        cls.agent.start()

    @classmethod
    def tearDownClass(cls):
        """It is still the process that was started, its figures add up, and no sanitizer has complained."""
        cls.agent.stop()

    def setUp(self):
        self.clients = []
        self.begin()

    def tearDown(self):
        self.close_clients()
        self.assertTrue(self.agent.running, "the broker has ended")

    def begin(self):
        """From here on names are new ones."""
        self.mark = f"n{next(_numbers)}"

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def own(self, name):
        """A client identifier or topic that no other test has."""
        return f"{self.mark}/{name}" if not name.startswith("/") else f"/{self.mark}{name}"

    def raw(self, version, name="client", **how):
        """A connection that has not said anything yet."""
        client = Client(self.port, version, name, **how)
        self.clients.append(client)
        return client

    def client(self, name, version=5, present=False, **connect):
        """A client that was let in, with a client identifier of this test's own; `connect` are fields of its CONNECT."""
        client = self.raw(version, name)
        client.connack = client.connect(self.own(name), present, **connect)
        return client

    def lasting(self, name, version=5, present=False, expiry=1000, **connect):
        """The same with a session that outlives its connection."""
        properties = {**connect.pop("properties", {}), **({"session_expiry": expiry} if version == 5 else {})}
        return self.client(name, version, present, clean=False, properties=properties, **connect)

    def subscriber(self, topic="#", qos=2, version=5, name="subscriber", options=0, **subscribe):
        """A client with one subscription below this test's own topics."""
        client = self.client(name, version)
        client.subscribe([(self.own(topic), qos | options)], **subscribe)
        return client

    def closes(self, client):
        """Its cable is cut, and what the broker does then has been done: it has closed its end, and whatever comes later is later for it."""
        client.socket.shutdown(socket.SHUT_WR)
        while client.receive_bytes() is not None:
            pass
        client.close()
