/*
 * agent/broker/routing.c: from a message to whoever gets it. First all receivers are found, then inputs of this process are asked, who may refuse,
 * and only then sessions get it, so that a message which has to wait has gone to nobody else. A session with several matching subscriptions gets it
 * once, with the highest QoS and all their identifiers ([MQTT-3.3.4-2] to [MQTT-3.3.4-5]); shared subscriptions are apart from that.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

enum {
    PROPERTIES_MAX = 64,        /* user properties handed to an input */
    SHARED_PAYLOAD_MIN = 4096,  /* from here on the payload is kept once and referred to */
};

/* ---- finding receivers --------------------------------------------------------------------------------------------- */

struct search {
    struct broker *broker;
    const struct routed *routed;
};

static struct receiver *add_receiver(struct broker *broker, void *who) {
    if (broker->receiver_count == broker->receiver_cap) {
        size_t cap = broker->receiver_cap > 0 ? broker->receiver_cap * 2 : 64;
        struct receiver *larger = realloc(broker->receivers, cap * sizeof *larger);
        if (larger == NULL)
            return NULL;
        broker->receivers = larger;
        broker->receiver_cap = cap;
    }
    struct receiver *receiver = &broker->receivers[broker->receiver_count++];
    *receiver = (struct receiver){ .who = who };
    return receiver;
}

/* Identifiers of one receiver stand together: when another comes, those there are copied behind the last. */
static void add_identifier(struct broker *broker, struct receiver *receiver, uint32_t identifier) {
    struct buf *ids = &broker->receiver_ids;
    char encoded[MQTT_SUBSCRIPTION_ID_MAX];
    size_t len = mqtt_subscription_id(encoded, identifier), before = ids->len;

    if (!buf_reserve(ids, receiver->ids_len + len))
        return;
    memcpy(ids->data + ids->len, ids->data + receiver->ids_at, receiver->ids_len);
    memcpy(ids->data + ids->len + receiver->ids_len, encoded, len);
    ids->len += receiver->ids_len + len;
    receiver->ids_at = (uint32_t)before;
    receiver->ids_len = (uint16_t)(receiver->ids_len + len);
}

static void merge_terms(struct broker *broker, struct receiver *receiver, const struct subscription_terms *terms) {
    if (terms->qos > receiver->qos)
        receiver->qos = terms->qos;
    receiver->retain_as_published |= terms->retain_as_published;
    if (terms->identifier != 0)
        add_identifier(broker, receiver, terms->identifier);
}

static void on_match(void *ctx, void *subscriber, const struct subscription_terms *terms) {
    struct search *search = ctx;
    struct broker *broker = search->broker;
    struct subscriber *who = subscriber;
    struct receiver *receiver;

    if (terms->no_local && search->routed->publisher != NULL && who == &search->routed->publisher->subscriber)
        return; /* [MQTT-3.8.3-3] */
    if (who->met == broker->serial) {
        receiver = &broker->receivers[who->receiver];
    } else {
        receiver = add_receiver(broker, who);
        if (receiver == NULL)
            return;
        who->met = broker->serial;
        who->receiver = broker->receiver_count - 1;
    }
    merge_terms(broker, receiver, terms);
}

/* ---- shared subscriptions ------------------------------------------------------------------------------------------ */

static bool is_connected(const struct subscriber *who) {
    return who->kind == SUBSCRIBER_INPUT || ((const struct session *)who)->connection != NULL;
}

static size_t first_choice(const struct broker *broker, const struct routed *routed, struct topic_group *group, size_t count) {
    uint64_t *state = topic_group_state(group);

    switch ((enum share_strategy)broker->settings->share_strategy) {
    case SHARE_SENDER_HASH:
        return (size_t)(str_hash(routed->client_id) % count);
    case SHARE_STICKY:
        return (size_t)(*state % count);
    case SHARE_ROUND_ROBIN:
        break;
    }
    return (size_t)((*state)++ % count);
}

/* Members that are connected come first; who is away gets it only when all are. */
static void on_group(void *ctx, struct topic_group *group) {
    struct search *search = ctx;
    const struct subscription_terms *terms = NULL;
    size_t count = topic_group_count(group), first = first_choice(search->broker, search->routed, group, count), chosen = first;
    struct subscriber *who;

    for (size_t i = 0; i < count; i++) {
        chosen = (first + i) % count;
        if (is_connected(topic_group_member(group, chosen, &terms)))
            break;
        chosen = first;
    }
    who = topic_group_member(group, chosen, &terms);
    if (search->broker->settings->share_strategy == SHARE_STICKY)
        *topic_group_state(group) = chosen;
    struct receiver *receiver = add_receiver(search->broker, who);
    if (receiver != NULL)
        merge_terms(search->broker, receiver, terms);
}

