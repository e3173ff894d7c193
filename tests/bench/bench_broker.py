#!/usr/bin/python3
"""
The embedded broker beside Debian's Mosquitto, under the same load in the same run, as `name value unit` lines. Each figure is measured with a broker
that has just started, first Mosquitto's, then ours; `_ratio` is ours to Mosquitto's.

  ..._mosquitto             one subscriber to everything, as a collector beside the broker would be
  ..._mosquitto_alone       nobody subscribed
  ..._heliograf             the input `servers: ["embedded"]` parses each message into the spool, on disk and synced; nobody else subscribed
  ..._heliograf_subscriber  the same, and one subscriber to everything
  ..._bare                  a program that finds the packets, answers them and forgets them (mqtt_sink.c): what the system alone costs

The CPU of Heliograf therefore has parsing, the spool and the output in it, that of Mosquitto has not. Mosquitto never waits for a disk.

  HELIOGRAF_LONG=1            longer, and each figure three times: the median, with the spread as a comment
  BENCH_REPEAT=N              each figure N times
  BENCH_ROWS=idle,storm       only rows with such words in their name
  BENCH_NICE=-10              priority of brokers and load generator, as root, for a machine that has other work
  HELIOGRAF_BENCH_DIRECTORY   where spool and state go (the current directory)
"""
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import ports, settings  # noqa: E402
from tests.support.heliograf import Heliograf, command  # noqa: E402
from tests.support.load import TOOL, load  # noqa: E402
from tests.support.process import Process  # noqa: E402
from tests.support.servers import Mosquitto  # noqa: E402

LONG = settings.LONG
REPEAT = int(os.environ.get("BENCH_REPEAT", "3" if LONG else "1"))
ONLY = [word for word in os.environ.get("BENCH_ROWS", "").split(",") if word]
SECONDS = 10 if LONG else 3
FILES_BESIDE = 200  # descriptors that a broker needs for other things than clients
FAN_IN = ["-c", 1000, "-s", 200, "-t", "bench/%i"]
SOURCES = ["--ifaddr", "127.0.0.1,127.0.0.2,127.0.0.3"]

# Nothing is thrown away, so that a fast publisher does not make the broker's work vanish.
UNLIMITED = ["max_queued_messages 0", "max_inflight_messages 0"]
# Its default lets the kernel hold back small packets, up to 40 ms: cheaper, but not what a latency should be compared with.
PROMPT = [*UNLIMITED, "set_tcp_nodelay true"]
DEFAULTS = ["max_queued_messages 1000", "max_inflight_messages 20"]


class MosquittoServer(Mosquitto):
    label = "mosquitto"

    def __init__(self, directory, options):
        super().__init__(directory, options=["connection_messages false", *options])

    def finish(self):
        self.kill()


class HeliografServer(Heliograf):
    label = "heliograf"

    def __init__(self, directory, limits=None):
        self.port = ports.free_port()
        super().__init__(directory, heliograf_config(directory, self.port, limits or {}))

    def finish(self):
        self.stop()


class Sink(Process):
    """tests/bench/mqtt_sink.c: finds the packets and answers them, nothing else."""
    label = "bare"

    def __init__(self, directory, _):
        self.port = ports.free_port()
        super().__init__("mqtt_sink", [TOOL.parent / "mqtt_sink", self.port], directory / "sink.log")

    def start(self):
        super().start()
        self.wait_for(lambda: ports.listening(self.port), "listening")

    def finish(self):
        self.kill()


def heliograf_config(directory, port, limits):
    return {
        "broker": {"listeners": [{"address": f"127.0.0.1:{port}"}], "max_connections": 20000,
                   "persistence": {"enabled": True, "directory": str(directory / "state")}, **limits},
        "inputs": {"mqtt_consumer": [{"servers": ["embedded"], "topics": ["bench/#"], "qos": 1, "data_format": "influx"}]},
        "outputs": {"file": [{"files": ["/dev/null"]}]},
        "agent": {"spool": {"sync": "commit", "directory": str(directory / "spool")}},
    }


def figure(name, value, unit):
    print(f"{name} {value:.6g} {unit}", flush=True)


def remark(text):
    print(f"# {text}", flush=True)


