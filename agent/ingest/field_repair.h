/*
 * agent/ingest/field_repair.h: the encoder's second way, for lines whose keys need more than escapes; and what it
 * shares with the first. Between the encoder's files only.
 */
#ifndef HELIOGRAF_INGEST_FIELD_REPAIR_H
#define HELIOGRAF_INGEST_FIELD_REPAIR_H

#include "agent/ingest/line_encoder.h"
#include "agent/ingest/line_names.h"

enum { FIELD_OVERHEAD = NUMBER_TEXT_MAX + 48 }; /* beside its texts, with room for the stamp */

/* What a field can take at most, or why it is left out whatever its key. */
static inline bool field_room(const struct field *field, size_t *room, enum line_omission *why) {
    size_t text = 0;

    if (field->value.type == VALUE_STRING || field->value.type == VALUE_NUMBER) {
        text = field->value.as.text.len;
        if (text > (field->value.type == VALUE_STRING ? LINE_STRING_MAX : LINE_NUMBER_MAX)) {
            *why = OMIT_TOO_LONG;
            return false;
        }
    }
    if (field->key.len == 0 || field->key.len > LINE_NAME_MAX) {
        *why = field->key.len == 0 ? OMIT_NO_KEY : OMIT_TOO_LONG;
        return false;
    }
    *room = field->key.len * 2 + text * 3 + FIELD_OVERHEAD;
    return true;
}

/* True when `key` is the name of a tag of that line. */
static inline bool line_prefix_has_tag(const struct line_prefix *prefix, struct str key, uint64_t hash) {
    if ((prefix->tag_bits & name_bit(hash)) == 0)
        return false;
    for (size_t i = 0; i < prefix->tag_count; i++)
        if (str_eq(prefix->tag_keys[i], key))
            return true;
    return false;
}

/* What was done, to be counted when the line is done. */
struct field_repair {
    const struct line_prefix *prefix;
    struct arena *scratch;
    uint64_t renamed, omitted[OMIT_COUNT];
};

/*
 * A copy of the fields with sound and unique keys, none of them a tag's; those without a usable key or value are left
 * out. O(n log n), whatever the keys. NULL when the arena is full.
 */
struct field *field_repair_all(struct field_repair *repair, const struct field *fields, size_t *count);

#endif
