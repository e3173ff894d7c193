/*
 * agent/mqtt_client/keeper.c: the thread that keeps one source connected: tries the servers in order, subscribes after
 * every connect, and sends the acknowledgements that have become due. It is neither Paho's thread nor the one that
 * syncs the spool, so it may take Paho's lock while both go on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/mqtt_client/source_parts.h"

enum { ACKS_AT_ONCE = 1024, FLAPS_FORGIVEN = 8 };

static const int64_t first_pause_ns = 250 * NS_PER_MS, early_pause_ns = 1 * NS_PER_S, early_ns = 60 * NS_PER_S,
                     credentials_pause_ns = 5 * NS_PER_S, close_wait_ns = 2 * NS_PER_S, steady_ns = 5 * NS_PER_S,
                     ack_retry_ns = 5 * NS_PER_MS, reconnect_gap_ns = 1 * NS_PER_S, far_ns = 3600 * NS_PER_S;

/* What the keeper alone knows. */
struct keeper {
    struct mqtt_source *source;
    uint64_t random;
    unsigned failures;      /* rounds in a row */
    unsigned flaps;         /* connections in a row that did not last */
    int64_t down_since_ns;  /* monotonic */
    int64_t reconnected_ns; /* last time for refused messages */
};

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

static void sleep_unless_stopping(struct mqtt_source *s, int64_t duration_ns) {
    int64_t until = clock_mono_ns() + duration_ns;

    pthread_mutex_lock(&s->lock);
    while (!s->stopping && clock_mono_ns() < until)
        source_wait(s, until);
    pthread_mutex_unlock(&s->lock);
}

/* xorshift64*: jitter needs no better. */
static uint64_t next_random(struct keeper *k) {
    k->random ^= k->random >> 12;
    k->random ^= k->random << 25;
    k->random ^= k->random >> 27;
    return k->random * 0x2545F4914F6CDD1DULL;
}

/*
 * Full jitter below a ceiling that doubles. In the first minute the ceiling stays low, as most brokers are back by then
 * and a refused connect costs next to nothing; wrong credentials are not retried that fast. A broker that ends every
 * connection soon is no different: one that restarts again and again must be found again within 2 s each time.
 */
static int64_t choose_pause(struct keeper *k, enum connection_failure_kind kind) {
    int64_t max = k->source->settings.options->max_reconnect_interval_ns, ceiling = first_pause_ns;
    bool credentials = kind == FAILED_CREDENTIALS;
    bool early = !credentials && clock_mono_ns() - k->down_since_ns < early_ns;

    if (credentials)
        ceiling = credentials_pause_ns;
    for (unsigned i = 1; i < k->failures && ceiling < max; i++)
        ceiling *= 2;
    if (early && ceiling > early_pause_ns)
        ceiling = early_pause_ns;
    if (max > 0 && ceiling > max)
        ceiling = max;
    return ceiling / 8 + (int64_t)(next_random(k) % (uint64_t)(ceiling - ceiling / 8));
}

/* ---- connecting ------------------------------------------------------------------------------------------------- */

static void report_failure(struct mqtt_source *s, size_t server, const struct connection_failure *failure) {
    metric_add(&s->figures.failures[failure->kind], 1);
    complain(&s->connect_trouble, failure->kind == FAILED_CREDENTIALS ? LOG_ERROR : LOG_WARN,
             failure->kind == FAILED_CREDENTIALS ? "MQTT-AUTH" : "MQTT-UNREACHABLE",
             "input %s: cannot connect to %s: %s", s->name, s->settings.servers[server].shown, failure->text);
}

static bool connect_round(struct keeper *k, struct connection_failure *failure) {
    struct mqtt_source *s = k->source;

    for (size_t i = 0; i < s->settings.server_count && !source_is_stopping(s); i++) {
        if (reach_server(s, i, failure))
            return true;
        if (!source_is_stopping(s))
            report_failure(s, i, failure);
    }
    return false;
}

/* ---- subscribing ------------------------------------------------------------------------------------------------ */

/*
 * MQTT 5, 3.8.3.1: 0 sends retained messages now, 1 only for a new subscription, 2 never. With 1 a reconnect to a kept
 * session brings none again; who wants only those wants them at every start.
 */
