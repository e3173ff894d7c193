/*
 * parsers/time_format.c: see time_format.h. A layout is compiled into steps; each step reads one part of the text. The rules
 * are those of Go's time.Parse, which Telegraf's users know, with its leniencies: one or two digits where the layout has one,
 * any run of blanks for a blank, fractions of a second wherever seconds end.
 */
#include "parsers/time_format.h"

#include <stdlib.h>
#include <strings.h>

#include "parsers/time_zone.h"

enum { STEPS_MAX = 48, AUTO_LAYOUTS = 6, NANO = 1000000000 };

enum step_kind {
    STEP_TEXT, STEP_YEAR, STEP_SHORT_YEAR, STEP_MONTH, STEP_MONTH_NAME, STEP_MONTH_SHORT_NAME, STEP_WEEKDAY,
    STEP_SHORT_WEEKDAY, STEP_DAY, STEP_YEAR_DAY, STEP_HOUR, STEP_HOUR12, STEP_MINUTE, STEP_SECOND, STEP_HALF,
    STEP_LOWER_HALF, STEP_ZONE_NAME, STEP_ZONE, STEP_FRACTION, STEP_ANY_FRACTION,
};

/* Flags of steps. */
enum { FIXED = 1, BLANKS = 2, ZULU = 4, COLON = 8, MINUTES = 16, SECONDS = 32 };

struct step {
    enum step_kind kind;
    unsigned flags;   /* numbers: FIXED two (or three) digits, BLANKS may pad; zones: ZULU, COLON, MINUTES, SECONDS */
    struct str text;  /* STEP_TEXT; STEP_FRACTION: its digits */
};

struct layout {
    struct step steps[STEPS_MAX];
    size_t count;
};

enum kind { KIND_UNIX, KIND_LAYOUT, KIND_AUTO };

/* The few abbreviations that are zones of their own in the IANA data: all that Telegraf can resolve. */
static const char *const zone_names[] = { "CET", "EET", "EST", "GMT", "HST", "MET", "MST", "WET", "PRC", "ROC", "ROK" };
enum { ZONE_NAMES = sizeof zone_names / sizeof zone_names[0] };

struct time_format {
    enum kind kind;
    int decimals;           /* KIND_UNIX: 9 for seconds, 0 for nanoseconds */
    char *text;             /* the layout; steps borrow from it */
    struct layout layouts[AUTO_LAYOUTS];
    size_t layout_count;
    struct time_zone *zone, *named[ZONE_NAMES]; /* `named` only when a layout has MST */
};

/* --- compiling --- */

