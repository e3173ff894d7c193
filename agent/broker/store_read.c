/* agent/broker/store_read.c: what is in the database, to the broker, at the start: first every row is looked at, then what fits together is handed on. */
#include "agent/broker/store_internal.h"

#include <stdlib.h>

/* ---- every row ----------------------------------------------------------------------------------------------------- */

struct verifying {
    bool any, good;
    uint32_t identity;
    struct store *store;
    struct err *err;
};

static bool verify_row(void *ctx, const struct row *row) {
    struct verifying *verifying = ctx;
    uint32_t identity = 0;

    verifying->good = row_identity(row, &identity) && (!verifying->any || identity == verifying->identity);
    verifying->any = true;
    verifying->identity = identity;
    if (!verifying->good)
        err_set(verifying->err, ERR_SYNTAX, "%s: a row of table %s has a wrong sum", verifying->store->path, row_table_name(row->table));
    return verifying->good;
}

bool store_verify(struct store *store, enum database_fault *fault, struct err *err) {
    static const enum database_scan tables[] = { SCAN_SESSIONS, SCAN_SUBSCRIPTIONS, SCAN_RECEIVED, SCAN_MESSAGES };
    struct verifying verifying = { .good = true, .store = store, .err = err };

    if (!database_check(store->database, fault, err))
        return false;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (!database_scan(store->database, tables[i], verify_row, &verifying, fault, err))
            return false;
        if (!verifying.good) {
            *fault = DATABASE_DAMAGED;
            return false;
        }
    }
    store->identity = verifying.any ? verifying.identity : (uint32_t)sip_key_random().k0;
    return true;
}

/* ---- what fits together -------------------------------------------------------------------------------------------- */

/* Rising, as they are read. */
struct numbers {
    uint64_t *items;
    size_t count, cap;
};

struct reading {
    struct store *store;
    const struct store_reader *reader;
    struct store_recovery *found;
    struct numbers publications, sessions;
    uint64_t largest;
    bool no_memory;
};

