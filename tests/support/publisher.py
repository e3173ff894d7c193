"""
Publishers that do not get in the way of what they measure: raw MQTT 3.1.1 over one socket, packets made in bulk, as many
unacknowledged QoS 1 messages as the window allows, each acknowledgement counted.
"""
import socket
import struct
import threading
import time


class PublisherError(Exception):
    """The broker refused, or went away."""


def _text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def _packet(first, body):
    length, size = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        size += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + size + body


def connect_packet(client_id, username=None, password=None, keepalive=60):
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive) + _text(client_id)
    if username is not None:
        body += _text(username)
    if password is not None:
        body += _text(password)
    return _packet(0x10, body)


def publish_packet(topic, payload, qos=0, packet_id=0, retain=False):
    if isinstance(payload, str):
        payload = payload.encode()
    body = _text(topic) + (struct.pack(">H", packet_id) if qos else b"") + payload
    return _packet(0x30 | qos << 1 | retain, body)


class Publisher:
    """One connection. publish() sends a whole sequence of (topic, payload) and returns when all of it is acknowledged."""

    WINDOW = {0: 0, 1: 5000, 2: 10}  # Mosquitto takes any number at QoS 1, 20 at QoS 2

    def __init__(self, port, client_id=None, username=None, password=None, timeout=60.0, window=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._window = window  # instead of WINDOW's, for a broker that takes more
        self._rest = b""
        self._next_id = 0
        self.socket.sendall(connect_packet(client_id or f"publisher-{id(self):x}", username, password))
        answer = self.socket.recv(4)
        if len(answer) != 4 or answer[3] != 0:
            raise PublisherError(f"CONNACK {answer.hex()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.socket.sendall(b"\xe0\x00")
        except OSError:
            pass
        self.socket.close()

    def publish(self, messages, qos=1, retain=False, rate=None):
        """Sends all; at most `rate` a second when given. Returns how many were sent and, for QoS 1 and 2, acknowledged."""
        sent = acknowledged = 0
        window = self._window or self.WINDOW[qos]
        started = time.monotonic()
        chunk, chunk_size = [], 1 if rate is not None else window if qos == 2 else 200
        for topic, payload in messages:
            self._next_id = self._next_id % 65535 + 1
            chunk.append(publish_packet(topic, payload, qos, self._next_id, retain))
            sent += 1
            if len(chunk) < chunk_size:
                continue
            if rate is not None:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
            self.socket.sendall(b"".join(chunk))
            chunk.clear()
            while qos and sent - acknowledged > window:
                acknowledged += self._acknowledgements()
        self.socket.sendall(b"".join(chunk))
        while qos and acknowledged < sent:
            acknowledged += self._acknowledgements()
        return sent

    def _acknowledgements(self):
        """Reads what is there; the number of PUBACK and PUBCOMP in it. A PUBREC is answered."""
        data = self.socket.recv(65536)
        if not data:
            raise PublisherError("the broker closed the connection")
        data = self._rest + data
        whole = len(data) - len(data) % 4
        data, self._rest = data[:whole], data[whole:]
        kinds = data[0::4]
        done = kinds.count(0x40) + kinds.count(0x70)
        received = kinds.count(0x50)
        if done + received != len(kinds):
            raise PublisherError(f"unexpected packets: {data[:64].hex()}")
        if received:
            self.socket.sendall(b"".join(b"\x62\x02" + data[at + 2:at + 4] for at in range(0, whole, 4) if data[at] == 0x50))
        return done


def publish(port, messages, **how):
    """All of `messages` over a connection of its own."""
    with Publisher(port) as publisher:
        return publisher.publish(messages, **how)


class SteadyPublisher(threading.Thread):
    """
    Publishes make(n) for n = 0, 1, ... at `rate` a second until stopped, and connects again whenever the broker is gone.
    A message that was not acknowledged is sent again, so with QoS 1 every n below `acknowledged` has reached the broker.
    """

    def __init__(self, port, make, rate, qos=1, batch=None, window=None):
        super().__init__(daemon=True)
        self.port, self.make, self.rate, self.qos, self.window = port, make, rate, qos, window
        self.batch = batch or max(1, int(rate / 50))  # so many go out together, 50 times a second
        self.acknowledged = 0
        self.connects = 0
        self.first_of_connection = 0  # `acknowledged` when the present connection was made
        self.repeated = 0  # messages that may have been published twice: the broker went away before it acknowledged them
        self._ending = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """How many were published and acknowledged."""
        self._ending.set()
        self.join()
        return self.acknowledged

    def run(self):
        while not self._ending.is_set():
            try:
                with Publisher(self.port, timeout=5.0, window=self.window) as publisher:
                    self.first_of_connection = self.acknowledged
                    self.connects += 1
                    self._publish_until_stopped(publisher)
            except (OSError, PublisherError):
                self._ending.wait(0.02)

    def _publish_until_stopped(self, publisher):
        due = time.monotonic()
        while not self._ending.is_set():
            first = self.acknowledged
            try:
                publisher.publish([self.make(n) for n in range(first, first + self.batch)], qos=self.qos)
            except (OSError, PublisherError):
                self.repeated += self.batch
                raise
            self.acknowledged = first + self.batch
            due = max(due + self.batch / self.rate, time.monotonic() - 1.0)
            self._ending.wait(max(0.0, due - time.monotonic()))
