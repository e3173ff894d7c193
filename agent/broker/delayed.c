/*
 * agent/broker/delayed.c: `$delayed/<seconds>/<topic>`: a message that is published later, with EMQX's meaning of the number (seconds from now below
 * 42,949,670, and a time in seconds since 1970 from there on, at most 42,949,670 s away), and `$delay/...` as another name for it. Due messages leave in
 * the order of their times, equal ones in the order in which they came. The inner topic is what rules are asked about, and may be no `$` topic, nor
 * another delay. A time that is past, after a stop or a clock that jumped, means at once.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

struct delayed_entry {
    int64_t due_ns; /* real time */
    uint64_t serial;
    struct publication *publication;
};

static const int64_t edge_s = 42949670;

static struct str prefix_of(struct str topic) {
    if (str_starts_with(topic, STR("$delayed/")))
        return STR("$delayed/");
    return str_starts_with(topic, STR("$delay/")) ? STR("$delay/") : STR_EMPTY;
}

bool delayed_is(struct str topic) {
    return prefix_of(topic).len > 0;
}

static bool read_due(const struct broker *broker, int64_t number, int64_t now_ns, int64_t *due_ns) {
    int64_t now_s = now_ns / NS_PER_S, most_ns = broker->settings->max_delay_ns;

    if (number < edge_s) {
        *due_ns = now_ns + number * NS_PER_S;
    } else {
        if (number > now_s + edge_s || number < now_s - edge_s)
            return false;
        *due_ns = number * NS_PER_S;
    }
    return most_ns == 0 || *due_ns - now_ns <= most_ns;
}

bool delayed_parse(const struct broker *broker, struct str topic, int64_t now_ns, struct str *inner, int64_t *due_ns, uint8_t *reason) {
    struct str prefix = prefix_of(topic), rest = str_make(topic.data + prefix.len, topic.len - prefix.len);
    struct str number = str_split(&rest, '/');
    int64_t value;

    *reason = MQTT_TOPIC_NAME_INVALID;
    if (rest.data == NULL || rest.len == 0 || rest.data[0] == '$' || number.len == 0 || number.data[0] == '+' ||
        !str_to_int64(number, &value) || value < 0)
        return false;
    *inner = rest;
    if (read_due(broker, value, now_ns, due_ns))
        return true;
    *reason = MQTT_QUOTA_EXCEEDED;
    return false;
}

/* ---- a heap, the earliest first ------------------------------------------------------------------------------------ */

static bool is_earlier(const struct delayed_entry *a, const struct delayed_entry *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->serial < b->serial;
}

static void swap(struct delayed_entry *a, struct delayed_entry *b) {
    struct delayed_entry c = *a;

    *a = *b;
    *b = c;
}

static void push(struct delayed_heap *heap, struct delayed_entry entry) {
    size_t at = heap->count++;

    heap->entries[at] = entry;
    for (size_t parent; at > 0 && is_earlier(&heap->entries[at], &heap->entries[parent = (at - 1) / 2]); at = parent)
        swap(&heap->entries[at], &heap->entries[parent]);
}

static struct delayed_entry pop(struct delayed_heap *heap) {
    struct delayed_entry first = heap->entries[0];
    size_t at = 0, child;

    heap->entries[0] = heap->entries[--heap->count];
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && is_earlier(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!is_earlier(&heap->entries[child], &heap->entries[at]))
            break;
        swap(&heap->entries[child], &heap->entries[at]);
        at = child;
    }
    return first;
}

static bool has_room(struct broker *broker, uint64_t size) {
    const struct broker_settings *settings = broker->settings;
    struct delayed_heap *heap = &broker->delayed;

    if ((settings->max_delayed_messages > 0 && (int64_t)heap->count >= settings->max_delayed_messages) ||
        (settings->max_delayed_bytes > 0 && heap->bytes + size > settings->max_delayed_bytes) || !broker_may_hold(broker, size))
        return false;
    if (heap->count < heap->cap)
        return true;
    size_t cap = heap->cap > 0 ? heap->cap * 2 : 64;
    struct delayed_entry *larger = realloc(heap->entries, cap * sizeof *larger);
    if (larger == NULL)
        return false;
    heap->entries = larger;
    heap->cap = cap;
    return true;
}

static void account(struct broker *broker, uint64_t size, bool added) {
    broker->delayed.bytes += added ? size : -size;
    broker->held_bytes += added ? size : -size;
    broker->figures.delayed = broker->delayed.count;
}

bool delayed_restore(struct broker *broker, struct publication *publication, int64_t due_ns) {
    uint64_t size = publication_size(publication);

    if (!has_room(broker, size))
        return false;
    push(&broker->delayed, (struct delayed_entry){ due_ns, broker->delayed.serial++, publication_ref(publication) });
    account(broker, size, true);
    return true;
}

enum delayed_result delayed_add(struct broker *broker, struct publication *publication, int64_t due_ns) {
    if (!delayed_restore(broker, publication, due_ns)) {
        complain(&broker->memory_trouble, LOG_WARN, "BROKER-DELAYED-FULL",
                 "%zu delayed messages (%llu bytes) are all that is allowed (max_delayed_messages, max_delayed_bytes, memory_limit): a client is refused more",
                 broker->delayed.count, (unsigned long long)broker->delayed.bytes);
        return DELAYED_FULL;
    }
    stored_delayed(broker, publication, due_ns);
    broker_schedule_delayed(broker);
    return DELAYED_KEPT;
}

int64_t delayed_next_ns(const struct broker *broker) {
    return broker->delayed.count > 0 ? broker->delayed.entries[0].due_ns : 0;
}

/* A publication that has expired meanwhile goes nowhere; its time counts from when it was sent to us. */
void delayed_publish_due(struct broker *broker, int64_t now_ns) {
    enum { AT_ONCE = 1000 };

    for (int i = 0; i < AT_ONCE && broker->delayed.count > 0 && broker->delayed.entries[0].due_ns <= now_ns; i++) {
        struct delayed_entry entry = pop(&broker->delayed);
        account(broker, publication_size(entry.publication), false);
        if (publication_is_expired(entry.publication, now_ns))
            metric_add(&broker->figures.dropped_expired, 1);
        else if (!access_still_allows(broker, entry.publication))
            metric_add(&broker->figures.denied_publish, 1);
        else
            route_publication(broker, entry.publication, entry.publication->retain);
        stored_delayed_gone(broker, entry.publication);
        publication_unref(entry.publication);
    }
    broker_schedule_delayed(broker);
    broker_round(broker);
}

void delayed_release(struct broker *broker) {
    while (broker->delayed.count > 0)
        publication_unref(pop(&broker->delayed).publication);
    free(broker->delayed.entries);
    broker->delayed = (struct delayed_heap){ .entries = NULL };
}
