/* agent/broker/admin.c: who is there, as JSON, and the end of one; and the broker's figures. */
#include <cJSON.h>
#include <stdlib.h>

#include "agent/broker/parts.h"

static cJSON *describe_session(const struct session *session) {
    const struct connection *connection = session->connection;
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "client_id", session->client_id);
    cJSON_AddStringToObject(json, "user", session->user);
    cJSON_AddBoolToObject(json, "connected", connection != NULL);
    cJSON_AddStringToObject(json, "version", mqtt_version_name(session->version));
    if (connection != NULL && connection->transport != NULL) {
        const struct transport_peer *peer = transport_peer(connection->transport);
        cJSON_AddStringToObject(json, "address", peer->address);
        cJSON_AddNumberToObject(json, "port", peer->port);
        cJSON_AddBoolToObject(json, "tls", peer->encrypted);
        cJSON_AddBoolToObject(json, "websocket", peer->websocket);
        cJSON_AddNumberToObject(json, "keepalive", connection->keep_alive_s);
        cJSON_AddNumberToObject(json, "connected_at", (double)(session->connected_ns / NS_PER_MS));
    } else {
        cJSON_AddNumberToObject(json, "disconnected_at", (double)(session->ended_ns / NS_PER_MS));
    }
    cJSON_AddNumberToObject(json, "session_expiry", session->expiry_s);
    cJSON_AddNumberToObject(json, "subscriptions", (double)session->subscription_count);
    cJSON_AddNumberToObject(json, "queued", (double)session->outbox.queued.count);
    cJSON_AddNumberToObject(json, "queued_bytes", (double)session->outbox.queued_bytes);
    cJSON_AddNumberToObject(json, "inflight", (double)session->outbox.inflight.count);
    cJSON_AddNumberToObject(json, "dropped", (double)session->dropped);
    return json;
}

void broker_list_clients(struct broker *broker, struct buf *out) {
    cJSON *list = cJSON_CreateArray();
    char *text;

    for (size_t i = 0; i < broker->bucket_count; i++)
        for (const struct session *session = broker->buckets[i]; session != NULL; session = session->next_in_bucket)
            cJSON_AddItemToArray(list, describe_session(session));
    text = cJSON_PrintUnformatted(list);
    buf_append_c(out, text != NULL ? text : "[]");
    cJSON_free(text);
    cJSON_Delete(list);
}

bool broker_kick(struct broker *broker, struct str client_id) {
    struct session *session = session_find(broker, client_id);

    if (session == NULL || session->connection == NULL)
        return false;
    connection_end(session->connection, END_KICKED, MQTT_ADMINISTRATIVE_ACTION);
    return true;
}

/* ---- figures ------------------------------------------------------------------------------------------------------- */

#define DESC(name, text, words, type)                                                                                                     \
    { offsetof(struct broker_figures, name), { "broker_" text, words, "broker", type } }

static const struct {
    size_t at;
    struct metric_desc desc;
} rows[] = {
    DESC(connected, "clients_connected", "Clients that are connected.", METRIC_GAUGE),
    DESC(sessions, "sessions", "Sessions, of clients that are away included.", METRIC_GAUGE),
    DESC(subscriptions, "subscriptions", "Subscriptions of all clients.", METRIC_GAUGE),
    DESC(retained, "retained_messages", "Retained messages.", METRIC_GAUGE),
    DESC(retained_bytes, "retained_bytes", "Their bytes.", METRIC_GAUGE),
    DESC(delayed, "delayed_messages", "Messages that wait for their time.", METRIC_GAUGE),
    DESC(queued, "queued_messages", "Messages that wait for clients.", METRIC_GAUGE),
    DESC(queued_bytes, "queued_bytes", "Their bytes, counted once for each client.", METRIC_GAUGE),
    DESC(sockets_total, "sockets_total", "Connections that were accepted by a listener.", METRIC_COUNTER),
    DESC(connections_total, "connects_total", "Clients that were let in.", METRIC_COUNTER),
    DESC(connects_refused, "connects_refused_total", "Clients that were not.", METRIC_COUNTER),
    DESC(takeovers, "takeovers_total", "Connections that ended because the same client id connected again.", METRIC_COUNTER),
    DESC(sessions_expired, "sessions_expired_total", "Sessions that ended because their client stayed away.", METRIC_COUNTER),
    DESC(packets_received, "packets_received_total", "MQTT packets from clients.", METRIC_COUNTER),
    DESC(packets_sent, "packets_sent_total", "MQTT packets to clients.", METRIC_COUNTER),
    DESC(bytes_received, "bytes_received_total", "Bytes of those.", METRIC_COUNTER),
    DESC(bytes_sent, "bytes_sent_total", "Bytes of those.", METRIC_COUNTER),
    DESC(publish_received, "messages_received_total", "Messages that clients published.", METRIC_COUNTER),
    DESC(publish_sent, "messages_sent_total", "Messages that were sent to clients.", METRIC_COUNTER),
    DESC(redeliveries, "redeliveries_suppressed_total", "Messages that came again and that inputs had taken before.", METRIC_COUNTER),
    DESC(protocol_errors, "protocol_errors_total", "Clients that were disconnected because they broke a rule of MQTT.", METRIC_COUNTER),
    DESC(auth_failures, "auth_failures_total", "Clients with a wrong password, or none.", METRIC_COUNTER),
    DESC(denied_publish, "denied_publish_total", "Messages that their client may not publish.", METRIC_COUNTER),
    DESC(denied_subscribe, "denied_subscribe_total", "Subscriptions that their client may not make.", METRIC_COUNTER),
};

static const struct {
    const char *reason;
    size_t at;
} drops[] = {
    { "queue_full", offsetof(struct broker_figures, dropped_queue_full) }, { "qos0_slow_client", offsetof(struct broker_figures, dropped_qos0) },
    { "too_large", offsetof(struct broker_figures, dropped_too_large) },   { "expired", offsetof(struct broker_figures, dropped_expired) },
    { "not_allowed", offsetof(struct broker_figures, dropped_denied) },    { "quota", offsetof(struct broker_figures, dropped_quota) },
};

static double figure(const struct broker *broker, size_t at) {
    return (double)metric_get((const metric_counter *)(const void *)((const char *)&broker->figures + at));
}

void broker_collect(void *ctx, const struct metric_writer *writer) {
    static const struct metric_desc dropped = { "broker_messages_dropped_total", "Messages that a client did not get.", "broker", METRIC_COUNTER };
    static const struct metric_desc ended = { "broker_disconnects_total", "Connections that ended.", "broker", METRIC_COUNTER };
    struct broker *broker = ctx;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        metric_sample(writer, &rows[i].desc, NULL, NULL, NULL, NULL, figure(broker, rows[i].at));
    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
        metric_sample(writer, &dropped, "reason", drops[i].reason, NULL, NULL, figure(broker, drops[i].at));
    for (int why = 0; why < END_REASONS; why++)
        metric_sample(writer, &ended, "reason", end_reason_name((enum end_reason)why), NULL, NULL, (double)metric_get(&broker->figures.ended[why]));
    if (broker->store != NULL)
        store_collect(broker->store, writer);
}
