/*
 * agent/ingest/line_encoder.c: fields into lines. A line is first written as if every key were fine, which costs one
 * pass over the bytes. A key that needs more than escapes (a control byte, a reserved name, a tag's name, a name seen
 * before) stops that; then the keys are repaired and made unique in a sorted copy, and the line is written again.
 */
#include "agent/ingest/line_encoder.h"

#include <math.h>

#include "agent/ingest/count.h"
#include "agent/ingest/field_repair.h"
#include "agent/ingest/line_names.h"

enum { PROBES_MAX = 32 };

/* The line in work. Counts are kept here until it is done, because a line may be started twice. */
struct line {
    struct line_encoder *encoder;
    const struct line_prefix *prefix;
    struct buf *out;
    struct err *err;
    const struct key_memo *memo; /* NULL: keys are checked */
    bool sound;                  /* keys are repaired: sound, unique, none of them a tag's */
    bool plain;                  /* every key so far was looked at, and none needed an escape */
    size_t begin;                /* in `out` */
    uint64_t omitted[OMIT_COUNT], renamed, clipped;
};

enum step { STEP_WRITTEN, STEP_OMITTED, STEP_AGAIN, STEP_REFUSED };

const char *line_omission_name(enum line_omission omission) {
    static const char *const names[] = { "not_finite", "bad_number", "too_long", "no_key", "duplicate" };

    return omission < OMIT_COUNT ? names[omission] : "unknown";
}

void line_encoder_init(struct line_encoder *encoder, bool influx_uint, struct line_counters *counters) {
    *encoder = (struct line_encoder){ .influx_uint = influx_uint, .counters = counters };
}

/* The bytes of a string behind a backslash, or 0 for a byte that stands for itself. */
static char string_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\0':
        return '0';
    default:
        return 0;
    }
}

/* At most three bytes for each: a line feed becomes `\\n`, an escaped backslash and an n. */
static char *write_string_slowly(char *out, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char escape = string_escape(text.data[i]);
        if (escape != 0) {
            *out++ = '\\';
            if (escape != text.data[i])
                *out++ = '\\';
            *out++ = escape;
        } else {
            *out++ = text.data[i];
        }
    }
    return out;
}

/* Copies a string and tells whether a byte of it is special; then the copy is to be thrown away. */
static inline uint64_t string_copy(char *out, struct str text) {
    uint64_t special = 0, word;
    size_t at = 0;

    if (text.len < sizeof word) {
        if (text.len == 0)
            return 0;
        copy_short(out, text.data, text.len);
        return word_string_special(word_load_short(text.data, text.len));
    }
    for (; at + sizeof word < text.len; at += sizeof word) {
        word = word_load(text.data + at);
        special |= word_string_special(word);
        memcpy(out + at, &word, sizeof word);
    }
    word = word_load(text.data + text.len - sizeof word);
    memcpy(out + text.len - sizeof word, &word, sizeof word);
    return special | word_string_special(word);
}

static enum step write_string(struct line *line, struct str text, char **at) {
    char *out = *at;

    *out++ = '"';
    if (string_copy(out, text) == 0) {
        out += text.len;
    } else {
        if (!str_is_utf8(text)) {
            err_set(line->err, ERR_SYNTAX, "a string value is not UTF-8");
            return STEP_REFUSED;
        }
        out = write_string_slowly(out, text);
    }
    *out++ = '"';
    *at = out;
    return STEP_WRITTEN;
}

static enum step omit(struct line *line, enum line_omission why) {
    line->omitted[why]++;
    return STEP_OMITTED;
}

static inline enum step write_number_text(struct line *line, struct str text, char **at) {
    if (!number_text_copy(*at, text))
        return omit(line, OMIT_BAD_NUMBER);
    *at += text.len;
    return STEP_WRITTEN;
}

static enum step write_unsigned(struct line *line, uint64_t value, char **at) {
    char suffix = 'i';

    if (line->encoder->influx_uint) {
        suffix = 'u';
    } else if (value > INT64_MAX) {
        value = INT64_MAX;
        line->clipped++;
    }
    *at = number_write_unsigned(*at, value);
    *(*at)++ = suffix;
    return STEP_WRITTEN;
}

