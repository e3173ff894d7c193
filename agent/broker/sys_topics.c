/*
 * agent/broker/sys_topics.c: `$SYS/broker/...` with Mosquitto's names: retained, published when they have changed, every
 * sys_interval. The load averages are exponentially weighted over 1, 5 and 15 minutes, in events per minute, as Mosquitto's.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/parts.h"

enum { SPANS = 3, LOADS = 9 };

static const struct {
    const char *name;
    size_t counter; /* in struct broker_figures */
} loads[LOADS] = {
    { "messages/received", offsetof(struct broker_figures, packets_received) },
    { "messages/sent", offsetof(struct broker_figures, packets_sent) },
    { "publish/dropped", offsetof(struct broker_figures, dropped_queue_full) },
    { "publish/received", offsetof(struct broker_figures, publish_received) },
    { "publish/sent", offsetof(struct broker_figures, publish_sent) },
    { "bytes/received", offsetof(struct broker_figures, bytes_received) },
    { "bytes/sent", offsetof(struct broker_figures, bytes_sent) },
    { "sockets", offsetof(struct broker_figures, sockets_total) },
    { "connections", offsetof(struct broker_figures, connections_total) },
};
static const char *const span_names[SPANS] = { "1min", "5min", "15min" };
static const double span_minutes[SPANS] = { 1, 5, 15 };

/* The single figures. */
enum { GAUGES = 27 };

struct sys_topics {
    int64_t next_ns, last_ns; /* monotonic */
    uint64_t before[LOADS];
    double load[LOADS][SPANS];
    char *said[GAUGES + LOADS * SPANS]; /* what each topic says now */
};

bool sys_topics_init(struct broker *broker) {
    broker->sys = calloc(1, sizeof *broker->sys);
    if (broker->sys != NULL)
        broker->sys->last_ns = clock_mono_ns();
    return broker->sys != NULL;
}

void sys_topics_release(struct broker *broker) {
    if (broker->sys == NULL)
        return;
    for (size_t i = 0; i < sizeof broker->sys->said / sizeof broker->sys->said[0]; i++)
        free(broker->sys->said[i]);
    free(broker->sys);
    broker->sys = NULL;
}

static void say(struct broker *broker, size_t index, const char *topic, const char *text) {
    char **said = &broker->sys->said[index];
    char full[128];

    if (*said != NULL && strcmp(*said, text) == 0)
        return;
    free(*said);
    *said = strdup(text);
    snprintf(full, sizeof full, "$SYS/broker/%s", topic);
    route_own(broker, str_of(full), str_of(text), 2, true);
}

static void say_number(struct broker *broker, size_t *index, const char *topic, uint64_t number) {
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    say(broker, (*index)++, topic, text);
}

static uint64_t dropped(const struct broker_figures *figures) {
    return metric_get(&figures->dropped_queue_full) + metric_get(&figures->dropped_qos0) + metric_get(&figures->dropped_too_large) +
           metric_get(&figures->dropped_expired);
}

static void say_figures(struct broker *broker) {
    const struct broker_figures *figures = &broker->figures;
    uint64_t connected = metric_get(&figures->connected), sessions = metric_get(&figures->sessions);
    uint64_t stored = metric_get(&figures->queued) + metric_get(&figures->retained);
    uint64_t stored_bytes = metric_get(&figures->queued_bytes) + metric_get(&figures->retained_bytes);
    char uptime[48];
    size_t i = 0;

    say(broker, i++, "version", "heliograf version " HELIOGRAF_VERSION);
    snprintf(uptime, sizeof uptime, "%lld seconds", (long long)((clock_real_ns() - broker->started_ns) / NS_PER_S));
    say(broker, i++, "uptime", uptime);
    say_number(broker, &i, "clients/total", sessions);
    say_number(broker, &i, "clients/maximum", metric_get(&figures->connected_max));
    say_number(broker, &i, "clients/disconnected", sessions - connected);
    say_number(broker, &i, "clients/inactive", sessions - connected);
    say_number(broker, &i, "clients/connected", connected);
    say_number(broker, &i, "clients/active", connected);
    say_number(broker, &i, "clients/expired", metric_get(&figures->sessions_expired));
    say_number(broker, &i, "messages/stored", stored);
    say_number(broker, &i, "store/messages/count", stored);
    say_number(broker, &i, "store/messages/bytes", stored_bytes);
    say_number(broker, &i, "messages/received", metric_get(&figures->packets_received));
    say_number(broker, &i, "messages/sent", metric_get(&figures->packets_sent));
    say_number(broker, &i, "bytes/received", metric_get(&figures->bytes_received));
    say_number(broker, &i, "bytes/sent", metric_get(&figures->bytes_sent));
    say_number(broker, &i, "publish/bytes/received", metric_get(&figures->publish_bytes_received));
    say_number(broker, &i, "publish/bytes/sent", metric_get(&figures->publish_bytes_sent));
    say_number(broker, &i, "publish/messages/dropped", dropped(figures));
    say_number(broker, &i, "publish/messages/received", metric_get(&figures->publish_received));
    say_number(broker, &i, "publish/messages/sent", metric_get(&figures->publish_sent));
    say_number(broker, &i, "packet/out/count", metric_get(&figures->queued));
    say_number(broker, &i, "packet/out/bytes", metric_get(&figures->queued_bytes));
    say_number(broker, &i, "connections/socket/count", broker->connection_count);
    say_number(broker, &i, "subscriptions/count", metric_get(&figures->subscriptions));
    say_number(broker, &i, "shared_subscriptions/count", metric_get(&figures->shared_subscriptions));
    say_number(broker, &i, "retained messages/count", metric_get(&figures->retained));
}

static void say_loads(struct broker *broker, int64_t now_ns) {
    struct sys_topics *sys = broker->sys;
    double minutes = (double)(now_ns - sys->last_ns) / (60.0 * NS_PER_S);

    for (size_t i = 0; i < LOADS; i++) {
        uint64_t count = metric_get((const metric_counter *)(const void *)((const char *)&broker->figures + loads[i].counter));
        double rate = minutes > 0 ? (double)(count - sys->before[i]) / minutes : 0;
        sys->before[i] = count;
        for (size_t j = 0; j < SPANS; j++) {
            char topic[64], text[32];
            double weight = exp(-minutes / span_minutes[j]);
            sys->load[i][j] = rate + weight * (sys->load[i][j] - rate);
            snprintf(topic, sizeof topic, "load/%s/%s", loads[i].name, span_names[j]);
            snprintf(text, sizeof text, "%.2f", sys->load[i][j]);
            say(broker, GAUGES + i * SPANS + j, topic, text);
        }
    }
    sys->last_ns = now_ns;
}

void sys_topics_tick(struct broker *broker, int64_t now_ns) {
    struct sys_topics *sys = broker->sys;
    int64_t interval_ns = broker->settings->sys_interval_ns;

    if (interval_ns == 0 || now_ns < sys->next_ns)
        return;
    sys->next_ns = now_ns + interval_ns;
    say_figures(broker);
    say_loads(broker, now_ns);
}
