/*
 * agent/broker/client_events.c: who comes and goes, as messages with EMQX's topics and JSON: `$SYS/brokers/<node>/clients/<client>/connected` and
 * so on, QoS 0, not retained. Characters of a client id that would change the topic's levels are written as %2F, %2B, %23.
 */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/parts.h"

enum { TOPIC_MAX = 64 * 1024 * 3 + 256 };

static void append_level(struct buf *topic, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '/' || c == '+' || c == '#' || c == '%')
            buf_printf(topic, "%%%02X", (unsigned)c);
        else
            buf_append_char(topic, c);
    }
}

static void publish_event(struct session *session, const char *event, cJSON *json) {
    struct broker *broker = session->broker;
    struct buf topic = BUF_INIT(TOPIC_MAX);
    char *text = json != NULL ? cJSON_PrintUnformatted(json) : NULL;

    buf_append_c(&topic, "$SYS/brokers/");
    append_level(&topic, str_of(broker->settings->node));
    buf_append_c(&topic, "/clients/");
    append_level(&topic, session_client_id(session));
    buf_printf(&topic, "/%s", event);
    if (text != NULL && !topic.failed && topic.len <= UINT16_MAX)
        route_own(broker, buf_str(&topic), str_of(text), 0, false);
    cJSON_free(text);
    cJSON_Delete(json);
    buf_release(&topic);
}

static const char *protocol_of(const struct connection *connection) {
    const struct transport_peer *peer = transport_peer(connection->transport);

    if (peer->websocket)
        return peer->encrypted ? "wss" : "ws";
    return peer->encrypted ? "mqtts" : "mqtt";
}

static cJSON *about(const struct session *session) {
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "clientid", session->client_id);
    cJSON_AddStringToObject(json, "username", session->user_len > 0 ? session->user : "undefined");
    cJSON_AddNumberToObject(json, "ts", (double)(clock_real_ns() / NS_PER_MS));
    cJSON_AddNumberToObject(json, "proto_ver", session->version);
    cJSON_AddStringToObject(json, "proto_name", session->version == MQTT_3_1 ? "MQIsdp" : "MQTT");
    return json;
}

void client_event_connected(struct connection *connection, const struct mqtt_connect *connect) {
    struct session *session = connection->session;
    cJSON *json;

    if (!session->broker->settings->client_events)
        return;
    json = about(session);
    cJSON_AddStringToObject(json, "ipaddress", transport_peer(connection->transport)->address);
    cJSON_AddNumberToObject(json, "sockport", transport_peer(connection->transport)->local_port);
    cJSON_AddStringToObject(json, "protocol", protocol_of(connection));
    cJSON_AddNumberToObject(json, "keepalive", connection->keep_alive_s);
    cJSON_AddNumberToObject(json, "receive_maximum", connection->quota);
    cJSON_AddBoolToObject(json, "clean_start", connect->clean_start);
    cJSON_AddNumberToObject(json, "expiry_interval", session->expiry_s);
    cJSON_AddNumberToObject(json, "connected_at", (double)(session->connected_ns / NS_PER_MS));
    publish_event(session, "connected", json);
}

void client_event_disconnected(struct connection *connection, enum end_reason why) {
    struct session *session = connection->session;
    cJSON *json;

    if (!session->broker->settings->client_events)
        return;
    json = about(session);
    cJSON_AddStringToObject(json, "reason", end_reason_name(why));
    cJSON_AddNumberToObject(json, "connected_at", (double)(session->connected_ns / NS_PER_MS));
    cJSON_AddNumberToObject(json, "disconnected_at", (double)(clock_real_ns() / NS_PER_MS));
    publish_event(session, "disconnected", json);
}

static void add_text(cJSON *json, const char *key, struct str text) {
    char *copy = malloc(text.len + 1);

    if (copy == NULL)
        return;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    cJSON_AddStringToObject(json, key, copy);
    free(copy);
}

void client_event_subscribed(struct session *session, struct str filter, const struct subscription_terms *terms) {
    cJSON *json, *options;

    if (!session->broker->settings->subscription_events)
        return;
    json = about(session);
    add_text(json, "topic", filter);
    options = cJSON_AddObjectToObject(json, "subopts");
    cJSON_AddNumberToObject(options, "qos", terms->qos);
    cJSON_AddNumberToObject(options, "nl", terms->no_local);
    cJSON_AddNumberToObject(options, "rap", terms->retain_as_published);
    cJSON_AddNumberToObject(options, "rh", terms->retain_handling);
    publish_event(session, "subscribed", json);
}

void client_event_unsubscribed(struct session *session, struct str filter) {
    cJSON *json;

    if (!session->broker->settings->subscription_events)
        return;
    json = about(session);
    add_text(json, "topic", filter);
    publish_event(session, "unsubscribed", json);
}
