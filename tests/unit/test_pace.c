/*
 * tests/unit/test_pace.c: when requests start, against simulated servers under a simulated clock. Senders that always have a full
 * batch of backlog in hand start requests whenever the pace allows; a server is a function from the moment and the number of running
 * requests to an answer. Hours pass in milliseconds, and every run is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/delivery/pace.h"

enum { SENDERS_MOST = 16, LINES = 5000, BYTES = 500000, LIVE_BYTES = 2000 };

struct sim;
struct answer {
    int64_t after_ns;
    int status; /* 204, 429, 503; 0: none, as after a timeout */
    int64_t retry_after_ns;
};
typedef struct answer (*answering)(struct sim *sim, unsigned running, uint64_t bytes);

struct flight {
    bool busy;
    int64_t began_ns, ends_ns;
    struct pace_request request;
    struct answer answer;
};

struct sim {
    struct pace pace;
    answering server;
    unsigned senders;
    int64_t now_ns;
    uint64_t random;
    struct flight flights[SENDERS_MOST];
    int64_t slow_from_ns, slow_until_ns; /* for servers that have a bad time */
    int64_t window_ns;                   /* of a server with a quota */
    unsigned window_count;
    int64_t live_every_ns, live_due_ns; /* 0: no fresh points. Sender 0 is theirs then */
    bool quiet;                         /* no backlog */
    /* Since the last reset. */
    unsigned requests, stored, refused, early; /* early: began before a Retry-After was over */
    int64_t running_ns;                        /* sum over requests */
    int64_t live_worst_ns;                     /* from due to begun */
    int64_t wished_ns;                         /* no request before this */
    int64_t reset_ns;
};

static void sim_begin(struct sim *sim, answering server, unsigned senders) {
    const struct pace_options options = { .senders = senders };

    *sim = (struct sim){ .server = server, .senders = senders, .now_ns = 1000 * NS_PER_S, .random = 88172645463325252ULL };
    sim->reset_ns = sim->now_ns;
    pace_init(&sim->pace, &options, sim->now_ns);
}

static uint64_t sim_random(struct sim *sim) {
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return sim->random;
}

static void sim_reset(struct sim *sim) {
    sim->requests = sim->stored = sim->refused = sim->early = 0;
    sim->running_ns = sim->live_worst_ns = 0;
    sim->reset_ns = sim->now_ns;
}

static void begin(struct sim *sim, struct flight *flight, bool live) {
    flight->busy = true;
    flight->began_ns = sim->now_ns;
    pace_begin(&sim->pace, &flight->request);
    flight->answer = sim->server(sim, sim->pace.in_flight, flight->request.body_bytes);
    flight->ends_ns = sim->now_ns + flight->answer.after_ns;
    sim->requests++;
    sim->early += sim->now_ns < sim->wished_ns;
    if (!live)
        return;
    if (sim->now_ns - sim->live_due_ns > sim->live_worst_ns)
        sim->live_worst_ns = sim->now_ns - sim->live_due_ns;
    sim->live_due_ns = sim->now_ns + sim->live_every_ns;
}

static void end(struct sim *sim, struct flight *flight) {
    const struct answer *answer = &flight->answer;
    struct reply reply = {
        .outcome = answer->status == 204 ? DELIVERED : RETRY_LATER,
        .status = answer->status,
        .retry_after_ns = answer->retry_after_ns,
        .duration_ns = answer->after_ns,
    };

    flight->busy = false;
    sim->running_ns += answer->after_ns;
    sim->stored += answer->status == 204;
    sim->refused += answer->status != 204;
    if (answer->retry_after_ns > 0)
        sim->wished_ns = sim->now_ns + answer->retry_after_ns;
    pace_end(&sim->pace, &flight->request, &reply, flight->began_ns, false, INT64_MAX, sim_random(sim), sim->now_ns);
}