static enum step write_value(struct line *line, const struct value *value, char **at) {
    switch (value->type) {
    case VALUE_NUMBER:
        return write_number_text(line, value->as.text, at);
    case VALUE_FLOAT:
        if (!isfinite(value->as.f))
            return omit(line, OMIT_NOT_FINITE);
        *at = number_write_float(*at, value->as.f);
        return STEP_WRITTEN;
    case VALUE_INTEGER:
        *at = number_write_integer(*at, value->as.i);
        *(*at)++ = 'i';
        return STEP_WRITTEN;
    case VALUE_UNSIGNED:
        return write_unsigned(line, value->as.u, at);
    case VALUE_BOOLEAN:
        memcpy(*at, value->as.b ? "true" : "false", 5);
        *at += value->as.b ? 4 : 5;
        return STEP_WRITTEN;
    case VALUE_STRING:
        return write_string(line, value->as.text, at);
    }
    return omit(line, OMIT_BAD_NUMBER);
}

/*
 * Enters the key of field `index` among those of this line. False when it is there already, or when so many others are
 * in its way that somebody may have chosen them: then the sorted way decides, whose time has a bound.
 */
static inline bool enter_key(uint32_t *slots, uint32_t mask, const struct field *fields, uint32_t index,
                             uint64_t hash) {
    uint32_t slot = (uint32_t)(hash >> (64 - LINE_KEY_BITS)) & mask; /* the top bits hang on every byte */

    for (unsigned probes = 0; probes < PROBES_MAX; probes++, slot = (slot + 1) & mask) {
        if (slots[slot] == 0) {
            slots[slot] = index + 1;
            return true;
        }
        if (str_eq(fields[slots[slot] - 1].key, fields[index].key))
            return false;
    }
    return false;
}

/* A power of two, at least twice the fields. */
static uint32_t slots_for(struct line_encoder *encoder, size_t count) {
    uint32_t slots = 16;

    while (slots < count * 2)
        slots *= 2;
    memset(encoder->slots, 0, slots * sizeof encoder->slots[0]);
    return slots;
}

/* The key with its escapes. STEP_AGAIN: it needs more than those, or is there already, or is a tag's. */
static inline enum step write_checked_key(struct line *line, const struct field *fields, size_t i, uint32_t mask,
                                          char **at) {
    struct str key = fields[i].key;
    uint64_t hash, special = name_copy(*at, key, &hash);

    if (!line->sound) {
        if ((special != 0 && !name_is_sound(key, NAME_FIELD_KEY)) || name_is_reserved(key) ||
            line_prefix_has_tag(line->prefix, key, hash) ||
            (mask != 0 && !enter_key(line->encoder->slots, mask, fields, (uint32_t)i, hash)))
            return STEP_AGAIN;
    }
    if (special == 0) {
        *at += key.len;
    } else if (str_is_utf8(key)) {
        *at = name_write(*at, key, NAME_FIELD_KEY);
        line->plain = false;
    } else {
        err_set(line->err, ERR_SYNTAX, "a field's name is not UTF-8");
        return STEP_REFUSED;
    }
    *(*at)++ = '=';
    return STEP_WRITTEN;
}

/* Beside enum line_end, between the functions here. */
#define LINE_AGAIN ((enum line_end)(LINE_REFUSED + 1))

static enum line_end no_room(struct line *line) {
    line->out->len = line->begin;
    err_set(line->err, ERR_LIMIT, "the message makes more than %zu bytes of line protocol", line->out->max);
    return LINE_REFUSED;
}

static enum line_end finish(struct line *line, char *at, bool any, int64_t time_ns) {
    struct line_counters *counters = line->encoder->counters;

    for (size_t i = 0; i < OMIT_COUNT; i++)
        count_add(&counters->omitted[i], line->omitted[i]);
    count_add(&counters->renamed, line->renamed);
    count_add(&counters->clipped, line->clipped);
    if (!any) {
        line->out->len = line->begin;
        return LINE_EMPTY;
    }
    *at++ = ' ';
    at = number_write_stamp(&line->encoder->stamp, at, time_ns);
    *at++ = '\n';
    line->out->len = (size_t)(at - line->out->data);
    return LINE_WRITTEN;
}

