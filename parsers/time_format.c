/* parsers/time_format.c: see time_format.h. Numbers since 1970 are read here; texts by their layout. */
#include "parsers/time_format.h"

#include <stdlib.h>

#include "parsers/time_layout.h"
#include "parsers/time_zone.h"

enum { AUTO_LAYOUTS = 6, NANO = 1000000000 };

enum kind { KIND_UNIX, KIND_LAYOUT, KIND_AUTO };

/* The few abbreviations that are zones of their own in the IANA data: all that Telegraf can resolve. */
static const char *const zone_names[] = { "CET", "EET", "EST", "GMT", "HST", "MET", "MST", "WET", "PRC", "ROC", "ROK" };
enum { ZONE_NAMES = sizeof zone_names / sizeof zone_names[0] };

struct time_format {
    enum kind kind;
    int decimals;           /* KIND_UNIX: 9 for seconds, 0 for nanoseconds */
    char *text;             /* the layout; steps borrow from it */
    struct time_layout layouts[AUTO_LAYOUTS];
    size_t layout_count;
    struct time_zone *zone, *named[ZONE_NAMES]; /* `named` only when a layout has MST */
};

/* --- compiling --- */

static bool compile_layout(struct time_format *format, const char *text, struct err *err) {
    format->kind = KIND_LAYOUT;
    format->layout_count = 1;
    format->text = malloc(strlen(text) + 1);
    if (format->text == NULL)
        return err_set(err, ERR_LIMIT, "no memory for a time format");
    strcpy(format->text, text);
    if (!time_layout_compile(&format->layouts[0], format->text, err))
        return false;
    for (size_t i = 0; time_layout_has_zone_name(&format->layouts[0]) && i < ZONE_NAMES; i++) {
        struct err missing = ERR_INIT; /* a zone that this system lacks cannot be read, which its reader says */
        format->named[i] = time_zone_new(zone_names[i], &missing);
    }
    return true;
}

static bool compile_format(struct time_format *format, const char *text, struct err *err) {
    static const char *const units[] = { "unix_ns", "unix_us", "unix_ms", "unix" };
    static const char *const common[AUTO_LAYOUTS] = {
        "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05",
        "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05",
    };

    for (int i = 0; i < 4; i++)
        if (strcmp(text, units[i]) == 0) {
            format->kind = KIND_UNIX;
            format->decimals = 3 * i;
            return true;
        }
    if (strcmp(text, "auto") != 0)
        return compile_layout(format, time_layout_by_name(text), err);
    format->kind = KIND_AUTO;
    for (; format->layout_count < AUTO_LAYOUTS; format->layout_count++)
        if (!time_layout_compile(&format->layouts[format->layout_count], common[format->layout_count], err))
            return false;
    return true;
}

struct time_format *time_format_new(const char *text, const char *zone, struct err *err) {
    struct time_format *format = calloc(1, sizeof *format);

    if (format == NULL) {
        err_set(err, ERR_LIMIT, "no memory for a time format");
        return NULL;
    }
    format->zone = time_zone_new(zone, err);
    if (format->zone != NULL && compile_format(format, text, err))
        return format;
    time_format_free(format);
    return NULL;
}

void time_format_free(struct time_format *format) {
    if (format == NULL)
        return;
    time_zone_free(format->zone);
    for (size_t i = 0; i < ZONE_NAMES; i++)
        time_zone_free(format->named[i]);
    free(format->text);
    free(format);
}

/* --- numbers since 1970 --- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

struct decimal {
    bool negative;
    struct str whole, fraction;
    int64_t exponent;
};

/* `comma`: a decimal comma is as good as a point. */
static bool split_decimal(struct str text, bool comma, struct decimal *out) {
    size_t i = 0, start;

    *out = (struct decimal){ 0 };
    if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
        out->negative = text.data[i++] == '-';
    for (start = i; i < text.len && is_digit(text.data[i]);)
        i++;
    out->whole = str_make(text.data + start, i - start);
    if (i < text.len && (text.data[i] == '.' || (comma && text.data[i] == ','))) {
        for (start = ++i; i < text.len && is_digit(text.data[i]);)
            i++;
        out->fraction = str_make(text.data + start, i - start);
    }
    if (out->whole.len + out->fraction.len == 0)
        return false;
    if (i < text.len && (text.data[i] == 'e' || text.data[i] == 'E')) {
        if (!str_to_int64(str_make(text.data + i + 1, text.len - i - 1), &out->exponent))
            return false;
        if (out->exponent > 1000 || out->exponent < -1000)
            return false;
        return true;
    }
    return i == text.len;
}

