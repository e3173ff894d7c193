/*
 * agent/delivery/grouping.c: see grouping.h. The first pass routes each line and writes it, perhaps changed, to
 * `routed`; the second sorts by target, counting, so that order within a target stays. With one target the second is
 * not needed.
 */
#include "agent/delivery/grouping.h"

#include <stdlib.h>

enum { NAMES_MAX = 64 << 20 };
static const size_t text_max = (size_t)UINT32_MAX; /* offsets are 32 bits wide */

void grouping_init(struct grouping *grouping) {
    *grouping = (struct grouping){ .groups = NULL };
    arena_init(&grouping->names, NAMES_MAX);
    buf_init(&grouping->scratch, text_max);
    buf_init(&grouping->routed, text_max);
    buf_init(&grouping->sorted, text_max);
}

void grouping_release(struct grouping *grouping) {
    free(grouping->groups);
    free(grouping->group_of);
    free(grouping->routed_ends);
    free(grouping->sorted_ends);
    free(grouping->sorted_lines);
    arena_release(&grouping->names);
    buf_release(&grouping->scratch);
    buf_release(&grouping->routed);
    buf_release(&grouping->sorted);
}

static bool grow_array(uint32_t **array, size_t count) {
    uint32_t *larger = realloc(*array, count * sizeof **array);

    if (larger == NULL)
        return false;
    *array = larger;
    return true;
}

static bool grow_lines(struct grouping *grouping, size_t count) {
    if (count <= grouping->line_cap)
        return true;
    if (!grow_array(&grouping->group_of, count) || !grow_array(&grouping->routed_ends, count) ||
        !grow_array(&grouping->sorted_ends, count) || !grow_array(&grouping->sorted_lines, count))
        return false;
    grouping->line_cap = count;
    return true;
}

static struct group *add_group(struct grouping *grouping) {
    if (grouping->group_count == grouping->group_cap) {
        size_t cap = grouping->group_cap > 0 ? grouping->group_cap * 2 : 8;
        struct group *larger = realloc(grouping->groups, cap * sizeof *larger);
        if (larger == NULL)
            return NULL;
        grouping->groups = larger;
        grouping->group_cap = cap;
    }
    return &grouping->groups[grouping->group_count++];
}

/* The number of the group of `target`. `recent` is a guess: neighbours often share a target. */
static bool find_group(struct grouping *grouping, struct str target, uint32_t recent, uint32_t *found) {
    uint64_t hash = str_hash(target);
    struct group *group;
    struct str name;

    if (recent < grouping->group_count && grouping->groups[recent].hash == hash &&
        str_eq(grouping->groups[recent].target, target)) {
        *found = recent;
        return true;
    }
    for (uint32_t i = 0; i < grouping->group_count; i++)
        if (grouping->groups[i].hash == hash && str_eq(grouping->groups[i].target, target)) {
            *found = i;
            return true;
        }
    name = arena_copy(&grouping->names, target);
    if (name.data == NULL || (group = add_group(grouping)) == NULL)
        return false;
    *group = (struct group){ .target = name, .hash = hash };
    *found = (uint32_t)(grouping->group_count - 1);
    return true;
}

static bool route_lines(struct grouping *grouping, const struct spool_batch *batch, const struct output_type *type,
                        void *output) {
    uint32_t start = 0, group = 0;

    for (size_t i = 0; i < batch->line_count; i++) {
        struct str line = str_make(batch->lines.data + start, batch->line_ends[i] - start - 1), target = STR_EMPTY;
        start = batch->line_ends[i];
        buf_reset(&grouping->scratch);
        type->route(output, &line, &target, &grouping->scratch);
        if (grouping->scratch.failed || !find_group(grouping, target, group, &group) ||
            !buf_append_str(&grouping->routed, line) || !buf_append_char(&grouping->routed, '\n'))
            return false;
        grouping->group_of[i] = group;
        grouping->groups[group].count++;
        grouping->routed_ends[i] = (uint32_t)grouping->routed.len;
    }
    return true;
}

static bool sort_lines(struct grouping *grouping, size_t line_count) {
    uint32_t place = 0;

    for (size_t i = 0; i < grouping->group_count; i++) {
        struct group *group = &grouping->groups[i];
        group->first = place;
        place += group->count;
        group->count = 0; /* counted up again below */
    }
    for (size_t i = 0; i < line_count; i++) {
        struct group *group = &grouping->groups[grouping->group_of[i]];
        grouping->sorted_lines[group->first + group->count++] = (uint32_t)i;
    }
    for (place = 0; place < line_count; place++) {
        uint32_t line = grouping->sorted_lines[place], start = line > 0 ? grouping->routed_ends[line - 1] : 0;
        if (!buf_append(&grouping->sorted, grouping->routed.data + start, grouping->routed_ends[line] - start))
            return false;
        grouping->sorted_ends[place] = (uint32_t)grouping->sorted.len;
    }
    grouping->body = grouping->sorted.data;
    grouping->line_ends = grouping->sorted_ends;
    grouping->lines = grouping->sorted_lines;
    return true;
}

bool grouping_make(struct grouping *grouping, const struct spool_batch *batch, const struct output_type *type,
                   void *output) {
    bool routed = type->route != NULL && type->routes != NULL && type->routes(output);
    struct group *group;

    grouping->group_count = 0;
    grouping->lines = NULL;
    if (!routed) {
        if ((group = add_group(grouping)) == NULL)
            return false;
        *group = (struct group){ .target = STR_EMPTY, .count = (uint32_t)batch->line_count };
        grouping->body = batch->lines.data;
        grouping->line_ends = batch->line_ends;
        return true;
    }
    arena_reset(&grouping->names);
    buf_reset(&grouping->routed);
    buf_reset(&grouping->sorted);
    if (!grow_lines(grouping, batch->line_count) || !route_lines(grouping, batch, type, output))
        return false;
    if (grouping->group_count > 1)
        return sort_lines(grouping, batch->line_count);
    grouping->body = grouping->routed.data;
    grouping->line_ends = grouping->routed_ends;
    return true;
}
