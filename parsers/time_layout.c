/* parsers/time_layout.c: see time_layout.h. */
#include "parsers/time_layout.h"

#include <strings.h>

#include "parsers/time_zone.h"

enum { NANO = 1000000000 };

/* Flags of steps: numbers with FIXED digits, or with BLANKS before them; zones by what they are made of. */
enum { FIXED = 1, BLANKS = 2, ZULU = 4, COLON = 8, MINUTES = 16, SECONDS = 32 };

/* --- compiling --- */

static const struct token {
    const char *text;
    enum time_step_kind kind;
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
static size_t token_at(const char *at, struct time_step *step) {
    size_t len = fraction_token(at);

    if (len > 0) {
        *step = (struct time_step){ at[1] == '0' ? STEP_FRACTION : STEP_ANY_FRACTION, 0, { at + 1, len - 1 } };
        return len;
    }
    if (starts_with(at, "_2006")) /* an underscore, then a year */
        return 0;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        bool word = tokens[i].kind == STEP_MONTH_SHORT_NAME || tokens[i].kind == STEP_SHORT_WEEKDAY;
        len = strlen(tokens[i].text);
        if (!starts_with(at, tokens[i].text) || (word && at[len] >= 'a' && at[len] <= 'z'))
            continue;
        *step = (struct time_step){ tokens[i].kind, tokens[i].flags, STR_EMPTY };
        return len;
    }
    return 0;
}

/* `text` outlives the layout. */
bool time_layout_compile(struct time_layout *layout, const char *text, struct err *err) {
    const char *at = text, *plain = text;
    struct time_step step;
    bool any = false;

    while (*at != '\0' || plain < at) {
        size_t len = *at != '\0' ? token_at(at, &step) : 0;
        if (len == 0 && *at != '\0') {
            at++;
            continue;
        }
        if (layout->count + 2 > TIME_STEPS_MAX)
            return err_set(err, ERR_LIMIT, "time format '%s' has too many parts", text);
        if (plain < at)
            layout->steps[layout->count++] = (struct time_step){ STEP_TEXT, 0, { plain, (size_t)(at - plain) } };
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

const char *time_layout_by_name(const char *name) {
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

bool time_layout_has_zone_name(const struct time_layout *layout) {
    for (size_t i = 0; i < layout->count; i++)
        if (layout->steps[i].kind == STEP_ZONE_NAME)
            return true;
    return false;
}

/* --- reading --- */

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

static bool take_number(struct str *text, const struct time_step *step, unsigned width, int low, int high, int *out) {
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

static bool take_month_name(struct str *text, bool whole, struct time_parts *parts) {
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

static bool take_short_year(struct str *text, struct time_parts *parts) {
    if (!take_digits(text, 2, true, &parts->year))
        return false;
    parts->year += parts->year >= 69 ? 1900 : 2000;
    return parts->has_year = true;
}

static bool take_half(struct str *text, const char *am, const char *pm, struct time_parts *parts) {
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
static bool take_second(struct str *text, const struct time_step *step, const struct time_step *next, struct time_parts *parts) {
    if (!take_number(text, step, 2, 0, 59, &parts->second))
        return false;
    if (next != NULL && (next->kind == STEP_FRACTION || next->kind == STEP_ANY_FRACTION))
        return true;
    return !starts_fraction(*text) || take_fraction(text, 0, &parts->nanosecond);
}

static bool take_zone(struct str *text, unsigned flags, struct time_parts *parts) {
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
static bool take_zone_name(struct str *text, struct time_parts *parts) {
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

static bool take_step(struct str *text, const struct time_step *step, const struct time_step *next, struct time_parts *parts) {
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

bool time_layout_read(const struct time_layout *layout, struct str text, struct time_parts *parts) {
    *parts = (struct time_parts){ .month = 1, .day = 1 };
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
bool time_parts_wall_clock(const struct time_parts *parts, int64_t year, int64_t *out) {
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

