"""`heliograf deadletter`: beside a running agent, and on the directory of a stopped one; whatever breaks, no letter is lost."""
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import unittest

from tests.support import settings, waiting
from tests.support.heliograf import command
from tests.support.process import Process
from tests.support.publisher import publish
from tests.support.scenario import Scenario, agent_config, consumer

MANY = 3000 if settings.SCALE == 1 else 600
KILLS = 60 if settings.LONG else 12 if settings.SCALE == 1 else 3
INTEGERS = {"data_format": "value", "data_type": "integer", "name_override": "m"}  # refuses 21.5
FLOATS = {**INTEGERS, "data_type": "float"}


class DeadLetters(Scenario):
    def setUp(self):
        super().setUp()
        self.letters = self.directory / "dead-letters"
        self.broker = self.mosquitto()

    def configuration(self, influx, parser, spool="commit", **more):
        return agent_config(consumer(self.broker, ["plant/#", "raw/#"], **parser, alias="plant", client_id="letters", topic_tag="topic"),
                            {"influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b", "alias": "db"}]},
                            agent={"omit_hostname": True, "flush_interval": "50ms", "shutdown_timeout": "2s",
                                   "dead_letters": {"directory": str(self.letters)},
                                   "spool": {"sync": spool, "directory": str(self.directory / "spool"), "max_bytes": "64MiB"}}, **more)

    def write(self, configuration, name="mended.yaml"):
        path = self.directory / name
        path.write_text(json.dumps(configuration))
        return path

    def agent_with_letters(self, payloads, parser=INTEGERS, **how):
        """An agent on integers that was sent these payloads, one letter each, and the mended configuration's path."""
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx, parser, **how))
        publish(self.broker.port, ((f"plant/{n}", payload) for n, payload in enumerate(payloads)))
        agent.wait_settled(len(payloads))
        agent.wait_dead_letters(len(payloads))
        agent.wait_for(lambda: agent.figure("spool_undurable_records") == 0, "that all were taken is on disk, and known after a kill")
        return agent, influx, self.write(self.configuration(influx, FLOATS, **how))

    def deadletter(self, code, *arguments, **how):
        done = command("deadletter", *arguments, **how)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def listed(self, *arguments):
        return [json.loads(line) for line in self.deadletter(0, "list", "--directory", self.letters, "--json", *arguments).stdout.splitlines()]

    def wait_no_letters(self, agent, left=0):
        """The letters are gone, and what was handed over is in the database, or a letter again."""
        agent.wait_for(lambda: len(self.listed()) == left and not self.inbox() and agent.pending() == 0,
                       f"{left} letters, an empty inbox and an empty spool", 60)

    def inbox(self):
        return sorted((self.letters / "inbox").glob("*.jsonl"))


