/* agent/base/points.c: see points.h. The arrays double up to their caps and are kept from message to message. */
#include "agent/base/points.h"

#include <stdlib.h>

void points_init(struct points *points, size_t max_bytes) {
    *points = (struct points){ .max_items = max_bytes / 16, .max_values = max_bytes / 8 };
    arena_init(&points->arena, max_bytes);
}

void points_release(struct points *points) {
    free(points->items);
    free(points->tags);
    free(points->fields);
    arena_release(&points->arena);
    *points = (struct points){
        .max_items = points->max_items, .max_values = points->max_values, .arena = points->arena, .notes = points->notes
    };
}

void points_note(struct points *points, struct str key, const char *why) {
    enum { NOTES_BYTES = 4000, KEY_SHOWN = 60 };
    size_t shown = key.len < KEY_SHOWN ? key.len : KEY_SHOWN;

    if (points->notes->len > NOTES_BYTES)
        return;
    buf_append_c(points->notes, "  left out: ");
    for (size_t i = 0; i < shown; i++)
        buf_append_char(points->notes, (unsigned char)key.data[i] < ' ' || key.data[i] == 0x7f ? '?' : key.data[i]);
    buf_printf(points->notes, "%s: %s\n", shown < key.len ? "..." : shown == 0 ? "(no name)" : "", why);
}

void points_reset(struct points *points) {
    points->count = points->tag_count = points->field_count = 0;
    points->omitted = 0;
    arena_reset(&points->arena);
}

struct points_mark points_mark(const struct points *points) {
    return (struct points_mark){ arena_mark(&points->arena), points->count, points->tag_count, points->field_count };
}

void points_rewind(struct points *points, struct points_mark to) {
    arena_rewind(&points->arena, to.arena);
    points->count = to.count;
    points->tag_count = to.tag_count;
    points->field_count = to.field_count;
    if (points->count > 0) {
        /* The mark may stand in the middle of a point: it is the last one again, and its values end the arrays. */
        struct point *last = &points->items[points->count - 1];
        last->tag_count = (uint32_t)points->tag_count - last->first_tag;
        last->field_count = (uint32_t)points->field_count - last->first_field;
    }
}

/* Room for one more element, or false at the cap. */
static bool grow(void **array, size_t *cap, size_t max, size_t size) {
    size_t wanted = *cap == 0 ? 32 : *cap * 2;
    void *larger;

    if (wanted > max)
        wanted = max;
    if (wanted <= *cap)
        return false;
    larger = realloc(*array, wanted * size);
    if (larger == NULL)
        return false;
    *array = larger;
    *cap = wanted;
    return true;
}

struct point *points_add(struct points *points) {
    struct point *point;

    if (points->count == points->cap && !grow((void **)&points->items, &points->cap, points->max_items, sizeof *point))
        return NULL;
    point = &points->items[points->count++];
    *point = (struct point){
        .measurement = STR_EMPTY,
        .first_tag = (uint32_t)points->tag_count,
        .first_field = (uint32_t)points->field_count,
    };
    return point;
}

bool points_grow_tags(struct points *points) {
    return grow((void **)&points->tags, &points->tag_cap, points->max_values, sizeof *points->tags);
}

bool points_grow_fields(struct points *points) {
    return grow((void **)&points->fields, &points->field_cap, points->max_values, sizeof *points->fields);
}
