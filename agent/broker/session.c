/* agent/broker/session.c: sessions: who is known, found by client id; what they subscribed to; how they go on and how they end (MQTT 5 section 4.1). */
#include <stdlib.h>

#include "agent/broker/parts.h"

/* ---- the table ----------------------------------------------------------------------------------------------------- */

enum { FIRST_BUCKETS = 64 };

bool sessions_init(struct broker *broker) {
    broker->bucket_count = FIRST_BUCKETS;
    broker->buckets = calloc(FIRST_BUCKETS, sizeof *broker->buckets);
    broker->next_session = 1;
    return broker->buckets != NULL;
}

/* The whole table goes, and with it what every session owns; the store keeps what it has. */
void sessions_release(struct broker *broker) {
    for (size_t i = 0; i < broker->bucket_count; i++)
        while (broker->buckets[i] != NULL)
            session_forget(broker->buckets[i]);
    free(broker->buckets);
    broker->buckets = NULL;
    broker->bucket_count = 0;
}

static struct session **bucket_of(const struct broker *broker, struct str client_id) {
    return &broker->buckets[str_hash(client_id) & (broker->bucket_count - 1)];
}

struct str session_client_id(const struct session *session) {
    return str_make(session->client_id, session->client_id_len);
}

struct str session_user(const struct session *session) {
    return str_make(session->user, session->user_len);
}

struct session *session_find(const struct broker *broker, struct str client_id) {
    struct session *session = *bucket_of(broker, client_id);

    while (session != NULL && !str_eq(session_client_id(session), client_id))
        session = session->next_in_bucket;
    return session;
}

/* Without memory the old table does. */
static void grow_table(struct broker *broker) {
    size_t count = broker->bucket_count * 2;
    struct session **old = broker->buckets, **larger = calloc(count, sizeof *larger);
    size_t old_count = broker->bucket_count;

    if (larger == NULL)
        return;
    broker->buckets = larger;
    broker->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        for (struct session *session = old[i], *next; session != NULL; session = next) {
            next = session->next_in_bucket;
            struct session **bucket = bucket_of(broker, session_client_id(session));
            session->next_in_bucket = *bucket;
            *bucket = session;
        }
    free(old);
}

static void take_off_table(struct session *session) {
    struct session **link = bucket_of(session->broker, session_client_id(session));

    while (*link != session)
        link = &(*link)->next_in_bucket;
    *link = session->next_in_bucket;
    session->broker->session_count--;
    broker_count_down(&session->broker->figures.sessions);
}

/* ---- birth and death ----------------------------------------------------------------------------------------------- */