static bool numbers_add(struct numbers *numbers, uint64_t number) {
    if (numbers->count == numbers->cap) {
        size_t cap = numbers->cap > 0 ? numbers->cap * 2 : 1024;
        uint64_t *larger = realloc(numbers->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        numbers->items = larger;
        numbers->cap = cap;
    }
    numbers->items[numbers->count++] = number;
    return true;
}

static bool numbers_have(const struct numbers *numbers, uint64_t number) {
    size_t from = 0, to = numbers->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (numbers->items[middle] == number)
            return true;
        if (numbers->items[middle] < number)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

/* So that none of its number will ever be taken for it. */
static void note_number(struct reading *reading, uint64_t number) {
    if (number > reading->largest)
        reading->largest = number;
}

/* What refers to nothing, or says what we would not: nobody gets to see it, and the first group deletes it. */
static bool orphan(struct reading *reading, const struct change *key) {
    struct store *store = reading->store;

    reading->found->orphans++;
    store->touched = true;
    group_erase(store->open, key);
    return true;
}

static bool on_publication(void *ctx, const struct row *row) {
    struct reading *reading = ctx;
    struct publication_parts parts;
    struct publication *publication;
    uint64_t number = message_number(row);

    note_number(reading, number);
    if (!row_to_publication(row, &parts))
        return orphan(reading, &(struct change){ .kind = CHANGE_PUBLICATION, .number = number });
    publication = publication_new(&parts);
    reading->no_memory = publication == NULL || !numbers_add(&reading->publications, number);
    if (reading->no_memory) {
        publication_unref(publication);
        return false;
    }
    publication->number = number;
    reading->found->publications++;
    reading->reader->publication(reading->reader->ctx, publication);
    return true;
}

static bool on_session(void *ctx, const struct row *row) {
    struct reading *reading = ctx;
    struct stored_session session;

    if (!row_to_session(row, &session))
        return orphan(reading, &(struct change){ .kind = CHANGE_SESSION, .number = (uint64_t)row->cells[SESSION_NUMBER].integer });
    note_number(reading, session.will);
    if (session.has_will && !numbers_have(&reading->publications, session.will)) {
        reading->found->orphans++;
        session.has_will = false;
        session.will = 0;
    }
    reading->no_memory = !numbers_add(&reading->sessions, session.number);
    if (session.expiry_s > 0)
        reading->found->sessions++;
    else
        reading->found->connected++;
    if (!reading->no_memory)
        reading->reader->session(reading->reader->ctx, &session);
    return !reading->no_memory;
}

static bool on_subscription(void *ctx, const struct row *row) {
    struct reading *reading = ctx;
    struct subscription_terms terms;
    struct str filter;
    uint64_t session;

    if (!row_to_subscription(row, &session, &filter, &terms) || !numbers_have(&reading->sessions, session))
        return orphan(reading, &(struct change){ .kind = CHANGE_SUBSCRIPTION, .number = session, .as.subscription.filter = filter });
    reading->found->subscriptions++;
    reading->reader->subscription(reading->reader->ctx, session, filter, &terms);
    return true;
}

static bool on_received(void *ctx, const struct row *row) {
    struct reading *reading = ctx;
    uint64_t session;
    uint16_t packet_id;

    if (!row_to_received(row, &session, &packet_id) || !numbers_have(&reading->sessions, session))
        return orphan(reading, &(struct change){ .kind = CHANGE_RECEIVED, .number = session, .packet_id = packet_id });
    reading->found->received++;
    reading->reader->received(reading->reader->ctx, session, packet_id);
    return true;
}

static bool on_delivery(struct reading *reading, const struct row *row) {
    struct stored_delivery delivery;
    bool fine = row_to_delivery(row, &delivery);

    note_number(reading, delivery.publication);
    if (!fine || !numbers_have(&reading->publications, delivery.publication) || !numbers_have(&reading->sessions, delivery.session))
        return orphan(reading, &(struct change){ .kind = CHANGE_DELIVERY, .number = message_number(row) });
    reading->found->deliveries++;
    reading->reader->delivery(reading->reader->ctx, &delivery);
    return true;
}

static bool on_retained(struct reading *reading, const struct row *row) {
    uint64_t number = message_number(row);

    if (!numbers_have(&reading->publications, number))
        return orphan(reading, &(struct change){ .kind = CHANGE_RETAINED, .number = number });
    reading->found->retained++;
    reading->reader->retained(reading->reader->ctx, number);
    return true;
}

static bool on_delayed(struct reading *reading, const struct row *row) {
    uint64_t number = message_number(row);
    int64_t due_ns;

    if (!row_to_delayed(row, &due_ns) || !numbers_have(&reading->publications, number))
        return orphan(reading, &(struct change){ .kind = CHANGE_DELAYED, .number = number });
    reading->found->delayed++;
    reading->reader->delayed(reading->reader->ctx, number, due_ns);
    return true;
}

static bool on_other(void *ctx, const struct row *row) {
    struct reading *reading = ctx;

    note_number(reading, message_number(row));
    switch (message_kind(row)) {
    case MESSAGE_IS_RETAINED:
        return on_retained(reading, row);
    case MESSAGE_IS_DELAYED:
        return on_delayed(reading, row);
    default:
        return on_delivery(reading, row);
    }
}

bool store_read(struct store *store, const struct store_reader *reader, struct store_recovery *recovery, struct err *err) {
    static const struct {
        enum database_scan what;
        bool (*each)(void *ctx, const struct row *row);
    } steps[] = {
        { SCAN_PUBLICATIONS, on_publication }, { SCAN_SESSIONS, on_session }, { SCAN_SUBSCRIPTIONS, on_subscription },
        { SCAN_RECEIVED, on_received },        { SCAN_OTHERS, on_other },
    };
    struct reading reading = { .store = store, .reader = reader, .found = recovery };
    enum database_fault fault;
    bool fine = true;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && fine; i++)
        fine = database_scan(store->database, steps[i].what, steps[i].each, &reading, &fault, err) && !reading.no_memory;
    if (reading.no_memory)
        err_set(err, ERR_LIMIT, "no memory for what %s holds", store->path);
    store->next_number = reading.largest + 1;
    free(reading.publications.items);
    free(reading.sessions.items);
    return fine;
}
