/*
 * agent/ingest/topic_parsing.c: see topic_parsing.h. Literals are kept by place, not by text, so that `site/+/site/+`
 * checks both. Without `topic` a block is for all topics with as many levels as its other patterns have.
 */
#include "agent/ingest/topic_parsing.h"

enum topic_field_type { FIELD_STRING, FIELD_INTEGER, FIELD_UNSIGNED, FIELD_FLOAT };

static const char *const type_names[] = { "string", "int", "uint", "float" };

#define OPTION(name) .key = #name, .offset = offsetof(struct topic_parsing_options, name)

const struct cfg_field topic_parsing_options[] = {
    { OPTION(topic), .type = CFG_STRING, .help = "Topics this is for: + is one level, # any number, once.",
      .example = "plant/+/+/+" },
    { OPTION(measurement), .type = CFG_STRING, .help = "The level that names the measurement; _ passes over a level.",
      .example = "_/_/_/measurement" },
    { OPTION(tags), .type = CFG_STRING, .help = "Levels that become tags, by the names written here.",
      .example = "_/line/machine/_" },
    { OPTION(fields), .type = CFG_STRING, .help = "Levels that become fields, by the names written here.",
      .example = "_/_/_/channel" },
    { OPTION(types), .type = CFG_MAP, .help = "Types of those fields: string, int, uint or float.",
      .example = "{ channel: int }" },
    CFG_END,
};

static bool picks_add(struct level_picks *picks, struct arena *arena, struct level_pick pick) {
    struct level_pick *larger;

    if ((picks->count & (picks->count - 1)) == 0) { /* full at powers of two */
        larger = arena_alloc(arena, (picks->count == 0 ? 1 : picks->count * 2) * sizeof *larger);
        if (larger == NULL)
            return false;
        if (picks->count > 0)
            memcpy(larger, picks->items, picks->count * sizeof *larger);
        picks->items = larger;
    }
    picks->items[picks->count++] = pick;
    return true;
}

static bool passes_over(struct str level) {
    return level.len == 0 || str_eq_c(level, "_");
}

/* The named places of `text`; levels are counted as Telegraf does, without `#`. */
static bool picks_make(const char *text, struct level_picks *picks, struct arena *arena, struct err *err) {
    struct str rest = str_of(text != NULL ? text : "");
    size_t total = 1, at = 0;
    bool from_end = false;

    for (size_t i = 0; i < rest.len; i++)
        total += rest.data[i] == '/';
    for (; rest.data != NULL; at++) {
        struct str level = str_split(&rest, '/');
        if (str_eq_c(level, "#")) {
            from_end = true;
            continue;
        }
        picks->levels++;
        if (!passes_over(level) &&
            !picks_add(picks, arena, (struct level_pick){ level, from_end ? (int)at - (int)total : (int)at, 0 }))
            return err_set(err, ERR_LIMIT, "out of memory");
    }
    return true;
}

/* The literals of `topic`; `_` is a literal here. */
static bool literals_make(struct str rest, struct topic_pattern *pattern, struct arena *arena, struct err *err) {
    size_t total = 1, at = 0;

    for (size_t i = 0; i < rest.len; i++)
        total += rest.data[i] == '/';
    for (; rest.data != NULL; at++) {
        struct str level = str_split(&rest, '/');
        if (str_eq_c(level, "#")) {
            if (pattern->any_length)
                return err_set(err, ERR_SYNTAX, "topic can only contain one #");
            pattern->any_length = true;
            continue;
        }
        pattern->literals.levels++;
        int place = pattern->any_length ? (int)at - (int)total : (int)at;
        if (!str_eq_c(level, "+") && !picks_add(&pattern->literals, arena, (struct level_pick){ level, place, 0 }))
            return err_set(err, ERR_LIMIT, "out of memory");
    }
    return true;
}

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool types_apply(const struct cfg_map *types, struct level_picks *fields, struct err *err) {
    for (size_t i = 0; i < types->count; i++) {
        int type = -1;
        bool found = false;
        for (size_t t = 0; t < sizeof type_names / sizeof type_names[0]; t++)
            if (strcmp(types->values[i], type_names[t]) == 0)
                type = (int)t;
        if (type < 0)
            return err_set(err, ERR_UNSUPPORTED, "type '%s' of field '%s' is unknown; known: string, int, uint, float",
                           types->values[i], types->keys[i]);
        for (size_t f = 0; f < fields->count; f++) {
            if (str_eq_c(fields->items[f].text, types->keys[i])) {
                fields->items[f].type = type;
                found = true;
            }
        }
        if (!found)
            return err_set(err, ERR_MISSING, "types names '%s', which is no field", types->keys[i]);
    }
    return true;
}

static size_t larger_of(size_t a, size_t b) {
    return a > b ? a : b;
}

static bool lengths_agree(const struct topic_parsing_options *options, struct topic_pattern *pattern, struct err *err) {
    size_t levels = pattern->literals.levels;

    pattern->min_levels = levels;
    if (is_given(options->measurement))
        pattern->min_levels = larger_of(pattern->min_levels, pattern->measurement.levels);
    if (is_given(options->tags))
        pattern->min_levels = larger_of(pattern->min_levels, pattern->tags.levels);
    if (is_given(options->fields))
        pattern->min_levels = larger_of(pattern->min_levels, pattern->fields.levels);
    if (options->topic == NULL)
        levels = pattern->min_levels;
    if (pattern->any_length)
        return true;
    if (is_given(options->measurement) && pattern->measurement.levels != levels)
        return err_set(err, ERR_SYNTAX, "measurement has %zu levels and topic has %zu", pattern->measurement.levels,
                       levels);
    if (is_given(options->tags) && pattern->tags.levels != levels)
        return err_set(err, ERR_SYNTAX, "tags has %zu levels and topic has %zu", pattern->tags.levels, levels);
    if (is_given(options->fields) && pattern->fields.levels != levels)
        return err_set(err, ERR_SYNTAX, "fields has %zu levels and topic has %zu", pattern->fields.levels, levels);
    return true;
}

