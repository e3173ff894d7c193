"""
The dashboards hold what they promise: every query of every panel and variable, with Grafana's macros filled in, finds rows in an
InfluxDB that holds the quick start's data: its configuration, its devices, and the agent's own figures.
"""
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

from tests.support import ports
from tests.support.heliograf import Heliograf
from tests.support.scenario import Scenario, agent_config, consumer
from tests.support.servers import http

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "config/quickstart"
GRAFANA = ROOT / "config/grafana"
ALL = ".*"  # what Grafana sends for "All" where a variable has this as its allValue
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\[\[(\w+)\]\]|\$(\w+)")


def read_dashboards(directory):
    """{file name: dashboard}."""
    return {path.name: json.loads(path.read_text()) for path in sorted(Path(directory).glob("*.json"))}


def fill_macros(query, values, since_s, interval):
    """
    The query as Grafana sends it: the chosen range, an interval, and for a variable all of its values as one regular expression. A name
    that nothing gives a value for is an error.
    """
    now_ms = int(time.time() * 1000)
    macros = {"timeFilter": f"time >= {now_ms - since_s * 1000}ms and time <= {now_ms + 1000}ms",
              "__interval": interval, "interval": interval, "__interval_ms": "1000"}

    def value_of(match):
        name = next(group for group in match.groups() if group)
        if name in macros:
            return macros[name]
        if name not in values:
            raise AssertionError(f"${name} has no value in: {query}")
        if values[name] == ALL:
            return ALL
        found = [re.sub(r"([\\.^$*+?()\[\]{}|/])", r"\\\1", value) for value in values[name]]
        return found[0] if len(found) == 1 else "(" + "|".join(found) + ")"

    return _VARIABLE.sub(value_of, query)


def ask_series(influx_url, database, query):
    """The series of an answer; an error is raised."""
    _, text = http(f"{influx_url}/query?" + urllib.parse.urlencode({"db": database, "q": query, "epoch": "ms"}))
    answer = json.loads(text)
    error = answer.get("error") or answer["results"][0].get("error")
    if error:
        raise AssertionError(f"{query}: {error}")
    return answer["results"][0].get("series", [])


def ask(influx_url, database, query):
    """The rows of an answer with a value in them."""
    return [row for series in ask_series(influx_url, database, query) for row in series["values"]
            if any(value is not None for value in row[1:])]


def variable_values(influx_url, database, dashboard):
    """(values by variable, complaints): what the queries of the variables find."""
    values, complaints = {}, []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        rows = ask(influx_url, database, fill_macros(variable["query"], values, 900, "1s"))
        values[variable["name"]] = [row[-1] for row in rows]
        if not rows:
            complaints.append(f"variable {variable['name']}: no values from: {variable['query']}")
    return values, complaints


def check_dashboards(influx_url, database, directory, since_s=900, interval="1s"):
    """How many queries found rows; raises with every one that did not."""
    found, complaints = 0, []
    for name, dashboard in read_dashboards(directory).items():
        values, missing = variable_values(influx_url, database, dashboard)
        complaints += [f"{name}: {words}" for words in missing]
        found += len(values) - len(missing)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                query = fill_macros(target["query"], values, since_s, interval)
                if ask(influx_url, database, query):
                    found += 1
                else:
                    complaints.append(f"{name}: panel '{panel['title']}': no rows from: {query}")
    if complaints:
        raise AssertionError("\n".join(complaints))
    return found


