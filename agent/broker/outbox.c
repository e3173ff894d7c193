/*
 * agent/broker/outbox.c: the messages that a session is owed: a queue of those that were never sent, and those in flight (MQTT 5 sections 4.3, 4.4, 4.9).
 * They are sent again on a new connection only ([MQTT-4.4.0-1]), in their order. What has a row in the store is sent as QoS 2 only when the store has its
 * packet identifier on disk, and released (PUBREL) only when it has that state: else a crash could make two of one.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

enum { OUTPUT_MARK = 64 * 1024 }; /* bytes in the transport above which nothing is taken from the queue */

/* ---- lists --------------------------------------------------------------------------------------------------------- */

void outbox_init(struct outbox *outbox) {
    *outbox = (struct outbox){ .on_wire = 0 };
}

static void append(struct delivery_list *list, struct delivery *delivery) {
    delivery->next = NULL;
    if (list->last != NULL)
        list->last->next = delivery;
    else
        list->first = delivery;
    list->last = delivery;
    list->count++;
}

static struct delivery *take_first(struct delivery_list *list) {
    struct delivery *delivery = list->first;

    list->first = delivery->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    return delivery;
}

/* Acknowledgements mostly come in order, so the first few are looked at only. */
static struct delivery *find(struct delivery_list *list, uint16_t packet_id, struct delivery **before) {
    *before = NULL;
    for (struct delivery *delivery = list->first; delivery != NULL; delivery = delivery->next) {
        if (delivery->packet_id == packet_id)
            return delivery;
        *before = delivery;
    }
    return NULL;
}

static void take_out(struct delivery_list *list, struct delivery *delivery, struct delivery *before) {
    if (before != NULL)
        before->next = delivery->next;
    else
        list->first = delivery->next;
    if (list->last == delivery)
        list->last = before;
    list->count--;
}

/* ---- accounts ------------------------------------------------------------------------------------------------------ */

static void count_queued(struct session *session, const struct delivery *delivery, bool added) {
    struct broker *broker = session->broker;
    uint64_t bytes = publication_size(delivery->publication);

    session->outbox.queued_bytes += added ? bytes : -bytes;
    broker->held_bytes += added ? bytes : -bytes;
    metric_add(&broker->figures.queued, added ? 1 : UINT64_MAX);
    metric_add(&broker->figures.queued_bytes, added ? bytes : -bytes);
}

/* Done with, however it ended. */
static void discard(struct session *session, struct delivery *delivery) {
    if (delivery->qos == 2 && session->connection != NULL)
        answers_forget_delivery(session->connection, delivery);
    stored_delivery_done(session, delivery);
    publication_unref(delivery->publication);
    free(delivery);
}

static void drop(struct session *session, struct delivery *delivery, metric_counter *counter) {
    metric_add(counter, 1);
    session->dropped++;
    discard(session, delivery);
}

static bool is_over_limit(const struct session *session, uint64_t more) {
    const struct broker_settings *settings = session->broker->settings;
    const struct outbox *outbox = &session->outbox;

    return (settings->max_queued_messages > 0 && (int64_t)outbox->queued.count >= settings->max_queued_messages) ||
           (settings->max_queued_bytes > 0 && outbox->queued_bytes + more > settings->max_queued_bytes) ||
           !broker_may_hold(session->broker, more);
}

static struct delivery *take_queued(struct session *session) {
    struct delivery *delivery = take_first(&session->outbox.queued);

    count_queued(session, delivery, false);
    return delivery;
}