class Looking(DeadLetters):
    def test_list_and_show_tell_everything(self):
        agent, _, mended = self.agent_with_letters(["21.5", b"\x00\x01\xff\x1b[31m", "12.1 \x1b[2Jx"])
        letters = agent.dead_letters()
        done = self.deadletter(0, "list", "--config", agent.config_path)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertNotIn("\x1b", done.stdout)
        self.assertIn("3 dead letters", done.stderr)
        for line, letter, data in zip(lines, letters, ("21.5", "0x0001ff", "12.1 \\x1b[2Jx")):
            self.assertIn(letter["time"][:19], line)
            self.assertIn(letter["topic"], line)
            self.assertIn(f"  {letter['reason']} ", line)
            self.assertIn(data, line)
        self.assertEqual([{k: v for k, v in one.items() if k not in ("id", "handed_over")} for one in self.listed()], letters)
        for letter in letters:
            self.assertEqual((letter["stage"], letter["input"], letter["output"]), ("ingest", "plant", ""))
            self.assertTrue(letter["detail"])
        first, second, _ = (line.split()[0] for line in lines)
        shown = self.deadletter(0, "show", "--config", mended, first[:6]).stdout
        for words in (letters[0]["time"], "plant/0", letters[0]["detail"], "payload, 4 bytes:\n21.5\n", "with today's configuration:",
                      "input plant", "m,topic=plant/0 value=21.5 "):
            self.assertIn(words, shown)
        shown = self.deadletter(0, "show", "--config", mended, second).stdout
        self.assertIn("00000000  00 01 ff 1b 5b 33 31 6d", shown)
        self.assertIn("|....[31m|", shown)
        self.assertIn("a dead letter again: ", shown)
        self.assertNotIn("\x1b", shown)
        shown = json.loads(self.deadletter(0, "show", "--config", mended, "--json", first).stdout)
        self.assertEqual(shown["id"], first)
        self.assertEqual(shown["today"]["end"], "lines")
        self.assertTrue(shown["today"]["lines"].startswith("m,topic=plant/0 value=21.5 "))
        self.assertNotIn("today", json.loads(self.deadletter(0, "show", "--directory", self.letters, "--json", first).stdout))

    def test_a_line_says_what_the_server_answered(self):
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx, {"data_format": "influx"}))
        publish(self.broker.port, [("plant/a", "m v=1")])
        agent.wait_settled(1)
        publish(self.broker.port, [("plant/a", 'm v="text"')])
        letter = agent.wait_dead_letters(1)[0]
        self.assertEqual((letter["stage"], letter["input"], letter["output"], letter["reason"], letter["status"]),
                         ("delivery", "plant", "db", "type_conflict", 422))
        shown = self.deadletter(0, "show", "--config", agent.config_path, self.listed()[0]["id"]).stdout
        for words in ("field type conflict", "422", "output     db", "line, ", "the same line would be sent to output db again"):
            self.assertIn(words, shown)

    def test_filters(self):
        agent, _, _ = self.agent_with_letters(["1.5", "2.5", "3.5"])
        publish(self.broker.port, [("raw/x", "4.5")])
        agent.wait_dead_letters(4)
        moments = [letter["time"] for letter in agent.dead_letters()]
        for arguments, topics in (((), ["plant/0", "plant/1", "plant/2", "raw/x"]), (("--topic", "plant/+"), ["plant/0", "plant/1", "plant/2"]),
                                  (("--limit", "2"), ["plant/2", "raw/x"]), (("-t", "raw/#", "--limit=9"), ["raw/x"]), (("--input", "plant"), 4),
                                  (("--input", "other"), 0), (("--output", "db"), 0), (("--reason", "syntax"), 4), (("--reason", "type"), 0),
                                  (("--since", "1h"), 4), (("--since", "0s"), 0), (("--older-than", "1h"), 0), (("--older-than", "2000-01-01"), 0),
                                  (("--since", moments[3]), ["raw/x"]), (("--older-than", moments[1]), ["plant/0"])):
            with self.subTest(arguments=arguments):
                found = [letter["topic"] for letter in self.listed(*arguments)]
                self.assertEqual(len(found) if isinstance(topics, int) else found, topics)

    def test_wrong_usage_is_64_and_a_missing_letter_1(self):
        agent, _, mended = self.agent_with_letters(["1.5"])
        for arguments in ((), ("lst",), ("list", "--since", "soon"), ("list", "--topic", "a/#/b"), ("list", "--limit", "0"), ("list", "word"),
                          ("show",), ("show", "xyz"), ("show", "abc"), ("show", "1234", "5678"), ("replay",), ("replay", "--all", "1234"), ("purge",),
                          ("purge", "--all", "--since", "1h"), ("list", "--dry-run")):
            done = self.deadletter(64, *arguments, *(["--config", mended] if len(arguments) > 0 else []))
            self.assertIn("heliograf deadletter", done.stderr)
            self.assertEqual(done.stdout, "")
        for arguments in (("show", "0000"), ("replay", "00000000"), ("purge", "0000000000000000")):
            self.assertIn("there is no letter", self.deadletter(1, *arguments, "--config", mended).stderr)
        self.assertIn("/nonexistent", self.deadletter(1, "list", "--directory", "/nonexistent").stderr)
        self.assertIn("/nonexistent", self.deadletter(1, "purge", "--directory", "/nonexistent", "--all").stderr)
        self.deadletter(78, "replay", "--all", "--config", "/nonexistent.yaml")
        self.assertEqual(len(agent.dead_letters()), 1)

    def test_a_closed_pipe_ends_it_quietly(self):
        self.agent_with_letters(["1.5"] * 300)
        for arguments in (f"list --directory {self.letters}", f"list --json --directory {self.letters}"):
            done = subprocess.run(f"{settings.BINARY} deadletter {arguments} | head -n 1", shell=True, capture_output=True, text=True)
            self.assertEqual(len(done.stdout.splitlines()), 1)
            self.assertLessEqual(len(done.stderr.splitlines()), 1)  # the summary, when all fitted into the pipe

    def test_every_verb_has_help(self):
        self.assertIn("deadletter", command("help").stdout)
        own = command("help", "deadletter").stdout
        for verb in ("list", "show", "replay", "purge"):
            self.assertIn(f"deadletter {verb}", own)
            done = self.deadletter(0, verb, "--help")
            self.assertIn(f"usage: heliograf deadletter {verb}", done.stdout)
            self.assertEqual(command("help", "deadletter", verb).stdout, done.stdout)


