/*
 * parsers/json_paths.h: what the json parser has learned about the shape of its messages. Each place in a document (`a.b[2]`)
 * is one json_path that holds the finished field key `a_b_2` and what the options want of it, so that globs, joining and
 * unescaping happen once per shape and not once per message. A path remembers which path came next in the document; as
 * devices send the same shape again and again, a key is nearly always recognised by comparing it with the guess.
 *
 * Paths live until json_paths_trim or json_paths_release; one owner, one thread. Payloads cannot make it grow for ever.
 */
#ifndef HELIOGRAF_PARSERS_JSON_PATHS_H
#define HELIOGRAF_PARSERS_JSON_PATHS_H

#include "agent/base/arena.h"
#include "config/schema.h"
#include "parsers/json_reader.h"

enum json_path_flags {
    JSON_PATH_STRING = 1,   /* a string here becomes a field */
    JSON_PATH_BOOLEAN = 2,  /* a boolean here becomes a field */
    JSON_PATH_TAG = 4,      /* whatever is here becomes a tag */
    JSON_PATH_NAME = 8,     /* a string here names the measurement */
    JSON_PATH_TIME = 16,    /* the point's time stands here */
    JSON_PATH_NUMBER = 32,  /* numbers are not simply taken verbatim */
    JSON_PATH_TWIN = 64,    /* another path makes the same key: {"a_b":1,"a":{"b":2}} */
    JSON_PATH_NO_KEY = 128, /* the key is empty: nothing can be stored here */
};

/* What the options say about paths; everything is borrowed. */
struct json_rules {
    const struct cfg_strings *tag_keys, *string_fields; /* globs on the flattened key */
    const char *name_key, *time_key;                    /* empty: none */
    bool all_strings, all_booleans, careful_numbers;
};

enum { JSON_NO_INDEX = UINT32_MAX };

struct json_path {
    uint64_t head, head_mask;  /* first bytes of `raw` and how many of them count */
    struct json_path *parent;  /* NULL: the root */
    struct json_path *next;    /* came next in the document the last time; never NULL */
    struct str key;            /* flattened, unescaped, UTF-8; its data stands right behind the struct */
    uint64_t seen;             /* stamp of the point in which a member was met last: finds duplicate keys */
    uint32_t raw_len;          /* length of `raw`; 0: an array's element */
    uint32_t index;            /* in its array, or JSON_NO_INDEX */
    uint16_t flags;            /* enum json_path_flags */
    uint16_t depth;            /* containers around it */
    /* Only when something is odd: */
    const char *raw;           /* the key as written, with its closing quote, zeros up to a multiple of 8 */
    struct json_path *chain;   /* next in the bucket */
    struct json_path *twin;    /* the first path with the same key: itself when there is no other */
    uint64_t twin_stamp;       /* on the first twin: point in which one of them has the key */
    uint64_t void_stamp;       /* point in which a later duplicate replaced what was under this path, ... */
    size_t void_fields, void_tags; /* ... and how many fields and tags there were then */
};

struct json_paths {
    struct arena arena;
    const struct json_rules *rules;
    struct json_path *root, **buckets; /* two tables of bucket_count: by place, and by key for twins */
    size_t count, bucket_count;
    uint64_t seed;
};

/* `rules` is borrowed. False without memory. */
bool json_paths_init(struct json_paths *paths, const struct json_rules *rules);
void json_paths_release(struct json_paths *paths); /* safe on a zeroed one */

/* Forgets everything when it has grown large; false without memory. Keys handed out before are gone then. */
bool json_paths_trim(struct json_paths *paths);

/*
 * The path of the member of `parent` whose key, as written, is `raw` (with its closing quote); learned when it is new. NULL with
 * `text->err` set: not UTF-8, too long, too many.
 */
struct json_path *json_paths_member(struct json_paths *paths, const struct json_text *text, struct json_path *parent,
                                    const struct json_string *key);
struct json_path *json_paths_element(struct json_paths *paths, const struct json_text *text, struct json_path *parent,
                                     uint32_t index);

/* True when the path's key and its closing double quote stand at `at`, behind an opening one. */
static inline bool json_path_stands_at(const struct json_path *path, const char *at, const char *end) {
    size_t len = path->raw_len, i;

    if ((swar_load(at) & path->head_mask) != path->head)
        return false;
    if (len <= 8)
        return true;
    if ((size_t)(end - at) < len) /* also keeps keys with zero bytes (lenient) from matching what lies behind the text */
        return false;
    for (i = 8; i + 8 < len; i += 8)
        if (swar_load(at + i) != swar_load(path->raw + i))
            return false;
    return swar_load(at + len - 8) == swar_load(path->raw + len - 8);
}

/* The path whose key this is; only for keys handed out by json_paths. */
static inline struct json_path *json_path_of_key(struct str key) {
    return (struct json_path *)(void *)(key.data - sizeof(struct json_path));
}

#endif