/* Makes room by the policy. False: the new message is not kept. */
static bool make_room(struct session *session, uint64_t more) {
    struct broker *broker = session->broker;

    while (is_over_limit(session, more)) {
        complain(&broker->queue_trouble, LOG_WARN, "BROKER-QUEUE-FULL",
                 "client %s does not take its messages as fast as they come, and its queue is full (%zu messages, %llu bytes): some are lost",
                 session->client_id, session->outbox.queued.count, (unsigned long long)session->outbox.queued_bytes);
        if (broker->settings->queue_full == QUEUE_DISCONNECT && session->connection != NULL)
            connection_end(session->connection, END_LIMIT, MQTT_QUOTA_EXCEEDED);
        if (broker->settings->queue_full != QUEUE_DROP_OLDEST || session->outbox.queued.count == 0)
            return false;
        drop(session, take_queued(session), &broker->figures.dropped_queue_full);
    }
    return true;
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

static struct mqtt_message message_of(const struct publication *publication) {
    return (struct mqtt_message){ .topic = publication->topic, .payload = publication->payload, .properties = publication->properties };
}

void outbox_send_at_once(struct session *session, const struct mqtt_message *message, struct publication *owner, int64_t expires_ns,
                         const struct owed *how) {
    const struct sending sending = { .retain = how->retain, .subscription_ids = how->subscription_ids };
    struct broker *broker = session->broker;

    if (!connection_has_room(session->connection, message->topic.len + message->payload.len)) {
        metric_add(&broker->figures.dropped_qos0, 1);
        session->dropped++;
    } else if (connection_send_message(session->connection, message, owner, expires_ns, &sending) == SEND_TOO_LARGE) {
        metric_add(&broker->figures.dropped_too_large, 1);
        session->dropped++;
    }
}

/* 0 is none; those in flight are not used again ([MQTT-2.2.1-3], [MQTT-2.2.1-4]). */
static uint16_t next_packet_id(struct outbox *outbox) {
    struct delivery *before;

    do
        outbox->last_packet_id = (uint16_t)(outbox->last_packet_id == UINT16_MAX ? 1 : outbox->last_packet_id + 1);
    while (outbox->inflight.count > 0 && find(&outbox->inflight, outbox->last_packet_id, &before) != NULL);
    return outbox->last_packet_id;
}

static enum send_result send_publish(struct session *session, struct delivery *delivery) {
    const struct publication *publication = delivery->publication;
    struct mqtt_message message = message_of(publication);
    const struct sending sending = {
        .qos = delivery->qos,
        .retain = delivery->retain,
        .dup = delivery->resent,
        .packet_id = delivery->packet_id,
        .subscription_ids = str_make(delivery->ids, delivery->ids_len),
    };

    return connection_send_message(session->connection, &message, delivery->publication, publication->expires_ns, &sending);
}

static void send_pubrel(struct session *session, const struct delivery *delivery) {
    uint8_t bytes[MQTT_ACK_MAX];
    size_t len = mqtt_encode_ack(MQTT_PUBREL, session->version, delivery->packet_id, MQTT_SUCCESS, bytes);

    connection_send_bytes(session->connection, bytes, len);
}

/* Not for this client ([MQTT-3.1.2-25]): as if it had been delivered. */
static void give_up_too_large(struct session *session, struct delivery *delivery) {
    struct delivery *before;
    struct outbox *outbox = &session->outbox;

    if (find(&outbox->inflight, delivery->packet_id, &before) == delivery) {
        take_out(&outbox->inflight, delivery, before);
        outbox->on_wire--;
    }
    drop(session, delivery, &session->broker->figures.dropped_too_large);
}

void outbox_send_waiting(struct session *session, struct delivery *delivery) {
    if (delivery->state == DELIVERY_RECEIVED)
        send_pubrel(session, delivery);
    else if (send_publish(session, delivery) == SEND_TOO_LARGE)
        give_up_too_large(session, delivery);
}

/* What stands in its way: it waits for the disk where a crash in between would show. */
static void send_delivery(struct session *session, struct delivery *delivery) {
    if (delivery->qos == 2 && delivery->stored && delivery->ticket > session->broker->store_durable)
        answers_send_delivery(session->connection, delivery->ticket, delivery);
    else
        outbox_send_waiting(session, delivery);
}

static uint64_t ticket_now(struct session *session) {
    return session->broker->store != NULL ? store_ticket(session->broker->store) : 0;
}

/* The first of the queue goes out, or is dropped. */
static void send_next(struct session *session) {
    struct outbox *outbox = &session->outbox;
    struct broker *broker = session->broker;
    struct delivery *delivery = take_queued(session);

    if (publication_is_expired(delivery->publication, clock_real_ns())) {
        drop(session, delivery, &broker->figures.dropped_expired);
        return;
    }
    if (!access_allows(broker, ACL_RECEIVE, session, delivery->publication->topic)) {
        drop(session, delivery, &broker->figures.dropped_denied);
        return;
    }
    delivery->packet_id = next_packet_id(outbox);
    delivery->state = DELIVERY_SENT;
    append(&outbox->inflight, delivery);
    outbox->on_wire++;
    stored_delivery_changed(session, delivery);
    delivery->ticket = delivery->stored ? ticket_now(session) : 0;
    send_delivery(session, delivery);
}

static bool may_send(const struct session *session) {
    const struct connection *connection = session->connection;

    return connection != NULL && connection->state == CONNECTION_UP && session->outbox.on_wire < connection->quota &&
           transport_queued(connection->transport) < OUTPUT_MARK;
}

/* In flight from a connection before, and not sent on this one yet. */
static struct delivery *next_to_resend(const struct outbox *outbox) {
    struct delivery *delivery = outbox->inflight.first;

    while (delivery != NULL && delivery->on_wire)
        delivery = delivery->next;
    return delivery;
}

/* Nothing that the client may not read any more, even if it may have had it before; the end of a QoS 2 flow has no content. */
static void resend(struct session *session, struct delivery *delivery) {
    struct delivery *before;

    if (delivery->state != DELIVERY_RECEIVED && !access_allows(session->broker, ACL_RECEIVE, session, delivery->publication->topic)) {
        find(&session->outbox.inflight, delivery->packet_id, &before);
        take_out(&session->outbox.inflight, delivery, before);
        drop(session, delivery, &session->broker->figures.dropped_denied);
        return;
    }
    delivery->on_wire = true;
    session->outbox.on_wire++;
    send_delivery(session, delivery);
}

void outbox_pump(struct session *session) {
    struct outbox *outbox = &session->outbox;

    if (outbox->pumping)
        return;
    outbox->pumping = true;
    while (outbox->resuming && may_send(session)) {
        struct delivery *delivery = next_to_resend(outbox);
        outbox->resuming = delivery != NULL;
        if (delivery != NULL)
            resend(session, delivery);
    }
    while (!outbox->resuming && outbox->queued.count > 0 && may_send(session))
        send_next(session);
    outbox->pumping = false;
    if (session->connection != NULL && session->connection->transport != NULL && (outbox->queued.count > 0 || outbox->resuming))
        transport_watch_output(session->connection->transport, OUTPUT_MARK);
}

/* ---- adding -------------------------------------------------------------------------------------------------------- */

static struct delivery *make_delivery(struct publication *publication, const struct owed *how) {
    struct str ids = how->subscription_ids;
    struct delivery *delivery = ids.len <= UINT8_MAX ? malloc(sizeof *delivery + ids.len) : NULL;

    if (delivery == NULL)
        return NULL;
    *delivery = (struct delivery){ .publication = publication_ref(publication), .qos = how->qos, .retain = how->retain, .on_wire = true,
                                   .ids_len = (uint8_t)ids.len };
    if (ids.len > 0)
        memcpy(delivery->ids, ids.data, ids.len);
    return delivery;
}

void outbox_add(struct session *session, struct publication *publication, const struct owed *how) {
    struct broker *broker = session->broker;
    struct delivery *delivery = make_room(session, publication_size(publication)) ? make_delivery(publication, how) : NULL;

    if (delivery == NULL) {
        metric_add(&broker->figures.dropped_queue_full, 1);
        session->dropped++;
        return;
    }
    append(&session->outbox.queued, delivery);
    count_queued(session, delivery, true);
    stored_delivery(session, delivery);
    outbox_pump(session);
}

/* ---- acknowledgements ---------------------------------------------------------------------------------------------- */

static void end_delivery(struct session *session, struct delivery *delivery, struct delivery *before) {
    struct outbox *outbox = &session->outbox;

    take_out(&outbox->inflight, delivery, before);
    if (delivery->on_wire)
        outbox->on_wire--;
    discard(session, delivery);
}

static void received(struct session *session, struct delivery *delivery) {
    if (delivery->state != DELIVERY_RECEIVED) {
        delivery->state = DELIVERY_RECEIVED;
        stored_delivery_changed(session, delivery);
        delivery->ticket = delivery->stored ? ticket_now(session) : 0;
    }
    send_delivery(session, delivery);
}

enum outbox_ack outbox_acknowledged(struct session *session, enum mqtt_type type, uint16_t packet_id, uint8_t reason) {
    struct delivery *before, *delivery = find(&session->outbox.inflight, packet_id, &before);

    if (delivery == NULL)
        return OUTBOX_UNKNOWN;
    switch (type) {
    case MQTT_PUBACK:
        if (delivery->qos != 1)
            return OUTBOX_WRONG_STATE;
        end_delivery(session, delivery, before);
        return OUTBOX_KNOWN;
    case MQTT_PUBREC:
        if (delivery->qos != 2)
            return OUTBOX_WRONG_STATE;
        if (reason >= MQTT_UNSPECIFIED_ERROR)
            end_delivery(session, delivery, before);
        else
            received(session, delivery);
        return OUTBOX_KNOWN;
    default: /* PUBCOMP */
        if (delivery->qos != 2 || delivery->state != DELIVERY_RECEIVED)
            return OUTBOX_WRONG_STATE;
        end_delivery(session, delivery, before);
        return OUTBOX_KNOWN;
    }
}

/* ---- a new connection, and none ------------------------------------------------------------------------------------ */

void outbox_suspend(struct session *session) {
    struct outbox *outbox = &session->outbox;

    for (struct delivery *delivery = outbox->inflight.first; delivery != NULL; delivery = delivery->next) {
        delivery->on_wire = false;
        delivery->resent = true;
    }
    outbox->on_wire = 0;
}

void outbox_resume(struct session *session) {
    session->outbox.resuming = session->outbox.inflight.count > 0;
    outbox_pump(session);
}

static void clear_list(struct delivery_list *list) {
    while (list->first != NULL) {
        struct delivery *delivery = take_first(list);
        publication_unref(delivery->publication);
        free(delivery);
    }
}

void outbox_clear(struct session *session) {
    for (const struct delivery *delivery = session->outbox.queued.first; delivery != NULL; delivery = delivery->next)
        count_queued(session, delivery, false);
    clear_list(&session->outbox.queued);
    clear_list(&session->outbox.inflight);
    session->outbox.on_wire = 0;
}

/* ---- the store ----------------------------------------------------------------------------------------------------- */

static void for_all(struct session *session, void (*each)(struct session *session, struct delivery *delivery)) {
    for (struct delivery *delivery = session->outbox.inflight.first; delivery != NULL; delivery = delivery->next)
        each(session, delivery);
    for (struct delivery *delivery = session->outbox.queued.first; delivery != NULL; delivery = delivery->next)
        each(session, delivery);
}

void outbox_store_all(struct session *session) {
    for_all(session, stored_delivery);
}

void outbox_unstore_all(struct session *session) {
    for_all(session, stored_delivery_done);
}

bool outbox_restore(struct session *session, const struct stored_delivery *stored, struct publication *publication) {
    const struct owed how = { .qos = stored->qos, .retain = stored->retain, .subscription_ids = stored->subscription_ids };
    struct outbox *outbox = &session->outbox;
    struct delivery *delivery = make_delivery(publication, &how);

    if (delivery == NULL)
        return false;
    delivery->number = stored->number;
    delivery->packet_id = stored->packet_id;
    delivery->state = stored->state;
    delivery->stored = delivery->resent = true;
    delivery->on_wire = false;
    publication->rows++;
    if (stored->state == DELIVERY_QUEUED) {
        delivery->resent = false;
        delivery->on_wire = true; /* it will be */
        append(&outbox->queued, delivery);
        count_queued(session, delivery, true);
    } else {
        append(&outbox->inflight, delivery);
        if (stored->packet_id > outbox->last_packet_id)
            outbox->last_packet_id = stored->packet_id;
    }
    return true;
}
