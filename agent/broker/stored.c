/* agent/broker/stored.c: what the store is told, and how many of its rows refer to a publication. */
#include "agent/broker/parts.h"

static void keep(struct broker *broker, struct publication *publication) {
    if (publication->rows++ == 0)
        store_put_publication(broker->store, publication);
    broker->touched = true;
}

static void let_go(struct broker *broker, struct publication *publication) {
    broker->touched = true;
    if (--publication->rows > 0)
        return;
    store_delete_publication(broker->store, publication->number);
    publication->number = 0;
}

static struct stored_delivery describe(const struct session *session, const struct delivery *delivery) {
    return (struct stored_delivery){
        .session = session->number,
        .number = delivery->number,
        .publication = delivery->publication->number,
        .qos = delivery->qos,
        .retain = delivery->retain,
        .packet_id = delivery->packet_id,
        .state = delivery->state,
        .subscription_ids = str_make(delivery->ids, delivery->ids_len),
    };
}

void stored_delivery(struct session *session, struct delivery *delivery) {
    struct broker *broker = session->broker;

    if (!session->stored || delivery->stored)
        return;
    keep(broker, delivery->publication);
    struct stored_delivery row = describe(session, delivery);
    delivery->number = store_put_delivery(broker->store, &row);
    delivery->stored = true;
}

void stored_delivery_changed(struct session *session, struct delivery *delivery) {
    if (!delivery->stored)
        return;
    struct stored_delivery row = describe(session, delivery);
    store_update_delivery(session->broker->store, &row);
    session->broker->touched = true;
}

void stored_delivery_done(struct session *session, struct delivery *delivery) {
    if (!delivery->stored)
        return;
    store_delete_delivery(session->broker->store, delivery->number);
    delivery->stored = false;
    let_go(session->broker, delivery->publication);
}

void stored_retained(struct broker *broker, struct publication *publication) {
    if (broker->store == NULL)
        return;
    keep(broker, publication);
    store_put_retained(broker->store, publication->number);
}

void stored_retained_gone(struct broker *broker, struct publication *publication) {
    if (broker->store == NULL || publication->rows == 0)
        return;
    store_delete_retained(broker->store, publication->number);
    let_go(broker, publication);
}

void stored_delayed(struct broker *broker, struct publication *publication, int64_t due_ns) {
    if (broker->store == NULL)
        return;
    keep(broker, publication);
    store_put_delayed(broker->store, publication->number, due_ns);
}

void stored_delayed_gone(struct broker *broker, struct publication *publication) {
    if (broker->store == NULL || publication->rows == 0)
        return;
    store_delete_delayed(broker->store, publication->number);
    let_go(broker, publication);
}

void stored_session(struct session *session) {
    struct broker *broker = session->broker;
    struct will *will = &session->will;

    if (!session->stored)
        return;
    if (will->publication != NULL && !will->stored) {
        keep(broker, will->publication);
        will->stored = true;
    }
    const struct stored_session row = {
        .number = session->number,
        .client_id = session_client_id(session),
        .user = session_user(session),
        .version = (uint8_t)session->version,
        .expiry_s = session->expiry_s,
        .ended_ns = session->ended_ns,
        .has_will = will->publication != NULL,
        .will_delay_s = will->delay_s,
        .will = will->publication != NULL ? will->publication->number : 0,
    };
    store_put_session(broker->store, &row);
    broker->touched = true;
}

void stored_will_gone(struct session *session) {
    if (!session->will.stored)
        return;
    session->will.stored = false;
    let_go(session->broker, session->will.publication);
}

void stored_session_gone(struct session *session) {
    if (!session->stored)
        return;
    session->stored = false;
    store_delete_session(session->broker->store, session->number);
    session->broker->touched = true;
}

void stored_subscription(struct session *session, struct str filter, const struct subscription_terms *terms) {
    if (!session->stored)
        return;
    store_put_subscription(session->broker->store, session->number, filter, terms);
    session->broker->touched = true;
}

void stored_subscription_gone(struct session *session, struct str filter) {
    if (!session->stored)
        return;
    store_delete_subscription(session->broker->store, session->number, filter);
    session->broker->touched = true;
}

void stored_received(struct session *session, uint16_t packet_id) {
    if (!session->stored)
        return;
    store_put_received(session->broker->store, session->number, packet_id);
    session->broker->touched = true;
}

void stored_received_gone(struct session *session, uint16_t packet_id) {
    if (!session->stored)
        return;
    store_delete_received(session->broker->store, session->number, packet_id);
    session->broker->touched = true;
}
