/*
 * config/schema.h: option tables. A module describes its options as an array of cfg_field, ended by a row without a
 * key; one table checks the YAML, fills a struct with values and defaults, and prints help and the sample
 * configuration.
 */
#ifndef HELIOGRAF_CONFIG_SCHEMA_H
#define HELIOGRAF_CONFIG_SCHEMA_H

#include <stdint.h>

#include "agent/base/arena.h"
#include "agent/base/buf.h"
#include "config/diag.h"

struct yaml_node;

enum cfg_type {
    CFG_BOOL,     /* bool: true/false, yes/no, on/off */
    CFG_INTEGER,  /* int64_t: with min and max when max > min */
    CFG_DOUBLE,   /* double */
    CFG_DURATION, /* int64_t, nanoseconds: `10s`, `1m30s`, `7d`, `250ms`, `0`; units ns us ms s m h d w; a bare number
                     is seconds */
    CFG_SIZE,     /* uint64_t, bytes: `1MiB`, `64KB`, `512`; KiB MiB GiB TiB = 1024^n, KB MB GB TB = 1000^n */
    CFG_STRING,   /* char *: NUL-terminated, never NULL once read unless the default is NULL */
    CFG_SECRET,   /* char *: as CFG_STRING, never printed; the key with "_file" added reads it from a file. A CFG_STRING
                     row of that name gets the path as well, for reading it again later */
    CFG_ENUM,     /* int: index into `names` */
    CFG_STRINGS,  /* struct cfg_strings: a list of scalars, or one scalar */
    CFG_MAP,      /* struct cfg_map: free keys to scalars, e.g. tags, http_headers */
    CFG_LISTS,    /* struct cfg_lists: free keys to lists of scalars, e.g. tagpass */
    CFG_OBJECT,   /* a struct at `offset`, described by `fields` */
    CFG_OBJECTS,  /* struct cfg_objects: a list of structs of `size` bytes each, described by `fields` */
    CFG_NODE,     /* const struct yaml_node *: taken as it is; its reader checks it */
};

enum cfg_flags {
    CFG_REQUIRED = 1, /* must be given */
    CFG_EXPERT = 2,   /* left out of the short sample */
    CFG_IGNORED = 4,  /* known from Telegraf, accepted, has no effect here: a warning with `help` as its reason */
    CFG_SWITCH = 8,   /* CFG_OBJECT: `true` or `false` in its place is its option `enabled` */
};

struct cfg_strings {
    char **items;
    struct src_pos *at;
    size_t count;
};
struct cfg_map {
    char **keys, **values;
    struct src_pos *at;
    size_t count;
};
struct cfg_lists {
    char **keys;
    struct cfg_strings *values;
    size_t count;
};
struct cfg_objects {
    void *items;
    struct src_pos *at;
    size_t count;
};

struct cfg_field {
    const char *key;
    enum cfg_type type;
    size_t offset;                  /* in the struct that is filled, offsetof(...) */
    const char *fallback;           /* the default as one would write it in YAML, NULL: zero, empty, NULL */
    const char *help;               /* one sentence, for the sample and the documentation; units and range included */
    unsigned flags;                 /* enum cfg_flags */
    const char *const *names;       /* CFG_ENUM: NULL-ended */
    const struct cfg_field *fields; /* CFG_OBJECT, CFG_OBJECTS */
    size_t size;                    /* CFG_OBJECTS: of one struct */
    int64_t min, max;               /* CFG_INTEGER, CFG_DURATION (ns), CFG_SIZE; checked when max > min */
    const char *example;            /* for the sample, when there is no default; as one would write it in YAML */
};

#define CFG_END                                                                                                        \
    { .key = NULL }

/* One struct to fill. One YAML map may fill several: an input's own options, its filters, its parser's options. */
struct cfg_binding {
    const struct cfg_field *fields;
    void *object; /* zeroed by the caller */
};

/*
 * Checks every key of `map` against all bindings, fills in values and defaults (defaults also when `map` is NULL), and
 * reports unknown keys with the nearest known name, wrong types, values out of range, and missing required ones. `what`
 * names the thing in messages: "input mqtt_consumer". Values live in `arena`. True when nothing was wrong here; if not,
 * options without a default may be unset even where they are required.
 */
bool cfg_read(const struct yaml_node *map, const char *what, const struct cfg_binding *bindings, size_t count,
              struct arena *arena, struct diags *diags);

/* A table that does not apply here, for whoever writes one of its options all the same. */
struct cfg_elsewhere {
    const struct cfg_field *fields;  /* NULL: none */
    const char *where, *name;        /* "data_format", "json": "it belongs to data_format json"; `name` may be NULL */
};

/* As cfg_read; an unknown key that stands in one of these tables is told where it belongs. */
bool cfg_read_beside(const struct yaml_node *map, const char *what, const struct cfg_binding *bindings, size_t count,
                     const struct cfg_elsewhere *elsewhere, size_t elsewhere_count, struct arena *arena, struct diags *diags);

/* Where the value of `key` stands in `map`, or the map itself; for complaints after cfg_read. */
struct src_pos cfg_at(const struct yaml_node *map, const char *key);

/*
 * Commented YAML of a table for the sample configuration, `indent` spaces deep. Help stands behind `##`, options that
 * can stay as they are behind `#`, so that taking one `# ` away does what the line says; required ones are real lines.
 * What is printed passes cfg_read of the same table, as it is and with all `# ` taken away. The short form leaves
 * CFG_EXPERT out.
 */
void cfg_sample(const struct cfg_field *fields, unsigned indent, struct buf *out);
void cfg_sample_short(const struct cfg_field *fields, unsigned indent, struct buf *out);

/* The nearest of `count` names within a third of its length of edits, or NULL. Case and `-` for `_` cost nothing. */
const char *cfg_nearest(const char *name, const char *const *names, size_t count);

/* Single values, also for command-line flags. */
bool cfg_parse_duration(struct str text, int64_t *out_ns);
bool cfg_parse_size(struct str text, uint64_t *out_bytes);
bool cfg_parse_bool(struct str text, bool *out);

#endif
