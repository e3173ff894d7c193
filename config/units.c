/* config/units.c: durations, sizes and switches as text, both ways. The only place where units have values. */
#include "config/units.h"

#include <stdio.h>

#include "config/schema.h"

struct unit {
    const char *name;
    uint64_t value;
};

#define NS_S   UINT64_C(1000000000)
#define NS_MIN (60 * NS_S)
#define NS_H   (60 * NS_MIN)
#define NS_D   (24 * NS_H)

static const struct unit duration_units[] = {
    { "w", 7 * NS_D }, { "d", NS_D },  { "h", NS_H },         { "m", NS_MIN },       { "s", NS_S },
    { "ms", 1000000 }, { "us", 1000 }, { "\xC2\xB5s", 1000 }, { "\xCE\xBCs", 1000 }, { "ns", 1 },
};

static const struct unit size_units[] = {
    { "TiB", UINT64_C(1) << 40 },   { "TB", UINT64_C(1000000000000) }, { "GiB", UINT64_C(1) << 30 },
    { "GB", UINT64_C(1000000000) }, { "MiB", UINT64_C(1) << 20 },      { "MB", UINT64_C(1000000) },
    { "KiB", UINT64_C(1) << 10 },   { "KB", UINT64_C(1000) },          { "B", 1 },
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_ignoring_case(struct str text, const char *word) {
    size_t i = 0;

    for (; i < text.len && word[i] != '\0'; i++)
        if (lower(text.data[i]) != lower(word[i]))
            return false;
    return i == text.len && word[i] == '\0';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* A number without sign, `12` or `1.5`. Digits behind the ninth decimal place are left out. */
struct decimal {
    uint64_t whole, fraction, scale; /* whole + fraction / scale */
};

/* Takes a number off the front of `text`. False when there is none, or one past the range. */
static bool take_decimal(struct str *text, struct decimal *out) {
    struct decimal number = { .scale = 1 };
    size_t i = 0, digits = 0;

    for (; i < text->len && is_digit(text->data[i]); i++, digits++) {
        unsigned digit = (unsigned)(text->data[i] - '0');
        if (number.whole > (UINT64_MAX - digit) / 10)
            return false;
        number.whole = number.whole * 10 + digit;
    }
    if (i < text->len && text->data[i] == '.')
        for (i++; i < text->len && is_digit(text->data[i]); i++, digits++) {
            if (number.scale == UINT64_C(1000000000))
                continue;
            number.fraction = number.fraction * 10 + (unsigned)(text->data[i] - '0');
            number.scale *= 10;
        }
    *text = str_make(text->data + i, text->len - i);
    *out = number;
    return digits > 0;
}

/* number * unit, cut to a whole; false past `max`. No product here can overflow: fraction < scale <= 10^9. */
static bool scale_up(struct decimal number, uint64_t unit, uint64_t max, uint64_t *out) {
    uint64_t part = unit / number.scale * number.fraction + unit % number.scale * number.fraction / number.scale;

    if (number.whole > max / unit || number.whole * unit > max - part)
        return false;
    *out = number.whole * unit + part;
    return true;
}

/* The word up to the next digit, as `m` in `1m30s`. */
static struct str take_word(struct str *text) {
    size_t i = 0;

    while (i < text->len && !is_digit(text->data[i]) && text->data[i] != '.')
        i++;
    struct str word = str_make(text->data, i);
    *text = str_make(text->data + i, text->len - i);
    return word;
}

bool cfg_parse_duration(struct str text, int64_t *out_ns) {
    uint64_t total = 0, part;
    bool bare = true;

    do {
        struct decimal number;
        uint64_t unit = 0;
        if (!take_decimal(&text, &number))
            return false;
        struct str word = take_word(&text);
        for (size_t i = 0; i < COUNT(duration_units) && unit == 0; i++)
            if (str_eq_c(word, duration_units[i].name))
                unit = duration_units[i].value;
        if (word.len == 0 && bare && text.len == 0)
            unit = NS_S; /* a number without a unit is seconds, but only when it is all there is */
        if (unit == 0 || !scale_up(number, unit, INT64_MAX, &part) || total > (uint64_t)INT64_MAX - part)
            return false;
        total += part;
        bare = false;
    } while (text.len > 0);
    *out_ns = (int64_t)total;
    return true;
}

bool cfg_parse_size(struct str text, uint64_t *out_bytes) {
    struct decimal number;
    uint64_t unit = 0;

    if (!take_decimal(&text, &number))
        return false;
    for (size_t i = 0; i < COUNT(size_units) && unit == 0; i++)
        if (equal_ignoring_case(text, size_units[i].name))
            unit = size_units[i].value;
    if (text.len == 0 && number.fraction == 0)
        unit = 1;
    return unit != 0 && scale_up(number, unit, UINT64_MAX, out_bytes);
}

bool cfg_parse_bool(struct str text, bool *out) {
    static const char *const yes[] = { "true", "yes", "on" }, *const no[] = { "false", "no", "off" };

    for (size_t i = 0; i < COUNT(yes); i++) {
        if (equal_ignoring_case(text, yes[i]))
            return *out = true;
        if (equal_ignoring_case(text, no[i])) {
            *out = false;
            return true;
        }
    }
    return false;
}

const char *units_print_duration(char *out, int64_t ns) {
    uint64_t left = (uint64_t)ns;
    size_t used = 0;

    snprintf(out, UNITS_TEXT_MAX, "0s");
    /* From days down: `7d` is what people write. A spelling of microseconds behind the first finds nothing left. */
    for (size_t i = 1; i < COUNT(duration_units) && left > 0 && ns > 0; i++) {
        uint64_t count = left / duration_units[i].value;
        if (count == 0)
            continue;
        used += (size_t)snprintf(out + used, UNITS_TEXT_MAX - used, "%llu%s", (unsigned long long)count,
                                 duration_units[i].name);
        left -= count * duration_units[i].value;
    }
    return out;
}

const char *units_print_size(char *out, uint64_t bytes) {
    for (size_t i = 0; i < COUNT(size_units) && bytes > 0; i++)
        if (bytes % size_units[i].value == 0 && size_units[i].value > 1) {
            snprintf(out, UNITS_TEXT_MAX, "%llu%s", (unsigned long long)(bytes / size_units[i].value),
                     size_units[i].name);
            return out;
        }
    snprintf(out, UNITS_TEXT_MAX, "%llu", (unsigned long long)bytes);
    return out;
}