def broker_built_in(directory):
    """False when the program knows no `broker:`; any other trouble with the configuration ends the bench."""
    path = directory / "check.yaml"
    config = Heliograf(directory, heliograf_config(directory, ports.free_port(), {}), name="check")
    done = command("check", "--config", config.config_path)
    path.unlink(missing_ok=True)
    if "unknown option 'broker'" in done.stderr:
        return False
    if done.returncode != 0:
        raise SystemExit(f"bench_broker: the configuration is refused:\n{done.stderr}")
    return True


class Bench:
    """Starts servers, one at a time, and prints what rows return."""

    def __init__(self, with_heliograf):
        self.with_heliograf = with_heliograf
        self.place = os.environ.get("HELIOGRAF_BENCH_DIRECTORY", ".")
        self.broken = 0

    def once(self, server_type, how, row, arguments):
        directory = Path(tempfile.mkdtemp(prefix="bench-broker-", dir=self.place)).resolve()
        server = None
        try:
            server = server_type(directory, how)
            server.start()
            figures = row(server, *arguments)
            try:
                server.finish()
            except AssertionError as trouble:
                self.complain(f"{server.label} did not end well", trouble)
            return figures
        finally:
            if server is not None:
                server.kill()
            shutil.rmtree(directory, ignore_errors=True)

    def complain(self, what, trouble):
        self.broken += 1
        remark(f"{what}: " + " | ".join(str(trouble).strip().splitlines()[:6]))

    def measure(self, name, label, server_type, how, row, arguments):
        """{figure: (median, unit)}; {} when it failed, which is said and counted."""
        runs = []
        for _ in range(REPEAT):
            try:
                runs.append(self.once(server_type, how, row, arguments))
            except AssertionError as trouble:
                self.complain(f"{name}_{label} failed", trouble)
        if not runs:
            return {}
        medians = {}
        for key, (_, unit) in runs[0].items():
            values = [run[key][0] for run in runs]
            medians[key] = (statistics.median(values), unit)
            if len(values) > 1:
                remark(f"{name}_{key}_{label}: {min(values):.6g} to {max(values):.6g} in {len(values)} runs")
        return medians

    def row(self, name, row, variants, mosquitto, heliograf=None):
        """`variants`: (label, arguments of `row`); those labelled mosquitto and heliograf are compared. The last two: their options."""
        if ONLY and not any(word in name for word in ONLY):
            return
        servers = {"mosquitto": (MosquittoServer, mosquitto), "heliograf": (HeliografServer, heliograf), "bare": (Sink, None)}
        plan = [(label, *servers[label.split("_")[0]], arguments) for label, arguments in variants
                if self.with_heliograf or not label.startswith("heliograf")]
        found = {label: self.measure(name, label, server_type, how, row, arguments) for label, server_type, how, arguments in plan}
        for key in dict.fromkeys(key for figures in found.values() for key in figures):
            for label, figures in found.items():
                if key in figures:
                    figure(f"{name}_{key}_{label}", *figures[key])
            base, own = found["mosquitto"].get(key), found.get("heliograf", {}).get(key)
            if base and own and base[0] and base[1] != "%":
                figure(f"{name}_{key}_ratio", own[0] / base[0], "heliograf/mosquitto")


# The rows. Each takes a running server and returns {figure: (value, unit)}.


def late(server, run):
    """Devices send one by one; a load generator that gets too little of the processor sends several at once, which is cheaper to receive."""
    if run["burst_mean"] > 2:
        remark(f"for {server.label} the load generator came late and sent {run['burst_mean']:.1f} messages at a time: the machine is busy")


def consumed(server, run):
    """The share of the messages that reached their consumer: the subscriber, and in Heliograf the spool."""
    figures = {}
    if run.figures.get("expected"):
        figures["delivered"] = (100 * run["received"] / run["expected"], "%")
    if server.label == "heliograf":
        metrics = server.metrics()  # each message makes one point; points of who comes and goes are not the load's
        points = metrics.sum("points_produced_total") - metrics.sum("points_produced_total", input="presence")
        dropped = metrics.sum("messages_total", outcome="dropped_full")
        figures["into_spool"] = (100 * (points - dropped) / run["sent"], "%")
    return figures


