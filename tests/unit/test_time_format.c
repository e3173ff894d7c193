/* tests/unit/test_time_format.c: timestamps in every form; wanted values are Go's, but for the marked differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "parsers/time_format.h"
#include "parsers/time_zone.h"

#define RECEIVED 1793000000000000000 /* 2026-10-26 07:33:20 UTC */
#define INSTANT  1581520546000000000 /* 2020-02-12T15:15:46Z */
#define FULL     1581520546014773143

static struct row {
    const char *name, *format, *zone, *text;
    int64_t want;
    bool is_number;
    const char *why; /* a part of the refusal; NULL: accepted */
    int64_t received;
} rows[] = {
    { "seconds", "unix", "", "1581520546", INSTANT, true, NULL, 0 },
    { "seconds with a fraction", "unix", "", "1581520546.014773143", FULL, true, NULL, 0 },
    { "seconds with too fine a fraction", "unix", "", "1581520546.0147731439", FULL, true, NULL, 0 },
    { "seconds as text with a comma", "unix", "", "1581520546,014773143", FULL, false, NULL, 0 },
    { "seconds with an exponent", "unix", "", "1.581520546e9", INSTANT, true, NULL, 0 },
    { "a comma in a number is none", "unix", "", "1,5", 0, true, "not a number", 0 },
    { "milliseconds", "unix_ms", "", "1581520546014", 1581520546014000000, true, NULL, 0 },
    { "milliseconds as text", "unix_ms", "", " 1581520546014 ", 1581520546014000000, false, NULL, 0 },
    { "microseconds", "unix_us", "", "1581520546014773", 1581520546014773000, true, NULL, 0 },
    { "nanoseconds", "unix_ns", "", "1581520546014773143", FULL, true, NULL, 0 },
    { "before 1970", "unix", "", "-1.5", -1500000000, true, NULL, 0 },
    { "rounds down", "unix_ns", "", "-1.5", -2, true, NULL, 0 },
    { "refuses overflow", "unix", "", "9223372037", 0, true, "between the years", 0 },
    { "refuses a huge exponent", "unix", "", "1e9999", 0, true, "not a number", 0 },
    { "a tiny exponent is zero", "unix", "", "1e-900", 0, true, NULL, 0 },
    { "refuses text", "unix", "", "now", 0, false, "'now' is not a number", 0 },
    { "refuses nothing", "unix", "", "", 0, false, "not a number", 0 },

    { "auto: seconds", "auto", "", "1581520546", INSTANT, true, NULL, 0 },
    { "auto: seconds with a fraction", "auto", "", "1581520546.014", 1581520546014000000, true, NULL, 0 },
    { "auto: milliseconds", "auto", "", "1581520546014", 1581520546014000000, true, NULL, 0 },
    { "auto: microseconds", "auto", "", "1581520546014773", 1581520546014773000, true, NULL, 0 },
    { "auto: nanoseconds as text", "auto", "", "1581520546014773143", FULL, false, NULL, 0 },
    { "auto: RFC 3339", "auto", "", "2020-02-12T15:15:46.014773143Z", FULL, false, NULL, 0 },
    { "auto: RFC 3339 with a zone", "auto", "", "2020-02-12T16:15:46.014773143+01:00", FULL, false, NULL, 0 },
    { "auto: without a zone", "auto", "Europe/Berlin", "2020-02-12 16:15:46", INSTANT, false, NULL, 0 },
    { "auto: refuses other text", "auto", "", "12.02.2020", 0, false, "does not match the format auto", 0 },

    { "RFC3339 by name", "RFC3339", "", "2020-02-12T16:15:46+01:00", INSTANT, false, NULL, 0 },
    { "RFC3339 by name, any case, with a fraction", "rfc3339", "", "2020-02-12T15:15:46.014773143Z", FULL, false, NULL, 0 },
    { "RFC3339Nano", "RFC3339Nano", "", "2020-02-12T15:15:46.014773143Z", FULL, false, NULL, 0 },
    { "RFC3339 zone with seconds", "2006-01-02T15:04:05Z07:00:00", "", "2020-02-12T16:15:47+01:00:01", INSTANT, false, NULL, 0 },
    { "ANSIC", "ANSIC", "", "Wed Feb 12 15:15:46 2020", INSTANT, false, NULL, 0 },
    { "ANSIC with one digit", "ANSIC", "", "Sun Feb  2 15:15:46 2020", INSTANT - 864000000000000, false, NULL, 0 },
    { "UnixDate in UTC", "UnixDate", "", "Wed Feb 12 15:15:46 UTC 2020", INSTANT, false, NULL, 0 },
    { "UnixDate in MST", "UnixDate", "", "Wed Feb 12 08:15:46 MST 2020", INSTANT, false, NULL, 0 },
    { "UnixDate in CET", "UnixDate", "", "Wed Feb 12 16:15:46 CET 2020", INSTANT, false, NULL, 0 },
    { "UnixDate in CEST", "UnixDate", "", "Wed Aug 12 17:15:46 CEST 2020", 1597245346000000000, false, NULL, 0 },
    { "UnixDate in GMT+3", "UnixDate", "", "Wed Feb 12 18:15:46 GMT+3 2020", INSTANT, false, NULL, 0 },
    { "refuses an unknown abbreviation", "UnixDate", "", "Wed Feb 12 08:15:46 XYZ 2020", 0, false, "does not say which offset", 0 },
    { "RubyDate", "RubyDate", "", "Wed Feb 12 16:15:46 +0100 2020", INSTANT, false, NULL, 0 },
    { "RFC1123Z", "RFC1123Z", "", "Wed, 12 Feb 2020 16:15:46 +0100", INSTANT, false, NULL, 0 },
    { "RFC850", "RFC850", "", "Wednesday, 12-Feb-20 15:15:46 UTC", INSTANT, false, NULL, 0 },
    { "RFC822Z", "RFC822Z", "", "12 Feb 20 16:15 +0100", INSTANT - 46000000000, false, NULL, 0 },

    { "American date in the afternoon", "1/2/2006 3:04:05 PM", "America/New_York", "2/12/2020 10:15:46 AM", INSTANT, false, NULL, 0 },
    { "noon", "2006-01-02 03:04 pm", "", "2020-02-12 12:00 pm", 1581508800000000000, false, NULL, 0 },
    { "midnight", "2006-01-02 03:04 pm", "", "2020-02-12 12:00 am", 1581465600000000000, false, NULL, 0 },
    { "German date", "02.01.2006 15:04:05", "Europe/Berlin", "12.02.2020 16:15:46", INSTANT, false, NULL, 0 },
    { "month by name, any case", "2 January 2006 15:04:05", "", "12 FEBRUARY 2020 15:15:46", INSTANT, false, NULL, 0 },
    { "day of the year", "2006-002T15:04:05", "", "2020-043T15:15:46", INSTANT, false, NULL, 0 },
    { "last day of a leap year", "2006-002", "", "2020-366", 1609372800000000000, false, NULL, 0 },
    { "refuses day 366 of another year", "2006-002", "", "2021-366", 0, false, "no such day", 0 },
    { "packed digits", "20060102150405", "", "20200212151546", INSTANT, false, NULL, 0 },
    { "exact fraction", "2006-01-02 15:04:05.000", "", "2020-02-12 15:15:46.014", 1581520546014000000, false, NULL, 0 },
    { "refuses another count of digits", "2006-01-02 15:04:05.000", "", "2020-02-12 15:15:46.01", 0, false, "does not match", 0 },
    { "fraction with a comma", "2006-01-02 15:04:05", "", "2020-02-12 15:15:46,014773143", FULL, false, NULL, 0 },
    { "optional fraction left out", "2006-01-02 15:04:05.999", "", "2020-02-12 15:15:46", INSTANT, false, NULL, 0 },
    { "two-digit year of the last century", "06-01-02", "", "69-01-01", -31536000000000000, false, NULL, 0 },
    { "literal text", "at 15:04:05 on 2006-01-02!", "", "at 15:15:46 on 2020-02-12!", INSTANT, false, NULL, 0 },
    { "short offset", "2006-01-02T15:04:05-07", "", "2020-02-12T16:15:46+01", INSTANT, false, NULL, 0 },

    { "refuses a bare number for a layout", "RFC3339", "", "1581520546", 0, true, "is a number where the time format wants a text", 0 },
    { "refuses February 30", "2006-01-02", "", "2020-02-30", 0, false, "no such day", 0 },
    { "refuses February 29 of a common year", "2006-01-02", "", "2021-02-29", 0, false, "no such day", 0 },
    { "refuses month 13", "2006-01-02", "", "2020-13-01", 0, false, "does not match", 0 },
    { "refuses hour 24", "15:04 2006-01-02", "", "24:00 2020-01-01", 0, false, "does not match", 0 },
    { "refuses second 60", "2006-01-02T15:04:05", "", "2016-12-31T23:59:60", 0, false, "does not match", 0 },
    { "refuses extra text", "2006-01-02", "", "2020-02-12x", 0, false, "does not match", 0 },
    { "refuses text that is cut", "2006-01-02T15:04:05Z07:00", "", "2020-02-12T15:15", 0, false, "does not match", 0 },
    { "refuses a duration", "2006-01-02T15:04:05", "", "0T00:00:13", 0, false, "does not match", 0 },
    { "refuses the year 3000", "2006-01-02", "", "3000-01-01", 0, false, "between the years", 0 },

    /* Zones. 2026-10-25T02:30 happens twice in Berlin, 2026-03-29T02:30 never. */
    { "summer", "2006-01-02T15:04:05", "Europe/Berlin", "2026-07-01T12:00:00", 1782900000000000000, false, NULL, 0 },
    { "winter", "2006-01-02T15:04:05", "Europe/Berlin", "2026-01-01T12:00:00", 1767265200000000000, false, NULL, 0 },
    { "twice, old message: the first (Go: the second)", "2006-01-02T15:04:05", "Europe/Berlin", "2026-10-25T02:30:00",
      1792888200000000000, false, NULL, RECEIVED },
    { "twice, live in the first hour", "2006-01-02T15:04:05", "Europe/Berlin", "2026-10-25T02:30:00", 1792888200000000000, false, NULL,
      1792888201000000000 },
    { "twice, live in the second hour", "2006-01-02T15:04:05", "Europe/Berlin", "2026-10-25T02:30:00", 1792891800000000000, false,
      NULL, 1792891801000000000 },
    { "twice in New York, old message", "2006-01-02T15:04:05", "America/New_York", "2026-11-01T01:30:00", 1793511000000000000, false,
      NULL, 0 },
    { "never, in Berlin", "2006-01-02T15:04:05", "Europe/Berlin", "2026-03-29T02:30:00", 1774747800000000000, false, NULL, 0 },
    { "never, in New York", "2006-01-02T15:04:05", "America/New_York", "2026-03-08T02:30:00", 1772951400000000000, false, NULL, 0 },
    { "after the table's end the rule holds", "2006-01-02T15:04:05", "Europe/Berlin", "2060-07-01T12:00:00", 2855901600000000000,
      false, NULL, 0 },
    { "the southern half", "2006-01-02T15:04:05", "Australia/Sydney", "2060-01-01T12:00:00", 2840144400000000000, false, NULL, 0 },
    { "a zone of half hours", "2006-01-02T15:04:05", "Asia/Kolkata", "2020-02-12T20:45:46", INSTANT, false, NULL, 0 },
    { "a rule that turns winter into the exception", "2006-01-02T15:04:05", "Europe/Dublin", "2060-07-01T12:00:00",
      2855905200000000000, false, NULL, 0 },
    { "long ago", "2006-01-02T15:04:05", "Europe/Berlin", "1950-07-01T12:00:00", -615474000000000000, false, NULL, 0 },
    { "an offset in the text wins", "2006-01-02T15:04:05Z07:00", "Europe/Berlin", "2020-02-12T15:15:46Z", INSTANT, false, NULL, 0 },

    /* Without a year */
    { "the message's year", "Jan _2 15:04:05", "", "Oct 26 07:33:19", RECEIVED - 1000000000, false, NULL, RECEIVED },
    { "last year's December (Go: the coming one)", "Jan _2 15:04:05", "", "Dec 31 23:59:59", 1767225599000000000, false, NULL, RECEIVED },
    { "a clock that is ahead at New Year", "Jan _2 15:04:05", "", "Jan  1 00:00:01", 1767225601000000000, false, NULL,
      1767225590000000000 },
    { "February 29 finds its year", "Jan _2", "", "Feb 29", 1709164800000000000, false, NULL, RECEIVED },
    { "refuses February 30 without a year", "Jan _2", "", "Feb 30", 0, false, "no such day", RECEIVED },
};

