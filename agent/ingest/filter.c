/*
 * agent/ingest/filter.c: which points, tags and fields are wanted, and under which name. The rules are Telegraf's: a
 * list that is not given lets all through; drop wins over pass; of tagpass, one key with one matching value is enough.
 */
#include "agent/ingest/filter.h"

#include <stdlib.h>

#define OPTION(name) .key = #name, .offset = offsetof(struct ingest_filter, name)

const struct cfg_field ingest_filter_options[] = {
    { OPTION(namepass), .type = CFG_STRINGS, .help = "Keep points whose measurement matches one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"climate*\"]" },
    { OPTION(namedrop), .type = CFG_STRINGS, .help = "Drop points whose measurement matches one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"debug*\"]" },
    { OPTION(tagpass), .type = CFG_LISTS, .help = "Keep points of which one tag named here has a value that matches.",
      .flags = CFG_EXPERT, .example = "{ site: [\"plant-*\"] }" },
    { OPTION(tagdrop), .type = CFG_LISTS, .help = "Drop points of which one tag named here has a value that matches.",
      .flags = CFG_EXPERT, .example = "{ device: [\"test*\"] }" },
    { OPTION(fieldinclude), .type = CFG_STRINGS, .help = "Keep only fields that match one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"temperature*\"]" },
    { OPTION(fieldexclude), .type = CFG_STRINGS, .help = "Remove fields that match one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"update_*\"]" },
    { OPTION(fieldpass), .type = CFG_STRINGS, .help = "Telegraf's older name of fieldinclude.", .flags = CFG_EXPERT },
    { OPTION(fielddrop), .type = CFG_STRINGS, .help = "Telegraf's older name of fieldexclude.", .flags = CFG_EXPERT },
    { OPTION(taginclude), .type = CFG_STRINGS, .help = "Keep only tags whose key matches one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"site\", \"device\"]" },
    { OPTION(tagexclude), .type = CFG_STRINGS, .help = "Remove tags whose key matches one of these globs.",
      .flags = CFG_EXPERT, .example = "[\"topic\"]" },
    { OPTION(name_override), .type = CFG_STRING, .help = "Measurement of every point, instead of its own.",
      .example = "climate" },
    { OPTION(name_prefix), .type = CFG_STRING, .help = "Put before the measurement.", .flags = CFG_EXPERT,
      .example = "plant_" },
    { OPTION(name_suffix), .type = CFG_STRING, .help = "Put behind the measurement.", .flags = CFG_EXPERT,
      .example = "_raw" },
    { OPTION(tags), .type = CFG_MAP, .help = "Tags added to every point that has none of the same key.",
      .example = "{ line: \"a\" }" },
    CFG_END,
};

size_t ingest_filter_size(void) {
    return sizeof(struct ingest_filter);
}

/* The globs that str_glob understands are all of Telegraf's; what is left unclosed is a slip of the pen. */
static bool glob_check(struct str pattern, struct err *err) {
    size_t braces = 0;

    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.data[i] == '\\') {
            if (++i == pattern.len)
                return err_set(err, ERR_SYNTAX, "glob '%.*s' ends in a backslash", STR_ARGS(pattern));
        } else if (pattern.data[i] == '[') {
            const char *close = memchr(pattern.data + i, ']', pattern.len - i);
            if (close == NULL)
                return err_set(err, ERR_SYNTAX, "glob '%.*s' has a [ without ]", STR_ARGS(pattern));
            i = (size_t)(close - pattern.data);
        } else if (pattern.data[i] == '{') {
            braces++;
        } else if (pattern.data[i] == '}' && braces > 0) {
            braces--;
        }
    }
    if (braces > 0)
        return err_set(err, ERR_SYNTAX, "glob '%.*s' has a { without }", STR_ARGS(pattern));
    return true;
}

static bool is_literal(struct str pattern) {
    for (size_t i = 0; i < pattern.len; i++)
        if (strchr("*?[]{}\\", pattern.data[i]) != NULL)
            return false;
    return true;
}

static bool globs_add(struct globs *globs, const struct cfg_strings *patterns, struct err *err) {
    struct glob *larger;

    if (patterns->count == 0)
        return true;
    larger = realloc(globs->items, (globs->count + patterns->count) * sizeof *larger);
    if (larger == NULL)
        return err_set(err, ERR_LIMIT, "out of memory");
    globs->items = larger;
    for (size_t i = 0; i < patterns->count; i++) {
        struct str pattern = str_of(patterns->items[i]);
        if (!glob_check(pattern, err))
            return false;
        globs->items[globs->count++] = (struct glob){ pattern, is_literal(pattern) };
    }
    return true;
}

static bool globs_match(const struct globs *globs, struct str text) {
    for (size_t i = 0; i < globs->count; i++) {
        const struct glob *glob = &globs->items[i];
        if (glob->literal ? str_eq(glob->pattern, text) : str_glob(glob->pattern, text))
            return true;
    }
    return false;
}

static bool tag_globs_make(const struct cfg_lists *lists, struct tag_globs **out, size_t *count, struct err *err) {
    if (lists->count == 0)
        return true;
    *out = calloc(lists->count, sizeof **out);
    if (*out == NULL)
        return err_set(err, ERR_LIMIT, "out of memory");
    *count = lists->count;
    for (size_t i = 0; i < lists->count; i++) {
        (*out)[i].key = str_of(lists->keys[i]);
        if (!globs_add(&(*out)[i].values, &lists->values[i], err))
            return false;
    }
    return true;
}

static void tag_globs_free(struct tag_globs *rules, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(rules[i].values.items);
    free(rules);
}