static int retain_handling(const struct mqtt_source *s) {
    switch ((enum mqtt_retained)s->settings.options->retained) {
    case MQTT_RETAINED_SKIP:
        return 2;
    case MQTT_RETAINED_ONLY:
        return 0;
    case MQTT_RETAINED_STORE:
        break;
    }
    return 1;
}

static uint64_t tag_of(uint64_t epoch, size_t index) {
    return epoch << 32 | index;
}

static void subscribe(struct mqtt_source *s, struct connection *c, size_t index) {
    struct subscription *sub = &s->subscriptions.items[index];
    bool identifiers;
    uint64_t epoch;

    pthread_mutex_lock(&s->lock);
    epoch = s->epoch;
    identifiers = s->subscriptions.overlapping && s->accepted.identifiers;
    sub->state = SUBSCRIPTION_ASKED;
    sub->deadline_ns = clock_mono_ns() + s->settings.options->connection_timeout_ns;
    pthread_mutex_unlock(&s->lock);
    /* When Paho refuses this, the deadline passes and a new connection is made. */
    connection_subscribe(c, sub->filter, s->settings.qos, retain_handling(s), identifiers ? sub->identifier : 0,
                         tag_of(epoch, index));
}

static void subscribe_all(struct mqtt_source *s, struct connection *c) {
    for (size_t i = 0; i < s->subscriptions.count; i++)
        if (s->subscriptions.items[i].covered_by < 0)
            subscribe(s, c, i);
}

/* Asks again for filters that were refused a while ago. False when an answer is overdue. */
static bool look_after_subscriptions(struct mqtt_source *s, struct connection *c, int64_t now, int64_t *next_ns) {
    for (size_t i = 0; i < s->subscriptions.count; i++) {
        struct subscription *sub = &s->subscriptions.items[i];
        pthread_mutex_lock(&s->lock);
        enum subscription_state state = sub->state;
        int64_t deadline = sub->deadline_ns;
        pthread_mutex_unlock(&s->lock);
        if (sub->covered_by >= 0 || state == SUBSCRIPTION_GRANTED)
            continue;
        if (deadline <= now && state == SUBSCRIPTION_ASKED)
            return false;
        if (deadline <= now)
            subscribe(s, c, i);
        else if (deadline < *next_ns)
            *next_ns = deadline;
    }
    return true;
}

/* ---- acknowledging ---------------------------------------------------------------------------------------------- */

/* Sends what is due; true when nothing due is left unsent. */
static bool release_acks(struct mqtt_source *s, struct connection *c) {
    uint16_t ids[ACKS_AT_ONCE];
    size_t due, sent;

    for (;;) {
        pthread_mutex_lock(&s->lock);
        due = held_acks_due(&s->held, atomic_load(&s->durable), ids, ACKS_AT_ONCE);
        pthread_mutex_unlock(&s->lock);
        if (due == 0)
            return true;
        /* Under Paho's lock the connection cannot change, so what is due belongs to it. */
        connection_lock();
        pthread_mutex_lock(&s->lock);
        due = s->phase == PHASE_UP ? held_acks_due(&s->held, atomic_load(&s->durable), ids, ACKS_AT_ONCE) : 0;
        pthread_mutex_unlock(&s->lock);
        sent = due > 0 ? connection_acknowledge(c, ids, due) : 0;
        pthread_mutex_lock(&s->lock);
        held_acks_sent(&s->held, sent);
        pthread_mutex_unlock(&s->lock);
        connection_unlock();
        metric_add(&s->figures.acks_sent, sent);
        if (sent < due || due == 0)
            return due == 0;
    }
}

/* ---- connected -------------------------------------------------------------------------------------------------- */