class Replaying(DeadLetters):
    def test_a_letter_whose_cause_is_mended_becomes_a_point_of_its_time(self):
        payloads = [f"{n}.5" for n in range(50)]
        agent, influx, mended = self.agent_with_letters(payloads + ["nonsense"])
        times = {letter["topic"]: letter["time"] for letter in agent.dead_letters()}
        dry = self.deadletter(1, "replay", "--config", mended, "--all", "--dry-run")
        self.assertEqual(dry.stdout.count("\nm,topic="), 50)
        self.assertIn("nonsense", [letter["data"] for letter in self.listed()])
        self.assertEqual((len(self.listed()), self.inbox()), (51, []))
        done = self.deadletter(1, "replay", "--config", mended, "--all")  # the running agent still has the old configuration
        self.assertIn("handed over 50 letters; the agent takes them within 2 s", done.stderr)
        self.assertIn("plant/50  stays: ", done.stderr)
        agent.wait_for(lambda: influx.count("m") == 50, "50 points", 2 if settings.SCALE == 1 else 20)
        self.wait_no_letters(agent, left=1)
        for (_, _, tags, stamp), fields in influx.points.items():
            topic = dict(tags)["topic"]
            self.assertEqual(fields["value"], float(payloads[int(topic.removeprefix("plant/"))]))
            seconds, fraction = times[topic].removesuffix("Z").split(".")
            wanted = int(time.mktime(time.strptime(seconds + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone) * 10**9 + int(fraction)
            self.assertEqual(int(stamp), wanted)
        agent.wait_settled(51 + 50)
        self.assertEqual(agent.figure("dead_letters_replayed_total"), 50)
        self.assertEqual(agent.outcome("dead_lettered"), 51)
        self.assertEqual(agent.outcome("stored"), 50)
        done = self.deadletter(1, "replay", "--config", mended, "--all")
        self.assertIn("nothing was handed over", done.stderr)
        self.assertEqual(len(influx.points), 50)

    def test_single_letters_and_json(self):
        agent, influx, mended = self.agent_with_letters(["0.5", "1.5", "x", "3.5"])
        ids = {letter["topic"]: letter["id"] for letter in self.listed()}
        done = self.deadletter(1, "replay", "--config", mended, "--json", ids["plant/1"], ids["plant/2"][:8])
        results = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(set(results), {ids["plant/1"], ids["plant/2"]})
        self.assertEqual(results[ids["plant/1"]]["result"], "handed_over")
        self.assertEqual(results[ids["plant/2"]]["result"], "stays")
        self.assertTrue(results[ids["plant/2"]]["reason"])
        self.wait_no_letters(agent, left=3)
        self.assertEqual(influx.values("value"), [1.5])
        dry = [json.loads(line) for line in self.deadletter(0, "replay", "--config", mended, "--json", "--dry-run", ids["plant/3"]).stdout.splitlines()]
        self.assertTrue(dry[0]["lines"][0]["text"].startswith("m,topic=plant/3 value=3.5 "))

    def refused(self, influx, output, outputs):
        """An agent with a line that the server refused for its type."""
        configuration = self.configuration(influx, {"data_format": "influx"})
        configuration["outputs"] = outputs
        agent = self.heliograf(configuration)
        publish(self.broker.port, [("plant/a", "machines,m=first value=0.5 1795383000000000000")])
        agent.wait_settled(1)
        publish(self.broker.port, [("plant/b", f'machines,m={n} value="broken {n}" 1795383000000000000') for n in range(5)])
        agent.wait_settled(6)
        letters = agent.wait_dead_letters(5)
        self.assertEqual({letter["output"] for letter in letters}, {output})
        return agent

    def test_refused_lines_after_the_measurement_was_dropped(self):
        influx, db = self.shared_influxdb()
        agent = self.refused(influx, "influxdb", {"influxdb": [{"urls": [influx.url], "database": db}]})
        influx.query('DROP MEASUREMENT "machines"', db)
        done = self.deadletter(0, "replay", "--config", agent.config_path, "--output", "influxdb", "--reason", "type_conflict")
        self.assertIn("handed over 5 letters", done.stderr)
        self.wait_no_letters(agent)
        agent.wait_settled(11)
        self.assertEqual(influx.count(db, "machines"), 5)
        self.assertEqual(agent.outcome("stored"), 6)

    def test_refused_again_is_a_letter_again(self):
        influx = self.fake_influx(2)
        agent = self.refused(influx, "influxdb_v2", {"influxdb_v2": [{"urls": [influx.url], "organization": "o", "bucket": "b"}]})
        before = {letter["id"] for letter in self.listed()}
        self.deadletter(0, "replay", "--config", agent.config_path, "--all")
        agent.wait_for(lambda: len(self.listed()) == 5 and not before & {letter["id"] for letter in self.listed()}, "five new letters")
        agent.wait_settled(11)
        self.assertEqual(agent.outcome("dead_lettered"), 10)

    def test_only_the_output_that_refused_gets_the_line(self):
        influx, other = self.fake_influx(2), self.fake_influx(2)
        outputs = {"influxdb_v2": [{"urls": [server.url], "organization": "o", "bucket": "b", "alias": name}
                                   for name, server in (("first", influx), ("second", other))]}
        configuration = self.configuration(influx, {"data_format": "influx"})
        configuration["outputs"] = outputs
        influx.types["b", "m", "v"] = "integer"
        agent = self.heliograf(configuration)
        publish(self.broker.port, [("plant/a", "m v=1.5 1795383000000000000")])
        agent.wait_dead_letters(1)
        agent.wait_settled(1)
        influx.types.clear()
        writes = len(other.writes)
        self.deadletter(0, "replay", "--config", agent.config_path, "--all")
        self.wait_no_letters(agent)
        agent.wait_settled(2)
        self.assertEqual((influx.count(), len(other.writes)), (1, writes))
        self.assertEqual(agent.outcome("filtered", output="second"), 1)

    def test_what_cannot_be_replayed_says_why_and_stays(self):
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx, {"data_format": "json"}))
        publish(self.broker.port, [("plant/cut", "{" + " " * 300000), ("plant/text", '{"a": '), ("raw/x", '{"b": ')])
        agent.wait_dead_letters(3)
        gone = self.configuration(influx, {"data_format": "value", "data_type": "string"})
        gone["inputs"]["mqtt_consumer"][0].update(topics=["plant/#"], alias="renamed", namepass=["nothing"])
        done = self.deadletter(1, "replay", "--config", self.write(gone), "--all", "--json")
        reasons = {one["topic"]: one["reason"] for one in map(json.loads, done.stdout.splitlines())}
        self.assertIn("only the first 65536 of its 300001 bytes were kept", reasons["plant/cut"])
        self.assertIn("leaves nothing of it to be stored", reasons["plant/text"])
        self.assertIn("no input 'plant', and no other that subscribes", reasons["raw/x"])
        self.assertEqual(len(self.listed()), 3)
        self.assertIn("cannot be replayed: only the first", self.deadletter(
            0, "show", "--config", agent.config_path, [one["id"] for one in self.listed() if one["topic"] == "plant/cut"][0]).stdout)

    def test_without_an_agent_the_next_start_sends_them(self):
        agent, influx, mended = self.agent_with_letters(["0.5", "1.5"])
        agent.stop()
        done = self.deadletter(0, "replay", "--config", mended, "--all")
        self.assertIn(f"no agent runs on {self.letters}: they will be sent by the next one that starts on it", done.stderr)
        self.assertEqual([letter["handed_over"] for letter in self.listed()], [True, True])
        self.assertIn("[handed over]", self.deadletter(0, "list", "--directory", self.letters).stdout)
        again = self.deadletter(0, "replay", "--config", mended, "--all")
        self.assertIn("2 were handed over before", again.stderr)
        self.assertEqual(len(self.inbox()), 1)
        self.assertIn("2 letters are handed over for replay", self.deadletter(0, "purge", "--directory", self.letters, "--all").stderr)
        self.assertEqual(len(self.listed()), 2)
        agent.start()
        self.wait_no_letters(agent)
        agent.wait_settled(2)
        self.assertEqual(sorted(influx.values("value")), [0.5, 1.5])
        self.assertEqual(agent.figure("dead_letters_replayed_total"), 2)

    def test_a_spool_in_memory(self):
        agent, influx, mended = self.agent_with_letters(["0.5", "1.5"], spool="memory")
        influx.stop()
        self.deadletter(0, "replay", "--config", mended, "--all")
        agent.wait_for(lambda: agent.figure("dead_letters_replayed_total") == 2, "both in the spool")
        self.assertEqual(len(self.listed()), 2)  # what is in memory only is not safe
        agent.kill9()
        influx.start()
        agent.start()
        self.wait_no_letters(agent)
        self.assertEqual(sorted(influx.values("value")), [0.5, 1.5])

    def test_killed_between_hand_over_and_pick_up(self):
        agent, influx, mended = self.agent_with_letters([f"{n}.5" for n in range(200)])
        agent.signal(signal.SIGSTOP)
        self.deadletter(0, "replay", "--config", mended, "--all")
        self.assertEqual(len(self.inbox()), 1)
        agent.kill9()
        agent.start()
        self.wait_no_letters(agent)
        agent.wait_settled()
        self.assert_numbers(influx.values("value"), [n + 0.5 for n in range(200)])

    def test_killed_while_it_takes_them_nothing_is_lost(self):
        """Handed over while no agent runs, so that a start takes them at once; killed in that moment, again and again."""
        agent, influx, mended = self.agent_with_letters([f"{n}.5" for n in range(MANY)])
        chance, halfway = random.Random(11), 0
        influx.stop()
        for _ in range(KILLS):
            agent.kill9()
            self.deadletter(0, "replay", "--config", mended, "--all")
            Process.start(agent)
            time.sleep(chance.uniform(0.01, 0.15) * settings.PATIENCE)
            agent.kill9()
            waiting_lines = json.loads(command("spool", "status", "--directory", self.directory / "spool", "--json").stdout)["outputs"]
            halfway += bool(self.inbox()) and sum(output["lines"] for output in waiting_lines) > 0
            agent.start()
            if not self.listed() and not self.inbox():
                publish(self.broker.port, ((f"plant/{n}", f"{n}.5") for n in range(MANY)))  # more of the same
                agent.wait_dead_letters(MANY)
        influx.start()
        self.deadletter(0, "replay", "--config", mended, "--all")
        self.wait_no_letters(agent)
        agent.wait_settled(timeout=60)
        self.assert_numbers(influx.values("value"), [n + 0.5 for n in range(MANY)])
        print(f"# {2 * KILLS} kills, {halfway} of them between the spool and the inbox, {MANY} letters, 0 missing")

    @unittest.skipIf(os.geteuid() != 0, "only root can give files away")
    def test_what_root_hands_over_the_agents_user_may_take(self):
        agent, _, mended = self.agent_with_letters(["0.5", "1.5", "x"])
        agent.stop()
        for path in (self.letters, *self.letters.glob("*.jsonl")):
            os.chown(path, 65534, 65534)
        self.deadletter(1, "replay", "--config", mended, "--all")
        self.deadletter(0, "purge", "--config", mended, "--topic", "plant/2")
        for path in (self.letters / "inbox", *self.inbox(), *self.letters.glob("*.jsonl")):
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (65534, 65534), path)
        self.assertEqual(len(self.listed()), 2)

    def test_replays_beside_a_writer_and_beside_each_other(self):
        """Bad payloads come all the time, and three commands replay all the time: each becomes exactly one point."""
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx, INTEGERS))
        mended = self.write(self.configuration(influx, FLOATS))
        ending, codes = threading.Event(), []

        def keep_replaying():
            while not ending.is_set():
                codes.append(command("deadletter", "replay", "--config", mended, "--all").returncode)

        replayers = [threading.Thread(target=keep_replaying) for _ in range(3)]
        for thread in replayers:
            thread.start()
        publish(self.broker.port, ((f"plant/{n}", f"{n}.5") for n in range(MANY)), rate=MANY / 4)
        agent.wait_for(lambda: agent.figure("dead_letters_total") == MANY, "all payloads as letters")
        ending.set()
        for thread in replayers:
            thread.join()
        self.assertEqual(set(codes), {0})
        self.deadletter(0, "replay", "--config", mended, "--all")
        self.wait_no_letters(agent)
        agent.wait_settled(2 * MANY)
        self.assert_numbers(influx.values("value"), [n + 0.5 for n in range(MANY)])
        self.assertEqual(agent.figure("dead_letters_replayed_total"), MANY)
        self.assertEqual(agent.received(), 2 * MANY)

    def test_a_torn_inbox_file_is_set_aside_and_its_letters_stay(self):
        agent, influx, mended = self.agent_with_letters(["0.5", "1.5", "2.5"])
        agent.stop()
        self.deadletter(0, "replay", "--config", mended, "--all")
        torn = self.inbox()[0]
        os.truncate(torn, torn.stat().st_size - 40)
        agent.start()
        self.assertIn("checksum", agent.wait_log("INBOX-DAMAGED"))
        self.assertTrue(torn.with_suffix(".bad").exists())
        self.assertEqual(len(self.listed()), 3)
        self.assertEqual(influx.count(), 0)
        self.deadletter(0, "replay", "--config", mended, "--all")
        self.wait_no_letters(agent)
        self.assertEqual(sorted(influx.values("value")), [0.5, 1.5, 2.5])

    def test_an_output_that_the_agent_does_not_have_waits_for_one_that_has(self):
        agent, influx, _ = self.agent_with_letters(["0.5"])
        renamed = self.configuration(influx, FLOATS)
        renamed["outputs"]["influxdb_v2"][0]["alias"] = "renamed"
        self.deadletter(0, "replay", "--config", self.write(renamed), "--all")
        self.assertIn("'renamed'", agent.wait_log("INBOX-WAITS"))
        self.assertEqual(len(self.listed()), 1)
        agent.stop()
        next_agent = self.heliograf(renamed, name="next")
        self.wait_no_letters(next_agent)
        self.assertEqual(influx.values("value"), [0.5])

    def test_another_agent_may_not_have_the_same_directory(self):
        agent, influx, _ = self.agent_with_letters(["0.5"])
        second = self.configuration(influx, FLOATS)
        second["agent"]["spool"]["directory"] = str(self.directory / "spool-2")
        second = self.new_heliograf(second, name="second")
        self.agents.remove(second)
        with self.assertRaises(AssertionError):
            second.start(ready=False)
        self.assertIn(f"{self.letters} is in use by another heliograf", second.log())
        agent.assert_identity()