static char *copy_text(struct str text) {
    char *copy = malloc(text.len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

struct session *session_new(struct broker *broker, struct str client_id, struct str user, uint64_t number) {
    int64_t most = number > 0 ? 0 : broker->settings->max_sessions; /* those that are there already are kept */
    struct session *session = most == 0 || (int64_t)broker->session_count < most ? calloc(1, sizeof *session) : NULL;

    if (session == NULL)
        return NULL;
    session->client_id = copy_text(client_id);
    session->user = copy_text(user);
    if (session->client_id == NULL || session->user == NULL) {
        free(session->client_id);
        free(session->user);
        free(session);
        return NULL;
    }
    session->subscriber.kind = SUBSCRIBER_SESSION;
    session->broker = broker;
    session->client_id_len = client_id.len;
    session->user_len = user.len;
    session->number = number > 0 ? number : broker->next_session;
    if (session->number >= broker->next_session)
        broker->next_session = session->number + 1;
    session->last_retained_job = &session->retained_jobs;
    outbox_init(&session->outbox);
    if (broker->session_count >= broker->bucket_count * 2)
        grow_table(broker);
    struct session **bucket = bucket_of(broker, client_id);
    session->next_in_bucket = *bucket;
    *bucket = session;
    broker->session_count++;
    broker_count_up(&broker->figures.sessions);
    return session;
}

/* Without a word to the store. */
void session_forget(struct session *session) {
    wheel_clear(&session->broker->session_wheel, &session->timer);
    take_off_table(session);
    session_clear_subscriptions(session);
    retain_forget(session);
    outbox_clear(session);
    will_clear(session);
    free(session->received_ids);
    free(session->client_id);
    free(session->user);
    free(session);
}

void session_free(struct session *session) {
    struct broker *broker = session->broker;

    /* A will that was waiting is published at the latest when its session ends ([MQTT-3.1.3-9] and section 3.1.2.5). */
    if (session->connection == NULL && session->will.publication != NULL && broker->taking)
        will_publish(session);
    session_clear_stored_debts(session);
    stored_session_gone(session);
    session_forget(session);
}

/* ---- going on and ending ------------------------------------------------------------------------------------------- */

/* One that outlives its connection is the store's business, another one is not. */
void session_set_expiry(struct session *session, uint32_t expiry_s) {
    bool kept = expiry_s > 0 && session->broker->store != NULL;

    session->expiry_s = expiry_s;
    if (!kept && session->stored) {
        session_clear_stored_debts(session);
        stored_session_gone(session);
    } else if (kept && !session->stored) {
        session->stored = true;
        stored_session(session);
        session_store_all(session);
    } else {
        stored_session(session);
    }
}

static int64_t after(int64_t now_ns, uint32_t seconds) {
    return seconds == MQTT_NEVER_EXPIRES ? 0 : now_ns + seconds * NS_PER_S;
}

static void schedule(struct session *session) {
    int64_t due_ns = session->expires_at_ns;

    if (session->will_at_ns != 0 && (due_ns == 0 || session->will_at_ns < due_ns))
        due_ns = session->will_at_ns;
    if (due_ns != 0)
        wheel_set(&session->broker->session_wheel, &session->timer, due_ns);
    else
        wheel_clear(&session->broker->session_wheel, &session->timer);
}

void session_wait(struct session *session, int64_t since_ns, int64_t will_at_ns) {
    session->expires_at_ns = after(since_ns, session->expiry_s);
    session->will_at_ns = session->will.publication != NULL ? will_at_ns : 0;
    schedule(session);
}

void session_leave(struct session *session) {
    int64_t now_ns;

    retain_forget(session);
    outbox_suspend(session);
    if (session->expiry_s == 0) {
        session_free(session);
        return;
    }
    session->ended_ns = clock_real_ns();
    if (session->will.publication != NULL && session->will.delay_s == 0)
        will_publish(session);
    now_ns = clock_mono_ns();
    session_wait(session, now_ns, now_ns + session->will.delay_s * NS_PER_S); /* at the end of the session, if that comes first */
    stored_session(session);
}

void session_pause(struct session *session) {
    retain_forget(session);
    outbox_suspend(session);
    session->ended_ns = clock_real_ns();
    stored_session(session);
}

void session_on_timer(struct session *session, int64_t now_ns) {
    struct broker *broker = session->broker;

    if (session->connection != NULL)
        return;
    if (session->expires_at_ns != 0 && session->expires_at_ns <= now_ns) {
        metric_add(&broker->figures.sessions_expired, 1);
        log_debug("BROKER-EXPIRED", "the session of client %s has expired", session->client_id);
        session_free(session);
        return;
    }
    if (session->will_at_ns != 0 && session->will_at_ns <= now_ns) {
        session->will_at_ns = 0;
        will_publish(session);
        stored_session(session);
    }
    schedule(session);
}

/* ---- subscriptions ------------------------------------------------------------------------------------------------- */

static struct str share_of(const struct subscription *subscription) {
    return subscription->share_len > 0 ? str_make(subscription->filter + strlen("$share/"), subscription->share_len) : STR_EMPTY;
}

static struct str topics_of(const struct subscription *subscription) {
    size_t skip = subscription->share_len > 0 ? strlen("$share/") + subscription->share_len + 1 : 0;

    return str_make(subscription->filter + skip, subscription->len - skip);
}

static struct subscription **find_subscription(const struct session *session, struct str filter) {
    struct subscription **link = (struct subscription **)&session->subscriptions;

    while (*link != NULL && !str_eq(str_make((*link)->filter, (*link)->len), filter))
        link = &(*link)->next;
    return link;
}

bool session_has_subscription(const struct session *session, struct str filter) {
    return *find_subscription(session, filter) != NULL;
}

static struct subscription *make_subscription(struct session *session, const struct mqtt_subscription *from) {
    struct subscription *subscription = malloc(sizeof *subscription + from->filter.len);

    if (subscription == NULL)
        return NULL;
    *subscription = (struct subscription){ .next = session->subscriptions, .share_len = from->share.len, .len = from->filter.len };
    memcpy(subscription->filter, from->filter.data, from->filter.len);
    return subscription;
}

static void count_subscription(struct session *session, const struct subscription *subscription, bool added) {
    struct broker_figures *figures = &session->broker->figures;
    void (*count)(metric_counter *) = added ? broker_count_up : broker_count_down;

    session->subscription_count += added ? 1 : (size_t)-1;
    count(&figures->subscriptions);
    if (subscription->share_len > 0)
        count(&figures->shared_subscriptions);
}

enum session_subscribed session_subscribe(struct session *session, const struct mqtt_subscription *wanted,
                                          const struct subscription_terms *terms) {
    struct subscription *subscription = *find_subscription(session, wanted->filter);
    bool is_new = subscription == NULL;
    struct str share = wanted->share.data != NULL ? wanted->share : STR_EMPTY;

    if (is_new && (subscription = make_subscription(session, wanted)) == NULL)
        return SUBSCRIBED_NO_MEMORY;
    if (topic_tree_add(session->broker->tree, wanted->topics, share, session, terms) == TOPIC_TREE_NO_MEMORY) {
        if (is_new)
            free(subscription);
        return SUBSCRIBED_NO_MEMORY;
    }
    subscription->terms = *terms;
    if (is_new) {
        session->subscriptions = subscription;
        count_subscription(session, subscription, true);
    }
    stored_subscription(session, wanted->filter, terms);
    return is_new ? SUBSCRIBED_NEW : SUBSCRIBED_AGAIN;
}

static void remove_subscription(struct session *session, struct subscription **link) {
    struct subscription *subscription = *link;

    topic_tree_remove(session->broker->tree, topics_of(subscription), share_of(subscription), session);
    *link = subscription->next;
    count_subscription(session, subscription, false);
    free(subscription);
}

bool session_unsubscribe(struct session *session, struct str filter) {
    struct subscription **link = find_subscription(session, filter);

    if (*link == NULL)
        return false;
    stored_subscription_gone(session, filter);
    remove_subscription(session, link);
    return true;
}

void session_clear_subscriptions(struct session *session) {
    while (session->subscriptions != NULL)
        remove_subscription(session, &session->subscriptions);
}

/* ---- QoS 2 identifiers --------------------------------------------------------------------------------------------- */

bool session_has_received(const struct session *session, uint16_t packet_id) {
    for (size_t i = 0; i < session->received_count; i++)
        if (session->received_ids[i] == packet_id)
            return true;
    return false;
}

bool session_add_received(struct session *session, uint16_t packet_id) {
    if (session->received_count == session->received_cap) {
        size_t cap = session->received_cap > 0 ? session->received_cap * 2 : 8;
        uint16_t *larger = realloc(session->received_ids, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        session->received_ids = larger;
        session->received_cap = cap;
    }
    session->received_ids[session->received_count++] = packet_id;
    stored_received(session, packet_id);
    return true;
}

bool session_is_restored(const struct session *session, uint16_t packet_id) {
    for (size_t i = 0; i < session->restored_count; i++)
        if (session->received_ids[i] == packet_id)
            return true;
    return false;
}

static void swap_ids(struct session *session, size_t a, size_t b) {
    uint16_t id = session->received_ids[a];

    session->received_ids[a] = session->received_ids[b];
    session->received_ids[b] = id;
}

void session_forget_restored(struct session *session, uint16_t packet_id) {
    for (size_t i = 0; i < session->restored_count; i++)
        if (session->received_ids[i] == packet_id)
            swap_ids(session, i, --session->restored_count);
}

bool session_remove_received(struct session *session, uint16_t packet_id) {
    session_forget_restored(session, packet_id);
    for (size_t i = session->restored_count; i < session->received_count; i++) {
        if (session->received_ids[i] != packet_id)
            continue;
        session->received_ids[i] = session->received_ids[--session->received_count];
        stored_received_gone(session, packet_id);
        return true;
    }
    return false;
}

/* ---- becoming one that the store keeps, and ceasing to be ---------------------------------------------------------- */

void session_store_all(struct session *session) {
    for (const struct subscription *subscription = session->subscriptions; subscription != NULL; subscription = subscription->next)
        stored_subscription(session, str_make(subscription->filter, subscription->len), &subscription->terms);
    for (size_t i = 0; i < session->received_count; i++)
        stored_received(session, session->received_ids[i]);
    outbox_store_all(session);
}

void session_clear_stored_debts(struct session *session) {
    stored_will_gone(session);
    outbox_unstore_all(session);
}
