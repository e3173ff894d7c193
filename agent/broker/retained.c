/*
 * agent/broker/retained.c: see retained.h. The messages stand in a topic_index, that is in an order of their topics, and a walk is nothing but
 * a bound in that order: what stands before it is done with, what stands at it or behind it is still to come.
 *
 * Why a walk meets each matching topic that stays exactly once, and none twice, whatever is set or removed between its calls: each step seeks the
 * first topic T at or behind the bound, in the index as it is now, and moves the bound to some B behind T, so that
 * (a) the bound only moves forward, hence no topic, even one that went and came again, is met after the bound has passed it;
 * (b) of the topics from the old bound to B none but T matches (see judge, case by case; before T there is none at all), and T is met if
 *     it does: so none that matches is passed over. One that is there from the beginning to the end stands before the bound at the end,
 *     so a step took the bound past it, and it was T in that step, and met.
 * A message that was replaced meanwhile is met as what it is then. The index gives no pointer to the walk that a change could make stale.
 */
#include "agent/broker/retained.h"

#include <stdlib.h>

#include "agent/base/buf.h"
#include "agent/base/topic_levels.h"
#include "agent/broker/topic_index.h"

struct retained {
    struct topic_index index;
    struct retained_limits limits;
    uint64_t bytes;
    size_t own_count;   /* of the broker's own topics, which are outside the limits */
    uint64_t own_bytes;
    size_t expiring;       /* how many have a time at which they expire */
    struct buf sweep_from; /* the sweep's bound */
};

struct retained_walk {
    struct retained *retained;
    struct buf from; /* the bound */
    bool ended, one_topic;
    struct str filter;
    char text[];
};

struct retained *retained_new(const struct retained_limits *limits) {
    struct retained *retained = calloc(1, sizeof *retained);

    if (retained == NULL)
        return NULL;
    retained->limits = *limits;
    buf_init(&retained->sweep_from, SIZE_MAX);
    return retained;
}

void retained_free(struct retained *retained) {
    if (retained == NULL)
        return;
    topic_index_release(&retained->index);
    buf_release(&retained->sweep_from);
    free(retained);
}

void retained_set_limits(struct retained *retained, const struct retained_limits *limits) {
    retained->limits = *limits;
}

/* One message. */

/* Clients have $SYS topics, too: states of bridges. */
static bool is_own(const struct publication *publication) {
    return publication->client_id.len == 0 && str_starts_with(publication->topic, STR("$SYS/"));
}

/* `old` NULL: a new topic. */
static bool is_over_limit(const struct retained *retained, const struct publication *old, const struct publication *publication) {
    const struct retained_limits *limits = &retained->limits;
    uint64_t size = publication_size(publication), free_size = old != NULL ? publication_size(old) : 0;

    if (is_own(publication))
        return false;
    if (old == NULL && limits->count != 0 && retained->index.count - retained->own_count >= limits->count)
        return true;
    return size > free_size && limits->bytes != 0 && retained->bytes - retained->own_bytes - free_size + size > limits->bytes;
}

static void count_in(struct retained *retained, const struct publication *publication) {
    retained->bytes += publication_size(publication);
    retained->own_bytes += is_own(publication) ? publication_size(publication) : 0;
    retained->own_count += is_own(publication);
    retained->expiring += publication->expires_ns != 0;
}

static void count_out(struct retained *retained, const struct publication *publication) {
    retained->bytes -= publication_size(publication);
    retained->own_bytes -= is_own(publication) ? publication_size(publication) : 0;
    retained->own_count -= is_own(publication);
    retained->expiring -= publication->expires_ns != 0;
}

static enum retained_result replace(struct retained *retained, struct publication **place, struct publication *publication) {
    struct publication *old = *place;

    if (is_over_limit(retained, old, publication))
        return RETAINED_FULL;
    *place = publication_ref(publication);
    count_in(retained, publication);
    count_out(retained, old);
    publication_unref(old);
    return RETAINED_REPLACED;
}

enum retained_result retained_set(struct retained *retained, struct publication *publication) {
    struct publication **place;