class Purging(DeadLetters):
    def test_purge_while_running(self):
        agent, influx, mended = self.agent_with_letters([f"{n}.5" for n in range(100)])
        ids = [letter["id"] for letter in self.listed()]
        self.assertIn("100 letters would be purged", self.deadletter(0, "purge", "--config", mended, "--all", "--dry-run").stderr)
        self.assertIn("nothing to purge", self.deadletter(0, "purge", "--config", mended, "--older-than", "7d").stderr)
        self.assertIn("purged 2 letters", self.deadletter(0, "purge", "--config", mended, ids[3], ids[99]).stderr)
        self.assertEqual([letter["id"] for letter in self.listed()], [one for n, one in enumerate(ids) if n not in (3, 99)])
        self.assertIn("purged 1 letter\n", self.deadletter(0, "purge", "--config", mended, "--topic", "plant/7").stderr)
        with_writer = threading.Thread(target=publish, args=(self.broker.port, [(f"raw/{n}", "0.5") for n in range(500)]), kwargs={"rate": 500})
        with_writer.start()
        self.assertIn("purged 97 letters", self.deadletter(0, "purge", "--config", mended, "--topic", "plant/#").stderr)
        with_writer.join()
        agent.wait_for(lambda: len(self.listed()) == 500, "the letters that came meanwhile")
        self.assertEqual(agent.figure("dead_letters_purged_total"), 100)
        agent.wait_settled(600)
        self.assertEqual(influx.count(), 0)
        self.assertNotIn("plant/", "".join(path.read_text() for path in self.letters.glob("*.jsonl")))

    def test_purge_on_a_stopped_agents_directory(self):
        agent, _, _ = self.agent_with_letters([f"{n}.5" for n in range(10)])
        agent.stop()
        moved = self.directory / "moved"
        shutil.copytree(self.letters, moved)
        self.assertIn("purged 9 letters", self.deadletter(0, "purge", "--directory", moved, "--since", "1h", "--topic", "plant/+",
                                                           "--older-than", self.listed()[9]["time"]).stderr)
        left = [json.loads(line) for line in self.deadletter(0, "list", "--directory", moved, "--json").stdout.splitlines()]
        self.assertEqual([letter["topic"] for letter in left], ["plant/9"])
        self.assertIn("purged 1 letter\n", self.deadletter(0, "purge", "--directory", moved, "--all").stderr)
        self.assertEqual(list(moved.glob("dead-letters-*")), [])
        self.assertEqual(len(self.listed()), 10)
        agent.start()


