/* agent/ingest/line_prefix.c: measurement and tags of a series, repaired, sorted and escaped. */
#include "agent/ingest/line_encoder.h"

#include <stdlib.h>

#include "agent/ingest/count.h"
#include "agent/ingest/line_names.h"

struct sortable {
    struct str key, value;
    size_t rank; /* place in the caller's array: the lower one wins */
};

static int by_key_then_rank(const void *a, const void *b) {
    const struct sortable *left = a, *right = b;
    int order = str_cmp(left->key, right->key);

    if (order != 0)
        return order;
    return left->rank < right->rank ? -1 : left->rank > right->rank;
}

/* Few tags are the rule, and qsort's calls cost more than they save. */
static void sort_tags(struct sortable *tags, size_t count) {
    if (count > 16) {
        qsort(tags, count, sizeof *tags, by_key_then_rank);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct sortable tag = tags[i];
        size_t at = i;
        for (; at > 0 && by_key_then_rank(&tags[at - 1], &tag) > 0; at--)
            tags[at] = tags[at - 1];
        tags[at] = tag;
    }
}

static bool check_text(struct str text, const char *what, struct err *err) {
    if (!str_is_utf8(text))
        return err_set(err, ERR_SYNTAX, "%s is not UTF-8", what);
    return true;
}

/* The tags that can be written, repaired and in order, in `out`; false with `err`. */
static bool usable_tags(struct line_encoder *encoder, const struct tag *tags, size_t count, struct arena *arena,
                        struct sortable *out, size_t *kept, struct err *err) {
    uint64_t changed = 0, too_long = 0;
    size_t used = 0, unique = 0;

    for (size_t i = 0; i < count; i++) {
        struct str key = tags[i].key, value = tags[i].value;
        if (key.len == 0 || value.len == 0)
            continue;
        if (key.len > LINE_NAME_MAX || value.len > LINE_NAME_MAX) {
            too_long++;
            continue;
        }
        if (!check_text(key, "a tag's key", err) || !check_text(value, "a tag's value", err))
            return false;
        key = name_repair(key, NAME_TAG_KEY, arena, &changed);
        value = name_repair(value, NAME_TAG_VALUE, arena, &changed);
        if (key.data == NULL || value.data == NULL)
            return err_set(err, ERR_LIMIT, "the message makes too many points");
        out[used++] = (struct sortable){ key, value, i };
    }
    sort_tags(out, used);
    for (size_t i = 0; i < used; i++)
        if (unique == 0 || !str_eq(out[unique - 1].key, out[i].key))
            out[unique++] = out[i];
    count_add(&encoder->counters->renamed, changed);
    count_add(&encoder->counters->omitted[OMIT_TOO_LONG], too_long);
    *kept = unique;
    return true;
}

static size_t room_for(struct str measurement, const struct sortable *tags, size_t count) {
    size_t room = measurement.len * 2;

    for (size_t i = 0; i < count; i++)
        room += (tags[i].key.len + tags[i].value.len) * 2 + 2;
    return room;
}

static bool write_prefix(struct str measurement, const struct sortable *tags, size_t count, struct arena *arena,
                         struct line_prefix *prefix, struct err *err) {
    size_t room = room_for(measurement, tags, count);
    struct str *keys = arena_alloc(arena, count * sizeof *keys + 1);
    char *text = arena_alloc(arena, room), *names = arena_alloc(arena, room), *at = text, *name = names;

    if (keys == NULL || text == NULL || names == NULL)
        return err_set(err, ERR_LIMIT, "the message makes too many points");
    at = name_write(at, measurement, NAME_MEASUREMENT);
    *prefix = (struct line_prefix){ .tag_keys = keys, .tag_count = count };
    for (size_t i = 0; i < count; i++) {
        *at++ = ',';
        at = name_write(at, tags[i].key, NAME_TAG_KEY);
        *at++ = '=';
        at = name_write(at, tags[i].value, NAME_TAG_VALUE);
        memcpy(name, tags[i].key.data, tags[i].key.len);
        keys[i] = str_make(name, tags[i].key.len);
        name += tags[i].key.len;
        *name++ = '\n';
        prefix->tag_bits |= name_bit(name_hash(tags[i].key));
    }
    prefix->tag_names = str_make(names, (size_t)(name - names));
    prefix->text = str_make(text, (size_t)(at - text));
    prefix->hash = str_hash(prefix->text);
    if (prefix->text.len > LINE_PREFIX_MAX)
        return err_set(err, ERR_LIMIT, "measurement and tags make %zu bytes; at most %d are accepted by servers",
                       prefix->text.len, LINE_PREFIX_MAX);
    return true;
}

bool line_prefix_build(struct line_encoder *encoder, struct str measurement, const struct tag *tags, size_t count,
                       struct arena *arena, struct line_prefix *prefix, struct err *err) {
    struct sortable *sorted = arena_alloc(arena, count * sizeof *sorted + 1);
    uint64_t changed = 0;
    size_t kept = 0;

    if (sorted == NULL)
        return err_set(err, ERR_LIMIT, "the message makes too many points");
    if (measurement.len == 0)
        return err_set(err, ERR_MISSING, "the point has no measurement");
    if (measurement.len > LINE_NAME_MAX)
        return err_set(err, ERR_LIMIT, "the measurement has %zu bytes, more than %d", measurement.len, LINE_NAME_MAX);
    if (!check_text(measurement, "the measurement", err) ||
        !usable_tags(encoder, tags, count, arena, sorted, &kept, err))
        return false;
    measurement = name_repair(measurement, NAME_MEASUREMENT, arena, &changed);
    if (measurement.data == NULL)
        return err_set(err, ERR_LIMIT, "the message makes too many points");
    count_add(&encoder->counters->renamed, changed);
    return write_prefix(measurement, sorted, kept, arena, prefix, err);
}