/* Whoever may start does; the result is when to look again. */
static int64_t start_all(struct sim *sim) {
    int64_t again_ns = INT64_MAX;

    for (unsigned i = 0; i < sim->senders; i++) {
        struct flight *flight = &sim->flights[i];
        bool live = i == 0 && sim->live_every_ns > 0;
        if (flight->busy || (sim->quiet && !live))
            continue;
        if (live && sim->now_ns < sim->live_due_ns) {
            again_ns = sim->live_due_ns < again_ns ? sim->live_due_ns : again_ns;
            continue;
        }
        flight->request = live ? (struct pace_request){ .lines = 20, .bytes = LIVE_BYTES, .body_bytes = LIVE_BYTES }
                               : (struct pace_request){ .lines = LINES, .bytes = BYTES, .body_bytes = BYTES, .backlog = true };
        struct pace_wait wait = pace_ready(&sim->pace, &flight->request, false, sim->now_ns);
        if (wait.reason == PACE_FREE)
            begin(sim, flight, live);
        else if (wait.until_ns < again_ns)
            again_ns = wait.until_ns;
    }
    return again_ns;
}

static void run(struct sim *sim, int64_t duration_ns) {
    int64_t until_ns = sim->now_ns + duration_ns;

    for (;;) {
        int64_t next_ns = start_all(sim);
        for (unsigned i = 0; i < sim->senders; i++)
            if (sim->flights[i].busy && sim->flights[i].ends_ns < next_ns)
                next_ns = sim->flights[i].ends_ns;
        assert_true(next_ns > sim->now_ns || sim->pace.in_flight > 0); /* whoever waits as told is not sent away again */
        if (next_ns >= until_ns)
            break;
        sim->now_ns = next_ns;
        for (unsigned i = 0; i < sim->senders; i++)
            if (sim->flights[i].busy && sim->flights[i].ends_ns <= sim->now_ns)
                end(sim, &sim->flights[i]);
    }
    sim->now_ns = until_ns;
}

static double per_s(const struct sim *sim, unsigned count) {
    return (double)count * (double)NS_PER_S / (double)(sim->now_ns - sim->reset_ns);
}

/* Requests that ran at the same time, on average. */
static double at_once(const struct sim *sim) {
    return (double)sim->running_ns / (double)(sim->now_ns - sim->reset_ns);
}

static bool in_bad_time(const struct sim *sim) {
    return sim->now_ns >= sim->slow_from_ns && sim->now_ns < sim->slow_until_ns;
}

static void bad_time(struct sim *sim, int64_t duration_ns) {
    sim->slow_from_ns = sim->now_ns;
    sim->slow_until_ns = sim->now_ns + duration_ns;
}

/* Servers that are as they are: the limiter must cost nothing. */

static struct answer fast(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)sim, (void)running, (void)bytes;
    return (struct answer){ 5 * NS_PER_MS, 204, 0 };
}

static struct answer far_away(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)sim, (void)running, (void)bytes;
    return (struct answer){ 300 * NS_PER_MS, 204, 0 };
}

/* Between half and twice as long. */
static struct answer uneven(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    return (struct answer){ 50 * NS_PER_MS + (int64_t)(sim_random(sim) % (150 * NS_PER_MS)), 204, 0 };
}

/* One answer in ten takes a second: a disk that syncs. */
static struct answer hiccups(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    return (struct answer){ sim_random(sim) % 10 == 0 ? NS_PER_S : 30 * NS_PER_MS, 204, 0 };
}

/* InfluxDB 3: everybody gets an answer at the next flush of the log, once a second. */
static struct answer each_second(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    return (struct answer){ NS_PER_S - sim->now_ns % NS_PER_S, 204, 0 };
}

/* Two workers: more at once only wait for each other. */
static struct answer two_workers(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)sim, (void)bytes;
    return (struct answer){ 100 * NS_PER_MS * (running > 2 ? running : 2) / 2, 204, 0 };
}

/* A long line: each byte costs, so full batches take 80 times as long as fresh points. */
static struct answer narrow(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)sim, (void)running;
    return (struct answer){ 5 * NS_PER_MS + (int64_t)bytes * NS_PER_US, 204, 0 };
}

