/* parsers/json_walk.h: what json_flatten.c and json_points.c share: the walk through one message. */
#ifndef HELIOGRAF_PARSERS_JSON_WALK_H
#define HELIOGRAF_PARSERS_JSON_WALK_H

#include "parsers/json_flatten.h"

/* What has been seen under the time key of the point at hand. */
enum time_seen { TIME_NONE, TIME_NUMBER, TIME_STRING, TIME_OTHER };

struct walk {
    struct json_flatten *flatten;
    const struct json_text *text;
    const struct message *message;
    struct points *out;
    struct json_path *last;           /* the path met last: its `next` is the guess for the coming one */
    uint64_t stamp;                   /* of the point at hand */
    uint64_t omitted;
    struct field *field, *field_end;  /* where the next field goes, and the end of the room */
    size_t first_field, first_tag;    /* of the point at hand */
    bool has_duplicates;              /* something of the point at hand was replaced: compact it at its end */
    enum time_seen time_seen;
    struct str time, name;            /* name.data NULL: none */
    struct json_path *time_path, *name_path;
};

/*
 * Ends the point at hand: drops what duplicates replaced, sets time and measurement, and takes the point back when it has no field.
 * False with `err` when it has no readable time and needs one.
 */
bool json_point_finish(struct walk *walk, struct err *err);

/* Forgets the point at hand and counts it. */
void json_point_abandon(struct walk *walk);

#endif
