/* agent/ingest/field_repair.c: see field_repair.h. */
#include "agent/ingest/field_repair.h"

#include <stdlib.h>

struct sortable {
    struct str key;
    size_t index;
};

static int by_key_then_index(const void *a, const void *b) {
    const struct sortable *left = a, *right = b;
    int order = str_cmp(left->key, right->key);

    if (order != 0)
        return order;
    return left->index < right->index ? -1 : left->index > right->index;
}

/* `_field` behind the key until no tag has that name. */
static struct str away_from_tags(struct field_repair *repair, struct str key) {
    const struct str suffix = STR_INIT("_field");

    while (line_prefix_has_tag(repair->prefix, key, name_hash(key))) {
        char *longer = arena_alloc(repair->scratch, key.len + suffix.len);
        if (longer == NULL)
            return (struct str){ NULL, 0 };
        memcpy(longer, key.data, key.len);
        memcpy(longer + key.len, suffix.data, suffix.len);
        key = str_make(longer, key.len + suffix.len);
        repair->renamed++;
    }
    return key;
}

/* Of the fields with one key the last gives the value, at the place of the first; the others get an empty key. */
static void unite_equal(struct field_repair *repair, struct field *fields, struct sortable *sorted, size_t count) {
    qsort(sorted, count, sizeof *sorted, by_key_then_index);
    for (size_t first = 0, next; first < count; first = next) {
        next = first + 1;
        while (next < count && str_eq(sorted[first].key, sorted[next].key))
            next++;
        fields[sorted[first].index].value = fields[sorted[next - 1].index].value;
        for (size_t i = first + 1; i < next; i++)
            fields[sorted[i].index].key.len = 0;
        repair->omitted[OMIT_DUPLICATE] += next - first - 1;
    }
}

struct field *field_repair_all(struct field_repair *repair, const struct field *fields, size_t *count) {
    struct field *copy = arena_alloc(repair->scratch, *count * sizeof *copy);
    struct sortable *sorted = arena_alloc(repair->scratch, *count * sizeof *sorted);
    size_t used = 0, kept = 0;

    if (copy == NULL || sorted == NULL)
        return NULL;
    for (size_t i = 0; i < *count; i++) {
        struct str key = fields[i].key;
        enum line_omission why;
        size_t room;
        if (!field_room(&fields[i], &room, &why)) {
            repair->omitted[why]++;
            continue;
        }
        key = name_repair(key, NAME_FIELD_KEY, repair->scratch, &repair->renamed);
        if (key.data != NULL)
            key = away_from_tags(repair, key);
        if (key.data == NULL)
            return NULL;
        copy[used] = (struct field){ key, fields[i].value };
        sorted[used] = (struct sortable){ key, used };
        used++;
    }
    unite_equal(repair, copy, sorted, used);
    for (size_t i = 0; i < used; i++)
        if (copy[i].key.len > 0)
            copy[kept++] = copy[i];
    *count = kept;
    return copy;
}
