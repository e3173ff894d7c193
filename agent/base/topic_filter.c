/* agent/base/topic_filter.c: filters are walked level by level beside the topic; nothing is split or copied. */
#include "agent/base/topic_filter.h"

#include "agent/base/topic_levels.h"

static bool has(struct str text, char c) {
    return text.len > 0 && memchr(text.data, c, text.len) != NULL;
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

struct str topic_filter_group(struct str filter) {
    struct topic_levels levels = topic_levels_of(filter);

    if (!str_starts_with(filter, STR("$share/")))
        return str_make(NULL, 0);
    topic_levels_next(&levels);
    return topic_levels_next(&levels);
}

static enum topic_filter_fault wildcards_fault(struct str filter) {
    struct topic_levels levels = topic_levels_of(filter);

    while (levels.more) {
        struct str level = topic_levels_next(&levels);
        if (has(level, '#') && (level.len > 1 || levels.more))
            return TOPIC_FILTER_BAD_HASH;
        if (has(level, '+') && level.len > 1)
            return TOPIC_FILTER_BAD_PLUS;
    }
    return TOPIC_FILTER_FINE;
}

enum topic_filter_fault topic_filter_fault(struct str filter) {
    struct str group = topic_filter_group(filter);

    if (filter.len == 0)
        return TOPIC_FILTER_EMPTY;
    if (group.data == NULL)
        return wildcards_fault(filter);
    if (group.len == 0 || has(group, '+') || has(group, '#'))
        return TOPIC_FILTER_NO_GROUP;
    filter = topic_filter_strip_share(filter);
    return filter.len == 0 ? TOPIC_FILTER_NO_SHARED_FILTER : wildcards_fault(filter);
}

bool topic_filter_valid(struct str filter, struct err *err) {
    static const char *const words[] = {
        [TOPIC_FILTER_EMPTY] = "a topic filter must not be empty",
        [TOPIC_FILTER_BAD_HASH] = "# must be the last level, and alone in it, as in a/b/#",
        [TOPIC_FILTER_BAD_PLUS] = "+ must stand alone in its level, as in a/+/c",
        [TOPIC_FILTER_NO_GROUP] = "the group of a shared filter must be a name without + and #",
        [TOPIC_FILTER_NO_SHARED_FILTER] = "a shared filter is written $share/group/filter",
    };
    enum topic_filter_fault fault = topic_filter_fault(filter);

    if (filter.len > TOPIC_MAX_BYTES)
        return err_set(err, ERR_SYNTAX, "a topic filter has at most %d bytes", TOPIC_MAX_BYTES);
    if (has(filter, '\0') || !str_is_utf8(filter))
        return err_set(err, ERR_SYNTAX, "a topic filter must be UTF-8 without NUL");
    return fault == TOPIC_FILTER_FINE || err_set(err, ERR_SYNTAX, "%s", words[fault]);
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
