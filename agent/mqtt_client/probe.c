/* agent/mqtt_client/probe.c: `check --connect`: connects to every server, subscribes to every filter, and says how it
 * went. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/mqtt_client/source_parts.h"

enum { PROBE_FILTERS_MAX = 1024, NO_ANSWER = -2 };

enum probe_phase { PROBE_WAITING, PROBE_ACCEPTED, PROBE_FAILED, PROBE_CLOSED };

struct probe {
    const struct mqtt_source *source;
    struct connection_hooks hooks;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum probe_phase phase;
    struct connection_failure failure;
    int codes[PROBE_FILTERS_MAX];
    size_t answered;
};

static void move_to(struct probe *probe, enum probe_phase phase) {
    pthread_mutex_lock(&probe->lock);
    probe->phase = phase;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

static void on_accepted(void *ctx, struct connection *connection, const struct connection_accepted *how) {
    (void)connection;
    (void)how;
    move_to(ctx, PROBE_ACCEPTED);
}

static void on_failed(void *ctx, struct connection *connection, const struct connection_failure *why) {
    struct probe *probe = ctx;

    (void)connection;
    pthread_mutex_lock(&probe->lock);
    probe->failure = *why;
    pthread_mutex_unlock(&probe->lock);
    move_to(probe, PROBE_FAILED);
}

static void on_lost(void *ctx, struct connection *connection, const char *why, int code) {
    (void)connection;
    (void)why;
    (void)code;
    move_to(ctx, PROBE_CLOSED);
}

static void on_closed(void *ctx, struct connection *connection) {
    (void)connection;
    move_to(ctx, PROBE_CLOSED);
}

static void on_subscribed(void *ctx, struct connection *connection, uint64_t tag, int code) {
    struct probe *probe = ctx;

    (void)connection;
    if (code == SUBSCRIBE_ABANDONED || tag >= PROBE_FILTERS_MAX)
        return;
    pthread_mutex_lock(&probe->lock);
    probe->codes[tag] = code;
    probe->answered++;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

/* The session is thrown away with whatever came. */
static void on_message(void *ctx, struct connection *connection, const struct inbound *inbound) {
    (void)ctx;
    (void)connection;
    (void)inbound;
}

/* Until the phase is another one, or so many answers have come; false at the deadline. */
static bool wait_for(struct probe *probe, enum probe_phase while_in, size_t answers, int64_t deadline_ns) {
    struct timespec until = clock_timespec(deadline_ns);
    int rc = 0;

    pthread_mutex_lock(&probe->lock);
    while (probe->phase == while_in && (answers == 0 || probe->answered < answers) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&probe->changed, &probe->lock, &until);
    pthread_mutex_unlock(&probe->lock);
    return rc != ETIMEDOUT;
}

static bool report_filters(struct probe *probe, int version, struct buf *report) {
    const struct subscriptions *subs = &probe->source->subscriptions;
    bool ok = true;

    for (size_t i = 0; i < subs->count && i < PROBE_FILTERS_MAX; i++) {
        const struct subscription *sub = &subs->items[i];
        int code = probe->codes[i];
        if (sub->covered_by >= 0) {
            buf_printf(report, "  %s: covered by %s\n", sub->filter, subs->items[sub->covered_by].filter);
            continue;
        }
        if (code >= 0 && code <= 2)
            buf_printf(report, "  %s: granted, QoS %d\n", sub->filter, code);
        else if (code == NO_ANSWER)
            buf_printf(report, "  %s: no answer\n", sub->filter);
        else
            buf_printf(report, "  %s: refused: %s (code %d)\n", sub->filter, connection_reason(version, code), code);
        ok = ok && code >= 0 && code <= 2;
    }
    return ok;
}

static bool probe_filters(struct probe *probe, struct connection *c, int64_t deadline_ns, struct buf *report) {
    const struct subscriptions *subs = &probe->source->subscriptions;
    size_t asked = 0;

    for (size_t i = 0; i < subs->count && i < PROBE_FILTERS_MAX; i++) {
        probe->codes[i] = NO_ANSWER;
        /* Retain handling 2: what is retained is not wanted here. */
        if (subs->items[i].covered_by < 0 &&
            connection_subscribe(c, subs->items[i].filter, probe->source->settings.qos, 2, 0, i))
            asked++;
    }
    wait_for(probe, PROBE_ACCEPTED, asked, deadline_ns);
    return report_filters(probe, connection_version(c), report);
}