class Dashboards(Scenario):
    def start_quick_start(self):
        """InfluxDB and heliograf with the quick start's own configuration, on ports of this test."""
        self.influx, self.other_broker = self.influxdb(), None
        self.environment = {
            "HELIOGRAF_MQTT_PORT": str(ports.free_port()), "HELIOGRAF_INFLUX_PORT": str(self.influx.port),
            "HELIOGRAF_STATUS_PORT": str(ports.free_port()), "HELIOGRAF_RUN_DIRECTORY": str(self.directory),
            "HELIOGRAF_INTERNAL_INTERVAL": "500ms", "HOSTNAME": "quick"}
        agent = Heliograf(self.directory, (QUICKSTART / "heliograf.yaml").read_text(), env=self.environment)
        agent.status_port = int(self.environment["HELIOGRAF_STATUS_PORT"])
        self.agents.append(agent)
        self.addCleanup(agent.kill)
        return agent.start()

    def run_devices(self, rounds):
        """The simulated devices, to their end; how many messages they published."""
        done = subprocess.run([sys.executable, QUICKSTART / "devices.py", "--broker", f"127.0.0.1:{self.environment['HELIOGRAF_MQTT_PORT']}",
                               "--interval", "0.3", "--count", str(rounds)], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ), check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return int(done.stdout.split()[0])

    def test_every_query_finds_the_quick_starts_data(self):
        agent = self.start_quick_start()
        second = self.start_second_agent("gateway-7")  # the panels of connections to other brokers
        sent = self.run_devices(rounds=10)
        agent.wait_received(sent)
        self.wait_own_figures(second, "telemetry", "WHERE host = 'gateway-7'")
        agent.wait_for(lambda: agent.outcome("stored") > 0, "messages stored")
        # Rates need figures of two different seconds, taken after the devices' data had gone out.
        agent.wait_for(lambda: len(self.influx.rows("telemetry", 'SELECT * FROM "internal_process"')) >= 6, "own figures", 20)
        self.assertGreater(check_dashboards(self.influx.url, "telemetry", GRAFANA / "dashboards"), 50)
        self.assertEqual(agent.dead_letters(self.directory / "dead-letters"), [])

    def test_nothing_is_unaccounted_for_in_the_database_either(self):
        agent = self.start_quick_start()
        agent.wait_received(self.run_devices(rounds=5))
        agent.wait_for(lambda: self.influx.count("telemetry", "internal_ledger", "messages_received_total") >= 2, "own figures")
        board = read_dashboards(GRAFANA / "dashboards")["heliograf.json"]
        query = next(panel for panel in board["panels"] if panel["title"] == "Unaccounted for")["targets"][0]["query"]

        def unaccounted():
            rows = ask(self.influx.url, "telemetry", fill_macros(query, {"host": ["quick"], "output": ["influxdb"]}, 900, "1s"))
            return [row[1] for row in rows]
        # A look into the middle of a write may see some lines of a moment and not the others; a real difference stays.
        agent.wait_for(lambda: unaccounted() == [0], "nothing unaccounted for", 5)


    def start_second_agent(self, host):
        """Another one, beside a broker, that writes its figures to the same database; `host` None: none of them has the tag."""
        name = host or "nameless"
        directory = self.directory / name
        directory.mkdir()
        self.other_broker = self.other_broker or self.mosquitto()
        agent = Heliograf(directory, agent_config(
            consumer(self.other_broker, "nothing/#", data_format="value", client_id=name, alias=f"input of {name}"),
            {"influxdb": [{"urls": [self.influx.url], "database": "telemetry" if host else "nameless", "alias": f"output of {name}"}]},
            agent={"omit_hostname": host is None, "hostname": host, "flush_interval": "100ms",
                   "spool": {"sync": "memory"}, "dead_letters": {"directory": str(directory / "dead-letters")}}), name=name)
        config = json.loads(agent.config_path.read_text())
        config["inputs"]["internal"] = [{"interval": "500ms", "topic_tag": "", "data_format": "influx"}]
        agent.write_config(json.dumps(config))
        self.agents.append(agent)
        self.addCleanup(agent.kill)
        return agent.start()

    def wait_own_figures(self, agent, database, where=""):
        agent.wait_for(lambda: len(self.influx.rows(database, f'SELECT * FROM "internal_process" {where}')) >= 4, "own figures", 20)

    def hosts_in(self, query, values):
        series = ask_series(self.influx.url, "telemetry", fill_macros(query, values, 900, "1s"))
        return {one["tags"]["host"] for one in series}

    def test_agents_are_told_apart_by_their_host(self):
        agent = self.start_quick_start()
        second = self.start_second_agent("gateway-7")
        agent.wait_received(self.run_devices(rounds=3))
        self.wait_own_figures(agent, "telemetry", "WHERE host = 'quick'")
        self.wait_own_figures(second, "telemetry", "WHERE host = 'gateway-7'")
        board = read_dashboards(GRAFANA / "dashboards")["heliograf.json"]
        values, missing = variable_values(self.influx.url, "telemetry", board)
        self.assertEqual((sorted(values["host"]), missing), (["gateway-7", "quick"], []))
        self.assertEqual(sorted(values["output"]), ["influxdb", "output of gateway-7"])
        for query in (target["query"] for panel in board["panels"] for target in panel.get("targets", [])):
            for hosts in (["gateway-7"], ["quick"], ["gateway-7", "quick"], ALL):
                wanted = set(values["host"] if hosts == ALL else hosts)
                # One is a broker, the other is connected to one.
                wanted -= {"quick"} if '"internal_mqtt"' in query else {"gateway-7"} if '"internal_broker"' in query else set()
                # A rate is there when its figure was written twice.
                agent.wait_for(lambda: self.hosts_in(query, {**values, "host": hosts}) == wanted, f"{wanted} in {query}", 10)
        received = next(panel for panel in board["panels"] if panel["title"] == "Received =")["targets"][0]["query"]
        counts = {one["tags"]["host"]: one["values"][0][1]
                  for one in ask_series(self.influx.url, "telemetry", fill_macros(received, values, 900, "1s"))}
        self.assertLess(counts["gateway-7"], counts["quick"])  # only its own figures arrive at the second one
        # What depends on it follows the agent that is chosen.
        output = next(variable for variable in board["templating"]["list"] if variable["name"] == "output")["query"]
        rows = ask(self.influx.url, "telemetry", fill_macros(output, {"host": ["gateway-7"]}, 900, "1s"))
        self.assertEqual([row[-1] for row in rows], ["output of gateway-7"])

    def test_an_agent_without_a_host_is_shown_under_all(self):
        agent = self.start_quick_start()
        self.influx.create("nameless")
        nameless = self.start_second_agent(None)
        self.wait_own_figures(nameless, "nameless")
        values = {"host": ALL, "output": ALL, "input": ALL}
        for panel in read_dashboards(GRAFANA / "dashboards")["heliograf.json"]["panels"]:
            for target in panel.get("targets", []):
                query = fill_macros(target["query"], values, 900, "1s")
                if '"internal_broker"' not in query:
                    agent.wait_for(lambda: ask(self.influx.url, "nameless", query), f"rows from {query}", 10)
        agent.assert_identity()


