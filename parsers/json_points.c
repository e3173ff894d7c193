/* parsers/json_points.c: see json_walk.h. From what a walk has gathered to a finished point. */
#include "parsers/json_walk.h"

/* True when a later duplicate of a key on its path replaced the value that was number `at` (tags: apart). */
static bool is_void(const struct walk *walk, const struct json_path *path, size_t at, bool tag) {
    for (; path != NULL; path = path->parent)
        if (path->void_stamp == walk->stamp && at < (tag ? path->void_tags : path->void_fields))
            return true;
    return false;
}

/* Tags and fields both begin with their key. */
static struct str *key_at(void *values, size_t size, size_t at) {
    return (struct str *)(void *)((char *)values + at * size);
}

/* Compacts values [from, to): first what a duplicate replaced goes, then, of paths that make one key, all but the last. */
static size_t drop_void(struct walk *walk, void *values, size_t size, size_t from, size_t to, bool tag) {
    size_t kept = from;

    for (size_t i = to; i-- > from;) {
        struct str *key = key_at(values, size, i);
        struct json_path *path = json_path_of_key(*key), *first = path->twin;
        if (is_void(walk, path, i, tag) || first->twin_stamp == walk->stamp)
            key->data = NULL;
        else if ((path->flags & JSON_PATH_TWIN) != 0)
            first->twin_stamp = walk->stamp;
    }
    for (size_t i = from; i < to; i++)
        if (key_at(values, size, i)->data != NULL)
            memmove(key_at(values, size, kept++), key_at(values, size, i), size);
    walk->omitted += to - kept;
    return kept;
}

static void drop_void_values(struct walk *walk, struct point *point) {
    struct points *out = walk->out;

    out->field_count = drop_void(walk, out->fields, sizeof *out->fields, walk->first_field, out->field_count, false);
    walk->field = out->fields + out->field_count;
    out->tag_count = drop_void(walk, out->tags, sizeof *out->tags, walk->first_tag, out->tag_count, true);
    point->tag_count = (uint32_t)(out->tag_count - walk->first_tag);
}

static bool set_time(struct walk *walk, struct point *point, struct err *err) {
    switch (walk->time_seen) {
    case TIME_NONE:
        return err_set(err, ERR_MISSING, "time key '%s' is not in the payload", walk->flatten->rules.time_key);
    case TIME_OTHER:
        return err_set(err, ERR_TYPE, "time key '%s' holds neither a number nor a string", walk->flatten->rules.time_key);
    case TIME_NUMBER:
    case TIME_STRING:
        break;
    }
    if (!time_format_read(walk->flatten->time, walk->time, walk->time_seen == TIME_NUMBER, walk->message->received_ns,
                          &point->time_ns, err))
        return false;
    return point->has_time = true;
}

bool json_point_finish(struct walk *walk, struct err *err) {
    struct points *out = walk->out;
    struct point *point = &out->items[out->count - 1];

    out->field_count = (size_t)(walk->field - out->fields);
    if (walk->has_duplicates)
        drop_void_values(walk, point);
    point->field_count = (uint32_t)(out->field_count - walk->first_field);
    if (walk->flatten->time != NULL && !set_time(walk, point, err))
        return false;
    point->measurement = walk->name.data != NULL && walk->name.len > 0 ? walk->name : walk->flatten->measurement;
    if (point->field_count == 0) {
        out->count--;
        out->tag_count = walk->first_tag;
    }
    return true;
}

void json_point_abandon(struct walk *walk) {
    walk->out->count--;
    walk->out->tag_count = walk->first_tag;
    walk->out->field_count = walk->first_field;
    walk->field = walk->out->fields + walk->first_field;
    walk->omitted++;
}