static inline enum step write_field(struct line *line, const struct field *fields, size_t i, uint32_t mask, char **at) {
    enum step step = STEP_WRITTEN;

    if (line->memo == NULL)
        step = write_checked_key(line, fields, i, mask, at);
    else if (key_memo_copy(line->memo, i, fields[i].key, *at))
        *at += fields[i].key.len + 1;
    else
        return STEP_AGAIN;
    return step == STEP_WRITTEN ? write_value(line, &fields[i].value, at) : step;
}

/* Writes the line. LINE_AGAIN, with nothing written: the memo does not fit, or the keys must be repaired first. */
static enum line_end write_line(struct line *line, const struct field *fields, size_t count, int64_t time_ns) {
    const struct str prefix = line->prefix->text;
    struct buf *out = line->out;
    char separator = ' ', *at, *limit;
    uint32_t mask = 0;

    if (line->memo == NULL && !line->sound && count > 1)
        mask = slots_for(line->encoder, count) - 1;
    if (!buf_reserve(out, prefix.len + FIELD_OVERHEAD))
        return no_room(line);
    at = out->data + out->len;
    limit = out->data + out->cap;
    memcpy(at, prefix.data, prefix.len);
    at += prefix.len;
    for (size_t i = 0; i < count; i++) {
        enum line_omission why;
        enum step step;
        size_t room;
        char *start;

        if (!field_room(&fields[i], &room, &why)) {
            line->omitted[why]++;
            line->plain = false;
            continue;
        }
        if ((size_t)(limit - at) < room) {
            out->len = (size_t)(at - out->data);
            if (!buf_reserve(out, room))
                return no_room(line);
            at = out->data + out->len;
            limit = out->data + out->cap;
        }
        start = at;
        *at++ = separator;
        step = write_field(line, fields, i, mask, &at);
        if (step == STEP_WRITTEN) {
            separator = ',';
            continue;
        }
        at = start;
        if (step != STEP_OMITTED) {
            out->len = line->begin;
            return step == STEP_AGAIN ? LINE_AGAIN : LINE_REFUSED;
        }
    }
    return finish(line, at, separator == ',', time_ns);
}

static struct line line_start(struct line_encoder *encoder, const struct line_prefix *prefix, struct buf *out,
                              struct err *err) {
    return (
        struct line){ .encoder = encoder, .prefix = prefix, .out = out, .err = err, .begin = out->len, .plain = true };
}

enum line_end line_encode(struct line_encoder *encoder, const struct line_prefix *prefix, const struct field *fields,
                          size_t count, int64_t time_ns, struct buf *out, struct arena *scratch, struct err *err) {
    struct line line = line_start(encoder, prefix, out, err);
    enum line_end end = LINE_AGAIN;
    struct field_repair repair;
    struct key_memo *memo;
    struct arena_mark before;

    if (count == 0)
        return LINE_EMPTY;
    memo = &encoder->memos[key_memo_place(fields, count)];
    if (key_memo_fits(memo, count, prefix->tag_names)) {
        line.memo = memo;
        end = write_line(&line, fields, count, time_ns);
    }
    if (end == LINE_AGAIN && count <= LINE_KEY_SLOTS / 2) {
        line = line_start(encoder, prefix, out, err);
        end = write_line(&line, fields, count, time_ns);
        if (end == LINE_WRITTEN && line.plain)
            key_memo_fill(memo, fields, count, prefix->tag_names);
    }
    if (end != LINE_AGAIN)
        return end;
    before = arena_mark(scratch);
    line = line_start(encoder, prefix, out, err);
    line.sound = true;
    repair = (struct field_repair){ .prefix = prefix, .scratch = scratch };
    fields = field_repair_all(&repair, fields, &count);
    line.renamed = repair.renamed;
    memcpy(line.omitted, repair.omitted, sizeof line.omitted);
    end = fields != NULL ? write_line(&line, fields, count, time_ns) : no_room(&line);
    arena_rewind(scratch, before);
    return end;
}