bool topic_pattern_make(const struct topic_parsing_options *options, struct arena *arena, struct topic_pattern *pattern,
                        struct err *err) {
    *pattern = (struct topic_pattern){ 0 };
    if (!is_given(options->measurement) && !is_given(options->tags) && !is_given(options->fields))
        return err_set(err, ERR_MISSING, "one of measurement, tags and fields must be given");
    if (options->topic != NULL && !literals_make(str_of(options->topic), pattern, arena, err))
        return false;
    if (!picks_make(options->measurement, &pattern->measurement, arena, err) ||
        !picks_make(options->tags, &pattern->tags, arena, err) ||
        !picks_make(options->fields, &pattern->fields, arena, err))
        return false;
    if (pattern->measurement.count > 1)
        return err_set(err, ERR_SYNTAX, "measurement can only name one level");
    return lengths_agree(options, pattern, err) && types_apply(&options->types, &pattern->fields, err);
}

struct topic_levels topic_levels_split(struct str topic, struct arena *arena) {
    struct topic_levels levels = { NULL, 1 };

    for (size_t i = 0; i < topic.len; i++)
        levels.count += topic.data[i] == '/';
    levels.items = arena_alloc(arena, levels.count * sizeof *levels.items);
    if (levels.items != NULL)
        for (size_t i = 0; i < levels.count; i++)
            levels.items[i] = str_split(&topic, '/');
    return levels;
}

bool topic_facts_init(struct topic_facts *facts, const struct topic_pattern *patterns, size_t count,
                      struct arena *arena) {
    *facts = (struct topic_facts){ .measurement = STR_EMPTY, .tag_cap = 1 };
    for (size_t i = 0; i < count; i++) {
        facts->tag_cap += patterns[i].tags.count;
        facts->field_cap += patterns[i].fields.count;
    }
    facts->tags = arena_alloc(arena, facts->tag_cap * sizeof *facts->tags);
    facts->fields = arena_alloc(arena, facts->field_cap * sizeof *facts->fields + 1);
    return facts->tags != NULL && facts->fields != NULL;
}

void topic_facts_set_tag(struct topic_facts *facts, struct str key, struct str value) {
    size_t at = 0;

    while (at < facts->tag_count && !str_eq(facts->tags[at].key, key))
        at++;
    if (at == facts->tag_cap)
        return;
    facts->tag_count += at == facts->tag_count;
    facts->tags[at] = (struct tag){ key, value };
}

static void set_field(struct topic_facts *facts, struct str key, struct value value) {
    size_t at = 0;

    while (at < facts->field_count && !str_eq(facts->fields[at].key, key))
        at++;
    if (at == facts->field_cap)
        return;
    facts->field_count += at == facts->field_count;
    facts->fields[at] = (struct field){ key, value };
}

static struct str level_at(const struct topic_levels *levels, int place) {
    return levels->items[place >= 0 ? (size_t)place : levels->count - (size_t)-place];
}

bool topic_pattern_matches(const struct topic_pattern *pattern, const struct topic_levels *levels) {
    if (pattern->any_length ? levels->count < pattern->min_levels : levels->count != pattern->min_levels)
        return false;
    for (size_t i = 0; i < pattern->literals.count; i++)
        if (!str_eq(level_at(levels, pattern->literals.items[i].at), pattern->literals.items[i].text))
            return false;
    return true;
}

static bool level_value(struct str level, int type, struct value *value) {
    switch (type) {
    case FIELD_INTEGER:
        value->type = VALUE_INTEGER;
        return str_to_int64(level, &value->as.i);
    case FIELD_UNSIGNED:
        value->type = VALUE_UNSIGNED;
        return str_to_uint64(level, &value->as.u);
    case FIELD_FLOAT:
        value->type = VALUE_FLOAT;
        return str_to_double(level, &value->as.f);
    default:
        *value = value_string(level);
        return true;
    }
}

bool topic_pattern_apply(const struct topic_pattern *pattern, const struct topic_levels *levels,
                         struct topic_facts *facts, struct err *err) {
    if (pattern->measurement.count > 0)
        facts->measurement = level_at(levels, pattern->measurement.items[0].at);
    for (size_t i = 0; i < pattern->tags.count; i++)
        topic_facts_set_tag(facts, pattern->tags.items[i].text, level_at(levels, pattern->tags.items[i].at));
    for (size_t i = 0; i < pattern->fields.count; i++) {
        const struct level_pick *pick = &pattern->fields.items[i];
        struct str level = level_at(levels, pick->at);
        struct value value;
        if (!level_value(level, pick->type, &value))
            return err_set(err, ERR_TYPE, "topic level '%.*s' of field '%.*s' is not of type %s", STR_ARGS(level),
                           STR_ARGS(pick->text), type_names[pick->type]);
        set_field(facts, pick->text, value);
    }
    return true;
}
