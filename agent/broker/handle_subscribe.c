/* agent/broker/handle_subscribe.c: SUBSCRIBE and UNSUBSCRIBE (MQTT 5 sections 3.8 to 3.11). */
#include <stdlib.h>

#include "agent/broker/parts.h"

/* The answer goes out in one piece. Messages that follow from a SUBSCRIBE may overtake a SUBACK that waits for the disk (section 3.8.4 allows it). */
static void send_reasons(struct connection *connection, enum mqtt_type type, uint16_t packet_id, struct str reasons) {
    struct mqtt_packet packet = { .type = type,
                                  .as.suback = { .packet_id = packet_id, .properties = MQTT_PROPERTIES_NONE, .reasons = reasons } };
    size_t size = mqtt_encode(&packet, &connection->target, NULL, 0);
    char small[512], *bytes = size <= sizeof small ? small : malloc(size);
    struct wait wait = { .ticket = answers_ticket(connection->broker) };

    if (bytes == NULL || size == 0) {
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return;
    }
    mqtt_encode(&packet, &connection->target, bytes, size);
    answers_send(connection, wait, bytes, size, false);
    if (bytes != small)
        free(bytes);
}

/* ---- SUBSCRIBE ----------------------------------------------------------------------------------------------------- */

static bool is_full(const struct session *session) {
    int64_t most = session->broker->settings->max_subscriptions;

    return most > 0 && (int64_t)session->subscription_count >= most;
}

static uint8_t refusal(const struct connection *connection, uint8_t reason) {
    return connection->target.version == MQTT_5 ? reason : (uint8_t)MQTT_UNSPECIFIED_ERROR; /* 0x80 is all that 3.1.1 has */
}

/* Nobody gets anything on these: the first is for publishing, the second the broker's business with its administrators. */
static bool is_no_filter(struct str topics) {
    return delayed_is(topics) || str_starts_with(topics, STR("$CONTROL"));
}

static void begin_retained(struct session *session, const struct mqtt_subscription *subscription,
                           const struct subscription_terms *terms, bool is_new) {
    bool wanted = terms->retain_handling == 0 || (terms->retain_handling == 1 && is_new);

    if (wanted && subscription->share.data == NULL) /* [MQTT-4.8.2]: none for shared ones */
        retain_begin(session, subscription->topics, terms);
}

static uint8_t subscribe(struct connection *connection, const struct mqtt_subscription *subscription, uint32_t identifier,
                         bool *is_new) {
    struct session *session = connection->session;
    struct broker *broker = connection->broker;
    struct subscription_terms terms = {
        .qos = subscription->qos < broker->settings->max_qos ? subscription->qos : (uint8_t)broker->settings->max_qos,
        /* 3.x cannot ask for it, and a bridge needs it: else what it brings goes back with it. As Mosquitto. */
        .no_local = subscription->no_local || connection->bridge,
        .retain_as_published = subscription->retain_as_published || connection->bridge,
        .retain_handling = subscription->retain_handling,
        .identifier = identifier,
    };

    if (is_no_filter(subscription->topics) || !access_allows(broker, ACL_SUBSCRIBE, session, subscription->topics)) {
        metric_add(&broker->figures.denied_subscribe, 1);
        complain(&broker->denied_trouble, LOG_WARN, "BROKER-DENIED", "client %s may not subscribe to '%.*s'", session->client_id,
                 (int)(subscription->filter.len < 200 ? subscription->filter.len : 200), subscription->filter.data);
        return refusal(connection, MQTT_NOT_AUTHORIZED);
    }
    if (is_full(session) && !session_has_subscription(session, subscription->filter))
        return refusal(connection, MQTT_QUOTA_EXCEEDED);
    switch (session_subscribe(session, subscription, &terms)) {
    case SUBSCRIBED_NO_MEMORY:
        return refusal(connection, MQTT_QUOTA_EXCEEDED);
    case SUBSCRIBED_NEW:
        *is_new = true;
        break;
    case SUBSCRIBED_AGAIN:
        *is_new = false;
        break;
    }
    client_event_subscribed(session, subscription->filter, &terms);
    return terms.qos;
}

static size_t count_filters(struct str rest, enum mqtt_version version) {
    struct mqtt_subscription ignored;
    size_t count = 0;

    while (mqtt_next_subscription(&rest, version, &ignored))
        count++;
    return count;
}

/* Retained messages follow when the SUBACK is on its way. */
static void begin_all_retained(struct connection *connection, struct str filters, const uint8_t *reasons, const bool *are_new,
                               uint32_t identifier) {
    struct mqtt_subscription subscription;

    for (size_t i = 0; mqtt_next_subscription(&filters, connection->target.version, &subscription); i++) {
        const struct subscription_terms terms = { .qos = reasons[i],
                                                  .retain_handling = subscription.retain_handling,
                                                  .identifier = identifier };
        if (reasons[i] <= MQTT_GRANTED_QOS_2)
            begin_retained(connection->session, &subscription, &terms, are_new[i]);
    }
}

/* 0: none. */
static uint32_t identifier_of(const struct mqtt_subscribe *request) {
    struct str rest = request->properties.encoded;
    uint32_t identifier;

    return rest.len > 0 && mqtt_next_subscription_id(&rest, &identifier) ? identifier : 0;
}

void handle_subscribe(struct connection *connection, const struct mqtt_subscribe *request) {
    enum mqtt_version version = connection->target.version;
    uint32_t identifier = identifier_of(request);
    size_t count = count_filters(request->filters, version);
    struct str rest = request->filters;
    struct mqtt_subscription subscription;
    uint8_t *reasons = malloc(count);
    bool *are_new = calloc(count, sizeof *are_new);

    if (reasons == NULL || are_new == NULL) {
        free(reasons);
        free(are_new);
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return;
    }
    connection->broker->touched = false;
    for (size_t i = 0; mqtt_next_subscription(&rest, version, &subscription); i++)
        reasons[i] = subscribe(connection, &subscription, identifier, &are_new[i]);
    send_reasons(connection, MQTT_SUBACK, request->packet_id, str_make((const char *)reasons, count));
    if (connection->state == CONNECTION_UP) {
        begin_all_retained(connection, request->filters, reasons, are_new, identifier);
        retain_go_on(connection->session);
    }
    free(reasons);
    free(are_new);
}

/* ---- UNSUBSCRIBE --------------------------------------------------------------------------------------------------- */

void handle_unsubscribe(struct connection *connection, const struct mqtt_subscribe *request) {
    struct str rest = request->filters, filter;
    bool tells = connection->target.version == MQTT_5;
    char *reasons = malloc(rest.len); /* a filter takes more than one byte */
    size_t count = 0;

    if (reasons == NULL) {
        connection_end(connection, END_INTERNAL, MQTT_UNSPECIFIED_ERROR);
        return;
    }
    connection->broker->touched = false;
    while (mqtt_next_filter(&rest, &filter)) {
        bool had = session_unsubscribe(connection->session, filter);
        if (had)
            client_event_unsubscribed(connection->session, filter);
        if (tells)
            reasons[count++] = had ? MQTT_SUCCESS : MQTT_NO_SUBSCRIPTION_EXISTED;
    }
    send_reasons(connection, MQTT_UNSUBACK, request->packet_id, str_make(reasons, count));
    free(reasons);
}
