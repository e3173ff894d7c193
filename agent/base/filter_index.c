/* agent/base/filter_index.c: see filter_index.h. Walks keep a stack of their own: a filter may have 65,536 levels. */
#include "agent/base/filter_index.h"

#include <stdlib.h>

#include "agent/base/topic_filter.h"

#define NO_NUMBER UINT32_MAX

/* Node 0 is the root and nobody's child, so 0 stands for none. */
struct filter_node {
    struct str level;
    uint32_t parent, first_child, next_sibling;
    uint32_t plus, rest; /* the children `+` and `#` */
    uint32_t number;     /* of the filter that ends here */
};

/* A node, and the levels that the filter in question has below it. */
struct filter_place {
    uint32_t node;
    struct str below; /* data == NULL: none */
};

void filter_index_init(struct filter_index *index) {
    *index = (struct filter_index){ .nodes = NULL };
}

void filter_index_release(struct filter_index *index) {
    free(index->nodes);
    free(index->table);
    free(index->stack);
    filter_index_init(index);
}

static bool is_level(struct str level, char wildcard) {
    return level.len == 1 && level.data[0] == wildcard;
}

static bool is_system(struct str level) {
    return level.len > 0 && level.data[0] == '$';
}

static uint32_t *slot_of(const struct filter_index *index, uint32_t parent, struct str level) {
    uint32_t mask = index->table_size - 1;
    uint64_t hash = (str_hash(level) ^ parent) * 0x9E3779B97F4A7C15ULL;
    uint32_t at = (uint32_t)(hash >> 32) & mask;

    for (;; at = (at + 1) & mask) {
        uint32_t node = index->table[at];
        if (node == 0 || (index->nodes[node].parent == parent && str_eq(index->nodes[node].level, level)))
            return &index->table[at];
    }
}

static uint32_t child_of(const struct filter_index *index, uint32_t parent, struct str level) {
    return index->table_size > 0 ? *slot_of(index, parent, level) : 0;
}

/* Room for one more node, with the table at most half full. */
static bool grow(struct filter_index *index) {
    uint32_t cap = index->cap > 0 ? index->cap * 2 : 64;
    struct filter_node *nodes;
    uint32_t *table;

    if (index->count < index->cap)
        return true;
    nodes = realloc(index->nodes, cap * sizeof *nodes);
    if (nodes == NULL)
        return false;
    index->nodes = nodes;
    table = calloc(2 * (size_t)cap, sizeof *table);
    if (table == NULL)
        return false;
    free(index->table);
    index->table = table;
    index->table_size = 2 * cap;
    index->cap = cap;
    if (index->count == 0)
        index->nodes[index->count++] = (struct filter_node){ .level = STR_EMPTY, .number = NO_NUMBER };
    for (uint32_t i = 1; i < index->count; i++)
        *slot_of(index, nodes[i].parent, nodes[i].level) = i;
    return true;
}

/* The child of that name, made when it is not there; 0 without memory. */
static uint32_t need_child(struct filter_index *index, uint32_t parent, struct str level) {
    uint32_t found = child_of(index, parent, level), made;

    if (found != 0)
        return found;
    if (!grow(index))
        return 0;
    made = index->count++;
    index->nodes[made] = (struct filter_node){
        .level = level, .parent = parent, .next_sibling = index->nodes[parent].first_child, .number = NO_NUMBER
    };
    index->nodes[parent].first_child = made;
    if (is_level(level, '+'))
        index->nodes[parent].plus = made;
    if (is_level(level, '#'))
        index->nodes[parent].rest = made;
    *slot_of(index, parent, level) = made;
    return made;
}

bool filter_index_add(struct filter_index *index, struct str filter, uint32_t number) {
    struct str below = topic_filter_strip_share(filter);
    uint32_t node = 0;

    while (below.data != NULL) {
        node = need_child(index, node, str_split(&below, '/'));
        if (node == 0)
            return false;
    }
    if (node != 0 && index->nodes[node].number == NO_NUMBER)
        index->nodes[node].number = number;
    return true;
}

