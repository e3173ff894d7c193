#!/usr/bin/python3
"""
The whole agent, with real servers, as `name value unit` lines: program size, start, idle memory, and the main job from Mosquitto
into InfluxDB with the CPU time of each process beside it.
"""
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import settings  # noqa: E402
from tests.support.heliograf import Heliograf  # noqa: E402
from tests.support.publisher import Publisher  # noqa: E402
from tests.support.scenario import agent_config, consumer, scratch_directory  # noqa: E402
from tests.support.servers import InfluxDB, Mosquitto  # noqa: E402

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "300000"))
TICK = os.sysconf("SC_CLK_TCK")


def figure(name, value, unit):
    print(f"{name} {value:.6g} {unit}", flush=True)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def wait_until(condition, what, timeout=120):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"timed out: {what}")
        time.sleep(0.01)


def payloads(count):
    for i in range(count):
        yield (f"plant/line{i % 10}/machine{i % 97}",
               f'{{"temperature":{20 + i % 50 / 10},"humidity":{40 + i % 300 / 10},"pressure":{1013 + i % 20},'
               f'"voltage":{230 + i % 9 / 10},"current":{i % 16},"n":{i}}}')


def main_job(broker, influxdb, agent, qos):
    processes = {"agent": agent.pid, "influxdb": influxdb.pid, "mosquitto": broker.pid}
    before_stored = agent.figure("heliograf_messages_total", outcome="stored")
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    messages = list(payloads(MESSAGES))
    started = time.monotonic()
    with Publisher(broker.port) as publisher:
        publisher.publish(messages, qos=qos)
    wait_until(lambda: agent.figure("heliograf_messages_pending") == 0 and
               (qos == 0 or agent.figure("heliograf_messages_total", outcome="stored") - before_stored >= MESSAGES), "stored")
    elapsed = time.monotonic() - started
    stored = agent.figure("heliograf_messages_total", outcome="stored") - before_stored
    spent = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
    figure(f"agent_qos{qos}_throughput", stored / elapsed, "messages/s")
    for name, seconds in spent.items():
        figure(f"agent_qos{qos}_cpu_{name}", seconds / max(stored, 1) * 1e6, "us/message")
    figure(f"agent_qos{qos}_cpu_of_database", 100 * spent["agent"] / max(spent["influxdb"], 1e-9), "%")
    figure(f"agent_qos{qos}_rss", resident_mb(agent.pid), "MB")


def start_times(directory, config, count=5):
    """From exec to the first moment at which /-/ready says yes."""
    times = []
    for i in range(count):
        agent = Heliograf(directory, config, name=f"start{i}")
        started = time.monotonic()
        agent.start()
        times.append(time.monotonic() - started)
        agent.stop()
    return sorted(times)


def main():
    directory = scratch_directory()
    figure("program_size", settings.BINARY.stat().st_size / 1e6, "MB")
    broker = Mosquitto(directory, options=["max_queued_messages 0"]).start()
    influxdb = InfluxDB(directory).start()
    config = agent_config(consumer(broker, "plant/#", data_format="json", topic_tag="",
                                   topic_parsing=[{"topic": "plant/+/+", "tags": "_/line/machine"}]),
                          {"influxdb": [{"urls": [influxdb.url], "database": "bench"}]},
                          agent={"flush_interval": "1s"})
    try:
        times = start_times(directory, config)
        figure("start_to_ready_median", times[len(times) // 2] * 1000, "ms")
        agent = Heliograf(directory, config).start()
        time.sleep(1)  # let it settle: idle is what is measured
        figure("idle_rss", resident_mb(agent.pid), "MB")
        main_job(broker, influxdb, agent, 1)
        main_job(broker, influxdb, agent, 0)
        agent.stop()
    finally:
        influxdb.kill()
        broker.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
