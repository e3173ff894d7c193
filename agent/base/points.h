/*
 * agent/base/points.h: what one message became, on its way from parser to line encoder. Texts are borrowed: from the
 * message, or from the arena here, and no pointer outlives the message. Tags and fields of a point stand side by side in
 * one array, so only the point added last can still get more of them. Everything has a cap; after the first messages a
 * steady load allocates nothing. One owner, one thread.
 */
#ifndef HELIOGRAF_BASE_POINTS_H
#define HELIOGRAF_BASE_POINTS_H

#include "agent/base/arena.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"

enum value_type {
    VALUE_NUMBER,   /* as.text: a number in JSON's grammar, goes out verbatim as a float */
    VALUE_FLOAT,    /* as.f: finite, or the encoder omits and counts it */
    VALUE_INTEGER,  /* as.i */
    VALUE_UNSIGNED, /* as.u: written with the suffix `u` only where the configuration allows it */
    VALUE_BOOLEAN,  /* as.b */
    VALUE_STRING,   /* as.text: raw; the encoder escapes it */
};

struct value {
    enum value_type type;
    union {
        struct str text;
        double f;
        int64_t i;
        uint64_t u;
        bool b;
    } as;
};

struct tag {
    struct str key, value; /* raw; the encoder escapes, sorts and drops empty ones */
};

struct field {
    struct str key; /* raw; the encoder escapes */
    struct value value;
};

struct point {
    struct str measurement; /* empty: the name that the input gives */
    int64_t time_ns;        /* ns since 1970 UTC, when has_time */
    bool has_time;          /* false: the arrival time of the message is taken */
    uint32_t first_tag, tag_count;
    uint32_t first_field, field_count;
};

struct points {
    struct arena arena; /* texts made by the parser */
    struct point *items;
    struct tag *tags;
    struct field *fields;
    size_t count, cap, tag_count, tag_cap, field_count, field_cap;
    size_t max_items, max_values; /* caps: points; tags and fields together per array */
    uint64_t omitted;             /* values the parser left out on purpose (null, NaN, unwanted string): counted, not silent */
    struct buf *notes;            /* takes them in words, a line each; NULL, as ever but in `explain`: nobody asks */
};

struct points_mark {
    struct arena_mark arena;
    size_t count, tag_count, field_count;
};

/* `max_bytes` bounds the arena and, in proportion, the arrays: at most max_bytes/16 points and max_bytes/8 values. */
void points_init(struct points *points, size_t max_bytes);
void points_release(struct points *points); /* safe on a zeroed one */
void points_reset(struct points *points);   /* drops everything, keeps the memory */

struct points_mark points_mark(const struct points *points);                    /* a place to rewind to */
void points_rewind(struct points *points, struct points_mark to);               /* drops all added since */

/* A new last point without measurement, tags, fields or time; NULL at a cap. Invalidates earlier point pointers. */
struct point *points_add(struct points *points);

/* Adds `key: why` to the notes, as long as there is room for people to read. Only when there are notes. */
void points_note(struct points *points, struct str key, const char *why);

/* A value is left out on purpose. */
static inline void points_leave_out(struct points *points, struct str key, const char *why) {
    points->omitted++;
    if (points->notes != NULL)
        points_note(points, key, why);
}

bool points_grow_tags(struct points *points);
bool points_grow_fields(struct points *points);

/* To the last point; false at a cap. Texts must outlive the message's handling (message or points->arena). */
static inline bool points_add_tag(struct points *points, struct str key, struct str value) {
    if (points->tag_count == points->tag_cap && !points_grow_tags(points))
        return false;
    points->tags[points->tag_count++] = (struct tag){ key, value };
    points->items[points->count - 1].tag_count++;
    return true;
}

static inline bool points_add_field(struct points *points, struct str key, struct value value) {
    if (points->field_count == points->field_cap && !points_grow_fields(points))
        return false;
    points->fields[points->field_count].key = key;
    points->fields[points->field_count++].value = value;
    points->items[points->count - 1].field_count++;
    return true;
}

static inline struct tag *point_tags(struct points *points, const struct point *point) {
    return points->tags + point->first_tag;
}

static inline struct field *point_fields(struct points *points, const struct point *point) {
    return points->fields + point->first_field;
}

static inline struct value value_number(struct str text) {
    return (struct value){ .type = VALUE_NUMBER, .as.text = text };
}
static inline struct value value_float(double f) {
    return (struct value){ .type = VALUE_FLOAT, .as.f = f };
}
static inline struct value value_integer(int64_t i) {
    return (struct value){ .type = VALUE_INTEGER, .as.i = i };
}
static inline struct value value_unsigned(uint64_t u) {
    return (struct value){ .type = VALUE_UNSIGNED, .as.u = u };
}
static inline struct value value_boolean(bool b) {
    return (struct value){ .type = VALUE_BOOLEAN, .as.b = b };
}
static inline struct value value_string(struct str text) {
    return (struct value){ .type = VALUE_STRING, .as.text = text };
}

#endif
