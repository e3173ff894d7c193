"""`heliograf spool`: beside a running agent, which it does not disturb, and on the directory of a stopped one."""
import json
import re
import shutil
import subprocess
import threading

from tests.support import line_protocol, settings
from tests.support.heliograf import command
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer

MANY = 20000 if settings.SCALE == 1 else 2000


class SpoolCommands(Scenario):
    def setUp(self):
        super().setUp()
        self.spool = self.directory / "spool"
        self.broker = self.mosquitto()

    def configuration(self, influx, other=None, **spool):
        outputs = [{"urls": [influx.url], "organization": "o", "bucket": "b", "alias": "db", "timeout": "1s"}]
        if other is not None:
            outputs.append({"urls": [other.url], "organization": "o", "bucket": "b", "alias": "archive"})
        return agent_config(consumer(self.broker, "t/#", **VALUE, name_override="m", client_id="spool"), {"influxdb_v2": outputs},
                            agent={"omit_hostname": True, "flush_interval": "50ms", "shutdown_timeout": "1s",
                                   "dead_letters": {"directory": str(self.directory / "dead-letters")},
                                   "spool": {"sync": "commit", "directory": str(self.spool), "max_bytes": "64MiB", **spool}})

    def agent_with_backlog(self, count, other=None):
        """An agent whose output `db` is away, with `count` messages waiting for it."""
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx, other))
        influx.stop()
        publish(self.broker.port, ((f"t/{n % 7}", str(n)) for n in range(count)))
        agent.wait_received(count)
        agent.wait_for(lambda: agent.figure("spool_undurable_records") == 0, "all of it is on disk")
        return agent, influx

    def run_spool(self, code, *arguments, **how):
        done = command("spool", *arguments, **how)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout[:2000]}\n{done.stderr}")
        return done

    def status(self, *arguments):
        return json.loads(self.run_spool(0, "status", "--directory", self.spool, "--json", *arguments).stdout)

    def waiting(self, name="db"):
        return {output["name"]: output["messages"] for output in self.status()["outputs"]}.get(name)

    def segments(self):
        return [json.loads(line) for line in self.run_spool(0, "list", "--directory", self.spool, "--json").stdout.splitlines()]

    def exported(self, *arguments, code=0, directory=None):
        lines = self.run_spool(code, "export", "--directory", directory or self.spool, *arguments).stdout.splitlines()
        parsed = [line_protocol.parse_line(line) for line in lines]
        return [fields["value"][1] for _, _, fields, _ in parsed]

    def test_status_list_and_export_beside_an_agent_and_after_it(self):
        other = self.fake_influx(2)
        agent, influx = self.agent_with_backlog(MANY, other)
        agent.wait_for(lambda: self.waiting() == MANY and self.waiting("archive") == 0, "the figures of the checkpoint")
        words = self.run_spool(0, "status", "--config", agent.config_path).stdout
        self.assertIn(f"directory  {self.spool}\nagent      running", words)
        self.assertIn(f"output     db: {MANY} messages wait, {MANY} lines, ", words)
        self.assertIn("output     archive: nothing waits\n", words)
        self.assertIn("damage     none\n", words)
        segments = self.segments()
        self.assertEqual(sum(segment["records"] for segment in segments), MANY)
        self.assertEqual((segments[0]["first_sequence"], segments[-1]["state"]), (1, "open"))
        self.assertEqual({tuple(segment["pending_outputs"]) for segment in segments}, {("db",)})
        self.assertEqual(self.exported(), list(map(float, range(MANY))))
        self.assertEqual(self.exported("--pending-only", "--output", "db"), list(map(float, range(MANY))))
        self.assertEqual(self.exported("--since", "1h", "--until", "0s"), list(map(float, range(MANY))))
        self.assertEqual(self.exported("--until", "1h"), [])
        self.assertEqual(self.exported("--pending-only", "--output", "archive"), [])
        self.assertIn(f"{MANY} records in", self.run_spool(0, "verify", "--config", agent.config_path).stdout)
        agent.assert_identity()
        agent.stop()
        moved = self.directory / "moved"
        shutil.move(self.spool, moved)
        self.assertIn("not running", self.run_spool(0, "status", "--directory", moved).stdout)
        self.assertEqual(self.exported(directory=moved), list(map(float, range(MANY))))
        self.assertFalse(json.loads(self.run_spool(0, "verify", "--directory", moved, "--json").stdout)["damaged"])
        shutil.move(moved, self.spool)
        influx.start()
        agent.start()
        agent.wait_settled(MANY)
        self.assert_numbers(influx.values("value"), range(MANY))
        agent.wait_for(lambda: self.waiting() == 0, "nothing to wait")

    def test_influxdb_reads_what_is_exported(self):
        agent, _ = self.agent_with_backlog(1000)
        agent.wait_for(lambda: len(self.exported()) == 1000, "all of it on disk")
        agent.kill9()
        server, db = self.shared_influxdb()
        server.create(db)
        text = self.run_spool(0, "export", "--directory", self.spool).stdout
        request = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", f"{server.url}/write?db={db}&precision=ns"],
                                 input=text, capture_output=True, text=True)
        self.assertEqual(request.stdout, "204")
        self.assertEqual(server.count(db, "m"), 1000)
        agent.start()

    def test_beside_a_writer_it_sees_no_holes_and_no_damage(self):
        influx = self.fake_influx(2)
        agent = self.heliograf(self.configuration(influx))
        influx.stop()
        before = 0
        with SteadyPublisher(self.broker.port, lambda n: (f"t/{n % 7}", str(n)), rate=4000 if settings.SCALE == 1 else 400) as steady:
            for _ in range(15):
                agent.wait_received(before + 100)
                values = self.exported("--pending-only")
                self.assertEqual(values, list(map(float, range(len(values)))))
                self.assertGreaterEqual(len(values), before)
                before = len(values)
                self.run_spool(0, "verify", "--directory", self.spool)
            sent = steady.stop()
        agent.wait_for(lambda: len(self.exported()) == sent, "all of it on disk")
        influx.start()
        agent.wait_settled(sent)

    def test_looking_is_in_nobodys_way(self):
        """The lock is tried all the time, and no start fails for it."""
        influx, ending, codes = self.fake_influx(2), threading.Event(), []
        agent = self.heliograf(self.configuration(influx))

        def keep_looking():
            while not ending.is_set():
                codes.append(command("spool", "status", "--directory", self.spool).returncode)
                codes.append(command("deadletter", "replay", "--all", "--config", agent.config_path).returncode)

        lookers = [threading.Thread(target=keep_looking) for _ in range(2)]
        for looker in lookers:
            looker.start()
        for _ in range(8):
            agent.stop()
            agent.start()
        ending.set()
        for looker in lookers:
            looker.join()
        self.assertEqual(set(codes), {0})

    def test_damage_is_named_and_passed_over(self):
        agent, influx = self.agent_with_backlog(MANY - 100)
        publish(self.broker.port, ((f"t/{n % 7}", str(n)) for n in range(MANY - 100, MANY)))  # so that something stands behind it
        agent.wait_for(lambda: self.waiting() == MANY, "all of it on disk")
        agent.kill9()
        number = self.segments()[0]["number"]
        path = self.spool / f"{number:020}.seg"
        broken = 8 * 4096
        with open(path, "r+b") as segment:
            segment.seek(broken)
            segment.write(b"broken" * 2048)  # three pages: not only what pads a frame
        done = self.run_spool(1, "verify", "--directory", self.spool)
        place = re.search(rf"damaged    {number:020}.seg  bytes (\d+) to (\d+)\n", done.stdout)
        self.assertTrue(int(place[1]) <= broken < int(place[2]), done.stdout)
        told = re.search(r"lost +at least (\d+) records", done.stdout)  # not of what stood before the first good frame
        lost = int(told[1]) if told else 0
        verdict = json.loads(self.run_spool(1, "verify", "--directory", self.spool, "--json").stdout)
        self.assertEqual((verdict["damaged"], verdict["lost_records"], len(verdict["ranges"])), (True, lost, 1))
        self.assertIn("heliograf spool verify", self.run_spool(0, "status", "--directory", self.spool).stdout)
        values = self.exported(code=1)
        self.assertTrue(100 <= len(values) <= MANY - lost, f"{len(values)} values, {lost} lost")
        self.assertEqual(values, sorted(set(values)))
        self.assertEqual(self.waiting(), len(values))
        influx.start()
        agent.start()
        self.assertIn(f"{lost} records are gone", agent.wait_log("SPOOL-DAMAGED"))
        agent.wait_settled()
        self.assertEqual(sorted(influx.values("value")), values)

    def test_drop(self):
        other = self.fake_influx(2)
        agent, influx = self.agent_with_backlog(500, other)
        agent.wait_for(lambda: self.waiting("archive") == 0, "the archive to have all")
        other.stop()
        publish(self.broker.port, ((f"t/{n % 7}", str(n)) for n in range(500, 800)))
        agent.wait_received(800)
        done = self.run_spool(1, "drop", "--config", agent.config_path, "--yes")
        self.assertIn(f"an agent is running on {self.spool}", done.stderr)
        self.assertIn("stop it first", done.stderr)
        agent.stop()
        self.assertIn("--yes", self.run_spool(64, "drop", "--directory", self.spool).stderr)
        self.assertIn("db, archive", self.run_spool(1, "drop", "--directory", self.spool, "--output", "nobody", "--yes").stderr)
        self.assertIn("nothing to drop", self.run_spool(0, "drop", "--directory", self.spool, "--before", "1h", "--yes").stderr)
        done = self.run_spool(0, "drop", "--directory", self.spool, "--output", "db", "--yes")
        self.assertIn("dropped 800 messages, 800 lines, for output db\n", done.stderr)
        self.assertEqual((self.waiting("db"), self.waiting("archive")), (0, 300))
        self.assertEqual(self.exported("--pending-only"), list(map(float, range(500, 800))))
        influx.start()
        other.start()
        agent.start()
        publish(self.broker.port, [("t/1", "9000")])
        agent.wait_settled(301)
        self.assertEqual(influx.values("value"), [9000.0])
        self.assert_numbers(other.values("value"), [*range(800), 9000])
        agent.stop()
        self.assertIn("nothing to drop", self.run_spool(0, "drop", "--directory", self.spool, "--yes").stderr)

    def test_drop_all_leaves_an_empty_spool_that_works(self):
        agent, influx = self.agent_with_backlog(300)
        agent.kill9()
        waiting = self.waiting()
        self.assertIn(f"dropped {waiting} messages", self.run_spool(0, "drop", "--directory", self.spool, "--yes").stderr)
        self.assertEqual((self.segments(), self.exported()), ([], []))
        influx.start()
        agent.start()
        publish(self.broker.port, ((f"t/{n}", str(n)) for n in range(1000, 1050)))
        agent.wait_for(lambda: set(influx.values("value")) >= set(map(float, range(1000, 1050))), "what came after")
        agent.wait_settled()

    def test_a_closed_pipe_ends_it_quietly(self):
        agent, _ = self.agent_with_backlog(MANY)
        agent.wait_for(lambda: self.waiting() == MANY, "all of it on disk")
        done = subprocess.run(f"{settings.BINARY} spool export --directory {self.spool} | head -n 1", shell=True, capture_output=True, text=True)
        self.assertEqual((len(done.stdout.splitlines()), done.stderr), (1, ""))
        done = subprocess.run(f"trap '' PIPE; {settings.BINARY} spool export --directory {self.spool} | head -n 1", shell=True,
                              capture_output=True, text=True)
        self.assertEqual((len(done.stdout.splitlines()), done.stderr), (1, ""))
        done = subprocess.run(f"{settings.BINARY} spool export --directory {self.spool} > /dev/full", shell=True, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write", done.stderr)

    def test_wrong_usage_and_what_is_not_there(self):
        influx = self.fake_influx(2)
        path = self.directory / "memory.yaml"
        path.write_text(json.dumps(self.configuration(influx, sync="memory")))
        for arguments in ((), ("stauts",), ("status", "word"), ("export", "--since", "soon"), ("drop", "--before", "soon", "--yes"), ("verify", "--all")):
            done = self.run_spool(64, *arguments)
            self.assertIn("heliograf spool", done.stderr)
            self.assertEqual(done.stdout, "")
        self.run_spool(78, "status", "--config", "/nonexistent.yaml")
        for verb in ("status", "list", "export", "verify"):
            self.assertIn("in memory", self.run_spool(1, verb, "--config", path).stderr)
            self.assertIn("/nonexistent", self.run_spool(1, verb, "--directory", "/nonexistent").stderr)
        self.assertIn("/nonexistent", self.run_spool(1, "drop", "--directory", "/nonexistent", "--yes").stderr)
        self.spool.mkdir()
        self.assertEqual(self.status()["segments"], 0)
        self.assertEqual((self.segments(), self.exported()), ([], []))
        self.assertEqual(list(self.spool.iterdir()), [])  # looking leaves nothing behind
        self.run_spool(0, "verify", "--directory", self.spool)

    def test_every_verb_has_help(self):
        self.assertIn("spool", command("help").stdout)
        own = command("help", "spool").stdout
        for verb in ("status", "list", "export", "verify", "drop"):
            self.assertIn(f"spool {verb}", own)
            done = self.run_spool(0, verb, "--help")
            self.assertIn(f"usage: heliograf spool {verb}", done.stdout)
            self.assertEqual(command("help", "spool", verb).stdout, done.stdout)
