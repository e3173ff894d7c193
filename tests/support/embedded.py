"""An agent whose embedded broker is what a test is about."""
from tests.support import ports

NOTHING = "unused/by/anybody"


def broker_config(directory, port, topics=(NOTHING,), inputs=None, listeners=(), **options):
    """
    A configuration: the broker on a loopback port with its state in memory, and an input that writes what is published on `topics` to the file
    `points` there. `listeners` come after the first; `inputs` replaces the input; everything else is an option of `broker:`.
    """
    broker = {"listeners": [{"address": f"127.0.0.1:{port}"}, *listeners], "persistence": {"enabled": False}, **options}
    inputs = inputs or {"mqtt_consumer": [{"topics": list(topics), "qos": 2, "data_format": "value", "data_type": "string"}]}
    return {"broker": broker, "inputs": inputs, "outputs": {"file": [{"files": [str(directory / "points")]}]}}


def start_broker(scenario, start=True, name="heliograf", **how):
    """The agent, started; its broker's port is `mqtt_port`."""
    port = how.pop("port", None) or ports.free_port()
    agent = scenario.new_heliograf(broker_config(scenario.directory, port, **how), name=name)
    agent.mqtt_port = port
    return agent.start() if start else agent