static const struct token {
    const char *text;
    enum step_kind kind;
    unsigned flags;
} tokens[] = {
    /* The longer one first where one begins like another. */
    { "January", STEP_MONTH_NAME, 0 },      { "Jan", STEP_MONTH_SHORT_NAME, 0 },
    { "Monday", STEP_WEEKDAY, 0 },          { "Mon", STEP_SHORT_WEEKDAY, 0 },
    { "MST", STEP_ZONE_NAME, 0 },           { "002", STEP_YEAR_DAY, FIXED },
    { "01", STEP_MONTH, FIXED },            { "02", STEP_DAY, FIXED },
    { "03", STEP_HOUR12, FIXED },           { "04", STEP_MINUTE, FIXED },
    { "05", STEP_SECOND, FIXED },           { "06", STEP_SHORT_YEAR, 0 },
    { "15", STEP_HOUR, 0 },                 { "1", STEP_MONTH, 0 },
    { "2006", STEP_YEAR, 0 },               { "2", STEP_DAY, 0 },
    { "__2", STEP_YEAR_DAY, BLANKS },       { "_2", STEP_DAY, BLANKS },
    { "3", STEP_HOUR12, 0 },                { "4", STEP_MINUTE, 0 },
    { "5", STEP_SECOND, 0 },                { "PM", STEP_HALF, 0 },
    { "pm", STEP_LOWER_HALF, 0 },           { "-070000", STEP_ZONE, MINUTES | SECONDS },
    { "-07:00:00", STEP_ZONE, COLON | MINUTES | SECONDS },
    { "-0700", STEP_ZONE, MINUTES },        { "-07:00", STEP_ZONE, COLON | MINUTES },
    { "-07", STEP_ZONE, 0 },                { "Z070000", STEP_ZONE, ZULU | MINUTES | SECONDS },
    { "Z07:00:00", STEP_ZONE, ZULU | COLON | MINUTES | SECONDS },
    { "Z0700", STEP_ZONE, ZULU | MINUTES }, { "Z07:00", STEP_ZONE, ZULU | COLON | MINUTES },
    { "Z07", STEP_ZONE, ZULU },
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The fraction `.000` or `,999` at `at`, when digits do not go on behind it. Returns its length with the point, or 0. */
static size_t fraction_token(const char *at) {
    size_t len = 2;

    if ((at[0] != '.' && at[0] != ',') || (at[1] != '0' && at[1] != '9'))
        return 0;
    while (at[len] == at[1])
        len++;
    return is_digit(at[len]) ? 0 : len;
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The step that begins at `at`, and its length; 0 when plain text stands there. */
static size_t token_at(const char *at, struct step *step) {
    size_t len = fraction_token(at);

    if (len > 0) {
        *step = (struct step){ at[1] == '0' ? STEP_FRACTION : STEP_ANY_FRACTION, 0, { at + 1, len - 1 } };
        return len;
    }
    if (starts_with(at, "_2006")) /* an underscore, then a year */
        return 0;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        bool word = tokens[i].kind == STEP_MONTH_SHORT_NAME || tokens[i].kind == STEP_SHORT_WEEKDAY;
        len = strlen(tokens[i].text);
        if (!starts_with(at, tokens[i].text) || (word && at[len] >= 'a' && at[len] <= 'z'))
            continue;
        *step = (struct step){ tokens[i].kind, tokens[i].flags, STR_EMPTY };
        return len;
    }
    return 0;
}

/* `text` outlives the layout. */
static bool compile(struct layout *layout, const char *text, struct err *err) {
    const char *at = text, *plain = text;
    struct step step;
    bool any = false;

    while (*at != '\0' || plain < at) {
        size_t len = *at != '\0' ? token_at(at, &step) : 0;
        if (len == 0 && *at != '\0') {
            at++;
            continue;
        }
        if (layout->count + 2 > STEPS_MAX)
            return err_set(err, ERR_LIMIT, "time format '%s' has too many parts", text);
        if (plain < at)
            layout->steps[layout->count++] = (struct step){ STEP_TEXT, 0, { plain, (size_t)(at - plain) } };
        if (len > 0) {
            layout->steps[layout->count++] = step;
            any = true;
        }
        at += len;
        plain = at;
    }
    if (!any)
        return err_set(err, ERR_SYNTAX,
                       "time format '%s' has no part of Go's reference time; write the time Mon Jan 2 15:04:05 MST 2006 in your "
                       "form, e.g. 2006-01-02 15:04:05, or unix, unix_ms, unix_us, unix_ns, auto", text);
    return true;
}

static const char *named_layout(const char *name) {
    static const char *const names[][2] = {
        { "ansic", "Mon Jan _2 15:04:05 2006" },
        { "unixdate", "Mon Jan _2 15:04:05 MST 2006" },
        { "rubydate", "Mon Jan 02 15:04:05 -0700 2006" },
        { "rfc822", "02 Jan 06 15:04 MST" },
        { "rfc822z", "02 Jan 06 15:04 -0700" },
        { "rfc850", "Monday, 02-Jan-06 15:04:05 MST" },
        { "rfc1123", "Mon, 02 Jan 2006 15:04:05 MST" },
        { "rfc1123z", "Mon, 02 Jan 2006 15:04:05 -0700" },
        { "rfc3339", "2006-01-02T15:04:05Z07:00" },
        { "rfc3339nano", "2006-01-02T15:04:05.999999999Z07:00" },
        { "stamp", "Jan _2 15:04:05" },
        { "stampmilli", "Jan _2 15:04:05.000" },
        { "stampmicro", "Jan _2 15:04:05.000000" },
        { "stampnano", "Jan _2 15:04:05.000000000" },
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i][0]) == 0)
            return names[i][1];
    return name;
}

