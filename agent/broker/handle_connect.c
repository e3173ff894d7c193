/* agent/broker/handle_connect.c: CONNECT: who it is, which session it resumes, and CONNACK (MQTT 5 sections 3.1, 3.2; 3.1.1 likewise). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/broker/parts.h"

enum { ASSIGNED_ID_MAX = 40, BRIDGE_QUOTA = 20 };

/* ---- refusing ------------------------------------------------------------------------------------------------------ */

void handle_refusal(struct connection *connection, enum mqtt_version version, uint8_t reason) {
    struct mqtt_packet packet = { .type = MQTT_CONNACK, .as.connack = { .reason = reason, .properties = MQTT_PROPERTIES_NONE } };

    connection->target.version = version;
    metric_add(&connection->broker->figures.connects_refused, 1);
    connection_send(connection, &packet); /* not at all where 3.x has no code for it */
    connection_end(connection, END_NOT_AUTHORIZED, 0);
}

static void refuse(struct connection *connection, uint8_t reason, const char *why) {
    struct broker *broker = connection->broker;

    metric_add(&broker->figures.auth_failures, reason == MQTT_BAD_USER_NAME_OR_PASSWORD || reason == MQTT_NOT_AUTHORIZED);
    complain(&broker->auth_trouble, LOG_WARN, "BROKER-REFUSED", "a client from %s is refused: %s",
             transport_peer(connection->transport)->address, why);
    handle_refusal(connection, connection->target.version, reason);
}

/* ---- what the client asks for -------------------------------------------------------------------------------------- */

static struct alias_table *new_aliases(uint16_t maximum) {
    struct alias_table *table = maximum > 0 ? calloc(1, sizeof *table) : NULL;

    if (table == NULL)
        return NULL;
    table->maximum = maximum;
    table->topics = calloc(maximum, sizeof *table->topics);
    if (table->topics != NULL)
        return table;
    free(table);
    return NULL;
}

static uint16_t least(int64_t a, uint16_t b) {
    return a < b ? (uint16_t)a : b;
}

static void take_terms(struct connection *connection, const struct mqtt_connect *connect) {
    const struct broker_settings *settings = connection->broker->settings;
    const struct mqtt_properties *properties = &connect->properties;

    connection->target.version = connect->version;
    connection->bridge = connect->bridge;
    connection->keep_alive_s = connect->keep_alive_s;
    /* Mosquitto's bridges end the connection at the 21st message of QoS 2 under way, and 3.x has no way to say so. */
    connection->quota = least(settings->max_inflight_messages, connect->bridge ? BRIDGE_QUOTA : UINT16_MAX);
    if (connect->version != MQTT_5)
        return;
    if (settings->max_keepalive_s > 0 && (connect->keep_alive_s == 0 || connect->keep_alive_s > settings->max_keepalive_s))
        connection->keep_alive_s = (uint16_t)settings->max_keepalive_s;
    connection->quota = least(settings->max_inflight_messages, properties->receive_maximum);
    if (mqtt_has(properties, maximum_packet_size))
        connection->target.max_packet_size = properties->maximum_packet_size;
    connection->target.no_problem_information = properties->request_problem_information == 0;
    /* Without memory for them no aliases are used; the client need not know. */
    connection->aliases_out = new_aliases(least(settings->max_topic_alias, properties->topic_alias_maximum));
    connection->limits.topic_alias_maximum = (uint16_t)settings->max_topic_alias;
}

/* MQTT 3.x has no way to tell a client another keep alive: it is refused, as Mosquitto does. None is more than any, but for the default. */
static bool wants_too_long(const struct connection *connection, const struct mqtt_connect *connect) {
    int64_t most_s = connection->broker->settings->max_keepalive_s;

    return connect->version != MQTT_5 && most_s > 0 && most_s < UINT16_MAX && (connect->keep_alive_s == 0 || connect->keep_alive_s > most_s);
}

