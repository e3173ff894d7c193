/* tests/unit/test_print.c: whatever came from outside, a terminal takes no harm; and times and sizes as people read them. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/commands/print.h"

static struct short_row {
    const char *name;
    struct str data;
    size_t width;
    const char *want;
} shorts[] = {
    { "text", STR_INIT("21.5"), 60, "21.5" },
    { "nothing", STR_INIT(""), 60, "" },
    { "line breaks and tabs", STR_INIT("a\nb\r\tc"), 60, "a\\nb\\r\\tc" },
    { "escapes and DEL", STR_INIT("\x1b[2J\x7f"), 60, "\\x1b[2J\\x7f" },
    { "a NUL", STR_INIT("a\0b"), 60, "a\\x00b" },
    { "a control character of two bytes", STR_INIT("\xc2\x9b" "31m"), 60, "\\x9b31m" },
    { "other characters of two bytes", STR_INIT("caf\xc3\xa9 21\xc2\xb0"), 60, "caf\xc3\xa9 21\xc2\xb0" },
    { "a cut", STR_INIT("0123456789abcdef"), 12, "012345678..." },
    { "what just fits is not cut", STR_INIT("012345678"), 12, "012345678" },
    { "characters are counted, not bytes", STR_INIT("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"), 12,
      "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9" },
    { "bytes that are no text", STR_INIT("\x00\xff\x1b"), 60, "0x00ff1b" },
    { "a cut of them", STR_INIT("\xff\x01\x02\x03\x04\x05\x06\x07"), 12, "0xff0102..." },
    { "a cut character", STR_INIT("a\xe2\x82"), 60, "0x61e282" },
};

static void prints_short(void **state) {
    const struct short_row *row = *state;
    struct buf out = BUF_INIT(4096);

    print_short(&out, row->data, row->width);
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

static struct whole_row {
    const char *name;
    struct str data;
    const char *want;
} wholes[] = {
    { "text gets its end", STR_INIT("{\n\t\"a\": 1\n}"), "{\n\t\"a\": 1\n}\n" },
    { "text with an end keeps it", STR_INIT("a\n"), "a\n" },
    { "nothing at all", STR_INIT(""), "" },
    { "an escape is a dump", STR_INIT("a\x1b"), "00000000  61 1b                                             |a.|\n" },
    { "sixteen and one", STR_INIT("\x00\x01\x02\x03\x04\x05\x06\x07\x08 0123456~\xff"),
      "00000000  00 01 02 03 04 05 06 07  08 20 30 31 32 33 34 35  |......... 012345|\n"
      "00000010  36 7e ff                                          |6~.|\n" },
};

static void prints_whole(void **state) {
    const struct whole_row *row = *state;
    struct buf out = BUF_INIT(4096);

    print_whole(&out, row->data);
    assert_string_equal(buf_cstr(&out), row->want);
    buf_release(&out);
}

static void times_ages_and_sizes(void **state) {
    char text[PRINT_TIME_MAX];

    (void)state;
    assert_string_equal(print_time(text, 1795383000000000007, false), "2026-11-22T21:30:00Z");
    assert_string_equal(print_time(text, 1795383000000000007, true), "2026-11-22T21:30:00.000000007Z");
    assert_string_equal(print_age(text, -5), "0 s");
    assert_string_equal(print_age(text, 119 * NS_PER_S), "119 s");
    assert_string_equal(print_age(text, 120 * NS_PER_S), "2 min");
    assert_string_equal(print_age(text, 7200 * NS_PER_S), "2 h");
    assert_string_equal(print_age(text, 48 * 3600 * NS_PER_S), "2 d");
    assert_string_equal(print_size(text, 1023), "1023 B");
    assert_string_equal(print_size(text, 1536), "1.5 KiB");
    assert_string_equal(print_size(text, UINT64_C(5) << 30), "5.0 GiB");
    assert_string_equal(print_size(text, UINT64_MAX), "16777216.0 TiB");
    assert_string_equal(print_plural(1), "");
    assert_string_equal(print_plural(0), "s");
}

static int64_t now_ns;

static int64_t test_clock(void) {
    return now_ns;
}

/* What came out of the terminal since the last look. */
static const char *seen(int terminal) {
    static char text[1024];
    ssize_t len = read(terminal, text, sizeof text - 1);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void show_progress(int64_t at_ns, struct progress *progress, uint64_t done) {
    now_ns = at_ns;
    print_progress(progress, done, 4 << 20);
    fflush(stderr);
}

static void progress_is_for_terminals_and_for_what_takes_long(void **state) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), before = dup(STDERR_FILENO), other;
    struct progress progress = { .what = "reading" };

    (void)state;
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(other >= 0 && fcntl(terminal, F_SETFL, O_NONBLOCK) == 0);
    clock_override(test_clock, test_clock);
    dup2(other, STDERR_FILENO);
    show_progress(1, &progress, 1 << 20);
    show_progress(900 * NS_PER_MS, &progress, 1 << 20);
    print_progress_end(&progress);
    assert_string_equal(seen(terminal), "");
    show_progress(1100 * NS_PER_MS, &progress, 1 << 20);
    assert_string_equal(seen(terminal), "\rreading: 1.0 MiB of 4.0 MiB ");
    show_progress(1200 * NS_PER_MS, &progress, 2 << 20);
    assert_string_equal(seen(terminal), "");
    show_progress(1700 * NS_PER_MS, &progress, 3 << 20);
    assert_string_equal(seen(terminal), "\rreading: 3.0 MiB of 4.0 MiB ");
    print_progress_end(&progress);
    fflush(stderr);
    assert_true(strlen(seen(terminal)) > 60);
    dup2(before, STDERR_FILENO);
    clock_override(NULL, NULL);
    close(before);
    close(other);
    close(terminal);
}

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

int main(void) {
    struct CMUnitTest tests[ROWS(shorts) + ROWS(wholes) + 2] = {
        cmocka_unit_test(times_ages_and_sizes),
        cmocka_unit_test(progress_is_for_terminals_and_for_what_takes_long),
    };
    size_t count = 2;

    for (size_t i = 0; i < ROWS(shorts); i++)
        tests[count++] = (struct CMUnitTest){ shorts[i].name, prints_short, NULL, NULL, &shorts[i] };
    for (size_t i = 0; i < ROWS(wholes); i++)
        tests[count++] = (struct CMUnitTest){ wholes[i].name, prints_whole, NULL, NULL, &wholes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
