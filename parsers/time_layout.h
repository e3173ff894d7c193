/*
 * parsers/time_layout.h: Go's reference layouts: compiled once into steps, each of which reads one part of a text. The rules are
 * those of Go's time.Parse, which Telegraf's users know, with its leniencies: one or two digits where the layout has one, any run of
 * blanks for a blank, fractions of a second wherever seconds end.
 */
#ifndef HELIOGRAF_PARSERS_TIME_LAYOUT_H
#define HELIOGRAF_PARSERS_TIME_LAYOUT_H

#include "agent/base/err.h"
#include "agent/base/str.h"

enum { TIME_STEPS_MAX = 48 };

enum time_step_kind {
    STEP_TEXT, STEP_YEAR, STEP_SHORT_YEAR, STEP_MONTH, STEP_MONTH_NAME, STEP_MONTH_SHORT_NAME, STEP_WEEKDAY,
    STEP_SHORT_WEEKDAY, STEP_DAY, STEP_YEAR_DAY, STEP_HOUR, STEP_HOUR12, STEP_MINUTE, STEP_SECOND, STEP_HALF,
    STEP_LOWER_HALF, STEP_ZONE_NAME, STEP_ZONE, STEP_FRACTION, STEP_ANY_FRACTION,
};

struct time_step {
    enum time_step_kind kind;
    unsigned flags;
    struct str text; /* STEP_TEXT; STEP_FRACTION: its digits */
};

struct time_layout {
    struct time_step steps[TIME_STEPS_MAX];
    size_t count;
};

/* What a text said. Without a date it is January 1, without a time midnight. */
struct time_parts {
    int year, month, day, year_day, hour, minute, second, offset_s;
    uint32_t nanosecond;
    bool has_year, has_month, has_day, has_year_day, pm, am, has_offset;
    struct str zone_name; /* an abbreviation that does not say its offset by itself; borrowed from the text */
};

/* `text` is borrowed for the layout's life. False with `err` when no part of the reference time is in it. */
bool time_layout_compile(struct time_layout *layout, const char *text, struct err *err);

/* The layout of a name as Telegraf knows it (RFC3339, ANSIC, ... in any case), or `name` itself. */
const char *time_layout_by_name(const char *name);

/* True when a step reads a zone's abbreviation. */
bool time_layout_has_zone_name(const struct time_layout *layout);

/* The whole text or false. Ranges are checked but for the day in its month. */
bool time_layout_read(const struct time_layout *layout, struct str text, struct time_parts *parts);

/* Seconds since 1970 of the parts as if they were UTC, in the year given; false when it has no such day. */
bool time_parts_wall_clock(const struct time_parts *parts, int64_t year, int64_t *out);

#endif