/* How long the session outlives its connection. 3.x knows at once and never. */
static uint32_t wanted_expiry(const struct mqtt_connect *connect) {
    if (connect->version == MQTT_5)
        return connect->properties.session_expiry_s;
    return connect->clean_start ? 0 : MQTT_NEVER_EXPIRES;
}

static uint32_t granted_expiry(const struct broker *broker, uint32_t wanted_s) {
    int64_t most_s = broker->settings->max_session_expiry_ns / NS_PER_S;

    return most_s > 0 && wanted_s > most_s ? (uint32_t)most_s : wanted_s;
}

/* ---- the session --------------------------------------------------------------------------------------------------- */

static struct str assign_id(struct broker *broker, char out[ASSIGNED_ID_MAX]) {
    do {
        broker->assigned_ids = broker->assigned_ids * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        snprintf(out, ASSIGNED_ID_MAX, "auto-%016" PRIx64, broker->assigned_ids ^ broker->assigned_ids >> 29);
    } while (session_find(broker, str_of(out)) != NULL);
    return str_of(out);
}

/* The session that is there, freed of its old connection; NULL when there is none any more. */
static struct session *take_over(struct connection *connection, struct str client_id, bool clean) {
    struct broker *broker = connection->broker;
    struct session *session = session_find(broker, client_id);

    if (session != NULL && session->connection != NULL) {
        metric_add(&broker->figures.takeovers, 1);
        connection_end(session->connection, END_TAKEN_OVER, MQTT_SESSION_TAKEN_OVER);
        session = session_find(broker, client_id); /* it may have ended with its connection */
    }
    if (session != NULL && clean) {
        session_free(session);
        session = NULL;
    }
    return session;
}

static bool is_somebody_elses(const struct connection *connection, struct str client_id, struct str user) {
    const struct session *session = session_find(connection->broker, client_id);

    return session != NULL && !str_eq(session_user(session), user);
}

/* ---- CONNACK ------------------------------------------------------------------------------------------------------- */

static void fill_properties(const struct connection *connection, const struct mqtt_connect *connect, uint32_t expiry_s,
                            struct str assigned_id, struct mqtt_properties *out) {
    const struct broker_settings *settings = connection->broker->settings;

    if (expiry_s != wanted_expiry(connect))
        mqtt_set(out, session_expiry_s, expiry_s);
    if (assigned_id.len > 0)
        mqtt_set(out, assigned_client_id, assigned_id);
    if (connection->keep_alive_s != connect->keep_alive_s)
        mqtt_set(out, server_keep_alive_s, connection->keep_alive_s);
    mqtt_set(out, receive_maximum, (uint16_t)settings->receive_maximum);
    if (settings->max_topic_alias > 0)
        mqtt_set(out, topic_alias_maximum, (uint16_t)settings->max_topic_alias);
    mqtt_set(out, maximum_packet_size, (uint32_t)settings->max_packet_size);
    if (settings->max_qos < 2)
        mqtt_set(out, maximum_qos, (uint8_t)settings->max_qos);
    if (!settings->retain_available)
        mqtt_set(out, retain_available, 0);
}

static struct mqtt_packet connack(const struct connection *connection, const struct mqtt_connect *connect, bool present, struct str assigned_id) {
    struct mqtt_packet packet = { .type = MQTT_CONNACK,
                                  .as.connack = { .session_present = present, .properties = MQTT_PROPERTIES_NONE } };

    if (connect->version == MQTT_5)
        fill_properties(connection, connect, granted_expiry(connection->broker, wanted_expiry(connect)), assigned_id, &packet.as.connack.properties);
    return packet;
}

/* False: the client's Maximum Packet Size has no room for a CONNACK ([MQTT-3.1.2-24]). Whatever else it says, it is as long. */
static bool can_be_told(const struct connection *connection, const struct mqtt_connect *connect, struct str assigned_id) {
    struct mqtt_packet packet = connack(connection, connect, true, assigned_id);

    return mqtt_encode(&packet, &connection->target, NULL, 0) > 0;
}