static bool push(struct filter_index *index, uint32_t *height, uint32_t node, struct str below) {
    if (*height == index->stack_cap) {
        uint32_t cap = index->stack_cap > 0 ? index->stack_cap * 2 : 64;
        struct filter_place *larger = realloc(index->stack, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        index->stack = larger;
        index->stack_cap = cap;
    }
    index->stack[(*height)++] = (struct filter_place){ node, below };
    return true;
}

/* 0 is a child that is not there. */
static bool push_child(struct filter_index *index, uint32_t *height, uint32_t node, struct str below) {
    return node == 0 || push(index, height, node, below);
}

/* A leading wildcard matches no topic that begins with `$` (MQTT-4.7.2-1). */
static bool wildcards_apply(const struct filter_place *place) {
    return place->node != 0 || !is_system(place->below);
}

static bool report(const struct filter_index *index, uint32_t node, bool (*visit)(void *, uint32_t), void *ctx) {
    return node == 0 || index->nodes[node].number == NO_NUMBER || visit(ctx, index->nodes[node].number);
}

/* `+/#` is `#`, as every topic has a first level. */
static uint32_t plus_and_rest(const struct filter_index *index, const struct filter_place *place, struct str level) {
    const struct filter_node *node = &index->nodes[place->node];

    return place->node == 0 && is_level(level, '#') && node->plus != 0 ? index->nodes[node->plus].rest : 0;
}

bool filter_index_covering(struct filter_index *index, struct str filter, bool (*visit)(void *ctx, uint32_t number), void *ctx) {
    uint32_t height = 0;

    if (index->count == 0)
        return true;
    if (!push(index, &height, 0, topic_filter_strip_share(filter)))
        return false;
    while (height > 0) {
        struct filter_place place = index->stack[--height];
        const struct filter_node *node = &index->nodes[place.node];
        bool wild = wildcards_apply(&place);

        index->steps++;
        if (wild && !report(index, node->rest, visit, ctx))
            return true;
        if (place.below.data == NULL) {
            if (!report(index, place.node, visit, ctx))
                return true;
            continue;
        }
        struct str level = str_split(&place.below, '/');
        if (!report(index, plus_and_rest(index, &place, level), visit, ctx))
            return true;
        if (is_level(level, '#'))
            continue;
        if (wild && !push_child(index, &height, node->plus, place.below))
            return false;
        if (!is_level(level, '+') && !push_child(index, &height, child_of(index, place.node, level), place.below))
            return false;
    }
    return true;
}

/* Some filter goes through this node, and none of them begins with `$` at the root. */
static bool has_any(const struct filter_index *index, uint32_t node) {
    uint32_t child = index->nodes[node].first_child;

    if (node != 0)
        return true;
    while (child != 0 && is_system(index->nodes[child].level))
        child = index->nodes[child].next_sibling;
    return child != 0;
}

static bool push_all(struct filter_index *index, uint32_t *height, uint32_t node, struct str below) {
    for (uint32_t child = index->nodes[node].first_child; child != 0; child = index->nodes[child].next_sibling)
        if (!(node == 0 && is_system(index->nodes[child].level)) && !push_child(index, height, child, below))
            return false;
    return true;
}

bool filter_index_intersects(struct filter_index *index, struct str filter) {
    uint32_t height = 0;

    if (index->count == 0)
        return false;
    if (!push(index, &height, 0, topic_filter_strip_share(filter)))
        return true;
    while (height > 0) {
        struct filter_place place = index->stack[--height];
        const struct filter_node *node = &index->nodes[place.node];
        bool wild = wildcards_apply(&place), fits = true;

        index->steps++;
        if (wild && node->rest != 0)
            return true;
        if (place.below.data == NULL) {
            if (node->number != NO_NUMBER)
                return true;
            continue;
        }
        struct str level = str_split(&place.below, '/');
        if (is_level(level, '#')) {
            if (has_any(index, place.node))
                return true;
        } else if (is_level(level, '+')) {
            fits = push_all(index, &height, place.node, place.below);
        } else {
            fits = (!wild || push_child(index, &height, node->plus, place.below)) &&
                   push_child(index, &height, child_of(index, place.node, level), place.below);
        }
        if (!fits)
            return true;
    }
    return false;
}