def per_core(server, run):
    """Messages that one core would take, of a broker that was busy all the time."""
    return {"per_core": (1e6 / max(run["broker"]["cpu_us_per_message"], 0.01), "messages/s/core")}


def paced(server, subscribers, rate):
    run = load("pub", server.port, *FAN_IN, "--rate", rate, "-d", SECONDS, "--subscribers", subscribers, pid=server.pid)
    late(server, run)
    return {"cpu": (run["broker"]["cpu_us_per_message"], "us/message"), **consumed(server, run)}


def flat_out(server, subscribers, qos, inflight, count):
    run = load("pub", server.port, *FAN_IN, "-q", qos, "-F", inflight, "-L", count, "-d", 60, "--drain-time", 60, "--subscribers", subscribers,
               pid=server.pid)
    figures = {"rate": (run["publish_rate"], "messages/s"), "cpu": (run["broker"]["cpu_us_per_message"], "us/message"), **per_core(server, run)}
    if qos:
        figures["ack_p99"] = (run["ack_us"]["p99"] / 1000, "ms")
    if run["tool_cpu_share"] > 0.9:
        remark(f"for {server.label} the load generator itself was the limit")
    return {**figures, **consumed(server, run)}


def latency(server, subscribers, qos):
    run = load("pub", server.port, *FAN_IN, "-q", qos, "-F", 100, "--rate", 50000, "-d", SECONDS, "--drain-time", 60, "--subscribers", subscribers,
               pid=server.pid)
    late(server, run)
    times = run["ack_us"] if qos else run["latency_us"]
    return {"p50": (times["p50"] / 1000, "ms"), "p99": (times["p99"] / 1000, "ms"), "rate": (run["publish_rate"], "messages/s"),
            **consumed(server, run)}


def connections(server, run, figures):
    """Of a mode that may see refusals: they are figures, not failures."""
    if run.figures is None:
        raise AssertionError(run.complaints)
    if run.complaints:
        remark(f"{server.label}: " + " | ".join(run.complaints.splitlines()[:3]))
    return {"refused": (run["refused"] + run["failed"] + run["lost"], "clients"), **figures(run)}


def idle(server, clients):
    run = load("conn", server.port, "-c", clients, "-d", 10 if LONG else 5, *SOURCES, pid=server.pid, check=False)
    return connections(server, run, lambda run: {
        "memory": ((run["broker"]["rss_after_kb"] - run["broker"]["rss_before_kb"]) * 1024 / max(run["connected"], 1), "bytes/connection"),
        "rss": (run["broker"]["rss_after_kb"] / 1024, "MiB"), "cpu": (100 * run["broker"]["cpu_share"], "%")})


def storm(server, pending):
    run = load("conn", server.port, "-c", 10000, "-d", 0, "--pending", pending, *SOURCES, pid=server.pid, check=False)
    return connections(server, run, lambda run: {
        "time": (run["connect_s"], "s"), "connack_p50": (run["connack_us"]["p50"] / 1000, "ms"),
        "connack_p99": (run["connack_us"]["p99"] / 1000, "ms"), "cpu": (run["broker"]["connect_cpu_us"], "us/connection")})


def stalled(server, count):
    """One subscriber never reads; another one does. No input takes these, so that the memory is what subscribers cost."""
    flags = ["-c", 10, "-s", 1000, "-t", "stalled/%i", "--filter", "stalled/#", "--rate", 40000, "-L", count, "-d", 60, "--drain-time", 30]
    run = load("pub", server.port, *flags, "--subscribers", 2, "--stall", 1, pid=server.pid)
    return {"rss_growth": ((run["broker"]["rss_peak_kb"] - run["broker"]["rss_connected_kb"]) / 1024, "MiB"),
            "publish_rate": (run["publish_rate"], "messages/s"), "other_latency_p99": (run["latency_us"]["p99"] / 1000, "ms"),
            "other_delivered": (100 * run["received"] / run["expected"], "%")}


