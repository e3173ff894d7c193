/* agent/mqtt_client/source.c: see source.h. How a source begins and ends, and what Paho's threads tell it. */
#include "agent/mqtt_client/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mqtt_client/source_parts.h"

bool mqtt_client_setup(struct err *err) {
    return connection_setup(err);
}

/* ---- hooks ------------------------------------------------------------------------------------------------------ */

static void wake_locked(struct mqtt_source *source) {
    source->wake = true;
    pthread_cond_broadcast(&source->changed);
}

/* The broker sends again what it has not seen an acknowledgement for, and some of what it has. */
void source_forget_acks(struct mqtt_source *source) {
    redelivery_lost_begin(&source->redelivery);
    for (size_t i = 0; i < source->held.count; i++)
        redelivery_lost_held(&source->redelivery, held_acks_id(&source->held, i));
    metric_add(&source->figures.acks_discarded, held_acks_discard(&source->held));
}

/* Acknowledgements belong to a connection. */
static void end_connection(struct mqtt_source *source) {
    source->epoch++;
    source->refusing = false;
    source->reconnect_at_ns = 0;
    if (source->phase == PHASE_UP)
        source_forget_acks(source);
}

/* ---- sessions --------------------------------------------------------------------------------------------------- */

static uint32_t session_of(const struct mqtt_source *source, const struct mqtt_server *server) {
    uint64_t client = str_hash(str_of(source->client_id)), where = str_hash(str_of(server->shown));

    return (uint32_t)(client ^ where * 31);
}

/* What the broker knows of us decides what it may deliver again. */
static void enter_session(struct mqtt_source *source, struct connection *connection, bool present) {
    uint32_t session = session_of(source, connection_server(connection));

    if (!present || session != source->session)
        redelivery_forget(&source->redelivery);
    source->session = session;
    for (size_t i = 0; present && i < source->remembered_count; i++) {
        const struct message_origin *origin = &source->remembered[i];
        if (origin->session == session)
            redelivery_note(&source->redelivery, origin->id, origin->content, 0, false);
    }
    free(source->remembered);
    source->remembered = NULL;
    source->remembered_count = 0;
}

void mqtt_source_remember(struct mqtt_source *source, const struct message_origin *origins, size_t count) {
    source->remembered = count > 0 ? malloc(count * sizeof *origins) : NULL;
    if (source->remembered == NULL)
        return; /* what comes again is a second point */
    memcpy(source->remembered, origins, count * sizeof *origins);
    source->remembered_count = count;
}

/* ---- hooks, again ----------------------------------------------------------------------------------------------- */

static bool is_current(struct mqtt_source *source, struct connection *connection) {
    return atomic_load(&source->current) == connection;
}

static void on_accepted(void *ctx, struct connection *connection, const struct connection_accepted *how) {
    struct mqtt_source *source = ctx;

    if (!is_current(source, connection))
        return;
    pthread_mutex_lock(&source->lock);
    end_connection(source);
    enter_session(source, connection, how->session_present);
    source->accepted = *how;
    source->phase = PHASE_UP;
    wake_locked(source);
    pthread_mutex_unlock(&source->lock);
}

static void on_failed(void *ctx, struct connection *connection, const struct connection_failure *why) {
    struct mqtt_source *source = ctx;

    if (!is_current(source, connection))
        return;
    pthread_mutex_lock(&source->lock);
    if (source->phase == PHASE_CONNECTING) {
        source->failure = *why;
        source->phase = PHASE_DOWN;
        wake_locked(source);
    }
    pthread_mutex_unlock(&source->lock);
}

static void on_lost(void *ctx, struct connection *connection, const char *why, int code) {
    struct mqtt_source *source = ctx;

    (void)code;
    if (!is_current(source, connection))
        return;
    if (connection_was_malformed(connection))
        metric_add(&source->figures.malformed, 1);
    pthread_mutex_lock(&source->lock);
    end_connection(source);
    snprintf(source->lost_why, sizeof source->lost_why, "%s", why);
    /* For a connection that is lost before the keeper has seen it accepted. */
    source->failure.kind = FAILED_BROKER;
    snprintf(source->failure.text, sizeof source->failure.text, "%s", why);
    source->phase = PHASE_DOWN;
    wake_locked(source);
    pthread_mutex_unlock(&source->lock);
}

static void on_closed(void *ctx, struct connection *connection) {
    struct mqtt_source *source = ctx;

    if (!is_current(source, connection))
        return;
    pthread_mutex_lock(&source->lock);
    end_connection(source);
    source->phase = PHASE_DOWN;
    source->closed = true;
    wake_locked(source);
    pthread_mutex_unlock(&source->lock);
}