/* DISCONNECT, and waits until it is done; whoever calls this looks at the connection no more. */
static void leave(struct mqtt_source *s, struct connection *c, int64_t deadline_ns) {
    pthread_mutex_lock(&s->lock);
    s->closed = false;
    pthread_mutex_unlock(&s->lock);
    if (!connection_close(c))
        return;
    pthread_mutex_lock(&s->lock);
    while (!s->closed && s->phase == PHASE_UP && clock_mono_ns() < deadline_ns)
        source_wait(s, deadline_ns);
    bool stuck = s->phase == PHASE_UP;
    if (stuck) {
        source_forget_acks(s);
        s->phase = PHASE_DOWN;
    }
    s->refusing = false;
    s->reconnect_at_ns = 0;
    pthread_mutex_unlock(&s->lock);
    if (stuck) {
        reach_renew(s, c);
        return;
    }
    int64_t left = deadline_ns - clock_mono_ns();
    connection_linger(c, left > 0 ? (int)(left / NS_PER_MS) : 0);
}

/* Paho keeps what it has asked a broker that never answered for as long as the client and the broker's session live. */
static void drop_unanswered(struct mqtt_source *s, struct connection *c) {
    pthread_mutex_lock(&s->lock);
    bool unanswered = subscriptions_in(&s->subscriptions, SUBSCRIPTION_ASKED) > 0;
    pthread_mutex_unlock(&s->lock);
    if (unanswered && atomic_load(&s->current) == c)
        reach_renew(s, c);
}

/*
 * Refused messages come again with a new connection: when the spool has moved since, or after a while; not before what was
 * taken is acknowledged, or that would come again, too. While acknowledgements are held the spool has no room anyhow.
 */
static bool wants_new_connection(struct keeper *k, int64_t now, int64_t *next_ns) {
    struct mqtt_source *s = k->source;
    int64_t at;

    pthread_mutex_lock(&s->lock);
    at = s->reconnect_at_ns;
    if (at > 0 && atomic_load(&s->durable) > s->durable_at_refusal)
        at = k->reconnected_ns + reconnect_gap_ns;
    if (s->held.count > 0)
        at = 0; /* looked at again when they are released */
    pthread_mutex_unlock(&s->lock);
    if (at == 0)
        return false;
    if (at > now && at < *next_ns)
        *next_ns = at;
    return at <= now;
}

static void note_ready(struct mqtt_source *s) {
    bool all;

    if (atomic_load(&s->was_ready))
        return;
    pthread_mutex_lock(&s->lock);
    all = subscriptions_in(&s->subscriptions, SUBSCRIPTION_ASKED) +
              subscriptions_in(&s->subscriptions, SUBSCRIPTION_REFUSED) ==
          0;
    pthread_mutex_unlock(&s->lock);
    if (all)
        atomic_store(&s->was_ready, true);
}

static bool is_up(struct mqtt_source *s) {
    pthread_mutex_lock(&s->lock);
    bool up = s->phase == PHASE_UP && !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return up;
}

/* Everything while the connection lasts. */
static void serve(struct keeper *k, struct connection *c) {
    struct mqtt_source *s = k->source;

    subscribe_all(s, c);
    while (is_up(s)) {
        int64_t now = clock_mono_ns(), next = now + far_ns;
        if (!release_acks(s, c))
            next = now + ack_retry_ns;
        if (!look_after_subscriptions(s, c, now, &next)) {
            complain(&s->answer_trouble, LOG_WARN, "MQTT-SILENT",
                     "input %s: %s does not answer a subscription; connecting anew", s->name,
                     connection_server(c)->shown);
            leave(s, c, now + close_wait_ns);
            return;
        }
        note_ready(s);
        if (wants_new_connection(k, now, &next)) {
            k->reconnected_ns = now;
            leave(s, c, now + close_wait_ns);
            return;
        }
        pthread_mutex_lock(&s->lock);
        if (s->phase == PHASE_UP && !s->stopping)
            source_wait(s, next);
        pthread_mutex_unlock(&s->lock);
    }
}

static void announce(struct mqtt_source *s, struct connection *c, bool session_present) {
    const char *session = s->clean ? "no session kept" : session_present ? "session resumed" : "new session";

    complaint_end(&s->connect_trouble);
    metric_add(&s->figures.connects, 1);
    log_info("MQTT-UP", "input %s: connected to %s with MQTT %s as %s, %s", s->name, connection_server(c)->shown,
             connection_version(c) >= 5 ? "5" : "3.1.1", s->client_id, session);
}