def written(server):
    """Bytes that the program has given to its disk; caches that were not written are not in it."""
    for line in Path(f"/proc/{server.pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise AssertionError("/proc says nothing of write_bytes")


def offline(server, count):
    """200-byte messages to a persistent session that is away, then its return. Mosquitto keeps them in memory: it writes none."""
    session = ["-C", "false", "--prefix", "away", "-q", 1, "-t", "bench/#"]
    load("sub", server.port, *session, "--leave", pid=server.pid)
    before = written(server)
    stored = load("pub", server.port, "-c", 100, "-s", 200, "-t", "bench/%i", "-q", 1, "-F", 100, "-L", count, "-d", 60, "--drain-time", 60, pid=server.pid)
    bytes_written = written(server) - before
    drained = load("sub", server.port, *session, "-L", count, "-d", 30, pid=server.pid, check=False)
    if drained["resumed"] != 1:
        raise AssertionError("the session was not kept")
    return {"queue_rate": (stored["publish_rate"], "messages/s"), "written": (bytes_written / count, "bytes/message"), "drain_rate": (drained["receive_rate"], "messages/s"),
            "drain_cpu": (drained["broker"]["cpu_us_per_message"], "us/message"), "kept": (100 * drained["received"] / count, "%")}


def fan_out(server, count):
    run = load("pub", server.port, "-c", 1, "-s", 200, "-t", "bench/all", "-L", count, "-d", 60, "--drain-time", 60, "--subscribers", 1000, "--filter", "bench/all",
               pid=server.pid)
    return {"rate": (run["receive_rate"], "deliveries/s"), "cpu": (run["broker"]["cpu_s"] * 1e6 / max(run["received"], 1), "us/delivery"),
            "delivered": (100 * run["received"] / run["expected"], "%")}


def both(*arguments):
    return [("mosquitto", arguments), ("heliograf", arguments)]


def fan_in(*arguments):
    """The first argument is the number of subscribers. A collector beside Mosquitto is one; in Heliograf it is within."""
    return [("mosquitto", (1, *arguments)), ("mosquitto_alone", (0, *arguments)), ("heliograf", (0, *arguments)), ("heliograf_subscriber", (1, *arguments)),
            ("bare", (0, *arguments))]


def idle_clients():
    """15,000, or as many as the limit of descriptors lets the load generator and a broker have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the brokers, which inherit it
    clients = min(15000, hard - FILES_BESIDE)
    if clients < 15000:
        remark(f"idle with {clients} connections: the limit of open files is {hard}")
    return clients


def run_all(bench, clients):
    queues = {"max_queued_messages": 0, "max_queued_bytes": 0, "memory_limit": 0, "max_output_bytes": "1GiB"}
    bench.row("broker_idle", idle, both(clients), UNLIMITED)
    bench.row("broker_storm_at_once", storm, both(0), UNLIMITED)
    bench.row("broker_storm_paced", storm, both(64), UNLIMITED)
    bench.row("broker_fanin_qos0_20k", paced, fan_in(20000), UNLIMITED, queues)
    bench.row("broker_fanin_qos0_flat", flat_out, fan_in(0, 1, 1000000 if LONG else 300000), UNLIMITED, queues)
    bench.row("broker_fanin_qos1_f10", flat_out, fan_in(1, 10, 300000 if LONG else 100000), UNLIMITED, queues)
    bench.row("broker_fanin_qos1_f100", flat_out, fan_in(1, 100, 300000 if LONG else 100000), UNLIMITED, queues)
    bench.row("broker_latency_qos0_50k", latency, both(1, 0), PROMPT, queues)
    bench.row("broker_ack_qos1_50k", latency, [("mosquitto", (1, 1)), ("mosquitto_alone", (0, 1)), ("heliograf", (0, 1)), ("bare", (0, 1))], PROMPT, queues)
    bench.row("broker_stalled", stalled, both(400000 if LONG else 100000), DEFAULTS)
    bench.row("broker_offline", offline, both(200000 if LONG else 50000), UNLIMITED, queues)
    bench.row("broker_fanout", fan_out, both(1000 if LONG else 200), UNLIMITED, queues)


def main():
    started = time.monotonic()
    os.nice(int(os.environ.get("BENCH_NICE", "0")))
    place = Path(tempfile.mkdtemp(prefix="bench-broker-", dir=os.environ.get("HELIOGRAF_BENCH_DIRECTORY", "."))).resolve()
    try:
        built_in = broker_built_in(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not built_in:
        remark("the broker is not built in")
    bench = Bench(built_in)
    run_all(bench, idle_clients())
    remark(f"in {time.monotonic() - started:.0f} s")
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