static struct steady_row {
    const char *name;
    answering server;
    unsigned senders;
    double least_per_s; /* requests stored: what as many senders without any limiter get, less a little */
    int64_t live_every_ns;
} steady[] = {
    { "a fast server gets all it can take", fast, 2, 399, 0 },
    { "a fast server gets all it can take from one sender", fast, 1, 199, 0 },
    { "a link of 300 ms loses no throughput", far_away, 2, 6.6, 0 },
    { "a link of 300 ms loses no throughput with sixteen senders", far_away, 16, 53, 0 },
    { "an uneven server loses no throughput", uneven, 4, 31, 0 },
    { "hiccups cost next to nothing, one sender", hiccups, 1, 0.95 * 1 / 0.127, 0 },
    { "hiccups cost next to nothing", hiccups, 2, 0.95 * 2 / 0.127, 0 },
    { "hiccups cost next to nothing, eight senders", hiccups, 8, 0.95 * 8 / 0.127, 0 },
    { "a log that is flushed once a second is no overload", each_second, 8, 7.9, 0 },
    { "a server with two workers is kept busy by sixteen senders", two_workers, 16, 19, 0 },
    { "fresh points between full batches are no measure for them", narrow, 2, 2.9, NS_PER_S },
};

static void costs_nothing(void **state) {
    const struct steady_row *row = *state;
    struct sim sim;

    sim_begin(&sim, row->server, row->senders);
    sim.live_every_ns = row->live_every_ns;
    sim.live_due_ns = sim.now_ns;
    run(&sim, 3600 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= row->least_per_s);
    assert_int_equal(sim.refused, 0);
}

static void the_first_backlog_is_not_measured_by_fresh_points(void **state) {
    struct sim sim;

    (void)state;
    sim_begin(&sim, narrow, 3);
    sim.live_every_ns = NS_PER_S;
    sim.live_due_ns = sim.now_ns;
    sim.quiet = true;
    run(&sim, 3600 * NS_PER_S);
    sim_reset(&sim);
    sim.quiet = false;
    run(&sim, 60 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= 0.97 * (1 + 2 / 0.505));
}

/* Sixteen requests that were under way together are one piece of news. */
static void what_was_sent_under_the_old_limit_lowers_it_no_further(void **state) {
    struct limiter limiter;
    int64_t now = 100 * NS_PER_S;

    (void)state;
    limiter_init(&limiter, 8);
    limiter_answer(&limiter, now, 50 * NS_PER_MS, BYTES);
    now += NS_PER_S;
    for (int i = 0; i < 16; i++)
        limiter_answer(&limiter, now, NS_PER_S + i, BYTES);
    assert_float_equal(limiter.limit, 4, 0);
    now = limiter.lowered_ns;
    for (int i = 0; i < 3; i++)
        limiter_answer(&limiter, now, NS_PER_S, BYTES);
    assert_float_equal(limiter.limit, 4, 0); /* no whole round yet */
    limiter_answer(&limiter, now, NS_PER_S, BYTES);
    assert_float_equal(limiter.limit, 2, 0);
}

static void a_little_too_slow_lowers_a_little(void **state) {
    struct limiter limiter;

    (void)state;
    limiter_init(&limiter, 2);
    limiter_answer(&limiter, 0, 100 * NS_PER_MS, BYTES);
    limiter_answer(&limiter, NS_PER_S, 400 * NS_PER_MS, BYTES);
    limiter_answer(&limiter, NS_PER_S, 375 * NS_PER_MS, BYTES);
    assert_float_equal(limiter.limit, 2 * 300.0 / 375, 0.05);
    assert_int_equal(limiter_slots(&limiter), 1);
    assert_int_equal(limiter_rest_ns(&limiter, NS_PER_S), 0);
    limiter.limit = LIMITER_LOWEST;
    assert_int_equal(limiter_rest_ns(&limiter, NS_PER_S), 3 * NS_PER_S);
    assert_int_equal(limiter_rest_ns(&limiter, 60 * NS_PER_S), 10 * NS_PER_S);
}

/* Servers that have a bad time. */