static void find_receivers(struct broker *broker, const struct routed *routed) {
    struct search search = { broker, routed };
    const struct topic_match match = { &search, on_match, on_group };

    broker->serial++;
    broker->receiver_count = 0;
    buf_reset(&broker->receiver_ids);
    topic_tree_match(broker->tree, routed->message.topic, &match);
}

/* ---- inputs of this process ---------------------------------------------------------------------------------------- */

static size_t read_user_properties(const struct mqtt_properties *from, struct message_property *to) {
    struct str rest = from->encoded;
    size_t count = 0;

    while (count < PROPERTIES_MAX && mqtt_next_user_property(&rest, &to[count].key, &to[count].value))
        count++;
    return count;
}

/* What the client sends again is known by it, after a crash of ours too. */
struct message_origin routed_origin(const struct routed *routed) {
    uint64_t topic = str_hash(routed->message.topic), payload = str_hash(routed->message.payload);

    if (routed->packet_id == 0)
        return (struct message_origin){ 0 };
    return (struct message_origin){ .content = (topic << 1 | topic >> 63) ^ payload,
                                    .session = (uint32_t)str_hash(routed->client_id),
                                    .id = routed->packet_id };
}

static bool give_input(struct input *input, const struct routed *routed, uint8_t qos, struct wait *wait) {
    struct message_property user[PROPERTIES_MAX];
    struct message message = {
        .topic = routed->message.topic,
        .payload = routed->message.payload,
        .received_ns = clock_unique_ns(),
        .qos = qos,
        .dup = routed->dup,
        .sender_can_wait = routed->sender_can_wait,
        .origin = wait->origin,
    };
    uint64_t own_sequence = 0;

    if (routed->properties != NULL) {
        message.content_type = routed->properties->content_type;
        message.properties = user;
        message.property_count = read_user_properties(routed->properties, user);
    }
    if (input->terms.sink.deliver(input->terms.sink.ctx, &message, &own_sequence) == MESSAGE_REFUSED && (qos > 0 || routed->sender_can_wait)) {
        metric_add(&input->refused, 1);
        return false;
    }
    metric_add(&input->received, 1);
    if (own_sequence > wait->sequence)
        wait->sequence = own_sequence;
    return true;
}

/* False: one has no room. Those that have the message already are in the set. */
static bool give_inputs(struct broker *broker, const struct routed *routed, uint64_t *done, struct wait *wait) {
    bool room = true;
    struct message_origin origin = routed_origin(routed);

    if (routed->dup && *done == 0 && remembered_take(&broker->remembered, origin)) {
        metric_add(&broker->figures.redeliveries, 1);
        *done = UINT64_MAX;
    }
    wait->origin = origin;

    for (size_t i = 0; i < broker->receiver_count; i++) {
        const struct receiver *receiver = &broker->receivers[i];
        struct input *input = (struct input *)receiver->who;
        if (receiver->who->kind != SUBSCRIBER_INPUT || (*done >> input->number & 1) != 0 || input->terms.retained == BROKER_RETAINED_ONLY)
            continue;
        if (give_input(input, routed, routed->qos < receiver->qos ? routed->qos : receiver->qos, wait))
            *done |= UINT64_C(1) << input->number;
        else
            room = false;
    }
    if (*done == 0)
        wait->origin.id = 0; /* nobody here has it */
    return room;
}

/* ---- sessions ------------------------------------------------------------------------------------------------------ */

struct publication *routed_keep(const struct routed *routed) {
    const struct publication_parts parts = {
        .topic = routed->message.topic,
        .payload = routed->message.payload,
        .properties = routed->message.properties,
        .client_id = routed->client_id,
        .user = routed->user,
        .qos = routed->qos,
        .retain = routed->retain,
        .expires_ns = routed->expires_ns,
        .published_ns = routed->published_ns,
    };

    return routed->owner != NULL ? publication_ref(routed->owner) : publication_new(&parts);
}

/* Made when the first one needs it. */
static struct publication *kept(const struct routed *routed, struct publication **publication) {
    if (*publication == NULL)
        *publication = routed_keep(routed);
    return *publication;
}

static struct str identifiers_of(const struct broker *broker, const struct receiver *receiver) {
    return receiver->ids_len > 0 ? str_make(broker->receiver_ids.data + receiver->ids_at, receiver->ids_len) : STR_EMPTY;
}

/* From its publication when there is one: output that waits refers to it, and what the publisher sent is gone then. */
static void send_at_once(struct session *session, const struct routed *routed, struct publication *publication, const struct owed *how) {
    struct mqtt_message message = routed->message;

    if (publication != NULL)
        message = (struct mqtt_message){ publication->topic, publication->payload, publication->properties };
    outbox_send_at_once(session, &message, publication, routed->expires_ns, how);
}

