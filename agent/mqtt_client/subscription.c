/* agent/mqtt_client/subscription.c: see subscription.h. */
#include "agent/mqtt_client/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/topic_filter.h"

enum { IDENTIFIER_MAX = 268435455, FILTER_BITS = 64 };

static const int64_t copy_window_ns = 5 * NS_PER_S;

/* Marks an identifier as used. False when it is already. */
static bool claim(uint32_t *table, size_t size, uint32_t identifier) {
    size_t at = identifier & (size - 1);

    for (; table[at] != 0; at = (at + 1) & (size - 1))
        if (table[at] == identifier)
            return false;
    table[at] = identifier;
    return true;
}

/* The same filter has the same identifier in every run: messages kept by the broker carry those of an earlier one. */
static uint32_t identifier_of(const char *filter, uint32_t *table, size_t size) {
    uint32_t hash = 2166136261u;

    for (; *filter != '\0'; filter++)
        hash = (hash ^ (unsigned char)*filter) * 16777619u;
    hash = hash % IDENTIFIER_MAX + 1;
    while (!claim(table, size, hash))
        hash = hash % IDENTIFIER_MAX + 1;
    return hash;
}

static bool give_identifiers(struct subscriptions *subs) {
    size_t size = 2;
    uint32_t *table;

    while (size < 2 * subs->count)
        size *= 2;
    table = calloc(size, sizeof *table);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < subs->count; i++)
        subs->items[i].identifier = identifier_of(subs->items[i].filter, table, size);
    free(table);
    return true;
}

static bool is_shared(const char *filter) {
    return strncmp(filter, "$share/", 7) == 0;
}

/* Of two filters that cover each other, which are the same, the first one stays. */
struct cover {
    const struct subscriptions *subs;
    size_t index;
    int found;
};

static bool offer_cover(void *ctx, uint32_t number) {
    struct cover *cover = ctx;
    struct str narrow = str_of(cover->subs->items[cover->index].filter), wide = str_of(cover->subs->items[number].filter);

    if (number == cover->index || (number > cover->index && topic_filter_covers(narrow, wide)))
        return true;
    if (cover->found < 0 || (int)number < cover->found)
        cover->found = (int)number;
    return true;
}

static bool find_covers(struct subscriptions *subs) {
    struct filter_index all;
    bool fine = true;

    filter_index_init(&all);
    for (size_t i = 0; i < subs->count && fine; i++)
        fine = subs->items[i].shared || filter_index_add(&all, str_of(subs->items[i].filter), (uint32_t)i);
    for (size_t i = 0; i < subs->count && fine; i++) {
        struct cover cover = { subs, i, -1 };
        if (!subs->items[i].shared)
            fine = filter_index_covering(&all, str_of(subs->items[i].filter), offer_cover, &cover);
        subs->items[i].covered_by = cover.found;
    }
    subs->steps += all.steps;
    filter_index_release(&all);
    return fine;
}

/* Indexes those that are asked for, and finds out whether two of them overlap. */
static bool index_asked(struct subscriptions *subs) {
    for (size_t i = 0; i < subs->count; i++) {
        const struct subscription *sub = &subs->items[i];
        if (sub->shared || sub->covered_by >= 0)
            continue;
        subs->overlapping = subs->overlapping || filter_index_intersects(&subs->asked, str_of(sub->filter));
        if (!filter_index_add(&subs->asked, str_of(sub->filter), (uint32_t)i))
            return false;
    }
    subs->steps += subs->asked.steps;
    return true;
}

bool subscriptions_init(struct subscriptions *subs, const struct cfg_strings *filters) {
    memset(subs, 0, sizeof *subs);
    filter_index_init(&subs->asked);
    subs->items = calloc(filters->count > 0 ? filters->count : 1, sizeof *subs->items);
    if (subs->items == NULL)
        return false;
    subs->count = filters->count;
    for (size_t i = 0; i < subs->count; i++) {
        subs->items[i].filter = filters->items[i];
        subs->items[i].shared = is_shared(subs->items[i].filter);
    }
    return give_identifiers(subs) && find_covers(subs) && index_asked(subs);
}

void subscriptions_release(struct subscriptions *subs) {
    free(subs->items);
    filter_index_release(&subs->asked);
    memset(subs, 0, sizeof *subs);
}

/* The bits of the filters that this copy came for; 0 when one of the identifiers is none of ours, or a shared one. */
static uint64_t filters_of(const struct subscriptions *subs, const uint32_t *identifiers, size_t count) {
    uint64_t bits = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < subs->count && at < FILTER_BITS && subs->items[at].identifier != identifiers[i])
            at++;
        if (at >= subs->count || at >= FILTER_BITS || subs->items[at].shared)
            return 0;
        bits |= (uint64_t)1 << at;
    }
    return bits;
}

static bool count_two(void *ctx, uint32_t number) {
    unsigned *matches = ctx;

    (void)number;
    return ++*matches < 2;
}

static bool matches_twice(struct subscriptions *subs, struct str topic) {
    unsigned matches = 0;

    return filter_index_covering(&subs->asked, topic, count_two, &matches) && matches >= 2;
}

bool subscriptions_is_copy(struct subscriptions *subs, const struct message *message, const uint32_t *identifiers,
                           size_t count) {
    uint64_t filters, hash;

    if (!subs->overlapping || count == 0 || !matches_twice(subs, message->topic))
        return false;
    filters = filters_of(subs, identifiers, count);
    if (filters == 0)
        return false;
    hash = str_hash(message->topic) * 31 + str_hash(message->payload) * 2 + message->retain;
    for (size_t i = 0; i < OVERLAP_RECENT; i++) {
        struct overlap_entry *entry = &subs->recent[i];
        if (entry->seen == 0 || entry->hash != hash || (entry->seen & filters) != 0 ||
            message->received_ns - entry->at_ns > copy_window_ns)
            continue;
        entry->seen |= filters;
        return true;
    }
    subs->recent[subs->next] = (struct overlap_entry){ .hash = hash, .seen = filters, .at_ns = message->received_ns };
    subs->next = (subs->next + 1) % OVERLAP_RECENT;
    return false;
}

size_t subscriptions_in(const struct subscriptions *subs, enum subscription_state state) {
    size_t count = 0;

    for (size_t i = 0; i < subs->count; i++)
        count += subs->items[i].covered_by < 0 && subs->items[i].state == state;
    return count;
}
