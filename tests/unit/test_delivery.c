/*
 * tests/unit/test_delivery.c: real spool, real threads, a scripted output. Lines are `m[,b=TARGET] v=1 ID`; the fake
 * knows each by its ID, so that every test can ask of every line: stored, dead-lettered or left, and the ledger must
 * say the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/delivery/delivery.h"

enum { IDS = 20000, HOPELESS_S = 30, ARRIVALS = 2000 };

enum style {
    GOOD,           /* stores everything */
    NAMES_LINES,    /* PARTIAL: stores the good lines, names the bad ones: InfluxDB 3 */
    NAMES_TOO_MANY, /* as NAMES_LINES, and lines that were not sent */
    REFUSES_WHOLE,  /* SPLIT: stores nothing when one line is bad: InfluxDB 2 */
    HIDES_LINES,    /* SPLIT: stores the good lines, names none: InfluxDB 1, type conflicts */
    CHOKES,         /* RETRY_SUSPECT: 500 for the whole when one line is bad: TDengine */
    REJECTS_ALL,    /* REJECTED */
    DOWN,           /* no answer */
    BROKEN,         /* 500 for everything */
    NO_PASSWORD,    /* 401 */
    BUSY,           /* 503 */
    HANGS,          /* answers when cancelled or released, as no answer */
    SMALL,          /* 413 above `max_bytes` */
};

struct fake {
    pthread_mutex_t lock;
    enum style style;
    unsigned senders;
    bool bad[IDS];
    unsigned stored[IDS];
    unsigned requests, refused_requests, waiting;
    uint32_t largest;
    uint64_t max_bytes;
    int64_t retry_after_ns, first_ns[2]; /* of the first and the second request */
    unsigned fail_first;                 /* so many requests are answered with 503 first */
    unsigned fail_every;                 /* all but every so-manieth are; 0: none */
    unsigned fail_opens, open_connections;
    struct buf first_body, last_body, last_target;
    bool must_repeat; /* the one sender was told to come again: its next request has the same bytes for the same target */
    unsigned repeats;
    struct arrival {
        int64_t at_ns;
        uint32_t lines;
        uint64_t bytes;
    } arrivals[ARRIVALS];
    uint32_t last_id;
    bool in_order;
    const char *missing_target;
    bool routes;
    bool released;
};

struct connection {
    const atomic_bool *cancel;
};

