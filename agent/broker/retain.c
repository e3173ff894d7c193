/* agent/broker/retain.c: retained messages: set, sent to new subscriptions in pieces, swept when they expire (MQTT 5 sections 3.3.1.3, 3.8.3.1). */
#include <stdlib.h>

#include "agent/broker/parts.h"

enum {
    STEPS_AT_ONCE = 1000, /* of a walk, per turn */
    SWEEP_STEPS = 2000,   /* per tick */
};

static void note_figures(struct broker *broker) {
    broker->figures.retained = retained_count(broker->retained);
    broker->figures.retained_bytes = retained_bytes(broker->retained);
}

/* The broker's own topics come again at every start. */
static bool survives(const struct publication *publication) {
    return !str_starts_with(publication->topic, STR("$SYS/"));
}

enum retain_result retain_set(struct broker *broker, struct publication *publication) {
    struct publication *before = retained_get(broker->retained, publication->topic);
    uint64_t size = publication_size(publication);
    enum retain_result result = RETAIN_DONE;

    if (publication->payload.len > 0 && survives(publication) && !broker_may_hold(broker, size))
        return RETAIN_FULL;
    if (before != NULL)
        publication_ref(before);
    switch (retained_set(broker->retained, publication)) {
    case RETAINED_REPLACED:
        if (before != publication && survives(publication)) {
            stored_retained_gone(broker, before);
            stored_retained(broker, publication);
        }
        break;
    case RETAINED_SET:
        if (survives(publication))
            stored_retained(broker, publication);
        break;
    case RETAINED_CLEARED:
        if (before != NULL && survives(before))
            stored_retained_gone(broker, before);
        break;
    case RETAINED_NOTHING:
        break;
    case RETAINED_FULL:
    case RETAINED_NO_MEMORY:
        complain(&broker->memory_trouble, LOG_WARN, "BROKER-RETAINED-FULL",
                 "%zu retained messages (%llu bytes) are all that is allowed (max_retained_messages, max_retained_bytes): '%.*s' is not retained",
                 retained_count(broker->retained), (unsigned long long)retained_bytes(broker->retained),
                 (int)(publication->topic.len < 200 ? publication->topic.len : 200), publication->topic.data);
        result = RETAIN_FULL;
        break;
    }
    publication_unref(before);
    note_figures(broker);
    return result;
}

/* ---- to a new subscription ----------------------------------------------------------------------------------------- */

void retain_begin(struct session *session, struct str filter, const struct subscription_terms *terms) {
    struct retained_job *job = malloc(sizeof *job);

    if (job == NULL)
        return;
    *job = (struct retained_job){ .walk = retained_walk_new(session->broker->retained, filter), .terms = *terms };
    if (job->walk == NULL) {
        free(job);
        return;
    }
    *session->last_retained_job = job;
    session->last_retained_job = &job->next;
}

static void end_job(struct session *session) {
    struct retained_job *job = session->retained_jobs;

    session->retained_jobs = job->next;
    if (session->retained_jobs == NULL)
        session->last_retained_job = &session->retained_jobs;
    retained_walk_free(job->walk);
    free(job);
}

void retain_forget(struct session *session) {
    broker_discontinue(session->broker, session);
    while (session->retained_jobs != NULL)
        end_job(session);
}

static void give(struct session *session, struct publication *publication, const struct subscription_terms *terms) {
    char id[MQTT_SUBSCRIPTION_ID_MAX];
    const struct owed how = {
        .qos = publication->qos < terms->qos ? publication->qos : terms->qos,
        .retain = true, /* [MQTT-3.3.1-8] */
        .subscription_ids = str_make(id, terms->identifier != 0 ? mqtt_subscription_id(id, terms->identifier) : 0),
    };
    const struct mqtt_message message = { publication->topic, publication->payload, publication->properties };

    if (!access_allows(session->broker, ACL_RECEIVE, session, publication->topic) || !access_still_allows(session->broker, publication))
        metric_add(&session->broker->figures.dropped_denied, 1);
    else if (how.qos == 0)
        outbox_send_at_once(session, &message, publication, publication->expires_ns, &how);
    else
        outbox_add(session, publication, &how);
}

/* No more than the client takes now: a walk waits for its output, and for room in its queue, rather than lose what it finds. */
static bool may_give(const struct session *session) {
    const struct broker_settings *settings = session->broker->settings;
    int64_t most = settings->max_queued_messages;

    return session->connection != NULL && session->connection->state == CONNECTION_UP &&
           connection_has_room(session->connection, settings->max_output_bytes / 2) &&
           (most == 0 || (int64_t)session->outbox.queued.count < most / 2 + 1);
}

void retain_go_on(struct session *session) {
    struct broker *broker = session->broker;
    size_t steps = STEPS_AT_ONCE;
    int64_t now_ns = clock_real_ns();

    broker->giving = true;
    while (session->retained_jobs != NULL && steps > 0 && may_give(session)) {
        struct publication *found;
        switch (retained_walk_next(session->retained_jobs->walk, now_ns, &steps, &found)) {
        case RETAINED_FOUND:
            give(session, found, &session->retained_jobs->terms);
            break;
        case RETAINED_LATER:
            steps = 0;
            break;
        case RETAINED_END:
            end_job(session);
            break;
        }
    }
    broker->giving = false;
    if (session->retained_jobs == NULL || session->connection == NULL)
        return;
    if (steps == 0)
        broker_continue(broker, session);
    else
        transport_watch_output(session->connection->transport, broker->settings->max_output_bytes / 2);
}

/* ---- to an input ---------------------------------------------------------------------------------------------------- */

void retain_give_input(struct broker *broker, struct input *input, struct str filter) {
    struct retained_walk *walk = retained_walk_new(broker->retained, filter);
    struct publication *found;
    size_t steps = SIZE_MAX;
    int64_t now_ns = clock_real_ns();

    while (walk != NULL && retained_walk_next(walk, now_ns, &steps, &found) == RETAINED_FOUND) {
        const struct message message = { .topic = found->topic, .payload = found->payload, .received_ns = clock_unique_ns(), .retain = true };
        uint64_t sequence;
        input->terms.sink.deliver(input->terms.sink.ctx, &message, &sequence);
        metric_add(&input->received, 1);
    }
    retained_walk_free(walk);
}

/* ---- expiry --------------------------------------------------------------------------------------------------------- */

static void on_expired(void *ctx, const struct publication *publication) {
    struct broker *broker = ctx;

    stored_retained_gone(broker, (struct publication *)publication); /* the row's count is the broker's */
}

void retain_sweep(struct broker *broker) {
    retained_sweep(broker->retained, clock_real_ns(), SWEEP_STEPS, on_expired, broker);
    note_figures(broker);
}