    if (publication->payload.len == 0)
        return retained_remove(retained, publication->topic) ? RETAINED_CLEARED : RETAINED_NOTHING;
    place = topic_index_place(&retained->index, publication->topic);
    if (place != NULL)
        return replace(retained, place, publication);
    if (is_over_limit(retained, NULL, publication))
        return RETAINED_FULL;
    if (!topic_index_add(&retained->index, publication))
        return RETAINED_NO_MEMORY;
    count_in(retained, publication);
    return RETAINED_SET;
}

struct publication *retained_get(const struct retained *retained, struct str topic) {
    return topic_index_find(&retained->index, topic);
}

bool retained_remove(struct retained *retained, struct str topic) {
    struct publication *taken = topic_index_take(&retained->index, topic);

    if (taken == NULL)
        return false;
    count_out(retained, taken);
    publication_unref(taken);
    return true;
}

/* Bounds. */

/* A place in the order: the bytes of `head`, `joint` and `word`, one after another. */
struct bound {
    struct str head, joint, word;
};

/* Right behind a topic: `/` is the least that can follow. */
static struct bound behind(struct str topic) {
    return (struct bound){ topic, STR("/"), STR_EMPTY };
}

/* Behind a topic and all below it: NUL is the least that can follow and is not `/`. */
static struct bound behind_family(struct str topic) {
    return (struct bound){ topic, STR("\0"), STR_EMPTY };
}

/* False: no memory, and the bound stays where it was. Its pieces must not lie in `from`. */
static bool move_bound(struct buf *from, const struct bound *to) {
    if (!buf_reserve(from, to->head.len + to->joint.len + to->word.len)) {
        from->failed = false;
        return false;
    }
    buf_reset(from);
    return buf_append_str(from, to->head) && buf_append_str(from, to->joint) && buf_append_str(from, to->word);
}

/* A step is one topic that was looked at. One that is very long, or to which many branches lead, costs more. */
static void pay(size_t *steps, size_t branches, size_t len) {
    size_t price = 1 + (branches + len) / 128;

    *steps -= price < *steps ? price : *steps;
}

/* Walks. */

enum verdict {
    MATCHES,   /* and the next one may stand right behind it */
    ELSEWHERE, /* it does not match, and before the bound nothing does */
    NOWHERE,   /* nor does anything behind it */
};

static size_t offset_in(struct str topic, struct str level) {
    return (size_t)(level.data - topic.data);
}

/*
 * The topic does not match, and comes too late for what the filter wants below its last `+`: other topics that agree with it up to that level come
 * too late, too, as far as they stand behind it. So what can match next differs from it there, or before.
 */
static enum verdict too_late(struct str until_plus, struct bound *bound) {
    if (until_plus.data == NULL)
        return NOWHERE;
    *bound = behind_family(until_plus);
    return ELSEWHERE;
}

/*
 * Whether a topic matches a filter, and the first place behind the topic where one that matches could stand. The order of topics is that of
 * their levels, so the first level in which the topic is not what the filter wants decides.
 */
static enum verdict judge(struct str filter, struct str topic, struct bound *bound) {
    struct topic_levels wanted_levels = topic_levels_of(filter), levels = topic_levels_of(topic);
    struct str until_plus = { NULL, 0 };

    if (topic_is_dollar(topic) && (filter.data[0] == '+' || filter.data[0] == '#')) {
        *bound = (struct bound){ STR_EMPTY, STR_EMPTY, STR("%") }; /* '$' + 1: behind all that begin with `$` */
        return ELSEWHERE;
    }
    *bound = behind(topic);
    while (wanted_levels.more) {
        struct str wanted = topic_levels_next(&wanted_levels), level;
        bool any = topic_level_is(wanted, '+');
        int order;
        if (topic_level_is(wanted, '#') && !wanted_levels.more)
            return MATCHES;
        if (!levels.more) { /* what matches next has this topic as its beginning, and there the level wanted, or stands behind that */
            *bound = (struct bound){ topic, STR("/"), any ? STR_EMPTY : wanted };
            return ELSEWHERE;
        }
        level = topic_levels_next(&levels);
        order = any ? 0 : str_cmp(level, wanted);
        if (any)
            until_plus = str_make(topic.data, offset_in(topic, level) + level.len);
        if (order < 0) { /* what agrees with the topic in the levels before and matches has the level wanted here */
            *bound = (struct bound){ str_make(topic.data, offset_in(topic, level)), STR_EMPTY, wanted };
            return ELSEWHERE;
        }
        if (order > 0)
            return too_late(until_plus, bound);
    }
    return levels.more ? too_late(until_plus, bound) : MATCHES; /* more levels than the filter's: what matches stands before them */
}

