/* parsers/time_zone.c: see time_zone.h. The table of past changes comes first, the rule in the file's footer holds after it. */
#include "parsers/time_zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/fs.h"

enum { FILE_MAX = 1 << 20, TYPES_MAX = 256, HEADER = 44, DAY = 86400 };

/* When in a year a clock changes, by the wall clock before the change. POSIX, XBD chapter 8, TZ. */
struct change {
    enum { CHANGE_MONTH, CHANGE_JULIAN, CHANGE_DAY } kind; /* Mm.w.d, Jn, n */
    unsigned month, week, day;
    int32_t time_s;
};

struct rule {
    bool present, summer;
    int32_t standard_s, summer_s;
    struct change start, end;
};

struct time_zone {
    int64_t *at;   /* instants of change, rising */
    uint8_t *type; /* what holds from then on */
    size_t count, types;
    int32_t offsets[TYPES_MAX];
    struct rule rule;
};

int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400, shifted = (int64_t)(month + 9) % 12;
    int64_t of_year = (153 * shifted + 2) / 5 + (int64_t)day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* --- the rule --- */

static bool take_number(struct str *text, unsigned max, unsigned *out) {
    unsigned value = 0;
    size_t i = 0;

    for (; i < text->len && text->data[i] >= '0' && text->data[i] <= '9' && value <= max; i++)
        value = value * 10 + (unsigned)(text->data[i] - '0');
    if (i == 0 || value > max)
        return false;
    *text = str_make(text->data + i, text->len - i);
    *out = value;
    return true;
}

static bool take_char(struct str *text, char c) {
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = str_make(text->data + 1, text->len - 1);
    return true;
}

/* [+-]hh[:mm[:ss]]; hours up to 167, RFC 8536 section 3.3.1 */
static bool take_time(struct str *text, int32_t *out) {
    bool negative = take_char(text, '-');
    unsigned part, seconds;

    if (!negative)
        (void)take_char(text, '+');
    if (!take_number(text, 167, &part))
        return false;
    seconds = part * 3600;
    if (take_char(text, ':')) {
        if (!take_number(text, 59, &part))
            return false;
        seconds += part * 60;
        if (take_char(text, ':')) {
            if (!take_number(text, 59, &part))
                return false;
            seconds += part;
        }
    }
    *out = negative ? -(int32_t)seconds : (int32_t)seconds;
    return true;
}

static bool take_name(struct str *text) {
    size_t i = 0;

    if (take_char(text, '<')) {
        while (i < text->len && text->data[i] != '>')
            i++;
        *text = str_make(text->data + i, text->len - i);
        return take_char(text, '>');
    }
    while (i < text->len && ((text->data[i] | 0x20) >= 'a' && (text->data[i] | 0x20) <= 'z'))
        i++;
    *text = str_make(text->data + i, text->len - i);
    return i >= 3;
}

static bool take_change(struct str *text, struct change *out) {
    bool fine;

    if (take_char(text, 'M')) {
        out->kind = CHANGE_MONTH;
        fine = take_number(text, 12, &out->month) && out->month >= 1 && take_char(text, '.') &&
               take_number(text, 5, &out->week) && out->week >= 1 && take_char(text, '.') &&
               take_number(text, 6, &out->day);
    } else {
        out->kind = take_char(text, 'J') ? CHANGE_JULIAN : CHANGE_DAY;
        fine = take_number(text, 365, &out->day) && (out->kind == CHANGE_DAY || out->day >= 1);
    }
    out->time_s = 2 * 3600;
    return fine && (!take_char(text, '/') || take_time(text, &out->time_s));
}