/* The number times 10^shift, rounded down; false when it is past int64. */
static bool scale_decimal(const struct decimal *number, int64_t shift, int64_t *out) {
    int64_t keep = (int64_t)number->whole.len + number->exponent + shift; /* digits that count, from the left */
    size_t have = number->whole.len + number->fraction.len;
    uint64_t value = 0;
    bool rest = false;

    for (int64_t i = 0; i < keep || i < (int64_t)have; i++) {
        size_t at = (size_t)i;
        unsigned digit = at < number->whole.len ? (unsigned)(number->whole.data[at] - '0')
                         : at < have            ? (unsigned)(number->fraction.data[at - number->whole.len] - '0')
                                                : 0;
        if (i >= keep) {
            rest = rest || digit != 0;
            continue;
        }
        if (value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = number->negative ? -(int64_t)value - rest : (int64_t)value;
    return true;
}

static bool read_unix(struct str text, bool is_number, int decimals, int64_t *out_ns, struct err *err) {
    struct decimal number;

    text = str_trim(text);
    if (!split_decimal(text, !is_number, &number))
        return err_set(err, ERR_SYNTAX, "'%.*s' is not a number of seconds or of parts of them", STR_ARGS(text));
    if (!scale_decimal(&number, decimals, out_ns))
        return err_set(err, ERR_LIMIT, "the time '%.*s' is not between the years 1677 and 2262", STR_ARGS(text));
    return true;
}

/* Seconds, milli-, micro- or nanoseconds by magnitude: any date from 1973 to 5138 in seconds is below 10^11, and so on. */
static bool read_unix_auto(struct str text, bool is_number, int64_t *out_ns, struct err *err) {
    struct decimal number;
    int64_t whole;
    int decimals;

    if (!split_decimal(text, !is_number, &number) || !scale_decimal(&number, 0, &whole))
        return err_set(err, ERR_SYNTAX, "'%.*s' is not a time since 1970", STR_ARGS(text));
    if (whole < 0)
        whole = whole == INT64_MIN ? INT64_MAX : -whole;
    decimals = whole < 100000000000 ? 9 : whole < 100000000000000 ? 6 : whole < 100000000000000000 ? 3 : 0;
    return read_unix(text, is_number, decimals, out_ns, err);
}

/* --- texts by a layout --- */

/* Zones whose name says the offset; those with a file of their own come first. */
static bool zone_by_name(const struct time_format *format, struct str name, int64_t wall, int64_t received_s, int64_t *out) {
    static const struct {
        const char *name;
        int hours;
    } fixed[] = { { "UTC", 0 },  { "GMT", 0 },  { "CEST", 2 }, { "EEST", 3 }, { "WEST", 1 },
                  { "EDT", -4 }, { "MDT", -6 }, { "PDT", -7 }, { "PST", -8 } };

    for (size_t i = 0; i < ZONE_NAMES; i++)
        if (format->named[i] != NULL && str_eq_c(name, zone_names[i])) {
            *out = time_zone_to_utc(format->named[i], wall, received_s);
            return true;
        }
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (str_eq_c(name, fixed[i].name)) {
            *out = wall - fixed[i].hours * 3600;
            return true;
        }
    return false;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static bool to_utc(const struct time_format *format, const struct time_parts *parts, int64_t year, int64_t received_s, int64_t *out,
                   struct err *err) {
    int64_t wall;

    if (!time_parts_wall_clock(parts, year, &wall))
        return err_set(err, ERR_SYNTAX, "there is no such day in %lld", (long long)year);
    if (parts->has_offset)
        *out = wall - parts->offset_s;
    else if (parts->zone_name.len == 0)
        *out = time_zone_to_utc(format->zone, wall, received_s);
    else if (!zone_by_name(format, parts->zone_name, wall, received_s, out))
        return err_set(err, ERR_UNSUPPORTED, "time zone '%.*s' does not say which offset it means", STR_ARGS(parts->zone_name));
    return true;
}

/* Of the years around the message's arrival, the latest that puts the time at most a day ahead of it. */
static bool nearest_year(const struct time_format *format, const struct time_parts *parts, int64_t received_s, int64_t *out,
                         struct err *err) {
    int64_t year = 1970 + floor_div(received_s, 31556952), at;

    for (int64_t back = -1; back <= 4; back++) {
        struct err none = ERR_INIT; /* February 29 is not in every year */
        if (to_utc(format, parts, year - back, received_s, &at, &none) && at <= received_s + 86400) {
            *out = at;
            return true;
        }
    }
    return to_utc(format, parts, year, received_s, out, err);
}

static bool read_layout(const struct time_format *format, const struct time_parts *parts, int64_t received_ns, int64_t *out_ns,
                        struct err *err) {
    const int64_t last_s = 9223372035;
    int64_t received_s = floor_div(received_ns, NANO), at;
    bool fine;

    if (parts->has_year && parts->year != 0)
        fine = to_utc(format, parts, parts->year, received_s, &at, err);
    else
        fine = nearest_year(format, parts, received_s, &at, err);
    if (!fine)
        return false;
    if (at > last_s || at < -last_s)
        return err_set(err, ERR_LIMIT, "the time is not between the years 1677 and 2262");
    *out_ns = at * NANO + parts->nanosecond;
    return true;
}

bool time_format_read(const struct time_format *format, struct str text, bool is_number, int64_t received_ns, int64_t *out_ns,
                      struct err *err) {
    struct time_parts parts;

    if (format->kind == KIND_UNIX)
        return read_unix(text, is_number, format->decimals, out_ns, err);
    if (format->kind == KIND_AUTO) {
        struct decimal number;
        text = str_trim(text);
        if (is_number || split_decimal(text, true, &number))
            return read_unix_auto(text, is_number, out_ns, err);
    } else if (is_number) {
        return err_set(err, ERR_TYPE, "the time %.*s is a number where the time format wants a text", STR_ARGS(text));
    }
    for (size_t i = 0; i < format->layout_count; i++)
        if (time_layout_read(&format->layouts[i], text, &parts))
            return read_layout(format, &parts, received_ns, out_ns, err);
    return err_set(err, ERR_SYNTAX, "the time '%.*s' does not match the format %s", STR_ARGS(text),
                   format->kind == KIND_AUTO ? "auto" : format->text);
}