/* Where the first topic that matches may stand: the levels before the first wildcard. */
static struct str literal_beginning(struct str filter, bool *one_topic) {
    struct topic_levels levels = topic_levels_of(filter);
    size_t len = 0;

    *one_topic = false;
    while (levels.more) {
        struct str level = topic_levels_next(&levels);
        if (topic_level_is(level, '+') || topic_level_is(level, '#'))
            return str_make(filter.data, len);
        len = offset_in(filter, level) + level.len;
    }
    *one_topic = true;
    return filter;
}

struct retained_walk *retained_walk_new(struct retained *retained, struct str filter) {
    struct retained_walk *walk = calloc(1, sizeof *walk + filter.len);
    struct bound bound = { STR_EMPTY, STR_EMPTY, STR_EMPTY };

    if (walk == NULL)
        return NULL;
    memcpy(walk->text, filter.data, filter.len);
    walk->retained = retained;
    walk->filter = str_make(walk->text, filter.len);
    walk->ended = filter.len == 0;
    bound.head = literal_beginning(walk->filter, &walk->one_topic);
    buf_init(&walk->from, SIZE_MAX);
    if (move_bound(&walk->from, &bound))
        return walk;
    retained_walk_free(walk);
    return NULL;
}

void retained_walk_free(struct retained_walk *walk) {
    if (walk == NULL)
        return;
    buf_release(&walk->from);
    free(walk);
}

enum retained_step retained_walk_next(struct retained_walk *walk, int64_t now_ns, size_t *steps, struct publication **found) {
    while (!walk->ended && *steps > 0) {
        size_t branches = 0;
        struct publication *next = topic_index_seek(&walk->retained->index, buf_str(&walk->from), &branches);
        struct bound bound;
        enum verdict verdict = next != NULL ? judge(walk->filter, next->topic, &bound) : NOWHERE;
        pay(steps, branches, next != NULL ? next->topic.len : 0);
        if (verdict == NOWHERE) {
            walk->ended = true;
            break;
        }
        if (!move_bound(&walk->from, &bound))
            return RETAINED_LATER; /* no memory: nothing is passed over, it is met another time */
        if (verdict == ELSEWHERE || publication_is_expired(next, now_ns))
            continue;
        walk->ended = walk->one_topic;
        *found = next;
        return RETAINED_FOUND;
    }
    return walk->ended ? RETAINED_END : RETAINED_LATER;
}

void retained_sweep(struct retained *retained, int64_t now_ns, size_t steps,
                    void (*removed)(void *ctx, const struct publication *publication), void *ctx) {
    while (retained->expiring > 0 && steps > 0) {
        size_t branches = 0;
        struct publication *next = topic_index_seek(&retained->index, buf_str(&retained->sweep_from), &branches);
        struct bound bound;
        if (next == NULL) {
            buf_reset(&retained->sweep_from); /* from the beginning, next time */
            return;
        }
        pay(&steps, branches, next->topic.len);
        bound = behind(next->topic);
        if (!move_bound(&retained->sweep_from, &bound))
            return;
        if (!publication_is_expired(next, now_ns))
            continue;
        if (removed != NULL)
            removed(ctx, next);
        retained_remove(retained, next->topic);
    }
}

size_t retained_count(const struct retained *retained) {
    return retained->index.count;
}

uint64_t retained_bytes(const struct retained *retained) {
    return retained->bytes;
}