static uint32_t id_of(struct str line) {
    uint64_t id = IDS;

    while (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    for (size_t i = line.len; i-- > 0;)
        if (line.data[i] == ' ') {
            assert_true(str_to_uint64(str_make(line.data + i + 1, line.len - i - 1), &id));
            break;
        }
    assert_true(id < IDS);
    return (uint32_t)id;
}

static struct str request_line(const struct request *request, uint32_t line) {
    uint32_t start = line > 0 ? request->line_ends[line - 1] : 0;

    return str_make(request->body.data + start, request->line_ends[line] - start - 1);
}

static void store(struct fake *fake, const struct request *request, bool bad_too) {
    for (uint32_t i = 0; i < request->line_count; i++) {
        uint32_t id = id_of(request_line(request, i));
        if (fake->bad[id] && !bad_too)
            continue;
        fake->stored[id]++;
        if (id < fake->last_id)
            fake->in_order = false;
        fake->last_id = id;
    }
}

static void say(struct reply *reply, enum outcome outcome, int status, const char *words) {
    reply->outcome = outcome;
    reply->status = status;
    reply->retry = status == 401 || status == 404 ? RETRY_SLOWLY : status == 500 ? RETRY_SUSPECT : RETRY_BACKOFF;
    snprintf(reply->reason, sizeof reply->reason, "%s", words);
}

static void name_bad_lines(struct fake *fake, const struct request *request, struct reply *reply) {
    for (uint32_t i = 0; i < request->line_count; i++)
        if (fake->bad[id_of(request_line(request, i))])
            assert_true(reply_reject(reply, i, STR("field type conflict")));
}

static bool any_bad(const struct fake *fake, const struct request *request) {
    for (uint32_t i = 0; i < request->line_count; i++)
        if (fake->bad[id_of(request_line(request, i))])
            return true;
    return false;
}

static void answer_bad(struct fake *fake, const struct request *request, struct reply *reply) {
    if (fake->style == NAMES_LINES || fake->style == NAMES_TOO_MANY) {
        store(fake, request, false);
        say(reply, PARTIAL, 400, "partial write of line protocol occurred");
        name_bad_lines(fake, request, reply);
        for (uint32_t i = 0; i < 3 && fake->style == NAMES_TOO_MANY; i++)
            assert_true(reply_reject(reply, request->line_count + i, STR("no such line")));
    } else if (fake->style == CHOKES) {
        say(reply, RETRY_LATER, 500, "invalid data");
    } else {
        if (fake->style == HIDES_LINES)
            store(fake, request, false);
        say(reply, SPLIT, 400, "partial write: field type conflict");
    }
}

static void answer(struct fake *fake, const struct request *request, struct reply *reply) {
    if (fake->missing_target != NULL && str_eq_c(request->target, fake->missing_target)) {
        say(reply, RETRY_LATER, 404, "bucket not found");
    } else if (fake->requests <= fake->fail_first || (fake->fail_every > 0 && fake->requests % fake->fail_every != 0)) {
        say(reply, RETRY_LATER, 503, "busy");
        reply->retry_after_ns = fake->retry_after_ns;
    } else if (fake->style == DOWN || fake->style == HANGS) {
        say(reply, RETRY_LATER, 0, "connection refused");
    } else if (fake->style == BROKEN) {
        say(reply, RETRY_LATER, 500, "out of order");
    } else if (fake->style == NO_PASSWORD) {
        say(reply, RETRY_LATER, 401, "unauthorized");
    } else if (fake->style == BUSY) {
        say(reply, RETRY_LATER, 503, "busy");
    } else if (fake->style == REJECTS_ALL) {
        say(reply, REJECTED, 400, "no");
    } else if (fake->max_bytes > 0 && request->body.len > fake->max_bytes) {
        say(reply, SPLIT, 413, "Request Entity Too Large");
    } else if (any_bad(fake, request)) {
        answer_bad(fake, request, reply);
    } else {
        store(fake, request, true);
        say(reply, DELIVERED, 204, "");
    }
}

static void check_request(struct fake *fake, const struct request *request) {
    assert_true(request->line_count > 0);
    assert_int_equal(request->line_ends[request->line_count - 1], request->body.len);
    for (uint32_t i = 0; i < request->line_count; i++)
        assert_int_equal(request->body.data[request->line_ends[i] - 1], '\n');
    if (request->line_count > fake->largest)
        fake->largest = request->line_count;
    if (fake->requests < 2)
        fake->first_ns[fake->requests] = clock_mono_ns();
    if (fake->requests < ARRIVALS)
        fake->arrivals[fake->requests] = (struct arrival){ clock_mono_ns(), request->line_count, request->body.len };
    if (fake->requests++ == 0)
        buf_append_str(&fake->first_body, request->body);
    if (fake->must_repeat) {
        assert_true(str_eq(request->body, buf_str(&fake->last_body)));
        assert_true(str_eq(request->target, buf_str(&fake->last_target)));
        fake->repeats++;
    }
    buf_reset(&fake->last_body);
    buf_append_str(&fake->last_body, request->body);
    buf_reset(&fake->last_target);
    buf_append_str(&fake->last_target, request->target);
}

static void nap(void) {
    nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
}

static void fake_send(void *self, void *connection, const struct request *request, struct reply *reply) {
    struct fake *fake = self;
    const struct connection *mine = connection;

    pthread_mutex_lock(&fake->lock);
    check_request(fake, request);
    if (fake->style == HANGS) {
        fake->waiting++;
        while (!atomic_load(mine->cancel) && !fake->released) {
            pthread_mutex_unlock(&fake->lock);
            nap();
            pthread_mutex_lock(&fake->lock);
        }
        fake->waiting--;
    }
    answer(fake, request, reply);
    fake->must_repeat = fake->senders == 1 && reply->outcome == RETRY_LATER && reply->retry == RETRY_BACKOFF;
    fake->refused_requests += reply->outcome != DELIVERED;
    reply->wire_bytes = request->body.len;
    reply->duration_ns = NS_PER_MS;
    pthread_mutex_unlock(&fake->lock);
}

static void *fake_open(void *self, const atomic_bool *cancel, struct err *err) {
    struct fake *fake = self;
    struct connection *connection = NULL;

    pthread_mutex_lock(&fake->lock);
    if (fake->fail_opens > 0) {
        fake->fail_opens--;
        err_set(err, ERR_IO, "no socket");
    } else {
        connection = malloc(sizeof *connection);
        *connection = (struct connection){ cancel };
        fake->open_connections++;
    }
    pthread_mutex_unlock(&fake->lock);
    return connection;
}

static void fake_close(void *self, void *connection) {
    struct fake *fake = self;

    if (connection == NULL)
        return;
    pthread_mutex_lock(&fake->lock);
    fake->open_connections--;
    pthread_mutex_unlock(&fake->lock);
    free(connection);
}

/* `m,b=TARGET v=1 ID`: the tag is taken out, so that the line changes its length on the way. */
static void fake_route(void *self, struct str *line, struct str *target, struct buf *scratch) {
    const char *space = memchr(line->data, ' ', line->len);

    (void)self;
    if (!str_starts_with(*line, STR("m,b=")))
        return;
    buf_append_c(scratch, "m");
    buf_append(scratch, space, line->len - (size_t)(space - line->data));
    *target = str_make(line->data + 4, (size_t)(space - line->data) - 4);
    *line = buf_str(scratch);
}

static bool fake_routes(void *self) {
    return ((struct fake *)self)->routes;
}

static unsigned fake_concurrency(void *self) {
    return ((struct fake *)self)->senders;
}

static void fake_describe(void *self, struct buf *out) {
    (void)self;
    buf_append_c(out, "http://fake");
}

static const struct output_type fake_type = {
    .name = "fake",
    .open = fake_open,
    .send = fake_send,
    .close = fake_close,
    .route = fake_route,
    .routes = fake_routes,
    .concurrency = fake_concurrency,
    .describe = fake_describe,
};

/* What went into the dead letters, under a lock of its own. */
struct grave {
    pthread_mutex_t lock;
    unsigned dead[IDS];
    char reason[32], topic[32], detail[64], output[32], input[32];
    int status;
};

static void copy_text(char *out, size_t size, struct str text) {
    snprintf(out, size, "%.*s", STR_ARGS(text));
}

static void bury(void *ctx, const struct dead_letter *letter) {
    struct grave *grave = ctx;

    pthread_mutex_lock(&grave->lock);
    grave->dead[id_of(letter->data)]++;
    copy_text(grave->reason, sizeof grave->reason, letter->reason);
    copy_text(grave->topic, sizeof grave->topic, letter->topic);
    copy_text(grave->detail, sizeof grave->detail, letter->detail);
    copy_text(grave->output, sizeof grave->output, letter->output);
    copy_text(grave->input, sizeof grave->input, letter->input);
    grave->status = letter->status;
    assert_true(str_eq_c(letter->stage, "delivery"));
    assert_true(letter->time_ns > 0);
    pthread_mutex_unlock(&grave->lock);
}

struct rig {
    struct spool *spool;
    unsigned outputs;
    struct fake fake[2];
    struct grave grave[2];
    struct delivery *delivery[2];
    uint32_t next_id;
    uint64_t messages;
};

static struct rig *rig_new(unsigned outputs, unsigned senders, enum style style) {
    struct spool_options options = { .max_bytes = 64 << 20, .when_full = SPOOL_DROP_OLDEST, .outputs = outputs };
    struct rig *rig = calloc(1, sizeof *rig);

    rig->spool = spool_new(&options, NULL);
    rig->outputs = outputs;
    for (unsigned i = 0; i < outputs; i++) {
        pthread_mutex_init(&rig->fake[i].lock, NULL);
        pthread_mutex_init(&rig->grave[i].lock, NULL);
        rig->fake[i].style = style;
        rig->fake[i].senders = senders;
        rig->fake[i].in_order = true;
        buf_init(&rig->fake[i].first_body, 64 << 20);
        buf_init(&rig->fake[i].last_body, 64 << 20);
        buf_init(&rig->fake[i].last_target, 64 << 20);
    }
    return rig;
}

static struct str inputs_of(void *ctx, struct str topic, char *room, size_t size) {
    assert_null(ctx);
    return str_make(room, (size_t)snprintf(room, size, "taker of %.*s", STR_ARGS(topic)));
}

static const struct delivery_options quick = {
    .name = "fake-1",
    .inputs_of = inputs_of,
    .flush_interval_ns = 1,
    .metric_batch_size = 5000,
    .pause_divisor = 1000,
};

static void start(struct rig *rig, const struct delivery_options *options) {
    for (unsigned i = 0; i < rig->outputs; i++) {
        struct delivery_options mine = *options;
        struct dead_letter_sink sink = { &rig->grave[i], bury };
        struct err err = ERR_INIT;
        mine.index = i;
        rig->delivery[i] = delivery_new(&mine, &fake_type, &rig->fake[i], rig->spool, sink);
        assert_non_null(rig->delivery[i]);
        assert_true(delivery_start(rig->delivery[i], &err));
    }
}

/* One message of `lines` lines, with the routing tag when `target` is given. */
static void put(struct rig *rig, uint32_t lines, const char *target) {
    struct spool_record record = { .outputs = rig->outputs == 2 ? 3 : 1, .lines = lines, .topic = STR("plant/a") };
    struct buf text = BUF_INIT(64 << 20);
    uint64_t sequence;

    for (uint32_t i = 0; i < lines; i++)
        buf_printf(&text, "m%s%s v=1 %u\n", target != NULL ? ",b=" : "", target != NULL ? target : "", rig->next_id++);
    record.text = buf_str(&text);
    assert_int_equal(spool_append(rig->spool, &record, 1, false, &sequence), SPOOL_APPENDED);
    rig->messages++;
    buf_release(&text);
}

static struct spool_output_figures figures_of(struct rig *rig, unsigned output) {
    struct spool_figures figures;

    spool_figures(rig->spool, &figures);
    return figures.output[output];
}

static void wait_settled(struct rig *rig, unsigned output) {
    int64_t hopeless = clock_mono_ns() + HOPELESS_S * NS_PER_S;

    while (figures_of(rig, output).pending_messages > 0) {
        if (clock_mono_ns() > hopeless)
            fail_msg("still %llu messages pending", (unsigned long long)figures_of(rig, output).pending_messages);
        nap();
    }
}

static unsigned locked(pthread_mutex_t *lock, const unsigned *value) {
    pthread_mutex_lock(lock);
    unsigned copy = *value;
    pthread_mutex_unlock(lock);
    return copy;
}

static void wait_at_least(struct fake *fake, const unsigned *value, unsigned least) {
    int64_t hopeless = clock_mono_ns() + HOPELESS_S * NS_PER_S;

    while (locked(&fake->lock, value) < least) {
        assert_true(clock_mono_ns() < hopeless);
        nap();
    }
}

static void set_style(struct fake *fake, enum style style) {
    pthread_mutex_lock(&fake->lock);
    fake->style = style;
    pthread_mutex_unlock(&fake->lock);
}

/* Milliseconds that stopping took. */
static int64_t stop(struct rig *rig, int64_t patience_ms) {
    int64_t begun = clock_mono_ns(), deadline = begun + patience_ms * NS_PER_MS;

    spool_close(rig->spool);
    for (unsigned i = 0; i < rig->outputs; i++)
        delivery_begin_stop(rig->delivery[i], deadline);
    for (unsigned i = 0; i < rig->outputs; i++)
        delivery_stop(rig->delivery[i], deadline);
    spool_interrupt(rig->spool);
    return (clock_mono_ns() - begun) / NS_PER_MS;
}

static void rig_free(struct rig *rig) {
    for (unsigned i = 0; i < rig->outputs; i++) {
        delivery_free(rig->delivery[i]);
        assert_int_equal(rig->fake[i].open_connections, 0);
        buf_release(&rig->fake[i].first_body);
        buf_release(&rig->fake[i].last_body);
        buf_release(&rig->fake[i].last_target);
    }
    spool_free(rig->spool);
    free(rig);
}

/* Every line is stored or dead, none is both, none is dead twice; and the ledger says exactly that. */
static void assert_accounted(struct rig *rig, unsigned output, uint64_t dead_messages) {
    struct spool_output_figures figures = figures_of(rig, output);
    uint64_t dead = 0, stored = 0;

    for (uint32_t id = 0; id < rig->next_id; id++) {
        bool is_dead = rig->grave[output].dead[id] > 0, is_stored = rig->fake[output].stored[id] > 0;
        assert_true(is_dead != is_stored);
        assert_in_range(rig->grave[output].dead[id], 0, 1);
        dead += is_dead;
        stored += is_stored;
    }
    assert_int_equal(figures.lines[FATE_STORED], stored);
    assert_int_equal(figures.lines[FATE_DEAD_LETTERED], dead);
    assert_int_equal(figures.messages[FATE_DEAD_LETTERED], dead_messages);
    assert_int_equal(figures.messages[FATE_STORED], rig->messages - dead_messages);
    assert_int_equal(figures.pending_messages + figures.pending_lines + figures.pending_bytes, 0);
}

static void assert_bad_are_dead(const struct rig *rig) {
    for (uint32_t id = 0; id < rig->next_id; id++)
        assert_int_equal(rig->grave[0].dead[id], rig->fake[0].bad[id]);
}

/* Collects one sample by name and label value. */
struct wanted {
    const char *name, *label;
    double value;
    uint64_t observations;
};

static void see_sample(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t count,
                       double value) {
    struct wanted *wanted = ctx;

    assert_true(count >= 1);
    assert_string_equal(labels[0].key, "output");
    assert_string_equal(labels[0].value, "fake-1");
    if (strcmp(desc->name, wanted->name) == 0 && (wanted->label == NULL || strcmp(labels[1].value, wanted->label) == 0))
        wanted->value = value;
}

static void see_histogram(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t count,
                          const struct metric_histogram *histogram) {
    struct wanted *wanted = ctx;

    (void)labels;
    assert_int_equal(count, 1);
    assert_int_equal(desc->kind, METRIC_HISTOGRAM);
    for (int i = 0; i <= METRIC_BUCKETS; i++)
        wanted->observations += metric_get(&histogram->buckets[i]);
}

static double figure(struct rig *rig, const char *name, const char *label) {
    struct wanted wanted = { name, label, -1, 0 };
    struct metric_writer writer = { &wanted, see_sample, see_histogram };

    delivery_collect(rig->delivery[0], &writer);
    return wanted.value;
}

/* What is bad in which way, and how it ends. Messages have two lines each. */
static struct server_row {
    const char *name;
    enum style style;
    unsigned senders;
    uint32_t messages, bad; /* bad lines, spread evenly, each in another message */
    const char *reason;
} servers[] = {
    { "stores everything", GOOD, 2, 5000, 0, "" },
    { "stores everything, one sender", GOOD, 1, 5000, 0, "" },
    { "names one bad line", NAMES_LINES, 2, 2500, 1, "type_conflict" },
    { "names many bad lines", NAMES_LINES, 2, 2500, 100, "type_conflict" },
    { "names every message's bad line", NAMES_LINES, 1, 1000, 1000, "type_conflict" },
    { "refuses the whole for one bad line", REFUSES_WHOLE, 2, 2500, 1, "type_conflict" },
    { "refuses the whole for many bad lines", REFUSES_WHOLE, 1, 2500, 50, "type_conflict" },
    { "refuses the whole, bad line in each message", REFUSES_WHOLE, 1, 500, 500, "type_conflict" },
    { "hides one bad line", HIDES_LINES, 1, 2500, 1, "type_conflict" },
    { "hides many bad lines", HIDES_LINES, 4, 2500, 50, "type_conflict" },
    { "chokes on one bad line", CHOKES, 2, 2500, 1, "server_error" },
    { "chokes on one bad line, one sender", CHOKES, 1, 2500, 1, "server_error" },
    { "chokes on several bad lines, one sender", CHOKES, 1, 1000, 5, "server_error" },
    { "chokes on several bad lines", CHOKES, 2, 1000, 8, "server_error" },
};

static void every_line_finds_its_end(void **state) {
    const struct server_row *row = *state;
    struct rig *rig = rig_new(1, row->senders, row->style);

    for (uint32_t i = 0; i < row->bad; i++)
        rig->fake[0].bad[(uint64_t)i * row->messages / row->bad * 2 + i % 2] = true;
    for (uint32_t i = 0; i < row->messages; i++)
        put(rig, 2, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, row->bad);
    assert_bad_are_dead(rig);
    assert_string_equal(rig->grave[0].reason, row->reason);
    assert_in_range(rig->fake[0].largest, 1, 5000);
    if (row->bad > 0) {
        assert_string_equal(rig->grave[0].topic, "plant/a");
        assert_string_equal(rig->grave[0].output, "fake-1");
    }
    stop(rig, 5000);
    rig_free(rig);
}

static void one_bad_line_of_5000_takes_26_requests_at_most(void **state) {
    (void)state;
    for (uint32_t bad = 0; bad < 5000; bad += 1249) {
        struct rig *rig = rig_new(1, 1, REFUSES_WHOLE);
        rig->fake[0].bad[bad] = true;
        for (uint32_t i = 0; i < 5000; i++)
            put(rig, 1, NULL);
        start(rig, &quick);
        wait_settled(rig, 0);
        assert_accounted(rig, 0, 1);
        assert_in_range(rig->fake[0].requests, 14, 26);
        stop(rig, 5000);
        rig_free(rig);
    }
}

static void a_refused_batch_is_dead_to_the_last_line(void **state) {
    struct rig *rig = rig_new(1, 1, REJECTS_ALL);

    (void)state;
    put(rig, 3, NULL);
    put(rig, 2, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 2);
    assert_string_equal(rig->grave[0].reason, "rejected");
    assert_string_equal(rig->grave[0].detail, "no");
    assert_string_equal(rig->grave[0].input, "taker of plant/a");
    assert_int_equal(rig->grave[0].status, 400);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_retry_has_the_same_bytes(void **state) {
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].fail_first = 5;
    for (uint32_t i = 0; i < 100; i++)
        put(rig, 2, NULL);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 1);
    put(rig, 1, NULL); /* must not join the request that is tried again */
    wait_settled(rig, 0);
    stop(rig, 5000);
    assert_accounted(rig, 0, 0);
    assert_int_equal(rig->fake[0].requests, 7);
    assert_int_equal(rig->fake[0].refused_requests, 5);
    for (uint32_t id = 0; id < 201; id++)
        assert_int_equal(rig->fake[0].stored[id], 1);
    assert_true(rig->fake[0].in_order);
    rig_free(rig);
}