/* `CET-1CEST,M3.5.0,M10.5.0/3`: offsets count west of UTC here. An empty rule is fine: the last change holds for ever. */
static bool parse_rule(struct str text, struct rule *rule) {
    if (text.len == 0)
        return true;
    rule->present = true;
    if (!take_name(&text) || !take_time(&text, &rule->standard_s))
        return false;
    rule->standard_s = -rule->standard_s;
    if (text.len == 0)
        return true;
    rule->summer = true;
    rule->summer_s = rule->standard_s + 3600;
    if (!take_name(&text))
        return false;
    if (text.len > 0 && text.data[0] != ',') {
        if (!take_time(&text, &rule->summer_s))
            return false;
        rule->summer_s = -rule->summer_s;
    }
    return take_char(&text, ',') && take_change(&text, &rule->start) && take_char(&text, ',') &&
           take_change(&text, &rule->end) && text.len == 0;
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* The day of `change` in `year`, in days since 1970. */
static int64_t change_day(const struct change *change, int64_t year) {
    int64_t first, last, day;
    unsigned weekday;

    if (change->kind == CHANGE_DAY)
        return days_from_civil(year, 1, 1) + change->day;
    if (change->kind == CHANGE_JULIAN) /* February 29 is never counted */
        return days_from_civil(year, 1, 1) + change->day - 1 + (is_leap(year) && change->day >= 60);
    first = days_from_civil(year, change->month, 1);
    last = change->month == 12 ? days_from_civil(year + 1, 1, 1) - 1 : days_from_civil(year, change->month + 1, 1) - 1;
    weekday = (unsigned)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
    day = first + (change->day + 7 - weekday) % 7 + 7 * (int64_t)(change->week - 1);
    return day > last ? day - 7 : day;
}

static int32_t rule_offset(const struct rule *rule, int64_t unix_s) {
    int64_t wall = unix_s + rule->standard_s, days = (wall >= 0 ? wall : wall - DAY + 1) / DAY, year;
    int64_t start, end;

    if (!rule->summer)
        return rule->standard_s;
    year = 1970 + days / 365; /* at or after the year in question: walk back */
    while (days_from_civil(year, 1, 1) > days)
        year--;
    start = change_day(&rule->start, year) * DAY + rule->start.time_s - rule->standard_s;
    end = change_day(&rule->end, year) * DAY + rule->end.time_s - rule->summer_s;
    if (start < end)
        return unix_s >= start && unix_s < end ? rule->summer_s : rule->standard_s;
    return unix_s >= end && unix_s < start ? rule->standard_s : rule->summer_s;
}

/* --- the file --- */

static uint32_t be32(const char *at) {
    const unsigned char *b = (const unsigned char *)at;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static int64_t be64(const char *at) {
    return (int64_t)((uint64_t)be32(at) << 32 | be32(at + 4));
}

/* Length of the data block behind a header; the six counts are isut, isstd, leap, time, type, char. */
static size_t block_size(const char *header, size_t time_size) {
    size_t leap = be32(header + 28), times = be32(header + 32), types = be32(header + 36), chars = be32(header + 40);

    return times * (time_size + 1) + types * 6 + chars + leap * (time_size + 4) + be32(header + 24) + be32(header + 20);
}

static bool read_block(struct time_zone *zone, struct str block, const char *header, size_t time_size) {
    const char *types;

    zone->count = be32(header + 32);
    zone->types = be32(header + 36);
    if (zone->types == 0 || zone->types > TYPES_MAX)
        return false;
    zone->at = calloc(zone->count + 1, sizeof *zone->at);
    zone->type = calloc(zone->count + 1, 1);
    if (zone->at == NULL || zone->type == NULL)
        return false;
    types = block.data + zone->count * (time_size + 1);
    for (size_t i = 0; i < zone->types; i++) {
        zone->offsets[i] = (int32_t)be32(types + i * 6);
        if (zone->offsets[i] < -2 * DAY || zone->offsets[i] > 2 * DAY)
            return false;
    }
    for (size_t i = 0; i < zone->count; i++) {
        const char *at = block.data + i * time_size;
        zone->at[i] = time_size == 8 ? be64(at) : (int32_t)be32(at);
        zone->type[i] = (uint8_t)block.data[zone->count * time_size + i];
        if (zone->type[i] >= zone->types || (i > 0 && zone->at[i] <= zone->at[i - 1]))
            return false;
    }
    return true;
}

/* A header with a data block that fits; moves `rest` behind both. */
static bool take_block(struct str *rest, size_t time_size, const char **header, struct str *block) {
    size_t size;

    if (rest->len < HEADER || memcmp(rest->data, "TZif", 4) != 0)
        return false;
    for (int i = 20; i < HEADER; i += 4)
        if (be32(rest->data + i) > FILE_MAX)
            return false;
    *header = rest->data;
    size = block_size(rest->data, time_size);
    if (size > rest->len - HEADER)
        return false;
    *block = str_make(rest->data + HEADER, size);
    *rest = str_make(rest->data + HEADER + size, rest->len - HEADER - size);
    return true;
}

static bool read_file(struct time_zone *zone, struct str file) {
    const char *header;
    struct str block, rule;

    if (!take_block(&file, 4, &header, &block))
        return false;
    if (header[4] == '\0') /* version 1: 32-bit times and no rule */
        return read_block(zone, block, header, 4);
    if (!take_block(&file, 8, &header, &block) || !read_block(zone, block, header, 8) || !take_char(&file, '\n'))
        return false;
    rule = str_split(&file, '\n');
    return parse_rule(rule, &zone->rule);
}

struct time_zone *time_zone_parse(struct str file, struct err *err) {
    struct time_zone *zone = calloc(1, sizeof *zone);

    if (zone != NULL && read_file(zone, file))
        return zone;
    time_zone_free(zone);
    err_set(err, ERR_SYNTAX, "not a compiled time zone (RFC 8536)");
    return NULL;
}

static struct time_zone *utc(struct err *err) {
    struct time_zone *zone = calloc(1, sizeof *zone);

    if (zone == NULL)
        err_set(err, ERR_LIMIT, "no memory for a time zone");
    return zone;
}

static struct time_zone *read_path(const char *path, struct err *err) {
    struct buf file = BUF_INIT(FILE_MAX);
    struct time_zone *zone = NULL;

    if (fs_read_file(path, &file, err))
        zone = time_zone_parse(buf_str(&file), err);
    buf_release(&file);
    return zone;
}

static bool is_safe_name(const char *name) {
    return name[0] != '/' && name[0] != '.' && strstr(name, "..") == NULL && strlen(name) < 128;
}

struct time_zone *time_zone_new(const char *name, struct err *err) {
    static const char *const folders[] = { "/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ" };
    char path[256];

    if (strcmp(name, "Local") == 0) {
        struct err missing = ERR_INIT;
        const char *tz = getenv("TZ");
        struct time_zone *zone;
        if (tz != NULL && tz[0] == ':')
            tz++;
        if (tz != NULL && tz[0] != '/' && strcmp(tz, "Local") != 0)
            return time_zone_new(tz, err);
        zone = read_path(tz != NULL && tz[0] == '/' ? tz : "/etc/localtime", &missing);
        return zone != NULL ? zone : utc(err);
    }
    if (name[0] == '\0' || strcmp(name, "UTC") == 0)
        return utc(err);
    for (size_t i = 0; is_safe_name(name) && i < sizeof folders / sizeof folders[0]; i++) {
        struct err missing = ERR_INIT;
        struct time_zone *zone;
        snprintf(path, sizeof path, "%s/%s", folders[i], name);
        zone = read_path(path, &missing);
        if (zone != NULL)
            return zone;
    }
    err_set(err, ERR_MISSING, "unknown time zone '%s' (is the package tzdata installed?)", name);
    return NULL;
}

void time_zone_free(struct time_zone *zone) {
    if (zone == NULL)
        return;
    free(zone->at);
    free(zone->type);
    free(zone);
}

/* --- looking up --- */

int32_t time_zone_offset(const struct time_zone *zone, int64_t unix_s) {
    size_t low = 0, high;

    if (zone == NULL)
        return 0;
    if (zone->rule.present && (zone->count == 0 || unix_s >= zone->at[zone->count - 1]))
        return rule_offset(&zone->rule, unix_s);
    for (high = zone->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= unix_s)
            low = middle + 1;
        else
            high = middle;
    }
    return zone->offsets[low > 0 ? zone->type[low - 1] : 0];
}

int64_t time_zone_to_utc(const struct time_zone *zone, int64_t wall_s, int64_t received_s) {
    enum { SLACK = 60 }; /* a live message may come from a clock that is a little ahead */
    int32_t before = time_zone_offset(zone, wall_s - DAY), after = time_zone_offset(zone, wall_s + DAY);
    int64_t first = wall_s - before, second = wall_s - after;
    bool first_fits = time_zone_offset(zone, first) == before, second_fits = time_zone_offset(zone, second) == after;

    if (before == after)
        return first_fits ? first : wall_s - time_zone_offset(zone, first);
    if (first_fits && second_fits) { /* twice: first < second */
        bool live = received_s >= second - SLACK && received_s < second + (second - first);
        return live ? second : first;
    }
    if (first_fits)
        return first;
    if (second_fits)
        return second;
    /* Never: Go takes the offset that holds at the wall time read as UTC, or the other one when that is over by then. */
    return time_zone_offset(zone, wall_s) == after ? first : second;
}