static void give_session(struct broker *broker, const struct routed *routed, const struct receiver *receiver,
                         struct publication **publication) {
    struct session *session = (struct session *)receiver->who;
    const struct owed how = {
        .qos = routed->qos < receiver->qos ? routed->qos : receiver->qos,
        .retain = receiver->retain_as_published && routed->retain,
        .subscription_ids = identifiers_of(broker, receiver),
    };

    if (!access_allows(broker, ACL_RECEIVE, session, routed->message.topic)) {
        metric_add(&broker->figures.dropped_denied, 1);
        return;
    }
    if (how.qos == 0 && session->connection != NULL && session->connection->state == CONNECTION_UP) {
        if (routed->message.payload.len >= SHARED_PAYLOAD_MIN)
            kept(routed, publication);
        send_at_once(session, routed, *publication, &how);
    } else if (how.qos > 0 && kept(routed, publication) != NULL) {
        outbox_add(session, *publication, &how);
    }
}

static size_t give_sessions(struct broker *broker, const struct routed *routed, struct publication **publication) {
    size_t given = 0;

    broker->giving = true;
    for (size_t i = 0; i < broker->receiver_count; i++) {
        const struct receiver *receiver = &broker->receivers[i];
        given++;
        if (receiver->who->kind == SUBSCRIBER_SESSION)
            give_session(broker, routed, receiver, publication);
    }
    broker->giving = false;
    return given;
}

/* ---- room on disk -------------------------------------------------------------------------------------------------- */

/* Who has no words for a refusal and wants an answer waits instead. */
enum route_result route_without_room(const struct routed *routed) {
    return routed->publisher->version != MQTT_5 && routed->qos > 0 ? ROUTE_BLOCKED : ROUTED_FULL;
}

/* Of sessions that the store keeps, and of retained messages. */
static bool needs_rows(const struct broker *broker, const struct routed *routed) {
    for (size_t i = 0; i < broker->receiver_count && routed->qos > 0; i++) {
        const struct receiver *receiver = &broker->receivers[i];
        if (receiver->who->kind == SUBSCRIBER_SESSION && receiver->qos > 0 && ((const struct session *)receiver->who)->stored)
            return true;
    }
    return routed->retain && routed->message.payload.len > 0;
}

/* What was acknowledged before (a will, a delayed message) is kept all the same, and so is what an input has already. */
static bool lacks_room(const struct broker *broker, const struct routed *routed, uint64_t inputs_done) {
    return routed->publisher != NULL && inputs_done == 0 && !routed->inputs_only && broker->store != NULL && store_is_full(broker->store) &&
           needs_rows(broker, routed);
}

/* ---- all of it ----------------------------------------------------------------------------------------------------- */

enum route_result route(struct broker *broker, const struct routed *routed, uint64_t *inputs_done, struct wait *wait) {
    struct publication *publication = NULL;
    enum route_result result;

    find_receivers(broker, routed);
    if (lacks_room(broker, routed, *inputs_done))
        return route_without_room(routed);
    if (!give_inputs(broker, routed, inputs_done, wait))
        return ROUTE_BLOCKED;
    if (routed->inputs_only)
        return ROUTED;
    result = give_sessions(broker, routed, &publication) > 0 ? ROUTED : ROUTED_NOBODY;
    if (routed->retain) {
        struct publication *retained = kept(routed, &publication);
        if (retained == NULL || retain_set(broker, retained) == RETAIN_FULL)
            result = ROUTED_FULL;
    }
    publication_unref(publication);
    broker_round(broker);
    return result;
}

/* What inputs do with it does not matter to anybody who waits. */
void route_publication(struct broker *broker, struct publication *publication, bool retain) {
    const struct routed routed = {
        .message = { .topic = publication->topic, .payload = publication->payload, .properties = publication->properties },
        .qos = publication->qos,
        .retain = retain,
        .expires_ns = publication->expires_ns,
        .published_ns = publication->published_ns,
        .publisher = publication->client_id.len > 0 ? session_find(broker, publication->client_id) : NULL,
        .client_id = publication->client_id,
        .user = publication->user,
        .owner = publication,
    };
    struct wait wait = { .ticket = 0 };
    uint64_t done = 0;

    if (route(broker, &routed, &done, &wait) == ROUTE_BLOCKED) {
        metric_add(&broker->figures.dropped_quota, 1); /* the input is full; it counts that too */
        done = UINT64_MAX;
        route(broker, &routed, &done, &wait);
    }
}

void route_own(struct broker *broker, struct str topic, struct str payload, uint8_t qos, bool retain) {
    const struct publication_parts parts = { .topic = topic, .payload = payload, .qos = qos, .retain = retain, .published_ns = clock_real_ns() };
    struct publication *publication = publication_new(&parts);

    if (publication != NULL)
        route_publication(broker, publication, retain);
    publication_unref(publication);
}