static struct answer compacts(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    return (struct answer){ in_bad_time(sim) ? 2 * NS_PER_S : 40 * NS_PER_MS, 204, 0 };
}

/* As two_workers, a tenth as fast in its bad time. */
static struct answer busy_workers(struct sim *sim, unsigned running, uint64_t bytes) {
    struct answer answer = two_workers(sim, running, bytes);

    answer.after_ns *= in_bad_time(sim) ? 10 : 1;
    return answer;
}

static struct slow_row {
    const char *name;
    answering server;
    unsigned senders;
    double most_at_once; /* in the bad time, from its fifth second on */
    double good_per_s;   /* again, from the first second after it */
} slows[] = {
    { "a compaction gets fewer requests and pauses", compacts, 2, 0.3, 0.95 * 50 },
    { "a compaction gets fewer requests and pauses, eight senders", compacts, 8, 0.5, 0.95 * 200 },
    { "one sender alone pauses, too", compacts, 1, 0.3, 0.95 * 25 },
    { "busy workers get fewer requests at once", busy_workers, 16, 7, 18 },
};

static void gives_way_and_returns(void **state) {
    const struct slow_row *row = *state;
    struct sim sim;

    sim_begin(&sim, row->server, row->senders);
    run(&sim, 60 * NS_PER_S);
    bad_time(&sim, 60 * NS_PER_S);
    run(&sim, 10 * NS_PER_S);
    sim_reset(&sim);
    run(&sim, 50 * NS_PER_S);
    assert_true(at_once(&sim) <= row->most_at_once);
    assert_true(sim.stored > 0); /* it is never given up */
    run(&sim, 9 * NS_PER_S); /* the last slow answer, and the rest after it */
    sim_reset(&sim);
    run(&sim, 60 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= row->good_per_s);
}

static void a_quick_answer_brings_the_full_pace_back_within_two_rounds(void **state) {
    struct sim sim;

    (void)state;
    sim_begin(&sim, compacts, 4);
    run(&sim, 10 * NS_PER_S);
    bad_time(&sim, 60 * NS_PER_S);
    run(&sim, 60 * NS_PER_S);
    assert_true(sim.pace.limiter.limit < 1);
    while (sim.pace.limiter.limit < 1)
        run(&sim, 10 * NS_PER_MS);
    assert_true(sim.now_ns - sim.slow_until_ns < 9 * NS_PER_S); /* 2 s of answer, three times that of rest */
    run(&sim, 400 * NS_PER_MS);
    assert_int_equal(pace_slots(&sim.pace), 4);
}

static void a_link_that_becomes_slow_for_good_is_the_new_usual_within_minutes(void **state) {
    struct sim sim;

    (void)state;
    sim_begin(&sim, compacts, 2);
    run(&sim, 600 * NS_PER_S);
    bad_time(&sim, 36000 * NS_PER_S);
    run(&sim, 240 * NS_PER_S);
    sim_reset(&sim);
    run(&sim, 3600 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= 0.97); /* two requests of 2 s */
}

static void fresh_points_do_not_wait_for_the_backlogs_rest(void **state) {
    struct sim sim;

    (void)state;
    sim_begin(&sim, compacts, 3);
    sim.live_every_ns = NS_PER_S;
    sim.live_due_ns = sim.now_ns;
    run(&sim, 60 * NS_PER_S);
    bad_time(&sim, 60 * NS_PER_S);
    run(&sim, 10 * NS_PER_S);
    sim_reset(&sim);
    run(&sim, 50 * NS_PER_S);
    assert_true(sim.pace.limiter.limit < 1);
    assert_true(sim.live_worst_ns <= 2 * NS_PER_S); /* the one place may be taken, for one answer; the backlog rests 6 s */
    assert_true(at_once(&sim) < 1.05); /* fresh points take the one place nearly all the time */
}

