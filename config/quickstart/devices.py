#!/usr/bin/python3
"""
A handful of simulated devices for the quick start: Zigbee2MQTT sensors, Tasmota plugs, Shelly relays, an OpenDTU inverter, gateways
that send line protocol, and a Victron system, each with the topics, payloads and clients of the real thing. Needs python3-paho-mqtt.
"""
import argparse
import json
import math
import random
import signal
import sys
import threading
import time

import paho.mqtt.client as mqtt

DAY = 86400.0


def daylight(now):
    """0 at night, 1 at noon UTC; never quite 0, so that a first look at night shows something too."""
    return max(0.05, math.sin(math.pi * ((now % DAY) / DAY - 0.25) * 2))


class Walk:
    """A value that wanders around a middle and stays within a band, as room temperatures and voltages do."""

    def __init__(self, chance, middle, band, step):
        self.chance, self.middle, self.band, self.step = chance, middle, band, step
        self.value = middle + chance.uniform(-band, band) / 2

    def next(self):
        pull = (self.middle - self.value) * 0.02
        self.value += pull + self.chance.uniform(-self.step, self.step)
        self.value = min(max(self.value, self.middle - self.band), self.middle + self.band)
        return self.value


class Zigbee:
    """zigbee2mqtt/<friendly name>: flat JSON with nulls, a nested object and texts."""

    def __init__(self, chance, name, celsius):
        self.client = "zigbee2mqtt"  # one bridge speaks for all of them
        self.name = name
        self.temperature, self.humidity = Walk(chance, celsius, 4, 0.05), Walk(chance, 48, 15, 0.2)
        self.pressure, self.link = Walk(chance, 1013, 15, 0.1), Walk(chance, 140, 90, 6)
        self.battery = chance.uniform(60, 100)

    def messages(self, _now, seconds):
        self.battery = max(1.0, self.battery - seconds / DAY * 0.2)
        yield f"zigbee2mqtt/{self.name}", json.dumps({
            "battery": round(self.battery), "humidity": round(self.humidity.next(), 2), "linkquality": round(self.link.next()),
            "pressure": round(self.pressure.next(), 1), "temperature": round(self.temperature.next(), 2), "voltage": None,
            "power_outage_count": 3, "update": {"installed_version": 5, "state": "idle"}, "last_seen": None}, separators=(",", ":"))


class Tasmota:
    """tele/<device>/SENSOR: JSON in two levels, local time without a zone."""

    def __init__(self, chance, name, watts):
        self.client = name
        self.name, self.watts = name, Walk(chance, watts, watts * 0.6, watts * 0.05)
        self.voltage, self.total = Walk(chance, 230, 6, 0.4), chance.uniform(1, 400)

    def messages(self, now, seconds):
        power, voltage = self.watts.next(), self.voltage.next()
        self.total += power * seconds / 3.6e6
        yield f"tele/{self.name}/SENSOR", json.dumps({
            "Time": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now)),
            "ENERGY": {"TotalStartTime": "2025-11-02T08:00:00", "Total": round(self.total, 3), "Today": round(self.total % 7, 3),
                       "Power": round(power), "Factor": 0.93, "Voltage": round(voltage),
                       "Current": round(power / voltage / 0.93, 3)}})


class Shelly:
    """<device>/status/switch:0 of the second generation: a full object with the identity among the values."""

    def __init__(self, chance, name, watts):
        self.client = name
        self.name, self.watts, self.inside = name, Walk(chance, watts, watts * 0.4, watts * 0.04), Walk(chance, 45, 12, 0.3)
        self.voltage, self.total = Walk(chance, 229, 6, 0.4), chance.uniform(1e4, 3e5)

    def messages(self, _now, seconds):
        power, voltage, inside = self.watts.next(), self.voltage.next(), self.inside.next()
        self.total += power * seconds / 3600
        yield f"{self.name}/status/switch:0", json.dumps({
            "id": 0, "source": "timer", "output": True, "apower": round(power, 1), "voltage": round(voltage, 1), "freq": 50.0,
            "current": round(power / voltage, 3), "aenergy": {"total": round(self.total, 3)},
            "temperature": {"tC": round(inside, 1), "tF": round(inside * 1.8 + 32, 1)}})


class OpenDtu:
    """solar/<serial>/<channel>/<quantity>: one bare value per topic; channel 0 is the grid side, 1 and 2 are the panels."""

    def __init__(self, chance, serial):
        self.client = f"opendtu-{serial}"
        self.serial, self.clouds = serial, Walk(chance, 0.8, 0.2, 0.02)
        self.today, self.total = chance.uniform(0, 500), chance.uniform(200, 900)

    def messages(self, now, seconds):
        panels = [daylight(now) * self.clouds.next() * watts for watts in (410, 390)]
        grid = sum(panels) * 0.953
        self.today += grid * seconds / 3600
        self.total += grid * seconds / 3.6e6
        values = {"0/power": f"{grid:.1f}", "0/yieldday": f"{self.today:.0f}", "0/yieldtotal": f"{self.total:.3f}"}
        for channel, power in enumerate(panels, 1):
            values[f"{channel}/power"], values[f"{channel}/voltage"] = f"{power:.1f}", f"{30 + power / 100:.1f}"
        for path, value in values.items():
            yield f"solar/{self.serial}/{path}", value