class Files(Scenario):
    """What Grafana itself would refuse or show badly."""

    def test_dashboards_have_fixed_and_different_uids(self):
        uids = [dashboard["uid"] for dashboard in read_dashboards(GRAFANA / "dashboards").values()]
        self.assertEqual(sorted(uids), ["heliograf-agent", "heliograf-devices"])
        self.assertTrue(all(dashboard["id"] is None for dashboard in read_dashboards(GRAFANA / "dashboards").values()))

    def test_panels_have_their_own_ids_and_places(self):
        for name, dashboard in read_dashboards(GRAFANA / "dashboards").items():
            ids = [panel["id"] for panel in dashboard["panels"]]
            self.assertEqual(len(ids), len(set(ids)), name)
            taken = set()
            for panel in dashboard["panels"]:
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
                self.assertFalse(cells & taken, f"{name}: '{panel['title']}' lies on another panel")
                taken |= cells

    def test_every_query_goes_to_the_chosen_data_source(self):
        for name, dashboard in read_dashboards(GRAFANA / "dashboards").items():
            wanted = {"type": "influxdb", "uid": "${datasource}"}
            for panel in dashboard["panels"]:
                for target in panel.get("targets", []):
                    self.assertEqual(target["datasource"], wanted, f"{name}: {panel['title']}")
            source = dashboard["templating"]["list"][0]
            self.assertEqual((source["type"], source["query"]), ("datasource", "influxdb"))
            files = [path.read_text() for path in (GRAFANA / "datasources").glob("*.yaml")]
            self.assertTrue(any(f"uid: {source['current']['value']}\n" in text for text in files))

    def test_every_query_about_agents_asks_for_the_chosen_ones(self):
        board = read_dashboards(GRAFANA / "dashboards")["heliograf.json"]
        queries = [target["query"] for panel in board["panels"] for target in panel.get("targets", [])]
        queries += [variable["query"] for variable in board["templating"]["list"] if variable["name"] in ("input", "output")]
        self.assertGreater(len(queries), 40)
        for query in queries:
            self.assertIn('"host" =~ /^$host$/', query)
            self.assertTrue(query.startswith("SHOW") or 'GROUP BY' in query and '"host"' in query.rsplit("GROUP BY", 1)[1], query)

    def test_data_sources_exist_for_three_generations(self):
        for generation in (1, 2, 3):
            text = (GRAFANA / f"datasources/influxdb{generation}.yaml").read_text()
            self.assertIn(f"uid: heliograf-influxdb{generation}\n", text)
            self.assertIn("dbName: telemetry\n", text)


if __name__ == "__main__":
    import unittest
    unittest.main()