bool ingest_filter_init(struct ingest_filter *filter, struct err *err) {
    return globs_add(&filter->names_wanted, &filter->namepass, err) &&
           globs_add(&filter->names_unwanted, &filter->namedrop, err) &&
           globs_add(&filter->fields_wanted, &filter->fieldinclude, err) &&
           globs_add(&filter->fields_wanted, &filter->fieldpass, err) &&
           globs_add(&filter->fields_unwanted, &filter->fieldexclude, err) &&
           globs_add(&filter->fields_unwanted, &filter->fielddrop, err) &&
           globs_add(&filter->tags_wanted, &filter->taginclude, err) &&
           globs_add(&filter->tags_unwanted, &filter->tagexclude, err) &&
           tag_globs_make(&filter->tagpass, &filter->pass, &filter->pass_count, err) &&
           tag_globs_make(&filter->tagdrop, &filter->drop, &filter->drop_count, err);
}

void ingest_filter_fini(struct ingest_filter *filter) {
    free(filter->names_wanted.items);
    free(filter->names_unwanted.items);
    free(filter->fields_wanted.items);
    free(filter->fields_unwanted.items);
    free(filter->tags_wanted.items);
    free(filter->tags_unwanted.items);
    tag_globs_free(filter->pass, filter->pass_count);
    tag_globs_free(filter->drop, filter->drop_count);
    *filter = (struct ingest_filter){ 0 };
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

bool ingest_filter_is_empty(const struct ingest_filter *filter) {
    return filter->namepass.count + filter->namedrop.count + filter->fieldinclude.count + filter->fieldpass.count +
                   filter->fieldexclude.count + filter->fielddrop.count + filter->taginclude.count +
                   filter->tagexclude.count + filter->tagpass.count + filter->tagdrop.count + filter->tags.count ==
               0 &&
           !is_set(filter->name_override) && !is_set(filter->name_prefix) && !is_set(filter->name_suffix);
}

#define INHERIT(list)                                                                                                  \
    do {                                                                                                               \
        if (filter->list.count == 0)                                                                                   \
            filter->list = base->list;                                                                                 \
    } while (0)

void ingest_filter_inherit(struct ingest_filter *filter, const struct ingest_filter *base) {
    if (filter->fieldinclude.count == 0 && filter->fieldpass.count == 0) {
        filter->fieldinclude = base->fieldinclude;
        filter->fieldpass = base->fieldpass;
    }
    if (filter->fieldexclude.count == 0 && filter->fielddrop.count == 0) {
        filter->fieldexclude = base->fieldexclude;
        filter->fielddrop = base->fielddrop;
    }
    INHERIT(namepass);
    INHERIT(namedrop);
    INHERIT(taginclude);
    INHERIT(tagexclude);
    INHERIT(tagpass);
    INHERIT(tagdrop);
    if (filter->name_override == NULL)
        filter->name_override = base->name_override;
    if (filter->name_prefix == NULL)
        filter->name_prefix = base->name_prefix;
    if (filter->name_suffix == NULL)
        filter->name_suffix = base->name_suffix;
}

/* True when one rule names a tag of the point and matches its value. */
static bool tags_match(const struct tag_globs *rules, size_t rule_count, const struct tag *tags, size_t count) {
    for (size_t r = 0; r < rule_count; r++)
        for (size_t t = 0; t < count; t++)
            if (str_eq(rules[r].key, tags[t].key) && globs_match(&rules[r].values, tags[t].value))
                return true;
    return false;
}

static bool passes(const struct globs *wanted, const struct globs *unwanted, struct str text) {
    return (wanted->count == 0 || globs_match(wanted, text)) && (unwanted->count == 0 || !globs_match(unwanted, text));
}

bool filter_selects(const struct ingest_filter *filter, struct str measurement, const struct tag *tags, size_t count) {
    if (!passes(&filter->names_wanted, &filter->names_unwanted, measurement))
        return false;
    if (filter->pass_count > 0 && !tags_match(filter->pass, filter->pass_count, tags, count))
        return false;
    return filter->drop_count == 0 || !tags_match(filter->drop, filter->drop_count, tags, count);
}

bool filter_has_field_rules(const struct ingest_filter *filter) {
    return filter->fields_wanted.count + filter->fields_unwanted.count > 0;
}

bool filter_keeps_field(const struct ingest_filter *filter, struct str key) {
    return passes(&filter->fields_wanted, &filter->fields_unwanted, key);
}

bool filter_keeps_tag(const struct ingest_filter *filter, struct str key) {
    return passes(&filter->tags_wanted, &filter->tags_unwanted, key);
}

struct str filter_rename(const struct ingest_filter *filter, struct str measurement, struct arena *arena) {
    struct str name = is_set(filter->name_override) ? str_of(filter->name_override) : measurement;
    struct str prefix = is_set(filter->name_prefix) ? str_of(filter->name_prefix) : STR_EMPTY;
    struct str suffix = is_set(filter->name_suffix) ? str_of(filter->name_suffix) : STR_EMPTY;
    char *joined;

    if (prefix.len + suffix.len == 0)
        return name;
    joined = arena_alloc(arena, prefix.len + name.len + suffix.len);
    if (joined == NULL)
        return (struct str){ NULL, 0 };
    memcpy(joined, prefix.data, prefix.len);
    memcpy(joined + prefix.len, name.data, name.len);
    memcpy(joined + prefix.len + name.len, suffix.data, suffix.len);
    return str_make(joined, prefix.len + name.len + suffix.len);
}
