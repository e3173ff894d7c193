/*
 * agent/ingest/line_names.h: names of line protocol: repairing them, escaping them, and hashing them. Between the
 * encoder's files only.
 */
#ifndef HELIOGRAF_INGEST_LINE_NAMES_H
#define HELIOGRAF_INGEST_LINE_NAMES_H

#include "agent/base/arena.h"
#include "agent/ingest/text_words.h"

enum name_kind { NAME_MEASUREMENT, NAME_TAG_KEY, NAME_TAG_VALUE, NAME_FIELD_KEY };

/* `time` and the names that Flux keeps for itself, as a tag's or field's key. */
bool name_is_reserved(struct str name);

/* True when the name can be written with escapes alone. */
bool name_is_sound(struct str name, enum name_kind kind);

/*
 * A name that name_is_sound accepts, borrowed when it already is, otherwise from the arena; data == NULL when the arena
 * is full. `*changed` grows by one when something was replaced. The name is valid UTF-8.
 */
struct str name_repair(struct str name, enum name_kind kind, struct arena *arena, uint64_t *changed);

/* Writes a sound name with its escapes; at most twice its length. Returns the end. */
char *name_write(char *out, struct str name, enum name_kind kind);

/*
 * Copies a name up to its end (`name.len` bytes, never more), gathers its hash and tells whether any byte is special; a
 * copy with a special byte is to be thrown away.
 */
static inline uint64_t name_copy(char *out, struct str name, uint64_t *hash) {
    uint64_t special = 0, mixed = name.len, word;
    size_t at = 0;

    if (name.len < sizeof word) {
        if (name.len > 0) {
            word = word_load_short(name.data, name.len);
            special = word_name_special(word);
            mixed = word_mix(mixed, word);
            copy_short(out, name.data, name.len);
        }
        *hash = mixed;
        return special;
    }
    for (; at + sizeof word < name.len; at += sizeof word) {
        word = word_load(name.data + at);
        special |= word_name_special(word);
        mixed = word_mix(mixed, word);
        memcpy(out + at, &word, sizeof word);
    }
    word = word_load(name.data + name.len - sizeof word);
    special |= word_name_special(word);
    memcpy(out + name.len - sizeof word, &word, sizeof word);
    *hash = word_mix(mixed, word);
    return special;
}

static inline uint64_t name_hash(struct str name) {
    uint64_t mixed = name.len;
    size_t at = 0;

    if (name.len < sizeof mixed)
        return name.len > 0 ? word_mix(mixed, word_load_short(name.data, name.len)) : mixed;
    for (; at + sizeof mixed < name.len; at += sizeof mixed)
        mixed = word_mix(mixed, word_load(name.data + at));
    return word_mix(mixed, word_load(name.data + name.len - sizeof mixed));
}

/* The bit of a tag key in line_prefix.tag_bits. */
static inline uint64_t name_bit(uint64_t hash) {
    return 1ULL << (hash >> 58); /* the top bits hang on every byte */
}

#endif