static void hurry_waits_for_no_latency(void **state) {
    const struct pace_request backlog = { .backlog = true };
    struct sim sim;

    (void)state;
    sim_begin(&sim, compacts, 4);
    run(&sim, 10 * NS_PER_S);
    bad_time(&sim, 60 * NS_PER_S);
    run(&sim, 31300 * NS_PER_MS);
    assert_int_equal(pace_ready(&sim.pace, &backlog, false, sim.now_ns).reason, PACE_LATENCY);
    assert_int_equal(pace_ready(&sim.pace, &backlog, true, sim.now_ns).reason, PACE_FREE);
}

/* Servers that refuse. */

static struct answer stalls(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    if (in_bad_time(sim))
        return (struct answer){ 10 * NS_PER_S, 0, 0 };
    return (struct answer){ 20 * NS_PER_MS, 204, 0 };
}

static struct answer says_429(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    if (in_bad_time(sim))
        return (struct answer){ 2 * NS_PER_MS, 429, 0 };
    return (struct answer){ 20 * NS_PER_MS, 204, 0 };
}

static struct answer says_429_and_when(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    if (in_bad_time(sim))
        return (struct answer){ 2 * NS_PER_MS, 429, 7 * NS_PER_S };
    return (struct answer){ 20 * NS_PER_MS, 204, 0 };
}

static struct answer says_503(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    if (in_bad_time(sim))
        return (struct answer){ 2 * NS_PER_MS, 503, 0 };
    return (struct answer){ 20 * NS_PER_MS, 204, 0 };
}

static struct refusal_row {
    const char *name;
    answering server;
    unsigned senders;
    unsigned most_requests; /* in the 60 s */
} refusals[] = {
    { "a server that stalls for 60 s is asked a few times", stalls, 2, 8 },
    { "a server that stalls for 60 s is asked a few times, eight senders", stalls, 8, 16 },
    { "a storm of 429 for 60 s is not answered by one of requests", says_429, 2, 25 },
    { "a storm of 429 for 60 s is not answered by one of requests, eight senders", says_429, 8, 40 },
    { "a storm of 503 for 60 s is not answered by one of requests", says_503, 8, 40 },
    { "Retry-After is kept", says_429_and_when, 2, 10 },
    { "Retry-After is kept by eight senders", says_429_and_when, 8, 24 },
};

static void backs_off_and_returns(void **state) {
    const struct refusal_row *row = *state;
    struct sim sim;

    sim_begin(&sim, row->server, row->senders);
    run(&sim, 30 * NS_PER_S);
    bad_time(&sim, 60 * NS_PER_S);
    sim_reset(&sim);
    run(&sim, 60 * NS_PER_S);
    assert_in_range(sim.requests - sim.stored, 2, row->most_requests);
    assert_int_equal(sim.early, 0);
    assert_int_equal(pace_slots(&sim.pace), 1);
    run(&sim, 31 * NS_PER_S); /* the longest pause */
    sim_reset(&sim);
    run(&sim, 10 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= 45); /* one sender at full speed, at least */
    assert_int_equal(sim.refused, 0);
    run(&sim, 30 * NS_PER_S * row->senders);
    assert_int_equal(pace_slots(&sim.pace), row->senders);
}

/* Ten requests a second, and 429 for all others, with when the next second begins or without. */
static struct answer quota(struct sim *sim, unsigned running, uint64_t bytes) {
    (void)running, (void)bytes;
    if (sim->now_ns >= sim->window_ns + NS_PER_S) {
        sim->window_ns = sim->now_ns;
        sim->window_count = 0;
    }
    if (++sim->window_count > 10)
        return (struct answer){ 2 * NS_PER_MS, 429, sim->window_ns + NS_PER_S - sim->now_ns };
    return (struct answer){ 10 * NS_PER_MS, 204, 0 };
}

static void a_quota_is_used_and_not_stormed(void **state) {
    struct sim sim;

    (void)state;
    sim_begin(&sim, quota, 4);
    run(&sim, 600 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) >= 9);
    assert_true(sim.refused * 5 <= sim.stored);
    assert_int_equal(sim.early, 0);
}

/* The rate. */