static int64_t retry_pause(unsigned refusals) {
    int64_t pause = 10 * NS_PER_S;

    for (unsigned i = 1; i < refusals && pause < 600 * NS_PER_S; i++)
        pause *= 2;
    return pause;
}

static void note_granted(struct mqtt_source *source, const char *server, struct subscription *sub) {
    if (sub->refusals > 0)
        log_info("MQTT-GRANTED", "input %s: %s grants topic filter %s now", source->name, server, sub->filter);
    sub->refusals = 0;
    if (sub->code < source->settings.qos)
        log_warn("MQTT-QOS",
                 "input %s: %s grants topic filter %s with QoS %d only: its messages may be lost on the way",
                 source->name, server, sub->filter, sub->code);
}

/* The other filters go on; this one is asked for again at growing intervals, and said again less and less often. */
static void note_refused(struct mqtt_source *source, const char *server, int version, struct subscription *sub) {
    sub->refusals++;
    sub->deadline_ns = clock_mono_ns() + retry_pause(sub->refusals);
    if ((sub->refusals & (sub->refusals - 1)) == 0)
        log_error("MQTT-REFUSED", "input %s: %s refuses topic filter %s: %s (code %d)", source->name, server,
                  sub->filter, connection_reason(version, sub->code), sub->code);
}

static void note_answer(struct mqtt_source *source, struct connection *connection, struct subscription *sub, int code) {
    const char *server = connection_server(connection)->shown;
    bool refused = code < 0 || code > 2;

    sub->code = code;
    sub->state = refused ? SUBSCRIPTION_REFUSED : SUBSCRIPTION_GRANTED;
    if (refused)
        note_refused(source, server, connection_version(connection), sub);
    else
        note_granted(source, server, sub);
}