static void reads(void **state) {
    const struct row *row = *state;
    struct err err = ERR_INIT;
    struct time_format *format = time_format_new(row->format, row->zone, &err);
    int64_t got = 0;
    bool fine;

    if (format == NULL)
        fail_msg("init: %s", err.text);
    fine = time_format_read(format, str_of(row->text), row->is_number, row->received, &got, &err);
    if (fine != (row->why == NULL))
        fail_msg("read says %s: %s", fine ? "yes" : "no", err.text);
    if (fine)
        assert_int_equal(got, row->want);
    else if (strstr(err.text, row->why) == NULL)
        fail_msg("the error is '%s', which does not hold '%s'", err.text, row->why);
    time_format_free(format);
}

static void refuses_layouts(void **state) {
    static const char *const wrong[] = { "yyyy-MM-dd", "%Y-%m-%d", "", "RFC-3339x" };
    struct time_format *format;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct err err = ERR_INIT;
        assert_null(time_format_new(wrong[i], "", &err));
        assert_int_equal(err.code, ERR_SYNTAX);
    }
    /* "3" and "9" are parts of a layout: nothing to refuse, it just never matches */
    format = time_format_new(wrong[3], "", NULL);
    assert_non_null(format);
    time_format_free(format);
}

static void refuses_zones(void **state) {
    static const char *const wrong[] = { "Nowhere/Atall", "/etc/passwd", "../zoneinfo/UTC", ".", "Europe" };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err err = ERR_INIT;
        assert_null(time_zone_new(wrong[i], &err));
        assert_int_equal(err.code, ERR_MISSING);
    }
}