static void a_retry_of_half_a_request_has_the_same_bytes(void **state) {
    struct rig *rig = rig_new(1, 1, DOWN);

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        put(rig, 2, NULL);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 4);
    pthread_mutex_lock(&rig->fake[0].lock);
    assert_true(str_eq(buf_str(&rig->fake[0].first_body), buf_str(&rig->fake[0].last_body)));
    pthread_mutex_unlock(&rig->fake[0].lock);
    set_style(&rig->fake[0], GOOD);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

/* Requests of all makes: whole batches, pieces of large messages, halves after a 413 and after a refused line, several targets. */
static struct identical_row {
    const char *name;
    enum style style;
    uint64_t max_bytes;
    int64_t batch;
    bool routes, bad;
} identicals[] = {
    { "retries of batches are identical", GOOD, 0, 5000, false, false },
    { "retries of small batches are identical", GOOD, 0, 7, false, false },
    { "retries of halves that are small enough are identical", GOOD, 500, 5000, false, false },
    { "retries of halves that may hold a bad line are identical", REFUSES_WHOLE, 0, 5000, false, true },
    { "retries of routed requests are identical", GOOD, 0, 5000, true, false },
    { "retries of routed halves are identical", REFUSES_WHOLE, 500, 100, true, true },
};

static void retries_are_identical(void **state) {
    const char *const targets[] = { NULL, "a", "b" };
    const struct identical_row *row = *state;
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, row->style);

    options.metric_batch_size = row->batch;
    rig->fake[0].routes = row->routes;
    rig->fake[0].max_bytes = row->max_bytes;
    rig->fake[0].fail_every = 3; /* every request is refused twice */
    rig->fake[0].bad[41] = row->bad;
    for (uint32_t i = 0; i < 100; i++)
        put(rig, 1 + i % 20, row->routes ? targets[i % 3] : NULL);
    start(rig, &options);
    wait_settled(rig, 0);
    stop(rig, 5000);
    assert_accounted(rig, 0, row->bad);
    assert_true(rig->fake[0].repeats >= rig->fake[0].requests * 2 / 3);
    rig_free(rig);
}

