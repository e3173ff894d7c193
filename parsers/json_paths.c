/* parsers/json_paths.c: see json_paths.h. One hash table holds the paths by place; a second one, the first twins by key. */
#include "parsers/json_paths.h"

#include <stdlib.h>

enum {
    KEY_MAX = 65535,            /* InfluxDB refuses a longer series key */
    KEEP_PATHS = 8192,          /* more than this is forgotten between messages */
    KEEP_BYTES = 2 << 20,       /* the same, for the memory */
    MEMORY_MAX = 64 << 20,      /* one message's paths */
    FIRST_BUCKETS = 64,
};

/*
 * Two tables side by side: buckets[0..n) chains paths by (parent, raw or index) through `chain`; buckets[n..2n) is open-addressed
 * and holds the first path of each key.
 */
static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
    return hash ^ hash >> 29;
}

static uint64_t hash_text(uint64_t seed, struct str text) {
    uint64_t hash = mix(seed, text.len);
    uint64_t word;

    for (; text.len >= sizeof word; text.data += sizeof word, text.len -= sizeof word) {
        memcpy(&word, text.data, sizeof word);
        hash = mix(hash, word);
    }
    if (text.len > 0) {
        word = 0;
        memcpy(&word, text.data, text.len);
        hash = mix(hash, word);
    }
    return mix(hash, seed);
}

static uint64_t hash_place(const struct json_paths *paths, const struct json_path *parent, struct str raw, uint32_t index) {
    uint64_t hash = mix(paths->seed, (uint64_t)(uintptr_t)parent);

    return hash_text(mix(hash, index), raw);
}

static struct json_path **place_bucket(const struct json_paths *paths, uint64_t hash) {
    return &paths->buckets[hash & (paths->bucket_count - 1)];
}

static struct json_path **key_slot(const struct json_paths *paths, struct str key) {
    struct json_path **slots = paths->buckets + paths->bucket_count;
    uint64_t at = hash_text(paths->seed, key);

    for (;; at++) {
        struct json_path **slot = &slots[at & (paths->bucket_count - 1)];
        if (*slot == NULL || str_eq((*slot)->key, key))
            return slot;
    }
}

/* Room for twice as many; the paths stay where they are. */
static bool grow(struct json_paths *paths) {
    size_t old_count = paths->bucket_count, count = old_count > 0 ? old_count * 2 : FIRST_BUCKETS;
    struct json_path **old = paths->buckets, **larger = calloc(count * 2, sizeof *larger);

    if (larger == NULL)
        return false;
    paths->buckets = larger;
    paths->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        for (struct json_path *path = old[i], *rest; path != NULL; path = rest) {
            struct str raw = { path->raw, path->raw_len };
            struct json_path **bucket = place_bucket(paths, hash_place(paths, path->parent, raw, path->index));
            rest = path->chain;
            path->chain = *bucket;
            *bucket = path;
        }
    for (size_t i = old_count; i < old_count * 2; i++)
        if (old[i] != NULL)
            *key_slot(paths, old[i]->key) = old[i];
    free(old);
    return true;
}

static bool start(struct json_paths *paths) {
    arena_init(&paths->arena, MEMORY_MAX);
    paths->count = 0;
    paths->bucket_count = 0;
    paths->buckets = NULL;
    paths->root = arena_zalloc(&paths->arena, sizeof *paths->root);
    if (paths->root == NULL || !grow(paths))
        return false;
    paths->root->index = JSON_NO_INDEX;
    paths->root->next = paths->root;
    paths->root->twin = paths->root;
    paths->root->key = STR_EMPTY;
    return true;
}

bool json_paths_init(struct json_paths *paths, const struct json_rules *rules) {
    paths->rules = rules;
    /* Not a secret of weight: it only keeps a payload from being written to collide in every installation. */
    paths->seed = (uint64_t)(uintptr_t)paths * 0xD6E8FEB86659FD93ULL;
    return start(paths);
}

void json_paths_release(struct json_paths *paths) {
    arena_release(&paths->arena);
    free(paths->buckets);
    paths->buckets = NULL;
    paths->root = NULL;
}

bool json_paths_trim(struct json_paths *paths) {
    if (paths->root != NULL && paths->count <= KEEP_PATHS && paths->arena.total <= KEEP_BYTES)
        return true;
    json_paths_release(paths);
    return start(paths);
}

static bool any_glob(const struct cfg_strings *globs, struct str key) {
    for (size_t i = 0; i < globs->count; i++)
        if (str_glob(str_of(globs->items[i]), key))
            return true;
    return false;
}