class Gateway:
    """gateways/<host>: ready line protocol, two lines in a message, as scripts and other agents send it."""

    def __init__(self, chance, name):
        self.client = name
        self.name, self.load, self.used = name, Walk(chance, 0.6, 0.55, 0.05), Walk(chance, 41, 20, 0.5)
        self.up = chance.randrange(100_000)

    def messages(self, now, seconds):
        self.up += seconds
        stamp = int(now * 1e9)
        yield f"gateways/{self.name}", (
            f"gateway,host={self.name} load1={self.load.next():.2f},uptime_s={int(self.up)}i {stamp}\n"
            f"gateway_memory,host={self.name} used_percent={self.used.next():.1f} {stamp}\n")


class Victron:
    """N/<portal>/<service>/<instance>/<path>: {"value": x} per topic, null where there is none."""

    def __init__(self, chance, portal):
        self.client = f"venus-{portal}"
        self.portal, self.charge, self.volts = portal, Walk(chance, 70, 25, 0.1), Walk(chance, 52.4, 1.6, 0.03)
        self.amps, self.grid = Walk(chance, 3, 20, 0.8), Walk(chance, 350, 900, 30)

    def messages(self, now, _seconds):
        values = {"battery/512/Soc": round(self.charge.next(), 1), "battery/512/Dc/0/Voltage": round(self.volts.next(), 2),
                  "battery/512/Dc/0/Current": round(self.amps.next(), 1), "battery/512/TimeToGo": None,
                  "grid/30/Ac/Power": round(self.grid.next(), 1), "pvinverter/20/Ac/Power": round(daylight(now) * 4200)}
        for path, value in values.items():
            yield f"N/{self.portal}/{path}", json.dumps({"value": value})


def make_devices(chance):
    return [Zigbee(chance, "living-room", 21.5), Zigbee(chance, "cellar", 13.0), Zigbee(chance, "greenhouse", 26.0),
            Zigbee(chance, "cold-store", 4.0),
            Tasmota(chance, "washing-machine", 320), Tasmota(chance, "server-rack", 140),
            Shelly(chance, "shellyplus1pm-a8032ab1fe78", 375), Shelly(chance, "shellypro1pm-30c6f7850a64", 90),
            OpenDtu(chance, "114180000000"), Gateway(chance, "gw-hall"), Gateway(chance, "gw-yard"), Victron(chance, "c0619ab9929a")]


class Publisher:
    """A client that counts what it took and what the broker has acknowledged."""

    def __init__(self, broker, name):
        if hasattr(mqtt, "CallbackAPIVersion"):  # 2.x of the library
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
        else:
            self.client = mqtt.Client(client_id=name)
        self.taken = self.acknowledged = 0
        self.client.on_publish = self._on_publish
        self.client.max_queued_messages_set(10_000)  # with the broker away for longer, messages are lost, as with real devices
        self.client.reconnect_delay_set(1, 5)
        self.client.connect_async(*broker, keepalive=30)
        self.client.loop_start()

    def _on_publish(self, *_):
        self.acknowledged += 1

    def publish(self, topic, payload):
        # Without a connection it is queued all the same: only a full queue refuses.
        self.taken += self.client.publish(topic, payload, qos=1).rc != mqtt.MQTT_ERR_QUEUE_SIZE

    def close(self, deadline):
        """Waits for the acknowledgements; how many did not come."""
        while self.acknowledged < self.taken and time.monotonic() < deadline:
            time.sleep(0.02)
        self.client.disconnect()
        self.client.loop_stop()
        return self.taken - self.acknowledged


def address(text):
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not host:port")
    return host, int(port)


def read_flags():
    flags = argparse.ArgumentParser(description=__doc__.strip())
    flags.add_argument("--broker", type=address, default=("127.0.0.1", 1883), metavar="HOST:PORT")
    flags.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two rounds of all devices")
    flags.add_argument("--count", type=int, default=0, metavar="N", help="rounds; 0: until stopped")
    flags.add_argument("--prefix", default="", help="put before every topic")
    flags.add_argument("--client-prefix", default="", help="put before every client id: two runs at one broker need different ones")
    flags.add_argument("--seed", type=int, default=1, help="same seed, same values")
    return flags.parse_args()


def main():
    flags = read_flags()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    devices = make_devices(random.Random(flags.seed))
    publishers = {name: Publisher(flags.broker, flags.client_prefix + name) for name in {device.client for device in devices}}
    rounds, due = 0, time.monotonic()
    while not stop.is_set() and (flags.count == 0 or rounds < flags.count):
        now = time.time()
        for device in devices:
            for topic, payload in device.messages(now, flags.interval):
                publishers[device.client].publish(flags.prefix + topic, payload)
        rounds += 1
        due = max(due + flags.interval, time.monotonic())
        if rounds != flags.count:
            stop.wait(max(0.0, due - time.monotonic()))
    deadline = time.monotonic() + (3 if stop.is_set() else 15)
    missing = sum(publisher.close(deadline) for publisher in publishers.values())
    taken = sum(publisher.taken for publisher in publishers.values())
    print(f"{taken} messages published in {rounds} rounds by {len(devices)} devices, {missing} not acknowledged")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