/* So much in any stretch of time as the bucket allows, and a third of a second more, as a request may be late and the next one not. */
static void assert_rate(const struct fake *fake, double points_per_s, double bytes_per_s) {
    for (unsigned first = 0; first < fake->requests; first++) {
        double points = 0, bytes = 0;
        for (unsigned last = first; last < fake->requests; last++) {
            double seconds = 1.3 + (double)(fake->arrivals[last].at_ns - fake->arrivals[first].at_ns) / 1e9;
            points += fake->arrivals[last].lines;
            bytes += (double)fake->arrivals[last].bytes;
            assert_true(points <= points_per_s * seconds);
            assert_true(bytes <= bytes_per_s * seconds);
        }
    }
}

static struct rate_row {
    const char *name;
    double points_per_s, bytes_per_s;
    unsigned senders, fail_every;
    uint32_t messages, lines;
} rates[] = {
    { "points per second are kept", 8000, 0, 2, 0, 2000, 6 },
    { "points per second are kept by one sender", 8000, 0, 1, 0, 2000, 6 },
    { "points per second are kept by many senders", 8000, 0, 8, 0, 2000, 6 },
    { "bytes per second are kept", 0, 80000, 2, 0, 2000, 6 },
    { "retries count as well", 8000, 0, 1, 2, 1000, 6 },
    { "retries count as well, several senders", 8000, 0, 4, 2, 2000, 6 }, /* enough without the retries: how many there are is chance */
    { "messages larger than a second's worth", 4000, 0, 2, 0, 1, 6000 },
};

