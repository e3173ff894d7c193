/* agent/ingest/filter.h: the inside of struct ingest_filter, for ingest's own files. Telegraf's selectors and
 * modifiers. */
#ifndef HELIOGRAF_INGEST_FILTER_H
#define HELIOGRAF_INGEST_FILTER_H

#include "agent/base/points.h"
#include "agent/ingest/ingest.h"

struct glob {
    struct str pattern;
    bool literal; /* no wildcard in it */
};

struct globs {
    struct glob *items;
    size_t count;
};

struct tag_globs {
    struct str key;
    struct globs values;
};

struct ingest_filter {
    /* Filled by cfg_read. */
    struct cfg_strings namepass, namedrop, fieldinclude, fieldpass, fieldexclude, fielddrop, taginclude, tagexclude;
    struct cfg_lists tagpass, tagdrop;
    char *name_override, *name_prefix, *name_suffix; /* NULL or empty: none */
    struct cfg_map tags;
    /* Made by ingest_filter_init. */
    struct globs names_wanted, names_unwanted, fields_wanted, fields_unwanted, tags_wanted, tags_unwanted;
    struct tag_globs *pass, *drop;
    size_t pass_count, drop_count;
};

/* Options that `filter` does not set are taken from `base` (tags apart): a route beside its input. Before init. */
void ingest_filter_inherit(struct ingest_filter *filter, const struct ingest_filter *base);

/* namepass, namedrop, tagpass, tagdrop: is this point wanted at all? */
bool filter_selects(const struct ingest_filter *filter, struct str measurement, const struct tag *tags, size_t count);

bool filter_has_field_rules(const struct ingest_filter *filter);
bool filter_keeps_field(const struct ingest_filter *filter, struct str key);
bool filter_keeps_tag(const struct ingest_filter *filter, struct str key);

/* The name after override, prefix and suffix, in the arena when it is a new one; data == NULL when that is full. */
struct str filter_rename(const struct ingest_filter *filter, struct str measurement, struct arena *arena);

#endif
