/*
 * agent/broker/topic_index.c: see topic_index.h. A topic is read as symbols of nine bits: 0 behind its end, 256 for `/`, and above that the
 * other bytes in their order; so the order of symbols is the order of levels. A branch names the first bit in which its two sides differ: all
 * topics of one side have 0 there, those of the other 1, and they agree in all bits before it. From the root down these bits only come later.
 */
#include "agent/broker/topic_index.h"

#include <stdlib.h>

/* A bit of a topic: those of an earlier symbol come first, and within a symbol the higher ones. */
struct position {
    uint32_t symbol;
    uint8_t bit; /* 8 to 0 */
};

/* Publications, or branches with the lowest bit of the pointer set. */
struct branch {
    struct publication *side[2];
    struct position at;
};

static bool is_branch(const struct publication *link) {
    return (uintptr_t)link & 1;
}

static struct branch *branch_of(const struct publication *link) {
    return (struct branch *)((uintptr_t)link - 1);
}

static struct publication *link_to(const struct branch *branch) {
    return (struct publication *)((uintptr_t)branch + 1);
}

static unsigned symbol_of(unsigned char byte) {
    return byte == '/' ? 256 : byte < '/' ? 257u + byte : 256u + byte;
}

static unsigned symbol_at(struct str topic, size_t at) {
    return at < topic.len ? symbol_of((unsigned char)topic.data[at]) : 0;
}

static unsigned side_of(struct str topic, struct position at) {
    return symbol_at(topic, at.symbol) >> at.bit & 1;
}

static bool is_before(struct position a, struct position b) {
    return a.symbol != b.symbol ? a.symbol < b.symbol : a.bit > b.bit;
}

static uint8_t highest_bit(unsigned symbol) {
    uint8_t bit = 0;

    while (symbol >>= 1)
        bit++;
    return bit;
}

/* False: they are the same. */
static bool first_difference(struct str a, struct str b, struct position *at) {
    size_t len = a.len < b.len ? a.len : b.len, i = 0;

    while (i < len && a.data[i] == b.data[i])
        i++;
    if (i == a.len && i == b.len)
        return false;
    *at = (struct position){ (uint32_t)i, highest_bit(symbol_at(a, i) ^ symbol_at(b, i)) };
    return true;
}

/*
 * The publication at the end of the way that the topic's bits show, or NULL. When anything in the index has a certain beginning in common with the
 * topic, then this one has.
 */
static struct publication *follow(const struct topic_index *index, struct str topic, size_t *branches) {
    struct publication *link = index->root;

    for (; is_branch(link); ++*branches)
        link = branch_of(link)->side[side_of(topic, branch_of(link)->at)];
    return link;
}

struct publication *topic_index_find(const struct topic_index *index, struct str topic) {
    size_t branches = 0;
    struct publication *found = follow(index, topic, &branches);

    return found != NULL && str_eq(found->topic, topic) ? found : NULL;
}

struct publication **topic_index_place(struct topic_index *index, struct str topic) {
    struct publication **link = &index->root;

    while (is_branch(*link))
        link = &branch_of(*link)->side[side_of(topic, branch_of(*link)->at)];
    return *link != NULL && str_eq((*link)->topic, topic) ? link : NULL;
}

bool topic_index_add(struct topic_index *index, struct publication *publication) {
    size_t branches = 0;
    struct publication *nearest = follow(index, publication->topic, &branches), **link = &index->root;
    struct branch *branch;
    unsigned side;

    index->count++;
    if (nearest == NULL) {
        index->root = publication_ref(publication);
        return true;
    }
    branch = malloc(sizeof *branch);
    if (branch == NULL) {
        index->count--;
        return false;
    }
    first_difference(publication->topic, nearest->topic, &branch->at);
    while (is_branch(*link) && is_before(branch_of(*link)->at, branch->at))
        link = &branch_of(*link)->side[side_of(publication->topic, branch_of(*link)->at)];
    side = side_of(publication->topic, branch->at);
    branch->side[side] = publication_ref(publication);
    branch->side[1 - side] = *link;
    *link = link_to(branch);
    return true;
}

struct publication *topic_index_take(struct topic_index *index, struct str topic) {
    struct publication **link = &index->root, **above = NULL, *found;
    struct branch *branch;
    unsigned side = 0;

    while (is_branch(*link)) {
        above = link;
        side = side_of(topic, branch_of(*link)->at);
        link = &branch_of(*link)->side[side];
    }
    found = *link;
    if (found == NULL || !str_eq(found->topic, topic))
        return NULL;
    index->count--;
    if (above == NULL) {
        index->root = NULL;
        return found;
    }
    branch = branch_of(*above);
    *above = branch->side[1 - side];
    free(branch);
    return found;
}

static struct publication *first_of(struct publication *link, size_t *branches) {
    for (; is_branch(link); ++*branches)
        link = branch_of(link)->side[0];
    return link;
}

/*
 * The bound leaves the index at one place: everything in `link`, when the loop ends, agrees with it in all bits before `at` and differs from
 * it there. So all of `link` stands on one side of the bound, and what is next to it otherwise is the last turn that was not taken to the right.
 */
static struct publication *seek_beside(const struct topic_index *index, struct str bound, struct position at, size_t *branches) {
    struct publication *link = index->root, *right = NULL;

    for (; is_branch(link) && is_before(branch_of(link)->at, at); ++*branches) {
        const struct branch *branch = branch_of(link);
        unsigned side = side_of(bound, branch->at);
        if (side == 0)
            right = branch->side[1];
        link = branch->side[side];
    }
    if (side_of(bound, at) == 0)
        return first_of(link, branches);
    return first_of(right, branches);
}

struct publication *topic_index_seek(const struct topic_index *index, struct str bound, size_t *branches) {
    size_t seen = 0;
    struct publication *nearest = follow(index, bound, &seen);
    struct position at;

    if (nearest != NULL && first_difference(bound, nearest->topic, &at))
        nearest = seek_beside(index, bound, at, &seen);
    if (branches != NULL)
        *branches += seen;
    return nearest;
}

/* Without recursion: a branch on the left is turned up until a publication stands there. Each is turned up once. */
void topic_index_release(struct topic_index *index) {
    struct publication *link = index->root;

    while (is_branch(link)) {
        struct branch *branch = branch_of(link);
        struct publication *left = branch->side[0], *right = branch->side[1];
        if (is_branch(left)) {
            branch->side[0] = branch_of(left)->side[1];
            branch_of(left)->side[1] = link;
            link = left;
        } else {
            publication_unref(left);
            free(branch);
            link = right;
        }
    }
    publication_unref(link);
    *index = (struct topic_index){ .root = NULL };
}