static void keeps_the_rate(void **state) {
    const struct rate_row *row = *state;
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, row->senders, GOOD);
    double points = 0, bytes = 0;

    options.points_per_s = row->points_per_s;
    options.bytes_per_s = row->bytes_per_s;
    rig->fake[0].fail_every = row->fail_every;
    for (uint32_t i = 0; i < row->messages; i++)
        put(rig, row->lines, NULL);
    int64_t begun = clock_mono_ns();
    start(rig, &options);
    wait_settled(rig, 0);
    double seconds = (double)(clock_mono_ns() - begun) / 1e9;
    assert_accounted(rig, 0, 0);
    assert_rate(&rig->fake[0], row->points_per_s > 0 ? row->points_per_s : 1e12, row->bytes_per_s > 0 ? row->bytes_per_s : 1e12);
    for (unsigned i = 0; i < rig->fake[0].requests; i++) {
        points += rig->fake[0].arrivals[i].lines;
        bytes += (double)rig->fake[0].arrivals[i].bytes;
    }
    double wanted = row->points_per_s > 0 ? points / row->points_per_s - 1 : bytes / row->bytes_per_s - 1;
    assert_true(wanted > 0.4);
    assert_true(seconds > wanted * 0.95);
    assert_true(seconds < wanted + 3); /* it is used, too; the machine may be busy */
    assert_true(figure(rig, "output_throttled_seconds_total", "rate_limit") > wanted * 0.6);
    stop(rig, 5000);
    rig_free(rig);
}

static void points_below_the_limit_do_not_wait(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    options.points_per_s = 10000;
    start(rig, &options);
    for (uint32_t i = 0; i < 50; i++) {
        put(rig, 10, NULL);
        wait_settled(rig, 0);
    }
    assert_float_equal(figure(rig, "output_throttled_seconds_total", "rate_limit"), 0, 0);
    assert_float_equal(figure(rig, "output_rate_limit_points", NULL), 10000, 0);
    assert_float_equal(figure(rig, "output_rate_limit_bytes", NULL), -1, 0); /* there is none */
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void stopping_ends_the_wait_for_the_rate(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 4, GOOD);

    (void)state;
    options.points_per_s = 10;
    for (uint32_t i = 0; i < 1000; i++)
        put(rig, 1, NULL);
    start(rig, &options);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 1);
    assert_in_range(stop(rig, 100), 0, 2000);
    assert_true(figures_of(rig, 0).messages[FATE_DROPPED_SHUTDOWN] > 900);
    rig_free(rig);
}

