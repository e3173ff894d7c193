"""How fast a backlog is sent: the configured rates, the share of fresh points, a server that becomes slow, and the same bytes again."""
import time

from tests.support import settings
from tests.support.fake_influx import Answer
from tests.support.publisher import SteadyPublisher, publish
from tests.support.scenario import VALUE, Scenario, agent_config, consumer, requires_scale


JITTER_S = 0.3 * settings.PATIENCE  # a request may arrive late, and the next one not


def worst_excess(writes, per_second, size):
    """
    The largest part of what was allowed that arrived in any stretch of time, between the first and the last byte of any two requests:
    a bucket of one second's worth and what flows into it meanwhile. 1.0 is exactly all of it.
    """
    worst = 0.0
    for first in range(len(writes)):
        sent = 0
        for last in range(first, len(writes)):
            sent += size(writes[last])
            worst = max(worst, sent / (per_second * (1 + JITTER_S + writes[last].at - writes[first].at)))
    return worst


class RateLimits(Scenario):
    def setUp(self):
        super().setUp()
        self.broker, self.influx = self.mosquitto(), self.fake_influx(2)

    def start(self, spool=None, senders=2, **options):
        self.agent = self.heliograf(agent_config(
            consumer(self.broker, "t/#", **VALUE, client_id="rates"),
            {"influxdb_v2": [{"urls": [self.influx.url], "organization": "o", "bucket": "b", "concurrent_writes": senders, **options}]},
            agent={"omit_hostname": True, "flush_interval": "100ms", "shutdown_timeout": "1s",
                   "dead_letters": {"directory": str(self.directory / "dead-letters")},
                   "spool": {"sync": "commit", "directory": str(self.directory / "spool"), "max_bytes": "64MiB", **(spool or {})}}))

    def backlog(self, count):
        """The server is away while so many arrive."""
        self.influx.stop()
        publish(self.broker.port, ((f"t/{n % 50}", str(n)) for n in range(count)))
        self.agent.wait_received(count)

    def assert_all(self, count):
        self.agent.wait_settled(count, timeout=60)
        self.assert_numbers(self.influx.values("value"), range(count))
        self.assertEqual(self.influx.bad_bodies, [])

    def drain(self, count):
        """Seconds from the first arrival to the last."""
        self.influx.start()
        self.agent.wait_for(lambda: self.agent.pending() == 0, "the backlog to drain", 60)
        self.assert_all(count)
        return self.influx.writes[-1].at - self.influx.writes[0].at

    def test_points_per_second_are_bounded(self):
        count, limit = 6000, 2000
        self.start(rate_limit_points=limit)
        self.backlog(count)
        seconds = self.drain(count)
        self.assertLess(worst_excess(self.influx.writes, limit, lambda write: write.lines), 1.0)
        self.assertGreater(seconds, (count - limit) / limit * 0.9)
        self.assertLess(seconds, ((count - limit) / limit + 2) * settings.PATIENCE)  # bounded, and used
        self.assertGreater(self.agent.figure("output_throttled_seconds_total", reason="rate_limit"), 1)
        self.assertEqual(self.agent.figure("output_rate_limit_points"), limit)

    def test_bytes_per_period_are_bounded(self):
        count = 6000
        self.start(rate_limit="1MB", rate_limit_period="10s")
        self.backlog(count)
        self.drain(count)
        size = sum(len(write.body) for write in self.influx.writes)
        self.assertGreater(size, 200_000)
        self.assertLess(worst_excess(self.influx.writes, 100_000, lambda write: len(write.body)), 1.0)
        self.assertGreater(self.influx.writes[-1].at - self.influx.writes[0].at, (size / 100_000 - 1) * 0.9)
        self.assertEqual(self.agent.figure("output_rate_limit_bytes"), 100_000)

    def test_retries_count_as_well(self):
        count, limit = 3000, 1000
        self.start(rate_limit_points=limit)
        self.backlog(count)
        self.influx.script += [Answer(503)] * 2 + [Answer(500)]
        self.drain(count)
        self.assertLess(worst_excess(self.influx.writes, limit, lambda write: write.lines), 1.0)
        self.assertGreater(sum(write.lines for write in self.influx.writes), count)

    def test_an_output_without_a_limit_is_not_slowed_by_one_that_has_one(self):
        other = self.fake_influx(2)
        self.agent = self.heliograf(agent_config(consumer(self.broker, "t/#", **VALUE), {"influxdb_v2": [
            {"urls": [self.influx.url], "organization": "o", "bucket": "b", "alias": "slow", "rate_limit_points": 100},
            {"urls": [other.url], "organization": "o", "bucket": "b", "alias": "free"}]},
            agent={"omit_hostname": True, "flush_interval": "100ms", "shutdown_timeout": "1s", "spool": {"sync": "memory"},
                   "dead_letters": {"directory": str(self.directory / "dead-letters")}}))
        publish(self.broker.port, ((f"t/{n % 50}", str(n)) for n in range(1000)))
        self.agent.wait_for(lambda: self.agent.outcome("stored", output="free") == 1000, "all stored where no limit is")
        self.assertLess(self.agent.outcome("stored", output="slow"), 1000)
        self.agent.assert_identity()
        self.agent.stop(expect=None)

    def restart_with_backlog(self, count, **options):
        """An agent whose backlog stands on disk, so that it is not what is fresh."""
        self.start(spool={"order": "live_first"}, **options)
        self.backlog(count)
        self.agent.kill9()
        self.influx.start()
        self.agent.start()

    @requires_scale
    def test_fresh_points_below_the_limit_do_not_wait_for_the_backlog(self):
        backlog, limit, rate = 6000, 1000, 300
        self.restart_with_backlog(backlog, rate_limit_points=limit)
        started = {}

        def make(n):
            started[n] = time.monotonic()
            return "t/live", str(backlog + n)
        with SteadyPublisher(self.broker.port, make, rate=rate, batch=10) as steady:
            self.agent.wait_for(lambda: self.agent.pending() < rate, "the backlog to drain", 60)
            live = steady.stop()
        self.assert_all(backlog + live)
        self.assertLess(worst_excess(self.influx.writes, limit, lambda write: write.lines), 1.0)
        delays, drained = [], 0.0
        for write in self.influx.writes:
            values = [int(float(line.rsplit(b" ", 1)[0].rsplit(b"=", 1)[1])) for line in write.body.splitlines()]
            delays += [write.at - started[n - backlog] for n in values if n >= backlog]
            drained = write.at if any(n < backlog for n in values) else drained
        delays.sort()
        self.assertLess(delays[len(delays) * 95 // 100], 1.0 * settings.PATIENCE)  # half a second's worth of tokens, a flush interval
        # What the fresh points leave is the backlog's: the limit is used up.
        seconds = drained - self.influx.writes[0].at
        self.assertLess(seconds, backlog / (limit - rate) * 1.3)
        print(f"# live_first under a limit: {live} fresh points, 95 % within {delays[len(delays) * 95 // 100]:.2f} s; backlog of {backlog} in {seconds:.1f} s")

    @requires_scale
    def test_the_share_holds_under_a_limit(self):
        backlog, limit = 4000, 1000
        self.restart_with_backlog(backlog, rate_limit_points=limit)
        with SteadyPublisher(self.broker.port, lambda n: ("t/live", str(backlog + n)), rate=2500):
            self.agent.wait_for(lambda: sum(write.lines for write in self.influx.writes) > 8 * limit, "eight seconds' worth", 40)
        values = [int(float(line.rsplit(b" ", 1)[0].rsplit(b"=", 1)[1])) for write in self.influx.writes for line in write.body.splitlines()]
        values = values[2 * limit:]  # before the fresh points began to wait, too, everything was the backlog's
        share = sum(n >= backlog for n in values) / len(values)
        self.assertGreater(share, 0.7)
        self.assertLess(share, 0.9)
        self.agent.assert_identity()
        self.agent.stop(expect=None)

    @requires_scale
    def test_a_server_that_becomes_slow_gets_less_of_the_backlog(self):
        count = 30_000
        self.start(senders=4, metric_batch_size=100)
        self.influx.delay = 0.03
        publish(self.broker.port, ((f"t/{n % 50}", str(n)) for n in range(count)))
        self.agent.wait_for(lambda: len(self.influx.writes) > 60, "what is usual")
        self.influx.delay = 1.0
        self.assertIn("sent more slowly", self.agent.wait_log("OUTPUT-SLOW"))
        self.assertEqual(self.agent.figure("output_senders"), 1)
        self.assertLess(self.agent.figure("output_latency_limit"), 1)
        self.influx.delay = 0.0
        self.agent.wait_log("OUTPUT-QUICK")
        self.assert_all(count)
        self.assertEqual(self.agent.figure("output_senders"), 4)
        self.assertGreater(self.agent.figure("output_throttled_seconds_total", reason="latency"), 0)

    def test_a_restart_sends_the_same_lines_again(self):
        """The stamp is the arrival's, so a second copy of what the first run has sent already, unanswered, is the same point."""
        count = 300
        self.start(senders=1)
        self.influx.script += [Answer(503)] * 1000
        publish(self.broker.port, ((f"t/{n % 50}", str(n)) for n in range(count)))
        self.agent.wait_received(count)
        self.agent.wait_for(lambda: len(self.influx.writes) >= 3, "retries")
        self.agent.kill9()
        refused = list(self.influx.writes)
        for before, after in zip(refused, refused[1:]):
            self.assertEqual(before.body, after.body)  # one sender: the same request again and again
        self.influx.script.clear()
        self.agent.start()
        self.assert_all(count)
        again = b"".join(write.body for write in self.influx.writes[len(refused):])
        self.assertTrue(again.startswith(refused[0].body))  # the same lines in the same order; how they are cut into requests may differ
        self.assertEqual(self.influx.count(), count)


if __name__ == "__main__":
    import unittest
    unittest.main()