static void accept_client(struct connection *connection, const struct mqtt_connect *connect, bool present, struct str assigned_id) {
    struct mqtt_packet packet = connack(connection, connect, present, assigned_id);

    connection->state = CONNECTION_UP;
    transport_end_secrecy(connection->transport);
    connection->limits.version = connect->version;
    connection->limits.accepts = MQTT_FROM_CLIENT;
    connection->limits.max_packet_size = (uint32_t)connection->broker->settings->max_packet_size;
    connection->active_ns = clock_mono_ns();
    connection_schedule(connection);
    connection_send(connection, &packet);
}

/* ---- CONNECT ------------------------------------------------------------------------------------------------------- */

static void begin_session(struct connection *connection, const struct mqtt_connect *connect, struct str client_id, struct str user,
                          struct str assigned_id) {
    struct broker *broker = connection->broker;
    struct session *session = take_over(connection, client_id, connect->clean_start);
    bool present = session != NULL;

    if (!present)
        session = session_new(broker, client_id, user, 0);
    if (session == NULL) {
        refuse(connection, MQTT_SERVER_UNAVAILABLE, "no memory, or broker.max_sessions is reached");
        return;
    }
    connection->session = session;
    session->connection = connection;
    session->version = connect->version;
    session->ended_ns = 0;
    session->connected_ns = clock_real_ns();
    wheel_clear(&broker->session_wheel, &session->timer);
    will_clear(session); /* of the connection before: it came back in time */
    if (connect->has_will && !will_set(session, connect))
        log_debug("BROKER-MEMORY", "no memory for the will of client %s", session->client_id);
    session_set_expiry(session, granted_expiry(broker, wanted_expiry(connect)));
    metric_add(&broker->figures.connections_total, 1);
    broker_count_up(&broker->figures.connected);
    if (metric_get(&broker->figures.connected) > metric_get(&broker->figures.connected_max))
        broker->figures.connected_max = metric_get(&broker->figures.connected);
    accept_client(connection, connect, present, assigned_id);
    client_event_connected(connection, connect);
    presence_connected(connection);
    outbox_resume(session);
}

bool handle_connect(struct connection *connection, const struct mqtt_connect *connect) {
    char made[ASSIGNED_ID_MAX];
    struct str user, client_id = connect->client_id, assigned_id = STR_EMPTY;
    uint8_t reason;

    take_terms(connection, connect);
    if (mqtt_has(&connect->properties, authentication_method)) {
        refuse(connection, MQTT_BAD_AUTHENTICATION_METHOD, "it wants an authentication method that the broker does not have");
        return true;
    }
    if (wants_too_long(connection, connect)) {
        refuse(connection, MQTT_CLIENT_ID_NOT_VALID, "it wants a longer keep alive than max_keepalive, or none, and cannot be told another");
        return true;
    }
    switch (access_login(connection, connect, &user)) {
    case ACCESS_BAD_PASSWORD:
        refuse(connection, MQTT_BAD_USER_NAME_OR_PASSWORD, "bad user name or password");
        return true;
    case ACCESS_DENIED:
        refuse(connection, MQTT_NOT_AUTHORIZED, "this listener takes nobody without a user name and password (allow_anonymous)");
        return true;
    case ACCESS_LATER:
        return false;
    case ACCESS_GRANTED:
        break;
    }
    if (client_id.len == 0)
        client_id = assigned_id = assign_id(connection->broker, made);
    if (is_somebody_elses(connection, client_id, user)) {
        refuse(connection, MQTT_NOT_AUTHORIZED, "its client id belongs to a session of another user");
        return true;
    }
    if (connect->has_will && !will_is_allowed(connection->broker, connect->will.topic, user, client_id, &reason)) {
        refuse(connection, reason, "it may not publish on the topic of its will");
        return true;
    }
    if (!can_be_told(connection, connect, assigned_id)) { /* before anybody is taken over for it */
        connection_end(connection, END_PROTOCOL, 0);
        return true;
    }
    begin_session(connection, connect, client_id, user, assigned_id);
    return true;
}