class FullDisk(DeadLetters):
    def setUp(self):
        super().setUp()
        self.letters.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(self.letters)], capture_output=True).returncode != 0:
            self.skipTest("mounting a tmpfs is not permitted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.letters)])

    def fill(self):
        with open(self.letters / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass

    def test_nothing_is_lost_and_everything_is_said(self):
        agent, influx, mended = self.agent_with_letters([f"{n}.5" for n in range(50)])
        self.fill()
        done = self.deadletter(1, "replay", "--config", mended, "--all")
        self.assertIn("No space left on device", done.stderr)
        self.assertIn("nothing was handed over", done.stderr)
        self.assertIn("No space left on device", self.deadletter(1, "purge", "--config", mended, "--topic", "plant/1").stderr)
        self.assertEqual((len(self.listed()), self.inbox()), (50, []))
        (self.letters / "filler").unlink()
        agent.signal(signal.SIGSTOP)
        self.deadletter(0, "replay", "--config", mended, "--topic", "plant/1")
        self.fill()
        agent.signal(signal.SIGCONT)
        agent.wait_log("INBOX-STUCK")  # it is sent; the ring's file cannot be written anew
        self.assertEqual(len(self.listed()), 50)
        (self.letters / "filler").unlink()
        self.wait_no_letters(agent, left=49)
        agent.wait_settled(51)
        self.assertEqual(influx.values("value"), [1.5])
        agent.stop()
        self.fill()
        self.assertIn("purged 49 letters", self.deadletter(0, "purge", "--directory", self.letters, "--all").stderr)  # needs no room
        (self.letters / "filler").unlink()
        waiting.until(lambda: self.listed() == [], "no letters")
