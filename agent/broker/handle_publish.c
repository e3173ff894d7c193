/*
 * agent/broker/handle_publish.c: PUBLISH and PUBREL from a client (MQTT 5 sections 3.3, 3.6, 4.3). An answer waits until whoever is owed the
 * message has it on disk: the store for sessions and retained messages, the spool for inputs of this process.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

/* ---- topic aliases ------------------------------------------------------------------------------------------------- */

static bool keep_alias(struct connection *connection, uint16_t alias, struct str topic) {
    struct alias_table *table = connection->aliases_in;
    char *copy;

    if (table == NULL) {
        uint16_t maximum = connection->limits.topic_alias_maximum;
        table = calloc(1, sizeof *table);
        if (table == NULL || (table->topics = calloc(maximum, sizeof *table->topics)) == NULL) {
            free(table);
            return false;
        }
        table->maximum = maximum;
        connection->aliases_in = table;
    }
    copy = malloc(topic.len);
    if (copy == NULL)
        return false;
    memcpy(copy, topic.data, topic.len);
    free((char *)table->topics[alias - 1].data);
    table->topics[alias - 1] = str_make(copy, topic.len);
    return true;
}

/* The topic, whether it stands there or an alias stands for it. False: the connection has ended. */
static bool find_topic(struct connection *connection, const struct mqtt_publish *publish, struct str *topic) {
    uint16_t alias = publish->properties.topic_alias;

    *topic = publish->topic;
    if (alias == 0)
        return true;
    if (publish->topic.len > 0) {
        if (keep_alias(connection, alias, publish->topic))
            return true;
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return false;
    }
    if (connection->aliases_in == NULL || connection->aliases_in->topics[alias - 1].data == NULL) {
        connection_end(connection, END_PROTOCOL, MQTT_PROTOCOL_ERROR); /* [MQTT-3.3.2-7] */
        return false;
    }
    *topic = connection->aliases_in->topics[alias - 1];
    return true;
}

/* ---- answering ----------------------------------------------------------------------------------------------------- */

static void answer(struct connection *connection, const struct mqtt_publish *publish, uint8_t reason, struct wait wait) {
    uint8_t bytes[MQTT_ACK_MAX];
    enum mqtt_type type = publish->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
    size_t len;

    if (publish->qos == 0)
        return;
    if (type == MQTT_PUBREC && reason == MQTT_NO_MATCHING_SUBSCRIBERS)
        reason = MQTT_SUCCESS; /* as Mosquitto, which looks for subscribers at PUBREL */
    len = mqtt_encode_ack(type, connection->target.version, publish->packet_id, reason, bytes);
    answers_send(connection, wait, bytes, len, publish->qos == 1 || reason >= MQTT_UNSPECIFIED_ERROR);
}

/* A message that the client may not send, or that cannot be retained. 3.x has no words for it: it is acknowledged. */
static void turn_down(struct connection *connection, const struct mqtt_publish *publish, uint8_t reason) {
    struct wait nothing = { .ticket = 0 };
    bool silent = connection->target.version != MQTT_5;

    if (silent && publish->qos == 2 && !session_add_received(connection->session, publish->packet_id)) {
        connection_end(connection, END_INTERNAL, 0);
        return;
    }
    answer(connection, publish, silent ? (uint8_t)MQTT_SUCCESS : reason, nothing);
}