static struct rate_row {
    const char *name;
    double points_per_s, bytes_per_s;
    unsigned senders;
    double requests_per_s; /* of 5000 lines and 500,000 bytes */
} rates[] = {
    { "points", 10000, 0, 2, 2 },
    { "bytes", 0, 250000, 2, 0.5 },
    { "whichever is less: points", 5000, 5e6, 2, 1 },
    { "whichever is less: bytes", 1e6, 1e6, 2, 2 },
    { "less than one request a second", 100, 0, 1, 0.02 },
    { "many senders share it", 10000, 0, 16, 2 },
    { "more than the server takes", 1e9, 1e12, 2, 400 },
};

static void keeps_the_rate(void **state) {
    const struct rate_row *row = *state;
    const struct pace_options options = { .senders = row->senders, .points_per_s = row->points_per_s, .bytes_per_s = row->bytes_per_s };
    struct sim sim;

    sim_begin(&sim, fast, row->senders);
    pace_init(&sim.pace, &options, sim.now_ns);
    run(&sim, 1000 * NS_PER_S);
    assert_true(per_s(&sim, sim.stored) <= row->requests_per_s * 1.001 + 0.002); /* one bucket, and one request above it */
    assert_true(per_s(&sim, sim.stored) >= row->requests_per_s * 0.99);
}

static void a_failing_server_gets_no_more_than_the_rate_either(void **state) {
    const struct pace_options options = { .senders = 4, .points_per_s = 1000, .divisor = 1000000 };
    struct sim sim;

    (void)state;
    sim_begin(&sim, says_503, 4);
    pace_init(&sim.pace, &options, sim.now_ns);
    bad_time(&sim, 1000 * NS_PER_S);
    run(&sim, 100 * NS_PER_S);
    assert_in_range(sim.requests, 18, 22); /* of 5000 lines each */
}

static struct pace limited(double points_per_s, double bytes_per_s) {
    const struct pace_options options = { .senders = 2, .points_per_s = points_per_s, .bytes_per_s = bytes_per_s };
    struct pace pace;

    pace_init(&pace, &options, 0);
    return pace;
}

static void a_grant_is_what_the_fuller_bucket_leaves(void **state) {
    struct pace pace = limited(1000, 50000);
    struct pace_grant grant;

    (void)state;
    assert_int_equal(pace_grant(&pace, &grant, 0), 0);
    assert_int_equal(grant.lines, 1000);
    assert_int_equal(grant.bytes, 50000);
    pace_pay(&pace, 300, 10000);
    assert_int_equal(pace_grant(&pace, &grant, 0), 0);
    assert_int_equal(grant.lines, 700);
    pace_pay(&pace, 100, 40000);
    assert_in_range(pace_grant(&pace, &grant, 0), 500 * NS_PER_MS, 501 * NS_PER_MS);
}

/* Fresh points first, then what the second leaves to the backlog: not a pause of half a second for each. */
static void what_is_left_of_a_grant_can_be_taken_at_once(void **state) {
    struct pace pace = limited(1000, 0);
    struct pace_grant grant;

    (void)state;
    pace_pay(&pace, 1000, 0);
    int64_t now = pace_grant(&pace, &grant, 0);
    assert_in_range(now, 500 * NS_PER_MS, 501 * NS_PER_MS);
    assert_int_equal(pace_grant(&pace, &grant, now), now);
    assert_int_equal(grant.lines, 500);
    pace_pay(&pace, 300, 0);
    assert_int_equal(pace_grant(&pace, &grant, now), now);
    assert_int_equal(grant.lines, 200);
    pace_pay(&pace, 150, 0);
    assert_true(pace_grant(&pace, &grant, now) > now); /* fifty lines are not worth a request */
}

static void the_smallest_limits_let_single_lines_through(void **state) {
    struct pace pace = limited(0.1, 0);
    struct pace_grant grant;
    int64_t now = 0, lines = 0;

    (void)state;
    while (now < 1000 * NS_PER_S) {
        int64_t ready = pace_grant(&pace, &grant, now);
        if (ready > now) {
            now = ready;
            continue;
        }
        assert_int_equal(grant.lines, 1);
        pace_pay(&pace, 1, 100);
        lines++;
    }
    assert_in_range(lines, 99, 102);
}