static void a_message_of_more_lines_than_a_batch_is_cut(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    options.metric_batch_size = 100;
    put(rig, 250, NULL);
    start(rig, &options);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    assert_int_equal(rig->fake[0].largest, 100);
    assert_int_equal(rig->fake[0].requests, 3);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_message_of_more_bytes_than_a_request_is_cut(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    options.max_batch_bytes = 1000;
    rig->fake[0].max_bytes = 1000;
    put(rig, 1000, NULL);
    start(rig, &options);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    assert_int_equal(rig->fake[0].refused_requests, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void the_servers_size_limit_is_remembered(void **state) {
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].max_bytes = 10000;
    put(rig, 5000, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    unsigned refused = locked(&rig->fake[0].lock, &rig->fake[0].refused_requests);
    assert_in_range(refused, 1, 15); /* one path down, and its cousins that were cut before the limit was known */
    for (uint32_t i = 0; i < 5000; i++)
        put(rig, 1, NULL);
    wait_settled(rig, 0);
    assert_int_equal(locked(&rig->fake[0].lock, &rig->fake[0].refused_requests), refused);
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void one_line_above_the_size_limit_is_dead_and_costs_no_neighbour(void **state) {
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].max_bytes = 60;
    put(rig, 1, NULL);
    put(rig, 1, "a-target-that-makes-the-line-longer-than-the-server-takes-it");
    put(rig, 1, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 1);
    assert_int_equal(rig->grave[0].dead[1], 1);
    assert_string_equal(rig->grave[0].reason, "too_large");
    stop(rig, 5000);
    rig_free(rig);
}

/* One-line batches: with one sender stuck on poison only the stand-in can show that the server works. */
static void one_poison_message_does_not_block_a_single_sender(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, CHOKES);

    (void)state;
    options.metric_batch_size = 1;
    rig->fake[0].bad[0] = true;
    for (uint32_t i = 0; i < 20; i++)
        put(rig, 1, NULL);
    start(rig, &options);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 1);
    assert_bad_are_dead(rig);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_server_that_fails_on_everything_costs_no_line(void **state) {
    struct rig *rig = rig_new(1, 2, BROKEN);

    (void)state;
    for (uint32_t i = 0; i < 200; i++)
        put(rig, 1, NULL);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 100);
    set_style(&rig->fake[0], GOOD);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_wrong_password_loses_nothing(void **state) {
    struct rig *rig = rig_new(1, 2, NO_PASSWORD);
    struct delivery_state state_now;

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        put(rig, 1, NULL);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 3);
    delivery_state(rig->delivery[0], &state_now);
    assert_true(state_now.answered);
    assert_false(state_now.up);
    assert_string_equal(state_now.reason, "unauthorized");
    set_style(&rig->fake[0], GOOD);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    delivery_state(rig->delivery[0], &state_now);
    assert_true(state_now.up);
    assert_string_equal(state_now.reason, "");
    stop(rig, 5000);
    rig_free(rig);
}

static void retry_after_pauses_all_senders(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 4, GOOD);

    (void)state;
    options.metric_batch_size = 10;
    options.pause_divisor = 100;
    rig->fake[0].fail_first = 1;
    rig->fake[0].retry_after_ns = 20 * NS_PER_S; /* 200 ms here */
    put(rig, 1, NULL);
    start(rig, &options);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 1);
    for (uint32_t i = 0; i < 100; i++)
        put(rig, 1, NULL);
    wait_settled(rig, 0);
    assert_true(rig->fake[0].first_ns[1] - rig->fake[0].first_ns[0] >= 200 * NS_PER_MS);
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void no_connection_is_tried_again(void **state) {
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].fail_opens = 3;
    put(rig, 1, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    assert_int_equal(rig->fake[0].requests, 1);
    stop(rig, 5000);
    rig_free(rig);
}

static struct delay_row {
    const char *name;
    enum style style;
} delays[] = {
    { "a dead output delays no other", DOWN },
    { "an output that hangs delays no other", HANGS },
    { "an output without password delays no other", NO_PASSWORD },
};

static void delays_no_other(void **state) {
    const struct delay_row *row = *state;
    struct rig *rig = rig_new(2, 2, row->style);

    rig->fake[1].style = GOOD;
    start(rig, &quick);
    for (uint32_t i = 0; i < 5000; i++)
        put(rig, 1, NULL);
    wait_settled(rig, 1);
    assert_accounted(rig, 1, 0);
    assert_int_equal(figures_of(rig, 0).pending_messages, 5000);
    assert_in_range(stop(rig, 50), 0, 2000);
    assert_int_equal(figures_of(rig, 0).messages[FATE_DROPPED_SHUTDOWN], 5000);
    assert_accounted(rig, 1, 0);
    rig_free(rig);
}

static struct stop_row {
    const char *name;
    enum style style;
    uint32_t messages;
    unsigned divisor;
    unsigned wait_requests;
} stops[] = {
    { "stops when idle", GOOD, 0, 1, 0 },
    { "stops in the pause before a retry", DOWN, 10, 1, 2 },
    { "stops in a long pause for a password", NO_PASSWORD, 10, 1, 1 },
    { "stops while the server is busy", BUSY, 10000, 1, 1 },
    { "stops in the middle of a request", HANGS, 10, 1, 1 },
    { "stops with more than is in hand", DOWN, 19000, 1000, 10 },
    { "stops while a request is suspected", BROKEN, 3000, 10000, 200 },
};