static bool has_zone_name(const struct layout *layout) {
    for (size_t i = 0; i < layout->count; i++)
        if (layout->steps[i].kind == STEP_ZONE_NAME)
            return true;
    return false;
}

static bool compile_layout(struct time_format *format, const char *text, struct err *err) {
    format->kind = KIND_LAYOUT;
    format->layout_count = 1;
    format->text = malloc(strlen(text) + 1);
    if (format->text == NULL)
        return err_set(err, ERR_LIMIT, "no memory for a time format");
    strcpy(format->text, text);
    if (!compile(&format->layouts[0], format->text, err))
        return false;
    for (size_t i = 0; has_zone_name(&format->layouts[0]) && i < ZONE_NAMES; i++) {
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
        return compile_layout(format, named_layout(text), err);
    format->kind = KIND_AUTO;
    for (; format->layout_count < AUTO_LAYOUTS; format->layout_count++)
        if (!compile(&format->layouts[format->layout_count], common[format->layout_count], err))
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

struct parts {
    int year, month, day, year_day, hour, minute, second, offset_s;
    uint32_t nanosecond;
    bool has_year, has_month, has_day, has_year_day, pm, am, has_offset;
    struct str zone_name;
};

static void take(struct str *text, size_t len) {
    *text = str_make(text->data + len, text->len - len);
}

static bool has_digit(struct str text, size_t at) {
    return at < text.len && is_digit(text.data[at]);
}

/* One to `width` digits, all of them when `fixed`. */
static bool take_digits(struct str *text, unsigned width, bool fixed, int *out) {
    size_t len = 0;
    int value = 0;

    while (len < width && has_digit(*text, len))
        value = value * 10 + (text->data[len++] - '0');
    if (len == 0 || (fixed && len < width))
        return false;
    take(text, len);
    *out = value;
    return true;
}

static bool take_number(struct str *text, const struct step *step, unsigned width, int low, int high, int *out) {
    for (unsigned i = 1; i < width && (step->flags & BLANKS) != 0 && text->len > 0 && text->data[0] == ' '; i++)
        take(text, 1);
    return take_digits(text, width, (step->flags & FIXED) != 0, out) && *out >= low && *out <= high;
}

/* One of `names`, or of their first three letters, in any case; *out counts from 0. */
static bool take_name(struct str *text, const char *const *names, int count, bool whole, int *out) {
    for (int i = 0; i < count; i++) {
        size_t len = whole ? strlen(names[i]) : 3;
        if (text->len >= len && strncasecmp(text->data, names[i], len) == 0) {
            take(text, len);
            *out = i;
            return true;
        }
    }
    return false;
}

static bool take_month_name(struct str *text, bool whole, struct parts *parts) {
    static const char *const names[] = { "January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December" };

    if (!take_name(text, names, 12, whole, &parts->month))
        return false;
    parts->month++;
    return parts->has_month = true;
}

static bool take_weekday(struct str *text, bool whole) {
    static const char *const names[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
    int ignored;

    return take_name(text, names, 7, whole, &ignored);
}

static bool take_short_year(struct str *text, struct parts *parts) {
    if (!take_digits(text, 2, true, &parts->year))
        return false;
    parts->year += parts->year >= 69 ? 1900 : 2000;
    return parts->has_year = true;
}

static bool take_half(struct str *text, const char *am, const char *pm, struct parts *parts) {
    if (text->len < 2)
        return false;
    parts->am = memcmp(text->data, am, 2) == 0;
    parts->pm = memcmp(text->data, pm, 2) == 0;
    take(text, 2);
    return parts->am || parts->pm;
}

/* A point or comma and digits, as many as there are; those past nanoseconds are dropped. */
static bool take_fraction(struct str *text, size_t exact, uint32_t *out) {
    size_t len = 1;
    uint32_t value = 0, unit = NANO;

    if (text->len < 2 || (text->data[0] != '.' && text->data[0] != ','))
        return false;
    for (; has_digit(*text, len) && (exact == 0 || len <= exact); len++)
        if (unit > 1)
            value += (uint32_t)(text->data[len] - '0') * (unit /= 10);
    if (len == 1 || (exact > 0 && len != exact + 1))
        return false;
    take(text, len);
    *out = value;
    return true;
}

static bool starts_fraction(struct str text) {
    return text.len >= 2 && (text.data[0] == '.' || text.data[0] == ',') && is_digit(text.data[1]);
}

/* `next` is the step behind: when it is no fraction, a fraction in the text is taken here, as Go does. */
static bool take_second(struct str *text, const struct step *step, const struct step *next, struct parts *parts) {
    if (!take_number(text, step, 2, 0, 59, &parts->second))
        return false;
    if (next != NULL && (next->kind == STEP_FRACTION || next->kind == STEP_ANY_FRACTION))
        return true;
    return !starts_fraction(*text) || take_fraction(text, 0, &parts->nanosecond);
}

static bool take_zone(struct str *text, unsigned flags, struct parts *parts) {
    int hour, minute = 0, second = 0;
    bool negative;

    if ((flags & ZULU) != 0 && text->len > 0 && text->data[0] == 'Z') {
        take(text, 1);
        parts->offset_s = 0;
        return parts->has_offset = true;
    }
    if (text->len == 0 || (text->data[0] != '+' && text->data[0] != '-'))
        return false;
    negative = text->data[0] == '-';
    take(text, 1);
    if (!take_digits(text, 2, true, &hour))
        return false;
    for (int i = 0; i < 2; i++) {
        if ((flags & (i == 0 ? MINUTES : SECONDS)) == 0)
            continue;
        if ((flags & COLON) != 0) {
            if (text->len == 0 || text->data[0] != ':')
                return false;
            take(text, 1);
        }
        if (!take_digits(text, 2, true, i == 0 ? &minute : &second))
            return false;
    }
    if (hour > 24 || minute > 60 || second > 60)
        return false;
    parts->offset_s = (hour * 60 + minute) * 60 + second;
    if (negative)
        parts->offset_s = -parts->offset_s;
    return parts->has_offset = true;
}

/* Three to five capitals, or an offset in hours, alone or behind GMT. */
static bool take_zone_name(struct str *text, struct parts *parts) {
    size_t len = 0;
    int hours;

    while (len < text->len && len < 6 && text->data[len] >= 'A' && text->data[len] <= 'Z')
        len++;
    if (len > 0 && (len < 3 || len > 5))
        return false;
    parts->zone_name = str_make(text->data, len);
    take(text, len);
    if ((len == 0 || str_eq_c(parts->zone_name, "GMT")) && text->len > 1 &&
        (text->data[0] == '+' || text->data[0] == '-') && is_digit(text->data[1])) {
        bool negative = text->data[0] == '-';
        take(text, 1);
        if (!take_digits(text, 2, false, &hours) || hours > 23)
            return false;
        parts->offset_s = (negative ? -hours : hours) * 3600;
        return parts->has_offset = true;
    }
    return len > 0;
}

/* Blanks stand for any run of blanks, also for none at the end of the text. */
static bool take_text(struct str *text, struct str wanted) {
    while (wanted.len > 0) {
        if (wanted.data[0] == ' ') {
            if (text->len > 0 && text->data[0] != ' ')
                return false;
            while (wanted.len > 0 && wanted.data[0] == ' ')
                take(&wanted, 1);
            while (text->len > 0 && text->data[0] == ' ')
                take(text, 1);
        } else {
            if (text->len == 0 || text->data[0] != wanted.data[0])
                return false;
            take(text, 1);
            take(&wanted, 1);
        }
    }
    return true;
}

static bool take_step(struct str *text, const struct step *step, const struct step *next, struct parts *parts) {
    switch (step->kind) {
    case STEP_TEXT:
        return take_text(text, step->text);
    case STEP_YEAR:
        parts->has_year = true;
        return take_digits(text, 4, true, &parts->year);
    case STEP_SHORT_YEAR:
        return take_short_year(text, parts);
    case STEP_MONTH:
        parts->has_month = true;
        return take_number(text, step, 2, 1, 12, &parts->month);
    case STEP_MONTH_NAME:
    case STEP_MONTH_SHORT_NAME:
        return take_month_name(text, step->kind == STEP_MONTH_NAME, parts);
    case STEP_WEEKDAY:
    case STEP_SHORT_WEEKDAY:
        return take_weekday(text, step->kind == STEP_WEEKDAY);
    case STEP_DAY:
        parts->has_day = true;
        return take_number(text, step, 2, 1, 31, &parts->day);
    case STEP_YEAR_DAY:
        parts->has_year_day = true;
        return take_number(text, step, 3, 1, 366, &parts->year_day);
    case STEP_HOUR:
        return take_number(text, step, 2, 0, 23, &parts->hour);
    case STEP_HOUR12:
        return take_number(text, step, 2, 0, 12, &parts->hour);
    case STEP_MINUTE:
        return take_number(text, step, 2, 0, 59, &parts->minute);
    case STEP_SECOND:
        return take_second(text, step, next, parts);
    case STEP_HALF:
        return take_half(text, "AM", "PM", parts);
    case STEP_LOWER_HALF:
        return take_half(text, "am", "pm", parts);
    case STEP_ZONE_NAME:
        return take_zone_name(text, parts);
    case STEP_ZONE:
        return take_zone(text, step->flags, parts);
    case STEP_FRACTION:
        return take_fraction(text, step->text.len, &parts->nanosecond);
    case STEP_ANY_FRACTION:
        return !starts_fraction(*text) || take_fraction(text, 0, &parts->nanosecond);
    }
    return false;
}

static bool read_parts(const struct layout *layout, struct str text, struct parts *parts) {
    *parts = (struct parts){ .month = 1, .day = 1 };
    for (size_t i = 0; i < layout->count; i++)
        if (!take_step(&text, &layout->steps[i], i + 1 < layout->count ? &layout->steps[i + 1] : NULL, parts))
            return false;
    if (parts->pm && parts->hour < 12)
        parts->hour += 12;
    else if (parts->am && parts->hour == 12)
        parts->hour = 0;
    return text.len == 0;
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Seconds since 1970 of the parts as if they were UTC; false when there is no such day in that year. */
static bool wall_clock(const struct parts *parts, int64_t year, int64_t *out) {
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t day;

    if (parts->has_year_day) {
        day = days_from_civil(year, 1, 1) + parts->year_day - 1;
        if (parts->year_day > 365 + is_leap(year) ||
            (parts->has_month && (day < days_from_civil(year, (unsigned)parts->month, 1) ||
                                  day >= days_from_civil(year, (unsigned)parts->month, 1) + 31)))
            return false;
    } else {
        if (parts->day > days[parts->month - 1] + (parts->month == 2 && is_leap(year)))
            return false;
        day = days_from_civil(year, (unsigned)parts->month, (unsigned)parts->day);
    }
    *out = day * 86400 + parts->hour * 3600 + parts->minute * 60 + parts->second;
    return true;
}

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

static bool to_utc(const struct time_format *format, const struct parts *parts, int64_t year, int64_t received_s, int64_t *out,
                   struct err *err) {
    int64_t wall;

    if (!wall_clock(parts, year, &wall))
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
static bool nearest_year(const struct time_format *format, const struct parts *parts, int64_t received_s, int64_t *out,
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

static bool read_layout(const struct time_format *format, const struct parts *parts, int64_t received_ns, int64_t *out_ns,
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
    struct parts parts;

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
        if (read_parts(&format->layouts[i], text, &parts))
            return read_layout(format, &parts, received_ns, out_ns, err);
    return err_set(err, ERR_SYNTAX, "the time '%.*s' does not match the format %s", STR_ARGS(text),
                   format->kind == KIND_AUTO ? "auto" : format->text);
}
