/*
 * agent/base/topic_levels.h: the levels of a topic or filter, one after another, without splitting or copying. Empty levels are levels
 * (MQTT 5 section 4.7.1.1): `/a` has two, `a//b` three, and an empty text has one. Pure and thread-safe.
 */
#ifndef HELIOGRAF_BASE_TOPIC_LEVELS_H
#define HELIOGRAF_BASE_TOPIC_LEVELS_H

#include "agent/base/str.h"

struct topic_levels {
    struct str rest;
    bool more; /* whether there is a next one */
};

static inline struct topic_levels topic_levels_of(struct str text) {
    return (struct topic_levels){ text, true };
}

/* A slice of the text; only while `more`. */
static inline struct str topic_levels_next(struct topic_levels *levels) {
    struct str rest = levels->rest;
    const char *slash = rest.len > 0 ? memchr(rest.data, '/', rest.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - rest.data) : rest.len;

    levels->more = slash != NULL;
    levels->rest = slash != NULL ? str_make(slash + 1, rest.len - len - 1) : STR_EMPTY;
    return str_make(rest.data, len);
}

/* Whether the level is this wildcard, alone. */
static inline bool topic_level_is(struct str level, char wildcard) {
    return level.len == 1 && level.data[0] == wildcard;
}

/* Topics that begin with `$` are met by no filter that begins with a wildcard (MQTT 5 section 4.7.2). */
static inline bool topic_is_dollar(struct str topic) {
    return topic.len > 0 && topic.data[0] == '$';
}

#endif