static void stops_in_time(void **state) {
    const struct stop_row *row = *state;
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 2, row->style);

    options.pause_divisor = row->divisor;
    for (uint32_t i = 0; i < row->messages; i++)
        put(rig, 1, NULL);
    start(rig, &options);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, row->wait_requests);
    assert_in_range(stop(rig, 100), 0, 2000);
    struct spool_output_figures figures = figures_of(rig, 0);
    assert_int_equal(figures.messages[FATE_DROPPED_SHUTDOWN], row->messages);
    assert_int_equal(figures.lines[FATE_DROPPED_SHUTDOWN], row->messages);
    assert_int_equal(figures.pending_messages, 0);
    rig_free(rig);
}

static void stopping_in_a_pause_tries_once_more_at_once(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    options.pause_divisor = 1;
    rig->fake[0].fail_first = 1;
    rig->fake[0].retry_after_ns = 300 * NS_PER_S;
    for (uint32_t i = 0; i < 10; i++)
        put(rig, 1, NULL);
    start(rig, &options);
    wait_at_least(&rig->fake[0], &rig->fake[0].refused_requests, 1);
    assert_in_range(stop(rig, 20000), 0, 10000);
    assert_accounted(rig, 0, 0);
    rig_free(rig);
}

static void stopping_delivers_what_is_there(void **state) {
    struct delivery_options options = quick;
    struct rig *rig = rig_new(1, 2, GOOD);

    (void)state;
    options.flush_interval_ns = 3600 * NS_PER_S;
    start(rig, &options);
    for (uint32_t i = 0; i < 900; i++)
        put(rig, 1, NULL);
    assert_in_range(stop(rig, 20000), 0, 10000);
    assert_accounted(rig, 0, 0);
    rig_free(rig);
}

static void a_running_request_is_waited_for_until_the_deadline(void **state) {
    struct rig *rig = rig_new(1, 1, HANGS);

    (void)state;
    put(rig, 1, NULL);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].waiting, 1);
    int64_t begun = clock_mono_ns();
    stop(rig, 200);
    assert_true(clock_mono_ns() - begun >= 200 * NS_PER_MS);
    assert_int_equal(figures_of(rig, 0).messages[FATE_DROPPED_SHUTDOWN], 1);
    rig_free(rig);
}

static void lines_of_one_target_go_together_and_in_order(void **state) {
    const char *const targets[] = { NULL, "a", "b" };
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].routes = true;
    for (uint32_t i = 0; i < 999; i++)
        put(rig, 1, targets[i % 3]);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    assert_int_equal(rig->fake[0].requests, 3);
    assert_int_equal(rig->fake[0].largest, 333);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_routed_bad_line_is_found_and_kept_as_it_was(void **state) {
    const char *const targets[] = { NULL, "a", "b" };
    struct rig *rig = rig_new(1, 1, REFUSES_WHOLE);

    (void)state;
    rig->fake[0].routes = true;
    rig->fake[0].bad[500] = rig->fake[0].bad[700] = true;
    for (uint32_t i = 0; i < 999; i++)
        put(rig, 1, targets[i % 3]);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 2);
    assert_bad_are_dead(rig);
    stop(rig, 5000);
    rig_free(rig);
}

static void a_missing_target_costs_the_others_nothing(void **state) {
    const char *const targets[] = { "gone", "a", "b" };
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].routes = true;
    rig->fake[0].missing_target = "gone";
    for (uint32_t i = 0; i < 999; i++)
        put(rig, 1, targets[i % 3]);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 333);
    assert_string_equal(rig->grave[0].reason, "target");
    assert_string_equal(rig->grave[0].detail, "bucket not found");
    stop(rig, 5000);
    rig_free(rig);
}

/* Once given up, a target costs one request per batch and pauses nobody: the output is not down. */
static void a_refused_target_is_remembered(void **state) {
    const char *const targets[] = { "a", "gone" };
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].routes = true;
    rig->fake[0].missing_target = "gone";
    for (uint32_t i = 0; i < 10; i++)
        put(rig, 1, targets[i % 2]);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].refused_requests, 1);
    put(rig, 1, "a"); /* the one sender is stuck: a stand-in must show that others are served */
    wait_settled(rig, 0);
    unsigned refused = locked(&rig->fake[0].lock, &rig->fake[0].refused_requests);
    put(rig, 1, "gone");
    wait_settled(rig, 0);
    assert_int_equal(locked(&rig->fake[0].lock, &rig->fake[0].refused_requests), refused + 1);
    assert_float_equal(figure(rig, "output_up", NULL), 1, 0);
    assert_accounted(rig, 0, 6);
    stop(rig, 5000);
    rig_free(rig);
}

static void stopping_drops_the_groups_that_were_not_begun_too(void **state) {
    const char *const targets[] = { "a", "b", "c" };
    struct rig *rig = rig_new(1, 1, DOWN);

    (void)state;
    rig->fake[0].routes = true;
    for (uint32_t i = 0; i < 30; i++)
        put(rig, 1, targets[i % 3]);
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 2);
    stop(rig, 50);
    assert_int_equal(figures_of(rig, 0).messages[FATE_DROPPED_SHUTDOWN], 30);
    assert_int_equal(figures_of(rig, 0).lines[FATE_STORED], 0);
    rig_free(rig);
}

static void a_line_that_was_never_sent_cannot_be_named(void **state) {
    struct rig *rig = rig_new(1, 1, NAMES_TOO_MANY);

    (void)state;
    rig->fake[0].bad[1] = true;
    put(rig, 3, NULL);
    start(rig, &quick);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 1);
    assert_bad_are_dead(rig);
    stop(rig, 5000);
    rig_free(rig);
}

