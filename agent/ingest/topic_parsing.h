/*
 * agent/ingest/topic_parsing.h: what a topic says about its points: `topic_parsing` with Telegraf's meaning. In a
 * pattern `+` is any level, `#` any number of levels (once), the rest is literal; in `measurement`, `tags` and `fields`
 * a word names the level at its place, `_` or nothing passes over it, and behind `#` places count from the topic's end.
 */
#ifndef HELIOGRAF_INGEST_TOPIC_PARSING_H
#define HELIOGRAF_INGEST_TOPIC_PARSING_H

#include "agent/base/points.h"
#include "config/schema.h"

/* One block, as cfg_read fills it. */
struct topic_parsing_options {
    char *topic, *measurement, *tags, *fields;
    struct cfg_map types;
};
extern const struct cfg_field topic_parsing_options[];

/* A level by its place: from the front, or with negative numbers from the end (-1 is the last). */
struct level_pick {
    struct str text; /* key, or the literal that must stand there */
    int at;
    int type; /* fields: enum topic_field_type */
};

struct level_picks {
    struct level_pick *items;
    size_t count;
    size_t levels; /* places in the pattern, `#` not counted */
};

struct topic_pattern {
    bool any_length;   /* there is a `#` */
    size_t min_levels; /* exact number without `#` */
    struct level_picks literals, measurement, tags, fields;
};

/* False with `err` when the block contradicts itself. Memory is the arena's; texts are borrowed from the options. */
bool topic_pattern_make(const struct topic_parsing_options *options, struct arena *arena, struct topic_pattern *pattern,
                        struct err *err);

/* What a topic adds to its points. Texts are slices of the topic or of the configuration. */
struct topic_facts {
    struct str measurement; /* empty: none */
    struct tag *tags;
    size_t tag_count, tag_cap;
    struct field *fields;
    size_t field_count, field_cap;
};

/* The levels of a topic; items == NULL when the arena is full. */
struct topic_levels {
    struct str *items;
    size_t count;
};
struct topic_levels topic_levels_split(struct str topic, struct arena *arena);

/* Room in `facts` for all that one tag and these patterns can give. */
bool topic_facts_init(struct topic_facts *facts, const struct topic_pattern *patterns, size_t count,
                      struct arena *arena);
/* Sets a tag; the last one of a key stays. */
void topic_facts_set_tag(struct topic_facts *facts, struct str key, struct str value);

bool topic_pattern_matches(const struct topic_pattern *pattern, const struct topic_levels *levels);

/* For a topic that matches. False with ERR_TYPE when a level is not of the type that its field was given. */
bool topic_pattern_apply(const struct topic_pattern *pattern, const struct topic_levels *levels,
                         struct topic_facts *facts, struct err *err);

#endif