/* False: the client has more under way than it was told it may ([MQTT-3.3.4-7], [MQTT-3.3.4-9]). */
static bool count_unanswered(struct connection *connection, const struct mqtt_publish *publish) {
    if (publish->qos == 0)
        return true;
    if (publish->qos == 2 && session_has_received(connection->session, publish->packet_id))
        return true; /* the same one again */
    if (connection->target.version == MQTT_5 && connection->unanswered >= connection->broker->settings->receive_maximum) {
        connection_end(connection, END_PROTOCOL, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
        return false;
    }
    connection->unanswered++;
    return true;
}

/* ---- the message --------------------------------------------------------------------------------------------------- */

static struct routed describe(const struct connection *connection, const struct mqtt_publish *publish, struct str topic, char *forwarded,
                              size_t forwarded_len) {
    const struct session *session = connection->session;
    int64_t now_ns = clock_real_ns();
    bool expires = mqtt_has(&publish->properties, message_expiry_s);

    return (struct routed){
        .message = { .topic = topic, .payload = publish->payload, .properties = str_make(forwarded, forwarded_len) },
        .qos = publish->qos,
        .retain = publish->retain,
        .dup = publish->dup,
        .published_ns = now_ns,
        .expires_ns = expires ? now_ns + publish->properties.message_expiry_s * NS_PER_S : 0,
        .publisher = session,
        .client_id = session_client_id(session),
        .user = session_user(session),
        .properties = publish->properties.encoded.len > 0 ? &publish->properties : NULL,
        .packet_id = publish->packet_id,
        .sender_can_wait = true,
    };
}

/* A reason below 0x80 says that it was taken. */
static uint8_t take_delayed(struct connection *connection, const struct routed *routed, struct str inner, int64_t due_ns) {
    struct broker *broker = connection->broker;
    struct routed later = *routed;
    struct publication *publication;
    enum delayed_result result;

    later.message.topic = inner;
    publication = routed_keep(&later);
    if (publication == NULL)
        return MQTT_QUOTA_EXCEEDED;
    result = delayed_add(broker, publication, due_ns);
    publication_unref(publication);
    return result == DELAYED_KEPT ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED;
}

static void note_denied(struct connection *connection, struct str topic, uint8_t reason) {
    struct broker *broker = connection->broker;

    if (reason == MQTT_NOT_AUTHORIZED) {
        metric_add(&broker->figures.denied_publish, 1);
        complain(&broker->denied_trouble, LOG_WARN, "BROKER-DENIED", "client %s may not publish on '%.*s'", connection->session->client_id,
                 (int)(topic.len < 200 ? topic.len : 200), topic.data);
    } else {
        metric_add(&broker->figures.dropped_quota, 1);
    }
}

/* Where it goes; `*blocked`: nowhere yet. It may be the connection's end. */
static uint8_t pass_on(struct connection *connection, const struct routed *routed, struct wait *wait, bool *blocked) {
    struct broker *broker = connection->broker;
    uint8_t reason = MQTT_SUCCESS;
    struct str inner = routed->message.topic;
    int64_t due_ns;

    broker->touched = false;
    if (delayed_is(inner)) {
        bool is_full = broker->store != NULL && store_is_full(broker->store);
        if (!delayed_parse(broker, routed->message.topic, routed->published_ns, &inner, &due_ns, &reason))
            return reason;
        if (!access_allows(broker, ACL_PUBLISH, connection->session, inner))
            return MQTT_NOT_AUTHORIZED;
        if (routed->inputs_only) /* inputs get it when it is due, as everybody does */
            return MQTT_SUCCESS;
        *blocked = is_full && route_without_room(routed) == ROUTE_BLOCKED;
        if (is_full)
            return *blocked ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED;
        reason = take_delayed(connection, routed, inner, due_ns);
        if (reason == MQTT_QUOTA_EXCEEDED && routed->qos > 0 && connection->target.version != MQTT_5) {
            note_denied(connection, inner, reason);
            connection_end(connection, END_LIMIT, 0); /* no word for it, and it must not be acknowledged (3.1.1 [MQTT-4.8.0-2]) */
        }
    } else if (!access_allows(broker, ACL_PUBLISH, connection->session, inner)) {
        return MQTT_NOT_AUTHORIZED;
    } else {
        switch (route(broker, routed, &connection->inputs_done, wait)) {
        case ROUTE_BLOCKED:
            *blocked = true;
            return MQTT_SUCCESS;
        case ROUTED_NOBODY:
            reason = MQTT_NO_MATCHING_SUBSCRIBERS;
            break;
        case ROUTED_FULL:
            reason = MQTT_QUOTA_EXCEEDED;
            break;
        case ROUTED:
            break;
        }
    }
    wait->ticket = answers_ticket(broker);
    return reason;
}

/* The message at hand, with its forwarded properties beside it on the stack or the heap. */
static bool take_message(struct connection *connection, const struct mqtt_publish *publish, struct str topic, char *forwarded, bool inputs_only) {
    size_t len = mqtt_forwarded_properties(&publish->properties, forwarded);
    struct routed routed = describe(connection, publish, topic, forwarded, len);
    struct session *session = connection->session;
    struct wait wait = { .ticket = 0 };
    bool blocked = false;
    uint8_t reason;

    routed.inputs_only = inputs_only;
    reason = pass_on(connection, &routed, &wait, &blocked);
    if (connection->state == CONNECTION_CLOSED) /* there was no room, or its own message came back to it and was too much */
        return true;
    if (blocked) {
        connection_block(connection);
        return false;
    }
    connection->inputs_done = 0;
    if (reason >= MQTT_UNSPECIFIED_ERROR) {
        note_denied(connection, topic, reason);
        turn_down(connection, publish, reason);
        return true;
    }
    if (inputs_only)
        session_forget_restored(session, publish->packet_id);
    else if (publish->qos == 2) {
        if (!session_add_received(session, publish->packet_id)) {
            connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
            return true;
        }
        wait.ticket = answers_ticket(connection->broker);
    }
    answer(connection, publish, reason, wait);
    return true;
}

/*
 * The same QoS 2 message a third time on one connection without DUP, which repeats must have ([MQTT-3.3.1-1]): that client does not know what it
 * does. With DUP it may come as often as it likes: every one is answered ([MQTT-4.3.3-10]), and 3.1 clients repeat after a while.
 */
static bool repeats_too_often(struct connection *connection, const struct mqtt_publish *publish) {
    uint64_t content = str_hash(publish->payload) ^ publish->packet_id;

    if (publish->dup)
        return false;
    if (content != connection->repeated) {
        connection->repeated = content;
        return false;
    }
    return true;
}

bool handle_publish(struct connection *connection, const struct mqtt_publish *publish) {
    char small[256], *forwarded = small;
    struct wait nothing = { .ticket = 0 };
    struct str topic;
    bool done, inputs_only = false;

    if (connection->inputs_done == 0 && !connection->again) {
        if (!count_unanswered(connection, publish))
            return true;
        metric_add(&connection->broker->figures.publish_received, 1);
        metric_add(&connection->broker->figures.publish_bytes_received, publish->payload.len);
    }
    if (!find_topic(connection, publish, &topic))
        return true;
    if (publish->qos == 2 && session_has_received(connection->session, publish->packet_id)) {
        if (repeats_too_often(connection, publish)) {
            connection_end(connection, END_PROTOCOL, MQTT_PROTOCOL_ERROR);
            return true;
        }
        /* [MQTT-4.3.3-10]: it was passed on before, but for what a crash may have taken from the spool and left to the store. */
        if (!session_is_restored(connection->session, publish->packet_id)) {
            answer(connection, publish, MQTT_SUCCESS, nothing);
            return true;
        }
        inputs_only = true;
    }
    if (publish->properties.encoded.len > sizeof small)
        forwarded = malloc(publish->properties.encoded.len);
    if (forwarded == NULL) {
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return true;
    }
    done = take_message(connection, publish, topic, forwarded, inputs_only);
    connection->again = !done;
    if (forwarded != small)
        free(forwarded);
    return done;
}

void handle_pubrel(struct connection *connection, const struct mqtt_ack *ack) {
    struct broker *broker = connection->broker;
    uint8_t bytes[MQTT_ACK_MAX], reason = MQTT_SUCCESS;
    struct wait wait = { .ticket = 0 };
    size_t len;

    broker->touched = false;
    if (!session_remove_received(connection->session, ack->packet_id))
        reason = connection->target.version == MQTT_5 ? MQTT_PACKET_ID_NOT_FOUND : MQTT_SUCCESS;
    wait.ticket = answers_ticket(broker);
    len = mqtt_encode_ack(MQTT_PUBCOMP, connection->target.version, ack->packet_id, reason, bytes);
    answers_send(connection, wait, bytes, len, reason == MQTT_SUCCESS);
}