static void the_only_target_is_waited_for(void **state) {
    struct rig *rig = rig_new(1, 1, GOOD);

    (void)state;
    rig->fake[0].routes = true;
    rig->fake[0].missing_target = "gone";
    for (uint32_t i = 0; i < 10; i++)
        put(rig, 1, "gone");
    start(rig, &quick);
    wait_at_least(&rig->fake[0], &rig->fake[0].requests, 5);
    pthread_mutex_lock(&rig->fake[0].lock);
    rig->fake[0].missing_target = NULL;
    pthread_mutex_unlock(&rig->fake[0].lock);
    wait_settled(rig, 0);
    assert_accounted(rig, 0, 0);
    stop(rig, 5000);
    rig_free(rig);
}

static void figures_tell_what_happened(void **state) {
    struct rig *rig = rig_new(1, 1, NAMES_LINES);

    (void)state;
    start(rig, &quick);
    assert_float_equal(figure(rig, "output_up", NULL), -1, 0); /* not known before the first answer */
    rig->fake[0].bad[3] = rig->fake[0].bad[4] = true;
    rig->fake[0].fail_first = 2;
    put(rig, 10, NULL);
    wait_settled(rig, 0);
    put(rig, 1, NULL);
    wait_settled(rig, 0);
    assert_float_equal(figure(rig, "output_up", NULL), 1, 0);
    assert_float_equal(figure(rig, "output_requests_total", "retry_later"), 2, 0);
    assert_float_equal(figure(rig, "output_requests_total", "partial"), 1, 0);
    assert_float_equal(figure(rig, "output_requests_total", "delivered"), 1, 0);
    assert_float_equal(figure(rig, "output_http_status_total", "503"), 2, 0);
    assert_float_equal(figure(rig, "output_http_status_total", "2xx"), 1, 0);
    assert_float_equal(figure(rig, "output_lines_rejected_total", "type_conflict"), 2, 0);
    assert_float_equal(figure(rig, "output_retries_total", NULL), 2, 0);
    assert_float_equal(figure(rig, "output_splits_total", NULL), 0, 0);
    assert_float_equal(figure(rig, "output_backoff_seconds", NULL), 0, 0);
    assert_float_equal(figure(rig, "output_wire_bytes_total", NULL), 3 * 80 + 9, 0);
    struct wanted wanted = { "", NULL, 0, 0 };
    delivery_collect(rig->delivery[0], &(struct metric_writer){ &wanted, see_sample, see_histogram });
    assert_int_equal(wanted.observations, 4);
    stop(rig, 5000);
    rig_free(rig);
}

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

int main(void) {
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(one_bad_line_of_5000_takes_26_requests_at_most),
        cmocka_unit_test(a_refused_batch_is_dead_to_the_last_line),
        cmocka_unit_test(a_retry_has_the_same_bytes),
        cmocka_unit_test(a_retry_of_half_a_request_has_the_same_bytes),
        cmocka_unit_test(a_message_of_more_lines_than_a_batch_is_cut),
        cmocka_unit_test(a_message_of_more_bytes_than_a_request_is_cut),
        cmocka_unit_test(the_servers_size_limit_is_remembered),
        cmocka_unit_test(one_line_above_the_size_limit_is_dead_and_costs_no_neighbour),
        cmocka_unit_test(one_poison_message_does_not_block_a_single_sender),
        cmocka_unit_test(a_server_that_fails_on_everything_costs_no_line),
        cmocka_unit_test(a_wrong_password_loses_nothing),
        cmocka_unit_test(retry_after_pauses_all_senders),
        cmocka_unit_test(no_connection_is_tried_again),
        cmocka_unit_test(stopping_in_a_pause_tries_once_more_at_once),
        cmocka_unit_test(stopping_delivers_what_is_there),
        cmocka_unit_test(a_running_request_is_waited_for_until_the_deadline),
        cmocka_unit_test(lines_of_one_target_go_together_and_in_order),
        cmocka_unit_test(a_routed_bad_line_is_found_and_kept_as_it_was),
        cmocka_unit_test(a_missing_target_costs_the_others_nothing),
        cmocka_unit_test(a_refused_target_is_remembered),
        cmocka_unit_test(stopping_drops_the_groups_that_were_not_begun_too),
        cmocka_unit_test(a_line_that_was_never_sent_cannot_be_named),
        cmocka_unit_test(the_only_target_is_waited_for),
        cmocka_unit_test(figures_tell_what_happened),
        cmocka_unit_test(points_below_the_limit_do_not_wait),
        cmocka_unit_test(stopping_ends_the_wait_for_the_rate),
    };
    struct CMUnitTest tests[ROWS(plain) + ROWS(servers) + ROWS(delays) + ROWS(stops) + ROWS(identicals) + ROWS(rates)];
    size_t count = ROWS(plain);

    log_set(getenv("TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR, LOG_TEXT);
    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < ROWS(servers); i++)
        tests[count++] = (struct CMUnitTest){ servers[i].name, every_line_finds_its_end, NULL, NULL, &servers[i] };
    for (size_t i = 0; i < ROWS(delays); i++)
        tests[count++] = (struct CMUnitTest){ delays[i].name, delays_no_other, NULL, NULL, &delays[i] };
    for (size_t i = 0; i < ROWS(stops); i++)
        tests[count++] = (struct CMUnitTest){ stops[i].name, stops_in_time, NULL, NULL, &stops[i] };
    for (size_t i = 0; i < ROWS(identicals); i++)
        tests[count++] = (struct CMUnitTest){ identicals[i].name, retries_are_identical, NULL, NULL, &identicals[i] };
    for (size_t i = 0; i < ROWS(rates); i++)
        tests[count++] = (struct CMUnitTest){ rates[i].name, keeps_the_rate, NULL, NULL, &rates[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
