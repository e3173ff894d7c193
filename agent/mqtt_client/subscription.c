/* agent/mqtt_client/subscription.c: see subscription.h. */
#include "agent/mqtt_client/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/topic_filter.h"

enum { IDENTIFIER_MAX = 268435455, FILTER_BITS = 64 };

static const int64_t copy_window_ns = 5 * NS_PER_S;

/* The same filter has the same identifier in every run: messages kept by the broker carry those of an earlier one. */
static uint32_t identifier_of(const char *filter, const struct subscriptions *subs, size_t before) {
    uint32_t hash = 2166136261u;

    for (; *filter != '\0'; filter++)
        hash = (hash ^ (unsigned char)*filter) * 16777619u;
    hash = hash % IDENTIFIER_MAX + 1;
    for (size_t i = 0; i < before; i++)
        if (subs->items[i].identifier == hash) {
            hash = hash % IDENTIFIER_MAX + 1;
            i = (size_t)-1;
        }
    return hash;
}

static bool is_shared(const char *filter) {
    return strncmp(filter, "$share/", 7) == 0;
}

static bool is_wildcard(struct str level) {
    return level.len == 1 && (level.data[0] == '+' || level.data[0] == '#');
}

static bool is_rest(struct str level) {
    return level.len == 1 && level.data[0] == '#';
}

bool subscription_intersects(struct str a, struct str b) {
    bool a_system = a.len > 0 && a.data[0] == '$', b_system = b.len > 0 && b.data[0] == '$';

    /* A leading wildcard matches no topic that begins with `$` (MQTT-4.7.2-1). */
    if (a_system != b_system)
        return false;
    while (a.data != NULL && b.data != NULL) {
        struct str x = str_split(&a, '/'), y = str_split(&b, '/');
        if (is_rest(x) || is_rest(y))
            return true;
        if (!is_wildcard(x) && !is_wildcard(y) && !str_eq(x, y))
            return false;
    }
    /* `a/#` matches `a` too. */
    return (a.data == NULL || str_eq_c(a, "#")) && (b.data == NULL || str_eq_c(b, "#"));
}

/* Of two filters that cover each other, which are the same, the first one stays. */
static int find_cover(const struct subscriptions *subs, size_t index) {
    const struct subscription *sub = &subs->items[index];

    for (size_t i = 0; i < subs->count; i++) {
        const struct subscription *other = &subs->items[i];
        struct str wide = str_of(other->filter), narrow = str_of(sub->filter);
        if (i == index || other->shared || !topic_filter_covers(wide, narrow))
            continue;
        if (i < index || !topic_filter_covers(narrow, wide))
            return (int)i;
    }
    return -1;
}

static bool any_overlap(const struct subscriptions *subs) {
    for (size_t i = 0; i < subs->count; i++)
        for (size_t j = i + 1; j < subs->count; j++) {
            const struct subscription *a = &subs->items[i], *b = &subs->items[j];
            if (a->shared || b->shared || a->covered_by >= 0 || b->covered_by >= 0)
                continue;
            if (subscription_intersects(str_of(a->filter), str_of(b->filter)))
                return true;
        }
    return false;
}

bool subscriptions_init(struct subscriptions *subs, const struct cfg_strings *filters) {
    memset(subs, 0, sizeof *subs);
    subs->items = calloc(filters->count > 0 ? filters->count : 1, sizeof *subs->items);
    if (subs->items == NULL)
        return false;
    subs->count = filters->count;
    for (size_t i = 0; i < subs->count; i++) {
        struct subscription *sub = &subs->items[i];
        sub->filter = filters->items[i];
        sub->shared = is_shared(sub->filter);
        sub->identifier = identifier_of(sub->filter, subs, i);
    }
    for (size_t i = 0; i < subs->count; i++)
        subs->items[i].covered_by = subs->items[i].shared ? -1 : find_cover(subs, i);
    subs->overlapping = any_overlap(subs);
    return true;
}

void subscriptions_release(struct subscriptions *subs) {
    free(subs->items);
    memset(subs, 0, sizeof *subs);
}

/* The bits of the filters that this copy came for; 0 when one of the identifiers is none of ours, or a shared one. */
static uint64_t filters_of(const struct subscriptions *subs, const uint32_t *identifiers, size_t count) {
    uint64_t bits = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < subs->count && subs->items[at].identifier != identifiers[i])
            at++;
        if (at >= subs->count || at >= FILTER_BITS || subs->items[at].shared)
            return 0;
        bits |= (uint64_t)1 << at;
    }
    return bits;
}

static bool matches_twice(const struct subscriptions *subs, struct str topic) {
    size_t matches = 0;

    for (size_t i = 0; i < subs->count && matches < 2; i++) {
        const struct subscription *sub = &subs->items[i];
        matches += !sub->shared && sub->covered_by < 0 && topic_filter_match(str_of(sub->filter), topic);
    }
    return matches >= 2;
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