static bool lower_keepalive(struct mqtt_source *s, struct connection *c, unsigned wanted_s) {
    for (size_t i = 0; i < s->settings.server_count; i++) {
        if (&s->settings.servers[i] != connection_server(c) || wanted_s == 0 || wanted_s >= reach_keepalive(s, i))
            continue;
        log_info("MQTT-KEEPALIVE", "input %s: %s wants a keepalive of %u s; connecting anew with it", s->name,
                 connection_server(c)->shown, wanted_s);
        s->servers[i].keepalive_s = wanted_s;
        return true;
    }
    return false;
}

static void use_connection(struct keeper *k) {
    struct mqtt_source *s = k->source;
    struct connection *c = atomic_load(&s->current);
    const char *server = connection_server(c)->shown;
    struct connection_accepted how;
    int64_t since = clock_mono_ns();
    char why[sizeof s->lost_why];

    pthread_mutex_lock(&s->lock);
    how = s->accepted;
    pthread_mutex_unlock(&s->lock);
    announce(s, c, how.session_present);
    /* Paho 1.3.12 does not know that the broker's word on the keep alive counts (MQTT 5, 3.2.2.3.14). */
    if (lower_keepalive(s, c, how.keepalive_s)) {
        leave(s, c, since + close_wait_ns);
        return;
    }
    serve(k, c);
    if (source_is_stopping(s))
        return;
    drop_unanswered(s, c);
    pthread_mutex_lock(&s->lock);
    memcpy(why, s->lost_why, sizeof why);
    s->lost_why[0] = '\0';
    pthread_mutex_unlock(&s->lock);
    metric_add(&s->figures.disconnects, 1);
    if (why[0] != '\0')
        log_warn("MQTT-DOWN", "input %s: lost %s: %s", s->name, server, why);
    k->down_since_ns = clock_mono_ns();
    k->flaps = k->down_since_ns - since >= steady_ns || why[0] == '\0' ? 0 : k->flaps + 1;
    if (k->flaps == FLAPS_FORGIVEN)
        log_warn("MQTT-FLAPPING", "input %s: %s ends every connection soon; does another client use the client id %s?",
                 s->name, server, s->client_id);
    /* The first return is quick; after several in a row it is up to a second (choose_pause). */
    k->failures = k->flaps > FLAPS_FORGIVEN ? k->flaps - FLAPS_FORGIVEN : k->flaps > 0;
}

/* What is due leaves first; then the broker is told, so that it sends no last will and keeps the session. */
static void say_goodbye(struct mqtt_source *s) {
    struct connection *c = atomic_load(&s->current);
    int64_t deadline;
    bool up;

    pthread_mutex_lock(&s->lock);
    deadline = s->stop_deadline_ns;
    up = s->phase == PHASE_UP;
    pthread_mutex_unlock(&s->lock);
    if (!up || c == NULL)
        return;
    while (!release_acks(s, c) && clock_mono_ns() < deadline) {
        pthread_mutex_lock(&s->lock);
        up = s->phase == PHASE_UP;
        if (up)
            source_wait(s, clock_mono_ns() + ack_retry_ns);
        pthread_mutex_unlock(&s->lock);
        if (!up)
            return;
    }
    leave(s, c, deadline);
}

void *keeper_main(void *ctx) {
    struct mqtt_source *s = ctx;
    struct keeper k = { .source = s,
                        .random = (uint64_t)clock_real_ns() ^ (uint64_t)(uintptr_t)s,
                        .down_since_ns = clock_mono_ns() };

    while (!source_is_stopping(s)) {
        struct connection_failure failure = { .kind = FAILED_NETWORK };
        if (connect_round(&k, &failure)) {
            use_connection(&k);
            if (k.failures == 0)
                continue;
        } else {
            k.failures++;
        }
        sleep_unless_stopping(s, choose_pause(&k, failure.kind));
    }
    say_goodbye(s);
    atomic_store(&s->current, NULL);
    for (size_t i = 0; i < s->settings.server_count; i++) {
        connection_free(s->servers[i].v5);
        connection_free(s->servers[i].v311);
        s->servers[i].v5 = s->servers[i].v311 = NULL;
    }
    pthread_mutex_lock(&s->lock);
    s->finished = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