static uint16_t flags_of(const struct json_rules *rules, struct str key) {
    unsigned flags = rules->careful_numbers ? JSON_PATH_NUMBER : 0;
    bool listed = any_glob(rules->string_fields, key);

    if (key.len == 0)
        flags |= JSON_PATH_NO_KEY | JSON_PATH_NUMBER;
    if (rules->all_strings || listed)
        flags |= JSON_PATH_STRING;
    if (rules->all_booleans || listed)
        flags |= JSON_PATH_BOOLEAN;
    if (any_glob(rules->tag_keys, key))
        flags |= JSON_PATH_TAG | JSON_PATH_NUMBER;
    if (rules->name_key[0] != '\0' && str_eq_c(key, rules->name_key))
        flags |= JSON_PATH_NAME;
    if (rules->time_key[0] != '\0' && str_eq_c(key, rules->time_key))
        flags |= JSON_PATH_TIME | JSON_PATH_NUMBER;
    return (uint16_t)flags;
}

static void find_twin(struct json_paths *paths, struct json_path *path) {
    struct json_path **slot = key_slot(paths, path->key);

    if (*slot == NULL) {
        *slot = path;
        path->twin = path;
        return;
    }
    path->twin = *slot;
    path->flags |= JSON_PATH_TWIN | JSON_PATH_NUMBER;
    path->twin->flags |= JSON_PATH_TWIN | JSON_PATH_NUMBER;
}

/* A path with the key `parent_name`; `raw` is empty for an array's element. */
static struct json_path *learn(struct json_paths *paths, const struct json_text *text, struct json_path *parent,
                               struct str name, struct str raw, uint32_t index, uint64_t hash) {
    size_t joint = parent->key.len > 0, key_len = parent->key.len + joint + name.len;
    size_t key_room = key_len + 1 + (0 - (key_len + 1)) % 8;
    struct json_path *path, **bucket;
    bool quoted;
    char *at;

    if (key_len > KEY_MAX)
        return err_set(text->err, ERR_LIMIT, "a key is longer than %d bytes", KEY_MAX), NULL;
    if (paths->count + 1 > paths->bucket_count / 2 && !grow(paths))
        return err_set(text->err, ERR_LIMIT, "no memory for more keys"), NULL;
    path = arena_zalloc(&paths->arena, sizeof *path + key_room + raw.len + 16);
    if (path == NULL)
        return err_set(text->err, ERR_LIMIT, "too many different keys in one message"), NULL;
    at = (char *)(path + 1);
    path->key = (struct str){ at, key_len };
    memcpy(at, parent->key.data, parent->key.len);
    if (joint)
        at[parent->key.len] = '_';
    memcpy(at + parent->key.len + joint, name.data, name.len);
    path->raw = at + key_room;
    path->raw_len = (uint32_t)raw.len;
    if (raw.len > 0)
        memcpy(at + key_room, raw.data, raw.len);
    /* Elements, and keys in single quotes, never stand behind a double quote: 1 under the mask 0 is equal to nothing. */
    quoted = raw.len > 0 && raw.data[raw.len - 1] == '"';
    path->head_mask = !quoted ? 0 : raw.len >= 8 ? UINT64_MAX : (1ULL << 8 * raw.len) - 1;
    path->head = quoted ? swar_load(path->raw) & path->head_mask : 1;
    path->parent = parent;
    path->next = paths->root;
    path->index = index;
    path->depth = (uint16_t)(parent->depth + 1);
    path->flags = flags_of(paths->rules, path->key);
    find_twin(paths, path);
    bucket = place_bucket(paths, hash);
    path->chain = *bucket;
    *bucket = path;
    paths->count++;
    return path;
}

struct json_path *json_paths_member(struct json_paths *paths, const struct json_text *text, struct json_path *parent,
                                    const struct json_string *key) {
    struct str raw = { key->raw.data, key->raw.len + 1 }, name;
    uint64_t hash = hash_place(paths, parent, raw, JSON_NO_INDEX);

    for (struct json_path *path = *place_bucket(paths, hash); path != NULL; path = path->chain)
        if (path->parent == parent && str_eq((struct str){ path->raw, path->raw_len }, raw))
            return path;
    /* Escapes are resolved in place, so what is to be recognised later is kept first. */
    if (key->escaped && (raw = arena_copy(&paths->arena, raw)).data == NULL)
        return err_set(text->err, ERR_LIMIT, "too many different keys in one message"), NULL;
    if (!json_unescape(text, key, &name))
        return NULL;
    return learn(paths, text, parent, name, raw, JSON_NO_INDEX, hash);
}

struct json_path *json_paths_element(struct json_paths *paths, const struct json_text *text, struct json_path *parent,
                                     uint32_t index) {
    uint64_t hash = hash_place(paths, parent, STR_EMPTY, index);
    char digits[12];
    size_t len = 0;

    for (struct json_path *path = *place_bucket(paths, hash); path != NULL; path = path->chain)
        if (path->parent == parent && path->index == index && path->raw_len == 0)
            return path;
    for (uint32_t rest = index; len == 0 || rest > 0; rest /= 10)
        digits[sizeof digits - ++len] = (char)('0' + rest % 10);
    return learn(paths, text, parent, (struct str){ digits + sizeof digits - len, len }, STR_EMPTY, index, hash);
}