/* A damaged file is refused or read, at every cut and with every byte changed, and looking up in it never misbehaves. */
static void survives_damaged_files(void **state) {
    /* Version 2: an empty first block, then one change at 2^24 between two types, then a rule. */
    static const char header[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char block[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0\4"
                                "\0\0\0\0\1\0\0\0" "\1" "\0\0\0\0\0\0" "\0\0\x0E\x10\1\0" "LMT\0" "\nCET-1CEST,M3.5.0,M10.5.0/3\n";
    char file[44 + sizeof block - 1], damaged[sizeof file];
    struct time_zone *zone;

    (void)state;
    memcpy(file, header, 44);
    memcpy(file + 44, block, sizeof block - 1);
    zone = time_zone_parse(str_make(file, sizeof file), NULL);
    assert_non_null(zone);
    assert_int_equal(time_zone_offset(zone, 0), 0);
    assert_int_equal(time_zone_offset(zone, 1782900000), 7200);
    time_zone_free(zone);
    for (size_t cut = 0; cut < sizeof file; cut++) {
        char *exact = malloc(cut + 1);
        memcpy(exact, file, cut);
        zone = time_zone_parse(str_make(exact, cut), NULL);
        if (zone != NULL)
            (void)time_zone_to_utc(zone, 1782900000, 0);
        time_zone_free(zone);
        free(exact);
    }
    for (size_t i = 0; i < sizeof file * 256; i++) {
        memcpy(damaged, file, sizeof file);
        damaged[i / 256] = (char)(i % 256);
        zone = time_zone_parse(str_make(damaged, sizeof damaged), NULL);
        if (zone != NULL)
            (void)time_zone_to_utc(zone, 1782900000, 0);
        time_zone_free(zone);
    }
}

int main(void) {
    static struct CMUnitTest tests[160];
    size_t used = 0;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        tests[used++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = reads, .initial_state = &rows[i] };
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(refuses_layouts);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(refuses_zones);
    tests[used++] = (struct CMUnitTest)cmocka_unit_test(survives_damaged_files);
    return _cmocka_run_group_tests("time_format", tests, used, NULL, NULL);
}
