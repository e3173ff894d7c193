/* agent/mqtt_client/reach.c: how a server is reached: every address of it, in the MQTT version that it speaks. The
 * keeper's thread. */
#include "agent/mqtt_client/source_parts.h"

#include <errno.h>
#include <stdio.h>

enum { CLOSED_BEFORE_DOUBT = 2 };

static const int64_t open_grace_ns = 5 * NS_PER_S;

/* Until something happens or `deadline_ns` (monotonic) is past. With the lock held. */
void source_wait(struct mqtt_source *s, int64_t deadline_ns) {
    struct timespec until = clock_timespec(deadline_ns);

    while (!s->wake && pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT)
        continue;
    s->wake = false;
    atomic_store(&s->nudged, false);
}

bool source_is_stopping(struct mqtt_source *s) {
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

static struct connection *get_connection(struct mqtt_source *s, size_t server, int version,
                                         struct connection_failure *failure) {
    struct connection **slot = version >= 5 ? &s->servers[server].v5 : &s->servers[server].v311;
    const struct connection_terms terms = { .version = version, .client_id = s->client_id, .clean = s->clean };
    struct err err = ERR_INIT;

    if (*slot == NULL)
        *slot = connection_new(&s->settings, &s->settings.servers[server], &terms, &s->hooks, &err);
    if (*slot == NULL) {
        failure->kind = FAILED_BROKER;
        snprintf(failure->text, sizeof failure->text, "%.*s", (int)sizeof failure->text - 1, err.text);
    }
    return *slot;
}

/* The new client is there before the old one goes: with its last client Paho ends its threads, which takes a while. */
void reach_renew(struct mqtt_source *s, struct connection *c) {
    struct connection_failure failure;

    atomic_store(&s->current, NULL);
    for (size_t i = 0; i < s->settings.server_count; i++) {
        struct server_memory *memory = &s->servers[i];
        if (memory->v5 != c && memory->v311 != c)
            continue;
        *(memory->v5 == c ? &memory->v5 : &memory->v311) = NULL;
        get_connection(s, i, connection_version(c), &failure); /* or at the next try */
    }
    connection_free(c);
}

static enum phase wait_for_answer(struct mqtt_source *s) {
    int64_t until = clock_mono_ns() + s->settings.options->connection_timeout_ns + open_grace_ns;
    enum phase phase;

    pthread_mutex_lock(&s->lock);
    while (s->phase == PHASE_CONNECTING && !s->stopping && clock_mono_ns() < until)
        source_wait(s, until);
    phase = s->phase;
    pthread_mutex_unlock(&s->lock);
    return phase;
}

unsigned reach_keepalive(const struct mqtt_source *s, size_t server) {
    unsigned ours = (unsigned)(s->settings.options->keepalive_ns / NS_PER_S), theirs = s->servers[server].keepalive_s;

    return theirs > 0 && theirs < ours ? theirs : ours;
}

/* One address of one server. True when the broker has accepted us. */
static bool try_address(struct mqtt_source *s, struct connection *c, size_t server, size_t address,
                        struct connection_failure *failure) {
    enum phase phase;

    pthread_mutex_lock(&s->lock);
    s->phase = PHASE_CONNECTING;
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->current, c);
    if (!connection_open(c, address, reach_keepalive(s, server), failure))
        return false;
    phase = wait_for_answer(s);
    connection_opened(c);
    if (phase == PHASE_UP)
        return true;
    if (phase == PHASE_CONNECTING) {
        reach_renew(s, c); /* Paho never said how it ended: its client is not to be trusted any more */
        failure->kind = FAILED_TIMEOUT;
        snprintf(failure->text, sizeof failure->text, "no answer within connection_timeout");
        return false;
    }
    pthread_mutex_lock(&s->lock);
    *failure = s->failure;
    pthread_mutex_unlock(&s->lock);
    return false;
}

static bool try_version(struct mqtt_source *s, size_t server, int version, struct connection_failure *failure) {
    struct connection *c = get_connection(s, server, version, failure);
    size_t count = c != NULL ? connection_resolve(c, failure) : 0;

    for (size_t i = 0; i < count && !source_is_stopping(s); i++) {
        if ((c = get_connection(s, server, version, failure)) == NULL)
            return false;
        if (i > 0 && connection_resolve(c, failure) <= i)
            return false;
        if (try_address(s, c, server, i, failure))
            return true;
        if (failure->kind == FAILED_CREDENTIALS || failure->kind == FAILED_VERSION)
            return false; /* the same broker will say the same */
    }
    return false;
}

/* MQTT 5 first; 3.1.1 when the broker refuses 5, or has ended the connection without a word more than once. */
bool reach_server(struct mqtt_source *s, size_t server, struct connection_failure *failure) {
    enum mqtt_protocol protocol = (enum mqtt_protocol)s->settings.options->protocol;
    struct server_memory *memory = &s->servers[server];

    if (protocol == MQTT_PROTOCOL_311 || (protocol == MQTT_PROTOCOL_AUTO && memory->refuses_v5))
        return try_version(s, server, 4, failure);
    if (try_version(s, server, 5, failure)) {
        memory->closed = 0;
        return true;
    }
    if (protocol == MQTT_PROTOCOL_5 || source_is_stopping(s))
        return false;
    memory->closed = failure->kind == FAILED_CLOSED ? memory->closed + 1 : 0;
    memory->refuses_v5 = failure->kind == FAILED_VERSION;
    if (!memory->refuses_v5 && memory->closed < CLOSED_BEFORE_DOUBT)
        return false;
    return try_version(s, server, 4, failure);
}