static void a_line_larger_than_the_bucket_goes_when_it_is_full(void **state) {
    struct pace pace = limited(0, 100);
    const struct pace_request large = { .lines = 1, .bytes = 1000, .body_bytes = 1000 };

    (void)state;
    assert_int_equal(pace_ready(&pace, &large, false, 0).reason, PACE_FREE);
    pace_begin(&pace, &large);
    pace.in_flight = 0;
    struct pace_wait wait = pace_ready(&pace, &large, false, 0);
    assert_int_equal(wait.reason, PACE_RATE);
    assert_in_range(wait.until_ns, 10 * NS_PER_S, 10 * NS_PER_S + NS_PER_MS);
    assert_int_equal(pace_largest(&pace).bytes, 100);
    assert_int_equal(pace_largest(&pace).lines, UINT32_MAX);
}

static void a_clock_that_stands_still_or_goes_back_gives_nothing(void **state) {
    struct bucket bucket;

    (void)state;
    bucket_init(&bucket, 10, 5 * NS_PER_S);
    bucket_pay(&bucket, 10);
    assert_float_equal(bucket_level(&bucket, 5 * NS_PER_S), 0, 1e-9);
    assert_float_equal(bucket_level(&bucket, 0), 0, 1e-9);
    assert_float_equal(bucket_level(&bucket, 3600 * NS_PER_S), 10, 1e-9);
    assert_true(bucket_ready_ns(&bucket, 1e300, 3600 * NS_PER_S) == 3600 * NS_PER_S);
    bucket_init(&bucket, 1e-12, 0);
    bucket_pay(&bucket, 1);
    assert_true(bucket_ready_ns(&bucket, 1, 0) > 0); /* and no overflow on the way to the year 30,000 */
}

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

int main(void) {
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(the_first_backlog_is_not_measured_by_fresh_points),
        cmocka_unit_test(what_was_sent_under_the_old_limit_lowers_it_no_further),
        cmocka_unit_test(a_little_too_slow_lowers_a_little),
        cmocka_unit_test(a_quick_answer_brings_the_full_pace_back_within_two_rounds),
        cmocka_unit_test(a_link_that_becomes_slow_for_good_is_the_new_usual_within_minutes),
        cmocka_unit_test(fresh_points_do_not_wait_for_the_backlogs_rest),
        cmocka_unit_test(hurry_waits_for_no_latency),
        cmocka_unit_test(a_quota_is_used_and_not_stormed),
        cmocka_unit_test(a_failing_server_gets_no_more_than_the_rate_either),
        cmocka_unit_test(a_grant_is_what_the_fuller_bucket_leaves),
        cmocka_unit_test(what_is_left_of_a_grant_can_be_taken_at_once),
        cmocka_unit_test(the_smallest_limits_let_single_lines_through),
        cmocka_unit_test(a_line_larger_than_the_bucket_goes_when_it_is_full),
        cmocka_unit_test(a_clock_that_stands_still_or_goes_back_gives_nothing),
    };
    struct CMUnitTest tests[ROWS(plain) + ROWS(steady) + ROWS(slows) + ROWS(refusals) + ROWS(rates)];
    size_t count = ROWS(plain);

    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < ROWS(steady); i++)
        tests[count++] = (struct CMUnitTest){ steady[i].name, costs_nothing, NULL, NULL, &steady[i] };
    for (size_t i = 0; i < ROWS(slows); i++)
        tests[count++] = (struct CMUnitTest){ slows[i].name, gives_way_and_returns, NULL, NULL, &slows[i] };
    for (size_t i = 0; i < ROWS(refusals); i++)
        tests[count++] = (struct CMUnitTest){ refusals[i].name, backs_off_and_returns, NULL, NULL, &refusals[i] };
    for (size_t i = 0; i < ROWS(rates); i++)
        tests[count++] = (struct CMUnitTest){ rates[i].name, keeps_the_rate, NULL, NULL, &rates[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