static void on_subscribed(void *ctx, struct connection *connection, uint64_t tag, int code) {
    struct mqtt_source *source = ctx;
    size_t index = (size_t)(tag & 0xffffffff);

    if (code == SUBSCRIBE_ABANDONED)
        return;
    pthread_mutex_lock(&source->lock);
    if (tag >> 32 == (source->epoch & 0xffffffff) && index < source->subscriptions.count)
        note_answer(source, connection, &source->subscriptions.items[index], code);
    wake_locked(source);
    pthread_mutex_unlock(&source->lock);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static bool init_locks(struct mqtt_source *source) {
    pthread_condattr_t monotonic;
    bool ok;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    ok = pthread_mutex_init(&source->lock, NULL) == 0 && pthread_cond_init(&source->changed, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    return ok;
}

struct mqtt_source *mqtt_source_new(const void *options, const struct yaml_node *map, const char *name,
                                    struct diags *diags) {
    struct mqtt_source *source = calloc(1, sizeof *source);
    bool ok;

    if (source == NULL)
        return NULL;
    ok = init_locks(source) && (source->name = strdup(name)) != NULL &&
         mqtt_settings_init(&source->settings, options, map, name, diags) &&
         subscriptions_init(&source->subscriptions, &((const struct mqtt_options *)options)->topics) &&
         (source->servers = calloc(source->settings.server_count, sizeof *source->servers)) != NULL;
    redelivery_init(&source->redelivery, source->settings.receive_maximum);
    source->hooks = (struct connection_hooks){ .ctx = source,
                                               .accepted = on_accepted,
                                               .failed = on_failed,
                                               .lost = on_lost,
                                               .closed = on_closed,
                                               .subscribed = on_subscribed,
                                               .message = inbox_message };
    if (ok)
        return source;
    mqtt_source_free(source);
    return NULL;
}

void source_client_id(const struct mqtt_source *source, bool probing, char *out, size_t size) {
    const struct mqtt_settings *settings = &source->settings;
    char random[80];

    if (!probing && (settings->persistent || settings->client_id_given)) {
        snprintf(out, size, "%s", settings->client_id);
        return;
    }
    mqtt_client_id_random(settings->client_id, random);
    snprintf(out, size, "%s", random);
}

int mqtt_source_client_options(const struct mqtt_source *source, struct mqtt_client_options *out) {
    const struct mqtt_settings *settings = &source->settings;
    const struct mqtt_options *options = settings->options;
    static const int versions[] = { [MQTT_PROTOCOL_AUTO] = 0, [MQTT_PROTOCOL_5] = 5, [MQTT_PROTOCOL_311] = 4 };

    out->servers = (const char *const *)options->servers.items;
    out->server_count = options->servers.count;
    out->version = versions[options->protocol];
    out->keepalive_s = (unsigned)(options->keepalive_ns / NS_PER_S);
    out->username = options->username;
    out->password = options->password;
    out->password_file = settings->password_file;
    out->tls = options->tls_enable != CHOICE_AUTO && options->tls_enable < CHOICE_FIRST_NO ? MQTT_CLIENT_TLS_ALWAYS
                                                                                           : MQTT_CLIENT_TLS_AS_URL;
    out->verify = options->insecure_skip_verify ? MQTT_CLIENT_VERIFY_NONE : MQTT_CLIENT_VERIFY_ALL;
    out->tls_ca = options->tls_ca;
    out->tls_cert = options->tls_cert;
    out->tls_key = options->tls_key;
    out->tls_key_password = options->tls_key_password;
    out->tls_server_name = options->tls_server_name;
    out->tls_suites = settings->tls_ciphers;
    return (int)options->qos;
}

static void say_what_is_special(const struct mqtt_source *source) {
    const struct mqtt_settings *settings = &source->settings;

    if (settings->options->qos == 2)
        log_info(
            "MQTT-QOS",
            "input %s: subscribing at QoS 1, which the spool makes exact: each message is acknowledged once it is safe",
            source->name);
    for (size_t i = 0; i < source->subscriptions.count; i++) {
        const struct subscription *sub = &source->subscriptions.items[i];
        if (sub->covered_by >= 0)
            log_info("MQTT-COVERED", "input %s: topic filter %s is covered by %s and not subscribed to", source->name,
                     sub->filter, source->subscriptions.items[sub->covered_by].filter);
    }
    if (source->subscriptions.overlapping && settings->options->protocol == MQTT_PROTOCOL_311)
        log_warn("MQTT-OVERLAP",
                 "input %s: its topic filters overlap, and with MQTT 3.1.1 a broker may send a message once for each",
                 source->name);
}

bool mqtt_source_start(struct mqtt_source *source, struct message_sink sink, bool acknowledge_late, struct err *err) {
    source->sink = sink;
    source->late = acknowledge_late;
    source->clean = !acknowledge_late || !source->settings.persistent;
    source_client_id(source, !acknowledge_late, source->client_id, sizeof source->client_id);
    atomic_store(&source->taking, true);
    say_what_is_special(source);
    int rc = pthread_create(&source->keeper, NULL, keeper_main, source);
    if (rc != 0)
        return err_set_errno(err, rc, "cannot start a thread for input %s", source->name);
    source->started = true;
    return true;
}

void source_nudge(struct mqtt_source *source) {
    if (atomic_exchange(&source->nudged, true))
        return;
    pthread_mutex_lock(&source->lock);
    wake_locked(source);
    pthread_mutex_unlock(&source->lock);
}

void mqtt_source_durable(struct mqtt_source *source, uint64_t sequence) {
    uint64_t before = atomic_load_explicit(&source->durable, memory_order_relaxed);

    while (sequence > before && !atomic_compare_exchange_weak(&source->durable, &before, sequence))
        continue;
    source_nudge(source);
}

void mqtt_source_stop_taking(struct mqtt_source *source) {
    atomic_store(&source->taking, false);
    if (!source->started)
        return;
    /* Deliveries run under Paho's lock: once we have had it, the last one has ended and the next one sees the flag. */
    connection_lock();
    connection_unlock();
}

void mqtt_source_stop(struct mqtt_source *source, int64_t timeout_ns) {
    struct timespec until;

    mqtt_source_stop_taking(source);
    if (!source->started)
        return;
    pthread_mutex_lock(&source->lock);
    source->stopping = true;
    source->stop_deadline_ns = clock_mono_ns() + timeout_ns;
    until = clock_timespec(source->stop_deadline_ns + NS_PER_S);
    wake_locked(source);
    while (!source->finished && pthread_cond_timedwait(&source->changed, &source->lock, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&source->lock);
}

void mqtt_source_free(struct mqtt_source *source) {
    if (source == NULL)
        return;
    if (source->started) {
        mqtt_source_stop(source, 0);
        pthread_join(source->keeper, NULL); /* a name server may hold it up */
    }
    held_acks_release(&source->held);
    redelivery_release(&source->redelivery);
    free(source->remembered);
    subscriptions_release(&source->subscriptions);
    mqtt_settings_release(&source->settings);
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->lock);
    free(source->servers);
    free(source->name);
    free(source);
}

bool mqtt_source_ready(const struct mqtt_source *source) {
    struct mqtt_source *s = (struct mqtt_source *)source; /* locking changes nothing that a reader sees */

    pthread_mutex_lock(&s->lock);
    bool up = s->phase == PHASE_UP;
    pthread_mutex_unlock(&s->lock);
    return up && atomic_load(&s->was_ready);
}
