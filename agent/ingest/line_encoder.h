/*
 * agent/ingest/line_encoder.h: InfluxDB line protocol that every server accepts, whatever the names and values hold. A
 * line is `prefix field=value,... stamp`; the prefix (measurement and tags) is made once per series and copied after.
 *
 * What is changed so that a bad line is impossible:
 *   names (measurement, tag keys and values, field keys)
 *     comma, equals, blank                  escaped by a backslash, where the place needs it
 *     bytes below 0x20, 0x7f                `_`, counted as renamed
 *     a backslash at the end, before another backslash's run end, or before a byte that is escaped: `/`, counted
 *     not UTF-8                             the whole message is refused
 *   keys `time`, `_time`, `_field`, `_measurement`   an underscore added: `time_`, counted
 *   a measurement that starts with `#`      `_` in front, counted
 *   empty keys and tag values               left out (a field without key is counted, an empty tag is no tag)
 *   a field named as a tag of the point     `_field` added, counted
 *   fields of the same name                 the last value stays, the others are counted
 *   strings                                 `"` and `\` escaped; line feed, CR and NUL become the two characters \n,
 * \r, \0 NaN, infinity, text that is no number   left out, counted unsigned above int64                    int64's end,
 * counted, unless `influx_uint` strings above 64 KiB, tag values, keys above 4 KiB   left out, counted; a prefix above
 * 60 KiB refuses the message
 */
#ifndef HELIOGRAF_INGEST_LINE_ENCODER_H
#define HELIOGRAF_INGEST_LINE_ENCODER_H

#include "agent/base/arena.h"
#include "agent/base/buf.h"
#include "agent/base/metric.h"
#include "agent/base/points.h"
#include "agent/ingest/key_memo.h"
#include "agent/ingest/number_text.h"

#define LINE_STRING_MAX 65536 /* bytes of a string value, raw */
#define LINE_NAME_MAX   4096  /* bytes of a key, tag value or measurement, raw */
#define LINE_NUMBER_MAX 1024  /* bytes of a number's text */
#define LINE_PREFIX_MAX 61440 /* bytes of measurement and tags, escaped */

enum line_omission { OMIT_NOT_FINITE, OMIT_BAD_NUMBER, OMIT_TOO_LONG, OMIT_NO_KEY, OMIT_DUPLICATE, OMIT_COUNT };
const char *line_omission_name(enum line_omission omission);

/* Written by the encoder's thread only; read by any. */
struct line_counters {
    metric_counter omitted[OMIT_COUNT], renamed, clipped;
};

enum { LINE_KEY_BITS = 11, LINE_KEY_SLOTS = 1 << LINE_KEY_BITS };

struct line_encoder {
    bool influx_uint;
    struct line_counters *counters;
    struct stamp_writer stamp;
    uint32_t slots[LINE_KEY_SLOTS]; /* field keys of the line in work, to find the second of a name */
    struct key_memo memos[MEMO_COUNT];
};

/* For large storage of the caller's: it should be on the heap. */
void line_encoder_init(struct line_encoder *encoder, bool influx_uint, struct line_counters *counters);

/* Measurement and tags, ready to be copied. All memory belongs to the arena it was built in. */
struct line_prefix {
    struct str text;
    const struct str *tag_keys; /* as written, not escaped, in order */
    struct str tag_names;       /* the same, one text, each ended by a line feed, which no key holds */
    size_t tag_count;
    uint64_t tag_bits; /* one bit per tag key's hash, to pass by the comparisons */
    uint64_t hash;     /* of the text: tells series apart within one message */
};

/*
 * Sorts the tags by key; of tags with one key the first in the array wins. False with `err` when the text is not UTF-8,
 * too long, or the arena is full.
 */
bool line_prefix_build(struct line_encoder *encoder, struct str measurement, const struct tag *tags, size_t count,
                       struct arena *arena, struct line_prefix *prefix, struct err *err);

enum line_end {
    LINE_WRITTEN,
    LINE_EMPTY,   /* no field was left: nothing is written */
    LINE_REFUSED, /* `err` says why: not UTF-8, or a cap; nothing is written */
};

/* Appends one line with its newline to `out`. `scratch` is used for lines with odd names only, and rewound. */
enum line_end line_encode(struct line_encoder *encoder, const struct line_prefix *prefix, const struct field *fields,
                          size_t count, int64_t time_ns, struct buf *out, struct arena *scratch, struct err *err);

#endif
