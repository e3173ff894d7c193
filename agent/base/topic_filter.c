/* agent/base/topic_filter.c: filters are walked level by level beside the topic; nothing is split or copied. */
#include "agent/base/topic_filter.h"

#include "agent/base/topic_levels.h"

static bool has_wildcard(struct str text) {
    return text.len > 0 && (memchr(text.data, '+', text.len) != NULL || memchr(text.data, '#', text.len) != NULL);
}

struct str topic_filter_strip_share(struct str filter) {
    const struct str share = STR_INIT("$share/");
    const char *slash;

    if (!str_starts_with(filter, share))
        return filter;
    filter = str_make(filter.data + share.len, filter.len - share.len);
    slash = filter.len > 0 ? memchr(filter.data, '/', filter.len) : NULL;
    if (slash == NULL)
        return STR_EMPTY;
    return str_make(slash + 1, filter.len - (size_t)(slash + 1 - filter.data));
}

/* `$share/group/filter`, MQTT 5 section 4.8.2: the group has at least one character and no wildcard. */
static bool share_valid(struct str filter, struct err *err) {
    struct topic_levels levels = topic_levels_of(filter);
    struct str group;

    topic_levels_next(&levels);
    group = topic_levels_next(&levels);
    if (group.len == 0 || has_wildcard(group))
        return err_set(err, ERR_SYNTAX, "the group of a shared filter must be a name without + and #");
    if (!levels.more || levels.rest.len == 0)
        return err_set(err, ERR_SYNTAX, "a shared filter is written $share/group/filter");
    return true;
}

static bool levels_valid(struct str filter, struct err *err) {
    struct topic_levels levels = topic_levels_of(filter);

    while (levels.more) {
        struct str level = topic_levels_next(&levels);
        if (level.len > 1 && has_wildcard(level))
            return err_set(err, ERR_SYNTAX, "a wildcard must stand alone in its level, not in '%.*s'", STR_ARGS(level));
        if (topic_level_is(level, '#') && levels.more)
            return err_set(err, ERR_SYNTAX, "# must be the last level");
    }
    return true;
}

bool topic_filter_valid(struct str filter, struct err *err) {
    if (filter.len == 0)
        return err_set(err, ERR_SYNTAX, "a topic filter must not be empty");
    if (filter.len > TOPIC_MAX_BYTES)
        return err_set(err, ERR_SYNTAX, "a topic filter has at most %d bytes", TOPIC_MAX_BYTES);
    if (memchr(filter.data, '\0', filter.len) != NULL || !str_is_utf8(filter))
        return err_set(err, ERR_SYNTAX, "a topic filter must be UTF-8 without NUL");
    if (str_starts_with(filter, STR("$share/")) && !share_valid(filter, err))
        return false;
    return levels_valid(topic_filter_strip_share(filter), err);
}

bool topic_filter_match(struct str filter, struct str topic) {
    struct topic_levels filters, topics;

    filter = topic_filter_strip_share(filter);
    if (filter.len == 0 || topic.len == 0)
        return false;
    if (topic_is_dollar(topic) && (filter.data[0] == '+' || filter.data[0] == '#'))
        return false;
    filters = topic_levels_of(filter);
    topics = topic_levels_of(topic);
    while (filters.more) {
        struct str wanted = topic_levels_next(&filters);
        if (topic_level_is(wanted, '#'))
            return true; /* also for zero levels: `a/#` matches `a` */
        if (!topics.more)
            return false;
        struct str level = topic_levels_next(&topics);
        if (!topic_level_is(wanted, '+') && !str_eq(wanted, level))
            return false;
    }
    return !topics.more;
}

bool topic_filter_covers(struct str a, struct str b) {
    struct topic_levels wide, narrow;

    a = topic_filter_strip_share(a);
    b = topic_filter_strip_share(b);
    if (a.len == 0 || b.len == 0)
        return false;
    if (topic_is_dollar(b) && (a.data[0] == '+' || a.data[0] == '#'))
        return false;
    if (str_eq_c(a, "+/#"))
        return true; /* every topic has a first level, so this is `#` */
    wide = topic_levels_of(a);
    narrow = topic_levels_of(b);
    while (wide.more) {
        struct str wanted = topic_levels_next(&wide);
        if (topic_level_is(wanted, '#'))
            return true;
        if (!narrow.more)
            return false;
        struct str level = topic_levels_next(&narrow);
        if (topic_level_is(level, '#') || (!topic_level_is(wanted, '+') && !str_eq(wanted, level)))
            return false;
    }
    return !narrow.more;
}