static bool probe_open(struct probe *probe, struct connection *c, int64_t deadline_ns) {
    unsigned keepalive_s = (unsigned)(probe->source->settings.options->keepalive_ns / NS_PER_S);
    size_t count = connection_resolve(c, &probe->failure);
    bool accepted = false;

    for (size_t i = 0; i < count && !accepted; i++) {
        probe->phase = PROBE_WAITING;
        if (!connection_open(c, i, keepalive_s, &probe->failure))
            continue;
        bool answered = wait_for(probe, PROBE_WAITING, 0, deadline_ns);
        connection_opened(c);
        if (!answered) {
            probe->failure.kind = FAILED_TIMEOUT;
            snprintf(probe->failure.text, sizeof probe->failure.text, "no answer in time");
            return false;
        }
        accepted = probe->phase == PROBE_ACCEPTED;
    }
    return accepted;
}

static bool probe_version(struct probe *probe, const struct mqtt_server *server, int version, int64_t deadline_ns,
                          struct buf *report) {
    char client_id[80];
    const struct connection_terms terms = { .version = version, .client_id = client_id, .clean = true };
    struct err err = ERR_INIT;
    bool ok = false;

    source_client_id(probe->source, true, client_id, sizeof client_id);
    struct connection *c = connection_new(&probe->source->settings, server, &terms, &probe->hooks, &err);
    if (c == NULL) {
        snprintf(probe->failure.text, sizeof probe->failure.text, "%.*s", (int)sizeof probe->failure.text - 1, err.text);
        return false;
    }
    probe->answered = 0;
    if (probe_open(probe, c, deadline_ns)) {
        buf_printf(report, "%s: connected with MQTT %s\n", server->shown, version >= 5 ? "5" : "3.1.1");
        ok = probe_filters(probe, c, deadline_ns, report);
        probe->failure.text[0] = '\0';
        if (connection_close(c))
            wait_for(probe, PROBE_ACCEPTED, 0, deadline_ns);
    }
    connection_free(c);
    return ok;
}

static bool probe_server(struct probe *probe, const struct mqtt_server *server, int64_t deadline_ns,
                         struct buf *report) {
    enum mqtt_protocol protocol = (enum mqtt_protocol)probe->source->settings.options->protocol;
    bool ok = false;

    snprintf(probe->failure.text, sizeof probe->failure.text, "cannot connect");
    probe->failure.kind = FAILED_NETWORK;
    if (protocol != MQTT_PROTOCOL_311)
        ok = probe_version(probe, server, 5, deadline_ns, report);
    bool old = probe->failure.text[0] != '\0' &&
               (probe->failure.kind == FAILED_VERSION || probe->failure.kind == FAILED_CLOSED);
    if (protocol == MQTT_PROTOCOL_311 || (protocol == MQTT_PROTOCOL_AUTO && old))
        ok = probe_version(probe, server, 4, deadline_ns, report);
    if (probe->failure.text[0] != '\0')
        buf_printf(report, "%s: %s\n", server->shown, probe->failure.text);
    return ok;
}

bool mqtt_source_probe(const struct mqtt_source *source, int64_t timeout_ns, struct buf *report, struct err *err) {
    struct probe probe = { .source = source, .lock = PTHREAD_MUTEX_INITIALIZER };
    pthread_condattr_t monotonic;
    size_t bad = 0;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&probe.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    probe.hooks = (struct connection_hooks){ .ctx = &probe,
                                             .accepted = on_accepted,
                                             .failed = on_failed,
                                             .lost = on_lost,
                                             .closed = on_closed,
                                             .subscribed = on_subscribed,
                                             .message = on_message };
    for (size_t i = 0; i < source->settings.server_count; i++)
        bad += !probe_server(&probe, &source->settings.servers[i], clock_mono_ns() + timeout_ns, report);
    pthread_cond_destroy(&probe.changed);
    pthread_mutex_destroy(&probe.lock);
    return bad == 0 || err_set(err, ERR_NETWORK, "%zu of %zu servers would not do", bad, source->settings.server_count);
}
